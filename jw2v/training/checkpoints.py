"""Checkpoints of a run: what it takes to go on to the same bits.

What belongs here: writing them in the background, whole or not at all, with orbax; reading the
newest one back; and the refusal of one that is damaged, or of another run.
"""

import contextlib
import errno
import hashlib
import json
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
from jw2v.utils.files import as_json
from jw2v.utils.limits import one_line, shown

_FORMAT = 3  # of what is written here; another one is refused


class Stopped(Exception):
  """The run was asked to stop, and did when its checkpoint was written.

  Attributes:
    step: the last step in it.
    share: of the words of the run that are read, from 0 to 1.
  """

  def __init__(self, step: int, share: float):
    """Takes where the run stands."""
    super().__init__(f'stopped after step {step}, {share:.1%} of the run')
    self.step: int = step
    self.share: float = share


class Checkpoints:
  """The checkpoints of one run in a folder, for `train(..., checkpoints=)`.

  A checkpoint holds both tables, the state of the optimizer, the place in the text, the
  history and the settings. The randomness of a run is drawn from the seed and that place:
  a run that goes on has the bits of one that was not interrupted, on the same machine.

  Of several processes the first one writes and all read, in a folder that all see. A run may
  go on with other processes and devices than it had: by the same steps to rounding if the text
  is in as many shares as before, and otherwise from about the same place of it.

  Attributes:
    folder: where they are: a folder for each, named by its step, and `vocabulary.txt`.
    every: seconds from one to the next.
    keep: how many of the last ones are kept.
    about: what else must be the same to go on, as where the text came from.
    restart: begin anew: those of an earlier run are removed when this one starts.
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
    """Takes the place of the checkpoints, which need not exist; nothing is written yet.

    Raises:
      ImportError: orbax is not installed.
      ValueError: `every` is negative or `keep` below 1.
    """
    if not every >= 0:
      raise ValueError(f'every={every!r}: must be seconds, 0 or more')
    keep = check_number('keep', keep, int, 1)
    _import_orbax()
    self.folder: pathlib.Path = pathlib.Path(folder).absolute()
    self.every: float = every
    self.keep: int = keep
    self.about: dict[str, Any] = about or {}
    self.restart: bool = restart
    self._stop, self._last = False, time.monotonic()
    self._saving: int | None = None
    self._failed = False
    self._manager: Any = None

  def request_stop(self) -> None:
    """Asks the run to write a checkpoint after the call that is running, and to stop."""
    self._stop = True

  @property
  def stop_requested(self) -> bool:
    """Whether the run was asked to stop."""
    return self._stop

  def due(self) -> bool:
    """Whether it is time for a checkpoint."""
    return self._stop or time.monotonic() - self._last >= self.every

  def restore(
    self, state: Any, vocabulary: Vocabulary, settings: dict[str, Any]
  ) -> tuple[Any, dict[str, Any]] | None:
    """The newest checkpoint.

    Args:
      state: arrays, or what has their shapes and dtypes, in the structure of those that were
        saved.
      vocabulary: of the run; it is kept for the next one.
      settings: of the run, values that JSON has.

    Returns:
      The state, of NumPy arrays, and what else was saved with it; None if there is none.

    Raises:
      ValueError: the checkpoint is damaged, or of a run with other settings or words, with
        the first difference.
      OSError: the folder cannot be read or written, or the disk has no room.
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
    except Exception as error:  # orbax reads what it has written of all of them
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
      raise _damaged(where, 'its record is no dict')
    checksum = about.pop('checksum', None)
    if checksum not in (None, _digest(about)):
      raise _damaged(where, 'its record is not what was written')
    if checksum is None or about.get('format') != _FORMAT:
      raise ValueError(
        f'{where}: is of format {about.get("format")!r}, not {_FORMAT}: name another folder, or '
        'begin anew with restart'
      )
    kinds = {'settings': dict, 'run': dict, 'checksums': list, 'vocabulary': str}
    whole = all(isinstance(about.get(name), kind) for name, kind in kinds.items())
    if not whole:
      raise _damaged(where, 'its record lacks what a run needs')
    _check_same(about['settings'], settings, where)
    if about['vocabulary'] != _digest_of(vocabulary):
      _refuse_words(saved_words, vocabulary, where)
    # Into the memory of the host: the devices may have room for a part of them each.
    templates = {_name(i): np.empty(leaf.shape, leaf.dtype) for i, leaf in enumerate(leaves)}
    try:
      args = orbax.args.Composite(state=orbax.args.StandardRestore(templates))
      found = manager.restore(step, args=args).state
    except Exception as error:
      raise _damaged(where, error) from error
    arrays = [found[_name(i)] for i in range(len(leaves))]
    if len(about['checksums']) != len(arrays):
      raise _damaged(where, f'{len(about["checksums"])} checksums of {len(arrays)} arrays')
    for i, array in enumerate(arrays):
      if array.shape != leaves[i].shape or array.dtype != leaves[i].dtype:
        raise _damaged(where, f'array {i} is {array.dtype} of shape {array.shape}')
      if _checksum(np.asarray(array)) != about['checksums'][i]:
        raise _damaged(where, f'array {i} is not what was written')
    self._settings, self._last = settings, time.monotonic()
    self._words = about['vocabulary']
    return jax.tree.unflatten(structure, arrays), about['run']

  def save(self, step: int, state: Any, run: dict[str, Any]) -> None:
    """Writes a checkpoint in the background; the arrays are copied before this returns.

    Args:
      step: its number, above those before.
      state: arrays.
      run: what else the run needs to go on, values that JSON has.

    Raises:
      OSError: this checkpoint, or the one before, could not be written.
    """
    orbax = _import_orbax()
    # On a CPU orbax would read the arrays while the next call writes into their memory.
    leaves = []
    for leaf in jax.tree.leaves(state):
      here = is_here(leaf)  # or all processes must bring it together
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
    about['checksum'] = _digest(about)
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
    """Returns when the last checkpoint is written; an `OSError` if it could not be."""
    if self._manager is not None and self._saving is not None:
      try:
        self._manager.wait_until_finished()
        self._manager.check_for_errors()
      except Exception as error:
        raise self._not_written(error) from error
      finally:
        self._saving, self._last = None, time.monotonic()

  def close(self) -> None:
    """Waits for the last checkpoint, and ends the threads of orbax."""
    try:
      self.wait()
    finally:
      manager, self._manager = self._manager, None
      if manager is not None:
        with contextlib.suppress(Exception):  # wait() has told it
          manager.close()
      if self._failed:  # what else was being written makes the folder anew
        for _ in range(5):
          self._remove_partial()
          time.sleep(0.1)

  def _open(self):
    if self._manager is None:
      try:
        if is_first():
          self._remove_partial()  # of a run that was killed
          self.folder.mkdir(parents=True, exist_ok=True)
        orbax, own = _import_orbax(), process_number()
        # Of several processes each has a manager for itself, and the first one writes.
        alone = orbax.options.MultiprocessingOptions(
          primary_host=own, active_processes={own}, barrier_sync_key_prefix=f'jw2v{own}'
        )
        options = orbax.CheckpointManagerOptions(
          max_to_keep=self.keep, create=False,
          **({'multiprocessing_options': alone} if num_processes() > 1 else {}),
        )  # fmt: skip
        # Its errors are raised here; it logs each with the tracebacks of all its threads too,
        # some of them later.
        absl_logging.get_absl_logger().addFilter(_not_of_orbax)
        logging.getLogger('asyncio').addFilter(_not_of_orbax)
        self._manager = orbax.CheckpointManager(self.folder, options=options)
      except OSError as error:
        raise OSError(f'{self.folder}: no checkpoints can be kept there: {error}') from error
    return self._manager

  def _check_room(self, state):
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    # The oldest one is removed when the next one is there.
    needed = (self.keep + 1 - min(self.keep, len(self._steps()))) * size
    free = shutil.disk_usage(self.folder).free
    if free < needed:
      raise OSError(
        f'{self.folder}: {free / 1e6:,.0f} MB are free; a checkpoint takes {size / 1e6:,.0f}, and '
        f'there must be room for {self.keep + 1}: keep fewer of them'
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
      f'{self.folder}: the checkpoint of step {self._saving} could not be written: {reason}; the '
      'one before is whole, if there is one'
    )


