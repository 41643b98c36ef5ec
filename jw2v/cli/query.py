r"""Answers questions about word vectors: nearest neighbors, analogies, similarities.

  jw2v query vectors.txt
  jw2v query vectors.txt --query 'king - man + woman'
  jw2v query vectors.txt < questions.txt > answers.txt

The first command opens a prompt. The second answers a question and exits with status 1 if there is
an error; the flag is repeatable. The third answers each line of a file, with an empty line after
each answer. Questions are:

  king                     nearest neighbors, with their cosines
  king - man + woman       analogy: man is to king as woman is to ...
  king + 0.5 * queen       nearest neighbors of a weighted sum
  king ~ queen             cosine of two words
  king queen ~ man woman   cosine of the means of two lists of words
  :odd king queen apple    word that fits the others least
  :rank king queen         rank of queen among the neighbors of king

  :n 20                    print 20 words per answer
  :restrict 30000          answer with the first 30000 words of the file only; 0 for all
  :mul                     switch analogies between 3CosAdd and 3CosMul
  :help                    print this list
  :quit                    end the program, like Ctrl-D

Write spaces around the operators + - * ~, because new-york and c++ are words. Write a word in
double quotes if it contains spaces or looks like an operator or a command: "new york", "+", ":n".
Inside quotes, \" is a double quote, \\ a backslash, and \u2028 a character by its number, as in
JSON. Answers quote words in the same way. If a word is unknown, its lower case is used.
"""

import contextlib
import dataclasses
import functools
import importlib
import itertools
import json
import os
import pathlib
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

import jw2v
from jw2v.cli import vectors
from jw2v.cli.arguments import Parser, natural, positive

_OPERATORS = ('+', '-', '*', '~')
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(?!\S)|\S+', re.DOTALL)
_SUM = re.compile(r'[+-]?(w\*)?w([+-](w\*)?w)*')  # shape of a line, see `parse`
_COMMANDS = {  # pattern of the number or the shape of the words, and usage
  'odd': ('www+', ':odd king queen apple, with at least three words'),
  'rank': ('ww', ':rank king queen, with two different words'),
  'n': ('[1-9][0-9]{0,8}', ':n 20, with a number of at least 1'),
  'restrict': ('[0-9]{1,9}', ':restrict 30000, with a number; 0 for all'),
  'mul': ('', ':mul, without an argument'),
  'help': ('', ':help, without an argument'),
  'quit': ('', ':quit, without an argument'),
}
_JOINERS = '\u200c\u200d'  # invisible but harmless; many scripts and emoji need them
_HISTORY_LINES, _MOST_COMPLETIONS = 1000, 50
_BLOCKS = ' ▏▎▍▌▋▊▉█'
_CELLS = 20  # the bar of a cosine of 1
_WIDEST = 40  # columns of words; a longer word shifts only its own number


# Questions.


class Question(NamedTuple):
  """A parsed line.

  Attributes:
    kind: 'near', 'compare', or the name of a command.
    words: the words; for 'compare', the words on the left.
    weights: for 'near', the weight of each word.
    others: for 'compare', the words on the right.
    number: the argument of 'n' and 'restrict'.
  """

  kind: str
  words: tuple[str, ...] = ()
  weights: tuple[float, ...] = ()
  others: tuple[str, ...] = ()
  number: int | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
  """Settings of a conversation.

  Attributes:
    topn: number of words in an answer.
    restrict: number of first words that can be answers; 0 for all.
    mul: True if analogies use 3CosMul.
    encoding: encoding of the output; other characters are escaped.
  """

  topn: int = 10
  restrict: int = 0
  mul: bool = False
  encoding: str = 'utf-8'

  def after(self, question: Question) -> 'Settings':
    """Returns the settings after a question."""
    changes: dict[str, dict[str, Any]] = {
      'n': {'topn': question.number},
      'restrict': {'restrict': question.number},
      'mul': {'mul': not self.mul},
    }
    return dataclasses.replace(self, **changes.get(question.kind, {}))

  def __str__(self) -> str:
    first = f'the first {self.restrict:,} words' if self.restrict else 'all words'
    return f'answers: {self.topn} of {first}; analogies by {"3CosMul" if self.mul else "3CosAdd"}'


