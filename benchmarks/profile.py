"""Profiles of compiled training calls: time per center, kernels, and parts of the step.

`time_calls` times calls on any device. `measure_parts` also times the sampling on the host and, on
a CPU, attributes the events of XLA's profiler to the parts of the step.
"""

import collections
import dataclasses
import itertools
import pathlib
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from jw2v.cli.tables import markdown_table, spread

_CHUNKS = 20  # chunks of text that are sampled
_CALLS, _TIMED_CALLS = 8, 16  # different calls of `measure_parts`, and timed ones
_REPEATS = 8  # timed calls of `time_calls`
_DAMPING = 'curvature damping'
_MATHEMATICS = ('losses', 'objectives')  # packages of jw2v


# Measuring.


@dataclasses.dataclass
class CompiledRun:
  """Compiled training calls with their inputs on the devices.

  Attributes:
    config: the settings, with the defaults of the device.
    blocks: the blocks of the text, as training reads them.
    steps: number of steps in a call.
    centers: number of centers in each call.
    words: number of corpus words in the first call.
    num_words: number of corpus words in an epoch.
    hlo: function that returns the text of the compiled module of the call with an index.
    call: function that runs the call with an index and waits for its result.
  """

  config: Any
  blocks: Any
  steps: int
  centers: list[int]
  words: int
  num_words: int
  hlo: Callable[[int], str]
  call: Callable[[int], None]


def compiled_run(
  encoded: Any, config: Any, *, calls: int, at_least: int = 1, most_steps: int | None = None
) -> CompiledRun:
  """Compiles the first training calls of a config and copies their inputs to the devices.

  No other function of the benchmarks uses the internals of `jw2v.training`.

  Args:
    encoded: a `jw2v.EncodedCorpus`.
    config: a `jw2v.TrainConfig`.
    calls: number of calls.
    at_least: number of calls that the text must have.
    most_steps: upper bound for the steps in a call, but for the layout 'local'.

  Raises:
    ValueError: the text has fewer calls.
  """
  import jax

  from jw2v.data.stream import longest_line
  from jw2v.distributed.layout import make_layout
  from jw2v.objectives.objective import make_objective
  from jw2v.training import loop, run, state, step

  # As in a run.
  config = config.on(jax.default_backend(), longest_line(encoded.line_ends), len(encoded.ids))
  layout = make_layout(config, len(encoded.ids), len(encoded.vocabulary))
  optimizer = state.make_optimizer(config, layout.width_axis)
  objective = make_objective(config, encoded.vocabulary, layout.width_axis)
  blocks, _ = run.make_streams(encoded, config, objective, layout)
  num_words, number = blocks.end, config.blocks_per_step
  steps, merge_steps = loop.steps_per_dispatch(config, num_words, layout, objective.num_rows)
  if layout.copies == 1:  # in 'local' a shorter call would have more merges than a run
    steps = min(steps, most_steps or steps)
  made = blocks.dispatches(
    range(config.epochs), steps=steps, blocks_per_step=number * layout.copies
  )
  made = list(itertools.islice(made, calls))
  if len(made) < at_least:
    raise ValueError(
      f'the text must have at least {at_least} calls of {steps} steps of {config.batch_size} '
      f'windows, got {len(made)}; use a longer text or a larger sample'
    )
  params = state.initial_params(encoded.vocabulary, config, objective.subwords, None)
  arrays, copies = state.init_state(params, optimizer, layout), layout.make_copies(params)
  constants = layout.put(objective.constants)
  run_steps = step.make_run_steps(
    objective, optimizer, step.make_schedule(config), number, layout, merge_steps
  )
  total_words = config.epochs * num_words
  put = jax.device_put if layout.mesh is None else layout.put_blocks
  inputs = [(put(call.blocks), (call.words / total_words).astype(np.float32)) for call in made]
  # With n-grams the shapes of calls differ.
  shapes = [tuple(np.shape(leaf) for leaf in jax.tree.leaves(call.blocks)) for call in made]
  compiled: dict[Any, Any] = {}
  for shape, given in zip(shapes, inputs, strict=True):
    if shape not in compiled:
      compiled[shape] = step.compile_steps(run_steps, arrays, copies, *given, constants)

  def call(i):
    nonlocal arrays, copies
    run = compiled[shapes[i]]
    arrays, copies, _ = jax.block_until_ready(run(arrays, copies, *inputs[i], constants))

  return CompiledRun(
    config=config,
    blocks=blocks,
    steps=steps,
    centers=[_num_centers(call.blocks) for call in made],
    words=int(made[0].words[-1]),
    num_words=num_words,
    hlo=lambda i: compiled[shapes[i]].as_text(),
    call=call,
  )


def _num_centers(blocks):
  return int(np.count_nonzero(blocks.left + blocks.right))


@dataclasses.dataclass
class Timed:
  """Time of compiled calls.

  Attributes:
    seconds: seconds per center.
    kept: number of centers per corpus word.
    kernels: seconds of each kernel in one step, by name.
  """

  seconds: float
  kept: float
  kernels: collections.Counter

  @property
  def words_per_second(self) -> float:
    """Corpus words per second, including the words that `sample` drops."""
    return 1 / (self.seconds * self.kept)


