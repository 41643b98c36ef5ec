"""Private word vectors with optax: per-example gradients, clipped and with noise.

  python -m examples.private

Differential privacy bounds the influence of each example on a model (Abadi et al., `Deep learning
with differential privacy <https://arxiv.org/abs/1607.00133>`_, 2016): training clips the gradient
of each example, and adds noise to their sum. Autodiff returns the gradient of a mean. Here
`jax.vmap` of `jw2v.negative_sampling_value_and_grad` computes the gradients of all examples in
closed form, without a backward pass, and optax clips them and adds noise. The program prints the
mean norm of the gradients, and the loss for increasing noise.
"""

import jax
import jax.numpy as jnp
import optax
from optax import contrib

import jw2v

WORDS, DIM, BATCH, NEGATIVES = 60, 16, 64, 5


def pairs(key: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns `[4000]` centers and contexts, which are random words of the same group of six."""
  center_key, context_key = jax.random.split(key)
  centers = jax.random.randint(center_key, (4_000,), 0, WORDS)
  return centers, centers // 6 * 6 + jax.random.randint(context_key, (4_000,), 0, 6)


def example_gradients(
  params: jw2v.Word2VecParams, center: jax.Array, context: jax.Array, noise: jax.Array
) -> tuple[jax.Array, jw2v.Word2VecParams]:
  """Returns `[B]` losses, and `[B, V, D]` gradients of both tables for each example."""

  def one(center, context, noise):
    loss, gradients = jw2v.negative_sampling_value_and_grad(
      params.center[center], params.outside[context], params.outside[noise]
    )
    d_outside = jnp.zeros_like(params.outside).at[context].add(gradients.outside)
    return loss, jw2v.Word2VecParams(
      jnp.zeros_like(params.center).at[center].set(gradients.center),
      d_outside.at[noise].add(gradients.negatives),
    )

  return jax.vmap(one)(center, context, noise)


def train(noise_multiplier: float, steps: int) -> tuple[float, float]:
  """Trains; returns the final loss, and the mean norm of the gradients of the first batch."""
  data_key, init_key, key = jax.random.split(jax.random.key(0), 3)
  centers, contexts = pairs(data_key)
  tables = 0.3 * jax.random.normal(init_key, (2, WORDS, DIM))
  params = jw2v.Word2VecParams(*tables)
  optimizer = optax.chain(
    contrib.differentially_private_aggregate(
      l2_norm_clip=0.5, noise_multiplier=noise_multiplier, key=jax.random.key(1)
    ),
    optax.sgd(2.0),
  )
  state = optimizer.init(params)

  @jax.jit
  def step(params, state, key):
    which_key, noise_key = jax.random.split(key)
    which = jax.random.randint(which_key, (BATCH,), 0, len(centers))
    noise = jax.random.randint(noise_key, (BATCH, NEGATIVES), 0, WORDS)
    losses, gradients = example_gradients(params, centers[which], contexts[which], noise)
    lengths = jnp.sqrt(sum(jnp.sum(table**2, axis=(1, 2)) for table in gradients))
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, losses.mean(), lengths.mean()

  losses, first = [], 0.0
  for i in range(steps):
    params, state, loss, length = step(params, state, jax.random.fold_in(key, i))
    first = float(length) if i == 0 else first
    losses.append(float(loss))
  return sum(losses[-20:]) / 20, first


def main(steps: int = 200) -> list[float]:
  """Trains with increasing noise; returns the losses."""
  losses = []
  for multiplier in (0.0, 1.0, 3.0):
    loss, length = train(multiplier, steps)
    losses.append(loss)
    print(f'noise {multiplier:g}: loss {loss:.3f} (gradients had a mean length of {length:.2f})')
  return losses


if __name__ == '__main__':
  main()
