r"""Measures jw2v on the available accelerator in at most ten minutes.

  python -m benchmarks.accelerator --text=my_text.txt --evaluation=my_folder --output=gpu.md

The page has these sections for widths of 128 and 300 and several batch sizes:

  - words per second in compiled calls, as a share of the device's peak arithmetic and bandwidth
  - the kernels of one step
  - the exact softmax over the vocabulary, at most 70,000 words
  - training from the start: words per second and scores, and gensim on all cores of the machine

Measurements that do not fit into the time are skipped. Words per second include the words that
`sample` drops. Compiled calls read blocks that are already on the device. Training includes the
sampling on the host, which limits fast devices. benchmarks/scaling.py has the peak numbers of the
devices from their makers.
"""

import collections
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

from absl import app, flags

from benchmarks.page import environment, print_page
from benchmarks.profile import time_calls
from benchmarks.scaling import MACHINES, step_cost
from jw2v.cli.tables import markdown_table

_MOST_WORDS = 70_000
_FOR_GENSIM = 120  # seconds reserved for gensim


def machine_of(kind: str) -> str | None:
  """Returns the name of a device in `scaling.MACHINES`, or None for other devices."""
  return next((name for name in MACHINES if name in kind.lower()), None)


def page(encoded: Any, deadline: float) -> Iterator[str]:
  """Yields the sections of the page as soon as they are measured."""
  import jax

  import jw2v

  kind = jax.devices()[0].device_kind
  machine = MACHINES.get(machine_of(kind))
  late = lambda: time.monotonic() > deadline

  def timed_or_none(config, **options):
    try:
      return time_calls(encoded, config, **options)
    except ValueError as error:
      print(f'skipped: {error}', file=sys.stderr)
      return None

  base = {'sample': 1e-4, 'min_count': flags.FLAGS.min_count, 'epochs': flags.FLAGS.epochs}
  base['max_vocab_size'] = _MOST_WORDS
  widths, sizes = list(map(int, flags.FLAGS.widths)), list(map(int, flags.FLAGS.sizes))

  heading = ['width', 'windows per step', 'products', 'M words/s', 'ns per center']
  heading += ['GFLOP/s', 'share of peak', 'GB/s of rows', 'share of peak']
  rows = [heading]
  for dim, dtype, size in itertools.product(widths, ('float32', 'bfloat16'), sizes):
    if late() or (dtype == 'bfloat16' and jax.default_backend() == 'cpu'):
      continue
    config = jw2v.TrainConfig(dim=dim, batch_size=size, product_dtype=dtype, **base)
    timed = timed_or_none(config)
    if timed is None:
      continue
    cost = step_cost(config, 'replicated', 1, 1, len(encoded.vocabulary))
    rates = [x / size / timed.seconds for x in (cost.flops, cost.row_bytes)]
    most = [
      f'{x / y:.1%}' if machine else '-' for x, y in zip(rates, machine or rates, strict=False)
    ]
    rows.append(
      [
        f'{dim}', f'{size:,}', dtype, f'{timed.words_per_second / 1e6:.2f}',
        f'{timed.seconds * 1e9:.2f}', f'{rates[0] / 1e9:,.0f}', most[0],
        f'{rates[1] / 1e9:,.0f}', most[1],
      ]
    )  # fmt: skip
  yield f'## Compiled calls, skip-gram with negative sampling\n\n{markdown_table(rows)}'

  if not late():
    size = sizes[min(2, len(sizes) - 1)]
    config = jw2v.TrainConfig(dim=widths[0], batch_size=size, **base)
    timed = timed_or_none(config, profile=True)
    kernels = timed.kernels if timed else collections.Counter()
    total = sum(kernels.values()) or 1
    rows = [['kernel', 'us per step', 'share']] + [
      [name[:80], f'{seconds * 1e6:,.1f}', f'{seconds / total:.1%}']
      for name, seconds in kernels.most_common(20)
    ]
    yield f'## One step of {size:,} windows, width {widths[0]}\n\n{markdown_table(rows)}'

  if not late():
    config = jw2v.TrainConfig(
      dim=widths[0], objective='naive_softmax', batch_size=min(sizes[0], 4096), **base
    )
    timed = timed_or_none(config)
  else:
    timed = None
  if timed is not None:
    cost = step_cost(config, 'replicated', 1, 1, len(encoded.vocabulary))
    rate = cost.flops / config.batch_size / timed.seconds
    yield (
      f'## Exact softmax over {len(encoded.vocabulary):,} words\n\n'
      f'{timed.words_per_second:,.0f} words/s, '
      f'{timed.seconds * 1e6:.1f} us per center, {rate / 1e12:.2f} TFLOP/s'
      + (f', {rate / machine.flops:.1%} of the peak' if machine else '')
    )

  yield from _trained(encoded, base, widths[0], sizes, deadline)


