"""The objective of a run: an architecture, which makes windows of blocks, and what they cost.

What belongs here: which functions the names of a config stand for, and the arrays over the
vocabulary that they look up.
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
from jw2v.losses.window import Word2VecParams
from jw2v.objectives import architectures, logistic, softmax
from jw2v.objectives.huffman import HuffmanTree, huffman_tree
from jw2v.objectives.scores import Products
from jw2v.objectives.subwords import Bags, bag_vectors, make_bags
from jw2v.optim import RowGradients

HOT_NODES = 15  # of the Huffman tree, that all blocks share
NODES_PER_WORD = 10  # of the others: so many times its centers a block has room for


class ObjectiveRows(NamedTuple):
  """Sums over a batch of blocks and their gradients."""

  loss: jax.Array  # [] sum over all predictions of the measured blocks
  predictions: jax.Array  # [] float32, their weight: pairs in skip-gram, windows in CBOW
  center: RowGradients
  outside: RowGradients


class Preparation(NamedTuple):
  """What an objective needs to know of the vocabulary.

  Attributes:
    lookups: arrays by name, of words or nodes; arguments of the compiled step, since constants
      in it would be slow.
    capacity: what limits the words of a block, the nodes of the tree that it has room for.
    bags: the rows of words with n-grams.
  """

  lookups: dict[str, Any]
  capacity: sampling.Capacity | None = None
  bags: Bags | None = None


def prepare(config: TrainConfig, vocabulary: Vocabulary) -> Preparation:
  """What the objective of a config needs for a vocabulary.

  Args:
    config: the run's settings.
    vocabulary: the words with their counts.

  Raises:
    ValueError: a tile that is larger than the vocabulary, or fewer than two words for a tree.
  """
  counts = vocabulary.counts
  lookups: dict[str, Any] = {}
  capacity = bags = None
  if config.softmax_tile is not None and config.softmax_tile > len(counts):
    raise ValueError(
      f'softmax_tile={config.softmax_tile}: must be from 1 to {len(counts)}, the words there are'
    )
  if config.objective == 'hierarchical_softmax':
    tree = tree_lookups(huffman_tree(counts), config.block_size)
    lookups['tree'] = tree
    capacity = sampling.Capacity(np.asarray(tree.lengths), len(tree.places))
  if config.objective in ('nce', 'sampled_softmax'):
    noise = sampling.noise_distribution(counts, config.noise_exponent, config.noise)
    # NCE takes the model as normalised: here by V, as it is where all vectors are zero.
    normalizer = len(counts) if config.objective == 'nce' else 1
    lookups['log_expected'] = log_expected(noise * normalizer, config.negatives or 1)
  if config.has_subwords:
    bags = make_bags(vocabulary.words, counts, config.minn, config.maxn, config.bucket)
    lookups['bag_sizes'] = bags.sizes
  return Preparation(lookups, capacity, bags)


def log_expected(noise: np.ndarray, negatives: float) -> np.ndarray:
  """`[V]` float32, log(k q(w)): how often each word is expected among k noise words."""
  return np.log(negatives * np.maximum(noise, 1e-30)).astype(np.float32)


def tree_lookups(tree: HuffmanTree, block_size: int) -> logistic.TreeLookups:
  """The paths of a tree for the step; its first nodes apart from the others."""
  num_words = len(tree.lengths)
  num_hot = min(HOT_NODES, num_words - 1)
  word, place = np.nonzero(tree.node_ids < num_words - 1)
  node, code = tree.node_ids[word, place], tree.codes[word, place]
  hot_codes: Any = np.zeros((num_words, num_hot), np.int8)
  is_hot = node < num_hot
  hot_codes[word[is_hot], node[is_hot]] = 1 - 2 * code[is_hot]
  word, node, code = (x[~is_hot] for x in (word, node, code))
  lengths: Any = np.bincount(word, minlength=num_words).astype(np.int32)
  starts: Any = (np.cumsum(lengths) - lengths).astype(np.int32)
  # A word of the longest path has room, alone if need be.
  places: Any = np.arange(max(block_size * NODES_PER_WORD, lengths.max(initial=1)), dtype=np.int32)
  nodes: Any = np.append((2 * node + code).astype(np.int32), np.int32(0))
  return logistic.TreeLookups(hot_codes, nodes, starts, lengths, places)


def centers_predict(config: TrainConfig) -> bool:
  """Whether the vectors that predict are those of the centers, or of the words around."""
  return config.architecture == 'skip_gram' and config.objective != 'hierarchical_softmax'


def make_objective(
  config: TrainConfig, width_axis: str | None = None
) -> Callable[..., ObjectiveRows]:
  """The objective of a config, with its gradients as rows.

  Args:
    config: the run's settings.
    width_axis: the axis of the device mesh that the width of both tables is split over.

  Returns:
    `objective(params, blocks, lookups, measured=None)`: the sums over some blocks, of which
    only the first `measured` are in the loss and the predictions.
  """
  is_cbow = config.architecture == 'cbow'
  windows_of: Callable = architectures.cbow if is_cbow else architectures.skip_gram_of_context
  if centers_predict(config):
    windows_of = architectures.skip_gram
  windows_of = functools.partial(windows_of, weighting=config.distance_weights)
  if is_cbow:
    windows_of = functools.partial(windows_of, divide_gradient=config.cbow_gradient == 'exact')
  dtype = None if config.product_dtype == 'float32' else config.product_dtype
  cost = _loss_of(config, Products(width_axis, dtype))

  def objective(
    params: Word2VecParams, batch: Blocks, lookups: dict[str, Any], measured: int | None = None
  ) -> ObjectiveRows:
    vectors_of = architectures.word_rows
    if config.has_subwords:
      vectors_of = functools.partial(bag_vectors, batch, lookups['bag_sizes'])
    windows, pull = windows_of(params.center, batch, vectors_of=vectors_of)
    gradients = cost(windows, batch, params.outside, lookups, measured)
    return ObjectiveRows(
      gradients.loss,
      jnp.sum(windows.totals[:measured].astype(jnp.float32)),
      pull(gradients.vectors, gradients.curvature),
      gradients.outside,
    )

  return objective


def _loss_of(config, products):
  """`cost(windows, batch, table, lookups, measured)` of the config's objective."""
  if config.objective == 'naive_softmax':

    def naive(windows, batch, table, lookups, measured):
      del batch, lookups
      size = tiled_softmax.tile_size(config.softmax_tile, len(table))
      return softmax.naive_softmax(windows, table, tile=size, measured=measured, products=products)

    return naive
  if config.objective == 'hierarchical_softmax':
    return lambda windows, batch, table, lookups, measured: logistic.hierarchical_softmax(
      windows, lookups['tree'], table, measured=measured, products=products
    )
  if config.objective == 'sampled_softmax':
    return lambda windows, batch, table, lookups, measured: softmax.sampled_softmax(
      windows, batch.negative_ids, table, log_expected=lookups['log_expected'],
      measured=measured, products=products,
    )  # fmt: skip
  return lambda windows, batch, table, lookups, measured: logistic.negative_sampling(
    windows, batch.negative_ids, table, negatives=config.negatives,
    log_expected=lookups.get('log_expected'), measured=measured, products=products,
  )  # fmt: skip
