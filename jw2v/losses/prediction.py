r"""The losses of one prediction, each with its gradient in closed form.

A loss is a scalar function of a center vector and the output vectors that it is scored against. It
is a loss of scores (`scores.py`) at the scores :math:`s_w = u_w^\top v`. Its `..._value_and_grad`
twin takes the same arguments and returns `(loss, Grads)`: the derivatives with respect to the
scores from `scores.py`, then the chain rule. A twin never calls `jax.grad`.

The losses take vectors; the caller looks them up in a table (`rows.py` helps). One prediction at a
time: batch with `jax.vmap`. Options may be given by position, so that `in_axes` can share them:

    jax.vmap(nce_loss, (0, 0, None, 0, None))(
      centers, outsides, shared_negatives, log_expected_outsides, log_expected_negatives)

A loss has the common dtype of its vectors, a gradient the dtype of its vector. Sums are carried in
float32 or better. A wrong rank, shape or dtype raises an `AssertionError` at trace time, with
the argument's name.

Axes: D vector width, V vocabulary, K negatives, L Huffman code length. Tables are
rows: `scores = outside_vectors @ center`. In the comments d_x is dl/dx.
`docs/derivations.md` has every derivation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses._check import check
from jw2v.losses._mesh import any_mesh
from jw2v.losses.numerics import (
  cast,
  common_dtype,
  dot,
  exportable,
  outer,
  softmax_of_label,
  widen,
)
from jw2v.losses.scores import (
  hierarchical_softmax_from_scores,
  hierarchical_softmax_from_scores_value_and_grad,
  kind_of_code,
  nce_from_scores,
  nce_from_scores_value_and_grad,
  negative_sampling_from_scores,
  negative_sampling_from_scores_value_and_grad,
  sampled_softmax_from_scores,
  sampled_softmax_from_scores_value_and_grad,
)


@exportable
class NaiveSoftmaxGrads(NamedTuple):
  """Gradients of `naive_softmax_loss`."""

  center: jax.Array  # [D]
  outside_vectors: jax.Array  # [V, D]


@exportable
class NegativeSamplingGrads(NamedTuple):
  """Gradients of `negative_sampling_loss`."""

  center: jax.Array  # [D]
  outside: jax.Array  # [D]
  negatives: jax.Array  # [K, D]


@exportable
class NceGrads(NamedTuple):
  """Gradients of `nce_loss`."""

  center: jax.Array  # [D]
  outside: jax.Array  # [D]
  negatives: jax.Array  # [K, D]


@exportable
class SampledSoftmaxGrads(NamedTuple):
  """Gradients of `sampled_softmax_loss`."""

  center: jax.Array  # [D]
  outside: jax.Array  # [D]
  negatives: jax.Array  # [K, D]


@exportable
class HierarchicalSoftmaxGrads(NamedTuple):
  """Gradients of `hierarchical_softmax_loss`."""

  center: jax.Array  # [D]
  node_vectors: jax.Array  # [L, D]


# --- Naive softmax ---


def _check_naive_softmax(center, outside_id, outside_vectors):
  """Returns the checked arguments, the scores, and the dtypes of the loss and its gradients."""
  center, outside_id, outside_vectors = check(
    center=(center, 'D'),
    outside_id=(outside_id, '', int),
    outside_vectors=(outside_vectors, 'V D'),
  )
  dtypes = common_dtype(center, outside_vectors), center.dtype, outside_vectors.dtype
  scores = dot(center, outside_vectors.T)  # [V]; in this order a batch comes first under vmap
  return center, outside_id, outside_vectors, scores, dtypes


@any_mesh()
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

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> center, table = jnp.array([1.0, 0.0]), jnp.log(jnp.array([[1.0, 3], [2, 1], [5, 4]]))
    >>> print(f'{jw2v.naive_softmax_loss(center, 1, table):.4f}')  # log 4, of 2 / (1 + 2 + 5)
    1.3863
  """
  _, outside_id, _, scores, dtypes = _check_naive_softmax(center, outside_id, outside_vectors)
  return softmax_of_label(scores, outside_id)[0].astype(dtypes[0])


@any_mesh(grads=NaiveSoftmaxGrads)
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
  center, outside_id, outside_vectors, scores, dtypes = _check_naive_softmax(
    center, outside_id, outside_vectors
  )
  loss, delta = softmax_of_label(scores, outside_id)  # [V]  d_scores
  d_center, d_outside_vectors = dot(delta, outside_vectors), outer(delta, center)
  loss, *grads = cast((loss, d_center, d_outside_vectors), dtypes)
  return loss, NaiveSoftmaxGrads(*grads)


# --- Negative sampling, and NCE, which is the same on corrected scores ---


