"""Reports of few items that are quickly drawn: the page is the same whatever the catalogue holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.build import make
from analysis.claims import product as claims
from analysis.data.needs import Grid, Needs, distinct
from analysis.data.rows import load_rows
from analysis.data.selection import Selection
from analysis.draw.sheet import Drawn
from analysis.items import Item, figure
from analysis.output.product import Output, Product, UnfitError
from analysis.output.tables import Column, Section, Table
from analysis.report.page import Report, origin_of
from analysis.report.render import render
from tests.analysis.made_up import Row, rows

SWEEP = """\
name: made_up
trainable: static_prior
seeds: 3
grids:
  small: {quantizer: vq, dimension: [2, 4], codebook_size: 4, factors: 16}
  more: {quantizer: vq, dimension: 8, codebook_size: 4, factors: 16}
"""
VERSIONS = {"numpy": "2.4.6", "torch": "2.13.0"}


def from_(cells: Sequence[Row], **provenance: Any) -> list[Row]:
    """The cells with where they were computed; versions as JSON."""
    known = {"run_host": "here", "run_device": "a processor", "run_versions": json.dumps(VERSIONS), **provenance}
    return [{**cell, **known} for cell in cells]


def cells() -> list[Row]:
    return from_(list(rows(3, quantizer="vq", dimension=[2, 4], codebook_size=4, factors=16)))


def _every_dimension(frame: pd.DataFrame) -> Sequence[Grid]:
    return [Grid(quantizer="vq", axes={"dimension": distinct(frame, "dimension"), "factors": (16,)})]


def needs(**changes: Any) -> Needs:
    given: dict[str, Any] = {
        "trainable": "static_prior",
        "metrics": ("test_mse",),
        "grids": ("vq: every dimension",),
        "choose": _every_dimension,
        "sweeps": ("sweeps/small.yaml", "sweeps/large.yaml"),
        "seeds_by": ("factors",),
        **changes,
    }
    return Needs(**given)


def draw(selection: Selection) -> Drawn:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2])
    return Drawn(figure=figure, message="It <rises>.", caption="A caption.")


def draw_photograph(selection: Selection) -> Drawn:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().imshow([[0.0, 1.0]])
    return Drawn(figure=figure, message="It shines.", caption="A caption.")


def tabulate(selection: Selection) -> Product:
    columns = [Column(heading="model", is_text=True), Column(heading="loss", group="test")]
    sections = [Section(title="here", rows=[["VQ <i>", "1.5 ± 0.1"], ["DVQ", "–"]])]
    table = Table(name="Table 9", title="Losses.", columns=columns, sections=sections, notes=["A note."])
    return Product(files={}, caption="Table 9. Losses.", table=table)


def refuse(selection: Selection) -> Product:
    raise UnfitError("nothing in it can be told apart")


ITEMS = {
    "cost": replace(figure("A figure", needs())(draw), name="cost"),
    "table": Item(name="table", title="A table", needs=needs(), make=tabulate),
    "unfit": Item(name="unfit", title="An unfit one", needs=needs(), make=refuse),
    "elsewhere": Item(
        name="elsewhere", title="An absent one", make=tabulate,
        needs=needs(trainable="learned_prior", choose=lambda frame: ()),
    ),
}  # fmt: skip

PHOTOGRAPH = replace(figure("A photograph", needs())(draw_photograph), name="photograph")


def report_of(
    *stores: str,
    items: Mapping[str, Item] | None = None,
    only: Mapping[str, str] | None = None,
    output: Output = Output.FILES | Output.PAGE,
    **how: Any,
) -> bytes:
    held, wanted = load_rows(stores, only), (ITEMS if items is None else items).values()
    attempts = [make(item, held, allow_missing=True, output=output) for item in wanted]
    origin, results = origin_of(held), claims.results(held)
    return render(Report(attempts=attempts, claims=results, origin=origin, **how))
