"""Skip-gram with the softmax of the textbook, over the whole vocabulary, on the speeches.

python -m experiments.train --config=configs/naive_softmax.py --workdir=runs/naive_softmax

Expected on two cores of an AMD EPYC: two minutes at 49,000 words/s, a loss of 7.91 (uniform
prediction: log 8,901 = 9.09), and neighbors such as taxes: burden, taxpayers, tax; gold: coins,
silver, coinage. A step scores all 8,901 words for each of its windows, in tiles of 1,024.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """Returns the settings of the quickstart, changed as below."""
  config = quickstart.get_config()
  config.objective = 'naive_softmax'
  config.epochs = 3  # Fewer epochs suffice, because each step updates every word.
  return config
