"""The sweep file that a store keeps is the sweep that ran: it reads back as the same data and gives the same cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dvq_ray.store import Store
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import SweepSpec, load_sweep, parse_sweep
from dvq_ray.sweep.yaml_scalars import text_of
from tests.mistakes import problems
from tests.sweep_files import TINY, write

ROOT = Path(__file__).parents[1]
SWEEPS = sorted(path for path in (ROOT / "sweeps").glob("*.yaml") if "codes_of" not in path.read_text())
"""Without those that need the store of another sweep."""
STORED = sorted((ROOT / "results" / "reference").glob("*/sweep.yaml"))


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20) | st.sampled_from(
    [
        "a b",
        "  two  spaces  ",
        "1e3",
        "yes",
        "null",
        "~",
        "#",
        "a: b",
        "[b]",
        "a.b",
        "x y " * 60,
        "\n",
        "\x85",
        "'\"\\",
        "é😀",
    ]
)
paths = names.map(lambda name: "at/" + name.replace("://", "").replace("*", ""))
reals = st.floats(min_value=5e-324, max_value=1e300, allow_nan=False) | st.sampled_from([1e-5, 1e22, 0.1 + 0.2, 3, 1])


def axis(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | st.lists(values, min_size=1, max_size=3)


def options(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields, each with one value or several."""
    return st.fixed_dictionaries({}, optional={name: axis(values) for name, values in fields.items()})


counts = st.integers(1, 10**15)
multiples = st.integers(1, 10**12).map(lambda number: 8 * number)
required = {"dimension": axis(multiples), "codebook_size": axis(st.integers(2, 16384)), "factors": axis(counts)}
training = {
    "init_bound": reals,
    "learning_rate": reals,
    "schedule": st.sampled_from(["constant", "cosine"]),
    "steps": counts,
}
parts = st.sampled_from([1, 2, 4, 8])
blobs = {
    "vq": (required, training),
    "dvq": ({**required, "slices": axis(parts)}, training),
    "kmeans": (required, {"slices": parts, "start": st.sampled_from(["random", "k-means++"]), "restarts": counts}),
}
images: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "vq": ({"dimension": axis(multiples)}, {"ema_decay": st.floats(0, 0.999), "joint_codebooks": counts}),
    "dvq": ({"dimension": axis(multiples), "slices": axis(parts)}, {"commitment_weight": reals}),
    "svq": ({"dimension": axis(multiples), "slices": axis(parts)}, {"learning_rate": reals}),
}
seeds: st.SearchStrategy[Any] = st.integers(1, 5) | st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4)


@st.composite
def sweeps(draw: st.DrawFn) -> dict[str, Any]:
    """The data of a sweep file without errors."""
    trainable = draw(st.sampled_from(["static_prior", "learned_prior"]))
    fields = blobs if trainable == "static_prior" else images
    grids = {}
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        quantizer = draw(st.sampled_from(sorted(fields)))
        needed, others = fields[quantizer]
        grid = {"quantizer": quantizer, **draw(st.fixed_dictionaries(dict(needed))), **draw(options(**others))}
        grids[name] = grid | draw(st.fixed_dictionaries({}, optional={"seeds": seeds}))
    sweep: dict[str, Any] = {"name": "x", "trainable": trainable, "grids": grids}
    sweep |= draw(st.fixed_dictionaries({}, optional={"seeds": seeds, "resources": st.just({"cpu": 0.5})}))
    if trainable == "learned_prior":
        location = {"format": st.just("parquet"), "train": paths, "test": paths, "column": names.filter(bool)}
        described = draw(st.dictionaries(names.filter(bool), st.fixed_dictionaries(location), max_size=2))
        sweep["data"] = described
        sweep["fixed"] = {"dataset": [*described, "photos"]}
    return sweep


overrides = st.fixed_dictionaries({}, optional={"seeds": seeds, "batch_size": counts, "checkpoint_seconds": reals})


def ids(spec: SweepSpec) -> tuple[list[str], Mapping[str, list[str]]]:
    cells, by_grid = expand(spec)
    return [cell.cell_id for cell in cells], by_grid


@pytest.mark.long
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sweep=sweeps(), changed=overrides)
def test_the_stored_file_gives_the_same_data_and_cells(tmp_path: Path, sweep: Any, changed: dict[str, Any]) -> None:
    if any("batch_size" in grid or grid["quantizer"] == "kmeans" for grid in sweep["grids"].values()):
        changed.pop("batch_size", None)
    # JSON is YAML, and another program writes it.
    path = write(tmp_path, json.dumps(sweep).replace("\x7f", "\\u007f"))
    spec = load_sweep(path, [f"{key}={json.dumps(value)}" for key, value in changed.items()])
    again = load_sweep(write(tmp_path, spec.as_yaml(), "stored.yaml"))
    assert again.resolved == spec.resolved
    assert again.data == spec.data
    assert ids(again) == ids(spec)
    assert again.as_yaml() == spec.as_yaml()


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_the_project_is_kept_as_it_is(path: Path) -> None:
    spec = load_sweep(path)
    again = parse_sweep(spec.as_yaml(), "stored.yaml")
    assert again.resolved == spec.resolved
    assert (again.search, again.resources, again.data) == (spec.search, spec.resources, spec.data)
    if spec.grids:
        assert ids(again) == ids(spec)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_every_stored_sweep_of_the_project_is_read_as_before(path: Path) -> None:
    spec = load_sweep(path)
    assert spec.resolved == YAML(typ="safe", pure=True).load(path.read_text())
    assert parse_sweep(spec.as_yaml(), "stored.yaml").resolved == spec.resolved


def test_an_override_with_any_text_is_kept(tmp_path: Path) -> None:
    text = "name: x\ntrainable: learned_prior\ngrids: {a: {quantizer: vq, dimension: 2, dataset: mine}}\n"
    for location in ["a  b", " # ", "null", "0x10", "x y " * 100, "é: 😀", "\t\u2028'\""]:
        source = {"format": "folder", "train": location, "test": "b"}
        given = "data.mine={" + ", ".join(f"{key}: {text_of(value)}" for key, value in source.items()) + "}"
        spec = load_sweep(write(tmp_path, text), [given])
        assert spec.data["mine"].model_dump()["train"] == location
        assert parse_sweep(spec.as_yaml(), "x").data == spec.data


def test_a_sweep_is_run_again_from_the_file_in_its_store(tmp_path: Path) -> None:
    text = TINY.replace("plain:", '"a grid: with  [spaces] #1":').replace("slices: {", '"1e3": {')
    spec = load_sweep(write(tmp_path, text), ["seeds=1", "steps=2"])
    store = Store.under(str(tmp_path / "results"), spec.name)
    store.write_sweep(spec.as_yaml())
    again = load_sweep(tmp_path / "results" / "tiny" / "sweep.yaml")
    assert ids(again) == ids(spec)
    assert again.grid_names() == ["a grid: with  [spaces] #1", "1e3"]


def test_a_sweep_that_could_not_be_read_from_its_store_is_rejected(tmp_path: Path) -> None:
    # Each of these characters takes three bytes in the file, and six in the stored one.
    path = write(tmp_path, TINY.replace("plain:", '? "' + "\ue000" * 100_000 + '"\n  :'))
    assert problems(path) == ["FILE: takes over 524,288 bytes in its store, with overrides and escapes; allowed: less"]
