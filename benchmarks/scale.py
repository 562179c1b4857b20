"""`python -m benchmarks.scale`: what 1,000, 10,000 and 100,000 cells cost besides computing them.

Cells do next to nothing, so what is left is planning, scheduling, writing, merging and reading. `cluster/scale.md`
holds the numbers and says what they mean for a thousand GPUs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.static_prior.tables import say, show, spread
from dvq_ray.execution.machine import usable_cores
from dvq_ray.execution.tune.under_tune import QUIET_RAY
from dvq_ray.store import Store
from dvq_ray.sweep.cells import Pack, expand
from dvq_ray.sweep.spec import load_sweep

if TYPE_CHECKING:
    from benchmarks.static_prior.scale import Moment

RUN = (1_000, 10_000, 30_000)
"""Cells of the sweeps that are really run."""
COPIED = 100_000
"""Cells of a store that is made of the rows of the last of these: running them takes longer than the patience here."""
ROUNDS = 3
SEEDS = 10
THREE_COLUMNS = ["dimension", "codebook_size", "test_mse"]

PLAN = """\
import sys, time
from pathlib import Path
from dvq_ray.sweep.plan import make_plan
from dvq_ray.sweep.spec import load_sweep
from dvq_ray.store import Store
began = time.perf_counter()
spec = load_sweep(Path(sys.argv[1]))
make_plan(spec, Store.under(sys.argv[2], spec.name), retry_failed=False)
print(time.perf_counter() - began)
"""
READ = """\
import json, sys, time
from dvq_ray import load_results
began = time.perf_counter()
load_results(sys.argv[1], columns=json.loads(sys.argv[2]))
print(time.perf_counter() - began)
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="1,000 cells and a tenth of the packs, to see that everything works.")
@click.option("--only", type=click.Choice(["sizes", "driver", "requests"]), help="One part of it.")
def main(quick: bool, only: str | None) -> None:
    """Print tables of what sweeps cost by their size, the driver by trials, and object storage by cells."""
    parts = {"sizes": sizes, "driver": driver, "requests": requests}
    if only:
        parts[only](quick)
        return
    for part in parts:
        # Each in a process of its own, because Ray keeps memory and settings.
        print(f"\n{part}, load {os.getloadavg()[0]:.1f} on {usable_cores()} cores", flush=True)
        flags = ["--quick"] if quick else []
        subprocess.run([sys.executable, "-m", "benchmarks.scale", "--only", part, *flags], check=True)


# What a sweep costs by its number of cells


def sizes(quick: bool) -> None:
    """A column for each size: planning, running, resuming, reading."""
    columns: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        for count in RUN[:1] if quick else RUN:
            sweep, results = _sweep_file(folder, count), f"{folder}/{count}"
            columns[f"{count:,}"] = (
                _planned(sweep, results) | _run(sweep, results, count) | _read(sweep, results, count)
            )
            say(f"{count:,} cells: {columns[f'{count:,}']}")
        if not quick:
            sweep, results = _sweep_file(folder, COPIED), f"{folder}/{COPIED}"
            columns[f"{COPIED:,}"] = _planned(sweep, results)
            _copy(f"{folder}/{RUN[-1]}/many", sweep, f"{results}/many")
            columns[f"{COPIED:,}"] |= _read(sweep, results, COPIED)
    say(f"\nmin / median / max of {ROUNDS} rounds, each a process of its own; the run itself once")
    names = dict.fromkeys(name for column in columns.values() for name in column)
    show(("cells", *columns), [(name, *(column.get(name, "") for column in columns.values())) for name in names])


def _sweep_file(folder: str, cells: int) -> Path:
    """A sweep of so many cells, a multiple of 1,000, ten of each point."""
    path = Path(folder, f"{cells}.yaml")
    path.write_text(f"""\
name: many
trainable: static_prior
seeds: {SEEDS}
fixed: {{steps: 1, train_samples: 64, factors: 1}}
grids:
  one:
    quantizer: vq
    dimension: {list(range(1, 11))}
    codebook_size: {list(range(2, 12))}
    init_bound: {[1 + place / 1000 for place in range(cells // (100 * SEEDS))]}
""")
    return path


