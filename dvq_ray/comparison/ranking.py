"""Quantizers at equal bits, ranked: paired differences with the best, and what they decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dvq_ray.inference import ERROR, holm, p_above, t_interval

Verdict = Literal["best", "worse", "undecided"]


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
    """Two-sided, against no difference, corrected by Holm over all comparisons of the table."""
    verdict: Verdict = "undecided"


Values = Mapping[str, Mapping[int, float]]
"""By quantizer, the metric by seed."""


def ranked(budgets: Mapping[int, Values], *, better: Literal["lower", "higher"]) -> dict[int, list[Place]]:
    """By budget, the quantizers from the best mean to the worst.

    The best is chosen by the same values that it is compared with, so that tests are two-sided. Fewer seeds than both
    have in common count for nothing.
    """
    sign = 1.0 if better == "lower" else -1.0
    found = {bits: _of_budget(values, sign) for bits, values in budgets.items()}
    compared = [(bits, place) for bits, places in found.items() for place in range(1, len(places))]
    adjusted = holm([found[bits][place].p_value for bits, place in compared])
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
    mean = float(differences.mean()) / scale
    if len(common) < 2:
        return replace(other, difference=mean)
    low, high = t_interval(differences / scale)
    p_value = min(1.0, 2 * p_above(sign * differences))
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
