"""Evaluation program: tables, JSON, and errors."""

import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import jw2v
from jw2v.cli import evaluate

ROOT = pathlib.Path(__file__).parents[2]
PAIRS = 'Sea1\tsea2\t9.5\nsea1\tland1\t2\nsea3\tland2\t1\nsea1\tunknown\t8\n'
ANALOGIES = ': places\nsea1 sea2 land1 land2\na b c d\n: others\nsea1 sea2 land1 sea3\n'


@pytest.fixture
def files(tmp_path):
  """Writes vectors, pairs and analogies; sea2 - sea1 + land1 is nearest to land2."""
  words = ['sea1', 'sea2', 'land1', 'land2', 'sea3']
  kv = jw2v.KeyedVectors(words, [[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, -1]])
  jw2v.save_vectors(kv, tmp_path / 'v.txt')
  (tmp_path / 'pairs.tsv').write_text(PAIRS)
  (tmp_path / 'questions.txt').write_text(ANALOGIES)
  return tmp_path


def start(*arguments, cwd):
  command = [sys.executable, '-m', 'experiments.evaluate', *map(str, arguments)]
  return subprocess.run(
    command, cwd=cwd, capture_output=True, text=True, env={'PYTHONPATH': str(ROOT), 'PATH': ''}
  )


