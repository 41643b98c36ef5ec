r"""Scores vectors on word similarity and analogies.

  jw2v evaluate vectors.txt wordsim353.tsv questions-words.txt
  jw2v evaluate --vectors a.txt --vectors b.bin --output scores.json lists/*

The first file has the vectors, unless --vectors names it. The other files are lists of questions.
The program detects their kind from their lines:

  pairs       two words and a score per line, separated by tabs, commas or spaces (WordSim-353,
              MEN, RareWords); with --score_column=4 the score is in the fourth column, as in
              the original SimLex-999
  analogies   four words per line, in sections that start with a line ": name" (the file
              questions-words.txt of the C tool)

For pairs, the table has Spearman's and Pearson's correlation of cosines with scores, and their
p-values. Spearman "of all" assigns a cosine of 0 to pairs with an unknown word. For analogies, it
has the accuracy of 3CosAdd and 3CosMul; "of all" counts questions with an unknown word as wrong.
"known" is the share of lines whose words are all among the first --restrict words, the most
frequent ones. The scores agree with gensim's. --output=FILE.json writes them as JSON.
"""

import argparse
import json
import math
import os
import pathlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jw2v
from jw2v.cli import vectors
from jw2v.cli.arguments import Parser, integer, natural
from jw2v.cli.tables import markdown_table
from jw2v.formats.text import is_number
from jw2v.utils.files import atomic_write, check_output, expanded
from jw2v.vectors import evaluation
from jw2v.vectors.evaluation import Question


def read_questions(path: str | os.PathLike, score_column: int = 3) -> tuple[str, Any]:
  """Reads a file of pairs or of analogies.

  A file contains analogies if its first line that is not a comment starts with `:`, or has four
  words without a number, tab or comma.

  Args:
    path: the file.
    score_column: column of the score in a file of pairs, counted from 1.

  Returns:
    'pairs' or 'analogies', and the result of `read_pairs` or `read_analogies`.

  Raises:
    OSError: the file cannot be read.
    ValueError: the file has an invalid line, with its number.
  """
  with open(expanded(path), encoding='utf-8-sig', errors='replace') as file:
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
  """Returns the correlations of cosines with human judgments of similarity.

  Args:
    kv: the vectors.
    pairs: (word, word, score).
    restrict: number of first words that count as known; None for all.
    case_insensitive: True to ignore case.

  Returns:
    `count`, the number of pairs; `known`, the number of known pairs; `spearman` and `pearson` of
    the known pairs, each with its `_pvalue`; and `spearman_all`, which assigns a cosine of 0 to
    unknown pairs. A correlation is NaN for fewer than two pairs, and if all cosines or all scores
    are equal.
  """
  how = (kv, pairs, restrict, case_insensitive)
  scores: dict[str, float] = {'count': len(pairs), 'known': 0}
  scores |= dict.fromkeys(
    ('spearman', 'spearman_pvalue', 'pearson', 'pearson_pvalue', 'spearman_all'), math.nan
  )
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # scipy warns, and returns NaN
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
  """Returns the accuracy on analogies by section.

  Args:
    kv: the vectors.
    sections: questions (a, b, c, d) by section.
    restrict: number of first words that count as known and can be answers; None for all.
    case_insensitive: True to ignore case.
    functions: names from `evaluation.SIMILARITY_FUNCTIONS`, 3CosAdd and 3CosMul.

  Returns:
    For each section, and last for the total: its name as `section`, the `count` of its questions,
    the number of `known` questions, and for each function the accuracy on known questions, NaN
    without known questions.
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
      results = [{'correct': [], 'incorrect': []} for _ in rows]
    for row, result in zip(rows, results, strict=True):
      known = len(result['correct']) + len(result['incorrect'])
      row['known'], row[function] = known, len(result['correct']) / known if known else math.nan
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
    questions: for each file its name and the result of `read_questions`.
    restrict: number of first words that count as known and can be answers; None for all.
    case_insensitive: True to ignore case.
    functions: functions that answer analogies.

  Returns:
    `pairs` and `analogies`, with a dictionary for each file: its name as `file`, and the result of
    `score_pairs`, or the result of `score_analogies` as `sections`.
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
  """Returns the cells of the table for files of pairs."""
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
  """Returns the cells of the table for a file of analogies."""
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
  """Returns the result of `score` as Markdown tables."""
  tables = [pairs_table(scores['pairs'])] if scores['pairs'] else []
  tables += [
    analogies_table(pathlib.Path(row['file']).name, row['sections']) for row in scores['analogies']
  ]
  return '\n\n'.join(map(markdown_table, tables))


def run(values: Any) -> None:
  """Scores the vectors that the arguments name, after reading all files of questions."""
  named, files = (values.vectors, values.files) if values.vectors else (
    values.files[:1], values.files[1:]
  )  # fmt: skip
  if not files:
    raise ValueError(
      'name a file of pairs or analogies after the vectors: jw2v evaluate vectors.txt pairs.tsv'
    )
  if values.output is not None:
    check_output(values.output)
  questions = [(path, *read_questions(path, values.score_column)) for path in files]
  results = []
  for path in named:
    kv = vectors.load(path, values.max_expansion)
    some = 0 < values.restrict < len(kv)
    shown = f'the first {values.restrict:,} of ' if some else ''
    found = score(kv, questions, values.restrict or None, values.case_insensitive)
    results.append({'vectors': path, 'words': len(kv), 'width': kv.vector_size, **found})
    if values.output is not None:  # before printing, which may fail
      settings = {'restrict': values.restrict, 'case_insensitive': values.case_insensitive}
      with atomic_write(values.output) as file:
        file.write(f'{json.dumps(_plain({**settings, "results": results}), indent=2)}\n'.encode())
    print(f'{path}: {shown}{len(kv):,} words, width {kv.vector_size}\n')
    print(report(found), end='\n\n', flush=True)


def _plain(value: Any) -> Any:
  """Replaces NaN by None, because JSON has no NaN."""
  if isinstance(value, dict):
    return {key: _plain(item) for key, item in value.items()}
  if isinstance(value, list):
    return [_plain(item) for item in value]
  return None if isinstance(value, float) and math.isnan(value) else value


def add_arguments(parser: Parser) -> None:
  """Adds the arguments of the command."""
  parser.add('files', nargs='*', metavar='VECTORS LIST', help='file of vectors, and lists')
  parser.add(
    '--vectors', action='append', metavar='FILE',
    help='file of vectors, or the workdir of a run; repeatable',
  )  # fmt: skip
  parser.add(
    '--restrict', kind=natural, default=300_000, metavar='N',
    help='number of first words that count as known and can be answers; 0 for all '
    '(default: %(default)s)',
  )  # fmt: skip
  parser.add(
    '--case-insensitive', action=argparse.BooleanOptionalAction, default=True,
    help='ignore case (default)',
  )  # fmt: skip
  parser.add('--nocase-insensitive', dest='case_insensitive', action='store_false',
             help=argparse.SUPPRESS)  # fmt: skip
  parser.add(
    '--score-column', kind=integer, default=3, metavar='N',
    help='column of the score in files of pairs, from 3 (default: %(default)s)',
  )  # fmt: skip
  parser.add('--output', metavar='FILE', help='JSON file to write the scores to')
  vectors.add_expansion(parser)
