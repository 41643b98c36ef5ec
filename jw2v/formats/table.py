"""Plain tables of vectors, and the file that a codec reads them from."""

import gzip
import os
import stat
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jw2v.ngrams import Ngrams
from jw2v.utils.files import naming
from jw2v.utils.limits import VECTORS_EXPANSION, Expansion

_GZIP = b'\x1f\x8b'
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

  A damaged header may promise any number of rows, so it does not decide how much is
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


class Input:
  """A file that is read once from start to end, and decompressed if it is gzip.

  Attributes:
    size: size of a plain file in bytes; None for a compressed file or a pipe.
  """

  def __init__(self, path: str | os.PathLike[str], max_expansion: float | None = VECTORS_EXPANSION):
    """Opens the file.

    Args:
      path: the file.
      max_expansion: largest allowed ratio of decompressed to compressed size; None for no limit.

    Raises:
      OSError: the file cannot be opened.
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
    """Returns the next `size` bytes, or fewer at the end of the file.

    Raises:
      ValueError: the compressed data are damaged or truncated, or expand too much.
    """
    try:
      with naming(self._raw.name):
        data = self._file.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
      raise ValueError(f'damaged gzip data: {error}') from error
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
    raise ValueError(f'the words are not UTF-8: {error}') from error
  if len(words) != count:
    raise ValueError(f'{len(words)} words for {count} vectors')
  if '' in words:
    raise ValueError(f'row {words.index("") + 1} has no word')
  return words
