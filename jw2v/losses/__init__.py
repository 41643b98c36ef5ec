"""Losses as pure functions, each with its gradient in closed form.

`prediction` has the losses of one prediction, `window` the losses of a skip-gram or CBOW window,
`rows` their gradients as rows of large tables, with the lookups for other losses,
`derivatives` the building blocks of the textbook, `network` the two-layer network of the course,
`tiled_softmax` the softmax over a table too large for a matrix of scores, and `noise` draws of
negatives on the device. The package imports jax and chex only, so that a function can be copied or
imported anywhere.
"""
