"""Losses and row-wise optimizers in other programs, as users of similar libraries report them.

A comment names the report, if one exists. All data are made up.
"""

import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jw2v
from jw2v import RowGradients

V, D = 5, 2
TABLES = {'users': jnp.ones((V, D)), 'items': jnp.ones((4, 3))}


def rows(table, ids):
  return RowGradients(jnp.array(ids), jnp.ones((len(ids), table.shape[1]), table.dtype))


GRADIENTS = {'users': rows(TABLES['users'], [0, 1, 1]), 'items': rows(TABLES['items'], [3])}


def step(optimizer, gradients=GRADIENTS, tables=TABLES, state=None):
  state = optimizer.init(tables) if state is None else state
  return optimizer.update(gradients, state, tables)


class TestTransformation:
  """Transformations that users pass to `rowwise`."""

  def test_accumulated_gradients_of_rows_are_not_lost(self):
    """Rejects MultiSteps, which would not move a row that only an earlier step touched."""
    # google-deepmind/optax#828, #377 and #1038: MultiSteps around other transformations
    accumulated = optax.MultiSteps(optax.sgd(0.1), every_k_schedule=2)
    for tx in (accumulated, accumulated.gradient_transformation()):
      with pytest.raises(ValueError, match=r'MultiSteps; concatenate the row gradients'):
        jw2v.rowwise(tx).init(TABLES)
    both = jax.tree.map(
      lambda *x: jnp.concatenate(x), rows(TABLES['users'], [0]), rows(TABLES['users'], [1])
    )
    users, _ = step(jw2v.rowwise(optax.sgd(0.1)), both, TABLES['users'])
    np.testing.assert_allclose(users[:3, 0], [0.9, 0.9, 1])

  @pytest.mark.parametrize(
    'tx',
    [
      optax.adafactor(0.1),
      optax.contrib.muon(0.1),
      optax.lbfgs(),
      optax.novograd(0.1),
      optax.sm3(0.1),
      optax.chain(optax.clip(1.0), optax.adafactor(0.1)),
      optax.inject_hyperparams(optax.adafactor)(learning_rate=0.1),
    ],
    ids=['adafactor', 'muon', 'lbfgs', 'novograd', 'sm3', 'in a chain', 'injected'],
  )
  def test_that_mixes_rows(self, tx):
    with pytest.raises(ValueError, match=r'tx must treat each element by itself, got \w'):
      jw2v.rowwise(tx).init(TABLES['users'])

  def test_with_labels_of_all_tables(self):
    # google-deepmind/optax#1148 and #271: errors of multi_transform and masked that name no remedy
    labels = {'users': 'slow', 'items': 'fast'}
    tx = optax.multi_transform({'slow': optax.sgd(0.1), 'fast': optax.adam(0.1)}, labels)
    with pytest.raises(ValueError, match='one row-wise optimizer per table'):
      jw2v.rowwise(tx).init(TABLES)
    with pytest.raises(ValueError, match='one row-wise optimizer per table'):
      jw2v.rowwise(optax.masked(optax.sgd(0.1), {'users': True, 'items': False})).init(TABLES)

  def test_masked_by_a_function(self):
    new, _ = step(jw2v.rowwise(optax.masked(optax.sgd(0.1), lambda table: True)))
    np.testing.assert_allclose(new['users'][:3, 0], [0.9, 0.8, 1], rtol=1e-6)

  @pytest.mark.parametrize('tx', [optax.adam, jw2v.rowwise(optax.adam(0.1)), 0.1, None])
  def test_of_another_kind(self, tx):
    with pytest.raises(TypeError, match=r'tx must be an optax transformation, such as optax.adam'):
      jw2v.rowwise(tx)

  def test_a_step_that_is_not_finite_is_skipped(self):
    # google-deepmind/optax#1746: what apply_if_finite counts
    optimizer = jw2v.rowwise(optax.apply_if_finite(optax.adam(0.1), max_consecutive_errors=3))
    table = TABLES['users']
    bad = RowGradients(jnp.array([0, 1]), jnp.array([[1.0, 1.0], [jnp.nan, 1.0]]))
    new, state = step(optimizer, bad, table)
    np.testing.assert_array_equal(new, table)
    assert int(state.notfinite_count) == 1
    new, state = step(optimizer, rows(table, [0, 1]), new, state)
    np.testing.assert_allclose(new[:3, 0], [0.9, 0.9, 1], rtol=1e-6)
    assert int(state.notfinite_count) == 0
    padded = RowGradients(jnp.array([0, V]), jnp.array([[1.0, 1.0], [jnp.nan, 1.0]]))
    _, state = step(optimizer, padded, new, state)
    assert int(state.notfinite_count) == 0

  def test_a_schedule_as_the_rate_of_curvature_damped_sgd(self):
    with pytest.raises(TypeError, match=r"replace state\.hyperparams\['learning_rate'\]"):
      jw2v.curvature_damped_sgd(optax.linear_schedule(0.1, 0, 10))


