"""The figure of blobs on a product: what it chooses and draws, and when it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data.selection import Selection, select
from analysis.figures import ITEMS
from analysis.figures.static_prior import factorial
from dvq_ray.experiment.registry import find_experiment
from tests.analysis import made_up
from tests.analysis.looking import (
    assert_no_text_overlaps_or_leaves_the_page,
    assert_text_is_readable_in_print,
    draw,
    drawn_points,
    legends,
    means_of,
    names_at_ends,
)
from tests.analysis.made_up import Row, made_up_rows

SEEDS = 3


def loss(quantizer: str, size: int, groups: int, dependence: float, seed: int) -> float:
    level = {"vq": 20.0, "dvq": 5.0, "kmeans": 3.0}[quantizer]
    return level + groups / 4 - dependence - size / 100 + 0.1 * seed


def cells(dimension: int = 64, sizes: tuple[int, ...] = (16, 32, 64), scale: float = 1.0) -> Iterator[Row]:
    """Two, four and eight independent groups, and four that depend; the plain VQ of 64 codes is never run on these."""
    worlds = [(2, 0.0), (4, 0.0), (8, 0.0), (4, 0.5), (4, 1.0)]
    for (groups, dependence), quantizer, size in itertools.product(worlds, ("vq", "dvq", "kmeans"), sizes):
        if size == 64 and (quantizer != "vq" or dependence):
            continue
        cut = {} if quantizer == "vq" else {"slices": groups}
        fields = {
            "dimension": dimension,
            "groups": groups,
            "centres": 16,
            "dependence": dependence,
            "codebook_size": size,
        }
        for seed in range(SEEDS):
            cell = made_up.identity(
                find_experiment("factorial_prior"), seed=seed, status="ok", quantizer=quantizer, **fields, **cut
            )
            measured = {
                "test_mse": scale * loss(quantizer, size, groups, dependence, seed),
                "data_variance": 34.0,
                "bits_per_vector": cell["slices"] * float(np.log2(size)),
            }
            yield {**cell, **made_up.RAN_ON, **measured}


def selected(rows: list[Row]) -> Selection:
    selection = select(made_up_rows(rows), ITEMS["factorial"].needs)
    assert selection is not None
    return selection


@pytest.fixture(scope="module")
def drawn() -> Figure:
    return draw("factorial", selected(list(cells())))[0]


def lines(axes: Axes) -> list[list[tuple[float, float]]]:
    """Where the means of each model are drawn, to eight decimals."""
    return [list(zip(x.tolist(), y.round(8).tolist(), strict=True)) for x, y in drawn_points(axes)]


def mean_loss(quantizer: str, size: int, groups: int, dependence: float) -> float:
    return round(loss(quantizer, size, groups, dependence, seed=0) + 0.1 * (SEEDS - 1) / 2, 8)


def test_losses_are_drawn_over_independent_groups_and_over_their_dependence(drawn: Figure) -> None:
    over_groups, over_dependence = drawn.axes
    assert lines(over_groups) == [
        [(float(groups), mean_loss(quantizer, size, groups, 0.0)) for groups in (2, 4, 8)]
        for quantizer, sizes in (("vq", (16, 32, 64)), ("kmeans", (16, 32)), ("dvq", (16, 32)))
        for size in sizes
    ]
    assert lines(over_dependence) == [
        [(dependence, mean_loss(quantizer, size, 4, dependence)) for dependence in (0.0, 0.5, 1.0)]
        for quantizer in ("vq", "kmeans", "dvq")
        for size in (16, 32)
    ]


def test_every_model_has_its_name_at_its_end_or_in_the_legend_and_a_look_of_its_own(drawn: Figure) -> None:
    entries = [text.get_text() for legend in legends(drawn) for text in legend.get_texts()]
    assert entries == ["VQ, K = 64", "the blobs' own spread"], "what the panel on the right does not have"
    assert {*names_at_ends(drawn)} == {
        "VQ, K = 16", "VQ, K = 32", "DVQ, K = 16", "DVQ, K = 32", "k-means, cut as DVQ, K = 16",
        "k-means, cut as DVQ, K = 32",
    }  # fmt: skip
    models = means_of(drawn.axes[0])
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in models}) == len(models)


def test_each_panel_says_what_it_goes_over(drawn: Figure) -> None:
    assert "groups" in drawn.axes[0].get_xlabel()
    assert "ρ" in drawn.axes[1].get_xlabel()
    assert_no_text_overlaps_or_leaves_the_page(drawn, least=10)
    assert_text_is_readable_in_print(drawn, least=10)


def test_a_cell_that_is_not_there_is_named() -> None:
    lost = {"quantizer": "dvq", "codebook_size": 16, "groups": 8, "seed": 1}
    some = [cell for cell in cells() if any(cell[column] != value for column, value in lost.items())]
    assert selected(some).holes() == ["dvq over groups groups=8 codebook_size=16 slices=8: seed 1 missing"]


def test_groups_that_were_never_made_to_depend_leave_out_that_panel() -> None:
    selection = selected([cell for cell in cells() if not cell["dependence"]])
    figure, caption = draw("factorial", selection)
    assert len(figure.axes) == 1
    assert "n = 3" in caption


def test_quantizers_that_are_not_cut_along_the_groups_make_no_figure() -> None:
    whole = [cell for cell in cells() if cell["quantizer"] == "vq"]
    assert select(made_up_rows(whole), ITEMS["factorial"].needs) is None


def test_a_line_is_of_one_dimension_that_with_most_points() -> None:
    few = [cell for cell in cells(dimension=32) if cell["groups"] == 2]
    selection = selected([*cells(), *few])
    assert {grid.axes["dimension"] for grid in selection.grids} == {(64,)}
    assert selection.faults() == []
    assert "D = 64 features" in draw("factorial", selection)[1]


def test_losses_below_the_blobs_spread_are_inside_of_the_panels() -> None:
    figure, _ = draw("factorial", selected([*cells(scale=0.01)]))
    for axes in figure.axes:
        assert axes.get_ylim()[0] < min(float(losses.min()) for _, losses in drawn_points(axes))


def test_each_of_three_codebook_sizes_has_a_look_of_its_own() -> None:
    looks = [factorial._look(quantizer, size, 16) for quantizer in ("vq", "dvq", "kmeans") for size in (8, 16, 32, 64)]
    assert len({(look.colour, look.marker) for look in looks}) == len(looks)
