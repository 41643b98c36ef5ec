"""Programs around the library: they read flags and configs, and call `jw2v`."""

import importlib.util
import signal
import sys

if sys.argv[:1] == ['-m']:  # as the module of a program is loaded
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: without a traceback of its imports
  if hasattr(signal, 'SIGPIPE'):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # and --help | head: without one of its own
for _name in ('matplotlib', 'ml_collections', 'tqdm'):
  if importlib.util.find_spec(_name) is None:
    raise SystemExit(f"error: {_name} is missing: pip install 'jw2v[experiments]'")
