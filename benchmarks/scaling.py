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

from absl import app, flags

from benchmarks.costs import MACHINES, layouts_of, step_cost
from experiments.cli import one_line_errors
from experiments.tables import markdown_table, spread
from jw2v.config import TrainConfig
from jw2v.training.memory import state_bytes


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
          f'{state_bytes(config, (num_words, num_words), width) / 1e9:.2f}',
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
  from benchmarks.timing import time_calls
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
  with one_line_errors():
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
