"""Tiled softmax: value and derivatives of the softmax, without the full score matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiers
from proof import assert_close

from jw2v import (
  naive_softmax_loss,
  tiled_log_normalizer,
  tiled_softmax_loss,
  tiled_softmax_value_and_grad,
)
from jw2v.losses.tiled_softmax import tile_size

M, V, D = 7, 23, 5
TILES = [None, 4, V - 1]
SLOW = pytest.mark.slow
HALF = tiers.fast([jnp.bfloat16], [jnp.bfloat16, jnp.float16])
SLOW_EAGER = pytest.param(lambda f: f, marks=SLOW)
FEW_TILES = [4] + [pytest.param(tile, marks=SLOW) for tile in (None, V - 1)]


def example(seed=0, scale=1.0, batch=(M,), num_rows=V):
  rng = np.random.default_rng(seed)
  vectors, table = rng.normal(size=(*batch, D)), scale * rng.normal(size=(num_rows, D))
  return vectors, rng.integers(num_rows, size=batch), table


def plain(vectors, labels, table):
  return jax.vmap(naive_softmax_loss, (0, 0, None))(vectors, labels, table)


def formula(vectors, labels, table, *, bias=None, where=None, label_smoothing=0.0, z_loss=0.0,
            soft_cap=None):  # fmt: skip
  """Computes the loss as in the docstring, from a matrix of all scores."""
  scores = vectors @ table.T
  scores = scores if bias is None else scores + jnp.expand_dims(bias, range(scores.ndim - 1))
  is_class = ~jnp.isneginf(scores)
  if soft_cap is not None:
    scores = jnp.where(is_class, soft_cap * jnp.tanh(scores / soft_cap), -jnp.inf)
  log_normalizer = jax.nn.logsumexp(scores, axis=-1)
  of_label = jnp.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
  mean = jnp.mean(scores, axis=-1, where=is_class)
  losses = (1 - label_smoothing) * (log_normalizer - of_label)
  losses += label_smoothing * (log_normalizer - mean) + z_loss * log_normalizer**2
  return losses if where is None else jnp.where(where, losses, 0)


def run(function, *arrays, **options):
  """Compiles the function for these options and calls it with the arrays."""
  return jax.jit(functools.partial(function, **options))(*arrays)


def biased(seed=1, excluded=()):
  bias = np.random.default_rng(seed).normal(size=V)
  bias[list(excluded)] = -np.inf
  return bias


WHERE = np.array([True, False, True, True, False, True, True])
OPTIONS = {
  'none': {},
  'bias': {'bias': biased()},
  'excluded classes': {'bias': biased(excluded=(0, 1, 2, 9, V - 1))},  # the first tile among them
  'padding': {'where': WHERE},
  'label smoothing': {'label_smoothing': 0.1},
  'all mass smoothed': {'label_smoothing': 1.0},
  'z-loss': {'z_loss': 0.05},
  'soft cap': {'soft_cap': 1.5},
  'all': {
    'bias': biased(excluded=(0, 1, 2, 9, V - 1)),
    'where': WHERE,
    'label_smoothing': 0.1,
    'z_loss': 0.05,
    'soft_cap': 1.5,
  },
}
WEIGHTS = np.linspace(-1, 2, M)  # one per loss, so that their gradients differ


def arguments_of(options, num_rows=V):
  """Returns the arguments of `formula`; labels avoid excluded classes, and the bias is last."""
  vectors, labels, table = example(num_rows=num_rows)
  bias = options.get('bias')
  if bias is not None:
    bias = np.resize(bias, num_rows)
    labels = np.where(np.isneginf(bias[labels]), 3, labels)
  rest = {name: value for name, value in options.items() if name != 'bias'}
  return vectors, labels, table, bias, rest


@functools.cache
def results(name, tile, num_rows=V):
  """Returns value and gradients of loss, formula and twin, for weighted and plain losses."""
  vectors, labels, table, bias, rest = arguments_of(OPTIONS[name], num_rows)

  def everything(*arrays):
    def of(loss, weights, **more):
      def total(vectors, table, bias):
        losses = loss(vectors, labels, table, bias=bias, **rest, **more)
        return jnp.sum(weights * losses), losses

      (_, losses), grads = jax.value_and_grad(total, (0, 1, 2), has_aux=True)(*arrays)
      return losses, grads

    vectors, table, bias = arrays
    return {
      'loss': of(tiled_softmax_loss, WEIGHTS, tile=tile),
      'formula': of(formula, WEIGHTS),
      'sum of the loss': of(tiled_softmax_loss, 1.0, tile=tile),
      'twin': tiled_softmax_value_and_grad(vectors, labels, table, bias=bias, **rest, tile=tile),
    }

  return jax.jit(everything)(vectors, table, bias)


# Tiles of 4 have a remainder of 3 rows in a table of 23; 24 rows have none; 5 rows are fewer.
TILINGS = [(4, V), (4, 24), (None, V), (100, 5)]
WITH_TILING = [('none', tiling) for tiling in TILINGS]
WITH_TILING += [('all', tiling) for tiling in TILINGS[:2]]
WITH_TILING += [(name, (4, V)) for name in OPTIONS if name not in ('none', 'all')]
SLOW_TILING = [(name, tiling) for name in OPTIONS for tiling in TILINGS]
SLOW_TILING = [
  pytest.param(*x, marks=SLOW if x[1] == (None, V) else pytest.mark.release)
  for x in SLOW_TILING
  if x not in WITH_TILING
]


@pytest.mark.usefixtures('float64')
@pytest.mark.parametrize(
  ('options', 'tiling'),
  WITH_TILING + SLOW_TILING,
  ids=lambda x: x if isinstance(x, str) else f'{x[1]} rows, tile {x[0]}',
)
class TestOptions:
  def test_value_matches_the_formula(self, options, tiling):
    found = results(options, *tiling)
    assert_close(found['loss'][0], found['formula'][0])
    assert_close(found['twin'][0], found['formula'][0])

  def test_autodiff_matches_the_formula(self, options, tiling):
    found = results(options, *tiling)
    assert_close(found['loss'][1], found['formula'][1])

  def test_closed_form_matches_autodiff(self, options, tiling):
    found = results(options, *tiling)
    assert_close(found['twin'], found['sum of the loss'])


@pytest.mark.usefixtures('float64')
class TestEqualsThePlainLoss:
  @pytest.mark.parametrize('tile', TILES)
  def test_value(self, tile):
    arguments = example()
    found = jax.jit(lambda *a: tiled_softmax_loss(*a, tile=tile))(*arguments)
    assert_close(found, jax.jit(plain)(*arguments))

  @pytest.mark.parametrize('tile', [4, pytest.param(None, marks=SLOW)])
  @pytest.mark.parametrize('transform', [SLOW_EAGER, jax.jit], ids=['eager', 'jit'])
  def test_reverse_mode(self, tile, transform):
    vectors, labels, table = example(1)
    weights = jnp.arange(1.0, M + 1)
    of = lambda f, **k: transform(
      jax.grad(lambda v, u: jnp.sum(weights * f(v, labels, u, **k)), (0, 1))
    )(vectors, table)
    assert_close(of(tiled_softmax_loss, tile=tile), of(plain))

  @pytest.mark.parametrize('tile', FEW_TILES)
  @pytest.mark.parametrize('by', [(0, 1), pytest.param((0,), marks=SLOW), (1,)], ids=str)
  def test_forward_mode(self, tile, by):
    vectors, labels, table = example(2)
    primals, tangents = (vectors, table), example(3)[::2]
    primals, tangents = [primals[i] for i in by], [tangents[i] for i in by]

    def of(f, **options):
      full = lambda *a: [a[by.index(i)] if i in by else (vectors, table)[i] for i in range(2)]
      loss = lambda *a: f(full(*a)[0], labels, full(*a)[1], **options)
      return jax.jit(lambda *a: jax.jvp(loss, a, tuple(tangents)))(*primals)

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
  def test_all_scores_far_below_zero(self, tile):
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

  @pytest.mark.parametrize(
    'batch', [(), (2, 3), (0,), *(pytest.param(x, marks=SLOW) for x in ((1,), (2, 1, 3)))]
  )
  def test_any_number_of_leading_axes(self, batch):
    vectors, labels, table = example(7, batch=batch)
    twin = functools.partial(tiled_softmax_value_and_grad, tile=4)

    @jax.jit
    def everything(vectors, labels, table):
      flat = twin(vectors.reshape(-1, D), labels.reshape(-1), table)
      normalizers = tiled_log_normalizer(vectors, table, tile=4)
      losses = tiled_softmax_loss(vectors, labels, table, tile=4)
      return losses, normalizers, twin(vectors, labels, table), flat

    losses, normalizers, (same, grads), (_, want) = everything(vectors, labels, table)
    mass = np.exp(vectors @ table.T)
    assert_close(normalizers, np.log(mass.sum(axis=-1)))
    of_label = np.take_along_axis(mass, labels[..., None], axis=-1)[..., 0]
    assert_close(losses, np.log(mass.sum(axis=-1) / of_label))
    assert_close(same, losses)
    assert_close(grads, (want.vectors.reshape(vectors.shape), want.table))


@pytest.mark.usefixtures('float64')
def test_derivative_by_the_bias_alone():
  vectors, labels, table = example()

  def along(loss, **more):
    of_bias = lambda bias: loss(vectors, labels, table, bias=bias, **more)
    return jax.jit(lambda bias: jax.jvp(of_bias, (bias,), (biased(2),)))(biased())

  assert_close(along(tiled_softmax_loss, tile=4), along(formula))


SECOND = {
  'forward over reverse': lambda f: jax.jacfwd(jax.grad(f, (0, 1, 2)), (0, 1, 2)),
  'reverse over reverse': lambda f: jax.jacrev(jax.grad(f, (0, 1, 2)), (0, 1, 2)),
  'reverse over forward': lambda f: jax.jacrev(jax.jacfwd(f, (0, 1, 2)), (0, 1, 2)),
  'forward over forward': lambda f: jax.jacfwd(jax.jacfwd(f, (0, 1, 2)), (0, 1, 2)),
}


def marks_of_second(mode, options):
  if (mode, options) == ('forward over reverse', 'all'):
    return ()
  return SLOW if options == 'all' or mode == 'reverse over reverse' else pytest.mark.release


@pytest.mark.usefixtures('float64')
@pytest.mark.parametrize(
  ('mode', 'options'),
  [
    pytest.param(mode, options, marks=marks_of_second(mode, options))
    for mode in SECOND
    for options in ('bias', 'soft cap', 'all')
  ],
)
def test_second_derivatives(mode, options):
  """Matches by vectors, table and bias, and by each pair of them."""
  vectors, labels, table, bias, rest = arguments_of(OPTIONS[options])
  bias = np.zeros(V) if bias is None else bias

  def of(loss, **more):
    total = lambda v, u, b: jnp.sum(WEIGHTS * loss(v, labels, u, bias=b, **rest, **more))
    return jax.jit(SECOND[mode](total))(vectors, table, bias)

  assert_close(of(tiled_softmax_loss, tile=4), of(formula))


@pytest.mark.usefixtures('float64')
@pytest.mark.slow
def test_third_derivatives():
  vectors, labels, table = example()

  def of(loss, **options):
    along = lambda t: jnp.sum(loss(vectors + t * table[:M], labels, table * (1 + t), **options))
    return jax.jit(jax.grad(jax.grad(jax.jacfwd(along))))(0.1)

  assert_close(of(tiled_softmax_loss, tile=4), of(formula))


@pytest.mark.usefixtures('float64')
class TestLogNormalizer:
  @pytest.mark.parametrize('tile', FEW_TILES)
  @pytest.mark.parametrize('name', ['none', 'excluded classes', 'soft cap', 'bias'])
  def test_value_and_derivatives(self, name, tile):
    """Has the softmax as its derivative by the bias."""
    vectors, _, table, bias, rest = arguments_of(OPTIONS[name])

    def normalizer(vectors, table, *, bias=None, soft_cap=None):
      scores = vectors @ table.T if bias is None else vectors @ table.T + bias[None]
      capped = scores if soft_cap is None else soft_cap * jnp.tanh(scores / soft_cap)
      return jax.nn.logsumexp(capped, axis=-1)

    def of(function, **more):
      total = lambda v, u, b: jnp.sum(WEIGHTS * function(v, u, bias=b, **rest, **more))
      return jax.jit(jax.value_and_grad(total, (0, 1, 2)))(vectors, table, bias)

    assert_close(of(tiled_log_normalizer, tile=tile), of(normalizer))

  def test_probabilities_sum_to_one(self):
    vectors, _, table = example()
    scores = vectors @ table.T
    log_normalizers = run(tiled_log_normalizer, vectors, table, tile=4)
    assert_close(np.exp(scores - log_normalizers[:, None]).sum(axis=1), np.ones(M))

  def test_without_classes_it_is_the_logarithm_of_zero(self):
    vectors, _, table = example()
    of = functools.partial(tiled_log_normalizer, tile=4)
    found = jax.jit(of)(vectors, table, bias=np.full(V, -np.inf))
    assert np.isneginf(found).all()


class TestPrecision:
  """Sums in float32 or better, for half-precision vectors and tables."""

  @pytest.mark.parametrize(
    'dtype', tiers.fast([jnp.bfloat16], [jnp.float32, jnp.bfloat16, jnp.float16])
  )
  @pytest.mark.parametrize(
    ('num_rows', 'tile', 'want'),
    [(50_000, 64, 10.81978), pytest.param(1_000_000, None, 13.815511, marks=SLOW)],
  )
  def test_as_many_classes_as_a_language_model_has(self, dtype, num_rows, tile, want):
    vectors, table = jnp.zeros((1, 4), dtype), jnp.zeros((num_rows, 4), dtype)
    found = jax.jit(functools.partial(tiled_softmax_loss, tile=tile))(
      vectors, jnp.array([5]), table
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, want, rtol=1e-6)

  @pytest.mark.parametrize('dtype', HALF)
  def test_probabilities_of_all_labels_sum_to_one(self, dtype):
    rng = np.random.default_rng(0)
    table = jnp.asarray(0.1 * rng.normal(size=(3000, 8)), dtype)
    vectors = jnp.broadcast_to(jnp.asarray(rng.normal(size=8), dtype), (3000, 8))
    losses = jax.jit(tiled_softmax_loss)(vectors, jnp.arange(3000), table)
    np.testing.assert_allclose(np.exp(-np.asarray(losses, np.float64)).sum(), 1, rtol=1e-3)

  @pytest.mark.parametrize('dtype', HALF)
  def test_gradients_round_once(self, dtype):
    """Sums 3,000 gradients of one row in float32."""
    vectors, table = jnp.ones((3000, 2), dtype), jnp.zeros((4, 2), dtype)
    labels = jnp.zeros(3000, jnp.int32)

    def both(table):
      total = lambda u: tiled_softmax_loss(vectors, labels, u, tile=2).sum()
      twin = tiled_softmax_value_and_grad(vectors, labels, table, tile=2)
      return twin[1].table, jax.grad(total)(table)

    for grads in jax.jit(both)(table):
      assert grads.dtype == dtype
      want = 3000 * np.array([-0.75, 0.25, 0.25, 0.25])
      np.testing.assert_allclose(grads[:, 0].astype(np.float32), want, rtol=jnp.finfo(dtype).eps)

  def test_loss_of_small_probabilities_to_be_wrong(self):
    """Returns softplus(log 3 - 20) for scores 20, 0, 0, 0; a plain log-sum-exp rounds to 0."""
    table = jnp.array([[20.0], [0], [0], [0]])
    found = run(tiled_softmax_loss, jnp.ones((1, 1)), jnp.zeros(1, int), table, tile=3)
    np.testing.assert_allclose(found, 6.1834608e-09, rtol=1e-6)

  @pytest.mark.parametrize('seed', range(3))
  def test_loss_is_never_negative(self, seed):
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-3, 4, size=(2000, 1))
    vectors = (scale * rng.normal(size=(2000, D))).astype(np.float32)
    table = rng.normal(size=(V, D)).astype(np.float32)
    labels = np.argmax(vectors @ table.T, axis=1)
    losses = jax.jit(functools.partial(tiled_softmax_loss, tile=4))(vectors, labels, table)
    assert np.all(losses >= 0)


@pytest.mark.usefixtures('float64')
def test_first_tile_of_excluded_classes():
  """Leaves no NaN in the running maximum after a first tile of -inf scores."""
  table = jnp.array([[0.0, -jnp.inf]] * 3 + [[0.0, 0.0]] * 3)
  arguments = jnp.ones((1, 2)), jnp.array([5]), table
  assert_close(jax.jit(lambda *a: tiled_softmax_loss(*a, tile=3))(*arguments), np.log([3.0]))
  losses, grads = jax.jit(lambda *a: tiled_softmax_value_and_grad(*a, tile=3))(*arguments)
  assert_close(losses, np.log([3.0]))
  third = np.repeat([0, 0, 0, 1 / 3, 1 / 3, -2 / 3], 2).reshape(6, 2)
  assert_close(grads.table, third)


def temporaries(function, num_vectors=1024, num_rows=50_000, width=64):
  """Returns the bytes of temporary memory of value and gradient."""
  shapes = [jax.ShapeDtypeStruct((num_vectors, width), jnp.float32),
            jax.ShapeDtypeStruct((num_rows, width), jnp.float32)]  # fmt: skip
  compiled = jax.jit(function).lower(*shapes).compile()
  return compiled.memory_analysis().temp_size_in_bytes


class TestMemory:
  @pytest.mark.parametrize(
    'mode', tiers.fast(['reverse', 'twin'], ['value', 'reverse', 'forward', 'twin'])
  )
  def test_memory_is_that_of_a_tile_of_scores(self, mode):
    """Grows with the size of the vectors, not of the scores, for 16 times as many vectors."""
    labels = lambda v: jnp.zeros(len(v), jnp.int32)
    f = lambda v, u: jnp.sum(tiled_softmax_loss(v, labels(v), u, tile=500))
    of_mode = {
      'value': f,
      'reverse': jax.grad(f, (0, 1)),
      'forward': lambda v, u: jax.jvp(f, (v, u), (v, u)),
      'twin': lambda v, u: tiled_softmax_value_and_grad(v, labels(v), u, tile=500),
    }[mode]
    few, many = (temporaries(of_mode, m, num_rows=20_000, width=8) for m in (100, 1600))
    assert many - few < 1500 * 4 * (6 * 500 + 20 * 8)
    assert many - few < 1500 * 20_000 * 4 / 5

  @pytest.mark.slow
  @pytest.mark.parametrize('twin', [False, True], ids=['autodiff', 'twin'])
  def test_three_percent_of_the_plain_loss(self, twin):
    """Requires a tile that divides the table; others cost a copy of the table's gradient."""
    labels = jnp.zeros(1024, jnp.int32)
    by_scores = optax.softmax_cross_entropy_with_integer_labels
    optax_loss = lambda v, u: jnp.sum(by_scores(v @ u.T, labels))

    def tiled(v, u, **options):
      if twin:
        return tiled_softmax_value_and_grad(v, labels, u, **options)
      total = lambda v, u: jnp.sum(tiled_softmax_loss(v, labels, u, **options))
      return jax.value_and_grad(total, (0, 1))(v, u)

    of_scores = temporaries(jax.value_and_grad(optax_loss, (0, 1)))
    dividing = temporaries(tiled)  # tiles of 1,000 classes
    assert dividing <= 0.031 * of_scores
    assert temporaries(functools.partial(tiled, tile=500)) <= 0.016 * of_scores
    other = temporaries(functools.partial(tiled, tile=1024))
    assert other - dividing <= 1.15 * 50_000 * 64 * 4


