"""Several processes in one run: start, identity and end.

`jax.distributed` does the work. Its coordination service starts the processes, detects a lost one,
and has the key-value store that `agreement.py` uses.
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
from jax._src import distributed  # the key-value store has no public interface

from jw2v.distributed.backend import num_cores
from jw2v.utils.limits import one_line

_HEARTBEAT_SECONDS = 30  # timeout for the heartbeat of a process
_LAST_SECONDS = 3  # delay of process 0 after an error, so that the others end first


class ProcessLost(ConnectionError):
  """Another process of the run is gone or does not answer."""


def start_processes(coordinator: str, number: int, index: int, timeout: float = 60.0) -> None:
  """Makes this process one of several that train together; call it before any use of JAX.

  All processes run the same program with the same settings. Process 0 listens at `coordinator` and
  is the only one that writes results. CPUs exchange arrays with gloo. Processes on one host share
  its cores: unless the variable `NPROC` is set, it becomes the number of threads for each. On
  clusters that JAX knows, `jax.distributed.initialize()` works as well. Run the rest of the program
  in `ending_without_the_others()`, since JAX ends a process with an error only when all have ended.

  Args:
    coordinator: address 'host:port' of process 0.
    number: number of processes.
    index: index of this process, counted from 0.
    timeout: seconds to wait for the other processes.

  Returns:
    None.

  Raises:
    ValueError: an argument is out of range, or `coordinator` is not a 'host:port'.
    ProcessLost: the coordinator does not answer, or a process is missing after the timeout.
    OSError: process 0 cannot listen at its address.
    RuntimeError: JAX has already been used, or has already started processes.
  """
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
    raise ValueError(
      f"coordinator must be 'host:port' with a port from 1 to 65535, got {coordinator!r}"
    )
  if number < 1:
    raise ValueError(f'processes must be at least 1, got {number}')
  if not 0 <= index < number:
    raise ValueError(f'process must be from 0 to {number - 1}, got {index}')
  if timeout < 1:
    raise ValueError(f'timeout must be at least 1 second, got {timeout}')
  began = time.monotonic()
  # JAX ends the process if the address does not answer, so it is checked first.
  if index:
    _wait_for_address(host, int(port), coordinator, timeout)
  else:
    _check_address(int(port), coordinator)
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  # The preemption service would handle SIGTERM in place of the program.
  jax.config.update('jax_enable_preemption_service', False)
  left = max(1, int(timeout - (time.monotonic() - began)))
  try:
    jax.distributed.initialize(
      coordinator, number, index, initialization_timeout=left,
      heartbeat_timeout_seconds=_HEARTBEAT_SECONDS, shutdown_timeout_seconds=_HEARTBEAT_SECONDS,
    )  # fmt: skip
    # Idle threads of XLA spin, so that the threads of one process would slow down others.
    threads = max(1, num_cores() // _processes_here(number, index, left))
    os.environ.setdefault('NPROC', str(threads))
  except RuntimeError as error:
    if not isinstance(error, jax.errors.JaxRuntimeError):  # JAX has started, or has processes
      raise RuntimeError(f'start_processes must come before any use of JAX: {error}') from error
    raise ProcessLost(
      f'process {index}: not all of {number} processes connected to {coordinator} within '
      f'{timeout:g} seconds: {one_line(error)}'
    ) from error


def _processes_here(number: int, index: int, timeout: int) -> int:
  """Returns the number of processes of the run on this host."""
  own, store = socket.gethostname(), client()
  store.key_value_set(f'jw2v/host/{index}', own)
  hosts = [store.blocking_key_value_get(f'jw2v/host/{i}', 1000 * timeout) for i in range(number)]
  return hosts.count(own)


def num_processes() -> int:
  """Returns the number of processes, without starting a backend as `jax.process_count` does."""
  return distributed.global_state.num_processes or 1


def process_number() -> int:
  """Returns the index of this process."""
  return distributed.global_state.process_id or 0


def is_first() -> bool:
  """Returns whether this is process 0, which writes the results."""
  return process_number() == 0


@contextlib.contextmanager
def ending_without_the_others() -> Iterator[None]:
  """Ends the program at an error without waiting for other processes, which may be gone.

  Process 0 waits three seconds, since JAX aborts all others as soon as it is gone.
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
  """Raises `ProcessLost` if an exchange fails because another process is gone."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    signs = ('gloo', 'nccl', 'connection', 'coordination', 'peer')
    if num_processes() == 1 or not any(sign in str(error).lower() for sign in signs):
      raise
    raise ProcessLost(
      f'another of the {num_processes()} processes is gone; with checkpoints, the same commands '
      f'resume from the last one: {one_line(error)}'
    ) from error


def client() -> Any:
  """Returns the client of the key-value store."""
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
          f'coordinator={coordinator!r} does not answer within {timeout:g} seconds ({error})'
        ) from error
    time.sleep(0.2)


def _check_address(port: int, coordinator: str) -> None:
  with socket.socket() as there:
    there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      there.bind(('', port))
    except OSError as error:
      raise OSError(
        f'coordinator={coordinator!r}: cannot listen at this address ({error})'
      ) from error
