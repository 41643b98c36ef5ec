"""Vector files to and from plain tables."""
