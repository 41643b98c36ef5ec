r"""Vectors as bytes: word2vec binary, safetensors, NumPy.

What belongs here: reading and writing these files. Readers return the words and a `[V, D]`
float32 table and raise a `ValueError` that names the row; `formats.py` adds the file. All
numbers are little-endian.

========================  ===========================================================
word2vec                  the line `V D`; each row: word, a space, D float32, `\n` or not
safetensors               `vectors` F32 [V, D]; `words` U8: UTF-8, `\n` between words
NumPy (`.npz`)            the same two arrays
========================  ===========================================================
"""

import json
import os
import zipfile
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from jw2v.formats.table import GrowingTable, Input
from jw2v.formats.text import Table, read_header
from jw2v.utils.checks import first_not_finite
from jw2v.utils.limits import VECTORS_EXPANSION, Expansion, shown

_BLOCK_BYTES = 1 << 21
_LONGEST_WORD = 1 << 16  # bytes
_LONGEST_ROW = 1 << 26  # bytes, of word2vec
_TENSORS: dict[str, np.dtype[Any]] = {
  'F32': np.dtype('<f4'),
  'I64': np.dtype('<i8'),
  'U8': np.dtype('u1'),
}
_LONGEST_HEADER = 100 << 20  # bytes, of safetensors; its own limit
_ROWS = 4096  # written at once
_FLOAT32 = np.dtype('<f4')


def looks_like_text(row: bytes) -> bool:
  """Whether the start of a row after its word is text and not float32 numbers.

  It is text if it is UTF-8 without control characters; random bytes are not, and of
  float32 numbers hardly any eight are.
  """
  if any(byte < 9 or 13 < byte < 32 or byte == 127 for byte in row):
    return False
  try:
    row.decode()
  except UnicodeDecodeError as error:
    return error.reason == 'unexpected end of data'  # cut within a character
  return True


def read_word2vec_binary(file: Input, limit: int | None = None) -> Table:
  r"""Reads the C tool's binary form, with or without `\n` after each row.

  Args:
    file: stands at its start.
    limit: read only so many rows.

  Raises:
    ValueError: the file is text, is cut short or has more bytes than its header promises,
      or a row is not a UTF-8 word and D finite numbers.
  """
  count, width = read_header(file, 2, 4)
  if 4 * width > _LONGEST_ROW:
    raise ValueError(f'row 1 says that vectors are {width} wide: {_LONGEST_ROW // 4} at most')
  wanted = min(count, limit or count)
  words: list[str] = []
  table, buffer, size = GrowingTable(width, wanted), b'', 4 * width
  while len(words) < wanted:
    more = file.read(_BLOCK_BYTES)
    buffer += more
    if not words and width > 1:
      first = buffer.partition(b' ')[2][:size]  # the numbers of the first row
      if len(first) == size and looks_like_text(first):
        raise ValueError("row 1 looks like text: the format is 'word2vec', or the file is damaged")
    names, rows, place = _split_rows(buffer, size, wanted - len(words), len(words) + 1)
    buffer = buffer[place:]
    if names:
      vectors = np.frombuffer(b''.join(rows), _FLOAT32).reshape(-1, width)
      if (unsound := first_not_finite(vectors)) is not None:
        raise ValueError(f'row {len(words) + unsound + 1} has a number that is not finite')
      words += names
      table.append(vectors, file.share_read())
    elif not more:
      raise ValueError(f'ends within row {len(words) + 1}; the header says {count} rows')
  if wanted == count and (buffer + file.read(2)).removeprefix(b'\n'):
    raise ValueError(f'there is more after the {count} rows of {width} that the header promises')
  return words, table.finish(len(words))


def _split_rows(buffer, size, wanted, row) -> tuple[list[str], list[bytes], int]:
  """The words and numbers of the whole rows in a buffer, at most `wanted`, and their end."""
  words: list[str] = []
  rows, place = [], 0
  while len(words) < wanted:
    start = place + (buffer[place : place + 1] == b'\n')
    space = buffer.find(b' ', start, start + _LONGEST_WORD)
    if space < 0 and len(buffer) - start >= _LONGEST_WORD:
      raise ValueError(f'row {row + len(words)} has no space in its first {_LONGEST_WORD} bytes')
    if space < 0 or len(buffer) < space + 1 + size:
      break
    try:
      word = buffer[start:space].decode()
    except UnicodeDecodeError as error:
      raise ValueError(f'row {row + len(words)}: {error}') from error
    if not word:
      raise ValueError(f'row {row + len(words)} has no word')
    words.append(word)
    place = space + 1 + size
    rows.append(buffer[space + 1 : place])
  return words, rows, place


