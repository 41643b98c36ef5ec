"""The table of what a step costs on paper."""

import pytest
from programs import run

from benchmarks import scaling
from jw2v import TrainConfig


def cells(table):
  lines = [[c.strip() for c in line.split('|')[1:-1]] for line in table.splitlines()]
  return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_a_row_for_each_layout_and_a_time_for_each_machine():
  """The time is that of the slowest of the three, and a layout that does not divide is left out."""
  rows = cells(scaling.table([{'dim': 100, 'batch_size': 1024}], [1, 8], 70_000, ['h200', 'v5p']))
  assert [(row['layout'], row['devices']) for row in rows] == [
    ('replicated', '1'), ('local', '8 x 1'), ('data', '8 x 1'),
    ('data_width', '4 x 2'), ('data_width', '2 x 4'),
  ]  # fmt: skip
  assert [row['limit'] for row in rows] == ['rows', 'rows', 'exchange', 'exchange', 'exchange']
  cost = scaling.step_cost(TrainConfig(dim=100, batch_size=1024), 'data', 8, 1, 70_000)
  for machine in ('h200', 'v5p'):
    seconds = max(x / most for x, most in zip(cost, scaling.MACHINES[machine], strict=True)) / 1024
    assert float(rows[2][f'{machine}, ns']) == pytest.approx(1e9 * seconds, abs=0.01)


def test_time_of_merges_on_hosts():
  config = TrainConfig()
  alone, slow, fast = cells(scaling.of_hosts(config, [1, 2], 8, [10, 100], [70_000]))
  assert [row['Gbit/s'] for row in (alone, slow, fast)] == ['-', '10', '100']
  assert [row['hosts x cores'] for row in (alone, slow)] == ['1 x 8', '2 x 8']
  ms = lambda row: float(row['ms of a merge'])
  exchange = 1e3 * 8 * scaling.merge_bytes(config, 70_000) / (10e9 / 8)  # of 8 copies each way
  assert ms(slow) - ms(alone) == pytest.approx(exchange, abs=1)
  assert ms(fast) - ms(alone) == pytest.approx(exchange / 10, abs=1)
  steps = float(alone['ms of steps'])
  assert alone['share in steps'] == f'{steps / (steps + ms(alone)):.0%}'


@pytest.mark.slow
def test_program():
  """Of what is chosen alone; a width that is none is refused in one line."""
  command = ['benchmarks.scaling', '--devices=1', '--objectives=nce', '--architectures=cbow']
  done = run(*command, '--dims=64')
  assert [row['objective'] for row in cells(done.stdout)] == ['nce, cbow']
  done = run(*command, '--dims=0')
  assert done.returncode == 1 and done.stderr.startswith(
    'error: dims and devices must be at least 1, got [0]'
  )
