"""Encoding: kept words, line ends, and errors."""

import gzip

import numpy as np
import pytest
from corpora import is_plain
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jw2v.data import corpus, tokens
from jw2v.data.corpus import encode_corpus, learn_phrases
from jw2v.data.phrases import PhraseConfig
from jw2v.data.tokens import TextConfig
from jw2v.data.vocabulary import Vocabulary


def decoded(encoded):
  """Returns the lines of an encoded corpus as words."""
  words = [encoded.vocabulary.words[i] for i in encoded.ids]
  starts = [0, *encoded.line_ends[:-1]]
  return [words[a:b] for a, b in zip(starts, encoded.line_ends, strict=True)]


class TestEncode:
  def test_lines_of_kept_words(self):
    lines = [['a', 'b', 'rare'], [], ['rarer'], ['b', 'a'], ['a']]
    encoded = encode_corpus(lines, min_count=2)
    assert encoded.vocabulary.words == ('a', 'b')
    assert encoded.vocabulary.counts.tolist() == [3, 2]
    assert decoded(encoded) == [['a', 'b'], ['b', 'a'], ['a']]
    assert encoded.ids.dtype == np.int32 and encoded.line_ends.dtype == np.int64
    assert encoded.words_read == 7

  def test_path_list_of_paths_and_token_lists_agree(self, tmp_path):
    (tmp_path / 'one.txt').write_text('a b c\nb a\n')
    (tmp_path / 'two.txt.gz').write_bytes(gzip.compress(b'c a'))
    lists = encode_corpus([['a', 'b', 'c'], ['b', 'a'], ['c', 'a']], min_count=1)
    for paths in (
      tmp_path, str(tmp_path), [tmp_path / 'one.txt', str(tmp_path / 'two.txt.gz')],
      tmp_path / '*.txt*',
    ):  # fmt: skip
      other = encode_corpus(paths, min_count=1)
      assert other.vocabulary.words == lists.vocabulary.words
      assert decoded(other) == decoded(lists)
    assert decoded(encode_corpus(iter([['a', 'b']]), min_count=1)) == [['a', 'b']]

  def test_only_ascii_white_space_separates_words(self, tmp_path):
    text = 'a\tb\x0bc\x0cd  e\r\n\r\nf\x1cg h\x1f\n\u00a0x y\u0085z \u2028 \u00fc'
    (tmp_path / 'text').write_bytes(text.encode())
    other = ['\u00a0x', 'y\u0085z', '\u2028', '\u00fc']
    want = [['a', 'b', 'c', 'd', 'e'], ['f\x1cg', 'h\x1f'], other]
    assert decoded(encode_corpus(tmp_path / 'text', min_count=1, text='whitespace')) == want

  @given(
    st.lists(st.lists(st.sampled_from('abcd'), max_size=6), max_size=8),
    st.integers(1, 7),
    st.integers(1, 3),
  )
  @settings(max_examples=150, deadline=None, derandomize=True)
  def test_counts_and_lines_as_by_hand(self, lines, chunk, min_count):
    flat = [word for line in lines for word in line]
    kept = [[word for word in line if flat.count(word) >= min_count] for line in lines]
    tokens._CHUNK, before = chunk, tokens._CHUNK
    try:
      if max(map(len, kept), default=0) < 2:
        with pytest.raises(ValueError, match=r'no word|no line'):
          encode_corpus(lines, min_count=min_count)
        return
      encoded = encode_corpus(lines, min_count=min_count)
    finally:
      tokens._CHUNK = before
    assert decoded(encoded) == [line for line in kept if line]
    order = sorted(dict.fromkeys(w for line in kept for w in line), key=lambda w: -flat.count(w))
    assert encoded.vocabulary.words == tuple(order)  # stable: then by first appearance
    assert encoded.vocabulary.counts.tolist() == [flat.count(word) for word in order]

  def test_line_over_many_chunks_whose_last_words_are_dropped(self, monkeypatch):
    monkeypatch.setattr(tokens, '_CHUNK', 1)
    lines = [['a', 'a', 'x', 'y', 'z'], ['w', 'a', 'v']]
    assert decoded(encode_corpus(lines, min_count=2)) == [['a', 'a'], ['a']]

  @given(st.binary(max_size=200))
  @settings(max_examples=150, deadline=None, derandomize=True)
  def test_any_bytes_are_encoded_or_refused(self, tmp_path_factory, content):
    """Keeps the same words as Python's splitting of the same bytes."""
    folder = tmp_path_factory.mktemp('text')
    assume(is_plain(content))
    (folder / 'text').write_bytes(content)
    text = content.removeprefix(b'\xef\xbb\xbf').decode(errors='replace')
    lines = [[w.decode() for w in line.split()] for line in text.encode().split(b'\n')]
    encode = lambda: encode_corpus(
      folder / 'text', folder / 'store', min_count=1, text=TextConfig(errors='replace')
    )
    if max(map(len, lines)) < 2:
      with pytest.raises(ValueError, match=r'no words found|no line has two words'):
        encode()
      assert not (folder / 'store').exists()
    else:
      assert decoded(encode()) == [line for line in lines if line]

  def test_not_utf8_is_counted_and_told(self, tmp_path, caplog):
    (tmp_path / 'text').write_bytes(b'a b\xff c\xfe')
    encoded = encode_corpus(tmp_path / 'text', min_count=1, text=TextConfig(errors='ignore'))
    assert encoded.not_utf8 == 2 and encoded.vocabulary.words == ('a', 'b', 'c')
    assert '2 byte sequences were not UTF-8' in caplog.text

  def test_progress_bar_while_files_are_read(self, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('jw2v.utils.progress_bar.shows_bars', lambda: True)
    (tmp_path / 'text').write_text('a b ' * 1000)
    encode_corpus(tmp_path / 'text', min_count=1, progress=True)
    assert not capsys.readouterr().err  # too quick for a bar
    monkeypatch.setattr(corpus, '_SHORT', 0)
    encode_corpus(tmp_path / 'text', min_count=1, progress=True)
    assert 'reading: 100%' in capsys.readouterr().err


class TestVocabulary:
  LINES = [['a', 'a', 'b', 'c'], ['b', 'a', 'd']]

  def test_reserved_words_come_first(self):
    encoded = encode_corpus(self.LINES, min_count=2, reserved=['<pad>', 'd'])
    assert encoded.vocabulary.words == ('<pad>', 'd', 'a', 'b')
    assert encoded.vocabulary.counts.tolist() == [0, 1, 3, 2]
    assert decoded(encoded) == [['a', 'a', 'b'], ['b', 'a', 'd']]

  def test_the_most_frequent_stay(self):
    encoded = encode_corpus(self.LINES, min_count=1, max_vocab_size=2)
    assert decoded(encoded) == [['a', 'a', 'b'], ['b', 'a']]

  def test_vocabulary_made_elsewhere(self):
    given = Vocabulary(('x', 'd', 'a'), np.array([9, 8, 7]))
    encoded = encode_corpus(self.LINES, vocabulary=given, min_count=100)
    assert encoded.vocabulary is given
    assert decoded(encoded) == [['a', 'a'], ['a', 'd']]

  def test_growth_keeps_old_words_and_adds_up_counts(self):
    known = Vocabulary(('z', 'c', 'y'), np.array([4, 2, 1]))
    grown = encode_corpus(self.LINES, min_count=2, known=known)
    assert grown.vocabulary.words == ('z', 'c', 'a', 'b', 'y')
    assert grown.vocabulary.counts.tolist() == [4, 3, 3, 2, 1]
    assert decoded(grown) == [['a', 'a', 'b', 'c'], ['b', 'a']]

  def test_growth_drops_rare_old_words_on_request(self):
    known = Vocabulary(('z', 'c', 'y', 'd'), np.array([4, 2, 1, 1]))
    grown = encode_corpus(self.LINES, min_count=2, known=known, keep_known=False)
    assert grown.vocabulary.words == ('z', 'c', 'a', 'd', 'b')


class TestPhrases:
  LINES = [['in', 'new', 'york'], ['new', 'york', 'new'], ['york', 'in']] * 10

  def test_found_and_joined_while_encoding(self):
    encoded = encode_corpus(self.LINES, phrases=PhraseConfig(threshold=1))
    assert decoded(encoded)[:3] == [['in', 'new_york'], ['new_york', 'new'], ['york', 'in']]
    assert dict(zip(*[encoded.vocabulary.words, encoded.vocabulary.counts], strict=True)) == {
      'in': 20, 'new_york': 20, 'new': 10, 'york': 10
    }  # fmt: skip
    assert encoded.words_read == 80

  def test_found_before_are_joined_in_other_text(self, tmp_path):
    phrases = learn_phrases(self.LINES, PhraseConfig(threshold=1))
    (tmp_path / 'text').write_text('a new york b\n' * 5)
    encoded = encode_corpus(tmp_path / 'text', phrases=phrases)
    assert decoded(encoded)[0] == ['a', 'new_york', 'b']

  def test_of_files(self, tmp_path):
    (tmp_path / 'text').write_text('\n'.join(' '.join(line).upper() for line in self.LINES))
    config = PhraseConfig(threshold=1)
    assert learn_phrases(
      tmp_path / 'text', config, text=TextConfig(lowercase=True)
    ) == learn_phrases(self.LINES, config)


class TestBadInput:
  def test_missing_file(self, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.txt: file or folder not found'):
      encode_corpus(tmp_path / 'nothing.txt')

  @pytest.mark.parametrize('content', [b'', b'\n', b' \t\r\n \n', b'\xef\xbb\xbf'])
  @pytest.mark.parametrize('pattern', [None, r'\w+'])
  def test_file_without_text(self, tmp_path, content, pattern):
    (tmp_path / 'empty.txt').write_bytes(content)
    with pytest.raises(ValueError, match=r'empty\.txt: no words found'):
      encode_corpus(tmp_path / 'empty.txt', text=TextConfig(word_pattern=pattern))

  def test_not_utf8_names_file_and_byte(self, tmp_path):
    (tmp_path / 'latin.txt').write_bytes(b'good line\nbad \xff line\n')
    for pattern in (None, r'\w+'):
      with pytest.raises(ValueError, match=r'latin\.txt: not UTF-8 at byte 14 \(0xff\)'):
        encode_corpus(tmp_path / 'latin.txt', text=TextConfig(word_pattern=pattern))

  def test_no_word_is_frequent_enough(self, tmp_path):
    (tmp_path / 'text.txt').write_text('to be or not to be')
    with pytest.raises(ValueError, match=r"text\.txt: no word occurs min_count=5 times.*'to'"):
      encode_corpus(tmp_path / 'text.txt')

  def test_without_words_what_was_read_is_named(self, tmp_path):
    (tmp_path / 'a.txt').write_text('!!! ...\n')
    with pytest.raises(ValueError, match=r'read 8 bytes, kept only letters and digits; text='):
      encode_corpus(tmp_path / 'a.txt')
    (tmp_path / 'a.txt').write_text('')
    (tmp_path / 'b.png').write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(99))
    with pytest.raises(ValueError, match='read 107 bytes, skipped 1 files that are not'):
      encode_corpus(tmp_path)
    (tmp_path / 'a.csv').write_text('id,text\n1,\n')
    with pytest.raises(ValueError, match="skipped 1 rows without text in the field 'text'"):
      encode_corpus(tmp_path / 'a.csv', text=TextConfig(field='text'))
    with pytest.raises(ValueError, match=r'^the corpus: no words found$'):
      encode_corpus([[], []])

  def test_text_for_lists_of_words(self):
    for text in ('words', TextConfig()):
      for encode in (encode_corpus, learn_phrases):
        with pytest.raises(ValueError, match='text must be None for lists of words, got '):
          encode([['a', 'b']] * 5, text=text)

  @pytest.mark.parametrize('line', [{'text': 'a b'}, {'b', 'a'}, frozenset('ab')])
  def test_lines_without_an_order(self, line):
    """Rejects records, whose keys are not text, and sets, whose order varies between runs."""
    with pytest.raises(TypeError, match='a line must be a list of words, got'):
      encode_corpus([['a', 'b'], line] * 5)

  def test_long_values_are_not_printed_whole(self, tmp_path):
    long = 'x' * 10_000
    calls = [
      lambda: encode_corpus([[[long], 'a']]), lambda: encode_corpus([['a', (long,)]]),
      lambda: encode_corpus([['a', 'b']], reserved=[long, long]),
      lambda: encode_corpus([['a', 'b']], reserved=[3, long]), lambda: encode_corpus(long),
      lambda: encode_corpus([['a', long]]), lambda: encode_corpus([['a', 'b']], known=[long]),
      lambda: encode_corpus([['a\n' + long, 'b']] * 5, tmp_path / 'store'),
      lambda: TextConfig(word_pattern='(' + long), lambda: encode_corpus('a', text=long),
      lambda: PhraseConfig(connector_words=long),
    ]  # fmt: skip
    for call in calls:
      with pytest.raises((TypeError, ValueError, OSError)) as raised:
        call()
      assert len(str(raised.value)) < 500

  def test_no_line_with_two_words(self):
    with pytest.raises(ValueError, match='no line has two words'):
      encode_corpus([['a'], ['a', 'rare'], ['a']], min_count=2)

  def test_text_where_lists_of_words_are_needed(self):
    with pytest.raises(TypeError, match="a list of words, got the text 'a sentence'"):
      encode_corpus(iter(['a sentence']))
    with pytest.raises(TypeError, match='a list of words, got 1'):
      encode_corpus([1, 2])
    with pytest.raises(TypeError, match=r'corpus must be a path, .*, got None'):
      encode_corpus(None)
    with pytest.raises(TypeError, match='words must be strings, got 3'):
      encode_corpus([['a', 3]])

  def test_word_that_the_store_cannot_hold(self, tmp_path):
    for word in ('a\nb', '\ud800'):
      with pytest.raises(ValueError, match=r'vocabulary\.txt: a word must '):
        encode_corpus([[word, 'b']] * 5, tmp_path / 'store')
      assert encode_corpus([[word, 'b']] * 5).vocabulary.words == (word, 'b')
    assert list(tmp_path.iterdir()) == []

  @pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
      ({'reserved': 'pad'}, TypeError, "reserved must be a list of words, got 'pad'"),
      ({'reserved': [1]}, TypeError, r'reserved must be a list of words, got \[1\]'),
      ({'known': ['a']}, TypeError, 'known must be a Vocabulary, got '),
      ({'phrases': 'yes'}, TypeError, "phrases must be Phrases or a PhraseConfig, got 'yes'"),
      (
        {'vocabulary': Vocabulary(('a',), [1]), 'reserved': ['b']},
        ValueError, 'known and reserved must not be given',
      ),
      (
        {'vocabulary': Vocabulary(('a',), [1]), 'phrases': PhraseConfig()},
        ValueError, 'phrases must be Phrases',
      ),
    ],
  )  # fmt: skip
  def test_settings_that_cannot_be(self, settings, error, message):
    with pytest.raises(error, match=message):
      encode_corpus([['a', 'b']], min_count=1, **settings)

  def test_min_count_below_one(self):
    with pytest.raises(ValueError, match='min_count must be an integer of at least 1, got 0'):
      encode_corpus([['a', 'b']], min_count=0)
    with pytest.raises(ValueError, match='max_vocab_size must be'):
      encode_corpus([['a', 'b']], min_count=1, max_vocab_size=0)


class TestPeers:
  def test_counts_as_gensim(self):
    """Counts as gensim does on the same lists, with Unicode white space inside words."""
    gensim = pytest.importorskip('gensim')
    generator = np.random.default_rng(0)
    words = np.array(['a', 'b', '\u00a0c', 'd\u2028', 'e', 'ü', *map(str, range(50))])
    lines = [words[generator.zipf(1.3, 20) % len(words)].tolist() for _ in range(200)]
    model = gensim.models.Word2Vec(min_count=5)
    model.build_vocab(lines)
    encoded = encode_corpus(lines)
    theirs = {word: model.wv.get_vecattr(word, 'count') for word in model.wv.index_to_key}
    assert dict(zip(encoded.vocabulary.words, encoded.vocabulary.counts, strict=True)) == theirs


def test_names_of_the_house():
  """Recognizes a path or a list of paths as text, but not a list of lines."""
  assert corpus.is_text('a') and corpus.is_text(['a', 'b'])
  assert not corpus.is_text([]) and not corpus.is_text([['a']]) and not corpus.is_text(None)
