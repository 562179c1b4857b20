"""`python -m analysis --live`: the report of a sweep that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis import live
from dvq_ray.cli import watching
from tests.analysis.command_line import analysis, undrawn
from tests.analysis.made_up import write
from tests.analysis.small_report import cells


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "give_way", lambda: None)  # or this process would be slow from here on

    def here(folder: Path, *arguments: Any) -> bool:
        try:
            live.make_once(folder, *arguments)
        except SystemExit:
            return False
        return True

    monkeypatch.setattr(live, "_in_a_process", here)


def run(monkeypatch: pytest.MonkeyPatch, store: str, out: Path, states: Iterator[bool], *more: str) -> Any:
    monkeypatch.setattr(live, "rounds", lambda stores, share, least_seconds: states)
    return analysis(store, "--out", out, "--live", *more, items=undrawn(["figure3b"]))


@pytest.mark.long
def test_the_page_is_made_again_where_there_are_new_rows_and_reloads_itself_until_the_sweep_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, out = cells(), tmp_path / "figures"
    store = write(tmp_path / "store", held[:3])
    seen = list[str]()

    def states() -> Iterator[bool]:
        for there in (held[:3], held[:3], held):
            write(tmp_path / "store", there)
            before = (out / "report.html").stat().st_mtime_ns if seen else 0
            yield True
            page = out / "report.html"
            seen.append(page.read_text() if page.stat().st_mtime_ns != before else "as before")
        yield False

    result = run(monkeypatch, store, out, states())
    assert result.exit_code == 0, result.output
    assert "3 cells" in seen[0]
    assert 'data-reload="15"' in seen[0]
    assert "6 cells" in seen[-1]
    assert "data-reload" not in (out / "report.html").read_text()
    assert re.search(r"made again in some \d+ s; Ctrl-C ends this, not the sweep", result.output)
    assert not [*out.glob(".*")], "parts of files"


def test_a_sweep_without_rows_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def states() -> Iterator[bool]:
        yield True
        write(tmp_path / "store", cells())
        yield True
        yield False

    result = run(monkeypatch, str(tmp_path / "store"), tmp_path / "out", states())
    assert result.exit_code == 0, result.output
    assert "no report yet: " in result.output
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("more", [["--item", "claims"], ["--needs", "figure4"]])
def test_live_makes_the_report_and_nothing_else(tmp_path: Path, more: Sequence[str]) -> None:
    result = analysis(tmp_path, "--live", *more)
    assert result.exit_code == 2
    assert "--live makes the report" in result.output


def test_where_no_sweep_runs_the_report_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[bool]()
    monkeypatch.setattr(live, "_in_a_process", lambda *_: made.append(True))
    monkeypatch.setattr(watching, "is_running", lambda store: False)
    store = write(tmp_path / "store", cells())
    assert analysis(store, "--live", items=undrawn(["figure3b"])).exit_code == 0
    assert made == []
    assert "data-reload" not in (Path(store) / "figures" / "report.html").read_text()
