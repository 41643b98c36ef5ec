"""From text to numbered words, in constant memory.

`TextConfig` defines what a word is. Words are numbered in the order of their first appearance, and
the numbers stay on disk. `vocabulary.py` selects the words to keep.
"""

import array
import codecs
import collections
import concurrent.futures
import dataclasses
import errno
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from jw2v.data.text import ERRORS, WHITE_SPACE, TextReader
from jw2v.data.words import separate_words
from jw2v.utils.extras import import_pyarrow
from jw2v.utils.files import naming, sync
from jw2v.utils.limits import TEXT_EXPANSION, check_max_expansion, shown

SPLITS = ('whitespace', 'words')
_WORKERS = 2  # threads that split; the part in Python cannot keep up with more
_CHUNK = 1 << 20  # tokens in memory at once
LONG_LINE = 8 << 20  # characters; longer lines are passed to a tokenizer in pieces
_SPACED = bytes.maketrans(WHITE_SPACE, b' ' * len(WHITE_SPACE))
_HEADER = 128  # bytes before the data of a .npy file of one axis


@dataclasses.dataclass(frozen=True)
class TextConfig:
  """Settings for reading text from files: the definition of a word, the encoding, and the field.

  A line is a sentence or document: windows never cross its end. Lines end at LF, and at the end of
  a file. Where a function accepts a `TextConfig`, it also accepts the name of a preset: 'words' is
  `TextConfig(split='words', lowercase=True)`, and 'whitespace' is `TextConfig()`.

  Attributes:
    split: 'whitespace' splits at ASCII white space; U+00A0, U+0085 and U+2028 are ordinary
      characters, as in the C tool. 'words' keeps letters and digits, with the combining marks after
      them and apostrophes inside, and drops everything else.
    lowercase: True to convert text to lower case.
    word_pattern: regular expression whose nonempty matches are the words, instead of `split`.
    tokenizer: function from the text of a line to its words, instead of `split`. A line of more
      than 8 Mi characters is passed in pieces, cut at white space if it has any. A CR before the LF
      is part of the line.
    tokenizer_name: name of the tokenizer in a store, because functions cannot be compared. Without
      it, the text is encoded again in each run.
    encoding: any encoding that Python supports; a byte order mark takes precedence.
    errors: handling of bytes that are invalid in the encoding: 'strict' raises an error with the
      file and the offset, 'replace' replaces them by U+FFFD, 'ignore' drops them.
    field: field of JSON lines (.jsonl), of tables (.csv, .tsv) and of Parquet files whose rows are
      the lines of the text; 'a.b' is the field b of the object in a. '' reads such files as plain
      text, and None raises an error that lists the fields.
    exclude: patterns such as '*.png' of names to skip in folders.
    max_expansion: largest allowed ratio of decompressed to compressed size; None for no limit.
      64 MiB are always allowed.
  """

  split: str = 'whitespace'
  lowercase: bool = False
  word_pattern: str | None = None
  tokenizer: Callable[[str], Sequence[str]] | None = None
  tokenizer_name: str | None = None
  encoding: str = 'utf-8'
  errors: str = 'strict'
  field: str | None = None
  exclude: Sequence[str] = ()
  max_expansion: float | None = TEXT_EXPANSION

  def __post_init__(self) -> None:
    check_max_expansion(self.max_expansion)
    for name, allowed in (('errors', ERRORS), ('split', SPLITS)):
      if getattr(self, name) not in allowed:
        options = ', '.join(map(repr, allowed))
        raise ValueError(f'{name} must be one of {options}; got {getattr(self, name)!r}')
    try:
      ''.encode(self.encoding)  # raises an error for codecs that do not encode text
      codecs.getincrementaldecoder(self.encoding)
    except (LookupError, TypeError, ValueError):
      raise ValueError(
        f"encoding must be the name of an encoding such as 'utf-8' or 'cp1252', got "
        f'{self.encoding!r}'
      ) from None
    if isinstance(self.exclude, str) or not all(isinstance(x, str) for x in self.exclude):
      raise TypeError(f'exclude must be a list of patterns, got {self.exclude!r}')
    object.__setattr__(self, 'exclude', tuple(self.exclude))
    for name in ('word_pattern', 'tokenizer_name', 'field'):
      if not isinstance(getattr(self, name), str | None):
        raise TypeError(f'{name} must be a string, got {shown(repr(getattr(self, name)))}')
    if self.word_pattern is not None:
      pattern = shown(repr(self.word_pattern))
      try:
        compiled = re.compile(self.word_pattern)
      except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(
          f'word_pattern must be a regular expression, got {pattern}; {error}'
        ) from error
      if compiled.match(''):
        raise ValueError(f'word_pattern must not match the empty word, got {pattern}')
      if self.tokenizer is not None:
        raise ValueError(f'word_pattern must be None with a tokenizer, got {pattern}')
    if self.split != 'whitespace' and (self.word_pattern or self.tokenizer) is not None:
      raise ValueError(
        f'split={self.split!r} must not be given with a word_pattern or a tokenizer; leave it out'
      )
    if self.tokenizer is not None and not callable(self.tokenizer):
      raise TypeError(f'tokenizer must be a function from a line to words, got {self.tokenizer!r}')
    if self.tokenizer is None and self.tokenizer_name is not None:
      raise ValueError(
        f'tokenizer_name must be None without a tokenizer, got {self.tokenizer_name!r}'
      )

  def settings(self) -> dict[str, Any]:
    """Returns the settings that determine the words of a text, as JSON values."""
    names = ('split', 'lowercase', 'word_pattern', 'tokenizer_name', 'encoding', 'errors', 'field')
    settings = {name: getattr(self, name) for name in (*names, 'exclude')}
    return settings | {'encoding': codecs.lookup(self.encoding).name}

  def is_split_in_threads(self) -> bool:
    """Returns whether `split` defines the words, rather than a pattern or a tokenizer."""
    return self.word_pattern is None and self.tokenizer is None

  def words_of(self, line: str) -> Sequence[str]:
    """Returns the words of a line."""
    if self.split == 'words':
      return separate_words(line.encode(), self.lowercase).decode().split()
    line = line.lower() if self.lowercase else line
    if self.tokenizer is not None:
      return self.tokenizer(line)
    if self.word_pattern is None:  # `number_text` does the same faster, without asking here
      return [word.decode() for word in line.encode().split()]
    pattern = re.compile(self.word_pattern)  # kept by re
    if not pattern.groups:
      return [word for word in pattern.findall(line) if word]
    return [match.group() for match in pattern.finditer(line) if match.group()]


