"""Mistakes in a command line: a message, exit code 2, no traceback, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.__main__ import main as analysis
from dvq_ray.cli.rerun import main as rerun
from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from tests.sweep_files import write

COMMANDS = {"sweep": sweep, "status": status, "rerun": rerun, "analysis": analysis}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["sweep"], "Missing argument"),
        (["sweep", ""], "cannot be read"),
        (["sweep", "folder"], "folder: cannot be read"),
        (["sweep", "file"], "allowed: a mapping of keys to values"),
        (["sweep", "dangling"], "cannot be read"),
        (["sweep", "/dev/null"], "is empty"),
        (["sweep", "SPEC", "--results", ""], "is not a location"),
        (["sweep", "SPEC", "--results", "", "--dry-run"], "is not a location"),
        (["sweep", "SPEC", "--results", "file://"], "is not a location"),
        (["sweep", "SPEC", "--results", "s3://"], "cannot be opened"),
        (["sweep", "SPEC", "--results", "://x"], "cannot be opened"),
        (["sweep", "SPEC", "--results", "http://x/y"], "allowed: a folder, file://"),
        (["sweep", "SPEC", "--results", "file://x/y"], "cannot be opened"),
        (["sweep", "SPEC", "--results", "file"], "file is a file, and should be a folder"),
        (["sweep", "SPEC", "--results", "dangling"], "dangling is a link to nowhere"),
        (["sweep", "SPEC", "--results", "x" * 300], "the name is longer than 255 bytes"),
        (["sweep", "SPEC", "--results", "/x" * 3000], "name too long"),
        (["sweep", "SPEC", "--results", "\udcff"], "valid UTF-8"),
        (["sweep", "SPEC", "--set", "seeds"], "allowed: KEY=VALUE"),
        (["sweep", "SPEC", "--set", "=1"], "allowed: KEY=VALUE"),
        (["sweep", "SPEC", "--set", "seeds="], "allowed: a number of repetitions"),
        (["sweep", "SPEC", "--set", "[x]=1"], "unknown key"),
        (["sweep", "SPEC", "--set", "name=../x"], "no path"),
        (["sweep", "SPEC", "--set", "name=[/x]"], "[/x]"),
        (["sweep", "SPEC", "--time-budget", "-5min"], "not a length of time"),
        (["sweep", "SPEC", "--time-budget", "nan"], "not a length of time"),
        (["sweep", "SPEC", "--gpu-hours", "nan"], "not a number of hours"),
        (["sweep", "SPEC", "--gpu-hours", "0"], "range"),
        (["sweep", "SPEC", "--max-concurrent", "1.5"], "not a valid integer"),
        (["sweep", "SPEC", "--address", ""], "empty"),
        (["status"], "Missing argument"),
        (["status", ""], "is not a location"),
        (["status", "file"], "cannot be read"),
        (["status", "dangling"], "is not a store"),
        (["status", "-x"], "No such option"),
        (["status", "--", "-x"], "-x is not a store"),
        (["status", "a", "b"], "unexpected extra argument"),
        (["status", "a\nb\x1b[31m"], "is not a store"),
        (["status", "s3://name:secret@bucket/x"], "must hold no credentials"),
        (["rerun", "folder"], "Missing argument"),
        (["rerun", "", "x"], "is not a location"),
        (["rerun", "folder", ""], "no cells"),
        (["rerun", "folder", "\udcff\x1b[0m"], "no cells"),
        (["rerun", "folder", "x", "--device", "[red]"], "is not one of"),
        (["analysis"], "name at least one store"),
        (["analysis", ""], "is not a location"),
        (["analysis", "file"], "cannot be read"),
        (["analysis", "folder"], "is not a store"),
        (["analysis", "folder", "--out", ""], "--out is empty"),
        (["analysis", "folder", "--out", "file"], "is a file"),
        (["analysis", "folder", "--only", "x"], "has no '='"),
        (["analysis", "folder", "folder"], "--out is needed"),
        (["analysis", "--item", "[bold]"], "is not one of"),
    ],
)
def test_a_mistake_in_a_command_line_is_reported_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = write(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(os.listdir(tmp_path))
    name, *arguments = (str(spec) if word == "SPEC" else word for word in line)
    result = CliRunner().invoke(
        COMMANDS[name], [*arguments, *(["--in-process"] if "SPEC" in line and "--address" not in line else [])]
    )
    assert result.exit_code == 2, result.output
    assert said.lower() in result.stderr.lower()
    assert isinstance(result.exception, SystemExit)
    assert "\x1b" not in result.stderr
    assert sorted(os.listdir(tmp_path)) == before
