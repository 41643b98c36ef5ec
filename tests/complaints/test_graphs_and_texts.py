"""Walks, phrases, text vectors and further training, as users of other tools met them.

A name and number in a comment is the public report of the symptom.
"""

import itertools

import numpy as np
import pytest

import jw2v
from jw2v.data.walks import random_walks, read_edges


def walks(tmp_path, text, directed=False, **settings):
  (tmp_path / 'edges.txt').write_text(text)
  return list(random_walks(read_edges(tmp_path / 'edges.txt', directed=directed), **settings))


def test_walk_has_as_many_nodes_as_it_is_told(tmp_path):  # PecanPy 243
  assert {len(walk) for walk in walks(tmp_path, 'a b\nb c\n', length=7)} == {7}


def test_walk_ends_at_a_node_without_edges(tmp_path):  # PecanPy 17
  found = walks(tmp_path, 'a b\nb c\n', directed=True, walks_per_node=1, length=9)
  assert sorted(found) == [['a', 'b', 'c'], ['b', 'c'], ['c']]


def test_node_with_an_edge_to_itself_alone_stays_there(tmp_path):  # graspologic 952
  found = walks(tmp_path, 'a b\nc c\n', walks_per_node=1, length=3)
  assert ['c', 'c', 'c'] in found and len(found) == 3


def test_edges_of_networkx(tmp_path):  # pytorch_geometric 1472
  (tmp_path / 'edges.txt').write_text("1 2 {}\n2 3 {'weight': 2.5}\n")
  graph = read_edges(tmp_path / 'edges.txt')
  assert graph.names == ['1', '2', '3'] and graph.weights.tolist() == [1, 1, 2.5, 2.5]


def test_every_phrase_of_a_line_is_joined():  # gensim 794
  lines = [['the', 'new', 'york', 'and', 'los', 'angeles', 'of', 'new', 'york']] * 20
  lines += [['the'], ['and'], ['of']] * 200
  phrases = jw2v.learn_phrases(lines, jw2v.PhraseConfig(threshold=5.0, min_count=5))
  words = jw2v.encode_corpus(lines, phrases=phrases, min_count=1).vocabulary
  assert words.counts[words.index['new_york']] == 40
  assert words.counts[words.index['los_angeles']] == 20 and 'new' not in words.index


def test_npmi_is_at_most_1_in_every_pass():  # gensim 1979
  lines = [list('abcde')] * 3 + [list('abf'), list('ghijab'), list('ghikab'), list('ghijal')]
  config = jw2v.PhraseConfig(passes=3, scoring='npmi', threshold=0.5, min_count=1)
  scores = [score for found in jw2v.learn_phrases(lines, config).passes for score in found.values()]
  assert len(scores) > 5 and all(-1 <= score <= 1 for score in scores)


@pytest.fixture
def kv():
  return jw2v.KeyedVectors(['a', 'b', 'zero'], np.array([[1, 2], [2, 1], [0, 0]], np.float32))


def test_zero_vector_has_neighbors_without_nan(kv):  # spaCy 3412
  assert kv.most_similar('zero') == [('a', 0.0), ('b', 0.0)]
  assert kv.most_similar('a')[-1] == ('zero', 0.0) and kv.similarity('zero', 'zero') == 0


def test_no_neighbors_are_an_empty_list(kv):  # gensim 2105
  assert kv.most_similar('a', topn=0) == []


def test_no_words_are_refused_by_means(kv):  # gensim 743
  for words in ([], (), ['a'][:0]):
    with pytest.raises(ValueError, match='keys must have at least one word'):
      kv.n_similarity(['a'], words)


def test_text_without_known_words_is_not_nan(kv):  # sentence-transformers 589, fastText 343
  for weights in ('mean', 'sif'):
    vectors = jw2v.text_vectors(kv, ['no such word', 'a zero', 'b', ''], weights=weights)
    assert np.isfinite(vectors).all() and not vectors[[0, 3]].any()


def test_sif_of_vectors_without_counts(kv):  # Fast_Sentence_Embeddings 16
  """Estimates frequencies from the order of the words."""
  vectors = jw2v.text_vectors(kv, ['a', 'b'], component=np.zeros(2))
  assert np.linalg.norm(vectors[0]) < np.linalg.norm(vectors[1])


LINES = [['the', 'cat', 'sat', 'down']] * 100
CONFIG = jw2v.TrainConfig(dim=4, epochs=1, min_count=1, sample=0, seed=1)


def trained(lines, **settings):
  return jw2v.train(lines, CONFIG, progress=False, **settings)


def test_training_goes_on_without_new_words():  # gensim 1162
  first = trained(LINES)
  assert trained(LINES, initial=first).vectors.index_to_key == first.vectors.index_to_key


def test_new_words_get_vectors_and_old_ones_stay():  # gensim 3352
  first = trained(LINES)
  words = trained([['a', 'snake', 'sat']] * 100, initial=first).vectors.index_to_key
  assert {*first.vectors.index_to_key} < {*words} and 'snake' in words


def test_long_line_is_trained_whole():
  """Trains the line uncut; gensim and the C tool cut after 10,000 and 1,000 words."""
  words = [str(i) for i in range(12_000)]
  encoded = jw2v.encode_corpus([words], min_count=1)
  assert encoded.line_ends.tolist() == [12_000] and len(encoded.vocabulary) == 12_000
  kv = trained(encoded).vectors
  assert np.linalg.norm(kv['11999']) > 0


def test_corpus_that_can_be_read_once():
  lines = (line for line in LINES)
  result = jw2v.train(lines, CONFIG.replace(epochs=3), progress=False)
  assert result.history[-1]['words'] == 3 * 400


def test_same_seed_has_the_same_vectors_whatever_was_trained_before():  # gensim 662, 2383
  first = trained(LINES).vectors.vectors
  trained([['other', 'words']] * 50)
  np.testing.assert_array_equal(trained(LINES).vectors.vectors, first)


def test_loss_is_a_mean_that_compares_between_devices():  # gensim 2743
  lines = list(itertools.chain(LINES, [['a', 'snake', 'ate', 'it']] * 100))
  config = CONFIG.replace(learning_rate=1e-6, min_learning_rate=0.0)
  losses = [
    jw2v.train(lines, config.replace(devices=n), progress=False).history[-1]['loss'] for n in (1, 2)
  ]
  assert losses[0] == pytest.approx(losses[1], rel=1e-3) == pytest.approx(6 * np.log(2), rel=1e-3)
