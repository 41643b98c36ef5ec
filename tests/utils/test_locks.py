"""Locks between processes; `flock` also excludes two handles of one process."""

import os
import pathlib
import subprocess
import sys
import threading

import pytest

from jw2v.utils import locks

pytest.importorskip('fcntl')


class TestFolder:
  def test_is_locked_once(self, tmp_path):
    handle = locks.try_lock_folder(tmp_path)
    assert handle is not None and locks.try_lock_folder(tmp_path) is None
    os.close(handle)
    again = locks.try_lock_folder(tmp_path)
    assert again is not None
    os.close(again)
    assert not list(tmp_path.iterdir())

  def test_that_is_missing_cannot_be_locked(self, tmp_path):
    assert locks.try_lock_folder(tmp_path / 'no') is None
    with locks.locked_folder(tmp_path / 'no'):
      pass

  def test_waits_for_the_other(self, tmp_path):
    events = []

    def second():
      with locks.locked_folder(tmp_path):
        events.append('second')

    with locks.locked_folder(tmp_path):
      thread = threading.Thread(target=second)
      thread.start()
      thread.join(0.1)
      events.append('first')
    thread.join(30)
    assert events == ['first', 'second']

  @pytest.mark.slow
  def test_is_released_when_its_process_is_killed(self, tmp_path):
    code = 'import sys, locks; locks.try_lock_folder(sys.argv[1]); print("x", flush=True)'
    command = [sys.executable, '-c', f'{code}; sys.stdin.read()', tmp_path]
    folder = pathlib.Path(locks.__file__).parent  # without the package, which imports jax
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe) as process:
      process.stdout.readline()
      assert locks.try_lock_folder(tmp_path) is None
      process.kill()
      process.wait()
      handle = locks.try_lock_folder(tmp_path)
      assert handle is not None
      os.close(handle)


class TestFile:
  def test_is_there_while_it_is_locked(self, tmp_path):
    path = tmp_path / '.lock'
    with locks.lock_file(path):
      assert path.exists()
      with pytest.raises(BlockingIOError, match=r'\.lock: locked by another process'):
        with locks.lock_file(path):
          pass
      assert path.exists()
    assert not path.exists()

  def test_left_by_a_killed_process_is_no_lock(self, tmp_path):
    (tmp_path / '.lock').touch()
    with locks.lock_file(tmp_path / '.lock'):
      pass
    assert not list(tmp_path.iterdir())

  def test_removed_by_its_last_owner_is_made_again(self, tmp_path, monkeypatch):
    """Locks a new file if the last owner removes the file between opening and locking."""
    path, flock, removed = tmp_path / '.lock', locks.fcntl.flock, []

    def remove_first(handle, how):
      if not removed:
        removed.append(path.unlink())
      flock(handle, how)

    monkeypatch.setattr(locks.fcntl, 'flock', remove_first)
    with locks.lock_file(path):
      assert removed and path.exists()


class TestWithoutLocks:
  """Locks on Windows, and on file systems without locks."""

  @pytest.fixture(autouse=True, params=['no fcntl', 'no locks'])
  def without(self, request, monkeypatch):
    def fail(*_):
      raise OSError('no locks available')

    if request.param == 'no fcntl':
      monkeypatch.setattr(locks, 'fcntl', None)
    else:
      monkeypatch.setattr(locks.fcntl, 'flock', fail)

  def test_nothing_is_locked_and_all_go_on(self, tmp_path):
    (tmp_path / 'file').touch()
    with open(tmp_path / 'file') as file:
      assert not locks.try_lock(file.fileno())
      locks.wait_for_lock(file.fileno())
    assert locks.try_lock_folder(tmp_path) is None
    with locks.locked_folder(tmp_path), locks.locked_folder(tmp_path):
      pass
    with locks.lock_file(tmp_path / '.lock'), locks.lock_file(tmp_path / '.lock'):
      pass
    assert [path.name for path in tmp_path.iterdir()] == ['file']
