"""The loop of a run: from its first call, or the newest checkpoint, to its last.

What belongs here: joining the stream of calls, the compiled steps, the checkpoints and the
records. A thread draws blocks of windows, one compiled call runs many
steps over them with the tables donated, and the result of a call is read while the next one
runs.
"""

import collections
import contextlib
import dataclasses
import functools
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.config import TrainConfig
from jw2v.data.store import EncodedCorpus
from jw2v.data.stream import in_background
from jw2v.distributed.agreement import together
from jw2v.distributed.layout import Layout, make_layout
from jw2v.losses.window import Word2VecParams
from jw2v.objectives.objective import prepare
from jw2v.training.checkpoints import Checkpoints, Stopped
from jw2v.training.history import Progress
from jw2v.training.memory import predict_peak
from jw2v.training.start import HELD_OUT_EPOCH, begin, steps_per_call, texts
from jw2v.training.state import make_vectors
from jw2v.training.step import compile_steps, make_evaluate, row_norms
from jw2v.vectors.keyed_vectors import KeyedVectors

_CALLS_AHEAD = 2


@dataclasses.dataclass
class Started:
  """What is known when a run has started, for `train(..., started=)`.

  Attributes:
    step: the step that it goes on from: 0, or that of the checkpoint.
    history: the records up to there.
    words_left: corpus words to read from there on.
    config: the settings that it trains with, on its devices.
    layout: the devices, and what each of them has.
    predicted_bytes: peak memory of the process; 0 if nothing is left to do.
    seconds_left: as long as all calls take what the second one took; None for a run of
      fewer than two.
  """

  step: int
  history: list[dict[str, Any]]
  words_left: int
  config: TrainConfig
  layout: Layout
  predicted_bytes: int = 0
  seconds_left: float | None = None


class Hooks(NamedTuple):
  """What `train` was given to be called on the way."""

  checkpoints: Checkpoints | None
  evaluate: Callable[[KeyedVectors], dict[str, float]] | None
  started: Callable[[Started], Any]


