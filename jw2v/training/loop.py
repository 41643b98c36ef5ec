"""The training loop, from the initial state or the newest checkpoint to the vectors.

Threads draw blocks of windows. One compiled call, a dispatch, runs many steps over them with the
tables donated. The results of a dispatch are read while the next one runs.
"""

import collections
import contextlib
import dataclasses
import functools
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import logging

from jw2v.config import NEGATIVES, TrainConfig
from jw2v.data.store import EncodedCorpus
from jw2v.data.stream import Position, TextBlocks, in_background, longest_line
from jw2v.distributed.agreement import (
  AGREE_AT_MOST,
  check_same,
  checksums,
  first_then_others,
  joint_dispatches,
)
from jw2v.distributed.layout import Layout
from jw2v.distributed.merge import steps_between_merges
from jw2v.distributed.processes import num_processes
from jw2v.losses.window import Word2VecParams
from jw2v.objectives.objective import Objective
from jw2v.optim import RowwiseTransformation
from jw2v.training.checkpoints import Checkpoints, Stopped
from jw2v.training.history import RECORDS_PER_EPOCH, History, check_scores
from jw2v.training.memory import check_fits, predict_peak
from jw2v.training.state import (
  TrainState,
  abstract_state,
  export_vectors,
  init_state,
  initial_params,
)
from jw2v.training.step import (
  all_finite,
  compile_steps,
  make_evaluate,
  make_run_steps,
  make_schedule,
  row_norms,
)
from jw2v.vectors.keyed_vectors import KeyedVectors

_AHEAD = 2  # dispatches that the thread prepares in advance
_HELD_OUT_EPOCH = 2**31  # its random numbers are used by no epoch of training


@dataclasses.dataclass
class Started:
  """Facts about a run that has started, for `train(..., started=)`.

  Attributes:
    step: the step that the run starts from: 0, or the step of the checkpoint.
    history: the records up to this step.
    words_left: corpus words left to read.
    config: the settings, with the defaults of the devices.
    layout: the devices.
    predicted_bytes: predicted peak memory of the process; 0 if nothing is left to do.
    seconds_left: time left, extrapolated from the second dispatch; None for a run of fewer than
      two dispatches.
    seconds: time since the start, most of which is compilation.
  """

  step: int
  history: list[dict[str, Any]]
  words_left: int
  config: TrainConfig
  layout: Layout
  predicted_bytes: int = 0
  seconds_left: float | None = None
  seconds: float = 0.0


