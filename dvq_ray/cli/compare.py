"""`dvq-ray compare FILE --bits 32 64`: quantizers of the rows of a file, ranked at equal bits."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console

from dvq_ray.cli.comparison_tables import Tables
from dvq_ray.cli.duration import Duration
from dvq_ray.cli.sweep_run import REFUSALS, SweepRun
from dvq_ray.cli.terminal import Command, complain, console
from dvq_ray.comparison.declared import Comparison, Found
from dvq_ray.comparison.ranking import advice
from dvq_ray.comparison.sweep_file import (
    SEEDS,
    Contestant,
    contestants,
    problems_of,
    sweep_of,
)
from dvq_ray.declarations.values import causes
from dvq_ray.execution.progress import Progress
from dvq_ray.experiment.data_sets import DataSets, DataSource
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.named import named
from dvq_ray.experiment.registry import built_in_experiments
from dvq_ray.problems import not_among, shown
from dvq_ray.process.interruption import INTERRUPTED
from dvq_ray.store import Store
from dvq_ray.sweep.spec import SweepSpec, parse_sweep
from dvq_ray.sweep.yaml_writer import write_yaml
from dvq_ray.text import span

MOST_BITS = 4096
_HEAD = "# Written by dvq-ray compare, which overwrites it."


class _SeveralBits(Command):
    """Takes `--bits 32 64`, as several of `--bits`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Writes `--bits 32 64` as `--bits 32 --bits 64`."""
        spread: list[str] = []
        for word in args:
            follows = len(spread) > 1 and spread[-2] == "--bits" and re.fullmatch(r"-?\d+", word) is not None
            spread += ["--bits", word] if follows else [word]
        return super().parse_args(ctx, spread)


@click.command(cls=_SeveralBits, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("file")
@click.option("--bits", multiple=True, type=int, required=True, metavar="BITS...", help="Bits of a code; several.")
@click.option("--test", metavar="FILE", help="Rows to test on. Without it a tenth of the rows is held out.")
@click.option("--columns", metavar="NAME,...", help="Columns of a table to take.")
@click.option("--metric", metavar="COLUMN", help="What quantizers are ranked by.  [default: the main metric]")
@click.option("--seeds", type=int, metavar="N", default=SEEDS, show_default=True, help="Repetitions.")
@click.option("--results", default="results", show_default=True, help="Folder or URI that holds the stores.")
@click.option("--time-budget", type=Duration(), metavar="TIME", help="Begin no cell after so long, such as 10min.")
@click.option("--in-process", is_flag=True, help="Run in this process, without Ray.")
@click.option("--report/--no-report", default=True, show_default=True, help="Make the usual figures and report.")
def main(
    file: str,
    bits: Sequence[int],
    test: str | None,
    columns: str | None,
    metric: str | None,
    seeds: int,
    results: str,
    time_budget: float | None,
    in_process: bool,
    report: bool,
) -> None:
    """Compare all installed quantizers of the rows of FILE at equal bits.

    FILE has a row for each vector; the ending of its name says its format. A sweep file is written, which `dvq-ray
    sweep` runs again, then run: first on few rows, so that a table is there soon, then on all of them.

    Exit codes: 0 all cells are done; 1 some failed, or an item of the report was refused; 2 it cannot be run, and
    nothing was written; 3 the time budget was spent before all cells were done; 4 Ray's own processes ended; 130
    interrupted. The same command resumes.
    """
    began = time.monotonic()
    try:
        named = [each.strip() for each in (columns or "").split(",") if each.strip()]
        asked = _asked(file, test, named, [*dict.fromkeys(bits)], metric, seeds, results)
        sys.exit(_run(console(), asked, results, began, time_budget, in_process=in_process, report=report))
    except (_RefusedError, *REFUSALS) as error:
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        complain("interrupted: the same command resumes with what is not in the store")
        sys.exit(INTERRUPTED)


class _RefusedError(ValueError):
    """A comparison that cannot be run; all problems, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join([*problems, "nothing was started and nothing written"]))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A comparison that holds no error."""

    contestants: Sequence[Contestant]
    in_part: Sequence[Contestant]
    """Those that a first look is taken at."""
    only: Sequence[str]
    """`FIELD=VALUE` of what all cells but those of the first look have."""
    tables: Tables
    sweep: Mapping[str, Any]
    spec: SweepSpec
    text: str
    file: Path
    """Of the sweep."""


def _asked(
    file: str, test: str | None, columns: Sequence[str], bits: Sequence[int], metric: str | None, seeds: int,
    results: str,
) -> _Asked:  # fmt: skip
    """Reads the file and checks everything. Raises `_RefusedError` with all problems."""
    experiment, comparison = _experiment()
    assert experiment.data_sets is not None
    problems = [
        f"--bits: found {each}; allowed: 1 to {MOST_BITS}" for each in bits if not 1 <= each <= MOST_BITS
    ]  # fmt: skip
    metric = metric or experiment.main_metric
    ranks = [name for name, each in experiment.measures().items() if each.better and not each.is_per_codebook]
    if metric not in ranks:
        problems.append(f"--metric: {not_among(metric, ranks)}")
    if not 2 <= seeds <= 1000:
        problems.append(f"--seeds: found {seeds}; allowed: 2 to 1000")
    description: Mapping[str, Any] = {}
    found, source, every = None, DataSource(format=""), list[Contestant]()
    try:
        description = comparison.description(_absolute(file), _absolute(test), columns)
        source = _source(experiment.data_sets, description)
        found = comparison.look(source)
    except (ValueError, OSError) as error:
        text = str(error)
        problems.append(text if file in text else f"{file}: {text}")
    if found and not problems:
        every = contestants(experiment, comparison, found, bits)
        missing = [each for each in bits if each not in {one.bits for one in every}]
        problems += [
            f"--bits: found {each}; no installed quantizer makes so many bits of rows with {found.width} numbers"
            for each in missing
        ]
    name = _name(file)
    place = Path(f"{name}.yaml") if "://" in results else Path(results) / f"{name}.yaml"
    if place.is_file() and not place.read_text(errors="replace").startswith(_HEAD):
        problems.append(f"{place}: was not written by this command; move it, or name other --results")
    if found:
        problems += _problems_of_store(Store.under(results, name), experiment, file, found)
    if problems or found is None:
        raise _RefusedError(problems)
    every, left_out = _fitting(experiment, every, name, source, {})
    if not every:
        raise _RefusedError([text for each in left_out for text in each])
    for text in dict.fromkeys(text for each in left_out for text in each):
        complain(f"note: left out: {text}")
    more = comparison.first_look(found)
    in_part = _fitting(experiment, every, name, source, more)[0] if more else []
    sweep = sweep_of(
        experiment, every, name=name, description=description, seeds=seeds,
        keep=[what for what in ("model",) if what in experiment.keeps],
        first={each.first_grid: {**each.fields, **(more or {})} for each in in_part},
    )  # fmt: skip
    text = f"{_HEAD} Run it again with: dvq-ray sweep {place.name}\n{write_yaml(sweep)}"
    spec = parse_sweep(text, str(place))
    of_all = next(spec.grids[-1].points()).model_dump()  # the last grid is one of all rows
    return _Asked(
        contestants=every, in_part=in_part, sweep=sweep, spec=spec, text=text, file=place,
        only=[f"{field}={of_all[field]}" for field in more or ()],
        tables=Tables(experiment=experiment, comparison=comparison, metric=metric, spec=spec),
    )  # fmt: skip


def _problems_of_store(store: Store, experiment: Experiment, file: str, found: Found) -> list[str]:
    """Says that the store holds cells of other rows: ids of cells have the name of a data set, and not its content."""
    store.check_place()
    rows, column = store.load(), experiment.digest_column
    if column not in rows or rows[column].dropna().eq(found.digest).all():
        return []
    return [
        f"{store.location}: holds cells of other rows than those of {file} (another file of that name, another test "
        "file, or its content has changed); move that folder, or name other --results"
    ]


def _fitting(
    experiment: Experiment, every: Sequence[Contestant], name: str, source: DataSource, more: Mapping[str, Any]
) -> tuple[list[Contestant], list[list[str]]]:
    """Those that can be fitted to the data, with `more` fields, and the problems of the others."""
    problems = [problems_of(experiment, each, name, source, more) for each in every]
    return [each for each, wrong in zip(every, problems, strict=True) if not wrong], [each for each in problems if each]


def _experiment() -> tuple[Experiment, Comparison]:
    """The experiment that compares quantizers on a file."""
    (experiment,) = (each for each in built_in_experiments() if each.comparison)
    return experiment, named(experiment.comparison)


def _absolute(location: str | None) -> Any:
    return location if location is None or "://" in location else str(Path(location).expanduser().absolute())


def _source(data_sets: DataSets, description: Mapping[str, Any]) -> Any:
    try:
        return data_sets.formats[description["format"]].model_validate(description)
    except ValidationError as error:
        raise ValueError("; ".join(f"found {shown(each['input'])}; {each['msg']}" for each in causes(error))) from error


def _name(file: str) -> str:
    stem = Path(file.rpartition("/")[2]).name.partition(".")[0]
    return f"compare-{re.sub(r'[^A-Za-z0-9_-]+', '_', stem)}"[:80]


def _run(
    screen: Console, asked: _Asked, results: str, began: float, budget: float | None, *, in_process: bool, report: bool
) -> int:
    try:
        asked.file.parent.mkdir(parents=True, exist_ok=True)
        asked.file.write_text(asked.text, encoding="utf-8")
    except OSError as error:
        raise _RefusedError([f"{asked.file} cannot be written: {error.strerror}"]) from error
    screen.print(f"sweep file: {asked.file}")
    store = Store.under(results, asked.spec.name)
    if asked.in_part:
        screen.print("first look, at few rows and one seed; all rows and seeds follow")
    runs = _Runs(screen, results, began, budget)
    for bits in dict.fromkeys(each.bits for each in asked.in_part):  # one by one: the first table is there in seconds
        some = {each.first_grid: each for each in asked.in_part if each.bits == bits}
        grids = {grid: asked.sweep["grids"][grid] for grid in some}
        quick = parse_sweep(write_yaml({**asked.sweep, "grids": grids}), str(asked.file))
        code = runs.briefly(quick)
        if code == INTERRUPTED:
            return code
        screen.print()
        asked.tables.show(screen, store, some)
    code = runs.run(asked.spec, in_process=in_process)
    screen.print()
    every = {each.grid: each for each in asked.contestants}
    places = asked.tables.show(screen, store, every)
    screen.print(f"advice: {advice(places)}")
    for line in asked.tables.models(store, every, places) if asked.spec.keep else ():
        screen.print(line)
    screen.print(f"took {span(time.monotonic() - began)}")
    if code == INTERRUPTED or not report or "://" in results or not any(places.values()):
        return code
    from dvq_ray.__main__ import command

    only = [word for field in asked.only for word in ("--only", field)]
    return max(code, _exit_code(command("analyse"), [store.location, *only]))


class _Runs:
    """The sweeps of one comparison. They share its time budget, and each note is printed once."""

    def __init__(self, screen: Console, results: str, began: float, budget: float | None) -> None:
        self._screen = screen
        self._results = results
        self._began = began
        self._budget = budget
        self._noted = set[str]()

    def run(self, spec: SweepSpec, *, in_process: bool) -> int:
        """Runs a sweep and prints what came of it. Returns the exit code."""
        return self._prepared(spec, in_process=in_process).run(self._screen)

    def briefly(self, spec: SweepSpec) -> int:
        """Runs a sweep in this process and prints only its progress; the full sweep reports any failures later."""
        on_screen = partial(_progress, self._screen)
        return self._prepared(spec, in_process=True).run(Console(quiet=True), on_screen)

    def _prepared(self, spec: SweepSpec, *, in_process: bool) -> SweepRun:
        left = None if self._budget is None else max(self._budget - (time.monotonic() - self._began), 0.001)
        run = SweepRun(
            spec, self._results, in_process=in_process, address=None, max_concurrent=None, retry_failed=False,
            time_budget=left, gpu_hours=None, note=self._note,
        )  # fmt: skip
        for line in run.prepare_store():
            complain(f"warning: {line}")
        return run

    def _note(self, text: str) -> None:
        if text not in self._noted:
            complain(f"note: {text}")
        self._noted.add(text)


def _progress(screen: Console, total: int, total_seconds: float, _: Console, *, metric: str) -> Progress:
    return Progress(total, total_seconds, screen, metric=metric)


def _exit_code(command: click.Command, words: Sequence[str]) -> int:
    try:
        command.main([*words], standalone_mode=False)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
