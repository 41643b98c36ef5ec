"""Text files: finding, opening and reading them once, and errors for other files."""

import bz2
import gzip
import io
import lzma
import os
import sys
import threading

import pytest
from corpora import is_plain
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jw2v.data import text
from jw2v.data.text import TextReader, find_files

TEXT = 'so  it\tgoes \u00fcber\r\n\n\u00a0nbsp\u2028x\n' * 50


def read(*files, errors='strict', buffer_bytes=None):
  reader = TextReader([str(file) for file in files], errors)
  return reader, list(reader.buffers(buffer_bytes))


def compress(content, ending):
  pyarrow = pytest.importorskip('pyarrow')
  return {
    '': lambda x: x,
    '.bz2': bz2.compress,
    '.gz': gzip.compress,
    '.xz': lzma.compress,
    '.zst': lambda x: pyarrow.Codec('zstd').compress(x, asbytes=True),
  }[ending](content)


ENDINGS = ('', '.bz2', '.gz', '.xz', '.zst')


class TestFindFiles:
  def test_folder_with_its_folders_sorted_and_without_hidden_ones(self, tmp_path):
    for name in ('b/two.txt', 'a.txt', '.hidden', '.git/x', 'b/one.txt'):
      (tmp_path / name).parent.mkdir(exist_ok=True)
      (tmp_path / name).write_text('a b')
    found = [os.path.relpath(p, tmp_path) for p in find_files(tmp_path)]
    assert found == ['a.txt', 'b/one.txt', 'b/two.txt']

  def test_pattern(self, tmp_path):
    for name in ('2.txt', '1.txt', '3.md', 'x/4.txt'):
      (tmp_path / name).parent.mkdir(exist_ok=True)
      (tmp_path / name).touch()
    names = lambda pattern: [os.path.relpath(p, tmp_path) for p in find_files(tmp_path / pattern)]
    assert names('*.txt') == ['1.txt', '2.txt']
    assert names('**/*.txt') == ['1.txt', '2.txt', 'x/4.txt']
    with pytest.raises(FileNotFoundError, match=r'\*\.csv: no file matches'):
      names('*.csv')

  def test_file_whose_name_looks_like_a_pattern(self, tmp_path):
    (tmp_path / 'what?[1].txt').touch()
    assert find_files(tmp_path / 'what?[1].txt') == [str(tmp_path / 'what?[1].txt')]

  def test_paths_in_the_order_given(self, tmp_path):
    (tmp_path / 'b').touch(), (tmp_path / 'a').touch()
    assert find_files([tmp_path / 'b', '-', str(tmp_path / 'a')]) == [
      str(tmp_path / 'b'), '-', str(tmp_path / 'a')
    ]  # fmt: skip

  def test_links(self, tmp_path):
    """Reads a linked file; follows a linked folder only by a pattern, and once."""
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'a').write_text('a b')
    (tmp_path / 'in' / 'loop').symlink_to(tmp_path / 'in')
    (tmp_path / 'in' / 'b').symlink_to(tmp_path / 'in' / 'a')
    names = lambda path: [os.path.relpath(p, tmp_path) for p in find_files(path)]
    assert names(tmp_path / 'in') == ['in/a', 'in/b']
    assert names(tmp_path / '**') == ['in/a']
    (tmp_path / 'in' / 'c').symlink_to(tmp_path / 'nothing')
    with pytest.raises(FileNotFoundError, match='in/c'):
      read(*find_files(tmp_path / 'in'))

  def test_folder_that_cannot_be_read(self, tmp_path, monkeypatch):
    (tmp_path / 'a').write_text('a b')

    def scandir(path):
      raise PermissionError(13, 'Permission denied', path)

    monkeypatch.setattr(text.os, 'scandir', scandir)
    with pytest.raises(PermissionError):
      find_files(tmp_path)

  def test_text_in_the_place_of_a_path(self):
    with pytest.raises(FileNotFoundError, match=r'^to be or .{51}\.\.\.: file or folder not found'):
      find_files('to be or not to be ' * 50)

  def test_no_path(self):
    for paths in ('', [], ['']):
      with pytest.raises(ValueError, match='name a file or a folder'):
        find_files(paths)

  def test_missing_file_empty_folder_and_standard_input_twice(self, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.txt: file or folder not found'):
      find_files(tmp_path / 'nothing.txt')
    with pytest.raises(FileNotFoundError, match='the folder contains no files'):
      find_files(tmp_path)
    with pytest.raises(ValueError, match='standard input can be read once'):
      find_files(['-', '-'])


class TestBlocks:
  @pytest.mark.parametrize('ending', ENDINGS)
  def test_same_text_whatever_the_compression(self, tmp_path, ending):
    path = tmp_path / f'text{ending}'
    path.write_bytes(compress(TEXT.encode(), ending))
    reader, buffers = read(path, buffer_bytes=64)
    assert b''.join(buffer for buffer, _ in buffers).decode() == TEXT
    assert [last for _, last in buffers] == [False] * (len(buffers) - 1) + [True]
    assert len(buffers) > 10 and reader.not_utf8 == 0
    assert reader.sources[0].size == path.stat().st_size

  @pytest.mark.parametrize('ending', ['.bz2', '.gz', '.xz', '.zst'])
  def test_parts_compressed_one_after_another(self, tmp_path, ending):
    path = tmp_path / f'text{ending}'
    path.write_bytes(compress(b'a b ', ending) + compress(b'c d', ending))
    assert b''.join(buffer for buffer, _ in read(path)[1]) == b'a b c d'

  @given(
    st.lists(st.sampled_from([b'a', b' ', b'\n', b'\r', b'\t', 'ü'.encode(), b'\x1c'])),
    st.integers(1, 9),
  )
  @settings(max_examples=100, deadline=None, derandomize=True)
  def test_blocks_end_with_white_space_and_are_the_text(self, tmp_path_factory, parts, size):
    path = tmp_path_factory.mktemp('text') / 'text'
    path.write_bytes(b''.join(parts))
    _, buffers = read(path, buffer_bytes=size)
    assert b''.join(buffer for buffer, _ in buffers) == b''.join(parts)
    ends = [buffer[-1:] for buffer, last in buffers if not last]
    assert all(end.isspace() and end != b'\x1c' for end in ends)
    assert sum(last for _, last in buffers) == 1 and buffers[-1][1]

  def test_word_of_many_blocks(self, tmp_path):
    (tmp_path / 'text').write_bytes(b'a ' + b'x' * 10_000 + b' b')
    _, buffers = read(tmp_path / 'text', buffer_bytes=100)
    assert [len(buffer) for buffer, _ in buffers] == [2, 10_001, 1]

  def test_word_without_end(self, tmp_path, monkeypatch):
    monkeypatch.setattr(text, '_LONGEST_WORD', 100)
    (tmp_path / 'zeros').write_bytes(b'a ' + b'0' * 200)
    with pytest.raises(ValueError, match='zeros: a word must be at most 100 bytes long'):
      read(tmp_path / 'zeros', buffer_bytes=30)

  @given(st.binary(max_size=40), st.integers(1, 9))
  @settings(max_examples=100, deadline=None, derandomize=True)
  def test_cut_after_any_character(self, tmp_path_factory, content, size):
    path = tmp_path_factory.mktemp('text') / 'text'
    assume(is_plain(content))
    path.write_bytes(content)
    whole = content.removeprefix(b'\xef\xbb\xbf').decode(errors='replace')
    reader = TextReader([str(path)], 'replace')
    buffers = [buffer for buffer, _ in reader.buffers(size, whole_words=False)]
    assert b''.join(buffers).decode() == whole
    assert all(len(buffer) <= 3 * (size + 3) for buffer in buffers)

  def test_byte_order_mark_is_no_part_of_a_word(self, tmp_path):
    for name in ('one', 'two'):
      (tmp_path / name).write_bytes(b'\xef\xbb\xbfa b')
    _, buffers = read(tmp_path / 'one', tmp_path / 'two')
    assert [buffer for buffer, _ in buffers] == [b'a ', b'b'] * 2

  def test_standard_input(self, monkeypatch):
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(b'a b\nc')))
    reader, buffers = read('-', buffer_bytes=2)
    assert b''.join(buffer for buffer, _ in buffers) == b'a b\nc'
    assert reader.sources[0].path == '-' and not reader.sources[0].is_same('-')
    assert not sys.stdin.closed

  def test_named_pipe(self, tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    writer = threading.Thread(target=(tmp_path / 'pipe').write_bytes, args=(b'a b\n',))
    writer.start()
    reader, buffers = read(tmp_path / 'pipe')
    writer.join()
    assert buffers[0][0] == b'a b\n' and reader.sources[0].mtime_ns is None

  def test_what_is_read_is_told(self, tmp_path):
    (tmp_path / 'text.gz').write_bytes(gzip.compress(TEXT.encode()))
    told = []
    reader = TextReader([str(tmp_path / 'text.gz')], on_read=told.append)
    list(reader.buffers())
    assert sum(told) == (tmp_path / 'text.gz').stat().st_size


class TestNotUtf8:
  @pytest.mark.parametrize('buffer_bytes', [5, 1000])
  def test_file_and_byte_are_named(self, tmp_path, buffer_bytes):
    (tmp_path / 'latin.txt').write_bytes(b'\xef\xbb\xbfgood line\nbad \xff line\n')
    with pytest.raises(ValueError, match=r'latin\.txt: not UTF-8 at byte 17 \(0xff\)'):
      read(tmp_path / 'latin.txt', buffer_bytes=buffer_bytes)

  def test_offset_is_that_of_the_text_not_of_the_compressed_file(self, tmp_path):
    (tmp_path / 'x.gz').write_bytes(gzip.compress(b'a ' * 5000 + b'caf\xe9 '))
    with pytest.raises(ValueError, match=r'x\.gz: not UTF-8 at byte 10003 \(0xe9\)'):
      read(tmp_path / 'x.gz', buffer_bytes=64)

  @pytest.mark.parametrize(('errors', 'want'), [
    ('replace', 'a\ufffdb \ufffd \ufffd\ufffd'), ('ignore', 'ab \ufffd ')])  # fmt: skip
  def test_replaced_or_left_out_and_counted(self, tmp_path, errors, want):
    """Does not count a U+FFFD in the text itself."""
    (tmp_path / 'text').write_bytes(b'a\xffb \xef\xbf\xbd \xe9\xe9')
    reader, buffers = read(tmp_path / 'text', errors=errors)
    assert b''.join(buffer for buffer, _ in buffers).decode() == want
    assert reader.not_utf8 == 3

  @given(st.binary(max_size=60), st.integers(1, 20))
  @settings(max_examples=150, deadline=None, derandomize=True)
  def test_any_bytes_as_python_decodes_them(self, tmp_path_factory, content, size):
    path = tmp_path_factory.mktemp('text') / 'text'
    assume(is_plain(content))
    path.write_bytes(content)
    whole = content.removeprefix(b'\xef\xbb\xbf')
    for errors in ('replace', 'ignore'):
      got = b''.join(buffer for buffer, _ in read(path, errors=errors, buffer_bytes=size)[1])
      assert got.decode() == whole.decode(errors=errors)
    try:
      whole.decode()
    except UnicodeDecodeError as error:
      where = len(content) - len(whole) + error.start
      with pytest.raises(ValueError, match=f'not UTF-8 at byte {where} '):
        read(path, buffer_bytes=size)
    else:
      assert b''.join(buffer for buffer, _ in read(path, buffer_bytes=size)[1]) == whole


class TestDamage:
  @pytest.mark.parametrize('ending', ['.bz2', '.gz', '.xz', '.zst'])
  @pytest.mark.parametrize('cut', [1, 20])
  def test_truncated(self, tmp_path, ending, cut):
    path = tmp_path / f'text{ending}'
    path.write_bytes(compress(os.urandom(2000).hex().encode(), ending)[:-cut])
    with pytest.raises(ValueError, match=f'text{ending}: cannot be decompressed'):
      read(path)

  @pytest.mark.parametrize('ending', ['.bz2', '.gz', '.xz', '.zst'])
  def test_not_compressed_at_all(self, tmp_path, ending):
    """Reads text under any name; other bytes are damaged."""
    path = tmp_path / f'text{ending}'
    path.write_bytes(b'just plain text')
    assert read(path)[1] == [(b'just plain ', False), (b'text', True)]
    path.write_bytes(b'\0' + compress(TEXT.encode(), ending)[1:])
    with pytest.raises(ValueError, match=f'text{ending}: cannot be decompressed'):
      read(path)

  @pytest.mark.parametrize('change', ['append', 'replace', 'remove'])
  def test_file_that_changes_while_it_is_read(self, tmp_path, change):
    path = tmp_path / 'text'
    path.write_bytes(b'a b ' * 100)
    buffers = TextReader([str(path)]).buffers(50)
    next(buffers)
    if change == 'append':
      path.write_bytes(b'a b ' * 101)
    elif change == 'replace':
      (tmp_path / 'new').write_bytes(b'c d ' * 100)
      os.replace(tmp_path / 'new', path)
    else:
      path.unlink()
    message = 'removed' if change == 'remove' else 'changed'
    with pytest.raises(OSError, match=f'text: {message} while it was read'):
      list(buffers)

  def test_file_that_vanishes_before_its_turn(self, tmp_path):
    (tmp_path / 'one').write_text('a b')
    with pytest.raises(FileNotFoundError, match='two'):
      read(tmp_path / 'one', tmp_path / 'two')

  def test_compression_without_pyarrow(self, tmp_path, monkeypatch):
    (tmp_path / 'x.gz').write_bytes(gzip.compress(b'a'))
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ImportError, match=r"pip install 'jw2v\[text\]'"):
      read(tmp_path / 'x.gz')


