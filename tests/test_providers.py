"""Names of quantizers and experiments that lead outside of the package, and those that lead nowhere."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dvq_ray import providers
from dvq_ray.execution.pack import run_cell
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import EXPERIMENTS, built_in_experiments, find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.problems import SweepFileError
from dvq_ray.providers import ProviderError
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack, expand
from dvq_ray.sweep.spec import load_sweep
from tests.sweep_files import write

BUILT_IN = ", ".join(find_experiment("static_prior").quantizers)
QUANTIZER = """
from dvq_ray.quantizer.base import CodebookSize, Codec, Quantizer
import numpy as np

class Mean(Codec):
    def __init__(self, mean): self.mean = mean
    def encode(self, vectors): return np.zeros((len(vectors), 1), np.int64)
    def decode(self, codes): return np.repeat(self.mean[None], len(codes), 0)

class Own(Quantizer):
    label = "own"
    codes: CodebookSize = 2
    def codebook_sizes(self): return (self.codes,)
    def parameters(self, features): return features
    def fit(self, vectors, rng): return Mean(vectors.mean(0))

class Neither(Quantizer):
    label = "neither"
    def codebook_sizes(self): return (2,)
    def parameters(self, features): return 0

class Unpriced(Own):
    codebook_sizes = Quantizer.codebook_sizes

class Both(Own):
    def build(self, features, generator): raise NotImplementedError

class Needy(Own):
    needs = frozenset({"positions"})

class Clashing(Own):
    test_mse: int = 3

class Seeded(Own):
    seed: int = 3

instance = Own(quantizer="own")
function = print
"""
SWEEP = """\
name: x
trainable: static_prior
fixed: {{dimension: 4, factors: 4, train_samples: 64}}
grids: {{a: {{quantizer: "{name}"}}}}
"""
_names = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Makes a module of its own name that holds this source, and gives the name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(source: str) -> str:
        made.append(f"provider_{next(_names)}")
        (tmp_path / f"{made[-1]}.py").write_text(source)
        return made[-1]

    yield make
    for name in made:
        sys.modules.pop(name, None)


def install(folder: Path, distribution: str, group: str, name: str, value: str) -> None:
    """Puts what pip leaves of a package with that entry point into a folder of `sys.path`."""
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (info / "top_level.txt").write_text(value.partition(":")[0] + "\n")
    providers._all_entry_points.cache_clear()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a test made is not found by the next one."""
    remembered: list[dict[str, Any]] = [
        QUANTIZERS._found,
        EXPERIMENTS._found,
        *(each._composed for each in built_in_experiments()),
    ]
    before = [dict(found) for found in remembered]
    yield
    for found, held in zip(remembered, before, strict=True):
        found.clear()
        found.update(held)
    providers._all_entry_points.cache_clear()


def test_a_quantizer_of_a_module_makes_cells_that_hash_under_its_full_name(
    tmp_path: Path, module: Callable[[str], str]
) -> None:
    name = f"{module(QUANTIZER)}:Own"
    (cell,), _ = expand(load_sweep(write(tmp_path, SWEEP.format(name=name))))
    assert cell.point.settings.quantizer == name
    assert f'"quantizer":"{name}"' in cell.point.canonical
    (again,) = Pack.from_plain(Pack(cells=[cell]).to_plain()).cells
    assert again.cell_id == cell.cell_id


def test_an_entry_point_is_found_under_its_short_and_its_full_name(
    tmp_path: Path, module: Callable[[str], str]
) -> None:
    name = module(QUANTIZER)
    install(tmp_path, "some-dist", "dvq_ray.quantizers", "own", f"{name}:Own")
    assert "own" in QUANTIZERS.names()
    short, full = QUANTIZERS.find("own"), QUANTIZERS.find("some-dist/own")
    assert short.name == full.name == "some-dist/own"
    assert short.version == "some-dist 1.2"
    (cell,), _ = expand(load_sweep(write(tmp_path, SWEEP.format(name="own"))))
    assert cell.point.settings.quantizer == "some-dist/own"


def test_the_same_class_under_two_names_makes_two_quantizers(tmp_path: Path, module: Callable[[str], str]) -> None:
    name = module(QUANTIZER)
    install(tmp_path, "some-dist", "dvq_ray.quantizers", "own", f"{name}:Own")
    ids = {
        expand(load_sweep(write(tmp_path, SWEEP.format(name=each))))[0][0].cell_id for each in ("own", f"{name}:Own")
    }
    assert len(ids) == 2


