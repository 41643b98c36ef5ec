"""What every test shares: double precision for the mathematics, and case tables."""

import jax
import pytest


def pytest_generate_tests(metafunc):
  """A test with the argument `case` runs for each entry of its class's `CASES`.

  One with `argument` runs for each of `ARGUMENTS`, as (name, path, case function).
  """
  if 'case' in metafunc.fixturenames:
    cases = metafunc.cls.CASES
    metafunc.parametrize('case', list(cases.values()), ids=list(cases))
  if 'argument' in metafunc.fixturenames:
    arguments = metafunc.cls.ARGUMENTS
    values = [(name, path, metafunc.cls.CASES[c]) for name, (path, c) in arguments.items()]
    metafunc.parametrize('argument', values, ids=list(arguments))


@pytest.fixture
def float64():
  """float64 arrays, and no silent broadcasting of ranks."""
  with jax.enable_x64(True), jax.numpy_rank_promotion('raise'):
    yield
