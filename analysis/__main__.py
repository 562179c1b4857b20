"""`python -m analysis results/static_prior`: draw what the stores hold in full, say what is lacking for the rest."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click

from analysis import asked, products
from analysis.catalogue import ITEMS
from analysis.claims import product as claims
from analysis.claims.verdicts import Decision
from analysis.items import Item
from analysis.making import Absent, Attempt, Made, Once, Refused, make_all
from analysis.report.page import gather
from analysis.report.render import render
from analysis.rows import Rows, load_rows
from dvq_ray.store import StoreError
from dvq_ray.terminal import Command, complain, say

CLAIMS = "claims"
"""The item that is made of whatever is there: a claim that lacks cells is said to be not run."""
REPORT = "report"
"""The page of everything that was made, and of where it comes from."""


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
    type=click.Choice([*ITEMS, CLAIMS]),
    metavar="ITEM",
    help="Make this item and no other, and no report. Can be repeated; --list has the names.",
)
@click.option(
    "--needs",
    type=click.Choice([*ITEMS, CLAIMS]),
    metavar="ITEM",
    help="Say what an item needs and what the stores lack; write nothing.",
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
        for name, item in ITEMS.items():
            _print(f"{_padded(name)}{item.title}")
        _print(f"{_padded(CLAIMS)}{claims.TITLE}")
        return
    if needs == CLAIMS:
        _print(f"{_padded(CLAIMS)}{claims.TITLE}", *asked.needs_of_claims())
    elif needs:
        _print(f"{_padded(needs)}{ITEMS[needs].title}", *asked.needs_of_item(ITEMS[needs].needs))
    if not stores:
        if needs:
            return
        raise click.UsageError("name at least one store")
    folder = None if needs else Path(out) if out else _default_folder(stores)
    try:
        rows = load_rows(stores, _kept_values(only))
    except (StoreError, ValueError) as error:
        complain(str(error))
        sys.exit(2)
    _print(*rows.notes)
    try:
        if folder is None:
            assert needs is not None
            lines, code = asked.check_claims(rows) if needs == CLAIMS else asked.check_item(ITEMS[needs], rows)
            _print(*lines)
        else:
            code = _make_named(folder, rows, allow_missing, named) if named else _make_all(folder, rows, allow_missing)
    except StoreError as error:
        complain(str(error))
        code = 2
    except BrokenProcessPool:
        complain("a process that was making figures was killed; most likely memory ran out")
        code = 2
    except OSError as error:
        complain(f"{folder} cannot be written: {error.strerror or error}")
        code = 2
    sys.exit(code)


def _padded(name: str) -> str:
    return f"{name:<{max(map(len, ITEMS)) + 2}}"


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


def _make_all(folder: Path, rows: Rows, allow_missing: bool) -> int:
    deciding = Once(lambda: claims.decisions(rows))
    attempts = _make(folder, rows, allow_missing, ITEMS, deciding)
    page = gather(attempts, deciding.result(), rows)
    products.write_files(folder, REPORT, {".html": render(page)})
    _print(f"{_padded(REPORT)}{folder / REPORT}.html")
    for store in page.stores:
        if store.is_incomplete:
            _print(f"{store.location} is incomplete. {store.summary}")
    _print(f"look in:  {folder}")
    return int(any(isinstance(attempt, Refused) for attempt in attempts))


def _make_named(folder: Path, rows: Rows, allow_missing: bool, named: Sequence[str]) -> int:
    deciding = Once(lambda: claims.decisions(rows)) if CLAIMS in named else None
    attempts = _make(folder, rows, allow_missing, {name: ITEMS[name] for name in ITEMS if name in named}, deciding)
    if (folder / f"{REPORT}.html").exists():
        _print(f"{_padded(REPORT)}not made again; {folder / REPORT}.html is of an earlier run")
    made = [attempt for attempt in attempts if isinstance(attempt, Made)]
    if made or deciding:
        _print(f"look in:  {folder}")
    return int(len(made) < len(attempts))


def _make(
    folder: Path, rows: Rows, allow_missing: bool, items: Mapping[str, Item], deciding: Once[list[Decision]] | None
) -> list[Attempt]:
    """Makes and writes the items, and the claims where these are to be decided."""
    attempts = []
    telling = Once(lambda: claims.files(deciding.result(), rows) if deciding else {})
    for attempt in make_all(items, rows, allow_missing=allow_missing, meanwhile=telling.do):
        _print(*_settled(folder, attempt))
        attempts.append(attempt)
    if deciding:
        written = products.write_files(folder, CLAIMS, telling.result())
        _print(f"{_padded(CLAIMS)}{_named(folder, CLAIMS, written)}  {claims.tally(deciding.result())}")
    return attempts


def _settled(folder: Path, attempt: Attempt) -> list[str]:
    """Writes the item where it is made; returns what is said of it."""
    name = attempt.name
    match attempt:
        case Absent():
            return [f"{_padded(name)}not in this store"]
        case Refused():
            stale = f" ({folder / name}.* are of an earlier run)" if (folder / f"{name}.json").exists() else ""
            return [f"{_padded(name)}refused{stale}: {attempt.reason}", *asked.indented(attempt.details)]
        case Made(extent=extent):
            written = products.write_files(folder, name, attempt.product.files)
            holes = f", INCOMPLETE: {extent.hole_count} cells are missing or failed" if extent.hole_count else ""
            made = f"{_named(folder, name, written)}  from {extent.cell_count:,} cells{holes}"
            return [f"{_padded(name)}{made}", *asked.indented(extent.left_out)]


def _named(folder: Path, name: str, written: Sequence[Path]) -> str:
    return f"{folder / name}.{{{','.join(path.suffix[1:] for path in written)}}}"


if __name__ == "__main__":
    main()
