r"""The window objectives over blocks of consecutive windows, with gradients by row.

What belongs here: functions from two tables and a batch of blocks to the summed loss
and its gradients as rows. They are the seam between the mathematics and the trainer:
`training.py` knows only their signature.

The windows of B consecutive words share nearly all of their context, T = B + 2m tokens,
and here they share their K noise words as well. So a block is two small matrices, the
vectors of its centers [B, D] and of its tokens and noise words [T + K, D], and three
products: scores, and the gradients of either side. Each block has the value and the
gradients that the sum of the window losses in `windows.py` has with these noise words,
each of them weighted so that a prediction has `negatives` of them in all.

The rows carry their curvature too, for `rowwise.curvature_damped_sgd`. For a row
:math:`x` and its partners :math:`y_j`, of which a pair has the weight :math:`w_j` and
the score :math:`z_j = x^\top y_j`,

.. math::
   \nabla_x J = \sum_j w_j (\sigma(z_j) - t_j) y_j, \qquad
   h_x = \sum_j w_j c(z_j) \|y_j\|^2, \qquad
   c(z) = \max\!\Big(\sigma(z) \sigma(-z), \frac{\sigma(z) - 1/2}{2 z}\Big).

With the first of the two, the second derivative of the loss by the score, :math:`h_x` is
the trace of the Hessian by that row. It vanishes where a score is far out, on the wrong
side too, from where a step :math:`g / h` would be exponentially long. The parabola that
touches the loss at :math:`z` and lies above it everywhere has the curvature
:math:`(\sigma(z) - 1/2) / z`; half of it is enough for no step :math:`g / h` of the
rows of one table to raise the loss, since at twice the way to its minimum a parabola is
as high as before.

References: Jaakkola and Jordan, `Bayesian parameter estimation via variational methods
<https://doi.org/10.1023/A:1008932416310>`_, 2000, for the parabola.

Axes: N blocks, B centers of a block, T tokens, K noise words, D vector width, V words.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.rowwise import RowGradients
from jw2v.sampling import Blocks
from jw2v.windows import Word2VecParams


class ObjectiveRows(NamedTuple):
  """Sums over a batch of blocks and their gradients."""

  loss: jax.Array  # [] sum over all predictions of the measured blocks
  predictions: jax.Array  # [] int32, how many these are: pairs in skip-gram, windows in CBOW
  center: RowGradients
  outside: RowGradients


def skip_gram_rows(
  params: Word2VecParams, blocks: Blocks, negatives: int, measured: int | None = None
) -> ObjectiveRows:
  """Skip-gram with negative sampling over blocks: `skip_gram_value_and_grad`, by row.

  Each window with n context words weights each of its block's noise words with
  `n negatives / K`: the sum of n losses with K shared noise words of weight
  `negatives / K` each.

  Args:
    params: the two tables, `[V, D]` each.
    blocks: N blocks.
    negatives: noise words for each context word, in all.
    measured: of how many blocks, the first, to sum the loss; None for all. The logarithms
      of a loss cost a tenth of a step, and no gradient needs them.

  Returns:
    The summed loss and the rows that it moves: N B in the center table, N (T + K) in
    the outside table.
  """
  center_ids = center_ids_of(blocks)
  outside_ids = jnp.concatenate([blocks.token_ids, blocks.negative_ids], axis=1)
  v, u = rows_of(params.center, center_ids), rows_of(params.outside, outside_ids)

  num_tokens, num_negatives = blocks.token_ids.shape[1], blocks.negative_ids.shape[1]
  is_noise = np.arange(num_tokens + num_negatives)[None, :, None] >= num_tokens
  pairs = in_window(blocks, num_negatives)  # [N, T + K, B]
  n = context_size(blocks)  # [N, B]
  noise_weight = n.astype(u.dtype) * (negatives / num_negatives)
  weights = jnp.where(is_noise, noise_weight[:, None], pairs.astype(u.dtype))

  # [N, T + K, B]: the narrow side last is the faster order of this product.
  scores = jnp.einsum('nod,nbd->nob', u, v)
  terms = _logistic(scores, pairs, weights)
  v_norms, u_norms = _squared_norms(v), _squared_norms(u)
  return ObjectiveRows(
    loss=_loss(scores[:measured], pairs[:measured], weights[:measured]),
    predictions=jnp.sum(n[:measured]),
    center=RowGradients(
      padded_ids(center_ids, n > 0, params.center),
      _flat(jnp.einsum('nbo,nod->nbd', _transposed(terms.delta), u)),
      jnp.einsum('nob,no->nb', terms.curvature, u_norms).reshape(-1),
    ),
    outside=RowGradients(
      padded_ids(outside_ids, jnp.sum(weights, axis=2) > 0, params.outside),
      _flat(jnp.einsum('nob,nbd->nod', terms.delta, v)),
      jnp.einsum('nob,nb->no', terms.curvature, v_norms).reshape(-1),
    ),
  )


def cbow_rows(
  params: Word2VecParams, blocks: Blocks, negatives: int, measured: int | None = None
) -> ObjectiveRows:
  r"""CBOW (mean) with negative sampling over blocks: `cbow_value_and_grad`, by row.

  The means of a block's windows are one product with the masked band matrix M, in which
  row b has 1/n in the n columns of its context. The gradient goes back through its
  transpose, so that each context row gets 1/n of it, and so does the curvature: by the
  share in the mean and not by its square, as the Hessian of one row alone would have it,
  since all rows of a window move at once and
  :math:`(\sum_t \delta_t / n)^2 \le \sum_t \delta_t^2 / n`.

  Args:
    params: the two tables, `[V, D]` each.
    blocks: N blocks; the centers are the words to predict.
    negatives: noise words for each center, in all; each of K weighs `negatives / K`.
    measured: of how many blocks, the first, to sum the loss; None for all.

  Returns:
    The summed loss and the rows that it moves: N T in the center table, N (B + K) in
    the outside table.
  """
  target_ids, negative_ids = center_ids_of(blocks), blocks.negative_ids
  context, target = rows_of(params.center, blocks.token_ids), rows_of(params.outside, target_ids)
  noise = rows_of(params.outside, negative_ids)

  band = in_window(blocks)  # [N, T, B]
  n = context_size(blocks)  # [N, B]
  share = 1 / jnp.maximum(n, 1).astype(context.dtype)
  band = jnp.where(band, share[:, None], 0)  # M^T
  mean = jnp.einsum('nbt,ntd->nbd', _transposed(band), context)

  present = n > 0
  weights = present.astype(context.dtype) * (negatives / negative_ids.shape[1])
  scores = jnp.einsum('nkd,nbd->nkb', noise, mean)
  target_scores = jnp.sum(target * mean, axis=2)
  right = _logistic(target_scores, present, present.astype(context.dtype))
  wrong = _logistic(scores, False, weights[:, None])
  d_mean = right.delta[..., None] * target + jnp.einsum(
    'nbk,nkd->nbd', _transposed(wrong.delta), noise
  )
  mean_curvature = right.curvature * _squared_norms(target) + jnp.einsum(
    'nkb,nk->nb', wrong.curvature, _squared_norms(noise)
  )
  mean_norms = _squared_norms(mean)
  return ObjectiveRows(
    loss=_loss(target_scores[:measured], present[:measured], present[:measured])
    + _loss(scores[:measured], False, weights[:measured, None]),
    predictions=jnp.sum(present[:measured], dtype=jnp.int32),
    center=RowGradients(
      padded_ids(blocks.token_ids, jnp.sum(band, axis=2) > 0, params.center),
      _flat(jnp.einsum('ntb,nbd->ntd', band, d_mean)),
      jnp.einsum('ntb,nb->nt', band, mean_curvature).reshape(-1),
    ),
    outside=RowGradients(
      jnp.concatenate(
        [
          padded_ids(target_ids, present, params.outside),
          padded_ids(negative_ids, jnp.any(present, axis=1, keepdims=True), params.outside),
        ]
      ),
      jnp.concatenate(
        [
          _flat(right.delta[..., None] * mean),
          _flat(jnp.einsum('nkb,nbd->nkd', wrong.delta, mean)),
        ]
      ),
      jnp.concatenate(
        [
          (right.curvature * mean_norms).reshape(-1),
          jnp.einsum('nkb,nb->nk', wrong.curvature, mean_norms).reshape(-1),
        ]
      ),
    ),
  )


def _loss(scores: jax.Array, positive: jax.Array | bool, weights: jax.Array) -> jax.Array:
  """The sum of -w log s(x) where positive and of -w log s(-x) elsewhere (D20)."""
  against = jnp.where(positive, -scores, scores)
  softplus = jnp.maximum(against, 0) + jnp.log1p(jnp.exp(-jnp.abs(scores)))
  return jnp.sum(weights * softplus)


class _Terms(NamedTuple):
  """What each pair of a center and an outside vector adds; in any shape."""

  delta: jax.Array  # the derivative of the loss by the score
  curvature: jax.Array  # c(score), of the module's docstring


def _logistic(scores: jax.Array, positive: jax.Array | bool, weights: jax.Array) -> _Terms:
  """The derivative of the terms of `_loss` by their scores, and their curvature (D21 to D26)."""
  small = jnp.exp(-jnp.abs(scores))  # all from one exponential, which cannot overflow
  larger = 1 / (1 + small)
  probability = jnp.where(scores >= 0, larger, small * larger)
  return _Terms(weights * (probability - positive), weights * curvature_of(scores))


def curvature_of(scores: jax.Array) -> jax.Array:
  """c(z) of each score, from the docstring of this module."""
  magnitude = jnp.abs(scores)
  small = jnp.exp(-magnitude)
  larger = 1 / (1 + small)
  bound = (larger - 0.5) / jnp.maximum(magnitude, 1e-3)  # near 0 the other one is larger
  return jnp.maximum(small * larger * larger, bound / 2)


def center_ids_of(blocks: Blocks) -> jax.Array:
  """[N, B]: all but the m tokens at either end."""
  margin = (blocks.token_ids.shape[1] - blocks.left.shape[1]) // 2
  return blocks.token_ids[:, margin : margin + blocks.left.shape[1]]


def context_size(blocks: Blocks) -> jax.Array:
  """[N, B]: how many context words each center has."""
  return blocks.left.astype(jnp.int32) + blocks.right.astype(jnp.int32)


def in_window(blocks: Blocks, num_noise: int = 0) -> jax.Array:
  """[N, T + num_noise, B]: whether token t is in the context of center b; noise is not."""
  num_tokens, num_centers = blocks.token_ids.shape[1], blocks.left.shape[1]
  margin = (num_tokens - num_centers) // 2
  offset = np.arange(num_tokens)[:, None] - np.arange(num_centers) - margin  # [T, B]
  offset = np.pad(offset, ((0, num_noise), (0, 0)))[None]  # 0, as the center itself: no pair
  distance = np.where(offset == 0, 2 * num_tokens, abs(offset)).astype(np.int32)
  left, right = (x.astype(jnp.int32)[:, None] for x in (blocks.left, blocks.right))
  return jnp.where(offset < 0, left, right) >= distance


def rows_of(table: jax.Array, ids: jax.Array) -> jax.Array:
  """The rows of ids, of which those of padding are any."""
  return table.at[ids].get(mode='clip', wrap_negative_indices=False)


def _transposed(matrices: jax.Array) -> jax.Array:
  """The small matrices of a batch, transposed in memory and not in the product.

  XLA would fold the transpose into the product, for which its CPU kernels are slower.
  """
  return jax.lax.optimization_barrier(jnp.swapaxes(matrices, 1, 2))


def _squared_norms(vectors: jax.Array) -> jax.Array:
  return jnp.sum(vectors * vectors, axis=-1)


def padded_ids(ids: jax.Array, touched: jax.Array, table: jax.Array) -> jax.Array:
  """Flat ids, the number of no row where a row is not touched."""
  return jnp.where(touched, ids, len(table)).reshape(-1)


def _flat(values: jax.Array) -> jax.Array:
  return values.reshape(-1, values.shape[-1])
