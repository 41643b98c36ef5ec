"""The losses over blocks of windows, with gradients as rows of the tables."""
