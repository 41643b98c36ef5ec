"""Checks of hand-written gradients: passing twins, failing twins, and error messages."""

import doctest
import functools
import inspect
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layout import ROOT

import jw2v
from jw2v import testing
from jw2v.testing import check_value_and_grad, explain_gradient, misprints

V, D, K, C, L, M = 7, 4, 3, 5, 6, 5


def pair(seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=D), rng.normal(size=D), rng.normal(size=(K, D))


def tables(seed=1):
  rng = np.random.default_rng(seed)
  return jw2v.Word2VecParams(rng.normal(size=(V, D)), rng.normal(size=(V, D)))


def twin_with(**changes):
  """Returns the twin of negative sampling with single gradients changed."""

  def twin(center, outside, negatives):
    value, grads = jw2v.negative_sampling_value_and_grad(center, outside, negatives)
    return value, grads._replace(**{k: change(getattr(grads, k)) for k, change in changes.items()})

  return twin


def check(twin, *args, checks=('gradient',), loss=jw2v.negative_sampling_loss, **kwargs):
  check_value_and_grad(loss, twin, *(args or pair()), checks=checks, **kwargs)


def fails(message):
  return pytest.raises(AssertionError, match=f'^{re.escape(message)}')


class Grads(NamedTuple):
  x: jax.Array
  y: jax.Array


class Reversed(NamedTuple):
  y: jax.Array
  x: jax.Array


def distance(x, y):
  return jnp.sum(jnp.logaddexp(x - y, y - x))


def distance_twin(x, y):
  return distance(x, y), Grads(jnp.tanh(x - y), -jnp.tanh(x - y))


X, Y = np.array([0.5, -1.0, 0.25]), np.array([2.0, 0.75, -0.5])


def per_example(vectors, ids, table):
  return jax.nn.logsumexp(vectors @ table.T, axis=1) - jnp.sum(vectors * table[ids], axis=1)


def per_example_twin(vectors, ids, table):
  delta = jax.nn.softmax(vectors @ table.T) - jax.nn.one_hot(ids, len(table), dtype=table.dtype)
  return per_example(vectors, ids, table), (delta @ table, delta.T @ vectors)


class TestRightTwins:
  @pytest.mark.parametrize('dtype', [np.float32, np.float64])
  def test_every_check_in_float64_whatever_the_settings(self, dtype):
    """Computes in float64, which these tolerances require, and restores the setting."""
    args = [x.astype(dtype) for x in pair()]
    check(jw2v.negative_sampling_value_and_grad, *args, checks=testing.CHECKS, rtol=1e-13)
    assert jnp.zeros(1).dtype == jnp.float32

  def test_under_strict_promotion_of_dtypes_and_ranks(self):
    with jax.numpy_dtype_promotion('strict'), jax.numpy_rank_promotion('raise'):
      check(distance_twin, X, Y, loss=distance, checks=testing.CHECKS)

  def test_losses_per_example(self):
    """Compares the gradient with the gradient of the summed losses."""
    rng = np.random.default_rng(0)
    args = rng.normal(size=(M, D)), rng.integers(V, size=M), rng.normal(size=(V, D))
    check(per_example_twin, *args, loss=per_example, checks=testing.CHECKS)
    check(per_example_twin, *args, loss=functools.partial(jw2v.tiled_softmax_loss, tile=3))
    value_of_the_sum = lambda *a: (jnp.sum(per_example(*a)), per_example_twin(*a)[1])
    with fails(f'value must have the shape [{M}], got []'):
      check(value_of_the_sum, *args, loss=per_example, checks=('value',))

  @pytest.mark.parametrize(
    'form',
    [
      tuple,
      list,
      Grads._asdict,
      lambda g: Grads(*g),
      lambda g: Reversed(g.y, g.x),
      lambda g: dict(reversed(g._asdict().items())),
    ],
    ids=['tuple', 'list', 'dict', 'named', 'named in another order', 'dict in another order'],
  )
  def test_forms_of_the_gradient(self, form):
    check(lambda x, y: (distance(x, y), form(distance_twin(x, y)[1])), X, Y, loss=distance)

  def test_order_of_a_tuple_is_that_of_the_arguments_not_of_the_alphabet(self):
    loss = lambda y, x: distance(y, 2 * x)
    twin = lambda y, x: (loss(y, x), (jnp.tanh(y - 2 * x), -2 * jnp.tanh(y - 2 * x)))
    check(twin, X, Y, loss=loss, checks=testing.CHECKS)

  def test_one_argument(self):
    first = lambda form: lambda x, y: (distance(x, y), form(distance_twin(x, y)[1].x))
    for form in (lambda g: g, lambda g: (g,), lambda g: {'x': g}):
      check(first(form), X, Y, loss=distance, argnums=0)
      check(first(form), X, Y, loss=distance, argnums=('x',))
      check(first(form), X, y=Y, loss=distance, argnums=0, checks=('gradient', 'vmap'))

  def test_pytrees_and_keyword_arrays(self):
    kwargs = {'negative_ids': np.array([4, 1, 1]), 'mask': np.array([True, False, True])}
    kwargs |= {'negative_weights': np.array([0.5, 1, 2], np.float32), 'combine': 'sum'}
    check(
      jw2v.cbow_value_and_grad, tables(), np.array([5, -1, 5]), 2, loss=jw2v.cbow_loss,
      checks=testing.CHECKS, **kwargs,
    )  # fmt: skip

  def test_options_that_are_none_and_arrays_without_elements(self):
    v, u, n = pair()
    twin = jw2v.negative_sampling_value_and_grad
    check(twin, v, u, n[:0], weights=None, checks=testing.CHECKS)

  def test_what_is_not_floating_is_passed_on_as_it_is(self):
    seen = []

    def loss(x, ids, flag, *, key, power, mode):
      seen.append((str(ids.dtype), str(flag.dtype), str(key.dtype), power, mode))
      return jnp.sum(jnp.where(flag, x[ids], 0) ** power)

    def twin(x, ids, flag, **kwargs):
      rows = jnp.where(flag, 2 * x[ids], 0)
      return loss(x, ids, flag, **kwargs), jnp.zeros_like(x).at[ids].add(rows)

    ids, flag = np.array([0, 2, 2], np.int8), np.array([True, False, True])
    kwargs = {'key': jax.random.key(0), 'power': 2, 'mode': 'any'}
    check(twin, X, ids, flag, loss=loss, checks=testing.CHECKS, **kwargs)
    assert set(seen) == {('int8', 'bool', 'key<fry>', 2, 'any')}

  def test_infinite_values_are_equal_to_themselves(self):
    loss = lambda x: jnp.sum(jnp.where(x > 0, x, jnp.inf))
    twin = lambda x: (loss(x), jnp.where(x > 0, 1.0, 0.0).astype(x.dtype))
    check(twin, X, loss=loss, checks=('value', 'gradient'))
    mixed = lambda x: jnp.stack([jnp.inf * x[0], x[1], x[2]])
    twin = lambda x: (mixed(x).at[2].add(3), jnp.ones_like(x))
    finite = lambda x: (mixed(x).at[0].set(3), jnp.ones_like(x))
    with fails('value must equal the loss: element [0] is 3, want inf'):
      check(finite, X, loss=mixed, checks=('value',))
    with fails('value must equal the loss: element [2] is 3.25, want 0.25 (1 of 3 elements differ'):
      check(twin, X, loss=mixed, checks=('value',))


