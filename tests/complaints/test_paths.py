"""Paths as users write them."""

import io
import pathlib

import pytest

from jw2v.utils.files import expanded


def test_tilde_is_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert expanded('~/v.txt') == expanded(pathlib.Path('~/v.txt')) == tmp_path / 'v.txt'
  assert expanded(b'~/v.txt') == tmp_path / 'v.txt'
  assert expanded('a/~b') == pathlib.Path('a/~b')


@pytest.mark.parametrize('file', [io.BytesIO(b'x'), 3, None])
def test_open_file_as_path_says_what_to_do(file):
  with pytest.raises(TypeError, match=r'must be named by its path, got .*; write'):
    expanded(file)
