"""What a run tells while it runs: its history, its callbacks and its progress bar.

What belongs here: turning the results of compiled calls into records, and showing them.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

RECORDS_PER_EPOCH = 20


class Progress:
  """Collects the results of calls into the records of a history.

  Attributes:
    history: the records so far: step, epoch, words, words_per_second, loss (the mean
      over the predictions since the record before), learning_rate.
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
    self.words, self.total_words, self.seconds = 0, epochs * num_words, 0.0
    self._num_words, self._callbacks = num_words, callbacks
    self._step, self._loss, self._predictions = 0, 0.0, 0
    self._bar = progress_bar(self.total_words, ' words', 'training') if show else None
    self._start = time.perf_counter()
    self._recorded_words, self._recorded_seconds = 0, 0.0

  def add(
    self,
    words: int,
    losses: np.ndarray,
    predictions: np.ndarray,
    learning_rates: np.ndarray,
    held_out_loss: float | None = None,
    *,
    last: bool = False,
  ) -> None:
    """Takes the result of a call, and makes a record 20 times in an epoch.

    Args:
      words: corpus words read by the end of the call.
      losses: `[S]` the summed loss of each step; waits until it is computed.
      predictions: `[S]` how many predictions each sum has.
      learning_rates: `[S]` of the steps.
      held_out_loss: the mean loss on held-out text after the call, if it was measured.
      last: whether the run ends with this call.

    Raises:
      FloatingPointError: a loss is not finite; the message has the step.
    """
    losses, predictions = np.asarray(losses), np.asarray(predictions)
    learning_rate = float(learning_rates[-1])
    self.seconds = time.perf_counter() - self._start
    diverged = np.flatnonzero(~np.isfinite(losses))
    if diverged.size:
      raise FloatingPointError(
        f'step {self._step + diverged[0] + 1}: the loss is {losses[diverged[0]]} at learning '
        f'rate {learning_rate:.4g}; the run diverged, and a lower learning_rate may hold it'
      )
    self._step += int(np.count_nonzero(predictions))
    self._loss += float(losses.sum(dtype=np.float64))
    self._predictions += int(predictions.sum(dtype=np.int64))
    if self._bar is not None:
      self._bar.update(words - self.words)
    self.words = words
    due = words - self._recorded_words >= self._num_words / RECORDS_PER_EPOCH
    if self._predictions and (due or last or held_out_loss is not None):
      self._record(learning_rate, held_out_loss)

  def _record(self, learning_rate, held_out_loss):
    words, seconds = self.words - self._recorded_words, self.seconds - self._recorded_seconds
    record = {
      'step': self._step,
      'epoch': self.words / self._num_words,
      'words': self.words,
      'words_per_second': words / seconds,
      'loss': self._loss / self._predictions,
      'learning_rate': learning_rate,
    }
    if held_out_loss is not None:
      record['held_out_loss'] = held_out_loss
    self.history.append(record)
    self._loss, self._predictions = 0.0, 0
    self._recorded_words, self._recorded_seconds = self.words, self.seconds
    if self._bar is not None:
      self._bar.set_postfix_str(
        f'loss {record["loss"]:.3f}, rate {learning_rate:.4f}', refresh=False
      )
    for callback in self._callbacks:
      callback(record)

  def close(self) -> None:
    """Takes the bar away from the terminal's last line."""
    if self._bar is not None:
      self._bar.close()


def import_tqdm():
  """The module of the progress bar; an `ImportError` that says how to get it."""
  try:
    import tqdm
  except ImportError as error:
    raise ImportError(
      "the progress bar needs tqdm: pip install 'jw2v[text]', or train(..., progress=False)"
    ) from error
  return tqdm


def progress_bar(total: int | None, unit: str, description: str, delay: float = 0):
  """A bar on standard error, of tqdm.

  Args:
    total: how much there is to do; None if nobody knows.
    unit: of what.
    description: what is done.
    delay: what takes fewer seconds shows no bar.

  Raises:
    ImportError: tqdm is not there.
  """
  every = 0.2 if sys.stderr.isatty() else 20  # seconds: few lines in a log file
  return import_tqdm().tqdm(
    total=total, unit=unit, unit_scale=True, mininterval=every, desc=description, delay=delay
  )
