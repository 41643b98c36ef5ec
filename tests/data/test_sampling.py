"""Noise words, subsampling, and blocks of windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jw2v
from jw2v.data import sampling


class TestNoiseDistribution:
  @pytest.mark.parametrize('exponent', [0.0, 0.75, 1.0, -0.5])
  def test_in_proportion_to_the_power_of_the_count(self, exponent):
    q = sampling.noise_distribution(np.array([8, 4, 1]), exponent)
    np.testing.assert_allclose(q, np.array([8**exponent, 4**exponent, 1]) / sum(
      [8**exponent, 4**exponent, 1]), rtol=1e-12)  # fmt: skip

  def test_of_frequencies_is_that_of_counts(self):
    counts = np.array([5, 3, 0, 2])
    want = sampling.noise_distribution(counts)
    np.testing.assert_allclose(sampling.noise_distribution(counts / 10), want, rtol=1e-12)

  @pytest.mark.parametrize('convert', [list, jnp.asarray, lambda x: jnp.asarray(x, jnp.bfloat16)])
  @pytest.mark.parametrize('kind', ['unigram', 'uniform', 'log_uniform'])
  def test_any_array_gives_one_of_numpy(self, convert, kind):
    got = sampling.noise_distribution(convert([8, 4, 0, 1]), kind=kind)
    assert type(got) is np.ndarray and got.dtype == np.float64 and got[2] == 0
    np.testing.assert_array_equal(got, sampling.noise_distribution([8, 4, 0, 1], kind=kind))

  @pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
      (([0, 0],), 'counts must contain a positive number, got only zeros'),
      (([1, -1],), 'counts must be finite and at least 0, got -1 at index 1'),
      (([1], np.nan), 'exponent must be a finite number, got nan'),
      (([1], '1'), "exponent must be a finite number, got '1'"),
      (([9, 2], 1e3), 'exponent must keep the powers of the counts finite, got 1000.0'),
      (([9, 2], -2e3), 'exponent must keep the powers of the counts finite, got -2000.0'),
      (([1], 0.75, 'zipf'), "kind must be 'unigram', 'uniform' or 'log_uniform', got 'zipf'"),
    ],
  )
  def test_errors(self, arguments, reason):
    with pytest.raises(ValueError, match=f'^{reason}$'):
      sampling.noise_distribution(*arguments)


class TestLogExpectedCounts:
  Q = np.array([[0.5, 0.25], [0.25, 0.0]])
  WANT = np.log(5 * np.maximum(Q, 1e-30))  # finite at 0

  @pytest.mark.parametrize(
    ('convert', 'kind', 'dtype'),
    [
      (np.ndarray.tolist, np.ndarray, np.float64),
      (np.asarray, np.ndarray, np.float64),
      (np.float32, np.ndarray, np.float32),
      (jnp.asarray, jax.Array, np.float32),
      (lambda q: jnp.asarray(q, jnp.bfloat16), jax.Array, np.float32),
    ],
  )
  @pytest.mark.parametrize('draws', [5, 5.0, np.int32(5), jnp.float32(5)])
  def test_logarithm_of_draws_times_probability(self, convert, kind, dtype, draws):
    with jax.numpy_dtype_promotion('strict'):
      got = sampling.log_expected_counts(convert(self.Q), draws)
    assert isinstance(got, kind) and got.dtype == dtype and np.isfinite(got).all()
    np.testing.assert_allclose(got, self.WANT, rtol=1e-6)

  def test_in_jit_and_vmap(self):
    with jax.numpy_dtype_promotion('strict'):
      got = jax.jit(jax.vmap(sampling.log_expected_counts, (0, None)))(jnp.asarray(self.Q), 5)
    np.testing.assert_allclose(got, self.WANT, rtol=1e-6)

  def test_in_a_batch_it_corrects_for_the_frequency_of_an_item(self):
    """Matches the sum over all items with the mean sum of exp(score - correction) over batches."""
    q, rng = np.array([0.6, 0.3, 0.1]), np.random.default_rng(0)
    scores, batches = np.array([0.2, -1.0, 1.5]), rng.choice(3, (20_000, 16), p=q)
    corrected = scores - sampling.log_expected_counts(q, 16)
    mean = np.exp(corrected[batches]).sum(axis=1).mean()
    assert mean == pytest.approx(np.exp(scores).sum(), rel=0.01)

  def test_probability_0_has_the_limits_of_the_losses(self):
    """Charges nothing for an observed word that noise never draws; +inf drops a negative."""
    v, u, k = jnp.array([1.0, 2]), jnp.array([0.5, -3]), jnp.array([[1.0, 1]])
    never = sampling.log_expected_counts(jnp.float32(0), 5)
    for twin in (jw2v.nce_value_and_grad, jw2v.sampled_softmax_value_and_grad):
      corrections = {'log_expected_outside': never, 'log_expected_negatives': jnp.array([jnp.inf])}
      loss, grads = twin(v, u, k, **corrections)
      assert loss == pytest.approx(0, abs=1e-6)
      np.testing.assert_allclose(grads.outside, 0, atol=1e-6)

  def test_negative_probability_in_an_array_of_jax_is_nan(self):
    got = sampling.log_expected_counts(jnp.array([-0.1, 0.5, np.nan]), 1)
    assert np.isnan(got).tolist() == [True, False, True]

  @pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
      (([0.5, -0.1], 1), 'probabilities must be at least 0, got -0.1'),
      (([np.nan], 1), 'probabilities must be at least 0, got nan'),
      ((['a'], 1), 'probabilities must be real numbers, got <U1'),
      ((jnp.array([1j]), 1), 'probabilities must be real numbers, got complex64'),
      (([0.5], 0), 'num_draws must be positive and finite, got 0'),
      (([0.5], np.float32(-1)), 'num_draws must be positive and finite, got -1.0'),
      (([0.5], float('nan')), 'num_draws must be positive and finite, got nan'),
    ],
  )
  def test_errors(self, arguments, reason):
    with pytest.raises(ValueError, match=f'^{reason}$'):
      sampling.log_expected_counts(*arguments)


class TestAliasTable:
  @given(st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(sum))
  @settings(max_examples=100, deadline=None, derandomize=True)
  def test_holds_the_distribution_exactly(self, weights):
    """Assigns the threshold of slot w to w and the rest to its alias."""
    p = np.array(weights) / sum(weights)
    table = sampling.alias_table(p)
    held = np.zeros(len(p))
    np.add.at(held, np.arange(len(p)), table.threshold)
    np.add.at(held, table.alias, 1 - table.threshold.astype(float))
    np.testing.assert_allclose(held / len(p), p, atol=1e-6)

  def test_draws_come_in_the_right_shares(self):
    p = np.array([0.5, 0.25, 0.125, 0.125, 0.0])
    table = sampling.alias_table(p)
    draws = sampling.draw_alias(np.random.default_rng(0), table, (100, 1000))
    assert draws.dtype == np.int32 and draws.shape == (100, 1000)
    shares = np.bincount(draws.ravel(), minlength=5) / draws.size
    np.testing.assert_allclose(shares, p, atol=5 * np.sqrt(0.25 / draws.size))
    assert shares[4] == 0

  def test_table_of_an_array_of_jax(self):
    table = sampling.alias_table(jnp.array([1, 2, 1]))
    want = sampling.alias_table([0.25, 0.5, 0.25])
    for got, array in zip(table, want, strict=True):
      assert type(got) is np.ndarray
      np.testing.assert_array_equal(got, array)

  @pytest.mark.parametrize(
    ('probabilities', 'reason'),
    [
      ([0, 0], 'have a positive and finite sum, got 0.0'),
      ([1e308, 1e308], 'have a positive and finite sum, got inf'),
      ([0.5, np.nan], 'be finite and at least 0, got nan at index 1'),
      ([-1, 2], 'be finite and at least 0, got -1 at index 0'),
    ],
  )
  def test_errors(self, probabilities, reason):
    with pytest.raises(ValueError, match=f'^probabilities must {reason}$'):
      sampling.alias_table(probabilities)


class TestKeepProbability:
  def test_formula_of_the_c_tool(self):
    counts, t = np.array([900, 90, 10]), 1e-2
    f = counts / 1000
    want = np.minimum(1, (np.sqrt(f / t) + 1) * t / f)  # as the tool writes it
    np.testing.assert_allclose(sampling.keep_probability(counts, t), want, rtol=1e-6)

  def test_zero_keeps_every_word(self):
    np.testing.assert_array_equal(sampling.keep_probability(np.array([5, 1]), 0), [1, 1])

  def test_of_frequencies_is_that_of_counts(self):
    counts = np.array([900, 90, 0, 10])
    got, want = (sampling.keep_probability(x, 1e-2) for x in (jnp.asarray(counts) / 1000, counts))
    assert type(got) is np.ndarray and got.dtype == np.float32 and got[2] == 1
    np.testing.assert_allclose(got, want, rtol=1e-6)

  @pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
      (([1, -1], 0), 'counts must be finite and at least 0, got -1 at index 1'),
      (([1], -1e-3), 'sample must be a number of at least 0, got -0.001'),
      (([1], np.nan), 'sample must be a number of at least 0, got nan'),
    ],
  )
  def test_errors(self, arguments, reason):
    with pytest.raises(ValueError, match=f'^{reason}$'):
      sampling.keep_probability(*arguments)


def windows_of(ids, lines, radius):
  """Returns the sorted words of the window around each position, by brute force."""
  out = []
  for i in range(len(ids)):
    near = [j for j in range(len(ids)) if j != i and abs(j - i) <= radius[i]]
    out.append(sorted(ids[j] for j in near if lines[j] == lines[i]))
  return out


def expand(blocks, window):
  """Returns the center and the sorted context of each nonempty window, in order."""
  out = []
  for tokens, left, right, _ in zip(*blocks[:4], strict=True):
    for b, (before, after) in enumerate(zip(left, right, strict=True)):
      place = b + window
      near = [*tokens[place - before : place], *tokens[place + 1 : place + 1 + after]]
      if near:
        out.append((tokens[place], sorted(near)))
  return out


class TestChunkBlocks:
  IDS = np.arange(100, 130, dtype=np.int32) % 7
  LINES = np.repeat([0, 1, 2, 3], [1, 12, 2, 15])
  LINE_ENDS = np.array([1, 13, 15, 30])

  def _blocks(self, ids=IDS, line_ends=LINE_ENDS, seed=0, keep=1.0, block_size=4, **settings):
    return sampling.chunk_blocks(
      ids, line_ends, np.broadcast_to(np.float32(keep), 7), sampling.alias_table(np.ones(7)),
      sampling.chunk_generator(seed, 0, 0),
      **{'dynamic': False, 'block_size': block_size, 'shared_negatives': 3, **settings},
    )  # fmt: skip

  @pytest.mark.parametrize('block_size', [1, 4, 15, 64])
  def test_fixed_windows_equal_brute_force(self, block_size):
    blocks, words = self._blocks(window=3, block_size=block_size)
    contexts = windows_of(self.IDS, self.LINES, np.full(30, 3))
    want = [(center, near) for center, near in zip(self.IDS, contexts, strict=True) if near]
    assert expand(blocks, 3) == want
    assert blocks.token_ids.shape == (len(words), block_size + 6)
    assert words.tolist() == [min(30, (i + 1) * block_size) for i in range(len(words))]

  @pytest.mark.parametrize('dynamic', [False, True])
  def test_a_margin_of_the_longest_line_is_enough(self, dynamic):
    """Produces the windows and draws of the full margin."""
    full, words = self._blocks(window=50, dynamic=dynamic)
    found, words_found = self._blocks(window=50, dynamic=dynamic, margin=14)
    assert expand(found, 14) == expand(full, 50) and words_found.tolist() == words.tolist()
    assert found.token_ids.shape == (len(words), 4 + 2 * 14)
    np.testing.assert_array_equal(found.negative_ids, full.negative_ids)

  def test_the_last_line_end_may_be_left_out(self):
    want = expand(self._blocks(window=3)[0], 3)
    assert expand(self._blocks(line_ends=self.LINE_ENDS[:-1], window=3)[0], 3) == want
    alone = expand(self._blocks(line_ends=np.array([], int), window=3)[0], 3)
    assert [len(near) for _, near in alone] == [3, 4, 5, *[6] * 24, 5, 4, 3]

  def test_dynamic_windows_take_every_size_equally_often(self):
    ids = np.zeros(60_000, np.int32)
    blocks, _ = self._blocks(ids, np.array([60_000]), window=3, dynamic=True)
    left, right = blocks.left.ravel()[3:-3], blocks.right.ravel()[3:-3]
    np.testing.assert_allclose(np.bincount(left) / len(left), [0, 1/3, 1/3, 1/3],
                               atol=0.01)  # fmt: skip
    assert (left == right).all()  # as far left as right

  @pytest.mark.parametrize('seed', range(3))
  def test_dropped_words_leave_no_gap(self, seed):
    """Extends the window across a dropped word to the next kept word."""
    blocks, words = self._blocks(keep=0.5, window=2, block_size=1, seed=seed)
    positions = words - 1
    assert 0 < len(positions) < 30
    contexts = windows_of(self.IDS[positions], self.LINES[positions], np.full(30, 2))
    centers = self.IDS[positions]
    want = [(center, near) for center, near in zip(centers, contexts, strict=True) if near]
    assert expand(blocks, 2) == want

  def test_words_are_kept_with_their_probability(self):
    ids, keep = np.repeat(np.arange(7, dtype=np.int32), 20_000), [1.0, 0.3, 0, 0.7, 1, 0, 0.1]
    blocks, _ = self._blocks(ids, np.array([len(ids)]), seed=1, keep=keep, window=1)
    kept = blocks.token_ids[:, 1:-1].ravel()[blocks.left.ravel() + blocks.right.ravel() > 0]
    np.testing.assert_allclose(np.bincount(kept, minlength=7) / 20_000, keep, atol=0.02)

  def test_no_word_kept_is_no_block(self):
    blocks, words = self._blocks(keep=0.0, window=2)
    assert [len(part) for part in blocks[:4]] == [0] * 4 and len(words) == 0

  def test_all_ids_are_words(self):
    blocks, _ = self._blocks(window=3, block_size=7)
    for ids in (blocks.token_ids, blocks.negative_ids):
      assert ids.min() >= 0 and ids.max() < 7 and ids.dtype == np.int32

  def test_every_block_has_noise_words_of_its_own(self):
    blocks, _ = self._blocks(np.zeros(4000, np.int32), np.array([4000]), window=2)
    assert len({tuple(negatives) for negatives in blocks.negative_ids.tolist()}) > 300

  def test_depends_on_seed_epoch_and_chunk_alone(self):
    draw = lambda *place: sampling.chunk_generator(*place).random(8).tolist()
    later = draw(0, 1, 2)
    places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 2)]
    draws = [draw(*place) for place in places]
    assert draws[-1] == later
    assert len({tuple(d) for d in draws}) == len(places)
