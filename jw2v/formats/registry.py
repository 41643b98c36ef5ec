"""Names of the formats, and reading and writing tables in any of them."""

import bz2
import gzip
import lzma
import os
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np
from absl import logging

from jw2v.formats import (
  arrow,
  fasttext,
  npz,
  projector,
  safetensors,
  static_embedding,
  text,
  word2vec_binary,
)
from jw2v.formats.table import ZIP, Input, VectorTable, plain_file
from jw2v.utils.checks import check_number, first_not_finite
from jw2v.utils.files import atomic_write, expanded
from jw2v.utils.limits import VECTORS_EXPANSION, check_max_expansion, shown

FORMATS = (
  'word2vec', 'word2vec_binary', 'glove', 'fasttext', 'safetensors', 'numpy', 'parquet', 'arrow',
  'projector', 'static_embedding',
)  # fmt: skip
_MODEL = 'fasttext model'  # a .bin file of the format 'fasttext'
FOLDERS = ('projector', 'static_embedding')  # the formats that are folders, not files
_ENDINGS = {  # the default format by file extension; any other extension is word2vec text
  '.arrow': 'arrow',
  '.bin': 'word2vec_binary',
  '.feather': 'arrow',
  '.npz': 'numpy',
  '.parquet': 'parquet',
  '.safetensors': 'safetensors',
  '.vec': 'fasttext',
}
_COMPRESSIBLE = ('word2vec', 'word2vec_binary', 'glove', 'fasttext')
_COMPRESSIONS: dict[str, Callable[[BinaryIO], Any]] = {  # for writing, by file extension
  '.gz': lambda file: gzip.GzipFile('', 'wb', 6, file, mtime=0),  # the same bytes at any time
  '.bz2': lambda file: bz2.BZ2File(file, 'wb'),
  '.xz': lambda file: lzma.LZMAFile(file, 'wb'),
}
_NOT_COMPRESSED = ('.7z', '.br', '.lz4', '.rar', '.tar', '.tgz', '.z', '.zip', '.zst')
_NOT_GUESSED = (  # extensions that are not word2vec text
  '.csv', '.h5', '.hdf5', '.json', '.jsonl', '.npy', '.pickle', '.pkl', '.pt', '.tsv', '.xlsx',
)  # fmt: skip
_SEPARATORS = {  # not allowed in a word; for the formats not listed, ' ' and '\n'
  'arrow': '',
  _MODEL: '\0 \n',
  'glove': '\n',
  'numpy': '\n',
  'parquet': '',
  'projector': '\t\r\n',
  'safetensors': '\n',
  'static_embedding': '',
}
_LONGEST = {_MODEL: 0xFFFF, 'word2vec_binary': 0xFFFF}  # bytes that readers accept
# What JavaScript trims. TensorBoard skips a line without any other character, and then assigns the
# wrong word to every later row.
_BLANK = re.compile(r'[\t\v\f \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+')
_SURROGATES = re.compile('[\ud800-\udfff]')  # surrogates, which UTF-8 cannot encode
_LOOKED_AT = 1 << 16  # bytes, to guess a format


