"""Reading text: from paths to buffers of valid UTF-8.

This module finds the files of a path, decompresses them, reads each once from the first byte to
the last, and raises an error for anything that is not text. `tokens.py` splits text into words.
"""

import codecs
import contextlib
import dataclasses
import errno
import fnmatch
import glob
import hashlib
import io
import lzma
import os
import pathlib
import re
import struct
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, cast

from jw2v.data import fields, kinds
from jw2v.utils.extras import import_pyarrow
from jw2v.utils.files import naming
from jw2v.utils.limits import TEXT_EXPANSION, Expansion, shown

STDIN = '-'
WHITE_SPACE = b' \t\n\v\f\r'  # ASCII white space, the default separators of words
ERRORS = ('ignore', 'replace', 'strict')

PathLike = str | os.PathLike[str]
IS_PATH = (str, os.PathLike)  # for isinstance, which does not accept PathLike[str]

_ARROW_CODECS = {'.bz2': 'bz2', '.gz': 'gzip', '.zst': 'zstd'}
_COMPRESSED = ('.xz', *_ARROW_CODECS)
_SURROGATE = re.compile('[\ud800-\udfff]')
_DAMAGED = (
  EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, tarfile.TarError, OSError
)  # fmt: skip
_BUFFER_BYTES = 8 << 20
_LONGEST_WORD = 64 << 20  # bytes


def find_files(paths: PathLike | Sequence[PathLike], exclude: Sequence[str] = ()) -> list[str]:
  """Finds the files of paths.

  A folder means all files in it and in its subfolders, sorted by name, except hidden files and
  linked folders. A name with `*`, `?` or `[` that is not a file is a pattern, in which `**` matches
  any number of folders. '-' is standard input.

  Args:
    paths: a path, or a sequence of them.
    exclude: patterns such as '*.png' or 'drafts/*'. Files from folders and patterns are skipped if
      their name, or their path in the folder, matches one of these patterns.

  Returns:
    Names of existing files.

  Raises:
    FileNotFoundError: a path does not exist, a folder contains no files, or a pattern matches no
      file.
    PermissionError: a folder cannot be read.
    ValueError: `paths` is empty or contains an empty path, or standard input is given twice.
  """
  return [path for path, _ in _find(paths, exclude)]


def files_of_folders(
  paths: PathLike | Sequence[PathLike], exclude: Sequence[str] = ()
) -> frozenset[str]:
  """Returns the files of `find_files` from folders and patterns, without those given by name."""
  found = _find(paths, exclude)
  named = {os.path.abspath(path) for path, is_named in found if is_named}
  return frozenset(path for path, _ in found if os.path.abspath(path) not in named)


def _find(paths, exclude) -> list[tuple[str, bool]]:
  """Returns the files, each with True if it is given by name."""
  files: list[tuple[str, bool]] = []
  for path in [paths] if isinstance(paths, IS_PATH) else paths:
    if not str(path):
      raise ValueError('the path of the text must not be empty; name a file or a folder')
    path = os.path.expanduser(os.fspath(path))
    if path == STDIN or (os.path.exists(path) and not os.path.isdir(path)):
      files.append((path, True))
    elif os.path.isdir(path):
      found = [name for name in _files_in(path) if not _is_excluded(name, path, exclude)]
      if not found:
        raise FileNotFoundError(f'{shown(path)}: the folder contains no files')
      files += [(name, False) for name in found]
    elif glob.has_magic(path):
      found = sorted(p for p in _matches(path) if os.path.isfile(p))
      found = [name for name in found if not _is_excluded(name, '', exclude)]
      if not found:
        raise FileNotFoundError(f'{shown(path)}: no file matches this pattern')
      # `**` follows links, and can reach a file by several paths.
      different: dict[str, str] = {}
      for name in found:
        different.setdefault(os.path.realpath(name), name)
      files += [(name, False) for name in different.values()]
    else:
      name = path if len(path) <= 200 else f'{path[:60]}...'
      raise FileNotFoundError(f'{name}: file or folder not found{_remark(path)}')
  if not files:
    raise ValueError('paths must contain at least one path, got none; name a file or a folder')
  if [path for path, _ in files].count(STDIN) > 1:
    raise ValueError("duplicate path '-'; standard input can be read once")
  return files


def _is_excluded(path: str, folder: str, exclude: Sequence[str]) -> bool:
  names = {os.path.basename(path), path}
  if folder:
    names.add(os.path.relpath(path, folder))
  return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in exclude)


