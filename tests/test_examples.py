"""Examples: each runs and prints what it says."""

import ast
import pathlib

import pytest

from examples import language_model, private, rows, two_tower

FOLDER = pathlib.Path(two_tower.__file__).parent


@pytest.mark.slow
def test_two_towers_learn_what_is_bought():
  before, after = two_tower.main(steps=200)
  assert before < 0.1 and after > 0.25


@pytest.mark.slow
def test_noise_costs_privacy_its_price():
  losses = private.main(steps=150)
  assert losses == sorted(losses) and losses[0] < 0.9 * losses[-1]


@pytest.mark.slow
def test_exact_softmax_without_its_matrix():
  found = language_model.main(steps=25)
  assert found['tiled'] == pytest.approx(found['usual'], rel=1e-5)
  assert found['tiled MB'] < found['usual MB'] / 5
  assert found['after'] < found['tiled'] - 1


@pytest.mark.slow
def test_rows_are_updated_as_by_dense_adam_in_less_time():
  found = rows.main(items=200_000, steps=10)
  assert found['difference'] < 1e-5 < 0.01 < found['moved']
  assert found['row-wise ms'] < found['dense ms']


@pytest.mark.parametrize('path', sorted(FOLDER.glob('[a-z]*.py')), ids=lambda path: path.stem)
def test_only_public_names_are_used(path):
  tree = ast.parse(path.read_text())
  modules = [x.module for x in ast.walk(tree) if isinstance(x, ast.ImportFrom)]
  names = [x.name for y in ast.walk(tree) if isinstance(y, ast.Import) for x in y.names]
  assert 'jw2v' in names and not [m for m in modules if (m or '').startswith('jw2v')]
