"""The marks of a figure, as data: what a page says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Marks of a drawn figure."""

    names: Sequence[str] = ()
    """What models, panels and axes are called."""
    points: Sequence[Sequence[Any]] = ()
    """Of each mark: its place from the left and from the top, in thousandths of the picture; the places in `names` of
    its model and of its panel; where it is along the axis, in words; mean, ends of the interval, or None, and n."""

    def below(self, share: float) -> Marks:
        """The same of a picture without this share at its top."""
        points = [[x, round((y - 1000 * share) / (1 - share), 1), *rest] for x, y, *rest in self.points]
        return replace(self, points=points)
