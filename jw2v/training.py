"""The trainer: configuration, the compiled steps, and `train()`.

What belongs here: the loop that brings a corpus, an objective and an optimizer
together. The host makes windows, one compiled call runs many steps over them with the
tables donated, and the result of a call is read while the next one runs.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jw2v import blocks, sampling
from jw2v.corpus import Corpus, EncodedCorpus, encode
from jw2v.formats import atomic_write, check_words, save_vectors
from jw2v.progress import Progress, import_tqdm
from jw2v.rowwise import rowwise
from jw2v.vectors import KeyedVectors
from jw2v.vocabulary import Vocabulary
from jw2v.windows import Word2VecParams

OBJECTIVES = {
  ('skip_gram', 'negative_sampling'): blocks.skip_gram_rows,
  ('cbow', 'negative_sampling'): blocks.cbow_rows,
}
OPTIMIZERS = {
  'sgd': optax.sgd,
  'adagrad': optax.adagrad,
  'adam': optax.adam,
  'rmsprop': optax.rmsprop,
}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """The settings of a training run; a value out of range raises a `ValueError`.

  Attributes:
    architecture: 'skip_gram' or 'cbow' (with the mean of the context).
    objective: 'negative_sampling'.
    dim: width D of the vectors.
    window: largest distance between a center word and its context.
    dynamic_window: draw each window's distance from 1 to `window`, as the C tool does.
    negatives: noise words for each prediction; those of one skip-gram window share them.
    noise_exponent: noise words come in proportion to count ** noise_exponent.
    sample: words above this share of the corpus are thinned out; 0 keeps all.
    min_count: words with fewer occurrences are left out.
    max_vocab_size: at most so many words, the most frequent; None for all.
    epochs: passes over the corpus.
    learning_rate: at the start; it falls linearly with the words read,
    min_learning_rate: to this at the end.
    optimizer: 'sgd', 'adagrad', 'adam' or 'rmsprop', of optax, on the touched rows.
    batch_size: windows in a step. The gradients of a step are summed, not averaged.
    steps_per_call: steps in one compiled call.
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
  learning_rate: float = 0.15
  min_learning_rate: float = 1e-4
  optimizer: str = 'adagrad'
  batch_size: int = 256
  steps_per_call: int = 32
  seed: int = 0

  def __post_init__(self):
    choices = {
      'architecture': sorted({architecture for architecture, _ in OBJECTIVES}),
      'objective': sorted({objective for _, objective in OBJECTIVES}),
      'optimizer': sorted(OPTIMIZERS),
      'dynamic_window': [False, True],
    }
    for name, allowed in choices.items():
      value = getattr(self, name)
      if value not in allowed or isinstance(value, (bool, np.bool_)) != (name == 'dynamic_window'):
        options = ', '.join(map(repr, allowed))
        raise ValueError(f'{name}={value!r}: allowed are {options}')
    for name in (
      'dim', 'window', 'negatives', 'min_count', 'epochs', 'batch_size', 'steps_per_call'
    ):  # fmt: skip
      _check_number(name, getattr(self, name), int, 1)
    if self.max_vocab_size is not None:
      _check_number('max_vocab_size', self.max_vocab_size, int, 1)
    _check_number('seed', self.seed, int, 0, 2**63 - 1)
    _check_number('noise_exponent', self.noise_exponent, float, -10, 10)
    _check_number('sample', self.sample, float, 0, 1)
    _check_number('learning_rate', self.learning_rate, float, 1e-12, 1e6)
    _check_number('min_learning_rate', self.min_learning_rate, float, 0, self.learning_rate)
    for field in dataclasses.fields(self):  # NumPy's numbers are welcome, but not in a JSON file
      value = getattr(self, field.name)
      if isinstance(value, np.generic):
        object.__setattr__(self, field.name, value.item())


def _check_number(name, value, kind, low, high=None):
  kinds = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
  right = isinstance(value, kinds) and not isinstance(value, bool)
  if not right or not low <= value <= (np.inf if high is None else high):
    noun = 'an integer' if kind is int else 'a number'
    limits = f'of at least {low}' if high is None else f'from {low} to {high}'
    raise ValueError(f'{name}={value!r}: must be {noun} {limits}')


