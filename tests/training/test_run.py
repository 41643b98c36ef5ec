"""Training: learns, is bit-identical when repeated, and rejects unusable input."""

import functools
import itertools
import json
import math
import re
import signal
import sys
import threading

import jax
import numpy as np
import pytest
import tiers
from corpora import HARD, two_topics

import jw2v
from jw2v import TrainConfig, Vocabulary, encode_corpus, open_corpus, train
from jw2v.config import (
  ARCHITECTURES,
  LEARNING_RATES,
  OBJECTIVES,
  OPTIMIZERS,
  SCHEDULES,
)
from jw2v.data import stream
from jw2v.optim import RowwiseTransformation, curvature_damped_sgd
from jw2v.training import loop, state, step

TINY = {'dim': 8, 'window': 2, 'min_count': 1, 'sample': 0.0, 'batch_size': 16, 'block_size': 4,
        'shared_negatives': 8, 'steps_per_call': 4, 'epochs': 4}  # fmt: skip


def fit(corpus=None, **settings):
  corpus = two_topics() if corpus is None else corpus
  return train(corpus, TrainConfig(**{**TINY, **settings}), progress=False)


class TestStrictPromotion:
  """Training while implicit dtype conversions are forbidden, which keeps the same vectors."""

  def _assert_same(self, **settings):
    settings = {'epochs': 1, 'sample': 1e-2, **settings}
    want = fit(two_topics(40), **settings).vectors.vectors
    with jax.numpy_dtype_promotion('strict'):
      got = fit(two_topics(40), **settings).vectors.vectors
    np.testing.assert_array_equal(got, want)

  @pytest.mark.parametrize(
    ('architecture', 'objective'),
    tiers.fast(
      [('skip_gram', 'negative_sampling'), ('cbow', 'sampled_softmax')],
      list(itertools.product(ARCHITECTURES, OBJECTIVES)),
    ),
  )
  @pytest.mark.parametrize('x64', [False, pytest.param(True, marks=pytest.mark.slow)])
  def test_objective(self, architecture, objective, x64):
    with jax.enable_x64(x64):
      self._assert_same(architecture=architecture, objective=objective, shared_negatives=None)

  @pytest.mark.slow
  @pytest.mark.parametrize(
    'settings',
    [
      {'optimizer': 'sgd'},
      {'optimizer': 'adagrad'},
      {'optimizer': 'rmsprop'},
      {'minn': 2, 'maxn': 3, 'bucket': 50},
      pytest.param(
        {'minn': 2, 'maxn': 3, 'bucket': 50, 'architecture': 'cbow'}, marks=pytest.mark.slow
      ),
      {'distance_weights': 'harmonic', 'schedule': 'cosine'},
      {'product_dtype': 'bfloat16', 'held_out': 0.2},
      {'layout': 'data', 'devices': 2},
      {'layout': 'data_width', 'devices': 4, 'width_devices': 2},
    ],
    ids=lambda settings: '-'.join(map(str, settings.values())),
  )
  def test_settings(self, settings):
    self._assert_same(**settings)


