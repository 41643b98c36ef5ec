"""Atomic files, locks, checks, limits and the progress bar."""
