r"""Compares the first pass over a text: encoding with jw2v, counting with gensim and the C tool.

  pip install 'jw2v[benchmark]'
  python -m benchmarks.corpus --text=my_text.txt --output=corpus.md

The text is a file of words separated by white space. The systems read it in turn, each in its own
process, and keep words with at least 5 occurrences. The output is a Markdown page with speeds and
their ratios, the time until a second run on the same text starts to train, and a comparison of the
counts. Run nothing else on the machine meanwhile.

  # Also measure the vocabulary pass of the C tool:
  python -m benchmarks.corpus --text=my_text.txt --c_tool=word2vec/bin/word2vec

  # Also measure the memory of jw2v on generated texts of 200 and 2000 MB.
  # TMPDIR needs three times as much space; this takes several minutes.
  python -m benchmarks.corpus --text=my_text.txt --memory --sizes=200,2000
"""

import contextlib
import functools
import itertools
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

if __name__ == '__main__':
  from jw2v.cli import process

  process.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

from benchmarks.page import environment, print_page
from benchmarks.workers import check_output, in_turn, peak_bytes, refuse, run_program, start

_MIN_COUNT = 5
_MB, _READ = 10**6, 1 << 20  # bytes
_LINE, _LINES = 20, 50_000  # words per line of a generated text; lines per write
_NOTES = """\
- jw2v counts and writes the text as ids to a store on disk, new in each round; gensim's
  build_vocab() counts, and draws the first vectors; the C tool counts.
- seconds: after the imports, which include pyarrow; for the C tool, of its whole process. CPU: of
  all threads in this time. Speeds are compared by round; above 1, jw2v is faster.
- peak: resident memory of the whole process. The text is in the page cache.
- second run: seconds after the imports, with an existing store. encode_corpus() opens it;
  train() opens it, and compiles."""
_MEMORY_NOTES = f"""\
A text contains every word of the given text once, and then pieces of {_LINE} words from random
places of it. jw2v encodes it with min_count=1, which keeps all words. MB are 1,000,000 bytes."""


def _measure(job, call):
  """Runs a function; returns its result, wall time, CPU time, and memory before and at the peak."""
  imports = time.monotonic() - job['started']  # this clock is the same in every process
  peak = lambda: peak_bytes() / _MB
  before, cpu, wall = peak(), time.process_time(), time.perf_counter()
  result = call()
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  return result, {'imports': imports, 'seconds': wall, 'cpu': cpu, 'before': before, 'peak': peak()}


def _encode(job):
  """Encodes a text into a folder, or opens the store in it."""
  import jw2v
  from jw2v.utils.extras import import_pyarrow

  if not os.path.isdir(job['folder']):  # opening a store does not need pyarrow
    import_pyarrow()
  call = lambda: jw2v.encode_corpus(job['text'], job['folder'], min_count=job['min_count'])
  encoded, measured = _measure(job, call)
  return {**measured, 'words': encoded.words_read, 'different': len(encoded.vocabulary)}


def _count_gensim(job):
  from gensim.models.word2vec import LineSentence, Text8Corpus, Word2Vec

  model = Word2Vec(min_count=_MIN_COUNT)
  corpus = Text8Corpus(job['text']) if job['is_one_line'] else LineSentence(job['text'])
  _, measured = _measure(job, lambda: model.build_vocab(corpus))
  count = lambda word: model.wv.get_vecattr(word, 'count')
  lines = ''.join(f'{word} {count(word)}\n' for word in model.wv.index_to_key)
  pathlib.Path(job['counts']).write_bytes(lines.encode())
  return measured


def _count_c_tool(job):
  command = [job['tool'], '-train', job['text'], '-save-vocab', job['counts']]  # and no -output
  start = time.perf_counter()
  done = run_program([*command, '-min-count', str(_MIN_COUNT)])
  seconds = time.perf_counter() - start
  if done['status'] or not os.path.exists(job['counts']):
    raise ValueError(
      f'c_tool={job["tool"]!r}: exited with {done["status"]:.0f} and wrote no counts'
    )
  return {'seconds': seconds, 'cpu': done['cpu'], 'peak': done['peak'] / _MB}


def _start_training(job):
  """Trains until the steps are compiled; returns the times at which compiling starts and ends."""
  import jw2v

  times, compile_steps = {}, jw2v.training.loop.compile_steps

  def compile_and_stop(*arguments):
    times['compiling'] = time.perf_counter() - start
    compile_steps(*arguments)
    times['compiled'] = time.perf_counter() - start
    raise InterruptedError('the measurement ends here')

  jw2v.training.loop.compile_steps = compile_and_stop
  config, start = jw2v.TrainConfig(min_count=_MIN_COUNT), time.perf_counter()
  with contextlib.suppress(InterruptedError):
    jw2v.train(job['text'], config, workdir=job['workdir'], progress=False)
  return times


