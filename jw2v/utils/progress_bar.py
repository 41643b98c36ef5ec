"""Progress bars on standard error, or lines where that is no terminal."""

import sys
import time
from typing import Any

_LINE_EVERY = 60  # seconds


def is_terminal() -> bool:
  """Whether a person sees what goes to standard error."""
  return sys.stderr.isatty()


def import_tqdm() -> Any:
  """The module of the progress bar; an `ImportError` that says how to get it."""
  try:
    import tqdm
  except ImportError as error:
    raise ImportError(
      "the progress bar needs tqdm: pip install 'jw2v[text]', or train(..., progress=False)"
    ) from error
  return tqdm


def progress_bar(total: int | None, unit: str, description: str, delay: float = 0) -> Any:
  """A bar on standard error, of tqdm; a line a minute where that is no terminal.

  Args:
    total: how much there is to do; None if nobody knows.
    unit: of what.
    description: what is done.
    delay: what takes fewer seconds shows no bar.

  Raises:
    ImportError: tqdm is not there.
  """
  if not is_terminal():
    return _Lines(total, unit, description)
  return import_tqdm().tqdm(
    total=total, unit=unit, unit_scale=True, mininterval=0.2, desc=description, delay=delay
  )


class _Lines:
  """A line a minute, in the place of a bar, for what is no terminal."""

  def __init__(self, total: int | None, unit: str, description: str):
    self._total, self._unit, self._description = total, unit.strip(), description
    self.n, self.initial, self.last_print_n, self._postfix = 0, 0, 0, ''  # as tqdm names them
    self._start = self._told = time.monotonic()

  def update(self, count: int) -> None:
    """Counts what was done, and tells of it if a minute has passed."""
    self.n += count
    now = time.monotonic()
    if now - self._told < _LINE_EVERY:
      return
    rate = (self.n - self.last_print_n) / (now - self._told)
    self._told, self.last_print_n = now, self.n
    share = left = ''
    if self._total:
      share = f'{self.n / self._total:.1%}, '
      left = f', {(self._total - self.n) / rate:,.0f} s left' if rate else ''
    more = f', {self._postfix}' if self._postfix else ''
    line = f'{self._description}: {share}{rate:,.0f} {self._unit}/s{more}{left}'
    print(line, file=sys.stderr, flush=True)

  def set_postfix_str(self, text: str, refresh: bool = True) -> None:
    """What else the next line says."""
    self._postfix = text

  def close(self) -> None:
    """As that of a bar."""

  def __enter__(self) -> '_Lines':
    return self

  def __exit__(self, *_) -> None:
    self.close()
