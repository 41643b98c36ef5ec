r"""Compares jw2v with gensim, fastText and the C tool on the same text and settings.

  pip install 'jw2v[benchmark]'
  python -m benchmarks.training --text=my_text.txt --output=benchmark.md

The text is a file of words separated by white space. The systems train on it in turn, once for
each seed, each in its own process, with the same settings and number of threads. The output is a
page of Markdown tables: words per second of training alone and from the start of the process to the
saved vectors, ratios to gensim, peak memory, and a profile of jw2v's step. The program prints its
progress to standard error.

With --evaluation=FOLDER the vectors are also scored: Spearman's correlation with human judgments of
similarity, and the accuracy on analogies, both times 100. The folder contains EN-WS-353-ALL.txt,
EN-SIMLEX-999.txt, EN-MEN-TR-3k.txt and EN-RW-STANFORD.txt (two words and a number per line) and
questions-words.txt (the Google analogies).

  # CBOW with jw2v and gensim only, one seed, with scores:
  python -m benchmarks.training --text=my_text.txt --architecture=cbow \
    --systems=jw2v,gensim --seeds=1 --evaluation=my_folder

  # Character n-grams as in fastText (for gensim, its FastText class):
  python -m benchmarks.training --text=my_text.txt --minn=3 --maxn=6 --systems=jw2v,fasttext

  # The peers with a starting learning rate of 0.05; the C tool if word2vec is on PATH:
  python -m benchmarks.training --text=my_text.txt --architecture=cbow \
    --systems=jw2v,gensim,word2vec --peer_rate=0.05

  # jw2v with several settings in one table:
  python -m benchmarks.training --text=my_text.txt --systems=jw2v --brief \
    --variant=learning_rate=0.1 --variant=batch_size=2048,shared_negatives=32

  # The profile of jw2v for another batch size:
  python -m benchmarks.training --text=my_text.txt --parts_only --set=batch_size=2048

  # A picture of scores against speeds, also of an earlier version:
  git worktree add ../earlier COMMIT
  python -m benchmarks.training --text=my_text.txt --systems=jw2v,gensim --brief \
    --evaluation=my_folder --variant=batch_size=2048 --baseline=../earlier --plot=front.png

--set=NAME=VALUE changes other settings of jw2v (see jw2v.TrainConfig). Run nothing else on the
machine meanwhile. If a system fails, the program reports the error, continues with the other
systems and exits with an error.

With --baseline=FOLDER, a checkout of another version, the row "before" is the jw2v of that version,
measured and scored by the benchmarks of this version. A point of --plot is the mean over the seeds,
with bars from the lowest to the highest value; the dashed line is 0.5 above the score of gensim.
"""

import importlib.metadata
import importlib.util
import math
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

from absl import app, flags

from benchmarks.page import environment, print_page
from benchmarks.profile import parts_page
from benchmarks.systems import LINE, LONGEST_LINE, RESTRICT, cut_lines
from benchmarks.workers import check_output, start
from jw2v.cli.tables import markdown_table, plural, spread

_PEERS = ('gensim', 'fasttext', 'word2vec')
_SYSTEMS = ('jw2v', *_PEERS)
_BEFORE = 'before'  # jw2v of another version
_MARGIN = 0.5  # height of the dashed line of a picture above the score of gensim
_NAMED = ('jw2v', 'jax', 'jaxlib', 'gensim', 'fasttext')  # packages to list with their versions
_SHARED = (
  'architecture', 'objective', 'dim', 'window', 'negatives', 'sample', 'min_count', 'epochs',
  'minn', 'maxn', 'bucket',
)  # fmt: skip
_OF_ALL = ('hierarchical_softmax', 'negative_sampling')  # objectives that all systems have
_COLUMNS = 3  # systems that are columns of the table; more systems are rows
_NOTES = """\
- words/s: words of the text that are in the vocabulary, times the epochs, including words that
  subsampling drops.
- training: without reading and counting the text, except for fastText and the C tool word2vec,
  which do both in one call; with the compilation of jw2v.
- end to end: from the start of the process to the saved vectors.
- peak: memory of the whole process; predicted: by jw2v, before its first step.
"""


