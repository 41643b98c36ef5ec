"""Merged copies: the sum of the changes after little work, and the mean after much work."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

from jw2v import RowGradients, curvature_damped_sgd, rowwise
from jw2v.distributed.merge import add_work, merge_copies, shares_along_changes
from jw2v.losses.window import Word2VecParams

DIM = 4
DIRECTION = np.array([0.6, 0.8, 0.0, 0.0], np.float32)
ALONG, ACROSS = 0.6, 0.5  # shares of the curvature


def state_of(along=ALONG):
  """Returns the state of a table with half of a share measured along a direction."""
  state = curvature_damped_sgd(0.1).init(jnp.zeros((3, DIM)))
  sums = jnp.array([0.0, along / 2, 1.0])
  return state._replace(last=sums, curvatures=sums, direction=jnp.array(DIRECTION)[None])


def merge(before, copies, work, state=None, states=None):
  """Returns the merged table and state of n copies on n devices."""
  copies, n = jnp.asarray(copies, jnp.float32), len(copies)
  states = jax.tree.map(lambda x: jnp.stack([x] * n), state) if states is None else states
  mesh = Mesh(np.array(jax.devices()[:n]), ('data',))
  split = PartitionSpec('data')

  def on_each(copy, state, work):
    first = lambda tree: jax.tree.map(lambda x: x[0], tree)
    merged = merge_copies(
      jnp.asarray(before), copy[0], first(state), work[0], jnp.float32(ACROSS), 'data'
    )
    return jax.tree.map(lambda x: x[None], merged)

  mapped = jax.shard_map(
    on_each, mesh=mesh, in_specs=(split,) * 3, out_specs=split, check_vma=False
  )
  tables, states = jax.jit(mapped)(copies, states, jnp.asarray(work, jnp.float32))
  for table in tables:
    np.testing.assert_array_equal(table, tables[0])
  return np.asarray(tables[0]), states


def weight(z):
  return -np.expm1(-np.sum(z)) / np.sum(-np.expm1(-np.asarray(z)))


@pytest.fixture(scope='module')
def moved():
  """Returns three rows, and the changes of four copies of them."""
  rng = np.random.default_rng(0)
  before = rng.normal(size=(3, DIM)).astype(np.float32)
  return before, rng.normal(size=(4, 3, DIM)).astype(np.float32)


class TestWeights:
  @pytest.mark.parametrize('rows', [1, 2, 3, 4])
  def test_formula(self, rows, moved, monkeypatch):
    """Holds for any number of rows that are merged at once."""
    monkeypatch.setattr('jw2v.distributed.merge._BYTES', 4 * DIM * rows)
    before, changes = moved
    work = np.random.default_rng(1).uniform(0, 3, (4, 3))
    found, _ = merge(before, before + changes, work, state_of())
    for row in range(3):
      total = changes[:, row].sum(axis=0)
      along = (total @ DIRECTION) * DIRECTION
      wanted = weight(ALONG * work[:, row]) * along
      wanted += weight(ACROSS * work[:, row]) * (total - along)
      np.testing.assert_allclose(found[row], before[row] + wanted, rtol=1e-5, atol=1e-5)

  @pytest.mark.parametrize(('work', 'share'), [(1e-6, 1), (1e6, 1 / 4)])
  def test_little_work_adds_up_and_much_is_averaged(self, moved, work, share):
    before, changes = moved
    found, _ = merge(before, before + changes, np.full((4, 3), work), state_of())
    np.testing.assert_allclose(found, before + share * changes.sum(axis=0), rtol=1e-4, atol=1e-5)

  @pytest.mark.parametrize('work', [1e-3, 1.0, 1e3])
  def test_what_one_device_did_alone_stays(self, moved, work):
    before, changes = moved
    alone = np.zeros((4, 3), np.float32)
    alone[2] = work
    found, _ = merge(before, before + changes * (alone > 0)[..., None], alone, state_of())
    np.testing.assert_allclose(found, before + changes[2], rtol=1e-5, atol=1e-5)

  def test_untouched_rows_keep_their_bits(self, moved):
    before, changes = moved
    for n, state in itertools.product(
      (2, 3, 7), (state_of(), rowwise(optax.adam(0.1)).init(jnp.asarray(before)))
    ):
      work = np.zeros((n, 3), np.float32)
      work[:, 0] = 1
      copies = np.stack([before] * n)
      copies[:, 0] += np.resize(changes[:, 0], (n, DIM))
      found, _ = merge(before, copies, work, state)
      np.testing.assert_array_equal(found[1:], before[1:])
      assert np.abs(found[0] - before[0]).max() > 0.05

  def test_devices_with_one_minimum_come_as_far_as_one_with_all_the_work(self):
    """Moves each device (1 - exp(-z)) of the way along the common direction."""
    before, minimum = np.zeros((3, DIM), np.float32), DIRECTION * 2
    work = np.random.default_rng(2).uniform(0.1, 2, (4, 3))
    way = -np.expm1(-ALONG * work)[..., None] * minimum
    found, _ = merge(before, way, work, state_of())
    wanted = -np.expm1(-ALONG * work.sum(axis=0))[:, None] * minimum
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)

  def test_samples_are_averaged(self, moved):
    before, changes = moved
    states = jax.tree.map(lambda *x: jnp.stack(x), *(state_of(0.2 * i) for i in range(4)))
    _, merged = merge(before, before + changes, np.ones((4, 3)), states=states)
    np.testing.assert_allclose(merged.last, np.broadcast_to(states.last.mean(axis=0), (4, 3)))
    np.testing.assert_array_equal(merged.total, 0)

  def test_nan_is_not_hidden(self, moved):
    before, changes = moved
    work = np.ones((4, 3), np.float32)
    work[1, 1] = np.nan
    found, _ = merge(before, before + changes, work, state_of())
    assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()


class TestOptax:
  def test_state_and_change_are_means_over_the_devices_that_touched_a_row(self):
    optimizer = rowwise(optax.adam(0.1))
    before = jnp.ones((3, DIM))
    first = jax.tree.map(lambda x: x + 1 if x.ndim else x, optimizer.init(before))  # of a run
    ids = [[0, 0, 3], [0, 1, 3]]  # 3 is padding; no device touches row 2
    rng = np.random.default_rng(3)
    rows = [RowGradients(jnp.array(i), jnp.array(rng.normal(size=(3, DIM)), jnp.float32))
            for i in ids]  # fmt: skip
    done = [optimizer.update(r, first, before) for r in rows]
    work = [add_work(jnp.zeros(3), r, state) for r, (_, state) in zip(rows, done, strict=True)]
    np.testing.assert_array_equal(work, [[2, 0, 0], [1, 1, 0]])
    states = jax.tree.map(lambda *x: jnp.stack(x), *(state for _, state in done))
    copies = jnp.stack([table for table, _ in done])
    found, merged = merge(before, copies, work, states=states)
    np.testing.assert_allclose(found[0], copies[:, 0].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found[1], copies[1, 1], rtol=1e-6)
    np.testing.assert_array_equal(found[2], before[2])
    mu, wanted = merged[0].mu, states[0].mu
    for device in range(2):
      np.testing.assert_allclose(mu[device, 0], wanted[:, 0].mean(axis=0), rtol=1e-6)
      np.testing.assert_allclose(mu[device, 1], wanted[1, 1], rtol=1e-6)
      np.testing.assert_array_equal(mu[device, 2], first[0].mu[2])
    assert (merged[0].nu >= 0).all()
    np.testing.assert_array_equal(merged[0].count, states[0].count)


def test_work_is_the_rate_times_the_curvature():
  rows = RowGradients(jnp.array([1, 1, 3, 0]), jnp.ones((4, DIM)), jnp.array([1.0, 2, 9, 4]))
  work = add_work(jnp.array([1.0, 0, 0]), rows, state_of())
  np.testing.assert_allclose(work, [1 + 0.1 * 4, 0.1 * 3, 0], rtol=1e-6)


class TestShares:
  """Two tables with quadratic losses, where each row has its own curvature in each direction."""

  def shares(self, curvatures, changes, devices=2, directions=None):
    """Returns the shares of two tables whose rows moved by `changes` on each device."""
    curvatures = jnp.asarray(curvatures, jnp.float32)  # [V, D]
    ids = jnp.array([0, 1, 2, 1, 3])  # 3 is padding

    def gradients(params):
      def of_table(table, other):  # the other table shifts the minimum
        row = ids % 3
        values = curvatures[row] * table[row] + 3 * other[row]
        values = jnp.where((ids < 3)[:, None], values, 100.0)
        return RowGradients(ids, values, curvatures[row].sum(axis=1))

      return Word2VecParams(
        of_table(params.center, params.outside), of_table(params.outside, params.center)
      )

    before = Word2VecParams(jnp.ones((3, DIM)), jnp.ones((3, DIM)))
    if directions is None:
      directions = Word2VecParams(jnp.zeros(DIM), jnp.zeros(DIM))
    mesh = Mesh(np.array(jax.devices()[:devices]), ('data',))

    def on_each(change):
      after = Word2VecParams(before.center + change[0], before.outside - 2 * change[0])
      return shares_along_changes(gradients, before, after, directions, 'data')

    mapped = jax.shard_map(
      on_each, mesh=mesh, in_specs=PartitionSpec('data'), out_specs=PartitionSpec(),
      check_vma=False,
    )  # fmt: skip
    return np.asarray(jax.jit(mapped)(jnp.asarray(changes, jnp.float32)))

  def test_formula(self):
    rng = np.random.default_rng(0)
    curvatures, changes = rng.uniform(0.1, 1, (3, DIM)), rng.normal(size=(2, 3, DIM))
    rows = [0, 1, 2, 1]
    kappa = sum(
      (c[r] ** 2 * curvatures[r]).sum() / (c[r] ** 2).sum() for c in changes for r in rows
    )
    wanted = kappa / (2 * sum(curvatures[r].sum() for r in rows))
    np.testing.assert_allclose(self.shares(curvatures, changes), wanted, rtol=1e-3)

  def test_rows_that_did_not_move_do_not_count(self):
    curvatures = np.array([[1, 0, 0, 0], [0, 0, 0, 9], [0, 0, 0, 9]])
    changes = np.zeros((2, 3, DIM))
    changes[:, 0, 0] = 0.1
    np.testing.assert_allclose(self.shares(curvatures, changes), 1, rtol=1e-3)

  def test_across_the_common_direction(self):
    curvatures, changes = np.tile([0.7, 0.2, 0.1, 0.0], (3, 1)), np.ones((2, 3, DIM))
    common = Word2VecParams(jnp.array([1.0, 0, 0, 0]), jnp.array([0, 1.0, 0, 0]))
    found = self.shares(curvatures, changes, directions=common)
    np.testing.assert_allclose(found, [0.3 / 3, 0.8 / 3], rtol=1e-3)

  @pytest.mark.parametrize('changes', [0.0, np.nan])
  def test_without_a_change_it_is_the_least(self, changes):
    found = self.shares(np.ones((3, DIM)), np.full((2, 3, DIM), changes))
    np.testing.assert_allclose(found, 1e-3, rtol=1e-6)