class TrainState(NamedTuple):
  """What a step reads and writes."""

  params: Word2VecParams
  center_optimizer: optax.OptState
  outside_optimizer: optax.OptState


@dataclasses.dataclass(frozen=True)
class TrainResult:
  """What `train` returns.

  Attributes:
    vectors: the words with their input vectors.
    params: both tables.
    vocabulary: the words with their counts.
    history: a dict for each record: step, epoch, words, words_per_second, loss (the
      mean over the predictions since the last record), learning_rate.
    words_per_second: corpus words, those dropped by `sample` included, over the wall
      time of training; compilation counts, reading and counting do not.
  """

  vectors: KeyedVectors
  params: Word2VecParams
  vocabulary: Vocabulary
  history: list[dict[str, Any]]
  words_per_second: float


def init_params(key: jax.Array, num_words: int, dim: int) -> Word2VecParams:
  """The tables before training, as in the C tool.

  Args:
    key: a `jax.random.key`.
    num_words: V.
    dim: D.

  Returns:
    Input vectors uniform in [-1/2D, 1/2D), output vectors zero; float32.
  """
  shape = (num_words, dim)
  center = jax.random.uniform(key, shape, jnp.float32, minval=-0.5, maxval=0.5) / dim
  return Word2VecParams(center, jnp.zeros(shape, jnp.float32))


def make_optimizer(name: str) -> optax.GradientTransformation:
  """An optimizer of `OPTIMIZERS` whose learning rate is a part of its state."""
  inject = optax.inject_hyperparams(OPTIMIZERS[name], hyperparam_dtype=jnp.float32)
  return inject(learning_rate=0.0)


def make_run_steps(config: TrainConfig) -> Callable:
  """The compiled call: `run_steps(state, windows, learning_rates, noise, key)`.

  Args:
    config: the run's settings.

  Returns:
    A jitted function that donates the state, scans S steps, and returns the state with
    `[S]` losses and `[S]` prediction counts. `noise` is the alias table.
  """
  objective = OBJECTIVES[config.architecture, config.objective]
  optimizer = rowwise(make_optimizer(config.optimizer))
  skip_gram = config.architecture == 'skip_gram'

  def step(state: TrainState, inputs, noise):
    windows, learning_rate, key = inputs
    negative_ids = sampling.sample_alias(key, noise, (len(windows.center_ids), config.negatives))
    # A noise word that is the word to predict does not count, as in the C tool.
    predicted = windows.context_ids[..., None] if skip_gram else windows.center_ids[:, None]
    drawn = negative_ids[:, None] if skip_gram else negative_ids
    weights = (drawn != predicted).astype(jnp.float32)  # [B, C, K] or [B, K]
    rows = objective(state.params, windows, negative_ids, weights)
    center_state, outside_state = (
      s._replace(hyperparams={**s.hyperparams, 'learning_rate': learning_rate})
      for s in (state.center_optimizer, state.outside_optimizer)
    )
    center, center_state = optimizer.update(rows.center, center_state, state.params.center)
    outside, outside_state = optimizer.update(rows.outside, outside_state, state.params.outside)
    state = TrainState(Word2VecParams(center, outside), center_state, outside_state)
    return state, (rows.loss, rows.predictions)

  def run_steps(state, windows, learning_rates, noise, key):
    keys = jax.random.split(key, len(learning_rates))
    inputs = (windows, learning_rates, keys)
    return jax.lax.scan(lambda s, x: step(s, x, noise), state, inputs)

  return jax.jit(run_steps, donate_argnums=0)


