"""The loop of a run: from its first call, or the newest checkpoint, to its last.

What belongs here: what brings the stream of calls, the compiled steps, the checkpoints and the
record of what happened together. A thread draws blocks of windows, one compiled call runs many
steps over them with the tables donated, and the result of a call is read while the next one
runs.
"""

import collections
import contextlib
import dataclasses
import functools
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v import sampling
from jw2v.bags import Bags
from jw2v.checkpoints import Checkpoints, Stopped
from jw2v.config import TrainConfig
from jw2v.memory import abstract_state, check_fits, predict_peak
from jw2v.objectives import Preparation, centers_predict, prepare
from jw2v.processes import check_same, first_alone, num_processes, together
from jw2v.progress import RECORDS_PER_EPOCH, Progress
from jw2v.sharding import Layout, make_layout
from jw2v.steps import TrainState, compile_steps, make_evaluate, make_optimizer, row_norms
from jw2v.store import EncodedCorpus
from jw2v.stream import Position, TextBlocks, in_background
from jw2v.tables import make_vectors, start_params
from jw2v.vectors import KeyedVectors
from jw2v.vocabulary import Vocabulary
from jw2v.windows import Word2VecParams

_HELD_OUT_EPOCH, _INIT_EPOCH = 2**31, 2**31 + 1  # no epoch of training draws their numbers
_CALLS_AHEAD = 2


