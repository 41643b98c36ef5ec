"""Comparison of first passes: its table, counts, texts and errors, and a run of it."""

import argparse
import collections
import importlib.util
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

import pytest
from corpora import two_topics
from programs import ROOT, rows
from programs import run as run_program

from benchmarks import corpus

FAKE_C_TOOL = """#!{python}
import collections, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
text = open(given['-train']).read()
words = text.split() if text[-1:].isspace() else text.split()[:-1]
with open(given['-save-vocab'], 'w') as file:
  print('</s>', text.count(chr(10)), file=file)
  for word, count in collections.Counter(words).most_common():
    if count >= int(given['-min-count']):
      print(word, count, file=file)
"""


def run(*arguments, temporary=None):
  env = {**os.environ, **({'TMPDIR': str(temporary)} if temporary else {})}
  return run_program('benchmarks.corpus', *arguments, env=env, timeout=120)


def write_counts(path, counts):
  path.write_text(''.join(f'{word} {count}\n' for word, count in counts.items()))
  return str(path)


@pytest.fixture
def text(tmp_path):
  path = tmp_path / 'text.txt'
  path.write_text('\n'.join(' '.join(line) for line in two_topics()))
  return path


@pytest.fixture
def c_tool(tmp_path):
  path = tmp_path / 'word2vec'
  path.write_text(FAKE_C_TOOL.format(python=sys.executable))
  path.chmod(path.stat().st_mode | stat.S_IXUSR)
  return path


class TestTable:
  RUNS = {
    'jw2v': [
      {'speed': speed, 'seconds': 1 / speed, 'cpu': 2.0, 'imports': 1.0, 'peak': 300.4,
       'opened': 0.0123, 'compiling': 0.2, 'compiled': 1.2}
      for speed in (4.0, 9.0, 8.0)
    ],
    'the C tool': [
      {'speed': speed, 'seconds': 1 / speed, 'cpu': 1.0, 'peak': 120.0} for speed in (1.0, 3.0, 4.0)
    ],
  }  # fmt: skip

  def test_ratios_are_by_round(self):
    """Takes the median of the ratios 4, 3 and 2; the ratio of the medians would be 2.67."""
    page = rows(corpus.speed_table(self.RUNS))
    assert page['speed / the C tool'] == ['3.00 (2.00..4.00)', '-']
    assert page['million words/s'] == ['8.00 (4.00..9.00)', '3.00 (1.00..4.00)']
    assert page['second run: store open'] == ['0.012 (0.012..0.012)', '-']
    assert page['start and imports, seconds'] == ['1.00 (1.00..1.00)', '-']

  def test_jw2v_alone(self):
    page = corpus.speed_table({'jw2v': self.RUNS['jw2v']})
    assert 'speed /' not in page and rows(page)['peak MB'] == ['300 (300..300)']


class TestCounts:
  def lines(self, tmp_path, text, own, peer):
    (tmp_path / 'text').write_text(text)
    files = {
      'jw2v': write_counts(tmp_path / 'own', own),
      'the tool': write_counts(tmp_path / 'peer', peer),
    }
    return list(corpus._compare({'text': tmp_path / 'text', 'files': files}))

  def test_same(self, tmp_path):
    """Ignores the end of a line, which is a word only to the C tool."""
    lines = self.lines(tmp_path, 'a b\n', {'a': 7, 'b': 5}, {'</s>': 1, 'b': 5, 'a': 7})
    assert lines == ['- jw2v and the tool: 2 of 2 words have the same count.']

  @pytest.mark.parametrize(('own', 'peer'), [({'b': 6}, {'b': 5}), ({'b': 5}, {})])
  def test_last_word_without_white_space(self, tmp_path, own, peer):
    """Explains the last word's missing occurrence, which may drop it below the minimum count."""
    told = 'That is the last word: the tool drops it, because no white space follows.'
    (line,) = self.lines(tmp_path, 'a b', {'a': 9, **own}, {'a': 9, **peer})
    assert line.startswith('- jw2v and the tool: 1 of 2 words have the same count, but not')
    assert line.endswith(told)
    assert told not in self.lines(tmp_path, 'a b\n', {'a': 9, **own}, {'a': 9, **peer})[0]
    assert told not in self.lines(tmp_path, 'b a', {'a': 9, **own}, {'a': 9, **peer})[0]
    assert told not in self.lines(tmp_path, 'a b', {'a': 8, **own}, {'a': 9, **peer})[0]

  def test_first_differences_are_named(self, tmp_path):
    own = {'same': 5, 'more': 1234, 'missing': 6}
    (line,) = self.lines(tmp_path, 'a', own, {'same': 5, 'more': 7, 'é': 8})
    told = "'more' (1,234 and 7), 'missing' (6 and 0), 'é' (0 and 8)."
    assert line == f'- jw2v and the tool: 1 of 4 words have the same count, but not {told}'
    many = {f'w{i}': 5 for i in range(7)}
    (line,) = self.lines(tmp_path, 'a', many, {})
    assert line.endswith("'w4' (5 and 0), ....") and 'w5' not in line

  @pytest.mark.slow
  @pytest.mark.skipif(importlib.util.find_spec('gensim') is None, reason='gensim is not installed')
  @pytest.mark.parametrize('is_one_line', [False, True])
  def test_of_gensim(self, text, is_one_line, tmp_path):
    if is_one_line:
      text.write_text(text.read_text().replace('\n', ' '))
    result = corpus._start(
      'gensim', text=str(text), counts=str(tmp_path / 'counts'), is_one_line=is_one_line
    )
    expected = collections.Counter(text.read_text().split())
    found = dict(line.split() for line in (tmp_path / 'counts').read_text().splitlines())
    assert {word: int(count) for word, count in found.items()} == expected
    assert result['seconds'] > 0 and result['imports'] > 0 and 20 < result['peak'] < 10_000


