r"""Compares the loading of vector files and the answering of analogies with gensim.

  pip install 'jw2v[benchmark]'
  python -m benchmarks.vectors --vectors=vectors.txt \
    --analogies=questions-words.txt --megabytes=1000 --output=vectors.md

jw2v and gensim load the same two files in word2vec's text and binary formats, in turn, each in its
own process. Then both answer the analogies with the same measure. The files contain the rows of
--vectors. With --megabytes, the rows are repeated with new words until the text has this size;
TMPDIR needs 1.5 times as much space. The output is a Markdown page with seconds, ratios, and the
memory of loading. Run nothing else on the machine meanwhile.
"""

import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

if __name__ == '__main__':
  from jw2v.cli import process

  process.prepare_process()  # before the imports that take seconds

from absl import app, flags

from benchmarks.page import environment, print_page
from benchmarks.workers import check_output, in_turn, peak_bytes, refuse, start

_SYSTEMS = ('jw2v', 'gensim')
_MB = 10**6
_NOTES = """\
- Medians over the rounds, with the lowest and highest value, in seconds after the imports. The
  files are in the page cache. Ratios are by round; above 1, jw2v is faster.
- memory: peak memory of the process beyond its memory after the imports, divided by the size of
  the table; 1 is the table alone.
- analogies: evaluate_word_analogies() with default arguments: 3CosAdd among the first 300,000
  words. jw2v compiles in every round."""


