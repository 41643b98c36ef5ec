"""Conversion program: formats, choice of words, width, and errors."""

import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from programs import parsed

import jw2v
from jw2v.cli import convert

ROOT = pathlib.Path(__file__).parents[2]
WORDS = ['the', 'sea', 'land', 'naïve', 'zero']


def convert_with(**given):
  """Runs the program in this process."""
  assignments = [f'--{name}={value}' for name, value in given.items() if value is not True]
  switches = [f'--{name}' for name, value in given.items() if value is True]
  convert.run(parsed(convert, *assignments, *switches))
  return jw2v.load_vectors(given['output'])


@pytest.fixture
def source(tmp_path):
  vectors = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
  vectors[4] = 0
  jw2v.save_vectors(jw2v.KeyedVectors(WORDS, vectors), tmp_path / 'v.txt')
  return tmp_path / 'v.txt'


class TestFormats:
  @pytest.mark.parametrize('first', ['a.bin', 'a.vec', 'a.safetensors', 'a.npz', 'a/', 'a.txt.gz'])
  @pytest.mark.parametrize('second', ['b.bin.gz', 'b.safetensors', 'b/', 'b.txt'])
  def test_any_two_and_back(self, source, tmp_path, first, second):
    for before, after in ((source, first), (f'{tmp_path}/{first}', second)):
      found = convert_with(input=before, output=f'{tmp_path}/{after}')
    assert found.index_to_key == WORDS
    np.testing.assert_array_equal(found.vectors, jw2v.load_vectors(source).vectors)

  def test_formats_by_name(self, source, tmp_path):
    convert_with(input=source, output=tmp_path / 'x', to='glove')
    assert (tmp_path / 'x').read_bytes().startswith(b'the ')
    found = convert_with(input=tmp_path / 'x', output=tmp_path / 'y', **{'from': 'glove'})
    assert found.index_to_key == WORDS
    with pytest.raises(ValueError, match='row 1'):
      convert_with(input=tmp_path / 'x', output=tmp_path / 'z', **{'from': 'word2vec'})
    assert not (tmp_path / 'z').exists()

  def test_a_file_over_itself(self, source):
    before = jw2v.load_vectors(source).vectors
    found = convert_with(input=source, output=source, limit=2)
    np.testing.assert_array_equal(found.vectors, before[:2])


class TestWords:
  def test_list(self, source, tmp_path, capsys):
    (tmp_path / 'list').write_text('\ufeffnaïve\r\n\nsky\nthe\nthe\n', 'utf-8')
    found = convert_with(input=source, output=tmp_path / 'o.txt', words=tmp_path / 'list')
    assert found.index_to_key == ['naïve', 'the']
    np.testing.assert_array_equal(found['the'], jw2v.load_vectors(source)['the'])
    assert "1 of 3 words have no vector, such as 'sky'" in capsys.readouterr().out

  def test_frequency(self, source, tmp_path):
    (tmp_path / 'counts').write_text('land 9\nthe 3\nsea 2\nsky 20\n')
    how = {'input': source, 'output': tmp_path / 'o.txt', 'vocabulary': tmp_path / 'counts'}
    assert convert_with(**how, min_count=3).index_to_key == ['the', 'land']
    (tmp_path / 'list').write_text('land\nsea\n')
    assert convert_with(**how, min_count=3, words=tmp_path / 'list').index_to_key == ['land']
    assert convert_with(**how, min_count=1, limit=2).index_to_key == ['the', 'sea']
    with pytest.raises(ValueError, match='none of the 5 words remains'):
      convert_with(**how, min_count=10)

  def test_words_that_a_subword_model_has_not_seen(self):
    ngrams = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    kv = jw2v.SubwordVectors(['sea'], np.ones((1, 3)), jw2v.ngrams.Ngrams(ngrams, 3, 4, 50))
    found = convert.chosen(kv, ['seaside', 'sea'])
    np.testing.assert_array_equal(found['seaside'], kv.get_vector('seaside'))

  def test_n_grams_that_are_left_out_are_told(self, tmp_path, capsys):
    ngrams = jw2v.ngrams.Ngrams(np.ones((50, 3), np.float32), 3, 4, 50)
    kv = jw2v.SubwordVectors(['sea', 'land'], np.eye(2, 3), ngrams)
    jw2v.save_vectors(kv, tmp_path / 'v.safetensors')
    how = {'input': tmp_path / 'v.safetensors', 'output': tmp_path / 'o.safetensors'}
    assert isinstance(convert_with(**how, limit=1), jw2v.SubwordVectors)
    assert 'n-grams' not in capsys.readouterr().out
    assert not isinstance(convert_with(**how, normalize=True), jw2v.SubwordVectors)
    assert 'n-grams are dropped' in capsys.readouterr().out


