r"""Skip-gram in several processes, on one machine or many.

In two terminals, or on two machines that see the same folders:
python -m experiments.train --config=configs/multihost.py --workdir=runs/multihost \
  --coordinator=localhost:7700 --processes=2 --process=0
python -m experiments.train --config=configs/multihost.py --workdir=runs/multihost \
  --coordinator=localhost:7700 --processes=2 --process=1

Process 0 reads the text, and tells and writes the results; both train, each on its share of the
text. --config.devices=2 besides makes two devices of the CPU of each process. If a process is
lost the others end with an error, and the same commands go on from the last checkpoint.
docs/scaling.md tells when more devices are faster, and with which layout; on two cores of one
machine, one process is.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; those of the quickstart, but for these."""
  config = quickstart.get_config()
  config.layout = 'data'  # Each process has windows of its own, and all of the tables.
  config.epochs = 5
  return config
