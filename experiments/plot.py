r"""Draws word vectors: chosen words in the plane, or the neighbourhood of one word.

Words with their nearest words, each group in its own colour; what is near in the picture
is alike, as far as two dimensions can show it:

  python -m experiments.plot --vectors=runs/quickstart/vectors.txt \
    --words=war,taxes,mexico --output=words.png

The words nearest to one word, around it; how far they are from it is 1 - cosine, exactly:

  python -m experiments.plot --vectors=runs/quickstart/vectors.txt \
    --neighborhood=gold --neighbors=40 --output=gold.svg

The picture is PNG or SVG, by the ending of --output. Labels never overlap: the picture grows
until they have room, and its title says when some have none. Words that are not in the
file are named and left out. t-SNE (--method=tsne) keeps groups together better than the
two principal components do, but the distances between groups then mean nothing.
"""

import importlib.util
import pathlib

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags, logging
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage

import jw2v
from experiments import labels
from jw2v.utils.limits import VECTORS_EXPANSION

METHODS = {'pca': 'first two principal components', 'tsne': 't-SNE'}


def principal_components(vectors: np.ndarray, count: int = 2) -> np.ndarray:
  """Projects rows on the directions in which they vary most.

  Args:
    vectors: `[n, D]`.
    count: how many directions.

  Returns:
    `[n, count]`; zeros where there are fewer directions than that.
  """
  centered = vectors - vectors.mean(axis=0)
  _, _, directions = np.linalg.svd(centered, full_matrices=False)
  projected = centered @ directions[:count].T
  return np.pad(projected, [(0, 0), (0, count - projected.shape[1])])


def tsne(vectors: np.ndarray) -> np.ndarray:
  r"""Places unit vectors in the plane by t-SNE, the same ones always at the same places.

  It compares squared distances, which between unit vectors are

  .. math:: |u - v|^2 = 2 (1 - \cos(u, v)).

  Args:
    vectors: `[n, D]`, each of length 1.

  Returns:
    `[n, 2]`; for fewer than four rows, their principal components.

  Raises:
    ImportError: scikit-learn is missing.
  """
  _check_method('tsne')
  from sklearn.manifold import TSNE  # takes a second; and nothing else here needs it

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
  """As `draw_words`, but returns the figure."""
  words = list(dict.fromkeys(words))
  known = [word for word in words if word in kv]
  if not known:
    raise ValueError(f'none of the words to draw is in the vocabulary: {", ".join(words)}')
  if len(known) < len(words):
    logging.warning('unknown words are left out: %s', ', '.join(w for w in words if w not in kv))
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
  """Draws words with their neighbours, unit vectors in two dimensions.

  Args:
    kv: the vectors.
    words: those of them that are unknown are left out, with a warning.
    path: the picture; its ending, .png or .svg, gives the format.
    neighbors: nearest words drawn with each.
    method: one of `METHODS`, how many dimensions become two.

  Raises:
    ValueError: none of the words is known, an unknown method, or another ending.
    FileNotFoundError: the folder of the picture does not exist.
    ImportError: scikit-learn is missing, for t-SNE.
  """
  labels.check_path(path)
  _check_method(method)
  labels.save(words_figure(kv, words, neighbors, method), path)


def around(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  r"""Puts directions on a circle, similar ones side by side, and sorts them into groups.

  Ward's method joins the most similar ones, then groups of them, to a tree; its leaves are
  turned so that those side by side are as similar as they can be. Half of the circle is
  shared out evenly, and half by how much those side by side differ.

  Args:
    residuals: `[n, D]`, each of length 1 or 0.

  Returns:
    angles `[n]`, the first one upright, and groups `[n]`, from 1 on; 0 is alone.
  """
  count = len(residuals)
  if count < 2:
    return np.full(count, np.pi / 2), np.zeros(count, int)
  tree = linkage(residuals, 'ward', optimal_ordering=True)
  order = leaves_list(tree)
  order = np.roll(order, -int(np.argmin(order)))  # row 0 comes first
  gaps = np.linalg.norm(residuals[order] - residuals[np.roll(order, -1)], axis=1)
  gaps += gaps.mean() + 1e-6
  angles = np.empty(count)
  angles[order] = np.pi / 2 - 2 * np.pi * (np.cumsum(gaps) - gaps) / gaps.sum()
  groups = fcluster(tree, np.clip(round(count / 5), 1, 10), 'maxclust')
  return angles, np.where(np.bincount(groups)[groups] > 1, groups, 0)


def neighborhood_figure(kv: jw2v.KeyedVectors, word: str, neighbors: int = 30) -> Figure:
  """As `draw_neighborhood`, but returns the figure."""
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
  outer = max(distances.max(initial=0), 0.01)  # what is nearer than that is as good as there
  ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, outer)
  radii = ticks[(ticks > 0) & (ticks < 1.1 * outer)]
  return labels.draw_map(
    labels.Labels(names, np.concatenate([np.zeros((1, 2)), points]), np.append(0, groups), 1),
    f'{labels.shown(word)}: the nearest {len(others)} of {len(kv):,} words',
    'rings: cosine with the word in the middle; a colour: words alike in what they do not share '
    'with it, each joined to the one most alike',
    sorted(links),
    labels.Rings(radii, [f'{1 - radius:.6g}' for radius in radii]),
  )


