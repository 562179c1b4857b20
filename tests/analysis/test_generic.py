"""Items of whatever a store holds: a metric over any field, rate and distortion, one quantizer against another."""

from __future__ import annotations

import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.lines import Line2D
from scipy.stats import ttest_rel

from analysis.build import Made, Refused, make
from analysis.data.rows import Rows
from analysis.draw.looks import look_of
from analysis.draw.sheet import Panel, handle
from analysis.draw.style import FAMILIES, Look
from analysis.figures import generic
from analysis.figures.generic import rate as rate_figure
from analysis.figures.generic._points import AllPoints
from analysis.figures.generic.over_axes import Cuts, fitting, over, over_axes
from analysis.figures.generic.ranking import ranking, ranks
from analysis.figures.generic.rate import ON_FRONT, fronts, pareto
from analysis.figures.generic.versus import comparisons
from analysis.items import Item
from dvq_ray.quantizers.dvq import Dvq
from dvq_ray.quantizers.vq import Vq
from tests.analysis import made_up_images
from tests.analysis.command_line import analysis, undrawn
from tests.analysis.made_up import Row, made_up_rows, row, rows, write
from tests.analysis.made_up_priors import LADDER, of, vectors

DATA: Any = {"dimension": 16, "factors": 64}


def small() -> list[Row]:
    return [
        *rows(quantizer="vq", codebook_size=[16, 256], init_bound=1.0, **DATA),
        *rows(quantizer="dvq", codebook_size=16, slices=[2, 4], init_bound=1.0, **DATA),
        *rows(quantizer="kmeans", codebook_size=[16, 256], slices=1, **DATA),
    ]


def made(cells: list[Row] | Rows, end: str) -> Made:
    found = make(the_item(cells, end), as_rows(cells), allow_missing=False)
    assert isinstance(found, Made), found
    return found


def selected(cells: list[Row], end: str, experiment: str = "static_prior") -> AllPoints:
    item = the_item(cells, end, experiment)
    found = item.select(made_up_rows(cells), item.needs)
    assert isinstance(found, AllPoints)
    return found


def the_item(cells: list[Row] | Rows, end: str, experiment: str = "static_prior") -> Item:
    item = generic.named(as_rows(cells), f"{experiment}-{end}")
    assert item is not None
    return item


def as_rows(cells: list[Row] | Rows) -> Rows:
    return cells if isinstance(cells, Rows) else made_up_rows(cells)


def csv_of(found: Made) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(found.product.files[".csv"]))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6) | st.just(np.nan)), max_size=12))
def test_the_front_has_every_point_that_no_other_beats(points: list[tuple[float, float]]) -> None:
    rate, cost = (np.array([point[i] for point in points], float) for i in (0, 1))
    found = pareto(rate, cost)
    for place, (r, c) in enumerate(points):
        beaten = any(x <= r and y <= c and (x, y) != (r, c) for x, y in points)
        if found[place]:
            assert not beaten
            assert np.isfinite(c)
        elif np.isfinite(c) and not beaten:  # one of several equal points is enough
            assert any(found[other] and points[other] == (r, c) for other in range(len(points)))


def test_rates_are_those_of_the_codes_and_fronts_are_of_equal_data() -> None:
    cells = [*small(), *rows(quantizer="vq", codebook_size=16, init_bound=1.0, dimension=16, factors=1024)]
    table = fronts(selected(cells, "rate"))
    firsts = table.drop_duplicates(["quantizer", "codebook_size", "slices"])
    bits = firsts.set_index(["quantizer", "codebook_size", "slices"])["code_bits"].to_dict()
    assert bits == {
        ("vq", 16, 1): 4, ("vq", 256, 1): 8, ("dvq", 16, 2): 8, ("dvq", 16, 4): 16, ("kmeans", 16, 1): 4,
        ("kmeans", 256, 1): 8,
    }  # fmt: skip
    assert table.loc[table["factors"] == 1024, ON_FRONT].all()  # nothing else has these data


