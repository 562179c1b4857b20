"""Which rule stops suggestions early: Optuna's pruners, by what a sweep file calls them."""

from __future__ import annotations

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, PercentilePruner, SuccessiveHalvingPruner

from dvq_ray.sweep.search import StopEarly


def pruner_of(stop_early: StopEarly, last_step: int | None) -> BasePruner:
    """The pruner of a search whose trainings take so many steps, or None where they may differ."""
    grace = stop_early.grace_steps
    match stop_early.scheduler:
        case "asha":
            return SuccessiveHalvingPruner(min_resource=grace, reduction_factor=int(stop_early.reduction))
        case "hyperband":
            return HyperbandPruner(
                min_resource=grace,
                max_resource="auto" if last_step is None else max(last_step, grace),
                reduction_factor=int(stop_early.reduction),
            )
        case "median":
            return MedianPruner(n_startup_trials=stop_early.startup, n_warmup_steps=grace)
        case "percentile":
            return PercentilePruner(stop_early.percentile, n_startup_trials=stop_early.startup, n_warmup_steps=grace)
