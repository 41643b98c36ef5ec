r"""Merges the changes of separate devices: copies of tables in 'local', of rows in 'rows'.

Between two merges, device :math:`i` moves a row from :math:`x` by :math:`\Delta_i`. The merged row
is

.. math:: x + w \sum_i \Delta_i, \qquad
   w = \frac{1 - e^{-\sum_i z_i}}{\sum_i (1 - e^{-z_i})}, \qquad
   z_i = \rho \sum_{\text{steps}} \eta\, h,

with the curvature :math:`h` of the row in each step of the device. On the quadratic model of
`curvature_damped_sgd`, the steps of a device towards a minimum :math:`x^*` change the row by
:math:`\Delta_i = (1 - e^{-z_i}) (x^* - x)`. One device that takes the steps of all devices would
change it by :math:`(1 - e^{-\sum_i z_i}) (x^* - x)`, which is the merged change. With little work
on a row, such as the row of a rare word, :math:`w = 1` and the changes are summed. With much work
on all n devices, :math:`w = 1/n` and the merged row is the mean of the copies. If a single device
has touched a row, the merged row is the row of this device.

The trace :math:`h` is an upper bound, and :math:`\rho` is the share of the trace in the direction
of the change. This share is far smaller than along a gradient: directions of high curvature
converge in a few steps, so that the change after many steps has mostly directions of low curvature.
Therefore each merge measures the share on the blocks of another device's last step, from the
difference of the gradients before and after the change:

.. math:: \rho = \frac{\sum \kappa}{\sum h}, \qquad
   \kappa = \frac{\Delta^\top (\nabla J(x + \Delta) - \nabla J(x))}{\|\Delta\|^2}.

As in the steps, the component of a change along the common direction of a table is treated
separately, with the share that damps gradients along this direction.

Axes: V rows of a table, D columns, N rows of a step.

References: Stich, `Local SGD converges fast and communicates little
<https://arxiv.org/abs/1805.09767>`_, 2019, which takes the mean of the copies.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jw2v.distributed.rows import exchange, is_by_row
from jw2v.losses.rows import RowGradients
from jw2v.losses.window import Word2VecParams
from jw2v.optim import CurvatureDampedState, common_direction, damping_shares

_STEPS, _ROWS = 1024, 200_000  # default steps between two merges, for tables of _ROWS rows
_LEAST_SHARE = 1e-3  # avoids a division by 0 for a measured share of 0
# Bytes of a table that are merged at once: they stay in the cache of a core, or, between processes,
# are enough for the network.
_BYTES, _BYTES_BETWEEN = 2**20, 2**25


def steps_between_merges(steps: int | None, copies: int, num_rows: int = 1) -> int:
  """Returns the steps that each device takes between two merges.

  Args:
    steps: steps of all devices together, `config.merge_steps`; None for the default.
    copies: number of devices.
    num_rows: rows of the larger table if a merge takes time for each of them, as in 'local'.
  """
  together = max(_STEPS, _STEPS * num_rows // _ROWS) if steps is None else steps
  return max(1, together // copies)


def add_work(work: jax.Array, rows: RowGradients, state: optax.OptState) -> jax.Array:
  """Adds the rows of a step to the work on each row of a table.

  Args:
    work: `[V]` sums since the last merge.
    rows: the gradients of a step.
    state: the state of the optimizer of the table.

  Returns:
    The sums of the rate times the curvature of each row; with an optimizer of optax, of the
    occurrences of each row.
  """
  amount = jnp.ones(len(rows.ids), work.dtype)
  if isinstance(state, CurvatureDampedState):
    assert rows.curvature is not None
    amount = state.hyperparams['learning_rate'].astype(work.dtype) * rows.curvature
  return work.at[rows.ids].add(amount, mode='drop', wrap_negative_indices=False)


def shares_along_changes(
  gradients: Callable[[Word2VecParams], Word2VecParams],
  before: Word2VecParams,
  after: Word2VecParams,
  directions: Word2VecParams,
  axis: str,
) -> Word2VecParams:
  """Measures the shares of the curvature along the changes of both tables; in `jax.shard_map`.

  Args:
    gradients: from both tables to their `RowGradients` over some blocks. They should be blocks of
      another device: a row that this device touched once has moved along its gradient in them.
    before: the tables at the last merge.
    after: the copies of this device.
    directions: the `[D]` common direction of each table, which changes are measured across.
    axis: mesh axis of the devices.

  Returns:
    For each table the share, equal on all devices.
  """
  here = gradients(after)
  there = Word2VecParams(
    gradients(after._replace(center=before.center)).center,
    gradients(after._replace(outside=before.outside)).outside,
  )

  def share(here, there, before, after, direction):
    of_rows = lambda table: table.at[here.ids].get(mode='clip', wrap_negative_indices=False)
    change = of_rows(after) - of_rows(before)
    change -= jnp.outer(change @ direction, direction)
    squares = jnp.sum(change * change, axis=1)
    known = (here.ids < len(after)) & (squares > 1e-20)
    kappa = jnp.sum(change * (here.values - there.values), axis=1) / jnp.where(known, squares, 1)
    sums = jnp.sum(jnp.where(known, kappa, 0)), jnp.sum(jnp.where(known, here.curvature, 0))
    kappa, trace = jax.lax.psum(sums, axis)
    return jnp.clip(kappa / jnp.where(trace > 0, trace, 1), _LEAST_SHARE, 1)

  return Word2VecParams(*map(share, here, there, before, after, directions))


def merge_copies(
  before: jax.Array,
  table: jax.Array,
  state: optax.OptState,
  work: jax.Array,
  share: jax.Array,
  axis: str,
) -> tuple[jax.Array, optax.OptState]:
  """Merges the copies of a table and of the state of its optimizer; in `jax.shard_map`.

  Args:
    before: `[V, D]` the table at the last merge, equal on all devices.
    table: `[V, D]` the copy of this device.
    state: the state of this device.
    work: `[V]` the work of this device on each row, see `add_work`.
    share: the share of the curvature along the changes; unused with an optimizer of optax.
    axis: mesh axis of the devices.

  Returns:
    The merged table and state, equal on all devices. Of an optimizer of optax the state of a row
    and its change are the means over the devices that touched the row.
  """
  over_devices = lambda x: jax.lax.psum(x, axis)
  if isinstance(state, CurvatureDampedState):
    state = _mean_curvatures(state, axis)
    along, across = _weights(work, over_devices, state, share)
    return _add_changes(before, table, along, across, common_direction(state), axis), state
  touched = (work > 0).astype(table.dtype)
  count = over_devices(touched)
  of_each = jnp.where(count > 0, 1 / jnp.maximum(count, 1), 0)

  def mean(leaf: Any) -> Any:
    if jnp.shape(leaf) != table.shape:
      return leaf
    total = jax.lax.psum(leaf * (touched * of_each)[:, None], axis)
    return jnp.where(count[:, None] > 0, total, leaf)

  no_direction = jnp.zeros(table.shape[1], table.dtype)
  merged = _add_changes(before, table, of_each, of_each, no_direction, axis)
  return merged, jax.tree.map(mean, state)


def merge_rows(
  owned: tuple[jax.Array, optax.OptState],
  before: tuple[jax.Array, optax.OptState],
  after: tuple[jax.Array, optax.OptState],
  work: jax.Array,
  share: jax.Array,
  asked: jax.Array,
  axis: str,
) -> tuple[jax.Array, optax.OptState]:
  """Merges copies of rows into the table of their owner, as `merge_copies`; in `jax.shard_map`.

  Args:
    owned: `[R, D]` the rows that this device owns of a table, and of the state of its optimizer.
    before: the rows of a small table `[C n, D]` as they were fetched, and the state.
    after: both after the steps.
    work: `[C n]` the work of this device on each row of the small table.
    share: as for `merge_copies`.
    asked: `[C, n]` the rows of `owned` that each device has fetched.
    axis: mesh axis of the devices.

  Returns:
    The merged rows of the table and of the state.
  """
  table, _ = owned
  rows = asked.reshape(-1)
  to_owner = lambda x: exchange(x.reshape(*asked.shape, *x.shape[1:]), axis).reshape(x.shape)
  add = lambda to, x: to.at[rows].add(x, mode='drop', wrap_negative_indices=False)
  of_rows = lambda x: x.at[rows].get(mode='clip', wrap_negative_indices=False)
  over_devices = lambda x: add(jnp.zeros(len(table), x.dtype), x)
  work = to_owner(work)
  change_of = lambda old, new: to_owner(new - old)
  state = after[1]
  if isinstance(state, CurvatureDampedState):
    state = _mean_curvatures(state, axis)
    along, across = map(of_rows, _weights(work, over_devices, state, share))
    change, direction = change_of(before[0], after[0]), common_direction(state)
    more_along = (along - across) * (change @ direction)
    table = add(table, across[:, None] * change + jnp.outer(more_along, direction))
    return table, state._replace(total=owned[1].total)
  touched = (work > 0).astype(table.dtype)
  of_each = 1 / jnp.maximum(of_rows(over_devices(touched)), 1)

  def mean(own: Any, old: Any, new: Any) -> Any:
    return add(own, of_each[:, None] * change_of(old, new)) if is_by_row(own) else new

  return jax.tree.map(mean, owned, before, after)


def _mean_curvatures(state: CurvatureDampedState, axis: str) -> CurvatureDampedState:
  """Returns the state with the means of the measurements of all devices."""
  shared = {name: getattr(state, name) for name in ('last', 'curvatures', 'direction')}
  return state._replace(**jax.lax.pmean(shared, axis))


def _add_changes(
  before: jax.Array,
  table: jax.Array,
  along: jax.Array,
  across: jax.Array,
  direction: jax.Array,
  axis: str,
) -> jax.Array:
  """Returns `before` and the changes of all copies, each row weighted along and across a direction.

  The function processes the table in parts, which halves the time and avoids a temporary table.
  """

  def merge_part(merged: jax.Array, start: Any, size: int) -> jax.Array:
    part = lambda array: jax.lax.dynamic_slice_in_dim(array, start, size)
    # The sum of the changes. Computing the changes of each copy first would take twice as long.
    change = jax.lax.psum(part(table), axis) - jax.lax.axis_size(axis) * part(merged)
    more_along = part(along - across) * (change @ direction)
    rows = part(merged) + part(across)[:, None] * change + jnp.outer(more_along, direction)
    return jax.lax.dynamic_update_slice_in_dim(merged, rows, start, 0)

  at_once = _BYTES if jax.process_count() == 1 else _BYTES_BETWEEN
  size = min(len(table), max(1, at_once // (table.shape[1] * table.dtype.itemsize)))
  whole, rest = divmod(len(table), size)
  merged = jax.lax.fori_loop(0, whole, lambda i, x: merge_part(x, i * size, size), before)
  return merge_part(merged, whole * size, rest) if rest else merged


def _weights(
  work: jax.Array, over_devices: Callable, state: CurvatureDampedState, share: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the weights w of each row for its change along and across the common direction.

  They are 0 for rows without work. Rounding errors in the change of such a row must not alter it.
  """
  total, (share_along, _) = over_devices(work), damping_shares(state)

  def weights(share):
    moved = lambda work: -jnp.expm1(-share * work)
    return moved(total) / jnp.maximum(over_devices(moved(work)), 1e-30)

  return weights(share_along), weights(share)
