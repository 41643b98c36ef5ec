"""Documents in a field of JSON lines, of a table (CSV, TSV) or of a Parquet file, one for a row."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jw2v.utils.extras import import_pyarrow
from jw2v.utils.limits import shown

_TABLES = {'.csv': ',', '.tsv': '\t', '.tab': '\t'}
_JSON = ('.jsonl', '.ndjson', '.json')
_LONGEST_HEADER = 1 << 16  # characters
_LIKELY = ('text', 'content', 'body', 'sentence', 'document', 'review', 'comment', 'message')
_LISTED = 8  # fields that an error lists


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
    return list(_parquet(path, file).schema_arrow.names)
  if kind == 'table':
    return _header(path, file)[0]
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
    ValueError: the file does not have the field, or is damaged.
  """
  values: Iterable[Any]
  if kind == 'parquet':
    table = _parquet(path, file)
    _check_field(path, field, table.schema_arrow.names)
    batches = table.iter_batches(columns=[field])
    values = (value for batch in batches for value in batch.column(0).to_pylist())
  elif kind == 'table':
    values = _cells(path, file, field)
  else:
    values = _json_values(path, file, field)
  for value in values:
    if isinstance(value, str) and value:
      yield value
    else:
      skipped()


def _parquet(path: str, file: Any) -> Any:
  import_pyarrow()
  import pyarrow.parquet

  try:
    return pyarrow.parquet.ParquetFile(file)
  except (pyarrow.ArrowInvalid, OSError) as error:
    raise ValueError(f'{path}: damaged Parquet file: {error}') from error


def _header(path: str, file: io.TextIOBase) -> tuple[list[str], str]:
  """Returns the names of the columns of a table and its delimiter, from its first line."""
  line = file.readline(_LONGEST_HEADER).lstrip('\ufeff')
  default = _TABLES.get(os.path.splitext(path)[1].lower(), ',')
  found = {mark: line.count(mark) for mark in (default, '\t', ';', ',', '|')}
  delimiter = max(found, key=lambda mark: found[mark]) if not found[default] else default
  names = next(csv.reader([line], delimiter=delimiter), [])
  return [name.strip() for name in names], delimiter


def _cells(path: str, file: io.TextIOBase, field: str) -> Iterator[str | None]:
  names, delimiter = _header(path, file)
  _check_field(path, field, names)
  column = names.index(field)
  csv.field_size_limit(sys.maxsize)
  rows = csv.reader(file, delimiter=delimiter)
  try:
    for row in rows:
      if row:
        yield row[column] if column < len(row) else None
  except csv.Error as error:
    raise ValueError(
      f'{path}: line {rows.line_num + 1} is not a row of a table: {error}'
    ) from error


def _objects(path: str, file: io.TextIOBase) -> Iterator[dict[str, Any]]:
  """Yields the objects of JSON lines, or of one array of objects."""
  for number, line in enumerate(file, start=1):
    line = line.lstrip('\ufeff')
    if not line.strip():
      continue
    try:
      if number == 1 and line.lstrip().startswith('['):
        found = json.loads(line + file.read())
        yield from (each for each in found if isinstance(each, dict))
        return
      value = json.loads(line)
    except (ValueError, RecursionError) as error:
      if number == 1:  # one object over several lines
        try:
          value = json.loads(line + file.read())
        except (ValueError, RecursionError):
          raise ValueError(f'{path}: line 1 is not JSON: {shown(error)}') from error
      else:
        raise ValueError(f'{path}: line {number} is not JSON: {shown(error)}') from error
    yield value if isinstance(value, dict) else {}


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
    raise ValueError(f'{path}: field must be one of {listed(names)}, got {field!r}')


def likely(names: list[str]) -> str:
  """Returns the field that most likely holds the text, for advice."""
  return next((name for name in names if name.lower() in _LIKELY), names[-1])


def listed(names: list[str]) -> str:
  """Returns names of fields for a message, the first ones of many."""
  more = f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''
  return ', '.join(repr(shown(name, 40)) for name in names[:_LISTED]) + more
