"""Runs `jw2v plot`, whose help has examples: python -m experiments.plot --help."""

import sys

from jw2v.cli.main import main

if __name__ == '__main__':
  sys.exit(main(['plot', *sys.argv[1:]]))
