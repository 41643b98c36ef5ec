"""Word vectors with similarity queries, with or without n-grams, and their files.

Names, arguments and results are the same as in gensim, so that code can be reused.
"""

import numbers
import operator
import os
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from absl import logging

from jw2v.formats.registry import describe_duplicate, read_table, write_table
from jw2v.formats.table import VectorTable
from jw2v.ngrams import END_OF_LINE, Ngrams, word_vectors
from jw2v.utils.checks import as_array, check_count
from jw2v.utils.limits import VECTORS_EXPANSION
from jw2v.vectors import evaluation
from jw2v.vectors.lookup import WordVectors, strings, unit, word_list
from jw2v.vectors.search import ApproximateIndex, nearest

_Weighted = tuple[str | np.ndarray, float]
Term = str | np.ndarray | _Weighted
Terms = Term | Sequence[Term]


class KeyedVectors(WordVectors):
  """Words and their vectors, with similarity queries.

  A zero vector has cosine 0 with everything. An unknown word raises a `KeyError` that
  names the word and similar words.

  Attributes:
    index_to_key: the words; the position of a word is its row.
    key_to_index: the row of each word.
    vectors: `[V, D]` float32; may be mapped from a file.
  """

  def cosines(self, vector: np.ndarray, start: int = 0, end: int | None = None) -> np.ndarray:
    """Returns the cosines of a vector with the rows from `start` to before `end`."""
    return (self.vectors[start:end] @ unit(vector)) / self.norms[start:end]

  def similarity(self, w1: str, w2: str) -> float:
    """Returns the cosine of two words, between -1 and 1."""
    return float(self.get_vector(w1, norm=True) @ self.get_vector(w2, norm=True))

  def distance(self, w1: str, w2: str) -> float:
    """Returns 1 minus the cosine of two words."""
    return 1 - self.similarity(w1, w2)

  def distances(
    self, word_or_vector: str | np.ndarray, other_words: Sequence[str] = ()
  ) -> np.ndarray:
    """Returns 1 minus the cosines of a word or vector with other words; all words by default."""
    vector, other_words = self._term(word_or_vector), word_list(other_words)
    if not other_words:
      return 1 - self.cosines(vector)
    others = np.stack([self.get_vector(word, norm=True) for word in other_words])
    return 1 - others @ unit(vector)

  def n_similarity(self, ws1: Sequence[str], ws2: Sequence[str]) -> float:
    """Returns the cosine of the means of two lists of words, without normalizing the vectors."""
    means = (
      self.get_mean_vector(ws, pre_normalize=False, ignore_missing=False) for ws in (ws1, ws2)
    )
    one, two = map(unit, means)
    return float(one @ two)

  def most_similar(
    self,
    positive: Terms | None = None,
    negative: Terms | None = None,
    topn: int | None = 10,
    clip_start: int = 0,
    clip_end: int | None = None,
    restrict_vocab: int | None = None,
    indexer: Any = None,
  ) -> list[tuple[str, float]] | np.ndarray:
    """Finds the words nearest to the mean of some vectors, by cosine.

    Args:
      positive: a word or vector `[D]`, or a list of them, to add. Words are added as unit
        vectors, and vectors without normalizing them; `(word, weight)` has a weight.
      negative: words or vectors to subtract: `most_similar(['king', 'woman'], ['man'])`. An
        explicit weight keeps its sign: ('man', -0.5).
      topn: number of words; None for the cosines of all candidates, in their order.
      clip_start: first row of the candidates.
      clip_end: row after the last candidate; None or 0 for all.
      restrict_vocab: number of words, from the first, that are candidates; None or 0 for all.
      indexer: an `ApproximateIndex` of these words, or another object with a method
        `most_similar(vector, num_neighbors)`, to search instead of all candidates.

    Returns:
      `(word, cosine)` pairs, the nearest first, without the words of the query; or
      `[candidates]` cosines.

    Raises:
      KeyError: an unknown word.
      ValueError: neither positive nor negative is given, or a vector is not `[D]`.
    """
    positive, negative = _as_list(positive), _as_list(negative)
    if not positive and not negative:
      raise ValueError('most_similar must have a positive or negative word or vector, got none')
    topn, restrict_vocab = _topn(topn), check_count('restrict_vocab', restrict_vocab)
    if topn is not None and topn < 1:
      return []
    keys, target = self._target(positive, negative)
    if restrict_vocab:
      clip_start, clip_end = 0, restrict_vocab
    clip_end = clip_end or None
    if indexer is not None and topn is not None:
      asked = {key for key in keys if isinstance(key, str)}
      found = indexer.most_similar(unit(target), topn + len(asked))
      return [pair for pair in found if pair[0] not in asked][:topn]
    return self._best(self.cosines(target, clip_start, clip_end), clip_start, keys, topn)

  def _target(self, positive: list[Term], negative: list[Term]) -> tuple[list[Any], np.ndarray]:
    """Returns the words and vectors of a query, and their weighted mean."""
    keys: list[Any] = []
    weights: list[float] = []
    for terms, sign in ((positive, 1.0), (negative, -1.0)):
      for term in terms:
        key, weight = cast(_Weighted, term) if _is_weighted(term) else (term, sign)
        keys.append(key)
        weights.append(float(weight))
    return keys, self.get_mean_vector(keys, weights, ignore_missing=False)

  def most_similar_many(
    self,
    positive: Sequence[Terms],
    negative: Sequence[Terms | None] | None = None,
    topn: int = 10,
    restrict_vocab: int | None = None,
  ) -> list[list[tuple[str, float]]]:
    """Answers many `most_similar` queries at once, with matrix products on the device.

    Args:
      positive: for each query, the terms to add, as in `most_similar`. A list of n words means n
        queries.
      negative: for each query, the terms to subtract; none if not given.
      topn: number of words per query.
      restrict_vocab: number of words, from the first, that are candidates; None or 0 for all.

    Returns:
      For each query `(word, cosine)` pairs, the nearest first, without its own words.

    Raises:
      KeyError: an unknown word.
      ValueError: `topn` is below 1, `negative` and `positive` have different lengths, or as in
        `most_similar`.
    """
    topn, restrict_vocab = _topn(topn), check_count('restrict_vocab', restrict_vocab)
    if topn is None or topn < 1:
      raise ValueError(f'topn must be at least 1, got {topn}')
    positive = _rows(positive)
    negative = None if negative is None else _rows(negative)
    negative = [None] * len(positive) if negative is None else negative
    if len(negative) != len(positive):
      raise ValueError(
        f'negative must have {len(positive)} elements, one per query, got {len(negative)}'
      )
    end = restrict_vocab or len(self)
    asked, targets = [], np.zeros((len(positive), self.vector_size), np.float32)
    for i, (plus, minus) in enumerate(zip(positive, negative, strict=True)):
      plus, minus = _as_list(plus), _as_list(minus)
      if not plus and not minus:
        raise ValueError(f'query {i} must have a positive or negative word or vector, got none')
      keys, target = self._target(plus, minus)
      targets[i] = unit(target)
      asked.append([self.key_to_index.get(key, -1) for key in keys if isinstance(key, str)])
    if not asked:
      return []
    excluded = np.full((len(asked), max(1, *map(len, asked))), -1)
    for i, rows in enumerate(asked):
      excluded[i, : len(rows)] = rows
    rows, cosines = nearest(
      self.vectors[:end], self.norms[:end], targets, excluded=excluded, k=min(topn, len(self))
    )
    return [
      [(self.index_to_key[row], cosine) for row, cosine in zip(*pair, strict=True) if row >= 0]
      for pair in zip(rows.tolist(), cosines.tolist(), strict=True)
    ]

  def approximate_index(self, links: int = 32) -> ApproximateIndex:
    """Builds a faiss index for `most_similar(..., indexer=index)` with millions of words.

    Args:
      links: links per word in the graph; more links are slower and more accurate.

    Raises:
      ImportError: faiss is not installed.
    """
    return ApproximateIndex(self.index_to_key, self.get_normed_vectors(), links)

  def _best(self, scores, first, asked, topn):
    """Returns the words with the highest scores, without the words of the query."""
    if topn is None:
      return np.array(scores)
    found = {
      self.key_to_index[key] for key in asked if isinstance(key, str) and key in self.key_to_index
    }
    rows = [row - first for row in found if 0 <= row - first < len(scores)]
    scores = scores.copy()
    scores[rows] = -np.inf
    count = min(topn, len(scores) - len(rows))
    if count <= 0:
      return []
    best = np.argpartition(-scores, count - 1)[:count]
    best = best[np.argsort(-scores[best], kind='stable')]
    return [(self.index_to_key[first + i], float(scores[i])) for i in best]

  def most_similar_cosmul(
    self,
    positive: Terms | None = None,
    negative: Terms | None = None,
    topn: int | None = 10,
    restrict_vocab: int | None = None,
  ) -> list[tuple[str, float]] | np.ndarray:
    r"""Finds the words with the highest product of cosines, each shifted to [0, 1].

    .. math:: \prod_{p} \frac{1 + \cos(x, p)}{2} \Big/
      \Big(\prod_{n} \frac{1 + \cos(x, n)}{2} + 10^{-6}\Big)

    Args:
      positive: a word or vector, or a list of them, in the numerator.
      negative: words or vectors in the denominator.
      topn: number of words; None for the scores of all.
      restrict_vocab: number of words, from the first, that are candidates; None or 0 for all.

    Returns:
      `(word, score)` pairs, the highest first, without the words of the query.

    Raises:
      KeyError: an unknown word.
      ValueError: nothing is positive, or a vector is not `[D]`.

    References:
      Levy and Goldberg, `Linguistic Regularities in Sparse and Explicit Word
      Representations <https://aclanthology.org/W14-1618/>`_, 2014, 3CosMul.
    """
    positive, negative = _as_list(positive), _as_list(negative)
    if not positive:
      raise ValueError('most_similar_cosmul must have a positive word or vector, got none')
    topn, restrict_vocab = _topn(topn), check_count('restrict_vocab', restrict_vocab)
    if topn is not None and topn < 1:
      return []
    end = restrict_vocab or None
    product = lambda terms: np.prod(
      [(1 + self.cosines(self._term(term), 0, end)) / 2 for term in terms], axis=0
    )
    scores = np.broadcast_to(product(positive) / (product(negative) + 1e-6), len(self.norms[:end]))
    return self._best(scores, 0, [*positive, *negative], topn)

  def similar_by_word(
    self, word: str, topn: int | None = 10, restrict_vocab: int | None = None
  ) -> list[tuple[str, float]] | np.ndarray:
    """Calls `most_similar` for one word."""
    return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

  def similar_by_key(
    self, key: str, topn: int | None = 10, restrict_vocab: int | None = None
  ) -> list[tuple[str, float]] | np.ndarray:
    """Calls `most_similar` for one word."""
    return self.most_similar([key], topn=topn, restrict_vocab=restrict_vocab)

  def similar_by_vector(
    self, vector: np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None
  ) -> list[tuple[str, float]] | np.ndarray:
    """Calls `most_similar` for one vector."""
    return self.most_similar(vector, topn=topn, restrict_vocab=restrict_vocab)

  def rank_by_centrality(self, words: Sequence[str]) -> list[tuple[float, str]]:
    """Ranks words by their cosine with the mean of their unit vectors, the nearest first.

    Unknown words are skipped with a warning.

    Raises:
      ValueError: no word is known.
    """
    words = word_list(words)
    known = [word for word in words if word in self]
    if len(known) < len(words):
      logging.warning('unknown words are skipped: %s', [w for w in words if w not in self])
    if not known:
      raise ValueError(f'words must contain at least one known word, got {list(words)!r}')
    vectors = np.stack([self.get_vector(word, norm=True) for word in known])
    cosines = vectors @ unit(vectors.mean(axis=0))
    return sorted(zip(cosines.tolist(), known, strict=True), reverse=True)

  def doesnt_match(self, words: Sequence[str]) -> str:
    """Returns the word farthest from the mean of the unit vectors of all words given."""
    return self.rank_by_centrality(words)[-1][1]

  def most_similar_to_given(self, key1: str, keys_list: Sequence[str]) -> str:
    """Returns the word of a list that is nearest to `key1`."""
    keys_list = word_list(keys_list)
    if not keys_list:
      raise ValueError('keys_list must have at least one word, got none')
    return keys_list[int(np.argmin(self.distances(key1, keys_list)))]

  def closer_than(self, key1: str, key2: str) -> list[str]:
    """Returns the words nearer to `key1` than `key2` is, in the order of their rows."""
    distances = self.distances(key1)
    closer = np.flatnonzero(distances < distances[self.get_index(key2)])
    return [word for row in closer if (word := self.index_to_key[row]) != key1]

  def rank(self, key1: str, key2: str) -> int:
    """Returns the rank of `key2` among the neighbors of `key1`, starting at 1."""
    return len(self.closer_than(key1, key2)) + 1

  def evaluate_word_pairs(
    self,
    pairs: str | os.PathLike[str],
    delimiter: str | None = None,
    encoding: str = 'utf8',
    restrict_vocab: int | None = 300_000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
    score_column: int = 3,
  ) -> tuple[Any, Any, float]:
    """Reads pairs with `evaluation.read_pairs` and scores them with `evaluate_pairs`."""
    read = evaluation.read_pairs(pairs, delimiter, encoding, score_column)
    return evaluation.evaluate_pairs(self, read, restrict_vocab, case_insensitive, dummy4unknown)

  def evaluate_word_analogies(
    self,
    analogies: str | os.PathLike[str],
    restrict_vocab: int | None = 300_000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
    similarity_function: str = 'most_similar',
  ) -> tuple[float, list[dict[str, Any]]]:
    """Reads questions with `evaluation.read_analogies`, and scores with `evaluate_analogies`."""
    return evaluation.evaluate_analogies(
      self, evaluation.read_analogies(analogies), restrict_vocab, case_insensitive, dummy4unknown,
      similarity_function,
    )  # fmt: skip

  def vectors_for_all(self, keys: Iterable[str], allow_inference: bool = True) -> 'KeyedVectors':
    """Returns a table of the given words that have a vector, in order, without duplicates.

    Args:
      keys: words.
      allow_inference: True to include out-of-vocabulary words with vectors from n-grams.
    """
    has = self if allow_inference else self.key_to_index
    known = [word for word in dict.fromkeys(word_list(keys)) if word in has]
    return KeyedVectors(known, self[known])

  def subset(self, keys: Iterable[str]) -> 'KeyedVectors':
    """Returns a table of the given words, in order, without duplicates.

    Raises:
      KeyError: an unknown word.
    """
    keys = list(dict.fromkeys(word_list(keys)))
    return KeyedVectors(keys, self[keys])

  @classmethod
  def concatenate(cls, parts: Sequence['KeyedVectors'], axis: int = 0) -> 'KeyedVectors':
    """Concatenates tables.

    Args:
      parts: the tables; for axis 0 they must have the same width.
      axis: 0 for the words of all tables, with the vector of the first table that contains the
        word; 1 for the words common to all tables, in the order of the first, with their
        vectors concatenated.

    Raises:
      ValueError: `parts` is empty, `axis` is not 0 or 1, or the widths differ.
    """
    parts = list(parts)
    if not parts:
      raise ValueError('parts must have at least one table, got none')
    if axis not in (0, 1):
      raise ValueError(f'axis must be 0 or 1, got {axis!r}')
    if axis == 1:
      words = [word for word in parts[0] if all(word in part.key_to_index for part in parts)]
      return KeyedVectors(words, np.concatenate([part[words] for part in parts], axis=1))
    widths = {part.vector_size for part in parts}
    if len(widths) > 1:
      raise ValueError(f'tables must have the same width for axis=0, got {sorted(widths)}')
    seen: set[str] = set()
    new = []  # the words of each part that no earlier one has
    for part in parts:
      new.append([word for word in part if word not in seen])
      seen.update(part)
    rows = [part[words] for part, words in zip(parts, new, strict=True)]
    return KeyedVectors([word for words in new for word in words], np.concatenate(rows))

  def to_pandas(self) -> Any:
    """Returns a `DataFrame` with a copy of the vectors: a row per word, columns 0 to D - 1.

    Raises:
      ImportError: pandas is not installed.
    """
    try:
      import pandas
    except ImportError as error:
      raise ImportError('to_pandas needs pandas: pip install pandas') from error
    return pandas.DataFrame(self.vectors, index=self.index_to_key, copy=True)

  @classmethod
  def load(cls, fname: str | os.PathLike[str], mmap: str | None = None) -> 'KeyedVectors':
    """Calls `load_vectors`, as gensim names it. `mmap` is ignored; safetensors are mapped."""
    return load_vectors(fname)

  def save(self, fname: str | os.PathLike[str]) -> None:
    """Calls `save_vectors`, as gensim names it. The format is always safetensors."""
    save_vectors(self, fname, 'safetensors')

  @classmethod
  def load_word2vec_format(
    cls,
    fname: str | os.PathLike[str],
    *,
    binary: bool = False,
    limit: int | None = None,
    no_header: bool = False,
    encoding: str = 'utf8',
    unicode_errors: str = 'strict',
    datatype: Any = np.float32,
  ) -> 'KeyedVectors':
    """Calls `load_vectors` for word2vec text or binary, or GloVe text if `no_header`.

    `unicode_errors` is ignored: a word that is not UTF-8 is always an error.

    Raises:
      ValueError: as `load_vectors`, or an option is not UTF-8 or float32.
    """
    utf8 = encoding.lower().replace('-', '').replace('_', '') == 'utf8'
    if not utf8 or np.dtype(datatype) != np.float32:
      raise ValueError(
        f"encoding must be 'utf8' and datatype float32, got {encoding!r} and {datatype!r}; convert "
        'the file or the vectors'
      )
    return load_vectors(fname, _format(binary, no_header), limit=limit)

  def save_word2vec_format(
    self, fname: str | os.PathLike[str], *, binary: bool = False, write_header: bool = True
  ) -> None:
    """Calls `save_vectors` for word2vec text or binary, or GloVe text without a header."""
    save_vectors(self, fname, _format(binary, not write_header))


