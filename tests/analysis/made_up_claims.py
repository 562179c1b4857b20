"""Made-up rows with the ids of the protocol's cells, and worlds in which claims are true or false."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.claims import product
from analysis.claims.claim import Claim, Fields, Reading
from analysis.claims.decide import Decision, decide
from analysis.claims.learned_prior import REFIT
from analysis.claims.priors import LADDER
from analysis.claims.samples import IMAGES
from analysis.data.rows import Rows
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.code_prior.parents import quantizer_fields
from tests.analysis import made_up
from tests.analysis.made_up import Row

BY_NUMBER = {claim.number: claim for claim in product.TESTED}
SIZES = (16, 64, 256, 1024)
NOMINAL = 1.0
"""Bits/dim of codes that are equally likely."""
World = Callable[[Fields], Mapping[str, float]]
"""Metrics of a point, without noise."""


@dataclass(frozen=True, kw_only=True)
class MadeUpRows(Rows):
    """Rows whose curves and artifacts are no files."""

    steps: Sequence[int] = ()
    images: Mapping[str, bytes] = field(default_factory=dict)

    def load_curves(self, cell_ids: Collection[str], columns: Sequence[str]) -> pd.DataFrame:
        (column,) = columns
        ends = self.frame.set_index("cell_id")[column]
        tables = [
            pd.DataFrame(
                {
                    "cell_id": cell_id,
                    "step": self.steps,
                    column: ends[cell_id] + (8.0 - ends[cell_id]) * np.exp(-0.02 * np.array(self.steps)),
                }
            )
            for cell_id in cell_ids
        ]
        return pd.concat(tables) if tables else pd.DataFrame(columns=["cell_id", "step", column])

    def read_artifact(self, cell_id: str, name: str) -> bytes | None:
        return self.images.get(cell_id) if name == IMAGES else None


def reading_of(number: str, name: str = "") -> Reading:
    """The reading of a claim with that name, or the one that decides."""
    claim = BY_NUMBER[number]
    return next((reading for reading in claim.readings if reading.name == name), claim.reading)


def cells_of(claim: Claim, readings: Iterable[Reading], world: World, *, noise: float = 0.002) -> list[Row]:
    """Rows of every cell of these readings, each metric with a relative noise of its own."""
    experiment, found = find_experiment(claim.trainable), dict[str, Row]()
    readings = list(readings)
    points = [fields for r in readings for test in r.tests for points in test.cells for fields in points]
    takes_priors = any(test.prior for r in readings for test in r.tests)
    for fields in {tuple(sorted(each.items())): each for each in points}.values():
        for seed in readings[0].seeds:
            cell = made_up.identity(experiment, seed=seed, status="ok", **fields)
            random = np.random.default_rng(int(cell["cell_id"], 16))
            metrics = {name: value * (1 + noise * random.standard_normal()) for name, value in world(fields).items()}
            found[cell["cell_id"]] = {**cell, **made_up.RAN_ON, **metrics, "data_sha256": "equal"}
            for prior in LADDER if takes_priors else ():
                its = _of_codes(found[cell["cell_id"]], fields, prior)
                found[its["cell_id"]] = its
    return list(found.values())


def _of_codes(parent: Row, fields: Fields, prior: str) -> Row:
    """The row of a prior over a cell's codes, which cost the share of their nominal rate that the cell says."""
    point = find_experiment("learned_prior").settings(fields)
    cell = made_up.identity(
        find_experiment("code_prior"), seed=parent["seed"], status="ok", prior=prior, coded=True,
        parent_point_id=parent["point_id"], **quantizer_fields(point),
    )  # fmt: skip
    share = parent.get(f"share_{prior}", 1.0)
    codes, reconstruction = NOMINAL * share, parent["reconstruction_bits_per_dim"]
    return {
        **cell, **made_up.RAN_ON, "code_bits_per_dim": codes, "code_bits_over_uniform": share,
        "total_bits_per_dim": reconstruction + codes, "data_sha256": "equal",
    }  # fmt: skip


def rows_of(cells: Iterable[Row], *, images: int = 400) -> MadeUpRows:
    frame = pd.DataFrame(list(cells)).sort_values("cell_id", ignore_index=True)
    return MadeUpRows(frame=frame, stores=("made up",), steps=[0, 100, 200, 300, 400], images=_images(frame, images))


