"""Small corpora that several test modules train on."""

import numpy as np

from jw2v.data import kinds


def two_topics(lines=200, seed=0):
  """Returns sentences about one of two topics, with words that occur in both."""
  rng = np.random.default_rng(seed)
  topics = [[f'{t}{i}' for i in range(6)] + ['the', 'of'] for t in ('sea', 'land')]
  return [list(rng.choice(topics[i % 2], size=8)) for i in range(lines)]


# Texts in which a step of 1,000 windows touches a row hundreds or thousands of times.
HARD = {
  'one word': lambda: [['word'] * 50] * 100,
  'bursts': lambda: [line + ['burst'] * 500 * (i % 20 == 0) for i, line in enumerate(two_topics())],
  'the whole text': lambda: two_topics(400),
}


def is_plain(content):
  """Returns whether bytes are read unchanged: not compressed, UTF-16, or a known format."""
  head = content[: kinds.HEAD]
  return kinds.encoding_of(head) in (None, 'utf-8') and not (
    kinds.compression_of(head) or kinds.is_zip(head) or kinds.is_tar(head)
    or kinds.binary_kind(head)
  )  # fmt: skip
