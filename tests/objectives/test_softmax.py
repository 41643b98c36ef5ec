"""Softmax objectives: tiles of any size, curvature, memory, and the limit of sampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiers
from corpora import two_topics
from proof import assert_close, to_dense

from jw2v import TrainConfig, Word2VecParams, nce_loss, sampled_softmax_loss, train
from jw2v.data.sampling import alias_table, draw_alias, noise_distribution
from jw2v.objectives.logistic import curvature_of
from jw2v.objectives.objective import block_objective, make_objective
from tests.objectives.test_architectures import COMMON, N, V, example, windows
from tests.objectives.test_objective import (
  VOCABULARY,
  config_of,
  constants_of,
  rows_of,
  total_loss,
)


@pytest.mark.usefixtures('float64')
class TestTiles:
  @pytest.mark.parametrize(
    ('architecture', 'tile'),
    tiers.fast(
      [('skip_gram', V - 1), ('cbow', 4)],
      [('skip_gram', 1), ('skip_gram', V - 1), ('cbow', 4), ('cbow', V)],
    ),
  )
  def test_value_and_gradient(self, architecture, tile):
    config = config_of(architecture, 'naive_softmax', softmax_tile=tile)
    params, batch = example(tile)
    rows = rows_of(config, params, batch)
    want, grads = jax.jit(jax.value_and_grad(lambda p: total_loss(config, p, batch)))(params)
    assert_close(rows.loss, want)
    assert_close(to_dense(rows.center, V), grads.center)
    assert_close(to_dense(rows.outside, V), grads.outside)

  @pytest.mark.parametrize('tile', tiers.fast([2], [2, V]))
  def test_curvature(self, tile):
    """Sums n y for each word, and c(logit y) for each word of the context."""
    params, batch = example(5)
    rows = rows_of(config_of('skip_gram', 'naive_softmax', softmax_tile=tile), params, batch)
    centers, context, mask, _ = windows(batch)

    @jax.jit
    def wanted(params):
      v, n = params.center[centers], mask.sum(axis=1)
      y = jax.nn.softmax(v @ params.outside.T)
      terms = n[:, None] * y  # [M, V]
      wrong = curvature_of(jnp.log(y) - jnp.log1p(-y))
      for slot in range(mask.shape[1]):
        each = jnp.arange(len(centers)), context[:, slot]
        terms = terms.at[each].add(mask[:, slot] * wrong[each])
      norms = jnp.sum(params.outside**2, axis=1)
      of_centers, of_outside = terms @ norms, terms.T @ jnp.sum(v**2, axis=1)
      m, g = COMMON.center, rows.center.values
      g -= jnp.outer(g @ m, m)
      moves, squares = g @ params.outside.T, jnp.sum(g**2, axis=1)
      across = jnp.sum(jnp.sum(terms * moves**2, axis=1) / jnp.maximum(squares, 1e-300))
      along = jnp.sum(terms @ (params.outside @ m) ** 2)
      sample = jnp.array([[across, along, of_centers.sum()]])
      return of_centers, of_outside, (sample, jnp.sum(terms @ params.outside, axis=0)[None])

    of_centers, of_outside, sample = wanted(params)
    assert_close(tuple(rows.center.sample), sample)
    assert_close(rows.center.curvature, of_centers)
    summed = jnp.zeros(V).at[rows.outside.ids].add(rows.outside.curvature, mode='drop')
    assert_close(summed, of_outside)
    assert_close(rows.outside.sample.curvatures[:, 2].sum(), of_outside.sum())

  def test_larger_than_the_vocabulary(self):
    config = config_of('skip_gram', 'naive_softmax', softmax_tile=V + 1)
    with pytest.raises(ValueError, match=f'softmax_tile must be from 1 to {V}, .*, got {V + 1}'):
      make_objective(config, VOCABULARY)
    with pytest.raises(ValueError, match=r'softmax_tile must be from 1 to 14, .*, got 1000'):
      train(two_topics(), TrainConfig(objective='naive_softmax', softmax_tile=1000, min_count=1))


@pytest.mark.slow
class TestMemory:
  def temporary(self, num_words, times, tile=4096):
    """Returns the bytes of the compiled objective for `times` as many windows."""
    _, batch = example(0)
    batch = jax.tree.map(lambda x: jnp.tile(x, (times,) + (1,) * (x.ndim - 1)), batch)
    table = jax.ShapeDtypeStruct((num_words, 4), jnp.float32)
    config = config_of('skip_gram', 'naive_softmax', softmax_tile=tile)
    run = jax.jit(lambda params: block_objective(config)(params, batch, {}))
    compiled = run.lower(Word2VecParams(table, table)).compile()
    return compiled.memory_analysis().temp_size_in_bytes, batch.left.size

  def test_is_that_of_a_tile_of_scores(self):
    """Grows with the gradient for twice the words, without scores of all windows."""
    (less, num_windows), (more, _) = (self.temporary(n, 40) for n in (40_960, 81_920))
    assert more - less < 40_960 * num_windows * 4 / 20

  def test_more_windows_take_a_tile_of_scores_each(self):
    """Avoids an array of size B times V, for any vocabulary."""
    for num_words in (40_960, 163_840):
      (less, few), (more, many) = (self.temporary(num_words, times) for times in (10, 40))
      assert more - less < 1.1 * (many - few) * 4 * (4 * 4096 + 30 * 4)


@functools.partial(jax.jit, static_argnums=0)
def gradient_by_the_center(objective, center, outside, negatives, expected, all_expected):
  loss = lambda center: objective(
    center, outside, negatives, log_expected_outside=expected, log_expected_negatives=all_expected
  )
  return jax.grad(loss)(center)


@pytest.mark.usefixtures('float64')
class TestConvergence:
  """Gradients of the pure losses, which approach the exact softmax with more noise words."""

  COUNTS = np.array([90, 40, 40, 20, 11, 9, 5, 2, 1])
  WORD = 3

  def gradients(self, objective, kind, count, seed=0):
    """Returns gradients by the center: of the exact softmax, and with `count` noise words."""
    rng = np.random.default_rng(seed)
    center, table = rng.normal(size=5), rng.normal(size=(V, 5))
    if objective is nce_loss:  # NCE assumes a normalized model, so the sum is set to 1
      center = np.append(center, 1)
      table = np.column_stack([table, np.full(V, -np.log(np.exp(table @ center[:-1]).sum()))])
    y = np.exp(table @ center) / np.exp(table @ center).sum()
    noise = noise_distribution(self.COUNTS, kind=kind)
    ids = draw_alias(rng, alias_table(noise), (count,))
    log_expected = np.log(count * noise)

    arguments = center, table[self.WORD], table[ids]
    expected = log_expected[self.WORD], log_expected[ids]
    gradient = gradient_by_the_center(objective, *arguments, *expected)
    return y @ table - table[self.WORD], gradient

  @pytest.mark.parametrize('kind', ['unigram', 'uniform', 'log_uniform'])
  @pytest.mark.parametrize('objective', [nce_loss, sampled_softmax_loss])
  def test_to_the_exact_gradient(self, objective, kind):
    def error(count):
      pairs = [self.gradients(objective, kind, count, seed) for seed in range(4)]
      return np.mean([np.linalg.norm(got - want) / np.linalg.norm(want) for want, got in pairs])

    few, some, many = (error(count) for count in (30, 3000, 300_000))
    assert many < some / 2 < few / 4 and many < 0.02

  @pytest.mark.parametrize('objective', ['nce', 'sampled_softmax'])
  def test_the_block_objective_too(self, objective):
    """Covers all rows of the block objectives, with normalized tables for NCE."""
    params, batch = example(3)
    ids = draw_alias(
      np.random.default_rng(0),
      alias_table(noise_distribution(self.COUNTS)), (N, 200_000),
    )  # fmt: skip
    if objective == 'nce':
      normalizer = jnp.log(jnp.exp(params.center @ params.outside.T).mean(axis=1))  # the sum is V
      params = Word2VecParams(
        jnp.column_stack([params.center, -normalizer]),
        jnp.column_stack([params.outside, jnp.ones(V)]),
      )
    rows_of = lambda config, batch: block_objective(config)(params, batch, constants_of(config))
    exact = rows_of(config_of('skip_gram', 'naive_softmax'), batch)
    config = config_of('skip_gram', objective, negatives=ids.shape[1], shared_negatives=None)
    rows = rows_of(config, batch._replace(negative_ids=jnp.asarray(ids)))
    for table in ('center', 'outside'):
      got, want = (to_dense(getattr(x, table), V) for x in (rows, exact))
      assert np.linalg.norm(got - want) < 0.02 * np.linalg.norm(want)


@pytest.mark.slow
class TestTrains:
  def test_two_topics(self):
    config = TrainConfig(objective='naive_softmax', dim=16, min_count=1,
                         sample=0, epochs=15, batch_size=64)  # fmt: skip
    result = train(two_topics(), config, progress=False)
    assert np.mean([record['loss'] for record in result.history[-20:]]) < 0.85 * np.log(14)
    kv = result.vectors
    assert kv.similarity('sea1', 'sea2') > 0.3 + kv.similarity('sea1', 'land1')
