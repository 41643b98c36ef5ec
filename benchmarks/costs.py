"""What a step costs on each device, by objective and layout, on paper.

What belongs here: counts of operations and bytes, and what makers say that their devices do.
`scaling.py` prints them, `accelerator.py` compares with them; `tests/test_layouts.py` finds the
exchange in what XLA compiles.
"""

from typing import NamedTuple

from jw2v.config import TrainConfig
from jw2v.objectives.objective import HOT_NODES, NODES_PER_WORD

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
