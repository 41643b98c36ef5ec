"""Checks of hand-written gradients.

`check_value_and_grad` compares a closed form with autodiff of its loss. It works for any loss, not
only for those of this library. `explain_gradient` compares a gradient of one of our losses with
the right one and with known misprints, and returns an explanation.

The checks run in float64, regardless of the settings of the program. Only the check `'bfloat16'`
runs in bfloat16.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jw2v.losses import derivatives, network, prediction, window

CHECKS = ('value', 'gradient', 'forward', 'vmap', 'saturated', 'bfloat16')

_OPTIONS = ('argnums', 'rtol', 'atol', 'checks')
_SATURATED_TOLERANCE = 1e-6  # scores of 1e4 times gradients of 1e4 in float64
_FEW_EPS = 8


# --- Trees of arrays ---


def _is_array(x) -> bool:
  return isinstance(x, np.ndarray | np.generic | jax.Array)


def _is_float(x) -> bool:
  return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def _cast(tree, dtype):
  """Returns the tree with its floating arrays and numbers in another dtype, as NumPy arrays."""
  is_number = lambda x: _is_array(x) or isinstance(x, float)
  convert = lambda x: np.asarray(x).astype(dtype) if is_number(x) and _is_float(x) else x
  return jax.tree.map(convert, tree)


def _by_path(tree) -> dict[str, Any]:
  """Returns the leaves by path: 'params.w1' for a field, 'layers.0' for an entry."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator='.'): leaf for path, leaf in leaves}


def _largest(x) -> float:
  return float(np.max(np.abs(x), initial=0))


def _number(x) -> str:
  return f'{float(x):.6g}' if np.issubdtype(np.asarray(x).dtype, np.floating) else str(x)


def _error(got: np.ndarray, want: np.ndarray) -> np.ndarray:
  with np.errstate(invalid='ignore'):  # inf - inf
    return np.where(got == want, 0, np.abs(got - want))


def _worst(got: np.ndarray, want: np.ndarray) -> str:
  """Describes the element with the largest error."""
  index = np.unravel_index(np.argmax(_error(got, want)), got.shape)  # the first nan, if any
  where = f'element {list(map(int, index))} ' if got.shape else ''
  return f'{where}is {_number(got[index])}, want {_number(want[index])}'


def _factor(got: np.ndarray, want: np.ndarray, tolerance: float) -> float | None:
  """Returns the factor between `got` and `want`, or None if they are not proportional."""
  square = np.sum(want * want)
  if got.shape != want.shape or not (0 < square < np.inf and np.isfinite(got).all()):
    return None
  factor = float(np.sum(got * want) / square)
  return factor if _largest(got - factor * want) <= tolerance * _largest(got) else None


def _fraction(x: float) -> str:
  """Formats a number, as a fraction if it is 1/n: 0.3333333 becomes 1/3."""
  count = round(1 / x) if x else 0
  is_simple = abs(count) > 1 and abs(count * x - 1) <= 1e-6
  return f'{"-" * (x < 0)}1/{abs(count)}' if is_simple else f'{x:.6g}'


def _assert_equal(got, want, what: str, must: str, rtol: float, atol: float, hint=None) -> None:
  """Compares arrays element by element; `hint` is a function of `got` that explains an error."""
  if np.shape(got) != np.shape(want):
    shapes = list(np.shape(want)), list(np.shape(got))
    raise AssertionError(f'{what} must have the shape {shapes[0]}, got {shapes[1]}')
  got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
  if np.isnan(want).any():
    index = list(map(int, np.argwhere(np.isnan(want))[0]))
    raise AssertionError(f'{what} must {must}, which is nan at {index}; choose other arguments')
  error = _error(got, want)
  off = ~(error <= atol + rtol * np.abs(np.where(np.isinf(want), 0, want)))  # nan is off
  if not off.any():
    return
  message = f'{what} must {must}: {_worst(got, want)}'
  if got.shape:
    message += f' ({off.sum()} of {off.size} elements differ, at most by {_largest(error):.6g})'
  factor = _factor(got, want, 1e-6)
  if factor is not None and off[want != 0].all():
    times = f'{_fraction(factor)} times the right one' if factor else 'zero everywhere'
    message += f'; got is {times}'
  raise AssertionError(message + (hint(got) if hint else ''))


# --- The check against autodiff ---


def check_value_and_grad(
  loss: Callable[..., ArrayLike],
  value_and_grad: Callable[..., tuple[ArrayLike, Any]],
  /,
  *args: Any,
  argnums: int | str | Sequence[int | str] | None = None,
  rtol: float = 1e-10,
  atol: float = 1e-10,
  checks: Sequence[str] = CHECKS,
  **kwargs: Any,
) -> None:
  r"""Compares a closed-form gradient with autodiff of its loss.

  .. math:: (J, g) \text{ with } g = \partial \textstyle\sum J / \partial x
     \text{ element by element}, \qquad \dot J = \langle g, \dot x \rangle

  `checks` selects the comparisons, by default all of them:

  - `'value'`: the value equals the loss.
  - `'gradient'`: the gradient equals `jax.grad` in structure, shapes, dtypes and elements.
  - `'forward'`: `jax.jvp` of the loss along random directions equals gradient times direction.
  - `'vmap'`: both functions under `jax.vmap` equal a loop over the examples.
  - `'saturated'`: value and gradient are finite and equal autodiff where scores are about
    :math:`\pm 10^4`: one differentiated array in turn is that large, with positive, negative and
    its own signs, and the others are positive and at most 1.
  - `'bfloat16'`: on bfloat16 arguments the error against float64 is a few units of rounding, or
    at most twice the error of autodiff on the same arguments.

  All but the last run in float64: floating arrays among the arguments are converted. Integer and
  bool arrays, `None`, numbers and strings are passed on unchanged.

  Args:
    loss: function of `*args` and `**kwargs`. If it returns an array, one loss per example, the
      gradient is the gradient of the sum.
    value_and_grad: function of the same arguments that returns `(value, gradient)`. The gradient
      is a NamedTuple or dict with a field for each differentiated argument, a tuple in their
      order, or for one argument also the gradient itself. Each has the structure of its argument.
    *args: positional arguments; pytrees of arrays are allowed.
    argnums: arguments to differentiate: positions, or names of parameters. By default all
      arguments that are not keyword-only and whose leaves are all floating arrays.
    rtol: allowed relative error of value and gradient in float64.
    atol: allowed absolute error.
    checks: names from `CHECKS`.
    **kwargs: keyword arguments.

  Returns:
    None.

  Raises:
    AssertionError: a check failed. The message names the check, the argument, the element, both
      numbers and the largest error.
    ValueError: an option has an unknown value, or the loss has a parameter of the same name
      (bind it with `functools.partial`).

  References:
    The same checks prove the gradients of this library, derivations D11 to D49.

  Example:
    >>> import jax.numpy as jnp
    >>> from jw2v.testing import check_value_and_grad
    >>> def loss(x, y):
    ...   return jnp.sum(jnp.log(jnp.cosh(x - y)))
    >>> def twin(x, y):
    ...   return loss(x, y), (jnp.tanh(x - y), -jnp.tanh(x - y))
    >>> x, y = jnp.array([0.5, -1.0]), jnp.array([2.0, 0.25])
    >>> check_value_and_grad(loss, twin, x, y, checks=('value', 'gradient', 'vmap'))
    >>> wrong = lambda x, y: (loss(x, y), (jnp.tanh(x - y), jnp.tanh(x - y)))
    >>> check_value_and_grad(loss, wrong, x, y)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: gradient to 'y' must equal autodiff: element [0] is -0.905148, want 0.905148...
  """
  if unknown := [name for name in checks if name not in CHECKS]:
    raise ValueError(f'checks must be among {", ".join(CHECKS)}, got {unknown[0]!r}')
  names = _names(loss, args)
  example = _Example(loss, value_and_grad, names, args, kwargs, argnums)
  with jax.enable_x64(True):
    example.convert()
    for check in CHECKS:
      if check in checks:
        with _during(check):
          _CHECKS[check](example, rtol, atol)


