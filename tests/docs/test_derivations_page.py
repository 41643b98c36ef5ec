"""The textbook page says only what the library and its tests bear out."""

import importlib
import inspect
import pathlib
import re

import pytest

import jw2v
from jw2v.losses import derivatives, network, prediction, window

PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'derivations.md'
TEXT = PAGE.read_text(encoding='utf-8')
IDS = [f'D{i:02d}' for i in range(1, 50) if i not in (37, 40)]
NAMES = sorted(set(re.findall(r'`jw2v\.(\w+)`', TEXT)))
TESTS = sorted(set(re.findall(r'`tests/([\w/]+)\.py::([\w:]+)`', TEXT)))
# Displayed formulas, code blocks and code spans, taken out before inline `$` are counted.
_MATH_BLOCK = re.compile(r'^```math\n(.*?)^```$', re.M | re.S)
_CODE = re.compile(r'^```.*?^```$|`[^`\n]*`', re.M | re.S)


def public_functions(module):
  return [
    name
    for name, value in inspect.getmembers(module, inspect.isfunction)
    if value.__module__ == module.__name__ and hasattr(jw2v, name)
  ]


def test_the_page_names_functions_and_tests():
  assert len(NAMES) > 20 and len(TESTS) > 80  # otherwise the patterns above are stale


@pytest.mark.parametrize('name', NAMES)
def test_function_exists(name):
  assert name in getattr(jw2v, '__all__', ()) or hasattr(jw2v, name)


def module_of(file):
  return importlib.import_module(f'tests.{file.replace("/", ".")}')


@pytest.mark.parametrize(('file', 'path'), TESTS, ids=['::'.join(t) for t in TESTS])
def test_proof_exists(file, path):
  found = module_of(file)
  for part in path.split('::'):
    found = getattr(found, part)
  assert callable(found) and path.split('::')[-1].startswith('test_')


@pytest.mark.parametrize('id_', IDS)
def test_derivation_has_a_heading_a_function_and_a_proof(id_):
  section = re.search(rf'^### {id_} .+?(?=^#)', TEXT, re.M | re.S)
  assert section and re.search(r'^\*\*Function:\*\*[^*]*`jw2v\.', section[0], re.M)
  assert re.search(r'^\*\*Proof:\*\*\s+`tests/', section[0], re.M)


@pytest.mark.parametrize('module', [derivatives, prediction, window, network])
def test_every_function_of_the_mathematics_is_on_the_page(module):
  assert public_functions(module)
  assert set(public_functions(module)) <= set(NAMES)


def test_every_misprint_is_on_the_page():
  file = 'losses/test_misprints'
  written = {
    (file, f'{cls}::{test}')
    for cls, value in inspect.getmembers(module_of(file), inspect.isclass)
    for test in vars(value)
    if cls.startswith('Test') and test.startswith('test_')
  }
  assert written and written <= set(TESTS)


def test_formulas_are_delimited():
  """Blocks open and close, braces match, and each line of prose has its `$` in pairs."""
  for formula in _MATH_BLOCK.findall(TEXT) + re.findall(r'\$([^$\n]+)\$', _CODE.sub('', TEXT)):
    assert formula.strip() and formula.count('{') == formula.count('}'), formula
    assert formula.count(r'\begin{') == formula.count(r'\end{'), formula
    assert formula.count(r'\left') == formula.count(r'\right'), formula
  assert len(re.findall(r'^```', TEXT, re.M)) == 2 * len(re.findall(r'^```\w+$', TEXT, re.M))
  prose = _CODE.sub('', TEXT)
  assert '$$' not in prose, 'displayed formulas are ```math blocks'
  for line in prose.splitlines():
    assert line.count('$') % 2 == 0, line
    for formula in line.split('$')[1::2]:  # what Markdown would take for its own
      assert not re.search(r'\\[^a-zA-Z]|[\])}]_|[*|]|^\s|\s$', formula), formula
