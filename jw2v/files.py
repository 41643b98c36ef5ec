"""Files that appear whole or not at all, and files read from their start to their end.

What belongs here: what every format shares, and nothing about what is in a file.
"""

import contextlib
import gzip
import os
import pathlib
import tempfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

_GZIP = b'\x1f\x8b'


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a file that appears under its name when written whole, or not at all."""
  path = pathlib.Path(path)
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{path}: there is no folder {path.parent}')
  handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
  try:
    with os.fdopen(handle, 'wb') as file:
      yield file
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)  # mkstemp's 0600 is not what open() would give
    os.replace(temporary, path)
  except BaseException:
    os.unlink(temporary)
    raise


class Input:
  """A file that is read once, from its start; one in gzip is decompressed on the way.

  Attributes:
    size: the bytes of a plain file, or None: nobody knows those of a compressed one.
  """

  def __init__(self, path: str | os.PathLike):
    """Opens the file; an `OSError` if that is not possible."""
    self._raw = open(path, 'rb')  # closed by __exit__
    self._bytes = os.fstat(self._raw.fileno()).st_size
    compressed = self._raw.peek(2)[:2] == _GZIP
    self._file = gzip.GzipFile(fileobj=self._raw) if compressed else self._raw
    self.size = None if compressed else self._bytes

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
    return min(max(self._raw.tell(), 1) / max(self._bytes, 1), 1.0)
