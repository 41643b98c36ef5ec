"""Exclusive locks between processes, on files and folders.

The module uses `flock`: locks belong to an open file, so the system releases them when the process
ends for any reason. They are advisory, and do not need a lock file unless `lock_file` creates one.
Windows and some file systems do not support these locks. There, everything
below behaves as if no other process existed, except that `try_lock` returns False: a file that
might be in use by another process is not considered abandoned.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator

try:
  import fcntl
except ImportError:  # Windows
  fcntl = None  # type: ignore[assignment]


def try_lock(handle: int) -> bool:
  """Locks an open file if no other process has locked it.

  The lock lasts until the handle and its duplicates are closed.

  Returns:
    Whether this process holds the lock; False as well if the system has no locks.
  """
  if fcntl is None:
    return False
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:  # locked, or the file system has no locks
    return False
  return True


def wait_for_lock(handle: int) -> None:
  """Locks an open file, after waiting for other processes to release it."""
  if fcntl is not None:
    with contextlib.suppress(OSError):  # not every file system has locks
      fcntl.flock(handle, fcntl.LOCK_EX)


def try_lock_folder(folder: str | os.PathLike[str]) -> int | None:
  """Locks a folder if no other process has locked it.

  Returns:
    A handle to close in order to release the lock, or None if the folder is locked, cannot be
    opened, or cannot be locked.
  """
  if fcntl is None:
    return None
  try:
    handle = os.open(folder, os.O_RDONLY)
  except OSError:  # a folder of another user
    return None
  if not try_lock(handle):
    os.close(handle)
    return None
  return handle


@contextlib.contextmanager
def locked_folder(folder: str | os.PathLike[str]) -> Iterator[None]:
  """Locks an existing folder inside the `with` block; waits for other processes first."""
  handle = None
  if fcntl is not None:
    with contextlib.suppress(OSError):
      handle = os.open(folder, os.O_RDONLY)
      wait_for_lock(handle)
  try:
    yield
  finally:
    if handle is not None:
      os.close(handle)


@contextlib.contextmanager
def lock_file(path: str | os.PathLike[str]) -> Iterator[None]:
  """Creates and locks a file inside the `with` block, and removes it at the end.

  Raises:
    BlockingIOError: another process has locked the file.
    OSError: the file cannot be created.
  """
  path, handle = pathlib.Path(path), None
  while fcntl is not None and handle is None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      os.close(handle)
      raise BlockingIOError(f'{path}: locked by another process') from None
    except OSError:  # not every file system has locks
      break
    if not _is_at(handle, path):  # its last owner has removed it: other processes lock a new one
      os.close(handle)
      handle = None
  try:
    yield
  finally:
    if handle is not None:
      with contextlib.suppress(OSError):
        path.unlink()
      os.close(handle)


def _is_at(handle: int, path: pathlib.Path) -> bool:
  """Returns whether an open file still has this name."""
  try:
    return os.path.samestat(os.fstat(handle), os.stat(path))
  except FileNotFoundError:
    return False
