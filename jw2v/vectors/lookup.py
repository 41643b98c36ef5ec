"""Lookup of words and their vectors, and means of vectors."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from jw2v.utils.checks import as_array, first_not_finite
from jw2v.utils.limits import shown

_SUGGEST_AMONG = 100_000  # words to search for suggestions


class WordVectors:
  """Words and their vectors; the base of `KeyedVectors`, which adds similarity queries.

  An unknown word raises a `KeyError` that names the word and similar words.

  Attributes:
    index_to_key: the words; the position of a word is its row.
    key_to_index: the row of each word.
    vectors: `[V, D]` float32; may be mapped from a file.
  """

  def __init__(self, words: Iterable[str], vectors: np.ndarray):
    """Stores V distinct words and their `[V, D]` vectors.

    Raises:
      TypeError: a word is not a string.
      ValueError: the number of rows is not V, a word is a duplicate, or a number is masked or not
        finite.
    """
    self.index_to_key: list[str] = strings(words)
    self.key_to_index: dict[str, int] = {word: i for i, word in enumerate(self.index_to_key)}
    self.vectors: np.ndarray = as_array('vectors', vectors, np.float32)
    if self.vectors.ndim != 2 or len(self.vectors) != len(self.index_to_key):
      raise ValueError(
        f'vectors must be [{len(self.index_to_key)}, D], one row per word, got '
        f'{list(self.vectors.shape)}'
      )
    if len(self.key_to_index) != len(self.index_to_key):
      twice = next(w for i, w in enumerate(self.index_to_key) if self.key_to_index[w] != i)
      raise ValueError(f'duplicate word {shown(repr(twice))}')
    if (unsound := first_not_finite(self.vectors)) is not None:
      word = shown(repr(self.index_to_key[unsound]))
      raise ValueError(f'row {unsound + 1} must be finite, got NaN or infinity for the word {word}')
    self._norms: np.ndarray | None = None

  @property
  def vector_size(self) -> int:
    """Width of the vectors."""
    return self.vectors.shape[1]

  @property
  def norms(self) -> np.ndarray:
    """Norms `[V]` of the vectors, 1 for a zero vector; computed once."""
    if self._norms is None:
      norms = np.sqrt(np.einsum('vd,vd->v', self.vectors, self.vectors, dtype=np.float64))
      self._norms = np.where(norms > 0, norms, 1).astype(np.float32)
    return self._norms

  def fill_norms(self, force: bool = False) -> None:
    """Computes `norms`; `force` computes them again after `vectors` has been modified."""
    if force:
      self._norms = None
    _ = self.norms

  def __len__(self) -> int:
    return len(self.index_to_key)

  def __repr__(self) -> str:
    return f'<{type(self).__name__}: {len(self):,} words, width {self.vectors.shape[1]}>'

  def __iter__(self) -> Iterator[str]:
    return iter(self.index_to_key)

  def __contains__(self, word: str) -> bool:
    return word in self.key_to_index

  def has_index_for(self, key: str) -> bool:
    """Returns whether the word is in the vocabulary."""
    return key in self.key_to_index

  def get_index(self, key: str, default: int | None = None) -> int:
    """Returns the row of a word; for an unknown word, the default if given."""
    try:
      return self.key_to_index[key]
    except KeyError:
      if default is not None:
        return default
      raise KeyError(self._unknown(key)) from None

  def _unknown(self, word: object) -> str:
    message = f'word {shown(repr(word))} not found among {len(self)} words'
    if not isinstance(word, str) or not word:
      return message
    # The comparison is slow, so compare only words with the same initial and a similar length.
    begin = word[:1].lower()
    like = (
      w for w in self.index_to_key[:_SUGGEST_AMONG]
      if w[:1].lower() == begin and abs(len(w) - len(word)) <= 2
    )  # fmt: skip
    near = difflib.get_close_matches(word, like, 3, 0.75)
    return message + (f'; did you mean {" or ".join(map(repr, near))}?' if near else '')

  def get_vector(self, key: str, norm: bool = False) -> np.ndarray:
    """Returns the vector `[D]` of a word as a read-only view, or a normalized copy if `norm`."""
    row = self.get_index(key)
    if norm:
      return self.vectors[row] / self.norms[row]
    vector = self.vectors[row]
    vector.setflags(write=False)
    return vector

  def __getitem__(self, words: str | Sequence[str]) -> np.ndarray:
    """Returns the vector `[D]` of a word, or `[n, D]` for a list of n words."""
    if isinstance(words, str):
      return self.get_vector(words)
    words = word_list(words)
    rows = [self.key_to_index.get(word, -1) for word in words]
    if -1 in rows:  # one is unknown, or has a vector but no row
      return np.stack([self.get_vector(word) for word in words])
    return self.vectors[rows] if rows else np.zeros((0, self.vector_size), np.float32)

  def get_normed_vectors(self) -> np.ndarray:
    """Returns a normalized copy `[V, D]` of the vectors; zero vectors stay zero."""
    return self.vectors / self.norms[:, None]

  def _vector(self, vector) -> np.ndarray:
    try:
      array = None if isinstance(vector, str) else as_array('a vector', vector, np.float32)
    except (TypeError, ValueError) as error:
      if 'masked' in str(error):
        raise
      array = None
    if array is None or array.shape != (self.vector_size,):
      raise ValueError(f'a term must be a word or a vector [{self.vector_size}], got {vector!r}')
    return array

  def get_mean_vector(
    self,
    keys: Sequence[str | np.ndarray],
    weights: Sequence[float] | None = None,
    pre_normalize: bool = True,
    post_normalize: bool = False,
    ignore_missing: bool = True,
  ) -> np.ndarray:
    """Computes the weighted sum of vectors, divided by the sum of the absolute weights.

    Args:
      keys: words or vectors `[D]`.
      weights: one weight per key; 1 if not given.
      pre_normalize: True to normalize the vectors of words; other vectors remain unchanged.
      post_normalize: True to normalize the result.
      ignore_missing: True to skip unknown words.

    Returns:
      `[D]` float32.

    Raises:
      KeyError: a word is unknown, and `ignore_missing` is false.
      ValueError: `keys` is empty, or does not have as many elements as `weights`.
    """
    keys = word_list(keys)
    if len(keys) == 0:
      raise ValueError('keys must have at least one word or vector, got none')
    if weights is None:
      weights = [1.0] * len(keys)
    weights = weights if hasattr(weights, '__array__') else list(weights)
    weights = as_array('weights', weights, np.float64)
    if len(weights) != len(keys):
      raise ValueError(f'weights must have {len(keys)} elements, one per key, got {len(weights)}')
    mean, total = np.zeros(self.vector_size, np.float64), 0.0
    for key, weight in zip(keys, weights, strict=True):
      if isinstance(key, str) and ignore_missing and key not in self:
        continue
      vector = self.get_vector(key, pre_normalize) if isinstance(key, str) else self._vector(key)
      mean += weight * vector
      total += abs(weight)
    mean /= total or 1
    return unit(mean) if post_normalize else mean.astype(np.float32)

  def _term(self, term: str | np.ndarray) -> np.ndarray:
    return self.get_vector(term) if isinstance(term, str) else self._vector(term)


def strings(words: Iterable[str]) -> list[str]:
  """Returns a list of words after checking that they are strings.

  Raises:
    TypeError: a word is not a string.
  """
  words = list(words) if isinstance(words, str) else word_list(words)
  if set(map(type, words)) <= {str}:
    return words
  i, word = next((i, word) for i, word in enumerate(words) if not isinstance(word, str))
  raise TypeError(
    f'words must be strings, got {shown(repr(word))} at index {i}; convert them with str()'
  )


def word_list(words: Any) -> list[Any]:
  """Returns a list of words from any collection; one word becomes a list of one.

  Elements of NumPy and Arrow become Python strings. Elements that are vectors are unchanged.
  """
  if isinstance(words, str):
    return [words]
  words = words.to_pylist() if hasattr(words, 'to_pylist') else list(words)
  if set(map(type, words)) == {str}:
    return words
  return [str(word) if isinstance(word, str) else word for word in words]


def unit(vector: np.ndarray) -> np.ndarray:
  """Returns the normalized vector in float32; a zero vector stays zero."""
  vector = as_array('a vector', vector, np.float64)
  norm = np.sqrt(vector @ vector)
  return (vector / (norm if norm > 0 else 1)).astype(np.float32)
