"""Program for `test_processes.py`: one of several processes that train together."""

import json
import os
import sys
import time

import numpy as np

import jw2v
from jw2v.distributed import agreement, processes
from jw2v.distributed.backend import prepare_backend
from jw2v.training.checkpoints import Checkpoints


def main(*, index, number, coordinator, store, out, settings, devices=1, folder=None, every=1e9,
         timeout=30, kill_at=None, late=0.0, given=(),
         shutdown=None):  # fmt: skip
  """Trains and saves the vectors; prints an error on one line and exits with status 3."""
  prepare_backend(devices)
  if shutdown is not None:
    processes._HEARTBEAT_SECONDS = shutdown
  try:
    if number > 1:
      processes.start_processes(coordinator, number, index, timeout)
    checkpoints = Checkpoints(folder, every=every) if folder else None

    def record(record):
      print(json.dumps({'step': record['step']}), flush=True)
      if kill_at is not None and record['step'] >= kill_at:
        os.kill(os.getpid(), 9)

    result = jw2v.train(
      jw2v.open_corpus(store), jw2v.TrainConfig(**settings), progress=False,
      checkpoints=checkpoints, callbacks=[record],
      evaluate=(lambda kv: {'size': float(len(kv))}) if 'evaluate' in given else None,
    )  # fmt: skip
    with agreement.first_exits_last(ValueError):
      time.sleep(late if index == 0 else 0)
    np.save(f'{out}{index}.npy', result.vectors.vectors)
    again = jw2v.train(
      jw2v.open_corpus(store), jw2v.TrainConfig(**settings), progress=False, initial=result
    ) if 'initial' in given else None  # fmt: skip
    assert again is None or np.isfinite(again.vectors.vectors).all()
    print(json.dumps({'words': result.history[-1]['words'], 'loss': result.history[-1]['loss']}))
  except (ValueError, OSError) as error:
    print(f'{type(error).__name__}: {error}', flush=True)
    raise SystemExit(3) from None


if __name__ == '__main__':
  with processes.ending_without_the_others():
    main(**json.loads(sys.argv[1]))
