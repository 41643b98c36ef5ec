"""Models with n-grams as files: our own, and those that fastText and gensim load."""

import json

import numpy as np
import pytest

from jw2v import KeyedVectors, SubwordVectors, load_vectors, save_vectors
from jw2v.ngrams import Ngrams

WORDS = ['seas', 'café', 'a', '語']
UNSEEN = ['seaside', 'cafés', 'seal']


def model(all_buckets=False, seed=0, buckets=5000):
  rng = np.random.default_rng(seed)
  index = None if all_buckets else np.sort(rng.choice(buckets, 4000, replace=False))
  size = buckets if all_buckets else len(index)
  rows = rng.normal(size=(size, 3)).astype(np.float32)
  word_rows = rng.normal(size=(len(WORDS), 3)).astype(np.float32)
  return SubwordVectors(
    WORDS, None, Ngrams(rows, 3, 5, buckets, index), word_rows, np.array([9, 4, 2, 1])
  )


def assert_same(kv, want, exact=True):
  close = np.testing.assert_array_equal if exact else np.testing.assert_allclose
  assert isinstance(kv, SubwordVectors) and kv.index_to_key == want.index_to_key
  close(kv.vectors, want.vectors)
  close(kv.word_rows, want.word_rows)
  np.testing.assert_array_equal(kv.counts, want.counts)
  for word in UNSEEN:
    assert np.any(kv[word])
    close(kv[word], want[word])


@pytest.mark.parametrize('all_buckets', [False, True])
class TestRoundTrip:
  def test_safetensors(self, tmp_path, all_buckets):
    kv = model(all_buckets)
    save_vectors(kv, tmp_path / 'm.safetensors')
    assert_same(load_vectors(tmp_path / 'm.safetensors'), kv)
    assert_same(load_vectors(tmp_path / 'm.safetensors', 'safetensors'), kv)
    some = load_vectors(tmp_path / 'm.safetensors', limit=2)
    assert some.index_to_key == WORDS[:2] and np.array_equal(some['seal'], kv['seal'])

  def test_fasttext(self, tmp_path, all_buckets):
    kv = model(all_buckets)
    save_vectors(kv, tmp_path / 'm.bin')  # its ending is enough
    found = load_vectors(tmp_path / 'm.bin')
    if all_buckets:
      assert_same(found, kv)
    else:  # fastText has a row for each bucket: those without one are zeros, and count
      np.testing.assert_allclose(found.word_rows, kv.word_rows)
      row = found.ngrams.vectors[kv.ngrams.index]
      np.testing.assert_array_equal(row, kv.ngrams.vectors)
      for word in UNSEEN:
        cosine = found.get_vector(word, norm=True) @ kv.get_vector(word, norm=True)
        assert cosine == pytest.approx(1, abs=1e-6)

  def test_fasttext_and_gensim_read_it(self, tmp_path, all_buckets):
    fasttext = pytest.importorskip('fasttext')
    gensim = pytest.importorskip('gensim.models.fasttext')
    kv = model(all_buckets)
    save_vectors(kv, tmp_path / 'm.bin')
    ours = load_vectors(tmp_path / 'm.bin')
    peer = fasttext.load_model(str(tmp_path / 'm.bin'))
    theirs = gensim.load_facebook_vectors(str(tmp_path / 'm.bin'))
    assert peer.get_words() == theirs.index_to_key == WORDS
    assert peer.get_words(include_freq=True)[1].tolist() == [9, 4, 2, 1]
    for word in [*WORDS, *UNSEEN]:
      np.testing.assert_allclose(peer.get_word_vector(word), ours[word], rtol=1e-5, atol=1e-6)
      np.testing.assert_allclose(theirs[word], ours[word], rtol=1e-5, atol=1e-6)
    assert len(peer.get_nearest_neighbors('seaside', k=2)) == 2
    np.testing.assert_array_equal(peer.get_output_matrix(), np.zeros((4, 3)))

  def test_text_holds_the_words_alone(self, tmp_path, all_buckets):
    kv = model(all_buckets)
    for name in ('m.vec', 'm.txt', 'm.npz'):
      save_vectors(kv, tmp_path / name)
      found = load_vectors(tmp_path / name)
      assert not isinstance(found, SubwordVectors) and 'seaside' not in found
      np.testing.assert_array_equal(found.vectors, kv.vectors)


