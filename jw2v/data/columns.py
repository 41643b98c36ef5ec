"""Columns of data frames, Arrow tables and datasets as a corpus, in constant memory.

Columns are recognized by the protocols of Arrow and by their methods, so that pandas, polars and
datasets are not imported.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from jw2v.data.text import TextReader
from jw2v.data.tokens import NumberedText, TextConfig, number_text
from jw2v.utils.limits import shown

_PROTOCOLS = ('__arrow_c_stream__', '__arrow_c_array__', '__arrow_array__')
_AS_LIST = ('to_pylist', 'to_list', 'tolist')  # of pyarrow, polars and pandas
_ROWS = 1 << 10  # converted at once
_BUFFER_CHARACTERS = 1 << 22


def is_column(corpus: object) -> bool:
  """Returns whether a corpus is a column of pandas, polars, pyarrow or Hugging Face datasets.

  Raises:
    TypeError: the corpus is a data frame, table or dataset.
  """
  kind = type(corpus)
  is_arrow = any(hasattr(kind, name) for name in _PROTOCOLS) or hasattr(kind, 'iloc')
  if hasattr(kind, 'column_names') or (is_arrow and hasattr(kind, 'columns')):
    names = getattr(corpus, 'column_names', None) or getattr(corpus, 'columns', None)
    names = names if isinstance(names, Mapping) or names is None else list(names)
    raise TypeError(
      f'corpus must be one column, got a {kind.__name__} with columns {shown(names)}; choose the '
      'column of the texts'
    )
  return is_arrow or hasattr(corpus, 'column_name')


def add_column(
  column: Any, name: str, config: TextConfig, text: NumberedText, *, is_given: bool
) -> None:
  """Numbers the words of a column, without its missing values.

  Args:
    column: strings, which are documents with a line or more each, or lists of words.
    name: name of the column in errors.
    config: definition of a word, for strings.
    text: numbered text that receives the words.
    is_given: True if the caller chose `config`, which does not apply to lists of words.

  Raises:
    TypeError: a value is of another type than string or list, or than the first value.
    ValueError: a string is not valid Unicode, or `config` is given for lists of words.
  """
  values = _values(column)
  first = next(values, None)
  if first is None:
    return
  values = itertools.chain([first], values)
  if isinstance(first, str):
    number_text(cast(TextReader, _Documents(values, name)), config, text)
  elif isinstance(first, Iterable) and not isinstance(first, bytes | Mapping):
    if is_given:
      raise ValueError(f'{name}: text must be None for a column of lists of words; leave it out')
    text.add_lines(values, name)
  else:
    raise TypeError(
      f'{name}: a column must contain strings or lists of words, got {shown(repr(first))}'
    )


def _values(column: Any) -> Iterator[Any]:
  """Yields the values of a column that are not missing."""
  if not hasattr(column, '__len__'):  # a stream
    yield from (value for value in column if value is not None)
    return
  rows = getattr(column, 'iloc', column)
  for start in range(0, len(column), _ROWS):
    part = rows[start : start + _ROWS]
    if hasattr(part, 'dropna'):  # NaN and NA of pandas
      part = part.dropna()
    method = next((name for name in _AS_LIST if hasattr(part, name)), None)
    values = part if method is None else getattr(part, method)()
    yield from (value for value in values if value is not None)


class _Documents:
  """Strings as the buffers of a file that has a line, or several, for each of them."""

  def __init__(self, documents: Iterator[str], name: str):
    self._documents, self._name = documents, name

  def buffers(self, buffer_bytes: int | None = None, whole_words: bool = True) -> Iterator[Any]:
    """Yields buffers as a `TextReader` does, each cut at the end of a document."""
    waiting: list[str] = []
    size = 0
    for document in self._documents:
      if not isinstance(document, str):
        raise TypeError(
          f'{self._name}: all values must be strings like the first, got {shown(repr(document))}'
        )
      waiting.append(document)
      size += len(document)
      if size >= _BUFFER_CHARACTERS:
        yield self._encoded(waiting), False
        waiting, size = [], 0
    yield self._encoded(waiting), True

  def _encoded(self, documents: list[str]) -> bytes:
    try:
      return ''.join([f'{document}\n' for document in documents]).encode()
    except UnicodeEncodeError as error:
      raise ValueError(f'{self._name}: a text must be valid Unicode: {error.reason}') from error
