"""Comparison with peers: its flags, tables and failures, and a run of it."""

import argparse
import importlib.util
import math
import pathlib
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from corpora import two_topics
from programs import ROOT, rows, write_data_sets
from programs import run as run_program

import jw2v
from benchmarks import quality, systems, training

QUICK = ['--threads=1', '--dim=8', '--epochs=2', '--min_count=1', '--sample=0', '--seeds=2',
         '--set=batch_size=32', '--set=steps_per_call=4']  # fmt: skip


def run(*arguments):
  return run_program('benchmarks.training', *arguments)


@pytest.fixture
def text(tmp_path):
  path = tmp_path / 'text.txt'
  path.write_text('\n'.join(' '.join(line) for line in two_topics()))
  return path


@pytest.fixture
def evaluation(tmp_path):
  folder = tmp_path / 'evaluation'
  folder.mkdir()
  return write_data_sets(folder)


class TestLines:
  @pytest.mark.parametrize(
    ('given', 'cut'),
    [
      ('a b c d e\nf\n\n g h \n', 'a b|c d|e|f|g h'),
      ('a b c', 'a b|c'),
      ('a\tb\r\nc\vd \fe', 'a b|c d|e'),
      ('a b c d ', 'a b|c d'),
      ('é\u00a0ü b\n', 'é\u00a0ü b'),
      ('', ''),
    ],
  )
  @pytest.mark.parametrize('read', [1, 2, 3, 1000])
  def test_long_lines_are_cut(self, tmp_path, monkeypatch, given, cut, read):
    """Cuts lines also where a read ends in the middle of a word."""
    monkeypatch.setattr(systems, '_READ', read)
    (tmp_path / 'text').write_bytes(given.encode())
    lines = systems.cut_lines(tmp_path / 'text', size=2)
    assert b'|'.join(b' '.join(line) for line in lines).decode() == cut


def result(words, seconds, total_seconds, score, **more):
  return {'words': words, 'seconds': seconds, 'total_seconds': total_seconds, 'peak': 5e8,
          'scores': {'MEN': (score, 10, 12)}, **more}  # fmt: skip


class TestTables:
  RUNS = {
    'jw2v': [
      result(6e6, 2, 3, 60.0, predicted=6e8),
      result(6e6, 1, 2, 61.0, predicted=6e8),
      result(6e6, 3, 4, 68.0, predicted=6e8),
    ],
    'fasttext': [result(6e6, 2, 2, 50.0), result(6e6, 6, 6, 50.0), result(6e6, 2, 2, 50.0)],
    'gensim': [result(6e6, seconds, 6, math.nan) for seconds in (4, 4, 3)],
  }

  def test_medians_means_and_ratios_by_seed(self):
    """Takes ratios by seed, 2, 4 and 1; the ratio of the medians would be 2.25."""
    by_quantity = rows(training.table(self.RUNS))
    assert by_quantity == {
      '': ['jw2v', 'fasttext', 'gensim'],
      'training, words/s': ['3,000,000 (2,000,000..6,000,000)',
                            '3,000,000 (1,000,000..3,000,000)', '1,500,000 (1,500,000..2,000,000)'],
      'end to end, words/s': ['2,000,000 (1,500,000..3,000,000)',
                              '3,000,000 (1,000,000..3,000,000)',
                              '1,000,000 (1,000,000..1,000,000)'],
      'training / gensim': ['2.00 (1.00..4.00)', '1.50 (0.67..2.00)', '1.00 (1.00..1.00)'],
      'end to end / gensim': ['2.00 (1.50..3.00)', '3.00 (1.00..3.00)', '1.00 (1.00..1.00)'],
      'peak MB': ['500 (500..500)'] * 3,
      'predicted MB': ['600 (600..600)', '-', '-'],
      'MEN': ['63.00 (60.00..68.00)', '50.00 (50.00..50.00)', '-'],
    }  # fmt: skip

  def test_many_systems_are_rows(self):
    runs = {name: self.RUNS['jw2v'][:1] for name in ('jw2v', 'dim=8', 'dim=9', 'dim=10')}
    by_system = rows(training.table(runs))
    assert by_system['dim=9'][:2] == ['3,000,000', '2,000,000']
    assert by_system[''][-1] == 'MEN'

  def test_mean_of_several_scores(self):
    scores = [
      {'MEN': (60.0, 1, 1), 'Google': (20.0, 1, 1)},
      {'MEN': (62.0, 1, 1), 'Google': (40.0, 1, 1)},
    ]
    runs = {'gensim': [{**result(6, 2, 3, 0.0), 'scores': each} for each in scores]}
    assert rows(training.table(runs))['mean of the scores'] == ['45.50 (40.00..51.00)']

  def test_first_peer_without_gensim(self):
    runs = {name: self.RUNS[name] for name in ('jw2v', 'fasttext')}
    assert rows(training.table(runs))['training / fasttext'][0] == '1.00 (0.67..6.00)'

  def test_no_ratio_without_a_peer(self):
    assert ' / ' not in training.table({'jw2v': self.RUNS['jw2v']})

  def test_fewer_seeds_of_one_that_failed(self):
    """Takes ratios over the seeds that both systems have: 2 and 4."""
    runs = {**self.RUNS, 'gensim': self.RUNS['gensim'][:2]}
    assert rows(training.table(runs))['training / gensim'][0] == '3.00 (2.00..4.00)'
    assert rows(training.table(runs))['training, words/s'][0].startswith('3,000,000')

  def test_notes_on_learning_rates(self):
    assert 'Learning rates are the defaults' in training._notes(self.RUNS, 2, False)
    notes = training._notes({**self.RUNS, 'word2vec': self.RUNS['gensim']}, 2, False, 0.05)
    assert 'The peers start at the learning rate 0.05 instead' in notes
    assert 'are the defaults' not in notes
    assert 'word2vec has no seed' in notes

  def test_notes_tell_that_lines_were_cut(self):
    assert 'read a copy with lines of 1,000 words' in training._notes(self.RUNS, 2, True)
    assert 'copy with lines' not in training._notes(self.RUNS, 2, False)


