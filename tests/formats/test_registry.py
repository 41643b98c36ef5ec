"""All formats: exact round trips, guessed formats, and errors."""

import gzip
import os
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jw2v import KeyedVectors, SubwordVectors, load_vectors, save_vectors
from jw2v.formats import arrow, projector, registry, safetensors, word2vec_binary
from jw2v.formats import text as text_format
from tests.formats.tables import model, read_bytes, read_or_reason, some_vectors, words_for

RNG = np.random.default_rng(0)
FILES = {  # per format, a name without a known extension, so that the content determines the format
  name: 'folder' if name in registry.FOLDERS else 'v.unknown' for name in registry.FORMATS
}
NOT_FOLDERS = tuple(name for name in registry.FORMATS if name not in registry.FOLDERS)
TEXTS = ('word2vec', 'glove', 'fasttext')


class TestRoundTrip:
  @pytest.mark.parametrize('format', registry.FORMATS)
  def test_is_exact_and_the_format_is_guessed(self, tmp_path, format):
    kv = KeyedVectors(words_for(format), some_vectors(len(words_for(format))))
    save_vectors(kv, tmp_path / FILES[format], format)
    for loaded in (load_vectors(tmp_path / FILES[format], format),
                   load_vectors(tmp_path / FILES[format])):  # fmt: skip
      assert read_bytes(loaded) == read_bytes(kv)
      assert loaded.vectors.flags.writeable

  @pytest.mark.parametrize('format', registry.FORMATS)
  @pytest.mark.parametrize('limit', [1, 2999, 3000, 9999])
  def test_of_many_rows_and_the_first_of_them(self, tmp_path, format, limit, monkeypatch):
    """Reads and writes in blocks of a few rows."""
    for module in (text_format, word2vec_binary):
      monkeypatch.setattr(module, '_BUFFER_BYTES', 1 << 12)
    for module in (text_format, word2vec_binary, safetensors, projector, arrow):
      monkeypatch.setattr(module, '_ROWS', 7)
    monkeypatch.setattr(arrow, '_ROWS_READ', 5)
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

  @pytest.mark.parametrize('format', ['word2vec', 'word2vec_binary', 'safetensors', 'numpy',
                                      'parquet', 'arrow', 'static_embedding'])  # fmt: skip
  def test_of_no_word(self, tmp_path, format):
    save_vectors(KeyedVectors([], np.zeros((0, 3))), tmp_path / 'v', format)
    loaded = load_vectors(tmp_path / 'v')
    assert (len(loaded), loaded.vector_size) == (0, 3)

  @pytest.mark.parametrize(('name', 'format'), [
    ('v.txt', 'word2vec'), ('v', 'word2vec'), ('v.bin', 'word2vec_binary'), ('v.vec', 'fasttext'),
    ('v.BIN', 'word2vec_binary'), ('v.bin.gz', 'word2vec_binary'), ('v.npz', 'numpy'),
    ('v.safetensors', 'safetensors'), ('v.parquet', 'parquet'), ('v.arrow', 'arrow'),
    ('v.feather', 'arrow'), ('folder/', 'projector'),
  ])  # fmt: skip
  def test_format_by_the_name(self, tmp_path, name, format):
    kv = KeyedVectors(['a'], RNG.normal(size=(1, 4)))
    path = f'{tmp_path}/{name}'
    save_vectors(kv, path)
    same = {'fasttext': 'word2vec'}.get(format, format)
    assert registry.guess_format(path) == same
    assert read_bytes(load_vectors(path)) == read_bytes(kv)

  def test_written_twice_the_bytes_are_the_same(self, tmp_path):
    kv = KeyedVectors(['a', 'b'], RNG.normal(size=(2, 3)))
    for format in NOT_FOLDERS:
      path = tmp_path / ('v.gz' if format in TEXTS else 'v')
      save_vectors(kv, path, format)
      first = path.read_bytes()
      path.unlink()
      save_vectors(kv, path, format)
      assert path.read_bytes() == first


class TestPeers:
  """Exchange of files with gensim, in both directions."""

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

  @pytest.mark.parametrize('how', [{}, {'binary': True}, {'write_header': False}])
  @pytest.mark.parametrize('ending', ['', '.gz'])
  def test_we_open_gensims(self, tmp_path, kv, how, ending):
    gensim = pytest.importorskip('gensim.models')
    theirs = gensim.KeyedVectors(5)
    theirs.add_vectors(kv.index_to_key, kv.vectors)
    theirs.save_word2vec_format(str(tmp_path / f'v{ending}'), **how)
    assert read_bytes(load_vectors(tmp_path / f'v{ending}')) == read_bytes(kv)


