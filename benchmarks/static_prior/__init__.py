"""Sweeps of the static prior: `python -m benchmarks.static_prior`."""
