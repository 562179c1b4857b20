"""Reconstructions (paper, appendix): test images, and beneath them what each model makes of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from ...data.selection import Selection
from ...draw.style import GREY, SMALL_POINTS, WIDTH_INCHES
from ...draw.text_layout import footnote, wrapped
from ...known import PICTURE, RECONSTRUCTION, UNIGRAM_CODES
from ...output.products import UnfitError
from ...output.words import either
from . import words
from .models import DataSet, data_sets_of, model_of, varying_in

Pixels = npt.NDArray[np.float32]
"""[height, width, 3], 0 to 1."""

_EDGE, _NAMES, _TITLE, _LINE, _SPACE = 0.06, 1.95, 0.24, 0.125, 0.06
"""Inches: of the margin, the names, a data set's title, a line of the footnote, and from the images to that."""
_MOST_INCHES = 7.2
"""Of all images above each other."""
_GAP = 1 / 16
"""White between images, as a share of their size."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Images beside each other, and what stands to their left."""

    name: str
    numbers: str
    images: Pixels | None
    """[size, images * size, 3]; None where there are none."""


def draw_reconstructions(selection: Selection) -> tuple[Figure, str]:
    """For each data set a row of originals and one for each model, of the lowest seed."""
    blocks = [(images.title, _rows(selection, images)) for images in data_sets_of(selection.grids)]
    seeds = either(sorted({f"seed {seed}" for lowest in selection.seeds.values() for seed in lowest}))
    note = words.note(
        selection,
        f"One training of each model ({seeds}), not chosen; images evenly spaced through the test set. "
        "Numbers: bits/dim of all test images by this training, reconstruction + codes under a unigram prior.",
        f"{words.data_sets(selection)}.",
    )
    caption = (
        "Reconstructions. Test images and the pixels that each model expects given their codes. "
        f"Reconstruction is {words.RECONSTRUCTION}. {note}"
    )
    return _figure(blocks, note), caption


def _rows(selection: Selection, images: DataSet) -> list[_Row]:
    models = [model_of(grid) for grid in selection.grids]
    varying = varying_in(models)
    originals: dict[bytes, tuple[str, Pixels]] = {}
    rows = []
    for grid, model in zip(selection.grids, models, strict=True):
        if not any(point["dataset"] == images.dataset and point["image_size"] == images.image_size
                   for point in grid.points):  # fmt: skip
            continue
        cells = grid.usable
        cells = cells[(cells["dataset"] == images.dataset) & (cells["image_size"] == images.image_size)]
        below, numbers = None, "missing"
        for cell in cells.to_dict("records"):  # at most one: the lowest seed
            above, below = _halves(selection.beside.artifacts[cell["cell_id"]][PICTURE], cell["cell_id"])
            originals[above.tobytes()] = (cell["cell_id"], above)
            numbers = f"{cell[RECONSTRUCTION]:.2f} + {cell[UNIGRAM_CODES]:.2f}"
        rows.append(_Row(name=model.label(varying), numbers=numbers, images=below))
    if len(originals) > 1:
        cells_apart = " and ".join(str(cell_id) for cell_id, _ in originals.values())
        raise UnfitError(f"{images.title}: {PICTURE} of cells {cells_apart} show different originals")
    return [*(_Row(name="Test images", numbers="", images=above) for _, above in originals.values()), *rows]


def _halves(content: bytes, cell_id: str) -> tuple[Pixels, Pixels]:
    """The upper and the lower half of a picture."""
    try:
        pixels = np.asarray(imread(io.BytesIO(content), format="png"), dtype=np.float32)[..., :3]
    except (OSError, SyntaxError, ValueError) as error:
        raise UnfitError(f"{PICTURE} of cell {cell_id} cannot be read: {error}") from error
    size = len(pixels) // 2
    if pixels.ndim != 3 or size == 0 or len(pixels) % 2 or pixels.shape[1] % size:
        raise UnfitError(f"{PICTURE} of cell {cell_id} is no pair of rows of square images: {pixels.shape}")
    return pixels[:size], pixels[size:]


def _figure(blocks: Sequence[tuple[str, Sequence[_Row]]], note: str) -> Figure:
    figure = Figure(figsize=(WIDTH_INCHES, 1.0))
    FigureCanvasAgg(figure)
    lines = wrapped(figure, note, WIDTH_INCHES - 2 * _EDGE)
    most = max((_images_in(row.images) for _, rows in blocks for row in rows if row.images is not None), default=1)
    count = sum(len(rows) for _, rows in blocks)
    pitch = min((WIDTH_INCHES - _NAMES - _EDGE) / most, _MOST_INCHES / count)
    foot = _EDGE + len(lines) * _LINE + _SPACE
    height = foot + count * pitch + len(blocks) * _TITLE
    figure.set_size_inches(WIDTH_INCHES, height)
    left = (WIDTH_INCHES - most * pitch + _NAMES - _EDGE) / 2  # images and names together in the middle
    top = height
    for title, rows in blocks:
        middle = (left + most * pitch / 2) / WIDTH_INCHES
        figure.text(middle, (top - _TITLE / 2) / height, title, ha="center", va="center")
        top -= _TITLE
        for row in rows:
            top -= pitch
            _place(figure, row, left=left, bottom=top, pitch=pitch, images=most)
    footnote(figure, lines, _EDGE)
    return figure


def _place(figure: Figure, row: _Row, *, left: float, bottom: float, pitch: float, images: int) -> None:
    width, height = figure.get_size_inches()
    at = ((left - 0.1) / width, (bottom + pitch / 2) / height)
    text = f"{row.name}\n{row.numbers}" if row.numbers else row.name
    figure.text(*at, text, size=SMALL_POINTS + 0.5, ha="right", va="center", linespacing=1.3)
    shown = 1 if row.images is None else _images_in(row.images)
    size = pitch * (1 - _GAP)
    for i in range(images if row.images is None else shown):
        place = ((left + i * pitch) / width, (bottom + pitch * _GAP / 2) / height, size / width, size / height)
        axes = figure.add_axes(place, label=f"{bottom} {i}", xticks=[], yticks=[])
        if row.images is None:
            axes.patch.set(hatch="////", edgecolor=GREY, facecolor="white")
        else:
            side = len(row.images)
            axes.imshow(row.images[:, i * side : (i + 1) * side], interpolation="none", vmin=0, vmax=1)
        axes.spines[:].set_visible(False)


def _images_in(row: Pixels) -> int:
    height, width, _ = row.shape
    return int(width // height)
