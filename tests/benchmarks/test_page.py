"""Benchmark pages: the description of the machine."""

import re

from benchmarks import page


class TestEnvironment:
  def test_lists_installed_packages(self, monkeypatch):
    monkeypatch.setattr('sys.argv', ['page.py', '--text=my text'])
    lines = page.environment('experiments.page', ['numpy', 'no_such_package'], 'a device')
    assert re.search(r'^- machine: .+, cores: \d+; JAX on a device$', lines, re.M)
    assert re.search(r'^- versions: Python \d+\.\S+, numpy \d\S+$', lines, re.M)
    assert lines.endswith("- command: `python -m experiments.page '--text=my text'`")
