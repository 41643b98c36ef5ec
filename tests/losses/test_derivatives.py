"""Derivatives of the functions under every loss: D01 to D10, D38 and D39."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from proof import assert_close

import jw2v

pytestmark = pytest.mark.usefixtures('float64')

VECTORS = hnp.arrays(
  np.float64, st.sampled_from([1, 2, 5]), elements=st.floats(-30, 30, allow_subnormal=False)
)
PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)
SLOW_EAGER = pytest.param(lambda f: f, marks=pytest.mark.slow)
LOW = [jnp.float32, jnp.bfloat16]
POINTS = np.array([-1e4, -1e3, -50.0, -2.0, -1e-3, 0.0, 1e-3, 2.0, 50.0, 1e3, 1e4])


def compiled(function):
  """Returns the function compiled for each shape, with results as NumPy arrays."""
  jitted = jax.jit(function)
  run = lambda *args, **kwargs: jax.tree.map(np.asarray, jitted(*args, **kwargs))
  return functools.update_wrapper(run, function)


FUNCTIONS = (
  'softmax_jacobian', 'sigmoid_derivative', 'log_sigmoid_derivative', 'leaky_relu_derivative',
  'cross_entropy_loss', 'cross_entropy_gradient', 'l2_normalize', 'l2_normalize_jacobian',
)  # fmt: skip
softmax_jacobian = compiled(jw2v.softmax_jacobian)
sigmoid_derivative = compiled(jw2v.sigmoid_derivative)
log_sigmoid_derivative = compiled(jw2v.log_sigmoid_derivative)
leaky_relu_derivative = compiled(jw2v.leaky_relu_derivative)
cross_entropy_loss = compiled(jw2v.cross_entropy_loss)
cross_entropy_gradient = compiled(jw2v.cross_entropy_gradient)
l2_normalize = compiled(jw2v.l2_normalize)
l2_normalize_jacobian = compiled(jw2v.l2_normalize_jacobian)
gradient_of_cross_entropy = compiled(jax.grad(jw2v.cross_entropy_loss))
softmax, log_softmax = compiled(jax.nn.softmax), compiled(jax.nn.log_softmax)
jacobian_of_softmax = compiled(jax.jacobian(jax.nn.softmax))
jacobian_of_l2_normalize = compiled(jax.jacobian(jw2v.l2_normalize))
hessian_of_l2_normalize = compiled(jax.hessian(jw2v.l2_normalize))


def plainly_normalized(x):
  return x / jnp.sqrt(jnp.sum(x * x))


jacobian_of_plainly_normalized = compiled(jax.jacobian(plainly_normalized))


def logits(seed=0, n=5):
  return np.random.default_rng(seed).normal(size=n)


class TestSoftmaxJacobian:
  @given(VECTORS)
  @PROPERTY
  def test_matches_autodiff(self, x):
    assert_close(softmax_jacobian(x), jacobian_of_softmax(x))

  @given(VECTORS)
  @PROPERTY
  def test_symmetric_with_zero_row_sums(self, x):
    """D03: J = J^T, J 1 = 0 and no negative eigenvalue."""
    jacobian = softmax_jacobian(x)
    assert_close(jacobian, jacobian.T)
    assert_close(jacobian.sum(axis=1), np.zeros(x.size))
    assert np.linalg.eigvalsh(jacobian).min() > -1e-12

  def test_rank_is_one_less_than_the_size(self):
    assert np.linalg.matrix_rank(softmax_jacobian(logits())) == 4

  def test_diagonal_is_a_sigmoid_derivative(self):
    """D04: y_i = 1 / (1 + A_i e^-x_i), so that dy_i/dx_i = y_i (1 - y_i)."""
    x = logits()
    others = np.exp(x).sum() - np.exp(x)
    y = 1 / (1 + others * np.exp(-x))
    assert_close(softmax(x), y)
    assert_close(jnp.diag(softmax_jacobian(x)), y * (1 - y))
    assert_close(sigmoid_derivative(x - np.log(others)), y * (1 - y))

  @given(VECTORS, st.floats(-1e3, 1e3))
  @PROPERTY
  def test_softmax_ignores_a_shift(self, x, c):
    """D01: softmax(x + c) = softmax(x), with the same Jacobian."""
    assert_close(softmax(x + c), softmax(x))
    assert_close(softmax_jacobian(x + c), softmax_jacobian(x))

  def test_large_logits(self):
    """D02: subtracting the maximum prevents overflow."""
    want = [0.2689414213699951, 0.7310585786300049]
    assert_close(softmax(np.array([1001.0, 1002.0])), np.array(want))
    assert_close(softmax(np.array([1.0, 2.0])), np.array(want))
    for x in (np.array([-1e4, 0.0, 1e4]), np.array([1e4, 1e4, -1e4])):
      assert np.isfinite(softmax_jacobian(x)).all()
      assert np.isfinite(log_softmax(x)).all()

  @pytest.mark.parametrize('dtype', LOW)
  def test_keeps_the_dtype(self, dtype):
    assert softmax_jacobian(jnp.ones(3, dtype)).dtype == dtype

  def test_a_batch_is_refused(self):
    with pytest.raises(AssertionError, match=r"'logits' must be floating \[n\], got"):
      jax.eval_shape(jw2v.softmax_jacobian, np.ones((2, 3)))
    assert jax.eval_shape(jax.vmap(jw2v.softmax_jacobian), np.ones((2, 3))).shape == (2, 3, 3)


class TestSigmoidDerivative:
  def test_matches_autodiff(self):
    want = compiled(jax.vmap(jax.grad(jax.nn.sigmoid)))(POINTS)
    assert_close(sigmoid_derivative(POINTS), want, rtol=1e-12, atol=1e-20)

  @pytest.mark.parametrize('x', [40.0, 100.0, 700.0])
  def test_keeps_its_digits_far_right(self, x):
    """D07: stays accurate where 1 - s(x) rounds to 0, even in autodiff of the sigmoid."""
    np.testing.assert_allclose(sigmoid_derivative(x), np.exp(-x), rtol=1e-12)

  def test_even_with_a_quarter_at_zero(self):
    """D07."""
    assert sigmoid_derivative(0.0) == 0.25
    assert_close(sigmoid_derivative(-POINTS), sigmoid_derivative(POINTS))

  def test_printed_forms_agree(self):
    """D07: s (1 - s) = e^-x / (1 + e^-x)^2 = e^x / (e^x + 1)^2; D08: 1 - s(x) = s(-x)."""
    x = np.linspace(-20, 20, 81)
    s = 1 / (1 + np.exp(-x))
    for form in (s * (1 - s), np.exp(-x) / (1 + np.exp(-x)) ** 2, np.exp(x) / (np.exp(x) + 1) ** 2):
      assert_close(sigmoid_derivative(x), form)
    assert_close(1 - jax.nn.sigmoid(x), jax.nn.sigmoid(-x))

  @pytest.mark.slow
  def test_autodiff_matches_finite_differences(self):
    jax.test_util.check_grads(jw2v.sigmoid_derivative, (np.linspace(-4, 4, 9),), order=2)

  @pytest.mark.parametrize('dtype', LOW)
  def test_finite_and_in_the_dtype_of_its_input(self, dtype):
    y = sigmoid_derivative(jnp.asarray(POINTS, dtype))
    assert y.dtype == dtype and np.isfinite(y).all()

  def test_any_shape_but_no_integers(self):
    assert sigmoid_derivative(np.ones((2, 3, 1))).shape == (2, 3, 1)
    with pytest.raises(AssertionError, match="'x'"):
      sigmoid_derivative(1)


class TestLogSigmoidDerivative:
  def test_matches_autodiff(self):
    want = compiled(jax.vmap(jax.grad(jax.nn.log_sigmoid)))(POINTS)
    assert_close(log_sigmoid_derivative(POINTS), want, rtol=1e-12, atol=1e-20)

  def test_both_signs(self):
    """D09: d(-log s(x)) = s(x) - 1 and d(-log s(-x)) = s(x)."""
    x = np.array([-50.0, -3.0, 0.0, 3.0, 50.0])
    positive = compiled(jax.vmap(jax.grad(lambda x: -jax.nn.log_sigmoid(x))))(x)
    negative = compiled(jax.vmap(jax.grad(lambda x: -jax.nn.log_sigmoid(-x))))(x)
    assert_close(-log_sigmoid_derivative(x), positive)
    assert_close(positive, jax.nn.sigmoid(x) - 1)
    assert_close(log_sigmoid_derivative(-x), negative)
    assert_close(negative, jax.nn.sigmoid(x))

  def test_log_sigmoid_is_linear_far_left(self):
    """D08: log s(-1000) = -1000, not -inf."""
    assert_close(jax.nn.log_sigmoid(-1000.0), -1000.0)

  @pytest.mark.parametrize('dtype', LOW)
  def test_finite_and_in_the_dtype_of_its_input(self, dtype):
    y = log_sigmoid_derivative(jnp.asarray(POINTS, dtype))
    assert y.dtype == dtype and np.isfinite(y).all()

  def test_integers_are_refused(self):
    with pytest.raises(AssertionError, match="'x'"):
      log_sigmoid_derivative(np.arange(3))


class TestLeakyReluDerivative:
  @pytest.mark.parametrize('slope', [0.01, 0.3, 0.0, 1.0, 2.0])
  def test_matches_autodiff_at_zero_too(self, slope):
    """D10: holds also for a slope outside (0, 1), as jax.nn.leaky_relu defines it."""
    want = compiled(jax.vmap(jax.grad(lambda x: jax.nn.leaky_relu(x, slope))))(POINTS)
    assert_close(leaky_relu_derivative(POINTS, slope), want)

  def test_documented_value_at_zero(self):
    assert leaky_relu_derivative(0.0) == 1
    assert leaky_relu_derivative(-0.0, negative_slope=0.2) == 1

  def test_is_the_derivative_of_the_maximum(self):
    """D10: f = max(a x, x) for 0 < a < 1, away from 0."""
    x, h, a = np.array([-2.0, -0.5, 0.5, 3.0]), 1e-6, 0.2
    f = lambda x: np.maximum(a * x, x)
    slope = (f(x + h) - f(x - h)) / (2 * h)
    assert_close(leaky_relu_derivative(x, a), slope, rtol=1e-8)

  @pytest.mark.parametrize('dtype', LOW)
  def test_keeps_the_dtype(self, dtype):
    assert leaky_relu_derivative(jnp.ones((2, 3), dtype)).dtype == dtype


class TestCrossEntropy:
  LABELS = {
    'one-hot': np.array([0.0, 0, 1, 0, 0]),
    'soft': np.array([0.1, 0.2, 0.3, 0.4, 0.0]),
    'any mass': np.array([3.0, 0.5, 0.0, 2.0, 1.0]),
    'no mass': np.zeros(5),
    'negative mass': np.array([-1.0, 0.5, 0.0, 0.2, 0.1]),
  }

  @pytest.mark.parametrize('labels', LABELS.values(), ids=LABELS)
  def test_value_matches_numpy(self, labels):
    x = logits()
    y = np.exp(x) / np.exp(x).sum()
    assert_close(cross_entropy_loss(x, labels), -sum(labels * np.log(y)))

  @pytest.mark.parametrize('labels', LABELS.values(), ids=LABELS)
  @pytest.mark.parametrize('transform', [SLOW_EAGER, compiled], ids=['eager', 'jit'])
  def test_closed_form_matches_autodiff(self, labels, transform):
    """D06: matches for labels of any mass, (sum y) y_hat - y."""
    got = transform(jw2v.cross_entropy_gradient)(logits(), labels)
    assert_close(got, gradient_of_cross_entropy(logits(), labels))
    assert_close(got.sum(), 0.0)

  @pytest.mark.slow
  def test_autodiff_matches_finite_differences(self):
    for labels in self.LABELS.values():
      jax.test_util.check_grads(
        jw2v.cross_entropy_loss, (logits(), labels), order=2, modes=['fwd', 'rev']
      )

  @pytest.mark.slow
  def test_hessian_is_the_softmax_jacobian(self):
    """D03, D06: the gradient y_hat - y has the Jacobian of the softmax."""
    x, y = logits(), self.LABELS['one-hot']
    assert_close(jax.hessian(jw2v.cross_entropy_loss)(x, y), softmax_jacobian(x))
    assert_close(jax.jacobian(jw2v.cross_entropy_gradient)(x, y), softmax_jacobian(x))

  @pytest.mark.parametrize('o', range(5))
  def test_one_hot_picks_one_logarithm(self, o):
    """D05, for every o."""
    want = -log_softmax(logits())[o]
    assert_close(cross_entropy_loss(logits(), np.eye(5)[o]), want)

  def test_zero_label_times_log_zero_is_zero(self):
    """D05: holds also where the predicted probability is exactly 0."""
    for x in (np.array([1e4, 0.0, -1e4]), np.array([0.0, -np.inf, 1.0])):
      y = np.array([1.0, 0.0, 0.0])
      assert np.isfinite(cross_entropy_loss(x, y))
      assert np.isfinite(gradient_of_cross_entropy(x, y)).all()
      assert_close(cross_entropy_gradient(x, y), softmax(x) - y)

  def test_gradient_to_a_zero_label_survives(self):
    """Keeps the derivative -log y_hat of the labels in spite of the rule 0 log 0 = 0."""
    want = -log_softmax(logits())
    by_labels = compiled(jax.grad(jw2v.cross_entropy_loss, 1))
    assert_close(by_labels(logits(), np.eye(5)[0]), want)

  def test_vmap_matches_loop(self):
    x, y = np.stack([logits(0), logits(1)]), np.eye(5)[:2]
    for f in (cross_entropy_loss, cross_entropy_gradient):
      assert_close(
        compiled(jax.vmap(f.__wrapped__))(x, y), np.stack([f(x[0], y[0]), f(x[1], y[1])])
      )

  @pytest.mark.parametrize('dtype', LOW)
  def test_keeps_the_dtype(self, dtype):
    x = jnp.asarray([1e4, -1e4, 0], dtype)
    for f in (cross_entropy_loss, cross_entropy_gradient):
      y = f(x, jnp.ones(3, dtype))
      assert y.dtype == dtype and np.isfinite(y).all()

  @pytest.mark.parametrize('f', [jw2v.cross_entropy_loss, jw2v.cross_entropy_gradient])
  def test_wrong_arguments_are_refused_by_name(self, f):
    for bad in (np.ones(4), np.ones((5, 1)), np.ones(5, int)):
      with pytest.raises(AssertionError, match="'labels'"):
        f(logits(), bad)
    with pytest.raises(AssertionError, match="'logits'"):
      f(np.ones((1, 5)), np.ones(5))


class TestL2Normalize:
  @given(VECTORS.filter(lambda x: np.abs(x).max(initial=0) > 1e-3))
  @PROPERTY
  def test_value_and_jacobian_match_numpy_and_autodiff(self, x):
    """D39."""
    assert_close(l2_normalize(x), x / np.sqrt((x * x).sum()))
    jacobian = l2_normalize_jacobian(x)
    scale = 1 / np.linalg.norm(x)
    assert_close(jacobian, jacobian_of_l2_normalize(x), atol=1e-10 * scale)
    assert_close(jacobian, jacobian_of_plainly_normalized(x), atol=1e-10 * scale)

  @pytest.mark.slow
  def test_autodiff_matches_finite_differences(self):
    jax.test_util.check_grads(jw2v.l2_normalize, (logits(),), order=2, modes=['fwd', 'rev'])

  @pytest.mark.slow
  def test_hessian_matches_the_plain_form(self):
    want = jax.jit(jax.hessian(plainly_normalized))(logits())
    assert_close(jax.hessian(jw2v.l2_normalize)(logits()), want)
    assert_close(jax.jacobian(jw2v.l2_normalize_jacobian)(logits()), want)

  @pytest.mark.parametrize('zero', [0.0, -0.0])
  def test_zero_vector_gives_zeros(self, zero):
    x = np.full(3, zero)
    for f in (l2_normalize, l2_normalize_jacobian, jacobian_of_l2_normalize):
      assert not np.any(f(x))
    assert np.isfinite(hessian_of_l2_normalize(x)).all()

  @pytest.mark.parametrize('size', [5e-38, 1e-30, 1e-10, 1e10, 1e30, 2e37, 8e37])
  def test_no_overflow_or_underflow_in_float32(self, size):
    x = jnp.asarray([3.0, -4.0], jnp.float32) * jnp.float32(size)
    assert_close(l2_normalize(x), np.array([0.6, -0.8]), rtol=1e-6)
    assert np.isfinite(l2_normalize_jacobian(x)).all()
    assert np.isfinite(jacobian_of_l2_normalize(x)).all()
    want = np.array([[0.64, 0.48], [0.48, 0.36]]) / (5 * size)
    assert_close(l2_normalize_jacobian(x), want, rtol=1e-5, atol=1.2e-38)  # flushed

  @given(st.floats(0.01, 100), st.booleans())
  @PROPERTY
  def test_only_the_sign_of_a_factor_survives(self, size, negative):
    """D38: u_x = a u_y; normalization removes the size of a but keeps its sign."""
    alpha, y = -size if negative else size, logits()
    unit = l2_normalize(y)
    assert_close(l2_normalize(alpha * y), np.sign(alpha) * unit)
    raw, normalised = alpha * y + y, l2_normalize(alpha * y) + unit
    assert_close(raw, (1 + alpha) * y)
    assert_close(normalised, (np.sign(alpha) + 1) * unit)
    if negative:  # the raw sum keeps a direction, the normalized one cancels
      assert_close(normalised, np.zeros(5))
      assert np.sign(raw @ y) == np.sign(1 + alpha)

  def test_jacobian_is_a_scaled_projection(self):
    """D39: symmetric, x in its null space, and P^2 = P for P = |x| J."""
    x = logits()
    projection = l2_normalize_jacobian(x) * np.linalg.norm(x)
    assert_close(projection, projection.T)
    assert_close(projection @ x, np.zeros(5))
    assert_close(projection @ projection, projection)

  @pytest.mark.parametrize('dtype', LOW)
  def test_keeps_the_dtype(self, dtype):
    x = jnp.ones(3, dtype)
    assert l2_normalize(x).dtype == l2_normalize_jacobian(x).dtype == dtype

  def test_nan_is_not_hidden(self):
    x = np.array([np.nan, 3.0])
    assert np.isnan(l2_normalize(x)).all() and np.isnan(l2_normalize_jacobian(x)).all()

  def test_a_batch_is_refused(self):
    for f in (jw2v.l2_normalize, jw2v.l2_normalize_jacobian):
      with pytest.raises(AssertionError, match="'x'"):
        f(np.ones((2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize('name', FUNCTIONS)
def test_operation_by_operation_as_compiled(name):
  function = getattr(jw2v, name)
  arguments = (logits(), logits(1)) if 'cross_entropy' in name else (logits(),)
  assert_close(function(*arguments), compiled(function)(*arguments))
