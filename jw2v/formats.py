"""Files of vectors that other tools read.

What belongs here: one reader and one writer for each format, and nothing about what
vectors mean. Files are written beside their name and renamed when whole.
"""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

from jw2v.vectors import KeyedVectors

FORMATS = ('word2vec',)
_ROWS = 1024  # written at once


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a file that appears under its name when written whole, or not at all."""
  path = pathlib.Path(path)
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{path}: there is no folder {path.parent}')
  handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
  try:
    with os.fdopen(handle, 'wb') as file:
      yield file
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)  # mkstemp's 0600 is not what open() would give
    os.replace(temporary, path)
  except BaseException:
    os.unlink(temporary)
    raise


def save_vectors(kv: KeyedVectors, path: str | os.PathLike, format: str | None = None) -> None:
  """Writes vectors to a file.

  The format `word2vec` is the C tool's text: a line `V D`, then a line for each word
  with D numbers, separated by single spaces. Nine digits keep every float32 exactly.

  Args:
    kv: the vectors.
    path: the file; it appears when it is whole.
    format: one of `FORMATS`; 'word2vec' if not given.

  Raises:
    FileNotFoundError: the folder does not exist.
    ValueError: an unknown format, a word that it cannot hold, or a vector with NaN or
      infinity in it.
  """
  _check_format(format)
  check_words(kv.index_to_key)
  unsound = np.flatnonzero(~np.isfinite(kv.vectors).all(axis=1))
  if unsound.size:
    word = kv.index_to_key[unsound[0]]
    raise ValueError(f'{path}: the vector of {word!r} (row {unsound[0]}) is not finite')
  row_format = '%s' + ' %.9g' * kv.vector_size + '\n'
  with atomic_write(path) as file:
    file.write(f'{len(kv)} {kv.vector_size}\n'.encode())
    for start in range(0, len(kv), _ROWS):  # numbers of Python take eight times the memory
      words = kv.index_to_key[start : start + _ROWS]
      for word, row in zip(words, kv.vectors[start : start + _ROWS].tolist(), strict=True):
        file.write((row_format % (word, *row)).encode())


def load_vectors(path: str | os.PathLike, format: str | None = None) -> KeyedVectors:
  """Reads vectors from a file that this or another tool wrote.

  Args:
    path: the file.
    format: one of `FORMATS`; 'word2vec' if not given.

  Returns:
    The vectors.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: an unknown format, or a damaged file, with row and reason.
  """
  _check_format(format)
  with open(path, 'rb') as file:
    header = file.readline(100).split()
    if len(header) != 2 or not all(part.isdigit() for part in header):
      raise ValueError(f'{path}: row 1 must be "words width" in digits')
    count, width = map(int, header)
    words, rows = [], []
    for number, line in enumerate(file, start=2):
      word, *numbers = line.rstrip(b'\r\n ').split(b' ')
      if not word:
        raise ValueError(f'{path}: row {number} has no word')
      if len(numbers) != width:
        raise ValueError(f'{path}: row {number} has {len(numbers)} numbers, not {width}')
      if b'_' in line and any(b'_' in x for x in numbers):  # float() takes 1_0 for 10
        raise ValueError(f'{path}: row {number} has an underscore in a number')
      try:
        words.append(word.decode())
        with np.errstate(over='ignore'):  # to infinity, which is refused below
          row = np.array([float(x) for x in numbers]).astype(np.float32)
      except ValueError as error:  # a UnicodeDecodeError too
        raise ValueError(f'{path}: row {number}: {error}') from error
      if not np.isfinite(row).all():
        raise ValueError(f'{path}: row {number} has a number that is not a finite float32')
      rows.append(row)
  if len(words) != count:
    raise ValueError(f'{path}: {len(words)} rows of words, the header says {count}')
  try:
    return KeyedVectors(words, np.array(rows, np.float32).reshape(count, width))
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def check_words(words: Iterable[str]) -> None:
  """Raises a `ValueError` for a word that the format cannot hold.

  That is an empty word, one with a space or line feed in it, or one that is no valid
  Unicode.
  """
  for word in words:
    if not word or ' ' in word or '\n' in word or any('\ud800' <= c <= '\udfff' for c in word):
      raise ValueError(f'a word2vec file cannot hold the word {word!r}')


def _check_format(format: str | None) -> None:
  if format is not None and format not in FORMATS:
    raise ValueError(f'format={format!r}: allowed are {", ".join(map(repr, FORMATS))}')
