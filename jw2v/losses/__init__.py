"""Losses as pure functions, each with its gradient in closed form.

`scores` has the losses of scores. `prediction` has the losses of one prediction, which are these
and the chain rule through the scores, and `window` sums them over a skip-gram or CBOW window.
`in_batch` and `tiled_softmax` have the softmax losses of a batch: against each other's keys, and
over a table too large for a matrix of scores. `rows` has gradients as rows of large tables, with
the lookups for any loss, and `noise` draws negatives on the device. `derivatives` has the building
blocks of the textbook, and `network` the two-layer network of the course.

The package imports jax and chex only, so that a function can be copied or imported anywhere.
`numerics` has the arithmetic that the losses share; `_check` checks their arguments, and `_mesh`
makes them work on meshes of explicit axes.
"""
