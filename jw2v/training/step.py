"""The compiled step function: one call runs many steps, with the tables donated."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

from jw2v.config import TrainConfig
from jw2v.data.sampling import Blocks
from jw2v.distributed.layout import DATA, Layout
from jw2v.distributed.merge import add_work, merge_copies, merge_rows, shares_along_changes
from jw2v.distributed.rows import (
  exchange,
  exchange_probes,
  fetch_rows,
  ids_of,
  own_rows,
  pass_on,
)
from jw2v.losses.rows import RowGradients
from jw2v.losses.window import Word2VecParams
from jw2v.objectives.architectures import gather_rows
from jw2v.objectives.objective import Objective, ObjectiveRows
from jw2v.objectives.scores import Measured
from jw2v.objectives.subwords import CHAINS
from jw2v.optim import CurvatureDampedState, RowwiseTransformation, common_direction
from jw2v.training.state import TrainState

# Measurements are small operations, whose cost hardly depends on their size. So the loss is
# measured on every eighth block of the first half of a step, which is one chain, whichever device
# has it, but on at least four; the curvature on these blocks of every fourth step of a dispatch;
# and a gradient norm on the first sixteenth of the rows of each device.
_BLOCKS, _LEAST_BLOCKS, _STEPS, _ROWS = 8, 4, 4, 16


class Results(NamedTuple):
  """The results of the S steps of a dispatch; in 'local' and 'rows', each over all devices."""

  losses: np.ndarray  # [S] sums over the measured predictions
  predictions: np.ndarray  # [S] summed weights of these predictions
  learning_rates: np.ndarray  # [S]
  squared_gradients: np.ndarray  # [S] mean squared norms of the gradients of centers


def make_schedule(config: TrainConfig) -> optax.Schedule:
  """Returns the learning rate as a function of the progress of the run, from 0 to 1."""
  first, last = config.learning_rate, config.min_learning_rate
  if config.schedule == 'linear':
    return optax.linear_schedule(first, last, 1)
  if config.schedule == 'cosine':
    return optax.cosine_decay_schedule(first, 1, alpha=last / first)
  return optax.constant_schedule(first)


def make_run_steps(
  objective: Objective,
  optimizer: RowwiseTransformation,
  schedule: optax.Schedule,
  blocks_per_step: int,
  layout: Layout = Layout(),
  merge_steps: int | None = None,
) -> jax.stages.Wrapped:
  """Returns the jitted `run_steps(state, copies, blocks, progress, constants)`.

  Args:
    objective: the objective of the run.
    optimizer: the row-wise optimizer.
    schedule: the learning rate as a function of the progress.
    blocks_per_step: N, over all devices that share a step.
    layout: the devices.
    merge_steps: steps between two merges in the layout 'local', which divide S; None for S, as in
      the layout 'rows'.

  Returns:
    A function that donates the state and scans S steps of N blocks; in 'local' and 'rows' S steps
    of N blocks on each device. `copies` is the result of `Layout.make_copies`, which it also
    donates. `progress` `[S]` is the fraction of the run's words read by the end of each step, and
    `constants` are the constants of the objective. It returns the state, the copies and the
    `Results` of the steps.
  """
  # XLA's CPU backend computes the products of a block on one core and independent products side
  # by side, hence a chain of products for each of two cores. The exact softmax has one large
  # product that uses all cores.
  exact = objective.touches_all_rows
  splits = not exact and layout.devices == 1 and blocks_per_step % CHAINS == 0
  chains = CHAINS if jax.default_backend() == 'cpu' and splits else 1
  blocks_of_chain = blocks_per_step // layout.step_devices // chains
  half = -(-blocks_per_step // 2)
  stride = max(1, min(_BLOCKS, half // _LEAST_BLOCKS))

  def measured(chain):  # the blocks of a chain
    begin = (layout.step_index * chains + chain) * blocks_of_chain  # of the chain, in the step
    if isinstance(begin, int):
      return slice(-begin % stride, max(0, half - begin), stride)
    index = -begin % stride + jnp.arange(0, blocks_of_chain, stride)
    return jnp.where(begin + index < half, index, blocks_of_chain)

  def gradients(
    state: TrainState, blocks: Blocks, constants: dict[str, Any], number: jax.Array
  ) -> ObjectiveRows:
    split = jax.tree.map(lambda x: x.reshape(chains, len(x) // chains, *x.shape[1:]), blocks)
    common = None
    if isinstance(state.center_optimizer, CurvatureDampedState):
      optimizers = state.center_optimizer, state.outside_optimizer
      common = Word2VecParams(*(common_direction(x, layout.width_axis) for x in optimizers))
    parts = [
      objective.rows(
        state.params,
        jax.tree.map(lambda x: x[i], split),  # noqa: B023
        constants,
        Measured(measured(i), common, number % _STEPS == 0),
      )
      for i in range(chains)
    ]
    return jax.tree.map(lambda *x: jnp.concatenate(x) if x[0].ndim else sum(x), *parts)

  def with_rate(state, learning_rate):
    learning_rate = learning_rate.astype(state.hyperparams['learning_rate'].dtype)
    return state._replace(hyperparams={**state.hyperparams, 'learning_rate': learning_rate})

  def step(constants, carry: tuple[TrainState, Word2VecParams | None], inputs):
    (state, work), (number, blocks, rate) = carry, inputs
    center, outside = state.params
    rows = gradients(state, blocks, constants, number)
    squares = _squares(rows.center, len(center))
    if exact:  # the number of rows of all devices would be as large as the table
      d_outside = layout.add_up(rows.outside, len(outside))
      (d_center,) = layout.exchange(rows.center)
    else:
      d_center, d_outside = layout.exchange(rows.center, rows.outside)
    center, center_state = optimizer.update(
      d_center, with_rate(state.center_optimizer, rate), center
    )
    outside, outside_state = optimizer.update(
      d_outside, with_rate(state.outside_optimizer, rate), outside
    )
    state = TrainState(Word2VecParams(center, outside), center_state, outside_state)
    if work is not None:
      work = Word2VecParams(
        add_work(work.center, d_center, center_state),
        add_work(work.outside, d_outside, outside_state),
      )
    return (state, work), (rows.loss, rows.predictions, *squares)

  def steps_apart(constants, state: TrainState, inputs):
    """Runs steps on the copy of this device, and sums the work on each row."""
    work = Word2VecParams(*(jnp.zeros(len(table), jnp.float32) for table in state.params))
    (state, work), sums = jax.lax.scan(functools.partial(step, constants), (state, work), inputs)
    return state, work, sums

  def shares_of(blocks, constants, before: Word2VecParams, after: Word2VecParams, states):
    """Returns the shares of the curvature along the changes, on blocks of another device."""
    if not isinstance(states.center, CurvatureDampedState):
      return Word2VecParams(jnp.ones(()), jnp.ones(()))

    def rows_of(params):
      rows = objective.rows(params, blocks, constants, Measured(slice(0)))
      return Word2VecParams(rows.center, rows.outside)

    directions = Word2VecParams(*map(common_direction, states))
    return shares_along_changes(rows_of, before, after, directions, DATA)

  def merged_steps(constants, carry: tuple[TrainState, Word2VecParams], inputs):
    """Runs steps on the copy of this device, and merges the copies of all devices."""
    state, _ = carry  # the copies only provide memory
    before = state.params
    state, work, sums = steps_apart(constants, state, inputs)
    theirs = pass_on(jax.tree.map(lambda x: x[-1], inputs[1]), DATA)
    states = Word2VecParams(*state[1:])
    shares = shares_of(theirs, constants, before, state.params, states)
    merge = functools.partial(merge_copies, axis=DATA)
    merged = list(map(merge, before, state.params, states, work, shares))
    params = Word2VecParams(*(table for table, _ in merged))
    return (TrainState(params, *(state for _, state in merged)), state.params), sums

  def fetched_steps(constants, state: TrainState, inputs):
    """Runs steps on the rows of this dispatch, and returns them to their owners."""
    number, blocks, rates = inputs
    requests = Word2VecParams(*(x[:, 0] for x in blocks.requests))
    asked = Word2VecParams(*(exchange(x, DATA) for x in requests))
    owned = list(zip(state.params, state[1:], strict=True))
    before = [fetch_rows(x, rows, DATA) for x, rows in zip(owned, asked, strict=True)]

    tables, states = (Word2VecParams(*x) for x in zip(*before, strict=True))
    words = ids_of(requests.outside)
    blocks = blocks._replace(requests=None)
    state, work, sums = steps_apart(
      jax.tree.map(lambda x: gather_rows(x, words), constants),
      TrainState(tables, *states), (number, blocks, rates),
    )  # fmt: skip

    probe = exchange_probes(jax.tree.map(lambda x: x[-1], blocks), tables, requests, DATA)
    after = Word2VecParams(*map(own_rows, probe.ids, probe.tables, state.params, requests))
    of_probe = jax.tree.map(lambda x: gather_rows(x, probe.ids.outside), constants)
    states = Word2VecParams(*state[1:])
    shares = shares_of(probe.blocks, of_probe, probe.tables, after, states)
    merge = functools.partial(merge_rows, axis=DATA)
    both = list(zip(state.params, states, strict=True))
    merged = list(map(merge, owned, before, both, work, shares, asked))
    params, states = (Word2VecParams(*x) for x in zip(*merged, strict=True))
    return TrainState(params, *states), sums

  def run_steps(state, copies, blocks, progress, constants):
    rates = jnp.broadcast_to(schedule(progress), progress.shape).astype(jnp.float32)
    inputs = jnp.arange(len(rates)), blocks, rates
    if layout.copies == 1:
      (state, _), sums = jax.lax.scan(functools.partial(step, constants), (state, None), inputs)
    elif layout.name == 'rows':
      state, sums = fetched_steps(constants, state, inputs)
    else:
      size = merge_steps or len(rates)
      periods = jax.tree.map(lambda x: x.reshape(len(x) // size, size, *x.shape[1:]), inputs)
      carry = state, copies
      (state, copies), sums = jax.lax.scan(
        functools.partial(merged_steps, constants), carry, periods
      )
      sums = jax.tree.map(lambda x: x.reshape(-1), sums)
    losses, predictions, squares, counts = layout.over_data(sums)
    squares = layout.over_width(squares) / jnp.maximum(1, counts).astype(squares.dtype)
    return state, copies, Results(losses, predictions, rates, squares)

  def on_all_devices(state, copies, blocks, progress, constants):
    whole, kept = PartitionSpec(), (layout.specs(state), layout.copies_spec)
    mapped = layout.map(run_steps, (*kept, layout.blocks_spec, whole, whole), (*kept, whole))
    return mapped(state, copies, blocks, progress, constants)

  return jax.jit(on_all_devices, donate_argnums=(0, 1))


def compile_steps(run_steps: jax.stages.Wrapped, *arguments: Any) -> jax.stages.Compiled:
  """Compiles `run_steps` for dispatches of one shape, without running it."""
  return run_steps.lower(*arguments).compile()


def _squares(rows: RowGradients, num_rows: int) -> tuple[jax.Array, jax.Array]:
  """Returns the summed squared norms of the measured gradients, and their number of rows."""
  count = max(1, len(rows.ids) // _ROWS)
  squares = jnp.sum(jnp.square(rows.values[:count].astype(jnp.float32)), axis=1)
  is_row = rows.ids[:count] < num_rows
  return jnp.sum(squares * is_row.astype(squares.dtype)), jnp.sum(is_row)


@jax.jit
def all_finite(params: Word2VecParams) -> jax.Array:
  """Returns whether both tables are finite, without an array of their size."""
  return jnp.isfinite(params.center).all() & jnp.isfinite(params.outside).all()


@functools.partial(jax.jit, static_argnums=(1, 2))
def row_norms(
  params: Word2VecParams, num_rows: tuple[int, int], dim: int
) -> tuple[jax.Array, jax.Array]:
  """Returns the mean norms of the rows of both tables, in any layout."""
  of_rows = lambda table: table.reshape(len(table), -1, dim).astype(jnp.float32)
  norms = [jnp.sum(jnp.linalg.norm(of_rows(table), axis=2)) for table in params]
  return norms[0] / num_rows[0], norms[1] / num_rows[1]


def make_evaluate(objective: Objective, layout: Layout = Layout()) -> Callable:
  """Returns the jitted `evaluate(params, blocks, constants)`: `[S]` losses and weights."""

  def evaluate(params, blocks, constants):
    if layout.name == 'rows':
      requests = Word2VecParams(*(x[:, 0] for x in blocks.requests))
      fetch = lambda table, rows: fetch_rows(table, exchange(rows, DATA), DATA)
      params = Word2VecParams(*map(fetch, params, requests))
      words = ids_of(requests.outside)
      constants = jax.tree.map(lambda x: gather_rows(x, words), constants)
      blocks = blocks._replace(requests=None)

    def loss(none, blocks_of_step):
      rows = objective.rows(params, blocks_of_step, constants)
      return none, (rows.loss, rows.predictions)

    return layout.over_data(jax.lax.scan(loss, None, blocks)[1])

  def on_all_devices(params, blocks, constants):
    whole = PartitionSpec()
    specs = layout.specs(params), layout.blocks_spec, whole
    return layout.map(evaluate, specs, whole)(params, blocks, constants)

  return jax.jit(on_all_devices)
