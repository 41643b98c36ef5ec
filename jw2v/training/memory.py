"""Memory of a run: predicted before it starts, and compared with the memory of the devices."""

import sys
from typing import NamedTuple

import jax
from absl import logging

from jw2v.data.sampling import Blocks
from jw2v.distributed.backend import host_memory
from jw2v.distributed.layout import Layout
from jw2v.distributed.rows import is_by_row
from jw2v.training.state import TrainState

try:
  import resource
except ImportError:  # Windows, which does not report the memory of a process
  resource = None  # type: ignore[assignment]

_MOST_DEVICES = 8192  # largest number of devices that an error suggests
_CHECKPOINT_COPIES = 4  # of the state: the one being written, and about three in orbax


class Need(NamedTuple):
  """Memory that a layout needs on each device."""

  layout: str  # as written in a config
  bytes: int


def state_bytes(state: TrainState, parts: int = 1, layout: str = 'replicated') -> int:
  """Returns the bytes of tables and optimizer on each device.

  Args:
    state: shapes and dtypes of the state, see `state.abstract_state`.
    parts: number of devices that the width is split over; in 'rows' the rows.
    layout: the name of the layout; 'local' also needs the tables of the last merge. The result
      does not include the rows that a device fetches in 'rows'.
  """
  leaves = jax.tree.leaves(state) + (jax.tree.leaves(state.params) if layout == 'local' else [])
  is_split = is_by_row if layout == 'rows' else lambda leaf: leaf.ndim == 2
  return sum(leaf.size * leaf.dtype.itemsize // (parts if is_split(leaf) else 1) for leaf in leaves)


def needs(
  state: TrainState, devices: int, *, touches_all_rows: bool = False, allows_rows: bool = False
) -> list[Need]:
  """Returns the memory that each layout needs on each device, for layouts that divide the width.

  Args:
    state: shapes and dtypes of the state.
    devices: number of devices.
    touches_all_rows: `Objective.touches_all_rows`, which needs a gradient of the whole table.
    allows_rows: True if the objective has the layout 'rows'.
  """
  dim = state.params.center.shape[1]
  found = []
  for n in range(1, devices + 1):
    if devices % n == 0 and dim % n == 0:
      name = "layout='width'" if n == devices else f"layout='data_width', width_devices={n}"
      name = ("layout='replicated'" if devices == 1 else "layout='data'") if n == 1 else name
      gradient = _gradient_bytes(state, n, n < devices) if touches_all_rows else 0
      found.append(Need(name, state_bytes(state, n) + gradient))
  if allows_rows and devices > 1:
    found.append(Need("layout='rows'", state_bytes(state, devices, 'rows')))
  return found


def _gradient_bytes(state: TrainState, width_devices: int, splits_windows: bool) -> int:
  """Returns the bytes of a gradient of the whole outside table, and of its sum over devices."""
  num_rows, dim = state.params.outside.shape
  return 4 * num_rows * dim // width_devices * (2 if splits_windows else 1)


def check_fits(
  state: TrainState,
  layout: Layout,
  *,
  touches_all_rows: bool = False,
  allows_rows: bool = False,
) -> None:
  """Raises an error if the tables do not fit in memory, before they are allocated.

  Args:
    state: shapes and dtypes of the state.
    layout: the devices.
    touches_all_rows: as for `needs`.
    allows_rows: as for `needs`.

  Raises:
    MemoryError: the message contains the memory needed and available, and a layout that would fit.
  """
  width = 1 if layout.mesh is None else layout.mesh.shape['width']
  parts, dim = layout.devices if layout.name == 'rows' else width, state.params.center.shape[1]

  def needed_on(width_devices: int, splits_windows: bool) -> int:
    gradient = _gradient_bytes(state, width_devices, splits_windows) if touches_all_rows else 0
    return state_bytes(state, width_devices) + gradient

  needed, available = needed_on(width, layout.step_devices > 1), device_memory(layout)
  needed += state_bytes(state, parts, layout.name) - state_bytes(state, width)
  if available is None or needed <= available:
    return
  # The devices of a CPU share its memory, so that more of them would not help.
  is_cpu = jax.local_devices()[0].platform == 'cpu'
  number = layout.devices if is_cpu else jax.device_count()
  all_needs = needs(state, number, touches_all_rows=touches_all_rows, allows_rows=allows_rows)
  fitting = [need for need in all_needs if need.bytes <= available]
  splits = [n for n in range(2, min(dim, _MOST_DEVICES) + 1) if dim % n == 0]
  enough = [n for n in splits if needed_on(n, False) <= available]
  if fitting:
    hint = f'{fitting[0].layout} on {number} devices needs {fitting[0].bytes / 1e9:.1f} GB each'
  elif enough and not is_cpu:
    hint = f"layout='width' on {enough[0]} devices would fit"
  else:
    hint = 'a smaller max_vocab_size or dim would fit'
  raise MemoryError(
    f'layout={layout.name!r}: tables and optimizer need {needed / 1e9:.1f} GB on each of '
    f'{layout.devices} devices, which has {available / 1e9:.1f} GB; {hint}'
  )


def device_memory(layout: Layout) -> int | None:
  """Returns the memory of each device in bytes, or None if the backend does not report it.

  The devices of a CPU share the memory of their host.
  """
  device = jax.local_devices()[0]
  if device.platform == 'cpu':
    own = 1 if layout.mesh is None else len(layout.mesh.local_devices)
    return host_memory() // own
  stats = device.memory_stats()
  return None if stats is None else stats.get('bytes_limit')


def predict_peak(
  compiled: jax.stages.Compiled, state: TrainState, blocks: Blocks, waiting: int, saves: bool
) -> int:
  """Predicts the peak memory of the process in bytes: its current memory plus training.

  Training adds the waiting dispatches, the buffers of the compiled steps, and the larger of two:
  the exported vectors, or the copies of the state while a checkpoint is written.

  Args:
    compiled: the compiled steps.
    state: the state, which is already allocated.
    blocks: the blocks of a dispatch.
    waiting: number of dispatches in memory at once.
    saves: True if the run writes checkpoints.
  """
  analysis = compiled.memory_analysis()
  buffers = analysis.temp_size_in_bytes if analysis is not None else 0
  tables = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  predicted = _peak() + waiting * blocks.nbytes + buffers
  # The export of n-grams reorders their rows and computes the means of the words.
  copies = 1 if blocks.subword_rows is None else 3
  checkpoint = _CHECKPOINT_COPIES * tables if saves else 0
  predicted += max(checkpoint, copies * state.params.center.nbytes)
  logging.info(
    'tables and optimizer: %.0f MB; peak memory of the process, predicted: %.0f MB',
    tables / 1e6, predicted / 1e6,
  )  # fmt: skip
  return predicted


def _peak() -> int:
  """Returns the peak memory of the process so far in bytes; 0 if it is not reported."""
  if resource is None:
    return 0
  # macOS counts in bytes, Linux in KiB.
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
