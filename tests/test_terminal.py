"""What reaches a terminal, and what happens where there is none."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dvq_ray.cli import commands
from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.cli.terminal import console, counts_table
from dvq_ray.execution.pack import failed_row
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import parse_sweep
from dvq_ray.text import plain
from tests.sweep_files import SEARCH, TINY, write

MARKUP = "[/x] [bold]b[/bold] [link=u]l :smile: [0]"
HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\u202efdp.\x9b2J\x00\u2028end"


def shown(*values: object) -> str:
    """What the console of a command line prints."""
    output = io.StringIO()
    screen = console()
    screen.file = output
    screen.print(*values)
    return output.getvalue()


def test_brackets_and_colons_are_text_in_lines_and_in_cells_and_headings_of_tables() -> None:
    assert shown(MARKUP) == f"{MARKUP}\n"
    table = counts_table(f"h {MARKUP}", "[red]n[/red]")
    table.add_row(f"c {MARKUP}", "[1]:smile:")
    heading, cell = (line.rstrip() for line in shown(table).splitlines())
    assert heading == f"h {MARKUP}  [red]n[/red]"
    assert cell == f"c {MARKUP}    [1]:smile:"


def test_a_long_name_in_a_table_is_shown_to_its_end() -> None:
    table = counts_table("grid", "done")
    table.add_row("x" * 200, "1")
    assert shown(table).count("x") == 200


def test_nothing_in_a_string_moves_the_cursor_or_begins_a_line() -> None:
    table = counts_table(HOSTILE)
    table.add_row(HOSTILE)
    for text in (shown(HOSTILE), *shown(table).splitlines(keepends=True)):
        assert text.rstrip() == "red fdp.2Jend"
        assert text.count("\n") == 1


@given(st.text(st.characters(exclude_categories=()), max_size=30))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_plain_text_is_visible_text_and_stays_as_it_is(text: str) -> None:
    seen = plain(text)
    assert all(each.isprintable() or each == "\n" or unicodedata.category(each) == "Zs" for each in seen)
    assert seen.encode().decode() == seen
    assert plain(seen) == seen


def test_spaces_of_other_scripts_are_kept_and_bytes_that_are_no_text_are_numbers() -> None:
    assert plain("Screenshot 9.41\u202fAM\u3000\xa0") == "Screenshot 9.41\u202fAM\u3000\xa0"
    assert plain(os.fsdecode(b"caf\xe9.png")) == "caf\\udce9.png"


NASTY = [  # without a slash
    "plain", "a b", "a  b", "it's", '"', "$HOME `id` $(id) !! \\ \\\\", "[a-z]*?{x,y}", "~", "~root", "-x", "--help",
    "#x", "a;b|c&d>e<f", "=x", "%1", "{}", "日本", ":smile:", "[bold]", "tab\there", "line\nend", "\x1b[31m", "'\n'",
    "\\\n", "\x7f7", os.fsdecode(b"\xff1\xfe"), "\u202e",
]  # fmt: skip


def words_of(command: str) -> list[str]:
    """What bash makes of a command."""
    printed = subprocess.run(
        ["bash", "-c", "python() { printf '%s\\0' python \"$@\"; }\n" + command], capture_output=True, check=True
    ).stdout
    return [os.fsdecode(word) for word in printed.split(b"\0")[:-1]]


@pytest.mark.parametrize("name", NASTY)
def test_a_command_that_is_printed_is_that_command_to_a_shell(name: str) -> None:
    place = f"./{name}" if name.startswith("-") else name
    assert words_of(commands.analysis(name)) == ["python", "-m", "analysis", place]
    assert words_of(commands.status(f"r/{name}")) == ["python", "-m", "dvq_ray.status", f"r/{name}"]
    assert words_of(commands.rerun("s", name))[-1] == name
    wanted = ["python", "-m", "dvq_ray.sweep", f"r/{name}/sweep.yaml", "--results", "r", "--set", f"name={name}"]
    assert words_of(commands.sweep(f"r/{name}", "other")) == wanted
    read = commands.read_cells(name)
    assert eval(read.removeprefix("pandas.read_parquet")) == name
    printed = shown(commands.analysis(name), read)
    assert printed == f"{commands.analysis(name)} {read}\n"


@pytest.mark.parametrize(
    ("location", "results"),
    [("tiny", "."), ("/tiny", "/"), ("a/tiny", "a"), ("s3://bucket/a/tiny?region=x&y=z", "s3://bucket/a?region=x&y=z")],
)
def test_the_command_to_resume_names_the_folder_that_holds_the_store(location: str, results: str) -> None:
    words = shlex.split(commands.sweep(location, "tiny"))
    assert words[words.index("--results") + 1 :] == [results]


def test_names_of_grids_and_of_results_are_printed_as_they_are(tmp_path: Path) -> None:
    text = TINY.replace("plain:", '"plain[/x] :smile:":').replace("slices: {q", '"[red]": {q')
    results = tmp_path / f"r {MARKUP.replace('/', '|')}"
    arguments = [str(write(tmp_path, text)), "--results", str(results), "--in-process"]
    planned = CliRunner().invoke(sweep, [*arguments, "--dry-run"])
    assert planned.exit_code == 0
    assert ["plain[/x]", ":smile:", "0", "0", "4"] in [line.split() for line in planned.output.splitlines()]
    assert "[red]" in planned.output
    ran = CliRunner().invoke(sweep, arguments)
    assert ran.exit_code == 0, ran.output
    assert f"results: {results}/tiny " in ran.output
    told = CliRunner().invoke(status, [str(results / "tiny")])
    assert told.exit_code == 0, told.output
    assert f"next       python -m analysis '{results}/tiny'" in told.output


def test_a_search_prints_names_as_they_are(tmp_path: Path) -> None:
    results = tmp_path / "r[|x] [bold]:smile:"
    path = write(tmp_path, SEARCH.replace("suggestions: 5", "suggestions: 1"))
    for arguments in (["--dry-run"], []):
        ran = CliRunner().invoke(sweep, [str(path), "--results", str(results), "--in-process", *arguments])
        assert ran.exit_code == 0, ran.output
        assert f" {results}/tiny" in ran.output


def test_cells_that_all_failed_are_to_be_looked_at_and_not_analysed(tmp_path: Path) -> None:
    arguments = ["--in-process", "--set", "learning_rate=1e38", "--set", "schedule=constant"]
    ran = CliRunner().invoke(sweep, [str(write(tmp_path)), "--results", str(tmp_path), *arguments])
    assert ran.exit_code == 1
    assert ran.output.splitlines()[-1] == f"next:    python -m dvq_ray.status {tmp_path}/tiny"
    assert "--retry-failed" in ran.output


def test_the_id_of_a_foreign_row_is_one_word_of_the_command(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = expand(parse_sweep(TINY, "tiny.yaml"))[0][0]
    run = Run(run_id="0" * 32, sweep="tiny", commit="abc")
    store.write_cell(cell.point.experiment, failed_row(cell, run, "error", "no"), ())
    table = store.table()
    assert table is not None
    foreign = table.set_column(0, "cell_id", [["--device=$(id)\x1b[31m"]])
    (file,) = (tmp_path / "cells").iterdir()
    pq.write_table(foreign, file)
    (line,) = (each for each in CliRunner().invoke(status, [str(tmp_path)]).output.splitlines() if "again" in each)
    words = words_of(line.strip().removeprefix("again"))
    assert words[2:] == ["dvq_ray.rerun", "--", str(tmp_path), "--device=$(id)\x1b[31m"]


# From here on with real processes.

SHELL = {
    "a pipe whose reader leaves at once": "{} | true",
    "a pipe whose reader leaves after a line": "{} | head -1",
    "closed output": "{} >&-",
    "everything closed": "{} <&- >&- 2>&-",
    "a full disk": "{} >/dev/full",
    "a full disk for both": "{} >/dev/full 2>&1",
    "an output that can only be read": "{} 1</dev/null",
}
ROOT = Path(__file__).parents[1]
PRINTS = """
import sys, click
from dvq_ray.cli.terminal import Command, complain, console
def prints(n):
    for line in ["first"] * 1000:
        console().print(line)
    click.echo("second")
    complain("third")
    print(open(0).fileno() if sys.stdin else "")
    sys.exit(7)
