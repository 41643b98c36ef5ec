"""Precision of all losses: large scores, small losses, half-precision sums, out-of-range ids."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiers

import jw2v

HALF = [jnp.bfloat16, jnp.float16]


def naive(scores, label, function=jw2v.naive_softmax_loss):
  """Returns the loss of a label among scores, as products with a center of width 1."""
  return function(jnp.ones(1, scores.dtype), label, scores[:, None])


def sampled(scores, label):
  others = jnp.delete(scores, label, assume_unique_indices=True)
  return jw2v.sampled_softmax_from_scores(scores[label], others)


def sampled_vectors(scores, label):
  others = jnp.delete(scores, label, assume_unique_indices=True)
  of_none = scores.dtype.type(0), jnp.zeros_like(others)
  center = jnp.ones(1, scores.dtype)
  return jw2v.sampled_softmax_loss(center, scores[label][None], others[:, None], *of_none)


def tiled(scores, label):
  center = jnp.ones((1, 1), scores.dtype)
  return jw2v.tiled_softmax_loss(center, jnp.array([label]), scores[:, None], tile=2)[0]


def in_batch(scores, label):
  """Returns the loss of the label's query against all keys."""
  queries = jnp.ones((len(scores), 1), scores.dtype)
  return jw2v.in_batch_softmax_loss(queries, scores[:, None])[label]


def cross_entropy(scores, label):
  return jw2v.cross_entropy_loss(scores, jnp.zeros_like(scores).at[label].set(1))


@functools.cache
def compiled(loss):
  return jax.jit(loss)


SOFTMAXES = [naive, sampled, sampled_vectors, tiled, in_batch, cross_entropy]


@pytest.mark.parametrize('loss', SOFTMAXES)
class TestEverySoftmax:
  """The same softmax in six losses, in float32."""

  @pytest.mark.parametrize(
    ('scores', 'label', 'want'),
    [
      ([1e4, 1e4 - 1, -1e4], 0, 0.31326168751822286),  # log(1 + 1/e)
      ([1e4, 1e4 - 1, -1e4], 1, 1.3132616875182228),
      ([1e4, 1e4 - 1, -1e4], 2, 20000.313261687518),
      ([-1e4, -1e4, -1e4], 1, 1.0986122886681098),  # log 3
      ([20.0, 0, 0, 0], 0, 6.183460867315673e-09),  # log(1 + 3 e^-20)
      ([0.0, 0, 20, 0], 2, 6.183460867315673e-09),
    ],
  )
  def test_is_right_to_the_last_digits(self, loss, scores, label, want):
    found = compiled(loss)(jnp.array(scores), label)
    np.testing.assert_allclose(found, want, rtol=1e-6)

  def test_is_never_negative(self, loss):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5000, 4)) * 10 ** rng.uniform(-3, 5, size=(5000, 1))
    of_all = jax.vmap(jax.vmap(loss, (None, 0)), (0, None))
    losses = jax.jit(of_all)(scores.astype(np.float32), np.arange(4))
    assert np.all(losses >= 0)


def test_gradient_of_a_label_with_nearly_all_mass():
  """D18: in float32, row gradients sum to zero, and the center's is E[u] - u_o to 1e-5."""
  rng = np.random.default_rng(0)
  center = np.ones(4, np.float32)
  table = (rng.normal(size=(5, 4)) - np.array([0, 8, 8, 8, 8])[:, None]).astype(np.float32)
  grads = jax.jit(jw2v.naive_softmax_value_and_grad)(center, 0, table)[1]
  exact = table.astype(np.float64)
  y = np.exp(exact @ center) / np.exp(exact @ center).sum()
  others = y[1:] @ (exact[1:] - exact[0])  # E[u] - u_o without the cancellation
  assert y[1:].sum() < 1e-8
  np.testing.assert_allclose(grads.center, others, rtol=1e-5)
  rows = np.asarray(grads.outside_vectors)
  np.testing.assert_allclose(rows[1:], y[1:, None] * center, rtol=1e-5)
  assert np.all(np.abs(rows.sum(axis=0)) <= 4 * 2.0**-24 * np.abs(rows[0]))


# --- Ids out of range ---

ROWS = 200  # more than int8 holds
OUT_OF_RANGE = [(np.int32, 999), (np.int32, ROWS), (np.int32, -1), (np.int32, -100),
                (np.int8, -1), (np.int8, -100), (np.int16, 999), (np.uint8, 255),
                (np.uint16, 999), (np.uint32, 2**32 - 1), (np.int64, 2**40)]  # fmt: skip
IN_RANGE = [(np.int8, 127), (np.uint8, 199), (np.int16, 199), (np.uint32, 199), (np.int64, 199)]
TABLE = np.random.default_rng(0).normal(size=(ROWS, 2))


