"""The folder of a run.

What belongs here: what a run leaves in its folder, and the refusal, before it starts, of
a folder that cannot be written to or is in use.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from jw2v.formats.registry import save_vectors
from jw2v.utils.files import atomic_write, unfinished
from jw2v.vectors.keyed_vectors import KeyedVectors
from jw2v.vectors.subwords import SubwordVectors

try:
  import fcntl
except ImportError:  # not on every system
  fcntl = None  # type: ignore[assignment]


def check_workdir(workdir: pathlib.Path) -> None:
  """Refuses a workdir that could not be made or written to; makes nothing yet.

  Raises:
    NotADirectoryError: it is a file, or in one.
    PermissionError: it, or the folder that it would be made in, cannot be written to.
  """
  existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
  if not existing.is_dir():
    raise NotADirectoryError(f'workdir={str(workdir)!r}: {existing} is a file: name a folder')
  if not os.access(existing, os.W_OK | os.X_OK):
    raise PermissionError(f'workdir={str(workdir)!r}: no permission to write in {existing}')


@contextlib.contextmanager
def lock_workdir(workdir: pathlib.Path) -> Iterator[None]:
  """Keeps a folder for this process; it is made if it is missing, and removed if still empty.

  The system lets go of it when the process ends, in whatever way.

  Raises:
    BlockingIOError: another process has it.
  """
  made = [path for path in (workdir, *workdir.absolute().parents) if not path.exists()]
  workdir.mkdir(parents=True, exist_ok=True)
  path, handle = workdir / '.lock', None
  while fcntl is not None and handle is None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      os.close(handle)
      raise BlockingIOError(
        f'workdir={str(workdir)!r}: another run is at work there: name another folder, or wait'
      ) from None
    except OSError:  # not every file system has locks
      break
    if not _is_at(handle, path):  # a run that ended meanwhile has removed it; others lock a new one
      os.close(handle)
      handle = None
  try:
    with unfinished(path):
      yield
  finally:
    if handle is not None:
      with contextlib.suppress(OSError):
        path.unlink()
      os.close(handle)
    with contextlib.suppress(OSError):  # one of them is not empty
      for folder in made:
        folder.rmdir()


def _is_at(handle: int, path: pathlib.Path) -> bool:
  """Whether an open file is still the one of that name."""
  try:
    return os.path.samestat(os.fstat(handle), os.stat(path))
  except FileNotFoundError:
    return False


def write_workdir(
  workdir: pathlib.Path,
  config: dict[str, Any],
  vectors: KeyedVectors,
  history: list[dict[str, Any]],
) -> None:
  """Writes `vectors.txt`, `config.json` and `metrics.jsonl`, each whole or not at all.

  With n-grams also `vectors.safetensors`, which has them; one of an earlier run goes.
  """
  texts = {
    'config.json': json.dumps(config, indent=2) + '\n',
    'metrics.jsonl': ''.join(json.dumps(record) + '\n' for record in history),
  }
  workdir.mkdir(parents=True, exist_ok=True)
  has_ngrams = isinstance(vectors, SubwordVectors)
  plain = KeyedVectors(vectors.index_to_key, vectors.vectors) if has_ngrams else vectors
  save_vectors(plain, workdir / 'vectors.txt')
  if has_ngrams:
    save_vectors(vectors, workdir / 'vectors.safetensors')
  else:
    (workdir / 'vectors.safetensors').unlink(missing_ok=True)
  for name, text in texts.items():
    with atomic_write(workdir / name) as file:
      file.write(text.encode())
