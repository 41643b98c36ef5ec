"""The window objectives over a batch of windows, with gradients by row.

What belongs here: functions from two tables and a batch of windows to the summed loss
and its gradients as rows. They are the seam between the mathematics and the trainer:
`training.py` knows only their signature. Here each window is taken by itself, as
`jax.vmap` of the closed forms in `losses.py`.

Axes: B windows, C context slots, K negatives, D vector width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jw2v import losses
from jw2v.rowwise import RowGradients
from jw2v.sampling import Windows
from jw2v.windows import Word2VecParams


class ObjectiveRows(NamedTuple):
  """Sums over a batch of windows and their gradients."""

  loss: jax.Array  # [] sum over all predictions
  predictions: jax.Array  # [] int32, how many: pairs in skip-gram, windows in CBOW
  center: RowGradients
  outside: RowGradients


def _rows(table: jax.Array, *parts: tuple[jax.Array, jax.Array, jax.Array]) -> RowGradients:
  """(ids, mask, values) of any leading shapes, one after the other; masked ids are V."""
  ids = [jnp.where(mask, ids, len(table)).reshape(-1) for ids, mask, _ in parts]
  values = [values.reshape(-1, table.shape[1]) for *_, values in parts]
  return RowGradients(jnp.concatenate(ids), jnp.concatenate(values))


def skip_gram_rows(
  params: Word2VecParams, windows: Windows, negative_ids: jax.Array, weights: jax.Array
) -> ObjectiveRows:
  """Skip-gram with negative sampling: `jax.vmap(skip_gram_value_and_grad)`, by row.

  The context words of a window share its noise words, whose rows are then looked up and
  moved once a window instead of C times.

  Args:
    params: the two tables, `[V, D]` each.
    windows: B windows of C slots.
    negative_ids: `[B, K]` noise words of each window.
    weights: `[B, C, K]` their weights for each context word.

  Returns:
    The summed loss and the rows that it moves: B in the center table, B (C + K) in the
    outside table.
  """
  twin = jax.vmap(losses.negative_sampling_value_and_grad, (None, 0, None))
  pair_losses, grads = jax.vmap(twin)(
    params.center[windows.center_ids],
    params.outside[windows.context_ids],
    params.outside[negative_ids],
    weights=weights,
  )
  keep = windows.mask[..., None]  # [B, C, 1]
  present = jnp.any(windows.mask, axis=1)  # [B]
  d_center = jnp.sum(grads.center, axis=1, where=keep)  # [B, D]
  d_negatives = jnp.sum(grads.negatives, axis=1, where=keep[..., None])  # [B, K, D]
  return ObjectiveRows(
    loss=jnp.sum(pair_losses, where=windows.mask),
    predictions=jnp.sum(windows.mask, dtype=jnp.int32),
    center=_rows(params.center, (windows.center_ids, present, d_center)),
    outside=_rows(
      params.outside,
      (windows.context_ids, windows.mask, grads.outside),
      (negative_ids, present[:, None], d_negatives),
    ),
  )


def cbow_rows(
  params: Word2VecParams, windows: Windows, negative_ids: jax.Array, weights: jax.Array
) -> ObjectiveRows:
  """CBOW (mean) with negative sampling: `jax.vmap(cbow_value_and_grad)`, by row.

  Args:
    params: the two tables, `[V, D]` each.
    windows: B windows of C slots; the center word is the one to predict.
    negative_ids: `[B, K]` noise words of each window.
    weights: `[B, K]` their weights.

  Returns:
    The summed loss and the rows that it moves: B C in the center table, B (1 + K) in
    the outside table. Each context row gets 1/n of the gradient of the mean.
  """
  keep = windows.mask[..., None]  # [B, C, 1]
  count = jnp.sum(windows.mask, axis=1)  # [B]
  present, scale = count > 0, (1 / jnp.maximum(count, 1)).astype(params.center.dtype)
  context = params.center[windows.context_ids]  # [B, C, D]
  mean = scale[:, None] * jnp.sum(context, axis=1, where=keep)  # [B, D]
  window_losses, grads = jax.vmap(losses.negative_sampling_value_and_grad)(
    mean, params.outside[windows.center_ids], params.outside[negative_ids], weights=weights
  )
  d_context = jnp.broadcast_to((scale[:, None] * grads.center)[:, None], context.shape)
  return ObjectiveRows(
    loss=jnp.sum(window_losses, where=present),
    predictions=jnp.sum(present, dtype=jnp.int32),
    center=_rows(params.center, (windows.context_ids, windows.mask, d_context)),
    outside=_rows(
      params.outside,
      (windows.center_ids, present, grads.outside),
      (negative_ids, present[:, None], grads.negatives),
    ),
  )
