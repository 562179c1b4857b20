"""What the learned prior's figures of bits, codes and slices and its table of costs choose, refuse and show."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.data.selection import Selection, select
from analysis.draw.looks import known_look
from analysis.figures import ITEMS
from analysis.figures.learned_prior._models import entries_of, of_each
from analysis.output.product import UnfitError
from dvq_ray.experiment.registry import find_experiment
from tests.analysis.looking import (
    assert_no_text_overlaps_or_leaves_the_page,
    assert_text_is_readable_in_print,
    draw,
    legends,
)
from tests.analysis.made_up import Row, made_up_rows
from tests.analysis.made_up_images import PAPER, SMALL, sweep
from tests.analysis.summary_of import Summary, summary_of

NAMES = (
    "bits_split",
    "equal_bits_images",
    "rate_distortion_images",
    "bits_over_slices",
    "slice_dependence",
    "code_use_images",
    "cost",
)
METRICS = set(find_experiment("learned_prior").metrics.__dataclass_fields__)  # type: ignore[attr-defined]
SLICED = [{"quantizer": "dvq", "dimension": 64, "slices": slices} for slices in (1, 2, 4)]


def selected(name: str, cells: Iterable[Row]) -> Selection:
    selection = select(made_up_rows(cells), ITEMS[name].needs)
    assert selection is not None
    assert selection.faults() == []
    return selection


def failing(cells: Iterable[Row], **values: Any) -> list[Row]:
    """The cells, of which those with these values diverged."""
    return [
        {**{k: v for k, v in cell.items() if k not in METRICS}, "status": "diverged"}
        if all(cell[k] == v for k, v in values.items())
        else cell
        for cell in cells
    ]


def summary(cells: Iterable[Row], metric: str, **values: Any) -> Summary:
    return summary_of(c[metric] for c in cells if all(c[k] == v for k, v in values.items()))


def paper() -> list[Row]:
    """Three data sets at the paper's sizes; SVQ was not run on all of them."""
    sizes = {"codebook_size": 512, "steps": 100_000}
    return [
        *sweep(PAPER, 3, dataset="cifar10", **sizes),
        *sweep(PAPER[:5], 2, dataset="imagenet32", **sizes),
        *sweep(PAPER[:4], 2, dataset="imagenet64", image_size=64, **sizes),
    ]


def assert_fit_to_print(figure: Figure) -> None:
    assert_no_text_overlaps_or_leaves_the_page(figure, least=7)
    assert_text_is_readable_in_print(figure, least=7)
    width, height = figure.get_size_inches()
    assert (width, height < 9) == (7, True)
    for axes in figure.axes:
        for text in axes.texts:
            assert text.get_window_extent().x1 <= width * figure.dpi, text.get_text()


def test_bits_are_split_into_parts_that_add_up_to_the_bounds() -> None:
    cells = sweep()
    figure, caption = draw("bits_split", selected("bits_split", cells))
    assert_fit_to_print(figure)
    (axes,) = figure.axes
    assert axes.get_xlim()[0] == 0
    parts = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    ends = [(part.get_x(), part.get_x() + part.get_width()) for part in parts[9:12]]  # of the fourth model
    names = ("reconstruction_bits_per_dim", "total_bits_per_dim_unigram", "total_bits_per_dim_uniform")
    reconstruction, unigram, uniform = (summary(cells, name, quantizer="dvq") for name in names)
    expected = [(0, reconstruction.mean), (reconstruction.mean, unigram.mean), (unigram.mean, uniform.mean)]
    np.testing.assert_allclose(ends, expected)
    half = unigram.high - unigram.mean
    text = f"{reconstruction.mean:.2f} + 0.40 = {unigram.mean:.2f} ± {half:.2f} ({uniform.mean:.2f})"
    assert text in [text.get_text() for text in axes.texts]
    assert "n = 3 seeds" in caption
    assert "upper bounds" in caption


