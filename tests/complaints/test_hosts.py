"""Training in other programs: threads, event loops, settings of JAX, callbacks, processes.

A comment names the report, if one exists.
"""

import asyncio
import contextlib
import functools
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jw2v
from jw2v.distributed import backend
from jw2v.utils import progress_bar

SENTENCES = [['the', 'cat', 'sat'], ['the', 'dog', 'sat']] * 50
TINY = dict(
  dim=8, window=2, min_count=1, sample=0, epochs=2, batch_size=16, block_size=4,
  shared_negatives=8, steps_per_call=4, devices=1,
)  # fmt: skip


def fit(settings=None, **options):
  return jw2v.train(
    SENTENCES, jw2v.TrainConfig(**{**TINY, **(settings or {})}), progress=False, **options
  )


@pytest.fixture(scope='module')
def vectors():
  return fit().vectors.vectors


def in_thread(function):
  results = []
  thread = threading.Thread(target=lambda: results.append(function()))
  thread.start()
  thread.join()
  return results[0]


async def in_coroutine():
  return fit()


class TestHosts:
  """Bit-identical results of `train` in any place."""

  @pytest.mark.parametrize(
    'call',
    [
      lambda: in_thread(fit),
      lambda: asyncio.run(in_coroutine()),
      lambda: asyncio.run(asyncio.to_thread(fit)),
    ],
    ids=['thread', 'coroutine', 'worker of an event loop'],
  )
  def test_threads_and_event_loops(self, vectors, call):
    np.testing.assert_array_equal(call().vectors.vectors, vectors)

  def test_two_runs_at_once(self, vectors):
    # balla2081 in piskvorky/gensim#2526: threads of training
    results = []
    threads = [threading.Thread(target=lambda: results.append(fit())) for _ in range(2)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    for result in results:
      np.testing.assert_array_equal(result.vectors.vectors, vectors)

  @pytest.mark.parametrize(
    'setting',
    [
      jax.disable_jit,
      lambda: jax.debug_nans(True),
      lambda: jax.transfer_guard('disallow'),
      lambda: jax.numpy_rank_promotion('raise'),
      lambda: jax.checking_leaks(),
      lambda: jax.set_mesh(jax.make_mesh((1,), ('x',))),
    ],
    ids=['disable_jit', 'nans', 'transfer', 'ranks', 'leaks', 'mesh'],
  )
  def test_settings_of_jax(self, vectors, setting):
    # jax-ml/jax#12204: functions compiled ahead of time; disable_jit refuses to lower them
    with setting():
      np.testing.assert_array_equal(fit().vectors.vectors, vectors)

  def test_settings_of_jax_are_restored(self):
    with jax.transfer_guard('disallow'), jax.disable_jit():
      fit()
      assert jax.config.jax_disable_jit
      with pytest.raises(Exception, match='Disallowed host-to-device'):
        jnp.ones(3) + np.ones(3)

  def test_inside_jit(self):
    with pytest.raises(RuntimeError, match=r'train must be called outside of jax\.jit'):
      jax.jit(lambda x: fit() and x)(1.0)

  @pytest.mark.parametrize(
    ('name', 'value'),
    [
      ('dim', np.int64(8)),
      ('learning_rate', np.float32(0.5)),
      ('sample', np.float64(0.0)),
      ('epochs', np.uint8(2)),
    ],
  )
  def test_settings_of_numpy_are_numbers_of_python(self, name, value):
    assert type(getattr(jw2v.TrainConfig(**{**TINY, name: value}), name)) in (int, float)

  def test_a_generator_is_read_once(self, vectors):
    # piskvorky/gensim#2934 and #443: generators are refused, or empty in the second epoch
    result = jw2v.train((s for s in SENTENCES), jw2v.TrainConfig(**TINY), progress=False)
    np.testing.assert_array_equal(result.vectors.vectors, vectors)

  def test_an_error_of_the_generator(self):
    def broken():
      yield SENTENCES[0]
      raise OSError('the line went down')

    with pytest.raises(OSError, match='the line went down'):
      jw2v.train(broken(), jw2v.TrainConfig(**TINY), progress=False)


class TestCallbacks:
  @pytest.mark.parametrize(
    ('place', 'error'),
    [
      ('callbacks', KeyboardInterrupt),
      ('callbacks', StopIteration),
      ('evaluate', ValueError),
      ('started', SystemExit),
    ],
  )
  def test_an_error_ends_the_run_and_its_threads(self, place, error):
    # piskvorky/gensim#1701: the interpreter hangs after an exception
    def fail(_):
      raise error('mine')

    options = {place: [fail] if place == 'callbacks' else fail}
    before = set(threading.enumerate())
    found = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by some shells
    try:
      with pytest.raises(error, match='mine'):
        fit(**options)
      assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
      signal.signal(signal.SIGINT, found)
    assert set(threading.enumerate()) <= before

  def test_a_callback_may_change_its_record(self):
    # tensorflow/tensorflow#37187: whether callbacks may write to the logs
    def spoil(record):
      record.clear()
      record['loss'] = 'mine'

    result = fit(callbacks=[spoil])
    assert all(isinstance(record['loss'], float) for record in result.history)
    assert result.history[-1]['words'] == 600

  @pytest.mark.parametrize(
    ('options', 'message'),
    [
      ({'callbacks': print}, r'callbacks must be a list of functions, got <built-in function prin'),
      ({'callbacks': 3}, r'callbacks must be a list of functions, got 3; use \[function\]'),
      ({'callbacks': [print, None]}, r'callbacks\[1\] must be a function, got None'),
      ({'evaluate': {'loss': 1}}, 'evaluate must be a function, got'),
      ({'started': 'now'}, "started must be a function, got 'now'"),
    ],
  )
  def test_what_cannot_be_called_is_found_before_the_run(self, options, message):
    with pytest.raises(TypeError, match=message):
      jw2v.train(None, **options)

  @pytest.mark.parametrize('name', ['loss', 'epoch', 'words', 'learning_rate', 'held_out_loss'])
  def test_scores_do_not_overwrite_the_record(self, name):
    # tensorflow/tensorflow#49500: metrics that are added under names of the logs
    with pytest.raises(ValueError, match=f"other than those of the record, got '{name}'; rename"):
      fit(evaluate=lambda _: {name: 9.0})

  def test_every_name_of_a_record_is_known(self):
    """Covers all names of a record with a run with held-out text."""
    record = fit({'held_out': 0.2}).history[-1]
    for name in record:
      with pytest.raises(ValueError, match='other than those of the record'):
        jw2v.training.history.check_scores({name: 1.0})

  @pytest.mark.parametrize(
    ('scores', 'message'),
    [
      (None, 'evaluate must return a dict of numbers, got None'),
      (0.5, 'evaluate must return a dict of numbers, got 0.5'),
      ({'mine': 'high'}, "evaluate must return numbers, got mine='high'"),
      ({'mine': [1.0]}, r'evaluate must return numbers, got mine=\[1\.0\]'),
      ({1: 2.0}, 'whose keys are strings, got the key 1'),
    ],
  )
  def test_scores_of_another_kind(self, scores, message):
    with pytest.raises(TypeError, match=message):
      jw2v.training.history.check_scores(scores)

  def test_scores_of_any_number(self):
    scores = {'a': np.float32(2), 'b': jnp.float32(2), 'c': 2, 'd': np.array(2.0)}
    assert fit(evaluate=lambda _: scores).history[-1]['d'] == 2.0
    checked = jw2v.training.history.check_scores(scores)
    assert {type(x) for x in checked.values()} == {float}

  def test_a_score_that_is_not_finite_is_null_in_the_metrics(self, tmp_path):
    """Writes null for NaN, which `JSON.parse` rejects and a list of unknown words produces."""
    # chainer/chainerui#16 and netket/netket#441: logs that are not valid JSON
    scores = {'mine': float('nan'), 'other': np.inf}
    result = fit(evaluate=lambda _: scores, workdir=tmp_path / 'run')

    def refuse(name):
      raise ValueError(name)

    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    records = [json.loads(line, parse_constant=refuse) for line in lines]
    assert len(records) == len(result.history)
    assert records[-1]['mine'] is None and records[-1]['other'] is None
    assert records[-1]['loss'] == result.history[-1]['loss']
    assert np.isnan(result.history[-1]['mine'])


class TestStreams:
  """Programs without a console, or with their own."""

  @pytest.mark.parametrize('stream', [None, io.StringIO(), type('Log', (), {'write': print})()])
  def test_a_run_shows_its_progress_or_not(self, monkeypatch, capsys, stream):
    # tqdm/tqdm#1523 and pyinstaller/pyinstaller#7688: stderr is None; pyinstaller#1883: no isatty
    monkeypatch.setattr(sys, 'stderr', stream)
    assert not progress_bar.shows_bars()
    result = jw2v.train(SENTENCES, jw2v.TrainConfig(**TINY))
    assert len(result.vectors) == 4

  def test_lines_do_not_go_to_standard_output(self, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'stderr', None)
    clock = iter(range(0, 1000, 100))
    monkeypatch.setattr(progress_bar.time, 'monotonic', lambda: next(clock))
    bar = progress_bar.progress_bar(10, ' words', 'training')
    bar.update(5)
    assert capsys.readouterr().out == ''


def digest_of(vectors):
  return hashlib.sha256(vectors.tobytes()).hexdigest()


PROGRAM = """
import hashlib, multiprocessing, os, sys
import jw2v
from tests.complaints.test_hosts import fit, digest_of
def work(_=None):
  return digest_of(fit().vectors.vectors)
"""


def run(tmp_path, code, *flags, env=(), drop=(), **options):
  """Runs a program that trains and returns its output; `work` returns a digest of vectors."""
  root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
  (tmp_path / 'program.py').write_text(PROGRAM + code)
  environment = {**os.environ, 'PYTHONPATH': f'{root}:{root}/tests', **dict(env)}
  done = subprocess.run(
    [sys.executable, *flags, str(tmp_path / 'program.py')],
    env={name: x for name, x in environment.items() if name not in drop},
    capture_output=True, text=True, timeout=100, **options,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return done.stdout


@functools.cache
def digest_of_a_plain_program():
  with tempfile.TemporaryDirectory() as folder:
    return run(pathlib.Path(folder), 'print(work())').strip()


@pytest.mark.slow
class TestPrograms:
  @pytest.fixture
  def digest(self):
    return digest_of_a_plain_program()

  @pytest.mark.parametrize(
    ('flags', 'env'),
    [
      ((), {'PYTHONHASHSEED': '7'}),
      (('-OO',), {}),
      (('-W', 'error'), {}),
      (('-X', 'utf8=0'), {'LC_ALL': 'C', 'TZ': 'Pacific/Kiritimati', 'TERM': 'dumb'}),
      ((), {'HOME': '/nonexistent', 'TMPDIR': '/nonexistent', 'OMP_NUM_THREADS': '1'}),
    ],
    ids=['hash seed', 'without asserts', 'warnings are errors', 'locale', 'no home'],
  )
  def test_same_bits_in_any_environment(self, tmp_path, digest, flags, env):
    # piskvorky/gensim#662 and #2859: PYTHONHASHSEED; opendp/opendp#1930: -O
    assert run(tmp_path, 'print(work())', *flags, env=env).strip() == digest

  def test_no_environment_and_no_working_directory(self, tmp_path, digest):
    code = (
      'import tempfile\nos.chdir(folder := tempfile.mkdtemp()); os.rmdir(folder); print(work())'
    )
    assert run(tmp_path, code, drop=('HOME', 'USER', 'LANG')).strip() == digest

  @pytest.mark.parametrize('stream', [0, 1, 2])
  def test_closed_streams(self, tmp_path, stream):
    path = tmp_path / 'digest'
    code = f"os.close({stream})\nopen({str(path)!r}, 'w').write(work())"
    run(tmp_path, code)
    assert len(path.read_text()) == 64

  @pytest.mark.parametrize('method', ['spawn', 'forkserver'])
  def test_processes(self, tmp_path, digest, method):
    # Smithsonian/layup#336: fork after JAX ran hangs; spawn and forkserver do not
    code = f"""
if __name__ == '__main__':
  work()
  with multiprocessing.get_context({method!r}).Pool(2) as pool:
    print(*pool.map(work, [1, 2]))
"""
    assert run(tmp_path, code).split() == 2 * [digest]

  def test_fork_after_jax_has_started_raises_instead_of_waiting(self, tmp_path):
    # jax: "os.fork() is incompatible with multithreaded code"; AarhusCosmology/prospect_public#10
    code = """
work()
with multiprocessing.get_context('fork').Pool(1) as pool:
  try:
    pool.map(work, [1])
  except RuntimeError as error:
    print(error)
"""
    assert "multiprocessing.get_context('spawn') or 'forkserver'" in run(tmp_path, code)

  def test_fork_before_jax_has_started(self, tmp_path, digest):
    code = """
with multiprocessing.get_context('fork').Pool(2) as pool:
  print(*pool.map(work, [1, 2]))
"""
    assert run(tmp_path, code).split() == 2 * [digest]

  def test_arguments_are_checked_without_asserts(self, tmp_path):
    # google-deepmind/torax#2132: validation by assert
    code = """
import numpy as np
ones = np.ones(3, np.float32)
for args in [(ones, np.ones(4, np.float32), ones[None]), (ones.astype(int), ones, ones[None])]:
  try:
    jw2v.negative_sampling_loss(*args)
  except AssertionError as error:
    print('refused')
"""
    assert run(tmp_path, code, '-OO').split() == ['refused', 'refused']


def test_a_forked_process_is_noted(monkeypatch):
  """Simulates a fork, without forking the tests."""
  monkeypatch.setattr(backend, '_FORKED', [])
  jnp.zeros(1)
  backend.check_not_forked()
  backend._note_fork()
  with pytest.raises(RuntimeError, match=r"train must run in .*get_context\('spawn'\)"):
    fit()
  with contextlib.suppress(RuntimeError):
    backend.check_not_forked()
    pytest.fail('not noted')
