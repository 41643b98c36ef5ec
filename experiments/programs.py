"""What all programs do alike when something is wrong.

What belongs here: turning errors, signals and closed streams into what a shell expects.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from experiments.pages import one_line


def _end_at_sigterm(*_):
  # An exception, as of sys.exit, is lost where Python runs a callback meanwhile.
  files = sys.modules.get('jw2v.files')  # what was not imported has written nothing
  if files is not None:
    files.remove_unfinished()
  os._exit(143)


def _print_error(kind, error, trace):
  # Of a thread that writes a checkpoint, after another one has failed: that one is told.
  if kind is not RuntimeError or str(error) != 'Event loop is closed':
    sys.__excepthook__(kind, error, trace)


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
  for stream in (sys.stdout, sys.stderr):
    if stream is not None and hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')
  sys.excepthook = _print_error
  signal.signal(signal.SIGTERM, _exit_at_sigterm if has_workers else _end_at_sigterm)
  interrupt = signal.getsignal(signal.SIGINT)
  if interrupt == signal.SIG_DFL:  # as it was while the program was loaded, and will be again
    signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    yield
  except BrokenPipeError:
    # What is left to be printed when Python exits would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  except KeyboardInterrupt:
    raise SystemExit(130) from None
  except (ValueError, OSError, ImportError, FloatingPointError, KeyError, MemoryError) as error:
    message = error.args[0] if isinstance(error, KeyError) else error  # its str() has quotes
    raise SystemExit(f'error: {one_line(message)}') from error
  finally:
    signal.signal(signal.SIGINT, interrupt)