def parse(line: str) -> Question | None:
  """Returns the question in a line, or None for a blank line.

  Raises:
    ValueError: the line is not a question.
  """
  tokens = _TOKEN.findall(line)
  words = tuple(_unquoted(token) if token[0] == '"' else token for token in tokens)
  # The shape of the line: its operators, and a w for each word.
  shape = ''.join(token if token in _OPERATORS else 'w' for token in tokens)
  if not tokens:
    return None
  if _is_command(tokens[0]):
    return _parse_command(tokens[0], words[1:], shape[1:])
  if re.fullmatch(r'w+~w+', shape):
    middle = shape.index('~')
    return Question('compare', words[:middle], others=words[middle + 1 :])
  if _SUM.fullmatch(shape):
    terms = list(re.finditer(r'([+-]?)(w\*)?w', shape))
    sizes = [_weight(words[term.start(2)]) if term[2] else 1.0 for term in terms]
    weights = (-size if term[1] == '-' else size for term, size in zip(terms, sizes, strict=True))
    return Question('near', tuple(words[term.end() - 1] for term in terms), tuple(weights))
  if '~' in shape:
    wrong = '~ must be between two words, or two lists of words'
  elif 'ww' in shape:
    wrong = 'two words need + or - between them, or ~ to compare them'
  else:
    wrong = '+ and - must precede a word, * must follow a number, as in king - 0.5 * man'
  raise ValueError(f'{wrong}; write "new york" and "+" in double quotes')


def _unquoted(token: str) -> str:
  try:
    return json.loads(token, strict=False)
  except ValueError:
    raise ValueError(
      f'a quoted word must end with a double quote before a space, got {token!r}; inside, write '
      r'\" for a double quote and \\ for a backslash, as in JSON'
    ) from None


def _is_command(token: str) -> bool:
  return re.match(':[A-Za-z]', token) is not None  # a colon alone and :) are words


def _weight(text: str) -> float:
  with contextlib.suppress(ValueError):
    if abs(weight := float(text)) <= 1000:  # false for NaN
      return weight
  raise ValueError(f'the weight before * must be a number between -1000 and 1000, got {text!r}')


def _parse_command(token: str, words: tuple[str, ...], shape: str) -> Question:
  name = token[1:]
  if name not in _COMMANDS:
    names = ', '.join(f':{name}' for name in _COMMANDS)
    raise ValueError(f'the command must be one of {names}, got {token!r}; write a word in quotes')
  form, usage = _COMMANDS[name]
  counted = name in ('n', 'restrict')
  if not re.fullmatch(form, ' '.join(words) if counted else shape):
    raise ValueError(f'the usage of {token} is {usage}')
  return Question(name, number=int(words[0])) if counted else Question(name, words)


# Answers.


def answer(kv: jw2v.KeyedVectors, question: Question, settings: Settings) -> list[str]:
  """Returns the lines that answer a question other than 'quit'.

  Raises:
    KeyError: a word is unknown.
    ValueError: the question has no answer.
  """
  shown = lambda *words: ' '.join(show(word, settings.encoding) for word in words)
  tabled = lambda pairs: table([(shown(word), x) for word, x in pairs], settings.encoding)
  words, others = (
    [known(kv, word) for word in asked] for asked in (question.words, question.others)
  )
  lines = [
    f'{shown(asked)} is unknown; using {shown(word)}'
    for asked, word in zip(question.words + question.others, words + others, strict=True)
    if asked != word
  ]
  if question.kind == 'near':
    lines += tabled(_nearest(kv, list(zip(words, question.weights, strict=True)), settings))
  elif question.kind == 'compare':
    label = f'{shown(*words)} ~ {shown(*others)}'
    lines += table([(label, kv.n_similarity(words, others))], settings.encoding)
  elif question.kind == 'odd':
    ranked = [(word, cosine) for cosine, word in kv.rank_by_centrality(words)]
    lines += [f'{shown(ranked[-1][0])} fits least; cosines with the mean:', *tabled(ranked)]
  elif question.kind == 'rank':
    center, word = words
    if center == word:
      raise ValueError(f'the usage of :rank is {_COMMANDS["rank"][1]}')
    place = f'number {kv.rank(center, word):,} of the {len(kv) - 1:,}'
    lines += [f'{shown(word)} is {place} neighbors of {shown(center)}']
  else:
    if question.kind == 'help':
      lines += [*__doc__.partition('Questions are:\n\n')[2].splitlines(), '']
    lines += [str(settings)]
  return lines


