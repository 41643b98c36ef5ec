"""Reading text: from paths to buffers of valid UTF-8.

This module finds the files of a path, decompresses them, reads each once from the first byte to
the last, and raises an error for anything that is not text. `tokens.py` splits text into words.
"""

import dataclasses
import glob
import hashlib
import io
import lzma
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jw2v.utils.files import naming
from jw2v.utils.limits import TEXT_EXPANSION, Expansion

STDIN = '-'
WHITE_SPACE = b' \t\n\v\f\r'  # of ASCII; what separates words where nothing else is said
ERRORS = ('ignore', 'replace', 'strict')

PathLike = str | os.PathLike[str]
IS_PATH = (str, os.PathLike)  # for isinstance, which takes no PathLike[str]

_ARROW_CODECS = {'.bz2': 'bz2', '.gz': 'gzip', '.zst': 'zstd'}
_COMPRESSED = ('.xz', *_ARROW_CODECS)
_BOM, _REPLACEMENT = b'\xef\xbb\xbf', '\ufffd'.encode()
_BUFFER_BYTES = 8 << 20
_LONGEST_WORD = 64 << 20  # bytes


def find_files(paths: PathLike | Sequence[PathLike]) -> list[str]:
  """The files behind the paths.

  A folder stands for the files in it and in its folders, sorted by name, but not for what
  starts with a dot, nor for folders that are links. A name with `*`, `?` or `[` that is no
  file is a pattern, in which `**` stands for any folders. '-' is standard input.

  Args:
    paths: a path, or a sequence of them.

  Returns:
    Names of existing files.

  Raises:
    FileNotFoundError: a path does not exist, a folder has no file in it, or a pattern
      fits none.
    PermissionError: a folder cannot be read.
    ValueError: there is no path, it is empty, or standard input is named twice.
  """
  files = []
  for path in [paths] if isinstance(paths, IS_PATH) else paths:
    if not str(path):
      raise ValueError('the path of the text is empty: name a file or a folder')
    path = os.fspath(path)
    if path == STDIN or (os.path.exists(path) and not os.path.isdir(path)):
      files.append(path)
    elif os.path.isdir(path):
      found = _files_in(path)
      if not found:
        raise FileNotFoundError(f'{path}: there is no file in this folder')
      files += found
    elif glob.has_magic(path):
      found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
      if not found:
        raise FileNotFoundError(f'{path}: no file fits this pattern')
      # `**` follows links, and comes to a file on several ways.
      different: dict[str, str] = {}
      for name in found:
        different.setdefault(os.path.realpath(name), name)
      files += different.values()
    else:
      shown = path if len(path) <= 200 else f'{path[:60]}...'
      raise FileNotFoundError(f'{shown}: no such file or folder')
  if not files:
    raise ValueError('there is no path of a text: name a file or a folder')
  if files.count(STDIN) > 1:
    raise ValueError("'-' is named twice: standard input can be read once")
  return files


def _files_in(folder: str) -> list[str]:
  def fail(error):
    raise error

  found = []
  for place, folders, names in os.walk(folder, onerror=fail):
    folders[:] = [name for name in folders if not name.startswith('.')]
    paths = [os.path.join(place, name) for name in names if not name.startswith('.')]
    found += [path for path in paths if os.path.isfile(path) or not os.path.exists(path)]
  return sorted(found)  # with broken links, which fail when they are opened


@dataclasses.dataclass(frozen=True)
class Source:
  """A file as it was when it was read: what tells whether it is the same later.

  Attributes:
    path: its absolute name; '-' for standard input.
    size: bytes on disk, before decompression.
    mtime_ns: when it was changed last; None for what is no regular file, as a pipe.
    sha256: of those bytes, in hexadecimal digits.
  """

  path: str
  size: int
  mtime_ns: int | None
  sha256: str

  def is_same(self, path: str) -> bool:
    """Whether a file has the same bytes.

    It is read if its size is the same, and its name or the time of its change is not.
    """
    status = _regular(path)
    if status is None or self.mtime_ns is None or status.st_size != self.size:
      return False
    if (os.path.abspath(path), status.st_mtime_ns) == (self.path, self.mtime_ns):
      return True
    with naming(path), open(path, 'rb') as file:
      return hashlib.file_digest(file, 'sha256').hexdigest() == self.sha256


