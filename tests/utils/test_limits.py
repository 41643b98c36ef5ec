"""Limits on the cost of untrusted files."""

import bz2
import gzip
import lzma
import os
import pathlib
import resource
import zipfile

import numpy as np
import pyarrow
import pytest
from programs import parsed

import jw2v
from jw2v.cli import convert, settings
from jw2v.data.sessions import read_sessions
from jw2v.data.text import TextReader
from jw2v.data.walks import read_edges
from jw2v.utils import limits
from jw2v.utils.limits import Expansion

COMPRESS = {
  'bz2': bz2.compress, 'gz': gzip.compress, 'xz': lzma.compress,
  'zst': lambda data: pyarrow.Codec('zstd').compress(data, asbytes=True),
}  # fmt: skip
REFUSED = r'{}: decompressed size must be at most {} times the [\d,]+ compressed bytes'


@pytest.fixture(autouse=True)
def small(monkeypatch):
  """Lowers the limit, so that bombs of kilobytes exceed it."""
  monkeypatch.setattr(limits, '_ALWAYS', 10_000)


def zeros(number: int) -> jw2v.KeyedVectors:
  return jw2v.KeyedVectors([f'w{i}' for i in range(number)], np.zeros((number, 300)))


class TestVectors:
  @pytest.mark.parametrize('name', ['v.txt.gz', 'v.bin.gz', 'v.npz'])
  def test_that_become_too_large_are_refused(self, tmp_path, name):
    jw2v.save_vectors(zeros(100), tmp_path / name)
    if name == 'v.npz':
      np.savez_compressed(tmp_path / name, **np.load(tmp_path / name))
    size = os.path.getsize(tmp_path / name)
    with pytest.raises(ValueError, match=REFUSED.format(name, 5)):
      jw2v.load_vectors(tmp_path / name, max_expansion=5)
    for most in (150_000 / size, None):  # of as many bytes, or any
      kv = jw2v.load_vectors(tmp_path / name, max_expansion=most)
      assert len(kv) == 100 and not kv.vectors.any()

  def test_small_ones_always_may(self, tmp_path):
    jw2v.save_vectors(zeros(5), tmp_path / 'v.txt.gz')
    assert len(jw2v.load_vectors(tmp_path / 'v.txt.gz', max_expansion=1)) == 5

  @pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
  def test_of_an_archive_that_numpy_would_not_write(self, tmp_path, method):
    jw2v.save_vectors(zeros(5), tmp_path / 'v.npz')
    with zipfile.ZipFile(tmp_path / 'v.npz') as archive:
      members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / 'v.npz', 'w', method) as archive:
      for name, member in members.items():
        archive.writestr(name, member)
    with pytest.raises(
      ValueError, match=r"v\.npz: the array 'vectors' must have a compression that NumPy"
    ):
      jw2v.load_vectors(tmp_path / 'v.npz')

  def test_of_a_projector(self, tmp_path):
    jw2v.save_vectors(zeros(100), tmp_path / 'p', 'projector')
    table = tmp_path / 'p' / 'vectors.tsv'
    table.write_bytes(gzip.compress(table.read_bytes()))
    assert len(jw2v.load_vectors(tmp_path / 'p', max_expansion=None)) == 100
    with pytest.raises(ValueError, match=REFUSED.format('p', 2)):
      jw2v.load_vectors(tmp_path / 'p', max_expansion=2)

  def test_a_program_has_the_option(self, tmp_path):
    jw2v.save_vectors(zeros(100), tmp_path / 'v.txt.gz')
    files = [f'--input={tmp_path / "v.txt.gz"}', f'--output={tmp_path / "out.txt"}']
    with pytest.raises(ValueError, match=REFUSED.format('v.txt.gz', 2)):
      convert.run(parsed(convert, *files, '--max_expansion=2'))
    convert.run(parsed(convert, *files, '--max_expansion=0'))
    assert (tmp_path / 'out.txt').is_file()


