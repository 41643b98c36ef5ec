r"""Scores vectors against human judgements of similarity, and on analogies.

  python -m experiments.evaluate --vectors=vectors.txt wordsim353.tsv questions-words.txt
  python -m experiments.evaluate --vectors=a.txt --vectors=b.bin --output=scores.json lists/*

The files with the questions follow the flags; what is in one is told by its lines:

  pairs       two words and a score a line, between tabs, commas or spaces (WordSim-353, MEN,
              RareWords); with --score_column=4 the score is in the fourth column, as in the
              original SimLex-999
  analogies   four words a line, in sections that a line ": name" begins (the file
              questions-words.txt of the C tool)

Pairs: the correlations of the cosines with the scores, Spearman's and Pearson's, with the
probability p of one so far from 0 if there were none; and Spearman's of "all" pairs, where
one with an unknown word counts with a cosine of 0. Analogies: the share of questions
answered, by 3CosAdd and 3CosMul, and of "all", where one with an unknown word
is answered wrongly. "known" is the share of lines all of whose words are among the first
--restrict of the vectors, the most frequent. As gensim's evaluations, which these agree
with. --output=FILE.json writes the numbers of the tables as JSON.
"""

import json
import math
import os
import pathlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

from absl import app, flags

import jw2v
from experiments.tables import markdown_table
from jw2v.formats.text import is_number
from jw2v.utils.files import atomic_write, check_output
from jw2v.utils.limits import VECTORS_EXPANSION
from jw2v.vectors import evaluation
from jw2v.vectors.evaluation import Question


def read_questions(path: str | os.PathLike, score_column: int = 3) -> tuple[str, Any]:
  """Reads a file of pairs or of analogies.

  It is of analogies if the first line that is no comment begins with `:`, or has four words
  and no number, tab or comma.

  Args:
    path: the file.
    score_column: of pairs.

  Returns:
    'pairs' or 'analogies', and what `read_pairs` or `read_analogies` returns.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is neither, with the line that is wrong.
  """
  with open(path, encoding='utf-8-sig', errors='replace') as file:
    lines = (line.strip() for line in file)
    first = next((line for line in lines if line and not line.startswith('#')), '')
  words = first.split()
  four = len(words) == 4 and not any(c in first for c in '\t,')
  if first.startswith(':') or (four and not any(map(is_number, map(str.encode, words)))):
    return 'analogies', evaluation.read_analogies(path)
  return 'pairs', evaluation.read_pairs(path, score_column=score_column)


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


def score(
  kv: jw2v.KeyedVectors,
  questions: Iterable[tuple[str, str, Any]],
  restrict: int | None = None,
  case_insensitive: bool = True,
  functions: tuple[str, ...] = evaluation.SIMILARITY_FUNCTIONS,
) -> dict[str, list[dict[str, Any]]]:
  """Scores vectors on files of questions.

  Args:
    kv: the vectors, the most frequent word first.
    questions: for each file its name, and what `read_questions` returned.
    restrict: only so many of the first words are known, and answers; None for all.
    case_insensitive: whether case does not matter.
    functions: that answer analogies.

  Returns:
    `pairs` and `analogies`: for each file of either kind its `file`, and the numbers of
    `score_pairs`, or those of `score_analogies` as `sections`.
  """
  found: dict[str, list[dict[str, Any]]] = {'pairs': [], 'analogies': []}
  for name, kind, lines in questions:
    if kind == 'pairs':
      numbers = score_pairs(kv, lines, restrict, case_insensitive)
    else:
      numbers = {'sections': score_analogies(kv, lines, restrict, case_insensitive, functions)}
    found[kind].append({'file': name, **numbers})
  return found


def pairs_table(scores: Sequence[dict[str, Any]]) -> list[list[str]]:
  """The cells of the table of files of pairs."""
  head = ['pairs', 'count', 'known', 'Spearman', 'p', 'Pearson', 'p', 'Spearman of all']
  return [head] + [
    [
      pathlib.Path(row['file']).name, f'{row["count"]:,}', _share(row['known'], row['count']),
      _number(row['spearman']), _number(row['spearman_pvalue'], '.1e'),
      _number(row['pearson']), _number(row['pearson_pvalue'], '.1e'),
      _number(row['spearman_all']),
    ]
    for row in scores
  ]  # fmt: skip


