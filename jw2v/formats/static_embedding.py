"""Folders that sentence-transformers opens as a model with one `StaticEmbedding` module.

The embedding of a text is the mean of the vectors of its words. The folder contains `modules.json`
and a folder `0_StaticEmbedding` with `model.safetensors` and `tokenizer.json`.

The tokenizer yields whole words only. It is a BPE model without merges and without an unknown
token, because such a model drops unknown tokens, whereas a WordLevel model must count
unknown words in the mean. A mark before each word keeps the model from using single letters.
"""

import contextlib
import json
import pathlib
from typing import Any

from jw2v.formats.safetensors import TensorFile, write_tensors
from jw2v.formats.table import VectorTable
from jw2v.utils.files import atomic_write, kept_folder
from jw2v.utils.limits import shown

MODULES = 'modules.json'
_FOLDER = '0_StaticEmbedding'
_KINDS = {'embedding.weight': ('F32', 2)}
_MARK = '\u2581'  # not a letter, so no word of a text contains it
# The words of `jw2v.text_vectors`. Other than in Python, \w of this tokenizer includes accents that
# are characters of their own.
_WORD = "[\\p{L}\\p{N}]+(?:['\u2019][\\p{L}\\p{N}]+)*"
# Python writes a sigma at the end of a word in another way than the tokenizer's lower case.
_FINAL_SIGMA = '(?<=\\p{Cased})\u03a3(?!\\p{Case_Ignorable}*\\p{Cased})'
_LONGEST_JSON = 1 << 30  # bytes


def write_static_embedding(folder: pathlib.Path, table: VectorTable) -> None:
  """Writes the three files, each atomically, and creates the folders if they are missing.

  The tokenizer lower-cases texts if all words are lower case.

  Raises:
    OSError: the parent folder is missing, or not writable.
  """
  place = folder / _FOLDER
  lowercase = all(word == word.lower() for word in table.words)
  with contextlib.ExitStack() as stack:  # the list of modules, opened first, is renamed last
    for path in (folder, place):
      stack.enter_context(kept_folder(path))
    modules, tokenizer, tensors = (
      stack.enter_context(atomic_write(path))
      for path in (folder / MODULES, place / 'tokenizer.json', place / 'model.safetensors')
    )
    write_tensors(tensors, {'embedding.weight': table.vectors}, _KINDS, {'format': 'pt'})
    encoder = json.JSONEncoder(ensure_ascii=False)
    for part in encoder.iterencode(_tokenizer(table.words, lowercase)):
      tokenizer.write(part.encode())
    kind = 'sentence_transformers.models.StaticEmbedding'
    modules.write(encoder.encode([{'idx': 0, 'name': '0', 'path': _FOLDER, 'type': kind}]).encode())


def _tokenizer(words: list[str], lowercase: bool) -> dict[str, Any]:
  normalizers = [
    {'type': 'Replace', 'pattern': {'Regex': _FINAL_SIGMA}, 'content': '\u03c2'},
    {'type': 'Lowercase'},
  ]
  split = {'type': 'Split', 'pattern': {'Regex': _WORD}, 'behavior': 'Removed', 'invert': True}
  mark = {
    'type': 'Metaspace', 'replacement': _MARK, 'prepend_scheme': 'always', 'split': False
  }  # fmt: skip
  return {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': [],
    'normalizer': {'type': 'Sequence', 'normalizers': normalizers} if lowercase else None,
    'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [split, mark]},
    'post_processor': None,
    'decoder': None,
    'model': {
      'type': 'BPE',
      'unk_token': None,
      'ignore_merges': True,
      'vocab': {_MARK + word: row for row, word in enumerate(words)},
      'merges': [],
    },
  }


def read_static_embedding(folder: pathlib.Path, limit: int | None = None) -> VectorTable:
  """Reads the words and vectors of a model, also if another tokenizer splits texts into them.

  The vectors are memory-mapped.

  Args:
    folder: contains `modules.json`.
    limit: maximum number of words to return, from the start.

  Raises:
    OSError: a file is missing.
    ValueError: a file is corrupted, the first module is not a `StaticEmbedding` in the folder, or
      its tokenizer does not have one word for each vector.
  """
  modules = _read_json(folder / MODULES)
  first = modules[0] if isinstance(modules, list) and modules else None
  first = first if isinstance(first, dict) else {}
  kind, name = first.get('type'), first.get('path')
  if not isinstance(kind, str) or kind.rpartition('.')[2] != 'StaticEmbedding':
    raise ValueError(f'{MODULES} must start with a StaticEmbedding, got {shown(kind)}')
  place = folder / name if isinstance(name, str) and '\0' not in name else None
  if place is None or not place.resolve().is_relative_to(folder.resolve()):
    raise ValueError(f'{MODULES} must name a folder in the folder, got {shown(repr(name))}')
  vectors = TensorFile(place / 'model.safetensors', _KINDS).map('embedding.weight')
  tokenizer = _read_json(place / 'tokenizer.json')
  model = tokenizer.get('model') if isinstance(tokenizer, dict) else None
  ids = model.get('vocab') if isinstance(model, dict) else None
  if not isinstance(ids, dict) or len(ids) != len(vectors):
    count = len(ids) if isinstance(ids, dict) else 'no'
    raise ValueError(f'tokenizer.json must have {len(vectors)} words with ids, got {count}')
  words: list[str] = [''] * len(ids)
  for word, row in ids.items():
    if type(row) is not int or not 0 <= row < len(words) or words[row]:
      raise ValueError(f'the id of {shown(repr(word))} must be unique, got {shown(row)}')
    words[row] = word
  if all(word.startswith(_MARK) for word in words):
    words = [word[1:] for word in words]
  if '' in words:
    raise ValueError(f'row {words.index("") + 1} must have a word')
  return VectorTable(words[:limit], vectors[:limit])


def _read_json(path: pathlib.Path) -> Any:
  with open(path, 'rb') as file:
    text = file.read(_LONGEST_JSON)
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path.name} is not JSON: {shown(error)}') from error