class TestTexts:
  def make(self, tmp_path, text, *sizes):
    files = [(tmp_path / str(size), size) for size in sizes]
    job = {'text': text, 'folder': tmp_path / 'words', 'files': files}
    corpus._make_texts(job)
    return [path.read_text() for path, _ in files]

  def test_have_the_words_of_the_text_and_its_size(self, tmp_path, text):
    """Keeps the order of the text: each line is cut from it, except for the first lines."""
    text.write_text(' '.join(f'w{i}' for i in range(1000)))
    whole = f' {text.read_text()} '
    for made, size in zip(self.make(tmp_path, text, 10_000, 40_000), (10_000, 40_000), strict=True):
      assert set(made.split()) == set(whole.split())
      assert size - 20 * 5 <= len(made) <= size and made.endswith('\n')
      lines = made.splitlines()
      assert all(len(line.split()) == 20 for line in lines)
      assert all(f' {line} ' in whole for line in lines[50:])
      assert len(set(lines)) > 50 + (len(lines) - 50) / 2

  def test_all_words_are_in_a_text_that_is_too_small(self, tmp_path, text):
    text.write_text(' '.join(f'w{i}' for i in range(1000)))
    (made,) = self.make(tmp_path, text, 100)
    assert made.split() == text.read_text().split()

  def test_memory_is_measured_in_every_round(self, tmp_path, monkeypatch, capsys):
    peaks = iter([300.0, 500.0, 400.0])

    def start(task, **job):
      if task == 'texts':
        return [pathlib.Path(path).write_bytes(b' ' * size) for path, size in job['files']]
      pathlib.Path(job['folder']).mkdir()
      numbers = {'before': 200.0, 'seconds': 2.0, 'words': 8000, 'different': 9}
      return {'peak': next(peaks), **numbers}

    monkeypatch.setattr(corpus, '_start', start)
    table = rows(corpus._memory('text', [10**6], 3, str(tmp_path)))
    assert table['1'] == ['400 (300..500)', '200 (100..300)', '9', '8,000',
                          '4,000 (4,000..4,000)', '2.0 (2.0..2.0)']  # fmt: skip
    assert not any(tmp_path.iterdir()) and 'round 3/3 1 MB of text' in capsys.readouterr().err

  def test_of_a_text_shorter_than_a_line(self, tmp_path, text):
    text.write_text('a b c')
    (made,) = self.make(tmp_path, text, 1000)
    assert set(made.split()) == set('abc') and 900 < len(made) <= 1000


def flags_of(**values):
  flags = {'rounds': 1, 'gensim': False, 'c_tool': None, 'memory': False, 'sizes': ['1'],
           'output': None}  # fmt: skip
  return argparse.Namespace(**{**flags, **values})