def write_word2vec_binary(
  file: BinaryIO, words: Sequence[str], vectors: np.ndarray, *, newline: bool = True
) -> None:
  r"""Writes the C tool's binary form; without `newline`, no `\n` after the rows."""
  file.write(f'{len(words)} {vectors.shape[1]}\n'.encode())
  end = b'\n' if newline else b''
  for start in range(0, len(words), _ROWS):
    rows = vectors[start : start + _ROWS].astype(_FLOAT32)
    block = zip(words[start : start + _ROWS], rows, strict=True)
    file.write(b''.join([word.encode() + b' ' + row.tobytes() + end for word, row in block]))


def read_safetensors(path: str | os.PathLike[str], limit: int | None = None) -> Table:
  """Maps the table of a safetensors file: rows are read when they are used.

  Args:
    path: the file.
    limit: give only so many rows.

  Returns:
    The words, and the table; what is written to it stays in memory.

  Raises:
    ValueError: no such two tensors are there, or they are not as they should be.
  """
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    header, length = _read_header(file, size)
    start, end, (count, width) = _tensor(header, 'vectors', 'F32', 2, size - 8 - length)
    words_start, words_end, _ = _tensor(header, 'words', 'U8', 1, size - 8 - length)
    if words_start < end and start < words_end:
      raise ValueError('the tensors overlap')
    file.seek(8 + length + words_start)
    words = _split_words(file.read(words_end - words_start), count)
  if end == start:
    return words[:limit], np.zeros((count, width), np.float32)[:limit]
  vectors = np.memmap(path, _FLOAT32, 'c', 8 + length + start, (count, width))
  return words[:limit], vectors[:limit]


def _read_header(file: BinaryIO, size: int) -> tuple[Any, int]:
  """The header of a safetensors file, and its length."""
  length = int.from_bytes(file.read(8), 'little')
  if size < 8 or length > min(size - 8, _LONGEST_HEADER):
    raise ValueError(f'the header is said to be {length} bytes long, the file has {size}')
  try:
    return json.loads(file.read(length)), length
  except (ValueError, RecursionError) as error:
    raise ValueError(f'the header is no JSON: {error}') from error


