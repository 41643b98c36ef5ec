"""Text vectors compared with a float64 reference, and tokenization of texts."""

import collections
import logging as python_logging
import re

import numpy as np
import pytest

from jw2v import KeyedVectors, SubwordVectors, Vocabulary, text_vectors
from jw2v.ngrams import Ngrams
from jw2v.vectors import text_vectors as module
from tests.formats.tables import model

RNG = np.random.default_rng(0)
WORDS = [f'w{i}' for i in range(50)]


@pytest.fixture
def kv():
  return KeyedVectors(WORDS, RNG.normal(size=(50, 7)) + 0.3)


def some_texts(count, longest=9, words=(*WORDS, 'unknown')):
  return [list(RNG.choice(words, size=RNG.integers(0, longest))) for _ in range(count)]


def reference(kv, texts, probability=None, smoothing=1e-3, component=None):
  """Computes the paper's formula in float64, text by text; uniform if probability is None."""
  means = []
  for words in texts:
    known = [word for word in words if word in kv]
    mean = np.zeros(kv.vector_size)
    for word in known:
      scale = 1.0 if probability is None else smoothing / (smoothing + probability(word))
      mean += scale * kv[word].astype(np.float64) / len(known)
    means.append(mean)
  means = np.array(means)
  if probability is None:
    return means
  if component is None:
    component = np.linalg.svd(means, full_matrices=False)[2][0]
  return means - np.outer(means @ component, component)


def zipf(kv):
  weights = {word: 1 / rank for rank, word in enumerate(kv.index_to_key, start=1)}
  return lambda word: weights.get(word, 0) / sum(weights.values())


def assert_close(got, want):
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


class TestWeights:
  def test_mean(self, kv):
    texts = some_texts(40)
    assert_close(text_vectors(kv, texts, weights='mean'), reference(kv, texts))

  @pytest.mark.parametrize('smoothing', [1e-3, 0.5])
  def test_sif_without_counts_follows_zipfs_law(self, kv, smoothing):
    texts = some_texts(40)
    got = text_vectors(kv, texts, smoothing=smoothing)
    assert_close(got, reference(kv, texts, zipf(kv), smoothing))

  def test_counts_in_all_forms(self, kv):
    texts = some_texts(40)
    counts = RNG.integers(1, 100, 50)
    share = dict(zip(WORDS, counts / counts.sum(), strict=True))
    want = reference(kv, texts, share.__getitem__)
    forms = [counts, list(map(int, counts)), dict(zip(WORDS, counts.tolist(), strict=True)),
             Vocabulary(tuple(WORDS), counts)]  # fmt: skip
    for form in forms:
      assert_close(text_vectors(kv, texts, counts=form), want)

  def test_a_mapping_may_have_other_words_and_lack_some(self, kv):
    texts = some_texts(40)
    counts = collections.Counter({'w1': 30, 'w9': 10, 'elsewhere': 60})
    got = text_vectors(kv, texts, counts=counts)
    assert_close(got, reference(kv, texts, lambda word: counts[word] / 100))

  def test_counts_of_the_vectors_are_used(self):
    kv = model()  # its counts do not follow Zipf's law
    texts = some_texts(20, words=kv.index_to_key)
    share = dict(zip(kv.index_to_key, kv.counts / kv.counts.sum(), strict=True))
    assert_close(text_vectors(kv, texts), reference(kv, texts, share.__getitem__))
    kv.counts = np.zeros(len(kv), np.int64)  # not counted
    assert_close(text_vectors(kv, texts), reference(kv, texts, zipf(kv)))


class TestComponent:
  def test_of_other_texts(self, kv):
    train, new = some_texts(40), some_texts(5)
    vectors, component = text_vectors(kv, train, return_component=True)
    assert_close(vectors, reference(kv, train, zipf(kv)))
    np.testing.assert_allclose(np.linalg.norm(component), 1, rtol=1e-6)
    got = text_vectors(kv, new, component=component)
    assert_close(got, reference(kv, new, zipf(kv), component=component.astype(float)))
    np.testing.assert_allclose(got @ component, 0, atol=1e-6)

  def test_of_zeros_removes_nothing(self, kv):
    texts = some_texts(10)
    got = text_vectors(kv, texts, component=np.zeros(7))
    assert_close(got, reference(kv, texts, zipf(kv), component=np.zeros(7)))

  def test_its_largest_number_is_positive(self, kv):
    """Fixes the sign of a singular vector, which otherwise depends on LAPACK."""
    for _ in range(20):
      component = text_vectors(kv, some_texts(5, words=WORDS), return_component=True)[1]
      assert component[np.abs(component).argmax()] > 0

  def test_texts_without_a_known_word_do_not_change_it(self, kv):
    texts = some_texts(10)
    one = text_vectors(kv, texts, return_component=True)
    other = text_vectors(kv, [*texts, ['unknown'], []], return_component=True)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-5)
    np.testing.assert_allclose(other[0][:10], one[0], atol=1e-6)
    assert not other[0][10:].any()

  def test_of_no_known_word_is_zero(self, kv):
    vectors, component = text_vectors(kv, ['unknown', ''], return_component=True)
    assert not vectors.any() and not component.any() and component.shape == (7,)

  def test_of_one_text_warns(self, kv, caplog):
    with caplog.at_level(python_logging.WARNING):
      vectors = text_vectors(kv, ['w1 w2', 'unknown'])
    np.testing.assert_allclose(vectors, 0, atol=1e-6)
    assert 'one text is its own component' in caplog.text
    caplog.clear()
    text_vectors(kv, ['w1 w2', 'w1 w3'])
    assert not caplog.text


