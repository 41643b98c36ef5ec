"""Every loss, in every dtype, under every transformation of JAX, against NumPy in float64.

A cell of the matrix is one loss and its twin. All cells of a dtype and a transformation form one
compiled program, because compilation takes most of the time. All programs are compiled under strict
dtype promotion.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import tiers
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from proof import cast, summed, summed_twin

import jw2v
from tests.losses import test_in_batch, test_network, test_prediction, test_scores, test_window

# Even lengths, which two devices can share. D differs from the others, so that no axis hides.
V, D, K, L, C, B = 8, 6, 4, 4, 4, 4
LOW = jnp.bfloat16


class Case(NamedTuple):
  """A loss, its twin and its value in NumPy, as functions of the arguments that `make` returns."""

  loss: Callable[..., Any]
  twin: Callable[..., Any] | None
  reference: Callable[..., Any]
  argnums: tuple[int, ...]
  make: Callable[[np.random.Generator], list[Any]]


def public(name, reference, argnums, make, *options, whole_batch=False):
  """Returns the case of a public loss; `options` names the last arguments, passed by keyword."""
  loss = getattr(jw2v, name if name.endswith('from_scores') else f'{name}_loss')
  twin = getattr(jw2v, f'{name}_value_and_grad')
  if whole_batch:
    loss, twin = summed(loss), summed_twin(twin)

  def by_position(function):
    def run(*args):
      split = len(args) - len(options)
      return function(*args[:split], **dict(zip(options, args[split:], strict=True)))

    return run

  return Case(by_position(loss), by_position(twin), by_position(reference), argnums, make)


def cross_entropy_twin(logits, labels):
  return jw2v.cross_entropy_loss(logits, labels), (jw2v.cross_entropy_gradient(logits, labels),)


def cross_entropy_in_numpy(logits, labels):
  return -np.sum(labels * np.log(np.exp(logits) / np.exp(logits).sum()))


def tiled_softmax_in_numpy(vectors, label_ids, table, bias, where):
  mass = np.exp(vectors @ table.T + bias)
  losses = np.log(mass.sum(axis=1) / mass[np.arange(len(vectors)), label_ids])
  return np.sum(losses[where])


def two_layer_in_numpy(params, x, labels):
  hidden = test_network.sigmoid(x @ params.w1 + params.b1)
  return cross_entropy_in_numpy(hidden @ params.w2 + params.b2, labels)


def tiled(function):
  """Returns the function with tiles of 3 rows (remainder 2), bias and padding by position."""
  return lambda v, i, u, bias, where: function(v, i, u, bias=bias, where=where, tile=3)


def normal(rng, *shape):
  return rng.normal(size=shape)


def ids(rng, *shape):
  return rng.integers(V, size=shape, dtype=np.int32)


def mask(length):
  return np.arange(length) != 1


def params(rng):
  return jw2v.Word2VecParams(normal(rng, V, D), normal(rng, V, D))


def layers(rng):
  return jw2v.TwoLayerParams(normal(rng, D, 4), normal(rng, 4), normal(rng, 4, 8), normal(rng, 8))


def pair(rng):
  return [normal(rng, D), normal(rng, D), normal(rng, K, D)]


def expected(rng):
  return [normal(rng), normal(rng, K)]


CASES = {
  'naive_softmax': public(
    'naive_softmax', test_prediction.TestNaiveSoftmax.reference, (0, 2),
    lambda rng: [normal(rng, D), ids(rng), normal(rng, V, D)],
  ),
  'negative_sampling': public(
    'negative_sampling', test_prediction.TestNegativeSampling.reference, (0, 1, 2),
    lambda rng: [*pair(rng), rng.uniform(size=K)], 'weights',
  ),
  'nce': public(
    'nce', test_prediction.TestNce.reference, (0, 1, 2),
    lambda rng: [*pair(rng), *expected(rng)], 'log_expected_outside', 'log_expected_negatives',
  ),
  'sampled_softmax': public(
    'sampled_softmax', test_prediction.TestSampledSoftmax.reference, (0, 1, 2),
    lambda rng: [*pair(rng), *expected(rng)], 'log_expected_outside', 'log_expected_negatives',
  ),
  'hierarchical_softmax': public(
    'hierarchical_softmax', test_prediction.TestHierarchicalSoftmax.reference, (0, 1),
    lambda rng: [normal(rng, D), normal(rng, L, D), ids(rng, L) % 2, mask(L)], 'mask',
  ),
  'negative_sampling_from_scores': public(
    'negative_sampling_from_scores', test_scores.TestNegativeSamplingFromScores.reference, (0, 1),
    lambda rng: [normal(rng), normal(rng, K), rng.uniform(size=K)], 'weights',
  ),
  'nce_from_scores': public(
    'nce_from_scores', test_scores.TestNceFromScores.reference, (0, 1),
    lambda rng: [*expected(rng), *expected(rng)], 'log_expected_outside', 'log_expected_negatives',
  ),
  'sampled_softmax_from_scores': public(
    'sampled_softmax_from_scores', test_scores.TestSampledSoftmaxFromScores.reference, (0, 1),
    lambda rng: [*expected(rng), *expected(rng)],
  ),
  'hierarchical_softmax_from_scores': public(
    'hierarchical_softmax_from_scores', test_scores.TestHierarchicalSoftmaxFromScores.reference,
    (0,), lambda rng: [normal(rng, L), ids(rng, L) % 2, mask(L)], 'mask',
  ),
  'skip_gram, softmax': public(
    'skip_gram', test_window.TestSkipGram.reference, (0,),
    lambda rng: [params(rng), ids(rng), ids(rng, C), mask(C)], 'mask',
  ),
  'skip_gram, sampled': public(
    'skip_gram', test_window.TestSkipGram.reference, (0,),
    lambda rng: [params(rng), ids(rng), ids(rng, C), mask(C), ids(rng, C, K)],
    'mask', 'negative_ids',
  ),
  'cbow, softmax': public(
    'cbow', test_window.TestCbow.reference, (0,),
    lambda rng: [params(rng), ids(rng, C), ids(rng), mask(C)], 'mask',
  ),
  'cbow, sampled': public(
    'cbow', test_window.TestCbow.reference, (0,),
    lambda rng: [params(rng), ids(rng, C), ids(rng), mask(C), ids(rng, K)], 'mask', 'negative_ids',
  ),
  'in_batch_softmax': public(
    'in_batch_softmax', lambda *a, **k: np.sum(test_in_batch.losses_in_numpy(*a, **k)), (0, 1),
    lambda rng: [normal(rng, B, D), normal(rng, B, D), mask(B), ids(rng, B), np.float64(0.5)],
    'where', 'key_ids', 'temperature', whole_batch=True,
  ),
  'tiled_softmax': Case(
    tiled(summed(jw2v.tiled_softmax_loss)),
    tiled(summed_twin(jw2v.tiled_softmax_value_and_grad)),
    tiled_softmax_in_numpy, (0, 2, 3),
    lambda rng: [normal(rng, B, D), ids(rng, B), normal(rng, V, D), normal(rng, V), mask(B)],
  ),
  'tiled_log_normalizer': Case(
    summed(functools.partial(jw2v.tiled_log_normalizer, tile=3)), None,
    lambda vectors, table: np.sum(np.log(np.exp(vectors @ table.T).sum(axis=1))), (0, 1),
    lambda rng: [normal(rng, B, D), normal(rng, V, D)],
  ),
  'cross_entropy': Case(
    jw2v.cross_entropy_loss, cross_entropy_twin, cross_entropy_in_numpy, (0,),
    lambda rng: [normal(rng, L), rng.dirichlet(np.ones(L))],
  ),
  'two_layer': public(
    'two_layer', two_layer_in_numpy, (0, 1),
    lambda rng: [layers(rng), normal(rng, D), rng.dirichlet(np.ones(8))],
  ),
}  # fmt: skip


def low_first(args):
  """Returns the arguments with the first array in bfloat16 and all others in float32."""
  leaves, structure = jax.tree.flatten(args)
  return jax.tree.unflatten(structure, [cast(leaves[0], LOW), *cast(leaves[1:], np.float32)])


DTYPES = {
  'float32': lambda args: cast(args, np.float32),
  'bfloat16': lambda args: cast(args, LOW),
  'mixed': low_first,
  'float64': lambda args: cast(args, np.float64),
}


def examples(case, dtype, count=2):
  return [DTYPES[dtype](CASES[case].make(np.random.default_rng(seed))) for seed in range(count)]


# --- Expected results: derivatives of the NumPy reference by differences ---


class Right(NamedTuple):
  value: Any
  grads: Any  # one leaf for each array that is differentiated
  along: Any  # the derivative along `direction`
  curvature: Any  # the second derivative along it


def differentiated(case, args):
  return [args[i] for i in CASES[case].argnums]


def direction(vectors):
  """Returns a unit vector as a tree like the arguments."""
  rng = np.random.default_rng(9)
  arrays = [rng.normal(size=np.shape(x)) for x in jax.tree.leaves(vectors)]
  norm = np.sqrt(sum(np.sum(x**2) for x in arrays))
  return jax.tree.unflatten(jax.tree.structure(vectors), [x / norm for x in arrays])


@functools.cache
def right(case, dtype, example):
  """Returns the loss and derivatives of one example in float64, without JAX transformations."""
  args = cast(examples(case, dtype, example + 1)[example], np.float64)
  leaves, structure = jax.tree.flatten(differentiated(case, args))

  def at(arrays):
    full = list(args)
    moved = jax.tree.unflatten(structure, arrays)
    for i, value in zip(CASES[case].argnums, moved, strict=True):
      full[i] = value
    return float(CASES[case].reference(*full))

  def by(i, place, step=1e-5):
    either = []
    for sign in (1, -1):
      arrays = [np.array(x) for x in leaves]
      arrays[i][place] += sign * step
      either.append(at(arrays))
    return (either[0] - either[1]) / (2 * step)

  grads = [np.zeros(np.shape(x)) for x in leaves]
  for i, grad in enumerate(grads):
    for place in np.ndindex(grad.shape):
      grad[place] = by(i, place)
  along = jax.tree.leaves(direction(leaves))
  # Five points: the error is of the fourth order in the step.
  line = [at([x + t * d for x, d in zip(leaves, along, strict=True)]) for t in STEPS]
  curvature = (-line[0] + 16 * line[1] - 30 * line[2] + 16 * line[3] - line[4]) / (
    12 * STEPS[3] ** 2
  )
  slope = sum(np.sum(g * d) for g, d in zip(grads, along, strict=True))
  return Right(at(leaves), grads, slope, curvature)


STEPS = 3e-3 * np.arange(-2, 3)


# --- The transformations: each returns some of Right, of one example or stacked ---


def split(case, args):
  """Returns the differentiated arguments, and the loss and the twin as functions of them."""
  vectors = differentiated(case, args)

  def with_all(function):
    def run(*moved):
      full = list(args)
      for i, value in zip(CASES[case].argnums, moved, strict=True):
        full[i] = value
      return function(*full)

    return run

  return vectors, with_all(CASES[case].loss), with_all(CASES[case].twin or (lambda *_: None))


def value_and_both_gradients(case, args):
  """Returns two results: the loss with its autodiff, and the twin."""
  vectors, loss, twin = split(case, args)
  argnums = tuple(range(len(vectors)))
  autodiff = jax.value_and_grad(loss, argnums)(*vectors)
  both = [autodiff] if CASES[case].twin is None else [autodiff, twin(*vectors)]
  return [{'value': value, 'grads': grads} for value, grads in both]


def values(case, args):
  _, loss, twin = split(case, args)
  vectors = differentiated(case, args)
  both = [{'value': loss(*vectors)}]
  if CASES[case].twin is not None:
    value, grads = twin(*vectors)
    both.append({'value': value, 'grads': grads})
  return both


def grad(case, args):
  vectors, loss, _ = split(case, args)
  return [{'grads': jax.grad(loss, tuple(range(len(vectors))))(*vectors)}]


def tangents(vectors):
  return jax.tree.map(lambda d, x: jnp.asarray(d, x.dtype), direction(vectors), vectors)


def jvp(case, args):
  vectors, loss, _ = split(case, args)
  value, along = jax.jvp(loss, tuple(vectors), tuple(tangents(vectors)))
  return [{'value': value, 'along': along}]


def hessian(case, args):
  vectors, loss, _ = split(case, args)
  # Uses a flat vector in a dtype that holds all arrays; the loss gets its own dtypes back.
  wide = jnp.float64 if jax.config.jax_enable_x64 else jnp.float32
  flat, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda x: x.astype(wide), vectors))

  def of_flat(x):
    return loss(*jax.tree.map(lambda a, b: a.astype(b.dtype), unravel(x), vectors))

  along, _ = jax.flatten_util.ravel_pytree(
    tangents(jax.tree.map(lambda x: x.astype(wide), vectors))
  )
  matrix = jax.hessian(of_flat)(flat).astype(wide)
  return [{'curvature': along @ matrix @ along}]


def checkpoint(case, args):
  vectors, loss, _ = split(case, args)
  return [{'grads': jax.grad(jax.checkpoint(loss), tuple(range(len(vectors))))(*vectors)}]


def batched(function, case, args):
  return jax.vmap(lambda args: function(case, args))(args)


def in_shard_map(mesh):
  def run(case, args):
    """Places one example of the batch on each device."""
    mapped = jax.shard_map(
      functools.partial(batched, value_and_both_gradients, case),
      mesh=mesh, in_specs=PartitionSpec('x'), out_specs=PartitionSpec('x'),
    )  # fmt: skip
    return mapped(args)

  return run


class Transform(NamedTuple):
  run: Callable[..., Any]  # (case, args) -> list of dicts
  batch: bool = False  # of two examples
  axis_type: AxisType | None = None  # on a mesh of two devices
  spec: Callable[[Any], PartitionSpec] = lambda x: PartitionSpec()


def batch_spec(x):
  return PartitionSpec('x', *[None] * (np.ndim(x) - 1))


def rows_spec(x):
  """Shards the rows of every matrix."""
  return PartitionSpec('x', None) if np.ndim(x) == 2 else PartitionSpec()


def width_spec(x):
  """Shards the last axis of every array of width D."""
  return (
    PartitionSpec(*[None] * (np.ndim(x) - 1), 'x') if np.shape(x)[-1:] == (D,) else PartitionSpec()
  )


def mesh_of(axis_type):
  return jax.make_mesh((2,), ('x',), axis_types=(axis_type,))


batch_of_both = functools.partial(batched, value_and_both_gradients)
TRANSFORMS = {
  'jit': Transform(values),
  'vmap': Transform(functools.partial(batched, values), batch=True),
  'grad': Transform(grad),
  'jvp': Transform(jvp),
  'hessian': Transform(hessian),
  'checkpoint': Transform(checkpoint),
  'shard_map, automatic mesh': Transform(
    lambda case, args: in_shard_map(mesh_of(AxisType.Auto))(case, args),
    batch=True, axis_type=AxisType.Auto, spec=batch_spec,
  ),
  'shard_map, explicit mesh': Transform(
    lambda case, args: in_shard_map(mesh_of(AxisType.Explicit))(case, args),
    batch=True, axis_type=AxisType.Explicit, spec=batch_spec,
  ),
  'explicit mesh, batch': Transform(
    batch_of_both, batch=True, axis_type=AxisType.Explicit, spec=batch_spec
  ),
  'explicit mesh, rows': Transform(
    value_and_both_gradients, axis_type=AxisType.Explicit, spec=rows_spec
  ),
  'explicit mesh, width': Transform(
    value_and_both_gradients, axis_type=AxisType.Explicit, spec=width_spec
  ),
  'automatic mesh, width': Transform(
    value_and_both_gradients, axis_type=AxisType.Auto, spec=width_spec
  ),
  'export': Transform(values),
}  # fmt: skip

# Cells that are not supported, with their errors.
CANNOT: dict[tuple[str, str], str] = {}


def program(dtype, transform):
  """Runs all cells of a dtype and a transformation; returns a result or an exception by case."""
  with (
    jax.enable_x64(dtype == 'float64'),
    jax.numpy_dtype_promotion('strict'),
  ):
    how = TRANSFORMS[transform]
    arguments = {case: examples(case, dtype) for case in CASES}
    if how.batch:
      arguments = {case: jax.tree.map(lambda *x: np.stack(x), *x) for case, x in arguments.items()}
    else:
      arguments = {case: x[0] for case, x in arguments.items()}
    if how.axis_type is None:
      return _compiled(transform, how.run, arguments)
    mesh = mesh_of(how.axis_type)
    with jax.set_mesh(mesh):
      put = lambda x: jax.device_put(x, NamedSharding(mesh, how.spec(x)))
      return _compiled(transform, how.run, jax.tree.map(put, arguments))


def _compiled(transform, run, arguments):
  failed = {}

  def all_cells(arguments):
    results = {}
    for case, args in arguments.items():
      try:
        results[case] = run(case, args)
      except Exception as error:
        failed[case] = error
    return results

  function = jax.jit(all_cells)
  if transform == 'export':
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), arguments)
    function = jax.export.export(function)(shapes).call
  return jax.tree.map(np.asarray, function(arguments)) | failed


def programs():
  """Yields all programs with the mark of their tier; the whole matrix takes 15 minutes."""
  fast = 'shard_map, explicit mesh', 'explicit mesh, width'
  slow = {
    'float32': (
      'grad',
      'hessian',
      'checkpoint',
      'explicit mesh, batch',
      'explicit mesh, rows',
      'export',
    ),
    'bfloat16': ('grad',),
    'mixed': ('jvp',),
    'float64': ('vmap',),
  }
  for transform in TRANSFORMS:
    for dtype in DTYPES:
      mark = pytest.mark.slow if transform in slow[dtype] else pytest.mark.release
      marks = () if dtype == 'float32' and transform in fast else mark
      yield pytest.param(dtype, transform, id=f'{transform}-{dtype}', marks=marks)


def tolerance(dtype, name):
  eps = {'bfloat16': 2.0**-8, 'mixed': 2.0**-8, 'float32': 2.0**-22, 'float64': 2.0**-40}[dtype]
  return max(8 * eps, 1e-6) if name == 'curvature' else max(4 * eps, 1e-8)


@pytest.mark.parametrize(('dtype', 'transform'), list(programs()))
def test_matches_numpy(dtype, transform):
  wrong = {}
  for case, result in program(dtype, transform).items():
    try:
      assert_cell(case, dtype, transform, result)
    except Exception as error:
      wrong[case] = error
  assert not wrong


def assert_cell(case, dtype, transform, result):
  if (case, transform) in CANNOT:
    assert isinstance(result, Exception)
    assert re.search(CANNOT[case, transform], str(result))
    return
  if isinstance(result, Exception):
    raise result
  how = TRANSFORMS[transform]
  for part in result:
    for name, got in part.items():
      wanted = [getattr(right(case, dtype, i), name) for i in range(2 if how.batch else 1)]
      wanted = jax.tree.map(lambda *x: np.stack(x), *wanted) if how.batch else wanted[0]
      got, wanted = cast(jax.tree.leaves(got), np.float64), jax.tree.leaves(wanted)
      for a, b in zip(got, wanted, strict=True):
        assert np.shape(a) == np.shape(b)
        atol = tolerance(dtype, name) * max(1, np.abs(b).max(initial=0))
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(('of_loss', 'dtype'), [(c, d) for c in CASES for d in DTYPES])
def test_dtypes(of_loss, dtype):
  """Returns losses in the dtype of the arguments, or float32 for a whole batch."""
  with jax.enable_x64(dtype == 'float64'), jax.numpy_dtype_promotion('strict'):
    args = examples(of_loss, dtype, 1)[0]
    results = jax.eval_shape(lambda args: value_and_both_gradients(of_loss, args), args)
  floats = jax.tree.leaves(differentiated(of_loss, args))
  wide = of_loss.split(',')[0] in ('in_batch_softmax', 'tiled_softmax', 'tiled_log_normalizer')
  of_value = args if of_loss == 'cross_entropy' else floats
  common = functools.reduce(jnp.promote_types, [x.dtype for x in of_value], *[jnp.float32] * wide)
  for part in results:
    assert part['value'].dtype == common
    assert [x.dtype for x in jax.tree.leaves(part['grads'])] == [x.dtype for x in floats]


@pytest.mark.parametrize('spec', [PartitionSpec('x', None), PartitionSpec(None, 'x')], ids=str)
def test_on_a_mesh_a_loss_is_sharded_as_its_batch_and_a_gradient_as_its_argument(spec):
  mesh = mesh_of(AxisType.Explicit)
  sharded = lambda *shape: jax.ShapeDtypeStruct(
    shape, np.float32, sharding=NamedSharding(mesh, spec)
  )
  queries, table = sharded(B, D), sharded(V, D)
  with jax.set_mesh(mesh):
    labels = np.arange(B)
    of_table = lambda v, u: jw2v.tiled_softmax_value_and_grad(v, labels, u)
    for losses, grads in (
      jax.eval_shape(jw2v.in_batch_softmax_value_and_grad, queries, queries),
      jax.eval_shape(of_table, queries, table),
    ):
      assert losses.sharding.spec == PartitionSpec(spec[0])
      assert all(x.sharding.spec == spec for x in grads[:2])


def test_every_loss_is_in_the_matrix():
  names = {name for name in jw2v.__all__ if name.endswith(('_loss', '_from_scores'))}
  assert names <= {
    case if case.endswith('_scores') else f'{case.split(",")[0]}_loss' for case in CASES
  }


# --- Export, with symbolic shapes and as bytes ---


def exported(function, *args):
  """Exports the function to bytes and reads it again; needs the extra `test`."""
  pytest.importorskip('flatbuffers')
  return jax.export.deserialize(jax.export.export(jax.jit(function))(*args).serialize()).call


@pytest.mark.slow
@pytest.mark.parametrize('of_loss', CASES)
def test_an_exported_twin_returns_its_namedtuple(of_loss):
  """Preserves the named tuples of params and grads through export to bytes."""
  case, args = CASES[of_loss], examples(of_loss, 'float32', 1)[0]
  function = case.loss if case.twin is None else case.twin
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), args)
  got, want = exported(function, *shapes)(*args), jax.jit(function)(*args)
  assert jax.tree.structure(got) == jax.tree.structure(want)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), got, want)


@pytest.mark.slow
@pytest.mark.parametrize('of_loss', [case for case, x in CASES.items() if x.twin is not None])
def test_a_batch_of_any_size_is_exported(of_loss):
  """Runs one exported function under vmap for batches of 2 and of 3."""
  case = CASES[of_loss]
  (size,) = jax.export.symbolic_shape('M')
  args = examples(of_loss, 'float32', 1)[0]
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((size, *np.shape(x)), x.dtype), args)
  both = lambda *a: (case.loss(*a), jax.tree.leaves(case.twin(*a)))
  call = jax.export.export(jax.jit(jax.vmap(both)))(*shapes).call
  for count in (2, 3):
    many = examples(of_loss, 'float32', count)
    losses, twin = call(*jax.tree.map(lambda *x: np.stack(x), *many))
    want = [right(of_loss, 'float32', i).value for i in range(count)]
    np.testing.assert_allclose(losses, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(twin[0], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ('symbolic', 'tile'),
  tiers.fast(
    [('M', 3), ('M, V', None)], [(s, tile) for s in ('M', 'V', 'M, V') for tile in (None, 3)]
  ),
)
def test_the_tiled_softmax_is_exported_for_any_size(symbolic, tile):
  """Exports any number of vectors, or of classes, which then form one tile."""
  sizes = dict(zip(symbolic.split(', '), jax.export.symbolic_shape(symbolic), strict=True))
  num_vectors, num_rows = sizes.get('M', B), sizes.get('V', V)
  of = lambda dtype, *shape: jax.ShapeDtypeStruct(shape, dtype)
  shapes = of('float32', num_vectors, D), of('int32', num_vectors), of('float32', num_rows, D)

  def everything(*args):
    total = lambda v, i, u: jnp.sum(jw2v.tiled_softmax_loss(v, i, u, tile=tile))
    twin = jw2v.tiled_softmax_value_and_grad(*args, tile=tile)
    return twin[0], list(twin[1][:2]), list(jax.grad(total, (0, 2))(*args))

  call = jax.export.export(jax.jit(everything))(*shapes).call
  rng = np.random.default_rng(0)
  args = [
    normal(rng, B if 'M' not in sizes else 3, D),
    normal(rng, V if 'V' not in sizes else 5, D),
  ]
  vectors, table = cast(args, np.float32)
  labels = np.arange(len(vectors), dtype=np.int32)
  losses, twin, autodiff = call(vectors, labels, table)
  mass = np.exp(vectors @ table.T)
  want = np.log(mass.sum(axis=1) / mass[labels, labels])
  np.testing.assert_allclose(losses, want, rtol=1e-5)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), twin, autodiff)


@pytest.mark.parametrize('of_loss', ['naive_softmax', 'skip_gram, sampled', 'cbow, softmax'])
def test_a_vocabulary_of_any_size_is_exported(of_loss):
  case, args = CASES[of_loss], examples(of_loss, 'float32', 1)[0]
  (num_rows,) = jax.export.symbolic_shape('V')
  shape = lambda x: [num_rows if n == V else n for n in np.shape(x)]
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(shape(x), x.dtype), args)
  call = jax.export.export(jax.jit(lambda *a: (case.loss(*a), case.twin(*a)[0])))(*shapes).call
  np.testing.assert_allclose(call(*args), right(of_loss, 'float32', 0).value, rtol=1e-5)
