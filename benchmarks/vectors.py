r"""Compares what is done with finished vectors: loading files, and answering analogies.

  pip install 'jw2v[benchmark]'
  python -m benchmarks.vectors --vectors=vectors.txt \
    --analogies=questions-words.txt --megabytes=1000 --output=vectors.md

jw2v and gensim load the same two files, word2vec's text and its binary form, in turn and in
a process of their own; then both answer the analogies, by the same measure. The files have
the rows of --vectors, and with --megabytes again and again under new words until the text is
so long; TMPDIR must have room for one and a half times that. The output is a page of
markdown: seconds and their ratios, and the memory that loading took beyond the table. Nothing
else should run on the machine meanwhile.

What belongs here: the processes that load and answer, and the table of what they measured.
"""

import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

from absl import app, flags

from benchmarks.page import environment, print_page
from benchmarks.workers import check_output, in_turn, peak_bytes, refuse, start
from experiments.tables import markdown_table, spread

_SYSTEMS = ('jw2v', 'gensim')
_MB = 10**6
_NOTES = """\
- Medians over the rounds, with lowest and highest; seconds after the imports. The files are
  in memory that the system keeps. Ratios are by round; above 1, jw2v is faster.
- memory: the peak of the process above what it had after the imports, over the size of
  the table; 1 is the table alone.
- analogies: evaluate_word_analogies(), as it is called without other arguments: 3CosAdd, among
  the first 300,000 words. That of jw2v compiles in every round."""


def _write(job):
  """Writes the vectors as text and as binary, long enough."""
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
  """A result; and the seconds, and the bytes above those of before, that it took."""
  before, began = peak_bytes(), time.perf_counter()
  result = call()
  return result, {'seconds': time.perf_counter() - began, 'memory': peak_bytes() - before}


def _load(job):
  path, binary = job['path'], job['binary']
  if job['system'] == 'gensim':
    from gensim.models import KeyedVectors

    kv, measured = _measured(lambda: KeyedVectors.load_word2vec_format(path, binary=binary))
  else:
    import pyarrow.csv  # noqa: F401  the first loading of text would import it

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
  """The seconds of both systems and their ratio; and the memory, of loading."""
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
  """Measures what the flags ask for: the sections of the page."""
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
      notes.append(f'- {answered[0]["count"]:,} analogies have known words; right are {shares}.')
      if len(answered) > 1:
        same = answered[0]['correct'] == answered[1]['correct']
        notes.append(f'- {"All" if same else "Not all"} of them are answered alike.')
    yield f'{markdown_table(rows)}\n\n' + '\n'.join(notes)


def _run_in_turn(values, systems, title, task, job):
  """Each system once in each round: what changes on the machine meanwhile meets them all."""
  tasks = {name: functools.partial(_start, task, system=name, **job) for name in systems}
  return in_turn(values.rounds, tasks, title)


def _check(values):
  """Refuses, before anything runs, what could not run to its end."""
  check_output(values.output)
  temporary = tempfile.gettempdir()
  free, needed = shutil.disk_usage(temporary).free, 1.5 * values.megabytes * _MB
  for name in ('vectors', 'analogies'):
    path = getattr(values, name)
    if path and not os.path.exists(path):
      raise ValueError(f'{name}={path!r}: there is no such file')
  refuse([
    (values.rounds < 1, f'rounds={values.rounds}: must be an integer of at least 1'),
    (values.gensim and not find_spec('gensim'), "gensim is missing: pip install 'jw2v[benchmark]'"),
    (free < needed, f'{temporary} has {free / _MB:,.0f} MB, {needed / _MB:,.0f} are needed'),
  ])  # fmt: skip


def main(argv: list[str]) -> None:
  """Runs the program; an error that the user can mend is one line."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is no flag; settings are written --rounds=3')
  with cli.one_line_errors(has_workers=True):
    print_page(run(flags.FLAGS), flags.FLAGS.output)


if __name__ == '__main__':  # flags are global: whoever imports this must not get these
  flags.DEFINE_string('vectors', None, 'File of vectors in any format jw2v reads.', required=True)
  flags.DEFINE_string('analogies', None, 'File of analogies, to answer as well.')
  flags.DEFINE_integer('megabytes', 0, 'Size of the text to load; that of the vectors if more.', 0)
  flags.DEFINE_integer('rounds', 3, 'How often each system does everything.')
  flags.DEFINE_bool('gensim', True, 'Measure gensim; --nogensim leaves it out.')
  flags.DEFINE_string('output', None, 'File that gets the page, in markdown.')
  app.run(main)