def _make_texts(job):
  """Writes files of given sizes: first each word of the text once, then lines of the text."""
  import jw2v

  encoded = jw2v.encode_corpus(job['text'], job['folder'], min_count=1)
  words = np.array([word.encode() for word in encoded.vocabulary.words], object)
  lines = lambda rows: b''.join([b' '.join(row) + b'\n' for row in rows])
  each = lines(words[i : i + _LINE] for i in range(0, len(words), _LINE))
  for path, size in job['files']:
    generator, piece = np.random.default_rng(0), each
    with open(path, 'wb') as file:
      while piece:
        size -= file.write(piece)
        starts = generator.integers(max(1, len(encoded.ids) - _LINE), size=(_LINES, 1))
        places = (starts + np.arange(_LINE)) % len(encoded.ids)
        piece = lines(words[encoded.ids[places]].tolist())
        piece = piece[: piece.rfind(b'\n', 0, max(0, size)) + 1]
      os.fsync(file.fileno())  # or the disk would be busy during the measurement


def _compare(job):
  """Yields a comparison of the counts of each system with the counts of jw2v."""
  with open(job['text'], 'rb') as file:
    file.seek(max(0, os.path.getsize(job['text']) - _READ))
    end = file.read()
  last = end.split()[-1] if end[-1:].strip() else None
  read = lambda path: dict(x.rsplit(b' ', 1) for x in pathlib.Path(path).read_bytes().splitlines())
  files = {name: read(path) for name, path in job['files'].items()}
  expected = files.pop('jw2v')
  for peer, found in files.items():
    if b'</s>' not in expected:
      found.pop(b'</s>', None)  # the C tool counts ends of lines as a word
    pairs = {w: (int(expected.get(w, 0)), int(found.get(w, 0))) for w in {**expected, **found}}
    different = {w: (x, y) for w, (x, y) in pairs.items() if x != y}
    told = [f'{w.decode(errors="replace")!r} ({x:,} and {y:,})' for w, (x, y) in different.items()]
    count = f'{len(pairs) - len(different):,} of {len(pairs):,} words have the same count'
    if told:
      count += f', but not {", ".join(told[:5])}' + ', ...' * (len(told) > 5)
    n = int(expected.get(last, 0))
    if different == {last: (n, n - 1 if n > _MIN_COUNT else 0)}:
      count += f'. That is the last word: {peer} drops it, because no white space follows'
    yield f'- jw2v and {peer}: {count}.'


TASKS = {'encode': _encode, 'gensim': _count_gensim, 'the C tool': _count_c_tool,
          'train': _start_training, 'texts': _make_texts, 'compare': _compare}  # fmt: skip


_start = functools.partial(start, 'benchmarks.corpus')


