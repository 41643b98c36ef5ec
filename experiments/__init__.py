"""Programs around the library: they read flags and configs, and call `jw2v`."""

import importlib.util

for _name in ('matplotlib', 'ml_collections', 'tqdm'):
  if importlib.util.find_spec(_name) is None:
    raise SystemExit(f"error: {_name} is missing: pip install 'jw2v[experiments]'")
