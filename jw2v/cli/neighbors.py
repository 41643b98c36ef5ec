"""Prints the nearest neighbors of words, by cosine.

  jw2v neighbors vectors.txt gold silver
  jw2v neighbors runs/quickstart gold --topn 20

A line has a word and its neighbors, the nearest first. If a word is unknown, its lower case is
used. `jw2v query` prints cosines, and answers analogies.
"""

import sys
from typing import Any

from jw2v.cli import query, vectors
from jw2v.cli.arguments import Parser, positive


def add_arguments(parser: Parser) -> None:
  """Adds the arguments of the command."""
  vectors.add_arguments(parser)
  parser.add('words', nargs='*', metavar='WORD', help='words whose neighbors to print')
  parser.add(
    '--topn', kind=positive, default=10, metavar='N',
    help='number of neighbors (default: %(default)s)',
  )  # fmt: skip


def run(values: Any) -> int:
  """Prints the neighbors and returns the exit status; 1 if a word is unknown."""
  if values.vectors is not None and values.file is not None:
    values.words, values.file = [values.file, *values.words], None
  path = vectors.named(values)
  if not values.words:
    raise ValueError('name at least one word: jw2v neighbors vectors.txt gold')
  kv = vectors.load(path, values.max_expansion)
  shown, sound = [], True
  for asked in values.words:
    try:
      word = query.known(kv, asked)
      near = kv.most_similar(word, topn=values.topn)
      shown.append((query.show(word), ', '.join(query.show(other) for other, _ in near)))
    except KeyError as error:
      print(f'error: {error.args[0]}', file=sys.stderr)
      sound = False
  width = max((len(word) for word, _ in shown), default=0)
  for word, near in shown:
    print(f'{word:>{width}}: {near}')
  return 0 if sound else 1
