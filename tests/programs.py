"""Helpers that run the programs of `experiments` and `benchmarks` and read their output."""

import pathlib
import subprocess
import sys

from benchmarks import quality
from jw2v.cli.arguments import Parser

ROOT = pathlib.Path(__file__).parents[1]
QUICK = ['--config.epochs=2', '--config.dim=8', '--config.min_count=1', '--config.sample=0']


def run(module, *arguments, **options):
  """Runs a program such as `experiments.train` in the root of the repository."""
  command = [sys.executable, '-m', module, *map(str, arguments)]
  options = {'cwd': ROOT, 'capture_output': True, 'text': True, 'timeout': 300, **options}
  return subprocess.run(command, **options)


def parsed(command, *arguments):
  """Returns the parsed arguments of a command, for its function `run`."""
  parser = Parser('jw2v command', '')
  command.add_arguments(parser)
  return parser.parse(list(map(str, arguments)))


def train(workdir, *arguments):
  """Runs the launcher with the config of the quickstart."""
  return run(
    'experiments.train', '--config=configs/quickstart.py', f'--workdir={workdir}', *arguments
  )


def rows(page):
  """Returns the cells of all Markdown tables of a page, keyed by the first cell of each row."""
  lines = [line for line in page.splitlines() if line.startswith('|')]
  cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
  return {first: rest for first, *rest in cells if set(first) != {'-'}}


def write_data_sets(folder):
  """Writes the data sets of the benchmark over the words sea1, sea2, sea3, land1 and land2."""
  pairs = 'sea1\tsea2\t9.5\nsea3\tland2\t1\nSea1 LAND1 2\nsea1 unknown 3\n'
  for name in quality.PAIRS.values():
    (folder / name).write_text(pairs)
  (folder / 'questions-words.txt').write_text(': places\nsea1 sea2 land1 land2\na b c d\n')
  return folder
