"""Verdicts where the truth is known: stores of made-up numbers, and the committed one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import product, sentences, statistics
from analysis.claims.claim import Member
from analysis.claims.intervals import Array, Region, expanded_level, holm, intervals, outside_p_values
from analysis.claims.verdicts import Decision, decide
from analysis.data.rows import Rows, load_rows
from dvq_ray.experiment.registry import find_experiment
from tests.analysis import made_up, made_up_images
from tests.analysis.made_up import Row, made_up_rows

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "static_prior"
SEEDS = 8
FACTORS = [64, 256, 1024, 4096, 16384]
LEARNED = [*range(11, 19)]
FACTORIAL = find_experiment("factorial_prior")
CIFAR = {"dataset": "cifar10", "codebook_size": 512}


def decided(number: int, rows: Rows) -> Decision:
    return decide([claim for claim in product.CLAIMS if claim.number == number], rows)[0]


def blobs(loss: Callable[[Row], float], *, seeds: int = SEEDS, deviation: float = 0.01) -> list[Row]:
    """A small sweep of everything that claims 1 to 9 need, with these losses."""
    at: dict[str, Any] = {"dimension": [16, 32], "factors": FACTORS}
    cells = [
        *made_up.rows(seeds, quantizer="vq", codebook_size=[16, 64, 256, 1024], init_bound=1.0, **at),
        *made_up.rows(seeds, quantizer="dvq", codebook_size=16, slices=[2, 4], init_bound=1.0, **at),
        *made_up.rows(seeds, quantizer="kmeans", codebook_size=[16, 1024], **at),
    ]
    found = []
    for cell in cells:
        variance = 40.0
        value = loss(cell) + float(np.random.default_rng(int(cell["cell_id"], 16)).normal() * deviation)
        metrics = {"test_mse": value, "data_variance": variance, "loss_over_variance": value / variance}
        found.append({**cell, **metrics, "untrained_test_mse": None if cell["quantizer"] == "kmeans" else 60.0})
    return found


def as_the_paper_says(cell: Row) -> float:
    """A world in which claims 1 to 9 are all true."""
    if cell["quantizer"] == "dvq":
        return 16.0 - 2.5 * FACTORS.index(cell["factors"]) - 0.5 * int(cell["slices"])
    size = {16: 0, 64: 1, 256: 2, 1024: 3}[cell["codebook_size"]]
    return 35.0 - 0.1 * size if cell["dimension"] > 16 else 35.0 * 0.8**size


def reversed_world(cell: Row) -> float:
    """One in which claims 1 to 8 are all false, and 9 too."""
    if cell["quantizer"] == "dvq":
        return 50.0 + 0.1 * FACTORS.index(cell["factors"])
    size = {16: 0, 64: 1, 256: 2, 1024: 3}[cell["codebook_size"]]
    return 45.0 - 5.0 * size if cell["dimension"] > 16 else 45.0 + size


def models(
    reconstruction: Callable[[Row], float], *, seeds: int = 6, deviation: float = 0.005, **more: Callable[[Row], Any]
) -> list[Row]:
    """The paper's models of CIFAR-10, with these numbers of test images."""
    narrow = [{"quantizer": "dvq", "dimension": 64, "slices": n} for n in (1, 2, 4, 8, 16, 32, 64)]
    cells = made_up_images.sweep(
        (*made_up_images.PAPER, *narrow), seeds, dataset="cifar10", codebook_size=512, steps=400
    )
    for cell in cells:
        random = np.random.default_rng(int(cell["cell_id"], 16))
        cell["reconstruction_bits_per_dim"] = reconstruction(cell) + float(random.normal() * deviation)
        cell["total_bits_per_dim_unigram"] = cell["reconstruction_bits_per_dim"] + 0.05
        cell |= {"joint_code_entropy_bits": 9.0, "slice_dependence_bits_refit": None}
        cell |= {"slice_dependence_bits_shuffled": None}
        cell |= {column: value(cell) + float(random.normal() * 1e-3) for column, value in more.items()}
    return cells


@cache
def about_blobs(loss: Callable[[Row], float], deviation: float = 0.01) -> Rows:
    """The small sweep, for every test that looks at the same losses."""
    return made_up_rows(blobs(loss, deviation=deviation))


