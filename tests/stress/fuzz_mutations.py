"""Mutations for the fuzzer: damage and forge valid files.

Contains mutations of bytes, text, numbers and JSON, and of wrapped data. The content of a
compressed file, an archive, or a header with a length is unwrapped, mutated and wrapped again,
because otherwise the fuzzer would test only the checksum.
"""

import bz2
import gzip
import io
import json
import lzma
import random
import re
import struct
import zipfile
from typing import Any

import pyarrow

Case = dict[str, bytes]  # the files of a case, by their names in its folder

LARGEST = 1 << 20  # maximum bytes of a mutated file
_LONG = 100_000  # characters of one that is made long
_BOMB = 5 << 18  # bytes of what is compressed
_NUMBERS = [
  b'0', b'-1', b'1', b'2', b'+5', b'00', b'1_0', b'0x10', b'1e5', b'NaN', b'inf', b'-inf', b'1e999',
  b'1e-999', b'1e39', b'-0', b'.', b'e5', b'', b'1.5', b'1,5', b'127', b'255', b'65536',
  b'2147483647', b'2147483648', b'4294967296', b'9223372036854775807', b'9223372036854775808',
  b'18446744073709551616', b'-9223372036854775809', b'1' + b'0' * 30, b'9' * 5000, '٣'.encode(),
]  # fmt: skip
_ODD = [
  b'', b' ', b'  ', b'\t', b'\n', b'\n\n', b'\r', b'\r\n', b'\v', b'\f', b'\0', b'"', b"'", b'\\',
  b',', b':', b'#', b'-', b'\xff', b'\xc3', b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'\xef\xbb\xbf',
  '\u00a0'.encode(), '\u0085'.encode(), '\u2028'.encode(), '\u200b'.encode(), b'..', b'../x', b'/',
  b'\x1f\x8b', b'PK\x03\x04', b'\x80\x04', b'\x93NUMPY', b'{', b'[', b'(', b'</s>', b': ',
]  # fmt: skip
_VALUES = [
  None, True, False, 0, -1, 1, 2, 3, 1.5, -0.0, 1e308, float('nan'), float('inf'), 2**31, 2**53,
  2**62, 2**63, 2**64, -(2**63) - 1, 10**30, '', 'a', 'x' * 1000, '../x', '/', '\0', '\ud800', '1',
  [], [[]], [0], [1, 2], [0, 2**61], {}, {'a': 1}, 'F64', 'I64', 'U8', '<f4', '|O', 'float32',
]  # fmt: skip
_WRAPPED = {
  '.gz': (gzip.decompress, lambda data: gzip.compress(data, 1, mtime=0)),
  '.bz2': (bz2.decompress, lambda data: bz2.compress(data, 1)),
  '.xz': (lzma.decompress, lambda data: lzma.compress(data, preset=0)),
  '.zst': (
    lambda data: pyarrow.CompressedInputStream(pyarrow.BufferReader(data), 'zstd').read(),
    lambda data: pyarrow.Codec('zstd').compress(data, asbytes=True),
  ),
}


def mutated(case: Case, pool: list[Case], draw: random.Random) -> Case:
  """Returns a case with one to four mutations in one or two of its files.

  Args:
    case: files to mutate; unchanged.
    pool: other cases, to splice with.
    draw: source of all randomness.
  """
  case = dict(case)
  others = [data for other in pool for data in other.values()]
  for _ in range(draw.choice((1, 1, 2))):
    name = draw.choice(sorted(case))
    if len(case) > 1 and draw.random() < 0.02:
      del case[name]
      continue
    for _ in range(draw.choice((1, 1, 2, 3))):
      case[name] = _of_file(name, case[name], others, draw)[:LARGEST]
  return case


