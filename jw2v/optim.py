"""Row-wise optimizers: gradients as rows, and updates of the touched rows only.

A step touches a few thousand of the V rows of a table, and a dense [V, D] gradient would cost more
than the step itself. `rowwise` turns any elementwise optax transformation into a row-wise
optimizer; `curvature_damped_sgd` is the optimizer that the trainer uses by default.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jw2v.losses.numerics import exportable, wide_dtype
from jw2v.losses.rows import RowGradients, check_row_gradients, row_ids


def combine_repeated(gradients: RowGradients, num_rows: int) -> RowGradients:
  """Adds the rows of each id into one of them, without a sort.

  Every id elects one of the rows that carry it (whichever the scatter lets win), and
  all of them are added there.

  Args:
    gradients: N rows. Ids of any integer dtype; those outside [0, V) are padding.
    num_rows: V, the rows of the table.

  Returns:
    N rows without curvature, of which the elected ones hold the sums and all others are padding.
    The ids are int32; the values are float32 if those of the gradients are narrower.

  Raises:
    AssertionError: the ids are not `[N]` integers, or the values not floating `[N, D]`.
  """
  ids, values, _ = check_row_gradients(gradients)
  ids, values = row_ids(ids, num_rows), values.astype(wide_dtype(values))
  order = jnp.arange(ids.size, dtype=jnp.int32)
  elected = jnp.zeros(num_rows + 1, jnp.int32).at[ids].set(order)[ids]  # [N]
  values = jnp.zeros_like(values).at[elected].add(values)
  ids = jnp.where(elected == order, ids, num_rows)
  # A NaN in padding must not reach the transformation.
  return RowGradients(ids, jnp.where((ids < num_rows)[:, None], values, 0))


class RowwiseTransformation(NamedTuple):
  """An optimizer by row: `init(tables) -> state`, `update(gradients, state, tables)`.

  `tables` is one `[V, D]` array or a pytree of them, each with its own V and D. The gradients and
  the state have the tree of the tables, with one `RowGradients` and one state per table.

  `update` returns the tables with the updates applied, and the state: updates exist only
  for the touched rows. Every id outside [0, V) is padding and touches nothing. `update` raises
  while it is traced: an `AssertionError` if the ids are not `[N]` integers or the values not
  floating `[N, D]`, a `TypeError` for a gradient that is not a `RowGradients`, and a `ValueError`
  if the trees differ.
  """

  init: Callable[[Any], optax.OptState]
  update: Callable[[Any, optax.OptState, Any], tuple[Any, optax.OptState]]


def _per_table(init: Callable, update: Callable) -> RowwiseTransformation:
  """Applies the functions of one table to each table of a tree."""

  def init_all(tables: Any) -> optax.OptState:
    return jax.tree.map(init, tables)

  def update_all(gradients: Any, state: optax.OptState, tables: Any) -> tuple[Any, optax.OptState]:
    structure: Any = jax.tree.structure(tables)
    parts = zip(*map(structure.flatten_up_to, (gradients, state, tables)), strict=True)
    done = [update(check_row_gradients(rows, table), own, table) for rows, own, table in parts]
    new_tables, new_state = [table for table, _ in done], [own for _, own in done]
    return structure.unflatten(new_tables), structure.unflatten(new_state)

  return RowwiseTransformation(init_all, update_all)


def rowwise(tx: optax.GradientTransformation) -> RowwiseTransformation:
  """Makes an elementwise optax transformation work on row gradients.

  The transformation runs once per table, with a state of its own for each. Leaves of that state
  that are shaped like the table are gathered and scattered at the touched rows; all others (step
  counts, learning rates) pass through. For an elementwise transformation this is the same as one
  state for all tables, except that each table has its own counts and rates.
  Rows with the same id are added first, in float32 or wider, so that the transformation sees their
  sum, in the dtype of the table.

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

  Example:
    >>> import jax.numpy as jnp, jw2v, optax
    >>> optimizer = jw2v.rowwise(optax.adam(0.1))
    >>> tables = {'users': jnp.zeros((5, 2)), 'items': jnp.zeros((3, 2))}
    >>> state = optimizer.init(tables)
    >>> gradients = {
    ...   'users': jw2v.RowGradients(jnp.array([4, 1, 4]), jnp.ones((3, 2))),
    ...   'items': jw2v.RowGradients(jnp.array([3]), jnp.ones((1, 2))),  # padding
    ... }
    >>> tables, state = optimizer.update(gradients, state, tables)
    >>> tables['users'].any(axis=1).tolist(), tables['items'].any(axis=1).tolist()
    ([False, True, False, False, True], [False, False, False])
  """

  def update(
    gradients: RowGradients, state: optax.OptState, table: jax.Array
  ) -> tuple[jax.Array, optax.OptState]:
    ids, values, _ = combine_repeated(gradients, table.shape[0])
    is_table = lambda leaf: jnp.shape(leaf) == table.shape
    rows_of = lambda leaf: leaf.at[ids].get(mode='clip') if is_table(leaf) else leaf
    row_state = jax.tree.map(rows_of, state)
    with jax.numpy_dtype_promotion('standard'):  # optax relies on it: Adam's b1**count
      updates, row_state = tx.update(values.astype(table.dtype), row_state, rows_of(table))
    table = table.at[ids].add(updates.astype(table.dtype), mode='drop')
    state = jax.tree.map(
      lambda old, new: old.at[ids].set(new, mode='drop') if is_table(old) else new,
      state,
      row_state,
    )
    return table, state

  return _per_table(tx.init, update)


@exportable
class CurvatureDampedState(NamedTuple):
  """The state of `curvature_damped_sgd`; the rate lies where `inject_hyperparams` has it."""

  hyperparams: dict[str, jax.Array]  # {'learning_rate': []}
  # [V] zeros between steps: to clear the touched ones is cheaper than all. float32 or wider.
  total: jax.Array


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
    curvature. It combines repeated rows only for tables narrower than float32, which would round
    the sum at each row: otherwise a sum of their scaled rows is the same.

  References:
    The exponential Euler step of Hochbruck and Ostermann, `Exponential integrators
    <https://doi.org/10.1017/S0962492910000048>`_, 2010, on a quadratic model by row;
    implicit SGD (Toulis and Airoldi, 2017) damps by :math:`1 / (1 + z)` instead.
  """

  def init(table: jax.Array) -> CurvatureDampedState:
    rate = jnp.asarray(learning_rate, float)
    total = jnp.zeros_like(table, wide_dtype(table), shape=table.shape[:1])
    return CurvatureDampedState({'learning_rate': rate}, total)

  def update(
    gradients: RowGradients, state: CurvatureDampedState, table: jax.Array
  ) -> tuple[jax.Array, CurvatureDampedState]:
    ids, values, curvature = gradients
    if curvature is None:
      raise ValueError('curvature=None: curvature_damped_sgd needs the curvature of each row')
    if ids.dtype != jnp.int32:  # int32 ids need no conversion: the lookups below do not wrap
      ids = row_ids(ids, table.shape[0])
    dtype = state.total.dtype
    rate = state.hyperparams['learning_rate'].astype(dtype)
    outside: dict[str, Any] = {'mode': 'drop', 'wrap_negative_indices': False}
    total = state.total.at[ids].add(curvature.astype(dtype), **outside)
    if table.dtype != dtype:
      ids, values, _ = combine_repeated(RowGradients(ids, values), table.shape[0])
    of_rows = total.at[ids].get(mode='clip', wrap_negative_indices=False)  # [N]
    z = jnp.maximum(rate * of_rows, 1e-30)  # phi(1e-30) is 1
    # The division last: XLA would compute what comes after it once for every column.
    factor = rate * jnp.expm1(-z) / z  # -rate phi(z)
    updates = factor[:, None] * values.astype(dtype)
    table = table.at[ids].add(updates.astype(table.dtype), **outside)
    # Zeros that come after the reading of the total, which XLA then changes in place.
    zeros = jnp.minimum(of_rows, 0)
    return table, state._replace(total=total.at[ids].set(zeros, **outside))

  return _per_table(init, update)
