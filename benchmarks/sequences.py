r"""Compares jw2v with gensim on sequences that are not text: item sessions and random walks.

  pip install 'jw2v[benchmark]'
  python -m benchmarks.sequences --output=sequences.md

The data are generated, so their clusters are known. The systems train on them in turn, once for
each seed, each in its own process, for 5 epochs at width 100. The output is a Markdown page with
the scores of the vectors, and the words per second of training:

- sessions: 40,000 sessions over 60 clusters of 60 items, with a window of 50 items. The score is
  the share of sessions whose last item, which is not in the training data, is among the 10 nearest
  neighbors of the item before it.
- walks: random walks (DeepWalk) over a graph with 30 communities of about 100 nodes, with a window
  of 10 nodes. The score is the share of the 10 nearest neighbors of a node that are in its
  community.

  # jw2v with several settings in one table:
  python -m benchmarks.sequences --systems=jw2v --variant=learning_rate=0.1 \
    --variant=batch_size=2048,shared_negatives=32

  # A tenth of the clusters, of the sessions and of the nodes:
  python -m benchmarks.sequences --size=0.1 --seeds=1

--set=NAME=VALUE changes other settings of jw2v (see jw2v.TrainConfig). Run nothing else on the
machine meanwhile. If a system fails, the program reports the error, continues with the other
systems and exits with an error.
"""

import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

from benchmarks.page import environment, print_page
from benchmarks.training import checked_systems, run_in_turn, systems_table
from benchmarks.workers import refuse, start
from jw2v.cli.tables import plural, spread

_SETTINGS = {
  'architecture': 'skip_gram', 'objective': 'negative_sampling', 'dim': 100, 'negatives': 5,
  'sample': 1e-3, 'min_count': 1, 'epochs': 5, 'minn': 0, 'maxn': 0, 'bucket': 1,
  'dynamic_window': False, 'seed': 1,
}  # fmt: skip
_NEAREST = 10  # neighbors that are scored
_SESSIONS, _CLUSTERS, _ITEMS = 40_000, 60, 60  # number of sessions, clusters, items in a cluster
_SHORTEST, _LONGEST = 5, 39  # items in a session
_POPULAR, _JUMPS, _STEP = 0.2, 0.1, 4  # shares of items in a session, and the largest other step
_PAIRS = 10_000  # sessions whose last item is predicted
_COMMUNITIES, _NODES = 30, 100  # number of communities, nodes in one of them
_EDGES, _INSIDE = 6, 0.48  # mean number of edges that a node adds, share within its community
_WALKS, _LENGTH = 10, 40  # walks from each node, nodes in a walk
_NOTES = """\
- Scores: means over the seeds times 100, with the lowest and the highest value. words/s: medians of
  training alone, with the compilation of jw2v; words are items or nodes, times the epochs.
- The systems have the same settings, with full windows, except for those that a variant changes.
  Learning rates are the defaults of the systems.
- The data are the same for all seeds.
"""

Data = tuple[Iterable[Sequence[str]], list[tuple[str, str]]]


def sessions(size: float, seed: int = 0) -> Data:
  """Generates sessions of items.

  The items of a cluster are on a ring. A session walks over the ring of one cluster, in steps of up
  to 4 items, and sometimes jumps on it. One in five items is from all items by popularity instead,
  as bestsellers are in any basket. Clusters differ in their number of sessions.

  Args:
    size: share of the clusters and sessions.
    seed: seed of the generator.

  Returns:
    The sessions without their last items, and the last two items of the first 10,000 sessions.
    Sessions that end with the same item twice have no such pair.
  """
  rng = np.random.default_rng(seed)
  clusters, count = max(2, round(_CLUSTERS * size)), max(2, round(_SESSIONS * size))
  by_popularity, items = (rng.permutation(clusters * _ITEMS) for _ in range(2))
  items = items.reshape(clusters, _ITEMS)
  share = lambda weights: weights / weights.sum()
  popularity = share(1 / np.arange(1.0, items.size + 1))  # Zipf's law
  chosen = rng.choice(clusters, (count, 1), p=share(np.sqrt(rng.zipf(1.5, clusters))))
  shape = count, _LONGEST
  kinds = rng.random(shape)
  steps = rng.integers(-_STEP, _STEP + 1, shape)
  steps = np.where(kinds < _POPULAR + _JUMPS, rng.integers(_ITEMS, size=shape), steps)
  steps = np.where(kinds < _POPULAR, 0, steps)
  positions = (rng.integers(_ITEMS, size=(count, 1)) + steps.cumsum(axis=1)) % _ITEMS
  popular = by_popularity[rng.choice(items.size, shape, p=popularity)]
  rows = np.where(kinds < _POPULAR, popular, items[chosen, positions]).astype(str).tolist()
  lengths = rng.integers(_SHORTEST, _LONGEST + 1, count).tolist()
  lines = [row[:length] for row, length in zip(rows, lengths, strict=True)]
  pairs = [(line[-2], line[-1]) for line in lines[:_PAIRS] if line[-2] != line[-1]]
  return [line[:-1] for line in lines], pairs


