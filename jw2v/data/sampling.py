"""Random draws of the trainer: kept words, window sizes, noise words.

Distributions are functions of word counts. Draws use a counter-based generator and depend on
(seed, epoch, chunk) only, so that chunk i of epoch e is the same in every process and order.
"""

import math
import numbers
from typing import Any, NamedTuple

import numpy as np

from jw2v.utils.checks import check_number, check_weights

# The smallest probability in `log_expected_counts`, which keeps the logarithm finite in float32.
_LEAST_PROBABILITY = 1e-30

# Fills lists of rows of a table.
NO_ROW = np.iinfo(np.int32).max

Array = Any  # of NumPy on the host, of JAX in a compiled step


def noise_distribution(counts: Array, exponent: float = 0.75, kind: str = 'unigram') -> np.ndarray:
  r"""Computes the distribution that negatives are drawn from.

  .. math:: q(w) = \frac{n_w^a}{\sum_{w'} n_{w'}^a} \text{ (unigram)}, \qquad
     q(w) \propto \log (1 + 1 / r_w) \text{ (log-uniform)}

  with :math:`r_w` the rank of the word by its count, 1 for the most frequent. By Zipf's law, the
  log-uniform distribution is close to a unigram distribution with exponent 1.

  Args:
    counts: `[V]` occurrences :math:`n_w` of each word or item, an array of NumPy or JAX.
    exponent: :math:`a` of 'unigram'; 0 is uniform, 1 is proportional to the counts.
    kind: 'unigram', 'uniform' or 'log_uniform'.

  Returns:
    `[V]` float64 NumPy array that sums to 1. The probability of a word with count 0 is 0.

  Raises:
    ValueError: `counts` is empty, has more than one axis, contains a negative number, NaN or
      infinity, or only zeros; `kind` is unknown; or `exponent` is not a finite number, or so large
      that a power overflows.

  References:
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, section 2.2.

  Example:
    >>> import jw2v
    >>> jw2v.noise_distribution([16, 1, 0]).round(3).tolist()
    [0.889, 0.111, 0.0]
  """
  counts = check_weights('counts', counts).astype(np.float64)
  if not counts.any():
    raise ValueError('counts must contain a positive number, got only zeros')
  if kind not in ('unigram', 'uniform', 'log_uniform'):
    raise ValueError(f"kind must be 'unigram', 'uniform' or 'log_uniform', got {kind!r}")
  if not isinstance(exponent, numbers.Real) or not math.isfinite(exponent):
    raise ValueError(f'exponent must be a finite number, got {exponent!r}')
  if kind == 'log_uniform':
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind='stable')] = np.arange(1, len(counts) + 1)
    powers = np.where(counts > 0, np.log1p(1 / rank), 0)
  else:
    exponent = 0 if kind == 'uniform' else exponent
    with np.errstate(over='ignore', under='ignore'):
      powers = np.where(counts > 0, np.where(counts > 0, counts, 1) ** exponent, 0)
  total = powers.sum()
  if not 0 < total < math.inf:
    raise ValueError(f'exponent must keep the powers of the counts finite, got {exponent}')
  return powers / total


def noise_counts(
  counts: np.ndarray, exponent: float, kind: str, is_drawn: bool = True
) -> np.ndarray:
  """Returns the counts of a vocabulary for `noise_distribution`.

  They are all 1 for a vocabulary without counts (`Vocabulary.of_words`), if the noise does not
  depend on them or is not drawn.

  Raises:
    ValueError: the noise depends on counts, which are all 0.
  """
  if counts.any():
    return counts
  if is_drawn and kind == 'unigram' and exponent != 0:
    raise ValueError(
      'the vocabulary must have counts for unigram noise, got only zeros; call '
      'encode_corpus(known=vocabulary), which counts them, or set noise to uniform'
    )
  return np.ones_like(counts)


