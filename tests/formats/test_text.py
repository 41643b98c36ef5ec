"""Text formats: exact round trips, and errors with row and reason for damaged files."""

import gzip
import resource
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jw2v import KeyedVectors, load_vectors, save_vectors
from jw2v.formats import text as text_format
from tests.formats.tables import read_bytes, read_or_reason, some_vectors, words_for

RNG = np.random.default_rng(0)


@pytest.fixture(params=[True, False], ids=['pyarrow', 'no pyarrow'])
def parser(request, monkeypatch):
  """Runs with pyarrow, which must read the rows, and without it."""
  if request.param:
    monkeypatch.setattr(text_format, '_parse_by_row', lambda *_: pytest.fail('not taken'))
  else:
    monkeypatch.setitem(sys.modules, 'pyarrow', None)


class TestRoundTrip:
  @pytest.mark.parametrize('format', ['word2vec', 'glove'])
  def test_of_either_parser(self, tmp_path, format, parser):
    kv = KeyedVectors(words_for(format), some_vectors(len(words_for(format))))
    save_vectors(kv, tmp_path / 'v', format)
    assert read_bytes(load_vectors(tmp_path / 'v')) == read_bytes(kv)

  def test_text_is_short_and_the_c_tools(self, tmp_path):
    vectors = np.array([[1 / 3, 1], [-2.5, 1e-30]], np.float32)
    save_vectors(KeyedVectors(['the', 'of'], vectors), tmp_path / 'v.txt')
    text = '2 2\nthe 0.333333343 1\nof -2.5 1.00000000e-30\n'.replace('1.00000000e', '1e')
    assert (tmp_path / 'v.txt').read_text() == text
    save_vectors(KeyedVectors(['the', 'of'], vectors), tmp_path / 'g.txt', 'glove')
    assert (tmp_path / 'g.txt').read_text() == text.split('\n', 1)[1]


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


class TestPeers:
  @pytest.fixture
  def kv(self):
    return KeyedVectors(['the', '\u00e9t\u00e9', 'y_z'], RNG.normal(size=(3, 5)))

  @pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # gensim's file
  def test_gensim_opens_our_glove_text(self, tmp_path, kv):
    gensim = pytest.importorskip('gensim.models')
    save_vectors(kv, tmp_path / 'g.txt', 'glove')
    theirs = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / 'g.txt'), no_header=True)
    assert theirs.index_to_key == kv.index_to_key
    np.testing.assert_array_equal(theirs.vectors, kv.vectors)


class TestGlove:
  def test_words_with_spaces(self, tmp_path):
    (tmp_path / 'g').write_bytes(b'. . 1 2\nat name@domain.com 3 4\nNew York 2 b 5 6\n7 7 8\n')
    kv = load_vectors(tmp_path / 'g')
    assert kv.index_to_key == ['. .', 'at name@domain.com', 'New York 2 b', '7']
    assert kv.vectors.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    kv = KeyedVectors(['new york', 'a b\tc', '\x01'], np.ones((3, 2)))
    save_vectors(kv, tmp_path / 'h', 'glove')
    assert load_vectors(tmp_path / 'h').index_to_key == kv.index_to_key

  @pytest.mark.parametrize('word', ['a 1', 'a 1 b', 'a nan', 'b -2e5', 'a\t5', ' ', 'a ', ' a'])
  def test_word_whose_end_the_numbers_would_not_tell(self, tmp_path, word):
    with pytest.raises(ValueError, match='a glove file cannot represent the word'):
      save_vectors(KeyedVectors([word], np.ones((1, 2))), tmp_path / 'g', 'glove')


class TestEdges:
  def test_byte_order_mark_is_a_character(self, tmp_path):
    words = ['\ufeffking', 'king', '\ufeff\ufeff']
    kv = KeyedVectors(words, np.ones((3, 2)))
    for format in ('word2vec', 'glove', 'fasttext', 'word2vec_binary'):
      save_vectors(kv, tmp_path / 'v', format)
      assert load_vectors(tmp_path / 'v', format).index_to_key == words

  def test_byte_order_mark_at_the_start_of_a_later_block(self, tmp_path, monkeypatch):
    monkeypatch.setattr(text_format, '_BUFFER_BYTES', 1 << 12)
    words = [f'\ufeff{i:07}' for i in range(3000)]  # rows of 16 bytes: all blocks begin with one
    save_vectors(KeyedVectors(words, np.zeros((3000, 2))), tmp_path / 'v', 'glove')
    assert load_vectors(tmp_path / 'v').index_to_key == words

  def test_very_wide_row(self, tmp_path):
    (tmp_path / 'v').write_bytes(b'1 300000\na' + b' 1' * 300_000 + b'\n')
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = peak()
    assert load_vectors(tmp_path / 'v').vectors.sum() == 300_000
    assert peak() - before < 300_000  # KiB; columns of pyarrow took 1,000,000

  def test_a_last_line_without_its_end_is_told(self, tmp_path, caplog):
    (tmp_path / 'v').write_text('1 2\na 1 0.98')
    load_vectors(tmp_path / 'v')
    assert 'the file may be truncated' in caplog.text


