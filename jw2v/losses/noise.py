"""Draws of negatives on the device, for losses that need noise words."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses._check import check


def sample_alias(
  key: jax.Array, table: tuple[ArrayLike, ArrayLike], shape: tuple[int, ...]
) -> jax.Array:
  """Draws ids from the distribution of an alias table, in constant time per id.

  The function works under `jax.jit`, `jax.vmap` and `jax.lax.scan`. Pass the table to a compiled
  function as an argument, because XLA compiles a large constant slowly. The relative error of a
  slot's probability is at most V / 2^64, and a slot is split between its two ids in steps of 2^-24.

  Args:
    key: key of `jax.random.key` or `jax.random.PRNGKey`.
    table: `AliasTable(threshold, alias)` of `alias_table`: `[V]` floating and `[V]` integers.
    shape: shape of the result; static under `jax.jit`.

  Returns:
    int32 ids in [0, V). The same key, table and shape give the same ids.

  Raises:
    AssertionError: an array of the table has the wrong rank, shape or dtype.
    ValueError: the table is empty.

  References:
    Walker, `An Efficient Method for Generating Discrete Random Variables with General Distributions
    <https://doi.org/10.1145/355744.355749>`_, 1977; the slot as in Lemire, `Fast Random Integer
    Generation in an Interval <https://doi.org/10.1145/3230636>`_, 2019, without the rejection.

  Example:
    >>> import functools, jax, jw2v
    >>> table = jax.device_put(jw2v.alias_table(jw2v.noise_distribution([8, 4, 1, 0])))
    >>> draw = functools.partial(jax.jit, static_argnums=2)(jw2v.sample_alias)
    >>> ids = draw(jax.random.key(0), table, (1000, 5))
    >>> ids.dtype, ids.shape, sorted(set(ids.ravel().tolist()))
    (dtype('int32'), (1000, 5), [0, 1, 2])
  """
  threshold, alias = table
  threshold, alias = check(threshold=(threshold, 'V'), alias=(alias, 'V', int))
  if not alias.size:
    raise ValueError('table must have at least one slot, got none')
  # x = 2^32 high + low is uniform over 64 bits, and V x / 2^64 is uniform over the table: its
  # integer part is the slot, its fraction the place in the slot. A float32 would have too few bits
  # for both, and `jax.random.randint` is biased by V / 2^32 for V of at least 2^16.
  size = jnp.uint32(alias.size)
  high, low = jax.random.bits(key, (2, *shape), jnp.uint32)
  fraction = high * size + (carried := _high_word(low, size))
  slot = _high_word(high, size) + (fraction < carried).astype(jnp.uint32)
  slot = slot.astype(jnp.int32)
  # 24 bits are exact in float32 and stay below 1, the threshold of a slot without an alias.
  place = (fraction >> 8).astype(jnp.float32) * 2.0**-24
  is_own = place < threshold[slot].astype(jnp.float32)
  return jnp.where(is_own, slot, alias[slot].astype(jnp.int32))


def _high_word(x: jax.Array, y: jax.Array) -> jax.Array:
  """Returns the upper 32 bits of the 64-bit product of uint32 numbers."""
  x_high, x_low, y_high, y_low = x >> 16, x & 0xFFFF, y >> 16, y & 0xFFFF
  # Each sum is at most (2^16 - 1)^2 + 2 (2^16 - 1) = 2^32 - 1.
  middle = x_high * y_low + (x_low * y_low >> 16)
  other = x_low * y_high + (middle & 0xFFFF)
  return x_high * y_high + (middle >> 16) + (other >> 16)
