"""Trains word vectors from a config file.

  python -m experiments.train --config=configs/quickstart.py --workdir=runs/quickstart

The config file says what is trained on and how; any of its settings can be changed on
the command line, as --config.dim=200 or --config.data.path=my_text.txt. Besides text that
can be walks over a graph (configs/karate.py) or sessions of items (configs/baskets.py).
When training has ended, the workdir holds vectors.txt (word2vec format, which gensim and
most other tools read), config.json, metrics.jsonl and words.png, and the neighbours of
some words are printed. Bad settings and data are refused before training, with nothing
written. The settings and what they mean are in the config files.
"""

import dataclasses
import difflib
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags, logging
from ml_collections import config_dict, config_flags

import jw2v
from experiments.plot import draw_words
from experiments.sessions import read_sessions
from experiments.walks import random_walks, read_edges
from jw2v.files import atomic_write
from jw2v.text import find_files
from jw2v.vocabulary import Vocabulary
from jw2v.workdir import check_workdir

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'File with a function get_config(), as configs/quickstart.py.', lock_config=True
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder for the results; made if missing.')
_DATA = {  # the settings of each kind of data; those of text are in config.data itself
  'sessions': {'delimiter', 'item', 'session'},
  'text': {'errors', 'lowercase', 'path', 'phrases', 'store', 'vocabulary', 'word_pattern'},
  'walks': {'directed', 'length', 'p', 'q', 'walks_per_node'},
}
_NAMES = {  # of the data, their words and their lines
  'sessions': ('log', 'items', 'sessions'),
  'text': ('text', 'words', 'lines'),
  'walks': ('graph', 'nodes', 'walks'),
}
flags.mark_flags_as_required(['config', 'workdir'])


def read_corpus(
  config: config_dict.ConfigDict,
  settings: jw2v.TrainConfig,
  workdir: pathlib.Path,
  initial: jw2v.KeyedVectors | None,
) -> jw2v.EncodedCorpus:
  """The corpus of an experiment, encoded; text is kept in the workdir or in `data.store`."""
  data, phrases = config.data, config.data.get('phrases', {})
  chosen = {'min_count': settings.min_count, 'max_vocab_size': settings.max_vocab_size}
  if initial is not None:
    chosen['known'] = Vocabulary(tuple(initial.index_to_key), np.zeros(len(initial), np.int64))
  if data.get('vocabulary') is not None:
    chosen['vocabulary'] = Vocabulary.load(data.vocabulary)
  if 'walks' in data:
    options = data.walks.to_dict()
    graph = read_edges(data.path, directed=options.pop('directed', False))
    walks = random_walks(graph, seed=settings.seed, **options)
    return jw2v.encode_corpus(walks, **chosen)
  if 'sessions' in data:
    return jw2v.encode_corpus(read_sessions(data.path, **data.sessions), **chosen)
  return jw2v.encode_corpus(
    data.path,
    data.get('store') or workdir / 'corpus',
    text=jw2v.TextConfig(
      lowercase=data.get('lowercase', False),
      word_pattern=data.get('word_pattern') or None,
      errors=data.get('errors', 'strict'),
    ),
    phrases=jw2v.PhraseConfig(**phrases) if phrases.get('passes') else None,
    progress=True,
    **chosen,
  )


def train_config(config: config_dict.ConfigDict) -> jw2v.TrainConfig:
  """The settings of the library among those of the experiment."""
  names = {field.name for field in dataclasses.fields(jw2v.TrainConfig)}
  kind = _kind_of(config.data)
  checked = [('', config, names | {'data', 'initial', 'show'})]
  if kind == 'text':
    checked += [('data.', config.data, _DATA['text'])]
  else:
    checked += [
      ('data.', config.data, {'path', 'vocabulary', kind}),
      (f'data.{kind}.', config.data[kind], _DATA[kind]),
    ]
  for prefix, settings, allowed in checked:
    if not isinstance(settings, config_dict.ConfigDict):
      raise ValueError(f'config.{prefix[:-1]}={settings!r}: must be a ConfigDict')
    for name in settings:
      if name not in allowed:
        near = difflib.get_close_matches(name, allowed, 1)
        hint = f'did you mean {near[0]!r}?' if near else f'there are {", ".join(sorted(allowed))}'
        raise ValueError(f'config.{prefix}{name}: no such setting; {hint}')
  return jw2v.TrainConfig(**{name: config[name] for name in names if name in config})