@contextlib.contextmanager
def _during(check):
  """Adds the name of the check to an error of the loss or of its twin."""
  try:
    yield
  except AssertionError:
    raise
  except Exception as error:
    error.add_note(f'raised in the check {check!r}; the option checks= selects the checks')
    raise


def _parameters(loss) -> list[inspect.Parameter]:
  try:
    return list(inspect.signature(loss).parameters.values())
  except (TypeError, ValueError):  # a builtin, for example
    return []


def _names(loss, args) -> list[str]:
  """Names the positional arguments: by parameter, or 'argument 0'."""
  names: list[str] = []
  for parameter in _parameters(loss):
    if parameter.kind is parameter.VAR_POSITIONAL:
      names += [f'{parameter.name}[{i}]' for i in range(len(args) - len(names))]
    elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
      names.append(parameter.name)
  names += [f'argument {i}' for i in range(len(names), len(args))]
  return names[: len(args)]


def _results(loss, value_and_grad, argnums):
  """Returns a function of (args, kwargs): the loss, its twin, and autodiff of the loss's sum."""

  def total(*args, **kwargs):
    value = loss(*args, **kwargs)
    return jnp.sum(value), value

  def run(args, kwargs):
    (_, value), grads = jax.value_and_grad(total, argnums, has_aux=True)(*args, **kwargs)
    return loss(*args, **kwargs), value_and_grad(*args, **kwargs), (value, grads)

  return run


