r"""Losses of scores, on which the losses of vectors are built.

A model that makes its own scores (with a temperature or a bias, from cosines or kernels, in
float32, on a mesh) calls these. Each has a `..._value_and_grad` twin: the same arguments, result
`(loss, Grads)` with the derivatives with respect to the scores. They are the :math:`\delta` of the
textbook; the chain rule through :math:`s_w = u_w^\top v` turns them into the gradients of vectors
(`prediction.py`).

One prediction at a time: batch with `jax.vmap`. Options may be given by position, so that
`jax.vmap(loss, (0, 0, None))` shares them. A loss has the common dtype of its scores, a gradient
the dtype of its score. Sums are carried in float32 or better. A wrong rank, shape or dtype raises
an `AssertionError` at trace time, with the name of the argument.

Axes: K negatives, L Huffman code length.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses._check import check
from jw2v.losses._mesh import any_mesh
from jw2v.losses.numerics import cast, common_dtype, exportable, margin, softmax, widen


@exportable
class NegativeSamplingScoreGrads(NamedTuple):
  """Gradients of `negative_sampling_from_scores`."""

  positive: jax.Array  # []
  negatives: jax.Array  # [K]


@exportable
class NceScoreGrads(NamedTuple):
  """Gradients of `nce_from_scores`."""

  positive: jax.Array  # []
  negatives: jax.Array  # [K]


@exportable
class SampledSoftmaxScoreGrads(NamedTuple):
  """Gradients of `sampled_softmax_from_scores`."""

  positive: jax.Array  # []
  negatives: jax.Array  # [K]


@exportable
class HierarchicalSoftmaxScoreGrads(NamedTuple):
  """Gradients of `hierarchical_softmax_from_scores`."""

  scores: jax.Array  # [L]


def _check_scores(positive, negatives, weights=None, log_expected=(None, None), option='?'):
  """Returns the scores less the corrections, the weights, and the dtypes of loss and gradients."""
  log_outside, log_negatives = log_expected
  positive, negatives, weights, log_outside, log_negatives = check(
    positive=(positive, ''),
    negatives=(negatives, 'K'),
    weights=(weights, '?K', 'negatives'),  # an option does not promote the loss
    log_expected_outside=(log_outside, option, 'positive'),
    log_expected_negatives=(log_negatives, f'{option}K', 'negatives'),
  )
  dtypes = common_dtype(positive, negatives), positive.dtype, negatives.dtype
  positive, negatives = widen(positive, negatives)
  wide = positive.dtype
  positive = positive if log_outside is None else positive - log_outside.astype(wide)
  negatives = negatives if log_negatives is None else negatives - log_negatives.astype(wide)
  weights = None if weights is None else weights.astype(wide)
  return positive, negatives, weights, dtypes


# --- Negative sampling, and NCE, which is the same with corrected scores ---


def _binary_loss(positive, negatives, weights):
  """-log s(positive) - sum_k w_k log s(-negative_k)."""
  noise = jax.nn.softplus(negatives)  # [K]
  noise = noise if weights is None else weights * noise
  return jax.nn.softplus(-positive) + jnp.sum(noise)


def _binary_deltas(positive, negatives, weights):
  """Derivatives of `_binary_loss` by the scores."""
  d_positive = -jax.nn.sigmoid(-positive)  # []  s(positive) - 1
  d_negatives = jax.nn.sigmoid(negatives)  # [K]  1 - s(-negative)
  return d_positive, d_negatives if weights is None else weights * d_negatives


@any_mesh()
def negative_sampling_from_scores(
  positive: ArrayLike, negatives: ArrayLike, weights: ArrayLike | None = None
) -> jax.Array:
  r"""Negative log-likelihood of one observed pair against K noise words, from their scores.

  .. math:: \ell = -\log \sigma(s_o) - \sum_k w_k \log \sigma(-s_k)

  Args:
    positive: `[]` score :math:`s_o` of the observed pair.
    negatives: `[K]` scores :math:`s_k` of the noise words.
    weights: `[K]` weights :math:`w_k`; all 1 if not given. 0 drops a finite one.

  Returns:
    Scalar loss, at least 0 for weights of at least 0.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    As `negative_sampling_loss`. Derivation D20.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> print(f'{jw2v.negative_sampling_from_scores(2.0, jnp.array([-1.0, 0.5])):.4f}')
    1.4143
  """
  positive, negatives, weights, dtypes = _check_scores(positive, negatives, weights)
  return _binary_loss(positive, negatives, weights).astype(dtypes[0])


@any_mesh(grads=NegativeSamplingScoreGrads)
def negative_sampling_from_scores_value_and_grad(
  positive: ArrayLike, negatives: ArrayLike, weights: ArrayLike | None = None
) -> tuple[jax.Array, NegativeSamplingScoreGrads]:
  r"""`negative_sampling_from_scores`, same arguments, with its gradients in closed form.

  .. math:: \partial \ell / \partial s_o = \sigma(s_o) - 1, \qquad
     \partial \ell / \partial s_k = w_k\, \sigma(s_k)

  Returns:
    `(loss, NegativeSamplingScoreGrads)`.

  References:
    Derivation D09.
  """
  positive, negatives, weights, dtypes = _check_scores(positive, negatives, weights)
  loss = _binary_loss(positive, negatives, weights)
  loss, *deltas = cast((loss, *_binary_deltas(positive, negatives, weights)), dtypes)
  return loss, NegativeSamplingScoreGrads(*deltas)


@any_mesh()
def nce_from_scores(
  positive: ArrayLike,
  negatives: ArrayLike,
  log_expected_outside: ArrayLike,
  log_expected_negatives: ArrayLike,
  weights: ArrayLike | None = None,
) -> jax.Array:
  r"""Noise-contrastive estimation from scores: negative sampling with corrected scores.

  .. math:: \ell = -\log \sigma(\tilde s_o) - \sum_k w_k \log \sigma(-\tilde s_k),
     \qquad \tilde s_w = s_w - \log(K q(w))

  Args:
    positive: `[]` score :math:`s_o` of the observed pair.
    negatives: `[K]` scores :math:`s_k` of the noise words.
    log_expected_outside: `[]` log(K q(o)), the logarithm of the expected count of the
      observed word among the K draws from the noise distribution q.
    log_expected_negatives: `[K]` log(K q(w_k)). +inf drops a negative.
    weights: `[K]` weights :math:`w_k`; all 1 if not given.

  Returns:
    Scalar loss, at least 0 for weights of at least 0.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    As `nce_loss`. Derivation D51.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> loss = jw2v.nce_from_scores(2.0, jnp.array([-1.0, 0.5]), -1.0, jnp.array([-2.0, 0.0]))
    >>> print(f'{loss:.4f}')
    2.3359
  """
  expected = log_expected_outside, log_expected_negatives
  positive, negatives, weights, dtypes = _check_scores(positive, negatives, weights, expected, '')
  return _binary_loss(positive, negatives, weights).astype(dtypes[0])


@any_mesh(grads=NceScoreGrads)
def nce_from_scores_value_and_grad(
  positive: ArrayLike,
  negatives: ArrayLike,
  log_expected_outside: ArrayLike,
  log_expected_negatives: ArrayLike,
  weights: ArrayLike | None = None,
) -> tuple[jax.Array, NceScoreGrads]:
  r"""`nce_from_scores`, same arguments, with its gradients in closed form.

  .. math:: \partial \ell / \partial s_o = \sigma(\tilde s_o) - 1, \qquad
     \partial \ell / \partial s_k = w_k\, \sigma(\tilde s_k)

  Returns:
    `(loss, NceScoreGrads)`.

  References:
    Derivation D51.
  """
  expected = log_expected_outside, log_expected_negatives
  positive, negatives, weights, dtypes = _check_scores(positive, negatives, weights, expected, '')
  loss = _binary_loss(positive, negatives, weights)
  loss, *deltas = cast((loss, *_binary_deltas(positive, negatives, weights)), dtypes)
  return loss, NceScoreGrads(*deltas)


# --- Sampled softmax ---


@any_mesh()
def sampled_softmax_from_scores(
  positive: ArrayLike,
  negatives: ArrayLike,
  log_expected_outside: ArrayLike | None = None,
  log_expected_negatives: ArrayLike | None = None,
) -> jax.Array:
  r"""Cross entropy of the softmax over the observed pair and K noise words, from their scores.

  .. math:: \ell = -\tilde s_o + \log\Big(e^{\tilde s_o} + \sum_k e^{\tilde s_k}\Big),
     \qquad \tilde s_w = s_w - \log(K q(w))

  Args:
    positive: `[]` score :math:`s_o` of the observed pair.
    negatives: `[K]` scores :math:`s_k` of the noise words.
    log_expected_outside: `[]` log(K q(o)); 0 if not given.
    log_expected_negatives: `[K]` log(K q(w_k)); 0 if not given. +inf drops a negative.

  Returns:
    Scalar loss, at least 0.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    As `sampled_softmax_loss`. Derivation D52.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> print(f'{jw2v.sampled_softmax_from_scores(2.0, jnp.array([-1.0, 0.5])):.4f}')
    0.2413
  """
  expected = log_expected_outside, log_expected_negatives
  positive, negatives, _, dtypes = _check_scores(positive, negatives, None, expected)
  return jax.nn.softplus(margin(negatives, positive)).astype(dtypes[0])


@any_mesh(grads=SampledSoftmaxScoreGrads)
def sampled_softmax_from_scores_value_and_grad(
  positive: ArrayLike,
  negatives: ArrayLike,
  log_expected_outside: ArrayLike | None = None,
  log_expected_negatives: ArrayLike | None = None,
) -> tuple[jax.Array, SampledSoftmaxScoreGrads]:
  r"""`sampled_softmax_from_scores`, same arguments, with its gradients in closed form.

  .. math:: \partial \ell / \partial s_o = \hat y_o - 1, \qquad
     \partial \ell / \partial s_k = \hat y_k, \qquad
     \hat y = \mathrm{softmax}(\tilde s_o, \tilde s_1, \dots, \tilde s_K)

  Returns:
    `(loss, SampledSoftmaxScoreGrads)`.

  References:
    Derivation D52.
  """
  expected = log_expected_outside, log_expected_negatives
  positive, negatives, _, dtypes = _check_scores(positive, negatives, None, expected)
  z = margin(negatives, positive)
  wrong = jax.nn.sigmoid(z)  # 1 - y_o, which the negatives share
  loss, *deltas = cast((jax.nn.softplus(z), -wrong, wrong * softmax(negatives)), dtypes)
  return loss, SampledSoftmaxScoreGrads(*deltas)


# --- Hierarchical softmax ---


def _signed_scores(scores, code, mask):
  """Returns the scores with the sign of the branch taken, 0 at masked nodes; signs; mask; dtype."""
  scores, code, mask = check(
    scores=(scores, 'L'), code=(code, 'L', kind_of_code(code)), mask=(mask, '?L', bool)
  )
  mask = jnp.ones(scores.shape, bool) if mask is None else mask
  dtype, (scores,) = scores.dtype, widen(scores)
  signs = jnp.where(code.astype(bool), -1, 1).astype(scores.dtype)  # [L]
  return signs * jnp.where(mask, scores, 0), signs, mask, dtype


def kind_of_code(code: ArrayLike) -> type:
  """Returns the kind of a Huffman code for `check`: `bool`, or `int` for 0 and 1."""
  dtypes = [jnp.dtype(getattr(x, 'dtype', type(x))) for x in jax.tree.leaves(code)]
  return bool if all(dtype == jnp.bool_ for dtype in dtypes) else int  # of an array or a list


@any_mesh()
def hierarchical_softmax_from_scores(
  scores: ArrayLike, code: ArrayLike, mask: ArrayLike | None = None
) -> jax.Array:
  r"""Negative log-probability of a leaf, from the scores of the nodes of its path.

  .. math:: \ell = -\sum_l \log \sigma(\pm_l\, s_l), \qquad
     \pm_l = + \text{ for code } 0, \; - \text{ for code } 1

  Args:
    scores: `[L]` scores :math:`s_l` of the inner nodes, from the root.
    code: `[L]` integer 0 or 1, or bool: the branch taken at each node, 0 with probability
      :math:`\sigma(s_l)`.
    mask: `[L]` bool, False where a shorter path is padded; all True if not given.

  Returns:
    Scalar loss; 0 for a path masked entirely.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    As `hierarchical_softmax_loss`. Derivation D50.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> print(f'{jw2v.hierarchical_softmax_from_scores(jnp.array([1.0, -2.0]), [0, 1]):.4f}')
    0.4402
  """
  scores, _, mask, dtype = _signed_scores(scores, code, mask)
  return jnp.sum(jax.nn.softplus(-scores), where=mask).astype(dtype)


@any_mesh(grads=HierarchicalSoftmaxScoreGrads)
def hierarchical_softmax_from_scores_value_and_grad(
  scores: ArrayLike, code: ArrayLike, mask: ArrayLike | None = None
) -> tuple[jax.Array, HierarchicalSoftmaxScoreGrads]:
  r"""`hierarchical_softmax_from_scores`, same arguments, with its gradients in closed form.

  .. math:: \partial \ell / \partial s_l = \pm_l\,(\sigma(\pm_l\, s_l) - 1)
     = \sigma(s_l) - (1 - \mathrm{code}_l)

  Returns:
    `(loss, HierarchicalSoftmaxScoreGrads)`; 0 at masked nodes.

  References:
    Derivation D50.
  """
  scores, signs, mask, dtype = _signed_scores(scores, code, mask)
  deltas = jnp.where(mask, -signs * jax.nn.sigmoid(-scores), 0)  # [L]
  loss, deltas = cast((jnp.sum(jax.nn.softplus(-scores), where=mask), deltas), (dtype, dtype))
  return loss, HierarchicalSoftmaxScoreGrads(deltas)
