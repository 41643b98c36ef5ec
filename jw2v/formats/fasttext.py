"""fastText models (`.bin`): words with the n-grams for vectors of out-of-vocabulary words.

The module reads versions 12 and 11 of the format of the fastText program. In version 11, supervised
models do not have n-grams. All numbers are little-endian: magic number and version; twelve int32
settings and a float64; the dictionary; a flag and the input matrix, with a row for each word and
for each bucket of n-grams; a flag and the output matrix. The module skips the output matrix when
reading, and writes zeros.
"""

import mmap
import os
import struct
from typing import BinaryIO

import numpy as np

from jw2v.formats.table import VectorTable
from jw2v.ngrams import LONGEST, Ngrams, word_vectors
from jw2v.utils.checks import first_not_finite

MAGIC = (793712314).to_bytes(4, 'little')
_SETTINGS = (
  'dim', 'ws', 'epoch', 'minCount', 'neg', 'wordNgrams', 'loss', 'model', 'bucket', 'minn', 'maxn',
  'lrUpdateRate',
)  # fmt: skip
_SKIP_GRAM, _SUPERVISED = 2, 3  # values of `model`
_NEGATIVE_SAMPLING = 2  # a value of `loss`
_ROWS = 1 << 14  # written at once
_LONGEST_WORD = 1 << 16


class _Reader:
  """Reads numbers and words of a file one after the other, never past its end."""

  def __init__(self, data: mmap.mmap):
    self.data, self.place = data, 0

  def numbers(self, layout: str, what: str) -> tuple:
    start, self.place = self.place, self.place + struct.calcsize(layout)
    if self.place > len(self.data):
      raise ValueError(f'the file ends in {what}')
    return struct.unpack_from(layout, self.data, start)

  def word(self, row: int) -> str:
    end = self.data.find(b'\0', self.place, self.place + _LONGEST_WORD)
    if end < 0:
      raise ValueError(f'row {row} of the dictionary must end with NUL')
    word, self.place = self.data[self.place : end], end + 1
    try:
      return word.decode()
    except UnicodeDecodeError as error:
      raise ValueError(f'row {row} of the dictionary: {error}') from error


def read_fasttext_bin(path: str | os.PathLike[str], limit: int | None = None) -> VectorTable:
  """Reads the words of a model and maps its n-grams.

  Args:
    path: the file.
    limit: maximum number of words to return, from the start; does not limit n-grams.

  Returns:
    The table; without n-grams if the model has none.

  Raises:
    ValueError: the model has another version, is quantized or pruned, or is corrupted.
  """
  size = os.path.getsize(path)
  with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    reader = _Reader(data)
    magic, version = reader.numbers('<4si', 'the first numbers')
    if magic != MAGIC or version not in (11, 12):
      raise ValueError(
        f'must be a fastText model of version 11 or 12, got {magic!r}, version {version}'
      )
    args = dict(zip(_SETTINGS, reader.numbers('<12i', 'the settings'), strict=True))
    reader.numbers('<d', 'the settings')
    words, counts, pruned = _read_dictionary(reader, size)
    (quantized,) = reader.numbers('<?', 'the input matrix')
    if quantized or pruned > 0:
      raise ValueError('a quantized model cannot be read; use the model before quantization')
    rows, width = reader.numbers('<2q', 'the input matrix')
    start = reader.place
  if not 0 < width == args['dim'] or rows < len(words) or 4 * rows * width > size - start:
    raise ValueError(
      f'the input matrix must have rows for {len(words)} words of width {args["dim"]} in '
      f'{size - start} bytes, got [{rows}, {width}]'
    )
  matrix = np.memmap(path, '<f4', 'r', start, (rows, width)) if rows else np.zeros((0, width))
  if (unsound := first_not_finite(matrix)) is not None:
    raise ValueError(f'row {unsound + 1} of the input matrix must be finite, got NaN or infinity')
  ngrams, words = matrix[len(words) :], words[:limit]
  min_n, max_n = max(args['minn'], 1), args['maxn']
  if (version == 11 and args['model'] == _SUPERVISED) or max_n <= 0 or not len(ngrams):
    return VectorTable(words, np.array(matrix[: len(words)], np.float32))
  if len(ngrams) != args['bucket'] or not min_n <= max_n <= LONGEST:
    raise ValueError(
      f'n-grams must have {args["bucket"]} rows and at most {LONGEST} characters, got '
      f'{len(ngrams)} rows, min_n={min_n} and max_n={max_n}'
    )
  ngrams, word_rows = Ngrams(ngrams, min_n, max_n, len(ngrams)), matrix[: len(words)]
  vectors = word_vectors(words, word_rows, ngrams)
  return VectorTable(words, vectors, ngrams, word_rows, counts[: len(words)])


