"""Systems that the benchmark compares: their settings, and the tasks of their processes.

Each task imports only the libraries of its system, so no process pays for the libraries of another.
"""

import ast
import dataclasses
import difflib
import functools
import importlib
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks.workers import peak_bytes, run_program

LONGEST_LINE, LINE = 10_000, 1_000  # words; gensim truncates longer lines at the first number
RESTRICT = 30_000  # first words that can be answers of analogies
_READ = 1 << 20  # bytes


def cut_lines(path: str | os.PathLike, size: int) -> Iterator[list[bytes]]:
  """Yields the nonempty lines of a text as lists of words, split after every `size` words."""
  line, rest, part = [], b'', b' '
  with open(path, 'rb') as file:
    while part:  # with constant memory
      part = file.readline(_READ)
      words = (rest + part).split()
      # The next part has the rest of a split word.
      rest = words.pop() if words and part and not part[-1:].isspace() else b''
      line += words
      ends = not part or part.endswith(b'\n')
      whole = len(line) if ends else len(line) - len(line) % size
      yield from (line[i : min(i + size, whole)] for i in range(0, whole, size))
      line = line[whole:]


def train_config(
  settings: Mapping[str, Any], assignments: Iterable[str] = (), variant: str = ''
) -> Any:
  """Returns the `jw2v.TrainConfig` of a benchmark.

  Args:
    settings: settings of all systems.
    assignments: other settings of jw2v, such as 'batch_size=2048'.
    variant: settings of either kind that override both, such as 'dim=50,learning_rate=0.1'.

  Raises:
    ValueError: a setting is unknown, or its value is invalid.
  """
  import jw2v

  known = sorted({field.name for field in dataclasses.fields(jw2v.TrainConfig)} - {'seed'})
  values = dict(settings)
  varied = [('variant', assignment) for assignment in variant.split(',') if variant]
  for flag, assignment in [*(('set', assignment) for assignment in assignments), *varied]:
    name, equals, value = assignment.partition('=')
    if not equals:
      raise ValueError(f'{flag} must be NAME=VALUE, got {assignment!r}')
    if flag == 'set' and name in settings:
      other = 'seeds' if name == 'seed' else name
      raise ValueError(f'set={assignment!r}: all systems have this setting; use --{other}')
    if name not in known:
      near = difflib.get_close_matches(name, known, 1, cutoff=0)[0]
      raise ValueError(f'{flag}={assignment!r}: unknown setting; did you mean {near!r}?')
    if name == 'objective':
      values['negatives'] = None  # the default of the objective, unless given
    try:
      values[name] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      values[name] = value  # a word
  return jw2v.TrainConfig(**values)


def _check(job):
  """Checks the settings and the data sets; returns the device of jw2v."""
  import jax

  from benchmarks import quality
  from jw2v.distributed.backend import prepare_backend

  if job['evaluation'] is not None:
    quality.read_evaluation(job['evaluation'])
  for variant in ['', *job['variants']]:
    train_config(job['settings'], job['set'], variant)

  prepare_backend()
  return {'device': jax.devices()[0].device_kind}


def _train_jw2v(job):
  import jw2v

  config = train_config(job['settings'], job['set'], job['variant'])
  result = jw2v.train(job['text'], config, progress=False)
  jw2v.save_vectors(result.vectors, job['vectors'])
  words = result.history[-1]['words']
  seconds = words / result.words_per_second
  return {'words': words, 'seconds': seconds, 'predicted': result.predicted_bytes}


def _rate(job, name):
  """Returns the starting learning rate of a peer as an argument; nothing for its default."""
  return {} if job['peer_rate'] is None else {name: job['peer_rate']}


def _train_gensim(job):
  from gensim.models import FastText, Word2Vec

  settings, epochs = job['settings'], job['settings']['epochs']
  ngrams = {'min_n': settings['minn'], 'max_n': settings['maxn'], 'bucket': settings['bucket']}
  make = functools.partial(FastText, **ngrams) if settings['maxn'] else Word2Vec
  model = make(
    sg=int(settings['architecture'] == 'skip_gram'), vector_size=settings['dim'],
    window=settings['window'], negative=settings['negatives'] or 0, sample=settings['sample'],
    hs=int(settings['objective'] == 'hierarchical_softmax'),
    min_count=settings['min_count'], epochs=epochs, workers=job['threads'], seed=settings['seed'],
    shrink_windows=settings.get('dynamic_window', True),
    **_rate(job, 'alpha'),
  )  # fmt: skip
  model.build_vocab(corpus_file=job['lines'])
  totals = {'total_examples': model.corpus_count, 'total_words': model.corpus_total_words}
  start = time.perf_counter()
  model.train(corpus_file=job['lines'], **totals, epochs=epochs)
  seconds = time.perf_counter() - start
  model.wv.save_word2vec_format(job['vectors'])
  counts = sum(model.wv.get_vecattr(word, 'count') for word in model.wv.index_to_key)
  return {'words': int(counts) * epochs, 'seconds': seconds}


