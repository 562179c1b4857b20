"""Equal bits, rate and distortion, use of codes, appendix, tables and cost: what they choose, say and draw."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from analysis.data.needs import spread
from analysis.data.rows import load_rows
from analysis.data.selection import Selection, select
from analysis.figures import ITEMS
from analysis.figures.static_prior.equal_bits import ratios
from analysis.output.numbers import declared_numbers
from analysis.output.sidecar import digest
from tests.analysis import made_up_images
from tests.analysis.looking import (
    assert_no_text_overlaps_or_leaves_the_page,
    assert_text_is_readable_in_print,
    draw,
    drawn_points,
    legends,
)
from tests.analysis.made_up import Row, made_up_rows, rows

DRAWN = ("static_prior_appendix", "equal_bits", "rate_distortion", "code_use")
NEW = (*DRAWN, "static_prior_table", "static_prior_table_dimensions", "static_prior_cost")
SHARED: dict[str, Any] = {"dimension": [4, 16], "factors": [16, 64]}


@cache
def _sweep() -> tuple[Row, ...]:
    """VQ with 4 and with 16 codes, and DVQ with 4: two slices of these have the bits of 16 codes."""
    cells = [
        *rows(3, quantizer="vq", codebook_size=[4, 16], init_bound=[1.0, 10.0], **SHARED),
        *rows(3, quantizer="dvq", codebook_size=4, slices=[2, 4], init_bound=1.0, **SHARED),
        *rows(3, quantizer="kmeans", codebook_size=[4, 16], **SHARED),
    ]
    return tuple(_with_known_numbers(cell) for cell in cells)


def _with_known_numbers(cell: Row) -> Row:
    """VQ loses 20 or, with 16 codes, 10; DVQ 15 or 5, each a little more with the seed; a wide start halves use."""
    loss = {("vq", 4): 20.0, ("vq", 16): 10.0, ("kmeans", 4): 19.0, ("kmeans", 16): 9.0}.get(
        (cell["quantizer"], cell["codebook_size"]), 15.0 if cell["slices"] == 2 else 5.0
    )
    loss += cell["seed"] * (0.2 if cell["quantizer"] == "dvq" else 0.1) + 3.0 * (cell["seed"] == 2)
    size, share = cell["codebook_size"], 0.5 if cell.get("init_bound") == 10.0 else 1.0
    return {
        **cell,
        "test_mse": loss,
        "loss_over_variance": loss / cell["data_variance"],
        "codes_used": [size * share] * cell["slices"],
        "perplexity": [size * share * 0.8] * cell["slices"],
        "duration_seconds": 2.0 + cell["seed"],
    }


def _failed(cells: Iterable[Row], **values: Any) -> list[Row]:
    return [
        {**cell, "status": "diverged", "test_mse": None, "loss_over_variance": None}
        if all(cell.get(k) == v for k, v in values.items())
        else cell
        for cell in cells
    ]


def _selected(name: str, cells: Sequence[Row] | None = None) -> Selection:
    selection = select(made_up_rows(_sweep() if cells is None else cells), ITEMS[name].needs)
    assert selection is not None
    return selection


@cache
def _drawn(name: str) -> tuple[Figure, str]:
    return draw(name, _selected(name))


def _csv(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content))


@pytest.mark.parametrize("name", NEW)
def test_a_failure_moves_no_choice_and_is_a_hole(name: str) -> None:
    cells = [{**cell, "status": "error"} for cell in _sweep()]
    broken, whole = _selected(name, cells), _selected(name)
    assert [dict(grid.axes) for grid in broken.grids] == [
        dict(grid.axes) for grid in whole.grids if grid.quantizer in {g.quantizer for g in broken.grids}
    ]
    assert whole.hole_count() == 0
    assert whole.faults() == []
    assert broken.hole_count() == broken.cell_count()


@pytest.mark.parametrize("name", NEW)
def test_a_store_without_rows_for_an_item_has_nothing_to_draw(name: str) -> None:
    lone = list(rows(3, quantizer="kmeans", dimension=[4, 16], codebook_size=4, factors=16))
    assert (select(made_up_rows(lone), ITEMS[name].needs) is None) == (name != "static_prior_cost")


def test_equal_bits_needs_a_vq_with_as_many_bits() -> None:
    cells = [cell for cell in _sweep() if (cell["quantizer"], cell["codebook_size"]) != ("vq", 16)]
    assert select(made_up_rows(cells), ITEMS["equal_bits"].needs) is None


def test_the_appendix_leaves_out_what_has_one_number_of_factors_and_kmeans_with_holes() -> None:
    more = rows(3, quantizer="vq", dimension=64, codebook_size=4, factors=16, init_bound=[1.0, 17.3])
    part = [c for c in _sweep() if (c["quantizer"], c["codebook_size"], c["factors"]) != ("kmeans", 16, 64)]
    vq, kmeans = _selected("static_prior_appendix", [*part, *more]).grids
    assert dict(vq.axes) == {
        "dimension": (4, 16), "factors": (16, 64), "codebook_size": (4, 16), "init_bound": (1.0, 10.0),
    }  # fmt: skip
    assert kmeans.axes["codebook_size"] == (4,)


def test_ratios_are_paired_by_seed_and_have_the_interval_of_their_logarithms() -> None:
    table = ratios(_selected("equal_bits"))
    assert len(table) == 2 * 2 * (2 + 1)
    vq_more = np.array([0.0, 0.1, 3.2])
    for equal, slices, dvq, vq in (("parameters", 2, 15, 20), ("parameters", 4, 5, 20), ("bits", 2, 15, 10)):
        here = table[(table["equal"] == equal) & (table["slices"] == slices)]
        assert len(here) == 4
        logs = np.log((dvq + vq_more + [0.0, 0.1, 0.2]) / (vq + vq_more))
        low, high = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
        np.testing.assert_allclose(here["mean"], stats.gmean(np.exp(logs)))
        np.testing.assert_allclose(here["deviation"], stats.gstd(np.exp(logs)))
        np.testing.assert_allclose(here[["low", "high"]].iloc[0], np.exp([low, high]))
    assert (table["n"] == 3).all()


def test_a_pair_without_one_of_its_halves_is_left_out() -> None:
    selection = _selected("equal_bits", _failed(_sweep(), quantizer="vq", codebook_size=16, dimension=4, seed=2))
    table = ratios(selection)
    holed = table[(table["equal"] == "bits") & (table["dimension"] == 4)]
    assert set(holed["n"]) == {2}
    assert set(holed["wanted"]) == {3}
    assert set(table.drop(holed.index)["n"]) == {3}
    assert selection.hole_count() == 2
    figure, caption = draw("equal_bits", selection)
    assert "INCOMPLETE, 2 of 48 cells are missing or failed" in caption
    assert "vq dimension=4 every factors codebook_size=16: seed 2 failed (diverged)" in caption
    assert "repetitions are missing" in [text.get_text() for legend in legends(figure) for text in legend.get_texts()]


def test_equal_parameters_lie_left_below_one_and_equal_bits_right_above() -> None:
    figure, caption = _drawn("equal_bits")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["D = 4: equal parameters, VQ with K = 4", "D = 4: equal bits, VQ with K = 16"]
    for i, axes in enumerate(figure.axes):
        low, high = axes.get_ylim()
        assert low < 1 < high
        assert axes.get_yscale() == "log"
        heights = np.concatenate([y for _, y in drawn_points(axes)])
        assert len(heights) == (4, 2)[i % 2]
        assert (heights < 1).all() if i % 2 == 0 else (heights > 1).all()
    assert "n = 3 Monte-Carlo repetitions" in caption


def test_points_lie_at_the_rate_of_their_codes_and_the_curve_is_that_of_the_store() -> None:
    selection = _selected("rate_distortion")
    figure, _ = _drawn("rate_distortion")
    (panel,) = [axes for axes in figure.axes if axes.get_title() == "D = 4, F = 16"]
    rows_here = selection.rows.query("dimension == 4 and factors == 16")
    expected = sorted((rows_here["bits_per_vector"] / 4).unique())
    drawn = sorted({float(x[0]) for x, _ in drawn_points(panel)})
    np.testing.assert_allclose(drawn, expected)
    curve = panel.get_lines()[0]
    at = np.interp(expected, np.asarray(curve.get_xdata(), float), np.log2(np.asarray(curve.get_ydata(), float)))
    stored = rows_here.groupby("bits_per_vector")[["rate_curve_mse", "data_variance"]].first()
    np.testing.assert_allclose(2**at, stored["rate_curve_mse"] / stored["data_variance"])
    floor = panel.get_lines()[1]
    variance = rows_here.query("quantizer == 'vq'")["data_variance"].mean()
    np.testing.assert_allclose(np.asarray(floor.get_ydata(), float), 1 / variance)
    assert panel.get_yscale() == "log"


@pytest.mark.long
def test_use_of_codes_is_a_share_of_the_codebook() -> None:
    table = _csv(ITEMS["code_use"].product(_selected("code_use")).files[".csv"])
    used = table[(table["quantizer"] == "vq") & (table["metric"] == "codes used / codebook_size")]
    assert set(zip(used["init_bound"], used["mean"], strict=True)) == {(1, 1.0), (10, 0.5)}
    evenness = table[(table["quantizer"] == "kmeans") & (table["metric"] == "perplexity / codebook_size")]
    np.testing.assert_allclose(evenness["mean"], 0.8)
    figure, caption = _drawn("code_use")
    assert [axes.get_ylabel() for axes in figure.axes] == ["codes used / K", "", "perplexity / K", ""]
    assert "F = 64 factors" in caption


def test_several_slices_count_by_their_mean() -> None:
    cells = [{**cell, "codes_used": [*[1] * (cell["slices"] - 1), 4]} for cell in _sweep()]
    needs = replace(ITEMS["figure4"].needs, metrics=("test_mse", "codes_used"))
    selection = select(made_up_rows(cells), needs)
    assert selection is not None
    table = declared_numbers(selection)
    dvq = table[(table["quantizer"] == "dvq") & (table["metric"] == "codes_used")]
    assert dict(dvq.groupby("slices")["mean"].first()) == {2: 2.5, 4: 1.75}


def test_numbers_of_curves_have_a_row_for_each_step(tmp_path: Path) -> None:
    store = made_up_images.write(tmp_path / "store", made_up_images.sweep(seeds=2), pictures=False)
    needs = ITEMS["figure6"].needs
    selection = select(load_rows([store]), needs)
    assert selection is not None
    table = declared_numbers(selection)
    grid = selection.grids[0]
    for column in needs.curves:
        curve = grid.curve(column)
        here = table[(table["grid"] == grid.name) & (table["metric"] == column) & table["step"].notna()]
        assert len(curve) > 5
        for name in ("step", "n", "mean", "low", "high"):
            np.testing.assert_array_equal(here[name].to_numpy(float), curve[name])
    final = table[table["step"].isna()]
    assert set(final["metric"]) == set(needs.metrics)
    assert len(final) == len(selection.grids) * len(needs.metrics)


@pytest.mark.parametrize("name", DRAWN)
def test_text_is_readable_and_in_nobodys_way(name: str) -> None:
    figure, _ = _drawn(name)
    assert_no_text_overlaps_or_leaves_the_page(figure, least=20)
    assert_text_is_readable_in_print(figure, least=20)


def test_ticks_of_many_digits_do_not_push_labels_off_the_page() -> None:
    selection = _selected("rate_distortion", [
        *rows(2, quantizer="vq", dimension=[2, 32], codebook_size=[16, 1024], factors=[16, 256], init_bound=1.0),
        *rows(2, quantizer="dvq", dimension=[2, 32], codebook_size=32, slices=2, factors=[16, 256], init_bound=1.0),
    ])  # fmt: skip
    tiny = selection.rows.assign(loss_over_variance=selection.rows["loss_over_variance"] / 100)
    figure, _ = draw("rate_distortion", replace(selection, rows=tiny))
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert max(map(len, ticks)) >= 5
    assert_no_text_overlaps_or_leaves_the_page(figure, least=20)


def test_a_figure_brings_the_numbers_that_it_draws_and_equal_rows_equal_bytes() -> None:
    selection = _selected("static_prior_appendix")
    product = ITEMS["static_prior_appendix"].product(selection)
    table = _csv(product.files[".csv"])
    assert list(table.columns) == [
        "quantizer", "dimension", "factors", "codebook_size", "init_bound", "slices", "metric",
        "n", "wanted", "mean", "deviation", "low", "high",
    ]  # fmt: skip
    losses = table[(table["quantizer"] == "vq") & (table["metric"] == "test_mse")]
    points = selection["vq"].means("test_mse")
    for column in ("dimension", "factors", "codebook_size", "init_bound", "n", "mean", "deviation", "low", "high"):
        np.testing.assert_array_equal(losses[column], points[column])
    again = ITEMS["static_prior_appendix"].product(_selected("static_prior_appendix", _sweep()[::-1]))
    assert dict(again.files) == dict(product.files)
    with_lists = _selected("code_use")
    assert digest(with_lists) == digest(_selected("code_use", _sweep()[::-1]))
    wider = [{**c, "perplexity": [c["perplexity"][0] + 1e-9] * c["slices"]} for c in _sweep()]
    assert digest(with_lists) != digest(_selected("code_use", wider))


def test_the_table_of_factors_says_losses_bits_and_parameters() -> None:
    product = ITEMS["static_prior_table"].product(_selected("static_prior_table"))
    lines = product.files[".md"].decode().splitlines()
    assert lines[2] == "| quantizer | bits | parameters | test loss: F = 16 | test loss: F = 64 |"
    half = stats.t.ppf(0.975, 2) * stats.sem([20.0, 20.1, 23.2])
    assert f"| VQ, K = 4 | 2 | 16 | 21.10 ± {half:.2f} | 21.10 ± {half:.2f} |" in lines
    at = lines.index("| **D = 16** |  |  |  |  |")
    assert any(line.startswith("| DVQ, K = 4, L = 4 | 8 | 64 |") for line in lines[at:])
    table = _csv(product.files[".csv"])
    assert set(table["metric"]) == set(ITEMS["static_prior_table"].needs.metrics)
    assert len(table) == 5 * (2 * 4 + 2 * 4 + 4)
    assert b"$K = 4$" in product.files[".tex"]


def test_the_table_of_dimensions_has_a_section_for_each_bound_and_says_what_is_missing() -> None:
    cells = _failed(_sweep(), quantizer="vq", codebook_size=4, dimension=4, init_bound=10.0)
    cells = _failed(cells, quantizer="vq", codebook_size=4, dimension=16, init_bound=10.0, seed=2)
    product = ITEMS["static_prior_table_dimensions"].product(_selected("static_prior_table_dimensions", cells))
    text = product.files[".md"].decode()
    assert [line.strip("|* ") for line in text.splitlines() if line.startswith("| **")] == [
        "initial codes uniform in ±1", "initial codes uniform in ±10", "k-means",
    ]  # fmt: skip
    assert "| VQ, K = 4 | 2 | missing | 20.05 ± 0.64 (n = 2) |" in text
    assert "INCOMPLETE, 4 of" in product.caption


def test_the_cost_of_fits_is_reported_by_machine() -> None:
    cells = [
        {**cell, "run_device": "other processor"} if cell["quantizer"] == "vq" and cell["dimension"] == 16 else cell
        for cell in _sweep()
    ]
    product = ITEMS["static_prior_cost"].product(_selected("static_prior_cost", cells))
    table = _csv(product.files[".csv"])
    assert set(table["run_device"]) == {"made-up processor", "other processor"}
    vq = table[(table["quantizer"] == "vq") & (table["codebook_size"] == 4) & (table["dimension"] == 16)].iloc[0]
    assert vq["run_device"] == "other processor"
    assert (vq["fits"], vq["median_seconds"]) == (2 * 2 * 3, 3.0)
    assert vq["median_step_microseconds"] == 1e6 * 3.0 / 4000
    assert vq["fits_per_core_hour"] == 1200
    assert table.loc[table["quantizer"] == "kmeans", "median_step_microseconds"].isna().all()
    lines = product.files[".md"].decode().splitlines()
    titles = [line.strip("|* ") for line in lines if line.startswith("| **")]
    assert titles[0] == "median seconds of a fit, made-up processor \\[1\\]"
    assert titles[-1] == "fits per core hour, other processor \\[2\\]"
    assert "| VQ, K = 4 | 3.00 | – |" in lines
    assert "| VQ, K = 4 | – | 3.00 |" in lines


def test_values_are_spread_from_the_first_to_the_last() -> None:
    assert spread((2, 4, 8, 16, 32, 64, 128, 256), 4) == (2, 8, 64, 256)
    assert spread((1, 2), 4) == (1, 2)


@pytest.mark.parametrize(("ratio", "scale"), [(1.0, "linear"), (30.0, "log")])
def test_losses_that_differ_by_powers_have_a_scale_of_ratios(ratio: float, scale: str) -> None:
    cells = [{**cell, "test_mse": cell["test_mse"] / (ratio if cell["dimension"] == 4 else 1)} for cell in _sweep()]
    figure, _ = draw("figure4", _selected("figure4", cells))
    assert {axes.get_yscale() for axes in figure.axes} == {scale}
    for axes in figure.axes:
        heights = np.concatenate([y for _, y in drawn_points(axes)])
        low, high = axes.get_ylim()
        assert low < heights.min() < heights.max() < high
        assert (low == 0) == (scale == "linear")
