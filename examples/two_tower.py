"""A two-tower recommender in Equinox: purchases against random items.

  python -m examples.two_tower

The tower of a user is a linear layer on the mean vector of earlier purchases; the tower of an item
is its vector. `jw2v.negative_sampling_loss` accepts any vectors, and its gradients flow into both
towers. The data are synthetic: items of eight kinds, and users who like one kind each. The program
prints the share of held-out purchases among the ten items with the highest scores, before and after
training. It is 5% by chance. Nine of ten purchases are of the kind that the user likes, which has
25 items, so the best possible share is about 36%.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import jw2v

KINDS, ITEMS, USERS, BEFORE, NEGATIVES = 8, 200, 2_000, 5, 20


class Towers(eqx.Module):
  """Weights of both towers."""

  items: jax.Array  # [ITEMS, D]
  layer: eqx.nn.Linear

  def __init__(self, dim: int, *, key: jax.Array):
    """Draws the initial weights."""
    items_key, layer_key = jax.random.split(key)
    self.items = 0.1 * jax.random.normal(items_key, (ITEMS, dim))
    self.layer = eqx.nn.Linear(dim, dim, key=layer_key)

  def user(self, before: jax.Array) -> jax.Array:
    """Returns the vector of a user who has bought the items `before`, `[BEFORE]` ids."""
    return self.layer(self.items[before].mean(axis=0))


def purchases(key: jax.Array) -> jax.Array:
  """Draws `[USERS, BEFORE + 1]` purchases, most of them of one kind per user."""
  kind_key, item_key, other_key, which_key = jax.random.split(key, 4)
  shape = USERS, BEFORE + 1
  kinds = jax.random.randint(kind_key, (USERS, 1), 0, KINDS)
  liked = kinds + KINDS * jax.random.randint(item_key, shape, 0, ITEMS // KINDS)
  others = jax.random.randint(other_key, shape, 0, ITEMS)
  return jnp.where(jax.random.bernoulli(which_key, 0.1, shape), others, liked)


def loss(towers: Towers, bought: jax.Array, key: jax.Array) -> jax.Array:
  """Returns the mean loss over the users of a batch."""
  others = jax.random.randint(key, (len(bought), NEGATIVES), 0, ITEMS)
  users = jax.vmap(towers.user)(bought[:, :-1])
  each = jax.vmap(jw2v.negative_sampling_loss)(
    users, towers.items[bought[:, -1]], towers.items[others]
  )
  return each.mean()


def recall(towers: Towers, bought: jax.Array) -> float:
  """Returns the share of users whose last purchase is among the ten best items."""
  scores = jax.vmap(towers.user)(bought[:, :-1]) @ towers.items.T
  best = jax.lax.top_k(scores, 10)[1]
  return float((best == bought[:, -1:]).any(axis=1).mean())


def main(steps: int = 300) -> tuple[float, float]:
  """Trains on most users; returns the recall of the others before and after."""
  data_key, model_key, key = jax.random.split(jax.random.key(0), 3)
  bought = purchases(data_key)
  training, held_out = bought[200:], bought[:200]
  towers = Towers(32, key=model_key)
  optimizer = optax.adam(0.03)
  state = optimizer.init(eqx.filter(towers, eqx.is_array))

  @eqx.filter_jit
  def step(towers, state, key):
    batch_key, noise_key = jax.random.split(key)
    batch = training[jax.random.randint(batch_key, (256,), 0, len(training))]
    value, gradients = eqx.filter_value_and_grad(loss)(towers, batch, noise_key)
    updates, state = optimizer.update(gradients, state)
    return eqx.apply_updates(towers, updates), state, value

  before = recall(towers, held_out)
  for i in range(steps):
    towers, state, value = step(towers, state, jax.random.fold_in(key, i))
    if i % 100 == 0:
      print(f'step {i}: loss {value:.3f}')
  after = recall(towers, held_out)
  print(f'held-out purchases among the ten best: {before:.0%} before, {after:.0%} after')
  return before, after


if __name__ == '__main__':
  main()
