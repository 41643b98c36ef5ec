"""Row gradients, and row-wise optax compared with dense optax."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec
from proof import assert_close, to_dense

from jw2v.losses.rows import CurvatureSample, RowGradients
from jw2v.optim import combine_repeated, common_direction, curvature_damped_sgd, rowwise

V, D, N = 6, 3, 8

pytestmark = pytest.mark.usefixtures('float64')


def gradients(rng, high=V + 1):
  """Returns row gradients with repeated ids and the padding id V."""
  return RowGradients(jnp.asarray(rng.integers(0, high, N)), jnp.asarray(rng.normal(size=(N, D))))


class TestCombineRepeated:
  @given(st.lists(st.integers(0, V), min_size=N, max_size=N))
  @settings(max_examples=50, deadline=None, derandomize=True)
  def test_one_row_for_each_id_with_the_sum(self, ids):
    values = np.random.default_rng(0).normal(size=(N, D))
    rows = RowGradients(jnp.asarray(ids), jnp.asarray(values))
    combined = jax.jit(combine_repeated, static_argnums=1)(rows, V)
    named = np.asarray(combined.ids)[np.asarray(combined.ids) < V]
    assert sorted(named) == sorted({i for i in ids if i < V})
    dense = np.zeros((V + 1, D))
    np.add.at(dense, ids, values)
    assert_close(to_dense(combined, V), dense[:V])
    assert_close(to_dense(rows, V), dense[:V])

  def test_sums_narrow_values_in_float32(self):
    rows = RowGradients(jnp.full(1000, 2), jnp.full((1000, D), 1 / 256, jnp.bfloat16))
    combined = combine_repeated(rows, V)
    assert combined.values.dtype == jnp.float32
    assert_close(to_dense(combined, V)[2], np.full(D, 1000 / 256))


def run(tx, steps, dense):
  rng = np.random.default_rng(0)
  table = jnp.asarray(rng.normal(size=(V, D)))
  if dense:

    @jax.jit
    def step(rows, state, table):
      updates, state = tx.update(to_dense(rows, V), state, table)
      return optax.apply_updates(table, updates), state

    state = jax.jit(tx.init)(table)
    for rows in steps:
      table, state = step(rows, state, table)
    return np.asarray(table)
  optimizer = rowwise(tx)
  state = jax.jit(optimizer.init)(table)
  update = jax.jit(optimizer.update)
  for rows in steps:
    table, state = update(rows, state, table)
  return np.asarray(table)


ALL_ROWS = RowGradients(np.arange(V), np.random.default_rng(9).normal(size=(V, D)))


class TestRowwise:
  @pytest.mark.parametrize(
    'tx',
    [
      optax.sgd(0.1),
      optax.adagrad(0.1),
      optax.sgd(optax.linear_schedule(0.1, 0.0, 4)),
      optax.inject_hyperparams(optax.adagrad)(learning_rate=0.1),
    ],
    ids=['sgd', 'adagrad', 'sgd with a schedule', 'adagrad with hyperparameters'],
  )
  def test_equals_the_dense_optimizer(self, tx):
    steps = [gradients(np.random.default_rng(seed)) for seed in range(5)]
    assert_close(run(tx, steps, dense=False), run(tx, steps, dense=True))

  @pytest.mark.parametrize(
    'tx',
    [
      optax.adam(0.1),
      pytest.param(optax.rmsprop(0.1), marks=pytest.mark.slow),
      pytest.param(optax.sgd(0.1, momentum=0.9), marks=pytest.mark.slow),
    ],
  )
  def test_lazy_where_the_dense_optimizer_moves_every_row(self, tx):
    """Matches dense optax while all rows are touched, then leaves untouched rows unchanged."""
    everything = RowGradients(jnp.asarray(ALL_ROWS.ids), jnp.asarray(ALL_ROWS.values))
    one_row = RowGradients(jnp.array([2, 2, V]), jnp.ones((3, D)))
    assert_close(run(tx, [everything] * 3, dense=False), run(tx, [everything] * 3, dense=True))
    before = run(tx, [everything], dense=False)
    after = run(tx, [everything, one_row], dense=False)
    dense = run(tx, [everything, one_row], dense=True)
    others = np.arange(V) != 2
    np.testing.assert_array_equal(after[others], before[others])
    assert np.abs(after[2] - before[2]).min() > 1e-3
    if not isinstance(tx.init(before)[0], optax.ScaleByRmsState):  # without a velocity
      assert np.abs(dense - before)[others].max() > 1e-3

  def test_adam_sees_the_sum_of_a_repeated_row(self):
    once = RowGradients(jnp.array([1]), jnp.full((1, D), 3.0))
    thrice = RowGradients(jnp.array([1, 1, 1]), jnp.ones((3, D)))
    tx = optax.adam(0.1)
    assert_close(run(tx, [once, once], False), run(tx, [thrice, thrice], False))

  def test_keeps_the_dtype_of_the_table(self):
    optimizer, table = rowwise(optax.sgd(0.1)), jnp.ones((V, D), jnp.bfloat16)
    rows = gradients(np.random.default_rng(0))
    assert optimizer.update(rows, optimizer.init(table), table)[0].dtype == jnp.bfloat16

  @pytest.mark.parametrize('tx', [optax.adam(0.1), optax.adagrad(0.1), optax.sgd(0.1)])
  def test_padding_touches_nothing(self, tx):
    first = gradients(np.random.default_rng(0), V)
    padding = RowGradients(jnp.full(N, V), jnp.full((N, D), 7.0))
    np.testing.assert_array_equal(run(tx, [first, padding], False), run(tx, [first], False))


class TestCurvatureDampedSgd:
  def _update(self, rows, rate=0.1, table=None):
    optimizer = curvature_damped_sgd(rate)
    table = jnp.zeros((V, D)) if table is None else table
    return jax.jit(optimizer.update)(rows, optimizer.init(table), table)[0]

  def test_formula_with_the_sums_of_repeated_rows(self):
    rng = np.random.default_rng(0)
    rows = gradients(rng)._replace(curvature=jnp.asarray(rng.uniform(0, 50, N)))
    table = jnp.asarray(rng.normal(size=(V, D)))
    g, h = np.zeros((V + 1, D)), np.zeros(V + 1)
    np.add.at(g, rows.ids, rows.values)
    np.add.at(h, rows.ids, rows.curvature)
    damping = np.where(h > 0, -np.expm1(-0.1 * h) / np.where(h > 0, 0.1 * h, 1), 1)
    want = table - (0.1 * damping[:, None] * g)[:V]
    assert_close(self._update(rows, table=table), want)

  @pytest.mark.parametrize('curvature', [0.0, 1e-6, 1e-3])
  def test_leaves_rows_with_little_curvature_to_sgd(self, curvature):
    """Differs from SGD by half of rate x curvature, up to second order."""
    rows = RowGradients(jnp.array([2]), jnp.ones((1, D)), jnp.array([curvature]))
    change, z = -self._update(rows)[2, 0] / 0.1, 0.1 * curvature
    assert abs(change - (1 - z / 2)) <= z**2 / 6 + 1e-12

  def test_is_the_limit_of_many_small_steps_on_a_quadratic(self):
    """Follows the gradient g + h (x - x0) as 10,000 small steps do in the time of one."""
    g, h, rate = np.array([1.0, -2.0, 0.5]), 30.0, 0.1
    x = np.zeros(D)
    for _ in range(10_000):
      x -= rate / 10_000 * (g + h * x)
    rows = RowGradients(jnp.array([1]), jnp.asarray(g)[None], jnp.array([h]))
    np.testing.assert_allclose(self._update(rows, rate)[1], x, rtol=1e-3)

  @pytest.mark.parametrize('rate', [1.0, 1e3, 1e6])
  def test_goes_to_the_minimum_of_the_model_at_most(self, rate):
    rows = RowGradients(jnp.full(500, 4), jnp.ones((500, D)), jnp.full(500, 0.25))
    change = -self._update(rows, rate)[4]
    assert (change <= 500 / 125 + 1e-12).all() and (change > 3.9).all()

  def test_padding_touches_nothing(self):
    table = jnp.asarray(np.random.default_rng(0).normal(size=(V, D)))
    rows = RowGradients(jnp.full(N, V), jnp.full((N, D), 7.0), jnp.ones(N))
    np.testing.assert_array_equal(self._update(rows, table=table), table)

  @pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
  def test_keeps_the_dtype_of_the_table(self, dtype):
    rows = RowGradients(jnp.array([2]), jnp.ones((1, D), dtype), jnp.ones(1, dtype))
    assert self._update(rows, table=jnp.ones((V, D), dtype)).dtype == dtype

  def _many(self, curvatures=None, direction=None, count=500):
    """Returns `count` gradients of ones for one row, each with the curvature 0.25."""
    rows = RowGradients(jnp.full(count, 4), jnp.ones((count, D)), jnp.full(count, 0.25))
    if curvatures is None:
      return rows
    direction = np.ones((len(curvatures), D)) if direction is None else direction
    return rows._replace(sample=CurvatureSample(jnp.asarray(curvatures), jnp.asarray(direction)))

  def _damped(self, rows, rate=0.1, table=None):
    """Returns the table and the state after a step damped by the sample of the same rows."""
    optimizer, update = curvature_damped_sgd(rate), jax.jit(curvature_damped_sgd(rate).update)
    table = jnp.zeros((V, D)) if table is None else table
    state = optimizer.init(table)
    for _ in range(2):  # the first sample has a direction, and the second one is measured along it
      state = update(rows, state, table)[1]
    return update(rows, state, table)

  def test_damps_both_parts_by_the_sample(self):
    """Uses the sample of all pairs together, whose rows may differ from the gradient's rows."""
    direction = np.random.default_rng(0).normal(size=(2, D))
    rows = self._many([[1.0, 5.0, 20.0], [3.0, 13.0, 40.0]], direction)
    m = direction.sum(axis=0) / np.linalg.norm(direction.sum(axis=0))
    share, ratio, h = 18 / 60, 4 / 42, 500 / 4
    phi = lambda z: (1 - np.exp(-z)) / z
    along = m * m.sum() * 500
    across = 500 - along
    z = 0.1 * h * (2 * (1 - share) * ratio + 0.3 * share**2)
    want = -0.1 * (phi(0.1 * h * 2 * share) * along + phi(z) * across)
    assert_close(self._damped(rows)[0][4], want)
    assert_close(self._damped(rows._replace(common=jnp.full(500, m.sum())))[0][4], want)

  @pytest.mark.parametrize('rate', [1e-4, 0.1, 1e6])
  def test_the_trace_damps_until_something_was_measured_along_m(self, rate):
    """Uses the samples in all later steps, including steps without a sample."""
    optimizer, table = curvature_damped_sgd(rate), jnp.zeros((V, D))
    rows, state = self._many([[1.0, 2.0, 9.0]]), optimizer.init(table)
    want = self._update(self._many(), rate)
    for _ in range(2):
      moved, state = optimizer.update(rows, state, table)
      assert_close(moved, want)
    for later in (rows, self._many()):
      moved, state = optimizer.update(later, state, table)
      assert rate < 0.1 or (moved[4] < 1.1 * want[4]).all()

  def test_steps_on_one_quadratic_do_not_raise_it(self):
    """Samples only every fourth step, along the m of earlier samples."""
    rng = np.random.default_rng(0)
    center = rng.normal(size=50)
    u = rng.normal(size=(400, 50)) + 8 * center / np.linalg.norm(center)
    hessian, trace = u.T @ u, (u**2).sum()
    table = rng.normal(size=(1, 50))
    optimizer = curvature_damped_sgd(1e3)
    state = optimizer.init(jnp.asarray(table))
    losses = []
    for step in range(20):
      g, (m,) = hessian @ table[0], np.asarray(common_direction(state))[None]
      across = g - g @ m * m
      curvatures = across @ hessian @ across / (across @ across), m @ hessian @ m, trace
      sample = CurvatureSample(np.array([curvatures]), u.sum(axis=0)[None])
      rows = RowGradients(
        jnp.array([0]), jnp.asarray(g)[None], jnp.array([trace]), None if step % 4 else sample
      )
      table, state = optimizer.update(rows, state, jnp.asarray(table))
      table = np.asarray(table)
      losses.append(table[0] @ hessian @ table[0])
    assert (np.diff(losses) <= 0).all() and losses[-1] < 0.5 * losses[0]

  @pytest.mark.parametrize('rate', [1e-4, 0.1, 1e6])
  def test_one_direction_gives_the_trace(self, rate):
    """Matches the trace across the direction too, where rounding leaves a part of the gradient."""
    rows = self._many([[1e-9, 7.0, 7.0]], np.ones((1, D)))
    assert_close(self._damped(rows, rate)[0], self._update(self._many(), rate))

  @pytest.mark.parametrize(
    ('sample', 'least'),
    [
      ([0.0, 0.0, 9.0], 0.01), ([0.0, 9.0, 9.0], 0.3), ([0.0, 4.5, 9.0], 0.075),
      ([9.0, 0.0, 1e-40], 0.01), ([1e-40, 1e-40, 1e-40], 0.01),
    ],
  )  # fmt: skip
  def test_whatever_was_measured_the_step_is_bounded(self, sample, least):
    for direction in (np.ones(D), np.eye(D)[0]):
      moved, state = self._damped(self._many([sample], direction[None]), 1e6)
      assert (np.abs(moved[4]) <= 4 / least + 1e-9).all() and jnp.isfinite(moved).all()
      assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state))

  @given(
    st.integers(1, 12),
    st.sampled_from(['any', 'parallel', 'orthogonal', 'common']),
    st.floats(-4, 6),
    st.integers(0, 2**32 - 1),
  )
  @settings(max_examples=60, deadline=None, derandomize=True)
  def test_no_step_raises_a_quadratic_model(self, count, kind, log_rate, seed):
    """Holds at any rate, for a row with the terms (u^T x - t)^2 h / 2."""
    rng = np.random.default_rng(seed)
    u, t, h = rng.normal(size=(count, D)), rng.normal(size=count), rng.uniform(0, 9, count)
    if kind == 'parallel':
      u = u[:1] * rng.normal(size=(count, 1))
    elif kind == 'orthogonal':
      u = np.eye(D)[np.arange(count) % D] * rng.normal(size=(count, 1))
    elif kind == 'common':
      u += 9
    x = rng.normal(size=D)
    model = lambda x: h @ (u @ x - t) ** 2 / 2
    g, hessian = (h * (u @ x - t)) @ u, u.T * h @ u
    direction = h @ u
    m = direction / max(np.linalg.norm(direction), 1e-300)
    across = g - g @ m * m
    curvatures = across @ hessian @ across / max(across @ across, 1e-300), m @ hessian @ m
    sample = CurvatureSample(np.array([[*curvatures, np.trace(hessian)]]), direction[None])
    rows = RowGradients(jnp.array([2]), jnp.asarray(g)[None], jnp.trace(hessian)[None], sample)
    after = self._damped(rows, 10.0**log_rate, jnp.zeros((V, D)).at[2].set(x))[0][2]
    assert model(np.asarray(after)) <= model(x) * (1 + 1e-9) + 1e-12

  def test_shares_fall_slowly_and_rise_in_the_next_step(self):
    optimizer, table = curvature_damped_sgd(1e6), jnp.zeros((V, D))
    state, update = optimizer.init(table), jax.jit(optimizer.update)
    shares = []
    for curvature in (5.0, 4.0, 1.0, 1.0, 4.5, *[1.0] * 100):
      rows = self._many([[curvature, 0.0, 10.0]], np.array([[1.0, -1.0, 0.0]]))
      moved, state = update(rows, state, jnp.zeros((V, D)))
      shares.append(4 / -float(moved[4, 0]) / 2)
    assert_close(shares[:3], [0.5, 0.5, 0.4])  # half of the trace is all of it, twice
    assert 0.1 < shares[4] < shares[3] < 0.4
    assert_close(shares[5], 0.45)
    np.testing.assert_allclose(shares[-1], 0.1, rtol=1e-3)

  def test_the_larger_shares_count(self):
    """Keeps the shares of each sample apart: a large s and a large r of two samples do not mix."""
    optimizer, table = curvature_damped_sgd(1e6), jnp.zeros((V, D))
    state, m = optimizer.init(table), np.array([[1.0, -1.0, 0.0]])
    for curvatures in (*[[35.0, 30.0, 100.0]] * 50, [0.5, 90.0, 100.0]):
      state = optimizer.update(self._many([curvatures], m), state, table)[1]
    moved = optimizer.update(self._many(), state, table)[0]
    assert 0.65 < 4 / -float(moved[4, 2]) < 0.75

  @pytest.mark.parametrize('bad', [np.nan, np.inf])
  @pytest.mark.parametrize('place', range(4))
  def test_a_sample_that_is_not_finite_is_none(self, bad, place):
    optimizer, table = curvature_damped_sgd(0.1), jnp.zeros((V, D))
    values = np.array([1.0, 2.0, 9.0, 1.0])
    values[place] = bad
    rows = self._many([values[:3]], np.full((1, D), values[3]))
    state = optimizer.init(table)
    chex.assert_trees_all_equal(optimizer.update(rows, state, table)[1], state)

  def test_a_sample_of_nothing_changes_nothing(self):
    optimizer, table = curvature_damped_sgd(0.1), jnp.zeros((V, D))
    state = optimizer.update(self._many([[1.0, 2.0, 9.0]]), optimizer.init(table), table)[1]
    for rows in (self._many([[0.0, 0.0, 0.0]]), self._many()):
      chex.assert_trees_all_equal(optimizer.update(rows, state, table)[1], state)

  def test_columns_on_several_devices(self):
    """Produces the same state and steps as one device."""
    rng, mesh = np.random.default_rng(0), Mesh(np.array(jax.devices()[:2]), ('width',))
    width, table = 2 * D, jnp.asarray(rng.normal(size=(V, 2 * D)))
    rows = gradients(rng)._replace(curvature=jnp.full(N, 20.0))
    rows = rows._replace(
      values=jnp.asarray(rng.normal(size=(N, width))),
      sample=CurvatureSample(
        jnp.array([[1.0, 3.0, 9.0]]), jnp.asarray(rng.normal(size=(1, width)))
      ),
    )
    columns, whole = PartitionSpec(None, 'width'), PartitionSpec()
    split = lambda tree: jax.tree.map(lambda x: columns if x.shape[1:] == (width,) else whole, tree)

    def steps(optimizer, rows, table, state):
      for _ in range(3):
        table, state = optimizer.update(rows, state, table)
      return table, state

    state = curvature_damped_sgd(0.1).init(table)
    one = steps(curvature_damped_sgd(0.1), rows, table, state)
    several = jax.shard_map(
      functools.partial(steps, curvature_damped_sgd(0.1, axis_name='width')),
      mesh=mesh, in_specs=split((rows, table, state)), out_specs=split((table, state)),
      check_vma=False,
    )  # fmt: skip
    assert_close(several(rows, table, state), one)

  @pytest.mark.parametrize('shape', [(3,), (1, 2), (1, 4), (1, 3, 1), (2, 3)])
  def test_other_samples_are_refused(self, shape):
    rows = self._many()._replace(sample=CurvatureSample(jnp.ones(shape), jnp.ones((1, D))))
    with pytest.raises(AssertionError, match=r"'gradients.sample.*' must be floating"):
      self._update(rows)

  def test_each_step_starts_from_no_curvature(self):
    optimizer, table = curvature_damped_sgd(0.1), jnp.zeros((V, D))
    rows = gradients(np.random.default_rng(0))._replace(curvature=jnp.full(N, 20.0))
    once, state = optimizer.update(rows, optimizer.init(table), table)
    assert not state.total.any()
    assert_close(optimizer.update(rows, state, once)[0], 2 * once)

  def test_needs_the_curvature(self):
    with pytest.raises(
      ValueError, match=r'curvature must be \[N\] numbers for curvature_damped_sgd'
    ):
      self._update(gradients(np.random.default_rng(0)))


