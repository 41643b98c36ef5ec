"""Character n-grams, and vectors for words that were never seen.

What belongs here: which n-grams a word has, the rows that fastText keeps them in, and
vectors made of those rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jw2v.vectors import KeyedVectors

END_OF_LINE = '</s>'  # fastText's word for it, which has no n-grams
_WORDS, _NGRAMS = 1 << 12, 1 << 18  # made into vectors at once, but one word at least


def ngram_buckets(
  words: Sequence[str], min_n: int, max_n: int, buckets: int
) -> tuple[np.ndarray, np.ndarray]:
  r"""The buckets of the character n-grams of words, as fastText assigns them.

  A word stands between `<` and `>`. An n-gram of bytes b falls into the bucket
  h(b) mod `buckets`, where h is the 32-bit FNV-1a hash with each byte taken as signed:

  .. math:: h_0 = 2166136261, \quad h_{i+1} = 16777619 \, (h_i \oplus b_i) \bmod 2^{32}

  Args:
    words: V words.
    min_n: fewest characters of an n-gram, at least 1. `<` and `>` alone do not count.
    max_n: most characters.
    buckets: how many there are.

  Returns:
    `[N]` int64, the buckets of all n-grams, word by word; and `[V + 1]`, where those of
    each word start.

  References:
    Bojanowski et al., `Enriching Word Vectors with Subword Information
    <https://arxiv.org/abs/1607.04606>`_, 2017, section 3.2; the bucket is that of the
    fastText program.
  """
  encoded = [f'<{word}>'.encode() for word in words]
  text = np.frombuffer(b''.join(encoded), np.uint8)
  lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
  starts = np.flatnonzero((text & 0xC0) != 0x80)  # of characters: 10xxxxxx goes on with one
  char_bytes = np.diff(starts, append=len(text))
  word_of = np.repeat(np.arange(len(words)), lengths)[starts]
  signed = text.view(np.int8).astype(np.uint32)  # 0xff becomes 0xffffffff

  found, owners = [], []
  hashes = np.full(len(starts), 2166136261, np.uint32)  # of the n-gram from each character on
  for n in range(1, max_n + 1):
    hashes = hashes[: len(starts) - n + 1]
    last = np.arange(n - 1, len(starts))  # its last character
    for byte in range(4):
      longer = np.flatnonzero(char_bytes[last] > byte)
      hashes[longer] ^= signed[starts[last[longer]] + byte]
      hashes[longer] *= np.uint32(16777619)
    first = last - n + 1
    inside = word_of[first] == word_of[last]
    if n == 1:
      ends = np.diff(word_of, prepend=-1) + np.diff(word_of, append=len(words)) > 0
      inside &= ~ends
    if n >= min_n:
      found.append(hashes[inside].astype(np.int64) % buckets)
      owners.append(word_of[first[inside]])
  rows = np.concatenate([np.zeros(0, np.int64), *found])
  owner = np.concatenate([np.zeros(0, np.int64), *owners])
  counts = np.bincount(owner, minlength=len(words))
  return rows[np.argsort(owner, kind='stable')], np.concatenate([[0], np.cumsum(counts)])


class Ngrams(NamedTuple):
  """Rows of n-grams, and which n-gram has which.

  Attributes:
    vectors: `[U, D]`; may be mapped from a file.
    min_n: fewest characters of an n-gram.
    max_n: most characters.
    buckets: how many there are.
    index: `[U]` the buckets that have a row, increasing; None if all have one.
  """

  vectors: np.ndarray
  min_n: int
  max_n: int
  buckets: int
  index: np.ndarray | None = None  # type: ignore[assignment]  # a tuple's method, hidden

  def find(self, buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The row of each bucket, and whether it has one."""
    if self.index is None:
      return buckets, np.ones(len(buckets), bool)
    if not len(self.index):
      return np.zeros(len(buckets), np.int64), np.zeros(len(buckets), bool)
    rows = np.minimum(np.searchsorted(self.index, buckets), len(self.index) - 1)
    return rows, self.index[rows] == buckets

  def rows(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the n-grams of words, word by word; and how many each word has."""
    buckets, starts = ngram_buckets(words, self.min_n, self.max_n, max(self.buckets, 1))
    counts = np.diff(starts)
    rows, known = self.find(buckets)
    known &= np.repeat([word != END_OF_LINE for word in words], counts)
    owner = np.repeat(np.arange(len(words)), counts)
    return rows[known], np.bincount(owner[known], minlength=len(words))


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
