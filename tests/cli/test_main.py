"""The program `jw2v`: its help, its flags, its errors, and a run from text to neighbors."""

import dataclasses
import importlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from corpora import two_topics
from programs import ROOT, parsed

import jw2v
from jw2v.cli import arguments, info, neighbors, process, show, train, vectors
from jw2v.cli.main import COMMANDS, main, usage


@pytest.fixture(autouse=True)
def no_signals(monkeypatch):
  monkeypatch.setattr(process.signal, 'signal', lambda *_: None)


@pytest.fixture
def text(tmp_path):
  (tmp_path / 'text.txt').write_text('\n'.join(' '.join(line) for line in two_topics()))
  return tmp_path / 'text.txt'


def said(capsys, *given):
  """Runs a command; returns its status and output, and its errors."""
  try:
    status = main(list(map(str, given)))
  except SystemExit as ended:
    status = ended.code
    if isinstance(status, str):
      print(status, file=sys.stderr)
      status = 1
  out, err = capsys.readouterr()
  return status, out, err


class TestHelp:
  def test_fits_a_screen(self):
    lines = usage().splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100

  def test_is_printed_without_a_command(self, capsys):
    assert said(capsys, '--help') == (0, usage() + '\n', '')
    assert said(capsys)[:2] == (2, usage() + '\n')

  @pytest.mark.parametrize('command', COMMANDS)
  def test_of_a_command_has_its_examples(self, capsys, command):
    status, out, _ = said(capsys, command, '-h')
    assert status == 0 and f'jw2v {command} ' in out

  def test_of_train_has_every_setting_with_its_default(self, capsys):
    _, out, _ = said(capsys, 'train', '--help')
    for field in dataclasses.fields(jw2v.TrainConfig):
      assert f'--{field.name.replace("_", "-")}' in out
      if field.default is not None:
        assert f'(default: {field.default})' in ' '.join(out.split())


def test_a_missing_package_names_the_extra(capsys, monkeypatch):
  def import_module(name):
    raise ModuleNotFoundError(f'No module named {name}', name='matplotlib')

  monkeypatch.setattr(importlib, 'import_module', import_module)
  status, _, err = said(capsys, 'plot', 'v.txt')
  assert status == 1 and err == (
    "error: matplotlib is not installed; run pip install 'jw2v[plot]'\n"
  )


class TestFlags:
  @pytest.mark.parametrize(('given', 'message'), [
    (['trian'], "'trian' is not a command of jw2v; did you mean train"),
    (['train', 'x', '--epochs', 'three'], "--epochs must be an integer, got 'three'"),
    (['train', 'x', '--epochs'], '--epochs needs a value'),
    (['train', 'x', '--vector_size', '9'], 'the setting is --dim'),
    (['train', 'x', '--size=9'], 'the setting is --dim'),
    (['train', 'x', '-iter', '9'], 'the setting is --epochs'),
    (['train', 'x', '--workers=2'], 'the setting is --devices'),
    (['train', 'x', '--sg=1'], 'the setting is --architecture'),
    (['train', 'x', '-minCount', '1'], 'the setting is --min-count'),
    (['train', '-input', 'x'], 'name the file without a flag'),
    (['train', 'x', '--objective=ns'], "--objective must be one of 'hierarchical_softmax', "),
    (['train', 'x', '--epoch=3'], 'the setting is --epochs'),
    (['query', 'x', '--topn=0'], '--topn must be at least 1, got 0'),
    (['train', 'x', '--' + 'y' * 10_000], 'is not a flag of jw2v train'),
    (['info'], 'PATH is required'),
  ])  # fmt: skip
  def test_error_names_the_right_one(self, capsys, given, message):
    status, out, err = said(capsys, *given)
    assert (status, out) == (2, '') and message in err and err.startswith('error: ')
    assert err.count('\n') == 1 and len(err) < 250

  def test_a_file_in_place_of_a_command(self, capsys, text):
    assert f'did you mean: jw2v train {text}' in said(capsys, text)[2]

  def test_settings_as_arguments(self, capsys, text):
    status, _, err = said(capsys, 'train', text, 'epochs=3')
    assert status == 1 and "'epochs=3' is not a file; write --epochs 3" in err

  def test_names_with_dashes_and_with_underscores(self):
    for flag in ('--min_count=2', '--min-count=2'):
      assert parsed(train, 'x', flag).min_count == 2

  def test_files_and_flags_in_any_order(self):
    values = parsed(train, 'a.txt', '--dim', '5', 'b.txt')
    assert values.files == ['a.txt', 'b.txt'] and values.dim == 5

  @pytest.mark.parametrize('name', arguments.OTHER_NAMES)
  def test_names_of_other_tools_are_not_ours(self, name):
    ours = jw2v.TrainConfig.__dataclass_fields__
    assert name not in ours
    assert arguments.OTHER_NAMES[name] in {*ours, 'FILE', 'workdir'}


