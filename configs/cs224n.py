r"""The assignment of Stanford's CS224n: skip-gram, width 10, on sentences of film reviews.

python -m experiments.train --config=configs/cs224n.py --workdir=runs/cs224n \
  --config.data.path=datasetSentences.txt

The file is in https://nlp.stanford.edu/~socherr/stanfordSentimentTreebank.zip.

EXPECT

The course trains 40,000 batches of 50 windows, with vectors that are centers and outsides end
to end. This trains the same number of windows, and draws the same words.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of the quickstart, but for these."""
  config = quickstart.get_config()
  config.data.path = 'datasetSentences.txt'
  config.data.lowercase = True
  config.data.word_pattern = ''  # The sentences are tokenized: white space separates.
  config.dim = 10
  config.window = 5
  config.negatives = 10
  # The number before each sentence is a word that occurs once, and so is left out.
  config.min_count = 2
  config.sample = 1e-4
  config.epochs = 10
  config.batch_size = 128  # A small text: with larger steps it takes fewer of them.
  config.show = (
    'great', 'cool', 'brilliant', 'wonderful', 'well', 'amazing', 'worth', 'sweet', 'enjoyable',
    'boring', 'bad', 'dumb', 'annoying', 'female', 'male', 'queen', 'king', 'man', 'woman',
    'rain', 'snow', 'hail', 'coffee', 'tea',
  )  # fmt: skip
  config.show_neighbors = 0  # Of each word in the picture: only these words.
  return config
