"""Files that appear whole or not at all, files read from start to end, and arrays left in a file.

What belongs here: what every format shares, and nothing about what is in a file.
"""

import contextlib
import glob
import gzip
import io
import json
import os
import pathlib
import shutil
import stat
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from jw2v.utils.limits import VECTORS_EXPANSION, Expansion

try:
  import fcntl
except ImportError:  # Windows; what a killed process leaves behind stays there
  fcntl = None  # type: ignore[assignment]

_UNFINISHED: set[str | os.PathLike[str]] = set()
_GZIP = b'\x1f\x8b'
_PARTIAL = '.partial'


def check_output(path: str | os.PathLike[str]) -> pathlib.Path:
  """Refuses the name of a file that could not be written; makes nothing.

  Returns:
    The path, that behind it if it is a link.

  Raises:
    FileNotFoundError: the name is empty, or its folder does not exist.
    IsADirectoryError: it is a folder.
    OSError: it is no file but a pipe or a device, which a renamed file would replace.
  """
  if not os.fspath(path):
    raise FileNotFoundError('the name of the file to write is empty')
  path = pathlib.Path(path)
  path = pathlib.Path(os.path.realpath(path)) if path.is_symlink() else path
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{path}: there is no folder {path.parent}')
  if path.is_dir():
    raise IsADirectoryError(f'{path}: is a folder, not a file')
  if path.exists() and not path.is_file():
    raise OSError(f'{path}: is no file but a pipe or a device: name a file')
  return path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
  """Opens a file that appears under its name when written whole, or not at all."""
  path = check_output(path)
  handle, temporary = _make_partial(path)
  lock = os.dup(handle)  # until the file has its name, or another process would remove it
  try:
    with io.BufferedWriter(_Output(handle, path), 1 << 16) as file, unfinished(temporary):
      yield file
      with naming(path):
        file.flush()
        os.fsync(handle)  # or after a loss of power the name may be there and the bytes not
    os.chmod(temporary, default_mode(0o666))  # mkstemp's 0600 is not what open() would give
    if os.name != 'posix':  # where a file that is open cannot be renamed
      os.close(lock)
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    raise
  finally:
    with contextlib.suppress(OSError):
      os.close(lock)


class _Output(io.FileIO):
  """A file whose errors have the name that it will have."""

  def __init__(self, handle, path):
    super().__init__(handle, 'wb')
    self._path = path

  def write(self, data):
    with naming(self._path):
      return super().write(data)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
  """Adds the name of a file to an `OSError` that has none, as of a read or a full disk."""
  try:
    yield
  except OSError as error:
    if error.errno is None or error.filename is not None:
      raise
    raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error


def default_mode(mode: int) -> int:
  """The permissions that a new file or folder gets of those asked for."""
  mask = os.umask(0)
  os.umask(mask)
  return mode & ~mask


def as_json(value: Any) -> Any:
  """What JSON makes of a value: lists of tuples, plain dicts."""
  return json.loads(json.dumps(value))


def try_lock(handle: int) -> bool:
  """Whether no other process has locked a file, which this one then has while it is open."""
  if fcntl is None:
    return False
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:  # or the file system has no locks
    return False
  return True


def _make_partial(path: pathlib.Path) -> tuple[int, str]:
  """A new file beside `path`, locked; those that killed processes have left are removed."""
  prefix = f'.{path.name[:40]}.'
  with contextlib.suppress(OSError):
    for other in path.parent.glob(f'{glob.escape(prefix)}*{_PARTIAL}'):
      handle = os.open(other, os.O_RDWR)
      try:
        if try_lock(handle):
          os.unlink(other)
      finally:
        os.close(handle)
  while True:
    handle, temporary = tempfile.mkstemp(_PARTIAL, prefix, path.parent)
    if fcntl is not None:
      with contextlib.suppress(OSError):  # not every file system has locks
        fcntl.flock(handle, fcntl.LOCK_EX)
    if os.path.exists(temporary):  # or another process took it for abandoned before the lock
      return handle, temporary
    os.close(handle)


