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

OrDefault = Any  # type of a setting that is None until the config chooses its default
ARCHITECTURES = ('cbow', 'skip_gram')
OBJECTIVES = (
  'hierarchical_softmax',
  'naive_softmax',
  'nce',
  'negative_sampling',
  'sampled_softmax',
)
# Objectives with noise words: default `negatives` and `shared_negatives`.
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
# Layouts in which each device takes its own steps.
APART = ('local', 'rows')
# Default learning rates. Rates of the damped step are measured, and work within a factor of two
# (docs/performance.md). The other rates are starting points for tuning.
LEARNING_RATES = {
  'adagrad': {'cbow': 0.1, 'skip_gram': 0.1},
  'adam': {'cbow': 0.002, 'skip_gram': 0.002},
  'curvature_damped_sgd': {'cbow': 0.4, 'skip_gram': 0.05},
  'rmsprop': {'cbow': 0.002, 'skip_gram': 0.002},
  'sgd': {'cbow': 0.02, 'skip_gram': 0.005},
}
# Default rates of the damped step if a row receives another share of the gradient: all of it in
# CBOW, or the share of one n-gram among many.
UNDIVIDED_RATE = 0.2
SUBWORD_RATES = {'cbow': 1.2, 'skip_gram': 0.2}
# In skip-gram, n devices that take separate steps multiply the rate by n ** 0.2, because merged
# rows move less than the rows of one device that takes all steps (docs/optimizer.md).
_RATE_BY_DEVICES = 0.2
OPTIMIZERS = tuple(LEARNING_RATES)
# Negative sampling with wide windows or a short text (docs/performance.md has the measurements).
# If a center makes more predictions than the first number, the default rate decreases. Beyond the
# second number, the largest that was measured, the defaults remain constant.
_WIDE, _WIDEST = 25, 100
# Maximum number of predictions that share a noise word of a block.
_PREDICTIONS_PER_NOISE_WORD = 128
# A run that reads fewer words than this, over all epochs, is short. It multiplies the noise words
# of a block by up to `_MOST_OF_SHORT`, and the skip-gram rate by the square root of this factor.
_SHORT = 40_000_000
_MOST_OF_SHORT = 4
# Maximum product of the number of windows in a default step and the window size.
_MOST_PAIRS = 16_384
# Factor by which the default batch size grows on accelerators.
ACCELERATOR_STEPS = 8
SCHEDULES = ('constant', 'cosine', 'linear')
# Settings of other tools (gensim, fastText, the C tool) and their names in jw2v.
OTHER_NAMES = {
  'alpha': 'learning_rate', 'cbow': 'architecture', 'cbow_mean': 'cbow_gradient',
  'corpus_file': 'FILE', 'ep': 'epochs', 'epoch': 'epochs', 'hs': 'objective', 'input': 'FILE',
  'iter': 'epochs', 'iterations': 'epochs', 'loss': 'objective', 'lr': 'learning_rate',
  'max_final_vocab': 'max_vocab_size', 'max_vocab': 'max_vocab_size', 'maxn_grams': 'maxn',
  'min_alpha': 'min_learning_rate', 'mincount': 'min_count', 'model': 'architecture',
  'neg': 'negatives', 'negative': 'negatives', 'ns_exponent': 'noise_exponent',
  'save_vocab': 'workdir', 'sg': 'architecture', 'size': 'dim',
  't': 'sample', 'thread': 'devices', 'threads': 'devices', 'train': 'FILE',
  'vector_size': 'dim', 'vectors_size': 'dim', 'workers': 'devices', 'ws': 'window',
}  # fmt: skip