class TestTileSize:
  def test_a_divisor_is_preferred(self):
    """Chooses a tile of about a million scores on a CPU."""
    assert tile_size(None, 50_000, 1024, 64) == 1000
    assert tile_size(None, 50_021, 1024, 64) == 1024  # a prime

  def test_few_vectors_keep_all_scores(self):
    """Keeps all scores if they take at most half of the memory of the table's gradient."""
    assert tile_size(None, 50_000, 256, 512) == 50_000
    assert tile_size(None, 50_000, 257, 512) < 50_000

  def test_a_tile_is_at_most_the_table(self):
    assert tile_size(100, V, M, D) == tile_size(V, V, M, D) == tile_size(None, V, M, D) == V
    assert tile_size(np.int64(4), V, M, D) == 4

  @pytest.mark.parametrize('num_vectors', [1, 10, 10**4, 10**9])
  def test_any_number_of_vectors(self, num_vectors):
    assert 1 <= tile_size(None, 10**6, num_vectors, 0) <= 8192

  def test_a_symbolic_table_is_one_tile(self):
    (num_rows,) = jax.export.symbolic_shape('V')
    assert tile_size(None, num_rows, M, D) is tile_size(4, num_rows, M, D) is num_rows


class TestRefused:
  @pytest.mark.parametrize('function', [tiled_softmax_loss, tiled_softmax_value_and_grad])
  @pytest.mark.parametrize('tile', [0, -4, 2.0, True, '4'])
  def test_tile(self, function, tile):
    with pytest.raises(ValueError, match='tile must be an integer of at least 1, got'):
      function(*example(), tile=tile)

  @pytest.mark.parametrize('function', [tiled_softmax_loss, tiled_softmax_value_and_grad])
  @pytest.mark.parametrize(
    ('options', 'message'),
    [
      ({'soft_cap': 0}, 'soft_cap must be greater than 0, got 0'),
      ({'soft_cap': -1.0}, 'soft_cap must be greater than 0, got -1.0'),
      ({'label_smoothing': -0.1}, 'label_smoothing must be from 0 to 1, got -0.1'),
      ({'label_smoothing': 1.1}, 'label_smoothing must be from 0 to 1, got 1.1'),
    ],
  )
  def test_options(self, function, options, message):
    with pytest.raises(ValueError, match=message):
      function(*example(), **options)

  @pytest.mark.parametrize('function', [tiled_softmax_loss, tiled_softmax_value_and_grad])
  @pytest.mark.parametrize('name', ['label_ids', 'table', 'bias', 'where'])
  def test_shapes(self, function, name):
    vectors, labels, table = example()
    arguments = {'label_ids': labels, 'table': table, 'bias': biased(), 'where': WHERE}
    arguments[name] = arguments[name][1:] if name != 'table' else table[:, 1:]
    if name == 'table':
      arguments['bias'] = None
    with pytest.raises(AssertionError, match=f"'{name}' must be"):
      function(vectors, **arguments)

  def test_scalar_vectors(self):
    _, _, table = example()
    with pytest.raises(AssertionError, match="'vectors' must be"):
      tiled_softmax_loss(1.0, 0, table)


