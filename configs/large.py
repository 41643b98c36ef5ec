r"""Skip-gram on a billion words, on one accelerator.

python -m experiments.train --config=configs/large.py --workdir=runs/large \
  --config.data.path='news/*.gz'

The run reads the text once and writes it, with 4 bytes per word, to `corpus` in the workdir or to
--config.data.store. The settings follow from measurements on smaller texts. This config has not yet
been run on a billion words, so the expected time and scores are unknown.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """Returns the settings of the quickstart, changed as below."""
  config = quickstart.get_config()
  config.data.path = 'text'
  config.dim = 300
  config.window = 5
  config.sample = 1e-5  # In a long text, frequent words need fewer occurrences.
  config.min_count = 20
  config.max_vocab_size = 1_000_000
  config.epochs = 1
  config.batch_size = 8192  # Larger matrix products; the damped step remains stable.
  config.held_out = 0.001
  config.checkpoints.every = 600.0
  return config
