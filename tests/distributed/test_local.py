"""Layout 'local': copies that are trained apart and merged learn the same as one device."""

import jax
import numpy as np
import pytest
import tiers
from corpora import HARD, two_topics

import jw2v
from jw2v import TrainConfig, train
from jw2v.config import ARCHITECTURES, OBJECTIVES
from jw2v.distributed import layout as layouts
from jw2v.distributed.layout import Layout, default_devices, make_layout
from jw2v.training.loop import steps_per_dispatch

TINY = {'dim': 8, 'window': 2, 'min_count': 1, 'sample': 0.0, 'batch_size': 16, 'block_size': 4,
        'steps_per_call': 4, 'epochs': 10, 'layout': 'local'}  # fmt: skip
CBOW, SKIP_GRAM = ([{'objective': o, 'architecture': a} for o in OBJECTIVES] for a in ARCHITECTURES)
CBOW.append({'minn': 3, 'maxn': 4, 'bucket': 50})  # of skip-gram, the default


def fit(lines=None, **settings):
  lines = two_topics(400) if lines is None else lines
  return train(lines, TrainConfig(**{**TINY, **settings}), progress=False)


class TestLearns:
  @pytest.mark.parametrize(
    'settings',
    tiers.fast([SKIP_GRAM[3]], SKIP_GRAM)
    + [pytest.param(x, marks=pytest.mark.release) for x in CBOW],
    ids=lambda s: '-'.join(map(str, s.values())),
  )
  def test_every_objective(self, settings):
    one = fit(**settings, held_out=0.1, layout=None)
    four = fit(**settings, held_out=0.1, devices=4)
    assert four.history[-1]['words'] == one.history[-1]['words']
    assert four.history[-1]['held_out_loss'] < 1.03 * one.history[-1]['held_out_loss']
    kv = four.vectors
    assert kv.similarity('sea1', 'sea2') > 0.3 + kv.similarity('sea1', 'land1')

  @pytest.mark.parametrize(
    ('optimizer', 'rate'),
    tiers.fast([('adam', 0.02)], [('adam', 0.02), ('adagrad', 0.2), ('rmsprop', 0.01)]),
  )
  def test_optimizers_of_optax(self, optimizer, rate):
    result = fit(optimizer=optimizer, learning_rate=rate, devices=2, epochs=20)
    assert result.history[-1]['loss'] < 0.9 * result.history[0]['loss']
    kv = result.vectors
    assert kv.similarity('sea1', 'sea2') > 0.3 + kv.similarity('sea1', 'land1')

  @pytest.mark.parametrize('text', list(HARD))
  @pytest.mark.parametrize(
    'rate', [10, *(pytest.param(rate, marks=pytest.mark.release) for rate in (1, 100))]
  )
  def test_holds_where_copies_did_all_the_work(self, text, rate):
    settings = {'learning_rate': 0.05 * rate, 'held_out': 0.1, 'epochs': 20}
    one = fit(HARD[text](), **settings, layout=None, batch_size=1024)
    eight = fit(HARD[text](), **settings, devices=8, batch_size=128, merge_steps=64)
    assert np.abs(eight.vectors.vectors).max() < 10
    assert eight.history[-1]['held_out_loss'] < 1.05 * one.history[-1]['held_out_loss']

  def test_twice_the_same_bits(self):
    one, other = (fit(devices=8, epochs=2) for _ in range(2))
    np.testing.assert_array_equal(one.vectors.vectors, other.vectors.vectors)
    for table in one.params:  # equal on all devices
      for shard in table.addressable_shards:
        np.testing.assert_array_equal(shard.data, table.addressable_shards[0].data)

  def test_the_result_says_how_many_devices_there_were(self):
    config = fit(devices=2, layout=None).config
    assert (config.layout, config.devices) == ('local', 2)


class TestMergeSteps:
  @pytest.mark.parametrize(
    ('settings', 'devices', 'num_words', 'expected'),
    [
      ({}, 1, 10**9, (64, 64)),
      ({}, 2, 10**9, (512, 512)),
      ({}, 8, 10**9, (128, 128)),
      ({'merge_steps': 32}, 2, 10**9, (64, 16)),
      ({'merge_steps': 100}, 2, 10**9, (50, 50)),  # a call ends with a merge
      ({'merge_steps': 1}, 8, 10**9, (64, 1)),
      ({}, 2, 20 * 1024 * 2 * 5, (5, 5)),  # at least twenty calls in an epoch
    ],
  )
  def test_steps_of_a_call_and_between_merges(self, settings, devices, num_words, expected):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]).reshape(-1, 1), ('data', 'width'))
    layout = Layout('local', mesh)
    found = steps_per_dispatch(TrainConfig(**settings), num_words, layout, (1000, 1000))
    assert found == expected

  def test_larger_tables_are_merged_less_often(self):
    layout = make_layout(TrainConfig(devices=2))
    found = steps_per_dispatch(TrainConfig(), 10**9, layout, (10**6, 1000))
    assert found == (2560, 2560)

  def test_each_merge_counts(self):
    """Changes the vectors if copies are merged at other times."""
    often, seldom = (fit(devices=2, epochs=1, merge_steps=n) for n in (2, 8))
    assert not np.array_equal(often.vectors.vectors, seldom.vectors.vectors)


