"""The tables at the start of a run: drawn at random, or those of an earlier run.

What belongs here: which vector each word begins with.
"""

import jax.numpy as jnp
import numpy as np

from jw2v.vectors import KeyedVectors
from jw2v.vocabulary import Vocabulary
from jw2v.windows import Word2VecParams


def init_params(generator: np.random.Generator, num_words: int, dim: int) -> Word2VecParams:
  """The tables before training, as in the C tool.

  Args:
    generator: of the host.
    num_words: V.
    dim: D.

  Returns:
    Input vectors uniform in [-1/2D, 1/2D), output vectors zero; float32.
  """
  shape = (num_words, dim)
  center = (generator.random(shape, np.float32) - np.float32(0.5)) / np.float32(dim)
  return Word2VecParams(jnp.asarray(center), jnp.asarray(np.zeros_like(center)))


def check_width(vectors: KeyedVectors, dim: int) -> None:
  """Raises a `ValueError` if the vectors are not of width `dim`."""
  if vectors.vector_size != dim:
    raise ValueError(f'dim={dim}: the vectors to start from have width {vectors.vector_size}')


def resume_params(
  params: Word2VecParams,
  vocabulary: Vocabulary,
  vectors: KeyedVectors,
  outside: np.ndarray | None = None,
) -> Word2VecParams:
  """Puts the vectors of an earlier run in the rows of their words.

  Args:
    params: tables for the words of `vocabulary`, kept for words that are new.
    vocabulary: the words of this run.
    vectors: the words and input vectors of the earlier one.
    outside: `[len(vectors), D]` its output vectors, if there are any.

  Returns:
    New tables.

  Raises:
    ValueError: the vectors are of another width, or no word is in both.
  """
  check_width(vectors, params.center.shape[1])
  index = vectors.key_to_index
  shared = [(i, index[word]) for i, word in enumerate(vocabulary.words) if word in index]
  if not shared:
    raise ValueError('none of the words of the corpus has a vector to start from')
  new, old = np.array(shared).T

  def replaced(table, rows):
    table = np.array(table)
    table[new] = np.asarray(rows)[old]
    return jnp.asarray(table)

  center = replaced(params.center, vectors.vectors)
  return Word2VecParams(
    center, params.outside if outside is None else replaced(params.outside, outside)
  )
