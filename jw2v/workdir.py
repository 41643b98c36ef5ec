"""The folder of a run.

What belongs here: what a run leaves in its folder, and the refusal, before it starts, of
a folder that cannot be written to.
"""

import json
import os
import pathlib
from typing import Any

from jw2v.files import atomic_write
from jw2v.formats import save_vectors
from jw2v.vectors import KeyedVectors


def check_workdir(workdir: pathlib.Path) -> None:
  """Refuses a workdir that could not be made or written to; makes nothing yet.

  Raises:
    NotADirectoryError: it is a file, or in one.
    PermissionError: it, or the folder that it would be made in, cannot be written to.
  """
  existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
  if not existing.is_dir():
    raise NotADirectoryError(f'workdir={str(workdir)!r}: {existing} is a file: name a folder')
  if not os.access(existing, os.W_OK | os.X_OK):
    raise PermissionError(f'workdir={str(workdir)!r}: no permission to write in {existing}')


def write_workdir(
  workdir: pathlib.Path,
  config: dict[str, Any],
  vectors: KeyedVectors,
  history: list[dict[str, Any]],
) -> None:
  """Writes `vectors.txt`, `config.json` and `metrics.jsonl`, each whole or not at all."""
  texts = {
    'config.json': json.dumps(config, indent=2) + '\n',
    'metrics.jsonl': ''.join(json.dumps(record) + '\n' for record in history),
  }
  workdir.mkdir(parents=True, exist_ok=True)
  save_vectors(vectors, workdir / 'vectors.txt')
  for name, text in texts.items():
    with atomic_write(workdir / name) as file:
      file.write(text.encode())