def _fast_ids(pairs):
  """Returns all pairs, with some dtypes marked slow, since each dtype compiles four losses."""
  return tiers.fast([x for x in pairs if x[0] in (np.int32, np.int8, np.uint8, np.int64)], pairs)


@jax.jit
def softmaxes_of_one(label):
  """Returns the value and gradients of naive and tiled softmax, by twin and by autodiff."""
  center = jnp.array([1.0, -1.0])
  one = lambda v, u: jw2v.naive_softmax_loss(v, label, u)
  many = lambda v, u: jw2v.tiled_softmax_loss(v, label, u, tile=64)
  results = [(value, tuple(grads)) for value, grads in (
    jax.value_and_grad(one, (0, 1))(center, TABLE),
    jax.value_and_grad(many, (0, 1))(center, TABLE),
    jw2v.naive_softmax_value_and_grad(center, label, TABLE),
    jw2v.tiled_softmax_value_and_grad(center, label, TABLE, tile=64),
  )]  # fmt: skip
  return [(value, grads[:2]) for value, grads in results]


@pytest.mark.usefixtures('float64')
class TestIds:
  @pytest.mark.parametrize(('dtype', 'label'), _fast_ids(OUT_OF_RANGE))
  def test_out_of_range_is_nan_with_gradient_zero(self, dtype, label):
    for value, grads in softmaxes_of_one(dtype(label)):
      assert np.isnan(value)
      assert not any(np.any(x) for x in grads)

  @pytest.mark.parametrize(('dtype', 'label'), _fast_ids(IN_RANGE))
  def test_every_dtype_reaches_every_row(self, dtype, label):
    scores = TABLE @ np.array([1.0, -1.0])
    want = np.log(np.exp(scores).sum()) - scores[label]
    for value, grads in softmaxes_of_one(dtype(label)):
      np.testing.assert_allclose(value, want, rtol=1e-12)
      assert np.all(np.argmin(grads[1] @ np.array([1.0, -1.0])) == label)

  @pytest.mark.parametrize('label', [ROWS, -1])
  def test_padding_chooses_zero(self, label):
    arguments = jnp.full((2, 2), jnp.nan).at[0].set(1.0), jnp.array([3, label]), TABLE
    where = jnp.array([True, False])
    twin = jax.jit(lambda *a: jw2v.tiled_softmax_value_and_grad(*a, where=where, tile=64))
    losses, grads = twin(*arguments)
    assert losses[0] > 0
    assert losses[1] == 0
    assert not np.any(grads.vectors[1])
    assert np.all(np.isfinite(grads.table))

  @pytest.mark.parametrize('bad', [5, -1, pytest.param(10**6, marks=pytest.mark.slow)])
  @pytest.mark.parametrize('where', ['center', 'outside', 'negatives'])
  @pytest.mark.parametrize('sampled', [True, False])
  def test_windows(self, bad, where, sampled):
    """Returns NaN for a bad id in a used slot, and ignores it in a masked slot or window."""
    if where == 'negatives' and not sampled:
      return
    tables = jw2v.Word2VecParams(TABLE[:5], TABLE[5:10])
    one, many, noise = np.int32(2), np.array([1, 3]), np.array([[0, 4], [1, 1]])
    masks = {'counts': [True, True], 'masked': [True, False], 'all masked': [False, False]}
    bad_one = bad if where == 'center' else one
    bad_many = np.array([1, bad if where == 'outside' else 3])
    bad_noise = np.array([[0, 4], [1, bad if where == 'negatives' else 1]])
    for of, mask in masks.items():
      for loss, twin, noise_of in (_SKIP_GRAM, _CBOW):
        arguments = lambda i, ids, n, noise_of=noise_of: noise_of(i, ids, n if sampled else None)
        args, kwargs = arguments(bad_one, bad_many, bad_noise)
        found = loss(tables, *args, **kwargs, mask=np.array(mask))
        same, grads = twin(tables, *args, **kwargs, mask=np.array(mask))
        shared = loss is _CBOW[0] and where == 'negatives'  # by all slots
        if of == 'counts' or (of == 'masked' and (where == 'center' or shared)):
          assert np.isnan(found) and np.isnan(same)
          continue
        args, kwargs = arguments(one, many, noise)
        np.testing.assert_allclose(found, loss(tables, *args, **kwargs, mask=np.array(mask)))
        want = twin(tables, *args, **kwargs, mask=np.array(mask))
        jax.tree.map(np.testing.assert_allclose, (same, grads), want)


def _skip_gram_arguments(one, many, noise):
  return (one, many), {} if noise is None else {'negative_ids': noise}