@contextlib.contextmanager
def unfinished(path: str | os.PathLike[str]) -> Iterator[None]:
  """While open, `remove_unfinished` removes this file, empty folder, or folder named .partial."""
  _UNFINISHED.add(path)
  try:
    yield
  finally:
    _UNFINISHED.discard(path)


def remove_unfinished() -> None:
  """Removes what is half written, for a process that is told to end."""
  for path in sorted(_UNFINISHED, key=os.fspath, reverse=True):  # files before their folder
    with contextlib.suppress(OSError):
      if os.fspath(path).endswith(_PARTIAL) and os.path.isdir(path):
        shutil.rmtree(path)
      else:
        (os.rmdir if os.path.isdir(path) else os.unlink)(path)


class Input:
  """A file that is read once, from its start; one in gzip is decompressed on the way.

  Attributes:
    size: the bytes of a plain file, or None: nobody knows those of a compressed one.
  """

  def __init__(self, path: str | os.PathLike[str], max_expansion: float | None = VECTORS_EXPANSION):
    """Opens the file.

    Args:
      path: the file.
      max_expansion: how many times as large as the file what comes out may be; None for any.

    Raises:
      OSError: it cannot be opened.
    """
    self._raw = open(path, 'rb')  # closed by __exit__
    status = os.fstat(self._raw.fileno())
    is_file = stat.S_ISREG(status.st_mode)
    self._bytes = status.st_size if is_file else None
    try:
      with naming(path):
        compressed = self._raw.peek(2)[:2] == _GZIP
    except OSError:
      self._raw.close()
      raise
    self._file = gzip.GzipFile(fileobj=self._raw) if compressed else self._raw
    self.size: int | None = None if compressed or not is_file else self._bytes
    size = lambda: self._raw.tell() if self._bytes is None else self._bytes
    self._expansion = Expansion(max_expansion if compressed else None, size)

  def __enter__(self) -> 'Input':
    return self

  def __exit__(self, *_: object) -> None:
    self._file.close()
    self._raw.close()

  def read(self, size: int) -> bytes:
    """The next `size` bytes, fewer only at the end.

    Raises:
      ValueError: the compressed data are damaged or cut short, or become too many.
    """
    try:
      with naming(self._raw.name):
        data = self._file.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
      raise ValueError(f'damaged gzip data: {error}') from error
    self._expansion.add(len(data))
    return data

  def share_read(self) -> float:
    """How much of the file has been read, above 0 and up to 1."""
    if self._bytes is None:  # nobody knows of a pipe
      return 1.0
    return min(max(self._raw.tell(), 1) / max(self._bytes, 1), 1.0)


class StoredArray(np.memmap):
  """An array of one axis that stays in its file: mapped, and read in pieces by `read`.

  What touches a mapped page that the disk does not give, or that is beyond the end of a file that
  was cut, is killed by the system; and the pages that were touched count as memory of the process.
  Neither is so of what `read` returns.
  """

  _handle: int | None = None  # that of a part of the array, a view, is None

  @classmethod
  def open(cls, path: str | os.PathLike[str]) -> 'StoredArray':
    """Opens a `.npy` file; its place may go to another file while this array lives.

    Raises:
      OSError: it cannot be read.
      ValueError: it is no array.
    """
    with naming(path):
      array = np.lib.format.open_memmap(path, mode='r').view(cls)
      if hasattr(os, 'pread'):
        array._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(array, os.close, array._handle)
    return array

  def read(self, start: int, end: int) -> np.ndarray:
    """What is from `start` to before `end`, in memory.

    Raises:
      OSError: the disk does not give it, or the file has been cut.
    """
    if self._handle is None:
      return np.array(self[start:end])
    size, path = (end - start) * self.itemsize, pathlib.Path(str(self.filename))
    with naming(path):
      data = os.pread(self._handle, size, self.offset + start * self.itemsize)
    if len(data) < size:
      raise OSError(
        f'{path}: damaged, it has been cut to {os.fstat(self._handle).st_size:,} bytes while it '
        f'was read; remove {path.parent} to encode the text again'
      )
    return np.frombuffer(data, self.dtype)