class TestWrongTwins:
  def test_value(self):
    with fails('value must equal the loss: is 2, want 1'):
      check(lambda x: (2 * x, x), np.float64(1), loss=lambda x: x, checks=('value',))
    with fails('value must have the dtype float64, got float32'):
      twin = lambda x: (x.astype(jnp.float32), jnp.ones_like(x))
      check(twin, np.float64(1), loss=lambda x: x, checks=('value',))

  def test_element(self):
    """Reports the element, both values, the number of differences and the largest one."""
    loss = lambda negatives: -0.5 * jnp.sum(negatives)
    wrong = np.full((3, 4), -0.5)
    wrong[2, 0], wrong[0, 1], wrong[1, 3] = 0.5, -0.25, -0.75
    message = (
      "gradient to 'negatives' must equal autodiff: element [2, 0] is 0.5, want -0.5 "
      '(3 of 12 elements differ, at most by 1)'
    )
    with fails(message) as error:
      check(lambda x: (loss(x), jnp.asarray(wrong)), np.ones((3, 4)), loss=loss)
    assert str(error.value) == message

  def test_tolerances(self):
    nearly = twin_with(center=lambda g: g * (1 + 1e-6))
    check(nearly, rtol=1e-5)
    check(nearly, atol=1e-5)
    with pytest.raises(AssertionError, match=r"^gradient to 'center' .* times the right one$"):
      check(nearly)
    steep = lambda x: (jnp.sum(1e4 * x), jnp.full_like(x, 1e4 + 0.1))
    check(steep, X, loss=lambda x: steep(x)[0], rtol=2e-5)
    flat = lambda x: (jnp.sum(1e-4 * x), jnp.full_like(x, 1.1e-4))
    with fails("gradient to 'x' must equal autodiff: element [0] is 0.00011, want 0.0001 "):
      check(flat, X, loss=lambda x: flat(x)[0], rtol=2e-5)

  @pytest.mark.parametrize(
    ('factor', 'text'), [(-1, '-1'), (2, '2'), (1 / 3, '1/3'), (0.37, '0.37')]
  )
  def test_one_factor(self, factor, text):
    with pytest.raises(AssertionError, match=f'; got is {text} times the right one$'):
      check(twin_with(negatives=lambda g: factor * g))

  def test_gradient_of_another_argument(self):
    def exchanged(*args):
      value, (center, outside, negatives) = jw2v.negative_sampling_value_and_grad(*args)
      return value, (outside, center, negatives)

    with pytest.raises(AssertionError, match=r"'center' must.*; got is the gradient to 'outside'$"):
      check(exchanged)
    last_first = lambda *a: (exchanged(*a)[0], exchanged(*a)[1][::-1])
    message = "gradient to 'center' must have the shape [4], got [3, 4]"
    with fails(f"{message}; got is the gradient to 'negatives'"):
      check(last_first)
    for name in testing.CHECKS:
      with fails(message):
        check(last_first, checks=[name])

  def test_missing_and_additional_fields(self):
    twin = jw2v.naive_softmax_value_and_grad
    message = (
      'gradient must have the fields x, outside_vectors, got center, outside_vectors: '
      "'x' is missing; choose the arguments to differentiate with argnums"
    )
    loss = lambda x, outside_id, outside_vectors: twin(x, outside_id, outside_vectors)[0]
    with fails(message):
      check(twin, pair()[0], 1, tables().outside, loss=loss)
    with fails("gradient must have the fields x, got x, y: 'y' is not differentiated"):
      check(distance_twin, X, Y, loss=distance, argnums='x')
    with fails("gradient must have an entry for each of 'x', 'y', got 1 entries"):
      check(lambda x, y: (distance(x, y), (x,)), X, Y, loss=distance)
    with fails("gradient must have an entry for each of 'x', 'y', got float64[3]"):
      check(lambda x, y: (distance(x, y), x), X, Y, loss=distance)

  def test_structure_of_a_pytree(self):
    loss = lambda params: jnp.sum(params['a'] * params['b'])
    params = {'a': X, 'b': Y}
    right = lambda p: {'a': p['b'], 'b': p['a']}
    check(lambda p: (loss(p), right(p)), params, loss=loss)
    message = "gradient to 'params' must have the structure of the argument: 'params.b' is missing"
    with fails(message):
      check(lambda p: (loss(p), {'a': p['b']}), params, loss=loss)
    with fails("gradient to 'params' must have the structure of the argument, got also 'params.c'"):
      check(lambda p: (loss(p), right(p) | {'c': p['a']}), params, loss=loss)
    with fails("gradient to 'params.b' must equal autodiff: element [1] is 0.75, want -1 "):
      check(lambda p: (loss(p), {'a': p['b'], 'b': p['b']}), params, loss=loss)

  def test_dtype(self):
    with fails("gradient to 'outside' must have the dtype float64, got float32"):
      check(twin_with(outside=lambda g: g.astype(jnp.float32)), rtol=1e-5)
    with fails(
      "gradient to 'outside' on bfloat16 arguments must have the dtype bfloat16, got float"
    ):
      check(twin_with(outside=lambda g: g.astype(jnp.promote_types(g, jnp.float32))),
            checks=['bfloat16'])  # fmt: skip

  def test_nan_is_not_equal_to_nan(self):
    loss = lambda x: jnp.sum(jnp.sqrt(x))
    twin = lambda x: (loss(x), 0.5 / jnp.sqrt(x))
    with fails("gradient to 'x' must equal autodiff, which is nan at [1]; choose other arguments"):
      check(twin, np.array([1.0, -1.0]), loss=loss)
    zero = lambda x: (loss(x), 0 * x + 0.5)
    with fails("gradient to 'x' must equal autodiff, which is nan at [1]"):
      check(zero, np.array([1.0, -1.0]), loss=loss)
    lost = lambda x: (loss(x), jnp.where(x > 1, 0.5 / jnp.sqrt(x), jnp.nan))
    with fails("gradient to 'x' must equal autodiff: element [0] is nan, want 0.5"):
      check(lost, np.array([1.0, 4.0]), loss=loss)

  def test_forward_mode(self):
    @jax.custom_jvp
    def loss(x):
      return jnp.sum(x * x)

    loss.defjvp(lambda x, dx: (loss(*x), 3 * jnp.sum(x[0] * dx[0])))
    twin = lambda x: (loss(x), 2 * x)
    message = 'jax.jvp of the loss must equal the gradient times a random direction: is '
    with fails(message) as error:
      check(twin, X, loss=loss, checks=('forward',))
    assert str(error.value).endswith('; got is 1.5 times the right one')

  def test_an_error_of_the_loss_names_the_check(self):
    @jax.custom_vjp
    def loss(x):
      return jnp.sum(x * x)

    loss.defvjp(lambda x: (loss(x), x), lambda x, d: (2 * d * x,))
    twin = lambda x: (loss(x), 2 * x)
    check(twin, X, loss=loss, checks=('value', 'gradient', 'vmap'))
    with pytest.raises(TypeError, match='forward-mode') as error:
      check(twin, X, loss=loss, checks=('forward',))
    note = "raised in the check 'forward'; the option checks= selects the checks"
    assert error.value.__notes__[-1] == note

  @pytest.mark.parametrize('where', ['loss', 'value', 'gradient'])
  def test_vmap(self, where):
    """Detects a wrong batching rule of any of the three results."""

    @jax.custom_batching.custom_vmap
    def same(x):
      return x

    same.def_vmap(lambda size, batched, x: (x[::-1], True))
    change = lambda name, x: same(x) if name == where else x
    loss = jax.custom_jvp(lambda x: change('loss', jnp.sum(x * x)))
    loss.defjvp(lambda x, dx: (jnp.sum(x[0] ** 2), jnp.sum(2 * x[0] * dx[0])))
    twin = lambda x: (change('value', jnp.sum(x * x)), change('gradient', 2 * x))
    what = "gradient to 'x'" if where == 'gradient' else where
    with fails(f'{what} must equal a loop under jax.vmap: element [0'):
      check(twin, X, loss=loss, checks=('vmap',))

  def test_saturated_scores(self):
    """Detects forms that are right on paper but overflow."""
    loss = lambda center, outside: jax.nn.softplus(center @ outside)
    right = lambda v, u: (jax.nn.sigmoid(v @ u) * u, jax.nn.sigmoid(v @ u) * v)
    check(lambda v, u: (loss(v, u), right(v, u)), X, Y, loss=loss, checks=testing.CHECKS)
    naive = lambda v, u: (jnp.log(1 + jnp.exp(v @ u)), right(v, u))
    naive_s = lambda v, u: jnp.exp(v @ u) / (1 + jnp.exp(v @ u))
    naive_grad = lambda v, u: (loss(v, u), (naive_s(v, u) * u, jax.nn.sigmoid(v @ u) * v))
    check(naive, X, Y, loss=loss, checks=testing.CHECKS[:4])
    with fails("value must be finite where 'center' is about 1e4, got inf"):
      check(naive, X, Y, loss=loss, checks=('saturated',))
    with fails("gradient to 'center' must be finite where 'center' is about 1e4, got nan at"):
      check(naive_grad, X, Y, loss=loss, checks=('saturated',))
    clipped = lambda v, u: (jnp.minimum(loss(v, u), 50), right(v, u))
    with fails("value must equal the loss where 'center' is about 1e4: is 50, want "):
      check(clipped, X, Y, loss=loss, checks=('saturated',))
    shrunk = lambda v, u: (loss(v, u), (jnp.clip(right(v, u)[0], -1, 1), right(v, u)[1]))
    with fails(
      "gradient to 'center' must equal autodiff where 'outside' is about 1e4: element [0] is 1,"
    ):
      check(shrunk, X, Y, loss=loss, checks=('saturated',))

  def test_bfloat16(self):
    """Detects a cancellation that float64 does not show."""
    detour = lambda g: (g + 512) - 512
    check(twin_with(outside=detour), checks=('value', 'gradient'))
    message = "gradient to 'outside' must agree with float64 on bfloat16 arguments: element ["
    with fails(message):
      check(twin_with(outside=detour), checks=('bfloat16',))

    loss = lambda x: jnp.sum((64 * (x - 1)) ** 2)  # for x = 1.003, which is 1 in bfloat16
    twin = lambda x: (loss(x), 2 * 64 * 64 * (x - 1) + 0.5)
    with fails("gradient to 'x' must agree with float64 on bfloat16 arguments: element [0] is 0.5"):
      check(twin, np.array([1.003]), loss=loss, checks=('bfloat16',))

    def value(*args):
      value, grads = jw2v.negative_sampling_value_and_grad(*args)
      return detour(value), grads

    with fails('value must agree with float64 on bfloat16 arguments: is '):
      check(value, checks=('bfloat16',))


