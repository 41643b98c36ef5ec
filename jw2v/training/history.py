"""What a run tells while it runs: its history, for its callbacks and its progress bar.

What belongs here: turning the results of compiled calls into records.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jw2v.training.step import Results
from jw2v.utils.progress_bar import progress_bar

RECORDS_PER_EPOCH = 20
_SAVED = (
  'history', 'step', 'words', 'seconds', '_loss', '_predictions', '_squares', '_steps',
  '_recorded_words', '_recorded_seconds', '_scheduled_words',
)  # fmt: skip


class Progress:
  """Collects the results of calls into the records of a history.

  Attributes:
    history: the records so far: step, epoch, words, words_per_second, loss (the mean
      over an eighth of the predictions since the record before, the first of each step),
      learning_rate, gradient_norm (the root mean square since then), and what else was
      measured.
    step: steps so far.
    words: corpus words read so far.
    total_words: those that the whole run reads.
    seconds: wall time from the creation of this object to the last result.
  """

  def __init__(
    self,
    num_words: int,
    epochs: int,
    *,
    show: bool,
    callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
  ):
    """Starts the clock.

    Args:
      num_words: words of the corpus.
      epochs: passes over it.
      show: with a progress bar on standard error.
      callbacks: called with each record as it is made.

    Raises:
      ImportError: the bar is asked for and tqdm is not there.
    """
    self.history: list[dict[str, Any]] = []
    self.words: int = 0
    self.total_words: int = epochs * num_words
    self.seconds: float = 0.0
    self._num_words, self._callbacks = num_words, callbacks
    self.step: int = 0
    self._loss, self._predictions = 0.0, 0.0
    self._squares, self._steps = 0.0, 0
    self._bar = progress_bar(self.total_words, ' words', 'training', 0.5) if show else None
    self._start = time.perf_counter()
    self._recorded_words, self._recorded_seconds, self._scheduled_words = 0, 0.0, 0

  def add(
    self,
    words: int,
    results: Results,
    measured: dict[str, float] | None = None,
    done_at: float | None = None,
    *,
    last: bool = False,
  ) -> None:
    """Takes the result of a call.

    Args:
      words: corpus words read by the end of the call.
      results: of the call; waits until they are computed.
      measured: what else is known after the call, to make a record of; None for no record.
      done_at: the `time.perf_counter` of when they were computed; now if not given.
      last: whether the run ends with this call, which makes a record too.

    Raises:
      FloatingPointError: a loss is not finite; the message has the step.
    """
    losses, predictions, rates, squares = map(np.asarray, results)
    learning_rate = float(rates[-1])
    self.seconds = (time.perf_counter() if done_at is None else done_at) - self._start
    diverged = np.flatnonzero(~np.isfinite(losses))
    if diverged.size:
      raise FloatingPointError(
        f'step {self.step + diverged[0] + 1}: the loss is {losses[diverged[0]]} at learning '
        f'rate {learning_rate:.4g}; the run diverged, and a lower learning_rate may hold it'
      )
    steps = int(np.count_nonzero(predictions))
    self.step += steps
    self._loss += float(losses.sum(dtype=np.float64))
    self._predictions += float(predictions.sum(dtype=np.float64))
    self._squares += float(squares[predictions > 0].sum(dtype=np.float64))
    self._steps += steps
    if self._bar is not None:
      self._bar.update(words - self.words)
    self.words = words
    if self._predictions and (last or measured is not None):
      self._record(learning_rate, measured or {})

  def begins_record(self, words: int, now: bool = False) -> bool:
    """Whether the call that ends with so many words is to make a record: 20 times an epoch.

    Results come later than calls begin: what is to be measured is decided here.
    """
    due = now or words - self._scheduled_words >= self._num_words / RECORDS_PER_EPOCH
    if due:
      self._scheduled_words = words
    return due

  def _record(self, learning_rate, measured):
    words, seconds = self.words - self._recorded_words, self.seconds - self._recorded_seconds
    record = {
      'step': self.step,
      'epoch': self.words / self._num_words,
      'words': self.words,
      'words_per_second': words / seconds,
      'loss': self._loss / self._predictions,
      'learning_rate': learning_rate,
      'gradient_norm': (self._squares / self._steps) ** 0.5,
      **{name: float(value) for name, value in measured.items()},
    }
    self.history.append(record)
    self._loss, self._predictions, self._squares, self._steps = 0.0, 0.0, 0.0, 0
    self._recorded_words, self._recorded_seconds = self.words, self.seconds
    if self._bar is not None:
      self._bar.set_postfix_str(
        f'epoch {record["epoch"]:.2f}, loss {record["loss"]:.3f}, rate {learning_rate:.4f}',
        refresh=False,
      )
    for callback in self._callbacks:
      callback(record)

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Stops the clock: what is measured meanwhile is not training."""
    began = time.perf_counter()
    try:
      yield
    finally:
      self._start += time.perf_counter() - began

  def saved(self) -> dict[str, Any]:
    """All that `load` needs, in values that JSON has."""
    return {name: getattr(self, name) for name in _SAVED}

  def load(self, saved: dict[str, Any]) -> None:
    """Goes on from what `saved` gave, as if no time had passed since."""
    for name in _SAVED:
      setattr(self, name, saved[name])
    self._start = time.perf_counter() - self.seconds
    if self._bar is not None:  # what was done before is not done now, nor as fast
      self._bar.n = self._bar.initial = self._bar.last_print_n = self.words

  def go_back(self, words: int) -> None:
    """Sets back how many words have been read; those after them are read again."""
    self.words = words
    self._recorded_words = min(self._recorded_words, words)
    self._scheduled_words = min(self._scheduled_words, words)
    if self._bar is not None:
      self._bar.n = self._bar.initial = self._bar.last_print_n = words

  def close(self) -> None:
    """Takes the bar away from the terminal's last line."""
    if self._bar is not None:
      self._bar.close()
