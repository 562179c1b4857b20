"""Decisions about repetitions, by hand and by simulation, without running anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dvq_ray import inference
from dvq_ray.sweep.cells import Point, points_of
from dvq_ray.sweep.comparable import comparable_pairs
from dvq_ray.sweep.judging import Values
from dvq_ray.sweep.looks import Look, Looks
from dvq_ray.sweep.questions import Questions
from dvq_ray.sweep.spec import SweepSpec, parse_sweep
from dvq_ray.sweep.until import Comparison

HEAD = "name: x\ntrainable: tests.noisy:EXPERIMENT\n"
PAIR = (
    HEAD
    + """\
seeds: {least: 8, most: 32, until: {compare: ["tests.noisy:Plain", "tests.noisy:Better"], at: equal_bits, margin: 10%}}
grids: {one: {quantizer: "tests.noisy:Plain"}, other: {quantizer: "tests.noisy:Better"}}
"""
)
POINT = (
    HEAD
    + """\
seeds: {first: 7, least: 2, most: 8, until: {half_width: 10%}}
grids: {one: {quantizer: "tests.noisy:Plain"}}
"""
)


def points(spec: SweepSpec) -> list[Point]:
    return [point for _, point in points_of(spec)]


Numbers = Sequence[float] | Sequence[float | None] | Values


def rows(values: Mapping[Point, Numbers], first: int = 0, metric: str = "loss") -> pd.DataFrame:
    """Rows of points' repetitions; None stands for one that failed."""
    return pd.DataFrame(
        [
            {
                "cell_id": point.cell_id(seed), "point_id": point.point_id, "seed": seed,
                "status": "error" if value is None else "ok", metric: np.nan if value is None else value,
            }
            for point, numbers in values.items()
            for seed, value in enumerate(numbers, first)
        ]
    )  # fmt: skip


def looks(text: str, *values: Numbers, first: int = 0) -> Looks:
    spec = parse_sweep(text, "x.yaml")
    return Questions(points_of(spec)).look(rows(dict(zip(points(spec), values, strict=True)), first))


def only(found: Looks) -> Look:
    (look,) = found.looks
    return look


# Precision


def test_a_mean_that_is_known_well_enough_needs_no_more() -> None:
    found = only(looks(POINT, [10.0, 10.2], first=7))
    # By hand: the deviation of 10 and 10.2 is 0.1414; with 1 degree of freedom and 3 looks of 98.33% each, half of the
    # interval is 38.19 * 0.1414 / sqrt(2) = 3.82: 37.8% of the mean.
    assert (found.found.high - found.found.low) / 2 == pytest.approx(3.82, abs=0.005)
    assert (found.looks, found.wanted, found.found.decision) == (1, 4, "undecided")
    found = only(looks(POINT, [10.0, 10.2, 10.0, 10.2], first=7))
    # 4.857 * 0.11547 / 2 = 0.2804, of 10.1.
    assert (found.found.high - found.found.low) / 2 == pytest.approx(0.2804, abs=0.0005)
    assert (found.looks, found.wanted, found.found.decision, found.found.n) == (2, 4, "reached", 4)


def test_more_repetitions_than_were_needed_change_nothing() -> None:
    some, all_of_them = [10.0, 10.2, 10.0, 10.2], [10.0, 10.2, 10.0, 10.2, 50.0, -50.0]
    assert only(looks(POINT, all_of_them, first=7)).found == only(looks(POINT, some, first=7)).found


def test_repetitions_end_at_most() -> None:
    found = only(looks(POINT, [1.0, -1.0] * 5, first=7))
    assert (found.looks, found.wanted, found.found.decision, found.found.n) == (3, 8, "most reached", 8)


def test_a_look_waits_for_all_of_its_rows() -> None:
    found = only(looks(POINT, [10.0], first=7))
    assert (found.looks, found.wanted, found.is_open) == (0, 2, True)
    spec = parse_sweep(POINT, "x.yaml")
    every = rows({points(spec)[0]: [10.0, 30.0, 10.0, 10.2]}, first=7)
    gap = every[every["seed"] != 9]
    found = only(Questions(points_of(spec)).look(gap))
    assert (found.looks, found.wanted) == (1, 4)


def test_seeds_that_are_not_of_the_rule_do_not_count() -> None:
    found = only(looks(POINT, [10.0, 10.0], first=0))
    assert (found.looks, found.wanted) == (0, 2)


