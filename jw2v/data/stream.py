"""The stream of blocks that a run trains on, in the order of the text or shuffled.

A text is read in chunks of 65,536 tokens. Chunks become blocks of windows, and blocks become
dispatches: the input of one call of the compiled step function. Threads prepare the next dispatches
while one runs.
"""

import bisect
import collections
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jw2v.data import sampling
from jw2v.data.sampling import AliasTable, Blocks
from jw2v.data.store import EncodedCorpus
from jw2v.data.stored_array import StoredArray

_CHUNK_TOKENS = 65_536  # tokens that the host samples at once; the end of a chunk ends a line
_LINES = 2**20  # line ends that `longest_line` reads at once
_THREADS = 4  # number of threads that sample chunks, and of chunks that they sample ahead

_NARROW = 16  # margin of blocks of narrow windows; the margin of wider ones depends on their lines

_NO_CHUNK = 2**63

Item = TypeVar('Item')


class Position(NamedTuple):
  """The position of a block in the stream."""

  epoch: int = 0
  chunk: int = 0  # index of its chunk in the order of the epoch
  block: int = 0  # index of the block in its chunk
  words: int = 0  # words of this stream before that chunk, over all epochs


class Dispatch(NamedTuple):
  """The input of one compiled call: S steps of N blocks."""

  blocks: Blocks  # [S, N, ...]
  words: np.ndarray  # [S] words of this stream read by the end of each step, over all epochs
  end: Position  # of the first block after this dispatch


