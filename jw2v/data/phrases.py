"""Phrases: pairs of words that are treated as one word, such as new_york.

`PhraseConfig` has the settings for finding phrases. `Phrases` holds them and joins them in lists of
words.
The second half of the module finds and joins phrases in a text that does not fit in memory. There
a pair of words is one integer, so that sorting counts pairs and searching finds phrases.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jw2v.data.tokens import NumberedText
from jw2v.utils.checks import check_number
from jw2v.utils.files import atomic_write, expanded
from jw2v.utils.limits import shown

_MAX_PAIRS = 50_000_000  # pairs counted at once: 16 bytes each, and the same for merging
_KEY_BITS = 63  # bits of the key of a pair
_MOST_PASSES = 1000  # a phrase can double in each pass, and a file may contain any number
THRESHOLDS = {'gensim': 10.0, 'npmi': 0.5, 'word2phrase': 100.0}


@dataclasses.dataclass(frozen=True)
class PhraseConfig:
  r"""Settings for finding phrases; a value out of range raises a `ValueError`.

  The score of a pair with counts :math:`n_a, n_b` of the words and :math:`n_{ab}` of the
  pair, in a text of N words:

  .. math::
     \text{word2phrase} = \frac{(n_{ab} - \text{min\_count}) N}{n_a n_b}, \qquad
     \text{npmi} = \log\frac{n_{ab} N}{n_a n_b} \Big/ -\log\frac{n_{ab}}{N}

  'gensim' is word2phrase with the number of distinct words and pairs instead of N,
  as gensim's default scorer.

  Attributes:
    min_count: minimum number of occurrences of a phrase and of its words.
    threshold: score above which a pair is a phrase; None for 100 with 'word2phrase', 10 with
      'gensim' and 0.5 with 'npmi' (whose scores are between -1 and 1).
    scoring: 'word2phrase', 'gensim' or 'npmi'.
    passes: number of passes; each may join the phrases of the previous one to longer ones.
    connector_words: words allowed inside a phrase (bank_of_england), but not at its ends; scores
      ignore them.
    delimiter: string between the joined words.

  References:
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, eq. 6, with the factor N of the C tool.
    Bouma, Normalized (Pointwise) Mutual Information in Collocation Extraction, 2009.
  """

  min_count: int = 5
  threshold: float | None = None
  scoring: str = 'word2phrase'
  passes: int = 1
  connector_words: tuple[str, ...] = ()
  delimiter: str = '_'

  def __post_init__(self) -> None:
    if self.scoring not in THRESHOLDS:
      raise ValueError(
        f'scoring must be one of {", ".join(map(repr, THRESHOLDS))}, got {self.scoring!r}'
      )
    for name, most in (('min_count', None), ('passes', _MOST_PASSES)):
      object.__setattr__(self, name, check_number(name, getattr(self, name), int, 1, most))
    if self.threshold is None:
      object.__setattr__(self, 'threshold', THRESHOLDS[self.scoring])
    threshold: Any = self.threshold
    number = isinstance(threshold, (int, float, np.integer, np.floating))
    if not number or not math.isfinite(threshold):
      raise ValueError(f'threshold must be a finite number, got {threshold!r}')
    object.__setattr__(self, 'threshold', float(threshold))
    object.__setattr__(self, 'connector_words', _words_of(self.connector_words))
    _check_delimiter(self.delimiter)

  def settings(self) -> dict[str, Any]:
    """Returns the settings as JSON values, to compare configs."""
    return dataclasses.asdict(self)


def _words_of(connector_words) -> tuple[str, ...]:
  """Returns the words sorted, since the order of a set differs between runs."""
  if isinstance(connector_words, str) or not all(isinstance(w, str) for w in connector_words):
    raise TypeError(f'connector_words must be a list of words, got {shown(repr(connector_words))}')
  return tuple(sorted(connector_words))


def _check_delimiter(delimiter) -> None:
  if not isinstance(delimiter, str) or any(c.isspace() for c in delimiter):
    raise ValueError(f'delimiter must be a string without white space, got {delimiter!r}')


@dataclasses.dataclass(frozen=True)
class Phrases:
  """Learned phrases, to join in any text.

  Attributes:
    passes: for each pass, the score of each phrase by its words, including connectors.
    connector_words: words allowed inside a phrase.
    delimiter: string between the joined words.
  """

  passes: tuple[dict[tuple[str, ...], float], ...]
  connector_words: tuple[str, ...] = ()
  delimiter: str = '_'

  def __post_init__(self) -> None:
    object.__setattr__(self, 'connector_words', _words_of(self.connector_words))
    _check_delimiter(self.delimiter)
    check_number('passes', len(self.passes), int, 0, _MOST_PASSES)
    connectors = frozenset(self.connector_words)
    for words in (words for table in self.passes for words in table):
      ends, inner = {words[0], words[-1]}, set(words[1:-1])
      if len(words) < 2 or ends & connectors or not inner <= connectors:
        raise ValueError(
          f'a phrase must be two words with only connector_words between them '
          f'({list(self.connector_words)!r}), got {shown(words)}'
        )

  def join(self, line: Sequence[str]) -> list[str]:
    """Joins the phrases in a line, from left to right, pass after pass.

    Args:
      line: words of the line.

    Returns:
      The line with each phrase as one word.
    """
    connectors = frozenset(self.connector_words)
    for phrases in self.passes:
      line = self._join(line, phrases, connectors)
    return list(line)

  def _join(self, line, phrases, connectors):
    joined: list[str] = []
    start = None  # where in `joined` the first word of a phrase may stand
    for word in line:
      joined.append(word)
      if word in connectors:
        continue
      if start is not None and tuple(joined[start:]) in phrases:
        joined[start:] = [self.delimiter.join(joined[start:])]
        start = None
      else:
        start = len(joined) - 1
    return joined

  def settings(self) -> dict[str, Any]:
    """Returns JSON values that identify these phrases, with a digest of their words."""
    passes = [sorted([*words, score] for words, score in table.items()) for table in self.passes]
    digest = hashlib.sha256(json.dumps(passes).encode()).hexdigest()
    return {**self._header(), 'sha256': digest}

  def _header(self) -> dict[str, Any]:
    return {
      'passes': len(self.passes),
      'connector_words': list(self.connector_words),
      'delimiter': self.delimiter,
    }

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes a line of settings, as JSON, and a line `pass score words` for each phrase.

    Args:
      path: the file; it is written atomically.

    Raises:
      FileNotFoundError: the folder does not exist.
      ValueError: a word contains white space, or is not valid Unicode.
    """
    with atomic_write(expanded(path)) as file:
      file.write((json.dumps(self._header()) + '\n').encode())
      for number, table in enumerate(self.passes, start=1):
        for words, score in table.items():
          if any(not word or any(c in word for c in ' \t\n\r') for word in words):
            raise ValueError(f'{path}: a phrase must not contain white space, got {shown(words)}')
          try:
            file.write(f'{number} {score!r} {" ".join(words)}\n'.encode())
          except UnicodeEncodeError as error:
            raise ValueError(
              f'{path}: a phrase must be valid Unicode, got {shown(words)}; {error}'
            ) from error

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'Phrases':
    """Reads a file that `save` wrote.

    Args:
      path: the file.

    Returns:
      The phrases.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: the file is corrupted; the message contains the row and the reason.
    """
    row = 1
    with open(expanded(path), 'rb') as file:
      try:
        header = json.loads(file.readline())
        count = check_number('passes', header['passes'], int, 0, _MOST_PASSES)
        passes: list[dict] = [{} for _ in range(count)]
        for line in file:
          row += 1
          number, score, *words = line.decode().rstrip('\r\n').split(' ')
          if len(words) < 2 or not 1 <= int(number) <= len(passes):
            raise ValueError('must be "pass score word word ..."')
          if not math.isfinite(float(score)):
            raise ValueError(f'the score must be finite, got {score}')
          passes[int(number) - 1][tuple(words)] = float(score)
        return cls(tuple(passes), tuple(header['connector_words']), header['delimiter'])
      except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'{path}: row {row} is corrupted: {shown(error, 500)}') from error


