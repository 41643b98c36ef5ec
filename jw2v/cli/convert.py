r"""Converts vectors between formats, and selects, shortens or normalizes them.

  jw2v convert vectors.bin vectors.txt
  jw2v convert cc.en.300.bin small.safetensors --limit 50000
  jw2v convert vectors.txt projector/ --words chosen.txt
  jw2v convert v.txt v100.txt.gz --dim 100 --normalize

The program detects the format of the input from its content, and the format of the output from the
file extension: .bin (word2vec binary), .vec (fastText's text), .safetensors, .npz (NumPy),
.parquet, .arrow or .feather, a folder with a trailing / (TensorBoard's projector), otherwise
word2vec text. The extensions .gz, .bz2 and .xz compress text and .bin. --from and --to override the
detected format; --from glove reads text whose words contain spaces, and --to static_embedding
writes a folder that sentence-transformers opens. These flags apply in this order:

  --limit=N          the first N words, which are the most frequent in files of most tools
  --vocabulary=FILE  with --min_count=N: words with a count of at least N in FILE, which has a
                     line "word count" for each word (vocabulary.txt of an encoded corpus, or
                     the file of -save-vocab of the C tool)
  --words=FILE       only the words of FILE, one per line, in the order of FILE; for a fastText
                     model, n-grams give vectors of out-of-vocabulary words
  --dim=D            vectors of width D that preserve inner products best: the first D principal
                     components without centering
  --normalize        vectors of length 1; zero vectors stay zero

All flags but --limit drop n-grams, so a fastText model becomes a list of words with vectors.
After an error no file is written.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

import jw2v
from jw2v.cli import vectors
from jw2v.cli.arguments import Parser, positive
from jw2v.data.vocabulary import Vocabulary
from jw2v.formats.registry import FOLDERS, check_path
from jw2v.utils.files import check_output, expanded

_BLOCK = 1 << 16  # rows


def read_words(path: str | os.PathLike) -> list[str]:
  """Returns the distinct words of a file with one word per line, without blank lines.

  Raises:
    OSError: the file cannot be read.
    ValueError: the file is not UTF-8, or contains no words.
  """
  try:
    text = expanded(path).read_text('utf-8-sig')
  except UnicodeDecodeError as error:
    raise ValueError(f'{path}: {error}') from error
  words = list(dict.fromkeys(word for line in text.split('\n') if (word := line.strip('\r'))))
  if not words:
    raise ValueError(f'{path}: contains no words')
  return words


def chosen(
  kv: jw2v.KeyedVectors,
  words: Sequence[str] | None = None,
  vocabulary: Vocabulary | None = None,
  min_count: int = 1,
) -> jw2v.KeyedVectors:
  """Selects words by a list and by their count.

  Args:
    kv: the vectors.
    words: words to keep, in this order, without words that have no vector. None keeps all.
    vocabulary: counts of words; other words have a count of 0. None keeps all.
    min_count: lowest count to keep.

  Raises:
    ValueError: no word remains.
  """
  kept = list(kv) if words is None else [word for word in words if word in kv]
  if vocabulary is not None:
    counts = dict(zip(vocabulary.words, vocabulary.counts.tolist(), strict=True))
    kept = [word for word in kept if counts.get(word, 0) >= min_count]
  if not kept:
    raise ValueError(f'none of the {len(kv):,} words remains')
  return kv.subset(kept)


def reduced(vectors: np.ndarray, dim: int) -> np.ndarray:
  r"""Reduces the width of vectors while preserving inner products best.

  .. math:: X Q \quad\text{with}\quad X^\top X = Q \Lambda Q^\top

  where Q has the eigenvectors of the `dim` largest eigenvalues. No other Y with as many columns has
  a smaller error of inner products \|X X^\top - Y Y^\top\|.

  Args:
    vectors: `[V, D]`.
    dim: the new width, from 1 to D.

  Returns:
    `[V, dim]` float32, ordered by decreasing eigenvalue.

  Raises:
    ValueError: `dim` is less than 1 or greater than D.

  References:
    Eckart and Young, `The approximation of one matrix by another of lower rank
    <https://doi.org/10.1007/BF02288367>`_, 1936.
  """
  width = vectors.shape[1]
  if not 1 <= dim <= width:
    raise ValueError(f'dim must be between 1 and {width}, the width of the vectors; got {dim}')
  gram = np.zeros((width, width))
  for start in range(0, len(vectors), _BLOCK):
    block = vectors[start : start + _BLOCK].astype(np.float64)
    gram += block.T @ block
  _, directions = np.linalg.eigh(gram)  # the largest eigenvalue is the last
  largest = directions[:, ::-1][:, :dim]
  # The sign of an eigenvector is arbitrary, so its largest component is made positive.
  signs = np.sign(largest[np.abs(largest).argmax(axis=0), np.arange(dim)])
  basis = (largest * signs).astype(np.float32)
  return vectors @ basis


def run(values: Any) -> None:
  """Converts the file that the arguments name."""
  values.input, values.output = _named(values)
  if (values.vocabulary is None) != (values.min_count is None):
    raise ValueError(
      '--min_count=N needs --vocabulary=FILE, and --vocabulary=FILE needs --min_count=N'
    )
  path, format = check_path(values.output, values.to)
  if format not in FOLDERS:
    check_output(path)
  words = None if values.words is None else read_words(values.words)
  vocabulary = None if values.vocabulary is None else Vocabulary.load(values.vocabulary)
  kv = jw2v.load_vectors(
    vectors.find(values.input), values.source, limit=values.limit,
    max_expansion=values.max_expansion,
  )  # fmt: skip
  before = kv
  if words is not None or vocabulary is not None:
    kv = chosen(kv, words, vocabulary, values.min_count or 0)
  if values.dim is not None:
    kv = jw2v.KeyedVectors(kv.index_to_key, reduced(kv.vectors, values.dim))
  if values.normalize:
    kv = jw2v.KeyedVectors(kv.index_to_key, kv.get_normed_vectors())
  if isinstance(before, jw2v.SubwordVectors) and not isinstance(kv, jw2v.SubwordVectors):
    print('n-grams are dropped: the output has no vectors for out-of-vocabulary words')
  jw2v.save_vectors(kv, values.output, values.to)
  size = lambda kv: f'{len(kv):,} words, width {kv.vector_size}'
  print(f'{values.input}: {size(before)}\n{values.output}: {size(kv)}')
  if words is not None and (missing := [word for word in words if word not in before]):
    print(f'{len(missing):,} of {len(words):,} words have no vector, such as {missing[0]!r}')


def _named(values):
  """Returns the input and the output, given as two arguments or as flags."""
  files = list(values.files)
  source = values.input if values.input is not None else (files.pop(0) if files else None)
  target = values.output if values.output is not None else (files.pop(0) if files else None)
  if source is None or target is None or files:
    raise ValueError('name the file to read and the file to write: jw2v convert v.bin v.txt')
  return source, target


def add_arguments(parser: Parser) -> None:
  """Adds the arguments of the command."""
  formats = list(jw2v.formats.registry.FORMATS)
  parser.add('files', nargs='*', metavar='INPUT OUTPUT', help='files to read and to write')
  parser.add('--input', metavar='FILE', help=argparse.SUPPRESS)
  parser.add('--output', metavar='FILE', help=argparse.SUPPRESS)
  parser.add('--from', dest='source', choices=formats, help='format of the input')
  parser.add('--to', choices=formats, help='format of the output')
  parser.add('--limit', kind=positive, metavar='N', help='number of words to read')
  parser.add('--words', metavar='FILE', help='file of the words to keep, one per line')
  parser.add('--vocabulary', metavar='FILE', help='file of words and counts, for --min-count')
  parser.add('--min-count', kind=positive, metavar='N', help='lowest count of a word to keep')
  parser.add('--dim', kind=positive, metavar='D', help='new width of the vectors')
  parser.add('--normalize', action='store_true', help='scale all vectors to length 1')
  vectors.add_expansion(parser)
