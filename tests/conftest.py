"""What every test shares: eight devices, double precision for the mathematics, case tables."""

import jax
import pytest

from jw2v.distributed.backend import prepare_backend

prepare_backend(8)  # of which a run takes one, if it does not ask for more


def pytest_generate_tests(metafunc):
  """A test with the argument `case` runs for each entry of its class's `CASES`.

  One with `argument` runs for each of `ARGUMENTS`, as (name, path, case function); one
  with `shaped_argument` leaves out those of `GIVES_SHAPE`.
  """
  if 'case' in metafunc.fixturenames:
    cases = metafunc.cls.CASES
    metafunc.parametrize('case', list(cases.values()), ids=list(cases))
  for fixture in {'argument', 'shaped_argument'} & set(metafunc.fixturenames):
    left_out = metafunc.cls.GIVES_SHAPE if fixture == 'shaped_argument' else ()
    arguments = {n: a for n, a in metafunc.cls.ARGUMENTS.items() if n not in left_out}
    values = [(name, path, metafunc.cls.CASES[c]) for name, (path, c) in arguments.items()]
    metafunc.parametrize(fixture, values, ids=list(arguments))


@pytest.fixture
def float64():
  """float64 arrays, and no silent broadcasting of ranks."""
  with jax.enable_x64(True), jax.numpy_rank_promotion('raise'):
    yield