def draw_neighborhood(
  kv: jw2v.KeyedVectors, word: str, path: str | pathlib.Path, neighbors: int = 30
) -> None:
  r"""Draws a word in the middle of the words nearest to it.

  A neighbour with the unit vector u is at the distance 1 - cos(u, w) from the word w. In
  which direction says how it differs from the word: neighbours side by side have similar
  residuals,

  .. math:: r = u - (u^\top w)\,w.

  Args:
    kv: the vectors.
    word: the word in the middle.
    path: the picture; its ending, .png or .svg, gives the format.
    neighbors: how many of the nearest words are drawn.

  Raises:
    KeyError: the word is unknown.
    ValueError: another ending, or a vector that is not finite.
    FileNotFoundError: the folder of the picture does not exist.
  """
  labels.check_path(path)
  labels.save(neighborhood_figure(kv, word, neighbors), path)


def _units(kv: jw2v.KeyedVectors, words: list[str]) -> np.ndarray:
  """Vectors with length 1, `[n, D]` in float64; zero vectors stay zero."""
  vectors = kv[words].astype(np.float64)
  unsound = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
  if unsound.size:
    raise ValueError(f'the vector of {words[unsound[0]]!r} is not finite')
  norms = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.where(norms > 0, norms, 1)


def _check_method(method: str) -> None:
  if method not in METHODS:
    raise ValueError(f'method={method!r}: allowed are {", ".join(map(repr, METHODS))}')
  if method == 'tsne' and importlib.util.find_spec('sklearn') is None:
    raise ImportError("t-SNE needs scikit-learn: pip install 'jw2v[experiments]'")


def run(values: flags.FlagValues) -> None:
  """Draws what the flags ask for; they are checked before the vectors are read."""
  if not values.vectors:
    raise ValueError('--vectors=FILE is missing; --help has examples')
  if bool(values.words) == bool(values.neighborhood):
    raise ValueError('one of --words=a,b,c and --neighborhood=word is needed, and only one')
  if values.neighborhood and values['method'].present:
    raise ValueError('--method is for --words: a neighborhood is drawn without it')
  labels.check_path(values.output)
  _check_method(values.method)
  kv = jw2v.load_vectors(values.vectors, max_expansion=values.max_expansion or None)
  if values.words:
    neighbors = 5 if values.neighbors is None else values.neighbors
    draw_words(kv, values.words, values.output, neighbors, method=values.method)
  else:
    neighbors = 30 if values.neighbors is None else values.neighbors
    draw_neighborhood(kv, values.neighborhood, values.output, neighbors)
  print(f'picture: {values.output}')


def main(argv: list[str]) -> None:
  """Runs the program; an error that the user can mend is one line."""
  with cli.one_line_errors():
    if len(argv) > 1:
      raise ValueError(f'{argv[1]!r} is no flag; words are written --words=a,b,c')
    run(flags.FLAGS)


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of the program; not those of a program that imports `draw_words`."""
  define = {'flag_values': values}
  flags.DEFINE_string('vectors', None, 'File of vectors in any format jw2v reads.', **define)
  flags.DEFINE_list(
    'words', None, 'Words to draw with their neighbours, comma-separated.', **define
  )
  flags.DEFINE_string(
    'neighborhood', None, 'The word whose neighbourhood is drawn, in place of --words.', **define
  )
  flags.DEFINE_integer(
    'neighbors',
    None,
    'Nearest words drawn; 5 with each of --words or 30 around --neighborhood if not given.',
    lower_bound=0,
    **define,
  )
  flags.DEFINE_enum(
    'method',
    'pca',
    list(METHODS),
    'How the vectors of --words become points in the plane: by principal components or t-SNE.',
    **define,
  )
  flags.DEFINE_float(
    'max_expansion', VECTORS_EXPANSION,
    'A compressed file of vectors may become so many times as large; 0 for any.',
    lower_bound=0, **define
  )  # fmt: skip
  flags.DEFINE_string('output', 'words.png', 'Picture to write: .png or .svg.', **define)


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  app.run(main)
