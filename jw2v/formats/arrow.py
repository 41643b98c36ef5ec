"""Parquet and Arrow (Feather) files with a column of words and a column of vectors.

The column `word` contains strings, and `vector` lists of numbers of one length. We write
fixed-size lists of float32, and checksums of the pages of Parquet. Files of other tools may have
any Arrow type of strings, lists and numbers, and other columns, which are skipped.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from jw2v.formats.table import GrowingTable, VectorTable
from jw2v.utils.limits import VECTORS_EXPANSION, Expansion, one_line, shown

PARQUET_MAGIC, ARROW_MAGIC = b'PAR1', b'ARROW1'
_COLUMNS = ['word', 'vector']
_ROWS = 1 << 14  # of a row group or record batch
_ROWS_READ = 1 << 10  # at once from Parquet, which may repeat a long word in a few bytes

_Batches = Iterator[tuple[Any, float]]  # with the share of the file that has been read


def read_arrow(
  path: str | os.PathLike[str],
  format: str,
  limit: int | None = None,
  max_expansion: float | None = VECTORS_EXPANSION,
) -> VectorTable:
  """Reads a table.

  Args:
    path: the file.
    format: 'parquet' or 'arrow'.
    limit: maximum number of rows to read, from the start.
    max_expansion: largest allowed ratio of the size of the columns to the file size; None for
      no limit.

  Raises:
    ImportError: pyarrow is not installed.
    ValueError: the file is corrupted or too large, a column is missing or has another type, or a
      row is not a word and as many finite float32 numbers as the first row.
  """
  pyarrow = _import_pyarrow(format)
  with open(path, 'rb'):  # raises an OSError for an unreadable file, which is not corrupted
    pass
  size = os.path.getsize(path)
  expansion = Expansion(max_expansion, lambda: size)
  words: list[str] = []
  try:
    with contextlib.ExitStack() as stack:
      width, batches = (_open_parquet if format == 'parquet' else _open_arrow)(path, stack)
      table = None if width is None else GrowingTable(width, None)
      for batch, share in batches:
        batch = batch if limit is None else batch.slice(0, limit - len(words))
        batch.validate(full=True)  # Arrow aborts the process if it uses corrupted offsets
        expansion.add(batch.nbytes + _viewed_bytes(batch.column(0)))
        if len(batch):
          names, vectors = _rows_of(batch, len(words) + 1, table.width if table else None)
          table = table or GrowingTable(vectors.shape[1], None)
          table.append(vectors, share)
          words += names
        if len(words) == limit:
          break
  except (pyarrow.ArrowException, OSError) as error:
    if isinstance(error, OSError) and error.errno:
      raise
    raise ValueError(f'corrupted {format} file: {one_line(error)}') from error
  if table is None or not table.width:
    raise ValueError('contains no numbers')
  return VectorTable(words, table.finish(len(words)))


def _open_parquet(path, stack: contextlib.ExitStack) -> tuple[int | None, _Batches]:
  """Returns the width of fixed-size lists, and batches of the two columns."""
  from pyarrow import parquet

  file = stack.enter_context(parquet.ParquetFile(path, page_checksum_verification=True))
  width, count = _width(file.schema_arrow), max(file.metadata.num_rows, 1)

  def batches() -> _Batches:
    # Threads of Arrow that outlive Python abort the process.
    rows = 0
    for batch in file.iter_batches(_ROWS_READ, columns=_COLUMNS, use_threads=False):
      rows += len(batch)
      yield batch.select(_COLUMNS), min(max(rows, 1) / count, 1)

  return width, batches()


def _open_arrow(path, stack: contextlib.ExitStack) -> tuple[int | None, _Batches]:
  """Returns the width of fixed-size lists, and batches of the two columns."""
  import pyarrow

  source = stack.enter_context(pyarrow.memory_map(os.fsdecode(path)))
  schema = pyarrow.ipc.open_file(source).schema
  width, fields = _width(schema), list(map(schema.get_field_index, _COLUMNS))
  options = pyarrow.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
  file = pyarrow.ipc.open_file(source, options=options)
  count = file.num_record_batches
  batches = (
    (file.get_batch(number).select(_COLUMNS), (number + 1) / count) for number in range(count)
  )
  return width, batches


def _width(schema) -> int | None:
  """Checks the types of the columns; returns the length of fixed-size lists, otherwise None."""
  from pyarrow import types

  for name in _COLUMNS:
    if schema.names.count(name) != 1:
      raise ValueError(
        f'must have one column {name!r}, got {shown(schema.names)}; rename the columns'
      )
  word, vector = (schema.field(name).type for name in _COLUMNS)
  if not (types.is_string(word) or types.is_large_string(word) or types.is_string_view(word)):
    raise ValueError(f"column 'word' must contain strings, got {shown(word)}")
  is_list = types.is_list(vector) or types.is_large_list(vector) or types.is_fixed_size_list(vector)
  number = vector.value_type if is_list else vector
  if not is_list or not (types.is_floating(number) or types.is_integer(number)):
    raise ValueError(f"column 'vector' must contain lists of numbers, got {shown(vector)}")
  return vector.list_size if types.is_fixed_size_list(vector) else None


def _viewed_bytes(word) -> int:
  """Returns the length of the strings that views of Arrow point to, which may overlap."""
  from pyarrow import types

  if not types.is_string_view(word.type):
    return 0
  views = np.frombuffer(word.buffers()[1] or b'', np.int32).reshape(-1, 4)
  return int(views[word.offset : word.offset + len(word), 0].sum(dtype=np.int64))


def _rows_of(batch, row: int, width: int | None) -> tuple[list[str], np.ndarray]:
  """Returns words and vectors of a batch; `row` is the number of its first row in the file."""
  from pyarrow import compute

  def refuse(places, reason: str) -> None:
    if len(found := np.flatnonzero(places)):
      raise ValueError(f'row {row + int(found[0])} {reason}')

  word, vector = batch.columns
  words = word.to_pylist()
  refuse([not one for one in words], 'must have a word')
  refuse([not one for one in vector.is_valid().to_pylist()], 'must have a vector')
  lengths = np.array(compute.list_value_length(vector))
  width = int(lengths[0]) if width is None else width
  refuse(lengths != width, f'must have {width} numbers, as the first row')
  numbers = vector.flatten()
  with np.errstate(over='ignore'):  # to infinity, an error below
    vectors = np.array(numbers.fill_null(np.nan) if numbers.null_count else numbers)
    vectors = vectors.astype(np.float32).reshape(len(words), width)
  refuse(~np.isfinite(vectors).all(axis=1), 'must have finite float32 numbers')
  return words, vectors


def write_arrow(file: BinaryIO, table: VectorTable, format: str) -> None:
  """Writes a table as 'parquet' or 'arrow'.

  Raises:
    ImportError: pyarrow is not installed.
  """
  pyarrow = _import_pyarrow(format)
  words, vectors = table.words, table.vectors
  width = vectors.shape[1]
  types = (pyarrow.string(), pyarrow.list_(pyarrow.float32(), width))
  schema = pyarrow.schema(list(zip(_COLUMNS, types, strict=True)))
  with _writer(file, schema, format) as writer:
    for start in range(0, len(words), _ROWS):
      rows = np.ascontiguousarray(vectors[start : start + _ROWS], np.float32)
      lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), width)
      names = pyarrow.array(words[start : start + _ROWS], pyarrow.string())
      writer.write_batch(pyarrow.record_batch([names, lists], schema=schema))


def _writer(file, schema, format):
  import pyarrow

  if format == 'arrow':
    return pyarrow.ipc.new_file(file, schema)
  from pyarrow import parquet

  # Hardly any word or number occurs twice, so a dictionary would be larger than the column.
  return parquet.ParquetWriter(file, schema, use_dictionary=False, write_page_checksum=True)


def _import_pyarrow(format: str) -> Any:
  try:
    import pyarrow
  except ImportError as error:
    raise ImportError(f"format={format!r} needs pyarrow: pip install 'jw2v[text]'") from error
  return pyarrow
