"""Reads stores, selects the rows of an item, and summarises them."""
