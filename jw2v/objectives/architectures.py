r"""Skip-gram and CBOW over blocks of consecutive words.

An architecture is a function from the center table and a batch of blocks to the predictions of
its windows (which vectors predict which words, and with which weights), and a VJP from the
gradients of the predicting vectors to gradients of the table's rows. The losses of the
predictions are in `logistic.py` and `softmax.py`; `objective.py` combines both.

The windows of B consecutive words share nearly all of their context, T = B + 2m tokens. Here they
also share their K noise words. A block is therefore two small matrices (the predicting vectors and
the outside rows) and three products: the scores and the gradients of either side.

A VJP returns the curvature beside the gradient, for `optim.curvature_damped_sgd`. For a row
:math:`x` of a table, :math:`h_x` is the sum of the curvatures of all terms of the loss that
contain it; the docstring of `logistic.py` derives the curvature of one term.

Axes: N blocks, B centers of a block, T tokens, K noise words, I vectors that predict,
O outside rows, L nodes of a path, D vector width, V words.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.data.sampling import Blocks
from jw2v.losses.rows import RowGradients

# From [N, I, D] gradients of the predicting vectors and their [N, I] curvature to rows.
VJP = Callable[[jax.Array, jax.Array], RowGradients]


class Predictions(NamedTuple):
  """The predictions of N blocks.

  Either every vector of a block may predict every word of the block, or each vector predicts one
  word.

  Attributes:
    vectors: `[N, I, D]` predicting vectors.
    word_ids: `[N, O]` predicted words; or `[N, I]` if each vector predicts one word.
    weights: `[N, O + K, I]` weight of each prediction, 0 for none. The rows of the K noise words
      are zeros for the objective to fill in. `[N, I]` if each vector predicts one word.
    totals: `[N, I]` summed weight of the predictions of each vector.
  """

  vectors: jax.Array
  word_ids: np.ndarray | jax.Array
  weights: jax.Array
  totals: np.ndarray | jax.Array

  @property
  def one_to_one(self) -> bool:
    """Returns whether each vector predicts one word."""
    return self.weights.ndim == 2


def word_rows(table: jax.Array, ids: jax.Array, touched: jax.Array) -> tuple[jax.Array, VJP]:
  """Looks up the vectors of words that have one row each.

  Args:
    table: `[V, D]` center table.
    ids: `[N, X]` word ids.
    touched: `[N, X]` bool, False for padding.

  Returns:
    `[N, X, D]` vectors and the VJP of the lookup.
  """

  def vjp(gradients, curvature):
    return RowGradients(
      padded_ids(ids, touched, len(table)), flat(gradients), curvature.reshape(-1)
    )

  return gather_rows(table, ids), vjp


def skip_gram(
  table: jax.Array,
  blocks: Blocks,
  *,
  vectors_of: Callable = word_rows,
  by_distance: np.ndarray | None = None,
) -> tuple[Predictions, VJP]:
  """Skip-gram: each center predicts the words around it.

  Args:
    table: the center table.
    blocks: N blocks.
    vectors_of: function that looks up word vectors, with the signature of `word_rows`.
    by_distance: `[m]` weight of a context word by its distance, see `distance_weights`; None for 1.

  Returns:
    Predictions with I = B centers and O = T tokens, and the VJP to rows.
  """
  weights = window_weights(blocks, by_distance, table.dtype, blocks.negative_ids.shape[1])
  size = context_size(blocks)
  # With equal weights the total is the size of the context, known without a sum.
  totals = size.astype(table.dtype) if by_distance is None else jnp.sum(weights, axis=1)
  vectors, vjp = vectors_of(table, center_ids_of(blocks), size > 0)
  return Predictions(vectors, blocks.token_ids, weights, totals), vjp


def skip_gram_of_context(
  table: jax.Array,
  blocks: Blocks,
  *,
  vectors_of: Callable = word_rows,
  by_distance: np.ndarray | None = None,
) -> tuple[Predictions, VJP]:
  """Skip-gram with the roles changed: the words around a center predict it.

  The hierarchical softmax has no noise words and many outside rows for each predicted word, so a
  block predicts its B centers and not its T tokens. The windows belong to the predicted words, as
  in the C tool.

  Args:
    table: the center table.
    blocks: N blocks.
    vectors_of: as for `skip_gram`.
    by_distance: as for `skip_gram`.

  Returns:
    Predictions with I = T tokens and O = B centers, and the VJP to rows.
  """
  weights = window_weights(blocks, by_distance, table.dtype)
  totals = jnp.sum(weights, axis=2)
  vectors, vjp = vectors_of(table, blocks.token_ids, totals > 0)
  return Predictions(vectors, center_ids_of(blocks), jnp.swapaxes(weights, 1, 2), totals), vjp


def cbow(
  table: jax.Array,
  blocks: Blocks,
  *,
  vectors_of: Callable = word_rows,
  by_distance: np.ndarray | None = None,
  divide_gradient: bool = True,
) -> tuple[Predictions, VJP]:
  r"""CBOW: the mean of the words around a center predicts it.

  The means of a block's windows are one product with the masked band matrix M, in which
  row b has :math:`w_{bt} / \sum_t w_{bt}` in the columns of its context. The gradient goes
  back through its transpose. With `divide_gradient` the curvature does too: by the share in the
  mean and not by its square, which would be the Hessian of one row alone, since all rows of a
  window move at once and :math:`(\sum_t \delta_t / n)^2 \le \sum_t \delta_t^2 / n`.

  Args:
    table: the center table.
    blocks: N blocks.
    vectors_of: as for `skip_gram`.
    by_distance: as for `skip_gram`.
    divide_gradient: True gives each context word its share of the gradient of the mean, which is
      the true gradient; False gives it the whole gradient, as the C tool, gensim and fastText do.

  Returns:
    Predictions with I = B means that predict one word each, and the VJP to rows.
  """
  weights = window_weights(blocks, by_distance, table.dtype)  # [N, T, B]
  total = jnp.sum(weights, axis=1)
  share = weights * (1 / jnp.where(total > 0, total, 1))[:, None]  # M^T
  vectors, vjp = vectors_of(table, blocks.token_ids, jnp.sum(weights, axis=2) > 0)
  back = share if divide_gradient else (weights > 0).astype(share.dtype)

  def means_vjp(gradients, curvature):
    return vjp(
      jnp.einsum('ntb,nbd->ntd', back, gradients), jnp.einsum('ntb,nb->nt', back, curvature)
    )

  means = jnp.einsum('nbt,ntd->nbd', transposed(share), vectors)
  present = (total > 0).astype(table.dtype)
  return Predictions(means, center_ids_of(blocks), present, present), means_vjp


def distance_weights(weighting: str, window: int) -> np.ndarray:
  r"""Returns the weights of context words by their distance d from the center, 1 to m.

  - 'equal': 1, within the size of the window, which may be drawn;
  - 'harmonic': :math:`1 / d`, as in GloVe;
  - 'linear': :math:`(m - d + 1) / m`, the probability that a window whose size is drawn from 1 to
    m contains distance d: the same expected loss, with every word of the full window.

  Args:
    weighting: one of these names.
    window: m.

  Returns:
    `[m]` float64 weights of the distances 1 to m.

  References:
    Pennington, Socher and Manning, `GloVe <https://aclanthology.org/D14-1162/>`_, 2014,
    section 4.2; Levy and Goldberg, `Dependency-Based Word Embeddings
    <https://aclanthology.org/P14-2050/>`_, 2014, for the drawn windows as weights.
  """
  distance = np.arange(1, window + 1)
  return {
    'equal': np.ones(window),
    'harmonic': 1 / distance,
    'linear': (window - distance + 1) / window,
  }[weighting]


def window_weights(
  blocks: Blocks, by_distance: np.ndarray | None, dtype: jax.typing.DTypeLike, num_noise: int = 0
) -> jax.Array:
  """Returns `[N, T + K, B]` weights of token t in the context of center b, 0 for noise words."""
  num_tokens, num_centers = blocks.token_ids.shape[1], blocks.left.shape[1]
  offset = np.arange(num_tokens)[:, None] - np.arange(num_centers) - blocks.margin  # [T, B]
  # Offset 0, as of the center itself: no pair. Padding this constant, and not the computed
  # weights, lets XLA fuse the weights.
  offset = np.pad(offset, ((0, num_noise), (0, 0)))
  distance = np.where(offset == 0, 2 * num_tokens, abs(offset)).astype(np.int32)[None]
  left, right = (x.astype(jnp.int32)[:, None] for x in (blocks.left, blocks.right))
  inside = jnp.where(offset[None] < 0, left, right) >= distance
  if by_distance is None:
    return inside.astype(dtype)
  weights = by_distance[np.clip(distance, 1, blocks.margin) - 1]
  return jnp.where(inside, jnp.asarray(weights, dtype), 0)


def center_ids_of(blocks: Blocks) -> np.ndarray | jax.Array:
  """Returns `[N, B]` ids of the centers: all tokens but the m at either end."""
  return blocks.token_ids[:, blocks.margin : blocks.margin + blocks.left.shape[1]]


def context_size(blocks: Blocks) -> np.ndarray | jax.Array:
  """Returns `[N, B]` numbers of context words of the centers."""
  return blocks.left.astype(jnp.int32) + blocks.right.astype(jnp.int32)


def gather_rows(table: jax.Array, ids: np.ndarray | jax.Array) -> jax.Array:
  """Gathers rows by id. Rows for padding ids are unspecified."""
  return table.at[ids].get(mode='clip', wrap_negative_indices=False)


def transposed(matrices: jax.Array) -> jax.Array:
  """Transposes the small matrices of a batch in memory.

  XLA would otherwise fold the transpose into the next product, which is slower on a CPU.
  """
  return jax.lax.optimization_barrier(jnp.swapaxes(matrices, 1, 2))


def padded_ids(ids: np.ndarray | jax.Array, touched: jax.Array, num_rows: int) -> jax.Array:
  """Returns flat int32 ids, with the padding id V for rows that are not touched."""
  return jnp.where(touched, ids, num_rows).reshape(-1).astype(jnp.int32)


def flat(values: jax.Array) -> jax.Array:
  """Flattens rows `[..., D]` to `[n, D]`."""
  return values.reshape(-1, values.shape[-1])


def squared_norms(vectors: jax.Array) -> jax.Array:
  """Returns the squared norms of vectors `[..., D]`."""
  return jnp.sum(vectors * vectors, axis=-1)
