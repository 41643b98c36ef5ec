"""Shared proof that a closed form is right, for all `..._value_and_grad` twins.

A test class inherits `TwinProof` and sets the loss, its twin, the arguments to differentiate, a
NumPy reference of the value, and a table of cases. All results are compared element by element in
float64, except in tests of other dtypes.

Compilation takes most of the time. The fast tier therefore compiles one function per case, in
float64, which all tests share. The slow tier repeats the tests operation by operation and in every
dtype, and adds finite differences, second derivatives and `jw2v.testing`, the same proof for other
projects. Combinations of two deviations, such as a case and a dtype, run only for a release.
"""

import functools
from unittest import mock

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from jw2v import testing
from jw2v.testing import _cast as cast
from jw2v.testing import _is_float as is_float

SLOW = pytest.mark.slow
EAGER_IS_SLOW = [pytest.param('eager', marks=SLOW), 'jit']


@functools.cache
def _together(loss, twin, argnums):
  """Compiles the loss, its twin, and autodiff of the loss as one function of (args, kwargs)."""
  return jax.jit(testing._results(loss, twin, argnums))


def assert_close(got, want, rtol=1e-10, atol=1e-10):
  """Checks that both trees have the same leaves, shapes and values, element by element."""
  got, want = jax.tree.leaves(got), jax.tree.leaves(want)
  assert len(got) == len(want)
  for a, b in zip(got, want, strict=True):
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.usefixtures('float64')
class TwinProof:
  """Base class of the proof: subclasses set the attributes below.

  `CASES` maps a name to a function of a NumPy generator that returns
  `(args, kwargs)` of the loss.
  """

  loss = None  # staticmethod(jax.jit(jw2v.x_loss))
  twin = None  # staticmethod(jax.jit(jw2v.x_value_and_grad))
  reference = None  # staticmethod: the value in NumPy, from the definition
  argnums = None  # arguments to differentiate: an int or a tuple, as for jax.grad
  CASES = {}
  MAIN = ()  # cases of the fast tier in float32 and under vmap; the first one if empty
  ARGUMENTS = {}  # name -> (path, case that has the argument); for tests of errors
  GIVES_SHAPE = ()  # scalars, and arguments whose axes no earlier argument determines
  CONVERTED = ()  # arguments that may be of any real dtype
  OPTIONS = ()  # arguments that may be None
  REPEATS = False  # True moves the slow tests to a release: other classes repeat the mathematics
  WIDE_LOSS = False  # the loss is float32 for narrower vectors

  def _example(self, case, seed=0):
    return case(np.random.default_rng(seed))

  def _run(self, args, kwargs, how='jit'):
    """Returns the results of the loss, its twin, and autodiff of the loss."""
    if how == 'jit':
      return _together(self.loss, self.twin, self.argnums)(args, kwargs)
    return testing._results(self.loss.__wrapped__, self.twin.__wrapped__, self.argnums)(
      args, kwargs
    )

  @pytest.mark.parametrize('how', EAGER_IS_SLOW)
  def test_value_matches_numpy(self, case, how):
    args, kwargs = self._example(case)
    want = self.reference(*args, **kwargs)
    value, (same, _), _ = self._run(args, kwargs, how)
    assert_close(value, want)
    assert_close(same, want)

  @pytest.mark.parametrize('how', EAGER_IS_SLOW)
  def test_closed_form_matches_autodiff(self, case, how):
    _, got, want = self._run(*self._example(case), how)
    assert_close(got, want)

  @pytest.mark.slow
  def test_passes_the_public_check(self):
    """Runs the public check, with forward mode, vmap, saturated scores and bfloat16."""
    args, kwargs = self._example(next(iter(self.CASES.values())))
    testing.check_value_and_grad(self.loss, self.twin, *args, argnums=self.argnums, **kwargs)

  @pytest.mark.slow
  def test_autodiff_matches_finite_differences(self, main_case):
    """Certifies jax.grad itself, forward and reverse, to second order."""
    args, kwargs = self._example(main_case)
    argnums = (self.argnums,) if isinstance(self.argnums, int) else self.argnums

    def of_vectors(*vectors):
      full = list(args)
      for i, vector in zip(argnums, vectors, strict=True):
        full[i] = vector
      return jnp.sum(self.loss(*full, **kwargs))

    vectors = tuple(cast(args[i], jnp.float64) for i in argnums)
    jax.test_util.check_grads(of_vectors, vectors, order=2, modes=['fwd', 'rev'])

  def test_twin_does_not_call_autodiff(self, case):
    args, kwargs = self._example(case)
    refuse = mock.Mock(side_effect=AssertionError('a twin must not use autodiff'))
    with mock.patch.multiple(
      jax, grad=refuse, value_and_grad=refuse, vjp=refuse, jvp=refuse, linearize=refuse
    ):
      jax.eval_shape(self.twin.__wrapped__, *args, **kwargs)

  def test_vmap_matches_loop(self, main_case):
    examples = [self._example(main_case, seed) for seed in range(3)]
    stacked_args, stacked_kwargs = jax.tree.map(lambda *x: np.stack(x), *examples)
    both = jax.jit(jax.vmap(lambda a, k: (self.twin(*a, **k), self.loss(*a, **k))))
    got, values = both(stacked_args, stacked_kwargs)
    loop = [self._run(args, kwargs)[1] for args, kwargs in examples]
    assert_close(got, jax.tree.map(lambda *x: np.stack(x), *loop))
    assert_close(values, np.stack([value for value, _ in loop]))

  def _split(self, case):
    """Returns the loss and the twin's gradient as functions of one flat vector."""
    args, kwargs = self._example(case)
    argnums = (self.argnums,) if isinstance(self.argnums, int) else self.argnums
    flat, unravel = jax.flatten_util.ravel_pytree([cast(args[i], jnp.float64) for i in argnums])

    def fill(x):
      full = list(args)
      for i, value in zip(argnums, unravel(x), strict=True):
        full[i] = value
      return full

    def gradient(x):
      grads = self.twin(*fill(x), **kwargs)[1]
      return jnp.concatenate([g.ravel() for g in jax.tree.leaves(grads)])

    return lambda x: jnp.sum(self.loss(*fill(x), **kwargs)), gradient, flat

  @pytest.mark.slow
  def test_jvp_is_the_gradient_along_a_direction(self, main_case):
    loss, gradient, x = self._split(main_case)
    direction = np.random.default_rng(1).normal(size=x.size)
    _, along = jax.jvp(loss, (x,), (direction,))
    assert_close(along, gradient(x) @ direction)

  @pytest.mark.slow
  def test_hessian_is_the_jacobian_of_the_closed_form(self, main_case):
    loss, gradient, x = self._split(main_case)
    want = jax.jit(jax.hessian(loss))(x)
    assert_close(jax.jit(jax.jacfwd(gradient))(x), want)
    assert_close(jax.jit(jax.jacrev(gradient))(x), want)

  @pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, jnp.float64])
  def test_dtype_in_is_dtype_out(self, case, dtype):
    args, kwargs = cast(self._example(case), dtype)
    of_loss = jnp.promote_types(dtype, jnp.float32) if self.WIDE_LOSS else dtype
    together = _together(self.loss, self.twin, self.argnums)
    loss, *both = jax.eval_shape(together, args, kwargs)
    chex.assert_type([loss, *(value for value, _ in both)], of_loss)
    for _, grads in both:
      chex.assert_type(jax.tree.leaves(grads), dtype)

  @pytest.mark.parametrize('how', EAGER_IS_SLOW)
  @pytest.mark.parametrize('dtype', [jnp.float32, pytest.param(jnp.bfloat16, marks=SLOW)])
  def test_low_precision_agrees_with_float64(self, main_case, dtype, how):
    args, kwargs = cast(self._example(main_case), dtype)
    want = self._run(*cast((args, kwargs), jnp.float64))[1]
    got = cast(self._run(args, kwargs, how)[1], jnp.float64)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
      largest = np.abs(b).max(initial=0)  # in each array: sums of terms of that size round
      assert_close(a, b, rtol=0, atol=8 * float(jnp.finfo(dtype).eps) * largest)

  @pytest.mark.parametrize('how', EAGER_IS_SLOW)
  @pytest.mark.parametrize('scale', [-1e4, 1e4])
  def test_saturated_scores_stay_finite(self, case, scale, how):
    """Sets all products to +-1e4: the center is ones over D, everything else is `scale`."""
    self._assert_finite(case, scale, jnp.float64, how)

  @pytest.mark.parametrize('how', EAGER_IS_SLOW)
  @pytest.mark.parametrize('scale', [-1e4, 1e4])
  @pytest.mark.parametrize('dtype', [jnp.float32, pytest.param(jnp.bfloat16, marks=SLOW)])
  def test_saturated_scores_stay_finite_in_low_precision(self, main_case, scale, dtype, how):
    self._assert_finite(main_case, scale, dtype, how)

  def _assert_finite(self, case, scale, dtype, how):
    args, kwargs = self.saturate(*self._example(case), scale)
    loss, (value, grads), autodiff = self._run(*cast((args, kwargs), dtype), how)
    chex.assert_tree_all_finite((value, grads, autodiff))
    # The same value, and not the rest of a cancellation.
    assert_close(*cast((value, loss), jnp.float64), rtol=4 * float(jnp.finfo(dtype).eps))

  def saturate(self, args, kwargs, scale):
    """Returns the case with all scores at `scale`: the first argument averages constants."""
    center, *others = args
    fill = lambda x: np.full_like(x, scale) if is_float(x) else x
    return (np.ones_like(center) / center.shape[-1], *map(fill, others)), kwargs

  def _replaced(self, case, path, change):
    """Returns the case with one argument changed; path: position or keyword, then a field."""
    args, kwargs = self._example(case)
    where = kwargs if isinstance(path[0], str) else (args := list(args))
    old = where[path[0]]
    if len(path) == 1:
      where[path[0]] = change(old)
    else:
      where[path[0]] = old._replace(**{path[1]: change(getattr(old, path[1]))})
    return args, kwargs

  def _assert_refused(self, args, kwargs, name, error=AssertionError):
    for function in (self.loss.__wrapped__, self.twin.__wrapped__):
      with pytest.raises(error, match=f"'{name}'"):
        jax.eval_shape(lambda f=function: f(*args, **kwargs))

  def test_wrong_rank_is_refused_by_name(self, argument):
    name, path, case = argument
    self._assert_refused(*self._replaced(case, path, lambda x: np.asarray(x)[None]), name)

  def test_wrong_shape_is_refused_by_name(self, shaped_argument):
    name, path, case = shaped_argument
    longer = lambda x: np.concatenate([x, x[..., :1]], axis=-1)
    self._assert_refused(*self._replaced(case, path, longer), name)

  def test_wrong_dtype_is_refused_by_name(self, argument):
    name, path, case = argument
    other = np.int32 if is_float(self._value(case, path)) else np.float64
    other = np.complex128 if name in self.CONVERTED else other
    self._assert_refused(*self._replaced(case, path, lambda x: np.asarray(x).astype(other)), name)

  @pytest.mark.parametrize('value', ['word', None])
  def test_what_is_no_array_is_refused_by_name(self, argument, value):
    name, path, case = argument
    if value is None and name in self.OPTIONS:
      args, kwargs = self._replaced(case, path, lambda x: None)
      assert np.isfinite(self.loss(*args, **kwargs))
    else:
      self._assert_refused(*self._replaced(case, path, lambda x: value), name, TypeError)

  def _value(self, case, path):
    args, kwargs = self._example(case)
    value = kwargs[path[0]] if isinstance(path[0], str) else args[path[0]]
    return value if len(path) == 1 else getattr(value, path[1])


def summed(loss):
  """Returns the sum of a loss `[B]` of whole batches."""
  return lambda *args, **kwargs: jnp.sum(loss(*args, **kwargs))


def summed_twin(twin):
  """Returns the twin of the sum, whose gradients are already gradients of the sum."""

  def with_sum(*args, **kwargs):
    losses, grads = twin(*args, **kwargs)
    return jnp.sum(losses), grads

  return with_sum


def to_dense(rows, num_rows):
  """Returns the [num_rows, D] gradient of `RowGradients`."""
  zeros = jnp.zeros((num_rows, rows.values.shape[-1]), rows.values.dtype)
  return zeros.at[rows.ids].add(rows.values, mode='drop')
