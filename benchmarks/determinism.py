r"""Shows whether the same run gives the same bits here: every objective with every optimizer.

  python -m benchmarks.determinism
  python -m benchmarks.determinism --objectives=nce,naive_softmax --optimizers=adam

Each combination is trained on a small text that the program makes, five times: in two processes
started one after the other, in one that is stopped midway and in another that goes on from its
checkpoint, and in one that may use a single core. Compared are both tables, bit by bit, by their
SHA-256. The output is a markdown table; the exit status is 1 if the second process, or the one that
went on, came to other bits. What differs on one core is told and is no failure: that is not
promised.

What belongs here: the runs that are compared. Why they are equal is told in docs/reliability.md.
"""

import hashlib
import itertools
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

import jw2v
from benchmarks import workers
from experiments.tables import markdown_table
from jw2v.config import ARCHITECTURES, OBJECTIVES, OPTIMIZERS
from jw2v.training.checkpoints import Checkpoints, Stopped

_SETTINGS = {
  'dim': 16, 'window': 3, 'min_count': 1, 'sample': 1e-2, 'epochs': 2, 'batch_size': 96,
  'steps_per_call': 4,
}  # fmt: skip
_WORDS, _LINES, _LINE = 300, 200, 25
# How a process runs: all of it, as far as the middle, from there on, or all of it on one core.
_KINDS = ('whole', 'again', 'stopped', 'resumed', 'one core')

Case = tuple[str, str, str]  # architecture, objective, optimizer


def text() -> list[list[str]]:
  """Lines of words, few of them frequent and many rare, always the same."""
  ids = np.random.default_rng(0).zipf(1.3, (_LINES, _LINE)) % _WORDS
  return [[f'w{i}' for i in line] for line in ids.tolist()]


def train(case: Case, kind: str, folder: pathlib.Path) -> str:
  """Trains one combination; the SHA-256 of its tables.

  Args:
    case: the combination.
    kind: one of the five.
    folder: for the checkpoint; the process that goes on finds what the one that stopped left.

  Returns:
    The digits, or 'stopped'.
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
  """Trains the combinations of a job; what came out."""
  folder = pathlib.Path(job['folder'])
  return [train(tuple(case), job['kind'], folder) for case in job['cases']]


TASKS = {'train': work}


def run(cases: Sequence[Case]) -> dict[str, list[str]]:
  """What each kind of process came to, case by case.

  Raises:
    ValueError: a process failed; the message has the reason.
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
  """The table, and whether all that is promised was kept.

  Args:
    cases: the combinations.
    results: of `run`.

  Returns:
    Markdown: a row for each objective, a column for each optimizer.
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
    f'same: bit-identical tables in a second process, and after a stop and a resume in a third and '
    f'a fourth. On one core, in place of {os.cpu_count()}, {one_core} of {len(cases)} are the same '
    'too.'
  ), kept


def _choice(name, given, allowed):
  for value in given:
    if value not in allowed:
      raise ValueError(f'{name}={value!r}: allowed are {", ".join(map(repr, allowed))}')
  return given or allowed


def main(argv: list[str]) -> int:
  """Runs the program; its exit status."""
  with cli.one_line_errors():
    if len(argv) > 1:
      raise ValueError(f'{argv[1]!r} is no flag; what is trained is written --objectives=nce')
    values = flags.FLAGS
    objectives = _choice('objectives', values.objectives, OBJECTIVES)
    optimizers = _choice('optimizers', values.optimizers, OPTIMIZERS)
    architectures = _choice('architectures', values.architectures, ARCHITECTURES)
    cases = [(a, o, x) for o, a, x in itertools.product(objectives, architectures, optimizers)]
    made, kept = page(cases, run(cases))
    print(made)
  return 0 if kept else 1


if __name__ == '__main__':
  flags.DEFINE_list('objectives', [], 'Those to train; all if none is named.')
  flags.DEFINE_list('optimizers', [], 'Those to train with; all if none is named.')
  flags.DEFINE_list('architectures', [], 'Those to train; both if none is named.')
  app.run(main)
