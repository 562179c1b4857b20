"""Quantizers of blobs that are a product of groups: with more groups, and with groups that depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ...data.needs import Grid, Needs, at, axes_of, distinct, ever_run, most_held
from ...data.selection import Selection
from ...draw.sheet import Drawn, Sheet, handle, level_handle
from ...draw.style import Look, as_yardstick
from ...items import figure
from ...naming import listed, number
from ...output.messages import crossing, said
from . import _shared as shared

_NAMES = {"vq": "VQ", "dvq": "DVQ", "kmeans": "k-means, cut as DVQ"}
"""A plain VQ of all features; the others are cut along the groups."""
_OVER = {"groups": "groups of features, with a slice for each: L",
         "dependence": "chance that a group follows the others: ρ"}  # fmt: skip
"""What the panels go over: the first among independent groups, the second at one number of groups."""


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    cut = rows[(rows["quantizer"] != "vq") & (rows["slices"] == rows["groups"])]
    if cut.empty:
        return ()
    for column, by in (("dimension", ["centres"]), ("centres", [])):  # a line is of one value of each
        value = most_held(cut, column, ["groups", "dependence", "codebook_size", *by], ties="smallest")
        cut, rows = (at(frame, **{column: value}) for frame in (cut, rows))
    groups = most_held(rows, "groups", ["dependence", "codebook_size"], ties="smallest")
    rows = rows[(rows["quantizer"] == "vq") | (rows["slices"] == rows["groups"])]
    grids = []
    for over, some in (("groups", at(rows, dependence=0)), ("dependence", at(rows, groups=groups))):
        for quantizer in _NAMES:
            here = at(some, quantizer=quantizer)
            sizes = here.groupby("codebook_size")[over].nunique()
            here = at(here, codebook_size=[*sizes[sizes > 1].index])  # those that make a line
            if len(here):
                columns = ("groups", "dependence", "codebook_size", "slices")
                axes, was_run = axes_of(here, "dimension", "centres", *columns), ever_run(here, columns)
                grids.append(Grid(quantizer=quantizer, label=f"{quantizer} over {over}", axes=axes, keep=was_run))
    return grids


@figure(
    "Test loss on blobs of K^L factors, over the number of groups and over their dependence",
    Needs(
        trainable="factorial_prior",
        metrics=("test_mse", "data_variance", "bits_per_vector"),
        grids=(
            "dvq and kmeans with slices = groups: every groups x codebook_size at dependence=0, and every dependence x "
            "codebook_size at the groups with most",
            "vq: the same with one codebook on all features",
        ),
        choose=_grids,
        sweeps=("sweeps/factorial.yaml",),
        seeds_by=("groups", "centres", "dependence"),
        captioned=shared.TRAINING,
        others=(),
    ),
)
def factorial(selection: Selection) -> Drawn:
    """Over the number of groups on the left, over their dependence on the right."""
    overs = [over for over in _OVER if any(grid.name.endswith(over) for grid in selection.grids)]
    several = [grid.axes["groups"] for grid in selection.grids if grid.name.endswith("dependence")]
    titles = {"groups": "independent groups",
              "dependence": f"{listed(several[0]) if several else ''} groups that may depend"}  # fmt: skip
    sheet = Sheet([titles[over] for over in overs], columns=2, inches=2.6)
    tables = {grid.name: grid.means("test_mse") for grid in selection.grids}
    means = pd.concat([table["mean"] for table in tables.values()])
    low, high = min(0.85, 0.9 * means.min()), 1.25 * max(1.0, means.max())
    centres, dimensions = int(selection.grids[0].axes["centres"][0]), selection.grids[0].axes["dimension"]
    looks: dict[tuple[str, int], Look] = {}
    for panel, over in zip(sheet.panels, overs, strict=True):
        here = {q: tables[name] for q in ("vq", "kmeans", "dvq") if (name := f"{q} over {over}") in tables}
        values = sorted({value for table in here.values() for value in table[over]})
        if over == "groups":
            panel.log_x(values)
        else:
            panel.axes.set_xticks(values, [number(value) for value in values])
            panel.axes.set_xlim(-0.06, 1.06)
        for quantizer, table in here.items():
            for size in distinct(table, "codebook_size"):
                look, points = _look(quantizer, size, centres), at(table, codebook_size=size)
                looks[quantizer, size] = look
                panel.points(points[over], points, look)
        panel.log_y(low, high)
        panel.level(panel.axes.get_xlim(), (1.0, 1.0))
    legend = [
        [handle(look, f"{name}, K = {number(size)}") for (its, size), look in looks.items() if its == quantizer]
        for quantizer, name in _NAMES.items()
    ]
    note = shared.note(
        selection,
        f"Blobs on a product: each of L groups of the D = {listed(dimensions)} features has {number(centres)} "
        f"centres of its own, {number(centres)}^L blobs in all. ρ = 0: each group picks its centre alone; ρ = 1: "
        f"all pick the same one, {number(centres)} blobs. VQ: one codebook on all features; DVQ: a codebook for "
        "each group; K: codebook size.",
        intervals="bars: 95% t-intervals",
    )
    caption = (
        "Test loss on blobs that are a product of groups of features, over the number of groups (left) and over how "
        "much they depend on each other (right). Dotted: the error of a code that names the blob and says no more. "
        f"{note}"
    )
    return sheet.finish(
        message=_message(tables, titles), caption=caption, x_label=[_OVER[over] for over in overs],
        y_label=shared.LOSS, footnote=note, y_limits=[(low, high)],
        legend=[*legend, [level_handle("the blobs' own spread")]],
    )  # fmt: skip


def _message(tables: Mapping[str, pd.DataFrame], titles: Mapping[str, str]) -> str:
    """The best DVQ at each point against the best VQ, whatever their bits."""
    parts = []
    for over, symbol in (("groups", "L"), ("dependence", "ρ")):
        dvq, vq = (tables.get(f"{quantizer} over {over}") for quantizer in ("dvq", "vq"))
        if dvq is not None and vq is not None:
            sides = (("the best DVQ", _lowest(dvq, over)), ("the best VQ", _lowest(vq, over)))
            parts.append(f"with {titles[over]} {crossing(*sides, over, symbol, 'loss')}")
    return said(*parts or ["test loss on blobs that are a product of groups"])


def _lowest(table: pd.DataFrame, over: str) -> pd.DataFrame:
    """The row of the lowest mean at each value of a column."""
    return table.sort_values("mean").drop_duplicates(over)


def _look(quantizer: str, size: int, centres: int) -> Look:
    if quantizer == "vq":
        return shared.vq_look(size)
    look = shared.dvq_look(max(1, 4 * size / centres))
    return as_yardstick(look) if quantizer == "kmeans" else look
