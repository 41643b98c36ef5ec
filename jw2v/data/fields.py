"""Documents in a field of JSON lines, of a table (CSV, TSV) or of a Parquet file, one per row."""

import contextlib
import csv
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jw2v.utils.extras import import_pyarrow
from jw2v.utils.limits import one_line, shown

_TABLES = {'.csv': ',', '.tsv': '\t', '.tab': '\t'}
_JSON = ('.jsonl', '.ndjson', '.json')
_STRINGS = ('string', 'large_string', 'dictionary<values=string', 'dictionary<values=large_string')
_LONGEST_HEADER = 1 << 16  # characters
_LIKELY = ('text', 'content', 'body', 'sentence', 'document', 'review', 'comment', 'message')
_LISTED = 8  # fields that an error lists
_LONGEST_VALUE = 64 << 20  # characters, and twice as many of a value in JSON
_BLOCK = 1 << 20  # characters
_ROWS = 1 << 10  # of a Parquet file that are held at once


def kind_of(path: str, head: bytes, encoding: str = 'utf-8') -> str | None:
  """Returns 'table', 'json', 'parquet', or None for a file without fields.

  Args:
    path: name of the file, without the extension of a compression.
    head: its first bytes.
    encoding: encoding of its text.
  """
  ending = os.path.splitext(path)[1].lower()
  if head.startswith(b'PAR1') and 0 in head:  # text may begin so
    return 'parquet'
  try:
    start = head.decode(encoding, 'ignore').lstrip('\ufeff \t\r\n')
  except UnicodeError:
    start = ''
  if start[:1] in ('{', '[') and (ending in _JSON or _is_object(start)):
    return 'json'
  return 'table' if ending in _TABLES else None


def _is_object(start: str) -> bool:
  line = start.split('\n', 1)[0]
  try:
    return isinstance(json.loads(line), dict)
  except (ValueError, RecursionError):
    return False


def field_names(path: str, kind: str, file: Any) -> list[str]:
  """Returns the names of the fields that can hold text.

  Args:
    path: name of the file.
    kind: its kind, from `kind_of`.
    file: its text as a file; for Parquet its path.
  """
  if kind == 'parquet':
    with _parquet(file) as (_, names):
      return names
  if kind == 'table':
    return _table(path, file)[0]
  first = next(_objects(path, file), {})
  return [name for name, value in _flat(first).items() if isinstance(value, str)] or list(first)


def documents(
  path: str, kind: str, file: Any, field: str, skipped: Callable[[], object]
) -> Iterator[str]:
  """Yields the documents of a field.

  Args:
    path: name of the file, for errors.
    kind: its kind, from `kind_of`.
    file: its text as a file; for Parquet its path.
    field: name of the field; 'a.b' for the field b of the object in a.
    skipped: called for each row without the field.

  Raises:
    ValueError: the file does not have the field, or is corrupted.
  """
  values: Iterable[Any]
  if kind == 'parquet':
    values = _column(file, field)
  elif kind == 'table':
    values = _cells(path, file, field)
  else:
    values = _json_values(path, file, field)
  for value in values:
    if isinstance(value, str) and value:
      yield value
    else:
      skipped()


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[tuple[Any, list[str]]]:
  """Opens a Parquet file; yields it with the names of its string columns."""
  pyarrow = import_pyarrow()
  from pyarrow import parquet

  try:
    with parquet.ParquetFile(path, page_checksum_verification=True) as table:
      columns = table.schema_arrow
      yield table, [each.name for each in columns if str(each.type).startswith(_STRINGS)]
  except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
    if isinstance(error, OSError) and error.errno:  # of the disk
      raise
    raise ValueError(f'{path}: corrupted Parquet file: {one_line(error)}') from error


def _column(path: str, field: str) -> Iterator[str | None]:
  with _parquet(path) as (table, names):
    _check_field(path, field, names)
    # Threads of Arrow that outlive Python abort the process.
    for batch in table.iter_batches(_ROWS, columns=[field], use_threads=False):
      yield from batch.column(0).to_pylist()


