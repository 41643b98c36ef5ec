r"""Trains word vectors from a config file.

  python -m experiments.train --config=configs/quickstart.py --workdir=runs/quickstart
  python -m experiments.train --config=configs/quickstart.py --workdir=runs/mine \
    --config.data.path=my_text.txt --config.dim=200

The config file says what is trained on and how; each of its settings is a flag, as in the
second command, and what they mean is in the file. It is Python and is run: use only configs that
you trust. Besides text, data can be walks over a graph (configs/karate.py) or sessions of items
(configs/baskets.py).

While it runs, a table says what was found and what it will take, and a bar how it goes; where
there is no terminal, a line a minute, and with --quiet nothing. Ctrl-C ends the run with a
checkpoint: the same command again goes on from there, or from the newest checkpoint of a run
that was killed, to the same vectors, bit for bit. With --restart it begins anew.

At the end the workdir holds

  vectors.txt     the vectors, in word2vec's format, which gensim and most other tools read
  vectors.safetensors  where words have n-grams: those too, for vectors of unseen words
  config.json     all settings
  metrics.jsonl   a line up to 20 times in an epoch: loss, learning rate, words/s, norms, scores
  tensorboard/    the same for TensorBoard: tensorboard --logdir=WORKDIR
  loss.png        the loss over the epochs
  words.png       the words of config.show with their neighbours
  corpus/         the encoded text, which the next run opens
  checkpoints/    the last of them; a finished run needs them no more

Several devices and processes train as one: --config.devices=4 --config.layout=width
(docs/scaling.md tells which layout for what). Each process is started with the same flags and
its number, and a workdir that all see; the first one writes the results:

  python -m experiments.train --config=configs/multihost.py --workdir=runs/multihost \
    --coordinator=localhost:7700 --processes=2 --process=0   # and the same with --process=1

Bad settings and data are refused before training, with nothing written and earlier results
as they were. The exit status is 0, 1 after an error, 130 after Ctrl-C.
"""

import contextlib
import functools
import json
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

import jax
from absl import app, flags
from ml_collections import config_dict, config_flags

import jw2v
from experiments import evaluate
from experiments.cli import one_line_errors
from experiments.overview import describe
from experiments.plot import draw_words
from experiments.report import Metrics, draw_loss, loss_of_last_epoch
from experiments.settings import read_corpus, train_config
from experiments.tables import one_line, plural
from jw2v.data.text import find_files
from jw2v.distributed.agreement import first_alone, first_leaves_last
from jw2v.distributed.backend import prepare_backend
from jw2v.distributed.processes import (
  ending_without_the_others,
  is_first,
  start_processes,
)
from jw2v.training.checkpoints import Checkpoints, Stopped
from jw2v.training.loop import Started
from jw2v.training.workdir import check_workdir, lock_workdir
from jw2v.utils.files import atomic_write

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'File with a function get_config(), as configs/quickstart.py.', lock_config=True
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder for the results; made if missing.')
_QUIET = flags.DEFINE_bool('quiet', False, 'No table and no progress.')
_COORDINATOR = flags.DEFINE_string('coordinator', None, 'host:port of process 0, if several train.')
_PROCESSES = flags.DEFINE_integer('processes', 1, 'How many processes train together.')
_PROCESS = flags.DEFINE_integer('process', 0, 'The number of this one, from 0.')
_RESTART = flags.DEFINE_bool('restart', False, 'Begin anew, whatever checkpoints there are.')
flags.mark_flags_as_required(['config', 'workdir'])


def print_neighbors(kv: jw2v.KeyedVectors, words: Sequence[str], topn: int = 7) -> None:
  """Prints a line for each word: its nearest words."""
  known = [word for word in words if word in kv]
  width = max(map(len, known), default=0)
  for word in known:
    near = ', '.join(neighbor for neighbor, _ in kv.most_similar(word, topn=topn))
    print(f'{word:>{width}}: {near}')


def read_evaluation(files: Sequence[str]) -> Callable[[jw2v.KeyedVectors], dict[str, float]] | None:
  """What scores vectors on files of pairs and analogies: see experiments/evaluate.py.

  Returns:
    A function from vectors to a score for each file, Spearman's correlation or the share of
    analogies that 3CosAdd answers; those of which no line is known are left out. None if
    there is no file.
  """
  questions = [(pathlib.Path(file).stem, *evaluate.read_questions(file)) for file in files]

  def scores(kv):
    found = evaluate.score(kv, questions, 300_000, functions=('most_similar',))
    values = {row['file']: row['spearman'] for row in found['pairs']}
    values |= {row['file']: row['sections'][-1]['most_similar'] for row in found['analogies']}
    return {name: value for name, value in values.items() if value == value}

  return scores if questions else None


