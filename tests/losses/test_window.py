"""Skip-gram and CBOW windows: closed forms, identities D29 to D36, and padding."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import TwinProof, assert_close

import jw2v
from jw2v import Word2VecParams
from tests.losses.test_prediction import log_sigmoid

V, D, C, K = 7, 4, 5, 3


def tables(rng, vocabulary=V):
  return Word2VecParams(rng.normal(size=(vocabulary, D)), rng.normal(size=(vocabulary, D)))


def pair_loss(center, outside_id, outside_vectors, negative_ids=None, weights=None):
  """Computes one prediction in NumPy, by negative sampling or the naive softmax."""
  scores = outside_vectors @ center
  if negative_ids is None:
    return np.log(np.exp(scores).sum()) - scores[outside_id]
  weights = np.ones(len(negative_ids)) if weights is None else weights
  noise = sum(w * log_sigmoid(-scores[k]) for w, k in zip(weights, negative_ids, strict=True))
  return -log_sigmoid(scores[outside_id]) - noise


def skip_gram(rng, **kwargs):
  return (tables(rng), np.int32(2), np.array([5, 0, 5, 2, V - 1], np.int32)), kwargs


def negatives(rng):
  """Returns ids with repeats, both ends of the table, and words of the window itself."""
  ids = rng.integers(0, V, size=(C, K))
  ids[0], ids[1] = [0, 0, 5], [V - 1, 0, 2]
  return ids


MASK = np.array([True, False, True, True, False])


class TestSkipGram(TwinProof):
  loss = staticmethod(jax.jit(jw2v.skip_gram_loss))
  twin = staticmethod(jax.jit(jw2v.skip_gram_value_and_grad))
  argnums = 0
  MAIN = ('softmax masked', 'sampled weighted')
  CASES = {
    'softmax': lambda rng: skip_gram(rng),
    'softmax masked': lambda rng: skip_gram(rng, mask=MASK),
    'softmax all masked': lambda rng: skip_gram(rng, mask=np.zeros(C, bool)),
    'sampled': lambda rng: skip_gram(rng, negative_ids=negatives(rng)),
    'sampled weighted': lambda rng: skip_gram(
      rng, negative_ids=negatives(rng), negative_weights=rng.uniform(size=(C, K))
    ),
    'sampled masked': lambda rng: skip_gram(rng, negative_ids=negatives(rng), mask=MASK),
    'sampled all masked': lambda rng: skip_gram(
      rng, negative_ids=negatives(rng), mask=np.zeros(C, bool)
    ),
  }
  ARGUMENTS = {
    'params.center': ((0, 'center'), 'softmax'),
    'params.outside': ((0, 'outside'), 'softmax'),
    'center_id': ((1,), 'softmax'),
    'outside_ids': ((2,), 'softmax'),
    'negative_ids': (('negative_ids',), 'sampled'),
    'negative_weights': (('negative_weights',), 'sampled weighted'),
    'mask': (('mask',), 'softmax masked'),
  }
  GIVES_SHAPE = ('params.center', 'center_id', 'outside_ids', 'negative_ids')
  CONVERTED = ('negative_weights',)
  OPTIONS = ('negative_ids', 'negative_weights', 'mask')

  @staticmethod
  def reference(params, center_id, outside_ids, *, negative_ids=None, negative_weights=None,
                mask=None):  # fmt: skip
    loss = 0.0
    for slot, outside_id in enumerate(outside_ids):
      if mask is None or mask[slot]:
        loss += pair_loss(
          params.center[center_id],
          outside_id,
          params.outside,
          None if negative_ids is None else negative_ids[slot],
          None if negative_weights is None else negative_weights[slot],
        )
    return loss

  def saturate(self, args, kwargs, scale):
    params, *ids = args
    return (
      Word2VecParams(np.ones_like(params.center) / D, np.full_like(params.outside, scale)),
      *ids,
    ), kwargs

  def test_gradient_is_the_sum_of_the_pairs(self):
    """D29, D30, D31: sums the pair twin over the context, without a mean."""
    (params, c, outside_ids), kwargs = skip_gram(
      rng := np.random.default_rng(0), negative_ids=negatives(rng)
    )
    d_center, d_outside, loss = np.zeros((V, D)), np.zeros((V, D)), 0.0
    twin = jax.jit(jw2v.negative_sampling_value_and_grad)
    for o, ids in zip(outside_ids, kwargs['negative_ids'], strict=True):
      value, grads = twin(params.center[c], params.outside[o], params.outside[ids])
      loss, d_center[c] = loss + value, d_center[c] + grads.center
      np.add.at(d_outside, o, grads.outside)
      np.add.at(d_outside, ids, grads.negatives)
    assert_close(self.twin(params, c, outside_ids, **kwargs), (loss, (d_center, d_outside)))

  def test_only_the_center_word_gets_an_input_gradient(self, case):
    """D32: is exactly zero for w != c, but not for c itself."""
    args, kwargs = self._example(case)
    center = np.asarray(self._run(args, kwargs)[1][1].center)
    others = np.arange(V) != args[1]
    assert not np.any(center[others])
    if np.any(kwargs.get('mask', True)):
      assert np.all(center[args[1]] != 0)

  def test_a_context_word_that_repeats_counts_each_time(self):
    """D33: n copies of a word have n times the loss and the gradient, also copies of c itself."""
    params = tables(np.random.default_rng(0))
    for word in (1, 2, 0, V - 1):
      once = self.twin(params, 2, np.array([word]))
      assert_close(self.twin(params, 2, np.array([word] * 3)), jax.tree.map(lambda x: 3 * x, once))

  @given(
    ids=st.lists(st.integers(0, V - 1), min_size=C, max_size=C),
    drawn=st.lists(st.integers(0, V - 1), min_size=C * K, max_size=C * K),
    mask=st.lists(st.booleans(), min_size=C, max_size=C),
    center_id=st.integers(0, V - 1),
    padding=st.sampled_from([0, -1, V - 1, V, 10**6, -(10**6)]),
    sampled=st.booleans(),
  )
  @settings(max_examples=20, deadline=None, derandomize=True)
  def test_any_window_matches_autodiff_of_its_unmasked_part(
    self, ids, drawn, mask, center_id, padding, sampled
  ):
    """Accepts any ids, repeats, and negatives equal to the target; padding changes no row."""
    params = tables(np.random.default_rng(0))
    ids, mask = np.array(ids), np.array(mask)
    drawn = np.array(drawn).reshape(C, K)
    value, center, outside = 0.0, np.zeros((V, D)), np.zeros((V, D))
    for o, noise in zip(ids[mask], drawn[mask], strict=True):
      one, (d_center, d_outside) = _PAIR(params.center[center_id], params.outside, o,
                                         noise if sampled else None)  # fmt: skip
      value, outside = value + one, outside + d_outside
      center[center_id] += d_center
    want = value, Word2VecParams(center, outside)
    ids[~mask], drawn[~mask] = padding, padding
    kwargs = {'negative_ids': drawn} if sampled else {}
    got = self.twin(params, center_id, ids, mask=mask, **kwargs)
    assert_close(got, want)
    touched = np.zeros(V, bool)
    touched[ids[mask]] = touched[drawn[mask]] = True
    if sampled:
      assert not np.any(np.asarray(got[1].outside)[~touched])

  @pytest.mark.parametrize('sampled', [True, False])
  def test_padding_does_not_read_a_row_that_is_not_finite(self, sampled):
    params = tables(np.random.default_rng(0))
    for row in (0, -1):
      params.outside[row] = np.nan if sampled else params.outside[row]
    kwargs = {'negative_ids': np.full((C, K), -1)} if sampled else {}
    ids = np.array([-1, 0, -1, 0, 0])
    mask = np.zeros(C, bool)
    for result in self._run((params, 2, ids), {'mask': mask, **kwargs}):
      assert all(not np.any(x) for x in jax.tree.leaves(result))

  def test_weights_of_padding_may_be_anything(self):
    rng = np.random.default_rng(0)
    args, kwargs = skip_gram(rng, negative_ids=negatives(rng), mask=MASK)
    weights = np.where(MASK[:, None], rng.uniform(size=(C, K)), 0)
    want = self.twin(*args, **kwargs, negative_weights=weights)
    weights[~MASK] = np.nan
    for result in self._run(args, {**kwargs, 'negative_weights': weights})[1:]:
      assert_close(result, want)

  def test_weights_without_negatives_are_refused(self):
    args, _ = skip_gram(np.random.default_rng(0))
    for function in (self.loss, self.twin):
      with pytest.raises(
        ValueError, match='negative_weights must not be given without negative_ids'
      ):
        function(*args, negative_weights=np.ones((C, K)))


def cbow(rng, **kwargs):
  return (tables(rng), np.array([5, 0, 5, 2, V - 1], np.int32), np.int32(2)), kwargs


class TestCbow(TwinProof):
  loss = staticmethod(jax.jit(jw2v.cbow_loss, static_argnames='combine'))
  twin = staticmethod(jax.jit(jw2v.cbow_value_and_grad, static_argnames='combine'))
  argnums = 0
  MAIN = ('softmax masked', 'sampled weighted')
  NEGATIVES = np.array([0, 2, V - 1, 0, 1, 2])  # repeats, and some equal to the target
  CASES = {
    'softmax': lambda rng: cbow(rng),
    'softmax masked': lambda rng: cbow(rng, mask=MASK),
    'sampled': lambda rng: cbow(rng, negative_ids=TestCbow.NEGATIVES),
    'sampled weighted': lambda rng: cbow(
      rng, negative_ids=TestCbow.NEGATIVES, negative_weights=rng.uniform(size=6)
    ),
    'sampled masked': lambda rng: cbow(rng, negative_ids=TestCbow.NEGATIVES, mask=MASK),
    'sampled all masked': lambda rng: cbow(
      rng, negative_ids=TestCbow.NEGATIVES, mask=np.zeros(C, bool)
    ),
    'softmax all masked': lambda rng: cbow(rng, mask=np.zeros(C, bool)),
  }
  ARGUMENTS = {
    'params.center': ((0, 'center'), 'softmax'),
    'params.outside': ((0, 'outside'), 'softmax'),
    'context_ids': ((1,), 'softmax'),
    'target_id': ((2,), 'softmax'),
    'negative_ids': (('negative_ids',), 'sampled'),
    'negative_weights': (('negative_weights',), 'sampled weighted'),
    'mask': (('mask',), 'softmax masked'),
  }
  GIVES_SHAPE = ('params.center', 'target_id', 'context_ids', 'negative_ids')
  CONVERTED = ('negative_weights',)
  OPTIONS = ('negative_ids', 'negative_weights', 'mask')
  COMBINE = 'mean'  # the default of `loss` and `twin`

  @staticmethod
  def reference(params, context_ids, target_id, *, negative_ids=None, negative_weights=None,
                mask=None, combine='mean'):  # fmt: skip
    kept = [i for slot, i in enumerate(context_ids) if mask is None or mask[slot]]
    if not kept:
      return 0.0
    combined = sum(params.center[i] for i in kept) / (len(kept) if combine == 'mean' else 1)
    return pair_loss(combined, target_id, params.outside, negative_ids, negative_weights)

  saturate = TestSkipGram.saturate

  def test_context_word_gets_its_share_of_the_gradient(self):
    """D34, D35, D36: n_w (sum) or n_w / n (mean) times dF/dv; exactly zero for other words."""
    params = tables(np.random.default_rng(0))
    context, target = np.array([5, 0, 5, 1, V - 1]), 2
    n = len(context) if self.COMBINE == 'mean' else 1
    combined = params.center[context].sum(axis=0) / n
    _, pair = jax.jit(jw2v.naive_softmax_value_and_grad)(combined, target, params.outside)
    grads = self.twin(params, context, target)[1]
    grads = jax.tree.map(np.asarray, grads)
    for w in range(V):
      assert_close(grads.center[w], (context == w).sum() / n * pair.center)
    assert not np.any(grads.center[np.array([2, 3, 4])])
    assert_close(grads.outside, pair.outside_vectors)

  def test_mean_divides_by_the_unmasked_context(self):
    """D35: n is the number of context words, not of slots."""
    params = tables(np.random.default_rng(0))
    full = self.twin(params, np.array([1, 5]), 2)
    padded = self.twin(params, np.array([1, -1, 5, 0]), 2, mask=np.array([1, 0, 1, 0], bool))
    assert_close(padded, full)

  @given(
    ids=st.lists(st.integers(0, V - 1), min_size=C, max_size=C),
    drawn=st.lists(st.integers(0, V - 1), min_size=K, max_size=K),
    mask=st.lists(st.booleans(), min_size=C, max_size=C).filter(any),
    target_id=st.integers(0, V - 1),
    padding=st.sampled_from([0, -1, V - 1, V, 10**6, -(10**6)]),
    sampled=st.booleans(),
    combine=st.sampled_from(['sum', 'mean']),
  )
  @settings(max_examples=20, deadline=None, derandomize=True)
  def test_any_window_matches_autodiff_of_its_unmasked_part(
    self, ids, drawn, mask, target_id, padding, sampled, combine
  ):
    params = tables(np.random.default_rng(0))
    ids, mask = np.array(ids), np.array(mask)
    kwargs = {'negative_ids': np.array(drawn)} if sampled else {}
    n = mask.sum() if combine == 'mean' else 1
    combined = params.center[ids[mask]].sum(axis=0) / n
    value, (d_combined, outside) = _PAIR(
      combined, params.outside, target_id, kwargs.get('negative_ids')
    )
    center = np.zeros((V, D))
    np.add.at(center, ids[mask], d_combined / n)
    want = value, Word2VecParams(center, outside)
    ids[~mask] = padding
    got = self.twin(params, ids, target_id, mask=mask, combine=combine, **kwargs)
    assert_close(got, want)
    assert not np.any(np.asarray(got[1].center)[np.setdiff1d(np.arange(V), ids[mask])])

  def test_unknown_combine_is_refused(self):
    args, _ = cbow(np.random.default_rng(0))
    for function in (self.loss, self.twin):
      with pytest.raises(ValueError, match="combine must be 'sum' or 'mean', got 'max'"):
        function(*args, combine='max')

  def test_weights_without_negatives_are_refused(self):
    args, _ = cbow(np.random.default_rng(0))
    for function in (self.loss, self.twin):
      with pytest.raises(
        ValueError, match='negative_weights must not be given without negative_ids'
      ):
        function(*args, negative_weights=np.ones(K))


def _pair(center, table, outside_id, negative_ids):
  """Returns the loss of one prediction, from which autodiff derives a window's gradient."""
  if negative_ids is None:
    return jw2v.naive_softmax_loss(center, outside_id, table)
  return jw2v.negative_sampling_loss(center, table[outside_id], table[negative_ids])


