r"""Predicts the cost of a step by layout and number of devices, or measures its time.

  python -m benchmarks.scaling --dims=300 --devices=1,2,8

For each objective and layout, the table has three costs per center on each device: floating-point
operations of products, bytes of table rows read and written, and bytes received from other devices.
With --machine, it also has the least time per center on such devices, and the cost that limits it.
With --text, the program instead times skip-gram steps on the available devices. It splits a CPU
into the required number of devices:

  python -m benchmarks.scaling --text=my_text.txt --dims=100,300,600 --devices=1,2

With --hosts, it predicts how much of the time `local` and `rows` spend in steps, and not in merges,
on hosts with a device for each core:

  python -m benchmarks.scaling --hosts=1,2,8,32 --cores=8 --gigabits=10,100

docs/scaling.md derives the numbers, and tests/distributed/test_layouts.py compares the exchange
with the program that XLA compiles.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

from jw2v.cli.tables import markdown_table, spread
from jw2v.config import APART, TrainConfig
from jw2v.data import sampling
from jw2v.distributed.merge import steps_between_merges
from jw2v.objectives.huffman import HOT_NODES, NODES_PER_WORD
from jw2v.training.memory import state_bytes
from jw2v.training.state import abstract_state, make_optimizer

_NUMBER = 4  # bytes
# One core of an AMD EPYC, while the other one trains a copy too: seconds per center of skip-gram at
# width 100, bytes of its copy that it merges per second, and bytes of rows that it fetches and
# returns per second.
_CENTER_SECONDS, _MERGED_BY_CORE, _FETCHED_BY_CORE = 1.1e-6, 1.8e9, 0.6e9


class Cost(NamedTuple):
  """Cost of a step on each device.

  Attributes:
    flops: floating-point operations of products.
    row_bytes: bytes of table rows read and written.
    exchanged: bytes received from other devices, or added up with theirs.
  """

  flops: float
  row_bytes: float
  exchanged: float


class Machine(NamedTuple):
  """Peak numbers of a device per second, from its maker; rough estimates for the CPU."""

  flops: float
  row_bytes: float
  exchanged: float


MACHINES = {
  # Products of the sizes in a step ran at 100 to 150 GFLOP/s on one core of an AMD EPYC. The other
  # two numbers are estimates from the time of larger and smaller exchanges.
  'cpu': Machine(120e9, 25e9, 2e9),
  # NVIDIA H200 SXM: TF32 on tensor cores without sparsity, HBM3e, NVLink in one direction.
  'h200': Machine(495e12, 4.8e12, 450e9),
  # TPU v5p: bfloat16, HBM, links between chips in one direction.
  'v5p': Machine(459e12, 2.765e12, 300e9),
}


def step_cost(config: TrainConfig, layout: str, data: int, width: int, num_words: int) -> Cost:
  """Returns the cost of a step on each of `data * width` devices.

  Args:
    config: the settings of the run.
    layout: one of `config.LAYOUTS`.
    data: number of parts of the windows.
    width: number of parts of the columns.
    num_words: V, for the exact softmax.

  Raises:
    ValueError: the config has n-grams, whose number depends on the text.
  """
  if config.has_subwords:
    raise ValueError(
      'minn and maxn must be 0, because the number of n-grams in a step depends on the text'
    )
  split = layout in ('data', 'data_width')
  parts = data if split else 1
  blocks, size = config.blocks_per_step // parts, config.block_size
  tokens, noise = size + 2 * config.window, config.shared_negatives or 0
  dim = config.dim // width
  is_cbow, flops = config.architecture == 'cbow', 0.0
  tree = config.objective == 'hierarchical_softmax'
  vectors = size if is_cbow or not tree else tokens  # predicting vectors of a block
  if is_cbow:
    flops += 2 * 2 * size * tokens * dim  # the means and their VJP
  # Rows that are scored against all vectors of a block, and rows scored against one vector.
  if tree:
    shared, own = (HOT_NODES, NODES_PER_WORD * size) if is_cbow else (
      HOT_NODES + NODES_PER_WORD * size, 0
    )  # fmt: skip
    flops += 2 * 2 * own * size * dim  # a vector for each node of its word, and the VJP
  else:
    shared, own = (noise, size) if is_cbow else (tokens + noise, 0)
  flops += 3 * 2 * (shared * vectors + own) * dim
  center_rows, outside_rows = tokens if is_cbow or tree else size, shared + own
  scores = shared * vectors + own
  # Norms of rows and vectors, once for each product; a row with its own vector has one more.
  norms = outside_rows + vectors + own
  if config.objective == 'sampled_softmax' and not is_cbow:
    norms += vectors  # words and noise words are two products
  # A step that samples the curvature, one of four: twice the products of the scores, in every
  # eighth block of the first half, or in four of them. A device has a place for all it may have.
  half = -(-config.blocks_per_step // 2)
  stride = max(1, min(8, half // 4))
  measured = -(-(blocks if split and data > 1 else half) // stride)
  flops += 2 * 2 * scores * dim * measured / blocks
  flops, rows = flops * blocks, (center_rows + outside_rows) * blocks
  if config.objective == 'naive_softmax':
    predicted = blocks * vectors
    flops += 4 * 2 * predicted * num_words * dim  # scores twice, and both gradients
    row_bytes = _NUMBER * dim * (rows + 2 * rows * parts + 9 * num_words)
    over_data = center_rows * blocks * (dim + 3) * (data - 1) + num_words * (dim + 2)
    over_width = (scores + norms + center_rows) * blocks + (2 * predicted + 1) * num_words
  else:
    # A device reads its own rows, and reads and writes the rows of all devices in the update.
    row_bytes = _NUMBER * dim * (rows + 2 * rows * parts)
    samples = 2 * (3 + dim)
    over_data = (rows * (dim + 3) + samples) * (data - 1)
    over_width = (scores + norms) * blocks + rows + 2 * (scores + 2 * norms) * measured + 2
  exchanged = (over_data if split and data > 1 else 0) + (over_width if width > 1 else 0)
  if layout == 'local':
    between = steps_between_merges(config.merge_steps, data, num_words)
    exchanged = merge_bytes(config, num_words) / _NUMBER / between
  if layout == 'rows':
    between = steps_between_merges(config.merge_steps, data)
    fetched = fetch_bytes(config, fetched_rows(config, data, num_words))
    exchanged = fetched * (data - 1) / data / _NUMBER / between
  return Cost(flops, row_bytes, _NUMBER * exchanged)


def merge_bytes(config: TrainConfig, num_words: int) -> int:
  """Returns the bytes that each device adds up with the others in a merge of `local`.

  Of each table these are the rows, three numbers for each row (the work on it, and how far that
  moved it along the common direction and across it), the sample of the curvature, and the two sums
  of the share along the changes. The blocks that a device gets to measure it are not counted.
  """
  return 2 * _NUMBER * (num_words * (config.dim + 3) + config.dim + 6 + 2)


def fetched_rows(config: TrainConfig, devices: int, num_words: int) -> float:
  """Returns the rows that a device of `rows` fetches between two merges, for words by Zipf's law.

  Shares of words are proportional to 1 / rank. The centers and noise words of the steps are assumed
  to be independent draws, and the function returns their expected number of distinct words.
  """
  steps = steps_between_merges(config.merge_steps, devices)
  shares = 1 / np.arange(1, num_words + 1)
  kept = shares * sampling.keep_probability(shares, config.sample)
  noise = sampling.noise_distribution(shares, config.noise_exponent, config.noise)
  draws = steps * config.batch_size * kept / kept.sum()
  draws += steps * config.blocks_per_step * (config.shared_negatives or 0) * noise
  return float(np.sum(-np.expm1(-draws)))


def fetch_bytes(config: TrainConfig, rows: float) -> float:
  """Returns the bytes that a device of `rows` receives for rows of both tables, including its own.

  For each row, a device receives its id, the row and a number of the optimizer. From the devices
  that fetched the row, it receives their changes and the work. The result excludes the blocks for
  measuring the share along the changes.
  """
  return 2 * _NUMBER * rows * (2 * config.dim + 3)


def table_bytes(config: TrainConfig, layout: str, data: int, width: int, num_words: int) -> float:
  """Returns the bytes of tables and optimizer on each device; in `rows` with those it fetches."""
  state = abstract_state(make_optimizer(config), (num_words, num_words), config.dim)
  if layout != 'rows':
    return state_bytes(state, width, layout)
  fetched = fetched_rows(config, data, num_words)  # before and after training
  return state_bytes(state, data, layout) + 2 * 2 * _NUMBER * config.dim * fetched


def layouts_of(devices: int) -> list[tuple[str, int, int]]:
  """Returns the layouts for a number of devices as (layout, data, width)."""
  if devices == 1:
    return [('replicated', 1, 1)]
  found = [('local', devices, 1), ('rows', devices, 1), ('data', devices, 1)]
  found += [('width', 1, devices)]
  mixed = [n for n in range(2, devices) if devices % n == 0]
  return found + [('data_width', devices // n, n) for n in mixed]


def table(
  settings: Sequence[dict], devices: Sequence[int], num_words: int, machines: Sequence[str] = ()
) -> str:
  """Returns the Markdown table of predicted costs, with columns for each machine."""
  lines = [[
    'objective', 'width', 'layout', 'devices', 'GB of tables', 'kFLOP', 'row bytes',
    'exchanged bytes', *(title for machine in machines for title in (f'{machine}, ns', 'limit')),
  ]]  # fmt: skip
  for chosen in settings:
    config = TrainConfig(**chosen)
    name = f'{config.objective}, {config.architecture}'
    for number in devices:
      for layout, data, width in layouts_of(number):
        if config.dim % width or (layout not in APART and config.blocks_per_step % data):
          continue
        if layout == 'rows' and not config.shared_negatives:
          continue
        cost = step_cost(config, layout, data, width, num_words)
        shape = f'{data} x {width}' if data * width > 1 else '1'
        copies = data if layout in APART else 1
        each = [x / (config.batch_size * copies) for x in cost]
        row = [
          name,
          f'{config.dim}',
          layout,
          shape,
          f'{table_bytes(config, layout, data, width, num_words) / 1e9:.2f}',
          f'{each[0] / 1e3:,.1f}',
          f'{each[1]:,.0f}',
          f'{each[2]:,.0f}',
        ]
        for machine in machines:
          times = [1e9 * x / most for x, most in zip(each, MACHINES[machine], strict=True)]
          limit = max(range(3), key=lambda i: times[i])
          row += [f'{max(times):.2f}', ('products', 'rows', 'exchange')[limit]]
        lines.append(row)
  return markdown_table(lines)


def of_hosts(
  config: TrainConfig,
  hosts: Sequence[int],
  cores: int,
  gigabits: Sequence[int],
  vocabularies: Sequence[int],
) -> str:
  """Returns a table of the predicted time of steps and merges of `local` and `rows` on hosts.

  Args:
    config: the settings of the run.
    hosts: numbers of hosts.
    cores: devices of each host.
    gigabits: speeds of the network of a host in Gbit/s.
    vocabularies: numbers of words.
  """
  rows = [
    ['words', 'hosts x cores', 'Gbit/s', 'layout', 'ms of steps', 'ms of a merge', 'share in steps']
  ]
  for num_words, number in itertools.product(vocabularies, hosts):
    devices, others = number * cores, (number - 1) / number
    for speed, layout in itertools.product(gigabits if number > 1 else [0], APART):
      if layout == 'local':  # a ring passes each copy on twice, but for the part of one device
        steps = steps_between_merges(config.merge_steps, devices, num_words)
        each = merge_bytes(config, num_words)
        merge, sent = each / _MERGED_BY_CORE, 2 * others * cores * each
      else:
        steps = steps_between_merges(config.merge_steps, devices)
        each = fetch_bytes(config, fetched_rows(config, devices, num_words))
        merge, sent = each / _FETCHED_BY_CORE, others * cores * each
      of_steps = steps * config.batch_size * _CENTER_SECONDS * config.dim / 100
      if number > 1:
        merge += sent / (speed * 1e9 / 8)
      rows.append([
        f'{num_words:,}', f'{number} x {cores}', f'{speed}' if number > 1 else '-', layout,
        f'{1e3 * of_steps:,.0f}', f'{1e3 * merge:,.0f}', f'{of_steps / (of_steps + merge):.0%}',
      ])  # fmt: skip
  return markdown_table(rows)


def measured(
  text: str, dims: Sequence[int], devices: Sequence[int], batch_size: int | None, rounds: int
) -> str:
  """Returns a table of measured times of skip-gram steps by width and layout."""
  from benchmarks.profile import time_calls
  from jw2v.data.corpus import encode_corpus
  from jw2v.distributed.backend import prepare_backend

  prepare_backend(max(devices))
  encoded = encode_corpus(text, min_count=5)
  found: dict[tuple[int, str, int, int], list[float]] = {}
  for _ in range(rounds):
    for dim, number in itertools.product(dims, devices):
      for layout, data, width in layouts_of(number):
        config = TrainConfig(
          dim=dim, batch_size=batch_size, sample=1e-4, devices=number, layout=layout,
          width_devices=width if layout == 'data_width' else None,
        )  # fmt: skip
        timed = time_calls(encoded, config)
        found.setdefault((dim, layout, data, width), []).append(1e9 * timed.seconds)
  rows = [['width', 'layout', 'devices', 'ns per center', 'relative time']]
  for (dim, layout, data, width), times in found.items():
    first = next(times for (d, *_), times in found.items() if d == dim)
    ratios = [one / alone for one, alone in zip(times, first, strict=True)]
    rows.append(
      [f'{dim}', layout, f'{data} x {width}', spread(times, ',.0f'), spread(ratios, '.2f')]
    )
  return f'{markdown_table(rows)}\n\n{timed.kept:.2f} centers for each word of the text.'


def main(argv: list[str]) -> None:
  """Runs the program."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is not a flag')
  with process.one_line_errors():
    dims, devices = list(map(int, flags.FLAGS.dims)), list(map(int, flags.FLAGS.devices))
    if min(dims + devices) < 1:
      raise ValueError(f'dims and devices must be at least 1, got {dims} and {devices}')
    if flags.FLAGS.text is not None:
      print(measured(flags.FLAGS.text, dims, devices, flags.FLAGS.batch_size, flags.FLAGS.rounds))
      return
    if flags.FLAGS.hosts:
      numbers = [list(map(int, x)) for x in (flags.FLAGS.hosts, flags.FLAGS.gigabits)]
      if min(sum(numbers, [flags.FLAGS.cores])) < 1:
        raise ValueError(f'hosts, gigabits and cores must be at least 1, got {numbers}')
      config = TrainConfig(dim=dims[0], batch_size=flags.FLAGS.batch_size)
      vocabularies = list(map(int, flags.FLAGS.vocabularies))
      print(of_hosts(config, numbers[0], flags.FLAGS.cores, numbers[1], vocabularies))
      return
    settings = [
      {
        'dim': dim,
        'batch_size': flags.FLAGS.batch_size,
        'objective': objective,
        'architecture': architecture,
      }
      for dim in dims
      for objective in flags.FLAGS.objectives
      for architecture in flags.FLAGS.architectures
    ]
    print(table(settings, devices, flags.FLAGS.words, flags.FLAGS.machine))


