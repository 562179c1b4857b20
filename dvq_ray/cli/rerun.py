"""`python -m dvq_ray.rerun STORE CELL_ID`: one stored cell again, in this process, held against its row."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click
import pyarrow.compute as pc
from pydantic import ValidationError
from rich.table import Table

from dvq_ray.cli.agreement import DIFFERENT, Explanation, explain, judge
from dvq_ray.cli.terminal import Command, complain, console
from dvq_ray.execution.executor import ResourcesError
from dvq_ray.execution.in_process import InProcess
from dvq_ray.execution.pack import run_cell
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.problems import SweepFileError
from dvq_ray.providers import ProviderError
from dvq_ray.store import FINISHED, Store, StoreError
from dvq_ray.store.provenance import Run
from dvq_ray.store.rows import python_value
from dvq_ray.sweep.cells import Cell, Point
from dvq_ray.sweep.spec import Resources, parse_sweep

SHOWN_CELLS = 3


class NoSuchCellError(ValueError):
    """The store has no such cell, or not one that can be run here."""


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("store")
@click.argument("cell_id")
@click.option(
    "--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]), help="Where to compute."
)
def main(store: str, cell_id: str, device: str) -> None:
    """Run the cell CELL_ID of the store STORE again and compare. The store is only read.

    Numbers may differ if one row was computed on a GPU, or with other versions of numpy, numba, scikit-learn or torch;
    those of image trainings also on another processor. The difference in the experiment's main metric is then compared
    with the standard deviation between the stored seeds of the same point.

    Exit codes: 0 identical, or within 1%, or different for one of these reasons and by no more than two seeds differ;
    1 different otherwise; 2 there is no such cell, or it cannot be run here.
    """
    try:
        InProcess().check(Resources(gpu=float(device == "cuda")))
        opened = Store(store)
        stored = _stored_row(opened, cell_id)
        cell = _cell(stored)
        surroundings = Surroundings(device=device, data=_data(opened, cell))
        seeds = _seeds(opened, cell)
    except (NoSuchCellError, StoreError, ResourcesError, UnicodeDecodeError) as error:
        complain(str(error))
        sys.exit(2)
    fresh, _ = run_cell(cell, Run.start(str(stored.get("sweep"))), surroundings)
    experiment = cell.point.experiment
    names = [name for name, metric in experiment.measures().items() if metric.is_result]
    screen = console()
    screen.print(_comparison(stored, fresh, ["status", *names]))
    verdict = judge(stored, fresh, names)
    explanation = explain(experiment, stored, fresh, seeds) if verdict == DIFFERENT else Explanation()
    if fresh["status"] != stored["status"] and fresh.get("error"):
        screen.print(f"now: {str(fresh['error']).partition(chr(10))[0]}")
    for line in explanation.lines:
        screen.print(line)
    screen.print(f"{cell_id}: {verdict}{', as expected' if explanation.is_expected else ''}")
    sys.exit(verdict == DIFFERENT and not explanation.is_expected)


def _stored_row(store: Store, cell_id: str) -> dict[str, Any]:
    there = list(store.statuses())
    if cell_id not in there:
        begin_so = [each for each in there if cell_id and each.startswith(cell_id)]
        near = f"; did you mean {' or '.join(begin_so[:SHOWN_CELLS])}?" if begin_so else ""
        have = "no cells" if not there else "no cell of that id"
        raise NoSuchCellError(f"{store.location}: {have}; looked for {cell_id!r}, see the column cell_id{near}")
    frame = store.load(where=pc.field("cell_id") == cell_id)
    return {str(name): python_value(value) for name, value in frame.iloc[0].items()}


def _seeds(store: Store, cell: Cell) -> list[float]:
    """The main metric of all finished seeds of the cell's point."""
    experiment = cell.point.experiment
    there = pc.field("point_id") == cell.point.point_id
    frame = store.load(["status", experiment.main_metric], where=there)
    values = [experiment.main_value({experiment.main_metric: value})
              for value in frame.loc[frame["status"].isin(FINISHED), experiment.main_metric]]  # fmt: skip
    return [value for value in values if value is not None]


def _cell(row: Mapping[str, Any]) -> Cell:
    """The cell that a row describes. Raises `NoSuchCellError` where its id is not what this version would give."""
    if missing := [name for name in ("trainable", "quantizer", "revision", "seed") if row.get(name) is None]:
        raise NoSuchCellError(f"the row of {row['cell_id']} has no {', '.join(missing)}")
    try:
        experiment = find_experiment(row["trainable"])
        settings = experiment.settings_of_row(row)
    except ProviderError as error:
        raise NoSuchCellError(f"the cell's {row['trainable']} with {row['quantizer']} is not found: {error}") from None
    except ValidationError as error:
        raise NoSuchCellError(f"the row's settings are not valid in this version: {error}") from None
    cell = Cell(cell_id=row["cell_id"], point=Point(experiment=experiment, settings=settings), seed=row["seed"])
    if cell.point.cell_id(cell.seed) != cell.cell_id:
        raise NoSuchCellError(
            f"the cell is of revision {row['revision']} with other fields or defaults; this version is of revision "
            f"{experiment.revision} and would compute something else. Check out {row.get('run_commit')} to run it again"
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


def _comparison(stored: Mapping[str, Any], fresh: Mapping[str, Any], names: list[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "stored", "now"):
        table.add_column(heading, overflow="fold")
    for name in names:
        table.add_row(name, str(stored.get(name)), str(fresh.get(name)))
    return table
