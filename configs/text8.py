"""Skip-gram on text8, 100 MB of Wikipedia, or another text of its format.

curl -O https://mattmahoney.net/dc/text8.zip && unzip text8.zip
python -m experiments.train --config=configs/text8.py --config.data.path=text8 --workdir=runs/text8

Expected on two cores of an AMD EPYC: 28 seconds, 24 of them training at 2.8 M words/s, 640 MB peak
memory, a loss of 2.27. Scores x100, on a text of this format and size with other articles:
WordSim-353 67.5, SimLex-999 29.7, MEN 60.0, RareWords 40.1, Google analogies 34.2 among the
first 30,000 words and 26.7 among all. docs/performance.md has the scores of other
systems. To score your run, add the files: --config.evaluation='("questions-words.txt",)'
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """Returns the settings of the quickstart, changed as below."""
  config = quickstart.get_config()
  config.data.path = 'text8'
  config.data.text = 'whitespace'  # The text contains only lower-case letters.
  config.window = 5
  config.min_count = 5
  config.epochs = 4
  config.show = ('king', 'water', 'music', 'paris', 'theory', 'german', 'seven', 'computer')
  return config
