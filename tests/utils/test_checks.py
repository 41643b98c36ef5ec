"""Checks of plain numbers and of tables."""

import numpy as np
import pytest

from jw2v.utils import checks
from jw2v.utils.checks import check_number


class TestCheckNumber:
  @pytest.mark.parametrize(('value', 'kind', 'expected'), [
    (3, int, 3), (np.int32(3), int, 3), (3, float, 3), (0.5, float, 0.5),
    (np.float32(0.5), float, 0.5),
  ])  # fmt: skip
  def test_returns_a_number_of_python(self, value, kind, expected):
    found = check_number('x', value, kind, 0, 3)
    assert found == expected and type(found) is type(expected)

  @pytest.mark.parametrize(('value', 'kind'), [
    (True, int), (2.0, int), ('2', int), (None, float), (1j, float), (float('nan'), float),
    (-1, int), (4, int),
  ])  # fmt: skip
  def test_refuses_other_kinds_and_ranges(self, value, kind):
    with pytest.raises(ValueError, match=r'^x=.*: must be an? (integer|number) from 0 to 3$'):
      check_number('x', value, kind, 0, 3)

  def test_without_an_upper_limit(self):
    assert check_number('x', 10**30, int, 1) == 10**30
    with pytest.raises(ValueError, match='x=0: must be an integer of at least 1'):
      check_number('x', 0, int, 1)


def test_row_that_is_not_finite_in_a_later_block(monkeypatch):
  monkeypatch.setattr(checks, '_CHECKED', 2)
  table = np.zeros((7, 2))
  assert checks.first_not_finite(table) is None
  table[5, 1] = np.nan
  assert checks.first_not_finite(table) == 5
