"""Vectors for words that were never seen.

What belongs here: vectors made of the rows of n-grams, and the words that have them.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from jw2v.ngrams import END_OF_LINE, Ngrams
from jw2v.vectors.keyed_vectors import KeyedVectors

_WORDS, _NGRAMS = 1 << 12, 1 << 18  # made into vectors at once, but one word at least


def word_vectors(words: Sequence[str], word_rows: np.ndarray, ngrams: Ngrams) -> np.ndarray:
  """The means of the rows of words and of their n-grams.

  Args:
    words: V words.
    word_rows: `[V, D]`, a row of each word; `[0, D]` for words that have none.
    ngrams: the rows of n-grams.

  Returns:
    `[V, D]` float32; zeros for a word of no row.
  """
  ngram_rows = ngrams.vectors
  vectors = np.zeros((len(words), ngram_rows.shape[1]), np.float32)
  for begin, end in _blocks(words, ngrams.max_n - ngrams.min_n + 1):
    block = words[begin:end]
    buckets, counts = ngrams.rows(block)
    sums, some = np.zeros((len(block), ngram_rows.shape[1])), counts > 0
    if len(block) == 1:  # which may be very long
      different, times = np.unique(buckets, return_counts=True)
      sums[0] = times @ ngram_rows[different]
    elif some.any():
      rows = ngram_rows[buckets]
      sums[some] = np.add.reduceat(rows, (np.cumsum(counts) - counts)[some], dtype=np.float64)
    if len(word_rows):
      sums += word_rows[begin:end]
      counts = counts + 1
    vectors[begin:end] = sums / np.maximum(counts, 1)[:, None]
  return vectors


def _blocks(words: Sequence[str], lengths: int) -> Iterator[tuple[int, int]]:
  """Where words begin and end that are made into vectors at once; n-grams come in `lengths`."""
  begin = ngrams = 0
  for end, word in enumerate(words):
    more = (len(word) + 2) * lengths
    if end > begin and (end - begin == _WORDS or ngrams + more > _NGRAMS):
      yield begin, end
      begin, ngrams = end, 0
    ngrams += more
  if len(words):
    yield begin, len(words)


class SubwordVectors(KeyedVectors):
  """Words with their vectors, and vectors for any other word from its n-grams.

  A word is in it if it has a vector: one of the words, or one with an n-gram. Only the words
  are candidates of `most_similar`.

  Attributes:
    ngrams: the rows of n-grams.
    word_rows: `[V, D]`, the rows of the words themselves, of which and of those of its n-grams
      a word's vector is the mean; None if they are not known.
    counts: `[V]`, occurrences of the words; None if they are not known.
  """

  def __init__(
    self,
    words: Iterable[str],
    vectors: np.ndarray | None,
    ngrams: Ngrams,
    word_rows: np.ndarray | None = None,
    counts: np.ndarray | None = None,
  ):
    """Takes V words with their vectors or their rows, and the rows of n-grams.

    Raises:
      ValueError: as for `KeyedVectors`, or neither vectors nor rows are given.
    """
    words = list(words)
    if vectors is None:
      if word_rows is None:
        raise ValueError('vectors=None: needs word_rows, to make them of')
      vectors = word_vectors(words, word_rows, ngrams)
    super().__init__(words, vectors)
    self.ngrams: Ngrams = ngrams
    self.word_rows: np.ndarray | None = word_rows
    self.counts: np.ndarray | None = counts

  def __contains__(self, word: str) -> bool:
    return word in self.key_to_index or self._has_ngrams(word)

  def _has_ngrams(self, word: object) -> bool:
    if (
      not isinstance(word, str)
      or word == END_OF_LINE
      or any('\ud800' <= c <= '\udfff' for c in word)
    ):
      return False
    return len(self.ngrams.rows([word])[0]) > 0

  def get_vector(self, key: str, norm: bool = False) -> np.ndarray:
    """`[D]`, the vector of a word, seen or not; of length 1 if `norm`."""
    if key in self.key_to_index or not self._has_ngrams(key):
      return super().get_vector(key, norm)
    none = np.zeros((0, self.vector_size), np.float32)
    vector = word_vectors([key], none, self.ngrams)[0]
    if norm:
      vector /= np.linalg.norm(vector) or 1
    return vector
