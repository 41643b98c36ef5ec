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

import contextlib
import functools
import pathlib

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

import jax
from absl import app, flags
from ml_collections import config_dict, config_flags

import jw2v
from experiments import report
from experiments.plot import draw_words
from experiments.settings import make_checkpoints, read_corpus, read_evaluation, train_config
from experiments.tables import plural
from jw2v.data.text import find_files
from jw2v.distributed.agreement import first_exits_last, first_then_others
from jw2v.distributed.backend import prepare_backend
from jw2v.distributed.processes import ending_without_the_others, is_first, start_processes
from jw2v.training.checkpoints import Stopped
from jw2v.training.loop import Started
from jw2v.training.workdir import Workdir

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


def run(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  *,
  quiet: bool = False,
  restart: bool = False,
) -> None:
  """Trains the vectors of a config, writes the results and prints a summary.

  Args:
    config: the data and the settings.
    workdir: folder for the results.
    quiet: whether to print neither the summary nor the progress.
    restart: whether to ignore checkpoints.
  """
  # Settings. Nothing is written before they are valid.
  settings = train_config(config)
  folder = Workdir(workdir, config.to_dict())
  if is_first():
    folder.check()
  checkpoints = make_checkpoints(config, workdir, restart)
  evaluate = read_evaluation(config.get('evaluation', ()))
  initial = jw2v.load_vectors(config.initial) if config.get('initial') else None
  find_files(config.data.path)

  with folder.locked() if is_first() else contextlib.nullcontext():
    # Data.
    read = functools.partial(read_corpus, config, settings, workdir, initial)
    corpus = first_then_others(read, 'reading')

    # Training.
    with contextlib.ExitStack() as stack:
      stack.enter_context(cli.stopping_at_signals(checkpoints))
      events = None

      def started(info: Started) -> None:
        nonlocal events
        if is_first():
          events = report.TensorBoard(workdir / 'tensorboard', info.history)
          stack.enter_context(contextlib.closing(events))
          if not quiet:
            print(report.describe(config, corpus, info), flush=True)

      def record(values: dict) -> None:
        if events is not None:
          events(values)

      result = jw2v.train(
        corpus, settings, workdir=folder, initial=initial, progress=not quiet,
        callbacks=[record], checkpoints=checkpoints, evaluate=evaluate, started=started,
      )  # fmt: skip
    if not is_first():
      return

    # Results.
    last = result.history[-1]
    print(
      f'{last["words"]:,} words in {plural(settings.epochs, "epoch")} at '
      f'{result.words_per_second:,.0f} words/s; '
      f'loss {report.loss_of_last_epoch(result.history):.3f}; '
      f'{len(result.vocabulary):,} vectors of width {settings.dim} in {workdir / "vectors.txt"}'
    )
    report.draw_loss(result.history, workdir / 'loss.png')
    show = list(config.get('show', ()))
    known = [word for word in show if word in result.vectors]
    if known:
      print('\n'.join(report.neighbors(result.vectors, known)))
      draw_words(result.vectors, show, workdir / 'words.png', config.get('show_neighbors', 5))


def main(argv: list[str]) -> None:
  """Runs the program."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is not a flag; write settings as --config.dim=200')
  with ending_without_the_others(), cli.one_line_errors():
    if not _WORKDIR.value:
      raise ValueError('workdir must not be empty; name a folder')
    prepare_backend(_CONFIG.value.get('devices'))
    if _COORDINATOR.value is not None:
      start_processes(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    elif flags.FLAGS['processes'].present or flags.FLAGS['process'].present:
      raise ValueError('processes needs --coordinator=HOST:PORT, the address of process 0')
    with first_exits_last(Stopped):
      workdir = pathlib.Path(_WORKDIR.value)
      run(_CONFIG.value, workdir, quiet=_QUIET.value, restart=_RESTART.value)


if __name__ == '__main__':
  jax.config.config_with_absl()
  app.run(main, flags_parser=cli.parse_config_flags)
