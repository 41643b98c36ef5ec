r"""Words made of their character n-grams, as fastText makes them, on text8 or another such text.

python -m experiments.train --config=configs/subwords.py --config.data.path=text8 \
  --workdir=runs/subwords
python -m experiments.query --vectors=runs/subwords/vectors.safetensors --query=philosophicaly

The n-grams are in vectors.safetensors, so that words which the text does not have, or which are
misspelt, have vectors too; fastText's own format: python -m experiments.convert
--input=runs/subwords/vectors.safetensors --output=model.bin

Expect vectors as those of docs/performance.md, "Subwords", a third of the speed of words
alone, and 1.3 GB at most.
"""

import ml_collections

from configs import text8


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of text8, but for the n-grams."""
  config = text8.get_config()
  config.minn = 3
  config.maxn = 6
  return config