class TestDamaged:
  @pytest.mark.parametrize(('content', 'reason'), [
    (b'a b\n', 'row 1 must be a word and its numbers'),
    (b'\n1 2\n', 'row 1 must be a word and its numbers'),
    (b'2 2\na 1 2\n', 'must have 2 rows as in the header, got 1'),
    (b'1 2\na 1 2\nb 1 2\n', 'must have 1 rows as in the header, got 2'),
    (b'2 2\na 1 2\nb 1\n', 'row 3 must have 2 numbers, got 1'),
    (b'2 2\na 1 2\nb 1 2 3\n', 'row 3 must have 2 numbers, got 3'),
    (b'2 2\na 1 2\n\nb 1 2\n', 'row 3 must have 2 numbers, got 0'),
    (b'2 2\nnew york 1 2\nb 1 2\n', 'row 2 must have 2 numbers, got 3'),
    (b'1 2\na 1 nan\n', 'row 2 must have finite float32 numbers'),
    (b'1 2\na 1 -inf\n', 'row 2 must have finite float32 numbers'),
    (b'1 2\na 1 1e39\n', 'row 2 must have finite float32 numbers'),
    (b'1 2\na 1 3.5e38\n', 'row 2 must have finite float32 numbers'),
    (b'1 2\na 1 x\n', 'row 2: could not convert'),
    (b'1 2\na 1 0x1p3\n', 'row 2: could not convert'),
    (b'1 2\na 1_0 2\n', 'row 2 must not have an underscore in a number'),
    (b'1 2\n 1 2\n', 'row 2 must have a word'),
    (b'1 2\n\xff 1 2\n', 'row 2: .*utf-8'),
    (b'2 2\na 1 2\na 1 2\n', "row 3: duplicate word 'a', first in row 2"),
    (b'3 0\na\nb\nc\n', 'the width in row 1 must be .*, got 0'),
    (b'1000000000000 100\na 1 2\n', 'bytes for the 1000000000000 rows of 100 numbers in row 1'),
    (b'1 1000000000000\na 1 2\n', 'the width in row 1 must be .*, got 1000000000000'),
    (b'9' * 90 + b' 2\na 1 2\n', 'bytes for the 9+ rows'),
    (b'a 1 2\nb 1\n', 'row 2 must have 2 numbers, got 1'),
    (b'a 1 2\nb 1 2 3\n', 'row 2 must have 2 numbers, got 3'),
    (b'a 1 2\nb c 2\n', 'row 2: could not convert'),
    (b'a 1 2\nb 1 nan\n', 'row 2 must have finite float32 numbers'),
    (gzip.compress(b'2 2\na 1 2\nb 1 2\n', mtime=0)[:-9], 'corrupted gzip data'),
    (gzip.compress(b'2 2\na 1 2\nb 1 2\n', mtime=0)[:-1] + b'\x55', 'corrupted gzip data'),
    (
      gzip.compress(b'1000000000000 2000000000\na 1 2\n', mtime=0),
      'row 2 must have 2000000000 numbers, got 2',
    ),
  ])  # fmt: skip
  def test_file_is_refused(self, tmp_path, content, reason):
    path = tmp_path / 'damaged'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'damaged: .*{reason}'):
      load_vectors(path)

  def test_pyarrow_lets_nothing_through(self, tmp_path):
    """Reports the row number after many valid rows, which use the fast parser."""
    sound = ''.join(f'w{i} {i} 0.5\n' for i in range(30_000)).encode()
    for bad, reason in ((b'a nan 1\n', 'finite float32'), (b'a 1\n', 'got 1'),
                        (b'a  1\n', 'could not'), (b'\xff 1 2\n', 'utf-8'), (b'a 1 2 \n3', 'got 0'),
                        (b'a 1 1e39\n', 'finite float32'), (b'"a 1 2\n" 1 2 3\n', 'got 3'),
                        (b' 1 2\n', 'must have a word'), (b'\na 1 2\n', 'got 0')):  # fmt: skip
      (tmp_path / 'v').write_bytes(b'30001 2\n' + sound + bad)
      with pytest.raises(ValueError, match=rf'row 3000[2-3].*{reason}'):
        load_vectors(tmp_path / 'v')

  def test_row_without_an_end(self, tmp_path, monkeypatch):
    monkeypatch.setattr(text_format, '_LONGEST_ROW', 1 << 21)
    (tmp_path / 'v').write_bytes(b'1 2\n' + b'x' * (1 << 23))
    with pytest.raises(ValueError, match='row 2 must be at most 2097152 bytes long'):
      load_vectors(tmp_path / 'v')

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
        results.append(read_or_reason(content.encode(), format, tmp_path_factory))
    assert results[0] == results[1]
