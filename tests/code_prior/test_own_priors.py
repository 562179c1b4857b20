"""Priors that are not built in, and the fields that a prior has or does not have."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dvq_ray import load_model, plan, providers
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.code_prior.registry import PRIORS
from dvq_ray.experiments.code_prior.settings import OWN_FIELDS
from dvq_ray.problems import SweepFileError
from dvq_ray.quantizer.kept_codes import FILE, read_codes
from dvq_ray.store import Store
from dvq_ray.store.rows import python_value
from dvq_ray.sweep.cells import Pack, Point, expand
from dvq_ray.sweep.spec import parse_sweep
from dvq_ray.sweep.yaml_writer import write_yaml
from tests.code_prior.stores import blob_sweep, prior_sweep, run

ROOT = Path(__file__).parents[2]
SOURCE = """
import numpy as np
from dvq_ray.experiments.code_prior.prior import Prior
from dvq_ray.experiments.code_prior.priors.unigram import FittedUnigram

class Last(Prior):
    "Unigram of the last tenth of the training codes."
    rank = 7
    takes = ("prior_width",)
    fitted = FittedUnigram

    @classmethod
    def fit(cls, codes, fit):
        some = codes[-max(1, len(codes) * fit.settings.prior_width // 1000):]
        columns = zip(fit.layout.pooled(some), fit.layout.sizes)
        return FittedUnigram(fit.layout, [np.bincount(column, minlength=size) for column, size in columns])

class Unfinished(Prior):
    fitted = FittedUnigram

NUMBER = 3
"""


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blobs")
    run(blob_sweep(), folder)
    return folder / "blobs"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module with priors, in a folder that Python searches."""
    (tmp_path / "own_priors.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_priors"
    for name in [name for name in PRIORS._found if "own" in name]:
        del PRIORS._found[name]
    sys.modules.pop("own_priors", None)


def ladder_of(blobs: Path, *priors: str, **more: Any) -> dict[str, Any]:
    return prior_sweep(blobs, grids={"own": {"prior": [*priors], **more}})


def test_a_prior_of_a_module_is_computed_named_and_found_again(module: str, blobs: Path, tmp_path: Path) -> None:
    name = f"{module}:Last"
    frame = run({**ladder_of(blobs, name, prior_width=100, coded=True), "keep": ["model"]}, tmp_path)
    assert set(frame["prior"]) == {name}
    assert set(frame["prior_width"]) == {100}
    row = frame.iloc[0]
    assert json.loads(row["run_versions"])[name].startswith("source-")
    content = Store(blobs).read_artifact(row["parent_cell_id"], FILE)
    assert content
    codes = read_codes(content)
    model: Any = load_model(tmp_path / "priors", row["cell_id"])
    np.testing.assert_array_equal(model.decompress(model.compress(codes["test"])), codes["test"])
    some = codes["train"][-60:]
    counts = [np.bincount(column, minlength=8) + 0.5 for column in some.T]
    bits = -sum(np.log2(count / count.sum())[column] for count, column in zip(counts, codes["test"].T, strict=True))
    assert row["code_bits_per_sample"] == pytest.approx(np.mean(bits))
    assert plan(ladder_of(blobs, name, prior_width=100, coded=True), results=tmp_path).missing == 0


def test_a_worker_gets_it_with_the_pack(
    module: str, blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the code, and not what pip knows of it: a short name of an entry point is found by the full one."""
    info = tmp_path / "some_dist-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{PRIORS.group}]\nown = {module}:Last\n")
    providers._all_entry_points.cache_clear()
    try:
        spec = parse_sweep(write_yaml(ladder_of(blobs, "own")), "priors.yaml")
        cells = expand(spec)[0]
        assert {cell.point.settings.model_dump()["prior"] for cell in cells} == {"some-dist/own"}
        plain = json.loads(json.dumps(Pack(cells=cells).to_plain()))
        assert str(tmp_path / "own_priors.py") in providers.code_of(providers.brought())
    finally:
        for file in info.iterdir():
            file.unlink()
        providers._all_entry_points.cache_clear()
    for name in ("own", "some-dist/own"):
        PRIORS._found.pop(name, None)
    again = Pack.from_plain(plain).cells
    assert [cell.cell_id for cell in again] == [cell.cell_id for cell in cells]
    assert [each.version for each in again[0].point.providers()] == ["some-dist 1.0"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}:Lasst", "has no Lasst; did you mean Last?"),
        ("{}:Unfinished", "is not a prior that can be used: Unfinished lacks fitted or fit"),
        ("{}:NUMBER", "3 is no subclass of dvq_ray.experiments.code_prior.prior.Prior"),
        ("nowhere:Last", "there is no module nowhere"),
        ("chian", "did you mean chain? allowed: uniform, unigram, positional, chain, spatial, or package.module:NAME"),
    ],
)
def test_names_that_lead_to_no_prior_are_errors_before_the_start(
    name: str, message: str, module: str, blobs: Path
) -> None:
    with pytest.raises(SweepFileError) as raised:
        parse_sweep(write_yaml(ladder_of(blobs, name.format(module))), "priors.yaml")
    assert message in str(raised.value)
    assert "grids.own.prior" in str(raised.value)


def test_fields_that_a_prior_does_not_have_are_empty_in_its_row(blobs: Path, tmp_path: Path) -> None:
    frame = run(ladder_of(blobs, "unigram"), tmp_path)
    assert frame[[*OWN_FIELDS]].isna().all(axis=None)
    chain = find_experiment("code_prior").settings({
        "quantizer": "kmeans", "slices": 1, "codebook_size": 8, "parent_point_id": "0" * 16, "prior": "chain",
    })  # fmt: skip
    assert [name for name in OWN_FIELDS if chain.columns()[name] is None] == ["prior_convolutions"]
    assert chain.columns()["prior_width"] == 64


def test_rows_of_both_forms_have_the_ids_of_their_settings(blobs: Path, tmp_path: Path) -> None:
    """Rows of the first version have zeros where a prior has no such field."""
    experiment = find_experiment("code_prior")
    new = run(ladder_of(blobs, "unigram"), tmp_path)
    old = pd.read_parquet(ROOT / "results" / "reference" / "code_prior_cifar10_lossless" / "cells")
    assert {*old.loc[old["prior"] == "uniform", "prior_width"].fillna(-1)} == {0, -1}  # the store has both forms
    for frame in (old, new):
        for row in frame.to_dict("records"):
            values = {
                str(name): python_value(value) for name, value in row.items() if np.ndim(value) or pd.notna(value)
            }
            whole = {name: int(value) for name, value in values.items() if isinstance(value, float) and value % 1 == 0}
            ints = [name for name, info in experiment.variant(row["quantizer"]).model_fields.items()
                    if info.annotation is int]  # fmt: skip
            fields = {**values, **{name: whole[name] for name in ints if name in whole}}
            point = Point(experiment=experiment, settings=experiment.settings_of_row(fields))
            assert point.cell_id(row["seed"]) == row["cell_id"]


def test_a_worker_without_pip_has_priors_of_modules(module: str, blobs: Path) -> None:
    spec = parse_sweep(write_yaml(ladder_of(blobs, f"{module}:Last")), "priors.yaml")
    plain = Pack(cells=expand(spec)[0]).to_plain()
    assert [group for group, *_ in plain["providers"]] == [PRIORS.group]
    assert isinstance(plain["providers"][0][3], str)
