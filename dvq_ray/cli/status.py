"""`python -m dvq_ray.status STORE`: how a sweep is doing, as its store alone says."""

from __future__ import annotations

import io
import os
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import click
import pandas as pd
from pyarrow import fs
from rich.console import Console
from rich.live import Live
from rich.text import Text

from dvq_ray.cli import commands
from dvq_ray.cli.failures import FailureKind, failure_kinds
from dvq_ray.cli.standing import Standing, failed_rows, grids_standing, search_standing
from dvq_ray.cli.terminal import Command, complain, console, counts_table
from dvq_ray.cli.values_so_far import values_so_far
from dvq_ray.cli.watching import give_way, rounds
from dvq_ray.problems import SweepFileError
from dvq_ray.store import FINISHED, OutOfReachError, Store, StoreError
from dvq_ray.store.heartbeat import Driver, drivers
from dvq_ray.sweep.pace import COLUMNS, Pace, hours, pace
from dvq_ray.sweep.plan import load_rows, missing_kept
from dvq_ray.sweep.spec import Resources, SweepSpec, parse_sweep
from dvq_ray.text import plain, rate, span

ALL_DONE, SOME_FAILED, UNREADABLE, INCOMPLETE = 0, 1, 2, 3
WATCH_SHARE, WATCH_SECONDS = 0.05, 2.0
"""Of the time, how much looks may take; and the least time between two of them."""
PATIENCE = timedelta(minutes=10)
"""Without a sign of life for so long, and for some checkpoints or the longest cell, a sweep is taken not to run."""
SHOWN_KINDS = 5
SHOWN_TRACEBACK_LINES = 8
SHOWN_CHECKPOINTS = 10
LONGEST_LINE = 300
_LABEL = 11
_NEEDED = ("status", "trainable", "quantizer", "run_id", "run_device")
_COLUMNS = tuple(dict.fromkeys([*COLUMNS, *_NEEDED]))
_TEXTS = (*_NEEDED, "point_id")
"""Columns of text that is often the same."""


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("store")
@click.option("--watch", is_flag=True, help="Look again and again until the sweep ends, or until Ctrl-C.")
def main(store: str, watch: bool) -> None:
    """Say how the sweep of the store STORE (a folder or a URI) is doing. Nothing is written or moved.

    With --watch it looks again every few seconds, for a twentieth of one core at most and with a low
    priority. Ctrl-C ends the looking, not the sweep. Where the output is no terminal it prints the last
    state alone.

    Exit codes: 0 all cells are done; 1 every cell has a row, but some failed; 2 there is no store, or it
    cannot be read; 3 some are missing. Of a search, suggestions stand for cells.
    """
    try:
        sys.exit(_watch(Store(store)) if watch else _Report(console(), Store(store), datetime.now(UTC)).show())
    except SweepFileError as error:
        complain("\n".join(str(problem) for problem in error.problems))
    except (StoreError, OSError, UnicodeDecodeError) as error:
        complain(str(error))
    sys.exit(UNREADABLE)


def _watch(store: Store) -> int:
    """Shows the state again and again while the sweep runs. Leaves the last one, and returns its exit code."""
    screen = console()
    give_way()
    with suppress(KeyboardInterrupt), Live(console=screen, auto_refresh=False, transient=True) as live:
        for running in rounds([store], share=WATCH_SHARE, least_seconds=WATCH_SECONDS):
            if running and screen.is_terminal:
                live.update(_looked_at(store, screen.width), refresh=True)
    return _Report(screen, store, datetime.now(UTC)).show()


def _looked_at(store: Store, width: int) -> Text:
    """What `status` says at this moment."""
    now = datetime.now(UTC)
    said = console(file=io.StringIO(), width=width, force_terminal=False)
    try:
        _Report(said, store, now).show()
    except StoreError as error:  # perhaps it is out of reach for a moment; the last look says so again
        said.print(str(error))
    said.print(f"\n{now.astimezone():%H:%M:%S}, looking again every few seconds; Ctrl-C ends this, not the sweep")
    return Text(said.file.getvalue().rstrip())  # type: ignore[attr-defined]


