r"""Draws word vectors: a map of several words, or the neighborhood of one word.

A map has words with their nearest neighbors, each group in its own color. Nearby words are
similar, as far as two dimensions can show it:

  jw2v plot vectors.txt --words war,taxes,mexico --output words.png

A neighborhood has one word with its nearest neighbors around it, at the exact distance 1 - cosine:

  jw2v plot vectors.txt --neighborhood gold --neighbors 40 --output gold.svg

A map as a web page has thousands of words to pan, zoom and search, with neighbors on a click; it is
one file that needs no network:

  jw2v plot vectors.txt --html map.html

The extension of --output selects PNG or SVG. Labels never overlap: the picture grows until they
fit, and its second line has the number of labels that do not. The program warns about unknown words
and skips them. t-SNE (--method=tsne) separates groups better than the first two principal
components, but its distances between groups have no meaning.
"""

import importlib.util
import pathlib
from typing import Any

import numpy as np
from absl import logging
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage

import jw2v
from jw2v.cli import labels, vectors
from jw2v.cli.arguments import Parser, natural, positive, words
from jw2v.cli.html_map import html_map
from jw2v.cli.query import known
from jw2v.utils.files import check_output

METHODS = {'pca': 'first two principal components', 'tsne': 't-SNE'}


def principal_components(vectors: np.ndarray, count: int = 2) -> np.ndarray:
  """Projects rows onto the directions with the largest variance.

  Args:
    vectors: `[n, D]`.
    count: number of directions.

  Returns:
    `[n, count]`, padded with zeros if the vectors have fewer directions.
  """
  centered = vectors - vectors.mean(axis=0)
  _, _, directions = np.linalg.svd(centered, full_matrices=False)
  projected = centered @ directions[:count].T
  return np.pad(projected, [(0, 0), (0, count - projected.shape[1])])


def tsne(vectors: np.ndarray) -> np.ndarray:
  r"""Places unit vectors in the plane by t-SNE, deterministically.

  t-SNE compares squared distances. Between unit vectors these are

  .. math:: |u - v|^2 = 2 (1 - \cos(u, v)).

  Args:
    vectors: `[n, D]`, each of length 1.

  Returns:
    `[n, 2]`. Fewer than four rows are placed by their principal components.

  Raises:
    ImportError: scikit-learn is not installed.
  """
  _check_method('tsne')
  from sklearn.manifold import TSNE  # takes a second

  start = principal_components(vectors)
  if len(vectors) < 4:  # a perplexity, at least 1, must be well below their number
    return start
  return TSNE(
    perplexity=min(30, (len(vectors) - 1) / 3),
    init=1e-4 * start / (start.std() or 1),  # as scikit-learn scales it
    method='exact' if len(vectors) < 300 else 'barnes_hut',
    random_state=0,
  ).fit_transform(vectors)


def words_figure(
  kv: jw2v.KeyedVectors, words: list[str], neighbors: int = 5, method: str = 'pca'
) -> Figure:
  """Returns the figure of `draw_words`."""
  words = list(dict.fromkeys(words))
  known = [word for word in words if word in kv]
  if not known:
    raise ValueError(f'none of the words is in the vocabulary: {", ".join(words)}')
  if len(known) < len(words):
    logging.warning('unknown words are skipped: %s', ', '.join(w for w in words if w not in kv))
  group_of: dict[str, int] = {word: i for i, word in enumerate(known)}
  for i, word in enumerate(known):
    for neighbor, _ in kv.most_similar(word, topn=neighbors):
      group_of.setdefault(neighbor, i)
  names = list(group_of)
  units = _units(kv, names)
  points = principal_components(units) if method == 'pca' else tsne(units)
  marked = labels.Labels(names, points, 1 + np.array(list(group_of.values())), len(known))
  title = f'{len(known)} word{"s" * (len(known) > 1)}'
  if neighbors:
    title += f' and the nearest {neighbors} of each'
  return labels.draw_map(
    marked, title, f'{len(names)} of {len(kv):,} words; {METHODS[method]} of their unit vectors'
  )


