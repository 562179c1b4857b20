"""`python -m analysis results/static_prior`: draw what the stores hold in full, and name what is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click

from dvq_ray.cli.terminal import Command, complain, say
from dvq_ray.store import StoreError

from . import build, figures, needs_text
from .build import Absent, Attempt, Made, Refused
from .claims import product as claims
from .data.rows import Rows, load_rows
from .figures import generic
from .output.product import write_files
from .report import page
from .report.render import render
from .workers import workers

CLAIMS = "claims"
"""The item that is made of whatever is there: a claim with missing cells is reported as not run."""
REPORT = "report"
"""The page of everything that was made, and of where it comes from."""


class ItemName(click.ParamType[str]):
    """The name of an item, of which those of an experiment's own are known once the stores are read."""

    name = "item"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, where there may be such an item."""
        if value not in figures.ITEMS and value != CLAIMS and not generic.PATTERN.fullmatch(value):
            self.fail(
                f"{value!r} is not one of the items; --list has them, among them {', '.join([*figures.ITEMS, CLAIMS])}"
            )
        return value


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("stores", nargs=-1, metavar="STORE [STORE ...]")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Folder to write to.  [default: STORE/figures]",
)
@click.option(
    "--only",
    multiple=True,
    metavar="KEY=VALUE",
    help="Keep rows with this value of a column. Can be repeated.",
)
@click.option(
    "--item",
    "named",
    multiple=True,
    type=ItemName(),
    metavar="ITEM",
    help="Make this item and no other, and no report. Can be repeated; --list has the names.",
)
@click.option(
    "--needs",
    type=ItemName(),
    metavar="ITEM",
    help="Print what an item needs and what of it is missing from the stores; write nothing.",
)
@click.option("--allow-missing", is_flag=True, help="Draw with holes, which are marked and named in the caption.")
@click.option("--list", "list_items", is_flag=True, help="List the items and write nothing.")
def main(
    stores: Sequence[str],
    out: str | None,
    only: Sequence[str],
    named: Sequence[str],
    needs: str | None,
    allow_missing: bool,
    list_items: bool,
) -> None:
    """Make every item that the stores hold all cells of, and a report.

    Exit codes: 0 all is made that the stores hold cells for; 1 some item was refused, or one that was named is not in
    the stores; 2 there is nothing to read, or the command is wrong.
    """
    if out == "":  # the working folder, to pathlib
        raise click.UsageError("--out is empty")
    if needs and named:
        raise click.UsageError("--needs writes nothing; leave --item away")
    if list_items:
        for name, item in figures.ITEMS.items():
            _print(f"{_padded(name)}{item.title}")
        _print(
            f"{_padded(CLAIMS)}{claims.TITLE}", *(f"{_padded(name)}{title}" for name, title in generic.NAMES.items())
        )
        return
    if needs == CLAIMS:
        _print(f"{_padded(CLAIMS)}{claims.TITLE}", *needs_text.needs_of_claims())
    elif needs:
        declared = figures.ITEMS.get(needs)
        title, its = (declared.title, declared.needs) if declared else ("of one experiment", generic.NEEDS)
        _print(f"{_padded(needs)}{title}", *needs_text.needs_of_item(its))
    if not stores:
        if needs:
            return
        raise click.UsageError("name at least one store")
    folder = None if needs else Path(out) if out else _default_folder(stores)
    try:
        rows = load_rows(stores, _kept_values(only), without=_metrics_not_read([needs] if needs else named))
        _print(*rows.notes)
        if folder is None:
            assert needs is not None
            code = _check(needs, rows)
        else:
            code = _make(folder, rows, named, allow_missing)
    except (StoreError, ValueError) as error:
        complain(str(error))
        code = 2
    except BrokenProcessPool:
        complain("a process that was making figures was killed; most likely memory ran out")
        code = 2
    except OSError as error:
        complain(f"{folder} cannot be written: {error.strerror or error}")
        code = 2
    sys.exit(code)


def _metrics_not_read(named: Sequence[str]) -> set[str]:
    """Metrics that nothing of what is named reads; none where everything is made."""
    unread = figures.metrics_not_read([name for name in named if name != CLAIMS]) if named else set()
    return unread - claims.METRICS if CLAIMS in named else unread


def _padded(name: str) -> str:
    return f"{name:<{max(map(len, [*figures.ITEMS, *generic.NAMES])) + 2}}"


def _default_folder(stores: Sequence[str]) -> Path:
    if len(stores) > 1 or "://" in stores[0]:
        raise click.UsageError("--out is needed for several stores, and for one that is no local folder")
    return Path(stores[0]) / "figures"


def _kept_values(only: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in only]
    wrong = next((text for text, (_, sign, _) in zip(only, pairs, strict=True) if not sign), None)
    if wrong is not None:
        raise click.UsageError(f"--only takes KEY=VALUE, and {wrong!r} has no '='")
    return {key: value for key, _, value in pairs}


def _print(*lines: str) -> None:
    for line in lines:
        say(line)


def _check(name: str, rows: Rows) -> int:
    """Prints what of an item is missing from the stores."""
    if name == CLAIMS:
        lines, code = needs_text.check_claims(rows)
    elif item := figures.named(rows, name):
        lines, code = needs_text.check_item(item, rows)
    else:
        lines, code = ["not in this store"], 0
    _print(*lines)
    return code


def _make(folder: Path, rows: Rows, named: Sequence[str], allow_missing: bool) -> int:
    """Makes and writes the named items, or all of them and the report."""
    wanted = {name: figures.named(rows, name) for name in named if name != CLAIMS} if named else figures.items(rows)
    items = {name: item for name, item in wanted.items() if item is not None}
    for trainable in {item.needs.trainable for item in items.values()}:
        rows.points(trainable)  # found once, before there are processes
    with workers(rows) as submit:
        deciding = submit(claims.results) if CLAIMS in named or not named else None
        making = [submit(build.make_named, name, allow_missing=allow_missing) for name in items]
        describing = None if named else submit(page.origin_of)
        attempts = []
        _print(*(f"{_padded(name)}not in this store" for name in wanted if name not in items))
        for attempt in (future.result() for future in making):
            _print(*_settled(folder, attempt))
            attempts.append(attempt)
        if deciding:
            results = _decided(deciding)
            written = write_files(folder, CLAIMS, results.files)
            files = f"{_named(folder, CLAIMS, written)}  " if written else ""
            _print(f"{_padded(CLAIMS)}{files}{results.tally}")
        if deciding and describing:
            report = page.Report(attempts=attempts, claims=results, origin=describing.result())
            write_files(folder, REPORT, {".html": render(report)})
            _print(f"{_padded(REPORT)}{folder / REPORT}.html")
            for store in report.origin.kept:
                if store.is_incomplete:
                    _print(f"{store.location} is incomplete. {store.summary}")
        elif (folder / f"{REPORT}.html").exists():
            _print(f"{_padded(REPORT)}not made again; {folder / REPORT}.html is of an earlier run")
    if deciding or any(isinstance(attempt, Made) for attempt in attempts):
        _print(f"look in:  {folder}")
    failures = (Refused, Absent) if named else Refused
    undecided = deciding is not None and not results.files
    return int(undecided or len(items) < len(wanted) or any(isinstance(attempt, failures) for attempt in attempts))


def _decided(deciding: Future[claims.Results]) -> claims.Results:
    """The claims; none of them where they cannot be decided, and why."""
    try:
        return deciding.result()
    except BrokenProcessPool:
        raise
    except Exception as error:
        return claims.Results(files={}, entries=(), findings=(), tally=f"refused: {build.reason(error)}", symbols="")


def _settled(folder: Path, attempt: Attempt) -> list[str]:
    """Writes the item where it is made; returns what is printed about it."""
    name = attempt.item.name
    match attempt:
        case Absent():
            return [f"{_padded(name)}not in this store"]
        case Refused():
            stale = f" ({folder / name}.* are of an earlier run)" if (folder / f"{name}.json").exists() else ""
            return [f"{_padded(name)}refused{stale}: {attempt.reason}", *needs_text.indented(attempt.details)]
        case Made():
            written = write_files(folder, name, attempt.product.files)
            holes = f", INCOMPLETE: {attempt.hole_count} cells are missing or failed" if attempt.hole_count else ""
            made = f"{_named(folder, name, written)}  from {attempt.cell_count:,} cells{holes}"
            others = ", ".join(f"{count:,} of {quantizer}" for quantizer, count in attempt.not_shown.items())
            shown = f"; not shown: {others}" if others else ""
            return [f"{_padded(name)}{made}{shown}", *needs_text.indented(attempt.left_out)]


def _named(folder: Path, name: str, written: Sequence[Path]) -> str:
    return f"{folder / name}.{{{','.join(path.suffix[1:] for path in written)}}}"


if __name__ == "__main__":
    main()
