"""Compiled calls of a config, timed on the devices at hand.

What belongs here: what a call takes, and its kernels, with its blocks on the devices already.
`parts.py` tells what of it belongs to which part of the mathematics, on a CPU.
"""

import collections
import dataclasses
import itertools
import time
from typing import Any

import jax
import numpy as np
from jw2v.training.start import init_state, steps_per_call, texts

from benchmarks.profile import profiled
from jw2v.distributed.layout import make_layout
from jw2v.objectives.objective import prepare
from jw2v.training.step import compile_steps

_CALLS = 8


@dataclasses.dataclass
class Timed:
  """What compiled calls took, by center."""

  seconds: float
  kept: float  # centers for each word of the corpus
  kernels: collections.Counter  # seconds by name, of one step

  @property
  def words_per_second(self) -> float:
    """Corpus words, those dropped by `sample` included."""
    return 1 / (self.seconds * self.kept)


def time_calls(encoded: Any, config: Any, *, profile: bool = False) -> Timed:
  """Times compiled calls of a config, with their blocks on the device already.

  Raises:
    ValueError: the text is too short for a call.
  """
  config = config.on(jax.default_backend())  # as in a run
  prepared, num_words = prepare(config, encoded.vocabulary), len(encoded.ids)
  layout = make_layout(config)
  text, _ = texts(encoded, num_words, config, prepared, layout)
  steps = min(steps_per_call(config, num_words), 16)
  calls = text.calls(range(config.epochs), steps=steps, blocks_per_step=config.blocks_per_step)
  calls = list(itertools.islice(calls, 3))
  if len(calls) < 2:
    raise ValueError(f'text: too short for two calls of {steps} steps of {config.batch_size}')
  calls = calls[:-1]  # the last may have padding
  centers = [int(np.count_nonzero(call.blocks.left + call.blocks.right)) for call in calls]
  kept = centers[0] / int(calls[0].words[-1])
  state = init_state(config, encoded.vocabulary, None, prepared.bags, layout)
  lookups = layout.put(prepared.lookups)
  inputs = [
    (layout.put_blocks(jax.device_put(call.blocks) if layout.mesh is None else call.blocks),
     (call.words / (config.epochs * num_words)).astype(np.float32))
    for call in calls
  ]  # fmt: skip
  run_steps = compile_steps(config, state, *inputs[0], lookups, layout)
  state, _ = jax.block_until_ready(run_steps(state, *inputs[0], lookups))
  seconds = []
  for i in range(_CALLS):
    start = time.perf_counter()
    state, _ = jax.block_until_ready(run_steps(state, *inputs[i % len(inputs)], lookups))
    seconds.append((time.perf_counter() - start) / centers[i % len(inputs)])
  kernels: collections.Counter = collections.Counter()
  if profile:
    kernels = _kernels(lambda: jax.block_until_ready(run_steps(state, *inputs[0], lookups)), steps)
  return Timed(float(np.median(seconds)), kept, kernels)


def _kernels(call, steps):
  """Seconds of each kernel in a step, from the profiler's lines of the device."""
  profile, _ = profiled(call)
  found: collections.Counter = collections.Counter()
  for plane in profile.planes:
    on_device = plane.name.startswith('/device:')
    for line in plane.lines:
      of_stream = on_device and ('Stream' in line.name or line.name == 'XLA Ops')
      if of_stream or 'XLAEigen' in line.name:  # a CPU's are threads of XLA
        for event in line.events:
          found[event.name] += event.duration_ns / 1e9 / steps
  return found
