"""Quantizers at equal bits, ranked: paired differences with the best, and what they decide."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from dvq_ray.inference import ERROR, holm, t_interval, t_p_above

Verdict = Literal["best", "worse", "undecided"]
_ROUNDING = 1e-9
"""Of the best's mean: twins that differ by less are equal."""
Budget = TypeVar("Budget", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Place:
    """One quantizer at its budget."""

    name: str
    mean: float
    """Of the metric, over seeds."""
    seeds: int
    difference: float | None = None
    """Mean difference from the best over the seeds that both have, over the best's mean; None for the best itself and
    where there are no pairs."""
    interval: tuple[float, float] | None = None
    """95% interval of the difference; None of fewer than two pairs."""
    p_value: float = 1.0
    """Of a t-test against no difference, two-sided, corrected by Holm over all pairs of quantizers in the table."""
    verdict: Verdict = "undecided"


Values = Mapping[str, Mapping[int, float]]
"""By quantizer, the metric by seed."""


def ranked(budgets: Mapping[Budget, Values], *, better: Literal["lower", "higher"]) -> dict[Budget, list[Place]]:
    """By budget, whatever names it, the quantizers from the best mean to the worst.

    The best is chosen by the same values that it is compared with, so p-values are corrected as if all pairs of a
    budget had been compared: of ten that are equal, the best one and the worst one differ by more than two that were
    chosen beforehand. Seeds that only one of a pair has count for nothing.
    """
    sign = 1.0 if better == "lower" else -1.0
    found = {bits: _of_budget(values, sign) for bits, values in budgets.items()}
    compared = [(bits, place) for bits, places in found.items() for place in range(1, len(places))]
    pairs = sum(math.comb(len(places), 2) for places in found.values())
    adjusted = holm([found[bits][place].p_value for bits, place in compared], of=pairs)
    for (bits, place), p_value in zip(compared, adjusted, strict=True):
        verdict: Verdict = "worse" if p_value <= ERROR else "undecided"
        found[bits][place] = replace(found[bits][place], p_value=p_value, verdict=verdict)
    return found


def _of_budget(values: Values, sign: float) -> list[Place]:
    means = {name: float(np.mean([*seeds.values()])) for name, seeds in values.items() if seeds}
    order = sorted(means, key=lambda name: sign * means[name])
    places = [Place(name=name, mean=means[name], seeds=len(values[name])) for name in order]
    return (
        [replace(places[0], verdict="best"), *(_against(values, places[0], each, sign) for each in places[1:])]
        if (places)
        else []
    )


def _against(values: Values, best: Place, other: Place, sign: float) -> Place:
    common = sorted(values[best.name].keys() & values[other.name].keys())
    if not common:
        return other
    differences = np.array([values[other.name][seed] - values[best.name][seed] for seed in common])
    scale = abs(best.mean) or 1.0
    differences[np.abs(differences) <= _ROUNDING * scale] = 0.0
    mean = float(differences.mean()) / scale
    if len(common) < 2:
        return replace(other, difference=mean)
    low, high = t_interval(differences / scale)
    p_value = min(1.0, 2 * t_p_above(sign * differences))
    return replace(other, difference=mean, interval=(low, high), p_value=p_value)


def advice(places: Mapping[int, Sequence[Place]]) -> str:
    """One sentence: what to take at each budget."""
    parts, doubts = [], 0
    for bits, found in places.items():
        if found:
            close = [each.name for each in found[1:] if each.verdict == "undecided"]
            doubts += len(close)
            doubt = f" (undecided: {', '.join(close)})" if close else ""
            parts.append(f"{found[0].name} at {bits} bits{doubt}")
    rest = "; where it is undecided, the cheaper one" if doubts else ""
    return f"take {', '.join(parts)}{rest}" if parts else "no cell has finished"
