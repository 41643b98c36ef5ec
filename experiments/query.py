r"""Answers questions about words by their vectors: neighbours, analogies, comparisons.

  python -m experiments.query --vectors=runs/quickstart/vectors.txt
  python -m experiments.query --vectors=vectors.txt --query='king - man + woman'
  python -m experiments.query --vectors=vectors.txt < questions.txt > answers.txt

The first opens a prompt, the second answers one question (the flag can be repeated) and
exits with status 1 if it could not, the third answers each line of a file; an empty line
ends each answer. Questions are:

  king                     its nearest words, with their cosines
  king - man + woman       what is to woman as king is to man
  king + 0.5 * queen       the words nearest to a weighted sum
  king ~ queen             the cosine of two words
  king queen ~ man woman   that of the means of two lists of words
  :odd king queen apple    which word fits the others least
  :rank king queen         the place of queen among the neighbours of king

  :n 20                    from now on 20 words in an answer
  :restrict 30000          only the first 30000 words of the file are answers; 0 for all
  :mul                     analogies by 3CosMul, or by 3CosAdd again
  :help                    this list
  :quit                    the end, as Ctrl-D

The operators + - * ~ stand between spaces: new-york and c++ are words. A word with spaces
in it, or one that would be taken for something else, stands in double quotes: "new york",
"+", ":n"; inside, \" is a double quote, \\ a backslash, and \u2028 a character by its
number, as in JSON. Words are printed so too, where they must be. A word that is unknown
is tried in lower case.
"""

import contextlib
import dataclasses
import importlib
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TextIO

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

from absl import app, flags

import jw2v
from jw2v.utils.limits import VECTORS_EXPANSION

_OPERATORS = ('+', '-', '*', '~')
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(?!\S)|\S+', re.DOTALL)
_SUM = re.compile(r'[+-]?(w\*)?w([+-](w\*)?w)*')  # of the shape of a line, see `parse`
_COMMANDS = {  # the number that follows each, or the shape, and how it is written
  'odd': ('www+', ':odd king queen apple, with three words or more'),
  'rank': ('ww', ':rank king queen, with two different words'),
  'n': ('[1-9][0-9]{0,8}', ':n 20, with a number from 1 on'),
  'restrict': ('[0-9]{1,9}', ':restrict 30000, with a number; 0 for all'),
  'mul': ('', ':mul, with nothing after it'),
  'help': ('', ':help, with nothing after it'),
  'quit': ('', ':quit, with nothing after it'),
}
_JOINERS = '\u200c\u200d'  # invisible but harmless, and many scripts and emoji need them
_BLOCKS = ' ▏▎▍▌▋▊▉█'
_CELLS = 20  # the bar of a cosine of 1
_WIDEST = 40  # a longer word moves its own number and no others


# Questions.


class Question(NamedTuple):
  """What a line asks."""

  kind: str  # 'near', 'compare', or one of the commands
  words: tuple[str, ...] = ()
  weights: tuple[float, ...] = ()  # of 'near', one for each word
  others: tuple[str, ...] = ()  # of 'compare', the words on the right
  number: int | None = None  # of 'n' and 'restrict'


@dataclasses.dataclass(frozen=True)
class Settings:
  """What holds from question to question."""

  topn: int = 10  # words in an answer
  restrict: int = 0  # only so many of the first words are answers; 0 for all
  mul: bool = False  # analogies by 3CosMul
  encoding: str = 'utf-8'  # of the output; what it lacks is escaped

  def after(self, question: Question) -> 'Settings':
    """Those that hold after a question."""
    changes = {
      'n': {'topn': question.number},
      'restrict': {'restrict': question.number},
      'mul': {'mul': not self.mul},
    }
    return dataclasses.replace(self, **changes.get(question.kind, {}))

  def __str__(self) -> str:
    first = f'the first {self.restrict:,} words' if self.restrict else 'all words'
    return f'answers: {self.topn} of {first}; analogies by {"3CosMul" if self.mul else "3CosAdd"}'


