"""What a run tells: metrics.jsonl, TensorBoard's events, and the picture of the loss.

What belongs here: writing records as they are made, and drawing them when the run has ended.
"""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.figure import Figure
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from jw2v.utils.files import atomic_write, naming

_TAGS = {  # of TensorBoard; what else a record has is a score
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


class Metrics:
  """Writes each record of a run to `metrics.jsonl` and `tensorboard/` in its workdir."""

  def __init__(self, workdir: pathlib.Path, history: list[dict[str, Any]]):
    """Begins with the records that the run has, if it goes on from a checkpoint.

    What was written after that checkpoint, by the run that was interrupted, is taken back.
    """
    path = workdir / 'metrics.jsonl'
    with atomic_write(path) as file:
      file.write(''.join(json.dumps(record) + '\n' for record in history).encode())
    self._file = open(path, 'ab', buffering=0)  # closed by close()
    last = history[-1]['step'] if history else 0
    if not history:  # what is there is of another run
      for events in (workdir / 'tensorboard').glob('events.out.tfevents.*'):
        events.unlink()
    self._folder, self._flushed = workdir / 'tensorboard', time.monotonic()
    self._folder.mkdir(exist_ok=True)
    # Not tensorboardX.SummaryWriter, whose thread dies of a full disk, and all wait for it.
    with naming(self._folder):
      self._events = EventsWriter(str(self._folder / 'events'))
      self._write(last + 1, file_version='brain.Event:2')
      self._write(last + 1, session_log=SessionLog(status=SessionLog.START))

  def __call__(self, record: dict[str, Any]) -> None:
    """Writes a record."""
    line, size = (json.dumps(record) + '\n').encode(), self._file.seek(0, os.SEEK_END)
    with naming(self._file.name):
      try:
        while line:
          line = line[self._file.write(line) :]  # a full disk takes a part first
      except OSError:
        self._file.truncate(size)
        raise
    with naming(self._folder):
      for name, value in record.items():
        if name not in _NO_MEASURE:
          scalar = Summary.Value(tag=_TAGS.get(name, f'scores/{name}'), simple_value=value)
          self._write(record['step'], summary=Summary(value=[scalar]))
      if time.monotonic() - self._flushed > _FLUSH_EVERY:
        self._events.flush()
        self._flushed = time.monotonic()

  def _write(self, step, **what):
    self._events.write_event(Event(step=step, wall_time=time.time(), **what))

  def close(self) -> None:
    """Writes what is waiting."""
    self._file.close()
    try:
      with naming(self._folder):
        self._events.close()
    except OSError:
      with contextlib.suppress(OSError):
        self._events._py_recordio_writer.close()  # which a full disk has kept it from
      raise


def scores_of(records: Iterable[Mapping[str, Any]]) -> list[str]:
  """The names of the scores in records: of all that is no measure of the training itself."""
  return sorted({name for record in records for name in record} - {*_TAGS, *_NO_MEASURE})


def loss_of_last_epoch(history: list[dict[str, Any]]) -> float:
  """The mean of the losses of the last epoch, by the words that they are of.

  One record is of a small part of the text, and a text is not alike everywhere.
  """
  words = [record['words'] for record in history]
  sizes = [end - begin for begin, end in zip([0, *words], words, strict=False)]
  first = history[-1]['epoch'] - 1
  chosen = [(n, r['loss']) for n, r in zip(sizes, history, strict=True) if r['epoch'] > first]
  return sum(n * loss for n, loss in chosen) / sum(n for n, _ in chosen)


def draw_loss(history: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Draws the loss over the epochs, and below it the scores if there are any.

  Args:
    history: records of a run.
    path: the picture, .png or .svg.
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
