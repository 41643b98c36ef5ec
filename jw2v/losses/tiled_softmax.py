r"""The softmax over a large table, in tiles of its rows, without a matrix of all scores.

A softmax cross entropy of M vectors over V classes needs a matrix of M V scores, for a language
model the largest array by far. This module never has more than the scores of one tile of S classes:

1. The first pass over the tiles keeps the largest score so far and a sum of exponentials (Milakov
   and Gimelshein, 2018). For a gradient it also sums :math:`e^{s_w} u_w`, the gradient of the
   denominator with respect to the vectors.
2. The second pass makes the scores of each tile again, and from them the gradient of its rows.

The label's class is kept out of both sums: with the other classes' total :math:`A_o` the loss is
:math:`\mathrm{softplus}(\log A_o - s_o)` (derivation D04), which is never negative and keeps its
digits at any score.

Axes: M vectors, V rows of the table (classes), D their width, S the rows of a tile.
"""

import functools
import math
import numbers
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from jw2v.losses._check import check, check_static
from jw2v.losses._mesh import any_mesh
from jw2v.losses.numerics import dot, exportable, in_range, log_odds

# --- Tiles ---


def default_tile_size(num_rows: int) -> int:
  """Returns the rows of a tile that fit the cache of a CPU, or keep an accelerator busy."""
  return min(1024 if jax.default_backend() == 'cpu' else 8192, num_rows)


