"""Noise words, subsampling, windows and their batches."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jw2v import sampling


class TestNoiseDistribution:
  @pytest.mark.parametrize('exponent', [0.0, 0.75, 1.0, -0.5])
  def test_in_proportion_to_the_power_of_the_count(self, exponent):
    q = sampling.noise_distribution(np.array([8, 4, 1]), exponent)
    np.testing.assert_allclose(q, np.array([8**exponent, 4**exponent, 1]) / sum(
      [8**exponent, 4**exponent, 1]), rtol=1e-12)  # fmt: skip


class TestAliasTable:
  @given(st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(sum))
  @settings(max_examples=100, deadline=None, derandomize=True)
  def test_holds_the_distribution_exactly(self, weights):
    """Slot w gives its threshold to w and the rest to its alias."""
    p = np.array(weights) / sum(weights)
    table = sampling.alias_table(p)
    held = np.zeros(len(p))
    np.add.at(held, np.arange(len(p)), table.threshold)
    np.add.at(held, table.alias, 1 - table.threshold.astype(float))
    np.testing.assert_allclose(held / len(p), p, atol=1e-6)

  def test_draws_come_in_the_right_shares(self):
    p = np.array([0.5, 0.25, 0.125, 0.125, 0.0])
    table = sampling.alias_table(p)
    draws = sampling.sample_alias(jax.random.key(0), table, (100, 1000))
    shares = np.bincount(np.asarray(draws).ravel(), minlength=5) / draws.size
    np.testing.assert_allclose(shares, p, atol=5 * np.sqrt(0.25 / draws.size))
    assert shares[4] == 0

  def test_another_key_draws_other_words(self):
    table = sampling.alias_table(np.ones(1000))
    first, again, other = (
      np.asarray(sampling.sample_alias(jax.random.key(seed), table, (50,))) for seed in (0, 0, 1)
    )
    assert (first == again).all() and (first != other).any()


class TestKeepProbability:
  def test_formula_of_the_c_tool(self):
    counts, t = np.array([900, 90, 10]), 1e-2
    f = counts / 1000
    want = np.minimum(1, (np.sqrt(f / t) + 1) * t / f)  # as the tool writes it
    np.testing.assert_allclose(sampling.keep_probability(counts, t), want, rtol=1e-6)

  def test_zero_keeps_every_word(self):
    np.testing.assert_array_equal(sampling.keep_probability(np.array([5, 1]), 0), [1, 1])


def windows_of(ids, lines, radius):
  """By brute force: for each position the set of (position, word) in its window."""
  out = []
  for i in range(len(ids)):
    near = [j for j in range(len(ids)) if j != i and abs(j - i) <= radius[i]]
    out.append(sorted(ids[j] for j in near if lines[j] == lines[i]))
  return out


class TestChunkWindows:
  IDS = np.arange(100, 130, dtype=np.int32) % 7
  LINES = np.repeat([0, 1, 2, 3], [1, 12, 2, 15])

  def _windows(self, seed=0, keep=1.0, **kwargs):
    generator = sampling.chunk_generator(seed, 0, 0)
    keep = np.full(7, keep, np.float32)
    return sampling.chunk_windows(self.IDS, self.LINES, keep, generator, **kwargs)

  def test_fixed_windows_equal_brute_force(self):
    windows, positions = self._windows(window=3, dynamic=False)
    want = windows_of(self.IDS, self.LINES, np.full(30, 3))
    got = [sorted(c[m]) for c, m in zip(windows.context_ids, windows.mask, strict=True)]
    assert got == want
    np.testing.assert_array_equal(windows.center_ids, self.IDS)
    np.testing.assert_array_equal(positions, np.arange(30))

  def test_dynamic_windows_take_every_size_equally_often(self):
    ids, lines = np.zeros(60_000, np.int32), np.zeros(60_000, int)
    windows, _ = sampling.chunk_windows(
      ids, lines, np.ones(1, np.float32), sampling.chunk_generator(0, 0, 0), window=3
    )
    sizes = windows.mask.sum(axis=1)[3:-3]
    np.testing.assert_allclose(np.bincount(sizes) / len(sizes), [0, 0, 1/3, 0, 1/3, 0, 1/3],
                               atol=0.01)  # fmt: skip
    assert (windows.mask == windows.mask[:, ::-1])[3:-3].all()  # as far left as right

  def test_dropped_words_leave_no_gap(self):
    """The window reaches over a word that is dropped, to the next one that is kept."""
    windows, positions = self._windows(keep=0.5, window=2, dynamic=False)
    assert 0 < len(positions) < 30
    want = windows_of(self.IDS[positions], self.LINES[positions], np.full(30, 2))
    got = [sorted(c[m]) for c, m in zip(windows.context_ids, windows.mask, strict=True)]
    assert got == want

  def test_words_are_kept_with_their_probability(self):
    ids = np.repeat(np.arange(3, dtype=np.int32), 20_000)
    keep = np.array([1.0, 0.3, 0.0], np.float32)
    windows, _ = sampling.chunk_windows(
      ids, np.zeros(len(ids), int), keep, sampling.chunk_generator(1, 2, 3), window=1
    )
    np.testing.assert_allclose(np.bincount(windows.center_ids, minlength=3) / 20_000, keep,
                               atol=0.02)  # fmt: skip

  def test_masked_slots_hold_a_word_of_the_table(self):
    windows, _ = self._windows(window=3)
    assert windows.context_ids.min() >= 0 and windows.context_ids.max() < 7

  def test_depends_on_seed_epoch_and_chunk_alone(self):
    draw = lambda *place: sampling.chunk_generator(*place).random(8).tolist()
    later = draw(0, 1, 2)
    places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 2)]
    draws = [draw(*place) for place in places]
    assert draws[-1] == later
    assert len({tuple(d) for d in draws}) == len(places)


class TestCallBatches:
  def _batches(self, seed=0, epochs=2, sample_keep=1.0, steps=3, size=4, n=50):
    ids = np.arange(n, dtype=np.int32) % 7
    return ids, list(
      sampling.call_batches(
        ids,
        np.array([n // 5, 3 * n // 5, n]),
        np.broadcast_to(np.float32(sample_keep), 7),
        seed=seed,
        epochs=epochs,
        window=2,
        dynamic=False,
        steps=steps,
        size=size,
      )
    )

  def test_every_window_once_an_epoch_and_one_shape(self):
    ids, batches = self._batches()
    centers = np.concatenate([b.windows.center_ids.ravel() for b in batches])
    present = np.concatenate([b.windows.mask.any(axis=-1).ravel() for b in batches])
    np.testing.assert_array_equal(centers[present], np.tile(ids, 2))
    assert {b.windows.context_ids.shape for b in batches} == {(3, 4, 4)}

  def test_words_read_rise_to_the_whole_corpus(self):
    for keep in (1.0, 0.6):
      _, batches = self._batches(sample_keep=keep)
      words = np.concatenate([b.words for b in batches])
      assert (np.diff(words) >= 0).all() and words[0] > 0 and words[-1] == 100

  @pytest.mark.parametrize('n', [47, 48, 49, 95, 96, 97])
  def test_no_call_of_padding_alone(self, n):
    """Around a multiple of the 12 windows of a call, the last one counts what is left."""
    _, batches = self._batches(epochs=1, n=n)
    assert len(batches) == -(-n // 12)
    assert batches[-1].windows.mask.any() and batches[-1].words[-1] == n

  def test_words_dropped_after_the_last_window_are_read(self):
    """Of 14 words 0 to 6, 0 to 6, the sixes are dropped, and the others fill a call."""
    _, batches = self._batches(epochs=1, n=14, sample_keep=[1, 1, 1, 1, 1, 1, 0])
    assert len(batches) == 1 and batches[0].words.tolist() == [4, 9, 14]

  def test_no_word_kept_is_no_call(self):
    assert self._batches(sample_keep=0.0)[1] == []

  def test_chunks_do_not_lose_a_window(self, monkeypatch):
    monkeypatch.setattr(sampling, '_CHUNK_TOKENS', 8)
    ids, batches = self._batches()
    centers = np.concatenate([b.windows.center_ids.ravel() for b in batches])
    present = np.concatenate([b.windows.mask.any(axis=-1).ravel() for b in batches])
    np.testing.assert_array_equal(centers[present], np.tile(ids, 2))

  def test_same_seed_same_stream(self):
    streams = [
      np.concatenate([b.windows.center_ids for b in self._batches(seed, sample_keep=0.5)[1]])
      for seed in (3, 3, 4)
    ]
    assert np.array_equal(streams[0], streams[1])
    assert not np.array_equal(streams[0], streams[2])
