"""Progress bars in terminals and notebooks, and lines on standard error elsewhere."""

import sys
import time
import warnings
from typing import Any

_FIRST_LINE, _LAST_LINE = 5, 60  # seconds between lines: at first, doubled each time, at most


def shows_bars() -> bool:
  """Returns whether standard error is a terminal or the output of a notebook's cell."""
  # None in programs without a console, and without `isatty` where a program replaces it.
  isatty = getattr(sys.stderr, 'isatty', bool)
  return isatty() or type(sys.stderr).__module__.startswith('ipykernel')


def import_tqdm() -> Any:
  """Imports tqdm; the `ImportError` names the extra that installs it."""
  try:
    with warnings.catch_warnings():  # without ipywidgets, a notebook has the bar of a terminal
      warnings.simplefilter('ignore')
      import tqdm.auto as tqdm
  except ImportError as error:
    raise ImportError(
      "the progress bar needs tqdm: pip install 'jw2v[text]', or train(..., progress=False)"
    ) from error
  return tqdm


def progress_bar(total: int | None, unit: str, description: str, delay: float = 0) -> Any:
  """Returns a tqdm bar, or its replacement if standard error cannot show one.

  Args:
    total: number of units to process; None if not known.
    unit: name of a unit.
    description: name of the task.
    delay: seconds before the bar appears.

  Raises:
    ImportError: tqdm is not installed.
  """
  if not shows_bars():
    return _Lines(total, unit, description)
  return import_tqdm().tqdm(
    total=total, unit=unit, unit_scale=True, mininterval=0.2, desc=description, delay=delay
  )


class _Lines:
  """Prints a line after five seconds, and then less often; has the interface of a tqdm bar."""

  def __init__(self, total: int | None, unit: str, description: str):
    self._total, self._unit, self._description = total, unit.strip(), description
    self.n, self.initial, self.last_print_n, self._postfix = 0, 0, 0, ''  # as tqdm names them
    self._told, self._pause = time.monotonic(), _FIRST_LINE

  def update(self, count: int) -> None:
    """Adds processed units, and prints a line if it is due."""
    self.n += count
    now = time.monotonic()
    if now - self._told < self._pause:
      return
    self._pause = min(2 * self._pause, _LAST_LINE)
    rate = (self.n - self.last_print_n) / (now - self._told)
    self._told, self.last_print_n = now, self.n
    share = left = ''
    if self._total:
      share = f'{self.n / self._total:.1%}, '
      left = f', {(self._total - self.n) / rate:,.0f} s left' if rate else ''
    more = f', {self._postfix}' if self._postfix else ''
    line = f'{self._description}: {share}{rate:,.0f} {self._unit}/s{more}{left}'
    if sys.stderr is not None:  # `print` would write to standard output
      print(line, file=sys.stderr, flush=True)

  def set_postfix_str(self, text: str, refresh: bool = True) -> None:
    """Sets text to add to the next line."""
    self._postfix = text

  def close(self) -> None:
    """Does nothing; a tqdm bar needs it."""

  def __enter__(self) -> '_Lines':
    return self

  def __exit__(self, *_) -> None:
    self.close()
