"""Settings: defaults and errors."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest

from jw2v import TrainConfig
from jw2v.config import LEARNING_RATES, OPTIMIZERS, SUBWORD_RATES, UNDIVIDED_RATE


@pytest.mark.parametrize(
  ('setting', 'value', 'allowed'),
  [
    ('architecture', 'glove', "'cbow', 'skip_gram'"),
    ('objective', 'softmax', "'negative_sampling'"),
    ('noise', 'zipf', "'log_uniform', 'uniform', 'unigram'"),
    ('distance_weights', 'none', "'equal', 'harmonic', 'linear'"),
    ('cbow_gradient', 'wrong', "'exact', 'undivided'"),
    ('cbow_gradient', 'undivided', "'exact' unless architecture='cbow'"),
    ('softmax_tile', 64, "None unless objective='naive_softmax'"),
    ('minn', 3, 'from 1 to maxn=0, or 0'),
    ('maxn', 101, 'an integer from 0 to 100'),
    ('bucket', 0, 'an integer of at least 1'),
    ('block_size', 0, 'an integer of at least 1'),
    ('block_size', 'x', 'an integer of at least 1'),
    ('negatives', 0, 'an integer of at least 1'),
    ('optimizer', 'lion', "'adagrad', 'adam', 'curvature_damped_sgd', 'rmsprop', 'sgd'"),
    ('schedule', 'step', "'constant', 'cosine', 'linear'"),
    ('batch_size', 1000, 'a multiple of block_size=16'),
    ('held_out', 0.9, 'a number from 0 to 0.5'),
    ('patience', 2, 'None without held_out'),
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
  with pytest.raises(ValueError, match=f'^{setting} must be .*{allowed}'):
    TrainConfig(**{setting: value})


def test_numpy_numbers_as_settings():
  config = TrainConfig(dim=np.int64(8), sample=np.float32(0.5), dynamic_window=np.bool_(True))
  assert [type(x) for x in (config.dim, config.sample, config.dynamic_window)] == [
    int, float, bool
  ]  # fmt: skip


def test_numpy_numbers_count_in_defaults():
  tree = lambda **settings: TrainConfig(objective='hierarchical_softmax', **settings)
  assert TrainConfig(block_size=np.int64(16)) == TrainConfig(block_size=16)
  assert tree(window=np.int64(5)) == tree(window=5)
  assert tree(batch_size=np.int64(100)) == tree(batch_size=100)


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('architecture', ['skip_gram', 'cbow'])
def test_default_rate_of_each_optimizer_and_architecture(optimizer, architecture):
  config = TrainConfig(optimizer=optimizer, architecture=architecture)
  assert config.learning_rate == LEARNING_RATES[optimizer][architecture]


def test_survives_a_json_file():
  config = TrainConfig(architecture='cbow', held_out=0.1, patience=2)
  assert TrainConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (
      {'objective': 'naive_softmax', 'negatives': 5},
      "negatives must be None with objective='naive_softmax', got 5",
    ),
    (
      {'objective': 'hierarchical_softmax', 'shared_negatives': 5},
      'shared_negatives must be None with .*, got 5',
    ),
    (
      {'objective': 'sampled_softmax', 'negatives': 5, 'shared_negatives': 6},
      'set one of them only',
    ),
    ({'minn': 6, 'maxn': 3}, 'minn must be from 1 to maxn=3, .*, got 6'),
    ({'minn': 0, 'maxn': 3}, 'minn must be from 1 to maxn=3, .*, got 0'),
    (
      {'distance_weights': 'linear', 'dynamic_window': True},
      'dynamic_window must be False or None',
    ),
    ({'objective': 'naive_softmax', 'softmax_tile': 0}, 'softmax_tile must be an integer'),
  ],
)
def test_settings_that_do_not_go_together(settings, message):
  with pytest.raises(ValueError, match=message):
    TrainConfig(**settings)


class TestOn:
  def test_larger_steps_on_accelerators_where_none_were_chosen(self):
    assert TrainConfig().on('gpu').batch_size == 8192
    assert TrainConfig(objective='hierarchical_softmax').on('tpu').batch_size == 2016
    assert TrainConfig().on('cpu') == TrainConfig()
    assert TrainConfig(batch_size=512).on('gpu').batch_size == 512
    assert TrainConfig(objective='naive_softmax').on('gpu').batch_size == 1024

  def test_blocks_and_steps_of_the_widest_window_that_lines_have_room_for(self):
    wide, narrow = TrainConfig(window=1000), TrainConfig(window=8)
    sizes = lambda config: (config.block_size, config.batch_size)
    assert sizes(wide) != sizes(narrow) == sizes(wide.on('cpu', 9))
    assert wide.on('cpu', 9).window == 1000
    assert wide.on('cpu', 1001) == wide.on('cpu') == wide
    assert sizes(wide.on('cpu', 1)) == sizes(TrainConfig(window=1))
    assert wide.on('gpu', 9).batch_size == 8 * narrow.batch_size
    values = {'block_size': 4, 'batch_size': 8, 'shared_negatives': 6, 'learning_rate': 0.03}
    given = TrainConfig(window=1000, **values)
    assert given.on('gpu', 9, 100) == given
    assert TrainConfig(window=1000, block_size=4).on('cpu', 9).block_size == 4


class TestShortTexts:
  on = staticmethod(lambda words, **settings: TrainConfig(**settings).on('cpu', None, words))

  def test_take_more_noise_words_at_a_higher_rate(self):
    """Uses four times the default up to 2.5 million words read, and the default from 40 million."""
    found = [(c.shared_negatives, round(c.learning_rate, 4)) for c in map(self.on, (
      100, 500_000, 2_000_000, 8_000_000, 10**9
    ))]  # fmt: skip
    assert found == [(96, 0.1), (96, 0.1), (48, 0.0707), (24, 0.05), (24, 0.05)]

  @pytest.mark.parametrize('window', [5, 50])
  def test_cbow_keeps_its_rate(self, window):
    config = self.on(100, architecture='cbow', window=window)
    assert (config.shared_negatives, config.learning_rate) == (96, 0.4)

  def test_epochs_count(self):
    assert self.on(8_000_000, epochs=1).learning_rate == pytest.approx(0.05 * 5**0.25)

  def test_what_was_given_stays(self):
    given = {'learning_rate': 0.03, 'shared_negatives': 8}
    config = self.on(100, **given)
    assert (config.learning_rate, config.shared_negatives) == (0.03, 8)

  @pytest.mark.parametrize('settings', [
    {'objective': 'nce'}, {'architecture': 'cbow', 'minn': 3, 'maxn': 6}, {'minn': 3, 'maxn': 6},
    {'optimizer': 'adam'}, {'objective': 'hierarchical_softmax'}, {'window': 25},
    {'window': 13, 'dynamic_window': False},
  ])  # fmt: skip
  def test_others_keep_their_defaults(self, settings):
    assert self.on(100, **settings) == TrainConfig(**settings)

  def test_window_is_narrow_if_lines_are_short(self):
    wide = TrainConfig(window=50)
    assert wide.on('cpu', 9, 100).shared_negatives == 96
    assert wide.on('cpu', 9, 100).learning_rate == 0.1

  def test_second_run_with_the_settings_of_the_first(self):
    config = self.on(100)
    again = TrainConfig(**dataclasses.asdict(config))
    assert again.on('cpu', None, 100) == config
    assert config.learning_rate == again.default_rate(1, 100)

  @pytest.mark.parametrize('devices', [2, 3, 7])
  def test_rate_of_devices_that_take_steps_apart(self, devices):
    """Matches the default exactly, since a checkpoint stores the default of any layout."""
    config = self.on(700_000)
    apart = config.apart('local', devices)
    assert apart.learning_rate == config.default_rate(devices, 700_000) > config.learning_rate

  def test_does_not_change_the_config(self):
    config = TrainConfig(shared_negatives=24)
    assert config.on('cpu', None, 100) != config == TrainConfig(shared_negatives=24)


class TestUnknownNames:
  @pytest.mark.parametrize(('name', 'hint'), [
    ('vector_size', 'did you mean dim'), ('sg', 'did you mean architecture'),
    ('min_counts', 'did you mean min_count'), ('corpus_file', 'see help'),
    ('nonsense', 'see help'),
  ])  # fmt: skip
  def test_error_names_ours(self, name, hint):
    for call in (TrainConfig, TrainConfig().replace):
      with pytest.raises(TypeError, match=f'^unknown setting {name} of TrainConfig; {hint}'):
        call(**{name: 1})

  def test_copies(self):
    config = TrainConfig(dim=7)
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config


class TestReplace:
  def test_what_was_chosen_is_chosen_again(self):
    assert TrainConfig().replace(architecture='cbow') == TrainConfig(architecture='cbow')
    assert TrainConfig().replace(objective='nce') == TrainConfig(objective='nce')
    assert TrainConfig().replace(dim=200).on('gpu').batch_size == 8192
    assert TrainConfig().on('gpu').replace(dim=200).batch_size == 8192

  def test_what_was_given_stays(self):
    given = {'learning_rate': 0.3, 'batch_size': 512, 'dim': 7}
    assert TrainConfig(**given).replace(window=2) == TrainConfig(**given, window=2)
    with pytest.raises(ValueError, match=r'window must be .*, got 0'):
      TrainConfig().replace(window=0)


class TestDefaults:
  def test_noise_words_of_each_objective(self):
    of = lambda **settings: (lambda c: (c.negatives, c.shared_negatives))(TrainConfig(**settings))
    assert of() == (5, 24) and of(negatives=10) == (10, 24)
    for name in ('nce', 'sampled_softmax'):
      assert of(objective=name) == (24, 24)
      assert of(objective=name, negatives=64) == of(objective=name, shared_negatives=64) == (64, 64)
    assert of(objective='nce', negatives=5, shared_negatives=30) == (5, 30)
    for name in ('naive_softmax', 'hierarchical_softmax'):
      assert of(objective=name) == (None, None)

  def test_wide_windows_take_wide_blocks_in_small_steps(self):
    of = lambda **settings: (lambda c: (c.block_size, c.batch_size))(TrainConfig(**settings))
    assert of(window=16) == (16, 1024) and of(window=30) == (32, 512) and of(window=50) == (64, 256)
    assert of(window=100) == (64, 128) and of(window=20_000) == (64, 64)
    assert of(window=50, batch_size=1040) == (16, 1040)
    assert of(window=50, batch_size=96) == (48, 96)

  def test_noise_words_by_the_predictions_that_share_them(self):
    of = lambda **settings: TrainConfig(dynamic_window=False, **settings).shared_negatives
    assert of(window=5) == of(window=37) == 24 and of(window=50) == 48
    assert of(window=50, block_size=16) == 24 and of(window=20_000) == 48
    assert TrainConfig(window=50).shared_negatives == 24
    assert of(window=50, shared_negatives=8) == 8
    assert of(window=50, objective='nce') == of(window=50, architecture='cbow') == 24

  def test_rate_falls_with_the_context_of_wide_windows(self):
    rate = lambda **settings: TrainConfig(**settings).learning_rate
    assert rate(window=24) == rate(window=12, dynamic_window=False) == 0.05
    assert rate(window=50, dynamic_window=False) == 0.025
    assert rate(window=99) == 0.025
    assert rate(window=50, architecture='cbow') == rate(architecture='cbow')
    assert rate(window=50, objective='nce') == 0.05

  def test_windows_are_drawn_unless_distances_weigh(self):
    assert TrainConfig().dynamic_window
    assert not TrainConfig(distance_weights='harmonic').dynamic_window

  @pytest.mark.parametrize('window', [1, 2, 5, 7, 8, 10])
  def test_blocks_of_paths_fill_whole_vectors_of_the_processor(self, window):
    config = TrainConfig(objective='hierarchical_softmax', window=window)
    assert (config.block_size + 2 * window) % 16 == 0 and config.block_size >= 4
    assert 220 < config.batch_size <= 256 and config.blocks_per_step % 2 == 0
    given = TrainConfig(objective='hierarchical_softmax', window=window, batch_size=128)
    assert 128 % given.block_size == 0

  def test_a_json_file_keeps_them(self):
    for settings in ({'objective': 'naive_softmax'}, {'objective': 'nce', 'minn': 3, 'maxn': 6},
                     {'distance_weights': 'linear'}):  # fmt: skip
      config = TrainConfig(**settings)
      assert TrainConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config

  def test_rates_where_rows_get_another_share(self):
    rate = lambda **settings: TrainConfig(**settings).learning_rate
    assert rate(minn=3, maxn=6) == SUBWORD_RATES['skip_gram'] > rate()
    assert rate(architecture='cbow', minn=3, maxn=6) == SUBWORD_RATES['cbow']
    assert rate(architecture='cbow', cbow_gradient='undivided') == UNDIVIDED_RATE
    assert rate(minn=3, maxn=6, optimizer='adam') == rate(optimizer='adam')
    assert rate(minn=3, maxn=6, learning_rate=0.3) == 0.3

  def test_rate_of_devices_that_take_steps_apart(self):
    """Raises the default rate of skip-gram with the damped step, but keeps a given rate."""
    rate = lambda **settings: TrainConfig(**settings).apart('local', 4, processes=8).learning_rate
    assert rate() == 0.05 * 2  # 32 ** 0.2
    assert rate(minn=3, maxn=6) == 0.2 * 2
    assert rate(architecture='cbow') == TrainConfig(architecture='cbow').learning_rate
    assert rate(optimizer='adam') == TrainConfig(optimizer='adam').learning_rate
    assert rate(learning_rate=0.05) == 0.05
    config = TrainConfig().apart('rows', 4)
    assert (config.layout, config.devices) == ('rows', 4)
    assert config.apart('rows', 4) == config  # second run with the settings of the first