def _remark(path: str) -> str:
  """Returns advice on a path that does not exist."""
  folder, name = os.path.split(path)
  with contextlib.suppress(OSError, ValueError):
    for other in os.listdir(folder or os.curdir):
      if unicodedata.normalize('NFC', other) == unicodedata.normalize('NFC', name):
        return f'; a file with another Unicode normalization exists, {other!a}'
  if '://' in path:
    return '; only local files can be read, so download it first'
  if ' ' in path or '\n' in path:
    return '; pass the text itself as lists of words: [x.split() for x in text.splitlines()]'
  return ''


def _matches(pattern: str) -> list[str]:
  """Returns the names that match a pattern; `**` enters each folder once, also through links.

  `glob.glob` follows cyclic links until the name is too long, which may take very long.
  """
  parts = (pattern.replace(os.altsep, os.sep) if os.altsep else pattern).split(os.sep)
  if '**' not in parts:
    return glob.glob(pattern)
  at = parts.index('**')
  # '' is the working directory, and the root if the pattern starts with a separator.
  start = os.sep.join(parts[:at]) or (os.sep if at else '')
  rest = os.path.join(*parts[at + 1 :], '') if parts[at + 1 :] else '*'
  rest = rest.removesuffix(os.sep)
  found, entered = [], set()
  folders = glob.glob(start) if glob.has_magic(start) else [start]
  while folders:
    folder = folders.pop()
    if (real := os.path.realpath(folder or os.curdir)) in entered:
      continue
    entered.add(real)
    found += _matches(os.path.join(glob.escape(folder), rest))
    try:
      names = sorted(os.listdir(folder or os.curdir), reverse=True)
    except OSError:  # not a folder, or not readable, as in `glob.glob`
      continue
    paths = [os.path.join(folder, name) for name in names if not name.startswith('.')]
    folders += [path for path in paths if os.path.isdir(path)]
  return found


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
  """Identity of a file at the time of reading, to detect changes later.

  Attributes:
    path: absolute name of the file; '-' for standard input.
    size: number of bytes on disk, before decompression.
    mtime_ns: time of the last change; None if it is not a regular file, for example a pipe.
    sha256: SHA-256 of these bytes, in hexadecimal digits.
  """

  path: str
  size: int
  mtime_ns: int | None
  sha256: str

  def is_same(self, path: str) -> bool:
    """Returns whether a file has the same bytes.

    The method reads the file if it has the same size, but another name or time of change.
    """
    status = _regular(path)
    if status is None or self.mtime_ns is None or status.st_size != self.size:
      return False
    if (os.path.abspath(path), status.st_mtime_ns) == (self.path, self.mtime_ns):
      return True
    with naming(path), open(path, 'rb') as file:
      return hashlib.file_digest(file, 'sha256').hexdigest() == self.sha256


def total_size(files: Sequence[str]) -> int | None:
  """Returns the size of the files on disk in bytes; None if one is not a regular file."""
  found = [_regular(path) for path in files]
  sizes = [status.st_size for status in found if status is not None]
  return sum(sizes) if len(sizes) == len(found) else None


def _regular(path: str) -> os.stat_result | None:
  """Returns the status of a regular file; None for standard input, pipes and devices."""
  return os.stat(path) if path != STDIN and os.path.isfile(path) else None


