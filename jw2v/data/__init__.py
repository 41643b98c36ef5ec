"""From text to ids on disk, and from ids to batches of blocks; NumPy and pyarrow only."""
