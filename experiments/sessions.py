"""Reads logs of sessions (baskets, playlists, visits) as lines of items, and generates an example.

`jw2v.train` reads a session as a line of words, as in Barkan and Koenigstein, `Item2Vec
<https://arxiv.org/abs/1603.04259>`_, 2016. The program writes an example log:

  python -m experiments.sessions --output=baskets.csv

The data are synthetic. A basket contains most ingredients of one or two dishes and most of the
staples, which go with any dish. So the items bought together most often are milk and bread, and
training must find the items of the same dish.
"""

from collections.abc import Iterator

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

import numpy as np
from absl import app, flags

from jw2v.utils.files import atomic_write

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
_TWO_DISHES, _BOUGHT = 0.3, 0.6  # probabilities of a second dish, and of each item


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
  with process.one_line_errors():
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
