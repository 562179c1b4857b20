"""Whether two rows of the same cell agree and, if they differ, whether that was to be expected."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.sweep.pace import is_gpu

IDENTICAL, CLOSE, DIFFERENT = "identical", "within tolerance", "different"
RELATIVE_TOLERANCE = 0.01
"""What a GPU and a CPU, or two processors, may differ by: roundings differ, and a code or two ends elsewhere."""
SPREADS = 2 * math.sqrt(2)
"""Two trainings that differ only by chance differ by at most this many standard deviations between seeds, 19 times in
20: twice the standard deviation of a difference."""
_COMPUTES = ("numpy", "numba", "scikit-learn", "torch")
"""Packages whose versions a number can depend on."""


def judge(stored: Mapping[str, Any], fresh: Mapping[str, Any], names: Sequence[str]) -> str:
    """`IDENTICAL` to the bit, `CLOSE` (1% of each figure) or `DIFFERENT`.

    Metrics that the stored row does not have, because they were added later, are not compared.
    """
    pairs = [(stored[name], fresh.get(name)) for name in names if stored.get(name) is not None]
    if stored["status"] != fresh["status"]:
        return DIFFERENT
    if all(_same(a, b) for a, b in pairs):
        return IDENTICAL
    close = all(_same(a, b) or _close(a, b) for a, b in pairs)
    return CLOSE if close else DIFFERENT


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a row may differ from the stored one."""

    lines: Sequence[str] = ()
    is_expected: bool = False
    """Whether the two were computed on unlike systems, and differ by no more than two seeds."""


def explain(
    experiment: Experiment, stored: Mapping[str, Any], fresh: Mapping[str, Any], seeds: Sequence[float]
) -> Explanation:
    """Explains a row that differs, given the main metric of all stored seeds of its point."""
    digest = experiment.digest_column
    if stored.get(digest) != fresh.get(digest):
        return Explanation(lines=[f"{digest} differs: these are not the data of the stored row"])
    unlike = _unlike(experiment, stored, fresh)
    if not unlike:
        where = f"the stored row was computed on {_device(stored)}, this one on {_device(fresh)}"
        return Explanation(lines=[f"{where}: they should be identical"])
    lines = [f"{each}: numbers may differ" for each in unlike]
    metric = experiment.main_metric
    before, now = experiment.main_value(stored), experiment.main_value(fresh)
    if before is None or now is None:
        return Explanation(lines=[*lines, f"but only one of them has a finite {metric}"])
    difference = abs(now - before)
    if len(seeds) < 2:
        there = f"the store has {len(seeds)} finished seeds of this point, so there is no spread to compare with"
        return Explanation(lines=[*lines, f"{metric} differs by {difference:.4g}; {there}"])
    spread = statistics.stdev(seeds)
    times = difference / spread if spread else math.inf
    between = f"standard deviations between the seeds of this point ({spread:.4g}, n = {len(seeds)})"
    compared = f"{metric} differs by {difference:.4g}, which is {times:.1f} {between}; two seeds differ by up to"
    return Explanation(lines=[*lines, f"{compared} {SPREADS:.1f}"], is_expected=times <= SPREADS)


def _unlike(experiment: Experiment, stored: Mapping[str, Any], fresh: Mapping[str, Any]) -> list[str]:
    """Reasons other than a fault for which the numbers of the two rows may differ."""
    found = []
    before, now = _device(stored), _device(fresh)
    if before != now and (experiment.depends_on_processor or is_gpu(before) or is_gpu(now)):
        found.append(f"the stored row was computed on {before}, this one on {now}")
    earlier, later = _versions(stored), _versions(fresh)
    found += [f"{name} was {earlier.get(name, 'missing')} and is {later.get(name, 'missing')}"
              for name in _COMPUTES if earlier and earlier.get(name) != later.get(name)]  # fmt: skip
    return found


def _device(row: Mapping[str, Any]) -> str:
    return str(row.get("run_device") or "an unknown processor")


def _versions(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The versions in the row; empty if they cannot be read."""
    try:
        found = json.loads(str(row.get("run_versions")))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=RELATIVE_TOLERANCE)
    return False
