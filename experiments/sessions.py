"""Reads logs of sessions (baskets, playlists, visits) as lines of items, and generates an example.

`jw2v.train` reads a session as a line of words, as in Barkan and Koenigstein, `Item2Vec
<https://arxiv.org/abs/1603.04259>`_, 2016. The program writes an example log:

  python -m experiments.sessions --output=baskets.csv

The data are synthetic. A basket contains most ingredients of one or two dishes and most of the
staples, which go with any dish. So the items bought together most often are milk and bread, and
training must find the items of the same dish.
"""

import collections
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from experiments import cli

if __name__ == '__main__':
  cli.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

from jw2v.data.text import STDIN, PathLike, TextFile, find_files, import_pyarrow
from jw2v.utils.files import atomic_write
from jw2v.utils.limits import TEXT_EXPANSION, shown

DISHES = {
  'barbecue': 'sausages burger_buns charcoal ketchup mustard coleslaw corn_cobs',
  'breakfast': 'muesli yoghurt blueberries honey orange_juice croissants jam',
  'cake': 'flour baking_powder vanilla icing_sugar cocoa walnuts',
  'cheese board': 'brie cheddar crackers grapes chutney port figs',
  'curry': 'basmati_rice coconut_milk curry_paste chickpeas naan ginger garlic lime',
  'greek salad': 'feta olives tomatoes red_onions oregano cucumber lemons',
  'pasta night': 'spaghetti passata parmesan basil pine_nuts red_wine garlic',
  'pizza': 'pizza_dough mozzarella pepperoni mushrooms anchovies rocket passata',
  'stir-fry': 'egg_noodles tofu pak_choi sesame_oil spring_onions soy_sauce ginger',
  'sunday roast': 'chicken rosemary thyme parsnips carrots gravy stuffing',
  'sushi': 'nori sushi_rice wasabi salmon rice_vinegar soy_sauce cucumber',
  'taco night': 'tortillas minced_beef kidney_beans salsa avocado coriander lime',
}
DISHES = {dish: tuple(ingredients.split()) for dish, ingredients in DISHES.items()}
STAPLES = ('milk', 'bread', 'eggs', 'butter', 'bananas', 'coffee', 'toilet_paper', 'soap')
_BLOCK_BYTES = 16 << 20  # upper bound of a row
_LONGEST_HEADER = 1 << 20  # bytes
_MOST_COLUMNS = 10_000
_TWO_DISHES, _BOUGHT = 0.3, 0.6  # probabilities of a second dish, and of each item


def read_sessions(
  path: PathLike,
  *,
  session: str = 'session',
  item: str = 'item',
  delimiter: str = ',',
  max_expansion: float | None = TEXT_EXPANSION,
) -> Iterator[list[str]]:
  """Reads a log of items: CSV with a header, and a row for each item of a session.

  The function reads the whole log and keeps 8 bytes per row and each distinct name in memory.

  Args:
    path: a file, or several (see `jw2v.data.text.find_files`), plain or compressed.
    session: name of the column with the session of a row. Rows of a session need not be adjacent.
    item: name of the column with the items.
    delimiter: separator of columns.
    max_expansion: largest ratio of decompressed to compressed size; None for no limit.

  Returns:
    An iterator over the sessions, in the order of their first rows. A session is the list of its
    items, in the order of its rows.

  Raises:
    FileNotFoundError: a path does not exist.
    ImportError: the extra `text` is not installed.
    ValueError: a column does not exist, a row has a wrong number of columns or an empty cell in
      one of the two columns, or a file is not UTF-8, corrupted, too large or without rows.
  """
  columns = {'session': session, 'item': item}
  for name, column in columns.items():
    if not isinstance(column, str) or not column:
      raise ValueError(f'{name} must be the name of a column, got {column!r}')
  if session == item:
    raise ValueError(f'session and item must be different columns, got {session!r} for both')
  one = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
  if not one or delimiter in '\r\n"':
    raise ValueError(
      f'delimiter must be an ASCII character other than a quote or a line end, got {delimiter!r}'
    )
  indices = [collections.defaultdict(itertools.count().__next__) for _ in columns]
  numbers: tuple[list, list] = [], []
  for file in find_files(path):
    row = 2  # the header is row 1
    for batch in _batches(file, [session, item], delimiter, max_expansion):
      for name, column, index, found in zip(columns.values(), batch, indices, numbers, strict=True):
        encoded = column.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        places = encoded.indices.to_numpy()
        for place, word in enumerate(words):
          if not word or '\n' in word:
            shown = f'{word[:40]!r}, with a line end in it' if word else 'nothing'
            at = row + np.flatnonzero(places == place)[0]
            raise ValueError(f'{file}: row {at} has {shown} in the column {name!r}')
        found.append(np.array([index[word] for word in words], np.int32)[places])
      row += batch.num_rows
  if not numbers[0]:
    raise ValueError(f'{path}: contains no rows')
  return _sessions(*map(np.concatenate, numbers), list(indices[1]))