class TestPicture:
  def test_points_are_means_with_bars(self):
    """Omits the point of the third system, which has no defined score."""
    runs = {
      'gensim': [result(6e6, 4, 5, 40.0), result(6e6, 6, 7, 41.0)],
      'batch_size=64': [result(6e6, 1, 2, 42.0), result(6e6, 2, 3, 44.0), result(6e6, 2, 3, 44.5)],
      'fasttext': [result(6e6, 1, 2, math.nan)],
    }
    (axes,) = training.front_figure(runs).axes
    points = {bars.get_label(): bars.lines[0].get_xydata()[0].tolist() for bars in axes.containers}
    assert points == {'gensim': [1.25, 40.5], 'batch_size=64': [4, 43.5]}
    (dashed,) = [line for line in axes.lines if line.get_linestyle() == '--']
    assert set(dashed.get_ydata()) == {41}
    ends = [c.lines[2][axis].get_segments()[0] for c in axes.containers for axis in (0, 1)]
    expected = [[(1, 40.5), (1.5, 40.5)], [(1.25, 40), (1.25, 41)],
                [(3, 43.5), (6, 43.5)], [(4, 42), (4, 44.5)]]  # fmt: skip
    np.testing.assert_allclose(ends, expected)


def flags_of(**values):
  flags = {'systems': ['jw2v'], 'seeds': 1, 'threads': 1, 'output': None,
           'evaluation': None, 'set': [], 'variant': [], 'parts_only': False,
           'brief': False, 'peer_rate': None, 'baseline': None, 'plot': None,
           'bars': None}  # fmt: skip
  shared = dict.fromkeys(training._SHARED)
  return argparse.Namespace(**{**shared, **flags, 'objective': 'negative_sampling', **values})