class SubwordVectors(KeyedVectors):
  """Words with their vectors, and vectors for out-of-vocabulary words from their n-grams.

  `word in kv` is true for every word with a vector, including out-of-vocabulary words with a
  known n-gram. Only the words of the vocabulary are candidates of `most_similar`.

  Attributes:
    ngrams: the rows of n-grams.
    word_rows: `[V, D]`, the rows of the words themselves; None if not known. The vector of a
      word is the mean of its own row and the rows of its n-grams.
    counts: `[V]`, occurrences of the words; None if not known.
  """

  def __init__(
    self,
    words: Iterable[str],
    vectors: np.ndarray | None,
    ngrams: Ngrams,
    word_rows: np.ndarray | None = None,
    counts: np.ndarray | None = None,
  ):
    """Stores V words with their vectors or their rows, and the rows of n-grams.

    Raises:
      ValueError: as for `KeyedVectors`, or both `vectors` and `word_rows` are None.
    """
    words = strings(words)
    word_rows = None if word_rows is None else as_array('word_rows', word_rows)
    if vectors is None:
      if word_rows is None:
        raise ValueError('vectors or word_rows must be given, got None for both')
      vectors = word_vectors(words, word_rows, ngrams)
    super().__init__(words, vectors)
    self.ngrams: Ngrams = ngrams
    self.word_rows: np.ndarray | None = word_rows
    self.counts: np.ndarray | None = counts

  def __contains__(self, word: str) -> bool:
    return word in self.key_to_index or self._has_ngrams(word)

  def _has_ngrams(self, word: object) -> bool:
    if not isinstance(word, str) or word == END_OF_LINE or _has_surrogate(word):
      return False
    return len(self.ngrams.rows([word])[0]) > 0

  def get_vector(self, key: str, norm: bool = False) -> np.ndarray:
    """Returns the vector `[D]` of any word, normalized if `norm`."""
    if key in self.key_to_index or not self._has_ngrams(key):
      return super().get_vector(key, norm)
    none = np.zeros((0, self.vector_size), np.float32)
    vector = word_vectors([key], none, self.ngrams)[0]
    if norm:
      vector /= np.linalg.norm(vector) or 1
    return vector


