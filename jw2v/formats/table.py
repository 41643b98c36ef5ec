"""Plain tables of vectors, and the file that a codec reads them from."""

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jw2v.ngrams import Ngrams
from jw2v.utils.extras import import_pyarrow
from jw2v.utils.files import expanded, naming
from jw2v.utils.limits import VECTORS_EXPANSION, Expansion, one_line, shown

BOM = '\ufeff'.encode()  # the byte order mark, which some editors write at the start of text
ZIP = b'PK\x03\x04'
_MAGIC = {
  'gzip': re.compile(rb'\x1f\x8b'),
  'bzip2': re.compile(rb'BZh[1-9]1AY&SY'),
  'xz': re.compile(rb'\xfd7zXZ\0'),
  'zstd': re.compile(rb'\x28\xb5\x2f\xfd'),
}
_HEAD = 10  # length of the longest of these
_BLOCK = 1 << 20  # bytes copied at once
_MOST_GROWTH = 16  # times at once


class VectorTable(NamedTuple):
  """Contents of a file of vectors.

  Attributes:
    words: V words.
    vectors: `[V, D]` float32; may be mapped from a file.
    ngrams: rows of character n-grams; None if the file has none.
    word_rows: `[V, D]`, the rows of the words without their n-grams; None if not known.
    counts: `[V]` int64, occurrences of the words; None if not known.
  """

  words: list[str]
  vectors: np.ndarray
  ngrams: Ngrams | None = None
  word_rows: np.ndarray | None = None
  counts: np.ndarray | None = None


class GrowingTable:
  """One array that grows with the rows appended to it.

  A corrupted header may have any number of rows, so it does not determine how much is
  allocated. The allocation is extrapolated from the share of the file read so far.
  """

  def __init__(self, width: int, expected: int | None):
    """Starts an empty table.

    Args:
      width: D, numbers per row.
      expected: number of rows that the file promises, or None.
    """
    self.width: int = width
    self._expected = expected
    self._array, self._count = np.empty((0, width), np.float32), 0

  def append(self, rows: np.ndarray, share: float) -> None:
    """Appends `[n, D]` rows; `share` of the file has been read by then."""
    need = self._count + len(rows)
    if need > len(self._array):
      room = min(int(1.05 * need / share), _MOST_GROWTH * need)
      if self._expected is not None and need <= self._expected:
        room = min(room, self._expected)
      if len(self._array):  # in place where the system can move pages
        self._array.resize((max(need, room), self.width), refcheck=False)
      else:
        self._array = np.empty((max(need, room), self.width), np.float32)
    self._array[self._count : need] = rows
    self._count = need

  def finish(self, count: int) -> np.ndarray:
    """Returns the first `count` rows."""
    self._array.resize((count, self.width), refcheck=False)
    return self._array


def _compression_of(file: Any) -> str | None:
  """Returns the compression of a file, from its first bytes: 'gzip', 'zip', ...; None for none.

  A zip archive that NumPy wrote is not a compressed file.
  """
  start = file.peek(_HEAD)[:_HEAD]
  if start.startswith(ZIP):
    if not file.seekable():
      raise ValueError('a zip archive must be a file, not a pipe; unpack it')
    try:
      return None if any(name.endswith('.npy') for name in _members(file)) else 'zip'
    except (
      Exception
    ):  # zipfile errors have no base class; reading the archive raises the right error
      return None
    finally:
      file.seek(0)
  return next((name for name, magic in _MAGIC.items() if magic.match(start)), None)


def _members(file: Any) -> list[str]:
  """Returns the names of the files in a zip archive."""
  with zipfile.ZipFile(file) as archive:
    return [
      member.filename for member in archive.infolist()
      if not member.is_dir() and not member.filename.startswith('__MACOSX/')
    ]  # fmt: skip


def _decompressed(file: Any, kind: str) -> Any:
  """Returns the content of a compressed file as a file."""
  if kind == 'zip':
    names = _members(file)
    if len(names) != 1:
      raise ValueError(
        f'a zip archive must contain one file, got {len(names)}: {shown(", ".join(names))}; '
        'unpack the file with the vectors'
      )
    try:
      return zipfile.ZipFile(file).open(names[0])
    except Exception as error:  # encrypted, compressed in another way, or corrupted
      raise ValueError(f'{names[0]} cannot be unpacked: {one_line(error)}') from error
  if kind == 'zstd':
    pyarrow = import_pyarrow()
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode='r'), 'zstd')
  if kind == 'gzip':
    return gzip.GzipFile(fileobj=file)
  return bz2.BZ2File(file) if kind == 'bzip2' else lzma.LZMAFile(file)