def _not_of_orbax(record) -> bool:
  tasks_of_orbax = '.orbax-checkpoint-tmp' in record.getMessage()
  return not tasks_of_orbax and f'{os.sep}orbax{os.sep}' not in record.pathname


def _import_orbax():
  try:
    import orbax.checkpoint
  except ImportError as error:
    raise ImportError("checkpoints need orbax: pip install 'jw2v[experiments]'") from error
  return orbax.checkpoint


def _name(index: int) -> str:
  return f'array{index:02}'


def _checksum(array: np.ndarray) -> int:
  return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)


def _digest(value: Any) -> str:
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest_of(vocabulary: Vocabulary) -> str:
  return _digest([list(vocabulary.words), vocabulary.counts.tolist()])


def _damaged(where, error):
  return ValueError(
    f'{where}: a damaged checkpoint ({one_line(error)}); without that folder the run goes on from '
    'the one before, if there is one, and with restart it begins anew'
  )


def _check_same(saved: Any, wanted: Any, where: pathlib.Path, name: str = '') -> None:
  """Refuses settings that are not those of the checkpoint, and names the first of them."""
  if isinstance(saved, dict) and isinstance(wanted, dict):
    for key in sorted({*saved, *wanted}):
      _check_same(saved.get(key), wanted.get(key), where, f'{name}.{key}' if name else key)
  elif saved != wanted:
    raise ValueError(
      f'{name}={wanted!r}: the checkpoint {where} is of a run with {shown(repr(saved))}; go on '
      'with that, name another folder, or begin anew with restart'
    )


def _refuse_words(path: pathlib.Path, wanted: Vocabulary, where: pathlib.Path) -> NoReturn:
  """Refuses a vocabulary that is not that of the checkpoint, and names the first difference."""
  try:
    saved = Vocabulary.load(path)
  except (OSError, ValueError):
    told = f'{path} would say where, and cannot be read'
  else:
    pairs = lambda v: list(zip(v.words, v.counts.tolist(), strict=True))
    ours, theirs = pairs(wanted), pairs(saved)
    told = f'there are {len(ours)} words, there {len(theirs)}'
    for row, (one, other) in enumerate(zip(ours, theirs, strict=False), start=1):
      if one != other:
        told = f'word {row} is {one[0]!r} ({one[1]} times), there {other[0]!r} ({other[1]} times)'
        break
  raise ValueError(
    f'the vocabulary is not that of the checkpoint {where}: {told}; the text or what is read of '
    'it has changed: name another folder, or begin anew with restart'
  )
