"""Verdicts where the truth is known: made-up rows with the ids of the protocol's cells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import bootstrap, product, protocol, sentences
from analysis.claims.claim import Claim, Fields, Member, Reading, Region, Test
from analysis.claims.decide import LEAST_SEEDS, SIGNIFICANCE, judged, p_above
from analysis.claims.findings import FINDINGS
from analysis.claims.readings import entry
from analysis.claims.samples import IMAGES, Sample
from benchmarks import verdicts
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.inference import t_interval
from dvq_ray.sweep.cells import Point, expand
from dvq_ray.sweep.spec import load_sweep
from tests.analysis import made_up
from tests.analysis.made_up_claims import (
    BY_NUMBER,
    about,
    as_the_paper_says,
    cells_of,
    decided,
    other_bits,
    paper_bits,
    reading_of,
    reversed_world,
    rows_of,
)

ROOT = Path(__file__).parents[2]
Digits = npt.NDArray[np.float64]
STATIC = [number for number in BY_NUMBER if BY_NUMBER[number].trainable != "learned_prior"]
LEARNED = [number for number in BY_NUMBER if BY_NUMBER[number].trainable == "learned_prior"]


def as_found(fields: Fields) -> dict[str, float]:
    """A world in which the findings are true."""
    if fields["quantizer"] in ("pq", "opq"):
        cut = {"pq": 15.0 if fields.get("mixing") else 5.0, "opq": 6.0}[fields["quantizer"]]
        return {"test_mse": 5.0 if fields.get("rotation_start") == "best" else cut}
    if "groups" in fields:
        loss = 24.0 - 10.0 * fields.get("dependence", 0.0) if fields["quantizer"] == "vq" else 5.0
        return {"test_mse": 1.05 if fields.get("start") == "k-means++" else loss}
    if fields["dimension"] == 256:
        return {"test_mse": 25.0 if (fields["codebook_size"], fields["init_bound"]) == (1024, 1.0) else 35.0,
                "data_variance": 40.0}  # fmt: skip
    return {"test_mse": 30.0 if fields["quantizer"] == "dvq" else 20.0}


def otherwise(fields: Fields) -> dict[str, float]:
    """One in which none of them is."""
    if fields["quantizer"] in ("pq", "opq"):
        return {"test_mse": 5.0 if fields["quantizer"] == "pq" else 6.0 if "rotation_start" in fields else 5.1}
    if "groups" in fields:
        dependence = fields.get("dependence", 0.0)
        return {"test_mse": 5.0 + 10.0 * dependence if fields["quantizer"] == "vq" else 5.0 + dependence}
    return {"test_mse": 15.0 if fields["quantizer"] == "dvq" else 20.0, "data_variance": 40.0}


@pytest.mark.parametrize("number", [claim.number for claim in FINDINGS])
def test_a_finding_holds_where_it_is_true_and_fails_where_it_is_not(number: str) -> None:
    assert decided(number, about(number, as_found)).outcome.verdict == "holds"
    assert decided(number, about(number, otherwise)).outcome.verdict == "fails"


@pytest.mark.long
@pytest.mark.parametrize("number", [claim.number for claim in product.CLAIMS])
def test_a_claim_holds_where_it_is_true_and_fails_where_it_is_false(number: str) -> None:
    true, false = (as_the_paper_says, reversed_world) if number in STATIC else (paper_bits, other_bits)
    outcome = decided(number, about(number, true)).outcome
    assert outcome.verdict == "holds", sentences.decided_by(outcome)
    assert not outcome.is_so_far
    assert len(outcome.cells) == sum(len(test.cells) for test in outcome.reading.tests)
    assert decided(number, about(number, false)).outcome.verdict == "fails"


@pytest.mark.long
@pytest.mark.parametrize("number", ["1", "2", "4", "5", "6", "7", "8", "10a", "11", "12", "13", "15"])
def test_noise_leaves_a_claim_undecided_and_says_how_many_seeds_would_do(number: str) -> None:
    world = as_the_paper_says if number in STATIC else paper_bits
    outcome = decided(number, about(number, world, 3.0)).outcome
    assert outcome.verdict == "undecided"
    assert outcome.seeds_to_decide is not None
    assert outcome.seeds_to_decide > len(outcome.reading.seeds)
    assert " seeds would" in sentences.decided_by(outcome)


def test_a_difference_that_is_not_significant_is_not_called_the_same() -> None:
    """Claim 7 is one of equivalence: wide intervals about no difference leave it undecided."""

    def equal(fields: Fields) -> dict[str, float]:
        return {"test_mse": 20.0, "data_variance": 40.0}

    assert decided("7", about("7", equal, 0.001)).outcome.verdict == "holds"
    assert decided("7", about("7", equal, 0.5)).outcome.verdict == "undecided"


def test_a_claim_that_holds_in_a_stated_part_of_its_cells_holds_within_it() -> None:
    def only_many_slices(fields: Fields) -> dict[str, float]:
        return {"test_mse": 9.0 if fields["quantizer"] == "dvq" and fields["slices"] == 8 else 10.0}

    outcome = decided("4", about("4", only_many_slices)).outcome
    assert sentences.verdict(outcome) == "holds within L = 8"
    said = sentences.decided_by(outcome)
    assert "10 of 30 cells hold (33%)" in said
    assert "L = 2: 0 of 10." in said


def test_a_verdict_is_on_the_cells_of_the_protocol_whatever_else_there_is() -> None:
    """More seeds, other trainings, other revisions, any order: the files change in their provenance alone."""
    rows = about("1", as_the_paper_says)
    frame = rows.frame
    first = {"dimension": 16, "factors": 64, "codebook_size": 16}
    others = [
        *made_up.rows(30, quantizer="vq", init_bound=1.0, learning_rate=0.3, **first),
        *made_up.rows([1003, 1004], quantizer="dvq", slices=2, learning_rate=0.001, **first),
    ]
    others = [{**cell, "test_mse": 1e6} for cell in others]
    revised = frame.iloc[:40].assign(revision=2, test_mse=1e6, cell_id=lambda table: table["cell_id"] + "r")
    more = pd.concat([frame, pd.DataFrame(others), revised]).drop_duplicates("cell_id")
    grown = replace(rows, frame=more.sample(frac=1.0, random_state=1).reset_index(drop=True))
    assert len(more) > len(frame) + 60
    before, after = (json.loads(product.files([decided("1", each)], each)[".json"]) for each in (rows, grown))
    assert before["claims"] == after["claims"]
    assert before["rows_sha256"] != after["rows_sha256"]


def test_with_a_part_of_its_repetitions_a_claim_holds_so_far() -> None:
    rows = about("1", as_the_paper_says)
    some = replace(rows, frame=rows.frame[rows.frame["seed"] < 1010])
    decision = decided("1", some)
    assert sentences.verdict(decision.outcome) == "holds, so far"
    assert "Without all of their seeds: 60 of 60 cells" in sentences.decided_by(decision.outcome)
    assert entry(decision).reading.is_so_far
    assert product.tally([decision]) == "1 holds, so far"
    assert product.tally([decision, decision]) == "2 hold, so far"
    few = replace(rows, frame=rows.frame[rows.frame["seed"] < 1000 + LEAST_SEEDS - 1])
    outcome = decided("1", few).outcome
    assert outcome.verdict == "not run"
    assert outcome.left_out[0].why == "7 repetitions, and 8 are needed"


def test_failed_and_missing_cells_are_named() -> None:
    cells = cells_of(BY_NUMBER["1"], [BY_NUMBER["1"].reading], as_the_paper_says)
    bad = {"quantizer": "dvq", "dimension": 16, "slices": 4, "factors": 64}
    its = [c for c in cells if all(c[k] == v for k, v in bad.items())]
    failed, missing = its[3], its[5]
    cells = [{**c, "status": "diverged", "test_mse": None} if c is failed else c for c in cells if c is not missing]
    outcome = decided("1", rows_of(cells)).outcome
    assert sentences.verdict(outcome) == "holds, so far"
    (short,) = [cell for cell in outcome.cells if cell.sample.lost]
    assert short.n == 18
    assert short.sample.lost == {
        "dvq failed (diverged)": (failed["seed"],), "dvq missing": (missing["seed"],)
    }  # fmt: skip
    assert "dimension=16 factors=64 slices=4" in sentences.coverage(outcome)


def test_a_store_whose_cells_all_failed_runs_no_claim() -> None:
    rows = about("1", as_the_paper_says)
    failed = replace(rows, frame=rows.frame.assign(status="error", test_mse=None))
    outcome = decided("1", failed).outcome
    assert outcome.verdict == "not run"
    assert sentences.decided_by(outcome).endswith(f"To run: {outcome.reading.sweep}.")


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("data_sha256", "another", "data of unequal content under one name: another, equal"),
        ("data_sha256", None, "data whose content is not recorded"),
        ("precision", "bfloat16", "unequal precision: bfloat16, float32"),
    ],
)
def test_what_differs_and_is_no_part_of_an_id_is_not_compared(column: str, value: str | None, why: str) -> None:
    cells = cells_of(BY_NUMBER["12"], [BY_NUMBER["12"].reading], paper_bits)
    cells = [{**c, "precision": "float32", **({column: value} if c["quantizer"] == "dvq" else {})} for c in cells]
    (left_out,) = decided("12", rows_of(cells)).outcome.left_out
    assert left_out.why == why
    unknown = [{**c, "data_sha256": None} for c in cells]
    assert decided("12", rows_of(unknown)).outcome.left_out[0].why == "data whose content is not recorded"


def test_a_claim_about_curves_is_left_out_without_them() -> None:
    rows = replace(about("14", paper_bits), steps=[])
    (left_out,) = decided("14", rows).outcome.left_out
    assert left_out.why == "a curve is missing"


def test_bits_of_images_are_resampled_over_images_and_left_out_without_them() -> None:
    rows = about("12", paper_bits)
    (left_out,) = decided("12", replace(rows, images={})).outcome.left_out
    assert IMAGES in left_out.why
    broken = dict.fromkeys(rows.images, b"no parquet")
    assert "cannot be read" in decided("12", replace(rows, images=broken)).outcome.left_out[0].why
    (cell,) = decided("12", rows).outcome.cells
    assert cell.sample.image_error > 0


def test_no_number_of_seeds_decides_what_too_few_test_images_leave_open() -> None:
    claim = BY_NUMBER["15"]
    few = rows_of(cells_of(claim, [claim.reading], paper_bits), images=40)
    outcome = decided("15", few).outcome
    assert outcome.verdict == "undecided"
    assert outcome.seeds_to_decide == np.inf
    assert "More than 10,000 seeds would be needed" in sentences.decided_by(outcome)


def test_the_error_of_few_test_images_is_that_of_their_mean() -> None:
    random, count = np.random.default_rng(0), 400
    images = random.normal(3.0, 0.5, (10, count))
    test = Test(
        cells=[()], metrics=("bits",), images=("bits",), statistic=lambda members: members[0].metrics["bits"],
        name="bits", region=Region(high=4),
    )  # fmt: skip
    from analysis.claims.samples import _image_error

    member = Member(metrics={"bits": images.mean(axis=1)}, images={"bits": images})
    expected = images.mean(axis=0).std(ddof=1) / np.sqrt(count)
    assert _image_error(test, [member]) == pytest.approx(expected, rel=0.25)
    values = images.mean(axis=1)
    assert p_above(-values, -3.2, 0.2) > p_above(-values, -3.2)
    low, high = t_interval(values, further_error=0.2)
    assert high - low > 2 * 2.2 * 0.2


def test_the_effect_shown_is_not_the_largest_of_many() -> None:
    """60 cells without any effect: the deepest looks like one, and by the other half of the seeds it is none."""
    reading, random = reading_of("1"), np.random.default_rng(3)
    shown, deepest = [], []

    def sample(values: Digits) -> Sample:
        return Sample(seeds=tuple(range(20)), values=values, lost={})

    outcome = judged(reading, [(reading.tests[0], place, sample(np.arange(20.0))) for place in range(60)])
    for _ in range(300):
        noise = random.standard_normal((60, 20))
        cells = [replace(cell, sample=sample(values)) for cell, values in zip(outcome.cells, noise, strict=True)]
        deciding = replace(outcome, cells=tuple(cells)).deciding
        assert deciding is not None
        assert deciding.n == 10
        shown.append(deciding.effect)
        deepest.append(noise.mean(axis=1).min())
    assert abs(np.mean(shown)) < 4 / np.sqrt(300 * 10)
    assert np.mean(deepest) < -0.4


@pytest.mark.long
@pytest.mark.parametrize("spread", verdicts.SPREADS)
@pytest.mark.parametrize("number", ["8", "10a", "12"])
def test_no_effect_gives_a_verdict_in_at_most_one_of_twenty_stores(spread: str, number: str) -> None:
    """The benchmark has all claims and more stores."""
    for n in verdicts.REPETITIONS:
        counts = verdicts.verdicts(reading_of(number), 150, n, verdicts.SPREADS[spread], 0.0)
        false = counts["holds"] + counts["holds within"] + counts["fails"]
        assert false <= stats.binom.ppf(0.999, 150, 2 * SIGNIFICANCE)


def test_effects_of_the_size_that_the_protocol_promises_are_found() -> None:
    for shift, n in ((0.8, 20), (1.4, 8)):
        counts = verdicts.verdicts(reading_of("15"), 200, n, verdicts.SPREADS["normal"], shift)
        assert counts["holds"] >= 0.85 * 200


@pytest.mark.parametrize("number", BY_NUMBER)
def test_every_reading_can_reach_every_verdict_with_its_seeds(number: str) -> None:
    """The sign-flip test of n values cannot be below 2 to the -n."""
    for reading in BY_NUMBER[number].readings:
        cells = sum(1 if test.any else len(test.cells) for test in reading.tests)
        least = 2.0 ** -len(reading.seeds)
        assert len(reading.seeds) >= LEAST_SEEDS
        assert least * cells <= SIGNIFICANCE
        some = max((len(test.cells) for test in reading.tests if test.any), default=1)
        assert least * some <= SIGNIFICANCE / (1 + len(reading.scopes))


def test_the_protocols_page_is_what_is_tested() -> None:
    assert protocol.page() == (ROOT / "docs" / "protocol.md").read_text()


def test_whatever_decides_changes_only_with_a_line_in_the_history() -> None:
    assert protocol.digest() == protocol.HISTORY[-1].sha256
    dates = [version.date for version in protocol.HISTORY]
    assert dates == sorted(dates)


def points_of(claim: Claim, readings: Iterable[Reading]) -> Iterator[tuple[Point, int]]:
    """Every point of these readings with every seed."""
    experiment = find_experiment(claim.trainable)
    for reading in readings:
        for fields in (fields for test in reading.tests for points in test.cells for fields in points):
            point = Point(experiment=experiment, settings=experiment.settings(fields))
            yield from ((point, seed) for seed in reading.seeds)


def ids_in(sweeps: str) -> set[str]:
    """Cells of the sweeps that a reading names, with the overrides that it names."""
    overrides = re.findall(r"--set (\S+)", sweeps)
    specs = [load_sweep(ROOT / path, overrides) for path in re.findall(r"sweeps/\w+\.yaml", sweeps)]
    return {cell.cell_id for spec in specs for cell in expand(spec)[0]}


@pytest.mark.parametrize("number", BY_NUMBER)
def test_the_sweeps_that_a_reading_names_have_its_cells(number: str) -> None:
    for reading in BY_NUMBER[number].readings:
        wanted = {point.cell_id(seed) for point, seed in points_of(BY_NUMBER[number], [reading])}
        assert wanted <= ids_in(reading.sweep), reading.name


@pytest.mark.parametrize(
    "sweep", ["static_prior", "factorial_prior", "cifar10_lossless", "slices", "tiny_imagenet", "dependent_features"]
)
def test_the_sweeps_of_the_protocol_have_no_other_cells(sweep: str) -> None:
    path = f"sweeps/claims_{sweep}.yaml"
    readings = [(claim, [each for each in claim.readings if each.sweep == path]) for claim in product.TESTED]
    wanted = {point.cell_id(seed) for claim, its in readings for point, seed in points_of(claim, its)}
    assert ids_in(path) == wanted


def test_symbols_in_the_words_of_claims_are_explained_as_fields_declare_them() -> None:
    assert sentences.symbols(product.CLAIMS).startswith("D: dimension; F: number of factors; K: codebook size;")
    (claim,) = [claim for claim in product.CLAIMS if claim.number == "11"]
    reading = replace(claim.reading, name="", ours="more β helps, and more Data", why="", tests=(), scopes=())
    assert sentences.symbols([replace(claim, paper="L = 4", reading=reading, others=())]) == (
        "L: slices; β: commitment weight"
    )


def test_bootstrap_intervals_are_scipys_and_stand_beside_the_tests() -> None:
    values = np.random.default_rng(1).exponential(size=(3, 12))
    lows, highs = bootstrap.bootstrap(values)
    level = bootstrap.expanded_level(12)
    for sample, low, high in zip(values, lows, highs, strict=True):
        found = stats.bootstrap(
            (sample,), np.mean, confidence_level=level, rng=np.random.default_rng(0)
        ).confidence_interval
        assert (low, high) == pytest.approx((found.low, found.high), rel=0.02)
    assert bootstrap.agrees("holds", Region(low=0), (0.1, 0.2))
    assert not bootstrap.agrees("holds", Region(low=0), (-0.1, 0.2))
    assert bootstrap.agrees("against", Region(low=0), (-0.3, -0.2))
    constant = bootstrap.bootstrap(np.full((1, 9), 2.0))
    assert (constant[0][0], constant[1][0]) == (2.0, 2.0)


def test_equal_rows_give_equal_files_in_any_process_order() -> None:
    rows = about("1", as_the_paper_says)
    assert product.files([decided("1", rows)], rows) == product.files([decided("1", rows)], rows)
    table = product.files([decided("1", rows)], rows)[".md"].decode()
    assert "| holds |" in table


def test_json_has_every_cell_with_its_points_and_both_p_values() -> None:
    rows = about("3", as_the_paper_says)
    (claim,) = json.loads(product.files([decided("3", rows)], rows)[".json"])["claims"]
    cells = [cell for test in claim["tests"] for cell in test["cells"]]
    assert len(cells) == 30
    assert all(len(cell["at"]) == 4 and cell["p_holds"] <= SIGNIFICANCE < cell["p_against"] for cell in cells)
    assert {cell["bootstrap_agrees"] for cell in cells} == {True}


def test_steps_to_the_others_end_count_from_the_curves() -> None:
    from analysis.claims.statistics import steps_to_the_others_end

    steps = np.array([0, 100, 200, 300, 400])

    def member(curve: Digits) -> Member:
        return Member(metrics={}, curves=[(steps, curve)])

    slow = member(np.array([8.0, 7.0, 6.0, 5.0, 4.0]))
    assert steps_to_the_others_end([member(np.array([8.0, 4.0, 3.5, 3.2, 3.1])), slow]) == pytest.approx([0.25])
    assert steps_to_the_others_end([member(np.array([8.0, 7.5, 7.0, 6.5, 6.0])), slow]) == pytest.approx([1.0])