def log_expected_counts(probabilities: Array, num_draws: Array) -> Array:
  r"""Computes the logarithm of the expected count of each word in a number of draws.

  .. math:: \log(K q(w))

  The score of a word minus this number is the corrected score of `nce_loss` and
  `sampled_softmax_loss`. With in-batch negatives it is the logQ correction: there, K is the number
  of items in a batch and q(w) the probability that an item of a batch is w.

  NumPy arrays and lists give a NumPy array. JAX arrays give a JAX array, also under `jax.jit`.

  A probability below 1e-30, such as 0, counts as 1e-30, so that the result is finite. An observed
  word that is never drawn as noise then has the loss and gradient of the limit, which are 0 to
  float32 precision. Such a word is not among negatives that are drawn from q. Negatives from
  elsewhere would have very large losses: set the correction of these to +inf, which drops them.

  Args:
    probabilities: q(w), array of any shape.
    num_draws: K, a positive number, not necessarily an integer.

  Returns:
    Array in the shape of `probabilities`: float64 if these are float64, else float32. In a JAX
    array, the result for a negative probability or NaN is NaN.

  Raises:
    ValueError: a number is not real; or a NumPy array or list contains a negative number or NaN, or
      `num_draws` is a number that is not positive and finite.

  References:
    Yi et al., `Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations
    <https://doi.org/10.1145/3298689.3346996>`_, 2019, for in-batch negatives.

  Example:
    >>> import numpy as np, jw2v
    >>> counts = np.array([60, 30, 10])
    >>> log_q = jw2v.log_expected_counts(counts / counts.sum(), 5)  # 5 negatives per pair
    >>> np.exp(log_q).round(2).tolist()
    [3.0, 1.5, 0.5]
    >>> items = np.array([2, 0, 1, 0])  # a batch: each row has the items of the others as negatives
    >>> correction = jw2v.log_expected_counts(counts / counts.sum(), len(items))[items]
    >>> scores = np.zeros((4, 4)) - correction  # [query, item]
    >>> scores.round(2)[0].tolist()
    [0.92, -0.88, -0.18, -0.88]
  """
  if not hasattr(probabilities, '__array_namespace__'):
    probabilities = np.asarray(probabilities)
  xp = probabilities.__array_namespace__()  # numpy or jax.numpy, so that this works in jit
  if not xp.isdtype(probabilities.dtype, ('real floating', 'integral')):
    raise ValueError(f'probabilities must be real numbers, got {probabilities.dtype}')
  if isinstance(num_draws, numbers.Real) and not 0 < float(num_draws) < math.inf:
    raise ValueError(f'num_draws must be positive and finite, got {num_draws}')
  if isinstance(probabilities, np.ndarray) and not (probabilities >= 0).all():
    wrong = probabilities[~(probabilities >= 0)][0]
    raise ValueError(f'probabilities must be at least 0, got {wrong}')
  if probabilities.dtype != np.float64:
    probabilities = probabilities.astype(np.float32)
  num_draws = xp.asarray(num_draws, dtype=probabilities.dtype)
  floored = xp.where(probabilities < 0, math.nan, xp.maximum(probabilities, _LEAST_PROBABILITY))
  return xp.log(num_draws * floored)


class AliasTable(NamedTuple):
  """Discrete distribution over V ids for sampling in constant time; `alias_table` builds it.

  Each of V slots has the same probability. Slot w yields the id w with the probability
  `threshold[w]`, and otherwise the id `alias[w]`. The table is a pytree: pass it to a function
  under `jax.jit` as an argument.

  Attributes:
    threshold: `[V]` float32, from 0 to 1.
    alias: `[V]` int32 ids.
  """

  threshold: np.ndarray
  alias: np.ndarray


