"""The Huffman tree of a vocabulary: a short path from the root for each frequent word.

What belongs here: the tree of the hierarchical softmax, built from the counts of the words,
and the paths to its leaves.
"""

from typing import NamedTuple

import numpy as np


class HuffmanTree(NamedTuple):
  """The paths of V words through V - 1 inner nodes, padded to the longest.

  Attributes:
    node_ids: `[V, L]` int32, the inner nodes on the way from the root, node 0. They are
      numbered by falling count, that of all the words below them. Padding is V - 1, which no
      node is.
    codes: `[V, L]` bool, the branch taken at each: False where the probability of the word
      has sigmoid(score), True where it has sigmoid(-score). Padding is False.
    lengths: `[V]` int32, how many nodes are on each path.
  """

  node_ids: np.ndarray
  codes: np.ndarray
  lengths: np.ndarray


def huffman_tree(counts: np.ndarray) -> HuffmanTree:
  r"""Builds the tree that makes the mean path the shortest.

  The two rarest nodes become the branches of a new one, again and again: the rarer one by
  code 0, as in the C tool. The mean length :math:`\bar L` of the paths, weighted by the
  counts, is within one of the entropy :math:`H` of the words, :math:`H \le \bar L < H + 1`.

  Args:
    counts: `[V]` occurrences of each word, in any order.

  Returns:
    The paths of the words.

  Raises:
    ValueError: fewer than two words.

  References:
    Huffman, `A Method for the Construction of Minimum-Redundancy Codes
    <https://doi.org/10.1109/JRPROC.1952.273898>`_, 1952; from sorted counts with two queues,
    as van Leeuwen, On the construction of Huffman trees, 1976.
  """
  counts = np.asarray(counts, np.int64)
  num_words = len(counts)
  if num_words < 2:
    raise ValueError(f'a tree of {num_words} words: hierarchical softmax needs at least 2')
  order = np.argsort(-counts, kind='stable')[::-1]  # rarest first; of equal ones, the later
  weights = np.concatenate([counts[order], np.zeros(num_words - 1, np.int64)]).tolist()
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
