"""Files of vectors: exact round trips, and damaged files refused with row and reason."""

import gzip
import io
import json
import os
import resource
import sys
import threading
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jw2v import KeyedVectors, load_vectors, save_vectors
from jw2v.formats import registry, word2vec_binary
from jw2v.formats import text as text_format

RNG = np.random.default_rng(0)
FILES = {  # of each format: a name that says nothing, so that it is told by what is in the file
  name: 'v.unknown' for name in registry.FORMATS if name != 'projector'
} | {'projector': 'folder'}
TEXTS = ('word2vec', 'glove', 'fasttext')
WORDS = ['the', '\u00a0nbsp', 'a\u2028b', 'n\u0085l', 'カ', '</s>', '"', '1', 'nan', '#', 'x\ty']


def some_vectors(count, width=5):
  """Among them numbers of every size, zeros of both signs, and the largest and smallest."""
  bits = np.random.default_rng(1).integers(0, 2**32, (count, width), dtype=np.uint32)
  vectors = bits.view(np.float32)
  vectors[~np.isfinite(vectors)] = 1 / 3
  edges = [0.0, -0.0, np.finfo(np.float32).max, -np.finfo(np.float32).max, 1e-45]
  vectors[0, : len(edges)] = edges[:width]
  return vectors


def words_for(format):
  return [word for word in WORDS if format != 'projector' or '\t' not in word]


def read_bytes(kv):
  return kv.index_to_key, kv.vectors.shape, kv.vectors.tobytes()


@pytest.fixture(params=[True, False], ids=['pyarrow', 'no pyarrow'])
def parser(request, monkeypatch):
  """With pyarrow, which must take the rows, and without it."""
  if request.param:
    monkeypatch.setattr(text_format, '_parse_by_row', lambda *_: pytest.fail('not taken'))
  else:
    monkeypatch.setitem(sys.modules, 'pyarrow', None)


class TestRoundTrip:
  @pytest.mark.parametrize('format', registry.FORMATS)
  def test_is_exact_and_the_format_is_guessed(self, tmp_path, format):
    kv = KeyedVectors(words_for(format), some_vectors(len(words_for(format))))
    save_vectors(kv, tmp_path / FILES[format], format)
    for loaded in (load_vectors(tmp_path / FILES[format], format),
                   load_vectors(tmp_path / FILES[format])):  # fmt: skip
      assert read_bytes(loaded) == read_bytes(kv)
      assert loaded.vectors.flags.writeable

  @pytest.mark.parametrize('format', ['word2vec', 'glove'])
  def test_of_either_parser(self, tmp_path, format, parser):
    kv = KeyedVectors(words_for(format), some_vectors(len(words_for(format))))
    save_vectors(kv, tmp_path / 'v', format)
    assert read_bytes(load_vectors(tmp_path / 'v')) == read_bytes(kv)

  @pytest.mark.parametrize('format', registry.FORMATS)
  @pytest.mark.parametrize('limit', [1, 2999, 3000, 9999])
  def test_of_many_rows_and_the_first_of_them(self, tmp_path, format, limit, monkeypatch):
    """Blocks of reading and writing that hold a few rows each."""
    for module in (text_format, word2vec_binary):
      monkeypatch.setattr(module, '_BLOCK_BYTES', 1 << 12)
      monkeypatch.setattr(module, '_ROWS', 7)
    words = [f'w{i}' * (1 + i % 7) for i in range(3000)]
    kv = KeyedVectors(words, RNG.normal(size=(3000, 3)))
    save_vectors(kv, tmp_path / FILES[format], format)
    assert read_bytes(load_vectors(tmp_path / FILES[format])) == read_bytes(kv)
    some = load_vectors(tmp_path / FILES[format], limit=limit)
    assert some.index_to_key == words[:limit]
    np.testing.assert_array_equal(some.vectors, kv.vectors[:limit])

  @pytest.mark.parametrize('format', [*TEXTS, 'word2vec_binary'])
  def test_in_gzip(self, tmp_path, format):
    kv = KeyedVectors(['a', 'b'], RNG.normal(size=(2, 3)))
    save_vectors(kv, tmp_path / 'v.gz', format)
    assert read_bytes(load_vectors(tmp_path / 'v.gz')) == read_bytes(kv)
    plain = gzip.decompress((tmp_path / 'v.gz').read_bytes())
    save_vectors(kv, tmp_path / 'plain', format)
    assert plain == (tmp_path / 'plain').read_bytes()

  @pytest.mark.parametrize('format', registry.FORMATS)
  @pytest.mark.parametrize('width', [1, 2])
  def test_of_one_narrow_row(self, tmp_path, format, width):
    kv = KeyedVectors(['word'], np.full((1, width), 0.1))
    save_vectors(kv, tmp_path / FILES[format], format)
    assert read_bytes(load_vectors(tmp_path / FILES[format], format)) == read_bytes(kv)

  @pytest.mark.parametrize('format', ['word2vec', 'word2vec_binary', 'safetensors', 'numpy'])
  def test_of_no_word(self, tmp_path, format):
    save_vectors(KeyedVectors([], np.zeros((0, 3))), tmp_path / 'v', format)
    loaded = load_vectors(tmp_path / 'v')
    assert (len(loaded), loaded.vector_size) == (0, 3)

  @pytest.mark.parametrize(('name', 'format'), [
    ('v.txt', 'word2vec'), ('v', 'word2vec'), ('v.bin', 'word2vec_binary'), ('v.vec', 'fasttext'),
    ('v.BIN', 'word2vec_binary'), ('v.bin.gz', 'word2vec_binary'), ('v.npz', 'numpy'),
    ('v.safetensors', 'safetensors'), ('folder/', 'projector'),
  ])  # fmt: skip
  def test_format_by_the_name(self, tmp_path, name, format):
    kv = KeyedVectors(['a'], RNG.normal(size=(1, 4)))
    path = f'{tmp_path}/{name}'
    save_vectors(kv, path)
    same = {'fasttext': 'word2vec'}.get(format, format)
    assert registry.guess_format(path) == same
    assert read_bytes(load_vectors(path)) == read_bytes(kv)

  def test_text_is_short_and_the_c_tools(self, tmp_path):
    vectors = np.array([[1 / 3, 1], [-2.5, 1e-30]], np.float32)
    save_vectors(KeyedVectors(['the', 'of'], vectors), tmp_path / 'v.txt')
    text = '2 2\nthe 0.333333343 1\nof -2.5 1.00000000e-30\n'.replace('1.00000000e', '1e')
    assert (tmp_path / 'v.txt').read_text() == text
    save_vectors(KeyedVectors(['the', 'of'], vectors), tmp_path / 'g.txt', 'glove')
    assert (tmp_path / 'g.txt').read_text() == text.split('\n', 1)[1]

  def test_written_twice_the_bytes_are_the_same(self, tmp_path):
    kv = KeyedVectors(['a', 'b'], RNG.normal(size=(2, 3)))
    for format in (*TEXTS, 'word2vec_binary', 'safetensors', 'numpy'):
      path = tmp_path / ('v.gz' if format in TEXTS else 'v')
      save_vectors(kv, path, format)
      first = path.read_bytes()
      path.unlink()
      save_vectors(kv, path, format)
      assert path.read_bytes() == first


