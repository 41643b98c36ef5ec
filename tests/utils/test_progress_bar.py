"""Progress bars: lines for outputs without bars, and notebooks."""

import sys
import types

from jw2v.utils import progress_bar


class TestLines:
  def test_become_rarer(self, capsys, monkeypatch):
    """Prints lines after 5, 15 and 35 seconds, and then at most once a minute."""
    now = 0.0
    monkeypatch.setattr(progress_bar.time, 'monotonic', lambda: now)
    bar = progress_bar.progress_bar(1000, ' words', 'training')
    times = []
    for second in range(1, 300):
      now = float(second)
      bar.update(1)
      if capsys.readouterr().err:
        times.append(second)
    assert times == [5, 15, 35, 75, 135, 195, 255]


class TestNotebook:
  def test_has_a_bar(self, monkeypatch):
    """Shows a bar in a cell, whose stream is not a terminal."""
    stream = types.new_class('OutStream')()
    type(stream).__module__ = 'ipykernel.iostream'
    stream.isatty = lambda: False
    assert not progress_bar.shows_bars()
    monkeypatch.setattr(sys, 'stderr', stream)
    assert progress_bar.shows_bars()