class TestEdges:
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
    with pytest.raises(ValueError, match='format of a pipe or device must be given'):
      load_vectors(tmp_path / 'pipe')

  @pytest.mark.parametrize(('limit', 'count'), [(np.int64(2), 2), (None, 3)])
  def test_limits(self, tmp_path, limit, count):
    save_vectors(KeyedVectors('abc', np.ones((3, 2))), tmp_path / 'v')
    assert len(load_vectors(tmp_path / 'v', limit=limit)) == count

  @pytest.mark.parametrize('limit', [0, -1, True, 1.5, '2'])
  def test_limits_that_are_none(self, tmp_path, limit):
    with pytest.raises(ValueError, match='limit must be an integer of at least 1'):
      load_vectors(tmp_path / 'v', limit=limit)

  def test_names_in_bytes(self, tmp_path):
    save_vectors(KeyedVectors('ab', np.ones((2, 2))), os.fsencode(tmp_path / 'v.bin'))
    assert registry.guess_format(tmp_path / 'v.bin') == 'word2vec_binary'

  def test_no_word_where_none_can_be_said(self, tmp_path):
    for format in ('glove', 'projector'):
      with pytest.raises(ValueError, match='must have at least one word'):
        save_vectors(KeyedVectors([], np.zeros((0, 3))), tmp_path / 'v', format)


@pytest.mark.parametrize('all_buckets', [False, True])
def test_of_ngrams_the_other_formats_hold_the_words_alone(tmp_path, all_buckets):
  kv = model(all_buckets)
  for name, format in (('m.vec', None), ('m.txt', None), ('m.npz', None), ('m.parquet', None),
                       ('m.arrow', None), ('m', 'static_embedding')):  # fmt: skip
    save_vectors(kv, tmp_path / name, format)
    found = load_vectors(tmp_path / name)
    assert not isinstance(found, SubwordVectors) and 'seaside' not in found
    np.testing.assert_array_equal(found.vectors, kv.vectors)


def test_the_c_tools_binary_form_if_it_is_named(tmp_path):
  save_vectors(model(), tmp_path / 'm.bin', 'word2vec_binary')
  assert not isinstance(load_vectors(tmp_path / 'm.bin'), SubwordVectors)


def test_words_with_line_feeds(tmp_path):
  for format in ('parquet', 'arrow', 'static_embedding'):
    kv = KeyedVectors(['new york', 'line\nfeed', '\ufeffa'], some_vectors(3))
    save_vectors(kv, tmp_path / format, format)
    assert read_bytes(load_vectors(tmp_path / format)) == read_bytes(kv)


def test_a_folder_keeps_its_format(tmp_path):
  kv = KeyedVectors(['a', 'b'], some_vectors(2))
  save_vectors(kv, tmp_path / 'm', 'static_embedding')
  save_vectors(KeyedVectors(['c'], [[1, 2]]), tmp_path / 'm')
  assert load_vectors(tmp_path / 'm', 'static_embedding').index_to_key == ['c']
  assert not (tmp_path / 'm' / projector.CONFIG).exists()


class TestSameBytes:
  def test_gzip_says_nothing_of_the_time(self, tmp_path):
    """Omits the time and the name of the file."""
    save_vectors(KeyedVectors(['a'], [[1, 2]]), tmp_path / 'v.txt.gz')
    header = (tmp_path / 'v.txt.gz').read_bytes()[:10]
    assert header[3:8] == bytes(5)  # no flags, so no name; the time


