"""Text files of vectors as other programs and editors write them."""

import numpy as np
import pytest

from jw2v import KeyedVectors, Phrases, Vocabulary, load_vectors, save_vectors
from jw2v.cli import convert, evaluate
from jw2v.vectors import evaluation

ROWS = {
  'columns aligned at the left': 'the       0.5  0.25\nof       -0.5  0.75\n',
  'words padded': 'the       0.5 0.25\nof        -0.5 0.75\n',
  'words aligned at the right': '  the 0.5 0.25\n   of -0.5 0.75\n',
  'tabs': 'the\t0.5\t0.25\nof\t-0.5\t0.75\n',
  'a tab after the word': 'the\t0.5 0.25\nof\t-0.5 0.75\n',
  'tabs and spaces': 'the\t 0.5\t 0.25\nof\t -0.5\t 0.75\n',
  'blank lines at the end': 'the 0.5 0.25\nof -0.5 0.75\n\n \r\n\n',
  'padded rows and blank lines': 'the 0.5 0.25 \nof -0.5 0.75 \n\n',
  'ends of lines of Windows': 'the 0.5 0.25\r\nof -0.5 0.75\r\n\r\n',
}


def written(path, content):
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return path


@pytest.mark.parametrize('header', ['', '2 2\n'], ids=['no header', 'header'])
@pytest.mark.parametrize('format', [None, 'glove'])
@pytest.mark.parametrize('rows', ROWS.values(), ids=ROWS)
def test_columns_are_no_part_of_a_word(tmp_path, rows, format, header):
  kv = load_vectors(written(tmp_path / 'v.txt', header + rows), format)
  assert kv.index_to_key == ['the', 'of']
  assert kv.vectors.tolist() == [[0.5, 0.25], [-0.5, 0.75]]


def test_blank_lines_between_rows_are_refused(tmp_path):
  with pytest.raises(ValueError, match='row 2 '):
    load_vectors(written(tmp_path / 'v.txt', 'the 0.5 0.25\n\nof -0.5 0.75\n'))


def test_blank_lines_at_the_end_cross_buffers(tmp_path, monkeypatch):
  monkeypatch.setattr('jw2v.formats.text._BUFFER_BYTES', 16)
  rows = ''.join(f'word{i} {i} 0.5\n' for i in range(20))
  for end in ('', '\n' * 50, ' \n' * 20 + '\n'):
    assert len(load_vectors(written(tmp_path / 'v.txt', rows + end))) == 20
  with pytest.raises(ValueError, match=r'row 21 '):
    load_vectors(written(tmp_path / 'v.txt', rows + '\n' * 50 + 'last 1 2\n'))


@pytest.mark.parametrize('row', [
  'the, 0.5, 0.25', 'the,0.5,0.25', 'the; 0.5; 0.25', 'the\u00a00.5 0.25', '[0.5, 0.25]',
  'the [0.5, 0.25]', 'the 0.5 0.25\rof 0.5 0.75', 'the\tDET\t0.5', 'the  DET  0.5  0.25',
])  # fmt: skip
def test_other_separators_are_refused(tmp_path, row):
  for format in (None, 'glove'):
    with pytest.raises(ValueError, match='row 1 must be a word and its numbers, separated by'):
      load_vectors(written(tmp_path / 'v.txt', f'{row}\n{row}x\n'), format)


def test_glove_words_with_spaces_are_read(tmp_path):
  """Reads words as in glove.840B.300d.txt (harvardnlp/decomp-attn issue 2)."""
  text = '. . . 0.5 0.25\nat name@x.com -0.5 0.75\n'
  for content in (text, 'the 1 2\n' + text):
    kv = load_vectors(written(tmp_path / 'v.txt', content))
    assert kv.index_to_key[-2:] == ['. . .', 'at name@x.com']
    assert kv.vectors[-2:].tolist() == [[0.5, 0.25], [-0.5, 0.75]]


def test_word2vec_text_with_spaces_in_words_is_read_as_glove(tmp_path):
  """Reads NILC's vectors for Portuguese (makcedward/nlpaug issue 5)."""
  path = written(tmp_path / 'v.txt', '3 2\nR$ 0,00 0.5 0.25\ncasa -0.5 0.75\nR$ 000 1 2\n')
  with pytest.raises(ValueError, match=r"row 2 must have 2 numbers, got 3; .* give format='glove'"):
    load_vectors(path)
  kv = load_vectors(path, 'glove')
  assert kv.index_to_key == ['R$ 0,00', 'casa', 'R$ 000']
  assert kv.vectors.tolist() == [[0.5, 0.25], [-0.5, 0.75], [1, 2]]
  with pytest.raises(ValueError, match='must have 4 rows as in the header, got 3'):
    load_vectors(written(path, '4' + path.read_text()[1:]), 'glove')
  with pytest.raises(ValueError, match="row 3: duplicate word 'a b', first in row 2"):
    load_vectors(written(path, '2 2\na b 1 2\na b 1 2\n'), 'glove')


