"""Draws on the device: correct shares for tables of any size, in every transformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiers
from scipy import stats

from jw2v.data.sampling import AliasTable, alias_table, noise_distribution
from jw2v.losses import noise
from jw2v.losses.noise import sample_alias

LARGE = 10_000_000


@pytest.fixture(autouse=True)
def strict():
  with jax.numpy_dtype_promotion('strict'):
    yield


@functools.cache
def compiled():
  return jax.jit(sample_alias, static_argnums=2)


def draws(table, count, seed=0):
  return np.asarray(compiled()(jax.random.key(seed), table, (count,)))


def assert_fits(counts, probabilities):
  assert stats.chisquare(counts, probabilities * counts.sum()).pvalue > 1e-3


@functools.cache
def from_large_table(threshold):
  """Returns draws in which each slot keeps a share of `threshold` and the rest goes to id 0."""
  table = AliasTable(np.full(LARGE, threshold, np.float32), np.zeros(LARGE, np.int32))
  return draws(table, 400_000)


class TestDistribution:
  TABLE = alias_table(noise_distribution(np.arange(1, 51) ** 2))

  @pytest.mark.parametrize('seed', range(3))
  def test_goodness_of_fit(self, seed):
    ids = draws(self.TABLE, 200_000, seed)
    assert_fits(np.bincount(ids, minlength=50), noise_distribution(np.arange(1, 51) ** 2))

  def test_a_word_of_probability_0_is_never_drawn(self):
    ids = draws(alias_table([0.0, 1.0, 0.0, 2.0]), 10_000)
    assert set(ids.tolist()) == {1, 3}

  def test_one_word(self):
    assert (draws(alias_table([3]), 100) == 0).all()


class TestLargeTable:
  """Tables with more slots than float32 draws (2^23), which leave no bit for a slot's share."""

  @pytest.fixture
  def slots(self):
    """Returns draws of the uniform distribution."""
    return from_large_table(1.0)

  @pytest.mark.parametrize('modulus', [2, 16, 256])
  def test_low_bits_are_uniform(self, slots, modulus):
    assert_fits(np.bincount(slots % modulus, minlength=modulus), np.full(modulus, 1 / modulus))

  def test_regions_are_uniform(self, slots):
    assert slots.min() >= 0 and slots.max() < LARGE
    assert_fits(np.bincount(slots // (LARGE // 64), minlength=64)[:64], np.full(64, 1 / 64))

  def test_every_id_can_be_drawn(self, slots):
    """Counts repeated ids, which would be 19% more frequent if only 2^23 ids were reachable."""
    repeated = len(slots) - len(np.unique(slots))
    expected = len(slots) ** 2 / (2 * LARGE)
    assert abs(repeated - expected) < 5 * np.sqrt(expected)

  def test_the_share_of_a_slot_does_not_depend_on_the_slot(self):
    kept = from_large_table(0.3)
    kept = kept[kept > 0]
    assert stats.binomtest(len(kept), 400_000, 0.3).pvalue > 1e-3
    assert_fits(np.bincount(kept // (LARGE // 8), minlength=8)[:8], np.full(8, 1 / 8))
    assert_fits(np.bincount(kept % 8, minlength=8), np.full(8, 1 / 8))


class TestSlot:
  @pytest.mark.parametrize('size', tiers.fast([3, 999_999], [1, 3, 50, 65_537, 999_999]))
  def test_is_the_integer_part_of_a_64_bit_fraction_of_the_size(self, size):
    """Matches exactly, so that all slots are equally probable. About ten of the largest carry."""
    key = jax.random.key(2)
    high, low = np.asarray(jax.random.bits(key, (2, 50_000), jnp.uint32)).astype(object)
    place = (high * 2**32 + low) * size
    table = AliasTable(np.full(size, 0.5, np.float32), np.full(size, -1, np.int32))
    is_own = (place >> 32) % 2**32 < 2**31
    want = np.where(is_own, place >> 64, -1).astype(np.int32)
    np.testing.assert_array_equal(compiled()(key, table, (50_000,)), want)

  def test_upper_word_of_a_product(self):
    words = [0, 1, 2, 0xFFFF, 0x10000, 0x1FFFF, 0x80000000, 0xFFFF0000, 0xFFFFFFFF]
    words += np.random.default_rng(0).integers(2**32, size=20).tolist()
    x, y = np.meshgrid(np.array(words, np.uint32), np.array(words, np.uint32))
    want = (x.astype(object) * y.astype(object) >> 32).astype(np.uint32)
    np.testing.assert_array_equal(jax.jit(noise._high_word)(x, y), want)


class TestTransformations:
  TABLE = alias_table([1.0, 2.0, 3.0, 4.0])
  SHAPE = (3, 2)

  @pytest.mark.parametrize(
    'shape', [(), (3, 2), (0, 5), pytest.param((7,), marks=pytest.mark.slow)]
  )
  def test_shape_and_dtype(self, shape):
    ids = compiled()(jax.random.key(0), self.TABLE, shape)
    assert ids.shape == shape and ids.dtype == jnp.int32

  @pytest.mark.parametrize('make_key', [jax.random.key, jax.random.PRNGKey])
  def test_keys_of_both_kinds_give_the_same_ids(self, make_key):
    want = [[1, 2], [1, 1], [3, 2]]
    # The same ids in every version.
    assert compiled()(make_key(1), self.TABLE, self.SHAPE).tolist() == want

  @pytest.mark.slow
  def test_operation_by_operation_as_compiled(self):
    ids = sample_alias(jax.random.key(1), self.TABLE, self.SHAPE)
    assert ids.tolist() == [[1, 2], [1, 1], [3, 2]]

  def test_another_key_gives_other_ids(self):
    a, b = (draws(self.TABLE, 50, i) for i in range(2))
    assert (a != b).any()

  def test_vmap_and_scan_draw_as_one_call_for_each_key(self):
    keys = jax.random.split(jax.random.key(5), 4)
    want = np.stack([compiled()(key, self.TABLE, self.SHAPE) for key in keys])
    draw = lambda key: sample_alias(key, self.TABLE, self.SHAPE)
    np.testing.assert_array_equal(jax.jit(jax.vmap(draw))(keys), want)
    scan = lambda table, keys: jax.lax.scan(
      lambda carry, key: (carry, sample_alias(key, table, self.SHAPE)), None, keys
    )[1]
    np.testing.assert_array_equal(jax.jit(scan)(self.TABLE, keys), want)

  def test_of_several_tables(self):
    tables = jax.tree.map(lambda *x: jnp.stack(x), *[alias_table(np.eye(5)[i]) for i in range(5)])
    keys = jax.random.split(jax.random.key(0), 5)
    ids = jax.jit(jax.vmap(lambda key, table: sample_alias(key, table, (3,))))(keys, tables)
    assert ids.tolist() == [[i] * 3 for i in range(5)]


class TestTablesThatAreRefused:
  @pytest.mark.parametrize(
    ('table', 'error', 'reason'),
    [
      ((np.ones(3), np.zeros(4, int)), AssertionError, "'alias'"),
      ((np.ones((2, 2)), np.zeros(4, int)), AssertionError, "'threshold'"),
      ((np.ones(3), np.zeros(3)), AssertionError, "'alias'"),
      ((np.ones(0), np.zeros(0, int)), ValueError, 'at least one slot'),
    ],
  )
  def test_error_names_the_array(self, table, error, reason):
    with pytest.raises(error, match=reason):
      sample_alias(jax.random.key(0), table, (2,))