def load_vectors(
  path: str | os.PathLike[str],
  format: str | None = None,
  *,
  limit: int | None = None,
  max_expansion: float | None = VECTORS_EXPANSION,
) -> KeyedVectors:
  """Reads vectors from a file written by this library or another tool.

  A file may be compressed with gzip, bzip2, xz or zstd, or be a zip archive of one file. The
  numbers of a safetensors file stay in the file until they are used. Text may be aligned in columns
  or have tabs, and a byte order mark is skipped.

  Args:
    path: the file, or the folder of a TensorBoard projector or of a static embedding of
      sentence-transformers; `~` is the home folder.
    format: one of `jw2v.formats.registry.FORMATS`; guessed from the content if not given.
      'fasttext' is both the text of a `.vec` file and the model of a `.bin` file. 'glove' also
      reads text with a line `V D` and words that contain spaces.
    limit: maximum number of words to read, from the start; None for all.
    max_expansion: largest allowed ratio of decompressed to compressed size, for compressed files
      and for NumPy, Parquet and Arrow files; None for no limit. 64 MiB are always allowed.

  Returns:
    The vectors. For a fastText model, or a safetensors file with n-grams, they are
    `SubwordVectors`, which have vectors for out-of-vocabulary words too.

  Raises:
    ImportError: the file is Parquet, Arrow or zstd, without the extra `text`.
    OSError: the file cannot be read.
    TypeError: `path` is an open file; only paths are read.
    ValueError: the format is unknown, or the file is corrupted; the message names the row and
      the reason.
  """
  table, first_row = read_table(path, format, limit=limit, max_expansion=max_expansion)
  try:
    if table.ngrams is None:
      return KeyedVectors(table.words, table.vectors)
    return SubwordVectors(table.words, table.vectors, table.ngrams, table.word_rows, table.counts)
  except ValueError as error:
    reason = describe_duplicate(table.words, first_row) or error
    raise ValueError(f'{os.fspath(path)}: {reason}') from error


