r"""Time and memory of the softmax losses beside optax's.

  python -m benchmarks.losses
  python -m benchmarks.losses --rows=50000 --widths=64 --vectors=1024 --repeats=3

Each row is the value and the gradient of a mean loss of M vectors over V classes of width D, in
float32 on random data. `optax` is `softmax_cross_entropy_with_integer_labels` of all scores. The
functions run in turn, so that drift of the machine affects all alike. Times are ratios to optax's:
the median of the rounds, with the lowest and the highest; memory is the number reported by XLA for
temporary buffers. A last table has the errors with bfloat16 inputs against float64: relative, and
of the gradients the root mean square.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any

from jw2v.cli import process

if __name__ == '__main__':
  process.prepare_process()  # before the imports that take seconds

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

import jw2v
from jw2v.cli.tables import markdown_table, spread

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def optax_loss(vectors: jax.Array, label_ids: jax.Array, table: jax.Array) -> jax.Array:
  """Mean loss from a matrix of all scores, which are float32."""
  scores = jnp.matmul(vectors, table.T, preferred_element_type=jnp.float32)
  return optax.softmax_cross_entropy_with_integer_labels(scores, label_ids).mean()


def tiled_loss(vectors: jax.Array, label_ids: jax.Array, table: jax.Array) -> jax.Array:
  """Mean loss in tiles."""
  return jw2v.tiled_softmax_loss(vectors, label_ids, table).mean()


def naive_loss(vectors: jax.Array, label_ids: jax.Array, table: jax.Array) -> jax.Array:
  """Mean loss of one vector at a time, batched by `jax.vmap`."""
  return jax.vmap(jw2v.naive_softmax_loss, (0, 0, None))(vectors, label_ids, table).mean()


def tiled_twin(vectors: jax.Array, label_ids: jax.Array, table: jax.Array) -> Any:
  """Mean loss in tiles, with the gradients of the sum in closed form."""
  losses, grads = jw2v.tiled_softmax_value_and_grad(vectors, label_ids, table)
  return losses.mean(), (grads.vectors, grads.table)


def with_grad(loss: Loss) -> Callable[..., Any]:
  """Returns the value and the gradients of a loss to vectors and table."""
  return jax.value_and_grad(loss, (0, 2))


FUNCTIONS = {
  'optax': with_grad(optax_loss),
  'tiled_softmax_loss': with_grad(tiled_loss),
  'tiled_softmax_value_and_grad': tiled_twin,
  'vmap(naive_softmax_loss)': with_grad(naive_loss),
}


def example(rows: int, width: int, vectors: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Random vectors, labels and a table, with scores of standard deviation 1."""
  rng = np.random.default_rng(0)
  return (
    jnp.asarray(rng.normal(size=(vectors, width)) / width**0.5, jnp.float32),
    jnp.asarray(rng.integers(rows, size=vectors)),
    jnp.asarray(rng.normal(size=(rows, width)), jnp.float32),
  )


def measure(rows: int, width: int, vectors: int, repeats: int) -> dict[str, dict[str, Any]]:
  """Returns wall seconds, CPU seconds and temporary bytes by function."""
  arguments = example(rows, width, vectors)
  found: dict[str, dict[str, Any]] = {}
  compiled = {}
  for name, function in FUNCTIONS.items():
    compiled[name] = jax.jit(function).lower(*arguments).compile()
    memory = compiled[name].memory_analysis().temp_size_in_bytes
    found[name] = {'wall': [], 'cpu': [], 'memory': memory}
    jax.block_until_ready(compiled[name](*arguments))
  for _ in range(repeats):
    for name, run in compiled.items():
      wall, cpu = time.perf_counter(), time.process_time()
      jax.block_until_ready(run(*arguments))
      found[name]['wall'].append(time.perf_counter() - wall)
      found[name]['cpu'].append(time.process_time() - cpu)
  return found


def table(results: dict[tuple[int, int, int], dict[str, dict[str, Any]]]) -> str:
  """Returns the ratios to optax as a Markdown table."""
  lines = []
  for (rows, width, vectors), found in results.items():
    peer = found['optax']
    for name in list(FUNCTIONS)[1:]:
      ours = found[name]
      ratios = [a / b for a, b in zip(ours['wall'], peer['wall'], strict=True)]
      cpu = np.median([a / b for a, b in zip(ours['cpu'], peer['cpu'], strict=True)])
      lines.append(
        [
          f'{rows:,}', str(width), f'{vectors:,}', f'`{name}`', spread(ratios, '.2f'),
          f'{cpu:.2f}', f'{1000 * np.median(peer["wall"]):,.0f}',
          f'{ours["memory"] / 1e6:,.1f} of {peer["memory"] / 1e6:,.0f}',
          f'{ours["memory"] / peer["memory"]:.1%}',
        ]
      )  # fmt: skip
  header = [
    'V',
    'D',
    'M',
    'function',
    'time / optax',
    'CPU / optax',
    'optax ms',
    'MB',
    'memory / optax',
  ]
  return markdown_table([header, *lines])


def bfloat16_errors(rows: int, width: int, vectors: int) -> str:
  """Returns the errors of each function on bfloat16 inputs as a Markdown table."""
  low = [
    x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x for x in example(rows, width, vectors)
  ]
  with jax.enable_x64():
    high = [x.astype(jnp.float64) if x.dtype == jnp.bfloat16 else x for x in low]
    exact = lambda v, o, u: optax.softmax_cross_entropy_with_integer_labels(v @ u.T, o).mean()
    want = jax.tree.map(np.asarray, jax.jit(with_grad(exact))(*high))
  lines = []
  for name, function in FUNCTIONS.items():
    value, grads = jax.tree.map(lambda x: np.asarray(x, np.float64), jax.jit(function)(*low))
    if name.endswith('value_and_grad'):  # of the sum
      grads = [x / vectors for x in grads]
    errors = [abs(value - want[0]) / abs(want[0])]
    errors += [
      np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)) for a, b in zip(grads, want[1], strict=True)
    ]
    lines.append([f'`{name}`', *(f'{error:.1e}' for error in errors)])
  return markdown_table([['function', 'value', 'gradient to vectors', 'gradient to table'], *lines])


def main(argv: list[str]) -> None:
  """Prints the tables."""
  with process.one_line_errors():
    if len(argv) > 1:
      raise ValueError(f'{argv[1]!r} is not a flag; write numbers of classes as --rows=50000')
    values = flags.FLAGS
    sizes = [[int(x) for x in flag] for flag in (values.rows, values.widths, values.vectors)]
    results = {size: measure(*size, values.repeats) for size in itertools.product(*sizes)}
    print(f'{table(results)}\n')
    rows, width, vectors = (numbers[0] for numbers in sizes)
    print(f'Relative errors with bfloat16 inputs, V = {rows:,}, D = {width}, M = {vectors:,}:\n')
    print(bfloat16_errors(rows, width, vectors))


if __name__ == '__main__':
  flags.DEFINE_list('rows', ['50000', '200000'], 'Numbers of classes V.')
  flags.DEFINE_list('widths', ['64', '512'], 'Widths D of the vectors.')
  flags.DEFINE_list('vectors', ['256', '1024', '4096'], 'Numbers of vectors M.')
  flags.DEFINE_integer('repeats', 5, 'Rounds.', lower_bound=1)
  app.run(main)
