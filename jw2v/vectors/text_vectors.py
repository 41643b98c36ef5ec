"""Vectors of texts: means of word vectors, uniform or weighted by smooth inverse frequency."""

import array
import functools
import itertools
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, overload

import jax
import numpy as np
from absl import logging

from jw2v.utils.checks import as_array, check_number, check_weights
from jw2v.utils.limits import shown
from jw2v.vectors.keyed_vectors import KeyedVectors

WORD_PATTERN = r"[^\W_]+(?:['\u2019][^\W_]+)*"
WEIGHTS = ('mean', 'sif')

_WORD = re.compile(WORD_PATTERN)
_SIZES = ((1 << 9, 1 << 7), (1 << 14, 1 << 12))  # words and texts in a batch; compiled for each
_ROWS = 1 << 14  # converted to float64 at once


@overload
def text_vectors(
  kv: KeyedVectors,
  texts: Iterable[str | Iterable[str]],
  *,
  weights: str = ...,
  smoothing: float = ...,
  counts: Any = ...,
  split: Callable[[str], Iterable[str]] | None = ...,
  component: Any = ...,
  return_component: Literal[False] = ...,
) -> np.ndarray: ...


@overload
def text_vectors(
  kv: KeyedVectors,
  texts: Iterable[str | Iterable[str]],
  *,
  weights: str = ...,
  smoothing: float = ...,
  counts: Any = ...,
  split: Callable[[str], Iterable[str]] | None = ...,
  component: Any = ...,
  return_component: Literal[True],
) -> tuple[np.ndarray, np.ndarray]: ...


