"""`python -m analysis results/static_prior`: draw what the stores hold in full, and name what is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import click

from dvq_ray.cli.terminal import Command, complain, say
from dvq_ray.store import StoreError

from . import figures, live, making, needs_text
from .claims import product as claims
from .data.rows import Rows, load_rows
from .draw.style import FORMATS
from .figures import generic
from .making import CLAIMS, padded


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
@click.option(
    "--live",
    "is_live",
    is_flag=True,
    help="Make it all again and again while the sweep runs, with holes. The page reloads itself.",
)
@click.option("--page-only", is_flag=True, help="Write report.html and no other file.")
@click.option(
    "--style",
    type=click.Choice(["paper", "slides"]),
    default="paper",
    show_default=True,
    help="What figures are for: sizes of text and lines follow.",
)
@click.option(
    "--width",
    type=click.Choice(["page", "column"]),
    default="page",
    show_default=True,
    help="Whether figures go across a page (or slide), or a column (or half a slide).",
)
@click.option("--list", "list_items", is_flag=True, help="List the items and write nothing.")
def main(
    stores: Sequence[str],
    out: str | None,
    only: Sequence[str],
    named: Sequence[str],
    needs: str | None,
    allow_missing: bool,
    is_live: bool,
    page_only: bool,
    style: str,
    width: str,
    list_items: bool,
) -> None:
    """Make every item that the stores hold all cells of, and a report.

    With --live it goes on while the sweep runs. It takes a fifth of one core at most, with a low
    priority, and the last report is the usual one.

    Exit codes: 0 all is made that the stores hold cells for; 1 some item was refused, or one that was named is not in
    the stores; 2 there is nothing to read, or the command is wrong.
    """
    if out == "":  # the working folder, to pathlib
        raise click.UsageError("--out is empty")
    if needs and named:
        raise click.UsageError("--needs writes nothing; leave --item away")
    if page_only and named:
        raise click.UsageError("--page-only writes the report; leave --item away")
    if is_live and (needs or named):
        raise click.UsageError("--live makes the report; leave --item and --needs away")
    if list_items:
        for name, item in figures.ITEMS.items():
            _print(f"{padded(name)}{item.title}")
        _print(f"{padded(CLAIMS)}{claims.TITLE}", *(f"{padded(name)}{title}" for name, title in generic.NAMES.items()))
        return
    if needs == CLAIMS:
        _print(f"{padded(CLAIMS)}{claims.TITLE}", *needs_text.needs_of_claims())
    elif needs:
        declared = figures.ITEMS.get(needs)
        title, its = (declared.title, declared.needs) if declared else ("of one experiment", generic.NEEDS)
        _print(f"{padded(needs)}{title}", *needs_text.needs_of_item(its))
    if not stores:
        if needs:
            return
        raise click.UsageError("name at least one store")
    folder = None if needs else Path(out) if out else _default_folder(stores)
    try:
        how: dict[str, Any] = {"form": FORMATS[style, width], "page_only": page_only}
        if is_live and folder is not None:
            live.while_it_runs(folder, stores, _kept_values(only), say, **how)
        rows = load_rows(stores, _kept_values(only), without=_metrics_not_read([needs] if needs else named))
        _print(*rows.notes)
        if folder is None:
            assert needs is not None
            code = _check(needs, rows)
        else:
            code = making.make(folder, rows, named, say, allow_missing=allow_missing, **how)
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


if __name__ == "__main__":
    main()
