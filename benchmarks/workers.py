"""Worker processes for measurements: jobs, results, peak memory, and interleaved rounds.

A process imports jw2v, JAX and the other systems only if its task does, since their memory and time
count. So modules with `TASKS` import them inside functions.
"""

import importlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_ROOT = pathlib.Path(__file__).parents[1]
_UNIT = 1 if sys.platform == 'darwin' else 1024  # macOS counts in bytes, Linux in KiB
# The code of a process. It limits the cores first, since libraries count cores at import.
_WORKER = """
import os, sys
module, job, cores, library = sys.argv[1:]
if cores and hasattr(os, 'sched_setaffinity'):
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(cores)])
from benchmarks import workers
if library:
  sys.path.insert(0, library)  # after the import, so that only jw2v is from this folder
workers.work(module, job)
"""

_MEASURED = """
import json, resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([status, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""

Tasks = Mapping[str, Callable[[dict[str, Any]], Any]]


def start(
  module: str,
  task: str,
  *,
  cores: int | None = None,
  environment: Mapping[str, str] | None = None,
  library: str | None = None,
  **job: Any,
) -> Any:
  """Runs a task in its own process.

  Args:
    module: module with `TASKS`, functions of a job by name.
    task: name of the task.
    cores: number of cores of the process; None for all.
    environment: additional environment variables.
    library: folder that contains the package jw2v to measure; None for the jw2v of this folder.
    **job: the job. The task receives it with the start time as `started`.

  Returns:
    The result of the task.

  Raises:
    ValueError: the task raised an error, or the process ended without a result.
  """
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    answer = pathlib.Path(folder, 'answer.json')  # not stdout, which libraries print to
    # The monotonic clock is the same in every process.
    job |= {'task': task, 'answer': str(answer), 'started': time.monotonic()}
    done = subprocess.run(
      [sys.executable, '-c', _WORKER, module, json.dumps(job), str(cores or ''), library or ''],
      cwd=_ROOT, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE, text=True, errors='replace',
    )  # fmt: skip
    if done.returncode or not answer.exists():
      said = done.stderr.strip().splitlines() if done.returncode > 0 else []
      raise ValueError(
        said[-1] if said else f'{task}: the process exited with status {done.returncode}'
      )
    found = json.loads(answer.read_text())
  if 'error' in found:
    raise ValueError(found['error'])
  return found['result']


def work(module: str, job: str) -> None:
  """Runs a job in this process and writes its result or error to a file."""
  given = json.loads(job)
  try:
    result = importlib.import_module(module).TASKS[given['task']](given)
    answer = json.dumps({'result': result}, default=list)  # for generators
  except (ValueError, OSError, FloatingPointError, ImportError) as error:
    answer = json.dumps({'error': ' '.join(str(error).split())})
  pathlib.Path(given['answer']).write_text(answer)


def peak_bytes() -> int:
  """Returns the peak memory of this process in bytes.

  On Linux `ru_maxrss` starts at the memory of the parent process; `VmHWM` does not.
  """
  status = pathlib.Path('/proc/self/status')
  found = re.search(r'^VmHWM:\s*(\d+) kB', status.read_text(), re.M) if status.exists() else None
  if found:
    return int(found[1]) << 10
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def run_program(command: Sequence[str]) -> dict[str, float]:
  """Runs another program and returns its status, CPU time in seconds and peak memory in bytes.

  A small process starts the program, because the peak of a process starts at the memory of its
  parent.
  """
  done = subprocess.run([sys.executable, '-c', _MEASURED, *command], capture_output=True, text=True)
  status, cpu, peak = json.loads(done.stdout.splitlines()[-1])
  return {'status': status, 'cpu': cpu, 'peak': peak * _UNIT}


def in_turn(
  rounds: int, systems: Mapping[str, Callable[[], dict[str, Any]]], what: str = ''
) -> dict[str, list[dict[str, Any]]]:
  """Interleaves the systems, so that drift in machine load affects all of them equally.

  Args:
    rounds: number of rounds.
    systems: functions that measure the systems and return a dictionary with `seconds`.
    what: name of the measurement, for the progress messages.

  Returns:
    The measurements of each system by round.
  """
  runs: dict[str, list] = {name: [] for name in systems}
  for i in range(rounds):
    for name, measure in systems.items():
      runs[name].append(measure())
      took = f'{what} {name} {runs[name][-1]["seconds"]:.2f} s'.lstrip()
      print(f'round {i + 1}/{rounds} {took}', file=sys.stderr)
  return runs


def refuse(wrongs: Sequence[tuple[bool, str]]) -> None:
  """Raises a `ValueError` with the first message whose condition is true."""
  for is_wrong, message in wrongs:
    if is_wrong:
      raise ValueError(message)


def check_output(path: str | None, name: str = 'output') -> None:
  """Checks before a measurement that its page can be written.

  Args:
    path: the file; None for no file.
    name: flag of the file, for the errors.

  Raises:
    ValueError: the path is a folder, or is in a folder that does not exist.
  """
  output = pathlib.Path(path or 'page.md').absolute()
  refuse([
    (not output.parent.is_dir(), f'{name}={path!r}: folder {output.parent} not found'),
    (output.is_dir(), f'{name}={path!r}: is a folder'),
  ])  # fmt: skip
