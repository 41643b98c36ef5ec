"""The proof that a closed form is right, written once for all `..._value_and_grad` twins.

A test class inherits `TwinProof`, names the loss and its twin, the arguments to
differentiate, a NumPy reference of the value, and a table of cases. Everything is
compared element by element in float64, but for the tests of other dtypes.
"""

from unittest import mock

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest


def is_float(x):
  return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def cast(tree, dtype):
  """The tree with its floating leaves in another dtype."""
  return jax.tree.map(lambda x: jnp.asarray(x, dtype) if is_float(x) else x, tree)


def assert_close(got, want, rtol=1e-10, atol=1e-10):
  """Same structure of leaves, same shapes, same values element by element."""
  got, want = jax.tree.leaves(got), jax.tree.leaves(want)
  assert len(got) == len(want)
  for a, b in zip(got, want, strict=True):
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.usefixtures('float64')
class TwinProof:
  """Subclasses set the attributes below.

  `CASES` maps a name to a function of a NumPy generator that returns
  `(args, kwargs)` of the loss.
  """

  loss = None  # staticmethod(jw2v.x_loss)
  twin = None  # staticmethod(jw2v.x_value_and_grad)
  reference = None  # staticmethod: the value in NumPy, from the definition
  argnums = None  # what to differentiate: an int or a tuple, as for jax.grad
  CASES = {}
  ARGUMENTS = {}  # name -> (path to it, the case that has it); for the refusals
  GIVES_SHAPE = ()  # scalars, and arguments whose axes nothing before them fixes
  CONVERTED = ()  # arguments that may be of any real dtype
  OPTIONS = ()  # arguments that may be None

  def _example(self, case, seed=0):
    return case(np.random.default_rng(seed))

  @pytest.mark.parametrize('transform', [lambda f: f, jax.jit], ids=['eager', 'jit'])
  def test_value_matches_numpy(self, case, transform):
    args, kwargs = self._example(case)
    want = self.reference(*args, **kwargs)
    assert_close(transform(lambda: self.loss(*args, **kwargs))(), want)
    assert_close(transform(lambda: self.twin(*args, **kwargs))()[0], want)

  @pytest.mark.parametrize('transform', [lambda f: f, jax.jit], ids=['eager', 'jit'])
  def test_closed_form_matches_autodiff(self, case, transform):
    args, kwargs = self._example(case)
    want = jax.value_and_grad(self.loss, self.argnums)(*args, **kwargs)
    got = transform(lambda *a: self.twin(*a, **kwargs))(*args)
    assert_close(got, want)

  def test_autodiff_matches_finite_differences(self, case):
    """Certifies jax.grad itself, forwards and in reverse, to second order."""
    args, kwargs = self._example(case)
    argnums = (self.argnums,) if isinstance(self.argnums, int) else self.argnums

    def of_vectors(*vectors):
      full = list(args)
      for i, vector in zip(argnums, vectors, strict=True):
        full[i] = vector
      return self.loss(*full, **kwargs)

    vectors = tuple(cast(args[i], jnp.float64) for i in argnums)
    jax.test_util.check_grads(of_vectors, vectors, order=2, modes=['fwd', 'rev'])

  def test_twin_does_not_call_autodiff(self, case):
    args, kwargs = self._example(case)
    refuse = mock.Mock(side_effect=AssertionError('a twin must not use autodiff'))
    with mock.patch.multiple(
      jax, grad=refuse, value_and_grad=refuse, vjp=refuse, jvp=refuse, linearize=refuse
    ):
      self.twin(*args, **kwargs)

  def test_vmap_matches_loop(self, case):
    examples = [self._example(case, seed) for seed in range(3)]
    stacked_args, stacked_kwargs = jax.tree.map(lambda *x: np.stack(x), *examples)
    got = jax.vmap(self.twin)(*stacked_args, **stacked_kwargs)
    loop = [self.twin(*args, **kwargs) for args, kwargs in examples]
    assert_close(got, jax.tree.map(lambda *x: jnp.stack(x), *loop))
    values = jax.vmap(self.loss)(*stacked_args, **stacked_kwargs)
    assert_close(values, jnp.stack([value for value, _ in loop]))

  def _split(self, case):
    """The loss and the twin's gradient as functions of one flat vector."""
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

    return lambda x: self.loss(*fill(x), **kwargs), gradient, flat

  def test_jvp_is_the_gradient_along_a_direction(self, case):
    loss, gradient, x = self._split(case)
    direction = np.random.default_rng(1).normal(size=x.size)
    _, along = jax.jvp(loss, (x,), (direction,))
    assert_close(along, gradient(x) @ direction)

  def test_hessian_is_the_jacobian_of_the_closed_form(self, case):
    loss, gradient, x = self._split(case)
    want = jax.jit(jax.hessian(loss))(x)
    assert_close(jax.jit(jax.jacfwd(gradient))(x), want)
    assert_close(jax.jit(jax.jacrev(gradient))(x), want)

  @pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, jnp.float64])
  def test_dtype_in_is_dtype_out(self, case, dtype):
    args, kwargs = cast(self._example(case), dtype)
    chex.assert_type(jax.tree.leaves(self.twin(*args, **kwargs)), dtype)
    chex.assert_type(self.loss(*args, **kwargs), dtype)
    grads = jax.grad(self.loss, self.argnums)(*args, **kwargs)
    chex.assert_type(jax.tree.leaves(grads), dtype)

  @pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
  def test_low_precision_agrees_with_float64(self, case, dtype):
    args, kwargs = cast(self._example(case), dtype)
    want = self.twin(*cast(args, jnp.float64), **cast(kwargs, jnp.float64))
    got = cast(self.twin(*args, **kwargs), jnp.float64)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
      largest = np.abs(b).max(initial=0)  # in each array: sums of terms of that size round
      assert_close(a, b, rtol=0, atol=8 * float(jnp.finfo(dtype).eps) * largest)

  @pytest.mark.parametrize('scale', [-1e4, 1e4])
  @pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, jnp.float64])
  def test_saturated_scores_stay_finite(self, case, scale, dtype):
    """All the products at +-1e4: center of ones over D, everything else `scale`."""
    args, kwargs = self.saturate(*self._example(case), scale)
    args, kwargs = cast(args, dtype), cast(kwargs, dtype)
    value, grads = self.twin(*args, **kwargs)
    chex.assert_tree_all_finite((value, grads))
    chex.assert_tree_all_finite(jax.value_and_grad(self.loss, self.argnums)(*args, **kwargs))
    loss = float(self.loss(*args, **kwargs))  # the same value, and not the rest of a cancellation
    assert_close(float(value), loss, rtol=4 * float(jnp.finfo(dtype).eps))

  def saturate(self, args, kwargs, scale):
    """The case with scores of `scale`: the first argument averages, the rest are constant."""
    center, *others = args
    fill = lambda x: np.full_like(x, scale) if is_float(x) else x
    return (np.ones_like(center) / center.shape[-1], *map(fill, others)), kwargs

  def _replaced(self, case, path, change):
    """The case with one argument changed; path: position or keyword, then a field."""
    args, kwargs = self._example(case)
    where = kwargs if isinstance(path[0], str) else (args := list(args))
    old = where[path[0]]
    if len(path) == 1:
      where[path[0]] = change(old)
    else:
      where[path[0]] = old._replace(**{path[1]: change(getattr(old, path[1]))})
    return args, kwargs

  def _assert_refused(self, args, kwargs, name, error=AssertionError):
    for function in (self.loss, self.twin):
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


def to_dense(rows, num_rows):
  """Returns the [num_rows, D] gradient of `RowGradients`."""
  zeros = jnp.zeros((num_rows, rows.values.shape[-1]), rows.values.dtype)
  return zeros.at[rows.ids].add(rows.values, mode='drop')
