"""Table of the computed cost of a step."""

import numpy as np
import pytest
from programs import run

from benchmarks import scaling
from jw2v import TrainConfig
from jw2v.data import sampling


def cells(table):
  lines = [[c.strip() for c in line.split('|')[1:-1]] for line in table.splitlines()]
  return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_a_row_for_each_layout_and_a_time_for_each_machine():
  """Uses the slowest of the three times, and omits a layout that does not divide the width."""
  rows = cells(scaling.table([{'dim': 100, 'batch_size': 1024}], [1, 8], 70_000, ['h200', 'v5p']))
  assert [(row['layout'], row['devices']) for row in rows] == [
    ('replicated', '1'), ('local', '8 x 1'), ('rows', '8 x 1'), ('data', '8 x 1'),
    ('data_width', '4 x 2'), ('data_width', '2 x 4'),
  ]  # fmt: skip
  assert [row['limit'] for row in rows] == 2 * ['rows'] + 4 * ['exchange']
  cost = scaling.step_cost(TrainConfig(dim=100, batch_size=1024), 'data', 8, 1, 70_000)
  for machine in ('h200', 'v5p'):
    seconds = max(x / most for x, most in zip(cost, scaling.MACHINES[machine], strict=True)) / 1024
    assert float(rows[3][f'{machine}, ns']) == pytest.approx(1e9 * seconds, abs=0.01)


def test_time_of_merges_on_hosts():
  config = TrainConfig()
  rows = cells(scaling.of_hosts(config, [1, 2], 8, [10, 100], [70_000]))
  assert [row['layout'] for row in rows] == 3 * ['local', 'rows']
  ms = lambda row: float(row['ms of a merge'])
  fetched = scaling.fetch_bytes(config, scaling.fetched_rows(config, 16, 70_000))
  sent = {'local': scaling.merge_bytes(config, 70_000), 'rows': fetched / 2}  # half stays on a host
  for layout, each in sent.items():
    alone, slow, fast = (row for row in rows if row['layout'] == layout)
    assert [row['Gbit/s'] for row in (alone, slow, fast)] == ['-', '10', '100']
    assert [row['hosts x cores'] for row in (alone, slow)] == ['1 x 8', '2 x 8']
    exchange = 1e3 * 8 * each / (10e9 / 8)  # of 8 devices
    assert ms(slow) - ms(fast) == pytest.approx(0.9 * exchange, abs=1)
    if layout == 'local':
      assert ms(slow) - ms(alone) == pytest.approx(exchange, abs=1)
    steps = float(alone['ms of steps'])
    assert alone['share in steps'] == f'{steps / (steps + ms(alone)):.0%}'


def test_rows_that_words_by_zipfs_law_need():
  config = TrainConfig(sample=1e-3, batch_size=256)
  rng, shares = np.random.default_rng(0), 1 / np.arange(1, 100_001)
  shares /= shares.sum()
  steps = 1024 // 4
  kept = shares * sampling.keep_probability(shares, config.sample)
  centers = rng.choice(100_000, steps * 256, p=kept / kept.sum())
  noise = rng.choice(100_000, steps * 16 * 24, p=sampling.noise_distribution(shares))
  seen = len(np.union1d(centers, noise))
  assert 20_000 < seen < 80_000
  assert scaling.fetched_rows(config, 4, 100_000) == pytest.approx(seen, rel=0.02)


@pytest.mark.slow
def test_program():
  """Prints rows for the given choice only; reports an invalid width on one line."""
  command = ['benchmarks.scaling', '--devices=1', '--objectives=nce', '--architectures=cbow']
  done = run(*command, '--dims=64')
  assert [row['objective'] for row in cells(done.stdout)] == ['nce, cbow']
  done = run(*command, '--dims=0')
  assert done.returncode == 1 and done.stderr.startswith(
    'error: dims and devices must be at least 1, got [0]'
  )
