"""Folder of an encoded corpus: found again, replaced, checked, and never half-written."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from jw2v.data import corpus, store
from jw2v.data.corpus import encode_corpus
from jw2v.data.phrases import PhraseConfig
from jw2v.data.store import open_corpus
from jw2v.data.tokens import TextConfig
from jw2v.data.vocabulary import Vocabulary

TEXT = 'to be or not to be\nto do or not to do\n' * 20


@pytest.fixture
def path(tmp_path):
  (tmp_path / 'text.txt').write_text(TEXT)
  return tmp_path / 'text.txt'


@pytest.fixture
def place(tmp_path):
  return tmp_path / 'runs' / 'first' / 'corpus'


@pytest.fixture
def reads(monkeypatch):
  """Counts the number of times that text is read."""
  counted = []
  number = corpus.number_text
  monkeypatch.setattr(corpus, 'number_text', lambda *a: counted.append(1) or number(*a))
  return counted


def same(one, other):
  assert one.vocabulary.words == other.vocabulary.words
  assert (one.vocabulary.counts == other.vocabulary.counts).all()
  assert (one.ids == other.ids).all() and (one.line_ends == other.line_ends).all()
  assert (one.words_read, one.not_utf8) == (other.words_read, other.not_utf8)
  assert one.phrases == other.phrases


class TestFound:
  def test_same_corpus_with_and_without_a_folder(self, path, place):
    stored = encode_corpus(path, place)
    same(stored, encode_corpus(path))
    same(stored, open_corpus(place))
    assert stored.folder == place and isinstance(stored.ids, np.memmap)
    assert stored.ids.filename == place.resolve() / 'ids.npy'
    assert {p.name for p in place.iterdir()} == {
      'ids.npy', 'line_ends.npy', 'manifest.json', 'vocabulary.txt'
    }  # fmt: skip
    assert (place / 'vocabulary.txt').read_text() == 'to 80\nbe 40\nor 40\nnot 40\ndo 40\n'

  def test_a_second_run_reads_nothing(self, path, place, reads):
    first = encode_corpus(path, place)
    second = encode_corpus(path, place)
    same(first, second)
    assert len(reads) == 1

  @pytest.mark.parametrize(
    'settings',
    [
      {'min_count': 60},
      {'max_vocab_size': 3},
      {'reserved': ['or']},
      {'text': TextConfig(lowercase=True)},
      {'text': TextConfig(word_pattern=r'\w')},
      {'text': TextConfig(errors='ignore')},
      {'phrases': PhraseConfig(threshold=0.1)},
      {'vocabulary': Vocabulary(('to', 'do'), np.array([7, 3]))},
      {'known': Vocabulary(('to', 'did'), np.array([7, 3]))},
      {'known': Vocabulary(('to', 'did'), np.array([7, 3])), 'keep_known': False},
    ],
  )
  def test_other_settings_are_another_corpus(self, path, place, reads, settings):
    encode_corpus(path, place)
    changed = encode_corpus(path, place, **settings)
    assert len(reads) == 2
    same(changed, open_corpus(place))
    encode_corpus(path, place, **settings)
    assert len(reads) == 2

  def test_other_text_is_another_corpus(self, path, place, reads):
    encode_corpus(path, place)
    path.write_text(TEXT.replace('do', 'go'))
    os.utime(path, (1, 1))
    assert 'go' in encode_corpus(path, place).vocabulary.words
    (path.parent / 'more.txt').write_text(TEXT)
    encode_corpus([path, path.parent / 'more.txt'], place)
    assert len(reads) == 3

  def test_a_file_that_was_only_touched_is_the_same(self, path, place, reads):
    encode_corpus(path, place)
    os.utime(path, (1, 1))
    encode_corpus(path, place)
    assert len(reads) == 1

  def test_a_tokenizer_is_compared_by_its_name(self, path, place, reads):
    encode_corpus(path, place, text=TextConfig(tokenizer=str.split))
    encode_corpus(path, place, text=TextConfig(tokenizer=str.split))
    assert len(reads) == 2  # unknown whether it is the same
    for name in ('one', 'one', 'two'):
      encode_corpus(path, place, text=TextConfig(tokenizer=str.split, tokenizer_name=name))
    assert len(reads) == 4

  def test_an_open_corpus_outlives_its_store(self, path, place):
    first = encode_corpus(path, place)
    ids = first.ids.tolist()
    encode_corpus(path, place, min_count=60)
    assert first.ids.tolist() == ids

  def test_lists_of_words_are_kept_and_opened(self, place):
    lists = encode_corpus([['a', 'b']] * 5, place)
    same(lists, open_corpus(place))


class TestDamage:
  @pytest.mark.parametrize('name', ['ids.npy', 'line_ends.npy', 'vocabulary.txt', 'phrases.txt'])
  @pytest.mark.parametrize('how', ['flip', 'truncate', 'remove'])
  def test_is_named(self, path, place, name, how):
    encode_corpus(path, place, phrases=PhraseConfig(threshold=0.1))
    content = bytearray((place / name).read_bytes())
    if how == 'flip':
      content[-1] ^= 1
      (place / name).write_bytes(content)
    elif how == 'truncate':
      (place / name).write_bytes(content[:-1])
    else:
      (place / name).unlink()
    for again in (
      lambda: open_corpus(place),
      lambda: encode_corpus(path, place, phrases=PhraseConfig(threshold=0.1)),
    ):
      with pytest.raises(ValueError, match=rf'{name}: corrupted .*remove .*corpus to encode'):
        again()

  @pytest.mark.parametrize('content', ['', '[]', '{}', '{"format": "jw2v corpus"}', None])
  def test_of_the_manifest(self, path, place, content):
    encode_corpus(path, place)
    if content is None:
      content = (
        (place / 'manifest.json').read_text().replace('"words_read": 240', '"words_read": 9')
      )
    (place / 'manifest.json').write_text(content)
    for again in (open_corpus, lambda place: encode_corpus(path, place)):
      with pytest.raises(ValueError, match=r'manifest\.json: corrupted'):
        again(place)

  def test_another_version_is_not_opened_but_made_anew(self, path, place, monkeypatch, reads):
    monkeypatch.setattr(store, '_VERSION', 99)
    encode_corpus(path, place)
    monkeypatch.undo()
    with pytest.raises(ValueError, match='format must be version 1, got 99'):
      open_corpus(place)
    encode_corpus(path, place)
    assert open_corpus(place).words_read == 240


class TestPlace:
  def test_what_is_no_store_is_left_alone(self, path, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('years of work')
    with pytest.raises(FileExistsError, match='is not an encoded corpus; choose another folder'):
      encode_corpus(path, tmp_path / 'mine')
    with pytest.raises(FileExistsError, match=r'text\.txt: exists'):
      encode_corpus(path, path)
    with pytest.raises(FileNotFoundError, match='encoded corpus not found'):
      open_corpus(tmp_path / 'mine')
    assert (tmp_path / 'mine' / 'thesis.txt').read_text() == 'years of work'

  def test_what_somebody_put_beside_the_store_is_left_alone(self, path, place):
    encode_corpus(path, place)
    (place / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match=r'must not contain other files, got notes\.txt'):
      encode_corpus(path, place, min_count=2)
    assert (place / 'notes.txt').exists() and open_corpus(place).words_read == 240

  def test_a_manifest_of_something_else(self, path, tmp_path):
    (tmp_path / 'app').mkdir()
    for content in ('{"name": "app"}', 'no json', '[]'):
      (tmp_path / 'app' / 'manifest.json').write_text(content)
      with pytest.raises(FileExistsError, match='is not an encoded corpus'):
        encode_corpus(path, tmp_path / 'app')

  def test_a_store_whose_manifest_is_gone(self, path, place):
    encode_corpus(path, place)
    (place / 'manifest.json').unlink()
    with pytest.raises(ValueError, match=r'manifest\.json: corrupted \(file not found\); remove '):
      encode_corpus(path, place)
    (place / 'line_ends.npy').unlink()
    (place / 'ids.npy').unlink()  # a vocabulary alone may belong to another program
    with pytest.raises(FileExistsError, match='is not an encoded corpus'):
      encode_corpus(path, place)

  def test_in_the_folder_of_the_text(self, path):
    with pytest.raises(ValueError, match='must be outside of the text folder'):
      encode_corpus(path.parent, path.parent / 'run' / 'corpus')

  def test_in_a_file(self, path):
    with pytest.raises(NotADirectoryError, match=r'text\.txt is a file'):
      encode_corpus(path, path / 'a' / 'b')

  def test_a_link_to_a_folder_is_followed(self, path, tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'disk')
    encode_corpus(path, tmp_path / 'link')
    encode_corpus(path, tmp_path / 'link', min_count=2)
    assert (tmp_path / 'link').is_symlink() and open_corpus(tmp_path / 'disk').words_read == 240

  def test_an_old_store_comes_back_if_the_new_one_cannot_be_placed(self, path, place, monkeypatch):
    encode_corpus(path, place)
    rename = os.rename

    def fail(source, target):
      if str(source).endswith('.partial'):
        raise OSError('no')
      rename(source, target)

    with monkeypatch.context() as context:
      context.setattr(store.os, 'rename', fail)
      with pytest.raises(OSError, match='no'):
        encode_corpus(path, place, min_count=2)
    assert open_corpus(place).settings['min_count'] == 5
    # Killed between the two renames: the old store exists under another name.
    place.rename(place.with_name('.corpus.x.partial.old'))
    with store.work_folder(place):
      assert open_corpus(place).settings['min_count'] == 5

  @pytest.mark.slow
  def test_many_processes_at_once(self, path, place):
    """Returns the requested corpus to each process while other processes replace the store."""
    path.write_text('\n'.join(f'a{i % 50} b{i % 7} c' for i in range(2000)))
    code = f"""
