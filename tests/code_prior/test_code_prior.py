"""The experiment: priors of the codes that cells of other stores kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from analysis.data.declared import declared
from dvq_ray import SweepError, load_model, load_results, plan
from dvq_ray.__main__ import main
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.code_prior.coding import HEADER_BYTES
from dvq_ray.experiments.code_prior.registry import ladder
from dvq_ray.quantizer.kept_codes import FILE, read_codes
from dvq_ray.store import Store
from dvq_ray.store.rows import python_value
from dvq_ray.sweep.cells import Point, expand
from dvq_ray.sweep.spec import load_sweep
from dvq_ray.sweep.yaml_writer import write_yaml
from tests.code_prior.stores import LADDER, SMALL, blob_sweep, image_sweep, prior_sweep, run
from tests.vectors.vector_files import clusters, described

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    run(image_sweep(folder / "pictures"), folder)
    return folder / "images"


@pytest.fixture(scope="module")
def priors(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All priors of all cells of images."""
    folder = tmp_path_factory.mktemp("priors")
    run(prior_sweep(images), folder)
    return folder / "priors"


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blobs")
    run(blob_sweep(), folder)
    return folder / "blobs"


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    data = described(folder / "data", "npy", clusters(500), clusters(100, seed=1))
    grids = {"kmeans": {"quantizer": "kmeans", "slices": 2, "codebook_size": 8},
             "vq": {"quantizer": "vq", "codebook_size": 8, "steps": 20, "normalise": True}}  # fmt: skip
    sweep = {"name": "rows", "trainable": "vectors", "data": {"mine": dict(data)}, "seeds": 2, "keep": ["codes"]}
    run({**sweep, "fixed": {"dataset": "mine"}, "grids": grids}, folder)
    return folder / "rows"


@pytest.fixture
def parent(blobs: Path, tmp_path: Path) -> Path:
    """A store of one's own, to break."""
    shutil.copytree(blobs, tmp_path / "parent")
    return tmp_path / "parent"


def results_of(frame: pd.DataFrame) -> pd.DataFrame:
    """What equal cells must agree in, sorted."""
    columns = [*find_experiment("code_prior").measures(), "cell_id", "point_id", "status"]
    return frame[columns].sort_values("cell_id").reset_index(drop=True)


def rewritten(store: Path, change: Any) -> None:
    """The store with other rows."""
    for file in (store / "cells").glob("*.parquet"):
        frame = pd.read_parquet(file)
        change(frame)
        frame.to_parquet(file)


def problems(store: Path, **more: Any) -> list[str]:
    with pytest.raises(SweepError) as raised:
        plan(prior_sweep(store, **{"grids": {"tables": LADDER["tables"]}, **more}), results=store.parent / "nowhere")
    assert not (store.parent / "nowhere").exists()
    return str(raised.value).splitlines()[:-1]


@pytest.mark.long
def test_every_prior_of_every_cell_of_images(images: Path, priors: Path) -> None:
    frame = load_results(priors)
    parents = {row["cell_id"]: row for row in Store(images).load().to_dict("records")}
    assert len(frame) == 5 * len(parents)
    for (cell_id, prior), rows in frame.groupby(["parent_cell_id", "prior"]):
        (row,), parent = rows.to_dict("records"), parents[cell_id]
        assert (row["seed"], row["quantizer"], row["slices"]) == (parent["seed"], parent["quantizer"], parent["slices"])
        assert row["parent_point_id"] == parent["point_id"]
        assert row["reconstruction_bits_per_dim"] == parent["reconstruction_bits_per_dim"] == row["parent_loss"]
        assert row["code_bits_per_dim"] == row["code_bits_per_sample"] / (3 * 8 * 8)
        assert row["total_bits_per_dim"] == row["code_bits_per_dim"] + row["reconstruction_bits_per_dim"]
        if prior in ("uniform", "unigram"):  # as the parent's own row has them
            assert row["code_bits_per_dim"] == pytest.approx(parent[f"code_bits_per_dim_{prior}"])