def walks(
  size: float,
  seed: int = 0,
  *,
  communities: int = _COMMUNITIES,
  nodes: int = _NODES,
  edges: float = _EDGES,
  inside: float = _INSIDE,
) -> Data:
  """Generates random walks over a graph with communities.

  Half of the edges are within a community. Nodes have weights with a heavy tail, so some nodes have
  far more edges than others.

  Args:
    size: share of the communities and nodes.
    seed: seed of the generator.
    communities: number of communities at size 1.
    nodes: mean number of nodes in a community.
    edges: mean number of edges that a node adds.
    inside: share of the edges that a node adds within its community.

  Returns:
    The walks, and the nodes with their communities.
  """
  from jw2v.data.walks import make_graph, random_walks

  rng = np.random.default_rng(seed)
  communities = max(2, round(communities * size))
  count = nodes * communities
  of_node = np.sort(rng.integers(communities, size=count))
  ends = np.append(0, np.cumsum(rng.pareto(2, count) + 0.3))  # of the weights
  sources = np.repeat(np.arange(count), np.maximum(1, rng.poisson(edges, count)))
  own = of_node[sources]
  is_inside = rng.random(len(sources)) < inside
  # A target is drawn by weight from its range of nodes: those of the community, or all.
  low = np.where(is_inside, ends[np.searchsorted(of_node, own, 'left')], 0)
  high = np.where(is_inside, ends[np.searchsorted(of_node, own, 'right')], ends[-1])
  drawn = low + (high - low) * rng.random(len(sources))
  targets = np.minimum(np.searchsorted(ends, drawn, 'right') - 1, count - 1)
  kept = sources != targets
  names = [str(i) for i in rng.permutation(count)]
  graph = make_graph(names, sources[kept], targets[kept], np.ones(kept.sum()))
  lines = random_walks(graph, walks_per_node=_WALKS, length=_LENGTH, seed=seed)
  return lines, list(zip(names, of_node.astype(str).tolist(), strict=True))


def hit_rate(
  near: Mapping[str, Sequence[str]], pairs: Sequence[tuple[str, str]]
) -> tuple[float, int]:
  """Returns the share of pairs whose second item is near the first, and the number of known pairs.

  Args:
    near: nearest neighbors of each word.
    pairs: two items each; pairs with an unknown item are skipped.
  """
  known = [(before, last) for before, last in pairs if before in near and last in near]
  return statistics.fmean(last in near[before] for before, last in known), len(known)


def same_community(
  near: Mapping[str, Sequence[str]], pairs: Sequence[tuple[str, str]]
) -> tuple[float, int]:
  """Returns the share of neighbors in the community of their node, and the number of known nodes.

  Args:
    near: nearest neighbors of each word.
    pairs: nodes with their communities.
  """
  of_node = {node: community for node, community in pairs if node in near}
  same = [of_node[node] == of_node[other] for node in of_node for other in near[node]]
  return statistics.fmean(same), len(of_node)


class DataSet(NamedTuple):
  """A generated data set.

  Attributes:
    make: function of the size that generates the lines and the evaluation data.
    window: window of the systems.
    score_name: name of the score.
    score: function of the nearest neighbors and the evaluation data.
  """

  make: Callable[[float], Data]
  window: int
  score_name: str
  score: Callable[[Mapping, Sequence], tuple[float, int]]


DATA = {
  'sessions': DataSet(sessions, 50, f'hit rate at {_NEAREST}', hit_rate),
  'walks': DataSet(walks, 10, f'same community in {_NEAREST}', same_community),
}


def evaluate(folder: str | os.PathLike, kv: Any) -> dict[str, tuple[float, int, int]]:
  """Scores vectors on a data set.

  Args:
    folder: folder that the task `make` wrote, with the name of the data set.
    kv: the vectors.

  Returns:
    The score times 100, the number of known lines and the number of all lines, by its name.
  """
  data = DATA[pathlib.Path(folder).name]
  lines = pathlib.Path(folder, 'pairs.txt').read_text().splitlines()
  pairs = [tuple(line.split()) for line in lines]
  found = kv.most_similar_many(kv.index_to_key, topn=_NEAREST)
  near = {
    word: [neighbor for neighbor, _ in neighbors]
    for word, neighbors in zip(kv.index_to_key, found, strict=True)
  }
  score, known = data.score(near, pairs)
  return {data.score_name: (100 * score, known, len(pairs))}


