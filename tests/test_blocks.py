"""The batched objectives equal the pure losses of each window, value and gradient."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import assert_close

from jw2v import Word2VecParams, blocks, cbow_value_and_grad, skip_gram_value_and_grad
from jw2v.sampling import Windows

V, D, B, C, K = 9, 4, 6, 5, 3

pytestmark = pytest.mark.usefixtures('float64')


def example(seed, masked=0.4):
  """Few words, so that every one of them repeats; the last window is masked entirely."""
  rng = np.random.default_rng(seed)
  params = Word2VecParams(rng.normal(size=(V, D)), rng.normal(size=(V, D)))
  mask = rng.random((B, C)) > masked
  mask[-1] = False
  windows = Windows(rng.integers(0, V, B), rng.integers(0, V, (B, C)), mask)
  negatives = rng.integers(0, V, (B, K))
  return jax.tree.map(jnp.asarray, (params, windows, negatives)), rng


def assert_equals_the_sum(rows, value_and_grad):
  losses, grads = value_and_grad
  want = jax.tree.map(lambda g: g.sum(axis=0), grads)
  assert_close(rows.loss, losses.sum())
  assert_close(rows.center.to_dense(V), want.center)
  assert_close(rows.outside.to_dense(V), want.outside)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('transform', [lambda f: f, jax.jit], ids=['eager', 'jit'])
class TestSkipGramRows:
  def test_equals_vmap_of_the_window_loss(self, seed, transform):
    (params, windows, negatives), rng = example(seed)
    weights = jnp.asarray(rng.uniform(size=(B, C, K)))
    got = transform(blocks.skip_gram_rows)(params, windows, negatives, weights)
    each_slot = jnp.broadcast_to(negatives[:, None], (B, C, K))
    want = jax.vmap(
      lambda c, o, n, w, m: skip_gram_value_and_grad(
        params, c, o, negative_ids=n, negative_weights=w, mask=m
      )
    )(windows.center_ids, windows.context_ids, each_slot, weights, windows.mask)
    assert_equals_the_sum(got, want)
    assert got.predictions == windows.mask.sum()


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('transform', [lambda f: f, jax.jit], ids=['eager', 'jit'])
class TestCbowRows:
  def test_equals_vmap_of_the_window_loss(self, seed, transform):
    (params, windows, negatives), rng = example(seed)
    weights = jnp.asarray(rng.uniform(size=(B, K)))
    got = transform(blocks.cbow_rows)(params, windows, negatives, weights)
    want = jax.vmap(
      lambda t, c, n, w, m: cbow_value_and_grad(
        params, c, t, negative_ids=n, negative_weights=w, mask=m
      )
    )(windows.center_ids, windows.context_ids, negatives, weights, windows.mask)
    assert_equals_the_sum(got, want)
    assert got.predictions == windows.mask.any(axis=1).sum()


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('objective', [blocks.skip_gram_rows, blocks.cbow_rows])
def test_keeps_the_dtype_of_the_tables(objective, dtype):
  (params, windows, negatives), _ = example(0)
  params = jax.tree.map(lambda table: table.astype(dtype), params)
  shape = (B, C, K) if objective is blocks.skip_gram_rows else (B, K)
  rows = objective(params, windows, negatives, jnp.ones(shape, dtype))
  chex.assert_type([rows.loss, rows.center.values, rows.outside.values], dtype)


@pytest.mark.parametrize('objective', [blocks.skip_gram_rows, blocks.cbow_rows])
def test_padding_names_no_row(objective):
  """A window masked entirely touches nothing: to an optimizer with moments a zero is a gradient."""
  (params, windows, negatives), _ = example(0)
  windows = windows._replace(mask=jnp.zeros((B, C), bool))
  shape = (B, C, K) if objective is blocks.skip_gram_rows else (B, K)
  rows = objective(params, windows, negatives, jnp.ones(shape))
  assert rows.loss == 0 and rows.predictions == 0
  assert np.all(rows.center.ids == V) and np.all(rows.outside.ids == V)
