r"""Makes the figures of a page anew: runs the commands in it and puts in what they print.

  python -m benchmarks.update_docs docs/performance.md
  python -m benchmarks.update_docs docs/performance.md docs/scaling.md --only=cbow

A page holds, for each table,

  <!-- figures: python -m benchmarks.training --text=wiki8 ... -->
  <!-- end of figures -->

and between the two lines come the command, what it printed, and the machine, the versions and the
time. With --only, just the commands that contain the words. They run one after the other in the
root of the repository, as someone who reads the page would run them, which must hold the files
that they name (links will do): `wiki8`, a text, and `eval`, a folder of word sets; see
docs/performance.md. Nothing else should run on the machine. The page is written after each
command; where one fails the figures stay as they were, the others go on, and the exit status is 1.

What belongs here: the blocks of a page. What is measured is the business of each program.
"""

import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

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
  """A place of a page for figures.

  Attributes:
    command: what makes them.
    figures: what stands there now.
    start: where the block begins in the page.
    end: where it ends.
  """

  command: str
  figures: str
  start: int
  end: int


def blocks(page: str) -> Iterator[Block]:
  """The places for figures in a page.

  Raises:
    ValueError: a block does not end, or ends twice.
  """
  found = [Block(m[1], m[2], *m.span()) for m in _BLOCK.finditer(page)]
  begins, ends = page.count('<!-- figures: '), page.count('<!-- end of figures -->')
  if not len(found) == begins == ends:
    raise ValueError(f'of {begins} blocks of figures {ends} end: each once, before the next')
  yield from found


def without_figures(page: str) -> str:
  """The page without what its blocks hold."""
  return _BLOCK.sub('', page)


def fill(command: str, printed: str, made: str) -> str:
  """A block with what its command printed.

  Args:
    command: it.
    printed: by it, in markdown; its title and its own account of the machine are left out.
    made: where and when.

  Returns:
    The block.
  """
  body = _HEADING.sub(r'**\1**', _ENVIRONMENT.sub('', _TITLE.sub('', printed))).strip()
  shown = '\n'.join(f'    {line}' for line in command.split(' && '))
  return f'<!-- figures: {command} -->\n{shown}\n\n{body}\n\n*{made}*\n<!-- end of figures -->'


def run(command: str) -> str:
  """What a command prints, run by this Python in the root of the repository.

  Raises:
    ValueError: it failed, with the last line of what it said, or printed nothing.
  """
  with_this_python = re.sub(r'(^|&& )python ', rf'\1"{sys.executable}" ', command)
  done = subprocess.run(with_this_python, shell=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
  if done.returncode or not done.stdout.strip():
    raise ValueError(f'`{command}` ended with {done.returncode} and printed {done.stdout[-200:]!r}')
  return done.stdout


def renew(path: pathlib.Path, only: str) -> list[str]:
  """Makes the figures of a page anew; the errors of the commands that failed."""
  commands = [block.command for block in blocks(path.read_text(encoding='utf-8'))]
  failures = []
  for number, command in enumerate(commands):
    if only not in command:
      continue
    print(f'{path}: {command}', file=sys.stderr, flush=True)
    try:
      made = machine(_PACKAGES)  # with the load before it runs
      figures = fill(command, run(command), made)
    except ValueError as error:
      print(f'failed: {error}', file=sys.stderr)
      failures.append(str(error))
      continue
    page = path.read_text(encoding='utf-8')  # the text around may have been edited meanwhile
    block = list(blocks(page))[number]
    if block.command != command:
      raise ValueError(f'{path}: its blocks were changed meanwhile')
    with atomic_write(path) as file:
      file.write((page[: block.start] + figures + page[block.end :]).encode())
  return failures


def main(argv: list[str]) -> int:
  """Runs the program; its exit status."""
  with cli.one_line_errors():
    pages = [pathlib.Path(name) for name in argv[1:]]
    if not pages:
      raise ValueError('name a page, as docs/performance.md')
    for path in pages:
      if not any(flags.FLAGS.only in b.command for b in blocks(path.read_text(encoding='utf-8'))):
        raise ValueError(f'{path}: has no figures whose command contains {flags.FLAGS.only!r}')
    return 1 if [failure for path in pages for failure in renew(path, flags.FLAGS.only)] else 0


if __name__ == '__main__':
  flags.DEFINE_string('only', '', 'Words that a command must contain.')
  app.run(main)
