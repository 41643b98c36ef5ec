"""The tables at the start of a run, and the vectors at its end.

What belongs here: which row each word begins with, drawn at random or that of an earlier run,
and which vector it has in the end.
"""

from typing import Any

import numpy as np

from jw2v.config import TrainConfig
from jw2v.data.vocabulary import Vocabulary
from jw2v.distributed.layout import to_host
from jw2v.losses.window import Word2VecParams
from jw2v.ngrams import Ngrams
from jw2v.objectives.huffman import huffman_tree
from jw2v.objectives.subwords import Bags
from jw2v.vectors.keyed_vectors import KeyedVectors
from jw2v.vectors.subwords import SubwordVectors


def init_params(generator: np.random.Generator, num_words: int, dim: int) -> Word2VecParams:
  """The tables before training, as in the C tool.

  Args:
    generator: of the host.
    num_words: V.
    dim: D.

  Returns:
    Input vectors uniform in [-1/2D, 1/2D), output vectors zero; float32, of NumPy.
  """
  shape = (num_words, dim)
  center: Any = (generator.random(shape, np.float32) - np.float32(0.5)) / np.float32(dim)
  outside: Any = np.zeros_like(center)
  return Word2VecParams(center, outside)


def start_params(
  generator: np.random.Generator,
  config: TrainConfig,
  vocabulary: Vocabulary,
  bags: Bags | None,
  initial: Any,
) -> Word2VecParams:
  """The tables that a run starts with.

  Args:
    generator: of the host.
    config: the run's settings.
    vocabulary: its words.
    bags: the rows of the words, if they have n-grams.
    initial: the result of an earlier run, `KeyedVectors`, or None.
  """
  params = init_params(generator, len(vocabulary), config.dim)
  if bags is not None:
    ngrams = init_params(generator, len(bags.buckets), config.dim).center
    center: Any = np.concatenate([params.center, ngrams])
    params = params._replace(center=center)
  if initial is None:
    return params
  if isinstance(initial, KeyedVectors):
    return resume_params(params, vocabulary, initial, None, bags)
  objectives = {config.objective, initial.config.objective}
  outside = to_host(initial.params.outside)
  if 'hierarchical_softmax' in objectives:  # its rows are nodes, of one tree
    trees = [huffman_tree(x.counts) for x in (vocabulary, initial.vocabulary)]
    same = len(objectives) == 1 and vocabulary.words == initial.vocabulary.words
    if same and all(map(np.array_equal, *trees)):
      copied: Any = np.array(outside)
      params = params._replace(outside=copied)
    outside = None
  return resume_params(params, vocabulary, initial.vectors, outside, bags)


def check_initial(vectors: KeyedVectors, config: TrainConfig) -> None:
  """Refuses vectors that a run cannot start from.

  Raises:
    ValueError: they are not of the width of the run; or the run has n-grams, and they have
      none, others, or no rows of the words without them.
  """
  if vectors.vector_size != config.dim:
    raise ValueError(
      f'dim={config.dim}: the vectors to start from have width {vectors.vector_size}'
    )
  if config.has_subwords:
    chosen = config.minn, config.maxn, config.bucket
    theirs = None
    if isinstance(vectors, SubwordVectors):
      theirs = vectors.ngrams.min_n, vectors.ngrams.max_n, vectors.ngrams.buckets
    if theirs != chosen or getattr(vectors, 'word_rows', None) is None:
      found = 'none' if theirs is None else 'minn={}, maxn={}, bucket={}'.format(*theirs)
      raise ValueError(
        f'maxn={config.maxn}: the vectors to start from need the same n-grams, '
        f'minn={chosen[0]}, maxn={chosen[1]}, bucket={chosen[2]}; they have {found}'
      )


def resume_params(
  params: Word2VecParams,
  vocabulary: Vocabulary,
  vectors: Any,
  outside: np.ndarray | None = None,
  bags: Bags | None = None,
) -> Word2VecParams:
  """Puts the vectors of an earlier run in the rows of their words, and of their n-grams.

  Args:
    params: tables for the words of `vocabulary`, kept for words that are new.
    vocabulary: the words of this run.
    vectors: the words and input vectors of the earlier one; `SubwordVectors` with `bags`.
    outside: its output vectors, if there are any, a row for each of its words.
    bags: the rows of the words, if they have n-grams.

  Returns:
    New tables.

  Raises:
    ValueError: no word is in both.
  """
  index = vectors.key_to_index
  shared = [(i, index[word]) for i, word in enumerate(vocabulary.words) if word in index]
  if not shared:
    raise ValueError('none of the words of the corpus has a vector to start from')
  new, old = np.array(shared).T

  def replaced(table, rows):
    table = np.array(table)
    table[new] = np.asarray(rows)[old]
    return table

  center = replaced(params.center, vectors.vectors if bags is None else vectors.word_rows)
  if bags is not None:
    rows, known = vectors.ngrams.find(bags.buckets)
    center[len(vocabulary) + np.flatnonzero(known)] = vectors.ngrams.vectors[rows[known]]
  if outside is not None:
    params = params._replace(outside=replaced(params.outside, outside))
  return params._replace(center=center)


def make_vectors(
  vocabulary: Vocabulary, config: TrainConfig, bags: Bags | None, params: Word2VecParams
) -> KeyedVectors:
  """The words of a run with the vectors that its center table makes."""
  # A copy: the table may be donated to the next step.
  center = np.array(to_host(params.center), np.float32)
  if bags is None:
    return KeyedVectors(vocabulary.words, center)
  num_words, order = len(vocabulary), np.argsort(bags.buckets)
  ngrams = Ngrams(
    center[num_words:][order], config.minn, config.maxn, config.bucket, bags.buckets[order]
  )
  return SubwordVectors(vocabulary.words, None, ngrams, center[:num_words], vocabulary.counts)
