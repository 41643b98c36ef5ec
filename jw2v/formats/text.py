"""Text formats: word2vec, fastText (`.vec`) and GloVe.

A row is a word and its numbers, separated by single spaces. Rows end at a line feed and fields
at the ASCII space, so U+00A0, U+2028 and U+0085 may occur within a word. A row with another number
of fields is split at tabs and at several spaces, because other tools align columns. pyarrow parses
the rows if it is installed, several times faster than Python. If pyarrow rejects a buffer, Python
parses it row by row, and either accepts it or raises an error that names the row.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from absl import logging

from jw2v.formats.table import BOM, GrowingTable, Input, VectorTable
from jw2v.utils.limits import shown

_BUFFER_BYTES = 1 << 20
_LONGEST_ROW = 1 << 26  # bytes
_LONGEST_HEADER = 100
_WIDEST = 1 << 12  # pyarrow needs kilobytes per column
_ROWS = 1024  # written at once: numbers of Python take eight times the memory
# Each digit can match in one way only; otherwise long numbers would take quadratic time.
_NUMBER = re.compile(rb'[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)', re.I)

_Rows = tuple[list[str], np.ndarray]
_Spaced = Callable[[Sequence[bytes]], bool]


def read_header(file: Input, bytes_per_row: int, bytes_per_number: int) -> tuple[int, int]:
  """Reads the line `V D` at the start of a file.

  Args:
    file: the file, at its start.
    bytes_per_row: smallest size of a row without numbers.
    bytes_per_number: smallest size of a number.

  Returns:
    V, the number of rows, and D, their width.

  Raises:
    ValueError: the line is missing, or has more rows than fit into the file.
  """
  line = b''
  while not line.endswith(b'\n') and len(line) < _LONGEST_HEADER and (byte := file.read(1)):
    line += byte
  fields = line.split()
  if not line.endswith(b'\n') or len(fields) != 2 or not all(f.isdigit() for f in fields):
    raise ValueError(f'row 1 must be "words width" in digits, got {line[:40]!r}')
  count, width = map(int, fields)
  if not 0 < width < 1 << 31:
    raise ValueError(f'the width in row 1 must be from 1 to 2^31 - 1, got {width}')
  need = count * (bytes_per_row + bytes_per_number * width)
  if file.size is not None and need > file.size:
    raise ValueError(
      f'the file must have at least {need} bytes for the {count} rows of {width} numbers in row 1, '
      f'got {file.size}'
    )
  return count, width


def read_word2vec(file: Input, limit: int | None = None) -> VectorTable:
  """Reads text with a line `V D` before the rows.

  Args:
    file: the file, at its start.
    limit: maximum number of rows to read, from the start.

  Raises:
    ValueError: the number of rows is not V, a row is not a word and D finite float32 numbers,
      or a word is not UTF-8.
  """
  count, width = read_header(file, 1, 2)  # the shortest number is " 1"; the last LF may lack
  words, vectors = _read_rows(file, b'', width, limit, _never, first_row=2, expected=count)
  _check_count(len(words), count, limit)
  return VectorTable(words, vectors)


def _never(extra: Sequence[bytes]) -> bool:
  return False


def _check_count(found: int, count: int, limit: int | None) -> None:
  missing = found < min(count, limit or count)
  if missing or (limit is None and found > count):
    raise ValueError(f'the file must have {count} rows as in the header, got {found}')


def read_glove(file: Input, limit: int | None = None) -> tuple[VectorTable, int]:
  """Reads rows without a line `V D` before them; the first row determines the width.

  The last D fields of a row are its numbers. The fields before them are the word, which may
  contain spaces. If all fields of the word but the first are numbers, the row has too many
  numbers. If the file starts with a line `V D` nevertheless, that line gives the width, and a
  word may contain numbers.

  Args:
    file: the file, at its start.
    limit: maximum number of rows to read, from the start.

  Returns:
    The table, and the number of its first row in the file.

  Raises:
    ValueError: the file is empty, a row is not a word and D finite float32 numbers, or a word
      is not UTF-8.
  """
  start = b''
  while start.count(b'\n') < 2 and len(start) < _LONGEST_ROW and (more := file.read(_BUFFER_BYTES)):
    start += more
  first, *second = start.split(b'\n', 2)[:2]
  fields, width = first.split(), _count_numbers(first)
  if len(fields) == 2 and all(f.isdigit() for f in fields) and 1 < int(fields[1]) <= min(
    map(_count_numbers, second), default=0
  ):  # fmt: skip
    count, width, start = int(fields[0]), int(fields[1]), start[len(first) + 1 :]
    always = lambda extra: True
    words, vectors = _read_rows(file, start, width, limit, always, first_row=2, expected=None)
    _check_count(len(words), count, limit)
    return VectorTable(words, vectors), 2
  fields = _split(first, width) if width else []
  if not fields or has_number(fields[0].decode(errors='replace')):
    raise ValueError(
      f'row 1 must be a word and its numbers, separated by spaces or tabs, got {first[:40]!r}'
    )
  no_number = lambda extra: not all(map(is_number, extra))
  words, vectors = _read_rows(file, start, width, limit, no_number, first_row=1, expected=None)
  return VectorTable(words, vectors), 1


def _split(row: bytes, width: int) -> list[bytes]:
  """Returns a word and its numbers, or fewer fields if the word would contain other columns."""
  fields = row.rstrip(b'\r ').split(b' ')
  if len(fields) == width + 1 and not any(b'\t' in field for field in fields[1:]):
    return fields
  fields = row.strip().rsplit(None, width)  # aligned columns, tabs, or a word with spaces
  is_aligned = not row.rstrip(b'\r ').endswith(b' '.join(fields))
  return [] if is_aligned and re.search(rb'\t|  ', fields[0]) else fields


def _count_numbers(row: bytes) -> int:
  """Returns the number of numeric fields at the end of a row, without the first field."""
  fields = row.split()
  first = 0 if row.startswith(b' ') else 1
  return next((n for n, field in enumerate(reversed(fields[first:])) if not is_number(field)),
              len(fields[first:]))  # fmt: skip


def has_number(word: str) -> bool:
  """Returns whether a word has a number after white space, as if it contained columns."""
  return any(is_number(part.rstrip(',;').encode()) for part in word.split()[1:])


def write_rows(file: BinaryIO, table: VectorTable, *, header: bool) -> None:
  """Writes a line `V D` if `header`, and a line for each word.

  Nine digits represent every float32 exactly.
  """
  words, vectors = table.words, table.vectors
  if not header and words[0].encode().startswith(BOM):
    file.write(BOM)  # readers drop the first one as a byte order mark
  if header:
    file.write(f'{len(words)} {vectors.shape[1]}\n'.encode())
  row_format = ' '.join(['%s', *['%.9g'] * vectors.shape[1]]) + '\n'
  for start in range(0, len(words), _ROWS):
    rows = vectors[start : start + _ROWS].tolist()
    lines = zip(words[start : start + _ROWS], rows, strict=True)
    file.write(''.join([row_format % (word, *row) for word, row in lines]).encode())


def is_number(field: bytes) -> bool:
  """Returns whether a field of a row is a number, finite or not."""
  return _NUMBER.fullmatch(field) is not None


def _read_rows(file, start, width, limit, spaced, *, first_row, expected) -> _Rows:
  """Reads all rows, or the first `limit`.

  `start` is text that has already been read. `spaced` takes the parts of a word that contains
  spaces, without the first, and returns whether they belong to the word.
  """
  words: list[str] = []
  table = GrowingTable(width, expected if limit is None else limit)
  for buffer in _buffers(file, start, first_row):
    names, rows = _parse(buffer, first_row + len(words), width, spaced)
    words += names
    table.append(rows, file.share_read())
    if limit is not None and len(words) >= limit:
      del words[limit:]
      break
  return words, table.finish(len(words))


def _buffers(file: Input, start: bytes, first_row: int) -> Iterator[bytes]:
  """Yields the rest of a file in buffers of complete rows, without blank lines at its end."""
  rows, text = first_row, start
  while True:
    # Keep blank lines until the next row, since blank lines at the end are dropped.
    end = text.rfind(b'\n') + 1
    last = len(text[:end].rstrip())
    end = text.find(b'\n', last) + 1 if last else 0
    if end:
      rows += text.count(b'\n', 0, end)
      yield text[:end]
      text = text[end:]
    if len(text) > _LONGEST_ROW:
      raise ValueError(f'row {rows} must be at most {_LONGEST_ROW} bytes long')
    if not (more := file.read(_BUFFER_BYTES)):
      break
    text += more
  if text.strip():
    logging.warning('the last line does not end with a line feed; the file may be truncated')
    yield text


def read_lines(file: Input) -> Iterator[bytes]:
  """Yields the lines of a file without their line feeds."""
  for buffer in _buffers(file, b'', 1):
    yield from buffer.removesuffix(b'\n').split(b'\n')


def _parse(buffer: bytes, row: int, width: int, spaced: _Spaced) -> _Rows:
  """Parses complete rows; the first is row number `row` of the file."""
  try:
    return _parse_with_pyarrow(buffer, width)
  except _NotTaken:
    return _parse_by_row(buffer, row, width, spaced)


class _NotTaken(Exception):
  """Raised by the fast parser to leave a buffer to the slow one."""


def _parse_with_pyarrow(buffer: bytes, width: int) -> _Rows:
  try:
    import pyarrow
    from pyarrow import csv
  except ImportError:
    raise _NotTaken from None
  first = buffer[: buffer.find(b'\n') + 1]
  if (
    width > _WIDEST or len(first) > _BUFFER_BYTES // 4 or buffer.startswith(BOM)
  ):  # pyarrow would drop a byte order mark
    raise _NotTaken
  padded = first.endswith(b' \n')  # the C tool and fastText end rows with a space
  if first.count(b' ') != width + padded or b'\r' in buffer or b'\t ' in buffer:
    raise _NotTaken
  names = ['word', *map(str, range(width)), *(['end'] if padded else [])]
  types = dict.fromkeys(names, pyarrow.float32()) | {'word': pyarrow.string()}
  if padded:
    types['end'] = pyarrow.string()
  try:
    table = csv.read_csv(
      pyarrow.BufferReader(buffer),
      # Threads of Arrow that outlive Python abort the process, and are no faster here.
      csv.ReadOptions(column_names=names, block_size=_BUFFER_BYTES // 4, use_threads=False),
      csv.ParseOptions(delimiter=' ', quote_char=False, ignore_empty_lines=False),
      csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
      memory_pool=pyarrow.system_memory_pool(),
    )
  except pyarrow.ArrowInvalid:
    raise _NotTaken from None
  words, vectors, done = table['word'].to_pylist(), np.empty((len(table), width), np.float32), 0
  for batch in table.to_batches():  # small enough for a cache: rows of the file are columns here
    columns = [_floats(column) for column in batch.columns[1 : 1 + width]]
    np.stack(columns, axis=1, out=vectors[done : done + len(batch)])
    done += len(batch)
  ended = not padded or set(table['end'].to_pylist()) <= {''}
  if not ended or '' in words or not np.isfinite(vectors).all():
    raise _NotTaken
  return words, vectors


def _floats(column) -> np.ndarray:
  """Returns the numbers of a pyarrow column; its `to_numpy` would import pandas."""
  numbers = np.frombuffer(column.buffers()[1], np.float32)
  return numbers[column.offset : column.offset + len(column)]


def _parse_by_row(buffer: bytes, row: int, width: int, spaced: _Spaced) -> _Rows:
  words, vectors = [], []
  for number, line in enumerate(buffer.removesuffix(b'\n').split(b'\n'), start=row):
    fields = _split(line, width)
    count = len(line.split()) - 1
    extra = fields[0].split(b' ')[1:] if fields else []
    if len(fields) <= width or (extra and not spaced(extra)):
      hint = "; if words contain spaces, give format='glove' (jw2v convert --from glove)"
      hint = hint if extra and spaced is _never else ''
      raise ValueError(f'row {number} must have {width} numbers, got {max(count, 0)}{hint}')
    word = fields[0]
    if not word:
      raise ValueError(f'row {number} must have a word')
    try:
      words.append(word.decode())
    except UnicodeDecodeError as error:
      raise ValueError(f'row {number}: {error}') from error
    vectors.append(parse_numbers(fields[1:], number))
  return words, np.array(vectors, np.float32).reshape(len(words), width)


def parse_numbers(fields: Sequence[bytes], row: int) -> np.ndarray:
  """Parses the finite float32 numbers of a row.

  Raises:
    ValueError: a field is not such a number; the message names the row.
  """
  if any(b'_' in field for field in fields):
    raise ValueError(
      f'row {row} must not have an underscore in a number'
    )  # float() accepts 1_0 as 10
  try:
    with np.errstate(over='ignore'):  # to infinity, an error below
      vector = np.array([float(field) for field in fields]).astype(np.float32)
  except ValueError as error:
    raise ValueError(f'row {row}: {shown(error)}') from error
  if not np.isfinite(vector).all():
    raise ValueError(f'row {row} must have finite float32 numbers, got NaN, infinity or overflow')
  return vector
