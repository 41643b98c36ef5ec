"""Import rules that import-linter cannot express, and checks that it reports violations."""

import shutil
import subprocess
import sys

import grimp
import layout
import pytest


@pytest.fixture(scope='module')
def graph():
  return grimp.build_graph('jw2v', include_external_packages=True, cache_dir=None)


def test_losses_import_jax_and_chex_alone(graph):
  allowed = sys.stdlib_module_names | {'chex', 'jax'}
  losses = graph.find_descendants('jw2v.losses') | {'jw2v.losses'}
  assert len(losses) > 5
  for module in losses:
    for imported in graph.find_modules_directly_imported_by(module):
      assert imported in losses or imported in allowed, f'{module} imports {imported}'


def test_the_graph_has_every_module(graph):
  assert set(layout.modules(private=True)) <= graph.modules


@pytest.mark.slow
@pytest.mark.parametrize(
  ('file', 'code', 'contract'),
  [
    ('jw2v/data/text.py', 'import jw2v.vectors.lookup', 'Packages of the library'),
    ('jw2v/vectors/lookup.py', 'import jw2v.data.text', 'Vectors work without the data'),
    ('jw2v/losses/window.py', 'def f():\n  from jw2v.config import TrainConfig', 'Packages of the'),
    ('jw2v/losses/window.py', 'import jw2v.utils.files', 'Losses use nothing else'),
    ('jw2v/losses/rows.py', 'import jw2v.optim', 'Packages of the library'),
    ('jw2v/optim.py', 'import jw2v', 'Modules do not import the public interface'),
    ('jw2v/training/loop.py', 'import experiments.tables', 'Programs import the library'),
    ('jw2v/training/loop.py', 'import configs.large', 'The library does not import'),
    ('jw2v/data/text.py', 'def f():\n  import jax', 'Data works without JAX'),
    ('jw2v/losses/_check.py', 'import jw2v.losses.window', 'Modules of a package'),
    ('jw2v/data/text.py', 'if TYPE_CHECKING:\n  import jw2v.vectors.lookup', 'Packages of the'),
  ],
)  # fmt: skip
def test_a_bad_import_is_noticed(tmp_path, file, code, contract):
  for name in ('jw2v', 'experiments', 'benchmarks'):
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(layout.ROOT / name, tmp_path / name, ignore=ignored)
  shutil.copy(layout.ROOT / 'pyproject.toml', tmp_path)
  with (tmp_path / file).open('a', encoding='utf-8') as module:
    module.write(f'\n{code}\n')
  program = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
  done = subprocess.run(
    [sys.executable, '-c', program, '--no-cache'],
    cwd=tmp_path, env={'PYTHONPATH': str(tmp_path)}, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 1, done.stdout + done.stderr
  (line,) = [line for line in done.stdout.splitlines() if line.startswith(contract)][:1]
  assert ' BROKEN' in line, done.stdout