def total_size(files: Sequence[str]) -> int | None:
  """The bytes of the files on disk; None if there is one that is no regular file."""
  found = [_regular(path) for path in files]
  sizes = [status.st_size for status in found if status is not None]
  return sum(sizes) if len(sizes) == len(found) else None


def _regular(path: str) -> os.stat_result | None:
  """The status of a regular file; None for standard input, pipes and devices."""
  return os.stat(path) if path != STDIN and os.path.isfile(path) else None


class TextReader:
  """Reads files of text, one after another, once.

  Attributes:
    sources: the files that have been read to their end.
    not_utf8: byte sequences that were no UTF-8, and were replaced or left out.
  """

  def __init__(
    self,
    files: Sequence[str],
    errors: str = 'strict',
    on_read: Callable[[int], object] = lambda size: None,
    max_expansion: float | None = TEXT_EXPANSION,
  ):
    """Opens nothing yet.

    Args:
      files: names of files, as from `find_files`.
      errors: what happens to bytes that are not UTF-8: 'strict' refuses them, 'replace'
        puts U+FFFD in their place, 'ignore' leaves them out.
      on_read: called with the size of each piece that is read from a file.
      max_expansion: how many times as large as a compressed file its text may be; None for any.
    """
    self._files, self._errors, self._on_read = files, errors, on_read
    self._max_expansion = max_expansion
    self.sources: list[Source] = []
    self.not_utf8 = 0

  def buffers(
    self, buffer_bytes: int | None = None, whole_words: bool = True
  ) -> Iterator[tuple[bytes, bool]]:
    """The text in buffers of valid UTF-8, each cut after white space.

    A byte order mark at the start of a file is left out.

    Args:
      buffer_bytes: their size; one with a longer word in it is longer. 8 MiB if None.
      whole_words: otherwise buffers are cut after any character.

    Yields:
      A buffer, and whether a file ends with it; no buffer is empty but the last of a file.

    Raises:
      OSError: a file cannot be read, or has changed or vanished in the meantime.
      ValueError: a file is not UTF-8 or its compression is damaged; the message has the
        file, and the byte offset in the uncompressed text; it becomes too large; or a word is
        longer than 64 MiB.
    """
    for path in self._files:
      offset = 0
      for buffer, last in self._buffers(path, buffer_bytes or _BUFFER_BYTES, whole_words):
        text = buffer.removeprefix(_BOM) if offset == 0 else buffer
        text = self._utf8(path, text, offset + len(buffer) - len(text))
        offset += len(buffer)
        yield text, last

  def _buffers(
    self, path: str, buffer_bytes: int, whole_words: bool
  ) -> Iterator[tuple[bytes, bool]]:
    """The bytes of one file in buffers; it is a source when it has ended."""
    before = _regular(path)
    with _Digest(path, self._on_read) as raw, _decompressed(path, raw) as file:
      pieces: list[bytes] = []  # of a word that is longer than a buffer
      most = self._max_expansion if _ending(path) in _COMPRESSED else None
      expansion = Expansion(most, lambda: raw.size if before is None else before.st_size)
      while piece := _read(path, file, buffer_bytes, expansion):
        if whole_words:
          cut = _after_white_space(piece)
        else:
          piece, pieces = b''.join([*pieces, piece]), []
          cut = _after_character(piece)
        if cut:
          yield b''.join([*pieces, piece[:cut]]), False
          pieces = []
        if cut < len(piece):
          pieces.append(piece[cut:])
        if sum(map(len, pieces)) > _LONGEST_WORD:
          raise ValueError(f'{path}: no white space in {_LONGEST_WORD:,} bytes: this is no text')
      while raw.read(1 << 20):  # what follows the compressed text belongs to the digest
        pass
      if before is not None:
        _check_unchanged(path, before)
      name = path if path == STDIN else os.path.abspath(path)
      mtime = before.st_mtime_ns if before is not None else None
      self.sources.append(Source(name, raw.size, mtime, raw.sha256.hexdigest()))
      yield b''.join(pieces), True

  def _utf8(self, path: str, buffer: bytes, offset: int) -> bytes:
    if buffer.isascii():
      return buffer
    try:
      buffer.decode()
    except UnicodeDecodeError as error:
      if self._errors == 'strict':
        where, byte = offset + error.start, buffer[error.start]
        raise ValueError(f'{path}: not UTF-8 at byte {where} (0x{byte:02x})') from error
      replaced = buffer.decode(errors='replace').encode()
      self.not_utf8 += replaced.count(_REPLACEMENT) - buffer.count(_REPLACEMENT)
      if self._errors == 'replace':
        return replaced
      return buffer.decode(errors='ignore').encode()
    return buffer