def test_rates_that_are_no_whole_numbers_are_written_in_few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = list[list[str]]()
    monkeypatch.setattr(Panel, "log_x", lambda self, values, texts, most: ticks.append([*texts]))
    cells = rows(quantizer="vq", codebook_size=[27, 40, 256], init_bound=1.0, **DATA)
    rate_figure.rate(selected([*cells], "rate"))
    assert ticks == [["4.755", "5.322", "8"]]


@pytest.mark.parametrize(("sizes", "named"), [(7, 7), (8, 8), (9, 4)])
def test_a_legend_names_all_points_of_a_quantizer_where_they_are_few(
    monkeypatch: pytest.MonkeyPatch, sizes: int, named: int
) -> None:
    cells = rows(quantizer="vq", codebook_size=[2 ** (i + 1) for i in range(sizes)], init_bound=1.0, **DATA)
    entries = list[str]()

    def noted(look: Look, name: str) -> Line2D:
        entries.append(name)
        return handle(look, name)

    monkeypatch.setattr(rate_figure, "handle", noted)
    drawn = rate_figure.rate(selected([*cells], "rate"))
    assert len(entries) == named + 1, "and the front"
    assert drawn.message.endswith(f"of {sizes} points of VQ are on the Pareto fronts, by means.")


def test_points_are_drawn_over_what_their_codes_take_when_entropy_coded() -> None:
    """Codes of k-means take half of their nominal bits: at these it is ahead where it was not."""
    cells = small()
    for cell in cells:
        shares = {"vq": 0.9, "dvq": 1.0, "kmeans": 0.5}
        bits = cell["bits_per_vector"] * shares[cell["quantizer"]]
        cell["entropy_bits_per_vector"] = bits * (1 + 0.01 * cell["seed"])
    table = fronts(selected(cells, "entropy-rate"))
    expected = pd.DataFrame(cells).groupby("point_id")["entropy_bits_per_vector"].mean()
    np.testing.assert_allclose(table.set_index("point_id")["code_bits"].sort_index(), expected.sort_index())
    nominal = fronts(selected(cells, "rate")).set_index("point_id")
    assert {*table.loc[table["quantizer"] == "kmeans", ON_FRONT]} == {True}
    assert table.loc[table[ON_FRONT], "mean"].tolist() != nominal.loc[nominal[ON_FRONT], "mean"].tolist()
    found = made(cells, "entropy-rate")
    assert "after entropy coding (rate, unigram prior), their mean" in found.product.caption
    without = {name: value for name, value in cells[0].items() if name != "entropy_bits_per_vector"}
    other_points = [cell for cell in cells if cell["point_id"] != without["point_id"]]
    caption = made([*other_points, without], "entropy-rate").product.caption
    assert "Points without a rate, which their cells did not measure: 1." in caption
    some = [{name: value for name, value in cell.items() if name != "entropy_bits_per_vector"} for cell in cells]
    assert the_item(some, "entropy-rate").select(made_up_rows(some), the_item(some, "entropy-rate").needs) is None
    names = generic.items(made_up_rows(cells))
    assert "static_prior-entropy-rate" in names
    assert "learned_prior-entropy-rate" not in generic.items(made_up_rows(made_up_images.sweep()))


def test_a_comparison_is_the_paired_t_test_of_points_with_equal_bits() -> None:
    cells = small()
    table = comparisons(selected(cells, "versus"))
    frame = made_up_rows(cells).frame
    (one,) = table[(table["a"] == "dvq") & (table["b"] == "vq") & (table["equal"] == "bits")].to_dict("records")
    dvq, vq = (frame[frame["point_id"] == one[f"point_id_{side}"]].sort_values("seed") for side in "ab")
    assert (dvq["slices"].iloc[0], vq["codebook_size"].iloc[0]) == (2, 256)
    expected = ttest_rel(dvq["test_mse"], vq["test_mse"])
    interval = expected.confidence_interval(0.95)
    assert (one["low"], one["high"]) == pytest.approx((interval.low, interval.high))
    assert one["outcome"] == ("win" if interval.high < 0 else "loss" if interval.low > 0 else "undecided")


