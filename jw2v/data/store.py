"""The store: an encoded corpus as a folder whose arrays stay on disk.

A store contains `vocabulary.txt`, `ids.npy`, `line_ends.npy`, `phrases.txt` if phrases were joined,
and `manifest.json`, which has the settings, the source files and a checksum of each file. This
module writes stores atomically, and opens and checks them.
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
_CHECKED = 1 << 22  # ids checked at once
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EncodedCorpus:
  """A corpus as word ids, without out-of-vocabulary words.

  Attributes:
    vocabulary: the words and their counts.
    ids: `[N]` int32 word ids, on disk.
    line_ends: `[lines]` int64 positions of line ends in `ids`, on disk, without empty lines.
    phrases: the joined phrases, or None.
    settings: settings of the encoding.
    words_read: number of words of the text, including out-of-vocabulary words.
    not_utf8: number of byte sequences of the text that were replaced or dropped.
    folder: folder of the store; None for a temporary corpus, which lives as long as this object.
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
  """Opens a store, even if the text that it was made from has changed or is missing.

  Args:
    folder: folder of the store, as written by `encode_corpus`.

  Returns:
    The corpus, whose ids stay on disk.

  Raises:
    FileNotFoundError: the folder does not exist or is not a store.
    ValueError: a file of the store is corrupted, or has another version of the format.
  """
  folder = expanded(folder)
  with _locked(folder):
    return _open(folder)


def _open(folder: pathlib.Path) -> EncodedCorpus:
  manifest = read_manifest(folder)
  if manifest is None:
    raise FileNotFoundError(f'{folder}: encoded corpus not found')
  if manifest['version'] != _VERSION:
    raise ValueError(f'{folder}: the format must be version {_VERSION}, got {manifest["version"]}')
  _check_manifest(manifest, folder)
  for name, expected in manifest['files'].items():
    if not (folder / name).is_file() or _describe(folder / name) != expected:
      raise damaged(folder / name, 'the checksum does not match')
  phrases = Phrases.load(folder / 'phrases.txt') if 'phrases.txt' in manifest['files'] else None
  vocabulary = Vocabulary.load(folder / 'vocabulary.txt')
  corpus = map_corpus(folder, vocabulary, phrases, manifest['about'])
  _check_arrays(corpus, folder)
  return corpus


def _check_manifest(manifest: dict[str, Any], folder: pathlib.Path) -> None:
  """Raises an error for a manifest with another structure, which can have a valid checksum."""
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
    raise damaged(folder / 'manifest.json', 'the manifest does not describe an encoded corpus')


def _check_arrays(corpus: EncodedCorpus, folder: pathlib.Path) -> None:
  """Raises an error for ids outside of the vocabulary, and for line ends that do not increase."""
  for start in range(0, len(corpus.ids), _CHECKED):
    ids = corpus.ids.read(start, min(start + _CHECKED, len(corpus.ids)))
    if ids.min() < 0 or ids.max() >= len(corpus.vocabulary):
      raise damaged(folder / 'ids.npy', f'an id after token {start} is outside of the vocabulary')
  last = 0
  for start in range(0, len(corpus.line_ends), _CHECKED):
    ends = corpus.line_ends.read(start, min(start + _CHECKED, len(corpus.line_ends)))
    if ends[0] <= last or (ends[1:] <= ends[:-1]).any() or ends[-1] > len(corpus.ids):
      raise damaged(folder / 'line_ends.npy', f'a line end after line {start} is out of order')
    last = ends[-1]


def map_corpus(
  folder: pathlib.Path, vocabulary: Vocabulary, phrases: Phrases | None, about: dict[str, Any]
) -> EncodedCorpus:
  """Maps the corpus whose ids and line ends are in a folder, without checking them.

  The corpus stays valid if the folder is renamed or replaced.
  """
  ids, line_ends = _map(folder / 'ids.npy', np.int32), _map(folder / 'line_ends.npy', np.int64)
  return EncodedCorpus(vocabulary, ids, line_ends, phrases, folder=folder, **about)


