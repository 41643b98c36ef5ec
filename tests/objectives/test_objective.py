"""Block objectives: each equals its pure loss, summed over the predictions of the windows."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiers
from proof import assert_close, to_dense

from jw2v import (
  TrainConfig,
  hierarchical_softmax_loss,
  naive_softmax_loss,
  nce_loss,
  negative_sampling_loss,
  sampled_softmax_loss,
)
from jw2v.config import ARCHITECTURES, OBJECTIVES
from jw2v.data.vocabulary import Vocabulary
from jw2v.objectives import huffman
from jw2v.objectives.huffman import huffman_tree
from jw2v.objectives.logistic import curvature_of
from jw2v.objectives.objective import block_objective, make_objective
from jw2v.objectives.scores import Measured
from tests.objectives.test_architectures import (
  COMMON,
  NEGATIVES,
  OFFSETS,
  K,
  M,
  V,
  example,
  windows,
)

COUNTS = np.array([90, 40, 40, 20, 11, 9, 5, 2, 1])
VOCABULARY = Vocabulary(
  ('the', 'of', 'seas', 'seaside', 'caf\u00e9', 'a', 'offset', 'caf', 'asides'), COUNTS
)

pytestmark = pytest.mark.usefixtures('float64')


@pytest.fixture(autouse=True)
def few_hot_nodes(monkeypatch):
  """Splits the nodes in the tree of nine words into hot ones and listed ones."""
  monkeypatch.setattr(huffman, 'HOT_NODES', 3)


def config_of(architecture, objective, **settings):
  sampled = {'nce': {'negatives': NEGATIVES, 'shared_negatives': K},
             'negative_sampling': {'negatives': NEGATIVES, 'shared_negatives': K},
             'sampled_softmax': {'negatives': K}}.get(objective, {})  # fmt: skip
  settings = {'window': M, 'dynamic_window': False, **sampled, **settings}
  return TrainConfig(architecture=architecture, objective=objective, **settings)


def constants_of(config):
  return jax.tree.map(jnp.asarray, make_objective(config, VOCABULARY).constants)


@functools.cache
def compiled(config, measured):
  rows = block_objective(config)
  measured = Measured(slice(None) if measured is None else jnp.array(measured), COMMON)
  return jax.jit(lambda params, batch, constants: rows(params, batch, constants, measured))


def rows_of(config, params, batch, measured=None):
  return compiled(config, measured)(params, batch, constants_of(config))


def pair_loss(config, params, vector, word, noise):
  """Returns the pure loss of one prediction."""
  table, constants = params.outside, constants_of(config)
  if config.objective == 'naive_softmax':
    return naive_softmax_loss(vector, word, table)
  if config.objective == 'hierarchical_softmax':
    tree = huffman_tree(COUNTS)
    nodes, codes = jnp.asarray(tree.node_ids)[word], jnp.asarray(tree.codes)[word]
    return hierarchical_softmax_loss(vector, table[nodes], codes, mask=nodes < V - 1)
  vectors = vector, table[word], table[noise]
  weights = jnp.full(K, NEGATIVES / K)
  if config.objective == 'negative_sampling':
    return negative_sampling_loss(*vectors, weights=weights)
  log_expected = constants['log_expected']
  expected = {'log_expected_outside': log_expected[word],
              'log_expected_negatives': log_expected[noise]}  # fmt: skip
  if config.objective == 'nce':
    return nce_loss(*vectors, **expected, weights=weights)
  return sampled_softmax_loss(*vectors, **expected)


def distance_weight(kind, distance):
  return {'equal': 1, 'harmonic': 1 / distance, 'linear': (M + 1 - distance) / M}[kind]


def total_loss(config, params, batch):
  """Sums the pure loss over all predictions, one at a time."""
  centers, context, mask, noise = windows(batch)
  counts = jnp.asarray([distance_weight(config.distance_weights, abs(d)) for d in OFFSETS])
  weights = mask * counts[None]  # [M, C]
  inner = params.center
  of_pair = lambda vector, word, noise: pair_loss(config, params, vector, word, noise)
  if config.architecture == 'cbow':
    total = weights.sum(axis=1)
    mean = jnp.einsum('mc,mcd->md', weights, inner[context]) / jnp.maximum(total, 1e-9)[:, None]
    return jnp.sum(jnp.where(total > 0, jax.vmap(of_pair)(mean, centers, noise), 0))
  if config.objective == 'hierarchical_softmax':  # the words around predict the center
    each = jax.vmap(lambda words, center, noise: jax.vmap(of_pair, (0, None, None))(
      inner[words], center, noise))(context, centers, noise)  # fmt: skip
  else:
    each = jax.vmap(lambda center, words, noise: jax.vmap(of_pair, (None, 0, None))(
      inner[center], words, noise))(centers, context, noise)  # fmt: skip
  return jnp.sum(weights * each)


ALL = [
  *itertools.product(ARCHITECTURES, OBJECTIVES, ['equal']),
  ('skip_gram', 'negative_sampling', 'harmonic'),
  ('skip_gram', 'negative_sampling', 'linear'),
  ('cbow', 'negative_sampling', 'linear'),
  ('skip_gram', 'hierarchical_softmax', 'linear'),
  ('cbow', 'naive_softmax', 'harmonic'),
]
EACH_OBJECTIVE = [('skip_gram', objective, 'equal') for objective in OBJECTIVES]


@pytest.mark.parametrize(('architecture', 'objective', 'weights'), tiers.fast(ALL[:12], ALL))
class TestEqualsThePureLoss:
  def test_value_and_gradient(self, architecture, objective, weights):
    config = config_of(architecture, objective, distance_weights=weights)
    params, batch = example(len(objective))
    rows = rows_of(config, params, batch)
    want, grads = jax.jit(jax.value_and_grad(lambda p: total_loss(config, p, batch)))(params)
    assert_close(rows.loss, want)
    assert_close(to_dense(rows.center, V), grads.center)
    assert_close(to_dense(rows.outside, V), grads.outside)

  def test_finite_at_any_score(self, architecture, objective, weights):
    config = config_of(architecture, objective, distance_weights=weights)
    params, batch = example(1)
    for scale in (60, 1e4):
      rows = rows_of(config, jax.tree.map(functools.partial(jnp.multiply, scale), params), batch)
      for leaf in jax.tree.leaves(rows):
        assert jnp.isfinite(leaf).all()

  def test_padding_names_no_row(self, architecture, objective, weights):
    config = config_of(architecture, objective, distance_weights=weights)
    params, batch = example(0)
    none = jnp.zeros_like(batch.left)
    rows = rows_of(config, params, batch._replace(left=none, right=none))
    assert rows.loss == 0 and rows.predictions == 0
    assert np.all(rows.center.ids == V)
    assert not np.any(rows.center.values) and not np.any(rows.outside.values)
    if objective != 'naive_softmax':  # which touches all words
      assert np.all(rows.outside.ids == V)

  def test_samples_of_the_curvature(self, architecture, objective, weights):
    """Is less than the trace along and across m; a single direction has the whole trace."""
    config = config_of(architecture, objective, distance_weights=weights)
    params, batch = example(4)
    direction = np.array([1.0, -2.0, 0.5, 1.0]) / 2.5
    for table, other in (('center', 'outside'), ('outside', 'center')):
      rows = getattr(rows_of(config, params, batch), table)
      across, common, trace = rows.sample.curvatures.sum(axis=0)
      assert 0.02 * trace < across < 0.95 * trace - common and 0.05 * trace < common
      assert_close(rows.common, rows.values @ getattr(COMMON, table))
      parallel = jnp.outer(getattr(params, other)[:, 0], direction)
      rows = getattr(rows_of(config, params._replace(**{other: parallel}), batch), table)
      across, common, trace = rows.sample.curvatures.sum(axis=0)
      assert trace > 1
      cosine = getattr(COMMON, table) @ direction
      assert_close(common, cosine**2 * trace)
      assert_close(across, (1 - cosine**2) * trace)
      (found,) = rows.sample.direction
      assert_close(found, found @ direction * direction)
      assert abs(found @ direction) > 0.01

  def test_a_step_of_a_table_does_not_raise_the_loss(self, architecture, objective, weights):
    """Takes the longest step of `curvature_damped_sgd`, g / h, in all rows of one table.

    The curvature of a softmax is valid only near the point where it is measured.
    """
    config = config_of(architecture, objective, distance_weights=weights)
    scales = (0.1, 0.3) if objective in ('naive_softmax', 'sampled_softmax') else (0.3, 3)
    for scale, table in itertools.product(scales, ('center', 'outside')):
      params, batch = example(1)
      params = jax.tree.map(functools.partial(jnp.multiply, scale), params)
      rows = rows_of(config, params, batch)
      moved = getattr(rows, table)
      curvature = jnp.zeros(V).at[moved.ids].add(moved.curvature, mode='drop')
      step = to_dense(moved, V) / jnp.maximum(curvature, 1e-300)[:, None]
      after = rows_of(config, params._replace(**{table: getattr(params, table) - step}), batch)
      assert after.loss < rows.loss


@pytest.mark.parametrize(('architecture', 'objective', 'weights'), tiers.fast(EACH_OBJECTIVE, ALL))
def test_measures_some_blocks_and_moves_all(architecture, objective, weights):
  config = config_of(architecture, objective, distance_weights=weights)
  params, batch = example(2)
  whole, part = (rows_of(config, params, batch, measured) for measured in (None, (0, 1, 9)))
  first = rows_of(config, params, jax.tree.map(lambda x: x[:2], batch))
  assert_close(part.loss, first.loss)
  assert_close(part.center.sample, first.center.sample)
  if objective != 'naive_softmax':  # whose rows have the gradients of all blocks
    assert_close(part.outside.sample, first.outside.sample)
  assert_close(part.predictions, first.predictions)
  assert part.predictions < whole.predictions
  assert_close(part.center.values, whole.center.values)
  assert_close(part.outside.values, whole.outside.values)


def test_without_curvature_the_samples_are_zeros():
  config = config_of('skip_gram', 'negative_sampling')
  params, batch = example(2)
  for number, measured in enumerate(
    (Measured(common=COMMON, curvature=False), Measured(slice(0, 0), COMMON))
  ):
    rows = block_objective(config)(params, batch, {}, measured)
    assert all(
      not leaf.any() for leaf in jax.tree.leaves((rows.center.sample, rows.outside.sample))
    )
    assert bool(rows.loss) == (number == 0)


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_curvature_of_the_tree(architecture):
  """Sums c(z) |u|^2 of a vector over the nodes on the paths of the words it predicts."""
  config = config_of(architecture, 'hierarchical_softmax')
  params, batch = example(7)
  rows = rows_of(config, params, batch)
  centers, context, mask, _ = windows(batch)
  tree = huffman_tree(COUNTS)
  nodes_of = jnp.asarray(tree.node_ids)

  def of_pair(vector, word):
    nodes = nodes_of[word]
    u = params.outside[jnp.minimum(nodes, V - 1)]
    return jnp.sum(jnp.where(nodes < V - 1, curvature_of(u @ vector) * jnp.sum(u * u, axis=1), 0))

  @jax.jit
  def wanted(inner):
    weights = mask.astype(inner.dtype)  # [M, C]
    if architecture == 'cbow':
      share = weights / jnp.maximum(weights.sum(axis=1, keepdims=True), 1)
      means = jnp.einsum('mc,mcd->md', share, inner[context])
      each = share * jax.vmap(of_pair)(means, centers)[:, None]
    else:
      each = weights * jax.vmap(lambda words, center: jax.vmap(of_pair, (0, None))(
        inner[words], center))(context, centers)  # fmt: skip
    return jnp.zeros(V).at[context].add(each)

  assert_close(
    jnp.zeros(V).at[rows.center.ids].add(rows.center.curvature, mode='drop'), wanted(params.center)
  )
