"""The vocabulary: words, ids and counts.

The id of a word is its position: id 0 is the most frequent word, after any reserved words.
"""

import codecs
import collections
import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence

import numpy as np

from jw2v.utils.files import atomic_write, expanded, naming
from jw2v.utils.limits import shown


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
  """The words of a corpus with their counts, the most frequent first.

  Attributes:
    words: V distinct words.
    counts: `[V]` int64 number of occurrences of each word in the corpus.

  Raises:
    ValueError: the number of counts differs from the number of words, a count is not between 0 and
      2^53, or a word is duplicate.
  """

  words: tuple[str, ...]
  counts: np.ndarray

  def __post_init__(self) -> None:
    counts = np.asarray(self.counts)
    if counts.dtype.kind not in 'iu' or counts.shape != (len(self.words),):
      raise ValueError(f'counts must be {len(self.words)} integers, one per word, got {counts!r}')
    wrong = np.flatnonzero((counts < 0) | (counts > 2**53))
    if len(wrong):
      word, count = self.words[wrong[0]], counts[wrong[0]]
      raise ValueError(f'the count of {shown(repr(word))} must be from 0 to 2^53, got {count}')
    if len(set(self.words)) < len(self.words):
      twice = next(word for word, n in collections.Counter(self.words).items() if n > 1)
      raise ValueError(f'duplicate word {shown(repr(twice))}')
    object.__setattr__(self, 'words', tuple(self.words))
    object.__setattr__(self, 'counts', counts.astype(np.int64))

  def __len__(self) -> int:
    return len(self.words)

  def __repr__(self) -> str:
    return f'<Vocabulary: {len(self):,} words, {int(self.counts.sum()):,} occurrences>'

  @classmethod
  def of_words(cls, words: Iterable[str]) -> 'Vocabulary':
    """Returns a vocabulary of words whose counts are 0."""
    words = tuple(words)
    return cls(words, np.zeros(len(words), np.int64))

  @functools.cached_property
  def index(self) -> dict[str, int]:
    """Dictionary from words to ids."""
    return {word: i for i, word in enumerate(self.words)}

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes a line `word count` for each word, like `-save-vocab` of the C tool.

    Args:
      path: the file; it is written atomically.

    Raises:
      FileNotFoundError: the folder does not exist.
      ValueError: a word contains a line feed, or is not valid Unicode.
    """
    with atomic_write(path) as file:
      if self.words and self.words[0].startswith('\ufeff'):
        file.write(codecs.BOM_UTF8)  # `load` drops the first one as a byte order mark
      for word, count in zip(self.words, self.counts.tolist(), strict=True):
        try:
          line = f'{word} {count}\n'.encode()
        except UnicodeEncodeError as error:
          raise ValueError(
            f'{path}: a word must be valid Unicode, got {shown(repr(word))}; {error}'
          ) from error
        if '\n' in word:
          raise ValueError(f'{path}: a word must not contain a line feed, got {shown(repr(word))}')
        file.write(line)

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'Vocabulary':
    """Reads a file of words and counts written by this or another tool.

    The words have the order of the file. The count follows the last space or tab of a line, so
    that a word may contain spaces.

    Args:
      path: the file.

    Returns:
      The vocabulary.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: the file is empty, or a line is not a word and a count.
    """
    words, counts = [], []
    lines: dict[str, int] = {}
    with naming(path), open(expanded(path), 'rb') as file:
      for number, line in enumerate(file, start=1):
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line  # editors add it
        line = line.rstrip(b'\r\n')
        if not line.strip():  # such as an empty line at the end
          continue
        cut = max(line.rfind(b' '), line.rfind(b'\t'))
        if cut < 0 or not line[cut + 1 :].isdigit() or len(line) - cut > 19:
          raise ValueError(f'{path}: row {number} must be "word count", got {line[:60]!r}')
        try:
          word = line[:cut].decode()
        except UnicodeDecodeError as error:
          raise ValueError(f'{path}: row {number}: {error}') from error
        if word in lines:
          raise ValueError(
            f'{path}: duplicate word {shown(repr(word))} in rows {lines[word]} and {number}'
          )
        lines[word] = number
        words.append(word)
        counts.append(int(line[cut + 1 :]))
    if not words:
      raise ValueError(f'{path}: contains no words')
    try:
      return cls(tuple(words), np.array(counts, np.int64))
    except ValueError as error:
      raise ValueError(f'{path}: {error}') from error


def select_words(
  words: Sequence[str],
  counts: np.ndarray,
  *,
  min_count: int,
  max_size: int | None = None,
  reserved: Sequence[str] = (),
  known: Vocabulary | None = None,
  keep_known: bool = True,
) -> tuple[Vocabulary, np.ndarray]:
  """Selects the most frequent words.

  Args:
    words: words of the corpus, in the order of their first appearance.
    counts: `[len(words)]` number of occurrences of each word.
    min_count: minimum number of occurrences of a word.
    max_size: maximum number of words, the most frequent ones; None for no limit.
    reserved: words to keep regardless of their counts, even 0; they come first, in this order.
    known: words of an earlier corpus, whose counts are added; they precede new words with the same
      count.
    keep_known: True to keep all known words, in the order of their counts.

  Returns:
    The vocabulary: the reserved words, then the others by count and by first appearance; and
    `[len(words)]` int32, the new id of each word, -1 for a dropped word.

  Raises:
    ValueError: no word reaches `min_count`, `reserved` contains a duplicate, or there are more
      reserved and known words than `max_size`.
  """
  if len(set(reserved)) < len(reserved):
    twice = next(word for i, word in enumerate(reserved) if word in reserved[:i])
    raise ValueError(f'reserved has a duplicate word {shown(repr(twice))}')
  earlier = known.words if known is not None else ()
  names = list(dict.fromkeys((*reserved, *earlier)))
  place = np.arange(len(words))
  if names:
    index = {word: number for number, word in enumerate(names)}
    place = np.fromiter((index.setdefault(w, len(index)) for w in words), np.int64, len(words))
    names = list(index)
  else:
    names = list(words)
  total, must = np.zeros(len(names), np.int64), np.zeros(len(names), bool)
  total[place] = counts
  must[: len(reserved)] = True
  if known is not None:
    old = [index[word] for word in known.words]
    total[old] += known.counts
    must[old] |= keep_known
  if max_size is not None and must.sum() > max_size:
    raise ValueError(
      f'max_vocab_size must be at least {must.sum()}, the number of reserved and known words, got '
      f'{max_size}'
    )

  order = np.argsort(-total, kind='stable')
  kept = must[order] | (total[order] >= min_count)
  if max_size is not None:  # the most frequent of those that need not stay
    free = kept & ~must[order]
    kept &= must[order] | (np.cumsum(free) <= max_size - must.sum())
  order = order[kept]
  order = np.concatenate([np.arange(len(reserved)), order[order >= len(reserved)]])
  if not total[order].any():
    most = int(total.argmax()) if names else 0
    best = f'the most frequent one, {shown(repr(names[most]))}, occurs {total[most]} times; '
    raise ValueError(
      f'no word occurs min_count={min_count} times; {best if names else ""}decrease min_count'
    )
  new_ids = np.full(len(names), -1, np.int32)
  new_ids[order] = np.arange(len(order), dtype=np.int32)
  return Vocabulary(tuple(names[i] for i in order), total[order]), new_ids[place]
