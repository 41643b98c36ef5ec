"""The two-layer sigmoid network of the textbook, with hand-derived backpropagation.

The module contains the network, its loss, and the chain rule through it, written out. Nothing in
this project trains it: it is an exercise of the textbook, small enough to check by hand. One
example at a time: batch with `jax.vmap`.

Axes: Dx input width, H hidden width, Dy classes. Vectors are rows: `x @ w1 + b1`.
"""

from typing import NamedTuple

import jax
from jax.typing import ArrayLike

from jw2v.losses._check import check
from jw2v.losses._mesh import any_mesh
from jw2v.losses.derivatives import cross_entropy_gradient, cross_entropy_loss, sigmoid_derivative
from jw2v.losses.numerics import common_dtype, dot, exportable, outer, widen


@exportable
class TwoLayerParams(NamedTuple):
  """Weights and biases of the network, or their gradients."""

  w1: jax.Array  # [Dx, H]
  b1: jax.Array  # [H]
  w2: jax.Array  # [H, Dy]
  b2: jax.Array  # [Dy]


@exportable
class TwoLayerGrads(NamedTuple):
  """Gradients of `two_layer_loss`."""

  params: TwoLayerParams
  x: jax.Array  # [Dx]


def _forward(params, x, labels=None):
  """Returns the checked arguments, then z1 [H], h [H] and z2 [Dy] in the dtype of their sums."""
  w1, b1, w2, b2, x, labels = check(
    **{
      'params.w1': (params.w1, 'Dx H'),
      'params.b1': (params.b1, 'H'),
      'params.w2': (params.w2, 'H Dy'),
      'params.b2': (params.b2, 'Dy'),
      'x': (x, 'Dx'),
      'labels': (labels, '?Dy'),
    }
  )
  params = TwoLayerParams(w1, b1, w2, b2)
  z1 = sum(widen(dot(x, w1), b1))
  h = jax.nn.sigmoid(z1)
  return params, x, labels, z1, h, sum(widen(dot(h, w2), b2))


def _loss(params, x, labels, logits):
  """Returns the cross entropy in the common dtype of the arguments."""
  return cross_entropy_loss(logits, labels).astype(common_dtype(*params, x, labels))


@any_mesh()
def two_layer_logits(params: TwoLayerParams, x: ArrayLike) -> jax.Array:
  r"""Scores of the classes before the softmax.

  .. math:: z_1 = x W_1 + b_1, \qquad h = \sigma(z_1), \qquad z_2 = h W_2 + b_2

  Args:
    params: `[Dx, H]`, `[H]`, `[H, Dy]`, `[Dy]`.
    x: `[Dx]` input, a row.

  Returns:
    `[Dy]` logits :math:`z_2` in the common dtype of the inputs.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    Rumelhart, Hinton and Williams, Learning representations by back-propagating
    errors, 1986. Derivation D41.
  """
  params, x, *_, logits = _forward(params, x)
  return logits.astype(common_dtype(*params, x))


@any_mesh()
def two_layer_loss(params: TwoLayerParams, x: ArrayLike, labels: ArrayLike) -> jax.Array:
  r"""Cross entropy of the labels against the network's softmax.

  .. math:: J = CE(y, \mathrm{softmax}(z_2))

  Args:
    params: `[Dx, H]`, `[H]`, `[H, Dy]`, `[Dy]`.
    x: `[Dx]` input, a row.
    labels: `[Dy]` :math:`y`, one-hot or soft.

  Returns:
    Scalar loss in the common dtype of the inputs.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    Derivation D41.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> params = jw2v.TwoLayerParams(
    ...   jnp.zeros((3, 2)), jnp.zeros(2), jnp.zeros((2, 4)), jnp.zeros(4)
    ... )
    >>> print(jw2v.two_layer_loss(params, jnp.ones(3), jnp.array([0, 1.0, 0, 0])).round(4))  # log 4
    1.3863
  """
  params, x, labels, *_, logits = _forward(params, x, labels)
  return _loss(params, x, labels, logits)


@any_mesh(grads=TwoLayerGrads)
def two_layer_value_and_grad(
  params: TwoLayerParams, x: ArrayLike, labels: ArrayLike
) -> tuple[jax.Array, TwoLayerGrads]:
  r"""`two_layer_loss`, same arguments, with its gradients by hand-derived backpropagation.

  .. math::
     \delta_2 &= \hat y - y, &
     \partial J / \partial W_2 &= h^\top \delta_2, & \partial J / \partial b_2 &= \delta_2 \\
     \delta_1 &= (\delta_2 W_2^\top) \circ \sigma'(z_1), &
     \partial J / \partial W_1 &= x^\top \delta_1, & \partial J / \partial b_1 &= \delta_1 \\
     & & \partial J / \partial x &= \delta_1 W_1^\top

  (for labels of total mass s, :math:`\delta_2 = s \hat y - y`).

  Returns:
    `(loss, TwoLayerGrads)`.

  References:
    Derivations D41 to D46, D48.
  """
  params, x, labels, z1, h, logits = _forward(params, x, labels)
  delta2 = cross_entropy_gradient(logits, labels)  # [Dy]
  delta1 = dot(delta2, params.w2.T) * sigmoid_derivative(z1)  # [H]
  grads = TwoLayerGrads(
    params=TwoLayerParams(w1=outer(x, delta1), b1=delta1, w2=outer(h, delta2), b2=delta2),
    x=dot(delta1, params.w1.T),
  )
  of_arguments = TwoLayerGrads(params, x)
  return _loss(params, x, labels, logits), jax.tree.map(
    lambda grad, argument: grad.astype(argument.dtype), grads, of_arguments
  )


def two_layer_num_params(input_dim: int, hidden_dim: int, output_dim: int) -> int:
  r"""Number of parameters of the network.

  .. math:: (D_x + 1) H + (H + 1) D_y

  Args:
    input_dim: :math:`D_x`, at least 1.
    hidden_dim: :math:`H`, at least 1.
    output_dim: :math:`D_y`, at least 1.

  Returns:
    The count: 115 for 10, 5, 10.

  Raises:
    TypeError: a width is not an integer.
    ValueError: a width is below 1.

  References:
    Derivation D47.
  """
  widths = {'input_dim': input_dim, 'hidden_dim': hidden_dim, 'output_dim': output_dim}
  for name, width in widths.items():
    if not hasattr(width, '__index__'):
      raise TypeError(f'{name} must be an integer, got {width!r}')
    if width < 1:
      raise ValueError(f'{name} must be at least 1, got {width}')
  return (input_dim + 1) * hidden_dim + (hidden_dim + 1) * output_dim
