"""Huffman tree: the shortest mean path, built as in the C tool."""

import heapq
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jw2v import hierarchical_softmax_loss
from jw2v.objectives.huffman import huffman_tree

COUNTS = [
  [1, 1],
  [5, 3, 2],
  [90, 40, 40, 20, 11, 9, 5, 2, 1],
  [7] * 11,
  [2**i for i in range(20, 0, -1)],  # a path as long as the vocabulary
  np.random.default_rng(0).permutation(1000) + 1,  # in no order
]


def paths(tree):
  """Returns the code of each word as text."""
  rows = zip(tree.codes, tree.lengths, strict=True)
  return [''.join('01'[int(bit)] for bit in codes[:length]) for codes, length in rows]


@pytest.mark.parametrize('counts', COUNTS, ids=range(len(COUNTS)))
class TestTree:
  def test_no_path_is_shorter_in_the_mean(self, counts):
    """Compares summed path lengths with the weight of all merges, equal in any Huffman tree."""
    heap, total = list(map(int, counts)), 0
    heapq.heapify(heap)
    while len(heap) > 1:
      merged = heapq.heappop(heap) + heapq.heappop(heap)
      total += merged
      heapq.heappush(heap, merged)
    assert np.dot(counts, huffman_tree(counts).lengths) == total

  def test_within_one_of_the_entropy(self, counts):
    share = np.array(counts) / np.sum(counts)
    entropy, length = -share @ np.log2(share), share @ huffman_tree(counts).lengths
    assert entropy - 1e-9 <= length < entropy + 1

  def test_no_code_begins_another(self, counts):
    codes = sorted(paths(huffman_tree(counts)))
    assert all(not b.startswith(a) for a, b in itertools.pairwise(codes))

  def test_words_share_the_nodes_where_their_codes_agree(self, counts):
    tree, nodes = huffman_tree(counts), {}
    for code, row in zip(paths(tree), tree.node_ids, strict=True):
      for depth in range(len(code)):
        assert nodes.setdefault(code[:depth], row[depth]) == row[depth]
    assert sorted(nodes.values()) == list(range(len(counts) - 1)) and nodes[''] == 0

  def test_nodes_are_numbered_by_falling_count(self, counts):
    tree, below = huffman_tree(counts), np.zeros(len(counts), np.int64)
    for count, row, length in zip(counts, tree.node_ids, tree.lengths, strict=True):
      below[row[:length]] += count
    assert np.all(np.diff(below[:-1]) <= 0) and below[0] == np.sum(counts)

  def test_padding(self, counts):
    tree = huffman_tree(counts)
    for row, codes, length in zip(*tree, strict=True):
      assert np.all(row[length:] == len(counts) - 1) and not codes[length:].any()
    assert tree.lengths.max() == tree.node_ids.shape[1]

  @pytest.mark.slow
  @pytest.mark.usefixtures('float64')
  def test_the_probabilities_of_all_words_sum_to_one(self, counts):
    tree, rng = huffman_tree(counts), np.random.default_rng(1)
    table, center = rng.normal(size=(len(counts), 6)), rng.normal(size=6)
    mask = tree.node_ids < len(counts) - 1
    loss = [
      hierarchical_softmax_loss(center, table[nodes], jnp.asarray(codes), mask=jnp.asarray(m))
      for nodes, codes, m in list(zip(tree.node_ids, tree.codes, mask, strict=True))[:300]
    ]
    if len(counts) <= 300:
      assert np.exp(-np.array(loss)).sum() == pytest.approx(1, abs=1e-12)


def test_codes_by_hand():
  """Merges 1 + 2 = 3, then 3 + 3 = 6; of equal weights, a node precedes an earlier leaf."""
  assert paths(huffman_tree([8, 3, 2, 1])) == ['1', '01', '001', '000']


def test_codes_are_those_of_gensim():
  """Matches gensim for counts without ties, which have a single tree."""
  word2vec = pytest.importorskip('gensim.models.word2vec')
  counts = np.sort(np.random.default_rng(0).choice(10**9, 3000, replace=False))[::-1]
  model = word2vec.Word2Vec(hs=1, negative=0, min_count=1)
  model.build_vocab_from_freq({str(i): int(n) for i, n in enumerate(counts)})
  codes = [model.wv.get_vecattr(str(i), 'code') for i in range(len(counts))]
  assert [''.join(map(str, code)) for code in codes] == paths(huffman_tree(counts))


@pytest.mark.parametrize('weights', [jnp.array([50, 30, 15, 5]), [0.5, 0.3, 0.15, 0.05]])
def test_weights_of_any_kind(weights):
  tree = huffman_tree(weights)
  for part, want in zip(tree, huffman_tree([50, 30, 15, 5]), strict=True):
    assert type(part) is np.ndarray
    np.testing.assert_array_equal(part, want)


@pytest.mark.parametrize(
  ('counts', 'reason'),
  [
    ([[1, 2]], r'have one axis and at least one element, got shape \(1, 2\)'),
    ([1, np.nan], 'be finite and at least 0, got nan at index 1'),
    ([2, -1], 'be finite and at least 0, got -1 at index 1'),
  ],
)
def test_counts_that_are_refused(counts, reason):
  with pytest.raises(ValueError, match=f'^counts must {reason}$'):
    huffman_tree(counts)


def test_one_word_is_no_tree():
  with pytest.raises(ValueError, match='at least 2 elements'):
    huffman_tree([3])
