"""Several processes in one run: how they start, which of them this is, and how they end.

What belongs here: what `jax.distributed` is asked for, the engine of all of it. Its coordination
service starts the processes, notices one that is gone, and has the key-value store through which
they agree, as told in `agreement.py`; the exchange of arrays is in `sharding.py`.
"""

import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import jax
from jax._src import distributed  # JAX shows the key-value store nowhere else

from jw2v.utils.limits import one_line

_HEARTBEAT_SECONDS = 30  # after which a silent process is taken for dead
_LAST_SECONDS = 3  # that process 0 stays after an error, for the others to end first


class ProcessLost(ConnectionError):
  """Another process of the run is gone, or does not answer."""


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
      f'seconds: {one_line(error)}'
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
def naming_lost_processes() -> Iterator[None]:
  """Says `ProcessLost` where an exchange fails because another process is gone."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    signs = ('gloo', 'nccl', 'connection', 'coordination', 'peer')
    if num_processes() == 1 or not any(sign in str(error).lower() for sign in signs):
      raise
    raise ProcessLost(
      f'another of the {num_processes()} processes is gone; where there are checkpoints, the '
      f'same commands go on from the last one: {one_line(error)}'
    ) from error


def client() -> Any:
  """The key-value store of the coordination service."""
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
