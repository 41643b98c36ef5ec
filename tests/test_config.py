"""Settings: their defaults, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from jw2v import TrainConfig
from jw2v.config import LEARNING_RATES, OPTIMIZERS


@pytest.mark.parametrize(
  ('setting', 'value', 'allowed'),
  [
    ('architecture', 'glove', "'cbow', 'skip_gram'"),
    ('objective', 'softmax', "'negative_sampling'"),
    ('optimizer', 'lion', "'adagrad', 'adam', 'curvature_damped_sgd', 'rmsprop', 'sgd'"),
    ('schedule', 'step', "'constant', 'cosine', 'linear'"),
    ('batch_size', 1000, 'a multiple of block_size=16'),
    ('held_out', 0.9, 'a number from 0 to 0.5'),
    ('patience', 2, 'needs held_out'),
    ('window', 2**15, 'an integer from 1 to 32767'),
    ('architecture', ['cbow'], "'cbow', 'skip_gram'"),
    ('dynamic_window', 'yes', 'False, True'),
    ('dim', 0, 'an integer of at least 1'),
    ('dim', 2.5, 'an integer of at least 1'),
    ('window', 0, 'an integer from 1 to 32767'),
    ('epochs', True, 'an integer of at least 1'),
    ('max_vocab_size', 0, 'an integer of at least 1'),
    ('seed', -1, 'an integer from 0'),
    ('sample', 1.5, 'a number from 0 to 1'),
    ('sample', float('nan'), 'a number from 0 to 1'),
    ('learning_rate', 0.0, 'a number from 1e-12'),
    ('learning_rate', 'fast', 'a number from 1e-12'),
    ('min_learning_rate', 0.5, 'a number from 0 to 0.05'),
    ('noise_exponent', float('inf'), 'a number from -10 to 10'),
  ],
)
def test_setting_out_of_range(setting, value, allowed):
  with pytest.raises(ValueError, match=f'^{setting}=.*: .*{allowed}'):
    TrainConfig(**{setting: value})


def test_numpy_numbers_as_settings():
  config = TrainConfig(dim=np.int64(8), sample=np.float32(0.5), dynamic_window=np.bool_(True))
  assert [type(x) for x in (config.dim, config.sample, config.dynamic_window)] == [
    int, float, bool
  ]  # fmt: skip


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('architecture', ['skip_gram', 'cbow'])
def test_default_rate_of_each_optimizer_and_architecture(optimizer, architecture):
  config = TrainConfig(optimizer=optimizer, architecture=architecture)
  assert config.learning_rate == LEARNING_RATES[optimizer][architecture]


def test_survives_a_json_file():
  config = TrainConfig(architecture='cbow', held_out=0.1, patience=2)
  assert TrainConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
