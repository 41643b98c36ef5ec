"""Settings before a backend starts, and settings that remain unchanged."""

import os
import subprocess
import sys

import pytest

from jw2v.distributed import backend


@pytest.fixture
def old_cuda(monkeypatch):
  """Simulates a jaxlib with a slow scatter-add on NVIDIA, before its backend starts."""
  monkeypatch.setattr(backend, '_jaxlib_version', lambda: (0, 11, 0))
  monkeypatch.setattr(backend, '_has_cuda', lambda: True)
  monkeypatch.setattr(backend, 'backends_are_initialized', lambda: False)
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  return monkeypatch


class TestPrepareBackend:
  def test_asks_for_atomic_addition_and_keeps_other_flags(self, old_cuda):
    old_cuda.setenv('XLA_FLAGS', '--xla_dump_to=x')
    backend.prepare_backend()
    want = '--xla_dump_to=x --xla_backend_extra_options=-nvptx-allow-ftz-atomics'
    assert os.environ['XLA_FLAGS'] == want
    backend.prepare_backend()
    assert os.environ['XLA_FLAGS'] == want

  @pytest.mark.parametrize('version', [(0, 10, 1), (0, 11, 1), (0, 12, 0)])
  def test_leaves_other_versions_alone(self, old_cuda, version):
    old_cuda.setattr(backend, '_jaxlib_version', lambda: version)
    backend.prepare_backend()
    assert 'XLA_FLAGS' not in os.environ

  def test_leaves_machines_without_cuda_alone(self, old_cuda):
    old_cuda.setattr(backend, '_has_cuda', lambda: False)
    backend.prepare_backend()
    assert 'XLA_FLAGS' not in os.environ

  def test_warns_when_it_is_too_late(self, old_cuda):
    old_cuda.setattr(backend, 'backends_are_initialized', lambda: True)
    with pytest.warns(UserWarning, match='before JAX starts'):
      backend.prepare_backend()
    assert 'XLA_FLAGS' not in os.environ

  def test_warns_where_the_user_has_set_the_options(self, old_cuda):
    old_cuda.setenv('XLA_FLAGS', '--xla_backend_extra_options=-other')
    with pytest.warns(UserWarning, match='nvptx-allow-ftz-atomics'):
      backend.prepare_backend()

  def test_reads_the_version(self):
    version = backend._jaxlib_version()
    assert len(version) == 3 and version >= (0, 10, 0)


@pytest.mark.slow
def test_starts_no_backend():
  program = (
    'from jw2v.distributed import backend; backend.prepare_backend(); '
    'from jax._src import xla_bridge; assert not xla_bridge.backends_are_initialized()'
  )
  subprocess.run([sys.executable, '-c', program], check=True)


@pytest.mark.parametrize(('flag', 'devices', 'expected'), [(None, 3, 3), (6, 3, 6), (2, 3, 3)])
def test_a_cpu_keeps_the_devices_of_a_flag(flag, devices, expected):
  program = (
    f'from jw2v.distributed import backend; backend.prepare_backend({devices}); '
    'import jax; print(jax.device_count())'
  )
  flags = '' if flag is None else f'--xla_force_host_platform_device_count={flag}'
  done = subprocess.run(
    [sys.executable, '-c', program], check=True, capture_output=True, text=True,
    env={**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
  )  # fmt: skip
  assert int(done.stdout) == expected


@pytest.mark.slow
class TestPlatform:
  def test_names_a_backend_that_cannot_start(self):
    """Runs in a new process, because this process has already started its backend."""
    code = (
      'import jw2v\n'
      'try:\n'
      "  jw2v.train([['a', 'b']], jw2v.TrainConfig(min_count=1), workdir='run', progress=False)\n"
      'except ValueError as error:\n'
      '  print(error)\n'
    )
    done = subprocess.run(
      [sys.executable, '-c', code], env={**os.environ, 'JAX_PLATFORMS': 'cuda'},
      capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(
      "JAX_PLATFORMS must name backends that this machine has, got 'cuda'"
    )
    assert len(done.stdout.splitlines()) == 1 and not os.path.exists('run')