def _of_file(name: str, data: bytes, others: list[bytes], draw: random.Random) -> bytes:
  """Mutates a file by its kind, or, one time in eight, as bytes."""
  stem, dot, ending = name.rpartition('.')
  if draw.random() < 0.125:
    return _of_bytes(data, others, draw)
  try:
    if dot + ending in _WRAPPED:
      unwrap, wrap = _WRAPPED[dot + ending]
      inner = _of_file(stem, unwrap(data), others, draw)
      if len(inner) < _BOMB and draw.random() < 0.02:  # a bomb
        start, end = _span(inner, draw)
        inner += ((inner[start:end] or b'\0') * _BOMB)[:_BOMB]
      return b''.join(wrap(part) for part in _parts(inner, draw))
    if ending == 'npz':
      return _of_archive(data, others, draw)
    if data.startswith(b'\x93NUMPY'):
      return _of_npy(data, others, draw)
    if ending == 'safetensors':
      return _of_safetensors(data, others, draw)
    if data[:1] in (b'{', b'[') and data.count(b'\n{') == 0:
      return _of_json(data, draw)
  except Exception:  # a wrapping that was mutated before
    return _of_bytes(data, others, draw)
  control = sum(byte < 9 or 13 < byte < 32 for byte in data[:400])
  if control > 4 or len(data) > LARGEST or draw.random() < 0.1:
    return _of_bytes(data, others, draw)
  return _of_text(data, others, draw)


def _parts(data: bytes, draw: random.Random) -> list[bytes]:
  """Returns the data in one piece or, rarely, in two, as consecutive streams."""
  cut = draw.randrange(len(data) + 1) if draw.random() < 0.1 else len(data)
  return [data[:cut], data[cut:]] if cut < len(data) else [data]


def _span(data: bytes, draw: random.Random, longest: int = 64) -> tuple[int, int]:
  start = draw.randrange(len(data) + 1)
  return start, min(len(data), start + draw.randrange(1, longest))


