"""Data sets that the benchmarks score word vectors on."""

import os
import pathlib
from typing import Any

import jw2v
from benchmarks.systems import RESTRICT
from jw2v.cli.evaluate import score_analogies, score_pairs
from jw2v.vectors import evaluation

PAIRS = {
  'WordSim-353': 'EN-WS-353-ALL.txt',
  'SimLex-999': 'EN-SIMLEX-999.txt',
  'MEN': 'EN-MEN-TR-3k.txt',
  'RareWords': 'EN-RW-STANFORD.txt',
}
ANALOGIES = {'Google analogies': 'questions-words.txt'}


def read_evaluation(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads the data sets of the benchmark.

  Args:
    folder: folder with the files of `PAIRS` and `ANALOGIES`.

  Returns:
    The result of `read_pairs` or `read_analogies` for each data set.

  Raises:
    FileNotFoundError: a file does not exist.
    ValueError: a line is invalid.
  """
  sets = {}
  for name, file in {**PAIRS, **ANALOGIES}.items():
    path = pathlib.Path(folder, file)
    if not path.is_file():
      raise FileNotFoundError(f'evaluation={str(folder)!r}: file {file} not found')
    sets[name] = (evaluation.read_pairs if name in PAIRS else evaluation.read_analogies)(path)
  return sets


def evaluate(
  folder: str | os.PathLike, kv: jw2v.KeyedVectors, restrict: int = RESTRICT
) -> dict[str, tuple[float, int, int]]:
  """Scores vectors on every data set of the benchmark.

  Args:
    folder: folder with the files of `PAIRS` and `ANALOGIES`.
    kv: the vectors, the most frequent word first.
    restrict: number of first words for questions and answers of analogies.

  Returns:
    For each data set the score times 100, the number of known lines and the number of all lines.
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
