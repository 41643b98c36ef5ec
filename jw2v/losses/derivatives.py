"""Closed-form derivatives of the functions from which the losses are built.

Each is the derivative of a function of one array, derived by hand in the textbook. Functions that
`jax.nn` has (softmax, sigmoid, log-sigmoid, leaky ReLU) are not written again. One example at a
time: batch with `jax.vmap`.

Axes: n classes, D vector width. `docs/derivations.md` has every derivation.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses._check import check
from jw2v.losses._mesh import any_mesh
from jw2v.losses.numerics import common_dtype, log_softmax, outer, widen


def softmax_jacobian(logits: ArrayLike) -> jax.Array:
  r"""Jacobian of `jax.nn.softmax`.

  .. math:: \partial \hat y_i / \partial \theta_j = \hat y_i (\delta_{ij} - \hat y_j),
     \qquad J = \mathrm{diag}(\hat y) - \hat y \hat y^\top

  Args:
    logits: `[n]`, :math:`\theta`.

  Returns:
    `[n, n]`, symmetric; every row sums to 0.

  Raises:
    AssertionError: `logits` is not floating `[n]`.

  References:
    Bridle, Probabilistic interpretation of feedforward classification network
    outputs, 1990. Derivations D03, D04.
  """
  (logits,) = check(logits=(logits, 'n'))
  (wide,) = widen(logits)
  y = jax.nn.softmax(wide)
  return (jnp.diag(y) - outer(y, y)).astype(logits.dtype)


def sigmoid_derivative(x: ArrayLike) -> jax.Array:
  r"""Derivative of the logistic sigmoid, elementwise.

  .. math:: \sigma'(x) = \sigma(x)\,(1 - \sigma(x)) = \sigma(x)\,\sigma(-x)

  The second form is computed: it neither overflows nor cancels at any `x`.

  Args:
    x: any shape.

  Returns:
    The shape and dtype of `x`; at most 1/4, at 0.

  Raises:
    AssertionError: `x` is not floating.

  References:
    Derivations D07, D08.
  """
  (x,) = check(x=(x, '...'))
  return jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)


def log_sigmoid_derivative(x: ArrayLike) -> jax.Array:
  r"""Derivative of the logarithm of the sigmoid, elementwise.

  .. math:: \frac{d}{dx} \log \sigma(x) = 1 - \sigma(x) = \sigma(-x)

  Args:
    x: any shape.

  Returns:
    The shape and dtype of `x`, between 0 and 1.

  Raises:
    AssertionError: `x` is not floating.

  References:
    Derivations D08, D09.
  """
  (x,) = check(x=(x, '...'))
  return jax.nn.sigmoid(-x)


def leaky_relu_derivative(x: ArrayLike, negative_slope: float = 0.01) -> jax.Array:
  r"""Derivative of `jax.nn.leaky_relu`, elementwise.

  .. math:: f'(x) = 1 \;(x \ge 0), \qquad f'(x) = \alpha \;(x < 0)

  At 0 the function has a kink; the value there is 1, as autodiff of
  `jax.nn.leaky_relu` gives. For :math:`0 < \alpha < 1` the function is
  :math:`\max(\alpha x, x)`; any other slope is accepted and means the piecewise
  form above.

  Args:
    x: any shape.
    negative_slope: :math:`\alpha`.

  Returns:
    The shape and dtype of `x`.

  Raises:
    AssertionError: `x` is not floating.

  References:
    Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic
    models, 2013. Derivation D10.
  """
  (x,) = check(x=(x, '...'))
  return jnp.where(x >= 0, 1, negative_slope).astype(x.dtype)


@any_mesh()
def cross_entropy_loss(logits: ArrayLike, labels: ArrayLike) -> jax.Array:
  r"""Cross entropy of labels against the softmax of logits.

  .. math:: CE(y, \hat y) = -\sum_k y_k \log \hat y_k, \qquad
     \hat y = \mathrm{softmax}(\theta)

  A label of 0 contributes 0 even where :math:`\hat y_k = 0` (a logit of -inf).

  Args:
    logits: `[n]`, :math:`\theta`.
    labels: `[n]`, :math:`y`: one-hot, soft, or of any total mass.

  Returns:
    Scalar loss in the common dtype of the inputs.

  Raises:
    AssertionError: an argument is not floating `[n]`.

  References:
    Derivations D02, D05.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> print(jw2v.cross_entropy_loss(jnp.zeros(4), jnp.array([0, 0.5, 0.5, 0])).round(4))  # log 4
    1.3863
  """
  logits, labels = check(logits=(logits, 'n'), labels=(labels, 'n'))
  dtype, (logits, labels) = common_dtype(logits, labels), widen(logits, labels)
  log_y = log_softmax(logits)
  log_y = jnp.where((labels == 0) & jnp.isneginf(log_y), 0, log_y)  # 0 log 0 = 0
  return -jnp.sum(labels * log_y).astype(dtype)


def cross_entropy_gradient(logits: ArrayLike, labels: ArrayLike) -> jax.Array:
  r"""Gradient of `cross_entropy_loss` with respect to the logits.

  .. math:: \partial CE / \partial \theta = \Big(\sum_k y_k\Big)\, \hat y - y

  For labels that sum to 1 this is the textbook's :math:`\hat y - y`.

  Args:
    logits: `[n]`, :math:`\theta`.
    labels: `[n]`, :math:`y`, of any total mass.

  Returns:
    `[n]` in the dtype of the logits; the components sum to 0.

  Raises:
    AssertionError: an argument is not floating `[n]`.

  References:
    Derivation D06.
  """
  logits, labels = check(logits=(logits, 'n'), labels=(labels, 'n'))
  dtype, (logits, labels) = logits.dtype, widen(logits, labels)
  return (jnp.sum(labels) * jax.nn.softmax(logits) - labels).astype(dtype)


def _scaled_norm(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Returns `x == 0`, `x / s`, `|x / s|` and `1 / s`, with s = max|x|.

  The scaling prevents overflow and underflow of squares. s is a constant for autodiff, since
  x / |x| does not depend on it. For the zero vector, s and the norm are 1, which keeps every
  derivative finite. XLA divides by multiplying with a reciprocal, and flushes the reciprocal of the
  largest floats to 0, so these are scaled by an eighth first.
  """
  largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0))
  is_zero = largest == 0
  shrink = jnp.where(largest > 1, 0.125, 1).astype(x.dtype)
  scale = jnp.where(is_zero, 1, largest * shrink)
  scaled = x * shrink / scale
  norm = jnp.sqrt(jnp.where(is_zero, 1, jnp.sum(scaled * scaled)))
  return is_zero, scaled, norm, shrink / scale


