"""Targets of the fuzzer: kinds of files, valid cases, and the calls that read them.

Contains the kinds by target. The calls of a kind read a folder in all the ways available to a user,
and check that the result is sound.
"""

import bz2
import dataclasses
import functools
import gzip
import hashlib
import io
import itertools
import json
import lzma
import math
import pathlib
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet
from absl import flags
from fuzz_mutations import Case
from ml_collections import ConfigDict, config_flags
from pyarrow import feather

import jw2v
from configs import quickstart
from jw2v.cli import convert, evaluate, settings
from jw2v.data import sessions, walks
from jw2v.data.phrases import Phrases
from jw2v.data.vocabulary import Vocabulary
from jw2v.ngrams import Ngrams
from jw2v.training.checkpoints import Checkpoints
from jw2v.vectors import evaluation
from jw2v.vectors.keyed_vectors import SubwordVectors

Call = Callable[[], Any]


class Kind(NamedTuple):
  """Files of one kind.

  Attributes:
    cases: function that returns valid files.
    calls: function from a folder with such files to separate calls that read it.
    refusals: exceptions that the calls may raise.
    repair: function that corrects the checksums of a case.
    named: True if errors must contain the name of the file.
  """

  cases: Callable[[], list[Case]]
  calls: Callable[[pathlib.Path], Iterator[Call]]
  refusals: tuple[type[Exception], ...] = (ValueError, OSError)
  repair: Callable[[Case], Case] = lambda case: case
  named: bool = True


def _saved(write: Callable[[pathlib.Path], Any]) -> Case:
  """Returns the files that a function writes into a folder."""
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    write(folder)
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _only(folder: pathlib.Path) -> pathlib.Path:
  """Returns the file of a case with a single file."""
  return next((path for path in folder.iterdir()), folder / 'missing')


# Vectors.


def _vectors() -> jw2v.KeyedVectors:
  words = ['</s>', 'the', 'naïve', 'a\u00a0b', '日本', '1', 'x']
  rows = np.random.default_rng(0).normal(size=(len(words), 4)).astype(np.float32)
  return jw2v.KeyedVectors(words, rows)


def _with_ngrams(buckets: int = 20, every: bool = True) -> SubwordVectors:
  draw, words = np.random.default_rng(1), ['the', 'there', 'naïve']
  index = None if every else np.array([0, 3, 7, buckets - 1])
  rows = draw.normal(size=(buckets if every else 4, 4)).astype(np.float32)
  ngrams = Ngrams(rows, 2, 4, buckets, index)
  word_rows = draw.normal(size=(3, 4)).astype(np.float32)
  return SubwordVectors(words, None, ngrams, word_rows, np.array([9, 5, 2]))


def _save(names: list[str], kv: jw2v.KeyedVectors, **more: Any) -> list[Case]:
  write = lambda name: lambda folder: jw2v.save_vectors(kv, folder / name, **more)
  return [_saved(write(name)) for name in names]


def _sound(kv: jw2v.KeyedVectors) -> None:
  """Checks the complete result, as a user would read it."""
  assert kv.vectors.shape == (len(kv), kv.vector_size) and kv.vectors.dtype == np.float32
  assert np.isfinite(kv.vectors).all() and len(set(kv.index_to_key)) == len(kv)
  for word in kv.index_to_key[:3]:
    word.encode()
    assert kv[word].shape == (kv.vector_size,)
  if isinstance(kv, SubwordVectors):
    index = kv.ngrams.index
    assert kv.ngrams.buckets > 0 and (index is None or (index[1:] > index[:-1]).all())
    assert kv.word_rows is None or np.isfinite(kv.word_rows).all()
    try:
      assert np.isfinite(kv['unseen']).all()
    except KeyError:  # none of its n-grams has a row
      pass


def _load_vectors(path: pathlib.Path) -> Iterator[Call]:
  """Reads with a detected format, with the format of the name's stem, and in part."""
  named = path.name.partition('.')[0]
  for more in ({}, {'format': named}, {'format': named, 'limit': 1}):
    yield lambda more=more: _sound(jw2v.load_vectors(path, **more))


