"""Evaluations: the results of gensim, and errors for malformed files."""

import numpy as np
import pytest

from jw2v import KeyedVectors
from jw2v.vectors import evaluation

WORDS = [f'Word{i}' if i % 3 else f'word{i}' for i in range(60)] + ['WORD1', 'word4', 'Word6']


def analogies_of(count, rng):
  """Returns analogies (p, q) to (r, q) as (p, s) to (r, s), with word 5 p + q at (p, q)."""
  lines = [': first']
  for i in range(count):
    if i == count // 2:
      lines.append(': second part')
    (p, r), (q, s) = rng.choice(4, 2, replace=False), rng.choice(5, 2, replace=False)
    lines.append(f'word{5 * p + q} WORD{5 * r + q} word{5 * p + s} word{5 * r + s}')
  return '\n'.join([*lines, 'word1 unknown word2 word3', ''])


@pytest.fixture
def kv():
  """Returns noisy sums of one vector per row and one per column, and other words."""
  rng = np.random.default_rng(0)
  sums = rng.normal(size=(4, 1, 6)) + rng.normal(size=(1, 5, 6))
  vectors = np.concatenate([sums.reshape(20, 6), rng.normal(size=(len(WORDS) - 20, 6))])
  return KeyedVectors(WORDS, vectors + 0.2 * rng.normal(size=vectors.shape))


@pytest.fixture
def theirs(kv):
  gensim = pytest.importorskip('gensim.models')
  peer = gensim.KeyedVectors(kv.vector_size)
  peer.add_vectors(kv.index_to_key, kv.vectors)
  return peer


def write(path, text):
  path.write_text(text, encoding='utf8')
  return str(path)


class TestAgainstGensim:
  @pytest.mark.parametrize('dummy', [False, True])
  @pytest.mark.parametrize('fold', [False, True])
  @pytest.mark.parametrize('restrict', [300_000, 40])
  def test_pairs(self, tmp_path, kv, theirs, dummy, fold, restrict):
    rng = np.random.default_rng(1)
    pairs = [(*rng.choice(60, 2, replace=False), rng.normal()) for _ in range(80)]
    text = '# of no meaning\n' + ''.join(f'word{a}\tWord{b}\t{s}\n' for a, b, s in pairs)
    path = write(tmp_path / 'pairs.tsv', text)
    how = {'restrict_vocab': restrict, 'case_insensitive': fold, 'dummy4unknown': dummy}
    ours, expected = kv.evaluate_word_pairs(path, **how), theirs.evaluate_word_pairs(path, **how)
    for i in (0, 1):
      assert ours[i].statistic == pytest.approx(expected[i].statistic, abs=1e-5)
      assert ours[i].pvalue == pytest.approx(expected[i].pvalue, rel=1e-3)
    assert ours[2] == pytest.approx(expected[2])

  @pytest.mark.parametrize('dummy', [False, True])
  @pytest.mark.parametrize('fold', [False, True])
  @pytest.mark.parametrize('function', evaluation.SIMILARITY_FUNCTIONS)
  def test_analogies(self, tmp_path, kv, theirs, dummy, fold, function):
    text = analogies_of(100, np.random.default_rng(2))
    text = text if fold else text.replace('WORD', 'word')
    path = write(tmp_path / 'questions', text)
    how = {'restrict_vocab': 62, 'case_insensitive': fold, 'dummy4unknown': dummy}
    ours = kv.evaluate_word_analogies(path, similarity_function=function, **how)
    assert not fold or 0.1 < ours[0] < 1
    if function == 'most_similar':  # gensim accepts the name of the other and ignores it
      score, sections = theirs.evaluate_word_analogies(path, **how)
      assert ours[0] == pytest.approx(score)
      for section, expected in zip(ours[1], sections, strict=True):
        assert section['section'] == expected['section']
        for verdict in ('correct', 'incorrect'):
          assert section[verdict] == expected[verdict]


class TestVariants:
  """The answer is the first of five nearest words that is not a variant of an asked word."""

  @pytest.mark.parametrize(('between', 'share'), [(4, 1), (5, 0)])
  def test_of_the_words_asked_about(self, tmp_path, between, share):
    words = ['aa', 'bb', 'cc', 'dd', 'cC', 'Cc', 'bB', 'Bb', 'CC']
    vectors = np.zeros((9, 3))
    vectors[:4] = [1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]
    vectors[4:] = vectors[[2, 2, 1, 1, 2]]
    kv = KeyedVectors(words[: 4 + between], vectors[: 4 + between])
    path = write(tmp_path / 'questions', ': s\naa bb cc dd\n')
    nearest = kv.most_similar(['bb', 'cc'], ['aa'], topn=9)
    assert [word for word, _ in nearest].index('dd') == between
    assert kv.evaluate_word_analogies(path)[0] == share
    gensim = pytest.importorskip('gensim.models')
    theirs = gensim.KeyedVectors(3)
    theirs.add_vectors(kv.index_to_key, kv.vectors)
    assert theirs.evaluate_word_analogies(path)[0] == share


