"""Settings of a run as nested dictionaries: checks their names, and reads the data they describe.

`jw2v train` makes them from its flags, and a config file returns them. `jw2v.TrainConfig` checks
the values.
"""

import dataclasses
import difflib
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jw2v
from jw2v.cli import evaluate
from jw2v.data.sessions import read_sessions
from jw2v.data.tokens import text_config
from jw2v.data.vocabulary import Vocabulary
from jw2v.data.walks import random_walks, read_edges
from jw2v.training.checkpoints import Checkpoints
from jw2v.utils.limits import TEXT_EXPANSION

_DATA = {  # settings of each kind of data; settings of text are in config.data itself
  'sessions': {'delimiter', 'item', 'session'},
  'text': {
    'encoding', 'errors', 'exclude', 'field', 'lowercase', 'max_expansion', 'path', 'phrases',
    'store', 'text', 'vocabulary', 'word_pattern',
  },
  'walks': {'directed', 'length', 'p', 'q', 'walks_per_node'},
}  # fmt: skip
# Settings that TrainConfig does not have.
_OWN = {'checkpoints', 'data', 'evaluation', 'initial', 'show', 'show_neighbors'}
_PARTS = {'checkpoints': {'every', 'keep'}}

Settings = Mapping[str, Any]


def plain(config: Any) -> dict[str, Any]:
  """Returns settings as nested dictionaries, from a `ConfigDict` or from dictionaries."""
  return config.to_dict() if hasattr(config, 'to_dict') else dict(config)


def read_corpus(
  config: Settings,
  settings: jw2v.TrainConfig,
  workdir: pathlib.Path,
  initial: jw2v.KeyedVectors | None,
  *,
  replace: bool = True,
) -> jw2v.EncodedCorpus:
  """Reads and encodes the data of an experiment; encoded text is in `data.store` or the workdir.

  Args:
    config: the data and the settings.
    settings: the settings of the library.
    workdir: folder of the run.
    initial: vectors to start from, whose words are kept.
    replace: True to replace the encoded text of the workdir if the text has changed.
  """
  data, phrases = config['data'], config['data'].get('phrases', {})
  expansion = data.get('max_expansion', TEXT_EXPANSION)
  chosen: dict[str, Any] = {
    'min_count': settings.min_count,
    'max_vocab_size': settings.max_vocab_size,
  }
  if initial is not None:
    chosen['known'] = Vocabulary.of_words(initial.index_to_key)
  if data.get('vocabulary') is not None:
    chosen['vocabulary'] = Vocabulary.load(data['vocabulary'])
  if 'walks' in data:
    options = dict(data['walks'])
    directed = options.pop('directed', False)
    graph = read_edges(data['path'], directed=directed, max_expansion=expansion)
    walks = random_walks(graph, seed=settings.seed, **options)
    return jw2v.encode_corpus(walks, **chosen)
  if 'sessions' in data:
    log = read_sessions(data['path'], max_expansion=expansion, **data['sessions'])
    return jw2v.encode_corpus(log, **chosen)
  return jw2v.encode_corpus(
    data['path'],
    data.get('store') or workdir / 'corpus',
    text=text_of(data),
    phrases=jw2v.PhraseConfig(**phrases) if phrases.get('passes') else None,
    replace=replace or bool(data.get('store')),
    progress=True,
    **chosen,
  )


def text_of(data: Settings) -> jw2v.TextConfig:
  """Returns the settings for reading the text of an experiment: a preset with changes."""
  names = ('lowercase', 'encoding', 'errors', 'field', 'exclude', 'max_expansion')
  given = {name: data[name] for name in names if data.get(name) is not None}
  if isinstance(given.get('exclude'), str):
    given['exclude'] = [pattern for pattern in given['exclude'].split(',') if pattern]
  pattern = data.get('word_pattern')
  if pattern is not None:  # an empty one splits at white space
    given |= {'split': 'whitespace', 'word_pattern': pattern or None}
  return dataclasses.replace(text_config(data.get('text') or 'words'), **given)


def train_config(config: Settings) -> jw2v.TrainConfig:
  """Returns the settings of the library, after checking the names of all settings.

  Raises:
    ValueError: a name or a value is invalid.
  """
  if not isinstance(config.get('data'), Mapping) or 'path' not in config['data']:
    raise ValueError('config.data.path is required; set it to the path of the text')
  names = {field.name for field in dataclasses.fields(jw2v.TrainConfig)}
  kind = kind_of(config['data'])
  checked = [('', config, names | _OWN)]
  for name, allowed in _PARTS.items():
    if name in config:
      checked.append((f'{name}.', config[name], allowed))
  if kind == 'text':
    checked += [('data.', config['data'], _DATA['text'])]
  else:
    checked += [
      ('data.', config['data'], {'max_expansion', 'path', 'vocabulary', kind}),
      (f'data.{kind}.', config['data'][kind], _DATA[kind]),
    ]
  for prefix, settings, allowed in checked:
    if not isinstance(settings, Mapping):
      raise ValueError(f'config.{prefix[:-1]} must be a group of settings, got {settings!r}')
    for name in settings:
      if name not in allowed:
        near = difflib.get_close_matches(name, allowed, 1)
        hint = f'did you mean {near[0]!r}?' if near else f'choose from {", ".join(sorted(allowed))}'
        raise ValueError(f'unknown setting config.{prefix}{name}; {hint}')
  return jw2v.TrainConfig(**{name: config[name] for name in names if name in config})


def make_checkpoints(config: Settings, workdir: pathlib.Path, restart: bool) -> Checkpoints | None:
  """Returns the checkpoints of an experiment, or None if its config keeps none.

  Raises:
    ValueError: the config keeps none, and the workdir has checkpoints of another run.
  """
  chosen = config.get('checkpoints', {})
  folder = workdir / 'checkpoints'
  every, keep = chosen.get('every', 60.0), chosen.get('keep', 3)
  if keep == 0:
    if any(path.name.isdigit() for path in folder.glob('*')) and not restart:
      raise ValueError(
        f'checkpoints.keep=0: {folder} has checkpoints of another run; choose another workdir, '
        'or add --restart'
      )
    return None
  about: dict[str, Any] = {'data': dict(config['data']), 'initial': config.get('initial')}
  for name in ('max_expansion', 'store'):  # they do not change the text
    about['data'].pop(name, None)
  return Checkpoints(folder, every=every, keep=keep, about=about, restart=restart)


def read_evaluation(files: Sequence[str]) -> Callable[[jw2v.KeyedVectors], dict[str, float]] | None:
  """Reads files of pairs and analogies (see experiments/evaluate.py) to score vectors on.

  Returns:
    A function from vectors to a score for each file: Spearman's correlation, or the accuracy of
    3CosAdd. It leaves out files without a line of known words. None if there are no files.
  """
  questions = [(pathlib.Path(file).stem, *evaluate.read_questions(file)) for file in files]

  def scores(kv):
    found = evaluate.score(kv, questions, 300_000, functions=('most_similar',))
    values = {row['file']: row['spearman'] for row in found['pairs']}
    values |= {row['file']: row['sections'][-1]['most_similar'] for row in found['analogies']}
    return {name: value for name, value in values.items() if not math.isnan(value)}

  return scores if questions else None


def kind_of(data: Settings) -> str:
  """Returns the kind of data of an experiment: 'text', 'walks' or 'sessions'."""
  return next((kind for kind in _DATA if kind in data), 'text')