class TestErrors:
  @pytest.mark.parametrize(
    ('arguments', 'message'),
    [
      (['--text=nothing.txt'], "text='nothing.txt': file not found"),
      (['--text=FOLDER'], ': is a folder'),
      (['--systems=jw2v,glove'], "'gensim', 'fasttext', 'word2vec'; got 'glove'"),
      (['--peer_rate=0'], 'peer_rate must be positive and finite, got 0.0'),
      (['--systems='], 'got []'),
      (['--seeds=0'], 'seeds must be at least 1, got 0'),
      (['--threads=0'], 'threads must be between 1 and '),
      (['--threads=100000'], 'threads must be between 1 and '),
      (['--evaluation=FOLDER'], 'file EN-WS-353-ALL.txt not found'),
      (['--output=FOLDER/no/page.md'], 'not found'),
      (['--output=FOLDER'], ': is a folder'),
      (['--plot=FOLDER/no/front.png'], "front.png': folder"),
      (['--plot=front.pdf'], "plot='front.pdf': the file name must end in .png or .svg"),
      (['--bars=bars.pdf'], "bars='bars.pdf': the file name must end in .png or .svg"),
      (['--plot=front.png'], 'plot needs scores; use --evaluation=FOLDER'),
      (['--baseline=FOLDER'], ': package jw2v not found in this folder'),
    ],
  )
  def test_bad_flag_is_refused_before_anything_runs(self, text, tmp_path, arguments, message):
    given = {'text': str(text)}
    for argument in arguments:
      name, value = argument[2:].replace('FOLDER', str(tmp_path)).split('=')
      split = lambda value: value.split(',') if value else []
      types = {'seeds': int, 'threads': int, 'systems': split, 'peer_rate': float}
      given[name] = types.get(name, str)(value)
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
      next(training.run(flags_of(**given), []))

  def test_missing_peer(self, text, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=re.escape("pip install 'jw2v[benchmark]'")):
      next(training.run(flags_of(text=str(text), systems=['jw2v', 'gensim']), []))

  def test_missing_c_tool(self, text, monkeypatch):
    flags = flags_of(text=str(text), systems=['word2vec'], maxn=0)
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(ValueError, match='word2vec: program not found on PATH'):
      next(training.run(flags, []))
    monkeypatch.setattr(shutil, 'which', lambda name: name)
    flags.maxn = 6
    with pytest.raises(ValueError, match='maxn must be 0 for word2vec'):
      next(training.run(flags, []))

  @pytest.mark.parametrize(
    ('assignment', 'message'),
    [
      ('batch_sise=3', "unknown setting; did you mean 'batch_size'?"),
      ('dim=3', 'all systems have this setting; use --dim'),
      ('seed=3', 'all systems have this setting; use --seeds'),
      ('batch_size', 'must be NAME=VALUE, got'),
      ('batch_size=many', "batch_size must be an integer of at least 1, got 'many'"),
      ('optimizer=lion', 'optimizer must be one of'),
    ],
  )
  def test_bad_setting(self, assignment, message):
    with pytest.raises(ValueError, match=re.escape(message)):
      systems.train_config({'dim': 8, 'seed': 1}, [assignment])

  def test_variants(self):
    settings = {'dim': 8, 'negatives': 5, 'objective': 'negative_sampling', 'seed': 1}
    config = systems.train_config(settings, ['batch_size=64'], 'dim=9,batch_size=32')
    assert (config.dim, config.batch_size, config.seed) == (9, 32, 1)
    config = systems.train_config(settings, (), 'objective=nce')
    assert (config.objective, config.negatives) == ('nce', 24)
    with pytest.raises(ValueError, match=re.escape("variant='seed=3': unknown setting")):
      systems.train_config(settings, (), 'seed=3')

  def test_settings(self):
    config = systems.train_config(
      {'dim': 8, 'seed': 1}, ['optimizer=adagrad', 'learning_rate=0.5', 'max_vocab_size=None']
    )
    expected = jw2v.TrainConfig(dim=8, seed=1, optimizer='adagrad', learning_rate=0.5)
    assert config == expected

  @pytest.mark.slow
  @pytest.mark.parametrize(
    ('arguments', 'message'),
    [
      (['--set=batch_size=33'], 'batch_size must be a multiple of block_size=16, got 33'),
      (['dim=200'], "'dim=200' is not a flag"),
    ],
  )
  def test_is_one_line(self, text, arguments, message):
    done = run(f'--text={text}', '--threads=1', '--systems=jw2v', *arguments)
    assert done.returncode != 0 and done.stdout == ''
    assert done.stderr.startswith(f'error: {message}') and done.stderr.count('\n') == 1