class TestOptions:
  def test_results_that_are_not_a_pair(self):
    with fails('value_and_grad must return (value, gradient), got 3 results'):
      check(lambda x: (x, x, x), np.float64(1), loss=lambda x: x)
    with fails('value_and_grad must return (value, gradient), got float64[]'):
      check(lambda x: x, np.float64(1), loss=lambda x: x)

  def test_refused(self):
    with pytest.raises(ValueError, match=r"checks must be among value, .*, got 'hessian'"):
      check(distance_twin, X, Y, loss=distance, checks=['hessian'])
    for number in (2, 'z', -1):
      with pytest.raises(
        ValueError, match=rf'argnums must name arguments \(x, y\), got {number!r}'
      ):
        check(distance_twin, X, Y, loss=distance, argnums=number)
    with pytest.raises(ValueError, match='must have a floating array among its arguments'):
      check(distance_twin, 1.0, 2, loss=distance)

  def test_a_parameter_with_the_name_of_an_option(self):
    def loss(x, y, rtol=2.0):
      return rtol * distance(x, y)

    with pytest.raises(ValueError, match="must not have the parameter 'rtol', which is an option"):
      check(distance_twin, X, Y, loss=loss)
    check(distance_twin, X, Y, loss=functools.partial(loss, rtol=1.0))

  def test_names_of_arguments(self):
    names = testing._names
    assert names(distance, (1, 2)) == ['x', 'y']
    assert names(distance, (1,)) == ['x']
    assert names(lambda a, *rest, b=0: 0, (1, 2, 3)) == ['a', 'rest[0]', 'rest[1]']
    assert names(jax.jit(distance), (1, 2)) == ['x', 'y']
    assert names(jw2v.negative_sampling_loss, (1, 2, 3)) == ['center', 'outside', 'negatives']
    assert names(min, (1, 2)) == ['argument 0', 'argument 1']


