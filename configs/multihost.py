r"""Skip-gram in several processes, on one machine or many.

In two terminals, or on two machines with shared folders:
python -m experiments.train --config=configs/multihost.py --workdir=runs/multihost \
  --coordinator=localhost:7700 --processes=2 --process=0
python -m experiments.train --config=configs/multihost.py --workdir=runs/multihost \
  --coordinator=localhost:7700 --processes=2 --process=1

Process 0 reads the text, and prints and writes the results. Each process trains on its share of the
text. To split the CPU of each process into two devices, add --config.devices=2. If a process is
lost, the others end with an error, and the same commands resume from the last checkpoint.
docs/scaling.md explains when several devices are faster, and which layout to choose. On two cores
of one machine, a single process is faster.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """Returns the settings of the quickstart, changed as below."""
  config = quickstart.get_config()
  config.layout = 'data'  # Each process has its own windows and a copy of both tables.
  config.epochs = 5
  return config
