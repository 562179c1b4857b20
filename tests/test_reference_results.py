"""The committed figures are what the committed rows give, to the byte."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from dvq_ray.cells import expand
from dvq_ray.coverage import SearchCoverage, coverage
from dvq_ray.spec import load_sweep
from dvq_ray.store import Store

ROOT = Path(__file__).parents[1]
REFERENCE = Path("results", "reference")
STORES = sorted(path.parent.name for path in (ROOT / REFERENCE).glob("*/sweep.yaml"))


@pytest.mark.parametrize("name", STORES)
def test_committed_figures_are_regenerated_byte_for_byte_whatever_the_user_has_set(name: str, tmp_path: Path) -> None:
    committed = sorted((ROOT / REFERENCE / name / "figures").iterdir())
    assert committed
    settings, out = tmp_path / "matplotlibrc", tmp_path / "out"
    settings.write_text("lines.linewidth: 9.0\nfont.family: serif\n")
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo",
        "MATPLOTLIBRC": str(settings),
    }  # fmt: skip
    command = [sys.executable, "-m", "analysis", str(REFERENCE / name), "--out", str(out)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert sorted(path.name for path in out.iterdir()) == [path.name for path in committed]
    assert [path.name for path in committed if (out / path.name).read_bytes() != path.read_bytes()] == []


@pytest.mark.parametrize("name", STORES)
def test_committed_figures_fit_the_text_of_a_page(name: str) -> None:
    for path in (ROOT / REFERENCE / name / "figures").glob("*.png"):
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width == 7 * 300, path
        assert height < 9 * 300, path


@pytest.mark.parametrize("name", STORES)
def test_a_committed_store_holds_every_cell_of_its_sweep_file_and_no_other(name: str) -> None:
    spec = load_sweep(ROOT / "sweeps" / f"{name}.yaml")
    frame = pd.read_parquet(ROOT / REFERENCE / name / "cells")
    assert set(frame["status"]) == {"ok"}
    if spec.search is None:
        assert sorted(frame["cell_id"]) == sorted(cell.cell_id for cell in expand(spec)[0])
    else:
        found = coverage(Store(ROOT / REFERENCE / name))
        assert isinstance(found, SearchCoverage)
        assert found.suggestions["complete"] == found.wanted == spec.search.suggestions
        assert found.unwanted == 0


@pytest.fixture(scope="module")
def static_prior() -> pd.DataFrame:
    return pd.read_parquet(ROOT / REFERENCE / "static_prior" / "cells")


def paired(rows: pd.DataFrame, first: dict[str, object], second: dict[str, object]) -> tuple[float, float]:
    """95% t-interval of the mean difference in test loss between two points, seed by seed."""
    losses = []
    for point in (first, second):
        chosen = rows
        for column, value in point.items():
            chosen = chosen[chosen[column] == value]
        losses.append(chosen.set_index("seed")["test_mse"])
    difference = (losses[0] - losses[1]).dropna()
    assert len(difference) == len(losses[0]) == len(losses[1]) >= 10
    low, high = stats.t.interval(0.95, len(difference) - 1, difference.mean(), stats.sem(difference))
    return float(low), float(high)


@pytest.mark.parametrize("dimension", [16, 64])
@pytest.mark.parametrize("factors", [16, 64, 256, 1024, 4096, 16384])
def test_what_the_readme_says_of_equal_codebooks_and_of_equal_bits(
    static_prior: pd.DataFrame, dimension: int, factors: int
) -> None:
    rows = static_prior.query("init_bound == 1 and dimension == @dimension and factors == @factors")
    for slices in (2, 4, 8):
        sliced = {"quantizer": "dvq", "codebook_size": 16, "slices": slices}
        assert paired(rows, sliced, {"quantizer": "vq", "codebook_size": 16})[1] < 0
    halves = {"quantizer": "dvq", "codebook_size": 16, "slices": 2}
    assert paired(rows, halves, {"quantizer": "vq", "codebook_size": 256})[0] > 0


@pytest.mark.parametrize(
    ("where", "loss"),
    [
        ("quantizer == 'vq' and codebook_size == 16 and init_bound == 1", 33.6),
        ("quantizer == 'vq' and codebook_size == 1024 and init_bound == 1", 25.7),
        ("quantizer == 'vq' and codebook_size == 16 and init_bound == 17.3", 34.3),
        ("quantizer == 'vq' and codebook_size == 1024 and init_bound == 17.3", 34.3),
        ("quantizer == 'kmeans' and codebook_size == 1024", 26.5),
    ],
)
def test_what_the_readme_says_of_where_codes_start(static_prior: pd.DataFrame, where: str, loss: float) -> None:
    rows = static_prior.query(f"dimension == 256 and factors == 4096 and {where}")
    assert round(rows["test_mse"].mean(), 1) == loss


@pytest.fixture(scope="module")
def cifar10_lossless() -> pd.DataFrame:
    frame = pd.read_parquet(ROOT / REFERENCE / "cifar10_lossless" / "cells")
    joint = frame[["joint_codebooks", "joint_positions"]].max(axis=1).fillna(1).astype(int).astype(str)
    names = frame["quantizer"] + frame["dimension"].astype(str) + ("x" + joint).replace("x1", "")
    return frame.assign(model=names)


def test_what_the_readme_says_of_small_trainings_on_real_images(cifar10_lossless: pd.DataFrame) -> None:
    frame = cifar10_lossless
    assert set(frame["train_images"] + frame["test_images"]) == {6187}
    assert set(frame.groupby("model").size()) == {3}
    reconstruction, total = "reconstruction_bits_per_dim", "total_bits_per_dim_unigram"
    expected = {
        reconstruction: {"dvq64": 4.80, "vq16": 5.42, "vq64": 5.48, "vq16x4": 5.15},
        total: {"dvq64": 5.29, "vq16": 5.55, "vq64": 5.60, "vq16x4": 5.64, "svq16": 5.49, "svq16x8": 6.10},
    }
    for column, values in expected.items():
        means = frame.groupby("model")[column].mean().round(2).to_dict()
        assert {model: means[model] for model in values} == values
    assert frame.query("dimension == 64")["parameters"].nunique() == 1
    assert frame.query("model in ('dvq64', 'vq16x4')")["code_bits_per_dim_uniform"].nunique() == 1
    totals = frame.pivot_table(index="seed", columns="model", values=total)
    alone = frame.pivot_table(index="seed", columns="model", values=reconstruction)
    for other, gain, half_width in (("vq16", 0.26, 0.03), ("vq64", 0.31, 0.10), ("vq16x4", 0.35, 0.07)):
        difference = totals[other] - totals["dvq64"]
        assert round(difference.mean(), 2) == gain
        assert round(float(stats.t.ppf(0.975, 2) * stats.sem(difference)), 2) == half_width
        if other != "vq16x4":
            assert difference.mean() < 0.5 * (alone[other] - alone["dvq64"]).mean()
    assert (totals["svq16"] < totals["vq16"]).all()


def test_what_the_readme_says_of_the_dependence_of_slices(cifar10_lossless: pd.DataFrame) -> None:
    means = cifar10_lossless.query("quantizer == 'dvq'").mean(numeric_only=True)
    assert round(means["slice_dependence_bits_refit"], 2) == 0.74
    assert round(means["slice_dependence_bits_shuffled"], 2) == 2.51


def test_two_slices_of_many_codes_are_the_best_use_of_sixteen_bits_that_the_search_found() -> None:
    rows = pd.read_parquet(ROOT / REFERENCE / "search_static_slices" / "cells")
    point = ["slices", "codebook_size", "init_bound"]
    means = rows.groupby(point, as_index=False).agg(loss=("test_mse", "mean"), n=("seed", "count"))
    best = means.sort_values("loss").iloc[0]
    assert (best["slices"], best["codebook_size"], best["n"]) == (2, 256, 3)
    lowest = means.groupby(["slices", "codebook_size"], as_index=False)["loss"].min()
    at = {(row.slices, row.codebook_size): row.loss for row in lowest.itertuples()}
    assert [round(at[each], 1) for each in ((2, 256), (1, 256), (4, 16))] == [16.7, 20.5, 25.2]
    assert at[1, 256] == min(loss for (slices, _), loss in at.items() if slices == 1)


def test_what_the_readme_says_of_factorial_blobs() -> None:
    rows = pd.read_parquet(ROOT / REFERENCE / "factorial" / "cells").query("dependence == 0")
    assert set(rows.groupby("point_id").size()) == {10}
    means = rows.groupby(["quantizer", "codebook_size", "groups"])["test_mse"].mean().round(1)
    said = {("dvq", 16): (6.3, 5.6, 3.2), ("dvq", 32): (2.9, 2.6, 1.8), ("kmeans", 32): (1.4, 1.5, 1.2),
            ("vq", 1024): (7.2, 17.0, 22.5)}  # fmt: skip
    for (quantizer, codes), losses in said.items():
        assert tuple(means[quantizer, codes]) == losses
        assert ", ".join(map(str, losses[:2])) in " ".join((ROOT / "README.md").read_text().split())
    claims = json.loads((ROOT / REFERENCE / "factorial" / "figures" / "claims.json").read_text())["claims"]
    assert {claim["claim"]: claim["verdict"] for claim in claims}[10] == "not reproduced"
