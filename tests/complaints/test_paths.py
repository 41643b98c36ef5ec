"""Paths in the forms that users write."""

import io
import os
import pathlib

import pytest

from jw2v import KeyedVectors, Phrases, Vocabulary, load_vectors, save_vectors
from jw2v.cli.main import main
from jw2v.utils.files import expanded


def test_tilde_is_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert expanded('~/v.txt') == expanded(pathlib.Path('~/v.txt')) == tmp_path / 'v.txt'
  assert expanded(b'~/v.txt') == tmp_path / 'v.txt'
  assert expanded('a/~b') == pathlib.Path('a/~b')
  assert expanded(expanded('./~')) == pathlib.Path.cwd() / '~'


@pytest.mark.parametrize('file', [io.BytesIO(b'x'), 3, None])
def test_open_file_as_path_says_what_to_do(file):
  with pytest.raises(TypeError, match=r'must be named by its path, got .*; write'):
    expanded(file)


@pytest.mark.parametrize('kind', [str, pathlib.Path, os.fsencode])
def test_tilde_in_every_path_of_vectors(tmp_path, monkeypatch, kind):
  monkeypatch.setenv('HOME', str(tmp_path))
  kv = KeyedVectors(['a', 'b', 'c'], [[1, 2], [3, 4], [0, 1]])
  for name in ('v.txt', 'v.bin', 'v.npz', 'v.safetensors', 'v.parquet', 'v.arrow', 'v.txt.gz', 'v'):
    save_vectors(kv, kind(f'~/{name}'), 'projector' if name == 'v' else None)
    assert (tmp_path / name).exists()
    assert load_vectors(kind(f'~/{name}')).index_to_key == ['a', 'b', 'c']
  save_vectors(kv, '~/folder/')
  assert (tmp_path / 'folder').is_dir()
  assert load_vectors('~/folder').index_to_key == ['a', 'b', 'c']
  kv.save(kind('~/kv'))
  assert len(KeyedVectors.load(kind('~/kv'))) == 3
  kv.save_word2vec_format(kind('~/kv.txt'))
  assert len(KeyedVectors.load_word2vec_format(kind('~/kv.txt'))) == 3
  (tmp_path / 'pairs').write_text('a b 1\nb c 2\na c 3\n')
  kv.evaluate_word_pairs(kind('~/pairs'))
  (tmp_path / 'analogies').write_text('a b c a\n')
  kv.evaluate_word_analogies(kind('~/analogies'))
  Vocabulary(('a',), [1]).save(kind('~/vocabulary'))
  assert Vocabulary.load(kind('~/vocabulary')).words == ('a',)
  Phrases((), (), '_').save(kind('~/phrases'))
  assert Phrases.load(kind('~/phrases')).delimiter == '_'


def test_tilde_in_every_path_of_a_command(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('HOME', str(tmp_path))
  kv = KeyedVectors(['a', 'b', 'c'], [[1, 2], [3, 4], [0, 1]])
  kv.save_word2vec_format(tmp_path / 'v.txt')
  (tmp_path / 'run').mkdir()
  kv.save_word2vec_format(tmp_path / 'run' / 'vectors.txt')
  (tmp_path / 'words').write_text('a\nb\n')
  (tmp_path / 'pairs').write_text('a b 1\nb c 2\na c 3\n')
  for command in (
    'convert ~/v.txt ~/w.bin --words ~/words', 'convert --input=~/v.txt --output=~/folder/',
    'neighbors --vectors=~/v.txt a', 'neighbors ~/run a', 'query ~/v.txt --query a',
    'info ~/v.txt', 'info ~/folder',
    'evaluate ~/v.txt ~/pairs --output=~/scores.json',
    'plot ~/v.txt --words a --output=~/words.png', 'plot ~/v.txt --html=~/map.html',
  ):  # fmt: skip
    assert main(command.split()) == 0, capsys.readouterr().err
  assert capsys.readouterr().out.count('size ') == 1  # of the file, from `info`
  for name in ('w.bin', 'folder', 'scores.json', 'words.png', 'map.html'):
    assert (tmp_path / name).exists()


def test_nul_in_a_path_is_named(tmp_path):
  for call in (
    lambda: load_vectors('a\0b'),
    lambda: save_vectors(KeyedVectors('a', [[1]]), 'a\0b'),
  ):
    with pytest.raises(ValueError, match=r"a path must not contain NUL, got 'a\\x00b'"):
      call()
