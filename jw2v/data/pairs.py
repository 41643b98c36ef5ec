"""Pairs of neighbours in a numbered text: counted, scored and joined to phrases.

What belongs here: what `phrases.py` means, done for text that does not fit in memory. A
pair is one integer, so that sorting counts pairs and searching finds phrases.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from jw2v.data.phrases import PhraseConfig, Phrases
from jw2v.data.tokens import NumberedText

_MAX_PAIRS = 50_000_000  # that are counted at once, in 16 bytes each and as much for merging
_KEY_BITS = 63  # of the integer that stands for a pair


def find_and_join(
  text: NumberedText, config: PhraseConfig, reserved: Sequence[str] = ()
) -> Phrases:
  """Finds the phrases of a numbered text and joins them in it.

  Args:
    text: the text; each pass rewrites it.
    config: how they are found.
    reserved: words that are in no phrase.

  Returns:
    The phrases.

  Raises:
    ValueError: there are too many different words for a pair to be one number.
  """
  found = Phrases((), config.connector_words, config.delimiter)
  for _ in range(config.passes):
    table = _score(text, config, reserved)
    found = dataclasses.replace(found, passes=(*found.passes, table))
    _join_pass(text, found, table)
    if not table:
      break
  return found


def join(text: NumberedText, phrases: Phrases) -> None:
  """Joins phrases in a numbered text, as `Phrases.join` does in each line."""
  for table in phrases.passes:
    _join_pass(text, phrases, table)


class _Pairs:
  """Neighbours in a numbered text, as one integer each.

  Only words that can make a phrase take part, under compact numbers; the others and the
  ends of lines separate. What connectors stand between is a part of the pair.
  """

  def __init__(self, text: NumberedText, connector_words: Sequence[str], possible: np.ndarray):
    """Numbers the words that are possible, `[words of the text]` bool."""
    connectors = [text.index[word] for word in connector_words if word in text.index]
    self.is_connector = np.zeros(len(possible), bool)
    self.is_connector[connectors] = True
    self.words = np.flatnonzero(possible & ~self.is_connector)
    self._compact = np.full(len(possible), -1, np.int64)
    self._compact[self.words] = np.arange(len(self.words))
    self._gap_of = np.zeros(len(possible), np.int64)  # 0: no word between
    self._gap_of[connectors] = 1 + np.arange(len(connectors))
    self.gaps: list[tuple[int, ...]] = [(), *((word,) for word in connectors)]
    self._long_gaps: dict[bytes, int] = {}
    self._word_bits = max(1, int(len(self.words) - 1).bit_length())

  def gap(self, words: np.ndarray) -> int:
    """The number of the connectors that stand between two words."""
    if len(words) < 2:
      return int(self._gap_of[words[0]]) if len(words) else 0
    known = self._long_gaps.setdefault(words.tobytes(), len(self.gaps))
    if known == len(self.gaps):
      self.gaps.append(tuple(words.tolist()))
    return known

  def keys(self, first: np.ndarray, gaps: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`[n]` int64, one for each pair; -1 where a word is not possible."""
    if len(self.gaps) > 1 << max(0, _KEY_BITS - 2 * self._word_bits):
      raise ValueError(
        f'{len(self.words)} words and {len(self.gaps)} sequences of connectors are too many '
        'for phrases: raise min_count'
      )
    a, b = self._compact[first], self._compact[second]
    key = (gaps << (2 * self._word_bits)) | (a << self._word_bits) | b
    return np.where((a < 0) | (b < 0), -1, key)

  def split(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of first words, gaps and second words that the keys stand for."""
    mask = (1 << self._word_bits) - 1
    first, second = (keys >> self._word_bits) & mask, keys & mask
    return self.words[first], keys >> (2 * self._word_bits), self.words[second]

  def of(self, tokens: np.ndarray, line_ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the words stand, connectors left out, and the keys of neighbours, -1 for none."""
    places = np.flatnonzero(~self.is_connector[tokens])
    lines = np.searchsorted(line_ends, places, side='right')
    if len(places) < 2:
      return places, np.zeros(0, np.int64)
    gaps = np.zeros(len(places) - 1, np.int64)
    if len(self.gaps) > 1:
      between = np.diff(places) - 1
      one = np.flatnonzero(between == 1)
      gaps[one] = self._gap_of[tokens[places[one] + 1]]
      for i in np.flatnonzero((between > 1) & (lines[:-1] == lines[1:])):
        gaps[i] = self.gap(tokens[places[i] + 1 : places[i + 1]])
    keys = self.keys(tokens[places[:-1]], gaps, tokens[places[1:]])
    return places, np.where(lines[:-1] == lines[1:], keys, -1)


def _segments(
  text: NumberedText, total: int, consumed: list[int]
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
  """Chunks, and whether each is the last of the `total` tokens.

  What is behind `consumed[0]`, which the caller sets, comes again in the next chunk.
  """
  tokens, line_ends, seen = np.zeros(0, np.int32), np.zeros(0, np.int64), 0
  for more, ends in text.chunks():
    seen += len(more)
    line_ends = np.concatenate([line_ends, ends + len(tokens)])
    tokens = np.concatenate([tokens, more])
    consumed[0] = len(tokens)
    yield tokens, line_ends, seen == total
    line_ends = line_ends[line_ends > consumed[0]] - consumed[0]
    tokens = tokens[consumed[0] :]


def _score(
  text: NumberedText, config: PhraseConfig, reserved: Sequence[str]
) -> dict[tuple[str, ...], float]:
  """The pairs above the threshold with their scores, in the order of their numbers."""
  counts = text.counts
  frequent = counts >= (1 if config.scoring == 'gensim' else config.min_count)
  frequent[[text.index[word] for word in reserved if word in text.index]] = False
  pairs = _Pairs(text, config.connector_words, frequent)
  keys, pair_counts, num_pairs = _count(text, pairs, config.min_count)
  first, gaps, second = pairs.split(keys)
  n_ab, n_a, n_b = (x.astype(float) for x in (pair_counts, counts[first], counts[second]))
  total = text.num_tokens if config.scoring != 'gensim' else len(pairs.words) + num_pairs
  if config.scoring == 'npmi':
    with np.errstate(divide='ignore', invalid='ignore'):
      score = np.log(n_ab * total / (n_a * n_b)) / -np.log(n_ab / total)
  else:
    score = (n_ab - config.min_count) / n_a / n_b * total
  chosen = np.flatnonzero(score > config.threshold)
  words = text.words
  return {
    (words[a], *(words[i] for i in pairs.gaps[gap]), words[b]): float(s)
    for a, gap, b, s in zip(
      first[chosen], gaps[chosen], second[chosen], score[chosen], strict=True
    )
  }  # fmt: skip


def _count(text: NumberedText, pairs: _Pairs, min_count: int) -> tuple[np.ndarray, np.ndarray, int]:
  """The pairs that occur `min_count` times, how often each does, and the number of all.

  Where the different pairs are too many to be held, they are counted a part after another.
  """
  parts = 1
  while True:
    tried = [_count_part(text, pairs, part, parts) for part in range(parts)]
    counted = [part for part in tried if part is not None]
    if len(counted) == parts:
      break
    parts *= 4
  frequent = [(keys[n >= min_count], n[n >= min_count]) for keys, n in counted]
  keys, counts = (np.concatenate(x) for x in zip(*frequent, strict=True))
  return keys, counts, sum(len(keys) for keys, _ in counted)


def _count_part(text, pairs, part, parts) -> tuple[np.ndarray, np.ndarray] | None:
  """The different pairs of one part, increasing, and how often; None if they are too many."""
  consumed = [0]
  runs: list[tuple[np.ndarray, np.ndarray]] = []  # each at most half of the one before
  for tokens, line_ends, last in _segments(text, text.num_tokens, consumed):
    places, keys = pairs.of(tokens, line_ends)
    if len(places) and not last and not _ended(places, line_ends):
      consumed[0] = int(places[-1])  # the last word is the first of the next pair
    keys = keys[(keys >= 0) & (keys % parts == part)]
    runs.append(np.unique(keys, return_counts=True))
    while len(runs) > 1 and 2 * len(runs[-1][0]) > len(runs[-2][0]):
      runs.append(_merged(runs.pop(), runs.pop()))
    if sum(len(keys) for keys, _ in runs) > _MAX_PAIRS:
      return None
  while len(runs) > 1:
    runs.append(_merged(runs.pop(), runs.pop()))
  return runs[0] if runs else (np.zeros(0, np.int64), np.zeros(0, np.int64))


def _ended(places: np.ndarray, line_ends: np.ndarray) -> bool:
  """Whether a line ended after the last word, so that it begins no pair."""
  return len(line_ends) > 0 and line_ends[-1] > places[-1]


def _merged(*runs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  keys = np.concatenate([keys for keys, _ in runs])
  counts = np.concatenate([counts for _, counts in runs])
  order = np.argsort(keys, kind='stable')
  keys, counts = keys[order], counts[order]
  starts = np.flatnonzero(np.diff(keys, prepend=-1))
  return keys[starts], np.add.reduceat(counts, starts) if len(starts) else counts


def _join_pass(text: NumberedText, phrases: Phrases, table: dict[tuple[str, ...], float]) -> None:
  """Joins the phrases of one pass in a numbered text."""
  known = [words for words in table if all(word in text.index for word in words)]
  if not known:
    return
  numbers = [[text.index[word] for word in words] for words in known]
  possible = np.zeros(len(text.index), bool)
  possible[[n for words in numbers for n in (words[0], words[-1])]] = True
  pairs = _Pairs(text, phrases.connector_words, possible)
  gaps = np.array([pairs.gap(np.array(words[1:-1], np.int32)) for words in numbers])
  ends = np.array([(words[0], words[-1]) for words in numbers])
  keys = pairs.keys(ends[:, 0], gaps, ends[:, 1])
  order = np.argsort(keys)
  keys = keys[order]
  joined = np.array([text.index[phrases.delimiter.join(words)] for words in known], np.int32)[order]

  total = text.num_tokens

  def rewritten():
    consumed = [0]
    for tokens, line_ends, last in _segments(text, total, consumed):
      places, found = pairs.of(tokens, line_ends)
      at = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
      is_phrase = (keys[at] == found) & (found >= 0)
      chosen = np.flatnonzero(_alternate(is_phrase))
      if len(places) and not last and not _ended(places, line_ends):
        # The last word that begins anew: an even number of phrases after a pair that is none.
        anew = np.flatnonzero(~is_phrase)
        first = anew[-1] + 1 if len(anew) else 0
        consumed[0] = int(places[first + (len(places) - 1 - first) // 2 * 2])
      chosen = chosen[places[chosen] < consumed[0]]
      tokens = tokens[: consumed[0]].copy()
      tokens[places[chosen]] = joined[at[chosen]]
      dropped = np.zeros(len(tokens) + 1, np.int64)
      np.add.at(dropped, places[chosen] + 1, 1)
      np.add.at(dropped, places[chosen + 1] + 1, -1)
      kept = np.cumsum(dropped[:-1]) == 0
      line_ends = line_ends[line_ends <= consumed[0]]
      yield tokens[kept], np.concatenate([[0], np.cumsum(kept)])[line_ends]

  text.replace(rewritten())


def _alternate(is_phrase: np.ndarray) -> np.ndarray:
  """Of each run of pairs that are phrases the first, third, fifth: they share no word."""
  places = np.arange(len(is_phrase))
  start = np.maximum.accumulate(np.where(is_phrase, -1, places)) if len(places) else places
  return is_phrase & ((places - start) % 2 == 1)
