"""Docstrings and messages in plain English: mechanical rules, which do not replace a reader."""

import ast
import re

import pytest
from source import ROOT, messages_of

FOLDERS = ('jw2v', 'experiments', 'configs', 'benchmarks', 'examples', 'tests')
PARAPHRASES = {  # pattern: advice
  r'\b(is|are) no\b(?! longer)': 'write "is not a", "without" or "not found"',
  r'\b(is|are) there\b(?!fore)|\bthere (is|are) (no|one|none)\b': 'write "exists" or "not found"',
  r'\b(is|are) (asked for|told|refused)\b': 'name the agent: "X requests", "X prints", "X raises"',
  r'\b(goes|go|went) on\b': 'write "resumes" or "continues"',
  r'\bfrom \S+ on\b': 'write "at least N"',
  r'\b[Nn]obody\b|\b[Ww]hoever\b|\b[Ww]hatever\b': 'name the agent or the condition',
}
SUMMARIES = PARAPHRASES | {
  r'^(What|Which|Whether|Who|Those|That|Of|How|Where|When|Such|So) ': 'begin with a verb or a noun',
  r'^Returns (what|which|how|who|where)\b': 'name the result: "Returns the ..."',
  r'^(?!fastText|node2vec|safetensors)[a-z]': 'begin with an upper-case letter',
  r'[^.:]$': 'end with a period',
}
ENTRIES = {
  r'^(what|which|who|how|where|when|whether|of|those|that|at most so|so) ': (
    'begin with a noun phrase, or with "True to ..." or "True if ..." for a switch'
  ),
  r'^at the (start|end)\b': 'name the thing again: "learning rate at the start"',
}
MESSAGES = PARAPHRASES | {
  r'\btwice\b': 'write "duplicate"',
  r'\ballowed are\b': 'write "X must be one of ..., got ..."',
  r'\w=(\{\}|\w+): (must|needs|allowed|has|have|gives|stands)\b': 'write "X must be ..., got ..."',
  r'\bas it is\b': 'write "unchanged"',
  r'\bcannot hold\b': 'write "cannot represent"',
  r'\b[Rr]ow \{\} (has|says|repeats|promises)\b': 'write "row N must have ..., got ..."',
  r'^[A-Z][a-z]': 'begin with a lower-case letter',
  r'[^.]\.$': 'do not end with a period',
  r'(?s): (give|lower|raise|name|leave|set|write|choose) ': 'separate the remedy by a semicolon',
}


def violations(text: str, patterns: dict[str, str]) -> list[str]:
  """Returns the advice of each pattern that the text matches."""
  return [advice for pattern, advice in patterns.items() if re.search(pattern, text)]


def summary_of(docstring: str) -> str:
  """Returns the first paragraph of a docstring on one line."""
  return re.split(r'\n\s*\n', docstring)[0].replace('\n', ' ')


def entries_of(docstring: str) -> list[str]:
  """Returns the first line of the descriptions under Args and Attributes."""
  sections = re.findall(r'^(?:Args|Attributes):\n((?:  .*\n?|\n)+)', docstring, re.M)
  return [text for part in sections for text in re.findall(r'^  [\w*, ]+: (.*)', part, re.M)]


def docstring_violations(tree: ast.Module) -> list[str]:
  """Returns a line for each violation in the docstrings of a module."""
  found = []
  for node in ast.walk(tree):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
      docstring = ast.get_docstring(node) or ''
      checked = [(text, ENTRIES) for text in entries_of(docstring)]
      if docstring:
        checked.append((summary_of(docstring), SUMMARIES))
      line = node.body[0].lineno if node.body else 1
      for text, patterns in checked:
        found += [f'{line}: {text!r}: {advice}' for advice in violations(text, patterns)]
  return found


def message_violations(tree: ast.Module) -> list[str]:
  """Returns a line for each violation in the messages of a module."""
  return [
    f'{line}: {text!r}: {advice}'
    for line, text in messages_of(tree)
    for advice in violations(text, MESSAGES)
  ]


def all_violations(check, folders) -> list[str]:
  """Returns the violations in all modules of some folders, each with its file and line."""
  found = []
  for folder in folders:
    paths = sorted((ROOT / folder).rglob('*.py'))
    assert paths, folder
    for path in paths:
      tree = ast.parse(path.read_text(encoding='utf-8'))
      found += [f'{path.relative_to(ROOT)}:{line}' for line in check(tree)]
  return found


def explained(found: list[str]) -> str:
  """Returns a message with all violations."""
  return '\n'.join(['write in plain English (the rules are in tests/test_prose.py):', *found])


def test_docstrings_begin_with_the_usual_word():
  found = all_violations(docstring_violations, FOLDERS)
  assert not found, explained(found)


def test_messages_say_what_must_be():
  found = all_violations(message_violations, ['jw2v'])
  assert not found, explained(found)


@pytest.mark.parametrize('docstring', [
  'Whether the patience is at its end.', 'What a run tells.', 'Of each run the first.',
  'Returns what a file is.', 'A file that is no text.', 'Raises an error for a word that is there.',
  'The same command goes on.', 'Returns the numbers from 1 on.', 'Memory, where nobody tells.',
  'returns x.', 'Returns x', 'Good.\n\nArgs:\n  x: whether to wait.',
  'Good.\n\nAttributes:\n  rate, other: at the start.\n',
])  # fmt: skip
def test_finds_a_docstring(docstring):
  tree = ast.parse(f'def _f():\n  {docstring!r}\n')
  assert docstring_violations(tree)


@pytest.mark.parametrize('docstring', [
  'Returns the loss.', 'Training history.', 'Returns whether a file exists; None without one.',
  'Good.\n\nArgs:\n  x: True to wait.\n\nReturns:\n  x: what is free here.',
])  # fmt: skip
def test_accepts_a_docstring(docstring):
  assert not docstring_violations(ast.parse(f'class A:\n  {docstring!r}\n'))


@pytest.mark.parametrize('message', [
  "f'the word {x!r} is there twice'", "f'{x}: is there, and is no encoded corpus: name another'",
  "f'topn={x}: must be from 1 on'", "f'format={x!r}: allowed are a, b'", "'Wrong value'",
  "f'row {x} has {x} numbers'", "f'{x} must be at least 1.'", "f'{x}: there is no word in it'",
])  # fmt: skip
@pytest.mark.parametrize('raising', ['raise ValueError({})', 'logging.warning({}, 3)'])
def test_finds_a_message(message, raising):
  assert message_violations(ast.parse(raising.format(message)))


def test_accepts_a_message():
  tree = ast.parse("raise ValueError(f'x must be at least 1, got {x}; ' 'leave it out')")
  assert not message_violations(tree)