@cache
def about_images(truth: bool, *, seeds: int = 6, deviation: float = 0.005) -> Rows:
    """The paper's models in a world in which claims 11 to 18 are true, but for 14, or one in which they are false."""
    if truth:
        cells = models(
            paper_bits, seeds=seeds, deviation=deviation,
            joint_code_entropy_bits=entropy(9.0, 14.0), **dependence(0.5),
        )  # fmt: skip
    else:
        cells = models(other_bits, joint_code_entropy_bits=entropy(14.0, 9.0), **dependence(1.2))
    return images(cells)


def images(cells: Iterable[Row]) -> Rows:
    return Rows(frame=pd.DataFrame(list(cells)).sort_values("cell_id", ignore_index=True), stores=("made up",))


def paper_bits(cell: Row) -> float:
    if cell["dimension"] == 64:
        return 4.0 if cell["slices"] == 8 else 4.2
    if cell["quantizer"] == "dvq":
        return 3.13
    return 5.85 if cell["quantizer"] == "svq" else 4.67


def other_bits(cell: Row) -> float:
    """The reverse."""
    if cell["dimension"] == 64:
        return 4.2 - 0.01 * int(cell["slices"])
    return {"dvq": 4.8, "vq": 4.67, "svq": 4.5}[cell["quantizer"]]


def entropy(joint: float, sliced: float) -> Callable[[Row], float]:
    return lambda cell: joint if cell["joint_codebooks"] > 1 else sliced if cell["slices"] > 1 else 8.0


def dependence(refit: float) -> dict[str, Any]:
    return {"slice_dependence_bits_refit": lambda cell: refit, "slice_dependence_bits_shuffled": lambda cell: 1.0}


def factorial(loss: float, *, deviation: float = 0.01, failed: int | None = None) -> Rows:
    """What claim 10 needs, with losses about this one."""
    cells = []
    for groups, codes, seed in itertools.product((2, 4, 8), (16, 32), range(SEEDS)):
        fields = {"quantizer": "dvq", "dimension": 64, "groups": groups, "slices": groups, "centres": 16}
        ended = "diverged" if seed == failed else "ok"
        cell = made_up.identity(FACTORIAL, seed=seed, status=ended, codebook_size=codes, **fields)
        noise = float(np.random.default_rng(int(cell["cell_id"], 16)).normal() * deviation)
        # Twice the codes always suffice, in every one of these worlds.
        value = (1.0 if codes == 32 else loss) + noise
        cells.append({**cell, **made_up.RAN_ON, "test_mse": value if ended == "ok" else None})
    return made_up_rows(cells)


@pytest.mark.parametrize(
    ("loss", "deviation", "verdict"),
    [(1.02, 0.01, "reproduced"), (1.5, 0.01, "not reproduced"), (1.02, 3.0, "inconclusive")],
)
def test_as_many_factors_as_codes_can_tell_apart_are_expressed_or_not(
    loss: float, deviation: float, verdict: str
) -> None:
    decision = decided(10, factorial(loss, deviation=deviation))
    assert decision.outcome.verdict == verdict
    if deviation < 1:
        forms = {outcome.form.name: outcome.verdict for outcome in decision.others}
        assert forms["twice the codes"] == "reproduced"
        assert forms["k-means"] == "not run"


def test_at_the_edge_the_factors_are_said_to_be_expressed_in_at_most_one_of_twenty() -> None:
    held = 0
    for start in range(STORES):
        rows = factorial(1.1, deviation=0.0)
        noise = np.random.default_rng(start).normal(size=len(rows.frame)) * 0.02
        one = rows.frame.assign(test_mse=rows.frame["test_mse"] + noise)
        alone = one[(one["groups"] == 4) & (one["codebook_size"] == 16)]
        held += decided(10, replace(rows, frame=alone.reset_index(drop=True))).outcome.verdict == "reproduced"
    assert held <= most_of(0.05)


def test_failed_cells_never_express_factors_in_silence() -> None:
    decision = decided(10, factorial(1.02, failed=3))
    assert decision.outcome.left_out
    assert "Left out:" in sentences.decided_by(decision.claim, decision.outcome)