def corrections():
  rng = np.random.default_rng(2)
  return {'log_expected_outside': rng.normal(), 'log_expected_negatives': rng.normal(size=K)}


def _examples():
  rng = np.random.default_rng(3)
  params, context, mask = tables(), np.array([5, 0, 5, 2, 6]), np.array([1, 0, 1, 1, 1], bool)
  negatives = np.concatenate([[[5, 0, 5]], rng.integers(V, size=(C - 1, K))])
  sizes = [(4, 3), (3,), (3, 5), (5,)], [(4, 3), (3,), (3, 3), (3,)]
  shapes = [(D,)], [(D,), (L, D)]
  normal = lambda *shapes: [rng.normal(size=shape) for shape in shapes]
  network = lambda sizes: jw2v.TwoLayerParams(*normal(*sizes))
  one_hot = np.eye(5)[1]
  path = [*normal(*shapes[1]), np.array([1, 0, 0, 1, 1, 0])]
  weights = {'weights': np.array([0.5, 2.0, 1.25])}
  weighted = {'negative_ids': negatives, 'negative_weights': rng.uniform(size=(C, K))}
  return {
    'sigmoid': ('sigmoid_derivative', normal((5,)), {}),
    'log sigmoid': ('log_sigmoid_derivative', normal((5,)), {}),
    'softmax': ('softmax_jacobian', normal((5,)), {}),
    'l2': ('l2_normalize_jacobian', normal((5,)), {}),
    'one-hot': ('cross_entropy_loss', [*normal((5,)), one_hot], {}),
    'soft': ('cross_entropy_loss', [*normal((5,)), rng.dirichlet(np.ones(5))], {}),
    'mass': ('cross_entropy_loss', [*normal((5,)), 1.5 * one_hot], {}),
    'naive': ('naive_softmax_loss', [pair()[0], 3, params.outside], {}),
    'sampling': ('negative_sampling_loss', pair(), {}),
    'sampling weighted': ('negative_sampling_loss', pair(), weights),
    'nce': ('nce_loss', pair(), corrections()),
    'nce weighted': ('nce_loss', pair(), corrections() | weights),
    'sampled': ('sampled_softmax_loss', pair(), corrections()),
    'path': ('hierarchical_softmax_loss', path, {}),
    'path masked': ('hierarchical_softmax_loss', path, {'mask': np.arange(L) < 4}),
    'skip-gram': ('skip_gram_loss', [params, 2, context], {}),
    'skip-gram masked': ('skip_gram_loss', [params, 2, context], {'mask': mask}),
    'skip-gram sampled': ('skip_gram_loss', [params, 2, context], weighted | {'mask': mask}),
    'cbow': ('cbow_loss', [params, context, 3], {'mask': mask}),
    'cbow sum': ('cbow_loss', [params, context, 3], {'combine': 'sum'}),
    'cbow sampled': ('cbow_loss', [params, context, 3], {'negative_ids': np.array([3, 1, 1])}),
    'network': ('two_layer_loss', [network(sizes[0]), *normal((4,)), rng.uniform(size=5)], {}),
    'square': ('two_layer_loss', [network(sizes[1]), *normal((4,)), np.eye(3)[1]], {}),
  }  # fmt: skip


