r"""Device layouts: how tables and windows are placed on several devices.

A layout places arrays on a `Mesh` with the axes 'data' and 'width', maps the step over it with
`jax.shard_map`, and exchanges rows with JAX's collectives.

| layout | tables on each device | windows of a step on each device | exchanged in a step |
|---|---|---|---|
| 'replicated' | all | all | nothing |
| 'data' | all | 1/n | the rows of all devices, to all |
| 'width' | all words, 1/n of the columns | all | sums of partial scores and norms |
| 'data_width' | 1/m of the columns | 1/n | both, each along its axis |
| 'local' | all | all of its own step | nothing; the tables after many steps |
| 'rows' | 1/n of the words | all of its own step | nothing; the rows touched in many steps |

In 'local' each device takes separate steps, on its own share of the text and its own copy of the
tables, and the copies are merged after many steps, see `merge.py`. In 'rows' each device does the
same on copies of the rows that its text touches, see `rows.py`. The other layouts compute the steps
of a single device on the same windows, up to rounding. If columns are split, the devices
compute partial scores and norms, and a psum adds them; gathers, gradients and updates of rows are
local. If windows are split, each device adds the rows of all devices to its copy of the table, so
that all copies stay equal.

References: Ordentlich et al., `Network-efficient distributed word2vec training system for large
vocabularies <https://arxiv.org/abs/1606.08495>`_, 2016, for the split of the columns.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jw2v.config import APART, TrainConfig
from jw2v.data.sampling import Blocks
from jw2v.distributed.backend import host_memory, num_cores
from jw2v.distributed.processes import num_processes
from jw2v.distributed.rows import LEAST_ROWS, is_by_row, joined_rows, request_rows, split_rows
from jw2v.losses.rows import RowGradients

DATA, WIDTH = 'data', 'width'
# Default limits of a CPU: the largest number of devices, and the words of the text per device.
_MOST_DEVICES, _WORDS_OF_DEVICE = 4, 4_000_000
_MEMORY = 0.5  # maximum share of the memory of a machine for the copies of the tables
_HOST_BYTES = 64e6  # of a table, gathered on each device at a time


class Layout(NamedTuple):
  """The layout of a run on its devices.

  Attributes:
    name: one of `config.LAYOUTS`.
    mesh: the devices, with the axes 'data' and 'width'; None for JAX's default device alone.
  """

  name: str = 'replicated'
  mesh: Mesh | None = None

  @property
  def devices(self) -> int:
    """Number of devices."""
    return 1 if self.mesh is None else self.mesh.size

  @property
  def data_devices(self) -> int:
    """Number of devices with different windows."""
    return self.mesh.shape[DATA] if self.mesh is not None and self.data_axis else 1

  @property
  def copies(self) -> int:
    """Number of devices that take separate steps; 1 except in 'local' and 'rows'."""
    return self.data_devices if self.name in APART else 1

  @property
  def step_devices(self) -> int:
    """Number of devices that the windows of one step are split over."""
    return self.data_devices // self.copies

  @property
  def data_axis(self) -> str | None:
    """Mesh axis that the windows are split over; None if they are not split."""
    split = self.name in ('data', 'data_width', *APART) and self.mesh is not None
    return DATA if split and self.mesh is not None and self.mesh.shape[DATA] > 1 else None

  @property
  def step_index(self) -> Any:
    """Index of this device among the devices that share a step; within `map`."""
    return 0 if self.step_devices == 1 else jax.lax.axis_index(self.data_axis)

  @property
  def width_axis(self) -> str | None:
    """Mesh axis that the columns of the tables are split over; None if they are not split."""
    return WIDTH if self.mesh is not None and self.mesh.shape[WIDTH] > 1 else None

  @property
  def shard(self) -> tuple[int, int]:
    """Pair (i, n): this process reads the i-th of n streams, the windows of its own devices."""
    if self.mesh is None or self.data_axis is None or jax.process_count() == 1:
      return 0, 1
    owners = [tuple(sorted({d.process_index for d in row})) for row in self.mesh.devices]
    groups = list(dict.fromkeys(owners))
    mine = [i for i, group in enumerate(groups) if jax.process_index() in group]
    if len(mine) > 1 or len({owners.count(group) for group in groups}) > 1:
      raise ValueError(
        f'layout={self.name!r}: the {self.mesh.shape[WIDTH]} devices of a width group must be all '
        'devices of some processes or belong to one process; choose another width_devices'
      )
    return mine[0], len(groups)

  def specs(self, state: Any) -> Any:
    """Partition specs of a placed state: tables `[V, D]` split by columns, others replicated.

    In 'rows' all arrays by row are split by owner, see `rows.split_rows`.
    """
    if self.name == 'rows':
      split = lambda x: PartitionSpec(*[None] * (np.ndim(x) - 1), DATA)
      return jax.tree.map(lambda x: split(x) if is_by_row(x) else PartitionSpec(), state)
    table = PartitionSpec(None, self.width_axis)
    return jax.tree.map(lambda x: table if np.ndim(x) == 2 else PartitionSpec(), state)

  @property
  def blocks_spec(self) -> PartitionSpec:
    """Partition spec of the blocks `[S, N, ...]` of a dispatch."""
    return PartitionSpec(None, self.data_axis)

  @property
  def copies_spec(self) -> PartitionSpec:
    """Partition spec of the tables of `make_copies`."""
    return PartitionSpec(self.data_axis)

  def map(self, function: Callable, in_specs: Any, out_specs: Any) -> Callable:
    """Returns the function mapped over all devices, each with its part of the arguments."""
    if self.mesh is None:
      return function
    return jax.shard_map(
      function, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )

  def make_copies(self, params: Any) -> Any:
    """Returns memory for a copy of both tables on each device in 'local', otherwise None.

    Each call of the steps donates the memory to the next one. If calls allocated it themselves, the
    system would take longer to clear it than the devices take to merge their copies.

    Args:
      params: the tables, or their shapes.

    Returns:
      Zeros, `[n V, D]` for n devices with a table each.
    """
    if self.name != 'local' or self.copies == 1:
      return None
    assert self.mesh is not None
    zeros = lambda table: jnp.zeros((self.copies * len(table), *table.shape[1:]), table.dtype)
    sharding = NamedSharding(self.mesh, self.copies_spec)
    return jax.jit(lambda: jax.tree.map(zeros, params), out_shardings=sharding)()

  def put_state(self, state: Any) -> Any:
    """Places a state, equal in all processes, on its devices."""
    mesh = self.mesh
    if mesh is None:
      return jax.tree.map(jnp.asarray, state)
    put = lambda x, spec: _put(np.asarray(x), NamedSharding(mesh, spec))
    if self.name == 'rows':
      state = jax.tree.map(lambda x: split_rows(np.asarray(x), self.devices), state)
    return jax.tree.map(put, state, self.specs(state))

  def in_order(self, state: Any, shapes: Any) -> Any:
    """Returns a state as a single device would have it: in 'rows' in the memory of the host.

    Args:
      state: the placed state.
      shapes: arrays or shapes of the state on a single device.
    """
    if self.name != 'rows':
      return state
    joined = lambda x, whole: joined_rows(to_host(x), self.devices, whole.shape)
    return jax.tree.map(joined, state, shapes)

  def initialize(self, function: Callable, *tables: jax.Array) -> Any:
    """Calls a function of placed tables; its results are placed in the same way."""
    mesh = self.mesh
    if mesh is None:
      return function(*tables)
    if self.name == 'rows':
      function = functools.partial(_initialized_rows, function, self.devices)
    specs = self.specs(jax.eval_shape(function, *tables))
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    return jax.jit(function, out_shardings=shardings)(*tables)

  def put(self, values: Any) -> Any:
    """Replicates arrays, equal in all processes, on every device."""
    if self.mesh is None:
      return jax.device_put(values)
    whole = NamedSharding(self.mesh, PartitionSpec())
    return jax.tree.map(lambda x: _put(np.asarray(x), whole), values)

  def put_blocks(self, blocks: Any) -> Any:
    """Places the blocks of a dispatch; each process passes the blocks of its own devices."""
    if self.mesh is None:
      return blocks
    sharding = NamedSharding(self.mesh, self.blocks_spec)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), blocks)

  def put_same_blocks(self, blocks: Any) -> Any:
    """Places the blocks of a dispatch; every process passes all of them."""
    if self.mesh is None:
      return blocks
    sharding = NamedSharding(self.mesh, self.blocks_spec)
    return jax.tree.map(lambda x: _put(x, sharding), blocks)

  def request_rows(self, blocks: Blocks, num_rows: tuple[int, int], devices: int) -> Blocks:
    """Prepares blocks on the host; only 'rows' changes them, see `rows.request_rows`."""
    if self.name != 'rows':
      return blocks
    return request_rows(blocks, num_rows, self.devices, devices)

  def exchange(self, *parts: RowGradients) -> tuple[RowGradients, ...]:
    """Gathers the rows of all devices that share a step; within `map`, one collective.

    Args:
      *parts: rows of this device, for each of several tables.

    Returns:
      For each table the rows of all devices, equal on each of them.
    """
    if self.step_devices == 1:
      return parts
    leaves, structure = jax.tree.flatten(parts)
    # As integers, so that the exchange does not round them.
    bits = [jax.lax.bitcast_convert_type(x, jnp.int32).reshape(-1) for x in leaves]
    found = jax.lax.all_gather(jnp.concatenate(bits), self.data_axis)  # [n, numbers]
    ends = np.cumsum([len(x) for x in bits])
    pieces = [found[:, end - len(x) : end] for x, end in zip(bits, ends, strict=True)]
    restored = [
      jax.lax.bitcast_convert_type(piece, x.dtype).reshape(-1, *x.shape[1:])
      for piece, x in zip(pieces, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, restored)

  def add_up(self, rows: RowGradients, num_rows: int) -> RowGradients:
    """Sums the rows of all devices; for a step that touches nearly all rows of a table.

    Args:
      rows: rows of this device.
      num_rows: V, the rows of the table.

    Returns:
      One row for each id of the table, equal on each device.
    """
    if self.step_devices == 1:
      return rows
    whole = lambda x: (
      jnp.zeros_like(x, shape=(num_rows, *x.shape[1:])).at[rows.ids].add(x, mode='drop')
    )
    sums = jax.lax.psum(
      (whole(rows.values), whole(rows.curvature), rows.sample, jax.tree.map(whole, rows.common)),
      self.data_axis,
    )
    return RowGradients(jnp.arange(num_rows, dtype=rows.ids.dtype), *sums)

  def over_data(self, sums: Any) -> Any:
    """Adds sums over the windows of each device; within `map`."""
    return sums if self.data_axis is None else jax.lax.psum(sums, self.data_axis)

  def over_width(self, sums: Any) -> Any:
    """Adds sums over the columns of each device; within `map`."""
    return sums if self.width_axis is None else jax.lax.psum(sums, self.width_axis)


def default_devices(
  config: TrainConfig, num_words: int | None = None, vocabulary_size: int = 1
) -> int:
  """Returns the default number of devices that a CPU is split into.

  Args:
    config: the run's settings.
    num_words: number of words of the text; None if it is not known yet.
    vocabulary_size: number of distinct words.
  """
  if num_processes() > 1 or config.layout not in (None, 'local'):
    return 1
  if config.objective == 'naive_softmax':  # its large products use all cores of a device
    return 1
  rows = 2 * vocabulary_size + (config.bucket if config.has_subwords else 0)
  copy = 2 * rows * config.dim * np.dtype(np.float32).itemsize  # and the one before it
  most = min(num_cores(), _MOST_DEVICES, int(_MEMORY * host_memory() // copy))
  return max(1, most if num_words is None else min(most, num_words // _WORDS_OF_DEVICE))


def make_layout(config: TrainConfig, num_words: int = 0, vocabulary_size: int = 1) -> Layout:
  """Returns the layout of a run on the available devices; this starts JAX's backend.

  Args:
    config: the run's settings.
    num_words: number of words of the text; 0 if it is unknown.
    vocabulary_size: number of distinct words.

  Raises:
    ValueError: the config asks for more devices than exist, or for a part of the devices of
      several processes, or for devices that do not divide the width or the number of blocks, or,
      in 'local', for more devices than the text has blocks.
  """
  available = jax.devices()
  several = jax.process_count() > 1
  is_cpu = available[0].platform == 'cpu'
  own = config.devices or (len(jax.local_devices()) if several else 1)
  if config.devices is None and not several and is_cpu:
    own = min(default_devices(config, num_words, vocabulary_size), len(available))
  number = own * jax.process_count()
  if own > len(jax.local_devices()):
    hint = ''
    if is_cpu:
      hint = f'; call jw2v.prepare_backend({own}) before JAX starts to split a CPU'
    raise ValueError(f'devices must be at most {len(jax.local_devices())}, got {own}{hint}')
  if several and number != len(available):
    raise ValueError(
      f'devices must be all {len(available)} devices of the {jax.process_count()} processes, got '
      f'{own} per process; set devices=None'
    )
  if number == 1:
    return Layout()
  name, exact = config.layout, config.objective == 'naive_softmax'
  if name == 'rows' and 0 < num_words and vocabulary_size < LEAST_ROWS * number:
    raise ValueError(
      f"the vocabulary must have at least {LEAST_ROWS} words per device with layout='rows', got "
      f'{vocabulary_size} for devices={number}'
    )
  if name is None and is_cpu and not exact:
    name = 'local'
  elif name is None:  # partial scores are smaller than rows, except in the exact softmax
    name = 'width' if config.dim % number == 0 and not exact else 'data'
  width = {'width': number, 'data_width': config.width_devices or 2}.get(name, 1)
  if number % width:
    raise ValueError(f'width_devices must divide devices={number}, got {width}')
  if config.dim % width:
    raise ValueError(
      f'dim must be a multiple of {width}, the number of devices that layout={name!r} splits it '
      f'over, got {config.dim}'
    )
  parts = number // width if name in ('data', 'data_width') else 1
  if config.blocks_per_step % parts:
    raise ValueError(
      f'batch_size must have a multiple of {parts} blocks, the number of devices that '
      f'layout={name!r} splits it over, got batch_size={config.batch_size} with '
      f'{config.blocks_per_step} blocks'
    )
  blocks = num_words // config.block_size
  if name in APART and 0 < num_words and blocks < number:
    raise ValueError(
      f'the text must have at least one block of {config.block_size} words per device with '
      f'layout={name!r}, got {blocks} blocks for devices={number}'
    )
  return Layout(name, Mesh(np.array(available[:number]).reshape(-1, width), (DATA, WIDTH)))


def is_here(array: Any) -> bool:
  """Returns whether this process holds all of an array."""
  return not isinstance(array, jax.Array) or (
    array.is_fully_addressable or array.is_fully_replicated
  )


def to_host(array: jax.Array) -> np.ndarray:
  """Copies an array to the memory of this process, including parts on other processes."""
  if is_here(array):
    return np.asarray(array)
  sharding: Any = array.sharding  # a NamedSharding: the array is of a layout
  size = max(1, int(_HOST_BYTES // (array.nbytes // len(array))))
  piece = jax.jit(
    lambda x, first, size: jax.lax.dynamic_slice_in_dim(x, first, size),
    static_argnums=2, out_shardings=NamedSharding(sharding.mesh, PartitionSpec()),
  )  # fmt: skip
  return np.concatenate(
    [
      np.asarray(piece(array, first, min(size, len(array) - first)))
      for first in range(0, len(array), size)
    ]
  )


def _initialized_rows(function: Callable, owners: int, *tables: jax.Array) -> Any:
  """Calls a function of split tables as if they were whole."""
  whole = [table.reshape(-1, table.shape[1] // owners) for table in tables]
  return jax.tree.map(lambda x: split_rows(x, owners), function(*whole))


def _put(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
  return jax.make_array_from_callback(array.shape, sharding, functools.partial(_part, array))


def _part(array, index):
  return array[index]
