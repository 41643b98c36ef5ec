"""Character n-grams: buckets match a plain loop, and vectors are means of rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import jw2v.ngrams as module
from jw2v.ngrams import Ngrams, ngram_buckets, word_vectors


def buckets_by_hand(word, min_n, max_n, buckets):
  """Computes buckets character by character, as fastText's computeSubwords does."""
  text, found = f'<{word}>', []
  for start in range(len(text)):
    for n in range(min_n, max_n + 1):
      gram = text[start : start + n]
      if len(gram) < n or (n == 1 and start in (0, len(text) - 1)):
        continue
      h = 2166136261
      for byte in gram.encode():
        h = ((h ^ ((byte - 256 if byte > 127 else byte) & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
      found.append(h % buckets)
  return sorted(found)


class TestNgrams:
  @settings(max_examples=100, deadline=None)
  @given(
    words=st.lists(st.text(st.sampled_from('ab<>é語😀 '), max_size=9), min_size=1, max_size=5),
    min_n=st.integers(1, 4),
    more=st.integers(0, 3),
    buckets=st.sampled_from([1, 7, 2_000_000]),
  )
  def test_are_those_of_a_loop(self, words, min_n, more, buckets):
    rows, starts = ngram_buckets(words, min_n, min_n + more, buckets)
    for word, start, end in zip(words, starts, starts[1:], strict=False):
      by_hand = buckets_by_hand(word, min_n, min_n + more, buckets)
      assert sorted(rows[start:end].tolist()) == by_hand
    assert starts[-1] == len(rows)

  def test_known_hash(self):
    """Uses the 32-bit FNV-1a hash of "<a>" and fastText's default number of buckets."""
    rows, _ = ngram_buckets(['a'], 3, 6, 2_000_000)
    h = 2166136261
    for byte in b'<a>':
      h = (h ^ byte) * 16777619 % 2**32
    assert rows.tolist() == [h % 2_000_000]


def test_blocks_of_words_make_no_difference(monkeypatch):
  rng = np.random.default_rng(0)
  words = [''.join(rng.choice(list('abcé'), rng.integers(0, 9))) + str(i) for i in range(40)]
  rows, ngrams = rng.normal(size=(40, 5)), Ngrams(rng.normal(size=(30, 5)), 2, 4, 30)
  whole = word_vectors(words, rows, ngrams)
  for size, count in ((1, 1 << 18), (7, 1 << 18), (4096, 60), (4096, 1)):
    monkeypatch.setattr(module, '_WORDS', size)
    monkeypatch.setattr(module, '_NGRAMS', count)
    np.testing.assert_allclose(word_vectors(words, rows, ngrams), whole, atol=1e-6)
