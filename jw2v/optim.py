"""Row-wise optimizers: gradients as rows, and updates of the touched rows only.

A step touches a few thousand of the V rows of a table, and a dense [V, D] gradient would cost more
than the step itself. `rowwise` turns any elementwise optax transformation into a row-wise
optimizer; `curvature_damped_sgd` is the optimizer that the trainer uses by default.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class RowGradients(NamedTuple):
  """The gradient of a [V, D] table as rows: `dense[ids[n]] += values[n]`.

  An id may repeat. The id V marks padding: it names no row, and its values are dropped.
  (A row of zeros under a real id would not do: to Adam it is a gradient like any other.)

  The curvature of an id is the sum over its rows: an estimate of the trace of the Hessian of the
  loss with respect to that row of the table (see `objectives/logistic.py`). Only
  `curvature_damped_sgd` needs it.
  """

  ids: jax.Array  # [N] integers in [0, V]
  values: jax.Array  # [N, D]
  curvature: jax.Array | None = None  # [N], not negative


def combine_repeated(gradients: RowGradients, num_rows: int) -> RowGradients:
  """Adds the rows of each id into one of them, without a sort.

  Every id elects one of the rows that carry it (whichever the scatter lets win), and
  all of them are added there.

  Args:
    gradients: N rows.
    num_rows: V, the rows of the table.

  Returns:
    N rows, of which the elected ones hold the sums and all others are padding.
  """
  order = jnp.arange(gradients.ids.size, dtype=jnp.int32)
  elected = jnp.zeros(num_rows + 1, jnp.int32).at[gradients.ids].set(order)[gradients.ids]  # [N]
  values = jnp.zeros_like(gradients.values).at[elected].add(gradients.values)
  return RowGradients(jnp.where(elected == order, gradients.ids, num_rows), values)


class RowwiseTransformation(NamedTuple):
  """An optimizer by row: `init(table) -> state`, `update(gradients, state, table)`.

  `update` returns the table with the updates applied, and the state: updates exist only
  for the touched rows.
  """

  init: Callable[[jax.Array], optax.OptState]
  update: Callable[[RowGradients, optax.OptState, jax.Array], tuple[jax.Array, optax.OptState]]


def rowwise(tx: optax.GradientTransformation) -> RowwiseTransformation:
  """Makes an elementwise optax transformation work on row gradients.

  Leaves of the optimizer's state that are shaped like the table are gathered and
  scattered at the touched rows; all others (step counts, learning rates) pass through.
  Rows with the same id are added first, so that the transformation sees their sum.

  For SGD and Adagrad the result is that of the dense transformation. Where a dense
  optimizer also moves rows whose gradient is zero, the row-wise one is lazy: the
  moments of Adam and RMSProp and the velocity of momentum do not decay, and their rows
  do not move, in steps that do not touch them. The same goes for weight decay.

  Args:
    tx: an optax transformation that treats each element by itself. Others, such as
      clipping by a global norm or Adafactor, would see the touched rows for the table
      and give wrong results, which cannot be detected here.

  Returns:
    The optimizer by row.

  References:
    Lazy updates as in TensorFlow's LazyAdam and PyTorch's SparseAdam.
  """

  def init(table: jax.Array) -> optax.OptState:
    return tx.init(table)

  def update(
    gradients: RowGradients, state: optax.OptState, table: jax.Array
  ) -> tuple[jax.Array, optax.OptState]:
    ids, values, _ = combine_repeated(gradients, len(table))
    is_table = lambda leaf: jnp.shape(leaf) == table.shape
    rows_of = lambda leaf: leaf.at[ids].get(mode='clip') if is_table(leaf) else leaf
    row_state = jax.tree.map(rows_of, state)
    updates, row_state = tx.update(values, row_state, rows_of(table))
    table = table.at[ids].add(updates.astype(table.dtype), mode='drop')
    state = jax.tree.map(
      lambda old, new: old.at[ids].set(new, mode='drop') if is_table(old) else new,
      state,
      row_state,
    )
    return table, state

  return RowwiseTransformation(init, update)


class CurvatureDampedState(NamedTuple):
  """The state of `curvature_damped_sgd`; the rate lies where `inject_hyperparams` has it."""

  hyperparams: dict[str, jax.Array]  # {'learning_rate': []}
  total: jax.Array  # [V] zeros between steps: to clear the touched ones is cheaper than all


def curvature_damped_sgd(learning_rate: jax.typing.ArrayLike) -> RowwiseTransformation:
  r"""SGD on rows that stays stable when a step touches a row many times.

  .. math:: x \leftarrow x - \eta\, \varphi(\eta h)\, g, \qquad
     \varphi(z) = \frac{1 - e^{-z}}{z}

  with the sums :math:`g` of a row's gradients and :math:`h` of its curvatures.

  A step sums the gradients of every occurrence of a word in it, all taken at the same
  point. Where they are many, the sum steps over the minimum that one occurrence after
  the other would have approached, and further out each time: plain SGD diverges. On the
  way that they would have gone, the gradient changes: for small steps as
  :math:`\dot x = -\nabla J(x)`. With :math:`g + h (x - x_0)` for :math:`\nabla J`, whose
  curvature is not less than that of the loss in any direction (a trace bounds the
  largest eigenvalue), the place reached at time :math:`\eta` is
  :math:`x_0 - \frac{1 - e^{-\eta h}}{h} g`.

  A row seen once has a small :math:`\eta h`, and :math:`\varphi(z) = 1 - z/2 + O(z^2)`
  leaves it to plain SGD; a row with much curvature goes to the minimum, :math:`g / h`
  away, of its quadratic model at most, at any learning rate.

  Args:
    learning_rate: :math:`\eta`, a number or an array; part of the state.

  Returns:
    The optimizer by row. Its `update` raises a `ValueError` for gradients without
    curvature. It never combines repeated rows: a sum of their scaled rows is the same.

  References:
    The exponential Euler step of Hochbruck and Ostermann, `Exponential integrators
    <https://doi.org/10.1017/S0962492910000048>`_, 2010, on a quadratic model by row;
    implicit SGD (Toulis and Airoldi, 2017) damps by :math:`1 / (1 + z)` instead.
  """

  def init(table: jax.Array) -> CurvatureDampedState:
    rate = jnp.asarray(learning_rate, float)
    return CurvatureDampedState({'learning_rate': rate}, jnp.zeros_like(table, shape=len(table)))

  def update(
    gradients: RowGradients, state: CurvatureDampedState, table: jax.Array
  ) -> tuple[jax.Array, CurvatureDampedState]:
    if gradients.curvature is None:
      raise ValueError('curvature=None: curvature_damped_sgd needs the curvature of each row')
    ids, values, curvature = gradients.ids, gradients.values, gradients.curvature
    rate = state.hyperparams['learning_rate'].astype(values.dtype)
    total = state.total.at[ids].add(curvature.astype(table.dtype), mode='drop')
    of_rows = total.at[ids].get(mode='clip')  # [N]
    z = jnp.maximum(rate * of_rows, 1e-30)  # phi(1e-30) is 1
    # The division last: XLA would compute what comes after it once for every column.
    factor = rate * jnp.expm1(-z) / z  # -rate phi(z)
    updates = factor[:, None] * values
    table = table.at[ids].add(updates.astype(table.dtype), mode='drop')
    # Zeros that come after the reading of the total, which XLA then changes in place.
    zeros = jnp.minimum(of_rows, 0)
    return table, state._replace(total=total.at[ids].set(zeros, mode='drop'))

  return RowwiseTransformation(init, update)
