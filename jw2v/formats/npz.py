r"""NumPy archives (`.npz`) with two arrays.

`vectors` is float32 [V, D]. `words` is uint8: UTF-8, with `\n` between words.
"""

import os
import zipfile
from typing import BinaryIO

import numpy as np

from jw2v.formats.table import VectorTable, join_words, split_words
from jw2v.utils.limits import VECTORS_EXPANSION, Expansion, shown


def read_npz(
  path: str | os.PathLike[str],
  limit: int | None = None,
  max_expansion: float | None = VECTORS_EXPANSION,
) -> VectorTable:
  """Reads a table.

  Args:
    path: the file.
    limit: maximum number of rows to return, from the start.
    max_expansion: largest allowed ratio of the size of the arrays to the file size; None
      for no limit.

  Raises:
    ValueError: an array is missing, corrupted, or too large.
  """
  with open(path, 'rb'):  # raises an OSError for an unreadable file, which is not corrupted
    pass
  size = os.path.getsize(path)
  expansion = Expansion(max_expansion, lambda: size)
  try:
    with zipfile.ZipFile(path) as archive:
      vectors = _array(archive, 'vectors', 2, np.dtype(np.float32), expansion)
      text = _array(archive, 'words', 1, np.dtype(np.uint8), expansion)
  except (ValueError, MemoryError):
    raise
  except Exception as error:  # zipfile and the compressions have no common base class
    raise ValueError(f'corrupted archive: {shown(error)}') from error
  words = split_words(text.tobytes(), len(vectors))
  return VectorTable(words[:limit], vectors[:limit])


def _array(archive, name, rank, dtype, expansion) -> np.ndarray:
  """Reads an array of the archive, after checking its header against its size."""
  try:
    about = archive.getinfo(f'{name}.npy')
  except KeyError:
    raise ValueError(f'array {name!r} not found') from None
  if about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    raise ValueError(
      f'the array {name!r} must have a compression that NumPy writes, stored or deflate'
    )
  expansion.add(about.file_size)  # zipfile decompresses no more than this
  with archive.open(about) as file:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
    if read is None:
      raise ValueError(f'the array {name!r} must have version (1, 0) of the format, got {version}')
    try:
      shape, _, found = read(file)
    except Exception as error:  # parsing literals and dtypes raises many kinds
      raise ValueError(f'invalid header of the array {name!r}: {shown(error)}') from error
    whole = all(type(size) is int and size >= 0 for size in shape)
    if found.newbyteorder('=') != dtype or len(shape) != rank or not whole:
      raise ValueError(
        f'the array {name!r} must be {dtype} of rank {rank}, got {shown(found)} of shape '
        f'{shown(shape)}'
      )
    needed = int(np.prod([dtype.itemsize, *shape], dtype=object))
    size = about.file_size - file.tell()  # without the header
    if needed > size:
      raise ValueError(f'the array {name!r} of shape {shape} must have {needed} bytes, got {size}')
  with archive.open(about) as file:
    return np.lib.format.read_array(file, allow_pickle=False)


def write_npz(file: BinaryIO, table: VectorTable) -> None:
  """Writes a table."""
  np.savez(file, vectors=table.vectors, words=join_words(table.words))