@pytest.mark.slow
class TestProgram:
  def test_tables_and_json(self, files):
    done = start(
      '--vectors=v.txt', '--vectors=v.txt', '--output=scores.json', 'pairs.tsv', 'questions.txt',
      cwd=files,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    tables = [line.split('|')[1:-1] for line in done.stdout.splitlines() if line.startswith('|')]
    cells = [[cell.strip() for cell in line] for line in tables]
    # Of three pairs Spearman is 1, of p 0; with the unknown one second by score and third
    # (tied with that of 0) by cosine it is less.
    assert cells[2][:5] == ['pairs.tsv', '4', '75.0%', '1.000', '0.0e+00']
    assert 0.7 < float(cells[2][7]) < 1
    assert cells[5] == ['places', '2', '50.0%', '100.0%', '100.0%', '50.0%', '50.0%']
    assert cells[6] == ['others', '1', '100.0%', '0.0%', '0.0%', '0.0%', '0.0%']
    assert cells[7] == ['total', '3', '66.7%', '50.0%', '50.0%', '33.3%', '33.3%']
    assert cells[8:] == cells[:8]
    assert done.stdout.startswith('v.txt: 5 words, width 2\n\n')
    scores = json.loads((files / 'scores.json').read_text())
    assert (scores['restrict'], len(scores['results'])) == (300_000, 2)
    result = scores['results'][1]
    assert result['vectors'] == 'v.txt' and result['pairs'][0]['spearman'] == 1
    assert result['analogies'][0]['sections'][-1]['most_similar_cosmul'] == 0.5

  def test_what_cannot_be_said(self, files):
    (files / 'pairs.tsv').write_text('a b 1\nc d 2\n')
    (files / 'questions.txt').write_text('a b c d\n')
    arguments = ['--vectors=v.txt', '--restrict=2', '--output=s.json', 'pairs.tsv', 'questions.txt']
    done = start(*arguments, cwd=files)
    assert done.returncode == 0, done.stderr
    assert 'the first 2 of 5 words' in done.stdout and 'nan' not in done.stdout.lower()
    result = json.loads((files / 's.json').read_text())['results'][0]
    assert result['pairs'][0]['spearman'] is None and result['pairs'][0]['known'] == 0
    assert result['analogies'][0]['sections'][0]['most_similar'] is None

  @pytest.mark.parametrize(('arguments', 'message'), [
    (['--vectors=v.txt'], 'name a file of pairs or analogies'),
    (['--vectors=v.txt', 'nothing.txt'], 'nothing.txt'),
    (['--vectors=no.txt', 'pairs.tsv'], 'no.txt'),
    (['--vectors=v.txt', 'v.txt'], 'v.txt: line 1 must be two words and, in column 3'),
    (['--vectors=pairs.tsv', 'pairs.tsv'], 'pairs.tsv: row 1'),
    (['--vectors=v.txt', '--score_column=2', 'pairs.tsv'], 'score_column'),
    (['pairs.tsv'], 'name a file of pairs or analogies after the vectors'),
  ])  # fmt: skip
  def test_refused_in_one_line(self, files, arguments, message):
    done = start(*arguments, cwd=files)
    assert done.returncode and message in done.stderr
    assert 'Traceback' not in done.stderr and not done.stdout

  def test_scores_are_kept_where_printing_fails(self, files):
    (files / 'questions.txt').write_text(': caf\xe9 | x\nsea1 sea2 land1 land2\n', 'utf-8')
    command = [sys.executable, '-m', 'experiments.evaluate', '--vectors=v.txt', '--output=o.json']
    done = subprocess.run(
      [*command, 'questions.txt'], cwd=files, capture_output=True,
      env={'PYTHONPATH': str(ROOT), 'PATH': '', 'PYTHONIOENCODING': 'ascii'},
    )  # fmt: skip
    assert done.returncode == 0 and b'| caf\\xe9 \\| x ' in done.stdout
    (files / 'o.json').unlink()
    closed = subprocess.run(
      ['bash', '-c', '"$0" "$@" | true', *command, 'questions.txt'], cwd=files,
      env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin'}, capture_output=True, text=True,
    )  # fmt: skip
    assert not closed.stderr and (files / 'o.json').exists()

  def test_output_that_is_no_file(self, files):
    for output, message in (
      ('', 'must not be empty'),
      ('.', 'got a folder'),
      ('no/s', 'not found'),
    ):
      done = start('--vectors=v.txt', f'--output={output}', 'pairs.tsv', cwd=files)
      assert done.returncode == 1 and message in done.stderr and not done.stdout

  def test_help(self, files):
    done = start('--help', cwd=files)
    assert 'questions-words.txt' in done.stdout and '--restrict' in done.stdout


class TestKinds:
  @pytest.mark.parametrize(('text', 'kind'), [
    (PAIRS, 'pairs'), (ANALOGIES, 'analogies'), ('\ufeff: s\na b c d\n', 'analogies'),
    ('# of four words\n\na b c d\n', 'analogies'), ('a b 3\n', 'pairs'),
    ('word1\tword2\tPOS\tscore\nold\tnew\t7\tA\n', 'pairs'),
    ('Word 1,Word 2,Human (mean)\nlove,sex,6.77\n', 'pairs'),
  ])  # fmt: skip
  def test_told_by_the_first_line(self, tmp_path, text, kind):
    (tmp_path / 'q').write_text(text, encoding='utf-8')
    assert evaluate.read_questions(tmp_path / 'q')[0] == kind

  def test_four_columns_with_a_number_are_pairs(self, tmp_path):
    (tmp_path / 'q').write_text('old new A 1.58\nsmart dumb A 0.55\n')
    kind, pairs = evaluate.read_questions(tmp_path / 'q', score_column=4)
    assert kind == 'pairs' and pairs[0] == ('old', 'new', 1.58)

  def test_score(self):
    kv = jw2v.KeyedVectors(['A', 'a', 'b'], np.array([[1, 0], [0, 1], [0.1, 1]]))
    pairs = [('a', 'b', 1.0), ('A', 'b', 2.0)]
    fold, keep = (
      evaluate.score(kv, [('q', 'pairs', pairs)], case_insensitive=fold)['pairs'][0]['spearman']
      for fold in (True, False)
    )
    assert np.isnan(fold) and keep == pytest.approx(-1)


class TestPairs:
  def test_pairs(self):
    """Scores cosines of 1, 0 and -1 at any length; skips unknown words and a second spelling."""
    words = ['a', 'B', 'c', 'd', 'A', 'zero']
    kv = jw2v.KeyedVectors(words, [[2, 0], [3, 0], [0, 1], [-1, 0], [0, 5], [0, 0]])
    pairs = [('a', 'b', 9.0), ('a', 'c', 5.0), ('a', 'd', 1.0), ('a', 'unknown', 7.0)]
    found = evaluate.score_pairs(kv, pairs)
    assert found['spearman'] == pytest.approx(1) and found['pearson'] == pytest.approx(1)
    assert (found['count'], found['known']) == (4, 3) and found['spearman_pvalue'] < 1e-6
    # The unknown pair is second by score, and shares the second place by cosine.
    assert found['spearman_all'] == pytest.approx(4.5 / math.sqrt(5 * 4.5))
    found = evaluate.score_pairs(kv, [*pairs, ('zero', 'b', 0.5)])
    assert found['spearman'] == pytest.approx(3 / math.sqrt(5 * 4.5)) and found['known'] == 4
    found = evaluate.score_pairs(kv, [*pairs, ('zero', 'b', 0.5)], restrict=4)
    assert found['known'] == 3

  @pytest.mark.parametrize(
    ('words', 'pairs', 'known'),
    [('a', [('b', 'c', 1.0)], 0), ('a', [('a', 'a', 1.0)], 0), ('abc', [('a', 'b', 1.0)] * 3, 3)],
  )
  def test_nothing_to_rank(self, words, pairs, known):
    found = evaluate.score_pairs(jw2v.KeyedVectors(words, np.ones((len(words), 2))), pairs)
    assert math.isnan(found['spearman']) and math.isnan(found['pearson'])
    assert (found['known'], found['count']) == (known, len(pairs))


class TestAnalogies:
  def test_analogies(self):
    """Excludes c, which is nearest to b - a + c, and answers d."""
    words = ['A', 'b', 'c', 'd', 'far', 'near']
    kv = jw2v.KeyedVectors(words, [[1, 0], [1, 0.2], [0, 1], [0.05, 1], [-1, 0], [0.04, 1]])
    question = ('a', 'b', 'c', 'd')
    score = lambda *questions, restrict=None: [
      (row['section'], row['count'], row['known'], row['most_similar'])
      for row in evaluate.score_analogies(kv, {'s': list(questions)}, restrict)
    ]
    assert score(question, restrict=5) == [('s', 1, 1, 1.0), ('total', 1, 1, 1.0)]
    assert score(question)[1] == ('total', 1, 1, 0.0)  # but to near first
    others = ('a', 'b', 'c', 'far'), ('a', 'b', 'c', 'near')
    assert score(question, *others, restrict=5)[1] == ('total', 3, 2, 0.5)

  def test_sections_and_functions(self):
    kv = jw2v.KeyedVectors('abcd', np.eye(4))
    sections = {'one': [('a', 'b', 'c', 'd')], 'none': [], 'other': [('a', 'b', 'c', 'x')]}
    one, none, other, total = evaluate.score_analogies(kv, sections)
    assert one['most_similar'] == one['most_similar_cosmul'] == total['most_similar'] == 1
    assert math.isnan(none['most_similar']) and (none['count'], other['count']) == (0, 1)
    assert math.isnan(other['most_similar_cosmul']) and other['known'] == 0
    assert (total['count'], total['known']) == (2, 1)

  def test_no_question_is_known(self):
    rows = evaluate.score_analogies(
      jw2v.KeyedVectors(['a'], [[1, 1]]), {'s': [('a', 'b', 'c', 'd')]}
    )
    assert [row['known'] for row in rows] == [0, 0]
    assert all(math.isnan(row['most_similar']) for row in rows)
