"""Command-line programs around `jw2v`: they read flags and configs, and call the library."""
