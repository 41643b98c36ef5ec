"""Words, vectors and label checks for tests of pictures."""

import warnings

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

import jw2v

LITERAL = ['$a_b^c$', '$', 'x_{', r'\frac', 'snake_case', '<&>', '%s', '{0}']
ALPHABETS = {
  'latin': 'abcdefghijklmnopqrstuvwxyz',
  'signs': '$_^\\{}%&<>#~\'"',
  'cjk': '世界和平战争黄金白银経済日本語한국어',
  'arabic': 'سلامحربذهب\u200c',
  'any': 'aé\u0301한\U0001f600\U0010fffdह\u202e\t\n\x00\ud800\u2028 ',
}


def words_of(alphabet, count, longest, seed=0):
  """Returns distinct random words, beginning with the words in `LITERAL`."""
  rng = np.random.default_rng(seed)
  words = dict.fromkeys(LITERAL)
  while len(words) < count:
    words[''.join(rng.choice(list(alphabet), rng.integers(1, longest + 1)))] = None
  return list(words)[:count]


def random_vectors(words, width=6, seed=0):
  return jw2v.KeyedVectors(words, np.random.default_rng(seed).normal(size=(len(words), width)))


def labels_of(figure):
  """Returns the texts of the visible labels, without the two lines above the picture."""
  return [text for text in figure.axes[0].texts[:-2] if text.get_visible()]


def assert_readable(figure):
  """Checks that no label overlaps another or leaves the axes, in PNG and in SVG."""
  for dpi in (figure.dpi, 72):
    figure.set_dpi(dpi)
    renderer = FigureCanvasAgg(figure).get_renderer()
    with warnings.catch_warnings(action='ignore'):  # glyphs missing from all fonts
      boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    *labels, title, note = (
      box for box, text in zip(boxes, figure.axes[0].texts, strict=True) if text.get_visible()
    )
    frame = figure.axes[0].get_window_extent(renderer)
    low, high = np.array([box.min for box in labels]), np.array([box.max for box in labels])
    assert np.isfinite(low).all() and np.isfinite(high).all()
    assert (low >= frame.min).all() and (high <= frame.max).all()
    overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    both = np.argwhere(np.triu((overlap > 0).all(axis=-1), 1))
    texts = labels_of(figure)
    assert not both.size, [(texts[i].get_text(), texts[j].get_text()) for i, j in both]
    for line in (title, note):
      assert line.x0 >= 0 and line.x1 <= figure.bbox.width
      assert line.y0 >= frame.y1 and line.y1 <= figure.bbox.height
    assert title.y0 >= note.y1
