"""Building and updating of an index."""