# Names for `TextConfig` where a function accepts one.
PRESETS = {'whitespace': TextConfig(), 'words': TextConfig(split='words', lowercase=True)}


def text_config(text: TextConfig | str) -> TextConfig:
  """Returns the given config, or the preset with the given name.

  Raises:
    TypeError: the value is neither a config nor a name.
    ValueError: the preset does not exist.
  """
  if isinstance(text, TextConfig):
    return text
  if not isinstance(text, str):
    raise TypeError(f'text must be a TextConfig or the name of a preset, got {shown(repr(text))}')
  if text not in PRESETS:
    names = ', '.join(map(repr, PRESETS))
    raise ValueError(f'text must be a TextConfig or one of {names}; got {shown(repr(text))}')
  return PRESETS[text]


class Buffer(NamedTuple):
  """Words of a piece of text, numbered within this piece."""

  words: list[str]  # distinct words, in the order of their first appearance
  ids: np.ndarray  # [n] index in `words` of each token
  line_ends: np.ndarray  # [lines] positions of line ends; the last line may continue


def _not_words(line: object) -> str:
  """Describes a line that is not a list of words, with advice, for an error."""
  if isinstance(line, str):
    return f'the text {line[:40]!r}; split it, such as line.split()'
  if isinstance(line, os.PathLike):
    return f'{shown(repr(line))}; pass files as a list, such as list(folder.glob("*.txt"))'
  return f'the bytes {line[:40]!r}' if isinstance(line, bytes) else shown(repr(line))


