"""Losses as pure functions, each with its gradient in closed form.

Most losses are functions of scores, and a score is a dot product of two vectors. The gradient with
respect to the vectors follows by the chain rule from the derivative with respect to the scores:

- `scores` computes losses from scores, and their derivatives.
- `prediction` computes the same losses from the vectors of one prediction.
- `window` sums them over a skip-gram or CBOW window.
- `in_batch` computes the softmax loss of a batch whose examples are each other's negatives.
- `tiled_softmax` computes the softmax loss over a table too large for a matrix of all scores.
- `rows` computes gradients as rows of large tables, and looks up rows for any loss.
- `noise` draws negatives on the device.
- `derivatives` contains the derivatives of softmax, sigmoid and others, and `network` a two-layer
  network, as in courses on neural networks.

The modules import only jax, chex and each other. `numerics` contains the arithmetic that the losses
share, `_check` checks their arguments, and `_mesh` makes them work on meshes of explicit axes.
"""
