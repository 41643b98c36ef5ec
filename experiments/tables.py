"""Pages of markdown that the benchmarks print.

What belongs here: tables, medians with their spread, and what must be said of the machine
before a figure means anything. Nothing is imported that would raise the memory of a process.
"""

import datetime
import importlib.metadata
import importlib.util
import math
import os
import pathlib
import platform
import re
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence


def environment(module: str, packages: Iterable[str], device: str | None = None) -> str:
  """The machine, the versions, the date and the command, as lines of a list.

  Args:
    module: the program, as `benchmarks.training`.
    packages: named with their versions, where they are installed.
    device: what JAX runs on.

  Returns:
    The lines.
  """
  cores, versions, date = _machine(packages)
  return (
    f'- machine: {cores}{f"; JAX on {device}" if device else ""}\n'
    f'- versions: {versions}\n'
    f'- date: {date} at the start\n'
    f'- command: `{shlex.join(["python", "-m", module, *sys.argv[1:]])}`'
  )


def machine(packages: Iterable[str]) -> str:
  """The machine, the versions of packages, and the date, in one line."""
  return '; '.join(_machine(packages))


def _machine(packages):
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  model = re.search(r'model name\s*:\s*(.+)', cpuinfo.read_text() if cpuinfo.exists() else '')
  processor = model[1] if model else platform.processor() or platform.machine()
  versions = [f'Python {platform.python_version()}'] + [
    f'{name} {importlib.metadata.version(name)}'
    for name in packages
    if importlib.util.find_spec(name) is not None
  ]
  cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  return (
    f'{processor}, cores: {cores}',
    ', '.join(versions),
    f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; '
    f'load average {os.getloadavg()[0]:.2f}',
  )


def print_page(sections: Iterable[str], output: str | None) -> None:
  """Prints the sections of a page as they are made, and writes them to a file if one is named."""
  page = []
  for section in sections:
    page.append(section + '\n')
    print('\n' * (len(page) > 1) + page[-1], end='', flush=True)
  if output is not None:
    from jw2v.utils.files import atomic_write  # which imports JAX: when all is measured

    with atomic_write(output) as file:
      file.write('\n'.join(page).encode())


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
  """A table whose columns are aligned in the text too; all but the first to the right.

  Args:
    rows: the first one is the heading.

  Returns:
    The lines.
  """
  rows = [[re.sub(r'\s', ' ', cell).replace('|', r'\|') for cell in row] for row in rows]
  widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
  lines = [
    [cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row)]
    for row in rows
  ]
  rule = ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [lines[0], rule, *lines[1:]])


def spread(values: Sequence[float], format: str, average: Callable = statistics.median) -> str:
  """The average with the lowest and the highest value; a dash if there is none or any is NaN."""
  if not values or any(map(math.isnan, values)):
    return '-'
  middle = f'{average(values):{format}}'
  if len(values) == 1:
    return middle
  return f'{middle} ({min(values):{format}}..{max(values):{format}})'


def plural(count: int, noun: str) -> str:
  """A number of things in words: 1 epoch, 2 epochs, 2 processes."""
  return f'{count} {noun}' + ('' if count == 1 else 'es' if noun.endswith('s') else 's')


def one_line(error: object) -> str:
  """A message without line breaks."""
  return ' '.join(str(error).split())
