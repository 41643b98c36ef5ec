"""From text to ids on disk, and from ids to batches of blocks.

`text` reads files, `tokens` splits them into words, `vocabulary` and `phrases` decide what a word
is, `corpus` encodes a text, and `store` keeps the result as a folder. `sampling` and `stream` turn
ids into blocks of windows. The package uses NumPy and pyarrow, and does not import JAX.
"""