@pytest.mark.parametrize(("shift", "outcome"), [(-1.0, "win"), (1.0, "loss"), (0.0, "undecided")])
def test_outcomes_follow_the_paired_differences(shift: float, outcome: str) -> None:
    cells = []
    for seed, (noise, tilt) in enumerate([(0.0, 0.1), (3.0, -0.1), (9.0, 0.02), (5.0, -0.02)]):
        for name, loss in (("dvq", 10 + noise + shift + tilt), ("vq", 10 + noise)):
            fields: Any = {"quantizer": name, "codebook_size": 16, "init_bound": 1.0, **DATA}
            one = row(seed=seed, **fields | ({"slices": 1} if name == "dvq" else {}))
            cells.append({**one, "test_mse": loss})
    table = comparisons(selected(cells, "versus"))
    assert set(table["outcome"]) == {outcome}
    assert set(table["equal"]) == {"bits", "parameters"}


def test_points_of_unequal_trainings_are_not_compared() -> None:
    cells = [
        *rows(quantizer="vq", codebook_size=16, init_bound=[1.0, 0.05], **DATA),
        *rows(quantizer="dvq", codebook_size=16, slices=1, init_bound=1.0, **DATA),
        *rows(quantizer="kmeans", codebook_size=16, slices=1, **DATA),
    ]
    table = comparisons(selected(cells, "versus"))
    counts = table[table["equal"] == "bits"].groupby(["a", "b"]).size().to_dict()
    assert counts == {("dvq", "vq"): 1, ("dvq", "kmeans"): 1, ("kmeans", "vq"): 2}


def test_starts_are_compared_where_both_quantizers_have_the_same_ones() -> None:
    """k-means has a field of that name too, which takes other values."""
    cells = [
        *rows(quantizer="vq", codebook_size=16, start=["uniform", "k-means++"], **DATA),
        *rows(quantizer="dvq", codebook_size=16, slices=1, start="k-means++", **DATA),
        *rows(quantizer="kmeans", codebook_size=16, slices=1, start="best", **DATA),
    ]
    table = comparisons(selected(cells, "versus"))
    counts = table[table["equal"] == "bits"].groupby(["a", "b"]).size().to_dict()
    assert counts == {("dvq", "vq"): 1, ("dvq", "kmeans"): 1, ("kmeans", "vq"): 2}


def test_networks_that_differ_are_not_compared() -> None:
    models: tuple[dict[str, Any], ...] = (
        {"quantizer": "vq", "dimension": 64, "joint_codebooks": 4, "stem_channels": 32},
        {"quantizer": "dvq", "dimension": 64, "slices": 4, "stem_channels": 32},
        {"quantizer": "dvq", "dimension": 64, "slices": 4, "stem_channels": 64},
    )
    table = comparisons(selected(made_up_images.sweep(models), "versus", "learned_prior"))
    assert len(table[table["equal"] == "bits"]) == 1


def test_ranks_are_of_points_on_equal_data_at_equal_rates_from_the_best_to_the_worst() -> None:
    table = ranks(selected(small(), "ranking"))
    groups = table.groupby(["code_bits"], sort=False)
    assert {bits: [*its["quantizer"]] for (bits,), its in groups}.keys() == {4, 8}
    for _, its in groups:
        assert its["mean"].is_monotonic_increasing
        assert (its["verdict"] == "best").tolist() == [True] + [False] * (len(its) - 1)
        assert its["difference"].iloc[1:].to_numpy() == pytest.approx(
            its["mean"].iloc[1:].to_numpy() / its["mean"].iloc[0] - 1
        )


def test_trainings_that_all_quantizers_have_are_ranked_apart() -> None:
    """Points of few training vectors are no worse quantizers."""
    cells = [
        *rows(quantizer="vq", codebook_size=16, init_bound=1.0, train_samples=[512, 16384], **DATA),
        *rows(quantizer="kmeans", codebook_size=16, slices=1, train_samples=[512, 16384], **DATA),
    ]
    table = ranks(selected(cells, "ranking"))
    assert table.groupby("train_samples")["quantizer"].nunique().to_dict() == {512: 2, 16384: 2}
    assert (table["verdict"] == "best").sum() == 2


