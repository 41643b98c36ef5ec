"""The scores of vectors: rank correlation, analogies, and the files they are from."""

import math

import numpy as np
import pytest
from programs import write_data_sets

from benchmarks import quality
from jw2v import KeyedVectors


@pytest.fixture
def folder(tmp_path):
  return write_data_sets(tmp_path)


class TestPairs:
  def test_pairs(self):
    """Cosines 1, 0 and -1, at any length; unknown words and a second spelling are left out."""
    words = ['a', 'B', 'c', 'd', 'A', 'zero']
    kv = KeyedVectors(words, [[2, 0], [3, 0], [0, 1], [-1, 0], [0, 5], [0, 0]])
    pairs = [('a', 'b', 9.0), ('a', 'c', 5.0), ('a', 'd', 1.0), ('a', 'unknown', 7.0)]
    found = quality.score_pairs(kv, pairs)
    assert found['spearman'] == pytest.approx(1) and found['pearson'] == pytest.approx(1)
    assert (found['count'], found['known']) == (4, 3) and found['spearman_pvalue'] < 1e-6
    # The unknown pair is second by score, and shares the second place by cosine.
    assert found['spearman_all'] == pytest.approx(4.5 / math.sqrt(5 * 4.5))
    found = quality.score_pairs(kv, [*pairs, ('zero', 'b', 0.5)])
    assert found['spearman'] == pytest.approx(3 / math.sqrt(5 * 4.5)) and found['known'] == 4
    found = quality.score_pairs(kv, [*pairs, ('zero', 'b', 0.5)], restrict=4)
    assert found['known'] == 3

  @pytest.mark.parametrize(
    ('words', 'pairs', 'known'),
    [('a', [('b', 'c', 1.0)], 0), ('a', [('a', 'a', 1.0)], 0), ('abc', [('a', 'b', 1.0)] * 3, 3)],
  )
  def test_nothing_to_rank(self, words, pairs, known):
    found = quality.score_pairs(KeyedVectors(words, np.ones((len(words), 2))), pairs)
    assert math.isnan(found['spearman']) and math.isnan(found['pearson'])
    assert (found['known'], found['count']) == (known, len(pairs))


class TestAnalogies:
  def test_analogies(self):
    """b - a + c is nearest to c itself, which is no answer, and then to d."""
    words = ['A', 'b', 'c', 'd', 'far', 'near']
    kv = KeyedVectors(words, [[1, 0], [1, 0.2], [0, 1], [0.05, 1], [-1, 0], [0.04, 1]])
    question = ('a', 'b', 'c', 'd')
    score = lambda *questions, restrict=None: [
      (row['section'], row['count'], row['known'], row['most_similar'])
      for row in quality.score_analogies(kv, {'s': list(questions)}, restrict)
    ]
    assert score(question, restrict=5) == [('s', 1, 1, 1.0), ('total', 1, 1, 1.0)]
    assert score(question)[1] == ('total', 1, 1, 0.0)  # but to near first
    others = ('a', 'b', 'c', 'far'), ('a', 'b', 'c', 'near')
    assert score(question, *others, restrict=5)[1] == ('total', 3, 2, 0.5)

  def test_sections_and_functions(self):
    kv = KeyedVectors('abcd', np.eye(4))
    sections = {'one': [('a', 'b', 'c', 'd')], 'none': [], 'other': [('a', 'b', 'c', 'x')]}
    one, none, other, total = quality.score_analogies(kv, sections)
    assert one['most_similar'] == one['most_similar_cosmul'] == total['most_similar'] == 1
    assert math.isnan(none['most_similar']) and (none['count'], other['count']) == (0, 1)
    assert math.isnan(other['most_similar_cosmul']) and other['known'] == 0
    assert (total['count'], total['known']) == (2, 1)

  def test_no_question_is_known(self):
    rows = quality.score_analogies(KeyedVectors(['a'], [[1, 1]]), {'s': [('a', 'b', 'c', 'd')]})
    assert [row['known'] for row in rows] == [0, 0]
    assert all(math.isnan(row['most_similar']) for row in rows)


class TestEvaluation:
  def test_reading(self, folder):
    sets = quality.read_evaluation(folder)
    assert sets['MEN'][2] == ('Sea1', 'LAND1', 2.0) and len(sets['MEN']) == 4
    assert sets['Google analogies']['places'][0] == ('sea1', 'sea2', 'land1', 'land2')

  def test_a_file_is_missing(self, folder):
    (folder / 'EN-MEN-TR-3k.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'there is no file EN-MEN-TR-3k.txt in it'):
      quality.read_evaluation(folder)

  def test_every_set_is_scored(self, folder):
    """sea2 - sea1 + land1 is nearest to land2; the known pairs are in the right order."""
    words = ['sea1', 'sea2', 'land1', 'land2', 'sea3']
    kv = KeyedVectors(words, [[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, -1]])
    found = quality.evaluate(folder, kv, restrict=30_000)
    assert list(found) == ['WordSim-353', 'SimLex-999', 'MEN', 'RareWords', 'Google analogies']
    assert found['MEN'] == (pytest.approx(100), 3, 4) and found['Google analogies'] == (100, 1, 2)
