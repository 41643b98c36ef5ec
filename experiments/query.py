"""Runs `jw2v query`, whose help has examples: python -m experiments.query --help."""

import sys

from jw2v.cli.main import main

if __name__ == '__main__':
  sys.exit(main(['query', *sys.argv[1:]]))
