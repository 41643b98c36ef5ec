"""Word vectors in JAX: losses with proven closed-form gradients, and their trainer."""

from jw2v.config import TrainConfig
from jw2v.data.corpus import encode_corpus, learn_phrases
from jw2v.data.phrases import PhraseConfig, Phrases
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
from jw2v.losses.network import (
  TwoLayerGrads,
  TwoLayerParams,
  two_layer_logits,
  two_layer_loss,
  two_layer_num_params,
  two_layer_value_and_grad,
)
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
from jw2v.losses.tiled_softmax import tiled_softmax_loss
from jw2v.losses.window import (
  Word2VecParams,
  cbow_loss,
  cbow_value_and_grad,
  skip_gram_loss,
  skip_gram_value_and_grad,
)
from jw2v.optim import RowGradients, curvature_damped_sgd, rowwise
from jw2v.training.checkpoints import Checkpoints, Stopped
from jw2v.training.run import TrainResult, train
from jw2v.vectors.keyed_vectors import (
  KeyedVectors,
  SubwordVectors,
  load_vectors,
  save_vectors,
)

__version__ = '0.1.0'

__all__ = [
  'Checkpoints',
  'EncodedCorpus',
  'HierarchicalSoftmaxGrads',
  'KeyedVectors',
  'NaiveSoftmaxGrads',
  'NceGrads',
  'NegativeSamplingGrads',
  'PhraseConfig',
  'Phrases',
  'RowGradients',
  'SampledSoftmaxGrads',
  'Stopped',
  'SubwordVectors',
  'TextConfig',
  'TrainConfig',
  'TrainResult',
  'TwoLayerGrads',
  'TwoLayerParams',
  'Vocabulary',
  'Word2VecParams',
  '__version__',
  'cbow_loss',
  'cbow_value_and_grad',
  'cross_entropy_gradient',
  'cross_entropy_loss',
  'curvature_damped_sgd',
  'encode_corpus',
  'hierarchical_softmax_loss',
  'hierarchical_softmax_value_and_grad',
  'l2_normalize',
  'l2_normalize_jacobian',
  'leaky_relu_derivative',
  'learn_phrases',
  'load_vectors',
  'log_sigmoid_derivative',
  'naive_softmax_loss',
  'naive_softmax_value_and_grad',
  'nce_loss',
  'nce_value_and_grad',
  'negative_sampling_loss',
  'negative_sampling_value_and_grad',
  'open_corpus',
  'prepare_backend',
  'rowwise',
  'sampled_softmax_loss',
  'sampled_softmax_value_and_grad',
  'save_vectors',
  'sigmoid_derivative',
  'skip_gram_loss',
  'skip_gram_value_and_grad',
  'softmax_jacobian',
  'start_processes',
  'tiled_softmax_loss',
  'train',
  'two_layer_logits',
  'two_layer_loss',
  'two_layer_num_params',
  'two_layer_value_and_grad',
]