class _Example:
  """A call of the loss: the differentiated arguments by name, and the arrays of all others."""

  def __init__(self, loss, value_and_grad, names, args, kwargs, argnums):
    parameters = {p.name: p for p in _parameters(loss)}
    bound = getattr(loss, 'keywords', {})  # of functools.partial
    if clash := [n for n in _OPTIONS if n in parameters and n not in bound]:
      raise ValueError(
        f'the loss must not have the parameter {clash[0]!r}, which is an option of '
        'check_value_and_grad; bind it with functools.partial'
      )
    self._num_args, self._names = len(args), names
    arguments = {**dict(zip(names, args, strict=True)), **kwargs}
    if argnums is None:
      keyword_only = {n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
      chosen = [n for n, x in arguments.items() if n not in keyword_only and _can_vary(x)]
    else:
      numbers = [argnums] if isinstance(argnums, int | str) else argnums
      chosen = [self._name_of(number, arguments) for number in numbers]
    if not chosen:
      raise ValueError('the loss must have a floating array among its arguments, got none')
    self._chosen_names = chosen  # in order; JAX sorts the keys of a dict
    self.chosen = {name: arguments[name] for name in chosen}
    rest = {name: x for name, x in arguments.items() if name not in chosen}
    self._leaves, self._structure = jax.tree.flatten(rest)
    self._order = list(arguments)
    self._places = [i for i, leaf in enumerate(self._leaves) if _is_array(leaf)]
    self.others = [self._leaves[i] for i in self._places]
    self._is_inferred = argnums is None
    self._loss, self._value_and_grad = loss, value_and_grad

  def _name_of(self, number, arguments):
    if isinstance(number, int) and 0 <= number < self._num_args:
      return self._names[number]
    if number in arguments:
      return number
    raise ValueError(f'argnums must name arguments ({", ".join(arguments)}), got {number!r}')

  def convert(self):
    """Converts all floating arrays, and values convertible to one, to float64."""
    self.chosen = jax.tree.map(lambda x: np.asarray(x, np.float64), self.chosen)
    self.others = _cast(self.others, np.float64)

  def _call(self, function, chosen, others):
    leaves = list(self._leaves)
    for place, leaf in zip(self._places, others, strict=True):
      leaves[place] = leaf
    arguments = {**jax.tree.unflatten(self._structure, leaves), **chosen}
    values = [arguments[name] for name in self._order]
    positional, named = values[: self._num_args], self._order[self._num_args :]
    return function(*positional, **dict(zip(named, values[self._num_args :], strict=True)))

  def loss(self, chosen, others):
    return self._call(self._loss, chosen, others)

  def twin(self, chosen, others):
    """Returns the value and the gradient of the function under test."""
    result = self._call(self._value_and_grad, chosen, others)
    if not (isinstance(result, tuple | list) and len(result) == 2):
      kind = f'{len(result)} results' if isinstance(result, tuple | list) else _described(result)
      raise AssertionError(f'value_and_grad must return (value, gradient), got {kind}')
    return tuple(result)

  @functools.cached_property
  def run(self):
    """Compiles the loss, the twin and autodiff, once per dtype."""
    results = _results(self.loss, self.twin, 0)
    return jax.jit(lambda chosen, others: results((chosen, others), {}))

  def results(self, chosen=None, others=None):
    """Returns loss, value, gradient by argument, and autodiff by argument."""
    chosen = self.chosen if chosen is None else chosen
    loss, (value, grads), (_, autodiff) = self.run(
      chosen, self.others if others is None else others
    )
    grads = self.aligned(grads)
    _assert_structure(grads, autodiff)
    return loss, value, grads, autodiff

  def aligned(self, grads) -> dict[str, Any]:
    """Returns the gradients by argument, from a NamedTuple, a dict, a tuple or one gradient."""
    fields = dict(_fields(grads))
    names = self._chosen_names
    if fields and (set(fields) & set(names)):
      missing = [name for name in names if name not in fields]
      extra = [name for name in fields if name not in names]
      if missing or extra:
        raise AssertionError(self._wrong_fields(list(fields), missing, extra))
      return {name: fields[name] for name in names}
    if len(names) == 1:
      (want,) = self.chosen.values()
      is_alone = isinstance(grads, tuple) and len(grads) == 1 and not isinstance(want, tuple)
      return {names[0]: grads[0] if is_alone else grads}
    listed = ', '.join(map(repr, names))
    if not isinstance(grads, tuple | list) or len(grads) != len(names):
      got = f'{len(grads)} entries' if isinstance(grads, tuple | list) else _described(grads)
      raise AssertionError(f'gradient must have an entry for each of {listed}, got {got}')
    return dict(zip(names, grads, strict=True))

  def _wrong_fields(self, fields, missing, extra):
    listed = (
      f'gradient must have the fields {", ".join(self._chosen_names)}, got {", ".join(fields)}'
    )
    fault = f'{missing[0]!r} is missing' if missing else f'{extra[0]!r} is not differentiated'
    remedy = '; choose the arguments to differentiate with argnums' if self._is_inferred else ''
    return f'{listed}: {fault}{remedy}'


def _can_vary(argument) -> bool:
  leaves = jax.tree.leaves(argument)
  return bool(leaves) and all(_is_array(x) and _is_float(x) for x in leaves)


def _fields(tree) -> Iterable[tuple[str, Any]]:
  if isinstance(tree, Mapping):
    return tree.items()
  return zip(tree._fields, tree, strict=True) if hasattr(tree, '_fields') else ()


def _described(x) -> str:
  return f'{x.dtype}{list(x.shape)}' if _is_array(x) else type(x).__name__


def _assert_structure(got: Mapping, want: Mapping) -> None:
  """Compares the paths and shapes of gradients by argument."""
  everything = _by_path(dict(want))
  for name in want:
    found, expected = _by_path({name: got[name]}), _by_path({name: want[name]})
    must = f'gradient to {name!r} must have the structure of the argument'
    if missing := [path for path in expected if path not in found]:
      listed = ', '.join(found) or 'nothing'
      raise AssertionError(f'{must}: {missing[0]!r} is missing, got {listed}')
    if extra := [path for path in found if path not in expected]:
      raise AssertionError(f'{must}, got also {extra[0]!r}')
    for path, x in found.items():
      shape, expected_shape = list(np.shape(x)), list(np.shape(expected[path]))
      if shape != expected_shape:
        hint = _other_argument(path, everything, x)
        raise AssertionError(
          f'gradient to {path!r} must have the shape {expected_shape}, got {shape}{hint}'
        )


def _assert_gradients(got: Mapping, want: Mapping, must: str, rtol: float, atol: float) -> None:
  """Compares the elements and dtypes of gradients by argument."""
  everything = _by_path(dict(want))
  for path, x in _by_path(dict(got)).items():
    hint = functools.partial(_other_argument, path, everything)
    _assert_equal(x, everything[path], f'gradient to {path!r}', must, rtol, atol, hint)
    _assert_dtype(x, everything[path], f'gradient to {path!r}')


def _other_argument(path, everything, got) -> str:
  """Describes a gradient that is the gradient to another argument."""
  for other, want in everything.items():
    if other != path and np.shape(got) == np.shape(want) and np.any(want):
      if np.allclose(got, want):
        return f'; got is the gradient to {other!r}'
  return ''


def _assert_dtype(got, want, what):
  if got.dtype != want.dtype:
    raise AssertionError(f'{what} must have the dtype {want.dtype}, got {got.dtype}')


def _assert_value(got, want, must, rtol, atol):
  _assert_equal(got, want, 'value', must, rtol, atol)
  _assert_dtype(jnp.asarray(got), jnp.asarray(want), 'value')


def _check_value(example, rtol, atol):
  loss, value, _, _ = example.results()
  _assert_value(value, loss, 'equal the loss', rtol, atol)


def _check_gradient(example, rtol, atol):
  _, _, grads, autodiff = example.results()
  _assert_gradients(grads, autodiff, 'equal autodiff', rtol, atol)


def _check_forward(example, rtol, atol):
  _, _, grads, _ = example.results()
  total = lambda chosen: jnp.sum(example.loss(chosen, example.others))
  along = jax.jit(lambda x, direction: jax.jvp(total, (x,), (direction,))[1])
  rng = np.random.default_rng(0)
  for _ in range(2):
    direction = jax.tree.map(lambda x: rng.normal(size=x.shape), example.chosen)
    terms = jax.tree.leaves(jax.tree.map(lambda g, d: np.ravel(g * d), grads, direction))
    terms = np.concatenate(terms)
    allowed = atol + rtol * np.abs(terms).sum()
    must = 'equal the gradient times a random direction'
    got = along(example.chosen, direction)
    _assert_equal(got, terms.sum(), 'jax.jvp of the loss', must, rtol, allowed)


def _check_vmap(example, rtol, atol):
  scaled = [jax.tree.map(lambda x, s=s: s * x, example.chosen) for s in (1.0, 0.5, 2.0)]
  loop = [example.results(chosen)[:3] for chosen in scaled]
  stack = lambda *trees: jax.tree.map(lambda *x: np.stack(x), *trees)
  loss, want, grads = stack(*loop)
  inputs = stack(*scaled), [jnp.stack([x] * len(scaled)) for x in example.others]
  both = jax.jit(jax.vmap(lambda *x: (example.loss(*x), example.twin(*x))))
  losses, (value, got) = both(*inputs)
  must = 'equal a loop under jax.vmap'
  _assert_equal(losses, loss, 'loss', must, rtol, atol)
  _assert_value(value, want, must, rtol, atol)
  _assert_gradients(example.aligned(got), grads, must, rtol, atol)


def _check_saturated(example, rtol, atol):
  del atol  # the gradient grows with the scale
  rtol = max(rtol, _SATURATED_TOLERANCE)
  leaves, structure = jax.tree.flatten(example.chosen)
  signed = [x / (_largest(x) or 1.0) for x in leaves]
  positive = [0.5 + 0.5 * np.abs(x) for x in signed]  # so that no terms of a score cancel
  for place, path in enumerate(_by_path(example.chosen)):
    for scale, size in (('1e4', positive), ('-1e4', positive), ('+-1e4', signed)):
      arrays = list(positive)
      arrays[place] = float(scale.removeprefix('+-')) * size[place]
      where = f'where {path!r} is about {scale}'
      loss, value, grads, autodiff = example.results(jax.tree.unflatten(structure, arrays))
      found = {'loss': loss, 'value': value, 'gradient': grads, 'autodiff': autodiff}
      for what, tree in found.items():
        for name, x in _by_path(tree).items():
          if not np.isfinite(x).all():
            of = f'{what} to {name!r}' if name else what
            raise AssertionError(f'{of} must be finite {where}, got {_first_not_finite(x)}')
      must = f'{{}} {where}'.format
      _assert_value(value, loss, must('equal the loss'), rtol, rtol)
      largest = max(1.0, *(_largest(x) for x in jax.tree.leaves(autodiff)))
      _assert_gradients(grads, autodiff, must('equal autodiff'), rtol, rtol * largest)


def _first_not_finite(x) -> str:
  x = np.asarray(x)
  index = tuple(np.argwhere(~np.isfinite(x))[0])
  return f'{x[index]} at {list(map(int, index))}' if index else str(x)


def _check_bfloat16(example, rtol, atol):
  del rtol, atol
  chosen, others = _cast((example.chosen, example.others), jnp.bfloat16)
  loss, value, grads, autodiff = example.results(chosen, others)
  exact = example.results(*_cast((chosen, others), np.float64))
  must = 'agree with float64 on bfloat16 arguments'
  _assert_dtype(jnp.asarray(value), jnp.asarray(loss), 'value on bfloat16 arguments')
  _assert_equal(value, exact[0], 'value', must, 0, _allowed(loss, exact[0]))
  everything = [_by_path(tree) for tree in (grads, autodiff, exact[3])]
  for path, got in everything[0].items():
    _assert_dtype(got, everything[1][path], f'gradient to {path!r} on bfloat16 arguments')
    allowed = _allowed(everything[1][path], everything[2][path])
    _assert_equal(got, everything[2][path], f'gradient to {path!r}', must, 0, allowed)


def _allowed(autodiff, exact) -> float:
  """Allows a few units of rounding of the largest element, and twice the error of autodiff."""
  exact = np.asarray(exact)
  rounding = _FEW_EPS * float(jnp.finfo(jnp.bfloat16).eps) * _largest(exact)
  return max(rounding, 2 * _largest(np.asarray(autodiff, np.float64) - exact))


_CHECKS: dict[str, Callable] = {
  'value': _check_value,
  'gradient': _check_gradient,
  'forward': _check_forward,
  'vmap': _check_vmap,
  'saturated': _check_saturated,
  'bfloat16': _check_bfloat16,
}


# --- Known misprints ---


class Misprint(NamedTuple):
  """A known wrong gradient, evaluated on the arguments of one call."""

  argument: str  # 'center', or 'params.outside' for a field
  reference: str  # 'D23', a derivation of docs/derivations.md, or 'section G'
  description: str
  gradient: np.ndarray


def _each(argument, *rows):
  return (Misprint(argument, *row) for row in rows)


def _sigmoid(x):
  return 0.5 * (1 + np.tanh(0.5 * x))


def _softmax(x):
  e = np.exp(x - np.max(x, initial=-np.inf))
  return e / e.sum()


def _one_hot(index, size):
  label = np.zeros(size)
  label[index] = 1
  return label


# Each function has the arguments of the function whose wrong gradients it yields. It skips a
# misprint that the arguments cannot show.


def _of_sigmoid_derivative(x):
  s = _sigmoid(x)
  return _each(
    'x',
    ('D07', 'the prime is missing: s(x)', s),
    ('D07', 'the factor exp(-x) of the chain rule is missing: s(x)^2', s * s),
    ('D07', 'the formula for s(x) is applied to x: x (1 - x)', x * (1 - x)),
    ('D09', 'the derivative of log s: 1 - s(x)', 1 - s),
  )


def _of_log_sigmoid_derivative(x):
  s = _sigmoid(x)
  return _each(
    'x',
    ('D08', 'the minus sign inside the sigmoid is lost: s(x)', s),
    ('D09', "the factor s'(x) of the chain rule is missing: 1 / s(x)", 1 / s),
    ('D09', 'the derivative of s: s(x) (1 - s(x))', s * (1 - s)),
  )


def _of_softmax_jacobian(logits):
  y, e = _softmax(logits), np.exp(logits)
  diagonal, square = np.diag(y), np.outer(y, y)
  right = diagonal - square
  product = -np.outer(e, e) / ((e.sum() - e) * e) ** 2
  return _each(
    'logits',
    ('D03', 'the square swallows the minus sign: y_i (1 + y_i) on the diagonal',
     right + 2 * np.diag(y * y)),
    ('D03', 'a product for the sum in the denominator, off the diagonal',
     np.where(np.eye(len(y)), right, product)),
    ('D03', 'zero off the diagonal', np.diag(np.diag(right))),
    ('D03', 'the minus sign of -y_i y_j is lost', diagonal + square),
    ('D03', 'the term diag(y) is missing', -square),
    ('D03', 'the term -y y^T is missing', diagonal),
  )  # fmt: skip


def _of_l2_normalize_jacobian(x):
  norm, one = np.linalg.norm(x), np.eye(len(x))
  unit = x / norm if norm else x
  projection = one - np.outer(unit, unit)
  return _each(
    'x',
    ('D39', 'the norm counts as a constant: I / |x|', one / norm),
    ('D39', 'the factor 1 / |x| is missing', projection),
    ('D39', 'the factor 1 / |x| is squared', projection / norm**2),
    ('D39', 'x for x / |x| in the bracket', (one - np.outer(x, x)) / norm),
    ('D39', 'the minus sign in the bracket is lost', (2 * one - projection) / norm),
  )


def _of_cross_entropy(logits, labels):
  y, mass = _softmax(logits), labels.sum()
  right, ratio, is_observed = mass * y - labels, labels / y, labels > 0
  jacobian = np.diag(y * (1 + y)) - np.outer(y, y) * (1 - np.eye(len(y)))
  yield from _each(
    'logits',
    ('D03', 'the square swallows the minus sign on the diagonal of the Jacobian',
     -ratio @ jacobian),
    ('D06', 'the chain rule without its sum: one term for each logit', -labels * (1 - y)),
    ('D06', 'the Jacobian of the softmax is missing: -y_k / y_hat_k', -ratio),
    ('D06', 'the label for the prediction in the denominator: zero', np.zeros_like(y)),
    ('D06', 'a factor for the quotient on the diagonal',
     right + labels * (1 - y) - labels * y * y * (1 - y)),
    ('D06', 'the sum lacks its own index', right - labels * y),
    ('D06', 'the logarithm is differentiated twice', y * ratio.sum() - ratio),
  )  # fmt: skip
  pick = lambda others: np.where(is_observed, right, others)
  if not is_observed.all():
    text = 'the classes that are not observed have a minus sign'
    yield Misprint('logits', 'D06', text, pick(-right))
  if is_observed.sum() == 1:
    text = 'a stray difference y_hat_o - y_hat_i for the other classes'
    yield Misprint('logits', 'D06', text, pick(y[is_observed] - y))
  if abs(mass - 1) > 1e-6:
    yield Misprint('logits', 'D06', 'the labels count as if they summed to 1', y - labels)


def _of_naive_softmax(center, outside_id, outside_vectors):
  v, o, u = center, int(outside_id), outside_vectors
  y, label = _softmax(u @ v), _one_hot(o, len(u))
  mean, delta, is_other = y @ u, y - label, label == 0
  rows = lambda coefficients: np.outer(coefficients, v)
  yield from _each(
    'center',
    ('D13', 'u_o has a plus sign: u_o + sum_w y_w u_w', u[o] + mean),
    ('D13', 'the term -u_o is missing: sum_w y_w u_w', mean),
    ('D13', 'the term sum_w y_w u_w is missing: -u_o', -u[o]),
    ('D13', 'sum_w y_w u_w has a minus sign', -u[o] - mean),
    ('D13', 'the index is not tied to the sum: (y_o - 1) sum_w u_w', delta[o] * u.sum(axis=0)),
    ('D14', 'the gradient of the table: (y_hat - y) v^T', rows(delta)),
  )
  yield from _each(
    'outside_vectors',
    ('D15', 'the square of the quotient rule is lost: -v for the observed word',
     rows(np.where(is_other, y, -1))),
    ('D15', 'the label is missing: y_w v for every word', rows(y)),
    ('D15', 'the label has a plus sign: (y_hat + y) v^T', rows(y + label)),
    ('D15', 'u_w for v: (y_w - 1[w = o]) u_w', delta[:, None] * u),
    ('D16', 'zero for the words not observed', rows(delta * label)),
    ('D16', 'zero for the words not observed, and -v for the observed word', rows(-label)),
    ('D16', 'the wrong word in the numerator: y_w y_w / y_o v',
     rows(np.where(is_other, y * y / y[o], delta))),
    ('D16', 'the words not observed have a minus sign', rows(np.where(is_other, -y, delta))),
  )  # fmt: skip
  if o:
    text = 'the letter o is read as zero: -u_0 + sum_w y_w u_w'
    yield Misprint('center', 'D12', text, mean - u[0])
    text = 'the label of word 0 for that of o: (y_hat - y_0) v^T'
    yield Misprint('outside_vectors', 'D15', text, rows(y - _one_hot(0, len(u))))


def _of_binary(
  center, outside, negatives, *, weights=None, log_expected_outside=None,
  log_expected_negatives=None,
):  # fmt: skip
  """Misprints of negative sampling, or of NCE if the logarithms are given."""
  v, u, n = center, outside, negatives
  w = np.ones(len(n)) if weights is None else weights.astype(np.float64)
  a, b, others = u @ v, n @ v, {}
  if log_expected_outside is not None:
    others['the correction -log(K q) is missing'] = a, b
    others['the correction has a plus sign'] = a + log_expected_outside, b + log_expected_negatives
    a, b = a - log_expected_outside, b - log_expected_negatives
  s, noise = _sigmoid(a), _sigmoid(b)
  pull, push = (s - 1) * u, (w * noise) @ n
  one_lost = np.exp(a) - 1, w * (1 - np.exp(-b))
  rows = lambda coefficients: np.outer(coefficients, v)
  yield from _each(
    'center',
    ('D21', 'both minus signs of the loss are lost: -1 times the right gradient', -pull - push),
    ('D21', 'a stray sigmoid: (s(u_o v) - 1) s(u_o v) u_o', pull * s + push),
    ('D21', 'a stray sigmoid: (1 - s(-u_k v)) s(-u_k v) u_k', pull + (w * noise * (1 - noise)) @ n),
    ('D21', 'the 1 of the sigmoid is lost: s(x) = 1 / exp(-x)', one_lost[0] * u + one_lost[1] @ n),
    ('D21', 'the sigmoid lost its minus sign: (1 - s(u_k v)) u_k', pull + (w * (1 - noise)) @ n),
    ('D21', 'the -1 is missing: s(u_o v) u_o', s * u + push),
    ('D21', 'the term of the outside word is missing', push),
    ('D21', 'the terms of the negatives are missing', pull),
    ('D21', 'the terms of the negatives have a minus sign', pull - push),
  )
  yield from _each(
    'outside',
    ('D21', 'both minus signs of the loss are lost: (1 - s(u_o v)) v', (1 - s) * v),
    ('D21', 'the 1 of the sigmoid is lost: (exp(u_o v) - 1) v', one_lost[0] * v),
    ('D22', 'u_o for v: (s(u_o v) - 1) u_o', pull),
    ('D22', 'the -1 is missing: s(u_o v) v', s * v),
    ('D22', 'a stray sigmoid: (s(u_o v) - 1) s(u_o v) v', (s - 1) * s * v),
    ('D22', 'a minus sign inside the sigmoid: (s(-u_o v) - 1) v', -s * v),
  )
  yield from _each(
    'negatives',
    ('D21', 'both minus signs of the loss are lost: -s(u_k v) v', rows(-w * noise)),
    ('D21', 'the 1 of the sigmoid is lost: (1 - exp(-u_k v)) v', rows(one_lost[1])),
    ('D23', 'the sigmoid lost its minus sign: (1 - s(u_k v)) v', rows(w * (1 - noise))),
    ('D23', 'the sum is kept for a single negative: sum_k s(u_k v) v',
     rows(np.full(len(n), w @ noise))),
    ('D23', 'the form of the observed word: (s(u_k v) - 1) v', rows(w * (noise - 1))),
    ('D23', 'a stray sigmoid: (1 - s(-u_k v)) s(-u_k v) v', rows(w * noise * (1 - noise))),
    ('D23', 'u_k for v: s(u_k v) u_k', (w * noise)[:, None] * n),
  )  # fmt: skip
  if not np.all(w == 1):
    yield Misprint('center', 'D21', 'the weights are missing', pull + noise @ n)
    yield Misprint('negatives', 'D23', 'the weights are missing', rows(noise))
  for text, (a, b) in others.items():
    d_outside, d_negatives = _sigmoid(a) - 1, w * _sigmoid(b)
    yield Misprint('center', 'section G', text, d_outside * u + d_negatives @ n)
    yield Misprint('outside', 'section G', text, d_outside * v)
    yield Misprint('negatives', 'section G', text, rows(d_negatives))


def _of_sampled_softmax(center, outside, negatives, *, log_expected_outside,
                        log_expected_negatives):  # fmt: skip
  v, u = center, np.concatenate([outside[None], negatives])
  scores, expected = u @ v, np.append(log_expected_outside, log_expected_negatives)
  y, label = _softmax(scores - expected), _one_hot(0, len(u))
  alone = np.append(0, _softmax((scores - expected)[1:]))
  everything = ('center', 'outside', 'negatives')
  for arguments, reference, text, delta in (
    (everything[:2], 'D13', 'the observed word has a plus sign', y + label),
    (everything[:2], 'D15', 'the label of the observed word is missing', y),
    (everything[::2], 'D16', 'zero for the words not observed', (y - label) * label),
    (everything, 'section G', 'the correction -log(K q) is missing', _softmax(scores) - label),
    (
      everything,
      'section G',
      'the correction has a plus sign',
      _softmax(scores + expected) - label,
    ),
    (everything[::2], 'section G', 'the observed word is not in the denominator', alone - label),
  ):
    forms = dict(zip(everything, (delta @ u, delta[0] * v, np.outer(delta[1:], v)), strict=True))
    for argument in arguments:
      yield Misprint(argument, reference, text, forms[argument])
  yield Misprint('outside', 'D15', 'u_o for v', (y[0] - 1) * outside)
  yield Misprint('negatives', 'D16', 'u_k for v', y[1:, None] * negatives)


def _of_hierarchical_softmax(center, node_vectors, code, *, mask=None):
  v, code = center, (code != 0).astype(np.float64)
  mask = np.ones(len(code), bool) if mask is None else mask
  u = np.where(mask[:, None], node_vectors, 0)
  s = _sigmoid(u @ v)
  t = np.where(mask, s - (1 - code), 0)
  forms = {
    'the sign of the step, as in the C tool: 1 - code - s(u_l v)': -t,
    'the branches are exchanged: s(u_l v) - code': np.where(mask, s - code, 0),
    'the -1 of code 0 is missing: s(u_l v)': np.where(mask, s, 0),
    'the code is not in the sigmoid: s(u_l v) - 1': np.where(mask, s - 1, 0),
    'a stray sigmoid: t_l s(u_l v)': t * s,
  }
  for text, wrong in forms.items():
    yield Misprint('center', 'section G', text, wrong @ u)
    yield Misprint('node_vectors', 'section G', text, np.outer(wrong, v))
  text = 'the sum is kept for a single node: sum_l t_l v'
  yield Misprint('node_vectors', 'section G', text, np.outer(mask * t.sum(), v))
  yield Misprint('node_vectors', 'section G', 'u_l for v: t_l u_l', t[:, None] * u)
  if not mask.all():
    t = _sigmoid(node_vectors @ v) - (1 - code)
    yield Misprint('center', 'section G', 'the mask is missing', t @ node_vectors)
    yield Misprint('node_vectors', 'section G', 'the mask is missing', np.outer(t, v))


def _of_two_layer(params, x, labels):
  w1, b1, w2, b2 = params
  z1 = x @ w1 + b1
  h = _sigmoid(z1)
  y, mass = _softmax(h @ w2 + b2), labels.sum()
  delta2, slope = mass * y - labels, h * (1 - h)
  back = delta2 @ w2.T
  yield Misprint('params.w2', 'D45', 'z1 for h: z1^T delta2', np.outer(z1, delta2))
  yield Misprint('params.w2', 'D46', 'the gradient of b2: delta2', delta2)
  yield Misprint('params.b1', 'D46', 'the sum of the wrong layer: delta2', delta2)
  if w2.shape == w1.shape:
    yield Misprint('x', 'D44', 'the wrong weight matrix: delta1 W2^T', (back * slope) @ w2.T)
  outputs = {'the output for its error: y_hat in place of delta2': y}
  if abs(mass - 1) > 1e-6:
    outputs['the labels count as if they summed to 1'] = y - labels
  for text, wrong in outputs.items():
    yield Misprint('params.b2', 'D41', text, wrong)
    yield Misprint('params.w2', 'D41', text, np.outer(h, wrong))
  for reference, text, delta1 in (
    ('D43', 'the derivative of the sigmoid is missing', back),
    ('D43', 's(z1) for its derivative', back * h),
    ('D43', 'the formula for s(z1) is applied to z1: z1 (1 - z1)', back * z1 * (1 - z1)),
    *(('D41', text, (wrong @ w2.T) * slope) for text, wrong in outputs.items()),
  ):
    yield Misprint('params.b1', reference, text, delta1)
    yield Misprint('params.w1', reference, text, np.outer(x, delta1))
    yield Misprint('x', reference, text, delta1 @ w1.T)


# A window adds up predictions. Each misprint of a prediction is one of the window.


class _Pair:
  """One prediction of a window: its gradient, its misprints, and the ids of its outside rows."""

  def __init__(self, v, table, outside_id, negative_ids, weights):
    self.is_sampled = negative_ids is not None
    if self.is_sampled:
      u, n = table[outside_id], table[negative_ids]
      w = np.ones(len(n)) if weights is None else weights
      pull, push = _sigmoid(u @ v) - 1, w * _sigmoid(n @ v)
      self.ids = np.append(outside_id, negative_ids)
      self._right = {'center': pull * u + push @ n, 'outside': pull * v,
                     'negatives': np.outer(push, v)}  # fmt: skip
      found = _of_binary(v, u, n, weights=weights)
    else:
      delta = _softmax(table @ v) - _one_hot(outside_id, len(table))
      self.ids = np.arange(len(table))
      self._right = {'center': delta @ table, 'outside_vectors': np.outer(delta, v)}
      found = _of_naive_softmax(v, outside_id, table)
    self.misprints = {
      x[:3]: x.gradient for x in found if x.gradient.shape == self._right[x.argument].shape
    }
    self.center, self.rows = self.form(None)

  def form(self, misprint):
    """Returns the gradients to the center vector and to the rows, one of them as misprinted."""
    grads = dict(self._right)
    if misprint in self.misprints:
      grads[misprint[0]] = self.misprints[misprint]
    center, *rows = grads.values()
    return center, np.concatenate([np.atleast_2d(x) for x in rows])


def _table(shape, ids, rows, overwrite=False):
  table = np.zeros(shape)
  if overwrite:
    table[ids] = rows
  else:
    np.add.at(table, ids, rows)
  return table


_OVERWRITTEN = 'rows of repeated words overwrite instead of accumulating'
_OWN_CONTEXT = 'the center word is counted in its own context'


def _of_pairs(pairs, shape, center_table):
  """Misprints of one prediction, made in all of them, and wrong ways to add up the rows."""
  outside = lambda rows: sum(_table(shape, p.ids, x) for p, x in zip(pairs, rows, strict=True))
  for key in dict.fromkeys(key for pair in pairs for key in pair.misprints):
    centers, rows = zip(*(pair.form(key) for pair in pairs), strict=True)
    if key[0] == 'center':
      yield Misprint('params.center', *key[1:], center_table(sum(centers)))
    else:
      yield Misprint('params.outside', *key[1:], outside(rows))
  ids, rows = np.concatenate([p.ids for p in pairs]), np.concatenate([p.rows for p in pairs])
  if len(np.unique(ids)) < len(ids):
    table = _table(shape, ids, rows, overwrite=True)
    yield Misprint('params.outside', 'D25', _OVERWRITTEN, table)
    if pairs[0].is_sampled and len(pairs) > 1:  # the outside words of all pairs come first
      is_outside = np.concatenate([np.arange(len(p.ids)) == 0 for p in pairs])
      order = np.argsort(~is_outside, kind='stable')
      table = _table(shape, ids[order], rows[order], overwrite=True)
      yield Misprint('params.outside', 'D25', _OVERWRITTEN, table)
  if pairs[0].is_sampled and any(p.ids[0] in p.ids[1:] for p in pairs):
    of_outside = lambda p: (p.ids == p.ids[0])[:, None]
    is_first = lambda p: np.arange(len(p.ids))[:, None] == 0
    observed = [np.where(of_outside(p) & ~is_first(p), 0, p.rows) for p in pairs]
    noise = [np.where(is_first(p) & (of_outside(p).sum() > 1), 0, p.rows) for p in pairs]
    text = 'the cases "observed" and "negative" are taken as exclusive, and only {} counts'.format
    yield Misprint('params.outside', 'D27', text('"observed"'), outside(observed))
    yield Misprint('params.outside', 'D27', text('"negative"'), outside(noise))


def _of_skip_gram(
  params, center_id, outside_ids, *, negative_ids=None, negative_weights=None, mask=None
):
  slots = np.arange(len(outside_ids)) if mask is None else np.flatnonzero(mask)
  if not len(slots):
    return
  v, shape = params.center[center_id], params.center.shape
  none = None if negative_ids is None else np.zeros(0, int)
  pair = functools.partial(_Pair, v, params.outside)
  at = lambda array, slot: None if array is None else array[slot]
  pairs = [pair(outside_ids[i], at(negative_ids, i), at(negative_weights, i)) for i in slots]
  center_table = lambda row: _table(shape, [center_id], row[None])
  yield from _of_pairs(pairs, shape, center_table)
  center, table = sum(p.center for p in pairs), sum(_table(shape, p.ids, p.rows) for p in pairs)
  own = pair(center_id, none, None)
  with_own = table + _table(shape, own.ids, own.rows)
  yield Misprint('params.outside', 'D30', _OWN_CONTEXT, with_own)
  yield Misprint('params.center', 'D31', _OWN_CONTEXT, center_table(center + own.center))
  text = 'zero for every word, the center word too'
  yield Misprint('params.center', 'D32', text, np.zeros(shape))
  if len(pairs) > 1:
    text = 'the last context word overwrites the others'
    yield Misprint('params.center', 'D25', text, center_table(pairs[-1].center))
    text = 'the mean over the context words for their sum'
    yield Misprint('params.outside', 'D30', text, table / len(pairs))
    yield Misprint('params.center', 'D31', text, center_table(center / len(pairs)))


def _of_cbow(
  params, context_ids, target_id, *, negative_ids=None, negative_weights=None, mask=None,
  combine='mean',
):  # fmt: skip
  ids = context_ids if mask is None else context_ids[mask]
  n, slots, is_mean = len(ids), len(context_ids), combine == 'mean'
  if not n:
    return
  shape, total = params.center.shape, params.center[ids].sum(axis=0)
  pair = lambda v: _Pair(v, params.outside, target_id, negative_ids, negative_weights)
  spread = lambda row, ids=ids, **k: _table(shape, ids, np.tile(row, (len(ids), 1)), **k)
  scale = 1 / n if is_mean else 1
  right = pair(scale * total)
  yield from _of_pairs([right], shape, lambda row: spread(scale * row))
  if n > 1:
    text = "the mean's 1/n is left out" if is_mean else "the mean's 1/n, although combine is 'sum'"
    wrong = 1 if is_mean else 1 / n
    yield Misprint('params.center', 'D35', text, spread(wrong * right.center))
  if len(np.unique(ids)) < n:
    rows = spread(scale * right.center, overwrite=True)
    yield Misprint('params.center', 'D25', _OVERWRITTEN, rows)
  own = np.append(ids, target_id)
  windows = {('D34', _OWN_CONTEXT): (own, 1 / len(own) if is_mean else 1)}
  if n > 1:
    text = (
      'the sum of the context for its mean' if is_mean else 'the mean of the context for its sum'
    )
    windows['D35', text] = ids, 1 if is_mean else 1 / n
  if is_mean and n < slots:
    windows['D35', 'the mean divides by the full window, not by the words in it'] = ids, 1 / slots
  for key, (words, factor) in windows.items():
    wrong = pair(factor * params.center[words].sum(axis=0))
    yield Misprint('params.center', *key, spread(factor * wrong.center, words))
    yield Misprint('params.outside', *key, _table(shape, wrong.ids, wrong.rows))


# The derivative, the argument that it is for (None: the fields say so), and the misprints.
_FUNCTIONS: dict[str, tuple[Callable, str | None, Callable[..., Iterable[Misprint]]]] = {
  'sigmoid_derivative': (derivatives.sigmoid_derivative, 'x', _of_sigmoid_derivative),
  'log_sigmoid_derivative': (derivatives.log_sigmoid_derivative, 'x', _of_log_sigmoid_derivative),
  'softmax_jacobian': (derivatives.softmax_jacobian, 'logits', _of_softmax_jacobian),
  'l2_normalize_jacobian': (derivatives.l2_normalize_jacobian, 'x', _of_l2_normalize_jacobian),
  'cross_entropy_loss': (derivatives.cross_entropy_gradient, 'logits', _of_cross_entropy),
  'naive_softmax_loss': (prediction.naive_softmax_value_and_grad, None, _of_naive_softmax),
  'negative_sampling_loss': (prediction.negative_sampling_value_and_grad, None, _of_binary),
  'nce_loss': (prediction.nce_value_and_grad, None, _of_binary),
  'sampled_softmax_loss': (prediction.sampled_softmax_value_and_grad, None, _of_sampled_softmax),
  'hierarchical_softmax_loss': (
    prediction.hierarchical_softmax_value_and_grad, None, _of_hierarchical_softmax
  ),
  'skip_gram_loss': (window.skip_gram_value_and_grad, 'params', _of_skip_gram),
  'cbow_loss': (window.cbow_value_and_grad, 'params', _of_cbow),
  'two_layer_loss': (network.two_layer_value_and_grad, None, _of_two_layer),
}  # fmt: skip


def _evaluated(name, args, kwargs):
  """Returns the right gradient by argument, and the misprints, in float64."""
  if name not in _FUNCTIONS:
    raise ValueError(f'name must be one of {", ".join(_FUNCTIONS)}, got {name!r}')
  derivative, argument, wrong = _FUNCTIONS[name]
  convert = lambda x: x if isinstance(x, str) else np.asarray(x)
  arguments = jax.tree.map(convert, (args, kwargs), is_leaf=lambda x: isinstance(x, list))
  args, kwargs = _cast(arguments, np.float64)
  with jax.enable_x64(True):
    result = derivative(*args, **kwargs)
    grads = result[1] if isinstance(result, tuple) else result
    right = _by_path(jax.tree.map(np.asarray, grads if argument is None else {argument: grads}))
  # Options that are given by position have names in the wrong forms.
  kinds = [p.kind for p in inspect.signature(wrong).parameters.values()]
  count = len(args) if inspect.Parameter.VAR_POSITIONAL in kinds else kinds.count(
    inspect.Parameter.POSITIONAL_OR_KEYWORD
  )  # fmt: skip
  names = list(inspect.signature(derivative).parameters)
  kwargs = kwargs | dict(zip(names[count:], args[count:], strict=False))
  with np.errstate(all='ignore'):  # at saturated scores some wrong forms overflow
    return right, list(wrong(*args[:count], **kwargs))


def misprints(name: str, /, *args: Any, **kwargs: Any) -> list[Misprint]:
  """Evaluates the known wrong gradients of a function on its arguments.

  The list leaves out misprints that the arguments cannot show, for example rows that overwrite
  each other where no word repeats.

  Args:
    name: name of one of our losses, as 'negative_sampling_loss', or of 'sigmoid_derivative',
      'log_sigmoid_derivative', 'softmax_jacobian' or 'l2_normalize_jacobian'.
    *args: positional arguments of that function.
    **kwargs: its keyword arguments.

  Returns:
    `Misprint(argument, reference, description, gradient)` for each, gradients in float64.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    ValueError: `name` is unknown.

  References:
    docs/derivations.md, section Misprints.

  Example:
    >>> import numpy as np
    >>> from jw2v.testing import misprints
    >>> for x in misprints('sigmoid_derivative', np.array([0.5]))[:2]:
    ...   print(x.argument, x.reference, x.description)
    x D07 the prime is missing: s(x)
    x D07 the factor exp(-x) of the chain rule is missing: s(x)^2
  """
  return _evaluated(name, args, kwargs)[1]


# --- The explanation of a gradient ---


def explain_gradient(
  name: str, got: Any, /, *args: Any, argument: str | None = None, **kwargs: Any
) -> str:
  """Explains a gradient of one of the losses: correct, or the most likely mistake.

  The function compares the gradient with the right one, with the known misprints (`misprints`), and
  with general mistakes: a flipped sign, a constant factor, a transpose, another shape, an extra sum
  or mean, the gradient of another argument. If the data do not distinguish two of them, the
  text contains both. For example, s(x) equals s(-x) at a score of 0.

  Args:
    name: name of the function, as for `misprints`.
    got: the gradient: a NamedTuple, a dict, a tuple with all arrays in our order, or one array.
    *args: positional arguments of the function.
    argument: name of the argument, if `got` is one array; by default the shape decides.
    **kwargs: keyword arguments of the function.

  Returns:
    'right', or a line for each argument: its name and the explanation of its gradient.

  Raises:
    AssertionError: an argument of the function has the wrong rank, shape or dtype.
    ValueError: `name` or `argument` is unknown, or `got` does not fit any argument.

  References:
    docs/derivations.md, section Misprints.

  Example:
    >>> import jax
    >>> import numpy as np
    >>> from jw2v.testing import explain_gradient
    >>> v, u = np.array([1.0, 0.5]), np.array([0.5, 0.1])
    >>> n = np.array([[0.2, 1.0], [-1.0, 0.4], [0.3, 0.3]])
    >>> mine = np.outer(1 - jax.nn.sigmoid(n @ v), v)
    >>> print(explain_gradient('negative_sampling_loss', mine, v, u, n))
    negatives: the sigmoid lost its minus sign: (1 - s(u_k v)) v; D23
  """
  right, wrong = _evaluated(name, args, kwargs)
  given = _given(got, list(right), argument)
  sizes = _sizes(args, kwargs)
  if given is not None:
    lines = {
      path: _explained(path, given[path], right, wrong, sizes)[1] for path in right if path in given
    }
  else:
    got = np.asarray(got)
    fits = [path for path, x in right.items() if x.shape == got.shape]
    fits = fits or [path for path, x in right.items() if x.size == got.size]
    if not fits and len(right) == 1:
      fits = list(right)
    if not fits:
      shapes = ', '.join(f'{path} {list(x.shape)}' for path, x in right.items())
      raise ValueError(
        f'got must have the shape of an argument ({shapes}), got {list(got.shape)}; name the '
        'argument with argument='
      )
    found = {path: _explained(path, got, right, wrong, sizes) for path in fits}
    best = min(rank for rank, _ in found.values())
    lines = {path: text for path, (rank, text) in found.items() if rank == best}
  if all(text == 'right' for text in lines.values()):
    return 'right'
  return '\n'.join(f'{path}: {text}' for path, text in lines.items())


def _given(got, paths, argument) -> dict[str, Any] | None:
  """Returns the arrays of `got` by argument, or None if it is one array without a name."""
  if argument is not None:
    return {_path_of(argument, paths, 'argument'): got}
  if dict(_fields(got)):
    return {_path_of(path, paths, 'got'): x for path, x in _by_path(got).items()}
  if isinstance(got, tuple):
    leaves = jax.tree.leaves(got)
    if len(leaves) != len(paths):
      raise ValueError(f'got must have {len(paths)} arrays ({", ".join(paths)}), got {len(leaves)}')
    return dict(zip(paths, leaves, strict=True))
  return None


def _path_of(name, paths, what):
  """Returns the path that ends in a name: 'params.center' for 'center'."""
  ends = [path for path in paths if path == name or path.endswith(f'.{name}')]
  if len(ends) != 1:
    raise ValueError(f'{what} must name one of {", ".join(paths)}, got {name!r}')
  return ends[0]


def _sizes(args, kwargs) -> dict[int, str]:
  """Returns the lengths of the axes of the arguments, to interpret factors above 1."""
  sizes: dict[int, str] = {}
  for x in jax.tree.leaves((args, kwargs)):
    for axis, length in enumerate(np.shape(x)):
      if length > 1:
        sizes.setdefault(length, f'the length of axis {axis} of an argument {list(np.shape(x))}')
  return sizes


def _tolerance(x) -> float:
  """Allows for the rounding of the program that computed `x`."""
  dtype = jnp.asarray(x).dtype if _is_array(x) else np.dtype(np.float64)
  eps = float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.floating) else 0.0
  return min(max(64 * eps, 1e-9), 0.05)


