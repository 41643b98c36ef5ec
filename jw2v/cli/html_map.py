"""Writes a map of word vectors as one web page, which needs no server and no network."""

import html
import json
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

import jw2v
from jw2v.utils.files import atomic_write, check_output

_PAGE = pathlib.Path(__file__).with_suffix('.html')
_STEPS = 1 << 16  # steps of the coordinates along the longer side of the map


def html_map(
  kv: jw2v.KeyedVectors,
  words: Sequence[str],
  positions: np.ndarray,
  path: str | os.PathLike[str],
  *,
  neighbors: int = 10,
  title: str = 'Map of words',
  note: str = '',
) -> None:
  """Writes a page with a map of words to pan, zoom and search.

  A click on a word lists its nearest neighbors among the words of the map, by the cosine of their
  vectors in `kv`, and marks them. The page contains everything that it needs, and its security
  policy forbids network requests. The same arguments and versions give the same bytes.

  Args:
    kv: the vectors.
    words: n words to show, the most important first; the map labels these first. Maps of up to
      20,000 words are fast.
    positions: `[n, 2]` coordinates of the words, in the same unit for both axes.
    path: the page, usually with the extension .html.
    neighbors: number of nearest neighbors to list for each word.
    title: title of the page.
    note: line below the title, such as the name of the projection.

  Raises:
    ImportError: bokeh, which draws the map in the browser, is not installed.
    KeyError: a word is unknown.
    ValueError: `words` is empty, a word is a duplicate, the positions are not `[n, 2]` finite
      numbers, or `neighbors` is below 0.
    OSError: the file cannot be written.

  >>> import jw2v, numpy as np, tempfile
  >>> kv = jw2v.KeyedVectors(['sea', 'ship', 'tax'], np.eye(3) + 0.1)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   html_map(kv, kv.index_to_key, kv.vectors[:, :2], f'{folder}/map.html')
  """
  check_output(path)
  library = _bokeh()
  words = list(words)
  if not words:
    raise ValueError('a map must have at least 1 word, got none')
  if neighbors < 0:
    raise ValueError(f'neighbors must be at least 0, got {neighbors}')
  positions = np.asarray(positions, np.float64)
  if positions.shape != (len(words), 2):
    raise ValueError(f'positions must be [{len(words)}, 2], got {list(positions.shape)}')
  if not np.isfinite(positions).all():
    raise ValueError('positions must be finite, got NaN or infinity')
  table = jw2v.KeyedVectors(words, kv[words])
  found = table.most_similar_many(words, topn=neighbors) if neighbors else [[] for _ in words]
  steps = _to_steps(positions)
  data = {
    'words': words,
    'ranks': [kv.key_to_index.get(word, -1) + 1 for word in words],  # 0 for out-of-vocabulary words
    'x': steps[:, 0].tolist(),
    'y': steps[:, 1].tolist(),
    'neighbors': [[table.key_to_index[word] for word, _ in pairs] for pairs in found],
    'cosines': [[round(1000 * cosine) for _, cosine in pairs] for pairs in found],
  }
  parts = {
    'title': html.escape(title),
    'note': html.escape(note),
    'data': _script_json(data),
    'bokeh': library,
  }
  page = re.sub(r'{{(\w+)}}', lambda mark: parts[mark[1]], _PAGE.read_text(encoding='utf-8'))
  with atomic_write(path) as file:
    file.write(page.encode(errors='replace'))


def _bokeh() -> str:
  """Returns the JavaScript of bokeh."""
  try:
    from bokeh.resources import Resources
  except ImportError as error:
    raise ImportError("a map as a web page needs bokeh: pip install 'jw2v[plot]'") from error
  resources = Resources('inline', components=['bokeh', 'bokeh-api', 'bokeh-gl'], log_level='warn')
  return '\n'.join(resources.js_raw)


def _to_steps(positions: np.ndarray) -> np.ndarray:
  """Returns the coordinates as integers from 0, which are short in JSON."""
  positions = positions / (np.abs(positions).max() or 1)  # their differences are finite
  low, high = positions.min(axis=0), positions.max(axis=0)
  return np.rint((positions - low) * (_STEPS / ((high - low).max() or 1))).astype(int)


def _script_json(value: object) -> str:
  r"""Returns JSON that a script element can contain.

  >>> _script_json(['</script>'])
  '["\\u003c/script>"]'
  """
  return json.dumps(value, separators=(',', ':')).replace('<', r'\u003c')
