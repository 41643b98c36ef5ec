r"""The exact softmax over blocks of windows: the textbook's loss at real vocabulary sizes.

What belongs here: window objectives whose denominator is a sum over all V words, made in
tiles of the vocabulary, so that memory is that of a tile of scores and never V times the
windows of a step. They have the signature of the objectives in `blocks`.

The windows of a center :math:`v` with n context words share one softmax,

.. math::
   J = n \log \sum_w e^{u_w^\top v} - \sum_{o} u_o^\top v, \qquad
   \nabla_v J = n\, U^\top y - \sum_o u_o, \qquad
   \nabla_{u_w} J = n\, y_w v - [w \in o]\, v,

which takes two passes over the tiles: one for the largest score and the sum of the
exponentials, as they are met (the running log-sum-exp of Milakov and Gimelshein, `Online
normalizer calculation for softmax <https://arxiv.org/abs/1805.02867>`_, 2018), and one for
the gradients, tile by tile.

Each word is a logistic term against all others, with the logit of :math:`y_w` for its score.
The curvature of a row sums, over the words, :math:`n\, y_w (1 - y_w)` times the squared norm of
the other side, or :math:`n / 4`, its bound, where :math:`y_w > 1/2` and the term may be wrong by
much; and over the words of the context, which may be as wrong at :math:`y_o \approx 0`, the
:math:`c(z)` of the docstring of `blocks`.
"""

import jax
import jax.numpy as jnp

from jw2v.blocks import (
  ObjectiveRows,
  center_ids_of,
  context_size,
  curvature_of,
  in_window,
  padded_ids,
  rows_of,
)
from jw2v.rowwise import RowGradients
from jw2v.sampling import Blocks
from jw2v.windows import Word2VecParams

_TILE = 4096  # words whose scores are there at once


def skip_gram_softmax_rows(
  params: Word2VecParams, blocks: Blocks, negatives: int = 0, measured: int | None = None
) -> ObjectiveRows:
  """Skip-gram with the naive softmax over blocks: `skip_gram_value_and_grad` without negatives.

  Args:
    params: the two tables, `[V, D]` each.
    blocks: N blocks; their noise words are not used.
    negatives: not used.
    measured: of how many blocks, the first, to sum the loss; None for all.

  Returns:
    The summed loss and the rows that it moves: N B in the center table, and in the outside
    table all V (some of the last tile twice, with zeros) and the N T of the context.
  """
  del negatives
  center_ids, n = center_ids_of(blocks), context_size(blocks)  # [N, B]
  u, pairs = rows_of(params.outside, blocks.token_ids), in_window(blocks)  # [N, T, D], [N, T, B]
  v_of_block = rows_of(params.center, center_ids)  # [N, B, D]
  pairs = pairs.astype(u.dtype)
  context = jnp.einsum('ntb,ntd->nbd', pairs, u)  # the sum of u_o
  v = v_of_block.reshape(-1, v_of_block.shape[-1])  # [M, D], of all centers
  weights = n.reshape(-1).astype(v.dtype)

  log_normalizer = _log_normalizer(v, params.outside)  # [M]
  d_center, h_center, outside = _gradients(v, weights, log_normalizer, params.outside)
  log_normalizer = log_normalizer.reshape(n.shape)
  losses = weights.reshape(n.shape) * log_normalizer - jnp.sum(context * v_of_block, axis=2)
  log_y = jnp.einsum('ntd,nbd->ntb', u, v_of_block) - log_normalizer[:, None]
  wrong = pairs * curvature_of(_logit(log_y))  # [N, T, B]
  h_context = jnp.einsum('ntb,nb->nt', wrong, jnp.sum(v_of_block**2, axis=2))
  h_center += jnp.einsum('ntb,nt->nb', wrong, jnp.sum(u**2, axis=2)).reshape(-1)
  from_context = -jnp.einsum('ntb,nbd->ntd', pairs, v_of_block)
  touched = jnp.sum(pairs, axis=2) > 0
  return ObjectiveRows(
    loss=jnp.sum(losses[:measured]),
    predictions=jnp.sum(n[:measured]),
    center=RowGradients(
      padded_ids(center_ids, n > 0, params.center),
      d_center - context.reshape(d_center.shape),
      h_center,
    ),
    outside=RowGradients(
      jnp.concatenate([outside.ids, padded_ids(blocks.token_ids, touched, params.outside)]),
      jnp.concatenate([outside.values, from_context.reshape(-1, v.shape[-1])]),
      jnp.concatenate([outside.curvature, h_context.reshape(-1)]),
    ),
  )


def _logit(log_y: jax.Array) -> jax.Array:
  """The logit of a probability, from its logarithm."""
  log_y = jnp.minimum(log_y, -jnp.finfo(log_y.dtype).eps)
  return log_y - jnp.log(-jnp.expm1(log_y))


def _tiles(table: jax.Array) -> tuple[int, jax.Array]:
  """The size of a tile, and where each begins; the last one may overlap the one before."""
  size = min(_TILE, len(table))
  return size, jnp.arange(0, len(table), size)


def _tile(table: jax.Array, begin: jax.Array, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Rows `[size, D]` of the table, their ids, and which were in no tile before."""
  first = jnp.minimum(begin, len(table) - size)
  rows = jax.lax.dynamic_slice_in_dim(table, first, size)
  ids = first + jnp.arange(size)
  return rows, ids, ids >= begin


def _log_normalizer(v: jax.Array, table: jax.Array) -> jax.Array:
  """`[M]` log sum_w exp(u_w v), for each of `[M, D]` centers."""
  size, begins = _tiles(table)

  def add(carry, begin):
    largest, total = carry
    rows, _, is_new = _tile(table, begin, size)
    scores = jnp.where(is_new, v @ rows.T, -jnp.inf)  # [M, size]
    higher = jnp.maximum(largest, jnp.max(scores, axis=1))
    total = total * jnp.exp(largest - higher) + jnp.sum(jnp.exp(scores - higher[:, None]), axis=1)
    return (higher, total), None

  start = (jnp.full(len(v), -jnp.inf, v.dtype), jnp.zeros(len(v), v.dtype))
  (largest, total), _ = jax.lax.scan(add, start, begins)
  return largest + jnp.log(total)


def _gradients(v, weights, log_normalizer, table):
  """Of sum_b n_b log_normalizer_b: by center `[M, D]` with its curvature, and the rows of U."""
  size, begins = _tiles(table)
  v_norms = jnp.sum(v * v, axis=1)

  def add(carry, begin):
    d_center, h_center = carry
    rows, ids, is_new = _tile(table, begin, size)
    log_y = v @ rows.T - log_normalizer[:, None]
    y = jnp.where(is_new, jnp.exp(jnp.minimum(log_y, 0)), 0)
    curvature = weights[:, None] * jnp.where(y > 0.5, 0.25, y * (1 - y))
    d_scores = weights[:, None] * y  # [M, size]
    d_center += d_scores @ rows
    h_center += curvature @ jnp.sum(rows * rows, axis=1)
    return (d_center, h_center), (ids, d_scores.T @ v, curvature.T @ v_norms)

  start = (jnp.zeros_like(v), jnp.zeros(len(v), v.dtype))
  (d_center, h_center), (ids, values, curvature) = jax.lax.scan(add, start, begins)
  flat = RowGradients(ids.reshape(-1), values.reshape(-1, v.shape[1]), curvature.reshape(-1))
  return d_center, h_center, flat
