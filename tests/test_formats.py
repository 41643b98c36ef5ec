"""Files of vectors: exact round trips, and damaged files refused with row and reason."""

import numpy as np
import pytest

from jw2v import KeyedVectors, load_vectors, save_vectors
from jw2v.formats import atomic_write


class TestWord2vecText:
  def test_round_trip_is_exact(self, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    vectors[0] = [np.float32(1) / 3, 1e-30, -np.finfo(np.float32).max]
    words = ['the', '\u00a0nbsp', 'a\u2028b', 'n\u0085l']
    save_vectors(KeyedVectors(words, vectors), tmp_path / 'v.txt')
    loaded = load_vectors(tmp_path / 'v.txt', 'word2vec')
    assert loaded.index_to_key == words
    np.testing.assert_array_equal(loaded.vectors, vectors)
    assert (tmp_path / 'v.txt').read_bytes().startswith(b'4 3\nthe 0.333333343 1')

  def test_more_rows_than_are_written_at_once(self, tmp_path, monkeypatch):
    monkeypatch.setattr('jw2v.formats._ROWS', 3)
    vectors = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    save_vectors(KeyedVectors('abcdefg', vectors), tmp_path / 'v.txt')
    loaded = load_vectors(tmp_path / 'v.txt')
    assert loaded.index_to_key == list('abcdefg')
    np.testing.assert_array_equal(loaded.vectors, vectors)

  @pytest.mark.parametrize('word', ['two words', 'line\nfeed', '', 'half \ud800'])
  def test_word_that_the_format_cannot_hold(self, tmp_path, word):
    with pytest.raises(ValueError, match='cannot hold the word'):
      save_vectors(KeyedVectors([word], np.ones((1, 2))), tmp_path / 'v.txt')
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize(
    ('content', 'reason'),
    [
      (b'', 'row 1 must be'),
      (b'a b\n', 'row 1 must be'),
      (b'2 2\na 1 2\n', '1 rows of words, the header says 2'),
      (b'1 2\na 1 2\nb 1 2\n', '2 rows of words, the header says 1'),
      (b'2 2\na 1 2\nb 1\n', 'row 3 has 1 numbers, not 2'),
      (b'1 2\na 1 nan\n', 'row 2 has a number that is not a finite float32'),
      (b'1 2\na 1 -inf\n', 'row 2 has a number that is not a finite float32'),
      (b'1 2\na 1 1e39\n', 'row 2 has a number that is not a finite float32'),
      (b'1 2\na 1 x\n', 'row 2: could not convert'),
      (b'1 2\na 1_0 2\n', 'row 2 has an underscore in a number'),
      (b'1 2\n 1 2\n', 'row 2 has no word'),
      (b'1 2\n\xff 1 2\n', 'row 2: .*utf-8'),
      (b'2 2\na 1 2\na 1 2\n', "'a' is there twice"),
      (b'1000000000000 1000000\na 1 2\n', 'row 2 has 2 numbers'),
    ],
  )
  def test_damaged_file_is_refused(self, tmp_path, content, reason):
    path = tmp_path / 'damaged.txt'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'damaged\.txt: .*{reason}'):
      load_vectors(path)

  @pytest.mark.parametrize('value', [np.nan, np.inf])
  def test_vector_that_is_not_finite(self, tmp_path, value):
    with pytest.raises(ValueError, match=r"the vector of 'b' \(row 1\) is not finite"):
      save_vectors(KeyedVectors(['a', 'b'], [[1, 2], [3, value]]), tmp_path / 'v.txt')
    assert not list(tmp_path.iterdir())

  def test_folder_that_does_not_exist(self, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no/v\.txt: there is no folder'):
      save_vectors(KeyedVectors(['a'], [[1]]), tmp_path / 'no' / 'v.txt')

  def test_unknown_format(self, tmp_path):
    for call in (lambda: load_vectors(tmp_path / 'v', 'elmo'),
                 lambda: save_vectors(None, tmp_path / 'v', 'elmo')):  # fmt: skip
      with pytest.raises(ValueError, match="format='elmo': allowed are 'word2vec'"):
        call()


class TestAtomicWrite:
  def test_nothing_is_left_behind_by_a_failure(self, tmp_path):
    (tmp_path / 'file').write_text('before')

    def fail_half_way():
      with atomic_write(tmp_path / 'file') as file:
        file.write(b'half')
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
      fail_half_way()
    assert [p.name for p in tmp_path.iterdir()] == ['file']
    assert (tmp_path / 'file').read_text() == 'before'

  def test_permissions_are_those_of_an_ordinary_file(self, tmp_path):
    with atomic_write(tmp_path / 'ours') as file:
      file.write(b'x')
    (tmp_path / 'plain').write_bytes(b'x')
    assert (tmp_path / 'ours').stat().st_mode == (tmp_path / 'plain').stat().st_mode
