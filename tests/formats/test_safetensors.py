"""Files of safetensors, with and without n-grams, and damaged ones."""

import json

import numpy as np
import pytest

from jw2v import KeyedVectors, load_vectors, save_vectors
from tests.formats.tables import SUBWORDS, assert_same, model, read_bytes


def safetensors(header=None, data=b'', **changes):
  vectors = {'dtype': 'F32', 'shape': [2, 1], 'data_offsets': [0, 8]}
  words = {'dtype': 'U8', 'shape': [3], 'data_offsets': [8, 11]}
  if header is None:
    header = {'vectors': vectors, 'words': words}
    for key, value in changes.items():
      tensor, field = key.split('_', 1)
      header[tensor][field] = value
    header = json.dumps(header).encode()
  data = data or np.array([1, 2], '<f4').tobytes() + b'a\nb'
  return len(header).to_bytes(8, 'little') + header + data


def test_the_package_reads_ours_and_we_its(tmp_path):
  safetensors = pytest.importorskip('safetensors.numpy')
  kv = KeyedVectors(['the', '\u00e9t\u00e9'], np.random.default_rng(0).normal(size=(2, 5)))
  save_vectors(kv, tmp_path / 'v.safetensors')
  theirs = safetensors.load_file(tmp_path / 'v.safetensors')
  np.testing.assert_array_equal(theirs['vectors'], kv.vectors)
  assert theirs['words'].tobytes().decode().split('\n') == kv.index_to_key
  safetensors.save_file(theirs, tmp_path / 'theirs', metadata={'format': 'np'})
  loaded = load_vectors(tmp_path / 'theirs')
  assert read_bytes(loaded) == read_bytes(kv) and isinstance(loaded.vectors, np.memmap)


def test_the_package_reads_the_ngrams(tmp_path):
  safetensors = pytest.importorskip('safetensors')
  kv = model()
  save_vectors(kv, tmp_path / 'm.safetensors')
  with safetensors.safe_open(tmp_path / 'm.safetensors', 'np') as file:
    assert file.metadata() == {'min_n': '3', 'max_n': '5', 'buckets': '5000'}
    np.testing.assert_array_equal(file.get_tensor('ngram_vectors'), kv.ngrams.vectors)
    np.testing.assert_array_equal(file.get_tensor('ngram_buckets'), kv.ngrams.index)


@pytest.mark.parametrize('all_buckets', [False, True])
def test_round_trip_with_ngrams(tmp_path, all_buckets):
  kv = model(all_buckets)
  save_vectors(kv, tmp_path / 'm.safetensors')
  assert_same(load_vectors(tmp_path / 'm.safetensors'), kv)
  assert_same(load_vectors(tmp_path / 'm.safetensors', 'safetensors'), kv)
  some = load_vectors(tmp_path / 'm.safetensors', limit=2)
  assert some.index_to_key == SUBWORDS[:2] and np.array_equal(some['seal'], kv['seal'])


def test_numbers_are_aligned(tmp_path):
  for word in ('a', 'ab', 'abc' * 1000):
    save_vectors(KeyedVectors([word, 'b'], np.ones((2, 3))), tmp_path / 'v.safetensors')
    assert int.from_bytes((tmp_path / 'v.safetensors').read_bytes()[:8], 'little') % 8 == 0


class TestDamaged:
  @pytest.mark.parametrize(('content', 'reason'), [
    (safetensors(b'{}'), "tensor 'vectors' not found"),
    (safetensors(b'{"vectors": 3'), 'the header is not JSON'),
    (safetensors(b'{' * 100_000), 'the header is not JSON'),
    (safetensors(vectors_dtype='F64'), "'vectors' must be F32 of rank 2, got F64 of shape"),
    (safetensors(vectors_shape=[2]), "'vectors' must be F32 of rank 2, got F32 of shape"),
    (safetensors(vectors_shape=[-1, -2]), "'vectors' must be F32 of rank 2, got F32 of shape"),
    (safetensors(vectors_shape=[10**12, 100]), 'got the offsets'),
    (safetensors(vectors_shape=[10**12, 1], vectors_data_offsets=[0, 4 * 10**12]), 'must end in'),
    (safetensors(words_data_offsets=[5, 8]), 'the tensors overlap'),
    (safetensors(words_data_offsets=[True, 4]), 'got the offsets'),
    (safetensors(vectors_shape=[1, 2]), 'number of words must be 1, .*, got 2'),
    (safetensors(data=np.array([1, 2], '<f4').tobytes() + b'a\na'), "duplicate word 'a'"),
    (safetensors(data=np.array([1, 2], '<f4').tobytes() + b'a\xffb'), 'words must be UTF-8'),
    (safetensors(data=np.array([1, 2], '<f4').tobytes() + b'aa\n'), 'row 2 must have a word'),
    (safetensors(data=np.array([1, np.inf], '<f4').tobytes() + b'a\nb'), 'row 2 must be finite'),
    (safetensors()[:-1], 'must end in the 10 bytes of data, got the end 11'),
  ])  # fmt: skip
  def test_file_is_refused(self, tmp_path, content, reason):
    path = tmp_path / 'damaged'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'damaged: .*{reason}'):
      load_vectors(path)

  @pytest.mark.parametrize(
    ('change', 'message'),
    [
      (lambda h: h.pop('__metadata__'), 'metadata must have'),
      (lambda h: h['__metadata__'].update(min_n='six'), 'metadata must have'),
      (lambda h: h['__metadata__'].update(min_n='6'), 'got min_n=6 and max_n=5'),
      (lambda h: h['__metadata__'].update(max_n='101'), 'max_n <= 100, got'),
      (lambda h: h['__metadata__'].update(buckets='10'), 'increasing numbers from 0 to 9'),
      (lambda h: h.pop('ngram_buckets'), r'must be \[5000, '),
      (lambda h: h['ngram_vectors'].update(dtype='F64'), "'ngram_vectors' must be .*, got F64"),
      (lambda h: h['ngram_vectors'].update(shape=[3, 4000]), r'ngram_vectors must be \[4000, 3\]'),
      (lambda h: h['counts'].update(shape=[3], data_offsets=[0, 24]), 'counts must have a row for'),
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
    with pytest.raises(ValueError, match='must be increasing'):
      load_vectors(tmp_path / 'm.safetensors')

  @pytest.mark.parametrize('value', [np.nan, np.inf])
  def test_not_finite(self, tmp_path, value):
    kv, path = model(), tmp_path / 'm.safetensors'
    save_vectors(kv, path)
    one = kv.ngrams.vectors[7, 1].tobytes()
    path.write_bytes(path.read_bytes().replace(one, np.float32(value).tobytes()))
    kv.ngrams.vectors[7, 1] = value
    with pytest.raises(ValueError, match='n-gram row 8 must be finite'):
      save_vectors(kv, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match='row 8 of ngram_vectors must be finite'):
      load_vectors(tmp_path / 'm.safetensors')

  def test_a_header_without_a_tensor(self, tmp_path):
    (tmp_path / 'v').write_bytes(safetensors(b'[{}]' + b' ' * 4))
    with pytest.raises(ValueError, match="tensor 'vectors' not found"):
      load_vectors(tmp_path / 'v', 'safetensors')