class TestTrain:
  SMALL = ('--dim=8', '--min-count=1', '--epochs=2', '--sample=0')

  def test_from_text_to_neighbors(self, capsys, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = said(capsys, 'train', 'text.txt', *self.SMALL)
    assert status == 0, err
    assert 'vectors of width 8 in text.vectors.txt' in out and re.search(r'^ +\w+: \w+,', out, re.M)
    assert {p.name for p in tmp_path.iterdir()} == {'text.txt', 'text.vectors.txt'}
    assert len(jw2v.load_vectors('text.vectors.txt')) == 14

  def test_workdir(self, capsys, text, tmp_path):
    status, _, err = said(capsys, 'train', text, *self.SMALL, f'--workdir={tmp_path}/run')
    assert status == 0, err
    assert {p.name for p in (tmp_path / 'run').iterdir()} >= {'vectors.txt', 'metrics.jsonl'}
    assert vectors.load(str(tmp_path / 'run')).vector_size == 8
    status, out, _ = said(capsys, 'info', tmp_path / 'run')
    assert status == 0 and 'dim=8' in out and '14 words, width 8' in out
    status, out, _ = said(capsys, 'info', tmp_path / 'run' / 'corpus')
    assert status == 0 and 'vocabulary  14 words' in out

  def test_config_file_and_flags_over_it(self, capsys, text, tmp_path):
    (tmp_path / 'mine.py').write_text(
      'def get_config():\n  return {"data": {"path": "?"}, "dim": 4, "min_count": 1, "epochs": 9}\n'
    )
    output = tmp_path / 'v.bin'
    status, out, err = said(
      capsys, 'train', text, f'--config={tmp_path}/mine.py', '--epochs=1', f'--output={output}'
    )
    assert status == 0, err
    assert 'in 1 epoch ' in out and jw2v.load_vectors(output).vector_size == 4

  @pytest.mark.parametrize(('given', 'message'), [
    ([], 'name a text to train on'),
    (['no.txt'], 'no.txt: file or folder not found'),
    (['{text}', '--output=no/such/v.txt'], 'folder no/such not found'),
    (['{text}', '--output=v.txt', '--workdir=run'], 'must not be given together'),
    (['{text}', '--dim=0'], 'dim must be'),
    (['--config=no.py'], "config='no.py': file not found"),
  ])  # fmt: skip
  def test_error_writes_nothing(self, capsys, text, monkeypatch, tmp_path, given, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = said(capsys, 'train', *(each.format(text=text) for each in given))
    assert status == 1 and message in err and err.count('\n') == 1
    assert [p.name for p in tmp_path.iterdir()] == ['text.txt']

  @pytest.mark.parametrize(('path', 'name'), [
    ('a/corpus.txt.gz', 'corpus.vectors.txt'), ('-', 'vectors.txt'),
    ('books/', 'books.vectors.txt'),
    (['x.jsonl', 'y'], 'x.vectors.txt'), ('texts/*.txt', 'vectors.txt'),
    ('v1.2.corpus', 'v1.2.corpus.vectors.txt'),
  ])  # fmt: skip
  def test_default_output(self, path, name):
    assert train._output(path) == name

  @pytest.mark.slow
  def test_resumes_after_an_interrupt(self, text, tmp_path):
    command = [
      sys.executable, '-m', 'jw2v', 'train', text, *self.SMALL, '--epochs=20000', '--output=v.txt',
    ]  # fmt: skip
    options = {'cwd': tmp_path, 'env': {'PYTHONPATH': str(ROOT), 'PATH': ''}, 'text': True}
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    assert any(line.startswith('model') for line in run.stdout)  # training has begun
    time.sleep(1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert 'run the same command again to resume' in out and (tmp_path / 'v.txt.run').is_dir()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    assert any(line.startswith('resumes') for line in run.stdout)
    run.kill()
    run.communicate()


class TestNeighbors:
  @pytest.fixture
  def file(self, tmp_path):
    kv = jw2v.KeyedVectors(['gold', 'silver', 'war'], np.array([[1, 0], [0.9, 0.1], [0, 1]]))
    jw2v.save_vectors(kv, tmp_path / 'v.txt')
    return tmp_path / 'v.txt'

  def test_of_words(self, capsys, file):
    status, out, err = said(capsys, 'neighbors', file, 'GOLD', 'war', 'peace')
    assert status == 1 and out == 'gold: silver, war\n war: silver, gold\n'
    assert err.startswith("error: word 'peace' not found among 3 words")

  def test_needs_words(self, capsys, file):
    assert 'name at least one word' in said(capsys, 'neighbors', file)[2]
    values = parsed(neighbors, f'--vectors={file}', 'gold')
    assert neighbors.run(values) == 0

  @pytest.mark.slow
  def test_a_warning_is_one_line(self, file, tmp_path):
    """Without a line of absl about flags before the first warning."""
    command = [sys.executable, '-m', 'jw2v', 'plot', file, '--words=gold,peace']
    done = subprocess.run(command, cwd=tmp_path, env={'PYTHONPATH': str(ROOT), 'PATH': ''},
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, 'warning: unknown words are skipped: peace\n')

  def test_info(self, capsys, file):
    info.run(parsed(info, file))
    out = capsys.readouterr().out
    assert '3 words, width 2' in out and 'first words  gold, silver, war' in out


class TestMap:
  def test_of_the_most_frequent_words(self, capsys, tmp_path):
    rng = np.random.default_rng(0)
    kv = jw2v.KeyedVectors([f'w{i}' for i in range(40)], rng.normal(size=(40, 5)))
    jw2v.save_vectors(kv, tmp_path / 'v.txt')
    status, out, err = said(
      capsys, 'plot', tmp_path / 'v.txt', '--html', tmp_path / 'map.html', '--most=30'
    )
    assert (status, out) == (0, f'map: {tmp_path}/map.html\n'), err
    page = (tmp_path / 'map.html').read_text()
    assert '"w29"' in page and '"w30"' not in page and '30 of 40 words' in page
    status, _, err = said(
      capsys, 'plot', tmp_path / 'v.txt', '--html', tmp_path / 'map.html', '--words=W3,w4'
    )
    assert status == 0 and '"w3","w4"' in (tmp_path / 'map.html').read_text()


class TestTypicalWords:
  def test_are_uneven_and_spread(self):
    """Chooses topic words, each in one half of the text, over words that occur everywhere."""
    rng = np.random.default_rng(0)
    common = [f'common{"abcdefghij"[i % 10]}{"abcdefghij"[i // 10]}' for i in range(100)]
    topics = [f'topic{"abcdefghij"[i % 10]}{"abcdefghij"[i // 10]}' for i in range(100)]
    lines = []
    for line in range(4000):
      own = topics[:50] if line < 2000 else topics[50:]
      lines.append([*rng.choice(common, 5), *rng.choice(own, 5)])
    found = show.typical_words(jw2v.encode_corpus(lines, min_count=1), 5)
    assert len(set(found)) == len(found) >= 3 and all(word.startswith('topic') for word in found)

  def test_of_a_small_vocabulary_are_its_first_words(self):
    corpus = jw2v.encode_corpus([['a', 'b', 'c', 'a'], ['a']], min_count=1)
    assert show.typical_words(corpus, 2) == ['a', 'b']
