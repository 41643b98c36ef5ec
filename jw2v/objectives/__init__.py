"""The losses over blocks of windows, with gradients as rows of the tables.

An objective combines an architecture (`architectures`: what predicts what) with a loss (`logistic`
or `softmax`) through `scores`. The tests prove each one equal to its pure loss in `jw2v.losses`.
"""