@pytest.mark.parametrize("number", range(1, 10))
def test_a_true_claim_about_blobs_is_reproduced_and_a_reversed_one_is_not(number: int) -> None:
    true = decided(number, about_blobs(as_the_paper_says)).outcome
    assert true.verdict == "reproduced", [(c.test.name, dict(c.point), c.low, c.high) for c in true.cells[:3]]
    assert true.left_out == ()
    assert decided(number, about_blobs(reversed_world)).outcome.verdict == "not reproduced"


@pytest.mark.parametrize("number", [1, 2, 4, 5, 6, 7, 8])
def test_noise_leaves_a_claim_inconclusive(number: int) -> None:
    """Not claim 3: a gap that is all noise does not grow, and its correlation says so."""
    noisy = about_blobs(as_the_paper_says, 60.0)
    assert decided(number, noisy).outcome.verdict == "inconclusive"


@pytest.mark.parametrize("number", [n for n in LEARNED if n != 14])
def test_a_true_claim_about_images_is_reproduced_and_a_reversed_one_is_not(number: int) -> None:
    assert decided(number, about_images(True)).outcome.verdict == "reproduced"
    assert decided(number, about_images(False)).outcome.verdict == "not reproduced"


@pytest.mark.parametrize("number", [11, 12, 13, 15, 17])
def test_noise_leaves_a_claim_about_images_inconclusive(number: int) -> None:
    assert decided(number, about_images(True, seeds=7, deviation=8.0)).outcome.verdict == "inconclusive"


@pytest.mark.parametrize(("dvq", "verdict"), [(3.2, "reproduced"), (5.5, "not reproduced")])
def test_convergence_is_read_from_the_curves(dvq: float, verdict: str, tmp_path: Path) -> None:
    compared = (made_up_images.PAPER[0], made_up_images.PAPER[3])
    cells = made_up_images.sweep(compared, 5, **CIFAR)
    cells = [{**c, "reconstruction_bits_per_dim": dvq if c["quantizer"] == "dvq" else 4.67} for c in cells]
    rows = load_rows([made_up_images.write(tmp_path / "store", cells, pictures=False)])
    assert decided(14, rows).outcome.verdict == verdict
    bare = load_rows([made_up_images.write(tmp_path / "bare", cells, curves=False, pictures=False)])
    outcome = decided(14, bare).outcome
    assert outcome.verdict == "not run"
    assert "a curve is missing" in outcome.left_out[0].why


def test_three_repetitions_are_too_few_and_the_sweep_is_named() -> None:
    decision = decided(11, images(models(paper_bits, seeds=3)))
    assert decision.outcome.verdict == "not run"
    said = sentences.decided_by(decision.claim, decision.outcome)
    assert "3 repetitions, and 5 are needed" in said
    assert said.endswith("To run: sweeps/cifar10.yaml.")


def test_images_of_unequal_content_are_not_compared() -> None:
    cells = models(paper_bits)
    cells = [{**c, "data_sha256": "other"} if c["quantizer"] == "dvq" else c for c in cells]
    assert {out.why for out in decided(12, images(cells)).outcome.left_out} == {
        "images of unequal content under one name"
    }


def test_failed_and_missing_cells_are_left_out_and_reported() -> None:
    cells = blobs(as_the_paper_says)
    bad = {"quantizer": "dvq", "dimension": 16, "slices": 4, "factors": 64}
    lost = [c for c in cells if all(c[k] == v for k, v in bad.items())]
    cells = [{**c, "status": "diverged", "test_mse": None} if c is lost[3] else c for c in cells if c is not lost[5]]
    decision = decided(1, made_up_rows(cells))
    assert decision.outcome.verdict == "reproduced"
    assert len(decision.outcome.left_out) == 1
    said = sentences.decided_by(decision.claim, decision.outcome)
    assert "Left out: 1 of 20 cells (dimension=16 factors=64 slices=4: dvq slices=4: seed" in said
    row = product.files([decision], made_up_rows(cells))[".md"].decode()
    assert "reproduced (19 of 20 cells tested)" in row


