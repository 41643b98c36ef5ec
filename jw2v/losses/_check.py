"""Checks of the axes and dtypes of array arguments.

JAX knows shapes and dtypes while it traces, so the checks cost nothing in the compiled code.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp

_KIND_NAMES = {float: 'floating', int: 'integer', bool: 'bool'}


def check(**arguments: tuple[Any, ...]) -> list[jax.Array]:
  """Converts and checks the arguments of one call.

  Args:
    **arguments: by name `(value, axes)` or `(value, axes, kind)`. `axes` names the
      axes, blank-separated (`'K D'`; `''` is a scalar, `'...'` any shape); in one call
      a letter has one length, given by the first argument that has it. A leading `?`
      marks an option: its value may be `None`, for not taken. `kind` is `float`
      (default), `int` or `bool`; or the name of an argument before it, to whose dtype
      any real value is converted.

  Returns:
    The values as arrays, in order; `None` for an option that is not taken, which a
    type by position cannot say.

  Raises:
    AssertionError: from chex, naming the argument, for a wrong rank, shape or dtype.
    TypeError: naming the argument, for a value that is no array at all.
  """
  lengths: dict[str, tuple[int, str]] = {}
  checked: dict[str, Any] = {}
  for name, (value, axes_text, *kinds) in arguments.items():
    if value is None and axes_text.startswith('?'):
      checked[name] = None
      continue
    axes, kind = axes_text.lstrip('?').split(), kinds[0] if kinds else float
    like = checked[kind] if kind in checked else None
    known = [f'{a} = {lengths[a][0]} from {lengths[a][1]!r}' for a in axes if a in lengths]
    contract = f'argument {name!r} must be {_KIND_NAMES.get(kind, "real")} [{", ".join(axes)}]'
    contract += f' with {", ".join(known)}' if known else ''
    try:
      array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
      raise TypeError(f'{contract}, got {type(value).__name__}') from error
    contract += f', got {array.dtype}{list(array.shape)}'
    if like is not None and not jnp.iscomplexobj(array):
      array = array.astype(like.dtype)
    chex.assert_type(array, float if like is not None else kind, custom_message=contract)
    checked[name] = array
    if axes == ['...']:
      continue
    chex.assert_rank(array, len(axes), custom_message=contract)
    expected = tuple(lengths[a][0] if a in lengths else None for a in axes)
    chex.assert_shape(array, expected, custom_message=contract)
    for axis, length in zip(axes, array.shape, strict=True):
      lengths.setdefault(axis, (length, name))
  return list(checked.values())