def _eights(number: float) -> int:
  """Returns the nearest multiple of 8 that is at least 8."""
  return max(8, 8 * round(number / 8))


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """The settings of a training run; a value out of range raises a `ValueError`.

  The constructor replaces None by the default that depends on the other settings.
  `config.replace(dim=200)` chooses these defaults again, `dataclasses.replace` keeps them.

  Attributes:
    architecture: 'skip_gram' or 'cbow' (with the mean of the context).
    objective: 'negative_sampling', 'hierarchical_softmax', 'naive_softmax' (exact, over the
      whole vocabulary), 'nce' or 'sampled_softmax'.
    dim: dimension D of the vectors.
    window: largest distance between a center word and its context.
    dynamic_window: True to draw the size of each window from 1 to `window`, as in the C tool;
      None for True if `distance_weights` is 'equal', otherwise False.
    distance_weights: weight of a context word at distance d: 'equal', 'harmonic' (1 / d) or
      'linear' ((window - d + 1) / window). The last two always use the full window.
    negatives: number of noise words that each prediction counts; None for 5, or 24 with 'nce' and
      'sampled_softmax'. The objectives 'naive_softmax' and 'hierarchical_softmax' do not use noise
      words. A prediction is scored against all `shared_negatives` of its block, each with the
      weight negatives / shared_negatives.
    noise: distribution of noise words: 'unigram' (count ** noise_exponent), 'uniform', or
      'log_uniform' (log(1 + 1 / r) for the r-th most frequent word).
    noise_exponent: exponent of the unigram noise.
    sample: share of the corpus above which a word is subsampled; 0 keeps all words.
    min_count: minimum number of occurrences of a word.
    max_vocab_size: maximum number of words, the most frequent ones; None for no limit.
    epochs: number of passes over the corpus.
    learning_rate: learning rate at the start; None for a value that depends on the optimizer
      and the architecture. With the damped step, it also depends on n-grams, on `cbow_gradient`,
      and for skip-gram on the number of devices in the layouts 'local' and 'rows'. For skip-gram
      with negative sampling, let n be the number of context words of a center: 2 * `window`, or
      `window` + 1 with a dynamic window. If n > 25, the default is 0.05 * sqrt(25 / n), but not
      below 0.025. Otherwise, if the run reads N < 40 million words over all epochs, it is
      0.05 * (40 million / N) ** (1 / 4), up to 0.1.
    min_learning_rate: learning rate at the end.
    schedule: decrease of the learning rate with the words read: 'linear', 'cosine' or 'constant'.
    optimizer: 'curvature_damped_sgd', or an optimizer of optax applied to the touched rows: 'sgd',
      'adagrad', 'adam' or 'rmsprop'.
    batch_size: number of windows in a step, a multiple of `block_size`; None for 1,024. With
      n-grams or 'hierarchical_softmax' the default is 256, rounded to whole blocks, and with a
      `window` above 16 at most 16,384 / `window`. On accelerators it is eight times larger, except
      with 'naive_softmax'. A step sums its gradients and does not average them. In the layouts
      'local' and 'rows' each device takes steps of this size.
    block_size: number of consecutive windows that share their context rows and noise words; None
      for 16. For a `window` above 16 the default is the next multiple of 16, up to 64. With
      'hierarchical_softmax' it is the number that makes 16 or 32 tokens together with the context.
      It divides `batch_size`. Blocks of the hierarchical softmax have fewer windows if paths are
      long.
    shared_negatives: number of noise words of a block; None for 24, or `negatives` with 'nce' and
      'sampled_softmax'. With 'sampled_softmax' both must be equal. With negative sampling the
      default is at least one for each 128 predictions of a block. If the run reads N < 40 million
      words and a center makes at most 25 predictions, it is 24 * sqrt(40 million / N), up to 96.
    softmax_tile: number of words whose scores the naive softmax computes at once, at most the size
      of the vocabulary; None for 1,024 on a CPU and 8,192 on other devices.
    cbow_gradient: share of the gradient of the mean for each context word of CBOW: its true share
      ('exact'), or the whole gradient as in the C tool, gensim and fastText ('undivided').
    minn, maxn: minimum and maximum number of characters of n-grams, such as 3 and 6 in fastText; 0
      and 0 for words without n-grams.
    bucket: number of rows that n-grams share by their hash.
    steps_per_call: maximum number of steps in one compiled call.
    merge_steps: maximum number of steps, over all devices, between two merges of their copies in
      the layouts 'local' and 'rows'; None for 1,024, or more in 'local' for tables of more than
      200,000 rows.
    product_dtype: dtype of both sides of matrix products, 'float32' or 'bfloat16'; sums are in
      float32. Use 'bfloat16' on devices that support it; it is slower on a CPU.
    layout: placement of tables and windows on several devices, see `distributed/layout.py`:
      'local', 'rows', 'replicated', 'data', 'width' or 'data_width'. None for 'local' on a CPU; on
      other devices for 'width' if the number of devices divides `dim`, otherwise 'data'. The exact
      softmax always uses 'data' by default.
    devices: number of devices of each process; None for all devices if several processes train.
      In a single process, None splits a CPU into up to four devices if each has four million words
      of text, with the layout 'local' or None and without the exact softmax; otherwise it means 1.
    width_devices: number of devices that the columns of a table are split over, with 'data_width'.
    shuffle: True to read the chunks of 65,536 words in a different order in each epoch.
    held_out: share of the corpus to hold out, taken from its end; its loss is in the history at the
      end of each epoch.
    patience: number of epochs without a lower held-out loss after which training stops; None for no
      early stopping.
    seed: seed of all random draws of the run.
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
  _chosen: ClassVar[frozenset[str]] = frozenset()  # names of settings that were None

  def __new__(cls, *args: Any, **settings: Any) -> 'TrainConfig':
    """Raises a `TypeError` for an unknown setting, with a hint at the right name."""
    known = [field.name for field in dataclasses.fields(cls)]
    for name in settings:
      if name not in known:
        ours = OTHER_NAMES.get(name) or next(
          iter(difflib.get_close_matches(name, known, 1, cutoff=0.75)), None
        )
        hint = f'did you mean {ours}?' if ours in known else 'see help(jw2v.TrainConfig)'
        raise TypeError(f'unknown setting {name} of TrainConfig; {hint}')
    return super().__new__(cls)

  def __post_init__(self) -> None:
    given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    for name, value in given.items():  # JSON files cannot contain numbers of NumPy
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
        raise ValueError(f'{name} must be one of {options}; got {value!r}')
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
        f'minn must be from 1 to maxn={self.maxn}, or 0 with maxn=0 for no n-grams, got {self.minn}'
      )
    self._check_together()

  def _choose_defaults(self):
    """Replaces None by defaults that depend on other settings."""
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
    if self.objective in tuple(NEGATIVES):  # not yet validated; a list would not be hashable
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
      # Unknown names raise an error later.
      known = self.optimizer in OPTIMIZERS and self.architecture in ARCHITECTURES
      choose('learning_rate', self.default_rate() if known else 1.0)

  def _check_together(self):
    """Raises an error for settings that contradict each other."""
    if self.batch_size % self.block_size:
      raise ValueError(
        f'batch_size must be a multiple of block_size={self.block_size}, got {self.batch_size}'
      )
    if self.objective not in NEGATIVES:
      for name in ('negatives', 'shared_negatives'):
        if getattr(self, name) is not None:
          raise ValueError(
            f'{name} must be None with objective={self.objective!r}, got {getattr(self, name)}; '
            f'noise words need one of {", ".join(map(repr, NEGATIVES))}'
          )
    if self.objective == 'sampled_softmax' and self.negatives != self.shared_negatives:
      raise ValueError(
        f"shared_negatives must be negatives={self.negatives} with objective='sampled_softmax', "
        f'got {self.shared_negatives}; set one of them only'
      )
    if self.softmax_tile is not None and self.objective != 'naive_softmax':
      raise ValueError(
        f"softmax_tile must be None unless objective='naive_softmax', got {self.softmax_tile}"
      )
    if self.cbow_gradient != 'exact' and self.architecture != 'cbow':
      raise ValueError(
        f"cbow_gradient must be 'exact' unless architecture='cbow', got {self.cbow_gradient!r}"
      )
    if self.distance_weights != 'equal' and self.dynamic_window:
      raise ValueError(
        f'dynamic_window must be False or None with distance_weights={self.distance_weights!r}, '
        'got True'
      )
    if self.width_devices is not None and self.layout != 'data_width':
      raise ValueError(
        f"width_devices must be None unless layout='data_width', got {self.width_devices}"
      )
    if self.merge_steps is not None and self.layout not in (None, *APART):
      raise ValueError(
        f"merge_steps must be None unless layout is 'local', 'rows' or None, got {self.merge_steps}"
      )
    if self.layout == 'rows' and self.objective not in NEGATIVES:
      raise ValueError(
        f"objective must be one of {', '.join(map(repr, NEGATIVES))} with layout='rows', got "
        f'{self.objective!r}'
      )
    if self.patience is not None and not self.held_out:
      raise ValueError(
        f'patience must be None without held_out, got {self.patience}; set held_out, such as 0.01'
      )

  def default_rate(
    self, apart: int = 1, words: int | None = None, longest_line: int | None = None
  ) -> float:
    """Returns the default learning rate.

    Args:
      apart: number of devices that take separate steps.
      words: number of words of the text; None for a text that is not short.
      longest_line: number of words of the longest line of the text; None if it is unknown.
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
    """Returns the factor of the default rate for devices that take separate steps."""
    grows = self.optimizer == 'curvature_damped_sgd' and self.architecture == 'skip_gram'
    return apart**_RATE_BY_DEVICES if grows else 1.0

  def _follows_text(self):
    """Returns whether defaults depend on the window and the length of the text."""
    kind = self.objective, self.optimizer, self.maxn
    return kind == ('negative_sampling', 'curvature_damped_sgd', 0)

  def _predictions(self, longest_line=None):
    """Returns the number of predictions of a center in a line, at most `_WIDEST`."""
    if self.architecture == 'cbow':
      return 1
    window = self.window if isinstance(self.window, int) else 1
    if longest_line is not None:
      window = min(window, longest_line - 1)
    window = max(1, window)
    return min(_WIDEST, window + 1 if self.dynamic_window else 2 * window)

  def _shortness(self, words, longest_line):
    """Returns the factor of the noise words of a short text; 1 if windows are wide."""
    is_wide = self._predictions(longest_line) > _WIDE
    if words is None or is_wide or not self._follows_text():
      return 1.0
    return min(_MOST_OF_SHORT, max(1.0, (_SHORT / max(1, words * self.epochs)) ** 0.5))

  def apart(self, layout: str, devices: int, processes: int = 1) -> 'TrainConfig':
    """Returns the settings for devices that take separate steps.

    Args:
      layout: 'local' or 'rows'.
      devices: number of devices of each process.
      processes: number of processes.
    """
    rate = self.learning_rate
    if 'learning_rate' in self._chosen:  # possibly the default of a short text
      rate *= self._rate_factor(devices * processes)
    return dataclasses.replace(self, layout=layout, devices=devices, learning_rate=rate)

  def on(
    self, platform: str, longest_line: int | None = None, words: int | None = None
  ) -> 'TrainConfig':
    """Returns the settings for a backend and a text, with the defaults that depend on both.

    If all lines are shorter than the window, the defaults follow from the length of the longest
    line. With negative sampling, blocks of a short text have more noise words, and skip-gram has a
    higher learning rate. On accelerators, steps are larger, since launching a step of 1,024 windows
    takes longer than computing it. This does not apply to the exact softmax, whose steps are long
    enough.

    Args:
      platform: backend of JAX, 'cpu' or another.
      longest_line: number of words of the longest line of the text; None if it is unknown.
      words: number of words of the text; None for a text that is not short.
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
    if 'learning_rate' in self._chosen:  # remains a default, for `apart`
      object.__setattr__(config, 'learning_rate', self.default_rate(1, words, longest_line))
    return config

  def replace(self, **changes: Any) -> 'TrainConfig':
    """Returns a copy with other values of some settings, and chooses the other defaults again.

    Args:
      **changes: new values by name.

    Raises:
      TypeError: a setting does not exist.
      ValueError: a value is out of range.
    """
    names = {field.name for field in dataclasses.fields(self)} - self._chosen
    return TrainConfig(**{name: getattr(self, name) for name in names} | changes)

  @property
  def has_subwords(self) -> bool:
    """Returns whether words have n-grams."""
    return self.maxn > 0

  @property
  def blocks_per_step(self) -> int:
    """Number of blocks in a step."""
    return self.batch_size // self.block_size