def known(kv: jw2v.KeyedVectors, word: str) -> str:
  """Returns the word, or its lower case if only that is known."""
  if word not in kv and word.lower() in kv:
    return word.lower()
  if word in kv:  # or has n-grams that are
    return word
  try:
    kv.get_index(word)
  except KeyError as error:
    parts = re.split(r'[-+*~]', word)
    spaced = len(parts) > 1 and all(part in kv for part in parts)
    hint = '; write spaces around operators, as in king - man' if spaced else ''
    raise KeyError(error.args[0] + hint) from None
  return word


def _nearest(kv, terms, settings) -> list[tuple[str, float]]:
  options = {'topn': settings.topn, 'restrict_vocab': settings.restrict}
  if settings.mul and len(terms) > 1:
    added, taken = ([word for word, weight in terms if weight == sign] for sign in (1, -1))
    if not added or len(added) + len(taken) < len(terms):
      raise ValueError('3CosMul needs an added word and no weights; :mul switches to 3CosAdd')
    near = kv.most_similar_cosmul(added, taken, **options)
  else:
    if not kv.get_mean_vector(*zip(*terms, strict=True)).any():
      raise ValueError('the sum is a zero vector, which has no neighbors')
    near = kv.most_similar(terms, **options)
  if not near:
    raise ValueError('no other word can be an answer; :restrict 0 allows all words')
  return near


# Output.


def show(word: str, encoding: str = 'utf-8') -> str:
  """Returns a word as it can be printed and typed, quoted and escaped if necessary.

  Control characters in a file of vectors are never printed, since they could control a terminal.
  """
  hidden = {
    char
    for char in word
    if not (char.isprintable() or char in _JOINERS) or not char.encode(encoding, 'ignore')
  }
  taken = word in ('', *_OPERATORS) or word[0] == '"' or _is_command(word)
  if not (hidden or taken or ' ' in word):
    return word
  hidden |= {'"', '\\'}
  return '"' + ''.join(json.dumps(c)[1:-1] if c in hidden else c for c in word) + '"'


def columns(text: str) -> int:
  """Returns the width of a text on a terminal, in columns."""
  drawn = (c for c in text if unicodedata.category(c) not in ('Mn', 'Me', 'Cf'))
  return sum(2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in drawn)


def bar(share: float, encoding: str = 'utf-8') -> str:
  """Returns a bar for a number between 0 and 1, empty for negative numbers."""
  share = min(max(share, 0), 1)
  if '?' in _BLOCKS.encode(encoding, 'replace').decode(encoding):
    return '#' * round(_CELLS * share)
  whole, eighths = divmod(round(8 * _CELLS * share), 8)
  return (_BLOCKS[-1] * whole + _BLOCKS[eighths]).rstrip()


def table(rows: Sequence[tuple[str, float]], encoding: str = 'utf-8') -> list[str]:
  """Returns aligned lines with a label, its score and a bar.

  If scores exceed 1, as with 3CosMul, bars are relative to the highest score.
  """
  width = min(max(columns(label) for label, _ in rows), _WIDEST)
  numbers = [f'{score:z.3f}' for _, score in rows]
  places, top = max(map(len, numbers)), max(1.0, *(score for _, score in rows))
  return [
    f'{label}{" " * (width - columns(label))}  {number:>{places}}  '
    f'{bar(score / top, encoding)}'.rstrip()
    for (label, score), number in zip(rows, numbers, strict=True)
  ]


# The conversation.


def converse(
  kv: jw2v.KeyedVectors, lines: Iterable[str], settings: Settings, errors: TextIO | None = None
) -> bool:
  """Prints answers to lines until their end or `:quit`; returns whether there were no errors.

  Errors are printed to `errors`, or to stdout like answers if it is None.
  """
  sound = True
  for line in lines:
    try:
      if (question := parse(line)) is None:
        continue
      if question.kind == 'quit':
        break
      settings = settings.after(question)
      print(*answer(kv, question, settings), '', sep='\n', flush=True)
    except (KeyError, ValueError) as error:  # str() of a KeyError would be in quotes
      print(f'error: {error.args[0]}', end='\n' if errors else '\n\n', file=errors, flush=True)
      sound = False
  return sound


