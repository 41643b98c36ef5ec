"""The settings of a training run.

`TrainConfig` chooses defaults and checks values. `make_objective`, `make_optimizer` and
`make_layout` resolve its names to functions.
"""

import dataclasses
import difflib
from typing import Any, ClassVar

import numpy as np

from jw2v.ngrams import LONGEST
from jw2v.utils.checks import check_number

OrDefault = Any  # the type of a None that the config replaces by what it stands for
ARCHITECTURES = ('cbow', 'skip_gram')
OBJECTIVES = (
  'hierarchical_softmax',
  'naive_softmax',
  'nce',
  'negative_sampling',
  'sampled_softmax',
)
# Those with noise words: how many each prediction counts, and how many a block has.
NEGATIVES = {
  'nce': (24, 24),
  'negative_sampling': (5, 24),
  'sampled_softmax': (24, 24),
}
NOISES = ('log_uniform', 'uniform', 'unigram')
DISTANCE_WEIGHTS = ('equal', 'harmonic', 'linear')
CBOW_GRADIENTS = ('exact', 'undivided')
PRODUCT_DTYPES = ('bfloat16', 'float32')
LAYOUTS = ('data', 'data_width', 'local', 'replicated', 'rows', 'width')
# Those in which devices take steps of their own.
APART = ('local', 'rows')
# The learning rate where none is given. Those of the damped step are measured, and hold
# between half and twice the value (docs/performance.md); the others are places to start.
LEARNING_RATES = {
  'adagrad': {'cbow': 0.1, 'skip_gram': 0.1},
  'adam': {'cbow': 0.002, 'skip_gram': 0.002},
  'curvature_damped_sgd': {'cbow': 0.4, 'skip_gram': 0.05},
  'rmsprop': {'cbow': 0.002, 'skip_gram': 0.002},
  'sgd': {'cbow': 0.02, 'skip_gram': 0.005},
}
# Those of the damped step where a row gets another share of the gradient: all of it in CBOW, or
# that of one n-gram among many.
UNDIVIDED_RATE = 0.2
SUBWORD_RATES = {'cbow': 1.2, 'skip_gram': 0.2}
# In skip-gram n devices that take steps apart start at n ** 0.2 times the rate: merged rows move
# less than those of one device with all the steps (docs/optimizer.md).
_RATE_BY_DEVICES = 0.2
OPTIMIZERS = tuple(LEARNING_RATES)
# Negative sampling with wide windows or a short text (docs/performance.md has the measurements).
# If a center makes more predictions than the first number, the rate falls; from the second one on,
# the largest that was measured, the defaults stay.
_WIDE, _WIDEST = 25, 100
# Predictions that share a noise word of a block, at most.
_PREDICTIONS_PER_NOISE_WORD = 128
# A run that reads fewer words, epochs included, is short: its blocks have up to so many times the
# noise words, and in skip-gram the rate grows by the square root, since there are few steps.
_SHORT = 40_000_000
_MOST_OF_SHORT = 4
# Windows of a default step, times the largest distance in a window, are at most so many.
_MOST_PAIRS = 16_384
# So many times larger are the default steps on other devices than CPUs.
ACCELERATOR_STEPS = 8
SCHEDULES = ('constant', 'cosine', 'linear')
# Names of other tools (gensim, fastText, the C tool), and our setting.
OTHER_NAMES = {
  'alpha': 'learning_rate', 'cbow': 'architecture', 'cbow_mean': 'cbow_gradient',
  'corpus_file': 'FILE', 'ep': 'epochs', 'epoch': 'epochs', 'hs': 'objective', 'input': 'FILE',
  'iter': 'epochs', 'iterations': 'epochs', 'loss': 'objective', 'lr': 'learning_rate',
  'max_final_vocab': 'max_vocab_size', 'max_vocab': 'max_vocab_size', 'maxn_grams': 'maxn',
  'min_alpha': 'min_learning_rate', 'mincount': 'min_count', 'model': 'architecture',
  'neg': 'negatives', 'negative': 'negatives', 'ns_exponent': 'noise_exponent',
  'null_word': 'min_count', 'save_vocab': 'workdir', 'sg': 'architecture', 'size': 'dim',
  't': 'sample', 'thread': 'devices', 'threads': 'devices', 'train': 'FILE',
  'vector_size': 'dim', 'vectors_size': 'dim', 'workers': 'devices', 'ws': 'window',
}  # fmt: skip


