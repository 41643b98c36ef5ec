"""Numbers to check by hand, and identities of the page that no other file proves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import assert_close

import jw2v

pytestmark = pytest.mark.usefixtures('float64')

LN2, LN3, LN5 = np.log([2.0, 3.0, 5.0])
THETA = np.array([0.3, -1.2, 0.8, 1.9, -0.5])
ACTIVATIONS = {
  'sigmoid': (jax.nn.sigmoid, jw2v.sigmoid_derivative),
  'tanh': (jnp.tanh, lambda z: 1 - jnp.tanh(z) ** 2),
  'relu': (jax.nn.relu, lambda z: (z > 0).astype(z.dtype)),
  'leaky relu': (jax.nn.leaky_relu, jw2v.leaky_relu_derivative),
}


class TestByHand:
  """The two examples at the ends of sections B and C."""

  def test_naive_softmax(self):
    v, table = np.array([1.0, 0.0]), np.array([[0, 1], [LN2, 0], [LN5, -1]])
    loss, grads = jax.jit(jw2v.naive_softmax_value_and_grad)(v, 1, table)
    assert_close(jax.nn.softmax(table @ v), np.array([1 / 8, 1 / 4, 5 / 8]))
    assert_close(loss, np.log(4))
    assert_close(grads.outside_vectors, np.array([[1 / 8, 0], [-3 / 4, 0], [5 / 8, 0]]))
    assert_close(grads.center, np.array([-3 / 4 * LN2 + 5 / 8 * LN5, -1 / 2]))

  def test_negative_sampling(self):
    v, outside, negatives = np.array([1.0, 0.0]), np.array([LN3, 1]), np.array([[0, 2], [-LN3, 4]])
    loss, grads = jax.jit(jw2v.negative_sampling_value_and_grad)(v, outside, negatives)
    scores = np.append(negatives @ v, outside @ v)
    assert_close(jax.nn.sigmoid(scores), np.array([1 / 2, 1 / 4, 3 / 4]))
    assert_close(loss, np.log(32 / 9))
    assert_close(grads.outside, np.array([-1 / 4, 0]))
    assert_close(grads.negatives, np.array([[1 / 2, 0], [1 / 4, 0]]))
    assert_close(grads.center, np.array([-LN3 / 2, 7 / 4]))


class TestOtherRoads:
  def test_off_diagonal_by_the_constant_of_the_column(self):
    """D04: y_i = e^x_i / (A_j + e^x_j), where A_j does not contain x_j."""
    e, jacobian = np.exp(THETA), jax.jit(jax.jacobian(jax.nn.softmax))(THETA)
    others = e.sum() - e
    for i, j in [(0, 2), (3, 1)]:
      assert_close(e[i] / (others[j] + e[j]), jax.nn.softmax(THETA)[i])
      assert_close(-e[i] * e[j] / (others[j] + e[j]) ** 2, jacobian[i, j])
      assert_close(jw2v.softmax_jacobian(THETA)[i, j], jacobian[i, j])

  def test_quotient_rule_of_the_sigmoid(self):
    """D07: s = e^x / (e^x + 1)."""
    e = np.exp(THETA)
    quotient = (e * (e + 1) - e * e) / (e + 1) ** 2
    assert_close(e / (e + 1), jax.nn.sigmoid(THETA))
    assert_close(quotient, jax.vmap(jax.grad(jax.nn.sigmoid))(THETA))
    assert_close(quotient, jw2v.sigmoid_derivative(THETA))

  def test_quotient_rule_of_the_probability(self):
    """D19: dP/dv = y_o (u_o - E[u]), and dJ/dv = -(1 / y_o) dP/dv."""
    rng, o = np.random.default_rng(0), 2
    v, table = rng.normal(size=4), rng.normal(size=(7, 4))
    y_hat = jax.nn.softmax(table @ v)
    probability = lambda v: jnp.exp(-jw2v.naive_softmax_loss(v, o, table))
    d_probability = jax.jit(jax.grad(probability))(v)
    assert_close(y_hat[o] * (table[o] - y_hat @ table), d_probability)
    grads = jax.jit(jw2v.naive_softmax_value_and_grad)(v, o, table)[1]
    assert_close(-d_probability / y_hat[o], grads.center)


class TestNetwork:
  @pytest.mark.parametrize('name', ACTIVATIONS)
  def test_any_activation(self, name):
    """D43: delta1 = (delta2 W2^T) o A'(z1), for any elementwise A."""
    activation, derivative = ACTIVATIONS[name]
    rng = np.random.default_rng(0)
    z1, w2, b2, y = (rng.normal(size=s) for s in [(6, 3), (3, 5), (1, 5), (6, 5)])
    loss = lambda z2: jnp.sum(jax.vmap(jw2v.cross_entropy_loss)(z2, y))
    delta2 = jax.jit(jax.vmap(jw2v.cross_entropy_gradient))(activation(z1) @ w2 + b2, y)
    want = jax.jit(jax.grad(lambda z1: loss(activation(z1) @ w2 + b2)))(z1)
    assert_close((delta2 @ w2.T) * derivative(z1), want)

  def test_output_layer_in_columns(self):
    """D48: the softmax of each column, dZ2 = Y_hat - Y and dA1 = W2^T dZ2."""
    rng = np.random.default_rng(0)
    a1, w2, b2 = (rng.normal(size=s) for s in [(3, 6), (5, 3), 5])
    y = np.eye(5)[:, rng.integers(5, size=6)]
    loss = lambda z2: -jnp.sum(y * jax.nn.log_softmax(z2, axis=0))
    z2 = w2 @ a1 + b2[:, None]
    d_z2 = np.exp(z2) / np.exp(z2).sum(axis=0) - y
    assert_close(d_z2, jax.jit(jax.grad(loss))(z2))
    assert_close(w2.T @ d_z2, jax.jit(jax.grad(lambda a1: loss(w2 @ a1 + b2[:, None])))(a1))
    assert_close(d_z2.T, jax.jit(jax.vmap(jw2v.cross_entropy_gradient))(z2.T, y.T))


