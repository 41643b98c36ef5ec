"""Checks of plain numbers, of arrays, of weights and of tables."""

import math
import numbers
import operator
from typing import Any

import numpy as np

_CHECKED = 1 << 16  # rows per block


def check_number(name: str, value: Any, kind: type, low: float, high: float | None = None) -> Any:
  """Converts and checks a plain number.

  Args:
    name: name of the setting, for the error.
    value: a number of Python or NumPy.
    kind: `int`, or `float`, which accepts integers too.
    low: smallest allowed value.
    high: largest allowed value; None for no limit.

  Returns:
    The number as a Python int or float.

  Raises:
    ValueError: the value is of another kind, or out of range.
  """
  right = isinstance(value, numbers.Integral if kind is int else numbers.Real)
  if (
    not right or isinstance(value, bool) or not low <= value <= (math.inf if high is None else high)
  ):
    noun = 'an integer' if kind is int else 'a number'
    limits = f'of at least {low}' if high is None else f'from {low} to {high}'
    raise ValueError(f'{name} must be {noun} {limits}, got {value!r}')
  return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_count(name: str, value: Any) -> Any:
  """Converts a number of rows to a Python int, also from an array of rank 0; None stays None.

  Raises:
    ValueError: the value is not an integer, or is negative.
  """
  try:
    count = None if value is None else operator.index(value)
  except TypeError:
    count = -1
  if count is not None and count < 0:
    raise ValueError(f'{name} must be an integer of at least 0, got {value!r}')
  return count


def as_array(name: str, values: Any, dtype: Any = None) -> np.ndarray:
  """Converts values to a plain array, without a copy if they are one of this dtype.

  A memory-mapped array stays one; a matrix of NumPy becomes a plain array.

  Args:
    name: name of the argument, for the error.
    values: an array of any library, or a list.
    dtype: dtype of the result; None for the dtype of the values.

  Raises:
    ValueError: a value is masked, or cannot be converted to the dtype.
  """
  parts = [values, *values] if isinstance(values, list | tuple) else [values]
  if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
    raise ValueError(
      f'{name} must not have masked values; replace them with .filled(0) or drop them'
    )
  array = np.asanyarray(values)
  if dtype is not None and array.dtype.kind in 'cmMSTU':
    raise ValueError(f'{name} must be real numbers, got {array.dtype}')
  with np.errstate(over='ignore'):  # to infinity, for which callers raise an error
    array = array.astype(dtype or array.dtype, copy=False)
  return array if type(array) is np.memmap else np.asarray(array)


def check_weights(name: str, values: Any) -> np.ndarray:
  """Converts and checks a list of non-negative numbers, such as counts or probabilities.

  Args:
    name: name of the argument, for the error.
    values: `[V]` numbers: a list, or an array of NumPy or JAX.

  Returns:
    `[V]` int64 if the numbers are integers, else float64.

  Raises:
    ValueError: the list is empty or has more than one axis; or an element is not a number, not
      finite, or negative.
  """
  array = as_array(name, values)
  if array.ndim != 1 or not array.size:
    raise ValueError(f'{name} must have one axis and at least one element, got shape {array.shape}')
  if array.dtype.kind in 'cmMOSU':
    raise ValueError(f'{name} must be real numbers, got {array.dtype}')
  array = array.astype(np.int64 if array.dtype.kind in 'biu' else np.float64)
  wrong = np.flatnonzero(~((array >= 0) & (array < math.inf)))
  if wrong.size:
    index = wrong[0]
    raise ValueError(f'{name} must be finite and at least 0, got {array[index]} at index {index}')
  return array


def first_not_finite(vectors: np.ndarray) -> int | None:
  """Returns the first row of a `[V, D]` table with NaN or infinity, or None.

  Reads the table in blocks, so that a memory-mapped table does not have to fit into memory.
  """
  for begin in range(0, len(vectors), _CHECKED):
    unsound = np.flatnonzero(~np.isfinite(vectors[begin : begin + _CHECKED]).all(axis=1))
    if unsound.size:
      return begin + int(unsound[0])
  return None
