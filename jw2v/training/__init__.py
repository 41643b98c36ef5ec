"""One training run: state, step, loop, history, checkpoints."""