def test_a_store_whose_cells_all_failed_runs_no_claim() -> None:
    rows = made_up_rows({**c, "status": "error", "test_mse": None} for c in blobs(as_the_paper_says))
    assert {decided(n, rows).outcome.verdict for n in range(1, 11)} == {"not run"}


def test_equal_bits_stand_beside_equal_sizes() -> None:
    decision = decided(1, about_blobs(reversed_world))
    assert [outcome.form.name for outcome in decision.others] == ["at equal bits", "at equal parameters"]
    anchors = {cell.point["slices"] for cell in decision.others[0].cells}
    assert anchors == {2}


def test_unequal_trainings_are_not_paired() -> None:
    cells = made_up.rows(6, quantizer="dvq", dimension=16, codebook_size=16, slices=2, factors=64, init_bound=1.0)
    others = made_up.rows(
        6, quantizer="vq", dimension=16, codebook_size=16, factors=64, init_bound=1.0, learning_rate=0.02
    )
    outcome = decided(1, made_up_rows([*cells, *others])).outcome
    assert outcome.verdict == "not run"
    assert "vq" in outcome.left_out[0].why
    assert "never run" in outcome.left_out[0].why


@pytest.mark.parametrize("n", [5, 10, 20])
def test_an_effect_that_is_not_there_is_found_in_at_most_one_of_twenty(n: int) -> None:
    samples = np.random.default_rng(n).normal(size=(2000, n))
    ends = np.array(intervals(list(samples)))
    assert (ends[:, 1] < 0).mean() <= 0.05
    assert (ends[:, 0] > 0).mean() <= 0.05


STORES = 150
"""Stores of each kind in which the truth is that there is no effect, or just not as much as a claim says."""


World = Callable[[np.random.Generator], Rows]


@dataclass(frozen=True, kw_only=True)
class RowsWithCurves(Rows):
    """Rows whose curves are no files."""

    steps: npt.NDArray[np.int64]
    curves: Mapping[str, Array]
    """By cell, the values at those steps."""

    def load_curves(self, cell_ids: Collection[str], columns: Sequence[str]) -> pd.DataFrame:
        (column,) = columns
        return pd.DataFrame(
            {
                "cell_id": np.repeat(list(cell_ids), len(self.steps)),
                "step": np.tile(self.steps, len(cell_ids)),
                column: np.concatenate([self.curves[cell_id] for cell_id in cell_ids]),
            }
        )


def side_by_side(cells: Iterable[Row]) -> pd.DataFrame:
    """The same cells for each of many stores, which learning rates keep apart: no claim compares over these."""
    frame = pd.DataFrame(list(cells))
    many = frame.loc[np.tile(frame.index, STORES)].reset_index(drop=True)
    store = np.repeat(np.arange(STORES), len(frame))
    tag = pd.Series(store).map("{:04}".format)
    return many.assign(
        cell_id=many["cell_id"] + tag, point_id=many["point_id"] + tag, learning_rate=1e-3 * (store + 1)
    )  # fmt: skip


def rows_of(frame: pd.DataFrame) -> Rows:
    return Rows(frame=frame, stores=("made up",))


def equal_losses(random: np.random.Generator) -> Rows:
    """DVQ's loss is VQ's."""
    at: dict[str, Any] = {"dimension": 16, "codebook_size": 16, "factors": 64, "init_bound": 1.0}
    frame = side_by_side([*made_up.rows(6, quantizer="dvq", slices=2, **at), *made_up.rows(6, quantizer="vq", **at)])
    return rows_of(frame.assign(test_mse=30 + random.normal(size=len(frame))))


def gaps(random: np.random.Generator, gap: Callable[[pd.DataFrame], Any]) -> Rows:
    """VQ's loss is above DVQ's by so much, at each number of factors."""
    at: dict[str, Any] = {"dimension": 16, "codebook_size": 16, "factors": FACTORS, "init_bound": 1.0}
    frame = side_by_side([*made_up.rows(6, quantizer="dvq", slices=2, **at), *made_up.rows(6, quantizer="vq", **at)])
    frame = frame.assign(place=frame["factors"].map(FACTORS.index))
    return rows_of(frame.assign(test_mse=20 + np.where(frame["quantizer"] == "vq", gap(frame), 0.0)))


