"""Words, ids and counts.

What belongs here: which words there are, how often, and in which order. Ids are
positions: 0 is the most frequent word.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """The words of a corpus, the most frequent first.

  Attributes:
    words: V different words.
    counts: `[V]` int64, occurrences of each in the corpus.
  """

  words: tuple[str, ...]
  counts: np.ndarray

  def __len__(self) -> int:
    return len(self.words)

  @functools.cached_property
  def index(self) -> dict[str, int]:
    """The id of each word."""
    return {word: i for i, word in enumerate(self.words)}


def select_words(
  words: Sequence[str], counts: np.ndarray, *, min_count: int, max_size: int | None = None
) -> tuple[Vocabulary, np.ndarray]:
  """The vocabulary of the words that are frequent enough.

  Args:
    words: the words found, in the order of their first appearance.
    counts: `[len(words)]` occurrences of each.
    min_count: fewer occurrences than this drop a word.
    max_size: at most so many words stay, the most frequent ones; None for all.

  Returns:
    The vocabulary, ordered by count and then by first appearance; and
    `[len(words)]` int32, the new id of each word found, -1 where it is dropped.

  Raises:
    ValueError: no word reaches `min_count`.
  """
  counts = np.asarray(counts, np.int64)
  order = np.argsort(-counts, kind='stable')
  order = order[counts[order] >= min_count][:max_size]
  if not len(order):
    most = f'; the most frequent, {words[counts.argmax()]!r}, occurs {counts.max()} times'
    raise ValueError(f'no word occurs min_count={min_count} times{most if len(words) else ""}')
  new_ids = np.full(len(words), -1, np.int32)
  new_ids[order] = np.arange(len(order), dtype=np.int32)
  return Vocabulary(tuple(words[i] for i in order), counts[order]), new_ids
