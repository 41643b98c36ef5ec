"""Checks of plain numbers, of weights and of tables."""

import jax.numpy as jnp
import numpy as np
import pytest

from jw2v.utils import checks
from jw2v.utils.checks import check_number, check_weights


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
    with pytest.raises(ValueError, match=r'^x must be an? (integer|number) from 0 to 3, got .*$'):
      check_number('x', value, kind, 0, 3)

  def test_without_an_upper_limit(self):
    assert check_number('x', 10**30, int, 1) == 10**30
    with pytest.raises(ValueError, match='x must be an integer of at least 1, got 0'):
      check_number('x', 0, int, 1)


class TestCheckWeights:
  @pytest.mark.parametrize(('values', 'dtype'), [
    ([3, 0], np.int64), (np.array([3, 0], np.uint8), np.int64), (jnp.array([3, 0]), np.int64),
    ([3.0, 0], np.float64), (jnp.array([3, 0], jnp.bfloat16), np.float64),
  ])  # fmt: skip
  def test_returns_64_bits(self, values, dtype):
    found = check_weights('counts', values)
    assert type(found) is np.ndarray and found.dtype == dtype and found.tolist() == [3, 0]

  @pytest.mark.parametrize(('values', 'reason'), [
    ([], r'one axis and at least one element, got shape \(0,\)'),
    (np.ones((2, 3)), r'one axis and at least one element, got shape \(2, 3\)'),
    (3, r'one axis and at least one element, got shape \(\)'),
    ([1, -2], 'finite and at least 0, got -2 at index 1'),
    ([1, 2, np.nan], 'finite and at least 0, got nan at index 2'),
    (jnp.array([np.inf]), 'finite and at least 0, got inf at index 0'),
    (['a'], 'real numbers, got <U1'),
    ([1j], 'real numbers, got complex128'),
  ])  # fmt: skip
  def test_refuses_what_are_no_weights(self, values, reason):
    with pytest.raises(ValueError, match=f'^counts must be {reason}$|^counts must have {reason}$'):
      check_weights('counts', values)


def test_row_that_is_not_finite_in_a_later_block(monkeypatch):
  monkeypatch.setattr(checks, '_CHECKED', 2)
  table = np.zeros((7, 2))
  assert checks.first_not_finite(table) is None
  table[5, 1] = np.nan
  assert checks.first_not_finite(table) == 5