def a_gap_that_stops_growing(random: np.random.Generator) -> Rows:
    """Over the last step of factors it grows by the 5% that claim 3 asks for more than."""
    means = np.array([1.0, 2.0, 3.0, 4.0, 4.2])
    return gaps(random, lambda frame: means[frame["place"]] + 0.05 * random.normal(size=len(frame)))


def a_gap_that_wavers(random: np.random.Generator) -> Rows:
    """Its rank correlation is 1 or 0.8, by chance for each seed; claim 3 asks for more than 0.9."""
    orders = np.array([[1.0, 2.0, 3.0, 4.0, 8.0], [2.0, 1.0, 4.0, 3.0, 8.0]])

    def gap(frame: pd.DataFrame) -> Any:
        repetition = frame.groupby(["learning_rate", "seed"]).ngroup()
        return orders[random.integers(2, size=repetition.max() + 1)[repetition], frame["place"]]

    return gaps(random, gap)


def a_drop_of_a_tenth(random: np.random.Generator) -> Rows:
    """Four times the codes take off the 10% that claim 6 asks for more than."""
    at: dict[str, Any] = {"dimension": 16, "codebook_size": [16, 64], "factors": 1024, "init_bound": 1.0}
    frame = side_by_side(made_up.rows(6, quantizer="vq", **at))
    means = np.where(frame["codebook_size"] == 16, 30.0, 27.0)
    return rows_of(frame.assign(test_mse=means * (1 + 0.02 * random.normal(size=len(frame)))))


def equal_bits(random: np.random.Generator) -> Rows:
    """DVQ's reconstruction is the usual VQ's."""
    frame = side_by_side(made_up_images.sweep((made_up_images.PAPER[0], made_up_images.PAPER[3]), 6, **CIFAR))
    return rows_of(frame.assign(reconstruction_bits_per_dim=4 + 0.1 * random.normal(size=len(frame))))


def equal_slices(random: np.random.Generator) -> Rows:
    """The reconstruction is the same whatever the slices, so that the best of them is so by chance."""
    models = [{"quantizer": "dvq", "dimension": 64, "slices": slices} for slices in (1, 2, 4, 8, 16, 32, 64)]
    frame = side_by_side(made_up_images.sweep(models, 6, **CIFAR))
    return rows_of(frame.assign(reconstruction_bits_per_dim=4 + 0.1 * random.normal(size=len(frame))))


def half_of_the_steps(random: np.random.Generator) -> Rows:
    """DVQ is where VQ ends after half of the steps in the mean; claim 14 asks for fewer."""
    frame = side_by_side(made_up_images.sweep((made_up_images.PAPER[0], made_up_images.PAPER[3]), 6, **CIFAR))
    steps, reached = (
        np.arange(0, 101, 10, dtype=np.int64),
        np.where(frame["quantizer"] == "vq", 10, random.integers(1, 10, len(frame))),
    )
    curves = {
        cell_id: np.where(np.arange(len(steps)) < at, 8.0, 4.0)
        for cell_id, at in zip(frame["cell_id"], reached, strict=True)
    }
    return RowsWithCurves(frame=frame, stores=("made up",), steps=steps, curves=curves)


@pytest.mark.parametrize(
    ("number", "world"),
    [
        (1, equal_losses), (3, a_gap_that_stops_growing), (3, a_gap_that_wavers), (6, a_drop_of_a_tenth),
        (11, equal_bits), (14, half_of_the_steps), (17, equal_slices),
    ],
)  # fmt: skip
def test_a_claim_of_no_effect_is_reproduced_in_at_most_one_of_twenty_stores(number: int, world: World) -> None:
    """The whole decision, with one comparison in each store: with more of them all would have to be wrong at once.

    More than `most_of(0.05)` would be seen with a probability of 0.1% where one of twenty is the truth.
    """
    rows = world(np.random.default_rng(0))
    reproduced, others = reproduced_stores(number, rows)
    assert len(reproduced) <= most_of(0.05)
    for rate in (*sorted(reproduced)[:1], min(others)):
        alone = replace(rows, frame=rows.frame[rows.frame["learning_rate"] == rate])
        assert (decided(number, alone).outcome.verdict == "reproduced") == (rate in reproduced)


