"""Runs `jw2v convert`, whose help has examples: python -m experiments.convert --help."""

import sys

from jw2v.cli.main import main

if __name__ == '__main__':
  sys.exit(main(['convert', *sys.argv[1:]]))