def test_a_ranking_says_what_varies_among_the_points_of_a_quantizer() -> None:
    cells = [
        *rows(quantizer="vq", codebook_size=16, init_bound=[1.0, 10.0], **DATA),
        *rows(quantizer="kmeans", codebook_size=16, slices=1, **DATA),
    ]
    product = ranking(selected(cells, "ranking"))
    assert product.table is not None
    ((*labels,),) = ([row[0] for row in section.rows] for section in product.table.sections)
    assert sorted(labels) == ["VQ, ± = 1", "VQ, ± = 10", "k-means"]


def test_there_is_no_ranking_of_very_many_rates_or_of_one_quantizer() -> None:
    one = [*rows(quantizer="vq", codebook_size=[4, 16], init_bound=1.0, **DATA)]
    many = [
        *rows(quantizer="vq", codebook_size=16, init_bound=1.0, dimension=[*range(2, 28, 2)], factors=64),
        *rows(quantizer="kmeans", codebook_size=16, slices=1, dimension=[*range(2, 28, 2)], factors=64),
    ]
    for cells in (one, many):
        item = the_item(cells, "ranking")
        assert item.select(made_up_rows(cells), item.needs) is None


@pytest.mark.parametrize("end", ["versus", "rate"])
def test_points_on_unequal_data_of_one_name_are_apart(end: str) -> None:
    models: tuple[dict[str, Any], ...] = (
        {"quantizer": "vq", "dimension": 16, "joint_codebooks": 4},
        {"quantizer": "dvq", "dimension": 64, "slices": 4},
    )
    cells = made_up_images.sweep(models)
    replaced = [{**cell, "data_sha256": "f" * 64} if cell["quantizer"] == "dvq" else cell for cell in cells]
    if end == "rate":
        assert fronts(selected(replaced, end, "learned_prior"))[ON_FRONT].all()
        assert not fronts(selected(cells, end, "learned_prior"))[ON_FRONT].all()
    else:
        assert len(comparisons(selected(cells, end, "learned_prior")))
        item = the_item(replaced, end, "learned_prior")
        assert item.select(made_up_rows(replaced), item.needs) is None


def test_repetitions_of_a_point_on_unequal_data_are_refused() -> None:
    cells = made_up_images.sweep(({"quantizer": "vq", "dimension": 16},))
    cells[0] = {**cells[0], "data_sha256": "f" * 64}
    found = make(the_item(cells, "rate", "learned_prior"), made_up_rows(cells), allow_missing=True)
    assert isinstance(found, Refused)
    (line,) = found.details
    assert line.startswith("unequal data_sha256: ")


def test_failed_cells_are_counted_in_the_note_and_refuse_nothing() -> None:
    cells = small()
    cells[0] = row(seed=0, status="error", quantizer="vq", codebook_size=16, init_bound=1.0, **DATA)
    found = made(cells, "over-axes")
    assert "Not used: vq: 1 cells failed (error)" in found.product.caption
    numbers = csv_of(found)
    first = numbers[(numbers["quantizer"] == "vq") & (numbers["codebook_size"] == 16)]
    assert (first["n"].tolist(), first["wanted"].tolist()) == ([2], [3])


def test_one_repetition_has_a_mean_and_no_interval() -> None:
    cells = list(rows(1, quantizer="vq", codebook_size=[16, 64], init_bound=1.0, **DATA))
    numbers = csv_of(made(cells, "over-axes"))
    assert numbers["n"].tolist() == [1, 1]
    assert numbers["mean"].notna().all()
    assert numbers["low"].isna().all()


def test_all_points_are_in_the_numbers_and_the_note_says_how_many_are_drawn() -> None:
    cells = [*small(), *rows(quantizer="vq", codebook_size=64, init_bound=10.0, dimension=2, factors=8)]
    found = made(cells, "over-axes")
    points = len({cell["point_id"] for cell in cells})
    assert len(csv_of(found)) == points
    assert f"of {points} points; the .csv has all" in found.product.caption