Command("x", callback=prints, params=[click.Argument(["n"], required=False)]).main()
"""


def shell(line: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of bash; the exit code is that of its first command."""
    whole = f"{line}\nexit ${{PIPESTATUS[0]}}"
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-c", whole], cwd=ROOT, capture_output=True, env={**os.environ, **path, **env})


def command_line(module: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-m", module, *arguments])


@pytest.mark.long
@pytest.mark.parametrize("where", SHELL)
@pytest.mark.parametrize(("arguments", "code"), [((), 7), (("--help",), 0), (("--nonsense",), 2)])
def test_a_command_without_its_output_has_the_exit_code_that_it_always_has(
    where: str, arguments: tuple[str, ...], code: int
) -> None:
    ran = shell(SHELL[where].format(shlex.join([sys.executable, "-c", PRINTS, *arguments])))
    assert ran.returncode == code, ran.stderr
    lines = [line for line in ran.stderr.decode().splitlines() if line != "third"]
    if code != 2 and where in ("a full disk", "an output that can only be read"):
        why = "No space left on device" if where == "a full disk" else "Bad file descriptor"
        assert lines == [f"warning: standard output cannot be written ({why}), so the rest of it is not shown"]
    elif code != 2:
        assert lines == []
    assert ("third" in ran.stderr.decode()) == (
        code == 7 and where not in ("everything closed", "a full disk for both")
    )


@pytest.mark.long
@pytest.mark.parametrize("where", ["a pipe whose reader leaves at once", "everything closed", "a full disk for both"])
def test_a_sweep_carries_on_without_its_output(tmp_path: Path, where: str) -> None:
    line = command_line("dvq_ray.sweep", str(write(tmp_path)), "--results", str(tmp_path), "--in-process")
    ran = shell(SHELL[where].format(line))
    assert ran.returncode == 0, ran.stderr
    assert list(Store(tmp_path / "tiny").statuses().values()) == ["ok"] * 8
    assert ran.stderr == b""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose status has the exit code 1."""
    folder = tmp_path_factory.mktemp("ré ±")
    arguments = ["--in-process", "--set", "learning_rate=1e38", "--set", "schedule=constant"]
    assert CliRunner().invoke(sweep, [str(write(folder)), "--results", str(folder), *arguments]).exit_code == 1
    return folder / "tiny"


def test_a_status_that_nobody_reads_has_its_exit_code_and_says_nothing(failed: Path) -> None:
    ran = shell(f"{command_line('dvq_ray.status', str(failed))} | head -1")
    assert (ran.returncode, ran.stderr) == (1, b"")
    assert ran.stdout == b"tiny: 0 of 8 cells done, 8 failed, 0 missing\n"


@pytest.mark.long
def test_an_analysis_that_nobody_reads_writes_its_files(failed: Path, tmp_path: Path) -> None:
    ran = shell(f"{command_line('analysis', str(failed), '--out', str(tmp_path / '[/a] :b:'))} | true")
    assert ran.stderr == b""
    assert ran.returncode in (0, 1)
    assert (tmp_path / "[" / "a] :b:" / "report.html").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"LC_ALL": "C"}, "ré ±".encode()),
        ({"PYTHONIOENCODING": "latin1"}, "ré ±".encode("latin1")),
        ({"PYTHONIOENCODING": "ascii:strict"}, b"r\\xe9 \\xb1"),
    ],
)
def test_characters_that_the_output_lacks_are_numbers(failed: Path, env: dict[str, str], name: bytes) -> None:
    ran = shell(command_line("dvq_ray.status", str(failed)), **env)
    assert ran.returncode == 1, ran.stderr
    assert name in ran.stdout.splitlines()[-1]


@pytest.mark.long
@pytest.mark.parametrize("module", ["dvq_ray.sweep sweeps/smoke.yaml --results", "analysis"])
def test_a_name_that_is_not_text_is_reported_by_its_numbers(module: str) -> None:
    ran = shell(f"{shlex.quote(sys.executable)} -m {module} $'/nowhere/\\xff'", PYTHONIOENCODING="latin1")
    assert ran.returncode == 2
    assert b"\\udcff" in ran.stderr
    assert b"valid UTF-8" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_an_output_that_cannot_keep_up_is_waited_for() -> None:
    """A shell, or a program before this one, may have made a pipe non-blocking, and what is printed is larger."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    code = "import click; from dvq_ray.cli.terminal import Command\n"
    code += "Command('x', callback=lambda: click.echo('x' * 300_000 + 'end')).main([])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=writer, cwd=ROOT) as process:
        os.close(writer)
        with open(reader, "rb") as stream:
            assert stream.read().endswith(b"xxxend\n")
    assert process.returncode == 0
