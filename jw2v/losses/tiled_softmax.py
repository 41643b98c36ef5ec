"""The softmax over a large table, in tiles of its rows: for the trainer, and for other models.

What belongs here: sums over a table whose scores are never all there at once, and their
derivatives.

Axes: M vectors, V rows of the table, D their width, S the rows of a tile.
"""

import functools
import numbers
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses._check import check


def tile_size(tile: int | None, num_rows: int) -> int:
  """Returns the rows of a tile: by default 1,024 on a CPU and 8,192 elsewhere.

  A tile has at most as many rows as the table.

  Raises:
    ValueError: `tile` is not an integer from 1 to the rows of the table.
  """
  if tile is None:
    # What fits into the cache; elsewhere, what makes a product large enough.
    return min(1024 if jax.default_backend() == 'cpu' else 8192, num_rows)
  if not isinstance(tile, numbers.Integral) or isinstance(tile, bool) or not 1 <= tile <= num_rows:
    raise ValueError(f'tile={tile!r}: must be an integer from 1 to {num_rows}')
  return int(tile)


def tile_at(
  table: jax.Array, begin: jax.Array, size: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Rows `[S, D]` of the table, their ids, and which rows no earlier tile had.

  The last tile overlaps the one before it where the table is no multiple of the size.
  """
  first = jnp.minimum(begin, len(table) - size)
  ids = first + jnp.arange(size)
  return jax.lax.dynamic_slice_in_dim(table, first, size), ids, ids >= begin


def scores_of(vectors: jax.Array, rows: jax.Array) -> jax.Array:
  """`[M, S]`, of every vector `[M, D]` with every row `[S, D]`."""
  return vectors @ rows.T


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def log_normalizers(
  vectors: jax.Array, table: jax.Array, size: int, scores_of: Callable = scores_of
) -> jax.Array:
  r"""The logarithm of the denominator of each softmax, :math:`\log \sum_w e^{u_w^\top v}`.

  One pass over the tiles keeps the largest score so far and the sum of the exponentials.
  Its derivative is :math:`\sum_w y_w (u_w^\top \dot v + \dot u_w^\top v)`, in tiles as well.

  Args:
    vectors: `[M, D]`.
    table: `[V, D]`.
    size: S, at most V.
    scores_of: what makes scores of vectors and rows, linear in both.

  Returns:
    `[M]`.

  References:
    Milakov and Gimelshein, `Online normalizer calculation for softmax
    <https://arxiv.org/abs/1805.02867>`_, 2018.
  """

  def add(carry, begin):
    largest, total = carry
    rows, _, is_new = tile_at(table, begin, size)
    scores = jnp.where(is_new, scores_of(vectors, rows), -jnp.inf)  # [M, S]
    higher = jnp.maximum(largest, jnp.max(scores, axis=1))
    total = total * jnp.exp(largest - higher) + jnp.sum(jnp.exp(scores - higher[:, None]), axis=1)
    return (higher, total), None

  none = jnp.full(len(vectors), -jnp.inf, vectors.dtype)
  begins = jnp.arange(0, len(table), size)
  (largest, total), _ = jax.lax.scan(add, (none, jnp.zeros_like(none)), begins)
  return largest + jnp.log(total)


@log_normalizers.defjvp
def _log_normalizers_jvp(size, scores_of, primals, tangents):
  (vectors, table), (d_vectors, d_table) = primals, tangents
  result = log_normalizers(vectors, table, size, scores_of)
  num_rows, width = table.shape
  num_tiles = -(-num_rows // size)

  def by_tile(x):  # as inputs of the scan, so that a gradient leaves it tile by tile
    x = jnp.pad(x, ((0, num_tiles * size - num_rows), (0, 0)))
    return x.reshape(num_tiles, size, width)

  @jax.checkpoint  # the scores of a tile are made again on the way back, and not kept
  def add(total, inputs):
    begin, rows, d_rows = inputs
    y = jnp.exp(scores_of(vectors, rows) - result[:, None])
    y = jnp.where(begin + jnp.arange(size) < num_rows, y, 0)
    d_scores = scores_of(d_vectors, rows) + scores_of(vectors, d_rows)
    return total + jnp.sum(y * d_scores, axis=1), None

  begins = jnp.arange(0, num_rows, size)
  tangent, _ = jax.lax.scan(add, jnp.zeros_like(result), (begins, by_tile(table), by_tile(d_table)))
  return result, tangent


def tiled_softmax_loss(
  vectors: ArrayLike, label_ids: ArrayLike, table: ArrayLike, *, tile: int | None = None
) -> jax.Array:
  r"""Softmax cross entropy over the rows of a large table, without its `[M, V]` scores.

  .. math:: \ell_m = \log \sum_w e^{u_w^\top v_m} - u_{o_m}^\top v_m

  It works under `jax.grad`, `jax.jvp`, `jax.vmap` and `jax.jit`. Memory is that of a tile of
  scores, `[M, S]`, of the table and its gradient, of a copy of the table for the
  derivative, and of `[M, D]`; the scores are made twice for a gradient.

  Args:
    vectors: `[M, D]`, the predictions of a model.
    label_ids: `[M]` integers in [0, V), the rows that are right.
    table: `[V, D]`, a row for each class. For biases, give both sides another column.
    tile: S, the rows whose scores are there at once; by default 1,024 on a
      CPU and 8,192 elsewhere, or V if that is less.

  Returns:
    `[M]` losses.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    ValueError: `tile` is larger than V, or no positive integer.

  References:
    As `naive_softmax_loss`, whose values these are. Derivations D12 to D17.
  """
  vectors, label_ids, table = check(
    vectors=(vectors, 'M D'), label_ids=(label_ids, 'M', int), table=(table, 'V D')
  )
  size = tile_size(tile, len(table))
  return log_normalizers(vectors, table, size) - jnp.sum(vectors * table[label_ids], axis=1)