def typed(greeting: str, kv: jw2v.KeyedVectors) -> Iterator[str]:
  """Yields the lines that a user types at a prompt; Ctrl-C cancels a line, Ctrl-D ends.

  The Tab key completes words and commands, and the arrow keys recall lines of earlier sessions.
  """
  edit = _line_editor(kv)
  screen = sys.stdout if sys.stdout.isatty() else sys.stderr  # stdout may be a file
  print(greeting, file=screen, flush=True)
  try:
    while True:
      try:
        with contextlib.redirect_stdout(screen):
          line = input('> ')
        yield line
      except (KeyboardInterrupt, EOFError) as error:
        print(file=screen)
        if isinstance(error, EOFError):
          return
  finally:
    if edit is not None:
      with contextlib.suppress(OSError):  # a history is a convenience
        edit.set_history_length(_HISTORY_LINES)
        history_file().parent.mkdir(parents=True, exist_ok=True)
        edit.write_history_file(history_file())


def history_file() -> pathlib.Path:
  """Returns the file of the prompt's history, in the user's folder for state."""
  state = os.environ.get('XDG_STATE_HOME') or pathlib.Path.home() / '.local' / 'state'
  return pathlib.Path(state, 'jw2v', 'history')


def _line_editor(kv: jw2v.KeyedVectors) -> Any:
  """Returns the module `readline`, with completion and history; None where it is missing."""
  try:
    edit: Any = importlib.import_module('readline')
  except ImportError:
    return None
  with contextlib.suppress(OSError):
    edit.read_history_file(history_file())
  edit.set_completer_delims(' \t')
  complete = functools.lru_cache(64)(functools.partial(completions, kv))
  edit.set_completer(lambda text, n: complete(text)[n] if n < len(complete(text)) else None)
  libedit = 'libedit' in (edit.__doc__ or '')
  edit.parse_and_bind('bind ^I rl_complete' if libedit else 'tab: complete')
  return edit


def completions(kv: jw2v.KeyedVectors, text: str) -> list[str]:
  """Returns the completions of a started word: commands after `:`, otherwise frequent words."""
  if text.startswith(':'):
    return [f':{name}' for name in _COMMANDS if name.startswith(text[1:])]
  words = (word for word in kv.index_to_key if word.startswith(text) and show(word) == word)
  return list(itertools.islice(words, _MOST_COMPLETIONS))


def add_arguments(parser: Parser) -> None:
  """Adds the arguments of the command."""
  vectors.add_arguments(parser)
  parser.add(
    '--query', action='append', metavar='QUESTION',
    help='question to answer before exiting; repeatable',
  )  # fmt: skip
  parser.add(
    '--topn', kind=positive, default=10, metavar='N',
    help='number of words in an answer (default: %(default)s)',
  )  # fmt: skip
  parser.add(
    '--restrict', kind=natural, default=0, metavar='N',
    help='number of first words that can be answers; 0 for all (default: %(default)s)',
  )  # fmt: skip


def run(values: Any) -> int:
  """Answers the questions and returns the exit status of the command."""
  if sys.stdout is None or (sys.stdin is None and not values.query):
    raise ValueError('standard input and output must be open')
  if values.file is not None and values.vectors is not None:
    raise ValueError(f'write a question as --query {values.file!r}')
  settings = Settings(values.topn, values.restrict, encoding=sys.stdout.encoding)
  kv = vectors.load(vectors.named(values), values.max_expansion)
  if values.query:
    return 0 if converse(kv, values.query, settings, errors=sys.stderr) else 1
  sys.stdin.reconfigure(errors='replace')  # type: ignore[union-attr]
  greeting = f'{len(kv):,} words, width {kv.vector_size}; :help for help, Ctrl-D to end'
  converse(kv, typed(greeting, kv) if sys.stdin.isatty() else sys.stdin, settings)
  return 0