def read_tensors(
  path: str | os.PathLike[str], kinds: dict[str, tuple[str, int]]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Maps those of some tensors that a safetensors file has.

  Args:
    path: the file.
    kinds: by name the dtype, as safetensors calls it, and the rank.

  Returns:
    The tensors by name, and the metadata of the file.

  Raises:
    ValueError: a tensor is not as it should be.
  """
  size, tensors = os.path.getsize(path), {}
  with open(path, 'rb') as file:
    header, length = _read_header(file, size)
  about = header.get('__metadata__', {}) if isinstance(header, dict) else {}
  for name, (kind, rank) in kinds.items():
    if isinstance(header, dict) and name in header:
      start, end, shape = _tensor(header, name, kind, rank, size - 8 - length)
      mapped = (
        np.memmap(path, _TENSORS[kind], 'c', 8 + length + start, tuple(shape))
        if end > start
        else None
      )
      tensors[name] = np.zeros(shape, _TENSORS[kind]) if mapped is None else mapped
  return tensors, about if isinstance(about, dict) else {}


def _tensor(header, name, dtype, rank, size) -> tuple[int, int, list[int]]:
  """Where a tensor is in the data, after checks, and its shape."""
  found = header.get(name) if isinstance(header, dict) else None
  if not isinstance(found, dict):
    raise ValueError(f'there is no tensor {name!r}')
  shape: Any = found.get('shape')
  offsets: Any = found.get('data_offsets')
  whole = lambda x: isinstance(x, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in x)
  if found.get('dtype') != dtype or not whole(shape) or len(shape) != rank:
    raise ValueError(
      f'the tensor {name!r} is {shown(found.get("dtype"))} of shape {shown(shape)}, not {dtype} of '
      f'rank {rank}'
    )
  bytes_needed = int(np.prod([_TENSORS[dtype].itemsize, *map(int, shape)], dtype=object))
  if not whole(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != bytes_needed:
    raise ValueError(
      f'the tensor {name!r} of shape {shape} cannot be at the bytes {shown(offsets)}'
    )
  if offsets[1] > size:
    raise ValueError(f'the tensor {name!r} ends at byte {offsets[1]}, the data at {size}')
  return offsets[0], offsets[1], shape


def write_safetensors(
  file: BinaryIO,
  words: Sequence[str],
  vectors: np.ndarray,
  more: dict[str, np.ndarray] | None = None,
  about: dict[str, str] | None = None,
) -> None:
  """Writes the tensors `vectors`, `words` and `more`, float32 or int64, and metadata."""
  text = np.frombuffer('\n'.join(words).encode(), np.uint8)
  tensors = {'vectors': vectors, **(more or {}), 'words': text}
  header: dict[str, Any] = {'__metadata__': about} if about else {}
  place = 0
  for name, tensor in tensors.items():
    kind = next(kind for kind, dtype in _TENSORS.items() if dtype == tensor.dtype.newbyteorder('<'))
    size = tensor.size * tensor.itemsize
    header[name] = {
      'dtype': kind,
      'shape': list(tensor.shape),
      'data_offsets': [place, place + size],
    }
    place += size
  encoded = json.dumps(header, separators=(',', ':')).encode()
  encoded += b' ' * (-len(encoded) % 8)  # so that the numbers are aligned
  file.write(len(encoded).to_bytes(8, 'little') + encoded)
  for tensor in tensors.values():
    for start in range(0, len(tensor), _ROWS):
      block = tensor[start : start + _ROWS]
      file.write(block.astype(block.dtype.newbyteorder('<')).tobytes())


def _split_words(text: bytes, count: int) -> list[str]:
  try:
    words = text.decode().split('\n') if text or count else []
  except UnicodeDecodeError as error:
    raise ValueError(f'the words are no UTF-8: {error}') from error
  if len(words) != count:
    raise ValueError(f'{len(words)} words for {count} vectors')
  if '' in words:
    raise ValueError(f'row {words.index("") + 1} has no word')
  return words


def read_npz(
  path: str | os.PathLike[str],
  limit: int | None = None,
  max_expansion: float | None = VECTORS_EXPANSION,
) -> Table:
  """Reads a `.npz` file with the arrays `vectors` and `words`.

  Args:
    path: the file.
    limit: give only so many rows.
    max_expansion: how many times as large as the file the arrays may be.

  Raises:
    ValueError: no such two arrays are there, they are not as they should be, or they are too
      large.
  """
  with open(path, 'rb'):  # an OSError of the file itself is not damage
    pass
  size = os.path.getsize(path)
  expansion = Expansion(max_expansion, lambda: size)
  try:
    with zipfile.ZipFile(path) as archive:
      vectors = _array(archive, 'vectors', 2, np.dtype(np.float32), expansion)
      text = _array(archive, 'words', 1, np.dtype(np.uint8), expansion)
  except (ValueError, MemoryError):
    raise
  except Exception as error:  # of zipfile and of four compressions, which have no common one
    raise ValueError(f'damaged archive: {shown(error)}') from error
  words = _split_words(text.tobytes(), len(vectors))
  return words[:limit], vectors[:limit]


def _array(archive, name, rank, dtype, expansion) -> np.ndarray:
  """An array of the archive, read after its header has been checked against its size."""
  try:
    about = archive.getinfo(f'{name}.npy')
  except KeyError:
    raise ValueError(f'there is no array {name!r}') from None
  if about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    raise ValueError(f'{name!r} is compressed in a way that NumPy does not write')
  expansion.add(about.file_size)  # and no more of it is decompressed
  with archive.open(about) as file:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
    if read is None:
      raise ValueError(f'the array {name!r} is in version {version} of the format, not (1, 0)')
    try:
      shape, _, found = read(file)
    except Exception as error:  # of the reader of Python's literals, too, and of dtypes
      raise ValueError(f'the header of {name!r} cannot be read: {shown(error)}') from error
    whole = all(type(size) is int and size >= 0 for size in shape)
    if found.newbyteorder('=') != dtype or len(shape) != rank or not whole:
      raise ValueError(
        f'{name!r} is {shown(found)} of shape {shown(shape)}, not {dtype} of rank {rank}'
      )
    needed = int(np.prod([dtype.itemsize, *shape], dtype=object))
    if needed > about.file_size:
      raise ValueError(f'{name!r} of shape {shape} takes {needed} bytes: there are not so many')
  with archive.open(about) as file:
    return np.lib.format.read_array(file, allow_pickle=False)


def write_npz(file: BinaryIO, words: Sequence[str], vectors: np.ndarray) -> None:
  """Writes the arrays `vectors` and `words` to a `.npz` file."""
  text = np.frombuffer('\n'.join(words).encode(), np.uint8)
  np.savez(file, vectors=vectors, words=text)
