"""Files that appear whole or not at all."""

import pytest

from jw2v.files import atomic_write


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
