"""The look of any quantizer, from what it declares: a colour family, and the field along which it darkens."""

from __future__ import annotations

import hashlib
from colorsys import hls_to_rgb
from numbers import Real
from typing import Any

from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.registry import QUANTIZERS

from .style import FAMILIES, Family, Look, readable

_HUES = (0.50, 0.89, 0.08, 0.71, 0.96, 0.55)
"""Hues of quantizers without a family, between those of the families: teal, magenta, brown, indigo, rose, cyan."""
_MARKERS = ("^vPdX", "Ds*ph", "o<>H8", "XPd^v", "ph8so", "*D<>^")
_MIDDLE = 2.0**4
_LEAST_CONTRAST = 3.0
"""Of a line with its background (WCAG 2.2, 1.4.11)."""


def look_of(name: str, quantizer: type[Quantizer], value: Any = None) -> Look:
    """How a quantizer is drawn; `value` is that of its `shade`.

    A family that it declares, or else one that follows from its name, so that it is the same in every figure.
    """
    family = FAMILIES.get(quantizer.family) or _family_of(name)
    return family.look(float(value) if isinstance(value, Real) and float(value) >= 1 else _MIDDLE)


def known_look(name: str, value: Any = None) -> Look:
    """How a quantizer is drawn, by its name alone. Raises `ProviderError` where it is not found."""
    return look_of(name, QUANTIZERS.find(name).value, value)


def _family_of(name: str) -> Family:
    digest = hashlib.sha256(name.encode()).digest()
    hue = _HUES[digest[0] % len(_HUES)]
    shades = [(0.0, 0.66, 0.45), (4.0, 0.42, 0.75), (10.0, 0.18, 0.7)]
    stops = [(at, readable(hls_to_rgb(hue, lightness, full), _LEAST_CONTRAST)) for at, lightness, full in shades]
    return Family(stops, _MARKERS[digest[1] % len(_MARKERS)])
