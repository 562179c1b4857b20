"""What the claims take from the declarations of the experiments that they speak of."""

from __future__ import annotations

from collections.abc import Mapping

from dvq_ray.experiment.registry import find_experiment

from ..data.declared import settings_of

_EXPERIMENTS = {name: find_experiment(name) for name in ("static_prior", "factorial_prior", "learned_prior")}
SETTINGS: Mapping[str, tuple[str, ...]] = {
    name: tuple(column for column in settings_of(name) if (name, column) != ("static_prior", "train_samples"))
    for name in _EXPERIMENTS
}
"""Columns that tell points apart, by trainable. Points that are compared differ in no other than a claim says.

The training samples of the static prior follow from the factors and are not among them.
"""
SEEDS_BY: Mapping[str, tuple[str, ...]] = {name: tuple(each.seeds_by) for name, each in _EXPERIMENTS.items()}
"""Points of a comparison with equal values here must have the same seeds."""
DATA_DIGEST = _EXPERIMENTS["learned_prior"].digest_column
RECONSTRUCTION = _EXPERIMENTS["learned_prior"].main_metric
UNIGRAM_TOTAL = "total_bits_per_dim_unigram"
