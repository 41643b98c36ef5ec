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

from jw2v.losses.rows import CurvatureSample, RowGradients
from jw2v.losses.window import Word2VecParams
from jw2v.objectives.architectures import flat, gather_rows, padded_ids, squared_norms, transposed


class Products(NamedTuple):
  """Settings of products that sum over the columns of the tables.

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


class Measured(NamedTuple):
  """The measurements of a step, in addition to the gradients.

  Attributes:
    blocks: slice or indices of the blocks whose loss and curvature are measured; indices that are
      out of range are padding.
    common: the `[D]` common directions for the rows of both tables, see
      `jw2v.optim.common_direction`; None measures no curvature.
    curvature: bool, or an array of one; with False the measured curvature is 0.
  """

  blocks: slice | jax.Array = slice(None)
  common: Word2VecParams | None = None
  curvature: Any = True


ALL = Measured()
# From the [m, I, D] gradients of the vectors of the m measured blocks, and the common directions of
# both tables, to the `CurvatureSample` of each.
MeasureCurvature = Callable[[jax.Array, Word2VecParams], Word2VecParams]


class Gradients(NamedTuple):
  """The loss of the predictions of N blocks and its gradients."""

  loss: jax.Array  # [] sum over the measured blocks
  vectors: jax.Array  # [N, I, D] by the predicting vectors
  curvature: jax.Array  # [N, I] trace of the Hessian by a vector
  measure: MeasureCurvature
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
) -> tuple[jax.Array, jax.Array, MeasureCurvature, RowGradients]:
  r"""Gradients of a loss of scores :math:`z_{oi} = u_o^\top v_i`, by vectors and rows.

  .. math:: \nabla_{v_i} J = \sum_o \delta_{oi} u_o, \qquad
     \operatorname{tr} H_{v_i} = \sum_o h_{oi} \|u_o\|^2,

  and the same for :math:`u_o` with the sides exchanged.

  Args:
    scored: the rows and scores.
    delta: derivative of the loss by each score, in the shape of the scores.
    curvature: curvature of the loss in each score.
    touched: `[N, O]` bool, False for rows that no vector is scored against.
    vectors: `[N, I, D]` vectors.
    num_rows: V, the rows of the table.
    measured: the blocks whose curvature is measured.
    products: settings of the products.

  Returns:
    The gradient by the vectors, its curvature, the function that measures the curvature along
    gradients, and the gradient by rows of the table.
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

  def measure(gradients, common):
    rows, v, d, h = (sample(x, measured) for x in (scored.rows, vectors, d_rows, curvature))
    h_of_rows = h if each else jnp.swapaxes(h, 1, 2)
    return Word2VecParams(
      measure_curvature(rows, gradients, h, common.center, products),
      measure_curvature(v, d, h_of_rows, common.outside, products),
    )

  return d_vectors, h_vectors, measure, RowGradients(ids, flat(d_rows), h_rows.reshape(-1))


def sample(values: Any, measured: Measured) -> jax.Array:
  """Returns the values of the measured blocks; zeros for a block that does not exist."""
  if isinstance(measured.blocks, slice):
    return values[measured.blocks]
  return values.at[measured.blocks].get(mode='fill', fill_value=0)


def measure_curvature(
  rows: jax.Array, gradients: jax.Array, h: jax.Array, common: jax.Array, products: Products
) -> CurvatureSample:
  r"""Measures the Hessians :math:`\sum_o h_{oi} u_o u_o^\top` along gradients.

  Args:
    rows: `[N, O, D]` rows u.
    gradients: `[N, I, D]` gradients; a gradient of zeros adds nothing to the curvature along them.
    h: `[N, O, I]` curvatures of scores; or `[N, O]` if O = I and gradient o meets row o only.
    common: `[D]` the direction m.
    products: settings of the products.

  Returns:
    The sums over all N I gradients.
  """
  each = h.ndim == 2
  moves, squares, of_common, along, norms = products.over_width(
    _products_of(rows, gradients, each, products), squared_norms(gradients),
    *(jnp.matmul(x, common, precision='highest') for x in (rows, gradients)), squared_norms(rows),
  )  # fmt: skip
  # Across the common direction, gradients have at least rounding errors. Skip tiny ones.
  squares = jnp.maximum(squares - along * along, 1e-6 * squares)
  inverse = jnp.where(squares > 1e-30, 1 / jnp.maximum(squares, 1e-30), 0)
  if each:
    moves, weights = moves - of_common * along, h
  else:
    moves, weights = moves - of_common[..., None] * along[:, None], jnp.sum(h, axis=2)
    inverse = inverse[:, None]
  sums = h * inverse * moves * moves, weights * of_common * of_common, weights * norms
  direction = jnp.einsum('no,nod->d', weights, rows)
  return CurvatureSample(jnp.stack([*map(jnp.sum, sums)])[None], direction[None])


def add_gradients(*parts: Gradients) -> Gradients:
  """Returns the gradients of a sum of losses of the same vectors."""
  losses, vectors, curvature, measures, outside = zip(*parts, strict=True)

  def measure(*along):
    return jax.tree.map(lambda *x: sum(x), *(of_part(*along) for of_part in measures))

  return Gradients(
    sum(losses), sum(vectors), sum(curvature), measure,
    jax.tree.map(lambda *x: jnp.concatenate(x), *outside),
  )  # fmt: skip
