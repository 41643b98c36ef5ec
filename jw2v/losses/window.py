"""Skip-gram and CBOW: the losses of `prediction.py` summed over one window.

The objective of one window is a function of two whole tables here, and so is its dense gradient in
closed form, as in the textbook. The training code is tested against it; training itself never makes
a [V, D] gradient (`rows.py` has rows instead). One window at a time: batch with `jax.vmap`.

Axes: C context slots, K negatives, D vector width, V vocabulary. The tables may have different
numbers of rows, as of documents and words. A masked slot may hold any id, -1 and 0 included. An id
out of range in a slot that is not masked makes the loss NaN.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses import prediction
from jw2v.losses._check import check
from jw2v.losses._mesh import any_mesh
from jw2v.losses.numerics import (
  common_dtype,
  dot,
  exportable,
  in_range,
  outer,
  softmax_of_label,
  wide_dtype,
  widen,
)


@exportable
class Word2VecParams(NamedTuple):
  """The two tables of word2vec with one vector per row, or their gradients."""

  center: jax.Array  # [V, D] input vectors
  outside: jax.Array  # [V, D] output vectors


def _check_window(params, id_name, id_, ids_name, ids, negative_ids, negative_weights, mask, slots):
  """Checks one window's arguments and fills in the mask; negatives have axes `slots`."""
  if negative_weights is not None and negative_ids is None:
    raise ValueError(
      'negative_weights must not be given without negative_ids; give both or neither'
    )
  center, outside, id_, ids, mask, negative_ids, negative_weights = check(
    **{
      'params.center': (params.center, 'V D'),
      'params.outside': (params.outside, 'W D'),
      id_name: (id_, '', int),
      ids_name: (ids, 'C', int),
      'mask': (mask, '?C', bool),
      'negative_ids': (negative_ids, f'?{slots}', int),
      'negative_weights': (negative_weights, f'?{slots}', 'params.center'),
    }
  )
  mask = jnp.ones(ids.shape, bool) if mask is None else mask
  return Word2VecParams(center, outside), id_, ids, negative_ids, negative_weights, mask


def _wide(params):
  """Returns the tables in the dtype of their sums, in which autodiff adds up repeated rows, too."""
  return Word2VecParams(*widen(*params))


def _rows(table, ids, mask=True):
  """Looks up rows: zeros where the mask is False, and NaN for ids out of range."""
  ids, valid = in_range(ids, table.shape[0])
  mask = jnp.broadcast_to(mask, ids.shape)[..., None]
  return jnp.where(mask & ~valid[..., None], jnp.nan, jnp.where(mask, table[ids], 0))


def _scatter_rows(table, ids, rows, mask=True):
  """Returns zeros like the table with each row added at its id; padding is dropped."""
  ids, valid = in_range(ids, table.shape[0])
  ids = jnp.where(valid & mask, ids, table.shape[0])
  return jnp.zeros(table.shape, rows.dtype).at[ids].add(rows, mode='drop')


def _like(params, grads):
  """Converts each gradient to the dtype of its table."""
  return Word2VecParams(
    *(grad.astype(table.dtype) for grad, table in zip(grads, params, strict=True))
  )


# --- Skip-gram: the center word predicts each of its context words ---


def _check_skip_gram(params, center_id, outside_ids, negative_ids, negative_weights, mask):
  """Returns the checked arguments; the mask of a slot also applies to its negatives."""
  params, center_id, outside_ids, negative_ids, negative_weights, mask = _check_window(
    params, 'center_id', center_id, 'outside_ids', outside_ids,
    negative_ids, negative_weights, mask, 'C K',
  )  # fmt: skip
  negative_mask = None
  if negative_ids is not None:
    negative_mask = jnp.broadcast_to(mask[:, None], negative_ids.shape)
  if negative_weights is not None:
    negative_weights = jnp.where(negative_mask, negative_weights, 0)
  return params, center_id, outside_ids, negative_ids, negative_weights, mask, negative_mask


