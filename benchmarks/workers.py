"""Programs that measure in processes of their own: starting them, and what they answer.

What belongs here: a job for a process, its peak memory, and measuring several systems in turn.
Nothing is imported that would raise the memory of a process: Linux starts its peak at what the
process that started it had. So jw2v and its peers are imported where they are used, and not by
the process that starts the others.
"""

import importlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.tables import one_line

_ROOT = pathlib.Path(__file__).parents[1]
_UNIT = 1 if sys.platform == 'darwin' else 1024  # macOS counts in bytes, Linux in KiB
# What a process runs. Its cores are limited first, for libraries count them when imported.
_WORKER = """
import os, sys
module, job, cores = sys.argv[1:]
if cores and hasattr(os, 'sched_setaffinity'):
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(cores)])
from benchmarks import workers
workers.work(module, job)
"""

Tasks = Mapping[str, Callable[[dict[str, Any]], Any]]


def start(
  module: str,
  task: str,
  *,
  cores: int | None = None,
  environment: Mapping[str, str] | None = None,
  **job: Any,
) -> Any:
  """Runs a task in a process of its own.

  Args:
    module: has `TASKS`, functions of a job by name.
    task: one of them.
    cores: how many the process may use; None for all.
    environment: variables that it has besides.
    **job: what the task gets, with the time of the start as `started`.

  Returns:
    What the function gave.

  Raises:
    ValueError: what was wrong, or that the process ended before it answered.
  """
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    answer = pathlib.Path(folder, 'answer.json')  # libraries print to the standard output
    # The monotonic clock is the same in every process.
    job |= {'task': task, 'answer': str(answer), 'started': time.monotonic()}
    done = subprocess.run(
      [sys.executable, '-c', _WORKER, module, json.dumps(job), str(cores or '')], cwd=_ROOT,
      env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE, text=True, errors='replace',
    )  # fmt: skip
    if done.returncode or not answer.exists():
      said = done.stderr.strip().splitlines() if done.returncode > 0 else []
      raise ValueError(said[-1] if said else f'{task}: its process ended with {done.returncode}')
    found = json.loads(answer.read_text())
  if 'error' in found:
    raise ValueError(found['error'])
  return found['result']


def work(module: str, job: str) -> None:
  """Does a job in this process, and writes the answer: a result, or an error of the user's."""
  given = json.loads(job)
  try:
    result = importlib.import_module(module).TASKS[given['task']](given)
    answer = json.dumps({'result': result}, default=list)  # of what a generator yields
  except (ValueError, OSError, FloatingPointError, ImportError) as error:
    answer = json.dumps({'error': one_line(error)})
  pathlib.Path(given['answer']).write_text(answer)


def peak_bytes(who: int = resource.RUSAGE_SELF) -> int:
  """The most memory that this process has had; or one of those that it started."""
  return resource.getrusage(who).ru_maxrss * _UNIT


def in_turn(
  rounds: int, systems: Mapping[str, Callable[[], dict[str, Any]]], what: str = ''
) -> dict[str, list[dict[str, Any]]]:
  """Each system once in each round: what changes on the machine meanwhile meets them all.

  Args:
    rounds: how many.
    systems: what measures them, with the seconds among what it gives; these are told.
    what: is measured, for whoever waits.

  Returns:
    The measures of each system, by round.
  """
  runs: dict[str, list] = {name: [] for name in systems}
  for i in range(rounds):
    for name, measure in systems.items():
      runs[name].append(measure())
      took = f'{what} {name} {runs[name][-1]["seconds"]:.2f} s'.lstrip()
      print(f'round {i + 1}/{rounds} {took}', file=sys.stderr)
  return runs


def refuse(wrongs: Sequence[tuple[bool, str]]) -> None:
  """Raises a `ValueError` with the first message whose condition holds."""
  for is_wrong, message in wrongs:
    if is_wrong:
      raise ValueError(message)


def check_output(path: str | None) -> None:
  """Refuses the name of a page that could not be written, before anything runs.

  Raises:
    ValueError: it is a folder, or in none that there is.
  """
  output = pathlib.Path(path or 'page.md').absolute()
  refuse([
    (not output.parent.is_dir(), f'output={path!r}: there is no folder {output.parent}'),
    (output.is_dir(), f'output={path!r}: it is a folder'),
  ])  # fmt: skip
