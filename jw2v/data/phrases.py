"""Phrases: pairs of words that are read as one, as new_york.

What belongs here: how phrases are found, what was found, its file, and joining it in lists
of words. Finding and joining in text that is numbered on disk is in `pairs.py`.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jw2v.losses._check import check_number
from jw2v.utils.files import atomic_write
from jw2v.utils.limits import shown

_MOST_PASSES = 1000  # a phrase may double in each; a file may claim any number
THRESHOLDS = {'gensim': 10.0, 'npmi': 0.5, 'word2phrase': 100.0}


@dataclasses.dataclass(frozen=True)
class PhraseConfig:
  r"""How phrases are found; a value out of range raises a `ValueError`.

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
    """What tells this from another config, fit for JSON."""
    return dataclasses.asdict(self)


def _words_of(connector_words) -> tuple[str, ...]:
  """In one order, whatever order a set is in today."""
  if isinstance(connector_words, str) or not all(isinstance(w, str) for w in connector_words):
    raise TypeError(f'connector_words={connector_words!r}: must be a list of words')
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
          f'the phrase {words!r}: must be two words, with none but connector_words between '
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
    """What tells these phrases from others, fit for JSON."""
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
      ValueError: a word has white space in it, or is no valid Unicode.
    """
    with atomic_write(path) as file:
      file.write((json.dumps(self._header()) + '\n').encode())
      for number, table in enumerate(self.passes, start=1):
        for words, score in table.items():
          if any(not word or any(c in word for c in ' \t\n\r') for word in words):
            raise ValueError(f'{path}: cannot hold the phrase {words!r}: it has white space')
          try:
            file.write(f'{number} {score!r} {" ".join(words)}\n'.encode())
          except UnicodeEncodeError as error:
            raise ValueError(f'{path}: cannot hold the phrase {words!r}: {error}') from error

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'Phrases':
    """Reads a file that `save` wrote.

    Args:
      path: the file.

    Returns:
      The phrases.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, with row and reason.
    """
    row = 1
    with open(path, 'rb') as file:
      try:
        header = json.loads(file.readline())
        count = check_number('passes', header['passes'], int, 0, _MOST_PASSES)
        passes: list[dict] = [{} for _ in range(count)]
        for line in file:
          row += 1
          number, score, *words = line.decode().rstrip('\n').split(' ')
          if len(words) < 2 or not 1 <= int(number) <= len(passes):
            raise ValueError('must be "pass score word word ..."')
          if not math.isfinite(float(score)):
            raise ValueError(f'the score {score} is not finite')
          passes[int(number) - 1][tuple(words)] = float(score)
        return cls(tuple(passes), tuple(header['connector_words']), header['delimiter'])
      except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'{path}: row {row} is damaged: {shown(error, 500)}') from error