INTEGERS = ['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64']
OPTIMIZERS = {
  'rowwise': rowwise(optax.adam(0.1)),
  'curvature_damped_sgd': curvature_damped_sgd(0.1),
}


def updated(optimizer, rows, table):
  return jax.jit(optimizer.update)(rows, optimizer.init(table), table)[0]


@pytest.mark.parametrize('optimizer', OPTIMIZERS.values(), ids=OPTIMIZERS)
class TestIds:
  @pytest.mark.parametrize('dtype', INTEGERS)
  def test_only_the_rows_of_ids_in_range_change(self, optimizer, dtype):
    """Uses a V one above the largest id for 8-bit ids."""
    info = np.iinfo(dtype)
    num_rows = info.max + 1 if info.bits == 8 else 200
    ids = np.array([1, info.max, info.min, 1, num_rows - 1], dtype)
    touched = {i for i in ids.tolist() if 0 <= i < num_rows}
    rows = RowGradients(jnp.asarray(ids), jnp.ones((5, D)), jnp.ones(5))
    table = updated(optimizer, rows, jnp.zeros((num_rows, D)))
    assert set(np.flatnonzero(table.any(axis=1))) == touched

  @pytest.mark.parametrize('padding', [-1, -V, V, V + 1, 2**31 - 1, -(2**31)])
  def test_all_others_are_padding(self, optimizer, padding):
    ids = jnp.array([2, padding, padding, 2], jnp.int32)
    with_padding = RowGradients(ids, jnp.ones((4, D)).at[1].set(jnp.nan), jnp.ones(4))
    without = RowGradients(ids[::3], jnp.ones((2, D)), jnp.ones(2))
    table = jnp.ones((V, D))
    found, wanted = (updated(optimizer, rows, table) for rows in (with_padding, without))
    np.testing.assert_array_equal(found, wanted)

  @pytest.mark.parametrize('dtype', [bool, float])
  def test_must_be_integers(self, optimizer, dtype):
    rows = RowGradients(jnp.zeros(2, dtype), jnp.ones((2, D)), jnp.ones(2))
    with pytest.raises(AssertionError, match=r"'gradients.ids' must be integer \[N\]"):
      updated(optimizer, rows, jnp.ones((V, D)))


