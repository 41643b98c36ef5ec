"""Columns of other libraries as a corpus: the same words as lists, and errors."""

import collections.abc
import re
import tracemalloc

import numpy as np
import pytest

from jw2v import TrainConfig, train
from jw2v.data import columns
from jw2v.data.corpus import encode_corpus, is_text, learn_phrases
from jw2v.data.phrases import PhraseConfig
from jw2v.data.tokens import TextConfig
from tests.data.test_corpus import decoded

TEXTS = ['The cat', None, 'a  cat\nthe dog ', '', 'the caf\u00e9']
LISTS = [['The', 'cat'], None, ['a', 'cat'], ['the', 'dog'], [], ['the', 'caf\u00e9']]
WANT = [['The', 'cat'], ['a', 'cat'], ['the', 'dog'], ['the', 'caf\u00e9']]


def pandas_column(values):
  return pytest.importorskip('pandas').Series(values, index=range(9, 9 + len(values)))


def pandas_objects(values):
  return pytest.importorskip('pandas').Series(values, dtype=object)


def pandas_array(values):
  pandas = pytest.importorskip('pandas')
  if not isinstance(values[0], str):
    pytest.skip('an array of strings')
  return pandas.array(values, dtype='string')


def pandas_category(values):
  if not isinstance(values[0], str):
    pytest.skip('a column of strings')
  return pandas_column(values).astype('category')


def arrow_array(values):
  return pytest.importorskip('pyarrow').array(values)


def arrow_chunks(values):
  return pytest.importorskip('pyarrow').chunked_array([values[:2], values[2:], values[:0]])


def polars_column(values):
  return pytest.importorskip('polars').Series(values)


def dataset_column(values):
  return pytest.importorskip('datasets').Dataset.from_dict({'text': values})['text']


def dataset_stream(values):
  datasets = pytest.importorskip('datasets')
  return datasets.Dataset.from_dict({'text': values}).to_iterable_dataset()['text']


COLUMNS = [
  pandas_column, pandas_objects, pandas_array, pandas_category, arrow_array, arrow_chunks,
  polars_column, dataset_column, dataset_stream,
]  # fmt: skip


@pytest.fixture(params=[1 << 10, 2])
def rows_at_once(request, monkeypatch):
  monkeypatch.setattr(columns, '_ROWS', request.param)
  monkeypatch.setattr(columns, '_BUFFER_CHARACTERS', 5 * request.param)


@pytest.mark.usefixtures('rows_at_once')
@pytest.mark.parametrize('column', COLUMNS)
class TestColumns:
  @pytest.mark.parametrize('values', [TEXTS, LISTS], ids=['texts', 'lists'])
  def test_words_and_lines(self, column, values):
    corpus = column(values)
    assert not is_text(corpus)
    text = 'whitespace' if values is TEXTS else None
    encoded = encode_corpus(corpus, min_count=1, text=text)
    want = encode_corpus(WANT, min_count=1)
    assert decoded(encoded) == WANT and encoded.words_read == 8
    assert encoded.vocabulary.words == want.vocabulary.words
    np.testing.assert_array_equal(encoded.vocabulary.counts, want.vocabulary.counts)

  def test_text_setting(self, column):
    lower = TextConfig(lowercase=True)
    encoded = encode_corpus(column(TEXTS), min_count=1, text=lower)
    assert 'The' not in encoded.vocabulary.words and encoded.settings['lowercase']
    pattern = TextConfig(word_pattern='[a-z]+')
    assert decoded(encode_corpus(column(TEXTS), min_count=1, text=pattern)) == [
      ['he', 'cat'], ['a', 'cat'], ['the', 'dog'], ['the', 'caf'],
    ]  # fmt: skip
    tokenizer = TextConfig(tokenizer=lambda line: [*line.split(), str(len(line))])
    assert decoded(encode_corpus(column(TEXTS), min_count=1, text=tokenizer)) == [
      ['The', 'cat', '7'], ['a', 'cat', '6'], ['the', 'dog', '8'], ['0'], ['the', 'caf\u00e9', '8'],
    ]  # fmt: skip

  def test_phrases(self, column):
    config = PhraseConfig(min_count=2, threshold=0.1)
    got = learn_phrases(column(['new york'] * 5 + ['a b c']), config)
    want = learn_phrases([['new', 'york']] * 5 + [['a', 'b', 'c']], config)
    assert got.passes == want.passes and list(got.passes[0]) == [('new', 'york')]

  def test_without_values(self, column):
    for values in ([''], ['', None]):
      with pytest.raises(ValueError, match='the corpus: no words found'):
        encode_corpus(column(values), min_count=1)


