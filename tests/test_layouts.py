"""Every layout takes the steps of one device, to rounding, and exchanges what it says."""

import numpy as np
import pytest

from jw2v import TrainConfig, train

SMALL = {'dim': 16, 'window': 3, 'min_count': 1, 'sample': 0.0, 'batch_size': 64, 'block_size': 4,
         'steps_per_call': 4, 'epochs': 2, 'product_dtype': 'float32'}  # fmt: skip
LAYOUTS = [('replicated', 2), ('data', 2), ('data', 4), ('data', 8), ('width', 2), ('width', 4),
           ('width', 8), ('data_width', 4), ('data_width', 8)]  # fmt: skip
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


def lines(number=120, seed=0):
  rng = np.random.default_rng(seed)
  return [[f'w{i}' for i in rng.zipf(1.3, 12) % 90] for _ in range(number)]


def fit(**settings):
  return train(lines(), TrainConfig(**{**SMALL, **settings}), progress=False)


def assert_same_run(found, wanted):
  for one, other in zip(found.params, wanted.params, strict=True):
    one, other = np.asarray(one), np.asarray(other)
    assert np.abs(other).max() > 0.01
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
  for one, other in zip(found.history, wanted.history, strict=True):
    for name in ('step', 'words', 'learning_rate'):
      assert one[name] == other[name]
    for name in ('center_norm', 'outside_norm'):
      np.testing.assert_allclose(one[name], other[name], rtol=1e-4)


class TestSameAsOneDevice:
  @pytest.mark.parametrize('settings', OBJECTIVES, ids=lambda s: '-'.join(map(str, s.values())))
  def test_every_objective(self, settings):
    assert_same_run(fit(**settings, layout='data_width', devices=4), fit(**settings))

  @pytest.mark.parametrize(('layout', 'devices'), LAYOUTS)
  def test_every_layout(self, layout, devices):
    settings = {'held_out': 0.2}
    one, many = fit(**settings), fit(**settings, layout=layout, devices=devices)
    assert_same_run(many, one)
    held_out = [
      [r['held_out_loss'] for r in x.history if 'held_out_loss' in r] for x in (one, many)
    ]
    np.testing.assert_allclose(*held_out, rtol=1e-4)

  @pytest.mark.parametrize('optimizer', ['sgd', 'adagrad', 'adam', 'rmsprop'])
  def test_every_optimizer(self, optimizer):
    settings = {'optimizer': optimizer, 'learning_rate': 0.01}
    assert_same_run(fit(**settings, layout='data_width', devices=4), fit(**settings))

  def test_twice_the_same_bits(self):
    for layout in ('data', 'width'):
      one, other = (fit(layout=layout, devices=2) for _ in range(2))
      np.testing.assert_array_equal(one.vectors.vectors, other.vectors.vectors)
