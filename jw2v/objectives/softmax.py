r"""Softmax objectives over blocks of windows: exact in tiles of the vocabulary, and sampled.

**Exact.** The n predictions of a vector :math:`v` share one softmax over all V words,

.. math::
   J = n \log \sum_w e^{u_w^\top v} - \sum_{o} u_o^\top v, \qquad
   \nabla_v J = n\, U^\top y - \sum_o u_o, \qquad
   \nabla_{u_w} J = n\, y_w v - [w \in o]\, v,

in two passes over tiles of the vocabulary, so that memory holds the scores of one tile and never V
scores for each vector of a step. The first pass keeps a running maximum and sum of exponentials
(Milakov and Gimelshein, `Online normalizer calculation for softmax
<https://arxiv.org/abs/1805.02867>`_, 2018). The second pass computes the gradients tile by tile.
`losses/tiled_softmax.py` has the same passes as functions for other models.

**Sampled.** With :math:`\tilde s_w = u_w^\top v - \log(K q(w))` and the K noise words of a block,

.. math::
   J = \sum_o \log\big(1 + e^{L - \tilde s_o}\big), \qquad L = \log \sum_k e^{\tilde s_k},

so that a prediction is a logistic term of the score :math:`\tilde s_o - L`, and the noise words
share the remaining probability: with :math:`p_o = \sigma(L - \tilde s_o)`,
:math:`\partial J / \partial \tilde s_o = -p_o` and
:math:`\partial J / \partial \tilde s_k = e^{\tilde s_k - L} \sum_o p_o`.

**Curvature.** A word of the denominator with probability y has the curvature :math:`y (1 - y)`. The
code uses its upper bound y, which is already computed and close for small y. A predicted word may
have a small probability; its curvature is :math:`c(z)` of `logistic.py` at the logit of its
probability.

Axes: as in `architectures.py`; M = N I vectors in all.
"""

import jax
import jax.numpy as jnp

from jw2v.losses.rows import RowGradients
from jw2v.losses.tiled_softmax import log_normalizers, tile_at
from jw2v.losses.window import Word2VecParams
from jw2v.objectives.architectures import Predictions, flat, gather_rows, squared_norms
from jw2v.objectives.logistic import curvature_of
from jw2v.objectives.scores import (
  ALL,
  Gradients,
  Measured,
  Products,
  add_gradients,
  measure_curvature,
  sample,
  score,
  scores_vjp,
)


def naive_softmax(
  predictions: Predictions,
  table: jax.Array,
  *,
  tile: int,
  measured: Measured = ALL,
  products: Products = Products(),
) -> Gradients:
  """The softmax over the whole vocabulary.

  Args:
    predictions: the predictions of N blocks.
    table: the outside table.
    tile: number of words whose scores are in memory at once, at most V.
    measured: blocks whose loss is summed.
    products: settings of the products.

  Returns:
    The loss and its gradients: `jw2v.naive_softmax_loss`, summed over the predictions.
    The rows are all V rows (some of the last tile twice, with zeros) and the predicted words.
  """
  vectors = predictions.vectors
  log_normalizer, denominator = _denominator(predictions, table, tile, measured, products)
  scored, w, touched = _words(predictions, table, products)
  normalizer = log_normalizer if predictions.one_to_one else log_normalizer[:, None]
  curvature = w * curvature_of(_logit(scored.scores - normalizer))
  words = Gradients(
    -jnp.sum(sample(w * scored.scores, measured)),
    *scores_vjp(scored, -w, curvature, touched, vectors, len(table), measured, products),
  )
  return add_gradients(denominator, words)


def sampled_softmax(
  predictions: Predictions,
  noise_ids: jax.Array,
  table: jax.Array,
  *,
  log_expected: jax.Array,
  measured: Measured = ALL,
  products: Products = Products(),
) -> Gradients:
  """The softmax over a word and the noise words of its block.

  Args:
    predictions: the predictions of N blocks.
    noise_ids: `[N, K]` noise words.
    table: the outside table.
    log_expected: `[V]` log(K q(w)) of each word.
    measured: blocks whose loss is summed.
    products: settings of the products.

  Returns:
    The loss and its gradients: `jw2v.sampled_softmax_loss`, summed over the predictions.
  """
  vectors = predictions.vectors
  noise = score(noise_ids, table, vectors, each=False, products=products)
  log_expected = log_expected.astype(table.dtype)
  noise_scores = noise.scores - gather_rows(log_expected, noise_ids)[..., None]  # [N, K, I]
  log_noise = jax.nn.logsumexp(noise_scores, axis=1)  # [N, I]
  scored, w, touched = _words(predictions, table, products)
  correction = gather_rows(log_expected, scored.ids)
  if predictions.one_to_one:
    z = scored.scores - correction - log_noise
  else:
    z = scored.scores - correction[..., None] - log_noise[:, None]
  wrong = w * jax.nn.sigmoid(-z)
  of_vectors = wrong if predictions.one_to_one else jnp.sum(wrong, axis=1)  # [N, I]
  words = Gradients(
    jnp.sum(sample(w * jax.nn.softplus(-z), measured)),
    *scores_vjp(
      scored, -wrong, w * curvature_of(z), touched, vectors, len(table), measured, products
    ),
  )
  left = jnp.exp(noise_scores - log_noise[:, None]) * of_vectors[:, None]
  any_left = jnp.any(predictions.totals > 0, axis=1, keepdims=True)
  denominator = Gradients(
    jnp.zeros((), w.dtype),
    *scores_vjp(noise, left, left, any_left, vectors, len(table), measured, products),
  )
  return add_gradients(words, denominator)