def draw_words(
  kv: jw2v.KeyedVectors,
  words: list[str],
  path: str | pathlib.Path,
  neighbors: int = 5,
  *,
  method: str = 'pca',
) -> None:
  """Draws a map of words with their nearest neighbors from their unit vectors.

  Args:
    kv: the vectors.
    words: words to draw; unknown words are skipped with a warning.
    path: the picture, with the extension .png or .svg.
    neighbors: number of nearest neighbors to draw with each word.
    method: one of `METHODS`, for the projection to two dimensions.

  Raises:
    ValueError: none of the words is known, or the method or the extension is unknown.
    FileNotFoundError: the folder of the picture does not exist.
    ImportError: scikit-learn, which t-SNE needs, is not installed.
  """
  labels.check_path(path)
  _check_method(method)
  labels.save(words_figure(kv, words, neighbors, method), path)


def around(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  r"""Arranges directions on a circle with similar ones side by side, and clusters them.

  Ward's method builds a tree of the directions, and an optimal leaf ordering puts similar leaves
  side by side. Half of the circle is divided evenly, and half in proportion to the difference of
  adjacent leaves.

  Args:
    residuals: `[n, D]`, each of length 1 or 0.

  Returns:
    Angles `[n]`, the first one upward, and cluster numbers `[n]`; 0 is a cluster of one.
  """
  count = len(residuals)
  if count < 2:
    return np.full(count, np.pi / 2), np.zeros(count, int)
  tree = linkage(residuals, 'ward', optimal_ordering=True)
  order = leaves_list(tree)
  order = np.roll(order, -int(np.argmin(order)))  # starts with row 0
  gaps = np.linalg.norm(residuals[order] - residuals[np.roll(order, -1)], axis=1)
  gaps += gaps.mean() + 1e-6
  angles = np.empty(count)
  angles[order] = np.pi / 2 - 2 * np.pi * (np.cumsum(gaps) - gaps) / gaps.sum()
  groups = fcluster(tree, np.clip(round(count / 5), 1, 10), 'maxclust')
  return angles, np.where(np.bincount(groups)[groups] > 1, groups, 0)


def neighborhood_figure(kv: jw2v.KeyedVectors, word: str, neighbors: int = 30) -> Figure:
  """Returns the figure of `draw_neighborhood`."""
  names = [word, *(neighbor for neighbor, _ in kv.most_similar(word, topn=neighbors))]
  units = _units(kv, names)
  center, others = units[0], units[1:]
  cosines = others @ center  # [n]
  distances = np.maximum(1 - cosines, 0)
  residuals = others - cosines[:, None] * center
  norms = np.linalg.norm(residuals, axis=1, keepdims=True)
  residuals = np.where(norms > 1e-6, residuals / np.maximum(norms, 1e-6), 0)
  angles, groups = around(residuals)
  points = distances[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
  links = set()
  for i in np.flatnonzero(groups):
    mates = np.flatnonzero(groups == groups[i])
    mates = mates[mates != i]
    nearest = mates[np.argmax(residuals[mates] @ residuals[i])]
    links.add((1 + min(i, nearest), 1 + max(i, nearest)))  # the word itself is point 0
  outer = max(distances.max(initial=0), 0.01)
  ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, outer)
  radii = ticks[(ticks > 0) & (ticks < 1.1 * outer)]
  return labels.draw_map(
    labels.Labels(names, np.concatenate([np.zeros((1, 2)), points]), np.append(0, groups), 1),
    f'{labels.shown(word)}: the nearest {len(others)} of {len(kv):,} words',
    'rings: cosine with the central word; colors: clusters of the differences from it, each word '
    'joined to the most similar one',
    sorted(links),
    labels.Rings(radii, [f'{1 - radius:.6g}' for radius in radii]),
  )


def draw_neighborhood(
  kv: jw2v.KeyedVectors, word: str, path: str | pathlib.Path, neighbors: int = 30
) -> None:
  r"""Draws a word with its nearest neighbors around it.

  A neighbor with unit vector u is at the distance 1 - cos(u, w) from the word w. Neighbors side by
  side differ from the word in similar ways; their residuals are similar:

  .. math:: r = u - (u^\top w)\,w.

  Args:
    kv: the vectors.
    word: the central word.
    path: the picture, with the extension .png or .svg.
    neighbors: number of nearest neighbors to draw.

  Raises:
    KeyError: the word is unknown.
    ValueError: the extension is unknown, or a vector is not finite.
    FileNotFoundError: the folder of the picture does not exist.
  """
  labels.check_path(path)
  labels.save(neighborhood_figure(kv, word, neighbors), path)


def _units(kv: jw2v.KeyedVectors, words: list[str]) -> np.ndarray:
  """Returns unit vectors, `[n, D]` in float64; zero vectors stay zero."""
  vectors = kv[words].astype(np.float64)
  unsound = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
  if unsound.size:
    raise ValueError(f'the vector of {words[unsound[0]]!r} is not finite')
  norms = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.where(norms > 0, norms, 1)


def _check_method(method: str) -> None:
  if method not in METHODS:
    raise ValueError(f'method must be one of {", ".join(map(repr, METHODS))}; got {method!r}')
  if method == 'tsne' and importlib.util.find_spec('sklearn') is None:
    raise ImportError("t-SNE needs scikit-learn: pip install 'jw2v[plot]'")


def run(values: Any) -> None:
  """Draws the picture that the arguments describe, and checks them before reading the vectors."""
  path = vectors.named(values)
  if values.html is not None:
    _run_html(path, values)
    return
  if bool(values.words) == bool(values.neighborhood):
    raise ValueError(
      'exactly one of --words a,b,c and --neighborhood word is required, or --html map.html'
    )
  if values.neighborhood and values.method is not None:
    raise ValueError('--method needs --words; it does not apply to --neighborhood')
  method = values.method or 'pca'
  labels.check_path(values.output)
  _check_method(method)
  kv = vectors.load(path, values.max_expansion)
  if values.words:
    neighbors = 5 if values.neighbors is None else values.neighbors
    chosen = [known(kv, word) if word.lower() in kv else word for word in values.words]
    draw_words(kv, chosen, values.output, neighbors, method=method)
  else:
    neighbors = 30 if values.neighbors is None else values.neighbors
    draw_neighborhood(kv, known(kv, values.neighborhood), values.output, neighbors)
  print(f'picture: {values.output}')


def _run_html(path: str, values: Any) -> None:
  """Writes the map of the most frequent words, or of --words with their neighbors."""
  if values.neighborhood:
    raise ValueError('--html and --neighborhood must not be given together')
  check_output(values.html)
  method = values.method or 'pca'
  _check_method(method)
  kv = vectors.load(path, values.max_expansion)
  neighbors = 10 if values.neighbors is None else values.neighbors
  if values.words:
    found = [known(kv, word) for word in values.words]
    near = [word for each in found for word, _ in kv.most_similar(each, topn=neighbors)]
    chosen = list(dict.fromkeys([*found, *near]))
  else:
    chosen = kv.index_to_key[: values.most]
  units = _units(kv, chosen)
  points = principal_components(units) if method == 'pca' else tsne(units)
  html_map(
    kv, chosen, points, values.html, neighbors=neighbors, title=pathlib.Path(path).name,
    note=f'{len(chosen):,} of {len(kv):,} words; {METHODS[method]} of their unit vectors',
  )  # fmt: skip
  print(f'map: {values.html}')


def add_arguments(parser: Parser) -> None:
  """Adds the arguments of the command."""
  vectors.add_arguments(parser)
  parser.add(
    '--words', kind=words, metavar='WORDS',
    help='words to draw with their neighbors, separated by commas',
  )  # fmt: skip
  parser.add('--neighborhood', metavar='WORD', help='word whose neighborhood to draw')
  parser.add(
    '--neighbors', kind=natural, metavar='N',
    help='number of nearest words to draw (default: 5 for each of --words, 30 for --neighborhood)',
  )  # fmt: skip
  parser.add(
    '--method', choices=list(METHODS),
    help='projection of --words to the plane: principal components (default) or t-SNE',
  )  # fmt: skip
  parser.add('--html', metavar='FILE', help='web page to write, with a map of many words')
  parser.add(
    '--most', kind=positive, default=5000, metavar='N',
    help='number of first words in the web page (default: %(default)s)',
  )  # fmt: skip
  parser.add(
    '--output', default='words.png', metavar='FILE',
    help='picture to write, .png or .svg (default: %(default)s)',
  )  # fmt: skip
