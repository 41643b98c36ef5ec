"""Random draws of the trainer: kept words, window sizes, noise words.

Distributions are functions of word counts. Draws use a counter-based generator and depend on
(seed, epoch, chunk) only, so that chunk i of epoch e is the same in every process and order.
"""

from typing import Any, NamedTuple

import numpy as np


def noise_distribution(
  counts: np.ndarray, exponent: float = 0.75, kind: str = 'unigram'
) -> np.ndarray:
  r"""The distribution of the noise words.

  .. math:: q(w) = n_w^a / \sum_{w'} n_{w'}^a \text{ (unigram)}, \qquad
     q(w) = \frac{\log (1 + 1 / r_w)}{\log (V + 1)} \text{ (log-uniform)}

  with :math:`r_w` the rank of the word by its count, 1 for the most frequent: by Zipf's law,
  a unigram distribution that needs no counts.

  Args:
    counts: `[V]` occurrences of each word in the corpus.
    exponent: :math:`a` of 'unigram'; 0 is uniform, 1 the unigram distribution.
    kind: 'unigram', 'uniform' or 'log_uniform'.

  Returns:
    `[V]` float64 that sums to 1; a word that does not occur is never drawn.

  Raises:
    ValueError: no word occurs.

  References:
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, section 2.2.
  """
  counts = np.asarray(counts, np.float64)
  if not counts.any():
    raise ValueError('the counts of all words are 0: nothing can be drawn')
  if kind == 'log_uniform':
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind='stable')] = np.arange(1, len(counts) + 1)
    powers = np.where(counts > 0, np.log1p(1 / rank), 0)
  else:
    exponent = 0 if kind == 'uniform' else exponent
    powers = np.where(counts > 0, np.maximum(counts, 1) ** exponent, 0)
  return powers / powers.sum()


class AliasTable(NamedTuple):
  """A discrete distribution that is sampled in constant time."""

  threshold: np.ndarray  # [V] float32: the share of slot w that stays w
  alias: np.ndarray  # [V] int32: the id that the rest of slot w stands for


def alias_table(probabilities: np.ndarray) -> AliasTable:
  """Builds the alias table of a distribution in O(V).

  Args:
    probabilities: `[V]`, non-negative, with a positive sum (normalised here).

  Returns:
    The table for `sample_alias`.

  References:
    Walker, An efficient method for generating discrete random variables with general
    distributions, 1977; built by the algorithm of Vose, 1991.
  """
  share = np.asarray(probabilities, np.float64)
  share = share / share.sum() * len(share)
  alias, threshold = np.arange(len(share)), share.tolist()
  small = np.flatnonzero(share < 1).tolist()
  large = np.flatnonzero(share >= 1).tolist()
  while small and large:
    short, giver = small.pop(), large[-1]
    alias[short] = giver
    threshold[giver] -= 1 - threshold[short]
    if threshold[giver] < 1:
      small.append(large.pop())
  for index in small + large:  # what rounding has left over is full
    threshold[index] = 1.0
  return AliasTable(np.asarray(threshold, np.float32), alias.astype(np.int32))


def sample_alias(
  generator: np.random.Generator, table: AliasTable, shape: tuple[int, ...]
) -> np.ndarray:
  """Draws ids from the distribution of an alias table.

  Args:
    generator: of the host.
    table: the table.
    shape: shape of the result.

  Returns:
    int32 ids of that shape. One number decides both on the slot and on the share of it.
  """
  place = generator.random(shape) * len(table.alias)
  slot = place.astype(np.int32)
  return np.where(place - slot < table.threshold[slot], slot, table.alias[slot])


def keep_probability(counts: np.ndarray, sample: float) -> np.ndarray:
  r"""The probability with which an occurrence of each word is kept.

  .. math:: p(w) = \min\!\Big(1, \sqrt{t / f_w} + t / f_w\Big), \qquad f_w = n_w / N

  Args:
    counts: `[V]` occurrences of each word in the corpus.
    sample: :math:`t`; 0 keeps every word.

  Returns:
    `[V]` float32.

  References:
    The C tool's formula. Mikolov et al., `Distributed Representations of Words and
    Phrases <https://arxiv.org/abs/1310.4546>`_, 2013, eq. 5, has only the square root.
  """
  if not sample:
    return np.ones(len(counts), np.float32)
  ratio = sample * np.sum(counts) / np.maximum(np.asarray(counts, np.float64), 1)
  return np.minimum(1, np.sqrt(ratio) + ratio).astype(np.float32)


def chunk_generator(seed: int, epoch: int, chunk: int) -> np.random.Generator:
  """The generator of one chunk of one epoch; no two of them overlap.

  Args:
    seed: the seed of the run.
    epoch: number of the pass over the corpus.
    chunk: number of the chunk in it.

  Returns:
    A NumPy generator over the counter-based Philox.
  """
  return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, chunk, epoch]))


Array = Any  # of NumPy on the host, of JAX in a compiled step


