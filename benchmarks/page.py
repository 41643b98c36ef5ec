"""Markdown pages that the benchmarks print: environment, versions, command and sections."""

import datetime
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import shlex
import sys
from collections.abc import Iterable


def environment(module: str, packages: Iterable[str], device: str | None = None) -> str:
  """Returns the machine, the versions, the date and the command as a Markdown list.

  Args:
    module: the program, such as `benchmarks.training`.
    packages: names of packages; the list has the versions of the installed ones.
    device: the device that JAX runs on.
  """
  cores, versions, date = _machine(packages)
  return (
    f'- machine: {cores}{f"; JAX on {device}" if device else ""}\n'
    f'- versions: {versions}\n'
    f'- date: {date} at the start\n'
    f'- command: `{shlex.join(["python", "-m", module, *sys.argv[1:]])}`'
  )


def machine(packages: Iterable[str]) -> str:
  """Returns the machine, the versions of packages and the date on one line."""
  return '; '.join(_machine(packages))


def _machine(packages):
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  model = re.search(r'model name\s*:\s*(.+)', cpuinfo.read_text() if cpuinfo.exists() else '')
  processor = model[1] if model else platform.processor() or platform.machine()
  versions = [f'Python {platform.python_version()}'] + [
    f'{name} {importlib.metadata.version(name)}'
    for name in packages
    if importlib.util.find_spec(name) is not None
  ]
  cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  return (
    f'{processor}, cores: {cores}',
    ', '.join(versions),
    f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; '
    f'load average {os.getloadavg()[0]:.2f}',
  )


def print_page(sections: Iterable[str], output: str | None) -> None:
  """Prints each section as soon as it is measured, and then writes all of them to a file."""
  page = []
  for section in sections:
    page.append(section + '\n')
    print('\n' * (len(page) > 1) + page[-1], end='', flush=True)
  if output is not None:
    from jw2v.utils.files import atomic_write

    with atomic_write(output) as file:
      file.write('\n'.join(page).encode())
