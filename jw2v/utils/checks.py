"""Checks of plain numbers, of weights and of tables."""

import math
import numbers
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
    raise ValueError(f'{name}={value!r}: must be {noun} {limits}')
  return int(value) if isinstance(value, numbers.Integral) else float(value)


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
  array = np.asarray(values)
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
