r"""Trains a config for every combination of several settings and prints a table of the results.

  python -m experiments.sweep --config=configs/quickstart.py --workdir=runs/sweep \
    --grid=dim=50,100 --grid=window=5,8 --seeds=3 --evaluation=wordsim353.tsv

The program runs `python -m experiments.train` for each combination and each seed, one after the
other, in a folder of the workdir such as dim=50,window=5,seed=0. The table has a row for each
combination: the mean loss of the last epoch, the speed, and the score on each file of --evaluation.
Each cell has the mean over the seeds, the lowest and the highest value. WORKDIR/sweep.md contains
the table, and WORKDIR/sweep.json all numbers.

To resume, run the same command again: finished runs are not repeated. With more values in a --grid,
only new combinations are trained. If a run fails, the program reports the error, continues with the
other runs, and exits with status 1.
"""

import itertools
import json
import math
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

from absl import app, flags

from jw2v.cli.report import loss_of_last_epoch, scores_of
from jw2v.cli.settings import kind_of
from jw2v.cli.tables import markdown_table, spread
from jw2v.cli.train import read_config
from jw2v.utils.files import atomic_write, expanded

_MEASURES = {'loss': '.3f', 'held_out_loss': '.3f', 'words_per_second': ',.0f'}
_OF_TEXT = ('max_vocab_size', 'min_count')  # settings that change the encoded text
_ROOT = pathlib.Path(__file__).parents[1]


def read_grid(arguments: Sequence[str]) -> dict[str, list[str]]:
  """Parses the values of each setting from arguments NAME=VALUE,VALUE.

  Raises:
    ValueError: an argument has another form, or a name or value is duplicate.
  """
  grid: dict[str, list[str]] = {}
  for argument in arguments:
    name, equals, values = argument.removeprefix('config.').partition('=')
    chosen = values.split(',')
    if not equals or not name or not all(chosen):
      raise ValueError(f'grid must be NAME=VALUE,VALUE such as dim=50,100; got {argument!r}')
    if name in grid or name == 'seed' or len(set(chosen)) < len(chosen):
      raise ValueError(
        f'grid must not repeat a name or value or contain seed, got {argument!r}; use --seeds=3'
      )
    grid[name] = chosen
  return grid


def combinations(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
  """Returns every combination of values; the last setting varies fastest."""
  return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def name_of(settings: Mapping[str, Any]) -> str:
  """Returns the name of a run's folder, such as dim=50,seed=0."""
  return ','.join(f'{name}={value}'.replace('/', '_') for name, value in settings.items())


def store_of(settings: Mapping[str, Any], config: str, workdir: pathlib.Path) -> str | None:
  """Returns the store that runs with the same text share; None if the data are not text.

  Args:
    settings: settings of the grid; some of them change the encoded text.
    config: the config file.
    workdir: the folder for all runs.
  """
  data = read_config(config)['data']
  if kind_of(data) != 'text' or 'store' not in data or data['store'] is not None:
    return None
  text = {n: x for n, x in settings.items() if n.startswith('data.') or n in _OF_TEXT}
  return str(workdir / name_of({'corpus': 'text', **text}))


def train(
  settings: Mapping[str, Any],
  config: str,
  folder: pathlib.Path,
  evaluation: str,
  store: str | None = None,
) -> dict:
  """Trains one run in a process, unless it is finished, and returns its last record.

  Raises:
    ValueError: the run failed, with its last line of output.
  """
  assignments = [f'--config.{name}={value}' for name, value in settings.items()]
  if store is not None:
    assignments.append(f'--config.data.store={store}')
  if evaluation:
    assignments.append(f'--config.evaluation=({evaluation},)')
  command = [sys.executable, '-m', 'experiments.train', f'--config={config}', f'--workdir={folder}']
  done = subprocess.run(
    [*command, '--quiet', *assignments], cwd=_ROOT, stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE, text=True, errors='replace',
  )  # fmt: skip
  if done.returncode:
    said = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix('error: ') for line in said if line.startswith('error: ')]
    raise ValueError((errors or said or [f'ended with {done.returncode}'])[-1])
  records = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  last: dict[str, Any] = {}
  for record in records:  # not every record has scores
    last |= {name: math.nan if x is None else x for name, x in record.items()}
  before, seconds = 0, 0.0
  for record in records:
    seconds += (record['words'] - before) / record['words_per_second']
    before = record['words']
  loss = loss_of_last_epoch(records)
  return {**last, 'loss': loss, 'words_per_second': before / seconds}