class TestDamaged:
  @pytest.mark.parametrize(('content', 'reason'), [
    (b'', 'the file is empty'),
    (b'\xff\xfea\x00 \x001\x00\n\x00', 'unknown format of vectors, which begins with'),
  ])  # fmt: skip
  def test_file_is_refused(self, tmp_path, content, reason):
    path = tmp_path / 'damaged'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'damaged: .*{reason}'):
      load_vectors(path)

  @pytest.mark.parametrize('given', NOT_FOLDERS)
  @pytest.mark.parametrize('written', [name for name in NOT_FOLDERS if name != 'fasttext'])
  def test_one_format_read_as_another(self, tmp_path, given, written):
    if given == written or {given, written} == {'word2vec', 'fasttext'}:
      pytest.skip('the same format')
    if (given, written) == ('glove', 'word2vec'):
      pytest.skip('reads words with spaces')
    words = [f'word{i}' for i in range(50)]
    save_vectors(KeyedVectors(words, RNG.normal(size=(50, 4))), tmp_path / 'v', written)
    with pytest.raises(ValueError, match=r'/v: '):
      load_vectors(tmp_path / 'v', given)

  def test_paths_that_cannot_be_read(self, tmp_path):
    with pytest.raises(FileNotFoundError):
      load_vectors(tmp_path / 'no')
    with pytest.raises(IsADirectoryError):
      load_vectors(tmp_path, 'word2vec')
    (tmp_path / 'file').write_text('x')
    with pytest.raises(NotADirectoryError):
      load_vectors(tmp_path / 'file', 'projector')

  @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
  @given(content=st.binary(max_size=300), format=st.sampled_from((None, *NOT_FOLDERS)))
  def test_any_bytes(self, content, format, tmp_path_factory):
    read_or_reason(content, format, tmp_path_factory)

  @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
  @given(data=st.data(), format=st.sampled_from(NOT_FOLDERS))
  def test_sound_files_with_some_bytes_changed(self, data, format, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / 'sound'
    kv = KeyedVectors(['a', 'bé', 'c'], np.array([[1, 2], [0.1, 3], [0, -1]]))
    save_vectors(kv, path, format)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
      start = data.draw(st.integers(0, len(content)))
      end = data.draw(st.integers(start, min(start + 8, len(content))))
      content[start:end] = data.draw(st.binary(max_size=8))
    read_or_reason(bytes(content), data.draw(st.sampled_from((None, format))), tmp_path_factory)

  def test_what_gensim_pickled_is_refused(self, tmp_path):
    gensim = pytest.importorskip('gensim.models')
    theirs = gensim.KeyedVectors(2)
    theirs.add_vectors(['a'], np.ones((1, 2), np.float32))
    theirs.save(str(tmp_path / 'v.kv'))
    with pytest.raises(ValueError, match=r'v\.kv: .*pickle.*save_word2vec_format'):
      load_vectors(tmp_path / 'v.kv')


class TestRefusedToWrite:
  @pytest.mark.parametrize('format', registry.FORMATS)
  @pytest.mark.parametrize('word', ['', 'half \ud800'])
  def test_word_that_no_format_can_hold(self, tmp_path, word, format):
    with pytest.raises(ValueError, match=f'v: a {format} file cannot represent the word'):
      save_vectors(KeyedVectors(['a', word], np.ones((2, 2))), tmp_path / 'v', format)
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize(('format', 'word'), [
    ('word2vec', 'two words'), ('word2vec_binary', 'two words'), ('fasttext', 'two words'),
    *((name, 'line\nfeed') for name in (*TEXTS, 'word2vec_binary', 'safetensors', 'numpy',
                                        'projector')),
  ])  # fmt: skip
  def test_word_with_its_separator(self, tmp_path, format, word):
    with pytest.raises(ValueError, match=f'a {format} file cannot represent the word'):
      save_vectors(KeyedVectors([word], np.ones((1, 2))), tmp_path / 'v', format)
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize('value', [np.nan, np.inf])
  def test_vector_that_is_not_finite(self, tmp_path, value):
    kv = KeyedVectors(['a', 'b'], [[1, 2], [3, 4]])
    kv.vectors[1, 1] = value
    with pytest.raises(ValueError, match=r"the vector of 'b' must be finite"):
      save_vectors(kv, tmp_path / 'v.txt')
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize('format', registry.FORMATS)
  def test_vectors_of_no_width(self, tmp_path, format):
    with pytest.raises(ValueError, match='vectors must have at least one column'):
      save_vectors(KeyedVectors(['a'], np.zeros((1, 0))), tmp_path / 'v', format)

  @pytest.mark.parametrize('name', ['no/v.txt', 'no/v.npz', 'no/v.parquet', 'no/folder/'])
  def test_folder_that_does_not_exist(self, tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r'folder .* not found'):
      save_vectors(KeyedVectors(['a'], [[1]]), f'{tmp_path}/{name}')
    assert not list(tmp_path.iterdir())

  def test_name_that_contradicts_the_format(self, tmp_path):
    kv = KeyedVectors(['a'], [[1]])
    with pytest.raises(ValueError, match='a fastText model must have vectors with n-grams'):
      save_vectors(kv, tmp_path / 'v.bin', 'fasttext')
    for format in ('safetensors', 'numpy', 'parquet', 'arrow', *registry.FOLDERS):
      with pytest.raises(ValueError, match='is not compressed'):
        save_vectors(kv, tmp_path / 'v.gz', format)
    (tmp_path / 'file').write_text('x')
    for format in registry.FOLDERS:
      with pytest.raises(NotADirectoryError, match='file: must be a folder, got a file'):
        save_vectors(kv, tmp_path / 'file', format)
    assert [p.name for p in tmp_path.iterdir()] == ['file']

  def test_unknown_format_and_limit(self, tmp_path):
    kv = KeyedVectors(['a'], [[1]])
    for call in (lambda: load_vectors(tmp_path / 'v', 'elmo'),
                 lambda: save_vectors(kv, tmp_path / 'v', 'elmo')):  # fmt: skip
      with pytest.raises(ValueError, match="format must be one of 'word2vec'"):
        call()
    for limit in (0, -1, 2.5):
      with pytest.raises(ValueError, match=r'limit must be an integer of at least 1'):
        load_vectors(tmp_path / 'v', limit=limit)


def test_a_vocabulary_is_not_vectors(tmp_path):
  (tmp_path / 'vocabulary.txt').write_text('the 30\nsea 4\nland 1\n')
  with pytest.raises(ValueError, match=r'vocabulary.txt: must be vectors, got a list of words'):
    registry.read_table(tmp_path / 'vocabulary.txt')
  assert registry.read_table(tmp_path / 'vocabulary.txt', 'glove')[0].vectors.shape == (3, 1)
  (tmp_path / 'v.txt').write_text('the 0.5\nsea 4\n')
  assert registry.read_table(tmp_path / 'v.txt')[0].vectors.shape == (2, 1)
