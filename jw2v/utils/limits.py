"""Limits of what a file from anywhere may cost.

What belongs here: how much larger than its file what is compressed may be, and how much of a
file stands in an error. The limits of one format are beside it.
"""

import math
import numbers
from collections.abc import Callable

# How many times as large as the file what comes out may be. Vectors as text compress 2 to 3 times,
# and come into memory whole. Prose compresses 3 to 6 times, logs 10 to 30, counters 260, and text
# only goes through memory. zlib reaches 1,032, the others more than 10,000.
VECTORS_EXPANSION = 100.0
TEXT_EXPANSION = 1000.0
_ALWAYS = 64 << 20  # bytes that may come out of any file: small ones are often repetitive
_SHOWN = 100  # characters


class Expansion:
  """Counts what comes out of a compressed file, and refuses what is too much for its size."""

  def __init__(self, most: float | None, size: Callable[[], int]):
    """Takes the limit.

    Args:
      most: how many times as large as the file what comes out may be; None for any.
      size: gives the bytes of the file, or of a pipe those that were read so far.
    """
    self._most, self._size, self._count = most, size, 0

  def add(self, count: int) -> None:
    """Takes so many bytes that came out; a `ValueError` if they are too many by now."""
    self._count += count
    if self._most is not None and self._count > _ALWAYS:
      if self._count > self._most * (size := self._size()):
        raise ValueError(
          f'{size:,} compressed bytes become {self._count:,} or more: at most '
          f'max_expansion={self._most:g} times as many are read; a larger one, or None, if you '
          'trust the file'
        )


def check_max_expansion(value: float | None) -> None:
  """Refuses, with a `ValueError`, what is neither None nor a finite number from 1 on."""
  number = isinstance(value, numbers.Real) and not isinstance(value, bool)
  if value is not None and not (number and 1 <= value < math.inf):
    raise ValueError(f'max_expansion={value!r}: must be a number from 1 on, or None for no limit')


def shown(text: object, most: int = _SHOWN) -> str:
  """The start of what a file says, for an error."""
  text = str(text)
  return text if len(text) <= most else f'{text[:most]}...'


def one_line(error: object) -> str:
  """The start of an error, for a line of another one."""
  return shown(' '.join(str(error).split()), 200)