def _images(frame: pd.DataFrame, count: int) -> dict[str, bytes]:
    """Metrics of test images about those of each row: images differ from each other in the same way in every row."""
    columns = [name for name in frame if str(name).endswith("bits_per_dim") or str(name).startswith("total_bits")]
    offsets = np.random.default_rng(5).normal(0, 0.3, count)
    found = {}
    for row in frame[["cell_id", "trainable", *columns]].to_dict("records"):
        spread = 0.1 if row["trainable"] == "code_prior" else 1.0
        own = spread * (offsets - offsets.mean())
        table = pa.table({str(name): float(row[name]) + own for name in columns if pd.notna(row[name])})
        sink = io.BytesIO()
        pq.write_table(table, sink)
        found[row["cell_id"]] = sink.getvalue()
    return found if columns else {}


def decided(number: str, rows: Rows) -> Decision:
    return decide([BY_NUMBER[number]], rows)[0]


def as_the_paper_says(fields: Fields) -> dict[str, float]:
    """A world in which claims 1 to 10 are all true."""
    if "groups" in fields:
        return {"test_mse": 1.01}
    place = (16, 64, 256, 1024, 4096, 16384).index(fields["factors"])
    size = SIZES.index(fields["codebook_size"]) if fields["codebook_size"] in SIZES else 0
    if fields["quantizer"] == "dvq":
        loss = 16.0 - 2.0 * place - 0.5 * fields["slices"]
    else:
        loss = 35.0 - 0.1 * size if fields["dimension"] > 16 else 35.0 * 0.8**size
    return {"test_mse": loss, "data_variance": 40.0, "loss_over_variance": loss / 40, "untrained_test_mse": 60.0}


def reversed_world(fields: Fields) -> dict[str, float]:
    """One in which they are all false."""
    if "groups" in fields:
        return {"test_mse": 1.5}
    place = (16, 64, 256, 1024, 4096, 16384).index(fields["factors"])
    size = SIZES.index(fields["codebook_size"]) if fields["codebook_size"] in SIZES else 0
    if fields["quantizer"] == "dvq":
        loss = 60.0 + 2.0 * place
    else:
        loss = 45.0 - 5.0 * size if fields["dimension"] > 16 else 45.0 + 2 * size
    return {"test_mse": loss, "data_variance": 40.0, "loss_over_variance": loss / 40, "untrained_test_mse": 30.0}


def paper_bits(fields: Fields) -> dict[str, float]:
    """A world in which claims 11 to 18 are all true."""
    if fields["dimension"] == 64 and fields["quantizer"] == "dvq":
        least = 3.13 if "body_channels" in fields else 4.0  # a small network has its other claims at 64 features too
        bits = least if fields["slices"] in (4, 8) else 4.2
    else:
        bits = {"dvq": 3.13, "svq": 5.85, "vq": 4.67}[fields["quantizer"]]
    sliced, joint = fields["quantizer"] == "dvq", fields.get("joint_codebooks", 1) > 1
    return {
        "reconstruction_bits_per_dim": bits, "total_bits_per_dim_unigram": bits + 0.05,
        "share_uniform": 1.0, "share_unigram": 0.5, "share_positional": 0.4, "share_chain": 0.1, "share_spatial": 0.03,
        "code_cross_entropy_bits": 60.0 if sliced else 20.0 if joint else 9.0,
        REFIT: 0.5 if sliced else 0.95, "slice_dependence_bits_random_mean": 1.0,
    }  # fmt: skip


def other_bits(fields: Fields) -> dict[str, float]:
    """One in which they are all false."""
    if fields["dimension"] == 64 and fields["quantizer"] == "dvq":
        bits = 5.5 - 0.01 * fields["slices"]
    else:
        bits = {"dvq": 4.8, "svq": 4.5, "vq": 4.67}[fields["quantizer"]]
    sliced, joint = fields["quantizer"] == "dvq", fields.get("joint_codebooks", 1) > 1
    return {
        "reconstruction_bits_per_dim": bits, "total_bits_per_dim_unigram": bits + 0.05,
        "share_uniform": 1.0, "share_unigram": 0.9, "share_positional": 0.9, "share_chain": 0.85, "share_spatial": 0.8,
        "code_cross_entropy_bits": 30.0 if sliced else 40.0 if joint else 9.0,
        REFIT: 0.95, "slice_dependence_bits_random_mean": 1.0,
    }  # fmt: skip


@cache
def about(number: str, world: World, noise: float = 0.002) -> MadeUpRows:
    claim = BY_NUMBER[number]
    return rows_of(cells_of(claim, [claim.reading], world, noise=noise))
