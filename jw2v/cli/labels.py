r"""Pictures of labeled points without overlapping labels.

All lengths are in dots of the picture, so a measured size is the drawn size.

Two libraries were compared with `place_labels`. adjustText 1.4 is much slower, and leaves labels of
a crowd overlapping. textalloc 1.2 is as fast and as legible, but its public function cannot reserve
boxes (`Rings`) or take measured sizes (SVG).
"""

import pathlib
import unicodedata
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from absl import logging
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from jw2v.utils.files import atomic_write, expanded

ENDINGS = ('.png', '.svg')
LONGEST = 40  # characters of a label; the middle of a longer word is replaced by an ellipsis
_DPI = 120
_WIDTH = 1200  # dots
_GROWTH = (1, 1.2, 1.45, 1.75, 2.1, 2.5)  # factors of the width, tried until all labels fit
_MARGIN = np.array([70, 40])  # dots between the outermost points and the frame
_EDGE, _TITLE = 12, 78  # dots around the frame, and above it for the title
_REACH = 80  # largest number of dots from a point to its label, unless the label is required
_LARGEST = np.array([1100, 300])  # dots; larger texts get a smaller font
_PADDING = np.array([6, 3])  # dots around a label; SVG viewers measure text slightly differently
_FAMILIES = (  # in order of preference; matplotlib uses the first with the character
  'DejaVu Sans', 'Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans SC', 'Noto Sans JP',
  'Noto Sans KR', 'Noto Sans Devanagari', 'Noto Sans Bengali', 'Noto Sans Tamil', 'Noto Sans Thai',
  'WenQuanYi Zen Hei', 'PingFang SC', 'Hiragino Sans', 'Apple SD Gothic Neo', 'Microsoft YaHei',
  'Yu Gothic', 'Malgun Gothic', 'Nirmala UI', 'Leelawadee UI', 'Arial Unicode MS', 'Noto Emoji',
  'Segoe UI Emoji',
)  # fmt: skip
_PALETTE = matplotlib.colormaps['tab20'].colors
_PALETTE = np.array(_PALETTE[::2] + _PALETTE[1::2])  # the ten strong colors, then the pale ones


class Labels(NamedTuple):
  """Points of a picture and their words, the most important first.

  Attributes:
    words: the n words.
    points: `[n, 2]` coordinates in the same unit for both axes.
    groups: `[n]` integers, each a color; 0 is gray.
    asked: number of first words that are bold, with labels at any distance from their points.
  """

  words: Sequence[str]
  points: np.ndarray
  groups: np.ndarray
  asked: int


class Rings(NamedTuple):
  """Circles around the first point, which is at (0, 0) and has its label on it.

  Attributes:
    radii: radii in the unit of the points.
    names: labels of the circles.
  """

  radii: np.ndarray
  names: Sequence[str]


def check_path(path: str | pathlib.Path) -> str:
  """Returns the format of a picture from its file extension.

  Raises:
    ValueError: the extension is not in `ENDINGS`.
    FileNotFoundError: the folder does not exist.
  """
  path = expanded(path)
  if path.suffix.lower() not in ENDINGS:
    raise ValueError(f'the file name of a picture must end in {" or ".join(ENDINGS)}, got {path}')
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{path}: folder {path.parent} not found')
  return path.suffix.lower()[1:]


def save(figure: Figure, path: str | pathlib.Path) -> None:
  """Writes a picture atomically; the same picture gives the same bytes."""
  kind = check_path(path)
  settings = {'svg.fonttype': 'none', 'svg.hashsalt': 'jw2v'}  # text stays text, ids the same
  with atomic_write(path) as file, matplotlib.rc_context(settings), _missing_glyphs_ignored():
    figure.savefig(file, format=kind, metadata={'Date': None} if kind == 'svg' else None)


def shown(word: str) -> str:
  """Returns a word in a form that can be drawn on one line, in PNG and in XML."""
  unfit = ('Cc', 'Cn', 'Cs', 'Zl', 'Zp')  # control, none, surrogate, breaks of line
  text = ''.join('\ufffd' if unicodedata.category(c) in unfit else c for c in word)
  if not text.strip():
    return repr(text)
  half = LONGEST // 2
  return text if len(text) <= LONGEST else f'{text[: half - 1]}…{text[-half:]}'