def parse(line: str) -> Question | None:
  """What a line asks; None if it is blank.

  Raises:
    ValueError: it is no question; the message says what is wrong and what is allowed.
  """
  tokens = _TOKEN.findall(line)
  words = tuple(_unquoted(token) if token[0] == '"' else token for token in tokens)
  # The operators of the line, and a w for each word: their order is the syntax.
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
    wrong = '~ stands between two words, or two lists of words'
  elif 'ww' in shape:
    wrong = 'between two words must be + or -, or ~ to compare'
  else:
    wrong = '+ and - stand before a word, * between a number and a word, as in king - 0.5 * man'
  raise ValueError(f'{wrong}; in double quotes, "new york" or "+" is one word')


def _unquoted(token: str) -> str:
  try:
    return json.loads(token, strict=False)
  except ValueError:
    raise ValueError(
      f'{token!r}: a word in double quotes ends with another before the next space; inside, '
      r'\" is a double quote and \\ a backslash, as in JSON'
    ) from None


def _is_command(token: str) -> bool:
  return re.match(':[A-Za-z]', token) is not None  # a lone colon and :) are words


def _weight(text: str) -> float:
  with contextlib.suppress(ValueError):
    if abs(weight := float(text)) <= 1000:  # NaN is not
      return weight
  raise ValueError(f'{text!r} is no weight: before * stands a number from -1000 to 1000')


def _parse_command(token: str, words: tuple[str, ...], shape: str) -> Question:
  name = token[1:]
  if name not in _COMMANDS:
    names = ', '.join(f':{name}' for name in _COMMANDS)
    raise ValueError(f'{token!r} is none of {names}; as a word it stands in double quotes')
  form, usage = _COMMANDS[name]
  counted = name in ('n', 'restrict')
  if not re.fullmatch(form, ' '.join(words) if counted else shape):
    raise ValueError(f'{token} is written as in {usage}')
  return Question(name, number=int(words[0])) if counted else Question(name, words)


# Answers.


