"""The table that a run begins with.

What belongs here: saying in some lines what was found and what a run will take.
"""

import os

import jax
from ml_collections import config_dict

import jw2v
from experiments.settings import kind_of
from experiments.tables import plural
from jw2v.data.text import find_files
from jw2v.distributed.processes import num_processes
from jw2v.training.loop import Started

_NAMES = {  # of the data, their words and their lines
  'sessions': ('log', 'items', 'sessions'),
  'text': ('text', 'words', 'lines'),
  'walks': ('graph', 'nodes', 'walks'),
}


def describe(config: config_dict.ConfigDict, corpus: jw2v.EncodedCorpus, started: Started) -> str:
  """The table that a run begins with."""
  what, words, lines = _NAMES[kind_of(config.data)]
  files = plural(len(find_files(config.data.path)), 'file')
  device = jax.devices()[0]
  count = f'{os.cpu_count()} cores' if device.platform == 'cpu' else f'{jax.device_count()} of them'
  seconds, settings, layout = started.seconds_left, started.config, started.layout
  rows = {
    what: f'{config.data.path} ({files}): {corpus.words_read:,} {words}',
    'vocabulary': f'{len(corpus.vocabulary):,} {words}, of {settings.min_count} occurrences or '
    f'more; {len(corpus.ids):,} in {len(corpus.line_ends):,} {lines} stay',
    'model': f'{settings.architecture}, {settings.objective}, width {settings.dim}, window '
    f'{settings.window}' + _noise_and_ngrams(settings),
    'training': f'{plural(settings.epochs, "epoch")}, {settings.optimizer} from '
    f'{settings.learning_rate:g}, {settings.batch_size:,} windows a step, seed {settings.seed}',
    'device': f'{device.device_kind} ({count})',
    'layout': f'{layout.name}, {layout.devices} devices of {plural(num_processes(), "process")}'
    if layout.devices > 1
    else '',
    'memory': f'{started.predicted_bytes / 1e6:,.0f} MB at most, predicted'
    if started.predicted_bytes
    else '',
    'time': f'{_duration(seconds)}, predicted' if seconds is not None else '',
    'goes on': f'from step {started.step:,}, epoch {started.history[-1]["epoch"]:.2f}'
    if started.history and started.words_left
    else '',
    'finished': 'before: these are its results' if not started.words_left else '',
  }
  width = max(map(len, rows))
  return '\n'.join(f'{name:{width}}  {text}' for name, text in rows.items() if text)


def _noise_and_ngrams(settings):
  """What the model has besides, for the table."""
  text = '' if settings.negatives is None else f', {settings.negatives} negatives'
  if settings.has_subwords:
    text += f', n-grams of {settings.minn} to {settings.maxn} characters'
  return text


def _duration(seconds: float) -> str:
  if seconds < 1:
    return 'less than 1 s'
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes} min'
  return f'{minutes} min {seconds} s' if minutes else f'{seconds} s'