def test_the_c_tools_binary_form_if_it_is_named(tmp_path):
  save_vectors(model(), tmp_path / 'm.bin', 'word2vec_binary')
  assert not isinstance(load_vectors(tmp_path / 'm.bin'), SubwordVectors)


def test_the_safetensors_package_reads_it(tmp_path):
  safetensors = pytest.importorskip('safetensors')
  kv = model()
  save_vectors(kv, tmp_path / 'm.safetensors')
  with safetensors.safe_open(tmp_path / 'm.safetensors', 'np') as file:
    assert file.metadata() == {'min_n': '3', 'max_n': '5', 'buckets': '5000'}
    np.testing.assert_array_equal(file.get_tensor('ngram_vectors'), kv.ngrams.vectors)
    np.testing.assert_array_equal(file.get_tensor('ngram_buckets'), kv.ngrams.index)


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
      WORDS, kv.vectors, Ngrams(np.zeros((0, 3), np.float32), 3, 5, 10, np.zeros(0, np.int64))
    )
    assert 'seaside' not in empty and 'seas' in empty
    with pytest.raises(KeyError, match='seaside'):
      empty['seaside']


class TestRefused:
  def test_what_is_no_model(self, tmp_path):
    with pytest.raises(ValueError, match='is a model, and needs vectors with n-grams'):
      save_vectors(KeyedVectors(['a'], np.ones((1, 2))), tmp_path / 'm.bin', 'fasttext')
    with pytest.raises(ValueError, match='is not compressed'):
      save_vectors(model(), tmp_path / 'm.bin.gz')
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize(
    ('change', 'message'),
    [
      (lambda h: h.pop('__metadata__'), 'are not in the metadata'),
      (lambda h: h['__metadata__'].update(min_n='six'), 'are not in the metadata'),
      (lambda h: h['__metadata__'].update(min_n='6'), 'n-grams of 6 to 5 characters'),
      (lambda h: h['__metadata__'].update(max_n='101'), 'at most 100'),
      (lambda h: h['__metadata__'].update(buckets='10'), 'do not increase from 0 to 9'),
      (lambda h: h.pop('ngram_buckets'), '5000 buckets of n-grams have rows'),
      (lambda h: h['ngram_vectors'].update(dtype='F64'), "'ngram_vectors' is F64"),
      (lambda h: h['ngram_vectors'].update(shape=[3, 4000]), 'have rows'),
      (lambda h: h['counts'].update(shape=[3], data_offsets=[0, 24]), 'counts of shape'),
    ],
  )  # fmt: skip
  def test_damaged_header(self, tmp_path, change, message):
    path = tmp_path / 'm.safetensors'
    save_vectors(model(), path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + length])
    change(header)
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, 'little') + encoded + data[8 + length :])
    with pytest.raises(ValueError, match=message) as caught:
      load_vectors(path)
    assert str(caught.value).startswith(str(path))

  def test_a_bucket_twice(self, tmp_path):
    kv = model()
    kv.ngrams.index[5] = kv.ngrams.index[4]
    save_vectors(kv, tmp_path / 'm.safetensors')
    with pytest.raises(ValueError, match='do not increase'):
      load_vectors(tmp_path / 'm.safetensors')

  @pytest.mark.parametrize('value', [np.nan, np.inf])
  def test_not_finite(self, tmp_path, value):
    kv, path = model(), tmp_path / 'm.safetensors'
    save_vectors(kv, path)
    one = kv.ngrams.vectors[7, 1].tobytes()
    path.write_bytes(path.read_bytes().replace(one, np.float32(value).tobytes()))
    kv.ngrams.vectors[7, 1] = value
    with pytest.raises(ValueError, match='n-gram row 8 is not finite'):
      save_vectors(kv, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match='row 8 of ngram_vectors is not finite'):
      load_vectors(tmp_path / 'm.safetensors')
