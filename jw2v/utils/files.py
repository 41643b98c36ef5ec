"""Files that are written whole or not at all, and their errors."""

import contextlib
import errno
import glob
import hashlib
import io
import json
import os
import pathlib
import secrets
import shutil
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from jw2v.utils.locks import try_lock, wait_for_lock

_UNFINISHED: set[str | os.PathLike[str]] = set()
_PARTIAL = '.partial'
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # not a failed write


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
  """Returns a path with a leading `~` or `~user` replaced by the home folder.

  A second call does not change the result, also for a path such as `./~`.

  Raises:
    TypeError: the path is something else, such as an open file.
    ValueError: the path contains NUL.
  """
  if not isinstance(path, str | bytes | os.PathLike):
    raise TypeError(
      f'a file must be named by its path, got {type(path).__name__}; write the content to a file '
      'and pass its name'
    )
  name = os.fsdecode(path)
  if '\0' in name:
    raise ValueError(f'a path must not contain NUL, got {name!r}')
  found = pathlib.Path(os.path.expanduser(name))
  return found.absolute() if str(found).startswith('~') else found


def check_output(path: str | os.PathLike[str]) -> pathlib.Path:
  """Checks that a file can be written under this name, without creating anything.

  Returns:
    The path; for a symbolic link, the path of its target.

  Raises:
    FileNotFoundError: the name is empty, or its folder does not exist.
    IsADirectoryError: the path is a folder.
    OSError: the path is a pipe or a device, which an atomic write would replace.
  """
  if path in ('', b''):
    raise FileNotFoundError('the name of the file to write must not be empty')
  path = expanded(path)
  path = pathlib.Path(os.path.realpath(path)) if path.is_symlink() else path
  if path.is_symlink():
    raise OSError(errno.ELOOP, 'is a symbolic link to itself', os.fspath(path))
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{path}: folder {path.parent} not found')
  if path.is_dir():
    raise IsADirectoryError(f'{path}: must be a file, got a folder; name a file in it')
  if path.exists() and not path.is_file():
    raise OSError(f'{path}: must be a file, got a pipe or device')
  return path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
  """Opens a file for writing that gets its name only after all of it is written.

  If the `with` block raises an error, the partial file is removed and an older file is unchanged.
  """
  path = check_output(path)
  with contextlib.ExitStack() as stack:
    with _named(path):
      handle, temporary = _make_partial(path, stack)
    lock = os.dup(handle)  # held until the rename, or another process would remove the file
    try:
      with io.BufferedWriter(_Output(handle, path), 1 << 16) as file:
        yield file
        with naming(path):
          file.flush()
          sync(handle)  # otherwise a power loss may keep the name and lose the bytes
      with contextlib.suppress(OSError):  # an older file keeps its permissions
        os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
      if os.name != 'posix':  # Windows cannot rename an open file
        os.close(lock)
      with _named(path):
        os.replace(temporary, path)
    except BaseException:
      with contextlib.suppress(OSError):
        os.unlink(temporary)
      raise
    finally:
      with contextlib.suppress(OSError):
        os.close(lock)


def sync(handle: int) -> None:
  """Waits until an open file is on disk; does nothing if the file system does not support it."""
  try:
    os.fsync(handle)
  except OSError as error:
    if error.errno not in _NO_SYNC:
      raise


def move_folder(source: pathlib.Path, target: pathlib.Path) -> None:
  """Renames a folder; copies it on file systems that cannot.

  The overlay of a container cannot rename a folder that is part of its image.
  """
  try:
    os.rename(source, target)
  except OSError as error:
    if error.errno != errno.EXDEV:
      raise
    try:
      shutil.copytree(source, target, symlinks=True)
    except BaseException:
      shutil.rmtree(target, ignore_errors=True)
      raise
    shutil.rmtree(source)


class _Output(io.FileIO):
  """An output file whose errors name its final path."""

  def __init__(self, handle, path):
    super().__init__(handle, 'wb')
    self._path = path

  def write(self, data):
    with naming(self._path):
      return super().write(data)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
  """Adds the name of a file to an `OSError` without one, such as the error of a full disk."""
  try:
    yield
  except OSError as error:
    if error.errno is None or error.filename is not None:
      raise
    raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
  """Replaces the name of a temporary file in an `OSError` by the name of the final file."""
  try:
    yield
  except OSError as error:
    if error.errno is None:
      raise
    raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error


def as_json(value: Any) -> Any:
  """Converts a value as a round trip through JSON would: tuples become lists."""
  return json.loads(json.dumps(value))


def digest(value: Any) -> str:
  """Returns the SHA-256 of a JSON value, independent of the order of its keys."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _make_partial(path: pathlib.Path, stack: contextlib.ExitStack) -> tuple[int, pathlib.Path]:
  """Creates and locks a temporary file beside `path`; removes files of killed processes.

  The file is registered as unfinished before it exists, so that a signal cannot arrive in between.
  """
  prefix = f'.{path.name[:40]}.'
  with contextlib.suppress(OSError):
    for other in path.parent.glob(f'{glob.escape(prefix)}*{_PARTIAL}'):
      handle = os.open(other, os.O_RDWR)
      try:
        if try_lock(handle):
          os.unlink(other)
      finally:
        os.close(handle)
  while True:
    temporary = partial_name(path.parent, prefix)
    stack.enter_context(unfinished(temporary))
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0)
    try:
      handle = os.open(temporary, flags, 0o666)
    except FileExistsError:
      continue
    wait_for_lock(handle)
    if temporary.exists():  # not removed by another process before it was locked
      return handle, temporary
    os.close(handle)


def partial_name(folder: pathlib.Path, prefix: str) -> pathlib.Path:
  """Returns a new name for a file or folder that is not finished."""
  return folder / f'{prefix}{secrets.token_hex(4)}{_PARTIAL}'


@contextlib.contextmanager
def kept_folder(folder: str | os.PathLike[str]) -> Iterator[None]:
  """Creates a folder if it is missing; removes it if the `with` block raises an error.

  Raises:
    FileNotFoundError: the parent folder does not exist.
    NotADirectoryError: the path is a file.
  """
  folder = pathlib.Path(folder)
  if not folder.absolute().parent.is_dir():
    raise FileNotFoundError(f'{folder}: folder {folder.absolute().parent} not found')
  if folder.exists() and not folder.is_dir():
    raise NotADirectoryError(f'{folder}: must be a folder, got a file')
  if folder.exists():
    yield
    return
  folder.mkdir()
  try:
    with unfinished(folder):
      yield
  except BaseException:
    folder.rmdir()
    raise


@contextlib.contextmanager
def unfinished(path: str | os.PathLike[str]) -> Iterator[None]:
  """Registers a file, empty folder or `.partial` folder with `remove_unfinished` meanwhile."""
  _UNFINISHED.add(path)
  try:
    yield
  finally:
    _UNFINISHED.discard(path)


def remove_unfinished() -> None:
  """Removes all partially written files, before the process ends after a signal."""
  for path in sorted(_UNFINISHED, key=os.fspath, reverse=True):  # files before their folder
    with contextlib.suppress(OSError):
      if os.fspath(path).endswith(_PARTIAL) and os.path.isdir(path):
        shutil.rmtree(path)
      else:
        (os.rmdir if os.path.isdir(path) else os.unlink)(path)
