r"""Item vectors from 5,000 synthetic baskets with 86 items.

python -m experiments.sessions --output=baskets.csv
python -m experiments.train --config=configs/baskets.py --workdir=runs/baskets

Expected on two cores of an AMD EPYC: 4 seconds, 2 of them training, and neighbors such as
spaghetti: parmesan, pine_nuts, red_wine; wasabi: salmon, rice_vinegar, sushi_rice. All of the five
nearest neighbors of an ingredient belong to one of its dishes (8% by chance), and none is a staple.
Of the five items bought most often together with an ingredient, 58% are staples, because staples
are bought with any dish.

The first command generates the data. To use another log, add --config.data.path=FILE
--config.data.sessions.session=COLUMN --config.data.sessions.item=COLUMN, and for columns separated
by tabs --config.data.sessions.delimiter=$'\t'. Replace spaces in the names of items by underscores,
because a file of vectors cannot represent spaces.
"""

import ml_collections
from ml_collections import config_dict

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """Returns the settings of the quickstart, changed as below."""
  config = quickstart.get_config()
  config.data = config_dict.create(
    path='baskets.csv',  # A log: CSV with a header, one row per item of a session.
    sessions=config_dict.create(
      session='basket',  # Column of the session of a row.
      item='item',  # Column of the items.
      delimiter=',',
    ),
  )
  config.dim = 32
  config.window = 30  # Covers a whole basket, because the order of its items has no meaning.
  config.dynamic_window = False
  config.sample = 1e-3  # Subsamples the staples, which are in most baskets.
  config.min_count = 1
  config.epochs = 5
  config.batch_size = 128
  config.show = ('spaghetti', 'wasabi', 'salsa', 'brie', 'naan', 'feta', 'muesli', 'charcoal')
  return config
