"""Phrases: their settings, their file, and joining them in lists of words."""

import json
import math

import numpy as np
import pytest

from jw2v.data.phrases import PhraseConfig, Phrases


class TestJoin:
  def test_from_left_to_right_each_word_once(self):
    phrases = Phrases(({('a', 'b'): 1.0, ('b', 'c'): 2.0, ('c', 'of', 'd'): 1.0},), ('of',))
    join = lambda line: ' '.join(phrases.join(line.split()))
    assert join('a b c') == 'a_b c' and join('x b c') == 'x b_c'
    assert join('a b c of d') == 'a_b c_of_d' and join('c of of d') == 'c of of d'
    assert join('of a of b') == 'of a of b' and join('') == ''

  def test_what_was_joined_is_not_joined_again_in_the_same_pass(self):
    phrases = Phrases(({('a', 'b'): 1.0, ('a_b', 'c'): 1.0},))
    assert phrases.join('a b c a_b c'.split()) == ['a_b', 'c', 'a_b_c']

  def test_pass_after_pass(self):
    phrases = Phrases(({('a', 'b'): 1.0}, {('a_b', 'c'): 1.0}))
    assert phrases.join('a b c b'.split()) == ['a_b_c', 'b']


class TestFile:
  PHRASES = Phrases(
    ({('new', 'york'): 1 / 3, ('bank', 'of', 'england'): 7.0}, {('new_york', 't\u00fc'): -1e-9}),
    ('of',), '+',
  )  # fmt: skip

  def test_round_trip(self, tmp_path):
    self.PHRASES.save(tmp_path / 'phrases.txt')
    assert Phrases.load(tmp_path / 'phrases.txt') == self.PHRASES
    assert '2 -1e-09 new_york tü' in (tmp_path / 'phrases.txt').read_text(encoding='utf-8')

  @pytest.mark.parametrize('word', ['a b', 'a\tb', 'a\n', '', '\ud800'])
  def test_word_that_it_cannot_hold(self, tmp_path, word):
    with pytest.raises(ValueError, match='a phrase must '):
      Phrases(({(word, 'b'): 1.0},)).save(tmp_path / 'phrases.txt')
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize(
    ('content', 'row'),
    [
      ('', 1), ('{}\n', 1), ('no json\n', 1), ('HEADER1 0.5 alone\n', 2), ('HEADER3 0.5 a b\n', 2),
      ('HEADER1 0.5 a b\n1 high a b\n', 3), ('HEADER1\n', 2),
    ],
  )  # fmt: skip
  def test_damaged(self, tmp_path, content, row):
    header = '{"passes": 2, "connector_words": [], "delimiter": "_"}\n'
    (tmp_path / 'phrases.txt').write_text(content.replace('HEADER', header))
    with pytest.raises(ValueError, match=rf'phrases\.txt: row {row} is corrupted'):
      Phrases.load(tmp_path / 'phrases.txt')

  def test_more_passes_than_a_file_may_have(self):
    with pytest.raises(ValueError, match='passes must be an integer from 0 to 1000, got 1001'):
      Phrases(({},) * 1001)


class TestConfig:
  @pytest.mark.parametrize(
    ('settings', 'message'),
    [
      ({'scoring': 'pmi'}, "scoring must be one of 'gensim', 'npmi', 'word2phrase', got 'pmi'"),
      ({'min_count': 0}, 'min_count must be an integer of at least 1, got 0'),
      ({'passes': 1.5}, 'passes must be an integer .*, got 1.5'),
      ({'passes': 1001}, 'passes must be an integer from 1 to 1000, got 1001'),
      ({'threshold': math.nan}, 'threshold must be a finite number, got nan'),
      ({'threshold': '5'}, "threshold must be a finite number, got '5'"),
      ({'delimiter': ' '}, "delimiter must be a string without white space, got ' '"),
    ],
  )
  def test_refused(self, settings, message):
    with pytest.raises(ValueError, match=message):
      PhraseConfig(**settings)

  def test_a_text_is_no_list_of_connectors(self):
    with pytest.raises(TypeError, match="connector_words must be a list of words, got 'of the'"):
      PhraseConfig(connector_words='of the')

  def test_the_order_of_a_set_does_not_matter(self):
    words = ('of', 'the', 'a', 'an', 'in')
    assert PhraseConfig(connector_words=frozenset(words)) == PhraseConfig(
      connector_words=words[::-1]
    )

  def test_numbers_of_numpy_are_welcome(self):
    config = PhraseConfig(np.int64(2), np.float32(1), passes=np.int64(2))
    json.dumps(config.settings())

  @pytest.mark.parametrize('words', [('a',), ('a', 'b', 'c'), ('of', 'b'), ('a', 'of')])
  def test_phrase_that_cannot_be(self, words):
    with pytest.raises(ValueError, match=r'a phrase must be two words'):
      Phrases(({words: 1.0},), ('of',))

  def test_thresholds(self):
    assert PhraseConfig().threshold == 100 and PhraseConfig(scoring='npmi').threshold == 0.5
