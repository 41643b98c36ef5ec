"""Measuring processes: their input, answers and failures."""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import workers

ROOT = pathlib.Path(__file__).parents[2]

ROOT = pathlib.Path(__file__).parents[2]


def _tell(job):
  print('{"a line that no one": reads}', flush=True)
  ctypes.CDLL(None).puts(b'and one that comes at the end')
  return {'started': job['started'], 'numbers': (n for n in job['numbers'])}


def _count_cores(job):
  return len(os.sched_getaffinity(0)), os.environ.get('JW2V_TEST')


def _fail(job):
  raise ValueError(f'{job["what"]}\nis wrong')


def _find_packages(job):
  import benchmarks.quality
  import jw2v

  return jw2v.__version__, benchmarks.quality.__file__


def _die(job):
  os.kill(os.getpid(), signal.SIGKILL)


TASKS = {'tell': _tell, 'cores': _count_cores, 'fail': _fail, 'die': _die,
         'packages': _find_packages}  # fmt: skip


def start(task, **job):
  return workers.start('tests.benchmarks.test_workers', task, **job)


@pytest.mark.slow
class TestStart:
  def test_answers_whatever_is_printed(self):
    before = time.monotonic()
    found = start('tell', numbers=[1, 2])
    assert found['numbers'] == [1, 2] and before <= found['started'] <= time.monotonic()

  @pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'), reason='no such limit here')
  def test_cores_and_environment(self):
    assert start('cores', cores=1, environment={'JW2V_TEST': 'x'}) == [1, 'x']
    assert start('cores') == [len(os.sched_getaffinity(0)), None]

  def test_library_of_another_folder(self, tmp_path):
    """Imports jw2v from the folder, but not the benchmarks."""
    shutil.copytree(ROOT / 'jw2v', tmp_path / 'jw2v')
    (tmp_path / 'benchmarks').mkdir()
    init = tmp_path / 'jw2v' / '__init__.py'
    init.write_text(init.read_text() + "\n__version__ = 'another'\n")
    own = str(ROOT / 'benchmarks' / 'quality.py')
    assert start('packages', library=str(tmp_path)) == ['another', own]
    assert start('packages')[0] != 'another'

  @pytest.mark.parametrize(('task', 'message'), [
    ('fail', '^it is wrong$'), ('die', '^die: the process exited with status -9$'),
    ('none', "'none'"),
  ])  # fmt: skip
  def test_errors(self, task, message):
    with pytest.raises(ValueError, match=message):
      start(task, what='it')


class TestInTurn:
  def test_order_and_what_is_told(self, capsys):
    calls = []
    measure = lambda name: lambda: calls.append(name) or {'seconds': len(calls)}
    runs = workers.in_turn(2, {'a': measure('a'), 'b': measure('b')}, 'text')
    assert calls == ['a', 'b', 'a', 'b']
    assert json.dumps(runs) == '{"a": [{"seconds": 1}, {"seconds": 3}], ' \
                               '"b": [{"seconds": 2}, {"seconds": 4}]}'  # fmt: skip
    assert capsys.readouterr().err.splitlines()[-1] == 'round 2/2 text b 4.00 s'


def test_peak_is_in_bytes():
  assert 20e6 < workers.peak_bytes() < 50e9


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_peak_is_that_of_the_process_and_not_of_its_parent():
  """Starts a small process and a small program from a parent of 300 MB."""
  code = (
    'import subprocess, sys\n'
    'ballast = b"x" * 300_000_000\n'
    'from benchmarks.workers import run_program\n'
    'print(run_program([sys.executable, "-c", "pass"])["peak"])\n'
    'child = "from benchmarks.workers import peak_bytes; print(peak_bytes())"\n'
    'done = subprocess.run([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)\n'
    'print(done.stdout)\n'
  )
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  peaks = [float(line) for line in done.stdout.split()]
  assert len(peaks) == 2 and all(3e6 < peak < 200e6 for peak in peaks)
