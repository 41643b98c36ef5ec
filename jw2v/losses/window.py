"""Skip-gram and CBOW: the losses of `prediction.py` summed over one window.

What belongs here: the objective of one window as a function of two whole tables,
and its dense gradient in closed form. The chapter of the textbook, and the
reference that the training code is tested against; training itself never makes a
[V, D] gradient. One window at a time: batch with `jax.vmap`.

Axes: C context slots, K negatives, D vector width, V vocabulary. A masked slot may
hold any id, -1 and 0 included; a slot that is not masked must hold one in [0, V),
which compiled code cannot check.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses import prediction
from jw2v.losses._check import check


class Word2VecParams(NamedTuple):
  """The two tables of word2vec, one vector a row, and the shape of their gradients."""

  center: jax.Array  # [V, D] input vectors
  outside: jax.Array  # [V, D] output vectors


def _check_window(params, id_name, id_, ids_name, ids, negative_ids, negative_weights, mask, slots):
  """Checks one window's arguments and fills in the mask; negatives have axes `slots`."""
  if negative_weights is not None and negative_ids is None:
    raise ValueError('negative_weights is given without negative_ids: give both or neither')
  center, outside, id_, ids, mask, negative_ids, negative_weights = check(
    **{
      'params.center': (params.center, 'V D'),
      'params.outside': (params.outside, 'V D'),
      id_name: (id_, '', int),
      ids_name: (ids, 'C', int),
      'mask': (mask, '?C', bool),
      'negative_ids': (negative_ids, f'?{slots}', int),
      'negative_weights': (negative_weights, f'?{slots}', 'params.center'),
    }
  )
  mask = jnp.ones_like(ids, bool) if mask is None else mask
  return Word2VecParams(center, outside), id_, ids, negative_ids, negative_weights, mask


def _rows(table, ids, mask):
  """`table[ids]` where the mask is True, zeros elsewhere: padding reads nothing."""
  return jnp.where(mask[..., None], table[jnp.where(mask, ids, 0)], 0)


def _scatter_rows(table, ids, rows, mask):
  """A zero table with each row added at its id; repeats add up, padding adds zeros."""
  return jnp.zeros_like(table).at[ids].add(jnp.where(mask[..., None], rows, 0))


# --- Skip-gram: the center word predicts each of its context words ---


def _check_skip_gram(params, center_id, outside_ids, negative_ids, negative_weights, mask):
  """The checked arguments, with the mask of the negatives: that of their slot."""
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
    Scalar loss in the dtype of the tables; 0 for a window masked entirely.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    ValueError: `negative_weights` without `negative_ids`.

  References:
    Mikolov et al., `Distributed Representations of Words and Phrases
    <https://arxiv.org/abs/1310.4546>`_, 2013, eq. 1 (there a mean over the text).
    Derivations D29, D33.
  """
  params, center_id, outside_ids, negative_ids, weights, mask, negative_mask = _check_skip_gram(
    params, center_id, outside_ids, negative_ids, negative_weights, mask
  )
  center = params.center[center_id]
  if negative_ids is None:
    pair_losses = jax.vmap(prediction.naive_softmax_loss, (None, 0, None))(
      center, jnp.where(mask, outside_ids, 0), params.outside
    )
  else:
    pair_losses = jax.vmap(prediction.negative_sampling_loss, (None, 0, 0))(
      center,
      _rows(params.outside, outside_ids, mask),
      _rows(params.outside, negative_ids, negative_mask),
      weights=weights,
    )
  return jnp.sum(pair_losses, where=mask)


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
  center = params.center[center_id]
  if negative_ids is None:
    ids, present = jnp.where(mask, outside_ids, 0), mask.astype(center.dtype)
    scores = params.outside @ center  # [V]
    loss = jnp.sum(jax.nn.logsumexp(scores) - scores[ids], where=mask)
    delta = (jnp.sum(present) * jax.nn.softmax(scores)).at[ids].add(-present)  # [V]
    d_center, d_outside = delta @ params.outside, jnp.outer(delta, center)
  else:
    pair_losses, grads = jax.vmap(prediction.negative_sampling_value_and_grad, (None, 0, 0))(
      center,
      _rows(params.outside, outside_ids, mask),
      _rows(params.outside, negative_ids, negative_mask),
      weights=weights,
    )
    loss = jnp.sum(pair_losses, where=mask)
    d_center = jnp.sum(grads.center, axis=0)  # 0 for padding, whose outside rows are 0
    d_outside = _scatter_rows(params.outside, outside_ids, grads.outside, mask)
    d_outside += _scatter_rows(params.outside, negative_ids, grads.negatives, negative_mask)
  return loss, Word2VecParams(jnp.zeros_like(params.center).at[center_id].add(d_center), d_outside)


# --- CBOW: the context words together predict the center word ---


def _check_cbow(params, context_ids, target_id, negative_ids, negative_weights, mask, combine):
  """The checked arguments and 1 / n for the mean, 1 for the sum."""
  if combine not in ('sum', 'mean'):
    raise ValueError(f"combine={combine!r}: allowed are 'sum' and 'mean'")
  params, target_id, context_ids, negative_ids, negative_weights, mask = _check_window(
    params, 'target_id', target_id, 'context_ids', context_ids,
    negative_ids, negative_weights, mask, 'K',
  )  # fmt: skip
  count = jnp.maximum(jnp.sum(mask), 1) if combine == 'mean' else 1
  scale = jnp.asarray(1 / count, params.center.dtype)
  return params, context_ids, target_id, negative_ids, negative_weights, mask, scale


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
    Scalar loss in the dtype of the tables; 0 for a window masked entirely.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    ValueError: another `combine`, or `negative_weights` without `negative_ids`.

  References:
    Mikolov et al., `Efficient Estimation of Word Representations in Vector Space
    <https://arxiv.org/abs/1301.3781>`_, 2013, section 3.1. Derivations D34, D35.
  """
  params, context_ids, target_id, negative_ids, weights, mask, scale = _check_cbow(
    params, context_ids, target_id, negative_ids, negative_weights, mask, combine
  )
  combined = scale * jnp.sum(_rows(params.center, context_ids, mask), axis=0)  # [D]
  if negative_ids is None:
    loss = prediction.naive_softmax_loss(combined, target_id, params.outside)
  else:
    loss = prediction.negative_sampling_loss(
      combined, params.outside[target_id], params.outside[negative_ids], weights=weights
    )
  return jnp.where(jnp.any(mask), loss, 0)


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
  combined = scale * jnp.sum(_rows(params.center, context_ids, mask), axis=0)  # [D]
  if negative_ids is None:
    loss, grads = prediction.naive_softmax_value_and_grad(combined, target_id, params.outside)
    d_outside = grads.outside_vectors
  else:
    loss, grads = prediction.negative_sampling_value_and_grad(
      combined, params.outside[target_id], params.outside[negative_ids], weights=weights
    )
    d_outside = jnp.zeros_like(params.outside).at[target_id].add(grads.outside)
    d_outside = d_outside.at[negative_ids].add(grads.negatives)
  present = jnp.any(mask)
  d_context = jnp.broadcast_to(scale * grads.center, (*context_ids.shape, combined.size))
  return jnp.where(present, loss, 0), Word2VecParams(
    center=_scatter_rows(params.center, context_ids, d_context, mask),
    outside=d_outside,  # 0 for a window masked entirely, since `combined` is
  )
