"""The store: an encoded corpus as a folder whose arrays stay on the disk.

What belongs here: what is in the folder, how it is opened and checked, and how it comes
into its place whole. It has `vocabulary.txt`, `ids.npy`, `line_ends.npy`, `phrases.txt`
if any were joined, and `manifest.json`, which says what made it and has a checksum of
each file.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jw2v.data.phrases import Phrases
from jw2v.data.stored_array import StoredArray
from jw2v.data.text import PathLike, Source
from jw2v.data.vocabulary import Vocabulary
from jw2v.utils.files import (
  as_json,
  digest,
  expanded,
  move_folder,
  naming,
  partial_name,
  unfinished,
)
from jw2v.utils.limits import shown
from jw2v.utils.locks import locked_folder, try_lock_folder

_FORMAT, _VERSION = 'jw2v corpus', 1
_FILES = {'vocabulary.txt', 'ids.npy', 'line_ends.npy'}
_CHECKED = 1 << 22  # ids that are looked at at once
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EncodedCorpus:
  """A corpus as ids, words outside of the vocabulary left out.

  Attributes:
    vocabulary: the words behind the ids.
    ids: `[N]` int32, left in a file.
    line_ends: `[lines]` int64, where each line ends in `ids`, too; lines left empty are gone.
    phrases: those that were joined, if any.
    settings: what made it.
    words_read: words of the text, those left out included.
    not_utf8: byte sequences of the text that were replaced or left out.
    folder: the store; None for a corpus that is gone with this object.
  """

  vocabulary: Vocabulary
  ids: StoredArray
  line_ends: StoredArray
  phrases: Phrases | None
  settings: dict[str, Any]
  words_read: int
  not_utf8: int
  folder: pathlib.Path | None

  def __repr__(self) -> str:
    place = f' in {self.folder}' if self.folder is not None else ''
    return (
      f'<EncodedCorpus: {len(self.ids):,} words, {len(self.vocabulary):,} different ones, '
      f'{len(self.line_ends):,} lines{place}>'
    )


def open_corpus(folder: PathLike) -> EncodedCorpus:
  """Opens a store, whatever has become of the text that it was made of.

  Args:
    folder: the store, as `encode_corpus` wrote it.

  Returns:
    The corpus; its ids stay on disk.

  Raises:
    FileNotFoundError: the folder is not there, or is no store.
    ValueError: a file of the store is damaged, or of another version of the format.
  """
  folder = expanded(folder)
  with _locked(folder):
    return _open(folder)


def _open(folder: pathlib.Path) -> EncodedCorpus:
  manifest = read_manifest(folder)
  if manifest is None:
    raise FileNotFoundError(f'{folder}: there is no encoded corpus in it')
  if manifest['version'] != _VERSION:
    raise ValueError(f'{folder}: version {manifest["version"]} of the format, not {_VERSION}')
  _check_manifest(manifest, folder)
  for name, expected in manifest['files'].items():
    if not (folder / name).is_file() or _describe(folder / name) != expected:
      raise damaged(folder / name, 'it is not what was written')
  phrases = Phrases.load(folder / 'phrases.txt') if 'phrases.txt' in manifest['files'] else None
  vocabulary = Vocabulary.load(folder / 'vocabulary.txt')
  corpus = map_corpus(folder, vocabulary, phrases, manifest['about'])
  _check_arrays(corpus, folder)
  return corpus


def _check_manifest(manifest: dict[str, Any], folder: pathlib.Path) -> None:
  """Refuses one with another structure: a checksum is right whoever wrote it."""
  about, files = manifest.get('about'), manifest['files']
  known = files.keys() - {'phrases.txt'} == _FILES
  kinds = {'words_read': int, 'not_utf8': int, 'settings': dict}
  whole = isinstance(about, dict) and {k: type(v) for k, v in about.items()} == kinds
  names = {field.name for field in dataclasses.fields(Source)}
  sources = manifest.get('sources')
  listed = isinstance(sources, list) and all(
    isinstance(source, dict) and source.keys() == names for source in sources
  )
  if not (known and whole and listed):
    raise damaged(folder / 'manifest.json', 'it does not describe an encoded corpus')


def _check_arrays(corpus: EncodedCorpus, folder: pathlib.Path) -> None:
  """Refuses ids of no word, and lines that end before they begin or after the text."""
  for start in range(0, len(corpus.ids), _CHECKED):
    ids = corpus.ids.read(start, min(start + _CHECKED, len(corpus.ids)))
    if ids.min() < 0 or ids.max() >= len(corpus.vocabulary):
      raise damaged(folder / 'ids.npy', f'an id after token {start} is that of no word')
  last = 0
  for start in range(0, len(corpus.line_ends), _CHECKED):
    ends = corpus.line_ends.read(start, min(start + _CHECKED, len(corpus.line_ends)))
    if ends[0] <= last or (ends[1:] <= ends[:-1]).any() or ends[-1] > len(corpus.ids):
      raise damaged(folder / 'line_ends.npy', f'a line after line {start} ends where none can')
    last = ends[-1]


def map_corpus(
  folder: pathlib.Path, vocabulary: Vocabulary, phrases: Phrases | None, about: dict[str, Any]
) -> EncodedCorpus:
  """The corpus whose ids and line ends are in a folder; nothing is checked.

  It stays what it is when the folder is renamed or replaced.
  """
  ids, line_ends = _map(folder / 'ids.npy', np.int32), _map(folder / 'line_ends.npy', np.int64)
  return EncodedCorpus(vocabulary, ids, line_ends, phrases, folder=folder, **about)


def _map(path: pathlib.Path, dtype: type) -> StoredArray:
  """An array of one axis, mapped; `numpy.load` would open archives too, whatever the name."""
  try:
    array = StoredArray.open(path)
  except OSError:
    raise
  except Exception as error:  # of the reader of Python's literals, too, and of dtypes
    raise damaged(path, f'it is no array: {shown(error)}') from error
  if array.dtype != dtype or array.ndim != 1:
    raise damaged(path, f'it is {shown(array.dtype)} of {array.ndim} axes')
  return array


def damaged(path: pathlib.Path, reason: str) -> ValueError:
  """The error for a file of a store that cannot be used."""
  return ValueError(f'{path}: damaged, {reason}; remove {path.parent} to encode the text again')


def read_manifest(folder: pathlib.Path) -> dict[str, Any] | None:
  """The manifest of a store; None if the folder is none or is not there.

  Raises:
    ValueError: the manifest is damaged.
  """
  path = folder / 'manifest.json'
  if not path.is_file():
    return None
  try:
    with naming(path):
      manifest = json.loads(path.read_bytes())
    ours = manifest.get('format') == _FORMAT
    checksum = manifest.pop('sha256', None)
  except (ValueError, AttributeError, RecursionError) as error:
    if not (folder / 'ids.npy').is_file():  # somebody else's
      return None
    raise damaged(path, 'it is no manifest') from error
  if not ours and not (folder / 'ids.npy').is_file():
    return None
  if checksum != digest(manifest):
    raise damaged(path, 'it is not what was written')
  if not isinstance(manifest.get('files'), dict) or type(manifest.get('version')) is not int:
    raise damaged(path, 'it does not say what is in the folder')
  return manifest


def find_store(
  folder: pathlib.Path, settings: dict[str, Any], files: Sequence[str]
) -> EncodedCorpus | None:
  """The store in a folder if it was made of these files with these settings."""
  with _locked(folder):
    manifest = read_manifest(folder)
    if manifest is None or manifest['version'] != _VERSION:
      return None
    _check_manifest(manifest, folder)
    sources = [Source(**source) for source in manifest['sources']]
    if manifest['about']['settings'] != as_json(settings):
      return None
    if len(sources) != len(files) or not all(map(Source.is_same, sources, files)):
      return None
    return _open(folder)


def check_place(folder: pathlib.Path) -> None:
  """Refuses a place for a store where something else is.

  Raises:
    FileExistsError: there is a file, or a folder that is not empty and no store, or a
      store with other files in it.
    NotADirectoryError: the place is in a file.
    ValueError: there is a store with a damaged manifest, or without one.
  """
  above = next(path for path in folder.parents if path.exists())
  if not above.is_dir():
    raise NotADirectoryError(f'{folder}: {above} is a file')
  if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
    return
  manifest = read_manifest(folder) if folder.is_dir() else None
  if manifest is None:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if 'ids.npy' in names and names <= {*_FILES, 'phrases.txt'}:
      raise damaged(folder / 'manifest.json', 'it is gone')
    raise FileExistsError(f'{folder}: is there, and is no encoded corpus: name another folder')
  other = {path.name for path in folder.iterdir()} - {*manifest['files'], 'manifest.json'}
  if other:
    shown = ', '.join(sorted(other)[:3])
    raise FileExistsError(f'{folder}: has other files than an encoded corpus: {shown}')


def _locked(folder: pathlib.Path) -> contextlib.AbstractContextManager[None]:
  """Locks the nearest existing parent, so that no other process opens or replaces the store."""
  return locked_folder(next(path for path in folder.absolute().parents if path.is_dir()))


@contextlib.contextmanager
def work_folder(folder: pathlib.Path | None) -> Iterator[pathlib.Path]:
  """A folder to write a store in, which is gone if anything goes wrong.

  It is beside the place of the store, or in the nearest folder above that is there; and
  with the other temporary files if the store has no place.

  Raises:
    OSError: the disk is full, with the folder.
  """
  if folder is None:
    parent, prefix = pathlib.Path(tempfile.gettempdir()), 'jw2v.'
  else:
    parent = next(path for path in folder.absolute().parents if path.is_dir())
    prefix = f'.{_short(folder.name)}.'
  with contextlib.ExitStack() as stack:
    with _locked(parent / 'x'):  # nobody sees the new folder before it is locked
      _remove_abandoned(parent, prefix, folder)
      work = partial_name(parent, prefix)
      stack.enter_context(unfinished(work))  # before it exists, for a signal between the two
      work.mkdir(0o700 if folder is None else 0o777)
      lock = try_lock_folder(work)
    try:
      yield work
    except BaseException as error:
      shutil.rmtree(work, ignore_errors=True)
      if isinstance(error, OSError) and error.errno in _FULL:
        message = f'{os.strerror(error.errno)} (an encoded corpus takes 4 bytes a word)'
        raise OSError(error.errno, message, str(parent)) from error
      raise
    finally:
      if lock is not None:
        os.close(lock)


def _short(name: str) -> str:
  """Returns a name that a file system takes with some characters more."""
  encoded = os.fsencode(name)
  return name if len(encoded) <= 200 else f'{name[:40]}~{hashlib.sha256(encoded).hexdigest()[:16]}'


def _remove_abandoned(parent: pathlib.Path, prefix: str, folder: pathlib.Path | None) -> None:
  """Removes what runs that were killed have left of this store, and restores an older one."""
  for path in parent.iterdir():
    # One part between the two: a store `corpus` leaves those of `corpus.old` alone.
    if re.fullmatch(rf'{re.escape(prefix)}[^.]+\.partial(\.old)?', path.name):
      lock = try_lock_folder(path) if path.is_dir() else None
      if lock is None:
        continue
      if path.name.endswith('.old') and folder is not None and not folder.exists():
        move_folder(path, folder)
      else:
        shutil.rmtree(path, ignore_errors=True)
      os.close(lock)


def write_manifest(work: pathlib.Path, about: dict[str, Any], sources: Sequence[Source]) -> None:
  """Describes the files of a store that is written whole."""
  files = {path.name: _describe(path) for path in sorted(work.iterdir())}
  manifest = {
    'format': _FORMAT,
    'version': _VERSION,
    'about': as_json(about),
    'sources': [dataclasses.asdict(source) for source in sources],
    'files': files,
  }
  text = json.dumps({**manifest, 'sha256': digest(manifest)}, indent=2) + '\n'
  (work / 'manifest.json').write_text(text, encoding='utf-8')


def put_in_place(work: pathlib.Path, folder: pathlib.Path) -> None:
  """Renames a finished store to its name; an older one there is removed.

  Raises:
    FileExistsError: something else has come there in the meantime.
  """
  folder.parent.mkdir(parents=True, exist_ok=True)
  old = work.with_name(f'{work.name}.old')
  with _locked(folder):
    check_place(folder)
    if folder.is_dir():
      move_folder(folder, old)
    try:
      os.rename(work, folder)
    except BaseException:
      if old.exists():
        move_folder(old, folder)
      raise
    shutil.rmtree(old, ignore_errors=True)


def discard(work: pathlib.Path, encoded: EncodedCorpus) -> None:
  """Removes a folder whose files are mapped: now, or where that cannot be, in the end."""
  if os.name == 'posix':
    shutil.rmtree(work)
  else:
    weakref.finalize(encoded.ids, shutil.rmtree, work, ignore_errors=True)


def _describe(path: pathlib.Path) -> dict[str, Any]:
  with naming(path), open(path, 'rb') as file:
    return {
      'size': path.stat().st_size,
      'sha256': hashlib.file_digest(file, 'sha256').hexdigest(),
    }
