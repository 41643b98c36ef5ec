"""The launcher on its way: what it writes, Ctrl-C, going on, and what it refuses to go on from."""

import fcntl
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from corpora import two_topics
from ml_collections import ConfigDict
from programs import QUICK, ROOT, train

import jw2v
from experiments import report, sweep
from experiments.overview import describe

WHOLE = [*QUICK, '--config.held_out=0.1', '--config.batch_size=64']
PAIRS = 'sea1\tsea2\t9\nsea1\tland1\t1\nsea3\tland2\t2\n'


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  folder = tmp_path_factory.mktemp('text')
  (folder / 'text.txt').write_text('\n'.join(' '.join(line) for line in two_topics()))
  (folder / 'pairs.tsv').write_text(PAIRS)
  return folder / 'text.txt'


@pytest.fixture(scope='module')
def finished(tmp_path_factory, text):
  """A whole run, with held-out loss and scores."""
  folder = tmp_path_factory.mktemp('finished') / 'run'
  done = train(folder, f'--config.data.path={text}', *WHOLE,
               f'--config.evaluation=("{text.parent}/pairs.tsv",)')  # fmt: skip
  assert done.returncode == 0, done.stderr
  return folder, done


def events_of(folder):
  """The scalars that TensorBoard reads from the events of a folder: (step, value) by tag."""
  accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
  events = accumulator.EventAccumulator(str(folder))
  events.Reload()
  return {
    tag: [(event.step, event.value) for event in events.Scalars(tag)]
    for tag in events.Tags()['scalars']
  }