def _command(sweep: Path, results: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", "dvq_ray.sweep", str(sweep), "--results", results, *flags]


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _seconds(command: Sequence[str], expected: str) -> float:
    """Of the whole process."""
    began = time.perf_counter()
    output = _output(command)
    seconds = time.perf_counter() - began
    assert expected in output, output
    return seconds


def _rounds(measure: Callable[[], float], form: str = ".2f") -> str:
    return spread([measure() for _ in range(ROUNDS)], form)


def _planned(sweep: Path, results: str) -> dict[str, str]:
    dry = _command(sweep, results, "--dry-run")
    found = re.search(r"in ([\d,]+) Tune trials", _output(dry))
    assert found
    return {
        "load_sweep and make_plan, empty store, s": _rounds(
            lambda: float(_output([sys.executable, "-c", PLAN, str(sweep), results]))
        ),
        "--dry-run, empty store, s": _rounds(lambda: _seconds(dry, "Tune trials")),
        "Tune trials": found[1],
    }


@dataclass(kw_only=True)
class _Seen:
    """What was seen of a driver and its store while it ran."""

    peak_mb: float = 0.0
    cpu_seconds: float = 0.0
    files: int = 0
    """In `cells/` and `curves/` at once, at most."""
    loads: list[float] = field(default_factory=list)

    def look(self, pid: int, store: str) -> None:
        """Notes what there is just now."""
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:
            return
        if peak := re.search(r"VmHWM:\s+(\d+) kB", status):  # a process that has just ended has none
            self.peak_mb = int(peak[1]) * 1.024e-3
            self.cpu_seconds = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        self.files = max(self.files, _files(store))
        self.loads.append(os.getloadavg()[0])


def _files(store: str) -> int:
    parts = [path for part in ("cells", "curves") if (path := Path(store, part)).exists()]
    return sum(not entry.name.startswith(".") for path in parts for entry in os.scandir(path))


def _run(sweep: Path, results: str, count: int) -> dict[str, str]:
    seen, store, began = _Seen(), f"{results}/many", time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(_command(sweep, results), stdout=output)
        while process.poll() is None:
            seen.look(process.pid, store)
            time.sleep(0.2)
        seconds = time.perf_counter() - began
        output.seek(0)
        text = output.read()
    assert f"{count:,} of {count:,} cells done, 0 failed" in text, text
    rows = pq.read_table(f"{store}/cells", columns=["run_started_at", "duration_seconds"]).to_pandas()
    started = rows["run_started_at"]
    computing = (started.max() - started.min()).total_seconds()
    inside = [path for path in Path(store).rglob("*") if path.is_file()]
    return {
        "the run, whole process, s": f"{seconds:.0f}",
        "from the first cell to the last, s": f"{computing:.0f}",
        "cells/s between them": f"{count / computing:.0f}",
        "a cell's own computing, median, ms": f"{1000 * rows['duration_seconds'].median():.1f}",
        "driver's peak memory (VmHWM), MB": f"{seen.peak_mb:.0f}",
        "driver's CPU, s": f"{seen.cpu_seconds:.0f}",
        "files in cells/ and curves/, at most": f"{seen.files:,}",
        "the same after the merge": f"{_files(store):,}",
        "bytes of the store, kB": f"{sum(path.stat().st_size for path in inside) / 1000:,.0f}",
        "load while it ran": spread(seen.loads, ".1f"),
    }


def _read(sweep: Path, results: str, count: int) -> dict[str, str]:
    store, done = f"{results}/many", f"{count:,} of {count:,} cells done"
    reading = [sys.executable, "-c", READ, store]
    return {
        "resuming a finished store, s": _rounds(lambda: _seconds(_command(sweep, results), done)),
        "load_results, all columns, s": _rounds(lambda: float(_output([*reading, "null"]))),
        "load_results, 3 columns, s": _rounds(lambda: float(_output([*reading, json.dumps(THREE_COLUMNS)]))),
        "python -m dvq_ray.status, s": _rounds(lambda: _seconds([sys.executable, "-m", "dvq_ray.status", store], done)),
    }


def _copy(source: str, sweep: Path, target: str) -> None:
    """A finished store of `sweep` out of the rows of a smaller one, over and over, under their own names."""
    spec = load_sweep(sweep)
    cells, _ = expand(spec)
    identities = [
        {"cell_id": cell.cell_id, "point_id": cell.point.point_id, "seed": cell.seed, **cell.point.settings.columns()}
        for cell in cells
    ]
    Store(target).write_sweep(spec.as_yaml())
    for part in ("cells", "curves"):
        table = pq.read_table(f"{source}/{part}").sort_by("cell_id")
        rows = len(table) // len(table["cell_id"].unique())  # of a cell
        whole = table.take([place % len(table) for place in range(rows * len(cells))])
        for place, column in enumerate(whole.schema):
            if column.name in identities[0]:
                own = pa.array([each[column.name] for each in identities for _ in range(rows)], column.type)
                whole = whole.set_column(place, column, own)
        Path(target, part).mkdir(parents=True)
        pq.write_table(whole, f"{target}/{part}/all.parquet", compression="zstd")


# What a driver costs by its number of trials


def driver(quick: bool) -> None:
    """Packs of one cell, and packs that report after each cell, under a driver that runs here."""
    import dvq_ray.execution.tune.trainables
    from benchmarks.static_prior.scale import run_tiny, tiny_packs

    class EveryCell(dvq_ray.execution.tune.trainables.PackTrainable):
        """Reports after each cell, as a training reports each second."""

        def _ends_step(self, advance: Any, report: dict[str, Any]) -> bool:
            return True

    scale = 10 if quick else 1
    packs = 6000 // scale
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        run = run_tiny(tiny_packs(packs), f"{folder}/one")
        _say_packs(run.before, run.at, packs, 1000 // scale)
        _say_unmerged(f"{folder}/one", packs)
        few, cells = max(500 // scale, 200), 6
        dvq_ray.execution.tune.trainables.PackTrainable = EveryCell  # type: ignore[misc]
        telling = run_tiny(tiny_packs(few, cells), f"{folder}/each")
    first, last = telling.at[min(telling.at)], telling.at[max(telling.at)]
    trials = (max(telling.at) - min(telling.at)) / cells
    # A pack reports once after each of its cells, and once more that there is no other.
    seconds = (last.seconds - first.seconds) / (trials * (cells + 1))
    of_trial = (run.at[few].cpu_seconds - run.at[100].cpu_seconds) / (few - 100)  # with its one report
    of_report = ((last.cpu_seconds - first.cpu_seconds) / trials - of_trial) / cells
    say(
        f"{few:,} packs with {cells + 1} reports each: {1e3 * seconds:.1f} ms for a report; driver's CPU for a report "
        f"{1e3 * of_report:.1f} ms, where a trial with one report takes {1e3 * of_trial:.1f} ms"
    )


def _say_packs(before: Moment, at: dict[int, Moment], packs: int, piece: int) -> None:
    rows = [("0", f"{before.resident_mb:.0f}", "", "")]
    for last in range(piece, packs + 1, piece):
        first = max(last - piece, 100)
        if last > first:
            span, cpu = at[last].seconds - at[first].seconds, at[last].cpu_seconds - at[first].cpu_seconds
            each = f"{1e3 * span / (last - first):.1f}", f"{1e3 * cpu / (last - first):.1f}"
            rows.append((f"{last:,}", f"{at[last].resident_mb:.0f}", *each))
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    say(f"{packs:,} packs of one cell, one run; driver's peak memory (VmHWM) {int(peak[1]) * 1.024e-3:.0f} MB")
    show(("packs", "resident MB", "ms per pack before", "driver's CPU ms"), rows)
    laps = {n: at[n].seconds - at[n - 100].seconds for n in range(200, packs + 1, 100)}
    say(f"a hundred packs: {spread(list(laps.values()))} s")


def _say_unmerged(location: str, cells: int) -> None:
    """What a store costs that was not merged: one file of each kind for each cell, as long trainings leave it."""
    files = _files(location)
    rounds = _rounds(lambda: float(_output([sys.executable, "-c", READ, location, json.dumps(THREE_COLUMNS)])))
    began = time.perf_counter()
    Store(location).set_aside_unreadable()
    looked = time.perf_counter() - began
    began = time.perf_counter()
    Store(location).merge()
    merged = time.perf_counter() - began
    say(
        f"its store of {cells:,} cells in {files:,} files before the merge: load_results of 3 columns {rounds} s "
        f"({ROUNDS} rounds), looking for broken files {looked:.1f} s, the merge {merged:.1f} s, each once"
    )


# What a cell asks of object storage


def requests(quick: bool) -> None:
    """Counted by a server that speaks S3, in this process."""
    from benchmarks.static_prior.scale import tiny_packs
    from dvq_ray.execution.pack import run_pack
    from dvq_ray.experiment.surroundings import Surroundings
    from dvq_ray.store.provenance import Run
    from tests.object_storage import serving

    with serving() as server:
        store, run, rows = Store(server.uri()), Run.start("tiny"), []

        def counted(name: str, cells: int, do: Callable[[], Any]) -> None:
            server.requests.clear()
            do()
            asked = Counter(
                "LIST" if method == "GET" and "/" not in path.strip("/") else method for method, path in server.requests
            )
            rows.append((name, *(f"{asked[kind] / cells:.2f}" for kind in kinds)))

        def computed(packs: Sequence[Pack]) -> None:
            for pack in packs:
                list(run_pack(pack, store, run, Surroundings()))

        kinds = ["PUT", "GET", "HEAD", "LIST", "DELETE", "POST"]
        store.write_sweep("")
        counted("20 packs of one cell", 20, lambda: computed(tiny_packs(20)))
        counted("the merge of these", 20, store.merge)
        counted("a pack of 100 cells", 100, lambda: computed(tiny_packs(1, 100)))
        counted("a checkpoint", 1, lambda: store.write_checkpoint("a", bytes(1000)))
        counted("to look for one", 1, lambda: store.read_checkpoint("b"))
        counted("to drop it", 1, lambda: store.drop_checkpoint("a"))
        counted("a picture", 1, lambda: store.write_artifact("a", "b.png", bytes(1000)))
    say("requests to object storage, by cell or by deed")
    show(("", *kinds), rows)


if __name__ == "__main__":
    os.environ.update(QUIET_RAY)
    main()
