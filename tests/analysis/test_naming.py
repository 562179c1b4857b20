from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.naming import box_text, boxes, number, seeds_text


@pytest.mark.parametrize(
    ("value", "text"), [(16384, "16384"), (10.0, "10"), (17.3, "17.3"), (0.05, "0.05"), (2**20, "1048576")]
)
def test_numbers_are_written_as_people_write_them(value: float, text: str) -> None:
    assert number(value) == text


def test_seeds_are_written_as_runs() -> None:
    assert seeds_text([3]) == "seed 3"
    assert seeds_text([4, 3]) == "seeds 3, 4"
    assert seeds_text([0, 1, 2, 3, 7]) == "seeds 0-3, 7"


@pytest.mark.parametrize("seed", range(20))
def test_boxes_cover_the_cells_and_no_other_and_each_once(seed: int) -> None:
    every = list(itertools.product(range(3), range(4), range(5)))
    random = np.random.default_rng(seed)
    cells = {cell for cell in every if random.random() < 0.7}
    covered = [cell for box in boxes(cells) for cell in itertools.product(*box)]
    assert sorted(covered) == sorted(cells)


def test_a_full_grid_is_one_box() -> None:
    assert boxes(itertools.product((1, 2), (3, 4))) == [((1, 2), (3, 4))]
    assert boxes([]) == []


def test_a_box_is_named_by_what_is_not_common_to_all() -> None:
    axes = {"dimension": (2, 4), "codebook_size": (16, 64), "factors": (4096,)}
    assert box_text("vq", axes, ((2, 4), (16,), (4096,))) == "vq every dimension codebook_size=16"