def records_of(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


class TestWhatIsTold:
  def test_the_table_is_of_the_settings_that_train(self, text, monkeypatch):
    """Those of the device: an accelerator takes larger steps."""
    monkeypatch.setattr(jw2v.TrainConfig, 'on', lambda self, _: self.replace(batch_size=64))
    seen, corpus = [], jw2v.encode_corpus(two_topics(), min_count=1)
    config = jw2v.TrainConfig(dim=4, epochs=1, min_count=1, devices=4, layout='data')
    jw2v.train(corpus, config, progress=False, started=seen.append)
    table = describe(ConfigDict({'data': {'path': str(text)}}), corpus, seen[0])
    assert ' 64 windows a step' in table and 'data, 4 devices' in table

  def test_table(self, finished):
    _, done = finished
    rows = dict(line.split('  ', 1) for line in done.stdout.splitlines()[:7])
    assert {'text', 'vocabulary', 'model', 'training', 'device', 'memory', 'time'} == {*rows}
    assert re.search(r'text\.txt \(1 file\): [\d,]+ words', rows['text'])
    assert re.search(r'[\d,]+ MB at most, predicted', rows['memory'])
    assert re.search(r'\d+ s, predicted', rows['time'])

  def test_metrics(self, finished):
    folder, _ = finished
    records = records_of(folder)
    assert len(records) >= 20 and records[-1]['epoch'] == pytest.approx(2)
    steps = [record['step'] for record in records]
    assert steps == sorted(set(steps))
    for record in records:
      assert {'loss', 'learning_rate', 'words_per_second', 'gradient_norm', 'center_norm',
              'outside_norm'} <= {*record}  # fmt: skip
    assert report.scores_of(records) == ['pairs']
    ends = [record for record in records if 'held_out_loss' in record]
    assert len(ends) == 2 and all(-1 <= record['pairs'] <= 1 for record in ends)

  def test_tensorboard_reads_the_same(self, finished):
    folder, _ = finished
    events, records = events_of(folder / 'tensorboard'), records_of(folder)
    for name, tag in {**report._TAGS, 'pairs': 'scores/pairs'}.items():
      expected = [(record['step'], record[name]) for record in records if name in record]
      found = events.pop(tag)
      assert [step for step, _ in found] == [step for step, _ in expected]
      np.testing.assert_allclose([x for _, x in found], [x for _, x in expected], rtol=1e-5)
    assert not events

  def test_picture(self, finished):
    folder, _ = finished
    assert (folder / 'loss.png').read_bytes().startswith(b'\x89PNG')

  def test_quiet(self, tmp_path, text):
    done = train(tmp_path / 'run', f'--config.data.path={text}', *QUICK, '--quiet',
                 '--config.show=()')  # fmt: skip
    assert done.returncode == 0 and not done.stderr
    assert len(done.stdout.splitlines()) == 1


class TestGoesOn:
  LONG = ('--config.dim=8', '--config.min_count=1', '--config.sample=0', '--config.epochs=2000',
          '--config.batch_size=64', '--config.show=()')  # fmt: skip

  def start(self, folder, text):
    command = [sys.executable, '-m', 'experiments.train', '--config=configs/quickstart.py']
    return subprocess.Popen(
      [*command, f'--workdir={folder}', f'--config.data.path={text}', *self.LONG],
      cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

  def wait_for_records(self, folder, process, count):
    deadline = time.monotonic() + 120
    path = folder / 'metrics.jsonl'
    while process.poll() is None and time.monotonic() < deadline:
      if path.exists() and path.read_text().count('\n') >= count:
        return
      time.sleep(0.02)
    pytest.fail(f'no records: {process.communicate()}')

  @pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
  def test_from_where_a_signal_stopped_it(self, tmp_path, text, number):
    folder = tmp_path / 'run'
    process = self.start(folder, text)
    self.wait_for_records(folder, process, 30)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert 'the same command goes on from there' in out and 'writing a checkpoint' in err
    assert 'Traceback' not in err and not (folder / 'vectors.txt').exists()
    step = int(re.search(r'stopped after step (\d+)', out)[1])
    before = records_of(folder)
    process = self.start(folder, text)
    self.wait_for_records(folder, process, len(before) + 10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert f'goes on     from step {step:,}' in out, (out, err)
    assert records_of(folder)[: len(before)] == before
    steps = [record['step'] for record in records_of(folder)]
    assert steps == sorted(set(steps))

  def test_a_finished_run_gives_its_results_again(self, tmp_path, text, finished):
    folder = shutil.copytree(finished[0], tmp_path / 'run')
    vectors = (folder / 'vectors.txt').read_bytes()
    (folder / 'vectors.txt').unlink()
    arguments = (f'--config.data.path={text}', *WHOLE,
                 f'--config.evaluation=("{text.parent}/pairs.tsv",)')  # fmt: skip
    done = train(folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert (folder / 'vectors.txt').read_bytes() == vectors
    assert records_of(folder) == records_of(finished[0])

  def test_other_settings_are_refused_and_restart_begins_anew(self, tmp_path, text, finished):
    folder = shutil.copytree(finished[0], tmp_path / 'run')
    arguments = (f'--config.data.path={text}', *WHOLE, '--config.seed=5')
    vectors = (folder / 'vectors.txt').read_bytes()
    done = train(folder, *arguments)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'config.seed=5: the checkpoint' in done.stderr and 'a run with 0' in done.stderr
    assert (folder / 'vectors.txt').read_bytes() == vectors
    done = train(folder, *arguments, '--restart')
    assert done.returncode == 0, done.stderr
    assert (folder / 'vectors.txt').read_bytes() != vectors

  @pytest.mark.parametrize('setting', [
    'checkpoints.every=-1.0', 'window=0', 'initial=text.txt', 'dim=900000000'
  ])  # fmt: skip
  def test_a_restart_that_is_refused_destroys_nothing(self, tmp_path, text, finished, setting):
    folder = shutil.copytree(finished[0], tmp_path / 'run')
    files = lambda: {p: p.stat().st_size for p in folder.rglob('*') if p.is_file()}
    before = files()
    done = train(folder, f'--config.data.path={text}', *WHOLE, '--restart', f'--config.{setting}')
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr
    assert files() == before

  def test_no_checkpoints_where_there_are_some(self, tmp_path, text, finished):
    folder = shutil.copytree(finished[0], tmp_path / 'run')
    done = train(folder, f'--config.data.path={text}', *QUICK, '--config.checkpoints.keep=0')
    assert done.returncode == 1 and 'has those of another run' in done.stderr

  def test_a_workdir_of_no_name_and_a_config_that_is_not_there(self, text):
    done = train('', f'--config.data.path={text}', *QUICK)
    assert done.returncode == 1 and 'workdir is empty' in done.stderr

  def test_a_damaged_checkpoint_is_refused(self, tmp_path, text, finished):
    folder = shutil.copytree(finished[0], tmp_path / 'run')
    for path in (folder / 'checkpoints').rglob('*'):
      if path.is_file() and path.name != 'vocabulary.txt':
        path.write_bytes(b'')
    done = train(folder, f'--config.data.path={text}', *WHOLE)
    assert done.returncode == 1 and 'a damaged checkpoint' in done.stderr
    assert 'Traceback' not in done.stderr and (folder / 'vectors.txt').exists()

  def test_a_second_run_in_the_same_workdir_is_refused(self, tmp_path, text):
    folder = tmp_path / 'run'
    process = self.start(folder, text)
    try:
      self.wait_for_records(folder, process, 1)
      done = train(folder, f'--config.data.path={text}', *self.LONG)
      assert done.returncode == 1 and 'another run is at work there' in done.stderr
      assert process.poll() is None
    finally:
      process.kill()
      process.communicate()
    done = train(folder, f'--config.data.path={text}', *QUICK, '--restart')
    assert done.returncode == 0, done.stderr  # what was killed holds nothing

  @pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
  def test_a_workdir_that_cannot_be_written(self, tmp_path, text):
    (tmp_path / 'run').mkdir(mode=0o500)
    done = train(tmp_path / 'run', f'--config.data.path={text}', *QUICK)
    assert done.returncode == 1 and 'no permission' in done.stderr

  @pytest.mark.parametrize(('setting', 'message'), [
    ('window=0', 'window=0: must be'), ('dim=-3', 'dim=-3: must be'),
    ('sample=1.5', 'sample=1.5: must be'), ('checkpoints.every=-1.0', 'every=-1.0: must be'),
    ('checkpoints.evry=3', 'evry'), ('checkpoints.keep=-1', 'keep=-1: must be'),
    ('evaluation=("nothing.tsv",)', 'nothing.tsv'),
  ])  # fmt: skip
  def test_bad_settings(self, tmp_path, text, setting, message):
    done = train(tmp_path / 'run', f'--config.data.path={text}', *QUICK, f'--config.{setting}')
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
    assert {p.name for p in (tmp_path / 'run').glob('*')} <= {'corpus'}


class TestSweep:
  def test_grid(self):
    grid = sweep.read_grid(['dim=50,100', 'config.data.lowercase=True'])
    assert grid == {'dim': ['50', '100'], 'data.lowercase': ['True']}
    assert sweep.combinations({'a': ['1', '2'], 'b': ['3', '4']}) == [
      {'a': '1', 'b': '3'}, {'a': '1', 'b': '4'}, {'a': '2', 'b': '3'}, {'a': '2', 'b': '4'}
    ]  # fmt: skip
    assert sweep.combinations({}) == [{}]

  @pytest.mark.parametrize('wrong', [['dim'], ['dim='], ['=3'], ['dim=1', 'dim=2'], ['seed=1,2'],
                                     ['dim=1,1'], ['dim=1,']])  # fmt: skip
  def test_grid_that_is_none(self, wrong):
    with pytest.raises(ValueError, match='grid='):
      sweep.read_grid(wrong)

  def test_table(self):
    runs = [{'seed': 0, 'loss': 2.0, 'words_per_second': 1e6, 'men': 0.5},
            {'seed': 1, 'loss': 3.0, 'words_per_second': 2e6, 'men': 0.7}]  # fmt: skip
    results = [{'settings': {'dim': '8'}, 'runs': runs}, {'settings': {'dim': '9'}, 'runs': []}]
    lines = [
      [c.strip() for c in line.split('|')[1:-1]] for line in sweep.table(results).split('\n')
    ]
    assert lines[0] == ['dim', 'seeds', 'loss', 'words_per_second', 'men']
    assert lines[2][:3] == ['8', '2', '2.500 (2.000..3.000)']
    assert lines[2][4] == '0.600 (0.500..0.700)' and lines[3] == ['9', '0', '-', '-', '-']

  def test_program(self, tmp_path, text):
    """A value that cannot be trained is told; the rest is; and nothing is trained twice."""
    (tmp_path / 'mine.py').write_text(
      'from configs import quickstart\n\n\ndef get_config():\n'
      '  config = quickstart.get_config()\n'
      f'  config.data.path = {str(text)!r}\n'
      '  config.min_count, config.epochs, config.sample, config.show = 1, 1, 0.0, ()\n'
      '  return config\n'
    )
    command = [
      sys.executable, '-m', 'experiments.sweep', f'--config={tmp_path / "mine.py"}',
      f'--workdir={tmp_path / "sweep"}', '--grid=dim=0,8',
      f'--evaluation={text.parent / "pairs.tsv"}',
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and 'dim=0: must be an integer' in done.stderr
    assert (tmp_path / 'sweep' / 'sweep.md').read_text() == done.stdout
    results = json.loads((tmp_path / 'sweep' / 'sweep.json').read_text())
    assert [len(result['runs']) for result in results] == [0, 1]
    assert -1 <= results[1]['runs'][0]['pairs'] <= 1
    first = (tmp_path / 'sweep' / 'dim=8,seed=0' / 'checkpoints').stat().st_mtime_ns
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.stdout == done.stdout
    assert (tmp_path / 'sweep' / 'dim=8,seed=0' / 'checkpoints').stat().st_mtime_ns == first


class TestLossOfTheLastEpoch:
  def test_is_weighted_by_words(self):
    history = [
      {'words': 50, 'epoch': 0.5, 'loss': 9.0}, {'words': 100, 'epoch': 1.0, 'loss': 8.0},
      {'words': 130, 'epoch': 1.3, 'loss': 2.0}, {'words': 200, 'epoch': 2.0, 'loss': 1.0},
    ]  # fmt: skip
    assert report.loss_of_last_epoch(history) == pytest.approx((30 * 2 + 70 * 1) / 100)


class TestFullDisk:
  @pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a device of Linux')
  def test_of_the_events_is_an_error_and_no_endless_wait(self, tmp_path, monkeypatch):
    monkeypatch.setattr(report, '_FLUSH_EVERY', 0)
    written = report.Metrics(tmp_path, [])
    full = os.open('/dev/full', os.O_WRONLY)
    os.dup2(full, written._events._py_recordio_writer._writer.fileno())
    with pytest.raises(OSError, match=r"No space left on device: '.*tensorboard'"):
      written({'step': 1, 'loss': 2.0})
    with pytest.raises(OSError, match=r"No space left on device: '.*tensorboard'"):
      written.close()
    os.close(full)

  def test_of_the_records_leaves_no_half_of_a_line(self, tmp_path):
    """The system takes what there is room for, and only then says that there is none."""
    written, path = report.Metrics(tmp_path, []), tmp_path / 'metrics.jsonl'
    written({'step': 1, 'loss': 2.0})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 9, limits[1]))
    try:
      with pytest.raises(OSError, match=r"File too large: '.*metrics\.jsonl'"):
        written({'step': 2, 'loss': 1.0})
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'
    written({'step': 2, 'loss': 1.0})
    written.close()
    lines = path.read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 2]


class TestLock:
  def test_an_empty_workdir_is_removed_again(self, tmp_path):
    with jw2v.training.workdir.lock_workdir(tmp_path / 'a' / 'b'):
      assert (tmp_path / 'a' / 'b').is_dir()
      with pytest.raises(BlockingIOError, match='another run is at work there'):
        with jw2v.training.workdir.lock_workdir(tmp_path / 'a' / 'b'):
          pass
    assert not (tmp_path / 'a').exists()

  def test_a_lock_that_its_owner_removes_at_that_moment_is_no_lock(self, tmp_path, monkeypatch):
    """Or two runs would have one each: this one the removed file, the next one a new file."""
    flock, left = fcntl.flock, [1]

    def late(handle, operation):
      if left:
        left.pop()
        (tmp_path / '.lock').unlink()
      flock(handle, operation)

    monkeypatch.setattr(fcntl, 'flock', late)
    with jw2v.training.workdir.lock_workdir(tmp_path):
      with pytest.raises(BlockingIOError), jw2v.training.workdir.lock_workdir(tmp_path):
        pass


class TestInterrupt:
  @pytest.mark.parametrize('module', ['absl.app', 'experiments.train'])
  def test_while_the_program_is_loaded_there_is_no_traceback(self, tmp_path, module):
    """Ctrl-C as some module is imported: the process is gone by the signal, as any other's."""
    (tmp_path / 'sitecustomize.py').write_text(
      'import os, signal, sys\n\n\n'
      'signal.signal(signal.SIGINT, signal.default_int_handler)  # not so in the background\n\n\n'
      'class Finder:\n  def find_spec(self, name, *_):\n'
      f'    if name == {module!r}:\n      os.kill(os.getpid(), signal.SIGINT)\n\n\n'
      'sys.meta_path.insert(0, Finder())\n'
    )
    done = subprocess.run(
      [sys.executable, '-m', 'experiments.train', '--help'], cwd=ROOT, capture_output=True,
      text=True, env={**os.environ, 'PYTHONPATH': str(tmp_path)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, '', '')


def test_an_error_does_not_wait_for_threads_that_wait_for_minutes():
  program = (
    'import threading\n'
    'from experiments.cli import one_line_errors\n'
    "waits = type('Waits', (threading.Thread,), {'__module__': 'orbax.checkpoint'})\n"
    'with one_line_errors():\n'
    '  waits(target=threading.Event().wait).start()\n'
    "  raise OSError('the disk is full')\n"
  )
  done = subprocess.run(
    [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=False,
    timeout=60,
  )  # fmt: skip
  assert (done.returncode, done.stderr) == (1, 'error: the disk is full\n')
