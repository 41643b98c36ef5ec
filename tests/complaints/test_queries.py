"""Queries with collections and arrays of other libraries."""

import collections
import copy
import os
import pickle
import subprocess
import sys

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pandas as pd
import pyarrow
import pytest

import jw2v
from jw2v import KeyedVectors, SubwordVectors, load_vectors, save_vectors
from jw2v.ngrams import Ngrams
from tests.formats.tables import model

KV = KeyedVectors(['a', 'b', 'c', 'd'], [[1, 2], [3, 4], [5, -1], [-2, 1]])

WORD_LISTS = {
  'tuple': tuple,
  'numpy': np.array,
  'numpy of objects': lambda words: np.array(words, object),
  'numpy strings': lambda words: np.array(words, np.dtypes.StringDType()),
  'Series': lambda words: pd.Series(words, index=range(7, 7 + len(words))),
  'Series of pyarrow': lambda words: pd.Series(words, dtype='string[pyarrow]'),
  'Series of str': lambda words: pd.Series(words, dtype='str'),
  'Index': pd.Index,
  'Categorical': pd.Categorical,
  'arrow': pyarrow.array,
  'large arrow': lambda words: pyarrow.chunked_array(
    [pyarrow.array(words, pyarrow.large_string())]
  ),
  'generator': lambda words: (word for word in words),
  'deque': collections.deque,
  'keys': lambda words: dict.fromkeys(words).keys(),
}
UNORDERED = {'set': set, 'frozenset': frozenset}
NUMBERS = {
  'list': lambda array: array.tolist(),
  'tuple': lambda array: tuple(array.tolist()),
  'jax': jnp.asarray,
  'bfloat16 of jax': lambda array: jnp.asarray(array, jnp.bfloat16),
  'float16': lambda array: array.astype(np.float16),
  'integers': lambda array: array.astype(int),
  'unmasked': np.ma.masked_array,
  'Series': lambda array: pd.Series(array, index=range(7, 7 + len(array))),
}


@pytest.mark.parametrize('kind', WORD_LISTS.values(), ids=WORD_LISTS)
def test_words_in_any_collection(kind):
  same = np.testing.assert_array_equal
  words = ['a', 'c']
  assert KV.most_similar(kind(words)) == KV.most_similar(words)
  assert KV.most_similar(kind(words), kind(['b'])) == KV.most_similar(words, ['b'])
  assert KV.most_similar_cosmul(kind(words)) == KV.most_similar_cosmul(words)
  assert KV.most_similar_many(kind(words)) == KV.most_similar_many(words)
  assert KV.most_similar_many(kind(words), kind(words)) == KV.most_similar_many(words, words)
  same(KV.distances('b', kind(words)), KV.distances('b', words))
  assert KV.most_similar_to_given('b', kind(words)) == 'a'
  ranked = KV.rank_by_centrality(kind(['a', 'b', 'c']))
  assert ranked == KV.rank_by_centrality(['a', 'b', 'c'])
  assert {type(word) for _, word in ranked} == {str}
  assert KV.n_similarity(kind(words), kind(['b'])) == KV.n_similarity(words, ['b'])
  same(KV[kind(words)], KV[words])
  same(KV.get_mean_vector(kind(words)), KV.get_mean_vector(words))
  assert KV.subset(kind(words)).index_to_key == words
  assert KV.vectors_for_all(kind([*words, 'no'])).index_to_key == words
  made = KeyedVectors(kind(words), np.ones((2, 2)))
  assert list(map(type, made.index_to_key)) == [str, str] and made.index_to_key == words


def test_tables_of_a_generator():
  assert len(KeyedVectors.concatenate(kv for kv in [KV, KV])) == 4
  assert KeyedVectors.concatenate((kv for kv in [KV, KV]), axis=1).vector_size == 4


@pytest.mark.parametrize('kind', UNORDERED.values(), ids=UNORDERED)
def test_words_in_a_set_where_the_order_does_not_matter(kind):
  words = ['a', 'c']
  assert KV.most_similar(kind(words)) == KV.most_similar(words)
  assert KV.most_similar_to_given('b', kind(words)) == 'a'
  assert KV.doesnt_match(kind('abc')) == KV.doesnt_match(['a', 'b', 'c'])
  assert KV.n_similarity(kind(words), ['b']) == pytest.approx(KV.n_similarity(words, ['b']))


