"""Memory of a run, and the error if memory is insufficient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiers
from jax.sharding import NamedSharding

import jw2v
from jw2v import TrainConfig
from jw2v.config import OPTIMIZERS
from jw2v.data.sampling import Blocks
from jw2v.distributed import backend
from jw2v.distributed.layout import make_layout
from jw2v.distributed.rows import split_rows
from jw2v.objectives.objective import Objective, block_objective
from jw2v.training import loop, memory
from jw2v.training.state import TrainState, abstract_state, make_optimizer, random_params
from jw2v.training.step import make_run_steps, make_schedule

LINES = [[f'w{i % 7}' for i in range(20)]] * 10
FETCHED = 16_000  # rows of a small table in the layout 'rows'


def abstract(config, num_rows):
  return abstract_state(make_optimizer(config), num_rows, config.dim)


class TestNeeds:
  @pytest.mark.parametrize('optimizer', OPTIMIZERS)
  def test_bytes_are_those_of_the_state(self, optimizer):
    config = TrainConfig(dim=12, optimizer=optimizer, devices=4, layout='width')
    params = random_params(np.random.default_rng(0), 30, 12)
    tx = make_optimizer(config)
    state = TrainState(params, tx.init(params.center), tx.init(params.outside))
    placed = make_layout(config).put_state(state)
    on_first = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(placed))
    shapes = abstract(config, (30, 30))
    assert memory.state_bytes(shapes, 4) == on_first
    whole = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(state))
    assert memory.state_bytes(shapes, 1) == whole

  def test_ten_million_words(self):
    """Needs 24 GB of tables on each device, or 6 GB if four devices split them by width."""
    state = abstract(TrainConfig(dim=300), (10**7, 10**7))
    found = {need.layout: need.bytes for need in memory.needs(state, 4)}
    # Per table: the row and its curvature, a direction, the sums of two samples, and the rate.
    wanted = lambda dim: 2 * 4 * (10**7 * (dim + 1) + dim + 6 + 1)
    assert found["layout='data'"] == wanted(300)
    assert found["layout='width'"] == wanted(75)
    assert found["layout='data_width', width_devices=2"] == wanted(150)


def compiled_bytes(config, num_rows, layout):
  """Returns the bytes of arguments and of other buffers of the compiled steps, per device."""
  steps, blocks = config.steps_per_call, config.blocks_per_step
  tokens, size = config.block_size + 2 * config.window, config.block_size
  shape = lambda width, dtype: jax.ShapeDtypeStruct((steps, blocks, width), dtype)
  batches = Blocks(
    shape(tokens, jnp.int32), shape(size, jnp.int16), shape(size, jnp.int16),
    shape(config.shared_negatives, jnp.int32),
  )  # fmt: skip
  state = abstract(config, num_rows)
  if layout.name == 'rows':
    n = layout.devices
    split = lambda x: jax.eval_shape(lambda: split_rows(jnp.zeros(x.shape, x.dtype), n))
    state = jax.tree.map(split, state)
    batches = batches._replace(
      requests=(jax.ShapeDtypeStruct((FETCHED // n, n, n), jnp.int32),) * 2
    )
  if layout.mesh is not None:
    placed = lambda x, spec: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=NamedSharding(layout.mesh, spec)
    )
    state = jax.tree.map(placed, state, layout.specs(state))
    batches = jax.tree.map(lambda x: placed(x, layout.blocks_spec), batches)
  shares = jax.ShapeDtypeStruct((steps,), jnp.float32)
  objective = Objective(block_objective(config, layout.width_axis), {}, num_rows)
  run_steps = make_run_steps(
    objective, make_optimizer(config), make_schedule(config), config.blocks_per_step, layout
  )
  copies = None
  if layout.name == 'local':
    of_all = lambda x: jax.ShapeDtypeStruct(
      (layout.copies * x.shape[0], *x.shape[1:]), x.dtype,
      sharding=NamedSharding(layout.mesh, layout.copies_spec),
    )  # fmt: skip
    copies = jax.tree.map(of_all, state.params)
  analysis = run_steps.lower(state, copies, batches, shares, {}).compile().memory_analysis()
  results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes  # not in place
  return analysis.argument_size_in_bytes, analysis.temp_size_in_bytes + results


class TestCompiled:
  """Steps compiled for ten million words of width 304, without arrays of that size."""

  @pytest.mark.parametrize(
    ('layout', 'devices', 'width'),
    tiers.fast(
      [('replicated', 1, 1), ('data_width', 8, 2)],
      [('replicated', 1, 1), ('data', 8, 1), ('data_width', 8, 2), ('width', 8, 8)],
    ),
  )
  def test_a_device_has_its_slice_and_no_more(self, layout, devices, width):
    config = TrainConfig(dim=304, layout=layout, devices=devices, steps_per_call=4)
    rows = (10**7, 10**7)
    arguments, buffers = compiled_bytes(config, rows, make_layout(config))
    state = memory.state_bytes(abstract(config, rows), width)
    assert state <= arguments < state + 2e6  # and the blocks
    assert buffers < 60e6  # nothing of the size of the vocabulary

  def test_a_merge_needs_no_other_table(self):
    """Adds a few numbers for each row, since tables and copies are arguments."""
    config = TrainConfig(dim=304, layout='local', devices=2, steps_per_call=4)
    rows = (10**7, 10**7)
    arguments, buffers = compiled_bytes(config, rows, make_layout(config))
    state = memory.state_bytes(abstract(config, rows), 1, 'local')
    assert state <= arguments < state + 2e6
    assert buffers < 20 * 4 * rows[0]

  @pytest.mark.parametrize('devices', tiers.fast([8], [2, 8]))
  def test_an_owner_has_its_rows_and_those_it_fetches(self, devices):
    config = TrainConfig(dim=304, layout='rows', devices=devices, steps_per_call=4)
    rows = (10**7, 10**7)
    arguments, buffers = compiled_bytes(config, rows, make_layout(config))
    state = memory.state_bytes(abstract(config, rows), devices, 'rows')
    assert state == pytest.approx(memory.state_bytes(abstract(config, rows)) / devices, rel=1e-4)
    assert state <= arguments < state + 2e6
    # Tables as they were fetched and trained, changes on their way, and the weights of all rows.
    assert buffers < 12 * 4 * 304 * FETCHED + 10 * 4 * rows[0] / devices


class TestRefusal:
  def refused(self, monkeypatch, limit, is_cpu=False, **settings):
    config = TrainConfig(min_count=1, dim=64, **settings)
    layout = make_layout(config)
    monkeypatch.setattr(memory, 'device_memory', lambda layout: limit)
    if not is_cpu:

      class Device:
        platform = 'gpu'

      monkeypatch.setattr(memory.jax, 'local_devices', lambda: [Device])
    with pytest.raises(MemoryError) as error:
      memory.check_fits(abstract(config, (7, 7)), layout)
    return str(error.value)

  def test_before_anything_is_made(self, monkeypatch):
    monkeypatch.setattr(memory, 'device_memory', lambda layout: 10)
    made = []
    monkeypatch.setattr(loop, 'init_state', lambda *args: made.append(args))
    with pytest.raises(MemoryError, match='a smaller max_vocab_size or dim would fit'):
      jw2v.train(LINES, TrainConfig(min_count=1, dim=64), progress=False)
    assert not made

  def test_names_a_layout_that_fits(self, monkeypatch):
    told = self.refused(monkeypatch, 800)
    assert told.startswith("layout='replicated': tables and optimizer need 0.0 GB")
    assert told.endswith("layout='width' on 8 devices needs 0.0 GB each")

  def test_names_how_many_devices_it_takes(self, monkeypatch):
    assert "layout='width' on 16 devices would fit" in self.refused(monkeypatch, 370)

  def test_rows_where_the_width_does_not_divide(self, monkeypatch):
    state = abstract(TrainConfig(dim=61), (100, 100))
    needed = memory.state_bytes(state, 8, 'rows')
    monkeypatch.setattr(memory, 'device_memory', lambda layout: needed)
    config = TrainConfig(dim=61, devices=8, layout='data')
    with pytest.raises(MemoryError, match="; layout='rows' on 8 devices needs"):
      memory.check_fits(state, make_layout(config), allows_rows=True)
    with pytest.raises(MemoryError, match='a smaller max_vocab_size or dim would fit'):
      memory.check_fits(state, make_layout(config))
    memory.check_fits(state, make_layout(TrainConfig(dim=61, devices=8, layout='rows')))

  def test_of_several_devices(self, monkeypatch):
    told = self.refused(monkeypatch, 2200, devices=4, layout='data')
    assert told.startswith("layout='data'") and 'of 4 devices' in told
    assert "layout='data_width', width_devices=2 on 8 devices needs" in told

  def test_a_copy_needs_the_tables_before_it_too(self, monkeypatch):
    config = TrainConfig(min_count=1, dim=64, devices=2, layout='local')
    state = abstract(config, (7, 7))
    needed = memory.state_bytes(state, 1) + 2 * 4 * 7 * 64
    monkeypatch.setattr(memory, 'device_memory', lambda layout: needed)
    memory.check_fits(state, make_layout(config))
    monkeypatch.setattr(memory, 'device_memory', lambda layout: needed - 1)
    with pytest.raises(MemoryError, match="layout='local': tables and optimizer need"):
      memory.check_fits(state, make_layout(config))

  def test_where_nothing_would_do(self, monkeypatch):
    assert 'a smaller max_vocab_size or dim would fit' in self.refused(monkeypatch, 10)

  def test_more_devices_of_a_cpu_are_no_help(self, monkeypatch):
    told = self.refused(monkeypatch, 800, is_cpu=True)
    assert told.endswith('a smaller max_vocab_size or dim would fit')
    told = self.refused(monkeypatch, 2200, is_cpu=True, devices=4, layout='data')
    assert "layout='data_width', width_devices=2 on 4 devices needs" in told

  def test_the_exact_softmax_has_a_gradient_of_the_table(self, monkeypatch):
    monkeypatch.setattr(memory, 'device_memory', lambda layout: 4500)
    config = TrainConfig(dim=64)
    memory.check_fits(abstract(config, (7, 7)), make_layout(config))
    with pytest.raises(MemoryError):
      memory.check_fits(abstract(config, (7, 7)), make_layout(config), touches_all_rows=True)

  @pytest.mark.parametrize(
    ('limit', 'is_less'), [('1000\n', True), ('max\n', False), (None, False)]
  )
  def test_a_container_may_have_less(self, tmp_path, monkeypatch, limit, is_less):
    if limit is not None:
      (tmp_path / 'memory.max').write_text(limit)
    monkeypatch.setattr(backend, '_CONTAINER_LIMIT', tmp_path / 'memory.max')
    there = memory.device_memory(make_layout(TrainConfig()))
    assert there == 1000 if is_less else there > 10**8

  def test_devices_of_a_cpu_share_its_memory(self, monkeypatch):
    monkeypatch.setattr(memory, 'host_memory', lambda: 1000)
    assert memory.device_memory(make_layout(TrainConfig())) == 1000
    assert memory.device_memory(make_layout(TrainConfig(devices=4, dim=8, layout='data'))) == 250
