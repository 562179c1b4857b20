"""The committed figures are what the committed rows give, to the byte; what is said of them is what they say."""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import struct
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import product as claims
from analysis.claims import sentences
from analysis.claims.decide import Decision, decide
from analysis.claims.readings import entry
from analysis.data.rows import load_rows
from dvq_ray.search.history import search_coverage
from dvq_ray.store import Store
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import load_sweep

ROOT = Path(__file__).parents[1]
REFERENCE = Path("results", "reference")
FINDINGS = ROOT / "docs" / "findings.md"
STORES = sorted(path.parent.name for path in (ROOT / REFERENCE).glob("*/sweep.yaml"))


OF_CLAIMS_ALONE = ("claims_static_prior", "claims_factorial_prior", "claims_dependent_features")
"""Their cells make no figure."""
CHECKS = ("cifar10_lossless", "cifar10_jpeg")
"""Models of the claims at small scale with fewer seeds, on another processor and on other images."""
COMPARISONS = {
    "quantizers_blobs": "static_prior",
    "quantizers_factorial_blobs": "factorial_prior",
    "quantizers_descriptors": "vectors",
    "quantizers_text": "vectors",
}
"""Stores that compare all quantizers, with the prefix of their items; they decide no claim."""
WIDER = ("figure3a", "figure3b", "figure4", "equal_bits", "code_use", "static_prior_cost")
"""What more dimensions and factors add to the figures of `static_prior`."""
SOME_ITEMS = {
    "static_prior_wide": WIDER,
    **dict.fromkeys(OF_CLAIMS_ALONE, ("claims",)),
    **dict.fromkeys(CHECKS, ("figure6", "table1")),
    **{name: tuple(f"{of}-{item}" for item in ("rate", "ranking", "versus")) for name, of in COMPARISONS.items()},
}
ANALYSE_ALL = f"""
import sys
from analysis.__main__ import main
for name in sys.argv[2:]:
    some = [word for item in {SOME_ITEMS}.get(name, ()) for word in ("--item", item)]
    try:
        main(["results/reference/" + name, "--out", sys.argv[1] + "/" + name, *some])
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.mark.long
def test_committed_figures_are_regenerated_byte_for_byte_whatever_the_user_has_set(tmp_path: Path) -> None:
    settings, out = tmp_path / "matplotlibrc", tmp_path / "out"
    settings.write_text("lines.linewidth: 9.0\nfont.family: serif\n")
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo",
        "MATPLOTLIBRC": str(settings),
    }  # fmt: skip
    command = [sys.executable, "-c", ANALYSE_ALL, str(out), *STORES]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in STORES:
        committed = sorted((ROOT / REFERENCE / name / "figures").iterdir())
        assert committed
        assert sorted(path.name for path in (out / name).iterdir()) == [path.name for path in committed]
        different = [path.name for path in committed if (out / name / path.name).read_bytes() != path.read_bytes()]
        assert different == [], name


@pytest.mark.parametrize("name", STORES)
def test_committed_figures_fit_the_text_of_a_page(name: str) -> None:
    for path in (ROOT / REFERENCE / name / "figures").glob("*.png"):
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width == 7 * 300, path
        assert height < 9 * 300, path


@pytest.mark.parametrize("name", STORES)
def test_a_committed_store_holds_every_cell_of_the_sweep_that_was_run_and_its_sweep_file_wants_them_all(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep file may have got more cells since."""
    monkeypatch.chdir(ROOT)  # where the stores are that sweeps of priors name
    spec = load_sweep(ROOT / "sweeps" / f"{name}.yaml")
    frame = pd.read_parquet(ROOT / REFERENCE / name / "cells")
    assert set(frame["status"]) == {"ok"}
    if spec.search is None:
        run = load_sweep(ROOT / REFERENCE / name / "sweep.yaml")
        assert sorted(frame["cell_id"]) == sorted(cell.cell_id for cell in expand(run)[0])
        assert {*frame["cell_id"]} <= {cell.cell_id for cell in expand(spec)[0]}
    else:
        found = search_coverage(spec.name, spec.search, Store(ROOT / REFERENCE / name), "")
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
def test_what_the_findings_say_of_equal_codebooks_and_of_equal_bits(
    static_prior: pd.DataFrame, dimension: int, factors: int
) -> None:
    rows = static_prior.query("init_bound == 1 and dimension == @dimension and factors == @factors")
    for slices in (2, 4, 8):
        sliced = {"quantizer": "dvq", "codebook_size": 16, "slices": slices}
        assert paired(rows, sliced, {"quantizer": "vq", "codebook_size": 16})[1] < 0
    halves = {"quantizer": "dvq", "codebook_size": 16, "slices": 2}
    assert paired(rows, halves, {"quantizer": "vq", "codebook_size": 256})[0] > 0


