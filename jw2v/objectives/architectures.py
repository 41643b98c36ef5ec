r"""The windows of blocks of consecutive words: what they predict, and from which vectors.

What belongs here: the geometry of blocks, and the two architectures: functions from the
center table and a batch of blocks to the vectors that predict, with the way back, from the
gradients of these vectors to those of the table's rows. What a prediction costs is told by
the objectives, in `binary.py` and `softmax.py`; `objectives.py` brings both together.

The windows of B consecutive words share nearly all of their context, T = B + 2m tokens, and
here they share their K noise words as well. So a block is two small matrices, one of vectors
that predict, one of outside rows, and three products: scores, and the gradients of either
side.

Gradients go back with their curvature, for `rowwise.curvature_damped_sgd`: for a row
:math:`x` of a table, :math:`h_x` sums the curvature of all terms of the loss that it is in
(the docstring of `binary.py` has that of one term).

Axes: N blocks, B centers of a block, T tokens, K noise words, I vectors that predict,
O outside rows, L nodes of a path, D vector width, V words.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.data.sampling import Blocks
from jw2v.optim import RowGradients

# From [N, I, D] gradients of the vectors that predict, and their [N, I] curvature, to rows.
Pull = Callable[[jax.Array, jax.Array], RowGradients]


class Windows(NamedTuple):
  """What the windows of N blocks predict, and from which vectors.

  Either any vector of a block may predict any of the block's words, or each has one of its
  own.

  Attributes:
    vectors: `[N, I, D]`, those that predict.
    word_ids: `[N, O]`, the words that they predict; or `[N, I]`, one each.
    weights: `[N, O + K, I]`, how much each prediction counts, 0 where there is none, and zeros
      in the rows of the noise words, for their objective to fill in; or `[N, I]`.
    totals: `[N, I]`, the weight of all that each vector predicts.
  """

  vectors: jax.Array
  word_ids: np.ndarray | jax.Array
  weights: jax.Array
  totals: np.ndarray | jax.Array

  @property
  def each_its_own(self) -> bool:
    """Whether each vector predicts one word."""
    return self.weights.ndim == 2


def word_rows(table: jax.Array, ids: jax.Array, touched: jax.Array) -> tuple[jax.Array, Pull]:
  """The vectors of words that have a row each.

  Args:
    table: `[V, D]`.
    ids: `[N, X]` words.
    touched: `[N, X]` bool, False for padding.

  Returns:
    `[N, X, D]`, and the way back.
  """

  def pull(gradients, curvature):
    return RowGradients(
      padded_ids(ids, touched, len(table)), flat(gradients), curvature.reshape(-1)
    )

  return rows_of(table, ids), pull


def skip_gram(
  table: jax.Array, blocks: Blocks, *, vectors_of: Callable = word_rows, weighting: str = 'equal'
) -> tuple[Windows, Pull]:
  """Skip-gram: each center predicts the words around it.

  Args:
    table: the center table.
    blocks: N blocks.
    vectors_of: what makes vectors of words, `word_rows` or another with its arguments.
    weighting: how much a context word counts at distance d, see `distance_weights`.

  Returns:
    The windows, of I = B centers and O = T tokens, and the way back to rows.
  """
  weights = window_weights(blocks, weighting, table.dtype, blocks.negative_ids.shape[1])
  size = context_size(blocks)
  # Where all weigh the same, the size is there without a sum.
  totals = size.astype(table.dtype) if weighting == 'equal' else jnp.sum(weights, axis=1)
  vectors, pull = vectors_of(table, center_ids_of(blocks), size > 0)
  return Windows(vectors, blocks.token_ids, weights, totals), pull


def skip_gram_of_context(
  table: jax.Array, blocks: Blocks, *, vectors_of: Callable = word_rows, weighting: str = 'equal'
) -> tuple[Windows, Pull]:
  """Skip-gram with the roles changed: each center is predicted by the words around it.

  For the hierarchical softmax, which has no noise words and many outside rows for each
  predicted word: so a block predicts its B centers and not its T tokens. The windows are those
  of the predicted words, as in the C tool.

  Args:
    table: the center table.
    blocks: N blocks.
    vectors_of: as for `skip_gram`.
    weighting: as for `skip_gram`.

  Returns:
    The windows, of I = T tokens and O = B centers, and the way back to rows.
  """
  weights = window_weights(blocks, weighting, table.dtype)
  totals = jnp.sum(weights, axis=2)
  vectors, pull = vectors_of(table, blocks.token_ids, totals > 0)
  return Windows(vectors, center_ids_of(blocks), jnp.swapaxes(weights, 1, 2), totals), pull


def cbow(
  table: jax.Array,
  blocks: Blocks,
  *,
  vectors_of: Callable = word_rows,
  weighting: str = 'equal',
  divide_gradient: bool = True,
) -> tuple[Windows, Pull]:
  r"""CBOW: the mean of the words around a center predicts it.

  The means of a block's windows are one product with the masked band matrix M, in which
  row b has :math:`w_{bt} / \sum_t w_{bt}` in the columns of its context. The gradient goes
  back through its transpose, and so does the curvature: by the share in the mean and not by
  its square, as the Hessian of one row alone would have it, since all rows of a window move
  at once and :math:`(\sum_t \delta_t / n)^2 \le \sum_t \delta_t^2 / n`.

  Args:
    table: the center table.
    blocks: N blocks.
    vectors_of: as for `skip_gram`.
    weighting: as for `skip_gram`.
    divide_gradient: whether a context word gets its share of the gradient of the mean, as
      is right, or all of it, as in the C tool, gensim and fastText.

  Returns:
    The windows, of I = B means with a word of their own, and the way back to rows.
  """
  weights = window_weights(blocks, weighting, table.dtype)  # [N, T, B]
  total = jnp.sum(weights, axis=1)
  share = weights * (1 / jnp.where(total > 0, total, 1))[:, None]  # M^T
  vectors, pull = vectors_of(table, blocks.token_ids, jnp.sum(weights, axis=2) > 0)
  back = share if divide_gradient else (weights > 0).astype(share.dtype)

  def pull_means(gradients, curvature):
    return pull(
      jnp.einsum('ntb,nbd->ntd', back, gradients), jnp.einsum('ntb,nb->nt', back, curvature)
    )

  means = jnp.einsum('nbt,ntd->nbd', transposed(share), vectors)
  present = (total > 0).astype(table.dtype)
  return Windows(means, center_ids_of(blocks), present, present), pull_means


def distance_weights(weighting: str, window: int) -> np.ndarray:
  r"""How much a context word counts by its distance d from the center, 1 to m.

  - 'equal': 1, within the size of the window, which may be drawn;
  - 'harmonic': :math:`1 / d`, as in GloVe;
  - 'linear': :math:`(m - d + 1) / m`, the probability that a window whose size is drawn
    from 1 to m reaches as far: the same loss in the mean, with every word of the full window.

  Args:
    weighting: one of these.
    window: m.

  Returns:
    `[m]` float64, for d from 1 on.

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
  blocks: Blocks, weighting: str, dtype: jax.typing.DTypeLike, num_noise: int = 0
) -> jax.Array:
  """`[N, T + K, B]`: how much token t counts in the context of center b; a noise word does not."""
  num_tokens, num_centers = blocks.token_ids.shape[1], blocks.left.shape[1]
  offset = np.arange(num_tokens)[:, None] - np.arange(num_centers) - blocks.margin  # [T, B]
  # 0, as the center itself: no pair. Appended here and not to the result, which XLA can fuse.
  offset = np.pad(offset, ((0, num_noise), (0, 0)))
  distance = np.where(offset == 0, 2 * num_tokens, abs(offset)).astype(np.int32)[None]
  left, right = (x.astype(jnp.int32)[:, None] for x in (blocks.left, blocks.right))
  inside = jnp.where(offset[None] < 0, left, right) >= distance
  if weighting == 'equal':
    return inside.astype(dtype)
  weights = distance_weights(weighting, blocks.margin)[np.clip(distance, 1, blocks.margin) - 1]
  return jnp.where(inside, jnp.asarray(weights, dtype), 0)


