"""Scores of word vectors, as plain numbers that a table or JSON can hold.

What belongs here: the measures of one list of pairs or analogies, and those of the data
sets that the benchmark reports. Nothing here knows which system the vectors are from.
"""

import math
import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import jw2v
from jw2v.vectors import evaluation
from jw2v.vectors.evaluation import Question

PAIRS = {
  'WordSim-353': 'EN-WS-353-ALL.txt',
  'SimLex-999': 'EN-SIMLEX-999.txt',
  'MEN': 'EN-MEN-TR-3k.txt',
  'RareWords': 'EN-RW-STANFORD.txt',
}
ANALOGIES = {'Google analogies': 'questions-words.txt'}


def score_pairs(
  kv: jw2v.KeyedVectors,
  pairs: list[tuple[str, str, float]],
  restrict: int | None = None,
  case_insensitive: bool = True,
) -> dict[str, float]:
  """The correlations of cosines with human judgements.

  Args:
    kv: the vectors.
    pairs: (word, word, score).
    restrict: only so many of the first words are known; None for all.
    case_insensitive: whether case does not matter.

  Returns:
    `count` of pairs and how many of them are `known`; `spearman` and `pearson`, each with
    its `_pvalue`, of those that are known; and `spearman_all`, where unknown pairs count with
    a cosine of 0. NaN where nothing can be said: fewer than two pairs, or cosines or scores
    that are all equal.
  """
  how = (kv, pairs, restrict, case_insensitive)
  scores = {'count': len(pairs), 'known': 0}
  scores |= dict.fromkeys(
    ('spearman', 'spearman_pvalue', 'pearson', 'pearson_pvalue', 'spearman_all'), math.nan
  )
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # what scipy warns of is NaN
    try:
      scores['spearman_all'] = float(evaluation.evaluate_pairs(*how, dummy4unknown=True)[1][0])
      pearson, spearman, unknown = evaluation.evaluate_pairs(*how)
    except ValueError:  # fewer than two
      return scores
  scores['known'] = round(len(pairs) * (1 - unknown / 100))
  for name, result in (('spearman', spearman), ('pearson', pearson)):
    scores[name] = float(result.statistic)
    scores[f'{name}_pvalue'] = float(result.pvalue)
  return scores


def score_analogies(
  kv: jw2v.KeyedVectors,
  sections: Mapping[str, list[Question]],
  restrict: int | None = None,
  case_insensitive: bool = True,
  functions: tuple[str, ...] = evaluation.SIMILARITY_FUNCTIONS,
) -> list[dict[str, Any]]:
  """How many analogies are answered, by section.

  Args:
    kv: the vectors.
    sections: questions (a, b, c, d) by section.
    restrict: only so many of the first words are known, and answers; None for all.
    case_insensitive: whether case does not matter.
    functions: of `evaluation.SIMILARITY_FUNCTIONS`, 3CosAdd and 3CosMul.

  Returns:
    For each section, and then for the total, its `section`, the `count` of its questions, how
    many of them are `known`, and for each function the share of these that it answers, NaN
    if there are none.
  """
  counts = {name: len(questions) for name, questions in sections.items()}
  rows = [{'section': name, 'count': count, 'known': 0} for name, count in counts.items()]
  rows.append({'section': 'total', 'count': sum(counts.values()), 'known': 0})
  for function in functions:
    try:
      _, results = evaluation.evaluate_analogies(
        kv, dict(sections), restrict, case_insensitive, similarity_function=function
      )
    except ValueError:  # no question is known
      results = [{'correct': [], 'incorrect': []}] * len(rows)
    for row, result in zip(rows, results, strict=True):
      row['known'] = len(result['correct']) + len(result['incorrect'])
      row[function] = len(result['correct']) / row['known'] if row['known'] else math.nan
  return rows


def read_evaluation(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads the data sets of the benchmark.

  Args:
    folder: has the files of `PAIRS` and `ANALOGIES`.

  Returns:
    For each data set what `read_pairs` or `read_analogies` returns.

  Raises:
    FileNotFoundError: one of the files is missing.
    ValueError: a line is not as it should be.
  """
  sets = {}
  for name, file in {**PAIRS, **ANALOGIES}.items():
    path = pathlib.Path(folder, file)
    if not path.is_file():
      raise FileNotFoundError(f'evaluation={str(folder)!r}: there is no file {file} in it')
    sets[name] = (evaluation.read_pairs if name in PAIRS else evaluation.read_analogies)(path)
  return sets


def evaluate(
  folder: str | os.PathLike, kv: jw2v.KeyedVectors, restrict: int
) -> dict[str, tuple[float, int, int]]:
  """Scores vectors on every data set of the benchmark.

  Args:
    folder: has the files of `PAIRS` and `ANALOGIES`.
    kv: the vectors, the most frequent word first.
    restrict: analogies are asked and answered with so many of the first words.

  Returns:
    For each data set the score x 100, how many of its lines it is of, and how many there are.
  """
  found = {}
  for name, lines in read_evaluation(folder).items():
    if name in PAIRS:
      scores = score_pairs(kv, lines)
      score = scores['spearman']
    else:
      scores = score_analogies(kv, lines, restrict, functions=('most_similar',))[-1]
      score = scores['most_similar']
    found[name] = (100 * score, scores['known'], scores['count'])
  return found
