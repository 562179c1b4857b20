"""`python -m benchmarks.engines`: which engine groups the rows of a store best, each in a process of its own.

The question is that of most items: mean, deviation and number of the loss of each point, over the finished cells. Each
engine reads the Parquet files itself; their answers are compared. DuckDB and Polars are no dependencies: install them
beside pyarrow in an environment of their own, and name its Python with `--python`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.made_up_rows import SEEDS, write_store
from benchmarks.static_prior.tables import say, show, spread

ROUNDS = 5
START = """\
import glob, json, resource, sys, time
began, began_cpu = time.perf_counter(), time.process_time()
place, files = sys.argv[1], sorted(glob.glob(sys.argv[1] + "/*.parquet"))
COLUMNS = ["point_id", "status", "test_mse"]
"""
END = """
status = open("/proc/self/status").read()  # getrusage would count the parent's memory before exec
peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps([time.perf_counter() - began, time.process_time() - began_cpu, peak_kib / 2**20, found]))
"""
ENGINES = {
    "pandas, all in memory": """
import pandas as pd
frame = pd.read_parquet(place, columns=COLUMNS)
table = frame[frame["status"] == "ok"].groupby("point_id")["test_mse"].agg(["mean", "std", "count"])
found = [len(table), float(table["mean"].sum()), float(table["std"].sum()), int(table["count"].sum())]
""",
    "Arrow, all in memory": """
import pyarrow.compute as pc, pyarrow.parquet as pq
table = pq.read_table(place, columns=COLUMNS).filter(pc.field("status") == "ok").group_by("point_id").aggregate(
    [("test_mse", "mean"), ("test_mse", "stddev", pc.VarianceOptions(ddof=1)), ("test_mse", "count")])
found = [len(table), *(pc.sum(table["test_mse_" + name]).as_py() for name in ("mean", "stddev", "count"))]
""",
    "Arrow's Acero, streaming": """
import pyarrow.acero as acero, pyarrow.compute as pc, pyarrow.dataset as ds
options = {"mean": None, "stddev": pc.VarianceOptions(ddof=1), "count": None}
table = acero.Declaration.from_sequence([
    acero.Declaration("scan", acero.ScanNodeOptions(ds.dataset(place), columns=COLUMNS)),
    acero.Declaration("filter", acero.FilterNodeOptions(pc.field("status") == "ok")),
    acero.Declaration("aggregate", acero.AggregateNodeOptions(
        [("test_mse", "hash_" + name, option, name) for name, option in options.items()], keys=["point_id"])),
]).to_table()
found = [len(table), *(pc.sum(table[name]).as_py() for name in options)]
""",
    "DuckDB": """
import duckdb
found = list(duckdb.sql(f'''SELECT count(*), sum(m), sum(s), sum(n)::BIGINT FROM (
    SELECT avg(test_mse) m, stddev_samp(test_mse) s, count(test_mse) n
    FROM '{place}/*.parquet' WHERE status = 'ok' GROUP BY point_id)''').fetchall()[0])
""",
    "Polars, streaming": """
import polars as pl
loss = pl.col("test_mse")
table = pl.scan_parquet(place + "/*.parquet").filter(pl.col("status") == "ok").group_by("point_id").agg(
    loss.mean().alias("mean"), loss.std().alias("std"), loss.count().alias("n")).collect(engine="streaming")
found = [len(table), table["mean"].sum(), table["std"].sum(), int(table["n"].sum())]
""",
    "dvq_ray: one row of each cell": """
from dvq_ray.store import Store
table = Store(place.removesuffix("/cells")).summaries(["point_id"], "test_mse")
found = [len(table), float(table["mean"].sum()), float(table["deviation"].sum()), int(table["n"].sum())]
""",
}


def _measured(python: str, code: str, place: str) -> list[Any] | str:
    """Seconds, CPU seconds, peak memory and the answer of one process; or why there is none."""
    done = subprocess.run([python, "-c", START + code + END, place], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    found: list[Any] = json.loads(done.stdout)
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="A fifteenth of the rows and two rounds, to see that everything works.")
@click.option("--millions", type=click.IntRange(1, 20), default=1, show_default=True, help="Rows of the store.")
@click.option("--store", type=click.Path(exists=True), help="Measure on this store and make none up.")
@click.option("--python", default=sys.executable, help="The Python that has the other engines.")
def main(quick: bool, millions: int, store: str | None, python: str) -> None:
    """Print seconds and memory of each engine, by turns."""
    rounds = 2 if quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        if store is None:
            store = folder
            count = write_store(Path(folder), quick=quick, rows_of_a_file=200_000, repetitions=SEEDS * millions)
            say(f"a store of {count:,} rows")
        runs: dict[str, list[list[Any] | str]] = {name: [] for name in ENGINES}
        for _ in range(rounds):
            for name, code in ENGINES.items():
                own = sys.executable if name.startswith("dvq_ray") else python
                runs[name].append(_measured(own, code, f"{store}/cells"))
    rows, answers = list[tuple[str, ...]](), dict[str, list[float]]()
    for name, its in runs.items():
        held = [run for run in its if not isinstance(run, str)]
        if held:
            rows.append((name, *(spread([run[place] for run in held]) for place in range(3))))
            answers[name] = held[0][3]
        else:
            rows.append((name, "", "", ""))
            say(f"{name} was not measured: {its[0]}")
    say(f"{rounds} rounds by turns, whole processes: min / median / max")
    show(("engine", "seconds", "CPU seconds", "peak GiB"), rows)
    points, *_, count = map(int, next(iter(answers.values())))
    agree = all(np.allclose(answer, next(iter(answers.values())), rtol=1e-9) for answer in answers.values())
    say(f"{points:,} points of {count:,} finished cells; the answers {'agree' if agree else f'DIFFER: {answers}'}")


if __name__ == "__main__":
    main()
