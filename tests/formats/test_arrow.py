"""Parquet and Arrow files: exchange with pyarrow and pandas, and errors for damaged files."""

import errno
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from jw2v import KeyedVectors, load_vectors, save_vectors
from tests.formats.tables import read_bytes, some_vectors

WORDS = ['the', '\u00e9t\u00e9', 'new york', 'line\nfeed']
FORMATS = ('parquet', 'arrow')


@pytest.fixture
def kv():
  return KeyedVectors(WORDS, some_vectors(4))


def write(path, word, vector, **more):
  table = pa.table({'word': word, 'vector': vector, **more})
  if path.suffix == '.parquet':
    parquet.write_table(table, path)
  else:
    with pa.ipc.new_file(path, table.schema) as file:
      file.write_table(table)
  return path


def floats(rows, kind=None):
  return pa.array(rows, kind or pa.list_(pa.float32()))


class TestPeers:
  def test_columns_that_we_write(self, tmp_path, kv):
    save_vectors(kv, tmp_path / 'v.parquet')
    save_vectors(kv, tmp_path / 'v.feather')
    for table in (parquet.read_table(tmp_path / 'v.parquet'),
                  feather.read_table(tmp_path / 'v.feather')):  # fmt: skip
      assert table.schema == pa.schema({'word': pa.string(), 'vector': pa.list_(pa.float32(), 5)})
      assert table['word'].to_pylist() == kv.index_to_key
      rows = table['vector'].combine_chunks().flatten()
      assert np.array(rows).tobytes() == kv.vectors.tobytes()

  def test_pandas(self, tmp_path, kv):
    pandas = pytest.importorskip('pandas')
    save_vectors(kv, tmp_path / 'v.parquet')
    frame = pandas.read_parquet(tmp_path / 'v.parquet')
    np.testing.assert_array_equal(np.stack(frame['vector']), kv.vectors)
    frame.insert(0, 'rank', range(4))
    frame.to_parquet(tmp_path / 'theirs')
    frame.to_feather(tmp_path / 'feather')
    for name in ('theirs', 'feather'):
      assert read_bytes(load_vectors(tmp_path / name)) == read_bytes(kv)

  def test_polars(self, tmp_path, kv):
    polars = pytest.importorskip('polars')
    save_vectors(kv, tmp_path / 'v.parquet')
    save_vectors(kv, tmp_path / 'v.arrow')
    for frame in (polars.read_parquet(tmp_path / 'v.parquet'),
                  polars.read_ipc(tmp_path / 'v.arrow')):  # fmt: skip
      frame.write_parquet(tmp_path / 'theirs.parquet')
      frame.write_ipc(tmp_path / 'theirs.arrow')
      for name in ('theirs.parquet', 'theirs.arrow'):
        assert read_bytes(load_vectors(tmp_path / name)) == read_bytes(kv)

  @pytest.mark.parametrize('ending', FORMATS)
  @pytest.mark.parametrize('text', [pa.string(), pa.large_string(), pa.string_view()], ids=str)
  @pytest.mark.parametrize('kind', [
    pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 2),
    pa.list_(pa.int64()), pa.list_(pa.float32(), 2),
  ], ids=str)  # fmt: skip
  def test_types_of_others(self, tmp_path, ending, text, kind):
    path = tmp_path / f'v.{ending}'
    write(path, pa.array(['a', 'b'], text), floats([[1, 2], [3, 4]], kind), other=[1, 2])
    kv = load_vectors(path)
    assert kv.index_to_key == ['a', 'b']
    np.testing.assert_array_equal(kv.vectors, np.array([[1, 2], [3, 4]], np.float32))

  @pytest.mark.parametrize('compression', ['lz4', 'zstd', 'uncompressed'])
  def test_feather_with_compression_and_small_batches(self, tmp_path, compression):
    words = [f'w{i}' for i in range(50)]
    kv = KeyedVectors(words, some_vectors(50))
    table = pa.table({'vector': list(kv.vectors), 'word': words})
    feather.write_feather(table, tmp_path / 'v', compression, chunksize=7)
    assert read_bytes(load_vectors(tmp_path / 'v')) == read_bytes(kv)
    assert load_vectors(tmp_path / 'v', limit=15).index_to_key == words[:15]

  def test_empty_batches(self, tmp_path):
    batch = pa.record_batch({'word': ['a', 'b'], 'vector': floats([[1], [2]])})
    with pa.ipc.new_file(tmp_path / 'v', batch.schema) as file:
      for part in (batch[:0], batch[:1], batch[:0], batch[1:]):
        file.write_batch(part)
    kv = load_vectors(tmp_path / 'v')
    assert kv.index_to_key == ['a', 'b'] and kv.vectors.tolist() == [[1], [2]]


