"""The commands of `cluster/README.md`: what they name exists, and the sweep knows their options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dvq_ray.cli.sweep import main as sweep
from dvq_ray.sweep.spec import load_sweep
from tests.cluster import stack

README = Path("cluster/README.md")


def commands() -> list[str]:
    """The lines that are to be copied, continued ones as one."""
    joined = README.read_text().replace("\\\n", "")
    return [line.strip() for line in joined.splitlines() if line.startswith("    ")]


SWEEPS = [command for command in commands() if "dvq_ray.sweep" in command]


@pytest.mark.parametrize("command", SWEEPS)
def test_commands_of_sweeps_have_arguments_that_they_accept(command: str) -> None:
    words = shlex.split(command.partition("dvq_ray.sweep")[2])
    parameters = sweep.make_context("sweep", words).params
    data = next(line for line in commands() if line.startswith("export DATA="))
    (data,) = shlex.split(data.removeprefix("export DATA=").replace("$BUCKET", "bucket"))
    overrides = [data if value == "$DATA" else value for value in parameters["overrides"]]
    assert load_sweep(parameters["spec"], overrides).resources.gpu


def test_there_are_commands_for_a_submitted_sweep_for_one_machine_and_for_a_cluster() -> None:
    assert len(SWEEPS) == 3


def test_every_file_that_a_command_names_exists() -> None:
    words = {word.strip("'\"") for command in commands() for word in command.split()}
    named = {word for word in words if re.match(r"(cluster|sweeps)/\S+\.(yaml|sh)$|cluster/Dockerfile$", word)}
    assert {"cluster/gpu.yaml", "cluster/aws.yaml", "cluster/slurm.sh", "cluster/Dockerfile"} <= named
    assert all(Path(name).exists() for name in named)


def test_the_stack_is_given_the_parameters_that_have_no_default() -> None:
    first, again, other_image = [command for command in commands() if "cloudformation deploy" in command]

    def given(command: str) -> set[str]:
        words = command.partition("--parameter-overrides")[2].split()
        return {word.partition("=")[0] for word in words if "=" in word}

    assert given(first) == {name for name, value in stack.template()["Parameters"].items() if "Default" not in value}
    assert given(other_image) == {"Image"}
    assert given(again) == {"SshFrom"}  # the others keep their values, of which the image matters to a running head


def test_one_line_of_the_cluster_file_is_to_be_edited() -> None:
    marked = [line for line in Path("cluster/gpu.yaml").read_text().splitlines() if "<- EDIT" in line]
    assert [line.split()[0] for line in marked] == ["region:"]
