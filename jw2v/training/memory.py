"""What a run needs of memory: foreseen before it begins, and refused where there is not enough.

What belongs here: sizes of tables and buffers by layout, what devices and hosts have, and the
peak of the process.
"""

import os
import pathlib
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging

from jw2v.config import TrainConfig
from jw2v.data.stream import bytes_of
from jw2v.distributed.layout import Layout
from jw2v.losses.window import Word2VecParams
from jw2v.training.step import TrainState, make_optimizer

try:
  import resource
except ImportError:  # Windows, where nobody tells what the process holds
  resource = None  # type: ignore[assignment]

_CONTAINER_LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')  # bytes, or 'max'
_MOST_DEVICES = 8192  # that anybody is advised to have
_CHECKPOINT_COPIES = 4  # of the state: the one that is written, and about three in orbax


class Need(NamedTuple):
  """What a layout needs on each device."""

  layout: str  # as it is written in a config
  bytes: int


def abstract_state(config: TrainConfig, num_rows: tuple[int, int]) -> TrainState:
  """The shapes of a state, with nothing made.

  Args:
    config: the run's settings.
    num_rows: of the center and of the outside table.
  """
  optimizer = make_optimizer(config)

  def make():
    tables = Word2VecParams(*(jnp.zeros((rows, config.dim), jnp.float32) for rows in num_rows))
    return TrainState(tables, optimizer.init(tables.center), optimizer.init(tables.outside))

  return jax.eval_shape(make)


def state_bytes(config: TrainConfig, num_rows: tuple[int, int], width_devices: int) -> int:
  """The tables and the state of the optimizer on each device that has a slice of the width."""
  leaves = jax.tree.leaves(abstract_state(config, num_rows))
  return sum(
    leaf.size * leaf.dtype.itemsize // (width_devices if leaf.ndim == 2 else 1) for leaf in leaves
  )


def needs(config: TrainConfig, num_rows: tuple[int, int], devices: int) -> list[Need]:
  """What each layout that divides a run's width needs on each of some devices.

  Args:
    config: the run's settings.
    num_rows: of the center and of the outside table.
    devices: how many there are.
  """
  found = []
  for n in range(1, devices + 1):
    if devices % n == 0 and config.dim % n == 0:
      name = "layout='width'" if n == devices else f"layout='data_width', width_devices={n}"
      name = ("layout='replicated'" if devices == 1 else "layout='data'") if n == 1 else name
      size = state_bytes(config, num_rows, n) + _gradient_bytes(config, num_rows, n, n < devices)
      found.append(Need(name, size))
  return found


def _gradient_bytes(config, num_rows, width, is_split):
  """The exact softmax has a gradient of the whole table, and where windows are split its sum."""
  if config.objective != 'naive_softmax':
    return 0
  return 4 * num_rows[1] * config.dim // width * (2 if is_split else 1)


def check_fits(config: TrainConfig, num_rows: tuple[int, int], layout: Layout) -> None:
  """Refuses a run whose tables do not fit, before it makes them.

  Args:
    config: the run's settings.
    num_rows: of the center and of the outside table.
    layout: that of the run.

  Raises:
    MemoryError: with what it needs, what there is, and a layout that would fit.
  """
  width = 1 if layout.mesh is None else layout.mesh.shape['width']
  needed, there = state_bytes(config, num_rows, width), device_memory(layout)
  needed += _gradient_bytes(config, num_rows, width, layout.data_axis is not None)
  if there is None or needed <= there:
    return
  # Devices of a CPU share its memory: more of them would not help.
  is_cpu = jax.local_devices()[0].platform == 'cpu'
  number = layout.devices if is_cpu else jax.device_count()
  fitting = [need for need in needs(config, num_rows, number) if need.bytes <= there]
  splits = [n for n in range(2, min(config.dim, _MOST_DEVICES) + 1) if config.dim % n == 0]
  of_width = lambda n: (
    state_bytes(config, num_rows, n) + _gradient_bytes(config, num_rows, n, False)
  )
  enough = [n for n in splits if of_width(n) <= there]
  if fitting:
    hint = f'{fitting[0].layout} on {number} devices needs {fitting[0].bytes / 1e9:.1f} GB of each'
  elif enough and not is_cpu:
    hint = f"layout='width' on {enough[0]} devices would do"
  else:
    hint = 'a smaller max_vocab_size or dim would do'
  raise MemoryError(
    f'layout={layout.name!r}: the tables and the optimizer need {needed / 1e9:.1f} GB of each of '
    f'{layout.devices} devices, which has {there / 1e9:.1f} GB; {hint}'
  )


def device_memory(layout: Layout) -> int | None:
  """Bytes that each device of a run has; None where nobody tells.

  The devices of a CPU share the memory of their host.
  """
  device = jax.local_devices()[0]
  if device.platform == 'cpu':
    own = 1 if layout.mesh is None else len(layout.mesh.local_devices)
    return _host_memory() // own
  stats = device.memory_stats()
  return None if stats is None else stats.get('bytes_limit')


def _host_memory() -> int:
  """What the machine has, or the container if that is less."""
  there = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  try:
    return min(there, int(_CONTAINER_LIMIT.read_text()))
  except (OSError, ValueError):  # no container, or no limit
    return there


def predict_peak(
  compiled: jax.stages.Compiled, state: Any, call: Any, calls: int, saves: bool
) -> int:
  """Peak memory of the process in bytes: what it holds, and what training adds.

  The state is already there. To come are the calls that wait, the one that is made and
  the one that runs; the buffers of the compiled steps; and the vectors of the result, or
  before those the copies of the state while a checkpoint is written.

  Args:
    compiled: the steps.
    state: of the run.
    call: one of those to come.
    calls: how many of them are there at once.
    saves: whether checkpoints are written.
  """
  analysis = compiled.memory_analysis()
  buffers = analysis.temp_size_in_bytes if analysis is not None else 0
  tables = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  predicted = _peak() + calls * bytes_of(call) + buffers
  # With n-grams, their rows are put in another order, and the words' means are made of them.
  copies = 1 if call.blocks.bag_rows is None else 3
  checkpoint = _CHECKPOINT_COPIES * tables if saves else 0
  predicted += max(checkpoint, copies * state.params.center.nbytes)
  logging.info(
    'tables and optimizer: %.0f MB; peak memory of the process, predicted: %.0f MB',
    tables / 1e6, predicted / 1e6,
  )  # fmt: skip
  return predicted


def _peak() -> int:
  """What the process has held at most until now, in bytes; 0 where nobody tells."""
  if resource is None:
    return 0
  # macOS counts in bytes, Linux in KiB.
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