def tile_size(tile: int | None, num_rows: int, num_vectors: int, width: int) -> int:
  """Returns the rows of a tile, at most the rows of the table.

  The default is all of them if all scores take at most half of the memory of the table's gradient:
  then they are made once. Otherwise a tile on a CPU has about a million scores. A divisor of V is
  preferred, with which the gradient of the table needs no copy. A symbolic V is one tile.

  Raises:
    ValueError: `tile` is not an integer of at least 1.
  """
  if tile is not None and (
    not isinstance(tile, numbers.Integral) or isinstance(tile, bool) or tile < 1
  ):
    raise ValueError(f'tile must be an integer of at least 1, got {tile!r}')
  if not isinstance(num_rows, int):
    return num_rows
  if tile is not None:
    return min(int(tile), num_rows)
  best = default_tile_size(num_rows)
  if isinstance(num_vectors, int):
    if 2 * num_vectors <= width:
      return num_rows
    if jax.default_backend() == 'cpu':
      best = min(max(2**20 // num_vectors, 256), 4096, num_rows)
  divisors = [s for s in range(max(best // 2, 1), min(2 * best, num_rows) + 1) if num_rows % s == 0]
  return min(divisors, key=lambda s: abs(math.log(s / best)), default=best)


def tile_at(
  table: jax.Array, begin: jax.Array, size: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns the rows `[S, D]` of the table, their ids, and True for rows that no earlier tile had.

  The last tile overlaps the one before it where the size does not divide the table.
  """
  first = jnp.minimum(begin, table.shape[0] - size)
  ids = first + jnp.arange(size)
  return jax.lax.dynamic_slice_in_dim(table, first, size), ids, ids >= begin


class _Softmax(NamedTuple):
  """Computes the scores of a softmax; its fields are constants of the compiled code."""

  size: int  # S
  soft_cap: float | None = None
  has_mean: bool = False  # label smoothing needs the mean score
  dot: Callable[[jax.Array, jax.Array], jax.Array] = dot

  def scores(
    self, a: jax.Array, b: jax.Array, bias: jax.Array | None
  ) -> tuple[jax.Array, jax.Array | float]:
    """Returns scores from the product `a @ b`, and their slope: the derivative by the product.

    The product is of vectors and rows in either order; the bias broadcasts against it.
    """
    scores = self.dot(a, b)
    scores = scores if bias is None else scores + bias.astype(scores.dtype)
    if self.soft_cap is None:
      return scores, 1.0
    capped = jnp.tanh(scores / self.soft_cap)
    # A class that is excluded by -inf stays so.
    return jnp.where(jnp.isneginf(scores), -jnp.inf, self.soft_cap * capped), 1 - capped**2


class _Terms(NamedTuple):
  """Sums over the classes, from which the losses are made."""

  peak: jax.Array  # [M] largest score but the label's; a constant to autodiff
  total: jax.Array  # [M] sum of e^(s - peak) over the other classes
  label: jax.Array | None  # [M] score of the label
  mean: jax.Array | None  # [M] mean score of the classes that are not excluded
  num_classes: jax.Array | None  # [M] number of these; a constant to autodiff


class _Rows(NamedTuple):
  """Weighted sums of rows `[M, D]`: the derivatives of `_Terms` by the vectors."""

  total: jax.Array
  label: jax.Array | None
  mean: jax.Array | None


# --- The first pass: sums over the tiles, with a running maximum ---


def _tile_sums(softmax, vectors, rows, bias, label_ids, begin, with_rows):
  """Returns `(_Terms, _Rows)` of one tile, with sums where these have means."""
  scores, slope = softmax.scores(vectors, rows.T, None if bias is None else bias[None, :])  # [M, S]
  others, label, mean, num_classes, row_mean, row_total = scores, None, None, None, None, None
  if label_ids is not None:
    is_label = (label_ids - begin)[:, None] == _places(rows, label_ids)[None, :]
    label = jnp.sum(jnp.where(is_label, scores, 0), axis=1)
    others = jnp.where(is_label, -jnp.inf, scores)
  peak = jax.lax.stop_gradient(jnp.max(others, axis=1))
  peak = jnp.where(jnp.isneginf(peak), jnp.finfo(peak.dtype).min, peak)  # all excluded
  weights = jnp.exp(others - peak[:, None])
  if softmax.has_mean:
    is_class = ~jnp.isneginf(scores)
    mean = jnp.sum(scores, axis=1, where=is_class)
    num_classes = jnp.sum(is_class, axis=1, dtype=scores.dtype)
    row_mean = dot(jnp.where(is_class, slope, 0).astype(scores.dtype), rows) if with_rows else None
  if with_rows:
    row_total = dot(weights * slope, rows)
  terms = _Terms(peak, jnp.sum(weights, axis=1), label, mean, num_classes)
  return terms, _Rows(row_total, None, row_mean)


def _places(rows, label_ids):
  """Returns 0, 1, ... for the rows of a tile, in the dtype of the labels."""
  return jnp.arange(rows.shape[0], dtype=label_ids.dtype)


def _merge(a, b):
  """Returns the sums of two sets of tiles."""
  (terms_a, rows_a), (terms_b, rows_b) = a, b
  peak = jnp.maximum(terms_a.peak, terms_b.peak)
  of_a, of_b = jnp.exp(terms_a.peak - peak), jnp.exp(terms_b.peak - peak)
  total = terms_a.total * of_a + terms_b.total * of_b
  terms, rows = jax.tree.map(jnp.add, a, b)
  if rows.total is not None:
    rows = rows._replace(total=rows_a.total * of_a[:, None] + rows_b.total * of_b[:, None])
  return terms._replace(peak=peak, total=total), rows


def _first_pass(softmax, vectors, table, bias, label_ids, with_rows=False):
  """Returns `(_Terms, _Rows)`. The scan starts from the first tile, which types its carry."""

  def tile(begin, length):
    rows = jax.lax.dynamic_slice_in_dim(table, begin, length)
    of_rows = None if bias is None else jax.lax.dynamic_slice_in_dim(bias, begin, length)
    return _tile_sums(softmax, vectors, rows, of_rows, label_ids, begin, with_rows)

  num_rows, size = table.shape[0], softmax.size
  if size == num_rows:
    sums = _tile_sums(softmax, vectors, table, bias, label_ids, 0, with_rows)
  else:
    first = num_rows % size or size
    begins = jnp.arange(first, num_rows, size, dtype=jnp.int32)
    merge = lambda sums, begin: (_merge(sums, tile(begin, size)), None)
    sums, _ = jax.lax.scan(merge, tile(0, first), begins)
  terms, rows = sums
  if softmax.has_mean:
    terms = terms._replace(mean=terms.mean / terms.num_classes)
    if with_rows:
      rows = rows._replace(mean=rows.mean / terms.num_classes[:, None])
  if with_rows and label_ids is not None:
    label = table[label_ids].astype(terms.total.dtype)
    if softmax.soft_cap is not None:
      capped = jnp.where(jnp.isneginf(terms.label), softmax.soft_cap, terms.label)
      label *= 1 - (capped / softmax.soft_cap)[:, None] ** 2
    rows = rows._replace(label=label)
  return terms, rows


# --- The second pass: derivatives by the scores of each tile, made again ---


def _tile_deltas(softmax, vectors, rows, bias, label_ids, begin, terms):
  """Returns the derivatives `[S, M]` of total, label and mean by the product of rows and vectors.

  In this layout the gradient of the rows is a product without a transpose.
  """
  scores, slope = softmax.scores(rows, vectors.T, None if bias is None else bias[:, None])
  slope = jnp.asarray(slope, scores.dtype)
  others, label, mean = scores, None, None
  if label_ids is not None:
    is_label = _places(rows, label_ids)[:, None] == (label_ids - begin)[None, :]
    label = jnp.where(is_label, slope, 0)
    others = jnp.where(is_label, -jnp.inf, scores)
  total = jnp.exp(others - jax.lax.stop_gradient(terms.peak)[None, :]) * slope
  if softmax.has_mean:
    mean = jnp.where(jnp.isneginf(scores), 0, slope / terms.num_classes[None, :])
  return total, label, mean


def _fold(add, start, size, *tables):
  """Returns `start` with `add(so_far, begin, *tiles)` applied for every tile of the tables.

  The tables are inputs of the scan, so that their gradients leave it tile by tile. The tiles'
  scores are made again on the way back instead of kept.
  """
  num_rows = tables[0].shape[0]
  if size == num_rows:
    return add(start, 0, *tables)
  rest = num_rows % size
  if rest:
    start = add(start, 0, *(None if x is None else x[:rest] for x in tables))
  tiles = [None if x is None else x[rest:].reshape(-1, size, *x.shape[1:]) for x in tables]
  begins = jnp.arange(rest, num_rows, size, dtype=jnp.int32)
  add = jax.checkpoint(add, prevent_cse=False)
  return jax.lax.scan(lambda total, x: (add(total, *x), None), start, (begins, *tiles))[0]


def _softmax_terms(softmax, vectors, table, bias, label_ids):
  """Returns `_Terms`, with derivatives of any order in both modes."""
  if softmax.size == table.shape[0]:  # nothing to make again: autodiff keeps the scores
    return _first_pass(softmax, vectors, table, bias, label_ids)[0]
  return _tiled_terms(softmax, vectors, table, bias, label_ids)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _tiled_terms(softmax, vectors, table, bias, label_ids):
  """Returns `_Terms`, with derivatives by tiles."""
  return _first_pass(softmax, vectors, table, bias, label_ids)[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _tiled_terms_and_rows(softmax, vectors, table, bias, label_ids):
  """Returns `(_Terms, _Rows)` from one pass."""
  return _first_pass(softmax, vectors, table, bias, label_ids, with_rows=True)


@functools.partial(_tiled_terms.defjvp, symbolic_zeros=True)
def _tiled_terms_jvp(softmax, primals, tangents):
  vectors, table, bias, label_ids = primals
  d_vectors, d_table, d_bias, _ = tangents
  by_vectors, by_table, by_bias = (
    x is not None and not isinstance(x, SymbolicZero) for x in (d_vectors, d_table, d_bias)
  )
  if by_vectors:
    terms, rows = _tiled_terms_and_rows(softmax, *primals)
    d_vectors = d_vectors.astype(terms.total.dtype)
    sums = [None if x is None else jnp.sum(x * d_vectors, axis=1) for x in rows]
  else:
    terms = _tiled_terms(softmax, *primals)
    sums = [None if x is None else 0 * x for x in (terms.total, terms.label, terms.mean)]
  if by_table or by_bias:

    def add(sums, begin, rows, bias, d_rows, d_bias):
      deltas = _tile_deltas(softmax, vectors, rows, bias, label_ids, begin, terms)
      d_product = 0.0 if d_rows is None else dot(d_rows, vectors.T)  # [S, M]
      if d_bias is not None:
        d_product += d_bias.astype(terms.total.dtype)[:, None]
      return [
        None if delta is None else total + jnp.sum(delta * d_product, axis=0)
        for total, delta in zip(sums, deltas, strict=True)
      ]

    tangent_tables = d_table if by_table else None, d_bias if by_bias else None
    sums = _fold(add, sums, softmax.size, table, bias, *tangent_tables)
  constant = lambda x: None if x is None else jnp.zeros_like(x)
  return terms, _Terms(constant(terms.peak), *sums, constant(terms.num_classes))


@_tiled_terms_and_rows.defjvp
def _tiled_terms_and_rows_jvp(softmax, primals, tangents):
  """Second and higher derivatives: of the rows as sums over tiles without a running maximum."""
  label_ids = primals[-1]

  def plainly(vectors, table, bias):
    terms = _tiled_terms(softmax, vectors, table, bias, label_ids)

    def add(sums, begin, rows, bias):
      deltas = _tile_deltas(softmax, vectors, rows, bias, label_ids, begin, terms)
      return [
        None if delta is None else total + dot(delta.T, rows)
        for total, delta in zip(sums, deltas, strict=True)
      ]

    zeros = jnp.broadcast_to(0 * terms.total[:, None], vectors.shape)
    start = [None if x is None else zeros for x in (terms.total, terms.label, terms.mean)]
    return terms, _Rows(*_fold(add, start, softmax.size, table, bias))

  return jax.jvp(plainly, primals[:3], tangents[:3])


def log_normalizers(
  vectors: jax.Array,
  table: jax.Array,
  size: int,
  scores_of: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
  """Returns `[M]` logarithms of the softmax's denominators, for the trainer: without a gradient.

  Args:
    vectors: `[M, D]`.
    table: `[V, D]`.
    size: S, at most V.
    scores_of: function that makes `[M, S]` scores of vectors and rows.
  """
  softmax = _Softmax(size, dot=lambda vectors, columns: scores_of(vectors, columns.T))
  terms, _ = _first_pass(softmax, vectors, table, None, None)
  return terms.peak + jnp.log(terms.total)


# --- The losses ---


@exportable
class TiledSoftmaxGrads(NamedTuple):
  """Gradients of the sum of `tiled_softmax_loss`; `bias` is None if the loss has none."""

  vectors: jax.Array  # [..., D]
  table: jax.Array  # [V, D]
  bias: jax.Array | None = None  # [V]


class _Call(NamedTuple):
  """The checked arguments of a call, with the leading axes made one."""

  softmax: _Softmax
  vectors: jax.Array  # [M, D]
  table: jax.Array  # [V, D]
  bias: jax.Array | None  # [V]
  label_ids: jax.Array | None  # [M]
  keep: jax.Array | None  # [M] False for padding and labels out of range
  is_wrong: jax.Array | None  # [M] True for labels out of range that are not padding
  batch: tuple[int, ...]


def _check_call(
  vectors,
  table,
  bias,
  tile,
  soft_cap,
  label_ids=None,
  where=None,
  label_smoothing=0.0,
  has_labels=True,
  keep_scores=True,
):
  for name, value in {'soft_cap': soft_cap, 'label_smoothing': label_smoothing}.items():
    check_static(name, value)
  if soft_cap is not None and not soft_cap > 0:
    raise ValueError(f'soft_cap must be greater than 0, got {soft_cap!r}')
  if not 0 <= label_smoothing <= 1:
    raise ValueError(f'label_smoothing must be from 0 to 1, got {label_smoothing!r}')
  vectors, label_ids, table, bias, where = check(
    vectors=(vectors, '... D'),
    label_ids=(label_ids, '...' if has_labels else '?...', int),
    table=(table, 'V D'),
    bias=(bias, '?V'),
    where=(where, '?...', bool),
  )
  if isinstance(table.shape[0], int) and not table.size:
    raise ValueError(f'table must have at least one row and column, got {list(table.shape)}')
  batch = vectors.shape[:-1]
  vectors = vectors.reshape(-1, vectors.shape[-1])
  keep = is_wrong = None
  if has_labels:
    label_ids, keep = in_range(label_ids.reshape(-1), table.shape[0])
    is_wrong = ~keep
    if where is not None:
      where = where.reshape(-1)
      vectors = jnp.where(where[:, None], vectors, 0)  # padding may hold anything
      keep, is_wrong = keep & where, is_wrong & where
  width = vectors.shape[1] if keep_scores else 0
  size = tile_size(tile, table.shape[0], vectors.shape[0], width)
  softmax = _Softmax(size, soft_cap, bool(label_smoothing))
  return _Call(softmax, vectors, table, bias, label_ids, keep, is_wrong, batch)


def _losses(call, terms, label_smoothing, z_loss):
  """Returns the losses `[M]`, the log-odds z against the label, and the log normalizers."""
  peak, total, label = jax.lax.stop_gradient(terms.peak), terms.total, terms.label
  # Examples that are not kept may have an excluded label, whose infinity no mask takes out later.
  label = jnp.where(call.keep, label, 0)
  z = jnp.where(call.keep, log_odds(peak, total, terms.label), 0)
  losses = jax.nn.softplus(z)
  log_normalizer = jnp.logaddexp(log_odds(peak, total, jnp.zeros_like(label)), label)
  if label_smoothing:
    to_mean = jnp.logaddexp(log_odds(peak, total, terms.mean), label - terms.mean)
    losses = (1 - label_smoothing) * losses + label_smoothing * to_mean
  if not _is_zero(z_loss):
    losses = losses + jnp.asarray(z_loss, z.dtype) * log_normalizer**2
  losses = jnp.where(call.keep, losses, 0)
  return jnp.where(call.is_wrong, jnp.nan, losses), z, log_normalizer


def _is_zero(z_loss):
  """Returns True for the Python number 0, whose product with an infinite normalizer is 0."""
  return isinstance(z_loss, numbers.Number) and z_loss == 0


@any_mesh(batch='vectors')
def tiled_log_normalizer(
  vectors: ArrayLike,
  table: ArrayLike,
  *,
  bias: ArrayLike | None = None,
  soft_cap: float | None = None,
  tile: int | None = None,
) -> jax.Array:
  r"""Logarithm of the denominator of a softmax over the rows of a large table.

  .. math:: L = \log \sum_w e^{s_w}, \qquad s_w = u_w^\top v + b_w

  `s - tiled_log_normalizer(...)` is the log-probability of a class of score s, for instance of each
  word of a beam, or of a held-out text.

  Args:
    vectors: `[..., D]` vectors :math:`v`.
    table: `[V, D]`, a row :math:`u_w` for each class.
    bias: `[V]` :math:`b_w`; -inf excludes a class.
    soft_cap: c, a Python number, which makes the scores :math:`c \tanh(s_w / c)`; None for no cap.
    tile: S, the number of classes whose scores are in memory at once.

  Returns:
    `[...]` in float32, or float64 for such inputs; -inf if all classes are excluded.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    TypeError: `soft_cap` is traced.
    ValueError: `tile` is not a positive integer, or `soft_cap` not a positive number.

  References:
    Milakov and Gimelshein, `Online normalizer calculation for softmax
    <https://arxiv.org/abs/1805.02867>`_, 2018. Derivation D02.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> vectors, table = jnp.zeros((2, 4)), jnp.zeros((1_000_000, 4))
    >>> print(jw2v.tiled_log_normalizer(vectors, table))
    [13.815511 13.815511]
  """
  call = _check_call(vectors, table, bias, tile, soft_cap, has_labels=False)
  terms = _softmax_terms(call.softmax, call.vectors, call.table, call.bias, None)
  zeros = jnp.zeros_like(terms.total)
  return log_odds(jax.lax.stop_gradient(terms.peak), terms.total, zeros).reshape(call.batch)


@any_mesh(batch='vectors')
def tiled_softmax_loss(
  vectors: ArrayLike,
  label_ids: ArrayLike,
  table: ArrayLike,
  *,
  bias: ArrayLike | None = None,
  where: ArrayLike | None = None,
  label_smoothing: float = 0.0,
  z_loss: ArrayLike = 0.0,
  soft_cap: float | None = None,
  tile: int | None = None,
) -> jax.Array:
  r"""Softmax cross entropy over the rows of a large table, without a matrix of all scores.

  .. math:: \ell = \log \sum_w e^{s_w} - s_o, \qquad s_w = u_w^\top v + b_w

  for every vector :math:`v` with its label :math:`o`. The memory holds a tile of scores
  `[M, S]`, the gradients, and a few arrays `[M, D]`. A gradient computes the scores twice.
  `jax.grad`, `jax.jvp`, `jax.hessian`, `jax.vmap`, `jax.checkpoint`, `jax.shard_map` and
  `jax.export` work.

  With label smoothing :math:`\alpha`, z-loss :math:`\zeta`, and n classes that are not excluded,

  .. math:: \ell = (1 - \alpha)(L - s_o) + \frac{\alpha}{n} \sum_w (L - s_w) + \zeta L^2,
     \qquad L = \log \sum_w e^{s_w}

  Args:
    vectors: `[..., D]` vectors :math:`v` with any number of leading axes, M vectors in all.
    label_ids: `[...]` integers :math:`o` in [0, V). Any other id has the loss NaN and the
      gradient 0, unless `where` is False there.
    table: `[V, D]`, a row :math:`u_w` for each class.
    bias: `[V]` :math:`b_w`, 0 if not given; -inf excludes a class.
    where: `[...]` bool, False for padding, whose loss and gradient are 0 for any vector and label.
    label_smoothing: :math:`\alpha` in [0, 1], a Python number.
    z_loss: :math:`\zeta`, a number or a scalar array.
    soft_cap: c, a Python number, which makes the scores :math:`c \tanh(s_w / c)`; None for no cap.
    tile: S, the number of classes whose scores are in memory at once; V, or more, for all. The
      default is a tile of about a million scores on a CPU, and of 8,192 classes on other devices.
      It is V if M is at most D / 2, since all scores are then small compared with the gradient of
      the table. The default divides V if V has a divisor near it; any other S copies this gradient.

  Returns:
    `[...]` losses in float32, or float64 for such inputs; at least 0.

  Raises:
    AssertionError: an argument has the wrong rank, shape or dtype.
    TypeError: `soft_cap` or `label_smoothing` is traced.
    ValueError: `tile` is not a positive integer, `soft_cap` not a positive number, or
      `label_smoothing` not from 0 to 1.

  References:
    Wijmans et al., `Cut your losses in large-vocabulary language models
    <https://arxiv.org/abs/2411.09009>`_, 2024, has the same loss as a GPU kernel; label smoothing:
    Szegedy et al., `Rethinking the Inception architecture <https://arxiv.org/abs/1512.00567>`_,
    2015; z-loss: Chowdhery et al., `PaLM <https://arxiv.org/abs/2204.02311>`_, 2022, section 5;
    soft cap: `Gemma 2 <https://arxiv.org/abs/2408.00118>`_, 2024. Derivations D12 to D17.

  Example:
    >>> import jax.numpy as jnp, jw2v
    >>> vectors, table = jnp.ones((2, 3, 4)), jnp.eye(5, 4)  # a batch of sentences, a vocabulary
    >>> label_ids = jnp.array([[0, 1, 2], [3, 4, -1]])  # -1 is padding
    >>> losses = jw2v.tiled_softmax_loss(vectors, label_ids, table, where=label_ids >= 0)
    >>> print(losses.sum().round(3))
    8.371
  """
  call = _check_call(vectors, table, bias, tile, soft_cap, label_ids, where, label_smoothing)
  terms = _softmax_terms(call.softmax, call.vectors, call.table, call.bias, call.label_ids)
  losses, *_ = _losses(call, terms, label_smoothing, z_loss)
  return losses.reshape(call.batch)


@any_mesh(batch='vectors', grads=TiledSoftmaxGrads)
def tiled_softmax_value_and_grad(
  vectors: ArrayLike,
  label_ids: ArrayLike,
  table: ArrayLike,
  *,
  bias: ArrayLike | None = None,
  where: ArrayLike | None = None,
  label_smoothing: float = 0.0,
  z_loss: ArrayLike = 0.0,
  soft_cap: float | None = None,
  tile: int | None = None,
) -> tuple[jax.Array, TiledSoftmaxGrads]:
  r"""`tiled_softmax_loss`, same arguments, with the gradients of its sum in closed form.

  .. math:: \delta_{mw} = \hat y_{mw} - [w = o_m], \qquad
     \partial v_m = \sum_w \delta_{mw} u_w, \qquad
     \partial u_w = \sum_m \delta_{mw} v_m, \qquad \partial b_w = \sum_m \delta_{mw}

  without the options; with them, :math:`\delta` has the factors that the code names. For a mean
  over M examples, divide by M.

  Returns:
    `(losses, TiledSoftmaxGrads)`, each gradient in the dtype of its argument.

  References:
    Derivations D13 to D17.
  """
  call = _check_call(
    vectors, table, bias, tile, soft_cap, label_ids, where, label_smoothing, keep_scores=False
  )
  softmax, vectors, table, bias, label_ids, keep, _, batch = call
  terms, rows = _tiled_terms_and_rows(softmax, vectors, table, bias, label_ids)
  losses, z, log_normalizer = _losses(call, terms, label_smoothing, z_loss)
  # J = (1 - a) softplus(z) + a (L - mean) + c L^2, with L = log(e^label + e^(label + z)).
  wrong = jax.nn.sigmoid(z)  # 1 - y_o
  d_normalizer = jnp.full_like(z, label_smoothing)
  if not _is_zero(z_loss):
    d_normalizer += 2 * jnp.asarray(z_loss, z.dtype) * log_normalizer
  d_total = (
    (1 - label_smoothing + d_normalizer) * wrong / jnp.where(terms.total == 0, 1, terms.total)
  )
  d_label = d_normalizer * (1 - wrong) - (1 - label_smoothing) * wrong
  d_total, d_label = (jnp.where(keep, x, 0) for x in (d_total, d_label))  # [M]
  d_mean = jnp.where(keep, -label_smoothing, 0).astype(d_label.dtype)
  d_vectors = d_total[:, None] * rows.total + d_label[:, None] * rows.label
  if softmax.has_mean:
    d_vectors += d_mean[:, None] * rows.mean

  def of_tile(begin, rows, bias):
    total, label, mean = _tile_deltas(softmax, vectors, rows, bias, label_ids, begin, terms)
    delta = d_total[None, :] * total + d_label[None, :] * label  # [S, M]
    delta = delta if mean is None else delta + d_mean[None, :] * mean
    d_bias = None if bias is None else jnp.sum(delta, axis=1).astype(bias.dtype)
    return dot(delta, vectors).astype(rows.dtype), d_bias

  d_table, d_bias = _map_tiles(of_tile, softmax.size, table, bias)
  return losses.reshape(batch), TiledSoftmaxGrads(
    d_vectors.astype(vectors.dtype).reshape(*batch, vectors.shape[-1]), d_table, d_bias
  )


def _map_tiles(function, size, *tables):
  """Returns `function(begin, *tiles)` of every tile, joined along the rows."""
  num_rows = tables[0].shape[0]
  if size == num_rows:
    return function(0, *tables)
  rest = num_rows % size
  begins = jnp.arange(rest, num_rows, size, dtype=jnp.int32)
  tiles = [None if x is None else x[rest:].reshape(-1, size, *x.shape[1:]) for x in tables]
  _, parts = jax.lax.scan(lambda _, x: (None, function(*x)), None, (begins, *tiles))
  parts = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), parts)
  if rest:
    first = function(0, *(None if x is None else x[:rest] for x in tables))
    parts = jax.tree.map(lambda *x: jnp.concatenate(x), first, parts)
  return parts