def alias_table(probabilities: Array) -> AliasTable:
  """Builds the alias table of a distribution in O(V).

  Args:
    probabilities: `[V]` numbers of at least 0 with a positive sum, an array of NumPy or JAX. The
      function divides them by their sum.

  Returns:
    The table for `sample_alias`, as NumPy arrays.

  Raises:
    ValueError: `probabilities` is empty, has more than one axis, or contains a negative number, NaN
      or infinity; or the sum is 0 or infinite.

  References:
    Walker, `An Efficient Method for Generating Discrete Random Variables with General Distributions
    <https://doi.org/10.1145/355744.355749>`_, 1977; built by the algorithm of Vose, `A linear
    algorithm for generating random numbers with a given distribution
    <https://doi.org/10.1109/32.92917>`_, 1991.

  Example:
    >>> import jax, jw2v
    >>> table = jw2v.alias_table(jw2v.noise_distribution([8, 4, 1]))
    >>> jw2v.sample_alias(jax.random.key(0), table, (2, 5)).shape
    (2, 5)
  """
  share = check_weights('probabilities', probabilities).astype(np.float64)
  with np.errstate(over='ignore'):
    total = share.sum()
  if not 0 < total < math.inf:
    raise ValueError(f'probabilities must have a positive and finite sum, got {total}')
  share = share / total * len(share)
  alias, threshold = np.arange(len(share)), share.tolist()
  small = np.flatnonzero(share < 1).tolist()
  large = np.flatnonzero(share >= 1).tolist()
  while small and large:
    short, giver = small.pop(), large[-1]
    alias[short] = giver
    threshold[giver] -= 1 - threshold[short]
    if threshold[giver] < 1:
      small.append(large.pop())
  for index in small + large:  # slots left over by rounding are full
    threshold[index] = 1.0
  return AliasTable(np.asarray(threshold, np.float32), alias.astype(np.int32))


def draw_alias(
  generator: np.random.Generator, table: AliasTable, shape: tuple[int, ...]
) -> np.ndarray:
  """Draws ids from the distribution of an alias table on the host, for the trainer.

  Args:
    generator: NumPy generator.
    table: the table.
    shape: shape of the result.

  Returns:
    int32 ids. One float64 number decides both on the slot and on the share of the slot.
  """
  place = generator.random(shape) * len(table.alias)
  slot = place.astype(np.int32)
  return np.where(place - slot < table.threshold[slot], slot, table.alias[slot])


def keep_probability(counts: Array, sample: float) -> np.ndarray:
  r"""Computes the probability of keeping an occurrence of each word when subsampling.

  .. math:: p(w) = \min\!\Big(1, \sqrt{t / f_w} + t / f_w\Big), \qquad f_w = n_w / N

  Args:
    counts: `[V]` occurrences :math:`n_w` of each word, with the sum :math:`N`; an array of NumPy
      or JAX.
    sample: :math:`t`, such as 1e-4; 0 keeps every word.

  Returns:
    `[V]` float32 NumPy array. The probability of a word with count 0 is 1.

  Raises:
    ValueError: `counts` is empty, has more than one axis, or contains a negative number, NaN or
      infinity; or `sample` is not a number of at least 0.

  References:
    The formula of the C tool. Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, eq. 5, has only the square root.

  Example:
    >>> import jw2v
    >>> jw2v.keep_probability([900, 90, 10], 0.01).round(3)
    array([0.117, 0.444, 1.   ], dtype=float32)
  """
  counts = check_weights('counts', counts)
  sample = check_number('sample', sample, float, 0)
  if not sample:
    return np.ones(len(counts), np.float32)
  ratio = sample * np.sum(counts) / np.where(counts > 0, counts, 1).astype(np.float64)
  return np.where(counts > 0, np.minimum(1, np.sqrt(ratio) + ratio), 1).astype(np.float32)


