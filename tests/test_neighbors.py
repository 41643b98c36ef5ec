"""Search in tiles: the answers of a loop over all rows, whatever the tiles."""

import jax
import numpy as np
import pytest

from jw2v import KeyedVectors, neighbors
from jw2v.neighbors import nearest

RNG = np.random.default_rng(0)


def unit(x):
  norms = np.linalg.norm(x, axis=-1, keepdims=True)
  return (x / np.where(norms > 0, norms, 1)).astype(np.float32)


def by_loop(scores, excluded, k):
  scores = scores.copy()
  for row, none in enumerate(excluded):
    scores[row, [i for i in none if i >= 0]] = -np.inf
  rows = np.argsort(-scores, axis=1, kind='stable')[:, :k]
  return rows, np.take_along_axis(scores, rows, axis=1)


@pytest.fixture(params=[(512, 1 << 16), (3, 7), (1, 1), (100, 40)])
def tiles(request, monkeypatch):
  monkeypatch.setattr(neighbors, '_QUERIES', request.param[0])
  monkeypatch.setattr(neighbors, '_ROWS', request.param[1])


@pytest.mark.usefixtures('tiles')
class TestNearest:
  VECTORS = RNG.normal(size=(40, 5)).astype(np.float32)
  NORMS = np.linalg.norm(VECTORS, axis=1)
  QUERIES = unit(RNG.normal(size=(8, 5)))
  EXCLUDED = np.array([[0, 39], [1, 1], [-1, -1], [7, 8], [3, -1], [6, 7], [20, 21], [38, 0]])

  @pytest.mark.parametrize('k', [1, 3, 40])
  def test_cosines(self, k):
    rows, scores = nearest(
      self.VECTORS, self.NORMS, self.QUERIES, excluded=self.EXCLUDED, k=k
    )  # fmt: skip
    expected, values = by_loop(self.QUERIES @ unit(self.VECTORS).T, self.EXCLUDED, k)
    expected[np.isneginf(values)] = -1
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, values, atol=1e-6)

  @pytest.mark.parametrize('negatives', [0, 1, 2])
  def test_products(self, negatives):
    positive = unit(RNG.normal(size=(8, 2, 5)))
    negative = unit(RNG.normal(size=(8, negatives, 5)))
    moved = lambda x: (1 + x @ unit(self.VECTORS).T) / 2
    values = moved(positive).prod(axis=1) / (moved(negative).prod(axis=1) + 1e-6)
    expected, values = by_loop(values, self.EXCLUDED, 4)
    rows, scores = nearest(
      self.VECTORS, self.NORMS, positive, negative, excluded=self.EXCLUDED, k=4
    )  # fmt: skip
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, values, rtol=1e-4)


class TestTopK:
  """Groups first, then within them, is `jax.lax.top_k`."""

  @pytest.mark.parametrize('size', [64, 640, 1280, 1300])
  @pytest.mark.parametrize('k', [1, 5, 9, 12])
  def test_is_that_of_all(self, size, k):
    scores = RNG.permuted(np.tile(np.arange(size, dtype=np.float32), (7, 1)), axis=1)
    scores[:, ::3] = -np.inf
    best, rows = neighbors._top_k(jax.numpy.array(scores), k)
    expected, places = jax.lax.top_k(scores, k)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(rows, places)


class TestApproximateIndex:
  def test_finds_nearly_the_nearest(self):
    pytest.importorskip('faiss')
    kv = KeyedVectors([f'w{i}' for i in range(500)], RNG.normal(size=(500, 8)))
    index, found = kv.approximate_index(), 0
    for word in kv.index_to_key[:50]:
      exact = kv.most_similar(word, topn=5)
      near = kv.most_similar(word, topn=5, indexer=index)
      assert len(near) == 5 and word not in dict(near)
      for other, cosine in near:
        assert cosine == pytest.approx(kv.similarity(word, other), abs=1e-5)
      found += len(dict(near).keys() & dict(exact).keys())
    assert found > 240

  def test_missing_package_is_named(self, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'faiss', None)
    with pytest.raises(ImportError, match=r"pip install 'jw2v\[index\]'"):
      KeyedVectors(['a'], [[1, 2]]).approximate_index()