def _text_vectors() -> list[Case]:
  kv = _vectors()
  cases = [
    *_save(['word2vec.txt', 'word2vec.txt.gz', 'word2vec.txt.bz2', 'word2vec.txt.xz'], kv),
    *_save(['glove.txt', 'glove.txt.gz'], kv, format='glove'),
    *_save(['fasttext.vec'], kv),
  ]
  spaced = cases[0]['word2vec.txt'].replace(b'\n', b' \n').replace(b' \n', b'\n', 1)
  zstd = pyarrow.compress(spaced, codec='zstd', asbytes=True)
  archive = io.BytesIO()
  with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
    file.writestr('glove.txt', cases[4]['glove.txt'])
  return [
    *cases, {'fasttext.vec': spaced}, {'fasttext.vec.zst': zstd},
    {'glove.txt': b'new york 1 2\r\na 3 4'}, {'glove.txt': b'2 2\nnew york 1 2\na  3\t4\n'},
    {'glove.zip': archive.getvalue()},
  ]  # fmt: skip


def _write_arrow_of_others(folder: pathlib.Path) -> None:
  """Writes strings and lists of other types than ours, compressed, among other columns."""
  kv = _vectors()
  table = pyarrow.table({
    'id': range(len(kv)),
    'vector': pyarrow.array(kv.vectors.tolist(), pyarrow.large_list(pyarrow.float64())),
    'word': pyarrow.array(kv.index_to_key, pyarrow.string_view()),
  })  # fmt: skip
  feather.write_feather(table, folder / 'arrow.feather', 'zstd')


def _binary_vectors() -> list[Case]:
  kv = _vectors()
  return [
    *_save(['word2vec_binary.bin', 'word2vec_binary.bin.gz'], kv, format='word2vec_binary'),
    *_save(['word2vec_binary.bin'], kv, format='word2vec_binary', newline=False),
    *_save(['numpy.npz'], kv),
    *_save(['parquet.parquet', 'arrow.arrow'], kv),
    _saved(_write_arrow_of_others),
    *_save(['safetensors.safetensors'], kv),
    *_save(['safetensors.safetensors', 'fasttext.bin'], _with_ngrams()),
    {'fasttext.bin.gz': gzip.compress(_save(['fasttext.bin'], _with_ngrams())[0]['fasttext.bin'])},
    *_save(['safetensors.safetensors'], _with_ngrams(every=False)),
  ]


# Vocabulary, phrases and store.


def _store_cases() -> list[Case]:
  def write(folder, **more):
    (folder / 'text.txt').write_text('new york is a city\na city is new york\na a a b\n' * 3)
    jw2v.encode_corpus(folder / 'text.txt', folder / 'store', min_count=1, **more)

  phrases = jw2v.PhraseConfig(min_count=1, threshold=0.1, connector_words=('is',))
  return [_saved(write), _saved(functools.partial(write, phrases=phrases))]