def save_vectors(
  kv: KeyedVectors, path: str | os.PathLike[str], format: str | None = None, *, newline: bool = True
) -> None:
  r"""Writes vectors to a file that other tools can read.

  ===================  ================================================================
  `word2vec`           text of the word2vec tool: a line `V D`, then a word and D numbers
                       per line
  `word2vec_binary`    binary format of the word2vec tool: float32 after each word
  `glove`              text without the line `V D`
  `fasttext`           for a `.vec` file, the same text as word2vec; for a `.bin` file of
                       vectors with n-grams, a fastText model
  `safetensors`        `vectors` F32 [V, D] and `words` U8, UTF-8 with `\n` between words;
                       and the n-grams, if the vectors have any
  `numpy`              a `.npz` file with the same two arrays
  `parquet`            a column `word` of strings, and a column `vector` of fixed-size lists
                       of float32
  `arrow`              the same two columns, in an Arrow (Feather) file
  `projector`          a folder for TensorBoard: vectors, words, and a config file
  `static_embedding`   a folder for `SentenceTransformer(path)` of sentence-transformers,
                       whose `encode` returns `text_vectors(kv, texts, weights='mean')`;
                       texts keep their case if a word has upper case
  ===================  ================================================================

  Text represents every float32 exactly, with nine digits.

  Args:
    kv: the vectors.
    path: the file, which appears only after all of it is written. Text and word2vec binary are
      compressed if the name ends in `.gz`, `.bz2` or `.xz`. An older file keeps its permissions,
      and a symbolic link its target.
    format: one of `jw2v.formats.registry.FORMATS`. If not given, the file extension decides:
      `.bin`, `.vec`, `.safetensors`, `.npz`, `.parquet`, `.arrow` or `.feather`; a folder is a
      projector, and anything else word2vec text, unless the name has another known file
      extension, such as `.csv` or `.zip`. A `.bin` file is word2vec binary, or a fastText model if
      the vectors have n-grams.
    newline: True to end each row of word2vec binary with a line feed, as the word2vec tool
      writes it, or not, as gensim does.

  Raises:
    FileNotFoundError: the folder does not exist.
    ImportError: the format is Parquet or Arrow, without the extra `text`.
    TypeError: `path` is an open file; only paths are written.
    ValueError: the format is unknown or does not match the file extension, a word does not fit
      into the format, or a vector is empty or not finite.
  """
  table = VectorTable(kv.index_to_key, kv.vectors)
  if isinstance(kv, SubwordVectors):
    table = table._replace(ngrams=kv.ngrams, word_rows=kv.word_rows, counts=kv.counts)
  write_table(table, path, format, newline=newline)