def speed_table(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
  """Returns the measurements of each system in its rounds as a table, jw2v first."""
  from jw2v.cli.tables import markdown_table, spread

  values = lambda key: [[run.get(key, float('nan')) for run in x] for x in runs.values()]
  rows = [['median (lowest..highest)', *runs]]
  for title, key, format in (
    ('million words/s', 'speed', ',.2f'),
    ('seconds', 'seconds', ',.2f'),
    ('CPU seconds', 'cpu', ',.2f'),
    ('start and imports, seconds', 'imports', ',.2f'),
    ('peak MB', 'peak', ',.0f'),
    ('second run: store open', 'opened', ',.3f'),
    ('second run: compiling starts', 'compiling', ',.3f'),
    ('second run: training starts', 'compiled', ',.3f'),
  ):
    rows.append([title, *(spread(measured, format) for measured in values(key))])
  own, *of_peers = values('speed')
  for peer, speeds in zip([*runs][1:], of_peers, strict=True):
    ratios = [x / y for x, y in zip(own, speeds, strict=True)]
    rows.append([f'speed / {peer}', spread(ratios, '.2f'), *['-'] * len(of_peers)])
  return markdown_table(rows)


def _check(values):
  """Checks the flags before anything runs; returns the sizes in bytes."""
  check_output(values.output)
  sizes = sorted({int(x) * _MB if x.isdecimal() else 0 for x in values.sizes}) or [0]
  is_file, temporary = os.path.isfile(values.text), tempfile.gettempdir()
  needed = 4 * os.path.getsize(values.text) if is_file else 0  # two stores, 4 bytes for 'a '
  needed += (sum(sizes) + 2 * max(sizes)) * values.memory
  free = shutil.disk_usage(temporary).free
  told = f'{needed / _MB:,.0f} MB may be needed, {free / _MB:,.0f} MB are free'
  refuse([
    (not is_file, f'text={values.text!r}: file not found'),
    (values.rounds < 1, f'rounds must be at least 1, got {values.rounds}'),
    (not shutil.which(values.c_tool or 'sh'), f'c_tool={values.c_tool!r}: program not found'),
    (not all(sizes), f'sizes must be megabytes such as 200,2000; got {",".join(values.sizes)!r}'),
    (
      values.gensim and not find_spec('gensim'),
      "gensim is not installed; run pip install 'jw2v[benchmark]'",
    ),
    (free < needed, f'{temporary}: {told}; set TMPDIR to a folder on another disk'),
  ])  # fmt: skip
  return sizes


def run(values: Any) -> Iterator[str]:
  """Yields the sections of the page as soon as they are measured."""
  sizes, text = _check(values), os.path.abspath(values.text)
  names = ['jw2v', 'jax', 'pyarrow'] + ['gensim'] * values.gensim
  about = environment('benchmarks.corpus', names)
  size = f'- text: {os.path.getsize(text) / _MB:,.1f} MB'
  yield f'# Counting and encoding\n\n{about}\n{size}'
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    runs, counts = _run_in_turn(values, text, folder)
    yield f'## Speed\n\n{speed_table(runs)}\n\n{_NOTES}'
    if len(counts) > 1:
      lines = _start('compare', text=text, files=counts)
      yield '\n'.join([f'## Counts\n\nWords with at least {_MIN_COUNT} occurrences:\n', *lines])
    if values.memory:
      yield f'## Memory\n\n{_memory(text, sizes, values.rounds, folder)}\n\n{_MEMORY_NOTES}'


def _run_in_turn(values, text, folder):
  """Interleaves the systems, so that drift in machine load affects all of them equally."""
  with open(text, 'rb') as file:  # this also reads it into the page cache
    line_feeds = sum(part.count(b'\n') for part in iter(lambda: file.read(_READ), b''))
  counts = {'jw2v': f'{folder}/workdir/corpus/vocabulary.txt'}
  counts |= {'gensim': f'{folder}/gensim.txt'} if values.gensim else {}
  counts |= {'the C tool': f'{folder}/c_tool.txt'} if values.c_tool else {}
  tool = os.path.abspath(shutil.which(values.c_tool)) if values.c_tool else None
  job = {'text': text, 'is_one_line': line_feeds <= 1, 'tool': tool}
  systems = {
    name: functools.partial(_start, name, counts=path, **job) for name, path in counts.items()
  }
  runs = in_turn(values.rounds, {**systems, 'jw2v': functools.partial(_two_runs, text, folder)})
  for run in itertools.chain(*runs.values()):
    run['speed'] = runs['jw2v'][0]['words'] / run['seconds'] / 1e6
  return runs, counts


def _two_runs(text, folder):
  """Encodes, opens the store, and trains with it, each in its own process."""
  workdir = f'{folder}/workdir'
  shutil.rmtree(workdir, ignore_errors=True)
  job = {'text': text, 'folder': f'{workdir}/corpus', 'min_count': _MIN_COUNT}
  first, second = _start('encode', **job), _start('encode', **job)
  made = os.stat(job['folder']).st_ino
  times = _start('train', text=text, workdir=workdir)
  if os.stat(job['folder']).st_ino != made:
    raise ValueError('the second run encoded the text again instead of opening its store')
  return {**first, **times, 'opened': second['seconds']}


def _encode_anew(text, folder):
  measured = _start('encode', text=text, folder=folder, min_count=1)
  shutil.rmtree(folder)
  return measured


def _memory(text, sizes, rounds, folder):
  """Returns a table of the cost of encoding texts of several sizes with the same vocabulary."""
  from jw2v.cli.tables import markdown_table, spread

  files, store = [(f'{folder}/{size}.txt', size) for size in sizes], f'{folder}/store'
  _start('texts', text=text, folder=f'{folder}/words', files=files)
  rows = [['text MB', 'peak MB', 'above imports', 'different words', 'words', 'words/s', 'seconds']]
  for path, size in files:
    told = f'{size // _MB:,} MB of text'
    (runs,) = in_turn(rounds, {told: functools.partial(_encode_anew, path, store)}).values()
    peaks = [run['peak'] for run in runs]
    above = [run['peak'] - run['before'] for run in runs]
    speeds = [run['words'] / run['seconds'] for run in runs]
    measured = [spread(values, ',.0f') for values in (peaks, above, speeds)]
    told = [f'{runs[0][name]:,}' for name in ('different', 'words')]
    size = f'{os.path.getsize(path) / _MB:,.0f}'
    seconds = spread([run['seconds'] for run in runs], ',.1f')
    rows.append([size, *measured[:2], *told, measured[2], seconds])
    os.remove(path)
  return markdown_table(rows)


def main(argv: list[str]) -> None:
  """Runs the program."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is not a flag; write settings as --rounds=3')
  from jw2v.cli import process

  with process.one_line_errors(has_workers=True):
    print_page(run(flags.FLAGS), flags.FLAGS.output)


if __name__ == '__main__':  # flags are global, so importing this module must not define them
  flags.DEFINE_string('text', None, 'Text: a file of words.', required=True)
  flags.DEFINE_integer('rounds', 5, 'Number of rounds.')
  flags.DEFINE_bool('gensim', True, 'Whether to measure gensim.')
  flags.DEFINE_string(
    'c_tool', None, "Path of the C tool's program word2vec, to measure it as well."
  )
  flags.DEFINE_bool('memory', False, 'Whether to measure the memory of encoding as well.')
  flags.DEFINE_list('sizes', ['200', '2000'], 'With --memory: megabytes of the texts.')
  flags.DEFINE_string('output', None, 'File for the Markdown page.')
  app.run(main)