def table(results: Sequence[Mapping[str, Any]]) -> str:
  """Returns the results as a Markdown table with a row for each combination."""
  names = list(results[0]['settings'])
  measured = [run for result in results for run in result['runs']]
  scores = [name for name in scores_of(measured) if name != 'seed']
  columns = {name: form for name, form in _MEASURES.items() if any(name in r for r in measured)}
  columns |= dict.fromkeys(scores, '.3f')
  rows = [[*names, 'seeds', *columns]]
  for result in results:
    cells = [str(result['settings'][name]) for name in names]
    cells.append(str(len(result['runs'])))
    for name, form in columns.items():
      values = [run[name] for run in result['runs'] if name in run]
      cells.append(spread(values, form, statistics.fmean))
    rows.append(cells)
  return markdown_table(rows)


def run(values: Any) -> bool:
  """Trains all combinations, writes the table and returns whether every run succeeded."""
  grid = read_grid(values.grid)
  if not expanded(values.config).is_file():
    raise FileNotFoundError(f'config={values.config!r}: file not found')
  workdir = expanded(values.workdir).absolute()
  evaluation = ','.join(repr(str(expanded(file).absolute())) for file in values.evaluation)
  config, results, sound = str(expanded(values.config).absolute()), [], True
  chosen = combinations(grid)
  for number, settings in enumerate(chosen, start=1):
    runs = []
    for seed in range(values.seeds):
      named = {**settings, 'seed': seed}
      print(f'{number}/{len(chosen)} {name_of(named)} ... ', end='', file=sys.stderr, flush=True)
      try:
        store = store_of(settings, config, workdir)
        found = train(named, config, workdir / name_of(named), evaluation, store)
        runs.append({'seed': seed, **found})
        print(f'loss {runs[-1]["loss"]:.3f}', file=sys.stderr)
      except ValueError as error:
        print(f'failed: {error}', file=sys.stderr)
        sound = False
    results.append({'settings': settings, 'runs': runs})
    if any(result['runs'] for result in results):  # after each one, in case of an interrupt
      page = table(results)
      _write(workdir / 'sweep.md', page + '\n')
      _write(workdir / 'sweep.json', json.dumps(results, indent=2) + '\n')
  if any(result['runs'] for result in results):
    print(page)
  return sound


def _write(path, text):
  with atomic_write(path) as file:
    file.write(text.encode())


def main(argv: list[str]) -> int:
  """Runs the program and returns its exit status."""
  with process.one_line_errors():
    if len(argv) > 1:
      raise ValueError(f'{argv[1]!r} is not a flag; write settings as --grid=dim=50,100')
    return 0 if run(flags.FLAGS) else 1


if __name__ == '__main__':
  flags.DEFINE_string('config', None, 'File with a function get_config().', required=True)
  flags.DEFINE_string('workdir', None, 'Folder for all runs and the table.', required=True)
  flags.DEFINE_multi_string('grid', [], 'Setting and its values, NAME=VALUE,VALUE; repeatable.')
  flags.DEFINE_integer('seeds', 1, 'Number of runs of each combination, with seeds 0, 1, ...', 1)
  flags.DEFINE_multi_string('evaluation', [], 'File of pairs or analogies to score on; repeatable.')
  app.run(main)