def test_repetitions_that_failed_are_left_out_and_too_few_end_it() -> None:
    found = only(looks(POINT, [None, 10.0], first=7))
    assert (found.looks, found.wanted, found.is_open) == (1, 2, False)
    assert (found.found.decision, found.found.n) == ("too few finished", 1)
    found = only(looks(POINT, [10.0, 30.0, None, 20.0], first=7))
    assert (found.looks, found.wanted, found.found.decision, found.found.n) == (2, 8, "undecided", 3)
    assert only(looks(POINT, [float("inf"), 10.0], first=7)).found.decision == "too few finished"


# Pairs


def test_a_difference_of_one_sign_in_eight_seeds_is_a_win_of_the_lower() -> None:
    base = np.array([5.0, 9.0, 7.0, 3.0, 8.0, 6.0, 4.0, 5.0])
    won = only(looks(PAIR, base - 1 - base / 100, base))
    assert (won.looks, won.wanted, won.found.decision) == (1, 8, "win")
    assert won.found.estimate == pytest.approx(-1.05875)
    assert won.found.low < won.found.estimate < won.found.high < 0
    assert only(looks(PAIR, base + 1, base)).found.decision == "loss"
    # One seed against it: 2 of the 256 choices of signs are as extreme, p = 0.0078; 3 looks allow 0.0083.
    against = np.array([-0.01, 1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0])
    assert only(looks(PAIR, base + against, base)).found.decision == "loss"
    against[1] = -0.02
    assert only(looks(PAIR, base + against, base)).is_open


def test_higher_may_be_better() -> None:
    text = PAIR.replace("margin: 10%", "metric: score")
    spec = parse_sweep(text, "x.yaml")
    one, other = points(spec)
    table = rows({one: [5.0, 6, 7, 8, 9, 10, 11, 12], other: [4.0, 4.9, 6, 7, 8, 9, 10, 11]}, metric="score")
    assert only(Questions(points_of(spec)).look(table)).found.decision == "win"


def test_a_difference_that_is_surely_small_makes_two_equal() -> None:
    base, tiny = np.full(8, 10.0), np.array([0.1, -0.1] * 4)
    assert only(looks(PAIR, base + tiny, base)).found.decision == "equal"
    assert only(looks(PAIR, base + 20 * tiny, base)).is_open
    assert only(looks(PAIR.replace(", margin: 10%", ""), base + tiny, base)).is_open
    assert only(looks(PAIR, base, base)).found.decision == "equal"  # to the last digit


def test_a_pair_goes_on_with_the_seeds_that_both_finished() -> None:
    base = [5.0, 9.0, 7.0, 3.0, 8.0, 6.0, 4.0, 5.0]
    lower: list[float | None] = [value - 1 for value in base]
    found = only(looks(PAIR, [None, *lower[1:]], base))
    assert (found.found.n, found.found.decision) == (7, "win")
    found = only(looks(PAIR, [None, *lower[1:]], [*base[:7], None]))
    assert (found.found.n, found.is_open, found.wanted) == (6, True, 16)  # six signs are too few at this level
    found = only(looks(PAIR, [*[None] * 7, 1.0], base))
    assert (found.found.decision, found.wanted) == ("too few finished", 8)
    found = only(looks(PAIR, [*[None] * 4, *lower[4:]], [*base[:4], *[None] * 4]))
    assert (found.found.decision, found.found.n) == ("too few finished", 0)


def test_a_point_of_several_pairs_has_the_repetitions_of_the_one_that_needs_most() -> None:
    text = PAIR.replace('"tests.noisy:Better"}}', '"tests.noisy:Better", breaks: [100, 200]}}')
    spec = parse_sweep(text, "x.yaml")
    plain, won, close = points(spec)
    noise = np.random.default_rng(0).normal(size=8)
    found = Questions(points_of(spec)).look(rows({plain: 10 + noise, won: 5 + noise, close: 10 - noise}))
    assert [look.found.decision for look in found.looks] == ["loss", "undecided"]
    wanted = {point_id: count for (_, point_id), count in found.wanted.items()}
    assert wanted == {plain.point_id: 16, won.point_id: 8, close.point_id: 16}
    assert Counter(cell.point.point_id for cell in found.cells_since(Questions(points_of(spec)).asked())) == {
        plain.point_id: 8, close.point_id: 8,
    }  # fmt: skip
    assert "1 of 2 pairs decided (1 loss); 1 undecided" in found.in_words()[0]