def place_labels(
  anchors: np.ndarray,
  sizes: np.ndarray,
  frame: np.ndarray,
  reach: np.ndarray,
  taken: np.ndarray | None = None,
  avoid: np.ndarray | None = None,
) -> np.ndarray:
  """Places labels one after the other, each at the best free position near its point.

  The candidates are positions around the point at increasing distances. The best candidate is
  near, covers few points and lines, and is on the side away from the center of the frame.

  Args:
    anchors: `[n, 2]` points in dots.
    sizes: `[n, 2]` widths and heights of the labels.
    frame: `[2]` width and height of the frame, whose corner is (0, 0).
    reach: `[n]` largest distance of a label from its point.
    taken: `[m, 4]` occupied boxes: center, width and height.
    avoid: `[k, 2]` other points that labels should not cover.

  Returns:
    `[n, 2]` centers of the labels, NaN for labels that do not fit.
  """
  taken = np.zeros((0, 4)) if taken is None else taken
  avoid = anchors if avoid is None else np.concatenate([anchors, avoid])
  angles = np.pi / 8 * np.arange(16)
  sides = np.stack([np.cos(angles), np.sin(angles)], axis=1)
  square = sides / np.abs(sides).max(axis=1, keepdims=True)  # of boxes beside the point
  outward = anchors - frame / 2
  outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1)
  places = np.full(anchors.shape, np.nan)
  for i, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
    distances = 5 * 1.25 ** np.arange(1 + np.log(max(reach[i], 5) / 5) / np.log(1.25))
    middles = anchor + square * (size / 2 + distances[:, None, None])  # [distances, 16, 2]
    middles = np.clip(middles.reshape(-1, 2), size / 2, frame - size / 2)
    within = size + distances[-1] + 4  # boxes beyond this distance cannot overlap
    near = taken[(np.abs(taken[:, :2] - anchor) < within + taken[:, 2:] / 2).all(axis=-1)]
    apart = np.abs(middles[:, None] - near[:, :2]) >= (size + near[:, 2:]) / 2
    free = apart.any(axis=-1).all(axis=-1)
    if not free.any():
      continue
    gaps = np.linalg.norm(np.maximum(np.abs(middles - anchor) - size / 2, 0), axis=-1)
    around = avoid[(np.abs(avoid - anchor) < within).all(axis=-1)]
    covered = (np.abs(middles[:, None] - around) < size / 2 + 4).all(axis=-1).sum(axis=-1)
    turned = np.tile(1 - sides @ outward[i], len(distances))
    best = np.argmin(np.where(free, gaps + 15 * covered + 5 * turned, np.inf))
    places[i] = middles[best]
    taken = np.concatenate([taken, [[*middles[best], *size]]])
  return places