class TestCosMul:
  def test_answers_are_those_of_single_questions(self, tmp_path, kv):
    path = write(tmp_path / 'questions', analogies_of(60, np.random.default_rng(3)))
    _, sections = kv.evaluate_word_analogies(path, similarity_function='most_similar_cosmul')
    rows = {word.upper(): row for row, word in reversed(list(enumerate(WORDS)))}
    for verdict in ('correct', 'incorrect'):
      for a, b, c, d in sections[-1][verdict]:
        first = [WORDS[rows[word]] for word in (b, c, a)]
        answers = kv.most_similar_cosmul(first[:2], first[2:], topn=5)
        answer = next(w.upper() for w, _ in answers if w.upper() not in (a, b, c))
        assert (answer == d) == (verdict == 'correct')


class TestFiles:
  def test_columns(self, tmp_path):
    read = lambda text: evaluation.read_pairs(write(tmp_path / 'p', text))
    assert read('a b 1\n\nc d 2 x\r\n') == [('a', 'b', 1.0), ('c', 'd', 2.0)]
    assert read('word1\tword 2\tscore\nnew york\tb\t0.5\n') == [('new york', 'b', 0.5)]
    assert read('\ufeffWord 1,Word 2,Human (mean)\nlove,sex,6.77\n') == [('love', 'sex', 6.77)]
    assert read('\ufeffa b 1\n') == [('a', 'b', 1.0)]

  def test_only_the_first_line_that_says_anything_is_a_heading(self, tmp_path):
    read = lambda text: evaluation.read_pairs(write(tmp_path / 'p', text))
    assert read('# c\n\nword1\tword2\tscore\ndog\tcat\t3\n') == [('dog', 'cat', 3.0)]
    for text in ('tiger cat 7;35\ndog cat 3\n', 'dog cat 3\nword1 word2 score\n'):
      with pytest.raises(ValueError, match=r'line \d must be two words'):
        read(text)

  def test_score_in_another_column(self, tmp_path):
    path = write(tmp_path / 'p', 'word1\tword2\tPOS\tscore\told\told\nold\tnew\tA\t1.58\t3\n')
    assert evaluation.read_pairs(path, score_column=4) == [('old', 'new', 1.58)]
    with pytest.raises(ValueError, match=r'line 2 must be .* in column 3'):
      evaluation.read_pairs(path)
    with pytest.raises(ValueError, match='score_column must be at least 3, got 2'):
      evaluation.read_pairs(path, score_column=2)

  @pytest.mark.parametrize(('text', 'reason'), [
    ('a b 1\na b\n', "line 2 must be two words and, in column 3, a score, got 'a b'"),
    ('a b 1\n,b,1\n', 'line 2 must be'),
    ('a b 1\na b x\n', 'line 2 must be'), ('a b 1\na b nan\n', 'line 2 must be'),
    ('', 'contains no pairs'), ('a\n', 'line 1 must be'), ('# a\n', 'contains no pairs'),
  ])  # fmt: skip
  def test_pairs_that_are_refused(self, tmp_path, text, reason):
    with pytest.raises(ValueError, match=f'p: .*{reason}'):
      evaluation.read_pairs(write(tmp_path / 'p', text))

  @pytest.mark.parametrize(('text', 'reason'), [
    (': s\na b c\n', 'line 2 must have 4 words, got 3'), ('', 'contains no questions'),
    (': s\n', 'contains no questions'),
  ])  # fmt: skip
  def test_analogies_that_are_refused(self, tmp_path, text, reason):
    with pytest.raises(ValueError, match=f'q: .*{reason}'):
      evaluation.read_analogies(write(tmp_path / 'q', text))

  def test_bytes_that_are_no_text(self, tmp_path):
    (tmp_path / 'q').write_bytes(b'\xff\xfe a b c\n')
    for read in (evaluation.read_pairs, evaluation.read_analogies):
      with pytest.raises(ValueError, match=r'q: .*utf'):
        read(tmp_path / 'q')

  def test_nothing_known(self, tmp_path, kv):
    with pytest.raises(
      ValueError, match='at least 2 of the 2 pairs must have two known words, got 0'
    ):
      kv.evaluate_word_pairs(write(tmp_path / 'p', 'a b 1\nc d 2\n'))
    with pytest.raises(
      ValueError, match='at least 1 of the 1 questions must have four known words'
    ):
      kv.evaluate_word_analogies(write(tmp_path / 'q', ': s\na b c d\n'))
    with pytest.raises(ValueError, match=r"similarity_function must be one of .*, got 'cosine'"):
      kv.evaluate_word_analogies(tmp_path / 'q', similarity_function='cosine')