@pytest.mark.parametrize('content', ['the 0.5 2\nof 1 2\n', '2 2\nthe 0.5 2\nof 1 2\n'])
def test_byte_order_mark_of_vectors(tmp_path, content):
  kv = load_vectors(written(tmp_path / 'v.txt', '\ufeff' + content))
  assert kv.index_to_key == ['the', 'of'] and kv.vectors.tolist() == [[0.5, 2], [1, 2]]


def test_byte_order_mark_of_lists(tmp_path):
  read = lambda reader, content: reader(written(tmp_path / 'list', b'\xef\xbb\xbf' + content))
  assert read(Vocabulary.load, b'the 3\nof 2\n').words == ('the', 'of')
  assert read(evaluation.read_pairs, b'a b 1\n') == [('a', 'b', 1)]
  assert read(evaluation.read_analogies, b'a b c d\n') == {'': [('a', 'b', 'c', 'd')]}
  assert read(evaluate.read_questions, b': x\na b c d\n')[1] == {'x': [('a', 'b', 'c', 'd')]}
  assert read(convert.read_words, b'a\nb\n') == ['a', 'b']
  phrases = Phrases(({('new', 'york'): 3.0},), (), '_')
  phrases.save(tmp_path / 'phrases')
  assert read(Phrases.load, (tmp_path / 'phrases').read_bytes()) == phrases


def test_byte_order_mark_in_a_projector(tmp_path):
  kv = KeyedVectors(['a', 'b'], [[1, 2], [3, 4]])
  save_vectors(kv, tmp_path / 'p', 'projector')
  for path in (tmp_path / 'p').iterdir():
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
  assert load_vectors(tmp_path / 'p').index_to_key == ['a', 'b']


def test_first_word_that_starts_with_a_byte_order_mark_keeps_it(tmp_path):
  words = ['\ufeffa', 'a']
  Vocabulary(tuple(words), np.array([2, 1])).save(tmp_path / 'vocabulary')
  assert Vocabulary.load(tmp_path / 'vocabulary').words == tuple(words)
  for format in ('glove', 'projector'):
    save_vectors(KeyedVectors(words, np.ones((2, 2))), tmp_path / format, format)
    assert load_vectors(tmp_path / format).index_to_key == words


def test_line_ends_of_windows(tmp_path):
  phrases = Phrases(({('new', 'york'): 3.0},), (), '_')
  phrases.save(tmp_path / 'phrases')
  crlf = lambda content: written(tmp_path / 'list', content.replace(b'\n', b'\r\n'))
  assert Phrases.load(crlf((tmp_path / 'phrases').read_bytes())) == phrases
  assert Vocabulary.load(crlf(b'the 3\nof 2\n')).words == ('the', 'of')
  assert evaluation.read_pairs(crlf(b'a\tb\t1\n')) == [('a', 'b', 1)]
  assert evaluation.read_analogies(crlf(b': x\na b c d\n')) == {'x': [('a', 'b', 'c', 'd')]}
  assert convert.read_words(crlf(b'a\nb\n')) == ['a', 'b']
  for content in (b'a 1 2\nb 3 4\n', b'2 2\na 1 2\nb 3 4\n'):
    kv = load_vectors(crlf(content))
    assert kv.index_to_key == ['a', 'b'] and kv.vectors.tolist() == [[1, 2], [3, 4]]


def test_utf16_of_windows_is_named(tmp_path):
  with pytest.raises(ValueError, match='text must be UTF-8'):
    load_vectors(written(tmp_path / 'v.txt', 'a 1 2\n'.encode('utf-16')))


def test_simlex_as_its_authors_ship_it(tmp_path):
  text = 'word1\tword2\tPOS\tSimLex999\tconc(w1)\nold\tnew\tA\t1.58\t2.72\nnew\tbig\tA\t1.75\t3\n'
  path = written(tmp_path / 'SimLex-999.txt', text + 'big\told\tA\t0.5\t3\n')
  kv = KeyedVectors(['old', 'new', 'big'], [[1, 2], [2, 1], [0, 3]])
  with pytest.raises(ValueError, match=r'line 2 .* in column 3, .*; score_column= names'):
    kv.evaluate_word_pairs(path)
  *_, unknown = kv.evaluate_word_pairs(path, score_column=4)
  assert unknown == 0
  assert evaluate.read_questions(path, 4)[1][0] == ('old', 'new', 1.58)


def test_blank_lines_in_a_vocabulary_are_skipped(tmp_path):
  path = written(tmp_path / 'words.txt', 'the 3\r\nof 2\r\n\r\n')
  vocabulary = Vocabulary.load(path)
  assert vocabulary.words == ('the', 'of') and vocabulary.counts.tolist() == [3, 2]
