"""The softmax in tiles equals the softmax, value and derivatives, without room for all scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import assert_close

from jw2v import naive_softmax_loss, tiled_softmax_loss
from jw2v.losses.tiled_softmax import tile_size

M, V, D = 7, 23, 5
TILES = [None, 4, V - 1]
SLOW_EAGER = pytest.param(lambda f: f, marks=pytest.mark.slow)
FEW_TILES = [4] + [pytest.param(tile, marks=pytest.mark.slow) for tile in (None, V - 1)]


def example(seed=0, scale=1.0):
  rng = np.random.default_rng(seed)
  vectors, table = rng.normal(size=(M, D)), scale * rng.normal(size=(V, D))
  return vectors, rng.integers(V, size=M), table


def plain(vectors, labels, table):
  return jax.vmap(naive_softmax_loss, (0, 0, None))(vectors, labels, table)


@pytest.mark.usefixtures('float64')
class TestEqualsThePlainLoss:
  @pytest.mark.parametrize('tile', TILES)
  def test_value(self, tile):
    arguments = example()
    found = jax.jit(lambda *a: tiled_softmax_loss(*a, tile=tile))(*arguments)
    assert_close(found, jax.jit(plain)(*arguments))

  @pytest.mark.parametrize('tile', TILES)
  @pytest.mark.parametrize('transform', [SLOW_EAGER, jax.jit], ids=['eager', 'jit'])
  def test_reverse_mode(self, tile, transform):
    vectors, labels, table = example(1)
    weights = jnp.arange(1.0, M + 1)
    of = lambda f, **k: transform(
      jax.grad(lambda v, u: jnp.sum(weights * f(v, labels, u, **k)), (0, 1))
    )(vectors, table)
    assert_close(of(tiled_softmax_loss, tile=tile), of(plain))

  @pytest.mark.parametrize('tile', FEW_TILES)
  def test_forward_mode(self, tile):
    vectors, labels, table = example(2)
    tangents = example(3)[0], example(3)[2]
    of = lambda f, **k: jax.jit(lambda *a: jax.jvp(lambda v, u: f(v, labels, u, **k), a, tangents))(
      vectors, table
    )
    assert_close(of(tiled_softmax_loss, tile=tile), of(plain))

  @pytest.mark.parametrize('tile', FEW_TILES)
  def test_second_derivatives(self, tile):
    vectors, labels, table = example(4)
    of = lambda f, **k: jax.jit(jax.hessian(lambda v: jnp.sum(f(v, labels, table, **k))))(vectors)
    assert_close(of(tiled_softmax_loss, tile=tile), of(plain))

  @pytest.mark.parametrize('tile', FEW_TILES)
  def test_vmap(self, tile):
    vectors, labels, table = example(5)
    both, two = jnp.stack([vectors, 2 * vectors]), jnp.stack([labels, labels[::-1]])
    of = lambda f, **k: jax.jit(
      jax.vmap(lambda v, o: jax.grad(lambda v: jnp.sum(f(v, o, table, **k)))(v))
    )(both, two)
    assert_close(of(tiled_softmax_loss, tile=tile), of(plain))

  @pytest.mark.parametrize('tile', FEW_TILES)
  def test_all_scores_far_below_those_of_padding(self, tile):
    """The last tile is filled up with rows whose scores are 0, where all others are -1e4."""
    vectors, labels = jnp.ones((M, D)), jnp.arange(M)
    table = -2e3 + 1e-3 * example(6)[2]
    of = lambda f, **k: jax.jit(jax.grad(lambda v, u: jnp.sum(f(v, labels, u, **k)), (0, 1)))(
      vectors, table
    )
    for found, wanted in zip(of(tiled_softmax_loss, tile=tile), of(plain), strict=True):
      np.testing.assert_allclose(found, wanted, atol=1e-8)  # of scores of 1e4, in float64

  @pytest.mark.parametrize('tile', FEW_TILES)
  def test_scores_far_out(self, tile):
    vectors, labels, table = example(6, scale=1e4)
    f = lambda v, u: jnp.sum(tiled_softmax_loss(v, labels, u, tile=tile))
    value, gradients = jax.jit(jax.value_and_grad(f, (0, 1)))(vectors, table)
    exact = lambda v, u: jnp.sum(plain(v, labels, u))
    want = jax.jit(jax.value_and_grad(exact, (0, 1)))(vectors, table)
    assert_close((value, gradients), want)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_keeps_the_dtype(dtype):
  vectors, labels, table = example()
  vectors, table = vectors.astype(dtype), table.astype(dtype)
  assert tiled_softmax_loss(vectors, labels, table, tile=4).dtype == dtype


@pytest.mark.parametrize('mode', ['value', 'reverse', 'forward'])
def test_memory_is_that_of_a_tile_of_scores(mode):
  """Sixteen times the vectors take no more than their own size more: not 16 times the scores."""

  def temporary(num_vectors, num_rows=20_000, width=8, tile=500):
    shapes = [jax.ShapeDtypeStruct((num_vectors, width), jnp.float32),
              jax.ShapeDtypeStruct((num_rows, width), jnp.float32)]  # fmt: skip
    f = lambda v, u: jnp.sum(tiled_softmax_loss(v, jnp.zeros(len(v), int), u, tile=tile))
    run = {
      'value': f,
      'reverse': jax.grad(f, (0, 1)),
      'forward': lambda v, u: jax.jvp(f, (v, u), (v, u)),
    }[mode]
    compiled = jax.jit(run).lower(*shapes).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  more = temporary(1600) - temporary(100)
  assert more < 1500 * 4 * (6 * 500 + 20 * 8)
  assert more < 1500 * 20_000 * 4 / 5


class TestRefused:
  @pytest.mark.parametrize('tile', [0, V + 1, 2.0, True])
  def test_tile(self, tile):
    with pytest.raises(ValueError, match=f'must be an integer from 1 to {V}'):
      tiled_softmax_loss(*example(), tile=tile)

  def test_an_integer_of_numpy_is_none_of_them(self):
    assert tile_size(np.int64(4), V) == 4

  def test_shapes(self):
    vectors, labels, table = example()
    with pytest.raises(AssertionError, match="'table' must be floating"):
      tiled_softmax_loss(vectors, labels, table[:, 1:])