def test_lines_follow_what_a_quantizer_has_and_nothing_else() -> None:
    """K-means has no stages, though rows may say that it has one; older rows say nothing."""
    older = [{**cell, "stages": None} for cell in rows(quantizer="kmeans", codebook_size=256, slices=[1, 2], **DATA)]
    newer = rows(quantizer="kmeans", codebook_size=256, slices=[4, 8], **DATA)
    stages = rows(quantizer="rvq", codebook_size=256, stages=[1, 2], **DATA)
    found = selected([*older, *newer, *stages], "over-axes")
    assert isinstance(found, Cuts)
    (line,) = next(cut for cut in found.cuts if cut.field == "slices").lines
    assert [*line.points["slices"]] == [1, 2, 4, 8]
    assert all("k-means at M" not in cut.held for cut in found.cuts)


def test_values_that_are_names_go_from_the_worst_to_the_best_without_lines_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = list[tuple[list[float], str]]()
    monkeypatch.setattr(Panel, "points", lambda self, x, points, look: drawn.append(([*x], look.line)))
    cuts = selected(of(vectors()), "over-axes", "code_prior")
    over_axes(cuts)
    priors = [*LADDER]  # from what costs most to what costs least
    assert isinstance(cuts, Cuts)
    (cut,) = (cut for cut in cuts.cuts if cut.field == "prior")
    places = [[float(priors.index(name)) for name in line.points["prior"]] for line in cut.lines]
    assert [x for x, line in drawn if not line] == places
    assert {line for _, line in drawn} == {"", "-"}, "slices are numbers, and have lines"


@pytest.mark.parametrize("bounds", [[0.0, 1.0, 10.0], [1.0, 10.0]])
def test_values_that_are_numbers_have_lines_even_without_a_log_scale(
    monkeypatch: pytest.MonkeyPatch, bounds: list[float]
) -> None:
    cells = [
        cell | {"init_bound": bound}
        for bound in bounds
        for cell in rows(quantizer="vq", codebook_size=16, init_bound=bound or 0.5, **DATA)
    ]
    drawn = list[tuple[list[float], str]]()
    monkeypatch.setattr(Panel, "points", lambda self, x, points, look: drawn.append(([*x], look.line)))
    over(selected(cells, "test_mse-over-init_bound"), "init_bound")
    assert [([*range(3)] if 0 in bounds else bounds, "-")] == drawn


def test_an_id_is_no_axis_and_does_not_part_points_that_something_else_tells_apart() -> None:
    cuts = selected(of(vectors()), "over-axes", "code_prior")
    assert isinstance(cuts, Cuts)
    assert {cut.field for cut in cuts.cuts} == {"prior", "slices"}
    (cut,) = (cut for cut in cuts.cuts if cut.field == "prior")
    assert [line.shade for line in cut.lines] == [2, 4]
    assert not cut.held
    wide = rows(quantizer="dvq", dimension=32, factors=64, codebook_size=16, slices=2)
    cuts = selected(of([*vectors(), *wide]), "over-axes", "code_prior")  # two parents with two slices
    assert isinstance(cuts, Cuts)
    (cut,) = (cut for cut in cuts.cuts if cut.field == "prior")
    assert re.fullmatch("DVQ at point of the parent = [0-9a-f]{8}", cut.held)
    assert all(line.points["parent_point_id"].nunique() == 1 for line in cut.lines)


@pytest.mark.parametrize(("letters", "columns"), [(12, 3), (13, 2), (20, 2), (21, 1), (200, 2)])
def test_names_of_values_get_the_width_they_need(letters: int, columns: int) -> None:
    """With two more panels of numbers; names of more than 80 letters have no panel."""
    names = [end * letters for end in "ab"]
    cells = [cell | {"start": names[cell["start"] == "k-means++"]}
             for cell in rows(quantizer="kmeans", codebook_size=[16, 64], slices=[1, 2],
                              start=["random", "k-means++"], **DATA)]  # fmt: skip
    cuts = selected(cells, "over-axes")
    assert isinstance(cuts, Cuts)
    found, beside = fitting(cuts, cuts.cuts)
    assert beside == columns
    assert len(found) == (2 if letters == 200 else 3)