def reproduced_stores(number: int, rows: Rows) -> tuple[set[float], set[float]]:
    """Stores, by their learning rates, in which all cells of the claim hold, and the others."""
    holds: dict[float, list[bool]] = {}
    for cell in decided(number, rows).outcome.cells:
        holds.setdefault(cell.point["learning_rate"], []).append(cell.outcome == "holds")
    assert len(holds) == STORES
    assert {len(cells) for cells in holds.values()} == {2 if number == 3 else 1}
    reproduced = {rate for rate, cells in holds.items() if all(cells)}
    return reproduced, holds.keys() - reproduced


def most_of(rate: float) -> int:
    """Stores of which there are more with a probability of 0.1%, where each is reproduced at this rate."""
    return int(stats.binom.ppf(0.999, STORES, rate))


@pytest.mark.parametrize("number", range(1, 10))
def test_failed_cells_never_reproduce_a_claim_in_silence(number: int) -> None:
    cells = blobs(as_the_paper_says)
    failed = {"status": "diverged", "test_mse": None, "loss_over_variance": None}
    lost = [{**cell, **failed} if (cell["seed"], cell["factors"]) == (3, 16384) else cell for cell in cells]
    decision = decided(number, made_up_rows(lost))
    assert decision.outcome.left_out
    assert all("seed 3 failed (diverged)" in out.why for out in decision.outcome.left_out)
    assert "Left out:" in sentences.decided_by(decision.claim, decision.outcome)


@pytest.mark.parametrize(
    ("number", "lost", "verdict"),
    [
        (11, {"quantizer": "vq", "joint_codebooks": 10}, "reproduced"), (11, {"quantizer": "dvq"}, "not run"),
        (12, {"quantizer": "vq"}, "not run"), (13, {"joint_positions": 8}, "reproduced"),
        (14, {"quantizer": "vq"}, "not run"), (15, {"quantizer": "dvq"}, "not run"),
        (16, {"quantizer": "dvq"}, "not run"), (17, {"dimension": 64, "slices": 8}, "not run"),
        (18, {"quantizer": "dvq"}, "not run"),
    ],
)  # fmt: skip
def test_failed_cells_never_reproduce_a_claim_about_images_in_silence(
    number: int, lost: Mapping[str, Any], verdict: str
) -> None:
    rows = about_images(True)
    failed = rows.frame["seed"] == 3
    for column, value in lost.items():
        failed &= rows.frame[column] == value
    frame = rows.frame.assign(status=rows.frame["status"].mask(failed, "diverged"))
    for metric in ("reconstruction_bits_per_dim", "total_bits_per_dim_unigram", "joint_code_entropy_bits"):
        frame[metric] = frame[metric].mask(failed)
    holed = Rows(frame=frame, stores=rows.stores)
    decision = decided(number, holed)
    assert decision.outcome.verdict == verdict
    assert decision.outcome.left_out
    assert all("seed 3 failed (diverged)" in out.why for out in decision.outcome.left_out)
    assert "Left out:" in sentences.decided_by(decision.claim, decision.outcome)
    total = len(decision.outcome.cells) + len(decision.outcome.left_out)
    row = product.files([decision], holed)[".md"].decode()
    assert verdict == "not run" or f"reproduced ({len(decision.outcome.cells)} of {total} cells tested)" in row


def test_the_interval_is_scipys_and_as_wide_as_students() -> None:
    sample = np.random.default_rng(0).exponential(size=12)
    theirs = stats.bootstrap(
        (sample,), np.mean, method="BCa", confidence_level=expanded_level(12), rng=np.random.default_rng(0)
    ).confidence_interval
    np.testing.assert_allclose(intervals([sample])[0], (theirs.low, theirs.high), rtol=1e-9)
    half = stats.norm.ppf(0.5 + expanded_level(12) / 2) * np.sqrt(11 / 12)
    assert half == pytest.approx(stats.t.ppf(0.975, 11))


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert intervals([np.full(5, 1.5)]) == [(1.5, 1.5)]
    with pytest.raises(ValueError, match="at least 2"):
        intervals([np.array([1.0])])


