"""Flags of the program `jw2v`: argparse, with one-line errors that name the right flag."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from jw2v.config import OTHER_NAMES

_LONGEST = 60  # characters of an argument that an error quotes


class Parser:
  """Parses the flags of a command; `-` and `_` are the same in names.

  An error is one line on standard error, and the exit status is 2.
  """

  def __init__(self, command: str, description: str | None):
    """Starts with no flags.

    Args:
      command: the command, such as `jw2v train`.
      description: text of the help.
    """
    self._command, self._settings = command, set[str]()
    self._parser = argparse.ArgumentParser(
      command, usage=f'{command} [flags] ...', description=description, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    self._parser.error = self._fail  # type: ignore[method-assign]

  def group(self, title: str) -> None:
    """Starts a group of flags in the help."""
    self._group = self._parser.add_argument_group(title)

  def add(self, *names: str, **options: Any) -> None:
    """Adds a flag or an argument, as `argparse` does; `kind` names the type of its value."""
    kind = options.pop('kind', None)
    if kind is not None:
      options['type'] = kind
    self._settings |= {name.lstrip('-') for name in names if name.startswith('--')}
    getattr(self, '_group', self._parser).add_argument(*names, **options)

  def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the values; ends the process with one line for an error."""
    known, rest = self._parser.parse_known_intermixed_args(list(map(_dashes, arguments)))
    unknown = next(iter(rest), None)
    if unknown is not None:
      self._fail_unknown(unknown)
    return known

  def _fail_unknown(self, argument: str) -> NoReturn:
    if not argument.startswith('-'):
      self._fail(f'{_quoted(argument)} is one argument too many; see {self._command} --help')
    name = _dashes(argument).lstrip('-').partition('=')[0]
    hint = f'see {self._command} --help'
    ours = OTHER_NAMES.get(name.replace('-', '_').lower(), '').replace('_', '-')
    plain = {n.replace('-', ''): n for n in self._settings}
    if ours == 'FILE':
      hint = 'name the file without a flag'
    elif ours in self._settings:
      hint = f'the setting is --{ours}'
    elif found := plain.get(name.replace('-', '').lower()):
      hint = f'did you mean --{found}'
    elif near := suggest(name, self._settings, '--'):
      hint = near
    self._fail(f'{_quoted(argument.partition("=")[0])} is not a flag of {self._command}; {hint}')

  def _fail(self, message: str) -> NoReturn:
    message = re.sub(r'^argument (\S+?)(?:/\S+|, \S+)*: ', r'\1 ', ' '.join(message.split()))
    message = re.sub(r'^the following arguments are required: (.*)', r'\1 is required', message)
    message = message.replace('expected one argument', 'needs a value')
    if 'invalid choice' in message:
      message = re.sub(r'invalid choice: (.+) \(choose from (.+)\)', r'must be one of \2, got \1',
                       message)  # fmt: skip
    print(f'error: {message}', file=sys.stderr)
    raise SystemExit(2)


def integer(text: str) -> int:
  """Returns an integer; thousands may be separated: 1,000 or 1_000."""
  try:
    return int(text.replace(',', ''))
  except ValueError:
    raise argparse.ArgumentTypeError(f'must be an integer, got {_quoted(text)}') from None


def positive(text: str) -> int:
  """Returns an integer of at least 1."""
  value = integer(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f'must be at least 1, got {value}')
  return value


def natural(text: str) -> int:
  """Returns an integer of at least 0."""
  value = integer(text)
  if value < 0:
    raise argparse.ArgumentTypeError(f'must be at least 0, got {value}')
  return value


def number(text: str) -> float:
  """Returns a number."""
  try:
    return float(text)
  except ValueError:
    raise argparse.ArgumentTypeError(f'must be a number, got {_quoted(text)}') from None


def expansion(text: str) -> float | None:
  """Returns a limit on decompressed sizes; 0 for none."""
  return number(text) or None


def words(text: str) -> list[str]:
  """Returns words that commas separate."""
  return [word for part in text.split(',') if (word := part.strip())]


def suggest(name: str, choices: Iterable[str], prefix: str = '') -> str:
  """Returns a hint with the nearest name, or an empty text."""
  near = difflib.get_close_matches(name, list(choices), 1)
  return f'did you mean {prefix}{near[0]}' if near else ''


def _dashes(argument: str) -> str:
  """Writes the name of a flag with dashes."""
  if not argument.startswith('--'):
    return argument
  name, equals, value = argument.partition('=')
  return name.replace('_', '-') + equals + value


def _quoted(text: str) -> str:
  return repr(text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...')
