r"""Pictures of labelled points, in which no label overlaps another.

What belongs here: where points and labels go, how they are drawn, and the file; nothing
about where the points are from. Everything is laid out in dots of the picture, so what
is measured is what is drawn.
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

from jw2v.utils.files import atomic_write

ENDINGS = ('.png', '.svg')
LONGEST = 40  # characters of a label; of longer words the middle is left out
_DPI = 120
_WIDTH = 1200  # dots of a picture where all labels find room
_GROWTH = (1, 1.2, 1.45, 1.75, 2.1, 2.5)  # of the picture, until they do
_MARGIN = np.array([70, 40])  # dots between the outermost points and the frame
_EDGE, _TITLE = 12, 78  # dots around the frame, and above it for the title
_REACH = 80  # dots from a point to its label, at most, unless the label must be drawn
_LARGEST = np.array([1100, 300])  # dots of a text; what is larger is written smaller
_PADDING = np.array([6, 3])  # dots around a label; also for what SVG viewers measure otherwise
_FAMILIES = (  # the first that has a character draws it; those not installed are passed over
  'DejaVu Sans', 'Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans SC', 'Noto Sans JP',
  'Noto Sans KR', 'Noto Sans Devanagari', 'Noto Sans Bengali', 'Noto Sans Tamil', 'Noto Sans Thai',
  'WenQuanYi Zen Hei', 'PingFang SC', 'Hiragino Sans', 'Apple SD Gothic Neo', 'Microsoft YaHei',
  'Yu Gothic', 'Malgun Gothic', 'Nirmala UI', 'Leelawadee UI', 'Arial Unicode MS', 'Noto Emoji',
  'Segoe UI Emoji',
)  # fmt: skip
_PALETTE = matplotlib.colormaps['tab20'].colors
_PALETTE = np.array(_PALETTE[::2] + _PALETTE[1::2])  # the ten strong colours, then the pale ones


class Labels(NamedTuple):
  """The points of a picture and their words, the most important first."""

  words: Sequence[str]  # n of them
  points: np.ndarray  # [n, 2], in any unit, the same one for both axes
  groups: np.ndarray  # [n] integers from 1 on, each a colour; 0 is gray
  asked: int  # so many of the first are bold, and are drawn wherever there is room


class Rings(NamedTuple):
  """Circles around (0, 0), where the first point is, with its label in the middle of it."""

  radii: np.ndarray  # in the unit of the points
  names: Sequence[str]


def check_path(path: str | pathlib.Path) -> str:
  """The format of a picture, from the ending of its name.

  Raises:
    ValueError: it is none of `ENDINGS`.
    FileNotFoundError: the folder does not exist.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() not in ENDINGS:
    raise ValueError(f'{path}: the name of a picture must end in {" or ".join(ENDINGS)}')
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{path}: there is no folder {path.parent}')
  return path.suffix.lower()[1:]


def save(figure: Figure, path: str | pathlib.Path) -> None:
  """Writes a picture, whole or not at all; the same picture gives the same bytes."""
  kind = check_path(path)
  settings = {'svg.fonttype': 'none', 'svg.hashsalt': 'jw2v'}  # text stays text, ids the same
  with atomic_write(path) as file, matplotlib.rc_context(settings), _missing_glyphs_ignored():
    figure.savefig(file, format=kind, metadata={'Date': None} if kind == 'svg' else None)


