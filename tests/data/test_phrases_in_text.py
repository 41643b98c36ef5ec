"""Phrases in numbered text: counted, scored and joined as by hand, in lists, and by gensim."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jw2v.data import phrases as phrases_module
from jw2v.data import tokens
from jw2v.data.corpus import encode_corpus, learn_phrases
from jw2v.data.phrases import PhraseConfig, Phrases

CONNECTORS = ('of', 'the')
LINES = st.lists(
  st.lists(st.sampled_from(['a', 'b', 'c', 'of', 'the', 'd']), max_size=12), min_size=1, max_size=8
)
SCORINGS = [('word2phrase', 1.0), ('gensim', 0.3), ('npmi', 0.05)]


def by_hand(lines, config):
  """Finds the phrases of one pass from the definitions, one pair at a time."""
  words, pairs = {}, {}
  for line in lines:
    start = None
    for place, word in enumerate(line):
      if word in config.connector_words:
        continue
      words[word] = words.get(word, 0) + 1
      if start is not None:
        pair = tuple(line[start : place + 1])
        pairs[pair] = pairs.get(pair, 0) + 1
      start = place
  total = sum(map(len, lines))
  found = {}
  for pair, n in pairs.items():
    a, b = words[pair[0]], words[pair[-1]]
    if n < config.min_count or min(a, b) < config.min_count:
      continue
    if config.scoring == 'npmi':
      score = math.log(n * total / (a * b)) / -math.log(n / total) if n < total else math.nan
    else:
      factor = total if config.scoring == 'word2phrase' else len(words) + len(pairs)
      score = (n - config.min_count) / a / b * factor
    if score > config.threshold:
      found[pair] = score
  return found


def decoded(encoded):
  words = [encoded.vocabulary.words[i] for i in encoded.ids]
  return [words[a:b] for a, b in zip([0, *encoded.line_ends[:-1]], encoded.line_ends, strict=True)]


class TestFind:
  @given(LINES, st.sampled_from([1, 2, 5, 1 << 20]))
  @settings(max_examples=15, deadline=None, derandomize=True)
  def test_as_by_hand_and_joined_as_in_lists(self, lines, chunk):
    self.assert_as_by_hand(*SCORINGS[0], CONNECTORS, lines, chunk)

  @pytest.mark.slow
  @pytest.mark.parametrize(('scoring', 'threshold'), SCORINGS)
  @pytest.mark.parametrize('connectors', [(), CONNECTORS])
  @given(LINES, st.sampled_from([1, 2, 5, 1 << 20]))
  @settings(max_examples=60, deadline=None, derandomize=True)
  def test_every_scoring_as_by_hand(self, scoring, threshold, connectors, lines, chunk):
    self.assert_as_by_hand(scoring, threshold, connectors, lines, chunk)

  def assert_as_by_hand(self, scoring, threshold, connectors, lines, chunk):
    """Compares with `by_hand`, also for pairs across the pieces in memory."""
    if not any(lines):
      return
    config = PhraseConfig(1, threshold, scoring, connector_words=connectors)
    tokens._CHUNK, before = chunk, tokens._CHUNK
    limit, phrases_module._MAX_PAIRS = phrases_module._MAX_PAIRS, 1 if chunk == 2 else 10**6
    try:
      phrases = learn_phrases(lines, config)
      joined = [phrases.join(line) for line in lines if line]
      if max(map(len, joined)) > 1:
        encoded = encode_corpus(lines, min_count=1, phrases=config)
        assert encoded.phrases == phrases
        assert decoded(encoded) == joined
        assert decoded(encode_corpus(lines, min_count=1, phrases=phrases)) == joined
    finally:
      tokens._CHUNK, phrases_module._MAX_PAIRS = before, limit
    want = by_hand(lines, config)
    assert phrases.passes[0].keys() == want.keys()
    for pair, score in want.items():
      assert phrases.passes[0][pair] == pytest.approx(score, rel=1e-12)

  def test_two_passes_find_longer_phrases(self):
    lines = [['the', 'new', 'york', 'times', x] for x in 'abcdefgh' * 5]
    config = PhraseConfig(threshold=1.0, passes=2, connector_words=('the',))
    phrases = learn_phrases(lines, config)
    assert phrases.join(['new', 'york', 'times']) == ['new_york_times']
    first, second = phrases.passes
    assert ('new', 'york') in first and ('new_york', 'times') in second
    assert decoded(encode_corpus(lines, min_count=1, phrases=config))[0][:2] == [
      'the', 'new_york_times'
    ]  # fmt: skip

  def test_stops_when_a_pass_finds_nothing(self):
    phrases = learn_phrases([['a', 'b']] * 9, PhraseConfig(threshold=1e6, passes=5))
    assert phrases.passes == ({},) and phrases.join(['a', 'b']) == ['a', 'b']

  def test_too_many_words_for_one_number(self, monkeypatch):
    lines = [[f'w{i}', 'of', f'w{i + 1}'] for i in range(50)]
    monkeypatch.setattr(phrases_module, '_KEY_BITS', 12)
    with pytest.raises(ValueError, match=r'51 words and 2 sequences .* increase min_count'):
      learn_phrases(lines, PhraseConfig(1, connector_words=('of',)))

  def test_long_runs_are_not_held(self, monkeypatch):
    """Covers words that are all phrases, and connectors after the end of a line."""
    monkeypatch.setattr(tokens, '_CHUNK', 10)
    held = []
    segments = phrases_module._segments

    def watched(*args):
      for tokens_, line_ends, last in segments(*args):
        held.append(len(tokens_))
        yield tokens_, line_ends, last

    monkeypatch.setattr(phrases_module, '_segments', watched)
    phrases = Phrases(({('a', 'a'): 1.0},), ('of',))
    lines = [['a'] * 201, ['b'], *[['of']] * 200, ['a', 'a']]
    encoded = encode_corpus(lines, min_count=1, phrases=phrases)
    assert decoded(encoded)[0] == ['a_a'] * 100 + ['a']
    learn_phrases(lines, PhraseConfig(1, 0.1, connector_words=('of',)))
    assert max(held) < 15

  def test_reserved_words_are_in_no_phrase(self):
    lines = [['<s>', 'new', 'york', '</s>']] * 9
    encoded = encode_corpus(lines, phrases=PhraseConfig(threshold=0.1), reserved=['<s>', '</s>'])
    assert encoded.vocabulary.words == ('<s>', '</s>', 'new_york')

  def test_delimiter(self):
    config = PhraseConfig(threshold=1, delimiter='~')
    assert (
      'a~b'
      in encode_corpus(
        [['a', 'b', str(i)] for i in range(9)], min_count=1, phrases=config
      ).vocabulary.words
    )


class TestPeers:
  @pytest.mark.parametrize('connectors', [(), CONNECTORS])
  @pytest.mark.parametrize(('theirs', 'ours', 'threshold'), [
    ('default', 'gensim', 0.2), ('npmi', 'npmi', 0.02)])  # fmt: skip
  def test_pairs_scores_and_lines_as_gensim(self, theirs, ours, threshold, connectors):
    gensim = pytest.importorskip('gensim.models.phrases')
    generator = np.random.default_rng(0)
    names = np.array([*CONNECTORS, *(f'w{i}' for i in range(300))])
    lines = []
    for _ in range(2000):
      line = names[np.minimum(generator.zipf(1.2, 12), len(names)) - 1].tolist()
      if generator.random() < 0.3:
        line[4:4] = ['bank', 'of', 'england'] if generator.random() < 0.5 else ['new', 'york']
      lines.append(line)
    model = gensim.Phrases(lines, 5, threshold, scoring=theirs, connector_words=set(connectors))
    phrases = learn_phrases(lines, PhraseConfig(5, threshold, ours, connector_words=connectors))
    want = model.export_phrases()
    assert {'_'.join(words) for words in phrases.passes[0]} == want.keys() and len(want) > 5
    for words, score in phrases.passes[0].items():
      assert score == pytest.approx(want['_'.join(words)], rel=1e-12)
    for line in lines[:300]:
      assert phrases.join(line) == list(model[line])