def _quantities(runs):
  """Yields the title, format, kind of average and values by system of each row."""
  median, mean = statistics.median, statistics.fmean
  by_run = lambda value: {name: [value(run) for run in results] for name, results in runs.items()}
  speeds = {'training': by_run(lambda run: run['words'] / run['seconds'])}
  speeds['end to end'] = by_run(lambda run: run['words'] / run['total_seconds'])
  for kind, speed in speeds.items():
    yield f'{kind}, words/s', ',.0f', median, speed
  peers = [name for name in _PEERS if name in runs]
  if peers and len(runs) > 1:
    for kind, speed in speeds.items():
      ratios = {  # by seed; a system that failed has fewer seeds
        name: [x / y for x, y in zip(values, speed[peers[0]], strict=False)]
        for name, values in speed.items()
      }
      yield f'{kind} / {peers[0]}', '.2f', median, ratios
  yield 'peak MB', ',.0f', median, by_run(lambda run: run['peak'] / 1e6)
  if {*runs} - {*_PEERS}:
    predicted = by_run(lambda run: run.get('predicted', math.nan) / 1e6)
    yield 'predicted MB', ',.0f', median, predicted
  scores = list(next(iter(runs.values()))[0]['scores'])
  for name in scores:
    yield name, '.2f', mean, by_run(lambda run, name=name: run['scores'][name][0])
  if len(scores) > 1:
    yield 'mean of the scores', '.2f', mean, by_run(_mean_score)


def _mean_score(run):
  return statistics.fmean(score for score, *_ in run['scores'].values())


