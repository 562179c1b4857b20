"""The commands of `cluster/README.md` for AWS, typed one after the other in one shell, against moto's AWS."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from ray.scripts.scripts import cli

from dvq_ray.cli.sweep import main as sweep
from tests.cluster.account import MINE, REGION, Up, account
from tests.cluster.aws_command import Aws
from tests.cluster.test_readme import commands


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Up]:
    with account(tmp_path) as made:
        yield made


class Shell:
    """As much of a shell as the page needs: variables, `$(...)` and what follows a `#`."""

    def __init__(self, up: Up, folder: Path) -> None:
        self.aws = Aws(up.stack, up.images()[0])
        self.up = up
        self.folder = folder
        self.variables: dict[str, str] = {}
        self.typed: list[str] = []

    def type(self, line: str) -> str:
        """Runs a line. Returns what it prints."""
        line = re.sub(r"\$\(curl -s https://checkip.amazonaws.com\)", MINE.partition("/")[0], line)
        line = re.sub(r"\$\(date \+%F\)", "2026-11-29", line)
        line = re.sub(r"\$\((aws .*)\)$", lambda found: shlex.quote(self.type(found[1])), line.strip())
        line = re.sub(r"\$([A-Z_]+)", lambda found: self.variables[found[1]], line)
        program, *words = shlex.split(line, comments=True)
        self.typed.append(program)
        if program == "export":
            self.variables |= dict(word.split("=", 1) for word in words)
        elif program == "aws":
            return self.aws.run(words)
        elif program == "ray" and words[0] in ("up", "down"):
            file = Path(words[1]) if words[1].startswith("cluster/") else self.folder / words[1]
            if words[0] == "up":
                self.up.ray_up(file, *(word for word in words[2:] if word != "--yes"))
            else:
                cli(["down", str(file), *words[2:]], standalone_mode=False)
        elif program == "sed":
            script, source, redirect, target = words
            assert redirect == ">"
            assert os.system(f"sed {shlex.quote(script)} {source} > {self.folder / target}") == 0
        elif program == "ray" and words[:2] == ["job", "submit"]:
            entrypoint = words[words.index("--") + 1 :]
            sweep.make_context("sweep", entrypoint[entrypoint.index("dvq_ray.sweep") + 1 :])
        return ""


@pytest.mark.long
def test_each_command_for_aws_does_what_the_page_says(empty: Up, tmp_path: Path) -> None:
    page = commands()
    lines = page[: next(number for number, line in enumerate(page) if line.startswith("export IMAGE=registry"))]
    # The page takes the cluster down before it says what else can be done with one.
    first_down = next(number for number, line in enumerate(lines) if line.startswith("ray down"))
    last_down = next(number for number, line in enumerate(lines) if "delete-stack" in line)
    down = lines[first_down : last_down + 1]
    lines = [*lines[:first_down], *lines[last_down + 1 :], *down]
    shell = Shell(empty, tmp_path)
    heads: list[list[str]] = []
    for line in lines:
        if line.startswith(("python", "pip", "test ", "ray dashboard", "ray exec", "ray job logs")):
            continue
        printed = shell.type(line)
        if line.startswith("ray up"):
            heads.append(_running(empty))
        if line in down and "describe-instances" in line:
            assert {state for _, state in json.loads(printed)} == {"terminated"}
    first, switched, own_image = heads
    assert first == switched
    assert len(first) == len(own_image) == 1
    assert first != own_image
    assert _running(empty) == []
    rules = boto3.client("s3").get_bucket_lifecycle_configuration(Bucket=shell.variables["BUCKET"])["Rules"]
    assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert shell.variables["REGION"] == REGION
    assert shell.typed.count("aws") >= 12
    made = {instance["InstanceId"]: instance["ImageId"] for instance in empty.instances()}
    assert made[first[0]] == empty.images()[0]
    assert made[own_image[0]] == shell.variables["IMAGE"] != made[first[0]]


def _running(up: Up) -> list[str]:
    return [instance["InstanceId"] for instance in up.instances() if instance["State"]["Name"] == "running"]
