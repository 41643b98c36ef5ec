"""Launcher, run as a user runs it: results, errors, interrupts and resumes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from corpora import two_topics
from programs import QUICK, ROOT, run, train

import jw2v
from jw2v.cli import report
from jw2v.cli.tensorboard import TAGS
from jw2v.cli.train import train as train_in_process

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
  """Returns the folder and output of a complete run, with held-out loss and scores."""
  folder = tmp_path_factory.mktemp('finished') / 'run'
  done = train(folder, f'--config.data.path={text}', *WHOLE,
               f'--config.evaluation=("{text.parent}/pairs.tsv",)')  # fmt: skip
  assert done.returncode == 0, done.stderr
  return folder, done


def events_of(folder):
  """Returns the scalars that TensorBoard reads from a folder: (step, value) by tag."""
  accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
  events = accumulator.EventAccumulator(str(folder))
  events.Reload()
  return {
    tag: [(event.step, event.value) for event in events.Scalars(tag)]
    for tag in events.Tags()['scalars']
  }


def records_of(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


class TestTrain:
  @pytest.mark.slow
  def test_quickstart_on_its_own_corpus(self, tmp_path):
    """Trains on two million words for one epoch instead of 15, at a smaller width."""
    done = train(tmp_path / 'run', '--config.epochs=1', '--config.dim=32')
    assert done.returncode == 0, done.stderr
    assert '249 files' in done.stdout and 'words/s' in done.stdout
    neighbors = [line for line in done.stdout.splitlines() if line.lstrip().startswith('war:')]
    assert len(neighbors) == 1 and neighbors[0].count(',') == 6
    kv = jw2v.load_vectors(tmp_path / 'run' / 'vectors.txt')
    assert len(kv) > 8000 and kv.vector_size == 32
    assert {p.name for p in (tmp_path / 'run').iterdir()} == {
      'checkpoints', 'config.json', 'corpus', 'loss.png', 'metrics.jsonl', 'tensorboard',
      'vectors.txt', 'words.png',
    }  # fmt: skip
    assert kv.similarity('gold', 'silver') > kv.similarity('gold', 'children')

  @pytest.mark.slow
  def test_any_text_file_and_any_setting(self, tmp_path, text):
    done = train(
      tmp_path / 'run',
      f'--config.data.path={text}',
      *QUICK,
      '--config.show=("sea1", "no such word")',
    )
    assert done.returncode == 0, done.stderr
    assert 'sea1: ' in done.stdout and 'no such word' not in done.stdout
    kv = jw2v.load_vectors(tmp_path / 'run' / 'vectors.txt')
    assert (len(kv), kv.vector_size) == (14, 8) and np.isfinite(kv.vectors).all()
    saved = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert saved['dim'] == 8 and saved['epochs'] == 2 and saved['data']['path'] == str(text)

  @pytest.mark.slow
  def test_help_says_how_to_use_it(self):
    done = run('experiments.train', '--help')
    assert '--config=configs/quickstart.py --workdir=runs/quickstart' in done.stdout
    assert '--workdir' in done.stdout and 'Folder for the results' in done.stdout

  @pytest.mark.slow
  @pytest.mark.parametrize(
    ('arguments', 'message'),
    [
      (['--config.data.path=nothing.txt'], 'nothing.txt: file or folder not found'),
      (['--config.data.path=EMPTY'], 'empty.txt: no words found'),
      (['--config.data.path=LATIN'], 'latin.txt: not UTF-8 at byte 3 (0xe9)'),
      (['--config.data.path=TEXT', '--config.min_count=9999'], 'no word occurs min_count=9999'),
      (
        ['--config.data.path=TEXT', '--config.windw=3'],
        "no setting 'windw'; write --config.window=VALUE",
      ),
      (['--config.data.path=TEXT', '--config.dim=wide'], 'dim'),
      (
        ['--config.data.path=TEXT', '--config.dim=0'],
        'dim must be an integer of at least 1, got 0',
      ),
      (['--config.data.path=TEXT', '--config.optimizer=lion'], 'optimizer must be one of'),
      (
        ['--config.data.path=TEXT', '--config.data.word_pattern=('],
        "word_pattern must be a regular expression, got '('",
      ),
      (
        ['--config.data.path=TEXT', '--config.data.word_pattern=x*'],
        'must not match the empty word',
      ),
      (
        [*QUICK, '--config.data.path=TEXT', '--config.data.word_pattern=[a-z0-9]+ [a-z0-9]+'],
        'represent the word',
      ),
      (['--config.data.path='], 'the path of the text must not be empty'),
      (['dim=200'], "'dim=200' is not a flag"),
    ],
  )
  def test_bad_input_is_one_clear_line(self, tmp_path, text, arguments, message):
    (tmp_path / 'empty.txt').touch()
    (tmp_path / 'latin.txt').write_bytes(b'caf\xe9')
    for name, path in (('EMPTY', 'empty.txt'), ('LATIN', 'latin.txt')):
      arguments = [a.replace(name, str(tmp_path / path)) for a in arguments]
    arguments = [a.replace('TEXT', str(text)) for a in arguments]
    done = train(tmp_path / 'run', *arguments)
    assert done.returncode != 0
    assert message in done.stderr and 'Traceback' not in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2  # absl adds where to find help
    # Text that was encoded before is kept for the next run; no other files exist.
    assert {p.name for p in (tmp_path / 'run').glob('*')} <= {'corpus'}

  @pytest.mark.slow
  def test_workdir_that_is_a_file(self, tmp_path, text):
    (tmp_path / 'file').write_text('mine')
    done = train(tmp_path / 'file', f'--config.data.path={text}', *QUICK)
    assert done.returncode != 0 and 'is a file' in done.stderr
    assert (tmp_path / 'file').read_text() == 'mine'

  @pytest.mark.slow
  @pytest.mark.parametrize(
    ('content', 'message'),
    [
      ('windw = 3', "unknown setting config.windw; did you mean 'window'?"),
      ('data.pth = "x"', "unknown setting config.data.pth; did you mean 'path'?"),
      ('= 3', 'the config file cannot be used: '),
    ],
  )
  def test_config_file_with_a_mistake(self, tmp_path, content, message):
    (tmp_path / 'mine.py').write_text(
      'from configs import quickstart\n\n\ndef get_config():\n'
      f'  config = quickstart.get_config()\n  config.{content}\n  return config\n'
    )
    done = run(
      'experiments.train', f'--config={tmp_path / "mine.py"}', f'--workdir={tmp_path / "run"}'
    )
    assert done.returncode != 0 and message in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr and not (tmp_path / 'run').exists()

  @pytest.mark.slow
  def test_groups_in_the_pattern_keep_the_whole_word(self, tmp_path, text):
    done = train(tmp_path / 'run', f'--config.data.path={text}', *QUICK,
                 '--config.data.word_pattern=(sea|land)(\\d)')  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'sea1' in jw2v.load_vectors(tmp_path / 'run' / 'vectors.txt')

  def test_config_with_the_data_alone(self, tmp_path, text, capsys):
    """Trains with the data alone; raises without data, before it writes any file."""
    small = {'dim': 8, 'min_count': 1, 'epochs': 1, 'sample': 0.0, 'checkpoints': {'keep': 0}}
    train_in_process({'data': {'path': str(text)}, **small}, tmp_path / 'run', quiet=True)
    assert '14 vectors of width 8' in capsys.readouterr().out
    assert (tmp_path / 'run' / 'words.png').exists()
    for data in ({}, {'data': {'walks': {}}}, {'data': str(text)}):
      with pytest.raises(ValueError, match=r'config.data.path is required'):
        train_in_process({**data, **small}, tmp_path / 'other')
    assert not (tmp_path / 'other').exists()

  @pytest.mark.slow
  def test_width_of_one(self, tmp_path, text):
    done = train(tmp_path / 'run', f'--config.data.path={text}', *QUICK, '--config.dim=1',
                 '--config.show=("sea1",)')  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run' / 'words.png').exists()

  @pytest.mark.slow
  def test_missing_config_file(self, tmp_path):
    done = run('experiments.train', '--config=configs/nothing.py', f'--workdir={tmp_path / "run"}')
    assert done.returncode != 0 and 'configs/nothing.py' in done.stderr
    assert 'Traceback' not in done.stderr, done.stderr


@pytest.mark.slow
class TestOutput:
  def test_table(self, finished):
    _, done = finished
    rows = dict(line.split('  ', 1) for line in done.stdout.splitlines()[:8])
    assert {*rows} == {
      'text', 'vocabulary', 'words', 'model', 'training', 'device', 'memory', 'time',
    }  # fmt: skip
    assert rows['words'].strip() == 'letters and digits, with apostrophes inside; lower case'
    assert re.search(r'text\.txt \(1 file\): [\d,]+ words', rows['text'])
    assert re.search(r'at most [\d,]+ MB \(predicted\)', rows['memory'])
    assert re.search(r'\d+ s \(predicted, with compilation\)', rows['time'])

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
    for name, tag in {**TAGS, 'pairs': 'scores/pairs'}.items():
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


@pytest.mark.slow
class TestResume:
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
    assert 'run the same command again to resume' in out and 'writing a checkpoint' in err
    assert 'Traceback' not in err and not (folder / 'vectors.txt').exists()
    step = int(re.search(r'stopped after step (\d+)', out)[1])
    before = records_of(folder)
    process = self.start(folder, text)
    self.wait_for_records(folder, process, len(before) + 10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert f'resumes     from step {step:,}' in out, (out, err)
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
    assert 'config.seed must be 0, as in the checkpoint' in done.stderr and 'got 5' in done.stderr
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
    assert done.returncode == 1 and 'has checkpoints of another run' in done.stderr

  def test_a_workdir_of_no_name_and_a_config_that_is_not_there(self, text):
    done = train('', f'--config.data.path={text}', *QUICK)
    assert done.returncode == 1 and 'workdir must not be empty' in done.stderr

  def test_a_damaged_checkpoint_is_refused(self, tmp_path, text, finished):
    folder = shutil.copytree(finished[0], tmp_path / 'run')
    for path in (folder / 'checkpoints').rglob('*'):
      if path.is_file() and path.name != 'vocabulary.txt':
        path.write_bytes(b'')
    done = train(folder, f'--config.data.path={text}', *WHOLE)
    assert done.returncode == 1 and 'corrupted checkpoint' in done.stderr
    assert 'Traceback' not in done.stderr and (folder / 'vectors.txt').exists()

  def test_a_second_run_in_the_same_workdir_is_refused(self, tmp_path, text):
    folder = tmp_path / 'run'
    process = self.start(folder, text)
    try:
      self.wait_for_records(folder, process, 1)
      done = train(folder, f'--config.data.path={text}', *self.LONG)
      assert done.returncode == 1 and 'is in use by another run' in done.stderr
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
    ('window=0', 'window must be'), ('dim=-3', 'dim must be'),
    ('sample=1.5', 'sample must be'), ('checkpoints.every=-1.0', 'every must be at least 0'),
    ('checkpoints.evry=3', 'evry'), ('checkpoints.keep=-1', 'keep must be'),
    ('evaluation=("nothing.tsv",)', 'nothing.tsv'),
  ])  # fmt: skip
  def test_bad_settings(self, tmp_path, text, setting, message):
    done = train(tmp_path / 'run', f'--config.data.path={text}', *QUICK, f'--config.{setting}')
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
    assert {p.name for p in (tmp_path / 'run').glob('*')} <= {'corpus'}
