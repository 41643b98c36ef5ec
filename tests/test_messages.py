"""Messages of errors and warnings, each with the input that makes it.

The files in `tests/messages/` list the messages by package, in the notation of doctest: an input,
then the error or the warning. A file is one test, whose statements run in an empty folder. `...`
stands for any text. Blanks and line breaks count as the same. A message in the source that no file
lists fails the last test. `elsewhere.txt` names the messages that need several processes, a full
disk, bytes damaged in a certain place or the like, with the tests of their modules.
"""

import ast
import contextlib
import doctest
import importlib
import io
import logging
import pathlib
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from source import ROOT, messages_of

import jw2v
from jw2v.cli import main as cli
from jw2v.cli import process
from jw2v.training import run

FOLDER = ROOT / 'tests' / 'messages'
ELSEWHERE = FOLDER / 'elsewhere.txt'
FILES = sorted(set(FOLDER.glob('*.txt')) - {ELSEWHERE})
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples_of(path: pathlib.Path) -> list[doctest.Example]:
  """Returns the inputs of a file with the messages that follow them."""
  return doctest.DocTestParser().get_examples(path.read_text(encoding='utf-8'), path.name)


def program(*arguments: str) -> None:
  """Runs `jw2v` and prints what it writes to stderr."""
  stderr = io.StringIO()
  with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
    try:
      cli.main([str(argument) for argument in arguments])
    except SystemExit as ended:
      print(ended.code if isinstance(ended.code, str) else '', file=stderr)
  print(stderr.getvalue().strip())


class Printer(logging.Handler):
  """Prints logged warnings."""

  def emit(self, record):
    if record.levelno >= logging.WARNING:
      print(f'WARNING: {record.getMessage()}')


def printed_by(source: str, names: dict) -> str:
  """Runs a statement, and returns its output, its warnings and its error."""
  output, handler = io.StringIO(), Printer()
  logging.getLogger('absl').addHandler(handler)
  try:
    with contextlib.redirect_stdout(output), warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always')
      try:
        exec(compile(source, '<message>', 'exec'), names)
      except (Exception, SystemExit) as error:
        print(f'{type(error).__name__}: {error}')
    return output.getvalue() + ''.join(f'{w.category.__name__}: {w.message}\n' for w in caught)
  finally:
    logging.getLogger('absl').removeHandler(handler)


@pytest.fixture
def names(tmp_path, monkeypatch):
  """Names that the statements of a file may use."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(process.signal, 'signal', lambda *_: None)
  monkeypatch.setattr(run, 'num_cores', lambda: 2)
  modules = {'jw2v': jw2v, 'jax': jax, 'jnp': jnp, 'np': np, 'pathlib': pathlib}
  return {**modules, 'program': program, 'load': importlib.import_module}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_inputs_make_the_messages(path, names):
  examples = examples_of(path)
  assert any(example.want for example in examples)
  wrong = []
  for example in examples:
    got = printed_by(example.source, names)
    if not doctest.OutputChecker().check_output(example.want, got, FLAGS):
      line = example.lineno + 1
      wrong.append(f'{path.name}:{line}: {example.source}want: {example.want}got:  {got}')
  assert not wrong, '\n'.join(wrong)


def pattern_of(message: str) -> re.Pattern:
  """Returns a pattern for a message, in which anything stands for an inserted value."""
  parts = re.split(r'\{\}|%[.\d]*[sdrf]', ' '.join(message.split()))
  return re.compile('.*?'.join(re.escape(part) for part in parts))


def test_every_message_is_listed():
  wanted = [' '.join(e.want.split()) for path in FILES for e in examples_of(path) if e.want]
  elsewhere = {}
  for line in ELSEWHERE.read_text(encoding='utf-8').splitlines():
    test, _, message = line.partition(': ')
    assert (ROOT / test).is_file(), line
    elsewhere[message] = test
  missing, used = [], set()
  for path in sorted((ROOT / 'jw2v').rglob('*.py')):
    for line, message in messages_of(ast.parse(path.read_text(encoding='utf-8'))):
      if message in elsewhere:
        used.add(message)
      elif not any(pattern_of(message).search(text) for text in wanted):
        missing.append(f'{path.relative_to(ROOT)}:{line}: {message}')
  assert not missing, '\n'.join(['list these messages in tests/messages/:', *missing])
  assert not set(elsewhere) - used, 'these messages are not in the source any more'
