"""Figure 4 of the paper: depthwise quantizers against plain ones, over the number of factors."""

from __future__ import annotations

from dataclasses import replace

from ...data.needs import at
from ...data.selection import SelectedGrid, Selection
from ...draw.sheet import Drawn, Sheet, handle, level_handle
from ...draw.style import DASHED, Look
from ...items import figure
from ...naming import number
from ...output.messages import duel, said, tally
from ...output.words import capitalised
from . import _shared as shared


@figure(
    "Figure 4: test loss over the number of factors, DVQ against VQ with equal and larger codebooks",
    shared.static_prior_needs(("test_mse", "data_variance", "bits_per_vector"), shared.dvq_grids, *shared.DVQ_GRIDS),
)
def figure4(selection: Selection) -> Drawn:
    """A panel for each dimension, a line for each model."""
    vq, dvq, kmeans = selection["vq"], selection["dvq"], selection.grid("kmeans")
    dimensions, factors, slices = (dvq.axes[axis] for axis in ("dimension", "factors", "slices"))
    sizes, size = vq.axes["codebook_size"], dvq.axes["codebook_size"][0]
    titles = [f"dimension D = {number(dimension)}" for dimension in dimensions]
    looks = {s: _dvq_look(dvq, vq, s) for s in slices}
    sheet = Sheet(titles, columns=3, inches=2.5 if len(titles) <= 6 else 1.9)  # three rows fit a page
    for panel, dimension in zip(sheet.panels, dimensions, strict=True):
        panel.log_x(factors)
        shared.draw_variance(panel, "factors", at(vq.usable, dimension=dimension))
        for grid, by, look in ((kmeans, "codebook_size", shared.kmeans_look), (vq, "codebook_size", shared.vq_look),
                               (dvq, "slices", lambda s: looks[s])):  # fmt: skip
            if grid:
                panel.models(at(grid.means("test_mse"), dimension=dimension), "factors", by, look)
    vq_bits, dvq_bits = _bits(vq, "codebook_size"), _bits(dvq, "slices")
    legend = [
        [handle(shared.vq_look(k), f"VQ, K = {number(k)} ({vq_bits[k]} bits)") for k in sizes],
        [handle(looks[s], f"DVQ, K = {number(size)}, L = {number(s)} ({dvq_bits[s]} bits)") for s in slices],
        [
            *([handle(shared.kmeans_look(size), f"k-means, K = {number(size)}")] if kmeans else []),
            level_handle("predicting the mean: variance of the data"),
        ],
    ]
    note = shared.note(
        selection,
        "VQ: one codebook; DVQ: L slices, each with a codebook of its own; K: codebook size; bits: of the code of "
        "one vector; a DVQ has the colour of the VQ of as many bits. "
        f"{capitalised(shared.uniform(dvq.axes['init_bound'][0]))}.",
    )
    caption = (
        "Figure 4. Test loss over the number of factors F behind the data: depthwise quantizers (DVQ) with "
        f"K = {number(size)} against plain ones (VQ) with the same and with larger codebooks. "
        f"{shared.VARIANCE} {'Each row has a scale of its own. ' if len(titles) > 3 else ''}{note}"
    )
    return sheet.finish(
        x_label=shared.FACTORS, y_label=shared.LOSS, legend=legend, footnote=note, message=_message(vq, dvq),
        caption=caption, rows_alike=False,
    )  # fmt: skip


def _message(vq: SelectedGrid, dvq: SelectedGrid) -> str:
    """DVQ against the VQ with as many codes in a codebook, and against the largest VQ."""
    plain, sliced, where = vq.means("test_mse"), dvq.means("test_mse"), ["dimension", "factors"]
    size, *_, largest = [*dvq.axes["codebook_size"], *vq.axes["codebook_size"]]
    parts = []
    for k in dict.fromkeys((size, largest)):
        theirs = sliced[where].merge(at(plain, codebook_size=k), on=where, how="left")
        parts.append(duel(f"DVQ with K = {number(size)}", f"VQ with K = {number(k)}", tally(sliced, theirs), "loss"))
    return said(*parts)


def _dvq_look(dvq: SelectedGrid, vq: SelectedGrid, slices: int) -> Look:
    """The colour of the VQ whose codes have as many bits, dashed, where it is drawn; or else that of the DVQ."""
    partner = dvq.axes["codebook_size"][0] ** slices
    look = shared.dvq_look(slices)
    if slices == 1 or partner not in vq.axes["codebook_size"]:
        return look
    return replace(look, colour=shared.vq_look(partner).colour, line=DASHED)


def _bits(grid: SelectedGrid, column: str) -> dict[float, str]:
    """`bits_per_vector` by that column; '?' where no cell of it can be used."""
    bits = grid.usable.groupby(column)["bits_per_vector"].first()
    return {value: number(bits[value]) if value in bits.index else "?" for value in grid.axes[column]}
