"""Several processes on this machine: one run, one result, and a clear end if one fails."""

import json
import pathlib
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import jw2v
from jw2v.data.stream import Position, TextBlocks
from jw2v.distributed import agreement, processes, rows

SMALL = {'dim': 8, 'window': 3, 'min_count': 1, 'sample': 0.0, 'batch_size': 1024, 'epochs': 1}
PROGRAM = pathlib.Path(__file__).with_name('one_process.py')


@pytest.fixture(scope='module')
def store(tmp_path_factory):
  """Encodes a text of five chunks, so that the shares of processes differ."""
  rng = np.random.default_rng(0)
  lines = [[f'w{i}' for i in rng.zipf(1.3, 1000) % 300] for _ in range(280)]
  folder = tmp_path_factory.mktemp('text') / 'store'
  jw2v.encode_corpus(lines, folder, min_count=1)
  return folder


class Run:
  """Started processes of one run."""

  def __init__(self, number, store, out, settings, *, each=None, **options):
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      coordinator = f'127.0.0.1:{free.getsockname()[1]}'
    about = {'number': number, 'coordinator': coordinator, 'store': str(store), 'out': str(out),
             'settings': {**SMALL, **settings}, **options}  # fmt: skip
    self.processes = [
      subprocess.Popen(
        [sys.executable, PROGRAM, json.dumps({**about, 'index': i, **(each or {}).get(i, {})})],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      )
      for i in range(number)
    ]  # fmt: skip

  def ends(self, timeout=120):
    """Returns the exit status, the last line and the errors of each process."""
    found = []
    for process in self.processes:
      out, errors = process.communicate(timeout=timeout)
      found.append((process.returncode, (out.strip() or '-').splitlines()[-1], errors))
    return found


def fit(number, store, out, settings, **options):
  """Returns the vectors, which all processes share, and the report of the first process."""
  ends = Run(number, store, out, settings, **options).ends()
  assert [status for status, *_ in ends] == [0] * number, ends
  vectors = [np.load(f'{out}{i}.npy') for i in range(number)]
  for other in vectors[1:]:
    np.testing.assert_array_equal(other, vectors[0])
  return vectors[0], json.loads(ends[0][1])


@pytest.mark.parametrize(
  ('hosts', 'set_before', 'threads'),
  [
    (['a', 'a', 'b'], None, '4'),
    (['a', 'b', 'b'], None, '8'),
    (['a'] * 16, None, '1'),
    (['a', 'a', 'b'], '3', '3'),
  ],
)
def test_processes_share_the_cores_of_their_host(hosts, set_before, threads, monkeypatch):
  class Store:
    def key_value_set(self, key, value):
      assert (key, value) == ('jw2v/host/0', 'a')

    def blocking_key_value_get(self, key, milliseconds):
      assert 0 < milliseconds <= 60_000
      return hosts[int(key.removeprefix('jw2v/host/'))]

  monkeypatch.setattr(processes, 'client', Store)
  monkeypatch.setattr(processes, 'num_cores', lambda: 8)
  monkeypatch.setattr(processes, '_check_address', lambda *_: None)
  monkeypatch.setattr(processes.socket, 'gethostname', lambda: 'a')
  monkeypatch.setattr(processes.jax.distributed, 'initialize', lambda *_, **__: None)
  monkeypatch.setattr(processes.jax.config, 'update', lambda *_: None)
  monkeypatch.setenv('NPROC', set_before or '')
  if set_before is None:
    monkeypatch.delenv('NPROC')
  processes.start_processes('a:7700', len(hosts), 0)
  assert processes.os.environ['NPROC'] == threads


def test_dispatches_have_the_longest_lists_of_all_processes(store, monkeypatch):
  """Pads the lists of this process to longer lists of another process, and adapts the margin."""
  text = TextBlocks.of_corpus(
    jw2v.open_corpus(store), window=3, dynamic=False, block_size=4, shared_negatives=2, seed=0
  )
  attach = lambda blocks: rows.request_rows(blocks, (300, 300), owners=2, devices=1)
  text = text._replace(attach=attach)
  own = list(text.dispatches(range(1), steps=10, blocks_per_step=2000))
  theirs = [[5, 200, 1], [3, 1, 200]]

  def exchange(key, facts, closed=None):
    assert facts['lengths'] == [own[number].blocks.lengths]
    return [facts, facts | {'stream': 1, 'lengths': [theirs[number]], 'next': 1}]

  monkeypatch.setattr(agreement, 'num_processes', lambda: 2)
  monkeypatch.setattr(agreement, '_exchange', exchange)
  monkeypatch.setattr(agreement, '_AGREE_SECONDS', 0)  # one dispatch at a time
  dispatches = agreement.joint_dispatches(
    iter(own), None, 0, Position(), 1, lambda: (False, False), threading.Event()
  )
  for number in range(2):
    found = next(dispatches).blocks
    wanted = [max(pair) for pair in zip(own[number].blocks.lengths, theirs[number], strict=True)]
    assert found.lengths == wanted and 200 in wanted
    assert wanted[0] == max(3, theirs[number][0])


