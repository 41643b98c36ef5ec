"""The systems that the benchmark compares, each trained once in a process of its own.

What belongs here: the settings of each system, and what a process does for the benchmark. jw2v
and the peers are imported where they are used: no process pays for the libraries of another.
"""

import ast
import dataclasses
import difflib
import functools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks.profile import measure_parts
from benchmarks.workers import peak_bytes

LONGEST_LINE, LINE = 10_000, 1_000  # words; gensim cuts off what is longer than the first
RESTRICT = 30_000  # words among which the answers of analogies are looked for
_READ = 1 << 20  # bytes


def cut_lines(path: str | os.PathLike, size: int) -> Iterator[list[bytes]]:
  """The lines of a text as words, cut after every `size`; empty ones are left out."""
  line, rest, part = [], b'', b' '
  with open(path, 'rb') as file:
    while part:  # memory does not grow with the text
      part = file.readline(_READ)
      words = (rest + part).split()
      # A word that is cut goes on in the next part.
      rest = words.pop() if words and part and not part[-1:].isspace() else b''
      line += words
      ends = not part or part.endswith(b'\n')
      whole = len(line) if ends else len(line) - len(line) % size
      yield from (line[i : min(i + size, whole)] for i in range(0, whole, size))
      line = line[whole:]


def train_config(
  settings: Mapping[str, Any], assignments: Iterable[str] = (), variant: str = ''
) -> Any:
  """The `jw2v.TrainConfig` of settings by name and of others as 'batch_size=2048', jw2v's own.

  Args:
    settings: those that all systems have.
    assignments: those that jw2v alone has.
    variant: what takes their place, settings of either kind: 'dim=50,learning_rate=0.1'.

  Returns:
    The config.

  Raises:
    ValueError: a setting or its value is not one of jw2v's.
  """
  import jw2v

  known = sorted({field.name for field in dataclasses.fields(jw2v.TrainConfig)} - {'seed'})
  values = dict(settings)
  varied = [('variant', assignment) for assignment in variant.split(',') if variant]
  for flag, assignment in [*(('set', assignment) for assignment in assignments), *varied]:
    name, equals, value = assignment.partition('=')
    if not equals:
      raise ValueError(f'{flag}={assignment!r}: must be NAME=VALUE')
    if flag == 'set' and name in settings:
      other = 'seeds' if name == 'seed' else name
      raise ValueError(f'set={assignment!r}: every system has this setting: it is --{other}')
    if name not in known:
      near = difflib.get_close_matches(name, known, 1, cutoff=0)[0]
      raise ValueError(f'{flag}={assignment!r}: no such setting; did you mean {near!r}?')
    if name == 'objective':
      values['negatives'] = None  # unless they are named: its own number
    try:
      values[name] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      values[name] = value  # a word
  return jw2v.TrainConfig(**values)


def _check(job):
  """The settings are allowed and the data sets are sound; and what jw2v would run on."""
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
  # train_unsupervised takes no seed, but reads its default here.
  fasttext.FastText.unsupervised_default['seed'] = settings['seed']
  start = time.perf_counter()
  model = fasttext.train_unsupervised(
    job['lines'], model=settings['architecture'].replace('_', ''), dim=dim, ws=settings['window'],
    neg=settings['negatives'] or 5, minCount=settings['min_count'], epoch=epochs, verbose=0,
    loss='hs' if settings['objective'] == 'hierarchical_softmax' else 'ns',
    minn=settings['minn'], maxn=settings['maxn'],
    bucket=settings['bucket'] if settings['maxn'] else 0,
    t=settings['sample'] or 1.0,  # to fastText, 0 drops every word
    thread=job['threads'],
  )  # fmt: skip
  seconds = time.perf_counter() - start
  counts = dict(zip(*model.get_words(include_freq=True), strict=True))
  counts.pop('</s>', None)  # it stands for the end of a line
  with open(job['vectors'], 'w', encoding='utf-8', newline='\n') as file:
    file.write(f'{len(counts)} {dim}\n')
    row = '%s' + ' %.9g' * dim + '\n'
    file.writelines(row % (word, *model.get_word_vector(word)) for word in counts)
  return {'words': int(sum(counts.values())) * epochs, 'seconds': seconds}


_TRAIN = {'jw2v': _train_jw2v, 'gensim': _train_gensim, 'fasttext': _train_fasttext}


def _train(job):
  """Trains and saves, then takes the measures, then scores what was saved."""
  result = _TRAIN[job['task']](job)
  result['total_seconds'] = time.monotonic() - job['started']
  result['peak'] = peak_bytes()
  result['scores'] = {}
  if job['evaluation']:
    import jw2v
    from benchmarks import quality

    kv = jw2v.load_vectors(job['vectors'])
    result['scores'] = quality.evaluate(job['evaluation'], kv, RESTRICT)
  return result


def _time_parts(job):
  return measure_parts(job['text'], train_config(job['settings'], job['set']))


TASKS = {'check': _check, 'parts': _time_parts, **dict.fromkeys(_TRAIN, _train)}
