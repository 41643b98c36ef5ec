"""CBOW on text8, or another text of its format.

python -m experiments.train --config=configs/cbow.py --config.data.path=text8 --workdir=runs/cbow

EXPECT
"""

import ml_collections

from configs import text8


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of text8, but for the architecture."""
  config = text8.get_config()
  config.architecture = 'cbow'
  return config
