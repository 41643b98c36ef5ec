"""Reads damaged and forged files by the thousand, and reports findings.

  python tests/stress/fuzz.py [TARGET ...] --seconds=600 --seed=0    # the seconds of each target
  python tests/stress/fuzz.py text --engine=atheris                  # guided by coverage

`fuzz_targets.py` contains the targets; the default is all of them. A case is a mutated valid file,
which is read in all the ways available to a user. The call may return, or raise an exception that
its docstring names, with a short message that contains the file. Findings are any other exception,
an unsound result, more than the seconds or the memory below, and unrelated actions: running,
importing, connecting and writing.

Each target runs in its own process, and a crash of it is a finding, too. The program prints a table
of the results and writes each finding to tests/stress/seeds, from where `test_fuzz.py` reads it.
The exit status is 1 after a finding. atheris, which is not in an extra, mutates cases that have
reached new lines.
"""

import argparse
import contextlib
import faulthandler
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
if __name__ == '__main__':
  sys.path.insert(0, str(ROOT))

SEEDS = ROOT / 'tests' / 'stress' / 'seeds'
SECONDS = 10  # of CPU time per call
MEMORY = 400 << 20  # bytes per call, for files of at most one megabyte each
_ADDRESSES = 16 << 30  # bytes that a forged header cannot reserve; Arrow reserves some of them
_HANGS = 120  # seconds until a process that cannot be interrupted is killed
_LONGEST = 2000  # characters of a message
_FAST = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None  # fast place for folders
_KEPT = 1 << 16  # bytes of a finding that is kept in the repository
# What runs, loads or connects; `compile` is of the reader of Python's literals in NumPy.
_FORBIDDEN = re.compile(
  r'exec|pickle\..*|os\.(system|exec|spawn|posix_spawn|fork|forkpty|startfile|kill)|pty\.spawn'
  r'|subprocess\..*|socket\..*|ctypes\..*|urllib\..*|webbrowser\..*|ftplib\..*|smtplib\..*'
  r'|code\.__new__|import'
)
_WRITES = re.compile(r'os\.(remove|rename|rmdir|mkdir|chmod|chown|link|symlink|truncate|utime)')


class TooLong(BaseException):
  """Raised if a call exceeds its seconds; error handlers must not catch it."""


class Guard:
  """Watches the events of Python and records actions that reading a file should not cause.

  Audit hooks cannot be removed, so all calls share one, which is ignored unless it is armed.
  """

  def __init__(self):
    self.folder, self.breaches = None, []
    sys.addaudithook(self._hear)

  @contextlib.contextmanager
  def armed(self, folder: pathlib.Path) -> Iterator[None]:
    """Records forbidden events within the context; files may be written in `folder`."""
    self.breaches.clear()
    self.folder = str(folder)
    try:
      yield
    finally:
      self.folder = None

  def _hear(self, event: str, arguments: tuple) -> None:
    if self.folder is None:
      return
    if _FORBIDDEN.fullmatch(event):
      if not self._is_known(event, arguments):
        self.breaches.append(f'{event} {arguments!r}'[:200])
    elif event == 'open' and isinstance(arguments[0], (str, bytes)):
      flags = arguments[2] if isinstance(arguments[2], int) else 0
      if flags & 0o1103 and not self._may_write(arguments[0]):  # write, make, empty
        self.breaches.append(f'{event} {arguments!r}'[:200])
    elif _WRITES.fullmatch(event) and not all(map(self._may_write, _paths(arguments))):
      self.breaches.append(f'{event} {arguments!r}'[:200])

  def _is_known(self, event: str, arguments: tuple) -> bool:
    """Accepts late imports of installed modules, and the execution of their code."""
    if event == 'import':
      return arguments[0].partition('.')[0] in _modules()
    if event == 'socket.__new__':  # of asyncio, which orbax uses: a pair in this process
      return arguments[1] == socket.AF_UNIX
    if event == 'exec':
      name = arguments[0].co_filename
      return name.startswith((sys.prefix, sys.base_prefix, str(ROOT), '<frozen')) or _importing()
    return False

  def _may_write(self, path: str | bytes) -> bool:
    path = path.decode(errors='surrogateescape') if isinstance(path, bytes) else path
    return path.startswith((self.folder, '/dev/null', f'{tempfile.gettempdir()}/jw2v.'))


