"""Modules of the repository, read from its tree, for tests over all modules."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]
LIBRARY = ROOT / 'jw2v'
PACKAGES = sorted(path.parent.name for path in LIBRARY.glob('*/__init__.py'))


def modules(private=False):
  """Returns the dotted names of the library's modules, without packages."""
  paths = sorted(LIBRARY.rglob('*.py'))
  names = ['.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in paths]
  names = [name for name in names if not name.endswith('.__init__')]
  return [name for name in names if private or '._' not in name]
