r"""What a step costs by layout and number of devices, on paper.

  python -m benchmarks.scaling --dims=300 --devices=1,2,8

For each objective and layout the table has, for each center: the floating-point operations of
its products and the bytes of table rows that are read and written, on each device, and the
bytes that each device gets from the others. With --machine the three become the least time that
a center may take on such devices, and which of them it is. With --text skip-gram steps are timed
in place of that, on the devices at hand (a CPU is made into as many as are asked for):

  python -m benchmarks.scaling --text=my_text.txt --dims=100,300,600 --devices=1,2

docs/scaling.md tells how the numbers come about;
`tests/test_layouts.py` compares the exchange with what XLA compiles.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

from absl import app, flags

from experiments.tables import markdown_table, spread
from jw2v.config import TrainConfig
from jw2v.objectives.objective import HOT_NODES, NODES_PER_WORD
from jw2v.training.memory import state_bytes
from jw2v.training.state import abstract_state, make_optimizer

_NUMBER = 4  # bytes of one


class Cost(NamedTuple):
  """What a step takes on each device."""

  flops: float  # of products
  row_bytes: float  # read and written in tables
  exchanged: float  # bytes that come from other devices, or are added up with theirs


class Machine(NamedTuple):
  """What a device can do in a second at most, by its makers; of the CPU, a rough estimate."""

  flops: float
  row_bytes: float
  exchanged: float


MACHINES = {
  # Products of a step's sizes ran alone at 100 to 150 GFLOP/s on one core of an AMD EPYC; the
  # other two are guesses, from what larger and smaller exchanges cost there.
  'cpu': Machine(120e9, 25e9, 2e9),
  # NVIDIA H200 SXM: TF32 on tensor cores without sparsity, HBM3e, NVLink in one direction.
  'h200': Machine(495e12, 4.8e12, 450e9),
  # TPU v5p: bfloat16, HBM, links between chips in one direction.
  'v5p': Machine(459e12, 2.765e12, 300e9),
}


def step_cost(config: TrainConfig, layout: str, data: int, width: int, num_words: int) -> Cost:
  """What a step takes on each of `data * width` devices.

  Args:
    config: the run's settings.
    layout: one of `config.LAYOUTS`.
    data: how many parts the windows are in.
    width: how many parts the columns are in.
    num_words: V, for the exact softmax.

  Raises:
    ValueError: words of n-grams, whose lists depend on the text.
  """
  if config.has_subwords:
    raise ValueError('minn, maxn: how many n-grams a step has depends on the text')
  split = layout in ('data', 'data_width')
  parts = data if split else 1
  blocks, size = config.blocks_per_step // parts, config.block_size
  tokens, noise = size + 2 * config.window, config.shared_negatives or 0
  dim = config.dim // width
  is_cbow, flops = config.architecture == 'cbow', 0.0
  tree = config.objective == 'hierarchical_softmax'
  vectors = size if is_cbow or not tree else tokens  # of a block, that predict
  if is_cbow:
    flops += 2 * 2 * size * tokens * dim  # the means, and the way back
  # Rows that meet all vectors of a block, and those that meet one each.
  if tree:
    shared, own = (HOT_NODES, NODES_PER_WORD * size) if is_cbow else (
      HOT_NODES + NODES_PER_WORD * size, 0
    )  # fmt: skip
    flops += 2 * 2 * own * size * dim  # a vector for each node of its word, and the way back
  else:
    shared, own = (noise, size) if is_cbow else (tokens + noise, 0)
  flops += 3 * 2 * (shared * vectors + own) * dim
  center_rows, outside_rows = tokens if is_cbow or tree else size, shared + own
  scores = shared * vectors + own
  # Of rows and vectors, once for each product: a row with a vector of its own has one more.
  norms = outside_rows + vectors + own
  if config.objective == 'sampled_softmax' and not is_cbow:
    norms += vectors  # words and noise words are two products
  flops, rows = flops * blocks, (center_rows + outside_rows) * blocks
  if config.objective == 'naive_softmax':
    predicted = blocks * vectors
    flops += 4 * 2 * predicted * num_words * dim  # scores twice, and both gradients
    row_bytes = _NUMBER * dim * (rows + 2 * rows * parts + 9 * num_words)
    over_data = center_rows * blocks * (dim + 2) * (data - 1) + num_words * (dim + 1)
    over_width = (scores + norms) * blocks + 2 * predicted * num_words
  else:
    # Its own are read; those of all devices are read and written when they are added.
    row_bytes = _NUMBER * dim * (rows + 2 * rows * parts)
    over_data = rows * (dim + 2) * (data - 1)
    over_width = (scores + norms) * blocks
  exchanged = (over_data if split and data > 1 else 0) + (over_width if width > 1 else 0)
  return Cost(flops, row_bytes, _NUMBER * exchanged)


def layouts_of(devices: int) -> list[tuple[str, int, int]]:
  """(layout, data, width) of those that a number of devices has."""
  if devices == 1:
    return [('replicated', 1, 1)]
  found = [('data', devices, 1), ('width', 1, devices)]
  mixed = [n for n in range(2, devices) if devices % n == 0]
  return found + [('data_width', devices // n, n) for n in mixed]


def table(
  settings: Sequence[dict], devices: Sequence[int], num_words: int, machines: Sequence[str] = ()
) -> str:
  """The table of some settings, in Markdown; one beside another for each of the machines."""
  lines = [[
    'objective', 'width', 'layout', 'devices', 'GB of tables', 'kFLOP', 'row bytes',
    'exchanged bytes', *(title for machine in machines for title in (f'{machine}, ns', 'limit')),
  ]]  # fmt: skip
  for chosen in settings:
    config = TrainConfig(**chosen)
    state = abstract_state(make_optimizer(config), (num_words, num_words), config.dim)
    name = f'{config.objective}, {config.architecture}'
    for number in devices:
      for layout, data, width in layouts_of(number):
        if config.dim % width or config.blocks_per_step % data:
          continue
        cost = step_cost(config, layout, data, width, num_words)
        shape = f'{data} x {width}' if data * width > 1 else '1'
        each = [x / config.batch_size for x in cost]
        row = [
          name,
          f'{config.dim}',
          layout,
          shape,
          f'{state_bytes(state, width) / 1e9:.2f}',
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


def measured(
  text: str, dims: Sequence[int], devices: Sequence[int], batch_size: int | None, rounds: int
) -> str:
  """The times of skip-gram steps by width and layout on the devices at hand, as a table."""
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
  rows = [['width', 'layout', 'devices', 'ns a center', 'times the first']]
  for (dim, layout, data, width), times in found.items():
    first = next(times for (d, *_), times in found.items() if d == dim)
    ratios = [one / alone for one, alone in zip(times, first, strict=True)]
    rows.append(
      [f'{dim}', layout, f'{data} x {width}', spread(times, ',.0f'), spread(ratios, '.2f')]
    )
  return f'{markdown_table(rows)}\n\n{timed.kept:.2f} centers for each word of the text.'


def main(argv: list[str]) -> None:
  """Prints the table."""
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is no flag')
  with cli.one_line_errors():
    dims, devices = list(map(int, flags.FLAGS.dims)), list(map(int, flags.FLAGS.devices))
    if min(dims + devices) < 1:
      raise ValueError(f'dims={dims}, devices={devices}: must be at least 1')
    if flags.FLAGS.text is not None:
      print(measured(flags.FLAGS.text, dims, devices, flags.FLAGS.batch_size, flags.FLAGS.rounds))
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


if __name__ == '__main__':  # flags are global: whoever imports this must not get these
  flags.DEFINE_list('dims', ['100'], 'Widths of the vectors.')
  flags.DEFINE_string('text', None, 'Text of words, for times of steps.')
  flags.DEFINE_integer('rounds', 3, 'How often each is timed, in turn.')
  flags.DEFINE_list('devices', ['1', '2', '8'], 'Numbers of devices.')
  flags.DEFINE_integer('words', 70_000, 'Words of the vocabulary, for the exact softmax.')
  flags.DEFINE_multi_enum(
    'machine', [], list(MACHINES), 'For times: what the devices are; repeatable.'
  )
  flags.DEFINE_list(
    'objectives', ['negative_sampling', 'hierarchical_softmax', 'naive_softmax'], 'What is trained.'
  )
  flags.DEFINE_list('architectures', ['skip_gram', 'cbow'], 'And by which windows.')
  flags.DEFINE_integer('batch_size', None, 'Windows in a step; the default of each if none.')
  app.run(main)
