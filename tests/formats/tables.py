"""Tables of vectors for the tests of all formats."""

import numpy as np

from jw2v import SubwordVectors, load_vectors
from jw2v.ngrams import Ngrams

WORDS = ['the', '\u00a0nbsp', 'a\u2028b', 'n\u0085l', 'カ', '</s>', '"', '1', 'nan', '#', 'x\ty']
SUBWORDS = ['seas', 'café', 'a', '語']
UNSEEN = ['seaside', 'cafés', 'seal']


def some_vectors(count, width=5):
  """Returns numbers of every size, zeros of both signs, and the largest and smallest numbers."""
  bits = np.random.default_rng(1).integers(0, 2**32, (count, width), dtype=np.uint32)
  vectors = bits.view(np.float32)
  vectors[~np.isfinite(vectors)] = 1 / 3
  edges = [0.0, -0.0, np.finfo(np.float32).max, -np.finfo(np.float32).max, 1e-45]
  vectors[0, : len(edges)] = edges[:width]
  return vectors


def words_for(format):
  return [word for word in WORDS if format != 'projector' or '\t' not in word]


def read_bytes(kv):
  return kv.index_to_key, kv.vectors.shape, kv.vectors.tobytes()


def model(all_buckets=False, seed=0, buckets=5000):
  rng = np.random.default_rng(seed)
  index = None if all_buckets else np.sort(rng.choice(buckets, 4000, replace=False))
  size = buckets if all_buckets else len(index)
  rows = rng.normal(size=(size, 3)).astype(np.float32)
  word_rows = rng.normal(size=(len(SUBWORDS), 3)).astype(np.float32)
  return SubwordVectors(
    SUBWORDS, None, Ngrams(rows, 3, 5, buckets, index), word_rows, np.array([9, 4, 2, 1])
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


def read_or_reason(content, format, tmp_path_factory):
  """Returns the vectors as bytes, or the `ValueError` that names the file."""
  path = tmp_path_factory.getbasetemp() / 'fuzz'
  path.write_bytes(content)
  try:
    kv = load_vectors(path, format)
  except ValueError as error:
    prefix, reason = str(error)[: len(f'{path}: ')], str(error)[len(f'{path}: ') :]
    assert prefix == f'{path}: ' and len(reason) > 5
    return str(error)
  assert np.isfinite(kv.vectors).all() and kv.vectors.dtype == np.float32
  assert kv.vectors.shape == (len(kv.index_to_key), kv.vector_size) and all(kv.index_to_key)
  return read_bytes(kv)
