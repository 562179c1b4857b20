"""Everything that is made of a search, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dvq_ray.coverage import STATES

from ...data.needs import Needs
from ...data.rows import Rows
from ...data.selection import Selection
from ...items import Item
from ...output.products import figure_product
from .best import make_best
from .fields import draw_fields, means_numbers
from .front import draw_front, front_numbers
from .history import draw_history, history_numbers
from .importance import LEAST_POINTS, make_importance
from .selection import SearchSelection, searched, select_search
from .words import spoken

GROUP = "searches"
"""What they stand under in the report, whatever the trainable of a search is."""
_NEEDS = Needs(
    trainable="",  # that of the search
    metrics=(),  # its objectives
    grids=("the store of one search: every suggestion that came to an end",),
    choose=lambda frame: (),  # the points that have a value
    sweeps=("sweeps/search_static_slices.yaml", "sweeps/search_slices_small.yaml", "sweeps/search_slices.yaml"),
    seeds_by=("point_id",),
    least_repetitions=1,
)


@dataclass(frozen=True, kw_only=True)
class SearchItem(Item):
    """An item that is made of whatever suggestions there are: a search has no grid, and no holes."""

    needs: Needs = _NEEDS

    @property
    def group(self) -> str:
        """That of all searches."""
        return GROUP

    def select(self, rows: Rows) -> SearchSelection | None:
        """As of any item."""
        return select_search(rows, self.needs)

    def drawn(self, selection: Selection) -> list[str]:
        """A line of what became of suggestions."""
        found = searched(selection)
        counts = ", ".join(f"{found.count(state)} {state}" for state in STATES)
        return [f"suggestions: {counts}, of {found.search.suggestions} wanted"]

    def alternative(self, selection: Selection) -> str:
        """What a figure shows, for those who do not see it."""
        found = searched(selection)
        fields = ", ".join(spoken(field) for field in found.fields)
        return f"{self.title}. Drawn: {len(found.suggestions)} suggestions of {fields}. The caption follows."


class FrontItem(SearchItem):
    """An item of searches for two objectives."""

    def select(self, rows: Rows) -> SearchSelection | None:
        """As of any item."""
        found = super().select(rows)
        return found if found is not None and len(found.search.objectives) == 2 else None


_TWO = replace(
    _NEEDS,
    grids=(
        "the store of one search for two objectives, such as {test_mse: minimize, bits_per_vector: minimize}: every "
        "suggestion that came to an end",
    ),
    sweeps=(),
)

ITEMS: Mapping[str, Item] = {
    "search_history": SearchItem(
        title="History of a search: the value of each suggestion, and the best so far",
        make=figure_product(draw_history, history_numbers),
    ),
    "search_slices": SearchItem(
        title="The objective over slices and every other searched field: all points, and the best at each value",
        make=figure_product(draw_fields, means_numbers),
    ),
    "search_importance": SearchItem(
        title="How much of the objective's variation each searched field accounts for",
        needs=replace(_NEEDS, grids=(f"the store of one search: at least {LEAST_POINTS} points that have a value",)),
        make=make_importance,
    ),
    "search_front": FrontItem(
        title="Pareto front of a search for two objectives, among all points that it tried",
        needs=_TWO,
        make=figure_product(draw_front, front_numbers),
    ),
    "search_best": SearchItem(
        title="The best points of a search, or its Pareto front, with their fields",
        make=make_best,
    ),
}