EXAMPLES = _examples()
_evaluate = testing._evaluated  # which `known` replaces


@functools.cache
def evaluated(example):
  name, args, kwargs = EXAMPLES[example]
  return _evaluate(name, tuple(args), kwargs)


@pytest.fixture
def known(monkeypatch):
  """Evaluates each example once for all explanations of its gradients."""

  def explain(example, got, **options):
    name, args, kwargs = EXAMPLES[example]
    monkeypatch.setattr(testing, '_evaluated', lambda *_: evaluated(example))
    return explain_gradient(name, got, *args, **options, **kwargs)

  return explain


class TestMisprints:
  @pytest.mark.parametrize('example', EXAMPLES)
  def test_each_is_recognized(self, example, known):
    name, args, kwargs = EXAMPLES[example]
    right, _ = evaluated(example)
    found = misprints(name, *args, **kwargs)
    assert {x.argument for x in found} == set(right)
    for x in found:
      text = known(example, x.gradient, argument=x.argument)
      assert text == f'{x.argument}: {x.description}; {x.reference}'

  @pytest.mark.parametrize('example', EXAMPLES)
  def test_each_differs_from_the_right_gradient_and_from_the_others(self, example):
    right, found = evaluated(example)
    for i, x in enumerate(found):
      same = [y for y in found[:i] if y.argument == x.argument] + [right[x.argument]]
      for other in same:
        other = getattr(other, 'gradient', other)
        size = max(np.abs(other).max(), np.abs(x.gradient).max())
        assert np.shape(other) != x.gradient.shape or np.abs(other - x.gradient).max() > 1e-3 * size

  @pytest.mark.parametrize('example', EXAMPLES)
  def test_the_right_gradient_is_right_in_every_form(self, example, known):
    right, _ = evaluated(example)
    assert known(example, dict(right)) == 'right'
    assert known(example, tuple(right.values())) == 'right'
    for path, gradient in right.items():
      assert known(example, gradient, argument=path) == 'right'

  @pytest.mark.parametrize('name', ['nce_loss', 'sampled_softmax_loss', 'negative_sampling_loss',
                                    'hierarchical_softmax_loss'])  # fmt: skip
  def test_options_by_position(self, name):
    """Accepts options by position, as `jax.vmap` passes them."""
    rng = np.random.default_rng(0)
    v, u, n, log_u, log_n = (rng.normal(size=x) for x in (4, 4, (3, 4), (), 3))
    args = {
      'negative_sampling_loss': (v, u, n, np.abs(log_n)),
      'hierarchical_softmax_loss': (v, n, np.array([0, 1, 1]), np.array([True, True, False])),
    }.get(name, (v, u, n, log_u, log_n))
    loss = getattr(jw2v, name)
    derivative = getattr(jw2v, name.replace('_loss', '_value_and_grad'))
    by_name = dict(zip(inspect.signature(loss).parameters, args, strict=False))
    options = {x: by_name[x] for x in list(by_name)[2 if name.startswith('hier') else 3 :]}
    required = args[: len(args) - len(options)]
    _, grads = derivative(*args)
    assert explain_gradient(name, grads, *args) == 'right'
    assert len(misprints(name, *args)) == len(misprints(name, *required, **options)) > 4

  def test_references_are_to_the_page(self):
    page = (ROOT / 'docs' / 'derivations.md').read_text(encoding='utf-8')
    references = {x.reference for example in EXAMPLES for x in evaluated(example)[1]}
    assert len(references) > 20
    for reference in references - {'section G'}:
      assert re.search(rf'^### {reference} ', page, re.M), reference

  def test_values_of_the_textbook(self):
    """Compares two misprints with their formulas in NumPy."""
    v, u, n = pair()
    s = lambda x: 1 / (1 + np.exp(-x))
    found = {x[:3]: x.gradient for x in evaluated('sampling')[1]}
    text = 'the sigmoid lost its minus sign: (1 - s(u_k v)) v'
    np.testing.assert_allclose(found['negatives', 'D23', text], np.outer(1 - s(n @ v), v))
    text = 'u_o for v: (s(u_o v) - 1) u_o'
    np.testing.assert_allclose(found['outside', 'D22', text], (s(u @ v) - 1) * u)

  @pytest.mark.parametrize(
    ('example', 'description', 'other'),
    [
      ('naive', 'the letter o is read as zero: -u_0 + sum_w y_w u_w',
       lambda v, o, u: jw2v.naive_softmax_value_and_grad(v, 0, u)),
      ('naive', 'the label of word 0 for that of o: (y_hat - y_0) v^T',
       lambda v, o, u: jw2v.naive_softmax_value_and_grad(v, 0, u)),
      ('nce', 'the correction -log(K q) is missing',
       lambda *a, **k: jw2v.negative_sampling_value_and_grad(*a)),
      ('sampling weighted', 'the weights are missing',
       lambda *a, weights: jw2v.negative_sampling_value_and_grad(*a)),
      ('path', 'the branches are exchanged: s(u_l v) - code',
       lambda v, u, code: jw2v.hierarchical_softmax_value_and_grad(v, u, 1 - code)),
      ('path masked', 'the mask is missing',
       lambda *a, mask: jw2v.hierarchical_softmax_value_and_grad(*a)),
      ('skip-gram', 'the center word is counted in its own context',
       lambda p, c, ids: jw2v.skip_gram_value_and_grad(p, c, np.append(ids, c))),
      ('cbow', 'the sum of the context for its mean',
       lambda *a, **k: jw2v.cbow_value_and_grad(*a, combine='sum', **k)),
      ('cbow sum', 'the mean of the context for its sum',
       lambda *a, combine: jw2v.cbow_value_and_grad(*a)),
      ('cbow', 'the center word is counted in its own context',
       lambda p, ids, t, mask: jw2v.cbow_value_and_grad(p, np.append(ids, t), t,
                                                        mask=np.append(mask, True))),
      ('network', 'the labels count as if they summed to 1', None),
    ],
  )  # fmt: skip
  def test_the_right_gradient_of_another_loss(self, example, description, other):
    """Equals the gradient of the wrong loss's twin, for a misprint of the loss."""
    _, args, kwargs = EXAMPLES[example]
    found = {x.argument: x.gradient for x in evaluated(example)[1] if x.description == description}
    if other is None:
      y = jax.nn.softmax(jw2v.two_layer_logits(*args[:2]))
      np.testing.assert_allclose(found['params.b2'], y - args[2], rtol=1e-5)
      return
    with jax.enable_x64(True):
      want = testing._by_path({'params': other(*args, **kwargs)[1]})
    assert found
    for argument, gradient in found.items():
      path = argument if argument.startswith('params.') else f'params.{argument}'
      np.testing.assert_allclose(gradient, want[path], rtol=1e-9, atol=1e-12)

  def test_overwritten_rows_in_either_order(self):
    """Uses an outside word 5 that repeats and is also a negative of the first pair."""
    _, (params, c, context), kwargs = EXAMPLES['skip-gram sampled']
    keep = kwargs['mask']
    ids, noise = context[keep], kwargs['negative_ids'][keep]
    rows = [
      jw2v.negative_sampling_value_and_grad(
        params.center[c], params.outside[o], params.outside[k], weights=w
      )[1]
      for o, k, w in zip(ids, noise, kwargs['negative_weights'][keep], strict=True)
    ]
    apart = np.zeros((V, D))
    apart[ids] = [r.outside for r in rows]
    apart[noise.ravel()] = np.concatenate([r.negatives for r in rows])
    by_pair = np.zeros((V, D))
    for o, k, r in zip(ids, noise, rows, strict=True):
      by_pair[o] = r.outside
      by_pair[k] = r.negatives
    name, args, _ = EXAMPLES['skip-gram sampled']
    for wrong in (apart, by_pair):
      text = explain_gradient(name, wrong.astype(np.float32), *args, argument='outside', **kwargs)
      assert text.endswith('rows of repeated words overwrite instead of accumulating; D25')

  def test_a_window_masked_entirely_has_none(self):
    mask = {'mask': np.zeros(3, bool)}
    for name in ('skip_gram_loss', 'cbow_loss'):
      args = (tables(), 1, [1, 2, 3]) if name == 'skip_gram_loss' else (tables(), [1, 2, 3], 1)
      assert misprints(name, *args, **mask) == []
      assert explain_gradient(name, tables()._replace(center=np.zeros((V, D)),
                                                      outside=np.zeros((V, D))),
                              *args, **mask) == 'right'  # fmt: skip

  def test_saturated_scores_and_the_zero_vector_raise_no_warning(self):
    v, u, n = pair()
    misprints('negative_sampling_loss', 1e4 * v, u, n)
    misprints('naive_softmax_loss', 1e4 * v, 0, tables().outside)
    assert explain_gradient('l2_normalize_jacobian', np.zeros((2, 2)), np.zeros(2))[:5] == 'right'


