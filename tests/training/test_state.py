"""Initial vectors of the words."""

import numpy as np
import pytest

from jw2v.config import TrainConfig
from jw2v.data.vocabulary import Vocabulary
from jw2v.training.state import check_initial, random_params, warm_start
from jw2v.vectors.keyed_vectors import KeyedVectors


class TestInit:
  def test_as_in_the_c_tool(self):
    params = random_params(np.random.default_rng(0), 1000, 10)
    center = np.asarray(params.center)
    assert center.dtype == params.outside.dtype == np.float32 and center.shape == (1000, 10)
    assert -0.05 <= center.min() < -0.049 and 0.049 < center.max() < 0.05
    assert not np.asarray(params.outside).any()


class TestResume:
  VOCABULARY = Vocabulary(('new', 'old', 'older'), np.array([3, 2, 1]))

  def params(self):
    return random_params(np.random.default_rng(0), 3, 2)

  def test_rows_go_to_their_words(self):
    fresh = self.params()
    kv = KeyedVectors(['older', 'gone', 'old'], np.arange(6, dtype=np.float32).reshape(3, 2))
    params = warm_start(fresh, self.VOCABULARY, kv, outside=-np.asarray(kv.vectors))
    assert params.center[1:].tolist() == [[4, 5], [0, 1]]
    assert params.outside.tolist() == [[0, 0], [-4, -5], [0, -1]]
    assert params.center[0].tolist() == fresh.center[0].tolist()

  def test_without_output_vectors_they_begin_at_zero(self):
    kv = KeyedVectors(['old'], np.ones((1, 2), np.float32))
    params = warm_start(self.params(), self.VOCABULARY, kv)
    assert params.center[1].tolist() == [1, 1] and not np.asarray(params.outside).any()

  def test_refused(self):
    with pytest.raises(ValueError, match='dim must be 3, the width of the initial vectors, got 2'):
      check_initial(KeyedVectors(['old'], np.ones((1, 3))), TrainConfig(dim=2))
    with pytest.raises(ValueError, match='must contain at least one word of the corpus'):
      warm_start(self.params(), self.VOCABULARY, KeyedVectors(['x'], np.ones((1, 2))))
