"""An array of the encoded corpus that stays in its file."""

import os
import pathlib
import weakref

import numpy as np

from jw2v.utils.files import naming


class StoredArray(np.memmap):
  """One-dimensional array that stays in its file: memory-mapped, and read in pieces by `read`.

  If a mapped page cannot be read, or the file has been truncated, the system kills the process
  that touches the page. Touched pages also count as memory of the process. `read` has neither
  problem: it raises an error, and returns an array in memory.
  """

  _handle: int | None = None  # None for a view of part of the array

  @classmethod
  def open(cls, path: str | os.PathLike[str]) -> 'StoredArray':
    """Opens a `.npy` file, which may be replaced or renamed while this array is in use.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file does not contain an array.
    """
    with naming(path):
      array = np.lib.format.open_memmap(path, mode='r').view(cls)
      if hasattr(os, 'pread'):
        array._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(array, os.close, array._handle)
    return array

  def read(self, start: int, end: int) -> np.ndarray:
    """Returns the elements from `start` to before `end`, in memory.

    Raises:
      OSError: the file cannot be read, or has been truncated.
    """
    if self._handle is None:
      return np.array(self[start:end])
    size, path = (end - start) * self.itemsize, pathlib.Path(str(self.filename))
    with naming(path):
      data = os.pread(self._handle, size, self.offset + start * self.itemsize)
    if len(data) < size:
      raise OSError(
        f'{path}: truncated to {os.fstat(self._handle).st_size:,} bytes during reading; remove '
        f'{path.parent} to encode the text again'
      )
    return np.frombuffer(data, self.dtype)
