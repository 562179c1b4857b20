"""`dvq-ray compare`: the sweep that it writes, the ranks that it prints, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from pydantic import Field
from scipy.stats import ttest_rel

from dvq_ray import load_model
from dvq_ray.__main__ import main
from dvq_ray.comparison.ranking import Values, advice, ranked
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.vectors.comparison import COMPARISON
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.quantizer.slices import slices_at_bits
from dvq_ray.quantizers.kmeans import KMeans
from tests.vectors.vector_files import FORMATS, clusters

REAL = Path(__file__).parents[3] / "shared" / "data" / "vectors"


def compare(*words: str | Path, results: Path) -> Result:
    fixed = ["--results", str(results), "--in-process", "--no-report"]
    return CliRunner().invoke(main, ["compare", *map(str, words), *fixed])


@pytest.fixture(autouse=True)
def without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons of what is always there, however many libraries are."""
    for name in ("kmeans", "pq", "rvq"):
        monkeypatch.setattr(f"dvq_ray.quantizers.{name}.faiss_is_installed", lambda quantizer: "is missing")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.npy"
    np.save(path, clusters(600))
    return path


def test_quantizers_are_ranked_at_each_budget_and_their_models_load(file: Path, tmp_path: Path) -> None:
    done = compare(file, "--bits", "8", "16", "--seeds", "2", results=tmp_path / "results")
    assert done.exit_code == 0, done.output
    assert "8 bits, by test loss (mean squared error per dimension): lower is better" in done.output
    ranked = re.findall(r"^ +(kmeans|dvq|vq|opq|pq) .* (?:best|worse|undecided) ", done.output, re.MULTILINE)
    assert [sorted(ranked[:2]), sorted(ranked[2:])] == [["kmeans", "vq"], ["dvq", "kmeans"]]
    assert re.search(r"^advice: take \w+ at 8 bits.*, \w+ at 16 bits", done.output, re.MULTILINE)
    models = re.findall(r"load_model\('(.*)', '(\w+)'\)", done.output)
    assert len(models) == 2
    for store, cell_id in models:
        model = load_model(store, cell_id)
        assert model.decode(model.encode(clusters(20))).shape == (20, 8)