def test_what_the_findings_say_of_log_ratios_at_equal_codebooks(static_prior: pd.DataFrame) -> None:
    rows = static_prior.query("init_bound == 1 and codebook_size == 16 and dimension in (16, 64)")
    rows = rows.assign(test_mse=np.log(rows["test_mse"]))
    points = [its for _, its in rows.groupby(["dimension", "factors"]) if "dvq" in {*its["quantizer"]}]
    highest = [
        paired(its, {"quantizer": "dvq", "slices": slices}, {"quantizer": "vq"})[1]
        for its in points
        for slices in (2, 4, 8)
    ]
    assert (len(highest), sum(high < 0 for high in highest)) == (36, 35)


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
def test_what_the_findings_say_of_where_codes_start(static_prior: pd.DataFrame, where: str, loss: float) -> None:
    rows = static_prior.query(f"dimension == 256 and factors == 4096 and {where}")
    assert round(rows["test_mse"].mean(), 1) == loss


DVQ, USUAL, JOINT, MATCHED = "dvq64", "vq16", "vq16x4", "vq64"
BY_ROW, ONE_CODE_A_ROW = "svq16", "svq16x8"


def with_models(rows: pd.DataFrame) -> pd.DataFrame:
    joint = rows[["joint_codebooks", "joint_positions"]].max(axis=1).fillna(1).astype(int).astype(str)
    return rows.assign(
        model=rows["quantizer"] + rows["dimension"].astype(int).astype(str) + ("x" + joint).replace("x1", "")
    )


@pytest.fixture(scope="module")
def small_models() -> pd.DataFrame:
    return with_models(pd.read_parquet(ROOT / REFERENCE / "claims_cifar10_lossless" / "cells"))


@pytest.fixture(scope="module")
def small_priors() -> pd.DataFrame:
    return with_models(pd.read_parquet(ROOT / REFERENCE / "code_prior_cifar10_lossless" / "cells"))


def leads_of_dvq(rows: pd.DataFrame, other: str, column: str, seeds: int = 8) -> Any:
    """By how much the other is above DVQ, for each of the seeds."""
    by_model = rows.pivot_table(index="seed", columns="model", values=column)
    leads = (by_model[other] - by_model[DVQ]).to_numpy()
    assert np.isfinite(leads).sum() == len(leads) == seeds
    return leads


def section_of(heading: str) -> str:
    """The findings below a heading, on one line."""
    return " ".join(FINDINGS.read_text().split(f"\n{heading}\n")[1].split("\n## ")[0].split())


def test_what_the_findings_say_of_small_models(small_models: pd.DataFrame, small_priors: pd.DataFrame) -> None:
    section = section_of("## The learned prior, at small scale")
    assert set(small_models.groupby("model").size()) == {8}
    assert set(small_models["train_images"] + small_models["test_images"]) == {6187}
    mean = {
        column: {str(model): float(value) for model, value in small_models.groupby("model")[column].mean().items()}
        for column in ("reconstruction_bits_per_dim", "train_reconstruction_bits_per_dim", "total_bits_per_dim_unigram")
    }
    reconstruction, total = "reconstruction_bits_per_dim", "total_bits_per_dim_unigram"
    for column, models in (
        (reconstruction, (DVQ, USUAL, MATCHED, JOINT)),
        (total, (DVQ, USUAL, MATCHED, JOINT)),
        (reconstruction, (BY_ROW, USUAL, ONE_CODE_A_ROW)),
    ):
        values = [f"{mean[column][model]:.2f}" for model in models]
        assert re.search("[^0-9].*?".join(map(re.escape, values)), section), values
    gain = 1 - mean[reconstruction][DVQ] / mean[reconstruction][USUAL]
    assert f"{100 * gain:.0f}% below" in section
    assert small_models.query("dimension == 64")["parameters"].nunique() == 1
    assert small_models.query("model in (@DVQ, @JOINT)")["code_bits_per_dim_uniform"].nunique() == 1
    leads = [leads_of_dvq(small_models, other, total) for other in (USUAL, MATCHED, JOINT)]
    said = [f"{each.mean():.2f} (± {stats.t.ppf(0.975, 7) * stats.sem(each):.2f})" for each in leads]
    assert "{}, {} and {}, paired by seed".format(*said) in section
    best = small_priors[small_priors["prior"] == "spatial"]
    by_best = [leads_of_dvq(best, other, "total_bits_per_dim").mean() for other in (JOINT, MATCHED)]
    by_unigram = [leads_of_dvq(small_models, other, total).mean() for other in (JOINT, MATCHED)]
    assert (
        f"four joint codebooks by {by_unigram[0]:.2f} under the unigram prior and by {by_best[0]:.2f} under the best "
        f"one, of a VQ of its size by {by_unigram[1]:.2f} and {by_best[1]:.2f}"
    ) in section
    share = (best["code_bits_per_sample"] / best["uniform_bits_per_sample"])[best["model"] == DVQ].mean()
    assert f"{100 * share:.0f}% of their nominal rate" in section
    excess = [mean[reconstruction][each] - mean[f"train_{reconstruction}"][each] for each in mean[reconstruction]]
    assert f"{min(excess):.2f} to {max(excess):.2f} bits/dim more than training images" in section


def test_what_the_findings_say_of_the_capacity_of_codebooks(small_models: pd.DataFrame) -> None:
    found = small_models.groupby("model")["code_cross_entropy_bits"].mean()
    one, alike, joint, sliced = (f"{float(found[model]):.1f}" for model in (USUAL, MATCHED, JOINT, DVQ))
    assert one == alike
    said = f"take {one} bits of a position. Four take {joint} bits on the same features and {sliced} on slices"
    assert said in section_of("## The learned prior, at small scale")


