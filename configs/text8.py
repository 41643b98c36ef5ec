"""Skip-gram on text8, 100 MB of Wikipedia, or another text of its format.

curl -O https://mattmahoney.net/dc/text8.zip && unzip text8.zip
python -m experiments.train --config=configs/text8.py --config.data.path=text8 --workdir=runs/text8

EXPECT
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of the quickstart, but for these."""
  config = quickstart.get_config()
  config.data.path = 'text8'
  config.data.lowercase = False  # It is.
  config.data.word_pattern = ''  # White space is all that stands between words.
  config.window = 5
  config.min_count = 5
  config.epochs = 4
  config.show = ('king', 'water', 'music', 'paris', 'theory', 'german', 'seven', 'computer')
  return config
