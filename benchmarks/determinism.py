r"""Checks that runs are bit-identical on this machine, for every objective and optimizer.

  python -m benchmarks.determinism
  python -m benchmarks.determinism --objectives=nce,naive_softmax --optimizers=adam

The program trains each combination five times on a small generated text: in two processes one after
the other, in a process that stops midway, in another one that resumes from its checkpoint, and in a
process with a single core. It compares the SHA-256 of both tables and prints a Markdown table. The
exit status is 1 if the second process or the resumed run differs. Differences on a single core are
reported but are not a failure. docs/reliability.md has the reasons why runs are bit-identical.
"""

import hashlib
import itertools
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

import jw2v
from benchmarks import workers
from jw2v.cli.tables import markdown_table
from jw2v.config import ARCHITECTURES, OBJECTIVES, OPTIMIZERS
from jw2v.training.checkpoints import Checkpoints, Stopped

_SETTINGS = {
  'dim': 16, 'window': 3, 'min_count': 1, 'sample': 1e-2, 'epochs': 2, 'batch_size': 96,
  'steps_per_call': 4,
}  # fmt: skip
_WORDS, _LINES, _LINE = 300, 200, 25
# Kinds of processes: whole runs, a run that stops midway, one that resumes, and one on one core.
_KINDS = ('whole', 'again', 'stopped', 'resumed', 'one core')

Case = tuple[str, str, str]  # architecture, objective, optimizer


def text() -> list[list[str]]:
  """Returns the same lines of words on every call, with a Zipf distribution."""
  ids = np.random.default_rng(0).zipf(1.3, (_LINES, _LINE)) % _WORDS
  return [[f'w{i}' for i in line] for line in ids.tolist()]


def train(case: Case, kind: str, folder: pathlib.Path) -> str:
  """Trains one combination and returns the SHA-256 of its tables, or 'stopped'.

  Args:
    case: the combination.
    kind: one of `_KINDS`.
    folder: folder for the checkpoint that the kinds 'stopped' and 'resumed' share.
  """
  config = jw2v.TrainConfig(architecture=case[0], objective=case[1], optimizer=case[2], **_SETTINGS)
  checkpoints = None
  if kind in ('stopped', 'resumed'):
    checkpoints = Checkpoints(folder / '-'.join(case), every=1e9)
  stop = [lambda _: checkpoints.request_stop()] if kind == 'stopped' else []
  try:
    result = jw2v.train(text(), config, progress=False, checkpoints=checkpoints, callbacks=stop)
  except Stopped:
    return 'stopped'
  digest = hashlib.sha256()
  for table in result.params:
    digest.update(np.ascontiguousarray(table).tobytes())
  return digest.hexdigest()


def work(job: dict[str, Any]) -> list[str]:
  """Trains the combinations of a job and returns their results."""
  folder = pathlib.Path(job['folder'])
  return [train(tuple(case), job['kind'], folder) for case in job['cases']]


TASKS = {'train': work}


def run(cases: Sequence[Case]) -> dict[str, list[str]]:
  """Returns the results of each kind of process, by combination.

  Raises:
    ValueError: a process failed.
  """
  results = {}
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    for kind in _KINDS:
      print(f'{kind}: {len(cases)} runs', file=sys.stderr, flush=True)
      cores = 1 if kind == 'one core' else None
      job = {'kind': kind, 'cases': cases, 'folder': folder}
      results[kind] = workers.start('benchmarks.determinism', 'train', cores=cores, **job)
  return results


def page(cases: Sequence[Case], results: dict[str, list[str]]) -> tuple[str, bool]:
  """Returns the Markdown table, and whether all runs that must be bit-identical are.

  Args:
    cases: the combinations.
    results: the result of `run`.
  """
  columns = list(dict.fromkeys(optimizer for *_, optimizer in cases))
  cells: dict[tuple[str, str], dict[str, str]] = {}
  one_core = 0
  for number, (architecture, objective, optimizer) in enumerate(cases):
    of = {kind: results[kind][number] for kind in _KINDS}
    one_core += of['one core'] == of['whole']
    differs = [kind for kind in ('again', 'resumed') if of[kind] != of['whole']]
    if of['stopped'] != 'stopped':
      differs.append('was not stopped')
    said = 'same' if not differs else 'differs: ' + ', '.join(differs)
    cells.setdefault((objective, architecture), {})[optimizer] = said
  rows = [['objective', 'architecture', *columns]]
  rows += [[*key, *(cell.get(name, '-') for name in columns)] for key, cell in cells.items()]
  kept = all(said == 'same' for cell in cells.values() for said in cell.values())
  return (
    f'{markdown_table(rows)}\n\n'
    'same: tables are bit-identical in a second process, and after a resume in another process. '
    f'On one core instead of {os.cpu_count()}, {one_core} of {len(cases)} are also the same.'
  ), kept


def _choice(name, given, allowed):
  for value in given:
    if value not in allowed:
      raise ValueError(f'{name} must be from {", ".join(map(repr, allowed))}; got {value!r}')
  return given or allowed


def main(argv: list[str]) -> int:
  """Runs the program and returns its exit status."""
  with process.one_line_errors():
    if len(argv) > 1:
      raise ValueError(f'{argv[1]!r} is not a flag; write objectives as --objectives=nce')
    values = flags.FLAGS
    objectives = _choice('objectives', values.objectives, OBJECTIVES)
    optimizers = _choice('optimizers', values.optimizers, OPTIMIZERS)
    architectures = _choice('architectures', values.architectures, ARCHITECTURES)
    cases = [(a, o, x) for o, a, x in itertools.product(objectives, architectures, optimizers)]
    made, kept = page(cases, run(cases))
    print(made)
  return 0 if kept else 1


if __name__ == '__main__':
  flags.DEFINE_list('objectives', [], 'Objectives to train; all by default.')
  flags.DEFINE_list('optimizers', [], 'Optimizers to train with; all by default.')
  flags.DEFINE_list('architectures', [], 'Architectures to train; both by default.')
  app.run(main)