def _cbow_arguments(one, many, noise):
  return (many, one), {} if noise is None else {'negative_ids': noise[1]}


_SKIP_GRAM = (
  jax.jit(jw2v.skip_gram_loss),
  jax.jit(jw2v.skip_gram_value_and_grad),
  _skip_gram_arguments,
)
_CBOW = jax.jit(jw2v.cbow_loss), jax.jit(jw2v.cbow_value_and_grad), _cbow_arguments


# --- Sums in half precision ---


@pytest.mark.parametrize('dtype', HALF)
class TestHalfPrecision:
  def test_scores_are_not_rounded(self, dtype):
    """Distinguishes scores of 4097 and 4096, which are one number in half precision."""
    table = jnp.array([[4096, 1], [4096, 0]], dtype)
    loss = jax.jit(jw2v.naive_softmax_loss)(jnp.ones(2, dtype), 0, table)
    np.testing.assert_allclose(np.float32(loss), np.log1p(np.exp(-1)), float(jnp.finfo(dtype).eps))

  def test_three_thousand_negatives(self, dtype):
    """Sums terms of log 2, each of which moves the center by half a unit."""
    center, outside = jnp.zeros(2, dtype), jnp.zeros(2, dtype)
    negatives = jnp.ones((3000, 2), dtype)
    for loss, d_center in (
      jax.jit(jax.value_and_grad(jw2v.negative_sampling_loss))(center, outside, negatives),
      jax.jit(
        lambda *a: (lambda x: (x[0], x[1].center))(jw2v.negative_sampling_value_and_grad(*a))
      )(center, outside, negatives),
    ):
      assert loss.dtype == d_center.dtype == dtype
      eps = float(jnp.finfo(dtype).eps)
      np.testing.assert_allclose(np.float32(loss), 3001 * np.log(2), rtol=eps)
      np.testing.assert_allclose(np.float32(d_center), 1500, rtol=eps)

  @pytest.mark.parametrize('sampled', tiers.fast([True], [True, False]))
  def test_a_context_word_a_thousand_times(self, dtype, sampled):
    """Returns 1,000 times the loss and row gradient of one occurrence, rounded once."""
    rng = np.random.default_rng(0)
    tables = jw2v.Word2VecParams(*(jnp.asarray(rng.normal(size=(4, 2)), dtype) for _ in range(2)))
    eps = float(jnp.finfo(dtype).eps)
    for count, options in ((1000, {}), (1, {})):
      noise = {'negative_ids': jnp.full((count, 2), 3)} if sampled else options
      of = lambda p, noise=noise, n=count: jw2v.skip_gram_loss(
        p, 0, jnp.ones(n, jnp.int32), **noise
      )
      twin = lambda p, noise=noise, n=count: jw2v.skip_gram_value_and_grad(
        p, 0, jnp.ones(n, jnp.int32), **noise
      )
      found = jax.jit(lambda p, of=of, twin=twin: (jax.value_and_grad(of)(p), twin(p)))
      if count == 1000:
        got = found(tables)
      else:  # of one, in float32
        want = found(jax.tree.map(lambda x: x.astype(jnp.float32), tables))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
      assert a.dtype == dtype
      np.testing.assert_allclose(
        a.astype(np.float32), 1000 * b, rtol=eps, atol=eps * 1000 * float(jnp.abs(b).max()) / 8
      )


class TestWideIds:
  """Wide integers of NumPy, which JAX truncates to 32 bits without jax_enable_x64."""

  @pytest.mark.parametrize(
    'call',
    [
      lambda v, ids: jw2v.in_batch_softmax_loss(v, v, key_ids=ids),
      lambda v, ids: jw2v.gather_rows(v, ids),
      lambda v, ids: jw2v.tiled_softmax_loss(v, ids, v),
    ],
  )
  def test_are_refused_where_they_do_not_fit(self, call):
    with jax.enable_x64(False):
      call(np.ones((3, 4)), np.array([0, 1, 2]))
      with pytest.raises(ValueError, match="ids' must fit in int32, got 4294967297; renumber"):
        call(np.ones((3, 4)), np.array([0, 2**32 + 1, 2]))


def test_nan_weights_of_a_masked_window_leak_into_nothing():
  params = jw2v.Word2VecParams(jnp.ones((6, 4)), jnp.ones((6, 4)))
  loss, grads = jax.jit(jw2v.cbow_value_and_grad)(
    params, np.array([1, 2]), 3, negative_ids=np.array([4, 5]),
    negative_weights=np.array([np.nan, 1]), mask=np.zeros(2, bool),
  )  # fmt: skip
  assert loss == 0 and not grads.outside.any()