def run(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  *,
  quiet: bool = False,
  restart: bool = False,
) -> None:
  """Trains, writes the results and prints what a person wants to see first."""
  settings = train_config(config)
  if is_first():
    check_workdir(workdir)
  checkpoints = _checkpoints(config, workdir, restart)
  scores = read_evaluation(config.get('evaluation', ()))
  initial = jw2v.load_vectors(config.initial) if config.get('initial') else None
  find_files(config.data.path)
  with lock_workdir(workdir) if is_first() else contextlib.nullcontext():
    read = functools.partial(read_corpus, config, settings, workdir, initial)
    corpus = first_alone(read, 'reading')
    metrics = None

    def started(info: Started) -> None:
      nonlocal metrics
      if not is_first():
        return
      metrics = Metrics(workdir, info.history)
      if not quiet:
        print(describe(config, corpus, info), flush=True)

    with _stopping_at_signals(checkpoints):
      try:
        result = jw2v.train(
          corpus, settings, workdir=workdir, initial=initial, progress=not quiet,
          callbacks=[lambda record: metrics(record)] if is_first() else [],
          checkpoints=checkpoints, evaluate=scores, started=started,
        )  # fmt: skip
      finally:
        if metrics is not None:
          metrics.close()
    if not is_first():
      return
    with atomic_write(workdir / 'config.json') as file:  # with where the text came from
      file.write((json.dumps(config.to_dict(), indent=2) + '\n').encode())
    last = result.history[-1]
    print(
      f'{last["words"]:,} words in {plural(settings.epochs, "epoch")} at '
      f'{result.words_per_second:,.0f} words/s; loss {loss_of_last_epoch(result.history):.3f}; '
      f'{len(result.vocabulary):,} vectors of width {settings.dim} in {workdir / "vectors.txt"}'
    )
    draw_loss(result.history, workdir / 'loss.png')
    show = list(config.get('show', ()))
    print_neighbors(result.vectors, show)
    if any(word in result.vectors for word in show):
      picture, neighbors = workdir / 'words.png', config.get('show_neighbors', 5)
      draw_words(result.vectors, show, picture, neighbors)


def _checkpoints(
  config: config_dict.ConfigDict, workdir: pathlib.Path, restart: bool
) -> Checkpoints | None:
  """Those of the config; None if it keeps none."""
  chosen = config.get('checkpoints', {})
  folder = workdir / 'checkpoints'
  if chosen.get('keep', 3) == 0:
    if any(path.name.isdigit() for path in folder.glob('*')) and not restart:
      raise ValueError(
        f'checkpoints.keep=0: {folder} has those of another run; name another workdir, or say '
        '--restart'
      )
    return None
  about = {'data': config.data.to_dict(), 'initial': config.get('initial')}
  for name in ('max_expansion', 'store'):  # the same text, wherever it is kept
    about['data'].pop(name, None)
  every, keep = chosen.get('every', 60.0), chosen.get('keep', 3)
  return Checkpoints(folder, every=every, keep=keep, about=about, restart=restart)


@contextlib.contextmanager
def _stopping_at_signals(checkpoints: Checkpoints | None) -> Iterator[None]:
  """Makes Ctrl-C and SIGTERM stop the run with a checkpoint; a second one, at once."""
  if checkpoints is None:
    yield
    return
  received: list[int] = []

  def stop(number, _):
    if received:
      os._exit(128 + number)  # what is half written has no name yet
    received.append(number)
    checkpoints.request_stop()
    print('\nwriting a checkpoint; once more to stop without', file=sys.stderr, flush=True)

  before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield
  except Stopped as stopped:
    print(f'{stopped}; the same command goes on from there', flush=True)
    number = received[0] if received else signal.SIGTERM  # that of another process
    raise SystemExit(128 + number) from None
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags as absl does; what is wrong with the config is told in one line."""
  for argument in argv[1:]:
    name, _, path = argument.lstrip('-').partition('=')
    if name == 'config' and not os.path.isfile(path.partition(':')[0]):
      raise SystemExit(f'error: config={path!r}: there is no such file')
  try:
    return app.parse_flags_with_usage(argv)
  except AttributeError as error:
    if isinstance(error.args[0], KeyError):  # the config is locked
      message = f'the config has no setting {error.args[0].args[0]}'
    else:
      message = f'the config file cannot be used: {error}'
    raise SystemExit(f'error: {one_line(message)}') from error
  except (SyntaxError, ImportError, NameError, TypeError) as error:
    raise SystemExit(f'error: the config file cannot be used: {one_line(error)}') from error


def main(argv: list[str]) -> None:
  """Runs the program; an error that the user can mend is one line."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is no flag; settings are written --config.dim=200')
  with ending_without_the_others(), one_line_errors():
    if not _WORKDIR.value:
      raise ValueError('workdir is empty: name a folder')
    prepare_backend(_CONFIG.value.get('devices'))
    if _COORDINATOR.value is not None:
      start_processes(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    elif flags.FLAGS['processes'].present or flags.FLAGS['process'].present:
      raise ValueError('processes: give --coordinator=HOST:PORT too, that of process 0')
    workdir = pathlib.Path(_WORKDIR.value)
    with first_leaves_last(Stopped):
      run(_CONFIG.value, workdir, quiet=_QUIET.value, restart=_RESTART.value)


if __name__ == '__main__':
  jax.config.config_with_absl()
  app.run(main, flags_parser=parse_flags)