def test_the_test_against_is_students_and_holm_is_holms() -> None:
    sample = np.random.default_rng(0).normal(1, 1, 9)
    expected = stats.ttest_1samp(sample, 0.5, alternative="greater").pvalue
    assert outside_p_values([sample], [Region(high=0.5)]) == [pytest.approx(expected)]
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_one_stray_cell_of_many_does_not_refute_a_claim() -> None:
    """Without a correction one cell of many would."""
    samples = [np.random.default_rng(seed).normal(size=8) for seed in range(60)]
    region = Region(high=0)
    p_values = outside_p_values(samples, [region] * len(samples))
    assert min(p_values) < 0.025
    assert min(holm(p_values)) > 0.025


def member(values: Sequence[float], curve: Sequence[float] = ()) -> Member:
    steps = np.arange(len(curve)) * 10
    curves = [(steps, np.array(curve))] if curve else []
    return Member(metrics={"m": np.array(values)}, curves=curves)


def test_statistics_by_hand() -> None:
    a, b = member([1.0, 2.0]), member([4.0, 4.0])
    assert statistics.difference("m")([a, b]).tolist() == [-3.0, -2.0]
    assert statistics.gain("m")([a, b]).tolist() == [0.75, 0.5]
    assert statistics.drop("m")([b, a]).tolist() == [0.75, 0.5]
    gaps = [member([0.0]), member([1.0]), member([0.0]), member([2.0]), member([0.0]), member([3.0])]
    assert statistics.rank_correlation_of_gap("m")(gaps).tolist() == [1.0]
    assert statistics.last_growth_of_gap("m")(gaps).tolist() == [0.5]
    assert statistics.growth_beyond_half("m")([member([9.0]), member([14.0]), member([8.0]), member([8.0])]) == [-2.0]


def test_the_best_of_several_is_chosen_by_other_seeds() -> None:
    first, lucky, good = member([5.0, 5.0, 5.0]), member([0.0, 6.0, 6.0]), member([4.0, 4.0, 4.0])
    assert statistics.best_of_others("m")([first, lucky, good]).tolist() == [-1.0, -5.0 + 4.0 + 2.0, 1.0]


def test_a_curve_that_never_gets_there_takes_all_of_its_steps() -> None:
    vq = member([0.0], [8.0, 5.0, 4.5, 4.0, 3.9])
    fast, slow = member([0.0], [8.0, 3.9, 3.8, 3.7, 3.6]), member([0.0], [8.0, 7.0, 6.0, 5.0, 5.0])
    assert statistics.steps_to_the_others_end([fast, vq]).tolist() == [0.25]
    assert statistics.steps_to_the_others_end([slow, vq]).tolist() == [1.0]


def test_equal_rows_give_equal_bytes_and_json_holds_every_cell() -> None:
    cells = blobs(as_the_paper_says)
    first, second = (
        product.files(product.decisions(rows), rows) for rows in (made_up_rows(cells), made_up_rows(reversed(cells)))
    )
    assert first == second
    content = json.loads(first[".json"])
    assert [claim["claim"] for claim in content["claims"]] == list(range(1, 19))
    assert len(content["claims"][0]["tests"][0]["cells"]) == 20
    assert content["run_commits"] == ["c0ffee"]


def test_the_verdicts_on_the_committed_fits() -> None:
    decisions = product.decisions(load_rows([str(REFERENCE)]))
    verdicts = {d.claim.number: d.outcome.verdict for d in decisions}
    assert [verdicts[number] for number in range(1, 10)] == [
        "reproduced", "reproduced", "not reproduced", "not reproduced", "not reproduced", "inconclusive",
        "not reproduced", "not reproduced", "reproduced",
    ]  # fmt: skip
    assert {verdicts[number] for number in range(10, 19)} == {"not run"}
    counts = {d.claim.number: (d.outcome.count("holds"), d.outcome.count("against")) for d in decisions}
    assert counts[1] == (30, 0)
    assert counts[2] == (36, 0)
    assert counts[5] == (0, 12)
    forms = {(d.claim.number, outcome.form.name): outcome.verdict for d in decisions for outcome in d.others}
    assert forms[1, "at equal bits"] == "not reproduced"
    assert forms[4, "L = 8, 32 bits"] == "reproduced"
    assert forms[6, "codes start in ±1"] == "reproduced"
