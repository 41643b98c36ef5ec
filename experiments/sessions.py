"""Sessions of items, as lines for the trainer: baskets, playlists, visits to a site.

What belongs here: reading a log of items, and a log to try it with. A session is a list of
items, which `jw2v.train` reads as a line of words; so do Barkan and Koenigstein, `Item2Vec
<https://arxiv.org/abs/1603.04259>`_, 2016. As a program it writes the log:

  python -m experiments.sessions --output=baskets.csv

These data are made up, those of no shop: a basket is for one dish or for two, and has most
of the ingredients and most of the staples, which go with any dish. So what is bought with
an item most often is milk and bread; what belongs with it is to be learned.
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
_BLOCK_BYTES = 16 << 20  # read at once; a row is shorter
_LONGEST_HEADER = 1 << 20  # bytes of the row of names
_MOST_COLUMNS = 10_000
_TWO_DISHES, _BOUGHT = 0.3, 0.6  # how probable a second dish is, and each item of a basket


def read_sessions(
  path: PathLike,
  *,
  session: str = 'session',
  item: str = 'item',
  delimiter: str = ',',
  max_expansion: float | None = TEXT_EXPANSION,
) -> Iterator[list[str]]:
  """Reads a log of items: CSV with a header, a row for each item of a session.

  The log is read now, and 8 bytes a row stay in memory, with each different name once.

  Args:
    path: a file, or several (see `jw2v.data.text.find_files`), plain or compressed.
    session: name of the column that says which session a row belongs to; its rows need
      not be adjacent.
    item: name of the column of the items.
    delimiter: what separates columns.
    max_expansion: how many times as large as a compressed file its text may be; None for any.

  Returns:
    An iterator over the sessions in the order of their first rows, each the items of its
    rows in their order.

  Raises:
    FileNotFoundError: a path does not exist.
    ImportError: without the extra `text`.
    ValueError: a column is missing, a row has another number of columns or nothing in one
      of the two, a file is not UTF-8, is damaged or becomes too large, or there are no rows;
      with the file.
  """
  columns = {'session': session, 'item': item}
  for name, column in columns.items():
    if not isinstance(column, str) or not column:
      raise ValueError(f'{name}={column!r}: must be the name of a column')
  if session == item:
    raise ValueError(f'session={session!r}: is the column of the items as well')
  one = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
  if not one or delimiter in '\r\n"':
    raise ValueError(
      f'delimiter={delimiter!r}: must be one character of ASCII, and no quote or line end'
    )
  indices = [collections.defaultdict(itertools.count().__next__) for _ in columns]
  numbers: tuple[list, list] = [], []
  for file in find_files(path):
    row = 2  # the header is the first
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
    raise ValueError(f'{path}: there are no rows in it')
  return _sessions(*map(np.concatenate, numbers), list(indices[1]))


def _batches(
  file: str, columns: Sequence[str], delimiter: str, max_expansion: float | None
) -> Iterator[Any]:
  """The columns of a file as strings, in pieces that fit into memory."""
  pyarrow = import_pyarrow()
  from pyarrow import csv as arrow_csv

  if file == STDIN:
    raise ValueError('-: a log is read from files, not from standard input')

  def open_csv(text, **convert):
    return arrow_csv.open_csv(
      pyarrow.PythonFile(text, mode='r'),
      arrow_csv.ReadOptions(
        block_size=_BLOCK_BYTES, use_threads=False
      ),  # which counts rows in errors
      arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
      arrow_csv.ConvertOptions(**convert),
    )

  try:
    names = _names_of_columns(file, delimiter, max_expansion)
    for column in columns:
      if names.count(column) != 1:
        which = 'two columns' if column in names else 'no column'
        raise ValueError(f'{which} {column!r}; there are {shown(", ".join(map(repr, names)), 500)}')
    types = dict.fromkeys(columns, pyarrow.string())
    with TextFile(file, max_expansion) as text:
      yield from open_csv(text, include_columns=columns, column_types=types)
  except (ValueError, KeyError, NotImplementedError) as error:  # pyarrow's too
    told = shown(error, 500)
    raise ValueError(told if told.startswith(f'{file}:') else f'{file}: {told}') from error


def _names_of_columns(file: str, delimiter: str, max_expansion: float | None) -> list[str]:
  """The first row; pyarrow takes kilobytes for each column of it, before one can count them."""
  with TextFile(file, max_expansion) as text:
    start = io.BufferedReader(text).read(_LONGEST_HEADER).decode(errors='replace')
  try:
    names = next(csv.reader(io.StringIO(start, newline=''), delimiter=delimiter), [])
  except csv.Error as error:
    raise ValueError(f'the names of the columns: {error}') from error
  if not names:
    raise ValueError('there are no names of columns in its first row')
  if len(names) > _MOST_COLUMNS:
    raise ValueError(f'there are {len(names):,} columns or more: at most {_MOST_COLUMNS:,}')
  return names


def _sessions(sessions: np.ndarray, items: np.ndarray, names: list[str]) -> Iterator[list[str]]:
  """From the numbers in each row to the names of the items of each session."""
  items = items[np.argsort(sessions, kind='stable')]
  ends = np.cumsum(np.bincount(sessions)).tolist()
  items_of = np.array(names, object)
  for start, end in itertools.pairwise([0, *ends]):
    yield items_of[items[start:end]].tolist()


def make_baskets(count: int, seed: int = 0) -> Iterator[list[str]]:
  """Makes up baskets of `DISHES` and `STAPLES`.

  Args:
    count: how many.
    seed: of every draw.

  Yields:
    The items of a basket, each once, in any order.
  """
  generator = np.random.default_rng(seed)
  dishes = list(DISHES.values())
  for _ in range(count):
    chosen = generator.permutation(len(dishes))[: 1 + (generator.random() < _TWO_DISHES)]
    wanted = dict.fromkeys(item for dish in chosen for item in dishes[dish])
    bought = [item for item in (*wanted, *STAPLES) if generator.random() < _BOUGHT]
    yield [bought[i] for i in generator.permutation(len(bought))]


def main(argv: list[str]) -> None:
  """Writes the made-up log."""
  values = flags.FLAGS
  if len(argv) > 1:
    raise SystemExit(f'error: {argv[1]!r} is no flag')
  rows = 0
  with cli.one_line_errors():
    with atomic_write(values.output) as file:
      file.write(b'basket,item\n')
      for number, basket in enumerate(make_baskets(values.baskets, values.seed), start=1):
        rows += len(basket)
        file.write(''.join(f'{number},{item}\n' for item in basket).encode())
    print(f'{values.output}: {values.baskets:,} made-up baskets, {rows:,} rows')


if __name__ == '__main__':  # flags are global: whoever imports the reader must not get these
  flags.DEFINE_string('output', None, 'CSV file to write.', required=True)
  flags.DEFINE_integer('baskets', 5000, 'How many baskets.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Seed of every draw.', lower_bound=0)
  app.run(main)
