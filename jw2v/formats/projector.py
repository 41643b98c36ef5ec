"""Folders for TensorBoard's embedding projector.

A folder has three files: `vectors.tsv` with the numbers of a word per line, `metadata.tsv` with a
word per line, and `projector_config.pbtxt`, which names the other two.
"""

import contextlib
import itertools
import pathlib
import re

from jw2v.formats.table import BOM, GrowingTable, Input, VectorTable
from jw2v.formats.text import parse_numbers, read_lines
from jw2v.utils.files import atomic_write, kept_folder
from jw2v.utils.limits import VECTORS_EXPANSION

CONFIG = 'projector_config.pbtxt'
_ROWS = 1024  # written at once
_LONGEST_CONFIG = 1 << 20  # bytes
_LONGEST_NAME = 1000  # of a file, in characters


def write_projector(folder: pathlib.Path, table: VectorTable) -> None:
  """Writes the three files, each atomically, and creates the folder if it is missing.

  Raises:
    OSError: the parent folder is missing, or not writable.
  """
  words, vectors = table.words, table.vectors
  with contextlib.ExitStack() as stack:  # the config, opened first, is renamed last
    stack.enter_context(kept_folder(folder))
    config, metadata, tensor = (
      stack.enter_context(atomic_write(folder / name))
      for name in (CONFIG, 'metadata.tsv', 'vectors.tsv')
    )
    if words[0].encode().startswith(BOM):
      metadata.write(BOM)  # readers drop the first one as a byte order mark
    row_format = '\t'.join(['%.9g'] * vectors.shape[1]) + '\n'
    for start in range(0, len(words), _ROWS):
      rows = vectors[start : start + _ROWS].tolist()
      tensor.write(''.join([row_format % tuple(row) for row in rows]).encode())
      metadata.write(''.join(f'{word}\n' for word in words[start : start + _ROWS]).encode())
    config.write(
      b'embeddings {\n  tensor_name: "vectors"\n  tensor_path: "vectors.tsv"\n'
      b'  metadata_path: "metadata.tsv"\n}\n'
    )


def read_projector(
  folder: pathlib.Path, limit: int | None = None, max_expansion: float | None = VECTORS_EXPANSION
) -> VectorTable:
  """Reads the first embedding that the config names.

  Metadata with several columns start with a line of column names, and the words are the first
  column.

  Args:
    folder: contains the config, and the files that it names.
    limit: maximum number of rows to read, from the start.
    max_expansion: largest allowed ratio of decompressed to compressed size; None for no limit.

  Raises:
    OSError: a file is missing.
    ValueError: the config does not name two files in the folder, or a row is not a word and as
      many finite numbers as the first row.
  """
  if folder.is_dir() and not (folder / CONFIG).exists():
    raise FileNotFoundError(f'{folder}: a folder of vectors must contain {CONFIG} or modules.json')
  with open(folder / CONFIG, 'rb') as file:
    config = file.read(_LONGEST_CONFIG).decode('utf-8-sig', errors='replace')
  paths = [_named(folder, config, name) for name in ('tensor_path', 'metadata_path')]
  with (
    Input(paths[0], max_expansion) as table_file,
    Input(paths[1], max_expansion) as words_file,
  ):
    rows, lines = read_lines(table_file), read_lines(words_file)
    first = next(lines, b'')
    if b'\t' not in first:  # no column names
      lines = itertools.chain([first], lines)
    words: list[str] = []
    table = None
    for row, (numbers, line) in enumerate(itertools.zip_longest(rows, lines), start=1):
      if numbers is None or not line:
        raise ValueError(f'row {row} must have a {"vector" if numbers is None else "word"}')
      vector = parse_numbers(numbers.rstrip(b'\r').split(b'\t'), row)
      table = table or GrowingTable(len(vector), limit)
      if len(vector) != table.width:
        raise ValueError(f'row {row} must have {table.width} numbers, got {len(vector)}')
      try:
        words.append(line.rstrip(b'\r').split(b'\t')[0].decode())
      except UnicodeDecodeError as error:
        raise ValueError(f'row {row} of the words: {error}') from error
      table.append(vector[None], table_file.share_read())
      if len(words) == limit:
        break
  if table is None:
    raise ValueError('contains no vectors')
  return VectorTable(words, table.finish(len(words)))


def _named(folder: pathlib.Path, config: str, name: str) -> pathlib.Path:
  """Returns the path of the first file with this name in the config."""
  found = re.search(rf'^[^#\n]*\b{name}\s*:\s*"([^"\\\n]+)"', config, re.M)
  path = folder / found[1] if found and len(found[1]) <= _LONGEST_NAME else None
  if path is None or folder.resolve() not in path.resolve().parents:
    raise ValueError(f'{CONFIG} must have a {name} in its folder')
  return path
