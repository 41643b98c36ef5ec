r"""Draws words in the plane: the first two principal components of their vectors.

Each word that is asked for comes with its nearest neighbours, in its own colour.

  python -m experiments.plot --vectors=runs/quickstart/vectors.txt \
    --words=war,taxes,mexico --output=words.png
"""

import pathlib

import matplotlib
import numpy as np
from absl import app, flags

import jw2v


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


def _spread(anchors: np.ndarray, sizes: np.ndarray, rounds: int = 300) -> np.ndarray:
  """Moves the centers of label boxes apart until none overlaps, `[n, 2]` in pixels."""
  places = anchors + 1e-3 * np.arange(len(anchors))[:, None]
  for _ in range(rounds):
    gap = places[:, None] - places[None]  # [n, n, 2]
    overlap = (sizes[:, None] + sizes[None]) / 2 - np.abs(gap)
    overlap[np.arange(len(places)), np.arange(len(places))] = -1
    both = (overlap > 0).all(axis=-1)
    if not both.any():
      break
    # Each pair that overlaps parts along the direction that needs the shorter way.
    vertical = overlap[..., 1] <= overlap[..., 0]
    push = np.where(np.stack([~vertical, vertical], -1) & both[..., None], overlap, 0)
    places = places + 0.3 * np.sum(push * np.where(gap >= 0, 1, -1), axis=1)
  return places


def draw_words(
  kv: jw2v.KeyedVectors, words: list[str], path: str | pathlib.Path, neighbors: int = 5
) -> None:
  r"""Draws words with their neighbours, unit vectors projected on two components.

  Args:
    kv: the vectors.
    words: those of them that are unknown are left out.
    path: the picture; its ending gives the format.
    neighbors: nearest words drawn with each.

  Raises:
    ValueError: none of the words is known.
  """
  known = [word for word in words if word in kv]
  if not known:
    raise ValueError(f'none of the words to draw is in the vocabulary: {", ".join(words)}')
  group_of: dict[str, int] = {word: i for i, word in enumerate(known)}
  for i, word in enumerate(known):
    for neighbor, _ in kv.most_similar(word, topn=neighbors):
      group_of.setdefault(neighbor, i)
  labels, groups = list(group_of), np.array(list(group_of.values()))
  vectors = kv[labels]
  norms = np.linalg.norm(vectors, axis=1, keepdims=True)
  points = principal_components(vectors / np.where(norms > 0, norms, 1))

  matplotlib.use('Agg')
  import matplotlib.pyplot as plt  # after the backend is chosen

  figure, axes = plt.subplots(figsize=(10, 7.5), dpi=120, layout='constrained')
  palette = plt.colormaps['tab20'].colors
  palette = np.array(palette[::2] + palette[1::2])  # the ten strong colors, then the pale ones
  colors = palette[groups % len(palette)]
  axes.scatter(*points.T, c=colors, s=14, zorder=2)
  axes.set_xticks([])
  axes.set_yticks([])
  axes.margins(0.08)
  axes.set_title(f'{len(labels)} of {len(kv):,} words, first two principal components', loc='left')
  texts = [
    axes.annotate(
      label,
      point,
      ha='center',
      va='center',
      fontsize=11 if label in known else 8.5,
      fontweight='bold' if label in known else 'normal',
      color=0.7 * color,
      zorder=3,
    )
    for label, point, color in zip(labels, points, colors, strict=True)
  ]
  figure.canvas.draw()
  boxes = [text.get_window_extent() for text in texts]
  sizes = np.array([[box.width + 4, box.height + 2] for box in boxes])
  anchors = axes.transData.transform(points)
  places = _spread(anchors + np.array([0, 9]), sizes)
  low, high = axes.get_window_extent().min + 4, axes.get_window_extent().max - 4
  places = np.clip(places, low + sizes / 2, high - sizes / 2)
  back = axes.transData.inverted()
  for text, place, point, anchor, size in zip(texts, places, points, anchors, sizes, strict=True):
    text.set_position(back.transform(place))
    if np.linalg.norm(place - anchor) > size[1] + 6:  # far from its point: say which
      axes.plot(*zip(point, back.transform(place), strict=True), lw=0.5, c='0.75', zorder=1)
  figure.savefig(path)
  plt.close(figure)


def main(argv: list[str]) -> None:
  """Runs the program."""
  del argv
  values = flags.FLAGS
  try:
    draw_words(jw2v.load_vectors(values.vectors), values.words, values.output, values.neighbors)
  except (ValueError, OSError) as error:
    raise SystemExit(f'error: {error}') from error


if __name__ == '__main__':  # flags are global: whoever imports draw_words must not get these
  flags.DEFINE_string('vectors', None, 'File of vectors in word2vec format.', required=True)
  flags.DEFINE_list('words', None, 'Words to draw, comma-separated.', required=True)
  flags.DEFINE_integer('neighbors', 5, 'Nearest words drawn with each.', lower_bound=0)
  flags.DEFINE_string('output', 'words.png', 'Picture to write: .png or .svg.')
  app.run(main)
