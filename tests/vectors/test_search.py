"""Tiled search: the answers of a loop over all rows, for tiles of any size."""

import jax
import numpy as np
import pytest

from jw2v import KeyedVectors
from jw2v.vectors import search
from jw2v.vectors.search import nearest, nearest_to_combinations

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
  monkeypatch.setattr(search, '_QUERIES', request.param[0])
  monkeypatch.setattr(search, '_ROWS', request.param[1])


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

  @pytest.mark.parametrize('multiply', [False, True])
  @pytest.mark.parametrize(('positives', 'negatives'), [(1, 0), (2, 1), (3, 2), (0, 1)])
  def test_combinations(self, multiply, positives, negatives):
    rng = np.random.default_rng(1)
    terms = unit(rng.normal(size=(6, 5)))
    positive = rng.integers(6, size=(8, positives))
    negative = rng.integers(6, size=(8, negatives))
    cosines = terms.astype(np.float64) @ unit(self.VECTORS).T
    if multiply:
      moved = (1 + cosines) / 2
      values = moved[positive].prod(axis=1) / (moved[negative].prod(axis=1) + 1e-6)
    else:
      values = cosines[positive].sum(axis=1) - cosines[negative].sum(axis=1)
    expected, values = by_loop(values, self.EXCLUDED, 4)
    rows, scores = nearest_to_combinations(
      self.VECTORS, self.NORMS, terms, positive, negative, multiply=multiply,
      excluded=self.EXCLUDED, k=4,
    )  # fmt: skip
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, values, rtol=1e-4, atol=1e-6)

  def test_many_terms_make_the_tiles_smaller(self, monkeypatch):
    sizes = []
    cosines = search._cosines
    record = lambda terms, tile: sizes.append(len(tile)) or cosines(terms, tile)
    monkeypatch.setattr(search, '_cosines', record)
    monkeypatch.setattr(search, '_FEWEST_ROWS', 3)
    monkeypatch.setattr(search, '_COSINES', 30)
    terms, each = unit(RNG.normal(size=(6, 5))), np.zeros((8, 1), int)
    nearest_to_combinations(self.VECTORS, self.NORMS, terms, each, each)
    assert max(sizes) == min(search._ROWS, 5) and sum(sizes) == 40


class TestTopK:
  """Top-k by groups, then within groups, equals `jax.lax.top_k`."""

  @pytest.mark.parametrize('size', [64, 640, 1280, 1300])
  @pytest.mark.parametrize('k', [1, 5, 9, 12])
  def test_is_that_of_all(self, size, k):
    scores = RNG.permuted(np.tile(np.arange(size, dtype=np.float32), (7, 1)), axis=1)
    scores[:, ::3] = -np.inf
    best, rows = search._top_k(jax.numpy.array(scores), k)
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
