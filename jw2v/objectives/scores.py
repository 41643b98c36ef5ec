"""Rows of the outside table, the vectors of blocks that are scored against them, and the way back.

What belongs here: scores, and the three products that make gradients of their derivatives. The
objectives in `binary.py` and `softmax.py` are functions of scores in between.

Axes: those of `blocks`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.objectives.architectures import flat, padded_ids, rows_of, squared_norms, transposed
from jw2v.optim import RowGradients


class Products(NamedTuple):
  """How products that sum over the columns of the tables are made.

  Attributes:
    axis: the mesh axis that the columns are split over: each device sums over its columns, and
      the sums are added up. None where a device has all of them.
    dtype: what both sides are rounded to before a product, which adds up in the dtype that
      they had; None for no rounding.
  """

  axis: str | None = None
  dtype: str | None = None

  def einsum(self, formula: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`jnp.einsum` of two arrays, of the columns that are here."""
    if self.dtype is None:
      return jnp.einsum(formula, a, b)
    result = a.dtype
    a, b = a.astype(self.dtype), b.astype(self.dtype)
    return jnp.einsum(formula, a, b, preferred_element_type=result)

  def scores(self, vectors: jax.Array, rows: jax.Array) -> jax.Array:
    """`[M, S]`, of every vector `[M, D]` with every row `[S, D]`."""
    return self.over_width(self.einsum('md,sd->ms', vectors, rows))[0]

  def over_width(self, *partial: jax.Array) -> tuple[jax.Array, ...]:
    """The sums over all columns, of arrays of sums over those that are here, in one exchange."""
    if self.axis is None:
      return partial
    total = jax.lax.psum(jnp.concatenate([x.reshape(-1) for x in partial]), self.axis)
    pieces = jnp.split(total, np.cumsum([x.size for x in partial[:-1]]))
    return tuple(piece.reshape(x.shape) for piece, x in zip(pieces, partial, strict=True))


class Gradients(NamedTuple):
  """The loss of the windows of some blocks, and its gradients."""

  loss: jax.Array  # [], of the measured blocks
  vectors: jax.Array  # [N, I, D], by the vectors that predict
  curvature: jax.Array  # [N, I]
  outside: RowGradients


class Scored(NamedTuple):
  """Outside rows and their scores, of `[N, I, D]` vectors.

  Attributes:
    ids: `[N, O]`.
    rows: `[N, O, D]`.
    scores: `[N, O, I]`, of all vectors of a block; or `[N, O]` where O = I and each row has a
      vector of its own.
    row_norms: `[N, O]`, squared.
    norms: `[N, I]`, those of the vectors, squared.
  """

  ids: np.ndarray | jax.Array
  rows: jax.Array
  scores: jax.Array
  row_norms: jax.Array
  norms: jax.Array


def score(
  ids: np.ndarray | jax.Array,
  table: jax.Array,
  vectors: jax.Array,
  *,
  each: bool,
  products: Products = Products(),
) -> Scored:
  """The rows of a table by `ids`, and their scores: `each` with its own vector, or with all."""
  rows = rows_of(table, ids)
  if each:
    scores = jnp.sum(rows * vectors, axis=2)
  else:  # the narrow side last is the faster order of this product
    scores = products.einsum('nod,nid->noi', rows, vectors)
  return Scored(
    ids, rows, *products.over_width(scores, squared_norms(rows), squared_norms(vectors))
  )


def pull_scores(
  scored: Scored,
  delta: jax.Array,
  curvature: jax.Array,
  touched: jax.Array,
  vectors: jax.Array,
  num_rows: int,
  products: Products = Products(),
) -> tuple[jax.Array, jax.Array, RowGradients]:
  r"""The gradients of a loss of scores :math:`z_{oi} = u_o^\top v_i`.

  .. math:: \nabla_{v_i} J = \sum_o \delta_{oi} u_o, \qquad h_{v_i} = \sum_o h_{oi} \|u_o\|^2,

  and the same with the sides changed.

  Args:
    scored: the rows and scores.
    delta: the derivative of the loss by each score.
    curvature: of the loss by each score.
    touched: `[N, O]` bool, which rows any vector meets.
    vectors: `[N, I, D]`.
    num_rows: V, of the table.
    products: how they are made.

  Returns:
    The gradient of the vectors, their curvature, and the rows of the table.
  """
  ids = padded_ids(scored.ids, touched, num_rows)
  if delta.ndim == 2:
    d_vectors, h_vectors = delta[..., None] * scored.rows, curvature * scored.row_norms
    d_rows, h_rows = delta[..., None] * vectors, curvature * scored.norms
  else:
    d_vectors = products.einsum('nio,nod->nid', transposed(delta), scored.rows)
    h_vectors = jnp.einsum('noi,no->ni', curvature, scored.row_norms)
    d_rows = products.einsum('noi,nid->nod', delta, vectors)
    h_rows = jnp.einsum('noi,ni->no', curvature, scored.norms)
  return d_vectors, h_vectors, RowGradients(ids, flat(d_rows), h_rows.reshape(-1))


def add_gradients(*parts: Gradients) -> Gradients:
  """The gradients of a sum of losses of the same vectors."""
  losses, vectors, curvature, outside = zip(*parts, strict=True)
  return Gradients(
    sum(losses), sum(vectors), sum(curvature),
    jax.tree.map(lambda *x: jnp.concatenate(x), *outside),
  )  # fmt: skip