class NumberedText:
  """A text of words numbered in the order of their first appearance, as files in a folder.

  `ids.npy` has the int32 numbers, and `line_ends.npy` the int64 positions of line ends. The memory
  holds the distinct words, their counts, and at most one chunk of the text.

  Attributes:
    index: number of each word.
    num_tokens: number of tokens.
    num_lines: number of line ends.
  """

  def __init__(self, folder: pathlib.Path):
    """Creates the two files, empty."""
    self.index: dict[str, int] = collections.defaultdict(itertools.count().__next__)
    self.num_tokens = self.num_lines = self._last_end = 0
    self._paths = folder / 'ids.npy', folder / 'line_ends.npy'
    self._counts = np.zeros(1024, np.int64)
    self._checked = 0  # words that are known to be str
    for path in self._paths:
      path.write_bytes(bytes(_HEADER))

  @property
  def words(self) -> list[str]:
    """Words in the order of their numbers."""
    return list(map(str, self.index))  # NumPy's strings become plain ones

  @property
  def counts(self) -> np.ndarray:
    """`[len(words)]` int64 number of occurrences of each word."""
    self._grow(len(self.index))
    return self._counts[: len(self.index)]

  def add_buffers(self, buffers: Iterable[Buffer]) -> None:
    """Appends the words of buffers of text."""
    with open(self._paths[0], 'ab') as ids, open(self._paths[1], 'ab') as ends:
      for buffer in buffers:
        words = buffer.words
        numbers = np.fromiter(map(self.index.__getitem__, words), np.int32, len(words))
        self._grow(len(self.index))
        self._counts[numbers] += np.bincount(buffer.ids, minlength=len(numbers))
        self._write(ids, ends, numbers[buffer.ids], buffer.line_ends)

  def add_lines(self, lines: Iterable[Sequence[str]], name: str) -> None:
    """Appends lists of words, one per line.

    Args:
      lines: the lists.
      name: name of the corpus in errors.

    Raises:
      TypeError: a line is not a list, or a word is not a string.
    """
    self._checked = len(self.index)
    with open(self._paths[0], 'ab') as ids, open(self._paths[1], 'ab') as ends:
      tokens, line_ends = array.array('i'), array.array('q')
      for line in lines:
        if isinstance(line, (str, bytes, Mapping, Set)) or not isinstance(line, Iterable):
          raise TypeError(f'{name}: a line must be a list of words, got {_not_words(line)}')
        try:
          tokens.extend(map(self.index.__getitem__, line))
        except TypeError as error:  # a word that has no hash, such as a list
          raise TypeError(
            f'{name}: words must be strings, got {shown(repr(line))}; a corpus is a list of '
            'lines, and a line a list of words'
          ) from error
        line_ends.append(len(tokens))
        if len(tokens) >= _CHUNK or len(line_ends) >= _CHUNK:
          self._write_lists(ids, ends, tokens, line_ends, name)
          tokens, line_ends = array.array('i'), array.array('q')
      self._write_lists(ids, ends, tokens, line_ends, name)

  def _write_lists(self, ids, ends, tokens, line_ends, name) -> None:
    for word in itertools.islice(self.index, self._checked, None):
      if not isinstance(word, str):
        raise TypeError(
          f'{name}: words must be strings, got {shown(repr(word))}; convert a line with '
          'map(str, line)'
        )
    self._checked = len(self.index)
    tokens = np.array(tokens, np.int32)
    self._count(tokens)
    self._write(ids, ends, tokens, np.array(line_ends, np.int64))

  def _write(self, ids, ends, tokens, line_ends) -> None:
    ids.write(np.ascontiguousarray(tokens, np.int32).data)
    line_ends = line_ends.astype(np.int64) + self.num_tokens
    line_ends = line_ends[np.diff(line_ends, prepend=self._last_end) > 0]  # of lines with words
    if len(line_ends):
      self._last_end = int(line_ends[-1])
    ends.write(line_ends.data)
    self.num_tokens += len(tokens)
    self.num_lines += len(line_ends)

  def _count(self, tokens) -> None:
    counts = np.bincount(tokens)
    self._grow(len(counts))
    self._counts[: len(counts)] += counts

  def _grow(self, size) -> None:
    """Enlarges the array of counts, at least by a factor of two, to copy it rarely."""
    if size > len(self._counts):
      self._counts = np.pad(self._counts, (0, max(size, len(self._counts))))

  def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pieces of the numbers, each with its line ends relative to its start.

    A line end at the end of a piece belongs to this piece. Empty lines have no line end.
    """
    with open(self._paths[0], 'rb') as ids, open(self._paths[1], 'rb') as ends:
      ids.seek(_HEADER)
      ends.seek(_HEADER)
      start, waiting = 0, np.zeros(0, np.int64)
      while len(tokens := np.fromfile(ids, np.int32, _CHUNK)):
        stop = start + len(tokens)
        while not len(waiting) or waiting[-1] <= stop:
          more = np.fromfile(ends, np.int64, _CHUNK)
          if not len(more):
            break
          waiting = np.concatenate([waiting, more])
        inside = np.searchsorted(waiting, stop, side='right')
        yield tokens, waiting[:inside] - start
        start, waiting = stop, waiting[inside:]
      # NumPy mistakes a disk error for the end of the file.
      if start != (os.fstat(ids.fileno()).st_size - _HEADER) // 4 or len(ends.read(1)):
        raise OSError(errno.EIO, 'cannot be read to its end', str(self._paths[0]))

  def replace(self, chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Replaces the numbers of the text in place.

    Args:
      chunks: numbers and line ends, computed from the pieces that the method `chunks` yields, and
        in total never longer than the pieces consumed so far, because they overwrite these.
    """
    self.num_tokens = self.num_lines = self._last_end = 0
    self._counts = np.zeros_like(self._counts)
    with open(self._paths[0], 'r+b') as ids, open(self._paths[1], 'r+b') as ends:
      ids.seek(_HEADER)
      ends.seek(_HEADER)
      for tokens, line_ends in chunks:
        self._count(tokens)
        self._write(ids, ends, tokens, line_ends)
      ids.truncate()
      ends.truncate()

  def finish(self) -> None:
    """Completes the headers of the two files, so that `numpy.load` can read them."""
    for path, count, dtype in zip(
      self._paths, (self.num_tokens, self.num_lines), ('<i4', '<i8'), strict=True
    ):
      with naming(path), open(path, 'r+b') as file:
        header = {'descr': dtype, 'fortran_order': False, 'shape': (count,)}
        np.lib.format.write_array_header_1_0(file, header)
        if file.tell() != _HEADER:
          raise RuntimeError(f'the header of {path.name} has {file.tell()} bytes')
        sync(file.fileno())


