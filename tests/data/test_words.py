"""The preset 'words': letters and digits with apostrophes inside, in any script."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jw2v.data import words as module
from jw2v.data.words import separate_words

PATTERN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def words(text, lowercase=True):
  return separate_words(text.encode(), lowercase).decode().split()


def has_marks(text):
  return any(unicodedata.category(char)[0] == 'M' or char in '\u200c\u200d' for char in text)


@given(
  st.text(alphabet=st.one_of(st.sampled_from("ab Z9_'\u2019.,-\n"), st.characters(codec='utf-8')))
)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_are_the_matches_of_the_pattern(text):
  """Holds for text without combining marks, which the pattern drops."""
  lower = text.lower()
  if has_marks(lower):
    return
  assert words(text) == PATTERN.findall(lower)
  assert words(text, lowercase=False) == PATTERN.findall(text)


@given(st.text(alphabet="ab Z9_'.\n"))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_of_ascii(text):
  assert words(text) == PATTERN.findall(text.lower())


@pytest.mark.parametrize(('text', 'expected'), [
  ("Don't stop!  rock'n'roll", ["don't", 'stop', "rock'n'roll"]),
  ("'quoted' it\u2019s", ['quoted', 'it\u2019s']),
  ('हिन्दी में, नमस्ते', ['हिन्दी', 'में', 'नमस्ते']),  # vowel signs are marks
  ('cafe\u0301 \u0301x', ['cafe\u0301', 'x']),  # a mark belongs to the letter before it
  ('ΟΔΟΣ ΣΑΣ', ['οδος', 'σας']),  # the last sigma of a word
  ('\u0645\u06cc\u200c\u062e, \u0648', ['\u0645\u06cc\u200c\u062e', '\u0648']),  # a joiner
  ('\u00e9 \u2019x', ['\u00e9', 'x']),
  ('a_b new-york 3.14 x1', ['a', 'b', 'new', 'york', '3', '14', 'x1']),
])  # fmt: skip
def test_in_several_scripts(text, expected):
  assert words(text) == expected


def test_pieces_are_cut_between_words(monkeypatch):
  text = "don't été's " * 9 + 'x' * 20 + "'s rock'n'roll\n\u03a3\u0391\u03a3"
  whole = separate_words(text.encode(), True)
  for size in range(1, 40):
    monkeypatch.setattr(module, '_PIECE_BYTES', size)
    assert separate_words(text.encode(), True) == whole


def test_lines_stay():
  assert separate_words('A,\nb\u00e9!\n\nc'.encode(), True).decode().split('\n') == [
    'a ', 'b\u00e9 ', '', 'c',
  ]  # fmt: skip