class TestExcludedClasses:
  """Masked examples look up class 0, which a bias may exclude."""

  TABLE, BIAS, VECTORS = np.ones((5, 4)), np.array([-np.inf, 0, 0, 0, 0]), np.ones((2, 4))
  OPTIONS = (
    {},
    {'tile': 2},
    {'tile': 2, 'soft_cap': 5.0},
    {'tile': 2, 'z_loss': 0.1, 'label_smoothing': 0.1},
    {'z_loss': 0.1, 'label_smoothing': 0.1, 'soft_cap': 4.0},
  )

  @pytest.mark.parametrize('options', tiers.fast([OPTIONS[1], OPTIONS[-1]], OPTIONS), ids=str)
  @pytest.mark.parametrize('padding', ['where', 'out of range'])
  def test_gradients_are_those_of_the_other_examples(self, options, padding):
    labels = np.array([2, -1])
    where = {'where': labels >= 0} if padding == 'where' else {}

    @jax.jit
    def everything(*arrays):
      def total(v, u, b):
        return jnp.nansum(tiled_softmax_loss(v, labels, u, bias=b, **options, **where))

      def first(v, u, b):
        return tiled_softmax_loss(v[:1], labels[:1], u, bias=b, **options)[0]

      vectors, table, bias = arrays
      twin = tiled_softmax_value_and_grad(vectors, labels, table, bias=bias, **options, **where)
      return jax.grad(total, (0, 1, 2))(*arrays), twin[1], jax.grad(first)(*arrays)

    found, twin, alone = everything(self.VECTORS, self.TABLE, self.BIAS)
    assert_close(found, twin, rtol=1e-5, atol=1e-6)
    assert_close(found[0], alone, rtol=1e-5, atol=1e-6)

  @pytest.mark.parametrize('options', [{}, {'label_smoothing': 0.1}, {'z_loss': 0.1}], ids=str)
  def test_an_excluded_label_costs_infinity(self, options):
    of = functools.partial(tiled_softmax_loss, **options)
    losses = jax.jit(of)(self.VECTORS, np.array([2, 0]), self.TABLE, bias=self.BIAS)
    assert np.isfinite(losses[0]) and losses[1] == np.inf

  def test_a_table_without_rows_is_refused(self):
    with pytest.raises(ValueError, match=r'table must have at least one row and column, got'):
      tiled_softmax_loss(self.VECTORS, np.array([0, 0]), self.TABLE[:0])


