"""Training history: collects step results into records for callbacks and the progress bar."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jw2v.training.step import Results
from jw2v.utils.limits import shown
from jw2v.utils.progress_bar import progress_bar

RECORDS_PER_EPOCH = 20
_BAR_DELAY = 0.5  # seconds; a shorter run shows no bar


def mean_losses(history: Sequence[dict[str, Any]]) -> list[float]:
  """Returns the mean loss over the epoch before each record, weighted by words.

  The loss differs between parts of a text, and increases in harder parts. Its mean over an epoch
  decreases as long as training makes progress. In the first epoch it is the mean since the start.
  """
  words = [record['words'] for record in history]
  sizes = [end - begin for begin, end in zip([0, *words], words, strict=False)]
  means = []
  for last, record in enumerate(history):
    first = last
    while first and history[first - 1]['epoch'] > record['epoch'] - 1 + 1e-9:
      first -= 1
    weighted = [
      n * r['loss'] for n, r in zip(sizes[first : last + 1], history[first:], strict=False)
    ]
    means.append(sum(weighted) / max(1, sum(sizes[first : last + 1])))
  return means


# Names of the measurements in a record; scores of the user have others.
MEASUREMENTS = (
  'step', 'epoch', 'words', 'words_per_second', 'loss', 'learning_rate', 'gradient_norm',
  'center_norm', 'outside_norm', 'held_out_loss',
)  # fmt: skip


def check_scores(scores: Any) -> dict[str, float]:
  """Checks the scores returned by an `evaluate` function, and returns them for a record.

  Raises:
    TypeError: they are not a dict of numbers.
    ValueError: a record already has an entry with this name.
  """
  if not isinstance(scores, Mapping):
    raise TypeError(f'evaluate must return a dict of numbers, got {shown(repr(scores))}')
  checked = {}
  for name, value in scores.items():
    if not isinstance(name, str):
      raise TypeError(f'evaluate must return a dict whose keys are strings, got the key {name!r}')
    if name in MEASUREMENTS:
      raise ValueError(
        f'evaluate must return names other than those of the record, got {name!r}; rename it, '
        f'such as {"my_" + name!r}'
      )
    try:
      checked[name] = float(value)
    except (TypeError, ValueError) as error:
      found = shown(repr(value))
      raise TypeError(f'evaluate must return numbers, got {name}={found}') from error
  return checked


_SAVED = (
  'history', 'step', 'words', 'seconds', '_loss', '_predictions', '_squares', '_steps',
  '_recorded_words', '_recorded_seconds', '_scheduled_words',
)  # fmt: skip


class History:
  """Collects the results of dispatches into records.

  Attributes:
    history: the records: step, epoch, words, words_per_second, loss (mean over the predictions
      of a sixteenth of the blocks since the previous record), learning_rate,
      gradient_norm (root mean square since the previous record), and any other measurement.
    step: number of steps.
    words: number of corpus words read.
    total_words: corpus words of the whole run.
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
      epochs: number of passes over it.
      show: True to show a progress bar on standard error.
      callbacks: functions that are called with each record.

    Raises:
      ImportError: the progress bar needs tqdm, which is not installed.
    """
    self.history: list[dict[str, Any]] = []
    self.words: int = 0
    self.total_words: int = epochs * num_words
    self.seconds: float = 0.0
    self._num_words, self._callbacks = num_words, callbacks
    self.step: int = 0
    self._loss, self._predictions = 0.0, 0.0
    self._squares, self._steps = 0.0, 0
    self._bar = progress_bar(self.total_words, ' words', 'training', _BAR_DELAY) if show else None
    self._start = time.perf_counter()
    self._recorded_words, self._recorded_seconds, self._scheduled_words = 0, 0.0, 0

  def add(
    self,
    words: int,
    results: Results,
    measured: dict[str, float] | None = None,
    seconds: float | None = None,
    *,
    last: bool = False,
  ) -> None:
    """Adds the results of a dispatch.

    Args:
      words: corpus words read by the end of the dispatch.
      results: its results; this method waits until they are computed.
      measured: further measurements after the dispatch, which make a record; None for no record.
      seconds: the `clock` at which the results were computed; now by default.
      last: True for the last dispatch of the run, which makes a record too.

    Raises:
      FloatingPointError: a loss is not finite; the message has the step.
    """
    losses, predictions, rates, squares = map(np.asarray, results)
    learning_rate = float(rates[-1])
    self.seconds = self.clock() if seconds is None else seconds
    diverged = np.flatnonzero(~np.isfinite(losses))
    if diverged.size:
      raise FloatingPointError(
        f'step {self.step + diverged[0] + 1}: the loss must be finite, got {losses[diverged[0]]} '
        f'at learning rate {rates[diverged[0]]:.4g}; the run diverged, try a lower learning_rate'
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

  def clock(self) -> float:
    """Returns the seconds since the start, without the pauses."""
    return time.perf_counter() - self._start

  def begins_record(self, words: int, now: bool = False) -> bool:
    """Returns whether a record ends with the dispatch up to this word: 20 per epoch.

    The decision comes before the results, since measurements must be started with the dispatch.
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
        f'epoch {record["epoch"]:.2f}, loss {mean_losses(self.history)[-1]:.3f}, '
        f'rate {learning_rate:.4f}',
        refresh=False,
      )
    for callback in self._callbacks:
      callback(record.copy())  # a callback may change it

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Stops the clock during measurements that are not part of training."""
    began = time.perf_counter()
    try:
      yield
    finally:
      self._start += time.perf_counter() - began

  def saved(self) -> dict[str, Any]:
    """Returns the JSON values that `load` needs."""
    return {name: getattr(self, name) for name in _SAVED}

  def load(self, saved: dict[str, Any]) -> None:
    """Resumes from the values of `saved`, as if no time had passed since."""
    for name in _SAVED:
      setattr(self, name, saved[name])
    self._start = time.perf_counter() - self.seconds
    self._reset_bar()

  def go_back(self, words: int) -> None:
    """Resets the number of words read to a smaller number; the words after it are read again."""
    self.words = words
    self._recorded_words = min(self._recorded_words, words)
    self._scheduled_words = min(self._scheduled_words, words)
    self._reset_bar()

  def _reset_bar(self) -> None:
    # The speed that the bar shows must not include words of an earlier process.
    if self._bar is not None:
      self._bar.n = self._bar.initial = self._bar.last_print_n = self.words

  def close(self) -> None:
    """Removes the progress bar from the terminal."""
    if self._bar is not None:
      self._bar.close()