def table(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
  """Returns a Markdown table with averages and spreads over the seeds.

  Args:
    runs: the results of each system by its name. Up to three systems are columns, more are rows.
  """
  rows = [['', *runs]]
  for title, format, average, values in _quantities(runs):
    rows.append([title, *(spread(x, format, average) for x in values.values())])
  seeds = max(map(len, runs.values()))
  return (
    f'{plural(seeds, "seed")}; medians (for a ratio: of the ratios by seed), and means of scores, '
    f'with the lowest and the highest value:\n\n{systems_table(rows)}'
  )


def systems_table(rows: Sequence[Sequence[str]]) -> str:
  """Returns a Markdown table of quantities by system.

  Args:
    rows: cells, the names of the systems first. Up to three systems are columns, more are rows.
  """
  is_wide = len(rows[0]) > 1 + _COLUMNS
  return markdown_table(list(zip(*rows, strict=True)) if is_wide else rows)


def _notes(runs, threads, is_split, peer_rate=None):
  """Returns notes on the tables."""
  notes = _NOTES
  if peer_rate is None:
    notes += '- Learning rates are the defaults of the systems'
  else:
    notes += f'- The peers start at the learning rate {peer_rate:g} instead of their defaults'
  notes += ' (gensim 0.025,\n  fastText 0.05, word2vec 0.025 for skip-gram and 0.05 for CBOW).\n'
  if 'word2vec' in runs:
    notes += '- word2vec has no seed; its runs differ by the timing of its threads.\n'
  if 'fasttext' in runs and threads < 10:
    notes += f'- fastText with fewer than 10 threads initializes {threads}/10 of its vectors at\n'
    notes += '  random and the others to zero.\n'
  if hasattr(os, 'sched_setaffinity'):
    notes += f'- Every process was limited to {plural(threads, "core")}.\n'
  else:
    notes += f'- The peers have {plural(threads, "thread")}; jw2v uses all cores.\n'
  if is_split:
    notes += (
      f'- A line has more than {LONGEST_LINE:,} words. gensim truncates such lines, so gensim\n'
    )
    notes += f'  and fastText read a copy with lines of {LINE:,} words.\n'
  run = next(iter(runs.values()))[0]
  if run['scores']:
    known = (f'{name} {n:,} of {total:,}' for name, (_, n, total) in run['scores'].items())
    notes += '- Scores: Spearman x 100; for analogies, 3CosAdd accuracy x 100 among the\n'
    notes += f'  {RESTRICT:,} most frequent words. Lines with known words only:\n'
    notes += f'  {", ".join(known)}.\n'
  return notes


def front_figure(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
  """Returns the figure of the scores of systems against their speeds.

  Args:
    runs: the results of each system by its name, with scores. A system with an undefined score has
      no point.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8, 5), layout='constrained')
  axes = figure.subplots()
  for name, results in runs.items():
    speeds = [run['words'] / run['seconds'] / 1e6 for run in results]
    scores = [_mean_score(run) for run in results]
    point = statistics.fmean(speeds), statistics.fmean(scores)
    if math.isnan(point[1]):
      continue
    bars = (
      [[middle - min(values)], [max(values) - middle]]
      for middle, values in zip(point, (speeds, scores), strict=True)
    )
    color = {'color': 'black'} if name in _PEERS else {}
    axes.errorbar(
      *([x] for x in point), *reversed(list(bars)), fmt='o', capsize=2, label=name, **color
    )
    if name == 'gensim':
      above = point[1] + _MARGIN
      axes.axhline(above, color='0.4', linestyle='--', linewidth=1, label=f'gensim + {_MARGIN:g}')
  axes.legend(frameon=False, loc='center left', bbox_to_anchor=(1, 0.5))
  axes.set_xlabel('training, million words/s')
  axes.set_ylabel('mean of the scores')
  axes.margins(0.15)
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  return figure


def bar_figure(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
  """Returns the figure of the speeds of systems as bars, with their mean scores above them.

  Args:
    runs: the results of each system by its name, with scores.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(7, 3.5), layout='constrained')
  axes = figure.subplots()
  for name, results in runs.items():
    speeds = [run['words'] / run['seconds'] / 1e6 for run in results]
    speed, score = statistics.median(speeds), statistics.fmean(map(_mean_score, results))
    ends = [[speed - min(speeds)], [max(speeds) - speed]]
    bar = axes.bar(
      name, speed, 0.6, yerr=ends, capsize=3, ecolor='0.3', color='0.7' if name in _PEERS else 'C0'
    )
    label = f'{speed:.2f} M words/s\nscore {score:.1f}'
    axes.bar_label(bar, [label], padding=4, fontsize=10)
  axes.set_ylabel('training, million words/s')
  axes.margins(y=0.25)
  axes.spines[['top', 'right']].set_visible(False)
  return figure


# The program.


def checked_systems(
  values: Any, known: Sequence[str] = _SYSTEMS, *, runs_peers: bool = True
) -> list[str]:
  """Checks the flags `systems`, `seeds`, `threads` and `output`, and returns the systems to run.

  Args:
    values: the flags.
    known: the systems of the benchmark.
    runs_peers: True if the peers must be installed.

  Raises:
    ValueError: a flag is invalid.
    ImportError: the package of a peer is not installed.
  """
  for name in values.systems or [[]]:  # an empty list is an error as well
    if name not in known:
      raise ValueError(f'systems must be from {", ".join(map(repr, known))}; got {name!r}')
    if name == 'jw2v' or not runs_peers:
      continue
    if name == 'word2vec':
      if shutil.which(name) is None:
        raise ValueError("word2vec: program not found on PATH; add the C tool's folder to PATH")
    elif importlib.util.find_spec(name) is None:
      raise ImportError(f"{name} is not installed; run pip install 'jw2v[benchmark]'")
  if values.seeds < 1:
    raise ValueError(f'seeds must be at least 1, got {values.seeds}')
  if not 1 <= values.threads <= _num_cores():
    raise ValueError(f'threads must be between 1 and {_num_cores()} (cores), got {values.threads}')
  check_output(values.output)
  return list(dict.fromkeys(values.systems))


def _checked(values):
  """Checks the flags before anything runs; returns the systems to run."""
  systems = checked_systems(values, runs_peers=not values.parts_only)
  peers = [name for name in systems if name in _PEERS and not values.parts_only]
  if peers and values.objective not in _OF_ALL:
    raise ValueError(
      f'the objectives of {peers[0]} are {" and ".join(map(repr, _OF_ALL))}, got '
      f'{values.objective!r}; add --systems=jw2v to run jw2v alone'
    )
  if 'word2vec' in peers and values.maxn:
    raise ValueError(f'maxn must be 0 for word2vec, which has no n-grams, got {values.maxn}')
  if values.peer_rate is not None and not 0 < values.peer_rate < math.inf:
    raise ValueError(f'peer_rate must be positive and finite, got {values.peer_rate}')
  text = pathlib.Path(values.text)
  if text.is_dir() or not text.exists():
    raise ValueError(
      f'text={values.text!r}: {"is a folder" if text.is_dir() else "file not found"}'
    )
  for name in ('plot', 'bars'):
    if (path := getattr(values, name)) is None:
      continue
    check_output(path, name)
    if pathlib.Path(path).suffix.lower() not in ('.png', '.svg'):
      raise ValueError(f'{name}={path!r}: the file name must end in .png or .svg')
    if values.evaluation is None or values.parts_only:
      raise ValueError('plot needs scores; use --evaluation=FOLDER, without --parts_only')
  if values.baseline and not pathlib.Path(values.baseline, 'jw2v', '__init__.py').is_file():
    raise ValueError(f'baseline={values.baseline!r}: package jw2v not found in this folder')
  return systems + [_BEFORE] * bool(values.baseline)


def run(values: Any, failures: list[str]) -> Iterator[str]:
  """Yields the sections of the page as they are measured, and adds errors to `failures`."""
  systems = _checked(values)
  job = {
    'settings': _settings(values),
    'set': values.set,
    'variants': values.variant,
    'threads': values.threads,
    'peer_rate': values.peer_rate,
    'baseline': values.baseline and str(pathlib.Path(values.baseline).absolute()),
    'text': str(pathlib.Path(values.text).absolute()),
    'evaluation': values.evaluation and str(pathlib.Path(values.evaluation).absolute()),
    'evaluator': 'benchmarks.quality',
  }
  runs: dict[str, list[dict]] = {}
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    device = _start('check', **job)['device']
    named = environment('benchmarks.training', _NAMED, device)
    yield f'# Benchmark\n\n{named}'
    if not values.parts_only:
      names = [*systems, *values.variant]
      runs, is_split = run_in_turn(job, names, values.seeds, folder, failures)
    if runs:
      notes = _notes(runs, values.threads, is_split, values.peer_rate)
      yield table(runs) + ('' if values.brief else f'\n\n{notes.rstrip()}')
    if values.parts_only or ('jw2v' in runs and not values.brief):
      _tell('parts of jw2v ...\n')
      try:
        parts = _start('parts', **job)
      except ValueError as error:
        failures.append(f'parts of jw2v: {error}')
      else:
        yield f'## Parts of jw2v\n\n{parts_page(parts)}'
  for path, figure_of in ((values.plot, front_figure), (values.bars, bar_figure)):
    if runs and path:
      from jw2v.cli import labels

      labels.save(figure_of(runs), path)
      _tell(f'picture: {path}\n')
  if failures:
    yield '\n'.join(['## Failures\n', *(f'- {failure}' for failure in failures)])


def _start(task, library=None, **job):
  """Runs a task of systems.py in its own process, with one core per thread."""
  # With T < 10 threads, fastText 0.9.3 initializes T tenths of its vectors and trains the others
  # from uninitialized memory. Mapped memory contains zeros; other memory may contain NaN.
  mapped = {'MALLOC_MMAP_THRESHOLD_': '65536'} if task == 'fasttext' else {}
  return start(
    'benchmarks.systems', task, cores=job['threads'], environment=mapped, library=library, **job
  )


def _settings(values):
  """Returns the settings of all systems."""
  settings = {**{name: getattr(values, name) for name in _SHARED}, 'seed': 1}
  if settings['objective'] == 'negative_sampling' and settings['negatives'] is None:
    settings['negatives'] = 5
  return settings


def run_in_turn(
  job: Mapping[str, Any], systems: Sequence[str], seeds: int, folder: str, failures: list[str]
) -> tuple[dict[str, list[dict[str, Any]]], bool]:
  """Interleaves the systems, so that drift in machine load affects all of them equally.

  Args:
    job: the job of all runs, for the tasks of systems.py.
    systems: names of systems, and variants of jw2v.
    seeds: number of runs of each system.
    folder: folder for vectors, and for a copy of the text with shorter lines.
    failures: list that errors are added to.

  Returns:
    The results of each system that ran, and whether the peers read a copy.
  """
  job = {**job, 'lines': job['text'], 'vectors': str(pathlib.Path(folder) / 'vectors.txt')}
  peers = {'gensim', 'fasttext'} & {*systems}
  lines = cut_lines(job['text'], LONGEST_LINE + 1) if peers else ()
  is_split = any(len(line) > LONGEST_LINE for line in lines)
  if is_split:
    job['lines'] = str(pathlib.Path(folder) / 'lines.txt')
    with open(job['lines'], 'wb') as file:
      file.writelines(b' '.join(line) + b'\n' for line in cut_lines(job['text'], LINE))
  runs: dict[str, list[dict]] = {name: [] for name in systems}
  for seed in range(1, seeds + 1):
    for name in systems:
      if len(runs[name]) < seed - 1:
        continue  # it failed before
      _tell(f'seed {seed}/{seeds} {name} ... ')
      settings = {**job['settings'], 'seed': seed}
      task = name if name in _PEERS else 'jw2v'
      variant = '' if name in (*_SYSTEMS, _BEFORE) else name
      library = job['baseline'] if name == _BEFORE else None
      try:
        result = _start(task, library, **{**job, 'variant': variant, 'settings': settings})
      except ValueError as error:
        _tell(f'failed: {error}\n')
        failures.append(f'{name}, seed {seed}: {error}')
        continue
      speed = result['words'] / result['seconds'] / 1e6
      _tell(f'{speed:.2f} M words/s, {result["peak"] / 1e6:,.0f} MB\n')
      runs[name].append(result)
  return {name: results for name, results in runs.items() if results}, is_split


def _num_cores():
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _tell(text):
  print(text, end='', file=sys.stderr, flush=True)


def main(argv: list[str]) -> None:
  """Runs the program."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is not a flag; write settings as --dim=200')
  failures: list[str] = []
  with process.one_line_errors(has_workers=True):
    print_page(run(flags.FLAGS, failures), flags.FLAGS.output)
  if failures:
    raise SystemExit(f'error: {"; ".join(failures)}')


if __name__ == '__main__':  # flags are global, so importing this module must not define them
  flags.DEFINE_string('text', None, 'Text: a file of words.', required=True)
  flags.DEFINE_string('architecture', 'skip_gram', "'skip_gram' or 'cbow'.")
  flags.DEFINE_string(
    'objective', 'negative_sampling', 'Objective; gensim and fastText have two of them.'
  )
  flags.DEFINE_integer('minn', 0, 'Shortest n-gram in characters; 0 for no n-grams.')
  flags.DEFINE_integer('maxn', 0, 'Longest n-gram in characters.')
  flags.DEFINE_integer('bucket', 2_000_000, 'Number of rows for n-grams.')
  flags.DEFINE_integer('dim', 100, 'Width of the vectors.')
  flags.DEFINE_integer('window', 5, 'Largest distance between a word and its context.')
  flags.DEFINE_integer('negatives', None, 'Noise words per prediction; 5 by default.')
  flags.DEFINE_float('sample', 1e-4, 'Subsampling threshold as a share of the text.')
  flags.DEFINE_integer('min_count', 5, 'Lowest count of a word in the vocabulary.')
  flags.DEFINE_integer('epochs', 4, 'Number of passes over the text.')
  flags.DEFINE_integer(
    'threads', 2, 'Number of threads of each system, at most the number of cores.'
  )
  flags.DEFINE_list(
    'systems',
    ['jw2v', 'gensim', 'fasttext'],
    'Systems to run, in this order; also word2vec, the C tool, if it is on PATH.',
  )
  flags.DEFINE_float(
    'peer_rate', None, 'Starting learning rate of the peers; by default the default of each.'
  )
  flags.DEFINE_integer('seeds', 3, 'Number of runs of each system, with seeds 1, 2, ...')
  flags.DEFINE_string('evaluation', None, 'Folder of data sets to score the vectors on.')
  flags.DEFINE_bool('parts_only', False, 'Whether to print only the profile of jw2v.')
  flags.DEFINE_bool('brief', False, 'Whether to print only the table.')
  flags.DEFINE_string(
    'baseline', None, "Folder of another version of jw2v, to measure it as 'before'."
  )
  flags.DEFINE_string('plot', None, 'Picture of scores against speeds: .png or .svg.')
  flags.DEFINE_string('bars', None, 'Picture of speeds as bars, with scores: .png or .svg.')
  flags.DEFINE_string('output', None, 'File for the Markdown page.')
  flags.DEFINE_multi_string(
    'set', [], 'Another setting of jw2v, such as batch_size=2048; repeatable.'
  )
  flags.DEFINE_multi_string(
    'variant', [], 'Also run jw2v with changed settings NAME=VALUE,...; repeatable.'
  )
  app.run(main)
