"""Text formatting for reports: Markdown tables, spreads, plurals and one-line messages."""

import math
import re
import statistics
from collections.abc import Callable, Sequence


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
  """Returns a Markdown table with aligned columns, numbers to the right.

  Args:
    rows: cells, the heading first. The first column is left-aligned.
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
  """Returns the average with the lowest and highest value, or a dash for no values or NaN."""
  if not values or any(map(math.isnan, values)):
    return '-'
  middle = f'{average(values):{format}}'
  if len(values) == 1:
    return middle
  return f'{middle} ({min(values):{format}}..{max(values):{format}})'


def plural(count: int, noun: str) -> str:
  """Returns a count with its noun: 1 epoch, 2 epochs, 2 processes."""
  return f'{count} {noun}' + ('' if count == 1 else 'es' if noun.endswith('s') else 's')


def one_line(error: object) -> str:
  """Returns a message without line breaks.

  `jw2v.utils.limits.one_line` also truncates, and importing it would import JAX.
  """
  return ' '.join(str(error).split())
