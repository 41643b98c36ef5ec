"""What all programs do alike when something is wrong."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from experiments.cli import one_line_errors

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = {path.stem: path.read_text('utf-8') for path in (ROOT / 'experiments').glob('*.py')}
PROGRAMS = sorted(name for name, text in SOURCES.items() if 'app.run(main' in text)


@pytest.mark.parametrize('name', PROGRAMS)
def test_every_program_ends_so(name):
  """All that it does stands under it: no program catches errors of the user by itself."""
  text = SOURCES[name]
  main = text[text.index('\ndef main(') :]
  assert re.search(r'^  with (.+, )?one_line_errors\(', main, re.M)
  assert 'except (ValueError' not in main


@pytest.mark.parametrize(('error', 'code'), [
  (ValueError('a\nb'), 'error: a b'), (KeyError('no "x"'), 'error: no "x"'),
  (MemoryError('too large'), 'error: too large'), (ImportError('x'), 'error: x'),
  (KeyboardInterrupt(), 130),
])  # fmt: skip
def test_what_the_shell_gets(error, code):
  with pytest.raises(SystemExit) as ended:
    with one_line_errors():
      raise error
  assert ended.value.code == code


@pytest.mark.skipif(not hasattr(signal, 'SIGPIPE'), reason='needs pipes of Unix')
def test_help_for_a_reader_that_has_gone():
  """As of --help | head: the program ends as other programs do, without a word."""
  read, write = os.pipe()
  os.close(read)
  done = subprocess.run(
    [sys.executable, '-m', 'benchmarks.update_docs', '--help'], cwd=ROOT, stdout=write,
    stderr=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONUNBUFFERED': '1'},
  )  # fmt: skip
  os.close(write)
  assert (done.returncode, done.stderr) == (-signal.SIGPIPE, '')


def test_a_mistake_of_the_program_has_its_traceback():
  with pytest.raises(TypeError):
    with one_line_errors():
      raise TypeError


@pytest.mark.parametrize(('has_workers', 'left'), [(True, []), (False, ['folder'])])
def test_told_to_end(tmp_path, has_workers, left):
  """Status 143; who waits for processes has its temporary folders removed."""
  code = f"""
import os, signal, tempfile, pathlib, shutil
from experiments.cli import one_line_errors
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
