"""Reading text: from paths to buffers of valid UTF-8.

This module finds the files of a path, decompresses them, reads each once from the first byte to
the last, and raises an error for anything that is not text. `tokens.py` splits text into words.
"""

import codecs
import dataclasses
import fnmatch
import glob
import hashlib
import io
import lzma
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, cast

from jw2v.data import fields, kinds
from jw2v.utils.extras import import_pyarrow
from jw2v.utils.files import naming
from jw2v.utils.limits import TEXT_EXPANSION, Expansion, shown

STDIN = '-'
WHITE_SPACE = b' \t\n\v\f\r'  # of ASCII; what separates words where nothing else is said
ERRORS = ('ignore', 'replace', 'strict')

PathLike = str | os.PathLike[str]
IS_PATH = (str, os.PathLike)  # for isinstance, which takes no PathLike[str]

_ARROW_CODECS = {'.bz2': 'bz2', '.gz': 'gzip', '.zst': 'zstd'}
_COMPRESSED = ('.xz', *_ARROW_CODECS)
_REPLACEMENT = '\ufffd'.encode()
_DAMAGED = (
  EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, tarfile.TarError, OSError
)  # fmt: skip
_BUFFER_BYTES = 8 << 20
_LONGEST_WORD = 64 << 20  # bytes


def find_files(paths: PathLike | Sequence[PathLike], exclude: Sequence[str] = ()) -> list[str]:
  """Finds the files of paths.

  A folder stands for the files in it and in its folders, sorted by name, without names that start
  with a dot and without folders that are links. A name with `*`, `?` or `[` that is not a file is a
  pattern, in which `**` stands for any folders. '-' is standard input.

  Args:
    paths: a path, or a sequence of them.
    exclude: patterns such as '*.png' or 'drafts/*'. Files of folders and patterns whose name, or
      whose path in the folder, fits one of them are left out.

  Returns:
    Names of existing files.

  Raises:
    FileNotFoundError: a path does not exist, a folder has no file in it, or a pattern
      fits none.
    PermissionError: a folder cannot be read.
    ValueError: there is no path, it is empty, or standard input is named twice.
  """
  return [path for path, _ in _find(paths, exclude)]


def files_of_folders(
  paths: PathLike | Sequence[PathLike], exclude: Sequence[str] = ()
) -> frozenset[str]:
  """Returns the files of `find_files` that come from folders and patterns, and are not named."""
  found = _find(paths, exclude)
  named = {os.path.abspath(path) for path, is_named in found if is_named}
  return frozenset(path for path, _ in found if os.path.abspath(path) not in named)


def _find(paths, exclude) -> list[tuple[str, bool]]:
  """Returns the files, and whether each is named itself."""
  files: list[tuple[str, bool]] = []
  for path in [paths] if isinstance(paths, IS_PATH) else paths:
    if not str(path):
      raise ValueError('the path of the text is empty: name a file or a folder')
    path = os.path.expanduser(os.fspath(path))
    if path == STDIN or (os.path.exists(path) and not os.path.isdir(path)):
      files.append((path, True))
    elif os.path.isdir(path):
      found = [name for name in _files_in(path) if not _is_excluded(name, path, exclude)]
      if not found:
        raise FileNotFoundError(f'{shown(path)}: there is no file in this folder')
      files += [(name, False) for name in found]
    elif glob.has_magic(path):
      found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
      found = [name for name in found if not _is_excluded(name, '', exclude)]
      if not found:
        raise FileNotFoundError(f'{shown(path)}: no file fits this pattern')
      # `**` follows links, and comes to a file on several ways.
      different: dict[str, str] = {}
      for name in found:
        different.setdefault(os.path.realpath(name), name)
      files += [(name, False) for name in different.values()]
    else:
      name = path if len(path) <= 200 else f'{path[:60]}...'
      raise FileNotFoundError(f'{name}: no such file or folder')
  if not files:
    raise ValueError('there is no path of a text: name a file or a folder')
  if [path for path, _ in files].count(STDIN) > 1:
    raise ValueError("'-' is named twice: standard input can be read once")
  return files


