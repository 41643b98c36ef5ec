"""Checks of the axes and dtypes of array arguments.

JAX knows shapes and dtypes while it traces, so the checks cost nothing in the compiled code.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from jw2v.losses.numerics import wide_dtype

_KIND_NAMES = {float: 'floating', int: 'integer', bool: 'bool'}


def check(**arguments: tuple[Any, ...]) -> list[jax.Array]:
  """Converts and checks the arguments of one call.

  Args:
    **arguments: by name `(value, axes)` or `(value, axes, kind)`. `axes` names the
      axes, blank-separated (`'K D'`; `''` is a scalar); in one call a letter has one length,
      given by the first argument that has it. A leading `...` means any number of axes,
      also the same in one call. A leading `?` marks an option, whose value may be `None`.
      `kind` is `float` (default), `int` or `bool`; or the name of an argument before it: any
      real value, converted to the dtype in which sums over that argument are carried.

  Returns:
    The values as arrays, in order; `None` for an option without a value, which the return type
    cannot express by position.

  Raises:
    AssertionError: naming the argument, for a wrong rank, shape or dtype.
    TypeError: naming the argument, for a value that is not an array, or is one of 8-bit floats.
    ValueError: naming the argument, for integers that do not fit in the integers of JAX.
  """
  lengths: dict[str, tuple[Any, str]] = {}
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
    except OverflowError as error:  # an integer of Python
      largest = max(jax.tree.leaves(value), key=abs)
      raise _too_large(name, jax.dtypes.canonicalize_dtype(int), largest) from error
    except (TypeError, ValueError) as error:
      raise TypeError(f'{contract}, got {type(value).__name__}') from error
    if kind is int and _is_cut(value, array):
      raise _too_large(name, array.dtype, value.max())
    if jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 2:
      raise TypeError(
        f'argument {name!r} must have a dtype of at least 16 bits, got {array.dtype}; convert it '
        'with astype(jnp.bfloat16)'
      )
    contract += f', got {array.dtype}{list(array.shape)}'
    if like is not None and not jnp.iscomplexobj(array):
      array = array.astype(wide_dtype(like))
    try:
      chex.assert_type(array, float if like is not None else kind)
      if axes[:1] != ['...']:
        chex.assert_rank(array, len(axes))
    except AssertionError:
      raise AssertionError(contract) from None  # without the words of chex in front
    checked[name] = array
    shape: tuple[Any, ...] = array.shape
    if axes[:1] == ['...']:
      if array.ndim < len(axes) - 1:
        raise AssertionError(contract)
      split = array.ndim - len(axes) + 1
      shape = (shape[:split], *shape[split:])
    for axis, length in zip(axes, shape, strict=True):
      if length != lengths.setdefault(axis, (length, name))[0]:
        raise AssertionError(contract)
  return list(checked.values())


def _too_large(name: str, dtype: Any, value: Any) -> ValueError:
  """Returns the error for an integer that JAX cannot hold."""
  advice = ', or enable jax_enable_x64' if dtype.itemsize < 8 else ''
  return ValueError(f'argument {name!r} must fit in {dtype}, got {value}; renumber the ids{advice}')


def _is_cut(value: Any, array: jax.Array) -> bool:
  """Returns True if 64-bit integers of NumPy lose their upper half, as without jax_enable_x64."""
  if isinstance(value, jax.Array) or getattr(value, 'dtype', array.dtype) == array.dtype:
    return False
  return value.dtype.kind in 'iu' and bool((value != value.astype(array.dtype)).any())


def check_static(name: str, value: Any) -> None:
  """Raises a `TypeError` if an option that shapes the compiled code is traced."""
  if isinstance(value, jax.core.Tracer):
    raise TypeError(
      f'{name} must be a Python number, got a traced array; close over it, or name it in '
      'static_argnames of jax.jit'
    )
