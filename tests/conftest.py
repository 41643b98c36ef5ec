"""Settings for all tests: compilation, eight devices, float64, and tables of cases."""

import os
import pathlib

import jax
import pytest

from jw2v.distributed.backend import prepare_backend

CACHE = pathlib.Path(__file__).parents[1] / '.pytest_cache' / 'jax'

# Caches compiled functions between runs, for all workers and for processes that tests start,
# which read the environment. The folder can be deleted at any time.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(CACHE))
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
os.environ['JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'] = '-1'
jax.config.update('jax_compilation_cache_dir', os.environ['JAX_COMPILATION_CACHE_DIR'])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)


def pytest_configure(config):
  """Compiles the fast tests without LLVM's optimizations, which saves a third of the time.

  XLA still optimizes HLO. All other tests, and `-m ''`, compile as users do.
  """
  if 'not slow' in config.option.markexpr:
    jax.config.update('jax_disable_most_optimizations', True)


prepare_backend(8)  # a run uses one of them by default


def pytest_generate_tests(metafunc):
  """Runs a test with the argument `case` for each entry of its class's `CASES`.

  With `main_case`, the entries outside of `MAIN` are marked `release`. With `argument`, the test
  runs for each of `ARGUMENTS`, as (name, path, case function). With `shaped_argument`, it skips the
  names in `GIVES_SHAPE`.
  """
  if 'case' in metafunc.fixturenames:
    cases = metafunc.cls.CASES
    metafunc.parametrize('case', list(cases.values()), ids=list(cases))
  if 'main_case' in metafunc.fixturenames:
    cases = metafunc.cls.CASES
    main = metafunc.cls.MAIN or list(cases)[:1]
    assert set(main) <= set(cases)
    mark = {name: () if name in main else pytest.mark.release for name in cases}
    values = [pytest.param(case, id=name, marks=mark[name]) for name, case in cases.items()]
    metafunc.parametrize('main_case', values)
  for fixture in {'argument', 'shaped_argument'} & set(metafunc.fixturenames):
    left_out = metafunc.cls.GIVES_SHAPE if fixture == 'shaped_argument' else ()
    arguments = {n: a for n, a in metafunc.cls.ARGUMENTS.items() if n not in left_out}
    values = [(name, path, metafunc.cls.CASES[c]) for name, (path, c) in arguments.items()]
    metafunc.parametrize(fixture, values, ids=list(arguments))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Marks as `release` the slow tests of classes with `REPEATS`, and tests that are slow twice.

  A test is slow twice by itself and by a parameter, or by two parameters.
  """
  for item in items:
    count = len(list(item.iter_markers('slow')))
    repeats = getattr(getattr(item, 'cls', None), 'REPEATS', False)
    if count > 1 or (count and (repeats or item.get_closest_marker('release'))):
      item.own_markers = [mark for mark in item.own_markers if mark.name != 'slow']
      item.add_marker('release')


@pytest.fixture
def float64():
  """Enables float64 and forbids implicit broadcasting of ranks."""
  with jax.enable_x64(True), jax.numpy_rank_promotion('raise'):
    yield