def shown(word: str) -> str:
  """A word as it can be drawn on one line, in PNG and in XML."""
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
  """Finds each label the best free place near its point, one after the other.

  The places tried are around the point, ever further away. The best one is near, covers no
  point or line, and is on the side that looks away from the middle of the frame.

  Args:
    anchors: `[n, 2]`, the points, in dots.
    sizes: `[n, 2]`, widths and heights of the labels.
    frame: `[2]`, its width and height; one corner is (0, 0).
    reach: `[n]`, how far from its point a label may be.
    taken: `[m, 4]`, boxes that are not free: middle, width and height.
    avoid: `[k, 2]`, other points that are better not covered.

  Returns:
    `[n, 2]`, the middles of the labels; NaN for those that have no place.
  """
  taken = np.zeros((0, 4)) if taken is None else taken
  avoid = anchors if avoid is None else np.concatenate([anchors, avoid])
  angles = np.pi / 8 * np.arange(16)
  sides = np.stack([np.cos(angles), np.sin(angles)], axis=1)
  square = sides / np.abs(sides).max(axis=1, keepdims=True)  # a box in each lies beside its point
  outward = anchors - frame / 2
  outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1)
  places = np.full(anchors.shape, np.nan)
  for i, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
    distances = 5 * 1.25 ** np.arange(1 + np.log(max(reach[i], 5) / 5) / np.log(1.25))
    middles = anchor + square * (size / 2 + distances[:, None, None])  # [distances, 16, 2]
    middles = np.clip(middles.reshape(-1, 2), size / 2, frame - size / 2)
    within = size + distances[-1] + 4  # what is further from the point is in no way
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
  """Draws points with their labels, in a picture as large as the labels need.

  Where even the largest picture has no room for a label, its point is drawn without it,
  and the note says how many these are.

  Args:
    labels: what is drawn.
    title: the first line above the picture.
    note: the second line.
    links: pairs of points that a thin line joins.
    rings: drawn behind the points.

  Returns:
    The figure; its only axes have dots of the picture as their unit.
  """
  figure = Figure(dpi=_DPI)
  canvas = FigureCanvasAgg(figure)
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set(xticks=[], yticks=[])
  families, missing = _families(''.join([*map(shown, labels.words), title]))
  if missing:
    logging.warning(
      'no installed font has %s: drawn as boxes; a Noto font has them (in SVG, the viewer draws '
      'them with its own)',
      ' '.join(missing[:20]) + (f' and {len(missing) - 20} more' if len(missing) > 20 else ''),
    )

  def write(text, size, color, weight='normal', ha='center'):
    font = {'family': families, 'fontsize': size, 'fontweight': weight, 'color': color}
    literal = {'parse_math': False, 'usetex': False}  # $ and _ are characters like others
    return axes.text(0, 0, text, ha=ha, va='center', zorder=4, **font, **literal)

  def measure(texts):
    """`[n, 2]`, the sizes of texts; those too large are written smaller."""
    sizes = np.zeros((len(texts), 2))
    for dpi in (72, _DPI):  # SVG is measured at 72, and glyphs are as wide as whole dots
      figure.set_dpi(dpi)
      renderer = canvas.get_renderer()
      for i, text in enumerate(texts):
        box = text.get_window_extent(renderer)
        sizes[i] = np.maximum(sizes[i], np.array([box.width, box.height]) * _DPI / dpi)
    for size, text in zip(sizes, texts, strict=True):
      if set(text.get_text()) & set(missing):  # a viewer may draw these, as wide as an em
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
    if lacking.sum() < fewest:  # or growing does not help: points at one place never part
      best, fewest = layout, lacking.sum()
    if fewest == 0:
      break
  frame, anchors, unit, places, ring_places = best

  lacking = np.isnan(places[:, 0])
  if lacking[: labels.asked].any():
    logging.warning(
      'no room for the labels of: %s',
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
  # A label away from its point has a line to it: from the point to the nearest of its box.
  half = sizes / 2 - _PADDING / 2
  ends = np.clip(anchors, places - half, places + half)
  far = np.linalg.norm(ends - anchors, axis=1) > 12
  leaders = [(anchors[i], ends[i]) for i in np.flatnonzero(far)]
  axes.add_collection(
    LineCollection(leaders, colors=0.5 + 0.5 * colors[far], linewidths=0.6, zorder=2)
  )
  if lacking.any():
    note += f'; {lacking.sum()} labels left out for want of room'
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
  places: np.ndarray  # [n, 2], the middles of the labels; NaN where there is no room
  ring_places: np.ndarray  # [rings, 2]


def _arrange(labels, sizes, links, rings, ring_sizes, growth) -> _Layout:
  """Where everything is in a picture that has grown so much."""
  frame, anchors, unit = _fit(labels.points, growth, rings)
  taken, ring_places, first = np.zeros((0, 4)), np.zeros((0, 2)), 0
  if rings:  # the label of the first point stands on it, those of the rings in a row
    taken, first = np.hstack([anchors[:1], sizes[:1]]), 1
    ring_places = _ring_places(anchors, unit * rings.radii, ring_sizes, taken)
    taken = np.concatenate([taken, np.hstack([ring_places, ring_sizes])])
    taken = taken[~np.isnan(taken).any(axis=1)]
  steps = 4000 // max(len(links), 100)  # points of a line that labels avoid
  along = [np.linspace(anchors[i], anchors[j], steps + 2) for i, j in links]
  along = np.concatenate([np.zeros((0, 2)), *along])
  reach = np.where(np.arange(len(anchors)) < labels.asked, np.hypot(*frame), _REACH)
  places = anchors.copy()
  places[first:] = place_labels(anchors[first:], sizes[first:], frame, reach[first:], taken, along)
  return _Layout(frame, anchors, unit, places, ring_places)


def _fit(
  points: np.ndarray, growth: float, rings: Rings | None
) -> tuple[np.ndarray, np.ndarray, float]:
  """The frame `[2]` of a picture, its points in dots, and the dots of one unit of theirs."""
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
  """Where the labels of the rings go, `[rings, 2]`: in a row, where the points leave most room."""
  angles = np.pi / 36 * np.arange(72)
  rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
  rows = anchors[0] + radii[:, None] * rays[:, None]  # [72, rings, 2]
  gaps = np.linalg.norm(rows[:, :, None] - anchors, axis=-1).min(axis=(1, 2))
  free = (np.abs(rows - taken[0, :2]) >= (sizes + taken[0, 2:]) / 2).any(axis=-1).sum(axis=1)
  row = rows[np.lexsort((gaps, free))[-1]]  # first of all, beside the word
  boxes = np.concatenate([taken, np.hstack([row, sizes])])
  for i in range(len(row)):  # those under the word, or under the ring before, are left out
    before = boxes[: len(taken) + i]
    apart = np.abs(row[i] - before[:, :2]) >= (sizes[i] + before[:, 2:]) / 2
    if not apart.any(axis=-1)[~np.isnan(before[:, 0])].all():
      boxes[len(taken) + i, :2] = np.nan
  return boxes[len(taken) :, :2]


def _families(text: str) -> tuple[list[str], str]:
  """The installed ones of `_FAMILIES` that a text needs, and its characters that none has."""
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
  """A context in which matplotlib is silent about characters that no font has."""
  return warnings.catch_warnings(action='ignore', category=UserWarning)