def time_calls(encoded: Any, config: Any, *, profile: bool = False) -> Timed:
  """Times compiled calls of a config, with their blocks already on the device.

  Args:
    encoded: a `jw2v.EncodedCorpus`.
    config: a `jw2v.TrainConfig`.
    profile: True to run the profiler for `Timed.kernels`.

  Raises:
    ValueError: the text is too short for two calls.
  """
  run = compiled_run(encoded, config, calls=3, at_least=2, most_steps=16)
  centers = run.centers[:-1]  # the last call may have padding
  run.call(0)
  seconds = []
  for i in range(_REPEATS):
    start = time.perf_counter()
    run.call(i % len(centers))
    seconds.append((time.perf_counter() - start) / centers[i % len(centers)])
  kernels: collections.Counter = collections.Counter()
  if profile:
    kernels = _kernels(lambda: run.call(0), run.steps)
  return Timed(float(np.median(seconds)), centers[0] / run.words, kernels)


def _kernels(call, steps):
  """Returns the seconds of each kernel in a step, from the profiler's lines of the device."""
  profile, _ = profiled(call)
  found: collections.Counter = collections.Counter()
  for plane in profile.planes:
    on_device = plane.name.startswith('/device:')
    for line in plane.lines:
      of_stream = on_device and ('Stream' in line.name or line.name == 'XLA Ops')
      if of_stream or 'XLAEigen' in line.name:  # XLA's threads on a CPU
        for event in line.events:
          found[event.name] += event.duration_ns / 1e9 / steps
  return found


def measure_parts(text: str, config: Any) -> dict[str, Any]:
  """Times the parts of jw2v, in nanoseconds per center.

  Args:
    text: the path of the text.
    config: a `jw2v.TrainConfig`.

  Returns:
    `sampling`, `wall` and `cpu`, each a list of measurements; `parts`, the CPU time of each part
    in one profiled call; and `profiled_cpu`, the CPU time of that whole call.

  Raises:
    ValueError: the text has no windows.
  """
  import jax

  from jw2v.data.corpus import encode_corpus
  from jw2v.distributed.backend import prepare_backend

  prepare_backend()
  encoded = encode_corpus(text, min_count=config.min_count, max_vocab_size=config.max_vocab_size)
  run = compiled_run(encoded, config, calls=_CALLS)

  sampling, start = [], time.perf_counter()
  for chunk in run.blocks.order(0)[:_CHUNKS].tolist():
    blocks, *_ = run.blocks.chunk(0, chunk)
    sampling.append((time.perf_counter() - start) * 1e9 / max(1, _num_centers(blocks)))
    start = time.perf_counter()

  full = [i for i, n in enumerate(run.centers) if n > max(run.centers) / 2]  # the last has padding

  def measure(i):
    """Runs one call; returns its wall time and the CPU time of all threads, by center."""
    wall, cpu = time.perf_counter(), time.process_time()
    run.call(full[i % len(full)])
    by_center = 1e9 / run.centers[full[i % len(full)]]
    return (time.perf_counter() - wall) * by_center, (time.process_time() - cpu) * by_center

  measure(0)  # the first call is slower
  walls, cpus = zip(*(measure(i) for i in range(_TIMED_CALLS)), strict=True)
  parts, profiled_cpu = {}, 0.0
  if jax.default_backend() == 'cpu':  # events of other backends are not CPU time
    events, (_, profiled_cpu) = _profile(lambda: measure(0))
    table = (len(encoded.vocabulary), run.config.dim)
    parts = sum_by_part(events, instruction_parts(run.hlo(full[0]), table))
    is_damped = run.config.optimizer == 'curvature_damped_sgd'
    parts = {
      'optimizer' if name == _DAMPING and not is_damped else name: ns / run.centers[full[0]]
      for name, ns in parts.items()
    }
  return {
    'sampling': sampling,
    'wall': walls,
    'cpu': cpus,
    'profiled_cpu': profiled_cpu,
    'parts': parts,
  }


def profiled(call: Callable[[], Any]) -> tuple[Any, Any]:
  """Runs a function under JAX's profiler; returns the `ProfileData` and the function's result."""
  import jax

  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    with jax.profiler.trace(folder, profiler_options=options):
      result = call()
    file = next(pathlib.Path(folder).rglob('*.xplane.pb'))
    return jax.profiler.ProfileData.from_file(str(file)), result


def _profile(call):
  """Runs a function under the profiler; returns the events of XLA's threads and its result."""
  profile, result = profiled(call)
  lines = [line for plane in profile.planes for line in plane.lines if 'XLA' in line.name]
  return [(event.name, event.duration_ns) for line in lines for event in line.events], result


# Grouping.