def test_points_without_a_partner_stay_at_least_and_are_counted() -> None:
    text = PAIR.replace('"tests.noisy:Better"}}', '"tests.noisy:Better", rate: 5}}')
    found = looks(text, [1.0] * 8, [1.0] * 8)
    assert found.looks == []
    assert {*found.wanted.values()} == {8}
    assert "2 points without a partner, with 8 repetitions each" in found.in_words()[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_and_what_is_known_change_nothing(seed: int) -> None:
    spec, rng = parse_sweep(PAIR, "x.yaml"), np.random.default_rng(seed)
    base = rng.normal(10, 1, 32)
    table = rows(dict(zip(points(spec), (base + rng.normal(0.4, 1, 32), base), strict=True)))
    whole = Questions(points_of(spec)).look(table)
    for _ in range(5):
        shuffled = table.sample(frac=1, random_state=int(rng.integers(1 << 31)))
        assert [look.row() for look in Questions(points_of(spec)).look(shuffled).looks] == [
            look.row() for look in whole.looks
        ]
        questions, known = Questions(points_of(spec)), None
        for end in (10, 30, 64):
            known = questions.look(shuffled[:end], known)
        assert known is not None
        assert [look.row() for look in known.looks] == [look.row() for look in whole.looks]


# Which points are pairs


def pairs(text: str, **sizes: float) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    spec = parse_sweep(text, "x.yaml")
    rule = spec.rules()[0].rule
    assert isinstance(rule, Comparison)
    found = comparable_pairs(points(spec), rule, {point.point_id: 1.0 for point in points(spec)} if sizes else {})
    return [(dict(one.settings.columns()), dict(other.settings.columns())) for one, other in found]


BLOBS = """\
name: x
trainable: static_prior
seeds: {least: 8, most: 9, until: {compare: [QUANTIZERS], at: AT}}
fixed: {dimension: 8, factors: [8, 16]}
grids:
"""


def blobs(at: str, *grids: str, quantizers: str = "vq, dvq") -> str:
    lines = [f"  g{number}: {{{grid}}}\n" for number, grid in enumerate(grids)]
    return BLOBS.replace("AT", at).replace("QUANTIZERS", quantizers) + "".join(lines)


def test_equal_bits_pair_points_on_equal_data() -> None:
    found = pairs(
        blobs(
            "equal_bits",
            "quantizer: vq, codebook_size: [4, 16, 256]",
            "quantizer: dvq, codebook_size: [4, 16], slices: 2",
        )
    )
    assert [(one["factors"], one["codebook_size"], other["codebook_size"]) for one, other in found] == [
        (8, 16, 4), (8, 256, 16), (16, 16, 4), (16, 256, 16),
    ]  # fmt: skip
    assert all(one["factors"] == other["factors"] for one, other in found)


def test_training_that_both_have_is_equal() -> None:
    rates = "learning_rate: [0.1, 0.3]"
    grids = (f"quantizer: vq, codebook_size: 16, {rates}", f"quantizer: dvq, codebook_size: 4, slices: 2, {rates}")
    found = pairs(blobs("equal_bits", *grids))
    assert len(found) == 4
    assert all(one["learning_rate"] == other["learning_rate"] for one, other in found)
    against = pairs(blobs("equal_bits", grids[0], "quantizer: kmeans, codebook_size: 16", quantizers="vq, kmeans"))
    assert len(against) == 4  # k-means has no learning rate


def test_equal_settings_pair_points_that_agree_in_all_fields_of_both() -> None:
    found = pairs(
        blobs(
            "equal_settings",
            "quantizer: vq, codebook_size: [4, 16]",
            "quantizer: dvq, codebook_size: [4, 16], slices: [2, 4]",
        )
    )
    assert len(found) == 8
    assert all(one["codebook_size"] == other["codebook_size"] for one, other in found)


def test_equal_parameters_follow_from_rows() -> None:
    text = blobs(
        "equal_parameters", "quantizer: vq, codebook_size: 16", "quantizer: dvq, codebook_size: [16, 64], slices: 2"
    )
    spec = parse_sweep(text, "x.yaml")
    questions = Questions(points_of(spec))
    assert questions.asked().looks == []
    table = rows({point: [1.0] * 8 for point in points(spec)}, metric="test_mse")
    sizes = {point.point_id: point.settings.parameters(8) for point in points(spec)}  # type: ignore[attr-defined]
    found = questions.look(table.assign(codebook_parameters=table["point_id"].map(sizes)))
    assert [
        (look.point.settings.columns()["codebook_size"], look.partner.settings.columns()["codebook_size"])
        for look in found.looks
        if look.partner
    ] == [(16, 16), (16, 16)]
    assert "2 points without a partner" in found.in_words()[0]


def test_a_pair_is_of_points_under_the_same_rule() -> None:
    own = "seeds: {least: 8, most: 9, until: {half_width: 2%}}"
    text = blobs(
        "equal_bits", "quantizer: vq, codebook_size: 16", "quantizer: dvq, codebook_size: 16, slices: 2",
        f"quantizer: dvq, codebook_size: 4, slices: 2, {own}",
    )  # fmt: skip
    found = Questions(points_of(parse_sweep(text, "x.yaml"))).asked()
    assert [look.partner for look in found.looks] == [None, None]
    assert [line.partition(":")[0] for line in found.in_words()] == [
        "test_mse of vq against dvq at equal bits", "test_mse within 2%",
    ]  # fmt: skip


# What holds of many


SPREADS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(2, shape) / 2,
    "two modes": lambda rng, shape: rng.choice([-1.0, 1.0], shape) + 0.2 * rng.normal(size=shape),
}