class TestExtremes:
  def test_scores_whose_square_is_infinite(self):
    table = jnp.ones((5, 4), jnp.float32)
    losses = run(tiled_softmax_loss, jnp.full((1, 4), 1e20, jnp.float32), np.array([1]), table)
    assert_close(losses, np.log([5.0]), rtol=1e-6)

  def test_z_loss_of_a_label_far_below(self):
    """Keeps the digits of the normalizer log(1000) next to a label's score of -1e6."""
    table = jnp.concatenate([jnp.full((1, 1), -1e6), jnp.zeros((1000, 1))]).astype(jnp.float32)
    one = jnp.ones((1, 1), jnp.float32)
    _, grads = run(tiled_softmax_value_and_grad, one, np.array([0]), table, z_loss=1.0)
    want = (1 + 2 * np.log(1000)) / 1000
    assert_close(grads.table[1], np.array([want]), rtol=1e-6, atol=0)

  @pytest.mark.parametrize('tile', tiers.fast([3], [3, V]))
  def test_the_value_of_the_twin_can_be_differentiated(self, tile):
    vectors, labels, table = example()
    both = [
      jax.jit(jax.grad(lambda u, f=f: jnp.sum(f(vectors, labels, u))))(table)
      for f in (
        lambda *x: tiled_softmax_value_and_grad(*x, tile=tile)[0],
        lambda *x: tiled_softmax_loss(*x, tile=tile),
      )
    ]
    assert_close(*both, rtol=1e-4, atol=1e-5)

  def test_padding_makes_no_nan_on_the_way(self):
    with jax.debug_nans(True):
      losses = tiled_softmax_loss(np.ones((2, 4)), np.array([0, 9]), np.ones((5, 4)),
                                  where=np.array([True, False]))  # fmt: skip
    assert losses[1] == 0
