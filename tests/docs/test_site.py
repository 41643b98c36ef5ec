"""The site of the documentation: it builds without a warning, and has all public modules."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_it_builds_and_has_every_module_with_its_formulas(tmp_path):
  command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', str(tmp_path)]
  path = os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH']  # with ruff
  done = subprocess.run(
    command, cwd=ROOT, env={**os.environ, 'PATH': path}, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout + done.stderr
  pages = {p.parent.name: p.read_text('utf-8') for p in tmp_path.glob('reference/*/index.html')}
  text = ''.join(pages.values())
  for module in (ROOT / 'jw2v').glob('[!_]*.py'):
    assert text.count(f'id="jw2v.{module.stem}"') == 1, (
      f'{module.stem}: give it a place in docs/reference/'
    )
  assert not re.search(r':math:|math::|>`_', text)
  assert r'\(\partial' in (tmp_path / 'derivations' / 'index.html').read_text('utf-8')
  assert pages['mathematics'].count('class="arithmatex"') > 60
  front = (tmp_path / 'index.html').read_text('utf-8')
  assert 'href="tutorial/"' in front and 'src="images/words.png"' in front