def chunk_generator(seed: int, epoch: int, chunk: int) -> np.random.Generator:
  """Returns the random generator of one chunk of one epoch; generators do not overlap.

  Args:
    seed: the seed of the run.
    epoch: number of the pass over the corpus.
    chunk: number of the chunk.

  Returns:
    A NumPy generator over the counter-based Philox.
  """
  return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, chunk, epoch]))


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
  # The rows of both tables that a dispatch needs, added by `distributed.rows`; else None.
  requests: Any = None

  @property
  def margin(self) -> int:
    """Number m of tokens on either side of the centers: the largest distance in a window."""
    return (self.token_ids.shape[-1] - self.left.shape[-1]) // 2

  @property
  def nbytes(self) -> int:
    """Memory in bytes."""
    arrays = *self[:-1], *(self.requests or ())
    return sum(x.nbytes for x in arrays if x is not None)

  @property
  def lengths(self) -> list[int]:
    """Margin and lengths of the lists of rows, which differ between dispatches."""
    subword_rows = [] if self.subword_rows is None else [self.subword_rows.shape[-1]]
    return [self.margin, *subword_rows, *(len(rows) for rows in self.requests or ())]

  def pad(self, lengths: list[int]) -> 'Blocks':
    """Pads blocks to the `lengths` that several processes agreed on."""
    margin, *lengths = lengths
    more, blocks = margin - self.margin, self
    sides = lambda x: np.pad(x, ((0, 0), (0, 0), (more, more)))
    if blocks.subword_rows is not None:
      if blocks.subword_slots.shape == blocks.token_ids.shape:
        blocks = blocks._replace(subword_slots=sides(blocks.subword_slots))
      fill = ((0, 0), (0, 0), (0, lengths.pop(0) - blocks.subword_rows.shape[-1]))
      blocks = blocks._replace(
        subword_rows=np.pad(blocks.subword_rows, fill, constant_values=NO_ROW),
        subword_owners=np.pad(blocks.subword_owners, fill),
      )
    blocks = blocks._replace(token_ids=sides(blocks.token_ids))
    if blocks.requests is not None:
      pad = lambda rows, length: np.pad(
        rows, ((0, length - len(rows)), (0, 0), (0, 0)), constant_values=NO_ROW
      )
      blocks = blocks._replace(requests=tuple(map(pad, blocks.requests, lengths)))
    return blocks


class Capacity(NamedTuple):
  """Limit on the words of a block if words differ in size.

  Attributes:
    sizes: `[V]` integers, at most the limit.
    limit: maximum sum of the sizes of the centers of a block.
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
  margin: int | None = None,
  capacity: Capacity | None = None,
) -> tuple[Blocks, np.ndarray]:
  """Subsamples a chunk of text and cuts it into blocks of windows.

  As in the C tool, subsampling drops words before windows are formed, so that a window extends
  over dropped words. A window never crosses a line end.

  Args:
    ids: `[n]` word ids of the chunk.
    line_ends: increasing positions of line ends in the chunk; its own end is optional.
    keep: `[V]` probability of keeping each word.
    noise: alias table of the noise words.
    generator: random generator of the chunk.
    window: m, the largest distance between center and context word.
    dynamic: True to draw the size of each window uniformly from 1 to `window`; False for windows of
      size `window`.
    block_size: B, number of centers of a block.
    shared_negatives: K, number of noise words of a block.
    margin: number of tokens on either side of the centers of a block, from 1 to m; None for m. If
      it is less than m, no line may have more than `margin + 1` words.
    capacity: limit on the summed size of the centers of a block; None for no limit.

  Returns:
    The blocks of the kept words, in the order of the text, padded to whole blocks; and
    `[blocks]`, the number of words of the chunk read by the end of each block.
  """
  positions = np.flatnonzero(generator.random(len(ids), np.float32) < keep[ids])
  num_kept = len(positions)
  margin = window if margin is None else margin
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
  tokens = np.zeros(num_kept + block_size + 2 * margin, np.int32)
  tokens[margin : margin + num_kept] = ids[positions]
  windows_of_tokens = np.lib.stride_tricks.sliding_window_view(tokens, block_size + 2 * margin)
  center = starts[:, None] + np.arange(block_size)
  is_center = center < ends[:, None]
  center = np.minimum(center, num_kept - 1)
  by_block = lambda sizes: sizes.astype(np.int16)[center] * is_center
  blocks = Blocks(
    windows_of_tokens[starts],
    by_block(left),
    by_block(right),
    draw_alias(generator, noise, (len(starts), shared_negatives)),
  )
  return blocks, positions[ends - 1] + 1


def _packed(sizes: np.ndarray, block_size: int, capacity: int) -> np.ndarray:
  """Returns the starts of blocks of at most `block_size` words and the summed size `capacity`."""
  total = np.concatenate([[0], np.cumsum(sizes)])
  end = np.searchsorted(total, total[:-1] + capacity, side='right') - 1
  end = np.minimum(end, np.arange(block_size, len(sizes) + block_size)).tolist()
  starts, place = [], 0
  while place < len(sizes):
    starts.append(place)
    place = end[place]
  return np.array(starts, np.int64)
