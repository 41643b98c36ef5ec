"""What the trainer draws at random: kept words, window sizes, noise words.

What belongs here: distributions and draws, as functions of counts and of a
counter-based generator or key. Host draws come from (seed, epoch, chunk) alone, so
that chunk i of epoch e is the same whoever asks for it and in whatever order.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_CHUNK_TOKENS = 65_536  # tokens that the host samples at once; the end of one ends a line


def noise_distribution(counts: np.ndarray, exponent: float = 0.75) -> np.ndarray:
  r"""The distribution of the noise words.

  .. math:: q(w) = n_w^a / \sum_{w'} n_{w'}^a

  Args:
    counts: `[V]` occurrences of each word in the corpus.
    exponent: :math:`a`; 0 is uniform, 1 the unigram distribution.

  Returns:
    `[V]` float64 that sums to 1.

  References:
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, section 2.2.
  """
  powers = np.asarray(counts, np.float64) ** exponent
  return powers / powers.sum()


class AliasTable(NamedTuple):
  """A discrete distribution that is sampled in constant time."""

  threshold: np.ndarray  # [V] float32: the share of slot w that stays w
  alias: np.ndarray  # [V] int32: who has the rest of it


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


def sample_alias(key: jax.Array, table: AliasTable, shape: tuple[int, ...]) -> jax.Array:
  """Draws ids from the distribution of an alias table.

  Args:
    key: a `jax.random.key`.
    table: the table, on host or device.
    shape: shape of the result.

  Returns:
    int32 ids of that shape.
  """
  slot_key, share_key = jax.random.split(key)
  slot = jax.random.randint(slot_key, shape, 0, len(table.alias), jnp.int32)
  share = jax.random.uniform(share_key, shape)
  return jnp.where(share < table.threshold[slot], slot, table.alias[slot])


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


class Windows(NamedTuple):
  """A batch of windows, on host or device. Masked slots hold some id of the table."""

  center_ids: np.ndarray | jax.Array  # [B] int32
  context_ids: np.ndarray | jax.Array  # [B, C] int32
  mask: np.ndarray | jax.Array  # [B, C] bool


def chunk_windows(
  ids: np.ndarray,
  line_numbers: np.ndarray,
  keep: np.ndarray,
  generator: np.random.Generator,
  *,
  window: int,
  dynamic: bool = True,
) -> tuple[Windows, np.ndarray]:
  """Subsamples a chunk of text and makes a window around each word that is kept.

  Words are dropped before windows are made, so that a window reaches over them, as in
  the C tool. A window never crosses a line.

  Args:
    ids: `[n]` the chunk's words.
    line_numbers: `[n]` a number for the line of each, non-decreasing.
    keep: `[V]` the probability of keeping each word.
    generator: the chunk's generator.
    window: the largest distance between center and context word.
    dynamic: draw each window's distance from 1 to `window` with equal probability
      instead of taking `window` always.

  Returns:
    The windows of the words kept, in the order of the text, with C = 2 window slots, and
    `[B]` int64, where in the chunk each center stands.
  """
  positions = np.flatnonzero(generator.random(len(ids), np.float32) < keep[ids])
  kept, lines = ids[positions], line_numbers[positions]
  radius = np.full(len(kept), window)
  if dynamic:
    radius = generator.integers(1, window + 1, len(kept))
  offsets = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])  # [C]
  neighbors = np.arange(len(kept))[:, None] + offsets  # [n, C]
  inside = (neighbors >= 0) & (neighbors < len(kept))
  neighbors = np.where(inside, neighbors, 0)
  mask = inside & (np.abs(offsets) <= radius[:, None]) & (lines[neighbors] == lines[:, None])
  return Windows(kept, np.where(mask, kept[neighbors], 0), mask), positions


class CallBatch(NamedTuple):
  """The windows of one compiled call: S steps of B."""

  windows: Windows  # [S, B, ...]
  words: np.ndarray  # [S] corpus words read by the end of each step, over all epochs


def call_batches(
  ids: np.ndarray,
  line_ends: np.ndarray,
  keep: np.ndarray,
  *,
  seed: int,
  epochs: int,
  window: int,
  dynamic: bool,
  steps: int,
  size: int,
) -> Iterator[CallBatch]:
  """All windows of a run in the order of the text, cut into calls of one shape.

  The text is sampled in chunks of 65,536 words, and a window does not cross from one
  chunk to the next, as if a line ended there.

  Args:
    ids: `[N]` the corpus.
    line_ends: `[lines]` where its lines end.
    keep: `[V]` the probability of keeping each word.
    seed: the seed of the run.
    epochs: passes over the corpus.
    window: as in `chunk_windows`.
    dynamic: as in `chunk_windows`.
    steps: S, the steps of a call.
    size: B, the windows of a step.

  Yields:
    Batches; the last one is filled up with windows that are masked entirely. None at
    all if no word is kept.
  """
  lines = np.searchsorted(line_ends, np.arange(len(ids)), side='right')
  waiting: list[np.ndarray] = []  # center, context, mask, words: columns of windows not yet cut
  ready: CallBatch | None = None  # kept back, for the last one counts the words after it
  for epoch in range(epochs):
    for chunk, start in enumerate(range(0, len(ids), _CHUNK_TOKENS)):
      part = slice(start, start + _CHUNK_TOKENS)
      windows, positions = chunk_windows(
        ids[part], lines[part], keep, chunk_generator(seed, epoch, chunk),
        window=window, dynamic=dynamic,
      )  # fmt: skip
      columns = [*windows, epoch * len(ids) + start + positions + 1]
      if waiting:
        columns = [np.concatenate(pair) for pair in zip(waiting, columns, strict=True)]
      while len(columns[0]) >= steps * size:
        if ready is not None:
          yield ready
        ready = _call_batch([c[: steps * size] for c in columns], steps, size)
        columns = [c[steps * size :] for c in columns]
      waiting = columns
  if len(waiting[0]):
    if ready is not None:
      yield ready
    ready = _call_batch(waiting, steps, size)
  if ready is not None:
    words = np.where(ready.words == 0, epochs * len(ids), ready.words)
    words[-1] = epochs * len(ids)  # those dropped after the last window are read as well
    yield ready._replace(words=words)


def _call_batch(columns, steps, size):
  pad = steps * size - len(columns[0])
  center, context, mask, words = (
    np.pad(c, [(0, pad)] + [(0, 0)] * (c.ndim - 1)).reshape(steps, size, *c.shape[1:])
    for c in columns
  )
  return CallBatch(Windows(center, context, mask), words.max(axis=1))