def _paths(arguments: tuple) -> list[str | bytes]:
  """Returns the paths among the arguments of an event, joined with the name of an open folder."""
  paths = [path for path in arguments if isinstance(path, (str, bytes))]
  handle = arguments[-1]
  if isinstance(handle, int) and handle >= 0 and all(isinstance(path, str) for path in paths):
    with contextlib.suppress(OSError):
      paths = [os.path.join(os.readlink(f'/proc/self/fd/{handle}'), path) for path in paths]
  return paths


def _importing() -> bool:
  """Returns whether an import is in progress, in which some modules execute text."""
  frame = sys._getframe()
  while frame is not None and frame.f_code.co_filename != '<frozen importlib._bootstrap>':
    frame = frame.f_back
  return frame is not None


def _modules() -> frozenset[str]:
  """Returns the modules that libraries may import late."""
  return sys.stdlib_module_names | {name.partition('.')[0] for name in sys.modules}


class Fuzzer:
  """Reads the cases of a target and counts the results."""

  def __init__(self, target: str, folder: pathlib.Path, guard: Guard):
    """Creates the valid files, and reads them to trigger late imports."""
    from fuzz_targets import TARGETS

    self.kinds, self.folder, self._guard = TARGETS[target], folder, guard
    self.cases, self.findings, self.most = 0, {}, 0
    self.pools = {name: kind.cases() for name, kind in self.kinds.items()}
    for name, pool in self.pools.items():
      for case in pool:
        reasons = self.judge(name, case, armed=False)
        if any(not reason.startswith('refused') for reason in reasons) or self._read == 0:
          raise RuntimeError(f'{name}: a file that is right is not read: {reasons}')

  def step(self, draw: random.Random) -> None:
    """Reads one mutated case."""
    from fuzz_mutations import mutated

    name = draw.choice(sorted(self.kinds))
    pool = self.pools[name]
    case = mutated(draw.choice(pool), pool, draw)
    if draw.random() < 0.8:
      case = self.kinds[name].repair(case)
    self.add(name, case)

  def add(self, name: str, case: dict[str, bytes]) -> list[str]:
    """Reads a case of a kind; keeps the smallest case of each finding."""
    self.cases += 1
    reasons = self.judge(name, case)
    for reason in reasons:
      key = f'{name}/{re.sub(r"[^a-zA-Z_]+", "_", reason.partition(" | ")[0])[:60].strip("_")}'
      size = lambda case: sum(map(len, case.values()))
      if key not in self.findings or size(case) < size(self.findings[key][1]):
        self.findings[key] = reason, case
    return reasons

  def judge(self, name: str, case: dict[str, bytes], armed: bool = True) -> list[str]:
    """Returns the problems with the calls of a kind that read the files."""
    kind, case_folder = self.kinds[name], self.folder / 'case'
    shutil.rmtree(case_folder, ignore_errors=True)
    for file, data in case.items():
      path = case_folder / file
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(data)
    case_folder.mkdir(exist_ok=True)
    reasons, self._read = [], 0
    for call in kind.calls(case_folder):
      before = _reset_peak()
      error = None
      try:
        with self._guard.armed(self.folder), _limited(SECONDS):
          call()
        self._read += 1
      except TooLong:
        reasons.append(f'too_long | more than {SECONDS} s\n{traceback.format_exc()}')
      except kind.refusals as refusal:
        error = refusal
      except Exception as other:
        last = traceback.extract_tb(other.__traceback__)
        own = [frame for frame in last if str(ROOT / 'jw2v') in frame.filename or
               str(ROOT / 'experiments') in frame.filename] or last  # fmt: skip
        reasons.append(f'{type(other).__name__} in {own[-1].name} | {traceback.format_exc()}')
      if error is not None and not armed:
        reasons.append(f'refused | {error!r}')
      if error is not None and kind.named and str(case_folder) not in str(error):
        reasons.append(f'unnamed {type(error).__name__} | {_trace(error)}')
      if error is not None and kind.named and len(str(error)) > _LONGEST:
        reasons.append(f'long message | {len(str(error))} characters: {str(error)[:300]}')
      used = _peak() - before
      self.most = max(self.most, used if armed else 0)
      if armed and used > MEMORY:
        reasons.append(f'memory | {used >> 20} MB')
      if armed and self._guard.breaches:
        reasons.append(f'breach {self._guard.breaches[0].split()[0]} | {self._guard.breaches}')
    return reasons


