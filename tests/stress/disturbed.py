"""Programs that `faults.py` disturbs, and the checks of their results.

Contains the undisturbed runs for comparison, starting and ending of programs, the moments of
disturbances, small disks, and the checks.
"""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
from disturbances import catches_interrupt

import jw2v

ROOT = pathlib.Path(__file__).parents[2]
PHASES = {  # moments of a run, and the longest delay in seconds after each begins
  'start': ('while it starts', 2.0),
  'reading': ('while it reads the text', 0.5),
  'training': ('while it trains', 0.8),
  'checkpoint': ('while it writes a checkpoint', 0.02),
  'vectors': ('while it writes the vectors', 0.02),
  'output': ('while it writes a file', 0.3),
  'end': ('after the vectors', 0.3),
}
_PROGRAMS = {
  'train': (
    '-m', 'experiments.train', '--config=configs/quickstart.py', '--config.data.path={text}',
    '--workdir={run}', '--config.dim=16', '--config.min_count=1', '--config.epochs=4',
    '--config.batch_size=256', '--config.steps_per_call=16', '--config.show=()',
    '--config.checkpoints.every=0.15',
  ),
  'encode': (
    '-c', 'import sys, jw2v; from jw2v.cli.process import one_line_errors\n'
    'with one_line_errors(): jw2v.encode_corpus(*sys.argv[1:], min_count=1)', '{text}',
    '{run}/store',
  ),
  'convert': ('-m', 'experiments.convert', '--input={large}', '--output={run}/out.txt'),
}  # fmt: skip
_LIMIT = 150  # seconds, for any program
_SLEEP = 0.0002


class Missed(Exception):
  """Raised if a program ended before it could be disturbed."""


class Done:
  """A program that has ended, with its status, its output, and its start time."""

  def __init__(self, code: int, out: str, err: str):
    """Stores the results."""
    self.code, self.out, self.err = code, out, err


