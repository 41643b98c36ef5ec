"""The parts of jw2v's own step: where its time goes.

What belongs here: timing the host's sampling and the compiled call, grouping the events of
XLA's profiler by what their instructions are for, and printing that.
"""

import collections
import itertools
import pathlib
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from experiments.tables import markdown_table, spread

# jax and jw2v are imported where they are used: see workers.py.

_CHUNKS, _CALLS, _TIMED_CALLS = 20, 8, 16  # how much is timed
_DAMPING = 'curvature damping'
_MATHEMATICS = ('bags.py', 'binary.py', 'blocks.py', 'outside.py', 'softmax.py', 'tiled.py')


# Measuring.


def measure_parts(text: str, config: Any) -> dict[str, Any]:
  """Times the parts of jw2v, in nanoseconds for each center.

  Args:
    text: the path of the text.
    config: a `jw2v.TrainConfig`.

  Returns:
    sampling, wall and cpu: a list of measurements each; profiled_cpu: the CPU time of the
    profiled call; parts: that of each part in it.

  Raises:
    ValueError: no window is left of the text.
  """
  import jax
  from jw2v.training.start import init_state, steps_per_call, texts

  from jw2v.data.corpus import encode_corpus
  from jw2v.data.stream import held_out_start
  from jw2v.distributed.backend import prepare_backend
  from jw2v.objectives.objective import prepare
  from jw2v.training.step import compile_steps

  prepare_backend()
  config = config.on(jax.default_backend())  # as in a run
  encoded = encode_corpus(text, min_count=config.min_count, max_vocab_size=config.max_vocab_size)
  num_words = held_out_start(encoded.line_ends, config.held_out)
  prepared = prepare(config, encoded.vocabulary)
  blocks_of_text, _ = texts(encoded, num_words, config, prepared)
  centers = lambda blocks: int(np.count_nonzero(blocks.left + blocks.right))

  sampling, start = [], time.perf_counter()
  for chunk in blocks_of_text.order(0)[:_CHUNKS].tolist():
    blocks, *_ = blocks_of_text.chunk(0, chunk)
    sampling.append((time.perf_counter() - start) * 1e9 / max(1, centers(blocks)))
    start = time.perf_counter()

  steps = steps_per_call(config, num_words)
  calls = blocks_of_text.calls(
    range(config.epochs), steps=steps, blocks_per_step=config.blocks_per_step
  )
  calls = [(call, centers(call.blocks)) for call in itertools.islice(calls, _CALLS)]
  most = max((count for _, count in calls), default=0)
  calls = [(call, count) for call, count in calls if count > most / 2]  # the last has padding
  if not calls:
    raise ValueError(f'sample={config.sample:g} leaves no two words of a line: raise it, or 0')
  total_words = config.epochs * num_words
  inputs = [(call.blocks, (call.words / total_words).astype(np.float32)) for call, _ in calls]
  state = init_state(config, encoded.vocabulary, None, prepared.bags)
  lookups = jax.device_put(prepared.lookups)
  compiled = compile_steps(config, state, *inputs[0], lookups)
  inputs = jax.device_put(inputs)

  def run(i):
    """One call; its wall time and the CPU time of all threads, by center."""
    nonlocal state
    wall, cpu = time.perf_counter(), time.process_time()
    state, _ = jax.block_until_ready(compiled(state, *inputs[i % len(calls)], lookups))
    by_center = 1e9 / calls[i % len(calls)][1]
    return (time.perf_counter() - wall) * by_center, (time.process_time() - cpu) * by_center

  run(0)  # the first call is slower
  walls, cpus = zip(*(run(i) for i in range(_TIMED_CALLS)), strict=True)
  parts, profiled_cpu = {}, 0.0
  if jax.default_backend() == 'cpu':  # the events of other backends are no CPU time
    events, (_, profiled_cpu) = _profile(lambda: run(0))
    table = (len(encoded.vocabulary), config.dim)
    parts = sum_by_part(events, instruction_parts(compiled.as_text(), table))
    is_damped = config.optimizer == 'curvature_damped_sgd'
    parts = {
      'optimizer' if name == _DAMPING and not is_damped else name: ns / calls[0][1]
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
  """Runs a function under JAX's profiler: the `ProfileData`, and the function's result."""
  import jax

  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0
  with tempfile.TemporaryDirectory(prefix='jw2v_') as folder:
    with jax.profiler.trace(folder, profiler_options=options):
      result = call()
    file = next(pathlib.Path(folder).rglob('*.xplane.pb'))
    return jax.profiler.ProfileData.from_file(str(file)), result


def _profile(call):
  """Runs a function under the profiler: the events of XLA's threads, and its result."""
  profile, result = profiled(call)
  lines = [line for plane in profile.planes for line in plane.lines if 'XLA' in line.name]
  return [(event.name, event.duration_ns) for line in lines for event in line.events], result


# Grouping.


def instruction_parts(hlo: str, table: tuple[int, int]) -> dict[str, str]:
  """Which part of the step each instruction of a compiled module belongs to.

  A fusion has the name of its last operation, so that what is fused before it counts with it.

  Args:
    hlo: the text of the module.
    table: [V, D], the shape of the tables.

  Returns:
    By name of the instruction; those that only run others (loops, calls) are left out.
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
    if len(shape) < 3 or shape[-1] == 1:  # the sums of the curvature are products with a vector
      return _DAMPING
    return f'product {path[-2]}' if len(path) > 1 and '->' in path[-2] else 'product'
  if operation.startswith('scatter'):
    return 'scatter of rows' if len(shape) == 2 and shape[1:] == table[1:] else _DAMPING
  if operation == 'gather':
    return 'gather of rows' if shape[-1:] == table[1:] else _DAMPING
  if operation == 'transpose':
    return 'transposes for the products'
  if file.endswith('rowwise.py') or '/optax/' in file or function.endswith('squared_norms'):
    return _DAMPING
  ours = file.rpartition('/')[2] in _MATHEMATICS
  return 'elementwise terms (logistic, weights, loss)' if ours else 'other'


def _sources(hlo):
  """The file and function of each stack frame, by its number in the metadata."""

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
  """Adds up a profile.

  Args:
    events: name and duration; those that are no instruction are left out.
    parts: the part of each instruction.

  Returns:
    The duration of each part, the longest first.
  """
  sums: collections.Counter[str] = collections.Counter()
  for name, duration in events:
    if name in parts:
      sums[parts[name]] += duration
  return dict(sums.most_common())


# Printing.


def parts_page(parts: Mapping[str, Any]) -> str:
  """What `measure_parts` found, as two tables with what they show."""
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
  for name, ns in {**parts['parts'], 'in no event': total - measured}.items():
    inside.append([name, f'{ns:,.1f}', f'{ns / total:.1%}'])
  return (
    f'{page}CPU time per center in one profiled call, which the profiler makes slower. A part that '
    'XLA splits over threads has an event for the one that starts it; what the others do is in no '
    'event. In the products n is the block, d the width, and o, i, b, t and h are outside rows, '
    f'vectors that predict, centers, tokens and hot nodes.\n\n{markdown_table(inside)}'
  )