def _of_bytes(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
  start, end = _span(data, draw, draw.choice((3, 16, 256)))
  choice = draw.randrange(9)
  if choice == 0:  # flipped bits
    flipped = bytearray(data)
    for _ in range(draw.randrange(1, 5)):
      if flipped:
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    return bytes(flipped)
  if choice == 1:  # cut short
    return data[:start]
  if choice == 2:  # a part is missing
    return data[:start] + data[end:]
  if choice == 3:  # a part is repeated
    times = draw.choice((1, 2, 10, 1000, _LONG))
    return data[:end] + (data[start:end] * times)[:_LONG] + data[end:]
  if choice == 4:  # a part is replaced
    other = draw.choice(others)
    a, b = _span(other, draw, 256)
    return data[:start] + other[a:b] + data[end:]
  if choice == 5:
    return data[:start] + draw.randbytes(end - start) + data[end:]
  if choice == 6:  # the end of another file
    other = draw.choice(others)
    return data[:start] + other[draw.randrange(len(other) + 1) :]
  if choice == 7:
    return data[:start] + draw.choice(_ODD) + data[end:]
  layout = draw.choice('<b <h <i <q <f <d'.split())  # a number of a binary format
  return data[:start] + _packed(layout, draw) + data[start + struct.calcsize(layout) :]


def _packed(layout: str, draw: random.Random) -> bytes:
  if layout in ('<f', '<d'):
    return struct.pack(layout, draw.choice((0.0, -1.0, float('nan'), float('inf'), 3e38)))
  bits = 8 * struct.calcsize(layout)
  values = (0, 1, -1, 2, 3, 100, 1 << (bits - 2), (1 << (bits - 1)) - 1, -1 << (bits - 1))
  return struct.pack(layout, min(max(draw.choice(values), -1 << (bits - 1)), (1 << (bits - 1)) - 1))


def _of_text(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
  choice = draw.randrange(10)
  pieces = re.split(rb'(\s)', data) if choice < 6 else data.split(b'\n')
  at = draw.randrange(len(pieces))
  if choice == 0:
    numbers = [i for i, piece in enumerate(pieces) if re.fullmatch(rb'[-+.\de]+', piece)]
    at = draw.choice(numbers) if numbers else at
    pieces[at] = draw.choice(_NUMBERS)
  elif choice in (1, 7):
    pieces[at] = draw.choice(_ODD)
  elif choice == 2:
    cut = draw.randrange(len(pieces[at]) + 1)
    pieces[at] = pieces[at][:cut] + draw.choice(_ODD) + pieces[at][cut:]
  elif choice == 3:  # something very long, or very deep
    unit = draw.choice((pieces[at], b'1', b'9.', b'a', b' ', b'\n', b'1 ', b'[', b'(', b'{"a":'))
    size = draw.choice((300, 10_000, _LONG))
    pieces[at] = (unit * (size // max(len(unit), 1) + 1))[:size] + draw.choice((b'', b'x', b'"'))
  elif choice in (4, 6):
    del pieces[at]
  elif choice == 5:
    pieces[at] = draw.choice(pieces)
  elif choice == 8:
    pieces.insert(at, draw.choice(pieces))
  else:
    pieces.insert(at, draw.choice(draw.choice(others).split(b'\n')))
  return (b'' if choice < 6 else b'\n').join(pieces)


def _of_json(data: bytes, draw: random.Random) -> bytes:
  """Replaces, drops, renames or moves a value, or mutates the text."""
  if draw.random() < 0.2:
    return _of_text(data, [data], draw)
  value = json.loads(data)
  places: list[tuple[Any, Any]] = []

  def visit(found):
    keys = found if isinstance(found, dict) else range(len(found))
    for key in list(keys):
      places.append((found, key))
      if isinstance(found[key], (dict, list)):
        visit(found[key])

  visit(value)
  if not places:
    return json.dumps(draw.choice(_VALUES)).encode()
  place, key = draw.choice(places)
  choice = draw.randrange(6)
  if choice == 0:
    del place[key]
  elif choice == 1 and isinstance(place, dict):
    place[draw.choice(('', 'a', '..', '../x', '/x', key + 'x'))] = place.pop(key)
  elif choice == 2:
    other, other_key = draw.choice(places)
    if other_key in other if isinstance(other, dict) else other_key < len(other):
      place[key] = json.loads(json.dumps(other[other_key]))
  elif choice == 3 and isinstance(place[key], int):
    place[key] += draw.choice((-1, 1, 4, 1 << 31, -place[key]))
  else:
    place[key] = draw.choice(_VALUES)
  text = json.dumps(value).encode()
  if draw.random() < 0.03:
    text = text.replace(b'1', draw.choice((b'[' * 100_000, b'1' * 5000, b'1e999')), 1)
  return text


def _of_npy(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
  """Mutates the header, which is Python text with a length, or the data after it."""
  length = struct.unpack_from('<H', data, 8)[0]
  header, rest = data[10 : 10 + length], data[10 + length :]
  choice = draw.randrange(3)
  if choice == 0:
    rest = _of_bytes(rest, others, draw)
  elif choice == 1:
    header = _of_text(header, others, draw)
  else:
    field = draw.choice((rb"'[<|>=][a-z]\d+'", rb'\([\d, ]*\)', rb'False', rb'\d+'))
    lies = [
      b"'|O'", b"'<f8'", b"'>f4'", b"'<i4'", b"'<M8[s]'", b"[('a', '<f4')]", b"('<f4',)", b'[1]',
      b'()', b'(0,)', b'(-1, 2)', b'(1, 2, 3)', b'(10000000000, 100)', b'(True, 2)', b'(1.5,)',
      b'{}', b'(1' + b'0' * 30 + b',)', b'(' * 300, b'-' * 4000, b'True', b"__import__('os')",
      b'{[]: 1}',
    ]  # fmt: skip
    header = re.sub(field, lambda _: draw.choice(lies), header, count=1)
  header = header[:65535]
  return data[:8] + struct.pack('<H', len(header)) + header + rest


def _of_archive(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
  with zipfile.ZipFile(io.BytesIO(data)) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  name = draw.choice(sorted(members))
  if draw.random() < 0.1:
    members[draw.choice(('../x.npy', 'x', name + 'x'))] = members.pop(name)
  else:
    members[name] = _of_file(name, members[name], others, draw)
  packed = io.BytesIO()
  methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
  with zipfile.ZipFile(packed, 'w', draw.choice(methods)) as archive:
    for name, member in members.items():
      archive.writestr(name, member)
  return packed.getvalue()


def _of_safetensors(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
  length = int.from_bytes(data[:8], 'little')
  header, rest = data[8 : 8 + length], data[8 + length :]
  if draw.random() < 0.7:
    header = _of_json(header, draw)
  else:
    rest = _of_bytes(rest, others, draw)
  return len(header).to_bytes(8, 'little') + header + rest