def _format(binary: bool, no_header: bool) -> str:
  if binary and no_header:
    raise ValueError('binary must be False for a file without header, got True')
  return 'word2vec_binary' if binary else 'glove' if no_header else 'word2vec'


def _has_surrogate(word: str) -> bool:
  return not word.isascii() and any('\ud800' <= c <= '\udfff' for c in word)


def _topn(topn: Any) -> int | None:
  """Returns the number of words; None stays None, and a negative number is 0."""
  try:
    return None if topn is None else max(operator.index(topn), 0)
  except TypeError:
    raise ValueError(f'topn must be an integer or None, got {topn!r}') from None


def _is_number(value: Any) -> bool:
  """Returns whether a value is a number, or an array of rank 0."""
  return isinstance(value, numbers.Real) or (
    not isinstance(value, str) and hasattr(value, '__array__') and np.ndim(value) == 0
  )


def _is_weighted(term: Any) -> bool:
  """Returns whether a term is a pair of a word or vector and its weight."""
  return (
    isinstance(term, tuple | list)
    and len(term) == 2
    and not _is_number(term[0])
    and _is_number(term[1])
  )


def _rows(values: Any) -> Any:
  """Returns the rows of an array or table of any library, or the elements of a collection."""
  is_array = hasattr(values, '__array__') and not isinstance(values, str)
  return word_list(as_array('vectors', values) if is_array else values)


def _as_list(terms: Any) -> list[Term]:
  """Converts one term, or several, to a list of terms."""
  if terms is None:
    return []
  if _is_weighted(terms):
    return [cast(_Weighted, terms)]
  rows = _rows(terms)
  return [rows] if rows and all(map(_is_number, rows)) else rows
