"""Files that are written completely or not at all."""

import contextlib
import errno
import os
import signal
import subprocess
import sys

import pytest

from jw2v import Vocabulary
from jw2v.data.text import TextReader
from jw2v.utils import files
from jw2v.utils.files import atomic_write, digest, kept_folder


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

  @pytest.mark.slow
  def test_what_a_killed_process_left_is_removed_and_what_is_being_written_is_not(self, tmp_path):
    program = 'import sys, jw2v.utils.files as f\nwith f.atomic_write(sys.argv[1]) as file:\n'
    program += '  file.write(b"half")\n  print("on its way", flush=True)\n  sys.stdin.read()'
    command = [sys.executable, '-c', program, tmp_path / 'file']
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
      process.stdout.readline()
      (tmp_path / '.file.mine').touch()
      names = {path.name for path in tmp_path.iterdir()}
      with atomic_write(tmp_path / 'file') as file:
        file.write(b'whole')
      assert {path.name for path in tmp_path.iterdir()} == {*names, 'file'}
      process.send_signal(signal.SIGKILL)
    with atomic_write(tmp_path / 'file') as file:
      file.write(b'whole')
    assert {path.name for path in tmp_path.iterdir()} == {'.file.mine', 'file'}

  @pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a device of Linux')
  def test_a_full_disk_is_told_with_the_name_of_the_file(self, tmp_path):
    def fill():
      with atomic_write(tmp_path / 'file') as file:
        os.dup2(os.open('/dev/full', os.O_WRONLY), file.fileno())
        file.write(b'x')

    with pytest.raises(OSError, match=r"No space left on device: '.*file'") as raised:
      fill()
    assert raised.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


class TestWhereToWrite:
  def test_a_link_keeps_leading_to_its_file(self, tmp_path):
    (tmp_path / 'target').write_text('old')
    (tmp_path / 'link').symlink_to(tmp_path / 'target')
    with atomic_write(tmp_path / 'link') as file:
      file.write(b'new')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'target').read_text() == 'new'

  def test_a_pipe_is_not_replaced(self, tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(OSError, match='must be a file, got a pipe or device'):
      with atomic_write(tmp_path / 'pipe'):
        pass
    assert not (tmp_path / 'pipe').is_file()

  def test_a_long_name(self, tmp_path):
    with atomic_write(tmp_path / ('n' * 255)) as file:
      file.write(b'x')
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]

  @pytest.mark.parametrize(('name', 'error'), [('', FileNotFoundError), ('.', IsADirectoryError)])
  def test_no_name_of_a_file(self, monkeypatch, tmp_path, name, error):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
      with atomic_write(name):
        pass


class TestKeptFolder:
  @pytest.mark.parametrize('exists', [False, True])
  def test_a_new_one_is_removed_after_an_error(self, tmp_path, exists):
    folder = tmp_path / 'folder'
    if exists:
      folder.mkdir()
    for fails in (True, False):
      with pytest.raises(KeyboardInterrupt) if fails else contextlib.nullcontext():
        with kept_folder(folder):
          assert folder.is_dir() and (exists or folder in files._UNFINISHED)
          if fails:
            raise KeyboardInterrupt
      assert folder.exists() == (exists or not fails)

  def test_names_that_cannot_be_folders(self, tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(NotADirectoryError, match='file: must be a folder, got a file'):
      with kept_folder(tmp_path / 'file'):
        pass
    with pytest.raises(FileNotFoundError, match=r'folder .* not found'):
      with kept_folder(tmp_path / 'no' / 'folder'):
        pass


@pytest.mark.skipif(not os.path.exists('/proc/self/mem'), reason='a file of Linux')
@pytest.mark.parametrize('read', [lambda path: list(TextReader([path]).buffers()), Vocabulary.load])
def test_a_read_error_is_told_with_the_name_of_the_file(read):
  with pytest.raises(OSError, match="Input/output error: '/proc/self/mem'"):
    read('/proc/self/mem')  # address 0 is not mapped


def test_a_digest_depends_on_the_value_and_not_on_the_order_of_its_keys():
  assert digest({'a': 1, 'b': [2]}) == digest({'b': (2,), 'a': 1}) != digest({'a': 1, 'b': [3]})
  assert digest([]) == '4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945'
