"""Nearest rows for many queries at once, on the device.

What belongs here: exact search as matrix products with top-k, in tiles that bound memory,
and the hand-over to faiss for approximate search among millions of rows. Arrays in, arrays
out: nothing here knows words.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

_QUERIES = 256  # of one product
_ROWS = 1 << 14  # of one product, whose 16 MiB of scores a cache may hold
_GROUP = 64  # rows whose maximum is taken before the best are looked for


def nearest(
  vectors: np.ndarray,
  norms: np.ndarray,
  positive: np.ndarray,
  negative: np.ndarray | None = None,
  *,
  excluded: np.ndarray | None = None,
  k: int = 10,
) -> tuple[np.ndarray, np.ndarray]:
  r"""The rows with the highest scores for each query.

  With one positive vector a query and none negative the score of a row x is its cosine.
  With several it is the product of the cosines, each moved to [0, 1]:

  .. math:: \prod_p \frac{1 + \cos(x, p)}{2} \Big/
    \Big(\prod_n \frac{1 + \cos(x, n)}{2} + 10^{-6}\Big)

  Args:
    vectors: `[V, D]` rows; they go to the device 16,384 at a time.
    norms: `[V]` their lengths, 1 for a zero row.
    positive: `[Q, D]` vectors of length 1 or 0, or `[Q, P, D]` for the product.
    negative: `[Q, N, D]`, those that count against; only with `[Q, P, D]`.
    excluded: `[Q, E]` rows that are no answers to a query; -1 for none.
    k: how many rows for each query.

  Returns:
    `[Q, k]` rows, the highest first, and `[Q, k]` float32 scores. Where there are fewer
    candidates than k, the row is -1 and the score -inf.

  References:
    Levy and Goldberg, `Linguistic Regularities in Sparse and Explicit Word
    Representations <https://aclanthology.org/W14-1618/>`_, 2014: 3CosAdd and 3CosMul.
  """
  count = len(positive)
  if excluded is None:
    excluded = np.full((count, 1), -1)
  if positive.ndim == 3 and negative is None:
    negative = np.zeros((count, 0, positive.shape[-1]), np.float32)
  best_rows = np.full((count, k), -1, np.int64)
  best_scores = np.full((count, k), -np.inf, np.float32)
  for start in range(0, len(vectors), _ROWS):
    tile = jnp.asarray(vectors[start : start + _ROWS] / norms[start : start + _ROWS, None])
    for first in range(0, count, _QUERIES):
      here = slice(first, min(first + _QUERIES, count))
      pad = lambda x: np.pad(
        x, [(0, min(_QUERIES, count) - len(x)), *[(0, 0)] * (x.ndim - 1)]
      )  # so that every call has one shape
      place = excluded[here] - start
      place = np.where((place >= 0) & (place < len(tile)), place, len(tile))
      against = None if negative is None else pad(negative[here])
      scores, rows = _best(tile, pad(positive[here]), against, pad(place), min(k, len(tile)))
      size = here.stop - first
      scores = np.concatenate([best_scores[here], np.asarray(scores)[:size]], axis=1)
      rows = np.concatenate([best_rows[here], np.asarray(rows)[:size] + start], axis=1)
      order = np.argsort(-scores, axis=1, kind='stable')[:, :k]
      best_scores[here] = np.take_along_axis(scores, order, axis=1)
      best_rows[here] = np.take_along_axis(rows, order, axis=1)
  best_rows[np.isneginf(best_scores)] = -1
  return best_rows, best_scores


@functools.partial(jax.jit, static_argnums=4)
def _best(tile, positive, negative, excluded, k):
  """The k best of `[R, D]` unit rows for `[Q, D]` or `[Q, P, D]` vectors."""
  cosines = lambda x: jnp.einsum('...d,rd->...r', x, tile, precision=jax.lax.Precision.HIGHEST)
  if negative is None:
    scores = cosines(positive)
  else:
    product = lambda x: jnp.prod((1 + cosines(x)) / 2, axis=1)
    scores = product(positive) / (product(negative) + 1e-6)
  queries = jnp.arange(len(scores))[:, None]
  return _top_k(scores.at[queries, excluded].set(-jnp.inf, mode='drop'), k)


def _top_k(scores, k):
  """`jax.lax.top_k`, at a fraction of its cost on a CPU: of groups first, then within them.

  The k best of all are in the k groups with the highest maxima. A group is every
  (R / 64)-th row, so that the maxima are those of rows of a matrix.
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
  """A graph of faiss (HNSW) over unit vectors: nearly the nearest rows, in logarithmic time.

  For `KeyedVectors.most_similar(..., indexer=index)`.

  Attributes:
    index: the index of faiss, to save or tune with its own functions.
    words: the word of each row.

  References:
    Malkov and Yashunin, `Efficient and robust approximate nearest neighbor search using
    Hierarchical Navigable Small World graphs <https://arxiv.org/abs/1603.09320>`_, 2016.
  """

  def __init__(self, words: Sequence[str], unit_vectors: np.ndarray, links: int = 32):
    """Builds the graph of V words and `[V, D]` vectors of length 1.

    Raises:
      ImportError: faiss is not installed.
    """
    try:
      import faiss
    except ImportError as error:
      raise ImportError("an index needs faiss: pip install 'jw2v[index]'") from error
    self.words = list(words)
    self.index = faiss.IndexHNSWFlat(unit_vectors.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    self.index.add(np.ascontiguousarray(unit_vectors, np.float32))

  def most_similar(self, vector: np.ndarray, num_neighbors: int) -> list[tuple[str, float]]:
    """About the nearest words to a vector `[D]` of length 1, with their cosines."""
    count = min(num_neighbors, len(self.words))
    cosines, rows = self.index.search(np.asarray(vector, np.float32)[None], count)
    found = zip(rows[0].tolist(), cosines[0].tolist(), strict=True)
    return [(self.words[row], cosine) for row, cosine in found if row >= 0]