class TestExplanation:
  def test_two_that_coincide_are_both_named(self):
    """Names both explanations at a score of 0, where s(x) = s(-x)."""
    v, u, n = np.array([1.0, 0, 0, 0]), np.array([0.5, 1, 2, 3]), np.eye(4)[1:]
    grads = jw2v.negative_sampling_value_and_grad(v, u, n)[1]
    text = explain_gradient('negative_sampling_loss', grads, v, u, n)
    center, outside, negatives = text.splitlines()
    assert negatives == (
      'negatives: right, but on this data the same as: '
      'the sigmoid lost its minus sign: (1 - s(u_k v)) v; D23'
    )
    assert center.startswith('center: right, but') and outside == 'outside: right'
    same = explain_gradient('negative_sampling_loss', -grads.negatives, v, u, n)
    assert 'both minus signs of the loss are lost' in same
    assert ', or, the same on this data, the form of the observed word' in same

  def test_each_argument_has_a_line(self, known):
    right, _ = evaluated('naive')
    got = {'outside_vectors': right['outside_vectors'], 'center': -right['center']}
    sign = 'the sign is flipped: -1 times the right gradient'
    assert known('naive', got) == f'center: {sign}\noutside_vectors: right'
    grads = jw2v.NaiveSoftmaxGrads(got['center'], got['outside_vectors'])
    assert known('naive', grads) == known('naive', got) == known('naive', tuple(grads))
    right, _ = evaluated('sampling')
    lines = known('sampling', {name: 3 * right[name] for name in ('negatives', 'outside')})
    assert [line.split(':')[0] for line in lines.splitlines()] == ['outside', 'negatives']

  @pytest.mark.parametrize(
    ('change', 'text'),
    [
      (lambda u: -u, 'the sign is flipped: -1 times the right gradient'),
      (lambda u: u.T, 'transposed'),
      (lambda u: 0 * u, 'zero everywhere'),
      (lambda u: 2 * u, '2 times the right gradient'),
      (lambda u: u / 7, '1/7 times the right gradient (7 is the length of axis 0 of an argument '
       '[7, 4])'),
      (lambda u: 0.37 * u, '0.37 times the right gradient'),
      (lambda u: u[:, :, None], 'right but for the shape [7, 4, 1], want [7, 4]'),
      (lambda u: u.sum(axis=1), 'summed over axis 1, which must not be summed'),
      (lambda u: u.mean(axis=1), 'averaged over axis 1, which must not be averaged'),
      (lambda u: u.sum(axis=1, keepdims=True) + 0 * u, 'every entry along axis 1 is the gradient '
       'summed over this axis'),
      (lambda u: u[:5, :3], 'has the shape [5, 3], want [7, 4]'),
      (lambda u: np.where(np.arange(7)[:, None] == 2, np.nan, u), 'not finite: nan at [2, 0]'),
    ],
  )  # fmt: skip
  def test_general_faults(self, known, change, text):
    right, _ = evaluated('naive')
    got = change(right['outside_vectors'])
    assert known('naive', got, argument='outside_vectors') == f'outside_vectors: {text}'

  def test_unknown_faults_name_the_largest_error(self, known):
    got = evaluated('naive')[0]['outside_vectors'].copy()
    got[5, 2] += 1
    got[1, 1] += 0.5
    text = 'outside_vectors: not a known misprint; the largest error: element [5, 2] is '
    assert known('naive', got).startswith(text)

  def test_gradient_of_another_argument(self, known):
    right, _ = evaluated('sampling')
    assert (
      known('sampling', right['outside'], argument='center') == 'center: the gradient to outside'
    )

  def test_misprints_with_another_sign_or_transposed(self, known):
    (wrong,) = [x for x in evaluated('naive')[1] if 'not observed, and' in x.description]
    for change, got in {'with the opposite sign': -1 * wrong.gradient,
                        'transposed': wrong.gradient.T}.items():  # fmt: skip
      text = f'outside_vectors: {change}, {wrong.description}; D16'
      assert known('naive', got, argument='outside_vectors') == text

  def test_one_array_finds_its_argument(self, known):
    right, found = evaluated('sampling')
    assert known('sampling', right['negatives']) == 'right'
    assert known('sampling', right['outside']) == 'right'  # as long as the center, and right here
    (wrong,) = [x for x in found if x.description.startswith('u_o for v')]
    assert known('sampling', wrong.gradient).splitlines() == [
      'center: the terms of the negatives are missing; D21',  # which is the same
      f'outside: {wrong.description}; D22',
    ]
    assert known('sampling', right['negatives'].T).startswith('negatives: transposed')
    both = known('sampling', np.array([9.0, -1, 4, 2])).splitlines()
    assert [line.split(':')[0] for line in both] == ['center', 'outside']

  def test_an_equal_shape_comes_before_an_equal_size(self):
    v, u, n = pair()
    alone = explain_gradient('negative_sampling_loss', np.array([[9.0, -1, 4, 2]]), v, u, n[:1])
    assert alone.startswith('negatives: not a known misprint') and '\n' not in alone

  def test_fields_of_a_pytree(self, known):
    right, _ = evaluated('cbow')
    assert known('cbow', jw2v.Word2VecParams(*right.values())) == 'right'
    assert known('cbow', right['params.outside'], argument='outside') == 'right'
    assert known('cbow', {'params': dict(zip(('center', 'outside'), right.values(), strict=True))}
                 ) == 'right'  # fmt: skip
    text = known('cbow', {'center': evaluated('cbow')[0]['params.center'] * 4})
    assert text == "params.center: the mean's 1/n is left out; D35"

  @pytest.mark.parametrize('dtype', [np.float32, jnp.bfloat16])
  def test_rounding_of_the_program_is_no_fault(self, dtype):
    args = [jnp.asarray(x, dtype) for x in pair()]
    _, grads = jw2v.negative_sampling_value_and_grad(*args)
    assert explain_gradient('negative_sampling_loss', grads, *args) == 'right'
    halved = explain_gradient('negative_sampling_loss', grads.center / 2, *args)
    assert halved.startswith('center: 1/2 times') or dtype == jnp.bfloat16

  def test_lists_are_arrays(self):
    args = [x.tolist() for x in pair()]
    grads = jw2v.negative_sampling_value_and_grad(*map(np.asarray, args))[1]
    got = np.asarray(grads.negatives).tolist()
    text = explain_gradient('negative_sampling_loss', np.float32(got), *args)
    assert text == 'right'

  def test_refused(self):
    args = pair()
    with pytest.raises(ValueError, match=r"name must be one of sigmoid_derivative, .*got 'loss'"):
      explain_gradient('loss', args[0], *args)
    with pytest.raises(ValueError, match=r"argument must name one of center, .*, got 'word'"):
      explain_gradient('negative_sampling_loss', args[0], *args, argument='word')
    with pytest.raises(ValueError, match=r"got must name one of center, .*, got 'x'"):
      explain_gradient('negative_sampling_loss', {'x': args[0]}, *args)
    with pytest.raises(ValueError, match=r'got must have 3 arrays \(center, .*\), got 2'):
      explain_gradient('negative_sampling_loss', args[:2], *args)
    with pytest.raises(
      ValueError, match=r'got must have the shape .*, got \[9\]; name the argument'
    ):
      explain_gradient('negative_sampling_loss', np.zeros(9), *args)
    with pytest.raises(AssertionError, match="'outside' must be floating"):
      explain_gradient('negative_sampling_loss', args[0], args[0], args[2], args[2])


def test_examples_of_the_docstrings_run():
  failed, tried = doctest.testmod(testing)
  assert tried >= 15 and not failed


def test_it_is_an_attribute_of_the_package():
  assert jw2v.testing is testing
