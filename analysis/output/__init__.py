"""The files that an item is written to."""
