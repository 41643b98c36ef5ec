"""Row-wise optimizers: gradients as rows, and updates of the touched rows only.

A step touches a few thousand rows of a table `[V, D]`, and a dense gradient would take longer than
the step itself. `rowwise` turns any elementwise optax transformation into a row-wise optimizer.
`curvature_damped_sgd` is the default optimizer of `jw2v.train`. Unlike in optax, `update` returns
the new table.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jw2v.losses.numerics import exportable, wide_dtype
from jw2v.losses.rows import CurvatureSample, RowGradients, check_row_gradients, row_ids


def combine_repeated(gradients: RowGradients, num_rows: int) -> RowGradients:
  """Combines rows with the same id into one row, without sorting.

  A scatter selects one of the rows of each id, and the function adds the other rows to it.

  Args:
    gradients: N rows. Ids of any integer dtype; ids outside [0, V) are padding.
    num_rows: V, the number of rows of the table.

  Returns:
    N rows without curvature: the selected rows hold the sums, all other rows are padding. The ids
    are int32. The values have the dtype of the gradients, at least float32.

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
    tables, state = _as_jax((tables, state))
    parts = zip(*map(structure.flatten_up_to, (gradients, state, tables)), strict=True)
    done = [update(check_row_gradients(rows, table), own, table) for rows, own, table in parts]
    new_tables, new_state = [table for table, _ in done], [own for _, own in done]
    return structure.unflatten(new_tables), structure.unflatten(new_state)

  return RowwiseTransformation(init_all, update_all)


def _as_jax(tree: Any) -> Any:
  """Converts the NumPy arrays of a tree, as of a restored checkpoint, to arrays of JAX."""
  return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, tree)


