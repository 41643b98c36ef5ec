"""Arrays that stay in their files."""

import gc
import os

import numpy as np
import pytest

from jw2v.data.stored_array import StoredArray


def test_its_handle_is_closed(tmp_path):
  np.save(tmp_path / 'ids.npy', np.arange(9))
  array = StoredArray.open(tmp_path / 'ids.npy')
  part, handle = array[2:5], array._handle
  assert part.read(1, 3).tolist() == [3, 4]
  os.fstat(handle)
  del array, part
  gc.collect()
  with pytest.raises(OSError, match='Bad file descriptor'):
    os.fstat(handle)
