"""Subwords: rows of n-grams, their means on the device, and the gradients of the rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import assert_close, to_dense

from jw2v import SubwordVectors, TrainConfig, train
from jw2v.ngrams import ngram_buckets
from jw2v.objectives.objective import centers_predict, make_objective
from jw2v.objectives.subwords import make_subwords
from tests.objectives.test_architectures import V, example
from tests.objectives.test_objective import COUNTS, VOCABULARY, config_of, total_loss

WORDS = VOCABULARY.words


def by_hand(word, minn, maxn, bucket):
  """Returns the buckets of the n-grams of one word."""
  return ngram_buckets([word], minn, maxn, bucket)[0].tolist()


class TestMakeSubwords:
  @pytest.mark.parametrize('bucket', [5, 1000, 2_000_000])
  def test_rows_are_the_word_and_its_ngrams(self, bucket):
    subwords = make_subwords(WORDS, COUNTS, 3, 5, bucket)
    for i, word in enumerate(WORDS):
      rows = subwords.rows[subwords.starts[i] : subwords.starts[i + 1]]
      assert rows[0] == i
      assert sorted(subwords.buckets[rows[1:] - V].tolist()) == sorted(by_hand(word, 3, 5, bucket))
    assert len(set(subwords.buckets.tolist())) == len(subwords.buckets) == subwords.num_rows - V
    assert subwords.sizes.tolist() == [1 + len(by_hand(word, 3, 5, bucket)) for word in WORDS]

  def test_frequent_buckets_first(self):
    subwords = make_subwords(WORDS, COUNTS, 3, 5, 1000)
    occurrences = np.zeros(1000)
    for word, count in zip(WORDS, COUNTS, strict=True):
      np.add.at(occurrences, by_hand(word, 3, 5, 1000), count)
    assert np.all(np.diff(occurrences[subwords.buckets]) <= 0)

  def test_the_end_of_a_line_has_no_ngrams(self):
    """Follows fastText, which calls the end of a line </s>."""
    subwords = make_subwords(('seas', '</s>', 'sea'), np.array([3, 2, 1]), 3, 5, 1000)
    assert subwords.sizes[1] == 1 and subwords.rows[subwords.starts[1]] == 1
    assert subwords.sizes[2] == 1 + len(by_hand('sea', 3, 5, 1000))


def tables(subwords, seed):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=(subwords.num_rows, 4))), jnp.asarray(rng.normal(size=(V, 4)))


def means(subwords, rows):
  """Computes the vectors of all words, one by one."""
  parts = [subwords.rows[a:b] for a, b in zip(subwords.starts, subwords.starts[1:], strict=False)]
  return jnp.stack([rows[part].mean(axis=0) for part in parts])


@pytest.mark.usefixtures('float64')
@pytest.mark.parametrize(
  ('architecture', 'objective'),
  [('skip_gram', 'negative_sampling'), ('cbow', 'nce'), ('skip_gram', 'hierarchical_softmax')],
)
class TestGradient:
  def prepared(self, architecture, name, seed, num_blocks=4):
    config = config_of(architecture, name, minn=2, maxn=3, bucket=30)
    objective = make_objective(config, VOCABULARY)
    _, batch = example(seed)
    batch = jax.tree.map(lambda x: np.asarray(x[None, :num_blocks]), batch)  # one step
    attached = objective.attach(batch, 1)
    one = lambda x: jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), x)
    return config, objective, one(batch), one(attached)

  def test_equals_the_pure_loss_of_means(self, architecture, objective):
    self.assert_equals_the_pure_loss(architecture, objective, 4)  # two lists of rows

  @pytest.mark.slow
  def test_equals_the_pure_loss_with_one_list_of_rows(self, architecture, objective):
    self.assert_equals_the_pure_loss(architecture, objective, 5)

  def assert_equals_the_pure_loss(self, architecture, objective, num_blocks):
    config, made, batch, attached = self.prepared(architecture, objective, 1, num_blocks)
    inner, outside = tables(made.subwords, 2)
    params = example(0)[0]._replace(center=inner, outside=outside)
    constants = jax.tree.map(jnp.asarray, made.constants)
    rows = jax.jit(made.rows)(params, attached, constants)

    def loss(inner, outside):
      words = params._replace(center=means(made.subwords, inner), outside=outside)
      return total_loss(config, words, batch)

    want, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(inner, outside)
    assert_close(rows.loss, want)
    assert_close(to_dense(rows.center, len(inner)), grads[0])
    assert_close(to_dense(rows.outside, V), grads[1])

  def test_moves_the_rows_of_the_words_of_windows_and_no_others(self, architecture, objective):
    config, made, batch, _ = self.prepared(architecture, objective, 1)
    batch = batch._replace(left=batch.left * 0, right=batch.right * 0)
    batch = batch._replace(right=batch.right.at[0, 0].set(1))  # one pair
    expanded = jax.tree.map(lambda x: np.asarray(x)[None], batch)
    attached = made.attach(expanded, 1)
    attached = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), attached)
    inner, outside = tables(made.subwords, 2)
    params = example(0)[0]._replace(center=inner, outside=outside)
    constants = jax.tree.map(jnp.asarray, made.constants)
    rows = jax.jit(made.rows)(params, attached, constants)
    word = int(batch.token_ids[0, 3 if centers_predict(config) else 4])
    subwords = made.subwords
    own = subwords.rows[subwords.starts[word] : subwords.starts[word + 1]].tolist()
    assert sorted(set(rows.center.ids.tolist()) - {len(inner)}) == sorted(set(own))


def test_lists_have_few_lengths():
  """Limits the number of list lengths, because each length is compiled."""
  subwords = make_subwords(WORDS, COUNTS, 2, 4, 100)
  lengths = set()
  for seed in range(20):
    _, batch = example(seed)
    attached = subwords.attach(jax.tree.map(lambda x: np.asarray(x[None, :4]), batch), True)
    lengths.add(attached.subword_rows.shape[2])
  assert len(lengths) <= 4


MORPHOLOGY = [
  [f'{stem}{ending}', f'{stem}{other}']
  for stem in ('walk', 'talk', 'jump', 'climb', 'paint', 'count', 'print', 'point')
  for ending in ('ing', 'ed', 'er', 's')
  for other in ('ing', 'ed', 'er', 's')
]
SETTINGS = {'dim': 16, 'min_count': 1, 'sample': 0, 'window': 1, 'batch_size': 32, 'minn': 3,
            'maxn': 5, 'bucket': 5000}  # fmt: skip


@functools.cache
def trained(architecture='skip_gram', objective='negative_sampling', epochs=30):
  config = TrainConfig(
    architecture=architecture, objective=objective, epochs=epochs, learning_rate=0.5, **SETTINGS
  )
  return train(MORPHOLOGY, config, progress=False)


class TestTrains:
  @pytest.mark.slow
  @pytest.mark.parametrize(
    ('architecture', 'objective'),
    [('skip_gram', 'negative_sampling'), ('cbow', 'hierarchical_softmax')],
  )
  def test_unseen_words_are_near_those_of_their_stem(self, architecture, objective):
    kv = trained(architecture, objective).vectors
    assert isinstance(kv, SubwordVectors) and 'walkable' not in kv.key_to_index
    near = [word for word, _ in kv.most_similar('walkable', topn=4)]
    assert all(word.startswith('walk') for word in near), near
    near = [word for word, _ in kv.most_similar('clmibing', topn=3)]  # misspelt
    assert any(word.startswith('climb') for word in near) or near[0].endswith('ing')

  def test_vectors_are_means_of_the_table(self):
    result = trained(epochs=1)
    subwords = make_objective(result.config, result.vocabulary).subwords
    np.testing.assert_allclose(
      result.vectors.vectors, means(subwords, result.params.center), rtol=1e-5, atol=1e-6
    )
    assert result.params.center.shape == (subwords.num_rows, 16)

  @pytest.mark.slow
  def test_goes_on_from_an_earlier_run(self):
    first = trained()
    still = TrainConfig(epochs=1, learning_rate=1e-9, min_learning_rate=0.0, **SETTINGS)
    for initial in (first, first.vectors):
      second = train(MORPHOLOGY, still, progress=False, initial=initial)
      for word in ('walking', 'walkable'):
        np.testing.assert_allclose(second.vectors[word], first.vectors[word], atol=1e-5)

  def test_not_from_vectors_without_the_same_ngrams(self):
    config = TrainConfig(**{**SETTINGS, 'minn': 2})
    with pytest.raises(ValueError, match=r'minn=2, maxn=5, bucket=5000, .*got minn=3'):
      train(MORPHOLOGY, config, progress=False, initial=trained(epochs=1).vectors)
    config = TrainConfig(**{**SETTINGS, 'minn': 0, 'maxn': 0, 'epochs': 1})
    words = train(MORPHOLOGY, config, progress=False)
    with pytest.raises(ValueError, match='and word rows, got none'):
      train(MORPHOLOGY, TrainConfig(**SETTINGS), progress=False, initial=words)

  @pytest.mark.slow
  def test_words_alone_from_vectors_with_ngrams(self):
    config = TrainConfig(epochs=1, learning_rate=1e-9, min_learning_rate=0.0,
                         **{**SETTINGS, 'minn': 0, 'maxn': 0})  # fmt: skip
    first = trained()
    second = train(MORPHOLOGY, config, progress=False, initial=first)
    np.testing.assert_allclose(second.vectors['walking'], first.vectors['walking'], atol=1e-5)
