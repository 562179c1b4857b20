"""`python -m dvq_ray.rerun STORE CELL_ID`: one stored cell again, in this process, held against its row."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import click
import pandas as pd
import pyarrow.compute as pc
from pydantic import ValidationError
from rich.table import Table

from dvq_ray.cells import Cell, Point
from dvq_ray.experiments import EXPERIMENTS
from dvq_ray.pack import run_cell
from dvq_ray.problems import SweepFileError
from dvq_ray.provenance import Run
from dvq_ray.spec import parse_sweep
from dvq_ray.store import Store, StoreError
from dvq_ray.surroundings import Surroundings
from dvq_ray.terminal import Command, complain, console

RELATIVE_TOLERANCE = 0.01
"""Between a GPU and a CPU, or two processors: roundings differ, and a code or two ends elsewhere."""

_NOT_A_RESULT = {"duration_seconds", "images_per_second", "peak_memory_bytes"}


class NoSuchCellError(ValueError):
    """The store has no such cell, or not one that can be run here."""


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("store")
@click.argument("cell_id")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu or cuda.")
def main(store: str, cell_id: str, device: str) -> None:
    """Run the cell CELL_ID of the store STORE again and compare. The store is only read.

    Exit codes: 0 identical or within tolerance; 1 different; 2 there is no such cell.
    """
    try:
        stored = _stored_row(Store(store), cell_id)
        cell = _cell(stored)
        surroundings = Surroundings(device=device, data=_data(Store(store), cell))
    except (NoSuchCellError, StoreError) as error:
        complain(str(error))
        sys.exit(2)
    fresh, _ = run_cell(cell, Run.start(str(stored["sweep"])), surroundings)
    names = [field.name for field in fields(cell.point.experiment.metrics) if field.name not in _NOT_A_RESULT]
    screen = console()
    screen.print(_comparison(stored, fresh, ["status", *names]))
    verdict = judge(stored, fresh, names)
    screen.print(f"{cell_id}: {verdict}")
    sys.exit(verdict == "different")


def judge(stored: Mapping[str, Any], fresh: Mapping[str, Any], names: list[str]) -> str:
    """`identical` (to the bit), `within tolerance` (1% of each figure) or `different`."""
    pairs = [(stored.get(name), fresh.get(name)) for name in names]
    if stored["status"] != fresh["status"]:
        return "different"
    if all(_same(a, b) for a, b in pairs):
        return "identical"
    close = all(_same(a, b) or _close(a, b) for a, b in pairs)
    return "within tolerance" if close else "different"


def _stored_row(store: Store, cell_id: str) -> dict[str, Any]:
    frame = store.load(where=pc.field("cell_id") == cell_id)
    if frame.empty:
        have = "no cells" if not store.statuses() else "no cell of that id"
        raise NoSuchCellError(f"{store.location}: {have}; looked for {cell_id} (see the column cell_id)")
    return {str(name): _plain(value) for name, value in frame.iloc[0].items()}


def _cell(row: Mapping[str, Any]) -> Cell:
    """The cell that a row describes. Raises `NoSuchCellError` where its id is not what this version would give."""
    experiment = EXPERIMENTS.get(row["trainable"])
    if experiment is None or row["quantizer"] not in experiment.variants:
        raise NoSuchCellError(f"this version knows no {row['trainable']} with the quantizer {row['quantizer']}")
    known = experiment.variants[row["quantizer"]].model_fields
    try:
        settings = experiment.settings({name: row[name] for name in known if row.get(name) is not None})
    except ValidationError as error:
        raise NoSuchCellError(f"the row's settings are not valid in this version: {error}") from None
    cell = Cell(cell_id=row["cell_id"], point=Point(experiment=experiment, settings=settings), seed=row["seed"])
    if cell.point.cell_id(cell.seed) != cell.cell_id:
        raise NoSuchCellError(
            f"the cell is of revision {row['revision']} with other fields or defaults; this version is of revision "
            f"{experiment.revision} and would compute something else. Check out {row['run_commit']} to run it again"
        )
    return cell


def _data(store: Store, cell: Cell) -> Mapping[str, Any]:
    """The data sets of the store's sweep file. Raises `NoSuchCellError` where the cell's are not there."""
    data_sets = cell.point.experiment.data_sets
    if data_sets is None:
        return {}
    text = store.sweep_text()
    try:
        data = parse_sweep(text, f"{store.location}/sweep.yaml").data if text else data_sets.built_in
    except SweepFileError as error:
        raise NoSuchCellError(str(error)) from None
    if problems := data_sets.problems([cell.point.settings], data):
        raise NoSuchCellError("\n".join(problems))
    return data


def _plain(value: Any) -> Any:
    """A pandas value as the plain Python value that a fresh row holds; None where it is missing."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return value
    return None if pd.isna(value) else value


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=RELATIVE_TOLERANCE)
    return False


def _comparison(stored: Mapping[str, Any], fresh: Mapping[str, Any], names: list[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "stored", "now"):
        table.add_column(heading, overflow="fold")
    for name in names:
        table.add_row(name, str(stored.get(name)), str(fresh.get(name)))
    return table


if __name__ == "__main__":
    main()
