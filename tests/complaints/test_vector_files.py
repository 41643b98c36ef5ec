"""Compressed files of vectors, and words that a format cannot represent."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pyarrow
import pytest

from jw2v import KeyedVectors, SubwordVectors, load_vectors, save_vectors
from jw2v.formats.registry import FOLDERS, FORMATS
from jw2v.ngrams import Ngrams
from tests.formats.tables import UNSEEN, model

COMPRESS = {
  'gz': gzip.compress,
  'bz2': bz2.compress,
  'xz': lzma.compress,
  'zst': lambda content: pyarrow.compress(content, codec='zstd', asbytes=True),
}
KV = KeyedVectors(['a', 'b', 'é'], np.arange(6).reshape(3, 2) + 0.5)


def zipped(path, **members):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return path


@pytest.mark.parametrize('format', [name for name in FORMATS if name not in FOLDERS])
@pytest.mark.parametrize('kind', [*COMPRESS, 'zip'])
def test_compressed_file_is_read(tmp_path, kind, format):
  save_vectors(KV, tmp_path / 'plain', format)
  content = (tmp_path / 'plain').read_bytes()
  if kind == 'zip':
    zipped(tmp_path / 'v', **{'__MACOSX/._v': b'x', 'glove.txt': content})
  else:
    (tmp_path / 'v').write_bytes(COMPRESS[kind](content))
  for given in (None, format):
    kv = load_vectors(tmp_path / 'v', given)
    assert kv.index_to_key == KV.index_to_key
    np.testing.assert_array_equal(kv.vectors, KV.vectors)


@pytest.mark.parametrize('kind', COMPRESS)
def test_compressed_fasttext_model_keeps_its_ngrams(tmp_path, kind, monkeypatch):
  monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
  save_vectors(model(True), tmp_path / 'cc.bin')
  (tmp_path / 'v').write_bytes(COMPRESS[kind]((tmp_path / 'cc.bin').read_bytes()))
  kv = load_vectors(tmp_path / 'v')
  for word in UNSEEN:
    np.testing.assert_array_equal(kv[word], load_vectors(tmp_path / 'cc.bin')[word])
  assert {path.name for path in tmp_path.iterdir()} == {'cc.bin', 'v'}


@pytest.mark.parametrize('kind', COMPRESS)
def test_truncated_compressed_file_is_refused(tmp_path, kind):
  content = b''.join(b'w%d %d %d\n' % (i, i, i * i) for i in range(9000))
  (tmp_path / 'v').write_bytes(COMPRESS[kind](content)[:-20])
  with pytest.raises(ValueError, match=r'v: corrupted (gzip|bzip2|xz|zstd) data: '):
    load_vectors(tmp_path / 'v')


def test_text_that_starts_as_bzip2_does_is_read(tmp_path):
  (tmp_path / 'v.txt').write_text('BZh9 1 2\nb 3 4\n')
  assert load_vectors(tmp_path / 'v.txt').index_to_key == ['BZh9', 'b']


def test_archive_of_several_files_names_them(tmp_path):
  path = zipped(
    tmp_path / 'glove.6B.zip', **{'glove.50d.txt': b'a 1\n', 'glove.100d.txt': b'a 1\n'}
  )
  with pytest.raises(ValueError, match='one file, got 2: glove'):
    load_vectors(path)


def test_encrypted_archive_is_refused(tmp_path):
  content = bytearray(zipped(tmp_path / 'v.zip', **{'glove.txt': b'a 1\n'}).read_bytes())
  content[6] |= 1  # flags of the file
  content[content.index(b'PK\1\2') + 8] |= 1
  (tmp_path / 'v.zip').write_bytes(content)
  with pytest.raises(ValueError, match=r'v.zip: glove.txt cannot be unpacked: .*encrypted'):
    load_vectors(tmp_path / 'v.zip')


@pytest.mark.parametrize('name', ['v.txt.bz2', 'v.txt.xz', 'v.vec.XZ', 'v.txt.GZ', 'v.bin.bz2'])
def test_compressed_name_is_honored(tmp_path, name):
  save_vectors(KV, tmp_path / name)
  starts = {'gz': b'\x1f\x8b', 'bz2': b'BZh', 'xz': b'\xfd7zXZ'}
  assert (tmp_path / name).read_bytes().startswith(starts[name.rpartition('.')[2].lower()])
  np.testing.assert_array_equal(load_vectors(tmp_path / name).vectors, KV.vectors)


@pytest.mark.parametrize('name', ['v.zip', 'v.zst', 'v.tar', 'v.7z', 'v.csv', 'v.json', 'v.npy'])
def test_name_of_a_format_that_is_not_written_is_refused(tmp_path, name):
  with pytest.raises(ValueError, match=r'unsupported file extension .*; end the name in '):
    save_vectors(KV, tmp_path / name)
  assert not list(tmp_path.iterdir())
  if name in ('v.csv', 'v.npy'):
    save_vectors(KV, tmp_path / name, 'word2vec')
    assert len(load_vectors(tmp_path / name)) == 3


WORDS = ['a\0b', 'x' * 70_000, 'é' * 35_000, 'a b', 'a\nb', 'a\rb', 'a\r', 'a\tb', '', ' a', 'a ',
         'a\t', '\t', 'a\ud800', '\ud83d\ude00', '\ufeffa', '1', 'a 1', 'a\u00a01', 'a\u2028b',
         '\u00a0', '#a', '"a', 'a,', '\x01', 'a  b', '</s>']  # fmt: skip


def refused(kv, path, format):
  """Saves vectors; returns the message of a `ValueError`, or None."""
  try:
    save_vectors(kv, path, format)
  except ValueError as error:
    return str(error)
  return None


@pytest.mark.parametrize('format', [*FORMATS, 'model'])
@pytest.mark.parametrize('word', WORDS, ids=lambda word: ascii(word)[:12])
def test_word_is_refused_on_saving_or_read_again(tmp_path, format, word):
  path = tmp_path / ('v.bin' if format == 'model' else 'v')
  for words in ([word, 'z'], ['z', word]):
    kv = KeyedVectors(words, [[1.5, 2], [3, 4]])
    if format == 'model':
      rows = np.ones((4, 2), np.float32)
      kv = SubwordVectors(words, kv.vectors, Ngrams(rows, 3, 4, 4), kv.vectors)
    if format not in FOLDERS:
      path.write_bytes(b'before')
    given = None if format == 'model' else format
    if refusal := refused(kv, path, given):
      assert 'cannot represent the word' in refusal and 'rename it' in refusal
      assert format in FOLDERS or path.read_bytes() == b'before'
      assert len(list(tmp_path.iterdir())) == (format not in FOLDERS)
    else:
      for format_read in (None, given):
        assert load_vectors(path, format_read).index_to_key == words


@pytest.mark.parametrize(('format', 'word'), [
  ('word2vec_binary', 'x' * 70_000), ('word2vec', 'a b'), ('fasttext', 'a b'), ('glove', 'a\n'),
  ('projector', 'a\tb'), ('numpy', 'a\n'), ('safetensors', 'a\n'), ('parquet', ''),
])  # fmt: skip
def test_word_that_a_reader_refuses_is_refused_on_saving(tmp_path, format, word):
  with pytest.raises(ValueError, match=f'a {format} file cannot represent the word .*; rename it'):
    save_vectors(KeyedVectors(['z', word], np.ones((2, 2))), tmp_path / 'v', format)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('word', ['a\0b', 'x' * 70_000])
def test_word_that_fasttext_cannot_load_is_refused(tmp_path, word):
  rows = np.ones((4, 2), np.float32)
  kv = SubwordVectors(['z', word], rows[:2], Ngrams(rows, 3, 4, 4), rows[:2])
  with pytest.raises(ValueError, match='a fasttext model file cannot represent the word'):
    save_vectors(kv, tmp_path / 'v.bin')