class TextReader:
  """Reads text files one after another, once.

  A file of any name may be compressed, or an archive (.tar, .zip) whose members are read.

  Attributes:
    sources: the files that were read completely.
    not_utf8: number of byte sequences that were replaced or dropped, being invalid in the encoding.
    skipped: names and kinds of skipped files and members, which are not text.
    rows_skipped: number of rows without the field.
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
    exclude: Sequence[str] = (),
  ):
    """Stores the arguments; opens nothing yet.

    Args:
      files: names of files, as returned by `find_files`.
      errors: handling of invalid bytes: 'strict' raises an error, 'replace' replaces them by
        U+FFFD, 'ignore' drops them.
      on_read: function called with the size of each piece that is read from a file.
      max_expansion: largest allowed ratio of decompressed to compressed size; None for no limit.
      encoding: encoding of the text; a byte order mark takes precedence.
      field: field of JSON lines, CSV or Parquet files whose rows are the lines of the text; '' to
        read such files as plain text; None raises an error for them.
      may_skip: files to skip if they are not text, in addition to members of archives.
      exclude: patterns of members of archives to skip, as in `find_files`.
    """
    self._files, self._errors, self._on_read = files, errors, on_read
    self._max_expansion, self._encoding, self._field = max_expansion, encoding, field
    self._may_skip, self._exclude = may_skip, exclude
    self.sources: list[Source] = []
    self.not_utf8 = 0
    self.skipped: list[tuple[str, str]] = []
    self.rows_skipped = 0

  def buffers(
    self, buffer_bytes: int | None = None, whole_words: bool = True
  ) -> Iterator[tuple[bytes, bool]]:
    """Yields the text in buffers of valid UTF-8, each cut after white space.

    The method drops a byte order mark at the start of a file.

    Args:
      buffer_bytes: size of a buffer; a buffer with a longer word is longer. None for 8 MiB.
      whole_words: True to cut after white space, False to cut after any character.

    Yields:
      A buffer, and True if it is the last one of its file; only the last one can be empty.

    Raises:
      OSError: a file cannot be read, or was changed or removed during reading.
      ValueError: a file is not text in the encoding or its compression is corrupted (the message
        contains the file and the byte offset in the decompressed text); the decompressed text is
        too large; or a word is longer than 64 MiB.
    """
    for path in self._files:
      yield from self._of_file(path, buffer_bytes or _BUFFER_BYTES, whole_words)

  def _of_file(self, path: str, size: int, whole_words: bool) -> Iterator[tuple[bytes, bool]]:
    """Yields the buffers of one file, and adds it to `sources` at its end."""
    before = _regular(path)
    with _Digest(path, self._on_read) as raw:
      expansion = lambda: Expansion(
        self._max_expansion, lambda: raw.size if before is None else before.st_size
      )
      # A buffered reader closes `raw` when it is collected, so the streams are kept to the end.
      file = _Stream(path, io.BufferedReader(raw, 1 << 20))
      whole = _decompressed(path, file, expansion())
      for name, member, is_named in self._members(path, whole):
        text = member if member is whole else _decompressed(name, member, expansion())
        yield from _cut(name, self._pieces(name, text, size, is_named), whole_words)
      while raw.read(1 << 20):  # bytes after the compressed text belong to the digest
        pass
      if before is not None:
        _check_unchanged(path, before)
      name = path if path == STDIN else os.path.abspath(path)
      mtime = before.st_mtime_ns if before is not None else None
      self.sources.append(Source(name, raw.size, mtime, raw.sha256.hexdigest()))

  def _members(self, path: str, stream: '_Stream') -> Iterator[tuple[str, '_Stream', bool]]:
    """Yields the name and the bytes of a file or of each member of an archive.

    The third value is True for a file given by name, which must be text; others are skipped.
    """
    is_named = path not in self._may_skip
    head = stream.peek(kinds.HEAD)
    if kinds.is_zip(head):
      yield from self._of_zip(path, stream, is_named)
    elif kinds.is_tar(head):
      try:
        with tarfile.open(fileobj=stream, mode='r|', tarinfo=_Member) as archive:
          for member in archive:
            if member.isfile() and not self._is_left_out(member.name):
              name, file = f'{path}:{member.name}', archive.extractfile(member)
              yield name, _Stream(name, io.BufferedReader(cast(Any, file))), False
      except tarfile.TarError as error:
        raise ValueError(f'{path}: corrupted tar archive: {error}') from error
    else:
      yield path, stream, is_named

  def _of_zip(
    self, path: str, stream: '_Stream', is_named: bool
  ) -> Iterator[tuple[str, '_Stream', bool]]:
    if path == STDIN or not os.path.isfile(path) or stream.is_decompressed:
      raise kinds.refuse(path, 'a zip archive in a pipe or a compressed file', 'extract it first')
    try:
      with zipfile.ZipFile(path) as archive:
        if kind := kinds.document_in_zip(archive):
          self._skip(path, kind, is_named)
          return
        for member in archive.infolist():
          # A corrupted name can be empty.
          if member.filename[-1:] in ('', '/') or self._is_left_out(member.filename):
            continue
          name = f'{path}:{member.filename}'
          with archive.open(member) as file:
            size = lambda: os.path.getsize(path)
            yield name, _Stream(name, file, Expansion(self._max_expansion, size)), False
    except (RuntimeError, *_DAMAGED, struct.error, UnicodeDecodeError) as error:
      if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk
        raise
      raise ValueError(f'{path}: cannot be read as a zip archive: {error}') from error

  def _is_left_out(self, member: str) -> bool:
    """Returns whether a member of an archive is hidden or excluded, as files of a folder are."""
    parts = pathlib.PurePosixPath(member).parts
    return any(part.startswith('.') for part in parts) or _is_excluded(member, '', self._exclude)

  def _pieces(self, name: str, stream: '_Stream', size: int, is_named: bool) -> Iterator[bytes]:
    """Yields the text of a file as valid UTF-8, or nothing if the file is skipped."""
    head = stream.peek(kinds.HEAD)
    encoding = kinds.encoding_of(head) or self._encoding
    structure = None
    if self._field != '':
      plain = name
      while os.path.splitext(plain)[1].lower() in _COMPRESSED:
        plain = os.path.splitext(plain)[0]
      structure = fields.kind_of(plain, head, encoding)
    if structure is None:
      if kind := kinds.binary_kind(head, encoding):
        self._skip(name, kind, is_named)
        return
      if self._field:
        remedy = 'leave field out to read plain text'
        self._skip(name, f'plain text without the field {self._field!r}', is_named, remedy)
        return
      yield from self._decoded(name, stream, encoding, size)
      return
    if structure == 'parquet' and not (os.path.isfile(name) and not stream.is_decompressed):
      self._skip(name, 'a Parquet file in an archive or pipe', is_named)
      return
    pieces = _Pieces(self._decoded(name, stream, encoding, size))
    reader = io.TextIOWrapper(io.BufferedReader(pieces), 'utf-8', newline='')
    file = name if structure == 'parquet' else reader
    if self._field is None:
      names = fields.field_names(name, structure, file)
      message = f'a file with the fields {fields.listed(names)}'
      advice = (
        f'choose the field of the text, such as field={shown(repr(fields.likely(names)))}'
        if names
        else ''
      )
      if structure != 'parquet':
        advice += ", or read the file as it is with field=''"
      self._skip(name, message, is_named, advice)
      return
    yield from self._documents(name, structure, file, size)

  def _documents(self, name: str, structure: str, file: Any, size: int) -> Iterator[bytes]:
    """Yields the documents of a field as lines."""

    def skipped() -> None:
      self.rows_skipped += 1

    lines, length = [], 0
    for text in fields.documents(name, structure, file, cast(str, self._field), skipped):
      line = self._encoded(name, ' '.join(text.splitlines()) + '\n')
      lines.append(line)
      length += len(line)
      if length >= size:
        yield b''.join(lines)
        lines, length = [], 0
    if lines:
      yield b''.join(lines)

  def _decoded(self, name: str, stream: '_Stream', encoding: str, size: int) -> Iterator[bytes]:
    """Decodes text of any encoding; yields UTF-8 in pieces of whole characters."""
    offset = 0
    if stream.peek(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
      offset = len(stream.read(len(codecs.BOM_UTF8)))
    make = codecs.getincrementaldecoder(encoding)
    decoder = make(self._errors)
    # The text itself may contain U+FFFD: 'ignore' counts these, 'replace' counts both.
    counters = [make('replace'), make('ignore')] if self._errors != 'strict' else []
    is_utf8 = codecs.lookup(encoding).name == 'utf-8'
    while True:
      piece = stream.read(size)
      if is_utf8 and piece.isascii() and piece and not decoder.getstate()[0]:
        offset += len(piece)
        yield piece
        continue
      try:
        text = decoder.decode(piece, final=not piece)
      except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        where = offset + len(piece) - len(error.object) + error.start
        advice = f'; {kinds.guess_encoding(error.object, error.start)}' if is_utf8 else ''
        raise ValueError(
          f'{name}: not {encoding.upper()} at byte {where} (0x{wrong:02x}){advice}'
        ) from error
      except UnicodeError as error:  # a codec without a position, such as UTF-16 without its mark
        raise ValueError(f'{name}: cannot be decoded as {encoding}: {shown(error)}') from error
      if counters:
        replaced, kept = (c.decode(piece, final=not piece).count('\ufffd') for c in counters)
        self.not_utf8 += replaced - kept
      offset += len(piece)
      if text:
        yield self._encoded(name, text)
      if not piece:
        return

  def _encoded(self, name: str, text: str) -> bytes:
    """Encodes text as UTF-8; surrogates, which JSON and some codecs allow, are invalid."""
    try:
      return text.encode()
    except UnicodeEncodeError as error:
      if self._errors == 'strict':
        raise ValueError(
          f'{name}: text must be valid Unicode, got {text[error.start]!r}; read it with '
          "errors='replace'"
        ) from error
      text, count = _SURROGATE.subn('\ufffd' if self._errors == 'replace' else '', text)
      self.not_utf8 += count
      return text.encode()

  def _skip(self, name: str, kind: str, is_named: bool, remedy: str = '') -> None:
    """Records a file that is not text, or raises an error if it was given by name."""
    if is_named:
      raise kinds.refuse(name, kind, remedy) if remedy else kinds.refuse(name, kind)
    self.skipped.append((name, kind))


def _cut(name: str, pieces: Iterator[bytes], whole_words: bool) -> Iterator[tuple[bytes, bool]]:
  """Yields pieces cut after white space, or unchanged; the last one with True."""
  rest: list[bytes] = []  # parts of a word that is longer than a buffer
  for piece in pieces:
    cut = _after_white_space(piece) if whole_words else len(piece)
    if cut:
      yield b''.join([*rest, piece[:cut]]), False
      rest = []
    if cut < len(piece):
      rest.append(piece[cut:])
    if sum(map(len, rest)) > _LONGEST_WORD:
      raise ValueError(
        f'{name}: a word must be at most {_LONGEST_WORD:,} bytes long; is this file text?'
      )
  yield b''.join(rest), True


def _after_white_space(piece: bytes) -> int:
  return 1 + max(piece.rfind(byte) for byte in WHITE_SPACE)


class _Member(tarfile.TarInfo):
  """A member of a tar archive; `tarfile` mistakes a corrupted header for the end of the archive."""

  @classmethod
  def fromtarfile(cls, archive: tarfile.TarFile) -> Any:
    """Reads the next header; raises an error if it is corrupted and not the end mark."""
    try:
      return super().fromtarfile(archive)
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
      raise
    except tarfile.HeaderError as error:
      raise tarfile.ReadError(f'{error} at byte {archive.offset}') from error


class _Stream(io.RawIOBase):
  """Decompressed bytes of a file, with a method to peek at them.

  Attributes:
    is_decompressed: True if the bytes differ from the file on disk.
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
    """Returns the next bytes without consuming them; fewer only at the end."""
    while len(self._head) < size and (piece := self._next(size - len(self._head))):
      self._head += piece
    return self._head[:size]

  def read(self, size: int = -1) -> bytes:
    """Reads `size` bytes, fewer only at the end; all bytes if the size is negative."""
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
      if isinstance(error, OSError) and error.errno:  # an error of the disk
        raise
      raise ValueError(f'{path}: cannot be decompressed: {error}') from error
    except MemoryError as error:  # from xz and zstd
      raise ValueError(f'{path}: not enough memory to decompress it') from error
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
    raise FileNotFoundError(f'{path}: removed while it was read') from error
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