class TestWord2vec:
  @pytest.mark.parametrize('content', [
    b'2 2\na 1 2\nb 3 4\n',
    b'2 2\na 1 2\nb 3 4',  # no line feed at the end
    b'2 2\na 1 2 \nb 3 4 \n',  # as the C tool and fastText end rows
    b'2 2\r\na 1 2\r\nb 3 4\r\n',
    b'2 2 \na 1.0 2e0\nb +3 .4e1\n',
    b'2\t2\na 1 2 \nb 3 4\n',
  ])  # fmt: skip
  def test_how_others_write_it(self, tmp_path, content):
    (tmp_path / 'v').write_bytes(content)
    kv = load_vectors(tmp_path / 'v')
    assert kv.index_to_key == ['a', 'b'] and kv.vectors.tolist() == [[1, 2], [3, 4]]

  @pytest.mark.parametrize('newline', [True, False])
  def test_bytes_of_the_binary_form(self, tmp_path, newline):
    """As the C tool writes it: the word and a space, the floats as they are, a line feed."""
    vectors = np.array([[1, 2], [-0.5, 1e-40]], np.float32)
    end = b'\n' if newline else b''
    content = b'2 2\n' + b''.join(
      word + b' ' + row.tobytes() + end
      for word, row in zip([b'</s>', b'\xc3\xa9'], vectors, strict=True)
    )  # fmt: skip
    (tmp_path / 'theirs').write_bytes(content)
    kv = load_vectors(tmp_path / 'theirs')
    assert kv.index_to_key == ['</s>', 'é']
    np.testing.assert_array_equal(kv.vectors, vectors)
    save_vectors(kv, tmp_path / 'ours.bin', newline=newline)
    assert (tmp_path / 'ours.bin').read_bytes() == content

  def test_numbers_that_look_like_line_feeds_and_spaces(self, tmp_path):
    numbers = np.frombuffer(b'\n\n \n  \n ' + b'    ', np.float32).reshape(3, 1)
    for newline in (True, False):
      kv = KeyedVectors(['a', 'b', 'c'], numbers)
      save_vectors(kv, tmp_path / 'v.bin', newline=newline)
      assert read_bytes(load_vectors(tmp_path / 'v.bin', 'word2vec_binary')) == read_bytes(kv)


