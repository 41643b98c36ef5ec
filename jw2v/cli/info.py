"""Describes a file of vectors, the workdir of a run, or an encoded text.

jw2v info vectors.bin
jw2v info runs/quickstart
jw2v info runs/quickstart/corpus
"""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

import jw2v
from jw2v.cli import vectors
from jw2v.cli.arguments import Parser
from jw2v.cli.query import show
from jw2v.cli.tables import plural
from jw2v.data.store import read_manifest
from jw2v.utils.files import expanded

_WORDS = 8  # words that are shown


def add_arguments(parser: Parser) -> None:
  """Adds the arguments of the command."""
  parser.add('path', metavar='PATH', help='file of vectors, workdir, or encoded text')
  vectors.add_expansion(parser)


def run(values: Any) -> None:
  """Prints the description."""
  path = expanded(values.path)
  if not path.exists():
    raise FileNotFoundError(f'{path}: file not found')
  rows: list[tuple[str, str]] = []
  if path.is_dir() and read_manifest(path) is not None:
    rows += _corpus(jw2v.open_corpus(path))
  else:
    if path.is_dir():
      rows += _workdir(path)
    found = vectors.find(values.path)
    if found != values.path or not rows:
      rows += _vectors(found, values.max_expansion)
  width = max(len(name) for name, _ in rows)
  print('\n'.join(f'{name:{width}}  {text}' for name, text in rows))


def _vectors(path: str, max_expansion: float | None) -> Iterator[tuple[str, str]]:
  kv = jw2v.load_vectors(path, max_expansion=max_expansion)
  yield 'vectors', f'{path}: {len(kv):,} words, width {kv.vector_size}'
  if os.path.isfile(expanded(path)):
    yield 'size', f'{os.path.getsize(expanded(path)) / 1e6:,.1f} MB'
  if isinstance(kv, jw2v.SubwordVectors):
    yield 'n-grams', f'{kv.ngrams.min_n} to {kv.ngrams.max_n} characters'
  norms = np.asarray(kv.norms)
  if len(norms):
    yield 'norms', f'{norms.mean():.3f} on average ({norms.min():.3f}..{norms.max():.3f})'
    yield 'first words', ', '.join(map(show, kv.index_to_key[:_WORDS]))


def _workdir(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
  if (folder / 'config.json').is_file():
    config = json.loads((folder / 'config.json').read_text(encoding='utf-8'))
    kept = ('architecture', 'objective', 'dim', 'window', 'epochs', 'learning_rate', 'seed')
    yield 'settings', ', '.join(f'{name}={config[name]}' for name in kept if name in config)
  if (folder / 'metrics.jsonl').is_file():
    lines = (folder / 'metrics.jsonl').read_text(encoding='utf-8').splitlines()
    if lines:
      last = json.loads(lines[-1])
      yield (
        'trained',
        (
          f'{last["words"]:,} words, epoch {last["epoch"]:.2f}, loss {last["loss"]:.3f}, '
          f'{last["words_per_second"]:,.0f} words/s'
        ),
      )
  steps = sorted(int(p.name) for p in folder.glob('checkpoints/*') if p.name.isdigit())
  if steps:
    yield 'checkpoints', f'{plural(len(steps), "checkpoint")}, the last of step {steps[-1]:,}'
  if read_manifest(folder / 'corpus') is not None:
    yield from _corpus(jw2v.open_corpus(folder / 'corpus'))


def _corpus(corpus: jw2v.EncodedCorpus) -> Iterator[tuple[str, str]]:
  yield (
    'text',
    (
      f'{corpus.words_read:,} words, of which {len(corpus.ids):,} are in the vocabulary; '
      f'{len(corpus.line_ends):,} lines'
    ),
  )
  counts = corpus.vocabulary.counts
  lowest = f'; the rarest occurs {plural(int(counts[-1]), "time")}' if len(counts) else ''
  yield 'vocabulary', f'{len(corpus.vocabulary):,} words{lowest}'
