"""Vector files to and from plain tables of words and numbers.

Each format is one module; `registry` names them and detects the format of a file. The package does
not know the classes of `jw2v.vectors`.
"""
