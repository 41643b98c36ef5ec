"""Files that appear whole or not at all, and files read from their start to their end.

What belongs here: what every format shares, and nothing about what is in a file.
"""

import contextlib
import gzip
import os
import pathlib
import stat
import tempfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

_UNFINISHED: set[str | os.PathLike[str]] = set()
_GZIP = b'\x1f\x8b'


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
  handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name[:40]}.')
  try:
    with os.fdopen(handle, 'wb') as file, unfinished(temporary):
      yield file
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)  # mkstemp's 0600 is not what open() would give
    os.replace(temporary, path)
  except BaseException:
    os.unlink(temporary)
    raise


@contextlib.contextmanager
def unfinished(path: str | os.PathLike[str]) -> Iterator[None]:
  """Has `remove_unfinished` remove a file, or an empty folder, meanwhile."""
  _UNFINISHED.add(path)
  try:
    yield
  finally:
    _UNFINISHED.discard(path)


def remove_unfinished() -> None:
  """Removes what is half written, for a process that is told to end."""
  for path in sorted(_UNFINISHED, key=os.fspath, reverse=True):  # files before their folder
    with contextlib.suppress(OSError):
      (os.rmdir if os.path.isdir(path) else os.unlink)(path)


class Input:
  """A file that is read once, from its start; one in gzip is decompressed on the way.

  Attributes:
    size: the bytes of a plain file, or None: nobody knows those of a compressed one.
  """

  def __init__(self, path: str | os.PathLike[str]):
    """Opens the file; an `OSError` if that is not possible."""
    self._raw = open(path, 'rb')  # closed by __exit__
    status = os.fstat(self._raw.fileno())
    is_file = stat.S_ISREG(status.st_mode)
    self._bytes = status.st_size if is_file else None
    compressed = self._raw.peek(2)[:2] == _GZIP
    self._file = gzip.GzipFile(fileobj=self._raw) if compressed else self._raw
    self.size = None if compressed or not is_file else self._bytes

  def __enter__(self) -> 'Input':
    return self

  def __exit__(self, *_) -> None:
    self._file.close()
    self._raw.close()

  def read(self, size: int) -> bytes:
    """The next `size` bytes, fewer only at the end.

    Raises:
      ValueError: the compressed data are damaged or cut short.
    """
    try:
      return self._file.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
      raise ValueError(f'damaged gzip data: {error}') from error

  def share_read(self) -> float:
    """How much of the file has been read, above 0 and up to 1."""
    if self._bytes is None:  # nobody knows of a pipe
      return 1.0
    return min(max(self._raw.tell(), 1) / max(self._bytes, 1), 1.0)