@any_mesh()
def skip_gram_loss(
  params: Word2VecParams,
  center_id: ArrayLike,
  outside_ids: ArrayLike,
  *,
  negative_ids: ArrayLike | None = None,
  negative_weights: ArrayLike | None = None,
  mask: ArrayLike | None = None,
) -> jax.Array:
  r"""Loss of one skip-gram window: the sum over its context words.

  .. math:: J = \sum_{-m \le j \le m,\; j \ne 0} \ell(v_{w_t}, w_{t+j}, U)

  with :math:`\ell` negative sampling, or the naive softmax without `negative_ids`.

  Args:
    params: the two tables, `[V, D]` each.
    center_id: `[]` integer, the center word :math:`w_t`.
    outside_ids: `[C]` integers, the context words; one that repeats counts each time.
    negative_ids: `[C, K]` integers, the noise words of each context word.
    negative_weights: `[C, K]` their weights; all 1 if not given.
    mask: `[C]` bool, False for padding. All True if not given.

  Returns:
    Scalar loss in the common dtype of the tables; 0 for a window masked entirely.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    ValueError: `negative_weights` without `negative_ids`.

  References:
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, eq. 1 (there a mean over the text).
    Derivations D29, D33.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> params = jw2v.Word2VecParams(jnp.ones((9, 4)), jnp.zeros((9, 4)))
    >>> print(f'{jw2v.skip_gram_loss(params, 2, jnp.array([1, 3])):.4f}')  # 2 log 9
    4.3944
    >>> negative_ids = jnp.array([[7, 8], [5, 6]])  # 2 for each context word
    >>> print(f'{jw2v.skip_gram_loss(params, 2, [1, 3], negative_ids=negative_ids):.4f}')  # 6 log 2
    4.1589
  """
  params, center_id, outside_ids, negative_ids, weights, mask, negative_mask = _check_skip_gram(
    params, center_id, outside_ids, negative_ids, negative_weights, mask
  )
  tables = _wide(params)
  center = _rows(tables.center, center_id, jnp.any(mask))
  if negative_ids is None:
    pair_losses = jax.vmap(prediction.naive_softmax_loss, (None, 0, None))(
      center, jnp.where(mask, outside_ids, 0), tables.outside
    )
  else:
    pair_losses = jax.vmap(prediction.negative_sampling_loss, (None, 0, 0))(
      center,
      _rows(tables.outside, outside_ids, mask),
      _rows(tables.outside, negative_ids, negative_mask),
      weights=weights,
    )
  return jnp.sum(pair_losses, where=mask).astype(common_dtype(*params))


@any_mesh(grads='params')
def skip_gram_value_and_grad(
  params: Word2VecParams,
  center_id: ArrayLike,
  outside_ids: ArrayLike,
  *,
  negative_ids: ArrayLike | None = None,
  negative_weights: ArrayLike | None = None,
  mask: ArrayLike | None = None,
) -> tuple[jax.Array, Word2VecParams]:
  r"""`skip_gram_loss`, same arguments, with its dense gradients in closed form.

  .. math::
     \frac{\partial J}{\partial U} = \sum_{j \ne 0} \frac{\partial \ell_j}{\partial U},
     \qquad \frac{\partial J}{\partial v_{w_t}}
       = \sum_{j \ne 0} \frac{\partial \ell_j}{\partial v_{w_t}},
     \qquad \frac{\partial J}{\partial v_w} = 0 \;\; (w \ne w_t)

  With the naive softmax all n context words share one :math:`\hat y`, so that
  :math:`\sum_j \delta_j = n \hat y - \sum_j y_j`.

  Returns:
    `(loss, Word2VecParams)`, two [V, D] gradients; the rows of ids that repeat add up.

  References:
    Derivations D25, D27, D30 to D33.
  """
  params, center_id, outside_ids, negative_ids, weights, mask, negative_mask = _check_skip_gram(
    params, center_id, outside_ids, negative_ids, negative_weights, mask
  )
  tables = _wide(params)
  center = _rows(tables.center, center_id, jnp.any(mask))
  if negative_ids is None:
    scores = dot(center, tables.outside.T)  # [V]
    pair_losses, deltas = jax.vmap(softmax_of_label, (None, 0))(
      scores, jnp.where(mask, outside_ids, 0)
    )
    delta = jnp.sum(deltas, axis=0, where=mask[:, None])  # [V]
    d_center, d_outside = dot(delta, tables.outside), outer(delta, center)
  else:
    pair_losses, grads = jax.vmap(prediction.negative_sampling_value_and_grad, (None, 0, 0))(
      center,
      _rows(tables.outside, outside_ids, mask),
      _rows(tables.outside, negative_ids, negative_mask),
      weights=weights,
    )
    d_center = jnp.sum(grads.center, axis=0)  # 0 for padding, whose outside rows are 0
    d_outside = _scatter_rows(tables.outside, outside_ids, grads.outside, mask)
    d_outside += _scatter_rows(tables.outside, negative_ids, grads.negatives, negative_mask)
  loss = jnp.sum(pair_losses, where=mask).astype(common_dtype(*params))
  return loss, _like(params, (_scatter_rows(tables.center, center_id, d_center), d_outside))


# --- CBOW: the context words together predict the center word ---


def _check_cbow(params, context_ids, target_id, negative_ids, negative_weights, mask, combine):
  """Returns the checked arguments, and 1 / n for the mean or 1 for the sum."""
  if combine not in ('sum', 'mean'):
    raise ValueError(f"combine must be 'sum' or 'mean', got {combine!r}")
  params, target_id, context_ids, negative_ids, negative_weights, mask = _check_window(
    params, 'target_id', target_id, 'context_ids', context_ids,
    negative_ids, negative_weights, mask, 'K',
  )  # fmt: skip
  if negative_weights is not None:
    negative_weights = jnp.where(jnp.any(mask), negative_weights, 0)
  count = jnp.maximum(jnp.sum(mask), 1) if combine == 'mean' else 1
  scale = jnp.asarray(1 / count, wide_dtype(*params))
  return params, context_ids, target_id, negative_ids, negative_weights, mask, scale


