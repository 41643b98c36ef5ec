"""`train`: from a corpus and a config to vectors."""

import contextlib
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

from jw2v.config import TrainConfig
from jw2v.data.corpus import Corpus, encode_corpus, has_text, is_text
from jw2v.data.sampling import Blocks
from jw2v.data.store import EncodedCorpus
from jw2v.data.stream import TextBlocks, held_out_start, longest_line
from jw2v.data.tokens import TextConfig
from jw2v.data.vocabulary import Vocabulary
from jw2v.distributed.agreement import check_same, first_exits_last, first_then_others
from jw2v.distributed.backend import check_not_forked, num_cores, platform, prepare_backend
from jw2v.distributed.layout import Layout, default_devices, make_layout
from jw2v.distributed.processes import is_first, naming_lost_processes
from jw2v.formats.registry import check_words
from jw2v.losses.window import Word2VecParams
from jw2v.objectives.objective import Objective, make_objective
from jw2v.training.checkpoints import Checkpoints, Stopped
from jw2v.training.history import History, mean_losses
from jw2v.training.loop import Started, fit
from jw2v.training.state import check_initial, make_optimizer
from jw2v.training.workdir import Workdir
from jw2v.utils.progress_bar import import_tqdm
from jw2v.vectors.keyed_vectors import KeyedVectors

_ENOUGH = 1_000_000  # minimum number of words read, over all epochs, for useful vectors
_UNTRAINED = 0.9  # share of the untrained loss above which vectors are nearly untrained


@dataclasses.dataclass(frozen=True, repr=False)
class TrainResult:
  """The result of `train`.

  Attributes:
    vectors: the words with their input vectors; `SubwordVectors` if the words have n-grams.
    params: both tables on the devices of the run, split or copied as in `layout`; with 'rows' in
      the memory of the host. With n-grams, the rows of n-grams follow the rows of words in the
      center table. With the hierarchical softmax the rows of the outside table are the nodes of the
      Huffman tree of the counts.
    vocabulary: the words with their counts.
    config: the settings, with all defaults filled in.
    history: one dict per record: step, epoch, words, words_per_second, loss (mean over
      the predictions of a sixteenth of the blocks since the previous record), learning_rate,
      gradient_norm (of the centers, root mean square since the previous record), center_norm and
      outside_norm (mean norms of the rows). At the ends of epochs also held_out_loss, if a part of
      the corpus is held out, and the scores of `evaluate`.
    words_per_second: corpus words, those dropped by `sample` included, divided by the wall time of
      training. Compilation counts; reading and counting the text do not.
    predicted_bytes: peak memory of the process, predicted before the first step.
  """

  vectors: KeyedVectors
  params: Word2VecParams
  vocabulary: Vocabulary
  config: TrainConfig
  history: list[dict[str, Any]]
  words_per_second: float
  predicted_bytes: int

  def __repr__(self) -> str:
    last = self.history[-1]
    return (
      f'<TrainResult: {len(self.vocabulary):,} words, width {self.config.dim}, epoch '
      f'{last["epoch"]:.2f}, loss {mean_losses(self.history)[-1]:.3f}, '
      f'{self.words_per_second:,.0f} words/s>'
    )