def test_the_sweep_file_can_be_run_again_from_anywhere(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare("mine.npy", "--bits", "4", "--seeds", "2", results=tmp_path / "results").exit_code == 0
    monkeypatch.chdir("/")
    sweep = str(tmp_path / "results" / "compare-mine.yaml")
    planned = CliRunner().invoke(main, ["sweep", sweep, "--results", str(tmp_path / "results"), "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert "to run: 0 cells" in planned.output
    fresh = CliRunner().invoke(main, ["sweep", sweep, "--results", str(tmp_path / "other"), "--dry-run"])
    assert "to run: 4 cells" in fresh.output


def test_the_same_command_resumes_and_another_budget_is_added(file: Path, tmp_path: Path) -> None:
    first = compare(file, "--bits", "4", "--seeds", "2", results=tmp_path)
    again = compare(file, "--bits", "4", "--bits", "8", "--seeds", "2", results=tmp_path)
    assert (first.exit_code, again.exit_code) == (0, 0), again.output
    assert "4 cells to run, 4 at hand" in again.output


def test_a_large_file_is_looked_at_in_part_first_one_budget_after_the_other(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", clusters(5000, dimension=4))
    done = compare(tmp_path / "many.npy", "--bits", "2", "4", "--seeds", "2", results=tmp_path)
    assert done.exit_code == 0, done.output
    head, _, rest = done.output.partition("first look")
    assert "bits, by" not in head
    assert re.findall(r"^(\d) bits, by", rest, re.MULTILINE) == ["2", "4", "2", "4"]
    assert re.search(r"^2 bits, by(?s:.*?) cells to run(?s:.*?)^4 bits, by", rest, re.MULTILINE)
    assert "rows: 2000, seeds: 1}" in (tmp_path / "compare-many.yaml").read_text()


@pytest.mark.long
def test_the_report_is_of_all_rows_and_no_item_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", clusters(5000, dimension=4))
    words = [str(tmp_path / "many.npy"), "--bits", "2", "--seeds", "2", "--results", str(tmp_path), "--in-process"]
    done = CliRunner().invoke(main, ["compare", *words])
    assert done.exit_code == 0, done.output
    assert "refused" not in done.output
    store = tmp_path / "compare-many"
    assert (store / "figures" / "report.html").exists()
    assert json.loads((store / "figures" / "vectors-versus.json").read_text())["only"] == {"rows": "0"}
    both = CliRunner().invoke(main, ["analyse", str(store), "--out", str(tmp_path / "both")])
    assert both.exit_code == 0, both.output  # of few rows and all rows, which are data of their own


def test_all_problems_are_reported_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = compare(tmp_path / "mine.txt", "--bits", "0", "--seeds", "1", "--metric", "test_mze", results=results)
    assert done.exit_code == 2
    assert "--bits: found 0; allowed: 1 to 4096" in done.output
    assert '--metric: found "test_mze"; did you mean test_mse? allowed: test_mse, ' in done.output
    assert "--seeds: found 1; allowed: 2 to 1000" in done.output
    assert f"{tmp_path / 'mine.txt'}: the name says no format; allowed: names that end in .npy, .fvecs" in done.output
    assert "nothing was started and nothing written" in done.output
    assert not results.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.npy", "--bits", "8"], "nowhere.npy: expected"),
        (["mine.npy", "--bits", "8", "4000"], "--bits: found 4000; no installed quantizer makes so many bits"),
        (["tiny.npy", "--bits", "8"], "kmeans: codebook_size = 256 is larger than train_samples = "),
        (["mine.npy", "--bits", "8", "--test", "wide.npy"], "expected rows of 8 numbers"),
        (["broken.npy", "--bits", "8"], "expected numbers that are finite"),
        (["mine.npy"], "Missing option '--bits'"),
    ],
)
def test_what_cannot_be_run_is_refused(
    words: list[str], message: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("tiny.npy", clusters(40))
    np.save("wide.npy", clusters(30, dimension=9))
    np.save("broken.npy", np.full((40, 8), np.nan, np.float32))
    done = compare(*words, results=tmp_path / "results")
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not (tmp_path / "results").exists()


def test_columns_of_a_table_can_be_named(tmp_path: Path) -> None:
    rows = clusters(600)
    frame = pd.DataFrame({"id": range(600), **{f"x{place}": column for place, column in enumerate(rows.T)}})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    done = compare(tmp_path / "mine.csv", "--bits", "4", "--seeds", "2", "--columns", "x0, x1,x2,x3", results=tmp_path)
    assert done.exit_code == 0, done.output
    assert "columns: [x0, x1, x2, x3]" in (tmp_path / "compare-mine.yaml").read_text()


def test_columns_of_what_is_no_table_are_refused(file: Path, tmp_path: Path) -> None:
    done = compare(file, "--bits", "4", "--columns", "x", results=tmp_path / "results")
    assert done.exit_code == 2, done.output
    assert "has no columns to choose from; allowed with --columns: .parquet, .csv, .tsv" in done.output


def test_another_file_of_that_name_is_refused(file: Path, tmp_path: Path) -> None:
    assert compare(file, "--bits", "4", "--seeds", "2", results=tmp_path / "results").exit_code == 0
    np.save(file, clusters(500, seed=1))
    done = compare(file, "--bits", "4", "--seeds", "2", results=tmp_path / "results")
    assert done.exit_code == 2
    assert "compare-mine: holds cells of other rows than those of" in done.output
    assert "name other --results" in done.output


@pytest.mark.parametrize("results", ["", "file"])
def test_a_place_that_cannot_hold_results_is_refused(
    results: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["compare", str(file), "--bits", "4", "--results", results, "--in-process"])
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert not (tmp_path / "compare-mine.yaml").exists()


def test_a_quantizer_that_the_rows_do_not_suffice_for_is_left_out(file: Path, tmp_path: Path) -> None:
    done = compare(file, "--bits", "10", "--seeds", "2", results=tmp_path)
    assert done.exit_code == 0, done.output
    assert "note: left out: compare-mine: vq: start = k-means++ picks codebook_size = 1024" in done.output
    assert re.search(r"^  kmeans ", done.output, re.MULTILINE)
    assert not re.search(r"^  vq ", done.output, re.MULTILINE)


def test_a_file_that_somebody_else_wrote_stays(file: Path, tmp_path: Path) -> None:
    (tmp_path / "compare-mine.yaml").write_text("name: mine\n")
    done = compare(file, "--bits", "4", results=tmp_path)
    assert done.exit_code == 2
    assert "was not written by this command" in done.output
    assert (tmp_path / "compare-mine.yaml").read_text() == "name: mine\n"


def test_a_budget_of_time_that_is_spent_leaves_a_table_of_what_there_is(file: Path, tmp_path: Path) -> None:
    done = compare(file, "--bits", "4", "--time-budget", "1ms", results=tmp_path)
    assert done.exit_code == 3, done.output
    assert "advice:" in done.output


@pytest.mark.parametrize("kind", ["fvecs", "bvecs", "parquet of lists", "csv with names", "hdf5"])
def test_every_format_is_known_by_its_name(kind: str, tmp_path: Path) -> None:
    ending, writer = FORMATS[kind]
    writer(tmp_path / f"mine.{ending}", clusters(40))
    writer(tmp_path / f"other.{ending}", clusters(20, seed=1))
    path = str(tmp_path / f"mine.{ending}")
    description = COMPARISON.description(path, str(tmp_path / f"other.{ending}"))
    sources = find_experiment("vectors").data_sets
    assert sources is not None
    opened: Any = sources.formats[description["format"]].model_validate(description)
    found = COMPARISON.look(opened)
    assert (found.width, found.train) == (8, 40)


def made(**means: float) -> Values:
    """Values of 8 seeds with these means: seeds are easy or hard for all alike, and differ a little besides."""
    rng = np.random.default_rng(0)
    shared, own = (np.linspace(-size, size, 8) for size in (1, 0.01))
    return {name: dict(enumerate((mean + shared + rng.permutation(own)).tolist())) for name, mean in means.items()}


def test_ranks_follow_from_paired_differences() -> None:
    places = ranked({64: made(a=10.5, b=10, c=10.001)}, better="lower")[64]
    assert [place.name for place in places] == ["b", "c", "a"]
    assert [place.verdict for place in places] == ["best", "undecided", "worse"]
    assert places[2].interval is not None
    low, high = places[2].interval
    assert 0.04 < low < 0.05 < high < 0.06
    assert places[0].difference is None


def test_a_higher_metric_can_be_better() -> None:
    places = ranked({64: made(a=10.5, b=10)}, better="higher")[64]
    assert [(place.name, place.verdict) for place in places] == [("a", "best"), ("b", "worse")]
    assert places[1].difference == pytest.approx(-0.05, abs=0.01)


def test_p_values_are_those_of_a_t_test_corrected_for_all_pairs_of_the_table() -> None:
    values = {
        "a": {0: 1.0, 1: 1.1, 2: 1.3, 3: 0.8},
        "b": {0: 1.2, 1: 1.25, 2: 1.6, 3: 1.1},
        "c": {0: 5.0, 1: 9.0, 2: 4.0},
    }
    one = ranked({8: values}, better="lower")[8]
    two = ranked({8: values, 16: values}, better="lower")[16]
    b = ttest_rel([*values["b"].values()], [*values["a"].values()]).pvalue
    c = ttest_rel([*values["c"].values()], [1.0, 1.1, 1.3]).pvalue
    assert b < c
    assert [place.p_value for place in one[1:]] == pytest.approx([3 * b, 2 * c])
    assert two[1].p_value == pytest.approx(6 * b)
    assert [place.verdict for place in one] == ["best", "worse", "undecided"]


def test_twins_that_differ_by_rounding_are_undecided() -> None:
    value = {seed: 0.1 + 0.01 * seed for seed in range(5)}
    twin = {seed: each * (1 + 1e-15) for seed, each in value.items()}
    first, second = ranked({8: {"a": value, "b": twin}}, better="lower")[8]
    assert (first.verdict, second.verdict, second.p_value) == ("best", "undecided", 1.0)


def test_a_difference_that_is_the_same_for_every_seed_is_no_chance() -> None:
    places = ranked({8: {"a": {0: 1.0, 1: 2.0, 2: 3.0}, "b": {0: 1.5, 1: 2.5, 2: 3.5}}}, better="lower")[8]
    assert [place.verdict for place in places] == ["best", "worse"]


def test_seeds_that_only_one_has_count_for_nothing_in_a_difference() -> None:
    values: dict[str, Mapping[int, float]] = {"a": {0: 1.0, 1: 1.2}, "b": {1: 1.4, 2: 9.0}, "c": {}}
    first, second = ranked({8: values}, better="lower")[8]
    assert (first.name, second.name) == ("a", "b")
    assert second.difference == pytest.approx(0.2 / 1.1)
    assert second.interval is None
    assert second.verdict == "undecided"
    assert ranked({8: {}}, better="lower") == {8: []}


def test_advice_names_what_is_undecided() -> None:
    text = advice(ranked({32: made(a=1, b=9), 64: made(a=5, b=5.0001)}, better="lower"))
    assert text.startswith("take a at 32 bits, ")
    assert "at 64 bits (undecided: " in text
    assert text.endswith("; where it is undecided, the cheaper one")
    assert advice(ranked({32: made(a=1, b=9)}, better="lower")) == "take a at 32 bits"
    assert advice({8: []}) == "no cell has finished"


@pytest.mark.parametrize("features", [7, 8, 96, 100, 128, 384])
@pytest.mark.parametrize("bits", [1, 4, 13, 32, 64, 128])
def test_slices_at_bits_stay_within_them(bits: int, features: int) -> None:
    found = slices_at_bits(bits, features)
    if found is None:
        assert features < bits or features in (7, 8, 100)
        return
    slices, size = found
    assert features % slices == 0
    assert 2 <= size <= 256
    assert 0.9 * bits <= slices * np.log2(size) <= bits


@pytest.mark.parametrize("quantizer", find_experiment("vectors").quantizers)
@pytest.mark.parametrize("bits", [4, 8, 32])
@pytest.mark.parametrize("is_missing", ["is missing", None])
def test_what_a_quantizer_says_of_bits_is_valid_and_true(
    quantizer: str, bits: int, is_missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kmeans", "pq", "rvq"):
        monkeypatch.setattr(f"dvq_ray.quantizers.{name}.faiss_is_installed", lambda quantizer: is_missing)
    variant: Any = find_experiment("vectors").variant(quantizer)
    own = variant.at_bits(bits, 64)
    if own is not None:
        settings = variant.model_validate({"quantizer": quantizer, **COMPARISON.fields(variant, own)})
        assert 0.9 * bits <= settings.bits() <= bits


def test_k_means_of_one_library_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """faiss's, which is faster, where it can be."""
    for is_missing, features, there in (("is missing", 64, "kmeans"), (None, 64, "pq"), (None, 100, "kmeans")):
        for name in ("kmeans", "pq"):
            monkeypatch.setattr(f"dvq_ray.quantizers.{name}.faiss_is_installed", lambda quantizer: is_missing)  # noqa: B023
        found = {name: QUANTIZERS.find(name).value.at_bits(64, features) for name in ("kmeans", "pq")}
        assert [name for name, own in found.items() if own] == [there]


@pytest.mark.parametrize(("one", "several"), [("vq", "dvq"), ("pq", "opq")])
def test_one_codebook_takes_part_under_one_name(one: str, several: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one slice DVQ is VQ, and OPQ's rotation changes nothing."""
    monkeypatch.setattr("dvq_ray.quantizers.pq.faiss_is_installed", lambda quantizer: None)
    at = {name: QUANTIZERS.find(name).value.at_bits for name in (one, several)}
    for bits in (1, 4, 8):
        assert at[one](bits, 64)
        assert at[several](bits, 64) is None
    assert (at[several](16, 64) or {})["slices"] == 2


class FromOutside(KMeans):
    """k-means that stops early."""

    max_iterations: Annotated[int, Field(ge=1)] = 2


def test_an_installed_quantizer_takes_part_by_itself(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"{__name__}:FromOutside"
    monkeypatch.setattr(QUANTIZERS, "names", lambda: ["kmeans", own])
    done = compare(file, "--bits", "4", "--seeds", "2", results=tmp_path)
    assert done.exit_code == 0, done.output
    assert re.search(rf"^ +{re.escape(own)} ", done.output, re.MULTILINE)


def test_a_quantizer_that_says_nothing_of_bits_is_left_out() -> None:
    assert Quantizer.at_bits(32, 384) is None


def test_cautions_are_those_of_the_rows() -> None:
    settings = find_experiment("vectors").settings(
        {"quantizer": "kmeans", "slices": 2, "codebook_size": 100, "dataset": "mine"}
    )
    row: dict[str, Any] = {
        "train_mse": 1.0, "test_mse": 1.0, "codes_used": [100, 100], "unseen_codes_high": [0.0, 0.0],
        "vectors_per_code": 39.0, "entropy_bits_per_vector": 2 * np.log2(100) * 0.96,
    }  # fmt: skip
    assert COMPARISON.cautions(settings, pd.DataFrame([row])) == []
    bad = {**row, "train_mse": 0.5, "codes_used": [60, 60], "unseen_codes_high": [10.0, 10.0], "vectors_per_code": 3}
    cheap = {**row, "entropy_bits_per_vector": 2 * np.log2(100) * 0.9}
    assert COMPARISON.cautions(settings, pd.DataFrame([cheap])) == [
        "entropy coding would save 10% of the bits, which are counted in full here"
    ]
    assert COMPARISON.cautions(settings, pd.DataFrame([bad, bad])) == [
        "overfits: the training error is 50% below the test error",
        "dead codes: at least 30% of the codes occur in no test row",
        "3 training rows for each code; below 39 codes fit single rows",
    ]


@pytest.mark.long
@pytest.mark.skipif(not REAL.exists(), reason="needs the small real data sets")
def test_real_embeddings_are_compared(tmp_path: Path) -> None:
    rows = np.load(REAL / "text_train.npy")[:1500]
    np.save(tmp_path / "text.npy", rows)
    done = compare(
        tmp_path / "text.npy", "--test", REAL / "text_test.npy", "--bits", "16", "--seeds", "2",
        "--metric", "recall_at_10", results=tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "16 bits, by recall@10: higher is better" in done.output
    assert "training rows for each code; below 39" in done.output