class _Report:
    """What is said of one store at one moment."""

    def __init__(self, console: Console, store: Store, now: datetime) -> None:
        self._console = console
        self._store = store
        self._now = now

    def show(self) -> int:
        """Prints everything. Returns the exit code."""
        store = self._store
        if not store.exists():
            raise StoreError(f"{store.location} is not a store: there is no cells/*.parquet and no sweep.yaml in it")
        text = store.sweep_text()
        try:
            spec = parse_sweep(text, f"{store.location}/sweep.yaml") if text is not None else None
        except SweepFileError:
            self._rows(store.load(_COLUMNS, categories=_TEXTS))
            raise
        if spec is None:
            return self._rows(store.load(_COLUMNS, categories=_TEXTS))
        rows = self._load(spec)
        search = spec.search
        if search:
            standing = search_standing(spec, search, store, rows)
        else:
            standing = grids_standing(spec, rows, store.missing_curves(), missing_kept(spec, store))
        self._say_counts(spec, standing)
        measured = pace(rows, self._now)
        checkpoints = self._checkpoints(rows)
        found = drivers(store, self._now)
        quiet = not any(driver.runs for driver in found) if found else self._is_quiet(spec, measured, checkpoints)
        self._say_pace(standing, measured, quiet and not found)
        for label, text in values_so_far(spec, store, rows):
            self._line(label, text)
        self._say_drivers(standing, found)
        self._say_hours(rows, spec.resources)
        self._say_files(checkpoints, quiet, {*failed_rows(rows)["cell_id"]})
        self._say_failures(standing.failed_ids)
        self._say_next(spec, standing, quiet, is_known=bool(found))
        return INCOMPLETE if standing.missing else SOME_FAILED if standing.failed else ALL_DONE

    def _load(self, spec: SweepSpec) -> pd.DataFrame:
        try:
            return load_rows(spec, self._store, [*_COLUMNS, spec.experiment.main_metric], categories=_TEXTS)
        except OutOfReachError:
            raise
        except StoreError:  # perhaps of a column that the rows of another experiment, or of an earlier version, lack
            return load_rows(spec, self._store, _COLUMNS, categories=_TEXTS)

    def _rows(self, rows: pd.DataFrame) -> int:
        """What rows there are, where no sweep file says which are wanted."""
        self._line(
            "", f"{self._store.location}: {_cells(len(rows))}, and no valid sweep file that says which are wanted"
        )
        table = counts_table("trainable, quantizer", "done", "failed")
        for names, group in rows.groupby(["trainable", "quantizer"], observed=True):
            done = int(group["status"].isin(FINISHED).sum())
            table.add_row(" ".join(map(str, names)), f"{done:,}", f"{len(failed_rows(group)):,}")
        self._console.print(table)
        self._say_pace(None, pace(rows, self._now), quiet=True)
        failed = failed_rows(rows)["cell_id"].tolist()
        self._say_failures(failed)
        return SOME_FAILED if failed else ALL_DONE

    def _line(self, label: str, text: str) -> None:
        """One fact, in as many lines as it takes; later ones are indented."""
        width = max(self._console.width, 2 * _LABEL)
        first, rest = (f"{label:<{_LABEL}}", " " * _LABEL) if label else ("", "")
        wrapper = textwrap.TextWrapper(
            width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
        )
        for line in wrapper.wrap(plain(text, one_line=True)) or [first.rstrip()]:
            self._console.print(line)

    def _command(self, label: str, text: str) -> None:
        """One line that may be copied."""
        self._console.print(f"{label:<{_LABEL}}{text}")

    def _say_counts(self, spec: SweepSpec, standing: Standing) -> None:
        share = f"{standing.done:,} of {standing.wanted:,} {standing.what} done"
        self._line("", f"{spec.name}: {share}, {standing.failed:,} failed, {standing.missing:,} missing")
        table = counts_table(*standing.headings)
        for name, counts in standing.counts:
            table.add_row(name, *(f"{count:,}" for count in counts))
        self._console.print(table)
        for label, note in standing.notes:
            self._line(label, note)

    def _say_pace(self, standing: Standing | None, measured: Pace | None, quiet: bool) -> None:
        if measured:
            over = f"over the last {_cells(measured.cells)} ({span(measured.span_seconds)})"
            self._line("rate", f"{rate(measured.per_second)} {over}, {measured.at_once:.1f} at a time")
        if standing and standing.missing:
            self._line("left", standing.left.in_words(measured.at_once if measured else 1))
        if measured is None:
            self._line("last", "nothing has been finished yet")
        elif quiet and standing and standing.missing:
            ago = span(self._seconds_ago(measured.last))
            self._line("last", f"nothing has been finished for {ago}; it seems that nothing runs")
        else:
            self._line("last", f"a cell was finished {span(self._seconds_ago(measured.last))} ago")

    def _say_drivers(self, standing: Standing, found: Sequence[Driver]) -> None:
        """Says which run; where none does and something is missing, how the last one ended."""
        for driver in found:
            if driver.runs:
                started = span(self._seconds_ago(driver.started_at))
                self._line("driver", f"runs on {driver.host} (process {driver.pid}), since {started} ago")
        if not found or not standing.missing or any(driver.runs for driver in found):
            return
        last = found[0]
        ago = span(self._seconds_ago(last.last_seen))
        if last.ended:
            self._line("driver", f"ended {ago} ago on {last.host}: {last.ended}")
        elif last.is_certain:
            self._line("driver", f"died on {last.host} (process {last.pid}); it was last alive {ago} ago")
        else:
            self._line("driver", f"no sign of life from {last.host} (process {last.pid}) for {ago}: it has died, or "
                                 "the store is out of its reach")  # fmt: skip

    def _say_hours(self, rows: pd.DataFrame, resources: Resources) -> None:
        spent = hours(rows, resources)
        parts = [
            f"{count:,.1f} {kind} hours" if count >= 1 else f"{count:.2g} {kind} hours"
            for kind, count in spent.items()
            if count
        ]
        if parts:
            self._line("so far", f"{' and '.join(parts)}, in cells that were measured")

    def _say_files(self, checkpoints: Mapping[str, fs.FileInfo], quiet: bool, failed: Collection[str]) -> None:
        for place, (name, info) in enumerate(checkpoints.items()):
            if place == SHOWN_CHECKPOINTS:
                self._line(" ", f"and {len(checkpoints) - place:,} more")
                break
            label = " " if place else "cut off" if quiet else "under way"
            kept = f"{info.size / 1e6:,.1f} MB, kept {span(self._seconds_ago(info.mtime))} ago"
            self._line(label, f"{name}: {kept}{', of a failed cell' if name in failed else ''}")
        aside = self._store.files_below("set_aside")
        aside += [info for info in self._store.files_below("checkpoints") if not _is_checkpoint(info)]
        if aside:
            folders = sorted({os.path.dirname(info.path) for info in aside})
            self._line("set aside", f"{len(aside):,} files that could not be read, in {' and '.join(folders)}")

    def _say_failures(self, cell_ids: Sequence[str]) -> None:
        kinds = failure_kinds(self._store, cell_ids)
        if not kinds:
            return
        self._console.print()
        looked_at = sum(kind.cells for kind in kinds)
        if looked_at < len(cell_ids):
            self._line("failed", f"{_cells(len(cell_ids))}; kinds are shown for {looked_at:,} of them")
        for kind in kinds[:SHOWN_KINDS]:
            self._say_kind(kind)
        if rest := kinds[SHOWN_KINDS:]:
            self._line("failed", f"{_cells(sum(kind.cells for kind in rest))} of {len(rest):,} other kinds")

    def _say_kind(self, kind: FailureKind) -> None:
        self._line("failed", f"{_cells(kind.cells)}, {kind.status}: {_cut(kind.message)}")
        hidden = len(kind.traceback) - SHOWN_TRACEBACK_LINES
        shown = [f"... {hidden} lines", *kind.traceback[hidden:]] if hidden > 1 else kind.traceback
        for line in shown:
            self._console.print(f"    {_cut(line)}")
        self._command("  again", commands.rerun(self._store.location, kind.cell_id))

    def _say_next(self, spec: SweepSpec, standing: Standing, quiet: bool, *, is_known: bool) -> None:
        self._console.print()
        location = self._store.location
        if standing.missing and not quiet:
            self._command("next", "wait; it is running" if is_known else "wait; it seems to be running")
        elif not standing.missing and not standing.failed:
            self._command("next", commands.analysis(location))
        else:
            self._command("next", commands.sweep(location, spec.name) + ("" if standing.missing else " --retry-failed"))

    def _checkpoints(self, rows: pd.DataFrame) -> dict[str, fs.FileInfo]:
        """Checkpoints of cells that are not done, by cell id, the latest first."""
        found = [info for info in self._store.files_below("checkpoints") if _is_checkpoint(info)]
        found.sort(key=lambda info: info.mtime, reverse=True)
        done = set(rows.loc[rows["status"].isin(FINISHED), "cell_id"]) if found else set()
        return {info.base_name: info for info in found if info.base_name not in done}

    def _is_quiet(self, spec: SweepSpec, measured: Pace | None, checkpoints: Mapping[str, fs.FileInfo]) -> bool:
        """Whether no row and no checkpoint has come for longer than one should take: all that old stores tell."""
        kept = next(iter(checkpoints.values()), None)
        signs = [measured.last if measured else None, kept.mtime if kept else None]
        latest = max((sign for sign in signs if sign), default=None)
        if latest is None:
            return True
        usual = 3 * spec.checkpoint_seconds if kept else 2 * measured.longest_seconds if measured else 0.0
        return self._seconds_ago(latest) > PATIENCE.total_seconds() + usual

    def _seconds_ago(self, moment: datetime) -> float:
        return max((self._now - moment).total_seconds(), 0.0)  # clocks of two machines may differ


def _cells(count: int) -> str:
    return f"{count:,} cell{'' if count == 1 else 's'}"


def _is_checkpoint(info: fs.FileInfo) -> bool:
    """Whether it is one that a cell can resume from; what could not be read is in a folder of its own."""
    return bool(os.path.basename(os.path.dirname(info.path)) == "checkpoints")


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + "..."