def test_what_the_findings_say_of_the_dependence_of_slices(small_models: pd.DataFrame) -> None:
    means = small_models[small_models["model"] == DVQ].mean(numeric_only=True)
    assert (
        f"share {means['slice_dependence_bits_refit']:.2f} bits. With the features dealt to the slices at random they "
        f"share {means['slice_dependence_bits_shuffled']:.2f}"
    ) in section_of("## The learned prior, at small scale")


def test_what_the_findings_say_of_all_images_of_cifar10() -> None:
    rows = with_models(pd.read_parquet(ROOT / REFERENCE / "cifar10_jpeg" / "cells"))
    assert set(rows["train_images"]) == {50_000}
    reconstruction = "reconstruction_bits_per_dim"
    lead = leads_of_dvq(rows, MATCHED, reconstruction, seeds=3)
    half = stats.t.ppf(0.975, 2) * stats.sem(lead)
    excess = (rows[reconstruction] - rows[f"train_{reconstruction}"]).groupby(rows["model"]).mean()
    assert (
        f"DVQ is {lead.mean():.2f} (± {half:.2f}) below the VQ of its size, and test images take "
        f"{float(excess.min()):.3f} to {float(excess.max()):.3f} bits/dim more than training images"
    ) in section_of("## The learned prior, at small scale")


def test_what_the_findings_say_of_tiny_imagenet() -> None:
    """Of its images at 32x32: the others are still to run."""
    rows = with_models(pd.read_parquet(ROOT / "results" / "claims_tiny_imagenet" / "cells"))
    assert set(rows["dataset"]) == {"tiny_imagenet32"}
    assert rows["data_sha256"].nunique() == 1
    assert (set(rows["train_images"]), set(rows["test_images"]), set(rows["steps"])) == ({17_961}, {2_039}, {10_000})
    wanted = {cell.cell_id for cell in expand(load_sweep(ROOT / "sweeps" / "claims_tiny_imagenet.yaml"))[0]}
    assert {*rows["cell_id"]} <= wanted
    said = [
        f"{lead.mean():.2f} (± {stats.t.ppf(0.975, 7) * stats.sem(lead):.2f})"
        for other in (USUAL, MATCHED)
        for column in ("reconstruction_bits_per_dim", "total_bits_per_dim_unigram")
        for lead in [leads_of_dvq(rows, other, column)]
    ]
    assert (
        "DVQ is {} below the usual VQ in reconstruction and {} with the codes counted, and {} and {} below the VQ of "
        "its size"
    ).format(*said) in section_of("## The learned prior, at small scale")


def test_the_codes_of_the_small_models_are_those_of_the_reference_rows(small_models: pd.DataFrame) -> None:
    """Codes take too much room here. Priors read them from the store that the sweep file names."""
    kept = ROOT / "results" / "claims_cifar10_lossless"
    rows = pd.read_parquet(kept / "cells").set_index("cell_id")
    pd.testing.assert_frame_equal(rows, small_models.drop(columns="model").set_index("cell_id").loc[rows.index])
    assert len(rows) == 48
    assert {path.parent.name for path in kept.glob("artifacts/*/codes.parquet")} == {*rows.index}


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


def test_what_the_findings_say_of_factorial_blobs() -> None:
    page = " ".join(FINDINGS.read_text().split())
    rows = pd.read_parquet(ROOT / REFERENCE / "claims_factorial_prior" / "cells").query("dependence == 0")
    assert set(rows.groupby("point_id").size()) == {20}
    means = rows.groupby(["quantizer", "start", "codebook_size", "groups"])["test_mse"].mean()
    for quantizer, start, digits in (("kmeans", "best", 2), ("dvq", "uniform", 1), ("dvq", "k-means++", 2)):
        two, four, eight = (f"{loss:.{digits}f}" for loss in means[quantizer, start, 16])
        assert two == four == eight == "1.00" or f"{two}, {four} and {eight}" in page
    plain = pd.read_parquet(ROOT / REFERENCE / "factorial" / "cells").query("dependence == 0 and quantizer == 'vq'")
    losses = plain.query("codebook_size == 1024").groupby("groups")["test_mse"].mean()
    assert "A plain VQ of 1,024 codes has {:.1f}, {:.1f} and {:.1f}".format(*losses) in page


def test_what_the_findings_say_of_mixed_features() -> None:
    rows = pd.read_parquet(ROOT / REFERENCE / "claims_dependent_features" / "cells").query("dependence == 0")
    means = rows.groupby(["quantizer", rows["rotation_start"].fillna("none"), "mixing"])["test_mse"].mean()
    pq, opq, best = means["pq", "none"], means["opq", "random"], means["opq", "best"]
    assert (pq[[0.25, 0.5, 1]] - 16.5).abs().max() < 0.06
    assert f"{pq[0]:.2f}, {opq[0.25]:.1f}, {opq[0]:.1f}, {best[0]:.1f}" == "3.75, 6.6, 6.1, 3.4"


