"""Comparison on sequences: its generated data, scores and table, and a run of it."""

import argparse
import itertools
import re
import statistics

import numpy as np
import pytest
from programs import rows
from programs import run as run_program

import jw2v
from benchmarks import sequences


class TestSessions:
  def test_walk_over_the_ring_of_a_cluster(self):
    """Draws more than 60 % of a session's items from its ten most frequent items."""
    lines, pairs = sequences.sessions(0.05)
    assert len(lines) == 2000 and {len(line) for line in lines} == set(range(4, 39))
    counts = np.array([[line.count(str(i)) for i in range(180)] for line in lines])
    used = counts[:, counts.sum(axis=0) > 0]
    largest = [sum(sorted(count, reverse=True)[:10]) / sum(count) for count in used[:200]]
    assert statistics.fmean(largest) > 0.6
    assert 1700 < len(pairs) < 2000 and all(a != b for a, b in pairs)

  def test_last_item_is_left_out(self):
    lines, pairs = sequences.sessions(0.01)
    found = itertools.islice(pairs, 50)
    befores = iter(line[-1] for line in lines)
    assert all(before in befores for before, _ in found)  # in this order

  def test_is_the_same_for_a_seed(self):
    assert sequences.sessions(0.01) == sequences.sessions(0.01)
    assert sequences.sessions(0.01) != sequences.sessions(0.01, seed=1)


class TestWalks:
  def test_half_of_the_steps_stay_in_the_community(self):
    lines, pairs = sequences.walks(0.1)
    lines, community = list(lines), dict(pairs)
    assert len(community) == len(pairs) == 300 and len(set(community.values())) == 3
    steps = [(a, b) for line in lines for a, b in itertools.pairwise(line)]
    inside = statistics.fmean(community[a] == community[b] for a, b in steps)
    assert inside == pytest.approx(0.48 + 0.52 / 3, abs=0.03)
    assert len(lines) == 3000 and {len(line) for line in lines} == {40}

  def test_some_nodes_are_frequent(self):
    lines, _ = sequences.walks(0.1)
    _, counts = np.unique(list(itertools.chain(*lines)), return_counts=True)
    assert counts.max() > 5 * np.median(counts)


class TestScores:
  NEAR = {'a': ['b', 'c'], 'b': ['c', 'd'], 'c': ['a'], 'd': ['a', 'b']}

  def test_hit_rate(self):
    """Counts three of four known pairs as hits; skips unknown items."""
    pairs = [('a', 'b'), ('a', 'c'), ('b', 'a'), ('c', 'a'), ('a', 'x'), ('x', 'a')]
    assert sequences.hit_rate(self.NEAR, pairs) == (0.75, 4)

  def test_same_community(self):
    """Counts one of the seven neighbors, b of a, in the same community."""
    pairs = [('a', '0'), ('b', '0'), ('c', '1'), ('d', '1'), ('x', '0')]
    score, known = sequences.same_community(self.NEAR, pairs)
    assert (score, known) == (pytest.approx(1 / 7), 4)

  @pytest.mark.parametrize(('name', 'score'), [('sessions', 50), ('walks', 100)])
  def test_of_a_folder(self, tmp_path, name, score):
    """Uses 22 nodes, each of whose ten neighbors are the others of its community."""
    words = [str(i) for i in range(22)]
    angles = np.repeat([0, np.pi / 2], 11) + np.linspace(0, 0.1, 22)
    kv = jw2v.KeyedVectors(words, np.stack([np.cos(angles), np.sin(angles)], axis=1))
    pairs = {'sessions': '0 1\n0 12\n', 'walks': ''.join(f'{i} {i // 11}\n' for i in range(22))}
    folder = tmp_path / name
    folder.mkdir()
    (folder / 'pairs.txt').write_text(pairs[name])
    (found,) = sequences.evaluate(folder, kv).values()
    assert found == (score, pairs[name].count('\n'), pairs[name].count('\n'))


def result(words, seconds, name, score):
  return {'words': words, 'seconds': seconds, 'scores': {name: (score, 1, 1)}}


