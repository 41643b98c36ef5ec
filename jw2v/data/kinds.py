"""Recognizes what a file contains by its first bytes: an encoding, an archive, or no text."""

import codecs
import zipfile
from typing import Any

HEAD = 8192  # bytes that are looked at

_BOMS = (  # the longer ones first: UTF-32 in little-endian order begins as UTF-16 does
  (codecs.BOM_UTF32_LE, 'utf-32'),
  (codecs.BOM_UTF32_BE, 'utf-32'),
  (codecs.BOM_UTF8, 'utf-8'),
  (codecs.BOM_UTF16_LE, 'utf-16'),
  (codecs.BOM_UTF16_BE, 'utf-16'),
)
COMPRESSIONS = {
  b'\x1f\x8b': '.gz',
  b'BZh': '.bz2',
  b'\xfd7zXZ\x00': '.xz',
  b'\x28\xb5\x2f\xfd': '.zst',
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
  b'\x93NUMPY': 'a NumPy array',
  b'\xd0\xcf\x11\xe0': 'a document of Microsoft Office',
  b'{\\rtf': 'an RTF document',
  b'\x80\x04\x95': 'a Python pickle',
  b'7z\xbc\xaf\x27\x1c': 'a 7z archive',
  b'Rar!\x1a\x07': 'a RAR archive',
  b'ID3': 'an MP3 recording',
  b'fLaC': 'a FLAC recording',
  b'OggS': 'an Ogg recording',
  b'\x1aE\xdf\xa3': 'a Matroska video',
  b'\x89HDF\r\n': 'an HDF5 file',
}
_TEXT_MAGIC = (b'BM', b'MZ', b'ID3', b'II*\0', b'MM\0*')  # short: text may begin so
_OFFICE = {'word/': 'a Word document', 'xl/': 'an Excel workbook', 'ppt/': 'a presentation'}
_SHORTEST = 64  # bytes; a shorter file is not one of these
_MOST_NULS = 0.02  # of a text's bytes; text has none, and a damaged one a few


def encoding_of(head: bytes) -> str | None:
  """Returns the encoding that a byte order mark names, or None."""
  return next((name for mark, name in _BOMS if head.startswith(mark)), None)


def compression_of(head: bytes) -> str | None:
  """Returns the file extension of a compression that the first bytes show, or None."""
  return next((ending for magic, ending in COMPRESSIONS.items() if head.startswith(magic)), None)


def is_tar(head: bytes) -> bool:
  """Returns whether the first bytes are those of a tar archive."""
  return head[257:262] == b'ustar'


def is_zip(head: bytes) -> bool:
  """Returns whether the first bytes are those of a zip archive."""
  return head.startswith(b'PK\x03\x04')


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
  """Returns what a file is that is not text, or None for text.

  Args:
    head: the first bytes of the file.
    encoding: encoding of text; UTF-16 and UTF-32 have zero bytes.
  """
  if len(head) < _SHORTEST:
    return None
  nuls = head.count(0)
  for magic, kind in _BINARIES.items():
    if head.startswith(magic) and (nuls or magic not in _TEXT_MAGIC):
      return kind
  if head[4:8] == b'ftyp':
    return 'an MP4 video'
  if head.startswith(b'RIFF') and head[8:12] in (b'WAVE', b'AVI ', b'WEBP'):
    return 'a recording or picture (RIFF)'
  if head[8:9] == b'{' and 0 < int.from_bytes(head[:8], 'little') < 1 << 30:
    return 'a safetensors file'
  wide = encoding.lower().replace('_', '-').startswith(('utf-16', 'utf-32', 'utf16', 'utf32'))
  if wide or nuls <= _MOST_NULS * len(head):
    return None
  even, odd = head[::2].count(0), head[1::2].count(0)
  if max(even, odd) > 0.3 * len(head) / 2 and min(even, odd) < 0.05 * len(head) / 2:
    order = 'le' if odd > even else 'be'
    return f"text in UTF-16 without a byte order mark (read it with encoding='utf-16-{order}')"
  return 'a binary file'


def guess_encoding(piece: bytes, start: int) -> str:
  """Returns advice on bytes that are not UTF-8, from the first wrong one.

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
  return ValueError(f'{path}: must be text, and is {kind}{about}')
