"""Programs around the library: they read flags and configs, and call `jw2v`."""

import importlib.util
import signal
import sys

if sys.argv[:1] == ['-m'] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
  # As the module of a program is loaded: Ctrl-C ends it without a traceback of its imports.
  signal.signal(signal.SIGINT, signal.SIG_DFL)
for _name in ('matplotlib', 'ml_collections', 'tqdm'):
  if importlib.util.find_spec(_name) is None:
    raise SystemExit(f"error: {_name} is missing: pip install 'jw2v[experiments]'")
