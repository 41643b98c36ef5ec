"""Rows of the outside table, the vectors of blocks that are scored against them, and the way back.

What belongs here: scores, and the three products that make gradients of their derivatives. The
objectives in `binary.py` and `softmax.py` are functions of scores in between.

Axes: those of `blocks`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jw2v.blocks import flat, padded_ids, rows_of, squared_norms, transposed
from jw2v.rowwise import RowGradients


class Gradients(NamedTuple):
  """The loss of the windows of some blocks, and its gradients."""

  loss: jax.Array  # [], of the measured blocks
  vectors: jax.Array  # [N, I, D], by the vectors that predict
  curvature: jax.Array  # [N, I]
  outside: RowGradients


class Scored(NamedTuple):
  """Outside rows and their scores.

  Attributes:
    ids: `[N, O]`, rows that all vectors of a block meet; or `[N, I, L]`, L for each vector.
    rows: `[N, O, D]` or `[N, I L, D]`.
    scores: `[N, O, I]` or `[N, I, L]`.
  """

  ids: jax.Array
  rows: jax.Array
  scores: jax.Array


def score(ids: jax.Array, table: jax.Array, vectors: jax.Array) -> Scored:
  """The rows of a table by `ids`, and the scores of `[N, I, D]` vectors against them."""
  rows = rows_of(table, ids.reshape(len(ids), -1))
  if ids.ndim == 3:
    scores = jnp.sum(rows * _each(vectors, ids.shape[2]), axis=2)
    return Scored(ids, rows, scores.reshape(ids.shape))
  # The narrow side last is the faster order of this product.
  return Scored(ids, rows, jnp.einsum('nod,nid->noi', rows, vectors))


def pull_scores(
  scored: Scored,
  delta: jax.Array,
  curvature: jax.Array,
  touched: jax.Array,
  vectors: jax.Array,
  num_rows: int,
) -> tuple[jax.Array, jax.Array, RowGradients]:
  r"""The gradients of a loss of scores :math:`z_{oi} = u_o^\top v_i`.

  .. math:: \nabla_{v_i} J = \sum_o \delta_{oi} u_o, \qquad h_{v_i} = \sum_o h_{oi} \|u_o\|^2,

  and the same with the sides changed.

  Args:
    scored: the rows and scores.
    delta: the derivative of the loss by each score.
    curvature: of the loss by each score.
    touched: which rows any vector meets, bool of the shape of the ids.
    vectors: `[N, I, D]`.
    num_rows: V, of the table.

  Returns:
    The gradient of the vectors, their curvature, and the rows of the table.
  """
  ids = padded_ids(scored.ids, touched, num_rows)
  row_norms, norms = squared_norms(scored.rows), squared_norms(vectors)
  if scored.ids.ndim == 3:
    num_vectors, length = delta.shape[1:]
    h_vectors = jnp.sum(curvature * row_norms.reshape(curvature.shape), axis=2)
    h_rows = curvature * norms[..., None]
    delta = delta.reshape(len(delta), -1, 1)
    d_vectors = delta * scored.rows
    if length > 1:
      d_vectors = jnp.sum(d_vectors.reshape(-1, num_vectors, length, d_vectors.shape[2]), axis=2)
    d_rows = delta * _each(vectors, length)
  else:
    d_vectors = jnp.einsum('nio,nod->nid', transposed(delta), scored.rows)
    h_vectors = jnp.einsum('noi,no->ni', curvature, row_norms)
    d_rows = jnp.einsum('noi,nid->nod', delta, vectors)
    h_rows = jnp.einsum('noi,ni->no', curvature, norms)
  return d_vectors, h_vectors, RowGradients(ids, flat(d_rows), h_rows.reshape(-1))


def _each(vectors: jax.Array, times: int) -> jax.Array:
  """`[N, I L, D]`: each vector L times. XLA sums four axes slower than three."""
  num_blocks, num_vectors, width = vectors.shape
  repeated = jnp.broadcast_to(vectors[:, :, None], (num_blocks, num_vectors, times, width))
  return repeated.reshape(num_blocks, num_vectors * times, width)


def add_gradients(*parts: Gradients) -> Gradients:
  """The gradients of a sum of losses of the same vectors."""
  losses, vectors, curvature, outside = zip(*parts, strict=True)
  return Gradients(
    sum(losses), sum(vectors), sum(curvature),
    jax.tree.map(lambda *x: jnp.concatenate(x), *outside),
  )  # fmt: skip
