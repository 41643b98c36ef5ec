"""Models of fastText: read with its vectors, and written so that fastText reads them."""

import contextlib
import resource
import struct

import numpy as np
import pytest
from corpora import two_topics
from hypothesis import given, settings
from hypothesis import strategies as st

from jw2v import KeyedVectors, SubwordVectors, load_vectors, save_vectors
from tests.formats.tables import SUBWORDS, UNSEEN, assert_same
from tests.formats.tables import model as ngram_model
from tests.test_ngrams import buckets_by_hand


def model(words, matrix, *, buckets, min_n=3, max_n=6, version=12, quantized=False, pruned=-1):
  """Returns the bytes of a model in the documented layout, without the output matrix."""
  dim = matrix.shape[1]
  numbers = [dim, 5, 1, 1, 5, 1, 2, 2, buckets, min_n, max_n, 100]
  entries = b''.join(word.encode() + b'\0' + struct.pack('<qb', 7, 0) for word in words)
  return (
    struct.pack('<ii12id', 793712314, version, *numbers, 1e-4)
    + struct.pack('<iiiqq', len(words), len(words), 0, 99, pruned)
    + entries
    + struct.pack('<?qq', quantized, *matrix.shape)
    + matrix.astype('<f4').tobytes()
  )


def test_long_words_and_ngrams_take_bounded_memory(tmp_path):
  """Reads 212 KB of words, with 100 times as many n-grams and vectors of 400 bytes each."""
  words = ['x' * 10_000 + str(i) for i in range(20)]
  bytes_of = model(words, np.ones((30, 100)), buckets=10, min_n=1, max_n=100)
  (tmp_path / 'm.bin').write_bytes(bytes_of)
  peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  before = peak()
  kv = load_vectors(tmp_path / 'm.bin')
  np.testing.assert_allclose(kv.vectors, 1, rtol=1e-5)
  assert peak() - before < 400_000  # KiB; all n-grams at once would take 8,000,000
  bytes_of = model(words, np.ones((30, 100)), buckets=10, min_n=1, max_n=101)
  (tmp_path / 'm.bin').write_bytes(bytes_of)
  with pytest.raises(ValueError, match=r'at most 100 characters, got .*max_n=101'):
    load_vectors(tmp_path / 'm.bin')


@pytest.fixture(scope='module', params=['skipgram', 'no n-grams', 'supervised'])
def trained(request, tmp_path_factory):
  fasttext = pytest.importorskip('fasttext')
  folder = tmp_path_factory.mktemp(request.param.replace(' ', '_'))
  lines = [' '.join(line) for line in two_topics()]
  label = '__label__{} ' if request.param == 'supervised' else ''
  lines = [f'{label.format(i % 2)}{line} café 語' for i, line in enumerate(lines)]
  (folder / 'text').write_text('\n'.join(lines))
  options = {
    'dim': 7,
    'epoch': 1,
    'minCount': 1,
    'bucket': 500,
    'thread': 1,
    'verbose': 0,
    'lr': 0.01,
  }
  if request.param == 'supervised':
    train, n = fasttext.train_supervised, {'minn': 2, 'maxn': 4}
  else:
    train = fasttext.train_unsupervised
    n = {'minn': 0, 'maxn': 0} if request.param == 'no n-grams' else {}
  for _ in range(30):  # on a text as short as this, 0.9.3 now and then gives NaN or huge numbers
    with contextlib.suppress(RuntimeError):
      peer = train(str(folder / 'text'), **options, **n)
      if np.abs(peer.get_input_matrix()).max() < 100:
        break
  else:
    pytest.skip('fastText gave no sound model')
  peer.save_model(str(folder / 'model.bin'))
  return peer, folder / 'model.bin'


