"""From text to a stream of ids.

What belongs here: finding and reading text, splitting it into words, and encoding it.
One sentence or document a line; windows never cross a line. Files are UTF-8, and words
are separated by ASCII white space unless a tokenizer says otherwise.
"""

import array
import collections
import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from jw2v.vocabulary import Vocabulary, select_words

_SEPARATORS = re.compile('[\x1c-\x1f]')  # white space to str.split, words to us

Path = str | os.PathLike
Corpus = Path | Sequence[Path] | Iterable[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class EncodedCorpus:
  """A corpus as ids, words outside of the vocabulary left out.

  Attributes:
    vocabulary: the words behind the ids.
    ids: `[N]` int32.
    line_ends: `[lines]` int64, where each line ends in `ids`; lines left empty are gone.
  """

  vocabulary: Vocabulary
  ids: np.ndarray
  line_ends: np.ndarray


def find_files(paths: Path | Sequence[Path]) -> list[pathlib.Path]:
  """The files behind the paths; a folder stands for its files, sorted by name.

  Files whose name starts with a dot are left out.

  Args:
    paths: a file or folder, or a sequence of them.

  Returns:
    Existing files.

  Raises:
    FileNotFoundError: a path does not exist, or a folder has no file in it.
    ValueError: there is no path, or it is empty.
  """
  files = []
  for path in [paths] if isinstance(paths, Path) else paths:
    if not str(path):
      raise ValueError('the path of the text is empty: name a file or a folder')
    path = pathlib.Path(path)
    if path.is_dir():
      found = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != '.')
      if not found:
        raise FileNotFoundError(f'{path}: there is no file in this folder')
      files += found
    elif path.exists():
      files.append(path)
    else:
      raise FileNotFoundError(f'{path}: no such file or folder')
  if not files:
    raise ValueError('there is no path of a text: name a file or a folder')
  return files


def _split(line: str) -> list[str]:
  """Splits at ASCII white space alone: U+00A0, U+0085 and U+2028 belong to words."""
  if line.isascii() and not _SEPARATORS.search(line):  # twice as fast
    return line.split()
  return [word.decode() for word in line.encode().split()]


def read_lines(
  paths: Path | Sequence[Path], tokenize: Callable[[str], Sequence[str]] = _split
) -> Iterator[Sequence[str]]:
  """The words of each line of text files.

  Args:
    paths: a file or folder, or a sequence of them; UTF-8 text.
    tokenize: from a line to its words; by default, split at ASCII white space.

  Yields:
    The words of one line.

  Raises:
    FileNotFoundError: a path does not exist.
    ValueError: a file is not UTF-8 (the message has the file and the byte offset), or
      there is nothing but white space in all of them.
  """
  files = find_files(paths)
  blank = True
  for path in files:
    offset = 0
    with path.open('rb') as file:
      for line in file:
        try:
          text = line.decode()
        except UnicodeDecodeError as error:
          where = offset + error.start
          raise ValueError(
            f'{path}: not UTF-8 at byte {where} (0x{line[error.start]:02x})'
          ) from error
        offset += len(line)
        blank = blank and not line.strip()
        yield tokenize(text)
  if blank:
    raise ValueError(f'{_name(files)}: there is no text in it')


def encode(corpus: Corpus, *, min_count: int, max_vocab_size: int | None = None) -> EncodedCorpus:
  """Counts the words of a corpus and turns it into ids, in one pass.

  Args:
    corpus: a path, a list of paths, or an iterable of lists of words (one per line).
    min_count: fewer occurrences than this drop a word.
    max_vocab_size: at most so many words stay; None for all.

  Returns:
    The encoded corpus.

  Raises:
    FileNotFoundError: a path does not exist.
    TypeError: a line is no list of words.
    ValueError: a file is not UTF-8; there is no text; no word reaches `min_count`; or
      no line has two words that do.
  """
  corpus, name = _as_lines(corpus)
  found: dict[str, int] = collections.defaultdict(itertools.count().__next__)
  tokens, ends = array.array('i'), array.array('q')
  for line in corpus:
    if isinstance(line, (str, bytes)) or not isinstance(line, Iterable):
      shown = f'the text {line[:40]!r}' if isinstance(line, (str, bytes)) else repr(line)
      raise TypeError(f'{name}: a line must be a list of words, got {shown}')
    tokens.extend(map(found.__getitem__, line))
    ends.append(len(tokens))
  if not tokens:
    raise ValueError(f'{name}: there is no text in it')
  words, tokens = list(found), np.frombuffer(tokens, np.int32)
  if not all(isinstance(word, str) for word in words):
    wrong = next(word for word in words if not isinstance(word, str))
    raise TypeError(f'{name}: words must be str, got {wrong!r}')
  counts = np.bincount(tokens, minlength=len(words))
  try:
    vocabulary, new_ids = select_words(words, counts, min_count=min_count, max_size=max_vocab_size)
  except ValueError as error:
    raise ValueError(f'{name}: {error}') from error
  ids = new_ids[tokens]
  kept_before = np.concatenate([[0], np.cumsum(ids >= 0)])
  line_ends = np.unique(kept_before[np.frombuffer(ends, np.int64)])
  line_ends = line_ends[line_ends > 0]
  if np.diff(line_ends, prepend=0).max() < 2:
    raise ValueError(f'{name}: no line has two words that occur min_count={min_count} times')
  return EncodedCorpus(vocabulary, ids[ids >= 0], line_ends)


def _as_lines(corpus: Corpus) -> tuple[Iterable[Sequence[str]], str]:
  """The lines of a corpus of any kind, and a name for it in errors."""
  if isinstance(corpus, Path):
    return read_lines(corpus), str(corpus)
  if isinstance(corpus, Sequence) and corpus and all(isinstance(x, Path) for x in corpus):
    return read_lines(corpus), _name(corpus)
  if not isinstance(corpus, Iterable):
    raise TypeError(f'corpus={corpus!r}: must be a path, paths, or lists of words')
  return corpus, 'the corpus'


def _name(paths: Sequence[Path]) -> str:
  return str(paths[0]) + (f' and {len(paths) - 1} more' if len(paths) > 1 else '')
