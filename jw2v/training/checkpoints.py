"""Checkpoints of a run, from which it resumes to bit-identical results.

Orbax writes a checkpoint in the background, whole or not at all. `Checkpoints.restore` reads the
newest one, and raises an error if it is corrupted or belongs to another run.
"""

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import time
import zlib
from typing import Any, NoReturn

import jax
import numpy as np
from absl import logging as absl_logging

from jw2v.data.vocabulary import Vocabulary
from jw2v.distributed.layout import is_here, to_host
from jw2v.distributed.processes import is_first, num_processes, process_number
from jw2v.utils.checks import check_number
from jw2v.utils.files import as_json, digest, expanded
from jw2v.utils.limits import one_line, shown

_FORMAT = 6  # version of checkpoints; other versions raise an error


class Stopped(Exception):
  """The run stopped on request, after it wrote a checkpoint.

  Attributes:
    step: the last step of the checkpoint.
    share: fraction of the run's words that are read, from 0 to 1.
  """

  def __init__(self, step: int, share: float):
    """Stores the position of the run."""
    super().__init__(f'stopped after step {step}, {share:.1%} of the run')
    self.step: int = step
    self.share: float = share


class Checkpoints:
  """The checkpoints of one run in a folder, for `train(..., checkpoints=)`.

  A checkpoint holds both tables, the state of the optimizer, the position in the text, the
  history and the settings. The random numbers of a run depend on the seed and the position only,
  so that a resumed run is bit-identical to one that was not interrupted, on the same machine.

  If several processes train, the first one writes and all read, in a folder that all see. A run may
  resume with another number of processes and devices: with the same steps up to rounding if the
  text is split into the same number of streams, otherwise from about the same position.

  Attributes:
    folder: one folder per checkpoint, named by its step, and `vocabulary.txt`.
    every: seconds between checkpoints.
    keep: number of checkpoints to keep.
    about: further JSON values that must be equal to resume, such as the path of the text.
    restart: True removes the checkpoints of an earlier run at the start.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    every: float = 60.0,
    keep: int = 3,
    about: dict[str, Any] | None = None,
    restart: bool = False,
  ):
    """Stores the folder, which need not exist; nothing is written yet.

    Raises:
      ImportError: orbax is not installed.
      ValueError: `every` is negative or `keep` below 1.
    """
    if not every >= 0:
      raise ValueError(f'every must be at least 0 seconds, got {every!r}')
    keep = check_number('keep', keep, int, 1)
    _import_orbax()
    self.folder: pathlib.Path = expanded(folder).absolute()
    self.every: float = every
    self.keep: int = keep
    self.about: dict[str, Any] = about or {}
    self.restart: bool = restart
    self._stop, self._last = False, time.monotonic()
    self._saving: int | None = None
    self._failed = False
    self._manager: Any = None

  def request_stop(self) -> None:
    """Asks the run to write a checkpoint after the current dispatch, and to stop."""
    self._stop = True

  @property
  def stop_requested(self) -> bool:
    """Returns whether the run was asked to stop."""
    return self._stop

  def due(self) -> bool:
    """Returns whether a checkpoint is due."""
    return self._stop or time.monotonic() - self._last >= self.every

  def resumes(self) -> bool:
    """Returns whether the folder has a checkpoint to resume from."""
    return bool(self._steps()) and not self.restart

  def restore(
    self, state: Any, vocabulary: Vocabulary, settings: dict[str, Any]
  ) -> tuple[Any, dict[str, Any]] | None:
    """Reads the newest checkpoint.

    Args:
      state: arrays or shapes, in the structure of the saved state.
      vocabulary: the vocabulary of the run; the folder keeps it for later runs.
      settings: the settings of the run, JSON values.

    Returns:
      The state as NumPy arrays, and the `run` value saved with it; None without a checkpoint.

    Raises:
      ValueError: the checkpoint is corrupted, or belongs to a run with other settings or words; the
        message has the first difference.
      OSError: the folder cannot be read or written, or the disk is too full.
    """
    settings = as_json({**settings, **self.about})
    saved_words = self.folder / 'vocabulary.txt'
    if self.restart and is_first():
      for path in self._steps():
        shutil.rmtree(path)
    try:
      manager = self._open()
      step = manager.latest_step()
    except OSError:
      raise
    except Exception as error:  # orbax raises many types
      raise _damaged(self.folder, error) from error
    if is_first():
      self._check_room(state)
    if step is None:
      if is_first():
        vocabulary.save(saved_words)
      self._settings, self._words = settings, _digest_of(vocabulary)
      return None
    where = self.folder / str(step)
    leaves, structure = jax.tree.flatten(state)
    orbax = _import_orbax()
    try:
      about = manager.restore(step, args=orbax.args.Composite(about=orbax.args.JsonRestore())).about
    except Exception as error:  # orbax and tensorstore have no common error
      raise _damaged(where, error) from error
    if not isinstance(about, dict):
      raise _damaged(where, 'its record is not a dict')
    checksum = about.pop('checksum', None)
    if checksum not in (None, digest(about)):
      raise _damaged(where, 'the checksum of its record does not match')
    if checksum is None or about.get('format') != _FORMAT:
      raise ValueError(
        f'{where}: the format must be {_FORMAT}, got {about.get("format")!r}; name another folder, '
        'or start again with restart'
      )
    kinds = {'settings': dict, 'run': dict, 'checksums': list, 'vocabulary': str}
    whole = all(isinstance(about.get(name), kind) for name, kind in kinds.items())
    if not whole:
      raise _damaged(where, 'its record is incomplete')
    _check_same(about['settings'], settings, where)
    if about['vocabulary'] != _digest_of(vocabulary):
      _refuse_words(saved_words, vocabulary, where)
    # Into the memory of the host, since a device may have memory for a part of them only.
    templates = {_name(i): np.empty(leaf.shape, leaf.dtype) for i, leaf in enumerate(leaves)}
    try:
      args = orbax.args.Composite(state=orbax.args.StandardRestore(templates))
      found = manager.restore(step, args=args).state
    except Exception as error:
      raise _damaged(where, error) from error
    arrays = [found[_name(i)] for i in range(len(leaves))]
    if len(about['checksums']) != len(arrays):
      raise _damaged(where, f'expected {len(arrays)} checksums, got {len(about["checksums"])}')
    for i, array in enumerate(arrays):
      if array.shape != leaves[i].shape or array.dtype != leaves[i].dtype:
        raise _damaged(where, f'array {i} is {array.dtype} of shape {array.shape}')
      if _checksum(np.asarray(array)) != about['checksums'][i]:
        raise _damaged(where, f'the checksum of array {i} does not match')
    self._settings, self._last = settings, time.monotonic()
    self._words = about['vocabulary']
    return jax.tree.unflatten(structure, arrays), about['run']

  def save(self, step: int, state: Any, run: dict[str, Any]) -> None:
    """Writes a checkpoint in the background, from copies of the arrays.

    Args:
      step: the number of the step, larger than in earlier checkpoints.
      state: arrays.
      run: further JSON values that the run needs to resume.

    Raises:
      OSError: this checkpoint or the previous one could not be written.
    """
    orbax = _import_orbax()
    # On a CPU orbax would read the arrays while the next dispatch overwrites their memory.
    leaves = []
    for leaf in jax.tree.leaves(state):
      here = is_here(leaf)  # otherwise all processes must gather it
      if is_first() or not here:
        host = to_host(leaf)
        leaves += [np.array(host) if here else host] if is_first() else []
    if not is_first():
      self._last = time.monotonic()
      return
    about = {
      'format': _FORMAT, 'settings': self._settings, 'run': run,
      'checksums': [_checksum(leaf) for leaf in leaves], 'jax': jax.__version__,
      'vocabulary': self._words,
    }  # fmt: skip
    about = as_json(about)
    about['checksum'] = digest(about)
    args = orbax.args.Composite(
      state=orbax.args.StandardSave({_name(i): leaf for i, leaf in enumerate(leaves)}),
      about=orbax.args.JsonSave(about),
    )
    self.wait()
    self._saving = step
    try:
      self._open().save(step, args=args)
    except Exception as error:
      raise self._not_written(error) from error
    self._last = time.monotonic()

  def wait(self) -> None:
    """Waits until the last checkpoint is written; raises `OSError` if writing failed."""
    if self._manager is not None and self._saving is not None:
      try:
        self._manager.wait_until_finished()
        self._manager.check_for_errors()
      except Exception as error:
        raise self._not_written(error) from error
      finally:
        self._saving, self._last = None, time.monotonic()

  def close(self) -> None:
    """Waits for the last checkpoint and ends the threads of orbax."""
    try:
      self.wait()
    finally:
      manager, self._manager = self._manager, None
      if manager is not None:
        with contextlib.suppress(Exception):  # wait() has raised it
          manager.close()
      if self._failed:  # tasks of orbax that are still writing create the folder again
        for _ in range(5):
          self._remove_partial()
          time.sleep(0.1)
      for logger in _loggers():
        logger.removeFilter(_is_not_of_orbax)

  def _open(self):
    if self._manager is None:
      try:
        if is_first():
          self._remove_partial()  # of a run that was killed
          self.folder.mkdir(parents=True, exist_ok=True)
        orbax, own = _import_orbax(), process_number()
        # Each of several processes has its own manager, and the first process writes.
        alone = orbax.options.MultiprocessingOptions(
          primary_host=own, active_processes={own}, barrier_sync_key_prefix=f'jw2v{own}'
        )
        options = orbax.CheckpointManagerOptions(
          max_to_keep=self.keep, create=False,
          **({'multiprocessing_options': alone} if num_processes() > 1 else {}),
        )  # fmt: skip
        # This class raises the errors of orbax. Until `close`, the tracebacks that orbax also logs
        # for each of its threads are suppressed.
        for logger in _loggers():
          logger.addFilter(_is_not_of_orbax)
        self._manager = orbax.CheckpointManager(self.folder, options=options)
      except OSError as error:
        raise OSError(f'{self.folder}: cannot write checkpoints: {error}') from error
    return self._manager

  def _check_room(self, state):
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    # The oldest checkpoint is removed after the next one is written.
    needed = (self.keep + 1 - min(self.keep, len(self._steps()))) * size
    free = shutil.disk_usage(self.folder).free
    if free < needed:
      raise OSError(
        f'{self.folder}: the disk must have room for {self.keep + 1} checkpoints of '
        f'{size / 1e6:,.0f} MB, got {free / 1e6:,.0f} MB free; set keep to a smaller number'
      )

  def _steps(self) -> list[pathlib.Path]:
    return [path for path in self.folder.glob('*') if path.name.isdigit() and path.is_dir()]

  def _remove_partial(self) -> None:
    for path in self.folder.glob('*.orbax-checkpoint-tmp*'):
      shutil.rmtree(path, ignore_errors=True)

  def _not_written(self, error):
    self._failed = True
    self._remove_partial()
    reason = ' '.join(str(error).split())
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):  # in much else
      if os.strerror(code) in reason:
        reason = os.strerror(code)
    return OSError(
      f'{self.folder}: cannot write the checkpoint of step {self._saving}: {reason}; an earlier '
      'checkpoint is still whole'
    )


def _loggers() -> list[logging.Logger]:
  return [absl_logging.get_absl_logger(), logging.getLogger('asyncio')]


def _is_not_of_orbax(record) -> bool:
  tasks_of_orbax = '.orbax-checkpoint-tmp' in record.getMessage()
  return not tasks_of_orbax and f'{os.sep}orbax{os.sep}' not in record.pathname


def _import_orbax():
  try:
    import orbax.checkpoint
  except ImportError as error:
    raise ImportError("checkpoints need orbax: pip install 'jw2v[text]'") from error
  return orbax.checkpoint


def _name(index: int) -> str:
  return f'array{index:02}'


def _checksum(array: np.ndarray) -> int:
  return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)


def _digest_of(vocabulary: Vocabulary) -> str:
  return digest([list(vocabulary.words), vocabulary.counts.tolist()])


def _damaged(where, error):
  return ValueError(
    f'{where}: corrupted checkpoint ({one_line(error)}); remove this folder to resume from the '
    'previous checkpoint, or start again with restart'
  )


def _check_same(saved: Any, wanted: Any, where: pathlib.Path, name: str = '') -> None:
  """Raises an error for the first setting that differs from the checkpoint."""
  if isinstance(saved, dict) and isinstance(wanted, dict):
    for key in sorted({*saved, *wanted}):
      _check_same(saved.get(key), wanted.get(key), where, f'{name}.{key}' if name else key)
  elif saved != wanted:
    name = _NAMES.get(name, name)
    raise ValueError(
      f'{name} must be {shown(repr(saved))}, as in the checkpoint {where}, got {wanted!r}; change '
      'it, name another folder, or start again with restart'
    )


# Facts about a run that are not settings.
_NAMES = {'num_words': 'the number of words of the text'}


def _refuse_words(path: pathlib.Path, wanted: Vocabulary, where: pathlib.Path) -> NoReturn:
  """Raises an error with the first difference from the vocabulary of the checkpoint."""
  try:
    saved = Vocabulary.load(path)
  except (OSError, ValueError):
    difference = f'cannot read {path} for details'
  else:
    pairs = lambda v: list(zip(v.words, v.counts.tolist(), strict=True))
    ours, theirs = pairs(wanted), pairs(saved)
    difference = f'{len(ours)} words, {len(theirs)} in the checkpoint'
    for row, (one, other) in enumerate(zip(ours, theirs, strict=False), start=1):
      if one != other:
        difference = (
          f'word {row} is {one[0]!r} ({one[1]} times), in the checkpoint {other[0]!r} '
          f'({other[1]} times)'
        )
        break
  raise ValueError(
    f'the vocabulary must be that of the checkpoint {where}, got a different one: {difference}; '
    'the text or the settings for reading it changed; name another folder, or start again with '
    'restart'
  )
