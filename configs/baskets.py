r"""Items that are bought together: 5,000 baskets of a made-up shop, 86 items.

python -m experiments.sessions --output=baskets.csv
python -m experiments.train --config=configs/baskets.py --workdir=runs/baskets

Expect, on two cores of an AMD EPYC: 4 seconds, 2 of them training, and neighbours such as
spaghetti: parmesan, pine_nuts, red_wine; wasabi: salmon, rice_vinegar, sushi_rice. Of the five
nearest neighbours of an ingredient all go with a dish that it goes with, where chance has 8 of
100, and none is a staple. Of the five items that are most often bought with it 58 of 100 are
staples, since these are bought with anything.

The data are made up by the first command. A log of your own: --config.data.path=FILE
--config.data.sessions.session=COLUMN --config.data.sessions.item=COLUMN, and for fields that
tabs separate --config.data.sessions.delimiter=$'\t'. With items that are known by names of
several words, write them with underscores: a file of vectors cannot hold spaces.
"""

import ml_collections
from ml_collections import config_dict

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of the quickstart, but for these."""
  config = quickstart.get_config()
  config.data = config_dict.create(
    path='baskets.csv',  # A log: CSV with a header, a row for each item of a session.
    sessions=config_dict.create(
      session='basket',  # The column that says which session a row belongs to.
      item='item',  # The column of the items.
      delimiter=',',
    ),
  )
  config.dim = 32
  config.window = 30  # Covers a basket: its items have no order that means anything.
  config.dynamic_window = False
  config.sample = 1e-3  # Thins out the staples, which stand in most of the baskets.
  config.min_count = 1
  config.epochs = 5
  config.batch_size = 128
  config.show = ('spaghetti', 'wasabi', 'salsa', 'brie', 'naan', 'feta', 'muesli', 'charcoal')
  return config