if __name__ == '__main__':  # flags are global, so importing this module must not define them
  flags.DEFINE_list('dims', ['100'], 'Widths of the vectors.')
  flags.DEFINE_string('text', None, 'Text for measured times of steps.')
  flags.DEFINE_integer('rounds', 3, 'Number of rounds of measurements.')
  flags.DEFINE_list('devices', ['1', '2', '8'], 'Numbers of devices.')
  flags.DEFINE_list('hosts', [], 'Numbers of hosts, for the merges of local and rows.')
  flags.DEFINE_integer('cores', 8, 'Cores of a host, each a device.')
  flags.DEFINE_list('gigabits', ['10', '100'], 'Speeds of the network of a host, in Gbit/s.')
  flags.DEFINE_list('vocabularies', ['70000', '1000000', '10000000'], 'Words, with --hosts.')
  flags.DEFINE_integer('words', 70_000, 'Size of the vocabulary, for the exact softmax.')
  flags.DEFINE_multi_enum(
    'machine', [], list(MACHINES), 'Kind of device for predicted times; repeatable.'
  )
  flags.DEFINE_list(
    'objectives', ['negative_sampling', 'hierarchical_softmax', 'naive_softmax'], 'Objectives.'
  )
  flags.DEFINE_list('architectures', ['skip_gram', 'cbow'], 'Architectures.')
  flags.DEFINE_integer(
    'batch_size', None, 'Windows per step; by default the default of each objective.'
  )
  app.run(main)