def train(
  corpus: Corpus,
  config: TrainConfig = TrainConfig(),
  *,
  workdir: str | pathlib.Path | None = None,
  progress: bool = True,
  callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
) -> TrainResult:
  """Learns vectors of the words of a corpus.

  Args:
    corpus: a path to text, a list of paths, or an iterable of lists of words.
    config: the settings.
    workdir: a folder that gets `vectors.txt` (word2vec format), `config.json` and
      `metrics.jsonl` when training has ended; made if it does not exist.
    progress: show a progress bar on standard error.
    callbacks: each is called with every record of the history as it is made.

  Returns:
    The vectors, tables, vocabulary, history and speed.

  Raises:
    FileNotFoundError: a path does not exist.
    NotADirectoryError: `workdir` is a file, or in one.
    PermissionError: `workdir` cannot be written to.
    TypeError: the corpus or the config is of the wrong kind.
    ValueError: the corpus holds nothing to learn from, is not UTF-8, or has words that
      `vectors.txt` cannot hold.
    FloatingPointError: the loss is no longer finite; the message has the step.
    ImportError: the progress bar without the extra `text`.
  """
  if not isinstance(config, TrainConfig):
    raise TypeError(f'config={config!r}: must be a TrainConfig')
  # What would stop the run at its end is found before it starts.
  if progress:
    import_tqdm()
  if workdir is not None:
    _check_workdir(pathlib.Path(workdir))
  encoded = encode(corpus, min_count=config.min_count, max_vocab_size=config.max_vocab_size)
  if workdir is not None:
    check_words(encoded.vocabulary.words)
  monitor = Progress(len(encoded.ids), config.epochs, show=progress, callbacks=callbacks)
  try:
    params = _run(encoded, config, monitor)
  finally:
    monitor.close()
  result = TrainResult(
    vectors=KeyedVectors(encoded.vocabulary.words, np.asarray(params.center)),
    params=params,
    vocabulary=encoded.vocabulary,
    history=monitor.history,
    words_per_second=monitor.words / monitor.seconds,
  )
  if workdir is not None:
    _write_workdir(pathlib.Path(workdir), config, result)
  return result


def _run(encoded: EncodedCorpus, config: TrainConfig, monitor: Progress) -> Word2VecParams:
  """Trains from the first call to the last; a call's result is read one call later."""
  init_key, call_key = jax.random.split(jax.random.key(config.seed))
  params = init_params(init_key, len(encoded.vocabulary), config.dim)
  optimizer = rowwise(make_optimizer(config.optimizer))
  state = TrainState(params, optimizer.init(params.center), optimizer.init(params.outside))
  distribution = sampling.noise_distribution(encoded.vocabulary.counts, config.noise_exponent)
  noise = jax.tree.map(jnp.asarray, sampling.alias_table(distribution))
  run_steps = make_run_steps(config)

  pending = None
  batches = sampling.call_batches(
    encoded.ids,
    encoded.line_ends,
    sampling.keep_probability(encoded.vocabulary.counts, config.sample),
    seed=config.seed,
    epochs=config.epochs,
    window=config.window,
    dynamic=config.dynamic_window,
    steps=config.steps_per_call,
    size=config.batch_size,
  )
  for number, batch in enumerate(batches):
    share = batch.words / monitor.total_words
    rates = config.learning_rate + (config.min_learning_rate - config.learning_rate) * share
    key = jax.random.fold_in(call_key, number)
    state, results = run_steps(state, batch.windows, rates.astype(np.float32), noise, key)
    if pending is not None:
      monitor.add(*pending)
    pending = (int(batch.words[-1]), float(rates[-1]), *results)
  if pending is not None:
    monitor.add(*pending)
  if not monitor.history:
    raise ValueError(f'sample={config.sample:g} leaves no two words of a line: raise it, or 0')
  if not all(np.isfinite(table).all() for table in state.params):  # the last step is in no loss
    raise FloatingPointError(f'step {monitor.history[-1]["step"]}: the vectors are not finite')
  return state.params


def _check_workdir(workdir: pathlib.Path) -> None:
  """Refuses a workdir that could not be made or written to; makes nothing yet."""
  existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
  if not existing.is_dir():
    raise NotADirectoryError(f'workdir={str(workdir)!r}: {existing} is a file: name a folder')
  if not os.access(existing, os.W_OK | os.X_OK):
    raise PermissionError(f'workdir={str(workdir)!r}: no permission to write in {existing}')


def _write_workdir(workdir: pathlib.Path, config: TrainConfig, result: TrainResult) -> None:
  texts = {
    'config.json': json.dumps(dataclasses.asdict(config), indent=2) + '\n',
    'metrics.jsonl': ''.join(json.dumps(record) + '\n' for record in result.history),
  }
  workdir.mkdir(parents=True, exist_ok=True)
  save_vectors(result.vectors, workdir / 'vectors.txt')
  for name, text in texts.items():
    with atomic_write(workdir / name) as file:
      file.write(text.encode())
