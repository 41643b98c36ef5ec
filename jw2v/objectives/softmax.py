r"""Softmax objectives over blocks of windows: exact in tiles of the vocabulary, and sampled.

What belongs here: losses of windows whose denominator is a sum over words, with the signature
of those in `binary.py`.

**Exact.** The n predictions of a vector :math:`v` share one softmax over all V words,

.. math::
   J = n \log \sum_w e^{u_w^\top v} - \sum_{o} u_o^\top v, \qquad
   \nabla_v J = n\, U^\top y - \sum_o u_o, \qquad
   \nabla_{u_w} J = n\, y_w v - [w \in o]\, v,

which takes two passes over tiles of the vocabulary, so that memory is that of a tile of scores
and never V times the vectors of a step: one for the largest score and the sum of the
exponentials, as they are met (the running log-sum-exp of Milakov and Gimelshein, `Online
normalizer calculation for softmax <https://arxiv.org/abs/1805.02867>`_, 2018), and one for the
gradients, tile by tile. `tiled.py` has the passes as functions for other models.

**Sampled.** With :math:`\tilde s_w = u_w^\top v - \log(K q(w))` and the K noise words of a block,

.. math::
   J = \sum_o \log\big(1 + e^{L - \tilde s_o}\big), \qquad L = \log \sum_k e^{\tilde s_k},

so that a prediction is a logistic term of the score :math:`\tilde s_o - L`, and the noise words
share what it leaves them: with :math:`p_o = \sigma(L - \tilde s_o)`,
:math:`\partial J / \partial \tilde s_o = -p_o` and
:math:`\partial J / \partial \tilde s_k = e^{\tilde s_k - L} \sum_o p_o`.

**Curvature.** A word of the denominator with probability y has :math:`y (1 - y)`, for which y is
taken: it is there already, and hardly more where y is small. A word that is predicted may be
wrong by much, and has the :math:`c(z)` of `binary.py` at the logit of its probability.

Axes: those of `blocks`; M = N I vectors in all.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.losses.tiled_softmax import log_normalizers, tile_at
from jw2v.objectives.architectures import Windows, flat, rows_of, squared_norms
from jw2v.objectives.logistic import curvature_of
from jw2v.objectives.scores import Gradients, Products, add_gradients, pull_scores, score
from jw2v.optim import RowGradients


def naive_softmax(
  windows: Windows,
  table: jax.Array,
  *,
  tile: int,
  measured: int | None = None,
  products: Products = Products(),
) -> Gradients:
  """The softmax over the whole vocabulary.

  Args:
    windows: what predicts what.
    table: the outside table.
    tile: words whose scores are there at once, at most V.
    measured: of how many blocks, the first, to sum the loss; None for all.
    products: how they are made.

  Returns:
    The loss and its gradients: those of `jw2v.naive_softmax_loss`, summed over the windows.
    Their rows are all V (some of the last tile twice, with zeros) and those predicted.
  """
  weights, vectors = windows.totals, windows.vectors
  v, n = flat(vectors), weights.reshape(-1)
  log_normalizer, d_vectors, h_vectors, outside = _denominator(v, n, table, tile, products)
  log_normalizer = log_normalizer.reshape(weights.shape)
  denominator = Gradients(
    jnp.sum((weights * log_normalizer)[:measured]),
    d_vectors.reshape(vectors.shape), h_vectors.reshape(weights.shape), outside,
  )  # fmt: skip

  scored, w, touched = _words(windows, table, products)
  normalizer = log_normalizer if windows.each_its_own else log_normalizer[:, None]
  curvature = w * curvature_of(_logit(scored.scores - normalizer))
  words = Gradients(
    -jnp.sum((w * scored.scores)[:measured]),
    *pull_scores(scored, -w, curvature, touched, vectors, len(table), products),
  )
  return add_gradients(denominator, words)


def sampled_softmax(
  windows: Windows,
  noise_ids: jax.Array,
  table: jax.Array,
  *,
  log_expected: jax.Array,
  measured: int | None = None,
  products: Products = Products(),
) -> Gradients:
  """The softmax over a word and the noise words of its block.

  Args:
    windows: what predicts what.
    noise_ids: `[N, K]`.
    table: the outside table.
    log_expected: `[V]`, log(K q(w)) of each word.
    measured: of how many blocks, the first, to sum the loss; None for all.
    products: how they are made.

  Returns:
    The loss and its gradients: those of `jw2v.sampled_softmax_loss`, summed over the windows.
  """
  vectors = windows.vectors
  noise = score(noise_ids, table, vectors, each=False, products=products)
  noise_scores = noise.scores - rows_of(log_expected, noise_ids)[..., None]  # [N, K, I]
  log_noise = jax.nn.logsumexp(noise_scores, axis=1)  # [N, I]
  scored, w, touched = _words(windows, table, products)
  correction = rows_of(log_expected, scored.ids)
  if windows.each_its_own:
    z = scored.scores - correction - log_noise
  else:
    z = scored.scores - correction[..., None] - log_noise[:, None]
  wrong = w * jax.nn.sigmoid(-z)
  of_vectors = wrong if windows.each_its_own else jnp.sum(wrong, axis=1)  # [N, I]
  words = Gradients(
    jnp.sum((w * jax.nn.softplus(-z))[:measured]),
    *pull_scores(scored, -wrong, w * curvature_of(z), touched, vectors, len(table), products),
  )
  left = jnp.exp(noise_scores - log_noise[:, None]) * of_vectors[:, None]
  any_left = jnp.any(windows.totals > 0, axis=1, keepdims=True)
  denominator = Gradients(
    jnp.zeros((), w.dtype),
    *pull_scores(noise, left, left, any_left, vectors, len(table), products),
  )
  return add_gradients(words, denominator)


def _words(windows, table, products):
  """The words predicted with their scores, the weights of their shape, and which are touched."""
  if windows.each_its_own:
    scored = score(windows.word_ids, table, windows.vectors, each=True, products=products)
    return scored, windows.weights, windows.weights > 0
  weights = windows.weights[:, : windows.word_ids.shape[1]]
  scored = score(windows.word_ids, table, windows.vectors, each=False, products=products)
  return scored, weights, jnp.sum(weights, axis=2) > 0


def _logit(log_y: jax.Array) -> jax.Array:
  """The logit of a probability, from its logarithm."""
  log_y = jnp.minimum(log_y, -jnp.finfo(log_y.dtype).eps)
  return log_y - jnp.log(-jnp.expm1(log_y))


def _denominator(
  v: jax.Array,
  weights: np.ndarray | jax.Array,
  table: jax.Array,
  tile: int,
  products: Products,
) -> tuple[jax.Array, jax.Array, jax.Array, RowGradients]:
  """`[M]` log normalizers; of n times these the gradient by v, its curvature, and the rows of U."""
  log_normalizer = log_normalizers(v, table, tile, products.scores)
  # The norms are a column more of the same products: the curvature of a score is its derivative.
  with_norm = lambda x: jnp.concatenate([x, squared_norms(x)[:, None]], axis=1)
  v_and_norm = with_norm(v)

  def add(of_vectors, begin):
    rows, ids, is_new = tile_at(table, begin, tile)
    log_y = products.scores(v, rows) - log_normalizer[:, None]
    y = jnp.where(is_new, jnp.exp(jnp.minimum(log_y, 0)), 0)
    d_scores = weights[:, None] * y  # [M, S]
    of_rows = products.einsum('ms,md->sd', d_scores, v_and_norm)
    return of_vectors + products.einsum('ms,sd->md', d_scores, with_norm(rows)), (ids, of_rows)

  begins = jnp.arange(0, len(table), tile)
  of_vectors, (ids, of_rows) = jax.lax.scan(add, jnp.zeros_like(v_and_norm), begins)
  of_rows = flat(of_rows)
  h_vectors, h_rows = products.over_width(of_vectors[:, -1], of_rows[:, -1])
  rows = RowGradients(ids.reshape(-1), of_rows[:, :-1], h_rows)
  return log_normalizer, of_vectors[:, :-1], h_vectors, rows
