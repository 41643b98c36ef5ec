"""The compiled steps: one call runs many, over blocks of windows, with the tables donated.

What belongs here: the objective and the optimizer of a config as one compiled function.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

from jw2v.config import TrainConfig
from jw2v.data import sampling
from jw2v.distributed.layout import Layout
from jw2v.losses.window import Word2VecParams
from jw2v.objectives.objective import ObjectiveRows, make_objective
from jw2v.optim import RowGradients, RowwiseTransformation, curvature_damped_sgd, rowwise

_OPTAX = {
  'sgd': optax.sgd,
  'adagrad': optax.adagrad,
  'adam': optax.adam,
  'rmsprop': optax.rmsprop,
}
# The loss is of the first eighth of the blocks of a step, the gradient norm of the first eighth
# of its rows.
_MEASURED = 8


class TrainState(NamedTuple):
  """What a step reads and writes."""

  params: Word2VecParams
  center_optimizer: optax.OptState
  outside_optimizer: optax.OptState


class Results(NamedTuple):
  """What a compiled call tells of its S steps."""

  losses: np.ndarray  # [S] sums over the measured predictions
  predictions: np.ndarray  # [S] how many they are, by weight
  learning_rates: np.ndarray  # [S]
  squared_gradients: np.ndarray  # [S] mean squared lengths of the gradients of centers


def make_optimizer(config: TrainConfig) -> RowwiseTransformation:
  """The config's optimizer by row; its learning rate is a part of its state."""
  if config.optimizer == 'curvature_damped_sgd':
    return curvature_damped_sgd(config.learning_rate)
  inject = optax.inject_hyperparams(_OPTAX[config.optimizer], hyperparam_dtype=jnp.float32)
  return rowwise(inject(learning_rate=config.learning_rate))


def make_schedule(config: TrainConfig) -> optax.Schedule:
  """From the share of the run's words that are read, in [0, 1], to the learning rate."""
  first, last = config.learning_rate, config.min_learning_rate
  if config.schedule == 'linear':
    return optax.linear_schedule(first, last, 1)
  if config.schedule == 'cosine':
    return optax.cosine_decay_schedule(first, 1, alpha=last / first)
  return optax.constant_schedule(first)


def make_run_steps(config: TrainConfig, layout: Layout = Layout()) -> jax.stages.Wrapped:
  """The compiled call: `run_steps(state, blocks, shares, lookups)`.

  Args:
    config: the run's settings.
    layout: the devices, and what each of them has.

  Returns:
    A jitted function that donates the state and scans S steps of N blocks, the share
    of the run's words read by the end of each step in `shares` `[S]`, with the `lookups` of
    `objectives.prepare`. It returns the state and the `Results` of the steps.
  """
  objective = make_objective(config, layout.width_axis)
  optimizer, schedule = make_optimizer(config), make_schedule(config)
  # XLA's CPU backend computes the products of a block on one core, and independent ones
  # side by side: a chain of them for each of two cores.
  # The exact softmax makes one large product, for all cores, and touches all rows.
  exact = config.objective == 'naive_softmax'
  many = not exact and layout.devices == 1 and config.blocks_per_step % sampling.CHAINS == 0
  chains = sampling.CHAINS if jax.default_backend() == 'cpu' and many else 1
  measured = max(1, config.blocks_per_step // layout.data_devices // chains // _MEASURED)

  def gradients(
    params: Word2VecParams, batch: sampling.Blocks, lookups: dict[str, Any]
  ) -> ObjectiveRows:
    split = jax.tree.map(lambda x: x.reshape(chains, len(x) // chains, *x.shape[1:]), batch)
    parts = [
      objective(params, jax.tree.map(lambda x: x[i], split), lookups, measured)  # noqa: B023
      for i in range(chains)
    ]
    return jax.tree.map(lambda *x: jnp.concatenate(x) if x[0].ndim else sum(x), *parts)

  def with_rate(state, learning_rate):
    learning_rate = learning_rate.astype(state.hyperparams['learning_rate'].dtype)
    return state._replace(hyperparams={**state.hyperparams, 'learning_rate': learning_rate})

  def step(lookups, state: TrainState, inputs):
    batch, rate = inputs
    center, outside = state.params
    rows = gradients(state.params, batch, lookups)
    squares = _squares(rows.center, len(center))
    if exact:  # and not the rows of all devices, each of them as many as the table has
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
    return state, (rows.loss, rows.predictions, *squares)

  def run_steps(state, batches, shares, lookups):
    rates = jnp.broadcast_to(schedule(shares), shares.shape).astype(jnp.float32)
    one_step = functools.partial(step, lookups)
    state, sums = jax.lax.scan(one_step, state, (batches, rates))
    losses, predictions, squares, counts = layout.over_data(sums)
    squares = layout.over_width(squares) / jnp.maximum(1, counts)
    return state, Results(losses, predictions, rates, squares)

  def on_all(state, batches, shares, lookups):
    specs, whole = layout.specs(state), PartitionSpec()
    each = layout.map(run_steps, (specs, layout.blocks_spec, whole, whole), (specs, whole))
    return each(state, batches, shares, lookups)

  return jax.jit(on_all, donate_argnums=0)


def _squares(rows: RowGradients, num_rows: int) -> tuple[jax.Array, jax.Array]:
  """The summed squared lengths of the gradients of some rows, padding apart, and their number."""
  count = max(1, len(rows.ids) // _MEASURED)
  squares = jnp.sum(jnp.square(rows.values[:count].astype(jnp.float32)), axis=1)
  is_row = rows.ids[:count] < num_rows
  return jnp.sum(squares * is_row), jnp.sum(is_row)


@jax.jit
def row_norms(params: Word2VecParams) -> tuple[jax.Array, jax.Array]:
  """The mean lengths of the rows of both tables."""
  lengths = lambda table: jnp.linalg.norm(table.astype(jnp.float32), axis=1)
  return jnp.mean(lengths(params.center)), jnp.mean(lengths(params.outside))


def compile_steps(
  config: TrainConfig,
  state: TrainState,
  batches: sampling.Blocks,
  shares: np.ndarray,
  lookups: dict[str, Any],
  layout: Layout = Layout(),
) -> jax.stages.Compiled:
  """`make_run_steps` compiled for calls of one shape."""
  return make_run_steps(config, layout).lower(state, batches, shares, lookups).compile()


def make_evaluate(config: TrainConfig, layout: Layout = Layout()) -> Callable:
  """The compiled `evaluate(params, blocks, lookups)`: `[S]` losses and prediction weights."""
  objective = make_objective(config, layout.width_axis)

  def evaluate(params, batches, lookups):
    def loss(none, batch):
      rows = objective(params, batch, lookups)
      return none, (rows.loss, rows.predictions)

    return layout.over_data(jax.lax.scan(loss, None, batches)[1])

  def on_all(params, batches, lookups):
    whole = PartitionSpec()
    specs = layout.specs(params), layout.blocks_spec, whole
    return layout.map(evaluate, specs, whole)(params, batches, lookups)

  return jax.jit(on_all)