class TestPeers:
  SETTINGS = {'architecture': 'cbow', 'objective': 'negative_sampling', 'dim': 8, 'window': 3,
              'negatives': 5, 'sample': 1e-4, 'min_count': 2, 'epochs': 3, 'minn': 0, 'maxn': 0,
              'bucket': 10, 'seed': 1}  # fmt: skip

  def job(self, folder, **more):
    return {'settings': self.SETTINGS, 'text': 'text.txt', 'lines': 'lines.txt', 'threads': 2,
            'vectors': f'{folder}/vectors.txt', 'peer_rate': None, **more}  # fmt: skip

  @pytest.mark.parametrize(('rate', 'alpha'), [(None, None), (0.05, '0.05')])
  def test_command_of_the_c_tool(self, tmp_path, monkeypatch, rate, alpha):
    commands = []

    def write(command, **_):
      arguments = dict(zip(command[1::2], command[2::2], strict=True))
      commands.append((command[0], arguments))
      pathlib.Path(arguments['-output']).write_text('')
      pathlib.Path(arguments['-save-vocab']).write_text('</s> 7\nsea 30\nland 4\n')
      return {'status': 0, 'cpu': 1.0, 'peak': 5}

    monkeypatch.setattr(systems, 'run_program', write)
    found = systems._train_word2vec(self.job(tmp_path, peer_rate=rate))
    assert found['words'] == 3 * 34 and found['total_seconds'] == found['seconds'] > 0
    ((program, arguments),) = commands
    assert program == 'word2vec' and arguments.get('-alpha') == alpha
    names = ('-train', '-cbow', '-hs', '-negative', '-iter', '-min-count', '-threads', '-sample')
    assert [arguments[n] for n in names] == ['text.txt', '1', '0', '5', '3', '2', '2', '0.0001']

  def test_c_tool_without_vectors(self, tmp_path, monkeypatch):
    """Raises even if the folder contains the vectors of another system."""
    (tmp_path / 'vectors.txt').write_text('old')
    done = lambda command: {'status': 0, 'cpu': 1.0, 'peak': 5}
    monkeypatch.setattr(systems, 'run_program', done)
    with pytest.raises(ValueError, match='word2vec must write vectors and exit with 0, got 0'):
      systems._train_word2vec(self.job(tmp_path))

  @pytest.mark.parametrize('is_dynamic', [True, False])
  def test_windows_and_rate_of_gensim(self, tmp_path, monkeypatch, is_dynamic):
    given = {}

    def word2vec(**arguments):
      given.update(arguments)
      raise InterruptedError

    models = types.SimpleNamespace(Word2Vec=word2vec, FastText=None)
    monkeypatch.setitem(sys.modules, 'gensim', types.SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, 'gensim.models', models)
    job = self.job(tmp_path, peer_rate=0.05)
    if not is_dynamic:
      job['settings'] = {**job['settings'], 'dynamic_window': False}
    with pytest.raises(InterruptedError):
      systems._train_gensim(job)
    assert given['shrink_windows'] is is_dynamic and given['alpha'] == 0.05

  def test_rate(self):
    assert systems._rate({'peer_rate': None}, 'alpha') == {}
    assert systems._rate({'peer_rate': 0.05}, 'lr') == {'lr': 0.05}


