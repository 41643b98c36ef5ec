"""Vectors with n-grams as safetensors: our own format, a row for each n-gram that has one.

What belongs here: what such a file has beside the tensors `vectors` and `words` of any other:

=================  =====================================================================
`word_rows`        F32 [V, D], the rows of the words without their n-grams
`ngram_vectors`    F32 [U, D], the rows of n-grams
`ngram_buckets`    I64 [U], the bucket of each row, increasing; left out if all have one
`counts`           I64 [V], occurrences of the words; left out if not known
=================  =====================================================================

and in the metadata `min_n`, `max_n` and `buckets`.
"""

import os
from typing import Any, BinaryIO

import numpy as np

from jw2v.formats.word2vec_binary import read_tensors, write_safetensors
from jw2v.ngrams import LONGEST, Ngrams
from jw2v.utils.checks import first_not_finite
from jw2v.utils.limits import shown
from jw2v.vectors.subwords import SubwordVectors

_KINDS = {
  'word_rows': ('F32', 2), 'ngram_vectors': ('F32', 2), 'ngram_buckets': ('I64', 1),
  'counts': ('I64', 1),
}  # fmt: skip
_MOST_BUCKETS = (1 << 31) - 1


def write_subwords(file: BinaryIO, kv: SubwordVectors) -> None:
  """Writes words, n-grams and metadata."""
  ngrams = kv.ngrams
  more: dict[str, Any] = {'word_rows': kv.word_rows, 'ngram_vectors': ngrams.vectors,
          'ngram_buckets': ngrams.index, 'counts': kv.counts}  # fmt: skip
  dtypes = {'F32': np.float32, 'I64': np.int64}
  more = {
    name: np.asanyarray(tensor, dtypes[_KINDS[name][0]])
    for name, tensor in more.items()
    if tensor is not None
  }
  about = {name: str(getattr(ngrams, name)) for name in ('min_n', 'max_n', 'buckets')}
  write_safetensors(file, kv.index_to_key, kv.vectors, more, about)


def read_subwords(
  path: str | os.PathLike[str], words: list[str], vectors: np.ndarray
) -> SubwordVectors | None:
  """The n-grams of a file whose words and vectors have been read, or None if it has none.

  Raises:
    ValueError: they do not fit together.
  """
  tensors, about = read_tensors(path, _KINDS)
  if 'ngram_vectors' not in tensors:
    return None
  rows, index = tensors['ngram_vectors'], tensors.get('ngram_buckets')
  try:
    min_n, max_n, buckets = (int(about[name]) for name in ('min_n', 'max_n', 'buckets'))
  except (KeyError, OverflowError, TypeError, ValueError) as error:
    raise ValueError(f'min_n, max_n and buckets are not in the metadata: {shown(about)}') from error
  if not 1 <= min_n <= max_n <= LONGEST:
    raise ValueError(f'n-grams of {min_n} to {max_n} characters; at most {LONGEST}')
  if not 1 <= buckets <= _MOST_BUCKETS:
    raise ValueError(f'{buckets} buckets of n-grams: must be from 1 to {_MOST_BUCKETS}')
  if rows.shape[1] != vectors.shape[1] or len(rows) != (buckets if index is None else len(index)):
    raise ValueError(
      f'{buckets} buckets of n-grams have rows {list(rows.shape)}, and words are '
      f'{vectors.shape[1]} wide'
    )
  if index is not None and len(index):
    if index[0] < 0 or index[-1] >= buckets or np.any(index[1:] <= index[:-1]):
      raise ValueError(f'ngram_buckets do not increase from 0 to {buckets - 1}')
  if (unsound := first_not_finite(rows)) is not None:
    raise ValueError(f'row {unsound + 1} of ngram_vectors is not finite')
  word_rows, counts = tensors.get('word_rows'), tensors.get('counts')
  for name, found in (('word_rows', word_rows), ('counts', counts)):
    if found is not None and (
      len(found) < len(words) or found.shape[1:] != vectors.shape[1:][: found.ndim - 1]
    ):
      raise ValueError(f'{name} of shape {list(found.shape)} for {len(words)} words')
  if word_rows is not None and (unsound := first_not_finite(word_rows)) is not None:
    raise ValueError(f'row {unsound + 1} of word_rows is not finite')
  ngrams = Ngrams(rows, min_n, max_n, buckets, None if index is None else np.array(index))
  part = lambda found: None if found is None else found[: len(words)]
  return SubwordVectors(words, vectors, ngrams, part(word_rows), part(counts))