def cosine(a, b):
  return jw2v.l2_normalize(a) @ jw2v.l2_normalize(b)


l2_normalize = jax.jit(jw2v.l2_normalize)
cosine_gradients = jax.jit(jax.grad(cosine, (0, 1)))


class TestCosine:
  """D37: cosine similarity."""

  def test_gradient_matches_autodiff(self):
    a, b = np.random.default_rng(0).normal(size=(2, 5))
    plain = lambda a: a @ b / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
    unit_a, unit_b, norm = a / np.linalg.norm(a), b / np.linalg.norm(b), np.linalg.norm(a)
    gradient = jax.jit(jax.grad(plain))
    want = gradient(a)
    assert_close((unit_b - (unit_a @ unit_b) * unit_a) / norm, want)
    assert_close(jax.jit(jw2v.l2_normalize_jacobian)(a) @ unit_b, want)
    assert_close(cosine_gradients(a, b)[0], want)
    assert_close(want @ a, 0.0)
    assert_close(gradient(3 * a), want / 3)

  def test_vanishes_at_parallel_and_zero_vectors(self):
    a = np.random.default_rng(0).normal(size=5)
    for b in (2 * a, -a, np.zeros(5)):
      assert_close(cosine_gradients(a, b), (np.zeros(5), np.zeros(5)), atol=1e-14)


class TestNormalizedSum:
  """D38: normalized sums of several vectors."""

  def test_multiples_of_one_vector(self):
    factors = np.array([3.0, 0.5, 2.0])
    raw = np.outer(factors, THETA).sum(axis=0)
    normalized = np.stack([l2_normalize(x) for x in np.outer(factors, THETA)]).sum(axis=0)
    assert_close(raw, factors.sum() * THETA)
    assert_close(normalized, 3 * l2_normalize(THETA))
    assert_close(l2_normalize(raw), l2_normalize(normalized))

  def test_another_direction_beside_them(self):
    """D38: a positive factor turns the raw sum, but not the normalized sum."""
    other = THETA[::-1]
    raw = [l2_normalize(alpha * THETA + other) for alpha in (1.0, 4.0)]
    normalized = [l2_normalize(alpha * THETA) + l2_normalize(other) for alpha in (1, 4)]
    assert raw[0] @ raw[1] < 0.9
    assert_close(*normalized)

  def test_opposite_vectors(self):
    assert_close(THETA + -THETA, np.zeros(5))
    assert_close(l2_normalize(THETA) + l2_normalize(-THETA), np.zeros(5))
