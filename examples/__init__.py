"""Standalone example programs that use only the losses of jw2v."""
