r"""The assignment of Stanford's CS224n: skip-gram of width 10 on sentences of film reviews.

python -m experiments.train --config=configs/cs224n.py --workdir=runs/cs224n \
  --config.data.path=datasetSentences.txt

The file is part of https://nlp.stanford.edu/~socherr/stanfordSentimentTreebank.zip.

Expected on two cores of an AMD EPYC: 4 seconds, 1.3 of them training at 1.7 M words/s, a loss of
3.21, and words.png, the picture of the course with two dozen words in the plane. With 220,000 words
and a width of 10, some neighbors are plausible (tea and coffee, wonderful and well, man and woman),
others are not (enjoyable and dumb).

The course trains 40,000 batches of 50 windows and draws the concatenated center and outside
vectors. This config trains the same number of windows and draws the center vectors of the same
words, except hail, which occurs less than twice in the text.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """Returns the settings of the quickstart, changed as below."""
  config = quickstart.get_config()
  config.data.path = 'datasetSentences.txt'
  config.data.lowercase = True
  config.data.word_pattern = ''  # The sentences are tokenized, so split at white space.
  config.dim = 10
  config.window = 5
  config.negatives = 10
  # Drops the number before each sentence, which occurs once.
  config.min_count = 2
  config.sample = 1e-4
  config.epochs = 10
  config.batch_size = 128  # A small text, which needs a large number of small steps.
  config.show = (
    'great', 'cool', 'brilliant', 'wonderful', 'well', 'amazing', 'worth', 'sweet', 'enjoyable',
    'boring', 'bad', 'dumb', 'annoying', 'female', 'male', 'queen', 'king', 'man', 'woman',
    'rain', 'snow', 'hail', 'coffee', 'tea',
  )  # fmt: skip
  config.show_neighbors = 0  # Draws only these words, without neighbors.
  return config