def test_codes_of_vectors_of_a_file_cost_what_their_rows_say(vectors: Path, tmp_path: Path) -> None:
    frame = run(prior_sweep(vectors, grids={"tables": LADDER["tables"]}), tmp_path)
    parents = {row["cell_id"]: row for row in Store(vectors).load().to_dict("records")}
    assert {*frame["parent_cell_id"]} == {*parents}
    for row in frame.to_dict("records"):
        parent = parents[row["parent_cell_id"]]
        column = {"uniform": "bits_per_vector", "unigram": "entropy_bits_per_vector"}[row["prior"]]
        assert row["code_bits_per_sample"] == pytest.approx(parent[column])
        assert (row["data_sha256"], row["parent_loss"]) == (parent["data_sha256"], parent["test_mse"])
        assert row["code_bits_per_dim"] == row["code_bits_per_sample"] / parent["dimension"]


def test_codes_of_vectors_have_the_priors_that_need_no_positions(blobs: Path, tmp_path: Path) -> None:
    grids = {name: LADDER[name] for name in ("tables", "chain")}
    frame = run(prior_sweep(blobs, grids=grids), tmp_path)
    uniform = frame[frame["prior"] == "uniform"]
    assert (uniform["code_bits_per_sample"] == 3 * uniform["slices"]).all()
    assert frame["reconstruction_bits_per_dim"].isna().all()
    assert set(frame["parent_metric"]) == {"test_mse"}
    result = CliRunner().invoke(main, ["sweep", str(written(prior_sweep(blobs), tmp_path)), "--dry-run"])
    assert "spatial needs codes at several positions; those of static_prior have one" in result.output
    assert "allowed: uniform, unigram, chain" in result.output


def written(sweep: dict[str, Any], folder: Path) -> Path:
    file = folder / "priors.yaml"
    file.write_text(write_yaml(sweep))
    return file


def test_coded_codes_take_what_the_likelihood_says_and_the_model_writes_them(images: Path, tmp_path: Path) -> None:
    grid = {"prior": "spatial", "prior_convolutions": 2, "coded": True, "of": {"quantizer": ["dvq", "svq"]}, **SMALL}
    frame = run(prior_sweep(images, grids={"coded": grid}, keep=["model"]), tmp_path)
    assert len(frame) == 4
    for _, row in frame.iterrows():
        content = Store(images).read_artifact(row["parent_cell_id"], FILE)
        assert content is not None
        codes = read_codes(content)["test"]
        model: Any = load_model(tmp_path / "priors", row["cell_id"])
        file = model.compress(codes)
        assert len(file) - HEADER_BYTES == row["coded_bytes"]
        assert 8 * row["coded_bytes"] == pytest.approx(row["code_bits_per_sample"] * len(codes), abs=64)
        assert row["coded_over_likelihood"] * row["code_bits_per_sample"] * len(codes) < 64
        np.testing.assert_array_equal(model.decompress(file), codes)
        np.testing.assert_array_equal(model.decode(model.encode(codes)), codes)
        assert model.bits(codes).mean() == row["code_bits_per_sample"]


@pytest.mark.long
def test_run_twice_resumed_or_in_another_order_it_gives_the_same_numbers(
    images: Path, priors: Path, tmp_path: Path
) -> None:
    sweep, every = prior_sweep(images, seeds=1), load_results(priors)
    first = results_of(every[every["seed"] == 0])
    run({**sweep, "grids": {"chain": LADDER["chain"]}}, tmp_path / "second")
    pd.testing.assert_frame_equal(results_of(run(sweep, tmp_path / "second")), first)
    assert plan(sweep, results=tmp_path / "second").missing == 0
    status = CliRunner().invoke(main, ["status", str(tmp_path / "second" / "priors")])
    assert status.exit_code == 0, status.output
    again = CliRunner().invoke(main, ["rerun", str(priors), first["cell_id"][0]])
    assert again.exit_code == 0, again.output


def test_a_training_that_is_stopped_starts_over_with_the_same_result(images: Path, tmp_path: Path) -> None:
    from dvq_ray.experiment.experiment import Outcome, Underway
    from dvq_ray.experiment.surroundings import Surroundings
    from dvq_ray.experiments.code_prior.parents import CodesSource
    from dvq_ray.experiments.code_prior.run import run as compute

    sweep = prior_sweep(images, grids={"spatial": LADDER["spatial"]}, seeds=1)
    row = plan(sweep, results=tmp_path).to_run.dropna(axis=1).iloc[0]
    fields = {str(name): python_value(value) for name, value in row.items()}
    settings: Any = find_experiment("code_prior").settings_of_row(fields)
    surroundings = Surroundings(data={settings.parent_point_id: CodesSource(store=str(images))})
    stopped = compute(settings, [0], surroundings)
    assert isinstance(next(stopped), Underway)
    assert isinstance(next(stopped), Underway)
    stopped.close()
    outcomes = [[event for event in compute(settings, [0], surroundings) if isinstance(event, Outcome)] for _ in "ab"]
    assert outcomes[0][0].metrics == outcomes[1][0].metrics
    assert outcomes[0][0].curve == outcomes[1][0].curve != ()


