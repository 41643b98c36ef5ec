"""Losses of one prediction: closed forms, and the identities D11 to D28."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import TwinProof, assert_close

import jw2v

V, D, K, L = 7, 4, 3, 5  # all different, so that no transpose can hide


def log_sigmoid(x):
  return -np.logaddexp(0, -x)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def vectors(rng, k=K, d=D):
  return rng.normal(size=d), rng.normal(size=d), rng.normal(size=(k, d))


class TestNaiveSoftmax(TwinProof):
  loss = staticmethod(jax.jit(jw2v.naive_softmax_loss))
  twin = staticmethod(jax.jit(jw2v.naive_softmax_value_and_grad))
  argnums = (0, 2)
  CASES = {
    f'outside word {name}': lambda rng, o=o: (
      (rng.normal(size=D), np.int32(o), rng.normal(size=(V, D))),
      {},
    )
    for name, o in (('first', 0), ('inner', 3), ('last', V - 1))
  }
  ARGUMENTS = {
    'center': ((0,), 'outside word inner'),
    'outside_id': ((1,), 'outside word inner'),
    'outside_vectors': ((2,), 'outside word inner'),
  }
  GIVES_SHAPE = ('center', 'outside_id')

  @staticmethod
  def reference(center, outside_id, outside_vectors):
    weights = np.array([np.exp(u @ center) for u in outside_vectors])
    return -np.log(weights[outside_id] / weights.sum())

  def test_gradient_is_expected_minus_observed_vector(self, case):
    """D13, D18: dJ/dv = E[u] - u_o; the row gradients sum to zero."""
    (v, o, u), _ = self._example(case)
    y = np.exp(u @ v) / np.exp(u @ v).sum()
    _, grads = self.twin(v, o, u)
    assert_close(grads.center, y @ u - u[o])
    assert_close(grads.outside_vectors.sum(axis=0), np.zeros(D))

  def test_gradient_vanishes_when_expectation_is_the_observed_vector(self):
    """D18: equal output vectors make E[u] = u_o, and only then is dJ/dv zero."""
    u = np.tile(np.arange(1.0, D + 1), (V, 1))
    assert_close(self.twin(np.ones(D), 2, u)[1].center, np.zeros(D))
    u[4] += 1
    assert np.abs(self.twin(np.ones(D), 2, u)[1].center).max() > 0.1

  def test_rows_of_the_observed_and_of_other_words(self, case):
    """D15, D16: (y_o - 1) v for the outside word, y_w v, not zero, for the others."""
    (v, o, u), _ = self._example(case)
    y = np.exp(u @ v) / np.exp(u @ v).sum()
    rows = self.twin(v, o, u)[1].outside_vectors
    for w in range(V):
      assert_close(rows[w], (y[w] - (w == o)) * v)

  def test_column_convention_is_the_transpose(self, case):
    """D14, D17: with U as [D, V], dJ/dv = U (y_hat - y) and dJ/dU = v (y_hat - y)^T."""
    (v, o, u), _ = self._example(case)
    columns = lambda v, u: -jax.nn.log_softmax(u.T @ v)[o]
    d_v, d_u = jax.jit(jax.grad(columns, (0, 1)))(v, u.T)
    grads = self.twin(v, o, u)[1]
    assert_close(grads.center, d_v)
    assert_close(grads.outside_vectors, d_u.T)
    assert grads.outside_vectors.shape == (V, D)

  def test_probability_and_its_derivative(self, case):
    """D11, D12, D19: exp(-loss) is P(o|c), sums to 1 and has the stated derivatives."""
    (v, o, u), _ = self._example(case)
    y = np.array([np.exp(-self.loss(v, w, u)) for w in range(V)])
    assert_close(y.sum(), 1.0)
    d_u = jax.jit(jax.grad(lambda u: jnp.exp(-self.loss(v, o, u))))(u)
    for w in range(V):
      assert_close(d_u[w], y[o] * ((w == o) - y[w]) * v)


class TestNegativeSampling(TwinProof):
  loss = staticmethod(jax.jit(jw2v.negative_sampling_loss))
  twin = staticmethod(jax.jit(jw2v.negative_sampling_value_and_grad))
  argnums = (0, 1, 2)
  MAIN = ('plain', 'weighted')
  CASES = {
    'plain': lambda rng: (vectors(rng), {}),
    'weighted': lambda rng: (vectors(rng), {'weights': np.array([1.0, 0.0, 2.5])}),
    'no negatives': lambda rng: (vectors(rng, k=0), {}),
    'one negative': lambda rng: (vectors(rng, k=1), {}),
  }
  ARGUMENTS = {
    'center': ((0,), 'plain'),
    'outside': ((1,), 'plain'),
    'negatives': ((2,), 'plain'),
    'weights': (('weights',), 'weighted'),
  }
  GIVES_SHAPE = ('center',)
  CONVERTED = OPTIONS = ('weights',)

  @staticmethod
  def reference(center, outside, negatives, *, weights=None):
    loss = -log_sigmoid(outside @ center)
    for k, negative in enumerate(negatives):
      loss -= (1 if weights is None else weights[k]) * log_sigmoid(-negative @ center)
    return loss

  def test_gradients_as_printed(self, case):
    """D21, D22, D23, term by term, with the sign inside each sigmoid."""
    (v, u, n), kwargs = self._example(case)
    w = kwargs.get('weights', np.ones(len(n)))
    _, grads = self.twin(v, u, n, **kwargs)
    center = (sigmoid(u @ v) - 1) * u
    for k in range(len(n)):
      center = center + w[k] * (1 - sigmoid(-n[k] @ v)) * n[k]
      assert_close(grads.negatives[k], w[k] * sigmoid(n[k] @ v) * v)
    assert_close(grads.center, center)
    assert_close(grads.outside, (sigmoid(u @ v) - 1) * v)

  def test_shared_term_of_the_three_gradients(self):
    """D26: with U_o,k = [u_o, -u_1, ..., -u_K] and t = s(U v) - 1, all three follow."""
    v, u, n = vectors(np.random.default_rng(0))
    signed = np.concatenate([u[None], -n])
    t = sigmoid(signed @ v) - 1
    _, grads = self.twin(v, u, n)
    assert_close(grads, (signed.T @ t, t[0] * v, -np.outer(t[1:], v)))

  def test_one_logistic_for_each_score(self):
    """D26: evaluates the sigmoid K + 1 times for value and gradients together."""
    jaxpr = jax.make_jaxpr(self.twin)(*vectors(np.random.default_rng(0))).jaxpr
    sizes = []

    def visit(jaxpr):
      for eqn in jaxpr.eqns:
        if eqn.primitive.name == 'logistic':
          sizes.append(eqn.outvars[0].aval.size)
        for inner in jax.tree.leaves(eqn.params, is_leaf=lambda x: hasattr(x, 'jaxpr')):
          if hasattr(inner, 'jaxpr'):
            visit(inner.jaxpr)

    visit(jaxpr)
    assert sum(sizes) == K + 1

  @given(draws=st.lists(st.integers(0, V - 1), min_size=6, max_size=6))
  @settings(max_examples=30, deadline=None, derandomize=True)
  def test_a_word_drawn_n_times_gets_n_times_the_gradient(self, draws):
    """D24, D25: words that are not drawn get a gradient of exactly zero."""
    rng = np.random.default_rng(0)
    v, u, table = rng.normal(size=D), rng.normal(size=D), rng.normal(size=(V, D))
    draws = np.array(draws)
    rows = self.twin(v, u, table[draws])[1].negatives
    gradient = np.zeros((V, D))
    np.add.at(gradient, draws, rows)
    assert_close(gradient, _gradient_of_rows(v, table, draws, u))
    for w in range(V):
      count = int((draws == w).sum())
      assert_close(gradient[w], count * sigmoid(table[w] @ v) * v, atol=1e-12)
      if not count:
        assert not np.any(gradient[w])

  @given(draws=st.lists(st.integers(0, 2), min_size=5, max_size=5), o=st.integers(0, 2))
  @settings(max_examples=30, deadline=None, derandomize=True)
  def test_negatives_may_equal_the_outside_word(self, draws, o):
    """D27: drawn m times as a negative, u_o gets [(s - 1) + m s] v."""
    rng = np.random.default_rng(0)
    v, table, draws = rng.normal(size=D), rng.normal(size=(3, D)), np.array(draws)
    _, grads = self.twin(v, table[o], table[draws])
    gradient = np.zeros((3, D))
    np.add.at(gradient, [*draws, o], [*grads.negatives, grads.outside])
    s, m = sigmoid(table[o] @ v), (draws == o).sum()
    assert_close(gradient[o], ((s - 1) + m * s) * v)
    assert_close(gradient, _gradient_of_rows(v, table, draws, o))

  def test_weight_zero_drops_a_negative(self):
    v, u, n = vectors(np.random.default_rng(0))
    value, grads = self.twin(v, u, n, weights=np.array([1.0, 0.0, 1.0]))
    want, want_grads = self.twin(v, u, n[[0, 2]])
    assert_close((value, grads.center, grads.outside), (want, *want_grads[:2]))
    assert not np.any(grads.negatives[1])

  def test_cost_does_not_grow_with_the_vocabulary(self):
    """D28: costs O(K D) per pair with looked-up rows; the softmax costs O(V D)."""

    def flops(function, vocabulary):
      table = jax.ShapeDtypeStruct((vocabulary, D), jnp.float32)
      center = jax.ShapeDtypeStruct((D,), jnp.float32)
      return jax.jit(function).lower(center, table).compile().cost_analysis()['flops']

    sampled = lambda v, t: self.twin(v, t[0], t[1 : 1 + K])
    exact = lambda v, t: jw2v.naive_softmax_value_and_grad(v, 0, t)
    assert flops(sampled, 10_000) == flops(sampled, 100)
    assert flops(exact, 10_000) > 50 * flops(exact, 100)

  @pytest.mark.parametrize('scale', [-1e3, 1e3])
  def test_loss_at_large_scores_is_the_score(self, scale):
    """D08, D20: -log s(-x) = x to the last digit for large x."""
    one = np.ones(1)
    assert_close(self.loss(one, scale * one, np.zeros((0, 1))), max(-scale, 0.0))
    assert_close(self.loss(one, 1e9 * one, scale * np.ones((1, 1))), max(scale, 0.0))

  def test_integer_and_bool_weights_mean_their_value(self):
    v, u, n = vectors(np.random.default_rng(0))
    want = self.twin(v, u, n, weights=np.array([1.0, 0.0, 1.0]))
    for dtype in (bool, np.int32):
      assert_close(self.twin(v, u, n, weights=np.array([1, 0, 1], dtype)), want)


@jax.jit
def _gradient_of_rows(v, table, draws, outside):
  """Returns autodiff of negative sampling by the table, with the outside vector or its row."""
  is_row = jnp.ndim(outside) == 0
  pick = lambda t: t[outside] if is_row else outside
  return jax.grad(lambda t: jw2v.negative_sampling_loss(v, pick(t), t[draws]))(table)


def corrections(rng, k=K):
  return {'log_expected_outside': rng.normal(), 'log_expected_negatives': rng.normal(size=k)}


class TestNce(TwinProof):
  loss = staticmethod(jax.jit(jw2v.nce_loss))
  twin = staticmethod(jax.jit(jw2v.nce_value_and_grad))
  argnums = (0, 1, 2)
  CASES = {
    'plain': lambda rng: (vectors(rng), corrections(rng)),
    'weighted': lambda rng: (
      vectors(rng),
      {**corrections(rng), 'weights': np.array([1.0, 0.0, 2.5])},
    ),
    'no negatives': lambda rng: (vectors(rng, k=0), corrections(rng, k=0)),
  }
  ARGUMENTS = {
    'center': ((0,), 'plain'),
    'outside': ((1,), 'plain'),
    'negatives': ((2,), 'plain'),
    'weights': (('weights',), 'weighted'),
    'log_expected_outside': (('log_expected_outside',), 'plain'),
    'log_expected_negatives': (('log_expected_negatives',), 'plain'),
  }
  GIVES_SHAPE = ('center', 'log_expected_outside')
  CONVERTED = ('weights', 'log_expected_outside', 'log_expected_negatives')
  OPTIONS = ('weights',)

  @staticmethod
  def reference(
    center, outside, negatives, *, log_expected_outside, log_expected_negatives, weights=None
  ):
    """Computes the posterior P(data) = p / (p + K q) with p = exp(score)."""
    p, q = np.exp(outside @ center), np.exp(log_expected_outside)
    loss = -np.log(p / (p + q))
    for k, negative in enumerate(negatives):
      p, q = np.exp(negative @ center), np.exp(log_expected_negatives[k])
      loss -= (1 if weights is None else weights[k]) * np.log(q / (p + q))
    return loss

  def test_without_correction_it_is_negative_sampling(self):
    args = vectors(np.random.default_rng(0))
    got = self.twin(*args, log_expected_outside=0.0, log_expected_negatives=np.zeros(K))
    assert_close(got, jw2v.negative_sampling_value_and_grad(*args))


class TestSampledSoftmax(TwinProof):
  loss = staticmethod(jax.jit(jw2v.sampled_softmax_loss))
  twin = staticmethod(jax.jit(jw2v.sampled_softmax_value_and_grad))
  argnums = (0, 1, 2)
  CASES = {
    'plain': lambda rng: (vectors(rng), corrections(rng)),
    'no negatives': lambda rng: (vectors(rng, k=0), corrections(rng, k=0)),
  }
  ARGUMENTS = {
    'center': ((0,), 'plain'),
    'outside': ((1,), 'plain'),
    'negatives': ((2,), 'plain'),
    'log_expected_outside': (('log_expected_outside',), 'plain'),
    'log_expected_negatives': (('log_expected_negatives',), 'plain'),
  }
  GIVES_SHAPE = ('center', 'log_expected_outside')
  CONVERTED = ('log_expected_outside', 'log_expected_negatives')

  @staticmethod
  def reference(center, outside, negatives, *, log_expected_outside, log_expected_negatives):
    mass = [np.exp(outside @ center) / np.exp(log_expected_outside)]
    for negative, log_expected in zip(negatives, log_expected_negatives, strict=True):
      mass.append(np.exp(negative @ center) / np.exp(log_expected))
    return -np.log(mass[0] / sum(mass))

  def test_all_other_words_once_is_the_naive_softmax(self):
    """Equals the naive softmax with all other words as negatives and no correction."""
    rng = np.random.default_rng(0)
    v, table, o = rng.normal(size=D), rng.normal(size=(V, D)), 2
    others = np.array([w for w in range(V) if w != o])
    value, grads = self.twin(
      v, table[o], table[others], log_expected_outside=0.0, log_expected_negatives=np.zeros(V - 1)
    )
    want, want_grads = jw2v.naive_softmax_value_and_grad(v, o, table)
    assert_close((value, grads.center), (want, want_grads.center))
    assert_close(grads.outside, want_grads.outside_vectors[o])
    assert_close(grads.negatives, want_grads.outside_vectors[others])


@pytest.mark.parametrize('twin', [jw2v.nce_value_and_grad, jw2v.sampled_softmax_value_and_grad])
def test_infinite_expectation_drops_a_negative(twin):
  """Drops a negative as the sampled softmax drops accidental hits."""
  v, u, n = vectors(np.random.default_rng(0))
  twin, expected = jax.jit(twin), np.array([0.1, np.inf, -0.3])
  value, grads = twin(v, u, n, log_expected_outside=0.2, log_expected_negatives=expected)
  want = twin(v, u, n[[0, 2]], log_expected_outside=0.2, log_expected_negatives=expected[[0, 2]])
  assert_close((value, *grads[:2]), (want[0], *want[1][:2]))
  assert not np.any(grads.negatives[1])


def path(rng, length=L):
  return rng.normal(size=D), rng.normal(size=(length, D)), rng.integers(0, 2, size=length)


class TestHierarchicalSoftmax(TwinProof):
  loss = staticmethod(jax.jit(jw2v.hierarchical_softmax_loss))
  twin = staticmethod(jax.jit(jw2v.hierarchical_softmax_value_and_grad))
  argnums = (0, 1)
  MAIN = ('plain', 'masked')
  CASES = {
    'plain': lambda rng: (path(rng), {}),
    'bool code': lambda rng: ((*path(rng)[:2], np.array([1, 0, 1, 1, 0], bool)), {}),
    'masked': lambda rng: (path(rng), {'mask': np.array([True, True, True, False, False])}),
    'masked entirely': lambda rng: (path(rng), {'mask': np.zeros(L, bool)}),
  }
  ARGUMENTS = {
    'center': ((0,), 'plain'),
    'node_vectors': ((1,), 'plain'),
    'code': ((2,), 'plain'),
    'mask': (('mask',), 'masked'),
  }
  GIVES_SHAPE = ('center',)
  OPTIONS = ('mask',)

  @staticmethod
  def reference(center, node_vectors, code, *, mask=None):
    """Follows the C tool: the branch 0 has probability s(score), the branch 1 the rest."""
    probability = 1.0
    for i, node in enumerate(node_vectors):
      if mask is None or mask[i]:
        left = sigmoid(node @ center)
        probability *= left if code[i] == 0 else 1 - left
    return -np.log(probability)

  def test_gradient_as_in_the_c_tool(self):
    """Matches the C tool, whose g = 1 - code - s(score) is minus the derivative of the score."""
    v, nodes, code = path(np.random.default_rng(0))
    t = sigmoid(nodes @ v) - (1 - code)
    assert_close(self.twin(v, nodes, code)[1], (t @ nodes, np.outer(t, v)))

  def test_code_as_a_list(self):
    v, nodes, _ = path(np.random.default_rng(0))
    want = self.loss(v, nodes, np.array([1, 0, 0, 1, 1]))
    for code in ([1, 0, 0, 1, 1], [True, False, False, True, True]):
      assert_close(jw2v.hierarchical_softmax_loss(v, nodes, code), want)

  def test_leaves_of_a_tree_have_total_probability_one(self):
    """Sums over a tree with three inner nodes and four leaves: 00, 01, 1-0, 1-1."""
    rng = np.random.default_rng(0)
    v, nodes = rng.normal(size=D), rng.normal(size=(3, D))
    leaves = [([0, 1], [0, 0]), ([0, 1], [0, 1]), ([0, 2], [1, 0]), ([0, 2], [1, 1])]
    total = sum(np.exp(-self.loss(v, nodes[ids], np.array(code))) for ids, code in leaves)
    assert_close(total, 1.0)

  @pytest.mark.parametrize('padding', [0, 1, -1, 99])
  @pytest.mark.parametrize('garbage', [0.0, 7.0, np.nan, np.inf])
  def test_padding_leaks_into_nothing(self, padding, garbage):
    v, nodes, code = path(np.random.default_rng(0))
    want = self.twin(v, nodes[:3], code[:3])
    code[3:], nodes[3:] = padding, garbage
    mask = np.arange(L) < 3
    _, (value, grads), auto = self._run((v, nodes, code), {'mask': mask})
    grads = jax.tree.map(np.asarray, grads)
    assert_close((value, grads.center, grads.node_vectors[:3]), (want[0], *want[1]))
    assert not np.any(grads.node_vectors[3:])
    assert_close((value, grads), auto)
