"""Skip-gram with the softmax of the textbook, over the whole vocabulary, on the speeches.

python -m experiments.train --config=configs/naive_softmax.py --workdir=runs/naive_softmax

EXPECT
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of the quickstart, but for these."""
  config = quickstart.get_config()
  config.objective = 'naive_softmax'
  config.epochs = 3  # Every step moves every word: it takes fewer of them.
  return config
