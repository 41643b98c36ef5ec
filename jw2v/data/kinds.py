"""Recognizes encodings, archives and binary files by their first bytes."""

import codecs
import re
import zipfile
from typing import Any

HEAD = 8192  # bytes to examine

_BOMS = (  # the longer ones first: UTF-32 in little-endian order begins as UTF-16 does
  (codecs.BOM_UTF32_LE, 'utf-32'),
  (codecs.BOM_UTF32_BE, 'utf-32'),
  (codecs.BOM_UTF8, 'utf-8'),
  (codecs.BOM_UTF16_LE, 'utf-16'),
  (codecs.BOM_UTF16_BE, 'utf-16'),
)
_COMPRESSIONS = {
  '.gz': re.compile(rb'\x1f\x8b\x08'),
  '.bz2': re.compile(rb'BZh[1-9](1AY&SY|\x17rE8P\x90)'),
  '.xz': re.compile(rb'\xfd7zXZ\x00'),
  '.zst': re.compile(rb'\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18'),  # or a frame to skip
}
_BINARIES = {
  b'%PDF-': 'a PDF document',
  b'\x89PNG\r\n': 'a PNG image',
  b'\xff\xd8\xff': 'a JPEG image',
  b'GIF8': 'a GIF image',
  b'BM': 'a BMP image',
  b'II*\0': 'a TIFF image',
  b'MM\0*': 'a TIFF image',
  b'\x7fELF': 'a program',
  b'MZ': 'a program for Windows',
  b'\xfe\xed\xfa': 'a program for macOS',
  b'\xcf\xfa\xed\xfe': 'a program for macOS',
  b'SQLite format 3\0': 'an SQLite database',
  b'PAR1': 'a Parquet file',
  b'ARROW1': 'an Arrow file',
  b'\xff\xff\xff\xff': 'an Arrow stream',
  b'PK': 'a zip archive in another file',
  b'\x93NUMPY': 'a NumPy array',
  b'\xd0\xcf\x11\xe0': 'a document of Microsoft Office',
  b'{\\rtf': 'an RTF document',
  **{b'\x80%c' % protocol: 'a Python pickle' for protocol in range(2, 6)},
  b'7z\xbc\xaf\x27\x1c': 'a 7z archive',
  b'Rar!\x1a\x07': 'a RAR archive',
  b'ID3': 'an MP3 recording',
  b'\xff\xfb': 'an MP3 recording',
  b'fLaC': 'a FLAC recording',
  b'OggS': 'an Ogg recording',
  b'\x1aE\xdf\xa3': 'a Matroska video',
  b'\x89HDF\r\n': 'an HDF5 file',
}
_PLAIN_MAGIC = (b'%PDF-', b'{\\rtf')  # printable, but unusual at the start of text
_WORD2VEC = re.compile(rb'\d+ \d+\r?\n')  # begins such a file, as text too
_OFFICE = {'word/': 'a Word document', 'xl/': 'an Excel workbook', 'ppt/': 'a presentation'}
# Text in a one-byte encoding has none of these, or a few from corruption.
_CONTROLS = bytes({*range(28)} - {*b'\t\n\v\f\r\x1b'})
_MOST_CONTROLS = 0.02  # of the bytes
_SHORTEST = 64  # bytes; shorter files are not recognized by their control characters
_WIDE = ('utf-32-le', 'utf-32-be', 'utf-16-le', 'utf-16-be')


def encoding_of(head: bytes) -> str | None:
  """Returns the encoding of a byte order mark, or None."""
  return next((name for mark, name in _BOMS if head.startswith(mark)), None)


def compression_of(head: bytes) -> str | None:
  """Returns the file extension of the compression that begins with these bytes, or None."""
  return next((ending for ending, magic in _COMPRESSIONS.items() if magic.match(head)), None)


def is_tar(head: bytes) -> bool:
  """Returns whether a file with these first bytes is a tar archive."""
  return head[257:262] == b'ustar'


def is_zip(head: bytes) -> bool:
  """Returns whether a file with these first bytes is a zip archive."""
  return head.startswith((b'PK\x03\x04', b'PK\x05\x06'))  # the second one is empty


def document_in_zip(archive: zipfile.ZipFile) -> str | None:
  """Returns the kind of a document whose format is a zip archive, or None for other archives."""
  names = archive.namelist()
  if '[Content_Types].xml' in names:
    found = (kind for part, kind in _OFFICE.items() if any(n.startswith(part) for n in names))
    return next(found, 'a document of Microsoft Office')
  if 'mimetype' in names:
    return 'an EPUB or OpenDocument file'
  if names and all(name.endswith('.npy') for name in names):
    return 'an archive of NumPy arrays'
  return None


def binary_kind(head: bytes, encoding: str = 'utf-8') -> str | None:
  """Returns the kind of a file that is not text, or None for text.

  Args:
    head: the first bytes of the file.
    encoding: encoding of text; text in UTF-16, for example, has zero bytes.
  """
  if is_tar(head):
    return 'a tar archive in another file'
  nuls, controls = head.count(0), len(head) - len(head.translate(None, _CONTROLS))
  for magic, kind in _BINARIES.items():
    readable = magic.isascii() and magic.decode().isprintable() and magic not in _PLAIN_MAGIC
    if head.startswith(magic) and (nuls or not readable):
      return kind
  if nuls and head[4:8] == b'ftyp':
    return 'an MP4 video'
  if head.startswith(b'RIFF') and head[8:12] in (b'WAVE', b'AVI ', b'WEBP'):
    return 'a recording or picture (RIFF)'
  if head[8:10] == b'{"' and 0 < int.from_bytes(head[:8], 'little') < 1 << 30:
    return 'a safetensors file'
  has_ascii = '\n '.encode(encoding).endswith(b'\n ')
  if not has_ascii or len(head) < _SHORTEST or controls <= _MOST_CONTROLS * len(head):
    return None
  if _WORD2VEC.match(head):
    return 'a file of word vectors (word2vec, binary)'
  if guess := _wide_encoding(head):
    name = guess[:6].upper()
    return f"text in {name} without a byte order mark (read it with encoding='{guess}')"
  return 'a binary file'


def _wide_encoding(head: bytes) -> str | None:
  """Returns the encoding of text of two or four bytes a character, or None."""
  found = {}
  for encoding in _WIDE:
    try:
      text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
      continue
    if all(char.isprintable() or char.isspace() for char in text):
      found[encoding] = sum(map(str.isascii, text))  # the wrong byte order has few
  best = max(found, key=lambda encoding: found[encoding], default=None)
  return best if best is not None and found[best] else None


def guess_encoding(piece: bytes, start: int) -> str:
  """Returns advice on bytes that are not UTF-8, based on the first invalid one.

  Args:
    piece: bytes of the file.
    start: position of the first byte that is not UTF-8.
  """
  near = piece[max(0, start - 1) : start + 2]
  latin = any(chr(byte).isalpha() and byte < 128 for byte in near)
  try:
    text = piece[start : start + 999].decode('cp1252')
    latin &= all(char.isprintable() or char.isspace() for char in text)
  except UnicodeDecodeError:
    latin = False
  if latin:
    return "it looks like Windows-1252 or Latin-1, which encoding='cp1252' reads"
  return "name its encoding, such as encoding='cp1251', or replace such bytes with errors='replace'"


def refuse(path: str, kind: str, remedy: str = 'convert it to plain text first') -> ValueError:
  """Returns the error for a file that is not text."""
  about: Any = '' if 'encoding=' in kind else f'; {remedy}'
  return ValueError(f'{path}: must be text, got {kind}{about}')
