"""Misprints that circulate in solution notes: the right form holds, the printed one does not.

`docs/derivations.md` lists them by the number of the derivation. Each test shows both
halves on the same data: sizes that all differ, no score at 0 (where s(x) = s(-x) would
hide a sign), and an outside word that is not word 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import assert_close

import jw2v
from jw2v import TwoLayerParams, Word2VecParams

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('float64')]

V, D, K, N = 7, 4, 3, 5  # vocabulary, width, negatives, classes
DX, H, DY, B = 4, 3, 5, 6  # the network
OUTSIDE, CENTER = 2, 3  # the outside word and the center word
LOGITS = np.array([0.3, -1.2, 0.8, 1.9, -0.5])
SOFT = np.array([0.10, 0.20, 0.35, 0.05, 0.30])


def assert_differs(wrong, right):
  """Checks for equal shapes and a difference of more than 2 % of the larger maximum."""
  wrong, right = np.asarray(wrong), np.asarray(right)
  assert wrong.shape == right.shape
  assert np.abs(wrong - right).max() > 0.02 * max(np.abs(wrong).max(), np.abs(right).max())


def assert_wrong_shape(wrong, right):
  assert np.shape(wrong) != np.shape(right)


def shape_error():
  return pytest.raises(ValueError, match=r'matmul|broadcast')


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def softmax(x):
  return np.exp(x) / np.exp(x).sum()


def column(x):
  return np.reshape(x, (-1, 1))


def tables():
  rng = np.random.default_rng(0)
  return Word2VecParams(rng.normal(size=(V, D)), rng.normal(size=(V, D)))


def prediction():
  """Returns the center vector, output table, softmax and one-hot label of one prediction."""
  centers, u = tables()
  v = centers[CENTER]
  return v, u, softmax(u @ v), np.eye(V)[OUTSIDE]


def softmax_grads():
  v, u, *_ = prediction()
  return jw2v.naive_softmax_value_and_grad(v, OUTSIDE, u)[1]


def pair():
  """Returns center, outside and negative vectors, with scores of similar size and both signs."""
  rng = np.random.default_rng(1)
  v, u, n = rng.normal(size=D), rng.normal(size=D), rng.normal(size=(K, D))
  u, n = u * (0.7 / (u @ v)), n * (np.array([1.5, -0.8, 0.4]) / (n @ v))[:, None]
  return v, u, n


def pair_grads():
  return jax.grad(jw2v.negative_sampling_loss, (0, 1, 2))(*pair())


def cross_entropy_grad(labels=SOFT):
  return jax.grad(jw2v.cross_entropy_loss)(LOGITS, labels)


class TestSoftmax:
  """D03 to D07: the softmax, cross entropy and the sigmoid."""

  def test_d03_minus_sign_squared_on_the_diagonal(self):
    e, total = np.exp(LOGITS), np.exp(LOGITS).sum()
    right = np.diag(jax.jacobian(jax.nn.softmax)(LOGITS))
    assert_close(e / total + e * (-1 / total**2) * e, right)
    assert_differs(e / total + e * (-1 / total) ** 2 * e, right)

  def test_d03_product_for_the_sum_in_the_denominator(self):
    i, j, e = 0, 2, np.exp(LOGITS)
    others = e.sum() - e[j]
    right = jw2v.softmax_jacobian(LOGITS)[i, j]
    assert_close(-e[i] * e[j] / (others + e[j]) ** 2, right)
    assert_differs(-e[i] * e[j] / (others * e[j]) ** 2, right)

  def test_d04_sum_of_vectors_for_their_product(self):
    v, u, y_hat, _ = prediction()
    others = np.delete(u, OUTSIDE, axis=0)
    assert_close(1 / (1 + np.exp(others @ v).sum() * np.exp(-u[OUTSIDE] @ v)), y_hat[OUTSIDE])
    printed = np.exp(others + v).sum(axis=0)
    assert_wrong_shape(printed, y_hat[OUTSIDE])
    for component in printed:
      assert_differs(1 / (1 + component * np.exp(-u[OUTSIDE] @ v)), y_hat[OUTSIDE])

  def test_d05_another_index_for_the_outside_word(self):
    loss = jw2v.cross_entropy_loss(LOGITS, np.eye(N)[OUTSIDE])
    assert_close(-np.log(softmax(LOGITS)[OUTSIDE]), loss)
    for w in set(range(N)) - {OUTSIDE}:
      assert_differs(-np.log(softmax(LOGITS)[w]), loss)

  def test_d05_division_by_the_number_of_words(self):
    loss = jw2v.cross_entropy_loss(LOGITS, np.eye(N)[OUTSIDE])
    assert_close(-np.log(softmax(LOGITS)[OUTSIDE]), loss)
    assert_differs(-np.log(softmax(LOGITS)[OUTSIDE]) / N, loss)

  def test_d06_chain_rule_without_its_sum(self):
    y_hat, right = softmax(LOGITS), cross_entropy_grad()
    jacobian = jw2v.softmax_jacobian(LOGITS)
    assert_close(-(SOFT / y_hat) @ jacobian, right)
    assert_differs(-(SOFT / y_hat) * np.diag(jacobian), right)

  def test_d06_equals_sign_inside_the_chain(self):
    d_y_hat = jax.grad(lambda y_hat: -jnp.sum(SOFT * jnp.log(y_hat)))(softmax(LOGITS))
    jacobian = jax.jacobian(jax.nn.softmax)(LOGITS)
    assert_close(d_y_hat @ jacobian, cross_entropy_grad())
    assert_wrong_shape(d_y_hat, jacobian)
    assert_differs(d_y_hat, cross_entropy_grad())

  def test_d06_label_for_the_prediction_in_the_denominator(self):
    """D06: with 1 / y_k the labels cancel, so that no gradient remains."""
    jacobian, y_hat = jw2v.softmax_jacobian(LOGITS), softmax(LOGITS)
    printed = -(SOFT * (1 / SOFT)) @ jacobian
    assert_close(printed, np.zeros(N))
    assert_close(-(SOFT * (1 / y_hat)) @ jacobian, cross_entropy_grad())
    assert_differs(printed, cross_entropy_grad())

  def test_d06_factor_for_the_quotient_on_the_diagonal(self):
    y_hat, jacobian = softmax(LOGITS), jw2v.softmax_jacobian(LOGITS)
    right = SOFT / y_hat * np.diag(jacobian)
    assert_close(SOFT * (1 / y_hat) * y_hat * (1 - y_hat), right)
    assert_differs(SOFT * y_hat * y_hat * (1 - y_hat), right)

  def test_d06_sum_without_its_own_index(self):
    y_hat = softmax(LOGITS)
    assert_close(-SOFT + y_hat * SOFT.sum(), cross_entropy_grad())
    assert_differs(-SOFT + y_hat * (SOFT.sum() - SOFT), cross_entropy_grad())

  def test_d06_two_for_the_sign_of_the_derivative(self):
    printed = -2 * np.sum(SOFT * np.log(softmax(LOGITS)))
    assert_close(printed, 2 * jw2v.cross_entropy_loss(LOGITS, SOFT))
    assert_wrong_shape(printed, cross_entropy_grad())

  def test_d06_logarithm_differentiated_twice(self):
    d_log = jax.jacobian(jax.nn.log_softmax)(LOGITS)
    assert_close(-SOFT @ d_log, cross_entropy_grad())
    assert_differs(-(SOFT / softmax(LOGITS)) @ d_log, cross_entropy_grad())

  def test_d06_minus_sign_of_the_other_classes(self):
    y_hat, right = softmax(LOGITS), cross_entropy_grad(np.eye(N)[OUTSIDE])
    for i in set(range(N)) - {OUTSIDE}:
      assert_close(y_hat[i], right[i])
      assert_differs(-y_hat[i], right[i])

  def test_d06_stray_difference_of_predictions(self):
    y_hat, right = softmax(LOGITS), cross_entropy_grad(np.eye(N)[OUTSIDE])
    for i in set(range(N)) - {OUTSIDE}:
      assert_close(-(1 / y_hat[OUTSIDE]) * (-y_hat[OUTSIDE] * y_hat[i]), right[i])
      assert_differs(y_hat[OUTSIDE] - y_hat[i], right[i])

  def test_d07_missing_prime_of_the_derivative(self):
    x = np.array([-2.0, 0.5, 3.0])
    printed = np.exp(x) / (np.exp(x) + 1) ** 2
    assert_close(printed, jw2v.sigmoid_derivative(x))
    assert_differs(printed, jax.nn.sigmoid(x))

  def test_d07_exponential_form_overflows(self):
    """Right on paper, but the square overflows at x = 355 and the numerator at x = 710."""
    with np.errstate(over='ignore', invalid='ignore'):
      printed = [np.exp(x) / (np.exp(x) + 1) ** 2 for x in np.array([300.0, 400.0, 800.0])]
    right = jw2v.sigmoid_derivative(np.array([300.0, 400.0, 800.0]))
    assert_close(printed[0], right[0], rtol=1e-12, atol=0)
    assert printed[1] == 0 and np.isnan(printed[2])
    assert right[1] > 0 and np.isfinite(right).all()

  def test_d07_one_minus_sigmoid_cancels(self):
    """Right on paper, but s (1 - s) is 0 where the derivative is e^-40."""
    s = jax.nn.sigmoid(40.0)
    assert s * (1 - s) == 0
    assert_close(jw2v.sigmoid_derivative(40.0), np.exp(-40.0), rtol=1e-12, atol=0)


class TestNaiveSoftmax:
  """D11 to D19."""

  def test_d11_transposed_table_although_words_are_rows(self):
    v, u, *_ = prediction()
    assert_close(-np.log(softmax(u @ v)[OUTSIDE]), jw2v.naive_softmax_loss(v, OUTSIDE, u))
    with shape_error():
      softmax(u.T @ v)

  def test_d11_center_word_called_context_word(self):
    """Reads the center word from the center table and the outside word from the outside table."""
    centers, u = tables()
    right = softmax(u @ centers[CENTER])[OUTSIDE]
    assert_close(np.exp(-jw2v.naive_softmax_loss(centers[CENTER], OUTSIDE, u)), right)
    assert_differs(softmax(u @ centers[OUTSIDE])[CENTER], right)

  def test_d12_index_zero_for_the_letter_o(self):
    v, u, *_ = prediction()
    log_sum = np.log(np.exp(u @ v).sum())
    right = jw2v.naive_softmax_loss(v, OUTSIDE, u)
    assert_close(-u[OUTSIDE] @ v + log_sum, right)
    assert_differs(-u[0] @ v + log_sum, right)

  def test_d13_plus_sign_of_the_outside_vector(self):
    _, u, y_hat, _ = prediction()
    assert_close(-u[OUTSIDE] + y_hat @ u, softmax_grads().center)
    assert_differs(+u[OUTSIDE] + y_hat @ u, softmax_grads().center)

  def test_d13_index_not_tied_to_the_sum(self):
    _, u, y_hat, y = prediction()
    assert_close(sum((y_hat[w] - y[w]) * u[w] for w in range(V)), softmax_grads().center)
    for j in range(V):
      assert_differs(sum((y_hat[j] - y[j]) * u[w] for w in range(V)), softmax_grads().center)

  def test_d14_gradient_of_the_table_for_that_of_the_center(self):
    v, u, y_hat, y = prediction()
    printed = column(y_hat - y) @ column(v).T
    assert_close(u.T @ (y_hat - y), softmax_grads().center)
    assert_wrong_shape(printed, softmax_grads().center)
    assert_close(printed, softmax_grads().outside_vectors)

  def test_d14_transposed_vectors_in_the_sum(self):
    v, u, y_hat, y = prediction()
    columns = lambda v: -jax.nn.log_softmax(u @ v, axis=0)[OUTSIDE, 0]
    right = jax.grad(columns)(column(v))
    assert_close(sum((y_hat[i] - y[i]) * column(u[i]) for i in range(V)), right)
    assert_wrong_shape(sum((y_hat[i] - y[i]) * column(u[i]).T for i in range(V)), right)

  def test_d14_derivative_by_a_word_index(self):
    v, u, *_ = prediction()
    assert_close(jax.grad(jw2v.naive_softmax_loss, 0)(v, OUTSIDE, u), softmax_grads().center)
    with pytest.raises(TypeError, match='int'):
      jax.grad(jw2v.naive_softmax_loss, 1)(v, OUTSIDE, u)

  def test_d14_scores_of_the_scores(self):
    v, u, y_hat, _ = prediction()
    columns, scores = u.T, u @ v
    assert_close(softmax(columns.T @ v), y_hat)
    with shape_error():
      columns.T @ scores

  def test_d15_label_of_word_zero(self):
    v, _, y_hat, y = prediction()
    right = softmax_grads().outside_vectors[OUTSIDE]
    assert_close((y_hat[OUTSIDE] - y[OUTSIDE]) * v, right)
    for j in range(V):
      assert_differs((y_hat[j] - y[0]) * v, right)

  def test_d15_square_lost_from_the_quotient_rule(self):
    v, u, *_ = prediction()
    e, total = np.exp(u[OUTSIDE] @ v), np.exp(u @ v).sum()
    right = softmax_grads().outside_vectors[OUTSIDE]
    assert_close(-total / e * (e * total - e**2) / total**2 * v, right)
    assert_differs(-total / e * (e * total) / total**2 * v, right)

  def test_d16_zero_for_the_words_not_observed(self):
    """D16: the score of o does not depend on u_w, but the normalizer does."""
    v, u, y_hat, _ = prediction()
    assert not np.any(np.delete(jax.grad(lambda u: u[OUTSIDE] @ v)(u), OUTSIDE, axis=0))
    for w in set(range(V)) - {OUTSIDE}:
      right = softmax_grads().outside_vectors[w]
      assert_close(y_hat[w] * v, right)
      assert_differs(np.zeros(D), right)

  def test_d16_wrong_word_in_the_numerator(self):
    v, u, *_ = prediction()
    e, total = np.exp(u @ v), np.exp(u @ v).sum()
    d_probability = jax.grad(lambda u: jax.nn.softmax(u @ v)[OUTSIDE])(u)
    for w in set(range(V)) - {OUTSIDE}:
      assert_close(-e[OUTSIDE] * e[w] / total**2 * v, d_probability[w])
      assert_differs(-e[w] * e[w] / total**2 * v, d_probability[w])

  def test_d17_row_vector_times_center(self):
    v, _, y_hat, y = prediction()
    assert_close(column(y_hat - y) @ column(v).T, softmax_grads().outside_vectors)
    with shape_error():
      column(y_hat - y).T @ column(v)

  def test_d17_two_column_vectors_multiplied(self):
    v, _, y_hat, y = prediction()
    assert_close(column(v) @ column(y_hat - y).T, softmax_grads().outside_vectors.T)
    with shape_error():
      column(y_hat - y) @ column(v)

  def test_d19_vector_zero_for_the_center_vector(self):
    centers, u = tables()
    v, _, y_hat, _ = prediction()
    right = jax.grad(lambda u: jax.nn.softmax(u @ v)[OUTSIDE])(u)[OUTSIDE]
    assert_close(y_hat[OUTSIDE] * (1 - y_hat[OUTSIDE]) * v, right)
    assert_differs(y_hat[OUTSIDE] * (1 - y_hat[OUTSIDE]) * centers[0], right)


class TestNegativeSampling:
  """D21 to D27."""

  def test_d21_both_minus_signs_lost(self):
    v, u, n = pair()

    def printed(v):
      return jax.nn.log_sigmoid(u @ v) + jnp.sum(jax.nn.log_sigmoid(-n @ v))

    assert_close(jax.grad(lambda v: -printed(v))(v), pair_grads()[0])
    assert_differs(jax.grad(printed)(v), pair_grads()[0])

  def test_d21_stray_sigmoid_factor(self):
    v, u, n = pair()
    s, noise = sigmoid(u @ v), 1 - sigmoid(-n @ v)
    assert_close((s - 1) * u + noise @ n, pair_grads()[0])
    assert_differs((s - 1) * s * u + noise @ n, pair_grads()[0])
    assert_differs((s - 1) * u + (noise * sigmoid(-n @ v)) @ n, pair_grads()[0])

  def test_d21_one_lost_from_the_sigmoid(self):
    v, u, n = pair()
    form = lambda s: (s(u @ v) - 1) * u + (1 - s(-n @ v)) @ n
    assert_close(form(lambda x: 1 / (1 + np.exp(-x))), pair_grads()[0])
    assert_differs(form(lambda x: 1 / np.exp(-x)), pair_grads()[0])

  def test_d22_outside_vector_for_the_center_vector(self):
    v, u, _ = pair()
    assert_close((sigmoid(u @ v) - 1) * v, pair_grads()[1])
    assert_differs((sigmoid(u @ v) - 1) * u, pair_grads()[1])

  def test_d22_vector_zero_for_the_center_vector(self):
    (centers, u), v = tables(), prediction()[0]
    right = jax.grad(jw2v.negative_sampling_loss, 1)(v, u[OUTSIDE], u[4:])
    assert_close((sigmoid(u[OUTSIDE] @ v) - 1) * v, right)
    assert_differs((sigmoid(u[OUTSIDE] @ v) - 1) * centers[0], right)

  def test_d23_minus_sign_lost_inside_the_sigmoid(self):
    v, _, n = pair()
    for k in range(K):
      assert_close((1 - sigmoid(-n[k] @ v)) * v, pair_grads()[2][k])
      assert_differs((1 - sigmoid(n[k] @ v)) * v, pair_grads()[2][k])

  def test_d23_sum_kept_for_a_single_negative(self):
    v, _, n = pair()
    for k in range(K):
      assert_close(sigmoid(n[k] @ v) * v, pair_grads()[2][k])
      assert_differs(sigmoid(n @ v).sum() * v, pair_grads()[2][k])

  def test_d25_overwriting_instead_of_accumulating(self):
    (_, u), v, draws = tables(), prediction()[0], np.array([1, 5, 1])
    right = jax.grad(lambda t: jw2v.negative_sampling_loss(v, u[OUTSIDE], t[draws]))(u)
    rows = jw2v.negative_sampling_value_and_grad(v, u[OUTSIDE], u[draws])[1].negatives
    assert_close(jnp.zeros((V, D)).at[draws].add(rows), right)
    assert_differs(jnp.zeros((V, D)).at[draws].set(rows), right)

  def test_d27_cases_taken_as_exclusive(self):
    """Counts both cases at once for an outside word that is drawn twice as a negative."""
    (_, u), v, draws = tables(), prediction()[0], np.array([OUTSIDE, 1, OUTSIDE])
    right = jax.grad(lambda t: jw2v.negative_sampling_loss(v, t[OUTSIDE], t[draws]))(u)[OUTSIDE]
    s = sigmoid(u[OUTSIDE] @ v)
    assert_close(((s - 1) + 2 * s) * v, right)
    for one_case in ((s - 1) * v, 2 * s * v):
      assert_differs(one_case, right)


class TestWindows:
  """D29 to D35, for the window w_(t-2) ... w_(t+2) around the center word."""

  WINDOW = np.array([5, 0, CENTER, 6, 5])
  CONTEXT = np.delete(WINDOW, 2)

  def test_d29_center_word_counted_as_its_own_context(self):
    params = tables()
    pairs = lambda ids: sum(
      jw2v.naive_softmax_loss(params.center[CENTER], o, params.outside) for o in ids
    )
    right = jw2v.skip_gram_loss(params, CENTER, self.CONTEXT)
    assert_close(pairs(self.CONTEXT), right)
    assert_differs(pairs(self.WINDOW), right)

  def _sums(self, ids):
    params = tables()
    twin = lambda o: jw2v.naive_softmax_value_and_grad(params.center[CENTER], o, params.outside)
    return jax.tree.map(lambda *x: sum(x), *(twin(o)[1] for o in ids))

  def test_d30_center_word_in_the_gradient_of_the_table(self):
    right = jax.grad(jw2v.skip_gram_loss)(tables(), CENTER, self.CONTEXT).outside
    assert_close(self._sums(self.CONTEXT).outside_vectors, right)
    assert_differs(self._sums(self.WINDOW).outside_vectors, right)

  def test_d31_center_word_in_the_gradient_of_the_center(self):
    right = jax.grad(jw2v.skip_gram_loss)(tables(), CENTER, self.CONTEXT).center[CENTER]
    assert_close(self._sums(self.CONTEXT).center, right)
    assert_differs(self._sums(self.WINDOW).center, right)

  def test_d32_zero_for_every_word(self):
    """D32: is zero only for words other than the center word."""
    grads = jw2v.skip_gram_value_and_grad(tables(), CENTER, self.CONTEXT)[1].center
    assert not np.any(np.delete(grads, CENTER, axis=0))
    assert_differs(np.zeros(D), grads[CENTER])

  def test_d34_skip_gram_and_cbow_exchanged(self):
    """D34: predicting the center word from its surroundings is CBOW."""
    params = tables()
    combined = params.center[self.CONTEXT].sum(axis=0)
    described = jw2v.naive_softmax_loss(combined, CENTER, params.outside)
    assert_close(described, jw2v.cbow_loss(params, self.CONTEXT, CENTER, combine='sum'))
    assert_differs(described, jw2v.skip_gram_loss(params, CENTER, self.CONTEXT))

  def _context_gradient(self, combine):
    """Returns the gradient of word 0, once in the context, and dF/dv at the combined vector."""
    params = tables()
    n = {'sum': 1, 'mean': len(self.CONTEXT)}[combine]
    combined = params.center[self.CONTEXT].sum(axis=0) / n
    loss = lambda p: jw2v.cbow_loss(p, self.CONTEXT, CENTER, combine=combine)
    inner = jw2v.naive_softmax_value_and_grad(combined, CENTER, params.outside)[1].center
    return jax.grad(loss)(params).center[0], inner

  def test_d35_comment_divides_numbers_of_the_sum(self):
    right, inner = self._context_gradient('sum')
    assert_close(inner, right)
    assert_differs(inner / len(self.CONTEXT), right)

  def test_d35_division_by_the_full_window_at_the_edge_of_a_text(self):
    """D35: n is 2 for two words of context in a window of four slots."""
    params, mask = tables(), np.array([True, True, False, False])
    v_hat = params.center[self.CONTEXT[:2]].sum(axis=0)
    right = jw2v.cbow_loss(params, self.CONTEXT, CENTER, mask=mask)
    assert_close(jw2v.naive_softmax_loss(v_hat / 2, CENTER, params.outside), right)
    assert_differs(jw2v.naive_softmax_loss(v_hat / 4, CENTER, params.outside), right)

  def test_d35_one_over_n_left_out_of_the_gradient(self):
    right, inner = self._context_gradient('mean')
    assert_close(inner / len(self.CONTEXT), right)
    assert_differs(inner, right)


class TestNormalisation:
  """D38, D39."""

  def test_d38_sign_of_the_factor_dropped(self):
    y = LOGITS
    unit = y / np.linalg.norm(y)
    assert_close(jw2v.l2_normalize(-3 * y), -unit)
    assert_differs(unit, jw2v.l2_normalize(-3 * y))

  def test_d39_epsilon_outside_the_root_leaves_nan(self):
    """D39: x / (|x| + 1e-30) is 0 at the zero vector, but its autodiff is NaN."""
    printed = lambda x: x / (jnp.sqrt(jnp.sum(x * x)) + 1e-30)
    assert_close(printed(LOGITS), jw2v.l2_normalize(LOGITS))
    assert not np.any(printed(np.zeros(3)))
    assert np.isnan(jax.jacobian(printed)(np.zeros(3))).all()
    assert not np.any(jax.jacobian(jw2v.l2_normalize)(np.zeros(3)))

  def test_d39_epsilon_under_the_root_leaves_a_huge_gradient(self):
    printed = lambda x: x / jnp.sqrt(jnp.sum(x * x) + 1e-30)
    assert_close(printed(LOGITS), jw2v.l2_normalize(LOGITS))
    assert_close(jax.jacobian(printed)(np.zeros(3)), 1e15 * np.eye(3))
    assert not np.any(jax.jacobian(jw2v.l2_normalize)(np.zeros(3)))


def network():
  """Returns parameters, a batch of rows, and the values that backpropagation needs."""
  rng = np.random.default_rng(0)
  params = TwoLayerParams(*(rng.normal(size=s) for s in [(DX, H), (H,), (H, DY), (DY,)]))
  x, y = rng.normal(size=(B, DX)), np.eye(DY)[rng.integers(0, DY, size=B)]
  z1 = x @ params.w1 + params.b1
  h = sigmoid(z1)
  delta2 = np.stack([softmax(z) for z in h @ params.w2 + params.b2]) - y
  return params, x, y, z1, h, delta2


def batch_grads():
  params, x, y, *_ = network()
  total = lambda p, x: jnp.sum(jax.vmap(jw2v.two_layer_loss, (None, 0, 0))(p, x, y))
  return jax.grad(total, (0, 1))(params, x)


class TestNetwork:
  """D41 to D48."""

  def test_d41_softmax_of_the_wrong_layer(self):
    params, x, y, z1, _, delta2 = network()
    z2 = jax.vmap(jw2v.two_layer_logits, (None, 0))(params, x)
    assert_close(jax.nn.softmax(z2) - y, delta2)
    assert_wrong_shape(jax.nn.softmax(z1), y)

  def test_d44_third_weight_matrix_in_a_network_of_two(self):
    """D44: only W1 takes delta1 back to x; W2, the last matrix, does not fit."""
    params, _, _, _, h, delta2 = network()
    delta1 = (delta2 @ params.w2.T) * h * (1 - h)
    assert_close(delta1 @ params.w1.T, batch_grads()[1])
    assert params._fields == ('w1', 'b1', 'w2', 'b2')
    with shape_error():
      delta1 @ params.w2.T

  def test_d44_missing_brackets(self):
    params, _, _, _, h, delta2 = network()
    slope = h * (1 - h)
    assert_close(((delta2 @ params.w2.T) * slope) @ params.w1.T, batch_grads()[1])
    with shape_error():
      (delta2 @ params.w2.T) * (slope @ params.w1.T)

  def test_d44_inner_derivative_taken_twice(self):
    """D44: dh/dx already equals dh/dz1 times dz1/dx."""
    params, x, _, z1, _, delta2 = network()
    d_h = delta2[0] @ params.w2.T
    dh_dz1 = np.diag(jw2v.sigmoid_derivative(z1[0]))
    dh_dx = dh_dz1 @ params.w1.T  # [H, Dx]
    assert_close(jax.jacobian(lambda x: jax.nn.sigmoid(x @ params.w1 + params.b1))(x[0]), dh_dx)
    assert_close(d_h @ dh_dz1 @ params.w1.T, batch_grads()[1][0])
    with shape_error():
      d_h @ dh_dx @ dh_dz1 @ params.w1.T

  def test_d46_sum_of_the_wrong_layer(self):
    """D46: the sum of dZ2 is db2, neither dW2, as printed, nor the intended db1."""
    params, _, _, _, h, delta2 = network()
    delta1 = (delta2 @ params.w2.T) * h * (1 - h)
    grads, _ = batch_grads()
    printed = delta2.sum(axis=0)
    assert_wrong_shape(printed, grads.w2)
    assert_wrong_shape(printed, grads.b1)
    assert_close(printed, grads.b2)
    assert_close(delta1.sum(axis=0), grads.b1)

  def test_d47_column_input_times_matrix(self):
    params, x, *_ = network()
    assert (column(x[0]).T @ params.w1).shape == (1, H)
    with shape_error():
      column(x[0]) @ params.w1

  def test_d47_biases_folded_into_the_weights(self):
    params, x, _, z1, *_ = network()
    folded = np.concatenate([params.w1, params.b1[None]])
    assert_close(np.append(x[0], 1) @ folded, z1[0])
    with shape_error():
      x[0] @ folded

  def test_d48_bias_summed_over_the_axis_of_the_other_convention(self):
    delta2 = network()[-1]
    columns = delta2.T  # [Dy, B]
    assert_close(columns.sum(axis=1), batch_grads()[0].b2)
    assert_wrong_shape(columns.sum(axis=0), batch_grads()[0].b2)


class TestCorrectAsPrinted:
  """Lines that look wrong but are right."""

  def test_d07_chain_of_the_sigmoid(self):
    x = np.array([-2.0, 0.5, 3.0])
    right = jax.vmap(jax.grad(jax.nn.sigmoid))(x)
    assert_close(-((1 + np.exp(-x)) ** -2) * (-np.exp(-x)), right)
    assert_close(1 / (1 + np.exp(-x)) * (1 - 1 / (1 + np.exp(-x))), right)

  def test_d12_to_d16_one_minus_sign_everywhere(self):
    v, u, y_hat, _ = prediction()
    loss, (center, outside) = jax.value_and_grad(jw2v.naive_softmax_loss, (0, 2))(v, OUTSIDE, u)
    assert_close(-u[OUTSIDE] @ v + np.log(np.exp(u @ v).sum()), loss)
    assert_close(-u[OUTSIDE] + sum(y_hat[w] * u[w] for w in range(V)), center)
    for w in range(V):
      assert_close((y_hat[OUTSIDE] - 1) * v if w == OUTSIDE else y_hat[w] * v, outside[w])

  def test_d21_opposite_signs_of_the_two_terms(self):
    v, u, n = pair()
    center = (sigmoid(u @ v) - 1) * u
    for k in range(K):
      center = center + (1 - sigmoid(-n[k] @ v)) * n[k]
    assert_close(center, pair_grads()[0])

  def test_d25_factor_n_of_a_repeated_negative(self):
    v, u, n = pair()
    for count in range(1, 5):
      repeated = jax.grad(lambda x, m=count: jw2v.negative_sampling_loss(v, u, jnp.stack([x] * m)))
      assert_close(repeated(n[0]), count * (1 - sigmoid(-n[0] @ v)) * v)

  def test_d38_negative_factor_changes_the_result(self):
    unit = jw2v.l2_normalize(LOGITS)
    for alpha in (-0.5, -2.0):
      assert_close(jw2v.l2_normalize(alpha * LOGITS) + unit, np.zeros(N))
      assert np.sign((alpha * LOGITS + LOGITS) @ LOGITS) == np.sign(1 + alpha)

  def test_d47_number_of_parameters(self):
    assert (10 + 1) * 5 + (5 + 1) * 10 == jw2v.two_layer_num_params(10, 5, 10) == 115
