"""One training run, from a corpus to vectors.

`run` has `train`, `loop` the training loop, `step` the compiled step function, and `state` the
tables and optimizers. `history`, `checkpoints`, `memory` and `workdir` have the parts around them.
"""
