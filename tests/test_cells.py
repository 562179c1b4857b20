from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.sweep import cells as cells_module
from dvq_ray.sweep.cells import Pack, Point, expand, pack_cells, points_of, run_order
from dvq_ray.sweep.spec import load_sweep
from dvq_ray.sweep.wanted import WantedCells
from tests.sweep_files import write

FIELDS = {"quantizer": "vq", "dimension": 4, "codebook_size": 8, "factors": 16}


def point(**changes: object) -> Point:
    experiment = find_experiment("static_prior")
    return Point(experiment=experiment, settings=experiment.settings({**FIELDS, **changes}))


def test_the_id_is_the_hash_of_every_resolved_field_with_revision_and_seed() -> None:
    resolved = {
        **FIELDS, "train_samples": 16384, "init_bound": 1.0, "learning_rate": 0.3, "schedule": "cosine",
        "steps": 4000, "batch_size": 256,
    }  # fmt: skip
    text = json.dumps(
        {"trainable": "static_prior", "revision": 1, "settings": resolved, "seed": 3},
        sort_keys=True,
        separators=(",", ":"),
    )
    assert point().cell_id(3) == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_ids_are_frozen() -> None:
    # A change here means that every stored result of every user is computed again.
    assert point().cell_id(0) == "1663d4f901ae63dc"
    assert point(quantizer="dvq", slices=2, init_bound=10).cell_id(7) == "eddd704dcf51b791"


def test_ids_of_vectors_are_frozen() -> None:
    experiment = find_experiment("vectors")
    plain = {"quantizer": "vq", "codebook_size": 16}
    other = {
        "quantizer": "kmeans", "codebook_size": 16, "slices": 2, "dataset": "mine", "rows": 4000, "normalise": True,
        "scale": "features",
    }  # fmt: skip
    ids = [Point(experiment=experiment, settings=experiment.settings(fields)).cell_id(0) for fields in (plain, other)]
    assert ids == ["adcf182311a9f3e3", "37167d351228ec0c"]


@pytest.mark.parametrize(
    ("fields", "cell_id"),
    [
        ({"quantizer": "pq", "slices": 2, "codebook_size": 16}, "0a5781c92573c2a1"),
        ({"quantizer": "opq", "slices": 2, "codebook_size": 16}, "1b21744a985dc951"),
        (
            {
                "quantizer": "opq",
                "slices": 2,
                "codebook_size": 16,
                "rotation_start": "random",
                "rotation_rounds": 50,
            },
            "1b21744a985dc951",
        ),
        ({"quantizer": "rvq", "stages": 2, "codebook_size": 16}, "bfd83366af1200d5"),
        ({"quantizer": "grvq", "slices": 2, "stages": 2, "codebook_size": 16}, "c098abe397401b91"),
        ({"quantizer": "lsq", "additive_codebooks": 2, "codebook_size": 16}, "f415a1a826bea75e"),
        ({"quantizer": "faiss", "factory_string": "PQ2x4", "features": 8}, "8e12877e1ce262ba"),
        ({"quantizer": "fsq", "levels": "8x6x5"}, "783f6f1e8baecb4f"),
        ({"quantizer": "lfq", "sign_bits": 8}, "20125e6f98337c8a"),
        ({"quantizer": "bsq", "sign_bits": 8}, "fd2af82fa3e5a8a8"),
        ({"quantizer": "simvq", "codebook_size": 16}, "b1b056713cf4bf2f"),
        ({"quantizer": "vector_quantize_pytorch", "library_call": "SimVQ(codebook_size=16)"}, "68d9aae72a428d93"),
    ],
)
def test_ids_of_each_quantizer_are_frozen(fields: dict[str, object], cell_id: str) -> None:
    experiment = find_experiment("static_prior")
    settings = experiment.settings({"dimension": 8, "factors": 16, **fields})
    assert Point(experiment=experiment, settings=settings).cell_id(0) == cell_id


def test_a_default_that_is_written_out_is_the_same_cell() -> None:
    assert point(steps=4000, init_bound=1).cell_id(0) == point().cell_id(0)


def test_every_field_seed_and_revision_changes_the_id() -> None:
    raised = dataclasses.replace(find_experiment("static_prior"), revision=2)
    ids = {
        point().cell_id(0),
        point().cell_id(1),
        Point(experiment=raised, settings=point().settings).cell_id(0),
        *(
            point(**{field: value}).cell_id(0)
            for field, value in [
                ("dimension", 8), ("codebook_size", 4), ("factors", 17), ("train_samples", 99), ("init_bound", 2.0),
                ("learning_rate", 0.1), ("schedule", "constant"), ("steps", 10), ("batch_size", 8),
            ]
        ),
    }  # fmt: skip
    assert len(ids) == 3 + 9


def test_a_changed_default_gives_new_ids() -> None:
    experiment = find_experiment("static_prior")

    class Changed(experiment.variant("vq")):  # type: ignore[misc]
        steps: int = 5000

    changed = Point(experiment=experiment, settings=Changed.model_validate(FIELDS))
    assert changed.cell_id(0) != point().cell_id(0)


def test_repetitions_of_a_point_share_its_point_id() -> None:
    first, second = point().cell(0), point().cell(1)
    assert first.cell_id != second.cell_id
    assert first.point.point_id == second.point.point_id != point(steps=10).point_id