def test_a_module_without_a_distribution_is_known_by_its_source(module: Callable[[str], str]) -> None:
    first, second = (QUANTIZERS.find(f"{module(source)}:Own") for source in (QUANTIZER, QUANTIZER + "\n"))
    assert first.version.startswith("source-")
    assert first.version != second.version


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}:Owm", "has no Owm; did you mean Own?"),
        ("{}:function", "is no subclass of dvq_ray.Quantizer"),
        ("{}:Mean", "is no subclass of dvq_ray.Quantizer"),
        ("{}:instance", "it is an instance of Own; give the class itself, a sweep file sets the fields"),
        ("{}:Neither", "has neither build nor fit"),
        ("{}:Both", "has build and fit; keep one"),
        ("{}:Unpriced", "lacks codebook_sizes"),
        ("{}:Needy", f"it needs positions; allowed: {BUILT_IN}"),
        ("{}:Clashing", "its field test_mse has the name of a column of static_prior"),
        ("{}:Seeded", "its field seed has the name of a column of static_prior"),
        ("{}:", "is not of the form package.module:NAME"),
        ("{}:Own:Own", "is not of the form package.module:NAME"),
        ("../{}:Own", "is not of the form package.module:NAME"),
        ("no_such_module_at_all:Own", "there is no module no_such_module_at_all"),
        ("{}.sub:Own", "there is no module {}.sub"),
        ("some-dist/own", "no installed package some-dist has the entry point own"),
        ("kmean", f"did you mean kmeans? allowed: {BUILT_IN}, or package.module:NAME"),
        ("", f"allowed: {BUILT_IN}, or package.module:NAME"),
    ],
)
def test_a_provider_that_cannot_be_used_is_reported_with_its_place_and_reason(
    tmp_path: Path, module: Callable[[str], str], name: str, message: str
) -> None:
    made = module(QUANTIZER)
    path = write(tmp_path, SWEEP.format(name=name.format(made)))
    with pytest.raises(SweepFileError) as caught:
        load_sweep(path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}:4: grids.a.quantizer: found ")
    assert message.format(made) in str(problem)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_package_at_all", "needs no_such_package_at_all, which is not installed"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:\n", "SyntaxError: "),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_does_not_import_says_why(module: Callable[[str], str], source: str, message: str) -> None:
    with pytest.raises(ProviderError) as caught:
        QUANTIZERS.find(f"{module(source)}:Own")
    assert message in str(caught.value)


def test_a_name_that_two_packages_claim_is_an_error_that_names_both(
    tmp_path: Path, module: Callable[[str], str]
) -> None:
    name = module(QUANTIZER)
    for distribution in ("one", "other"):
        install(tmp_path, distribution, "dvq_ray.quantizers", "own", f"{name}:Own")
    with pytest.raises(ProviderError, match=r"claimed by one .* and other .*; write one/own or other/own|claimed by "
                       r"other .* and one"):  # fmt: skip
        QUANTIZERS.find("own")
    assert QUANTIZERS.find("other/own").name == "other/own"


def test_a_package_cannot_take_a_built_in_name(tmp_path: Path, module: Callable[[str], str]) -> None:
    install(tmp_path, "grabby", "dvq_ray.quantizers", "vq", f"{module(QUANTIZER)}:Own")
    QUANTIZERS._found.pop("vq", None)
    with pytest.raises(ProviderError, match=r"vq is built in, and grabby .* claims it too; write grabby/vq"):
        QUANTIZERS.find("vq")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"main_metric": "nothing"}, "its main_metric nothing is none of its metrics"),
        ({"metrics": dict}, "its metrics is not a dataclass"),
        ({"watched": {"nothing": "test_mse"}}, "it watches nothing"),
    ],
)
def test_an_experiment_that_contradicts_itself_is_reported(
    module: Callable[[str], str], changes: dict[str, object], message: str
) -> None:
    arguments = ", ".join(f"{name}={_code(value)}" for name, value in changes.items())
    source = (
        "from dataclasses import replace\nfrom dvq_ray.experiment.registry import find_experiment\n"
        f"EXPERIMENT = replace(find_experiment('static_prior'), {arguments})\n"
    )
    with pytest.raises(ProviderError, match=message):
        find_experiment(f"{module(source)}:EXPERIMENT")


def _code(value: object) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


def test_an_experiment_of_a_module_has_its_full_name(module: Callable[[str], str]) -> None:
    source = (
        "from dataclasses import replace\nfrom dvq_ray.experiment.registry import find_experiment\n"
        "EXPERIMENT = replace(find_experiment('static_prior'), name='mine')\n"
    )
    path = f"{module(source)}:EXPERIMENT"
    experiment = find_experiment(path)
    assert isinstance(experiment, Experiment)
    assert experiment.name == path
    with pytest.raises(ProviderError, match=r"is no dvq_ray\.Experiment"):
        find_experiment(path.replace("EXPERIMENT", "find_experiment"))
    with pytest.raises(ProviderError, match="it is the class Experiment; give an instance of it"):
        find_experiment("dvq_ray.experiment.experiment:Experiment")


def test_a_worker_finds_an_entry_point_by_its_code_alone(tmp_path: Path, module: Callable[[str], str]) -> None:
    name = module(QUANTIZER)
    install(tmp_path, "some-dist", "dvq_ray.quantizers", "own", f"{name}:Own")
    (cell,), _ = expand(load_sweep(write(tmp_path, SWEEP.format(name="own"))))
    plain = Pack(cells=[cell]).to_plain()
    assert providers.code_of(cell.point.providers()) == [str(tmp_path / f"{name}.py")]
    for info in tmp_path.glob("*.dist-info/*"):
        info.unlink()
    providers._all_entry_points.cache_clear()
    for found in (QUANTIZERS._found, cell.point.experiment._composed):
        found.pop("own")
        found.pop("some-dist/own")
    with pytest.raises(ProviderError):
        QUANTIZERS.find("some-dist/own")
    (again,) = Pack.from_plain(plain).cells
    assert again.cell_id == cell.cell_id


def test_the_row_of_a_cell_has_the_version_of_what_the_sweep_brought(
    tmp_path: Path, module: Callable[[str], str]
) -> None:
    name = f"{module(QUANTIZER)}:Own"
    (cell,), _ = expand(load_sweep(write(tmp_path, SWEEP.format(name=name))))
    row, _ = run_cell(cell, Run(run_id="r", sweep="x", commit="c"), Surroundings())
    assert row["status"] == "ok", row["error"]
    assert json.loads(row["run_versions"])[name] == QUANTIZERS.find(name).version
    assert row["test_mse"] == pytest.approx(row["data_variance"], rel=1e-6)  # its one code is the mean
