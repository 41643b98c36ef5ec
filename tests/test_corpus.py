"""Finding, reading, splitting and encoding text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jw2v.corpus import encode, find_files, read_lines


def decoded(corpus):
  """The lines of an encoded corpus as words."""
  words = [corpus.vocabulary.words[i] for i in corpus.ids]
  starts = [0, *corpus.line_ends[:-1]]
  return [words[a:b] for a, b in zip(starts, corpus.line_ends, strict=True)]


class TestEncode:
  def test_lines_of_kept_words(self):
    lines = [['a', 'b', 'rare'], [], ['rarer'], ['b', 'a'], ['a']]
    corpus = encode(lines, min_count=2)
    assert corpus.vocabulary.words == ('a', 'b')
    assert corpus.vocabulary.counts.tolist() == [3, 2]
    assert decoded(corpus) == [['a', 'b'], ['b', 'a'], ['a']]
    assert corpus.ids.dtype == np.int32

  def test_path_list_of_paths_and_token_lists_agree(self, tmp_path):
    (tmp_path / 'one.txt').write_text('a b c\nb a\n')
    (tmp_path / 'two.txt').write_text('c a')
    lists = encode([['a', 'b', 'c'], ['b', 'a'], ['c', 'a']], min_count=1)
    for corpus in (tmp_path, str(tmp_path), [tmp_path / 'one.txt', str(tmp_path / 'two.txt')]):
      other = encode(corpus, min_count=1)
      assert other.vocabulary.words == lists.vocabulary.words
      assert decoded(other) == decoded(lists)
    assert decoded(encode(iter([['a', 'b']]), min_count=1)) == [['a', 'b']]

  def test_only_ascii_white_space_separates_words(self, tmp_path):
    text = 'a\tb\x0bc\x0cd  e\r\n\r\nf\x1cg h\x1f\n\u00a0x y\u0085z \u2028 \u00fc'
    (tmp_path / 'text').write_bytes(text.encode())
    other = ['\u00a0x', 'y\u0085z', '\u2028', '\u00fc']
    want = [['a', 'b', 'c', 'd', 'e'], ['f\x1cg', 'h\x1f'], other]
    assert decoded(encode(tmp_path / 'text', min_count=1)) == want

  @given(st.lists(st.lists(st.sampled_from('abcd'), max_size=6), max_size=8))
  @settings(max_examples=50, deadline=None, derandomize=True)
  def test_counts_and_lines_as_by_hand(self, lines):
    flat = [word for line in lines for word in line]
    kept = [[word for word in line if flat.count(word) >= 2] for line in lines]
    if max(map(len, kept), default=0) < 2:
      with pytest.raises(ValueError, match=r'no text|no word|no line'):
        encode(lines, min_count=2)
      return
    corpus = encode(lines, min_count=2)
    assert decoded(corpus) == [line for line in kept if line]
    assert all(flat.count(w) == n for w, n in zip(
      corpus.vocabulary.words, corpus.vocabulary.counts, strict=True))  # fmt: skip


class TestBadInput:
  def test_no_path(self):
    for paths in ('', [], ['']):
      with pytest.raises(ValueError, match='name a file or a folder'):
        find_files(paths)

  def test_hidden_files_are_no_text(self, tmp_path):
    (tmp_path / '.hidden').write_bytes(b'\xff')
    (tmp_path / 'text').write_text('a b')
    assert [p.name for p in find_files(tmp_path)] == ['text']

  def test_missing_file_or_empty_folder(self, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.txt: no such file'):
      encode(tmp_path / 'nothing.txt', min_count=1)
    with pytest.raises(FileNotFoundError, match='no file in this folder'):
      find_files(tmp_path)

  @pytest.mark.parametrize('content', [b'', b'\n', b' \t\r\n \n'])
  def test_file_without_text(self, tmp_path, content):
    (tmp_path / 'empty.txt').write_bytes(content)
    with pytest.raises(ValueError, match=r'empty\.txt: there is no text in it'):
      encode(tmp_path / 'empty.txt', min_count=1)

  def test_not_utf8_names_file_and_byte(self, tmp_path):
    (tmp_path / 'latin.txt').write_bytes(b'good line\nbad \xff line\n')
    with pytest.raises(ValueError, match=r'latin\.txt: not UTF-8 at byte 14 \(0xff\)'):
      list(read_lines(tmp_path / 'latin.txt'))

  def test_no_word_is_frequent_enough(self, tmp_path):
    (tmp_path / 'text.txt').write_text('to be or not to be')
    with pytest.raises(ValueError, match=r"text\.txt: no word occurs min_count=5 times.*'to'"):
      encode(tmp_path / 'text.txt', min_count=5)

  def test_no_line_with_two_words(self):
    with pytest.raises(ValueError, match='no line has two words'):
      encode([['a'], ['a', 'rare'], ['a']], min_count=2)

  def test_text_where_lists_of_words_are_needed(self):
    with pytest.raises(TypeError, match="a list of words, got the text 'a sentence'"):
      encode(iter(['a sentence']), min_count=1)
    with pytest.raises(TypeError, match='a list of words, got 1'):
      encode([1, 2], min_count=1)
    with pytest.raises(TypeError, match='corpus=None: must be a path'):
      encode(None, min_count=1)
    with pytest.raises(TypeError, match='words must be str, got 3'):
      encode([['a', 3]], min_count=1)
