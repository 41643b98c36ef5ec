r"""Updates the figures of pages: runs the commands in them and inserts their output.

  python -m benchmarks.update_docs docs/performance.md
  python -m benchmarks.update_docs docs/performance.md docs/scaling.md --only=cbow

For each table, a page contains the lines

  <!-- figures: python -m benchmarks.training --text=wiki8 ... -->
  <!-- end of figures -->

The program inserts between them the command, its output, the machine, the versions and the time.
--only selects the commands that contain a text. Commands run one after the other in the root of the
repository, as a reader of the page would run them. The root must contain the files that they name,
or links to them: `wiki8`, a text, and `eval`, a folder of data sets (see docs/performance.md). Run
nothing else on the machine meanwhile. The page is written after each command. If a command fails,
its figures do not change, the other commands still run, and the exit status is 1.
"""

import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

from absl import app, flags

from benchmarks.page import machine
from jw2v.utils.files import atomic_write

ROOT = pathlib.Path(__file__).parents[1]
_BLOCK = re.compile(r'<!-- figures: (.+?) -->\n(.*?)<!-- end of figures -->', re.S)
_TITLE = re.compile(r'\A# .*\n+')
_ENVIRONMENT = re.compile(r'^- (machine|versions|date|command): .*\n+', re.M)
_HEADING = re.compile(r'^##+ (.*)$', re.M)
_PACKAGES = ('jw2v', 'jax', 'jaxlib', 'numpy', 'gensim', 'fasttext', 'pyarrow')


class Block(NamedTuple):
  """A block of figures in a page.

  Attributes:
    command: the command that prints the figures.
    figures: the current content.
    start: position of its start in the page.
    end: position of its end.
  """

  command: str
  figures: str
  start: int
  end: int


def blocks(page: str) -> Iterator[Block]:
  """Yields the blocks of figures in a page.

  Raises:
    ValueError: a block does not end, or ends twice.
  """
  found = [Block(m[1], m[2], *m.span()) for m in _BLOCK.finditer(page)]
  begins, ends = page.count('<!-- figures: '), page.count('<!-- end of figures -->')
  if not len(found) == begins == ends:
    raise ValueError(
      f'each block of figures must end once, before the next; got {begins} starts and {ends} ends'
    )
  yield from found


def without_figures(page: str) -> str:
  """Returns the page without the content of its blocks."""
  return _BLOCK.sub('', page)


def fill(command: str, printed: str, made: str) -> str:
  """Returns a block with the output of its command.

  Args:
    command: the command.
    printed: its output in Markdown; the title and the description of the machine are dropped.
    made: the machine and the time.
  """
  body = _HEADING.sub(r'**\1**', _ENVIRONMENT.sub('', _TITLE.sub('', printed))).strip()
  shown = '\n'.join(f'    {line}' for line in command.split(' && '))
  return f'<!-- figures: {command} -->\n{shown}\n\n{body}\n\n*{made}*\n<!-- end of figures -->'


def run(command: str) -> str:
  """Runs a command with this Python in the root of the repository and returns its output.

  Raises:
    ValueError: the command failed or printed nothing.
  """
  with_this_python = re.sub(r'(^|&& )python ', rf'\1"{sys.executable}" ', command)
  done = subprocess.run(with_this_python, shell=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
  if done.returncode or not done.stdout.strip():
    raise ValueError(f'`{command}` ended with {done.returncode} and printed {done.stdout[-200:]!r}')
  return done.stdout


def renew(path: pathlib.Path, only: str) -> list[str]:
  """Updates the figures of a page and returns the errors of failed commands."""
  commands = [block.command for block in blocks(path.read_text(encoding='utf-8'))]
  failures = []
  for number, command in enumerate(commands):
    if only not in command:
      continue
    print(f'{path}: {command}', file=sys.stderr, flush=True)
    try:
      made = machine(_PACKAGES)  # with the load before the command
      figures = fill(command, run(command), made)
    except ValueError as error:
      print(f'failed: {error}', file=sys.stderr)
      failures.append(str(error))
      continue
    page = path.read_text(encoding='utf-8')  # the page may have been edited meanwhile
    block = list(blocks(page))[number]
    if block.command != command:
      raise ValueError(f'{path}: the blocks of figures changed meanwhile')
    with atomic_write(path) as file:
      file.write((page[: block.start] + figures + page[block.end :]).encode())
  return failures


def main(argv: list[str]) -> int:
  """Runs the program and returns its exit status."""
  with process.one_line_errors():
    pages = [pathlib.Path(name) for name in argv[1:]]
    if not pages:
      raise ValueError('name at least one page, such as docs/performance.md')
    for path in pages:
      if not any(flags.FLAGS.only in b.command for b in blocks(path.read_text(encoding='utf-8'))):
        raise ValueError(f'{path}: no command contains {flags.FLAGS.only!r}')
    return 1 if [failure for path in pages for failure in renew(path, flags.FLAGS.only)] else 0


if __name__ == '__main__':
  flags.DEFINE_string('only', '', 'Text that a command must contain.')
  app.run(main)