def test_a_cell_id_names_the_parent_and_not_the_place_of_its_store(blobs: Path, parent: Path) -> None:
    grids = {"tables": LADDER["tables"]}
    here, there = (plan(prior_sweep(store, grids=grids), results=parent.parent).to_run for store in (blobs, parent))
    assert list(here["cell_id"]) == list(there["cell_id"])
    assert here["cell_id"].nunique() == 2 * 2 * 2
    ids = set(Store(blobs).load()["point_id"])
    assert set(here["parent_point_id"]) == ids


def test_ids_are_frozen() -> None:
    experiment = find_experiment("code_prior")
    fields = {"quantizer": "dvq", "slices": 4, "codebook_size": 64, "parent_point_id": "0123456789abcdef"}
    found = [
        Point(experiment=experiment, settings=experiment.settings({**fields, **more})).cell_id(0)
        for more in ({"prior": "unigram"}, {"prior": "spatial", "prior_steps": 100, "coded": True})
    ]
    assert found == ["baaac45807ae3931", "257af24133c1387b"]


@pytest.mark.parametrize(
    ("of", "count"),
    [({}, 2), ({"slices": 2}, 1), ({"slices": [1, 2], "quantizer": "kmeans"}, 2), ({"trainable": "static_prior"}, 2)],
)
def test_a_grid_chooses_points_by_their_columns(of: dict[str, Any], count: int, blobs: Path, tmp_path: Path) -> None:
    sweep = prior_sweep(blobs, grids={"some": {"prior": "unigram", "of": of}}, seeds=[1])
    assert len(plan(sweep, results=tmp_path).to_run) == count


def test_a_missing_store_is_an_error(tmp_path: Path) -> None:
    (found,) = problems(tmp_path / "nothing")
    assert f"codes_of: {tmp_path}/nothing is not a store with cells; allowed: RESULTS/NAME" in found


def test_a_missing_key_is_an_error(tmp_path: Path) -> None:
    sweep = {name: value for name, value in prior_sweep(tmp_path).items() if name != "codes_of"}
    with pytest.raises(SweepError, match="codes_of is missing; allowed: RESULTS/NAME of a sweep that has run"):
        plan(sweep)


def test_missing_repetitions_are_an_error(blobs: Path) -> None:
    found = problems(blobs, seeds=[1, 5, 7])
    assert len(found) == 2
    assert "grids.tables: " in found[0]
    assert "has no cell of kmeans, slices = 1 with seeds 5, 7, only with 0, 1" in found[0]


def test_a_parent_that_failed_is_an_error(parent: Path) -> None:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[frame["seed"] == 1, ["status", "error"]] = ["error", "ValueError: no luck\nTraceback"]

    rewritten(parent, change)
    found = problems(parent)
    assert len(found) == 2
    assert "seed 1, has the status error (ValueError: no luck); run its sweep with --retry-failed" in found[0]


def test_a_parent_of_another_revision_is_an_error(parent: Path) -> None:
    rewritten(parent, lambda frame: frame.__setitem__("revision", 0))
    found = problems(parent)
    assert len(found) == 4
    assert "is of revision 0 of static_prior, and this version computes revision 1; run its sweep again" in found[0]


def test_a_parent_with_other_fields_is_an_error(parent: Path) -> None:
    rewritten(parent, lambda frame: frame.__setitem__("factors", 17))
    assert "has other fields or defaults than this version computes" in problems(parent)[0]


def test_a_parent_without_codes_is_an_error(parent: Path) -> None:
    cell_id = Store(parent).load().sort_values("seed")["cell_id"].iloc[0]
    (parent / "artifacts" / cell_id / FILE).unlink()
    (found,) = problems(parent)
    assert f"the cell {cell_id} of kmeans" in found
    assert "has kept no codes; write keep: [codes] into its sweep file and run it again" in found


