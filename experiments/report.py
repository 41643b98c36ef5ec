"""Reports of a run: its summary, its TensorBoard events, and the plot of its loss.

The program prints `describe` before training. `TensorBoard` writes records during training, and
`draw_loss` draws them afterwards.
"""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
from matplotlib.figure import Figure
from ml_collections import config_dict
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

import jw2v
from experiments.settings import kind_of
from experiments.tables import plural
from jw2v.data.text import find_files
from jw2v.distributed.processes import num_processes
from jw2v.training.loop import Started
from jw2v.utils.files import atomic_write, naming

_NAMES = {  # of the data, its words and its lines
  'sessions': ('log', 'items', 'sessions'),
  'text': ('text', 'words', 'lines'),
  'walks': ('graph', 'nodes', 'walks'),
}
_TAGS = {  # in TensorBoard; any other measure of a record is a score
  'loss': 'loss/training',
  'held_out_loss': 'loss/held_out',
  'learning_rate': 'learning_rate',
  'words_per_second': 'words_per_second',
  'gradient_norm': 'norms/gradient',
  'center_norm': 'norms/center',
  'outside_norm': 'norms/outside',
}
_FLUSH_EVERY = 10  # seconds
_NO_MEASURE = ('step', 'epoch', 'words')


# The table at the start.


def describe(config: config_dict.ConfigDict, corpus: jw2v.EncodedCorpus, started: Started) -> str:
  """Returns the summary of a run: its data, model, device, memory and time."""
  what, words, lines = _NAMES[kind_of(config.data)]
  files = plural(len(find_files(config.data.path)), 'file')
  device = jax.devices()[0]
  count = f'{os.cpu_count()} cores' if device.platform == 'cpu' else f'{jax.device_count()} of them'
  seconds, settings, layout = started.seconds_left, started.config, started.layout
  rows = {
    what: f'{config.data.path} ({files}): {corpus.words_read:,} {words}',
    'vocabulary': f'{len(corpus.vocabulary):,} {words} with at least '
    f'{plural(settings.min_count, "occurrence")}; {len(corpus.ids):,} tokens in '
    f'{len(corpus.line_ends):,} {lines}',
    'model': f'{settings.architecture}, {settings.objective}, width {settings.dim}, window '
    f'{settings.window}' + _noise_and_ngrams(settings),
    'training': f'{plural(settings.epochs, "epoch")}, {settings.optimizer} from '
    f'{settings.learning_rate:g}, {settings.batch_size:,} windows per step, seed {settings.seed}',
    'device': f'{device.device_kind} ({count})',
    'layout': f'{layout.name}, {layout.devices} devices of {plural(num_processes(), "process")}'
    if layout.devices > 1
    else '',
    'memory': f'at most {started.predicted_bytes / 1e6:,.0f} MB (predicted)'
    if started.predicted_bytes
    else '',
    'time': f'{_duration(seconds)} (predicted)' if seconds is not None else '',
    'resumes': f'from step {started.step:,}, epoch {started.history[-1]["epoch"]:.2f}'
    if started.history and started.words_left
    else '',
    'finished': 'in an earlier run, which has these results' if not started.words_left else '',
  }
  width = max(map(len, rows))
  return '\n'.join(f'{name:{width}}  {text}' for name, text in rows.items() if text)


def _noise_and_ngrams(settings):
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


# TensorBoard.


class TensorBoard:
  """Writes the measures of each record as scalars for TensorBoard.

  `tensorboardX.SummaryWriter` would be shorter, but hangs if the disk is full: its thread dies of
  the error, and then `add_scalar` and `close` block on the queue to that thread. `EventsWriter`
  writes in the calling thread and raises.
  """

  def __init__(self, folder: pathlib.Path, history: list[dict[str, Any]]):
    """Starts a file of events, after the last step of a resumed run.

    TensorBoard drops the events that an interrupted run wrote after its last checkpoint. For a new
    run, event files of an earlier run are deleted.
    """
    if not history:
      for events in folder.glob('events.out.tfevents.*'):
        events.unlink()
    folder.mkdir(exist_ok=True)
    self._folder, self._flushed = folder, time.monotonic()
    with naming(folder):
      self._events = EventsWriter(str(folder / 'events'))
      first = history[-1]['step'] + 1 if history else 1
      self._write(first, session_log=SessionLog(status=SessionLog.START))

  def __call__(self, record: dict[str, Any]) -> None:
    """Writes the measures of a record."""
    with naming(self._folder):
      for name, value in record.items():
        if name not in _NO_MEASURE:
          tag = _TAGS.get(name, f'scores/{name}')
          self._write(record['step'], summary=scalar(tag, value))
      if time.monotonic() - self._flushed > _FLUSH_EVERY:
        self._events.flush()
        self._flushed = time.monotonic()

  def _write(self, step, **content):
    self._events.write_event(Event(step=step, wall_time=time.time(), **content))

  def close(self) -> None:
    """Writes buffered events and closes the file."""
    try:
      with naming(self._folder):
        self._events.close()
    except OSError:
      with contextlib.suppress(OSError):
        self._events._py_recordio_writer.close()  # EventsWriter.close has not reached it
      raise


# After the run.


def scores_of(records: Iterable[Mapping[str, Any]]) -> list[str]:
  """Returns the names of the scores in records, which are not measures of the training itself."""
  return sorted({name for record in records for name in record} - {*_TAGS, *_NO_MEASURE})


def loss_of_last_epoch(history: list[dict[str, Any]]) -> float:
  """Returns the mean loss of the last epoch, weighted by the words of each record.

  A single record covers a small part of the text, and the loss differs between parts.
  """
  words = [record['words'] for record in history]
  sizes = [end - begin for begin, end in zip([0, *words], words, strict=False)]
  first = history[-1]['epoch'] - 1
  chosen = [(n, r['loss']) for n, r in zip(sizes, history, strict=True) if r['epoch'] > first]
  return sum(n * loss for n, loss in chosen) / sum(n for n, _ in chosen)


def neighbors(kv: jw2v.KeyedVectors, words: Sequence[str], topn: int = 7) -> list[str]:
  """Returns a line for each word with its nearest words."""
  width = max(map(len, words))
  near = lambda word: ', '.join(neighbor for neighbor, _ in kv.most_similar(word, topn=topn))
  return [f'{word:>{width}}: {near(word)}' for word in words]


def draw_loss(history: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Draws the loss by epoch, and the scores below it if the records have any.

  Args:
    history: records of a run.
    path: the picture, with the extension .png or .svg.
  """
  scores = scores_of(history)
  figure = Figure(figsize=(8 if scores else 7, 6 if scores else 4), layout='constrained')
  axes = figure.subplots(2 if scores else 1, sharex=True, squeeze=False)[:, 0]
  _draw(axes[0], history, {'loss': 'training', 'held_out_loss': 'held out'})
  axes[0].set_ylabel('mean loss of a positive pair')
  if scores:
    _draw(axes[1], history, {name: name for name in scores})
    axes[1].set_ylabel('score')
  axes[-1].set_xlabel('epoch')
  with atomic_write(path) as file:
    figure.savefig(file, format=path.suffix[1:], dpi=150)


def _draw(axes, history, labels):
  for name, label in labels.items():
    points = [(record['epoch'], record[name]) for record in history if name in record]
    if points:
      axes.plot(*zip(*points, strict=True), label=label, marker='.' if len(points) < 30 else '')
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  if len(labels) > 1 and len(axes.lines) > 1:
    axes.legend(frameon=False, loc='center left', bbox_to_anchor=(1, 0.5))