def draw_map(
  labels: Labels,
  title: str,
  note: str,
  links: Sequence[tuple[int, int]] = (),
  rings: Rings | None = None,
) -> Figure:
  """Draws points with labels; the picture grows until all labels fit.

  If a label does not fit in the largest picture, its point is drawn without it. The note contains
  the number of such labels.

  Args:
    labels: the points and their words.
    title: the first line above the picture.
    note: the second line.
    links: pairs of points to connect with a thin line.
    rings: circles behind the points.

  Returns:
    The figure. The unit of its axes is a dot of the picture.
  """
  figure = Figure(dpi=_DPI)
  canvas = FigureCanvasAgg(figure)
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set(xticks=[], yticks=[])
  families, missing = _families(''.join([*map(shown, labels.words), title]))
  if missing:
    logging.warning(
      'no installed font has %s, so boxes are drawn; install a Noto font (viewers of SVG have '
      'their own fonts)',
      ' '.join(missing[:20]) + (f' and {len(missing) - 20} more' if len(missing) > 20 else ''),
    )

  def write(text, size, color, weight='normal', ha='center'):
    font = {'family': families, 'fontsize': size, 'fontweight': weight, 'color': color}
    literal = {'parse_math': False, 'usetex': False}  # $ and _ are ordinary characters
    return axes.text(0, 0, text, ha=ha, va='center', zorder=4, **font, **literal)

  def measure(texts):
    """Returns the sizes of texts, `[n, 2]`, and reduces the font of texts that are too large."""
    sizes = np.zeros((len(texts), 2))
    for dpi in (72, _DPI):  # SVG is measured at 72; the width of a glyph is rounded to dots
      figure.set_dpi(dpi)
      renderer = canvas.get_renderer()
      for i, text in enumerate(texts):
        box = text.get_window_extent(renderer)
        sizes[i] = np.maximum(sizes[i], np.array([box.width, box.height]) * _DPI / dpi)
    for size, text in zip(sizes, texts, strict=True):
      if set(text.get_text()) & set(missing):  # a viewer with the glyph may draw it 1 em wide
        size[0] = max(size[0], len(text.get_text()) * text.get_fontsize() * _DPI / 72)
      shrunk = min(1, *(_LARGEST / np.maximum(size, 1)))
      text.set_fontsize(shrunk * text.get_fontsize())
      size *= shrunk
    return sizes + _PADDING

  colors = np.where(labels.groups[:, None], _PALETTE[(labels.groups - 1) % len(_PALETTE)], 0.5)
  texts = []
  for i, (word, color) in enumerate(zip(labels.words, colors, strict=True)):
    style = (12.5 if rings else 11, 0.6 * color, 'bold') if i < labels.asked else (9, 0.65 * color)
    texts.append(write(shown(word), *style))
  ring_texts = [write(name, 7.5, '0.55') for name in rings.names] if rings else []
  with _missing_glyphs_ignored():
    sizes, ring_sizes = measure(texts), measure(ring_texts)
  best, fewest = None, np.inf
  for growth in _GROWTH:
    layout = _arrange(labels, sizes, links, rings, ring_sizes, growth)
    lacking = np.isnan(layout.places[:, 0])
    if lacking.sum() < fewest:  # growing does not separate points with equal coordinates
      best, fewest = layout, lacking.sum()
    if fewest == 0:
      break
  frame, anchors, unit, places, ring_places = best

  lacking = np.isnan(places[:, 0])
  if lacking[: labels.asked].any():
    logging.warning(
      'labels do not fit: %s',
      ', '.join(w for w, no in zip(labels.words[: labels.asked], lacking, strict=False) if no),
    )
  width, height = frame[0] + 2 * _EDGE, frame[1] + _EDGE + _TITLE
  figure.set_size_inches(width / _DPI, height / _DPI)
  axes.set_position((_EDGE / width, _EDGE / height, frame[0] / width, frame[1] / height))
  axes.set(xlim=(0, frame[0]), ylim=(0, frame[1]))
  axes.spines[:].set_color('0.8')
  for text, place in zip(texts, places, strict=True):
    text.set_visible(not np.isnan(place).any())
    text.set_position(np.nan_to_num(place))
  if rings:
    for radius in unit * rings.radii:
      axes.add_patch(Circle(anchors[0], radius, fill=False, lw=0.7, ec='0.88', zorder=1))
    for text, place in zip(ring_texts, ring_places, strict=True):
      text.set_visible(not np.isnan(place).any())
      text.set_position(np.nan_to_num(place))
      text.set_bbox({'facecolor': 'white', 'edgecolor': 'none', 'pad': 0.5})
  lines = [(anchors[i], anchors[j]) for i, j in links]
  axes.add_collection(LineCollection(lines, colors='0.8', linewidths=0.8, zorder=2))
  axes.scatter(*anchors[bool(rings) :].T, c=colors[bool(rings) :], s=16, zorder=3, linewidths=0)
  # A line connects a point with the nearest corner or side of a distant label.
  half = sizes / 2 - _PADDING / 2
  ends = np.clip(anchors, places - half, places + half)
  far = np.linalg.norm(ends - anchors, axis=1) > 12
  leaders = [(anchors[i], ends[i]) for i in np.flatnonzero(far)]
  axes.add_collection(
    LineCollection(leaders, colors=0.5 + 0.5 * colors[far], linewidths=0.6, zorder=2)
  )
  if lacking.any():
    note += f'; {lacking.sum()} labels do not fit'
  for text, size, color, weight, height in (
    (title, 12.5, '0.15', 'bold', 50), (note, 9.5, '0.4', 'normal', 18)
  ):  # fmt: skip
    line = write(text, size, color, weight, ha='left')
    line.set_position((2, frame[1] + height))
    with _missing_glyphs_ignored():
      measure([line])
  return figure