def _batches(
  file: str, columns: Sequence[str], delimiter: str, max_expansion: float | None
) -> Iterator[Any]:
  """Yields columns of a file as strings, in batches that fit into memory."""
  pyarrow = import_pyarrow()
  from pyarrow import csv as arrow_csv

  if file == STDIN:
    raise ValueError('a log must be a file, got standard input (-)')

  def open_csv(text, **convert):
    return arrow_csv.open_csv(
      pyarrow.PythonFile(text, mode='r'),
      arrow_csv.ReadOptions(
        block_size=_BLOCK_BYTES, use_threads=False
      ),  # errors then have row numbers
      arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
      arrow_csv.ConvertOptions(**convert),
    )

  try:
    names = _names_of_columns(file, delimiter, max_expansion)
    for column in columns:
      if names.count(column) != 1:
        which = 'two columns' if column in names else 'no column'
        raise ValueError(
          f'{which} {column!r}; the columns are {shown(", ".join(map(repr, names)), 500)}'
        )
    types = dict.fromkeys(columns, pyarrow.string())
    with TextFile(file, max_expansion) as text:
      yield from open_csv(text, include_columns=columns, column_types=types)
  except (ValueError, KeyError, pyarrow.ArrowNotImplementedError) as error:
    told = shown(error, 500)
    raise ValueError(told if told.startswith(f'{file}:') else f'{file}: {told}') from error


def _names_of_columns(file: str, delimiter: str, max_expansion: float | None) -> list[str]:
  """Returns the first row; pyarrow would allocate kilobytes per column before checking it."""
  with TextFile(file, max_expansion) as text:
    start = io.BufferedReader(text).read(_LONGEST_HEADER).decode(errors='replace')
  try:
    names = next(csv.reader(io.StringIO(start, newline=''), delimiter=delimiter), [])
  except csv.Error as error:
    raise ValueError(f'cannot read the header: {error}') from error
  if not names:
    raise ValueError('the first row must contain the names of the columns')
  if len(names) > _MOST_COLUMNS:
    raise ValueError(f'at most {_MOST_COLUMNS:,} columns are allowed, got at least {len(names):,}')
  return names


def _sessions(sessions: np.ndarray, items: np.ndarray, names: list[str]) -> Iterator[list[str]]:
  """Yields the names of the items of each session from the numbers in each row."""
  items = items[np.argsort(sessions, kind='stable')]
  ends = np.cumsum(np.bincount(sessions)).tolist()
  items_of = np.array(names, object)
  for start, end in itertools.pairwise([0, *ends]):
    yield items_of[items[start:end]].tolist()


def make_baskets(count: int, seed: int = 0) -> Iterator[list[str]]:
  """Generates baskets from `DISHES` and `STAPLES`.

  Args:
    count: number of baskets.
    seed: seed of the generator.

  Yields:
    The distinct items of a basket in random order.
  """
  generator = np.random.default_rng(seed)
  dishes = list(DISHES.values())
  for _ in range(count):
    chosen = generator.permutation(len(dishes))[: 1 + (generator.random() < _TWO_DISHES)]
    wanted = dict.fromkeys(item for dish in chosen for item in dishes[dish])
    bought = [item for item in (*wanted, *STAPLES) if generator.random() < _BOUGHT]
    yield [bought[i] for i in generator.permutation(len(bought))]


def main(argv: list[str]) -> None:
  """Runs the program."""
  values = flags.FLAGS
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is not a flag')
  rows = 0
  with cli.one_line_errors():
    with atomic_write(values.output) as file:
      file.write(b'basket,item\n')
      for number, basket in enumerate(make_baskets(values.baskets, values.seed), start=1):
        rows += len(basket)
        file.write(''.join(f'{number},{item}\n' for item in basket).encode())
    print(f'{values.output}: {values.baskets:,} synthetic baskets, {rows:,} rows')


if __name__ == '__main__':  # flags are global, so importing this module must not define them
  flags.DEFINE_string('output', None, 'CSV file to write.', required=True)
  flags.DEFINE_integer('baskets', 5000, 'Number of baskets.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Seed of the generator.', lower_bound=0)
  app.run(main)
