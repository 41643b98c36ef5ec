"""Trained vectors: lookup, search, evaluation, loading and saving.

For maintainers: the modules are layers. `lookup` has the words and their vectors, `search` and
`evaluation` build on it, and `keyed_vectors` has the classes that users see. The package imports
`jw2v.formats`, `jw2v.utils` and `jw2v.ngrams` only.
"""