def test_missing_values_are_marked_at_the_row_names_and_in_the_caption() -> None:
    cells = failing(failing(sweep(), quantizer="dvq", seed=1), joint_codebooks=4)
    selection = selected("bits_split", cells)
    figure, caption = draw("bits_split", selection)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[2:4] == ["VQ, D = 16, J = 4, n = 0 of 3", "DVQ, D = 64, L = 4, n = 2 of 3"]
    assert [text.get_text() for text in axes.texts].count("no value") == 1
    assert "INCOMPLETE, 4 of 18 cells are missing or failed: vq dimension=16 joint_codebooks=4: seeds 0-2" in caption
    assert_fit_to_print(figure)


def test_equal_bits_and_equal_parameters_on_every_data_set() -> None:
    cells = paper()
    figure, caption = draw("equal_bits_images", selected("equal_bits_images", cells))
    assert_fit_to_print(figure)
    bits, parameters = figure.axes[:2]
    assert len(figure.axes) == 6
    totals = [line for line in bits.get_lines() if line.get_linestyle() == ":"]
    for line in totals:
        (x0, x1), (y0, y1) = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        assert x0 == 0
        assert x0 + y0 == pytest.approx(x1 + y1)
    assert len(totals) > 3
    here = {"quantizer": "dvq", "dataset": "cifar10"}
    reconstruction = summary(cells, "reconstruction_bits_per_dim", **here).mean
    total = summary(cells, "total_bits_per_dim_unigram", **here).mean
    colour = known_look("dvq", 10).colour
    dots = [float(np.asarray(line.get_ydata(), float)[0]) for line in parameters.get_lines()
            if line.get_color() == colour and line.get_marker() == known_look("dvq", 10).marker]  # fmt: skip
    assert sorted(dots) == pytest.approx([reconstruction, total])
    assert bits.get_ylim() == parameters.get_ylim()
    assert bits.get_xlabel() == ""
    assert figure.axes[5].get_xlabel() == "parameters (millions)"
    assert "n = 3 seeds (CIFAR-10 32×32) and n = 2 seeds" in caption


@pytest.mark.long
def test_distortion_over_rate_says_why_no_theory_is_drawn_and_names_what_lacks() -> None:
    cells = failing(sweep(), joint_codebooks=4)
    figure, caption = draw("rate_distortion_images", selected("rate_distortion_images", cells))
    assert_fit_to_print(figure)
    assert "No curve of theory" in caption
    assert "higher is better" in caption
    uniform, unigram = figure.axes
    assert uniform.get_xlim() == unigram.get_xlim()
    ratio = summary(cells, "psnr_db", quantizer="dvq").mean
    look = known_look("dvq", 4)
    for axes, rate in ((uniform, 0.5), (unigram, 0.4)):
        (dot,) = [line for line in axes.get_lines()
                  if (line.get_color(), line.get_marker()) == (look.colour, look.marker)]  # fmt: skip
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx((rate, ratio))  # type: ignore[index]
    texts = [text.get_text() for legend in legends(figure) for text in legend.get_texts()]
    assert "VQ, D = 16, J = 4, n = 0 of 3" in texts


def test_models_of_one_colour_are_told_apart_by_their_markers() -> None:
    models = [{**model, "codebook_size": size} for model in SLICED for size in (16, 512)]
    found = entries_of(selected("equal_bits_images", sweep(models)))
    looks = [entry.look for entries in found.values() for entry in entries]
    assert len({look.colour for look in looks}) == 3
    assert len({(look.colour, look.marker) for look in looks}) == 6


