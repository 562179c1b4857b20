"""`python -m benchmarks.gpu_hour`: all that is worth knowing of a GPU, in ten minutes, without a network.

It runs the GPU tests; times the quantizer layer against vector-quantize-pytorch, and training steps compiled and eager,
with aligned widths and without, in bfloat16, TF32 and float32; runs two trials on one GPU; resumes from a checkpoint;
and spends the rest of the time on DVQ and VQ at the author's size. It writes `gpu_hour.json` and a page of it,
`gpu_hour.md`, after every part.

Stop it whenever you like, by Ctrl-C or by kill: each file is replaced as a whole. The same command then goes on with
what is missing, and trains on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu.found import UNFINISHED, replace_file
from benchmarks.gpu.page import page
from benchmarks.gpu.parts import PARTS, ROOT

SHARES: Mapping[str, float] = {"tests": 0.2, "layer": 0.1, "steps": 0.35, "two": 0.12, "resume": 0.12, "long": 1.0}
"""Of all the time, the most that a part may take; the last one gets what is left."""
LEAST_SECONDS = 5.0
"""With less time left no part is begun."""
_LAST_LINES = 15
_ASK = "import torch; gpu = torch.cuda.get_device_properties(0); print(gpu.name, gpu.total_memory)"
"""Asked by a process of its own: one that has used a GPU holds some of its memory as long as it lives."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", default=10.0, show_default=True, help="After which everything has ended.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results/gpu_hour"))
@click.option("--part", "only", multiple=True, type=click.Choice([*PARTS]), help="No other part. Can be repeated.")
@click.option("--tiny", is_flag=True, help="Tiny sizes, to see that everything works; on a CPU where there is no GPU.")
def main(minutes: float, out: Path, only: tuple[str, ...], tiny: bool) -> None:
    """Measure the GPU of this machine, or go on with it. Results are in OUT/gpu_hour.json and OUT/gpu_hour.md."""
    deadline = time.monotonic() + 60 * minutes
    machine = _machine(tiny)
    if not machine["gpu"] and not tiny:
        raise click.UsageError("no GPU found; allowed: a machine with one, or --tiny, which runs on a CPU too")
    state = _state(out, machine)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed = []
    for part in only or PARTS:
        if state["parts"].get(part, {}).get("status") == "done":
            continue
        left = deadline - time.monotonic()
        if left < LEAST_SECONDS:
            break
        click.echo(f"{part}: at most {min(left, SHARES[part] * 60 * minutes):.0f} s")
        _run(part, out, min(left, SHARES[part] * 60 * minutes), tiny, state)
        if state["parts"][part]["status"] == "failed":
            failed.append(part)
            click.echo(state["parts"][part]["error"], err=True)
    click.echo(out / "gpu_hour.md")
    sys.exit(1 if failed else 0)


def _run(part: str, out: Path, seconds: float, tiny: bool, state: dict[str, Any]) -> None:
    """Runs one part in a process of its own, and writes what it found, also where it is stopped."""
    found, log = out / "parts" / f"{part}.json", out / "parts" / f"{part}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu.parts", part, "--file", str(found.resolve())]
    command += ["--seconds", f"{seconds:.1f}", *["--tiny"] * tiny]
    entry = {"status": "stopped", "seconds": state["parts"].get(part, {}).get("seconds", 0.0)}
    started = time.monotonic()
    try:
        with log.open("wb") as output:
            running = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
            try:
                code = running.wait(timeout=seconds)
                entry["status"] = {0: "done", UNFINISHED: "stopped"}.get(code, "failed")
            except subprocess.TimeoutExpired:
                pass
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                running.wait()
    finally:
        entry["seconds"] = round(entry["seconds"] + time.monotonic() - started, 1)
        if entry["status"] == "failed":
            entry["error"] = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
        state["parts"][part] = {**entry, "found": json.loads(found.read_text()) if found.exists() else {}}
        _write(out, state)


def _write(out: Path, state: Mapping[str, Any]) -> None:
    replace_file(out / "gpu_hour.json", (json.dumps(state, indent=1) + "\n").encode())
    replace_file(out / "gpu_hour.md", page(state).encode())


def _state(out: Path, machine: Mapping[str, Any]) -> dict[str, Any]:
    """What was found so far on this machine."""
    path = out / "gpu_hour.json"
    if not path.exists():
        return {"machine": dict(machine), "parts": {}}
    state: dict[str, Any] = json.loads(path.read_text())
    if other := [name for name in machine if state["machine"].get(name) != machine[name]]:
        raise click.UsageError(
            f"{path} has other values of {', '.join(other)}: found {[state['machine'].get(name) for name in other]}, "
            f"now {[machine[name] for name in other]}; allowed: another --out"
        )
    return state


def _machine(tiny: bool) -> dict[str, Any]:
    """What the figures depend on."""
    import torch

    gpu, _, size = _said(sys.executable, "-c", _ASK).rpartition(" ") if torch.cuda.is_available() else ("", "", "0")
    return {
        "gpu": gpu,
        "gpu_bytes": int(size),
        "driver": _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") if gpu else "",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "",
        "vector_quantize_pytorch": version("vector-quantize-pytorch"),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "sizes": "tiny" if tiny else "full",
    }


def _said(*command: str) -> str:
    """The first line that a command prints; empty where it cannot."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0].strip()


if __name__ == "__main__":
    main()
