"""Trained vectors: lookup, search, evaluation, loading and saving."""