def test_bits_over_slices_takes_three_slice_counts_of_one_width() -> None:
    rows = made_up_rows([*sweep(), *sweep(SLICED[:2])])
    assert select(rows, ITEMS["bits_over_slices"].needs) is not None  # with the DVQ of `SMALL`
    assert select(made_up_rows(sweep(SLICED[:2])), ITEMS["bits_over_slices"].needs) is None
    assert select(made_up_rows(sweep()), ITEMS["bits_over_slices"].needs) is None
    narrow = [{**model, "dimension": 32} for model in SLICED[:2]]
    cells = [*sweep([*SLICED, *narrow]), *sweep(SMALL[:1])]
    selection = selected("bits_over_slices", cells)
    assert [grid.name for grid in selection.grids] == ["dvq", "dvq slices=2", "dvq slices=4"]
    figure, caption = draw("bits_over_slices", selection)
    assert_fit_to_print(figure)
    (axes,) = figure.axes
    assert axes.get_title() == "D = 64, K = 64"
    lines = [line for line in axes.get_lines() if line.get_marker() in ("o", "s", "^") and len(line.get_xdata()) == 3]  # type: ignore[arg-type]
    names = ("reconstruction_bits_per_dim", "total_bits_per_dim_unigram", "total_bits_per_dim_uniform")
    for line, name in zip(lines, names, strict=True):
        np.testing.assert_array_equal(np.asarray(line.get_xdata()), [1, 2, 4])
        means = [summary(cells, name, slices=slices, dimension=64, quantizer="dvq").mean for slices in (1, 2, 4)]
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), means)
    assert "the best L is where they are lowest" in caption


def test_slice_dependence_leaves_out_models_with_one_code_at_a_position() -> None:
    cells = sweep()
    selection = selected("slice_dependence", cells)
    names = [entry.label for entries in entries_of(selection).values() for entry in entries]
    assert names == ["VQ, D = 16, J = 4", "DVQ, D = 64, L = 4"]
    product = ITEMS["slice_dependence"].product(selection)
    numbers = pd.read_csv(io.BytesIO(product.files[".csv"])).set_index(["quantizer", "metric"])
    for column in ("slice_dependence_bits", "slice_dependence_bits_refit", "slice_dependence_bits_shuffled"):
        expected = summary(cells, column, quantizer="dvq")
        found = numbers.loc[("dvq", column), ["n", "mean", "low", "high"]]
        assert list(found) == pytest.approx([3, expected.mean, expected.low, expected.high])
    assert ("vq", "slice_dependence_bits_refit") not in numbers.index
    assert numbers.loc[("dvq", "sum of code entropies"), "mean"] == pytest.approx(4 * math.log2(32))
    figure, caption = draw("slice_dependence", selection)
    assert_fit_to_print(figure)
    most = [line for line in figure.axes[1].get_lines() if line.get_linestyle() == ":"]
    assert float(np.asarray(most[0].get_xdata(), float)[0]) == pytest.approx(math.log2(3808 * 64))
    assert "features dealt to slices at random" in caption
    assert select(made_up_rows(sweep(SMALL[4:])), ITEMS["slice_dependence"].needs) is None


def test_code_use_is_the_mean_over_codebooks_as_a_share_of_their_size() -> None:
    selection = selected("code_use_images", sweep())
    numbers = pd.read_csv(io.BytesIO(ITEMS["code_use_images"].product(selection).files[".csv"])).set_index(
        ["quantizer", "dimension", "joint_codebooks", "metric"]
    )
    assert numbers.loc[("vq", 16, 1, "codes_used / codebook_size"), "mean"] == 1
    assert numbers.loc[("vq", 16, 4, "codes_used / codebook_size"), "mean"] == 0.875
    assert numbers.loc[("dvq", 64, 1, "perplexity / codebook_size"), "mean"] == 0.5
    figure, caption = draw("code_use_images", selection)
    assert_fit_to_print(figure)
    assert all(axes.get_xlim() == (0, 1.03) for axes in figure.axes)
    assert "training images" in caption


@pytest.mark.parametrize("held", [None, np.nan, [], [3.0, np.nan]])
def test_a_finished_cell_without_its_list_is_named(held: Any) -> None:
    rows = pd.DataFrame({"cell_id": ["a", "b"], "codes_used": [np.array([3, 5]), held]})
    assert list(of_each("codes_used", lambda entries: float(entries.sum()))(rows[:1])) == [8]
    with pytest.raises(UnfitError, match="cell b finished without codes_used"):
        of_each("codes_used", lambda entries: float(entries.sum()))(rows)


