r"""Objectives made of logistic terms: negative sampling, NCE and the hierarchical softmax.

What belongs here: losses of windows that are sums of binary decisions, over blocks. All
three are

.. math:: J = -\sum_{i, o} w_{io}
   \big( t_o \log \sigma(z_{io}) + (1 - t_o) \log \sigma(-z_{io}) \big)

with the score :math:`z_{io} = u_o^\top v_i` of a vector that predicts and an outside row, less a
correction of the row in NCE. They differ in the rows, the targets :math:`t_o` and the weights:

- negative sampling and NCE: the words of the context with t = 1, and noise words with t = 0,
  of which each window weighs all K of its block so that a prediction counts `negatives` of them;
- the hierarchical softmax: the nodes on the paths of the context words, with t = 1 for code 0.

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

Axes: those of `blocks`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.objectives.architectures import Windows, rows_of, transposed
from jw2v.objectives.scores import Gradients, Products, add_gradients, pull_scores, score


class TreeLookups(NamedTuple):
  """The paths of all words, split at the H hot nodes.

  Attributes:
    hot_codes: `[V, H]` int8, 1 for code 0, -1 for code 1, 0 for a node not on the path.
    nodes: the other nodes of all paths, one path after the other: int32, twice the number of
      the node and 1 for code 1.
    starts: `[V]`, where those of each word begin.
    lengths: `[V]`, how many each word has.
    places: `[O]`, 0, 1, ...: those that a block has for nodes.
  """

  hot_codes: jax.Array
  nodes: jax.Array
  starts: jax.Array
  lengths: jax.Array
  places: jax.Array


class Term(NamedTuple):
  """Binary decisions: outside rows, and how the vectors of a block are to decide at them.

  Attributes:
    ids: `[N, O]` rows.
    weights: w `[N, O, I]`, 0 for none; or `[N, O]` where each row has a vector of its own.
    positive: w t, how much of the weight is for t = 1; of the same shape.
    correction: subtracted from the scores, of a shape that broadcasts to it; None for none.
  """

  ids: np.ndarray | jax.Array
  weights: jax.Array
  positive: jax.Array
  correction: jax.Array | None = None


def negative_sampling(
  windows: Windows,
  noise_ids: jax.Array,
  table: jax.Array,
  *,
  negatives: float,
  log_expected: jax.Array | None = None,
  measured: int | None = None,
  products: Products = Products(),
) -> Gradients:
  """Negative sampling, or NCE if given `log_expected`: the sum of the window losses.

  Args:
    windows: what predicts what.
    noise_ids: `[N, K]`.
    table: the outside table.
    negatives: noise words of each prediction, in all: each of the K weighs `negatives / K`.
    log_expected: `[V]`, log(negatives q(w)) of each word, which the scores of NCE are
      corrected by.
    measured: of how many blocks, the first, to sum the loss; None for all. The logarithms
      of a loss cost a tenth of a step, and no gradient needs them.
    products: how they are made.

  Returns:
    The loss and its gradients: those of `jw2v.negative_sampling_loss` or `jw2v.nce_loss`,
    summed over the windows.
  """
  num_noise = noise_ids.shape[1]
  noise_weights = (windows.totals * (negatives / num_noise))[:, None]  # [N, 1, I]
  corrected = lambda ids: None if log_expected is None else rows_of(log_expected, ids)
  for_all = lambda corrections: None if corrections is None else corrections[..., None]
  if windows.each_its_own:
    own = Term(windows.word_ids, windows.weights, windows.weights, corrected(windows.word_ids))
    noise_weights = jnp.broadcast_to(
      noise_weights, (len(noise_ids), num_noise, noise_weights.shape[2])
    )
    none = jnp.zeros_like(noise_weights)
    terms = [own, Term(noise_ids, noise_weights, none, for_all(corrected(noise_ids)))]
  else:  # one product for both is faster than two
    ids = jnp.concatenate([windows.word_ids, noise_ids], axis=1)
    is_word = (np.arange(ids.shape[1]) < ids.shape[1] - num_noise)[None, :, None]
    weights = jnp.where(is_word, windows.weights, noise_weights)
    # Windows have no weight in the rows of noise words: nothing positive there.
    terms = [Term(ids, weights, windows.weights, for_all(corrected(ids)))]
  of_term = lambda term: _of_term(term, windows.vectors, table, measured, products)
  return add_gradients(*map(of_term, terms))


def hierarchical_softmax(
  windows: Windows,
  tree: TreeLookups,
  table: jax.Array,
  *,
  measured: int | None = None,
  products: Products = Products(),
) -> Gradients:
  """The hierarchical softmax: a decision at each node on the path of a word.

  A block has the hot nodes, those next to the root, once. The other nodes on the paths of its
  words come one word after the other, filled up to the places there are.

  Args:
    windows: what predicts what.
    tree: the paths of all words. Those of a block's words, without the hot nodes, must not
      be longer together than it has places: `sampling.Capacity` makes such blocks.
    table: the outside table, whose first rows are the inner nodes.
    measured: of how many blocks, the first, to sum the loss; None for all.
    products: how they are made.

  Returns:
    The loss and its gradients: those of `jw2v.hierarchical_softmax_loss`, summed over the
    windows.
  """
  words = windows.word_ids  # [N, B]

  # Which words of a block have the hot nodes on their paths, and with code 0.
  num_hot = tree.hot_codes.shape[1]
  hot_codes = jnp.swapaxes(rows_of(tree.hot_codes, words), 1, 2)  # [N, H, B]
  hot_ids = jnp.broadcast_to(jnp.arange(num_hot), (len(words), num_hot))
  hot_paths = [x.astype(table.dtype) for x in (hot_codes != 0, hot_codes > 0)]

  # The other nodes: a place of the list is that of one word, or empty.
  lengths = rows_of(tree.lengths, words)
  ends = jnp.cumsum(lengths, axis=1)  # [N, B]
  first = rows_of(tree.starts, words) + lengths - ends
  place = tree.places[None, :, None]
  is_owner = (place < ends[:, None]) & (place >= (ends - lengths)[:, None])  # [N, O, B]
  # A sum in which one term is not 0 is faster than a look-up.
  nodes = rows_of(tree.nodes, jnp.sum(jnp.where(is_owner, first[:, None] + place, 0), axis=2))
  paths = [x.astype(table.dtype) for x in (is_owner, is_owner & (nodes & 1 == 0)[..., None])]

  if not windows.each_its_own:
    both = [jnp.concatenate(x, axis=1) for x in zip(hot_paths, paths, strict=True)]
    weights = [jnp.einsum('nob,nbi->noi', x, windows.weights) for x in both]
    term = Term(jnp.concatenate([hot_ids, nodes >> 1], axis=1), *weights)
    return _of_term(term, windows.vectors, table, measured, products)
  hot = Term(hot_ids, *(x * windows.weights[:, None] for x in hot_paths))
  # Each node of the list has the vector of its word.
  listed = Term(nodes >> 1, *(jnp.einsum('nob,nb->no', x, windows.weights) for x in paths))
  vectors = jnp.einsum('nob,nbd->nod', paths[0], windows.vectors)
  each = _of_term(listed, vectors, table, measured, products)
  each = each._replace(
    vectors=jnp.einsum('nbo,nod->nbd', transposed(paths[0]), each.vectors),
    curvature=jnp.einsum('nob,no->nb', paths[0], each.curvature),
  )
  return add_gradients(_of_term(hot, windows.vectors, table, measured, products), each)


def _of_term(
  term: Term, vectors: jax.Array, table: jax.Array, measured: int | None, products: Products
) -> Gradients:
  """The loss of some binary decisions and its gradients."""
  each = term.weights.ndim == 2
  scored = score(term.ids, table, vectors, each=each, products=products)
  scores = scored.scores if term.correction is None else scored.scores - term.correction
  delta, curvature = logistic(scores, term.weights, term.positive)
  touched = term.weights > 0 if each else jnp.sum(term.weights, axis=2) > 0
  return Gradients(
    _loss(*(x[:measured] for x in (scores, term.weights, term.positive))),
    *pull_scores(scored, delta, curvature, touched, vectors, len(table), products),
  )


def _loss(scores: jax.Array, weights: jax.Array, positive: jax.Array) -> jax.Array:
  """The sum of -w t log s(z) - w (1 - t) log s(-z), exact for t of 0 and 1 (D20)."""
  softplus = jnp.log1p(jnp.exp(-jnp.abs(scores)))
  return jnp.sum(
    jnp.where(scores > 0, (weights - positive), -positive) * scores + weights * softplus
  )


def logistic(
  scores: jax.Array, weights: jax.Array, positive: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The derivative of the terms of the loss by their scores, and their curvature (D21 to D26)."""
  # It cannot overflow; XLA makes that of `curvature_of` once with it.
  small = jnp.exp(-jnp.abs(scores))
  larger = 1 / (1 + small)
  probability = jnp.where(scores >= 0, larger, small * larger)
  return weights * probability - positive, weights * curvature_of(scores)


def curvature_of(scores: jax.Array) -> jax.Array:
  """c(z) of each score, from the docstring of this module."""
  magnitude = jnp.abs(scores)
  small = jnp.exp(-magnitude)
  larger = 1 / (1 + small)
  bound = (larger - 0.5) / jnp.maximum(magnitude, 1e-3)  # near 0 the other one is larger
  return jnp.maximum(small * larger * larger, bound / 2)
