"""Settings that JAX reads when it starts its backend.

`jw2v.prepare_backend` changes them; the programs and `jw2v.train` call it first.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import warnings

import jax
from jax._src.xla_bridge import backends_are_initialized  # not public

from jw2v.utils.limits import one_line

_SLOW_SCATTER_FROM, _SLOW_SCATTER_TO = (0, 10, 2), (0, 11, 0)
_CONTAINER_LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')  # bytes, or 'max'
_DEVICES_FLAG = '--xla_force_host_platform_device_count'  # has no effect beside JAX's own setting
_FAST_SCATTER_FLAG = '-nvptx-allow-ftz-atomics'
_FORKED: list[int] = []  # this process, if it was forked after JAX had started


def _note_fork() -> None:
  if backends_are_initialized():
    _FORKED[:] = [os.getpid()]


if hasattr(os, 'register_at_fork'):
  os.register_at_fork(after_in_child=_note_fork)


def check_not_forked() -> None:
  """Raises a `RuntimeError` in a process that was forked after JAX had started.

  Such a process lacks the threads of JAX, so that compiled functions wait for them forever.
  """
  if _FORKED:
    raise RuntimeError(
      'train must run in a process that is not forked after JAX has started, got process '
      f"{_FORKED[0]}; start it with multiprocessing.get_context('spawn') or 'forkserver'"
    )


def num_cores() -> int:
  """Returns the number of cores that this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def host_memory() -> int:
  """Returns the memory of the machine, or of the container if that is less."""
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  try:
    return min(memory, int(_CONTAINER_LIMIT.read_text('ascii')))
  except (OSError, ValueError):  # no container, or no limit
    return memory


def platform() -> str:
  """Starts the backend of JAX and returns its name: 'cpu', 'gpu' or 'tpu'.

  Raises:
    ValueError: a backend in `JAX_PLATFORMS` cannot start.
  """
  try:
    return jax.default_backend()
  except (AssertionError, RuntimeError) as error:  # JAX asserts that a backend has started
    asked: str = jax.config.jax_platforms  # type: ignore[attr-defined]
    if not asked:
      raise
    reason = f' ({one_line(error)})' if str(error) else ''
    raise ValueError(
      f'JAX_PLATFORMS must name backends that this machine has, got {asked!r}{reason}; unset it, '
      "or install a plugin such as pip install 'jax[cuda13]'"
    ) from error


def prepare_backend(devices: int | None = None) -> None:
  """Changes the settings that JAX reads when it starts its backend; call it first in a program.

  `train` calls it too. It does not start the backend. It appends to `XLA_FLAGS` and keeps the
  flags that are already set.

  A CPU is one device by default. If `devices` is given in time, JAX splits it into that many.

  jaxlib 0.10.2 to 0.11.0 compile a float32 scatter-add for NVIDIA GPUs to a loop of
  compare-and-swap, which is hundreds of times slower for repeated indices. With these versions
  this function asks for the atomic addition of the hardware, or warns if the backend has already
  started without it.

  Args:
    devices: number of devices that a CPU is split into; None leaves it unchanged.

  References:
    https://github.com/openxla/xla/issues/46225, https://github.com/jax-ml/jax/issues/38806
  """
  if devices is not None and not backends_are_initialized():
    there: int = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
    by_flag = re.findall(rf'{_DEVICES_FLAG}=(\d+)', os.environ.get('XLA_FLAGS', ''))
    if max(there, *map(int, by_flag[-1:]), 0) < devices:
      jax.config.update('jax_num_cpu_devices', devices)
  if not _SLOW_SCATTER_FROM <= _jaxlib_version() <= _SLOW_SCATTER_TO or not _has_cuda():
    return
  xla_flags = os.environ.get('XLA_FLAGS', '')
  if _FAST_SCATTER_FLAG in xla_flags:
    return
  flag = f'--xla_backend_extra_options={_FAST_SCATTER_FLAG}'
  if backends_are_initialized() or '--xla_backend_extra_options' in xla_flags:
    warnings.warn(
      f'jaxlib {importlib.metadata.version("jaxlib")} adds to repeated rows hundreds of times '
      f'slower than the GPU could. Set XLA_FLAGS={flag} before JAX starts, or call '
      'jw2v.prepare_backend() first',
      stacklevel=2,
    )
    return
  os.environ['XLA_FLAGS'] = f'{xla_flags} {flag}'.strip()


def _jaxlib_version() -> tuple[int, ...]:
  return tuple(int(n) for n in re.findall(r'\d+', importlib.metadata.version('jaxlib'))[:3])


def _has_cuda() -> bool:
  """Returns whether JAX's CUDA plugin is installed."""
  names = [f'jax_cuda{version}_plugin' for version in (12, 13)]
  return any(importlib.util.find_spec(name) is not None for name in names)