def l2_normalize(x: ArrayLike) -> jax.Array:
  r"""Unit vector in the direction of `x`; the zero vector gives zeros.

  .. math:: \hat x = x / \lVert x \rVert

  Args:
    x: `[D]`.

  Returns:
    `[D]` of norm 1, or zeros. Its autodiff is 0 at the zero vector, not NaN.

  Raises:
    AssertionError: `x` is not floating `[D]`.

  References:
    Derivations D38, D39.
  """
  (x,) = check(x=(x, 'D'))
  is_zero, scaled, norm, _ = _scaled_norm(*widen(x))
  return jnp.where(is_zero, 0, scaled / norm).astype(x.dtype)


def l2_normalize_jacobian(x: ArrayLike) -> jax.Array:
  r"""Jacobian of `l2_normalize`.

  .. math:: \partial \hat x / \partial x
     = (I - \hat x \hat x^\top) / \lVert x \rVert

  Args:
    x: `[D]`.

  Returns:
    `[D, D]`, symmetric, with `x` in its null space; zeros at the zero vector.

  Raises:
    AssertionError: `x` is not floating `[D]`.

  References:
    Derivation D39.
  """
  (x,) = check(x=(x, 'D'))
  is_zero, scaled, norm, inverse_scale = _scaled_norm(*widen(x))
  unit = scaled / norm
  projection = jnp.eye(x.size, dtype=unit.dtype) - outer(unit, unit)
  return jnp.where(is_zero, 0, projection / norm * inverse_scale).astype(x.dtype)
