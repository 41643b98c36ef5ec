r"""The in-batch softmax of retrieval models: the keys of a batch are each other's negatives.

A two-tower model encodes B queries and B keys, and each query has to find its own key among all B.
Unlike the losses of `prediction.py` this one takes the whole batch, since its examples share their
negatives.

Axes: B examples of a batch, D vector width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jw2v.losses._check import check
from jw2v.losses._mesh import any_mesh
from jw2v.losses.numerics import cast, dot, exportable, margin, softmax


@exportable
class InBatchSoftmaxGrads(NamedTuple):
  """Gradients of the sum of `in_batch_softmax_loss`."""

  queries: jax.Array  # [B, D]
  keys: jax.Array  # [B, D]


def _check_batch(queries, keys, log_expected, key_ids, temperature, where):
  """Returns the checked vectors, 1 / temperature, `[B, B]` scores without hits, and `where`."""
  given = temperature
  queries, keys, log_expected, key_ids, temperature, where = check(
    queries=(queries, 'B D'),
    keys=(keys, 'B D'),
    log_expected=(log_expected, '?B', 'keys'),
    key_ids=(key_ids, '?B', int),
    temperature=(temperature, '', 'keys'),
    where=(where, '?B', bool),
  )
  # Reading the value of a JAX array would block, so it is not checked.
  if not isinstance(given, jax.Array) and not given > 0:
    raise ValueError(f'temperature must be greater than 0, got {given!r}')
  if where is not None:  # padding may hold anything
    queries, keys = (jnp.where(where[:, None], x, 0) for x in (queries, keys))
    log_expected = None if log_expected is None else jnp.where(where, log_expected, 0)
  scores = dot(queries, keys.T)  # [B, B]
  scale = 1 / temperature.astype(scores.dtype)
  scores = scores * scale
  if log_expected is not None:
    scores = scores - log_expected.astype(scores.dtype)[None, :]
  is_label = jnp.eye(queries.shape[0], dtype=bool)
  excluded = jnp.zeros_like(is_label)
  if key_ids is not None:
    excluded = excluded | (key_ids[:, None] == key_ids[None, :])
  if where is not None:
    excluded = excluded | ~where[None, :]
  label = jnp.sum(jnp.where(is_label, scores, 0), axis=1)  # [B]
  others = jnp.where(excluded | is_label, -jnp.inf, scores)  # [B, B]
  return queries, keys, scale, others, label, where


@any_mesh(batch='queries')
def in_batch_softmax_loss(
  queries: ArrayLike,
  keys: ArrayLike,
  *,
  log_expected: ArrayLike | None = None,
  key_ids: ArrayLike | None = None,
  temperature: ArrayLike = 1.0,
  where: ArrayLike | None = None,
) -> jax.Array:
  r"""Cross entropy of each query's own key against the softmax over all keys of the batch.

  .. math:: \ell_i = -s_{ii} + \log \sum_j e^{s_{ij}}, \qquad
     s_{ij} = \frac{q_i^\top k_j}{\tau} - \log E_j

  Args:
    queries: `[B, D]` vectors :math:`q_i`.
    keys: `[B, D]` vectors :math:`k_j`; key i belongs to query i.
    log_expected: `[B]` :math:`\log E_j`, the logarithm of the expected count of key j in a batch
      (`jw2v.log_expected_counts`). This logQ correction undoes the popularity of the keys, which
      are negatives as often as they are in a batch. 0 if not given.
    key_ids: `[B]` integers. A key with the id of the query's own key is not a negative of that
      query ("accidental hits"). All keys differ if not given.
    temperature: :math:`\tau`, a number or a scalar array, greater than 0.
    where: `[B]` bool, False for padding. Padding has loss 0 and is not a negative of other
      queries. All True if not given.

  Returns:
    `[B]` losses in float32, or float64 for such vectors; at least 0.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    ValueError: `temperature` is a number, or an array of NumPy, that is not greater than 0.

  References:
    Bengio and Senecal, Adaptive importance sampling, 2008; Yi et al., `Sampling-bias-corrected
    neural modeling <https://doi.org/10.1145/3298689.3346996>`_, 2019. Derivation D40.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> queries = keys = jnp.eye(3)
    >>> print(jw2v.in_batch_softmax_loss(queries, keys, temperature=0.5).round(4))
    [0.2395 0.2395 0.2395]
  """
  *_, others, label, where = _check_batch(queries, keys, log_expected, key_ids, temperature, where)
  losses = jax.nn.softplus(jax.vmap(margin)(others, label))
  return losses if where is None else jnp.where(where, losses, 0)


@any_mesh(batch='queries', grads=InBatchSoftmaxGrads)
def in_batch_softmax_value_and_grad(
  queries: ArrayLike,
  keys: ArrayLike,
  *,
  log_expected: ArrayLike | None = None,
  key_ids: ArrayLike | None = None,
  temperature: ArrayLike = 1.0,
  where: ArrayLike | None = None,
) -> tuple[jax.Array, InBatchSoftmaxGrads]:
  r"""`in_batch_softmax_loss`, same arguments, with the gradients of its sum in closed form.

  .. math:: \Delta = \hat Y - I, \qquad
     \frac{\partial}{\partial Q} \sum_i \ell_i = \frac{1}{\tau} \Delta K, \qquad
     \frac{\partial}{\partial K} \sum_i \ell_i = \frac{1}{\tau} \Delta^\top Q

  with :math:`\hat Y` the softmax of each row of scores: a key is the positive of its own query, and
  a negative of all others.

  Returns:
    `(losses, InBatchSoftmaxGrads)`, the gradients in the dtypes of queries and keys.

  References:
    Derivation D40.
  """
  queries, keys, scale, others, label, where = _check_batch(
    queries, keys, log_expected, key_ids, temperature, where
  )
  z = jax.vmap(margin)(others, label)
  wrong = jax.nn.sigmoid(z)  # [B]  1 - y_ii
  losses = jax.nn.softplus(z)
  if where is not None:
    wrong, losses = jnp.where(where, wrong, 0), jnp.where(where, losses, 0)
  delta = wrong[:, None] * (
    jax.vmap(softmax)(others) - jnp.eye(queries.shape[0], dtype=wrong.dtype)
  )
  d_queries, d_keys = scale * dot(delta, keys), scale * dot(delta.T, queries)
  grads = cast((d_queries, d_keys), (queries.dtype, keys.dtype))
  return losses, InBatchSoftmaxGrads(*grads)
