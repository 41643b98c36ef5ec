"""Small corpora that several test modules train on."""

import numpy as np


def two_topics(lines=200, seed=0):
  """Returns sentences about one of two topics, with words that occur in both."""
  rng = np.random.default_rng(seed)
  topics = [[f'{t}{i}' for i in range(6)] + ['the', 'of'] for t in ('sea', 'land')]
  return [list(rng.choice(topics[i % 2], size=8)) for i in range(lines)]


# Texts whose steps of a thousand windows touch a row hundreds or thousands of times.
HARD = {
  'one word': lambda: [['word'] * 50] * 100,
  'bursts': lambda: [line + ['burst'] * 500 * (i % 20 == 0) for i, line in enumerate(two_topics())],
  'the whole text': lambda: two_topics(400),
}
