"""Other people's programs, in their style, that use only the losses of jw2v."""
