"""The exact softmax over blocks equals the naive softmax of each window, in tiles of any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import assert_close
from test_blocks import V, assert_equals_the_sum, example, windows
from test_training import two_topics

from jw2v import (
  TrainConfig,
  Word2VecParams,
  skip_gram_loss,
  skip_gram_value_and_grad,
  softmax,
  train,
)
from jw2v.blocks import curvature_of


def of_windows(function, params, batch):
  one = lambda center, context, mask, _: function(params, center, context, mask=mask)
  return jax.vmap(one)(*windows(batch))


@pytest.mark.usefixtures('float64')
class TestEqualsTheWindowLosses:
  @pytest.mark.parametrize('tile', [1, 2, 4, V - 1, V, 100])
  @pytest.mark.parametrize('transform', [lambda f, **_: f, jax.jit], ids=['eager', 'jit'])
  def test_value_and_gradient(self, monkeypatch, tile, transform):
    monkeypatch.setattr(softmax, '_TILE', tile)
    params, batch = example(tile)
    rows = transform(lambda p, b: softmax.skip_gram_softmax_rows(p, b, 0))(params, batch)
    assert_equals_the_sum(rows, of_windows(skip_gram_value_and_grad, params, batch))
    assert rows.predictions == np.sum(batch.left + batch.right)

  def test_it_is_the_gradient(self):
    """Against autodiff of the pure loss, for the twin could be wrong as well."""
    params, batch = example(3)
    total = lambda params: of_windows(skip_gram_loss, params, batch).sum()
    rows, want = softmax.skip_gram_softmax_rows(params, batch), jax.grad(total)(params)
    assert_close(rows.center.to_dense(V), want.center)
    assert_close(rows.outside.to_dense(V), want.outside)

  def test_scores_far_out(self):
    params, batch = example(4)
    params = jax.tree.map(lambda table: 60 * table, params)
    rows = softmax.skip_gram_softmax_rows(params, batch)
    assert_equals_the_sum(rows, of_windows(skip_gram_value_and_grad, params, batch))
    for leaf in jax.tree.leaves(rows):
      assert jnp.isfinite(leaf).all()

  @pytest.mark.parametrize('tile', [2, 100])
  def test_curvature(self, monkeypatch, tile):
    """n y (1 - y), or n / 4, for each word, and c(logit y) for each of the context."""
    monkeypatch.setattr(softmax, '_TILE', tile)
    params, batch = example(5)
    rows = softmax.skip_gram_softmax_rows(params, batch)
    centers, context, mask, _ = windows(batch)
    v, n = params.center[centers], mask.sum(axis=1)
    y = jax.nn.softmax(v @ params.outside.T)
    terms = n[:, None] * jnp.where(y > 0.5, 0.25, y * (1 - y))  # [M, V]
    wrong = curvature_of(jnp.log(y) - jnp.log1p(-y))
    for slot in range(mask.shape[1]):
      each = jnp.arange(len(centers)), context[:, slot]
      terms = terms.at[each].add(mask[:, slot] * wrong[each])
    assert_close(rows.center.curvature, terms @ jnp.sum(params.outside**2, axis=1))
    summed = jnp.zeros(V).at[rows.outside.ids].add(rows.outside.curvature, mode='drop')
    assert_close(summed, terms.T @ jnp.sum(v**2, axis=1))

  def test_loss_of_the_measured_blocks(self):
    params, batch = example(6)
    some = jax.tree.map(lambda x: x[:2], batch)
    whole, part = (softmax.skip_gram_softmax_rows(params, batch, 0, m) for m in (None, 2))
    assert_close(part.loss, softmax.skip_gram_softmax_rows(params, some).loss)
    assert part.predictions < whole.predictions
    assert_close(part.center.to_dense(V), whole.center.to_dense(V))


class TestMemory:
  def test_is_that_of_a_tile_of_scores(self):
    """Twice the words take as much more as their gradient does, and no scores of all windows."""
    _, batch = example(0)
    batch = jax.tree.map(lambda x: jnp.tile(x, (40,) + (1,) * (x.ndim - 1)), batch)

    def temporary(num_words):
      table = jax.ShapeDtypeStruct((num_words, 4), jnp.float32)
      run = jax.jit(softmax.skip_gram_softmax_rows, static_argnums=2)
      compiled = run.lower(Word2VecParams(table, table), batch, 0).compile()
      return compiled.memory_analysis().temp_size_in_bytes

    windows_of_batch = batch.left.size
    more = temporary(81_920) - temporary(40_960)
    assert more < 40_960 * windows_of_batch * 4 / 20


class TestTrains:
  def test_two_topics(self):
    config = TrainConfig(objective='naive_softmax', dim=16, min_count=1, sample=0, epochs=15,
                         batch_size=64)  # fmt: skip
    result = train(two_topics(), config, progress=False)
    assert result.history[-1]['loss'] < 0.8 * np.log(14)
    kv = result.vectors
    assert kv.similarity('sea1', 'sea2') > 0.3 + kv.similarity('sea1', 'land1')

  def test_not_for_cbow(self):
    with pytest.raises(ValueError, match="'naive_softmax': needs architecture"):
      TrainConfig(objective='naive_softmax', architecture='cbow')
