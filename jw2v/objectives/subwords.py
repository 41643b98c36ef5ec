"""Words as bags of rows: the vector of a word is the mean of its own row and those of its n-grams.

What belongs here: which rows each word has in a center table with n-grams, the lists of rows
that the host adds to blocks, and the means, with the way back, on the device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.data.sampling import CHAINS, Blocks
from jw2v.ngrams import END_OF_LINE, ngram_buckets
from jw2v.objectives.architectures import Pull, flat, rows_of
from jw2v.optim import RowGradients


class Bags(NamedTuple):
  """The rows of all words.

  The center table has a row for each of V words, and one for each bucket that has an n-gram of
  any of them.

  Attributes:
    rows: those of all words, one word after the other, its own first.
    starts: `[V + 1]`, where those of each word begin.
    buckets: `[U]`, the buckets that have a row: rows V, V + 1, ..., the most frequent first.
  """

  rows: np.ndarray
  starts: np.ndarray
  buckets: np.ndarray

  @property
  def sizes(self) -> np.ndarray:
    """`[V]`, how many rows each word has."""
    return np.diff(self.starts).astype(np.int32)

  @property
  def num_rows(self) -> int:
    """Of the center table."""
    return len(self.starts) - 1 + len(self.buckets)

  def attach(self, blocks: Blocks, of_centers: bool, lists: int = 1) -> Blocks:
    """Adds to the blocks of a call the rows of their words.

    Args:
      blocks: `[S, N, ...]`.
      of_centers: whether the vectors are those of the centers, or of all tokens.
      lists: C, at least, which divides N: one for each device that has blocks of its own.

    Returns:
      The blocks with three fields more: `bag_places` `[S, N, X]`, the number of each word among
      the different ones of its share of the blocks of a step; and `bag_rows` and `bag_owners`,
      `[S, C, E]`, the rows of these, and which of them each is of. E is the same for most calls.
    """
    steps, num_blocks, num_tokens = blocks.token_ids.shape
    margin = blocks.margin if of_centers else 0
    ids = blocks.token_ids[..., margin : num_tokens - margin]
    if lists == 1 and num_blocks % CHAINS == 0:
      lists = CHAINS
    number = np.arange(steps * lists)[:, None]
    keys = number * len(self.starts) + ids.reshape(len(number), -1)
    keys, places = np.unique(keys, return_inverse=True)  # a word that repeats is looked up once
    list_of, words = np.divmod(keys, len(self.starts))
    first = np.searchsorted(list_of, number[:, 0])
    places = places.reshape(len(number), -1) - first[:, None]

    sizes = self.sizes[words]
    totals = np.bincount(list_of, sizes, len(number)).astype(np.int64)
    most = int(totals.max())
    unit = 1 << max(0, most.bit_length() - 3)  # few different lengths, for each is compiled
    shape = (len(number), -(-most // unit) * unit)
    bag_rows, bag_owners = np.full(shape, self.num_rows, np.int32), np.zeros(shape, np.int32)
    filled = np.arange(shape[1]) < totals[:, None]
    # The place of each row: where the rows of its word begin, and how many came before it.
    shift = self.starts[words] - (np.cumsum(sizes) - sizes)
    bag_rows[filled] = self.rows[np.repeat(shift, sizes) + np.arange(sizes.sum())]
    bag_owners[filled] = np.repeat(np.arange(len(words)) - first[list_of], sizes)
    by_step = lambda x: x.reshape(steps, lists, -1)
    return blocks._replace(
      bag_places=places.reshape(ids.shape).astype(np.int32),
      bag_rows=by_step(bag_rows),
      bag_owners=by_step(bag_owners),
    )


def make_bags(
  words: Sequence[str], word_counts: np.ndarray, minn: int, maxn: int, bucket: int
) -> Bags:
  """The bags of words.

  Args:
    words: V words.
    word_counts: `[V]`, their occurrences.
    minn: fewest characters of an n-gram.
    maxn: most characters.
    bucket: how many rows n-grams share, by their hash.

  Returns:
    Their rows; a word that fastText has no n-grams for, the end of a line, has its own alone.
  """
  buckets, starts = ngram_buckets(words, minn, maxn, bucket)
  counts = np.diff(starts)
  if END_OF_LINE in words:
    word = list(words).index(END_OF_LINE)
    buckets = np.delete(buckets, slice(starts[word], starts[word + 1]))
    counts[word] = 0
  used, rows = np.unique(buckets, return_inverse=True)
  # The most frequent first: they lie side by side in memory.
  occurrences = np.bincount(rows, np.repeat(word_counts, counts), minlength=len(used))
  order = np.argsort(-occurrences, kind='stable')
  used, rows = used[order], np.argsort(order)[rows]
  starts = np.concatenate([[0], np.cumsum(counts + 1)])
  all_rows = np.empty(starts[-1], np.int32)
  is_own = np.zeros(len(all_rows), bool)
  is_own[starts[:-1]] = True
  all_rows[is_own], all_rows[~is_own] = np.arange(len(words)), len(words) + rows
  return Bags(all_rows, starts, used)


def bag_vectors(
  blocks: Blocks, sizes: jax.Array, table: jax.Array, ids: jax.Array, touched: jax.Array
) -> tuple[jax.Array, Pull]:
  r"""The vectors of words that are means of rows, for `vectors_of` of `blocks.skip_gram`.

  .. math:: v = \frac{1}{n} \sum_{r \in \text{bag}} x_r, \qquad
     \nabla_{x_r} J = \frac{1}{n} \nabla_v J

  and the curvature goes back by the same share, as in `blocks.cbow`.

  Args:
    blocks: N blocks with the lists of their rows.
    sizes: `[V]`, how many rows each word has.
    table: the center table.
    ids: `[N, X]` words.
    touched: `[N, X]` bool, False for padding.

  Returns:
    `[N, X, D]`, and the way back.
  """
  rows = blocks.bag_rows.reshape(-1)
  is_row = rows < len(table)
  # The numbers of different words, of all lists one after the other.
  words_of_list = ids.size // len(blocks.bag_rows)
  first = np.arange(len(blocks.bag_rows), dtype=np.int32) * words_of_list
  owners = (blocks.bag_owners + first[:, None]).reshape(-1)
  places = blocks.bag_places.reshape(len(first), -1) + first[:, None]  # [C, X']
  places = places.reshape(-1)
  share = 1 / rows_of(sizes, ids).astype(table.dtype)  # [N, X]
  empty = jnp.zeros((ids.size, table.shape[1]), table.dtype)
  sums = empty.at[jnp.where(is_row, owners, ids.size)].add(rows_of(table, rows), mode='drop')
  vectors = sums[places].reshape(*ids.shape, -1) * share[..., None]

  def pull(gradients, curvature):
    of_words = empty.at[places].add(flat(gradients * share[..., None]))
    h_of_words = empty[:, 0].at[places].add((curvature * share).reshape(-1))
    moved = jnp.zeros(ids.size, bool).at[places].max(touched.reshape(-1))
    return RowGradients(
      jnp.where(is_row & moved[owners], rows, len(table)), of_words[owners], h_of_words[owners]
    )

  return vectors, pull
