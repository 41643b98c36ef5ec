"""Static embeddings: the libraries that open them compute the mean of the word vectors."""

import json

import numpy as np
import pytest

from jw2v import KeyedVectors, load_vectors, save_vectors, text_vectors
from jw2v.formats import static_embedding
from tests.formats.tables import read_bytes, some_vectors

WORDS = [
  'the', 'cat', 'don\u2019t', "o'neil", 'a', 'c', 't', '\u03bf\u03b4\u03bf\u03c2', '\u03c3',
  '\u03bf\u03b4\u03bf\u03c3\u03b1', '\u00e9', '42', 'new_york', '</s>', 'i', '\u2581', 'x',
  '\u0939', '\u00b2',
]  # fmt: skip
TEXTS = [
  'The CAT, the cat!',
  'a xyz act catx',
  "DON\u2019T; O'Neil's \"O'NEIL\"",
  'new_york </s> 42 x\u00b2',
  '\u039f\u0394\u039f\u03a3. \u039f\u0394\u039f\u03a3\u0391 \u03a3',
  'unknown words',
  '',
  ' \n\t?! ',
  '\u0130stanbul E\u0301 \u00c9',
  'a\u2581the \u2581cat',
  '\u0939\u093f \u00b2',
  'the\nc\u00a0t\u2028x',
]


@pytest.fixture
def kv():
  return KeyedVectors(WORDS, np.random.default_rng(0).normal(size=(len(WORDS), 5)))


def test_tokenizer_and_weights_give_the_mean(tmp_path, kv):
  """Matches the library: a mean over the ids of each text, without special tokens."""
  tokenizers = pytest.importorskip('tokenizers')
  safetensors = pytest.importorskip('safetensors.numpy')
  save_vectors(kv, tmp_path / 'm', 'static_embedding')
  (module,) = json.loads((tmp_path / 'm' / 'modules.json').read_text())
  assert module['type'] == 'sentence_transformers.models.StaticEmbedding'
  place = tmp_path / 'm' / module['path']
  weights = safetensors.load_file(place / 'model.safetensors')['embedding.weight']
  tokenizer = tokenizers.Tokenizer.from_file(str(place / 'tokenizer.json'))
  want = text_vectors(kv, TEXTS, weights='mean')
  assert want.any(axis=1).sum() == 9
  for encoding, vector in zip(
    tokenizer.encode_batch(TEXTS, add_special_tokens=False), want, strict=True
  ):
    mean = weights[encoding.ids].mean(axis=0) if encoding.ids else np.zeros(5)
    np.testing.assert_allclose(mean, vector, rtol=1e-6, atol=1e-7)


def test_a_vocabulary_with_upper_case_keeps_the_case_of_texts(tmp_path):
  tokenizers = pytest.importorskip('tokenizers')
  save_vectors(KeyedVectors(['US', 'us'], np.eye(2)), tmp_path / 'm', 'static_embedding')
  (place,) = (tmp_path / 'm').glob('*/tokenizer.json')
  tokenizer = tokenizers.Tokenizer.from_file(str(place))
  assert tokenizer.encode('US us Us').ids == [0, 1]


@pytest.mark.slow  # imports PyTorch
def test_sentence_transformers_encodes_the_mean(tmp_path, kv):
  library = pytest.importorskip('sentence_transformers')
  save_vectors(kv, tmp_path / 'm', 'static_embedding')
  model = library.SentenceTransformer(str(tmp_path / 'm'), device='cpu')
  want = text_vectors(kv, TEXTS, weights='mean')
  np.testing.assert_allclose(model.encode(TEXTS), want, rtol=1e-6, atol=1e-7)
  model.save(str(tmp_path / 'theirs'))
  assert read_bytes(load_vectors(tmp_path / 'theirs')) == read_bytes(kv)


