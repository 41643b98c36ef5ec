"""Character n-grams of words, their buckets as in fastText, and vectors computed from them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

END_OF_LINE = '</s>'  # fastText's end-of-line word, without n-grams
_WORDS, _NGRAMS = 1 << 12, 1 << 18  # most words and n-grams to process at once
LONGEST = 100  # characters of an n-gram; files and configs with longer ones are invalid


def ngram_buckets(
  words: Sequence[str], min_n: int, max_n: int, buckets: int
) -> tuple[np.ndarray, np.ndarray]:
  r"""Computes the buckets of the character n-grams of words, as in fastText.

  Each word is enclosed in `<` and `>`. An n-gram of bytes b has the bucket h(b) mod `buckets`,
  where h is the 32-bit FNV-1a hash of signed bytes:

  .. math:: h_0 = 2166136261, \quad h_{i+1} = 16777619 \, (h_i \oplus b_i) \bmod 2^{32}

  Args:
    words: V words.
    min_n: minimum number of characters of an n-gram, at least 1. `<` and `>` alone are not n-grams.
    max_n: maximum number of characters.
    buckets: number of buckets.

  Returns:
    `[N]` int64 buckets of all n-grams, word by word; and `[V + 1]`, the start of each word in this
    array.

  References:
    Bojanowski et al., `Enriching Word Vectors with Subword Information
    <https://arxiv.org/abs/1607.04606>`_, 2017, section 3.2; the bucket is that of the
    fastText program.
  """
  encoded = [f'<{word}>'.encode(errors='surrogatepass') for word in words]
  text = np.frombuffer(b''.join(encoded), np.uint8)
  lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
  starts = np.flatnonzero((text & 0xC0) != 0x80)  # starts of characters: 10xxxxxx continues one
  char_bytes = np.diff(starts, append=len(text))
  word_of = np.repeat(np.arange(len(words)), lengths)[starts]
  signed = text.view(np.int8).astype(np.uint32)  # 0xff becomes 0xffffffff

  found, owners = [], []
  hashes = np.full(len(starts), 2166136261, np.uint32)  # of the n-gram that starts at a character
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
  """Rows of n-grams, with the buckets that they belong to.

  Attributes:
    vectors: `[U, D]`; may be mapped from a file.
    min_n: minimum number of characters of an n-gram.
    max_n: maximum number of characters.
    buckets: number of buckets.
    index: `[U]` increasing buckets that have a row; None if all buckets have one.
  """

  vectors: np.ndarray
  min_n: int
  max_n: int
  buckets: int
  index: np.ndarray | None = None  # type: ignore[assignment]  # a tuple's method, hidden

  def find(self, buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the row of each bucket, and whether the bucket has a row."""
    if self.index is None:
      return buckets, np.ones(len(buckets), bool)
    if not len(self.index):
      return np.zeros(len(buckets), np.int64), np.zeros(len(buckets), bool)
    rows = np.minimum(np.searchsorted(self.index, buckets), len(self.index) - 1)
    return rows, self.index[rows] == buckets

  def rows(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the n-grams of words, word by word, and their number for each word."""
    buckets, starts = ngram_buckets(words, self.min_n, self.max_n, max(self.buckets, 1))
    counts = np.diff(starts)
    rows, known = self.find(buckets)
    known &= np.repeat([word != END_OF_LINE for word in words], counts)
    owner = np.repeat(np.arange(len(words)), counts)
    return rows[known], np.bincount(owner[known], minlength=len(words))


def word_vectors(words: Sequence[str], word_rows: np.ndarray, ngrams: Ngrams) -> np.ndarray:
  """Computes vectors as the means of the rows of words and of their n-grams.

  Args:
    words: V words.
    word_rows: `[V, D]`, the row of each word; `[0, D]` if the words have none.
    ngrams: the rows of n-grams.

  Returns:
    `[V, D]` float32; zeros for a word without any row.
  """
  ngram_rows = ngrams.vectors
  vectors = np.zeros((len(words), ngram_rows.shape[1]), np.float32)
  for begin, end in _blocks(words, ngrams.max_n - ngrams.min_n + 1):
    block = words[begin:end]
    buckets, counts = ngrams.rows(block)
    sums, some = np.zeros((len(block), ngram_rows.shape[1])), counts > 0
    if len(block) == 1:  # it may be very long
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
  """Yields the bounds of blocks of words; `lengths` is the number of lengths of n-grams."""
  begin = ngrams = 0
  for end, word in enumerate(words):
    more = (len(word) + 2) * lengths
    if end > begin and (end - begin == _WORDS or ngrams + more > _NGRAMS):
      yield begin, end
      begin, ngrams = end, 0
    ngrams += more
  if len(words):
    yield begin, len(words)
