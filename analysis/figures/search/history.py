"""The optimisation history: what came of each suggestion, and the best so far."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...data.selection import Selection
from ...draw.sheet import Drawn, Sheet
from ...items import figure
from ...output.messages import is_alike, said, short
from . import _marks as marks
from . import _words as words
from ._selection import SearchSelection, by_objective, search_needs, searched, select_search


@figure(
    "History of a search: the value of each suggestion, and the best so far",
    search_needs(),
    numbers=by_objective(SearchSelection.history),
    select=select_search,
)
def search_history(selection: Selection) -> Drawn:
    """Values over the number of the suggestion: a panel for each objective."""
    found = searched(selection)
    tables = {metric: words.named(found, found.history(metric)) for metric in found.search.objectives}
    sheet = Sheet([""] * len(tables), columns=1, inches=2.6 if len(tables) == 1 else 2.1)
    scales = [marks.scale(table.assign(mean=table["mean"].fillna(table["monitored"]))) for table in tables.values()]
    last = max(each.number for each in found.suggestions)
    for panel, table, scale in zip(sheet.panels, tables.values(), scales, strict=True):
        scale.apply(panel)
        panel.axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
        panel.axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        known = table.dropna(subset=["best_so_far"])
        at, best = [*known["suggestion"], last + 0.5], [*known["best_so_far"], known["best_so_far"].iloc[-1]]
        panel.axes.plot(at, best, color=marks.BLACK, drawstyle="steps-post", zorder=2)
        complete = table[table["state"] == "complete"]
        for repeats, looks in ((False, marks.PLAIN), (True, marks.REPEAT)):
            here = complete[complete["repeats"] == repeats]
            if len(here):
                marks.means(panel, here["suggestion"], here, looks, zorder=3 + repeats)
        stopped = table[table["state"] == "stopped early"]
        seen = stopped[stopped["monitored"].notna()]
        panel.axes.plot(seen["suggestion"], seen["monitored"], linestyle="", **marks.STOPPED, zorder=2.5)
        unseen = stopped[stopped["monitored"].isna()]
        for here, looks in ((unseen, marks.STOPPED), (table[table["state"] == "failed"], marks.FAILED)):
            for number in here["suggestion"]:
                panel.above(number, points=3.6, linestyle="", **looks)
    single = len(tables) == 1
    note = words.note(
        found,
        "The value of a suggestion is the mean over the repetitions of its point, those of earlier suggestions of the "
        "same point included.",
        _monitored(found, tables),
        "Best so far: the mean of the best point, which a repetition of that point moves up or down."
        if single
        else "Best so far: of each objective by itself.",
    )
    caption = f"History of a search for {words.goals(found)}, over the number of the suggestion. {note} {words.CURSE}"
    return sheet.finish(
        message=said(*(_message(found, metric, table) for metric, table in tables.items())), caption=caption,
        x_label="number of the suggestion, in the order in which they were asked for",
        y_label=[words.y_label(found, metric) for metric in tables],
        legend=[_legend(next(iter(tables.values())))], footnote=note, y_limits=[scale.limits for scale in scales],
    )  # fmt: skip


def _message(selection: SearchSelection, metric: str, table: pd.DataFrame) -> str:
    """The best suggestion against the first one."""
    known = table[table["state"] == "complete"]
    first, top = known.iloc[0], known.iloc[int((selection.search.signs[metric] * known["mean"]).argmin())]
    label, of = selection.declared.metrics[metric].label, f"of {len(table)} suggestions"
    if first["suggestion"] == top["suggestion"]:
        return f"{of} none has a better {label} than the first, {short(first['mean'])}"
    against = "cannot be told from" if is_alike(first, top) else "is better than"
    return (
        f"{of} number {top['suggestion']} has the best {label}, {short(top['mean'])}, and {against} the first, "
        f"{short(first['mean'])}"
    )


def _monitored(selection: SearchSelection, tables: Mapping[str, pd.DataFrame]) -> str:
    """What the height of a suggestion that was stopped early means."""
    watched = selection.search.watched
    if watched is None or not any(table["monitored"].notna().any() for table in tables.values()):
        return ""
    (metric,) = selection.search.objectives
    what = "" if watched == metric else f", {words.spoken(watched)}, which stands in for {words.spoken(metric)}"
    return (
        f"One that was stopped early is at the last value that was monitored while its first repetition trained{what}."
    )


def _legend(table: pd.DataFrame) -> list[Line2D]:
    states = set(table["state"])
    entries = [
        (True, marks.PLAIN, "suggestion"),
        (bool(table["repeats"].any()), marks.REPEAT, "repeats a point: one more repetition"),
        ("stopped early" in states, marks.STOPPED, "stopped early"),
        ("failed" in states, marks.FAILED, "failed, no value"),
    ]
    line = Line2D([], [], color=marks.BLACK, label="best so far")
    return [line, *(marks.entry(looks, label) for is_drawn, looks, label in entries if is_drawn)]
