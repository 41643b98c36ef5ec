"""Phrases: pairs of words that are treated as one word, such as new_york.

`PhraseConfig` says how phrases are found, `Phrases` holds them and joins them in lists of words.
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

_MAX_PAIRS = 50_000_000  # that are counted at once, in 16 bytes each and as much for merging
_KEY_BITS = 63  # of the integer that stands for a pair
_MOST_PASSES = 1000  # a phrase may double in each; a file may claim any number
THRESHOLDS = {'gensim': 10.0, 'npmi': 0.5, 'word2phrase': 100.0}


@dataclasses.dataclass(frozen=True)
class PhraseConfig:
  r"""Settings for finding phrases; a value out of range raises a `ValueError`.

  The score of a pair with counts :math:`n_a, n_b` of the words and :math:`n_{ab}` of the
  pair, in a text of N words:

  .. math::
     \text{word2phrase} = \frac{(n_{ab} - \text{min\_count}) N}{n_a n_b}, \qquad
     \text{npmi} = \log\frac{n_{ab} N}{n_a n_b} \Big/ -\log\frac{n_{ab}}{N}

  'gensim' is word2phrase with the number of different words and pairs in the place of N,
  as gensim's default scorer.

  Attributes:
    min_count: words and pairs with fewer occurrences make no phrase.
    threshold: a pair is a phrase above this score; None takes 100 for word2phrase, 10
      for gensim and 0.5 for npmi (which is between -1 and 1).
    scoring: 'word2phrase', 'gensim' or 'npmi'.
    passes: how often; each may join what the one before has joined.
    connector_words: words that may stand between the two of a phrase (bank_of_england),
      and at the end of none; they do not count in scores.
    delimiter: what joins the words.

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
      raise ValueError(f'scoring={self.scoring!r}: allowed are {", ".join(map(repr, THRESHOLDS))}')
    for name, most in (('min_count', None), ('passes', _MOST_PASSES)):
      object.__setattr__(self, name, check_number(name, getattr(self, name), int, 1, most))
    if self.threshold is None:
      object.__setattr__(self, 'threshold', THRESHOLDS[self.scoring])
    threshold: Any = self.threshold
    number = isinstance(threshold, (int, float, np.integer, np.floating))
    if not number or not math.isfinite(threshold):
      raise ValueError(f'threshold={threshold!r}: must be a finite number')
    object.__setattr__(self, 'threshold', float(threshold))
    object.__setattr__(self, 'connector_words', _words_of(self.connector_words))
    _check_delimiter(self.delimiter)

  def settings(self) -> dict[str, Any]:
    """Returns the settings as JSON values, to compare configs."""
    return dataclasses.asdict(self)


def _words_of(connector_words) -> tuple[str, ...]:
  """In one order, whatever order a set is in today."""
  if isinstance(connector_words, str) or not all(isinstance(w, str) for w in connector_words):
    raise TypeError(f'connector_words must be a list of words, got {shown(repr(connector_words))}')
  return tuple(sorted(connector_words))


def _check_delimiter(delimiter) -> None:
  if not isinstance(delimiter, str) or any(c.isspace() for c in delimiter):
    raise ValueError(f'delimiter={delimiter!r}: must be a str without white space')


@dataclasses.dataclass(frozen=True)
class Phrases:
  """Phrases that were found, to be joined in any text.

  Attributes:
    passes: for each pass, the score of each phrase by its words, connectors included.
    connector_words: words that may stand inside of a phrase.
    delimiter: what joins the words.
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
          f'the phrase {shown(words)} must be two words, with none but connector_words between '
          f'them, which are {list(self.connector_words)!r}'
        )

  def join(self, line: Sequence[str]) -> list[str]:
    """Joins the phrases in a line, from left to right, pass after pass.

    Args:
      line: its words.

    Returns:
      The line, each phrase one word.
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
      path: the file; it appears when it is whole.

    Raises:
      FileNotFoundError: the folder does not exist.
      ValueError: a word contains white space, or is not valid Unicode.
    """
    with atomic_write(expanded(path)) as file:
      file.write((json.dumps(self._header()) + '\n').encode())
      for number, table in enumerate(self.passes, start=1):
        for words, score in table.items():
          if any(not word or any(c in word for c in ' \t\n\r') for word in words):
            raise ValueError(f'{path}: cannot hold the phrase {shown(words)}: it has white space')
          try:
            file.write(f'{number} {score!r} {" ".join(words)}\n'.encode())
          except UnicodeEncodeError as error:
            raise ValueError(f'{path}: cannot hold the phrase {shown(words)}: {error}') from error

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'Phrases':
    """Reads a file that `save` wrote.

    Args:
      path: the file.

    Returns:
      The phrases.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: the file is damaged, with row and reason.
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
            raise ValueError(f'the score {score} is not finite')
          passes[int(number) - 1][tuple(words)] = float(score)
        return cls(tuple(passes), tuple(header['connector_words']), header['delimiter'])
      except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'{path}: row {row} is damaged: {shown(error, 500)}') from error


# --- Phrases in a numbered text on disk ---


def find_and_join(
  text: NumberedText, config: PhraseConfig, reserved: Sequence[str] = ()
) -> Phrases:
  """Finds the phrases of a numbered text and joins them in it.

  Args:
    text: the text; each pass rewrites it.
    config: how phrases are found.
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
