"""The rule that slices are equal parts of the features."""

from __future__ import annotations

import math

_LARGEST_DIVISOR_TRIED = 10_000
_SHOWN_DIVISORS = 40


def slices_divide(slices: int, dimension: int) -> str | None:
    """The breach of a rule that slices are equal parts of the features."""
    if dimension % slices == 0:
        return None
    return f"does not divide dimension = {dimension}; allowed: {_divisors(dimension)}"


def slices_at_bits(bits: int, features: int, largest: int = 256) -> tuple[int, int] | None:
    """Equal slices of the features, as few as can be, and codes in each of their codebooks, at most `largest`.

    A code has at most so many bits, and at least nine tenths of them. None where no number of slices gives that.

    >>> slices_at_bits(64, 384), slices_at_bits(64, 100), slices_at_bits(64, 7)
    ((8, 256), (10, 84), None)
    """
    for slices in range(1, min(bits, features) + 1):
        if features % slices == 0 and bits / slices <= math.log2(largest):
            size = int(2 ** (bits / slices))
            return (slices, size) if size >= 2 and slices * math.log2(size) >= 0.9 * bits else None
    return None


def _divisors(number: int) -> str:
    """The divisors of the number, the smaller ones where there are many or where looking for all would take long."""
    small = [n for n in range(1, min(math.isqrt(number), _LARGEST_DIVISOR_TRIED) + 1) if number % n == 0]
    is_complete = number <= _LARGEST_DIVISOR_TRIED**2
    divisors = sorted({*small, *(number // n for n in small)}) if is_complete else small
    shown = ", ".join(map(str, divisors[:_SHOWN_DIVISORS]))
    return shown if is_complete and len(divisors) <= _SHOWN_DIVISORS else f"{shown}, ..."