def rowwise(tx: optax.GradientTransformation) -> RowwiseTransformation:
  """Makes an elementwise optax transformation work on row gradients.

  The transformation runs once per table, with a state of its own for each. Leaves of that state
  that are shaped like the table are gathered and scattered at the touched rows; all others (step
  counts, learning rates) pass through. For an elementwise transformation this is the same as one
  state for all tables, except that each table has its own counts and rates.
  Rows with the same id are added first, in float32 or wider, so that the transformation sees their
  sum, in the dtype of the table.

  For SGD and Adagrad the result equals the dense transformation. Some dense optimizers also move
  rows whose gradient is zero. The row-wise optimizer is lazy instead: in steps that do not touch a
  row, its moments of Adam and RMSProp and its velocity of momentum do not decay, and the row does
  not move. The same applies to weight decay.

  Args:
    tx: an optax transformation that treats each element by itself. Others, such as clipping by a
      global norm, would mistake the touched rows for the table and return wrong results. `init`
      raises an error for `optax.MultiSteps`, Adafactor, Muon, L-BFGS, NovoGrad and SM3, and cannot
      detect others. The masks and labels of `optax.masked` and `optax.multi_transform` must be for
      one table. For different transformations, make one row-wise optimizer per table.

  Returns:
    The optimizer by row.

  Raises:
    TypeError: `tx` is not an optax transformation.
    ValueError: raised by `init` if the state of `tx` is not elementwise, or if `tx` has masks or
      labels of a tree of tables.

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
  if isinstance(tx, RowwiseTransformation) or not (
    callable(getattr(tx, 'init', None)) and callable(getattr(tx, 'update', None))
  ):
    raise TypeError(
      'tx must be an optax transformation, such as optax.adam(0.1), got '
      f'{getattr(tx, "__name__", type(tx).__name__)}'
    )

  def init(table: jax.Array) -> optax.OptState:
    try:
      state = tx.init(_as_jax(table))
    except ValueError as error:
      if 'pytree' not in str(error):
        raise
      raise ValueError(
        'the masks and labels of tx must be those of one table, got a tree of them; make one '
        'row-wise optimizer per table'
      ) from error
    _check_elementwise(state)
    return state

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

  return _per_table(init, update)


# By the names of their states, since some are not public: what mixes rows, and what updates a row
# in a later step than the one that touches it.
_NOT_ELEMENTWISE = {
  'MultiStepsState': 'optax.MultiSteps; concatenate the row gradients of the steps',
  'FactoredState': 'Adafactor; use Adagrad or Adam',
  'MuonState': 'Muon; use Adagrad or Adam',
  'ScaleByLBFGSState': 'L-BFGS; use Adagrad or Adam',
  'ScaleByNovogradState': 'NovoGrad; use Adagrad or Adam',
  'ScaleBySM3State': 'SM3; use Adagrad or Adam',
}


def _check_elementwise(state: optax.OptState) -> None:
  """Raises a `ValueError` for the state of a transformation known not to be elementwise."""
  for node in _nodes(state):
    if found := _NOT_ELEMENTWISE.get(type(node).__name__):
      raise ValueError(f'tx must treat each element by itself, got {found}')


def _nodes(tree: Any) -> Iterator[Any]:
  """Yields the inner nodes and leaves of the state of an optimizer."""
  yield tree
  children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple) else ()
  for child in children:
    yield from _nodes(child)


# The decaying average covers about this number of samples: 1 / (1 - 0.9).
_DECAY = 0.9
# Lower bounds of the share across m: _FLOOR times the square of the share along it, and _LEAST.
_FLOOR, _LEAST = 0.3, 0.01


@exportable
class CurvatureDampedState(NamedTuple):
  """State of `curvature_damped_sgd`, with the learning rate as in `optax.inject_hyperparams`."""

  hyperparams: dict[str, jax.Array]  # {'learning_rate': []}
  # [V] zeros between steps: to clear the touched ones is cheaper than all. float32 or wider.
  total: jax.Array
  last: jax.Array  # [3] the curvatures of the last sample
  curvatures: jax.Array  # [3] decaying average of the curvatures of all samples
  direction: jax.Array  # [1, D] decaying average of their directions


def common_direction(state: CurvatureDampedState, axis_name: str | None = None) -> jax.Array:
  """Returns the `[D]` unit vector m along which the next sample is measured.

  It is the direction of the mean vector of the other table in the last samples, weighted by the
  curvature of the terms; zeros before the first sample.

  Args:
    state: the state of the optimizer of the table.
    axis_name: mesh axis that the columns of the table are split over, within `jax.shard_map`.
  """
  (direction,) = state.direction
  square = _over(jnp.sum(direction * direction), axis_name)
  return direction * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)


def damping_shares(state: CurvatureDampedState) -> jax.Array:
  """Returns the `[2]` shares of the curvature that damp a gradient along and across m."""
  return jnp.maximum(_shares(state.last), _shares(state.curvatures))


def curvature_damped_sgd(
  learning_rate: jax.typing.ArrayLike, *, axis_name: str | None = None
) -> RowwiseTransformation:
  r"""SGD on rows that stays stable when a step touches a row many times.

  .. math:: x \leftarrow x - \eta\, \big( \varphi(\eta\, h\, \rho_\parallel)\, g_\parallel
     + \varphi(\eta\, h\, \rho_\perp)\, g_\perp \big), \qquad
     \varphi(z) = \frac{1 - e^{-z}}{z}

  with the sums :math:`g` of a row's gradients and :math:`h` of its curvatures. The part
  :math:`g_\parallel = (g^\top m)\, m` of the gradient is along the common direction :math:`m` of
  the table, and :math:`g_\perp` is the rest. Each table also has two shares of the curvature,

  .. math:: \rho_\parallel = \max(2 s, \rho_\perp), \qquad
     \rho_\perp = 2\, (1 - s)\, r + 0.3\, s^2,

  neither below 0.01 nor above 1.

  **Damping.** A step sums the gradients of all occurrences of a word, computed at the same point.
  If a word has many occurrences, the sum overshoots the minimum that sequential updates would
  approach, and plain SGD diverges. The gradient would change along the path of sequential updates,
  which for small steps follows :math:`\dot x = -\nabla J(x)`. With the quadratic model
  :math:`\nabla J = g + H (x - x_0)`, this path reaches at time :math:`\eta` the point

  .. math:: x_0 - \eta\, \varphi(\eta H)\, g,

  which is the exponential Euler step. A matrix for each row would be too expensive, so two numbers
  replace it.

  **Two numbers.** The vectors :math:`u_o` in :math:`H = \sum_o h_o u_o u_o^\top` are the rows of
  the other table in the terms of the row. They have a common component, their mean. Along its
  direction :math:`m` the curvature :math:`m^\top H m` is far larger than along any other direction,
  often half of the trace :math:`h`. The rest of the gradient has the curvature
  :math:`\kappa = g_\perp^\top H g_\perp / \|g_\perp\|^2`, which is far smaller than the rest of the
  trace, since the remaining components of the :math:`u_o` have many directions. A single number
  would make the step too short across :math:`m` or too long along it.

  **Measurement.** For each table, the optimizer computes
  :math:`s = \sum m^\top H m / \sum \operatorname{tr} H` and
  :math:`r = \sum \kappa / \sum (\operatorname{tr} H - m^\top H m)` over the part of the batch in
  `RowGradients.sample`. Both change slowly over a run. The optimizer uses the larger share of the
  last sample and of a decaying average over about ten samples. The direction :math:`m` is the
  average of :math:`\sum_o h_o u_o`. The first sample only measures this direction, so the optimizer
  damps by the trace until the second sample.

  **Factor 2.** A step moves the rows of both tables, and a score :math:`u^\top v` changes by both
  moves. So each table is damped twice, but not beyond the trace.

  **Lower bound.** The shares are averages over a table, and a single row may have more curvature
  across :math:`m`. If nearly all curvature of the table is along :math:`m`, as in a text of one
  word, the share across it is poorly measured. The term :math:`0.3\, s^2` bounds it from below.

  **Limits.** A row with one occurrence has a small :math:`\eta h`, and
  :math:`\varphi(z) = 1 - z/2 + O(z^2)` makes its step plain SGD. If all terms have the same
  direction, this direction is :math:`m` with :math:`s = 1`, and the optimizer damps by the trace.
  With the exact shares of the row, no step at any learning rate increases its quadratic model.
  `docs/optimizer.md` has plots and the alternatives that were tried.

  Args:
    learning_rate: :math:`\eta`, a number or a scalar array; part of the state. For a schedule,
      replace `state.hyperparams['learning_rate']` before each step.
    axis_name: mesh axis that the columns of the tables are split over, within `jax.shard_map`.

  Returns:
    The optimizer by row. Its `update` raises a `ValueError` for gradients without
    curvature. It combines repeated rows only for tables narrower than float32, which would round
    the sum at each row: otherwise a sum of their scaled rows is the same.

  References:
    The exponential Euler step of Hochbruck and Ostermann, `Exponential integrators
    <https://doi.org/10.1017/S0962492910000048>`_, 2010, on a quadratic model by row;
    implicit SGD (Toulis and Airoldi, 2017) damps by :math:`1 / (1 + z)` instead. Mu and Viswanath,
    `All-but-the-top <https://openreview.net/forum?id=HkuGJ3kCb>`_, 2018, on the common direction of
    word vectors.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> optimizer = jw2v.curvature_damped_sgd(1.0)
    >>> table = jnp.zeros((3, 2))
    >>> # One row 500 times, each with the gradient (1, 0) and the curvature 2:
    >>> gradients = jw2v.RowGradients(
    ...   jnp.ones(500, int), jnp.tile(jnp.array([1.0, 0.0]), (500, 1)), jnp.full(500, 2.0)
    ... )
    >>> table, state = optimizer.update(gradients, optimizer.init(table), table)
    >>> table[1].round(3).tolist()  # the minimum of the quadratic model
    [-0.5, 0.0]
  """
  if callable(learning_rate):
    raise TypeError(
      'learning_rate must be a number, got a function; for a schedule, replace '
      "state.hyperparams['learning_rate'] before each step"
    )

  def init(table: jax.Array) -> CurvatureDampedState:
    rate = jnp.asarray(learning_rate, float)
    zeros = lambda *shape: jnp.zeros_like(table, wide_dtype(table), shape=shape)
    direction = zeros(1, table.shape[1])
    hyperparams = {'learning_rate': rate}
    return CurvatureDampedState(hyperparams, zeros(len(table)), zeros(3), zeros(3), direction)

  def update(
    gradients: RowGradients, state: CurvatureDampedState, table: jax.Array
  ) -> tuple[jax.Array, CurvatureDampedState]:
    ids, values, curvature, sample, along = gradients
    if curvature is None:
      raise ValueError('curvature must be [N] numbers for curvature_damped_sgd, got None')
    if ids.dtype != jnp.int32:  # int32 ids need no conversion: the lookups below do not wrap
      ids = row_ids(ids, table.shape[0])
    dtype = state.total.dtype
    rate = state.hyperparams['learning_rate'].astype(dtype)
    outside: dict[str, Any] = {'mode': 'drop', 'wrap_negative_indices': False}
    total = state.total.at[ids].add(curvature.astype(dtype), **outside)
    if table.dtype != dtype:
      ids, values, *_ = combine_repeated(RowGradients(ids, values), table.shape[0])
      along = None
    values = values.astype(dtype)
    of_rows = total.at[ids].get(mode='clip', wrap_negative_indices=False)  # [N]

    def factor(share):  # -rate phi(rate share h)
      z = jnp.maximum(rate * share * of_rows, 1e-30)  # phi(1e-30) is 1
      # The division comes last: XLA would compute later operations once for every column.
      return rate * jnp.expm1(-z) / z

    of_common, of_across = damping_shares(state)
    m = common_direction(state, axis_name)
    along = _over(values @ m, axis_name) if along is None else along.astype(dtype)
    across = factor(of_across)
    updates = across[:, None] * values + jnp.outer((factor(of_common) - across) * along, m)
    table = table.at[ids].add(updates.astype(table.dtype), **outside)
    # These zeros depend on the total that was read, so that XLA can change it in place.
    zeros = jnp.minimum(of_rows, 0)
    state = state._replace(total=total.at[ids].set(zeros, **outside))
    if sample is not None:
      total_of = lambda x: jnp.sum(x.astype(dtype), axis=0)
      state = _add_sample(state, jax.tree.map(total_of, sample), m, axis_name)
    return table, state

  return _per_table(init, update)


def _add_sample(
  state: CurvatureDampedState, sample: CurvatureSample, m: jax.Array, axis_name: str | None
) -> CurvatureDampedState:
  """Adds a sample that was measured with m; skips a sample that is empty or not finite."""
  average = lambda old, new: _DECAY * old + (1 - _DECAY) * new
  squares = _over(jnp.array([m @ m, sample.direction @ sample.direction]), axis_name)
  is_sample = jnp.isfinite(sample.curvatures).all() & jnp.isfinite(squares[1])
  is_sample &= sample.curvatures[2] > 0
  measured = is_sample & (squares[0] > 0)  # the first sample has a direction only
  return state._replace(
    last=jnp.where(measured, sample.curvatures, state.last),
    curvatures=jnp.where(measured, average(state.curvatures, sample.curvatures), state.curvatures),
    direction=jnp.where(
      is_sample, average(state.direction, sample.direction[None]), state.direction
    ),
  )


def _shares(curvatures: jax.Array) -> jax.Array:
  """Returns the curvatures `[2]` along and across m, as shares of the trace, of a `[3]` sample."""
  across, common, trace = curvatures
  share = _share(common, trace, 0)
  ratio = _share(across, trace - common, 1)
  of_across = jnp.clip(2 * (1 - share) * ratio + _FLOOR * share**2, _LEAST, 1)
  return jnp.stack([jnp.maximum(jnp.minimum(2 * share, 1), of_across), of_across])


def _share(part: jax.Array, whole: jax.Array, otherwise: float) -> jax.Array:
  """Returns the share of a part, from 0 to 1; `otherwise` if the whole is 0."""
  known = whole > 0
  return jnp.where(known, jnp.clip(part / jnp.where(known, whole, 1), 0, 1), otherwise)


def _over(partial: jax.Array, axis_name: str | None) -> jax.Array:
  """Adds sums over the columns of each device."""
  return partial if axis_name is None else jax.lax.psum(partial, axis_name)