_PAIR = jax.jit(jax.value_and_grad(_pair, (0, 1)))


def with_sum(function):
  """Returns the function with 'sum' as the default of `combine`."""
  return lambda *args, combine='sum', **kwargs: function(*args, combine=combine, **kwargs)


class TestCbowSum(TestCbow):
  """The course's form of CBOW: the context vectors are added, not averaged.

  Masks, negatives and errors match the mean.
  """

  COMBINE = 'sum'
  MAIN = ('softmax masked',)
  CASES = {name: TestCbow.CASES[name] for name in ('softmax masked', 'sampled weighted')}
  ARGUMENTS = {}
  loss = staticmethod(jax.jit(with_sum(jw2v.cbow_loss), static_argnames='combine'))
  twin = staticmethod(jax.jit(with_sum(jw2v.cbow_value_and_grad), static_argnames='combine'))
  reference = staticmethod(lambda *a, **k: TestCbow.reference(*a, **k, combine='sum'))

  def test_sum_and_mean_differ_by_the_context_length(self):
    params = tables(np.random.default_rng(0))
    context = np.array([1, 5, 0])
    shared = Word2VecParams(params.center / 3, params.outside)
    assert_close(TestCbow.loss(params, context, 2), self.loss(shared, context, 2))

  test_mean_divides_by_the_unmasked_context = None  # the sum divides by nothing
  test_any_window_matches_autodiff_of_its_unmasked_part = None  # draws both forms