class TestDamaged:
  @pytest.mark.parametrize('ending', FORMATS)
  @pytest.mark.parametrize(
    ('word', 'vector', 'reason'),
    [
      (['a', None], floats([[1], [2]]), 'row 2 must have a word'),
      (['a', ''], floats([[1], [2]]), 'row 2 must have a word'),
      (['a', 'b'], floats([[1], None]), 'row 2 must have a vector'),
      (['a', 'b'], floats([[1], None], pa.list_(pa.float32(), 1)), 'row 2 must have a vector'),
      (['a', 'b'], floats([[1], [1, 2]]), 'row 2 must have 1 numbers, as the first row'),
      (['a', 'b'], floats([[1, 2], [1, None]]), 'row 2 must have finite float32 numbers'),
      (['a', 'b'], floats([[1], [np.inf]]), 'row 2 must have finite float32 numbers'),
      (['a', 'b'], floats([[1], [1e300]], pa.list_(pa.float64())), 'row 2 must have finite'),
      (['a', 'b'], floats([[], []]), 'contains no numbers'),
      ([], floats([]), "column 'word' must contain strings, got null"),
      (pa.array([], pa.string()), floats([]), 'contains no numbers'),
      (['a', 'b', 'a'], floats([[1], [2], [3]]), "row 3: duplicate word 'a', first in row 1"),
      ([1, 2], floats([[1], [2]]), "column 'word' must contain strings, got int64"),
      (['a', 'b'], pa.array([1.0, 2.0]), "column 'vector' must contain lists of numbers, got doub"),
      (['a'], pa.array([['1']]), "column 'vector' must contain lists of numbers, got list<"),
    ],
  )
  def test_row_or_type_is_named(self, tmp_path, monkeypatch, ending, word, vector, reason):
    monkeypatch.setattr('jw2v.formats.arrow._ROWS_READ', 1)
    path = write(tmp_path / f'v.{ending}', word, vector)
    with pytest.raises(ValueError, match=f'v.{ending}: {reason}'):
      load_vectors(path)

  @pytest.mark.parametrize('ending', FORMATS)
  def test_column_that_is_missing_or_duplicate(self, tmp_path, ending):
    for names in (['words', 'vector'], ['word', 'embedding'], ['word', 'word', 'vector']):
      columns = [pa.array(['a']) if 'w' in name else floats([[1]]) for name in names]
      table = pa.Table.from_arrays(columns, names)
      path = tmp_path / f'v.{ending}'
      with (
        pa.ipc.new_file(path, table.schema)
        if ending == 'arrow'
        else parquet.ParquetWriter(path, table.schema) as file
      ):
        file.write_table(table)
      with pytest.raises(ValueError, match=r"must have one column '(word|vector)', got \['wor"):
        load_vectors(path)

  def test_an_error_of_the_disk_is_not_damage(self, tmp_path, kv, monkeypatch):
    def fail(*_):
      raise OSError(errno.EIO, 'Input/output error')

    save_vectors(kv, tmp_path / 'v.parquet')
    monkeypatch.setattr('jw2v.formats.arrow._open_parquet', fail)
    with pytest.raises(OSError, match='Input/output error'):
      load_vectors(tmp_path / 'v.parquet')

  @pytest.mark.parametrize('format', FORMATS)
  def test_bytes_are_cut_off(self, tmp_path, kv, format):
    save_vectors(kv, tmp_path / 'v', format)
    content = (tmp_path / 'v').read_bytes()
    for size in (8, len(content) // 2, len(content) - 1):
      (tmp_path / 'v').write_bytes(content[:size])
      with pytest.raises(ValueError, match=f'v: corrupted {format} file: '):
        load_vectors(tmp_path / 'v')

  def test_checksum_of_parquet(self, tmp_path, kv):
    save_vectors(kv, tmp_path / 'v.parquet')
    content = bytearray((tmp_path / 'v.parquet').read_bytes())
    place = bytes(content).index(kv.vectors[1, 1:3].tobytes())
    content[place] ^= 1
    (tmp_path / 'v.parquet').write_bytes(content)
    with pytest.raises(ValueError, match=r'corrupted parquet file: .*CRC checksum'):
      load_vectors(tmp_path / 'v.parquet')

  def test_words_that_are_not_utf8(self, tmp_path, kv):
    save_vectors(kv, tmp_path / 'v.arrow')
    content = (tmp_path / 'v.arrow').read_bytes()
    (tmp_path / 'v.arrow').write_bytes(content.replace(b'the\xc3', b'the\xff'))
    with pytest.raises(ValueError, match=r'v\.arrow: corrupted arrow file: .*UTF8'):
      load_vectors(tmp_path / 'v.arrow')

  def test_strings_that_overlap_are_counted(self, tmp_path, monkeypatch):
    """Counts the string of each 16-byte view, since many views may share one long string."""
    monkeypatch.setattr('jw2v.utils.limits._ALWAYS', 10_000)
    one = pa.array(['x' * 100_000], pa.string_view())
    words = pa.StringViewArray.from_buffers(
      pa.string_view(), 500, [None, pa.py_buffer(one.buffers()[1].to_pybytes() * 500),
                              one.buffers()[2]],
    )  # fmt: skip
    path = write(tmp_path / 'v.arrow', words, floats([[1]] * 500))
    with pytest.raises(ValueError, match=r'v\.arrow: .* the [\d,]+ compressed bytes .*, got 50,1'):
      load_vectors(path)


def test_without_pyarrow_the_extra_is_named(tmp_path):
  save_vectors(KeyedVectors(['a'], [[1]]), tmp_path / 'v.parquet')
  kv = KeyedVectors(['a'], [[1]])
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ImportError, match=r"'parquet' needs pyarrow: pip install 'jw2v\[text\]'"):
      load_vectors(tmp_path / 'v.parquet')
    with pytest.raises(ImportError, match=r"'arrow' needs pyarrow: pip install 'jw2v\[text\]'"):
      save_vectors(kv, tmp_path / 'v.arrow')
  assert not (tmp_path / 'v.arrow').exists()
