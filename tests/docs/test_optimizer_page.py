"""Code in docs/optimizer.md: runs, and does what the page says."""

import re

import jax.numpy as jnp
import layout

PAGE = (layout.ROOT / 'docs' / 'optimizer.md').read_text(encoding='utf-8')


def test_rows_of_another_model_are_damped_by_samples():
  (code,) = re.findall(r'^```python\n(.*?)^```', PAGE, re.M | re.S)
  names = {}
  exec(compile(code, 'optimizer.md', 'exec'), names)
  moved = jnp.flatnonzero((names['table'] != 1).any(axis=1))
  assert moved.tolist() == [3, 5, 7]
  across, common, trace = names['state'].last
  assert 0 < across < 0.95 * (trace - common) and 0 < common < trace
