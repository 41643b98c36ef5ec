"""Arithmetic that the losses share: sums in float32 or better, and the log-odds of a softmax.

Half-precision inputs need wide sums: a sum in bfloat16 stops growing at 256 times the size of its
terms.
"""

import functools
from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp

Class = TypeVar('Class', bound=type)


def exportable(cls: Class) -> Class:
  """Registers a NamedTuple, so that `jax.export` can serialize functions that return it."""
  jax.export.register_namedtuple_serialization(cls, serialized_name=f'jw2v.{cls.__name__}')
  return cls


def common_dtype(*arrays: jax.Array) -> jnp.dtype:
  """Returns the result dtype of an operation on the arrays, also under strict promotion."""
  with jax.numpy_dtype_promotion('standard'):
    return functools.reduce(jnp.promote_types, [x.dtype for x in arrays])


def wide_dtype(*arrays: jax.Array) -> jnp.dtype:
  """Returns the dtype in which sums over the arrays are carried: float32 or better."""
  with jax.numpy_dtype_promotion('standard'):
    return jnp.promote_types(common_dtype(*arrays), jnp.float32)


def widen(*arrays: jax.Array) -> list[jax.Array]:
  """Converts the arrays to their `wide_dtype`."""
  return [x.astype(wide_dtype(*arrays)) for x in arrays]


def cast(values: Sequence[jax.Array], dtypes: Sequence[jnp.dtype]) -> list[jax.Array]:
  """Converts each value to the dtype beside it."""
  return [x.astype(dtype) for x, dtype in zip(values, dtypes, strict=True)]


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
  """Returns `a @ b`, accumulated in `wide_dtype`."""
  if a.dtype != b.dtype:
    a, b = widen(a, b)
  return jnp.matmul(a, b, preferred_element_type=wide_dtype(a, b))


def outer(a: jax.Array, b: jax.Array) -> jax.Array:
  """Returns the outer product of two vectors in their `wide_dtype`."""
  a, b = widen(a, b)
  return a[:, None] * b[None, :]


def in_range(ids: jax.Array, num_rows: int) -> tuple[jax.Array, jax.Array]:
  """Returns the ids with 0 for those out of [0, num_rows), and the mask of ids in range."""
  if ids.dtype.itemsize < 4:  # where `num_rows` may not fit
    ids = ids.astype(jnp.int32)
  valid = (ids >= 0) & (ids < num_rows)
  return jnp.where(valid, ids, jnp.zeros_like(ids)).astype(jnp.int32), valid


def margin(others: jax.Array, label: jax.Array) -> jax.Array:
  r"""Log-odds against the label: :math:`z = \log \sum_{w \ne o} e^{s_w} - s_o`.

  The label's softmax is :math:`\hat y_o = \sigma(-z)` (derivation D04), so that its cross entropy
  is :math:`\mathrm{softplus}(z)`: never negative, and exact to the last digits both where it is
  small and where the scores are large.

  Args:
    others: `[n]` scores of the other classes; -inf excludes one.
    label: `[]` score of the label.

  Returns:
    `[]`, -inf without other classes.
  """
  peak = jax.lax.stop_gradient(jnp.max(others, initial=-jnp.inf))
  peak = jnp.where(jnp.isneginf(peak), 0, peak)
  return log_odds(peak, jnp.sum(jnp.exp(others - peak)), label)


def log_odds(peak: jax.Array, total: jax.Array, label: jax.Array) -> jax.Array:
  """Returns `peak + log(total) - label`, with the large terms subtracted first."""
  empty = total == 0
  z = (peak - label) + jnp.log(jnp.where(empty, 1, total))
  return jnp.where(empty, -jnp.inf, z)


def softmax_of_label(scores: jax.Array, label_id: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Cross entropy of one label against the softmax of scores `[V]`, and its gradient `[V]`.

  A label out of range has the loss NaN and the gradient 0.
  """
  label_id, valid = in_range(label_id, scores.shape[0])
  is_label = jnp.arange(scores.shape[0], dtype=label_id.dtype) == label_id
  label = jnp.sum(jnp.where(is_label, scores, 0))
  others = jnp.where(is_label, -jnp.inf, scores)
  z = margin(others, label)
  # d_label = -(1 - y_o), and the other classes share 1 - y_o.
  wrong = jax.nn.sigmoid(z)
  delta = jnp.where(is_label, -wrong, wrong * softmax(others))
  return jnp.where(valid, jax.nn.softplus(z), jnp.nan), jnp.where(valid, delta, 0)


def log_softmax(scores: jax.Array) -> jax.Array:
  """Returns the log-softmax of `[n]` scores, with all digits where a class has nearly all mass."""
  peak = jax.lax.stop_gradient(jnp.max(scores))
  is_peak = jnp.arange(scores.size) == jnp.argmax(scores)
  # The sum of exponentials less 1, the term of the largest.
  rest = jnp.sum(jnp.where(is_peak, jnp.expm1(scores - peak), jnp.exp(scores - peak)))
  return (scores - peak) - jnp.log1p(rest)


def softmax(scores: jax.Array) -> jax.Array:
  """Returns the softmax of `[n]` scores, zeros if all are -inf or n is 0."""
  peak = jnp.max(scores, initial=-jnp.inf)
  weights = jnp.exp(scores - jnp.where(jnp.isneginf(peak), 0, peak))
  total = jnp.sum(weights)
  return weights / jnp.where(total == 0, 1, total)
