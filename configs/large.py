r"""Skip-gram on a billion words, on one accelerator.

python -m experiments.train --config=configs/large.py --workdir=runs/large \
  --config.data.path='news/*.gz'

The text is read once, into `corpus` of the workdir or wherever --config.data.store says: 4 bytes
a word. The settings follow from what was measured on smaller texts. The run itself, on a billion
words and an accelerator, was not made yet: there is no time and no score to expect.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of the quickstart, but for these."""
  config = quickstart.get_config()
  config.data.path = 'text'
  config.dim = 300
  config.window = 5
  config.sample = 1e-5  # Of so much text, frequent words need fewer occurrences.
  config.min_count = 20
  config.max_vocab_size = 1_000_000
  config.epochs = 1
  config.batch_size = 8192  # Larger products; the damping holds larger steps.
  config.held_out = 0.001
  config.checkpoints.every = 600.0
  return config
