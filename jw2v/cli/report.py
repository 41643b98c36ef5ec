"""Reports of a run: its summary, its neighbors, and the pictures of its loss and its words.

Pictures and events for TensorBoard need matplotlib and tensorboardX, from the extra `experiments`.
A run without these packages leaves them out.
"""

import importlib.util
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
from absl import logging

import jw2v
from jw2v.cli.arguments import words as words_of
from jw2v.cli.settings import Settings, kind_of, text_of
from jw2v.cli.tables import plural
from jw2v.data.text import find_files
from jw2v.distributed.processes import num_processes
from jw2v.training.history import MEASUREMENTS, mean_losses
from jw2v.training.loop import Started
from jw2v.utils.files import atomic_write
from jw2v.utils.limits import shown

_NAMES = {  # of the data, its words and its lines
  'sessions': ('log', 'items', 'sessions'),
  'text': ('text', 'words', 'lines'),
  'walks': ('graph', 'nodes', 'walks'),
}


# The table at the start.


def describe(config: Settings, corpus: jw2v.EncodedCorpus, started: Started) -> str:
  """Returns the summary of a run: its data, model, device, memory and time."""
  what, words, lines = _NAMES[kind_of(config['data'])]
  files = plural(len(find_files(config['data']['path'], text_of(config['data']).exclude)), 'file')
  device = jax.devices()[0]
  count = f'{os.cpu_count()} cores' if device.platform == 'cpu' else f'{jax.device_count()} of them'
  seconds, settings, layout = started.seconds_left, started.config, started.layout
  rows = {
    what: f'{_shown(config["data"]["path"])} ({files}): {corpus.words_read:,} {words}',
    'vocabulary': f'{len(corpus.vocabulary):,} {words} with at least '
    f'{plural(settings.min_count, "occurrence")}; {len(corpus.ids):,} tokens in '
    f'{len(corpus.line_ends):,} {lines}',
    'words': _words(config['data']) if kind_of(config['data']) == 'text' else '',
    'model': f'{settings.architecture}, {settings.objective}, width {settings.dim}, window '
    f'{settings.window}' + _noise_and_ngrams(settings),
    'training': f'{plural(settings.epochs, "epoch")}, {settings.optimizer} from '
    f'{settings.learning_rate:.3g}, {settings.batch_size:,} windows per step, seed {settings.seed}',
    'device': f'{device.device_kind} ({count})',
    'layout': f'{layout.name}, {layout.devices} devices of {plural(num_processes(), "process")}'
    if layout.devices > 1
    else '',
    'memory': f'at most {started.predicted_bytes / 1e6:,.0f} MB (predicted)'
    if started.predicted_bytes
    else '',
    'time': f'{_duration(started.seconds + seconds)} (predicted, with compilation)'
    if seconds is not None
    else '',
    'resumes': f'from step {started.step:,}, epoch {started.history[-1]["epoch"]:.2f}'
    if started.history and started.words_left
    else '',
    'finished': 'in an earlier run, which has these results' if not started.words_left else '',
  }
  width = max(map(len, rows))
  return '\n'.join(f'{name:{width}}  {text}' for name, text in rows.items() if text)


def _words(data: Settings) -> str:
  """Returns the definition of a word in one clause."""
  text = text_of(data)
  case = 'lower case' if text.lowercase else 'case as written'
  if text.word_pattern is not None:
    return f'matches of {shown(text.word_pattern)}; {case}'
  kept = 'letters and digits, with apostrophes inside'
  return f'{kept if text.split == "words" else "everything between white space"}; {case}'


def _shown(path: str | Sequence[str]) -> str:
  return shown(path) if isinstance(path, str) else f'{shown(path[0])} and others'


def _noise_and_ngrams(settings):
  text = ''
  if settings.negatives is not None:
    text = (
      f', {settings.negatives} negatives ({settings.shared_negatives} noise words for each block '
      f'of {settings.block_size} windows)'
    )
  if settings.has_subwords:
    text += f', n-grams of {settings.minn} to {settings.maxn} characters'
  return text


