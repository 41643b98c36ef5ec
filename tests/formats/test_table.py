"""Growing tables, and input files for codecs."""

import os

import numpy as np
import pytest

from jw2v.formats.table import GrowingTable, Input


def test_a_table_grows_with_its_rows_whatever_its_share_of_the_file_says():
  table = GrowingTable(2, None)
  table.append(np.ones((1000, 2), np.float32), 1e-12)  # a little text before a large rest
  assert len(table._array) <= 16_000
  table.append(np.ones((50_000, 2), np.float32), 1e-9)
  assert table.finish(51_000).sum() == 102_000


@pytest.mark.skipif(not os.path.exists('/proc/self/mem'), reason='a file of Linux')
def test_a_read_error_has_the_name_of_the_file():
  with pytest.raises(OSError, match="Input/output error: '/proc/self/mem'"):
    Input('/proc/self/mem').read(1)  # nothing is mapped at address 0
