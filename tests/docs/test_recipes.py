"""Recipes of docs/recipes.md: each prints the output on the page."""

import contextlib
import io
import re
import subprocess
import sys

import layout
import pytest
from tiers import fast

PAGE = (layout.ROOT / 'docs' / 'recipes.md').read_text(encoding='utf-8')
IMPORTS = re.search(r'^```python\n(.*?)^```', PAGE, re.M | re.S)[1]
# By title, the code and its output.
RECIPES = {
  section.partition('\n')[0]: re.findall(r'^```(?:python|text)\n(.*?)^```', section, re.M | re.S)
  for section in re.split(r'^## ', PAGE, flags=re.M)[1:]
}
DEVICES = 'Loss and gradient on several devices'
FAST = ['Cosines with a learned temperature']


def test_every_recipe_has_code_and_output():
  assert len(RECIPES) >= 9
  for title, blocks in RECIPES.items():
    assert len(blocks) == 2, title
    assert len(blocks[0].splitlines()) <= 25, title
    assert re.search(r'\bjw2v\.', blocks[0]), title
  assert PAGE.count('```') == 2 * (1 + 2 * len(RECIPES))  # the imports, and no other block


@pytest.mark.parametrize('title', fast(FAST, list(RECIPES)))
def test_recipe_prints_what_the_page_says(title):
  code, expected = RECIPES[title]
  names = {}
  with contextlib.redirect_stdout(io.StringIO()) as printed:
    exec(compile(IMPORTS, 'imports', 'exec'), names)
    exec(compile(code, title, 'exec'), names)
  assert printed.getvalue() == expected


@pytest.mark.slow
@pytest.mark.parametrize('devices', [1, 4])
def test_number_of_devices_does_not_change_the_result(devices):
  """Starts a process, because the tests already have eight devices."""
  code, expected = RECIPES[DEVICES]
  set_devices = f"jax.config.update('jax_num_cpu_devices', {devices})\n"
  check = f'assert jax.device_count() == len(vectors.sharding.device_set) == {devices}\n'
  program = IMPORTS + set_devices + code + check
  done = subprocess.run(
    [sys.executable, '-c', program], cwd=layout.ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0 and done.stdout == expected, done.stderr
