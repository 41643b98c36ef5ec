"""Agreement of several processes on the host, through JAX's key-value store.

Processes wait for each other, check that their settings are equal, and agree on the dispatches
that all of them run. The arrays themselves are exchanged by the devices, see `layout.py`.
"""

import collections
import contextlib
import itertools
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jw2v.data.sampling import Blocks
from jw2v.data.store import EncodedCorpus
from jw2v.data.stream import Dispatch, Position
from jw2v.distributed.processes import ProcessLost, client, is_first, num_processes, process_number
from jw2v.utils.files import as_json
from jw2v.utils.limits import one_line

_ANSWER_SECONDS = 300  # timeout for the facts of another process
_LONG_SECONDS = 7 * 24 * 3600  # timeout for process 0 while it works alone
# An exchange takes milliseconds. Processes agree on as many dispatches at once as take this time,
# so that exchanges are cheap and a request to stop takes effect soon.
_AGREE_SECONDS, AGREE_AT_MOST = 0.5, 8
_numbers = itertools.count()  # of calls, the same in all processes
_in_order = False  # inside of `first_exits_last`


class JointDispatch(NamedTuple):
  """The next dispatch of all processes.

  Attributes:
    blocks: the blocks of this process.
    words: `[S]` corpus words that all processes have read by the end of each step.
    ends: the first block of each stream after this dispatch.
    save: True to write a checkpoint after it; None if this process decides alone.
    stop: True to stop the run after it.
  """

  blocks: Blocks
  words: np.ndarray
  ends: tuple[Position, ...]
  save: bool | None = None
  stop: bool = False


@contextlib.contextmanager
def first_exits_last(stops: type[Exception]) -> Iterator[None]:
  """Keeps the other processes until process 0 is done, since JAX ends those that outlive it.

  Only the outermost of nested blocks waits.

  Args:
    stops: an exception that all processes raise together. After any other exception a process
      does not wait.

  Raises:
    ProcessLost: process 0 is gone.
  """
  global _in_order
  if num_processes() == 1 or _in_order:
    yield
    return
  key, _in_order = f'jw2v/left/{next(_numbers)}', True
  try:
    yield
  except stops:
    _exit_in_order(key)
    raise
  except BaseException:
    if is_first():
      client().key_value_set(key, 'failed')
    raise
  else:
    _exit_in_order(key)
  finally:
    _in_order = False


def _exit_in_order(key: str) -> None:
  if is_first():
    client().key_value_set(key, 'done')
  else:
    _wait_for(key, 0, _LONG_SECONDS)


def first_then_others(work: Callable[[], Any], name: str) -> Any:
  """Calls a function that writes a file in process 0, and then in the others, which reuse it.

  Args:
    work: the function; every process calls it.
    name: identifies the work in messages.

  Raises:
    ProcessLost: process 0 failed, or is gone.
  """
  if num_processes() == 1:
    return work()
  key = f'jw2v/{name}/{next(_numbers)}'
  if is_first():
    try:
      result = work()
    except BaseException:
      client().key_value_set(key, 'failed')
      raise
    client().key_value_set(key, 'done')
    return result
  if _wait_for(key, 0, _LONG_SECONDS) != 'done':
    raise ProcessLost(f'process 0 failed ({name}); see its message for the reason')
  return work()


def check_same(values: dict[str, Any]) -> None:
  """Raises an error in every process if their values differ.

  Args:
    values: JSON values by name, which must be equal in all processes.

  Raises:
    ValueError: values differ; the message contains the first such name.
    ProcessLost: a process does not answer.
  """
  if num_processes() == 1:
    return
  ours = as_json(values)
  for index, theirs in enumerate(_exchange(f'jw2v/same/{next(_numbers)}', ours)):
    for name in sorted({*ours, *theirs}):
      if ours.get(name) != theirs.get(name):
        raise ValueError(
          f'{name} must be the same in all processes, got {ours.get(name)!r} in process '
          f'{process_number()} and {theirs.get(name)!r} in process {index}'
        )