def _words(predictions, table, products):
  """Returns the predicted words with their scores and weights, and the mask of touched rows."""
  if predictions.one_to_one:
    scored = score(predictions.word_ids, table, predictions.vectors, each=True, products=products)
    return scored, predictions.weights, predictions.weights > 0
  weights = predictions.weights[:, : predictions.word_ids.shape[1]]
  scored = score(predictions.word_ids, table, predictions.vectors, each=False, products=products)
  return scored, weights, jnp.sum(weights, axis=2) > 0


def _logit(log_y: jax.Array) -> jax.Array:
  """Returns the logit of a probability from its logarithm."""
  log_y = jnp.minimum(log_y, -jnp.finfo(log_y.dtype).eps)
  return log_y - jnp.log(-jnp.expm1(log_y))


def _denominator(
  predictions: Predictions, table: jax.Array, tile: int, measured: Measured, products: Products
) -> tuple[jax.Array, Gradients]:
  """Returns the `[N, I]` log normalizers, and the sum of n times these with its gradients."""
  vectors, totals = predictions.vectors, predictions.totals
  v, n = flat(vectors), totals.reshape(-1)
  log_normalizer = log_normalizers(v, table, tile, products.scores)
  by_block = log_normalizer.reshape(totals.shape)
  # The curvature of a score equals its derivative, so the norms are one more column of the
  # same products.
  with_norm = lambda x: jnp.concatenate([x, squared_norms(x)[:, None]], axis=1)
  v_and_norm = with_norm(v)
  begins = jnp.arange(0, len(table), tile)
  part = lambda x: sample(x, measured).reshape(-1, *x.shape[2:])  # of the measured blocks
  some = part(vectors), part(totals), part(by_block)

  def scored(begin, v, n, log_normalizer):
    """Returns the scored rows of a tile, and n y: both derivative and curvature of its scores."""
    rows, ids, is_new = tile_at(table, begin, tile)
    log_y = products.scores(v, rows) - log_normalizer[:, None]
    return rows, ids, n[:, None] * jnp.where(is_new, jnp.exp(jnp.minimum(log_y, 0)), 0)

  def add(of_vectors, begin):
    rows, ids, d_scores = scored(begin, v, n, log_normalizer)  # [M, S]
    of_rows = products.einsum('ms,md->sd', d_scores, v_and_norm)
    of_vectors += products.einsum('ms,sd->md', d_scores, with_norm(rows))
    return of_vectors, (ids, of_rows)

  def measure(gradients, common):
    def along(rows, gradients, h, common):  # [S, D], [I, D] and [S, I], as one block
      return measure_curvature(rows[None], gradients[None], h[None], common, products)

    def of_tile(none, tile_and_gradients):
      begin, of_rows = tile_and_gradients
      rows, _, h = scored(begin, *some)
      of_center = along(rows, flat(gradients), h.T, common.center)
      return none, Word2VecParams(of_center, along(some[0], of_rows, h, common.outside))

    of_tiles = jax.lax.scan(of_tile, None, (begins, of_rows.reshape(len(begins), -1, v.shape[1])))
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), of_tiles[1])

  of_vectors, (ids, of_rows) = jax.lax.scan(add, jnp.zeros_like(v_and_norm), begins)
  of_rows = flat(of_rows)
  h_vectors, h_rows = products.over_width(of_vectors[:, -1], of_rows[:, -1])
  of_rows = of_rows[:, :-1]
  ids = ids.reshape(-1).astype(jnp.int32)
  return by_block, Gradients(
    jnp.sum(sample(totals * by_block, measured)),
    of_vectors[:, :-1].reshape(vectors.shape),
    h_vectors.reshape(totals.shape),
    measure,
    RowGradients(ids, of_rows, h_rows),
  )