class TextBlocks(NamedTuple):
  """A text with the settings for drawing its blocks.

  Attributes:
    ids: `[words]` word ids of the text, in memory or on disk.
    line_ends: `[lines]` increasing positions of line ends.
    keep: `[V]` probability of keeping each word.
    noise: alias table of the noise words.
    window: m, the largest distance between center and context word.
    dynamic: True if the size of each window is drawn from 1 to m.
    block_size: B, number of centers of a block.
    shared_negatives: K, number of noise words of a block.
    seed: seed of the run.
    first, end: range of the words to read, without `end`.
    shuffle: True to read the chunks in a different order in each epoch.
    shard: (i, n) reads every n-th chunk in this order, starting at the i-th. Together, n processes
      with i from 0 to n - 1 read each chunk once.
    capacity: limit on the summed size of the words of a block; None for no limit.
    attach: function that adds fields to the blocks of a dispatch, or None.
    margin: largest number of tokens on either side of the centers of a block, as for
      `sampling.chunk_blocks`. If it is above 16, dispatches without such long windows have fewer.
  """

  ids: np.ndarray
  line_ends: np.ndarray
  keep: np.ndarray
  noise: AliasTable
  window: int
  dynamic: bool
  block_size: int
  shared_negatives: int
  seed: int
  first: int
  end: int
  shuffle: bool = False
  shard: tuple[int, int] = (0, 1)
  capacity: sampling.Capacity | None = None
  attach: Callable[[Blocks], Blocks] | None = None
  margin: int | None = None

  @classmethod
  def of_corpus(
    cls,
    corpus: EncodedCorpus,
    *,
    window: int,
    dynamic: bool,
    block_size: int,
    shared_negatives: int,
    seed: int,
    sample: float = 0.0,
    noise: str = 'unigram',
    noise_exponent: float = 0.75,
    shuffle: bool = False,
    shard: tuple[int, int] = (0, 1),
    capacity: sampling.Capacity | None = None,
  ) -> 'TextBlocks':
    """Returns the stream of a whole corpus.

    Args:
      corpus: the encoded corpus.
      window: as the attribute; the same applies to the other arguments without a description.
      dynamic: as the attribute.
      block_size: as the attribute.
      shared_negatives: as the attribute.
      seed: as the attribute.
      sample: threshold of `sampling.keep_probability`; 0 keeps all words.
      noise: kind of `sampling.noise_distribution`.
      noise_exponent: exponent of the unigram noise.
      shuffle: as the attribute.
      shard: as the attribute.
      capacity: as the attribute.
    """
    counts = corpus.vocabulary.counts
    weights = sampling.noise_counts(counts, noise_exponent, noise, shared_negatives > 0)
    return cls(
      corpus.ids,
      corpus.line_ends,
      sampling.keep_probability(counts, sample),
      sampling.alias_table(sampling.noise_distribution(weights, noise_exponent, noise)),
      window=window,
      dynamic=dynamic,
      block_size=block_size,
      shared_negatives=shared_negatives,
      seed=seed,
      first=0,
      end=len(corpus.ids),
      shuffle=shuffle,
      shard=shard,
      capacity=capacity,
      margin=min(window, max(1, longest_line(corpus.line_ends) - 1)),
    )

  def order(self, epoch: int) -> np.ndarray:
    """Returns the numbers of the chunks of an epoch, in reading order."""
    chunks = np.arange(-(-(self.end - self.first) // _CHUNK_TOKENS))
    if self.shuffle:  # with a chunk number that does not exist
      sampling.chunk_generator(self.seed, epoch, _NO_CHUNK).shuffle(chunks)
    return chunks[self.shard[0] :: self.shard[1]]

  def resume(self, ends: Sequence[Position]) -> Position:
    """Returns the position at which this stream resumes after streams that read the text together.

    Args:
      ends: the end of each of n streams, with the shards (0, n) to (n - 1, n).

    Returns:
      The end of its own stream if there are still n streams. Otherwise the first chunk of its
      shard that not all of them had read; it then reads again the few chunks by which one
      stream was ahead of another.
    """
    own, number = self.shard
    if len(ends) == number:
      return ends[own]
    epoch, first = min((end.epoch, end.chunk * len(ends) + i) for i, end in enumerate(ends))
    chunk = max(0, -(-(first - own) // number))
    orders = [self.order(e) for e in range(epoch)] + [self.order(epoch)[:chunk]]
    chunks = np.concatenate(orders)
    sizes = np.minimum(_CHUNK_TOKENS, self.end - self.first - chunks * _CHUNK_TOKENS)
    return Position(epoch, chunk, 0, int(sizes.sum()))

  def padding(self, steps: int, blocks_per_step: int) -> Dispatch:
    """Returns a dispatch of padding."""
    tokens = self.block_size + 2 * min(self._most, _NARROW)
    empty = lambda width, dtype: np.zeros((0, width), dtype)
    columns = [
      empty(tokens, np.int32), empty(self.block_size, np.int16), empty(self.block_size, np.int16),
      empty(self.shared_negatives, np.int32), np.zeros(0, np.int64),
    ]  # fmt: skip
    return self._dispatch(columns, steps, blocks_per_step, Position())

  def chunk(self, epoch: int, chunk: int) -> tuple[Blocks, np.ndarray, int]:
    """Returns the blocks of one chunk, which depend on (seed, epoch, chunk) only.

    A window does not cross the border between two chunks of 65,536 words.

    Args:
      epoch: number of the pass over the text.
      chunk: number of the chunk.

    Returns:
      The blocks; `[blocks]`, the number of words of the chunk read by the end of each block; and
      the number of words of the chunk.
    """
    start = self.first + chunk * _CHUNK_TOKENS
    ids = _read(self.ids, start, min(start + _CHUNK_TOKENS, self.end))
    first, last = (_lines_before(self.line_ends, place) for place in (start, start + len(ids)))
    line_ends = _read(self.line_ends, first, last)
    longest = int(np.diff(line_ends - start, prepend=0, append=len(ids)).max(initial=0))
    blocks, words = sampling.chunk_blocks(
      ids,
      line_ends - start,
      self.keep,
      self.noise,
      sampling.chunk_generator(self.seed, epoch, chunk),
      window=self.window,
      dynamic=self.dynamic,
      block_size=self.block_size,
      shared_negatives=self.shared_negatives,
      margin=min(self._most, max(_NARROW, longest - 1)),
      capacity=self.capacity,
    )
    return blocks, words, len(ids)

  @property
  def _most(self) -> int:
    """Returns the largest margin of a block."""
    return self.window if self.margin is None else self.margin

  def dispatches(
    self, epochs: range, *, steps: int, blocks_per_step: int, start: Position | None = None
  ) -> Iterator[Dispatch]:
    """Groups the blocks of several epochs, in the order of their chunks, into dispatches.

    Args:
      epochs: the numbers of the epochs.
      steps: S, the steps of a dispatch.
      blocks_per_step: N.
      start: the `end` of an earlier dispatch, to yield the dispatches after it; by default the
        stream starts at the first epoch.

    Yields:
      Dispatches of one shape; padding fills the last one. Nothing if no word is kept.
    """
    start = Position(epochs.start) if start is None else start
    size, read = steps * blocks_per_step, start.words
    waiting: list[Any] | None = None  # columns of blocks that do not fill a dispatch yet
    ready: Dispatch | None = None  # delayed, since the last one includes the words after it
    for epoch, position, (blocks, words, num_words) in self._chunks(epochs, start):
      here = np.broadcast_arrays(epoch, position, np.arange(len(words)), read)  # their positions
      columns: list[Any] = [*blocks[:4], read + words, *here]
      if (epoch, position) == (start.epoch, start.chunk):
        columns = [column[start.block :] for column in columns]
      read += num_words
      if waiting is not None:
        widest = max(column[0].shape[1] for column in (waiting, columns))
        for column in (waiting, columns):
          column[0] = _with_tokens(column[0], widest)
        columns = [np.concatenate(pair) for pair in zip(waiting, columns, strict=True)]
      while len(columns[0]) >= size:
        if ready is not None:
          yield ready
        taken, columns = [c[:size] for c in columns], [c[size:] for c in columns]
        first = [column[0] for column in columns[-4:]] if len(columns[0]) else None
        end = (
          Position(epoch, position + 1, 0, read) if first is None else Position(*map(int, first))
        )
        ready = self._dispatch(taken[:-4], steps, blocks_per_step, end)
      waiting = columns
    last = Position(epochs.stop, 0, 0, read)
    if waiting is not None and len(waiting[0]):
      if ready is not None:
        yield ready
      ready = self._dispatch(waiting[:-4], steps, blocks_per_step, last)
    if ready is not None:
      words = np.where(ready.words == 0, read, ready.words)
      words[-1] = read  # words dropped after the last block are read as well
      yield ready._replace(words=words, end=last)

  def _chunks(self, epochs: range, start: Position) -> Iterator[tuple[int, int, Any]]:
    """Yields (epoch, place in its order, result of `chunk`), computed by several threads."""
    places = (
      (epoch, position, chunk)
      for epoch in range(start.epoch, epochs.stop)
      for position, chunk in enumerate(self.order(epoch).tolist())
      if (epoch, position) >= (start.epoch, start.chunk)
    )
    waiting: collections.deque[tuple[int, int, Future]] = collections.deque()
    pool = ThreadPoolExecutor(_THREADS, 'jw2v sampler')
    try:
      for epoch, position, chunk in places:
        waiting.append((epoch, position, pool.submit(self.chunk, epoch, chunk)))
        if len(waiting) > _THREADS:
          epoch, position, made = waiting.popleft()
          yield epoch, position, made.result()
      for epoch, position, made in waiting:
        yield epoch, position, made.result()
    finally:
      pool.shutdown(cancel_futures=True)

  def _dispatch(self, columns, steps, blocks_per_step, end):
    tokens, left, right, *others = columns
    reach = int(max(left.max(initial=1), right.max(initial=1)))
    # Few different margins, since each is compiled.
    margin = min(self._most, max(_NARROW, 1 << (reach - 1).bit_length()))
    tokens = _with_tokens(tokens, self.block_size + 2 * margin)
    fill = steps * blocks_per_step - len(tokens)
    *blocks, words = (
      np.pad(c, [(0, fill)] + [(0, 0)] * (c.ndim - 1)).reshape(steps, blocks_per_step, *c.shape[1:])
      for c in (tokens, left, right, *others)
    )
    blocks = Blocks(*blocks)
    return Dispatch(self.attach(blocks) if self.attach else blocks, words.max(axis=1), end)


def _with_tokens(tokens: np.ndarray, number: int) -> np.ndarray:
  """Returns the tokens of blocks with fewer or more of them on both sides."""
  more = (number - tokens.shape[1]) // 2
  if more > 0:
    return np.pad(tokens, [(0, 0), (more, more)])
  return tokens[:, -more : tokens.shape[1] + more]


def _read(array: np.ndarray, start: int, end: int) -> np.ndarray:
  """Returns the numbers in memory: reads them if they are on disk."""
  if isinstance(array, StoredArray):
    return array.read(start, end)
  return np.array(array[start:end])


def _lines_before(line_ends: np.ndarray, place: int) -> int:
  """Returns the number of lines that end at or before a position of the text."""
  end = lambda line: int(_read(line_ends, line, line + 1)[0])
  return bisect.bisect_right(range(len(line_ends)), place, key=end)


def longest_line(line_ends: np.ndarray) -> int:
  """Returns the number of words of the longest line, at most the size of a chunk.

  Args:
    line_ends: `[lines]` increasing positions of line ends.
  """
  longest = before = 0
  for first in range(0, len(line_ends), _LINES):
    ends = _read(line_ends, first, min(first + _LINES, len(line_ends)))
    longest = max(longest, int(np.diff(ends, prepend=before).max()))
    before = int(ends[-1])
  return min(longest, _CHUNK_TOKENS)


def held_out_start(line_ends: np.ndarray, share: float) -> int:
  """Returns the start of the held-out text: the line end nearest to the requested share.

  Args:
    line_ends: `[lines]` increasing positions of line ends.
    share: share of the words to hold out.

  Returns:
    A number of words. If no line ends within half the share of the exact position, for example in
    a text with a single line, the exact position.
  """
  words = int(line_ends[-1])
  held_out = int(share * words)
  place = words - held_out
  after = int(np.searchsorted(line_ends, place))
  near = line_ends[max(after - 1, 0) : after + 1]
  nearest = int(near[np.abs(near - place).argmin()])
  return nearest if 2 * abs(nearest - place) <= held_out else place


def in_background(
  items: Iterator[Item], ahead: int = 2, stopped: threading.Event | None = None
) -> Generator[Item, None, None]:
  """Runs an iterator in a separate thread.

  Args:
    items: the iterator; its exceptions are raised here.
    ahead: maximum number of items that the thread prepares in advance.
    stopped: event that is set when the consumer stops, so that a waiting producer can end.

  Yields:
    The same items in the same order. Closing this iterator stops the thread.
  """
  ready: queue.Queue = queue.Queue(ahead)
  stopped = threading.Event() if stopped is None else stopped
  end = object()

  def put(item, error=None):
    while not stopped.is_set():
      try:
        return ready.put((item, error), timeout=0.1)
      except queue.Full:
        continue

  def work():
    try:
      for item in items:
        put(item)
        if stopped.is_set():
          return
      put(end)
    except BaseException as error:
      put(None, error)
    finally:
      if isinstance(items, Generator):
        items.close()  # it would keep its own threads as long as it lives

  thread = threading.Thread(target=work, name='jw2v sampler', daemon=True)
  thread.start()
  try:
    while True:
      item, error = ready.get()
      if error is not None:
        raise error
      if item is end:
        return
      yield item
  finally:
    stopped.set()
    thread.join()