class TestSource:
  @pytest.fixture
  def source(self, tmp_path):
    (tmp_path / 'text').write_text('a b c')
    return read(tmp_path / 'text')[0].sources[0]

  def test_same_file(self, tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert source.is_same('text')

  def test_touched_moved_or_copied_is_the_same(self, tmp_path, source):
    os.utime(tmp_path / 'text', (1, 1))
    assert source.is_same(str(tmp_path / 'text'))
    (tmp_path / 'text').rename(tmp_path / 'moved')
    assert source.is_same(str(tmp_path / 'moved'))

  def test_other_bytes_are_not(self, tmp_path, source):
    for content in ('a b d', 'a b c d'):
      (tmp_path / 'text').write_text(content)
      os.utime(tmp_path / 'text', (1, 1))
      assert not source.is_same(str(tmp_path / 'text'))

  def test_another_size_is_not_the_same_whatever_the_time(self, tmp_path, source):
    (tmp_path / 'text').write_text('a b c d')
    os.utime(tmp_path / 'text', ns=(source.mtime_ns, source.mtime_ns))
    assert not source.is_same(str(tmp_path / 'text'))

  def test_an_unchanged_file_is_not_read(self, tmp_path, source, monkeypatch):
    monkeypatch.setattr(text.hashlib, 'file_digest', None)
    assert source.is_same(str(tmp_path / 'text'))
