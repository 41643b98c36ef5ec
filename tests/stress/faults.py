"""Disturbs programs while they run, and checks their messages, files and next runs.

  python tests/stress/faults.py [WORD ...]    # only faults whose line has one of the words
  python tests/stress/faults.py --rounds=3    # three times as many, at other moments

Contains the faults; `disturbances.py` has the means, `disturbed.py` the programs and the checks.
Each fault has its own folder and processes, and its number seeds the moments and offsets. The
program prints one line per fault to standard error, and the table of docs/reliability.md to
standard output. It takes about twelve minutes on two cores. The exit status is 1 if a fault fails.
Faults without support on this system (mounted file systems, strace, a C compiler) are reported as
not tried.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from disturbances import (
  NotTried,
  clock_shim,
  in_own_mounts,
  limit_files,
  make_small_disk,
  no_privileges,
)
from disturbed import PHASES, Case, Missed, World

HOUR = 3600
ATTEMPTS = 5


def killed(case: Case, program: str, phase: str) -> None:
  """Sends SIGKILL at a moment; the next start ends like an undisturbed run."""
  process = case.start(program)
  case.wait_for(process, phase)
  process.kill()
  case.ended(process)
  case.check_files()
  case.check_again(program)


def signalled(case: Case, program: str, phase: str, number: signal.Signals) -> None:
  """Sends a signal, which stops the program in order; the next start resumes."""
  process = case.start(program)
  case.wait_for(process, phase, number)
  process.send_signal(number)
  done = case.ended(process)
  if done.code == 0:
    if phase in ('training', 'checkpoint'):
      case.require('writing a checkpoint' in done.err, 'did not hear the signal')
      if not case.wrong and case.attempt < ATTEMPTS - 1:
        raise Missed  # it came after the last step
    case.require(phase in ('vectors', 'end'), 'went on to its end')
  else:
    case.require(done.code in (128 + number, -number), f'ended with {done.code}')
    case.check_quiet(done)
    if phase in ('training', 'checkpoint'):
      told = 'run the same command again to resume' in done.out
      case.require(told or (case.run / 'vectors.txt').exists(), 'did not say that it goes on')
  case.check_files(tidy=done.code == 128 + number)
  case.check_again(program)


def killed_often(case: Case) -> None:
  """Kills the same run six times."""
  for _ in range(6):
    process = case.start('train')
    case.wait_for(process, case.random.choice(('training', 'checkpoint')))
    process.kill()
    case.ended(process)
    case.check_files()
  case.check_again('train')


def full(case: Case, share: float, what: str) -> None:
  """Restricts the disk to a share of the space that a program needs; later it has enough."""
  program, disk = ('train', case.run) if what != 'encode' else ('encode', case.run)
  make_small_disk(disk, **{'inodes': 2 + int(60 * share)} if what == 'inodes' else
                  {'size': int(case.world.needs[program] * share)})  # fmt: skip
  done = case.ended(case.start(program))
  case.check_refused(done, [str(disk)], may_succeed=True)
  case.check_files(tidy=True)
  make_small_disk(disk)
  case.check_again(program)


def filled(case: Case, phase: str, left: int) -> None:
  """Fills the disk while the run is active; later the disk has space again."""
  make_small_disk(case.run, size=64 << 20)
  process = case.start('train')
  case.wait_for(process, phase)
  status = os.statvfs(case.run)
  with contextlib.suppress(OSError), open(case.run / 'filler', 'wb', buffering=0) as file:
    for _ in range(max(0, status.f_bavail * status.f_frsize - left) // 4096):
      file.write(bytes(4096))
  done = case.ended(process)
  (case.run / 'filler').unlink()
  case.check_refused(done, [str(case.run)], may_succeed=True)
  case.check_files(tidy=True)
  case.check_again('train')


def limited(case: Case, size: int) -> None:
  """Limits the size of each file."""
  done = case.ended(case.start('train', before=lambda: limit_files(size)))
  case.check_refused(done, [str(case.run)], may_succeed=True)
  case.check_files(tidy=True)
  case.check_again('train')


def unreadable(case: Case, names: str, first: int) -> None:
  """Returns EIO for reads of a file, beginning with a given read; later reads succeed."""
  program = 'encode' if names == 'text' else 'train'
  if names != 'text':
    case.copy('stopped')
  paths = [case.world.big] if names == 'text' else sorted(
    path for path in case.run.glob(names) if path.is_file())  # fmt: skip
  inject = ['-e', f'inject=read,pread64,readv,preadv:error=EIO:when={first}+']
  only = [word for path in paths for word in ('-P', str(path))]
  if shutil.which('strace') is None:
    raise NotTried('no strace')
  strace = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=read,pread64,readv,preadv']
  done = case.ended(case.start(program, wrap=[*strace, *only, *inject]))
  named = [str(folder) for path in paths for folder in (path, path.parent)]
  if names.startswith('checkpoints/['):
    named = [str(case.run / 'checkpoints' / str(case.newest()))]
  case.check_refused(done, named, may_succeed=first > 1 or 'checkpoints' in names)
  case.check_files(tidy=True)
  case.check_again(program)


def changing(case: Case, how: str) -> None:
  """Changes the text while it is encoded; later restores it."""
  text = shutil.copy(case.world.big, case.folder / 'mine.txt')
  process = case.start('encode', text=text)
  case.wait_for(process, 'reading')
  if how == 'cut':
    os.truncate(text, case.random.randrange(os.path.getsize(text)))
  elif how == 'longer':
    with open(text, 'ab') as file:
      file.write(b'more words\n')
  elif how == 'overwritten':
    with open(text, 'r+b') as file:
      file.write(b'other words')
  elif how == 'gone':
    os.unlink(text)
  else:
    os.replace(shutil.copy(case.world.text, case.folder / 'other.txt'), text)
  done = case.ended(process)
  case.check_refused(done, [str(text)], may_succeed=True)
  case.check_files(tidy=True, store_may_differ=True)
  shutil.copy(case.world.big, text)
  case.check_again('encode', text=text)


def shrinking(case: Case, name: str) -> None:
  """Truncates a mapped file of the store; this run and the next start report it."""
  process = case.start('train', '--config.epochs=400')
  case.wait_for(process, 'training')
  os.truncate(case.run / 'corpus' / name, case.random.randrange(4096))
  done = case.ended(process)
  case.check_refused(done, [str(case.run / 'corpus' / name)])
  done = case.ended(case.start('train', '--config.epochs=400'))
  case.check_refused(done, [str(case.run / 'corpus' / name)])
  shutil.rmtree(case.run / 'corpus')  # as the message says
  shutil.rmtree(case.run / 'checkpoints')  # of a run of 400 epochs
  case.check_again('train')


def forbidden(case: Case, name: str) -> None:
  """Removes a permission; later restores it."""
  if name not in ('run', 'text'):
    case.copy('stopped')
  case.run.mkdir(exist_ok=True)
  text = None
  if name == 'text':
    text = shutil.copy(case.world.text, case.folder / 'text.txt')
  path = case.run if name == 'run' else case.run / name.replace('NEWEST', str(case.newest()))
  path = pathlib.Path(text or path)
  mode = path.stat().st_mode
  path.chmod(0o500 if name == 'run' else 0)
  done = case.ended(case.start('train', text=text, before=no_privileges))
  path.chmod(mode)
  case.check_refused(done, [str(path)], may_succeed=name == 'metrics.jsonl')
  case.check_files(tidy=True)
  case.check_again('train', text=text)


def damaged(case: Case, start: str, name: str, how: str) -> None:
  """Damages a file; the run reports it by name, or does not need it."""
  case.copy(start)
  newest = case.newest()
  found = sorted(p for p in case.run.glob(name.replace('NEWEST', str(newest))) if p.is_file())
  path = case.random.choice(found)
  data = bytearray(path.read_bytes())
  if how == 'flipped':
    data[case.random.randrange(len(data))] ^= 1 << case.random.randrange(8)
  elif how == 'cut':
    data = data[: case.random.randrange(len(data))]
  elif how == 'emptied':
    data = b''
  path.write_bytes(data)
  case.about = f'{path.relative_to(case.run)}'
  if how == 'lost':
    path.unlink()
  done = case.ended(case.start('train'))
  if done.code == 0:
    case.check_finished()
    return
  folder = path.parents[len(path.relative_to(case.run).parts) - 2]  # corpus/ or checkpoints/
  if folder.name == 'checkpoints':
    folder = folder / str(newest)
    case.check_refused(done, [str(folder)])
  else:
    case.check_refused(done, [str(path)])
  case.require('remove' in done.err or 'without that folder' in done.err, 'no word of what to do')
  shutil.rmtree(folder)  # as it says
  done = case.check_again('train')
  if folder.parent.name == 'checkpoints':
    case.require('resumes' in done.out, 'the checkpoint before was not used')


def at_once(case: Case, what: str) -> None:
  """Starts two programs in one place; both results are complete, or the second one fails."""
  if what == 'workdir':
    first = case.start('train')
    time.sleep(case.random.uniform(0, 0.3))
    second = case.start('train')
    ends = [case.ended(first), case.ended(second)]
    for done in ends:
      if done.code:
        case.check_refused(done, [str(case.run)])
        case.require('another run' in done.err, 'does not name the other run')
    case.require(any(done.code == 0 for done in ends), 'neither was whole')
  elif what == 'store':
    flag = f'--config.data.store={case.folder / "store"}'
    runs = [case.start('train', flag, run=case.folder / name) for name in ('one', 'two')]
    for process, name in zip(runs, ('one', 'two'), strict=True):
      case.check_fine(case.ended(process))
      same = (case.folder / name / 'vectors.txt').read_bytes() == case.world.vectors
      case.require(same, f'the vectors of {name} differ')
  else:
    for done in map(case.ended, [case.start(what), case.start(what)]):
      case.check_fine(done)
  case.check_files(tidy=True)
  case.check_again(what if what in ('encode', 'convert') else 'train')


def clock(case: Case, jump: int, after: float, start: str | None) -> None:
  """Makes the clock jump during a run, or between two runs."""
  if start:
    case.copy(start)
  shim = clock_shim(case.world.folder)
  process = case.start('train', env={'LD_PRELOAD': shim, 'JUMP': str(jump), 'AFTER': str(after)})
  case.check_fine(case.ended(process))
  case.check_finished()


def dated(case: Case, year: int) -> None:
  """Dates all files in the past or in the future."""
  case.copy('stopped')
  text = pathlib.Path(shutil.copy(case.world.text, case.folder / 'text.txt'))
  when = (year - 1970) * 365.25 * 24 * HOUR
  for path in [*case.run.rglob('*'), text]:
    os.utime(path, (when, when))
  case.check_again('train')
  shutil.rmtree(case.run)
  case.check_fine(case.ended(case.start('train', text=text)))
  os.utime(text, (when + 9, when + 9))
  case.check_again('train', text=text)


def faults(rounds: int) -> list[tuple]:
  """Returns all faults: the row of the table, and the function to call with the case."""
  some = []
  add = lambda row, times, function, *arguments: some.extend(
    [(row, function, arguments)] * (times * rounds)
  )
  for phase, times in {'start': 5, 'reading': 3, 'training': 8, 'checkpoint': 10, 'vectors': 8,
                       'end': 3}.items():  # fmt: skip
    add(f'SIGKILL, {PHASES[phase][0]}', times, killed, 'train', phase)
  add('SIGKILL, while a store is encoded', 9, killed, 'encode', 'reading')
  add('SIGKILL, while a file is converted', 5, killed, 'convert', 'output')
  add('SIGKILL, six times in one run', 2, killed_often)
  for number in (signal.SIGTERM, signal.SIGINT):
    for phase, times in {'start': 3, 'training': 3, 'checkpoint': 3, 'vectors': 2,
                         'end': 1}.items():  # fmt: skip
      add(f'{number.name}, {PHASES[phase][0]}', times, signalled, 'train', phase, number)
    add(f'{number.name}, while a store is encoded', 3, signalled, 'encode', 'reading', number)
    add(f'{number.name}, while a file is converted', 2, signalled, 'convert', 'output', number)
  for i in range(12):
    add('a disk too small for a run', 1, full, round(0.02 + 0.1 * i, 2), 'train')
  for i in range(5):
    add('a disk too small for a store', 1, full, round(0.05 + 0.2 * i, 2), 'encode')
    add('a disk without room for more files', 1, full, round(0.1 + 0.2 * i, 2), 'inodes')
  for left in (0, 30_000, 150_000, 300_000):
    add('a disk that is filled during a run', 1, filled, 'training', left)
    add('a disk that is filled during a run', 1, filled, 'checkpoint', left)
  for size in (3_000, 50_000, 150_000, 300_000, 850_000):
    add('a limit to the size of files', 1, limited, size)
  for first in (1, 2, 9, 40):
    add('EIO from the text', 1, unreadable, 'text', first)
  for name in ('manifest.json', 'ids.npy', 'line_ends.npy', 'vocabulary.txt'):
    add('EIO from the store', 1, unreadable, f'corpus/{name}', 1)
  for name in ('[0-9]*/about/*', '[0-9]*/state/**/*', '[0-9]*/*', 'vocabulary.txt'):
    add('EIO from a checkpoint', 1, unreadable, f'checkpoints/{name}', 1)
  for how in ('cut', 'longer', 'overwritten', 'gone', 'replaced'):
    add('a text that changes while it is read', 2, changing, how)
  for name in ('ids.npy', 'line_ends.npy'):
    add('a store that is cut while a run reads it', 2, shrinking, name)
  for name in ('text', 'run', 'corpus', 'corpus/ids.npy', 'checkpoints', 'metrics.jsonl',
               'checkpoints/NEWEST/about'):  # fmt: skip
    add('no permission', 1, forbidden, name)
  for how in ('flipped', 'cut', 'emptied', 'lost'):
    for name in ('manifest.json', 'ids.npy', 'line_ends.npy', 'vocabulary.txt'):
      add(f'a file of the store, {how}', 2 if how == 'flipped' else 1, damaged, 'stopped',
          f'corpus/{name}', how)  # fmt: skip
    files = {'about/metadata': 3, 'state/ocdbt*/**/*': 3, 'state/*': 1, '**/*': 2}
    for name, times in {
      **{f'NEWEST/{n}': i for n, i in files.items()},
      'vocabulary.txt': 1,
    }.items():
      add(f'a file of a checkpoint, {how}', times if how == 'flipped' else 1, damaged, 'stopped',
          f'checkpoints/{name}', how)  # fmt: skip
    for name in ('config.json', 'metrics.jsonl', 'vectors.txt', 'tensorboard/*'):
      add(f'a result of a run, {how}', 1, damaged, 'finished', name, how)
  for what in ('workdir', 'store', 'encode', 'convert'):
    add('two programs in one place', 3, at_once, what)
  for jump in (-24 * HOUR, 24 * HOUR, -20 * 365 * 24 * HOUR, 10 * 365 * 24 * HOUR):
    add('a clock that jumps during a run', 2, clock, jump, 2.5, None)
    add('a clock that jumps between runs', 1, clock, jump, 0, 'stopped')
  for year in (1971, 2100):
    add('files dated in the past or the future', 1, dated, year)
  return some


def tried(world: World, number: int, row: str, function, arguments) -> tuple[str, str, float]:
  """Tries one fault; returns its row, its problems ('' for none), and the seconds."""
  began = time.monotonic()
  words = ' '.join(str(getattr(a, 'name', a)) for a in arguments)
  for attempt in range(ATTEMPTS):
    case = Case(world, number, attempt)
    try:
      function(case, *arguments)
      wrong = '; '.join(case.wrong)
    except NotTried as reason:
      wrong = f'not tried: {reason}'
    except Missed:  # too late; the next attempt is earlier
      wrong = '; '.join(case.wrong) or 'not tried: the program had ended'
      if not case.wrong:
        continue
    except Exception as error:
      wrong = '; '.join([*case.wrong, f'{type(error).__name__}: {error}'])
      case.wrong.append(wrong)
    finally:
      case.close()
    break
  seconds = time.monotonic() - began
  kind = 'NOT TRIED' if wrong.startswith('not tried') else 'FAILED' if wrong else 'passed'
  about = f'{case.about} ' if case.about else ''
  print(f'{kind:12} {number} {row}: {words} {about}({seconds:.1f} s){wrong and ": " + wrong}',
        file=sys.stderr, flush=True)  # fmt: skip
  return row, wrong


def main() -> int:
  """Injects the faults, prints the table, and returns the number that failed."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('words', nargs='*', help='only faults whose line has one of them')
  parser.add_argument('--rounds', type=int, default=1, help='so many times as many')
  parser.add_argument('--keep', help='a folder for the files of faults that failed')
  arguments = parser.parse_args()
  wanted = [
    (number, *fault) for number, fault in enumerate(faults(arguments.rounds))
    if not arguments.words or any(w in f'{fault[0]} {fault[2]}' for w in arguments.words)
  ]  # fmt: skip
  in_own_mounts()
  # A job in the background of a shell ignores Ctrl-C, and so would what it starts.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  with tempfile.TemporaryDirectory(prefix='faults.') as folder:
    world = World(pathlib.Path(folder), arguments.keep and pathlib.Path(arguments.keep))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      results = list(pool.map(lambda fault: tried(world, *fault), wanted))
  print('| fault | tried | passed |\n|---|---|---|')
  for row in dict.fromkeys(row for row, _ in results):
    found = [wrong for name, wrong in results if name == row]
    left_out = sum(wrong.startswith('not tried') for wrong in found)
    passed = found.count('')
    print(f'| {row} | {len(found) - left_out or "not tried"} | {passed or ""} |')
  left_out = sum(wrong.startswith('not tried') for _, wrong in results)
  passed = sum(not wrong for _, wrong in results)
  print(f'| all | {len(results) - left_out} | {passed} |')
  return len(results) - left_out - passed


if __name__ == '__main__':
  sys.exit(main() > 0)
