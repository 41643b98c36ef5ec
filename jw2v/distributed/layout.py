r"""Devices: what must be set before one is used, and which of several has what of a run.

What belongs here: everything that knows that there are different devices, and more than one of
them: layouts, the placing of arrays, and the exchange between devices. All of it is JAX's own:
a `Mesh` with the axes 'data' and 'width', `jax.shard_map`, and collectives.

| layout | tables | windows of a step | exchanged in a step |
|---|---|---|---|
| 'replicated' | all, on each device | all, on each | nothing |
| 'data' | all, on each | an n-th on each | the rows of all, to all |
| 'width' | all words, an n-th of the columns | all, on each | sums of partial scores and norms |
| 'data_width' | an m-th of the columns | an n-th | both, each along its axis |

Every layout takes the steps that one device would take on the same windows, to rounding. Where a
row is split over devices, they make partial scores and norms, which are added up; gathers,
gradients and additions to rows are local. Where windows are split, each device adds the rows of
all to its copy of the table, so that all copies stay the same.

References: Ordentlich et al., `Network-efficient distributed word2vec training system for large
vocabularies <https://arxiv.org/abs/1606.08495>`_, 2016, for the split of the columns.
"""

import functools
import importlib.metadata
import importlib.util
import os
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.xla_bridge import backends_are_initialized  # JAX tells it nowhere else
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jw2v.config import TrainConfig
from jw2v.optim import RowGradients

DATA, WIDTH = 'data', 'width'
_HOST_BYTES = 64e6  # of a table, that are gathered on each device at a time
_SLOW_SCATTER_FROM, _SLOW_SCATTER_TO = (0, 10, 2), (0, 11, 0)
_FAST_SCATTER_FLAG = '-nvptx-allow-ftz-atomics'


