"""The binary format of the word2vec tool.

The file starts with the line `V D`. Each row is a word, a space, and D little-endian float32
numbers, with or without a line feed after them.
"""

from typing import BinaryIO

import numpy as np

from jw2v.formats.table import GrowingTable, Input, VectorTable
from jw2v.formats.text import read_header
from jw2v.utils.checks import first_not_finite

_BUFFER_BYTES = 1 << 21
_LONGEST_WORD = 1 << 16  # bytes
_LONGEST_ROW = 1 << 26  # bytes, of word2vec
_ROWS = 4096  # written at once
_FLOAT32 = np.dtype('<f4')


def looks_like_text(row: bytes) -> bool:
  """Returns whether the start of a row, after its word, is text rather than float32 numbers.

  Text is UTF-8 without control characters. Eight bytes of float32 numbers are almost never
  both.
  """
  if any(byte < 9 or 13 < byte < 32 or byte == 127 for byte in row):
    return False
  try:
    row.decode()
  except UnicodeDecodeError as error:
    return error.reason == 'unexpected end of data'  # cut within a character
  return True


def read_word2vec_binary(file: Input, limit: int | None = None) -> VectorTable:
  """Reads a file, with or without line feeds after its rows.

  Args:
    file: the file, at its start.
    limit: maximum number of rows to read, from the start.

  Raises:
    ValueError: the file is text, is truncated or longer than its header says, or a row is not
      a UTF-8 word and D finite numbers.
  """
  count, width = read_header(file, 2, 4)
  if 4 * width > _LONGEST_ROW:
    raise ValueError(f'the width in row 1 must be at most {_LONGEST_ROW // 4}, got {width}')
  wanted = min(count, limit or count)
  words: list[str] = []
  table, buffer, size = GrowingTable(width, wanted), b'', 4 * width
  while len(words) < wanted:
    more = file.read(_BUFFER_BYTES)
    buffer += more
    if not words and width > 1:
      first = buffer.partition(b' ')[2][:size]  # the numbers of the first row
      if len(first) == size and looks_like_text(first):
        raise ValueError(
          "row 1 must be binary, got text; use format='word2vec' unless the file is corrupted"
        )
    names, rows, place = _split_rows(buffer, size, wanted - len(words), len(words) + 1)
    buffer = buffer[place:]
    if names:
      vectors = np.frombuffer(b''.join(rows), _FLOAT32).reshape(-1, width)
      if (unsound := first_not_finite(vectors)) is not None:
        raise ValueError(f'row {len(words) + unsound + 1} must be finite, got NaN or infinity')
      words += names
      table.append(vectors, file.share_read())
    elif not more:
      raise ValueError(
        f'the file must have {count} rows as in the header, but ends in row {len(words) + 1}'
      )
  if wanted == count and (buffer + file.read(2)).removeprefix(b'\n'):
    raise ValueError(
      f'the file must end after {count} rows of width {width} as in the header, got more bytes'
    )
  return VectorTable(words, table.finish(len(words)))


def _split_rows(buffer, size, wanted, row) -> tuple[list[str], list[bytes], int]:
  """Splits the complete rows of a buffer into words and numbers; returns their end as well."""
  words: list[str] = []
  rows, place = [], 0
  while len(words) < wanted:
    start = place + (buffer[place : place + 1] == b'\n')
    space = buffer.find(b' ', start, start + _LONGEST_WORD)
    if space < 0 and len(buffer) - start >= _LONGEST_WORD:
      raise ValueError(
        f'row {row + len(words)} must have a space in its first {_LONGEST_WORD} bytes'
      )
    if space < 0 or len(buffer) < space + 1 + size:
      break
    try:
      word = buffer[start:space].decode()
    except UnicodeDecodeError as error:
      raise ValueError(f'row {row + len(words)}: {error}') from error
    if not word:
      raise ValueError(f'row {row + len(words)} must have a word')
    words.append(word)
    place = space + 1 + size
    rows.append(buffer[space + 1 : place])
  return words, rows, place


def write_word2vec_binary(file: BinaryIO, table: VectorTable, *, newline: bool = True) -> None:
  """Writes a table, with a line feed after each row if `newline`."""
  words, vectors = table.words, table.vectors
  file.write(f'{len(words)} {vectors.shape[1]}\n'.encode())
  end = b'\n' if newline else b''
  for start in range(0, len(words), _ROWS):
    rows = vectors[start : start + _ROWS].astype(_FLOAT32)
    lines = zip(words[start : start + _ROWS], rows, strict=True)
    file.write(b''.join([word.encode() + b' ' + row.tobytes() + end for word, row in lines]))
