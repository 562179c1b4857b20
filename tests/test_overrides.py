from __future__ import annotations

from pathlib import Path

import pytest

from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import load_sweep
from tests.mistakes import problems
from tests.sweep_files import SEARCH, TINY, write

PICTURES = """\
name: pictures
trainable: learned_prior
fixed: {dataset: mine, dimension: 4}
data:
  mine: {format: folder, train: a, test: b}
grids:
  vq.small: {quantizer: vq}
  sliced: {quantizer: dvq, slices: 2}
"""


def test_overrides_set_top_keys_paths_and_bare_fixed_fields(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path), ["seeds=[4]", "steps=7", "grids.slices.slices=[4]", "name=other"])
    assert spec.name == "other"
    assert all(grid.seeds == (4,) for grid in spec.grids)
    assert {point.model_dump()["steps"] for grid in spec.grids for point in grid.points()} == {7}
    assert spec.grids[1].axes["slices"] == (4,)


def test_overrides_add_what_the_file_leaves_to_a_default(tmp_path: Path) -> None:
    text = "name: x\ntrainable: static_prior\ngrids: {a: {quantizer: vq, dimension: 2, codebook_size: 4, factors: 8}}\n"
    added = ["seeds=3", "fixed.steps=5", "schedule=constant", "grids.a.batch_size=[8, 9]", "resources.gpu=0"]
    spec = load_sweep(write(tmp_path, text), [*added, "max_cells=6"])
    cells, _ = expand(spec)
    assert len(cells) == 6
    assert {cell.point.settings.columns()["steps"] for cell in cells} == {5}
    assert {cell.point.settings.columns()["schedule"] for cell in cells} == {"constant"}
    assert load_sweep(write(tmp_path, text), ["grids.a.seeds=[7]"]).grids[0].seeds == (7,)


def test_the_last_of_two_overrides_of_a_key_wins(tmp_path: Path) -> None:
    resolved = load_sweep(write(tmp_path), ["fixed={factors: 8, train_samples: 256}", "steps=7", "steps=9"]).resolved
    assert resolved["fixed"] == {"factors": 8, "train_samples": 256, "steps": 9}


@pytest.mark.parametrize("fixed", ["", "fixed:\n", "fixed: {}\n"])
def test_an_override_may_be_the_first_field_of_all(tmp_path: Path, fixed: str) -> None:
    text = f"name: x\ntrainable: static_prior\n{fixed}grids: {{a: {{quantizer: vq, dimension: 2, codebook_size: 4}}}}\n"
    assert load_sweep(write(tmp_path, text), ["factors=8", "fixed.steps=9"]).resolved["fixed"] == {
        "factors": 8,
        "steps": 9,
    }


@pytest.mark.parametrize("fixed", ["3", "[steps]", "text"])
def test_an_override_of_what_holds_no_keys_is_rejected(tmp_path: Path, fixed: str) -> None:
    text = f"name: x\ntrainable: static_prior\nfixed: {fixed}\ngrids: {{a: {{quantizer: vq}}}}\n"
    found = problems(write(tmp_path, text), "steps=3")
    assert [problem.partition(": ")[0] for problem in found] == ["--set steps=3", "FILE:3"]


def test_a_bare_field_of_another_trainable_may_come_before_the_trainable(tmp_path: Path) -> None:
    text = "name: x\ntrainable: static_prior\ngrids: {a: {quantizer: vq, dimension: 2, codebook_size: 4}}\n"
    spec = load_sweep(write(tmp_path, text), ["groups=2", "centres=4", "trainable=factorial_prior"])
    assert (spec.grids[0].axes["groups"], spec.grids[0].axes["centres"]) == ((2,), (4,))


def test_keys_with_dots_in_them_can_be_overridden(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path, PICTURES), ["grids.vq.small.joint_codebooks=3"])
    assert spec.grids[0].axes["joint_codebooks"] == (3,)


