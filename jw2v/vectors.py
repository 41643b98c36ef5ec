"""KeyedVectors: words with their vectors, look-up and similarity.

What belongs here: questions about finished vectors. Names, arguments and results are
gensim's, so that code carries over.
"""

from collections.abc import Iterable, Sequence

import numpy as np


class KeyedVectors:
  """Words and their vectors.

  A zero vector has cosine 0 with everything. An unknown word raises a `KeyError` that
  names it.

  Attributes:
    index_to_key: the words; the position of a word is its row.
    key_to_index: the row of each word.
    vectors: `[V, D]` float32.
  """

  def __init__(self, words: Iterable[str], vectors: np.ndarray):
    """Takes V different words and their `[V, D]` vectors.

    Raises:
      ValueError: as many rows as words are needed, and every word once.
    """
    self.index_to_key = list(words)
    self.key_to_index = {word: i for i, word in enumerate(self.index_to_key)}
    self.vectors = np.asarray(vectors, np.float32)
    if self.vectors.ndim != 2 or len(self.vectors) != len(self.index_to_key):
      raise ValueError(
        f'{len(self.index_to_key)} words need vectors [{len(self.index_to_key)}, D], '
        f'got {list(self.vectors.shape)}'
      )
    if len(self.key_to_index) != len(self.index_to_key):
      twice = next(w for i, w in enumerate(self.index_to_key) if self.key_to_index[w] != i)
      raise ValueError(f'the word {twice!r} is there twice')
    self._unit = None

  @property
  def vector_size(self) -> int:
    """The width of the vectors."""
    return self.vectors.shape[1]

  def __len__(self) -> int:
    return len(self.index_to_key)

  def __contains__(self, word: str) -> bool:
    return word in self.key_to_index

  def __getitem__(self, words: str | Sequence[str]) -> np.ndarray:
    """`[D]`, the vector of a word, or `[n, D]` for a list of n."""
    if isinstance(words, str):
      return self.vectors[self._row(words)]
    return self.vectors[[self._row(word) for word in words]]

  def _row(self, word: str) -> int:
    try:
      return self.key_to_index[word]
    except KeyError:
      raise KeyError(f'the word {word!r} is not among the {len(self)} words') from None

  def _vector(self, vector) -> np.ndarray:
    if np.shape(vector) != (self.vector_size,):
      raise ValueError(f'{vector!r} is neither a word nor a vector [{self.vector_size}]')
    return np.asarray(vector, np.float32)

  def _unit_vectors(self) -> np.ndarray:
    """The vectors with length 1, zeros for zero vectors; made once."""
    if self._unit is None:
      self._unit = _normalized(self.vectors)
    return self._unit

  def similarity(self, w1: str, w2: str) -> float:
    """The cosine of two words, between -1 and 1."""
    unit = self._unit_vectors()
    return float(unit[self._row(w1)] @ unit[self._row(w2)])

  def most_similar(
    self,
    positive: str | np.ndarray | Sequence[str | np.ndarray] = (),
    negative: str | np.ndarray | Sequence[str | np.ndarray] = (),
    topn: int = 10,
    restrict_vocab: int | None = None,
  ) -> list[tuple[str, float]]:
    """The words nearest to the mean of some vectors, by cosine.

    Args:
      positive: a word or vector, or several, that count for. Words count with their
        unit vectors, vectors `[D]` as they are.
      negative: those that count against: `most_similar(['king', 'woman'], ['man'])`.
      topn: how many words.
      restrict_vocab: only so many of the first words are candidates; None or 0 for all.

    Returns:
      `(word, cosine)` pairs, the nearest first, without the words asked about.

    Raises:
      KeyError: an unknown word.
      ValueError: neither positive nor negative is given, or a vector is not `[D]`.
    """
    terms = [(x, 1.0) for x in _as_list(positive)] + [(x, -1.0) for x in _as_list(negative)]
    if not terms:
      raise ValueError('most_similar needs a positive or negative word or vector')
    unit, asked, target = self._unit_vectors(), set(), np.zeros(self.vector_size, np.float32)
    for term, sign in terms:
      if isinstance(term, str):
        asked.add(self._row(term))
        target += sign * unit[self._row(term)]
      else:
        target += sign * self._vector(term)
    cosines = unit[: restrict_vocab or None] @ _normalized(target[None])[0]
    cosines[[row for row in asked if row < len(cosines)]] = -np.inf
    count = min(topn, len(cosines) - sum(row < len(cosines) for row in asked))
    if count <= 0:
      return []
    best = np.argpartition(-cosines, count - 1)[:count]
    best = best[np.argsort(-cosines[best], kind='stable')]
    return [(self.index_to_key[i], float(cosines[i])) for i in best]

  def similar_by_vector(
    self, vector: np.ndarray, topn: int = 10, restrict_vocab: int | None = None
  ) -> list[tuple[str, float]]:
    """As `most_similar` for one vector."""
    return self.most_similar([np.asarray(vector)], topn=topn, restrict_vocab=restrict_vocab)


def _normalized(vectors: np.ndarray) -> np.ndarray:
  norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
  return vectors / np.where(norms > 0, norms, 1)


def _as_list(terms) -> list:
  """A word or a vector alone, or several of them, as a list."""
  if isinstance(terms, str) or (isinstance(terms, np.ndarray) and terms.ndim == 1):
    return [terms]
  return list(terms)