class Layout(NamedTuple):
  """A layout of a run on some devices.

  Attributes:
    name: one of `config.LAYOUTS`.
    mesh: the devices, with the axes 'data' and 'width'; None for one device, JAX's default.
  """

  name: str = 'replicated'
  mesh: Mesh | None = None

  @property
  def devices(self) -> int:
    """How many devices there are."""
    return 1 if self.mesh is None else self.mesh.size

  @property
  def data_devices(self) -> int:
    """How many parts the windows of a step are in."""
    return self.mesh.shape[DATA] if self.mesh is not None and self.data_axis else 1

  @property
  def data_axis(self) -> str | None:
    """The axis of the mesh that the windows are split over."""
    split = self.name in ('data', 'data_width') and self.mesh is not None
    return DATA if split and self.mesh is not None and self.mesh.shape[DATA] > 1 else None

  @property
  def width_axis(self) -> str | None:
    """The axis of the mesh that the columns of the tables are split over."""
    return WIDTH if self.mesh is not None and self.mesh.shape[WIDTH] > 1 else None

  @property
  def stream(self) -> tuple[int, int]:
    """(i, n): this process reads the i-th of n streams, that of the windows of its devices."""
    if self.mesh is None or self.data_axis is None or jax.process_count() == 1:
      return 0, 1
    owners = [tuple(sorted({d.process_index for d in row})) for row in self.mesh.devices]
    groups = list(dict.fromkeys(owners))
    mine = [i for i, group in enumerate(groups) if jax.process_index() in group]
    if len(mine) > 1 or len({owners.count(group) for group in groups}) > 1:
      raise ValueError(
        f'layout={self.name!r}: its {self.mesh.shape[WIDTH]} devices for the width are neither '
        'all of some processes nor some of one; choose another width_devices'
      )
    return mine[0], len(groups)

  def specs(self, state: Any) -> Any:
    """Where the leaves of a state are: tables `[V, D]` split by columns, all others whole."""
    table = PartitionSpec(None, self.width_axis)
    return jax.tree.map(lambda x: table if np.ndim(x) == 2 else PartitionSpec(), state)

  @property
  def blocks_spec(self) -> PartitionSpec:
    """Where the blocks `[S, N, ...]` of a call are."""
    return PartitionSpec(None, self.data_axis)

  def map(self, function: Callable, in_specs: Any, out_specs: Any) -> Callable:
    """A function that runs on every device, on its part of the arguments."""
    if self.mesh is None:
      return function
    return jax.shard_map(
      function, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )

  def put_state(self, state: Any) -> Any:
    """A state, the same in all processes, on its devices."""
    mesh = self.mesh
    if mesh is None:
      return jax.tree.map(jnp.asarray, state)
    put = lambda x, spec: _put(np.asarray(x), NamedSharding(mesh, spec))
    return jax.tree.map(put, state, self.specs(state))

  def initialize(self, function: Callable, *tables: jax.Array) -> Any:
    """Calls a function of placed tables; its results are placed like them."""
    mesh = self.mesh
    if mesh is None:
      return function(*tables)
    specs = self.specs(jax.eval_shape(function, *tables))
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    return jax.jit(function, out_shardings=shardings)(*tables)

  def put(self, values: Any) -> Any:
    """Arrays, the same in all processes, as a whole on every device."""
    if self.mesh is None:
      return jax.device_put(values)
    whole = NamedSharding(self.mesh, PartitionSpec())
    return jax.tree.map(lambda x: _put(np.asarray(x), whole), values)

  def put_blocks(self, blocks: Any) -> Any:
    """The blocks of a call, of which each process has those of its devices."""
    if self.mesh is None:
      return blocks
    sharding = NamedSharding(self.mesh, self.blocks_spec)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), blocks)

  def put_same_blocks(self, blocks: Any) -> Any:
    """The blocks of a call, of which every process has all."""
    if self.mesh is None:
      return blocks
    sharding = NamedSharding(self.mesh, self.blocks_spec)
    return jax.tree.map(lambda x: _put(x, sharding), blocks)

  def exchange(self, *parts: RowGradients) -> tuple[RowGradients, ...]:
    """The rows of all devices that have other windows, in `map`: one collective for all parts.

    Args:
      *parts: rows of this device, of one table or another.

    Returns:
      For each, the rows of all, the same on each device.
    """
    if self.data_axis is None:
      return parts
    leaves, structure = jax.tree.flatten(parts)
    # As integers, which nothing rounds on the way.
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
    """As `exchange`, where nearly all rows of a table are touched: their sums, a row each.

    Args:
      rows: those of this device.
      num_rows: V, of the table.
    """
    if self.data_axis is None:
      return rows
    whole = lambda x: (
      jnp.zeros_like(x, shape=(num_rows, *x.shape[1:])).at[rows.ids].add(x, mode='drop')
    )
    sums = jax.lax.psum((whole(rows.values), whole(rows.curvature)), self.data_axis)
    return RowGradients(jnp.arange(num_rows, dtype=rows.ids.dtype), *sums)

  def over_data(self, sums: Any) -> Any:
    """The sums over all windows, of sums over those of each device, in `map`."""
    return sums if self.data_axis is None else jax.lax.psum(sums, self.data_axis)

  def over_width(self, sums: Any) -> Any:
    """The sums over all columns, of sums over those of each device, in `map`."""
    return sums if self.width_axis is None else jax.lax.psum(sums, self.width_axis)