def _read_dictionary(reader: _Reader, size: int) -> tuple[list[str], np.ndarray, int]:
  """Returns the words and counts without labels, and the number of pruned buckets or -1."""
  entries, num_words, _, _, pruned = reader.numbers('<3i2q', 'the dictionary')
  if not 0 <= num_words <= entries or entries * 10 > size:  # a NUL, a count and a kind each
    raise ValueError(
      f'invalid size of the dictionary: {entries} entries, {num_words} of them words'
    )
  words, counts = [], []
  for row in range(1, entries + 1):
    word = reader.word(row)
    count, kind = reader.numbers('<qb', f'row {row} of the dictionary')
    if kind != (row > num_words):
      raise ValueError(
        f'row {row} of the dictionary must have kind {int(row > num_words)}, got {kind}'
      )
    if kind == 0:
      words.append(word)
      counts.append(count)
  return words, np.array(counts, np.int64), pruned


def write_fasttext_bin(file: BinaryIO, table: VectorTable) -> None:
  """Writes a model that the fastText program and gensim can load.

  The model contains zeros as the output matrix and as the rows of unused buckets, so it cannot
  be trained further.

  Raises:
    ValueError: the table has no n-grams, or no rows of the words themselves.
  """
  ngrams, word_rows = table.ngrams, table.word_rows
  if ngrams is None or word_rows is None:
    raise ValueError('a fastText model must have n-grams and the rows of words, got none')
  num_words, width = table.vectors.shape
  settings = {
    'dim': width, 'ws': 5, 'epoch': 1, 'minCount': 1, 'neg': 5, 'wordNgrams': 1,
    'loss': _NEGATIVE_SAMPLING, 'model': _SKIP_GRAM, 'bucket': ngrams.buckets,
    'minn': ngrams.min_n, 'maxn': ngrams.max_n, 'lrUpdateRate': 100,
  }  # fmt: skip
  file.write(MAGIC + struct.pack('<i', 12))
  file.write(struct.pack('<12id', *(settings[name] for name in _SETTINGS), 1e-4))
  counts = np.ones(num_words, np.int64) if table.counts is None else table.counts
  # fastText builds its noise distribution from the counts when it loads a model: 0 is an error.
  counts = np.maximum(counts, 1).tolist()
  file.write(struct.pack('<3i2q', num_words, num_words, 0, sum(counts), -1))
  for word, count in zip(table.words, counts, strict=True):
    file.write(word.encode() + b'\0' + struct.pack('<qb', count, 0))
  rows = num_words + ngrams.buckets
  file.write(struct.pack('<?2q', False, rows, width))
  for begin in range(0, num_words, _ROWS):
    file.write(word_rows[begin : begin + _ROWS].astype('<f4').tobytes())
  for begin in range(0, ngrams.buckets, _ROWS):
    block = np.zeros((min(_ROWS, ngrams.buckets - begin), width), '<f4')
    if ngrams.index is None:
      block[:] = ngrams.vectors[begin : begin + _ROWS]
    else:
      first, last = np.searchsorted(ngrams.index, [begin, begin + len(block)])
      block[ngrams.index[first:last] - begin] = ngrams.vectors[first:last]
    file.write(block.tobytes())
  file.write(struct.pack('<?2q', False, num_words, width))
  for begin in range(0, num_words, _ROWS):
    file.write(bytes(4 * width * min(_ROWS, num_words - begin)))
