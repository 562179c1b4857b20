"""`benchmarks/gpu_hour.py` on a CPU, with tiny sizes, and with parts that are made up where only the order matters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks import gpu_hour
from benchmarks.gpu import parts as gpu_parts
from benchmarks.gpu.found import UNFINISHED, Found
from benchmarks.gpu.page import page
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.sizes import TINY, Sizes
from benchmarks.gpu.ways import Way
from benchmarks.gpu.ways import ways as all_ways

FAKE = """
import json, sys, time
from pathlib import Path
part, path = sys.argv[1], Path(sys.argv[sys.argv.index("--file") + 1])
calls = Path(__file__).with_name("calls")
with calls.open("a") as file:
    file.write(part + "\\n")
found = json.loads(path.read_text()) if path.exists() else {}
path.write_text(json.dumps({**found, f"try {len(found)}": {"tests": 1}}))
behaviour = Path(__file__).with_name(part)
exec(behaviour.read_text() if behaviour.exists() else "")
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose parts only say that they were called, and then do what the file of their name says."""
    folder = tmp_path / "checkout" / "benchmarks" / "gpu"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder.parent / "__init__.py").touch()
    (folder / "parts.py").write_text(FAKE)
    monkeypatch.setattr(gpu_hour, "ROOT", tmp_path / "checkout")
    monkeypatch.setattr(gpu_hour, "_machine", lambda tiny: {"gpu": "", "sizes": "tiny"})
    monkeypatch.setattr(gpu_hour, "page", lambda state: json.dumps(state["parts"]))
    monkeypatch.setattr(gpu_hour, "LEAST_SECONDS", 0.0)
    return folder


def run(out: Path, *more: str) -> Result:
    return CliRunner().invoke(gpu_hour.main, ["--tiny", "--out", str(out), *more])


def state(out: Path) -> dict[str, Any]:
    found = json.loads((out / "gpu_hour.json").read_text())["parts"]
    assert json.loads((out / "gpu_hour.md").read_text()) == found
    assert isinstance(found, dict)
    return found


def test_parts_run_in_order_and_those_that_are_done_do_not_run_again(root: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "out").exit_code == 0
    assert run(tmp_path / "out").exit_code == 0
    assert (root / "calls").read_text().split() == [*PARTS]
    assert {each["status"] for each in state(tmp_path / "out").values()} == {"done"}


def test_a_part_whose_time_is_over_is_stopped_keeps_what_it_found_and_goes_on_later(root: Path, tmp_path: Path) -> None:
    (root / "layer").write_text("time.sleep(60)")
    (root / "long").write_text("sys.exit(3)")
    started = time.monotonic()
    assert run(tmp_path / "out", "--minutes", "0.25").exit_code == 0
    assert time.monotonic() - started < 30
    found = state(tmp_path / "out")
    assert {name: each["status"] for name, each in found.items()} == {
        **dict.fromkeys(PARTS, "done"), "layer": "stopped", "long": "stopped",
    }  # fmt: skip
    assert found["layer"]["found"] == {"try 0": {"tests": 1}}
    (root / "layer").unlink()
    assert run(tmp_path / "out").exit_code == 0
    found = state(tmp_path / "out")
    assert (found["layer"]["status"], [*found["layer"]["found"]]) == ("done", ["try 0", "try 1"])
    assert (found["long"]["status"], [*found["long"]["found"]]) == ("stopped", ["try 0", "try 1"])
    assert (root / "calls").read_text().split()[-2:] == ["layer", "long"]


def test_a_part_that_fails_says_why_and_the_others_run(root: Path, tmp_path: Path) -> None:
    (root / "tests").write_text("raise RuntimeError('no such kernel')")
    result = run(tmp_path / "out", "--part", "tests", "--part", "resume")
    assert result.exit_code == 1
    assert "no such kernel" in result.output
    found = state(tmp_path / "out")
    assert (found["tests"]["status"], found["resume"]["status"]) == ("failed", "done")
    assert "RuntimeError: no such kernel" in found["tests"]["error"]


def test_results_of_another_machine_are_not_mixed_in(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "out", "--part", "resume")
    monkeypatch.setattr(gpu_hour, "_machine", lambda tiny: {"gpu": "other", "sizes": "tiny"})
    result = run(tmp_path / "out")
    assert result.exit_code == 2
    assert "other values of gpu: found [''], now ['other']; allowed: another --out" in result.output


def test_without_a_gpu_full_sizes_are_rejected_before_anything_is_written(root: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(gpu_hour.main, ["--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "no GPU found; allowed: a machine with one, or --tiny" in result.output
    assert not (tmp_path / "out").exists()


def test_parts_measure_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: way for name, way in all_ways().items() if "compiled" not in name}
    monkeypatch.setattr(gpu_parts, "ways", lambda: some)
    found = {name: Found(tmp_path / f"{name}.json") for name in ("steps", "resume", "long")}
    for name, each in found.items():
        PARTS[name](each, TINY)
        assert json.loads(each.path.read_text()) == each.values
    parts = {name: {"status": "done", "seconds": 1.0, "found": each.values} for name, each in found.items()}
    text = page({"machine": {"gpu": "", "sizes": "tiny"}, "parts": parts})
    assert "| tiny network | bfloat16, eager |" in text
    assert "| tiny network | textbook |" in text
    assert "| DVQ | 40 of 40 |" in text
    assert found["resume"].values["resumed"]["largest_difference"] == 0
    assert found["long"].values["VQ"]["diverged_at_step"] is None


def test_long_trainings_end_in_time_and_go_on_from_their_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_parts, "_GRACE_SECONDS", 0.0)
    sizes = Sizes(**{**vars(TINY), "chunk_seconds": 0.01})
    with pytest.raises(SystemExit) as end:
        PARTS["long"](Found(tmp_path / "long.json", seconds=0.2), sizes)
    assert end.value.code == UNFINISHED
    before = Found(tmp_path / "long.json").values.get("DVQ", {"steps": 0})["steps"]
    assert before < 40
    PARTS["long"](found := Found(tmp_path / "long.json"), sizes)
    assert {name: each["steps"] for name, each in found.values.items()} == {"DVQ": 40, "VQ": 40}


def test_what_was_found_is_not_measured_again_and_time_that_is_over_ends_a_part(tmp_path: Path) -> None:
    found = Found(tmp_path / "found.json", seconds=100)
    found.once("rate", lambda: 1)
    Found(tmp_path / "found.json", seconds=0).once("rate", lambda: pytest.fail("measured again"))
    with pytest.raises(SystemExit) as end:
        Found(tmp_path / "found.json", seconds=0).once("other", lambda: pytest.fail("no time"))
    assert end.value.code == UNFINISHED


def test_ways_of_training_differ_in_what_they_say() -> None:
    ways = all_ways()
    assert len(ways) == 6
    for name, way in ways.items():
        assert isinstance(way, Way)
        assert way.compiles(1) == ("compiled" in name)
        assert way.aligns_widths == ("aligned" in name)
        assert way.numbers == name.partition(",")[0].lower()


@pytest.mark.slow
def test_all_of_it_runs_end_to_end_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_hour", "--tiny", "--minutes", "10", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "gpu_hour.json").read_text())["parts"]
    assert {name: each["status"] for name, each in parts.items()} == dict.fromkeys(PARTS, "done")
    text = (tmp_path / "gpu_hour.md").read_text()
    assert "vector-quantize-pytorch / dvq_ray" in text
    assert "| 2 at once |" in text


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_at_any_moment_it_leaves_whole_files_and_no_process(tmp_path: Path, how: int) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_hour", "--tiny", "--part", "steps", "--out", str(tmp_path)]
    found = tmp_path / "parts" / "steps.json"
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while not found.exists():
        assert running.poll() is None
        time.sleep(0.05)
    os.kill(running.pid, how)
    assert running.wait() != 0
    kept = json.loads(found.read_text())
    assert kept
    time.sleep(2)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(found) not in listed
    if how != signal.SIGKILL:
        entry = json.loads((tmp_path / "gpu_hour.json").read_text())["parts"]["steps"]
        assert (entry["status"], entry["found"]) == ("stopped", kept)
    subprocess.run(command, check=True, capture_output=True)
    again = json.loads((tmp_path / "gpu_hour.json").read_text())["parts"]["steps"]
    assert again["status"] == "done"
    assert {name: again["found"][name] for name in kept} == kept
