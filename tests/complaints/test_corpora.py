"""Errors for corpora of wrong kinds, folders in ~, and missing backends."""

import io
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from corpora import two_topics

import jw2v
from jw2v.training.checkpoints import Checkpoints

PATHS = 'corpus must be a path, paths, or lists of words, got '
LINE = 'the corpus: a line must be a list of words, got '
TEXT = 'pass the text itself as lists of words'


@pytest.mark.parametrize(('corpus', 'message'), [
  # gensim trains on the characters of such sentences.
  (lambda: ['the cat sat'] * 9, f'the cat sat: file or folder not found; {TEXT}'),
  (lambda: 'the cat sat\non the mat', f'file or folder not found; {TEXT}'),
  (lambda: (line for line in ['the cat']), f"{LINE}the text 'the cat'; split it, such"),
  (lambda: np.array(['the cat'] * 9), f"{LINE}the text 'the cat'; split it"),
  (lambda: [[['the', 'cat'], ['sat']]], "words must be strings, got [['the', 'cat'], ['sat']]; a"),
  (lambda: pathlib.Path(__file__).parent.glob('*.py'), 'pass files as a list, such as list('),
  (lambda: os.scandir(pathlib.Path(__file__).parent), 'pass files as a list, such as list('),
  (lambda: open(__file__), f'{PATHS}a TextIOWrapper; pass the name of a file'),
  (lambda: io.BytesIO(b'the cat'), f'{PATHS}a BytesIO; pass the name of a file'),
  (lambda: b'text.txt', f"{PATHS}b'text.txt'"),
  (lambda: {'text': ['the', 'cat']}, f"{PATHS}{{'text': ['the', 'cat']}}"),
  (lambda: np.arange(9).reshape(3, 3), 'words must be strings, got np.int64(0)'),
  (lambda: [[17, 4], [4, 17]], 'words must be strings, got 17; convert a line with map(str, line)'),
  (lambda: [['the', 'cat'], None], f'{LINE}None'),
  (lambda: 'https://example.org/text.txt', 'only local files can be read, so download it'),
  (lambda: 's3://bucket/text.txt', 'only local files can be read, so download it'),
])  # fmt: skip
def test_error_says_what_a_corpus_must_be(corpus, message):
  given = corpus()
  with pytest.raises((TypeError, FileNotFoundError), match=re.escape(message)):
    jw2v.encode_corpus(given, min_count=1)
  if hasattr(given, 'close'):
    given.close()


def test_strings_of_numpy_become_plain_words():
  words = jw2v.encode_corpus(np.array([['a', 'b']] * 9), min_count=1).vocabulary.words
  assert [type(word) for word in words] == [str, str]


@pytest.fixture
def home(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  monkeypatch.setenv('USERPROFILE', str(tmp_path / 'home'))
  (tmp_path / 'home').mkdir()
  monkeypatch.chdir(tmp_path)
  yield tmp_path / 'home'
  assert not (tmp_path / '~').exists()


def test_tilde_is_the_home_folder(home):
  """Expands ~ in every path, as a shell does."""
  (home / 'text.txt').write_text(''.join(f'{" ".join(line)}\n' for line in two_topics()))
  config = jw2v.TrainConfig(dim=4, epochs=1, min_count=1)
  encoded = jw2v.encode_corpus('~/text.txt', folder='~/corpus', min_count=1)
  assert jw2v.open_corpus('~/corpus').vocabulary.words == encoded.vocabulary.words
  encoded.vocabulary.save('~/words.txt')
  assert jw2v.Vocabulary.load('~/words.txt').words == encoded.vocabulary.words
  phrases = jw2v.learn_phrases('~/text.txt')
  phrases.save('~/phrases.txt')
  assert jw2v.Phrases.load('~/phrases.txt').passes == phrases.passes
  checkpoints = Checkpoints('~/checkpoints')
  jw2v.train(encoded, config, workdir='~/run', checkpoints=checkpoints, progress=False)
  assert {'text.txt', 'corpus', 'words.txt', 'phrases.txt', 'run', 'checkpoints'} == set(
    os.listdir(home)
  )


@pytest.mark.slow
def test_tilde_in_flags(home):
  """Expands ~ in --workdir=~/run, which shells leave unchanged."""
  (home / 'text.txt').write_text(''.join(f'{" ".join(line)}\n' for line in two_topics()))
  for flag in ('--workdir=~/run', '--output=~/vectors.txt'):
    command = [sys.executable, '-m', 'jw2v', 'train', '~/text.txt', flag, '--quiet', '--epochs=1']
    subprocess.run(command, check=True, env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
  assert (home / 'run' / 'vectors.txt').exists() and (home / 'vectors.txt').exists()


@pytest.mark.slow
def test_missing_backend_leaves_no_folder(tmp_path):
  (tmp_path / 'text.txt').write_text('the cat sat\n' * 50)
  command = [sys.executable, '-m', 'jw2v', 'train', 'text.txt', '--workdir=run']
  environment = {**os.environ, 'JAX_PLATFORMS': 'nonsense', 'PYTHONPATH': os.pathsep.join(sys.path)}
  done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
  assert done.returncode == 1 and done.stderr.count('\n') == 1, done.stderr
  assert done.stderr.startswith('error: JAX_PLATFORMS must name backends that this machine has')
  assert [path.name for path in tmp_path.iterdir()] == ['text.txt']