def _trace(error: Exception) -> str:
  return ''.join(traceback.format_exception(error))[-1500:]


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
  """Raises `TooLong` after `seconds` of CPU time."""

  def stop(*_):
    raise TooLong

  before = signal.signal(signal.SIGPROF, stop)
  signal.setitimer(signal.ITIMER_PROF, seconds)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def _reset_peak() -> int:
  """Resets the peak memory to the current use, where Linux can; returns it in bytes."""
  with contextlib.suppress(OSError):
    pathlib.Path('/proc/self/clear_refs').write_text('5')
  return _peak()


def _peak() -> int:
  """Returns the peak memory in bytes."""
  with contextlib.suppress(OSError):
    found = re.search(r'VmHWM:\s+(\d+) kB', pathlib.Path('/proc/self/status').read_text())
    return int(found[1]) << 10
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def small_bombs(assign: Callable = setattr) -> None:
  """Lowers the limit of bombs to one megabyte, so that small ones exceed it."""
  from jw2v.utils import limits

  assign(limits, '_ALWAYS', 1 << 20)


def _work(options: argparse.Namespace) -> None:
  """Fuzzes one target in this process, and writes its progress to its folder."""
  if options.engine == 'atheris':
    import atheris

    with atheris.instrument_imports(include=['jw2v', 'experiments']):
      import fuzz_targets  # noqa: F401
  small_bombs()
  tempfile.tempdir = options.folder
  target, folder = options.targets[0], pathlib.Path(options.folder)
  fuzzer = Fuzzer(target, folder, Guard())
  used = int(re.search(r'VmSize:\s+(\d+)', pathlib.Path('/proc/self/status').read_text())[1]) << 10
  resource.setrlimit(resource.RLIMIT_AS, (used + _ADDRESSES, resource.RLIM_INFINITY))
  end, told = time.monotonic() + options.seconds, 0.0

  def step(draw: random.Random) -> None:
    nonlocal told
    faulthandler.dump_traceback_later(_HANGS, exit=True)
    fuzzer.step(draw)
    if time.monotonic() > told + 1:
      told = time.monotonic()
      _tell(fuzzer, folder)

  if options.engine == 'atheris':
    _guided(step, options, folder)
  number = 0
  while time.monotonic() < end:
    step(random.Random(f'{options.seed} {target} {number}'))
    number += 1
  _tell(fuzzer, folder)


