"""Lookups in tables, and gradients as rows of the tables.

A batch touches a few thousand of the V rows of a table. A dense [V, D] gradient would cost more
than the rest of the step, so a gradient is a list of rows: ids and values. For any loss of vectors,
call `gather_rows`, `jax.value_and_grad` with respect to the vectors, `row_gradients`, and then an
optimizer of `jw2v.optim`. For windows of negative sampling, the closed forms here do everything
except the update.

Axes: V rows of a table, D vector width, N rows of a gradient, B windows, C context slots, K
negatives.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses import prediction
from jw2v.losses._check import check
from jw2v.losses.numerics import common_dtype, exportable, wide_dtype
from jw2v.losses.window import Word2VecParams


@exportable
class CurvatureSample(NamedTuple):
  r"""The curvature of a table's rows, measured on any part of a batch; for `curvature_damped_sgd`.

  Let :math:`H = \sum_o h_o u_o u_o^\top` be a Hessian of the loss by a row and :math:`g` its
  gradient, both over the same terms of the loss; and let :math:`m` be a unit vector that the
  :math:`u_o` of a table have in common, see `jw2v.optim.common_direction`. The fields are sums over
  some rows. The optimizer adds the M sums and uses only ratios, so their number and a common factor
  do not matter.
  """

  curvatures: jax.Array  # [M, 3] d^T H d / d^T d with d = g - (g^T m) m; m^T H m; and tr H
  direction: jax.Array  # [M, D] h_o u_o over the terms, from which the next m is made


@exportable
class RowGradients(NamedTuple):
  """The gradient of a [V, D] table as rows: `dense[ids[n]] += values[n]`.

  An id may repeat. The id V marks padding, whose values are dropped. The optimizers treat every id
  outside [0, V) as padding. A row of zeros with a valid id is not padding, because Adam would treat
  it as a gradient.

  The curvature of an id is the sum over its rows: an estimate of the trace of the Hessian of the
  loss with respect to that row of the table (see `objectives/logistic.py`). Only
  `curvature_damped_sgd` needs it, and only this optimizer reads the sample, to estimate the
  share of the trace for damping.
  """

  ids: jax.Array  # [N] integers in [0, V]
  values: jax.Array  # [N, D]
  curvature: jax.Array | None = None  # [N], not negative
  sample: CurvatureSample | None = None
  common: jax.Array | None = None  # [N] values @ m, if there was a cheaper place to compute it


def check_row_gradients(gradients: RowGradients, table: jax.Array | None = None) -> RowGradients:
  """Returns the gradients as arrays.

  Args:
    gradients: N rows.
    table: `[V, D]` floating table, if it is known.

  Raises:
    AssertionError: the table or a field of the gradient has the wrong rank, shape or dtype.
    TypeError: the gradient is not a `RowGradients`.
  """
  if not isinstance(gradients, RowGradients):
    raise TypeError(
      f'the gradient of a table must be RowGradients, got {type(gradients).__name__}; '
      'make it with jw2v.row_gradients'
    )
  sample = gradients.sample
  curvatures, direction = (None, None) if sample is None else sample
  _, ids, values, curvature, common, *sums = check(
    **{
      'table': (table, '?V D'),
      'gradients.ids': (gradients.ids, 'N', int),
      'gradients.values': (gradients.values, 'N D'),
      'gradients.curvature': (gradients.curvature, '?N'),
      'gradients.common': (gradients.common, '?N'),
      'gradients.sample.curvatures': (curvatures, '?M 3'),
      'gradients.sample.direction': (direction, '?M D'),
    }
  )
  if sample is None:
    return RowGradients(ids, values, curvature, None, common)
  if sums[0].shape[1] != 3:
    raise AssertionError(
      "argument 'gradients.sample.curvatures' must be floating [M, 3], got "
      f'{sums[0].dtype}{list(sums[0].shape)}'
    )
  return RowGradients(ids, values, curvature, CurvatureSample(*sums), common)


def row_ids(ids: jax.Array, num_rows: int) -> jax.Array:
  """Returns ids as int32, with ids that are out of range replaced by the padding id.

  Args:
    ids: integers of any dtype and shape.
    num_rows: V, at most 2**31 - 1. Ids outside [0, V), negative ones included, become V.
  """
  # V may not fit in the dtype of the ids. Unsigned ids too large for the signed dtype of the same
  # size become negative.
  ids = ids.astype(jnp.int64 if ids.dtype.itemsize == 8 else jnp.int32)
  return jnp.where((ids >= 0) & (ids < num_rows), ids, num_rows).astype(jnp.int32)


def _gather(table, ids, fill_value):
  """Gathers the rows of `row_ids`; `fill_value` for padding."""
  return table.at[ids].get(mode='fill', fill_value=fill_value)


# --- Any loss of vectors ---


def gather_rows(tables: Any, ids: Any, *, fill_value: float = jnp.nan) -> Any:
  """Looks up rows of tables.

  Args:
    tables: pytree of `[V, D]` tables, each with its own V and D.
    ids: pytree of integer arrays of any shape `[...]` and dtype, in a tree with
      `tables` as a prefix: one array, or a tree of arrays, for each table.
    fill_value: the elements of vectors whose id is outside [0, V). Negative ids do not wrap. NaN
      shows a wrong id in the loss. If a mask drops the loss of padding, pass 0, since the
      gradient of a masked NaN is NaN.

  Returns:
    The tree of `ids`, with `[..., D]` vectors in the dtype of their table.

  Raises:
    AssertionError: a table is not floating `[V, D]`, or ids are not integers.
    ValueError: `tables` is not a tree prefix of `ids`.

  Example:
    >>> import jax, jax.numpy as jnp, optax, jw2v
    >>> tables = {'users': jnp.ones((50, 8)), 'items': 0.1 * jnp.ones((90, 8))}
    >>> ids = {'users': jnp.array([3]), 'items': (jnp.array([11]), jnp.array([[5, 6]]))}
    >>> def loss(vectors):
    ...   bought, others = vectors['items']
    ...   return jax.vmap(jw2v.negative_sampling_loss)(vectors['users'], bought, others).sum()
    >>> value, d_vectors = jax.value_and_grad(loss)(jw2v.gather_rows(tables, ids))
    >>> gradients = jw2v.row_gradients(tables, ids, d_vectors)
    >>> gradients['items'].ids.tolist(), gradients['items'].values.shape
    ([11, 5, 6], (3, 8))
    >>> optimizer = jw2v.rowwise(optax.adam(0.1))
    >>> tables, state = optimizer.update(gradients, optimizer.init(tables), tables)
  """

  def of_table(table, ids):
    return jax.tree.map(lambda leaf: of_ids(table, leaf), ids)

  def of_ids(table, ids):
    table, ids = check(tables=(table, 'V D'), ids=(ids, '...', int))
    return _gather(table, row_ids(ids, table.shape[0]), fill_value)

  return jax.tree.map(of_table, tables, ids)


def row_gradients(tables: Any, ids: Any, d_vectors: Any) -> Any:
  """Turns the gradients of looked-up vectors into gradients of the tables.

  Args:
    tables: pytree of `[V, D]` tables, as for `gather_rows`; only shapes and dtypes are read.
    ids: pytree of integer arrays, as for `gather_rows`.
    d_vectors: the tree of `ids`, with the `[..., D]` gradients of the vectors.

  Returns:
    The tree of `tables`, with one `RowGradients` per table: the ids and values of all its lookups,
    in the order of the tree. Ids that repeat are kept, since the optimizers add their rows. Ids
    outside [0, V) become the padding id V. The values have the dtype of the table.

  Raises:
    AssertionError: a table is not floating `[V, D]`, ids are not integers, or a gradient does not
      have the shape of its ids and the width of its table.
    ValueError: `tables` is not a tree prefix of `ids`, or the trees of `ids` and `d_vectors`
      differ.

  Example:
    See `gather_rows`.
  """

  def of_table(table, ids, d_vectors):
    parts = [of_ids(table, *pair) for pair in _pairs(ids, d_vectors)]
    none = jnp.zeros(0, jnp.int32), jnp.zeros_like(table, shape=(0, table.shape[-1]))
    return RowGradients(*map(jnp.concatenate, zip(none, *parts, strict=True)))

  def of_ids(table, ids, d_vectors):
    axes = ' '.join(f'N{axis}' for axis in range(jnp.ndim(ids)))
    table, ids, d_vectors = check(
      tables=(table, 'V D'), ids=(ids, axes, int), d_vectors=(d_vectors, f'{axes} D', 'tables')
    )
    d_vectors = d_vectors.reshape(-1, table.shape[1]).astype(table.dtype)
    return row_ids(ids.reshape(-1), table.shape[0]), d_vectors

  return jax.tree.map(of_table, tables, ids, d_vectors)


def _pairs(ids, d_vectors):
  """Returns pairs of leaves of two trees with the same structure."""
  leaves, structure = jax.tree.flatten(ids)
  return zip(leaves, structure.flatten_up_to(d_vectors), strict=True)


# --- Windows with negative sampling ---


def skip_gram_row_gradients(
  params: Word2VecParams,
  center_ids: ArrayLike,
  outside_ids: ArrayLike,
  *,
  negative_ids: ArrayLike,
  negative_weights: ArrayLike | None = None,
  mask: ArrayLike | None = None,
) -> tuple[jax.Array, Word2VecParams]:
  r"""`skip_gram_loss` of a batch with negative sampling, and its gradients as rows.

  .. math:: J_b = \sum_{c} \ell(v_{w_b}, w_{bc}, U), \qquad
     \frac{\partial}{\partial v_{w_b}} \sum_{b'} J_{b'}
       = \sum_{b':\, w_{b'} = w_b} \sum_c \frac{\partial \ell_{b'c}}{\partial v_{w_b}}

  The rows add up to the dense gradients of `skip_gram_value_and_grad`, summed over the batch. No
  array has the size of a table.

  Args:
    params: the two tables, `[V, D]` and `[W, D]`.
    center_ids: `[B]` integers, the center words.
    outside_ids: `[B, C]` integers, the context words; one that repeats counts each time.
    negative_ids: `[B, C, K]` integers, the noise words of each context word.
    negative_weights: `[B, C, K]` their weights; all 1 if not given.
    mask: `[B, C]` bool, False for padding, which may hold any id. All True if not given.

  Returns:
    `(losses, gradients)`: `[B]` losses in the common dtype of the tables, 0 for a window masked
    entirely; and `Word2VecParams` of `RowGradients`, with `[B, D]` values for the center table and
    `[B * C + B * C * K, D]` for the outside table, each in the dtype of its table. Masked slots
    have the padding id V, and so has the center of a window masked entirely. If an id outside
    [0, V) is not masked, the loss of its window is NaN, and the window has only padding.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.

  References:
    As `skip_gram_value_and_grad`.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> params = jw2v.Word2VecParams(jnp.ones((9, 4)), jnp.ones((9, 4)))
    >>> losses, gradients = jw2v.skip_gram_row_gradients(
    ...   params, [2, 5], [[3, 4], [6, 0]], negative_ids=[[[7], [8]], [[1], [0]]],
    ...   mask=[[True, True], [True, False]],
    ... )
    >>> losses.shape, gradients.outside.ids.tolist()
    ((2,), [3, 4, 6, 9, 7, 8, 1, 9])
  """
  center, outside, center_ids, outside_ids, mask, negative_ids, weights = check(
    **{
      'params.center': (params.center, 'V D'),
      'params.outside': (params.outside, 'W D'),
      'center_ids': (center_ids, 'B', int),
      'outside_ids': (outside_ids, 'B C', int),
      'mask': (mask, '?B C', bool),
      'negative_ids': (negative_ids, 'B C K', int),
      'negative_weights': (negative_weights, '?B C K', 'params.center'),
    }
  )
  no_center, padding = center.shape[0], outside.shape[0]
  mask = jnp.ones_like(outside_ids, bool) if mask is None else mask
  center_ids = row_ids(center_ids, no_center)
  outside_ids, negative_ids = (row_ids(ids, padding) for ids in (outside_ids, negative_ids))
  no_row = (center_ids == no_center)[:, None] | (outside_ids == padding)
  no_row |= jnp.any(negative_ids == padding, axis=2)
  wrong = jnp.any(mask & no_row, axis=1)  # [B]
  mask &= ~wrong[:, None]
  center_ids = jnp.where(jnp.any(mask, axis=1), center_ids, no_center)
  outside_ids = jnp.where(mask, outside_ids, padding)
  negative_ids = jnp.where(mask[..., None], negative_ids, padding)
  dtype = wide_dtype(center, outside)
  if weights is not None:
    weights = jnp.where(mask[..., None], weights, 0).astype(dtype)
  each_slot = jax.vmap(prediction.negative_sampling_value_and_grad, (None, 0, 0))
  pair_losses, grads = jax.vmap(each_slot)(
    _gather(center, center_ids, 0).astype(dtype),
    _gather(outside, outside_ids, 0).astype(dtype),
    _gather(outside, negative_ids, 0).astype(dtype),
    weights=weights,
  )
  losses = jnp.where(wrong, jnp.nan, jnp.sum(pair_losses, axis=1, where=mask))
  d_center = jnp.sum(grads.center, axis=1, where=mask[..., None])
  return losses.astype(common_dtype(center, outside)), Word2VecParams(
    _as_rows(center, (center_ids, d_center)),
    _as_rows(outside, (outside_ids, grads.outside), (negative_ids, grads.negatives)),
  )


def cbow_row_gradients(
  params: Word2VecParams,
  context_ids: ArrayLike,
  target_ids: ArrayLike,
  *,
  negative_ids: ArrayLike,
  negative_weights: ArrayLike | None = None,
  mask: ArrayLike | None = None,
  combine: str = 'mean',
) -> tuple[jax.Array, Word2VecParams]:
  r"""`cbow_loss` of a batch with negative sampling, and its gradients as rows.

  .. math:: J_b = \ell(\hat v_b, w_b, U), \qquad
     \frac{\partial}{\partial v_w} \sum_b J_b
       = \sum_b s_b\, n_{bw}\, \frac{\partial \ell_b}{\partial \hat v_b}

  with :math:`n_{bw}` the occurrences of w in the context of window b, and :math:`s_b` the inverse
  of their number for the mean, 1 for the sum. The rows add up to the dense gradients of
  `cbow_value_and_grad`, summed over the batch. No array has the size of a table.

  Args:
    params: the two tables, `[V, D]` and `[W, D]`; context words read the center table.
    context_ids: `[B, C]` integers; one that repeats counts each time.
    target_ids: `[B]` integers, the words to predict.
    negative_ids: `[B, K]` integers, the noise words.
    negative_weights: `[B, K]` their weights; all 1 if not given.
    mask: `[B, C]` bool, False for padding, which may hold any id. All True if not given.
    combine: 'mean' over the slots that are not masked, or 'sum'.

  Returns:
    `(losses, gradients)`: `[B]` losses in the common dtype of the tables, 0 for a window masked
    entirely; and `Word2VecParams` of `RowGradients`, with `[B * C, D]` values for the center table
    and `[B + B * K, D]` for the outside table, each in the dtype of its table. Masked slots have
    the padding id V, and so has all of a window masked entirely. If an id outside [0, V) is not
    masked, the loss of its window is NaN, and the window has only padding.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    ValueError: another `combine`.

  References:
    As `cbow_value_and_grad`.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> params = jw2v.Word2VecParams(jnp.ones((9, 4)), jnp.ones((9, 4)))
    >>> losses, gradients = jw2v.cbow_row_gradients(
    ...   params, [[3, 4], [6, 0]], [2, 5], negative_ids=[[7], [1]],
    ...   mask=[[True, True], [True, False]],
    ... )
    >>> gradients.center.ids.tolist(), gradients.outside.ids.tolist()
    ([3, 4, 6, 9], [2, 5, 7, 1])
  """
  if combine not in ('sum', 'mean'):
    raise ValueError(f"combine must be 'sum' or 'mean', got {combine!r}")
  center, outside, context_ids, target_ids, mask, negative_ids, weights = check(
    **{
      'params.center': (params.center, 'V D'),
      'params.outside': (params.outside, 'W D'),
      'context_ids': (context_ids, 'B C', int),
      'target_ids': (target_ids, 'B', int),
      'mask': (mask, '?B C', bool),
      'negative_ids': (negative_ids, 'B K', int),
      'negative_weights': (negative_weights, '?B K', 'params.center'),
    }
  )
  no_center, padding = center.shape[0], outside.shape[0]
  mask = jnp.ones_like(context_ids, bool) if mask is None else mask
  context_ids = row_ids(context_ids, no_center)
  target_ids, negative_ids = (row_ids(ids, padding) for ids in (target_ids, negative_ids))
  no_row = jnp.any(mask & (context_ids == no_center), axis=1) | (target_ids == padding)
  no_row |= jnp.any(negative_ids == padding, axis=1)
  wrong = jnp.any(mask, axis=1) & no_row  # [B]
  mask &= ~wrong[:, None]
  present = jnp.any(mask, axis=1)  # [B]
  context_ids = jnp.where(mask, context_ids, no_center)
  target_ids = jnp.where(present, target_ids, padding)
  negative_ids = jnp.where(present[:, None], negative_ids, padding)
  dtype = wide_dtype(center, outside)
  if weights is not None:
    weights = weights.astype(dtype)
  count = jnp.maximum(jnp.sum(mask, axis=1), 1) if combine == 'mean' else jnp.ones_like(target_ids)
  scale = 1 / count.astype(dtype)[:, None]  # [B, 1]
  combined = scale * jnp.sum(_gather(center, context_ids, 0).astype(dtype), axis=1)  # [B, D]
  losses, grads = jax.vmap(prediction.negative_sampling_value_and_grad)(
    combined,
    _gather(outside, target_ids, 0).astype(dtype),
    _gather(outside, negative_ids, 0).astype(dtype),
    weights=weights,
  )
  losses = jnp.where(wrong, jnp.nan, jnp.where(present, losses, 0))
  d_context = jnp.broadcast_to((scale * grads.center)[:, None], (*mask.shape, center.shape[1]))
  return losses.astype(common_dtype(center, outside)), Word2VecParams(
    _as_rows(center, (context_ids, d_context)),
    _as_rows(outside, (target_ids, grads.outside), (negative_ids, grads.negatives)),
  )


def _as_rows(table, *parts):
  """Joins the gradients of several lookups in a table, whose ids are `row_ids`."""
  ids = [ids.reshape(-1) for ids, _ in parts]
  values = [values.reshape(-1, table.shape[1]).astype(table.dtype) for _, values in parts]
  return RowGradients(jnp.concatenate(ids), jnp.concatenate(values))
