"""What a run begins with: its text, its state, and how far it is.

What belongs here: making these from the settings and the corpus, or reading them from the newest
checkpoint.
"""

import dataclasses
import functools
import zlib
from typing import Any

import numpy as np

from jw2v.config import TrainConfig
from jw2v.data import sampling
from jw2v.data.store import EncodedCorpus
from jw2v.data.stream import Position, TextBlocks
from jw2v.data.vocabulary import Vocabulary
from jw2v.distributed.agreement import check_same, first_alone
from jw2v.distributed.layout import Layout
from jw2v.distributed.processes import num_processes
from jw2v.objectives.objective import Preparation, centers_predict
from jw2v.objectives.subwords import Bags
from jw2v.training.checkpoints import Checkpoints
from jw2v.training.history import RECORDS_PER_EPOCH, Progress
from jw2v.training.memory import abstract_state, check_fits
from jw2v.training.state import start_params
from jw2v.training.step import TrainState, make_optimizer
from jw2v.vectors.keyed_vectors import KeyedVectors

HELD_OUT_EPOCH, INIT_EPOCH = 2**31, 2**31 + 1  # no epoch of training draws their numbers


def begin(
  encoded: EncodedCorpus,
  num_words: int,
  config: TrainConfig,
  prepared: Preparation,
  layout: Layout,
  training: TextBlocks,
  monitor: Progress,
  initial: Any,
  checkpoints: Checkpoints | None,
) -> tuple[TrainState, 'Standing']:
  """The state of a run and how far it is: those of the newest checkpoint, or of a new run.

  Args:
    encoded: the corpus.
    num_words: those that are trained on.
    config: the settings.
    prepared: what the objective looks up.
    layout: the devices.
    training: the text that is trained on.
    monitor: goes on where the checkpoint was written.
    initial: as for `train`.
    checkpoints: of the run, if it has any.

  Raises:
    MemoryError: the tables do not fit.
    ValueError: processes differ in their settings or their corpus, or the checkpoint is damaged,
      or of another run.
  """
  about: dict[str, Any] = {'config': dataclasses.asdict(config), 'num_words': num_words}
  check_same(about['config'] | {'num_words': num_words} | _checksums(encoded, initial))
  num_outside = len(encoded.vocabulary)
  num_rows = prepared.bags.num_rows if prepared.bags else num_outside, num_outside
  check_fits(config, num_rows, layout)
  state, standing = None, Standing((Position(),) * training.share[1])
  if checkpoints is not None:
    for name in ('layout', 'devices', 'width_devices'):  # it may go on with others
      del about['config'][name]
    shapes = abstract_state(config, num_rows)
    restore = functools.partial(checkpoints.restore, shapes, encoded.vocabulary, about)
    found = first_alone(restore, 'restoring')
    name = f'the place of the checkpoint in {checkpoints.folder}, which all must see'
    check_same({name: None if found is None else found[1]['place']})
    if found is not None:
      try:
        standing = Standing.load(found[1]['place'])
        monitor.load(found[1]['progress'])
      except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{checkpoints.folder}: a checkpoint has no place: {error!r}') from error
      state = layout.put_state(found[0])
      del found
  if state is None:
    state = init_state(config, encoded.vocabulary, initial, prepared.bags, layout)
  starts = [
    training._replace(share=(i, training.share[1])).resume(standing.positions)
    for i in range(training.share[1])
  ]
  if len(starts) != len(standing.positions):
    monitor.go_back(sum(start.words for start in starts))
  standing.positions = tuple(starts)
  return state, standing


@dataclasses.dataclass
class Standing:
  """How far a run is, apart from its tables."""

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
  def load(cls, saved: dict[str, Any]) -> 'Standing':
    """What `saved` gave."""
    positions = tuple(Position(*each) for each in saved['positions'])
    if not all(type(number) is int and number >= 0 for each in positions for number in each):
      raise ValueError(f'{positions}: a position is of whole numbers from 0 on')
    return cls(**{**saved, 'positions': positions})


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
    capacity=prepared.capacity,
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
  generator = sampling.chunk_generator(config.seed, INIT_EPOCH, 0)
  # On the host first: a device may have no room for all columns.
  params = layout.put_state(start_params(generator, config, vocabulary, bags, initial))
  optimizer = make_optimizer(config)
  return TrainState(params, *(layout.initialize(optimizer.init, table) for table in params))


def _checksums(encoded, initial) -> dict[str, int]:
  """What tells other words, another text and other vectors to start from apart."""
  if num_processes() == 1:
    return {}
  words, size = encoded.vocabulary, len(encoded.ids)
  places = range(0, size, max(1024, size // 64))
  pieces = [encoded.ids.read(place, min(place + 1024, size)) for place in places]
  parts: dict[str, list[Any]] = {
    'vocabulary': [' '.join(words.words).encode(), np.ascontiguousarray(words.counts)],
    'text': [*pieces, encoded.line_ends.read(0, min(100_000, len(encoded.line_ends)))],
  }
  if initial is not None:
    vectors = initial if isinstance(initial, KeyedVectors) else initial.vectors
    parts['initial'] = [' '.join(vectors.index_to_key).encode(), np.asarray(vectors.vectors)]
  return {
    name: zlib.crc32(b''.join(bytes(memoryview(x).cast('B')) for x in arrays))
    for name, arrays in parts.items()
  }
