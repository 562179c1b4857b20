from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from analysis.build import Absent, Attempt, Made, Refused, make
from analysis.data.rows import load_rows
from analysis.figures import ITEMS
from analysis.figures.search._selection import SearchSelection, searched
from analysis.output.product import Output
from dvq_ray.search.identity import study_name
from dvq_ray.store import Store
from dvq_ray.sweep.spec import parse_sweep
from tests.analysis.looking import (
    assert_no_text_overlaps_or_leaves_the_page,
    assert_text_is_readable_in_print,
    draw,
    legends,
)
from tests.analysis.made_up import RAN_ON, STATIC_PRIOR, Row, identity, write
from tests.analysis.made_up import rows as grid_rows
from tests.analysis.small_report import report_of

SWEEP = """\
name: made_up
trainable: static_prior
seeds: 2
fixed: {{dimension: 16, factors: 64}}
search:
  objective: {objective}
  suggestions: 9
  max_bits: 64
  space:
    codebook_size: {{choices: [2, 4]}}
    slices: {{choices: [1, 2, 4, 8, 16]}}
"""
ONE, TWO = "{test_mse: minimize}", "{test_mse: minimize, bits_per_vector: minimize}"
_SEARCH = parse_sweep(SWEEP.format(objective=ONE), "made_up.yaml").search
assert _SEARCH is not None
STUDY = study_name("made_up", _SEARCH)
NAMES = ("search_history", "search_fields", "search_importance", "search_front", "search_best")


def cells(number: int, losses: Iterable[float | str], *, slices: int, first_seed: int = 0, size: int = 4) -> list[Row]:
    """Cells of a suggestion, one for each loss; a word in the place of a loss is a status."""
    fields = {"quantizer": "dvq", "dimension": 16, "factors": 64, "slices": slices, "codebook_size": size}
    found = []
    for seed, loss in enumerate(losses, start=first_seed):
        status = loss if isinstance(loss, str) else "ok"
        row = {**identity(STATIC_PRIOR, seed=seed, status=status, **fields), **RAN_ON, "search_suggestion": number}
        if status == "ok":
            row |= {"test_mse": loss, "bits_per_vector": slices * np.log2(size), "search_objective": loss}
        stopped = {"search_stopped_at_step": 100, "search_study": STUDY} if status == "stopped" else {}
        found.append(row | stopped)
    return found


EVENTFUL = [
    *cells(0, [4.0, 6.0], slices=1),
    *cells(1, [2.0, 4.0], slices=2),
    *cells(2, ["stopped"], slices=4),
    *cells(3, [1.0, "error"], slices=8),
    *cells(4, [6.0], slices=2, first_seed=2),  # repeats the best, whose mean goes from 3 to 4
    *cells(5, [3.5, 3.9], slices=16),
    *cells(6, [1.0], slices=1, size=2),
]


def store_of(folder: Path, rows: Iterable[Row], objective: str = ONE) -> str:
    location = write(folder / "store", rows)
    Store(location).write_sweep(SWEEP.format(objective=objective))
    return location


def attempt_at(name: str, *stores: str) -> Attempt:
    return make(ITEMS[name], load_rows(stores), allow_missing=False)


def selected(location: str) -> SearchSelection:
    item = ITEMS["search_history"]
    selection = item.select(load_rows([location]), item.needs)
    assert selection is not None
    return searched(selection)


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> str:
    return store_of(tmp_path_factory.mktemp("eventful"), EVENTFUL)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = [
        *cells(0, [4.0, 6.0], slices=1),  # 2 bits: 5, on the front
        *cells(1, [3.0, 3.2], slices=2),  # 4 bits: 3.1, on the front
        *cells(2, [3.5, 3.7], slices=4),  # 8 bits: worse than the one before
        *cells(3, [1.0, 1.2], slices=8),  # 16 bits: 1.1, on the front
    ]
    return store_of(tmp_path_factory.mktemp("two"), rows, TWO)


def test_the_history_knows_each_suggestion_and_the_best_so_far(eventful: str) -> None:
    table = selected(eventful).history("test_mse").set_index("suggestion")
    complete, failed, stopped = "complete", "failed", "stopped early"
    assert [*table["state"]] == [complete, complete, stopped, failed, complete, complete, "underway"]
    assert [*table["mean"][[0, 1, 4, 5]]] == pytest.approx([5.0, 3.0, 4.0, 3.7])
    assert table["mean"][[2, 3, 6]].isna().all()
    assert [*table["n"]] == [2, 2, 0, 0, 3, 2, 0]
    assert [*table.index[table["repeats"]]] == [4]
    assert [*table["best_so_far"]] == pytest.approx([5.0, 3.0, 3.0, 3.0, 4.0, 3.7, 3.7])


