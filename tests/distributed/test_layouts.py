"""Layouts: each takes the steps of one device, up to rounding, and exchanges the stated bytes."""

import functools
import math
import re

import numpy as np
import pytest
import tiers

from benchmarks import scaling
from jw2v import TrainConfig, encode_corpus, train
from jw2v.distributed import layout as layouts
from jw2v.distributed.layout import make_layout
from jw2v.objectives.objective import make_objective
from jw2v.training import step
from jw2v.training.run import make_streams
from jw2v.training.state import init_state, initial_params, make_optimizer

SMALL = {'dim': 16, 'window': 3, 'min_count': 1, 'sample': 0.0, 'batch_size': 64, 'block_size': 4,
         'steps_per_call': 4, 'epochs': 2, 'product_dtype': 'float32'}  # fmt: skip
LAYOUTS = [
  ('replicated', 2),
  ('data', 2),
  ('data', 8),
  ('width', 2),
  ('width', 8),
  ('data_width', 8),
]
OBJECTIVES = [
  {'objective': 'negative_sampling'},
  {'objective': 'negative_sampling', 'architecture': 'cbow'},
  {'objective': 'negative_sampling', 'minn': 3, 'maxn': 4, 'bucket': 50},
  {'objective': 'hierarchical_softmax'},
  {'objective': 'hierarchical_softmax', 'architecture': 'cbow'},
  {'objective': 'naive_softmax', 'softmax_tile': 30},
  {'objective': 'naive_softmax', 'architecture': 'cbow'},
  {'objective': 'nce'},
  {'objective': 'sampled_softmax'},
  {'objective': 'sampled_softmax', 'architecture': 'cbow'},
]

# Layouts whose exchange does not depend on the text or the number of words.
COUNTED = [x for x in OBJECTIVES if 'minn' not in x and x['objective'] != 'naive_softmax']


def lines(number=120, seed=0):
  rng = np.random.default_rng(seed)
  return [[f'w{i}' for i in rng.zipf(1.3, 12) % 90] for _ in range(number)]


def fit(**settings):
  return train(lines(), TrainConfig(**{**SMALL, **settings}), progress=False)


@functools.cache
def alone(settings):
  """Returns the result of one device for settings given as their items."""
  return fit(**dict(settings))


def assert_same_run(found, wanted):
  for one, other in zip(found.params, wanted.params, strict=True):
    one, other = np.asarray(one), np.asarray(other)
    assert np.abs(other).max() > 0.01
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-4)
  for one, other in zip(found.history, wanted.history, strict=True):
    for name in ('step', 'words', 'learning_rate'):
      assert one[name] == other[name]
    for name in ('center_norm', 'outside_norm'):
      np.testing.assert_allclose(one[name], other[name], rtol=1e-3)


class TestSameAsOneDevice:
  @pytest.mark.parametrize(
    'settings',
    tiers.fast(OBJECTIVES[:1], OBJECTIVES),
    ids=lambda s: '-'.join(map(str, s.values())),
  )
  def test_every_objective(self, settings):
    many = fit(**settings, layout='data_width', devices=4)
    assert_same_run(many, alone(tuple(settings.items())))

  @pytest.mark.parametrize(('layout', 'devices'), tiers.fast([('data_width', 8)], LAYOUTS))
  def test_every_layout(self, layout, devices):
    settings = {'held_out': 0.2}
    one, many = alone(tuple(settings.items())), fit(**settings, layout=layout, devices=devices)
    assert_same_run(many, one)
    held_out = [
      [r['held_out_loss'] for r in x.history if 'held_out_loss' in r] for x in (one, many)
    ]
    np.testing.assert_allclose(*held_out, rtol=1e-4)

  @pytest.mark.slow
  @pytest.mark.parametrize('optimizer', ['sgd', 'adagrad', 'adam', 'rmsprop'])
  def test_every_optimizer(self, optimizer):
    settings = {'optimizer': optimizer, 'learning_rate': 0.01}
    assert_same_run(fit(**settings, layout='data_width', devices=4), fit(**settings))

  @pytest.mark.slow
  def test_gradient_norms_are_of_all_columns(self):
    """Matches two devices that both compute all columns of the same windows."""
    norms = [
      [record['gradient_norm'] for record in fit(layout=layout, devices=2).history]
      for layout in ('replicated', 'width')
    ]
    assert min(norms[0]) > 0
    np.testing.assert_allclose(*norms, rtol=1e-3)

  @pytest.mark.slow
  def test_twice_the_same_bits(self):
    for layout in ('data', 'width'):
      one, other = (fit(layout=layout, devices=2) for _ in range(2))
      np.testing.assert_array_equal(one.vectors.vectors, other.vectors.vectors)