@pytest.mark.slow
class TestOneRun:
  def test_two_processes_take_the_steps_of_one(self, store, tmp_path):
    """Matches one process up to rounding, because both processes read the same text."""
    alone, told = fit(1, store, tmp_path / 'one', {})
    both, told_of_both = fit(2, store, tmp_path / 'two', {'layout': 'width'}, given=['initial'])
    np.testing.assert_allclose(both, alone, rtol=2e-3, atol=2e-5)
    assert told_of_both['words'] == told['words'] == 280_000


@pytest.mark.release
class TestOtherRuns:
  def test_shares_of_the_text(self, store, tmp_path):
    """Reads the same two shares with one device per process and with two."""
    one, told = fit(2, store, tmp_path / 'a', {'layout': 'data'})
    settings = {'layout': 'data_width', 'width_devices': 2}
    other, _ = fit(2, store, tmp_path / 'b', settings, devices=2)
    assert np.abs(one).max() > 0.05
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
    assert told['words'] == 280_000

  def test_four_processes_with_ngrams(self, store, tmp_path):
    """Accepts lists of rows whose lengths differ between processes."""
    settings = {'minn': 2, 'maxn': 3, 'bucket': 100, 'batch_size': 4096, 'layout': 'data'}
    vectors, told = fit(4, store, tmp_path / 'v', settings)
    assert told['words'] == 280_000 and np.isfinite(vectors).all()

  def test_owners_in_two_processes(self, store, tmp_path):
    """Fetches rows of the other process, also for n-grams and held-out text."""
    settings = {'minn': 2, 'maxn': 3, 'bucket': 100, 'held_out': 0.1}
    vectors, told = fit(2, store, tmp_path / 'rows', {**settings, 'layout': 'rows'})
    wanted, _ = fit(2, store, tmp_path / 'local', {**settings, 'layout': 'local'})
    assert told['words'] == 252_000 and np.abs(wanted).max() > 0.05
    np.testing.assert_allclose(vectors, wanted, rtol=2e-3, atol=1e-4)

  def test_held_out_text_is_the_same_for_all(self, store, tmp_path):
    """Splits steps of six blocks over two processes, and scores at the end of the epoch."""
    settings = {'layout': 'data', 'held_out': 0.1, 'batch_size': 96}
    vectors, told = fit(2, store, tmp_path / 'v', settings, given=['evaluate'])
    assert np.abs(vectors).max() > 0.05 and told['words'] == 252_000

  def test_process_0_may_take_its_time(self, store, tmp_path):
    """Waits longer than JAX would for the files that process 0 writes."""
    settings = {'layout': 'data'}
    _, told = fit(2, store, tmp_path / 'v', settings, late=8.0, shutdown=4)
    assert told['words'] == 280_000


class TestCheckpoints:
  @pytest.mark.parametrize(
    ('layout', 'kill_at'),
    [
      pytest.param('data', 150, marks=pytest.mark.release),
      pytest.param('local', 100, marks=pytest.mark.slow),
    ],
  )
  def test_goes_on_after_a_kill_to_the_same_bits_and_elsewhere(
    self, layout, kill_at, store, tmp_path
  ):
    """Ends soon if another process is killed; then both processes, or one alone, resume."""
    settings = {'layout': layout, 'steps_per_call': 16}
    wanted, _ = fit(2, store, tmp_path / 'wanted', settings)
    options = {'folder': str(tmp_path / 'checkpoints'), 'every': 0.0}
    run = Run(2, store, tmp_path / 'v', settings, each={1: {'kill_at': kill_at}}, **options)
    began = time.monotonic()
    (status, told, errors), killed = run.ends()
    assert killed[0] == -9
    assert status == 3 and told.startswith('ProcessLost: another of the 2 processes is gone'), (
      errors
    )
    assert time.monotonic() - began < 90
    steps = [int(p.name) for p in (tmp_path / 'checkpoints').iterdir() if p.name.isdigit()]
    assert steps and max(steps) > 0
    vectors, told = fit(1, store, tmp_path / 'alone', {'steps_per_call': 16}, **copied(options))
    assert told['words'] == 280_000 and np.abs(vectors).max() > 0.05
    found, _ = fit(2, store, tmp_path / 'again', settings, **options)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.release