def test_a_point_has_the_mean_and_the_interval_of_all_its_repetitions(eventful: str) -> None:
    selection = selected(eventful)
    point = selection.means("test_mse").set_index("slices").loc[2]
    assert (point["suggestion"], point["n"], point["mean"]) == (1, 3, pytest.approx(4.0))
    assert point["high"] - point["mean"] == pytest.approx(4.302653 * 2.0 / np.sqrt(3), rel=1e-6)
    (best,) = selection.best()
    assert best == selection.means("test_mse").set_index("slices")["point_id"][16]


def test_more_is_better_where_an_objective_is_maximised(tmp_path: Path) -> None:
    selection = selected(store_of(tmp_path, EVENTFUL, "{test_mse: maximize}"))
    assert [*selection.history("test_mse")["best_so_far"]] == [5.0] * 7


def test_a_front_holds_the_points_that_no_other_beats_in_both_objectives(two: str) -> None:
    selection = selected(two)
    slices = selection.means("test_mse").set_index("point_id")["slices"]
    assert [slices[point_id] for point_id in selection.best()] == [8, 2, 1]


def test_repetitions_of_a_grid_beyond_those_of_the_search_are_not_its_own(tmp_path: Path) -> None:
    known = dict.fromkeys(("search_suggestion", "search_objective"))
    more = [{**row, **known} for row in cells(0, [100.0] * 3, slices=1, first_seed=7)]
    other = cells(1, [0.0, 0.0], slices=1, size=64)  # of a search of another space
    selection = selected(store_of(tmp_path, [*EVENTFUL, *more, *other]))
    assert selection.means("test_mse").set_index("slices").loc[1, "mean"] == 5.0
    assert selection.left_out == ("left out: 2 cells that other searches in the store suggested",)


def drawn(selection: SearchSelection, name: str) -> tuple[matplotlib.figure.Figure, str]:
    figure, caption = draw(name, selection)
    assert_no_text_overlaps_or_leaves_the_page(figure, least=8)
    assert_text_is_readable_in_print(figure, least=8)
    return figure, caption


def test_the_history_shows_what_was_stopped_failed_and_repeated(eventful: str) -> None:
    figure, caption = drawn(selected(eventful), "search_history")
    (axes,) = figure.axes
    entries = [text.get_text() for legend in legends(figure) for text in legend.get_texts()]
    assert len(entries) == len(set(entries)) == 5
    by_marker = {str(line.get_marker()): np.asarray(line.get_xdata()).tolist() for line in axes.get_lines()}
    assert (by_marker["v"], by_marker["x"], by_marker["D"]) == ([2], [3], [4])
    assert "4 complete, 1 stopped early, 1 failed, 1 underway, of 9 wanted; only complete ones have a value" in caption
    assert "n = 2 Monte-Carlo repetitions (up to 3 of points that were suggested again)" in caption
    assert "lower is better" in caption
    assert "winner's curse" in caption


@pytest.mark.long
@pytest.mark.parametrize("name", ["search_history", "search_fields", "search_parallel", "search_front"])
def test_a_mark_is_named_by_its_suggestion_and_fields(eventful: str, two: str, name: str) -> None:
    store = two if name == "search_front" else eventful
    made = make(ITEMS[name], load_rows([store]), allow_missing=False, output=Output.PAGE)
    assert isinstance(made, Made)
    assert made.product.picture is not None
    marks = made.product.picture.marks
    table = pd.read_csv(BytesIO(made.product.files[".csv"]))
    means = table[(table["metric"] == "test_mse") & table["mean"].notna()]
    assert {(marks.names[point[2]], point[5]) for point in marks.points} == {
        (f"suggestion {number:g}: codebook size {size:g}, slices {slices:g}", float(f"{mean:.4g}"))
        for number, size, slices, mean in means[["suggestion", "codebook_size", "slices", "mean"]].values
    }


def test_each_field_has_a_panel_in_the_order_of_the_file_and_each_objective_a_row(two: str) -> None:
    figure, _ = drawn(selected(two), "search_fields")
    assert [axes.get_title() for axes in figure.axes] == ["codebook size", "slices"] * 2
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()] == [
        "1\n(1)", "2\n(1)", "4\n(1)", "8\n(1)", "16\n(0)",
    ]  # fmt: skip