class TestWidth:
  def test_inner_products_of_a_table_of_that_rank_are_kept(self):
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(70, 3)) @ rng.normal(size=(3, 8)) + 0).astype(np.float32)
    found = convert.reduced(vectors, 3)
    assert found.shape == (70, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, rtol=0, atol=1e-4)

  @pytest.mark.parametrize('dim', [1, 4, 8])
  def test_the_error_is_the_least_there_is(self, dim):
    """Equals the root of the summed squares of the omitted eigenvalues."""
    vectors = np.random.default_rng(2).normal(size=(40, 8)) * np.arange(1, 9) + 0.5
    found = convert.reduced(vectors.astype(np.float32), dim)
    error = np.linalg.norm(vectors @ vectors.T - found.astype(float) @ found.T)
    values = np.linalg.svd(vectors, compute_uv=False) ** 2
    assert error == pytest.approx(np.sqrt((values[dim:] ** 2).sum()), rel=1e-4, abs=1e-2)

  def test_blocks_make_no_difference(self, monkeypatch):
    vectors = np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32)
    whole = convert.reduced(vectors, 2)
    monkeypatch.setattr(convert, '_BLOCK', 7)
    np.testing.assert_allclose(convert.reduced(vectors, 2), whole, rtol=0, atol=1e-5)

  def test_then_lengths(self, source, tmp_path):
    """Keeps zero vectors; scales others to length 1 after, not before, reducing the width."""
    found = convert_with(input=source, output=tmp_path / 'o.txt', dim=2, normalize=True)
    lengths = np.linalg.norm(found.vectors, axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 0], atol=1e-6)
    expected = convert.reduced(jw2v.load_vectors(source).vectors, 2)
    np.testing.assert_allclose(
      found.vectors[0], expected[0] / np.linalg.norm(expected[0]), atol=1e-6
    )


class TestRefused:
  @pytest.mark.parametrize(('given', 'message'), [
    ({'dim': 5}, 'dim must be between 1 and 4, the width of the vectors; got 5'),
    ({'min_count': 5}, '--min_count=N needs --vocabulary=FILE'),
    ({'vocabulary': 'v'}, '--min_count=N needs --vocabulary=FILE'),
    ({'words': 'empty'}, 'empty: contains no words'),
    ({'words': 'latin'}, "latin: 'utf-8' codec can't decode"),
    ({'output': 'no/such/o.txt'}, "no/such/o.txt: folder no/such not found"),
  ])  # fmt: skip
  def test_with_nothing_written(self, source, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').write_text('\n\n')
    (tmp_path / 'latin').write_bytes(b'caf\xe9\n')
    files = sorted(tmp_path.iterdir())
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
      convert_with(**{'input': source, 'output': 'o.txt', **given})
    assert sorted(tmp_path.iterdir()) == files

  @pytest.mark.slow
  def test_nothing_is_left_where_it_is_told_to_end(self, tmp_path):
    words = [f'word{i}' for i in range(60_000)]
    kv = jw2v.KeyedVectors(words, np.random.default_rng(0).normal(size=(60_000, 50)))
    jw2v.save_vectors(kv, tmp_path / 'v.safetensors')
    (tmp_path / 'out').mkdir()
    process = subprocess.Popen(
      [sys.executable, '-m', 'jw2v', 'convert', 'v.safetensors', 'out/v.txt'],
      cwd=tmp_path, env={'PYTHONPATH': str(ROOT), 'PATH': ''},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any((tmp_path / 'out').iterdir()) and time.monotonic() < deadline:
      time.sleep(0.01)
    process.terminate()
    assert process.wait(60) == 143
    assert not any((tmp_path / 'out').iterdir())

  @pytest.mark.slow
  @pytest.mark.parametrize(('arguments', 'status', 'said'), [
    (['--input=v.txt', '--output=o.npz', '--limit=2'], 0, 'o.npz: 2 words, width 4'),
    (['--input=no.txt', '--output=o.npz'], 1, 'no.txt'),
    (['v.txt', 'o.npz', '--limit=2'], 0, 'o.npz: 2 words, width 4'),
    (['v.txt', '--input=v.txt', '--output=o'], 1, 'name the file to read and the file to write'),
    (['v.txt'], 1, 'name the file to read and the file to write'),
    (['v.txt', 'o', '--limt=2'], 2, "'--limt' is not a flag of jw2v convert; did you mean --limit"),
    (['v.txt', 'o', '--limit=x'], 2, "--limit must be an integer, got 'x'"),
    (['--help'], 0, '--normalize'),
  ])  # fmt: skip
  def test_program(self, source, arguments, status, said):
    done = subprocess.run(
      [sys.executable, '-m', 'experiments.convert', *arguments], cwd=source.parent,
      env={'PYTHONPATH': str(ROOT), 'PATH': ''}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == status and said in done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
