"""Files of vectors that other tools read and write.

What belongs here: the names of the formats, how a file's format is told, and the checks
that all formats share. The formats themselves are in `text_formats`, `binary_formats` and
`fasttext_format`. Files are written beside their name and renamed when whole.
"""

import gzip
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
from absl import logging

from jw2v.formats import fasttext, text, word2vec_binary
from jw2v.formats.projector import read_projector, write_projector
from jw2v.formats.safetensors import read_subwords, write_subwords
from jw2v.formats.table import Input
from jw2v.utils.checks import check_number, first_not_finite
from jw2v.utils.files import atomic_write
from jw2v.utils.limits import VECTORS_EXPANSION, check_max_expansion, shown
from jw2v.vectors.keyed_vectors import KeyedVectors
from jw2v.vectors.subwords import SubwordVectors

FORMATS = (
  'word2vec', 'word2vec_binary', 'glove', 'fasttext', 'safetensors', 'numpy', 'projector',
)  # fmt: skip
_ENDINGS = {  # of names of files to write; any other is word2vec text
  '.bin': 'word2vec_binary',
  '.npz': 'numpy',
  '.safetensors': 'safetensors',
  '.vec': 'fasttext',
}
_SEPARATORS = {  # that a word cannot hold; in word2vec text and binary and fastText ' ' and '\n'
  'glove': '\n',
  'numpy': '\n',
  'projector': '\t\r\n',
  'safetensors': '\n',
}
# What JavaScript trims: TensorBoard leaves out a line of nothing else, and then names every
# later row wrongly.
_BLANK = re.compile(r'[\t\v\f \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+')
_SURROGATES = re.compile('[\ud800-\udfff]')  # half characters, which UTF-8 has no bytes for
_LOOKED_AT = 1 << 16  # bytes, to tell a format


def load_vectors(
  path: str | os.PathLike[str],
  format: str | None = None,
  *,
  limit: int | None = None,
  max_expansion: float | None = VECTORS_EXPANSION,
) -> KeyedVectors:
  """Reads vectors from a file that this or another tool wrote.

  Text and word2vec binary may be in gzip. The numbers of safetensors stay in the file until
  they are used.

  Args:
    path: the file, or the folder of a TensorBoard projector.
    format: one of `FORMATS`; told by what is in the file if not given. 'fasttext' is the
      text of a `.vec` file as well as the model of a `.bin` file.
    limit: read only the first so many words; None for all.
    max_expansion: how many times as large as a compressed file, gzip or NumPy's, what is in it
      may be; None for any. 64 MiB always may.

  Returns:
    The vectors; `SubwordVectors`, which have vectors for unseen words too, of a fastText
    model or safetensors with n-grams.

  Raises:
    OSError: the file cannot be read.
    ValueError: an unknown format, or a damaged file, with row and reason.
  """
  _check_format(format)
  check_max_expansion(max_expansion)
  limit = None if limit is None else check_number('limit', limit, int, 1)
  try:
    format = format or guess_format(path)
    if format == 'fasttext' and os.path.isfile(path) and _start(path)[:4] == fasttext.MAGIC:
      return fasttext.read_fasttext_bin(path, limit)
    words, vectors, first_row = _read(path, format, limit, max_expansion)
    try:
      if format == 'safetensors' and (kv := read_subwords(path, words, vectors)) is not None:
        return kv
      return KeyedVectors(words, vectors)
    except ValueError:
      _check_once(words, first_row)
      raise
  except ValueError as error:
    raise ValueError(f'{os.fspath(path)}: {error}') from error


def _read(path, format, limit, max_expansion) -> tuple[list[str], np.ndarray, int]:
  """The words, the table, and the number of the first row."""
  if format == 'safetensors':
    return *word2vec_binary.read_safetensors(path, limit), 1
  if format == 'numpy':
    return *word2vec_binary.read_npz(path, limit, max_expansion), 1
  if format == 'projector':
    return *read_projector(pathlib.Path(path), limit, max_expansion), 1
  with Input(path, max_expansion) as file:
    if format == 'word2vec_binary':
      return *word2vec_binary.read_word2vec_binary(file, limit), 1
    if format == 'glove':
      return *text.read_glove(file, limit), 1
    return *text.read_word2vec(file, limit), 2


