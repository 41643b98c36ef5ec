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
  ids, values, *_ = check_row_gradients(gradients)
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
    ids, values, *_ = combine_repeated(gradients, table.shape[0])
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


# The ratio of curvatures is that of sums over about so many steps: 1 / (1 - 0.9).
_DECAY = 0.9


@exportable
class CurvatureDampedState(NamedTuple):
  """The state of `curvature_damped_sgd`; the rate lies where `inject_hyperparams` has it."""

  hyperparams: dict[str, jax.Array]  # {'learning_rate': []}
  # [V] zeros between steps: to clear the touched ones is cheaper than all. float32 or wider.
  total: jax.Array
  directional: jax.Array  # [2] decaying sums of curvature along gradients, and of traces


def curvature_damped_sgd(
  learning_rate: jax.typing.ArrayLike, floor: float = 0.2
) -> RowwiseTransformation:
  r"""SGD on rows that stays stable when a step touches a row many times.

  .. math:: x \leftarrow x - \eta\, \varphi(\eta \rho h)\, g, \qquad
     \varphi(z) = \frac{1 - e^{-z}}{z}, \qquad
     \rho = f + (1 - f) \frac{r}{2 - r}

  with the sums :math:`g` of a row's gradients and :math:`h` of its curvatures, the ratio :math:`r`
  of curvature to trace, one for a table, and the floor :math:`f`.

  **Why damp.** A step sums the gradients of every occurrence of a word in it, all taken at the same
  point. Where they are many, the sum steps over the minimum that one occurrence after the other
  would have approached, and further out each time: plain SGD diverges. On the way that they would
  have gone, the gradient changes: for small steps as :math:`\dot x = -\nabla J(x)`. With the
  quadratic model :math:`\nabla J = g + H (x - x_0)`, the place reached at time :math:`\eta` is

  .. math:: x_0 - \eta\, \varphi(\eta H)\, g,

  the exponential Euler step. One number has to stand for the matrix :math:`H`.

  **Which number.** :math:`\varphi` is convex, so that by Jensen's inequality the flow goes at least
  as far along :math:`g` as with the curvature :math:`\kappa = g^\top H g / \|g\|^2` in this
  direction; the trace :math:`h \ge \kappa` damps more, and most of it where :math:`H` has many
  directions. A step :math:`g / \kappa` minimizes the model along :math:`g`, and one of
  :math:`2 g / \kappa` is the longest that does not raise it. From this longest step one step of the
  trace, :math:`g / h`, is left as a margin: at most :math:`(2 / \kappa - 1 / h)\, g`, which is
  :math:`g / (h\, r / (2 - r))` with :math:`r = \kappa / h`. The ratio is measured on the part of
  the batch that `RowGradients.directional` covers: the larger one of the ratio of the step itself
  and that of the last ten steps or so. It changes slowly over a run, and a burst of one word raises
  it at once.

  **The floor.** The rows of both tables move at the same time, and single rows have larger ratios
  than their table: whatever the ratio, a row goes at most :math:`1 / f` times as far as with
  the trace.

  **Limits.** A row seen once has a small :math:`\eta h`, and :math:`\varphi(z) = 1 - z/2 + O(z^2)`
  leaves it to plain SGD. Where all terms have one direction, :math:`r = \rho = 1`: the trace is the
  curvature. A row with much curvature goes :math:`g / (\rho h)` at most, at any learning rate.
  `docs/optimizer.md` has plots and what else was tried.

  Args:
    learning_rate: :math:`\eta`, a number or an array; part of the state.
    floor: :math:`f`, from 0 to 1. With 1 the trace stands for the curvature, and so it does for
      gradients without `directional`.

  Returns:
    The optimizer by row. Its `update` raises a `ValueError` for gradients without
    curvature. It combines repeated rows only for tables narrower than float32, which would round
    the sum at each row: otherwise a sum of their scaled rows is the same.

  Raises:
    ValueError: `floor` is not from 0 to 1.

  References:
    The exponential Euler step of Hochbruck and Ostermann, `Exponential integrators
    <https://doi.org/10.1017/S0962492910000048>`_, 2010, on a quadratic model by row;
    implicit SGD (Toulis and Airoldi, 2017) damps by :math:`1 / (1 + z)` instead.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> optimizer = jw2v.curvature_damped_sgd(1.0)
    >>> table = jnp.zeros((3, 2))
    >>> # One row 500 times, each with the gradient (1, 0) and the curvature 2, all of it along it:
    >>> gradients = jw2v.RowGradients(
    ...   jnp.ones(500, int), jnp.tile(jnp.array([1.0, 0.0]), (500, 1)), jnp.full(500, 2.0),
    ...   directional=jnp.array([[1000.0, 1000.0]]),
    ... )
    >>> table, state = optimizer.update(gradients, optimizer.init(table), table)
    >>> table[1].round(3).tolist()  # the minimum of the quadratic model
    [-0.5, 0.0]
  """
  if not 0 <= floor <= 1:
    raise ValueError(f'floor must be from 0 to 1, got {floor}')

  def init(table: jax.Array) -> CurvatureDampedState:
    rate = jnp.asarray(learning_rate, float)
    total = jnp.zeros_like(table, wide_dtype(table), shape=table.shape[:1])
    return CurvatureDampedState({'learning_rate': rate}, total, jnp.zeros_like(total, shape=2))

  def update(
    gradients: RowGradients, state: CurvatureDampedState, table: jax.Array
  ) -> tuple[jax.Array, CurvatureDampedState]:
    ids, values, curvature, directional = gradients
    if curvature is None:
      raise ValueError('curvature=None: curvature_damped_sgd needs the curvature of each row')
    if ids.dtype != jnp.int32:  # int32 ids need no conversion: the lookups below do not wrap
      ids = row_ids(ids, table.shape[0])
    dtype = state.total.dtype
    sums = state.directional
    rate = state.hyperparams['learning_rate'].astype(dtype)
    if directional is not None:
      now = jnp.sum(directional.astype(dtype), axis=0)
      sums = _DECAY * sums + (1 - _DECAY) * now
      ratio = jnp.maximum(_ratio(now), _ratio(sums))
      rate_of_damping = rate * (floor + (1 - floor) * ratio / (2 - ratio))
    else:
      rate_of_damping = rate
    outside: dict[str, Any] = {'mode': 'drop', 'wrap_negative_indices': False}
    total = state.total.at[ids].add(curvature.astype(dtype), **outside)
    if table.dtype != dtype:
      ids, values, *_ = combine_repeated(RowGradients(ids, values), table.shape[0])
    of_rows = total.at[ids].get(mode='clip', wrap_negative_indices=False)  # [N]
    z = jnp.maximum(rate_of_damping * of_rows, 1e-30)  # phi(1e-30) is 1
    # The division last: XLA would compute what comes after it once for every column.
    factor = rate * jnp.expm1(-z) / z  # -rate phi(z)
    updates = factor[:, None] * values.astype(dtype)
    table = table.at[ids].add(updates.astype(table.dtype), **outside)
    # Zeros that come after the reading of the total, which XLA then changes in place.
    zeros = jnp.minimum(of_rows, 0)
    return table, state._replace(total=total.at[ids].set(zeros, **outside), directional=sums)

  return _per_table(init, update)


def _ratio(sums: jax.Array) -> jax.Array:
  """Returns the ratio of summed curvature to summed trace, at most 1; 0 where nothing is known."""
  curvature, trace = sums
  return jnp.clip(curvature / jnp.maximum(trace, jnp.finfo(sums.dtype).tiny), 0, 1)
