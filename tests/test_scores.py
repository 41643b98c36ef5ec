"""The scores of vectors: rank correlation, analogies, and the files they are from."""

import math
import re

import numpy as np
import pytest

from experiments import scores


def write_data_sets(folder):
  """All of them, over the words sea1, sea2, sea3, land1 and land2."""
  pairs = 'sea1\tsea2\t9.5\nsea3\tland2\t1\nSea1 LAND1 2\nsea1 unknown 3\n'
  for name in scores.PAIRS.values():
    (folder / name).write_text(pairs)
  (folder / 'questions-words.txt').write_text(': places\nsea1 sea2 land1 land2\na b c d\n')
  return folder


@pytest.fixture
def folder(tmp_path):
  return write_data_sets(tmp_path)


class TestSpearman:
  def test_of_ranks(self):
    assert scores.spearman([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(0.8)
    assert scores.spearman([1, 2, 3], [-1, -10, -100]) == pytest.approx(-1)

  def test_ties(self):
    """Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5."""
    assert scores.spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(math.sqrt(0.9))

  @pytest.mark.parametrize(('x', 'y'), [([], []), ([1], [2]), ([1, 2], [3, 3])])
  def test_nothing_to_rank(self, x, y):
    assert math.isnan(scores.spearman(x, y))


class TestPairs:
  def test_pairs(self):
    """Cosines 1, 0 and -1, at any length; unknown words and a second spelling are left out."""
    words = ['a', 'B', 'c', 'd', 'A', 'zero']
    vectors = np.array([[2, 0], [3, 0], [0, 1], [-1, 0], [0, 5], [0, 0]], np.float32)
    pairs = [['a', 'b', 9.0], ['a', 'c', 5.0], ['a', 'd', 1.0], ['a', 'unknown', 7.0]]
    score, known = scores.score_pairs(words, vectors, pairs)
    assert score == pytest.approx(100) and known == 3
    score, known = scores.score_pairs(words, vectors, [*pairs, ['zero', 'b', 0.5]])
    assert score == pytest.approx(100 * 3 / math.sqrt(5 * 4.5)) and known == 4

  def test_no_pair_is_known(self):
    score, known = scores.score_pairs(['a'], np.ones((1, 2)), [['b', 'c', 1.0]])
    assert math.isnan(score) and known == 0


class TestAnalogies:
  def test_analogies(self):
    """b - a + c is nearest to c itself, which is no answer, and then to d."""
    words = ['A', 'b', 'c', 'd', 'far', 'near']
    vectors = np.array([[1, 0], [1, 0.2], [0, 1], [0.05, 1], [-1, 0], [0.04, 1]], np.float32)
    question = ['a', 'b', 'c', 'd']
    assert scores.score_analogies(words, vectors, [question], restrict=5) == (100, 1)
    assert scores.score_analogies(words, vectors, [question]) == (0, 1)  # but to near first
    questions = [question, ['a', 'b', 'c', 'far'], ['a', 'b', 'c', 'near']]
    assert scores.score_analogies(words, vectors, questions, restrict=5) == (50, 2)

  def test_asked_words_are_no_answers(self):
    vectors = np.array([[1, 0], [1, 0.01], [0, 1], [-1, -1]], np.float32)
    for d in range(4):
      score = scores.score_analogies('abcd', vectors, [['a', 'b', 'c', 'abcd'[d]]])
      assert score == (100 if d == 3 else 0, 1)

  def test_no_question_is_known(self):
    score, known = scores.score_analogies(['a'], np.ones((1, 2)), [['a', 'b', 'c', 'd']])
    assert math.isnan(score) and known == 0

  def test_more_questions_than_are_scored_at_once(self, monkeypatch):
    vectors = np.eye(4, dtype=np.float32)
    questions = [['a', 'b', 'c', 'd']] * 7
    monkeypatch.setattr(scores, '_QUESTIONS', 3)
    assert scores.score_analogies('abcd', vectors, questions) == (100, 7)


class TestEvaluation:
  def test_reading(self, folder):
    sets = scores.read_evaluation(folder)
    assert sets['MEN'][2] == ['sea1', 'land1', 2.0] and len(sets['MEN']) == 4
    assert sets['Google analogies'][0] == ['sea1', 'sea2', 'land1', 'land2']

  @pytest.mark.parametrize(
    ('name', 'line', 'message'),
    [
      ('EN-MEN-TR-3k.txt', 'a b', 'line 2: 2 columns, not 3'),
      ('EN-MEN-TR-3k.txt', 'a b c', 'line 2: could not convert'),
      ('questions-words.txt', 'a b c', 'line 2: 3 columns, not 4'),
    ],
  )
  def test_wrong_line(self, folder, name, line, message):
    (folder / name).write_text(f'\n{line}\n')
    with pytest.raises(ValueError, match=re.escape(f'{name}: {message}')):
      scores.read_evaluation(folder)

  def test_every_set_is_scored(self, folder):
    """sea2 - sea1 + land1 is nearest to land2; the known pairs are in the right order."""
    words = ['sea1', 'sea2', 'land1', 'land2', 'sea3']
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, -1]], np.float32)
    found = scores.evaluate(folder, words, vectors)
    assert list(found) == ['WordSim-353', 'SimLex-999', 'MEN', 'RareWords', 'Google analogies']
    assert found['MEN'] == (pytest.approx(100), 3, 4) and found['Google analogies'] == (100, 1, 2)
    assert 'MEN 3 of 4' in scores.describe(found)
