"""Behavior that all programs share: errors on one line, signals and closed streams.

A program calls `prepare_process` before its slow imports and wraps its work in `one_line_errors`:

  from jw2v.cli import process

  if __name__ == '__main__':
    process.prepare_process()

  ...

  def main(argv):
    with process.one_line_errors():
      ...

  if __name__ == '__main__':
    app.run(main)
"""

import contextlib
import dataclasses
import difflib
import importlib.util
import logging as std_logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from absl import app, logging
from absl.flags import FLAGS, UnrecognizedFlagError
from absl.flags import Error as FlagsError

from jw2v.cli.tables import one_line
from jw2v.config import OTHER_NAMES, TrainConfig
from jw2v.utils.limits import shown

_PACKAGES = ('matplotlib', 'ml_collections', 'tqdm')


def prepare_process(packages: Sequence[str] = _PACKAGES) -> None:
  """Prepares the process of a program, before imports that take seconds.

  Until `one_line_errors`, Ctrl-C and a reader that closes the pipe (`--help | head`) end the
  process silently, as they end other Unix programs.

  Args:
    packages: packages of the extra `experiments` that the program needs.

  Raises:
    SystemExit: one of them is not installed.
  """
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
  if hasattr(signal, 'SIGPIPE'):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
  for name in packages:
    if importlib.util.find_spec(name) is None:
      raise SystemExit(f"error: {name} is not installed; run pip install 'jw2v[experiments]'")


@contextlib.contextmanager
def one_line_errors(*, has_workers: bool = False) -> Iterator[None]:
  """Ends the program with one line for an error that the user can fix.

  SIGTERM also removes files that are only partly written. Characters that stdout cannot encode are
  escaped. A reader that closes the pipe is not an error.

  Args:
    has_workers: True if the program waits for processes that it started (benchmarks/workers.py).

  Raises:
    SystemExit: with the line and status 1, status 143 for SIGTERM, or 130 for Ctrl-C.
  """
  if not FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # JAX logs the backends that it does not find at INFO
  logging.use_absl_handler()
  logging.get_absl_handler().setFormatter(_OneLine())
  warnings.showwarning = _print_warning
  for stream in (sys.stdout, sys.stderr):
    if stream is not None and hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')
  sys.unraisablehook = _print_ignored
  signal.signal(signal.SIGTERM, _exit_at_sigterm if has_workers else _end_at_sigterm)
  if hasattr(signal, 'SIGPIPE'):
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a BrokenPipeError, as usual in Python
  interrupt = signal.getsignal(signal.SIGINT)
  if interrupt == signal.SIG_DFL:  # set by prepare_process
    signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    yield
  except BrokenPipeError:
    _drop_output()
  except KeyboardInterrupt:
    raise SystemExit(130) from None
  except (ValueError, OSError, ImportError, FloatingPointError, KeyError, MemoryError) as error:
    try:
      if sys.stdout is not None:
        sys.stdout.flush()
    except OSError:
      _drop_output()
    message = error.args[0] if isinstance(error, KeyError) else error  # its str() has quotes
    line = f'error: {one_line(message)}'
    _end_where_orbax_waits(line)
    raise SystemExit(line) from error
  finally:
    signal.signal(signal.SIGINT, interrupt)