class TestPeers:
  """gensim opens what we write, and we what gensim writes; so does the safetensors package."""

  WORDS = ('the', '\u00e9t\u00e9', '\u8a9e', '</s>', 'x', 'y_z')

  @pytest.fixture
  def kv(self):
    return KeyedVectors(self.WORDS, RNG.normal(size=(len(self.WORDS), 5)))

  @pytest.mark.parametrize('name', ['v.txt', 'v.txt.gz', 'v.vec', 'v.bin', 'v.bin.gz', 'rows.bin'])
  def test_gensim_opens_ours(self, tmp_path, kv, name):
    gensim = pytest.importorskip('gensim.models')
    save_vectors(kv, tmp_path / name, newline=name != 'rows.bin')
    binary = '.bin' in name
    theirs = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / name), binary=binary)
    assert theirs.index_to_key == kv.index_to_key
    np.testing.assert_array_equal(theirs.vectors, kv.vectors)

  @pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # gensim's file
  def test_gensim_opens_our_glove_text(self, tmp_path, kv):
    gensim = pytest.importorskip('gensim.models')
    save_vectors(kv, tmp_path / 'g.txt', 'glove')
    theirs = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / 'g.txt'), no_header=True)
    assert theirs.index_to_key == kv.index_to_key
    np.testing.assert_array_equal(theirs.vectors, kv.vectors)

  @pytest.mark.parametrize('how', [{}, {'binary': True}, {'write_header': False}])
  @pytest.mark.parametrize('ending', ['', '.gz'])
  def test_we_open_gensims(self, tmp_path, kv, how, ending):
    gensim = pytest.importorskip('gensim.models')
    theirs = gensim.KeyedVectors(5)
    theirs.add_vectors(kv.index_to_key, kv.vectors)
    theirs.save_word2vec_format(str(tmp_path / f'v{ending}'), **how)
    assert read_bytes(load_vectors(tmp_path / f'v{ending}')) == read_bytes(kv)

  def test_safetensors(self, tmp_path, kv):
    safetensors = pytest.importorskip('safetensors.numpy')
    save_vectors(kv, tmp_path / 'v.safetensors')
    theirs = safetensors.load_file(tmp_path / 'v.safetensors')
    np.testing.assert_array_equal(theirs['vectors'], kv.vectors)
    assert theirs['words'].tobytes().decode().split('\n') == kv.index_to_key
    safetensors.save_file(theirs, tmp_path / 'theirs', metadata={'format': 'np'})
    loaded = load_vectors(tmp_path / 'theirs')
    assert read_bytes(loaded) == read_bytes(kv) and isinstance(loaded.vectors, np.memmap)

  def test_numpy(self, tmp_path, kv):
    save_vectors(kv, tmp_path / 'v.npz')
    with np.load(tmp_path / 'v.npz') as theirs:
      np.testing.assert_array_equal(theirs['vectors'], kv.vectors)
      assert theirs['words'].tobytes().decode().split('\n') == kv.index_to_key

  def test_tensorboard_reads_the_projector(self, tmp_path, kv):
    projector = pytest.importorskip('tensorboard.plugins.projector.projector_plugin')
    text_format = pytest.importorskip('google.protobuf.text_format')
    save_vectors(kv, tmp_path / 'log', 'projector')
    config = projector.ProjectorConfig()
    text_format.Parse((tmp_path / 'log' / 'projector_config.pbtxt').read_text(), config)
    (embedding,) = config.embeddings
    tensor = projector._read_tensor_tsv_file(str(tmp_path / 'log' / embedding.tensor_path))
    np.testing.assert_array_equal(tensor, kv.vectors)
    words = (tmp_path / 'log' / embedding.metadata_path).read_text('utf-8')
    assert words.split('\n') == [*kv.index_to_key, '']


class TestGlove:
  def test_words_with_spaces(self, tmp_path):
    (tmp_path / 'g').write_bytes(b'. . 1 2\nat name@domain.com 3 4\nNew York 2 b 5 6\n7 7 8\n')
    kv = load_vectors(tmp_path / 'g')
    assert kv.index_to_key == ['. .', 'at name@domain.com', 'New York 2 b', '7']
    assert kv.vectors.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    kv = KeyedVectors(['new york', ' ', 'a '], np.ones((3, 2)))
    save_vectors(kv, tmp_path / 'h', 'glove')
    assert load_vectors(tmp_path / 'h').index_to_key == kv.index_to_key

  @pytest.mark.parametrize('word', ['a 1', 'a 1 b', 'a nan', 'b -2e5'])
  def test_word_whose_end_the_numbers_would_not_tell(self, tmp_path, word):
    with pytest.raises(ValueError, match='a glove file cannot hold the word'):
      save_vectors(KeyedVectors([word], np.ones((1, 2))), tmp_path / 'g', 'glove')


BINARY = b'2 2\n' + b'a ' + np.array([1, 2], '<f4').tobytes() + b'\n'


