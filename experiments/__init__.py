"""Programs around the library: they read flags and configs, and call `jw2v`."""