class TestLearns:
  @pytest.mark.parametrize('architecture', ['skip_gram', 'cbow'])
  @pytest.mark.parametrize(
    ('optimizer', 'rate'),
    tiers.fast(
      [('curvature_damped_sgd', None)],
      [
        ('curvature_damped_sgd', None),
        ('adagrad', 0.15),
        ('sgd', 0.02),
        ('adam', 0.01),
        ('rmsprop', 0.01),
      ],
    ),
  )
  def test_loss_falls_and_topics_separate(self, architecture, optimizer, rate):
    result = fit(architecture=architecture, optimizer=optimizer, learning_rate=rate, epochs=40)
    assert 0 < result.history[-1]['loss'] < 0.9 * result.history[0]['loss']
    within = result.vectors.similarity('sea1', 'sea2')
    assert within > result.vectors.similarity('sea1', 'land2') + 0.3

  def test_loss_is_the_mean_over_predictions(self):
    """Starts with scores of 0: log 2 for the word and for each of its noise words."""
    result = fit(learning_rate=1e-9, min_learning_rate=0.0, negatives=5)
    assert math.isclose(result.history[0]['loss'], (1 + 5) * math.log(2), rel_tol=1e-5)

  @pytest.mark.parametrize('lines', [31, 32, 33])
  def test_every_record_has_a_loss(self, lines):
    """Records a loss for about 32 lines of 8 words, which exactly fill the calls of 64 windows."""
    history = fit(two_topics(lines), epochs=2).history
    assert all(2 < record['loss'] < 4.2 for record in history)
    for column in ('words', 'step', 'epoch'):
      assert all(a[column] < b[column] for a, b in itertools.pairwise(history))
    assert history[-1]['words'] == 2 * lines * 8
    assert history[-1]['step'] == -(-2 * lines * 8 // TINY['batch_size'])

  def test_history_and_result(self):
    result = fit()
    assert isinstance(result.vectors, jw2v.KeyedVectors)
    assert set(result.history[0]) == {
      'step', 'epoch', 'words', 'words_per_second', 'loss', 'learning_rate', 'gradient_norm',
      'center_norm', 'outside_norm',
    }  # fmt: skip
    assert result.history[-1]['words'] == 4 * 200 * 8 and result.history[-1]['epoch'] == 4
    rates = [record['learning_rate'] for record in result.history]
    assert rates == sorted(rates, reverse=True) and math.isclose(rates[-1], 1e-4, rel_tol=1e-5)
    assert result.words_per_second > 0
    np.testing.assert_array_equal(result.vectors.vectors, result.params.center)
    assert result.vectors.index_to_key == list(result.vocabulary.words)

  @pytest.mark.parametrize(
    'settings',
    tiers.fast(
      [{'distance_weights': 'linear'}],
      [
        {'distance_weights': 'linear'},
        {'architecture': 'cbow'},
        {'objective': 'hierarchical_softmax', 'shared_negatives': None},
      ],
    ),
  )
  def test_windows_wider_than_all_lines_learn_the_same_in_smaller_blocks(
    self, settings, monkeypatch
  ):
    found = fit(window=40, epochs=1, **settings).vectors
    monkeypatch.setattr(stream, 'longest_line', lambda line_ends: 100)
    wide = fit(window=40, epochs=1, **settings).vectors
    np.testing.assert_allclose(found.vectors, wide.vectors, rtol=1e-4, atol=1e-6)

  def test_callbacks_get_every_record(self):
    records = []
    result = train(two_topics(), TrainConfig(**TINY), progress=False, callbacks=[records.append])
    assert records == result.history

  def test_one_compilation_for_a_run(self, monkeypatch):
    made, compile_steps = [], loop.compile_steps
    monkeypatch.setattr(
      loop, 'compile_steps', lambda *args: made.append(compile_steps(*args)) or made[-1]
    )
    fit(epochs=7, sample=1e-2)
    assert len(made) == 1

  def test_records_of_a_small_corpus(self):
    """Uses few steps per call, so that an epoch has 20 records if it has enough steps."""
    assert len(fit(two_topics(400), epochs=2, steps_per_call=1000).history) == 40

  @pytest.mark.slow
  @pytest.mark.parametrize('architecture', ['skip_gram', 'cbow'])
  def test_one_step_over_the_whole_text_holds(self, architecture):
    """Takes the damped step over the summed gradients of 4,000 windows of 14 words."""
    result = fit(two_topics(500), architecture=architecture, batch_size=4000, epochs=40)
    assert 0 < result.history[-1]['loss'] < 0.9 * result.history[0]['loss']

  @pytest.mark.parametrize('architecture', tiers.fast(['skip_gram'], ['skip_gram', 'cbow']))
  @pytest.mark.parametrize('rate', tiers.fast([100], [1, 100]))
  @pytest.mark.parametrize('corpus', HARD)
  def test_no_worse_than_damping_by_the_trace(self, monkeypatch, architecture, rate, corpus):
    settings = {'architecture': architecture, 'batch_size': 4000, 'epochs': 10, 'held_out': 0.1}
    rate *= LEARNING_RATES['curvature_damped_sgd'][architecture]
    lines, loss = HARD[corpus](), lambda result: result.history[-1]['held_out_loss']
    found = fit(lines, learning_rate=rate, **settings)

    def without_samples(*arguments, **options):
      init, update = curvature_damped_sgd(*arguments, **options)
      return RowwiseTransformation(init, lambda rows, *x: update(rows._replace(sample=None), *x))

    monkeypatch.setattr(state, 'curvature_damped_sgd', without_samples)
    trace = fit(lines, learning_rate=rate, **settings)
    assert np.abs(found.vectors.vectors).max() < 100
    assert loss(found) < 1.05 * loss(trace)

  @pytest.mark.parametrize('architecture', tiers.fast(['skip_gram'], ['skip_gram', 'cbow']))
  @pytest.mark.parametrize('rate', tiers.fast([100], [1, 2, 100]))
  def test_bursts_of_one_word_hold(self, architecture, rate):
    corpus = HARD['bursts']()
    rate *= LEARNING_RATES['curvature_damped_sgd'][architecture]
    result = fit(corpus, architecture=architecture, batch_size=1024, learning_rate=rate, epochs=30)
    assert np.abs(result.vectors.vectors).max() < 100
    kv = result.vectors
    assert kv.similarity('sea1', 'sea2') > kv.similarity('sea1', 'land2')


@pytest.mark.parametrize(
  ('architecture', 'objective'),
  tiers.fast([('cbow', 'hierarchical_softmax')], [
    ('skip_gram', 'hierarchical_softmax'), ('cbow', 'hierarchical_softmax'),
    ('cbow', 'naive_softmax'), ('skip_gram', 'nce'), ('skip_gram', 'sampled_softmax'),
  ]),
)  # fmt: skip
class TestObjectives:
  """The properties that `TestLearns` tests for negative sampling, for other objectives."""

  def test_topics_separate(self, architecture, objective):
    settings = {'architecture': architecture, 'objective': objective, 'shared_negatives': None}
    result = fit(**settings, epochs=10, held_out=0.1)
    kv = result.vectors
    assert kv.similarity('sea1', 'sea2') > 0.3 + kv.similarity('sea1', 'land1')
    first, last = result.history[0], result.history[-1]
    assert last['loss'] < 0.95 * first['loss'] and last['held_out_loss'] < first['loss']

  @pytest.mark.slow
  def test_large_steps_and_bursts_hold(self, architecture, objective):
    corpus = HARD['bursts']()
    rate = 100 * TrainConfig(architecture=architecture, objective=objective).learning_rate
    result = fit(corpus, architecture=architecture, objective=objective, learning_rate=rate,
                 batch_size=1024, shared_negatives=None, epochs=10)  # fmt: skip
    assert np.abs(result.vectors.vectors).max() < 100


class TestSchedules:
  @pytest.mark.parametrize('schedule', SCHEDULES)
  def test_from_the_first_rate_to_the_last(self, schedule):
    config = TrainConfig(schedule=schedule, learning_rate=0.5, min_learning_rate=0.1)
    share = np.linspace(0, 1, 11)
    want = {
      'constant': np.full(11, 0.5),
      'cosine': 0.1 + 0.4 * (1 + np.cos(np.pi * share)) / 2,
      'linear': 0.5 - 0.4 * share,
    }[schedule]
    got = np.broadcast_to(step.make_schedule(config)(share), 11)
    np.testing.assert_allclose(got, want, rtol=1e-6)

  @pytest.mark.slow
  @pytest.mark.parametrize('optimizer', OPTIMIZERS)
  def test_every_optimizer_follows_it(self, optimizer):
    """Moves nothing at a learning rate of almost 0, for any optimizer."""
    history = fit(optimizer=optimizer, learning_rate=1e-9, min_learning_rate=0.0).history
    assert math.isclose(history[-1]['loss'], 6 * math.log(2), rel_tol=1e-4)


class TestHeldOut:
  def test_loss_at_the_end_of_each_epoch(self):
    history = fit(held_out=0.25).history
    measured = [(r['epoch'], r['held_out_loss']) for r in history if 'held_out_loss' in r]
    assert [int(epoch) for epoch, _ in measured] == [1, 2, 3, 4]
    assert measured[-1][1] < measured[0][1] < 6 * math.log(2)
    assert history[-1]['words'] == 4 * 1200

  @pytest.mark.slow
  def test_the_last_words_are_not_trained_on(self):
    """Leaves the words of a second, held-out topic at their initial vectors."""
    corpus = [['sea1', 'sea2', 'the'] * 3] * 30 + [['land1', 'land2', 'land3'] * 3] * 10
    result = fit(corpus, held_out=0.25, noise_exponent=1.0, epochs=20)
    norms = np.linalg.norm(result.vectors.vectors, axis=1)
    land = [result.vectors.key_to_index[word] for word in ('land1', 'land2', 'land3')]
    sea = [result.vectors.key_to_index[word] for word in ('sea1', 'sea2')]
    assert norms[land].max() < 0.2 < norms[sea].min()

  def test_stops_early(self):
    """Stops on text without any order, where the held-out loss soon rises."""
    rng = np.random.default_rng(0)
    noise = [[f'w{i}' for i in rng.integers(0, 200, 20)] for _ in range(30)]
    settings = {'held_out': 0.3, 'epochs': 200, 'learning_rate': 0.5}
    stopped = fit(noise, patience=3, **settings).history
    losses = [record['held_out_loss'] for record in stopped if 'held_out_loss' in record]
    assert len(losses) < 200 and min(losses) == losses[-4] and len(losses) >= 4
    assert stopped[-1]['words'] < 200 * 420

  def test_nothing_is_left_in_it(self):
    with pytest.raises(ValueError, match='held_out must leave at least one word'):
      fit([['a', 'b']] * 20, held_out=0.001)


class TestMemory:
  def test_predicted_peak_is_at_least_what_is_held(self):
    result = fit()
    tables = sum(table.nbytes for table in result.params)
    assert tables < result.predicted_bytes < 64e9


class TestDtypes:
  @pytest.mark.slow
  @pytest.mark.parametrize('architecture', ['skip_gram', 'cbow'])
  @pytest.mark.parametrize('optimizer', OPTIMIZERS)
  def test_tables_are_float32_where_float64_is_enabled(self, architecture, optimizer):
    with jax.enable_x64(True):
      params = fit(architecture=architecture, optimizer=optimizer, learning_rate=0.01).params
    assert params.center.dtype == params.outside.dtype == np.float32


class TestDeterminism:
  @pytest.mark.parametrize('architecture', tiers.fast(['skip_gram'], ['skip_gram', 'cbow']))
  def test_same_seed_same_bits(self, architecture):
    first, again, other = (fit(seed=seed, architecture=architecture, sample=1e-2).params
                           for seed in (1, 1, 2))  # fmt: skip
    np.testing.assert_array_equal(first.center, again.center)
    np.testing.assert_array_equal(first.outside, again.outside)
    assert np.abs(first.center - other.center).max() > 1e-3

  def test_path_and_lists_give_the_same_vectors(self, tmp_path):
    lines = two_topics()
    (tmp_path / 'text').write_text('\n'.join(' '.join(line) for line in lines))
    np.testing.assert_array_equal(fit(lines).params.center, fit(tmp_path / 'text').params.center)


class TestShapesOfCorpora:
  def test_one_huge_line(self):
    line = [word for line in two_topics() for word in line]
    assert len(fit([line]).vectors) == 14

  @pytest.mark.slow
  def test_empty_lines_and_lines_of_one_word(self):
    assert set(fit([[], ['a', 'b'], [], ['a'], []]).vectors.index_to_key) == {'a', 'b'}

  @pytest.mark.slow
  def test_five_words(self):
    vectors = fit([list('abcde')] * 30).vectors
    assert len(vectors) == 5 and np.isfinite(vectors.vectors).all()

  def test_one_word_many_times(self):
    assert np.isfinite(fit([['x'] * 500] * 4, batch_size=64).vectors.vectors).all()


class TestWorkdir:
  def test_files(self, tmp_path):
    config = TrainConfig(**TINY)
    result = train(two_topics(), config, workdir=tmp_path / 'new' / 'run', progress=False)
    workdir = tmp_path / 'new' / 'run'
    assert sorted(p.name for p in workdir.iterdir()) == [
      'config.json', 'metrics.jsonl', 'vectors.txt'
    ]  # fmt: skip
    loaded = jw2v.load_vectors(workdir / 'vectors.txt')
    np.testing.assert_array_equal(loaded.vectors, result.vectors.vectors)
    recorded = TrainConfig(**json.loads((workdir / 'config.json').read_text()))
    assert recorded == result.config == config.on('cpu', 8, 1600)  # of a short text
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.history

  def test_a_failed_run_leaves_nothing(self, tmp_path):
    with pytest.raises(ValueError, match='no word occurs'):
      train([['a', 'b']], TrainConfig(min_count=9), workdir=tmp_path / 'run', progress=False)
    assert not (tmp_path / 'run').exists()

  def test_words_that_the_file_cannot_hold_are_found_before_training(self, tmp_path):
    with pytest.raises(ValueError, match="cannot represent the word 'new york'"):
      train([['new york', 'b']] * 9, TrainConfig(**TINY), workdir=tmp_path / 'run', progress=False)
    assert not (tmp_path / 'run').exists()
    assert 'new york' in fit([['new york', 'b']] * 9).vectors  # without a file they are fine

  def test_a_file_in_its_place(self, tmp_path):
    (tmp_path / 'file').touch()
    for workdir in (tmp_path / 'file', tmp_path / 'file' / 'run'):
      with pytest.raises(NotADirectoryError, match=r'workdir must be a folder, got .* is a file'):
        train(two_topics(), workdir=workdir, progress=False)

  def test_no_permission_is_found_before_training(self, tmp_path, monkeypatch):
    monkeypatch.setattr('jw2v.training.workdir.os.access', lambda path, mode: False)
    with pytest.raises(
      PermissionError, match=r'workdir must be writable, got .*: no permission to write in'
    ):
      train(two_topics(), workdir=tmp_path / 'new' / 'run', progress=False)
    assert not (tmp_path / 'new').exists()


class TestCorpora:
  @pytest.fixture
  def path(self, tmp_path):
    (tmp_path / 'text.txt').write_text('\n'.join(' '.join(line) for line in two_topics()))
    return tmp_path / 'text.txt'

  def test_text_is_encoded_once_in_a_workdir(self, tmp_path, path, monkeypatch):
    config = TrainConfig(**TINY)
    run = lambda: train(path, config, workdir=tmp_path / 'run', progress=False).vectors.vectors
    first = run()
    monkeypatch.setattr('jw2v.data.corpus.number_text', None)
    np.testing.assert_array_equal(run(), first)
    assert open_corpus(tmp_path / 'run' / 'corpus').words_read == 1600

  def test_encoded_before(self, tmp_path, path):
    encoded = encode_corpus(path, tmp_path / 'store', min_count=1)
    config = TrainConfig(**TINY)
    want = train(two_topics(), config, progress=False).vectors.vectors
    for given in (encoded, open_corpus(tmp_path / 'store')):
      got = train(given, config, progress=False).vectors.vectors
      np.testing.assert_array_equal(got, want)

  def test_encoded_with_other_settings(self, path):
    with pytest.raises(
      ValueError, match=r'min_count=1 does not match the encoded corpus \(min_count=2\)'
    ):
      train(encode_corpus(path, min_count=2), TrainConfig(**TINY), progress=False)
    encoded = encode_corpus(path, min_count=1, max_vocab_size=9)
    with pytest.raises(
      ValueError,
      match=r'max_vocab_size=None does not match the encoded corpus \(max_vocab_size=9\)',
    ):
      train(encoded, TrainConfig(**TINY), progress=False)
    given = Vocabulary(('sea1', 'sea2', 'land1'), np.array([5, 5, 5]))
    encoded = encode_corpus(path, vocabulary=given)
    assert len(train(encoded, TrainConfig(**TINY), progress=False).vectors) == 3

  def test_progress_bars(self, path, capsys, monkeypatch):
    monkeypatch.setattr('jw2v.data.corpus._SHORT', 0)
    monkeypatch.setattr('jw2v.training.history._BAR_DELAY', 0)
    monkeypatch.setattr('jw2v.utils.progress_bar.shows_bars', lambda: True)
    train(path, TrainConfig(**TINY))
    shown = capsys.readouterr().err
    assert 'reading: 100%' in shown and 'training: 100%' in shown

  def test_shuffled_chunks_train_as_well(self, monkeypatch):
    monkeypatch.setattr('jw2v.data.stream._CHUNK_TOKENS', 100)
    natural, shuffled = fit(), fit(shuffle=True)
    assert shuffled.history[-1]['words'] == natural.history[-1]['words']
    assert not np.array_equal(shuffled.vectors.vectors, natural.vectors.vectors)
    assert shuffled.vectors.similarity('sea1', 'sea2') > 0.5


class TestGrowth:
  """Further training on new text, from the vectors of an earlier run."""

  NEW = [['sea1', 'sea2', 'boat', 'sail'] * 2] * 60

  def first(self):
    return fit()

  def test_old_vectors_go_on_and_new_words_are_added(self):
    first = self.first()
    config = TrainConfig(**TINY, learning_rate=1e-6, min_learning_rate=0)
    grown = train(self.NEW, config, progress=False, initial=first)
    assert set(grown.vectors.index_to_key) == {*first.vectors.index_to_key, 'boat', 'sail'}
    for word in first.vectors.index_to_key:
      np.testing.assert_allclose(grown.vectors[word], first.vectors[word], atol=1e-3)
      old, new = (np.asarray(r.params.outside)[r.vocabulary.index[word]] for r in (first, grown))
      np.testing.assert_allclose(new, old, atol=1e-3)
    counts = lambda result: dict(
      zip(result.vocabulary.words, result.vocabulary.counts, strict=True)
    )
    assert counts(grown)['sea1'] == counts(first)['sea1'] + 120
    assert counts(grown)['boat'] == 120

  @pytest.mark.slow
  def test_new_words_find_their_place(self):
    new = [[*line, 'boat'] if 'sea1' in line else line for line in two_topics(seed=1)]
    config = TrainConfig(**{**TINY, 'epochs': 20})
    grown = train(new, config, progress=False, initial=self.first()).vectors
    near = lambda topic: np.mean([grown.similarity('boat', f'{topic}{i}') for i in range(6)])
    assert near('sea') > near('land') + 0.3

  @pytest.mark.slow
  def test_from_a_file_of_vectors(self, tmp_path):
    first = self.first()
    jw2v.save_vectors(first.vectors, tmp_path / 'vectors.txt')
    loaded = jw2v.load_vectors(tmp_path / 'vectors.txt')
    grown = train(self.NEW, TrainConfig(**TINY), progress=False, initial=loaded)
    assert len(grown.vectors) == len(first.vectors) + 2
    assert grown.vocabulary.counts[grown.vocabulary.index['land1']] == 0  # the file has none
    np.testing.assert_array_equal(grown.vectors['land1'], first.vectors['land1'])

  @pytest.mark.slow
  def test_into_a_corpus_that_is_encoded(self):
    """Drops words that are not in the vocabulary of the encoded corpus."""
    first = self.first()
    encoded = encode_corpus(self.NEW, min_count=1)
    grown = train(encoded, TrainConfig(**TINY), progress=False, initial=first)
    assert set(grown.vectors.index_to_key) == {'sea1', 'sea2', 'boat', 'sail'}

  def test_of_another_width(self):
    with pytest.raises(ValueError, match='dim must be 4, the width of the initial vectors, got 8'):
      train(
        self.NEW, TrainConfig(**{**TINY, 'dim': 8}), progress=False,
        initial=jw2v.KeyedVectors(['sea1'], np.ones((1, 4), np.float32)),
      )  # fmt: skip


class TestErrors:
  def test_divergence_stops_the_run_with_its_step(self):
    with pytest.raises(FloatingPointError, match=r'step \d+: the loss must be finite, got \w+'):
      fit(optimizer='sgd', learning_rate=1e6, epochs=20)

  def test_divergence_in_the_last_step_is_found(self, monkeypatch):
    """Detects an update that is not finite after a finite loss."""
    compile_steps = loop.compile_steps

    def last_step_overflows(*args):
      run = compile_steps(*args)
      return lambda state, *rest: (
        (state := run(state, *rest))[0]._replace(
          params=jw2v.Word2VecParams(*(np.inf * table for table in state[0].params))
        ),
        *state[1:],
      )

    monkeypatch.setattr(loop, 'compile_steps', last_step_overflows)
    monkeypatch.setattr(loop, 'predict_peak', lambda *args: 0)
    with pytest.raises(FloatingPointError, match='the vectors must be finite'):
      fit([['a', 'b']])

  def test_no_folder_is_left_without_a_backend(self, monkeypatch, tmp_path):
    def fail():
      raise RuntimeError('no backend')

    monkeypatch.setattr(jax, 'default_backend', fail)
    with pytest.raises(RuntimeError, match='no backend'):
      train(two_topics(), TrainConfig(**TINY), workdir=tmp_path / 'run', progress=False)
    assert not (tmp_path / 'run').exists()

  def test_no_thread_is_left_by_an_error(self):
    fail = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError) as kept:  # with the frames that it came through
      train(two_topics(), TrainConfig(**TINY), progress=False, callbacks=[fail])
    assert not any('jw2v sampler' in thread.name for thread in threading.enumerate()) and kept

  def test_no_pair_is_left_by_subsampling(self):
    with pytest.raises(ValueError, match=r'subsampling left no training pairs \(sample=1e-09\)'):
      fit([['a', 'b']] * 20, sample=1e-9)

  @pytest.mark.parametrize('steps', [1, 64])
  def test_results_stay_if_no_pair_is_left(self, tmp_path, steps):
    """Keeps the results of an earlier run, with one compiled call and with many."""
    run = functools.partial(train, [['a', 'b', 'c']] * 400, workdir=tmp_path, progress=False)
    config = TrainConfig(**{**TINY, 'steps_per_call': steps})
    run(config)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match='subsampling left no training pairs'):
      run(config.replace(sample=1e-9))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

  def test_config_of_another_kind(self):
    with pytest.raises(TypeError, match=r"config must be a TrainConfig, got .*'dim': 8"):
      train(two_topics(), {'dim': 8})

  def test_progress_bar_without_tqdm(self, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tqdm', None)
    with pytest.raises(ImportError, match=r"pip install 'jw2v\[text\]'"):
      train(two_topics(), TrainConfig(**TINY))

  def test_progress_bar_shows_speed_and_loss(self, capsys, monkeypatch):
    monkeypatch.setattr('jw2v.training.history._BAR_DELAY', 0)
    monkeypatch.setattr('jw2v.utils.progress_bar.shows_bars', lambda: True)
    train(two_topics(), TrainConfig(**TINY))
    shown = capsys.readouterr().err
    assert 'training: 100%' in shown and 'words/s' in shown and 'loss' in shown
    assert 'epoch' in shown and 'rate' in shown

  def test_lines_where_there_is_no_terminal(self, capsys, monkeypatch):
    train(two_topics(), TrainConfig(**TINY))
    assert not capsys.readouterr().err  # less than a minute
    monkeypatch.setattr('jw2v.utils.progress_bar._FIRST_LINE', 0)
    train(two_topics(), TrainConfig(**TINY))
    lines = capsys.readouterr().err.splitlines()
    form = r'training: [\d.]+%, [\d,]+ words/s, epoch \S+, loss \S+, rate \S+, [\d,]+ s left'
    assert re.fullmatch(form, lines[-1]) and lines[-1].startswith('training: 100.0%')


def interrupt_once(times=1):
  """Returns a callback that interrupts the process at the first record."""
  count = itertools.count()

  def interrupt(record):
    if next(count) == 0:
      for _ in range(times):
        signal.raise_signal(signal.SIGINT)

  return interrupt


class TestInterrupt:
  """Ctrl-C in a user's program, which ends a run with the current vectors."""

  def test_keeps_what_is_trained(self, caplog):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
      config = TrainConfig(**{**TINY, 'epochs': 1000})
      result = train(two_topics(), config, progress=False, callbacks=[interrupt_once()])
      assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
      signal.signal(signal.SIGINT, before)
    assert 0 < result.history[-1]['epoch'] < 100 and len(result.vectors) == 14
    assert 'interrupted: the run ends with the current vectors' in caplog.text

  def test_the_second_one_raises(self):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    config = TrainConfig(**{**TINY, 'epochs': 1000})
    try:
      with pytest.raises(KeyboardInterrupt):
        train(two_topics(), config, progress=False, callbacks=[interrupt_once(2)])
    finally:
      signal.signal(signal.SIGINT, before)

  def test_a_handler_of_the_user_stays(self):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
      callbacks = [interrupt_once()]
      result = train(two_topics(), TrainConfig(**TINY), progress=False, callbacks=callbacks)
    finally:
      signal.signal(signal.SIGINT, before)
    assert seen and result.history[-1]['epoch'] == pytest.approx(TrainConfig(**TINY).epochs)


class TestAdvice:
  def test_on_text_that_is_too_small(self, caplog):
    train([['a', 'b', 'c'], ['d', 'b', 'e']] * 3, TrainConfig(dim=4, min_count=1), progress=False)
    assert re.search(r'nearly untrained: the loss is 4\.\d+, and 4\.159 without', caplog.text)
    assert '18 known words' in caplog.text and 'sample=0 (now 0.001), or more' in caplog.text

  def test_not_on_text_that_is_learned(self, caplog):
    train(two_topics(), TrainConfig(dim=8, min_count=1, sample=0, epochs=30), progress=False)
    assert 'nearly untrained' not in caplog.text

  def test_on_more_devices_than_cores(self, caplog, monkeypatch):
    monkeypatch.setattr('jw2v.training.run.num_cores', lambda: 2)
    train(two_topics(), TrainConfig(**TINY, devices=4, layout='data'), progress=False)
    assert 'devices=4 is more than the 2 cores of this machine' in caplog.text
    caplog.clear()
    train(two_topics(), TrainConfig(**TINY, devices=2, layout='data'), progress=False)
    assert 'cores' not in caplog.text


def test_a_result_is_shown_on_one_line():
  result = fit()
  form = r'<TrainResult: 14 words, width \d+, epoch [\d.]+, loss [\d.]+, [\d,]+ words/s>'
  assert re.fullmatch(form, repr(result))
  assert re.fullmatch(r'<KeyedVectors: 14 words, width \d+>', repr(result.vectors))