Fields = dict[str, Any]
ON_DESCRIPTORS: dict[str, Fields] = {
    "OPQ, from the best of several starts": {"quantizer": "opq", "rotation_start": "best"},
    "RVQ, trained as in faiss": {"quantizer": "rvq", "trained_on": "all"},
    "DVQ, from k-means++": {"quantizer": "dvq", "start": "k-means++"},
    "k-means on each slice": {"quantizer": "kmeans"},
    "PQ": {"quantizer": "pq"},
    "LSQ": {"quantizer": "lsq"},
    "DVQ, from a uniform start": {"quantizer": "dvq", "start": "uniform"},
    "GRVQ": {"quantizer": "grvq"},
    "RVQ, trained on the best candidate": {"quantizer": "rvq", "trained_on": "best"},
    "OPQ, from a random start": {"quantizer": "opq", "rotation_start": "random"},
    "BSQ without its penalty": {"quantizer": "bsq", "entropy_weight": 0.0},
    "`ResidualVQ` of vector-quantize-pytorch": {
        "library_call": [f"ResidualVQ(num_quantizers={stages}, codebook_size=256)" for stages in (8, 16)]
    },
    "LFQ without its penalty": {"quantizer": "lfq", "entropy_weight": 0.0},
    "FSQ": {"quantizer": "fsq"},
}
ON_EMBEDDINGS = {**ON_DESCRIPTORS, "faiss's `RQ`": {"factory_string": ["RQ8x8", "RQ16x8"]}}
SETS = ("bigann", "sift")


@pytest.fixture(scope="module")
def descriptors() -> pd.DataFrame:
    return pd.read_parquet(ROOT / REFERENCE / "quantizers_descriptors" / "cells")


@pytest.fixture(scope="module")
def embeddings() -> pd.DataFrame:
    return pd.read_parquet(ROOT / REFERENCE / "quantizers_text" / "cells")


def of_vectors(rows: pd.DataFrame, bits: int, metric: str = "test_mse", **fields: Any) -> Any:
    """A metric by seed."""
    for name, value in {"bits_per_vector": bits, **fields}.items():
        rows = rows[rows[name].isin(value if isinstance(value, list) else [value])]
    return rows.set_index("seed")[metric].sort_index()


def of_descriptors(rows: pd.DataFrame, dataset: str, bits: int, metric: str = "test_mse", **fields: Any) -> Any:
    """A metric by seed on one of the sets."""
    return of_vectors(rows, bits, metric, dataset=dataset, **fields)


