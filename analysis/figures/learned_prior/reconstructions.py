"""Reconstructions (paper, appendix): test images, and beneath them what each model makes of them."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from ...data.selection import Selection
from ...draw.sheet import Drawn, Panel, Sheet
from ...draw.style import GREY, current
from ...items import figure
from ...output.messages import said
from ...output.product import UnfitError
from ...output.words import either
from . import _shared as shared
from ._columns import PICTURE, RECONSTRUCTION, UNIGRAM_CODES
from ._models import DataSet, Entry, entries_of

Pixels = npt.NDArray[np.float32]
"""[height, width, 3], 0 to 1."""

_NAMES_INCHES = 1.95
_MOST_INCHES = 6.8
"""Height of all images above each other."""
_LEAST_INCHES = 0.28
"""Height of an image, which has two lines of text next to it."""
_GAP = 1 / 16
"""White between images, as a share of their size."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Images beside each other, and what is to their left."""

    name: str
    numbers: str
    images: Pixels | None
    """[size, images * size, 3]; None where there are none."""


@figure(
    "Reconstructions (appendix): test images and what every model makes of them",
    shared.comparison(
        RECONSTRUCTION, UNIGRAM_CODES, least_repetitions=1, lowest_seed_only=True, artifacts=(PICTURE,)
    ),
)  # fmt: skip
def reconstructions(selection: Selection) -> Drawn:
    """For each data set a row of originals and one for each model, of the lowest seed."""
    blocks = {images: _rows(images, entries) for images, entries in entries_of(selection).items()}
    count = sum(map(len, blocks.values()))
    most = max((_count(row.images) for rows in blocks.values() for row in rows if row.images is not None), default=1)
    most = min(most, int((current().inches - _NAMES_INCHES) / _LEAST_INCHES))
    pitch = min((current().inches - _NAMES_INCHES) / most, _MOST_INCHES / count)
    sheet = Sheet(
        [images.title for images in blocks], columns=1, inches=[len(rows) * pitch for rows in blocks.values()]
    )
    for panel, rows in zip(sheet.panels, blocks.values(), strict=True):
        _draw(panel, rows, most)
    seeds = either(sorted({f"seed {seed}" for lowest in selection.seeds.values() for seed in lowest}))
    note = shared.note(
        selection,
        f"One training of each model ({seeds}), not chosen; images evenly spaced through the test set. "
        "Numbers: bits/dim of all test images by this training, reconstruction + codes under a unigram prior.",
    )
    caption = (
        "Reconstructions. Test images and the pixels that each model expects given their codes. "
        f"Reconstruction is {shared.RECONSTRUCTION_IS}. {note}"
    )
    limits = [(float(len(rows)), 0.0) for rows in blocks.values()]
    models = {entry.label for entries in entries_of(selection).values() for entry in entries}
    message = said(f"test images, and what {len(models)} models make of them after one training each")
    return sheet.finish(x_label="", footnote=note, y_limits=limits, gap=0.0, message=message, caption=caption)


def _rows(images: DataSet, entries: list[Entry]) -> list[_Row]:
    originals: dict[bytes, tuple[str, Pixels]] = {}
    rows = []
    for entry in entries:
        below, numbers = None, "missing"
        for cell in images.of(entry.grid.usable).to_dict("records"):  # at most one: the lowest seed
            content = entry.grid.selection.curves_and_artifacts.artifacts[cell["cell_id"]][PICTURE]
            above, below = _halves(content, cell["cell_id"])
            originals[above.tobytes()] = (cell["cell_id"], above)
            numbers = f"{cell[RECONSTRUCTION]:.2f} + {cell[UNIGRAM_CODES]:.2f}"
        rows.append(_Row(name=entry.label, numbers=numbers, images=below))
    if len(originals) > 1:
        differing = " and ".join(str(cell_id) for cell_id, _ in originals.values())
        raise UnfitError(f"{images.title}: {PICTURE} of cells {differing} show different originals")
    return [*(_Row(name="Test images", numbers="", images=above) for _, above in originals.values()), *rows]


def _halves(content: bytes, cell_id: str) -> tuple[Pixels, Pixels]:
    """The upper and the lower half of a picture."""
    try:
        pixels = np.asarray(imread(io.BytesIO(content), format="png"), dtype=np.float32)[..., :3]
    except (OSError, SyntaxError, ValueError) as error:
        raise UnfitError(f"{PICTURE} of cell {cell_id} cannot be read: {error}") from error
    size = len(pixels) // 2
    if pixels.ndim != 3 or size == 0 or len(pixels) % 2 or pixels.shape[1] % size:
        raise UnfitError(f"{PICTURE} of cell {cell_id} is not a pair of rows of square images: {pixels.shape}")
    return pixels[:size], pixels[size:]


def _draw(panel: Panel, rows: list[_Row], most: int) -> None:
    """The rows beneath each other, each image in a square of side 1, and hatching where there are none."""
    for i, row in enumerate(rows):
        for j in range(most if row.images is None else min(most, _count(row.images))):
            left, right, bottom, top = j, j + 1 - _GAP, i + 1 - _GAP / 2, i + _GAP / 2
            if row.images is None:
                at, look = (left, top), {"hatch": "////", "edgecolor": GREY, "facecolor": "white", "linewidth": 0}
                panel.axes.add_patch(Rectangle(at, right - left, bottom - top, **look))  # type: ignore[arg-type]
            else:
                image = row.images[:, j * len(row.images) : (j + 1) * len(row.images)]
                panel.axes.imshow(image, extent=(left, right, bottom, top), interpolation="none", vmin=0, vmax=1)
    panel.axes.set(xlim=(0, most), ylim=(len(rows), 0), aspect="equal", anchor="C", xticks=[])
    names = [f"{row.name}\n{row.numbers}".strip() for row in rows]
    panel.axes.set_yticks(np.arange(len(rows)) + 0.5, names, linespacing=1.3)
    panel.grid = ""
    panel.axes.spines[:].set_visible(False)


def _count(images: Pixels) -> int:
    return int(images.shape[1] // images.shape[0])
