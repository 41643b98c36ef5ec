"""Nearest-neighbor search: exact for many queries at once, or approximate with faiss.

The exact search computes matrix products with top-k on the device, in tiles that bound memory.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_QUERIES = 256  # scored at once
_ROWS = 1 << 14  # scored at once: 16 MiB of scores, which a cache may hold
_FEWEST_ROWS = 1 << 10  # minimum number of rows scored at once
_COSINES = 1 << 25  # cosines of terms with rows to keep in memory, if they fit
_GROUP = 64  # size of a group whose maximum is computed first


def nearest(
  vectors: np.ndarray,
  norms: np.ndarray,
  queries: np.ndarray,
  *,
  excluded: np.ndarray | None = None,
  k: int = 10,
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the rows with the highest cosines with each query.

  Args:
    vectors: `[V, D]` rows; they are copied to the device 16,384 at a time.
    norms: `[V]` their lengths, 1 for a zero row.
    queries: `[Q, D]` vectors of length 1 or 0.
    excluded: `[Q, E]` rows to exclude for each query; -1 for none.
    k: number of rows per query.

  Returns:
    `[Q, k]` rows, the highest first, and `[Q, k]` float32 cosines. If a query has fewer
    candidates than k, its other rows are -1 and their cosines -inf.
  """
  search = _Search(len(queries), excluded, k)
  for start in range(0, len(vectors), _ROWS):
    tile = _unit_rows(vectors, norms, start, _ROWS)
    search.add(start, len(tile), functools.partial(_best_cosines, tile), queries)
  return search.rows, search.scores