@pytest.mark.parametrize('optimizer', OPTIMIZERS.values(), ids=OPTIMIZERS)
class TestValues:
  @pytest.mark.parametrize('shape', [(2, D + 1), (2, 1), (1, D), (3, D), (D,), (2, 1, D)])
  def test_of_other_shapes_are_refused(self, optimizer, shape):
    rows = RowGradients(jnp.array([0, 1]), jnp.ones(shape), jnp.ones(2))
    with pytest.raises(AssertionError, match=r"'gradients.values' must be floating \[N, D\]"):
      updated(optimizer, rows, jnp.ones((V, D)))

  def test_of_another_count_of_curvatures_are_refused(self, optimizer):
    rows = RowGradients(jnp.array([0, 1]), jnp.ones((2, D)), jnp.ones(1))
    with pytest.raises(AssertionError, match=r"'gradients.curvature' must be floating \[N\]"):
      updated(optimizer, rows, jnp.ones((V, D)))

  def test_a_dense_gradient_is_refused(self, optimizer):
    with pytest.raises(TypeError, match='must be RowGradients, got'):
      updated(optimizer, jnp.ones((V, D)), jnp.ones((V, D)))

  @pytest.mark.parametrize('dtype', ['bfloat16', 'float16', 'float32'])
  @pytest.mark.parametrize('values_dtype', ['bfloat16', 'float32'])
  def test_repeats_are_summed_in_float32(self, optimizer, dtype, values_dtype):
    """Moves 1,000 rows as far as one row with their sum, for the rate and for the curvature."""
    n = 1000
    table = jnp.full((V, D), 1 / 8, dtype)
    many = RowGradients(
      jnp.full(n, 2),
      jnp.full((n, D), 1 / 256, values_dtype),
      jnp.full(n, 1 / 256, values_dtype),
    )
    one = RowGradients(jnp.array([2]), jnp.full((1, D), n / 256), jnp.full(1, n / 256))
    optimizer = rowwise(optax.sgd(0.125)) if optimizer is OPTIMIZERS['rowwise'] else optimizer
    with jax.numpy_dtype_promotion('strict'):  # which optax.adam itself does not allow
      found, wanted = (updated(optimizer, rows, table) for rows in (many, one))
    assert found.dtype == dtype
    assert np.abs(found[2] - table[2]).min() > 0.3
    tolerance = 1e-5 if dtype == 'float32' else 0.0
    np.testing.assert_allclose(found.astype(float), wanted.astype(float), rtol=tolerance)


