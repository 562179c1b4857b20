"""The ledger of codes under every prior, and totals over the number of slices."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.build import Absent, Attempt, Made, Refused, make
from analysis.data.comparable import with_comparable_settings
from analysis.figures import ITEMS
from tests.analysis import made_up_images
from tests.analysis.made_up import Row, made_up_rows
from tests.analysis.made_up_priors import CODE_PRIOR, LADDER, images, of, vectors

pytestmark = pytest.mark.usefixtures("unrendered")

SLICES = ({"quantizer": "dvq", "dimension": 64, "slices": slices} for slices in (2, 4, 8))


def attempt(name: str, cells: list[Row], *, allow_missing: bool = False) -> Attempt:
    return make(ITEMS[name], made_up_rows(cells), allow_missing=allow_missing)


def made(name: str, cells: list[Row], *, allow_missing: bool = False) -> Made:
    found = attempt(name, cells, allow_missing=allow_missing)
    assert isinstance(found, Made), found
    return found


def numbers(found: Made) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(found.product.files[".csv"]))


def test_the_ledger_has_the_mean_of_every_model_under_every_prior() -> None:
    cells = of(images())
    found = numbers(made("code_ledger", cells))
    totals = found[found["metric"] == "total_bits_per_dim"].set_index(["parent_point_id", "prior"])["mean"]
    expected = pd.DataFrame(cells).groupby(["parent_point_id", "prior"])["total_bits_per_dim"].mean()
    np.testing.assert_allclose(totals.sort_index(), expected.sort_index())
    assert len(totals) == 6 * 5


def test_the_figure_names_the_best_prior_and_the_parents() -> None:
    product = made("code_ledger", of(images())).product
    assert "Codes of made_up_parents: 3,808 training and 625 test samples" in product.caption
    assert product.files[".svg"].decode().count("(spatial)") == 6
    assert made("code_ledger", of(images(), ["chain", "unigram"])).product.files[".svg"].decode().count("(chain)") == 6


def test_the_table_says_what_each_step_saves_paired_by_seed() -> None:
    cells = of(images(models=({"quantizer": "dvq", "dimension": 64, "slices": 4},)))
    found = numbers(made("code_ledger_table", cells))
    saved = found[found["metric"] == "code_bits_per_dim_saved"].set_index("prior")
    costs = pd.DataFrame(cells).pivot_table(index="seed", columns="prior", values="code_bits_per_dim")
    for before, prior in zip([*LADDER][:-1], [*LADDER][1:], strict=True):
        assert saved.loc[prior, "mean"] == pytest.approx((costs[before] - costs[prior]).mean())
        assert saved.loc[prior, "deviation"] == pytest.approx((costs[before] - costs[prior]).std())
    assert "uniform" not in saved.index


def test_a_missing_repetition_is_in_no_difference() -> None:
    cells = of(images(models=({"quantizer": "vq", "dimension": 16},)), ["unigram", "chain"])
    cells = [row for row in cells if (row["prior"], row["seed"]) != ("unigram", 2)]
    assert isinstance(attempt("code_ledger_table", cells), Refused)
    found = numbers(made("code_ledger_table", cells, allow_missing=True))
    saved = found[(found["metric"] == "code_bits_per_dim_saved") & (found["prior"] == "chain")]
    assert saved["n"].tolist() == [2]


def test_codes_of_vectors_have_no_total() -> None:
    found = made("code_ledger_table", of(vectors(), ["uniform", "unigram", "chain"]))
    table = found.product.files[".md"].decode()
    lines = [line for line in table.splitlines() if line.startswith("| chain")]
    assert len(lines) == 2
    assert all(line.split("|")[7:9] == [" – ", " – "] for line in lines)
    assert isinstance(attempt("code_ledger", of(vectors(), ["uniform"])), Absent)


def test_models_are_called_by_what_they_differ_in() -> None:
    table = made("code_ledger_table", of(images())).product.files[".md"].decode()
    for label in ("DVQ, D = 64, L = 4", "VQ, D = 16, J = 4", "VQ, D = 64", "SVQ, D = 16, L = 8, P = 8"):
        assert f"**{label}**" in table


def test_a_model_is_called_by_what_its_quantizer_declares_and_by_no_training_that_does_not_vary() -> None:
    models: list[dict[str, Any]] = [
        {"quantizer": "bsq", "sign_bits": 16, "entropy_weight": 0.1},
        {"quantizer": "fsq", "levels": "8x5"},
        {"quantizer": "vector_quantize_pytorch", "library_call": "LFQ(codebook_size=256)"},
    ]
    (parent,) = vectors(seeds=1)[:1]
    parents = [{**parent, **model, "point_id": f"{place:016x}"} for place, model in enumerate(models)]
    table = made("code_ledger_table", of(parents)).product.files[".md"].decode()
    names = re.findall(r"\*\*([A-Zl][^*]*)\*\*", table.split("prior, bytes")[1])
    assert sorted(names) == ["BSQ, signs = 16", "FSQ, levels = 8x5", r"library, LFQ(codebook\_size=256)"]


def test_models_are_listed_by_their_mean_total_under_their_best_prior() -> None:
    models = [{"quantizer": "dvq", "dimension": 64, "slices": slices} for slices in (2, 4, 8)]
    cells = pd.DataFrame(of(images(models=tuple(models))))
    cells["total_bits_per_dim"] = 5 + cells["slices"] / 100 + (cells["prior"] != "chain")
    lucky = (cells["slices"] == 8) & (cells["seed"] == 0) & (cells["prior"] == "uniform")
    cells.loc[lucky, "total_bits_per_dim"] = 5.0
    rows: list[Any] = cells.to_dict("records")
    table = made("code_ledger_table", rows).product.files[".md"].decode()
    assert re.findall(r"\*\*DVQ, L = (\d)\*\*", table) == ["2", "4", "8"]


def test_one_slice_is_named_beside_several() -> None:
    models = [{"quantizer": "dvq", "dimension": 64, "slices": slices} for slices in (1, 2)]
    table = made("code_ledger_table", of(images(models=tuple(models)))).product.files[".md"].decode()
    assert "**DVQ, L = 1**" in table
    assert "**DVQ, L = 2**" in table


def test_unequal_priors_of_one_name_are_refused() -> None:
    cells = of(images(models=({"quantizer": "vq", "dimension": 16},)), ["spatial"])
    wide = of(images(models=({"quantizer": "vq", "dimension": 64},)), ["spatial"], prior_width=128)
    found = attempt("code_ledger", [*cells, *wide])
    assert isinstance(found, Refused)
    assert any("unequal prior_width: 64" in line and "128" in line for line in found.details), found.details


def test_a_prior_with_other_settings_than_the_default_stands_beside_priors_without_them() -> None:
    parents = images(models=({"quantizer": "vq", "dimension": 16},))
    cells = [*of(parents, ["uniform", "unigram"]), *of(parents, ["spatial"], prior_width=128, prior_steps=3000)]
    assert len(numbers(made("code_ledger", cells)).query("metric == 'total_bits_per_dim'")) == 3
    both = [*cells, *of(parents, ["spatial"])]
    assert isinstance(attempt("code_ledger", both), Refused)


def test_codes_of_unequal_images_are_refused() -> None:
    cells = of(images(models=({"quantizer": "vq", "dimension": 16},)))
    other = of(images(models=({"quantizer": "vq", "dimension": 64},), dataset="cifar10"))
    assert isinstance(attempt("code_ledger", [*cells, *other]), Refused)


def test_the_best_number_of_slices_under_each_prior_is_named() -> None:
    cells = of(images(models=tuple(SLICES)))
    found = made("code_totals_over_slices", cells)
    means = pd.DataFrame(cells).groupby(["prior", "slices"])["total_bits_per_dim"].mean()
    for prior in LADDER:
        assert f"{means[prior].idxmin()} under {prior}" in found.product.caption
    assert len({means[prior].idxmin() for prior in LADDER}) > 1  # the prior decides
    assert isinstance(attempt("code_totals_over_slices", of(images())), Absent)


def test_one_repetition_makes_a_ledger_without_intervals() -> None:
    cells = of(images(seeds=1))
    table = made("code_ledger_table", cells).product.files[".md"].decode()
    assert "±" not in table.split("Priors:")[0]
    made("code_ledger", cells)


def test_table_1_has_the_best_prior_where_stores_of_code_priors_are_given_too() -> None:
    """Chain is cheaper than spatial for one model, and the choice is that of the other seeds."""
    parents = images()
    costs = {**LADDER, "spatial": 0.69}
    priors = of(parents, costs)
    dvq = next(row["point_id"] for row in parents if row["quantizer"] == "dvq")
    for row in priors:
        nominal = row["code_bits_per_dim"] / LADDER[row["prior"]]
        row["code_bits_per_dim"] = nominal * (0.8 if (row["parent_point_id"], row["prior"]) == (dvq, "spatial") else
                                              costs[row["prior"]])  # fmt: skip
    found = made("table1", [*parents, *priors])
    model = ["quantizer", "dimension", "joint_codebooks", "joint_positions"]
    best = numbers(found).set_index(model)["total_bits_per_dim_best"].to_dict()
    own = pd.DataFrame(parents)
    for key, its in own.groupby(model):
        cheapest = "chain" if key[0] == "dvq" else "spatial"
        codes = [row["code_bits_per_dim"] for row in priors if row["prior"] == cheapest
                 and row["parent_cell_id"] in set(its["cell_id"])]  # fmt: skip
        assert best[key] == pytest.approx(its["reconstruction_bits_per_dim"].mean() + np.mean(codes))
    assert "cost least: spatial 15 of 18 times, chain 3 of 18 times." in found.product.caption
    alone = made("table1", parents)
    assert "best prior" not in alone.product.caption
    assert "total_bits_per_dim_best" not in numbers(alone)
    some = made("table1", [*parents, *[row for row in priors if row["parent_point_id"] != dvq]])
    table = some.product.files[".md"].decode()
    (line,) = [each for each in table.splitlines() if each.startswith("| DVQ")]
    assert line.count("| missing |") == 1


def test_a_best_prior_is_chosen_among_those_that_every_model_has() -> None:
    parents = images()
    dvq = next(row["point_id"] for row in parents if row["quantizer"] == "dvq")
    priors = [row for row in of(parents) if row["prior"] != "spatial" or row["parent_point_id"] == dvq]
    assert "cost least: chain." in made("table1", [*parents, *priors]).product.caption
    one_seed = [row for row in of(parents) if row["seed"] == 0]
    assert "best prior" not in made("table1", [*parents, *one_seed]).product.caption


def test_rows_with_zeros_for_fields_that_a_prior_has_not_go_with_those_that_leave_them_empty() -> None:
    """Rows of the first version have zeros."""
    parents, names = images(made_up_images.SMALL[:2]), [name for name in CODE_PRIOR.axes() if name.startswith("prior_")]
    cells = of(parents)
    old = [{**row, **{name: row[name] or 0 for name in names}} if row["seed"] == 0 else row for row in cells]
    assert old != cells
    rows = made_up_rows([*parents, *old])
    frame, rounded = with_comparable_settings(rows.frame)
    assert not rounded
    for name in ("code_ledger", "code_ledger_table", "table1"):
        found = make(ITEMS[name], replace(rows, frame=frame), allow_missing=False)
        assert isinstance(found, Made), found
        assert found.product.files[".csv"] == made(name, [*parents, *cells]).product.files[".csv"]


def test_models_that_differ_in_what_is_measured_of_them_are_compared() -> None:
    """As those of the claims at small scale: the wide VQ's features are cut to be held against DVQ's."""
    wide = {"quantizer": "vq", "dimension": 64, "measured_slices": 4}
    found = numbers(made("table1", images(models=[*made_up_images.SMALL[:2], *made_up_images.SMALL[3:], wide])))
    assert len(found) == 6