def test_training():
  config = TrainConfig(min_count=1, dim=4, epochs=1, batch_size=16, sample=0)
  column = arrow_array(['the cat sat on the mat', 'a dog'] * 9)
  lists = [['the', 'cat', 'sat', 'on', 'the', 'mat'], ['a', 'dog']] * 9
  got, want = (train(corpus, config, progress=False).vectors for corpus in (column, lists))
  assert got.index_to_key == want.index_to_key
  np.testing.assert_array_equal(got.vectors, want.vectors)


def test_memory_does_not_grow_with_the_column():
  """Holds less than 0.5 MB in memory while it reads a column of 3 MB."""
  column = arrow_array(['some words of a text ' * 5] * 30_000)
  tracemalloc.start()
  try:
    columns_read = sum(map(len, columns._values(column)))
    assert columns_read == 3_150_000 and tracemalloc.get_traced_memory()[1] < 500_000
  finally:
    tracemalloc.stop()


class TestRefused:
  def frames(self):
    pandas, pyarrow = pytest.importorskip('pandas'), pytest.importorskip('pyarrow')
    table = {'id': [1], 'text': ['a b']}
    return [pandas.DataFrame(table), pyarrow.table(table), pyarrow.record_batch(table)]

  def test_frames(self):
    for frame in self.frames():
      message = f"got a {type(frame).__name__} with columns ['id', 'text']; choose the column"
      for call in (is_text, encode_corpus, learn_phrases, train):
        with pytest.raises(TypeError, match=re.escape(message)):
          call(frame)

  def test_polars_frame(self):
    polars = pytest.importorskip('polars')
    with pytest.raises(TypeError, match=r"got a DataFrame with columns \['text'\]; choose"):
      encode_corpus(polars.DataFrame({'text': ['a b']}))

  def test_datasets(self):
    datasets = pytest.importorskip('datasets')
    dataset = datasets.Dataset.from_dict({'text': ['a b']})
    for frame in (dataset, dataset.to_iterable_dataset(), datasets.DatasetDict(train=dataset)):
      with pytest.raises(TypeError, match=r"with columns .*\['text'\].*; choose the column"):
        encode_corpus(frame)

  @pytest.mark.parametrize(
    ('values', 'message'),
    [
      ([1, 2], 'a column must contain strings or lists of words, got 1'),
      ([{'a': 'b'}], "a column must contain strings or lists of words, got {'a': 'b'}"),
      ([b'a b'], "a column must contain strings or lists of words, got b'a b'"),
      ([['a', 'b'], ['c', None]], 'words must be strings, got None'),
      ([[1, 2]], 'words must be strings, got 1'),
    ],
  )
  def test_values_of_other_types(self, values, message):
    with pytest.raises(TypeError, match=f'the corpus: {message}'):
      encode_corpus(arrow_array(values))

  def test_values_of_two_types(self):
    with pytest.raises(TypeError, match=r'all values must be strings like the first, got \[1\]'):
      encode_corpus(pandas_objects(['a b', [1]]))
    with pytest.raises(TypeError, match="a line must be a list of words, got the text 'a b'"):
      encode_corpus(pandas_objects([['a'], 'a b']))

  def test_text_for_lists_of_words(self):
    for encode in (encode_corpus, learn_phrases):
      with pytest.raises(ValueError, match='text must be None for a column of lists of words'):
        encode(arrow_array([['a', 'b']] * 5), text='words')

  def test_half_characters(self):
    with pytest.raises(ValueError, match='the corpus: a text must be valid Unicode'):
      encode_corpus(pandas_objects(['a b', 'half \ud800']))


class Column(collections.abc.Sequence):
  """Stand-in for a column of datasets, with the used methods, if the package is missing."""

  column_name = 'text'

  def __len__(self):
    return len(TEXTS)

  def __getitem__(self, place):
    return TEXTS[place]


class Dataset:
  column_names = ('id', 'text')

  def __iter__(self):
    return iter([{'id': 1, 'text': 'a b'}])


class OldSeries:
  """Stand-in for a pandas column without Arrow protocols, with other numbers in its index."""

  def __init__(self, values):
    self.values = values

  def __len__(self):
    return len(self.values)

  def __iter__(self):
    return iter(self.values)

  @property
  def iloc(self):
    return self.values


def test_what_datasets_and_old_pandas_have():
  assert not is_text(Column())
  for column in (Column(), OldSeries(TEXTS)):
    assert decoded(encode_corpus(column, min_count=1, text='whitespace')) == WANT
  with pytest.raises(TypeError, match=r"got a Dataset with columns \['id', 'text'\]; choose"):
    encode_corpus(Dataset())


def test_other_corpora_are_not_columns():
  for corpus in ('path', ['path'], [['a']], iter([['a']]), ({'a': 1},), np.array([['a', 'b']])):
    assert not columns.is_column(corpus)