class TestRestored:
  """NumPy arrays, as msgpack, pickle and orbax return them."""

  @pytest.mark.parametrize(
    'optimizer',
    [jw2v.rowwise(optax.adam(0.1)), jw2v.curvature_damped_sgd(0.1)],
    ids=['adam', 'damped'],
  )
  def test_tables_and_state_go_on(self, optimizer):
    # google-deepmind/ferminet#105: the restored state has other types than that of init
    curved = jax.tree.map(
      lambda g: g._replace(curvature=jnp.ones(len(g.ids))),
      GRADIENTS,
      is_leaf=lambda x: isinstance(x, RowGradients),
    )
    tables, state = step(optimizer, curved)
    want, _ = step(optimizer, curved, tables, state)
    restored = pickle.loads(pickle.dumps(jax.tree.map(np.asarray, (tables, state))))
    got, new_state = step(optimizer, jax.tree.map(np.asarray, curved), *restored)
    jax.tree.map(np.testing.assert_array_equal, got, want)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((got, new_state)))


@functools.partial(
  jax.tree_util.register_dataclass, data_fields=['users', 'items'], meta_fields=['name']
)
@dataclasses.dataclass
class Model:
  users: object
  items: object
  name: str = 'towers'


class TestTrees:
  @pytest.mark.parametrize('tree', [dict, lambda **x: Model(**x), lambda **x: tuple(x.values())])
  def test_of_any_kind(self, tree):
    new, _ = step(jw2v.rowwise(optax.sgd(0.1)), tree(**GRADIENTS), tree(**TABLES))
    assert jax.tree.structure(new) == jax.tree.structure(tree(**TABLES))
    np.testing.assert_allclose(jax.tree.leaves(new)[0].sum() + jax.tree.leaves(new)[1].sum(), 21.1)

  def test_flax_frozen_dict(self):
    # google-deepmind/optax#160: masks and FrozenDict
    from flax.core import freeze

    new, _ = step(jw2v.rowwise(optax.adam(0.1)), freeze(GRADIENTS), freeze(TABLES))
    assert type(new).__name__ == 'FrozenDict'

  def test_a_table_that_is_none_is_left_out(self):
    tables, gradients = {**TABLES, 'frozen': None}, {**GRADIENTS, 'frozen': None}
    new, _ = step(jw2v.rowwise(optax.sgd(0.1)), gradients, tables)
    assert new['frozen'] is None
    np.testing.assert_allclose(new['users'][1], 0.8, rtol=1e-6)

  def test_a_gradient_that_is_none_is_named(self):
    with pytest.raises(TypeError, match='must be RowGradients, got NoneType'):
      step(jw2v.rowwise(optax.sgd(0.1)), {**GRADIENTS, 'items': None})