def run(
  encoded: EncodedCorpus,
  num_words: int,
  config: TrainConfig,
  monitor: Progress,
  initial: Any,
  hooks: Hooks,
) -> tuple[KeyedVectors, Word2VecParams, int]:
  """Trains from the first call, or the newest checkpoint, to the last.

  Args:
    encoded: the corpus.
    num_words: those that are trained on; the others are held out.
    config: the settings.
    monitor: gets the results.
    initial: as for `train`.
    hooks: what `train` was given.

  Returns:
    The vectors, both tables, and the memory predicted.
  """
  prepared, layout = prepare(config, encoded.vocabulary), make_layout(config)
  training, held_out = texts(encoded, num_words, config, prepared, layout)
  shape = {'steps': steps_per_call(config, num_words), 'blocks_per_step': config.blocks_per_step}
  state, standing = begin(
    encoded, num_words, config, prepared, layout, training, monitor, initial, hooks.checkpoints
  )
  words_left = monitor.total_words - monitor.words
  start = Started(monitor.step, monitor.history.copy(), words_left, config, layout)
  lookups = layout.put(prepared.lookups)
  vectors_of = functools.partial(make_vectors, encoded.vocabulary, config, prepared.bags)
  measure = _make_measure(held_out, config, layout, shape, hooks.evaluate, vectors_of, lookups)
  wishes = _Wishes(hooks.checkpoints)

  def save() -> None:
    run = {'place': standing.saved(), 'progress': monitor.saved()}
    assert hooks.checkpoints is not None
    hooks.checkpoints.save(monitor.step, state, run)
    wishes.told = False

  compiled: dict[Any, Any] = {}  # by the shape of a call: one, but of words with n-grams
  saved_step, num_calls, words = monitor.step, 0, monitor.words
  waiting: collections.deque[Any] = collections.deque()  # results, some of them not computed
  epochs = range(0) if standing.is_over(config) else range(config.epochs)
  own = {**shape, 'blocks_per_step': config.blocks_per_step // training.share[1]}
  own_start = standing.positions[training.share[0]]
  own_calls = training.calls(epochs, **own, start=own_start)
  blank, stopped = functools.partial(training.blank_call, **own), threading.Event()
  all_calls = together(
    own_calls, blank, training.share[0], own_start, config.epochs, wishes, stopped
  )
  # Closed at an error too: the thread would live as long as the traceback.
  with contextlib.closing(in_background(all_calls, _CALLS_AHEAD, stopped)) as calls:
    for call in calls:
      shares = (call.words / monitor.total_words).astype(np.float32)
      shape_of_call = tuple(np.shape(leaf) for leaf in jax.tree.leaves(call.blocks))
      blocks = layout.put_blocks(call.blocks)
      run_steps = compiled.get(shape_of_call)
      if run_steps is None:
        run_steps = compile_steps(config, state, blocks, shares, lookups, layout)
        if not compiled:
          saves = hooks.checkpoints is not None
          start.predicted_bytes = predict_peak(run_steps, state, call, _CALLS_AHEAD + 2, saves)
        compiled[shape_of_call] = run_steps
      before, words, standing.positions = words, int(call.words[-1]), call.ends
      state, results = run_steps(state, blocks, shares, lookups)
      epoch_ends = words // num_words > before // num_words
      full = epoch_ends and bool(config.held_out or hooks.evaluate)
      measured = None
      if monitor.begins_record(words, now=full):
        if full:
          while num_calls > 1 and waiting:
            monitor.add(*waiting.popleft())
          jax.block_until_ready(results)
        with monitor.paused() if full else contextlib.nullcontext():
          measured = measure(state.params, full)
      if full and config.held_out and measured is not None:
        standing.add(measured['held_out_loss'])
      num_calls += 1
      done_at = None
      if num_calls <= 2:  # what they take is measured; the first is not like the others
        jax.block_until_ready(results)
        done_at = time.perf_counter()
      waiting.append((words, results, measured, done_at))
      if num_calls == 2:
        first_words, *_, clock = waiting[0]
        seconds_per_word = (done_at - clock) / max(1, words - first_words)
        start.seconds_left = (monitor.total_words - words) * seconds_per_word
        hooks.started(start)
      while num_calls > 1 and len(waiting) > 1:  # of the call before, while this one runs
        monitor.add(*waiting.popleft())
      if standing.is_over(config):
        break
      save_now = wishes.due(num_calls) if call.save is None else call.save
      if save_now and words < monitor.total_words:  # after the last call there is one anyway
        while waiting:
          monitor.add(*waiting.popleft())
        save()
        saved_step = monitor.step
        if wishes.stop if call.save is None else call.stop:
          raise Stopped(monitor.step, words / monitor.total_words)
  if num_calls < 2:
    hooks.started(start)
  while waiting:
    read, results, measured, done_at = waiting.popleft()
    if not waiting:
      measured = measure(state.params, False) if measured is None else measured
    monitor.add(read, results, measured, done_at, last=not waiting)
  if not monitor.history:
    raise ValueError(f'sample={config.sample:g} leaves no two words of a line: raise it, or 0')
  if not all(jnp.isfinite(table).all() for table in state.params):  # the last step is in no loss
    raise FloatingPointError(f'step {monitor.history[-1]["step"]}: the vectors are not finite')
  if hooks.checkpoints is not None and monitor.step > saved_step:
    save()
  return vectors_of(state.params), state.params, start.predicted_bytes


class _Wishes:
  """Whether this process wants a checkpoint, told once until there is one."""

  def __init__(self, checkpoints: Checkpoints | None):
    self._checkpoints, self.told = checkpoints, False

  @property
  def stop(self) -> bool:
    """Whether the run was asked to stop."""
    return self._checkpoints is not None and self._checkpoints.stop_requested

  def due(self, num_calls: int) -> bool:
    """Whether it is time for one; the first call compiles, and its time is not known yet."""
    return self._checkpoints is not None and num_calls > 1 and self._checkpoints.due()

  def __call__(self) -> tuple[bool, bool]:
    """What the others are told: that it is time for one, and that the run is to stop."""
    wants = self._checkpoints is not None and not self.told and self._checkpoints.due()
    self.told |= wants
    return wants, self.stop


def _make_measure(
  held_out, config, layout, shape, evaluate_vectors, vectors_of, lookups
) -> Callable:
  """`measure(params, full)`: what a record has besides; at the end of an epoch, all of it."""
  evaluate = make_evaluate(config, layout)
  calls = lambda: held_out.calls(range(HELD_OUT_EPOCH, HELD_OUT_EPOCH + 1), **shape)
  if config.held_out and next(calls(), None) is None:
    raise ValueError(f'held_out={config.held_out:g}: no word is left in it; raise it')

  def measure(params, full):
    # Not read yet: that would wait for the call that is running.
    measured = dict(zip(('center_norm', 'outside_norm'), row_norms(params), strict=True))
    if full and config.held_out:
      sums = [
        jax.device_get(evaluate(params, layout.put_same_blocks(call.blocks), lookups))
        for call in calls()
      ]
      losses, predictions = (
        np.concatenate(x).sum(dtype=np.float64) for x in zip(*sums, strict=True)
      )
      measured['held_out_loss'] = float(losses / max(predictions, 1))
    if full and evaluate_vectors is not None:
      measured |= evaluate_vectors(vectors_of(params))
    return measured

  return measure