class TestEndOfAStream:
  def test_a_stream_that_had_ended(self, store, tmp_path):
    """Resumes after a kill of the second process, which has read its two of the five chunks."""
    settings = {'layout': 'data', 'steps_per_call': 4}
    wanted, told = fit(2, store, tmp_path / 'wanted', settings)
    options = {'folder': str(tmp_path / 'checkpoints'), 'every': 0.0}
    each = {1: {'kill_at': 275}}
    assert Run(2, store, tmp_path / 'v', settings, each=each, **options).ends()[1][0] == -9
    found, told_again = fit(2, store, tmp_path / 'again', settings, **options)
    assert told_again['words'] == told['words'] == 280_000
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
class TestFolders:
  def test_folders_that_are_not_the_same(self, store, tmp_path):
    settings = {'layout': 'data'}
    fit(2, store, tmp_path / 'v', settings, folder=str(tmp_path / 'one'))
    each = {i: {'folder': str(tmp_path / name)} for i, name in enumerate(('one', 'two'))}
    ends = Run(2, store, tmp_path / 'v', settings, each=each).ends()
    assert [status for status, *_ in ends] == [3, 3], ends
    name = f'the position of the checkpoint in {tmp_path / "one"}'
    assert f'{name} must be the same in all processes' in ends[0][1]


def copied(options):
  """Returns the same options with a copy of the checkpoints."""
  import shutil

  folder = options['folder'] + '_copy'
  shutil.copytree(options['folder'], folder)
  return {**options, 'folder': folder}


class TestBadInput:
  @pytest.mark.slow
  def test_settings_that_differ_are_told_to_all(self, store, tmp_path):
    each = {1: {'settings': {**SMALL, 'window': 2}}}
    ends = Run(2, store, tmp_path / 'v', {}, each=each).ends()
    assert [status for status, *_ in ends] == [3, 3]
    message = 'ValueError: window must be the same in all processes, got {} in process {} and {} '
    message += 'in process {}'
    assert ends[0][1] == message.format(3, 0, 2, 1)
    assert ends[1][1] == message.format(2, 1, 3, 0)

  @pytest.mark.slow
  def test_what_is_given_to_one_alone(self, store, tmp_path):
    each = {0: {'given': ['evaluate']}}
    ends = Run(2, store, tmp_path / 'v', {'layout': 'width'}, each=each).ends()
    assert [status for status, *_ in ends] == [3, 3]
    assert ends[0][1] == (
      "ValueError: evaluate must be the same in all processes, got 'given' in process 0 and 'none' "
      'in process 1'
    )

  @pytest.mark.slow
  def test_another_text_of_the_same_words(self, store, tmp_path):
    corpus = jw2v.open_corpus(store)
    words = [corpus.vocabulary.words[i] for i in corpus.ids[::-1]]
    lines = [words[i : i + 1000] for i in range(0, len(words), 1000)]
    jw2v.encode_corpus(lines, tmp_path / 'other', min_count=1)
    each = {1: {'store': str(tmp_path / 'other')}}
    ends = Run(2, store, tmp_path / 'v', {}, each=each).ends()
    assert [status for status, *_ in ends] == [3, 3]
    assert ends[0][1].startswith('ValueError: text must be the same in all'), ends

  @pytest.mark.slow
  def test_sigterm_ends_a_process(self, store, tmp_path):
    run = Run(2, store, tmp_path / 'v', {'layout': 'data', 'epochs': 500})
    assert any('step' in line for line in iter(run.processes[0].stdout.readline, '')), run.ends()
    began = time.monotonic()
    for process in run.processes:
      process.terminate()
    assert all(status != 0 for status, *_ in run.ends())
    assert time.monotonic() - began < 30

  @pytest.mark.slow
  def test_a_coordinator_that_is_not_there(self, store, tmp_path):
    began = time.monotonic()
    run = Run(2, store, tmp_path / 'v', {}, timeout=3)
    run.processes[0].kill()
    status, told, _ = run.ends()[1]
    assert status == 3 and 'does not answer within 3 seconds' in told
    assert time.monotonic() - began < 60

  @pytest.mark.slow
  def test_processes_that_do_not_come(self, store, tmp_path):
    began = time.monotonic()
    run = Run(2, store, tmp_path / 'v', {}, timeout=3)
    run.processes[1].kill()
    status, told, errors = run.ends()[0]
    assert status != 0 and time.monotonic() - began < 60
    assert 'not all of 2 processes' in told or 'DEADLINE_EXCEEDED' in errors

  @pytest.mark.parametrize(
    ('arguments', 'message'),
    [
      (('localhost', 2, 0), "coordinator must be 'host:port'"),
      (('localhost:x', 2, 0), "must be 'host:port'"),
      (('localhost:70000', 2, 0), 'a port from 1 to 65535'),
      (('localhost:7700', 0, 0), 'processes must be at least 1, got 0'),
      (('localhost:7700', 2, 2), 'process must be from 0 to 1, got 2'),
      (('localhost:7700', 2, -1), 'process must be from 0 to 1, got -1'),
      (('localhost:7700', 2, 0, 0.5), 'timeout must be at least 1 second, got 0.5'),
    ],
  )
  def test_arguments_out_of_range(self, arguments, message):
    with pytest.raises(ValueError, match=message):
      processes.start_processes(*arguments)

  def test_an_address_that_is_taken(self):
    with socket.socket() as taken:
      taken.bind(('', 0))
      taken.listen()
      address = f'localhost:{taken.getsockname()[1]}'
      with pytest.raises(OSError, match='cannot listen at this address'):
        processes.start_processes(address, 2, 0)


