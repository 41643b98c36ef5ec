"""Devices: what must be set before one is used.

What belongs here: everything that knows that there are different devices, and more
than one of them.
"""

import importlib.metadata
import importlib.util
import os
import re
import warnings

from jax._src.xla_bridge import backends_are_initialized  # JAX tells it nowhere else

_SLOW_SCATTER_FROM, _SLOW_SCATTER_TO = (0, 10, 2), (0, 11, 0)
_FAST_SCATTER_FLAG = '-nvptx-allow-ftz-atomics'


def prepare_backend() -> None:
  """Sets what must be set before JAX starts its backend; call it first in a program.

  `train` calls it too. Where there is nothing to set, it does nothing, and it starts no
  backend. It adds to `XLA_FLAGS` and keeps what is there.

  jaxlib 0.10.2 to 0.11.0 compile a float32 scatter-add for NVIDIA GPUs to a loop of
  compare-and-swap, hundreds of times slower where an index repeats: there it asks for
  the hardware's own atomic addition, and warns if the backend has started without it.

  References:
    https://github.com/openxla/xla/issues/46225, https://github.com/jax-ml/jax/issues/38806
  """
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
      'jw2v.sharding.prepare_backend() first',
      stacklevel=2,
    )
    return
  os.environ['XLA_FLAGS'] = f'{xla_flags} {flag}'.strip()


def _jaxlib_version() -> tuple[int, ...]:
  return tuple(int(n) for n in re.findall(r'\d+', importlib.metadata.version('jaxlib'))[:3])


def _has_cuda() -> bool:
  """Whether JAX's CUDA plugin is installed."""
  names = [f'jax_cuda{version}_plugin' for version in (12, 13)]
  return any(importlib.util.find_spec(name) is not None for name in names)
