"""Helpers without any knowledge of words: atomic files, locks, checks, limits, progress bar."""
