"""The losses of one prediction, each with its gradient in closed form.

What belongs here: a scalar function of a center vector and the output vectors it
is scored against, and its `..._value_and_grad` twin: the same arguments, result
`(loss, Grads)`, written from the derivation and never by `jax.grad`. Vectors come
in; looking them up in a table is the caller's. One prediction at a time: batch with
`jax.vmap`. The results keep the dtype of the vectors. A wrong rank, shape or dtype
raises chex's `AssertionError` at trace time, with the argument's name.

Axes: D vector width, V vocabulary, K negatives, L Huffman code length. Tables are
rows: `scores = outside_vectors @ center`. In the comments d_x is dl/dx.
`docs/derivations.md` has every derivation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses._check import check


class NaiveSoftmaxGrads(NamedTuple):
  """Gradients of `naive_softmax_loss`."""

  center: jax.Array  # [D]
  outside_vectors: jax.Array  # [V, D]


class NegativeSamplingGrads(NamedTuple):
  """Gradients of `negative_sampling_loss`."""

  center: jax.Array  # [D]
  outside: jax.Array  # [D]
  negatives: jax.Array  # [K, D]


class NceGrads(NamedTuple):
  """Gradients of `nce_loss`."""

  center: jax.Array  # [D]
  outside: jax.Array  # [D]
  negatives: jax.Array  # [K, D]


class SampledSoftmaxGrads(NamedTuple):
  """Gradients of `sampled_softmax_loss`."""

  center: jax.Array  # [D]
  outside: jax.Array  # [D]
  negatives: jax.Array  # [K, D]


class HierarchicalSoftmaxGrads(NamedTuple):
  """Gradients of `hierarchical_softmax_loss`."""

  center: jax.Array  # [D]
  node_vectors: jax.Array  # [L, D]


# --- Naive softmax ---


def _naive_softmax_scores(center, outside_id, outside_vectors):
  center, outside_id, outside_vectors = check(
    center=(center, 'D'),
    outside_id=(outside_id, '', int),
    outside_vectors=(outside_vectors, 'V D'),
  )
  return center, outside_id, outside_vectors, outside_vectors @ center  # [V]


def naive_softmax_loss(
  center: ArrayLike, outside_id: ArrayLike, outside_vectors: ArrayLike
) -> jax.Array:
  r"""Negative log-probability of one outside word under the softmax over all words.

  .. math:: \ell = -\log \hat y_o = -u_o^\top v + \log \sum_w e^{u_w^\top v},
     \qquad \hat y = \mathrm{softmax}(U v)

  Args:
    center: `[D]` input vector :math:`v`.
    outside_id: `[]` integer :math:`o` in [0, V).
    outside_vectors: `[V, D]` output vectors, :math:`u_w` in row w of :math:`U`.

  Returns:
    Scalar loss.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, eq. 2. Derivations D11, D12.
  """
  _, outside_id, _, scores = _naive_softmax_scores(center, outside_id, outside_vectors)
  return jax.nn.logsumexp(scores) - scores[outside_id]


def naive_softmax_value_and_grad(
  center: ArrayLike, outside_id: ArrayLike, outside_vectors: ArrayLike
) -> tuple[jax.Array, NaiveSoftmaxGrads]:
  r"""`naive_softmax_loss`, same arguments, with its gradients in closed form.

  .. math:: \delta = \hat y - y, \qquad \partial \ell / \partial v = U^\top \delta,
     \qquad \partial \ell / \partial U = \delta v^\top

  with :math:`y` the one-hot vector of :math:`o`.

  Returns:
    `(loss, NaiveSoftmaxGrads)`.

  References:
    Derivations D13 to D18.
  """
  center, outside_id, outside_vectors, scores = _naive_softmax_scores(
    center, outside_id, outside_vectors
  )
  loss = jax.nn.logsumexp(scores) - scores[outside_id]
  delta = jax.nn.softmax(scores).at[outside_id].add(-1)  # [V]  d_scores
  return loss, NaiveSoftmaxGrads(
    center=delta @ outside_vectors, outside_vectors=jnp.outer(delta, center)
  )


# --- Negative sampling, and NCE, which is the same on corrected scores ---


def _sampled_scores(center, outside, negatives, weights=None, log_expected=None):
  """The vectors, the weights and the scores, less log_expected = (outside, negatives)."""
  option = '?' if log_expected is None else ''
  log_outside, log_negatives = log_expected or (None, None)
  center, outside, negatives, weights, log_outside, log_negatives = check(
    center=(center, 'D'),
    outside=(outside, 'D'),
    negatives=(negatives, 'K D'),
    weights=(weights, '?K', 'negatives'),  # an option does not promote the loss
    log_expected_outside=(log_outside, option, 'negatives'),
    log_expected_negatives=(log_negatives, f'{option}K', 'negatives'),
  )
  positive, negative = outside @ center, negatives @ center  # [], [K]
  if log_outside is not None:
    positive, negative = positive - log_outside, negative - log_negatives
  return (center, outside, negatives), weights, positive, negative


def _binary_loss(positive, negative, weights):
  """-log s(positive) - sum_k w_k log s(-negative_k)."""
  noise = jax.nn.log_sigmoid(-negative)  # [K]
  noise = noise if weights is None else weights * noise
  return -jax.nn.log_sigmoid(positive) - jnp.sum(noise)


def _binary_grads(vectors, positive, negative, weights):
  """Gradients of `_binary_loss` to center, outside and negatives."""
  center, outside, negatives = vectors
  d_positive = -jax.nn.sigmoid(-positive)  # []  s(positive) - 1
  d_negative = jax.nn.sigmoid(negative)  # [K]  1 - s(-negative)
  d_negative = d_negative if weights is None else weights * d_negative
  return (
    d_positive * outside + d_negative @ negatives,  # [D]
    d_positive * center,  # [D]
    jnp.outer(d_negative, center),  # [K, D]
  )


def negative_sampling_loss(
  center: ArrayLike, outside: ArrayLike, negatives: ArrayLike, *, weights: ArrayLike | None = None
) -> jax.Array:
  r"""Negative log-likelihood of one observed pair against K noise words.

  .. math:: \ell = -\log \sigma(u_o^\top v) - \sum_k w_k \log \sigma(-u_k^\top v)

  Args:
    center: `[D]` input vector :math:`v`.
    outside: `[D]` output vector :math:`u_o` of the observed word.
    negatives: `[K, D]` output vectors :math:`u_k` of the noise words.
    weights: `[K]` weights :math:`w_k`; all 1 if not given. 0 drops a finite one (the C
      tool drops those equal to the outside word; here they count unless dropped).

  Returns:
    Scalar loss.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, eq. 4 (there maximised). Derivation D20.
  """
  _, weights, positive, negative = _sampled_scores(center, outside, negatives, weights)
  return _binary_loss(positive, negative, weights)


def negative_sampling_value_and_grad(
  center: ArrayLike, outside: ArrayLike, negatives: ArrayLike, *, weights: ArrayLike | None = None
) -> tuple[jax.Array, NegativeSamplingGrads]:
  r"""`negative_sampling_loss`, same arguments, with its gradients in closed form.

  .. math::
     \partial \ell / \partial v &= (\sigma(u_o^\top v) - 1)\, u_o
        + \sum_k w_k\, \sigma(u_k^\top v)\, u_k \\
     \partial \ell / \partial u_o &= (\sigma(u_o^\top v) - 1)\, v \\
     \partial \ell / \partial u_k &= w_k\, \sigma(u_k^\top v)\, v

  Returns:
    `(loss, NegativeSamplingGrads)`, a row for each negative: a word drawn twice comes
    as two rows, which whoever scatters them into a table adds up.

  References:
    Derivations D21 to D27.
  """
  vectors, weights, positive, negative = _sampled_scores(center, outside, negatives, weights)
  loss = _binary_loss(positive, negative, weights)
  return loss, NegativeSamplingGrads(*_binary_grads(vectors, positive, negative, weights))


def nce_loss(
  center: ArrayLike,
  outside: ArrayLike,
  negatives: ArrayLike,
  *,
  log_expected_outside: ArrayLike,
  log_expected_negatives: ArrayLike,
  weights: ArrayLike | None = None,
) -> jax.Array:
  r"""Noise-contrastive estimation: negative sampling on corrected scores.

  .. math:: \ell = -\log \sigma(\tilde s_o) - \sum_k w_k \log \sigma(-\tilde s_k),
     \qquad \tilde s_w = u_w^\top v - \log(K q(w))

  Args:
    center: `[D]` input vector :math:`v`.
    outside: `[D]` output vector :math:`u_o` of the observed word.
    negatives: `[K, D]` output vectors :math:`u_k` of the noise words.
    log_expected_outside: `[]` log(K q(o)): how often, in logarithm, the observed word
      is expected among the K draws from the noise distribution q.
    log_expected_negatives: `[K]` log(K q(w_k)). +inf drops a negative.
    weights: `[K]` weights :math:`w_k`; all 1 if not given.

  Returns:
    Scalar loss.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    Gutmann and Hyvarinen, Noise-contrastive estimation, 2010; Mnih and Teh, `A fast
    and simple algorithm for training neural probabilistic language models
    <https://arxiv.org/abs/1206.6426>`_, 2012.
  """
  expected = log_expected_outside, log_expected_negatives
  _, weights, positive, negative = _sampled_scores(center, outside, negatives, weights, expected)
  return _binary_loss(positive, negative, weights)


def nce_value_and_grad(
  center: ArrayLike,
  outside: ArrayLike,
  negatives: ArrayLike,
  *,
  log_expected_outside: ArrayLike,
  log_expected_negatives: ArrayLike,
  weights: ArrayLike | None = None,
) -> tuple[jax.Array, NceGrads]:
  r"""`nce_loss`, same arguments, with its gradients in closed form.

  The correction is a constant, so these are the gradients of negative sampling with
  :math:`\tilde s` for the scores:

  .. math::
     \partial \ell / \partial v = (\sigma(\tilde s_o) - 1)\, u_o
        + \sum_k w_k\, \sigma(\tilde s_k)\, u_k, \quad
     \partial \ell / \partial u_o = (\sigma(\tilde s_o) - 1)\, v, \quad
     \partial \ell / \partial u_k = w_k\, \sigma(\tilde s_k)\, v

  Returns:
    `(loss, NceGrads)`.

  References:
    As `nce_loss`.
  """
  expected = log_expected_outside, log_expected_negatives
  vectors, weights, *scores = _sampled_scores(center, outside, negatives, weights, expected)
  positive, negative = scores
  grads = _binary_grads(vectors, positive, negative, weights)
  return _binary_loss(positive, negative, weights), NceGrads(*grads)


# --- Sampled softmax ---


def sampled_softmax_loss(
  center: ArrayLike,
  outside: ArrayLike,
  negatives: ArrayLike,
  *,
  log_expected_outside: ArrayLike,
  log_expected_negatives: ArrayLike,
) -> jax.Array:
  r"""Softmax over the observed word and K noise words, on corrected scores.

  .. math:: \ell = -\tilde s_o + \log\Big(e^{\tilde s_o} + \sum_k e^{\tilde s_k}\Big),
     \qquad \tilde s_w = u_w^\top v - \log(K q(w))

  Args:
    center: `[D]` input vector :math:`v`.
    outside: `[D]` output vector :math:`u_o` of the observed word.
    negatives: `[K, D]` output vectors :math:`u_k` of the noise words.
    log_expected_outside: `[]` log(K q(o)), as in `nce_loss`.
    log_expected_negatives: `[K]` log(K q(w_k)). +inf drops a negative, as one does
      with those equal to the outside word ("accidental hits").

  Returns:
    Scalar loss.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    Jean et al., `On Using Very Large Target Vocabulary for Neural Machine
    Translation <https://arxiv.org/abs/1412.2007>`_, 2015.
  """
  expected = log_expected_outside, log_expected_negatives
  *_, positive, negative = _sampled_scores(center, outside, negatives, None, expected)
  logits = jnp.concatenate([positive[None], negative])  # [1 + K]
  return jax.nn.logsumexp(logits) - logits[0]


def sampled_softmax_value_and_grad(
  center: ArrayLike,
  outside: ArrayLike,
  negatives: ArrayLike,
  *,
  log_expected_outside: ArrayLike,
  log_expected_negatives: ArrayLike,
) -> tuple[jax.Array, SampledSoftmaxGrads]:
  r"""`sampled_softmax_loss`, same arguments, with its gradients in closed form.

  .. math:: \delta = \mathrm{softmax}(\tilde s) - y, \qquad
     \partial \ell / \partial v = \sum_w \delta_w u_w, \qquad
     \partial \ell / \partial u_w = \delta_w v

  with w over the observed word and the negatives, and :math:`y` one-hot at the former.

  Returns:
    `(loss, SampledSoftmaxGrads)`.

  References:
    As `sampled_softmax_loss`.
  """
  expected = log_expected_outside, log_expected_negatives
  vectors, _, positive, negative = _sampled_scores(center, outside, negatives, None, expected)
  center, outside, negatives = vectors
  logits = jnp.concatenate([positive[None], negative])  # [1 + K]
  delta = jax.nn.softmax(logits).at[0].add(-1)  # [1 + K]  d_logits
  return jax.nn.logsumexp(logits) - logits[0], SampledSoftmaxGrads(
    center=delta[0] * outside + delta[1:] @ negatives,
    outside=delta[0] * center,
    negatives=jnp.outer(delta[1:], center),
  )


# --- Hierarchical softmax ---


def _signed_path(center, node_vectors, code, mask):
  """The path and its scores, signed: + where the code says 0, - where it says 1."""
  dtypes = [jnp.dtype(getattr(x, 'dtype', type(x))) for x in jax.tree.leaves(code)]
  is_bool = all(dtype == jnp.bool_ for dtype in dtypes)  # of an array, or of a list's parts
  center, node_vectors, code, mask = check(
    center=(center, 'D'),
    node_vectors=(node_vectors, 'L D'),
    code=(code, 'L', bool if is_bool else int),
    mask=(mask, '?L', bool),
  )
  mask = jnp.ones_like(code, bool) if mask is None else mask
  node_vectors = jnp.where(mask[:, None], node_vectors, 0)  # padding may hold anything
  signs = jnp.where(code, -1, 1).astype(node_vectors.dtype)  # [L]
  return center, node_vectors, mask, signs, signs * (node_vectors @ center)


def hierarchical_softmax_loss(
  center: ArrayLike, node_vectors: ArrayLike, code: ArrayLike, *, mask: ArrayLike | None = None
) -> jax.Array:
  r"""Negative log-probability of a leaf: one binary decision at each node of its path.

  .. math:: \ell = -\sum_l \log \sigma(\pm_l\, u_l^\top v), \qquad
     \pm_l = + \text{ for code } 0, \; - \text{ for code } 1

  Args:
    center: `[D]` input vector :math:`v`.
    node_vectors: `[L, D]` vectors :math:`u_l` of the inner nodes, from the root.
    code: `[L]` integer 0 or 1, or bool: the branch taken at each node. As in the C
      tool, 0 is the branch of probability :math:`\sigma(u_l^\top v)`.
    mask: `[L]` bool, False where a shorter path is padded; the node vector and code
      there may be anything. All True if not given.

  Returns:
    Scalar loss; 0 for a path masked entirely.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    Morin and Bengio, Hierarchical probabilistic neural network language model, 2005;
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, eq. 3.
  """
  _, _, mask, _, scores = _signed_path(center, node_vectors, code, mask)
  return -jnp.sum(jax.nn.log_sigmoid(scores), where=mask)


def hierarchical_softmax_value_and_grad(
  center: ArrayLike, node_vectors: ArrayLike, code: ArrayLike, *, mask: ArrayLike | None = None
) -> tuple[jax.Array, HierarchicalSoftmaxGrads]:
  r"""`hierarchical_softmax_loss`, same arguments, with its gradients in closed form.

  .. math:: t_l = \pm_l\,(\sigma(\pm_l\, u_l^\top v) - 1), \qquad
     \partial \ell / \partial v = \sum_l t_l u_l, \qquad
     \partial \ell / \partial u_l = t_l v

  that is, :math:`t_l = \sigma(u_l^\top v) - (1 - \mathrm{code}_l)`, as in the C tool.

  Returns:
    `(loss, HierarchicalSoftmaxGrads)`; masked rows have zero gradient.

  References:
    As `hierarchical_softmax_loss`.
  """
  center, node_vectors, mask, signs, scores = _signed_path(center, node_vectors, code, mask)
  d_scores = jnp.where(mask, -signs * jax.nn.sigmoid(-scores), 0)  # [L]
  return -jnp.sum(jax.nn.log_sigmoid(scores), where=mask), HierarchicalSoftmaxGrads(
    center=d_scores @ node_vectors, node_vectors=jnp.outer(d_scores, center)
  )