def test_priors_have_no_codes_of_their_own(blobs: Path, tmp_path: Path) -> None:
    run(prior_sweep(blobs, grids={"tables": LADDER["tables"]}), tmp_path)
    (found,) = problems(tmp_path / "priors")
    assert "holds cells of code_prior, which keeps no codes" in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grids": {"a": {"prior": "bigram"}}}, '"bigram"; did you mean unigram? allowed: uniform, unigram'),
        ({"grids": {"a": {"prior": ["unigram", "chain"], "prior_width": 8}}}, "8, which is not a field of unigram"),
        ({"grids": {"a": {"prior": "chain", "prior_width": 0}}}, "found 0, which is too small; allowed: above 0"),
        ({"grids": {"a": {"prior": "unigram", "of": {"slicess": 2}}}}, "unknown key; did you mean slices?"),
        ({"grids": {"a": {"prior": "unigram", "of": {"slices": 3}}}}, "3, which no cell there has; allowed: 1, 2"),
        ({"grids": {"a": {"prior": "unigram", "of": 2}}}, "found 2; allowed: a mapping of columns to values"),
        ({"grids": {"a": {"prior": "unigram", "slices": 2}}}, "grids.a.slices: follows from codes_of; remove it"),
        ({"fixed": {"codebook_size": 2}, "grids": {"a": {"prior": "unigram"}}}, "fixed.codebook_size: follows from"),
        ({"seeds": {"least": 8, "most": 9, "until": {}}}, "a rule cannot be combined with codes_of"),
        ({"grids": {}, "search": {"space": {}}}, "a search cannot be combined with codes_of"),
        ({"codes_of": 3}, "codes_of: found 3; allowed: RESULTS/NAME of a sweep that has run"),
        ({"codes_of": ""}, "codes_of: found \"\""),
        ({"keep": ["codes"]}, "allowed: model"),
    ],
)  # fmt: skip
def test_errors_say_where_and_what_is_allowed(change: dict[str, Any], message: str, blobs: Path) -> None:
    assert any(message in line for line in problems(blobs, **change)), problems(blobs, **change)


def test_the_key_of_parents_is_unknown_to_other_experiments(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="codes_of: unknown key"):
        plan({**blob_sweep(), "codes_of": "results/a"}, results=tmp_path)


def test_a_parent_that_goes_meanwhile_fails_its_cells_alone(parent: Path, tmp_path: Path) -> None:
    from dvq_ray.experiments.code_prior.parents import CodesSource, parent_of

    row = Store(parent).load().iloc[0]
    settings: Any = find_experiment("code_prior").settings({
        "quantizer": "kmeans", "slices": 1, "codebook_size": 8, "parent_point_id": row["point_id"], "prior": "unigram",
    })  # fmt: skip
    source = CodesSource(store=str(parent))
    with pytest.raises(ValueError, match=f"no cell of the point {row['point_id']} with seed 9"):
        parent_of(source, settings, 9)
    (parent / "artifacts" / row["cell_id"] / FILE).unlink()
    with pytest.raises(ValueError, match="has kept no codes"):
        parent_of(source, settings, int(row["seed"]))


