"""The trainer: `train()`, and what it returns.

What belongs here: what is checked before a run and written after it, and the corpus that it is
made of. The run itself is in `loop.py`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jw2v.config import TrainConfig
from jw2v.data.corpus import Corpus, encode_corpus, is_text
from jw2v.data.store import EncodedCorpus
from jw2v.data.stream import held_out_start
from jw2v.data.vocabulary import Vocabulary
from jw2v.distributed.agreement import check_same, first_alone, first_leaves_last
from jw2v.distributed.layout import prepare_backend
from jw2v.distributed.processes import is_first, naming_lost_processes
from jw2v.formats.registry import check_words
from jw2v.losses.window import Word2VecParams
from jw2v.training.checkpoints import Checkpoints, Stopped
from jw2v.training.history import Progress
from jw2v.training.loop import Hooks, Started, run
from jw2v.training.state import check_initial
from jw2v.training.workdir import check_workdir, write_workdir
from jw2v.utils.progress_bar import import_tqdm
from jw2v.vectors.keyed_vectors import KeyedVectors


@dataclasses.dataclass(frozen=True)
class TrainResult:
  """What `train` returns.

  Attributes:
    vectors: the words with their input vectors; `SubwordVectors` if they have n-grams.
    params: both tables, where they were trained (of several devices, split or copied as in
      `layout`). With n-grams, the rows of these come after those of the words in the center
      table; with the hierarchical softmax, those of the outside table are the nodes of the tree
      of the counts.
    vocabulary: the words with their counts.
    config: the settings, defaults filled in.
    history: a dict for each record: step, epoch, words, words_per_second, loss (the mean
      over an eighth of the predictions since the last record, the first of each step),
      learning_rate, gradient_norm (of the centers, root mean square since then), center_norm
      and outside_norm (mean lengths of the rows); at the ends of epochs held_out_loss, if some
      of the corpus is held out, and what `evaluate` gave.
    words_per_second: corpus words, those dropped by `sample` included, over the wall
      time of training; compilation counts, reading and counting do not.
    predicted_bytes: peak memory of the process as it was predicted before the first step.
  """

  vectors: KeyedVectors
  params: Word2VecParams
  vocabulary: Vocabulary
  config: TrainConfig
  history: list[dict[str, Any]]
  words_per_second: float
  predicted_bytes: int


def train(
  corpus: Corpus | EncodedCorpus,
  config: TrainConfig = TrainConfig(),
  *,
  workdir: str | pathlib.Path | None = None,
  progress: bool = True,
  callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
  initial: TrainResult | KeyedVectors | None = None,
  checkpoints: Checkpoints | None = None,
  evaluate: Callable[[KeyedVectors], dict[str, float]] | None = None,
  started: Callable[[Started], Any] | None = None,
) -> TrainResult:
  """Learns vectors of the words of a corpus.

  Where several processes train (`processes.start_processes`), all call it with the same
  arguments; the first one writes to `workdir` and `checkpoints`, in folders that all see.

  Args:
    corpus: a path to text, a list of paths, an iterable of lists of words, or a corpus
      that `encode_corpus` or `open_corpus` gave.
    config: the settings.
    workdir: a folder that gets `vectors.txt` (word2vec format), `config.json` and
      `metrics.jsonl` when training has ended, with n-grams `vectors.safetensors` too, and
      for text `corpus`, its encoded store, which the next run on the same text opens; made
      if it does not exist.
    progress: show a progress bar on standard error.
    callbacks: each is called with every record of the history as it is made.
    initial: vectors to start from, those of an earlier run (with both tables) or of a
      file: they go to the rows of their words. All its words stay, whatever their count
      in the corpus, and counts are added up, unless the corpus is encoded already.
    checkpoints: where the run is saved from time to time; it goes on from the newest one
      that is there, to the bits of a run that was not interrupted.
    evaluate: scores of the vectors, which go to the record at the end of each epoch.
    started: called once: after the second compiled call, or at the end of a run that has fewer.

  Returns:
    The vectors, tables, vocabulary, history and speed. A run that `patience` stops has
    the tables of its last step.

  Raises:
    FileNotFoundError: a path does not exist.
    NotADirectoryError: `workdir` is a file, or in one.
    PermissionError: `workdir` cannot be written to.
    TypeError: the corpus or the config is of the wrong kind.
    ProcessLost: another process of the run is gone.
    MemoryError: the tables do not fit into the devices' memory; the message names a layout
      that would.
    ValueError: the devices do not divide the run's settings, or processes have different
      ones; the corpus holds nothing to learn from, is not UTF-8, or has words that
      `vectors.txt` cannot hold; it was encoded with other settings than the config's;
      nothing is left to hold out; or `initial` is of another width.
    FloatingPointError: the loss is no longer finite; the message has the step.
    Stopped: `checkpoints` was asked to stop the run, and has saved it.
    ImportError: text or the progress bar without the extra `text`.
  """
  if not isinstance(config, TrainConfig):
    raise TypeError(f'config={config!r}: must be a TrainConfig')
  if not isinstance(initial, TrainResult | KeyedVectors | None):
    raise TypeError(f'initial={initial!r}: must be a TrainResult or KeyedVectors')
  if initial is not None:
    check_initial(initial.vectors if isinstance(initial, TrainResult) else initial, config)
  prepare_backend(config.devices)
  given = {'workdir': workdir, 'initial': initial, 'checkpoints': checkpoints, 'evaluate': evaluate}
  check_same({name: 'given' if value is not None else 'none' for name, value in given.items()})
  with first_leaves_last(Stopped):
    return _train(
      corpus, config, workdir, progress, callbacks, initial, checkpoints, evaluate, started
    )


def _train(
  corpus, config, workdir, progress, callbacks, initial, checkpoints, evaluate, started
) -> TrainResult:
  config = config.on(jax.default_backend())
  # What would stop the run at its end is found before it starts.
  if progress:
    import_tqdm()
  workdir = pathlib.Path(workdir) if workdir is not None else None
  if workdir is not None and is_first():
    check_workdir(workdir)
  encode = functools.partial(_encoded, corpus, config, workdir, initial, progress)
  encoded = first_alone(encode, 'encoding') if workdir is not None else encode()
  if workdir is not None:
    check_words(encoded.vocabulary.words)
  num_words = held_out_start(encoded.line_ends, config.held_out)
  monitor = Progress(num_words, config.epochs, show=progress and is_first(), callbacks=callbacks)
  try:
    hooks = Hooks(checkpoints, evaluate, started or (lambda _: None))
    with naming_lost_processes():
      vectors, params, predicted_bytes = run(encoded, num_words, config, monitor, initial, hooks)
  finally:
    monitor.close()
    if checkpoints is not None:
      checkpoints.close()
  result = TrainResult(
    vectors=vectors,
    params=params,
    vocabulary=encoded.vocabulary,
    config=config,
    history=monitor.history,
    words_per_second=monitor.words / monitor.seconds,
    predicted_bytes=predicted_bytes,
  )
  if workdir is not None and is_first():
    write_workdir(workdir, dataclasses.asdict(config), result.vectors, result.history)
  return result


def _encoded(corpus, config, workdir, initial, progress) -> EncodedCorpus:
  """The corpus as ids, encoded now if it was not."""
  if isinstance(corpus, EncodedCorpus):
    for name in ('min_count', 'max_vocab_size'):
      value, chosen = getattr(config, name), corpus.settings[name]
      if chosen != value and corpus.settings['vocabulary'] is None:
        raise ValueError(f'{name}={value!r}: the corpus was encoded with {chosen!r}')
    return corpus
  if isinstance(initial, KeyedVectors):
    known = Vocabulary.of_words(initial.index_to_key)
  else:
    known = initial.vocabulary if initial is not None else None
  return encode_corpus(
    corpus,
    workdir / 'corpus' if workdir is not None and is_text(corpus) else None,
    min_count=config.min_count,
    max_vocab_size=config.max_vocab_size,
    known=known,
    progress=progress,
  )