def table_of_vectors(heading: str) -> dict[str, list[str]]:
    """The cells of each quantizer in the table below a heading of the findings."""
    section = FINDINGS.read_text().split(f"\n{heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    lines = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)[2:]
    return {name: cells for name, *cells in (line.split(" | ") for line in lines)}


def with_interval(values: Any, scale: float = 1.0, *, seeds: int = 8, digits: int = 1) -> str:
    """The mean with the half of its 95% t-interval."""
    if values.empty:
        return "–"
    assert len(values) == seeds
    half = stats.t.ppf(0.975, seeds - 1) * stats.sem(values)
    return f"{scale * values.mean():.{digits}f} ± {scale * half:.{digits}f}"


def gain_by_seed(
    rows: pd.DataFrame, bits: int, ours: Fields, theirs: Fields, seeds: int = 8
) -> tuple[float, float, float]:
    """The mean paired difference in the test loss and its 95% interval, over the mean of theirs."""
    losses = [of_vectors(rows, bits, **fields) for fields in (ours, theirs)]
    difference = (losses[0] - losses[1]) / losses[1].mean()
    assert len(difference.dropna()) == seeds
    low, high = stats.t.interval(0.95, seeds - 1, difference.mean(), stats.sem(difference))
    return float(difference.mean()), float(low), float(high)


ON_BLOBS: dict[str, Fields] = {
    "RVQ, trained on the best candidate": {"quantizer": "rvq", "trained_on": "best", "beam": 5},
    "RVQ, trained as in faiss": {"quantizer": "rvq", "trained_on": "all"},
    "LSQ": {"quantizer": "lsq"},
    "`VectorQuantize`, `ResidualVQ` of vector-quantize-pytorch": {
        "library_call": [
            "VectorQuantize(codebook_size=256)",
            *(f"ResidualVQ(num_quantizers={stages}, codebook_size=256)" for stages in (2, 4)),
        ]
    },
    "k-means on each slice": {"quantizer": "kmeans"},
    "PQ": {"quantizer": "pq"},
    "OPQ, from a random start": {"quantizer": "opq"},
    "DVQ, from a uniform start": {"quantizer": "dvq"},
    "GRVQ": {"quantizer": "grvq"},
    "VQ, from a uniform start": {"quantizer": "vq"},
    "SimVQ": {"quantizer": "simvq"},
    "BSQ": {"quantizer": "bsq"},
    "LFQ": {"quantizer": "lfq"},
    "FSQ": {"quantizer": "fsq"},
    "4 bits of each principal component": {"quantizer": "faiss"},
}
OF_BLOBS = ("quantizers_blobs", "quantizers_factorial_blobs")


def on_blobs(name: str) -> pd.DataFrame:
    return pd.read_parquet(ROOT / REFERENCE / name / "cells")


def test_the_table_of_blobs_is_what_the_rows_say() -> None:
    found = table_of_vectors("## All quantizers on two kinds of blobs")
    assert found.keys() == ON_BLOBS.keys()
    for name, fields in ON_BLOBS.items():
        assert found[name] == [
            with_interval(of_vectors(on_blobs(store), bits, **fields), digits=2)
            for store in OF_BLOBS
            for bits in (8, 16, 32)
        ], name


def test_what_the_findings_say_of_who_beats_whom_on_blobs() -> None:
    section = section_of("## All quantizers on two kinds of blobs")
    plain, product = (on_blobs(store) for store in OF_BLOBS)

    def percent(rows: pd.DataFrame, bits: int, ours: str, theirs: str) -> float:
        """The gain, which must be decided."""
        mean, low, high = gain_by_seed(rows, bits, ON_BLOBS[ours], ON_BLOBS[theirs])
        assert low * high > 0, (bits, ours, theirs)
        return 100 * mean

    def times(rows: pd.DataFrame, bits: int, ours: str, theirs: str) -> str:
        assert percent(rows, bits, ours, theirs) > 0
        means = [of_vectors(rows, bits, **ON_BLOBS[name]).mean() for name in (ours, theirs)]
        return f"{means[0] / means[1]:.1f}"

    of_all, best, slices = "RVQ, trained as in faiss", "RVQ, trained on the best candidate", "k-means on each slice"
    assert (
        "has {}, {} and {} times RVQ's loss".format(*(times(plain, bits, slices, best) for bits in (16, 24, 32)))
        in section
    )
    others = [
        min((of_all, best), key=lambda name: of_vectors(product, bits, **ON_BLOBS[name]).mean()) for bits in (24, 32)
    ]
    assert others == [of_all, of_all]
    assert (
        "the better RVQ has {}, {} and {} times the loss of k-means".format(
            *(times(product, bits, name, slices) for bits, name in ((16, best), (24, of_all), (32, of_all)))
        )
        in section
    )
    random = "OPQ, from a random start"
    assert (
        "has {}, {} and {} times the loss".format(*(times(product, bits, random, slices) for bits in (16, 24, 32)))
        in section
    )
    assert "{}, {} and {} times as high".format(*(times(plain, bits, of_all, best) for bits in (16, 24, 32))) in section
    lower = [-percent(product, bits, of_all, best) for bits in (24, 32)]
    assert "{:.0f} and {:.0f}% lower".format(*lower) in section
    dvq = "DVQ, from a uniform start"
    assert (
        "{:.1f} and {:.1f}% below k-means".format(*(-percent(plain, bits, dvq, slices) for bits in (24, 32))) in section
    )
    assert (
        "has {}, {} and {} times its loss on factorial blobs".format(
            *(times(product, bits, dvq, slices) for bits in (16, 24, 32))
        )
        in section
    )
    for name in ("PQ", random, best, dvq):
        _, low, high = gain_by_seed(product, 8, ON_BLOBS[name], ON_BLOBS[slices])
        assert -0.02 < low < 0 < high < 0.02


def test_the_table_of_descriptors_is_what_the_rows_say(descriptors: pd.DataFrame) -> None:
    found = table_of_vectors("## Real vectors")
    assert found.keys() == ON_DESCRIPTORS.keys()
    for name, fields in ON_DESCRIPTORS.items():
        assert found[name] == [
            with_interval(of_descriptors(descriptors, dataset, bits, **fields))
            for dataset in SETS
            for bits in (64, 128)
        ], name


def test_the_table_of_embeddings_is_what_the_rows_say(embeddings: pd.DataFrame) -> None:
    found = table_of_vectors("### Embeddings of texts")
    assert found.keys() == ON_EMBEDDINGS.keys()
    for name, fields in ON_EMBEDDINGS.items():
        losses, recalls = (
            [of_vectors(embeddings, bits, metric, **fields) for bits in (64, 128)]
            for metric in ("test_mse", "recall_at_10")
        )
        assert found[name] == [
            *(with_interval(each, 1e6) for each in losses),
            *(f"{each.mean():.3f}" if len(each) else "–" for each in recalls),
        ], name


def test_what_the_findings_say_of_twins_and_of_who_beats_whom_on_real_vectors(descriptors: pd.DataFrame) -> None:
    def gain(dataset: str, bits: int, ours: Fields, theirs: Fields) -> tuple[float, float, float]:
        return gain_by_seed(descriptors[descriptors["dataset"] == dataset], bits, ours, theirs)

    columns = [(dataset, bits) for dataset in SETS for bits in (64, 128)]
    best, random = ON_DESCRIPTORS["OPQ, from the best of several starts"], ON_DESCRIPTORS["OPQ, from a random start"]
    for dataset, bits in columns:
        for fields, name in (
            ({"quantizer": "pq"}, f"PQ{bits // 8}x8"),
            (ON_DESCRIPTORS["RVQ, trained as in faiss"], f"RQ{bits // 8}x8"),
        ):
            twin = of_descriptors(descriptors, dataset, bits, factory_string=name)
            assert of_descriptors(descriptors, dataset, bits, **fields).equals(twin)
        _, low, high = gain(dataset, bits, random, {"factory_string": f"OPQ{bits // 8},PQ{bits // 8}x8"})
        assert low < 0 < high
    for dataset in SETS:
        twin = of_descriptors(descriptors, dataset, 64, factory_string="LSQ8x8")
        assert of_descriptors(descriptors, dataset, 64, quantizer="lsq").equals(twin)

    def range_of(ours: Fields, theirs: Fields) -> tuple[float, float]:
        """Least and greatest gain of the four columns in percent, all of them decided."""
        gains = [gain(*column, ours, theirs) for column in columns]
        assert all(low * high > 0 for _, low, high in gains)
        return min(mean for mean, _, _ in gains) * 100, max(mean for mean, _, _ in gains) * 100

    pq, kmeans = {"quantizer": "pq"}, {"quantizer": "kmeans"}
    assert range_of(best, pq) == pytest.approx((-15.6, -4.2), abs=0.05)
    assert range_of(random, pq) == pytest.approx((3.3, 80.4), abs=0.05)
    assert range_of(ON_DESCRIPTORS["DVQ, from k-means++"], pq) == pytest.approx((-2.3, -0.7), abs=0.05)
    assert range_of(ON_DESCRIPTORS["DVQ, from a uniform start"], kmeans) == pytest.approx((0.9, 4.9), abs=0.05)
    rvq = ON_DESCRIPTORS["RVQ, trained as in faiss"]
    assert gain("bigann", 128, rvq, best)[0] == pytest.approx(0.28, abs=0.005)
    for dataset, fields, ratio in (("sift", rvq, 3.5), ("sift", pq, 1.26), ("bigann", rvq, 2.0)):
        test, train = (
            of_descriptors(descriptors, dataset, 128, metric, **fields) for metric in ("test_mse", "train_mse")
        )
        assert test.mean() / train.mean() == pytest.approx(ratio, abs=0.05)
    for dataset, of_pq, of_rvq in (("bigann", -15.4, -6.5), ("sift", -8.7, -1.1)):
        at_8 = descriptors[(descriptors["dataset"] == dataset) & (descriptors["bits_per_vector"] == 8)]
        others = {*at_8["quantizer"]} - {"kmeans"}
        assert others == {"vq", "simvq", "pq", "opq", "dvq", "rvq"}
        assert all(gain(dataset, 8, kmeans, {"quantizer": other})[2] < 0 for other in others)
        assert gain(dataset, 8, kmeans, pq)[0] * 100 == pytest.approx(of_pq, abs=0.05)
        assert gain(dataset, 8, kmeans, {"quantizer": "rvq"})[0] * 100 == pytest.approx(of_rvq, abs=0.05)
    for bits, loss in ((64, 384), (128, 765)):
        assert round(of_descriptors(descriptors, "bigann", bits, quantizer="bsq", entropy_weight=0.1).mean()) == loss


def test_what_the_findings_say_of_embeddings(embeddings: pd.DataFrame) -> None:
    def percent(bits: int, ours: str, theirs: Fields) -> float:
        """The gain, which must be decided."""
        mean, low, high = gain_by_seed(embeddings, bits, ON_EMBEDDINGS[ours], theirs)
        assert low * high > 0
        return 100 * mean

    def is_tied(bits: int, ours: str, theirs: Fields) -> bool:
        _, low, high = gain_by_seed(embeddings, bits, ON_EMBEDDINGS[ours], theirs)
        return low <= 0 <= high

    rvq, pq, random = "RVQ, trained as in faiss", {"quantizer": "pq"}, "OPQ, from a random start"
    best = "OPQ, from the best of several starts"
    assert [round(percent(bits, rvq, pq)) for bits in (64, 128)] == [-49, -55]
    assert round(percent(64, "LSQ", ON_EMBEDDINGS[rvq])) == -9
    for signs in ("BSQ without its penalty", "LFQ without its penalty"):
        assert max(percent(bits, signs, pq) for bits in (64, 128)) < -9
    gains = [percent(bits, start, pq) for bits in (64, 128) for start in (random, best)]
    assert (round(max(gains)), round(min(gains))) == (-29, -33)
    for bits in (64, 128):
        twin = of_vectors(embeddings, bits, factory_string=f"PQ{bits // 8}x8")
        assert of_vectors(embeddings, bits, **pq).equals(twin)
    assert [round(percent(bits, rvq, ON_EMBEDDINGS["faiss's `RQ`"]), 1) for bits in (64, 128)] == [-3.1, -3.6]
    assert [round(percent(bits, best, ON_EMBEDDINGS[random]), 1) for bits in (64, 128)] == [1.5, 2.3]
    lsq = [of_vectors(embeddings, 64, **each) for each in (ON_EMBEDDINGS["LSQ"], {"factory_string": "LSQ8x8"})]
    assert lsq[0].equals(lsq[1])
    assert all(is_tied(bits, random, {"factory_string": f"OPQ{bits // 8},PQ{bits // 8}x8"}) for bits in (64, 128))
    of_rvq = ON_EMBEDDINGS[rvq]
    for bits, fields, ratio in ((64, of_rvq, 1.2), (128, of_rvq, 1.4), (64, pq, 1.1), (128, pq, 1.1)):
        test, train = (of_vectors(embeddings, bits, metric, **fields) for metric in ("test_mse", "train_mse"))
        assert round(test.mean() / train.mean(), 1) == ratio
    one = "k-means on each slice"
    others = {*embeddings[embeddings["bits_per_vector"] == 8]["quantizer"]} - {"kmeans"}
    gains_of_one = {other: round(percent(8, one, {"quantizer": other}), 1) for other in others}
    assert max(gains_of_one.values()) < 0
    assert [gains_of_one[other] for other in ("pq", "rvq", "simvq")] == [-14.9, -8.9, -0.7]


def test_the_findings_and_the_readme_count_the_verdicts() -> None:
    verdicts = [decision.outcome.verdict for decision in decided() if not decision.claim.number.isalpha()]
    hold, hold_in_part, fail, wait = (
        verdicts.count(verdict) for verdict in ("holds", "holds within", "fails", "not run")
    )
    small = [decision.small.verdict for decision in decided() if decision.small]
    assert len(small) == wait
    on_small = {verdict: small.count(verdict) for verdict in ("holds", "fails", "not run")}
    assert sum(on_small.values()) == wait
    readme, findings = (" ".join(page.read_text().split()) for page in (ROOT / "README.md", FINDINGS))
    said = f"{hold} hold, {hold_in_part} holds in part, {fail} fail"
    assert f"{said}, {wait} wait for GPUs; the tenth is two" in findings
    assert f"{said} (the tenth is two). The other {wait} need GPUs" in readme
    of_these = "at small scale {holds} of these hold, {fails} fail, {not run} is not run"
    assert of_these.format_map(on_small) in findings
    assert "on small models, {holds} of them hold and {fails} fail".format_map(on_small) in readme


def test_cells_that_were_run_twice_came_out_the_same_to_the_bit(static_prior: pd.DataFrame) -> None:
    again = pd.read_parquet(ROOT / REFERENCE / "static_prior_wide" / "cells").set_index("cell_id")
    first = static_prior.set_index("cell_id")
    both = first.index.intersection(again.index)
    assert len(both) == 2140
    assert set(first.loc[both, "run_commit"]).isdisjoint(again.loc[both, "run_commit"])
    for column in ("test_mse", "train_mse", "untrained_test_mse", "data_variance"):
        pd.testing.assert_series_equal(first.loc[both, column], again.loc[both, column], check_exact=True)


PAGE = ROOT / REFERENCE / "README.md"
DECIDING = (*OF_CLAIMS_ALONE, "claims_cifar10_lossless", "code_prior_cifar10_lossless")
"""The stores that have the protocol's cells."""


@cache
def decided() -> tuple[Decision, ...]:
    rows = load_rows([str(ROOT / REFERENCE / name) for name in DECIDING])
    return tuple(decide(claims.TESTED, rows))


def claims_table() -> list[str]:
    """A line for each claim and finding, as the results page has it, of what the stores hold, claims at both scales."""
    lines = []
    for decision in decided():
        claim, outcome, shown = decision.claim, decision.outcome, decision.outcome.deciding
        test = shown.cell.test if shown else None
        effect = (
            f"{test.name}: {sentences.effect(test, shown)}" if test and shown else f"to run: `{outcome.reading.to_run}`"
        )
        counts = f"{outcome.count('holds')} of {len(outcome.cells)}" if shown else "–"
        n = str(shown.n) if shown else "–"
        verdict = sentences.verdict(outcome)
        small = "" if claim.number.isalpha() else f" {entry(decision).small_text} |"
        lines.append(f"| {claim.number} | {claim.paper} | {verdict} |{small} {counts} | {effect} | {n} |")
    return lines


def test_the_results_page_has_the_verdict_of_the_stores_on_every_claim_and_finding() -> None:
    tested = tuple(f"| {decision.claim.number} | {decision.claim.paper} |" for decision in decided())
    said = [line for line in PAGE.read_text().splitlines() if line.startswith(tested)]
    assert said == claims_table()


def test_no_claim_is_decided_by_a_part_of_its_cells() -> None:
    outcomes = [each for decision in decided() for each in (decision.outcome, decision.small) if each]
    assert not any(outcome.is_so_far for outcome in outcomes)


def test_the_five_answers_of_the_results_page_are_what_the_rows_say(
    descriptors: pd.DataFrame, embeddings: pd.DataFrame, small_priors: pd.DataFrame
) -> None:
    answers = " ".join(PAGE.read_text().split("**Five questions")[1].split("![DVQ against VQ")[0].split())
    of = {decision.claim.number: decision.outcome for decision in decided()}
    for number in ("1", "A"):
        assert f"in {of[number].count('holds')} of {len(of[number].cells)}" in answers
    holding = [number for number, outcome in of.items() if outcome.verdict == "holds" and not number.isalpha()]
    assert f"claims {', '.join(holding[:-1])} and {holding[-1]} hold" in answers
    assert [number for number, outcome in of.items() if outcome.verdict == "holds within"] == ["4"]
    small = {decision.claim.number: decision.small.verdict for decision in decided() if decision.small}
    said = re.search(r"On small models DVQ does (.*?); but (.*?)\.", answers)
    assert said
    for words, verdict in zip(said.groups(), ("holds", "fails"), strict=True):
        assert {small[number] for number in re.findall(r"\((\d+)\)", words)} == {verdict}
    shown = of["C"].deciding
    assert shown
    assert f"takes {100 * shown.effect:.0f}% off" in answers

    plain, product = (
        on_blobs(name).query("bits_per_vector == 16").groupby("point_id").agg(
            {"quantizer": "first", "slices": "first", "test_mse": "mean"}
        )
        for name in OF_BLOBS
    )  # fmt: skip
    whole = product[(product["slices"] == 1)]["test_mse"].min()
    sliced = [rows[rows["quantizer"] == "kmeans"]["test_mse"].item() for rows in (plain, product)]
    assert sliced[1] == product["test_mse"].min()
    assert "has a third of the loss of the best quantizer on all features" in answers
    assert round(whole / sliced[1]) == 3
    stages = plain[plain["quantizer"] == "rvq"]["test_mse"].min()
    assert stages == plain["test_mse"].min()
    assert f"without groups {sliced[0] / stages:.1f} times RVQ's" in answers
    mixed = pd.read_parquet(ROOT / REFERENCE / "claims_dependent_features" / "cells").query(
        "dependence == 0 and quantizer == 'pq'"
    )
    by_mixing = mixed.groupby("mixing")["test_mse"].mean()
    assert f"PQ's loss is {by_mixing[1] / by_mixing[0]:.1f} times as high" in answers

    def range_of(rows: pd.DataFrame, ours: Fields) -> tuple[int, int]:
        gains = [100 * gain_by_seed(rows, bits, ours, {"quantizer": "pq"})[0] for bits in (64, 128)]
        return round(-max(gains)), round(-min(gains))

    of_sets = [
        range_of(descriptors[descriptors["dataset"] == each], {"quantizer": "opq", "rotation_start": "best"})
        for each in SETS
    ]
    assert (
        f"from a good start is {min(low for low, _ in of_sets)} to {max(high for _, high in of_sets)}% below PQ on both"
        in answers
    )
    least, most = range_of(embeddings, {"quantizer": "rvq", "trained_on": "all"})
    assert f"RVQ on text embeddings, {least} to {most}% below PQ" in answers
    lsq = -100 * gain_by_seed(embeddings, 64, {"quantizer": "lsq"}, {"quantizer": "rvq", "trained_on": "all"})[0]
    assert f"(LSQ, fitted at 64 bits alone, is another {lsq:.0f}% below)" in answers
    assert set(embeddings.loc[embeddings["quantizer"] == "lsq", "bits_per_vector"]) == {64}
    for name, best in zip(OF_BLOBS, ("rvq", "kmeans"), strict=True):
        means = on_blobs(name).groupby(["bits_per_vector", "quantizer", "point_id"])["test_mse"].mean()
        assert [means[bits].idxmin()[0] for bits in (16, 24, 32)] == [best] * 3
    priors = {name: small_priors[small_priors["prior"] == name] for name in ("unigram", "spatial")}
    leads = [
        leads_of_dvq(rows, JOINT, column).mean()
        for rows, column in (
            (priors["unigram"], "reconstruction_bits_per_dim"),
            (priors["unigram"], "total_bits_per_dim"),
            (priors["spatial"], "total_bits_per_dim"),
        )
    ]
    assert (
        "by {:.3f} bits/dim in reconstruction, by {:.3f} with the codes under a unigram prior, and by {:.3f} under"
    ).format(*leads) in answers
    assert f"take away {100 * (1 - leads[2] / leads[0]):.0f}% of its lead" in answers
    ours = priors["spatial"][priors["spatial"]["model"] == DVQ]
    share = (ours["code_bits_per_sample"] / ours["uniform_bits_per_sample"]).mean()
    assert f"{100 * share:.0f}% of their nominal rate" in answers


def test_the_code_on_the_results_page_prints_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pd.option_context("display.width", 80, "display.max_columns", 0):  # to be as they were afterwards
        failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 15
    assert failed == 0


def test_every_store_and_figure_that_the_results_page_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE.read_text())
    assert len(links) > 12
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
    assert {name for name in STORES if f"({name}/)" in PAGE.read_text()} == set(STORES)


def test_all_committed_results_stay_small() -> None:
    sizes = [path.stat().st_size for path in (ROOT / REFERENCE).rglob("*") if path.is_file()]
    assert sum(sizes) < 40 * 2**20


def test_the_report_of_all_reference_stores_is_of_their_rows_and_has_the_verdicts_of_the_results_page() -> None:
    page = (ROOT / REFERENCE / "figures" / "report.html").read_text()
    stores = [str(REFERENCE / name) for name in sorted(STORES)]
    named = re.findall(r"<dd><code>(results/reference/\w+)</code></dd>", page)
    assert sorted(named) == stores
    with contextlib.chdir(ROOT):
        assert claims.digest(load_rows(named)) in page
    verdicts = [decision.outcome.verdict for decision in decided() if not decision.claim.number.isalpha()]
    shown = re.findall(r'id="claim-\w+" data-verdict="([^"]*)"', page)
    assert Counter(shown) == Counter(verdicts)
    assert len(page) < 5e6