# --- Phrases in a numbered text on disk ---


def find_and_join(
  text: NumberedText, config: PhraseConfig, reserved: Sequence[str] = ()
) -> Phrases:
  """Finds the phrases of a numbered text and joins them in it.

  Args:
    text: the text; each pass rewrites it.
    config: settings for finding phrases.
    reserved: words that never become part of a phrase.

  Returns:
    The phrases.

  Raises:
    ValueError: the text has too many distinct words to encode a pair as one integer.
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
  """Pairs of adjacent words in a numbered text, each encoded as one integer.

  Only candidate words form pairs; they have compact numbers. Other words and line ends separate
  pairs. The connectors between two words are part of the pair.
  """

  def __init__(self, text: NumberedText, connector_words: Sequence[str], possible: np.ndarray):
    """Numbers the words that are `possible`, a bool for each word of the text."""
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
    """Returns the number of a sequence of connectors between two words."""
    if len(words) < 2:
      return int(self._gap_of[words[0]]) if len(words) else 0
    known = self._long_gaps.setdefault(words.tobytes(), len(self.gaps))
    if known == len(self.gaps):
      self.gaps.append(tuple(words.tolist()))
    return known

  def keys(self, first: np.ndarray, gaps: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns `[n]` int64 keys of pairs; -1 if one of the words is not a candidate."""
    if len(self.gaps) > 1 << max(0, _KEY_BITS - 2 * self._word_bits):
      raise ValueError(
        f'{len(self.words)} words and {len(self.gaps)} sequences of connectors are too many '
        'for phrases; increase min_count'
      )
    a, b = self._compact[first], self._compact[second]
    key = (gaps << (2 * self._word_bits)) | (a << self._word_bits) | b
    return np.where((a < 0) | (b < 0), -1, key)

  def split(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the numbers of the first words, the gaps and the second words of keys."""
    mask = (1 << self._word_bits) - 1
    first, second = (keys >> self._word_bits) & mask, keys & mask
    return self.words[first], keys >> (2 * self._word_bits), self.words[second]

  def of(self, tokens: np.ndarray, line_ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of all words but connectors, and the keys of their pairs or -1."""
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
  """Yields chunks, and True with the last of the `total` tokens.

  The caller sets `consumed[0]`. The next chunk starts with the tokens after it.
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
  """Returns the pairs above the threshold with their scores, in the order of their keys."""
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
  """Returns the pairs that occur `min_count` times, their counts, and the number of all pairs.

  If the distinct pairs do not fit in memory, they are counted in several parts.
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
  """Returns the sorted distinct pairs of one part and their counts; None if there are too many."""
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
  """Returns whether a line ends after the last word, which then cannot begin a pair."""
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
        # The last possible start: an even number of phrases after a pair that is not a phrase.
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
  """Selects every other pair of each run of phrases, so that no two of them share a word."""
  places = np.arange(len(is_phrase))
  start = np.maximum.accumulate(np.where(is_phrase, -1, places)) if len(places) else places
  return is_phrase & ((places - start) % 2 == 1)
