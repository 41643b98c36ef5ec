"""Page of an accelerator, generated on the available device."""

import numpy as np
import pytest
from programs import run

from benchmarks import accelerator, scaling


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  rng = np.random.default_rng(0)
  path = tmp_path_factory.mktemp('text') / 'text'
  path.write_text(
    '\n'.join(' '.join(f'w{i}' for i in line) for line in rng.zipf(1.3, (900, 20)) % 99)
  )
  return path


@pytest.mark.slow
def test_a_page(text, tmp_path):
  done = run(
    'benchmarks.accelerator', f'--text={text}', '--widths=8', '--sizes=64,128', '--epochs=1',
    '--min_count=1', f'--output={tmp_path / "page.md"}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  page = (tmp_path / 'page.md').read_text()
  for heading in ('Compiled calls', 'One step of 128 windows', 'Exact softmax over 99 words',
                  'Trained for 1 epochs', 'gensim on the'):  # fmt: skip
    assert f'## {heading}' in page
  rows = [line for line in page.splitlines() if line.startswith('| 8 ')]
  assert len(rows) == 2 and all('float32' in row for row in rows)
  assert '| kernel ' in page


@pytest.mark.slow
def test_nothing_is_begun_too_late(text):
  done = run('benchmarks.accelerator', f'--text={text}', '--seconds=0', '--min_count=1')
  assert done.returncode == 0, done.stderr
  assert 'gensim was skipped' in done.stdout and '## Trained' not in done.stdout


@pytest.mark.parametrize(
  ('kind', 'machine'),
  [('NVIDIA H200', 'h200'), ('TPU v5p chip', 'v5p'), ('cpu', 'cpu'), ('NVIDIA T4', None)],
)
def test_machine_of_a_device(kind, machine):
  assert accelerator.machine_of(kind) == machine
  assert machine is None or machine in scaling.MACHINES
