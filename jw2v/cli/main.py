"""The entry point of the program `jw2v`."""

import importlib
import os
import sys
from collections.abc import Sequence

from jw2v.cli import process
from jw2v.cli.arguments import Parser, suggest

COMMANDS = {
  'train': 'train vectors on a text',
  'query': 'ask for neighbors, analogies and cosines at a prompt',
  'neighbors': 'print the nearest neighbors of words',
  'evaluate': 'score vectors on word similarity and analogies',
  'convert': 'change the format of vectors; select or shorten them',
  'plot': 'draw a map of words',
  'info': 'describe a file of vectors, a workdir or an encoded text',
}
_EXAMPLES = """\
  jw2v train corpus.txt.gz --dim 200 --output vectors.txt
  jw2v neighbors vectors.txt gold silver
  jw2v query vectors.txt
  jw2v evaluate vectors.txt wordsim353.tsv questions-words.txt
  jw2v convert vectors.txt vectors.safetensors
  jw2v plot vectors.txt --words gold,silver --output words.png"""


def usage() -> str:
  """Returns the help of the program."""
  width = max(map(len, COMMANDS))
  commands = '\n'.join(f'  {name:{width}}  {text}' for name, text in COMMANDS.items())
  return (
    f'usage: jw2v COMMAND ...\n\ncommands:\n{commands}\n\nexamples:\n{_EXAMPLES}\n\n'
    '`jw2v COMMAND --help` lists the flags of a command, and `jw2v --version` prints the version.'
  )


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs a command and returns its exit status.

  Args:
    arguments: the command and its arguments; None for the arguments of the process.
  """
  process.prepare_process(packages=())
  given = list(sys.argv[1:] if arguments is None else arguments)
  command, rest = (given[0], given[1:]) if given else (None, [])
  if command is None or command in ('-h', '--help', 'help'):
    print(usage())
    return 0 if command else 2
  if command in ('-V', '--version'):
    import jw2v

    print(f'jw2v {jw2v.__version__}')
    return 0
  if command not in COMMANDS:
    hint = suggest(command, COMMANDS) or f'choose from {", ".join(COMMANDS)}'
    if os.path.exists(command):
      hint = f'did you mean: jw2v train {command}'
    print(f'error: {command!r} is not a command of jw2v; {hint}', file=sys.stderr)
    return 2
  try:
    module = importlib.import_module(f'jw2v.cli.{command}')
  except ModuleNotFoundError as error:
    extra = 'plot' if command == 'plot' else 'text'
    print(f"error: {error.name} is not installed; run pip install 'jw2v[{extra}]'", file=sys.stderr)
    return 1
  parser = Parser(f'jw2v {command}', module.__doc__)
  module.add_arguments(parser)
  values = parser.parse(rest)
  process.FLAGS.mark_as_parsed()  # else absl notes before the first warning that they are not
  with process.one_line_errors():
    return module.run(values) or 0