def compiled(config):
  """Returns the compiled steps of a config and the vocabulary of 90 words."""
  corpus = encode_corpus(lines(), min_count=1)
  layout, optimizer = make_layout(config), make_optimizer(config)
  objective = make_objective(config, corpus.vocabulary, layout.width_axis)
  text, _ = make_streams(corpus, config, objective, layout)
  dispatch = next(
    text.dispatches(range(1), steps=2, blocks_per_step=config.blocks_per_step * layout.copies)
  )
  params = initial_params(corpus.vocabulary, config, objective.subwords, None)
  state = init_state(params, optimizer, layout)
  blocks, constants = layout.put_blocks(dispatch.blocks), layout.put(objective.constants)
  run_steps = step.make_run_steps(
    objective, optimizer, step.make_schedule(config), config.blocks_per_step, layout
  )
  compiled = step.compile_steps(
    run_steps, state, layout.make_copies(params), blocks, np.zeros(2, np.float32), constants
  )
  return compiled, corpus.vocabulary


def collectives(run_steps):
  """Returns (operation, bytes of its result) for each collective in the compiled program."""
  found = []
  for shape, operation in re.findall(
    r' = (.*?) (all-[\w-]+|collective-\w+|reduce-scatter)\(', run_steps
  ):
    numbers = re.findall(r'[fsu]32\[([\d,]*)\]', shape)
    found.append(
      (operation, 4 * sum(math.prod(map(int, n.split(',')) if n else [1]) for n in numbers))
    )
  return found


