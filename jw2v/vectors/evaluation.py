"""Evaluation of word vectors on ratings and analogies, with the same results as gensim."""

import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import logging

from jw2v.utils.files import expanded
from jw2v.vectors.lookup import WordVectors
from jw2v.vectors.search import nearest_to_combinations

SIMILARITY_FUNCTIONS = ('most_similar', 'most_similar_cosmul')
_ANSWERS = 5  # candidates per question; the first that is not a word of the question counts

Question = tuple[str, str, str, str]


def _lines(path: str | os.PathLike[str], encoding: str) -> Iterator[tuple[int, str]]:
  with open(expanded(path), encoding=encoding, newline='\n') as file:
    try:
      for number, line in enumerate(file, start=1):
        line = line.removeprefix('\ufeff') if number == 1 else line  # some editors add it
        if line.strip():
          yield number, line.rstrip('\r\n')
    except UnicodeDecodeError as error:
      raise ValueError(f'{path}: {error}; convert the file to UTF-8, or set encoding') from error


def read_pairs(
  path: str | os.PathLike[str],
  delimiter: str | None = None,
  encoding: str = 'utf8',
  score_column: int = 3,
) -> list[tuple[str, str, float]]:
  """Reads pairs of words with a score, one pair per line; skips lines that start with `#`.

  Args:
    path: the file.
    delimiter: separator of the columns. If not given, a tab if the line has one, else a comma
      if the line has at least two, else white space.
    encoding: encoding of the file.
    score_column: number of the column with the score, at least 3. The first two columns are
      the words, and the others are ignored.

  Raises:
    OSError: the file cannot be read.
    ValueError: a line is not a pair with a score, the file has no pair, or `score_column` is
      below 3. The first line may be a heading, with a name in place of the score.
  """
  if score_column < 3:
    raise ValueError(
      f'score_column must be at least 3, got {score_column}; the words are columns 1 and 2'
    )
  pairs, first = [], True
  for number, line in _lines(path, encoding):
    if line.startswith('#'):
      continue
    heading, first = first, False
    guess = '\t' if '\t' in line else ',' if line.count(',') >= 2 else None
    fields = [field.strip() for field in line.split(delimiter or guess)]
    try:
      score = float(fields[score_column - 1])
      if not (np.isfinite(score) and fields[0] and fields[1]):
        raise ValueError
    except (IndexError, ValueError):
      is_name = len(fields) >= score_column and not re.match(r'[-+.]?\d', fields[score_column - 1])
      if heading and is_name:
        continue
      raise ValueError(
        f'{path}: line {number} must be two words and, in column {score_column}, a score, '
        f'got {line[:200]!r}; score_column= names another column'
      ) from None
    pairs.append((fields[0], fields[1], score))
  if not pairs:
    raise ValueError(f'{path}: contains no pairs of words')
  return pairs


def read_analogies(path: str | os.PathLike[str]) -> dict[str, list[Question]]:
  """Reads questions of four words, one per line, in sections that start with `: name`.

  Args:
    path: the file.

  Returns:
    The questions by section. Questions before the first heading are in the section ''.

  Raises:
    OSError: the file cannot be read.
    ValueError: a line does not have four words, or the file has no question.
  """
  sections: dict[str, list[Any]] = {}
  name = ''
  for number, line in _lines(path, 'utf8'):
    if line.startswith(':'):
      name = line.lstrip(':').strip()
      sections.setdefault(name, [])
    elif len(words := line.split()) == 4:
      sections.setdefault(name, []).append(tuple(words))
    else:
      raise ValueError(f'{path}: line {number} must have 4 words, got {len(words)}: {line[:200]!r}')
  if not any(sections.values()):
    raise ValueError(f'{path}: contains no questions')
  return sections


def _index(words: list[str], case_insensitive: bool) -> dict[str, int]:
  """Returns the row of each word, or of its first variant if case is ignored."""
  if not case_insensitive:
    return {word: row for row, word in enumerate(words)}
  return {words[row].upper(): row for row in reversed(range(len(words)))}