def checksums(
  corpus: EncodedCorpus, initial: tuple[Sequence[str], np.ndarray] | None
) -> dict[str, int]:
  """Returns checksums of the words, the text and the initial vectors, for `check_same`.

  Args:
    corpus: the encoded corpus; only a sample of its text is read.
    initial: words and vectors that the run starts from, if any.
  """
  if num_processes() == 1:
    return {}
  words, size = corpus.vocabulary, len(corpus.ids)
  places = range(0, size, max(1024, size // 64))
  pieces = [corpus.ids.read(place, min(place + 1024, size)) for place in places]
  parts: dict[str, list[Any]] = {
    'vocabulary': [' '.join(words.words).encode(), words.counts],
    'text': [*pieces, corpus.line_ends.read(0, min(100_000, len(corpus.line_ends)))],
  }
  if initial is not None:
    names, vectors = initial
    parts['initial'] = [' '.join(names).encode(), np.asarray(vectors)]
  as_bytes = lambda x: x if isinstance(x, bytes) else np.ascontiguousarray(x).tobytes()
  return {name: zlib.crc32(b''.join(map(as_bytes, arrays))) for name, arrays in parts.items()}


def joint_dispatches(
  dispatches: Iterator[Dispatch],
  padding: Callable[[], Dispatch],
  stream: int,
  start: Position,
  epochs: int,
  requests: Callable[[], tuple[bool, bool]],
  closed: threading.Event,
) -> Iterator[JointDispatch]:
  """Yields the dispatches of all processes, the same number in each.

  A process whose text has ended continues with padding until the text of all has ended. The
  iterator does not touch any device, and may run ahead in a thread.

  Args:
    dispatches: the dispatches of this process.
    padding: makes a dispatch of padding.
    stream: index of the stream that they belong to; processes with one index read the same text.
    start: start of the dispatches in their stream.
    epochs: number of epochs of the run, the end of the stream.
    requests: returns whether this process requests a checkpoint, and whether it requests to stop.
      The request of process 0 decides on checkpoints; any process can stop the run.
    closed: set when the consumer no longer waits for dispatches.

  Raises:
    ProcessLost: a process does not answer.
  """
  if num_processes() == 1:
    for dispatch in dispatches:
      yield JointDispatch(dispatch.blocks, dispatch.words, (dispatch.end,))
    return
  run, size, read, began = next(_numbers), 1, start.words, time.monotonic()
  for number in itertools.count():
    own = list(itertools.islice(dispatches, size))
    num_own = len(own)
    if own:
      read = int(own[-1].words[-1])
    for _ in range(size - num_own):
      blank = padding()
      own.append(Dispatch(blank.blocks, blank.words * 0 + read, Position(epochs, 0, 0, read)))
    save, stop = requests()
    now = time.monotonic()
    fitting = int(_AGREE_SECONDS * size / max(now - began, 1e-3))
    facts = {
      'stream': stream, 'save': save, 'stop': stop, 'dispatches': num_own,
      'next': max(1, min(size + 1, AGREE_AT_MOST, fitting)),
      'words': [each.words.tolist() for each in own],
      'ends': [list(each.end) for each in own],
      'lengths': [each.blocks.lengths for each in own],
    }  # fmt: skip
    began = now
    try:
      all_facts = _exchange(f'jw2v/{run}/{number}', facts, closed)
    except ProcessLost:
      if closed.is_set():
        return
      raise
    count = max(each['dispatches'] for each in all_facts)
    by_stream = {each['stream']: each for each in reversed(all_facts)}
    streams = [by_stream[i] for i in sorted(by_stream)]
    stop = any(each['stop'] for each in all_facts)
    for i in range(count):
      is_last = i == count - 1
      words = [sum(x) for x in zip(*(s['words'][i] for s in streams), strict=True)]
      yield JointDispatch(
        own[i].blocks.pad([*map(max, *(each['lengths'][i] for each in all_facts))]),
        own[i].words * 0 + words,
        tuple(Position(*each['ends'][i]) for each in streams),
        save=is_last and (all_facts[0]['save'] or stop),
        stop=is_last and stop,
      )
    if count < size:  # the text of all processes has ended
      return
    size = all_facts[0]['next']


def _exchange(key: str, value: Any, closed: threading.Event | None = None) -> list[dict[str, Any]]:
  """Publishes a value and returns the values of all processes, in their order."""
  store, own = client(), process_number()
  store.key_value_set(f'{key}/{own}', json.dumps(value))
  found = [
    value if i == own else json.loads(_wait_for(f'{key}/{i}', i, _ANSWER_SECONDS, closed))
    for i in range(num_processes())
  ]
  # At the end of this exchange every process has read the values of the exchange before the last,
  # so that its key can go.
  _published.append(f'{key}/{own}')
  while len(_published) > 2:
    store.key_value_delete(_published.popleft())
  return found


_published: collections.deque = collections.deque()


def _wait_for(key: str, process: int, seconds: float, closed: threading.Event | None = None) -> str:
  """Returns the value that a process publishes under a key."""
  until = time.monotonic() + seconds
  while True:
    try:
      return client().blocking_key_value_get(key, 500)
    except jax.errors.JaxRuntimeError as error:
      late = time.monotonic() > until or (closed is not None and closed.is_set())
      if late or 'DEADLINE_EXCEEDED' not in str(error):
        raise ProcessLost(
          f'timed out waiting for process {process} (key {key}): {one_line(error)}'
        ) from error