def test_a_cell_that_two_grids_name_is_wanted_once(tmp_path: Path) -> None:
    text = (
        "name: x\ntrainable: static_prior\nseeds: 3\nfixed: {factors: 8, quantizer: vq, codebook_size: 4}\n"
        "grids:\n  a: {dimension: [2, 4]}\n  b: {dimension: [4, 8]}\n"
    )
    cells, by_grid = expand(load_sweep(write(tmp_path, text)))
    assert len(cells) == 9
    assert {name: len(ids) for name, ids in by_grid.items()} == {"a": 6, "b": 6}
    assert len(set(by_grid["a"]) & set(by_grid["b"])) == 3


def test_a_longer_axis_or_more_seeds_keep_the_ids_that_were_there(tmp_path: Path) -> None:
    ids = [
        {cell.cell_id for cell in expand(load_sweep(write(tmp_path), overrides))[0]}
        for overrides in ([], ["seeds=5"], ["grids.plain.dimension=[2, 4, 8]"])
    ]
    assert ids[0] < ids[1]
    assert ids[0] < ids[2]


def test_packs_carry_every_cell_once_in_order(tmp_path: Path) -> None:
    cells, _ = expand(load_sweep(write(tmp_path), ["seeds=50"]))
    packs = pack_cells(cells, slots=3)
    assert [cell.cell_id for pack in packs for cell in pack.cells] == [cell.cell_id for cell in cells]
    assert len(packs) >= cells_module.PACKS_PER_SLOT * 3


def test_a_sweep_cut_short_has_every_point_at_as_many_repetitions_or_one_less(tmp_path: Path) -> None:
    cells, _ = expand(load_sweep(write(tmp_path), ["seeds=5"]))
    ordered = run_order(cells, together=False)
    assert sorted(cell.cell_id for cell in ordered) == sorted(cell.cell_id for cell in cells)
    points = {cell.point.point_id for cell in cells}
    for end in range(len(ordered) + 1):
        counts = Counter(cell.point.point_id for cell in ordered[:end])
        assert max(counts.values(), default=0) - min(counts[point_id] for point_id in points) <= 1


def test_among_equal_repetitions_the_longest_run_first(tmp_path: Path) -> None:
    cells, _ = expand(load_sweep(write(tmp_path), ["seeds=[7, 3]"]))
    ordered = run_order(cells, together=False)
    for seed in (7, 3):
        lengths = [cell.nominal_seconds() for cell in ordered if cell.seed == seed]
        assert len(set(lengths)) > 1
        assert lengths == sorted(lengths, reverse=True)


def test_repetitions_that_one_batch_computes_stay_together(tmp_path: Path) -> None:
    cells, _ = expand(load_sweep(write(tmp_path), ["seeds=3"]))
    ordered = run_order(cells, together=True)
    assert [cell.seed for cell in ordered] == [0, 1, 2] * (len(cells) // 3)
    assert all(len({cell.point.point_id for cell in ordered[at : at + 3]}) == 1 for at in range(0, len(cells), 3))
    lengths = [cell.nominal_seconds() for cell in ordered]
    assert lengths == sorted(lengths, reverse=True)


def test_a_cell_longer_than_a_pack_goes_alone(tmp_path: Path) -> None:
    cells, _ = expand(load_sweep(write(tmp_path), ["steps=100000000"]))
    assert all(len(pack.cells) == 1 for pack in pack_cells(cells, slots=1))


def test_a_pack_survives_its_journey_as_json(tmp_path: Path) -> None:
    cells, _ = expand(load_sweep(write(tmp_path)))
    pack = Pack(cells=cells)
    again = Pack.from_plain(json.loads(json.dumps(pack.to_plain())))
    assert [(cell.cell_id, cell.seed) for cell in again.cells] == [(cell.cell_id, cell.seed) for cell in cells]


def test_no_cells_make_no_packs() -> None:
    assert pack_cells([], slots=2) == []


def test_rows_find_their_cells_by_point_and_seed_and_by_id_where_these_mislead(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path), ["seeds=[7, 3, 5]"])
    cells = WantedCells(points_of(spec), lambda grid, point: grid.seeds)
    assert [cell.cell_id for cell in cells] == [cell.cell_id for cell in expand(spec)[0]]
    assert cells[4].cell_id == [*cells][4].cell_id
    every = [(cell.cell_id, cell.point.point_id, cell.seed) for cell in cells]
    rows = pd.DataFrame(every[::-1], columns=["cell_id", "point_id", "seed"])
    assert cells.find(rows).tolist() == [*range(len(cells))][::-1]
    strange = [("f" * 16, every[0][1], 7), ("e" * 16, "no point", 7), ("d" * 16, every[0][1], 8)]
    more = pd.DataFrame([*every, *strange], columns=rows.columns)
    assert cells.find(more).tolist() == [*range(len(cells)), -1, -1, -1]
    assert cells.find(rows.assign(point_id=rows["point_id"].tolist()[::-1])).tolist() == cells.find(rows).tolist()
    assert cells.find(rows.assign(point_id=None, seed=np.nan)).tolist() == cells.find(rows).tolist()
