"""Skip-gram with the softmax of the textbook, over the whole vocabulary, on the speeches.

python -m experiments.train --config=configs/naive_softmax.py --workdir=runs/naive_softmax

Expect, on two cores of an AMD EPYC: two minutes at 49,000 words/s, a loss of 7.91 (of a guess:
log 8,901 = 9.09), and neighbours such as taxes: burden, taxpayers, tax; gold: coins, silver,
coinage. A step costs all 8,901 words for each of its windows, in tiles of 1,024.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of the quickstart, but for these."""
  config = quickstart.get_config()
  config.objective = 'naive_softmax'
  config.epochs = 3  # Every step moves every word: it takes fewer of them.
  return config
