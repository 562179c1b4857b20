"""`python -m analysis results/static_prior`: draw what the stores hold in full, say what is lacking for the rest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from analysis import products
from analysis.catalogue import ITEMS
from analysis.claims import product as claims
from analysis.claims import sentences
from analysis.items import Item
from analysis.naming import listed
from analysis.rows import Rows, load_rows
from analysis.selection import Selection, select
from dvq_ray.store import StoreError

CLAIMS = "claims"
"""The item that is made of whatever is there: a claim that lacks cells is said to be not run."""
MOST_LINES = 12
"""Lines of missing cells that an item prints."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("stores", nargs=-1, metavar="STORE [STORE ...]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.  [default: STORE/figures]",
)
@click.option(
    "--only",
    multiple=True,
    metavar="KEY=VALUE",
    help="Keep rows with this value of a column. Can be repeated.",
)
@click.option(
    "--needs",
    type=click.Choice([*ITEMS, CLAIMS]),
    help="Say what an item needs and what the stores lack; write nothing.",
)
@click.option("--allow-missing", is_flag=True, help="Draw with holes, which are marked and named in the caption.")
@click.option("--list", "list_items", is_flag=True, help="List the items and write nothing.")
def main(
    stores: Sequence[str],
    out: Path | None,
    only: Sequence[str],
    needs: str | None,
    allow_missing: bool,
    list_items: bool,
) -> None:
    """Make every item that the stores hold all cells of.

    Exit codes: 0 all is made that the stores hold cells for; 1 some item was refused; 2 there is nothing to read, or
    the command is wrong.
    """
    if list_items:
        for name, item in ITEMS.items():
            click.echo(f"{_padded(name)}{item.title}")
        click.echo(f"{_padded(CLAIMS)}{claims.TITLE}")
        return
    if needs == CLAIMS:
        _print_needs_of_claims()
    elif needs:
        _print_needs(needs, ITEMS[needs])
    if not stores:
        if needs:
            return
        raise click.UsageError("name at least one store")
    folder = None if needs else out or _default_folder(stores)
    try:
        rows = load_rows(stores, _kept_values(only))
    except (StoreError, ValueError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    for note in rows.notes:
        click.echo(note)
    if folder is None:
        assert needs is not None
        sys.exit(_check_claims(rows) if needs == CLAIMS else _check(needs, rows))
    sys.exit(_make_all(folder, rows, allow_missing))


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


def _make_all(folder: Path, rows: Rows, allow_missing: bool) -> int:
    refused = 0
    for name, item in ITEMS.items():
        try:
            selection = select(rows, item.needs)
            if selection is None:
                click.echo(f"{_padded(name)}not in this store")
                continue
            product, problems = None, _problems(selection, allow_missing)
            if not problems:
                product, problems = _made(item, selection)
            if product is None:
                refused += 1
                stale = f" ({folder / name}.* are of an earlier run)" if (folder / f"{name}.json").exists() else ""
                click.echo(f"{_padded(name)}refused{stale}: {problems[0]}")
                _print_lines(problems[1:])
                continue
            written = products.write(folder, name, product, selection, rows)
        except StoreError as error:
            click.echo(str(error), err=True)
            return 2
        except OSError as error:
            click.echo(f"{folder} cannot be written: {error.strerror or error}", err=True)
            return 2
        suffixes = ",".join(path.suffix[1:] for path in written)
        holes = f", INCOMPLETE: {selection.hole_count()} cells are missing or failed" if selection.hole_count() else ""
        click.echo(f"{_padded(name)}{folder / name}.{{{suffixes}}}  from {selection.cell_count():,} cells{holes}")
        _print_lines(selection.left_out)
    try:
        decided = claims.decisions(rows)
        written = products.write_files(folder, CLAIMS, claims.files(decided, rows))
    except StoreError as error:
        click.echo(str(error), err=True)
        return 2
    except OSError as error:
        click.echo(f"{folder} cannot be written: {error.strerror or error}", err=True)
        return 2
    suffixes = ",".join(path.suffix[1:] for path in written)
    click.echo(f"{_padded(CLAIMS)}{folder / CLAIMS}.{{{suffixes}}}  {claims.tally(decided)}")
    click.echo(f"look in:  {folder}")
    return 1 if refused else 0


def _made(item: Item, selection: Selection) -> tuple[products.Product | None, list[str]]:
    try:
        return item.make(selection), []
    except products.UnfitError as error:
        return None, [str(error)]


def _problems(selection: Selection, allow_missing: bool) -> list[str]:
    """A headline and its lines; empty where the item can be made."""
    if faults := selection.faults():
        return ["its points are not fit to draw", *faults]
    if allow_missing or not selection.hole_count():
        return []
    common = selection.common()
    where = f" (all: {common})" if common else ""
    count = f"{selection.hole_count():,} of {selection.cell_count():,} cells are missing or failed{where}"
    return [f"{count}; --allow-missing draws it with holes", *selection.holes()]


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines[:MOST_LINES]:
        click.echo(f"            {line}")
    if len(lines) > MOST_LINES:
        click.echo(f"            and {len(lines) - MOST_LINES} more lines like these")


def _print_needs(name: str, item: Item) -> None:
    click.echo(f"{_padded(name)}{item.title}")
    for line in item.needs.grids:
        click.echo(f"            {line}")
    click.echo(f"            from {' or '.join(item.needs.sweeps)}")
    equal = " and ".join(item.needs.seeds_by)
    if item.needs.lowest_seed_only:
        click.echo(f"            one repetition of each point: the lowest that any point with equal {equal} has")
    else:
        repetitions = f"at least {item.needs.least_repetitions} repetitions of each point"
        click.echo(f"            {repetitions}, the same for points with equal {equal}")
    if item.needs.alike:
        click.echo(f"            for points with equal {equal}, also one value each of {', '.join(item.needs.alike)}")
    if item.needs.curves:
        click.echo(f"            curves of {', '.join(item.needs.curves)}")
    if item.needs.artifacts:
        click.echo(f"            of each cell: {', '.join(item.needs.artifacts)}")


def _print_needs_of_claims() -> None:
    click.echo(f"{_padded(CLAIMS)}{claims.TITLE}")
    for claim in claims.CLAIMS:
        click.echo(f"            {claim.number}: {claims.needs(claim)}")


def _check_claims(rows: Rows) -> int:
    """1 where some claim is not run, or was tested in a part of its cells."""
    decided = claims.decisions(rows)
    click.echo(f"in {', '.join(rows.stores)}: {claims.tally(decided)}")
    for decision in decided:
        coverage = sentences.coverage(decision.claim, decision.outcome)
        click.echo(f"            {decision.claim.number}: {decision.outcome.verdict}. {coverage}".rstrip())
    return int(any(d.outcome.left_out or d.outcome.verdict == "not run" for d in decided))


def _check(name: str, rows: Rows) -> int:
    try:
        selection = select(rows, ITEMS[name].needs)
    except StoreError as error:
        click.echo(str(error), err=True)
        return 2
    if selection is None:
        click.echo("not in this store")
        return 0
    click.echo(f"in {', '.join(rows.stores)}:")
    for grid in selection.grids:
        values = "  ".join(f"{axis}={listed(values)}" for axis, values in grid.axes.items())
        click.echo(f"            {grid.name}: {len(list(grid.points()))} points of  {values}")
    _print_lines(selection.left_out)
    problems = _problems(selection, allow_missing=False)
    click.echo(problems[0] if problems else f"all {selection.cell_count():,} cells are there")
    _print_lines(problems[1:])
    return 1 if problems else 0


if __name__ == "__main__":
    main()