def safetensors(header=None, data=b'', **changes):
  vectors = {'dtype': 'F32', 'shape': [2, 1], 'data_offsets': [0, 8]}
  words = {'dtype': 'U8', 'shape': [3], 'data_offsets': [8, 11]}
  if header is None:
    header = {'vectors': vectors, 'words': words}
    for key, value in changes.items():
      tensor, field = key.split('_', 1)
      header[tensor][field] = value
    header = json.dumps(header).encode()
  data = data or np.array([1, 2], '<f4').tobytes() + b'a\nb'
  return len(header).to_bytes(8, 'little') + header + data


class TestParts:
  def test_numbers_of_safetensors_are_aligned(self, tmp_path):
    for word in ('a', 'ab', 'abc' * 1000):
      save_vectors(KeyedVectors([word, 'b'], np.ones((2, 3))), tmp_path / 'v.safetensors')
      assert int.from_bytes((tmp_path / 'v.safetensors').read_bytes()[:8], 'little') % 8 == 0

  @pytest.mark.parametrize('shape', [(10**12, 2), (2, 10**12), (2**40, 2**30)])
  def test_npz_that_promises_more_than_there_is(self, tmp_path, shape):
    """It is refused before so much memory is asked for."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
      header, {'descr': '<f4', 'fortran_order': False, 'shape': shape}
    )
    with zipfile.ZipFile(tmp_path / 'v.npz', 'w') as archive:
      archive.writestr('vectors.npy', header.getvalue() + bytes(16))
      archive.writestr('words.npy', b'')
    with pytest.raises(ValueError, match='there are not so many'):
      load_vectors(tmp_path / 'v.npz')


class TestEdges:
  def test_byte_order_mark_is_a_character(self, tmp_path):
    words = ['\ufeffking', 'king', '\ufeff\ufeff']
    kv = KeyedVectors(words, np.ones((3, 2)))
    for format in ('word2vec', 'glove', 'fasttext', 'word2vec_binary'):
      save_vectors(kv, tmp_path / 'v', format)
      assert load_vectors(tmp_path / 'v', format).index_to_key == words

  def test_byte_order_mark_at_the_start_of_a_later_block(self, tmp_path, monkeypatch):
    monkeypatch.setattr(text_format, '_BLOCK_BYTES', 1 << 12)
    words = [f'\ufeff{i:07}' for i in range(3000)]  # rows of 16 bytes: all blocks begin with one
    save_vectors(KeyedVectors(words, np.zeros((3000, 2))), tmp_path / 'v', 'glove')
    assert load_vectors(tmp_path / 'v').index_to_key == words

  def test_very_wide_row(self, tmp_path):
    (tmp_path / 'v').write_bytes(b'1 300000\na' + b' 1' * 300_000 + b'\n')
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = peak()
    assert load_vectors(tmp_path / 'v').vectors.sum() == 300_000
    assert peak() - before < 300_000  # KiB; columns of pyarrow took 1,000,000

  def test_row_of_binary_that_is_too_wide(self, tmp_path):
    (tmp_path / 'v.gz').write_bytes(gzip.compress(b'1 2000000000\na ' + bytes(1000), mtime=0))
    with pytest.raises(ValueError, match='vectors are 2000000000 wide: 16777216 at most'):
      load_vectors(tmp_path / 'v.gz', 'word2vec_binary')

  def test_words_with_control_characters(self, tmp_path):
    kv = KeyedVectors(['a', '\x01b'], [[1, 2, 3], [4, 5, 6]])
    save_vectors(kv, tmp_path / 'v')
    assert load_vectors(tmp_path / 'v').index_to_key == ['a', '\x01b']

  @pytest.mark.parametrize('format', ['word2vec', 'glove', 'word2vec_binary'])
  def test_pipe(self, tmp_path, format):
    kv = KeyedVectors(['a', 'b'], RNG.normal(size=(2, 3)))
    save_vectors(kv, tmp_path / 'v', format)
    os.mkfifo(tmp_path / 'pipe')
    feed = threading.Thread(
      target=lambda: (tmp_path / 'pipe').write_bytes((tmp_path / 'v').read_bytes())
    )
    feed.start()
    found = load_vectors(tmp_path / 'pipe', format)
    feed.join()
    np.testing.assert_array_equal(found.vectors, kv.vectors)
    with pytest.raises(ValueError, match='is a pipe or device, which is read once: name its'):
      load_vectors(tmp_path / 'pipe')

  @pytest.mark.parametrize(('limit', 'count'), [(np.int64(2), 2), (None, 3)])
  def test_limits(self, tmp_path, limit, count):
    save_vectors(KeyedVectors('abc', np.ones((3, 2))), tmp_path / 'v')
    assert len(load_vectors(tmp_path / 'v', limit=limit)) == count

  @pytest.mark.parametrize('limit', [0, -1, True, 1.5, '2'])
  def test_limits_that_are_none(self, tmp_path, limit):
    with pytest.raises(ValueError, match=r'limit=.*: must be an integer of at least 1'):
      load_vectors(tmp_path / 'v', limit=limit)

  def test_names_in_bytes(self, tmp_path):
    save_vectors(KeyedVectors('ab', np.ones((2, 2))), os.fsencode(tmp_path / 'v.bin'))
    assert registry.guess_format(tmp_path / 'v.bin') == 'word2vec_binary'

  def test_no_word_where_none_can_be_said(self, tmp_path):
    for format in ('glove', 'projector'):
      with pytest.raises(ValueError, match='cannot say that there is no word'):
        save_vectors(KeyedVectors([], np.zeros((0, 3))), tmp_path / 'v', format)

  def test_a_last_line_without_its_end_is_told(self, tmp_path, caplog):
    (tmp_path / 'v').write_text('1 2\na 1 0.98')
    load_vectors(tmp_path / 'v')
    assert 'no line feed: the file may be cut short' in caplog.text


class TestSameBytes:
  def test_gzip_says_nothing_of_the_time(self, tmp_path):
    """Nor of the name."""
    save_vectors(KeyedVectors(['a'], [[1, 2]]), tmp_path / 'v.txt.gz')
    header = (tmp_path / 'v.txt.gz').read_bytes()[:10]
    assert header[3:8] == bytes(5)  # no flags, so no name; the time


class TestDamaged:
  @pytest.mark.parametrize(('content', 'reason'), [
    (b'', 'the file is empty'),
    (b'a b\n', 'row 1 must be a word and its numbers'),
    (b'\n1 2\n', 'row 1 must be a word and its numbers'),
    (b'2 2\na 1 2\n', '1 rows of words, the header says 2'),
    (b'1 2\na 1 2\nb 1 2\n', '2 rows of words, the header says 1'),
    (b'2 2\na 1 2\nb 1\n', 'row 3 has 1 numbers, not 2'),
    (b'2 2\na 1 2\nb 1 2 3\n', 'row 3 has 3 numbers, not 2'),
    (b'2 2\na 1 2\n\nb 1 2\n', 'row 3 has 0 numbers, not 2'),
    (b'2 2\na 1  2\nb 1 2\n', 'row 2 has 3 numbers, not 2'),
    (b'2 2\nnew york 1 2\nb 1 2\n', 'row 2 has 3 numbers, not 2'),
    (b'1 2\na 1 nan\n', 'row 2 has a number that is not a finite float32'),
    (b'1 2\na 1 -inf\n', 'row 2 has a number that is not a finite float32'),
    (b'1 2\na 1 1e39\n', 'row 2 has a number that is not a finite float32'),
    (b'1 2\na 1 3.5e38\n', 'row 2 has a number that is not a finite float32'),
    (b'1 2\na 1 x\n', 'row 2: could not convert'),
    (b'1 2\na 1 0x1p3\n', 'row 2: could not convert'),
    (b'1 2\na 1_0 2\n', 'row 2 has an underscore in a number'),
    (b'1 2\n 1 2\n', 'row 2 has no word'),
    (b'1 2\n\xff 1 2\n', 'row 2: .*utf-8'),
    (b'2 2\na 1 2\na 1 2\n', "row 3: the word 'a' is there twice, first in row 2"),
    (b'3 0\na\nb\nc\n', 'row 1 says that vectors are 0 wide'),
    (b'1000000000000 100\na 1 2\n', 'row 1 promises 1000000000000 rows of 100 numbers, which'),
    (b'1 1000000000000\na 1 2\n', 'row 1 says that vectors are 1000000000000 wide'),
    (b'9' * 90 + b' 2\na 1 2\n', 'row 1 promises 9+ rows'),
    (b'a 1 2\nb 1\n', 'row 2 has 1 numbers, not 2'),
    (b'a 1 2\nb 1 2 3\n', 'row 2 has 3 numbers, not 2'),
    (b'a 1 2\nb c 2\n', 'row 2: could not convert'),
    (b'a 1 2\nb 1 nan\n', 'row 2 has a number that is not a finite'),
    (b'\xff\xfea\x00 \x001\x00\n\x00', 'no format of vectors begins with'),
    (gzip.compress(b'2 2\na 1 2\nb 1 2\n', mtime=0)[:-9], 'damaged gzip data'),
    (gzip.compress(b'2 2\na 1 2\nb 1 2\n', mtime=0)[:-1] + b'\x55', 'damaged gzip data'),
    (gzip.compress(b'1000000000000 2000000000\na 1 2\n', mtime=0), 'row 2 has 2 numbers'),
    (BINARY, 'row 1 promises 2 rows of 2 numbers, which take 20 bytes or more; the file has 15'),
    (gzip.compress(BINARY, mtime=0), 'ends within row 2; the header says 2 rows'),
    (gzip.compress(BINARY[:-3], mtime=0), 'ends within row 1; the header says 2 rows'),
    (BINARY.replace(b'2 2', b'1 2') + b'b', 'there is more after the 1 rows of 2'),
    (BINARY.replace(b'2 2', b'1000000000000 2'), 'row 1 promises 1000000000000 rows'),
    (BINARY + BINARY[4:], "row 2: the word 'a' is there twice, first in row 1"),
    (BINARY + b'\xff' + BINARY[5:], 'row 2: .*utf-8'),
    (BINARY + BINARY[5:], 'row 2 has no word'),
    (BINARY + b'b ' + np.array([1, np.nan], '<f4').tobytes(), 'row 2 has a number that is not'),
    (safetensors(b'{}'), "there is no tensor 'vectors'"),
    (safetensors(b'{"vectors": 3'), 'the header is no JSON'),
    (safetensors(b'{' * 100_000), 'the header is no JSON'),
    (safetensors(vectors_dtype='F64'), "'vectors' is F64 of shape"),
    (safetensors(vectors_shape=[2]), "'vectors' is F32 of shape"),
    (safetensors(vectors_shape=[-1, -2]), "'vectors' is F32 of shape"),
    (safetensors(vectors_shape=[10**12, 100]), 'cannot be at the bytes'),
    (safetensors(vectors_shape=[10**12, 1], vectors_data_offsets=[0, 4 * 10**12]), 'ends at byte'),
    (safetensors(words_data_offsets=[5, 8]), 'the tensors overlap'),
    (safetensors(words_data_offsets=[True, 4]), 'cannot be at the bytes'),
    (safetensors(vectors_shape=[1, 2]), '2 words for 1 vectors'),
    (safetensors(data=np.array([1, 2], '<f4').tobytes() + b'a\na'), "the word 'a' is there twice"),
    (safetensors(data=np.array([1, 2], '<f4').tobytes() + b'a\xffb'), 'the words are no UTF-8'),
    (safetensors(data=np.array([1, 2], '<f4').tobytes() + b'aa\n'), 'row 2 has no word'),
    (safetensors(data=np.array([1, np.inf], '<f4').tobytes() + b'a\nb'), 'row 2 has a number'),
    (safetensors()[:-1], 'ends at byte 11, the data at 10'),
    (b'PK\x03\x04 and so on', 'damaged archive'),
  ])  # fmt: skip
  def test_file_is_refused(self, tmp_path, content, reason):
    path = tmp_path / 'damaged'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'damaged: .*{reason}'):
      load_vectors(path)

  def test_pyarrow_lets_nothing_through(self, tmp_path):
    """Rows after many sound ones, so that the quick parser meets them; the row is named."""
    sound = ''.join(f'w{i} {i} 0.5\n' for i in range(30_000)).encode()
    for bad, reason in ((b'a nan 1\n', 'not a finite'), (b'a 1\n', '1 numbers'),
                        (b'a  1\n', 'could not'), (b'\xff 1 2\n', 'utf-8'), (b'a 1 2 \n3', '0 num'),
                        (b'a 1 1e39\n', 'not a finite'), (b'"a 1 2\n" 1 2 3\n', '3 numbers'),
                        (b' 1 2\n', 'no word'), (b'\n', '0 numbers')):  # fmt: skip
      (tmp_path / 'v').write_bytes(b'30001 2\n' + sound + bad)
      with pytest.raises(ValueError, match=rf'row 3000[2-3].*{reason}'):
        load_vectors(tmp_path / 'v')

  @pytest.mark.parametrize('given', ['word2vec', 'word2vec_binary', 'glove', 'fasttext',
                                     'safetensors', 'numpy'])  # fmt: skip
  @pytest.mark.parametrize('written', ['word2vec', 'word2vec_binary', 'glove', 'safetensors',
                                       'numpy'])  # fmt: skip
  def test_one_format_read_as_another(self, tmp_path, given, written):
    if given == written or {given, written} == {'word2vec', 'fasttext'}:
      pytest.skip('the same format')
    words = [f'word{i}' for i in range(50)]
    save_vectors(KeyedVectors(words, RNG.normal(size=(50, 4))), tmp_path / 'v', written)
    with pytest.raises(ValueError, match=r'/v: '):
      load_vectors(tmp_path / 'v', given)

  def test_text_read_as_binary_is_told(self, tmp_path):
    save_vectors(KeyedVectors(['a', 'b'], RNG.normal(size=(2, 9))), tmp_path / 'v')
    with pytest.raises(ValueError, match="row 1 looks like text: the format is 'word2vec'"):
      load_vectors(tmp_path / 'v', 'word2vec_binary')

  def test_row_without_an_end(self, tmp_path, monkeypatch):
    monkeypatch.setattr(text_format, '_LONGEST_ROW', 1 << 21)
    (tmp_path / 'v').write_bytes(b'1 2\n' + b'x' * (1 << 23))
    with pytest.raises(ValueError, match='row 2 is longer than 2097152 bytes'):
      load_vectors(tmp_path / 'v')
    (tmp_path / 'v').write_bytes(b'1 2\n' + b'x' * (1 << 18))
    with pytest.raises(ValueError, match='row 1 has no space in its first 65536 bytes'):
      load_vectors(tmp_path / 'v', 'word2vec_binary')

  def test_archives(self, tmp_path):
    path, words, vectors = tmp_path / 'v.npz', np.array([97, 10, 98], np.uint8), np.ones((2, 2))
    vectors = vectors.astype(np.float32)
    for arrays, reason in (
      ({'words': words}, "no array 'vectors'"),
      ({'vectors': vectors}, "no array 'words'"),
      ({'vectors': vectors.astype(np.float64), 'words': words}, "'vectors' is float64"),
      ({'vectors': vectors[0], 'words': words}, 'not float32 of rank 2'),
      ({'vectors': vectors, 'words': words[:1]}, '1 words for 2 vectors'),
      ({'vectors': vectors * np.nan, 'words': words}, 'row 1 has a number that is not finite'),
      ({'vectors': np.array([['a'], [None]], object), 'words': words}, "'vectors' is object"),
    ):
      np.savez(path, **arrays)
      with pytest.raises(ValueError, match=reason):
        load_vectors(path)
    np.savez_compressed(path, vectors=vectors, words=words)
    assert load_vectors(path)['b'].tolist() == [1, 1]
    np.savez(path, vectors=vectors, words=words)
    shape = b"'shape': (2, 2)"
    for lie in (b"'shape': (3, 2)", b"'shape': (2e9)", b"'shape': (2,-2"):
      path.with_name('lie').write_bytes(path.read_bytes().replace(shape, lie))
      with pytest.raises(ValueError, match=r'lie: '):
        load_vectors(path.with_name('lie'))

  def test_projectors(self, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'projector_config\.pbtxt'):
      load_vectors(tmp_path)
    save_vectors(KeyedVectors(['a', 'b'], np.ones((2, 2))), tmp_path, 'projector')
    for name, text, reason in (
      ('metadata.tsv', 'a\n', 'row 2 has no word'),
      ('metadata.tsv', 'a\nb\nc\n', 'row 3 has no vector'),
      ('metadata.tsv', 'a\na\n', "row 2: the word 'a' is there twice"),
      ('vectors.tsv', '1\t2\n1\n', 'row 2 has 1 numbers, not 2'),
      ('vectors.tsv', '1\t2\n1\tx\n', 'row 2: could not convert'),
      ('vectors.tsv', '', 'row 1 has no vector'),
      ('projector_config.pbtxt', '', 'names no tensor_path'),
      ('projector_config.pbtxt', 'tensor_path: "../secret"', 'names no tensor_path in the folder'),
    ):
      before = (tmp_path / name).read_text()
      (tmp_path / name).write_text(text)
      with pytest.raises(ValueError, match=reason):
        load_vectors(tmp_path)
      (tmp_path / name).write_text(before)
    (tmp_path / 'metadata.tsv').write_text('word\tcount\na\t5\nb\t3\n')
    assert load_vectors(tmp_path).index_to_key == ['a', 'b']

  def test_paths_that_cannot_be_read(self, tmp_path):
    with pytest.raises(FileNotFoundError):
      load_vectors(tmp_path / 'no')
    with pytest.raises(IsADirectoryError):
      load_vectors(tmp_path, 'word2vec')
    (tmp_path / 'file').write_text('x')
    with pytest.raises(NotADirectoryError):
      load_vectors(tmp_path / 'file', 'projector')

  @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
  @given(content=st.binary(max_size=300), format=st.sampled_from((None, *registry.FORMATS[:-1])))
  def test_any_bytes(self, content, format, tmp_path_factory):
    self.read(content, format, tmp_path_factory)

  @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
  @given(data=st.data(), format=st.sampled_from(registry.FORMATS[:-1]))
  def test_sound_files_with_some_bytes_changed(self, data, format, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / 'sound'
    kv = KeyedVectors(['a', 'bé', 'c'], np.array([[1, 2], [0.1, 3], [0, -1]]))
    save_vectors(kv, path, format)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
      start = data.draw(st.integers(0, len(content)))
      end = data.draw(st.integers(start, min(start + 8, len(content))))
      content[start:end] = data.draw(st.binary(max_size=8))
    self.read(bytes(content), data.draw(st.sampled_from((None, format))), tmp_path_factory)

  @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
  @given(content=st.text(st.sampled_from(' \n\r\t"a1.-e_é\x00'), max_size=60), head=st.booleans())
  def test_the_two_parsers_agree(self, content, head, tmp_path_factory):
    content = ('2 2\n' if head else 'a 1 2\n') + content
    results = []
    for without in (False, True):
      with pytest.MonkeyPatch.context() as patch:
        if without:
          patch.setitem(sys.modules, 'pyarrow', None)
        format = 'word2vec' if head else 'glove'
        results.append(self.read(content.encode(), format, tmp_path_factory))
    assert results[0] == results[1]

  @staticmethod
  def read(content, format, tmp_path_factory):
    """Either vectors that are sound, or a `ValueError` that names the file."""
    path = tmp_path_factory.getbasetemp() / 'fuzz'
    path.write_bytes(content)
    try:
      kv = load_vectors(path, format)
    except ValueError as error:
      return TestDamaged.reason(error, path)
    assert np.isfinite(kv.vectors).all() and kv.vectors.dtype == np.float32
    assert kv.vectors.shape == (len(kv.index_to_key), kv.vector_size) and all(kv.index_to_key)
    return read_bytes(kv)

  @staticmethod
  def reason(error, path):
    assert str(error).startswith(f'{path}: ') and len(str(error)) > len(f'{path}: ') + 5
    return str(error)

  def test_what_gensim_pickled_is_refused(self, tmp_path):
    gensim = pytest.importorskip('gensim.models')
    theirs = gensim.KeyedVectors(2)
    theirs.add_vectors(['a'], np.ones((1, 2), np.float32))
    theirs.save(str(tmp_path / 'v.kv'))
    with pytest.raises(ValueError, match=r'v\.kv: .*pickle.*save_word2vec_format'):
      load_vectors(tmp_path / 'v.kv')


class TestRefusedToWrite:
  @pytest.mark.parametrize('format', registry.FORMATS)
  @pytest.mark.parametrize('word', ['line\nfeed', '', 'half \ud800'])
  def test_word_that_no_format_can_hold(self, tmp_path, word, format):
    with pytest.raises(ValueError, match=f'v: a {format} file cannot hold the word'):
      save_vectors(KeyedVectors(['a', word], np.ones((2, 2))), tmp_path / 'v', format)
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize(('format', 'word'), [
    ('word2vec', 'two words'), ('word2vec_binary', 'two words'), ('fasttext', 'two words'),
    ('projector', 'a\tb'), ('projector', 'a\rb'),
    ('projector', '\u3000'), ('projector', '\xa0\ufeff'),
  ])  # fmt: skip
  def test_word_with_its_separator(self, tmp_path, format, word):
    with pytest.raises(ValueError, match=f'a {format} file cannot hold the word'):
      save_vectors(KeyedVectors([word], np.ones((1, 2))), tmp_path / 'v', format)
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize('value', [np.nan, np.inf])
  def test_vector_that_is_not_finite(self, tmp_path, value):
    kv = KeyedVectors(['a', 'b'], [[1, 2], [3, 4]])
    kv.vectors[1, 1] = value
    with pytest.raises(ValueError, match=r"the vector of 'b' is not finite"):
      save_vectors(kv, tmp_path / 'v.txt')
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize('format', registry.FORMATS)
  def test_vectors_of_no_width(self, tmp_path, format):
    with pytest.raises(ValueError, match='the vectors are 0 wide'):
      save_vectors(KeyedVectors(['a'], np.zeros((1, 0))), tmp_path / 'v', format)

  @pytest.mark.parametrize('name', ['no/v.txt', 'no/v.npz', 'no/folder/'])
  def test_folder_that_does_not_exist(self, tmp_path, name):
    with pytest.raises(FileNotFoundError, match='there is no folder'):
      save_vectors(KeyedVectors(['a'], [[1]]), f'{tmp_path}/{name}')
    assert not list(tmp_path.iterdir())

  def test_name_that_contradicts_the_format(self, tmp_path):
    kv = KeyedVectors(['a'], [[1]])
    with pytest.raises(ValueError, match=r'a \.bin file of fastText is a model'):
      save_vectors(kv, tmp_path / 'v.bin', 'fasttext')
    for format in ('safetensors', 'numpy', 'projector'):
      with pytest.raises(ValueError, match='is not compressed'):
        save_vectors(kv, tmp_path / 'v.gz', format)
    (tmp_path / 'file').write_text('x')
    with pytest.raises(NotADirectoryError, match='a projector is a folder'):
      save_vectors(kv, tmp_path / 'file', 'projector')
    assert [p.name for p in tmp_path.iterdir()] == ['file']

  def test_projector_is_whole_or_not_there(self, tmp_path, monkeypatch):
    def fail(*_):
      raise OSError('disk full')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(OSError, match='disk full'):
      save_vectors(KeyedVectors(['a'], [[1]]), tmp_path / 'folder', 'projector')
    assert not list(tmp_path.iterdir())

  def test_unknown_format_and_limit(self, tmp_path):
    for call in (lambda: load_vectors(tmp_path / 'v', 'elmo'),
                 lambda: save_vectors(None, tmp_path / 'v', 'elmo')):  # fmt: skip
      with pytest.raises(ValueError, match="format='elmo': allowed are 'word2vec'"):
        call()
    for limit in (0, -1, 2.5):
      with pytest.raises(ValueError, match=r'limit=.*must be an integer of at least 1'):
        load_vectors(tmp_path / 'v', limit=limit)