def train(
  corpus: Corpus | EncodedCorpus,
  config: TrainConfig = TrainConfig(),
  *,
  workdir: str | os.PathLike[str] | Workdir | None = None,
  text: TextConfig | str | None = None,
  progress: bool = True,
  callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
  initial: TrainResult | KeyedVectors | None = None,
  checkpoints: Checkpoints | None = None,
  evaluate: Callable[[KeyedVectors], dict[str, float]] | None = None,
  started: Callable[[Started], Any] | None = None,
) -> TrainResult:
  """Trains vectors of the words of a corpus.

  If several processes train (`start_processes`), all of them call `train` with the same arguments.
  The first process writes to `workdir` and `checkpoints`, in folders that all processes see.

  Ctrl-C ends a run without `checkpoints` after the current steps, with the vectors so far; a second
  Ctrl-C raises `KeyboardInterrupt`.

  Args:
    corpus: a path to text, a list of paths, an iterable of lists of words, a column of strings
      or of lists of words (pandas, polars, pyarrow, Hugging Face datasets), or a corpus from
      `encode_corpus` or `open_corpus`.
    config: the settings.
    workdir: folder for `vectors.txt` (word2vec format), `config.json` and `metrics.jsonl` (one line
      per record, written during training); with n-grams also `vectors.safetensors`, and for text
      `corpus`, its encoded store, which the next run on the same text opens. The folder is created
      if it does not exist, and locked while the run uses it.
    text: settings for reading and splitting the text of paths: 'words' (the default: lower case,
      letters and digits), 'whitespace', or a `TextConfig`.
    progress: True to show a progress bar on standard error.
    callbacks: functions that are called with a copy of each record of the history.
    initial: vectors to start from, of an earlier run (with both tables) or of a file. They are
      copied to the rows of their words; the nodes of a hierarchical softmax are copied only if the
      words and the tree are the same. All these words are kept regardless of their counts in the
      corpus, and their counts are added, unless the corpus is already encoded.
    checkpoints: checkpoints of the run. If their folder has a checkpoint, the run resumes
      from the newest one and produces bit-identical results.
    evaluate: returns a dict of scores of the vectors, for the record at the end of each epoch. The
      names must differ from the names in the record.
    started: called once: after the second dispatch, or at the end of a run that has fewer.

  Returns:
    The vectors, tables, vocabulary, history and speed. A run that early stopping ends
    has the tables of its last step.

  Raises:
    FileNotFoundError: a path does not exist.
    NotADirectoryError: `workdir` is a file or inside one.
    PermissionError: `workdir` is not writable.
    BlockingIOError: another run uses `workdir`.
    TypeError: the corpus, the config or a callback has the wrong type; or `evaluate` does not
      return a dict of numbers.
    RuntimeError: `train` is called inside `jax.jit`, or in a process that was forked after JAX had
      started.
    ProcessLost: another process of the run is gone.
    MemoryError: the tables do not fit in the memory of the devices; the message suggests a layout
      that would fit.
    ValueError: the devices do not divide the settings, or processes have different settings; the
      corpus is empty, is not UTF-8, or contains words that `vectors.txt` cannot hold; the corpus
      was encoded with other settings; nothing is left to hold out; `initial` has another width; or
      `evaluate` returns a name of the record.
    FloatingPointError: the loss is not finite; the message has the step.
    Stopped: `checkpoints` was asked to stop the run, and saved it.
    ImportError: the corpus is text, or the progress bar is on, without the extra `text`.
  """
  # Everything that would stop the run at its end is checked before it starts.
  if not isinstance(config, TrainConfig):
    raise TypeError(f'config must be a TrainConfig, got {config!r}')
  if not isinstance(initial, TrainResult | KeyedVectors | None):
    raise TypeError(f'initial must be a TrainResult or KeyedVectors, got {initial!r}')
  if initial is not None:
    check_initial(initial.vectors if isinstance(initial, TrainResult) else initial, config)
  check_not_forked()
  prepare_backend(config.devices or default_devices(config))
  callbacks = _checked_callables(callbacks, evaluate, started)
  given = {'workdir': workdir, 'initial': initial, 'checkpoints': checkpoints, 'evaluate': evaluate}
  check_same({name: 'given' if value is not None else 'none' for name, value in given.items()})
  with first_exits_last(Stopped), contextlib.ExitStack() as stack:
    # Training is a compiled program that moves blocks to the devices, whatever the caller allows.
    stack.enter_context(jax.transfer_guard('allow'))
    stack.enter_context(jax.disable_jit(False))
    device_kind = platform()  # raises before a folder is made if the backend cannot start
    if isinstance(jnp.zeros(()), jax.core.Tracer):
      raise RuntimeError('train must be called outside of jax.jit and jax.lax loops; move it out')
    _warn_of_few_cores(config, device_kind)
    if progress:
      import_tqdm()
    folder = workdir if isinstance(workdir, Workdir | None) else Workdir(workdir)
    if folder is not None:
      first_then_others(lambda: stack.enter_context(_opened(folder)), 'workdir')
    shows = progress and is_first()
    replace = checkpoints is None or not checkpoints.resumes()
    encode = functools.partial(_encoded, corpus, config, text, folder, initial, shows, replace)
    writes = folder is not None and not isinstance(corpus, EncodedCorpus)
    encoded = first_then_others(encode, 'encoding') if writes else encode()
    config = config.on(device_kind, longest_line(encoded.line_ends), len(encoded.ids))
    if folder is not None:
      check_words(encoded.vocabulary.words)

    layout = make_layout(config, len(encoded.ids), len(encoded.vocabulary))
    if layout.copies > 1:  # the vectors depend on it
      processes = jax.process_count()
      config = config.apart(layout.name, layout.devices // processes, processes)
    objective = make_objective(config, encoded.vocabulary, layout.width_axis)
    streams = make_streams(encoded, config, objective, layout)
    on_start = [started] if started is not None else []
    if folder is not None and is_first():
      metrics = stack.enter_context(contextlib.closing(folder.metrics()))
      callbacks.insert(0, metrics.add)
      on_start.insert(0, lambda info: metrics.start(info.history))
    history = History(streams[0].end, config.epochs, show=shows, callbacks=callbacks)
    stack.callback(history.close)
    if checkpoints is not None:
      stack.callback(checkpoints.close)
    with naming_lost_processes():
      vectors, params, predicted_bytes = fit(
        encoded, streams, config, objective, make_optimizer(config, layout.width_axis), layout,
        history, initial=initial, checkpoints=checkpoints, evaluate=evaluate,
        started=lambda info: [call(info) for call in on_start],
      )  # fmt: skip
    result = TrainResult(
      vectors=vectors,
      params=params,
      vocabulary=encoded.vocabulary,
      config=config,
      history=history.history,
      words_per_second=history.words / history.seconds,
      predicted_bytes=predicted_bytes,
    )
    _warn_if_untrained(result)
    if folder is not None and is_first():
      folder.write_results(dataclasses.asdict(config), result.vectors)
    return result


def _checked_callables(callbacks: Any, evaluate: Any, started: Any) -> list[Callable[..., Any]]:
  """Returns the callbacks as a list; raises a `TypeError` unless all are callable."""
  if callable(callbacks) or not isinstance(callbacks, Iterable):
    raise TypeError(f'callbacks must be a list of functions, got {callbacks!r}; use [function]')
  callbacks = list(callbacks)
  functions = {f'callbacks[{i}]': function for i, function in enumerate(callbacks)}
  for name, function in {**functions, 'evaluate': evaluate, 'started': started}.items():
    if not callable(function) and (function is not None or name in functions):
      raise TypeError(f'{name} must be a function, got {function!r}')
  return callbacks


def make_streams(
  corpus: EncodedCorpus, config: TrainConfig, objective: Objective, layout: Layout = Layout()
) -> tuple[TextBlocks, TextBlocks]:
  """Returns the streams of the training text and of the held-out text."""
  end, devices = held_out_start(corpus.line_ends, config.held_out), layout.data_devices
  training = TextBlocks.of_corpus(
    corpus,
    window=config.window,
    dynamic=config.dynamic_window,
    block_size=config.block_size,
    shared_negatives=config.shared_negatives or 0,
    seed=config.seed,
    sample=config.sample,
    noise=config.noise,
    noise_exponent=config.noise_exponent,
    shuffle=config.shuffle,
    shard=layout.shard,
    capacity=objective.capacity,
  )

  def attach(blocks: Blocks, devices: int) -> Blocks:
    if objective.attach is not None:
      blocks = objective.attach(blocks, lists=devices)
    return layout.request_rows(blocks, objective.num_rows, devices)

  own_devices = devices // training.shard[1]
  held_out = training._replace(
    first=end, shuffle=False, shard=(0, 1), attach=functools.partial(attach, devices=devices)
  )
  training = training._replace(end=end, attach=functools.partial(attach, devices=own_devices))
  return training, held_out


def _warn_of_few_cores(config: TrainConfig, device_kind: str) -> None:
  if device_kind == 'cpu' and config.devices is not None and config.devices > num_cores():
    logging.warning(
      'devices=%d is more than the %d cores of this machine, which is slower than devices=%d',
      config.devices, num_cores(), num_cores(),
    )  # fmt: skip


def _warn_if_untrained(result: TrainResult) -> None:
  """Warns if the loss is close to the loss of untrained vectors, whose scores are 0."""
  config, num_words = result.config, len(result.vocabulary)
  untrained = {
    'negative_sampling': (1 + (config.negatives or 0)) * math.log(2),
    'naive_softmax': math.log(num_words),
  }.get(config.objective, math.inf)
  loss, last = mean_losses(result.history)[-1], result.history[-1]
  if num_words < 2 or loss < _UNTRAINED * untrained or untrained == math.inf:
    return
  more = min(1000, config.epochs * math.ceil(_ENOUGH / last['words']))
  advice = [f'more epochs (such as {more}, now {config.epochs})']
  if config.min_count > 1:
    advice.append(f'a lower min_count (now {config.min_count})')
  if config.sample:
    advice.append(f'sample=0 (now {config.sample:g})')
  logging.warning(
    'the vectors are nearly untrained: the loss is %.3f, and %.3f without training. The text has '
    '%s known words; the number of steps was %s. Use %s, or more text',
    loss, untrained, f'{last["words"] // max(1, round(last["epoch"])):,}', f'{last["step"]:,}',
    ', '.join(advice),
  )  # fmt: skip


@contextlib.contextmanager
def _opened(folder: Workdir) -> Iterator[None]:
  """Checks and locks the working directory, in the process that writes to it."""
  if not is_first():
    yield
    return
  folder.check()
  with folder.locked():
    yield


def _encoded(
  corpus: Any,
  config: TrainConfig,
  text: TextConfig | str | None,
  folder: Workdir | None,
  initial: Any,
  progress: bool,
  replace: bool,
) -> EncodedCorpus:
  """Encodes the corpus, unless it is encoded already."""
  if text is not None and (isinstance(corpus, EncodedCorpus) or not has_text(corpus)):
    raise ValueError(
      'text must be None for a corpus that is encoded or consists of lists of words, got '
      f'{text!r}; give it to encode_corpus, or leave it out'
    )
  if isinstance(corpus, EncodedCorpus):
    for name in ('min_count', 'max_vocab_size'):
      value, encoded = getattr(config, name), corpus.settings[name]
      if encoded != value and corpus.settings['vocabulary'] is None:
        raise ValueError(
          f'{name}={value!r} does not match the encoded corpus ({name}={encoded!r}); encode it '
          'again or change the config'
        )
    return corpus
  if isinstance(initial, KeyedVectors):
    known = Vocabulary.of_words(initial.index_to_key)
  else:
    known = initial.vocabulary if initial is not None else None
  return encode_corpus(
    corpus,
    folder.path / 'corpus' if folder is not None and is_text(corpus) else None,
    text=text,
    min_count=config.min_count,
    max_vocab_size=config.max_vocab_size,
    known=known,
    replace=replace,
    progress=progress,
  )
