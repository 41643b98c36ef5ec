r"""The assignment of Stanford's CS224n: skip-gram, width 10, on sentences of film reviews.

python -m experiments.train --config=configs/cs224n.py --workdir=runs/cs224n \
  --config.data.path=datasetSentences.txt

The file is in https://nlp.stanford.edu/~socherr/stanfordSentimentTreebank.zip.

Expect, on two cores of an AMD EPYC: 4 seconds, 1.3 of them training at 1.7 M words/s, a loss of
3.21, and words.png, the picture of the course: two dozen words in the plane. 220,000 words and a
width of 10 are little: tea is beside coffee, wonderful beside well, man beside woman, but enjoyable
beside dumb.

The course trains 40,000 batches of 50 windows and draws centers and outsides end to end; this
trains as many windows and draws the centers of the same words, of which the text has all but hail
twice.
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