def _explained(path, got, right, wrong, sizes) -> tuple[int, str]:
  """Returns the explanation of the gradient to one argument, and its rank (0 is most certain)."""
  tolerance = _tolerance(got)
  got, want = np.asarray(got, np.float64), right[path]
  same = lambda x, y=got: (
    np.shape(x) == y.shape
    and bool(np.isfinite(x).all())
    and _largest(x - y) <= tolerance * max(_largest(x), _largest(y))
  )
  ours = [x for x in wrong if x.argument == path]
  if not np.isfinite(got).all():
    return 3, f'not finite: {_first_not_finite(got)}'
  named = _listed(x for x in ours if same(x.gradient))
  if same(want):
    return 0, f'right, but on this data the same as: {named}' if named else 'right'
  if named:
    return 1, named
  if general := _general(path, got, right, same, tolerance, sizes):
    return 2, general
  for change, form in {'with the opposite sign': -got, 'transposed': got.T}.items():
    if named := _listed(x for x in ours if same(x.gradient, form)):
      return 2, f'{change}, {named}'
  if got.shape != want.shape:
    return 3, f'has the shape {list(got.shape)}, want {list(want.shape)}'
  return 3, f'not a known misprint; the largest error: {_worst(got, want)}'


def _listed(found: Iterable[Misprint]) -> str:
  texts = dict.fromkeys(f'{x.description}; {x.reference}' for x in found)
  return ', or, the same on this data, '.join(texts)


