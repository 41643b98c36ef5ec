"""Imports the packages of the extras when they are needed."""

from typing import Any


def import_pyarrow() -> Any:
  """Imports pyarrow, which splits and decompresses text.

  Raises:
    ImportError: pyarrow is not installed; the message names the extra that installs it.
  """
  try:
    import pyarrow
  except ImportError as error:
    raise ImportError("reading text needs pyarrow: pip install 'jw2v[text]'") from error
  return pyarrow
