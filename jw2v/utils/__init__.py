"""Atomic files, locks, checks, limits and the progress bar.

For maintainers: this package knows no other part of jw2v and no file format. It imports
numpy and the standard library only.
"""