def _duration(seconds: float) -> str:
  if seconds < 1:
    return 'less than 1 s'
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes} min'
  return f'{minutes} min {seconds} s' if minutes else f'{seconds} s'


# After the run.


def scores_of(records: Iterable[Mapping[str, Any]]) -> list[str]:
  """Returns the names of the scores in records, which are not measures of the training itself."""
  return sorted({name for record in records for name in record} - {*MEASUREMENTS})


def loss_of_last_epoch(history: list[dict[str, Any]]) -> float:
  """Returns the mean loss of the last epoch, weighted by the words of each record."""
  return mean_losses(history)[-1]


def words_to_show(show: str | Sequence[str] | None, kv: jw2v.KeyedVectors) -> list[str]:
  """Returns the words of the setting `show` that have vectors, and warns about the others.

  Args:
    show: words, as a list or separated by commas; None for none.
    kv: the vectors. If a word is unknown, its lower case is used.
  """
  words = words_of(show) if isinstance(show, str) else list(show or ())
  found = {word: word if word in kv else word.lower() for word in words}
  unknown = [word for word in words if found[word] not in kv]
  if unknown and len(unknown) < len(words):
    logging.warning('no vectors for words to show: %s', ', '.join(map(shown, unknown)))
  return list(dict.fromkeys(word for word in found.values() if word in kv))


def neighbors(kv: jw2v.KeyedVectors, words: Sequence[str], topn: int = 7) -> list[str]:
  """Returns a line for each word with its nearest words."""
  width = max(map(len, words))
  near = lambda word: ', '.join(neighbor for neighbor, _ in kv.most_similar(word, topn=topn))
  return [f'{word:>{width}}: {near(word)}' for word in words]


def open_events(folder: pathlib.Path, history: list[dict[str, Any]]) -> Any:
  """Returns the `TensorBoard` that writes to a folder, or None if tensorboardX is not installed."""
  if importlib.util.find_spec('tensorboardX') is None:
    return None
  from jw2v.cli.tensorboard import TensorBoard

  return TensorBoard(folder, history)


def draw(result: jw2v.TrainResult, show: list[str], folder: pathlib.Path, neighbors: int) -> None:
  """Draws `loss.png` and `words.png` in a workdir, if matplotlib is installed."""
  if importlib.util.find_spec('matplotlib') is None:
    return
  from jw2v.cli.plot import draw_words

  draw_loss(result.history, folder / 'loss.png')
  if show:
    draw_words(result.vectors, show, folder / 'words.png', neighbors)


def draw_loss(history: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Draws the loss by epoch, and the scores below it if the records have any.

  Args:
    history: records of a run.
    path: the picture, with the extension .png or .svg.
  """
  from matplotlib.figure import Figure

  scores = scores_of(history)
  figure = Figure(figsize=(8 if scores else 7, 6 if scores else 4), layout='constrained')
  axes = figure.subplots(2 if scores else 1, sharex=True, squeeze=False)[:, 0]
  epochs, losses = zip(*((r['epoch'], r['loss']) for r in history), strict=True)
  axes[0].plot(epochs, losses, color='C0', alpha=0.25, linewidth=1)
  smoothed = [{**r, 'loss': mean} for r, mean in zip(history, mean_losses(history), strict=True)]
  _draw(axes[0], smoothed, {'loss': 'training', 'held_out_loss': 'held out'})
  axes[0].set_ylabel('mean loss of a positive pair, over an epoch')
  if scores:
    _draw(axes[1], history, {name: name for name in scores})
    axes[1].set_ylabel('score')
  axes[-1].set_xlabel('epoch')
  with atomic_write(path) as file:
    figure.savefig(file, format=path.suffix[1:], dpi=150)


def _draw(axes, history, labels):
  for name, label in labels.items():
    points = [(record['epoch'], record[name]) for record in history if name in record]
    if points:
      axes.plot(*zip(*points, strict=True), label=label, marker='.' if len(points) < 30 else '')
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  if len(labels) > 1 and len(axes.lines) > 1:
    axes.legend(frameon=False, loc='center left', bbox_to_anchor=(1, 0.5))
