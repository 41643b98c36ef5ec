"""Measures of a run as scalars for TensorBoard."""

import contextlib
import pathlib
import time
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from jw2v.utils.files import naming

TAGS = {  # any other measure of a record is a score
  'loss': 'loss/training',
  'held_out_loss': 'loss/held_out',
  'learning_rate': 'learning_rate',
  'words_per_second': 'words_per_second',
  'gradient_norm': 'norms/gradient',
  'center_norm': 'norms/center',
  'outside_norm': 'norms/outside',
}
_NO_MEASURE = ('step', 'epoch', 'words')
_FLUSH_EVERY = 10  # seconds


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
          tag = TAGS.get(name, f'scores/{name}')
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