class TestTable:
  SESSIONS = {
    'jw2v': [result(6e6, 1, 'hit rate at 10', 40), result(6e6, 2, 'hit rate at 10', 41)],
    'gensim': [result(6e6, 6, 'hit rate at 10', 30)],
  }  # fmt: skip
  WALKS = {'jw2v': [result(6e6, 3, 'same community in 10', 90)]}

  def test_scores_and_speeds(self):
    """Prints dashes for a failed system."""
    assert rows(sequences.table({'sessions': self.SESSIONS, 'walks': self.WALKS})) == {
      '': ['jw2v', 'gensim'],
      'sessions: hit rate at 10': ['40.50 (40.00..41.00)', '30.00'],
      'sessions: words/s': ['4,500,000 (3,000,000..6,000,000)', '1,000,000'],
      'walks: same community in 10': ['90.00', '-'],
      'walks: words/s': ['2,000,000', '-'],
    }

  def test_many_systems_are_rows(self):
    runs = {name: self.WALKS['jw2v'] for name in ('jw2v', 'dim=8', 'dim=9', 'dim=10')}
    assert rows(sequences.table({'walks': runs}))['dim=9'] == ['90.00', '2,000,000']


def flags_of(**values):
  flags = {'data': ['sessions', 'walks'], 'size': 0.01, 'systems': ['jw2v'], 'seeds': 1,
           'threads': 1, 'set': [], 'variant': [], 'output': None}  # fmt: skip
  return argparse.Namespace(**{**flags, **values})


class TestRun:
  @pytest.mark.parametrize(('given', 'message'), [
    ({'data': ['text']}, "data must be from 'sessions', 'walks'; got 'text'"),
    ({'size': 0.0}, 'size must be above 0 and at most 100, got 0'),
    ({'systems': ['fasttext']}, "systems must be from 'jw2v', 'gensim'; got 'fasttext'"),
    ({'set': ['dim=3']}, "set='dim=3': all systems have this setting; use --variant"),
    ({'set': ['window=3']}, "set='window=3': all systems have this setting"),
    ({'seeds': 0}, 'seeds must be at least 1, got 0'),
  ])  # fmt: skip
  def test_bad_flag_is_refused_before_anything_runs(self, given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
      next(sequences.run(flags_of(**given), []))

  def test_failure_of_a_system(self, monkeypatch):
    """Runs the other data set, with its own window, text and folder."""
    jobs = []

    def run_in_turn(job, systems, seeds, folder, failures):
      jobs.append((job['settings']['window'], job['text'].split('/')[-2:], systems, seeds))
      if job['evaluation'].endswith('sessions'):
        failures.append('jw2v, seed 1: a reason')
        return {}, False
      return TestTable.WALKS, False

    made = {'device': 'cpu', 'words': 7, 'different': 3}
    monkeypatch.setattr(sequences, 'start', lambda *_, **__: made)
    monkeypatch.setattr(sequences, 'environment', lambda *_: 'a machine')
    monkeypatch.setattr(sequences, 'run_in_turn', run_in_turn)
    failures = []
    page = '\n'.join(sequences.run(flags_of(variant=['dim=9']), failures))
    names = ['jw2v', 'dim=9']
    assert jobs == [
      (50, ['sessions', 'text.txt'], names, 1), (10, ['walks', 'text.txt'], names, 1)
    ]  # fmt: skip
    assert failures == ['sessions: jw2v, seed 1: a reason'] and f'- {failures[0]}' in page
    assert [*rows(page)] == ['', 'walks: same community in 10', 'walks: words/s']
    assert '- walks: 7 words, 3 different ones.' in page

  @pytest.mark.release
  def test_of_the_program(self, tmp_path):
    for _ in range(5):  # on data as small as these gensim 4.4 now and then aborts
      done = run_program(
        'benchmarks.sequences', '--size=0.01', '--seeds=1', '--threads=1', '--set=batch_size=256',
        f'--output={tmp_path / "page.md"}',
      )  # fmt: skip
      if 'exited with status -6' not in done.stderr:
        break
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'page.md').read_text() == done.stdout
    page = rows(done.stdout)
    assert page[''] == ['jw2v', 'gensim']
    scores = [float(x) for name in ('sessions: hit rate at 10', 'walks: same community in 10')
              for x in page[name]]  # fmt: skip
    assert all(10 < score < 100 for score in scores)
