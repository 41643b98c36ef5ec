"""Disturbances for `faults.py`, on systems that support them.

Contains small disks, a clock that jumps, limits, and permissions.
"""

import ctypes
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLOCK = r"""
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double since_start(void) {
  static double start;
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  double seconds = now.tv_sec + 1e-9 * now.tv_nsec;
  if (start == 0) start = seconds;
  return seconds - start;
}

__attribute__((constructor)) static void begin(void) { since_start(); }

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = syscall(SYS_clock_gettime, clock, now);
  const char *jump = getenv("JUMP"), *after = getenv("AFTER");
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return result;
  if (jump && after && since_start() >= atof(after)) now->tv_sec += atol(jump);
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  int result = clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec, now->tv_usec = precise.tv_nsec / 1000;
  return result;
}

time_t time(time_t *seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (seconds) *seconds = now.tv_sec;
  return now.tv_sec;
}
"""


class NotTried(Exception):
  """Raised if this system does not support a fault."""


def clock_shim(folder: pathlib.Path) -> str:
  """Builds a library that makes the clock jump by JUMP seconds, AFTER seconds from the start.

  Raises:
    NotTried: the system has no compiler.
  """
  library = folder / 'clock.so'
  if not library.exists():
    compiler = shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
      raise NotTried('no C compiler')
    source = folder / f'clock{os.urandom(4).hex()}.c'
    made = source.with_suffix('.so')
    source.write_text(_CLOCK)
    subprocess.run([compiler, '-shared', '-fPIC', '-O1', '-o', made, source], check=True)
    os.replace(made, library)
  return str(library)


def make_small_disk(folder: pathlib.Path, size: int = 64 << 20, inodes: int = 0) -> None:
  """Mounts a file system of so many bytes and files in a folder, or enlarges the mounted one.

  Raises:
    NotTried: this process may not mount a file system.
  """
  folder.mkdir(exist_ok=True)
  again = 'remount,' if os.path.ismount(folder) else ''
  pages = max(1, -(-size // resource.getpagesize()))
  options = f'{again}nr_blocks={pages},nr_inodes={inodes}'
  done = subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', folder], capture_output=True, check=False
  )
  if done.returncode:
    raise NotTried('no permission to mount')


def in_own_mounts() -> None:
  """Restarts this program where it may mount file systems, if the system allows that."""
  command = ['unshare', '--map-root-user', '--mount']
  if os.environ.get('_FAULTS_MOUNTS') or shutil.which('unshare') is None:
    return
  trial = [*command, 'mount', '-t', 'tmpfs', 'tmpfs', '/tmp']
  if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
    os.environ['_FAULTS_MOUNTS'] = 'own'
    sys.stdout.flush()
    os.execvp('unshare', [*command, sys.executable, *sys.argv])


def limit_files(size: int) -> None:
  """Limits the size of each file, in a new process."""
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def no_privileges() -> None:
  """Applies permissions to root, too, in a new process."""
  if os.geteuid() == 0:
    for capability in (1, 2):  # bypass permissions to write and to read
      _LIBC.prctl(24, capability, 0, 0, 0)


def catches_interrupt(pid: int) -> bool:
  """Returns whether a process catches Ctrl-C, as Python does from its start, with a traceback."""
  try:
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
  except OSError:
    return False
  caught = re.search(r'^SigCgt:\t(\w+)', status, re.M)
  return bool(caught and int(caught[1], 16) >> (signal.SIGINT - 1) & 1)