def _decompressed(path: str, file: _Stream, expansion: Expansion) -> _Stream:
  """Returns the decompressed bytes of a file; the first bytes identify the compression."""
  head = file.peek(kinds.HEAD)
  ending = kinds.compression_of(head) or ''
  if (
    not ending and _ending(path) in _COMPRESSED and (kinds.binary_kind(head) or not _is_utf8(head))
  ):
    ending = _ending(path)  # corrupted
  if ending == '.xz':
    return _Stream(path, lzma.LZMAFile(io.BufferedReader(file, 1 << 20)), expansion, True)
  if ending in _ARROW_CODECS:
    pyarrow = import_pyarrow()
    source = pyarrow.PythonFile(file, mode='r')
    stream = pyarrow.CompressedInputStream(source, _ARROW_CODECS[ending])
    return _Stream(path, stream, expansion, True)
  return file


def _is_utf8(head: bytes) -> bool:
  try:
    codecs.getincrementaldecoder('utf-8')().decode(head)
  except UnicodeDecodeError:
    return False
  return bool(head)


def _ending(path: str) -> str:
  return os.path.splitext(path)[1].lower()


class _Pieces(io.RawIOBase):
  """File object that reads from an iterator of bytes."""

  def __init__(self, pieces: Iterator[bytes]):
    self._pieces, self._rest = pieces, b''

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any) -> int:
    while not self._rest:
      piece = next(self._pieces, None)
      if piece is None:
        return 0
      self._rest = piece
    count = min(len(buffer), len(self._rest))
    memoryview(buffer)[:count], self._rest = self._rest[:count], self._rest[count:]
    return count


class TextFile(_Pieces):
  """File object with the decoded text of one file.

  Reading raises the errors of a `TextReader`, and a `ValueError` for an archive of several texts.
  """

  def __init__(self, path: str, max_expansion: float | None = TEXT_EXPANSION):
    """Opens nothing yet."""
    self._buffers: Any = TextReader([path], max_expansion=max_expansion).buffers(whole_words=False)
    super().__init__(self._one_text(path))

  def _one_text(self, path: str) -> Iterator[bytes]:
    ended = False
    for buffer, last in self._buffers:
      if ended:
        raise ValueError(f'{path}: must contain one file, got an archive of several; extract it')
      yield buffer
      ended = last

  def close(self) -> None:
    """Closes the file."""
    self._buffers.close()
    super().close()