def instruction_parts(hlo: str, table: tuple[int, int]) -> dict[str, str]:
  """Returns the part of the step that each instruction of a compiled module belongs to.

  A fusion has the name of its last operation, so it counts toward the part of that operation.

  Args:
    hlo: the text of the module.
    table: `[V, D]`, the shape of the tables.

  Returns:
    Part by name of the instruction, without the instructions that run others (loops, calls).
  """
  sources, parts = _sources(hlo), {}
  for line in hlo.splitlines():
    found = re.match(r'\s*(?:ROOT )?%?([\w.-]+) = (?:\(.*?\)|\w+\[([\d,]*)\]\S*) ([\w-]+)\(', line)
    if not found or found[3] in ('while', 'call', 'conditional'):
      continue
    shape = tuple(int(n) for n in (found[2] or '').split(',') if n)
    op_name = re.search(r'op_name="([^"]*)"', line)
    path = op_name[1].split('/') if op_name else ['']
    frame = re.search(r'stack_frame_id=(\d+)', line)
    source = sources.get(frame[1], ('', '')) if frame else ('', '')
    parts[found[1]] = _part(found[3], shape, path, source, table)
  return parts


def _part(opcode, shape, path, source, table):
  operation, (file, function) = path[-1], source
  if operation == 'dot_general' or opcode == 'dot':
    equation = path[-2] if len(path) > 1 and '->' in path[-2] else ''
    if _is_with_a_vector(equation, shape):  # sums of the curvature
      return _DAMPING
    return f'product {equation}'.rstrip()
  if operation.startswith('scatter'):
    return 'scatter of rows' if len(shape) == 2 and shape[1:] == table[1:] else _DAMPING
  if operation == 'gather':
    return 'gather of rows' if shape[-1:] == table[1:] else _DAMPING
  if operation == 'transpose':
    return 'transposes for the products'
  package = _package(file)
  if package in ('optax', 'optim.py') or function.endswith('squared_norms'):
    return _DAMPING
  return 'elementwise terms (logistic, weights, loss)' if package in _MATHEMATICS else 'other'


def _is_with_a_vector(equation, shape):
  if not equation:
    return len(shape) < 3 or shape[-1] == 1
  operands = map(set, equation.partition('->')[0].split(','))
  return any(one <= other for one, other in itertools.permutations(operands, 2))


def _package(file):
  """Returns the package of jw2v that a source file is in, its name if in none, or 'optax'."""
  parts = pathlib.PurePath(file).parts
  if 'optax' in parts:
    return 'optax'
  if 'jw2v' not in parts:
    return None
  return parts[len(parts) - parts[::-1].index('jw2v') :][0]


def _sources(hlo):
  """Returns the file and function of each stack frame, by its number in the metadata."""

  def section(title):
    found = re.search(rf'^{title}\n((?:\d+ .*\n)*)', hlo, re.M)
    return dict(line.split(' ', 1) for line in found[1].splitlines()) if found else {}

  field = lambda text, name: re.search(rf'\b{name}=(\d+)', text)[1]
  files, functions = section('FileNames'), section('FunctionNames')
  locations, sources = section('FileLocations'), {}
  for number, frame in section('StackFrames').items():
    location = locations[field(frame, 'file_location_id')]
    file = files[field(location, 'file_name_id')]
    function = functions[field(location, 'function_name_id')]
    sources[number] = file.strip('"'), function.strip('"')
  return sources


def sum_by_part(events: Iterable[tuple[str, float]], parts: Mapping[str, str]) -> dict[str, float]:
  """Returns the total duration of each part in a profile, the longest first.

  Args:
    events: names and durations; events that are not instructions do not count.
    parts: the part of each instruction.
  """
  sums: collections.Counter[str] = collections.Counter()
  for name, duration in events:
    if name in parts:
      sums[parts[name]] += duration
  return dict(sums.most_common())


# Printing.


def parts_page(parts: Mapping[str, Any]) -> str:
  """Returns the measurements of `measure_parts` as two tables with notes."""
  whole = markdown_table(
    [
      ['part', 'median (lowest..highest)'],
      ['host sampling, one thread', spread(parts['sampling'], ',.1f')],
      ['compiled step, wall time', spread(parts['wall'], ',.1f')],
      ['compiled step, CPU time of all threads', spread(parts['cpu'], ',.1f')],
    ]
  )
  page = f'Nanoseconds per center (kept word):\n\n{whole}\n\n'
  if not parts['parts']:
    return page + 'Inside the step: the profile of this backend has no events of instructions.'
  measured = sum(parts['parts'].values())
  total = max(parts['profiled_cpu'], measured)
  inside = [['inside the step', 'CPU ns', 'share']]
  for name, ns in {**parts['parts'], 'unattributed': total - measured}.items():
    inside.append([name, f'{ns:,.1f}', f'{ns / total:.1%}'])
  return (
    f'{page}CPU time per center in one profiled call; the profiler slows it down. If XLA splits a '
    'part over threads, only the thread that starts it has an event. The letters of a product name '
    'axes: n blocks, d width, o outside rows, i predicting vectors, t tokens, m predictions, and s '
    'the words of a tile.'
    f'\n\n{markdown_table(inside)}'
  )
