"""In-batch softmax: its closed form with every option, and isolation of padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import TwinProof, assert_close, summed, summed_twin

import jw2v

B, D = 5, 3
IDS = np.array([3, 1, 3, -1, 1])
WHERE = np.array([True, False, True, True, False])


def batch(rng, size=B, **options):
  return (rng.normal(size=(size, D)), rng.normal(size=(size, D))), options


def losses_in_numpy(queries, keys, *, log_expected=None, key_ids=None, temperature=1.0, where=None):
  """Computes the losses query by query, from the definition."""
  examples = [i for i in range(len(queries)) if where is None or where[i]]
  losses = np.zeros(len(queries))
  for i in examples:
    mass = {}
    for j in examples:
      if i == j or key_ids is None or key_ids[i] != key_ids[j]:
        expected = 1.0 if log_expected is None else np.exp(log_expected[j])
        mass[j] = np.exp(queries[i] @ keys[j] / temperature) / expected
    losses[i] = -np.log(mass[i] / sum(mass.values()))
  return losses


@jax.jit
def _losses(*args, **kwargs):
  """Returns the losses of the loss function and of its twin."""
  twin = jw2v.in_batch_softmax_value_and_grad(*args, **kwargs)
  return jw2v.in_batch_softmax_loss(*args, **kwargs), twin[0]


class TestInBatchSoftmax(TwinProof):
  """The summed loss of a batch, whose gradients the twin returns."""

  REPEATS = True
  loss = staticmethod(jax.jit(summed(jw2v.in_batch_softmax_loss)))
  twin = staticmethod(jax.jit(summed_twin(jw2v.in_batch_softmax_value_and_grad)))
  reference = staticmethod(summed(losses_in_numpy))
  argnums = (0, 1)
  WIDE_LOSS = True
  MAIN = ('plain', 'every option')
  CASES = {
    'plain': lambda rng: batch(rng),
    'corrected': lambda rng: batch(rng, log_expected=rng.normal(size=B)),
    'accidental hits': lambda rng: batch(rng, key_ids=IDS),
    'temperature': lambda rng: batch(rng, temperature=np.float64(0.3)),
    'padding': lambda rng: batch(rng, where=WHERE),
    'every option': lambda rng: batch(
      rng,
      log_expected=rng.normal(size=B),
      key_ids=IDS,
      temperature=np.float64(0.7),
      where=np.array([True, True, True, True, False]),
    ),
    'one example': lambda rng: batch(rng, size=1),
    'one key': lambda rng: batch(rng, key_ids=np.full(B, 7)),
    'nothing but padding': lambda rng: batch(rng, where=np.zeros(B, bool)),
  }
  ARGUMENTS = {
    'queries': ((0,), 'plain'),
    'keys': ((1,), 'plain'),
    'log_expected': (('log_expected',), 'corrected'),
    'key_ids': (('key_ids',), 'accidental hits'),
    'temperature': (('temperature',), 'temperature'),
    'where': (('where',), 'padding'),
  }
  GIVES_SHAPE = ('queries', 'temperature')
  CONVERTED = ('log_expected', 'temperature')
  OPTIONS = ('log_expected', 'key_ids', 'where')

  def test_each_loss_is_that_of_its_query(self, case):
    (queries, keys), kwargs = self._example(case)
    want = losses_in_numpy(queries, keys, **kwargs)
    assert_close(_losses(queries, keys, **kwargs), (want, want))

  def test_temperature_may_be_trained(self):
    r"""Has the derivative of the scores: :math:`-\frac{1}{\tau^2} \sum \Delta_{ij} q_i k_j`."""
    (queries, keys), _ = batch(np.random.default_rng(0))
    by_temperature = jax.jit(jax.grad(lambda t: self.loss(queries, keys, temperature=t)))
    products = queries @ keys.T
    softmax = np.exp(products / 0.5)
    delta = softmax / softmax.sum(axis=1, keepdims=True) - np.eye(B)
    assert_close(by_temperature(0.5), -np.sum(delta * products) / 0.5**2)

  @pytest.mark.parametrize('garbage', [7.0, np.nan, np.inf])
  def test_padding_leaks_into_nothing(self, garbage):
    args, kwargs = batch(np.random.default_rng(0), log_expected=np.linspace(-1, 1, B), key_ids=IDS)
    kept = lambda tree: jax.tree.map(lambda x: x[WHERE], tree)
    want, want_grads = self.twin(*kept(args), **kept(kwargs))
    for x in (*args, kwargs['log_expected']):
      x[~WHERE] = garbage
    loss, got, autodiff = self._run(args, {**kwargs, 'where': WHERE})
    assert_close((loss, got[0], kept(got[1])), (want, want, want_grads))
    assert_close(autodiff, got)
    assert all(not np.any(x[~WHERE]) for x in got[1])

  def test_a_key_of_the_querys_own_id_is_not_its_negative(self):
    """Returns a loss and gradients of 0 if all ids are equal, as for a single example."""
    for name in ('one example', 'one key'):
      args, kwargs = self._example(self.CASES[name])
      loss, grads = self.twin(*args, **kwargs)
      assert loss == 0
      assert all(not np.any(x) for x in grads)

  def test_it_is_the_sampled_softmax_of_each_query(self):
    (queries, keys), kwargs = self._example(self.CASES['corrected'])
    losses, _ = _losses(queries, keys, **kwargs)
    sampled = jax.jit(jw2v.sampled_softmax_loss)
    expected = kwargs['log_expected']
    for i in range(B):
      others = np.arange(B) != i
      arguments = queries[i], keys[i], keys[others], expected[i], expected[others]
      assert_close(losses[i], sampled(*arguments))


@pytest.mark.parametrize('temperature', [0, -1.0, float('nan')])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
  queries = jnp.ones((B, D))
  for function in (jw2v.in_batch_softmax_loss, jw2v.in_batch_softmax_value_and_grad):
    with pytest.raises(ValueError, match='temperature must be greater than 0, got'):
      function(queries, queries, temperature=temperature)


def test_every_sum_is_carried_in_float32():
  """Sums 2,048 exponentials of bfloat16 scores, where a bfloat16 sum would stop at 256."""
  zeros = jnp.zeros((2048, 2), jnp.bfloat16)
  losses = jax.jit(jw2v.in_batch_softmax_loss)(zeros, zeros)
  assert losses.dtype == jnp.float32
  np.testing.assert_allclose(losses, np.log(2048), rtol=1e-6)