@contextlib.contextmanager
def stopping_at_signals(checkpoints: Any) -> Iterator[None]:
  """Makes Ctrl-C and SIGTERM stop a run with a checkpoint, and a second signal stop it at once.

  Args:
    checkpoints: the `jw2v.training.checkpoints.Checkpoints` of the run, or None.

  Raises:
    SystemExit: with status 128 plus the signal, after the run has stopped.
  """
  if checkpoints is None:
    yield
    return
  from jw2v.training.checkpoints import Stopped

  received: list[int] = []

  def stop(number, _):
    if received:
      os._exit(128 + number)  # partly written files do not have their final names yet
    received.append(number)
    checkpoints.request_stop()
    print('\nwriting a checkpoint; interrupt again to stop without it', file=sys.stderr, flush=True)

  before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield
  except Stopped as stopped:
    print(f'{stopped}; run the same command again to resume', flush=True)
    number = received[0] if received else signal.SIGTERM  # received by another process
    raise SystemExit(128 + number) from None
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def parse_config_flags(argv: list[str]) -> list[str]:
  """Parses flags as absl does, with one line for an error in the config.

  Raises:
    SystemExit: with the line.
  """
  for argument in argv[1:]:
    name, _, path = argument.lstrip('-').partition('=')
    if argument in ('-h', '--help'):
      app.usage(shorthelp=True, writeto_stdout=True)
      raise SystemExit(0)
    if not argument.startswith('-'):
      setting = f'data.path={argument}' if os.path.exists(argument) else argument
      raise SystemExit(
        f'error: {one_line(shown(repr(argument)))} is not a flag; write --config.'
        f'{shown(setting if "=" in setting else "dim=200")}'
      )
    if name == 'config' and not os.path.isfile(path.partition(':')[0]):
      raise SystemExit(f'error: config={path!r}: file not found')
  try:
    return FLAGS(argv)
  except UnrecognizedFlagError as error:
    raise SystemExit(f'error: --{error.flagname} is not a flag; {_hint(error.flagname)}') from error
  except FlagsError as error:
    raise SystemExit(f'error: {_flag_error(error)}') from error
  except AttributeError as error:
    if isinstance(error.args[0], KeyError):  # the config is locked
      name = re.match(r"'?([^'\n]*)", str(error.args[0].args[0]))[1]  # type: ignore[index]
      message = f'the config has no setting {name!r}; {_hint(name)}'
    else:
      message = f'the config file cannot be used: {error}'
    raise SystemExit(f'error: {one_line(message)}') from error
  except (SyntaxError, ImportError, NameError, TypeError) as error:
    raise SystemExit(f'error: the config file cannot be used: {one_line(error)}') from error


def _hint(name: str) -> str:
  """Returns advice on a flag that does not exist."""
  name = name.removeprefix('config.')
  ours = [field.name for field in dataclasses.fields(TrainConfig)]
  found = name if name in ours else OTHER_NAMES.get(name.lower(), '')
  if found == 'FILE':
    return 'name the text as --config.data.path=FILE'
  near = difflib.get_close_matches(name, [*ours, *FLAGS], 1)
  if found or near:
    found = found or near[0]
    return f'write --config.{found}=VALUE' if found in ours else f'did you mean --{found}'
  return '--help lists the flags, and the config file the settings'


def _flag_error(error: FlagsError) -> str:
  """Returns the message of an error of absl in our words."""
  text = one_line(error)
  missing = re.findall(r'Flag (--\w+) must have a value other than None', text)
  if missing:
    return f'{" and ".join(missing)} must be given; --help has examples'
  kind = re.search(r'flag (--[\w.]+)=.*invalid literal for int\(\) .*: (.*)', text)
  if kind:
    return f'{kind[1]} must be an integer, got {kind[2]}'
  kind = re.search(r'flag (--[\w.]+)=.*could not convert string to float: (.*)', text)
  return f'{kind[1]} must be a number, got {kind[2]}' if kind else text


class _OneLine(std_logging.Formatter):
  """Formats a message without date, thread and file."""

  def format(self, record):
    return f'{record.levelname.lower()}: {record.getMessage()}'


def _print_warning(message, *_, **__):
  print(f'warning: {one_line(message)}', file=sys.stderr)


def _end_at_sigterm(*_):
  # If Python runs a callback at this moment, an exception such as that of sys.exit is lost.
  files = sys.modules.get('jw2v.utils.files')  # a module that is not loaded has written nothing
  if files is not None:
    files.remove_unfinished()
  os._exit(143)


def _exit_at_sigterm(*_):
  sys.exit(143)  # ends the worker processes and removes temporary folders


def _print_ignored(ignored):
  # A checkpoint thread raises this error after another thread has failed, whose error is printed.
  if str(ignored.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(ignored)


def _end_where_orbax_waits(line):
  # Python joins the threads of Orbax at exit, and they wait minutes for a folder that is missing.
  if any(type(thread).__module__.startswith('orbax.') for thread in threading.enumerate()):
    print(line, file=sys.stderr, flush=True)
    os._exit(1)


def _drop_output():
  # Python prints the rest of its buffer at exit, which would fail again.
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
