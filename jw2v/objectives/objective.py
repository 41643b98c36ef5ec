"""The objective of a run: an architecture combined with a loss.

`make_objective` resolves the names of a config to functions, and computes the constants over the
vocabulary that these functions read.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.config import TrainConfig
from jw2v.data import sampling
from jw2v.data.sampling import Blocks
from jw2v.data.vocabulary import Vocabulary
from jw2v.losses import tiled_softmax
from jw2v.losses.rows import RowGradients
from jw2v.losses.window import Word2VecParams
from jw2v.objectives import architectures, logistic, softmax
from jw2v.objectives.huffman import huffman_tree, tree_paths
from jw2v.objectives.scores import ALL, Gradients, Measured, Products, sample
from jw2v.objectives.subwords import Subwords, make_subwords, subword_vectors


class ObjectiveRows(NamedTuple):
  """The objective summed over a batch of blocks, with its gradients."""

  loss: jax.Array  # [] sum over all predictions of the measured blocks
  predictions: jax.Array  # [] float32 summed weight of these: pairs in skip-gram, windows in CBOW
  center: RowGradients
  outside: RowGradients


class Objective(NamedTuple):
  """The objective of a run.

  Attributes:
    rows: `rows(params, blocks, constants, measured=ALL) -> ObjectiveRows`, the sums over a
      batch of blocks. The loss, the predictions and the sample of the curvature cover the blocks
      that `measured` selects, see `scores.Measured`.
    constants: arrays by name, of words or nodes. They are arguments of the compiled step, since
      constants embedded in it would be slow.
    num_rows: the number of rows of the center table and of the outside table.
    touches_all_rows: True if a step has a gradient for every row of the outside table.
    capacity: limit on the tree nodes of a block's words; or None.
    attach: function of (blocks, lists) that adds the rows of n-grams to blocks; or None.
    subwords: the rows of words with n-grams; or None.
  """

  rows: Callable[..., ObjectiveRows]
  constants: dict[str, Any]
  num_rows: tuple[int, int]
  touches_all_rows: bool = False
  capacity: sampling.Capacity | None = None
  attach: Callable[..., Blocks] | None = None
  subwords: Subwords | None = None


def make_objective(
  config: TrainConfig, vocabulary: Vocabulary, width_axis: str | None = None
) -> Objective:
  """Makes the objective of a config for a vocabulary.

  Args:
    config: the run's settings.
    vocabulary: the words with their counts.
    width_axis: axis of the device mesh that the width of both tables is split over.

  Raises:
    ValueError: the tile is larger than the vocabulary, or a tree has fewer than two words.
  """
  counts = vocabulary.counts
  constants: dict[str, Any] = {}
  capacity = attach = subwords = None
  if config.softmax_tile is not None and config.softmax_tile > len(counts):
    raise ValueError(
      f'softmax_tile must be from 1 to {len(counts)}, the size of the vocabulary, '
      f'got {config.softmax_tile}'
    )
  if config.objective == 'hierarchical_softmax':
    tree = tree_paths(huffman_tree(counts), config.block_size)
    constants['tree'] = tree
    capacity = sampling.Capacity(tree.lengths, len(tree.slots))
  if config.objective in ('nce', 'sampled_softmax'):
    kind = config.noise_exponent, config.noise
    noise = sampling.noise_distribution(sampling.noise_counts(counts, *kind), *kind)
    # NCE treats the model as normalized: here by V, as it is when all vectors are zero.
    normalizer = len(counts) if config.objective == 'nce' else 1
    expected = sampling.log_expected_counts(noise * normalizer, config.negatives or 1)
    constants['log_expected'] = expected.astype(np.float32)
  num_rows = len(counts), len(counts)
  if config.has_subwords:
    subwords = make_subwords(vocabulary.words, counts, config.minn, config.maxn, config.bucket)
    constants['subword_sizes'] = subwords.sizes
    num_rows = subwords.num_rows, len(counts)
    of_centers = centers_predict(config)
    attach = lambda blocks, lists: subwords.attach(blocks, of_centers, lists)
  return Objective(
    block_objective(config, width_axis), constants, num_rows,
    config.objective == 'naive_softmax', capacity, attach, subwords,
  )  # fmt: skip


def centers_predict(config: TrainConfig) -> bool:
  """Returns True if the centers predict, False if the context does."""
  return config.architecture == 'skip_gram' and config.objective != 'hierarchical_softmax'


def block_objective(
  config: TrainConfig, width_axis: str | None = None
) -> Callable[..., ObjectiveRows]:
  """Returns `Objective.rows` of a config: the loss over blocks with its gradients as rows."""
  is_cbow = config.architecture == 'cbow'
  predict: Callable = architectures.cbow if is_cbow else architectures.skip_gram_of_context
  if centers_predict(config):
    predict = architectures.skip_gram
  if config.distance_weights != 'equal':
    by_distance = architectures.distance_weights(config.distance_weights, config.window)
    predict = functools.partial(predict, by_distance=by_distance)
  if is_cbow:
    predict = functools.partial(predict, divide_gradient=config.cbow_gradient == 'exact')
  dtype = None if config.product_dtype == 'float32' else config.product_dtype
  products = Products(width_axis, dtype)
  loss = _loss(config, products)

  def rows(
    params: Word2VecParams, blocks: Blocks, constants: dict[str, Any], measured: Measured = ALL
  ) -> ObjectiveRows:
    vectors_of = architectures.word_rows
    if config.has_subwords:
      vectors_of = functools.partial(subword_vectors, blocks, constants['subword_sizes'])
    predictions, vjp = predict(params.center, blocks, vectors_of=vectors_of)
    gradients = loss(predictions, blocks, params.outside, constants, measured)
    of_tables = [vjp(gradients.vectors, gradients.curvature), gradients.outside]
    if measured.common is not None:
      samples = _measure(gradients, measured)
      pairs = zip(of_tables, measured.common, strict=True)
      along = products.over_width(
        *(jnp.matmul(rows.values, m, precision='highest') for rows, m in pairs)
      )
      of_tables = [
        rows._replace(sample=sample_of, common=common)
        for rows, sample_of, common in zip(of_tables, samples, along, strict=True)
      ]
    totals = sample(predictions.totals, measured).astype(jnp.float32)
    return ObjectiveRows(gradients.loss, jnp.sum(totals), *of_tables)

  return rows


def _measure(gradients: Gradients, measured: Measured) -> Word2VecParams:
  """Returns the samples of the curvature of both tables."""
  assert measured.common is not None
  # Along the gradients of the predicting vectors; the gradients of rows are sums of these.
  along = sample(gradients.vectors, measured)
  measure = lambda: gradients.measure(along, measured.common)
  zeros = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(measure))
  return jax.lax.cond(measured.curvature, measure, zeros) if along.size else zeros()


def _loss(config, products):
  """Returns `loss(predictions, blocks, table, constants, measured)` of the config's objective."""
  if config.objective == 'naive_softmax':

    def naive(predictions, blocks, table, constants, measured):
      del blocks, constants
      size = config.softmax_tile or tiled_softmax.default_tile_size(len(table))
      return softmax.naive_softmax(
        predictions, table, tile=size, measured=measured, products=products
      )

    return naive
  if config.objective == 'hierarchical_softmax':
    return lambda predictions, blocks, table, constants, measured: logistic.hierarchical_softmax(
      predictions, constants['tree'], table, measured=measured, products=products
    )
  if config.objective == 'sampled_softmax':
    return lambda predictions, blocks, table, constants, measured: softmax.sampled_softmax(
      predictions, blocks.negative_ids, table, log_expected=constants['log_expected'],
      measured=measured, products=products,
    )  # fmt: skip
  # 'negative_sampling', or 'nce', whose constants have `log_expected`
  return lambda predictions, blocks, table, constants, measured: logistic.negative_sampling(
    predictions, blocks.negative_ids, table, negatives=config.negatives,
    log_expected=constants.get('log_expected'), measured=measured, products=products,
  )  # fmt: skip