def nearest_to_combinations(
  vectors: np.ndarray,
  norms: np.ndarray,
  terms: np.ndarray,
  positive: np.ndarray,
  negative: np.ndarray,
  *,
  multiply: bool = False,
  excluded: np.ndarray | None = None,
  k: int = 10,
) -> tuple[np.ndarray, np.ndarray]:
  r"""Finds the rows with the highest scores for queries that share terms, such as analogies.

  The score of a row x is the sum of its cosines with the positive terms, minus the sum of its
  cosines with the negative terms (3CosAdd). With `multiply`, the score is the quotient of their
  products, each cosine shifted to [0, 1] (3CosMul):

  .. math:: \sum_p \cos(x, p) - \sum_n \cos(x, n) \qquad\text{or}\qquad
    \prod_p \frac{1 + \cos(x, p)}{2} \Big/
    \Big(\prod_n \frac{1 + \cos(x, n)}{2} + 10^{-6}\Big)

  The function computes cosines with the T terms only, instead of with all Q queries.

  Args:
    vectors: `[V, D]` rows; they are copied to the device 16,384 at a time, or fewer if there
      are many terms, but at least 1,024.
    norms: `[V]` their lengths, 1 for a zero row.
    terms: `[T, D]` vectors of length 1 or 0.
    positive: `[Q, P]` rows of `terms`.
    negative: `[Q, N]` rows of `terms`.
    multiply: True if the score is 3CosMul.
    excluded: `[Q, E]` rows to exclude for each query; -1 for none.
    k: number of rows per query.

  Returns:
    `[Q, k]` rows and `[Q, k]` scores, as `nearest`.

  References:
    Levy and Goldberg, `Linguistic Regularities in Sparse and Explicit Word
    Representations <https://aclanthology.org/W14-1618/>`_, 2014: 3CosAdd and 3CosMul.
  """
  size = min(_ROWS, max(_FEWEST_ROWS, _COSINES // max(1, len(terms))))
  search = _Search(len(positive), excluded, k)
  for start in range(0, len(vectors), size):
    cosines = _cosines(terms, _unit_rows(vectors, norms, start, size))
    best = functools.partial(_best_combined, cosines, multiply)
    search.add(start, cosines.shape[1], best, positive, negative)
  return search.rows, search.scores


def _unit_rows(vectors, norms, start, size):
  return jnp.asarray(vectors[start : start + size] / norms[start : start + size, None])


class _Search:
  """Collects the best rows of one tile after the other."""

  def __init__(self, count, excluded, k):
    self.k = k
    self.excluded = np.full((count, 1), -1) if excluded is None else excluded
    self.rows = np.full((count, k), -1, np.int64)
    self.scores = np.full((count, k), -np.inf, np.float32)

  def add(self, start, size, best, *queries):
    """Adds a tile of `size` rows; `best` takes a block of queries, their exclusions and k."""
    count = len(self.rows)
    for first in range(0, count, _QUERIES):
      here = slice(first, min(first + _QUERIES, count))
      pad = lambda x: np.pad(
        x, [(0, min(_QUERIES, count) - len(x)), *[(0, 0)] * (x.ndim - 1)]
      )  # so that all calls have the same shape
      place = self.excluded[here] - start
      place = np.where((place >= 0) & (place < size), place, size)
      scores, rows = best(*(pad(x[here]) for x in queries), pad(place), min(self.k, size))
      asked = here.stop - first
      scores = np.concatenate([self.scores[here], np.asarray(scores)[:asked]], axis=1)
      rows = np.concatenate([self.rows[here], np.asarray(rows)[:asked] + start], axis=1)
      # Ties, also of -inf, keep the earlier row: the initial -1.
      order = np.argsort(-scores, axis=1, kind='stable')[:, : self.k]
      self.scores[here] = np.take_along_axis(scores, order, axis=1)
      self.rows[here] = np.take_along_axis(rows, order, axis=1)


@jax.jit
def _cosines(units, tile):
  """Computes cosines `[n, R]` of unit vectors `[n, D]` and `[R, D]`."""
  return jnp.einsum('nd,rd->nr', units, tile, precision=jax.lax.Precision.HIGHEST)


@functools.partial(jax.jit, static_argnums=3)
def _best_cosines(tile, queries, excluded, k):
  """Finds the k best of `[R, D]` unit rows for `[Q, D]` vectors."""
  return _best(_cosines(queries, tile), excluded, k)


@functools.partial(jax.jit, static_argnums=(1, 5))
def _best_combined(cosines, multiply, positive, negative, excluded, k):
  """Finds the k best rows for combinations of terms with the cosines `[T, R]`."""
  # Column by column, XLA fuses the sum into one loop over the scores, which is 7 times faster.
  each = lambda terms: (cosines[column] for column in terms.T)
  if multiply:
    product = lambda terms: math.prod((1 + cosine) / 2 for cosine in each(terms))
    scores = product(positive) / (product(negative) + 1e-6)
  else:
    scores = sum(each(positive)) - sum(each(negative))
  scores = jnp.broadcast_to(scores, (len(positive), cosines.shape[1]))
  return _best(scores, excluded, k)


def _best(scores, excluded, k):
  queries = jnp.arange(len(scores))[:, None]
  return _top_k(scores.at[queries, excluded].set(-jnp.inf, mode='drop'), k)


def _top_k(scores, k):
  """Computes `jax.lax.top_k` faster on a CPU: first among groups, then within them.

  The k best scores are in the k groups with the highest maxima. A group is every (R / 64)-th
  row, so that the maxima are a reduction over rows of a matrix.
  """
  count, size = scores.shape
  if size % _GROUP or size // _GROUP <= k:
    return jax.lax.top_k(scores, k)
  grouped = scores.reshape(count, _GROUP, size // _GROUP)
  _, groups = jax.lax.top_k(grouped.max(axis=1), k)  # [Q, k]
  members = jnp.take_along_axis(grouped, groups[:, None], axis=2).reshape(count, -1)
  best, place = jax.lax.top_k(members, k)
  group = jnp.take_along_axis(groups, place % k, axis=1)
  return best, place // k * (size // _GROUP) + group


class ApproximateIndex:
  """Approximate nearest-neighbor search in logarithmic time, with an HNSW graph of faiss.

  Pass it to `KeyedVectors.most_similar(..., indexer=index)`.

  Attributes:
    index: the faiss index, to save or tune with the functions of faiss.
    words: the word of each row.

  References:
    Malkov and Yashunin, `Efficient and robust approximate nearest neighbor search using
    Hierarchical Navigable Small World graphs <https://arxiv.org/abs/1603.09320>`_, 2016.
  """

  def __init__(self, words: Sequence[str], unit_vectors: np.ndarray, links: int = 32):
    """Builds the graph of V words and their unit vectors `[V, D]`.

    Raises:
      ImportError: faiss is not installed.
    """
    try:
      import faiss
    except ImportError as error:
      raise ImportError("an index needs faiss: pip install 'jw2v[index]'") from error
    self.words: list[str] = list(words)
    self.index: Any = faiss.IndexHNSWFlat(unit_vectors.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    self.index.add(np.ascontiguousarray(unit_vectors, np.float32))

  def most_similar(self, vector: np.ndarray, num_neighbors: int) -> list[tuple[str, float]]:
    """Returns approximately the nearest words to a unit vector `[D]`, with their cosines."""
    count = min(num_neighbors, len(self.words))
    cosines, rows = self.index.search(np.asarray(vector, np.float32)[None], count)
    found = zip(rows[0].tolist(), cosines[0].tolist(), strict=True)
    return [(self.words[row], cosine) for row, cosine in found if row >= 0]