def read_table(
  path: str | os.PathLike[str],
  format: str | None = None,
  *,
  limit: int | None = None,
  max_expansion: float | None = VECTORS_EXPANSION,
) -> tuple[VectorTable, int]:
  """Reads a table from a file of any format.

  Args:
    path: the file or folder.
    format: one of `FORMATS`; guessed from the content if not given.
    limit: maximum number of words to read, from the start; None for all.
    max_expansion: largest allowed ratio of decompressed to compressed size; None for no limit.

  Returns:
    The table, and the number of its first row in the file, for errors about words.

  Raises:
    OSError: the file cannot be read.
    ValueError: the format is unknown, or the file is corrupted; the message names the file.
  """
  _check_format(format)
  check_max_expansion(max_expansion)
  limit = None if limit is None else check_number('limit', limit, int, 1)
  path = expanded(_not_empty(path))
  try:
    guessed = format or guess_format(path)
    table, first = _read(path, guessed, limit, max_expansion)
    if format is None and guessed == 'glove' and _is_vocabulary(table):
      raise ValueError(
        "must be vectors, got a list of words and counts; use format='glove' for vectors of width 1"
      )
    return table, first
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def _not_empty(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
  if path in ('', b''):
    raise FileNotFoundError('the name of the file to read must not be empty')
  return path


def _is_vocabulary(table: VectorTable) -> bool:
  """Returns whether a table is a vocabulary: words with one count each, the highest first."""
  if table.vectors.shape[1] != 1 or not len(table.words):
    return False
  counts = np.asarray(table.vectors[:, 0])
  return bool((counts >= 1).all() and (counts == np.floor(counts)).all())


def _read(path, format, limit, max_expansion) -> tuple[VectorTable, int]:
  if format == 'projector':
    return projector.read_projector(path, limit, max_expansion), 1
  if format == 'static_embedding':
    return static_embedding.read_static_embedding(path, limit), 1
  is_model = format == 'fasttext' and os.path.isfile(path) and _start(path)[:4] == fasttext.MAGIC
  if is_model or format in ('safetensors', 'numpy', 'parquet', 'arrow'):
    with plain_file(path, max_expansion) as plain:  # these need a file to map
      if is_model:
        return fasttext.read_fasttext_bin(plain, limit), 1
      if format == 'safetensors':
        return safetensors.read_safetensors(plain, limit), 1
      if format == 'numpy':
        return npz.read_npz(plain, limit, max_expansion), 1
      return arrow.read_arrow(plain, format, limit, max_expansion), 1
  with Input(path, max_expansion) as file:
    if format == 'word2vec_binary':
      return word2vec_binary.read_word2vec_binary(file, limit), 1
    if format == 'glove':
      return text.read_glove(file, limit)
    return text.read_word2vec(file, limit), 2


def write_table(
  table: VectorTable,
  path: str | os.PathLike[str],
  format: str | None = None,
  *,
  newline: bool = True,
) -> None:
  """Writes a table to a file of any format, atomically.

  Args:
    table: the words, vectors and n-grams.
    path: the file or folder.
    format: one of `FORMATS`; None to choose by the file extension.
    newline: True to end a row of word2vec binary with a line feed.

  Raises:
    FileNotFoundError: the folder does not exist.
    ValueError: the format is unknown or does not match the file extension, a word does not fit
      into the format, or a vector is empty or not finite.
  """
  _check_format(format)
  is_complete = table.ngrams is not None and table.word_rows is not None  # as a fastText model
  path, format = check_path(path, format, is_complete)
  name, is_model, compress = str(path), format == _MODEL, _COMPRESSIONS.get(path.suffix.lower())
  if is_model and not is_complete:
    raise ValueError(
      f'{name}: a fastText model must have vectors with n-grams, got none; end the name in .vec to '
      'write text'
    )
  if not table.vectors.shape[1]:
    raise ValueError(f'{name}: vectors must have at least one column, got none')
  if not table.words and format in ('glove', 'projector'):
    raise ValueError(f'{name}: format={format!r} must have at least one word, got none')
  if table.ngrams is not None and not is_model and format != 'safetensors':
    logging.warning(
      '%s: the file does not contain the n-grams for vectors of out-of-vocabulary words', name
    )
  try:
    check_words(table.words, format)
  except ValueError as error:
    raise ValueError(f'{name}: {error}') from None
  if (unsound := first_not_finite(table.vectors)) is not None:
    raise ValueError(f'{name}: the vector of {shown(repr(table.words[unsound]))} must be finite')
  ngram_rows = None if table.ngrams is None else table.ngrams.vectors
  if ngram_rows is not None and (unsound := first_not_finite(ngram_rows)) is not None:
    raise ValueError(f'{name}: the vector of n-gram row {unsound + 1} must be finite')
  if format in FOLDERS:
    write = (
      projector.write_projector
      if format == 'projector'
      else static_embedding.write_static_embedding
    )
    return write(path, table)
  with atomic_write(path) as file:
    if is_model:
      return fasttext.write_fasttext_bin(file, table)
    if not compress:
      return _write(file, table, format, newline)
    with compress(file) as compressed:
      _write(compressed, table, format, newline)


def check_path(
  path: str | os.PathLike[str], format: str | None = None, has_ngrams: bool = False
) -> tuple[pathlib.Path, str]:
  """Checks the name of a file or folder to write, without creating anything.

  Args:
    path: the file or folder. Without a format, it is a folder if it ends in a slash, or is an
      existing folder without the file extension of a format.
    format: one of `FORMATS`; None to choose by the file extension.
    has_ngrams: True if the vectors have the n-grams of a fastText model.

  Returns:
    The path and the format, which is 'fasttext model' for a `.bin` file of fastText.

  Raises:
    FileNotFoundError: the name is empty.
    ValueError: files with this file extension cannot be written.
  """
  if path in ('', b''):
    raise FileNotFoundError('the name of the file to write must not be empty')
  slash = isinstance(path, str | bytes) and os.fsdecode(path).endswith(('/', os.sep))
  path = expanded(path)
  last = path.suffix.lower()
  kept = any((path / known).is_file() for known in (projector.CONFIG, static_embedding.MODULES))
  is_file_name = last == '.txt' or last in _ENDINGS or last in _COMPRESSIONS
  is_folder = slash or (path.is_dir() and (kept or not is_file_name))
  if not is_folder and last in (_NOT_COMPRESSED + (() if format else _NOT_GUESSED)):
    raise ValueError(f'{path}: unsupported file extension {last}; end the name in .txt, '
                     f'{", ".join([*_ENDINGS, *_COMPRESSIONS])}')  # fmt: skip
  ending = path.with_suffix('').suffix.lower() if last in _COMPRESSIONS else last
  if format is None and is_folder:
    format = guess_format(path) if path.is_dir() else 'projector'
  elif format is None:
    format = _ENDINGS.get(ending, 'word2vec')
    format = 'fasttext' if ending == '.bin' and has_ngrams else format
  format = _MODEL if format == 'fasttext' and ending == '.bin' else format
  if last in _COMPRESSIONS and format not in _COMPRESSIBLE:
    raise ValueError(
      f'{path}: the name must not end in {last} with format={format!r}, which is not compressed'
    )
  return path, format


def _write(file: BinaryIO, table: VectorTable, format: str, newline: bool) -> None:
  if format == 'word2vec_binary':
    word2vec_binary.write_word2vec_binary(file, table, newline=newline)
  elif format == 'safetensors':
    safetensors.write_safetensors(file, table)
  elif format == 'numpy':
    npz.write_npz(file, table)
  elif format in ('parquet', 'arrow'):
    arrow.write_arrow(file, table, format)
  else:
    text.write_rows(file, table, header=format != 'glove')


def check_words(words: Iterable[str], format: str = 'word2vec') -> None:
  r"""Raises a `ValueError` for a word that the format cannot represent.

  No format can represent an empty word or a lone surrogate. Other words depend on the format:

  - word2vec and fastText do not allow a space or a line feed.
  - safetensors and NumPy do not allow a line feed.
  - GloVe text does not allow a line feed, white space at the ends of a word, or a number after
    white space, since a reader could not distinguish it from the numbers of the vector.
  - word2vec binary and fastText models do not allow more than 65,535 bytes, and fastText models
    no NUL.
  - A projector does not allow a tab, `\r` or a line feed, or a word of blanks only.
  - Parquet, Arrow and static embeddings allow all other words.
  """
  separators, longest = _SEPARATORS.get(format, ' \n'), _LONGEST.get(format)
  for word in words:
    anywhere = word and not _SURROGATES.search(word)
    held = anywhere and not any(c in word for c in separators)
    if held and format == 'glove' and not word.isalnum():
      held = not text.has_number(word) and word == word.strip(' \t\n\r\v\f')
    if held and format == 'projector':
      held = not _BLANK.fullmatch(word)
    if held and longest and len(word) * 4 > longest:
      held = len(word.encode()) <= longest
    if not held:
      remedy = 'rename it, or save as .parquet' if anywhere else 'rename it'
      raise ValueError(f'a {format} file cannot represent the word {shown(repr(word))}; {remedy}')


def describe_duplicate(words: list[str], first_row: int) -> str | None:
  """Describes the first duplicate word with its two rows, for an error; None without one."""
  rows: dict[str, int] = {}
  for row, word in enumerate(words, start=first_row):
    if word in rows:
      return f'row {row}: duplicate word {shown(repr(word))}, first in row {rows[word]}'
    rows[word] = row
  return None


def _check_format(format: str | None) -> None:
  if format is not None and format not in FORMATS:
    raise ValueError(f'format must be one of {", ".join(map(repr, FORMATS))}, got {format!r}')


def _start(path) -> bytes:
  with Input(path, max_expansion=None) as file:
    return file.read(_LOOKED_AT)


def guess_format(path: str | os.PathLike[str]) -> str:
  """Guesses the format of a file from its content.

  Args:
    path: the file or folder.

  Returns:
    One of `FORMATS`.

  Raises:
    OSError: the file cannot be read.
    ValueError: the file is empty, a pipe, or of an unknown format.
  """
  path = expanded(path)
  if os.path.isdir(path):
    is_model = os.path.exists(os.path.join(os.fsdecode(path), static_embedding.MODULES))
    return 'static_embedding' if is_model else 'projector'
  if not os.path.isfile(path) and os.path.exists(path):
    raise ValueError(
      'the format of a pipe or device must be given, since it can be read once; add format='
    )
  start = _start(path)
  if not start:
    raise ValueError('the file is empty')
  if start[:4] == fasttext.MAGIC:
    return 'fasttext'
  if start[:4] == ZIP:
    return 'numpy'
  if start[:4] == arrow.PARQUET_MAGIC:
    return 'parquet'
  if start[:6] == arrow.ARROW_MAGIC:
    return 'arrow'
  if start[8:9] == b'{' and int.from_bytes(start[:8], 'little') < os.path.getsize(path):
    return 'safetensors'
  if start[:1] == b'\x80' and start[1:2] in (b'\x02', b'\x03', b'\x04', b'\x05'):
    raise ValueError(
      'must not be a Python pickle, such as a file saved by gensim, which can run any code when it '
      'is read; write the vectors with save_word2vec_format of gensim'
    )
  line, _, rest = start.partition(b'\n')
  fields = line.split()
  if len(fields) == 2 and all(field.isdigit() for field in fields):
    begin = rest[rest.find(b' ') + 1 :][: 4 * min(int(fields[1]), _LOOKED_AT)]
    row, _, more = begin.partition(b'\n')  # where the first row of text would end
    if more and row.split() and all(map(text.is_number, row.split())):
      return 'word2vec'
    return 'word2vec' if word2vec_binary.looks_like_text(begin) else 'word2vec_binary'
  if (len(fields) > 1 and text.is_number(fields[-1])) or word2vec_binary.looks_like_text(start):
    return 'glove'
  raise ValueError(
    f'unknown format of vectors, which begins with {start[:16]!r}; text must be UTF-8'
  )
