"""Search among decoded vectors, against a search written out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dvq_ray.experiments.vectors.neighbours import Search

RNG = np.random.default_rng(0)
QUERIES, ROWS = (RNG.normal(size=(count, 6)).astype(np.float32) for count in (40, 300))
CODES = np.arange(300)[:, None]


def distances(queries: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.square(queries[:, None].astype(np.float64) - rows).sum(-1)
    return found


def test_the_nearest_row_is_exact_also_far_from_the_origin() -> None:
    for shift in (0, 1000):
        queries, rows = QUERIES + np.float32(shift), ROWS + np.float32(shift)
        assert (Search.of(queries, rows).nearest == distances(queries, rows).argmin(1)).all()


def test_of_equal_rows_the_first_is_the_nearest() -> None:
    assert Search.of(QUERIES, np.concatenate([ROWS, ROWS])).nearest.max() < 300


def test_rows_that_are_decoded_to_themselves_are_all_found() -> None:
    search = Search.of(QUERIES, ROWS)
    assert search.recall(CODES, ROWS, (1, 10)) == {1: 1, 10: 1}
    assert search.inner_product_error(ROWS) == search.distance_error(ROWS) == 0


def test_recall_is_the_share_of_queries_whose_nearest_row_comes_early() -> None:
    decoded = ROWS + RNG.normal(scale=0.5, size=ROWS.shape).astype(np.float32)
    search = Search.of(QUERIES, ROWS)
    order = distances(QUERIES, decoded).argsort(1)
    for rank, found in search.recall(CODES, decoded, (1, 5, 100)).items():
        expected = np.mean([search.nearest[i] in order[i, :rank] for i in range(len(QUERIES))])
        assert found == pytest.approx(expected)


def test_rows_with_the_same_code_come_in_random_order() -> None:
    """One code for all: any row is the first with a chance of 1 in 300."""
    search = Search.of(QUERIES, ROWS)
    found = search.recall(np.zeros((300, 1), np.uint8), np.zeros_like(ROWS), (1, 30, 300, 1000))
    assert found == pytest.approx({1: 1 / 300, 30: 0.1, 300: 1, 1000: 1})


def test_errors_are_relative_to_the_mean_size() -> None:
    search = Search.of(QUERIES, ROWS)
    decoded = ROWS * np.float32(1.5)
    assert search.inner_product_error(decoded) == pytest.approx(0.5, rel=1e-5)
    exact, found = distances(QUERIES, ROWS), distances(QUERIES, decoded)
    assert search.distance_error(decoded) == pytest.approx(np.abs(exact - found).mean() / exact.mean(), rel=1e-5)
