"""Sweeps: the grid of settings, the table, and a run of the program."""

import json

import pytest
from corpora import two_topics
from programs import run

from experiments import sweep

PAIRS = 'sea1\tsea2\t9\nsea1\tland1\t1\nsea3\tland2\t2\n'


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  folder = tmp_path_factory.mktemp('text')
  (folder / 'text.txt').write_text('\n'.join(' '.join(line) for line in two_topics()))
  (folder / 'pairs.tsv').write_text(PAIRS)
  return folder / 'text.txt'


class TestSweep:
  def test_grid(self):
    grid = sweep.read_grid(['dim=50,100', 'config.data.lowercase=True'])
    assert grid == {'dim': ['50', '100'], 'data.lowercase': ['True']}
    assert sweep.combinations({'a': ['1', '2'], 'b': ['3', '4']}) == [
      {'a': '1', 'b': '3'}, {'a': '1', 'b': '4'}, {'a': '2', 'b': '3'}, {'a': '2', 'b': '4'}
    ]  # fmt: skip
    assert sweep.combinations({}) == [{}]

  @pytest.mark.parametrize('wrong', [['dim'], ['dim='], ['=3'], ['dim=1', 'dim=2'], ['seed=1,2'],
                                     ['dim=1,1'], ['dim=1,']])  # fmt: skip
  def test_grid_that_is_none(self, wrong):
    with pytest.raises(ValueError, match='grid must '):
      sweep.read_grid(wrong)

  def test_table(self):
    runs = [{'seed': 0, 'loss': 2.0, 'words_per_second': 1e6, 'men': 0.5},
            {'seed': 1, 'loss': 3.0, 'words_per_second': 2e6, 'men': 0.7}]  # fmt: skip
    results = [{'settings': {'dim': '8'}, 'runs': runs}, {'settings': {'dim': '9'}, 'runs': []}]
    lines = [
      [c.strip() for c in line.split('|')[1:-1]] for line in sweep.table(results).split('\n')
    ]
    assert lines[0] == ['dim', 'seeds', 'loss', 'words_per_second', 'men']
    assert lines[2][:3] == ['8', '2', '2.500 (2.000..3.000)']
    assert lines[2][4] == '0.600 (0.500..0.700)' and lines[3] == ['9', '0', '-', '-', '-']

  @pytest.mark.slow
  def test_program(self, tmp_path, text):
    """Reports a value that cannot be trained, trains the others, and repeats no training."""
    (tmp_path / 'mine.py').write_text(
      'from configs import quickstart\n\n\ndef get_config():\n'
      '  config = quickstart.get_config()\n'
      f'  config.data.path = {str(text)!r}\n'
      '  config.min_count, config.epochs, config.sample, config.show = 1, 1, 0.0, ()\n'
      '  return config\n'
    )
    command = [
      'experiments.sweep', f'--config={tmp_path / "mine.py"}', f'--workdir={tmp_path / "sweep"}',
      '--grid=dim=0,8', f'--evaluation={text.parent / "pairs.tsv"}',
    ]  # fmt: skip
    done = run(*command)
    assert done.returncode == 1 and 'dim must be an integer' in done.stderr
    assert (tmp_path / 'sweep' / 'sweep.md').read_text() == done.stdout
    results = json.loads((tmp_path / 'sweep' / 'sweep.json').read_text())
    assert [len(result['runs']) for result in results] == [0, 1]
    assert -1 <= results[1]['runs'][0]['pairs'] <= 1
    stores = list((tmp_path / 'sweep').glob('*/manifest.json'))
    assert [path.parent.name for path in stores] == ['corpus=text']  # encoded once
    first = (tmp_path / 'sweep' / 'dim=8,seed=0' / 'checkpoints').stat().st_mtime_ns
    again = run(*command)
    assert again.stdout == done.stdout
    assert (tmp_path / 'sweep' / 'dim=8,seed=0' / 'checkpoints').stat().st_mtime_ns == first