class TestPeers:
  def test_vectors_are_fasttexts(self, trained):
    peer, path = trained
    kv = load_vectors(path)
    assert kv.index_to_key == peer.get_words() and '</s>' in kv
    expected = np.array([peer.get_word_vector(word) for word in peer.get_words()])
    np.testing.assert_allclose(kv.vectors, expected, rtol=1e-5, atol=1e-7)
    if isinstance(kv, SubwordVectors):
      for word in ('unseen', 'cafés', '語語', 'a'):
        expected = peer.get_word_vector(word)
        np.testing.assert_allclose(kv[word], expected, rtol=1e-5, atol=1e-7)
      assert len(kv.most_similar('unseen', topn=3)) == 3
      assert kv[['unseen', 'sea1']].shape == (2, 7)
      cosine = peer.get_word_vector('unseen') @ peer.get_word_vector('sea1')
      cosine /= np.linalg.norm(peer['unseen']) * np.linalg.norm(peer['sea1'])
      assert kv.similarity('unseen', 'sea1') == pytest.approx(cosine, abs=1e-5)

  def test_gensim_reads_the_same(self, trained):
    gensim = pytest.importorskip('gensim.models.fasttext')
    _, path = trained
    kv = load_vectors(path)
    if path.parent.name.startswith('supervised') or not isinstance(kv, SubwordVectors):
      pytest.skip('gensim reads unsupervised models only')
    theirs = gensim.load_facebook_vectors(str(path))
    assert theirs.index_to_key == kv.index_to_key
    np.testing.assert_allclose(kv['unseen'], theirs['unseen'], rtol=1e-5, atol=1e-7)
    assert ('unseen' in kv) and ('unseen' in theirs)


class TestDamaged:
  WORDS = ('the', 'sea', 'caf\u00e9')
  MATRIX = np.arange(24, dtype=np.float32).reshape(8, 3)

  def sound(self, **changes):
    return model(self.WORDS, self.MATRIX, **{'buckets': 5, **changes})

  def load(self, tmp_path, content, **how):
    (tmp_path / 'model').write_bytes(content)
    return load_vectors(tmp_path / 'model', **how)

  def test_sound_model(self, tmp_path):
    kv = self.load(tmp_path, self.sound())
    rows = [1, *(3 + b for b in buckets_by_hand('sea', 3, 6, 5))]
    np.testing.assert_allclose(kv['sea'], self.MATRIX[rows].mean(axis=0), rtol=1e-6)
    few = self.load(tmp_path, self.sound(), limit=2)
    assert few.index_to_key == ['the', 'sea'] and 'caf\u00e9' in few
    np.testing.assert_array_equal(few.vectors, kv.vectors[:2])

  def test_a_word_without_ngrams_is_unknown(self, tmp_path):
    kv = self.load(tmp_path, self.sound(min_n=4))
    assert 'x' not in kv and 'xy' in kv and '</s>' not in kv and '\ud800abc' not in kv
    with pytest.raises(KeyError, match="word 'x' not found among 3 words"):
      kv['x']
    plain = self.load(tmp_path, model(self.WORDS, self.MATRIX[:3], buckets=0, max_n=0))
    assert type(plain) is KeyedVectors and 'xyzxyz' not in plain
    np.testing.assert_array_equal(plain.vectors, self.MATRIX[:3])

  def test_file_is_refused(self, tmp_path):
    sound, nan = self.sound(), self.MATRIX.copy()
    nan[4, 1] = np.nan
    for content, reason in (
      (sound[:6], 'ends in the first numbers'),
      (sound[:40], 'ends in the settings'),
      (sound[:70], 'ends in the dictionary'),
      (sound[:100], 'ends in row 1 of the dictionary|row 1 of the dictionary must end'),
      (sound[:-1], r'the input matrix must have rows for 3 words .*, got \[8, 3\]'),
      (self.sound(version=13), 'must be a fastText model of version 11 or 12'),
      (self.sound(quantized=True), 'a quantized model cannot be read'),
      (self.sound(pruned=3), 'a quantized model cannot be read'),
      (self.sound(buckets=4), 'n-grams must have 4 rows .*, got 5 rows, min_n=3 and max_n=6'),
      (self.sound(max_n=10**9), 'got 5 rows, min_n=3 and max_n=1000000000'),
      (sound.replace(b'sea', b'\xff\xff\xff'), 'row 2 of the dictionary: .*utf-8'),
      (sound.replace(b'sea', b'the'), "row 2: duplicate word 'the', first in row 1"),
      (
        sound.replace(struct.pack('<qb', 7, 0), struct.pack('<qb', 7, 1)),
        'must have kind 0, got 1',
      ),
      (
        sound.replace(struct.pack('<ii', 3, 3), struct.pack('<ii', 2**31 - 1, 3)),
        'size of the dictionary',
      ),
      (model(self.WORDS, nan, buckets=5), 'row 5 of the input matrix must be finite'),
    ):
      with pytest.raises(ValueError, match=rf'model: .*({reason})'):
        self.load(tmp_path, content)

  @settings(max_examples=300, deadline=None)
  @given(data=st.data())
  def test_some_bytes_changed(self, data, tmp_path_factory):
    content = bytearray(self.sound())
    for _ in range(data.draw(st.integers(1, 3))):
      start = data.draw(st.integers(4, len(content)))
      end = data.draw(st.integers(start, min(start + 8, len(content))))
      content[start:end] = data.draw(st.binary(max_size=8))
    try:
      kv = self.load(tmp_path_factory.getbasetemp(), bytes(content))
    except ValueError as error:
      assert 'model: ' in str(error)  # noqa: PT017
    else:
      assert np.isfinite(kv.vectors).all()


