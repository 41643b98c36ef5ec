"""Tokenization, and the numbering of words on disk."""

import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jw2v.data import text, tokens
from jw2v.data.text import TextReader
from jw2v.data.tokens import NumberedText, TextConfig, number_text

PIECES = ['a', 'bc', 'ü', '\u00a0', '\u2028', '\x1c', ' ', '  ', '\n', '\r\n', '\t', '\x0b', '\x0c']


@pytest.fixture
def tiny(monkeypatch):
  """Sets blocks of a few bytes and chunks of a few tokens, which text then crosses."""
  monkeypatch.setattr(text, '_BUFFER_BYTES', 5)
  monkeypatch.setattr(tokens, '_CHUNK', 3)


def number(folder, contents, config=TextConfig()):
  """Returns the numbered files with these contents, and their lines as words."""
  files = []
  for i, content in enumerate(contents):
    (folder / f'{i}.txt').write_bytes(content.encode())
    files.append(str(folder / f'{i}.txt'))
  numbered = NumberedText(folder)
  number_text(TextReader(files), config, numbered)
  return numbered, lines_of(numbered)


def lines_of(numbered):
  """Returns the nonempty lines as words."""
  words, found = numbered.words, [[]]
  for ids, ends in numbered.chunks():
    first, *others = np.split(ids, ends)
    found[-1] += [words[i] for i in first]
    found += [[words[i] for i in piece] for piece in others]
  return [line for line in found if line]


def split(content):
  """Returns the words of each nonempty line, split at ASCII white space, as in bytes."""
  lines = [[w.decode() for w in line.split()] for line in content.encode().split(b'\n')]
  return [line for line in lines if line]


class TestTextConfig:
  @pytest.mark.parametrize(
    ('settings', 'message'),
    [
      ({'errors': 'lax'}, "errors must be one of 'ignore', 'replace', 'strict'; got 'lax'"),
      ({'word_pattern': '('}, r"word_pattern must be a regular expression, got '\('; missing"),
      ({'word_pattern': 'x*'}, 'must not match the empty word'),
      ({'word_pattern': 'x', 'tokenizer': str.split}, 'must be None with a tokenizer'),
      ({'tokenizer_name': 'mine'}, "tokenizer_name must be None without a tokenizer, got 'mine'"),
    ],
  )
  def test_refused(self, settings, message):
    with pytest.raises(ValueError, match=message):
      TextConfig(**settings)

  def test_tokenizer_that_is_no_function(self):
    with pytest.raises(
      TypeError, match="tokenizer must be a function from a line to words, got 'split'"
    ):
      TextConfig(tokenizer='split')

  def test_pattern_that_is_no_text(self):
    with pytest.raises(TypeError, match='word_pattern must be a string, got '):
      TextConfig(word_pattern=re.compile('x'))

  def test_settings_tell_configs_apart(self):
    configs = [
      TextConfig(), TextConfig(lowercase=True), TextConfig(word_pattern='x'),
      TextConfig(errors='ignore'), TextConfig(tokenizer=str.split, tokenizer_name='mine'),
    ]  # fmt: skip
    assert len({tuple(config.settings().items()) for config in configs}) == len(configs)


