"""Saving vectors over existing files, and to places that are not writable."""

import contextlib
import errno
import io
import os
import re
import resource
import stat
import unicodedata

import numpy as np
import pytest

from jw2v import KeyedVectors, load_vectors, save_vectors
from jw2v.cli.main import main
from jw2v.formats.registry import FOLDERS, FORMATS
from jw2v.utils import files

KV = KeyedVectors(['a', 'b'], [[1, 2], [3, 4]])
LARGE = KeyedVectors([f'word{i}' for i in range(20_000)], np.ones((20_000, 2)))


def test_file_keeps_its_permissions(tmp_path):
  for mode in (0o640, 0o600, 0o664):
    (tmp_path / 'v.txt').write_text('before')
    (tmp_path / 'v.txt').chmod(mode)
    save_vectors(KV, tmp_path / 'v.txt')
    assert stat.S_IMODE((tmp_path / 'v.txt').stat().st_mode) == mode
    assert len(load_vectors(tmp_path / 'v.txt')) == 2


@pytest.mark.parametrize('exists', [True, False])
def test_symbolic_link_stays_and_its_target_is_written(tmp_path, exists):
  (tmp_path / 'folder').mkdir()
  if exists:
    (tmp_path / 'folder' / 'target').write_text('before')
  (tmp_path / 'v.txt').symlink_to('folder/target')
  save_vectors(KV, tmp_path / 'v.txt')
  assert (tmp_path / 'v.txt').is_symlink()
  assert len(load_vectors(tmp_path / 'folder' / 'target')) == 2


def test_symbolic_link_to_itself_is_refused_and_stays(tmp_path):
  (tmp_path / 'v.txt').symlink_to('v.txt')
  with pytest.raises(OSError, match=r'is a symbolic link to itself: .*v.txt'):
    save_vectors(KV, tmp_path / 'v.txt')
  assert (tmp_path / 'v.txt').is_symlink()


@pytest.mark.parametrize('name', ['v.txt', 'v.bin', 'v.npz', 'v.safetensors', 'v.parquet'])
def test_folder_in_place_of_the_file_stays_empty(tmp_path, name):
  (tmp_path / name).mkdir()
  with pytest.raises(IsADirectoryError, match='must be a file, got a folder; name a file in it'):
    save_vectors(KV, tmp_path / name)
  assert not list((tmp_path / name).iterdir())
  save_vectors(KV, f'{tmp_path}/{name}/')  # a projector, as the slash says
  save_vectors(KV, tmp_path / name)
  assert len(load_vectors(tmp_path / name)) == 2


@pytest.mark.parametrize('format', FORMATS)
def test_missing_folder_is_named(tmp_path, format):
  with pytest.raises(FileNotFoundError, match=r'v: folder .*no not found'):
    save_vectors(KV, tmp_path / 'no' / 'v', format)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('format', FORMATS)
def test_read_only_folder_names_the_file(tmp_path, format, monkeypatch):
  def refuse(path, *_):
    raise PermissionError(errno.EACCES, 'Permission denied', path)

  monkeypatch.setattr(files.os, 'open', refuse)
  with pytest.raises(
    PermissionError, match=r"^\[Errno 13\] Permission denied: '[^']*/v[^']*'$"
  ) as e:
    save_vectors(KV, tmp_path / 'v', format)
  assert 'partial' not in str(e.value) and not list(tmp_path.iterdir())


@contextlib.contextmanager
def full_disk(size):
  """Limits the size of files, with the system's error."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('format', [*FORMATS, 'gz'])
def test_full_disk_leaves_the_old_file(tmp_path, format):
  path = tmp_path / ('v.gz' if format == 'gz' else 'v')
  format = None if format == 'gz' else format
  save_vectors(KV, path, format)
  before = sorted(tmp_path.rglob('*'))
  with full_disk(10_000), pytest.raises(OSError, match=r'^\[Errno 27\] File too large: ') as error:
    save_vectors(LARGE, path, format)
  assert 'partial' not in str(error.value)
  assert sorted(tmp_path.rglob('*')) == before
  assert load_vectors(path, format).index_to_key == ['a', 'b']


@pytest.mark.parametrize('format', FOLDERS)
def test_full_disk_leaves_no_new_folder(tmp_path, format):
  with full_disk(10_000), pytest.raises(OSError, match='File too large'):
    save_vectors(LARGE, tmp_path / 'v', format)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['é.txt', '漢' * 80 + '.txt', '😀' * 60, 'v' * 250, '\udcff.txt'])
@pytest.mark.parametrize('form', ['NFC', 'NFD'])
def test_names_outside_ascii(tmp_path, name, form):
  name = unicodedata.normalize(form, name)
  save_vectors(KV, tmp_path / name)
  assert os.listdir(tmp_path) == [name]  # not normalized
  assert len(load_vectors(tmp_path / name)) == 2


def test_name_that_is_too_long_is_named(tmp_path):
  for path in (tmp_path / ('v' * 300), tmp_path.joinpath(*['v' * 100] * 60)):
    with pytest.raises(OSError, match='File name too long'):
      save_vectors(KV, path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('file', [io.BytesIO(), io.StringIO(), 3, None])
def test_open_file_is_refused(tmp_path, file):
  for call in (lambda: save_vectors(KV, file), lambda: load_vectors(file), lambda: KV.save(file),
               lambda: KeyedVectors.load(file), lambda: KV.evaluate_word_pairs(file),
               lambda: KV.evaluate_word_analogies(file)):  # fmt: skip
    with pytest.raises(TypeError, match=r'a file must be named by its path, got .*; write'):
      call()


@pytest.mark.parametrize('name', ['v.csv', 'v.npz.gz', 'v.zip'])
def test_training_refuses_such_a_name_before_it_starts(tmp_path, name, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'corpus.txt').write_text('a b c\n' * 100)
  with pytest.raises(SystemExit, match=f'error: {re.escape(name)}: '):
    main(['train', 'corpus.txt', '--output', name])
  assert os.listdir(tmp_path) == ['corpus.txt']