def text_vectors(
  kv: KeyedVectors,
  texts: Iterable[str | Iterable[str]],
  *,
  weights: str = 'sif',
  smoothing: float = 1e-3,
  counts: Any = None,
  split: Callable[[str], Iterable[str]] | None = None,
  component: Any = None,
  return_component: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
  r"""Computes a vector for each text from the vectors of its words.

  With 'mean', the vector is the mean of the word vectors. With 'sif' (smooth inverse frequency),
  frequent words have smaller weights, and the projection on the component u that the texts have
  in common is removed:

  .. math:: x_s = \frac{1}{|s|} \sum_{w \in s} \frac{a}{a + p(w)} v_w, \qquad x_s - u u^\top x_s

  where |s| is the number of words with a vector, and u is the first singular vector of the matrix
  of all x. Out-of-vocabulary words are skipped, unless the vectors have n-grams. A text without
  any known word has a zero vector, and does not change u.

  Remove the component of the training texts from new texts, since the component of a few texts
  contains their topics:

  >>> import jw2v
  >>> kv = jw2v.KeyedVectors(['the', 'cat', 'dog'], [[2, 0], [1, 1], [1, -1]])
  >>> jw2v.text_vectors(kv, ['The cat.', 'no known word'], weights='mean')
  array([[1.5, 0.5],
         [0. , 0. ]], dtype=float32)
  >>> train = ['the cat', 'the dog', 'the cat the dog']
  >>> vectors, component = jw2v.text_vectors(kv, train, return_component=True)
  >>> jw2v.text_vectors(kv, ['a cat'], component=component).shape
  (1, 2)

  Args:
    kv: the word vectors.
    texts: strings, or lists of words. They are read once, in constant memory.
    weights: 'mean' or 'sif'.
    smoothing: a of the formula.
    counts: occurrences of the words, for p: a mapping from words, an object with `words` and
      `counts` such as a `Vocabulary`, or an array by row of `kv`. If not given, the counts of
      `kv` if it has any. Otherwise p follows Zipf's law, 1 / rank, because files of vectors
      are in order of frequency. A word without a count has p = 0.
    split: function from a string to its words. If not given, words are the matches of
      `WORD_PATTERN` (letters and digits, with apostrophes inside) in lower case; a word that
      `kv` has only as written is looked up as written.
    component: `[D]` u of other texts, to remove instead of the component of these texts; zeros
      to keep the vectors unchanged.
    return_component: True to return u as well.

  Returns:
    `[N, D]` float32; with `return_component`, also `[D]` float32, of length 1 or 0.

  Raises:
    TypeError: `texts` is one string, or an element is not a string or a list of words.
    ValueError: `weights` is unknown, `smoothing` is not positive, the counts are negative, all 0,
      or not one for each row, or the component does not fit.

  References:
    Arora, Liang and Ma, `A Simple but Tough-to-Beat Baseline for Sentence Embeddings
    <https://openreview.net/forum?id=SyK00v5xx>`_, 2017, algorithm 1.
  """
  if weights not in WEIGHTS:
    raise ValueError(f'weights must be one of {", ".join(map(repr, WEIGHTS))}, got {weights!r}')
  if weights == 'mean' and (component is not None or return_component):
    raise ValueError(
      "component and return_component must be left out with weights='mean'; use weights='sif'"
    )
  if isinstance(texts, str | bytes):
    raise TypeError(f'texts must be a list of texts, got {shown(repr(texts))}; put it into a list')
  smoothing = check_number('smoothing', smoothing, float, 0)
  if not smoothing:
    raise ValueError(f'smoothing must be a number above 0, got {smoothing}')
  if component is not None:
    component = as_array('component', component, np.float32)
    if component.shape != (kv.vector_size,) or not np.isfinite(component).all():
      raise ValueError(
        f'component must be {kv.vector_size} finite numbers, got shape {list(component.shape)}'
      )
  if weights == 'sif':
    probabilities = _probabilities(kv, counts)
    weight = lambda word: smoothing / (smoothing + probabilities(word))
  else:
    weight = lambda word: 1.0
  vectors = _means(kv, _words_of(kv, texts, split), operator.length_hint(texts), weight)
  if weights == 'mean':
    return vectors
  if component is None:
    component = _first_singular_vector(vectors)
  for start in range(0, len(vectors), _ROWS):
    block = vectors[start : start + _ROWS]
    block -= np.outer(block @ component, component)
  return (vectors, component) if return_component else vectors


def _probabilities(kv: KeyedVectors, counts: Any) -> Callable[[str], float]:
  """Returns a function from a word to its share of the corpus; 0 for a word without a count."""
  index = kv.key_to_index
  if counts is None:
    counts = getattr(kv, 'counts', None)
    if counts is None or not np.any(counts):
      counts = 1 / np.arange(1, len(kv) + 1)
  elif isinstance(counts, Mapping):
    index, counts = {word: i for i, word in enumerate(counts)}, list(counts.values())
  elif hasattr(counts, 'words') and hasattr(counts, 'counts'):
    index, counts = {word: i for i, word in enumerate(counts.words)}, counts.counts
  if not len(index):
    return lambda word: 0.0
  counts = check_weights('counts', counts)
  if len(counts) != len(index):
    raise ValueError(
      f'counts must have one number for each of {len(index)} words, got {len(counts)}'
    )
  total = counts.sum(dtype=np.float64)
  if not total:
    raise ValueError("counts must have a sum above 0, got 0; leave them out to use Zipf's law")
  return lambda word: counts[row] / total if (row := index.get(word, -1)) >= 0 else 0.0


def _words_of(
  kv: KeyedVectors,
  texts: Iterable[str | Iterable[str]],
  split: Callable[[str], Iterable[str]] | None,
) -> Iterator[Iterable[str]]:
  """Yields the words of each text."""
  if split is None:
    split = functools.partial(_split, kv.key_to_index)
  for number, text in enumerate(texts, start=1):
    if isinstance(text, str):
      yield split(text)
    elif isinstance(text, Iterable) and not isinstance(text, bytes | Mapping):
      yield text
    else:
      raise TypeError(f'text {number} must be a string or a list of words, got {shown(repr(text))}')


def _split(index: Mapping[str, int], text: str) -> list[str]:
  """Splits a text into lower-case words, or as written where only that is in the vocabulary."""
  lower = text.lower()
  words = _WORD.findall(lower)
  if lower == text:
    return words
  written = _WORD.findall(text)
  if len(written) != len(words):  # lower case of a few characters splits words
    return words
  pairs = zip(words, written, strict=True)
  return [one if one in index or other not in index else other for one, other in pairs]


def _means(
  kv: KeyedVectors,
  texts: Iterator[Iterable[str]],
  expected: int,
  weight: Callable[[str], float],
) -> np.ndarray:
  """Computes `[N, D]` sums of weighted word vectors, divided by the number of known words."""
  means = np.zeros((expected, kv.vector_size), np.float32)
  known = np.zeros(expected, np.int64)  # words of each text
  start = end = 0  # the texts of the batch
  batch = _Batch(kv, weight)

  def add() -> None:
    if end > len(means):
      size = max(end, len(means) * 5 // 4)
      means.resize((size, kv.vector_size), refcheck=False)
      known.resize(size, refcheck=False)
    sums, counts = batch.sums(end - start)
    means[start:end] += sums
    known[start:end] += counts

  most_words, most_texts = _SIZES[-1]
  for words in texts:
    if end - start == most_texts:
      add()
      start, batch = end, _Batch(kv, weight)
    end += 1
    rest = iter(words)
    while part := list(itertools.islice(rest, most_words - len(batch.ids))):
      batch.add(part, end - 1 - start)
      if len(batch.ids) == most_words:  # the text may continue in the next batch
        add()
        start, batch = end - 1, _Batch(kv, weight)
  add()
  means.resize((end, kv.vector_size), refcheck=False)
  means /= np.maximum(known[:end, None], 1)
  return means


class _Batch(dict[Any, int]):
  """Words of consecutive texts, with one row for each different word; -1 for unknown words."""

  def __init__(self, kv: KeyedVectors, weight: Callable[[str], float]):
    super().__init__()
    self._kv, self._weight = kv, weight
    self._words: list[str] = []
    self._texts = array.array('i')
    self.ids = array.array('i')

  def __missing__(self, word: Any) -> int:
    if not isinstance(word, str):
      raise TypeError(f'words must be strings, got {shown(repr(word))}')
    is_known = word in self._kv
    self[word] = row = len(self._words) if is_known else -1
    if is_known:
      self._words.append(word)
    return row

  def add(self, words: list[str], text: int) -> None:
    """Adds words of a text."""
    self.ids.extend(map(self.__getitem__, words))
    self._texts.extend(itertools.repeat(text, len(words)))

  def sums(self, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the `[count, D]` sums of the texts, and their numbers of known words."""
    ids, texts = np.array(self.ids, np.int32), np.array(self._texts, np.int32)
    ids, texts = ids[ids >= 0], texts[ids >= 0]
    size, most_texts = next(s for s in _SIZES if len(ids) <= s[0] and count <= s[1])
    rows = np.zeros((size, self._kv.vector_size), np.float32)
    weights = np.array([*map(self._weight, self._words)], np.float32)
    rows[: len(weights)] = self._kv[self._words] * weights[:, None]
    pad = lambda numbers, value: np.pad(
      numbers, (0, size - len(numbers)), constant_values=value
    )  # so that few sizes are compiled
    sums = _segment_sums(rows, pad(ids, 0), pad(texts, most_texts), most_texts)
    return np.asarray(sums)[:count], np.bincount(texts, minlength=count)


@functools.partial(jax.jit, static_argnums=3)
def _segment_sums(rows, ids, texts, count):
  """Sums `[U, D]` rows by text; the text number `count` is padding, which XLA drops."""
  return jax.ops.segment_sum(rows[ids], texts, count, indices_are_sorted=True)


def _first_singular_vector(vectors: np.ndarray) -> np.ndarray:
  """Returns the first right singular vector `[D]` of `[N, D]`; zeros if all vectors are zero."""
  width = vectors.shape[1]
  gram = np.zeros((width, width))
  for start in range(0, len(vectors), _ROWS):
    block = vectors[start : start + _ROWS].astype(np.float64)
    gram += block.T @ block
  if not gram.any():
    return np.zeros(width, np.float32)
  if np.count_nonzero(vectors.any(axis=1)) == 1:
    logging.warning('one text is its own component, so its vector becomes 0; give a component')
  first = np.linalg.eigh(gram)[1][:, -1]
  return (first * np.sign(first[np.abs(first).argmax()])).astype(np.float32)