def _train_fasttext(job):
  import fasttext

  settings, dim, epochs = job['settings'], job['settings']['dim'], job['settings']['epochs']
  # train_unsupervised does not accept a seed, but reads its default here.
  fasttext.FastText.unsupervised_default['seed'] = settings['seed']
  start = time.perf_counter()
  model = fasttext.train_unsupervised(
    job['lines'], model=settings['architecture'].replace('_', ''), dim=dim, ws=settings['window'],
    neg=settings['negatives'] or 5, minCount=settings['min_count'], epoch=epochs, verbose=0,
    loss='hs' if settings['objective'] == 'hierarchical_softmax' else 'ns',
    minn=settings['minn'], maxn=settings['maxn'],
    bucket=settings['bucket'] if settings['maxn'] else 0,
    t=settings['sample'] or 1.0,  # in fastText, 0 drops every word
    thread=job['threads'], **_rate(job, 'lr'),
  )  # fmt: skip
  seconds = time.perf_counter() - start
  counts = dict(zip(*model.get_words(include_freq=True), strict=True))
  counts.pop('</s>', None)  # the end of a line
  with open(job['vectors'], 'w', encoding='utf-8', newline='\n') as file:
    file.write(f'{len(counts)} {dim}\n')
    row = '%s' + ' %.9g' * dim + '\n'
    file.writelines(row % (word, *model.get_word_vector(word)) for word in counts)
  return {'words': int(sum(counts.values())) * epochs, 'seconds': seconds}


def _train_word2vec(job):
  """Runs the C tool, and measures the time and memory of its whole process."""
  settings, counts = job['settings'], f'{job["vectors"]}.counts'
  arguments = {
    'train': job['text'], 'output': job['vectors'], 'save-vocab': counts, 'size': settings['dim'],
    'window': settings['window'], 'sample': settings['sample'],
    'negative': settings['negatives'] or 0,
    'hs': int(settings['objective'] == 'hierarchical_softmax'),
    'cbow': int(settings['architecture'] == 'cbow'), 'threads': job['threads'],
    'iter': settings['epochs'], 'min-count': settings['min_count'], **_rate(job, 'alpha'),
  }  # fmt: skip
  command = [part for name, value in arguments.items() for part in (f'-{name}', f'{value}')]
  for path in (job['vectors'], counts):
    pathlib.Path(path).unlink(missing_ok=True)  # of another system, if the tool writes nothing
  start = time.perf_counter()
  done = run_program(['word2vec', *command])
  seconds = time.perf_counter() - start
  if done['status'] or not os.path.exists(job['vectors']):
    raise ValueError(f'word2vec must write vectors and exit with 0, got {done["status"]:.0f}')
  words = dict(line.split() for line in pathlib.Path(counts).read_bytes().splitlines())
  words.pop(b'</s>', None)  # the end of a line
  return {
    'words': sum(map(int, words.values())) * settings['epochs'],
    'seconds': seconds,
    'total_seconds': seconds,
    'peak': done['peak'],
  }


_TRAIN = {
  'jw2v': _train_jw2v,
  'gensim': _train_gensim,
  'fasttext': _train_fasttext,
  'word2vec': _train_word2vec,
}


def _train(job):
  """Trains and saves vectors, measures time and memory, and then scores the saved vectors."""
  result = _TRAIN[job['task']](job)
  result.setdefault('total_seconds', time.monotonic() - job['started'])
  result.setdefault('peak', peak_bytes())
  result['scores'] = {}
  if job['evaluation']:
    import jw2v

    evaluator = importlib.import_module(job['evaluator'])
    result['scores'] = evaluator.evaluate(job['evaluation'], jw2v.load_vectors(job['vectors']))
  return result


def _time_parts(job):
  from benchmarks.profile import measure_parts

  return measure_parts(job['text'], train_config(job['settings'], job['set']))


TASKS = {'check': _check, 'parts': _time_parts, **dict.fromkeys(_TRAIN, _train)}