def many(spec: SweepSpec, *values: Values) -> Looks:
    """Looks at values `[points, repetitions]` for each grid."""
    table = dict(zip(points(spec), np.concatenate(values), strict=True))
    return Questions(points_of(spec)).look(rows(table))


@pytest.mark.long
@pytest.mark.parametrize("spread", SPREADS)
def test_of_equal_quantizers_at_most_one_in_twenty_wins_or_loses(spread: str) -> None:
    places = f"place: {[*range(1000)]}"
    text = PAIR.replace(", margin: 10%", "").replace('Plain"}', f'Plain", {places}}}').replace(
        'Better"}}', f'Better", {places}}}}}'
    )  # fmt: skip
    rng = np.random.default_rng(1)
    found = many(parse_sweep(text, "x.yaml"), *(10 + SPREADS[spread](rng, (1000, 32)) for _ in range(2)))
    counts = found.counts()
    assert counts["win"] + counts["loss"] + counts["most reached"] == 1000
    assert 0 < counts["win"] + counts["loss"] <= 50


@pytest.mark.parametrize("spread", SPREADS)
def test_nineteen_in_twenty_intervals_hold_the_mean_where_adding_stopped(spread: str) -> None:
    text = POINT.replace("first: 7, least: 2, most: 8", "least: 8, most: 128")
    text = text.replace('Plain"}', f'Plain", place: {[*range(1000)]}}}')
    values = 10 + 2 * SPREADS[spread](np.random.default_rng(2), (1000, 128))
    found = many(parse_sweep(text, "x.yaml"), values)
    ended = [look.found for look in found.looks]
    assert found.counts()["reached"] > 900
    assert len({look.found.n for look in found.looks}) > 1
    assert np.mean([look.low <= 10 <= look.high for look in ended]) >= 0.95


@pytest.mark.long
def test_a_difference_is_found_sooner_where_it_is_large() -> None:
    places = f"place: {[*range(300)]}"
    text = PAIR.replace('Plain"}', f'Plain", {places}}}').replace('Better"}}', f'Better", {places}}}}}')
    rng = np.random.default_rng(3)
    needed = []
    for gap in (0.5, 1.0, 2.0):
        ours, theirs = (10 + rng.normal(size=(300, 32)) for _ in range(2))
        found = many(parse_sweep(text, "x.yaml"), ours, theirs + gap)
        needed.append(np.mean([look.wanted for look in found.looks]))
        assert found.counts()["loss"] <= 3
    assert needed[0] > needed[1] > needed[2]
    assert needed[2] < 12


def test_looking_again_at_what_is_decided_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_sweep(PAIR, "x.yaml")
    base = np.array([5.0, 9.0, 7.0, 3.0, 8.0, 6.0, 4.0, 5.0])
    table = rows(dict(zip(points(spec), (base - 1 - base / 100, base), strict=True)))
    questions = Questions(points_of(spec))
    known = questions.look(table)
    monkeypatch.setattr(inference, "is_above", None)
    assert questions.look(table, known).looks == known.looks