def test_a_built_in_data_set_and_one_that_the_sweep_names_can_be_described(tmp_path: Path) -> None:
    path = write(tmp_path, PICTURES)
    built_in = load_sweep(path, ["data.cifar10={format: cifar10, folder: /images}"]).data["cifar10"]
    assert built_in.model_dump() == {"format": "cifar10", "folder": "/images"}
    named = ["dataset=yours", "data.yours.format=folder", "data.yours.train=/a", "data.yours.test=/b"]
    assert load_sweep(path, named).data["yours"].model_dump()["train"] == "/a"
    listed = ["data.yours={format: photos}", "fixed={dimension: 4}", "grids.sliced.dataset=[mine, yours]"]
    assert "yours" in load_sweep(path, listed).data


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps", "--set steps: allowed: KEY=VALUE"),
        ("=3", "--set =3: allowed: KEY=VALUE"),
        ("grids..x=3", "allowed: KEY=VALUE"),
        ("stepps=3", "--set stepps=3: stepps: unknown key; did you mean steps?"),
        ("steps=few", '--set steps=few: fixed.steps: found "few"; allowed: a valid integer'),
        ("name.x=3", 'name.x: found "tiny", which holds no keys; allowed: --set name=VALUE'),
        ("steps=!!python/name:os.system", "is not allowed"),
        ("grids.slices.slices=3", "grids.slices.slices: found 3, which does not divide dimension = 4"),
        ("sedes=3", "sedes: unknown key; did you mean seeds?"),
        ("max_cell=3", "max_cell: unknown key; did you mean max_cells?"),
        ("quantiser=vq", "quantiser: unknown key; did you mean quantizer?"),
        ("fixed.stepps=3", "fixed.stepps: unknown key; did you mean steps?"),
        ("fixd.steps=3", "fixd: unknown key; did you mean fixed?"),
        ("grids.slics.slices=3", "grids.slics: unknown key; did you mean slices? allowed: plain, slices"),
        ("grids.new={quantizer: vq, dimension: 2, codebook_size: 4}", "grids.new: unknown key; allowed: plain, slices"),
        ("grid.slices.slices=3", "grid: unknown key; did you mean grids?"),
        ("grids.slices.slics=3", "grids.slices.slics: unknown key; did you mean slices?"),
        ("grids.slices.slices.0=3", "grids.slices.slices.0: found [1, 2], which holds no keys; allowed: --set grids"),
        ("resources.cpus=3", "resources.cpus: unknown key; did you mean cpu?"),
        ("resouces.cpu=3", "resouces: unknown key; did you mean resources?"),
        ("search.suggestions=3", "search: cannot be combined with grids"),
        ("data.mine={format: photos}", "data: has no effect"),
        ("steps=[1", "--set steps=[1: fixed.steps: is not valid YAML"),
        ("steps=18446744073709551616", "fixed.steps: found 18446744073709551616; allowed: whole numbers from"),
        ("steps=\udcff", "fixed.steps: holds the character U+DCFF"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_named_as_typed(tmp_path: Path, override: str, expected: str) -> None:
    (problem,) = problems(write(tmp_path), override)
    assert problem.startswith(f"--set {override}".encode("unicode_escape").decode()[:100])
    assert expected in problem


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.mien.train=/x", "data.mien: unknown key; did you mean mine?"),
        ("data.cifar_10={format: cifar10, folder: x}", "data.cifar_10: unknown key; did you mean cifar10?"),
        ("data.mine.trian=/x", "data.mine.trian: unknown key; did you mean train?"),
        ("dataset=mien", 'fixed.dataset: found "mien"; did you mean mine?'),
        ("grids.vq_small.dimension=8", "grids.vq_small: unknown key; did you mean vq.small?"),
    ],
)
def test_a_mistyped_data_set_is_not_taken_for_a_new_one(tmp_path: Path, override: str, expected: str) -> None:
    (problem,) = problems(write(tmp_path, PICTURES), override)
    assert problem.startswith(f"--set {override}: {expected}")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("serch.suggestions=2", "serch: unknown key; did you mean search?"),
        ("search.sugestions=2", "search.sugestions: unknown key; did you mean suggestions?"),
        ("search.space.slics.choices=[1]", "search.space.slics: unknown key; did you mean slices?"),
        ("search.space.slices.choises=[1]", "search.space.slices.choises: "),
        ("search.objective.test_mes=minimize", "search.objective.test_mes: unknown key; did you mean test_mse?"),
        ("grids.a.slices=2", "grids.a: unknown key; allowed: none"),
    ],
)
def test_a_mistyped_key_of_a_search_is_named(tmp_path: Path, override: str, expected: str) -> None:
    (problem,) = problems(write(tmp_path, SEARCH), override)
    assert problem.startswith(f"--set {override}: {expected}")


def test_an_override_can_reach_every_depth_of_a_search(tmp_path: Path) -> None:
    changed = [
        "search.suggestions=3",
        "search.space.slices.choices=[2, 4]",
        "search.space.init_bound={low: 1, high: 2}",
    ]
    search = load_sweep(write(tmp_path, SEARCH), changed).search
    assert search is not None
    assert search.suggestions == 3
    assert list(search.space.axes) == ["slices", "init_bound"]


def test_all_wrong_overrides_are_reported_beside_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, TINY.replace("seeds: 2", "seeds: 0"))
    assert len(problems(path, "stepps=1", "grids.x.y=1", "resources.cpu=none")) == 4
