"""Subwords: the vector of a word is the mean of its own row and the rows of its n-grams.

`Subwords` has the rows of each word in a center table with n-grams; on the host it adds the rows
of a block's words to the block. `subword_vectors` computes the means on the device, with the VJP.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.data.sampling import Blocks
from jw2v.losses.rows import RowGradients
from jw2v.ngrams import END_OF_LINE, ngram_buckets
from jw2v.objectives.architectures import VJP, flat, gather_rows

# XLA's CPU backend computes independent products side by side: a step on one device is split into
# this many chains, and each chain has its own list of subword rows.
CHAINS = 2


class Subwords(NamedTuple):
  """The rows of all words in a center table with n-grams.

  The table has one row for each of V words, and one for each bucket that contains an n-gram of any
  word.

  Attributes:
    rows: the rows of all words, one word after another, the word's own row first.
    starts: `[V + 1]` start of each word in `rows`.
    buckets: `[U]` buckets that have a row: rows V, V + 1, ..., the most frequent first.
    minn: minimum number of characters of an n-gram.
    maxn: maximum number of characters.
    bucket: number of buckets that n-grams are hashed to.
  """

  rows: np.ndarray
  starts: np.ndarray
  buckets: np.ndarray
  minn: int
  maxn: int
  bucket: int

  @property
  def sizes(self) -> np.ndarray:
    """`[V]` number of rows of each word."""
    return np.diff(self.starts).astype(np.int32)

  @property
  def num_rows(self) -> int:
    """Number of rows of the center table."""
    return len(self.starts) - 1 + len(self.buckets)

  def attach(self, blocks: Blocks, of_centers: bool, lists: int = 1) -> Blocks:
    """Adds the rows of the words to the blocks of a dispatch.

    Args:
      blocks: `[S, N, ...]` blocks.
      of_centers: True for the vectors of the centers, False for the vectors of all tokens.
      lists: smallest number of lists of a step, C, which divides N: one list for each device that
        has blocks of its own.

    Returns:
      The blocks with three more fields: `subword_slots` `[S, N, X]`, the index of each word among
      the distinct words of its list; `subword_rows` and `subword_owners` `[S, C, E]`, the rows of
      these words and the index of the word that each row belongs to. Most dispatches have the same
      E.
    """
    steps, num_blocks, num_tokens = blocks.token_ids.shape
    margin = blocks.margin if of_centers else 0
    ids = blocks.token_ids[..., margin : num_tokens - margin]
    if lists == 1 and num_blocks % CHAINS == 0:
      lists = CHAINS
    number = np.arange(steps * lists)[:, None]
    keys = number * len(self.starts) + ids.reshape(len(number), -1)
    keys, slots = np.unique(keys, return_inverse=True)  # one lookup for repeated words
    list_of, words = np.divmod(keys, len(self.starts))
    first = np.searchsorted(list_of, number[:, 0])
    slots = slots.reshape(len(number), -1) - first[:, None]

    sizes = self.sizes[words]
    totals = np.bincount(list_of, sizes, len(number)).astype(np.int64)
    most = int(totals.max())
    unit = 1 << max(0, most.bit_length() - 3)  # few different lengths, since each is compiled
    shape = (len(number), -(-most // unit) * unit)
    rows, owners = np.full(shape, self.num_rows, np.int32), np.zeros(shape, np.int32)
    filled = np.arange(shape[1]) < totals[:, None]
    # The index of each row: the start of its word, plus the rows of the word before it.
    shift = self.starts[words] - (np.cumsum(sizes) - sizes)
    rows[filled] = self.rows[np.repeat(shift, sizes) + np.arange(sizes.sum())]
    owners[filled] = np.repeat(np.arange(len(words)) - first[list_of], sizes)
    by_step = lambda x: x.reshape(steps, lists, -1)
    return blocks._replace(
      subword_slots=slots.reshape(ids.shape).astype(np.int32),
      subword_rows=by_step(rows),
      subword_owners=by_step(owners),
    )


def make_subwords(
  words: Sequence[str], word_counts: np.ndarray, minn: int, maxn: int, bucket: int
) -> Subwords:
  """Returns the rows of words and their n-grams.

  Args:
    words: V words.
    word_counts: `[V]` occurrences of each word.
    minn: minimum number of characters of an n-gram.
    maxn: maximum number of characters.
    bucket: number of buckets that n-grams are hashed to.

  Returns:
    The rows. The end-of-line word, which has no n-grams in fastText, has only its own row.
  """
  buckets, starts = ngram_buckets(words, minn, maxn, bucket)
  counts = np.diff(starts)
  if END_OF_LINE in words:
    word = list(words).index(END_OF_LINE)
    buckets = np.delete(buckets, slice(starts[word], starts[word + 1]))
    counts[word] = 0
  used, rows = np.unique(buckets, return_inverse=True)
  # The most frequent buckets come first, so that their rows are close together in memory.
  occurrences = np.bincount(rows, np.repeat(word_counts, counts), minlength=len(used))
  order = np.argsort(-occurrences, kind='stable')
  used, rows = used[order], np.argsort(order)[rows]
  starts = np.concatenate([[0], np.cumsum(counts + 1)])
  all_rows = np.empty(starts[-1], np.int32)
  is_own = np.zeros(len(all_rows), bool)
  is_own[starts[:-1]] = True
  all_rows[is_own], all_rows[~is_own] = np.arange(len(words)), len(words) + rows
  return Subwords(all_rows, starts, used, minn, maxn, bucket)


def subword_vectors(
  blocks: Blocks, sizes: jax.Array, table: jax.Array, ids: jax.Array, touched: jax.Array
) -> tuple[jax.Array, VJP]:
  r"""Looks up the vectors of words that are means of rows; `vectors_of` of an architecture.

  .. math:: v = \frac{1}{n} \sum_{r \in \text{word}} x_r, \qquad
     \nabla_{x_r} J = \frac{1}{n} \nabla_v J

  The VJP scales the curvature by the same 1/n, as in `architectures.cbow`.

  Args:
    blocks: N blocks with their lists of subword rows.
    sizes: `[V]` number of rows of each word.
    table: the center table.
    ids: `[N, X]` word ids.
    touched: `[N, X]` bool, False for padding.

  Returns:
    `[N, X, D]` vectors and the VJP to rows.
  """
  rows = blocks.subword_rows.reshape(-1)
  is_row = rows < len(table)
  # Indices of distinct words, over all lists one after another.
  words_of_list = ids.size // len(blocks.subword_rows)
  first = np.arange(len(blocks.subword_rows), dtype=np.int32) * words_of_list
  owners = (blocks.subword_owners + first[:, None]).reshape(-1)
  slots = blocks.subword_slots.reshape(len(first), -1) + first[:, None]  # [C, X']
  slots = slots.reshape(-1)
  share = 1 / gather_rows(sizes, ids).astype(table.dtype)  # [N, X]
  empty = jnp.zeros((ids.size, table.shape[1]), table.dtype)
  sums = empty.at[jnp.where(is_row, owners, ids.size)].add(gather_rows(table, rows), mode='drop')
  vectors = sums[slots].reshape(*ids.shape, -1) * share[..., None]

  def vjp(gradients, curvature):
    of_words = empty.at[slots].add(flat(gradients * share[..., None]))
    h_of_words = empty[:, 0].at[slots].add((curvature * share).reshape(-1))
    moved = jnp.zeros(ids.size, bool).at[slots].max(touched.reshape(-1))
    return RowGradients(
      jnp.where(is_row & moved[owners], rows, len(table)), of_words[owners], h_of_words[owners]
    )

  return vectors, vjp