@dataclasses.dataclass
class Started:
  """What is known when a run has started, for `train(..., started=)`.

  Attributes:
    step: the step that it goes on from: 0, or that of the checkpoint.
    history: the records up to there.
    words_left: corpus words to read from there on.
    predicted_bytes: peak memory of the process; 0 if nothing is left to do.
    seconds_left: as long as all calls take what the second one took; None for a run of
      fewer than two.
  """

  step: int
  history: list[dict[str, Any]]
  words_left: int
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
  about: dict[str, Any] = {'config': dataclasses.asdict(config), 'num_words': num_words}
  check_same(about['config'] | {'num_words': num_words} | _checksums(encoded, initial))
  training, held_out = texts(encoded, num_words, config, prepared, layout)
  shape = {'steps': steps_per_call(config, num_words), 'blocks_per_step': config.blocks_per_step}
  begin = functools.partial(_begin, encoded, config, prepared, layout, training, monitor)
  state, place = begin(initial, hooks.checkpoints, about)
  start = Started(monitor.step, monitor.history.copy(), monitor.total_words - monitor.words)
  lookups = layout.put(prepared.lookups)
  vectors_of = functools.partial(make_vectors, encoded.vocabulary, config, prepared.bags)
  measure = _make_measure(held_out, config, layout, shape, hooks.evaluate, vectors_of, lookups)
  wishes = _Wishes(hooks.checkpoints)

  def save() -> None:
    run = {'place': place.saved(), 'progress': monitor.saved()}
    assert hooks.checkpoints is not None
    hooks.checkpoints.save(monitor.step, state, run)
    wishes.told = False

  compiled: dict[Any, Any] = {}  # by the shape of a call: one, but of words with n-grams
  saved_step, num_calls, words = monitor.step, 0, monitor.words
  waiting: collections.deque[Any] = (
    collections.deque()
  )  # results of calls, some of them not computed
  epochs = range(0) if place.is_over(config) else range(config.epochs)
  own = {**shape, 'blocks_per_step': config.blocks_per_step // training.share[1]}
  start_of_own = place.positions[training.share[0]]
  calls = training.calls(epochs, **own, start=start_of_own)
  blank, stopped = functools.partial(training.blank_call, **own), threading.Event()
  calls = together(calls, blank, training.share[0], start_of_own, config.epochs, wishes, stopped)
  calls = in_background(calls, _CALLS_AHEAD, stopped)
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
    before, words, place.positions = words, int(call.words[-1]), call.ends
    state, results = run_steps(state, blocks, shares, lookups)
    epoch_ends = words // num_words > before // num_words
    full = epoch_ends and bool(config.held_out or hooks.evaluate)
    measured = None
    if monitor.schedule(words, now=full):
      if full:
        while num_calls > 1 and waiting:
          monitor.add(*waiting.popleft())
        jax.block_until_ready(results)
      with monitor.paused() if full else contextlib.nullcontext():
        measured = measure(state.params, full)
    if full and config.held_out and measured is not None:
      place.add(measured['held_out_loss'])
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
    if place.is_over(config):
      break
    save_now = wishes.due(num_calls) if call.save is None else call.save
    if save_now and words < monitor.total_words:  # after the last call there is one anyway
      while waiting:
        monitor.add(*waiting.popleft())
      save()
      saved_step = monitor.step
      if wishes.stop if call.save is None else call.stop:
        raise Stopped(monitor.step, words / monitor.total_words)
  calls.close()
  if num_calls < 2:
    hooks.started(start)
  while waiting:
    words, results, measured, done_at = waiting.popleft()
    if not waiting:
      measured = measure(state.params, False) if measured is None else measured
    monitor.add(words, results, measured, done_at, last=not waiting)
  if not monitor.history:
    raise ValueError(f'sample={config.sample:g} leaves no two words of a line: raise it, or 0')
  if not all(jnp.isfinite(table).all() for table in state.params):  # the last step is in no loss
    raise FloatingPointError(f'step {monitor.history[-1]["step"]}: the vectors are not finite')
  if hooks.checkpoints is not None and monitor.step > saved_step:
    save()
  return vectors_of(state.params), state.params, start.predicted_bytes


def _begin(
  encoded, config, prepared, layout, training, monitor, initial, checkpoints, about
) -> tuple[TrainState, '_Place']:
  """The state and the place of a run: those of the newest checkpoint, or of a new one."""
  num_words = len(encoded.vocabulary)
  num_rows = prepared.bags.num_rows if prepared.bags else num_words, num_words
  check_fits(config, num_rows, layout)
  state, place = None, _Place((Position(),) * training.share[1])
  if checkpoints is not None:
    for name in ('layout', 'devices', 'width_devices'):  # it may go on with others
      del about['config'][name]
    shapes = abstract_state(config, num_rows)
    restore = functools.partial(checkpoints.restore, shapes, encoded.vocabulary, about)
    found = first_alone(restore, 'restoring')
    name = f'the place of the checkpoint in {checkpoints.folder}, which all must see'
    check_same({name: None if found is None else found[1]['place']})
    if found is not None:
      state, place = layout.put_state(found[0]), _Place.load(found[1]['place'])
      monitor.load(found[1]['progress'])
      del found
  if state is None:
    state = init_state(config, encoded.vocabulary, initial, prepared.bags, layout)
  starts = [
    training._replace(share=(i, training.share[1])).resume(place.positions)
    for i in range(training.share[1])
  ]
  if len(starts) != len(place.positions):
    monitor.go_back(sum(start.words for start in starts))
  place.positions = tuple(starts)
  return state, place


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


@dataclasses.dataclass
class _Place:
  """Where a run is, apart from its tables."""

  positions: tuple[Position, ...]  # of each stream of the text
  lowest: float | None = None  # held-out loss
  epochs_since: int = 0

  def add(self, held_out_loss: float) -> None:
    """Takes the loss at the end of an epoch."""
    lower = self.lowest is None or held_out_loss < self.lowest
    self.lowest = held_out_loss if lower else self.lowest
    self.epochs_since = 0 if lower else self.epochs_since + 1

  def is_over(self, config: TrainConfig) -> bool:
    """Whether the patience is at its end."""
    return config.patience is not None and self.epochs_since >= config.patience

  def saved(self) -> dict[str, Any]:
    """All that `load` needs."""
    return {**dataclasses.asdict(self), 'positions': list(map(list, self.positions))}

  @classmethod
  def load(cls, saved: dict[str, Any]) -> '_Place':
    """What `saved` gave."""
    return cls(**{**saved, 'positions': tuple(Position(*each) for each in saved['positions'])})


def _make_measure(
  held_out, config, layout, shape, evaluate_vectors, vectors_of, lookups
) -> Callable:
  """`measure(params, full)`: what a record has besides; at the end of an epoch, all of it."""
  evaluate = make_evaluate(config, layout)
  calls = lambda: held_out.calls(range(_HELD_OUT_EPOCH, _HELD_OUT_EPOCH + 1), **shape)
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


def steps_per_call(config: TrainConfig, num_words: int) -> int:
  """Those of the config, or fewer in a small corpus: a call cannot be looked into."""
  steps = -(-num_words // (RECORDS_PER_EPOCH * config.batch_size))
  return min(config.steps_per_call, steps)


def texts(
  encoded: EncodedCorpus,
  num_words: int,
  config: TrainConfig,
  prepared: Preparation,
  layout: Layout = Layout(),
) -> tuple[TextBlocks, TextBlocks]:
  """The text that is trained on, and the text that is held out."""
  counts, devices = encoded.vocabulary.counts, layout.data_devices
  attach = lambda lists: (
    prepared.bags
    and functools.partial(prepared.bags.attach, of_centers=centers_predict(config), lists=lists)
  )
  training = TextBlocks(
    encoded.ids,
    encoded.line_ends,
    sampling.keep_probability(counts, config.sample),
    sampling.alias_table(sampling.noise_distribution(counts, config.noise_exponent, config.noise)),
    window=config.window,
    dynamic=config.dynamic_window,
    block_size=config.block_size,
    shared_negatives=config.shared_negatives or 0,
    seed=config.seed,
    first=0,
    end=num_words,
    shuffle=config.shuffle,
    share=layout.stream,
    costs=prepared.costs,
  )
  held_out = training._replace(
    first=num_words, end=len(encoded.ids), shuffle=False, share=(0, 1), attach=attach(devices)
  )
  return training._replace(attach=attach(devices // training.share[1])), held_out


def init_state(
  config: TrainConfig,
  vocabulary: Vocabulary,
  initial: Any,
  bags: Bags | None = None,
  layout: Layout = Layout(),
) -> TrainState:
  """The state before the first step, on its devices."""
  generator = sampling.chunk_generator(config.seed, _INIT_EPOCH, 0)
  # On the host first: a device may have no room for all columns.
  params = layout.put_state(start_params(generator, config, vocabulary, bags, initial))
  optimizer = make_optimizer(config)
  return TrainState(params, *(layout.initialize(optimizer.init, table) for table in params))


def _checksums(encoded, initial) -> dict[str, int]:
  """What tells other words, another text and other vectors to start from apart."""
  if num_processes() == 1:
    return {}
  words, size = encoded.vocabulary, len(encoded.ids)
  pieces = [encoded.ids[i : i + 1024] for i in range(0, size, max(1024, size // 64))]
  parts: dict[str, list[Any]] = {
    'vocabulary': [' '.join(words.words).encode(), np.ascontiguousarray(words.counts)],
    'text': [*map(np.array, pieces), np.array(encoded.line_ends[:100_000])],
  }
  if initial is not None:
    vectors = initial if isinstance(initial, KeyedVectors) else initial.vectors
    parts['initial'] = [' '.join(vectors.index_to_key).encode(), np.asarray(vectors.vectors)]
  return {
    name: zlib.crc32(b''.join(bytes(memoryview(x).cast('B')) for x in arrays))
    for name, arrays in parts.items()
  }
