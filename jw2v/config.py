"""The settings of a training run.

What belongs here: `TrainConfig`, the defaults of its settings, and the refusal of
values out of range. What a name such as 'adagrad' stands for is told in `training.py`.
"""

import dataclasses

import numpy as np

ARCHITECTURES = ('cbow', 'skip_gram')
OBJECTIVES = ('naive_softmax', 'negative_sampling')
# The learning rate where none is given. Those of the damped step are measured, and hold
# between half and twice the value (docs/performance.md); the others are places to start.
LEARNING_RATES = {
  'adagrad': {'cbow': 0.1, 'skip_gram': 0.1},
  'adam': {'cbow': 0.002, 'skip_gram': 0.002},
  'curvature_damped_sgd': {'cbow': 0.4, 'skip_gram': 0.05},
  'rmsprop': {'cbow': 0.002, 'skip_gram': 0.002},
  'sgd': {'cbow': 0.02, 'skip_gram': 0.005},
}
OPTIMIZERS = tuple(LEARNING_RATES)
SCHEDULES = ('constant', 'cosine', 'linear')


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """The settings of a training run; a value out of range raises a `ValueError`.

  Attributes:
    architecture: 'skip_gram' or 'cbow' (with the mean of the context).
    objective: 'negative_sampling', or 'naive_softmax' over the whole vocabulary, of skip-gram.
    dim: width D of the vectors.
    window: largest distance between a center word and its context.
    dynamic_window: draw each window's distance from 1 to `window`, as the C tool does.
    negatives: noise words that each prediction counts. It meets more: all the
      `shared_negatives` of its block, each weighted negatives / shared_negatives.
    noise_exponent: noise words come in proportion to count ** noise_exponent.
    sample: words above this share of the corpus are thinned out; 0 keeps all.
    min_count: words with fewer occurrences are left out.
    max_vocab_size: at most so many words, the most frequent; None for all.
    epochs: passes over the corpus.
    learning_rate: at the start; None takes the default of optimizer and architecture,
      and is replaced by it.
    min_learning_rate: at the end.
    schedule: how the rate falls with the words read: 'linear', 'cosine' or 'constant'.
    optimizer: 'curvature_damped_sgd', or one of optax, on the touched rows: 'sgd',
      'adagrad', 'adam' or 'rmsprop'.
    batch_size: windows in a step, a multiple of `block_size`. The gradients of a step
      are summed, not averaged.
    block_size: consecutive windows that share their context rows and noise words.
    shared_negatives: noise words of a block.
    steps_per_call: steps in one compiled call, at most.
    shuffle: read the chunks of 65,536 words in another order in each epoch, instead of
      that of the text.
    held_out: share of the corpus, the lines at its end, that is not trained on; its
      loss is in the history at the end of each epoch.
    patience: stop after so many epochs without a lower held-out loss; None never does.
    seed: of every draw in the run.
  """

  architecture: str = 'skip_gram'
  objective: str = 'negative_sampling'
  dim: int = 100
  window: int = 5
  dynamic_window: bool = True
  negatives: int = 5
  noise_exponent: float = 0.75
  sample: float = 1e-3
  min_count: int = 5
  max_vocab_size: int | None = None
  epochs: int = 5
  learning_rate: float | None = None
  min_learning_rate: float = 1e-4
  schedule: str = 'linear'
  optimizer: str = 'curvature_damped_sgd'
  batch_size: int = 1024
  block_size: int = 16
  shared_negatives: int = 24
  steps_per_call: int = 64
  shuffle: bool = False
  held_out: float = 0.0
  patience: int | None = None
  seed: int = 0

  def __post_init__(self):
    choices = {
      'architecture': ARCHITECTURES,
      'objective': OBJECTIVES,
      'optimizer': OPTIMIZERS,
      'schedule': SCHEDULES,
      'dynamic_window': (False, True),
      'shuffle': (False, True),
    }
    for name, allowed in choices.items():
      value = getattr(self, name)
      if value not in allowed or isinstance(value, (bool, np.bool_)) != (True in allowed):
        options = ', '.join(map(repr, allowed))
        raise ValueError(f'{name}={value!r}: allowed are {options}')
    for name in (
      'dim', 'negatives', 'min_count', 'epochs', 'block_size', 'shared_negatives',
      'steps_per_call', 'batch_size',
    ):  # fmt: skip
      _check_number(name, getattr(self, name), int, 1)
    _check_number('window', self.window, int, 1, 2**15 - 1)  # blocks hold it as int16
    for name in ('max_vocab_size', 'patience'):
      if getattr(self, name) is not None:
        _check_number(name, getattr(self, name), int, 1)
    _check_number('seed', self.seed, int, 0, 2**63 - 1)
    _check_number('noise_exponent', self.noise_exponent, float, -10, 10)
    _check_number('sample', self.sample, float, 0, 1)
    _check_number('held_out', self.held_out, float, 0, 0.5)
    if self.learning_rate is None:
      default = LEARNING_RATES[self.optimizer][self.architecture]
      object.__setattr__(self, 'learning_rate', default)
    _check_number('learning_rate', self.learning_rate, float, 1e-12, 1e6)
    _check_number('min_learning_rate', self.min_learning_rate, float, 0, self.learning_rate)
    if self.batch_size % self.block_size:
      raise ValueError(
        f'batch_size={self.batch_size}: must be a multiple of block_size={self.block_size}'
      )
    if self.objective == 'naive_softmax' and self.architecture != 'skip_gram':
      raise ValueError(
        f"objective='naive_softmax': needs architecture='skip_gram', not {self.architecture!r}"
      )
    if self.patience is not None and not self.held_out:
      raise ValueError(
        f'patience={self.patience}: needs held_out, the share of the corpus whose loss decides'
      )
    for field in dataclasses.fields(self):  # NumPy's numbers are welcome, but not in a JSON file
      value = getattr(self, field.name)
      if isinstance(value, np.generic):
        object.__setattr__(self, field.name, value.item())

  @property
  def blocks_per_step(self) -> int:
    """Blocks in a step."""
    return self.batch_size // self.block_size


def _check_number(name, value, kind, low, high=None):
  kinds = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
  right = isinstance(value, kinds) and not isinstance(value, bool)
  if not right or not low <= value <= (np.inf if high is None else high):
    noun = 'an integer' if kind is int else 'a number'
    limits = f'of at least {low}' if high is None else f'from {low} to {high}'
    raise ValueError(f'{name}={value!r}: must be {noun} {limits}')
