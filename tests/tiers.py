"""Fast and slow tiers for test parameters."""

import pytest


def fast(values, all_values):
  """Returns all values for `pytest.mark.parametrize`, and marks all but `values` as slow."""
  assert all(value in all_values for value in values), values
  slow = lambda x: pytest.param(*(x if isinstance(x, tuple) else (x,)), marks=pytest.mark.slow)
  return [value if value in values else slow(value) for value in all_values]
