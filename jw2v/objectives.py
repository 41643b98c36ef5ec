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

from jw2v import binary, blocks, sampling, softmax, tiled
from jw2v.config import TrainConfig
from jw2v.huffman import HuffmanTree, huffman_tree
from jw2v.rowwise import RowGradients
from jw2v.sampling import Blocks
from jw2v.windows import Word2VecParams


HOT_NODES = 15  # of the Huffman tree, that all blocks share
NODES_PER_WORD = 10  # of the others: so many times its centers a block has room for


class ObjectiveRows(NamedTuple):
  """Sums over a batch of blocks and their gradients."""

  loss: jax.Array  # [] sum over all predictions of the measured blocks
  predictions: jax.Array  # [] float32, their weight: pairs in skip-gram, windows in CBOW
  center: RowGradients
  outside: RowGradients


def make_lookups(config: TrainConfig, counts: np.ndarray) -> dict[str, np.ndarray]:
  """What the objective looks up by word; arguments of the compiled step, not constants in it.

  Args:
    config: the run's settings.
    counts: `[V]` occurrences of each word.

  Returns:
    Arrays by name.

  Raises:
    ValueError: a tile that is larger than the vocabulary, or fewer than two words for a tree.
  """
  if config.objective == 'naive_softmax':
    if config.softmax_tile is not None and config.softmax_tile > len(counts):
      raise ValueError(
        f'softmax_tile={config.softmax_tile}: must be from 1 to {len(counts)}, the words there are'
      )
    return {}
  if config.objective == 'hierarchical_softmax':
    return {'tree': tree_lookups(huffman_tree(counts), config.block_size)}
  if config.objective in ('nce', 'sampled_softmax'):
    noise = sampling.noise_distribution(counts, config.noise_exponent, config.noise)
    return {'log_expected': log_expected(noise, config.negatives)}
  return {}


def log_expected(noise: np.ndarray, negatives: float) -> np.ndarray:
  """`[V]` float32, log(k q(w)): how often each word is expected among k noise words."""
  return np.log(negatives * np.maximum(noise, 1e-30)).astype(np.float32)


def tree_lookups(tree: HuffmanTree, block_size: int) -> binary.TreeLookups:
  """The paths of a tree for the step; its first nodes apart from the others."""
  num_words = len(tree.lengths)
  num_hot = min(HOT_NODES, num_words - 1)
  word, place = np.nonzero(tree.node_ids < num_words - 1)
  node, code = tree.node_ids[word, place], tree.codes[word, place]
  hot_codes = np.zeros((num_words, num_hot), np.int8)
  is_hot = node < num_hot
  hot_codes[word[is_hot], node[is_hot]] = 1 - 2 * code[is_hot]
  word, node, code = (x[~is_hot] for x in (word, node, code))
  lengths = np.bincount(word, minlength=num_words).astype(np.int32)
  starts = (np.cumsum(lengths) - lengths).astype(np.int32)
  # A word of the longest path has room, alone if need be.
  places = np.arange(max(block_size * NODES_PER_WORD, lengths.max(initial=1)), dtype=np.int32)
  nodes = (2 * node + code).astype(np.int32)
  return binary.TreeLookups(hot_codes, np.append(nodes, np.int32(0)), starts, lengths, places)


def costs_of(lookups: dict[str, Any]) -> sampling.Costs | None:
  """What limits the words of a block: the nodes of the tree that it has room for."""
  tree = lookups.get('tree')
  return None if tree is None else sampling.Costs(np.asarray(tree.lengths), len(tree.places))


def make_objective(config: TrainConfig) -> Callable[..., ObjectiveRows]:
  """The objective of a config, with its gradients as rows.

  Args:
    config: the run's settings.

  Returns:
    `objective(params, blocks, lookups, measured=None)`: the sums over some blocks, of which
    only the first `measured` are in the loss and the predictions.
  """
  is_cbow = config.architecture == 'cbow'
  windows_of: Callable = blocks.cbow if is_cbow else blocks.skip_gram
  if config.objective == 'hierarchical_softmax' and not is_cbow:
    windows_of = blocks.skip_gram_of_context
  windows_of = functools.partial(windows_of, weighting=config.distance_weights)
  if is_cbow:
    windows_of = functools.partial(windows_of, divide_gradient=config.cbow_gradient == 'exact')
  cost = _cost(config)

  def objective(
    params: Word2VecParams, batch: Blocks, lookups: dict[str, Any], measured: int | None = None
  ) -> ObjectiveRows:
    windows, pull = windows_of(params.center, batch)
    gradients = cost(windows, batch, params.outside, lookups, measured)
    return ObjectiveRows(
      gradients.loss,
      jnp.sum(windows.totals[:measured].astype(jnp.float32)),
      pull(gradients.vectors, gradients.curvature),
      gradients.outside,
    )

  return objective


def _cost(config):
  """`cost(windows, batch, table, lookups, measured)` of the config's objective."""
  if config.objective == 'naive_softmax':

    def naive(windows, batch, table, lookups, measured):
      del batch, lookups
      size = tiled.tile_size(config.softmax_tile, len(table))
      return softmax.naive_softmax(windows, table, tile=size, measured=measured)

    return naive
  if config.objective == 'hierarchical_softmax':
    return lambda windows, batch, table, lookups, measured: binary.hierarchical_softmax(
      windows, lookups['tree'], table, measured=measured
    )
  if config.objective == 'sampled_softmax':
    return lambda windows, batch, table, lookups, measured: softmax.sampled_softmax(
      windows, batch.negative_ids, table, log_expected=lookups['log_expected'], measured=measured
    )
  return lambda windows, batch, table, lookups, measured: binary.negative_sampling(
    windows, batch.negative_ids, table, negatives=config.negatives,
    log_expected=lookups.get('log_expected'), measured=measured,
  )  # fmt: skip