@contextlib.contextmanager
def plain_file(
  path: str | os.PathLike[str], max_expansion: float | None = VECTORS_EXPANSION
) -> Iterator[str | os.PathLike[str]]:
  """Yields the path of a file; for a compressed file, the path of a decompressed copy.

  The copy is in the folder for temporary files (`TMPDIR`), and is removed at the end of the block.
  On POSIX, arrays that are mapped from it stay readable.
  """
  if not os.path.isfile(path):
    yield path
    return
  with Input(path, max_expansion, mark=False) as source:
    if source.size is not None:
      yield path
      return
    folder = tempfile.mkdtemp(prefix='jw2v.')
    try:
      copy = os.path.join(folder, 'vectors')
      with naming(copy), open(copy, 'wb') as target:
        while block := source.read(_BLOCK):
          target.write(block)
      yield copy
    finally:
      shutil.rmtree(folder, ignore_errors=True)


class Input:
  """A file that is read once from start to end, and decompressed if it is compressed.

  It is gzip, bzip2, xz, zstd, a zip archive of one file, or plain. A byte order mark at the start
  is skipped.

  Attributes:
    size: size of a plain file in bytes; None for a compressed file or a pipe.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    max_expansion: float | None = VECTORS_EXPANSION,
    mark: bool = True,
  ):
    """Opens the file.

    Args:
      path: the file.
      max_expansion: largest allowed ratio of decompressed to compressed size; None for no limit.
      mark: True to skip a byte order mark.

    Raises:
      OSError: the file cannot be opened.
      ValueError: the compressed data are corrupted, or the archive has several files.
    """
    path = expanded(path)
    self._raw = open(path, 'rb')  # closed by __exit__
    self._file: Any = self._raw
    self._path = path
    try:
      status = os.fstat(self._raw.fileno())
      is_file = stat.S_ISREG(status.st_mode)
      self._bytes = status.st_size if is_file else None
      with naming(path):
        self._kind = _compression_of(self._raw)
      if self._kind is not None:
        self._file = _decompressed(self._raw, self._kind)
      self.size: int | None = None if self._kind or not is_file else self._bytes
      size = lambda: self._raw.tell() if self._bytes is None else self._bytes
      self._expansion = Expansion(max_expansion if self._kind else None, size)
      self._start = self._read(len(BOM))
      self._start = self._start.removeprefix(BOM) if mark else self._start
    except BaseException:
      self.__exit__()
      raise

  def __enter__(self) -> 'Input':
    return self

  def __exit__(self, *_: object) -> None:
    self._file.close()
    self._raw.close()

  def read(self, size: int) -> bytes:
    """Returns the next `size` bytes, or fewer at the end of the file.

    Raises:
      ValueError: the compressed data are corrupted or truncated, or expand too much.
    """
    start, self._start = self._start[:size], self._start[size:]
    return start + self._read(size - len(start)) if len(start) < size else start

  def _read(self, size: int) -> bytes:
    try:
      with naming(self._path):
        if self._kind == 'zstd':  # pyarrow's `read` leaks if it fails
          data = self._file.read_buffer(size).to_pybytes()
        else:
          data = self._file.read(size)
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, MemoryError,
            RuntimeError, OSError) as error:  # fmt: skip
      of_disk = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
      if self._kind is None or of_disk:
        raise
      raise ValueError(f'corrupted {self._kind} data: {one_line(error)}') from error
    self._expansion.add(len(data))
    return data

  def share_read(self) -> float:
    """Returns the share of the file that has been read, above 0 and at most 1."""
    if self._bytes is None:  # a pipe has no size
      return 1.0
    return min(max(self._raw.tell(), 1) / max(self._bytes, 1), 1.0)


def join_words(words: Sequence[str]) -> np.ndarray:
  r"""Returns the words as uint8: UTF-8, with `\n` between words."""
  return np.frombuffer('\n'.join(words).encode(), np.uint8)


def split_words(text: bytes, count: int) -> list[str]:
  """Splits the text of `join_words`.

  Raises:
    ValueError: the text is not UTF-8, has an empty word, or does not have `count` words.
  """
  try:
    words = text.decode().split('\n') if text or count else []
  except UnicodeDecodeError as error:
    raise ValueError(f'words must be UTF-8: {error}') from error
  if len(words) != count:
    raise ValueError(
      f'the number of words must be {count}, the number of vectors, got {len(words)}'
    )
  if '' in words:
    raise ValueError(f'row {words.index("") + 1} must have a word')
  return words