def _is_excluded(path: str, folder: str, exclude: Sequence[str]) -> bool:
  names = {os.path.basename(path), path}
  if folder:
    names.add(os.path.relpath(path, folder))
  return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in exclude)


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

  A file may be compressed, whatever its name, or an archive (.tar, .zip) whose members are read.

  Attributes:
    sources: the files that have been read to their end.
    not_utf8: byte sequences that were not valid in the encoding, and were replaced or left out.
    skipped: names and kinds of files and members that were skipped since they are not text.
    rows_skipped: rows without the field.
  """

  def __init__(
    self,
    files: Sequence[str],
    errors: str = 'strict',
    on_read: Callable[[int], object] = lambda size: None,
    max_expansion: float | None = TEXT_EXPANSION,
    *,
    encoding: str = 'utf-8',
    field: str | None = '',
    may_skip: Collection[str] = (),
  ):
    """Stores the arguments; opens nothing yet.

    Args:
      files: names of files, as from `find_files`.
      errors: what happens to bytes that are not valid: 'strict' raises an error, 'replace' puts
        U+FFFD in their place, 'ignore' leaves them out.
      on_read: called with the size of each piece that is read from a file.
      max_expansion: largest allowed ratio of decompressed to compressed size; None for no limit.
      encoding: encoding of the text; a byte order mark decides before it.
      field: field of JSON lines, CSV or Parquet files, each of whose rows is a line of text; '' to
        read files as they are; None raises an error for such files.
      may_skip: files that are skipped if they are not text; members of archives always are.
    """
    self._files, self._errors, self._on_read = files, errors, on_read
    self._max_expansion, self._encoding, self._field = max_expansion, encoding, field
    self._may_skip = may_skip
    self.sources: list[Source] = []
    self.not_utf8 = 0
    self.skipped: list[tuple[str, str]] = []
    self.rows_skipped = 0

  def buffers(
    self, buffer_bytes: int | None = None, whole_words: bool = True
  ) -> Iterator[tuple[bytes, bool]]:
    """Yields the text in buffers of valid UTF-8, each cut after white space.

    A byte order mark at the start of a file is left out.

    Args:
      buffer_bytes: their size; a buffer with a longer word is longer. 8 MiB if None.
      whole_words: otherwise buffers are cut after any character.

    Yields:
      A buffer, and whether a file ends with it; only the last buffer of a file can be empty.

    Raises:
      OSError: a file cannot be read, or has changed or vanished in the meantime.
      ValueError: a file is not text in the encoding or its compression is damaged; the message has
        the file, and the byte offset in the uncompressed text; it becomes too large; or a word is
        longer than 64 MiB.
    """
    for path in self._files:
      yield from self._of_file(path, buffer_bytes or _BUFFER_BYTES, whole_words)

  def _of_file(self, path: str, size: int, whole_words: bool) -> Iterator[tuple[bytes, bool]]:
    """Yields the buffers of one file; it is a source when it has ended."""
    before = _regular(path)
    with _Digest(path, self._on_read) as raw:
      compressed_size = lambda: raw.size if before is None else before.st_size
      # A buffered reader closes `raw` when it is collected, so the stream is kept to the end.
      whole = _decompressed(path, raw, Expansion(self._max_expansion, compressed_size))
      for name, stream, is_named in self._members(path, whole, compressed_size):
        offset, pieces = 0, self._pieces(name, stream, size, is_named)
        for buffer, last in _cut(name, pieces, whole_words):
          text = buffer.removeprefix(codecs.BOM_UTF8) if offset == 0 else buffer
          text = self._utf8(name, text, offset + len(buffer) - len(text))
          offset += len(buffer)
          yield text, last
      while raw.read(1 << 20):  # what follows the compressed text belongs to the digest
        pass
      if before is not None:
        _check_unchanged(path, before)
      name = path if path == STDIN else os.path.abspath(path)
      mtime = before.st_mtime_ns if before is not None else None
      self.sources.append(Source(name, raw.size, mtime, raw.sha256.hexdigest()))

  def _members(
    self, path: str, stream: '_Stream', compressed_size: Callable[[], int]
  ) -> Iterator[tuple[str, '_Stream', bool]]:
    """Yields the name and text of a file, or of the members of an archive; and whether it is named.

    Only a file that is named itself must be text; others are skipped.
    """
    is_named = path not in self._may_skip
    head = stream.peek(kinds.HEAD)
    if kinds.is_zip(head):
      yield from self._of_zip(path, stream, is_named, compressed_size)
    elif kinds.is_tar(head):
      try:
        with tarfile.open(fileobj=stream, mode='r|') as archive:
          for member in archive:
            if member.isfile() and not os.path.basename(member.name).startswith('.'):
              name, file = f'{path}:{member.name}', archive.extractfile(member)
              yield name, _Stream(name, io.BufferedReader(cast(Any, file))), False
      except tarfile.TarError as error:
        raise ValueError(f'{path}: damaged tar archive: {error}') from error
    else:
      yield path, stream, is_named

  def _of_zip(
    self, path: str, stream: '_Stream', is_named: bool, compressed_size: Callable[[], int]
  ) -> Iterator[tuple[str, '_Stream', bool]]:
    if path == STDIN or not os.path.isfile(path) or stream.is_decompressed:
      raise kinds.refuse(path, 'a zip archive in a pipe', 'extract it first')
    try:
      with zipfile.ZipFile(path) as archive:
        if kind := kinds.document_in_zip(archive):
          self._skip(path, kind, is_named)
          return
        for member in archive.infolist():
          base = os.path.basename(member.filename)
          if member.is_dir() or base.startswith('.'):
            continue
          name = f'{path}:{member.filename}'
          with archive.open(member) as file:
            expansion = Expansion(self._max_expansion, compressed_size)
            yield name, _Stream(name, file, expansion), False
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
      raise ValueError(f'{path}: cannot be read as a zip archive: {error}') from error

  def _pieces(self, name: str, stream: '_Stream', size: int, is_named: bool) -> Iterator[bytes]:
    """Yields the text of a file as UTF-8 that may not be valid; nothing for a file to skip."""
    head = stream.peek(kinds.HEAD)
    encoding = kinds.encoding_of(head) or self._encoding
    structure = None
    if self._field != '':
      plain = name
      while os.path.splitext(plain)[1].lower() in _COMPRESSED:
        plain = os.path.splitext(plain)[0]
      structure = fields.kind_of(plain, head)
    if structure is None:
      if kind := kinds.binary_kind(head, encoding):
        self._skip(name, kind, is_named)
        return
      if self._field and is_named:
        raise ValueError(
          f'{name}: must be JSON lines, CSV or Parquet to have the field {self._field!r}, and is '
          'plain text'
        )
      if codecs.lookup(encoding).name != 'utf-8':
        yield from self._decoded(name, stream, encoding, size)
        return
      while piece := stream.read(size):
        yield piece
      return
    if structure == 'parquet' and not (os.path.isfile(name) and not stream.is_decompressed):
      self._skip(name, 'a Parquet file in an archive or pipe', is_named)
      return
    reader = io.TextIOWrapper(
      io.BufferedReader(cast(Any, stream)), encoding, self._errors, newline=''
    )
    file = name if structure == 'parquet' else reader
    if self._field is None:
      names = fields.field_names(name, structure, file)
      message = f'a file with the fields {fields.listed(names)}'
      advice = (
        f'choose the field of the text, such as field={fields.likely(names)!r}' if names else ''
      )
      if structure != 'parquet':
        advice += ", or read the file as it is with field=''"
      self._skip(name, message, is_named, advice)
      return
    try:
      yield from self._documents(name, structure, file, size)
    except UnicodeDecodeError as error:
      raise ValueError(f'{name}: not {encoding}: {error}') from error

  def _documents(self, name: str, structure: str, file: Any, size: int) -> Iterator[bytes]:
    """Yields the documents of a field as lines."""

    def skipped() -> None:
      self.rows_skipped += 1

    lines, length = [], 0
    for text in fields.documents(name, structure, file, cast(str, self._field), skipped):
      line = (' '.join(text.splitlines()) + '\n').encode(errors='replace')
      lines.append(line)
      length += len(line)
      if length >= size:
        yield b''.join(lines)
        lines, length = [], 0
    if lines:
      yield b''.join(lines)

  def _decoded(self, name: str, stream: '_Stream', encoding: str, size: int) -> Iterator[bytes]:
    """Yields text of another encoding as UTF-8."""
    decoder, offset = codecs.getincrementaldecoder(encoding)(self._errors), 0
    while True:
      piece = stream.read(size)
      try:
        text = decoder.decode(piece, final=not piece)
      except UnicodeDecodeError as error:
        where = offset + error.start
        raise ValueError(f'{name}: not {encoding} at about byte {where}: {error.reason}') from error
      if self._errors == 'replace':
        self.not_utf8 += text.count('\ufffd')
      offset += len(piece)
      if text:
        yield text.encode(errors='replace')
      if not piece:
        return

  def _skip(self, name: str, kind: str, is_named: bool, remedy: str = '') -> None:
    """Notes a file that is not text, or raises an error if it is named itself."""
    if is_named:
      raise kinds.refuse(name, kind, remedy) if remedy else kinds.refuse(name, kind)
    self.skipped.append((name, kind))

  def _utf8(self, path: str, buffer: bytes, offset: int) -> bytes:
    if buffer.isascii():
      return buffer
    try:
      buffer.decode()
    except UnicodeDecodeError as error:
      if self._errors == 'strict':
        where, byte = offset + error.start, buffer[error.start]
        advice = kinds.guess_encoding(buffer, error.start)
        raise ValueError(f'{path}: not UTF-8 at byte {where} (0x{byte:02x}); {advice}') from error
      replaced = buffer.decode(errors='replace').encode()
      self.not_utf8 += replaced.count(_REPLACEMENT) - buffer.count(_REPLACEMENT)
      if self._errors == 'replace':
        return replaced
      return buffer.decode(errors='ignore').encode()
    return buffer


def _cut(name: str, pieces: Iterator[bytes], whole_words: bool) -> Iterator[tuple[bytes, bool]]:
  """Yields pieces of a file cut after white space, or after a character; and the rest as last."""
  rest: list[bytes] = []  # of a word that is longer than a buffer
  for piece in pieces:
    if whole_words:
      cut = _after_white_space(piece)
    else:
      piece, rest = b''.join([*rest, piece]), []
      cut = _after_character(piece)
    if cut:
      yield b''.join([*rest, piece[:cut]]), False
      rest = []
    if cut < len(piece):
      rest.append(piece[cut:])
    if sum(map(len, rest)) > _LONGEST_WORD:
      raise ValueError(f'{name}: no white space in {_LONGEST_WORD:,} bytes: this is no text')
  yield b''.join(rest), True


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


class _Stream(io.RawIOBase):
  """Bytes of a file that can be looked at before they are read, after decompression.

  Attributes:
    is_decompressed: whether the bytes are not those of the file itself.
  """

  def __init__(
    self, name: str, file: Any, expansion: Expansion | None = None, is_decompressed: bool = False
  ):
    self._name, self._file, self._expansion = name, file, expansion
    self._head = b''
    self.is_decompressed = is_decompressed

  def readable(self) -> bool:
    return True

  def peek(self, size: int) -> bytes:
    """Returns the next bytes, fewer only at the end, and leaves them to be read."""
    while len(self._head) < size and (piece := self._next(size - len(self._head))):
      self._head += piece
    return self._head[:size]

  def read(self, size: int = -1) -> bytes:
    """Reads a piece of this size, less only at the end; everything if the size is negative."""
    pieces, left = [], size if size >= 0 else sys.maxsize
    while left:
      piece, self._head = self._head[:left], self._head[left:]
      piece = piece or self._next(min(left, _BUFFER_BYTES))
      if not piece:
        break
      pieces.append(piece)
      left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b''.join(pieces)

  def readinto(self, buffer: Any) -> int:
    piece = self.read(len(buffer))
    memoryview(buffer)[: len(piece)] = piece
    return len(piece)

  def _next(self, size: int) -> bytes:
    """Reads from the file; an error in the compression becomes a `ValueError`."""
    path = self._name
    try:
      if hasattr(self._file, 'read_buffer'):  # pyarrow's, whose `read` leaks if it fails
        piece = self._file.read_buffer(size).to_pybytes()
      else:
        piece = self._file.read(size)
    except _DAMAGED as error:
      if isinstance(error, OSError) and error.errno:  # of the disk, not of what is on it
        raise
      raise ValueError(f'{path}: cannot be decompressed: {error}') from error
    except MemoryError as error:  # xz and zstd say how much they need
      raise ValueError(f'{path}: cannot be decompressed in the memory that is there') from error
    try:
      if self._expansion is not None:
        self._expansion.add(len(piece))
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


def _decompressed(path: str, raw: _Digest, expansion: Expansion) -> _Stream:
  """Returns the file's bytes, decompressed by the ending of its name or by its first bytes."""
  file = _Stream(path, io.BufferedReader(raw, 1 << 20))
  ending = _ending(path)
  if ending not in _COMPRESSED:
    ending = kinds.compression_of(file.peek(8)) or ''
  if ending == '.xz':
    return _Stream(path, lzma.LZMAFile(io.BufferedReader(file, 1 << 20)), expansion, True)
  if ending in _ARROW_CODECS:
    pyarrow = import_pyarrow()
    source = pyarrow.PythonFile(file, mode='r')
    stream = pyarrow.CompressedInputStream(source, _ARROW_CODECS[ending])
    return _Stream(path, stream, expansion, True)
  return file


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