@pytest.mark.parametrize('all_buckets', [False, True])
class TestOurs:
  def test_round_trip(self, tmp_path, all_buckets):
    kv = ngram_model(all_buckets)
    save_vectors(kv, tmp_path / 'm.bin')  # its ending is enough
    found = load_vectors(tmp_path / 'm.bin')
    if all_buckets:
      assert_same(found, kv)
    else:  # fastText has a row for each bucket: those without one are zeros, and count
      np.testing.assert_allclose(found.word_rows, kv.word_rows)
      row = found.ngrams.vectors[kv.ngrams.index]
      np.testing.assert_array_equal(row, kv.ngrams.vectors)
      for word in UNSEEN:
        cosine = found.get_vector(word, norm=True) @ kv.get_vector(word, norm=True)
        assert cosine == pytest.approx(1, abs=1e-6)

  def test_fasttext_and_gensim_read_it(self, tmp_path, all_buckets):
    fasttext = pytest.importorskip('fasttext')
    gensim = pytest.importorskip('gensim.models.fasttext')
    kv = ngram_model(all_buckets)
    save_vectors(kv, tmp_path / 'm.bin')
    ours = load_vectors(tmp_path / 'm.bin')
    peer = fasttext.load_model(str(tmp_path / 'm.bin'))
    theirs = gensim.load_facebook_vectors(str(tmp_path / 'm.bin'))
    assert peer.get_words() == theirs.index_to_key == SUBWORDS
    assert peer.get_words(include_freq=True)[1].tolist() == [9, 4, 2, 1]
    for word in [*SUBWORDS, *UNSEEN]:
      np.testing.assert_allclose(peer.get_word_vector(word), ours[word], rtol=1e-5, atol=1e-6)
      np.testing.assert_allclose(theirs[word], ours[word], rtol=1e-5, atol=1e-6)
    assert len(peer.get_nearest_neighbors('seaside', k=2)) == 2
    np.testing.assert_array_equal(peer.get_output_matrix(), np.zeros((4, 3)))


def test_vectors_without_ngrams_are_not_a_model(tmp_path):
  with pytest.raises(ValueError, match='a fastText model must have vectors with n-grams'):
    save_vectors(KeyedVectors(['a'], np.ones((1, 2))), tmp_path / 'm.bin', 'fasttext')
  with pytest.raises(ValueError, match='is not compressed'):
    save_vectors(ngram_model(), tmp_path / 'm.bin.gz')
  assert not list(tmp_path.iterdir())