def center_ids_of(blocks: Blocks) -> np.ndarray | jax.Array:
  """`[N, B]`: all but the m tokens at either end."""
  return blocks.token_ids[:, blocks.margin : blocks.margin + blocks.left.shape[1]]


def context_size(blocks: Blocks) -> np.ndarray | jax.Array:
  """`[N, B]`: how many context words each center has."""
  return blocks.left.astype(jnp.int32) + blocks.right.astype(jnp.int32)


def rows_of(table: jax.Array, ids: np.ndarray | jax.Array) -> jax.Array:
  """The rows of ids, of which those of padding are any."""
  return table.at[ids].get(mode='clip', wrap_negative_indices=False)


def transposed(matrices: jax.Array) -> jax.Array:
  """The small matrices of a batch, transposed in memory and not in the product.

  XLA would fold the transpose into the product, for which its CPU kernels are slower.
  """
  return jax.lax.optimization_barrier(jnp.swapaxes(matrices, 1, 2))


def padded_ids(ids: np.ndarray | jax.Array, touched: jax.Array, num_rows: int) -> jax.Array:
  """Flat ids, the number of no row where a row is not touched."""
  return jnp.where(touched, ids, num_rows).reshape(-1)


def flat(values: jax.Array) -> jax.Array:
  """Rows `[..., D]` as one list."""
  return values.reshape(-1, values.shape[-1])


def squared_norms(vectors: jax.Array) -> jax.Array:
  """The squared lengths of vectors `[..., D]`."""
  return jnp.sum(vectors * vectors, axis=-1)