def evaluate_pairs(
  kv: WordVectors,
  pairs: list[tuple[str, str, float]],
  restrict_vocab: int | None = 300_000,
  case_insensitive: bool = True,
  dummy4unknown: bool = False,
) -> tuple[Any, Any, float]:
  """Computes the correlations of cosines with the scores of pairs.

  Args:
    kv: the vectors.
    pairs: (word, word, score).
    restrict_vocab: number of words, from the first, to use; None for all.
    case_insensitive: True to ignore case, and use the first variant of a word.
    dummy4unknown: True to score pairs with unknown words with cosine 0; False to skip them.

  Returns:
    Pearson's and Spearman's correlation, each with `statistic` and `pvalue` (the results of
    scipy), and the percentage of pairs with an unknown word.

  Raises:
    ValueError: fewer than two pairs have two known words.
  """
  from scipy import stats  # a second to import; jax depends on it

  index = _index(kv.index_to_key[:restrict_vocab], case_insensitive)
  fold = str.upper if case_insensitive else str
  rows = [(index.get(fold(a), -1), index.get(fold(b), -1)) for a, b, _ in pairs]
  first, second = np.array(rows).reshape(-1, 2).T
  scores, known = np.array([score for *_, score in pairs]), (first >= 0) & (second >= 0)
  cosines = np.zeros(len(pairs))
  product = np.einsum('nd,nd->n', kv.vectors[first[known]], kv.vectors[second[known]])
  cosines[known] = product / (kv.norms[first[known]] * kv.norms[second[known]])
  counted = known | dummy4unknown
  if counted.sum() < 2:
    raise ValueError(
      f'at least 2 of the {len(pairs)} pairs must have two known words, got {known.sum()}'
    )
  scores, cosines = scores[counted], cosines[counted]
  share = 100 * float(np.mean(~known))
  return stats.pearsonr(scores, cosines), stats.spearmanr(scores, cosines), share


def evaluate_analogies(
  kv: WordVectors,
  sections: dict[str, list[Question]],
  restrict_vocab: int | None = 300_000,
  case_insensitive: bool = True,
  dummy4unknown: bool = False,
  similarity_function: str = 'most_similar',
) -> tuple[float, list[dict[str, Any]]]:
  """Computes the accuracy on analogies: a is to b as c is to the word nearest to b - a + c.

  Args:
    kv: the vectors.
    sections: questions (a, b, c, d) by section.
    restrict_vocab: number of words, from the first, that are known and may be answers; None
      for all.
    case_insensitive: True to ignore case, and use the first variant of a word.
    dummy4unknown: True to count questions with unknown words as wrong; False to skip them.
    similarity_function: 'most_similar' for 3CosAdd, 'most_similar_cosmul' for 3CosMul.

  Returns:
    The share of correct answers. Also a dict for each section, and one for 'Total accuracy',
    with `section` and the lists of questions `correct` and `incorrect`, in upper case if case
    is ignored. The words a, b and c are never answers.

  Raises:
    ValueError: the similarity function is unknown, or every question has an unknown word.
  """
  if similarity_function not in SIMILARITY_FUNCTIONS:
    raise ValueError(
      f'similarity_function must be one of {", ".join(map(repr, SIMILARITY_FUNCTIONS))}, got '
      f'{similarity_function!r}'
    )
  words, fold = kv.index_to_key[:restrict_vocab], str.upper if case_insensitive else str
  index = _index(words, case_insensitive)
  asked = [(name, tuple(map(fold, q))) for name, questions in sections.items() for q in questions]
  known = [question for _, question in asked if all(word in index for word in question)]
  right = set(_answered(kv, words, known, index, fold, similarity_function))
  results: dict[str, dict[str, Any]] = {
    name: {'section': name, 'correct': [], 'incorrect': []} for name in sections
  }
  total: dict[str, Any] = {'section': 'Total accuracy', 'correct': [], 'incorrect': []}
  may_ask = set(known)
  for name, question in asked:
    if question in may_ask or dummy4unknown:
      verdict = 'correct' if question in right else 'incorrect'
      results[name][verdict].append(question)
      total[verdict].append(question)
  count = len(total['correct']) + len(total['incorrect'])
  if not count:
    raise ValueError(
      f'at least 1 of the {len(asked)} questions must have four known words, got none'
    )
  logging.info('%d of %d questions have an unknown word', len(asked) - len(known), len(asked))
  return len(total['correct']) / count, [*results.values(), total]


def _answered(kv, words, questions, index, fold, similarity_function) -> list[Question]:
  """Returns the questions whose answer is their fourth word."""
  if not questions:
    return []
  asked = np.array([[index[word] for word in question[:3]] for question in questions])
  terms, place = np.unique(asked, return_inverse=True)
  a, b, c = place.reshape(asked.shape).T
  rows, _ = nearest_to_combinations(
    kv.vectors[: len(words)], kv.norms[: len(words)], kv.vectors[terms] / kv.norms[terms, None],
    np.stack([b, c], axis=1), a[:, None], multiply=similarity_function == 'most_similar_cosmul',
    excluded=asked, k=_ANSWERS,
  )  # fmt: skip
  right = []
  for question, answers in zip(questions, rows.tolist(), strict=True):
    found = (fold(words[row]) for row in answers if row >= 0)
    if next((word for word in found if word not in question[:3]), None) == question[3]:
      right.append(question)
  return right
