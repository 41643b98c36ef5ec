"""fastText's `.bin` models: words with the n-grams that make vectors of unseen words.

What belongs here: reading and writing that file. Its layout, all little-endian, is that of
version 12 of the fastText program (11 too, which has no n-grams in supervised models): magic number
and version; twelve int32 settings and a float64; the dictionary; a flag and the input
matrix, which has a row for each word and one for each bucket of n-grams; then the output
matrix, which is not read, and written as zeros.
"""

import mmap
import os
import struct
from typing import BinaryIO

import numpy as np

from jw2v.ngrams import LONGEST, Ngrams
from jw2v.utils.checks import first_not_finite
from jw2v.vectors.keyed_vectors import KeyedVectors
from jw2v.vectors.subwords import SubwordVectors

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
  """Numbers and words of a file, one after the other, never past its end."""

  def __init__(self, data: mmap.mmap):
    self.data, self.place = data, 0

  def numbers(self, layout: str, what: str) -> tuple:
    start, self.place = self.place, self.place + struct.calcsize(layout)
    if self.place > len(self.data):
      raise ValueError(f'ends within {what}')
    return struct.unpack_from(layout, self.data, start)

  def word(self, row: int) -> str:
    end = self.data.find(b'\0', self.place, self.place + _LONGEST_WORD)
    if end < 0:
      raise ValueError(f'row {row} of the dictionary does not end')
    word, self.place = self.data[self.place : end], end + 1
    try:
      return word.decode()
    except UnicodeDecodeError as error:
      raise ValueError(f'row {row} of the dictionary: {error}') from error


def read_fasttext_bin(path: str | os.PathLike[str], limit: int | None = None) -> KeyedVectors:
  """Reads the words of a fastText model and maps its n-grams.

  Args:
    path: the file.
    limit: give only so many words; the n-grams are there all the same.

  Returns:
    `SubwordVectors`; `KeyedVectors` of a model without n-grams.

  Raises:
    ValueError: another version, a quantized or pruned model, a file that is cut short, or
      one whose sizes do not fit together.
  """
  size = os.path.getsize(path)
  with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    reader = _Reader(data)
    magic, version = reader.numbers('<4si', 'the first numbers')
    if magic != MAGIC or version not in (11, 12):
      raise ValueError(f'is no fastText model of version 11 or 12: {magic!r}, {version}')
    args = dict(zip(_SETTINGS, reader.numbers('<12i', 'the settings'), strict=True))
    reader.numbers('<d', 'the settings')
    words, counts, pruned = _read_dictionary(reader, size)
    (quantized,) = reader.numbers('<?', 'the input matrix')
    if quantized or pruned > 0:
      raise ValueError('is a quantized model: only those that were not quantized can be read')
    rows, width = reader.numbers('<2q', 'the input matrix')
    start = reader.place
  if not 0 < width == args['dim'] or rows < len(words) or 4 * rows * width > size - start:
    raise ValueError(
      f'an input matrix [{rows}, {width}] for {len(words)} words of width {args["dim"]} cannot '
      f'be in {size - start} bytes'
    )
  matrix = np.memmap(path, '<f4', 'r', start, (rows, width)) if rows else np.zeros((0, width))
  if (unsound := first_not_finite(matrix)) is not None:
    raise ValueError(f'row {unsound + 1} of the input matrix is not finite')
  ngrams, words = matrix[len(words) :], words[:limit]
  min_n, max_n = max(args['minn'], 1), args['maxn']
  if (version == 11 and args['model'] == _SUPERVISED) or max_n <= 0 or not len(ngrams):
    return KeyedVectors(words, np.array(matrix[: len(words)], np.float32))
  if len(ngrams) != args['bucket'] or not min_n <= max_n <= LONGEST:
    raise ValueError(
      f'{len(ngrams)} rows for n-grams of {min_n} to {max_n} characters; the settings say '
      f'{args["bucket"]}, of at most {LONGEST}'
    )
  ngrams = Ngrams(ngrams, min_n, max_n, len(ngrams))
  return SubwordVectors(words, None, ngrams, matrix[: len(words)], counts[: len(words)])


def _read_dictionary(reader: _Reader, size: int) -> tuple[list[str], np.ndarray, int]:
  """The words with their counts, without labels; and how many buckets were pruned away or -1."""
  entries, num_words, _, _, pruned = reader.numbers('<3i2q', 'the dictionary')
  if not 0 <= num_words <= entries or entries * 10 > size:  # a NUL, a count and a kind each
    raise ValueError(f'the dictionary cannot have {entries} entries, {num_words} of them words')
  words, counts = [], []
  for row in range(1, entries + 1):
    word = reader.word(row)
    count, kind = reader.numbers('<qb', f'row {row} of the dictionary')
    if kind != (row > num_words):
      raise ValueError(f'row {row} of the dictionary is of kind {kind}: words (0) come first')
    if kind == 0:
      words.append(word)
      counts.append(count)
  return words, np.array(counts, np.int64), pruned


def write_fasttext_bin(file: BinaryIO, kv: SubwordVectors) -> None:
  """Writes a model that the fastText program and gensim load, for vectors of any word.

  Buckets without a row, and the output matrix, are zeros: the model cannot be trained further.
  """
  if kv.word_rows is None:
    raise ValueError('word_rows=None: a model has the rows of the words themselves')
  ngrams, (num_words, width) = kv.ngrams, kv.vectors.shape
  settings = {
    'dim': width, 'ws': 5, 'epoch': 1, 'minCount': 1, 'neg': 5, 'wordNgrams': 1,
    'loss': _NEGATIVE_SAMPLING, 'model': _SKIP_GRAM, 'bucket': ngrams.buckets,
    'minn': ngrams.min_n, 'maxn': ngrams.max_n, 'lrUpdateRate': 100,
  }  # fmt: skip
  file.write(MAGIC + struct.pack('<i', 12))
  file.write(struct.pack('<12id', *(settings[name] for name in _SETTINGS), 1e-4))
  counts = np.ones(num_words, np.int64) if kv.counts is None else kv.counts
  # fastText draws noise words by the counts when it loads a model: none may be 0.
  counts = np.maximum(counts, 1).tolist()
  file.write(struct.pack('<3i2q', num_words, num_words, 0, sum(counts), -1))
  for word, count in zip(kv.index_to_key, counts, strict=True):
    file.write(word.encode() + b'\0' + struct.pack('<qb', count, 0))
  rows = num_words + ngrams.buckets
  file.write(struct.pack('<?2q', False, rows, width))
  for begin in range(0, num_words, _ROWS):
    file.write(kv.word_rows[begin : begin + _ROWS].astype('<f4').tobytes())
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