def analogies_table(name: str, sections: Sequence[dict[str, Any]]) -> list[list[str]]:
  """The cells of the table of a file of analogies."""
  functions = evaluation.SIMILARITY_FUNCTIONS
  head = [name, 'count', 'known', '3CosAdd', '3CosMul', '3CosAdd of all', '3CosMul of all']
  rows = [head]
  for row in sections:
    right = [round(row[f] * row['known']) if row['known'] else 0 for f in functions]
    of_known = (_share(n, row['known']) for n in right)
    of_all = (_share(n, row['count']) for n in right)
    known = _share(row['known'], row['count'])
    rows.append([row['section'] or '-', f'{row["count"]:,}', known, *of_known, *of_all])
  return rows


def _number(value: float, form: str = '.3f') -> str:
  return '-' if math.isnan(value) else f'{value:{form}}'


def _share(part: int, whole: int) -> str:
  return f'{part / whole:.1%}' if whole else '-'


def report(scores: dict[str, Any]) -> str:
  """The tables of what `score` returned."""
  tables = [pairs_table(scores['pairs'])] if scores['pairs'] else []
  tables += [
    analogies_table(pathlib.Path(row['file']).name, row['sections']) for row in scores['analogies']
  ]
  return '\n\n'.join(map(markdown_table, tables))


def run(values: Any, files: Sequence[str]) -> None:
  """Scores what the flags name; every file of questions is read before any vectors are."""
  if not files:
    raise ValueError('name a file of pairs or analogies after the flags; --help has examples')
  if values.output is not None:
    check_output(values.output)
  questions = [(path, *read_questions(path, values.score_column)) for path in files]
  results = []
  for path in values.vectors:
    kv = jw2v.load_vectors(path, max_expansion=values.max_expansion or None)
    some = 0 < values.restrict < len(kv)
    shown = f'the first {values.restrict:,} of ' if some else ''
    found = score(kv, questions, values.restrict or None, values.case_insensitive)
    results.append({'vectors': path, 'words': len(kv), 'width': kv.vector_size, **found})
    if values.output is not None:  # before the table is printed, which may fail
      settings = {'restrict': values.restrict, 'case_insensitive': values.case_insensitive}
      with atomic_write(values.output) as file:
        file.write(f'{json.dumps(_plain({**settings, "results": results}), indent=2)}\n'.encode())
    print(f'{path}: {shown}{len(kv):,} words, width {kv.vector_size}\n')
    print(report(found), end='\n\n', flush=True)


def _plain(value: Any) -> Any:
  """NaN as null, which JSON has."""
  if isinstance(value, dict):
    return {key: _plain(item) for key, item in value.items()}
  if isinstance(value, list):
    return [_plain(item) for item in value]
  return None if isinstance(value, float) and math.isnan(value) else value


def main(argv: list[str]) -> None:
  """Runs the program; an error that the user can mend is one line."""
  with cli.one_line_errors():
    run(flags.FLAGS, argv[1:])


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of the program."""
  define = {'flag_values': values}
  flags.DEFINE_multi_string(
    'vectors', None, 'File of vectors in any format jw2v reads; may be given several times.',
    required=True, **define
  )  # fmt: skip
  flags.DEFINE_integer(
    'restrict', 300_000, 'Only so many of the first words are known, and answers; 0 for all.',
    lower_bound=0, **define
  )  # fmt: skip
  flags.DEFINE_float(
    'max_expansion', VECTORS_EXPANSION,
    'A compressed file of vectors may become so many times as large; 0 for any.',
    lower_bound=0, **define
  )  # fmt: skip
  flags.DEFINE_boolean('case_insensitive', True, 'Whether case does not matter.', **define)
  flags.DEFINE_integer('score_column', 3, 'Column of pairs with the score.', 3, **define)
  flags.DEFINE_string('output', None, 'JSON file to write the scores to.', **define)


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  app.run(main)
