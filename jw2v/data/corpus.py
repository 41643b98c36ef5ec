"""Encoding: from a corpus of any kind to ids, in constant memory.

`encode_corpus` reads the text once, selects the vocabulary and renumbers the words. `tokens.py`
defines what a word is, and `store.py` keeps the result as a folder.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from absl import logging

from jw2v.data import store
from jw2v.data.columns import add_column, is_column
from jw2v.data.phrases import PhraseConfig, Phrases, find_and_join, join
from jw2v.data.store import EncodedCorpus
from jw2v.data.text import (
  IS_PATH,
  PathLike,
  TextReader,
  files_of_folders,
  find_files,
  total_size,
)
from jw2v.data.tokens import NumberedText, TextConfig, number_text, text_config
from jw2v.data.vocabulary import Vocabulary, select_words
from jw2v.utils.checks import check_number
from jw2v.utils.files import expanded
from jw2v.utils.limits import shown
from jw2v.utils.progress_bar import progress_bar

_SHORT = 1.0  # seconds; shorter work shows no bar

Corpus = PathLike | Sequence[PathLike] | Iterable[Sequence[str]]


def encode_corpus(
  corpus: Corpus,
  folder: PathLike | None = None,
  *,
  text: TextConfig | str | None = None,
  min_count: int = 5,
  max_vocab_size: int | None = None,
  reserved: Sequence[str] = (),
  vocabulary: Vocabulary | None = None,
  known: Vocabulary | None = None,
  keep_known: bool = True,
  phrases: Phrases | PhraseConfig | None = None,
  replace: bool = True,
  progress: bool = False,
) -> EncodedCorpus:
  """Counts the words of a corpus and converts them to ids, in one pass over the text.

  Memory grows with the number of distinct words (about 200 bytes each), not with the length of
  the text. Finding phrases requires up to 4 GB more. Without a folder, the ids (4 bytes per word)
  are in a temporary file. With a folder, the function writes a store there. If the folder already
  contains a store of the same files and settings, the function opens it and does not read the
  text. It replaces any other store.

  Args:
    corpus: a path, a list of paths (see `jw2v.data.text.find_files`; '-' is standard input),
      an iterable of lists of words, one for a line, or a column of pandas, polars, pyarrow or
      Hugging Face datasets with strings or lists of words. Each string is a document with a line
      or more; missing values are skipped.
    folder: folder of the store; None for a temporary file.
    text: settings for reading and splitting paths and strings: 'words' (lower case, letters and
      digits; the default), 'whitespace', or a `TextConfig`. None for lists of words.
    min_count: minimum number of occurrences of a word.
    max_vocab_size: maximum number of words, the most frequent ones; None for no limit.
    reserved: words to keep regardless of their counts; they receive the first ids.
    vocabulary: vocabulary to use instead of the words and counts of the corpus; the other
      settings of the vocabulary do not apply.
    known: vocabulary of an earlier corpus, whose counts are added.
    keep_known: True to keep known words regardless of their counts.
    phrases: phrases to join, or settings for finding them in this corpus. Phrases follow other
      words with the same count.
    replace: True to replace a store of another text or with other settings; False raises an error.
    progress: True to show a progress bar on standard error while reading files.

  Returns:
    The encoded corpus.

  Raises:
    FileExistsError: the folder exists and is not a store.
    FileNotFoundError: a path does not exist.
    OSError: a file changed while it was read, or the disk is full.
    TypeError: a line is not a list of words, the corpus is a data frame instead of a column, or a
      setting has the wrong type.
    ValueError: the folder is inside a folder of the text; settings contradict each other; a file
      is not UTF-8 or its compression is corrupted; the text is empty; no word reaches
      `min_count`; no line has two words that do; or the store is corrupted.
    ImportError: reading text requires the extra `text`.
  """
  min_count = check_number('min_count', min_count, int, 1)
  if max_vocab_size is not None:
    max_vocab_size = check_number('max_vocab_size', max_vocab_size, int, 1)
  if isinstance(reserved, str) or not all(isinstance(word, str) for word in reserved):
    raise TypeError(f'reserved must be a list of words, got {shown(repr(reserved))}')
  for setting, value in (('vocabulary', vocabulary), ('known', known)):
    if not isinstance(value, Vocabulary | None):
      raise TypeError(f'{setting} must be a Vocabulary, got {shown(repr(value))}')
  if not isinstance(phrases, Phrases | PhraseConfig | None):
    raise TypeError(f'phrases must be Phrases or a PhraseConfig, got {shown(repr(phrases))}')
  if vocabulary is not None and (known is not None or len(reserved)):
    raise ValueError('known and reserved must not be given with a vocabulary; leave them out')
  if vocabulary is not None and isinstance(phrases, PhraseConfig):
    raise ValueError(
      'phrases must be Phrases if a vocabulary is given, got a PhraseConfig; find the phrases with '
      'learn_phrases'
    )
  config = _text_config(text, corpus)
  files, name = _files_of(corpus, config.exclude)
  counted = vocabulary is None
  settings = {
    **(config.settings() if files or is_column(corpus) else {}),
    'min_count': min_count if counted else None,
    'max_vocab_size': max_vocab_size if counted else None,
    'reserved': list(map(str, reserved)),
    'vocabulary': _digest_of(vocabulary),
    'known': _digest_of(known),
    'keep_known': bool(keep_known) if known is not None else None,
    'phrases': phrases.settings() if phrases is not None else None,
  }
  folder = expanded(folder).resolve() if folder is not None else None
  if folder is not None:
    store.check_place(folder)
    _check_apart(folder, cast(PathLike | Sequence[PathLike], corpus) if files else ())
    comparable = config.tokenizer is None or config.tokenizer_name is not None
    if files and comparable and (found := store.find_store(folder, settings, files)):
      return found
    if not replace and store.read_manifest(folder) is not None:
      raise ValueError(
        f'{folder}: the text and the settings for reading it must match the checkpoints, got '
        'different ones; choose another folder, or start again with restart'
      )
  with store.work_folder(folder) as work:
    numbered, reader = _number(corpus, files, name, text, work, progress)
    about = {'words_read': numbered.num_tokens, 'not_utf8': reader.not_utf8, 'settings': settings}
    if isinstance(phrases, PhraseConfig):
      phrases = find_and_join(numbered, phrases, reserved)
    elif phrases is not None:
      join(numbered, phrases)
    try:
      if vocabulary is None:
        vocabulary, new_ids = select_words(
          numbered.words, numbered.counts, min_count=min_count, max_size=max_vocab_size,
          reserved=reserved, known=known, keep_known=keep_known,
        )  # fmt: skip
      else:
        new_ids = np.array([vocabulary.index.get(w, -1) for w in numbered.words], np.int32)
      longest = _renumber(numbered, new_ids)
    except ValueError as error:
      raise ValueError(f'{name}: {error}') from error
    if longest < 2:
      which = f'that occur min_count={min_count} times' if counted else 'of the vocabulary'
      remedy = (
        'decrease min_count' if counted and min_count > 1 else 'write several words in a line'
      )
      raise ValueError(f'{name}: no line has two words {which}; {remedy}')
    numbered.finish()
    if folder is None:
      encoded = store.map_corpus(work, vocabulary, phrases, about)
      store.discard(work, encoded)
      return dataclasses.replace(encoded, folder=None)
    vocabulary.save(work / 'vocabulary.txt')
    if phrases is not None:
      phrases.save(work / 'phrases.txt')
    store.write_manifest(work, about, reader.sources)
    encoded = store.map_corpus(work, vocabulary, phrases, about)  # another may replace it at once
    store.put_in_place(work, folder)
    array: Any  # memory maps of NumPy contain the name of their file
    for array in (encoded.ids, encoded.line_ends):  # for errors: they were mapped in `work`
      array.filename = folder / array.filename.name
  return dataclasses.replace(encoded, folder=folder)


def learn_phrases(
  corpus: Corpus, config: PhraseConfig = PhraseConfig(), *, text: TextConfig | str | None = None
) -> Phrases:
  """Finds the phrases of a corpus, to join them in this or another text.

  Args:
    corpus: a path, a list of paths, an iterable of lists of words, or a column, as in
      `encode_corpus`.
    config: settings for finding phrases.
    text: settings for reading and splitting paths and strings, as for `encode_corpus`.

  Returns:
    The phrases.

  Raises:
    FileNotFoundError: a path does not exist.
    OSError: a file changed while it was read, or the disk is full.
    TypeError: a line is not a list of words.
    ValueError: a file is not UTF-8 or its compression is corrupted, or the text is empty.
    ImportError: reading text requires the extra `text`.
  """
  reading = _text_config(text, corpus)
  files, name = _files_of(corpus, reading.exclude)
  with store.work_folder(None) as work:
    numbered, _ = _number(corpus, files, name, text, work)
    phrases = find_and_join(numbered, config)
    shutil.rmtree(work)
  return phrases


def _number(corpus, files, name, text, work, progress=False) -> tuple[NumberedText, TextReader]:
  """Returns the words of a corpus, numbered in files in `work`."""
  config = _text_config(text, corpus)
  numbered = NumberedText(work)
  with contextlib.ExitStack() as stack:
    on_read = lambda size: None
    if files and progress:
      bar = progress_bar(total_size(files), 'B', 'reading', _SHORT)
      on_read = stack.enter_context(bar).update
    reader = TextReader(
      files, config.errors, on_read, config.max_expansion,
      encoding=config.encoding, field=config.field, exclude=config.exclude,
      may_skip=files_of_folders(corpus, config.exclude) if files else (),
    )  # fmt: skip
    if files:
      number_text(reader, config, numbered)
    elif is_column(corpus):
      add_column(corpus, name, config, numbered, is_given=text is not None)
    else:
      numbered.add_lines(corpus, name)
  if reader.skipped:
    some = ', '.join(f'{shown(path)} ({kind})' for path, kind in reader.skipped[:3])
    logging.warning(
      '%s: skipped %d files that are not text: %s%s',
      name, len(reader.skipped), some, ', ...' * (len(reader.skipped) > 3),
    )  # fmt: skip
  if reader.rows_skipped:
    logging.warning('%s: skipped %d rows without text in the field', name, reader.rows_skipped)
  if not numbered.num_tokens:
    raise _no_words(name, reader, config)
  if reader.not_utf8:
    valid = config.encoding.upper()
    logging.warning('%s: %d byte sequences were not %s', name, reader.not_utf8, valid)
  return numbered, reader


def _text_config(text: TextConfig | str | None, corpus: Corpus) -> TextConfig:
  """Returns the settings for reading a corpus; raises an error if they cannot apply."""
  if text is not None and not has_text(corpus):
    raise ValueError(f'text must be None for lists of words, got {shown(repr(text))}; leave it out')
  return text_config('words' if text is None else text)


def _no_words(name: str, reader: TextReader, config: TextConfig) -> ValueError:
  """Returns the error for a corpus without words; it lists what was read and skipped."""
  size = sum(source.size for source in reader.sources)
  read = [f'read {size:,} bytes'] if reader.sources else []
  if reader.skipped:
    read.append(f'skipped {len(reader.skipped)} files that are not text')
  if reader.rows_skipped:
    read.append(f'skipped {reader.rows_skipped} rows without text in the field {config.field!r}')
  if config.split == 'words' and len(read) == 1 and size:
    read.append("kept only letters and digits; text='whitespace' keeps everything")
  return ValueError(f'{name}: no words found{"; " if read else ""}{", ".join(read)}')


def _renumber(numbered: NumberedText, new_ids: np.ndarray) -> int:
  """Replaces numbers by new ids, dropping those with id -1; returns the longest line in words."""
  longest = unfinished = 0  # words of the longest line, and since the last line end

  def renumbered():
    nonlocal longest, unfinished
    for tokens, line_ends in numbered.chunks():
      ids = new_ids[tokens]
      kept = ids >= 0
      ids = ids[kept]
      line_ends = np.concatenate([[0], np.cumsum(kept)])[line_ends]
      longest = max(longest, np.diff(line_ends, prepend=-unfinished).max(initial=0))
      unfinished = len(ids) - line_ends[-1] if len(line_ends) else unfinished + len(ids)
      yield ids, line_ends

  numbered.replace(renumbered())
  return int(longest)


def _check_apart(folder: pathlib.Path, corpus: PathLike | Sequence[PathLike]) -> None:
  """Raises an error for a store in a folder of text, which the next run would read as text."""
  for path in [corpus] if isinstance(corpus, IS_PATH) else corpus:
    source = expanded(path).resolve()
    if source.is_dir() and folder.is_relative_to(source):
      raise ValueError(
        f'{folder}: the folder must be outside of the text folder {path}; choose another one'
      )


def is_text(corpus: object) -> bool:
  """Returns whether a corpus consists of paths rather than lists of words."""
  if is_column(corpus):  # some columns are sequences of strings
    return False
  paths = isinstance(corpus, Sequence) and corpus and all(isinstance(x, IS_PATH) for x in corpus)
  return isinstance(corpus, IS_PATH) or bool(paths)


def has_text(corpus: object) -> bool:
  """Returns whether a corpus can contain text to split: paths, or a column."""
  return is_text(corpus) or is_column(corpus)


def _files_of(corpus: Corpus, exclude: Sequence[str]) -> tuple[list[str], str]:
  """Returns the files of a corpus (an empty list for lists of words), and its name in errors."""
  if not is_text(corpus):
    is_file = hasattr(corpus, 'read')
    if is_file or not isinstance(corpus, Iterable) or isinstance(corpus, bytes | Mapping):
      kind = type(corpus).__name__
      got = f'a {kind}; pass the name of a file' if is_file else shown(repr(corpus))
      raise TypeError(f'corpus must be a path, paths, or lists of words, got {got}')
    return [], 'the corpus'
  paths = cast(Sequence[PathLike], [corpus] if isinstance(corpus, IS_PATH) else corpus)
  more = f' and {len(paths) - 1} more' if len(paths) > 1 else ''
  return find_files(paths, exclude), f'{shown(paths[0])}{more}'


def _digest_of(vocabulary: Vocabulary | None) -> str | None:
  """Returns a digest of the words and counts of a vocabulary, or None."""
  if vocabulary is None:
    return None
  text = '\n'.join(f'{w} {n}' for w, n in zip(vocabulary.words, vocabulary.counts, strict=True))
  return hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()