def _make(job):
  """Writes a data set; returns its size."""
  folder = pathlib.Path(job['folder'])
  folder.mkdir()
  lines, pairs = DATA[folder.name].make(job['size'])
  words, count = set(), 0
  with open(folder / 'text.txt', 'w') as file:
    for line in lines:
      file.write(' '.join(line) + '\n')
      words.update(line)
      count += len(line)
  (folder / 'pairs.txt').write_text(''.join(f'{a} {b}\n' for a, b in pairs))
  return {'words': count, 'different': len(words)}


TASKS = {'make': _make}


def table(runs: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> str:
  """Returns a Markdown table of scores and speeds.

  Args:
    runs: for each data set the results of each system; a system that failed has none.
  """
  names = list(dict.fromkeys(name for of_set in runs.values() for name in of_set))
  rows = [['', *names]]
  for title, of_set in runs.items():
    score = DATA[title].score_name
    for quantity, format, average, value in (
      (score, '.2f', statistics.fmean, lambda run, score=score: run['scores'][score][0]),
      ('words/s', ',.0f', statistics.median, lambda run: run['words'] / run['seconds']),
    ):
      values = ([value(run) for run in of_set.get(name, [])] for name in names)
      rows.append([f'{title}: {quantity}', *(spread(x, format, average) for x in values)])
  return systems_table(rows)


def run(values: Any, failures: list[str]) -> Iterator[str]:
  """Yields the sections of the page as they are measured, and adds errors to `failures`."""
  systems = _checked(values)
  job = {
    'settings': _SETTINGS,
    'set': values.set,
    'variants': values.variant,
    'threads': values.threads,
    'peer_rate': None,
    'baseline': None,
    'evaluation': None,
    'evaluator': 'benchmarks.sequences',
  }
  device = start('benchmarks.systems', 'check', cores=values.threads, **job)['device']
  names = ('jw2v', 'jax', 'jaxlib', 'gensim')
  yield f'# Sequences\n\n{environment("benchmarks.sequences", names, device)}'
  runs, notes = {}, _NOTES
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    for name in dict.fromkeys(values.data):
      print(f'{name}:', file=sys.stderr, flush=True)
      path = f'{folder}/{name}'
      made = start('benchmarks.sequences', 'make', folder=path, size=values.size)
      notes += f'- {name}: {made["words"]:,} words, {made["different"]:,} different ones.\n'
      job |= {'text': f'{path}/text.txt', 'evaluation': path}
      job['settings'] = {**_SETTINGS, 'window': DATA[name].window}
      failed: list[str] = []
      found, _ = run_in_turn(job, [*systems, *values.variant], values.seeds, folder, failed)
      failures += [f'{name}: {failure}' for failure in failed]
      if found:
        runs[name] = found
  if runs:
    yield f'{plural(values.seeds, "seed")}:\n\n{table(runs)}\n\n{notes.rstrip()}'
  if failures:
    yield '\n'.join(['## Failures\n', *(f'- {failure}' for failure in failures)])


def _checked(values):
  """Checks the flags before anything runs; returns the systems to run."""
  systems = checked_systems(values, ('jw2v', 'gensim'))
  known = ', '.join(map(repr, DATA))
  unknown = [name for name in values.data or [[]] if name not in DATA]
  fixed = [x for x in values.set if x.partition('=')[0] in (*_SETTINGS, 'window')]
  refuse([
    (bool(unknown), f'data must be from {known}; got {", ".join(map(repr, unknown))}'),
    (not 0 < values.size <= 100, f'size must be above 0 and at most 100, got {values.size:g}'),
    (bool(fixed), f'set={", ".join(fixed)!r}: all systems have this setting; use --variant'),
  ])  # fmt: skip
  return systems


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
  flags.DEFINE_list('data', list(DATA), 'Data sets, in this order.')
  flags.DEFINE_float('size', 1.0, 'Share of the clusters, sessions, communities and nodes.')
  flags.DEFINE_list('systems', ['jw2v', 'gensim'], 'Systems to run, in this order.')
  flags.DEFINE_integer('seeds', 3, 'Number of runs of each system, with seeds 1, 2, ...')
  flags.DEFINE_integer(
    'threads', 2, 'Number of threads of each system, at most the number of cores.'
  )
  flags.DEFINE_multi_string(
    'set', [], 'Another setting of jw2v, such as batch_size=2048; repeatable.'
  )
  flags.DEFINE_multi_string(
    'variant', [], 'Also run jw2v with changed settings NAME=VALUE,...; repeatable.'
  )
  flags.DEFINE_string('output', None, 'File for the Markdown page.')
  app.run(main)