def test_init_writes_a_file_that_only_needs_the_store(blobs: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert CliRunner().invoke(main, ["init", str(file), "--experiment", "code_prior"]).exit_code == 0
    file.write_text(file.read_text().replace("results/NAME", str(blobs)).replace("seeds: 3", "seeds: 2"))
    planned = CliRunner().invoke(main, ["sweep", str(file), "--dry-run", "--results", str(tmp_path)])
    assert planned.exit_code == 0, planned.output
    assert "to run: 12 cells" in planned.output


def test_the_sweep_that_is_shipped_goes_with_the_parents_that_are(images: Path) -> None:
    folder = ROOT / "sweeps"
    parents = load_sweep(folder / "photos_codes.yaml")
    assert {"codes", "model"} <= parents.keep
    assert f"codes_of: results/{parents.name}\n" in (folder / "code_prior.yaml").read_text()
    spec = load_sweep(folder / "code_prior.yaml", [f"codes_of={images}", "seeds=2"])
    assert len(expand(spec)[0]) == 5 * 3 * 2


def test_the_numbers_of_the_page_are_those_of_the_rows() -> None:
    by = ["quantizer", "dimension", "joint_codebooks", "joint_positions"]
    rows = pd.read_parquet(ROOT / "results" / "reference" / "code_prior_cifar10_lossless" / "cells")
    totals = rows.pivot_table(index=by, columns="prior", values="total_bits_per_dim")[ladder()]
    best = rows[rows["prior"] == "spatial"].groupby(by)[["reconstruction_bits_per_dim", "coded_bytes"]].mean()
    lines = [
        " | ".join([f"{reconstruction:.3f}", *(f"{total:.3f}" for total in its), f"{size:,.0f} |"])
        for (reconstruction, size), its in zip(best.loc[totals.index].to_numpy(), totals.to_numpy(), strict=True)
    ]
    page = (ROOT / "docs" / "code_prior.md").read_text()
    assert len(lines) == 6
    assert [line for line in lines if line not in page] == []
    assert (rows["coded_over_likelihood"] < 0.001).all()
    of_models = rows.pivot_table(index=[*by, "seed"], columns="prior", values="total_bits_per_dim")
    of_models["reconstruction"] = rows.groupby([*by, "seed"])["reconstruction_bits_per_dim"].first()
    for other in (("vq", 16, 4, 1), ("svq", 16, 1, 1), ("vq", 16, 1, 1), ("vq", 64, 1, 1)):
        theirs, ours = (of_models.xs(model, level=by) for model in (other, ("dvq", 64, 1, 1)))
        leads = (theirs - ours)[["reconstruction", "unigram", "chain", "spatial"]].to_numpy(float)
        assert len(leads) == 8
        halves = stats.t.ppf(0.975, 7) * stats.sem(leads)
        texts = [f"{mean:.3f} ± {half:.3f}" for mean, half in zip(leads.mean(axis=0), np.asarray(halves), strict=True)]
        assert f"| {' | '.join(texts)} |" in page


def test_the_nominal_rate_of_codes_that_stand_for_several_positions_is_a_share_of_them() -> None:
    rows = pd.read_parquet(ROOT / "results" / "reference" / "code_prior_cifar10_lossless" / "cells")
    found = declared("code_prior", ["dvq", "svq", "vq"]).bits(rows)
    nominal = rows["uniform_bits_per_sample"] / 64  # positions of an image
    assert {*found} == {24.0, 6.0, 0.75}
    np.testing.assert_allclose(found, nominal, rtol=1e-12)


def test_chain_finds_what_the_slices_of_vectors_say_of_each_other(tmp_path: Path) -> None:
    """Eight clusters, seen by both slices alike: six bits nominally and by the unigram prior, three given the first."""
    rng = np.random.default_rng(3)
    centres = rng.normal(0, 10, (8, 2))
    train, test = (
        np.concatenate([centres[which], centres[which]], axis=1) + rng.normal(0, 0.01, (len(which), 4))
        for which in (rng.integers(0, 8, 2000), rng.integers(0, 8, 1000))
    )
    data = described(tmp_path / "data", "npy", train.astype(np.float32), test.astype(np.float32))
    grid = {"quantizer": "kmeans", "slices": 2, "codebook_size": 8, "start": "best", "restarts": 5}
    sweep = {"name": "copies", "trainable": "vectors", "data": {"mine": dict(data)}, "seeds": 1, "keep": ["codes"]}
    run({**sweep, "fixed": {"dataset": "mine"}, "grids": {"two": grid}}, tmp_path)
    chain = {"prior": "chain", **SMALL, "prior_width": 16, "prior_steps": 200, "prior_batch_positions": 256}
    grids = {"tables": {"prior": "unigram"}, "chain": chain}
    frame = run(prior_sweep(tmp_path / "copies", grids=grids, seeds=1, fixed={"coded": True}), tmp_path)
    bits = frame.set_index("prior")["code_bits_per_sample"]
    assert bits["unigram"] == pytest.approx(6.0, rel=0.02)
    assert bits["chain"] == pytest.approx(3.0, rel=0.02)
    np.testing.assert_allclose(8 * frame["coded_bytes"].astype(float) / 1000, frame["code_bits_per_sample"], rtol=0.01)