def _check_pair(center, outside, negatives):
  """Returns the checked vectors, their scores, and the dtypes of the loss and its gradients."""
  vectors = check(center=(center, 'D'), outside=(outside, 'D'), negatives=(negatives, 'K D'))
  center, outside, negatives = vectors
  scores = dot(outside, center), dot(center, negatives.T)  # [], [K]
  return vectors, scores, (common_dtype(*vectors), *(x.dtype for x in vectors))


def _chain_rule(vectors, d_positive, d_negatives):
  """Returns the gradients of center, outside and negatives from the derivatives by the scores."""
  center, outside, negatives = vectors
  center, outside, _ = widen(center, outside, d_positive)
  return (
    d_positive * outside + dot(d_negatives, negatives),  # [D]
    d_positive * center,  # [D]
    outer(d_negatives, center),  # [K, D]
  )


@any_mesh()
def negative_sampling_loss(
  center: ArrayLike, outside: ArrayLike, negatives: ArrayLike, weights: ArrayLike | None = None
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

  Example:
    >>> import jax, jax.numpy as jnp, jw2v
    >>> center, outside = jnp.array([1.0, 0.0]), jnp.array([jnp.log(3.0), 1])
    >>> negatives = jnp.array([[0.0, 2], [-jnp.log(3.0), 4]])
    >>> print(f'{jw2v.negative_sampling_loss(center, outside, negatives):.4f}')  # log(32 / 9)
    1.2685
    >>> batched = jax.vmap(jw2v.negative_sampling_loss, (0, 0, None))  # shared negatives
    >>> batched(jnp.ones((4, 2)), jnp.ones((4, 2)), negatives).shape
    (4,)
  """
  _, (positive, negative), dtypes = _check_pair(center, outside, negatives)
  return negative_sampling_from_scores(positive, negative, weights).astype(dtypes[0])


@any_mesh(grads=NegativeSamplingGrads)
def negative_sampling_value_and_grad(
  center: ArrayLike, outside: ArrayLike, negatives: ArrayLike, weights: ArrayLike | None = None
) -> tuple[jax.Array, NegativeSamplingGrads]:
  r"""`negative_sampling_loss`, same arguments, with its gradients in closed form.

  .. math::
     \partial \ell / \partial v &= (\sigma(u_o^\top v) - 1)\, u_o
        + \sum_k w_k\, \sigma(u_k^\top v)\, u_k \\
     \partial \ell / \partial u_o &= (\sigma(u_o^\top v) - 1)\, v \\
     \partial \ell / \partial u_k &= w_k\, \sigma(u_k^\top v)\, v

  Returns:
    `(loss, NegativeSamplingGrads)`, one row per negative. A word drawn twice has two rows; add them
    when scattering the rows into a table.

  References:
    Derivations D21 to D27.
  """
  vectors, (positive, negative), dtypes = _check_pair(center, outside, negatives)
  loss, deltas = negative_sampling_from_scores_value_and_grad(positive, negative, weights)
  loss, *grads = cast((loss, *_chain_rule(vectors, *deltas)), dtypes)
  return loss, NegativeSamplingGrads(*grads)


@any_mesh()
def nce_loss(
  center: ArrayLike,
  outside: ArrayLike,
  negatives: ArrayLike,
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
    log_expected_outside: `[]` log(K q(o)): logarithm of the number of times that the observed word
      is expected among the K draws from the noise distribution q.
    log_expected_negatives: `[K]` log(K q(w_k)), as `jw2v.log_expected_counts` makes it.
      +inf drops a negative.
    weights: `[K]` weights :math:`w_k`; all 1 if not given.

  Returns:
    Scalar loss.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    Gutmann and Hyvarinen, Noise-contrastive estimation, 2010; Mnih and Teh, `A fast
    and simple algorithm for training neural probabilistic language models
    <https://arxiv.org/abs/1206.6426>`_, 2012.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> log_expected = jw2v.log_expected_counts(jnp.array([0.5, 0.3, 0.2]), 2)  # of 2 draws
    >>> loss = jw2v.nce_loss(
    ...   jnp.array([1.0, 0.0]), jnp.array([2.0, 1.0]), jnp.zeros((2, 2)),
    ...   log_expected_outside=log_expected[0], log_expected_negatives=log_expected[1:],
    ... )
    >>> print(f'{loss:.4f}')
    2.3605
  """
  _, (positive, negative), dtypes = _check_pair(center, outside, negatives)
  loss = nce_from_scores(positive, negative, log_expected_outside, log_expected_negatives, weights)
  return loss.astype(dtypes[0])


@any_mesh(grads=NceGrads)
def nce_value_and_grad(
  center: ArrayLike,
  outside: ArrayLike,
  negatives: ArrayLike,
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
  vectors, (positive, negative), dtypes = _check_pair(center, outside, negatives)
  loss, deltas = nce_from_scores_value_and_grad(
    positive, negative, log_expected_outside, log_expected_negatives, weights
  )
  loss, *grads = cast((loss, *_chain_rule(vectors, *deltas)), dtypes)
  return loss, NceGrads(*grads)


# --- Sampled softmax ---


def _required(log_expected_outside, log_expected_negatives):
  """Raises a `TypeError` for None, which the loss of scores accepts as no correction."""
  for name, axes, value in (
    ('log_expected_outside', '', log_expected_outside),
    ('log_expected_negatives', 'K', log_expected_negatives),
  ):
    if value is None:
      raise TypeError(f'argument {name!r} must be real [{axes}], got None')
  return log_expected_outside, log_expected_negatives


@any_mesh()
def sampled_softmax_loss(
  center: ArrayLike,
  outside: ArrayLike,
  negatives: ArrayLike,
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

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> log_expected = jw2v.log_expected_counts(jnp.array([0.5, 0.3, 0.2]), 2)  # of 2 draws
    >>> loss = jw2v.sampled_softmax_loss(
    ...   jnp.array([1.0, 0.0]), jnp.array([2.0, 1.0]), jnp.zeros((2, 2)),
    ...   log_expected_outside=log_expected[0], log_expected_negatives=log_expected[1:],
    ... )
    >>> print(f'{loss:.4f}')
    0.4472
  """
  _, (positive, negative), dtypes = _check_pair(center, outside, negatives)
  expected = _required(log_expected_outside, log_expected_negatives)
  return sampled_softmax_from_scores(positive, negative, *expected).astype(dtypes[0])


@any_mesh(grads=SampledSoftmaxGrads)
def sampled_softmax_value_and_grad(
  center: ArrayLike,
  outside: ArrayLike,
  negatives: ArrayLike,
  log_expected_outside: ArrayLike,
  log_expected_negatives: ArrayLike,
) -> tuple[jax.Array, SampledSoftmaxGrads]:
  r"""`sampled_softmax_loss`, same arguments, with its gradients in closed form.

  .. math:: \delta = \mathrm{softmax}(\tilde s) - y, \qquad
     \partial \ell / \partial v = \sum_w \delta_w u_w, \qquad
     \partial \ell / \partial u_w = \delta_w v

  with w over the observed word and the negatives, and :math:`y` one-hot at the observed word.

  Returns:
    `(loss, SampledSoftmaxGrads)`.

  References:
    As `sampled_softmax_loss`.
  """
  vectors, (positive, negative), dtypes = _check_pair(center, outside, negatives)
  expected = _required(log_expected_outside, log_expected_negatives)
  loss, deltas = sampled_softmax_from_scores_value_and_grad(positive, negative, *expected)
  loss, *grads = cast((loss, *_chain_rule(vectors, *deltas)), dtypes)
  return loss, SampledSoftmaxGrads(*grads)


# --- Hierarchical softmax ---


def _check_path(center, node_vectors, code, mask):
  """Returns the checked arguments, the scores, and the dtypes of the loss and its gradients."""
  center, node_vectors, code, mask = check(
    center=(center, 'D'),
    node_vectors=(node_vectors, 'L D'),
    code=(code, 'L', kind_of_code(code)),
    mask=(mask, '?L', bool),
  )
  dtypes = common_dtype(center, node_vectors), center.dtype, node_vectors.dtype
  if mask is not None:
    node_vectors = jnp.where(mask[:, None], node_vectors, 0)  # padding may hold anything
  scores = dot(center, node_vectors.T)  # [L]
  return (center, node_vectors), (scores, code, mask), dtypes


@any_mesh()
def hierarchical_softmax_loss(
  center: ArrayLike, node_vectors: ArrayLike, code: ArrayLike, mask: ArrayLike | None = None
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

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> nodes = jnp.array([[1.0, 0.0], [-2.0, 3.0]])
    >>> print(f'{jw2v.hierarchical_softmax_loss(jnp.array([1.0, 0.0]), nodes, [0, 1]):.4f}')
    0.4402
  """
  _, path, dtypes = _check_path(center, node_vectors, code, mask)
  return hierarchical_softmax_from_scores(*path).astype(dtypes[0])


@any_mesh(grads=HierarchicalSoftmaxGrads)
def hierarchical_softmax_value_and_grad(
  center: ArrayLike, node_vectors: ArrayLike, code: ArrayLike, mask: ArrayLike | None = None
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
  (center, node_vectors), path, dtypes = _check_path(center, node_vectors, code, mask)
  loss, (deltas,) = hierarchical_softmax_from_scores_value_and_grad(*path)  # [L]  d_scores
  loss, *grads = cast((loss, dot(deltas, node_vectors), outer(deltas, center)), dtypes)
  return loss, HierarchicalSoftmaxGrads(*grads)
