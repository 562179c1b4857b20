"""What becomes of quantizers on blobs that are a product of groups: with more groups, and with groups that depend."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from ...data.needs import Grid, Needs, at, distinct, ever_run, most_held
from ...data.selection import Selection
from ...draw.panels import Sheet, handle, level_handle
from ...draw.style import Look, as_kmeans, dvq_look, vq_look
from ...known import STATIC_TRAINING
from ...naming import listed, number
from . import words
from .marks import LOSS

_NAMES = {"vq": "VQ", "dvq": "DVQ", "kmeans": "k-means, cut as DVQ"}
"""A plain VQ of all features; the others are cut along the groups."""
_OVER = ("groups", "dependence")
"""What the panels go over: the first among independent groups, the second at one number of groups."""


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    cut = rows[(rows["quantizer"] != "vq") & (rows["slices"] == rows["groups"])]
    if cut.empty:
        return ()
    centres = most_held(cut, "centres", ["groups", "dependence", "codebook_size"], ties="smallest")
    rows = rows[rows["centres"] == centres]
    groups = most_held(rows, "groups", ["dependence", "codebook_size"], ties="smallest")
    rows = rows[(rows["quantizer"] == "vq") | (rows["slices"] == rows["groups"])]
    apart, together = rows[rows["dependence"] == 0], rows[rows["groups"] == groups]
    return [
        grid
        for over, some in zip(_OVER, (apart, together), strict=True)
        for quantizer in _NAMES
        for grid in _grid(quantizer, over, some)
    ]


def _grid(quantizer: str, over: str, rows: pd.DataFrame) -> list[Grid]:
    """Of one quantizer the codebook sizes that make a line."""
    rows = rows[rows["quantizer"] == quantizer]
    sizes = rows.groupby("codebook_size")[over].nunique()
    rows = rows[rows["codebook_size"].isin(sizes[sizes > 1].index)]
    columns = ("groups", "dependence", "codebook_size", "slices")
    axes = {column: distinct(rows, column) for column in columns}
    if rows.empty:
        return []
    shared = {"dimension": distinct(rows, "dimension"), "centres": distinct(rows, "centres")}
    return [
        Grid(quantizer=quantizer, label=_label(quantizer, over), axes={**shared, **axes}, keep=ever_run(rows, columns))
    ]


def _label(quantizer: str, over: str) -> str:
    return f"{quantizer} over {over}"


FACTORIAL = Needs(
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
    training=(*STATIC_TRAINING, "init_bound"),
    others=(),
)


def draw_factorial(selection: Selection) -> tuple[Figure, str]:
    """Test loss over the number of groups on the left, over their dependence on the right."""
    overs = [over for over in _OVER if any(grid.name.endswith(over) for grid in selection.grids)]
    titles = {"groups": "independent groups", "dependence": f"{_groups_text(selection)} groups that may depend"}
    labels = {
        "groups": "groups of features, with a slice for each: L",
        "dependence": "chance that a group follows the others: ρ",
    }
    sheet = Sheet([titles[over] for over in overs], columns=2, panel_inches=2.6)
    tables = {grid.name: grid.means("test_mse") for grid in selection.grids}
    low, high = 0.85, 1.25 * max(table["mean"].max() for table in tables.values())
    looks: dict[tuple[str, int], Look] = {}
    for panel, over in zip(sheet.panels, overs, strict=True):
        here = {q: tables[name] for q in ("vq", "kmeans", "dvq") if (name := _label(q, over)) in tables}
        values = sorted({value for table in here.values() for value in table[over]})
        if over == "groups":
            panel.log_x(values)
        else:
            panel.axes.set_xticks(values, [number(value) for value in values])
            panel.axes.set_xlim(-0.06, 1.06)
        for quantizer, table in here.items():
            for size in sorted(table["codebook_size"].unique()):
                look = looks.setdefault((quantizer, size), _look(quantizer, size, _centres(selection)))
                points = at(table, codebook_size=size)
                panel.points(points[over], points, look)
        panel.log_y(low, high)
        panel.level(panel.axes.get_xlim(), (1.0, 1.0))
    legend = [
        [handle(look, f"{name}, K = {number(size)}") for (its, size), look in looks.items() if its == quantizer]
        for quantizer, name in _NAMES.items()
    ]
    legend.append([level_handle("the blobs' own spread")])
    centres, dimensions = _centres(selection), selection.grids[0].axes["dimension"]
    note = words.note(
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
    figure = sheet.finish(
        x_label=[labels[over] for over in overs], y_label=LOSS, legend=legend, footnote=note, y_limits=[(low, high)]
    )
    return figure, caption


def _look(quantizer: str, size: int, centres: int) -> Look:
    if quantizer == "vq":
        return vq_look(size)
    look = dvq_look(4 if size == centres else 8)
    return as_kmeans(look) if quantizer == "kmeans" else look


def _centres(selection: Selection) -> int:
    return int(selection.grids[0].axes["centres"][0])


def _groups_text(selection: Selection) -> str:
    found = [grid.axes["groups"] for grid in selection.grids if grid.name.endswith("dependence")]
    return listed(found[0]) if found else ""
