r"""Converts vectors from any format to any other, and on the way chooses, shortens, scales.

  python -m experiments.convert --input=vectors.bin --output=vectors.txt
  python -m experiments.convert --input=cc.en.300.bin --output=small.safetensors --limit=50000
  python -m experiments.convert --input=vectors.txt --output=projector/ --words=chosen.txt
  python -m experiments.convert --input=v.txt --output=v100.txt.gz --dim=100 --normalize

The format of the input is told by what is in it, that of the output by the ending of its name:
.bin (word2vec binary), .vec (fastText's text), .safetensors, .npz (NumPy), a folder, which is
written with / at its end (TensorBoard's projector), and else word2vec text; .gz compresses.
--from and --to name a format in place of that. In this order:

  --limit=N          the first N words, which are the most frequent in files of most tools
  --vocabulary=FILE  with --min_count=N: words counted N times or more in FILE, which has a
                     line "word count" for each (vocabulary.txt of an encoded corpus here;
                     -save-vocab of the C tool)
  --words=FILE       only the words of FILE, one a line, in the order of FILE; words that a
                     fastText model has not seen get vectors from their n-grams
  --dim=D            vectors D wide that keep as much of all inner products as such can: the
                     first D principal components, about zero and not about the mean
  --normalize        vectors of length 1; a zero vector stays as it is

All but --limit leave n-grams out: a fastText model becomes a list of words with their vectors.
Nothing is written where something is wrong.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

import jw2v
from jw2v.data.vocabulary import Vocabulary
from jw2v.utils.files import check_output
from jw2v.utils.limits import VECTORS_EXPANSION

_BLOCK = 1 << 16  # rows


def read_words(path: str | os.PathLike) -> list[str]:
  """The words of a file, one a line, each once; blank lines are left out.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is no UTF-8, or there is no word in it.
  """
  try:
    text = pathlib.Path(path).read_text('utf-8-sig')
  except UnicodeDecodeError as error:
    raise ValueError(f'{path}: {error}') from error
  words = list(dict.fromkeys(word for line in text.split('\n') if (word := line.strip('\r'))))
  if not words:
    raise ValueError(f'{path}: there is no word in it')
  return words


def chosen(
  kv: jw2v.KeyedVectors,
  words: Sequence[str] | None = None,
  vocabulary: Vocabulary | None = None,
  min_count: int = 1,
) -> jw2v.KeyedVectors:
  """The words of a list, or all, that are frequent enough.

  Args:
    kv: the vectors.
    words: only these, in their order; those without a vector are left out.
    vocabulary: says how frequent words are; one that is not in it has a count of 0.
    min_count: leave out words with a lower count.

  Raises:
    ValueError: no word is left.
  """
  kept = list(kv) if words is None else [word for word in words if word in kv]
  if vocabulary is not None:
    counts = dict(zip(vocabulary.words, vocabulary.counts.tolist(), strict=True))
    kept = [word for word in kept if counts.get(word, 0) >= min_count]
  if not kept:
    raise ValueError(f'none of the {len(kv):,} words is left')
  return kv.subset(kept)


def reduced(vectors: np.ndarray, dim: int) -> np.ndarray:
  r"""Narrower vectors that keep inner products as well as any of their width can.

  .. math:: X Q \quad\text{with}\quad X^\top X = Q \Lambda Q^\top

  and Q the eigenvectors of the `dim` largest eigenvalues: the error of the inner products
  \|X X^\top - Y Y^\top\| is the least of all Y with as many columns.

  Args:
    vectors: `[V, D]`.
    dim: the new width, from 1 to D.

  Returns:
    `[V, dim]` float32; the first column is that of the largest eigenvalue.

  Raises:
    ValueError: `dim` is not from 1 to D.

  References:
    Eckart and Young, `The approximation of one matrix by another of lower rank
    <https://doi.org/10.1007/BF02288367>`_, 1936.
  """
  width = vectors.shape[1]
  if not 1 <= dim <= width:
    raise ValueError(f'dim={dim}: must be from 1 to {width}, the width of the vectors')
  gram = np.zeros((width, width))
  for start in range(0, len(vectors), _BLOCK):
    block = vectors[start : start + _BLOCK].astype(np.float64)
    gram += block.T @ block
  _, directions = np.linalg.eigh(gram)  # the largest eigenvalue is the last
  largest = directions[:, ::-1][:, :dim]
  # An eigenvector has no sign of its own: its largest part is made positive.
  signs = np.sign(largest[np.abs(largest).argmax(axis=0), np.arange(dim)])
  basis = (largest * signs).astype(np.float32)
  return vectors @ basis


def run(values: Any) -> None:
  """Converts what the flags say."""
  if (values.vocabulary is None) != (values.min_count is None):
    raise ValueError('--min_count=N and --vocabulary=FILE, which has the counts, go together')
  is_folder = values.to == 'projector' or values.output.endswith(('/', os.sep))
  if not is_folder and not os.path.isdir(values.output):
    check_output(values.output)
  words = None if values.words is None else read_words(values.words)
  vocabulary = None if values.vocabulary is None else Vocabulary.load(values.vocabulary)
  kv = jw2v.load_vectors(
    values.input,
    values['from'].value,
    limit=values.limit,
    max_expansion=values.max_expansion or None,
  )
  before = kv
  if words is not None or vocabulary is not None:
    kv = chosen(kv, words, vocabulary, values.min_count or 0)
  if values.dim is not None:
    kv = jw2v.KeyedVectors(kv.index_to_key, reduced(kv.vectors, values.dim))
  if values.normalize:
    kv = jw2v.KeyedVectors(kv.index_to_key, kv.get_normed_vectors())
  if isinstance(before, jw2v.SubwordVectors) and not isinstance(kv, jw2v.SubwordVectors):
    print('the n-grams, which make vectors of unseen words, are left out')
  jw2v.save_vectors(kv, values.output, values.to)
  size = lambda kv: f'{len(kv):,} words, width {kv.vector_size}'
  print(f'{values.input}: {size(before)}\n{values.output}: {size(kv)}')
  if words is not None and (missing := [word for word in words if word not in before]):
    print(f'{len(missing):,} of {len(words):,} words have no vector, as {missing[0]!r}')


def main(argv: list[str]) -> None:
  """Runs the program; an error that the user can mend is one line."""
  with cli.one_line_errors():
    if len(argv) > 1:
      raise ValueError(f'{argv[1]!r} is no flag; files are written --input=A --output=B')
    run(flags.FLAGS)


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of the program."""
  define = {'flag_values': values}
  formats = list(jw2v.formats.registry.FORMATS)
  flags.DEFINE_string('input', None, 'File of vectors to read.', required=True, **define)
  flags.DEFINE_string('output', None, 'File of vectors to write.', required=True, **define)
  flags.DEFINE_enum('from', None, formats, 'Format of the input.', **define)
  flags.DEFINE_enum('to', None, formats, 'Format of the output.', **define)
  flags.DEFINE_integer('limit', None, 'Read only the first so many words.', 1, **define)
  flags.DEFINE_float(
    'max_expansion', VECTORS_EXPANSION,
    'A compressed file of vectors may become so many times as large; 0 for any.',
    lower_bound=0, **define
  )  # fmt: skip
  flags.DEFINE_string('words', None, 'File of the words to keep, one a line.', **define)
  flags.DEFINE_string('vocabulary', None, 'File of words and counts, for --min_count.', **define)
  flags.DEFINE_integer('min_count', None, 'Leave out words counted less often.', 1, **define)
  flags.DEFINE_integer('dim', None, 'The new width of the vectors.', 1, **define)
  flags.DEFINE_boolean('normalize', False, 'Make the length of all vectors 1.', **define)


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  app.run(main)
