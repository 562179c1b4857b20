"""Searching in place of enumerating: Optuna suggests points of a space, and their repetitions are cells like others."""