def save_vectors(
  kv: KeyedVectors, path: str | os.PathLike[str], format: str | None = None, *, newline: bool = True
) -> None:
  r"""Writes vectors to a file that other tools read.

  ===================  ================================================================
  `word2vec`           the C tool's text: a line `V D`, then a word and D numbers a line
  `word2vec_binary`    the C tool's binary form: float32 after each word
  `glove`              text without the line `V D`
  `fasttext`           the text of a `.vec` file, which is that of word2vec; or the model of
                       a `.bin` file, of vectors with n-grams
  `safetensors`        `vectors` F32 [V, D] and `words` U8, UTF-8 with `\n` between words;
                       and the n-grams, if there are any
  `numpy`              a `.npz` file with the same two arrays
  `projector`          a folder that TensorBoard opens: vectors, words, and its config file
  ===================  ================================================================

  Nine digits keep every float32 exactly in text.

  Args:
    kv: the vectors.
    path: the file; it appears when it is whole. Text and word2vec binary are compressed
      if its name ends in `.gz`.
    format: one of `FORMATS`; if not given, told by the ending of the name (`.bin`, `.vec`,
      `.safetensors`, `.npz`), a folder is a projector, and anything else word2vec text. A
      `.bin` file is word2vec's, or with n-grams fastText's.
    newline: whether each row of word2vec binary ends with a line feed, as those of the C
      tool do, or not, as those of gensim.

  Raises:
    FileNotFoundError: the folder does not exist.
    ValueError: an unknown format, one that the ending of the name contradicts, a word that
      it cannot hold, or a vector that is empty or has NaN or infinity in it.
  """
  _check_format(format)
  name = os.fsdecode(path)
  path = pathlib.Path(name) if name else path
  compressed = name.endswith('.gz')
  ending = os.path.splitext(name.removesuffix('.gz'))[1].lower()
  if format is None:
    folder = os.path.isdir(path) or name.endswith(('/', os.sep))
    format = 'projector' if folder else _ENDINGS.get(ending, 'word2vec')
    if ending == '.bin' and _is_model(kv):
      format = 'fasttext'
  is_model = format == 'fasttext' and ending == '.bin'
  if is_model and not _is_model(kv):
    raise ValueError(
      f'{name}: a .bin file of fastText is a model, and needs vectors with n-grams: the text is '
      'a .vec file'
    )
  if compressed and (is_model or format in ('safetensors', 'numpy', 'projector')):
    raise ValueError(f'{name}: format={format!r} is not compressed: the name may not end in .gz')
  if not kv.vector_size:
    raise ValueError(f'{name}: the vectors are 0 wide: there is nothing to write')
  if not len(kv) and format in ('glove', 'projector'):
    raise ValueError(f'{name}: format={format!r} cannot say that there is no word')
  with_ngrams = kv if isinstance(kv, SubwordVectors) else None
  if with_ngrams is not None and not is_model and format != 'safetensors':
    logging.warning('%s: the n-grams, which make vectors of unseen words, are left out', name)
  try:
    check_words(kv.index_to_key, format)
  except ValueError as error:
    raise ValueError(f'{name}: {error}') from None
  if (unsound := first_not_finite(kv.vectors)) is not None:
    raise ValueError(f'{name}: the vector of {kv.index_to_key[unsound]!r} is not finite')
  ngrams = None if with_ngrams is None else with_ngrams.ngrams.vectors
  if ngrams is not None and (unsound := first_not_finite(ngrams)) is not None:
    raise ValueError(f'{name}: the vector of n-gram row {unsound + 1} is not finite')
  if format == 'projector':
    return write_projector(pathlib.Path(path), kv.index_to_key, kv.vectors)
  with atomic_write(path) as file:
    if with_ngrams is not None and is_model:
      return fasttext.write_fasttext_bin(file, with_ngrams)
    if with_ngrams is not None and format == 'safetensors':
      return write_subwords(file, with_ngrams)
    if not compressed:
      return _write(file, kv, format, newline)
    zipped: Any
    with gzip.GzipFile('', 'wb', 6, file, mtime=0) as zipped:  # the same bytes whenever written
      _write(zipped, kv, format, newline)


