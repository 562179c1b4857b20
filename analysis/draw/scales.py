"""The scale of an upright axis: from zero, or of ratios where sizes differ by powers."""

from __future__ import annotations

import math

WIDE = 10.0
"""From this ratio of the highest value to the lowest on, an axis is logarithmic: on one that begins at zero the low
values would all lie on its line, and lines that fall by equal ratios would not look alike."""
_ROOM = 0.06


def is_wide(low: float, high: float) -> bool:
    """Whether values between these belong on a log axis, which has no place for zero and below."""
    return low > 0 and high >= WIDE * low


def limits(
    low: float, high: float, *, is_log: bool = False, from_zero: bool = False, room: float = _ROOM
) -> tuple[float, float]:
    """The ends of an axis that holds these values, with that share of it around them; of no finite values, 0 and 1."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    if is_log:
        factor = (high / low) ** room
        return low / factor, high * factor
    if from_zero:
        low, high = min(0.0, low), max(0.0, high)
    around = room * ((high - low) or 1.0)
    return (low if from_zero and low == 0 else low - around), high + around