class TestExchange:
  """Exchange of the compiled step, which matches the model in `benchmarks/scaling.py`."""

  @pytest.mark.parametrize(
    'settings', tiers.fast(COUNTED[:1], COUNTED), ids=lambda s: '-'.join(s.values())
  )
  @pytest.mark.parametrize(
    ('layout', 'devices', 'data', 'width'), [('data', 2, 2, 1), ('data_width', 4, 2, 2)]
  )
  def test_bytes_of_a_step(self, settings, layout, devices, data, width):
    config = TrainConfig(**{**SMALL, **settings}, layout=layout, devices=devices)
    run_steps, vocabulary = compiled(config)
    found = collectives(run_steps.as_text())
    step_sums = 4 * 2 * (3 + 1)  # losses and similar values, at the end of a call of two steps
    in_steps = [(name, size) for name, size in found if size > step_sums]
    gathered = sum(size * (data - 1) // data for name, size in in_steps if name == 'all-gather')
    added = sum(size for name, size in in_steps if name == 'all-reduce')
    assert {name for name, _ in in_steps} <= {'all-gather', 'all-reduce'}
    cost = scaling.step_cost(config, layout, data, width, len(vocabulary))
    assert gathered + added == cost.exchanged

  @pytest.mark.parametrize(
    ('layout', 'data', 'width', 'operation'),
    tiers.fast(
      [('data', 4, 1, 'all-gather')],
      [('replicated', 1, 1, None), ('data', 4, 1, 'all-gather'), ('width', 1, 4, 'all-reduce')],
    ),
  )
  def test_one_collective_in_a_step(self, layout, data, width, operation):
    config = TrainConfig(**SMALL, layout=layout, devices=4)
    run_steps, vocabulary = compiled(config)
    found = [name for name, size in collectives(run_steps.as_text()) if size > 4 * 2 * (3 + 1)]
    assert set(found) == ({operation} if operation else set())
    cost = scaling.step_cost(config, layout, data, width, len(vocabulary))
    assert (cost.exchanged > 0) == bool(operation)

  @pytest.mark.parametrize(
    'settings', tiers.fast(COUNTED[:1], COUNTED), ids=lambda s: '-'.join(s.values())
  )
  def test_bytes_of_a_merge(self, settings):
    config = TrainConfig(**{**SMALL, **settings}, layout='local', devices=2)
    run_steps, vocabulary = compiled(config)
    found = collectives(run_steps.as_text())
    assert {name for name, _ in found} == {'all-reduce', 'collective-permute'}
    exchanged = sum(size for name, size in found if name == 'all-reduce')
    step_sums = 4 * 2 * (3 + 1)  # losses and similar values, at the end of a call of two steps
    assert 0 <= exchanged - scaling.merge_bytes(config, len(vocabulary)) <= step_sums

  @pytest.mark.parametrize('devices', [2, 4])
  def test_bytes_of_fetched_rows(self, devices):
    config = TrainConfig(**SMALL, layout='rows', devices=devices)
    run_steps, vocabulary = compiled(config)
    found = collectives(run_steps.as_text())
    assert {name for name, _ in found} <= {'all-to-all', 'all-reduce', 'collective-permute'}
    exchanged = sum(size for name, size in found if name == 'all-to-all')
    # The rows of a small table: those of its owner with the most, in steps of an eighth.
    fetched = exchanged / scaling.fetch_bytes(config, 1)
    assert fetched == int(fetched) and fetched % devices == 0
    assert len(vocabulary) <= fetched <= 1.5 * len(vocabulary)
    assert sum(size for name, size in found if name == 'all-reduce') < 20 * 4 * config.dim

  @pytest.mark.slow
  def test_the_exact_softmax_adds_up_whole_tables(self):
    config = TrainConfig(**SMALL, objective='naive_softmax', layout='data', devices=2)
    run_steps, vocabulary = compiled(config)
    sample = 4 * (3 + config.dim)
    table = 4 * len(vocabulary) * (config.dim + 2) + sample  # with curvatures and parts along m
    assert table in [
      size for name, size in collectives(run_steps.as_text()) if name == 'all-reduce'
    ]


class TestChosen:
  @pytest.mark.parametrize(
    ('settings', 'name', 'shape'),
    [
      ({}, 'replicated', None),
      ({'devices': 1, 'layout': 'width'}, 'replicated', None),
      ({'devices': 4}, 'local', (4, 1)),
      ({'devices': 4, 'objective': 'naive_softmax'}, 'data', (4, 1)),
      ({'devices': 8, 'layout': 'data_width'}, 'data_width', (4, 2)),
      ({'devices': 8, 'layout': 'data_width', 'width_devices': 4}, 'data_width', (2, 4)),
      ({'devices': 2, 'layout': 'replicated'}, 'replicated', (2, 1)),
    ],
  )
  def test_by_config_and_devices(self, settings, name, shape):
    layout = make_layout(TrainConfig(**{**SMALL, **settings}))
    assert layout.name == name
    assert (layout.mesh and layout.mesh.devices.shape) == shape

  @pytest.mark.parametrize(
    ('settings', 'name', 'shape'),
    [
      ({}, 'width', (1, 4)),
      ({'dim': 18}, 'data', (4, 1)),
      ({'objective': 'naive_softmax'}, 'data', (4, 1)),
    ],
  )
  def test_devices_of_an_accelerator(self, settings, name, shape, monkeypatch):
    class Device:
      platform = 'gpu'

      def __init__(self, process_index=0):
        self.process_index = process_index

    devices = [Device() for _ in range(4)]
    monkeypatch.setattr(layouts.jax, 'devices', lambda: devices)
    monkeypatch.setattr(layouts.jax, 'local_devices', lambda: devices)
    monkeypatch.setattr(layouts, 'Mesh', lambda array, _: array.shape)
    assert make_layout(TrainConfig(**{**SMALL, **settings}, devices=4)) == (name, shape)


class TestBadInput:
  @pytest.mark.parametrize(
    ('settings', 'message'),
    [
      ({'devices': 9}, r'devices must be at most 8, got 9; call jw2v.prepare_backend\(9\)'),
      (
        {'devices': 3, 'layout': 'width'},
        "dim must be a multiple of 3, .* layout='width' .*, got 16",
      ),
      (
        {'devices': 3, 'layout': 'data'},
        'batch_size must have a multiple of 3 blocks, .*, got batch_size=64 with 16 blocks',
      ),
      ({'devices': 3, 'layout': 'data_width'}, 'width_devices must divide devices=3, got 2'),
      (
        {'devices': 6, 'layout': 'data_width', 'width_devices': 3},
        "dim must be a multiple of 3, .* layout='data_width' .*, got 16",
      ),
      ({'layout': 'columns'}, "layout must be one of None, 'data'"),
      (
        {'layout': 'data', 'width_devices': 2},
        "width_devices must be None unless layout='data_width', got 2",
      ),
      ({'devices': 0}, 'devices must be an integer of at least 1, got 0'),
      ({'product_dtype': 'float16'}, "product_dtype must be one of 'bfloat16', 'float32'"),
    ],
  )
  def test_refused_at_start(self, settings, message):
    with pytest.raises(ValueError, match=message):
      fit(**settings)


class TestBfloat16:
  def test_products_are_rounded_and_sums_are_not(self):
    one, other = fit(), fit(product_dtype='bfloat16')
    difference = np.abs(one.vectors.vectors - other.vectors.vectors)
    assert 1e-5 < difference.mean() < 0.02 * np.abs(one.vectors.vectors).mean() + 1e-3
    assert other.params.center.dtype == np.float32
    np.testing.assert_allclose(one.history[-1]['loss'], other.history[-1]['loss'], rtol=0.01)
