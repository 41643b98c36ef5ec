"""Limits on untrusted files: how far they may expand, and how much of them an error quotes.

Limits of a single format are in the module of that format.
"""

import math
import numbers
from collections.abc import Callable

# Largest allowed ratio of decompressed to compressed size. Vectors as text compress 2 to 3 times,
# and are loaded into memory. Prose compresses 3 to 6 times, logs 10 to 30, and counters 260; such
# text is only streamed. zlib can reach 1,032, the other compressions more than 10,000.
VECTORS_EXPANSION = 100.0
TEXT_EXPANSION = 1000.0
_ALWAYS = 64 << 20  # bytes that any file may expand to: small files are often repetitive
_SHOWN = 100  # characters


class Expansion:
  """Counts decompressed bytes, and raises an error when there are too many for the file's size."""

  def __init__(self, most: float | None, size: Callable[[], int]):
    """Starts at 0 bytes.

    Args:
      most: largest allowed ratio of decompressed to compressed size; None for no limit.
      size: returns the size of the file in bytes; for a pipe, the bytes read so far.
    """
    self._most, self._size, self._count = most, size, 0

  def add(self, count: int) -> None:
    """Adds decompressed bytes to the count.

    Raises:
      ValueError: the limit is exceeded.
    """
    self._count += count
    if self._most is not None and self._count > _ALWAYS:
      if self._count > self._most * (size := self._size()):
        raise ValueError(
          f'decompressed size must be at most {self._most:g} times the {size:,} compressed bytes '
          f'(max_expansion), got {self._count:,} bytes or more; increase max_expansion, or set it '
          'to None, if you trust the file'
        )


def check_max_expansion(value: float | None) -> None:
  """Raises a `ValueError` unless the value is None or a finite number of at least 1."""
  number = isinstance(value, numbers.Real) and not isinstance(value, bool)
  if value is not None and not (number and 1 <= value < math.inf):
    raise ValueError(f'max_expansion must be at least 1, or None for no limit, got {value!r}')


def shown(text: object, most: int = _SHOWN) -> str:
  """Shortens text from a file for an error message."""
  text = str(text)
  return text if len(text) <= most else f'{text[:most]}...'


def one_line(error: object) -> str:
  """Shortens an error to one line, to quote it in another error."""
  return shown(' '.join(str(error).split()), 200)