class TestErrors:
  @pytest.mark.parametrize(
    ('flags', 'message'),
    [
      ({'text': 'nothing.txt'}, "text='nothing.txt': file not found"),
      ({'text': 'FOLDER'}, 'file not found'),
      ({'rounds': 0}, 'rounds must be at least 1, got 0'),
      ({'c_tool': 'FOLDER/text.txt'}, "text.txt': program not found"),
      ({'sizes': []}, "sizes must be megabytes such as 200,2000; got ''"),
      ({'sizes': ['200', '0']}, "got '200,0'"),
      ({'sizes': ['2e3']}, "got '2e3'"),
      ({'output': 'FOLDER/no/page.md'}, 'not found'),
      ({'output': 'FOLDER'}, 'is a folder'),
    ],
  )
  def test_bad_flag_is_refused_before_anything_runs(self, text, tmp_path, flags, message):
    place = lambda x: x.replace('FOLDER', str(tmp_path)) if isinstance(x, str) else x
    values = {'text': str(text), **{name: place(x) for name, x in flags.items()}}
    with pytest.raises(ValueError, match=re.escape(message)):
      next(corpus.run(flags_of(**values)))

  def test_missing_gensim(self, text, monkeypatch):
    monkeypatch.setattr(corpus, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match=re.escape("pip install 'jw2v[benchmark]'")):
      next(corpus.run(flags_of(text=str(text), gensim=True)))

  def test_full_disk(self, text, monkeypatch):
    """Requires space for texts of 3 MB and a store of at most 4 MB."""
    usage = collections.namedtuple('usage', 'free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage(7_000_000))
    values = {'text': str(text), 'sizes': ['1', '2']}
    with pytest.raises(ValueError, match='7 MB may be needed, 7 MB are free; set TMPDIR'):
      next(corpus.run(flags_of(**values, memory=True)))
    next(corpus.run(flags_of(**values)))

  def test_second_run_that_opens_no_store(self, tmp_path, monkeypatch):
    def start(task, **job):
      made = tmp_path / task
      made.mkdir(exist_ok=True, parents=True)
      (tmp_path / 'workdir').mkdir(exist_ok=True)
      store = tmp_path / 'workdir' / 'corpus'
      store.unlink(missing_ok=True)
      store.symlink_to(made)
      return {'seconds': 1.0}

    monkeypatch.setattr(corpus, '_start', start)
    with pytest.raises(ValueError, match='encoded the text again'):
      corpus._two_runs('text', tmp_path)

  def test_tool_that_fails(self, text, tmp_path):
    job = {'text': str(text), 'counts': str(tmp_path / 'counts')}
    with pytest.raises(ValueError, match='exited with 1 and wrote no counts'):
      corpus._count_c_tool({**job, 'tool': 'false'})
    with pytest.raises(ValueError, match='exited with 0 and wrote no counts'):
      corpus._count_c_tool({**job, 'tool': 'true'})

  @pytest.mark.slow
  def test_is_one_line_and_leaves_nothing(self, text, tmp_path):
    """Prints the error of the process that reads the text."""
    text.write_bytes(b'\xff ' * 9)
    (tmp_path / 'temporary').mkdir()
    done = run(f'--text={text}', '--nogensim', temporary=tmp_path / 'temporary')
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'error: {text}: not UTF-8 at byte 0 (0xff); ')
    assert not list((tmp_path / 'temporary').iterdir())

  @pytest.mark.slow
  def test_no_flag(self, text):
    done = run(f'--text={text}', 'rounds=3')
    assert done.stderr == "error: 'rounds=3' is not a flag; write settings as --rounds=3\n"


@pytest.mark.slow
class TestProgram:
  def test_measures(self, text, c_tool, tmp_path):
    (tmp_path / 'temporary').mkdir()
    output = tmp_path / 'page.md'
    done = run(
      f'--text={text}', '--nogensim', f'--c_tool={c_tool}', '--rounds=1', '--memory', '--sizes=1',
      f'--output={output}', temporary=tmp_path / 'temporary',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert output.read_text() == done.stdout
    assert not list((tmp_path / 'temporary').iterdir())
    page = rows(done.stdout)
    medians = {
      title: [float(cell.split()[0].replace(',', '')) for cell in cells if cell[0].isdigit()]
      for title, cells in page.items()
    }
    assert page['median (lowest..highest)'] == ['jw2v', 'the C tool']
    assert all(medians['seconds']) and len(medians['seconds']) == 2
    assert 50 < medians['peak MB'][0] < 2000
    opened, compiling, compiled = (
      medians[f'second run: {title}'][0]
      for title in ('store open', 'compiling starts', 'training starts')
    )
    assert 0 < opened < compiled and 0 < compiling < compiled
    assert '13 of 14 words have the same count' in done.stdout
    assert 'That is the last word: the C tool drops it' in done.stdout
    peak, above, different, words, speed, seconds = (
      float(cell.replace(',', '')) for cell in page['1']
    )
    assert 50 < peak < 2000 and 0 <= above < peak and different == 14
    assert 100_000 < words < 500_000 and speed > 0 and seconds >= 0
    assert re.match(r'round 1/1 jw2v [\d.]+ s\nround 1/1 the C tool [\d.]+ s\n', done.stderr)

  def test_loads_no_library_of_the_systems(self):
    code = """
import sys
import benchmarks.corpus
assert not {'jax', 'jw2v', 'gensim', 'pyarrow'} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

  def test_help_says_how_to_use_it(self):
    done = run('--help')
    assert '--text=my_text.txt' in done.stdout and "pip install 'jw2v[benchmark]'" in done.stdout
    assert '--[no]memory' in done.stdout and '--c_tool' in done.stdout