def test_one_word_is_not_taken_for_its_letters():
  assert KV.distances('a', 'b') == KV.distances('a', ['b'])
  assert KV.n_similarity('a', 'b') == KV.n_similarity(['a'], ['b'])
  assert KV.most_similar_many('a') == KV.most_similar_many(['a'])
  assert KV.subset('a').index_to_key == ['a']
  with pytest.raises(ValueError, match=r"at least one known word, got \['a b c'\]"):
    KV.doesnt_match('a b c')
  with pytest.raises(KeyError, match="word 'ab' not found among"):
    KV.n_similarity('ab', 'a')


@pytest.mark.parametrize('kind', NUMBERS.values(), ids=NUMBERS)
def test_vectors_of_any_library(kind):
  plain = np.array([1, 2], np.float32)
  vector, best = kind(plain), KV.most_similar(plain)
  assert KV.most_similar(vector) == KV.most_similar([vector]) == best
  assert KV.most_similar((vector, 0.5)) == KV.most_similar([(vector, 0.5)]) == best
  assert KV.most_similar(negative=(vector, 0.5)) == best
  assert KV.similar_by_vector(vector) == best
  assert KV.most_similar_cosmul(vector) == KV.most_similar_cosmul(plain)
  assert KV.most_similar(['a', vector]) == KV.most_similar(['a', plain])
  np.testing.assert_array_equal(KV.distances(vector), KV.distances(plain))
  np.testing.assert_array_equal(KV.cosines(vector), KV.cosines(plain))
  np.testing.assert_array_equal(KV.get_mean_vector(['a', 'b'], vector),
                                KV.get_mean_vector(['a', 'b'], plain))  # fmt: skip


@pytest.mark.parametrize('weight', [np.float32(0.5), jnp.bfloat16(0.5), np.array(0.5), 1])
def test_weights_of_any_library(weight):
  assert KV.most_similar([('a', weight), 'b']) == KV.most_similar([('a', float(weight)), 'b'])
  assert KV.most_similar([('a', weight), ('b', weight)]) == KV.most_similar(['a', 'b'])


@pytest.mark.filterwarnings('ignore:the matrix subclass')
@pytest.mark.parametrize('kind', [jnp.asarray, np.matrix, pd.DataFrame, np.asfortranarray, list])
def test_tables_of_any_library(kind):
  table = kind(np.array([[1, 2], [3, -4], [0, 1]], np.float32))
  plain = np.array([[1, 2], [3, -4], [0, 1]], np.float32)
  assert KV.most_similar_many(table) == KV.most_similar_many(list(plain))
  assert KV.most_similar(table) == KV.most_similar(list(plain))
  kv = KeyedVectors('abc', table)
  assert type(kv.vectors) is np.ndarray and kv.vectors.tolist() == plain.tolist()
  assert kv['a'].shape == (2,) and len(kv.most_similar('a')) == 2


def test_masked_values_are_refused(tmp_path):
  table = np.ma.masked_array(np.ones((2, 2)), [[0, 0], [1, 0]])
  for call in (lambda: KeyedVectors('ab', table), lambda: KeyedVectors('ab', list(table)),
               lambda: KV.most_similar(table[1]), lambda: KV.most_similar([table[1]]),
               lambda: KV.most_similar_many(table), lambda: KV.similar_by_vector(table[1]),
               lambda: KV.distances(table[1]), lambda: KV.cosines(table[1]),
               lambda: KV.get_mean_vector(['a', 'b'], table[1]),
               lambda: KV.most_similar_cosmul(table[1]),
               lambda: jw2v.text_vectors(KV, ['a b'], component=table[1]),
               lambda: SubwordVectors('ab', None, Ngrams(np.ones((4, 2)), 3, 4, 4), table),
               lambda: jw2v.alias_table(table[1])):  # fmt: skip
    with pytest.raises(ValueError, match=r'must not have masked values; replace them with .filled'):
      call()


@pytest.mark.parametrize('dtype', [np.float64, np.float16, ml_dtypes.bfloat16, int, np.uint8, bool,
                                   '>f4', object])  # fmt: skip
