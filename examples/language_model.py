"""A small language model with an exact softmax, without materializing all scores.

  python -m examples.language_model

A gated recurrent unit reads words and predicts the next one out of 20,000. The usual cross entropy
materializes a [batch x length, vocabulary] matrix of scores. `jw2v.tiled_softmax_loss` computes the
same value and gradient in tiles, also in the backward pass. The program prints both values, the
memory of the gradients as reported by XLA, and the loss while training on a text of consecutive
numbers.
"""

import jax
import jax.numpy as jnp
import optax

import jw2v

WORDS, DIM, BATCH, LENGTH = 20_000, 32, 16, 24


def init(key: jax.Array) -> dict[str, jax.Array]:
  """Draws the initial weights."""
  keys = jax.random.split(key, 3)
  return {
    'words': 0.1 * jax.random.normal(keys[0], (WORDS, DIM)),  # shared by input and output
    'input': jax.random.normal(keys[1], (DIM, 3 * DIM)) / DIM**0.5,
    'state': jax.random.normal(keys[2], (DIM, 3 * DIM)) / DIM**0.5,
  }


def states(params: dict[str, jax.Array], ids: jax.Array) -> jax.Array:
  """Returns the states `[T, D]` of a gated recurrent unit after each of `[T]` words."""

  def read(state, word):
    reset, update, new = jnp.split(word @ params['input'], 3)
    reset_h, update_h, new_h = jnp.split(state @ params['state'], 3)
    gate = jax.nn.sigmoid(update + update_h)
    new = jnp.tanh(new + jax.nn.sigmoid(reset + reset_h) * new_h)
    state = gate * state + (1 - gate) * new
    return state, state

  return jax.lax.scan(read, jnp.zeros(DIM), params['words'][ids])[1]


def tiled_loss(params: dict[str, jax.Array], ids: jax.Array) -> jax.Array:
  """Returns the mean loss of `[B, T + 1]` words, in tiles of the vocabulary."""
  vectors = jax.vmap(states, (None, 0))(params, ids[:, :-1]).reshape(-1, DIM)
  return jw2v.tiled_softmax_loss(vectors, ids[:, 1:].reshape(-1), params['words'], tile=1000).mean()


def usual_loss(params: dict[str, jax.Array], ids: jax.Array) -> jax.Array:
  """Returns the mean loss of `[B, T + 1]` words, with all scores at once."""
  scores = jax.vmap(states, (None, 0))(params, ids[:, :-1]) @ params['words'].T
  return optax.softmax_cross_entropy_with_integer_labels(scores, ids[:, 1:]).mean()


def text(key: jax.Array) -> jax.Array:
  """Returns `[B, T + 1]` consecutive words, with random starts among the first thousand."""
  first = jax.random.randint(key, (BATCH, 1), 0, 1_000)
  return first + jnp.arange(LENGTH + 1)


def main(steps: int = 40) -> dict[str, float]:
  """Compares both losses, trains with the tiled one, and returns the printed values."""
  init_key, key = jax.random.split(jax.random.key(0))
  params, ids = init(init_key), text(key)
  found = {}
  for name, loss in (('tiled', tiled_loss), ('usual', usual_loss)):
    compiled = jax.jit(jax.value_and_grad(loss)).lower(params, ids).compile()
    found[name] = float(compiled(params, ids)[0])
    found[f'{name} MB'] = compiled.memory_analysis().temp_size_in_bytes / 1e6
    print(f'{name}: loss {found[name]:.4f}, buffers of {found[f"{name} MB"]:.0f} MB')
  optimizer = optax.adam(0.01)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state, key):
    loss, gradients = jax.value_and_grad(tiled_loss)(params, text(key))
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(params, updates), state, loss

  for i in range(steps):
    params, state, loss = step(params, state, jax.random.fold_in(key, i))
  found['after'] = float(loss)
  print(f'after {steps} steps: loss {found["after"]:.4f}')
  return found


if __name__ == '__main__':
  main()
