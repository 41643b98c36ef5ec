"""Word2vec-style embeddings in JAX: losses with proven closed-form gradients, and a trainer."""

import importlib

from jw2v.config import TrainConfig
from jw2v.data.corpus import encode_corpus, learn_phrases
from jw2v.data.phrases import PhraseConfig, Phrases
from jw2v.data.sampling import (
  AliasTable,
  alias_table,
  keep_probability,
  log_expected_counts,
  noise_distribution,
)
from jw2v.data.store import EncodedCorpus, open_corpus
from jw2v.data.tokens import TextConfig
from jw2v.data.vocabulary import Vocabulary
from jw2v.distributed.backend import prepare_backend
from jw2v.distributed.processes import start_processes
from jw2v.losses.derivatives import (
  cross_entropy_gradient,
  cross_entropy_loss,
  l2_normalize,
  l2_normalize_jacobian,
  leaky_relu_derivative,
  log_sigmoid_derivative,
  sigmoid_derivative,
  softmax_jacobian,
)
from jw2v.losses.in_batch import (
  InBatchSoftmaxGrads,
  in_batch_softmax_loss,
  in_batch_softmax_value_and_grad,
)
from jw2v.losses.network import (
  TwoLayerGrads,
  TwoLayerParams,
  two_layer_logits,
  two_layer_loss,
  two_layer_num_params,
  two_layer_value_and_grad,
)
from jw2v.losses.noise import sample_alias
from jw2v.losses.prediction import (
  HierarchicalSoftmaxGrads,
  NaiveSoftmaxGrads,
  NceGrads,
  NegativeSamplingGrads,
  SampledSoftmaxGrads,
  hierarchical_softmax_loss,
  hierarchical_softmax_value_and_grad,
  naive_softmax_loss,
  naive_softmax_value_and_grad,
  nce_loss,
  nce_value_and_grad,
  negative_sampling_loss,
  negative_sampling_value_and_grad,
  sampled_softmax_loss,
  sampled_softmax_value_and_grad,
)
from jw2v.losses.rows import (
  CurvatureSample,
  RowGradients,
  cbow_row_gradients,
  gather_rows,
  row_gradients,
  skip_gram_row_gradients,
)
from jw2v.losses.scores import (
  HierarchicalSoftmaxScoreGrads,
  NceScoreGrads,
  NegativeSamplingScoreGrads,
  SampledSoftmaxScoreGrads,
  hierarchical_softmax_from_scores,
  hierarchical_softmax_from_scores_value_and_grad,
  nce_from_scores,
  nce_from_scores_value_and_grad,
  negative_sampling_from_scores,
  negative_sampling_from_scores_value_and_grad,
  sampled_softmax_from_scores,
  sampled_softmax_from_scores_value_and_grad,
)
from jw2v.losses.tiled_softmax import (
  TiledSoftmaxGrads,
  tiled_log_normalizer,
  tiled_softmax_loss,
  tiled_softmax_value_and_grad,
)
from jw2v.losses.window import (
  Word2VecParams,
  cbow_loss,
  cbow_value_and_grad,
  skip_gram_loss,
  skip_gram_value_and_grad,
)
from jw2v.objectives.huffman import HuffmanTree, huffman_tree
from jw2v.optim import RowwiseTransformation, curvature_damped_sgd, rowwise
from jw2v.training.checkpoints import Checkpoints, Stopped
from jw2v.training.run import TrainResult, train
from jw2v.vectors.keyed_vectors import (
  KeyedVectors,
  SubwordVectors,
  load_vectors,
  save_vectors,
)
from jw2v.vectors.text_vectors import text_vectors

__version__ = '0.2.0'

__all__ = [
  'AliasTable',
  'Checkpoints',
  'CurvatureSample',
  'EncodedCorpus',
  'HierarchicalSoftmaxGrads',
  'HierarchicalSoftmaxScoreGrads',
  'HuffmanTree',
  'InBatchSoftmaxGrads',
  'KeyedVectors',
  'NaiveSoftmaxGrads',
  'NceGrads',
  'NceScoreGrads',
  'NegativeSamplingGrads',
  'NegativeSamplingScoreGrads',
  'PhraseConfig',
  'Phrases',
  'RowGradients',
  'RowwiseTransformation',
  'SampledSoftmaxGrads',
  'SampledSoftmaxScoreGrads',
  'Stopped',
  'SubwordVectors',
  'TextConfig',
  'TiledSoftmaxGrads',
  'TrainConfig',
  'TrainResult',
  'TwoLayerGrads',
  'TwoLayerParams',
  'Vocabulary',
  'Word2VecParams',
  '__version__',
  'alias_table',
  'cbow_loss',
  'cbow_row_gradients',
  'cbow_value_and_grad',
  'cross_entropy_gradient',
  'cross_entropy_loss',
  'curvature_damped_sgd',
  'encode_corpus',
  'gather_rows',
  'hierarchical_softmax_from_scores',
  'hierarchical_softmax_from_scores_value_and_grad',
  'hierarchical_softmax_loss',
  'hierarchical_softmax_value_and_grad',
  'huffman_tree',
  'in_batch_softmax_loss',
  'in_batch_softmax_value_and_grad',
  'keep_probability',
  'l2_normalize',
  'l2_normalize_jacobian',
  'leaky_relu_derivative',
  'learn_phrases',
  'load_vectors',
  'log_expected_counts',
  'log_sigmoid_derivative',
  'naive_softmax_loss',
  'naive_softmax_value_and_grad',
  'nce_from_scores',
  'nce_from_scores_value_and_grad',
  'nce_loss',
  'nce_value_and_grad',
  'negative_sampling_from_scores',
  'negative_sampling_from_scores_value_and_grad',
  'negative_sampling_loss',
  'negative_sampling_value_and_grad',
  'noise_distribution',
  'open_corpus',
  'prepare_backend',
  'row_gradients',
  'rowwise',
  'sample_alias',
  'sampled_softmax_from_scores',
  'sampled_softmax_from_scores_value_and_grad',
  'sampled_softmax_loss',
  'sampled_softmax_value_and_grad',
  'save_vectors',
  'sigmoid_derivative',
  'skip_gram_loss',
  'skip_gram_row_gradients',
  'skip_gram_value_and_grad',
  'softmax_jacobian',
  'start_processes',
  'text_vectors',
  'tiled_log_normalizer',
  'tiled_softmax_loss',
  'tiled_softmax_value_and_grad',
  'train',
  'two_layer_logits',
  'two_layer_loss',
  'two_layer_num_params',
  'two_layer_value_and_grad',
]


def __getattr__(name: str):
  """Imports `jw2v.testing` on first use, because most programs do not need it."""
  if name == 'testing':
    return importlib.import_module('jw2v.testing')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