class Blocks(NamedTuple):
  """Blocks of B consecutive windows, on host or device.

  The context of center b is the `left[b]` tokens before it and the `right[b]` tokens after it.
  These two sizes express windows of any size, line ends and the end of the text. A center with
  0 on both sides is padding. All ids are valid word ids, in padding too.
  """

  token_ids: Array  # [..., B + 2m] int32: m tokens, the B centers, m tokens
  left: Array  # [..., B] integers from 0 to m
  right: Array  # [..., B]
  negative_ids: Array  # [..., K] int32, the block's noise words
  # The rows of words with n-grams, added by `objectives.subwords.Subwords.attach`; else None.
  subword_slots: Any = None
  subword_rows: Any = None
  subword_owners: Any = None

  @property
  def margin(self) -> int:
    """The tokens on either side of the centers: m, the largest distance of a window."""
    return (self.token_ids.shape[-1] - self.left.shape[-1]) // 2

  @property
  def nbytes(self) -> int:
    """Memory in bytes."""
    return sum(x.nbytes for x in self if x is not None)

  def pad_subword_rows(self, length: int) -> 'Blocks':
    """Pads the lists of subword rows to a common length, for blocks of several processes."""
    if self.subword_rows is None or self.subword_rows.shape[-1] == length:
      return self
    fill = length - self.subword_rows.shape[-1]
    pad = lambda x, value: np.pad(x, ((0, 0), (0, 0), (0, fill)), constant_values=value)
    no_row = np.iinfo(np.int32).max
    return self._replace(
      subword_rows=pad(self.subword_rows, no_row), subword_owners=pad(self.subword_owners, 0)
    )


class Capacity(NamedTuple):
  """How many words a block takes where words differ in size.

  Attributes:
    sizes: `[V]` integers, at most the limit.
    limit: what the sizes of the centers of a block sum up to at most.
  """

  sizes: np.ndarray
  limit: int


def chunk_blocks(
  ids: np.ndarray,
  line_ends: np.ndarray,
  keep: np.ndarray,
  noise: AliasTable,
  generator: np.random.Generator,
  *,
  window: int,
  dynamic: bool,
  block_size: int,
  shared_negatives: int,
  capacity: Capacity | None = None,
) -> tuple[Blocks, np.ndarray]:
  """Subsamples a chunk of text and cuts it into blocks of windows.

  Words are dropped before windows are made, so that a window reaches over them, as in
  the C tool. A window never crosses a line.

  Args:
    ids: `[n]` the chunk's words.
    line_ends: where lines end in it, increasing; its own end may be left out.
    keep: `[V]` the probability of keeping each word.
    noise: the alias table of the noise words.
    generator: the chunk's generator.
    window: m, the largest distance between center and context word.
    dynamic: draw each window's distance from 1 to `window` with equal probability
      instead of taking `window` always.
    block_size: B, the centers of a block.
    shared_negatives: K, the noise words of a block.
    capacity: what a block has room for, apart from B centers; None for no such limit.

  Returns:
    The blocks of the words kept, in the order of the text, filled up with padding; and
    `[blocks]`, how many words of the chunk are read by the end of each.
  """
  positions = np.flatnonzero(generator.random(len(ids), np.float32) < keep[ids])
  num_kept = len(positions)
  radius = np.full(num_kept, window)
  if dynamic:
    radius = generator.integers(1, window + 1, num_kept, dtype=np.int32)
  bounds = np.concatenate([[0], np.searchsorted(positions, line_ends), [num_kept]])
  lengths = np.diff(bounds)  # words kept of each line
  place = np.arange(num_kept)
  left = np.minimum(radius, place - np.repeat(bounds[:-1], lengths))
  right = np.minimum(radius, np.repeat(bounds[1:], lengths) - 1 - place)

  starts = np.arange(0, num_kept, block_size)
  if capacity is not None:
    starts = _packed(capacity.sizes[ids[positions]], block_size, capacity.limit)
  ends = np.append(starts[1:], num_kept) if num_kept else starts
  tokens = np.zeros(num_kept + block_size + 2 * window, np.int32)
  tokens[window : window + num_kept] = ids[positions]
  windows_of_tokens = np.lib.stride_tricks.sliding_window_view(tokens, block_size + 2 * window)
  center = starts[:, None] + np.arange(block_size)
  is_center = center < ends[:, None]
  center = np.minimum(center, num_kept - 1)
  by_block = lambda sizes: sizes.astype(np.int16)[center] * is_center
  blocks = Blocks(
    windows_of_tokens[starts],
    by_block(left),
    by_block(right),
    sample_alias(generator, noise, (len(starts), shared_negatives)),
  )
  return blocks, positions[ends - 1] + 1


def _packed(sizes: np.ndarray, block_size: int, capacity: int) -> np.ndarray:
  """Where blocks begin that have at most `block_size` words, of the summed size `capacity`."""
  total = np.concatenate([[0], np.cumsum(sizes)])
  end = np.searchsorted(total, total[:-1] + capacity, side='right') - 1
  end = np.minimum(end, np.arange(block_size, len(sizes) + block_size)).tolist()
  starts, place = [], 0
  while place < len(sizes):
    starts.append(place)
    place = end[place]
  return np.array(starts, np.int64)
