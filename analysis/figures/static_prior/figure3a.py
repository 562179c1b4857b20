"""Figure 3(a) of the paper: what more dimensions do to a plain VQ."""

from __future__ import annotations

from ...data.needs import at
from ...data.selection import Selection
from ...draw.sheet import Drawn, Sheet
from ...items import figure
from ...naming import listed
from ...output.messages import said, trend
from . import _shared as shared


@figure(
    "Figure 3(a): test loss of plain VQ over the dimension, for each codebook size and initial bound",
    shared.static_prior_needs(("test_mse", "data_variance"), shared.vq_grids, *shared.VQ_GRIDS),
)
def figure3a(selection: Selection) -> Drawn:
    """A panel for each initial bound, a line for each codebook size."""
    vq, kmeans = selection["vq"], selection.grid("kmeans")
    bounds, losses = vq.axes["init_bound"], vq.means("test_mse")
    yardstick = kmeans.means("test_mse") if kmeans else None
    columns = 2 if len(bounds) in (2, 4) else 3
    sheet = Sheet([shared.uniform(b) for b in bounds], columns=columns, inches=2.1)
    for panel, bound in zip(sheet.panels, bounds, strict=True):
        panel.log_x(vq.axes["dimension"])
        shared.draw_variance(panel, "dimension", vq.usable)
        shared.draw_vq(panel, "dimension", at(losses, init_bound=bound), yardstick)
    note = shared.note(selection, f"K: codebook size; F = {listed(vq.axes['factors'])} factors (Gaussian blobs).")
    caption = (
        "Figure 3(a). Test loss of a plain vector quantizer (VQ) over the dimension D of the data, for each "
        "codebook size K and each range of initial codes. "
        f"{'Dashed: k-means with the same K. ' if kmeans else ''}{shared.VARIANCE} {note}"
    )
    legend = shared.vq_legend(vq.axes["codebook_size"], kmeans=kmeans is not None)
    lines = [line for _, line in losses.groupby(["codebook_size", "init_bound"])]
    message = said(trend("the test loss of plain VQ", "the dimension D", lines))
    # From zero, although losses span powers: the question is whether those of large dimensions differ, all close to the
    # variance. On a scale of ratios they would be one line.
    top = max(vq.usable["data_variance"].max(), losses["high"].max(), losses["mean"].max())
    return sheet.finish(
        x_label=shared.DIMENSION, y_label=shared.LOSS, legend=legend, footnote=note, message=message, caption=caption,
        y_limits=[(0.0, 1.06 * float(top))] * -(-len(bounds) // columns),
    )  # fmt: skip