class TestAlone:
  """Runs of one process, which do not communicate."""

  def test_calls_pass_through(self):
    blocks = blocks_of(np.arange(100, dtype=np.int32) % 10)
    calls = list(blocks.dispatches(range(1), steps=2, blocks_per_step=2))
    joint = agreement.joint_dispatches(iter(calls), None, 0, Position(), 1, None, threading.Event())
    for one, other in zip(calls, joint, strict=True):
      assert other.blocks is one.blocks and other.ends == (one.end,) and other.save is None

  def test_work_is_done_once(self):
    made = []
    assert agreement.first_then_others(lambda: made.append(1) or 'done', 'test') == 'done'
    assert made == [1]


def blocks_of(ids, shard=(0, 1)):
  noise = jw2v.data.sampling.alias_table(np.ones(10))
  return TextBlocks(
    ids, np.array([len(ids)]), np.ones(10, np.float32), noise, window=2, dynamic=False,
    block_size=4, shared_negatives=3, seed=0, first=0, end=len(ids), shard=shard,
  )  # fmt: skip


class TestResume:
  """Streams that continue others, in a text of five chunks, the last of which is short."""

  ids = np.arange(4 * 65_536 + 1000, dtype=np.int32) % 10

  def test_as_many_streams_as_before(self):
    ends = (Position(0, 1, 7, 65_536), Position(0, 0, 9, 0))
    assert [blocks_of(self.ids, (i, 2)).resume(ends) for i in range(2)] == list(ends)

  def test_from_two_to_one(self):
    """Resumes at chunk 3 after one stream read 0, 2 and a part of 4, and the other read 1."""
    ends = (Position(0, 2, 7, 2 * 65_536), Position(0, 1, 0, 65_536))
    assert blocks_of(self.ids).resume(ends) == Position(0, 3, 0, 3 * 65_536)

  def test_from_one_to_two_in_the_second_epoch(self):
    """Continues with chunk 4 in the first stream and with chunk 3 in the second."""
    ends = (Position(1, 3, 0, 0),)
    first, second = (blocks_of(self.ids, (i, 2)).resume(ends) for i in range(2))
    assert first == Position(1, 2, 0, 2 * 65_536 + 1000 + 2 * 65_536)
    assert second == Position(1, 1, 0, 2 * 65_536 + 65_536)


@pytest.mark.slow
class TestProgram:
  """`experiments.train` in two processes."""

  def start(self, tmp_path, port, *more):
    text = tmp_path / 'text'
    if not text.exists():
      rng = np.random.default_rng(0)
      words = rng.zipf(1.3, (7000, 20)) % 50
      text.write_text('\n'.join(' '.join(f'w{i}' for i in line) for line in words))
    return [
      subprocess.Popen(
        [
          sys.executable, '-m', 'experiments.train', '--config=configs/multihost.py',
          f'--workdir={tmp_path / "run"}', f'--coordinator=localhost:{port}', '--processes=2',
          f'--process={i}', f'--config.data.path={text}', '--config.epochs=1', '--config.dim=8',
          '--config.sample=0', "--config.show=('w1',)", *more,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROGRAM.parents[2],
      )
      for i in range(2)
    ]  # fmt: skip

  def test_the_first_writes_and_tells(self, tmp_path):
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      port = free.getsockname()[1]
    ends = [(*p.communicate(timeout=120), p.returncode) for p in self.start(tmp_path, port)]
    assert [code for *_, code in ends] == [0, 0], ends
    assert '140,000 words in 1 epoch' in ends[0][0] and 'w1: ' in ends[0][0]
    assert 'data, 2 devices of 2 processes' in ends[0][0]
    assert '140,000' not in ends[1][0]
    vectors = jw2v.load_vectors(tmp_path / 'run' / 'vectors.txt')
    assert len(vectors) == 50 and len((tmp_path / 'run' / 'metrics.jsonl').read_text()) > 0

  def test_a_number_without_a_coordinator(self, tmp_path):
    command = [
      sys.executable, '-m', 'experiments.train', '--config=configs/multihost.py',
      f'--workdir={tmp_path / "run"}', '--processes=2',
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROGRAM.parents[2])
    assert done.returncode == 1 and 'needs --coordinator=HOST:PORT' in done.stderr
    assert not (tmp_path / 'run').exists()
