"""Logs of sessions (baskets, playlists, visits), as lines of items for `jw2v.train`.

`jw2v.train` reads a session as a line of words, as in Barkan and Koenigstein, `Item2Vec
<https://arxiv.org/abs/1603.04259>`_, 2016.
"""

import collections
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jw2v.data.text import STDIN, PathLike, TextFile, find_files
from jw2v.utils.extras import import_pyarrow
from jw2v.utils.limits import TEXT_EXPANSION, shown

_BLOCK_BYTES = 16 << 20  # upper bound of a row
_LONGEST_HEADER = 1 << 20  # bytes
_MOST_COLUMNS = 10_000


def read_sessions(
  path: PathLike,
  *,
  session: str = 'session',
  item: str = 'item',
  delimiter: str = ',',
  max_expansion: float | None = TEXT_EXPANSION,
) -> Iterator[list[str]]:
  """Reads a log of items: CSV with a header, and one row per item of a session.

  The function reads the whole log and keeps 8 bytes per row and each distinct name in memory.

  Args:
    path: a file, or several (see `jw2v.data.text.find_files`), plain or compressed.
    session: name of the column with the session of a row. Rows of a session need not be adjacent.
    item: name of the column with the items.
    delimiter: separator of columns.
    max_expansion: largest ratio of decompressed to compressed size; None for no limit.

  Returns:
    An iterator over the sessions, in the order of their first rows. A session is the list of its
    items, in the order of its rows.

  Raises:
    FileNotFoundError: a path does not exist.
    ImportError: the extra `text` is not installed.
    ValueError: a column does not exist, a row has a wrong number of columns or an empty cell in
      one of the two columns, or a file is not UTF-8, corrupted, too large or without rows.
  """
  columns = {'session': session, 'item': item}
  for name, column in columns.items():
    if not isinstance(column, str) or not column:
      raise ValueError(f'{name} must be the name of a column, got {column!r}')
  if session == item:
    raise ValueError(f'session and item must be different columns, got {session!r} for both')
  one = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
  if not one or delimiter in '\r\n"':
    raise ValueError(
      f'delimiter must be an ASCII character other than a quote or a line end, got {delimiter!r}'
    )
  indices: list[dict[str, int]] = [
    collections.defaultdict(itertools.count().__next__) for _ in columns
  ]
  numbers: tuple[list, list] = [], []
  for file in find_files(path):
    row = 2  # the header is row 1
    for batch in _batches(file, [session, item], delimiter, max_expansion):
      for name, column, index, found in zip(columns.values(), batch, indices, numbers, strict=True):
        encoded = column.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        places = encoded.indices.to_numpy()
        for place, word in enumerate(words):
          if not word or '\n' in word:
            shown = f'{word[:40]!r} with a line end' if word else 'an empty cell'
            at = row + np.flatnonzero(places == place)[0]
            raise ValueError(
              f'{file}: row {at} must have a name without line ends in the column {name!r}, got '
              f'{shown}'
            )
        found.append(np.array([index[word] for word in words], np.int32)[places])
      row += batch.num_rows
  if not numbers[0]:
    raise ValueError(f'{path}: contains no rows')
  of_sessions, of_items = map(np.concatenate, numbers)
  return _sessions(of_sessions, of_items, list(indices[1]))


def _batches(
  file: str, columns: Sequence[str], delimiter: str, max_expansion: float | None
) -> Iterator[Any]:
  """Yields columns of a file as strings, in batches that fit into memory."""
  pyarrow = import_pyarrow()
  from pyarrow import csv as arrow_csv

  if file == STDIN:
    raise ValueError('a log must be a file, got standard input (-); write it to a file first')

  def open_csv(text, **convert):
    return arrow_csv.open_csv(
      pyarrow.PythonFile(text, mode='r'),
      arrow_csv.ReadOptions(
        block_size=_BLOCK_BYTES, use_threads=False
      ),  # errors then have row numbers
      arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
      arrow_csv.ConvertOptions(**convert),
    )

  try:
    names = _names_of_columns(file, delimiter, max_expansion)
    for column in columns:
      if names.count(column) != 1:
        which = 'two columns' if column in names else 'no column'
        raise ValueError(
          f'{which} {column!r}; the columns are {shown(", ".join(map(repr, names)), 500)}'
        )
    types = dict.fromkeys(columns, pyarrow.string())
    with TextFile(file, max_expansion) as text:
      yield from open_csv(text, include_columns=columns, column_types=types)
  except (ValueError, KeyError, pyarrow.ArrowNotImplementedError) as error:
    told = shown(error, 500)
    raise ValueError(told if told.startswith(f'{file}:') else f'{file}: {told}') from error


def _names_of_columns(file: str, delimiter: str, max_expansion: float | None) -> list[str]:
  """Returns the first row, because pyarrow would allocate kilobytes per column to check it."""
  with TextFile(file, max_expansion) as text:
    start = io.BufferedReader(text).read(_LONGEST_HEADER).decode(errors='replace')
  try:
    names = next(csv.reader(io.StringIO(start, newline=''), delimiter=delimiter), [])
  except csv.Error as error:
    raise ValueError(f'cannot read the header: {error}') from error
  if not names:
    raise ValueError('the first row must contain the names of the columns')
  if len(names) > _MOST_COLUMNS:
    raise ValueError(f'at most {_MOST_COLUMNS:,} columns are allowed, got at least {len(names):,}')
  return names


def _sessions(sessions: np.ndarray, items: np.ndarray, names: list[str]) -> Iterator[list[str]]:
  """Yields the names of the items of each session from the numbers in each row."""
  items = items[np.argsort(sessions, kind='stable')]
  ends = np.cumsum(np.bincount(sessions)).tolist()
  items_of = np.array(names, object)
  for start, end in itertools.pairwise([0, *ends]):
    yield items_of[items[start:end]].tolist()