def _kind_of(data: config_dict.ConfigDict) -> str:
  """What an experiment is trained on, one of `_DATA`."""
  return next((kind for kind in _DATA if kind in data), 'text')


def print_neighbors(kv: jw2v.KeyedVectors, words: Sequence[str], topn: int = 7) -> None:
  """Prints a line for each word: its nearest words."""
  known = [word for word in words if word in kv]
  width = max(map(len, known), default=0)
  for word in known:
    near = ', '.join(neighbor for neighbor, _ in kv.most_similar(word, topn=topn))
    print(f'{word:>{width}}: {near}')


def run(config: config_dict.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains, writes the results and prints what a person wants to see first."""
  settings = train_config(config)
  check_workdir(workdir)
  initial = jw2v.load_vectors(config.initial) if config.get('initial') else None
  what, words, lines = _NAMES[_kind_of(config.data)]
  print(f'{what}: {config.data.path} ({_plural(len(find_files(config.data.path)), "file")})')
  print(
    f'model: {settings.architecture}, {settings.objective}, width {settings.dim}, '
    f'window {settings.window}, {_plural(settings.epochs, "epoch")}, {settings.optimizer} '
    f'from {settings.learning_rate:g}; on {jax.default_backend()}',
    flush=True,
  )
  corpus = read_corpus(config, settings, workdir, initial)
  print(
    f'corpus: {corpus.words_read:,} {words}; with a vocabulary of {len(corpus.vocabulary):,}, '
    f'{len(corpus.ids):,} in {len(corpus.line_ends):,} {lines}',
    flush=True,
  )
  result = jw2v.train(corpus, settings, workdir=workdir, initial=initial)
  with atomic_write(workdir / 'config.json') as file:  # with where the text came from
    file.write((json.dumps(config.to_dict(), indent=2) + '\n').encode())
  print(
    f'{result.history[-1]["words"]:,} words in {_plural(settings.epochs, "epoch")} at '
    f'{result.words_per_second:,.0f} words/s; loss {result.history[-1]["loss"]:.3f}; '
    f'{len(result.vocabulary):,} vectors of width {settings.dim} in {workdir / "vectors.txt"}'
  )
  print_neighbors(result.vectors, config.show)
  if any(word in result.vectors for word in config.show):
    draw_words(result.vectors, list(config.show), workdir / 'words.png')


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags as absl does; what is wrong with the config is told in one line."""
  try:
    return app.parse_flags_with_usage(argv)
  except AttributeError as error:
    if isinstance(error.args[0], KeyError):  # the config is locked
      message = f'the config has no setting {error.args[0].args[0]}'
    else:
      message = f'the config file cannot be used: {error}'
    raise SystemExit(f'error: {_one_line(message)}') from error
  except (SyntaxError, ImportError, NameError, TypeError) as error:
    raise SystemExit(f'error: the config file cannot be used: {_one_line(error)}') from error


def _plural(count: int, noun: str) -> str:
  return f'{count} {noun}' + 's' * (count != 1)


def _one_line(error: object) -> str:
  return ' '.join(str(error).split())


def main(argv: list[str]) -> None:
  """Runs the program; an error that the user can mend is one line."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # JAX tells at INFO which backends it has not found
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is no flag; settings are written --config.dim=200')
  try:
    run(_CONFIG.value, pathlib.Path(_WORKDIR.value))
  except (ValueError, OSError, FloatingPointError, ImportError) as error:
    raise SystemExit(f'error: {_one_line(error)}') from error


if __name__ == '__main__':
  jax.config.config_with_absl()
  app.run(main, flags_parser=parse_flags)
