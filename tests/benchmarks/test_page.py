"""The pages of benchmarks: tables, spreads, and what is said of the machine."""

import re

from experiments import tables


class TestTables:
  def test_columns_are_aligned(self):
    table = tables.markdown_table([['', 'long title', 'b'], ['name', '1', '22.50']])
    assert table == (
      '|      | long title |     b |\n| ---- | ---------: | ----: |\n| name |          1 | 22.50 |'
    )

  def test_spread(self):
    assert tables.spread([3.0, 1.0, 1000.0], ',.1f') == '3.0 (1.0..1,000.0)'
    assert tables.spread([float('nan')], '.2f') == '-'


class TestEnvironment:
  def test_names_what_is_installed(self, monkeypatch):
    monkeypatch.setattr('sys.argv', ['page.py', '--text=my text'])
    page = tables.environment('experiments.page', ['numpy', 'no_such_package'], 'a device')
    assert re.search(r'^- machine: .+, cores: \d+; JAX on a device$', page, re.M)
    assert re.search(r'^- versions: Python \d+\.\S+, numpy \d\S+$', page, re.M)
    assert page.endswith("- command: `python -m experiments.page '--text=my text'`")
