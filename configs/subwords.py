r"""Skip-gram with character n-grams, as in fastText, on text8 or another text of its format.

python -m experiments.train --config=configs/subwords.py --config.data.path=text8 \
  --workdir=runs/subwords
python -m experiments.query --vectors=runs/subwords/vectors.safetensors --query=philosophicaly

vectors.safetensors contains the n-grams, so that out-of-vocabulary and misspelled words have
vectors. To convert it to fastText's own format: python -m experiments.convert
--input=runs/subwords/vectors.safetensors --output=model.bin

Expected scores: docs/performance.md, "Subwords". Expected speed: a third of the speed
without n-grams. Expected peak memory: 1.3 GB.
"""

import ml_collections

from configs import text8


def get_config() -> ml_collections.ConfigDict:
  """Returns the settings of text8 with n-grams."""
  config = text8.get_config()
  config.minn = 3
  config.maxn = 6
  return config
