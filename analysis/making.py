"""From rows to files: makes the items, decides the claims, and writes the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pyarrow as pa

from . import build, figures, needs_text
from .build import Absent, Attempt, Made, Refused
from .claims import product as claims
from .data.rows import Rows
from .draw.style import PAGE, Format
from .figures import generic
from .output.product import Output, write_files
from .report import page
from .report.render import render
from .workers import workers

CLAIMS = "claims"
"""The item that is made of whatever is there: a claim with missing cells is reported as not run."""
REPORT = "report"
"""The page of everything that was made, and of where it comes from."""


def padded(name: str) -> str:
    """The name of an item at the beginning of a line."""
    return f"{name:<{max(map(len, [*figures.ITEMS, *generic.NAMES])) + 2}}"


def make(
    folder: Path, rows: Rows, named: Sequence[str], say: Callable[[str], None], *, allow_missing: bool,
    form: Format = PAGE, page_only: bool = False, reload_seconds: int = 0,
) -> int:  # fmt: skip
    """Makes and writes the named items, or all of them and the report. Returns the exit code of the command line.

    `say` gets each line of what came of it; `form` is what figures are drawn for; `page_only` leaves all files but the
    report away, which reloads itself that often, if ever.
    """
    wanted = {name: figures.named(rows, name) for name in named if name != CLAIMS} if named else figures.items(rows)
    items = {name: item for name, item in wanted.items() if item is not None}
    for trainable in {item.needs.trainable for item in items.values()}:
        rows.points(trainable)  # found once, before there are processes
    pa.default_memory_pool().release_unused()  # or each process would keep it too
    output = Output.FILES if named else Output.PAGE if page_only else Output.FILES | Output.PAGE
    with workers(rows) as submit:
        deciding = submit(claims.results) if CLAIMS in named or not named else None
        making = [
            submit(build.make_named, name, allow_missing=allow_missing, output=output, form=form) for name in items
        ]
        describing = None if named else submit(page.origin_of)
        attempts = []
        for attempt in (future.result() for future in making):
            for line in _settled(folder, attempt, with_files=not page_only):
                say(line)
            attempts.append(attempt)
        absent = [name for name in wanted if name not in items]
        absent += [attempt.item.name for attempt in attempts if isinstance(attempt, Absent)]
        if absent:
            say(f"not in this store: {', '.join(absent)}")
        if deciding:
            results = _decided(deciding)
            written = [] if page_only else write_files(folder, CLAIMS, results.files)
            files = f"{_named(folder, CLAIMS, written)}  " if written else ""
            say(f"{padded(CLAIMS)}{files}{results.tally}")
        if deciding and describing:
            report = page.Report(
                attempts=attempts,
                claims=results,
                origin=describing.result(),
                reload_seconds=reload_seconds,
                has_files=not page_only,
            )
            write_files(folder, REPORT, {".html": render(report)})
            say(f"{padded(REPORT)}{folder / REPORT}.html")
            for store in report.origin.kept:
                if store.is_incomplete:
                    say(f"{store.location} is incomplete. {store.summary}")
        elif (folder / f"{REPORT}.html").exists():
            say(f"{padded(REPORT)}not made again; {folder / REPORT}.html is of an earlier run")
    if deciding or any(isinstance(attempt, Made) for attempt in attempts):
        say(f"look in:  {folder}")
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


def _settled(folder: Path, attempt: Attempt, *, with_files: bool) -> list[str]:
    """Writes the files of the item where it is made; returns what is printed of what the store has."""
    name = attempt.item.name
    match attempt:
        case Absent():
            return []
        case Refused():
            stale = f" ({folder / name}.* are of an earlier run)" if (folder / f"{name}.json").exists() else ""
            return [f"{padded(name)}refused{stale}: {attempt.reason}", *needs_text.indented(attempt.details)]
        case Made():
            written = write_files(folder, name, attempt.product.files) if with_files else []
            holes = f", INCOMPLETE: {attempt.hole_count} cells are missing or failed" if attempt.hole_count else ""
            where = f"{_named(folder, name, written)}  " if written else ""
            made = f"{where}from {attempt.cell_count:,} cells{holes}"
            others = ", ".join(f"{count:,} of {quantizer}" for quantizer, count in attempt.not_shown.items())
            shown = f"; not shown: {others}" if others else ""
            alone = f" of {attempt.alone} alone" if attempt.alone else ""
            return [f"{padded(name)}{made}{alone}{shown}", *needs_text.indented(attempt.left_out)]


def _named(folder: Path, name: str, written: Sequence[Path]) -> str:
    return f"{folder / name}.{{{','.join(path.suffix[1:] for path in written)}}}"
