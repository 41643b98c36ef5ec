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
  """The words of a corpus, the most frequent first.

  Attributes:
    words: V different words.
    counts: `[V]` int64, occurrences of each in the corpus.

  Raises:
    ValueError: there is not one count for each word, from 0 to 2^53, or a word is there
      twice.
  """

  words: tuple[str, ...]
  counts: np.ndarray

  def __post_init__(self) -> None:
    counts = np.asarray(self.counts)
    if counts.dtype.kind not in 'iu' or counts.shape != (len(self.words),):
      raise ValueError(f'{len(self.words)} words need as many whole numbers, got {counts!r}')
    wrong = np.flatnonzero((counts < 0) | (counts > 2**53))
    if len(wrong):
      word, count = self.words[wrong[0]], counts[wrong[0]]
      raise ValueError(f'the count of {shown(repr(word))} is {count}: must be from 0 to 2^53')
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
    """Words of which no occurrence is counted yet."""
    words = tuple(words)
    return cls(words, np.zeros(len(words), np.int64))

  @functools.cached_property
  def index(self) -> dict[str, int]:
    """The id of each word."""
    return {word: i for i, word in enumerate(self.words)}

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes a line `word count` for each word, as `-save-vocab` of the C tool does.

    Args:
      path: the file; it appears when it is whole.

    Raises:
      FileNotFoundError: the folder does not exist.
      ValueError: a word has a line feed in it, or is no valid Unicode.
    """
    with atomic_write(path) as file:
      if self.words and self.words[0].startswith('\ufeff'):
        file.write(codecs.BOM_UTF8)  # `load` takes the first one for a mark
      for word, count in zip(self.words, self.counts.tolist(), strict=True):
        try:
          line = f'{word} {count}\n'.encode()
        except UnicodeEncodeError as error:
          raise ValueError(f'{path}: cannot hold the word {shown(repr(word))}: {error}') from error
        if '\n' in word:
          raise ValueError(f'{path}: cannot hold the word {shown(repr(word))}: it has a line feed')
        file.write(line)

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'Vocabulary':
    """Reads a file of words and counts that this or another tool wrote.

    The order is that of the file. The count is what follows the last space or tab of a
    line, so that a word may have spaces.

    Args:
      path: the file.

    Returns:
      The vocabulary.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is empty, or a line of it is no word and count.
    """
    words, counts = [], []
    lines: dict[str, int] = {}
    with naming(path), open(expanded(path), 'rb') as file:
      for number, line in enumerate(file, start=1):
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line  # what editors add
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
          raise ValueError(f'{path}: row {number} repeats {shown(repr(word))} of row {lines[word]}')
        lines[word] = number
        words.append(word)
        counts.append(int(line[cut + 1 :]))
    if not words:
      raise ValueError(f'{path}: there is no word in it')
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
  """The vocabulary of the words that are frequent enough.

  Args:
    words: the words found, in the order of their first appearance.
    counts: `[len(words)]` occurrences of each.
    min_count: fewer occurrences than this drop a word.
    max_size: at most so many words stay, the most frequent ones; None for all.
    reserved: words that stay whatever their count, 0 too, and come first, in this order.
    known: words of an earlier corpus, whose counts are added; in the order, they appeared
      before the others.
    keep_known: whether they all stay, as reserved words do but in their place.

  Returns:
    The vocabulary: the reserved words, then the others by count and by first appearance;
    and `[len(words)]` int32, the new id of each word found, -1 where it is dropped.

  Raises:
    ValueError: no word reaches `min_count`, `reserved` repeats a word, or the words that
      must stay are more than `max_size`.
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
    raise ValueError(f'max_vocab_size={max_size}: {must.sum()} words are reserved or known')

  order = np.argsort(-total, kind='stable')
  kept = must[order] | (total[order] >= min_count)
  if max_size is not None:  # the most frequent of those that need not stay
    free = kept & ~must[order]
    kept &= must[order] | (np.cumsum(free) <= max_size - must.sum())
  order = order[kept]
  order = np.concatenate([np.arange(len(reserved)), order[order >= len(reserved)]])
  if not total[order].any():
    most = int(total.argmax()) if names else 0
    best = f'the most frequent, {shown(repr(names[most]))}, occurs {total[most]} times; '
    raise ValueError(
      f'no word occurs min_count={min_count} times: {best if names else ""}lower min_count'
    )
  new_ids = np.full(len(names), -1, np.int32)
  new_ids[order] = np.arange(len(order), dtype=np.int32)
  return Vocabulary(tuple(names[i] for i in order), total[order]), new_ids[place]
