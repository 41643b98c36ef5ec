"""Formatting of tables and spreads."""

from jw2v.cli import tables


class TestTables:
  def test_columns_are_aligned(self):
    table = tables.markdown_table([['', 'long title', 'b'], ['name', '1', '22.50']])
    assert table == (
      '|      | long title |     b |\n| ---- | ---------: | ----: |\n| name |          1 | 22.50 |'
    )

  def test_spread(self):
    assert tables.spread([3.0, 1.0, 1000.0], ',.1f') == '3.0 (1.0..1,000.0)'
    assert tables.spread([float('nan')], '.2f') == '-'