class TestText:
  @pytest.mark.parametrize('ending', list(COMPRESS))
  def test_that_becomes_too_large_is_refused(self, tmp_path, ending):
    path = tmp_path / f'text.{ending}'
    path.write_bytes(COMPRESS[ending](b'a b\n' * 100_000))
    with pytest.raises(ValueError, match=REFUSED.format(path.name, 20)):
      jw2v.encode_corpus(path, text=jw2v.TextConfig(max_expansion=20))
    text = jw2v.TextConfig(max_expansion=None)
    assert len(jw2v.encode_corpus(path, text=text).ids) == 200_000

  def test_that_is_not_compressed_has_no_limit(self, tmp_path):
    (tmp_path / 'text').write_bytes(b'a b\n' * 10_000)
    assert jw2v.encode_corpus(tmp_path / 'text', text=jw2v.TextConfig(max_expansion=1)).words_read

  @pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason='tells of memory')
  @pytest.mark.parametrize('ending', list(COMPRESS))
  def test_that_is_damaged_keeps_no_memory(self, tmp_path, ending):
    path = tmp_path / f'text.{ending}'
    path.write_bytes(COMPRESS[ending](b'a b\n')[:-3])
    pages = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[0])
    for repeats in (1, 40):
      before = pages()
      for _ in range(repeats):
        with pytest.raises(ValueError, match='cannot be decompressed'):
          list(TextReader([str(path)]).buffers())
    assert (pages() - before) * resource.getpagesize() < 100e6  # and not 8 MiB each time

  def test_of_edges_and_sessions(self, tmp_path):
    path = tmp_path / 'log.gz'
    path.write_bytes(gzip.compress(b'session,item\n' + b'1,a\n' * 10_000))
    with pytest.raises(ValueError, match=REFUSED.format('log.gz', 9)):
      list(read_sessions(path, max_expansion=9))
    path.write_bytes(gzip.compress(b'1 2\n' * 10_000))
    with pytest.raises(ValueError, match=REFUSED.format('log.gz', 9)):
      read_edges(path, max_expansion=9)

  def test_a_config_has_the_option(self, tmp_path):
    from configs import quickstart

    config = quickstart.get_config()
    config.data.path, config.data.max_expansion = str(tmp_path / 'text.gz'), 20.0
    (tmp_path / 'text.gz').write_bytes(gzip.compress(b'a b\n' * 100_000))
    trained = settings.train_config(settings.plain(config))
    with pytest.raises(ValueError, match=REFUSED.format('text.gz', 20)):
      settings.read_corpus(settings.plain(config), trained, tmp_path, None)

  def test_a_long_line_of_edges_is_not_moved_for_each_block(self, tmp_path, monkeypatch):
    monkeypatch.setattr('jw2v.data.walks._LONGEST_LINE', 1000)
    (tmp_path / 'edges').write_bytes(b'1 2\n' + b'1 2 ' * 3_000_000)
    with pytest.raises(ValueError, match='edges: line 2 must be at most 1,000 bytes long'):
      read_edges(tmp_path / 'edges')


@pytest.mark.parametrize('value', [0, -1, 0.5, float('nan'), float('inf'), '9', True])
def test_what_is_no_limit(tmp_path, value):
  for refuse in (
    lambda: jw2v.TextConfig(max_expansion=value),
    lambda: jw2v.load_vectors(tmp_path / 'v', max_expansion=value),
  ):
    with pytest.raises(ValueError, match='max_expansion must be at least 1, or None for'):
      refuse()


def test_of_a_pipe_counts_what_was_read():
  read = [10]
  expansion = Expansion(100, lambda: read[0])
  with pytest.raises(ValueError, match=r'the 10 compressed bytes .*, got 10,001 bytes or more'):
    expansion.add(10_001)
  read[0] = 1000
  expansion.add(10_000)
