"""The sentence above a figure says what its rows show: also of the reverse, of ties, of holes and of one point."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.build import Made, make
from analysis.data.rows import load_rows
from analysis.data.summary import summaries
from analysis.figures import ITEMS
from analysis.figures.generic import named
from analysis.output.messages import best, best_of_each, called, crossing, duel, said, short, tally, trend
from tests.analysis import made_up_images
from tests.analysis.looking import draw
from tests.analysis.made_up import Row, made_up_rows, rows


def means(*samples: Iterable[float], **columns: Iterable[Any]) -> pd.DataFrame:
    """A row for each point, of which these are the repetitions."""
    held = [list(sample) for sample in samples]
    groups = np.repeat(np.arange(len(held)), [len(sample) for sample in held])
    values = np.array([value for sample in held for value in sample], float)
    return pd.DataFrame({**columns, **summaries(values, groups, len(held))})


def around(*centres: float, by: float = 0.1) -> list[list[float]]:
    return [[centre - by, centre, centre + by] for centre in centres]


def test_a_duel_names_the_winner_and_its_reverse() -> None:
    low, high = means(*around(1, 1, 3)), means(*around(2, 2, 2))
    text = "DVQ has a lower loss than VQ at 2 of 3 points, a higher one at 1"
    assert duel("DVQ", "VQ", tally(low, high), "loss") == text
    assert duel("VQ", "DVQ", tally(high, low), "loss") == text
    assert duel("VQ", "DVQ", tally(low, high), "loss") == text.replace("DVQ", "X").replace("VQ", "DVQ").replace(
        "X", "VQ"
    )


def test_overlap_holes_and_single_repetitions_decide_nothing() -> None:
    wide, hole, single = means(*around(1, by=2)), means([]), means([1.0])
    other = means(*around(2))
    assert duel("A", "B", tally(wide, other), "loss") == "A and B cannot be told apart at any of 1 point"
    assert duel("A", "B", tally(single, other), "loss") == "A and B cannot be told apart at any of 1 point"
    assert duel("A", "B", tally(hole, other), "loss") == "no point has both A and B"
    assert tally(means(*around(1)), 1.5).lower == tally(means(*around(2)), 1.5).higher == 1


def test_the_best_is_named_alone_only_if_its_interval_is() -> None:
    clear = dict(zip("abc", means(*around(1, 2, 3)).to_dict("records"), strict=True))
    assert best(clear.items(), "loss", "dB") == "a has the lowest loss, 1.00 dB; next is b, 2.00 dB"
    assert best(clear.items(), "PSNR", higher=True) == "c has the highest PSNR, 3.00; next is b, 2.00"
    tied = dict(zip("abc", means(*around(1, 1.05, 3)).to_dict("records"), strict=True))
    assert best(tied.items(), "loss") == "a and b have the lowest loss, about 1.00, and cannot be told apart"
    vague = dict(zip("abc", means(*around(1, 1.05, 3, by=2)).to_dict("records"), strict=True))
    assert best(vague.items(), "loss") == "a has the lowest loss, 1.00, but cannot be told from 2 of 2 others"
    assert best([("a", clear["a"])], "loss") == "a has a loss of 1.00, and there is no other to compare it with"
    assert best([], "loss") == "there is no loss"


def test_of_several_sets_each_leader_has_its_count() -> None:
    table = means(*around(1, 2, 1.95)).to_dict("records")
    a, b, c = (("a", table[0]), ("b", table[1]), ("c", table[2]))
    assert best_of_each([[a, b], [a, c], [b, c], [b]], "loss", "data sets") == (
        "a has the lowest loss at 2 of 4 data sets; undecided at 2 of 4 data sets"
    )
    assert best_of_each([[a, b]], "PSNR", "data sets", higher=True) == "b has the highest PSNR at 1 of 1 data sets"


def test_a_trend_is_from_the_first_to_the_last_of_each_line() -> None:
    up, down, level = (means(*around(*line)) for line in ((1, 5, 2), (8, 1), (1, 9, 1)))
    assert trend("loss", "D", [up]) == "loss rises with D by a factor of 2.00"
    assert trend("loss", "D", [down]) == "loss falls with D by a factor of 8.00"
    assert trend("loss", "D", [up, up, down, level]) == (
        "loss rises with D in 2 of 4 lines by a factor of 2.00, falls in 1, is undecided in 1"
    )
    assert trend("loss", "D", [level]) == "no change of loss with D can be told from chance in any of 1 lines"
    assert trend("loss", "D", [means(*around(1))]) == "loss has no two points along D"
    assert trend("loss", "D", [means(*around(-1, 1))]) == "loss rises with D", "which has no ratio"


def test_lines_that_cross_once_say_where() -> None:
    flat = means(*around(2, 2, 2, 2), at=[1, 2, 4, 8])
    rising = means(*around(1, 1.5, 2, 3), at=[1, 2, 4, 8])
    text = "B has a lower loss than A up to F = 2, a higher one from F = 8 on"
    assert crossing(("A", flat), ("B", rising), "at", "F", "loss") == text
    assert crossing(("B", rising), ("A", flat), "at", "F", "loss") == text
    twice = means(*around(1, 3, 1, 3), at=[1, 2, 4, 8])
    assert crossing(("A", flat), ("B", twice), "at", "F", "loss") == (
        "A has a lower loss than B at 2 of 4 points, a higher one at 2"
    )


def test_sentences_have_few_parts_and_digits() -> None:
    assert said("a", "", "b") == "A; b."
    assert said(*"abcde") == "A; b; c; and 2 more."
    assert [*map(short, (26.4321, 0.04931, 4.8, 610.2, 12345.0))] == ["26.4", "0.0493", "4.80", "610", "12300"]
    assert called("DVQ, D = 64, L = 4") == "DVQ (D = 64, L = 4)"


SHARED: dict[str, Any] = {"dimension": [4, 16], "factors": [16, 64], "init_bound": 1.0}


def blobs(loss: Callable[[Row], Any]) -> list[Row]:
    """VQ with 4 and with 16 codes, and DVQ with 4, with these losses and a little noise."""
    cells = [
        *rows(3, quantizer="vq", codebook_size=[4, 16], **SHARED),
        *rows(3, quantizer="dvq", codebook_size=4, slices=[2, 4], **SHARED),
    ]
    return [{**cell, "test_mse": loss(cell) * (1 + 0.01 * cell["seed"])} for cell in cells]


def message(name: str, cells: Iterable[Row]) -> str:
    held = made_up_rows(cells)
    item = named(held, name) or ITEMS[name]
    attempt = make(item, held, allow_missing=True)
    assert isinstance(attempt, Made), attempt
    assert json.loads(attempt.product.files[".json"])["message"] == attempt.product.message
    assert attempt.product.message not in attempt.product.caption
    return attempt.product.message


def _reversed(loss: float) -> float:
    return 10.0 / loss


def _loss(cell: Row) -> Any:
    """Falls with slices and codes, rises with factors: at equal bits VQ is better."""
    if cell["quantizer"] == "dvq":
        return 4.0 / cell["slices"] * cell["factors"] / 16
    return (5.0 if cell["codebook_size"] == 4 else 1.0) * cell["factors"] / 16


@pytest.mark.long
def test_equal_bits_says_who_is_better_where() -> None:
    assert message("equal_bits", blobs(_loss)) == (
        "At equal bits VQ has a lower loss than DVQ at 4 of 4 points; "
        "at equal parameters DVQ has a lower loss than VQ at 8 of 8 points."
    )
    assert message("equal_bits", blobs(lambda cell: _reversed(_loss(cell)))) == (
        "At equal bits DVQ has a lower loss than VQ at 4 of 4 points; "
        "at equal parameters VQ has a lower loss than DVQ at 8 of 8 points."
    )
    assert message("equal_bits", blobs(lambda cell: 1.0)) == (
        "At equal bits DVQ and VQ cannot be told apart at any of 4 points; "
        "at equal parameters DVQ and VQ cannot be told apart at any of 8 points."
    )


@pytest.mark.long
def test_figure4_and_the_appendix_follow_the_rows() -> None:
    assert "DVQ with K = 4 has a lower loss than VQ with K = 4 at 8 of 8 points" in message("figure4", blobs(_loss))
    reverse = blobs(lambda cell: _reversed(_loss(cell)))
    assert "VQ with K = 4 has a lower loss than DVQ with K = 4 at 8 of 8 points" in message("figure4", reverse)
    rises = "The test loss of plain VQ rises with the number of factors F in 4 of 4 lines by a factor of 4.00."
    assert message("static_prior_appendix", blobs(_loss)) == rises
    assert message("static_prior_appendix", reverse) == rises.replace("rises", "falls")


def test_figures_of_any_experiment_follow_the_rows() -> None:
    cells = [cell for cell in blobs(_loss) if cell["quantizer"] == "vq" and cell["dimension"] == 4]
    assert message("static_prior-over-axes", cells) == (
        "The test loss of VQ changes most, from 5.05 at K = 4 to 1.01 at K = 16."
    )
    level = [{**cell, "test_mse": 1.0 + 0.1 * cell["seed"]} for cell in cells]
    assert message("static_prior-over-axes", level) == (
        "No change of the test loss with a setting can be told from chance."
    )
    assert message("static_prior-rate", blobs(_loss)).startswith("On the Pareto fronts, by means, VQ has ")


@pytest.mark.parametrize("name", ["figure6", "bits_split", "equal_bits_images", "code_use_images"])
def test_one_model_of_images_is_the_best_of_none(name: str, tmp_path: Path) -> None:
    cells = made_up_images.sweep(made_up_images.SMALL[:1])
    held = load_rows([made_up_images.write(tmp_path / "store", cells, pictures=False)])
    selection = ITEMS[name].select(held, ITEMS[name].needs)
    assert selection is not None
    figure, _ = draw(name, selection)
    assert any("no other to compare it with" in text.get_text().replace("\n", " ") for text in figure.texts)
