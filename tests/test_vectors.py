"""KeyedVectors: look-up and similarity."""

import numpy as np
import pytest

from jw2v import KeyedVectors

WORDS = ['a', 'b', 'c', 'd', 'zero']


@pytest.fixture
def kv():
  vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
  vectors[4] = 0
  return KeyedVectors(WORDS, vectors)


def cosine(x, y):
  return x @ y / np.linalg.norm(x) / np.linalg.norm(y)


class TestKeyedVectors:
  def test_look_up(self, kv):
    assert len(kv) == 5 and kv.vector_size == 3 and 'b' in kv and 'x' not in kv
    assert kv.index_to_key == WORDS and kv.key_to_index['c'] == 2
    np.testing.assert_array_equal(kv['b'], kv.vectors[1])
    np.testing.assert_array_equal(kv[['c', 'a']], kv.vectors[[2, 0]])

  def test_similarity_is_the_cosine(self, kv):
    np.testing.assert_allclose(kv.similarity('a', 'c'), cosine(kv['a'], kv['c']), rtol=1e-5)

  def test_zero_vector_has_cosine_zero(self, kv):
    assert kv.similarity('a', 'zero') == 0 and kv.similarity('zero', 'zero') == 0
    assert [score for _, score in kv.most_similar('zero')] == [0.0] * 4

  def test_most_similar_by_brute_force(self, kv):
    want = sorted(((w, cosine(kv['a'], kv[w])) for w in 'bcd'), key=lambda x: -x[1])
    got = kv.most_similar('a', topn=4)
    assert {word for word, _ in got} == {'b', 'c', 'd', 'zero'}
    kept = [pair for pair in got if pair[0] != 'zero']
    assert [w for w, _ in kept] == [w for w, _ in want]
    np.testing.assert_allclose([s for _, s in kept], [s for _, s in want], rtol=1e-5)

  def test_analogy_uses_unit_vectors_and_leaves_out_what_was_asked(self, kv):
    unit = lambda w: kv[w] / np.linalg.norm(kv[w])
    target = unit('a') + unit('b') - unit('c')
    got = kv.most_similar(['a', 'b'], ['c'], topn=1)
    want = max(['d', 'zero'], key=lambda w: cosine(target, kv[w]) if w != 'zero' else 0)
    assert got[0][0] == want
    assert {w for w, _ in kv.most_similar(['a', 'b'], ['c'])} == {'d', 'zero'}

  def test_vectors_as_terms(self, kv):
    got = kv.similar_by_vector(kv['b'], topn=1)
    assert got[0][0] == 'b'
    np.testing.assert_allclose(got[0][1], 1, rtol=1e-6)
    assert kv.most_similar(kv['b'], topn=1) == got

  def test_words_count_with_unit_vectors_and_vectors_as_they_are(self):
    """gensim's rule: (1, 0) + (0, 3) points to 72 degrees, the two unit vectors to 45."""
    angles = np.deg2rad([0, 45, 72])
    table = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    plane = KeyedVectors(['zero', 'half', 'steep'], 5 * table)
    got = plane.most_similar(['zero', np.array([0.0, 3.0])], topn=1)
    assert got[0][0] == 'steep' and got[0][1] > 0.999

  def test_terms_that_are_neither_words_nor_vectors(self, kv):
    for term in (3, np.ones(2), np.ones((3, 3)), ('a', 0.5)):
      with pytest.raises(ValueError, match='is neither a word nor a vector'):
        kv.most_similar([term])

  def test_restrict_vocab_and_topn(self, kv):
    assert {w for w, _ in kv.most_similar('d', restrict_vocab=2)} == {'a', 'b'}
    assert kv.most_similar('a', topn=0) == []
    assert kv.most_similar('a', restrict_vocab=0) == kv.most_similar('a')
    assert len(kv.most_similar('a', topn=99)) == 4

  def test_unknown_word_is_named(self, kv):
    for ask in (lambda: kv['x'], lambda: kv.similarity('a', 'x'), lambda: kv.most_similar('x')):
      with pytest.raises(KeyError, match="'x' is not among the 5 words"):
        ask()

  def test_bad_tables_are_refused(self):
    with pytest.raises(ValueError, match=r'2 words need vectors \[2, D\], got \[3, 4\]'):
      KeyedVectors(['a', 'b'], np.ones((3, 4)))
    with pytest.raises(ValueError, match="'a' is there twice"):
      KeyedVectors(['a', 'b', 'a'], np.ones((3, 4)))
    with pytest.raises(ValueError, match='needs a positive or negative'):
      KeyedVectors(['a'], np.ones((1, 2))).most_similar()