def _table(path: str, file: io.TextIOBase) -> tuple[list[str], Iterator[list[str]]]:
  """Returns the names of the columns of a table, and its rows."""
  first = file.readline(_LONGEST_HEADER)
  default = _TABLES.get(os.path.splitext(path)[1].lower(), ',')
  found = {mark: first.count(mark) for mark in (default, '\t', ';', ',', '|')}
  delimiter = max(found, key=lambda mark: found[mark]) if not found[default] else default
  rows = _rows(path, itertools.chain([first], file), delimiter)
  return [name.strip() for name in next(rows, [])], rows


def _rows(path: str, lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
  csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_VALUE))
  quotes = 0

  def counted() -> Iterator[str]:
    nonlocal quotes
    for line in lines:
      quotes += line.count('"')
      yield line

  rows = csv.reader(counted(), delimiter=delimiter)
  start = 1
  try:
    for row in rows:
      # At the end of a file, the reader treats an open quote as closed.
      if quotes % 2 and row and row[-1].endswith('\n'):
        raise csv.Error('unclosed quote')
      yield row
      start = rows.line_num + 1
  except csv.Error as error:
    raise ValueError(f'{path}: line {start} is not a row of a table: {error}') from error


def _cells(path: str, file: io.TextIOBase, field: str) -> Iterator[str | None]:
  names, rows = _table(path, file)
  _check_field(path, field, names)
  column = names.index(field)
  return (row[column] if column < len(row) else None for row in rows if row)


def _objects(path: str, file: io.TextIOBase) -> Iterator[dict[str, Any]]:
  """Yields the objects of JSON lines, of an array, or written one after another."""
  first = file.readline(_BLOCK)
  if first.lstrip().startswith('[') or not _is_object(first):
    values = _json_stream(path, first, file)
  else:
    values = _json_lines(path, itertools.chain([first], file))
  return (value if isinstance(value, dict) else {} for value in values)


def _json_lines(path: str, lines: Iterable[str]) -> Iterator[Any]:
  for number, line in enumerate(lines, start=1):
    if line.strip():
      try:
        yield json.loads(line)
      except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: line {number} is not JSON: {shown(error)}') from error


def _json_stream(path: str, text: str, file: io.TextIOBase) -> Iterator[Any]:
  """Yields the values of an array, or values with white space between, in constant memory."""
  decoder, between = json.JSONDecoder(), re.compile(r'[\s,\[\]]*')
  position = rows = 0
  while True:
    position = between.match(text, position).end()  # type: ignore[union-attr]
    try:
      value, position = decoder.raw_decode(text, position)
    except (ValueError, RecursionError) as error:  # or the value is not read to its end
      rest = len(text) - position
      more = file.read(max(_BLOCK, rest)) if rest < _LONGEST_VALUE else ''
      if not more and not rest:
        return
      if not more:
        raise ValueError(f'{path}: row {rows + 1} is not JSON: {shown(error)}') from error
      text, position = text[position:] + more, 0
      continue
    rows += 1
    yield value


def _json_values(path: str, file: io.TextIOBase, field: str) -> Iterator[Any]:
  """Yields the values of a field, and raises an error if no object has it."""
  found, first = False, None
  for each in _objects(path, file):
    first = each if first is None else first
    value: Any = each
    for part in [field] if field in each else field.split('.'):
      value = value.get(part) if isinstance(value, dict) else None
    found |= value is not None
    yield value
  if not found:
    _check_field(path, field, list(_flat(first or {})))


def _flat(value: dict[str, Any], prefix: str = '') -> dict[str, Any]:
  """Returns the fields of nested objects, named 'a.b'."""
  fields: dict[str, Any] = {}
  for name, each in value.items():
    nested = (
      _flat(each, f'{prefix}{name}.') if isinstance(each, dict) else {f'{prefix}{name}': each}
    )
    fields |= nested
  return fields


def _check_field(path: str, field: str, names: list[str]) -> None:
  if field not in names:
    raise ValueError(f'{path}: field must be one of {listed(names)}, got {shown(repr(field))}')


def likely(names: list[str]) -> str:
  """Returns the field that most likely holds the text, for advice."""
  return next((name for name in names if name.lower() in _LIKELY), names[-1])


def listed(names: list[str]) -> str:
  """Returns a list of field names for a message, shortened if there are many."""
  more = f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''
  return ', '.join(repr(shown(name, 40)) for name in names[:_LISTED]) + more
