"""The Huffman tree of the hierarchical softmax: frequent words have short paths from the root.

`huffman_tree` builds the tree from word counts; `tree_paths` arranges its paths for the compiled
step.
"""

from typing import Any, NamedTuple

import numpy as np

from jw2v.utils.checks import check_weights

HOT_NODES = 15  # nodes next to the root, which all blocks share
NODES_PER_WORD = 10  # slots of a block for other nodes, per center


class HuffmanTree(NamedTuple):
  """Paths of V words through the V - 1 inner nodes of a tree, padded to the longest path.

  Attributes:
    node_ids: `[V, L]` int32, the inner nodes on the path of each word, from the root, which is
      node 0. Nodes are numbered by the summed count of the words below them, largest first.
      Padding is V - 1, which is not a node.
    codes: `[V, L]` bool, the branch at each node: the probability of the branch is sigmoid(score)
      for False, and sigmoid(-score) for True. Padding is False.
    lengths: `[V]` int32, number of nodes on each path.
  """

  node_ids: np.ndarray
  codes: np.ndarray
  lengths: np.ndarray


def huffman_tree(counts: Any) -> HuffmanTree:
  r"""Builds the binary tree of words with the shortest mean path.

  The algorithm repeatedly joins the two nodes with the smallest counts to a new node. As in the C
  tool, the node with the smaller count gets code 0. The mean length :math:`\bar L` of the paths,
  weighted by the counts, is within one of the entropy :math:`H` of the words,
  :math:`H \le \bar L < H + 1`.

  Args:
    counts: `[V]` occurrences of each word, or other weights, in any order; an array of NumPy or
      JAX.

  Returns:
    The paths of the words, as NumPy arrays.

  Raises:
    ValueError: `counts` has more than one axis or fewer than two elements, or contains a negative
      number, NaN or infinity.

  References:
    Huffman, `A Method for the Construction of Minimum-Redundancy Codes
    <https://doi.org/10.1109/JRPROC.1952.273898>`_, 1952; from sorted counts with two queues,
    as van Leeuwen, On the construction of Huffman trees, 1976.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> tree = jw2v.huffman_tree([8, 3, 2, 1])
    >>> tree.lengths.tolist()
    [1, 2, 3, 3]
    >>> center, node_vectors = jnp.zeros(5), jnp.zeros((3, 5))
    >>> nodes, code = tree.node_ids[2], tree.codes[2]
    >>> loss = jw2v.hierarchical_softmax_loss(center, node_vectors[nodes], code, mask=nodes < 3)
    >>> round(float(jnp.exp(-loss)), 3)  # probability of word 2: half at each of 3 nodes
    0.125
  """
  counts = check_weights('counts', counts)
  num_words = len(counts)
  if num_words < 2:
    raise ValueError(f'counts must have at least 2 elements for a tree, got {num_words}')
  order = np.argsort(-counts, kind='stable')[::-1]  # rarest first; of equal ones, the later
  weights = np.concatenate([counts[order], np.zeros(num_words - 1, counts.dtype)]).tolist()
  parent = np.zeros(2 * num_words - 1, np.int64)  # of the words as sorted, then of the nodes
  is_one = np.zeros(2 * num_words - 1, bool)
  leaf, inner = 0, num_words  # the rarest word, and the rarest node, that have no parent yet
  for node in range(num_words, 2 * num_words - 1):
    for branch in (False, True):
      if leaf < num_words and (inner == node or weights[leaf] < weights[inner]):
        child, leaf = leaf, leaf + 1
      else:
        child, inner = inner, inner + 1
      weights[node] += weights[child]
      parent[child], is_one[child] = node, branch

  # Down the tree, level by level; nodes are numbered by creation, and the root comes last.
  root = 2 * num_words - 2
  depth = np.zeros(2 * num_words - 1, np.int32)
  for node in range(root - 1, -1, -1):
    depth[node] = depth[parent[node]] + 1
  lengths = depth[:num_words]
  node_ids = np.full((num_words, lengths.max()), num_words - 1, np.int32)
  codes = np.zeros(node_ids.shape, bool)
  here, word = np.arange(num_words), np.arange(num_words)
  while len(word):  # all words at once, from the leaves up
    place = depth[here] - 1
    node_ids[word, place] = root - parent[here]
    codes[word, place] = is_one[here]
    here = parent[here]
    word, here = word[here != root], here[here != root]
  by_id = np.argsort(order)
  return HuffmanTree(node_ids[by_id], codes[by_id], lengths[by_id])


class TreePaths(NamedTuple):
  """The paths of all words, split at the H hot nodes.

  Attributes:
    hot_codes: `[V, H]` int8: 1 for code 0, -1 for code 1, 0 for a node not on the path.
    nodes: the other nodes of all paths, one path after another: int32, twice the number of the
      node, plus 1 for code 1.
    starts: `[V]` start of each word in `nodes`.
    lengths: `[V]` number of nodes of each word in `nodes`.
    slots: `[O]` 0, 1, ...: the slots of a block for such nodes.
  """

  hot_codes: Any
  nodes: Any
  starts: Any
  lengths: Any
  slots: Any


def tree_paths(tree: HuffmanTree, block_size: int) -> TreePaths:
  """Arranges the paths of a tree for the compiled step, with the hot nodes apart.

  Args:
    tree: the tree of V words.
    block_size: B, the centers of a block.
  """
  num_words = len(tree.lengths)
  num_hot = min(HOT_NODES, num_words - 1)
  word, depth = np.nonzero(tree.node_ids < num_words - 1)
  node, code = tree.node_ids[word, depth], tree.codes[word, depth]
  hot_codes = np.zeros((num_words, num_hot), np.int8)
  is_hot = node < num_hot
  hot_codes[word[is_hot], node[is_hot]] = 1 - 2 * code[is_hot]
  word, node, code = (x[~is_hot] for x in (word, node, code))
  lengths = np.bincount(word, minlength=num_words).astype(np.int32)
  starts = (np.cumsum(lengths) - lengths).astype(np.int32)
  # At least as many slots as the longest path has nodes.
  slots = np.arange(max(block_size * NODES_PER_WORD, lengths.max(initial=1)), dtype=np.int32)
  nodes = np.append((2 * node + code).astype(np.int32), np.int32(0))
  return TreePaths(hot_codes, nodes, starts, lengths, slots)
