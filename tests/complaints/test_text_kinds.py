"""Texts, file names, file systems and vocabularies, as users of similar tools report them.

A comment names the report, if one exists. All data are made up.
"""

import errno
import os
import unicodedata

import numpy as np
import pytest

import jw2v
from jw2v.data import sampling, store, tokens
from jw2v.data.text import find_files
from jw2v.utils import files

SENTENCES = [['gold', 'silver', 'coin']] * 30
TINY = dict(
  dim=8, window=2, min_count=1, sample=0, epochs=1, batch_size=16, block_size=4,
  steps_per_call=4, devices=1,
)  # fmt: skip


def encoded(corpus, **settings):
  return jw2v.encode_corpus(corpus, **{'min_count': 1, **settings})


def words(corpus):
  return dict(zip(corpus.vocabulary.words, corpus.vocabulary.counts.tolist(), strict=True))


class TestLinks:
  def names(self, pattern, folder):
    return [os.path.relpath(path, folder) for path in find_files(pattern)]

  def test_circles_end(self, tmp_path):
    """Ends, although two links double the paths at each level: `glob.glob` follows 2^40."""
    # python/cpython#88041, osquery/osquery#1534, bmatcuk/doublestar#72
    for folder in ('a', 'b'):
      (tmp_path / folder).mkdir()
      (tmp_path / folder / 'text.txt').write_text('gold')
      for name in ('up', 'top', 'self'):
        target = tmp_path if name != 'self' else tmp_path / folder
        (tmp_path / folder / name).symlink_to(target)
    for pattern in ('**', '**/*.txt', '**/**', 'a/**/*.txt', '*/**/text.txt'):
      assert self.names(str(tmp_path / pattern), tmp_path)[0] == 'a/text.txt'
    assert len(find_files(tmp_path / '**')) == 2
    assert self.names(tmp_path, tmp_path) == ['a/text.txt', 'b/text.txt']

  def test_patterns_fit_as_in_glob(self, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('x.txt', 'a/y.txt', 'a/b/z.txt', 'a/b/z.md', '.hidden/h.txt', 'a/.dot.txt'):
      os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
      (tmp_path / name).write_text('gold')
    every = ['a/b/z.md', 'a/b/z.txt', 'a/y.txt', 'x.txt']
    texts = [name for name in every if name.endswith('txt')]
    for pattern, want in {
      '**': every,
      '**/*.txt': texts,
      './**/*.txt': [f'./{name}' for name in texts],
      f'{tmp_path}/**/*.txt': [f'{tmp_path}/{name}' for name in texts],
      'a/**': every[:3],
      '*/**/*.md': every[:1],
      '**/b/*': every[:2],
      '**/**/[yz].txt': ['a/b/z.txt', 'a/y.txt'],
      '.hidden/**': ['.hidden/h.txt'],
    }.items():
      assert find_files(pattern) == want, pattern
    with pytest.raises(FileNotFoundError, match='no file matches'):
      find_files('nothing/**')


class TestNames:
  def test_of_bytes_that_are_not_unicode(self, tmp_path):
    # wikipedia2vec/wikipedia2vec#68: surrogates not allowed
    path = os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.txt')
    with open(path, 'w') as file:
      file.write('gold silver\n' * 5)
    place = os.fsdecode(os.fsencode(tmp_path) + b'/store\xff')
    assert words(encoded(path, folder=place)) == {'gold': 5, 'silver': 5}
    assert words(encoded(path, folder=place)) == {'gold': 5, 'silver': 5}  # opened

  def test_that_differ_in_normalization_alone(self, tmp_path):
    composed, parts = (unicodedata.normalize(form, 'caf\u00e9.txt') for form in ('NFC', 'NFD'))
    (tmp_path / parts).write_text('gold silver')
    with pytest.raises(FileNotFoundError, match='another Unicode normalization'):
      find_files(tmp_path / composed)
    with pytest.raises(FileNotFoundError, match=r'file or folder not found$'):
      find_files(tmp_path / 'other.txt')

  def test_as_long_as_a_file_system_allows(self, tmp_path):
    path = tmp_path / ('x' * 250 + '.txt')
    path.write_text('gold silver\n' * 5)
    for name in ('y' * 250, '\u6f22' * 85):  # 255 bytes
      assert words(encoded(path, folder=tmp_path / name)) == {'gold': 5, 'silver': 5}
    with pytest.raises(FileNotFoundError, match=r'x{60}\.\.\.: file or folder not found'):
      find_files('x' * 5000)

  def test_a_store_does_not_take_the_rest_of_another(self, tmp_path):
    """Keeps a folder that a killed run of `corpus.v2` left, which does not belong to `corpus`."""
    rest = tmp_path / '.corpus.v2.0a1b2c3d.partial.old'
    rest.mkdir()
    encoded(SENTENCES, folder=tmp_path / 'corpus')
    assert sorted(os.listdir(tmp_path)) == [rest.name, 'corpus']


class TestLineEnds:
  @pytest.mark.parametrize('text', ['words', 'whitespace'])
  @pytest.mark.parametrize('end', ['\n', '\r\n', ' \r\n'])
  def test_of_windows_are_no_part_of_a_word(self, tmp_path, text, end):
    # explosion/spaCy#1583: a line end as part of the last word
    (tmp_path / 'text').write_bytes(f'gold silver{end}coin mint{end}'.encode() * 3)
    corpus = encoded(tmp_path / 'text', text=text)
    assert set(words(corpus)) == {'gold', 'silver', 'coin', 'mint'}
    assert len(corpus.line_ends) == 6

  def test_mixed(self, tmp_path):
    (tmp_path / 'text').write_bytes(b'gold silver\r\ncoin mint\ngold mint\r\n')
    assert len(encoded(tmp_path / 'text').line_ends) == 3


class TestWords:
  def test_that_differ_in_case_alone(self, tmp_path):
    letters = 'abcdefghijklm'
    cased = [
      ''.join(c.upper() if i >> j & 1 else c for j, c in enumerate(letters)) for i in range(1 << 13)
    ]
    (tmp_path / 'text').write_text('\n'.join(map(' '.join, zip(cased, cased, strict=True))))
    assert words(encoded(tmp_path / 'text', text='whitespace')) == dict.fromkeys(cased, 2)
    assert words(encoded(tmp_path / 'text')) == {letters: 2 << 13}

  def test_lower_case_does_not_depend_on_the_language(self, tmp_path, monkeypatch):
    """Follows `str.lower`, even in Turkish, which has a dotless i."""
    monkeypatch.setenv('LC_ALL', 'tr_TR.UTF-8')
    (tmp_path / 'text').write_bytes('TITLE title \u0130 \u0131\n'.encode() * 2)
    assert words(encoded(tmp_path / 'text')) == {'title': 4, 'i\u0307': 2, '\u0131': 2}

  def test_beyond_the_basic_plane(self, tmp_path):
    word = '\U00010400\U0001d400'
    (tmp_path / 'text').write_bytes(f'{word} gold\n'.encode() * 3)
    assert words(encoded(tmp_path / 'text', text='whitespace')) == {word: 3, 'gold': 3}
    assert words(encoded([[word, 'gold']] * 3)) == {word: 3, 'gold': 3}

  def test_with_a_lone_surrogate_are_found_before_training(self, tmp_path):
    # wikipedia2vec/wikipedia2vec#68 and artetxem/vecmap#23: an error while the vectors are saved
    with pytest.raises(ValueError, match=r"cannot represent the word 'a\\udce4'"):
      jw2v.train(
        [['a\udce4', 'b']] * 30, jw2v.TrainConfig(**TINY), workdir=tmp_path / 'run', progress=False
      )

  def test_with_a_lone_surrogate_have_n_grams(self):
    settings = {**TINY, 'minn': 2, 'maxn': 3, 'bucket': 50}
    result = jw2v.train([['a\udce4b', 'b']] * 30, jw2v.TrainConfig(**settings), progress=False)
    assert np.isfinite(result.vectors['a\udce4b']).all()


class TestVocabularyWithoutCounts:
  """Vocabularies from `Vocabulary.of_words`, as from a list of words."""

  def corpus(self):
    return encoded(SENTENCES, vocabulary=jw2v.Vocabulary.of_words(['gold', 'silver', 'coin']))

  @pytest.mark.parametrize(
    'settings',
    [
      {'objective': 'naive_softmax'},
      {'objective': 'hierarchical_softmax'},
      {'noise': 'uniform'},
      {'objective': 'sampled_softmax', 'noise': 'log_uniform'},
      {'objective': 'nce', 'noise_exponent': 0.0},
    ],
    ids=lambda settings: '-'.join(map(str, settings.values())),
  )
  def test_trains_where_counts_do_not_matter(self, settings):
    result = jw2v.train(self.corpus(), jw2v.TrainConfig(**TINY, **settings), progress=False)
    assert np.isfinite(result.vectors.vectors).all()

  @pytest.mark.parametrize('objective', ['negative_sampling', 'nce', 'sampled_softmax'])
  def test_the_error_says_what_to_do(self, objective):
    # piskvorky/gensim#2526: counts that are missing after build_vocab_from_freq
    with pytest.raises(ValueError, match=r'got only zeros; call encode_corpus\(known=vocabulary\)'):
      jw2v.train(self.corpus(), jw2v.TrainConfig(**TINY, objective=objective), progress=False)
    known = encoded(SENTENCES, known=jw2v.Vocabulary.of_words(['gold', 'silver', 'coin']))
    assert words(known) == {'gold': 30, 'silver': 30, 'coin': 30}

  def test_counts_of_some_words(self):
    counts = np.array([3, 0])
    assert sampling.noise_counts(counts, 0.75, 'unigram') is counts


class TestFileSystems:
  """Faults outside of the text: operations that containers or network shares do not support."""

  def failing(self, code):
    def fail(*_):
      raise OSError(code, os.strerror(code))

    return fail

  @pytest.mark.parametrize('code', [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
  def test_without_fsync(self, tmp_path, monkeypatch, code):
    (tmp_path / 'text').write_text('gold silver\n' * 5)
    monkeypatch.setattr(files.os, 'fsync', self.failing(code))
    corpus = encoded(tmp_path / 'text', folder=tmp_path / 'store')
    corpus.vocabulary.save(tmp_path / 'words')
    assert (tmp_path / 'words').read_text() == 'gold 5\nsilver 5\n'

  def test_a_failed_fsync_is_told_with_the_file(self, tmp_path, monkeypatch):
    (tmp_path / 'text').write_text('gold silver\n' * 5)
    monkeypatch.setattr(files.os, 'fsync', self.failing(errno.EIO))
    with pytest.raises(OSError, match='Input/output error') as info:
      encoded(tmp_path / 'text', folder=tmp_path / 'store')
    assert info.value.filename.endswith('.npy')
    assert tokens.sync is files.sync

  def test_a_folder_of_the_image_of_a_container(self, tmp_path, monkeypatch):
    """Replaces a folder that the overlay does not rename, as if it were on another device."""
    (tmp_path / 'text').write_text('gold silver\n' * 5)
    place = tmp_path / 'store'
    encoded(tmp_path / 'text', folder=place)
    rename = os.rename

    def on_overlay(source, target):
      if os.fspath(source) == os.fspath(place):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source), None, str(target))
      rename(source, target)

    monkeypatch.setattr(store.os, 'rename', on_overlay)
    (tmp_path / 'text').write_text('coin mint\n' * 5)
    assert words(encoded(tmp_path / 'text', folder=place)) == {'coin': 5, 'mint': 5}
    assert sorted(os.listdir(tmp_path)) == ['store', 'text']
    assert words(jw2v.open_corpus(place)) == {'coin': 5, 'mint': 5}

  def test_another_error_of_a_rename_stays(self, tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    monkeypatch.setattr(files.os, 'rename', self.failing(errno.EACCES))
    with pytest.raises(PermissionError):
      files.move_folder(tmp_path / 'a', tmp_path / 'b')
    monkeypatch.setattr(files.os, 'rename', self.failing(errno.EXDEV))
    (tmp_path / 'a' / 'file').touch()

    def fills_the_disk(source, target, **_):
      os.mkdir(target)
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.shutil, 'copytree', fills_the_disk)
    with pytest.raises(OSError, match='No space left'):
      files.move_folder(tmp_path / 'a', tmp_path / 'b')
    assert os.listdir(tmp_path) == ['a'] and os.listdir(tmp_path / 'a') == ['file']