def answer(kv: jw2v.KeyedVectors, question: Question, settings: Settings) -> list[str]:
  """The lines that answer any question but 'quit'.

  Raises:
    KeyError: an unknown word.
    ValueError: there is no answer.
  """
  shown = lambda *words: ' '.join(show(word, settings.encoding) for word in words)
  tabled = lambda pairs: table([(shown(word), x) for word, x in pairs], settings.encoding)
  words, others = (
    [_known(kv, word) for word in asked] for asked in (question.words, question.others)
  )
  lines = [
    f'{shown(asked)} is unknown; this is for {shown(word)}'
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
    lines += [f'{shown(ranked[-1][0])} fits least; cosines with the mean of all:', *tabled(ranked)]
  elif question.kind == 'rank':
    center, word = words
    if center == word:
      raise ValueError(f':rank is written as in {_COMMANDS["rank"][1]}')
    place = f'number {kv.rank(center, word):,} of the {len(kv) - 1:,}'
    lines += [f'{shown(word)} is {place} neighbours of {shown(center)}']
  else:
    if question.kind == 'help':
      lines += [*__doc__.partition('Questions are:\n\n')[2].splitlines(), '']
    lines += [str(settings)]
  return lines


def _known(kv: jw2v.KeyedVectors, word: str) -> str:
  """The word, or its lower case if only that is known."""
  if word not in kv and word.lower() in kv:
    return word.lower()
  if word in kv:  # or has n-grams that are
    return word
  try:
    kv.get_index(word)
  except KeyError as error:
    parts = re.split(r'[-+*~]', word)
    spaced = len(parts) > 1 and all(part in kv for part in parts)
    hint = '; operators stand between spaces, as in king - man' if spaced else ''
    raise KeyError(error.args[0] + hint) from None
  return word


def _nearest(kv, terms, settings) -> list[tuple[str, float]]:
  options = {'topn': settings.topn, 'restrict_vocab': settings.restrict}
  if settings.mul and len(terms) > 1:
    added, taken = ([word for word, weight in terms if weight == sign] for sign in (1, -1))
    if not added or len(added) + len(taken) < len(terms):
      raise ValueError('3CosMul must add a word, and has no weights; :mul goes back to 3CosAdd')
    near = kv.most_similar_cosmul(added, taken, **options)
  else:
    if not kv.get_mean_vector(*zip(*terms, strict=True)).any():
      raise ValueError('this is a zero vector, which is near to no word')
    near = kv.most_similar(terms, **options)
  if not near:
    raise ValueError('there is no other word to answer with; :restrict 0 allows all')
  return near


# What is printed.


def show(word: str, encoding: str = 'utf-8') -> str:
  """A word as it can be printed and typed: where it must be, in quotes and escaped.

  A file of vectors comes from anywhere: what steers a terminal is never printed.
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
  """The columns that a text takes on a terminal."""
  drawn = (c for c in text if unicodedata.category(c) not in ('Mn', 'Me', 'Cf'))
  return sum(2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in drawn)


def bar(share: float, encoding: str = 'utf-8') -> str:
  """A bar for a number between 0 and 1; none for a negative one."""
  share = min(max(share, 0), 1)
  if '?' in _BLOCKS.encode(encoding, 'replace').decode(encoding):
    return '#' * round(_CELLS * share)
  whole, eighths = divmod(round(8 * _CELLS * share), 8)
  return (_BLOCKS[-1] * whole + _BLOCKS[eighths]).rstrip()


def table(rows: Sequence[tuple[str, float]], encoding: str = 'utf-8') -> list[str]:
  """Lines of a label, its score and a bar, below one another.

  The bars of scores above 1, as 3CosMul has them, are in proportion to the highest.
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
  """Prints the answers to lines until they or a `:quit` end it; whether all had one.

  Why there is no answer is printed to `errors`, or stdout as an answer would be.
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


def typed(greeting: str) -> Iterator[str]:
  """The lines that a person types after a prompt; Ctrl-C drops one, Ctrl-D ends them."""
  with contextlib.suppress(ImportError):  # not on every system
    importlib.import_module('readline')  # input() then edits lines and remembers them
  screen = sys.stdout if sys.stdout.isatty() else sys.stderr  # answers may go to a file
  print(greeting, file=screen, flush=True)
  while True:
    try:
      with contextlib.redirect_stdout(screen):
        line = input('> ')
      yield line
    except (KeyboardInterrupt, EOFError) as error:
      print(file=screen)
      if isinstance(error, EOFError):
        return


def main(argv: list[str]) -> int:
  """Runs the program; its exit status."""
  values = flags.FLAGS
  if len(argv) > 1:
    raise SystemExit(f"error: {argv[1]!r} is no flag; a question is written --query='king'")
  if sys.stdout is None or (sys.stdin is None and not values.query):
    raise SystemExit('error: there is no standard input or output')
  settings = Settings(values.topn, values.restrict, encoding=sys.stdout.encoding)
  with cli.one_line_errors():
    kv = jw2v.load_vectors(values.vectors, max_expansion=values.max_expansion or None)
    if values.query:
      return 0 if converse(kv, values.query, settings, errors=sys.stderr) else 1
    sys.stdin.reconfigure(errors='replace')
    greeting = f'{len(kv):,} words, width {kv.vector_size}; :help for help, Ctrl-D to end'
    converse(kv, typed(greeting) if sys.stdin.isatty() else sys.stdin, settings)
  return 0


if __name__ == '__main__':  # flags are global: whoever imports the parser must not get these
  flags.DEFINE_string('vectors', None, 'File of vectors, in any format jw2v reads.', required=True)
  flags.DEFINE_integer('topn', 10, 'Words in an answer.', lower_bound=1)
  flags.DEFINE_integer(
    'restrict', 0, 'Only so many of the first words are answers; 0 for all.', lower_bound=0
  )
  flags.DEFINE_float(
    'max_expansion', VECTORS_EXPANSION,
    'A compressed file of vectors may become so many times as large; 0 for any.',
    lower_bound=0
  )  # fmt: skip
  flags.DEFINE_multi_string('query', None, 'A question to answer before exiting.')
  app.run(main)