class TestTables:
  """Trees of three tables: two of one shape and one of another."""

  TABLES = (jnp.zeros((V, D)), {'same': jnp.ones((V, D)), 'other': jnp.ones((2, 5))})

  def steps(self):
    for seed in range(3):
      rng = np.random.default_rng(seed)
      of = lambda n, v, d: RowGradients(
        jnp.asarray(rng.integers(0, v + 1, n)),  # noqa: B023
        jnp.asarray(rng.normal(size=(n, d))),  # noqa: B023
        jnp.asarray(rng.uniform(size=n)),  # noqa: B023
      )
      yield (of(N, V, D), {'same': of(3, V, D), 'other': of(4, 2, 5)})

  @pytest.mark.parametrize('optimizer', OPTIMIZERS.values(), ids=OPTIMIZERS)
  def test_are_updated_as_each_by_itself(self, optimizer):
    tables, update = self.TABLES, jax.jit(optimizer.update)
    state = jax.jit(optimizer.init)(tables)
    alone = jax.tree.leaves(tables)
    states = [optimizer.init(table) for table in alone]
    structure = jax.tree.structure(tables)
    for rows in self.steps():
      tables, state = update(rows, state, tables)
      for i, own in enumerate(structure.flatten_up_to(rows)):
        alone[i], states[i] = update(own, states[i], alone[i])
    assert jax.tree.structure(tables) == structure
    assert_close(tables, alone, 0, 0)
    assert_close(state, states, 0, 0)

  def test_a_rate_for_each_element_goes_with_its_rows(self):
    """Selects the rates of the touched rows from the state; V = N would hide a mistake."""
    rates = jnp.arange(V * D, dtype=float).reshape(V, D)
    tx = optax.inject_hyperparams(optax.sgd)(learning_rate=rates)
    for n in (2, V):
      rows = RowGradients(jnp.array([4, 1, V, V, V, V])[:n], jnp.ones((n, D)))
      table = updated(rowwise(tx), rows, jnp.zeros((V, D)))
      assert_close(table, jnp.zeros((V, D)).at[jnp.array([1, 4])].add(-rates[jnp.array([1, 4])]))

  def test_of_another_tree_than_the_gradients_are_refused(self):
    (first, rest), *_ = self.steps()
    with pytest.raises(ValueError, match='other'):
      updated(OPTIMIZERS['rowwise'], (first, {'same': rest['same']}), self.TABLES)