class World:
  """Data that all faults share: texts, vectors, and undisturbed runs."""

  def __init__(self, folder: pathlib.Path, keep: pathlib.Path | None):
    """Writes the texts and runs the programs; raises if a program fails."""
    self.folder, self.keep = folder, keep
    self.text, self.big, self.large = (folder / n for n in ('text.txt', 'big.txt', 'large.txt'))
    generator = random.Random(0)
    words = [f'w{min(int(generator.paretovariate(0.6)), 3000)}' for _ in range(200_000)]
    lines = [' '.join(words[i : i + 20]) for i in range(0, len(words), 20)]
    self.text.write_text('\n'.join(lines) + '\n')
    self.big.write_text(('\n'.join(lines) + '\n') * 20)
    numbers = np.random.default_rng(0).normal(size=(30_000, 50)).astype(np.float32)
    jw2v.save_vectors(jw2v.KeyedVectors([f'w{i}' for i in range(30_000)], numbers), self.large)
    self.env = {**os.environ, 'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled')}
    self.env |= {'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0', 'JAX_PLATFORMS': 'cpu'}
    self.vectors = None
    for number, program in enumerate(_PROGRAMS):
      case = Case(self, -1 - number)
      done = case.ended(case.start(program))
      if done.code:
        raise RuntimeError(f'{program} does not run: {done.err}')
      case.run.rename(folder / program)
    self.vectors = (folder / 'train' / 'vectors.txt').read_bytes()
    # All programs share the compilation cache; killed programs must not write to it.
    self.env['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '1e9'
    case = Case(self, -9)
    process = case.start('train', '--config.checkpoints.every=0')
    while len([p for p in (case.run / 'checkpoints').glob('*') if p.name.isdigit()]) < 3:
      time.sleep(_SLEEP)
    process.terminate()
    if case.ended(process).code != 143:
      raise RuntimeError('a run could not be stopped')
    case.run.rename(folder / 'stopped')
    (folder / 'finished').symlink_to(folder / 'train')
    self.needs = {name: _size(folder / name) for name in ('train', 'encode')}


class Case:
  """A fault's folder, its programs, and the problems found."""

  def __init__(self, world: World, number: int, attempt: int = 0):
    """Creates the folder; the number and the attempt seed all randomness."""
    self.world, self.number, self.attempt = world, number, attempt
    self.folder = world.folder / f'case{number}.{attempt}'
    self.folder.mkdir()
    self.run, self.random = self.folder / 'run', random.Random(number * 10 + attempt)
    self.wrong: list[str] = []
    self.about, self._programs, self._disk = '', 0, False

  def require(self, right: bool, message: str) -> None:
    """Records a problem unless a condition holds."""
    if not right and message not in self.wrong:
      self.wrong.append(message)

  def copy(self, name: str) -> None:
    """Copies the folder of an undisturbed run."""
    shutil.copytree(self.world.folder / name, self.run)

  def start(self, program, *more, text=None, run=None, wrap=(), env=None, before=None):
    """Starts a program, with its output in files."""
    run = run or self.run
    text = text or (self.world.big if program == 'encode' else self.world.text)
    run.mkdir(exist_ok=True)
    words = [w.format(text=text, run=run, large=self.world.large) if '{text}' in w or '{run}' in w
             or '{large}' in w else w for w in _PROGRAMS[program]]  # fmt: skip
    self._programs += 1
    log = self.folder / f'log{self._programs}'
    there = {path.name for path in [*run.glob('.*'), *(run / 'checkpoints').glob('*')]}
    with open(f'{log}.out', 'wb') as out, open(f'{log}.err', 'wb') as err:
      process = subprocess.Popen(
        [*wrap, sys.executable, *words, *more], cwd=ROOT, stdout=out, stderr=err,
        env={**self.world.env, **(env or {})}, preexec_fn=before, stdin=subprocess.DEVNULL,
      )  # fmt: skip
    process.log, process.there, process.began = log, there, time.time()
    return process

  def ended(self, process) -> Done:
    """Waits for the end of a program; a timeout is a problem."""
    try:
      process.wait(_LIMIT)
    except subprocess.TimeoutExpired:
      self.require(False, f'did not end in {_LIMIT} s')
      process.kill()
      process.wait()
    out, err = (
      pathlib.Path(f'{process.log}.{name}').read_text(errors='replace') for name in ('out', 'err')
    )
    return Done(process.returncode, out, err)

  def wait_for(self, process, phase: str, number: int | None = None) -> None:
    """Waits for a moment of a phase.

    Raises:
      Missed: the program ended before that moment.
    """
    is_new = lambda path: path.exists() and path.stat().st_mtime >= process.began - 0.01
    found = lambda folder, pattern: any(p.name not in process.there for p in folder.glob(pattern))
    python_began = False

    def started():  # and Python itself, whose traceback no program can prevent
      nonlocal python_began
      catches = number == signal.SIGINT and catches_interrupt(process.pid)
      python_began |= catches
      return number != signal.SIGINT or (python_began and not catches)

    begun = {
      'start': started,
      'reading': lambda: found(self.run, '.*.partial'),
      'training': lambda: is_new(self.run / 'metrics.jsonl'),
      'checkpoint': lambda: found(self.run / 'checkpoints', '*checkpoint-tmp*'),
      'vectors': lambda: found(self.run, '.vectors.txt.*'),
      'output': lambda: found(self.run, '.out.txt.*'),
      'end': lambda: is_new(self.run / 'config.json'),
    }[phase]
    while not begun():
      if process.poll() is not None:
        raise Missed
      time.sleep(_SLEEP)
    time.sleep(self.random.uniform(0, PHASES[phase][1]) * 0.4**self.attempt)
    if process.poll() is not None:
      raise Missed

  def check_quiet(self, done: Done) -> None:
    """Checks that an interrupted program prints at most that it writes a checkpoint."""
    lines = [line for line in done.err.splitlines() if line.strip()]
    known = 'writing a checkpoint; interrupt again to stop without it'
    self.require(all(line == known for line in lines), f'said {_short(done.err)}')

  def check_fine(self, done: Done) -> None:
    """Checks that a program succeeded without messages of errors."""
    self.require(done.code == 0, f'ended with {done.code}: {_short(done.err)}')
    self.require(not done.err.strip() or done.code != 0, f'said {_short(done.err)}')

  def check_refused(self, done: Done, named: list[str], may_succeed: bool = False) -> None:
    """Checks that a program failed with one line of error that contains one of the names."""
    if done.code == 0 and may_succeed:
      self.check_fine(done)
      return
    lines = done.err.splitlines()
    self.require(done.code == 1, f'ended with {done.code}')
    self.require(len(lines) == 1 and lines[0].startswith('error: '), f'said {_short(done.err)}')
    self.require(any(name in done.err for name in named), f'names no file: {_short(done.err)}')

  def check_files(self, tidy: bool = False, store_may_differ: bool = False) -> None:
    """Checks that final files are complete and, after an orderly end, that no others exist."""
    run = self.run
    if not run.exists():
      return
    for name, expected in (('vectors.txt', self.world.vectors), ('out.txt', None)):
      if (run / name).exists():
        expected = expected or (self.world.folder / 'convert' / name).read_bytes()
        self.require((run / name).read_bytes() == expected, f'{name} differs')
    try:
      for path in run.glob('[!.]*.json*'):
        for text in [path.read_text()] if path.suffix == '.json' else path.open():
          json.loads(text)
    except ValueError as error:
      self.require(False, f'{path.name} is damaged: {error}')
    for path in run.glob('[!.]*.png'):
      self.require(path.read_bytes().endswith(b'IEND\xaeB`\x82'), f'{path.name} is cut')
    for name, like in (('corpus', 'train/corpus'), ('store', 'encode/store')):
      if (run / name).exists():
        try:
          jw2v.open_corpus(run / name)
        except (ValueError, OSError) as error:
          self.require(False, f'the store cannot be opened: {error}')
        for path in self.world.folder.joinpath(like).glob('*'):
          if path.name != 'manifest.json' and not store_may_differ:
            same = (run / name / path.name).read_bytes() == path.read_bytes()
            self.require(same, f'{name}/{path.name} differs')
    if tidy:
      left = [p.name for p in [*run.glob('.*'), *(run / 'checkpoints').glob('*tmp*')]]
      self.require(not left, f'left behind: {", ".join(left)}')

  def check_finished(self) -> None:
    """Checks that the vectors are bit-identical to the vectors of an undisturbed run."""
    path = self.run / 'vectors.txt'
    self.require(path.exists() and path.read_bytes() == self.world.vectors, 'the vectors differ')

  def newest(self) -> int:
    """Returns the step of the newest checkpoint; 0 without a checkpoint."""
    folders = (self.run / 'checkpoints').glob('*')
    return max((int(path.name) for path in folders if path.name.isdigit()), default=0)

  def check_again(self, program: str, **how) -> Done:
    """Checks that the same command succeeds, resumes, and leaves nothing but its results."""
    step = self.newest()
    done = self.ended(self.start(program, **how))
    self.check_fine(done)
    if program == 'train' and not done.code:
      self.check_finished()
      if step:
        found = re.search(r'^resumes +from step ([\d,]+)', done.out, re.M)
        went_on = found is not None and int(found[1].replace(',', '')) >= step
        self.require(went_on or 'finished    in an earlier run' in done.out, f'lost step {step}')
    self.check_files(tidy=True)
    return done

  def close(self) -> None:
    """Removes the folder; keeps a copy of it if problems were found."""
    if self.wrong and self.world.keep:
      kept = self.world.keep / f'{self.number}'
      shutil.rmtree(kept, ignore_errors=True)
      shutil.copytree(self.folder, kept)
    if os.path.ismount(self.run):
      subprocess.run(['umount', '-l', self.run], check=True)
    shutil.rmtree(self.folder)


def _size(folder: pathlib.Path) -> int:
  return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())


def _short(text: str) -> str:
  text = ' | '.join(text.strip().splitlines())
  return text if len(text) <= 300 else f'{text[:120]} ... {text[-180:]}'
