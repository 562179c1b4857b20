"""The optimisation history: what came of each suggestion, and the best so far."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...data.selection import Selection
from ...draw.panels import Sheet
from . import marks, words
from .selection import numbers_of, searched


def history_numbers(selection: Selection) -> pd.DataFrame:
    """A row for each suggestion and objective."""
    found = searched(selection)
    return numbers_of({metric: found.history(metric) for metric in found.search.objectives})


def draw_history(selection: Selection) -> tuple[Figure, str]:
    """Values over the number of the suggestion: a panel for each objective."""
    found = searched(selection)
    tables = {metric: found.history(metric) for metric in found.search.objectives}
    sheet = Sheet([""] * len(tables), columns=1, panel_inches=2.6 if len(tables) == 1 else 2.1)
    scales = [marks.scale(table) for table in tables.values()]
    last = max(each.number for each in found.suggestions)
    for panel, table, scale in zip(sheet.panels, tables.values(), scales, strict=True):
        scale.apply(panel)
        panel.axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
        panel.axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        known = table.dropna(subset=["best_so_far"])
        panel.axes.plot(
            [*known["suggestion"], last + 0.5],
            [*known["best_so_far"], known["best_so_far"].iloc[-1]],
            color=marks.BLACK,
            drawstyle="steps-post",
            zorder=2,
        )
        complete = table[table["state"] == "complete"]
        for repeats, looks in ((False, marks.PLAIN), (True, marks.REPEAT)):
            here = complete[complete["repeats"] == repeats]
            if len(here):
                marks.means(panel, here["suggestion"], here, looks, zorder=3 + repeats)
        for state, looks in (("stopped early", marks.STOPPED), ("failed", marks.FAILED)):
            marks.above(panel, sheet, list(table.loc[table["state"] == state, "suggestion"]), looks)
    single = len(tables) == 1
    note = words.note(
        found,
        "The value of a suggestion is the mean over the repetitions of its point, those of earlier suggestions of the "
        "same point included.",
        "Best so far: the mean of the best point, which a repetition of that point moves up or down."
        if single
        else "Best so far: of each objective by itself.",
    )
    caption = f"History of a search for {words.goals(found)}, over the number of the suggestion. {note} {words.CURSE}"
    figure = sheet.finish(
        x_label="number of the suggestion, in the order in which they were asked for",
        y_label=[words.y_label(found, metric) for metric in tables],
        legend=[_legend(next(iter(tables.values())))],
        footnote=note,
        y_limits=[scale.limits for scale in scales],
    )
    return figure, caption


def _legend(table: pd.DataFrame) -> list[Line2D]:
    entries = [
        marks.entry(marks.PLAIN, "suggestion"),
        marks.entry(marks.REPEAT, "repeats a point: one more repetition"),
        marks.entry(marks.STOPPED, "stopped early, no value"),
        marks.entry(marks.FAILED, "failed, no value"),
    ]
    states = set(table["state"])
    drawn = [True, bool(table["repeats"].any()), "stopped early" in states, "failed" in states]
    line = Line2D([], [], color=marks.BLACK, label="best so far")
    return [line, *(entry for entry, there in zip(entries, drawn, strict=True) if there)]
