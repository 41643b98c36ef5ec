"""Opens the vectors that a command names: a file, or the workdir of a run."""

import argparse
import os
from typing import Any

import jw2v
from jw2v.cli.arguments import Parser, expansion
from jw2v.utils.files import expanded
from jw2v.utils.limits import VECTORS_EXPANSION

_RESULTS = ('vectors.safetensors', 'vectors.txt')  # with n-grams the first has more


def add_arguments(parser: Parser) -> None:
  """Adds the file of vectors, as an argument or as --vectors, and the limit of its expansion."""
  parser.add(
    'file', nargs='?', metavar='VECTORS',
    help='file of vectors in any format that jw2v reads, or the workdir of a run',
  )  # fmt: skip
  parser.add('--vectors', metavar='FILE', help=argparse.SUPPRESS)
  add_expansion(parser)


def add_expansion(parser: Parser) -> None:
  """Adds the limit of the expansion of compressed files."""
  parser.add(
    '--max-expansion', kind=expansion, default=VECTORS_EXPANSION, metavar='N',
    help='largest allowed ratio of decompressed to compressed size; 0 for no limit '
    '(default: %(default)g)',
  )  # fmt: skip


def named(values: Any) -> str:
  """Returns the name of the file of vectors that the arguments give.

  Raises:
    ValueError: they give none, or two.
  """
  if (values.file is None) == (values.vectors is None):
    raise ValueError('name one file of vectors, such as vectors.txt; --help has examples')
  return values.file if values.vectors is None else values.vectors


def load(path: str, max_expansion: float | None = VECTORS_EXPANSION) -> jw2v.KeyedVectors:
  """Loads the vectors of a file, or of the workdir of a run.

  Raises:
    FileNotFoundError: the workdir has no vectors yet.
    OSError: the file cannot be read.
    ValueError: the file does not contain vectors.
  """
  return jw2v.load_vectors(find(path), max_expansion=max_expansion)


def find(path: str) -> str:
  """Returns the file of vectors in the workdir of a run; other paths unchanged."""
  folder = expanded(path)
  if not folder.is_dir() or (folder / 'vectors.tsv').exists():  # TensorBoard's projector
    return path
  for name in _RESULTS:
    if (folder / name).is_file():
      return os.fspath(folder / name)
  if (folder / 'checkpoints').is_dir():
    raise FileNotFoundError(f'{path}: this run has no vectors yet; run its command again to resume')
  return path