class TestRead:
  @pytest.fixture
  def folder(self, tmp_path):
    save_vectors(KeyedVectors(['a', 'b'], some_vectors(2)), tmp_path / 'm', 'static_embedding')
    return tmp_path / 'm'

  def change(self, path, change):
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value)))

  def test_folder_of_another_tokenizer(self, folder):
    """Reads files beside modules.json, with pieces of words in another order."""
    for path in folder.glob('*/*'):
      path.rename(folder / path.name)
    model = {'type': 'WordPiece', 'vocab': {'##ing': 1, '\u2581go': 0}}
    (folder / 'tokenizer.json').write_text(json.dumps({'model': model}))
    self.change(folder / 'modules.json', lambda modules: [{**modules[0], 'path': ''}])
    kv = load_vectors(folder)
    assert kv.index_to_key == ['\u2581go', '##ing']
    assert kv.vectors.tobytes() == some_vectors(2).tobytes()
    assert load_vectors(folder, limit=1).index_to_key == ['\u2581go']

  @pytest.mark.parametrize(('name', 'change', 'reason'), [
    ('modules.json', lambda m: [], 'modules.json must start with a StaticEmbedding, got None'),
    ('modules.json', lambda m: {}, 'modules.json must start with a StaticEmbedding, got None'),
    ('modules.json', lambda m: [3], 'modules.json must start with a StaticEmbedding, got None'),
    ('modules.json', lambda m: [{**m[0], 'type': 'models.Transformer'}], 'got models.Transformer'),
    ('modules.json', lambda m: [{**m[0], 'path': '../..'}], r"in the folder, got '\.\./\.\.'"),
    ('modules.json', lambda m: [{**m[0], 'path': '/etc'}], "must name a folder in the folder, got"),
    ('modules.json', lambda m: [{**m[0], 'path': 3}], 'must name a folder in the folder, got 3'),
    ('tokenizer.json', lambda t: [], 'tokenizer.json must have 2 words with ids, got no'),
    ('tokenizer.json', lambda t: {'model': {'vocab': [['a', 0]]}}, 'must have 2 words with ids'),
    ('tokenizer.json', lambda t: {'model': {'vocab': {'a': 0}}}, '2 words with ids, got 1'),
    ('tokenizer.json', lambda t: {'model': {'vocab': {'a': 0, 'b': 0}}}, "of 'b' must be unique"),
    ('tokenizer.json', lambda t: {'model': {'vocab': {'a': 0, 'b': 2}}}, 'must be unique, got 2'),
    ('tokenizer.json', lambda t: {'model': {'vocab': {'a': 0, 'b': True}}}, 'unique, got True'),
    ('tokenizer.json', lambda t: {'model': {'vocab': {'\u2581': 0, '\u2581b': 1}}}, 'row 1 must '),
  ])  # fmt: skip
  def test_damaged_json(self, folder, name, change, reason):
    (path,) = folder.rglob(name)
    self.change(path, change)
    with pytest.raises(ValueError, match=f'm: .*{reason}'):
      load_vectors(folder)

  def test_what_is_no_json_or_missing(self, folder):
    (path,) = folder.rglob('tokenizer.json')
    path.write_text('{')
    with pytest.raises(ValueError, match=r'm: tokenizer\.json is not JSON'):
      load_vectors(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError):
      load_vectors(folder)
    (folder / 'modules.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'must contain projector_config\.pbtxt or modules'):
      load_vectors(folder)

  def test_numbers_of_another_type(self, folder):
    (path,) = folder.rglob('model.safetensors')
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))
    with pytest.raises(ValueError, match=r"m: the tensor 'embedding\.weight' must be .*, got I32"):
      load_vectors(folder)


def test_nothing_is_left_of_a_folder_that_fails(tmp_path, kv, monkeypatch):
  def fail(*_):
    raise OSError('full')

  monkeypatch.setattr(static_embedding, 'write_tensors', fail)
  with pytest.raises(OSError, match='full'):
    save_vectors(kv, tmp_path / 'm', 'static_embedding')
  assert not list(tmp_path.iterdir())