def _guided(step: Callable, options: argparse.Namespace, folder: pathlib.Path) -> None:
  """Draws mutations from the bytes of atheris, guided by coverage."""
  import atheris

  class Drawn(random.Random):
    def __init__(self, data: bytes):
      super().__init__(data)
      self._data = atheris.FuzzedDataProvider(data)

    def getrandbits(self, bits: int) -> int:
      if not self._data.remaining_bytes():
        return super().getrandbits(bits)
      return int.from_bytes(self._data.ConsumeBytes(-(-bits // 8)), 'little') & ((1 << bits) - 1)

  (folder / 'corpus').mkdir(exist_ok=True)
  arguments = [
    sys.argv[0], str(folder / 'corpus'), f'-seed={options.seed + 1}', '-max_len=256',
    f'-max_total_time={options.seconds}', '-timeout=0', '-rss_limit_mb=0', '-verbosity=0',
  ]  # fmt: skip
  atheris.Setup(arguments, lambda data: step(Drawn(data)))
  atheris.Fuzz()


def _tell(fuzzer: Fuzzer, folder: pathlib.Path) -> None:
  """Writes the findings so far."""
  found = {}
  for number, (key, (reason, case)) in enumerate(fuzzer.findings.items()):
    found[key] = reason, str(folder / f'finding{number}')
    write_case(folder / f'finding{number}', case)
  told = {'cases': fuzzer.cases, 'most': fuzzer.most, 'findings': found}
  (folder / 'told.json.new').write_text(json.dumps(told))
  (folder / 'told.json.new').rename(folder / 'told.json')


def write_case(folder: pathlib.Path, case: dict[str, bytes]) -> None:
  """Writes the files of a case; replaces existing files."""
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  for name, data in case.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def read_case(folder: pathlib.Path) -> dict[str, bytes]:
  """Returns the files of a case."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob('*'))
    if path.is_file()
  }


def _run(target: str, options: argparse.Namespace) -> dict[str, Any]:
  """Fuzzes one target in separate processes; starts a new one after each crash."""
  total: dict[str, Any] = {'cases': 0, 'most': 0, 'findings': {}, 'seconds': 0.0}
  number = 0
  while (left := options.seconds - total['seconds']) > 1 or not number:
    with tempfile.TemporaryDirectory(prefix='fuzz.', dir=_FAST) as name:
      folder, start = pathlib.Path(name), time.monotonic()
      command = [
        sys.executable, __file__, target, f'--folder={folder}', f'--seconds={max(1, int(left))}',
        f'--seed={options.seed + 1000 * number}', f'--engine={options.engine}',
      ]  # fmt: skip
      done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors='replace')
      total['seconds'] += time.monotonic() - start
      if not (folder / 'told.json').is_file():
        raise RuntimeError(f'{target}: {done.stdout[-2000:]}{done.stderr[-5000:]}')
      told = json.loads((folder / 'told.json').read_text())
      found = {key: (reason, read_case(pathlib.Path(at)))
               for key, (reason, at) in told['findings'].items()}  # fmt: skip
      if done.returncode:
        case = read_case(folder / 'case')
        found[f'{target}/died_{number}'] = f'status {done.returncode}: {done.stderr[-3000:]}', case
      for key, (reason, case) in found.items():
        if key not in total['findings']:
          print(f'{key}: {reason}\n  {_keep(key, case)}\n', file=sys.stderr, flush=True)
      total['cases'] += told['cases']
      total['most'] = max(total['most'], told['most'])
      total['findings'] |= found
    number += 1
  return total


def _keep(key: str, case: dict[str, bytes]) -> pathlib.Path:
  """Writes the files of a finding; returns their folder."""
  small = sum(map(len, case.values())) <= _KEPT
  place = (SEEDS if small else pathlib.Path(tempfile.gettempdir()) / 'jw2v_findings') / key
  write_case(place, case)
  return place


def main(arguments: list[str]) -> int:
  """Runs the targets in sequence; returns the number of findings."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('targets', nargs='*')
  parser.add_argument('--seconds', type=int, default=600, help='of each target')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--engine', choices=('mutations', 'atheris'), default='mutations')
  parser.add_argument('--folder', help=argparse.SUPPRESS)
  options = parser.parse_args(arguments)
  if options.folder:
    _work(options)
    return 0
  from fuzz_targets import TARGETS

  for target in options.targets:
    if target not in TARGETS:
      raise SystemExit(f'error: {target!r} is no target; there are {", ".join(TARGETS)}')
  findings = 0
  print('| target | cases | cases/s | findings | most memory of a case, MB |')
  print('|---|---|---|---|---|')
  for target in options.targets or TARGETS:
    print(f'{target} ...', file=sys.stderr, flush=True)
    told = _run(target, options)
    findings += len(told['findings'])
    print(
      f'| {target} | {told["cases"]:,} | {told["cases"] / told["seconds"]:.0f} | '
      f'{len(told["findings"])} | {told["most"] / 1e6:.0f} |',
      flush=True,
    )
  return findings


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]) > 0)
