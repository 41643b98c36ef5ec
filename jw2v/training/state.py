"""The state of a run: both tables and the state of their optimizers.

The tables start at random or from the vectors of an earlier run, and become `KeyedVectors` at the
end.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jw2v.config import TrainConfig
from jw2v.data import sampling
from jw2v.data.vocabulary import Vocabulary
from jw2v.distributed.layout import Layout, to_host
from jw2v.losses.window import Word2VecParams
from jw2v.ngrams import Ngrams
from jw2v.objectives.huffman import huffman_tree
from jw2v.objectives.subwords import Subwords
from jw2v.optim import RowwiseTransformation, curvature_damped_sgd, rowwise
from jw2v.vectors.keyed_vectors import KeyedVectors, SubwordVectors

_INIT_EPOCH = 2**31 + 1  # its random numbers are used by no epoch of training
_OPTAX = {
  'sgd': optax.sgd,
  'adagrad': optax.adagrad,
  'adam': optax.adam,
  'rmsprop': optax.rmsprop,
}


class TrainState(NamedTuple):
  """The arrays that a step reads and writes."""

  params: Word2VecParams
  center_optimizer: optax.OptState
  outside_optimizer: optax.OptState


def make_optimizer(config: TrainConfig, width_axis: str | None = None) -> RowwiseTransformation:
  """Returns the row-wise optimizer of a config; its state includes the learning rate.

  Args:
    config: the settings.
    width_axis: axis of the device mesh that the columns of the tables are split over.
  """
  if config.optimizer == 'curvature_damped_sgd':
    return curvature_damped_sgd(config.learning_rate, axis_name=width_axis)
  inject = optax.inject_hyperparams(_OPTAX[config.optimizer], hyperparam_dtype=jnp.float32)
  return rowwise(inject(learning_rate=config.learning_rate))


def abstract_state(
  optimizer: RowwiseTransformation, num_rows: tuple[int, int], dim: int
) -> TrainState:
  """Returns the shapes and dtypes of a state without allocating it.

  Args:
    optimizer: the row-wise optimizer.
    num_rows: rows of the center table and of the outside table.
    dim: D, the width of both.
  """

  def make():
    tables = Word2VecParams(*(jnp.zeros((rows, dim), jnp.float32) for rows in num_rows))
    return TrainState(tables, *map(optimizer.init, tables))

  return jax.eval_shape(make)


def init_state(
  params: Word2VecParams, optimizer: RowwiseTransformation, layout: Layout = Layout()
) -> TrainState:
  """Places the initial tables on the devices of a run and initializes the optimizer.

  Args:
    params: tables in host memory, since a single device may not have room for all columns.
    optimizer: the row-wise optimizer.
    layout: the devices.
  """
  params = layout.put_state(params)
  return TrainState(params, *(layout.initialize(optimizer.init, table) for table in params))


def random_params(generator: np.random.Generator, num_words: int, dim: int) -> Word2VecParams:
  """Returns tables initialized as in the C tool.

  Args:
    generator: NumPy generator.
    num_words: V.
    dim: D.

  Returns:
    Center vectors uniform in [-1/2D, 1/2D), outside vectors zero; NumPy float32.
  """
  shape = (num_words, dim)
  center: Any = (generator.random(shape, np.float32) - np.float32(0.5)) / np.float32(dim)
  outside: Any = np.zeros_like(center)
  return Word2VecParams(center, outside)


def initial_params(
  vocabulary: Vocabulary, config: TrainConfig, subwords: Subwords | None, initial: Any
) -> Word2VecParams:
  """Returns the tables at the start of a run.

  Args:
    vocabulary: the words of the run.
    config: its settings, for the seed, the width and the objective.
    subwords: the rows of words with n-grams.
    initial: the `TrainResult` of an earlier run, `KeyedVectors`, or None.
  """
  generator = sampling.chunk_generator(config.seed, _INIT_EPOCH, 0)
  params = random_params(generator, len(vocabulary), config.dim)
  if subwords is not None:
    ngrams = random_params(generator, len(subwords.buckets), config.dim).center
    center: Any = np.concatenate([params.center, ngrams])
    params = params._replace(center=center)
  if initial is None:
    return params
  if isinstance(initial, KeyedVectors):
    return warm_start(params, vocabulary, initial, None, subwords)
  objectives = {config.objective, initial.config.objective}
  outside = to_host(initial.params.outside)
  if 'hierarchical_softmax' in objectives:  # its rows are the nodes of one tree
    trees = [huffman_tree(x.counts) for x in (vocabulary, initial.vocabulary)]
    same = len(objectives) == 1 and vocabulary.words == initial.vocabulary.words
    if same and all(map(np.array_equal, *trees)):
      copied: Any = np.array(outside)
      params = params._replace(outside=copied)
    outside = None
  return warm_start(params, vocabulary, initial.vectors, outside, subwords)


def check_initial(vectors: KeyedVectors, config: TrainConfig) -> None:
  """Raises an error for vectors that a run cannot start from.

  Raises:
    ValueError: the vectors have another width; or the run has n-grams, and the vectors have no
      n-grams, different ones, or no rows of the words without them.
  """
  if vectors.vector_size != config.dim:
    raise ValueError(
      f'dim must be {vectors.vector_size}, the width of the initial vectors, got {config.dim}'
    )
  if config.has_subwords:
    chosen = config.minn, config.maxn, config.bucket
    theirs = None
    if isinstance(vectors, SubwordVectors):
      theirs = vectors.ngrams.min_n, vectors.ngrams.max_n, vectors.ngrams.buckets
    if theirs != chosen or getattr(vectors, 'word_rows', None) is None:
      found = 'none' if theirs is None else 'minn={}, maxn={}, bucket={}'.format(*theirs)
      raise ValueError(
        f'the initial vectors must have the n-grams of the run, minn={chosen[0]}, '
        f'maxn={chosen[1]}, bucket={chosen[2]}, and word rows, got {found}'
      )


def warm_start(
  params: Word2VecParams,
  vocabulary: Vocabulary,
  vectors: Any,
  outside: np.ndarray | None = None,
  subwords: Subwords | None = None,
) -> Word2VecParams:
  """Copies the vectors of an earlier run to the rows of their words and n-grams.

  Args:
    params: tables for the words of `vocabulary`; the rows of new words are unchanged.
    vocabulary: the words of this run.
    vectors: the words and vectors of the earlier run; `SubwordVectors` if `subwords` is given.
    outside: output vectors of the earlier run, one row for each of its words; or None.
    subwords: the rows of words with n-grams.

  Returns:
    New tables.

  Raises:
    ValueError: the two vocabularies have no word in common.
  """
  index = vectors.key_to_index
  shared = [(i, index[word]) for i, word in enumerate(vocabulary.words) if word in index]
  if not shared:
    raise ValueError(
      'the initial vectors must contain at least one word of the corpus, got none; '
      'check that both use the same tokenization'
    )
  new, old = np.array(shared).T

  def replaced(table, rows):
    table = np.array(table)
    table[new] = np.asarray(rows)[old]
    return table

  center = replaced(params.center, vectors.vectors if subwords is None else vectors.word_rows)
  if subwords is not None:
    rows, known = vectors.ngrams.find(subwords.buckets)
    center[len(vocabulary) + np.flatnonzero(known)] = vectors.ngrams.vectors[rows[known]]
  if outside is not None:
    params = params._replace(outside=replaced(params.outside, outside))
  return params._replace(center=center)


def export_vectors(
  vocabulary: Vocabulary, subwords: Subwords | None, params: Word2VecParams
) -> KeyedVectors:
  """Returns the vectors of the words, from the center table."""
  # A copy, since the next step may overwrite the donated table.
  center = np.array(to_host(params.center), np.float32)
  if subwords is None:
    return KeyedVectors(vocabulary.words, center)
  num_words, order = len(vocabulary), np.argsort(subwords.buckets)
  ngrams = Ngrams(
    center[num_words:][order],
    subwords.minn,
    subwords.maxn,
    subwords.bucket,
    subwords.buckets[order],
  )
  return SubwordVectors(vocabulary.words, None, ngrams, center[:num_words], vocabulary.counts)
