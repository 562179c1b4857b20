"""Bits over the number of slices, under every prior, with the best number of slices under each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ...data.needs import Grid, at
from ...data.selection import Selection
from ...draw.sheet import Drawn, Sheet, handle
from ...draw.style import DASHED, Look
from ...items import figure
from ...output.messages import said
from ...output.words import caveats, sentences
from ..learned_prior._slices import SEVERAL_SLICE_COUNTS, best_slices, several_slice_counts
from . import _shared as shared
from ._shared import PRIOR, RECONSTRUCTION, TOTAL, in_order

_COLUMNS = 3
_FAMILY = ["dimension", "codebook_size"]
_LOOKS = {
    RECONSTRUCTION: Look(colour="#8A8A8A", marker="o"),
    "uniform": Look(colour="#111111", marker="v", line=DASHED),
    "unigram": Look(colour="#111111", marker="s"),
    "positional": Look(colour="#7A5195", marker="D"),
    "chain": Look(colour="#2F6DA8", marker="o"),
    "spatial": Look(colour="#D9662B", marker="^"),
}
_OTHER = Look(colour="#3C8D5A", marker="P")


def _several_slice_counts(rows: pd.DataFrame) -> Sequence[Grid]:
    return shared.of_images(several_slice_counts(rows[rows[TOTAL].notna()], _FAMILY))


@figure(
    "Bits per dimension over the number of slices of DVQ at a fixed dimension, under every prior over the codes",
    shared.needs(TOTAL, RECONSTRUCTION, which=SEVERAL_SLICE_COUNTS, choose=_several_slice_counts),
)
def code_totals_over_slices(selection: Selection) -> Drawn:
    """A panel for each width of the latent and codebook size; the lowest total under each prior is filled."""
    heads = selection.rows[selection.rows["dimension"].notna()].drop_duplicates(shared.PARENT)
    dimensions = dict(zip(heads[shared.PARENT], heads["dimension"].astype(int), strict=True))
    tables = {
        metric: pd.concat([
            grid.means(metric).assign(dimension=dimensions[grid.axes[shared.PARENT][0]]) for grid in selection.grids
        ]) for metric in (TOTAL, RECONSTRUCTION)
    }  # fmt: skip
    families = tables[TOTAL][_FAMILY].drop_duplicates().sort_values(_FAMILY).to_dict("records")
    sheet = Sheet(
        [f"D = {each['dimension']}, K = {each['codebook_size']}" for each in families], columns=_COLUMNS, inches=2.4
    )
    priors, best = in_order(tables[TOTAL][PRIOR].unique().tolist()), []
    for panel, family in zip(sheet.panels, families, strict=True):
        here = {metric: at(its, **family) for metric, its in tables.items()}  # type: ignore[arg-type]
        panel.log_x(sorted(here[TOTAL]["slices"].unique()))
        alone = here[RECONSTRUCTION].drop_duplicates("slices").sort_values("slices")
        panel.points(alone["slices"], alone, _LOOKS[RECONSTRUCTION])
        for prior in priors:
            points = at(here[TOTAL], prior=prior).sort_values("slices")
            panel.points(points["slices"], points, _LOOKS.get(prior, _OTHER), hollow=True)
            least = points.loc[points["mean"] == points["mean"].min()]
            panel.points(least["slices"], least, _LOOKS.get(prior, _OTHER))
            best += [f"{int(slices)} under {prior}" for slices in least["slices"]]
    note = sentences(
        f"{shared.PRIORS_ARE}. Filled: the number of slices with the lowest total, which is {', '.join(best)}. Means "
        f"of {shared.repetitions(selection)} with 95% t-intervals. {shared.data_text(selection)}.",
        caveats(selection),
    )
    legend = [handle(_LOOKS[RECONSTRUCTION], "reconstruction alone")]
    legend += [handle(_LOOKS.get(prior, _OTHER), f"with codes, {prior}", hollow=True) for prior in priors]
    low, high = tables[RECONSTRUCTION]["mean"].min(), tables[TOTAL]["mean"].max()
    room = 0.08 * (high - low)
    limits = [(low - room, high + room)] * math.ceil(len(families) / _COLUMNS)  # from 0, the priors would be one line
    caption = (
        "Bits per dimension of test images over the number of slices L that DVQ cuts a latent of a fixed width D into, "
        f"with a codebook of K codes for each slice: reconstruction alone, and with the codes under each prior. {note}"
    )
    message = said(*(
        f"D = {family['dimension']}, K = {family['codebook_size']}: {_best_slices(tables[TOTAL], family)}"
        for family in families
    ))  # fmt: skip
    return sheet.finish(
        x_label="number of slices L", y_label="bits/dim of test images", legend=[legend], footnote=note,
        y_limits=limits, message=message, caption=caption,
    )  # fmt: skip


def _best_slices(table: pd.DataFrame, family: Mapping[Any, Any]) -> str:
    """The best number of slices under the prior that has the lowest total of all."""
    totals = at(table, **family)
    prior = totals.loc[totals["mean"] == totals["mean"].min(), PRIOR].iloc[0]
    return best_slices(at(totals, prior=prior), f"total under the {prior} prior")