def fit(
  corpus: EncodedCorpus,
  streams: tuple[TextBlocks, TextBlocks],
  config: TrainConfig,
  objective: Objective,
  optimizer: RowwiseTransformation,
  layout: Layout,
  history: History,
  *,
  initial: Any,
  checkpoints: Checkpoints | None,
  evaluate: Callable[[KeyedVectors], dict[str, float]] | None,
  started: Callable[[Started], Any],
) -> tuple[KeyedVectors, Word2VecParams, int]:
  """Trains from the initial state, or the newest checkpoint, to the end of the text.

  Args:
    corpus: the encoded corpus.
    streams: the text to train on, and the text that is held out.
    config: the settings.
    objective: the objective of the config.
    optimizer: the optimizer of the config.
    layout: the devices.
    history: collects the results.
    initial: as for `train`, like the following arguments.
    checkpoints: the checkpoints of the run; None for none.
    evaluate: scores of the vectors at the end of each epoch.
    started: called when the run has started.

  Returns:
    The vectors, both tables, and the predicted peak memory in bytes.
  """
  training, held_out = streams
  num_words, (stream, num_streams) = training.end, training.shard
  settings: dict[str, Any] = {'config': dataclasses.asdict(config), 'num_words': num_words}
  check_same(settings['config'] | {'num_words': num_words} | _checksums(corpus, initial))

  # The state: restored from the newest checkpoint, or initialized.
  shapes = abstract_state(optimizer, objective.num_rows, config.dim)
  check_fits(
    shapes, layout, touches_all_rows=objective.touches_all_rows,
    allows_rows=config.objective in NEGATIVES,
  )  # fmt: skip
  saved = None
  if checkpoints is not None:
    longest = longest_line(corpus.line_ends)
    if config.learning_rate == config.default_rate(layout.copies, len(corpus.ids), longest):
      settings['config']['learning_rate'] = None  # differs between layouts
    saved = _restore(checkpoints, shapes, corpus, settings, history)
  if saved is None:
    params = initial_params(corpus.vocabulary, config, objective.subwords, initial)
    state = init_state(params, optimizer, layout)
    positions, stopping = (Position(),) * num_streams, EarlyStopping(config.patience)
  else:
    arrays, positions, stopping = saved
    stopping.patience = config.patience
    state = layout.put_state(arrays)
    del saved, arrays  # of the size of the tables
  positions = _resume(training, positions, history)

  # The compiled functions.
  copies, constants = layout.make_copies(state.params), layout.put(objective.constants)
  steps, merge_steps = steps_per_dispatch(config, num_words, layout, objective.num_rows)
  run_steps = make_run_steps(
    objective, optimizer, make_schedule(config), config.blocks_per_step, layout, merge_steps
  )
  compiled: dict[Any, jax.stages.Compiled] = {}  # by shape of the blocks: one, without n-grams
  export = functools.partial(export_vectors, corpus.vocabulary, objective.subwords)
  shape = {'steps': steps, 'blocks_per_step': config.blocks_per_step * layout.copies}
  held_out_loss = None
  if config.held_out:
    held_out_loss = _make_held_out_loss(held_out, objective, layout, constants, shape)

  def measure(params: Word2VecParams, epoch_ends: bool) -> dict[str, Any]:
    """Returns the measurements of a record; device scalars, so that nothing waits for them."""
    norms = row_norms(params, objective.num_rows, config.dim)
    measured = dict(zip(('center_norm', 'outside_norm'), norms, strict=True))
    if epoch_ends and held_out_loss is not None:
      measured['held_out_loss'] = held_out_loss(params)
    if epoch_ends and evaluate is not None:
      measured |= check_scores(evaluate(export(layout.in_order(params, shapes.params))))
    return measured

  # The dispatches of all processes, in step.
  own_shape = {**shape, 'blocks_per_step': shape['blocks_per_step'] // num_streams}
  epochs = range(0) if stopping.triggered else range(config.epochs)
  requests, closed = _Requests(checkpoints), threading.Event()
  all_dispatches = joint_dispatches(
    training.dispatches(epochs, **own_shape, start=positions[stream]),
    functools.partial(training.padding, **own_shape),
    stream, positions[stream], config.epochs, requests, closed,
  )  # fmt: skip

  words_left = history.total_words - history.words
  info = Started(history.step, history.history.copy(), words_left, config, layout)
  pending: collections.deque[Any] = collections.deque()  # results that may not be computed yet
  number, words, saved_step = 0, history.words, history.step
  has_started, has_pairs = False, bool(history.history)
  began = history.clock()
  waiting = _AHEAD + 2 + (AGREE_AT_MOST if num_processes() > 1 else 0)  # dispatches in memory

  def record_pending(leave: int = 0) -> None:
    while len(pending) > leave:
      history.add(*pending.popleft())

  def save() -> None:
    assert checkpoints is not None
    place = {**stopping.saved(), 'positions': list(map(list, positions))}
    saved = {'place': place, 'progress': history.saved()}
    checkpoints.save(history.step, layout.in_order(state, shapes), saved)
    requests.pending = False

  # `closing` ends the thread at an error too; it would live as long as the traceback.
  with (
    contextlib.closing(in_background(all_dispatches, _AHEAD, closed)) as dispatches,
    _interrupts(keep=checkpoints is None) as interrupted,
  ):
    for dispatch in dispatches:
      progress = (dispatch.words / history.total_words).astype(np.float32)
      blocks = layout.put_blocks(dispatch.blocks)
      shapes_of_blocks = tuple(np.shape(leaf) for leaf in jax.tree.leaves(dispatch.blocks))
      if shapes_of_blocks not in compiled:
        step_function = compile_steps(run_steps, state, copies, blocks, progress, constants)
        if not compiled:
          info.predicted_bytes = predict_peak(
            step_function, state, dispatch.blocks, waiting, checkpoints is not None
          )
        compiled[shapes_of_blocks] = step_function
      state, copies, results = compiled[shapes_of_blocks](
        state, copies, blocks, progress, constants
      )
      before, words, positions = words, int(dispatch.words[-1]), dispatch.ends
      number += 1

      # Record: 20 times an epoch the norms, at the end of an epoch the held-out loss and scores.
      epoch_ends = words // num_words > before // num_words
      full = epoch_ends and bool(config.held_out or evaluate)
      measured = None
      if history.begins_record(words, now=full):
        if full:
          if number > 2:  # nothing is recorded before `started`
            record_pending()
          jax.block_until_ready(results)
        with history.paused() if full else contextlib.nullcontext():
          measured = measure(state.params, full)
        if full and config.held_out:
          stopping.add(measured['held_out_loss'])

      # Report: the second dispatch predicts the time of the run, the first includes warm-up.
      seconds = None
      if number <= 2:
        jax.block_until_ready(results)
        seconds = history.clock()
      has_pairs = has_pairs or bool(np.asarray(results.predictions).any())
      pending.append((words, results, measured, seconds))
      if number == 2:
        first_words, *_, first_seconds = pending[0]
        seconds_per_word = (seconds - first_seconds) / max(1, words - first_words)
        info.seconds = history.clock() - began
        info.seconds_left = (history.total_words - words) * seconds_per_word
      if number >= 2 and has_pairs and not has_started:  # others may end with an error
        started(info)
        has_started = True
      if number >= 2:
        record_pending(leave=1)  # the results of the previous dispatch, while this one runs
      if stopping.triggered or interrupted.is_set():
        break

      # Checkpoint; not before `started`, and the last dispatch is saved below.
      saves = requests.due() if dispatch.save is None else dispatch.save
      requests.ready = True
      if saves and has_started and words < history.total_words:
        record_pending()
        save()
        saved_step = history.step
        if requests.stop if dispatch.save is None else dispatch.stop:
          raise Stopped(history.step, words / history.total_words)

  # The end: the last record, the checks, the last checkpoint, and the vectors.
  if not has_pairs:
    raise ValueError(
      f'subsampling left no training pairs (sample={config.sample:g}); increase sample, or set it '
      'to 0 to turn subsampling off'
    )
  if not has_started:
    started(info)
  record_pending(leave=1)
  if pending:
    read, results, measured, seconds = pending.popleft()
    measured = measure(state.params, False) if measured is None else measured
    history.add(read, results, measured, seconds, last=True)
  if not all_finite(state.params):  # no loss includes the update of the last step
    raise FloatingPointError(
      f'step {history.history[-1]["step"]}: the vectors must be finite, got NaN or infinity; try a '
      'lower learning_rate'
    )
  if checkpoints is not None and history.step > saved_step:
    save()
  params = layout.in_order(state.params, shapes.params)
  return export(params), params, info.predicted_bytes


@contextlib.contextmanager
def _interrupts(keep: bool) -> Iterator[threading.Event]:
  """Sets an event at the first Ctrl-C, which ends the run early; the second one raises.

  Does nothing if the program handles Ctrl-C itself, or if several processes train.
  """
  event = threading.Event()
  main = threading.current_thread() is threading.main_thread()
  if not (keep and main and num_processes() == 1) or (
    signal.getsignal(signal.SIGINT) is not signal.default_int_handler
  ):
    yield event
    return

  def interrupt(*_: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    event.set()
    logging.warning(
      'interrupted: the run ends with the current vectors; interrupt again to stop now'
    )

  signal.signal(signal.SIGINT, interrupt)
  try:
    yield event
  finally:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclasses.dataclass
class EarlyStopping:
  """Stops a run after `patience` epochs without a lower held-out loss; None never stops it."""

  patience: int | None = None
  lowest: float | None = None
  epochs_since: int = 0

  def add(self, held_out_loss: float) -> None:
    """Adds the held-out loss at the end of an epoch."""
    lower = self.lowest is None or held_out_loss < self.lowest
    self.lowest = held_out_loss if lower else self.lowest
    self.epochs_since = 0 if lower else self.epochs_since + 1

  @property
  def triggered(self) -> bool:
    """Returns whether early stopping has triggered."""
    return self.patience is not None and self.epochs_since >= self.patience

  def saved(self) -> dict[str, Any]:
    """Returns the fields that a checkpoint holds."""
    return {'lowest': self.lowest, 'epochs_since': self.epochs_since}


class _Requests:
  """Requests of this process for a checkpoint, or to stop, to all processes.

  Attributes:
    ready: True after the first dispatch, which cannot be saved.
    pending: True from a request for a checkpoint until one is saved.
  """

  def __init__(self, checkpoints: Checkpoints | None):
    self._checkpoints, self.ready, self.pending = checkpoints, False, False

  @property
  def stop(self) -> bool:
    """Returns whether the run was asked to stop."""
    return self._checkpoints is not None and self._checkpoints.stop_requested

  def due(self) -> bool:
    """Returns whether a checkpoint is due in this process."""
    return self._checkpoints is not None and self._checkpoints.due()

  def __call__(self) -> tuple[bool, bool]:
    """Returns the request for a checkpoint, made once until it is saved, and the one to stop."""
    wants = self.ready and not self.pending and self.due()
    if wants:
      self.pending = True
    return wants, self.stop


def _checksums(corpus: EncodedCorpus, initial: Any) -> dict[str, int]:
  if initial is None:
    return checksums(corpus, None)
  vectors = initial if isinstance(initial, KeyedVectors) else initial.vectors
  return checksums(corpus, (vectors.index_to_key, vectors.vectors))


def _restore(
  checkpoints: Checkpoints,
  shapes: TrainState,
  corpus: EncodedCorpus,
  settings: dict[str, Any],
  history: History,
) -> tuple[TrainState, tuple[Position, ...], EarlyStopping] | None:
  """Returns the state, positions and early stopping of the newest checkpoint, and loads history.

  Raises:
    ValueError: the checkpoint is corrupted or belongs to another run, or processes see different
      checkpoints.
  """
  # A run may resume with another layout.
  layout_settings = ('layout', 'devices', 'width_devices')
  config = {name: x for name, x in settings['config'].items() if name not in layout_settings}
  restore = functools.partial(
    checkpoints.restore, shapes, corpus.vocabulary, {**settings, 'config': config}
  )
  found = first_then_others(restore, 'restoring')
  name = f'the position of the checkpoint in {checkpoints.folder}'
  check_same({name: None if found is None else found[1]['place']})
  if found is None:
    return None
  state, run = found
  try:
    place = dict(run['place'])
    positions = tuple(Position(*each) for each in place.pop('positions'))
    if not all(type(number) is int and number >= 0 for each in positions for number in each):
      raise ValueError(f'positions must be integers of at least 0, got {positions}')
    stopping = EarlyStopping(**place)
    history.load(run['progress'])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{checkpoints.folder}: the checkpoint must hold a position, got {error!r}; restart the run'
    ) from error
  return state, positions, stopping


def _resume(
  training: TextBlocks, positions: tuple[Position, ...], history: History
) -> tuple[Position, ...]:
  """Returns the positions at which the streams of this run continue after the checkpoint."""
  number = training.shard[1]
  shards = [training._replace(shard=(i, number)) for i in range(number)]
  resumed = tuple(shard.resume(positions) for shard in shards)
  if len(resumed) != len(positions):
    history.go_back(sum(position.words for position in resumed))
  return resumed


def steps_per_dispatch(
  config: TrainConfig, num_words: int, layout: Layout, num_rows: tuple[int, int]
) -> tuple[int, int]:
  """Returns the steps of a dispatch, and the steps of a device between two merges.

  Both are from the config, or smaller for a small corpus, to have enough records and merges. A
  dispatch ends with a merge.

  Args:
    config: the settings.
    num_words: words of the text.
    layout: the devices.
    num_rows: rows of the center table and of the outside table.
  """
  most = -(-num_words // (RECORDS_PER_EPOCH * config.batch_size * layout.copies))
  steps = min(config.steps_per_call, most)
  if layout.copies == 1:
    return steps, steps
  if layout.name == 'rows':  # the devices request the rows of a dispatch
    steps = min(most, steps_between_merges(config.merge_steps, layout.copies))
    return steps, steps
  between = min(most, steps_between_merges(config.merge_steps, layout.copies, max(num_rows)))
  return max(1, steps // between) * between, between


def _make_held_out_loss(
  held_out: TextBlocks,
  objective: Objective,
  layout: Layout,
  constants: dict[str, Any],
  shape: dict[str, Any],
) -> Callable[[Word2VecParams], float]:
  """Returns the function that computes the mean loss of the held-out text.

  Raises:
    ValueError: the held-out text has no words.
  """
  evaluate = make_evaluate(objective, layout)
  epochs = range(_HELD_OUT_EPOCH, _HELD_OUT_EPOCH + 1)
  if next(held_out.dispatches(epochs, **shape), None) is None:
    raise ValueError('held_out must leave at least one word in the held-out text; increase it')

  def held_out_loss(params: Word2VecParams) -> float:
    sums = [
      jax.device_get(evaluate(params, layout.put_same_blocks(dispatch.blocks), constants))
      for dispatch in held_out.dispatches(epochs, **shape)
    ]
    losses, predictions = (np.concatenate(x).sum(dtype=np.float64) for x in zip(*sums, strict=True))
    return float(losses / max(predictions, 1))

  return held_out_loss
