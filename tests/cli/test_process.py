"""Behavior that all programs share: errors, signals, closed pipes and missing packages."""

import os
import re
import signal
import subprocess
import sys

import pytest
from programs import ROOT, run

from jw2v.cli import process

SOURCES = {
  f'{folder}.{path.stem}': path.read_text('utf-8')
  for folder in ('experiments', 'benchmarks')
  for path in (ROOT / folder).glob('*.py')
}
PROGRAMS = sorted(name for name, text in SOURCES.items() if re.search(r'^  app\.run\(', text, re.M))


@pytest.mark.parametrize('name', PROGRAMS)
class TestPrograms:
  def test_prepares_its_process_before_slow_imports(self, name):
    before, prepared, _ = SOURCES[name].partition('\n  process.prepare_process()')
    assert prepared and not re.search(
      r'^(import|from) (absl|jax|jw2v(?!\.cli import process)|numpy)\b', before, re.M
    )

  def test_reports_errors_on_one_line(self, name):
    """Catches user errors in `one_line_errors`, not in each program."""
    text = SOURCES[name]
    main = text[text.index('\ndef main(') :]
    assert re.search(r'^  with (.+, )?process\.one_line_errors\(', main, re.M)
    assert 'except (ValueError' not in main


class TestOneLineErrors:
  @pytest.mark.parametrize(('error', 'code'), [
    (ValueError('a\nb'), 'error: a b'), (KeyError('no "x"'), 'error: no "x"'),
    (MemoryError('too large'), 'error: too large'), (ImportError('x'), 'error: x'),
    (KeyboardInterrupt(), 130),
  ])  # fmt: skip
  def test_exit_status(self, error, code):
    with pytest.raises(SystemExit) as ended:
      with process.one_line_errors():
        raise error
    assert ended.value.code == code

  def test_a_bug_has_its_traceback(self):
    with pytest.raises(TypeError):
      with process.one_line_errors():
        raise TypeError


class TestMissingPackage:
  def test_names_the_extra(self, monkeypatch):
    monkeypatch.setattr(process.importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setattr(process.signal, 'signal', lambda *_: None)
    with pytest.raises(SystemExit, match=r"matplotlib is not .* pip install 'jw2v\[experiments\]'"):
      process.prepare_process()


@pytest.mark.slow
class TestProcesses:
  """Tests that start processes."""

  def test_imports_have_no_side_effects(self):
    """Imports without side effects, even with the arguments of `python -m`."""
    code = (
      'import signal, sys\n'
      "sys.argv[:] = ['-m']\n"
      'handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)]\n'
      'import experiments.train\n'
      'assert handlers == '
      '[signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)]\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')

  @pytest.mark.skipif(not hasattr(signal, 'SIGPIPE'), reason='needs pipes of Unix')
  @pytest.mark.parametrize('name', ['benchmarks.update_docs', 'experiments.train'])
  def test_help_for_a_closed_pipe(self, name):
    """Ends silently for --help | head, as other programs do."""
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
    done = run(name, '--help', capture_output=False, stdout=write, stderr=subprocess.PIPE,
               env=environment)  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, '')

  @pytest.mark.parametrize(('has_workers', 'left'), [(True, []), (False, ['folder'])])
  def test_sigterm(self, tmp_path, has_workers, left):
    """Exits with status 143; a program with workers also removes its temporary folders."""
    code = f"""
import os, signal, tempfile, pathlib, shutil
from jw2v.cli.process import one_line_errors
folder = pathlib.Path({str(tmp_path)!r}, 'folder')
folder.mkdir()
with one_line_errors(has_workers={has_workers}):
  try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
  finally:
    shutil.rmtree(folder)
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, '')
    assert [path.name for path in tmp_path.iterdir()] == left

  @pytest.mark.parametrize('module', ['ml_collections'])
  def test_interrupt_during_imports_has_no_traceback(self, tmp_path, module):
    """Ends by the signal, like any other process, for Ctrl-C while a module is imported."""
    (tmp_path / 'sitecustomize.py').write_text(
      'import os, signal, sys\n\n\n'
      'signal.signal(signal.SIGINT, signal.default_int_handler)  # not so in the background\n\n\n'
      'class Finder:\n  def find_spec(self, name, *_):\n'
      f'    if name == {module!r}:\n      os.kill(os.getpid(), signal.SIGINT)\n\n\n'
      'sys.meta_path.insert(0, Finder())\n'
    )
    done = run('experiments.train', '--help', env={**os.environ, 'PYTHONPATH': str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, '', '')

  def test_an_error_does_not_wait_for_threads_of_orbax(self):
    program = (
      'import threading\n'
      'from jw2v.cli.process import one_line_errors\n'
      "waits = type('Waits', (threading.Thread,), {'__module__': 'orbax.checkpoint'})\n"
      'with one_line_errors():\n'
      '  waits(target=threading.Event().wait).start()\n'
      "  raise OSError('the disk is full')\n"
    )
    done = subprocess.run(
      [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=False,
      timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, 'error: the disk is full\n')
