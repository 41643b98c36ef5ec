"""Several processes in one run: how they start, and what they tell each other on the host.

What belongs here: everything between processes that is no array on a device. The engine is
`jax.distributed`: its coordination service starts the processes, notices one that is gone, and
has the key-value store through which they agree; the exchange of arrays is in `sharding.py`.
"""

import collections
import contextlib
import itertools
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax._src import distributed  # JAX shows the key-value store nowhere else

from jw2v.sampling import Blocks
from jw2v.stream import Call, Position

_STEP_SECONDS = 300  # to wait for what another process tells in each call
_LONG_SECONDS = 7 * 24 * 3600  # to wait for process 0 where it works alone
_HEARTBEAT_SECONDS = 30  # after which a silent process is taken for dead
_LAST_SECONDS = 3  # that process 0 stays after an error, for the others to end first
_runs = itertools.count()  # all processes count the same runs


class ProcessLost(ConnectionError):
  """Another process of the run is gone, or does not answer."""


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


def start_processes(coordinator: str, number: int, index: int, timeout: float = 60.0) -> None:
  """Makes this process one of several that train together; call it before any use of JAX.

  All run the same program with the same settings. Process 0 listens at `coordinator`; it alone
  writes results. On CPUs arrays go over gloo. On clusters that JAX knows,
  `jax.distributed.initialize()` does as well. Run what follows in
  `ending_without_the_others()`: JAX would end a process that has an error when all have ended.

  Args:
    coordinator: 'host:port' of process 0.
    number: of processes.
    index: of this one, from 0.
    timeout: seconds to wait for the others.

  Raises:
    ValueError: an argument is out of range, or is no 'host:port'.
    ProcessLost: the coordinator does not answer, or not all processes came in time.
    OSError: process 0 cannot listen at its address.
    RuntimeError: JAX has been used already, or started processes.
  """
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
    raise ValueError(f"coordinator={coordinator!r}: must be 'host:port', a port from 1 to 65535")
  if number < 1:
    raise ValueError(f'processes={number}: must be at least 1')
  if not 0 <= index < number:
    raise ValueError(f'process={index}: must be from 0 to {number - 1}')
  if timeout < 1:
    raise ValueError(f'timeout={timeout}: must be at least 1 second')
  began = time.monotonic()
  # JAX would end the process where there is nobody; what can be known before is asked before.
  if index:
    _wait_for_address(host, int(port), coordinator, timeout)
  else:
    _check_address(int(port), coordinator)
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  # It would take SIGTERM away from the program.
  jax.config.update('jax_enable_preemption_service', False)
  left = max(1, int(timeout - (time.monotonic() - began)))
  try:
    jax.distributed.initialize(
      coordinator, number, index, initialization_timeout=left,
      heartbeat_timeout_seconds=_HEARTBEAT_SECONDS, shutdown_timeout_seconds=_HEARTBEAT_SECONDS,
    )  # fmt: skip
  except RuntimeError as error:
    if not isinstance(error, jax.errors.JaxRuntimeError):  # JAX has started, or has processes
      raise RuntimeError(f'processes start before any use of JAX, once: {error}') from error
    raise ProcessLost(
      f'process {index}: not all of {number} processes were at {coordinator} in {timeout:g} '
      f'seconds: {_first_line(error)}'
    ) from error


def num_processes() -> int:
  """How many processes train together; it starts no backend, as `jax.process_count` does."""
  return distributed.global_state.num_processes or 1


def process_number() -> int:
  """Which of them this is."""
  return distributed.global_state.process_id or 0


def is_first() -> bool:
  """Whether this process writes what the run gives."""
  return process_number() == 0


@contextlib.contextmanager
def ending_without_the_others() -> Iterator[None]:
  """Ends a program at its error: JAX would wait for the other processes, which may be gone.

  Process 0 waits a little, for JAX aborts all others as soon as it is gone.
  """
  try:
    yield
  except BaseException as error:
    code = error.code if isinstance(error, SystemExit) else 1
    if num_processes() == 1 or code in (None, 0):
      raise
    if isinstance(code, str):
      print(code, file=sys.stderr)
    elif not isinstance(error, SystemExit):
      traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(_LAST_SECONDS if is_first() else 0)
    os._exit(code if isinstance(code, int) else 1)


@contextlib.contextmanager
def first_goes_last(stops: type[Exception]) -> Iterator[None]:
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
      _client().key_value_set(key, 'failed')
    raise
  _leave(key)


def _leave(key: str) -> None:
  if is_first():
    _client().key_value_set(key, 'done')
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
      _client().key_value_set(key, 'failed')
      raise
    _client().key_value_set(key, 'done')
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
  ours = json.loads(json.dumps(about))
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


@contextlib.contextmanager
def told_of_the_others() -> Iterator[None]:
  """Says `ProcessLost` where an exchange fails because another process is gone."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    signs = ('gloo', 'nccl', 'connection', 'coordination', 'peer')
    if num_processes() == 1 or not any(sign in str(error).lower() for sign in signs):
      raise
    raise ProcessLost(
      f'another of the {num_processes()} processes is gone; where there are checkpoints, the '
      f'same commands go on from the last one: {_first_line(error)}'
    ) from error


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
  client, own = _client(), process_number()
  client.key_value_set(f'{key}/{own}', json.dumps(value))
  found = [
    value if i == own else json.loads(_wait_for(f'{key}/{i}', _STEP_SECONDS, stopped))
    for i in range(num_processes())
  ]
  # Whoever has read this has read all that was told two times before.
  _told.append(f'{key}/{own}')
  while len(_told) > 2:
    client.key_value_delete(_told.popleft())
  return found


_told: collections.deque = collections.deque()


def _wait_for(key: str, seconds: float, stopped: threading.Event | None = None) -> str:
  until = time.monotonic() + seconds
  while True:
    try:
      return _client().blocking_key_value_get(key, 500)
    except jax.errors.JaxRuntimeError as error:
      late = time.monotonic() > until or (stopped is not None and stopped.is_set())
      if late or 'DEADLINE_EXCEEDED' not in str(error):
        raise ProcessLost(
          f'process {key.rpartition("/")[2]} says nothing (for {key}): {_first_line(error)}'
        ) from error


def _client():
  return distributed.global_state.client


def _wait_for_address(host: str, port: int, coordinator: str, timeout: float) -> None:
  until = time.monotonic() + timeout
  while True:
    try:
      socket.create_connection((host, port), timeout=5).close()
      return
    except OSError as error:
      if time.monotonic() > until:
        raise ProcessLost(
          f'coordinator={coordinator!r}: nobody answers there after {timeout:g} seconds ({error})'
        ) from error
    time.sleep(0.2)


def _check_address(port: int, coordinator: str) -> None:
  with socket.socket() as there:
    there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      there.bind(('', port))
    except OSError as error:
      raise OSError(f'coordinator={coordinator!r}: cannot listen there ({error})') from error


def _first_line(error: BaseException) -> str:
  return ' '.join(str(error).split())[:200]