class TestFailures:
  def page(self, monkeypatch, text, failing, **flags):
    """Returns the page, the failures and the tasks, with workers replaced."""
    tasks, failures = [], []

    def start(task, library=None, **job):
      task = f'{task} of {library}' if library else task, job['settings']['seed']
      tasks.append(task)
      if task in failing:
        raise ValueError('a reason')
      number = {'sampling': [1.0], 'wall': [1.0], 'cpu': [1.0], 'parts': {}}
      more = {'parts': number, 'check': {'device': 'cpu'}, 'jw2v': {'predicted': 1e6}}
      return result(6e6, 2, 3, 50.0, **more.get(task[0], {}))

    monkeypatch.setattr(training, '_start', start)
    monkeypatch.setattr(training, 'environment', lambda *_: 'a machine')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: True)
    page = '\n'.join(training.run(flags_of(text=str(text), **flags), failures))
    return page, failures, tasks

  def test_the_others_go_on(self, monkeypatch, text, capsys):
    """Does not repeat a failed system, and keeps its earlier measurements in the tables."""
    page, failures, tasks = self.page(
      monkeypatch, text, [('gensim', 2)], systems=['gensim', 'jw2v'], seeds=3
    )
    assert failures == ['gensim, seed 2: a reason']
    assert [seed for task, seed in tasks if task == 'gensim'] == [1, 2]
    assert [seed for task, seed in tasks if task == 'jw2v'] == [1, 2, 3]
    assert '- gensim, seed 2: a reason' in page and '## Parts of jw2v' in page
    assert rows(page)[''] == ['gensim', 'jw2v']
    assert 'seed 2/3 gensim ... failed: a reason\n' in capsys.readouterr().err

  def test_nothing_measured(self, monkeypatch, text):
    page, failures, tasks = self.page(
      monkeypatch, text, [('jw2v', 1), ('gensim', 1)], systems=['jw2v', 'gensim'], seeds=2
    )
    assert failures == ['jw2v, seed 1: a reason', 'gensim, seed 1: a reason']
    assert not rows(page) and tasks == [('check', 1), ('jw2v', 1), ('gensim', 1)]

  def test_parts(self, monkeypatch, text):
    page, failures, _ = self.page(monkeypatch, text, [('parts', 1)])
    assert failures == ['parts of jw2v: a reason'] and rows(page)[''] == ['jw2v']

  def test_brief_is_the_table_alone(self, monkeypatch, text):
    page, failures, tasks = self.page(monkeypatch, text, [], brief=True, variant=['dim=9'])
    assert tasks == [('check', 1), ('jw2v', 1), ('jw2v', 1)] and not failures
    assert rows(page)[''] == ['jw2v', 'dim=9'] and 'Scores:' not in page and 'Parts' not in page

  def test_baseline_and_picture(self, monkeypatch, text, tmp_path):
    """Runs another version in turn with the others, at the default settings."""
    (tmp_path / 'jw2v').mkdir()
    (tmp_path / 'jw2v' / '__init__.py').touch()
    page, failures, tasks = self.page(
      monkeypatch, text, [], brief=True, variant=['dim=9'], baseline=str(tmp_path), seeds=2,
      evaluation='folder', plot=str(tmp_path / 'front.png'), bars=str(tmp_path / 'bars.svg')
    )  # fmt: skip
    of_seed = lambda seed: [('jw2v', seed), (f'jw2v of {tmp_path}', seed), ('jw2v', seed)]
    assert tasks == [('check', 1), *of_seed(1), *of_seed(2)] and not failures
    assert rows(page)[''] == ['jw2v', 'before', 'dim=9']
    assert (tmp_path / 'front.png').read_bytes()[1:4] == b'PNG'
    assert '<svg' in (tmp_path / 'bars.svg').read_text()

  @pytest.mark.slow
  def test_of_the_program(self, tmp_path):
    """Prints and writes the available results, and exits with an error."""
    (tmp_path / 'text.txt').write_text('every word once')
    output = tmp_path / 'page.md'
    done = run(
      f'--text={tmp_path / "text.txt"}', '--threads=1', '--systems=jw2v', f'--output={output}'
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith('error: jw2v, seed 1: ') and 'no word occurs min_count=5' in last
    assert done.returncode != 0 and 'Traceback' not in done.stderr
    assert '- jw2v, seed 1: ' in done.stdout and output.read_text() == done.stdout


@pytest.mark.slow
class TestProgram:
  def test_measures_jw2v(self, tmp_path, text, evaluation):
    output = tmp_path / 'page.md'
    done = run(
      f'--text={text}', '--systems=jw2v', *QUICK, f'--evaluation={evaluation}', f'--output={output}'
    )
    assert done.returncode == 0, done.stderr
    assert output.read_text() == done.stdout
    progress = r'seed 1/2 jw2v \.\.\. \d+\.\d\d M words/s, \d+ MB\n'
    assert re.match(progress + progress.replace('1/2', '2/2'), done.stderr), done.stderr
    page = rows(done.stdout)
    number = lambda name: float(page[name][0].split()[0].replace(',', ''))
    assert number('training, words/s') > number('end to end, words/s') > 0
    assert 50 < number('peak MB') < 5000 and 50 < number('predicted MB') < 5000
    measured = [number(name) for name in (*quality.PAIRS, *quality.ANALOGIES, 'mean of the scores')]
    assert len(measured) == 6 and all(-100 <= score <= 100 for score in measured)
    assert 'WordSim-353 3 of 4' in done.stdout and 'Google analogies 1 of 2' in done.stdout
    assert f'--text={text}' in done.stdout and 'Python 3.' in done.stdout
    assert number('host sampling, one thread') > 0 and number('compiled step, wall time') > 0

  @pytest.mark.skipif(importlib.util.find_spec('gensim') is None, reason='gensim is not installed')
  def test_measures_gensim(self, text, evaluation):
    for _ in range(5):  # on a text as short as this gensim 4.4 now and then aborts
      done = run(
        f'--text={text}', '--systems=gensim', *QUICK, '--seeds=1', f'--evaluation={evaluation}'
      )
      if 'exited with status -6' not in done.stderr:
        break
    assert done.returncode == 0, done.stderr
    assert 'seed 1/1 gensim ... ' in done.stderr
    assert rows(done.stdout)[''] == ['gensim'] and len(rows(done.stdout)) == 1 + 3 + 5 + 1
    assert 'WordSim-353 3 of 4' in done.stdout and 'Parts of jw2v' not in done.stdout

  def test_tasks_load_no_library_of_the_systems(self):
    """Keeps libraries out of a process, whose memory is measured for its own system only."""
    code = """
import sys
import benchmarks.corpus, benchmarks.systems, benchmarks.vectors, benchmarks.workers
assert not {'jax', 'jw2v', 'gensim', 'fasttext'} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

  def test_help_says_how_to_use_it(self):
    done = run('--help')
    assert '--text=my_text.txt' in done.stdout and "pip install 'jw2v[benchmark]'" in done.stdout
    assert 'EN-RW-STANFORD.txt' in done.stdout and '--evaluation' in done.stdout
