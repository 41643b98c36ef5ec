"""A recommender over a million items, whose step updates only the rows that it touches.

  python -m examples.rows

The loss is a function of vectors. `jw2v.gather_rows` looks them up, `jax.grad` returns the
gradients of the vectors, `jw2v.row_gradients` turns these into rows of the tables, and
`jw2v.rowwise(optax.adam(...))` updates the rows. The same loss is then trained with a dense
gradient and optax itself. The program prints the milliseconds per step of both. It also prints how
far apart they are on the rows that every step touches: there, row-wise Adam is Adam. The two differ
on the other rows, which dense Adam moves in every step after the first that touches them.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jw2v

USERS, DIM, BATCH, NEGATIVES = 10_000, 32, 256, 5
EVERY_STEP = 20  # first users and items, which are in the same pairs of every batch


def loss(vectors: dict[str, Any]) -> jax.Array:
  """Returns the summed loss of a batch: users against bought items and other items."""
  bought, others = vectors['items']
  return jnp.sum(jax.vmap(jw2v.negative_sampling_loss)(vectors['users'], bought, others))


def draw(key: jax.Array, count: int, users: tuple, items: tuple) -> tuple[jax.Array, ...]:
  """Draws `[count]` users, `[count]` bought and `[count, K]` other items from ranges of ids."""
  keys = jax.random.split(key, 3)
  return (
    jax.random.randint(keys[0], (count,), *users),
    jax.random.randint(keys[1], (count,), *items),
    jax.random.randint(keys[2], (count, NEGATIVES), *items),
  )


def batch(key: jax.Array, items: int) -> dict[str, Any]:
  """Draws the ids of a batch, for lookups in each table."""
  same = draw(jax.random.key(1), 2 * EVERY_STEP, (0, EVERY_STEP), (0, EVERY_STEP))
  new = draw(key, BATCH - 2 * EVERY_STEP, (EVERY_STEP, USERS), (EVERY_STEP, items))
  user, bought, others = map(jnp.concatenate, zip(same, new, strict=True))
  return {'users': user, 'items': (bought, others)}


def init_tables(items: int) -> dict[str, jax.Array]:
  """Draws the initial vectors of users and items."""
  keys = jax.random.split(jax.random.key(0))
  shapes = {'users': (USERS, DIM), 'items': (items, DIM)}
  draw = lambda key, name: 0.1 * jax.random.normal(key, shapes[name])
  return {name: draw(key, name) for key, name in zip(keys, shapes, strict=True)}


def of_every_step(tables: dict[str, jax.Array]) -> jax.Array:
  """Returns the rows that every batch touches."""
  return jnp.concatenate([table[:EVERY_STEP] for table in tables.values()])


def train(init: Callable, update: Callable, items: int, steps: int) -> tuple[jax.Array, float]:
  """Trains with `update(ids, state, tables)`.

  Returns:
    The rows that every step touches, and the milliseconds of the fastest step.
  """
  tables = init_tables(items)
  state = jax.jit(init)(tables)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(tables, state, key):
    return update(batch(key, items), state, tables)

  times = []
  for i in range(steps):
    start = time.perf_counter()
    tables, state = jax.block_until_ready(step(tables, state, jax.random.key(i)))
    times.append(1000 * (time.perf_counter() - start))
  return of_every_step(tables), min(times)


def main(items: int = 1_000_000, steps: int = 20) -> dict[str, float]:
  """Trains in both ways, and returns the printed values."""
  tx = optax.adam(0.01)
  rowwise = jw2v.rowwise(tx)

  def rowwise_update(ids, state, tables):
    d_vectors = jax.grad(loss)(jw2v.gather_rows(tables, ids))
    return rowwise.update(jw2v.row_gradients(tables, ids, d_vectors), state, tables)

  def dense_update(ids, state, tables):
    gradients = jax.grad(lambda tables: loss(jw2v.gather_rows(tables, ids)))(tables)
    updates, state = tx.update(gradients, state)
    return optax.apply_updates(tables, updates), state

  by_rows, rowwise_time = train(rowwise.init, rowwise_update, items, steps)
  dense, dense_time = train(tx.init, dense_update, items, steps)
  apart = lambda a, b: float(jnp.max(jnp.abs(a - b)))
  found = {
    'row-wise ms': rowwise_time,
    'dense ms': dense_time,
    'moved': apart(dense, of_every_step(init_tables(items))),
    'difference': apart(dense, by_rows),
  }
  print(f'{items:,} items: {rowwise_time:.1f} ms per step by rows, {dense_time:.1f} ms dense')
  print(f'rows of every step: moved by {found["moved"]:.2f}, {found["difference"]:.0e} apart')
  return found


if __name__ == '__main__':
  main()
