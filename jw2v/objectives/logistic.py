r"""Logistic objectives: negative sampling, NCE and the hierarchical softmax.

All three are sums of binary decisions,

.. math:: J = -\sum_{i, o} w_{io}
   \big( t_o \log \sigma(z_{io}) + (1 - t_o) \log \sigma(-z_{io}) \big)

with the score :math:`z_{io} = u_o^\top v_i` of a predicting vector and an outside row, minus a
correction of the row in NCE. They differ in the rows, the targets :math:`t_o` and the weights:

- negative sampling and NCE: predicted words have t = 1 and noise words t = 0. Each window uses all
  K noise words of its block, weighted so that a prediction counts `negatives` of them;
- hierarchical softmax: the rows are the nodes on the paths of the predicted words, and t = 1 means
  code 0.

The derivative by a score is :math:`w (\sigma(z) - t)`, and the curvature of a term

.. math:: h = w\, c(z), \qquad
   c(z) = \max\!\Big(\sigma(z) \sigma(-z), \frac{\sigma(z) - 1/2}{2 z}\Big),

times the squared norm of the other side. With the first of the two, the second derivative of
the loss by the score, the sum over a row's terms is the trace of the Hessian by that row. It
vanishes where a score is far out, on the wrong side too, from where a step :math:`g / h` would
be exponentially long. The parabola that touches the loss at :math:`z` and lies above it
everywhere has the curvature :math:`(\sigma(z) - 1/2) / z`; half of it is enough for no step
:math:`g / h` of the rows of one table to raise the loss, since at twice the way to its minimum
a parabola is as high as before.

References: Jaakkola and Jordan, `Bayesian parameter estimation via variational methods
<https://doi.org/10.1023/A:1008932416310>`_, 2000, for the parabola.

Axes: as in `architectures.py`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.objectives.architectures import Predictions, gather_rows, transposed
from jw2v.objectives.huffman import TreePaths
from jw2v.objectives.scores import (
  ALL,
  Gradients,
  Measured,
  Products,
  add_gradients,
  sample,
  score,
  scores_vjp,
)


class Term(NamedTuple):
  """Binary decisions: outside rows with the targets of the vectors of a block.

  Attributes:
    ids: `[N, O]` row ids.
    weights: `[N, O, I]` weights w, 0 for no decision; or `[N, O]` if row o meets vector o only.
    positive: w t, the part of the weight with target 1, in the shape of the weights.
    correction: subtracted from the scores, broadcast to their shape; None for no correction.
  """

  ids: np.ndarray | jax.Array
  weights: jax.Array
  positive: jax.Array
  correction: jax.Array | None = None


def negative_sampling(
  predictions: Predictions,
  noise_ids: jax.Array,
  table: jax.Array,
  *,
  negatives: float,
  log_expected: jax.Array | None = None,
  measured: Measured = ALL,
  products: Products = Products(),
) -> Gradients:
  """Negative sampling, or NCE if given `log_expected`: the sum of the window losses.

  Args:
    predictions: the predictions of N blocks.
    noise_ids: `[N, K]` noise words.
    table: the outside table.
    negatives: noise words that a prediction counts in all; each of the K weighs `negatives / K`.
    log_expected: `[V]` correction of the scores in NCE, log(negatives V q(w)) of each word; the
      factor V normalizes the model, see `objective.make_objective`.
    measured: blocks whose loss is summed. The logarithms of a loss cost a tenth of a step, and no
      gradient needs them.
    products: settings of the products.

  Returns:
    The loss and its gradients: `jw2v.negative_sampling_loss` or `jw2v.nce_loss`, summed over the
    predictions.
  """
  num_noise = noise_ids.shape[1]
  noise_weights = (predictions.totals * (negatives / num_noise))[:, None]  # [N, 1, I]
  if log_expected is not None:
    log_expected = log_expected.astype(table.dtype)
  corrected = lambda ids: None if log_expected is None else gather_rows(log_expected, ids)
  for_all = lambda corrections: None if corrections is None else corrections[..., None]
  if predictions.one_to_one:
    word_ids, weights = predictions.word_ids, predictions.weights
    own = Term(word_ids, weights, weights, corrected(word_ids))
    noise_weights = jnp.broadcast_to(
      noise_weights, (len(noise_ids), num_noise, noise_weights.shape[2])
    )
    none = jnp.zeros_like(noise_weights)
    terms = [own, Term(noise_ids, noise_weights, none, for_all(corrected(noise_ids)))]
  else:  # one product for both is faster than two
    ids = jnp.concatenate([predictions.word_ids, noise_ids], axis=1)
    is_word = (np.arange(ids.shape[1]) < ids.shape[1] - num_noise)[None, :, None]
    weights = jnp.where(is_word, predictions.weights, noise_weights)
    # The weights of the predictions are 0 in the rows of noise words: their target is 0.
    terms = [Term(ids, weights, predictions.weights, for_all(corrected(ids)))]
  of_term = lambda term: _of_term(term, predictions.vectors, table, measured, products)
  return add_gradients(*map(of_term, terms))


def hierarchical_softmax(
  predictions: Predictions,
  tree: TreePaths,
  table: jax.Array,
  *,
  measured: Measured = ALL,
  products: Products = Products(),
) -> Gradients:
  """Hierarchical softmax: a decision at each node on the path of a word.

  A block has the hot nodes, which are next to the root, once. A list holds the other nodes on the
  paths of its words, one word after another, padded to a fixed length.

  Args:
    predictions: the predictions of N blocks.
    tree: the paths of all words. The paths of a block's words without the hot nodes must fit in
      the list; `sampling.Capacity` makes such blocks.
    table: the outside table, whose first rows are the inner nodes.
    measured: blocks whose loss is summed.
    products: settings of the products.

  Returns:
    The loss and its gradients: `jw2v.hierarchical_softmax_loss`, summed over the predictions.
  """
  words = predictions.word_ids  # [N, B]

  # Which words of a block have the hot nodes on their paths, and with code 0.
  num_hot = tree.hot_codes.shape[1]
  hot_codes = jnp.swapaxes(gather_rows(tree.hot_codes, words), 1, 2)  # [N, H, B]
  hot_ids = jnp.broadcast_to(jnp.arange(num_hot, dtype=jnp.int32), (len(words), num_hot))
  hot_paths = [x.astype(table.dtype) for x in (hot_codes != 0, hot_codes > 0)]

  # The other nodes: each slot of the list belongs to one word, or is empty.
  lengths = gather_rows(tree.lengths, words)
  ends = jnp.cumsum(lengths, axis=1)  # [N, B]
  first = gather_rows(tree.starts, words) + lengths - ends
  slot = tree.slots[None, :, None]
  is_owner = (slot < ends[:, None]) & (slot >= (ends - lengths)[:, None])  # [N, O, B]
  # A sum with one nonzero term is faster than a lookup.
  nodes = gather_rows(tree.nodes, jnp.sum(jnp.where(is_owner, first[:, None] + slot, 0), axis=2))
  paths = [x.astype(table.dtype) for x in (is_owner, is_owner & (nodes & 1 == 0)[..., None])]

  if not predictions.one_to_one:
    both = [jnp.concatenate(x, axis=1) for x in zip(hot_paths, paths, strict=True)]
    weights = [jnp.einsum('nob,nbi->noi', x, predictions.weights) for x in both]
    term = Term(jnp.concatenate([hot_ids, nodes >> 1], axis=1), *weights)
    return _of_term(term, predictions.vectors, table, measured, products)
  hot = Term(hot_ids, *(x * predictions.weights[:, None] for x in hot_paths))
  # Each node of the list has the vector of its word.
  listed = Term(nodes >> 1, *(jnp.einsum('nob,nb->no', x, predictions.weights) for x in paths))
  vectors = jnp.einsum('nob,nbd->nod', paths[0], predictions.vectors)
  of_nodes = _of_term(listed, vectors, table, measured, products)

  def measure(
    gradients, common
  ):  # the gradient of a node's vector equals the gradient of its word's vector
    of_words = sample(paths[0], measured)
    return of_nodes.measure(jnp.einsum('nob,nbd->nod', of_words, gradients), common)

  each = of_nodes._replace(
    vectors=jnp.einsum('nbo,nod->nbd', transposed(paths[0]), of_nodes.vectors),
    curvature=jnp.einsum('nob,no->nb', paths[0], of_nodes.curvature),
    measure=measure,
  )
  return add_gradients(_of_term(hot, predictions.vectors, table, measured, products), each)


def _of_term(
  term: Term, vectors: jax.Array, table: jax.Array, measured: Measured, products: Products
) -> Gradients:
  """Returns the loss of some binary decisions and its gradients."""
  each = term.weights.ndim == 2
  scored = score(term.ids, table, vectors, each=each, products=products)
  scores = scored.scores if term.correction is None else scored.scores - term.correction
  delta, curvature = logistic(scores, term.weights, term.positive)
  touched = term.weights > 0 if each else jnp.sum(term.weights, axis=2) > 0
  return Gradients(
    _loss(*(sample(x, measured) for x in (scores, term.weights, term.positive))),
    *scores_vjp(scored, delta, curvature, touched, vectors, len(table), measured, products),
  )


def _loss(scores: jax.Array, weights: jax.Array, positive: jax.Array) -> jax.Array:
  """Returns the sum of -w t log s(z) - w (1 - t) log s(-z), exact for t of 0 and 1 (D20)."""
  softplus = jnp.log1p(jnp.exp(-jnp.abs(scores)))
  return jnp.sum(
    jnp.where(scores > 0, (weights - positive), -positive) * scores + weights * softplus
  )


def logistic(
  scores: jax.Array, weights: jax.Array, positive: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the derivatives of the loss by the scores, and their curvature (D21-D26)."""
  # exp cannot overflow here; XLA shares it with `curvature_of`.
  small = jnp.exp(-jnp.abs(scores))
  larger = 1 / (1 + small)
  probability = jnp.where(scores >= 0, larger, small * larger)
  return weights * probability - positive, weights * curvature_of(scores)


def curvature_of(scores: jax.Array) -> jax.Array:
  """Returns the curvature c(z) of each score, as in the docstring of this module."""
  magnitude = jnp.abs(scores)
  small = jnp.exp(-magnitude)
  larger = 1 / (1 + small)
  bound = (larger - 0.5) / jnp.maximum(magnitude, 1e-3)  # near 0 the other term is larger
  return jnp.maximum(small * larger * larger, bound / 2)