def _trained(encoded, base, dim, sizes, deadline):
  """Yields sections on training from the start, and on gensim on all cores of the machine."""
  import os

  import jw2v
  from benchmarks import quality

  rows: list[list[str]] = []
  longest = 0.0
  for size in sizes:
    began = time.monotonic()
    if began + longest > deadline - _FOR_GENSIM:
      break
    config = jw2v.TrainConfig(dim=dim, batch_size=size, **base)
    result = jw2v.train(encoded, config, progress=False)
    found = {'words/s': f'{result.words_per_second:,.0f}'}
    if flags.FLAGS.evaluation:
      scored = quality.evaluate(flags.FLAGS.evaluation, result.vectors)
      found |= {name: f'{score:.1f}' for name, (score, *_) in scored.items()}
    longest = max(longest, time.monotonic() - began)
    rows = rows or [['windows per step', *found]]
    rows.append([f'{size:,}', *found.values()])
  if rows:
    yield f'## Trained for {base["epochs"]} epochs, width {dim}\n\n{markdown_table(rows)}'
  left = deadline - time.monotonic()
  if left < 5:
    yield 'gensim was skipped for lack of time.'
    return
  command = [
    sys.executable, '-m', 'benchmarks.training', f'--text={flags.FLAGS.text}', '--systems=gensim',
    '--seeds=1', '--epochs=1', f'--dim={dim}', f'--min_count={base["min_count"]}',
    f'--threads={os.cpu_count()}',
  ]  # fmt: skip
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=left)
    told = done.stdout if done.returncode == 0 else done.stderr[-500:]
  except subprocess.TimeoutExpired:
    told = f'gensim did not finish within {left:.0f} seconds'
  yield f'## gensim on the {os.cpu_count()} cores of this machine, one epoch\n\n{told}'


def main(argv: list[str]) -> None:
  """Runs the program."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is not a flag')
  began = time.monotonic()
  with process.one_line_errors():
    from jw2v.distributed.backend import prepare_backend

    prepare_backend()
    import jax

    from jw2v.data.corpus import encode_corpus

    encoded = encode_corpus(
      flags.FLAGS.text, min_count=flags.FLAGS.min_count, max_vocab_size=_MOST_WORDS
    )
    about = environment(
      'benchmarks.accelerator', ('jw2v', 'jax', 'jaxlib', 'gensim'), jax.devices()[0].device_kind
    )
    words = f'- text: {len(encoded.ids):,} words, {len(encoded.vocabulary):,} different ones'
    sections = itertools.chain(
      [f'# Accelerator\n\n{about}\n{words}'], page(encoded, began + flags.FLAGS.seconds)
    )
    print_page(sections, flags.FLAGS.output)


if __name__ == '__main__':  # flags are global, so importing this module must not define them
  flags.DEFINE_string('text', None, 'Text: a file of words separated by white space.')
  flags.DEFINE_string('evaluation', None, 'Folder of data sets, as for benchmarks.training.')
  flags.DEFINE_string('output', None, 'File for the page.')
  flags.DEFINE_integer('seconds', 540, 'Time limit in seconds for starting a measurement.')
  flags.DEFINE_list('widths', ['128', '300'], 'Widths of the vectors.')
  flags.DEFINE_list('sizes', ['1024', '4096', '16384', '65536'], 'Batch sizes: windows per step.')
  flags.DEFINE_integer('epochs', 4, 'Number of epochs of the scored runs.')
  flags.DEFINE_integer('min_count', 5, 'Lowest count of a word in the vocabulary.')
  flags.mark_flag_as_required('text')
  app.run(main)
