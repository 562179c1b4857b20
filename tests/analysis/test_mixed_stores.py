"""Stores that hold more than an item compares: what it then draws, says and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.build import Attempt, Made, Refused, make
from analysis.claims import product as claims
from analysis.data.comparable import with_comparable_settings
from analysis.data.rows import Rows, load_rows
from analysis.data.selection import select
from analysis.draw.sheet import Sheet
from analysis.figures import ITEMS
from analysis.naming import number, plus_minus
from analysis.report import environments
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import Store
from tests.analysis import made_up_images
from tests.analysis.command_line import analysis as run
from tests.analysis.command_line import undrawn
from tests.analysis.made_up import STATIC_PRIOR, Row, made_up_rows, row, rows, write

VQ: dict[str, Any] = {"quantizer": "vq", "dimension": [2, 8], "codebook_size": [16, 64], "factors": 64}
KMEANS: dict[str, Any] = {**VQ, "quantizer": "kmeans"}
DVQ: dict[str, Any] = {"quantizer": "dvq", "dimension": 8, "codebook_size": 16, "slices": [2, 4], "init_bound": 1.0}


def attempt(name: str, cells: Iterable[Row], *, allow_missing: bool = False) -> Attempt:
    return make(ITEMS[name], made_up_rows(cells), allow_missing=allow_missing)


def refusal(name: str, cells: Iterable[Row]) -> str:
    found = attempt(name, cells)
    assert isinstance(found, Refused)
    return "\n".join([found.reason, *found.details])


def test_an_optional_model_is_of_the_seeds_of_all_others() -> None:
    vq = rows(5, init_bound=1.0, **VQ)
    assert "kmeans: seeds 0-4 missing" in refusal("figure3a", [*vq, *rows(range(10, 15), **KMEANS)]).replace(
        " every dimension every codebook_size", ""
    )


def test_no_mean_is_of_seeds_that_only_an_extra_model_has() -> None:
    cells = [*rows(2, **{**DVQ, "factors": 64}), *rows(2, init_bound=1.0, **{**VQ, "dimension": 8}),
             *rows(4, slices=1, **{**KMEANS, "dimension": 8, "codebook_size": 16})]  # fmt: skip
    selection = select(made_up_rows(cells), ITEMS["figure4"].needs)
    assert selection is not None
    assert set(selection["kmeans"].means("test_mse")["n"]) == {2}


def test_unequal_numbers_of_training_vectors_are_refused_unless_they_follow_from_the_data() -> None:
    factors = [64, 16384]
    vq = [*rows(2, init_bound=1.0, **{**VQ, "dimension": 8, "factors": factors})]
    few = refusal("figure4", [*rows(2, train_samples=256, factors=factors, **DVQ), *vq])
    assert "unequal train_samples: 256 (dvq every factors every slices)" in few
    assert "--only train_samples=" in few
    assert isinstance(attempt("figure4", [*rows(2, factors=factors, **DVQ), *vq]), Made)


def test_settings_of_k_means_are_not_mixed_along_a_line() -> None:
    vq = [*rows(2, init_bound=1.0, **VQ)]
    two = [*rows(2, **{**KMEANS, "dimension": 2}), *rows(2, restarts=10, **{**KMEANS, "dimension": 8})]
    assert "unequal restarts: 1 (kmeans dimension=2 every codebook_size); 10 (kmeans" in refusal(
        "figure3a", [*vq, *two]
    )


def test_captions_count_the_repetitions_of_the_means_that_are_drawn() -> None:
    cells = [*rows(5, init_bound=1.0, **VQ), *rows(range(5, 10), **KMEANS)]
    found = attempt("figure3a", cells, allow_missing=True)
    assert isinstance(found, Made)
    assert "Means of n = 5 Monte-Carlo" in found.product.caption


def test_two_revisions_are_refused_and_the_report_names_them() -> None:
    cells = [*rows(2, init_bound=1.0, **VQ)]
    later = [{**cell, "revision": 2, "point_id": f"{cell['point_id']}x"} if cell["dimension"] == 8 else cell
             for cell in cells]  # fmt: skip
    assert "unequal revision: 1 (vq dimension=2 every codebook_size); 2 (vq" in refusal("figure3a", later)
    (warning,) = [text for text in environments.warnings(pd.DataFrame(later).assign(run_host="host")) if "rev" in text]
    assert warning == "Static prior: rows of different revisions are mixed: 1 in 4 rows; 2 in 4 rows."
    with pytest.raises(ValueError, match=r"a group holds several values of revision \(1, 2\)"):
        analysis.summarise(pd.DataFrame(later), by="codebook_size", metric="test_mse")
    assert len(analysis.summarise(pd.DataFrame(later), by=["dimension", "codebook_size"], metric="test_mse")) == 4


def test_precisions_are_not_compared() -> None:
    cells = made_up_images.sweep()
    cells = [{**cell, "precision": "bfloat16"} if cell["quantizer"] == "dvq" else cell for cell in cells]
    assert "unequal precision: bfloat16 (dvq" in refusal("table1", cells)


def test_data_without_a_digest_are_not_taken_for_equal() -> None:
    cells = [{**cell, "data_sha256": None} for cell in made_up_images.sweep()]
    assert "unequal data_sha256: not recorded (" in refusal("table1", cells)


def test_a_search_takes_no_cells_from_the_grid_of_the_same_store(tmp_path: Path) -> None:
    cells = [*rows(2, init_bound=1.0, **VQ)]
    store = write(tmp_path / "store", [{**cell, "search_suggestion": 0} if cell["dimension"] == 8 else cell
                                       for cell in cells])  # fmt: skip
    assert len(load_rows([store]).of("static_prior")) == 4
    Store(store).write_sweep(
        "name: store\ntrainable: static_prior\nseeds: 2\ngrids:\n  all: {quantizer: vq, dimension: [2, 8], "
        "codebook_size: [16, 64], factors: 64, init_bound: 1.0}\n"
    )
    loaded = load_rows([store])
    assert len(loaded.of("static_prior")) == 8
    found = make(ITEMS["figure3a"], loaded, allow_missing=False)
    assert isinstance(found, Made)
    assert not found.not_shown
    assert not any("search" in note for note in loaded.notes)


def test_of_two_stores_a_finished_row_hides_a_failed_one(tmp_path: Path) -> None:
    cells = [*rows(2, init_bound=1.0, **VQ)]
    failed = write(tmp_path / "failed", [row(status="error", seed=0, init_bound=1.0, **{
        **VQ, "dimension": 2, "codebook_size": 16})])  # fmt: skip
    loaded = load_rows([failed, write(tmp_path / "all", cells)])
    assert set(loaded.frame["status"]) == {"ok"}
    assert loaded.notes == (f"1 cells of {tmp_path / 'all'} are in {failed} too; the rows of {tmp_path / 'all'} stand",)


def test_equal_floats_are_one_value_and_close_ones_are_written_apart(tmp_path: Path) -> None:
    bounds = [0.3, 0.1 + 0.2]
    cells = [*rows([0, 1], init_bound=bounds[0], **VQ), *rows([1, 2], init_bound=bounds[1], **VQ)]
    loaded = load_rows([write(tmp_path / "store", cells)])
    assert len(loaded.frame) == 12
    assert loaded.frame["init_bound"].unique().tolist() == [0.3]
    assert loaded.frame["point_id"].nunique() == 4
    assert "equal to shorter ones" in loaded.notes[0]
    selection = select(loaded, ITEMS["figure3a"].needs)
    assert selection is not None
    assert (selection.faults(), selection.seeds) == ([], {(64,): (0, 1, 2)})
    assert number(0.1234567) != number(0.12345671)


def test_fields_that_were_added_later_count_as_the_value_that_older_cells_had(monkeypatch: pytest.MonkeyPatch) -> None:
    variant: type[Settings] = STATIC_PRIOR.variant("kmeans")
    monkeypatch.setattr(variant, "added", {"restarts": 1})
    frame = pd.DataFrame([*rows(2, **KMEANS), *rows(2, init_bound=1.0, **VQ)])
    old, _ = with_comparable_settings(frame.assign(restarts=np.nan))
    assert old.groupby("quantizer")["restarts"].unique().map(list).to_dict()["kmeans"] == [1]
    assert old.loc[old["quantizer"] == "vq", "restarts"].isna().all()
    without, _ = with_comparable_settings(frame.drop(columns="restarts"))
    assert set(without["restarts"].dropna()) == {1}


@pytest.mark.parametrize(("mean", "half", "text"), [
    (1.234e-13, 5.6e-15, "1.23e-13 ± 6e-15"), (26.4321, 0.0512, "26.43 ± 0.05"), (26.4321, 1e-9, "26.43 ± 1e-09"),
    (26.4321, 0.004, "26.43 ± 0.004"), (26.4321, 0.0004, "26.43 ± 0.0004"), (26.4321, 0.00004, "26.43 ± 4e-05"),
    (0.0, 0.0, "0.00 ± 0.00"),
])  # fmt: skip
def test_tiny_numbers_keep_significant_digits(mean: float, half: float, text: str) -> None:
    assert plus_minus(mean, half, 2) == text


@pytest.mark.parametrize("entries", [[16], [16, 16, 16], []])
def test_a_list_without_an_entry_for_each_codebook_is_in_no_mean(entries: list[int]) -> None:
    cells = [*rows(3, init_bound=1.0, **VQ), *rows(3, slices=2, **KMEANS)]
    cells[0]["codes_used"] = [16, 16]
    found = attempt("code_use", cells)
    assert isinstance(found, Refused)
    assert "seed 0 without an entry of codes_used for each codebook" in "\n".join(found.details)
    cells[0]["codes_used"] = []
    assert "seed 0 without a finite codes_used" in refusal("code_use", cells)


def test_infinity_in_a_curve_is_a_hole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    column = "reconstruction_bits_per_dim"
    for cell in made_up_images.sweep(made_up_images.SMALL[:1]):
        curve = made_up_images.curve(cell)
        if cell["seed"] == 0:
            curve = [*curve[:-1], {**curve[-1], column: float("inf")}]
        store.write_cell(find_experiment("learned_prior"), cell, curve)
    found = make(ITEMS["figure6"], load_rows([str(tmp_path)]), allow_missing=False)
    assert isinstance(found, Refused)
    assert "of its curve" in found.details[0]


def test_a_loss_of_zero_refuses_the_items_with_a_log_axis_alone(tmp_path: Path) -> None:
    cells = [{**cell, "test_mse": 0.0, "loss_over_variance": 0.0}
             for cell in [*rows(2, factors=64, **DVQ), *rows(2, init_bound=1.0, **VQ)]]  # fmt: skip
    store = write(tmp_path / "store", cells)
    result = run(store, items=undrawn({n: ITEMS[n] for n in ("figure3a", "figure4")}) | {
        "rate_distortion": ITEMS["rate_distortion"]})  # fmt: skip
    assert result.exit_code == 1
    assert "rate_distortion               refused: a distortion of 0 has no place on a log axis" in result.output
    assert (tmp_path / "store" / "figures" / "figure3a.json").exists()
    assert (tmp_path / "store" / "figures" / "report.html").exists()


def broken(rows: Rows) -> claims.Results:
    raise KeyError("broken")


def test_claims_that_cannot_be_decided_refuse_themselves_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "results", broken)
    store = write(tmp_path / "store", rows(2, init_bound=1.0, **VQ))
    result = run(store, items=undrawn({"figure3a": ITEMS["figure3a"]}))
    assert result.exit_code == 1
    assert "refused: KeyError: 'broken'" in result.output
    assert (tmp_path / "store" / "figures" / "figure3a.json").exists()


def test_a_log_axis_has_no_place_for_zero() -> None:
    with pytest.raises(ValueError, match="no place on a log axis"):
        Sheet([""], columns=1, inches=1).panels[0].log_y(0.0, 1.0)


def test_numbers_of_curves_say_how_many_repetitions_they_should_be_from() -> None:
    path = Path(__file__).parents[2] / "results" / "reference" / "cifar10_lossless" / "figures" / "figure6.csv"
    assert pd.read_csv(path)["wanted"].notna().all()
    assert json.loads(path.with_suffix(".json").read_text())["item"] == "figure6"