def _repaired_store(case: Case) -> Case:
  """Returns a store with the checksums of its present files, as a forger would write them."""
  try:
    manifest = json.loads(case['store/manifest.json'])
    manifest.pop('sha256', None)
    for name, about in manifest['files'].items():
      data = case[f'store/{name}']
      about |= {'size': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
  except Exception:
    pass
  try:
    encoded = json.dumps(manifest, sort_keys=True).encode()
    manifest['sha256'] = hashlib.sha256(encoded).hexdigest()
    return {**case, 'store/manifest.json': json.dumps(manifest).encode()}
  except Exception:  # too much of it is gone
    return case


def _open_store(folder: pathlib.Path) -> Iterator[Call]:
  def look():
    corpus = jw2v.open_corpus(folder / 'store')
    assert corpus.ids.dtype == np.int32 and corpus.line_ends.dtype == np.int64
    if len(corpus.ids):
      assert 0 <= corpus.ids.min() and corpus.ids.max() < len(corpus.vocabulary)
    ends = corpus.line_ends
    assert (np.diff(ends, prepend=0) > 0).all() and (ends <= len(corpus.ids)).all()
    if corpus.phrases is not None:
      corpus.phrases.join(['new', 'is', 'york', 'a'])

  yield look
  # Encodes as a run that finds the folder in its place; another folder remains unchanged.
  yield lambda: jw2v.encode_corpus(folder / 'text.txt', folder / 'store', min_count=1)


def _phrase_cases() -> list[Case]:
  passes = ({('new', 'york'): 12.5, ('bank', 'of', 'england'): 3.0}, {('new_york', 'city'): 1.5})
  phrases = Phrases(passes, ('of', 'the'))
  return [_saved(lambda folder: phrases.save(folder / 'phrases.txt'))]


def _load_phrases(folder: pathlib.Path) -> Iterator[Call]:
  def look():
    phrases = Phrases.load(_only(folder))
    assert all(math.isfinite(score) for table in phrases.passes for score in table.values())
    phrases.join(['new', 'york', 'city', 'of'])
    jw2v.encode_corpus([['new', 'york', 'city', 'of']] * 2, min_count=1, phrases=phrases)

  yield look


def _load_vocabulary(folder: pathlib.Path) -> Iterator[Call]:
  def look():
    vocabulary = Vocabulary.load(_only(folder))
    assert len(vocabulary.index) == len(vocabulary.counts) and (vocabulary.counts >= 0).all()

  yield look
  yield lambda: convert.read_words(_only(folder))


# Checkpoints and settings.

_STATE = {'center': np.arange(12, dtype=np.float32).reshape(4, 3), 'steps': np.array(5)}
_WORDS = Vocabulary(('the', 'of', 'naïve', 'x'), np.array([9, 5, 2, 1]))
_RUN_SETTINGS = {'config': {'dim': 3, 'window': 2}, 'words': [1, 2]}


def _checkpoint_cases() -> list[Case]:
  def write(folder):
    checkpoints = Checkpoints(folder / 'checkpoints')
    assert checkpoints.restore(_STATE, _WORDS, _RUN_SETTINGS) is None
    place = {'positions': [[1, 2, 3, 40]], 'lowest': 0.5, 'epochs_since': 1}
    checkpoints.save(7, _STATE, {'place': place, 'progress': {'step': 7, 'history': []}})
    checkpoints.close()

  return [_saved(write)]


def _repaired_checkpoint(case: Case) -> Case:
  """Returns a checkpoint with the checksum of its present record, as a forger would write it."""
  name = 'checkpoints/7/about/metadata'
  try:
    about = json.loads(case[name])
    about.pop('checksum')
    encoded = json.dumps(about, sort_keys=True).encode()
    about['checksum'] = hashlib.sha256(encoded).hexdigest()
    return {**case, name: json.dumps(about).encode()}
  except Exception:  # too much of it is gone
    return case


def _restore(folder: pathlib.Path) -> Iterator[Call]:
  def look():
    checkpoints = Checkpoints(folder / 'checkpoints')
    try:
      found = checkpoints.restore(_STATE, _WORDS, _RUN_SETTINGS)
      if found is not None:
        for array, want in zip(found[0].values(), _STATE.values(), strict=True):
          assert array.shape == want.shape and array.dtype == want.dtype
    finally:
      checkpoints.close()

  yield look


def _settings_cases() -> list[Case]:
  right = [dataclasses.asdict(config) for config in (
    jw2v.TrainConfig(), jw2v.TrainConfig(objective='hierarchical_softmax', minn=2, maxn=4),
    jw2v.TextConfig(word_pattern=r'\w+'), jw2v.PhraseConfig(connector_words=('of',)),
  )]  # fmt: skip
  right.append(quickstart.get_config().to_dict())
  return [{'config.json': json.dumps(each).encode()} for each in right]


def _refused_by_value(config: Callable, given: dict[str, Any]) -> None:
  """Creates settings; settings of a run may raise only a `ValueError`."""
  try:
    config(**given)
  except TypeError:
    if config is jw2v.TrainConfig:
      raise AssertionError(f'{given}: refused by a TypeError') from None


def _read_settings(folder: pathlib.Path) -> Iterator[Call]:
  """Reads values as settings of each kind, and each as a flag of the training program."""
  try:
    values = json.loads(_only(folder).read_bytes())
  except (ValueError, RecursionError, OSError):  # nothing of ours reads it as a file
    return
  if not isinstance(values, dict):
    return
  for config in (jw2v.TrainConfig, jw2v.TextConfig, jw2v.PhraseConfig):
    names = {field.name for field in dataclasses.fields(config)} - {'tokenizer'}
    given = {name: value for name, value in values.items() if name in names}
    if given:
      yield functools.partial(_refused_by_value, config, given)
  if 'data' in values:
    yield lambda: settings.train_config(ConfigDict(values))

  def as_flags():
    holder = flags.FlagValues()
    config = quickstart.get_config()
    config_flags.DEFINE_config_dict('config', config, flag_values=holder)
    known = ((name, value) for name, value in values.items() if name in config)
    holder(['train', *(f'--config.{name}={value}' for name, value in known)])
    settings.train_config(config)

  yield as_flags


# Text and lists of words.

_TEXT = 'the cat sat on the mat\nnaïve 日本\u2028 text\n\n the end\t\r\nthe cat\n'.encode()


def _text_cases() -> list[Case]:
  return [
    {'text.txt': _TEXT}, {'text.gz': gzip.compress(_TEXT)}, {'text.bz2': bz2.compress(_TEXT)},
    {'text.xz': lzma.compress(_TEXT)}, {'text.xz': lzma.compress(_TEXT, lzma.FORMAT_ALONE)},
    {'text.zst': pyarrow.Codec('zstd').compress(_TEXT, asbytes=True)},
    {'a/one.txt': _TEXT, 'b.gz': gzip.compress(_TEXT), '.hidden': b'\xff'},
    {'text.txt': _TEXT.decode().encode('utf-16')}, {'text.zip': _zip({'a.txt': _TEXT})},
    {'text.tar': _tar({'a.txt': _TEXT, 'b.gz': gzip.compress(_TEXT)})},
    {'text.tgz': gzip.compress(_tar({'a.txt': _TEXT}))},
    {'rows.jsonl': b'{"text": "the cat"}\n{"n": 1, "text": "sat \\u00e9"}\n'},
    {'rows.json': b'[{"text": "the cat"},\n {"text": ["on"], "a": {"b": "mat"}}]'},
    {'rows.csv': b'id,text\n1,"the ""cat""\nsat"\n2,on the mat\n'},
    {'rows.parquet': _parquet({'id': [1, 2], 'text': ['the cat sat', None]})},
  ]  # fmt: skip


def _zip(members: dict[str, bytes]) -> bytes:
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return buffer.getvalue()


def _tar(members: dict[str, bytes]) -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w') as archive:
    for name, content in members.items():
      member = tarfile.TarInfo(name)
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
  return buffer.getvalue()


def _parquet(columns: dict[str, list]) -> bytes:
  buffer = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
  return buffer.getvalue()


def _encode(folder: pathlib.Path) -> Iterator[Call]:
  configs = [
    {}, {'lowercase': True, 'errors': 'replace'}, {'word_pattern': r'\w+', 'errors': 'ignore'},
    {'split': 'words', 'field': 'text'}, {'field': 'text', 'errors': 'replace'},
    {'encoding': 'utf-16-le', 'errors': 'replace', 'field': ''},
  ]  # fmt: skip
  named = sorted(path for path in folder.rglob('*') if path.is_file())
  for more in configs:
    text = jw2v.TextConfig(**more)
    paths = folder if 'errors' in more else named

    def look(paths=paths, text=text):
      corpus = jw2v.encode_corpus(paths, text=text, min_count=1)
      assert len(corpus.ids) and corpus.ids.max() < len(corpus.vocabulary)

    yield look


def _list_cases(*texts: str) -> list[Case]:
  return [{'list.txt': text.encode()} for text in texts]


def _read_lists(folder: pathlib.Path) -> Iterator[Call]:
  path = _only(folder)
  yield lambda: evaluation.read_pairs(path)
  yield lambda: evaluation.read_analogies(path)
  yield lambda: evaluate.read_questions(path)
  yield lambda: evaluate.read_questions(path, 4)


def _read_edges(folder: pathlib.Path) -> Iterator[Call]:
  for directed in (False, True):

    def look(directed=directed):
      graph = walks.read_edges(_only(folder), directed=directed)
      assert np.isfinite(graph.weights).all() and (graph.weights > 0).all()
      made = walks.random_walks(graph, p=0.5, q=2, walks_per_node=1, length=5)
      for walk in itertools.islice(made, 100):
        assert walk and set(walk) <= set(graph.names)

    yield look


def _read_sessions(folder: pathlib.Path) -> Iterator[Call]:
  yield lambda: list(sessions.read_sessions(_only(folder)))
  yield lambda: list(sessions.read_sessions(_only(folder), delimiter='\t'))


def _npy_cases() -> list[Case]:
  """Returns archives from another writer: another order, big-endian numbers, columns first."""
  packed = io.BytesIO()
  np.savez_compressed(
    packed, words=np.frombuffer(b'a\nb', np.uint8),
    vectors=np.asfortranarray(np.arange(6, dtype='>f4').reshape(2, 3)),
  )  # fmt: skip
  return [{'numpy.npz': packed.getvalue()}]


TARGETS: dict[str, dict[str, Kind]] = {
  'vectors_text': {
    'text_vectors': Kind(_text_vectors, lambda folder: _load_vectors(_only(folder))),
    'static_embedding': Kind(
      lambda: _save(['static_embedding'], _vectors(), format='static_embedding'),
      lambda folder: _load_vectors(folder / 'static_embedding'),
    ),
    'projector': Kind(
      lambda: _save(['projector'], _vectors(), format='projector'),
      lambda folder: _load_vectors(folder / 'projector'),
    ),
  },
  'vectors_binary': {
    'binary_vectors': Kind(
      lambda: _binary_vectors() + _npy_cases(), lambda folder: _load_vectors(_only(folder))
    ),
  },
  'store': {
    'store': Kind(_store_cases, _open_store, repair=_repaired_store),
    'phrases': Kind(_phrase_cases, _load_phrases),
    'vocabulary': Kind(
      lambda: [{'vocabulary.txt': 'the 10\nof\t5\na b 3\nnaïve 0\r\n'.encode()}], _load_vocabulary
    ),
  },
  'checkpoint': {
    'checkpoint': Kind(_checkpoint_cases, _restore, repair=_repaired_checkpoint),
    'settings': Kind(
      _settings_cases,
      _read_settings,
      (ValueError, TypeError, AttributeError, SyntaxError, flags.Error),
      named=False,
    ),
  },
  'text': {
    'text': Kind(_text_cases, _encode),
    'lists': Kind(
      lambda: _list_cases(
        'word1\tword2\tscore\nthe\tof\t1.5\na\tb\t2\n',
        'a,b,1\nb,c,2.5\n',
        'a b noun 3.5\n',
        ': capital\nAthens Greece Baghdad Iraq\n: family\nboy girl king queen\n',
      ),
      _read_lists,
    ),
    'edges': Kind(
      lambda: [
        {'edges.txt': b'# a graph\n1 2\n2 3 0.5\n3 1 2\n4 4\n5 1\n'},
        {'edges.txt.gz': gzip.compress(b'1 2\n2 3 0.5\n3 1 2\n')},
      ],
      _read_edges,
    ),
    'sessions': Kind(
      lambda: [
        {'log.csv': b'session,item,price\n1,milk,2.5\n1,bread,1\n2,"a ""b""",3\n2,milk,2.5\n'},
        {'log.csv.gz': gzip.compress(b'item,session\nmilk,1\nbread,1\n')},
        {'log.tsv': b'session\titem\n1\ta\n1\tb\n2\ta\n'},
      ],
      _read_sessions,
    ),
  },
}
