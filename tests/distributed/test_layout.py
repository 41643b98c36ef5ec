"""What is set before a backend starts, and what is left alone."""

import os
import subprocess
import sys

import pytest

from jw2v.distributed import layout


@pytest.fixture
def old_cuda(monkeypatch):
  """A jaxlib whose scatter-add is slow on NVIDIA, before its backend has started."""
  monkeypatch.setattr(layout, '_jaxlib_version', lambda: (0, 11, 0))
  monkeypatch.setattr(layout, '_has_cuda', lambda: True)
  monkeypatch.setattr(layout, 'backends_are_initialized', lambda: False)
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  return monkeypatch


class TestPrepareBackend:
  def test_asks_for_atomic_addition_and_keeps_other_flags(self, old_cuda):
    old_cuda.setenv('XLA_FLAGS', '--xla_dump_to=x')
    layout.prepare_backend()
    want = '--xla_dump_to=x --xla_backend_extra_options=-nvptx-allow-ftz-atomics'
    assert os.environ['XLA_FLAGS'] == want
    layout.prepare_backend()
    assert os.environ['XLA_FLAGS'] == want

  @pytest.mark.parametrize('version', [(0, 10, 1), (0, 11, 1), (0, 12, 0)])
  def test_leaves_other_versions_alone(self, old_cuda, version):
    old_cuda.setattr(layout, '_jaxlib_version', lambda: version)
    layout.prepare_backend()
    assert 'XLA_FLAGS' not in os.environ

  def test_leaves_machines_without_cuda_alone(self, old_cuda):
    old_cuda.setattr(layout, '_has_cuda', lambda: False)
    layout.prepare_backend()
    assert 'XLA_FLAGS' not in os.environ

  def test_warns_when_it_is_too_late(self, old_cuda):
    old_cuda.setattr(layout, 'backends_are_initialized', lambda: True)
    with pytest.warns(UserWarning, match='before JAX starts'):
      layout.prepare_backend()
    assert 'XLA_FLAGS' not in os.environ

  def test_warns_where_the_user_has_set_the_options(self, old_cuda):
    old_cuda.setenv('XLA_FLAGS', '--xla_backend_extra_options=-other')
    with pytest.warns(UserWarning, match='nvptx-allow-ftz-atomics'):
      layout.prepare_backend()

  def test_reads_the_version(self):
    version = layout._jaxlib_version()
    assert len(version) == 3 and version >= (0, 10, 0)


def test_starts_no_backend():
  program = (
    'from jw2v import sharding; layout.prepare_backend(); '
    'from jax._src import xla_bridge; assert not xla_bridge.backends_are_initialized()'
  )
  subprocess.run([sys.executable, '-c', program], check=True)
