"""The folder of a run: its lock, its metrics and its results."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from jw2v.data.store import read_manifest
from jw2v.utils.files import atomic_write, expanded, naming, unfinished
from jw2v.utils.locks import lock_file
from jw2v.vectors.keyed_vectors import KeyedVectors, SubwordVectors, save_vectors

_FOLDERS = {'checkpoints', 'corpus', 'tensorboard'}
# Files and keys by which the folder of a run is recognized.
_MARKS = {'config.json': {'dim', 'epochs'}, 'metrics.jsonl': {'loss', 'words_per_second'}}


class Workdir:
  """The folder of a run, for `train(..., workdir=)`.

  Attributes:
    path: the folder.
    config: JSON value for `config.json`; None for the settings of the run.
  """

  def __init__(self, path: str | os.PathLike[str], config: dict[str, Any] | None = None):
    """Stores the path; nothing is created yet."""
    self.path: pathlib.Path = expanded(path)
    self.config: dict[str, Any] | None = config
    self._is_locked = False

  def check(self) -> None:
    """Raises an error if the folder cannot be created or written to; creates nothing.

    Raises:
      NotADirectoryError: the path is a file or inside one.
      IsADirectoryError: a folder has the name of a result.
      FileExistsError: the folder has files and was not created by a run.
      PermissionError: the folder, or the one to create it in, is not writable.
    """
    existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
    if not existing.is_dir():
      raise NotADirectoryError(
        f'workdir must be a folder, got {str(self.path)!r}: {existing} is a file'
      )
    for name in ('vectors.txt', 'config.json', 'metrics.jsonl'):
      if (self.path / name).is_dir():
        raise IsADirectoryError(f'{self.path / name} must be a file, got a folder; remove it')
    if existing == self.path and not _is_of_a_run(self.path):
      names = sorted(path.name for path in self.path.iterdir())
      raise FileExistsError(
        f'workdir must be a new folder, an empty one or that of an earlier run, got '
        f'{str(self.path)!r}, which has {", ".join(names[:3])}; choose another folder, such as '
        f'{str(self.path / "run")!r}'
      )
    if not os.access(existing, os.W_OK | os.X_OK):
      raise PermissionError(
        f'workdir must be writable, got {str(self.path)!r}: no permission to write in {existing}'
      )

  @contextlib.contextmanager
  def locked(self) -> Iterator['Workdir']:
    """Locks the folder for this process; creates it if missing, and removes it if still empty.

    The operating system releases the lock when the process ends for any reason. Locking the
    same object again has no effect.

    Raises:
      BlockingIOError: another run has locked the folder.
    """
    if self._is_locked:
      yield self
      return
    created = [p for p in (self.path, *self.path.absolute().parents) if not p.exists()]
    self.path.mkdir(parents=True, exist_ok=True)
    path = self.path / '.lock'
    try:
      with contextlib.ExitStack() as stack:
        try:
          stack.enter_context(lock_file(path))
        except BlockingIOError:
          raise BlockingIOError(
            f'workdir={str(self.path)!r} is in use by another run; name another folder, or wait'
          ) from None
        stack.enter_context(unfinished(path))
        self._is_locked = True
        yield self
    finally:
      self._is_locked = False
      with contextlib.suppress(OSError):  # one of the folders is not empty
        for folder in created:
          folder.rmdir()

  def metrics(self) -> 'MetricsFile':
    """Returns the writer of `metrics.jsonl`."""
    return MetricsFile(self.path / 'metrics.jsonl')

  def write_results(self, config: dict[str, Any], vectors: KeyedVectors) -> None:
    """Writes `vectors.txt` and `config.json`, each whole or not at all.

    With n-grams also writes `vectors.safetensors`, which has them; otherwise removes that file of
    an earlier run.
    """
    has_ngrams = isinstance(vectors, SubwordVectors)
    plain = KeyedVectors(vectors.index_to_key, vectors.vectors) if has_ngrams else vectors
    save_vectors(plain, self.path / 'vectors.txt')
    if has_ngrams:
      save_vectors(vectors, self.path / 'vectors.safetensors')
    else:
      (self.path / 'vectors.safetensors').unlink(missing_ok=True)
    chosen = config if self.config is None else self.config
    with atomic_write(self.path / 'config.json') as file:
      file.write((json.dumps(chosen, indent=2) + '\n').encode())


def _is_of_a_run(folder: pathlib.Path) -> bool:
  """Returns whether the folder is empty or was created by a run."""
  names = {path.name for path in folder.iterdir() if not path.name.startswith('.')}
  if names <= _FOLDERS:  # a run that was killed early
    return True
  for name, own in _MARKS.items():
    with contextlib.suppress(OSError, ValueError, StopIteration):
      with open(folder / name, encoding='utf-8') as file:
        text = file.read() if name == 'config.json' else next(file)
      found = json.loads(text)
      if isinstance(found, dict) and own <= found.keys():
        return True
  return read_manifest(folder / 'corpus') is not None


def _line(record: dict[str, Any]) -> str:
  """Returns a record as a line of JSON; NaN and infinity become null."""
  finite = lambda x: None if isinstance(x, float) and not math.isfinite(x) else x
  return json.dumps({name: finite(x) for name, x in record.items()}, allow_nan=False) + '\n'


class MetricsFile:
  """A file with one JSON object per record, written during training."""

  def __init__(self, path: pathlib.Path):
    """Stores the path; `start` creates the file."""
    self._path: pathlib.Path = path
    self._file: Any = None

  def start(self, history: list[dict[str, Any]]) -> None:
    """Replaces the file by the records of the checkpoint, or by an empty file."""
    with atomic_write(self._path) as file:
      file.write(''.join(map(_line, history)).encode())
    self._file = open(self._path, 'ab', buffering=0)  # closed by close()

  def add(self, record: dict[str, Any]) -> None:
    """Appends a record: a whole line, or nothing if the disk is full."""
    assert self._file is not None
    line, size = _line(record).encode(), self._file.seek(0, os.SEEK_END)
    with naming(self._path):
      try:
        while line:
          line = line[self._file.write(line) :]  # a full disk writes a part of the line first
      except OSError:
        self._file.truncate(size)
        raise

  def close(self) -> None:
    """Closes the file."""
    if self._file is not None:
      self._file.close()
