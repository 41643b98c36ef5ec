"""Stream of dispatches, and the thread that prepares them."""

import itertools
import os
import pathlib
import re
import threading
import time

import chex
import numpy as np
import pytest
import tiers

import jw2v
from jw2v.data import sampling, stream
from jw2v.data.stored_array import StoredArray
from jw2v.data.stream import TextBlocks, held_out_start, in_background, longest_line


def text(n=50, keep=1.0, seed=0, block_size=1, **more):
  """Returns a text of the words 0 to 6, repeated in order, in three lines."""
  return TextBlocks(
    np.arange(n, dtype=np.int32) % 7, np.array([n // 5, 3 * n // 5, n]),
    np.broadcast_to(np.float32(keep), 7), sampling.alias_table(np.ones(7)),
    window=2, dynamic=False, block_size=block_size, shared_negatives=3, seed=seed,
    first=0, end=n,
  )._replace(**more)  # fmt: skip


def dispatches(epochs=2, steps=3, blocks_per_step=4, **settings):
  return list(
    text(**settings).dispatches(range(epochs), steps=steps, blocks_per_step=blocks_per_step)
  )


def centers(found):
  """Returns the words at the centers of windows, in the order of the stream."""
  present = [(c.blocks.left + c.blocks.right > 0).ravel() for c in found]
  ids = [c.blocks.token_ids[..., 2:-2].ravel() for c in found]
  return np.concatenate(ids)[np.concatenate(present)]


class TestCalls:
  @pytest.mark.parametrize('block_size', [1, 3])
  def test_every_window_once_an_epoch_and_one_shape(self, block_size):
    found = dispatches(block_size=block_size)
    np.testing.assert_array_equal(centers(found), np.tile(np.arange(50) % 7, 2))
    assert {c.blocks.token_ids.shape for c in found} == {(3, 4, block_size + 4)}
    assert {c.blocks.negative_ids.shape for c in found} == {(3, 4, 3)}

  def test_words_read_rise_to_the_whole_corpus(self):
    for keep in (1.0, 0.6):
      words = np.concatenate([c.words for c in dispatches(keep=keep)])
      assert (np.diff(words) >= 0).all() and words[0] > 0 and words[-1] == 100

  @pytest.mark.parametrize('chunk', [5, 12, 13, 1000])
  @pytest.mark.parametrize(
    ('steps', 'blocks_per_step'), tiers.fast([(3, 4), (2, 40)], [(1, 1), (3, 4), (2, 40)])
  )
  @pytest.mark.parametrize('more', [{}, {'keep': 0.4}, {'shuffle': True}, {'block_size': 3}])
  def test_goes_on_from_the_end_of_any_call(self, monkeypatch, chunk, steps, blocks_per_step, more):
    monkeypatch.setattr(stream, '_CHUNK_TOKENS', chunk)
    shape = {'steps': steps, 'blocks_per_step': blocks_per_step}
    whole = dispatches(epochs=3, **shape, **more)
    assert whole[-1].end == (3, 0, 0, 150)
    for done, dispatch in enumerate(whole, start=1):
      rest = list(text(**more).dispatches(range(3), **shape, start=dispatch.end))
      assert len(rest) == len(whole) - done
      for found, expected in zip(rest, whole[done:], strict=True):
        assert found.end == expected.end
        np.testing.assert_array_equal(found.words, expected.words)
        for ours, theirs in zip(found.blocks, expected.blocks, strict=True):
          np.testing.assert_array_equal(ours, theirs)

  @pytest.mark.parametrize('n', [47, 48, 49, 95, 96, 97])
  def test_no_call_of_padding_alone(self, n):
    """Counts the remaining words in the last dispatch, around a multiple of its 12 windows."""
    found = dispatches(epochs=1, n=n)
    assert len(found) == -(-n // 12)
    assert found[-1].blocks.left.any() and found[-1].words[-1] == n

  def test_words_dropped_after_the_last_window_are_read(self):
    """Drops the sixes from two runs of the words 0 to 6; the others fill a dispatch."""
    found = dispatches(epochs=1, n=14, keep=[1, 1, 1, 1, 1, 1, 0])
    assert len(found) == 1 and found[0].words.tolist() == [4, 9, 14]

  def test_no_word_kept_is_no_call(self):
    assert dispatches(keep=0.0) == []

  @pytest.mark.parametrize('chunk', [8, 9, 10])
  def test_chunks_do_not_lose_a_window_and_keep_the_lines(self, monkeypatch, chunk):
    monkeypatch.setattr(stream, '_CHUNK_TOKENS', chunk)
    found = dispatches(epochs=1)
    ids = np.concatenate([c.blocks.token_ids[..., 2:-2].ravel() for c in found])[:50]
    np.testing.assert_array_equal(ids, np.arange(50) % 7)
    right = np.concatenate([c.blocks.right.ravel() for c in found])[:50]
    ends = sorted({10, 30, 50, *range(chunk, 50, chunk)})  # of lines and of chunks
    want = [min(2, next(end for end in ends if end > i) - 1 - i) for i in range(50)]
    assert right.tolist() == want
    words = np.concatenate([c.words for c in found])
    assert words[:12].tolist() == [*range(4, 50, 4)]

  def test_same_seed_same_stream(self):
    ids = lambda seed: centers(dispatches(seed=seed, keep=0.5)).tolist()
    assert ids(3) == ids(3) != ids(4)

  def test_an_epoch_is_the_same_whoever_asks(self):
    epoch = lambda epochs: centers(
      list(text(keep=0.5).dispatches(epochs, steps=1, blocks_per_step=1))
    )
    both, second = epoch(range(2)), epoch(range(1, 2))
    assert both[-len(second) :].tolist() == second.tolist() != both[: len(second)].tolist()

  def test_ids_may_be_mapped_from_a_file(self, tmp_path):
    np.save(tmp_path / 'ids.npy', text().ids)
    mapped = text()._replace(ids=np.load(tmp_path / 'ids.npy', mmap_mode='r'))
    found = list(mapped.dispatches(range(1), steps=3, blocks_per_step=4))
    assert centers(found).tolist() == centers(dispatches(epochs=1)).tolist()


class TestMemory:
  @pytest.mark.skipif(not pathlib.Path('/proc/self/smaps').exists(), reason='needs Linux')
  def test_a_mapped_text_does_not_stay_in_memory(self, tmp_path):
    np.save(tmp_path / 'ids.npy', np.arange(4_000_000, dtype=np.int32) % 7)
    ids = StoredArray.open(tmp_path / 'ids.npy')
    mapped = text(n=len(ids))._replace(ids=ids)

    def resident():
      entry = pathlib.Path('/proc/self/smaps').read_text().split('ids.npy')[1]
      return int(re.search(r'Rss: +(\d+) kB', entry)[1]) / 1000

    for chunk in mapped.order(0).tolist():
      mapped.chunk(0, chunk)
    assert resident() < 1  # MB of the 16
    assert ids.sum() == sum(range(7)) * (len(ids) // 7) + sum(range(len(ids) % 7))
    assert resident() > 10


class TestOrder:
  """Order of the 100 words 0 to 99, in chunks of 8."""

  @pytest.fixture(autouse=True)
  def chunks_of_eight(self, monkeypatch):
    monkeypatch.setattr(stream, '_CHUNK_TOKENS', 8)

  def words(self, epoch=0, **more):
    """Returns the words of each chunk in the order of an epoch."""
    keep = np.ones(100, np.float32)
    numbered = text(n=100, **more)._replace(ids=np.arange(100), keep=keep)
    found = [numbered.chunk(epoch, chunk) for chunk in numbered.order(epoch).tolist()]
    return [blocks.token_ids[:, 2].tolist() for blocks, _, _ in found]

  def test_natural_order(self):
    flat = lambda chunks: list(itertools.chain.from_iterable(chunks))
    assert flat(self.words()) == list(range(100))
    assert flat(self.words(first=13, end=43)) == list(range(13, 43))

  def test_random_order_of_each_epoch(self):
    first, second = (self.words(epoch, shuffle=True) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == self.words()
    assert first != second and self.words() not in (first, second)
    assert first == self.words(0, shuffle=True) != self.words(0, shuffle=True, seed=1)

  @pytest.mark.parametrize('shuffle', [False, True])
  def test_shares_are_the_whole(self, shuffle):
    whole = self.words(shuffle=shuffle)
    shares = [self.words(shuffle=shuffle, shard=(i, 3)) for i in range(3)]
    assert [whole[i::3] for i in range(3)] == shares

  def test_a_chunk_is_the_same_whoever_asks(self):
    """Returns the same chunk for any order and share, but other draws in another epoch."""
    numbered = text(n=100, keep=0.5)
    want = numbered.chunk(1, 3)[0]
    for other in (numbered._replace(shuffle=True), numbered._replace(shard=(1, 2))):
      for a, b in zip(other.chunk(1, 3)[0], want, strict=True):
        np.testing.assert_array_equal(a, b)
    for epoch, chunk in ((0, 3), (1, 2)):
      assert not np.array_equal(numbered.chunk(epoch, chunk)[0].negative_ids, want.negative_ids)

  def test_words_read_in_random_order(self):
    """Counts the last, shorter chunk at any place in the order."""
    for share, total in (((0, 1), 200), ((0, 2), None)):
      shuffled = text(n=100, shuffle=True, shard=share)
      found = list(shuffled.dispatches(range(2), steps=1, blocks_per_step=1))
      words = np.concatenate([dispatch.words for dispatch in found])
      assert words.tolist() == list(range(1, len(words) + 1))
      assert total is None or words[-1] == total


class TestHeldOutStart:
  def test_at_the_nearest_line_end(self):
    ends = np.array([10, 50, 88, 93, 100])
    assert [held_out_start(ends, share) for share in (0.0, 0.1, 0.08, 0.5)] == [100, 88, 93, 50]

  def test_within_a_line_that_is_too_long(self):
    assert held_out_start(np.array([1000]), 0.1) == 900
    assert held_out_start(np.array([10, 1000]), 0.1) == 900
    assert held_out_start(np.array([849, 1000]), 0.1) == 900
    assert held_out_start(np.array([850, 1000]), 0.1) == 850

  def test_nothing_is_left(self):
    assert held_out_start(np.array([3, 5]), 0.1) == 5


class TestInBackground:
  def test_same_items_in_the_same_order(self):
    assert list(in_background(iter(range(100)))) == list(range(100))

  def test_an_error_is_raised_by_the_consumer(self):
    def failing():
      yield 1
      raise KeyError('lost')

    items = in_background(failing())
    assert next(items) == 1
    with pytest.raises(KeyError, match='lost'):
      next(items)

  def test_closing_stops_the_thread(self):
    before = threading.active_count()
    items = in_background(itertools.count())
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    assert threading.active_count() == before + 1
    items.close()
    assert threading.active_count() == before

  def test_works_ahead_but_not_further(self):
    drawn = []
    items = in_background((drawn.append(i) or i for i in range(100)), ahead=2)
    assert next(items) == 0
    deadline = time.monotonic() + 30
    while len(drawn) < 4 and time.monotonic() < deadline:
      time.sleep(0.01)
    time.sleep(0.2)
    assert drawn == [0, 1, 2, 3]  # one taken, two waiting, one in the hand
    items.close()


class TestStored:
  """Text in files, which is read from the files and not through the map: see `StoredArray`."""

  @pytest.fixture
  def stored(self, tmp_path):
    numbers = {'ids': np.arange(3000) % 7, 'line_ends': np.arange(100, 3001, 100)}
    for name, array in numbers.items():
      np.save(tmp_path / f'{name}.npy', array.astype(np.int32))
    opened = {name: StoredArray.open(tmp_path / f'{name}.npy') for name in numbers}
    return text(3000, **opened), text(3000, **numbers)

  def test_has_the_blocks_of_a_text_in_memory(self, stored):
    of_files, in_memory = (x.chunk(0, 0) for x in stored)
    chex.assert_trees_all_equal(of_files, in_memory)

  @pytest.mark.parametrize('name', ['ids', 'line_ends'])
  @pytest.mark.parametrize('how', ['cut', 'gone'])
  def test_when_its_file_is_cut_or_gone(self, stored, tmp_path, name, how):
    path = tmp_path / f'{name}.npy'
    if how == 'gone':
      path.unlink()
      assert stored[0].chunk(0, 0)[2] == 3000  # the file stays while it is open
    else:
      os.truncate(path, 130)
      with pytest.raises(OSError, match=rf'{name}\.npy: truncated to 130 .*remove'):
        stored[0].chunk(0, 0)

  def test_nothing_of_it_is_touched_in_the_map(self, stored, monkeypatch):
    """Avoids the map, because a page that the disk cannot read kills the process."""
    monkeypatch.setattr(StoredArray, '__getitem__', lambda *_: pytest.fail('touched'))
    stored[0].chunk(0, 0)


class TestLongestLine:
  @pytest.mark.parametrize('at_once', [1, 2, 100])
  def test_wherever_it_is(self, at_once, monkeypatch):
    monkeypatch.setattr(stream, '_LINES', at_once)
    for lengths in ([9, 1, 2], [1, 9, 2], [1, 2, 9], [9]):
      assert longest_line(np.cumsum(lengths)) == 9

  def test_a_chunk_ends_a_line(self):
    assert longest_line(np.array([10**6])) == 65_536

  def test_one_long_line_makes_no_other_blocks_wider(self):
    """Makes the blocks of a dispatch as wide as its windows require, with the same windows."""
    lengths = [8] * 400 + [300] + [8] * 400
    numbers = np.random.default_rng(0).integers(0, 50, sum(lengths)).astype(str)
    lines = np.split(numbers, np.cumsum(lengths)[:-1])
    corpus = jw2v.encode_corpus([line.tolist() for line in lines], min_count=1)
    text = TextBlocks.of_corpus(
      corpus, window=1000, dynamic=False, block_size=4, shared_negatives=2, seed=0
    )
    found = list(text.dispatches(range(1), steps=2, blocks_per_step=40))
    assert text.margin == 299 and text.padding(1, 1).blocks.margin == 16
    margins = [dispatch.blocks.margin for dispatch in found]
    assert set(margins) == {16, 299} and margins.count(299) < 3
    whole, _, _ = text.chunk(0, 0)
    assert whole.margin == 299

    def windows(blocks):
      """Yields the words around each center, including the center."""
      tokens = blocks.token_ids.reshape(-1, blocks.token_ids.shape[-1])
      sides = zip(blocks.left.reshape(-1, 4), blocks.right.reshape(-1, 4), strict=True)
      for row, (left, right) in zip(tokens, sides, strict=True):
        for center in range(4):
          middle = blocks.margin + center
          if left[center] + right[center]:
            yield row[middle - left[center] : middle + right[center] + 1].tolist()

    narrow = [window for dispatch in found for window in windows(dispatch.blocks)]
    assert narrow == list(windows(whole)) and max(map(len, narrow)) == 300

  def test_a_chunk_of_short_lines_has_narrow_blocks(self):
    lines = [['a', 'b'] * 4] * 9000 + [['a', 'b'] * 150]  # in the second chunk
    text = TextBlocks.of_corpus(
      jw2v.encode_corpus(lines, min_count=1), window=200, dynamic=False, block_size=4,
      shared_negatives=2, seed=0,
    )  # fmt: skip
    assert [text.chunk(0, i)[0].margin for i in (0, 1)] == [16, 200]
    margins = [d.blocks.margin for d in text.dispatches(range(1), steps=100, blocks_per_step=60)]
    assert margins == [16, 16, 16, 200]

  def test_blocks_are_no_wider(self):
    lines = [['a', 'b', 'c'], ['b', 'a']]
    corpus = jw2v.encode_corpus(lines, min_count=1)
    settings = {'dynamic': False, 'block_size': 4, 'shared_negatives': 2, 'seed': 0}
    for window, margin in ((1, 1), (2, 2), (1000, 2)):
      text = TextBlocks.of_corpus(corpus, window=window, **settings)
      (dispatch,) = text.dispatches(range(1), steps=1, blocks_per_step=2)
      assert dispatch.blocks.margin == margin == text.padding(1, 1).blocks.margin
