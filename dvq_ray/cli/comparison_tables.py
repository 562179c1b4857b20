"""What a comparison prints: a table for each budget of bits, and what a user should be careful of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from rich.console import Console

from dvq_ray.comparison.declared import Comparison
from dvq_ray.comparison.ranking import Place, ranked
from dvq_ray.comparison.sweep_file import Contestant
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.store import FINISHED, Store
from dvq_ray.store.columns import DURATION
from dvq_ray.sweep.cells import points_of
from dvq_ray.sweep.spec import SweepSpec


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of one comparison."""

    experiment: Experiment
    comparison: Comparison
    metric: str
    spec: SweepSpec

    def show(
        self, screen: Console, store: Store, grids: Mapping[str, Contestant]
    ) -> Mapping[int, Sequence[Place]]:  # fmt: skip
        """Prints the tables of these grids of the sweep. Returns the ranks by budget."""
        rows = self._rows(store, grids)
        budgets: dict[int, dict[str, pd.DataFrame]] = {}
        for grid, each in grids.items():
            budgets.setdefault(each.bits, {})[each.quantizer] = rows[grid]
        values = {bits: {name: self._values(frame) for name, frame in its.items()} for bits, its in budgets.items()}
        better = self._declared.better
        assert better is not None
        places = ranked(values, better=better)
        for bits, found in places.items():
            settings = {each.quantizer: self._settings[grid] for grid, each in grids.items() if each.bits == bits}
            self._show_budget(screen, bits, found, budgets[bits], settings)
        return places

    @property
    def _declared(self) -> Metric:
        return self.experiment.measures()[self.metric]

    @cached_property
    def _settings(self) -> Mapping[str, Settings]:
        """By grid; each has one point."""
        return {grid.name: point.settings for grid, point in points_of(self.spec)}

    def _rows(self, store: Store, grids: Mapping[str, Contestant]) -> Mapping[str, pd.DataFrame]:
        """Finished rows of each grid."""
        rows = store.load()
        rows = rows[rows["status"].isin(FINISHED)]
        points = {grid.name: (point.point_id, {*grid.seeds}) for grid, point in points_of(self.spec)}
        found = {}
        for grid in grids:
            point_id, seeds = points[grid]
            found[grid] = rows[(rows["point_id"] == point_id) & rows["seed"].isin(seeds)] if len(rows) else rows
        return found

    def _values(self, rows: pd.DataFrame) -> Mapping[int, float]:
        """The metric by seed."""
        if rows.empty:
            return {}
        return {int(seed): float(value) for seed, value in zip(rows["seed"], rows[self.metric], strict=True)}

    def _show_budget(
        self, screen: Console, bits: int, places: Sequence[Place], rows: Mapping[str, pd.DataFrame],
        settings: Mapping[str, Settings],
    ) -> None:  # fmt: skip
        screen.print(f"{bits} bits, by {self._declared.title()}: {self._declared.better} is better")
        for line in self._lines(places, rows, settings):
            screen.print(line)
        cautions: dict[str, list[str]] = {}
        for place in places:
            for caution in self.comparison.cautions(settings[place.name], rows[place.name]):
                cautions.setdefault(caution, []).append(place.name)
        for caution, names in cautions.items():
            screen.print(f"  careful, {', '.join(names)}: {caution}")
        screen.print()

    def _lines(
        self, places: Sequence[Place], rows: Mapping[str, pd.DataFrame], settings: Mapping[str, Settings]
    ) -> list[str]:
        """A line for each quantizer, below the headings; wider than narrow terminals, which wrap them."""
        costs = self.comparison.costs
        headings = ["", self.metric, "from best", "95% interval", "p", "", "bits", "seeds", "seconds", *costs.values()]
        table = [headings]
        for place in places:
            frame, interval = rows[place.name], place.interval
            table.append(
                [
                    place.name,
                    f"{place.mean:.4g}",
                    "" if place.difference is None else f"{place.difference:+.2%}",
                    f"{interval[0]:+.2%} to {interval[1]:+.2%}" if interval else "",
                    f"{place.p_value:.2g}" if interval else "",
                    place.verdict,
                    f"{settings[place.name].code_bits():.4g}",
                    str(place.seeds),
                    f"{frame[DURATION].mean():.1f}",
                    *(f"{frame[name].astype(float).mean():,.0f}" for name in costs),
                ]
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return ["  ".join([f"  {row[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in
                zip(row[1:], widths[1:], strict=True))]) for row in table]  # fmt: skip

    def models(self, store: Store, grids: Mapping[str, Contestant], places: Mapping[int, Sequence[Place]]) -> list[str]:
        """What loads the model of the best cell of each budget."""
        rows = self._rows(store, grids)
        best = [
            (each.bits, rows[grid]) for grid, each in grids.items()
            if places[each.bits] and places[each.bits][0].name == each.quantizer
        ]  # fmt: skip
        return [
            f"model at {bits} bits: dvq_ray.load_model({store.location!r}, {self._best(frame)!r})"
            for bits, frame in best
        ]

    def _best(self, rows: pd.DataFrame) -> str:
        """The id of the cell that is best by the metric."""
        values = rows[self.metric].astype(float)
        place = values.argmin() if self._declared.better == "lower" else values.argmax()
        return str(rows["cell_id"].iloc[int(place)])
