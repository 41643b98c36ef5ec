"""Two-layer sigmoid network: proof of backpropagation, and D41 to D49."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import TwinProof, assert_close

import jw2v
from jw2v import TwoLayerParams

DX, H, DY, B = 4, 3, 5, 6


def parameters(rng):
  shapes = [(DX, H), (H,), (H, DY), (DY,)]
  return TwoLayerParams(*(rng.normal(size=shape) for shape in shapes))


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


class TestTwoLayer(TwinProof):
  loss = staticmethod(jax.jit(jw2v.two_layer_loss))
  twin = staticmethod(jax.jit(jw2v.two_layer_value_and_grad))
  argnums = (0, 1)
  CASES = {
    'one-hot': lambda rng: ((parameters(rng), rng.normal(size=DX), np.eye(DY)[2]), {}),
    'soft': lambda rng: ((parameters(rng), rng.normal(size=DX), rng.dirichlet(np.ones(DY))), {}),
    'any mass': lambda rng: ((parameters(rng), rng.normal(size=DX), rng.uniform(size=DY)), {}),
  }
  ARGUMENTS = {
    'params.w1': ((0, 'w1'), 'soft'),
    'params.b1': ((0, 'b1'), 'soft'),
    'params.w2': ((0, 'w2'), 'soft'),
    'params.b2': ((0, 'b2'), 'soft'),
    'x': ((1,), 'soft'),
    'labels': ((2,), 'soft'),
  }
  GIVES_SHAPE = ('params.w1',)

  @staticmethod
  def reference(params, x, labels):
    hidden = [
      sigmoid(sum(x[i] * params.w1[i, j] for i in range(DX)) + params.b1[j]) for j in range(H)
    ]
    scores = np.array(
      [sum(hidden[j] * params.w2[j, k] for j in range(H)) + params.b2[k] for k in range(DY)]
    )
    return -sum(labels * np.log(np.exp(scores) / np.exp(scores).sum()))

  def saturate(self, args, kwargs, scale):
    params, x, labels = args
    params = TwoLayerParams(*(np.full_like(p, scale) for p in params))
    return (params, np.ones_like(x), labels), kwargs

  def _parts(self):
    params, x, y = self._example(self.CASES['one-hot'])[0]
    z1 = x @ params.w1 + params.b1
    h = sigmoid(z1)
    z2 = h @ params.w2 + params.b2
    return params, x, y, z1, h, np.exp(z2) / np.exp(z2).sum()

  def test_every_step_of_the_chain(self):
    """D41 to D46: each intermediate matches autodiff from that point."""
    params, x, y, z1, h, y_hat = self._parts()
    cross_entropy = lambda z2: -jnp.sum(y * jax.nn.log_softmax(z2))
    from_h = lambda h: cross_entropy(h @ params.w2 + params.b2)
    from_z1 = lambda z1: from_h(jax.nn.sigmoid(z1))
    delta2 = y_hat - y
    assert_close(delta2, jax.jit(jax.grad(cross_entropy))(h @ params.w2 + params.b2))  # D41
    assert_close(delta2 @ params.w2.T, jax.jit(jax.grad(from_h))(h))  # D42
    delta1 = (delta2 @ params.w2.T) * h * (1 - h)
    assert_close(delta1, jax.jit(jax.grad(from_z1))(z1))  # D43
    grads = self.twin(params, x, y)[1]
    assert_close(grads.x, delta1 @ params.w1.T)  # D44
    assert_close(grads.params.w2, np.outer(h, delta2))  # D45
    assert_close(grads.params.b2, delta2)
    assert_close(grads.params.w1, np.outer(x, delta1))  # D46
    assert_close(grads.params.b1, delta1)

  def test_logits_are_what_the_loss_sees(self):
    params, x, y, *_, y_hat = self._parts()
    assert_close(jax.nn.softmax(jw2v.two_layer_logits(params, x)), y_hat)
    assert_close(self.loss(params, x, y), jw2v.cross_entropy_loss(
      jw2v.two_layer_logits(params, x), y))  # fmt: skip

  def test_batch_in_matrix_form(self):
    """D45, D46, D49: sums over the examples of a batch; the mean divides each sum alike."""
    rng = np.random.default_rng(0)
    params, x, y = parameters(rng), rng.normal(size=(B, DX)), rng.dirichlet(np.ones(DY), size=B)
    _, grads = jax.jit(jax.vmap(self.twin, (None, 0, 0)))(params, x, y)
    z1 = x @ params.w1 + params.b1
    h = sigmoid(z1)
    mass = np.exp(h @ params.w2 + params.b2)
    delta2 = mass / mass.sum(axis=1, keepdims=True) - y
    delta1 = (delta2 @ params.w2.T) * h * (1 - h)
    summed = TwoLayerParams(x.T @ delta1, delta1.sum(axis=0), h.T @ delta2, delta2.sum(axis=0))
    assert_close(jax.tree.map(lambda g: g.sum(axis=0), grads.params), summed)
    total = lambda p, reduce: reduce(jax.vmap(self.loss, (None, 0, 0))(p, x, y))
    gradient = jax.jit(jax.grad(total), static_argnums=1)
    assert_close(gradient(params, jnp.sum), summed)
    assert_close(gradient(params, jnp.mean), jax.tree.map(lambda g: g / B, summed))

  def test_column_convention_is_the_transpose(self):
    """D48: dW2 = dZ2 A1^T, dZ1 = W2^T dZ2 o A'(Z1), dW1 = dZ1 X^T, biases over axis 1."""
    rng = np.random.default_rng(0)
    params, x, y = parameters(rng), rng.normal(size=(B, DX)), rng.dirichlet(np.ones(DY), size=B)
    _, rows = jax.jit(jax.vmap(self.twin, (None, 0, 0)))(params, x, y)
    rows = jax.tree.map(lambda g: g.sum(axis=0), rows.params)
    columns_x, w1, w2 = x.T, params.w1.T, params.w2.T
    z1 = w1 @ columns_x + params.b1[:, None]  # [H, B]
    a1 = sigmoid(z1)
    mass = np.exp(w2 @ a1 + params.b2[:, None])
    d_z2 = mass / mass.sum(axis=0) - y.T  # [Dy, B]
    d_z1 = (w2.T @ d_z2) * a1 * (1 - a1)
    assert_close((d_z1 @ columns_x.T).T, rows.w1)
    assert_close((d_z2 @ a1.T).T, rows.w2)
    assert_close((d_z1.sum(axis=1), d_z2.sum(axis=1)), (rows.b1, rows.b2))


class TestNumParams:
  def test_counts_weights_and_biases(self):
    """D47: a 10-5-10 network has 115 parameters."""
    assert jw2v.two_layer_num_params(10, 5, 10) == 115
    counted = sum(p.size for p in parameters(np.random.default_rng(0)))
    assert jw2v.two_layer_num_params(DX, H, DY) == counted

  def test_a_width_below_one_is_refused(self):
    with pytest.raises(ValueError, match='hidden_dim must be at least 1, got 0'):
      jw2v.two_layer_num_params(3, 0, 2)
    with pytest.raises(TypeError, match=r'input_dim must be an integer, got 3\.5'):
      jw2v.two_layer_num_params(3.5, 1, 2)