class TestBatches:
  @pytest.mark.parametrize('sizes', [((4, 3),), ((4, 2), (16, 5))])
  def test_texts_across_batches(self, kv, monkeypatch, sizes):
    """Reads a generator of texts of all lengths, several of them longer than a batch."""
    texts = [[], *some_texts(60, longest=40), ['unknown'] * 30, *[[]] * 12]
    monkeypatch.setattr(module, '_SIZES', sizes)
    got = text_vectors(kv, iter(texts), weights='mean')
    assert_close(got, reference(kv, texts))
    assert got.flags.owndata

  def test_few_sizes_are_compiled(self, kv):
    kv = KeyedVectors(WORDS, RNG.normal(size=(50, 11)))  # a width of its own
    before = module._segment_sums._cache_size()
    for count in (1, 2, 30, 200, 201, 5000):
      text_vectors(kv, some_texts(count), weights='mean')
    assert module._segment_sums._cache_size() - before == 2

  def test_texts_are_read_once_and_words_may_be_iterators(self, kv):
    got = text_vectors(kv, (iter(words) for words in [['w1', 'w2'], ['w3']]), weights='mean')
    assert_close(got, reference(kv, [['w1', 'w2'], ['w3']]))

  def test_of_no_text_and_no_word(self, kv):
    assert text_vectors(kv, []).shape == (0, 7)
    empty = KeyedVectors([], np.zeros((0, 3)))
    np.testing.assert_array_equal(text_vectors(empty, ['a', '']), np.zeros((2, 3)))


class TestWordsOfText:
  def vectors(self, words, text, **more):
    """Returns the count of each word in the text, from one-hot vectors."""
    kv = KeyedVectors(words, np.eye(len(words)))
    (mean,) = text_vectors(kv, [text], weights='mean', **more)
    return (mean / (mean[mean > 0].min() if mean.any() else 1)).round(5).tolist()

  def test_lower_case_with_apostrophes_and_without_punctuation(self):
    words = ['don\u2019t', "o'neil", 'émile', '42', 'x', 'a_b', '_']
    text = "DON\u2019T! O'Neil's; ÉMILE, \"42\" a_b x_x 'o'neil'"
    assert self.vectors(words, text) == [1, 1, 1, 1, 2, 0, 0]

  def test_word_as_written_where_only_that_is_known(self):
    words = ['Paris', 'us', 'US', 'the']
    assert self.vectors(words, 'The US in Paris, paris') == [1, 1, 0, 1]

  def test_lower_case_that_splits_a_word(self):
    """Splits at the combining dot in the lower case of U+0130, which is not part of a word."""
    assert self.vectors(['A', 'i', 'stanbul'], '\u0130stanbul A') == [0, 1, 1]

  def test_split_by_a_function(self):
    assert self.vectors(['Two', 'two', 'words'], 'Two-words', split=lambda s: s.split('-')) == [
      1, 0, 1
    ]  # fmt: skip

  def test_lists_are_used_as_given(self):
    assert self.vectors(['Two', 'two', 'a b'], ['Two', 'a b', 'TWO']) == [1, 0, 1]

  def test_unseen_words_have_vectors_from_ngrams(self):
    kv = model()
    want = reference(kv, [['seaside', 'café', 'seas'], ['seal']])
    assert_close(text_vectors(kv, ['seaside café seas', 'Seal'], weights='mean'), want)
    share = dict(zip(kv.index_to_key, kv.counts / kv.counts.sum(), strict=True))
    got = text_vectors(kv, ['seaside café', 'seal seas'])
    want = reference(kv, [['seaside', 'café'], ['seal', 'seas']], lambda w: share.get(w, 0))
    assert_close(got, want)

  def test_word_without_ngrams_is_skipped(self):
    kv = SubwordVectors(['abc'], np.ones((1, 2)), Ngrams(np.ones((1, 2)), 3, 3, 99, np.array([0])))
    unseen = [word for word in ('xyz', 'uvw', 'rst') if word not in kv]
    np.testing.assert_array_equal(text_vectors(kv, [['abc', *unseen]], weights='mean'), [[1, 1]])


class TestRefused:
  @pytest.mark.parametrize(
    ('more', 'message'),
    [
      ({'weights': 'tfidf'}, "weights must be one of 'mean', 'sif', got 'tfidf'"),
      ({'weights': 'mean', 'return_component': True}, 'return_component must be left out'),
      ({'weights': 'mean', 'component': np.ones(7)}, 'return_component must be left out'),
      ({'component': np.ones(6)}, 'component must be 7 finite numbers, got shape [6]'),
      ({'component': np.full(7, np.nan)}, 'component must be 7 finite numbers'),
      ({'smoothing': 0}, 'smoothing must be a number above 0, got 0'),
      ({'smoothing': -1}, 'smoothing'),
      ({'counts': [1, 2]}, 'counts must have one number for each of 50 words, got 2'),
      ({'counts': {'a': 0}}, 'counts must have a sum above 0'),
      ({'counts': {'a': -1}}, 'counts must be finite and at least 0'),
    ],
  )  # fmt: skip
  def test_settings(self, kv, more, message):
    with pytest.raises(ValueError, match=re.escape(message)):
      text_vectors(kv, ['w1'], **more)

  @pytest.mark.parametrize(
    ('texts', 'message'),
    [
      ('w1 w2', "texts must be a list of texts, got 'w1 w2'; put it into a list"),
      (['w1', None], 'text 2 must be a string or a list of words, got None'),
      ([b'w1'], "text 1 must be a string or a list of words, got b'w1'"),
      ([{'text': 'w1'}], 'text 1 must be a string or a list of words, got {'),
      ([['w1', 3]], 'words must be strings, got 3'),
    ],
  )
  def test_texts(self, kv, texts, message):
    with pytest.raises(TypeError, match=re.escape(message)):
      text_vectors(kv, texts)
