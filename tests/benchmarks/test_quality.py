"""Scores of vectors: rank correlation, analogies, and the files with their data."""

import pytest
from programs import write_data_sets

from benchmarks import quality
from jw2v import KeyedVectors


@pytest.fixture
def folder(tmp_path):
  return write_data_sets(tmp_path)


class TestEvaluation:
  def test_reading(self, folder):
    sets = quality.read_evaluation(folder)
    assert sets['MEN'][2] == ('Sea1', 'LAND1', 2.0) and len(sets['MEN']) == 4
    assert sets['Google analogies']['places'][0] == ('sea1', 'sea2', 'land1', 'land2')

  def test_a_file_is_missing(self, folder):
    (folder / 'EN-MEN-TR-3k.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'file EN-MEN-TR-3k.txt not found'):
      quality.read_evaluation(folder)

  def test_every_set_is_scored(self, folder):
    """Scores all sets: land2 is nearest to sea2 - sea1 + land1, and known pairs are in order."""
    words = ['sea1', 'sea2', 'land1', 'land2', 'sea3']
    kv = KeyedVectors(words, [[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, -1]])
    found = quality.evaluate(folder, kv, restrict=30_000)
    assert list(found) == ['WordSim-353', 'SimLex-999', 'MEN', 'RareWords', 'Google analogies']
    assert found['MEN'] == (pytest.approx(100), 3, 4) and found['Google analogies'] == (100, 1, 2)