def test_any_metric_can_be_drawn_over_any_field() -> None:
    found = made(small(), "codes_used-over-codebook_size")
    assert found.item.title == "Codes used over codebook size (static prior)"
    assert set(csv_of(found)["metric"]) == {"codes_used"}
    assert generic.named(made_up_rows(small()), "static_prior-nothing-over-codebook_size") is None
    assert generic.named(made_up_rows(small()), "static_prior-test_mse-over-nothing") is None
    assert generic.named(made_up_rows(small()), "other-rate") is None


def test_an_item_survives_the_way_between_processes() -> None:
    for end in ("over-axes", "rate", "versus", "test_mse-over-slices"):
        item = the_item(small(), end)
        again = pickle.loads(pickle.dumps(item))
        assert (again.name, again.title, again.needs) == (item.name, item.title, item.needs)


def test_the_command_makes_them_for_each_experiment_of_a_store_and_names_what_it_lacks(tmp_path: Path) -> None:
    store = write(tmp_path / "store", small())
    names = ["static_prior-rate", "static_prior-test_mse-over-slices"]
    result = analysis(store, "--out", tmp_path / "out", *(f"--item={name}" for name in names), dpi=30)
    assert result.exit_code == 0, result.output
    for name in names:
        assert {path.suffix for path in (tmp_path / "out").glob(f"{name}.*")} == {".svg", ".png", ".csv", ".json"}
    result = analysis(store, "--out", tmp_path / "out", "--item=learned_prior-rate")
    assert result.exit_code == 1
    assert "learned_prior-rate" in result.output
    assert "not in this store" in result.output
    result = analysis(store, "--item", "rates")
    assert result.exit_code == 2
    assert "'rates' is not one of the items" in result.output


def test_cells_of_an_experiment_that_is_not_found_are_reported(tmp_path: Path) -> None:
    others = rows(quantizer="vq", codebook_size=16, init_bound=1.0, **DATA)
    gone = [{**cell, "trainable": "gone.away:IT", "cell_id": f"{place:016x}"} for place, cell in enumerate(others)]
    cells = [*small(), *gone]
    result = analysis(write(tmp_path / "store", cells), "--out", tmp_path, "--item=static_prior-versus")
    assert result.exit_code == 0, result.output
    assert "no item shows 3 cells of gone.away:IT" in result.output


def test_an_item_says_which_cells_of_its_experiment_it_does_not_show(tmp_path: Path) -> None:
    cells = [*small(), *rows(quantizer="dvq", codebook_size=64, slices=[1, 2], init_bound=1.0, **DATA)]
    result = analysis(write(tmp_path / "store", cells), "--out", tmp_path / "out", "--item=figure4", "--allow-missing")
    assert "; not shown: " in result.output, result.output
    shown = json.loads((tmp_path / "out" / "figure4.json").read_text())
    count = sum(shown["not_shown"].values())
    assert count > 0
    assert shown["cells"] + count == len(cells)
    report = analysis(tmp_path / "store", "--out", tmp_path / "all", "--allow-missing", items=undrawn(("figure4",)))
    assert "Cells of the experiment that it does not show: " in (tmp_path / "all" / "report.html").read_text(), report


def test_looks_follow_what_a_quantizer_declares_and_its_name_where_it_declares_nothing() -> None:
    assert look_of("dvq", Dvq, 4) == FAMILIES["orange"].look(4)
    assert look_of("vq", Vq, 16) == FAMILIES["green"].look(16)
    own = type("Own", (Vq,), {"family": "", "__module__": __name__})
    colours = {look_of(f"package.module:{name}", own, 16).colour for name in ("A", "B", "C", "D", "E", "F")}
    assert len(colours) > 2
    assert not colours & {family.look(16).colour for family in FAMILIES.values()}
    assert look_of("package.module:A", own, 16) == look_of("package.module:A", own, 16)
