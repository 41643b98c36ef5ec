"""Scores of block vectors against rows of the output table, and the corresponding VJP.

Every objective computes scores, derivatives of its loss by the scores, and from these the
gradients of vectors and rows. This module has the first and the last step; `logistic.py` and
`softmax.py` have the functions of scores between them.

Axes: as in `architectures.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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


# The blocks in which the loss and the curvature along gradients are measured: a slice of them, or
# indices, padded with those of no block.
Measured = slice | jax.Array
ALL = slice(None)
# From [m, I, D] directions of the vectors of the m measured blocks to the [m, I] curvatures along
# them.
Along = Callable[[jax.Array], jax.Array]


class Gradients(NamedTuple):
  """The loss of the predictions of N blocks and its gradients."""

  loss: jax.Array  # [] sum over the measured blocks
  vectors: jax.Array  # [N, I, D] by the predicting vectors
  curvature: jax.Array  # [N, I] trace of H, the Hessian by a vector
  along: Along  # d^T H d / d^T d
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
  scores = _products_of(rows, vectors, each, products)
  return Scored(
    ids, rows, *products.over_width(scores, squared_norms(rows), squared_norms(vectors))
  )


def _products_of(rows, vectors, each, products):
  """Returns `[N, O, I]` products of rows and vectors over the local columns; `[N, O]` if `each`."""
  if each:
    return jnp.sum(rows * vectors, axis=2)
  # The narrow side last is the faster order of this product.
  return products.einsum('nod,nid->noi', rows, vectors)


def scores_vjp(
  scored: Scored,
  delta: jax.Array,
  curvature: jax.Array,
  touched: jax.Array,
  vectors: jax.Array,
  num_rows: int,
  measured: Measured = ALL,
  products: Products = Products(),
) -> tuple[jax.Array, jax.Array, Along, RowGradients]:
  r"""Gradients of a loss of scores :math:`z_{oi} = u_o^\top v_i`, by vectors and rows.

  .. math:: \nabla_{v_i} J = \sum_o \delta_{oi} u_o, \qquad
     \operatorname{tr} H_{v_i} = \sum_o h_{oi} \|u_o\|^2, \qquad
     d^\top H_{v_i} d = \sum_o h_{oi} (u_o^\top d)^2,

  and the same for :math:`u_o` with the sides exchanged.

  Args:
    scored: the rows and scores.
    delta: derivative of the loss by each score, in the shape of the scores.
    curvature: curvature of the loss in each score.
    touched: `[N, O]` bool, False for rows that no vector is scored against.
    vectors: `[N, I, D]` vectors.
    num_rows: V, the rows of the table.
    measured: blocks in which the curvature along gradients is measured.
    products: how the products are computed.

  Returns:
    The gradient by the vectors, its curvature, the curvature along other directions, and the
    gradient by rows of the table.
  """
  ids = padded_ids(scored.ids, touched, num_rows)
  each = delta.ndim == 2
  if each:
    d_vectors, h_vectors = delta[..., None] * scored.rows, curvature * scored.row_norms
    d_rows, h_rows = delta[..., None] * vectors, curvature * scored.norms
  else:
    d_vectors = products.einsum('nio,nod->nid', transposed(delta), scored.rows)
    h_vectors = jnp.einsum('noi,no->ni', curvature, scored.row_norms)
    d_rows = products.einsum('noi,nid->nod', delta, vectors)
    h_rows = jnp.einsum('noi,ni->no', curvature, scored.norms)

  def along(directions):
    rows, h = sample(scored.rows, measured), sample(curvature, measured)
    return curvature_along(rows, directions, h, each, products)

  d, v, h = (sample(x, measured) for x in (d_rows, vectors, curvature))
  h = h if each else jnp.swapaxes(h, 1, 2)
  of_rows = curvature_along(v, d, h, each, products)
  rows = RowGradients(
    ids, flat(d_rows), h_rows.reshape(-1), directional(of_rows, sample(h_rows, measured))
  )
  return d_vectors, h_vectors, along, rows


def sample(values: Any, measured: Measured) -> jax.Array:
  """Returns the values of the measured blocks; zeros for a block that does not exist."""
  if isinstance(measured, slice):
    return values[measured]
  return values.at[measured].get(mode='fill', fill_value=0)


def curvature_along(
  rows: jax.Array, directions: jax.Array, h: jax.Array, each: bool, products: Products
) -> jax.Array:
  """Returns `[N, I]` curvatures d^T H d / d^T d, where H is the sum of h u u^T over rows u.

  Args:
    rows: `[N, O, D]` rows.
    directions: `[N, I, D]` directions; the result for zeros is 0.
    h: `[N, O, I]` curvatures of scores; or `[N, O]` if `each`.
    each: True if direction i meets row i only.
    products: how the products are computed.
  """
  moves, squares = products.over_width(
    _products_of(rows, directions, each, products), squared_norms(directions)
  )
  forms = h * moves * moves
  forms = forms if each else jnp.sum(forms, axis=1)
  return forms / jnp.maximum(squares, jnp.finfo(squares.dtype).tiny)


def directional(curvatures: jax.Array, traces: jax.Array) -> jax.Array:
  """Returns the sums of both as `RowGradients.directional`."""
  return jnp.stack([jnp.sum(curvatures), jnp.sum(traces)])[None]


def add_gradients(*parts: Gradients) -> Gradients:
  """Returns the gradients of a sum of losses of the same vectors."""
  losses, vectors, curvature, along, outside = zip(*parts, strict=True)
  return Gradients(
    sum(losses), sum(vectors), sum(curvature),
    lambda directions: sum(of_part(directions) for of_part in along),
    jax.tree.map(lambda *x: jnp.concatenate(x), *outside),
  )  # fmt: skip
