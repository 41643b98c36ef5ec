"""Which words stay, and in which order."""

import numpy as np
import pytest

from jw2v.vocabulary import select_words


class TestSelectWords:
  WORDS, COUNTS = ['b', 'a', 'rare', 'c', 'top'], np.array([3, 3, 1, 3, 9])

  def test_by_count_and_then_by_first_appearance(self):
    vocabulary, new_ids = select_words(self.WORDS, self.COUNTS, min_count=2)
    assert vocabulary.words == ('top', 'b', 'a', 'c')
    assert vocabulary.counts.tolist() == [9, 3, 3, 3]
    assert new_ids.tolist() == [1, 2, -1, 3, 0]
    assert vocabulary.index['c'] == 3 and len(vocabulary) == 4

  def test_max_size_keeps_the_most_frequent(self):
    vocabulary, new_ids = select_words(self.WORDS, self.COUNTS, min_count=1, max_size=2)
    assert vocabulary.words == ('top', 'b') and new_ids.tolist() == [1, -1, -1, -1, 0]

  def test_no_word_left_is_refused(self):
    with pytest.raises(ValueError, match=r"min_count=10 .*'top', occurs 9 times"):
      select_words(self.WORDS, self.COUNTS, min_count=10)
