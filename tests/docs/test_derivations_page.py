"""Textbook page: the library and its tests confirm its statements."""

import importlib
import inspect
import re

import jax
import layout
import pytest
import tiers

import jw2v

PAGE = layout.ROOT / 'docs' / 'derivations.md'
TEXT = PAGE.read_text(encoding='utf-8')
IDS = [f'D{i:02d}' for i in range(1, 53)]
NAMES = sorted(set(re.findall(r'`jw2v\.(\w+)`', TEXT)))
TESTS = sorted(set(re.findall(r'`tests/([\w/]+)\.py::([\w:]+)`', TEXT)))
MISPRINTS = re.findall(r'\[test\]\(\.\./tests/losses/test_misprints\.py "([\w:]+)"\)', TEXT)
# Lookups, draws and arithmetic are not derived.
NOT_DERIVED = {'jw2v.losses.noise', 'jw2v.losses.numerics', 'jw2v.losses.rows'}
MODULES = [
  name for name in layout.modules() if name.startswith('jw2v.losses.') and name not in NOT_DERIVED
]
NOT_IN_THE_CHEAT_SHEET = {'cross_entropy_loss', 'tiled_softmax_loss', 'two_layer_loss'}
# Displayed formulas, code blocks and code spans, taken out before inline `$` are counted.
_MATH_BLOCK = re.compile(r'^```math\n(.*?)^```$', re.M | re.S)
_PYTHON_BLOCK = re.compile(r'^```python\n(.*?)^```$', re.M | re.S)
_CODE = re.compile(r'^```.*?^```$|`[^`\n]*`', re.M | re.S)
# The text below each heading, which starts with '## ' or '### '.
SECTIONS = dict(part.split('\n', 1) for part in re.split(r'^(?=##)', TEXT, flags=re.M)[1:])


def numpy_lines():
  """Returns the NumPy lines of each section by heading, after the lines that they require."""
  setup = chapter = ''
  lines = {}
  for heading, text in SECTIONS.items():
    code = ''.join(_PYTHON_BLOCK.findall(text))
    if heading == '## Conventions':
      setup = code
    elif heading.startswith('## '):
      chapter = code
    elif code:
      lines[heading.strip('# ')] = setup + chapter + code
  return lines


def public_functions(module):
  return [
    name
    for name, value in inspect.getmembers(importlib.import_module(module), inspect.isfunction)
    if value.__module__ == module and hasattr(jw2v, name)
  ]


def anchor(heading):
  return re.sub(r'[^\w\- ]', '', heading.strip('# ').lower()).replace(' ', '-')


def test_the_page_names_functions_and_tests():
  assert len(NAMES) > 30 and len(TESTS) > 60 and len(MISPRINTS) > 60  # or a pattern is stale


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
def test_derivation_has_a_heading_numpy_lines_a_function_and_a_proof(id_):
  (text,) = [text for heading, text in SECTIONS.items() if heading.startswith(f'### {id_} ')]
  assert re.search(r'^\*\*Function:\*\*[^*]*`jw2v\.', text, re.M)
  assert re.search(r'^\*\*Proof:\*\*\s+\[`tests/', text, re.M)
  (code,) = _PYTHON_BLOCK.findall(text)
  assert re.search(r'jw2v\.|grads\.', code)  # the library's result, to compare with


@pytest.fixture
def restored_precision():
  before = jax.config.jax_enable_x64
  yield
  jax.config.update('jax_enable_x64', before)


@pytest.mark.usefixtures('restored_precision')
@pytest.mark.parametrize(
  'heading', tiers.fast([x for x in numpy_lines() if x.startswith('D0')], list(numpy_lines()))
)
def test_numpy_lines_run(heading):
  exec(compile(numpy_lines()[heading], heading, 'exec'), {})


@pytest.mark.parametrize('module', MODULES)
def test_every_function_of_the_mathematics_is_on_the_page(module):
  assert set(public_functions(module)) & set(jw2v.__all__) <= set(NAMES)


def test_every_misprint_is_on_the_page():
  written = [
    f'{cls}::{test}'
    for cls, value in inspect.getmembers(module_of('losses/test_misprints'), inspect.isclass)
    for test in vars(value)
    if cls.startswith('Test') and test.startswith('test_')
  ]
  assert written and sorted(written) == sorted(MISPRINTS)


def test_a_misprint_is_below_the_name_of_its_class_and_beside_its_number():
  for heading, text in SECTIONS.items():
    for number, cls, test in re.findall(r'^\| \[(D\d\d)\].*"(\w+)::test_(\w+)"', text, re.M):
      assert f'(`{cls}`)' in heading and test.startswith(f'{number.lower()}_'), test


def test_every_loss_is_in_the_cheat_sheet():
  losses = {name for module in MODULES for name in public_functions(module)}
  losses = {name for name in losses if name.endswith('_loss')} - NOT_IN_THE_CHEAT_SHEET
  assert losses <= set(re.findall(r'^\|.*`jw2v\.(\w+_loss)`', SECTIONS['## Cheat sheet'], re.M))


def test_every_question_links_to_sections():
  rows = re.findall(r'^\| .*\d \(\w\) \|.*', SECTIONS['## Questions of assignments'], re.M)
  assert len(rows) == 14 and all(re.search(r'\[D\d\d\]\(#d\d\d-', row) for row in rows)


def test_links_within_the_page_resolve():
  anchors = {anchor(heading) for heading in SECTIONS} | set(re.findall(r'<a id="([^"]+)">', TEXT))
  assert set(re.findall(r'\]\(#([^)]+)\)', TEXT)) <= anchors
  for id_, target in re.findall(r'\[(D\d\d)\]\(#([^)]+)\)', TEXT):
    assert target.startswith(f'{id_.lower()}-'), target


def test_functions_and_proofs_link_to_their_files():
  functions = re.findall(r'\[`jw2v\.(\w+)`\]\(\.\./(\S+)\.py\)', TEXT)
  assert len(functions) == len(re.findall(r'`jw2v\.\w+`', TEXT))
  for name, file in functions:
    if hasattr(jw2v, name):  # else `test_function_exists` fails
      assert getattr(jw2v, name).__module__ == file.replace('/', '.'), name
  proofs = re.findall(r'\[`tests/(\S+)\.py::\S+`\]\(\.\./tests/(\S+)\.py\)', TEXT)
  assert len(proofs) == len(re.findall(r'`tests/[\w/]+\.py::\w', TEXT))
  assert all(named == linked for named, linked in proofs)


def test_formulas_are_delimited():
  """Checks that blocks open and close, braces match, and each line has pairs of `$`."""
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
