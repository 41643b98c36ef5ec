"""The program `jw2v`: trains vectors, and queries, scores, converts and draws them.

A command is a module with `add_arguments(parser)` and `run(values)`, and its docstring is its help.
`main` imports the module of the command alone. `experiments/` runs the same functions.
"""