def _eights(number: float) -> int:
  """Returns the nearest multiple of 8 that is at least 8."""
  return max(8, 8 * round(number / 8))


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """The settings of a training run; a value out of range raises a `ValueError`.

  A None that stands for a value is replaced by it when the object is made.
  `config.replace(dim=200)` chooses such values again, `dataclasses.replace` keeps them.

  Attributes:
    architecture: 'skip_gram' or 'cbow' (with the mean of the context).
    objective: 'negative_sampling', 'hierarchical_softmax', 'naive_softmax' (exact, over the
      whole vocabulary), 'nce' or 'sampled_softmax'.
    dim: width D of the vectors.
    window: largest distance between a center word and its context.
    dynamic_window: draw each window's distance from 1 to `window`, as the C tool does; None
      does where all distances weigh the same.
    distance_weights: how much a context word counts at distance d: 'equal', 'harmonic' (1 / d)
      or 'linear' ((window - d + 1) / window); the last two always see the full window.
    negatives: noise words that each prediction counts; None takes 5, or 24 with 'nce' and
      'sampled_softmax'; the softmax objectives without noise have none. A prediction meets more:
      all the `shared_negatives` of its block, each weighted negatives / shared_negatives.
    noise: where noise words come from: 'unigram' (count ** noise_exponent), 'uniform', or
      'log_uniform' (log(1 + 1 / r) for the r-th most frequent word).
    noise_exponent: of the unigram noise.
    sample: words above this share of the corpus are thinned out; 0 keeps all.
    min_count: words with fewer occurrences are left out.
    max_vocab_size: at most so many words, the most frequent; None for all.
    epochs: passes over the corpus.
    learning_rate: at the start; None takes the default of optimizer and architecture (and,
      with the damped step, of n-grams, of the CBOW gradient, and for skip-gram of the number of
      devices in the layouts 'local' and 'rows'). Skip-gram with negative sampling starts lower if
      a center has n > 25 context words, 2 * `window` or with a dynamic window `window` + 1: at
      0.05 * sqrt(25 / n), but not below 0.025. Otherwise it starts higher if the run reads N < 40
      million words, epochs included: at 0.05 * (40 million / N) ** (1 / 4), up to 0.1.
    min_learning_rate: at the end.
    schedule: how the rate falls with the words read: 'linear', 'cosine' or 'constant'.
    optimizer: 'curvature_damped_sgd', or one of optax, on the touched rows: 'sgd',
      'adagrad', 'adam' or 'rmsprop'.
    batch_size: windows in a step, a multiple of `block_size`; None takes 1,024; with n-grams or
      'hierarchical_softmax' as many blocks as 256 windows hold; with a `window` above 16 fewer,
      16,384 / `window`; and eight times as many on other devices than CPUs, except with
      'naive_softmax'. A step sums its gradients and does not average them. In the layouts
      'local' and 'rows' each device takes such steps.
    block_size: consecutive windows that share their context rows and noise words; None takes
      16, or for a wider `window` the next multiple of 16, up to 64; and with
      'hierarchical_softmax' as many as make 16 tokens, or 32, with the context. It divides
      `batch_size`. The blocks of the hierarchical softmax have fewer windows where the paths are
      long.
    shared_negatives: noise words of a block; None takes 24, or as many as `negatives` with
      'nce' and 'sampled_softmax', of which the latter takes no others. Negative sampling takes one
      for each 128 predictions of a block if that is more, and 24 * sqrt(40 million / N), up to 96,
      if the run reads N < 40 million words and a center makes no more than 25 predictions.
    softmax_tile: words whose scores the naive softmax has at once, at most the vocabulary;
      None takes 1,024 on a CPU and 8,192 elsewhere, if there are so many.
    cbow_gradient: what a context word of CBOW gets of the gradient of the mean: its share
      ('exact'), or all of it as in the C tool, gensim and fastText ('undivided').
    minn, maxn: fewest and most characters of the n-grams that words are made of besides
      themselves, as 3 and 6 in fastText; 0 and 0 for none.
    bucket: rows that n-grams share, by their hash.
    steps_per_call: steps in one compiled call, at most.
    merge_steps: steps of all devices together between two merges of their copies in the layout
      'local' or 'rows', at most; None takes 1,024, and in 'local' more for tables of more than
      200,000 rows.
    product_dtype: what the sides of products are rounded to, 'float32' or 'bfloat16'; sums are
      in float32. For devices with such products: a CPU is slower with them.
    layout: how tables and windows are placed on several devices, see `distributed/layout.py`:
      'local', 'rows', 'replicated', 'data', 'width' or 'data_width'. None takes 'local' on a CPU;
      elsewhere 'width' if the devices divide `dim`, otherwise 'data'; and always 'data' for the
      exact softmax.
    devices: how many of each process; None takes all that there are if several processes train.
      Otherwise it makes devices of the cores of a CPU, up to four, if there are four million words
      for each, for the layout 'local' or None, but not for the exact softmax; else one.
    width_devices: how many the width of a table is split over, with 'data_width'.
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
  dynamic_window: bool | OrDefault = None
  distance_weights: str = 'equal'
  negatives: int | None = None
  noise: str = 'unigram'
  noise_exponent: float = 0.75
  sample: float = 1e-3
  min_count: int = 5
  max_vocab_size: int | None = None
  epochs: int = 5
  learning_rate: float | OrDefault = None
  min_learning_rate: float = 1e-4
  schedule: str = 'linear'
  optimizer: str = 'curvature_damped_sgd'
  batch_size: int | OrDefault = None
  block_size: int | OrDefault = None
  shared_negatives: int | None = None
  softmax_tile: int | None = None
  cbow_gradient: str = 'exact'
  minn: int = 0
  maxn: int = 0
  bucket: int = 2_000_000
  steps_per_call: int = 64
  merge_steps: int | None = None
  product_dtype: str = 'float32'
  layout: str | None = None
  devices: int | None = None
  width_devices: int | None = None
  shuffle: bool = False
  held_out: float = 0.0
  patience: int | None = None
  seed: int = 0
  _chosen: ClassVar[frozenset[str]] = frozenset()  # of each config those that were None

  def __new__(cls, *args: Any, **settings: Any) -> 'TrainConfig':
    """Raises a `TypeError` for an unknown name, with the setting that it may stand for."""
    known = [field.name for field in dataclasses.fields(cls)]
    for name in settings:
      if name not in known:
        ours = OTHER_NAMES.get(name) or next(
          iter(difflib.get_close_matches(name, known, 1, cutoff=0.75)), None
        )
        hint = f'the setting is {ours}' if ours in known else 'the settings are the fields'
        raise TypeError(f'{name}: unknown setting of TrainConfig; {hint}')
    return super().__new__(cls)

  def __post_init__(self) -> None:
    given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    for name, value in given.items():  # NumPy's numbers are welcome, but not in a JSON file
      if isinstance(value, np.generic):
        object.__setattr__(self, name, value.item())
    chosen = frozenset(name for name, value in given.items() if value is None)
    object.__setattr__(self, '_chosen', chosen)
    self._choose_defaults()
    choices = {
      'architecture': ARCHITECTURES,
      'objective': OBJECTIVES,
      'optimizer': OPTIMIZERS,
      'schedule': SCHEDULES,
      'noise': NOISES,
      'distance_weights': DISTANCE_WEIGHTS,
      'cbow_gradient': CBOW_GRADIENTS,
      'product_dtype': PRODUCT_DTYPES,
      'layout': (None, *LAYOUTS),
      'dynamic_window': (False, True),
      'shuffle': (False, True),
    }
    for name, allowed in choices.items():
      value = getattr(self, name)
      if value not in allowed or isinstance(value, bool) != (True in allowed):
        options = ', '.join(map(repr, allowed))
        raise ValueError(f'{name}={value!r}: allowed are {options}')
    for name in (
      'dim',
      'min_count',
      'epochs',
      'block_size',
      'steps_per_call',
      'batch_size',
      'bucket',
    ):
      check_number(name, getattr(self, name), int, 1)
    check_number('window', self.window, int, 1, 2**15 - 1)  # blocks hold it as int16
    for name in (
      'max_vocab_size',
      'patience',
      'negatives',
      'shared_negatives',
      'softmax_tile',
      'merge_steps',
      'devices',
      'width_devices',
    ):
      if getattr(self, name) is not None:
        check_number(name, getattr(self, name), int, 1)
    check_number('seed', self.seed, int, 0, 2**63 - 1)
    check_number('noise_exponent', self.noise_exponent, float, -10, 10)
    check_number('sample', self.sample, float, 0, 1)
    check_number('held_out', self.held_out, float, 0, 0.5)
    check_number('learning_rate', self.learning_rate, float, 1e-12, 1e6)
    check_number('min_learning_rate', self.min_learning_rate, float, 0, self.learning_rate)
    check_number('maxn', self.maxn, int, 0, LONGEST)
    check_number('minn', self.minn, int, 0, LONGEST)
    if not (self.minn == self.maxn == 0 or 1 <= self.minn <= self.maxn):
      raise ValueError(
        f'minn={self.minn}: must be from 1 to maxn={self.maxn}, or both 0 for no n-grams'
      )
    self._check_together()

  def _choose_defaults(self):
    """Replaces None by what it stands for, where that depends on other settings."""
    choose = lambda name, value: object.__setattr__(self, name, value)
    if self.dynamic_window is None:
      choose('dynamic_window', self.distance_weights == 'equal')
    if self.block_size is None:
      window = self.window if isinstance(self.window, int) else 1
      # A wide window has more tokens than centers, and wide blocks share them.
      size, step = min(64, max(16, -(-window // 16) * 16)), 16
      if self.objective == 'hierarchical_softmax':
        size, step = 16 - 2 * window % 16, 1
        size += 16 * (size < 4)
      if isinstance(self.batch_size, int) and self.batch_size > 0:
        size = next((n for n in range(size, 0, -step) if self.batch_size % n == 0), 16)
      choose('block_size', size)
    if self.batch_size is None and isinstance(self.block_size, int) and self.block_size > 0:
      # Rows that many predictions share, nodes and n-grams, do better in smaller steps.
      shared = self.objective == 'hierarchical_softmax' or self.maxn != 0
      windows = 256 if shared else 1024
      if isinstance(self.window, int):  # and steps of a limited number of pairs
        windows = min(windows, _MOST_PAIRS // max(1, self.window))
      blocks = windows // (2 * self.block_size) * 2
      choose('batch_size', max(blocks, 1) * self.block_size)
    if self.objective in tuple(NEGATIVES):  # it may be anything yet, even a list
      negatives, shared = NEGATIVES[self.objective]
      if self._follows_text() and isinstance(self.block_size, int):
        predictions = self.block_size * self._predictions()
        shared = max(shared, _eights(predictions / _PREDICTIONS_PER_NOISE_WORD))
      if self.shared_negatives is None:
        is_exact = self.objective != 'negative_sampling' and self.negatives is not None
        choose('shared_negatives', self.negatives if is_exact else shared)
      if self.negatives is None:
        is_exact = self.objective != 'negative_sampling'
        choose('negatives', self.shared_negatives if is_exact else negatives)
    if self.learning_rate is None:
      # What is not known is refused a little later.
      known = self.optimizer in OPTIMIZERS and self.architecture in ARCHITECTURES
      choose('learning_rate', self.default_rate() if known else 1.0)

  def _check_together(self):
    """Refuses settings that do not go together."""
    if self.batch_size % self.block_size:
      raise ValueError(
        f'batch_size={self.batch_size}: must be a multiple of block_size={self.block_size}'
      )
    if self.objective not in NEGATIVES:
      for name in ('negatives', 'shared_negatives'):
        if getattr(self, name) is not None:
          raise ValueError(
            f'{name}={getattr(self, name)}: objective={self.objective!r} has no noise words; '
            f'those with them are {", ".join(map(repr, NEGATIVES))}'
          )
    if self.objective == 'sampled_softmax' and self.negatives != self.shared_negatives:
      raise ValueError(
        f'shared_negatives={self.shared_negatives}: the softmax is over all the noise words of a '
        f'block, negatives={self.negatives}: give one of both'
      )
    if self.softmax_tile is not None and self.objective != 'naive_softmax':
      raise ValueError(
        f"softmax_tile={self.softmax_tile}: needs objective='naive_softmax', not {self.objective!r}"
      )
    if self.cbow_gradient != 'exact' and self.architecture != 'cbow':
      raise ValueError(
        f"cbow_gradient={self.cbow_gradient!r}: needs architecture='cbow', not "
        f'{self.architecture!r}'
      )
    if self.distance_weights != 'equal' and self.dynamic_window:
      raise ValueError(
        f'distance_weights={self.distance_weights!r}: stands for drawn windows, and needs '
        'dynamic_window=False or None'
      )
    if self.width_devices is not None and self.layout != 'data_width':
      raise ValueError(
        f"width_devices={self.width_devices}: needs layout='data_width', not {self.layout!r}"
      )
    if self.merge_steps is not None and self.layout not in (None, *APART):
      raise ValueError(
        f"merge_steps={self.merge_steps}: needs layout='local', 'rows' or None, not {self.layout!r}"
      )
    if self.layout == 'rows' and self.objective not in NEGATIVES:
      raise ValueError(
        f"layout='rows': needs an objective with noise words, {', '.join(map(repr, NEGATIVES))}, "
        f'not {self.objective!r}'
      )
    if self.patience is not None and not self.held_out:
      raise ValueError(
        f'patience={self.patience}: needs held_out, the share of the corpus whose loss decides'
      )

  def default_rate(
    self, apart: int = 1, words: int | None = None, longest_line: int | None = None
  ) -> float:
    """Returns the learning rate that None stands for.

    Args:
      apart: number of devices that take steps of their own.
      words: words of the text; None for a text that is not short.
      longest_line: words of the longest line of the text; None if it is not known.
    """
    rate = LEARNING_RATES[self.optimizer][self.architecture]
    if self.optimizer != 'curvature_damped_sgd':
      return rate
    rate = UNDIVIDED_RATE if self.cbow_gradient == 'undivided' else rate
    rate = SUBWORD_RATES[self.architecture] if self.maxn != 0 else rate
    if self.architecture == 'skip_gram' and self._follows_text():
      narrowness = min(1.0, _WIDE / self._predictions(longest_line))
      rate *= (narrowness * self._shortness(words, longest_line)) ** 0.5
    return rate * self._rate_factor(apart)

  def _rate_factor(self, apart):
    """Returns the factor of the default rate for devices that take steps of their own."""
    grows = self.optimizer == 'curvature_damped_sgd' and self.architecture == 'skip_gram'
    return apart**_RATE_BY_DEVICES if grows else 1.0

  def _follows_text(self):
    """Returns whether defaults depend on the width of windows and the length of the text."""
    kind = self.objective, self.optimizer, self.maxn
    return kind == ('negative_sampling', 'curvature_damped_sgd', 0)

  def _predictions(self, longest_line=None):
    """Returns how many predictions a center makes in a line, at most the most measured."""
    if self.architecture == 'cbow':
      return 1
    window = self.window if isinstance(self.window, int) else 1
    if longest_line is not None:
      window = min(window, longest_line - 1)
    window = max(1, window)
    return min(_WIDEST, window + 1 if self.dynamic_window else 2 * window)

  def _shortness(self, words, longest_line):
    """Returns the factor of the noise words of a short text; 1 where windows are wide."""
    is_wide = self._predictions(longest_line) > _WIDE
    if words is None or is_wide or not self._follows_text():
      return 1.0
    return min(_MOST_OF_SHORT, max(1.0, (_SHORT / max(1, words * self.epochs)) ** 0.5))

  def apart(self, layout: str, devices: int, processes: int = 1) -> 'TrainConfig':
    """Returns the settings for devices that take steps of their own.

    Args:
      layout: 'local' or 'rows'.
      devices: number of devices of each process.
      processes: number of processes.
    """
    rate = self.learning_rate
    if 'learning_rate' in self._chosen:  # which may be that of a short text
      rate *= self._rate_factor(devices * processes)
    return dataclasses.replace(self, layout=layout, devices=devices, learning_rate=rate)

  def on(
    self, platform: str, longest_line: int | None = None, words: int | None = None
  ) -> 'TrainConfig':
    """Returns the settings for a backend and a text, whose defaults depend on both.

    If all lines are shorter than the window, the defaults are those of a window as wide as the
    longest line. With negative sampling a short text has more noise words in a block, and in
    skip-gram a higher learning rate. On other backends than a CPU, steps are larger, since a step
    of 1,024 windows takes longer to launch there than to compute. The exact softmax is large
    enough as it is.

    Args:
      platform: backend of JAX, 'cpu' or another.
      longest_line: words of the longest line of the text; None if it is not known.
      words: words of the text; None for a text that is not short.
    """
    like = self
    if longest_line is not None and longest_line <= self.window:
      like = self.replace(window=max(1, longest_line - 1))
    changes = {name: getattr(like, name) for name in ('block_size', 'batch_size')}
    if self.objective == 'negative_sampling' and like.shared_negatives is not None:
      shortness = self._shortness(words, longest_line)
      changes['shared_negatives'] = _eights(like.shared_negatives * shortness)
    if platform != 'cpu' and self.objective != 'naive_softmax':
      changes['batch_size'] *= ACCELERATOR_STEPS
    changes = {name: value for name, value in changes.items() if name in self._chosen}
    is_same = all(getattr(self, name) == value for name, value in changes.items())
    config = self.replace(**({} if is_same else changes))
    if 'learning_rate' in self._chosen:  # it stays one that was chosen, for `apart`
      object.__setattr__(config, 'learning_rate', self.default_rate(1, words, longest_line))
    return config

  def replace(self, **changes: Any) -> 'TrainConfig':
    """The settings with some of them changed; defaults that were chosen are chosen again.

    Args:
      **changes: new values by name.

    Raises:
      TypeError: there is no such setting.
      ValueError: a value is out of range.
    """
    names = {field.name for field in dataclasses.fields(self)} - self._chosen
    return TrainConfig(**{name: getattr(self, name) for name in names} | changes)

  @property
  def has_subwords(self) -> bool:
    """Whether words are made of n-grams too."""
    return self.maxn > 0

  @property
  def blocks_per_step(self) -> int:
    """Blocks in a step."""
    return self.batch_size // self.block_size