import sys, jw2v
for i in range(12):
  least = 1 + (int(sys.argv[1]) + i) % 3 * 30
  encoded = jw2v.encode_corpus({str(path)!r}, {str(place)!r}, min_count=least)
  assert len(encoded.vocabulary) == [58, 58, 8][least // 30], len(encoded.vocabulary)
  assert encoded.ids.max() == len(encoded.vocabulary) - 1 and encoded.ids.min() == 0
"""
    runs = [subprocess.Popen([sys.executable, '-c', code, str(i)]) for i in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert [p.name for p in place.parent.iterdir()] == ['corpus']

  def test_an_empty_folder_is_a_place(self, path, tmp_path):
    (tmp_path / 'empty').mkdir()
    assert encode_corpus(path, tmp_path / 'empty').words_read == 240

  def test_mode_of_the_folder_is_that_of_mkdir(self, path, place, tmp_path):
    encode_corpus(path, place)
    (tmp_path / 'other').mkdir()
    assert place.stat().st_mode == (tmp_path / 'other').stat().st_mode

  @pytest.mark.parametrize('old', [False, True])
  def test_a_failure_leaves_nothing_and_keeps_what_was_there(self, path, place, old, monkeypatch):
    if old:
      encode_corpus(path, place)
    before = sorted(path.parent.rglob('*'))

    def fail(*args, **settings):
      raise KeyboardInterrupt

    for room, name in (
      (corpus, 'number_text'), (corpus, 'select_words'), (corpus, '_renumber'),
      (store, 'write_manifest'),
    ):  # fmt: skip
      with monkeypatch.context() as context:
        context.setattr(room, name, fail)
        with pytest.raises(KeyboardInterrupt):
          encode_corpus(path, place, min_count=2)
    assert sorted(path.parent.rglob('*')) == before
    if old:
      assert open_corpus(place).settings['min_count'] == 5

  @pytest.mark.slow
  def test_what_a_killed_run_left_is_removed_by_the_next(self, path, place):
    """Keeps the folder of a run that is still alive."""
    place.parent.mkdir(parents=True)
    partial = lambda: list(place.parent.glob('.corpus.*.partial'))
    code = f"""
import os, signal, jw2v
from jw2v.data import store
store.write_manifest = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
jw2v.encode_corpus({str(path)!r}, {str(place)!r})
"""
    done = subprocess.run([sys.executable, '-c', code], check=False)
    assert done.returncode == -9
    assert len(partial()) == 1
    with store.work_folder(place) as alive:
      assert partial() == [alive]
      encode_corpus(path, place)
      assert partial() == [alive]
    encode_corpus(path, place, min_count=2)
    assert partial() == []

  @pytest.mark.slow
  def test_full_disk(self, tmp_path):
    """Limits the size of files, which fails as a full disk does."""
    words = ' '.join(str(i % 99) for i in range(200_000))
    (tmp_path / 'text.txt').write_text(words)

    code = """
import resource, sys, jw2v
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
jw2v.encode_corpus(sys.argv[1], sys.argv[2])
"""
    command = [sys.executable, '-c', code, tmp_path / 'text.txt', tmp_path / 'corpus']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert 'File too large (an encoded corpus needs 4 bytes per word)' in done.stderr
    assert str(tmp_path) in done.stderr.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ['text.txt']

  def test_without_a_folder_nothing_is_left(self, path, tmp_path, monkeypatch):
    monkeypatch.setattr(store.tempfile, 'gettempdir', lambda: str(tmp_path / 'tmp'))
    (tmp_path / 'tmp').mkdir()
    encoded = encode_corpus(path)
    assert encoded.folder is None and list((tmp_path / 'tmp').iterdir()) == []
    assert len(encoded.ids) == 240 and encoded.ids[-1] == encoded.vocabulary.index['do']
    (tmp_path / 'tmp' / 'jw2v.killed.partial').mkdir()
    (tmp_path / 'tmp' / 'else.partial').mkdir()
    encode_corpus(path)
    assert [p.name for p in (tmp_path / 'tmp').iterdir()] == ['else.partial']


class TestManifest:
  def test_says_what_made_the_store(self, path, place):
    encode_corpus(path, place)
    manifest = json.loads((place / 'manifest.json').read_text())
    assert manifest['format'] == 'jw2v corpus' and manifest['version'] == 1
    assert manifest['about']['settings']['min_count'] == 5
    [source] = manifest['sources']
    assert pathlib.Path(source['path']) == path and source['size'] == len(TEXT)
    assert set(manifest['files']) == {'ids.npy', 'line_ends.npy', 'vocabulary.txt'}
