"""The programs, run as a user runs them; and what they say when something is wrong."""

import json

import numpy as np
import pytest
from corpora import two_topics
from ml_collections import config_dict
from programs import QUICK, run, train

import jw2v
from experiments import train as program


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  path = tmp_path_factory.mktemp('text') / 'text.txt'
  path.write_text('\n'.join(' '.join(line) for line in two_topics()))
  return path


class TestTrain:
  def test_quickstart_on_its_own_corpus(self, tmp_path):
    """Two million words, one epoch of the fifteen, a smaller width: the words are right."""
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

  def test_help_says_how_to_use_it(self):
    done = run('experiments.train', '--help')
    assert '--config=configs/quickstart.py --workdir=runs/quickstart' in done.stdout
    assert '--workdir' in done.stdout and 'Folder for the results' in done.stdout

  @pytest.mark.parametrize(
    ('arguments', 'message'),
    [
      (['--config.data.path=nothing.txt'], 'nothing.txt: no such file or folder'),
      (['--config.data.path=EMPTY'], 'empty.txt: there is no text in it'),
      (['--config.data.path=LATIN'], 'latin.txt: not UTF-8 at byte 3 (0xe9)'),
      (['--config.data.path=TEXT', '--config.min_count=9999'], 'no word occurs min_count=9999'),
      (
        ['--config.data.path=TEXT', '--config.windw=3'],
        'no setting \'windw\' Did you mean "window"',
      ),
      (['--config.data.path=TEXT', '--config.dim=wide'], 'dim'),
      (['--config.data.path=TEXT', '--config.dim=0'], 'dim=0: must be an integer of at least 1'),
      (['--config.data.path=TEXT', '--config.optimizer=lion'], "optimizer='lion': allowed are"),
      (['--config.data.path=TEXT', '--config.data.word_pattern=('], "word_pattern='('"),
      (['--config.data.path=TEXT', '--config.data.word_pattern=x*'], 'matches the empty word'),
      (
        [*QUICK, '--config.data.path=TEXT', '--config.data.word_pattern=[a-z0-9]+ [a-z0-9]+'],
        'hold the word',
      ),
      (['--config.data.path='], 'the path of the text is empty'),
      (['dim=200'], "'dim=200' is no flag"),
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
    # Text that was encoded before is kept for the next run; there is nothing else.
    assert {p.name for p in (tmp_path / 'run').glob('*')} <= {'corpus'}

  def test_workdir_that_is_a_file(self, tmp_path, text):
    (tmp_path / 'file').write_text('mine')
    done = train(tmp_path / 'file', f'--config.data.path={text}', *QUICK)
    assert done.returncode != 0 and 'is a file: name a folder' in done.stderr
    assert (tmp_path / 'file').read_text() == 'mine'

  @pytest.mark.parametrize(
    ('content', 'message'),
    [
      ('windw = 3', "config.windw: no such setting; did you mean 'window'?"),
      ('data.pth = "x"', "config.data.pth: no such setting; did you mean 'path'?"),
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

  def test_groups_in_the_pattern_keep_the_whole_word(self, tmp_path, text):
    done = train(tmp_path / 'run', f'--config.data.path={text}', *QUICK,
                 '--config.data.word_pattern=(sea|land)(\\d)')  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'sea1' in jw2v.load_vectors(tmp_path / 'run' / 'vectors.txt')

  def test_config_with_the_data_alone(self, tmp_path, text, capsys):
    """And one without data, which is refused before anything is written."""
    small = {'dim': 8, 'min_count': 1, 'epochs': 1, 'sample': 0.0, 'checkpoints': {'keep': 0}}
    config = config_dict.ConfigDict({'data': {'path': str(text)}, **small})
    program.run(config, tmp_path / 'run', quiet=True)
    assert '14 vectors of width 8' in capsys.readouterr().out
    assert not (tmp_path / 'run' / 'words.png').exists()
    for data in ({}, {'data': {'walks': {}}}, {'data': str(text)}):
      with pytest.raises(ValueError, match=r'config.data.path: is missing; name the text'):
        program.run(config_dict.ConfigDict({**data, **small}), tmp_path / 'other')
    assert not (tmp_path / 'other').exists()

  def test_width_of_one(self, tmp_path, text):
    done = train(tmp_path / 'run', f'--config.data.path={text}', *QUICK, '--config.dim=1',
                 '--config.show=("sea1",)')  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run' / 'words.png').exists()

  def test_missing_config_file(self, tmp_path):
    done = run('experiments.train', '--config=configs/nothing.py', f'--workdir={tmp_path / "run"}')
    assert done.returncode != 0 and 'configs/nothing.py' in done.stderr
    assert 'Traceback' not in done.stderr, done.stderr


class TestPlot:
  @pytest.mark.parametrize('name', ['words.png', 'words.svg'])
  def test_draws_a_picture(self, tmp_path, name):
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    words = [f'w{i}' for i in range(30)]
    jw2v.save_vectors(jw2v.KeyedVectors(words, vectors), tmp_path / 'v.txt')
    done = run(
      'experiments.plot',
      f'--vectors={tmp_path / "v.txt"}',
      '--words=w1,w2,unknown',
      f'--output={tmp_path / name}',
    )
    assert done.returncode == 0, done.stderr
    head = (tmp_path / name).read_bytes()[:200]
    assert head.startswith(b'\x89PNG') or b'<?xml' in head

  def test_no_known_word(self, tmp_path):
    jw2v.save_vectors(jw2v.KeyedVectors(['a'], np.ones((1, 2))), tmp_path / 'v.txt')
    done = run(
      'experiments.plot',
      f'--vectors={tmp_path / "v.txt"}',
      '--words=x,y',
      f'--output={tmp_path}/p.png',
    )
    assert done.returncode != 0 and 'none of the words to draw' in done.stderr
    assert not (tmp_path / 'p.png').exists()
