"""Benchmark of loading and analogies: its page and its errors."""

import numpy as np
import pytest
from programs import run as run_program

import jw2v


@pytest.fixture
def vectors(tmp_path):
  kv = jw2v.KeyedVectors(
    [f'w{i}' for i in range(50)], np.random.default_rng(0).normal(size=(50, 4))
  )
  jw2v.save_vectors(kv, tmp_path / 'v.bin')
  (tmp_path / 'q.txt').write_text(': s\nw1 w2 w3 w4\nw5 w6 w7 none\n')
  return tmp_path / 'v.bin'


def run(*arguments):
  return run_program('benchmarks.vectors', *arguments)


@pytest.mark.slow
def test_page(tmp_path, vectors):
  done = run(f'--vectors={vectors}', f'--analogies={tmp_path / "q.txt"}', '--rounds=1',
             '--megabytes=1', '--nogensim', f'--output={tmp_path / "page.md"}')  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'page.md').read_text() == done.stdout
  for row in ('| text, seconds', '| text, memory / table', '| binary, seconds', '| analogies, sec'):
    assert row in done.stdout
  assert 'width 4: 1 MB of text' in done.stdout and '1 analogies have known words' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(('arguments', 'message'), [
  (['--vectors=no.txt'], "vectors='no.txt': file not found"),
  (['--vectors=V', '--rounds=0'], 'rounds must be at least 1'),
  (['--vectors=V', 'x'], 'is not a flag'),
  (['--vectors=V', '--output=no/page.md'], 'not found'),
  (['--vectors=V', '--megabytes=1000000000'], 'are needed'),
])  # fmt: skip
def test_refused_in_one_line(vectors, arguments, message):
  done = run(*(argument.replace('=V', f'={vectors}') for argument in arguments), '--nogensim')
  assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