def number_text(reader: TextReader, config: TextConfig, text: NumberedText) -> None:
  """Reads files and numbers their words.

  Args:
    reader: reader of the files.
    config: definition of a word.
    text: numbered text that receives the words.

  Raises:
    OSError: a file cannot be read.
    TypeError: the tokenizer does not return a list of words.
    ValueError: a file is not text.
  """
  if config.is_split_in_threads():
    import_pyarrow()
    text.add_buffers(_split_in_threads(reader, config))
  else:
    text.add_lines(map(config.words_of, _lines(reader)), 'the tokenizer')


def _lines(reader: TextReader) -> Iterator[str]:
  """Yields lines without their LF, very long lines in pieces."""
  rest = ''
  for buffer, last in reader.buffers(whole_words=False):
    *lines, rest = (rest + buffer.decode()).split('\n')
    yield from lines
    while len(rest) > LONG_LINE:
      cut = 1 + max(map(rest[:LONG_LINE].rfind, WHITE_SPACE.decode())) or LONG_LINE
      yield rest[:cut]
      rest = rest[cut:]
    if rest and last:
      yield rest
      rest = ''


def _split_in_threads(reader: TextReader, config: TextConfig) -> Iterator[Buffer]:
  """Yields split buffers in order; threads help, since pyarrow releases Python's lock."""
  with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
    waiting: collections.deque = collections.deque()
    for text, last in reader.buffers():
      waiting.append(pool.submit(_split, text, last, config))
      while len(waiting) > _WORKERS:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def _split(text: bytes, last: bool, config: TextConfig) -> Buffer:
  """Splits a buffer at ASCII white space, after replacing other separators by spaces.

  A token includes the separator after it, so that the tokens are slices of the text and need no
  copy; all separators are replaced by spaces first. A token that is a single space is not a word,
  because it comes from two adjacent separators.
  """
  import pyarrow

  if config.split == 'words':
    text = separate_words(text, config.lowercase)
  elif config.lowercase:
    text = text.lower() if text.isascii() else text.decode().lower().encode()
  if last and text[-1:].strip():
    text += b' '
  spaced = text.translate(_SPACED)
  stops = np.flatnonzero(np.frombuffer(spaced, np.uint8) == ord(' ')) + 1
  offsets = np.concatenate([[0], stops]).astype(np.int32)
  tokens = pyarrow.Array.from_buffers(
    pyarrow.binary(), len(stops), [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(spaced)]
  ).dictionary_encode()
  words = b''.join(tokens.dictionary.to_pylist()).decode().split(' ')[:-1]
  ids = tokens.indices.to_numpy()
  line_feeds = np.flatnonzero(np.frombuffer(text, np.uint8) == ord('\n'))
  line_ends = np.searchsorted(stops, line_feeds + 1) + 1
  if '' in words:
    empty = words.index('')
    present = ids != empty
    line_ends = np.concatenate([[0], np.cumsum(present)])[line_ends]
    ids = ids[present]
    ids = ids - (ids > empty)
    del words[empty]
  return Buffer(words, ids, np.append(line_ends, len(ids)) if last else line_ends)