def make_layout(config: TrainConfig) -> Layout:
  """The layout of a run on the devices that there are; it starts JAX's backend.

  Args:
    config: the run's settings.

  Raises:
    ValueError: more devices than there are, not all of several processes, or a width or a
      number of blocks that does not divide by theirs.
  """
  there = jax.devices()
  several = jax.process_count() > 1
  own = config.devices or (len(jax.local_devices()) if several else 1)
  number = own * jax.process_count()
  if own > len(jax.local_devices()):
    hint = ''
    if there[0].platform == 'cpu':
      hint = (
        f'; jw2v.distributed.layout.prepare_backend({own}), before JAX starts, makes a CPU as many'
      )
    raise ValueError(f'devices={own}: there are {len(jax.local_devices())}{hint}')
  if several and number != len(there):
    raise ValueError(
      f'devices={own}: {jax.process_count()} processes have {len(there)} devices; all of them '
      'train, so leave it to None'
    )
  if number == 1:
    return Layout()
  name = config.layout
  if name is None:  # partial scores are less than rows; those of the exact softmax are more
    splits = config.dim % number == 0 and config.objective != 'naive_softmax'
    name = 'width' if splits else 'data'
  width = {'width': number, 'data_width': config.width_devices or 2}.get(name, 1)
  if number % width:
    raise ValueError(f'width_devices={width}: must divide devices={number}')
  if config.dim % width:
    raise ValueError(
      f'dim={config.dim}: layout={name!r} splits it over {width} devices, which must divide it'
    )
  parts = number // width if name in ('data', 'data_width') else 1
  if config.blocks_per_step % parts:
    raise ValueError(
      f'batch_size={config.batch_size}: layout={name!r} splits its {config.blocks_per_step} blocks '
      f'over {parts} devices, which must divide them'
    )
  return Layout(name, Mesh(np.array(there[:number]).reshape(-1, width), (DATA, WIDTH)))


def is_here(array: Any) -> bool:
  """Whether this process has all of an array."""
  return not isinstance(array, jax.Array) or (
    array.is_fully_addressable or array.is_fully_replicated
  )


def to_host(array: jax.Array) -> np.ndarray:
  """An array in the memory of every process, wherever its parts are."""
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


def _put(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
  return jax.make_array_from_callback(array.shape, sharding, functools.partial(_part, array))


def _part(array, index):
  return array[index]


def prepare_backend(devices: int | None = None) -> None:
  """Sets what must be set before JAX starts its backend; call it first in a program.

  `train` calls it too. Where there is nothing to set, it does nothing, and it starts no
  backend. It adds to `XLA_FLAGS` and keeps what is there.

  A CPU is one device to JAX, and several if asked in time: `devices` of them.

  jaxlib 0.10.2 to 0.11.0 compile a float32 scatter-add for NVIDIA GPUs to a loop of
  compare-and-swap, hundreds of times slower where an index repeats: there it asks for
  the hardware's own atomic addition, and warns if the backend has started without it.

  Args:
    devices: how many are to be there, for a CPU; None for those that there are.

  References:
    https://github.com/openxla/xla/issues/46225, https://github.com/jax-ml/jax/issues/38806
  """
  if devices is not None and not backends_are_initialized():
    there: int = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
    if there < devices:
      jax.config.update('jax_num_cpu_devices', devices)
  if not _SLOW_SCATTER_FROM <= _jaxlib_version() <= _SLOW_SCATTER_TO or not _has_cuda():
    return
  xla_flags = os.environ.get('XLA_FLAGS', '')
  if _FAST_SCATTER_FLAG in xla_flags:
    return
  flag = f'--xla_backend_extra_options={_FAST_SCATTER_FLAG}'
  if backends_are_initialized() or '--xla_backend_extra_options' in xla_flags:
    warnings.warn(
      f'jaxlib {importlib.metadata.version("jaxlib")} adds to repeated rows hundreds of times '
      f'slower than the GPU could. Set XLA_FLAGS={flag} before JAX starts, or call '
      'jw2v.distributed.layout.prepare_backend() first',
      stacklevel=2,
    )
    return
  os.environ['XLA_FLAGS'] = f'{xla_flags} {flag}'.strip()


def _jaxlib_version() -> tuple[int, ...]:
  return tuple(int(n) for n in re.findall(r'\d+', importlib.metadata.version('jaxlib'))[:3])


def _has_cuda() -> bool:
  """Whether JAX's CUDA plugin is installed."""
  names = [f'jax_cuda{version}_plugin' for version in (12, 13)]
  return any(importlib.util.find_spec(name) is not None for name in names)
