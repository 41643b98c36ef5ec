"""Block objectives: equal to the pure losses of each window, in value and gradient."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import assert_close, to_dense

from jw2v import (
  TrainConfig,
  Word2VecParams,
  cbow_loss,
  cbow_value_and_grad,
  skip_gram_loss,
  skip_gram_value_and_grad,
)
from jw2v.data.sampling import Blocks
from jw2v.objectives.objective import block_objective
from jw2v.objectives.scores import Measured

V, D, N, B, M, K, NEGATIVES = 9, 4, 5, 6, 3, 7, 5
OFFSETS = np.concatenate([np.arange(-M, 0), np.arange(1, M + 1)])  # [C]
# Common directions of the tables: arbitrary vectors of length 1.
COMMON = Word2VecParams(np.array([0.5, -0.5, 0.5, 0.5]), np.array([0.6, 0.0, 0.0, -0.8]))


def rows(architecture, params, batch):
  """Computes negative sampling by row."""
  config = TrainConfig(architecture=architecture, negatives=NEGATIVES, shared_negatives=K)
  return block_objective(config)(params, batch, {}, Measured(common=COMMON))


skip_gram_rows, cbow_rows = (
  jax.jit(functools.partial(rows, name)) for name in ('skip_gram', 'cbow')
)
EAGER_IS_SLOW = [
  pytest.param(lambda f: f.__wrapped__, id='eager', marks=pytest.mark.slow),
  pytest.param(lambda f: f, id='jit'),
]
OBJECTIVES = [skip_gram_rows, cbow_rows]

pytestmark = pytest.mark.usefixtures('float64')


def example(seed, num_words=V, masked=0.3):
  """Returns a batch of few, repeated words, with windows of any size and an empty last block."""
  rng = np.random.default_rng(seed)
  params = Word2VecParams(rng.normal(size=(num_words, D)), rng.normal(size=(num_words, D)))
  tokens = rng.integers(0, num_words, (N, B + 2 * M))
  left, right = (rng.integers(0, M + 1, (N, B)) * (rng.random((N, B)) > masked) for _ in range(2))
  left[-1] = right[-1] = 0
  batch = Blocks(tokens, left.astype(np.int16), right.astype(np.int16),
                 rng.integers(0, num_words, (N, K)))  # fmt: skip
  return jax.tree.map(jnp.asarray, (params, batch))


def windows(batch):
  """Returns center ids [N B], context ids and mask [N B, C], and negatives [N B, K]."""
  tokens, left, right, negatives = map(np.asarray, batch[:4])
  place = np.arange(B)[:, None] + M + OFFSETS  # [B, C]
  mask = (OFFSETS >= -left[..., None]) & (OFFSETS <= right[..., None])
  flat = lambda x: jnp.asarray(x.reshape(-1, *x.shape[2:]))
  each = np.broadcast_to(negatives[:, None], (len(negatives), B, K))
  return flat(tokens[:, M : M + B]), flat(tokens[:, place]), flat(mask), flat(each)


def skip_gram_windows(function, params, batch):
  """Maps `function` over all windows."""
  return _skip_gram_windows(function, params, *windows(batch))


@functools.partial(jax.jit, static_argnums=0)
def _skip_gram_windows(function, params, *each):
  def one(center, context, mask, negatives):
    shape = (len(OFFSETS), K)
    return function(
      params, center, context, mask=mask,
      negative_ids=jnp.broadcast_to(negatives, shape),
      negative_weights=jnp.full(shape, NEGATIVES / K, params.center.dtype),
    )  # fmt: skip

  return jax.vmap(one)(*each)


def cbow_windows(function, params, batch):
  return _cbow_windows(function, params, *windows(batch))


@functools.partial(jax.jit, static_argnums=0)
def _cbow_windows(function, params, *each):
  def one(center, context, mask, negatives):
    return function(
      params, context, center, mask=mask, negative_ids=negatives,
      negative_weights=jnp.full(K, NEGATIVES / K, params.center.dtype),
    )  # fmt: skip

  return jax.vmap(one)(*each)


def assert_equals_the_sum(rows, value_and_grad, num_words=V):
  losses, grads = value_and_grad
  want = jax.tree.map(lambda g: g.sum(axis=0), grads)
  assert_close(rows.loss, losses.sum())
  assert_close(to_dense(rows.center, num_words), want.center)
  assert_close(to_dense(rows.outside, num_words), want.outside)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('transform', EAGER_IS_SLOW)
class TestEqualsTheWindowLosses:
  def test_skip_gram(self, seed, transform):
    params, batch = example(seed)
    rows = transform(skip_gram_rows)(params, batch)
    assert_equals_the_sum(rows, skip_gram_windows(skip_gram_value_and_grad, params, batch))
    assert rows.predictions == np.sum(batch.left + batch.right)

  def test_cbow(self, seed, transform):
    params, batch = example(seed)
    rows = transform(cbow_rows)(params, batch)
    assert_equals_the_sum(rows, cbow_windows(cbow_value_and_grad, params, batch))
    assert rows.predictions == np.sum(batch.left + batch.right > 0)


CASES = [
  (skip_gram_rows, skip_gram_windows, skip_gram_loss),
  (cbow_rows, cbow_windows, cbow_loss),
]


@pytest.mark.parametrize(('objective', 'mapped', 'loss'), CASES, ids=['skip_gram', 'cbow'])
@pytest.mark.parametrize('table', ['center', 'outside'])
class TestCurvature:
  def _of_table(self, mapped, loss, params, batch, table):
    """Returns the summed loss as a function of one of the tables."""
    return lambda t: jnp.sum(mapped(loss, params._replace(**{table: t}), batch))

  def _summed(self, rows):
    return jnp.zeros(V).at[rows.ids].add(rows.curvature, mode='drop')

  def test_is_the_trace_of_the_hessian_where_scores_are_small(self, objective, mapped, loss, table):
    """Equals the trace by each row; context rows of CBOW exceed it, because they move together."""
    params, batch = example(0)
    params = jax.tree.map(lambda x: 0.5 * x, params)
    hessian = jax.jit(jax.hessian(self._of_table(mapped, loss, params, batch, table)))
    want = jnp.einsum('vdvd->v', hessian(getattr(params, table)))
    got = self._summed(getattr(objective(params, batch), table))
    if objective is cbow_rows and table == 'center':
      assert (got >= want).all() and (got <= 2 * M * want).all()
    else:
      assert_close(got, want)

  def test_samples_the_hessian_of_each_row(self, objective, mapped, loss, table):
    """Measures along the gradient across m, along m, and the trace, in a text without repeats."""
    num_words = N * (B + 2 * M + K)
    params, batch = example(0, num_words)
    tokens, noise = np.split(np.arange(num_words), [N * (B + 2 * M)])
    batch = batch._replace(
      token_ids=jnp.asarray(tokens).reshape(N, -1), negative_ids=jnp.asarray(noise).reshape(N, K)
    )
    params = jax.tree.map(lambda x: 0.5 * x, params)
    of_table = self._of_table(mapped, loss, params, batch, table)
    of_row = lambda i: lambda x: of_table(getattr(params, table).at[i].set(x))

    @jax.jit
    @jax.vmap
    def wanted(i):
      row = getattr(params, table)[i]
      g, h, m = jax.grad(of_row(i))(row), jax.hessian(of_row(i))(row), getattr(COMMON, table)
      g -= g @ m * m
      return jnp.array([g @ h @ g / jnp.maximum(g @ g, 1e-300), m @ h @ m, jnp.trace(h)])

    got = getattr(objective(params, batch), table).sample.curvatures.sum(axis=0)
    want = wanted(jnp.arange(num_words)).sum(axis=0)
    if objective is cbow_rows and table == 'center':  # of the means, and not of single rows
      assert (got >= want).all()
    else:
      assert_close(got, want)

  @pytest.mark.parametrize('scale', [1, 3, 30])
  def test_a_step_of_a_table_does_not_raise_the_loss(self, objective, mapped, loss, table, scale):
    """Takes the longest step of `curvature_damped_sgd`, g / h, from scores as far out as 1e3."""
    params, batch = example(2)
    params = jax.tree.map(lambda x: scale * x, params)
    of_table = self._of_table(mapped, loss, params, batch, table)
    rows, before = getattr(objective(params, batch), table), getattr(params, table)
    step = to_dense(rows, V) / jnp.maximum(self._summed(rows), 1e-300)[:, None]
    assert of_table(before - step) < 0.9 * of_table(before)
    alone = [of_table(before.at[i].add(-step[i])) for i in range(V)]
    assert max(alone) <= of_table(before) * (1 + 1e-12)


@pytest.mark.parametrize('objective', OBJECTIVES)
class TestRows:
  @pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
  def test_keeps_the_dtype_of_the_tables(self, objective, dtype):
    params, batch = example(0)
    of_dtype = jax.tree.map(lambda table: table.astype(dtype), params)
    rows = jax.eval_shape(objective, of_dtype, batch)
    chex.assert_type([rows.loss, rows.center.values, rows.outside.values], dtype)
    chex.assert_type([rows.center.curvature, rows.outside.curvature], dtype)

  def test_names_the_rows_that_a_window_touches_and_no_others(self, objective):
    """Omits rows of zeros, which are gradients like any other to an optimizer with moments."""
    params, batch = example(1, num_words=500)
    center, context, mask, negatives = map(np.asarray, windows(batch))
    words, present = set(context[mask].tolist()), mask.any(axis=1)
    centers = set(center[present].tolist())
    noise = set(negatives[present].ravel().tolist())
    rows = objective(params, batch)
    inner, outer = (centers, words) if objective is skip_gram_rows else (words, centers)
    assert set(rows.center.ids.tolist()) - {500} == inner
    assert set(rows.outside.ids.tolist()) - {500} == outer | noise
