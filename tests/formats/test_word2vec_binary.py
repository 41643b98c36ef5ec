"""Binary word2vec files: exact bytes, and errors with row and reason for damaged files."""

import gzip

import numpy as np
import pytest

from jw2v import KeyedVectors, load_vectors, save_vectors
from tests.formats.tables import read_bytes

RNG = np.random.default_rng(0)
BINARY = b'2 2\n' + b'a ' + np.array([1, 2], '<f4').tobytes() + b'\n'


class TestBytes:
  @pytest.mark.parametrize('newline', [True, False])
  def test_bytes_of_the_binary_form(self, tmp_path, newline):
    """Follows the C tool: the word and a space, the float bytes, a line feed."""
    vectors = np.array([[1, 2], [-0.5, 1e-40]], np.float32)
    end = b'\n' if newline else b''
    content = b'2 2\n' + b''.join(
      word + b' ' + row.tobytes() + end
      for word, row in zip([b'</s>', b'\xc3\xa9'], vectors, strict=True)
    )  # fmt: skip
    (tmp_path / 'theirs').write_bytes(content)
    kv = load_vectors(tmp_path / 'theirs')
    assert kv.index_to_key == ['</s>', 'é']
    np.testing.assert_array_equal(kv.vectors, vectors)
    save_vectors(kv, tmp_path / 'ours.bin', newline=newline)
    assert (tmp_path / 'ours.bin').read_bytes() == content

  def test_numbers_that_look_like_line_feeds_and_spaces(self, tmp_path):
    numbers = np.frombuffer(b'\n\n \n  \n ' + b'    ', np.float32).reshape(3, 1)
    for newline in (True, False):
      kv = KeyedVectors(['a', 'b', 'c'], numbers)
      save_vectors(kv, tmp_path / 'v.bin', newline=newline)
      assert read_bytes(load_vectors(tmp_path / 'v.bin', 'word2vec_binary')) == read_bytes(kv)


class TestDamaged:
  @pytest.mark.parametrize(('content', 'reason'), [
    (BINARY, 'at least 20 bytes for the 2 rows of 2 numbers in row 1, got 15'),
    (gzip.compress(BINARY, mtime=0), 'must have 2 rows as in the header, but ends in row 2'),
    (gzip.compress(BINARY[:-3], mtime=0), 'must have 2 rows as in the header, but ends in row 1'),
    (BINARY.replace(b'2 2', b'1 2') + b'b', 'must end after 1 rows of width 2'),
    (BINARY.replace(b'2 2', b'1000000000000 2'), 'bytes for the 1000000000000 rows'),
    (BINARY + BINARY[4:], "row 2: duplicate word 'a', first in row 1"),
    (BINARY + b'\xff' + BINARY[5:], 'row 2: .*utf-8'),
    (BINARY + BINARY[5:], 'row 2 must have a word'),
    (BINARY + b'b ' + np.array([1, np.nan], '<f4').tobytes(), 'row 2 must be finite'),
  ])  # fmt: skip
  def test_file_is_refused(self, tmp_path, content, reason):
    path = tmp_path / 'damaged'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'damaged: .*{reason}'):
      load_vectors(path)

  def test_row_of_binary_that_is_too_wide(self, tmp_path):
    (tmp_path / 'v.gz').write_bytes(gzip.compress(b'1 2000000000\na ' + bytes(1000), mtime=0))
    with pytest.raises(
      ValueError, match='the width in row 1 must be at most 16777216, got 2000000000'
    ):
      load_vectors(tmp_path / 'v.gz', 'word2vec_binary')

  def test_text_read_as_binary_is_told(self, tmp_path):
    save_vectors(KeyedVectors(['a', 'b'], RNG.normal(size=(2, 9))), tmp_path / 'v')
    with pytest.raises(ValueError, match="row 1 must be binary, got text; use format='word2vec'"):
      load_vectors(tmp_path / 'v', 'word2vec_binary')

  def test_row_without_an_end(self, tmp_path):
    (tmp_path / 'v').write_bytes(b'1 2\n' + b'x' * (1 << 18))
    with pytest.raises(ValueError, match='row 1 must have a space in its first 65536 bytes'):
      load_vectors(tmp_path / 'v', 'word2vec_binary')