def _after_white_space(piece: bytes) -> int:
  return 1 + max(piece.rfind(byte) for byte in WHITE_SPACE)


def _after_character(piece: bytes) -> int:
  """Where the last character that is there whole ends; characters have up to four bytes."""
  for start in range(len(piece) - 1, max(len(piece) - 4, -1), -1):
    if piece[start] >= 0xC0:  # the first byte of a longer one, which may go on
      return start
    if piece[start] < 0x80:
      break
  return len(piece)


def _read(path: str, file: Any, size: int, expansion: Expansion) -> bytes:
  """Reads a piece; an error in the compression becomes a `ValueError`."""
  try:
    if hasattr(file, 'read_buffer'):  # pyarrow's, whose `read` never frees its bytes if it fails
      piece = file.read_buffer(size).to_pybytes()
    else:
      piece = file.read(size)
  except (EOFError, lzma.LZMAError, OSError) as error:
    if isinstance(error, OSError) and error.errno:  # of the disk, not of what is on it
      raise
    raise ValueError(f'{path}: cannot be decompressed: {error}') from error
  except MemoryError as error:  # xz and zstd say how much they need
    raise ValueError(f'{path}: cannot be decompressed in the memory that is there') from error
  try:
    expansion.add(len(piece))
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None
  return piece


def _check_unchanged(path: str, before: os.stat_result) -> None:
  try:
    after = os.stat(path)
  except FileNotFoundError as error:
    raise FileNotFoundError(f'{path}: vanished while it was read') from error
  same = (before.st_ino, before.st_size, before.st_mtime_ns)
  if (after.st_ino, after.st_size, after.st_mtime_ns) != same:
    raise OSError(f'{path}: changed while it was read')


class _Digest(io.RawIOBase):
  """A file that counts and hashes the bytes read from it."""

  def __init__(self, path: str, on_read: Callable[[int], object]):
    self._file: Any = sys.stdin.buffer if path == STDIN else open(path, 'rb')
    self._owned, self._on_read, self._path = path != STDIN, on_read, path
    self.size, self.sha256 = 0, hashlib.sha256()

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any) -> int:
    with naming(self._path):
      count = self._file.readinto(buffer)
    self.sha256.update(memoryview(buffer)[:count])
    self.size += count
    self._on_read(count)
    return count

  def close(self) -> None:
    if self._owned:
      self._file.close()
    super().close()


def _decompressed(path: str, raw: _Digest) -> Any:
  """The file's text, by the ending of its name."""
  ending = _ending(path)
  if ending == '.xz':
    return lzma.LZMAFile(io.BufferedReader(raw, 1 << 20))
  if ending in _ARROW_CODECS:
    pyarrow = import_pyarrow()
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode='r'), _ARROW_CODECS[ending])
  return io.BufferedReader(raw, 1 << 20)


def _ending(path: str) -> str:
  return os.path.splitext(path)[1].lower()


class TextFile(io.RawIOBase):
  """The text of one file as a file, for what reads files."""

  def __init__(self, path: str, max_expansion: float | None = TEXT_EXPANSION):
    """Takes what a `TextReader` takes; reading raises what it raises."""
    reader = TextReader([path], max_expansion=max_expansion)
    self._buffers: Any = reader.buffers(whole_words=False)
    self._rest = b''

  def readable(self) -> bool:
    """It is."""
    return True

  def readinto(self, buffer: Any) -> int:
    """Reads up to the size of the buffer; 0 at the end."""
    while not self._rest:
      self._rest, last = next(self._buffers, (b'', True))
      if last and not self._rest:
        return 0
    count = min(len(buffer), len(self._rest))
    memoryview(buffer)[:count], self._rest = self._rest[:count], self._rest[count:]
    return count

  def close(self) -> None:
    """Closes the file."""
    self._buffers.close()
    super().close()


def import_pyarrow() -> Any:
  """The package that splits and decompresses; an `ImportError` that says how to get it."""
  try:
    import pyarrow
  except ImportError as error:
    raise ImportError("reading text needs pyarrow: pip install 'jw2v[text]'") from error
  return pyarrow