def _is_model(kv: KeyedVectors) -> bool:
  """Whether they have all that a model of fastText holds."""
  return isinstance(kv, SubwordVectors) and kv.word_rows is not None


def _write(file: BinaryIO, kv: KeyedVectors, format: str, newline: bool) -> None:
  words, vectors = kv.index_to_key, kv.vectors
  if format == 'word2vec_binary':
    word2vec_binary.write_word2vec_binary(file, words, vectors, newline=newline)
  elif format == 'safetensors':
    word2vec_binary.write_safetensors(file, words, vectors)
  elif format == 'numpy':
    word2vec_binary.write_npz(file, words, vectors)
  else:
    text.write_rows(file, words, vectors, header=format != 'glove')


def check_words(words: Iterable[str], format: str = 'word2vec') -> None:
  r"""Raises a `ValueError` for a word that the format cannot hold.

  That is an empty word, one that is no valid Unicode, and one with a separator of the
  format in it: space or line feed; line feed alone in GloVe text, safetensors and NumPy;
  tab, `\r` or line feed in a projector, whose words may not be of blanks alone either. In
  GloVe text, where a word ends is told by the numbers: no part of it after a space may be one.
  """
  separators = _SEPARATORS.get(format, ' \n')
  for word in words:
    held = word and not any(c in word for c in separators) and not _SURROGATES.search(word)
    if held and format == 'glove' and ' ' in word:
      held = not any(map(text.is_number, word.encode().split(b' ')[1:]))
    if held and format == 'projector':
      held = not _BLANK.fullmatch(word)
    if not held:
      raise ValueError(f'a {format} file cannot hold the word {word!r}')


def _check_once(words: list[str], first_row: int) -> None:
  """Refuses a word that is there twice, with its two rows."""
  rows: dict[str, int] = {}
  for row, word in enumerate(words, start=first_row):
    if word in rows:
      raise ValueError(
        f'row {row}: the word {shown(repr(word))} is there twice, first in row {rows[word]}'
      )
    rows[word] = row


def _check_format(format: str | None) -> None:
  if format is not None and format not in FORMATS:
    raise ValueError(f'format={format!r}: allowed are {", ".join(map(repr, FORMATS))}')


def _start(path) -> bytes:
  with Input(path, max_expansion=None) as file:
    return file.read(_LOOKED_AT)


def guess_format(path: str | os.PathLike[str]) -> str:
  """The format of a file, by what is in it.

  Args:
    path: the file or folder.

  Returns:
    One of `FORMATS`.

  Raises:
    OSError: the file cannot be read.
    ValueError: the file is empty, or nothing that is read here.
  """
  if os.path.isdir(path):
    return 'projector'
  if not os.path.isfile(path) and os.path.exists(path):
    raise ValueError('is a pipe or device, which is read once: name its format')
  start = _start(path)
  if not start:
    raise ValueError('the file is empty')
  if start[:4] == fasttext.MAGIC:
    return 'fasttext'
  if start[:4] == b'PK\x03\x04':
    return 'numpy'
  if start[8:9] == b'{' and int.from_bytes(start[:8], 'little') < os.path.getsize(path):
    return 'safetensors'
  if start[:1] == b'\x80' and start[1:2] in (b'\x02', b'\x03', b'\x04', b'\x05'):
    raise ValueError(
      'a pickle of Python, as gensim saves, which could run anything when it is read: have '
      'gensim write it with save_word2vec_format'
    )
  line, _, rest = start.partition(b'\n')
  fields = line.split()
  if len(fields) == 2 and all(field.isdigit() for field in fields):
    begin = rest[rest.find(b' ') + 1 :][: 4 * min(int(fields[1]), _LOOKED_AT)]
    row, _, more = begin.partition(b'\n')  # where the first row of text would end
    if more and row.split() and all(map(text.is_number, row.split())):
      return 'word2vec'
    return 'word2vec' if word2vec_binary.looks_like_text(begin) else 'word2vec_binary'
  if not word2vec_binary.looks_like_text(start):
    raise ValueError(f'no format of vectors begins with {start[:16]!r}')
  return 'glove'