OPTIMIZERS = {
  'sgd': jw2v.rowwise(optax.sgd(0.1)),
  'adam': jw2v.rowwise(optax.adam(0.1)),
  'adam with low moments': jw2v.rowwise(optax.adam(0.1, mu_dtype=jnp.bfloat16)),
  'injected': jw2v.rowwise(optax.inject_hyperparams(optax.adam)(learning_rate=0.1)),
  'damped': jw2v.curvature_damped_sgd(0.1),
}


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('optimizer', OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_is_traced_once_donates_and_scans(optimizer, dtype):
  """Preserves the types of the state, weak types included."""
  # google-deepmind/optax#1051 and #1405: promoted updates; #377: a carry of another dtype
  table = jnp.ones((V, D), dtype)
  gradients = RowGradients(jnp.array([0, 1, 1]), jnp.ones((3, D), dtype), jnp.ones(3, dtype))
  traces = []

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def update(table, state, gradients):
    traces.append(1)
    return optimizer.update(gradients, state, table)

  state = optimizer.init(table)
  for _ in range(3):
    table, state = update(table, state, gradients)
  assert len(traces) == 1
  start = jnp.ones((V, D), dtype)
  (scanned, _), _ = jax.lax.scan(
    lambda carry, x: (optimizer.update(x, carry[1], carry[0]), None),
    (start, optimizer.init(start)),
    jax.tree.map(lambda x: jnp.stack([x] * 3), gradients),
  )
  assert scanned.dtype == table.dtype == dtype
  np.testing.assert_allclose(
    np.asarray(scanned, np.float32), np.asarray(table, np.float32), rtol=1e-2
  )


class TestOptimizerSettings:
  @pytest.mark.parametrize('optimizer', OPTIMIZERS.values(), ids=OPTIMIZERS)
  def test_transfer_guard_and_vmap(self, optimizer):
    table = jax.device_put(np.ones((V, D), np.float32))
    gradients = RowGradients(jnp.array([0, 1, 1]), jnp.ones((3, D)), jnp.ones(3))
    one_step = jax.jit(lambda t, g: optimizer.update(g, optimizer.init(t), t)[0])
    with jax.transfer_guard('disallow'):
      new = jax.block_until_ready(one_step(table, gradients))
    both = jax.vmap(one_step, (0, None))(jnp.stack([table, table]), gradients)
    np.testing.assert_allclose(both, np.stack([new, new]), rtol=1e-6)

  @pytest.mark.parametrize('optimizer', OPTIMIZERS.values(), ids=OPTIMIZERS)
  def test_padding_that_is_not_finite_and_no_rows(self, optimizer):
    table = jnp.ones((V, D))
    bad = jnp.array([jnp.nan, jnp.inf])
    wrong = RowGradients(jnp.array([-1, V + 4]), jnp.stack([bad, bad]), bad)
    none = RowGradients(jnp.zeros(0, int), jnp.zeros((0, D)), jnp.zeros(0))
    for gradients in (wrong, none):
      np.testing.assert_array_equal(step(optimizer, gradients, table)[0], table)


class TestScores:
  """Scores that are not finite, from masked classes or a model that diverges."""

  def both(self, name, *args):
    loss = getattr(jw2v, f'{name}_from_scores')
    twin = getattr(jw2v, f'{name}_from_scores_value_and_grad')
    args = [jnp.asarray(x, jnp.float32) for x in args]
    value, grads = jax.value_and_grad(loss, (0, 1))(*args)
    closed = twin(*args)
    jax.tree.map(np.testing.assert_allclose, [value, *grads], jax.tree.leaves(closed))
    _, tangent = jax.jvp(loss, args, [jnp.zeros_like(x) for x in args])
    return float(value), grads, float(tangent)

  @pytest.mark.parametrize('name', ['negative_sampling', 'sampled_softmax'])
  def test_an_excluded_negative_changes_nothing(self, name):
    # google-deepmind/optax#896 and #1762: -inf logits, also with a zero tangent
    value, grads, tangent = self.both(name, 0.3, [-np.inf, 0.2])
    without, _, _ = self.both(name, 0.3, [0.2])
    assert value == pytest.approx(without) and tangent == 0
    assert float(grads[1][0]) == 0

  @pytest.mark.parametrize('name', ['negative_sampling', 'sampled_softmax'])
  def test_the_label_excluded_costs_infinity_with_a_finite_gradient(self, name):
    value, grads, tangent = self.both(name, -np.inf, [0.1, 0.2])
    assert value == np.inf and tangent == 0
    assert float(grads[0]) == -1 and np.isfinite(grads[1]).all()

  @pytest.mark.parametrize('name', ['negative_sampling', 'sampled_softmax'])
  @pytest.mark.parametrize('score', [1e38, -1e38])
  def test_huge(self, name, score):
    value, grads, _ = self.both(name, score, [0.1, 0.2])
    assert np.isfinite(value) and all(np.isfinite(grad).all() for grad in grads)

  @pytest.mark.parametrize('name', ['negative_sampling', 'sampled_softmax'])
  def test_no_negatives_at_all(self, name):
    assert np.isfinite(self.both(name, 0.3, np.zeros(0))[0])

  def test_cross_entropy_with_an_excluded_class(self):
    # google-deepmind/optax#1762: jacfwd of -inf logits
    logits, labels = jnp.array([-jnp.inf, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])
    for gradient in (
      jax.grad(jw2v.cross_entropy_loss),
      jax.jacfwd(jw2v.cross_entropy_loss),
      jw2v.cross_entropy_gradient,
    ):
      np.testing.assert_allclose(gradient(logits, labels), [0, -0.5, 0.5])


class TestPadding:
  """Batches and windows without any label."""

  def test_all_labels_ignored(self):
    # linkedin/Liger-Kernel#177: division by the number of labels, which is 0
    v, table, ignored = jnp.full((2, D), jnp.nan), jnp.ones((8, D)), jnp.array([-100, -100])
    where = jnp.array([False, False])
    losses, grads = jw2v.tiled_softmax_value_and_grad(v, ignored, table, where=where)
    both = jax.grad(
      lambda *x: jw2v.tiled_softmax_loss(x[0], ignored, x[1], where=where).sum(), (0, 1)
    )(v, table)
    for array in (losses, grads.vectors, grads.table, *both):
      np.testing.assert_array_equal(array, 0)

  def test_weights_of_examples_scale_the_gradient(self):
    # linkedin/Liger-Kernel#968 and #678: a gradient of 0, or without the weight of the example
    v, table, labels = jnp.array([[1.0, 2.0], [0.5, 0.1]]), jnp.eye(3, D), jnp.array([1, -100])
    loss = lambda v: jw2v.tiled_softmax_loss(v, labels, table, where=labels >= 0)
    one, three = (jax.grad(lambda v, w=w: w * loss(v).sum())(v) for w in (1.0, 3.0))
    np.testing.assert_allclose(three, 3 * one, rtol=1e-6)
    assert np.abs(one[0]).min() > 0
    np.testing.assert_array_equal(one[1], 0)

  @pytest.mark.parametrize('tile', [None, 3])
  def test_an_empty_batch(self, tile):
    empty, labels = jnp.ones((0, D)), jnp.zeros(0, int)
    losses, grads = jw2v.tiled_softmax_value_and_grad(empty, labels, jnp.ones((8, D)), tile=tile)
    assert losses.shape == (0,) and grads.vectors.shape == (0, D)
    np.testing.assert_array_equal(grads.table, 0)
    assert jw2v.in_batch_softmax_loss(empty, empty).shape == (0,)

  def test_a_batch_of_one_or_of_one_product_alone(self):
    """Returns a loss of 0, not NaN, without negatives."""
    ones = jnp.ones((2, D))
    for losses, grads in (
      jw2v.in_batch_softmax_value_and_grad(ones[:1], ones[:1]),
      jw2v.in_batch_softmax_value_and_grad(ones, ones, key_ids=[3, 3]),
      jw2v.in_batch_softmax_value_and_grad(ones, ones, where=[False, False]),
    ):
      for array in (losses, *grads):
        np.testing.assert_array_equal(array, 0)
    autodiff = jax.grad(lambda x: jw2v.in_batch_softmax_loss(x, ones[:1]).sum())(ones[:1])
    np.testing.assert_array_equal(autodiff, 0)


class TestArguments:
  @pytest.mark.parametrize('label', [-1, -100, 8, np.int8(-1), np.uint8(255), np.uint32(2**32 - 1)])
  def test_a_label_out_of_range_does_not_wrap(self, label):
    # pytorch/pytorch#17801 and EricFillion/happy-transformer#248: ignored and wrong labels
    assert np.isnan(jw2v.naive_softmax_loss(jnp.ones(D), label, jnp.ones((8, D))))
    losses = jw2v.tiled_softmax_loss(jnp.ones((1, D)), np.array([label]), jnp.ones((8, D)))
    assert np.isnan(losses).all()

  @pytest.mark.parametrize('label', [2**40, [1, 2**40], np.int64(2**40), np.array([1, 2**40])])
  def test_an_id_of_64_bits_is_named(self, label):
    with pytest.raises(ValueError, match=r"'label_ids' must fit in int32, got 1099511627776; ren"):
      jw2v.tiled_softmax_loss(jnp.ones((np.size(label), D)), label, jnp.ones((8, D)))

  def test_floats_of_8_bits_are_named(self):
    low = jnp.ones(D, jnp.float8_e4m3fn)
    with pytest.raises(TypeError, match=r"'center' must have a dtype of at least 16 bits, got flo"):
      jw2v.negative_sampling_loss(low, low, low[None])

  def test_lists_and_half_precision_of_numpy(self):
    # google-deepmind/optax#1261: labels that are not arrays
    value = jw2v.negative_sampling_loss([1.0, 2.0], [1.0, 2.0], [[1.0, 2.0]])
    assert value.dtype == jnp.float32 and not value.weak_type
    half = np.ones(D, np.float16)
    assert jw2v.negative_sampling_loss(half, half, half[None]).dtype == jnp.float16

  def test_a_traced_option_is_named(self):
    args = jnp.ones((2, D)), jnp.array([0, 1]), jnp.ones((8, D))
    for name in ('label_smoothing', 'soft_cap'):
      with pytest.raises(TypeError, match=f'{name} must be a Python number, got a traced array'):
        jax.jit(lambda x, name=name: jw2v.tiled_softmax_loss(*args, **{name: x}))(0.1)
      plain = jax.jit(jw2v.tiled_softmax_loss, static_argnames=name)
      assert plain(*args, **{name: 0.1}).shape == (2,)

  @pytest.mark.parametrize('temperature', [0, -1.0, np.float32(0), np.array(-1.0), np.nan])
  def test_a_temperature_of_numpy(self, temperature):
    with pytest.raises(ValueError, match='temperature must be greater than 0, got'):
      jw2v.in_batch_softmax_loss(jnp.ones((2, D)), jnp.ones((2, D)), temperature=temperature)


def public_functions():
  return [getattr(jw2v, name) for name in jw2v.__all__ if callable(getattr(jw2v, name))]


def test_functions_are_pickled_by_name():
  """Supports processes of `spawn` and `forkserver`, which require it."""
  for function in public_functions():
    assert pickle.loads(pickle.dumps(function)) is function


LOSSES = {
  'negative sampling': lambda v, u: jw2v.negative_sampling_loss(v, u[0], u[1:]),
  'sampled softmax': lambda v, u: jw2v.sampled_softmax_loss(v, u[0], u[1:], 0.0, jnp.zeros(3)),
  'softmax': lambda v, u: jw2v.naive_softmax_loss(v, 1, u),
  'tiled': lambda v, u: jw2v.tiled_softmax_loss(v, 1, u, tile=3),
}


class TestSettings:
  """Debugging settings of JAX; every loss runs under each of them."""

  V, U = jnp.array([0.1, -0.2]), jnp.arange(8.0).reshape(4, 2) / 8

  @pytest.mark.parametrize('loss', LOSSES.values(), ids=LOSSES)
  @pytest.mark.parametrize(
    'setting',
    [pytest.param(jax.disable_jit, marks=pytest.mark.slow), lambda: jax.debug_nans(True)],
    ids=['disable_jit', 'debug_nans'],
  )
  def test_eagerly(self, loss, setting):
    want = jax.value_and_grad(loss, (0, 1))(self.V, self.U)
    with setting():
      got = jax.value_and_grad(loss, (0, 1))(self.V, self.U)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), got, want)

  @pytest.mark.parametrize('loss', LOSSES.values(), ids=LOSSES)
  def test_compiled(self, loss):
    compiled = jax.jit(jax.value_and_grad(loss, (0, 1)))
    with (
      jax.transfer_guard('disallow'),
      jax.checking_leaks(),
      jax.debug_infs(True),
    ):
      jax.block_until_ready(compiled(self.V, self.U))
      compiled(self.V, self.U)
    assert compiled._cache_size() == 1