@any_mesh()
def cbow_loss(
  params: Word2VecParams,
  context_ids: ArrayLike,
  target_id: ArrayLike,
  *,
  negative_ids: ArrayLike | None = None,
  negative_weights: ArrayLike | None = None,
  mask: ArrayLike | None = None,
  combine: str = 'mean',
) -> jax.Array:
  r"""Loss of one CBOW window: the context vectors, combined, predict the target.

  .. math:: J = \ell(\hat v, w_t, U), \qquad \hat v = \sum_{j \ne 0} v_{w_{t+j}}
     \;\text{ or }\; \hat v = \frac1n \sum_{j \ne 0} v_{w_{t+j}}

  with :math:`\ell` negative sampling, or the naive softmax without `negative_ids`.

  Args:
    params: the two tables, `[V, D]` each; context words read the center table.
    context_ids: `[C]` integers; one that repeats counts each time.
    target_id: `[]` integer, the word to predict.
    negative_ids: `[K]` integers, the noise words.
    negative_weights: `[K]` their weights; all 1 if not given.
    mask: `[C]` bool, False for padding. All True if not given.
    combine: 'mean' over the n slots that are not masked, or 'sum'.

  Returns:
    Scalar loss in the common dtype of the tables; 0 for a window masked entirely.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    ValueError: another `combine`, or `negative_weights` without `negative_ids`.

  References:
    Mikolov et al., `Efficient Estimation of Word Representations in Vector Space
    <https://arxiv.org/abs/1301.3781>`_, 2013, section 3.1. Derivations D34, D35.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> params = jw2v.Word2VecParams(jnp.ones((9, 4)), jnp.zeros((9, 4)))
    >>> print(f'{jw2v.cbow_loss(params, jnp.array([1, 3]), 2):.4f}')  # log 9
    2.1972
  """
  params, context_ids, target_id, negative_ids, weights, mask, scale = _check_cbow(
    params, context_ids, target_id, negative_ids, negative_weights, mask, combine
  )
  tables, present = _wide(params), jnp.any(mask)
  combined = scale * jnp.sum(_rows(tables.center, context_ids, mask), axis=0)  # [D]
  if negative_ids is None:
    loss = prediction.naive_softmax_loss(combined, target_id, tables.outside)
  else:
    loss = prediction.negative_sampling_loss(
      combined,
      _rows(tables.outside, target_id, present),
      _rows(tables.outside, negative_ids, present),
      weights=weights,
    )
  return jnp.where(present, loss, 0).astype(common_dtype(*params))


@any_mesh(grads='params')
def cbow_value_and_grad(
  params: Word2VecParams,
  context_ids: ArrayLike,
  target_id: ArrayLike,
  *,
  negative_ids: ArrayLike | None = None,
  negative_weights: ArrayLike | None = None,
  mask: ArrayLike | None = None,
  combine: str = 'mean',
) -> tuple[jax.Array, Word2VecParams]:
  r"""`cbow_loss`, same arguments, with its dense gradients in closed form.

  .. math:: \frac{\partial J}{\partial v_w}
     = n_w\, \frac{\partial \ell}{\partial \hat v} \text{ (sum)}
     \;\text{ or }\; \frac{n_w}{n}\, \frac{\partial \ell}{\partial \hat v}
     \text{ (mean)}, \qquad
     \frac{\partial J}{\partial U} = \frac{\partial \ell}{\partial U} \Big|_{\hat v}

  with :math:`n_w` the occurrences of w among the n context words. The C tool, gensim
  and fastText leave out the 1/n of the mean; this is the true gradient.

  Returns:
    `(loss, Word2VecParams)`, two [V, D] gradients; the rows of ids that repeat add up.

  References:
    Derivations D34 to D36; for the missing 1/n: Irsoy, Benton and Stratos, `Corrected
    CBOW Performs as well as Skip-gram <https://arxiv.org/abs/2012.15332>`_, 2021.
  """
  params, context_ids, target_id, negative_ids, weights, mask, scale = _check_cbow(
    params, context_ids, target_id, negative_ids, negative_weights, mask, combine
  )
  tables, present = _wide(params), jnp.any(mask)
  combined = scale * jnp.sum(_rows(tables.center, context_ids, mask), axis=0)  # [D]
  if negative_ids is None:
    loss, grads = prediction.naive_softmax_value_and_grad(combined, target_id, tables.outside)
    d_outside = grads.outside_vectors
  else:
    loss, grads = prediction.negative_sampling_value_and_grad(
      combined,
      _rows(tables.outside, target_id, present),
      _rows(tables.outside, negative_ids, present),
      weights=weights,
    )
    d_outside = _scatter_rows(tables.outside, target_id, grads.outside)
    d_outside += _scatter_rows(tables.outside, negative_ids, grads.negatives)
  d_context = jnp.broadcast_to(scale * grads.center, (*context_ids.shape, combined.size))
  d_center = _scatter_rows(tables.center, context_ids, d_context, mask)
  # `combined` is 0 for a window masked entirely, and with it d_outside.
  return jnp.where(present, loss, 0).astype(common_dtype(*params)), _like(
    params, (d_center, d_outside)
  )
