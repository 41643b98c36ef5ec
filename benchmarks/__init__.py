"""Programs behind the figures of the documentation."""
