"""The folder of a run: its lock."""

import fcntl

import pytest

from jw2v.training.workdir import lock_workdir


class TestLock:
  def test_an_empty_workdir_is_removed_again(self, tmp_path):
    with lock_workdir(tmp_path / 'a' / 'b'):
      assert (tmp_path / 'a' / 'b').is_dir()
      with pytest.raises(BlockingIOError, match='another run is at work there'):
        with lock_workdir(tmp_path / 'a' / 'b'):
          pass
    assert not (tmp_path / 'a').exists()

  def test_a_lock_that_its_owner_removes_at_that_moment_is_no_lock(self, tmp_path, monkeypatch):
    """Or two runs would have one each: this one the removed file, the next one a new file."""
    flock, left = fcntl.flock, [1]

    def late(handle, operation):
      if left:
        left.pop()
        (tmp_path / '.lock').unlink()
      flock(handle, operation)

    monkeypatch.setattr(fcntl, 'flock', late)
    with lock_workdir(tmp_path):
      with pytest.raises(BlockingIOError), lock_workdir(tmp_path):
        pass
