"""What all programs do alike when something is wrong.

What belongs here: turning errors, signals and closed streams into what a shell expects.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from absl import logging
from absl.flags import FLAGS

from experiments.tables import one_line


def _end_at_sigterm(*_):
  # An exception, as of sys.exit, is lost where Python runs a callback meanwhile.
  files = sys.modules.get('jw2v.utils.files')  # what was not imported has written nothing
  if files is not None:
    files.remove_unfinished()
  os._exit(143)


def _print_ignored(ignored):
  # Of a thread that writes a checkpoint, after another one has failed: that one is told.
  if str(ignored.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(ignored)


def _end_where_orbax_waits(line):
  # Python would wait for its threads, and they for minutes: for a folder that was not made.
  if any(type(thread).__module__.startswith('orbax.') for thread in threading.enumerate()):
    print(line, file=sys.stderr, flush=True)
    os._exit(1)


def _drop_output():
  # What is left to be printed when Python exits would fail again.
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_at_sigterm(*_):
  sys.exit(143)  # which ends the processes that are waited for, and removes temporary folders


@contextlib.contextmanager
def one_line_errors(*, has_workers: bool = False) -> Iterator[None]:
  """Ends the program with one line for an error that the user can mend.

  What was half written is removed also where the process is told to end (SIGTERM). What the
  encoding of stdout lacks is escaped; a reader that has read enough, as `head`, is no error.

  Args:
    has_workers: the program waits for processes that it has started (workers.py).

  Raises:
    SystemExit: with the line and the status 1, or 143 for SIGTERM, 130 for Ctrl-C.
  """
  if not FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # JAX tells at INFO which backends it has not found
  for stream in (sys.stdout, sys.stderr):
    if stream is not None and hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')
  sys.unraisablehook = _print_ignored
  signal.signal(signal.SIGTERM, _exit_at_sigterm if has_workers else _end_at_sigterm)
  if hasattr(signal, 'SIGPIPE'):  # an error, as ever in Python; see __init__.py
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
  interrupt = signal.getsignal(signal.SIGINT)
  if interrupt == signal.SIG_DFL:  # as it was while the program was loaded, and will be again
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