def test_the_line_of_the_front_goes_through_its_points(two: str) -> None:
    figure, caption = drawn(selected(two), "search_front")
    line = figure.axes[0].get_lines()[0]
    assert np.asarray(line.get_xdata()).tolist() == [2, 4, 16]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx([5.0, 3.1, 1.1])
    assert line.get_drawstyle() == "steps-post"
    assert "95% t-intervals of both objectives" in caption


def test_the_best_points_are_listed_with_their_fields_and_the_curse(eventful: str, two: str) -> None:
    attempt = attempt_at("search_best", eventful)
    assert isinstance(attempt, Made)
    assert attempt.product.table is not None
    (section,) = attempt.product.table.sections
    assert [row[:4] for row in section.rows] == [["5", "4", "16", "2"], ["1", "4", "2", "3"], ["0", "4", "1", "2"]]
    assert section.rows[1][4] == "4.00 ± 4.97"
    assert "winner's curse" in attempt.product.caption
    front = attempt_at("search_best", two)
    assert isinstance(front, Made)
    assert front.product.table is not None
    assert [row[2] for row in front.product.table.sections[0].rows] == ["8", "2", "1"]


def test_importance_is_that_of_the_only_field_that_matters_and_the_same_each_time(tmp_path: Path) -> None:
    pairs = [(slices, size) for slices in (1, 2, 4, 8, 16) for size in (2, 4)]
    rows = [
        row
        for number, (slices, size) in enumerate(pairs)
        for row in cells(number, [slices - 0.1, slices + 0.1], slices=slices, size=size)
    ]
    location = store_of(tmp_path, rows)
    attempt, again = (attempt_at("search_importance", location) for _ in range(2))
    assert isinstance(attempt, Made)
    assert isinstance(again, Made)
    assert attempt.product.files == again.product.files
    (tmp_path / "importance.csv").write_bytes(attempt.product.files[".csv"])
    found = pd.read_csv(tmp_path / "importance.csv").set_index("field")["importance"]
    assert found["slices"] == pytest.approx(1.0, abs=0.02)
    assert found["codebook_size"] == pytest.approx(0.0, abs=0.02)


def test_importance_is_refused_where_there_is_too_little_to_tell(tmp_path: Path, eventful: str) -> None:
    few = attempt_at("search_importance", eventful)
    assert isinstance(few, Refused)
    assert few.reason == "importance takes 10 points that have a value, and there are 3"


def test_items_of_searches_are_absent_or_refused_where_they_cannot_be_made(
    tmp_path: Path, eventful: str, two: str
) -> None:
    assert isinstance(attempt_at("search_front", eventful), Absent)
    grid = write(tmp_path / "grid", grid_rows(2, quantizer="vq", dimension=2, codebook_size=4, factors=16))
    assert all(isinstance(attempt_at(name, grid), Absent) for name in NAMES)
    both = attempt_at("search_history", eventful, two)
    assert isinstance(both, Refused)
    assert "there are 2 searches" in both.reason
    without = write(tmp_path / "without", EVENTFUL)
    silent = attempt_at("search_history", without)
    assert isinstance(silent, Refused)
    assert "keeps no sweep file" in silent.reason
    unfinished = attempt_at("search_best", store_of(tmp_path, cells(0, ["stopped"], slices=1)))
    assert isinstance(unfinished, Refused)
    assert unfinished.reason == "no suggestion of the search is complete"


def test_what_a_search_suggested_is_in_no_grid(tmp_path: Path, eventful: str) -> None:
    grid = write(tmp_path / "grid", grid_rows(2, quantizer="vq", dimension=[2, 4], codebook_size=4, factors=16))
    rows = load_rows([grid, eventful])
    assert set(rows.of("static_prior")["quantizer"]) == {"vq"}
    assert rows.notes == ("cells that a search suggested (11) are in no grid; only items of searches show them",)
    assert isinstance(attempt_at("figure4", eventful), Absent)


def test_the_report_has_a_group_for_searches_and_says_how_far_one_is(eventful: str) -> None:
    page = report_of(eventful, items={name: ITEMS[name] for name in ("search_best", "search_front")}).decode()
    assert page.count("<h3>Searches</h3>") == 1
    assert "The stores hold none of the cells that it needs." in page
    asked = "Its sweep file asks for 9 suggestions of 2 repetitions each."
    assert f"{asked} There are 7: 4 complete, 1 stopped early, 1 failed, 1 underway." in page