def _general(path, got, right, same, tolerance, sizes) -> str:
  """Describes a mistake that any gradient can have; an empty string if none is found."""
  want = right[path]
  if not got.any() and got.shape == want.shape:
    return 'zero everywhere'
  if same(-want):
    return 'the sign is flipped: -1 times the right gradient'
  for other, x in right.items():
    if other != path and same(x):
      return f'the gradient to {other}'
  if want.ndim == 2 and same(want.T):
    return 'transposed'
  if got.shape != want.shape and got.size == want.size and same(want.reshape(got.shape)):
    return f'right but for the shape {list(got.shape)}, want {list(want.shape)}'
  for axis in range(want.ndim):
    for word, reduced in (('summed', want.sum(axis)), ('averaged', want.mean(axis))):
      if want.shape[axis] > 1 and same(reduced):
        return f'{word} over axis {axis}, which must not be {word}'
      repeated = np.broadcast_to(np.expand_dims(reduced, axis), want.shape)
      if want.shape[axis] > 1 and same(repeated):
        return f'every entry along axis {axis} is the gradient {word} over this axis'
  factor = _factor(got, want, tolerance)
  if factor is not None and factor:
    count = max(abs(factor), 1 / abs(factor))
    whole = round(count)
    is_count = abs(count - whole) <= tolerance * whole and whole in sizes
    note = f' ({whole} is {sizes[whole]})' if is_count else ''
    return f'{_fraction(factor)} times the right gradient{note}'
  return ''
