"""Vocabulary: selection and order of the words."""

import numpy as np
import pytest

from jw2v.data.vocabulary import Vocabulary, select_words


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

  def test_reserved_and_known_words_count_for_the_size(self):
    known = Vocabulary(('old', 'c'), np.array([0, 1]))
    select = lambda size, **more: (
      select_words(
        self.WORDS, self.COUNTS, min_count=1, max_size=size, reserved=['<s>'], known=known, **more
      )[0].words
    )
    assert select(4) == ('<s>', 'top', 'c', 'old')
    assert select(3) == ('<s>', 'c', 'old')
    assert select(3, keep_known=False) == ('<s>', 'top', 'c')
    with pytest.raises(ValueError, match=r'max_vocab_size must be at least 3, .*, got 2'):
      select(2)

  def test_known_words_came_first(self):
    """Breaks ties of counts in favor of words of the earlier corpus."""
    known = Vocabulary(('z', 'a'), np.array([3, 0]))
    vocabulary, new_ids = select_words(self.WORDS, self.COUNTS, min_count=3, known=known)
    assert vocabulary.words == ('top', 'z', 'a', 'b', 'c')
    assert new_ids.tolist() == [3, 2, -1, 4, 0]

  def test_reserved_twice(self):
    with pytest.raises(ValueError, match="reserved has a duplicate word '"):
      select_words(['a'], [1], min_count=1, reserved=['x', 'x'])


class TestVocabulary:
  @pytest.mark.parametrize(
    ('words', 'counts', 'message'),
    [
      (('a', 'b'), [1], 'counts must be 2 integers'),
      (('a',), [1.5], 'counts must be 1 integers'),
      (('a', 'b'), [1, -1], "the count of 'b' must be from 0 to .*, got -1"),
      (('a', 'a'), [1, 1], "duplicate word 'a'"),
    ],
  )
  def test_refused(self, words, counts, message):
    with pytest.raises(ValueError, match=message):
      Vocabulary(words, counts)

  def test_lists_are_welcome(self):
    assert Vocabulary(['a', 'b'], [2, 1]).counts.dtype == np.int64


class TestFile:
  def test_round_trip(self, tmp_path):
    words = ('the', '\u00a0', 'a b', '\u2028', '', 'tab\tin', '\u00fc')
    Vocabulary(words, np.array([9, 8, 7, 3, 2, 1, 0])).save(tmp_path / 'v.txt')
    again = Vocabulary.load(tmp_path / 'v.txt')
    assert again.words == words and again.counts.tolist() == [9, 8, 7, 3, 2, 1, 0]
    assert again.counts.dtype == np.int64

  def test_made_elsewhere(self, tmp_path):
    """Accepts the C tool's `</s>` first with any count, and tabs and CRLF of other programs."""
    (tmp_path / 'v.txt').write_bytes(b'</s> 0\r\nthe\t12\r\nof 15')
    vocabulary = Vocabulary.load(tmp_path / 'v.txt')
    assert vocabulary.words == ('</s>', 'the', 'of') and vocabulary.counts.tolist() == [0, 12, 15]

  @pytest.mark.parametrize(
    ('content', 'message'),
    [
      (b'', 'contains no words'),
      (b'the 3\nof\n', 'row 2 must be "word count", got b\'of\''),
      (b'the -3\n', 'row 1 must be'),
      (b'the 3.5\n', 'row 1 must be'),
      (b'the 99999999999999999999\n', 'row 1 must be'),
      (b'the 9007199254740993\n', "the count of 'the' must be"),
      (b'a 3\nb 2\na 1\n', "duplicate word 'a' in rows 1 and 3"),
      (b'a 3\n\xff 2\n', 'row 2: .*utf-8'),
    ],
  )
  def test_damaged(self, tmp_path, content, message):
    (tmp_path / 'v.txt').write_bytes(content)
    with pytest.raises(ValueError, match=rf'v\.txt: {message}'):
      Vocabulary.load(tmp_path / 'v.txt')

  @pytest.mark.parametrize('word', ['a\nb', '\ud800'])
  def test_word_that_it_cannot_hold(self, tmp_path, word):
    with pytest.raises(ValueError, match='a word must '):
      Vocabulary((word,), np.array([1])).save(tmp_path / 'v.txt')
    assert not list(tmp_path.iterdir())