def test_costs_of_different_devices_and_versions_are_never_averaged() -> None:
    cells = sweep(SMALL[2:4])
    other = {"run_device": "Another", "images_per_second": 600.0}
    newer = {"run_versions": '{"python": "3.12.1", "torch": "2.14.0"}', "images_per_second": 900.0}
    cells = [{**cell, **(other if cell["seed"] == 2 else newer if cell["seed"] == 1 else {})} for cell in cells]
    product = ITEMS["cost"].product(selected("cost", cells))
    assert set(product.files) == {".csv", ".md", ".tex"}
    table = pd.read_csv(io.BytesIO(product.files[".csv"]))
    assert sorted(table["images_per_second"]) == [300, 300, 600, 600, 900, 900]
    assert set(table["n"]) == {1}
    assert table["images_per_second_low"].isna().all()
    assert product.table is not None
    assert [section.title for section in product.table.sections] == [
        "Photographs 32×32 on Another, python 3.11.7, torch 2.13.0",
        "Photographs 32×32 on Made-up Device, python 3.11.7, torch 2.13.0",
        "Photographs 32×32 on Made-up Device, python 3.12.1, torch 2.14.0",
    ]


def test_the_table_of_costs_counts_and_has_intervals_where_seeds_are_several() -> None:
    cells = [{**cell, "images_per_second": 300.0 + 10 * cell["seed"]} for cell in sweep(SMALL[:4])]
    product = ITEMS["cost"].product(selected("cost", failing(cells, quantizer="dvq", seed=1)))
    speed = summary_of([300, 310, 320])
    table = pd.read_csv(io.BytesIO(product.files[".csv"])).set_index("model")
    line = table.loc["VQ, D = 16"]
    found = [line["n"], line["images_per_second"], line["images_per_second_low"], line["images_per_second_high"]]
    assert found == pytest.approx([3, speed.mean, speed.low, speed.high])
    assert line["seconds_per_1000_steps"] == pytest.approx(np.mean([32_000 / speed for speed in (300, 310, 320)]))
    assert line["peak_memory_mebibytes"] == pytest.approx(1e9 / 2**20)
    assert line["code_bits_per_image_uniform"] == 64 * 6
    assert table.loc["DVQ, D = 64, L = 4", "code_bits_per_image_uniform"] == 4 * 64 * 6
    text = product.files[".md"].decode()
    assert f"310.0 ± {speed.high - speed.mean:.1f}" in text
    assert "| 2 of 3 |" in text
    assert "INCOMPLETE" in product.caption
    assert product.files[".tex"].decode().count("\\midrule") == 1


def test_costs_of_unequal_trainings_are_refused() -> None:
    cells = [*sweep(SMALL[:1]), *sweep(SMALL[2:3], batch_size=64)]
    selection = select(made_up_rows(cells), ITEMS["cost"].needs)
    assert selection is not None
    assert selection.faults() == [
        "unequal batch_size: 32 (vq dimension=16); 64 (vq dimension=64); keep one with --only batch_size=32"
    ]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cost"])
def test_figures_of_unequal_trainings_are_refused(name: str) -> None:
    cells = [*sweep(SLICED), *sweep(SLICED[2:], steps=800)]
    selection = select(made_up_rows(cells), ITEMS[name].needs)
    assert selection is not None
    assert "steps" in selection.faults()[0]


def test_equal_rows_give_equal_bytes() -> None:
    cells = sweep()
    first, second = (ITEMS["slice_dependence"].product(selected("slice_dependence", order)) for order in
                     (cells, cells[::-1]))  # fmt: skip
    assert first.files == second.files
    assert first.caption == second.caption


def test_every_item_names_sweeps_that_provide_it() -> None:
    for name in NAMES:
        assert ITEMS[name].needs.sweeps
    assert ITEMS["bits_over_slices"].needs.sweeps == ("sweeps/slices.yaml",)
