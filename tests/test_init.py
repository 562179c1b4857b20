"""`dvq-ray init`: what it writes is a valid sweep of every quantizer, whatever the experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dvq_ray.__main__ import main
from dvq_ray.experiment.registry import built_in_experiments, find_experiment
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import load_sweep


def init(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, arguments)])


@pytest.mark.parametrize(
    "name", [experiment.name for experiment in built_in_experiments() if experiment.parents is None]
)
def test_the_file_is_a_sweep_of_every_quantizer_and_names_every_field(name: str, tmp_path: Path) -> None:
    file = tmp_path / "my-first sweep.yaml"
    result = init(file, "--experiment", name)
    assert result.exit_code == 0, result.output
    spec = load_sweep(file)
    assert spec.name == "my_first_sweep"
    experiment = find_experiment(name)
    cells, _ = expand(spec)
    assert {cell.quantizer for cell in cells} == {*experiment.quantizers}
    text = file.read_text()
    for settings in experiment.variants.values():
        assert [field for field in settings.model_fields if f"{field}: " not in text] == []
    assert max(map(len, text.splitlines())) <= 120
    planned = CliRunner().invoke(main, ["sweep", str(file), "--dry-run", "--results", str(tmp_path)])
    if name == "vectors":  # the file cannot know the dimension of the rows, which one quantizer names
        assert planned.output.splitlines()[-2].startswith("photo_patches: faiss: features = 16 is not dimension")
        file.write_text(text.replace("features: 16", "features: 64"))
        planned = CliRunner().invoke(main, ["sweep", str(file), "--dry-run", "--results", str(tmp_path)])
    assert planned.exit_code == 0, planned.output


def test_a_comment_of_the_file_is_a_setting_that_can_be_set(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    init(file, "--experiment", "static_prior")
    lines = [line.replace("# ", "", 1) if line.lstrip().startswith("# learning_rate") else line
             for line in file.read_text().splitlines()]  # fmt: skip
    file.write_text("\n".join(lines))
    (rate,) = {cell.point.settings.learning_rate for cell in expand(load_sweep(file))[0]  # type: ignore[attr-defined]
               if cell.quantizer == "vq"}  # fmt: skip
    assert rate == find_experiment("static_prior").variant("vq").model_fields["learning_rate"].default


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("mine")
    result = init(file, "--experiment", "static_prior")
    assert (result.exit_code, file.read_text()) == (2, "mine")
    assert "--force overwrites it" in result.output
    assert init(file, "--experiment", "static_prior", "--force").exit_code == 0
    assert file.read_text() != "mine"


def test_an_experiment_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    result = init(tmp_path / "a.yaml", "--experiment", "static")
    assert result.exit_code == 2
    assert "static_prior" in result.output
    assert not (tmp_path / "a.yaml").exists()
