from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import load_sweep
from tests.mistakes import problems
from tests.sweep_files import TINY, write

HEAD = "name: x\ntrainable: static_prior\n"
QUANTIZERS = ", ".join(find_experiment("static_prior").quantizers)
GOOD_GRID = "{quantizer: vq, dimension: 4, codebook_size: 4, factors: 8}"


def test_a_right_file_resolves_grids_seeds_and_defaults(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path))
    assert spec.name == "tiny"
    assert spec.grid_names() == ["plain", "slices"]
    assert [grid.point_count() for grid in spec.grids] == [2, 2]
    first = next(spec.grids[0].points())
    assert first.model_dump() == {
        "quantizer": "vq", "dimension": 2, "codebook_size": 4, "factors": 8, "train_samples": 256,
        "start": "uniform", "init_bound": 1.0, "learning_rate": 0.3, "schedule": "cosine", "steps": 20,
        "batch_size": 256,
    }  # fmt: skip


def test_the_default_of_train_samples_follows_the_factors(tmp_path: Path) -> None:
    text = HEAD + "grids: {a: {quantizer: vq, dimension: 4, codebook_size: 4, factors: [8, 16384]}}\n"
    points = list(load_sweep(write(tmp_path, text)).grids[0].points())
    assert [point.model_dump()["train_samples"] for point in points] == [16384, 65536]


def test_one_grid_may_list_several_quantizers(tmp_path: Path) -> None:
    text = HEAD + "grids: {a: {quantizer: [vq, kmeans], dimension: 4, codebook_size: 4, factors: 8}}\n"
    spec = load_sweep(write(tmp_path, text))
    assert [grid.variant.__name__ for grid in spec.grids] == ["Vq", "KMeans"]
    assert spec.grid_names() == ["a"]


def test_a_grid_may_have_seeds_of_its_own(tmp_path: Path) -> None:
    text = HEAD + f"seeds: 2\ngrids:\n  a: {GOOD_GRID}\n  b: {GOOD_GRID[:-1]}, seeds: [5, 7]}}\n"
    assert [list(grid.seeds) for grid in load_sweep(write(tmp_path, text)).grids] == [[0, 1], [5, 7]]


def test_exponents_without_a_point_are_numbers(tmp_path: Path) -> None:
    text = HEAD + f"fixed: {{learning_rate: 1e-2}}\ngrids: {{a: {GOOD_GRID}}}\n"
    assert next(load_sweep(write(tmp_path, text)).grids[0].points()).model_dump()["learning_rate"] == 0.01


