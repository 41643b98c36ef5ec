r"""Trains word vectors on a text: a file, several files, a folder, a pattern, or - for stdin.

  jw2v train corpus.txt.gz
  jw2v train corpus.txt.gz --dim 200 --epochs 10 --output vectors.bin
  jw2v train books/ --workdir runs/books
  cat corpus.txt | jw2v train - --output vectors.txt
  jw2v train --config configs/quickstart.py --workdir runs/quickstart

The program prints a summary of the run, a progress bar, and the nearest neighbors of some words of
the text. If the run is interrupted, run the same command again: it resumes from the last checkpoint
and produces bit-identical vectors.

The file extension of --output chooses the format: .bin (word2vec binary), .safetensors, .npz, or
word2vec text for other extensions. During the run, a folder OUTPUT.run beside it has the encoded
text and the checkpoints. --workdir keeps them, with vectors.txt, metrics.jsonl and pictures.

A config file is Python code with a function get_config(); it is executed, so use only files that
you trust. Flags override its settings.
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.util
import os
import pathlib
import re
import shutil
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import jw2v
from jw2v.cli import arguments, process, report
from jw2v.cli.arguments import Parser
from jw2v.cli.settings import (
  make_checkpoints,
  plain,
  read_corpus,
  read_evaluation,
  text_of,
  train_config,
)
from jw2v.cli.show import typical_words
from jw2v.cli.tables import plural
from jw2v.config import (
  ARCHITECTURES,
  CBOW_GRADIENTS,
  DISTANCE_WEIGHTS,
  LAYOUTS,
  NOISES,
  OBJECTIVES,
  OPTIMIZERS,
  PRODUCT_DTYPES,
  SCHEDULES,
)
from jw2v.data.text import STDIN, find_files
from jw2v.data.tokens import PRESETS
from jw2v.distributed.agreement import first_then_others
from jw2v.distributed.backend import platform, prepare_backend
from jw2v.distributed.processes import is_first
from jw2v.formats.registry import check_path, check_words
from jw2v.training.loop import Started
from jw2v.training.workdir import Workdir
from jw2v.utils.files import check_output, expanded

_CHOICES = {
  'architecture': ARCHITECTURES, 'cbow_gradient': CBOW_GRADIENTS,
  'distance_weights': DISTANCE_WEIGHTS, 'layout': LAYOUTS, 'noise': NOISES,
  'objective': OBJECTIVES, 'optimizer': OPTIMIZERS, 'product_dtype': PRODUCT_DTYPES,
  'schedule': SCHEDULES,
}  # fmt: skip
_KINDS = {int: arguments.integer, float: arguments.number}


# The run, which `experiments.train` shares.


def train(
  settings: Mapping[str, Any],
  workdir: pathlib.Path,
  *,
  output: str | None = None,
  quiet: bool = False,
  restart: bool = False,
) -> None:
  """Trains the vectors of a config, writes the results and prints a summary.

  Args:
    settings: the data and the settings, as a config file has them.
    workdir: folder for the results; with `output`, for the encoded text and checkpoints.
    output: file for the vectors; the workdir is then removed at the end. None for `vectors.txt` in
      the workdir, with all other results.
    quiet: True to print neither the summary nor the progress.
    restart: True to ignore checkpoints.
  """
  # Settings. Nothing is written before they are valid.
  config = train_config(settings)
  if output is not None:
    _, format = check_path(output, has_ngrams=config.maxn > 0)
    check_output(output)
  folder = Workdir(workdir, dict(settings))
  if is_first():
    folder.check()
  checkpoints = make_checkpoints(settings, workdir, restart)
  evaluate = read_evaluation(settings.get('evaluation') or ())
  initial = jw2v.load_vectors(settings['initial']) if settings.get('initial') else None
  find_files(settings['data']['path'], text_of(settings['data']).exclude)
  platform()  # raises if the backend cannot start

  with folder.locked() if is_first() else contextlib.nullcontext():
    # Data.
    replace = checkpoints is None or not checkpoints.resumes()
    read = functools.partial(read_corpus, settings, config, workdir, initial, replace=replace)
    corpus = first_then_others(read, 'reading')
    if output is not None:
      check_words(corpus.vocabulary.words, format)

    # Training.
    with contextlib.ExitStack() as stack:
      stack.enter_context(process.stopping_at_signals(checkpoints))
      events = None

      def started(info: Started) -> None:
        nonlocal events
        if is_first():
          if output is None:
            events = report.open_events(workdir / 'tensorboard', info.history)
          if events is not None:
            stack.enter_context(contextlib.closing(events))
          if not quiet:
            print(report.describe(settings, corpus, info), flush=True)

      def record(values: dict) -> None:
        if events is not None:
          events(values)

      result = jw2v.train(
        corpus, config, workdir=folder if output is None else None, initial=initial,
        progress=not quiet, callbacks=[record], checkpoints=checkpoints, evaluate=evaluate,
        started=started,
      )  # fmt: skip
    if not is_first():
      return

    # Results.
    path = workdir / 'vectors.txt' if output is None else pathlib.Path(output)
    if output is not None:
      jw2v.save_vectors(result.vectors, output)
    last = result.history[-1]
    print(
      f'{last["words"]:,} words in {plural(config.epochs, "epoch")} at '
      f'{result.words_per_second:,.0f} words/s; '
      f'loss {report.loss_of_last_epoch(result.history):.3f}; '
      f'{len(result.vocabulary):,} vectors of width {config.dim} in {path}'
    )
    asked = settings.get('show')
    show = report.words_to_show(asked, result.vectors)
    if not show and (asked is None or len(asked)):
      show = typical_words(corpus)
    if show:
      print('\n'.join(report.neighbors(result.vectors, show)))
    if output is None:
      report.draw(result, show, workdir, settings.get('show_neighbors', 5))
  if output is not None:
    shutil.rmtree(workdir, ignore_errors=True)


# The command.


def add_arguments(parser: Parser) -> None:
  """Adds the arguments of the command."""
  parser.add('files', nargs='*', metavar='FILE', help='text: plain or compressed, or a folder')
  parser.group('files')
  parser.add('--output', metavar='FILE', help='file for the vectors (default: NAME.vectors.txt)')
  parser.add('--workdir', metavar='FOLDER', help='folder for all results, instead of --output')
  parser.add('--config', metavar='FILE', help='config file, such as configs/quickstart.py')
  parser.add('--initial', metavar='FILE', help='vectors to start from')
  parser.add(
    '--evaluation', action='append', metavar='FILE',
    help='pairs or analogies to score on at the end of each epoch; repeatable',
  )  # fmt: skip
  parser.add(
    '--show', kind=arguments.words, metavar='WORDS',
    help='words whose neighbors to print, separated by commas (default: words of the text)',
  )  # fmt: skip
  parser.add('--restart', action='store_true', help='start again, whether or not checkpoints exist')
  parser.add('--quiet', action='store_true', help='print neither the summary nor the progress')
  parser.group('text')
  parser.add(
    '--text', choices=tuple(PRESETS),
    help="definition of a word: 'words' (default) is lower case, letters and digits; 'whitespace' "
    'splits at white space and keeps punctuation',
  )  # fmt: skip
  parser.add('--lowercase', action=argparse.BooleanOptionalAction, help='convert to lower case')
  parser.add('--word-pattern', metavar='REGEX', help='regular expression whose matches are words')
  parser.add(
    '--errors', choices=('strict', 'replace', 'ignore'),
    help='bytes that are not text: raise an error (default), replace or skip them',
  )  # fmt: skip
  parser.add('--encoding', help='encoding of the text (default: utf-8)')
  parser.add(
    '--field', metavar='NAME', help='field of JSON lines, CSV or Parquet files that holds the text'
  )
  parser.add(
    '--exclude', action='append', metavar='PATTERN',
    help="files of a folder to leave out, such as '*.html'; repeatable",
  )  # fmt: skip
  parser.add('--vocabulary', metavar='FILE', help='words and counts, instead of counting')
  parser.add(
    '--phrases', kind=arguments.positive, metavar='N',
    help='join pairs of words that belong together, such as new_york, in N passes',
  )  # fmt: skip
  parser.group('settings, as in jw2v.TrainConfig')
  texts, types = _setting_texts(), typing.get_type_hints(jw2v.TrainConfig)
  for field in dataclasses.fields(jw2v.TrainConfig):
    flag, text = f'--{field.name.replace("_", "-")}', texts[field.name]
    if field.default is not None:
      text = f'{text} (default: {field.default})'
    if field.name in _CHOICES:
      parser.add(flag, choices=_CHOICES[field.name], help=text)
    elif field.name == 'dynamic_window' or types[field.name] is bool:
      parser.add(flag, action=argparse.BooleanOptionalAction, help=text)
    else:
      kind = _KINDS[float if 'rate' in field.name or field.type is float else int]
      parser.add(flag, kind=kind, metavar='N', help=text)


def run(values: Any) -> None:
  """Trains with the settings that the arguments describe."""
  settings, given = _settings(values), values.output is not None
  if given and values.workdir is not None:
    raise ValueError('--output and --workdir must not be given together; --workdir/vectors.txt has '
                     'the vectors')  # fmt: skip
  prepare_backend(settings.get('devices'))
  if values.workdir is not None:
    train(settings, expanded(values.workdir), quiet=values.quiet, restart=values.restart)
    return
  output = str(expanded(values.output)) if given else _output(settings['data']['path'])
  workdir = pathlib.Path(f'{output}.run')
  train(settings, workdir, output=output, quiet=values.quiet, restart=values.restart)


def _settings(values: Any) -> dict[str, Any]:
  """Returns the settings of the flags, combined with the config file if it is given."""
  settings = read_config(values.config) if values.config is not None else {'data': {}}
  for field in dataclasses.fields(jw2v.TrainConfig):
    if (value := getattr(values, field.name)) is not None:
      settings[field.name] = value
  data = dict(settings.get('data') or {})
  for name in (
    'text', 'lowercase', 'word_pattern', 'encoding', 'errors', 'field', 'exclude', 'vocabulary',
  ):  # fmt: skip
    if (value := getattr(values, name)) is not None:
      data[name] = value
  if values.phrases is not None:
    data['phrases'] = {**data.get('phrases', {}), 'passes': values.phrases}
  for file in values.files:
    name, equals, value = file.partition('=')
    if equals and hasattr(values, name) and not os.path.exists(file):
      raise ValueError(f'{file!r} is not a file; write --{name.replace("_", "-")} {value}')
  if values.files:
    data['path'] = values.files[0] if len(values.files) == 1 else list(values.files)
  if 'path' not in data:
    raise ValueError('name a text to train on: jw2v train corpus.txt; --help has examples')
  for name in ('initial', 'evaluation', 'show'):
    if (value := getattr(values, name)) is not None:
      settings[name] = value
  return {**settings, 'data': data}


def read_config(path: str) -> dict[str, Any]:
  """Returns the settings of a config file, a Python file with a function `get_config()`.

  Raises:
    FileNotFoundError: the file does not exist.
    ImportError: the file needs a package that is not installed.
    ValueError: the file cannot be used.
  """
  path = str(expanded(path))
  if not os.path.isfile(path):
    raise FileNotFoundError(f'config={path!r}: file not found')
  folder = pathlib.Path(path).absolute().parent
  for each in (folder, folder.parent):  # `from configs import quickstart`
    if str(each) not in sys.path:
      sys.path.append(str(each))
  spec = importlib.util.spec_from_file_location('_jw2v_config', path)
  if spec is None or spec.loader is None:
    raise ValueError(f'config must be a Python file, whose name ends in .py, got {path!r}')
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    return plain(module.get_config())
  except ModuleNotFoundError as error:
    if error.name == 'ml_collections':
      raise ImportError(
        "config files need ml_collections: pip install 'jw2v[experiments]'"
      ) from None
    raise ValueError(f'config={path!r}: cannot be used: {error}') from error
  except Exception as error:
    raise ValueError(f'config={path!r}: cannot be used: {error}') from error


def _output(path: str | Sequence[str]) -> str:
  """Returns the default output: the name of the text, with .vectors.txt, in the current folder."""
  first = path if isinstance(path, str) else path[0]
  name = '' if first == STDIN else pathlib.Path(os.path.abspath(first)).name
  name = re.sub(r'(\.\w{1,5}){1,2}$', '', name)
  return f'{name}.vectors.txt' if re.search(r'\w', name) and '*' not in name else 'vectors.txt'


def _setting_texts() -> dict[str, str]:
  """Returns the description of each setting, the first sentence in the docstring of TrainConfig."""
  lines = (jw2v.TrainConfig.__doc__ or '').partition('Attributes:\n')[2]
  texts = {}
  for names, text in re.findall(r'^    ([\w, ]+): (.+(?:\n      .+)*)', lines, re.M):
    plain_text = ' '.join(text.replace('`', '').split()).replace('%', '%%')
    plain_text = plain_text.replace('None for', 'default:')
    for name in names.split(', '):
      texts[name] = re.split(r'(?<=[^.])\. |\.$', plain_text)[0]
  return texts