class TestWords:
  @given(st.lists(st.lists(st.sampled_from(PIECES), max_size=30), min_size=1, max_size=3))
  @settings(max_examples=200, deadline=None, derandomize=True)
  def test_white_space_of_ascii_separates(self, tmp_path_factory, files):
    contents = [''.join(parts) for parts in files]
    want = [line for content in contents for line in split(content)]
    for buffer_bytes in (3, 8 << 20):
      text._BUFFER_BYTES, before = buffer_bytes, text._BUFFER_BYTES
      try:
        numbered, lines = number(tmp_path_factory.mktemp('text'), contents)
      finally:
        text._BUFFER_BYTES = before
      assert lines == want
      flat = [word for line in want for word in line]
      assert numbered.words == list(dict.fromkeys(flat))  # in the order of appearance
      assert numbered.counts.tolist() == [flat.count(word) for word in numbered.words]

  def test_both_ways_of_splitting_agree(self, tmp_path, tiny):
    content = ''.join(PIECES * 5)
    assert number(tmp_path, [content])[1] == [
      list(TextConfig().words_of(line)) for line in content.split('\n') if line.strip()
    ]

  @pytest.mark.parametrize('pattern', [None, r'\S+'])
  def test_lower_case(self, tmp_path, pattern):
    config = TextConfig(lowercase=True, word_pattern=pattern)
    for content in ('The THE the', 'The THE \u00dcBER'):
      words = number(tmp_path, [content], config)[0].words
      assert words == list(dict.fromkeys(content.lower().split()))

  def test_pattern_with_groups_gives_whole_matches(self, tmp_path, tiny):
    config = TextConfig(word_pattern=r"[a-z]+('[a-z]+)?")
    assert number(tmp_path, ["don't stop,\nnow"], config)[1] == [["don't", 'stop'], ['now']]

  def test_tokenizer(self, tmp_path):
    config = TextConfig(tokenizer=list)
    assert number(tmp_path, ['ab\nc'], config)[1] == [['a', 'b'], ['c']]

  def test_tokenizer_gets_whole_lines_over_blocks(self, tmp_path, tiny):
    got = []
    config = TextConfig(tokenizer=lambda line: got.append(line) or line.split())
    number(tmp_path, ['a b c d e f g\nh\n', 'i\n\nj'], config)
    assert got == ['a b c d e f g', 'h', 'i', '', 'j']

  def test_tokenizer_gets_pieces_of_an_endless_line(self, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(tokens, 'LONG_LINE', 8)
    got = []
    config = TextConfig(tokenizer=lambda line: got.append(line) or line.split())
    number(tmp_path, ['ab ' * 20], config)
    assert got == ['ab ab '] * 10

  def test_tokenizer_that_gives_no_words(self, tmp_path):
    for wrong, message in ((lambda line: line, 'got the text'), (lambda line: [1], 'got 1')):
      with pytest.raises(TypeError, match=f'the tokenizer: .*{message}'):
        number(tmp_path, ['a b'], TextConfig(tokenizer=wrong))

  def test_word_of_ten_million_bytes(self, tmp_path):
    numbered, lines = number(tmp_path, ['a b ' + 'x' * 10_000_000 + ' a\nb'])
    assert [len(word) for word in numbered.words] == [1, 1, 10_000_000]
    assert [len(line) for line in lines] == [4, 1]

  def test_line_without_white_space_comes_in_pieces(self, tmp_path, monkeypatch):
    monkeypatch.setattr(text, '_BUFFER_BYTES', 5)
    monkeypatch.setattr(tokens, 'LONG_LINE', 4)
    got = []
    config = TextConfig(tokenizer=lambda line: got.append(line) or list(line))
    number(tmp_path, ['天気です。' * 3 + '\n今'], config)
    assert ''.join(got) == '天気です。' * 3 + '今' and max(map(len, got)) <= 4

  def test_empty_matches_are_no_words(self, tmp_path):
    for pattern in (r'\b\w*', r'\b(\w*)'):
      assert number(tmp_path, ['a, b'], TextConfig(word_pattern=pattern))[1] == [['a', 'b']]

  def test_lists_do_not_stay_in_memory(self, tmp_path, tiny):
    """Writes the words of earlier chunks to disk."""
    numbered = NumberedText(tmp_path)

    def lines():
      for _ in range(40_000):
        yield ['a', 'b']
      assert (tmp_path / 'ids.npy').stat().st_size > 4 * 40_000
      for _ in range(40_000):
        yield []
      yield ['a']

    numbered.add_lines(lines(), 'the corpus')
    assert numbered.num_tokens == 80_001 and numbered.num_lines == 40_001

  def test_without_pyarrow(self, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ImportError, match=r"pip install 'jw2v\[text\]'"):
      number(tmp_path, ['a b'])


class TestNumberedText:
  LINES = [['a', 'b'], [], ['a'], ['c', 'c', 'a', 'b', 'd'], [], []]

  @pytest.fixture
  def numbered(self, tmp_path, tiny):
    numbered = NumberedText(tmp_path)
    numbered.add_lines(self.LINES, 'the corpus')
    return numbered

  def test_numbers_in_the_order_of_appearance(self, numbered):
    assert numbered.words == ['a', 'b', 'c', 'd'] and numbered.counts.tolist() == [3, 2, 2, 1]
    assert lines_of(numbered) == [line for line in self.LINES if line]
    assert (numbered.num_tokens, numbered.num_lines) == (8, 3)

  def test_chunks_have_their_line_ends(self, numbered):
    found = [(ids.tolist(), ends.tolist()) for ids, ends in numbered.chunks()]
    assert found == [([0, 1, 0], [2, 3]), ([2, 2, 0], []), ([1, 3], [2])]

  def test_replaced_by_fewer(self, numbered):
    """Drops the first token of each chunk."""
    numbered.replace((ids[1:], np.maximum(ends - 1, 0)) for ids, ends in numbered.chunks())
    assert lines_of(numbered) == [['b'], ['a'], ['c', 'a', 'd']]
    assert numbered.counts.tolist() == [2, 1, 1, 1]

  def test_finished_files_are_read_by_numpy(self, numbered, tmp_path):
    numbered.finish()
    ids, ends = (np.load(tmp_path / name) for name in ('ids.npy', 'line_ends.npy'))
    assert (ids.dtype, ends.dtype) == (np.int32, np.int64)
    assert ids.tolist() == [0, 1, 0, 2, 2, 0, 1, 3] and ends.tolist() == [2, 3, 8]

  def test_counts_of_many_words(self, tmp_path):
    numbered = NumberedText(tmp_path)
    numbered.add_lines(([str(i % 5000)] for i in range(12_000)), 'the corpus')
    assert numbered.counts.tolist() == [3] * 2000 + [2] * 3000


def test_numbers_that_cannot_be_read_to_their_end(tmp_path, monkeypatch):
  """Raises after an error of the disk, where NumPy returns the numbers before it."""
  numbered = NumberedText(tmp_path)
  numbered.add_lines([['a', 'b', 'c']] * 5, 'lines')
  assert sum(len(tokens) for tokens, _ in numbered.chunks()) == 15
  fromfile = np.fromfile
  monkeypatch.setattr(np, 'fromfile', lambda file, dtype, count: fromfile(file, dtype, count)[:-1])
  with pytest.raises(OSError, match=r"cannot be read to its end: '.*ids\.npy'"):
    list(numbered.chunks())