# ruff: noqa: E501  (a case a line reads best)
WRONG = {
    "unknown top key": (HEAD + f"seed: 3\ngrids: {{a: {GOOD_GRID}}}", "FILE:3: seed: unknown key; did you mean seeds?"),
    "unknown trainable": ("name: x\ntrainable: static\ngrids: {a: {b: 1}}",
                          'FILE:2: trainable: found "static"; did you mean static_prior?'),
    "trainable is no text": (f"name: x\ntrainable: 3\ngrids: {{a: {GOOD_GRID}}}", "FILE:2: trainable: found 3;"),
    "name missing": (f"trainable: static_prior\ngrids: {{a: {GOOD_GRID}}}", "FILE:1: name is missing"),
    "name climbs out": (f"name: ../up\ntrainable: static_prior\ngrids: {{a: {GOOD_GRID}}}",
                        'FILE:1: name: found "../up"; allowed: letters, digits, _ and -'),
    "name is absolute": (f"name: /tmp/x\ntrainable: static_prior\ngrids: {{a: {GOOD_GRID}}}", 'FILE:1: name: found "/tmp/x"'),
    "name is a dot": (f"name: ..\ntrainable: static_prior\ngrids: {{a: {GOOD_GRID}}}", 'FILE:1: name: found ".."'),
    "no grids": (HEAD, "FILE:1: grids is missing"),
    "empty grids": (HEAD + "grids: {}", "FILE:3: grids: is empty; allowed: one grid or more"),
    "empty grid": (HEAD + "grids: {a: {}}", "FILE:3: grids.a: is empty"),
    "grid is no mapping": (HEAD + "grids: {a: 3}", "FILE:3: grids.a: found 3; allowed: a mapping"),
    "grids is a list": (HEAD + f"grids: [{GOOD_GRID}]", "FILE:3: grids: found"),
    "empty axis": (HEAD + "grids: {a: {quantizer: vq, dimension: [], codebook_size: 4, factors: 8}}",
                   "FILE:3: grids.a.dimension: is an empty list"),
    "unknown field": (HEAD + "grids:\n  a:\n    quantizer: vq\n    dimenson: 4\n    codebook_size: 4\n    factors: 8",
                      "FILE:6: grids.a.dimenson: unknown key; did you mean dimension?"),
    "field missing": (HEAD + "grids:\n  a:\n    quantizer: vq\n    codebook_size: 4\n    factors: 8",
                      "FILE:4: grids.a: dimension is missing; vq needs it"),
    "quantizer missing": (HEAD + "grids: {a: {dimension: 4}}", "FILE:3: grids.a: quantizer is missing"),
    "unknown quantizer": (HEAD + "grids: {a: {quantizer: [vq, tree], dimension: 4, codebook_size: 4, factors: 8}}",
                          f'FILE:3: grids.a.quantizer[1]: found "tree"; allowed: {QUANTIZERS}, or package.module:NAME'),
    "text for a number": (HEAD + 'grids: {a: {quantizer: vq, dimension: "4", codebook_size: 4, factors: 8}}',
                          'FILE:3: grids.a.dimension: found "4"; allowed: a valid integer'),
    "float for a count": (HEAD + "grids: {a: {quantizer: vq, dimension: 4.0, codebook_size: 4, factors: 8}}",
                          "FILE:3: grids.a.dimension: found 4.0; allowed: a valid integer"),
    "boolean for a count": (HEAD + "grids: {a: {quantizer: vq, dimension: true, codebook_size: 4, factors: 8}}",
                            "FILE:3: grids.a.dimension: found true; allowed: a valid integer"),
    "null for a count": (HEAD + "grids: {a: {quantizer: vq, dimension: null, codebook_size: 4, factors: 8}}",
                         "FILE:3: grids.a.dimension: found null; allowed: a valid integer"),
    "zero dimension": (HEAD + "grids: {a: {quantizer: vq, dimension: [4, 0], codebook_size: 4, factors: 8}}",
                       "FILE:3: grids.a.dimension[1]: found 0; allowed: greater than or equal to 1"),
    "negative bound": (HEAD + f"fixed: {{init_bound: -1}}\ngrids: {{a: {GOOD_GRID}}}",
                       "FILE:3: fixed.init_bound: found -1; allowed: greater than 0"),
    "not a number": (HEAD + f"fixed: {{init_bound: .nan}}\ngrids: {{a: {GOOD_GRID}}}",
                     "FILE:3: fixed.init_bound: found nan; allowed: a finite number"),
    "unknown schedule": (HEAD + f"fixed: {{schedule: linear}}\ngrids: {{a: {GOOD_GRID}}}",
                         "FILE:3: fixed.schedule: found \"linear\"; allowed: 'constant' or 'cosine'"),
    "slices that do not divide": (
        HEAD + "grids:\n  a:\n    quantizer: dvq\n    dimension: [8, 12]\n    codebook_size: 4\n    factors: 8\n    slices: [2, 3]",
        "FILE:9: grids.a.slices: found 3, which does not divide dimension = 8; allowed: 1, 2, 4, 8"),
    "bound of codes that are picked": (
        HEAD + f"fixed: {{init_bound: 10.0}}\ngrids: {{a: {GOOD_GRID[:-1]}, start: [uniform, k-means++]}}}}",
        "FILE:3: fixed.init_bound: found 10.0, which has no effect on codes that start = k-means++ picks; allowed: 1, the default"),
    "start of another quantizer": (HEAD + f"grids: {{a: {GOOD_GRID[:-1]}, start: best}}}}",
                                   "FILE:3: grids.a.start: found \"best\"; allowed: 'uniform' or 'k-means++'"),
    "more codes than vectors to pick": (
        HEAD + f"grids: {{a: {GOOD_GRID[:-1]}, start: k-means++, train_samples: 3}}}}",
        "FILE:3: grids.a.start: found \"k-means++\", which picks codebook_size = 4 of train_samples = 3 vectors; allowed: uniform"),
    "slices of a plain vq": (HEAD + f"grids: {{a: {GOOD_GRID[:-1]}, slices: 2}}}}",
                             "FILE:3: grids.a.slices: is not a field of vq, only of dvq, grvq, kmeans"),
    "more codes than samples": (
        HEAD + "grids: {a: {quantizer: kmeans, dimension: 4, codebook_size: 512, factors: 8, train_samples: 100}}",
        "FILE:3: grids.a.codebook_size: found 512, which is larger than train_samples = 100"),
    "fixed and in a grid": (HEAD + f"fixed: {{factors: 8}}\ngrids: {{a: {GOOD_GRID}}}",
                            "FILE:4: grids.a.factors: is set in fixed too (FILE:3); keep one"),
    "fixed field of nobody": (HEAD + f"fixed: {{restarts: 8}}\ngrids: {{a: {GOOD_GRID}}}",
                              "FILE:3: fixed.restarts: is not a field of any quantizer in the grids"),
    "unknown fixed field": (HEAD + f"fixed: {{step: 8}}\ngrids: {{a: {GOOD_GRID}}}",
                            "FILE:3: fixed.step: unknown key; did you mean steps?"),
    "no seeds": (HEAD + f"seeds: 0\ngrids: {{a: {GOOD_GRID}}}", "FILE:3: seeds: found 0; allowed: 1 to"),
    "seeds as text": (HEAD + f"seeds: many\ngrids: {{a: {GOOD_GRID}}}", 'FILE:3: seeds: found "many"; allowed: a number'),
    "negative seed": (HEAD + f"seeds: [0, -1]\ngrids: {{a: {GOOD_GRID}}}", "FILE:3: seeds: found [0, -1]; -1 is not a seed"),
    "too many cells": (HEAD + f"seeds: 30\nmax_cells: 20\ngrids: {{a: {GOOD_GRID}}}",
                       "FILE:5: grids: expand to 30 cells; allowed: 20 (raise max_cells to run more)"),
    "no cpu": (HEAD + f"resources: {{cpu: 0}}\ngrids: {{a: {GOOD_GRID}}}", "FILE:3: resources.cpu: found 0; allowed: greater"),
    "a GPU and a half": (HEAD + f"resources: {{gpu: 1.5}}\ngrids: {{a: {GOOD_GRID}}}",
                         "FILE:3: resources.gpu: found 1.5; allowed: a fraction of one GPU, or a whole number"),
    "unknown resource": (HEAD + f"resources: {{gpus: 1}}\ngrids: {{a: {GOOD_GRID}}}", "FILE:3: resources.gpus: unknown key; did you mean gpu?"),
    "key given twice": ("name: x\nname: y\n", "FILE:2: name: is given twice (first at FILE:1)"),
    "key that is no text": (HEAD + "3: 4\n", "FILE:3: key 3 is not text; allowed: names (in quotes if need be)"),
    "a list": ("- a\n", "FILE:1: found ['a']; allowed: a mapping"),
    "a word": ("hello\n", 'FILE:1: found "hello"; allowed: a mapping'),
    "nothing": ("", "FILE: is empty"),
    "broken syntax": ("name: [\n", "FILE:2: is not valid YAML: expected the node content"),
    "two documents": ("a: 1\n---\nb: 2\n", "FILE:2: a second document begins here; allowed: one"),
    "a number of ten thousand digits": ("name: " + "9" * 10_000, "FILE:1: name: found 9999"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG.keys())
def test_an_error_is_reported_with_its_line_and_what_is_allowed(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    found = problems(path)
    assert any(expected in problem for problem in found), found


FIXED = "fixed: {quantizer: dvq, dimension: 8, codebook_size: 4, factors: 8, steps: 50, batch_size: 16}\n"
SLICES = "grids:\n  one: {slices: 2}\n  two: {slices: [4, 8]}\n"
ONE_MISTAKE = {
    "fixed quantizer": (HEAD + FIXED.replace("dvq", "dvqq") + SLICES,
                        f'FILE:3: fixed.quantizer: found "dvqq"; did you mean dvq? allowed: {QUANTIZERS}'),
    "key of the fixed quantizer": (HEAD + FIXED.replace("quantizer", "quantiser") + SLICES,
                                   "FILE:3: fixed.quantiser: unknown key; did you mean quantizer?"),
    "quantizer of a grid": (HEAD + "fixed: {dimension: 8, codebook_size: 4, factors: 8, steps: 9}\ngrids: {a: {quantizer: dqv, slices: 2}}\n",
                            'FILE:4: grids.a.quantizer: found "dqv"; did you mean dvq?'),
    "one of several quantizers": (HEAD + "fixed: {dimension: 8, codebook_size: 4, factors: 8}\ngrids: {a: {quantizer: [dvq, kmean], slices: 2, restarts: 3}}\n",
                                  'FILE:4: grids.a.quantizer[1]: found "kmean"; did you mean kmeans?'),
    "quantizer as a mapping": (HEAD + FIXED.replace("dvq", "{name: dvq}") + SLICES, "FILE:3: fixed.quantizer: found {'name': 'dvq'}; allowed: bsq, dvq"),
    "quantizer as a boolean": (HEAD + FIXED.replace("dvq", "yes") + SLICES, 'FILE:3: fixed.quantizer: found "yes"; allowed: bsq, dvq'),
    "required field of a grid": (HEAD + FIXED + "grids: {a: {slics: 4}}\n", "FILE:4: grids.a.slics: unknown key; did you mean slices?"),
    "required field in fixed": (HEAD + FIXED.replace("factors", "factor") + SLICES, "FILE:3: fixed.factor: unknown key; did you mean factors?"),
    "value in fixed": (HEAD + FIXED.replace("dimension: 8", 'dimension: "8"') + SLICES, 'FILE:3: fixed.dimension: found "8"; allowed: a valid integer'),
    "rule over a fixed value": (HEAD + FIXED.replace("dimension: 8", "dimension: 12") + SLICES,
                                "FILE:6: grids.two.slices: found 8, which does not divide dimension = 12; allowed: 1, 2, 3, 4, 6, 12"),
    "trainable": (HEAD.replace("static", "statik") + FIXED + SLICES, 'FILE:2: trainable: found "statik_prior"; did you mean static_prior?'),
    "key of the trainable": (HEAD.replace("trainable", "trainabel") + FIXED + SLICES, "FILE:2: trainabel: unknown key; did you mean trainable?"),
    "key of the name": (HEAD.replace("name", "nam") + FIXED + SLICES, "FILE:1: nam: unknown key; did you mean name?"),
    "key of the grids": (HEAD + FIXED + SLICES.replace("grids", "grid"), "FILE:4: grid: unknown key; did you mean grids?"),
    "key of the search": (HEAD + FIXED + "serch: {suggestions: 3}\n", "FILE:4: serch: unknown key; did you mean search?"),
    "grids is a number": (HEAD + FIXED + "grids: 3\n", "FILE:4: grids: found 3; allowed: a mapping of fields to values"),
    "grids is null": (HEAD + FIXED + "grids:\n", "FILE:4: grids: found null; allowed: a mapping of fields to values"),
    "search is null": (HEAD + FIXED + "search:\n", "FILE:4: search: found null; allowed: a mapping of keys to values"),
    "a grid is a list": (HEAD + FIXED + "grids: {a: [1], b: {slices: 2}}\n", "FILE:4: grids.a: found [1]; allowed: a mapping of fields to values"),
    "a grid is null": (HEAD + FIXED + "grids:\n  a:\n  b: {slices: 2}\n", "FILE:5: grids.a: found null; allowed: a mapping of fields to values"),
    "fixed is a list": (HEAD + "fixed: [steps]\n" + SLICES, "FILE:3: fixed: found ['steps']; allowed: a mapping of fields to values"),
    "fixed is null": (HEAD + "fixed:\n" + SLICES, "FILE:3: fixed: found null; allowed: a mapping of fields to values"),
    "seeds of the sweep": (HEAD + "seeds: -1\n" + FIXED + SLICES, "FILE:3: seeds: found -1; allowed: 1 to"),
    "seeds of a grid": (HEAD + FIXED + "grids: {a: {slices: 2, seeds: all}}\n", 'FILE:4: grids.a.seeds: found "all"; allowed: a number'),
    "key of the seeds of a grid": (HEAD + FIXED + "grids: {a: {slices: 2, sedes: 3}}\n", "FILE:4: grids.a.sedes: unknown key; did you mean seeds?"),
    "max_cells": (HEAD + "max_cells: no\n" + FIXED + SLICES, 'FILE:3: max_cells: found "no"; allowed: a valid integer'),
    "data": ("name: x\ntrainable: learned_prior\ndata: mine\ngrids: {a: {quantizer: vq, dimension: 4, dataset: mine}}\n",
             'FILE:3: data: found "mine"; allowed: a mapping of keys to values'),
    "key of a data set": ("name: x\ntrainable: learned_prior\ndata: {mine: {format: folder, trian: a, test: b}}\ngrids: {a: {quantizer: vq, dimension: 4, dataset: mine}}\n",
                          "FILE:3: data.mine.trian: unknown key; did you mean train?"),
    "name of a data set": ("name: x\ntrainable: learned_prior\ndata: {mine: {format: photos}}\ngrids: {a: {quantizer: vq, dimension: 4, dataset: mien}}\n",
                           'FILE:4: grids.a.dataset: found "mien"; did you mean mine?'),
    "default against a value": ("name: x\ntrainable: learned_prior\ngrids: {a: {quantizer: vq, dimension: 4, image_size: 10}}\n",
                                "FILE:3: grids.a: downsamplings = 2 halves image_size = 10 too often; allowed: 1 to 1"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ONE_MISTAKE.values(), ids=ONE_MISTAKE.keys())
def test_one_mistake_is_one_problem(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(write(tmp_path, text))
    assert expected in problem


def test_a_mistake_does_not_hide_another_one(tmp_path: Path) -> None:
    text = (
        HEAD
        + "fixed: {quantizer: dvqq, stepps: 3}\ngrids:\n  a: {slices: 2, sizes: 1}\n  b: {quantizer: vq, dimension: few}\n"
    )
    keys = [problem.split(": ")[1] for problem in problems(write(tmp_path, text))]
    assert sorted(keys) == [
        "fixed.quantizer", "fixed.stepps", "grids.a.sizes", "grids.b", "grids.b", "grids.b.dimension", "grids.b.quantizer",
    ]  # fmt: skip


def test_all_errors_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = HEAD.replace("x", "../x") + "seeds: 0\nfixed: {stepps: 3}\ngrids:\n  a: {quantizer: vq, dimension: -1}\n"
    found = problems(write(tmp_path, text))
    assert [problem.split(":")[1] for problem in found] == ["1", "3", "4", "6", "6", "6"]


def test_an_alias_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "anchors and aliases are not allowed" in problems(write(tmp_path, "\n".join(lines)))[0]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!include", "!!binary"])
def test_a_tag_is_refused_and_nothing_is_built(tmp_path: Path, tag: str) -> None:
    marker = tmp_path / "ran"
    found = problems(write(tmp_path, f"name: {tag} [touch {marker}]\n"))
    assert "is not allowed" in found[0]
    assert not marker.exists()


def test_deep_nesting_is_refused_without_recursion(tmp_path: Path) -> None:
    assert "nested too deeply" in problems(write(tmp_path, "[" * 50_000))[0]


def test_files_that_are_no_text_or_too_large_or_absent_are_named(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary.yaml", tmp_path / "large.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    large.write_text("#" * (1 << 19) + "##")
    assert problems(binary)[0] == "FILE:1: is not UTF-8 text (byte 0xff); allowed: a YAML file in UTF-8"
    assert "is too large; allowed: at most 524,288 bytes" in problems(large)[0]
    assert "cannot be read: No such file" in problems(tmp_path / "absent.yaml")[0]
    assert "cannot be read" in problems(tmp_path)[0]


def test_a_file_may_come_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(TINY,))
    writer.start()
    assert load_sweep(pipe).name == "tiny"
    writer.join()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.chmod(0)
    assert problems(path) == ["FILE: cannot be read: Permission denied"]


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes("name: x\ntrainable: static_prior\ndata: {é: 1}\n".encode("latin-1"))
    assert problems(path) == ["FILE:3: is not UTF-8 text (byte 0xe9); allowed: a YAML file in UTF-8"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_editors_of_every_system_write_the_same_sweep(tmp_path: Path, mark: bytes, line_end: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(mark + TINY.replace("\n", line_end).encode())
    assert load_sweep(path).resolved == load_sweep(write(tmp_path, TINY, "plain.yaml")).resolved


def test_a_value_is_one_value_however_it_is_written(tmp_path: Path) -> None:
    rates = "[1e-3, 1E-2, 3e-05, .5, 5., 1, 1.0, +2e-1, 0.001, 1e22]"
    text = f"{HEAD}fixed: {{learning_rate: {rates}}}\ngrids: {{a: {GOOD_GRID.replace('8', '[1_6, 0x10, 0o20, 0b10000, 016]')}}}\n"
    (grid,) = load_sweep(write(tmp_path, text)).grids
    assert grid.axes["learning_rate"] == (0.001, 0.01, 3e-05, 0.5, 5.0, 1.0, 0.2, 1e22)
    assert grid.axes["factors"] == (16,)


LEARNED = "name: x\ntrainable: learned_prior\n"
LEARNED_GRID = "grids: {a: {quantizer: vq, dimension: 4}}\n"


def test_a_file_may_describe_data_sets_in_addition_to_the_built_in_ones(tmp_path: Path) -> None:
    text = LEARNED + "fixed: {dataset: mine}\ndata: {mine: {format: parquet, train: a.parquet, test: b.parquet}}\n"
    spec = load_sweep(write(tmp_path, text + "checkpoint_seconds: 30\n" + LEARNED_GRID))
    assert list(spec.data) == ["photos", "cifar10", "imagenet32", "imagenet64", "mine"]
    assert spec.data["mine"].model_dump() == {
        "format": "parquet", "train": "a.parquet", "test": "b.parquet", "column": "image",
        "fit": "error", "holdout": None, "overlap": "error",
    }  # fmt: skip
    assert spec.checkpoint_seconds == 30


def test_data_is_not_part_of_a_cell(tmp_path: Path) -> None:
    texts = [f"data: {{mine: {{format: folder, train: {name}, test: b}}}}\n" for name in ("a", "c")]
    head = LEARNED + "fixed: {dataset: mine}\n"
    ids = [expand(load_sweep(write(tmp_path, head + text + LEARNED_GRID)))[0][0].cell_id for text in texts]
    assert ids[0] == ids[1]


WRONG_DATA = {
    "unknown data set": (
        "fixed: {dataset: cifar}\n",
        'FILE:3: fixed.dataset: found "cifar"; did you mean cifar10? allowed: photos, cifar10, imagenet32, imagenet64, or a data set that the key data describes',
    ),
    "no format": (
        "data: {m: {train: a}}\n",
        "FILE:3: data.m: format is missing; allowed: photos, cifar10, imagenet, folder, parquet",
    ),
    "unknown format": (
        "data: {m: {format: zip}}\n",
        'FILE:3: data.m.format: found "zip"; allowed: photos, cifar10, imagenet, folder, parquet',
    ),
    "a part is missing": (
        "data: {m: {format: folder, train: a}}\n",
        "FILE:3: data.m: test is missing; allowed: test, or holdout in its place",
    ),
    "unknown part": (
        "data: {m: {format: folder, train: a, test: b, colum: c}}\n",
        "FILE:3: data.m.colum: unknown key; allowed: fit, format, holdout, overlap, test, train",
    ),
    "a wrong part": (
        "data: {m: {format: folder, train: 3, test: b}}\n",
        "FILE:3: data.m.train: found 3; allowed: a valid string",
    ),
    "no mapping": (
        "data: {m: a.parquet}\n",
        'FILE:3: data.m: found "a.parquet"; allowed: a mapping with the key format',
    ),
    "no mapping at all": ("data: a.parquet\n", 'FILE:3: data: found "a.parquet"; allowed: a mapping of keys to values'),
    "tensorboard is no yes or no": (
        "tensorboard: runs/\n",
        'FILE:3: tensorboard: found "runs/"; allowed: a valid boolean',
    ),
    "checkpoints at once": ("checkpoint_seconds: 0\n", "FILE:3: checkpoint_seconds: found 0; allowed: greater than 0"),
}


@pytest.mark.parametrize("text", WRONG_DATA.values(), ids=WRONG_DATA.keys())
def test_errors_in_data_are_reported_with_file_line_key_value_and_what_is_allowed(
    tmp_path: Path, text: tuple[str, str]
) -> None:
    assert text[1] in problems(write(tmp_path, LEARNED + text[0] + LEARNED_GRID))


def test_an_experiment_without_files_takes_no_data(tmp_path: Path) -> None:
    text = HEAD + f"data: {{m: {{format: photos}}}}\ngrids: {{a: {GOOD_GRID}}}\n"
    assert problems(write(tmp_path, text)) == ["FILE:3: data: has no effect: static_prior draws its data"]


def test_only_trainings_are_shown_in_tensorboard(tmp_path: Path) -> None:
    text = HEAD + f"grids: {{a: {GOOD_GRID}}}\ntensorboard: "
    assert load_sweep(write(tmp_path, text + "false\n")).surroundings().tensorboard is False
    told = "FILE:4: tensorboard: has no effect: static_prior trains in one step; allowed: with learned_prior"
    assert problems(write(tmp_path, text + "true\n")) == [told]


def test_a_sweep_keeps_what_its_experiment_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = load_sweep(write(tmp_path, LEARNED + "keep: [codes]\n" + LEARNED_GRID)).surroundings().keep
    assert kept == {"codes"}
    found = problems(write(tmp_path, LEARNED + "keep: [code, 3]\n" + LEARNED_GRID))
    assert found == [
        "FILE:3: keep[1]: found 3; allowed: a valid string",
        'FILE:3: keep[0]: found "code"; did you mean codes? allowed: codes, latents, model',
    ]
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    text = (HEAD + f"grids: {{a: {GOOD_GRID}}}\nkeep: [codes]\n").replace("static_prior", '"sphere:EXPERIMENT"')
    told = "FILE:4: keep[0]: has no effect: sphere:EXPERIMENT keeps nothing besides its rows"
    assert told in problems(write(tmp_path, text))


LEARNED_BREACHES = {
    "slices of the features": (
        "{quantizer: dvq, dimension: 6, slices: 4}",
        "slices: found 4, which does not divide dimension = 6; allowed: 1, 2, 3, 6",
    ),
    "regions of the positions": (
        "{quantizer: svq, dimension: 6, slices: 10}",
        "slices: found 10, which times joint_positions = 1 does not divide the 64 positions of the latent; allowed: 1, 2, 4, 8, 16, 32, 64",
    ),
    "halvings": (
        "{quantizer: vq, dimension: 6, image_size: 12, downsamplings: 3}",
        "downsamplings: found 3, which halves image_size = 12 too often; allowed: 1 to 2",
    ),
    "clusters of a batch": (
        "{quantizer: vq, dimension: 6, codebook_start: k-means, batch_size: 4}",
        'codebook_start: found "k-means", which clusters the 256 vectors of one batch, fewer than codebook_size = 512; allowed: normal',
    ),
}


@pytest.mark.parametrize("text", LEARNED_BREACHES.values(), ids=LEARNED_BREACHES.keys())
def test_impossible_settings_of_the_learned_prior_are_reported(tmp_path: Path, text: tuple[str, str]) -> None:
    found = problems(write(tmp_path, LEARNED + f"grids: {{a: {text[0]}}}\n"))
    assert found == [f"FILE:3: grids.a.{text[1]}"]
