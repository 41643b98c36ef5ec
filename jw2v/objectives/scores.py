"""Scores of block vectors against rows of the output table, and the corresponding VJP.

Every objective computes scores, derivatives of its loss by the scores, and from these the
gradients of vectors and rows. This module has the first and the last step; `logistic.py` and
`softmax.py` have the functions of scores between them.

Axes: as in `architectures.py`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.losses.rows import RowGradients
from jw2v.objectives.architectures import flat, gather_rows, padded_ids, squared_norms, transposed


class Products(NamedTuple):
  """How products that sum over the columns of the tables are computed.

  Attributes:
    axis: mesh axis that the columns are split over. Each device sums over its columns, and a psum
      adds the partial sums. None if each device holds all columns.
    dtype: dtype that both sides of a product are rounded to. The product accumulates in their
      original dtype. None for no rounding.
  """

  axis: str | None = None
  dtype: str | None = None

  def einsum(self, formula: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns `jnp.einsum` of two arrays over the local columns."""
    if self.dtype is None:
      return jnp.einsum(formula, a, b)
    result = a.dtype
    a, b = a.astype(self.dtype), b.astype(self.dtype)
    return jnp.einsum(formula, a, b, preferred_element_type=result)

  def scores(self, vectors: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns the `[M, S]` scores of vectors `[M, D]` against rows `[S, D]`."""
    return self.over_width(self.einsum('md,sd->ms', vectors, rows))[0]

  def over_width(self, *partial: jax.Array) -> tuple[jax.Array, ...]:
    """Adds partial sums of the local columns over all devices, in one collective."""
    if self.axis is None:
      return partial
    total = jax.lax.psum(jnp.concatenate([x.reshape(-1) for x in partial]), self.axis)
    pieces = jnp.split(total, np.cumsum([x.size for x in partial[:-1]]))
    return tuple(piece.reshape(x.shape) for piece, x in zip(pieces, partial, strict=True))


class Gradients(NamedTuple):
  """The loss of the predictions of N blocks and its gradients."""

  loss: jax.Array  # [] sum over the measured blocks
  vectors: jax.Array  # [N, I, D] by the predicting vectors
  curvature: jax.Array  # [N, I]
  outside: RowGradients


class Scored(NamedTuple):
  """Outside rows and their scores against `[N, I, D]` vectors.

  Attributes:
    ids: `[N, O]` row ids.
    rows: `[N, O, D]` rows.
    scores: `[N, O, I]` scores of every row against every vector of its block; or `[N, O]` if
      O = I and row o is scored against vector o only.
    row_norms: `[N, O]` squared norms of the rows.
    norms: `[N, I]` squared norms of the vectors.
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
  """Gathers rows and scores them: row o against vector o if `each`, else against all vectors."""
  rows = gather_rows(table, ids)
  if each:
    scores = jnp.sum(rows * vectors, axis=2)
  else:  # the narrow side last is the faster order of this product
    scores = products.einsum('nod,nid->noi', rows, vectors)
  return Scored(
    ids, rows, *products.over_width(scores, squared_norms(rows), squared_norms(vectors))
  )


def scores_vjp(
  scored: Scored,
  delta: jax.Array,
  curvature: jax.Array,
  touched: jax.Array,
  vectors: jax.Array,
  num_rows: int,
  products: Products = Products(),
) -> tuple[jax.Array, jax.Array, RowGradients]:
  r"""Gradients of a loss of scores :math:`z_{oi} = u_o^\top v_i`, by vectors and rows.

  .. math:: \nabla_{v_i} J = \sum_o \delta_{oi} u_o, \qquad h_{v_i} = \sum_o h_{oi} \|u_o\|^2,

  and the same for :math:`u_o` with the sides exchanged.

  Args:
    scored: the rows and scores.
    delta: derivative of the loss by each score, in the shape of the scores.
    curvature: curvature of the loss in each score.
    touched: `[N, O]` bool, False for rows that no vector is scored against.
    vectors: `[N, I, D]` vectors.
    num_rows: V, the rows of the table.
    products: how the products are computed.

  Returns:
    The gradient by the vectors, its curvature, and the gradient by rows of the table.
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
  """Returns the gradients of a sum of losses of the same vectors."""
  losses, vectors, curvature, outside = zip(*parts, strict=True)
  return Gradients(
    sum(losses), sum(vectors), sum(curvature),
    jax.tree.map(lambda *x: jnp.concatenate(x), *outside),
  )  # fmt: skip
