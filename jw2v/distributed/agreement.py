"""What several processes tell each other on the host.

What belongs here: waiting for one another, and knowing that all have the same, through the
key-value store of `processes.py`; and the calls that all of them run.
"""

import collections
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jw2v.data.sampling import Blocks
from jw2v.data.stream import Call, Position
from jw2v.distributed.processes import ProcessLost, client, is_first, num_processes, process_number
from jw2v.utils.files import as_json
from jw2v.utils.limits import one_line

_STEP_SECONDS = 300  # to wait for what another process tells in each call
_LONG_SECONDS = 7 * 24 * 3600  # to wait for process 0 where it works alone
_runs = itertools.count()  # all processes count the same runs


class JointCall(NamedTuple):
  """What all processes run next.

  Attributes:
    blocks: those of this process.
    words: `[S]` corpus words that all have read by the end of each step.
    ends: the first block of each stream that is not in it.
    save: whether a checkpoint is to be written after it; None if each may decide.
    stop: whether the run is to stop then.
  """

  blocks: Blocks
  words: Any
  ends: tuple[Position, ...]
  save: bool | None = None
  stop: bool = False


@contextlib.contextmanager
def first_leaves_last(stops: type[Exception]) -> Iterator[None]:
  """Keeps the others until process 0 has left: JAX ends all where some have gone for long.

  Args:
    stops: an exception that all processes raise together; after any other nobody waits.

  Raises:
    ProcessLost: process 0 is gone.
  """
  if num_processes() == 1:
    yield
    return
  key = f'jw2v/left/{next(_runs)}'
  try:
    yield
  except stops:
    _leave(key)
    raise
  except BaseException:
    if is_first():
      client().key_value_set(key, 'failed')
    raise
  _leave(key)


def _leave(key: str) -> None:
  if is_first():
    client().key_value_set(key, 'done')
  else:
    _wait_for(key, _LONG_SECONDS)


def first_alone(work: Callable[[], Any], name: str) -> Any:
  """Lets process 0 do some work that leaves a file, and then the others, which find it done.

  Args:
    work: what all of them call.
    name: for the others to wait for.

  Raises:
    ProcessLost: process 0 could not do it, or is gone.
  """
  if num_processes() == 1:
    return work()
  key = f'jw2v/{name}/{next(_runs)}'
  if is_first():
    try:
      result = work()
    except BaseException:
      client().key_value_set(key, 'failed')
      raise
    client().key_value_set(key, 'done')
    return result
  if _wait_for(key, _LONG_SECONDS) != 'done':
    raise ProcessLost(f'process 0 could not do its part ({name}): its message says why')
  return work()


def check_same(about: dict[str, Any]) -> None:
  """Refuses to go on where processes differ, in all of them.

  Args:
    about: what must be the same, values that JSON has.

  Raises:
    ValueError: with the first name whose values differ.
    ProcessLost: a process says nothing.
  """
  if num_processes() == 1:
    return
  ours = as_json(about)
  for index, theirs in enumerate(_tell_all(f'jw2v/same/{next(_runs)}', ours)):
    for name in sorted({*ours, *theirs}):
      if ours.get(name) != theirs.get(name):
        raise ValueError(
          f'{name}={ours.get(name)!r}: process {index} has {theirs.get(name)!r}, and process '
          f'{process_number()} must have the same'
        )


def together(
  calls: Iterator[Call],
  blank: Callable[[], Call],
  stream: int,
  start: Position,
  epochs: int,
  wants: Callable[[], tuple[bool, bool]],
  stopped: threading.Event,
) -> Iterator[JointCall]:
  """The calls of all processes, as many in each.

  A process whose text has ended goes on with padding until the text of all has. It touches no
  device, and may run ahead in a thread.

  Args:
    calls: those of this process.
    blank: makes a call of padding.
    stream: the number of the stream that they are of; processes of one number have the same.
    start: where they begin in it.
    epochs: of the run; the stream ends where they do.
    wants: whether this process wants a checkpoint, and to stop. It counts in process 0, of a
      wish to stop in all.
    stopped: set where nobody waits for the calls.

  Yields:
    What each is to run.

  Raises:
    ProcessLost: a process says nothing.
  """
  if num_processes() == 1:
    for call in calls:
      yield JointCall(call.blocks, call.words, (call.end,))
    return
  run, last = next(_runs), blank()
  last = last._replace(words=last.words * 0 + start.words)
  for number in itertools.count():
    own = next(calls, None)
    over = own is None
    if own is None:
      read = int(last.words[-1])
      end = Position(epochs, 0, 0, read)
      own = blank()._replace(words=last.words * 0 + read, end=end)
    last = call = own
    save, stop = wants()
    bags = 0 if call.blocks.bag_rows is None else call.blocks.bag_rows.shape[-1]
    facts = {
      'stream': stream, 'words': call.words.tolist(), 'end': list(call.end), 'over': over,
      'save': save, 'stop': stop, 'bags': bags,
    }  # fmt: skip
    try:
      told = _tell_all(f'jw2v/{run}/{number}', facts, stopped)
    except ProcessLost:
      if stopped.is_set():
        return
      raise
    if all(each['over'] for each in told):
      return
    streams = {each['stream']: each for each in reversed(told)}
    of_streams = [streams[i] for i in sorted(streams)]
    words = call.words * 0 + [sum(x) for x in zip(*(s['words'] for s in of_streams), strict=True)]
    stop = any(each['stop'] for each in told)
    yield JointCall(
      _with_bags(call.blocks, max(each['bags'] for each in told)),
      words,
      tuple(Position(*each['end']) for each in of_streams),
      save=told[0]['save'] or stop,
      stop=stop,
    )


def _with_bags(blocks: Blocks, length: int) -> Blocks:
  """The blocks with lists of rows as long as the longest of any process."""
  if blocks.bag_rows is None or blocks.bag_rows.shape[-1] == length:
    return blocks
  fill = length - blocks.bag_rows.shape[-1]
  padded = lambda x, value: np.pad(x, ((0, 0), (0, 0), (0, fill)), constant_values=value)
  no_row = np.iinfo(np.int32).max
  return blocks._replace(
    bag_rows=padded(blocks.bag_rows, no_row), bag_owners=padded(blocks.bag_owners, 0)
  )


def _tell_all(key: str, value: Any, stopped: threading.Event | None = None) -> list[dict[str, Any]]:
  """What every process says under a key, in their order."""
  store, own = client(), process_number()
  store.key_value_set(f'{key}/{own}', json.dumps(value))
  found = [
    value if i == own else json.loads(_wait_for(f'{key}/{i}', _STEP_SECONDS, stopped))
    for i in range(num_processes())
  ]
  # Whoever has read this has read all that was told two times before.
  _told.append(f'{key}/{own}')
  while len(_told) > 2:
    store.key_value_delete(_told.popleft())
  return found


_told: collections.deque = collections.deque()


def _wait_for(key: str, seconds: float, stopped: threading.Event | None = None) -> str:
  until = time.monotonic() + seconds
  while True:
    try:
      return client().blocking_key_value_get(key, 500)
    except jax.errors.JaxRuntimeError as error:
      late = time.monotonic() > until or (stopped is not None and stopped.is_set())
      if late or 'DEADLINE_EXCEEDED' not in str(error):
        raise ProcessLost(
          f'process {key.rpartition("/")[2]} says nothing (for {key}): {one_line(error)}'
        ) from error
