"""Runs the program `jw2v`: python -m jw2v COMMAND ..."""

import sys

from jw2v.cli.main import main

if __name__ == '__main__':
  sys.exit(main())
