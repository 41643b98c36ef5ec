r"""Trains word vectors from a config file.

  python -m experiments.train --config=configs/quickstart.py --workdir=runs/quickstart
  python -m experiments.train --config=configs/quickstart.py --workdir=runs/mine \
    --config.data.path=my_text.txt --config.dim=200

The config file names the data and all settings, with comments. Each setting is also a flag, as in
the second command. A config file is Python code and is executed, so use only files that you trust.
Besides text, the data can be walks over a graph (configs/karate.py) or sessions of items
(configs/baskets.py).

The program first prints a summary of the run (corpus, memory, estimated time). A progress bar
follows, or one line per minute without a terminal. --quiet turns both off. If the run is
interrupted, run the same command again: it resumes from the last checkpoint and produces
bit-identical vectors. --restart ignores the checkpoints.

At the end the workdir contains

  vectors.txt     the vectors in word2vec's text format, which gensim and most other tools read
  vectors.safetensors  with character n-grams: vectors and n-grams, for out-of-vocabulary words
  config.json     all settings
  metrics.jsonl   up to 20 lines per epoch: loss, learning rate, words/s, norms, scores
  tensorboard/    the same measures for TensorBoard: tensorboard --logdir=WORKDIR
  loss.png        the loss by epoch
  words.png       the words of config.show with their nearest neighbors
  corpus/         the encoded text, which the next run opens
  checkpoints/    the last checkpoints; a finished run does not need them

To train on several devices, choose a layout: --config.devices=4 --config.layout=width (see
docs/scaling.md). To train with several processes, start each one with the same flags, its number,
and a workdir that all processes share. Process 0 writes the results:

  python -m experiments.train --config=configs/multihost.py --workdir=runs/multihost \
    --coordinator=localhost:7700 --processes=2 --process=0   # and the same with --process=1

Settings and data are checked before training: an invalid one writes nothing and keeps earlier
results. The exit status is 0, 1 after an error, or 130 after Ctrl-C.
"""

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

import jax
from absl import app, flags
from ml_collections import config_flags

from jw2v.cli.settings import plain
from jw2v.cli.train import train
from jw2v.distributed.agreement import first_exits_last
from jw2v.distributed.backend import prepare_backend
from jw2v.distributed.processes import ending_without_the_others, start_processes
from jw2v.training.checkpoints import Stopped
from jw2v.utils.files import expanded

_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'File with a function get_config(), such as configs/quickstart.py.',
  lock_config=True,
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder for the results; created if missing.')
_QUIET = flags.DEFINE_bool('quiet', False, 'Print neither the summary nor the progress.')
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'Address host:port of process 0, if several processes train.'
)
_PROCESSES = flags.DEFINE_integer('processes', 1, 'Number of processes that train together.')
_PROCESS = flags.DEFINE_integer('process', 0, 'Number of this process, counted from 0.')
_RESTART = flags.DEFINE_bool('restart', False, 'Start again, whether or not checkpoints exist.')
flags.mark_flags_as_required(['config', 'workdir'])


def main(argv: list[str]) -> None:
  """Runs the program."""
  with ending_without_the_others(), process.one_line_errors():
    if not _WORKDIR.value:
      raise ValueError('workdir must not be empty; name a folder')
    prepare_backend(_CONFIG.value.get('devices'))
    if _COORDINATOR.value is not None:
      start_processes(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    elif flags.FLAGS['processes'].present or flags.FLAGS['process'].present:
      raise ValueError('processes needs --coordinator=HOST:PORT, the address of process 0')
    with first_exits_last(Stopped):
      workdir = expanded(_WORKDIR.value)
      train(plain(_CONFIG.value), workdir, quiet=_QUIET.value, restart=_RESTART.value)


if __name__ == '__main__':
  jax.config.config_with_absl()
  app.run(main, flags_parser=process.parse_config_flags)
