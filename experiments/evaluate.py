"""Runs `jw2v evaluate`, whose help has examples: python -m experiments.evaluate --help."""

import sys

from jw2v.cli.main import main

if __name__ == '__main__':
  sys.exit(main(['evaluate', *sys.argv[1:]]))
