r"""safetensors files, with or without character n-grams.

The file contains these tensors, which any reader of safetensors can open:

=================  =====================================================================
`vectors`          F32 [V, D]
`words`            U8: UTF-8, with `\n` between words
`word_rows`        F32 [V, D], the rows of the words without their n-grams
`ngram_vectors`    F32 [U, D], the rows of n-grams
`ngram_buckets`    I64 [U], the bucket of each row, increasing; omitted if all have one
`counts`           I64 [V], occurrences of the words; omitted if unknown
=================  =====================================================================

Only the first two are required. With `ngram_vectors`, the metadata contains `min_n`, `max_n` and
`buckets`. The tensors are memory-mapped. The `safetensors` package is not used because it copies
tensors into memory when it reads them for NumPy.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from jw2v.formats.table import VectorTable, join_words, split_words
from jw2v.ngrams import LONGEST, Ngrams
from jw2v.utils.checks import first_not_finite
from jw2v.utils.limits import shown

_DTYPES: dict[str, np.dtype[Any]] = {
  'F32': np.dtype('<f4'),
  'I64': np.dtype('<i8'),
  'U8': np.dtype('u1'),
}
_KINDS = {  # of the tensors: dtype and rank
  'vectors': ('F32', 2), 'words': ('U8', 1), 'word_rows': ('F32', 2), 'ngram_vectors': ('F32', 2),
  'ngram_buckets': ('I64', 1), 'counts': ('I64', 1),
}  # fmt: skip
_LONGEST_HEADER = 100 << 20  # bytes; the limit of the format itself
_MOST_BUCKETS = (1 << 31) - 1
_ROWS = 4096  # written at once


def read_safetensors(path: str | os.PathLike[str], limit: int | None = None) -> VectorTable:
  """Maps the tensors of a file, whose rows are read on use.

  Args:
    path: the file.
    limit: maximum number of words to return, from the start; does not limit n-grams.

  Returns:
    The table. Writing to its arrays does not change the file.

  Raises:
    ValueError: a tensor is missing or corrupted, or the tensors do not fit together.
  """
  file = TensorFile(path, _KINDS)
  start, end, (count, _) = file.span('vectors')
  words_start, words_end, _ = file.span('words')
  if words_start < end and start < words_end:
    raise ValueError('the tensors overlap')
  with open(path, 'rb') as opened:
    opened.seek(file.start + words_start)
    words = split_words(opened.read(words_end - words_start), count)[:limit]
  vectors = file.map('vectors')[:limit]
  more = [name for name in _KINDS if name not in ('vectors', 'words') and name in file.header]
  tensors = {name: file.map(name) for name in more}
  if 'ngram_vectors' not in tensors:
    return VectorTable(words, vectors)
  return _with_ngrams(words, vectors, tensors, file.header.get('__metadata__'))


class TensorFile:
  """The header of a file, and its tensors.

  Attributes:
    header: the decoded header; empty if it is not an object.
    start: the first byte of the data.
  """

  def __init__(self, path: str | os.PathLike[str], kinds: Mapping[str, tuple[str, int]]):
    """Reads the header.

    Args:
      path: the file.
      kinds: dtype and rank of the tensors, by name.

    Raises:
      ValueError: the header is not JSON, or is longer than the file.
    """
    self._path, self._kinds, size = path, kinds, os.path.getsize(path)
    with open(path, 'rb') as file:
      length = int.from_bytes(file.read(8), 'little')
      if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        raise ValueError(
          f'the length of the header must fit in the file of {size} bytes, got {length}'
        )
      try:
        header = json.loads(file.read(length))
      except (ValueError, RecursionError) as error:
        raise ValueError(f'the header is not JSON: {error}') from error
    self.header: dict[str, Any] = header if isinstance(header, dict) else {}
    self.start: int = 8 + length
    self._size = size - self.start  # of the data

  def span(self, name: str) -> tuple[int, int, list[int]]:
    """Returns the start and end of a tensor in the data, and its shape, after checking them.

    Raises:
      ValueError: the tensor is missing, of another kind, or does not fit into the file.
    """
    found, (dtype, rank) = self.header.get(name), self._kinds[name]
    if not isinstance(found, dict):
      raise ValueError(f'tensor {name!r} not found')
    shape: Any = found.get('shape')
    offsets: Any = found.get('data_offsets')
    whole = lambda x: isinstance(x, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in x)
    if found.get('dtype') != dtype or not whole(shape) or len(shape) != rank:
      raise ValueError(
        f'the tensor {name!r} must be {dtype} of rank {rank}, got {shown(found.get("dtype"))} of '
        f'shape {shown(shape)}'
      )
    bytes_needed = int(np.prod([_DTYPES[dtype].itemsize, *map(int, shape)], dtype=object))
    if not whole(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != bytes_needed:
      raise ValueError(
        f'the tensor {name!r} of shape {shape} must have {bytes_needed} bytes, got the offsets '
        f'{shown(offsets)}'
      )
    if offsets[1] > self._size:
      raise ValueError(
        f'the tensor {name!r} must end in the {self._size} bytes of data, got the end {offsets[1]}'
      )
    return offsets[0], offsets[1], shape

  def map(self, name: str) -> np.ndarray:
    """Maps a tensor; returns an array in memory for an empty one, which cannot be mapped."""
    (start, end, shape), dtype = self.span(name), _DTYPES[self._kinds[name][0]]
    if start == end:
      return np.zeros(shape, dtype)
    return np.memmap(self._path, dtype, 'c', self.start + start, tuple(shape))


def _with_ngrams(words, vectors, tensors, about) -> VectorTable:
  """Checks that the tensors fit together."""
  rows, index = tensors['ngram_vectors'], tensors.get('ngram_buckets')
  about = about if isinstance(about, dict) else {}
  try:
    min_n, max_n, buckets = (int(about[name]) for name in ('min_n', 'max_n', 'buckets'))
  except (KeyError, OverflowError, TypeError, ValueError) as error:
    raise ValueError(
      f'the metadata must have min_n, max_n and buckets, got {shown(about)}'
    ) from error
  if not 1 <= min_n <= max_n <= LONGEST:
    raise ValueError(
      f'n-grams must have 1 <= min_n <= max_n <= {LONGEST}, got min_n={min_n} and max_n={max_n}'
    )
  if not 1 <= buckets <= _MOST_BUCKETS:
    raise ValueError(f'buckets must be from 1 to {_MOST_BUCKETS}, got {buckets}')
  if rows.shape[1] != vectors.shape[1] or len(rows) != (buckets if index is None else len(index)):
    raise ValueError(
      f'ngram_vectors must be [{buckets if index is None else len(index)}, {vectors.shape[1]}], '
      f'got {list(rows.shape)}'
    )
  if index is not None and len(index):
    if index[0] < 0 or index[-1] >= buckets or np.any(index[1:] <= index[:-1]):
      raise ValueError(f'ngram_buckets must be increasing numbers from 0 to {buckets - 1}')
  if (unsound := first_not_finite(rows)) is not None:
    raise ValueError(f'row {unsound + 1} of ngram_vectors must be finite, got NaN or infinity')
  word_rows, counts = tensors.get('word_rows'), tensors.get('counts')
  for name, found in (('word_rows', word_rows), ('counts', counts)):
    if found is not None and (
      len(found) < len(words) or found.shape[1:] != vectors.shape[1:][: found.ndim - 1]
    ):
      raise ValueError(
        f'{name} must have a row for each of the {len(words)} words, got shape {list(found.shape)}'
      )
  if word_rows is not None and (unsound := first_not_finite(word_rows)) is not None:
    raise ValueError(f'row {unsound + 1} of word_rows must be finite, got NaN or infinity')
  ngrams = Ngrams(rows, min_n, max_n, buckets, None if index is None else np.array(index))
  part = lambda found: None if found is None else found[: len(words)]
  return VectorTable(words, vectors, ngrams, part(word_rows), part(counts))


def write_safetensors(file: BinaryIO, table: VectorTable) -> None:
  """Writes a table, with its n-grams if it has any."""
  tensors: dict[str, Any] = {'vectors': table.vectors}
  about = None
  if (ngrams := table.ngrams) is not None:
    tensors |= {'word_rows': table.word_rows, 'ngram_vectors': ngrams.vectors,
                'ngram_buckets': ngrams.index, 'counts': table.counts}  # fmt: skip
    about = {name: str(getattr(ngrams, name)) for name in ('min_n', 'max_n', 'buckets')}
  tensors['words'] = join_words(table.words)
  write_tensors(file, tensors, _KINDS, about)


def write_tensors(
  file: BinaryIO,
  tensors: Mapping[str, Any],
  kinds: Mapping[str, tuple[str, int]],
  about: Mapping[str, str] | None = None,
) -> None:
  """Writes tensors.

  Args:
    file: the file.
    tensors: arrays by name; None for a tensor to leave out.
    kinds: dtype and rank of the tensors, by name.
    about: the metadata; None for none.
  """
  header: dict[str, Any] = {} if about is None else {'__metadata__': about}
  arrays = {
    name: np.asanyarray(tensor, _DTYPES[kinds[name][0]].newbyteorder('='))
    for name, tensor in tensors.items()
    if tensor is not None
  }
  place = 0
  for name, array in arrays.items():
    end = place + array.size * array.itemsize
    shape = list(array.shape)
    header[name] = {'dtype': kinds[name][0], 'shape': shape, 'data_offsets': [place, end]}
    place = end
  encoded = json.dumps(header, separators=(',', ':')).encode()
  encoded += b' ' * (-len(encoded) % 8)  # aligns the numbers
  file.write(len(encoded).to_bytes(8, 'little') + encoded)
  for name, array in arrays.items():
    for start in range(0, len(array), _ROWS):
      block = array[start : start + _ROWS]
      file.write(np.ascontiguousarray(block, _DTYPES[kinds[name][0]]).data)
