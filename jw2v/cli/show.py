"""Chooses words of the text that illustrate the vectors of a run."""

import itertools

import numpy as np

import jw2v

_MOST_WORDS = 5000  # of the vocabulary, the most frequent
_FIRST_RANK = 100  # more frequent words are seldom content words
_FEWEST = 20  # occurrences: a rare word has a poor vector
_PIECES, _PIECE = 64, 1 << 16  # pieces of the text that are counted, and tokens of one at most


def typical_words(corpus: jw2v.EncodedCorpus, count: int = 10) -> list[str]:
  """Returns frequent content words of a text, spread over its vocabulary.

  Function words occur everywhere at the same rate, and content words in some places of a text. So
  each of `count` bands of ranks gives the word whose counts in pieces of the text vary most beside
  their mean. A band is wider than the one before it by the same factor.

  Args:
    corpus: the encoded text.
    count: number of words; a small vocabulary has fewer.
  """
  words, counts = corpus.vocabulary.words, np.asarray(corpus.vocabulary.counts)
  size = min(len(words), _MOST_WORDS)
  frequent = counts[:size] >= min(_FEWEST, counts[min(size, 2 * count) - 1])
  size = max(int(np.count_nonzero(frequent)), min(size, count))
  if size <= 2 * count:  # items or nodes: few enough to show the first ones
    return list(words[:count])
  found = np.zeros((_PIECES, size))
  length = min(_PIECE, max(1, len(corpus.ids) // _PIECES))
  for piece, start in enumerate(np.linspace(0, len(corpus.ids) - length, _PIECES).astype(int)):
    ids = np.asarray(corpus.ids[start : start + length])
    found[piece] = np.bincount(ids[ids < size], minlength=size)
  uneven = found.var(axis=0) / np.maximum(found.mean(axis=0), 1e-9)
  plain = np.array(
    [word.isalpha() and (len(word) > 3 or not word.isascii()) for word in words[:size]]
  )
  uneven = np.where(plain, uneven, -1) if plain.any() else uneven
  edges = np.geomspace(min(_FIRST_RANK, size // 4) + 1, size + 1, count + 1).astype(int) - 1
  chosen = []
  for start, end in itertools.pairwise(edges):
    best = start + int(np.argmax(uneven[start:end])) if end > start else None
    if best is not None and uneven[best] >= 0:
      chosen.append(words[best])
  return chosen
