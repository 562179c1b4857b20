"""Comparing quantizers on a user's file at equal bits: the sweep that does it, and what its rows say."""
