"""NumPy archives: readable by NumPy, and errors for damaged files."""

import io
import zipfile

import numpy as np
import pytest

from jw2v import KeyedVectors, load_vectors, save_vectors


def test_numpy_reads_it(tmp_path):
  kv = KeyedVectors(['the', '\u00e9t\u00e9'], np.random.default_rng(0).normal(size=(2, 5)))
  save_vectors(kv, tmp_path / 'v.npz')
  with np.load(tmp_path / 'v.npz') as theirs:
    np.testing.assert_array_equal(theirs['vectors'], kv.vectors)
    assert theirs['words'].tobytes().decode().split('\n') == kv.index_to_key


class TestDamaged:
  @pytest.mark.parametrize(('content', 'reason'), [
    (b'PK\x03\x04 and so on', 'corrupted archive'),
  ])  # fmt: skip
  def test_file_is_refused(self, tmp_path, content, reason):
    path = tmp_path / 'damaged'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'damaged: .*{reason}'):
      load_vectors(path)

  @pytest.mark.parametrize('shape', [(10**12, 2), (2, 10**12), (2**40, 2**30)])
  def test_npz_that_promises_more_than_there_is(self, tmp_path, shape):
    """Raises before it allocates the promised memory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
      header, {'descr': '<f4', 'fortran_order': False, 'shape': shape}
    )
    with zipfile.ZipFile(tmp_path / 'v.npz', 'w') as archive:
      archive.writestr('vectors.npy', header.getvalue() + bytes(16))
      archive.writestr('words.npy', b'')
    with pytest.raises(ValueError, match=r'must have .* bytes, got'):
      load_vectors(tmp_path / 'v.npz')

  def test_archives(self, tmp_path):
    path, words, vectors = tmp_path / 'v.npz', np.array([97, 10, 98], np.uint8), np.ones((2, 2))
    vectors = vectors.astype(np.float32)
    for arrays, reason in (
      ({'words': words}, "array 'vectors' not found"),
      ({'vectors': vectors}, "array 'words' not found"),
      (
        {'vectors': vectors.astype(np.float64), 'words': words},
        "'vectors' must be float32 of rank 2, got float64",
      ),
      (
        {'vectors': vectors[0], 'words': words},
        r'must be float32 of rank 2, got float32 of shape \(2,\)',
      ),
      ({'vectors': vectors, 'words': words[:1]}, 'number of words must be 2, .*, got 1'),
      ({'vectors': vectors * np.nan, 'words': words}, 'row 1 must be finite'),
      (
        {'vectors': np.array([['a'], [None]], object), 'words': words},
        "'vectors' must be .*, got object",
      ),
    ):
      np.savez(path, **arrays)
      with pytest.raises(ValueError, match=reason):
        load_vectors(path)
    np.savez_compressed(path, vectors=vectors, words=words)
    assert load_vectors(path)['b'].tolist() == [1, 1]
    np.savez(path, vectors=vectors, words=words)
    shape = b"'shape': (2, 2)"
    for lie in (b"'shape': (3, 2)", b"'shape': (2e9)", b"'shape': (2,-2"):
      path.with_name('lie').write_bytes(path.read_bytes().replace(shape, lie))
      with pytest.raises(ValueError, match=r'lie: '):
        load_vectors(path.with_name('lie'))