@pytest.mark.parametrize('name', ['v.txt', 'v.bin', 'v.npz', 'v.safetensors', 'v.parquet', 'v/'])
def test_dtypes_of_arrays(tmp_path, dtype, name):
  vectors = np.asfortranarray(np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype))
  vectors.setflags(write=False)
  kv = KeyedVectors('abc', vectors)
  assert kv.vectors.dtype == np.float32 and kv.vectors.dtype.isnative
  save_vectors(kv, f'{tmp_path}/{name}')
  assert load_vectors(f'{tmp_path}/{name}').vectors.tolist() == [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize('vectors', [np.ones((3, 2)) * 1j, np.full((3, 2), 'x'),
                                     np.ones((3, 2), 'M8[s]')])  # fmt: skip
def test_arrays_that_are_not_numbers_are_refused(vectors):
  with pytest.raises(ValueError, match='vectors must be real numbers, got '):
    KeyedVectors('abc', vectors)


def test_float64_beyond_float32_is_refused():
  with pytest.raises(ValueError, match='row 1 must be finite'):
    KeyedVectors('abc', np.full((3, 2), 1e300))


@pytest.mark.parametrize('word', [3, b'a', None, np.nan, pd.NA])
def test_word_that_is_not_a_string_is_named(word):
  with pytest.raises(TypeError, match=r'words must be strings, got .* at index 1; convert them'):
    KeyedVectors(['a', word], np.ones((2, 2)))


@pytest.mark.parametrize('number', [np.int64(2), np.uint8(2), np.array(2), jnp.int32(2)])
def test_counts_of_any_library(number):
  assert KV.most_similar('a', topn=number) == KV.most_similar('a', topn=2)
  assert KV.most_similar_many(['a'], topn=number) == KV.most_similar_many(['a'], topn=2)
  assert KV.most_similar_cosmul('a', topn=number) == KV.most_similar_cosmul('a', topn=2)
  for ask in (KV.most_similar, KV.most_similar_cosmul, KV.similar_by_word):
    assert ask('c', restrict_vocab=number) == ask('c', restrict_vocab=2)


@pytest.mark.parametrize('wrong', [2.0, 2.5, '2'])
def test_count_that_is_not_an_integer_is_named(wrong):
  for ask in (
    KV.most_similar,
    KV.most_similar_cosmul,
    lambda w, **k: KV.most_similar_many([w], **k),
  ):
    with pytest.raises(ValueError, match='topn must be an integer'):
      ask('a', topn=wrong)
    with pytest.raises(ValueError, match='restrict_vocab must be an integer of at least 0, got'):
      ask('a', restrict_vocab=wrong)


def test_one_word_zero_vectors_and_words_that_differ_in_case():
  one = KeyedVectors(['a'], [[1, 2]])
  assert one.most_similar('a') == [] and one.doesnt_match(['a']) == 'a'
  assert one.most_similar_many(['a']) == [[]] and one.most_similar_cosmul('a') == []
  zero = KeyedVectors(['a', 'A', 'z'], [[1, 2], [2, 1], [0, 0]])
  assert zero.most_similar('z') == [('a', 0), ('A', 0)] and zero.similarity('z', 'z') == 0
  assert zero.most_similar('a')[0][0] == 'A' and zero.doesnt_match(['a', 'A', 'z']) == 'z'


@pytest.mark.parametrize(
  'make', [copy.copy, copy.deepcopy, lambda kv: pickle.loads(pickle.dumps(kv))]
)
def test_copies(tmp_path, make):
  save_vectors(KV, tmp_path / 'v.safetensors')
  for kv in (KV, model(), load_vectors(tmp_path / 'v.safetensors')):
    found = make(kv)
    assert type(found) is type(kv) and found.index_to_key == kv.index_to_key
    word = kv.index_to_key[0]
    assert found.most_similar(word) == kv.most_similar(word)


@pytest.mark.slow
@pytest.mark.parametrize('locale', ['C', 'POSIX', 'tr_TR.UTF-8'])
def test_fresh_process_with_another_locale(tmp_path, locale):
  """Unpickles, reads and writes words outside ASCII, with Python's UTF-8 mode turned off."""
  kv = KeyedVectors(['İ', 'I', '\u0131', 'é', '語'], np.random.default_rng(0).normal(size=(5, 3)))
  (tmp_path / 'kv.pickle').write_bytes(pickle.dumps(kv))
  (tmp_path / 'pairs').write_text('İ\tI\t1\né\t語\t2\n\u0131\té\t3\n', 'utf-8')
  program = (
    'import pickle, sys, jw2v\nkv = pickle.load(open("kv.pickle", "rb"))\n'
    'kv.evaluate_word_pairs("pairs", case_insensitive=False)\n'
    'for name in ("v.txt", "v.bin", "v.vec", "v.npz", "v.parquet", "v.safetensors", "v/"):\n'
    '  jw2v.save_vectors(kv, name)\n  read = jw2v.load_vectors(name)\n'
    '  assert read.index_to_key == kv.index_to_key\n'
    '  assert read.most_similar("é") == kv.most_similar("é")\n'
  )
  environ = {**os.environ, 'LC_ALL': locale, 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0',
             'PYTHONPATH': os.path.dirname(os.path.dirname(jw2v.__file__))}  # fmt: skip
  (tmp_path / 'program.py').write_text(program, 'utf-8')
  subprocess.run(
    [sys.executable, '-X', 'utf8=0', 'program.py'], cwd=tmp_path, env=environ, check=True
  )