class _Layout(NamedTuple):
  frame: np.ndarray  # [2] in dots, as all of these
  anchors: np.ndarray  # [n, 2]
  unit: float  # dots of one unit of the points
  places: np.ndarray  # [n, 2], the centers of the labels; NaN for labels that do not fit
  ring_places: np.ndarray  # [rings, 2]


def _arrange(labels, sizes, links, rings, ring_sizes, growth) -> _Layout:
  """Returns the layout of a picture whose size is multiplied by `growth`."""
  frame, anchors, unit = _fit(labels.points, growth, rings)
  taken, ring_places, first = np.zeros((0, 4)), np.zeros((0, 2)), 0
  if rings:  # the label of the first point is on it, and the labels of the rings are in a row
    taken, first = np.hstack([anchors[:1], sizes[:1]]), 1
    ring_places = _ring_places(anchors, unit * rings.radii, ring_sizes, taken)
    taken = np.concatenate([taken, np.hstack([ring_places, ring_sizes])])
    taken = taken[~np.isnan(taken).any(axis=1)]
  steps = 4000 // max(len(links), 100)  # points per line that labels avoid
  along = [np.linspace(anchors[i], anchors[j], steps + 2) for i, j in links]
  along = np.concatenate([np.zeros((0, 2)), *along])
  reach = np.where(np.arange(len(anchors)) < labels.asked, np.hypot(*frame), _REACH)
  places = anchors.copy()
  places[first:] = place_labels(anchors[first:], sizes[first:], frame, reach[first:], taken, along)
  return _Layout(frame, anchors, unit, places, ring_places)


def _fit(
  points: np.ndarray, growth: float, rings: Rings | None
) -> tuple[np.ndarray, np.ndarray, float]:
  """Returns the frame `[2]` of a picture, its points in dots, and the dots per unit."""
  around = points
  if rings:
    around = np.concatenate(
      [points, rings.radii[:, None] * [1, 1], rings.radii[:, None] * [-1, -1]]
    )
  low, high = around.min(axis=0), around.max(axis=0)
  extent = np.maximum(high - low, 1e-12)
  frame = np.array([_WIDTH, _WIDTH * np.clip(extent[1] / extent[0], 0.6, 0.85)]) * growth
  unit = ((frame - 2 * _MARGIN) / extent).min()
  if (high == low).all():
    unit = 1.0
  return frame, frame / 2 + unit * (points - (low + high) / 2), unit


def _ring_places(
  anchors: np.ndarray, radii: np.ndarray, sizes: np.ndarray, taken: np.ndarray
) -> np.ndarray:
  """Returns the positions of the labels of rings, `[rings, 2]`, in a row far from the points."""
  angles = np.pi / 36 * np.arange(72)
  rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
  rows = anchors[0] + radii[:, None] * rays[:, None]  # [72, rings, 2]
  gaps = np.linalg.norm(rows[:, :, None] - anchors, axis=-1).min(axis=(1, 2))
  free = (np.abs(rows - taken[0, :2]) >= (sizes + taken[0, 2:]) / 2).any(axis=-1).sum(axis=1)
  row = rows[np.lexsort((gaps, free))[-1]]  # not over the word, then far from the points
  boxes = np.concatenate([taken, np.hstack([row, sizes])])
  for i in range(len(row)):  # drops labels over the word or over the label of another ring
    before = boxes[: len(taken) + i]
    apart = np.abs(row[i] - before[:, :2]) >= (sizes[i] + before[:, 2:]) / 2
    if not apart.any(axis=-1)[~np.isnan(before[:, 0])].all():
      boxes[len(taken) + i, :2] = np.nan
  return boxes[len(taken) :, :2]


def _families(text: str) -> tuple[list[str], str]:
  """Returns the installed fonts that a text needs, and its characters without a font."""
  installed, left, families = set(font_manager.get_font_names()), set(text), []
  for family in _FAMILIES:
    if family in installed and (left or not families):
      path = font_manager.findfont(family)
      has = {c for c in left if ord(c) in font_manager.get_font(path).get_charmap()}
      if has or not families:
        families.append(family)
      left -= has
  invisible = ('Cf', 'Zs')
  return families, ''.join(sorted(c for c in left if unicodedata.category(c) not in invisible))


def _missing_glyphs_ignored() -> warnings.catch_warnings:
  """Suppresses the warnings of matplotlib about characters without a font."""
  return warnings.catch_warnings(action='ignore', category=UserWarning)
