"""Scores of word vectors: similarities against human judgements, and analogies.

What belongs here: reading the data sets of a folder, and the two measures of the field on
them, Spearman's correlation and the accuracy of 3CosAdd, both times 100. Nothing here knows
which system the vectors are from.
"""

import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

PAIRS = {
  'WordSim-353': 'EN-WS-353-ALL.txt',
  'SimLex-999': 'EN-SIMLEX-999.txt',
  'MEN': 'EN-MEN-TR-3k.txt',
  'RareWords': 'EN-RW-STANFORD.txt',
}
ANALOGIES = {'Google analogies': 'questions-words.txt'}
RESTRICT = 30_000  # the words among which the answers of analogies are looked for
_QUESTIONS = 512  # analogies scored at once


def evaluate(
  folder: str | os.PathLike, words: Sequence[str], vectors: np.ndarray
) -> dict[str, tuple[float, int, int]]:
  """Scores vectors on every data set of a folder.

  Args:
    folder: has the files of `PAIRS` and `ANALOGIES`.
    words: V words, the most frequent first.
    vectors: `[V, D]`.

  Returns:
    For each data set the score, how many of its lines it is of, and how many there are.
  """
  found = {}
  for name, lines in read_evaluation(folder).items():
    score = score_pairs if name in PAIRS else score_analogies
    found[name] = (*score(words, vectors, lines), len(lines))
  return found


def describe(scores: Mapping[str, tuple[float, int, int]]) -> str:
  """What must be known to read the result of `evaluate`."""
  known = ', '.join(f'{name} {n:,} of {total:,}' for name, (_, n, total) in scores.items())
  return (
    f'Scores: Spearman x 100; for analogies, 3CosAdd accuracy x 100 among the {RESTRICT:,} most '
    f'frequent words. Scored, since all their words are known: {known}.'
  )


def read_evaluation(folder: str | os.PathLike) -> dict[str, list[list[Any]]]:
  """Reads the data sets of a folder.

  Args:
    folder: has the files of `PAIRS` and `ANALOGIES`.

  Returns:
    For each data set its lines: [word, word, score], or the four words of an analogy.

  Raises:
    FileNotFoundError: one of the files is missing.
    ValueError: a line is not as it should be.
  """
  sets: dict[str, list[list[Any]]] = {}
  for name, file in {**PAIRS, **ANALOGIES}.items():
    path, width = pathlib.Path(folder, file), 3 if name in PAIRS else 4
    if not path.is_file():
      raise FileNotFoundError(f'evaluation={str(folder)!r}: there is no file {file} in it')
    sets[name] = []
    for number, line in enumerate(path.read_text('utf-8').splitlines(), start=1):
      if line.startswith(':') or not line.strip():  # the heading of a section of analogies
        continue
      fields: list[Any] = line.lower().split()
      try:
        if len(fields) < width:
          raise ValueError(f'{len(fields)} columns, not {width}')
        sets[name].append([*fields[:2], float(fields[2])] if width == 3 else fields[:4])
      except ValueError as error:
        raise ValueError(f'{path}: line {number}: {error}') from error
  return sets


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
  """Spearman's rank correlation; ties share the mean of their ranks.

  Args:
    x: n numbers.
    y: n numbers.

  Returns:
    The correlation; NaN where x or y are all equal, or n < 2.
  """
  deviations = []
  for values in (x, y):
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    deviations.append(ranks - (len(ranks) + 1) / 2)
  rx, ry = deviations
  norm = math.sqrt((rx @ rx) * (ry @ ry))
  return float(rx @ ry) / norm if norm else math.nan


def score_pairs(
  words: Sequence[str], vectors: np.ndarray, pairs: Iterable[Sequence[Any]]
) -> tuple[float, int]:
  """Correlation of cosines with human judgements.

  Args:
    words: V words, the most frequent first; the first of those that differ by case counts.
    vectors: `[V, D]`.
    pairs: [word, word, score], in lower case; those with an unknown word are skipped.

  Returns:
    Spearman's correlation x 100, and how many pairs it is of.
  """
  index, unit = _index_and_unit(words, vectors)
  known = [(index[a], index[b], score) for a, b, score in pairs if a in index and b in index]
  if not known:
    return math.nan, 0
  first, second, scores = (np.array(column) for column in zip(*known, strict=True))
  cosines = np.einsum('nd,nd->n', unit[first], unit[second])
  return 100 * spearman(scores, cosines), len(known)


def score_analogies(
  words: Sequence[str],
  vectors: np.ndarray,
  questions: Iterable[Sequence[str]],
  restrict: int = RESTRICT,
) -> tuple[float, int]:
  """Accuracy of 3CosAdd: a is to b as c is to the word nearest to b - a + c.

  Args:
    words: V words, the most frequent first.
    vectors: `[V, D]`.
    questions: [a, b, c, d], in lower case; those with an unknown word are skipped.
    restrict: only so many of the first words are known, and candidates.

  Returns:
    The share of questions answered with d x 100, and how many were asked. The words a,
    b and c are no answers.

  References:
    Levy and Goldberg, `Linguistic Regularities in Sparse and Explicit Word
    Representations <https://aclanthology.org/W14-1618/>`_, 2014, section 2.
  """
  index, unit = _index_and_unit(words[:restrict], vectors[:restrict])
  known = [[index[w] for w in question] for question in questions if index.keys() >= {*question}]
  right = 0
  for start in range(0, len(known), _QUESTIONS):
    a, b, c, d = np.array(known[start : start + _QUESTIONS]).T
    scores = (unit[b] - unit[a] + unit[c]) @ unit.T
    for asked in (a, b, c):
      scores[np.arange(len(a)), asked] = -np.inf
    right += int(np.sum(scores.argmax(axis=1) == d))
  return 100 * right / len(known) if known else math.nan, len(known)


def _index_and_unit(words, vectors):
  """Where each word stands, in lower case, and the vectors at length 1."""
  index: dict[str, int] = {}
  for i, word in enumerate(words):
    index.setdefault(word.lower(), i)
  norms = np.linalg.norm(vectors, axis=1, keepdims=True)
  return index, vectors / np.where(norms > 0, norms, 1)
