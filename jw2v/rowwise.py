"""Gradients by row, and any elementwise optax optimizer on the touched rows alone.

What belongs here: everything that writes into a table. A step touches a few thousand
of a table's V rows; a dense [V, D] gradient would cost more than the step itself.
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
  """

  ids: jax.Array  # [N] integers in [0, V]
  values: jax.Array  # [N, D]

  def to_dense(self, num_rows: int) -> jax.Array:
    """The [num_rows, D] gradient, for tests and small tables."""
    zeros = jnp.zeros((num_rows, self.values.shape[-1]), self.values.dtype)
    return zeros.at[self.ids].add(self.values, mode='drop')


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
  """`rowwise(tx)`: `init(table) -> state`, `update(gradients, state, table)`."""

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
    `init(table)`, the state; and `update(gradients, state, table) -> (table, state)`
    with the updates applied, since they exist only for the touched rows.

  References:
    Lazy updates as in TensorFlow's LazyAdam and PyTorch's SparseAdam.
  """

  def init(table: jax.Array) -> optax.OptState:
    return tx.init(table)

  def update(
    gradients: RowGradients, state: optax.OptState, table: jax.Array
  ) -> tuple[jax.Array, optax.OptState]:
    ids, values = combine_repeated(gradients, len(table))
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
