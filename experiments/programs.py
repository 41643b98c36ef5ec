"""What all programs do alike when something is wrong.

What belongs here: turning errors, signals and closed streams into what a shell expects.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from jw2v.files import remove_unfinished


def _end(*_):
  # An exception, as of sys.exit, is lost where Python runs a callback meanwhile.
  remove_unfinished()
  os._exit(143)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
  """Ends the program with one line for an error that the user can mend.

  What was half written is removed also where the process is told to end (SIGTERM). What the
  encoding of stdout lacks is escaped; a reader that has read enough, as `head`, is no error.

  Raises:
    SystemExit: with the line and the status 1, or 143 for SIGTERM, 130 for Ctrl-C.
  """
  for stream in (sys.stdout, sys.stderr):
    if stream is not None and hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')
  signal.signal(signal.SIGTERM, _end)
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
    raise SystemExit(f'error: {" ".join(str(message).split())}') from error
  finally:
    signal.signal(signal.SIGINT, interrupt)