def _write(job):
  """Writes the vectors in both formats, repeated to the requested size."""
  import numpy as np

  import jw2v

  kv = jw2v.load_vectors(job['vectors'])
  jw2v.save_vectors(kv, job['text'], 'word2vec')
  size = os.path.getsize(job['text'])
  times = max(1, -(-job['bytes'] // size))
  if times > 1:
    words = [f'{word}_{i}' if i else word for i in range(times) for word in kv]
    kv = jw2v.KeyedVectors(words, np.tile(kv.vectors, (times, 1)))
    jw2v.save_vectors(kv, job['text'], 'word2vec')
  jw2v.save_vectors(kv, job['binary'], 'word2vec_binary')
  return {'bytes': os.path.getsize(job['text']), 'words': len(kv), 'width': kv.vector_size}


def _measured(call):
  """Runs a function; returns its result, and its seconds and additional peak memory."""
  before, began = peak_bytes(), time.perf_counter()
  result = call()
  return result, {'seconds': time.perf_counter() - began, 'memory': peak_bytes() - before}


def _load(job):
  path, binary = job['path'], job['binary']
  if job['system'] == 'gensim':
    from gensim.models import KeyedVectors

    kv, measured = _measured(lambda: KeyedVectors.load_word2vec_format(path, binary=binary))
  else:
    import pyarrow.csv  # noqa: F401  loading text would import it

    import jw2v

    kv, measured = _measured(lambda: jw2v.load_vectors(path))
  return {**measured, 'memory': measured['memory'] / kv.vectors.nbytes, 'words': len(kv)}


def _answer(job):
  import jw2v

  kv = jw2v.load_vectors(job['vectors'])
  if job['system'] == 'gensim':
    from gensim.models import KeyedVectors

    ours, kv = kv, KeyedVectors(kv.vector_size)
    kv.add_vectors(ours.index_to_key, ours.vectors)
  (score, sections), measured = _measured(lambda: kv.evaluate_word_analogies(job['analogies']))
  count = len(sections[-1]['correct']) + len(sections[-1]['incorrect'])
  correct = sorted(map(list, sections[-1]['correct']))
  return {**measured, 'score': score, 'count': count, 'correct': correct}


TASKS = {'write': _write, 'load': _load, 'answer': _answer}


_start = functools.partial(start, 'benchmarks.vectors')


def _rows(title, runs):
  """Returns rows with the seconds and their ratio, and for loading the memory."""
  from jw2v.cli.tables import spread

  seconds = {name: [run['seconds'] for run in results] for name, results in runs.items()}
  rows = [[f'{title}, seconds', *(spread(values, ',.2f') for values in seconds.values())]]
  if len(runs) > 1:
    own, peer = seconds.values()
    ratios = [y / x for x, y in zip(own, peer, strict=True)]
    rows.append([f'{title}, times as fast', spread(ratios, '.2f'), '1'])
  if 'words' in runs['jw2v'][0]:
    memory = ([run['memory'] for run in results] for results in runs.values())
    rows.append([f'{title}, memory / table', *(spread(values, '.2f') for values in memory)])
  return rows


def run(values: Any) -> Iterator[str]:
  """Yields the sections of the page as soon as they are measured."""
  from jw2v.cli.tables import markdown_table

  _check(values)
  systems = _SYSTEMS if values.gensim else _SYSTEMS[:1]
  names = ['jw2v', 'jax', 'numpy', 'pyarrow'] + ['gensim'] * values.gensim
  yield f'# Finished vectors\n\n{environment("benchmarks.vectors", names)}'
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    vectors, text, binary = os.path.abspath(values.vectors), f'{folder}/v.txt', f'{folder}/v.bin'
    size = _start('write', vectors=vectors, text=text, binary=binary, bytes=values.megabytes * _MB)
    rows, notes = [['median (lowest..highest)', *systems]], [_NOTES]
    for title, path in (('text', text), ('binary', binary)):
      job = {'path': path, 'binary': path == binary}
      rows += _rows(title, _run_in_turn(values, systems, title, 'load', job))
    table = f'{size["words"]:,} words, width {size["width"]}'
    notes.append(f'- The files have {table}: {size["bytes"] / _MB:,.0f} MB of text.')
    if values.analogies:
      job = {'vectors': vectors, 'analogies': os.path.abspath(values.analogies)}
      runs = _run_in_turn(values, systems, 'analogies', 'answer', job)
      rows += _rows('analogies', runs)
      answered = [runs[name][0] for name in systems]
      shares = ' and '.join(f'{run["score"]:.4%}' for run in answered)
      notes.append(f'- {answered[0]["count"]:,} analogies have known words; accuracy: {shares}.')
      if len(answered) > 1:
        same = answered[0]['correct'] == answered[1]['correct']
        notes.append(f'- The answers of both systems are {"the same" if same else "different"}.')
    yield f'{markdown_table(rows)}\n\n' + '\n'.join(notes)


def _run_in_turn(values, systems, title, task, job):
  """Interleaves the systems, so that drift in machine load affects all of them equally."""
  tasks = {name: functools.partial(_start, task, system=name, **job) for name in systems}
  return in_turn(values.rounds, tasks, title)


def _check(values):
  """Checks the flags before anything runs."""
  check_output(values.output)
  temporary = tempfile.gettempdir()
  free, needed = shutil.disk_usage(temporary).free, 1.5 * values.megabytes * _MB
  for name in ('vectors', 'analogies'):
    path = getattr(values, name)
    if path and not os.path.exists(path):
      raise ValueError(f'{name}={path!r}: file not found')
  refuse([
    (values.rounds < 1, f'rounds must be at least 1, got {values.rounds}'),
    (
      values.gensim and not find_spec('gensim'),
      "gensim is not installed; run pip install 'jw2v[benchmark]'",
    ),
    (free < needed, f'{temporary} has {free / _MB:,.0f} MB, {needed / _MB:,.0f} are needed'),
  ])  # fmt: skip


def main(argv: list[str]) -> None:
  """Runs the program."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is not a flag; write settings as --rounds=3')
  from jw2v.cli import process

  with process.one_line_errors(has_workers=True):
    print_page(run(flags.FLAGS), flags.FLAGS.output)


if __name__ == '__main__':  # flags are global, so importing this module must not define them
  flags.DEFINE_string(
    'vectors', None, 'File of vectors in any format that jw2v reads.', required=True
  )
  flags.DEFINE_string('analogies', None, 'File of analogies to answer as well.')
  flags.DEFINE_integer('megabytes', 0, 'Smallest size of the text to load.', 0)
  flags.DEFINE_integer('rounds', 3, 'Number of rounds.')
  flags.DEFINE_bool('gensim', True, 'Whether to measure gensim.')
  flags.DEFINE_string('output', None, 'File for the Markdown page.')
  app.run(main)