def _map(path: pathlib.Path, dtype: type) -> StoredArray:
  """Maps an array of one axis; `numpy.load` would also open archives with this name."""
  try:
    array = StoredArray.open(path)
  except OSError:
    raise
  except Exception as error:  # also errors from parsing Python literals and dtypes
    raise damaged(path, f'not an array: {shown(error)}') from error
  if array.dtype != dtype or array.ndim != 1:
    raise damaged(path, f'got {shown(array.dtype)} with {array.ndim} axes')
  return array


def damaged(path: pathlib.Path, reason: str) -> ValueError:
  """Returns the error for a corrupted file of a store."""
  return ValueError(f'{path}: corrupted ({reason}); remove {path.parent} to encode the text again')


def read_manifest(folder: pathlib.Path) -> dict[str, Any] | None:
  """Returns the manifest of a store; None if the folder is not a store or does not exist.

  Raises:
    ValueError: the manifest is corrupted.
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
    raise damaged(path, 'not a manifest') from error
  if not ours and not (folder / 'ids.npy').is_file():
    return None
  if checksum != digest(manifest):
    raise damaged(path, 'the checksum does not match')
  if not isinstance(manifest.get('files'), dict) or type(manifest.get('version')) is not int:
    raise damaged(path, 'the list of files is missing')
  return manifest


def find_store(
  folder: pathlib.Path, settings: dict[str, Any], files: Sequence[str]
) -> EncodedCorpus | None:
  """Opens the store in a folder if it has these source files and settings; otherwise None."""
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
  """Checks that a store can be written to a folder.

  Raises:
    FileExistsError: the path is a file, a nonempty folder that is not a store, or a store with
      additional files.
    NotADirectoryError: a parent of the path is a file.
    ValueError: the store in the folder has a corrupted or missing manifest.
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
      raise damaged(folder / 'manifest.json', 'file not found')
    raise FileExistsError(f'{folder}: exists and is not an encoded corpus; choose another folder')
  other = {path.name for path in folder.iterdir()} - {*manifest['files'], 'manifest.json'}
  if other:
    shown = ', '.join(sorted(other)[:3])
    raise FileExistsError(
      f'{folder}: a store must not contain other files, got {shown}; choose another folder'
    )


def _locked(folder: pathlib.Path) -> contextlib.AbstractContextManager[None]:
  """Locks the nearest existing parent, so that no other process opens or replaces the store."""
  return locked_folder(next(path for path in folder.absolute().parents if path.is_dir()))


@contextlib.contextmanager
def work_folder(folder: pathlib.Path | None) -> Iterator[pathlib.Path]:
  """Creates a temporary folder to write a store in, and removes it if an error occurs.

  The temporary folder is in the nearest existing parent of the store's folder, or in the system's
  folder for temporary files if the store has no folder.

  Raises:
    OSError: the disk is full; the message contains the folder.
  """
  if folder is None:
    parent, prefix = pathlib.Path(tempfile.gettempdir()), 'jw2v.'
  else:
    parent = next(path for path in folder.absolute().parents if path.is_dir())
    prefix = f'.{_short(folder.name)}.'
  with contextlib.ExitStack() as stack:
    with _locked(parent / 'x'):  # other processes see the new folder only after it is locked
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
        message = f'{os.strerror(error.errno)} (an encoded corpus needs 4 bytes per word)'
        raise OSError(error.errno, message, str(parent)) from error
      raise
    finally:
      if lock is not None:
        os.close(lock)


def _short(name: str) -> str:
  """Returns a name that is short enough for a file system after adding a suffix."""
  encoded = os.fsencode(name)
  return name if len(encoded) <= 200 else f'{name[:40]}~{hashlib.sha256(encoded).hexdigest()[:16]}'


def _remove_abandoned(parent: pathlib.Path, prefix: str, folder: pathlib.Path | None) -> None:
  """Removes temporary folders of killed runs, and restores the previous store."""
  for path in parent.iterdir():
    # Without another dot in between, so that a store `corpus` keeps the files of `corpus.old`.
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
  """Writes the manifest of a store whose other files are complete."""
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
  """Renames a finished store to its final name, and removes the previous store there.

  Raises:
    FileExistsError: another process has created a file or folder there in the meantime.
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
  """Removes a folder of mapped files, now or (on Windows) when the arrays are deleted."""
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
