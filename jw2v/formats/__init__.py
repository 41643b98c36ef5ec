"""Codecs: vector files to and from plain tables.

For maintainers: each module but `registry` and `table` reads and writes one format. A codec
knows no class of `jw2v.vectors`: it returns a `VectorTable`, or raises a `ValueError` that names
the row. `registry` selects the codec and adds the name of the file to the error. The package
imports `jw2v.utils` and `jw2v.ngrams` only.
"""
