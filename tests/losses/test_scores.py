"""Losses of scores: closed forms, and losses of vectors by the chain rule."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import TwinProof, assert_close, is_float

import jw2v
from tests.losses import test_prediction as of_vectors
from tests.losses.test_prediction import corrections, log_sigmoid, sigmoid

K, L = 3, 5
NAMES = ['negative_sampling', 'nce', 'sampled_softmax', 'hierarchical_softmax']


def scores(rng, k=K):
  return rng.normal(), rng.normal(size=k)


class ScoreProof(TwinProof):
  """The proof with scores instead of vectors."""

  REPEATS = True
  argnums = (0, 1)

  def saturate(self, args, kwargs, scale):
    return tuple(np.full_like(x, scale) if is_float(x) else x for x in args), kwargs


class TestNegativeSamplingFromScores(ScoreProof):
  loss = staticmethod(jax.jit(jw2v.negative_sampling_from_scores))
  twin = staticmethod(jax.jit(jw2v.negative_sampling_from_scores_value_and_grad))
  MAIN = ('plain', 'weighted')
  CASES = {
    'plain': lambda rng: (scores(rng), {}),
    'weighted': lambda rng: (scores(rng), {'weights': np.array([1.0, 0.0, 2.5])}),
    'no negatives': lambda rng: (scores(rng, k=0), {}),
  }
  ARGUMENTS = {
    'positive': ((0,), 'plain'),
    'negatives': ((1,), 'plain'),
    'weights': (('weights',), 'weighted'),
  }
  GIVES_SHAPE = ('positive', 'negatives')
  CONVERTED = OPTIONS = ('weights',)

  @staticmethod
  def reference(positive, negatives, *, weights=None):
    weights = np.ones(len(negatives)) if weights is None else weights
    return -log_sigmoid(positive) - sum(weights * log_sigmoid(-negatives))

  def test_bayesian_personalized_ranking_is_a_special_case(self):
    """Equals BPR, -log s(s_i - s_j) for a chosen item i and an item j that was not chosen."""
    for chosen, other in np.random.default_rng(0).normal(size=(3, 2)):
      loss, grads = self.twin(chosen - other, np.zeros(0))
      assert_close(loss, np.log(1 + np.exp(other - chosen)))
      assert_close(grads.positive, -sigmoid(other - chosen))


class TestNceFromScores(ScoreProof):
  loss = staticmethod(jax.jit(jw2v.nce_from_scores))
  twin = staticmethod(jax.jit(jw2v.nce_from_scores_value_and_grad))
  CASES = {
    'plain': lambda rng: (scores(rng), corrections(rng)),
    'weighted': lambda rng: (
      scores(rng),
      {**corrections(rng), 'weights': np.array([1.0, 0.0, 2.5])},
    ),
    'no negatives': lambda rng: (scores(rng, k=0), corrections(rng, k=0)),
  }
  ARGUMENTS = {
    'positive': ((0,), 'plain'),
    'negatives': ((1,), 'plain'),
    'weights': (('weights',), 'weighted'),
    'log_expected_outside': (('log_expected_outside',), 'plain'),
    'log_expected_negatives': (('log_expected_negatives',), 'plain'),
  }
  GIVES_SHAPE = ('positive', 'negatives', 'log_expected_outside')
  CONVERTED = ('weights', 'log_expected_outside', 'log_expected_negatives')
  OPTIONS = ('weights',)

  @staticmethod
  def reference(positive, negatives, **options):
    return of_vectors.TestNce.reference(
      np.ones(1), np.array([positive]), negatives[:, None], **options
    )

  def test_it_is_negative_sampling_at_corrected_scores(self, case):
    (positive, negatives), kwargs = self._example(case)
    expected = kwargs.pop('log_expected_outside'), kwargs.pop('log_expected_negatives')
    want = TestNegativeSamplingFromScores.twin(
      positive - expected[0], negatives - expected[1], **kwargs
    )
    assert_close(self.twin(positive, negatives, *expected, **kwargs), want)


class TestSampledSoftmaxFromScores(ScoreProof):
  loss = staticmethod(jax.jit(jw2v.sampled_softmax_from_scores))
  twin = staticmethod(jax.jit(jw2v.sampled_softmax_from_scores_value_and_grad))
  MAIN = ('plain', 'corrected')
  CASES = {
    'plain': lambda rng: (scores(rng), {}),
    'corrected': lambda rng: (scores(rng), corrections(rng)),
    'no negatives': lambda rng: (scores(rng, k=0), {}),
  }
  ARGUMENTS = {
    'positive': ((0,), 'plain'),
    'negatives': ((1,), 'plain'),
    'log_expected_outside': (('log_expected_outside',), 'corrected'),
    'log_expected_negatives': (('log_expected_negatives',), 'corrected'),
  }
  GIVES_SHAPE = ('positive', 'negatives', 'log_expected_outside')
  CONVERTED = OPTIONS = ('log_expected_outside', 'log_expected_negatives')

  @staticmethod
  def reference(positive, negatives, log_expected_outside=0.0, log_expected_negatives=0.0):
    own = np.exp(positive - log_expected_outside)
    return -np.log(own / (own + np.exp(negatives - log_expected_negatives).sum()))

  def test_infinite_expectation_drops_a_negative(self):
    positive, negatives = scores(np.random.default_rng(0))
    loss, grads = self.twin(positive, negatives, 0.2, np.array([0.1, np.inf, -0.3]))
    want = self.twin(positive, negatives[[0, 2]], 0.2, np.array([0.1, -0.3]))
    assert_close((loss, grads.positive, grads.negatives[np.array([0, 2])]), want)
    assert grads.negatives[1] == 0


class TestHierarchicalSoftmaxFromScores(ScoreProof):
  loss = staticmethod(jax.jit(jw2v.hierarchical_softmax_from_scores))
  twin = staticmethod(jax.jit(jw2v.hierarchical_softmax_from_scores_value_and_grad))
  argnums = 0
  MAIN = ('plain', 'masked')
  CASES = {
    'plain': lambda rng: ((rng.normal(size=L), rng.integers(0, 2, size=L)), {}),
    'bool code': lambda rng: ((rng.normal(size=L), np.array([1, 0, 1, 1, 0], bool)), {}),
    'masked': lambda rng: (
      (rng.normal(size=L), rng.integers(0, 2, size=L)),
      {'mask': np.array([True, True, True, False, False])},
    ),
    'masked entirely': lambda rng: (
      (rng.normal(size=L), rng.integers(0, 2, size=L)),
      {'mask': np.zeros(L, bool)},
    ),
  }
  ARGUMENTS = {
    'scores': ((0,), 'plain'),
    'code': ((1,), 'plain'),
    'mask': (('mask',), 'masked'),
  }
  GIVES_SHAPE = ('scores',)
  OPTIONS = ('mask',)

  @staticmethod
  def reference(scores, code, **options):
    return of_vectors.TestHierarchicalSoftmax.reference(
      np.ones(1), scores[:, None], code, **options
    )

  @pytest.mark.parametrize('garbage', [7.0, np.nan, np.inf, -np.inf])
  def test_padding_leaks_into_nothing(self, garbage):
    scores, code = self._example(self.CASES['plain'])[0]
    want, (want_scores,) = self.twin(scores[:3], code[:3])
    scores[3:], code[3:] = garbage, 99
    _, got, autodiff = self._run((scores, code), {'mask': np.arange(L) < 3})
    assert_close(got, (want, np.concatenate([want_scores, np.zeros(2)])))
    assert_close(got, autodiff)


def at_dot_products(args):
  """Returns the arguments for the loss of scores that equals a loss of vectors."""
  center, *rows = [x for x in args if is_float(x)]
  return [x @ center for x in rows] + [x for x in args if not is_float(x)]


@pytest.mark.usefixtures('float64')
@pytest.mark.parametrize('name', NAMES)
def test_a_loss_of_vectors_is_the_loss_of_their_scores(name):
  """Matches the value, and the gradients of vectors by the chain rule through dot products."""
  proof = getattr(of_vectors, f'Test{name.title().replace("_", "")}')
  of_scores = jax.jit(getattr(jw2v, f'{name}_from_scores'))
  twin_of_scores = jax.jit(getattr(jw2v, f'{name}_from_scores_value_and_grad'))
  for case in proof.CASES.values():
    args, kwargs = case(np.random.default_rng(1))
    values = at_dot_products(args)
    loss, grads = proof.twin(*args, **kwargs)
    assert_close(proof.loss(*args, **kwargs), of_scores(*values, **kwargs))
    want, deltas = twin_of_scores(*values, **kwargs)
    assert_close(loss, want)
    center, *rows = [x for x in args if is_float(x)]
    vectors = sum(np.tensordot(d, x, np.ndim(d)) for d, x in zip(deltas, rows, strict=True))
    by_rows = [np.multiply.outer(np.asarray(d), center) for d in deltas]
    assert_close(grads, (vectors, *by_rows))


@pytest.mark.parametrize('name', NAMES)
def test_options_may_be_given_by_position(name):
  """Lets `jax.vmap` share options: `vmap(loss, (0, 0, None))`."""
  loss = getattr(jw2v, f'{name}_from_scores')
  kinds = {p.kind for p in inspect.signature(loss).parameters.values()}
  assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_a_batch_may_share_the_weights():
  positive, negatives = jnp.ones(2), jnp.arange(6.0).reshape(2, 3)
  loss = jax.vmap(jw2v.negative_sampling_from_scores, (0, 0, None))
  np.testing.assert_allclose(loss(positive, negatives, jnp.zeros(3)), np.log1p(np.exp(-1.0)), 1e-6)


@pytest.mark.parametrize('dtype', [bool, np.int32])
def test_NegativeSampling_takes_weights_of_any_real_dtype(dtype):
  want = jw2v.negative_sampling_from_scores(1.0, np.ones(3), weights=np.array([1.0, 0, 1]))
  weights = np.array([1, 0, 1], dtype)
  assert_close(jw2v.negative_sampling_from_scores(1.0, np.ones(3), weights=weights), want)