class TestDefault:
  @pytest.fixture(autouse=True)
  def machine(self, monkeypatch):
    monkeypatch.setattr(layouts, 'num_cores', lambda: 16)
    monkeypatch.setattr(layouts, 'host_memory', lambda: 16e9)

  @pytest.mark.parametrize(
    ('settings', 'text', 'devices'),
    [
      ({}, (10**9, 10**5), 4),
      ({}, (15_000_000, 10**5), 3),
      ({}, (3_000_000, 10**4), 1),
      ({}, (10**9, 10**7), 1),  # 16 GB for each copy
      ({'dim': 300}, (10**9, 10**6), 1),
      ({'dim': 100}, (10**9, 2 * 10**6), 2),
      ({'minn': 3, 'maxn': 6}, (10**9, 10**5), 4),
      ({'objective': 'naive_softmax'}, (10**9, 10**5), 1),
      ({'layout': 'local'}, (10**9, 10**5), 4),
      ({'layout': 'width'}, (10**9, 10**5), 1),
    ],
  )
  def test_by_text_and_memory(self, settings, text, devices):
    config = TrainConfig(**settings)
    assert default_devices(config, *text) == devices
    assert make_layout(config, *text).devices == devices

  def test_at_most_one_for_each_core(self, monkeypatch):
    monkeypatch.setattr(layouts, 'num_cores', lambda: 2)
    assert default_devices(TrainConfig()) == default_devices(TrainConfig(), 10**9, 10**5) == 2

  def test_a_long_text_takes_them(self, monkeypatch):
    monkeypatch.setattr(layouts, '_WORDS_OF_DEVICE', 100)
    result = fit(layout=None, epochs=1)
    assert (result.config.layout, result.config.devices) == ('local', 4)
    same = train(two_topics(400), result.config, progress=False)
    np.testing.assert_array_equal(same.vectors.vectors, result.vectors.vectors)


class TestBadInput:
  @pytest.mark.parametrize(
    ('settings', 'message'),
    [
      ({'merge_steps': 0}, 'merge_steps must be an integer of at least 1, got 0'),
      ({'merge_steps': 1.5}, 'merge_steps must be an integer of at least 1, got 1.5'),
      (
        {'merge_steps': 9, 'layout': 'data'},
        "merge_steps must be None unless layout is 'local', 'rows' or None",
      ),
      ({'devices': 9}, 'devices must be at most 8, got 9'),
      ({'devices': 8}, "at least one block of 4 words per device with layout='local', got "),
    ],
  )
  def test_refused_before_anything_is_written(self, settings, message, tmp_path):
    assert len(jax.devices()) == 8  # which no setting changes from here on
    with pytest.raises(ValueError, match=message):
      train(
        [['a', 'b'] * 4], TrainConfig(**{**TINY, **settings}), workdir=tmp_path / 'run',
        progress=False,
      )  # fmt: skip
    assert not list(tmp_path.glob('run/*.txt')) and not list(tmp_path.glob('run/*.json*'))


@pytest.mark.parametrize('changes', [{'devices': 1}, {'devices': 4}, {'layout': 'data'}])
def test_goes_on_with_other_devices_in_the_middle_of_a_run(changes, tmp_path):
  config, records = TrainConfig(**{**TINY, 'epochs': 2}, devices=2), []
  checkpoints = jw2v.Checkpoints(tmp_path, every=1e9)

  def stop_at_the_twentieth(record):
    records.append(record)
    if len(records) == 20:
      checkpoints.request_stop()

  with pytest.raises(jw2v.Stopped):
    train(two_topics(400), config, progress=False, checkpoints=checkpoints,
          callbacks=[stop_at_the_twentieth])  # fmt: skip
  result = train(
    two_topics(400), config.replace(**changes), progress=False,
    checkpoints=jw2v.Checkpoints(tmp_path),
  )  # fmt: skip
  assert result.history[:20] == records[:20]
  assert result.history[-1]['words'] == 2 * 400 * 8
  assert result.history[-1]['loss'] < records[0]['loss']
