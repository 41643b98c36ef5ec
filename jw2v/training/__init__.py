"""One training run, from a corpus to vectors.

`run` has `train`; `loop` has the loop that it calls; `step` the compiled step function; `state` the
tables and optimizers; `history`, `checkpoints`, `memory` and `workdir` what surrounds them.
"""
