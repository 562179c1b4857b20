"""An account in moto's AWS in which `cluster/aws.yaml` is deployed and `ray up cluster/gpu.yaml` has run.

Instead of ssh and rsync there is a record of their calls.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from moto import mock_aws
from ray.autoscaler._private import providers
from ray.autoscaler._private.aws import node_provider
from ray.scripts.scripts import cli

from tests.cluster.cluster_file import GPU_FILE, load
from tests.cluster.stack import Stack

REGION: str = load()["provider"]["region"]
MINE = "203.0.113.7/32"

_RECORD = """\
#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> {record}/calls
case "$(basename "$0")" in rsync)
    for word; do from=$to; to=$word; done
    cp "$from" {record}/"$(basename "$to")" ;;
esac
"""


@dataclass(frozen=True, kw_only=True)
class Up:
    """An account in which `ray up` has run, or may run."""

    ec2: Any
    stack: Stack
    folder: Path

    @property
    def calls(self) -> str:
        """What ssh and rsync were called with, a line each."""
        return (self.folder / "calls").read_text()

    @property
    def bootstrap_file(self) -> Path:
        """The file from which the head's autoscaler works, as `ray up` sent it last."""
        return self.folder / "ray_bootstrap_config.yaml"

    @property
    def bootstrap(self) -> Mapping[str, Any]:
        """What it holds."""
        loaded: Mapping[str, Any] = json.loads(self.bootstrap_file.read_text())
        return loaded

    def ray_up(self, file: Path = GPU_FILE, *options: str) -> None:
        """`ray up` once more, as in a process of its own: a provider keeps what it has seen of tags."""
        providers._clear_provider_cache()  # type: ignore[no-untyped-call]
        cli(["up", str(file), "--yes", "--no-config-cache", *options], standalone_mode=False)

    def instances(self) -> list[dict[str, Any]]:
        """All of the account, ended ones too."""
        return [
            instance
            for reservation in self.ec2.describe_instances()["Reservations"]
            for instance in reservation["Instances"]
        ]

    def images(self) -> list[str]:
        """Images that nodes could start from."""
        return [image["ImageId"] for image in self.ec2.describe_images()["Images"]]


@cache
def _instance_types() -> Any:
    return node_provider.list_ec2_instances(REGION)


@contextmanager
def cluster_up(tmp_path: Path) -> Iterator[Up]:
    """The account, with a head that runs and no worker."""
    with account(tmp_path) as made:
        made.stack.deploy(Bucket="bucket", SshFrom=MINE, Image=made.images()[0], Email="me@example.org")
        made.ray_up()
        yield made


@contextmanager
def account(tmp_path: Path) -> Iterator[Up]:
    """The account before anything was made in it."""
    with pytest.MonkeyPatch.context() as patch, mock_aws(), Path(os.devnull).open() as nothing:
        for name in ("ssh", "rsync"):
            (tmp_path / name).write_text(_RECORD.format(record=tmp_path))
            (tmp_path / name).chmod(0o755)
        token = tmp_path / ".ray" / "auth_token"
        token.parent.mkdir()
        token.write_text("a token")
        patch.setenv("HOME", str(tmp_path))
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_UP_enable_autoscaler_v2", "1")  # its default, without the words about it
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        patch.setattr("sys.stdin", nothing)
        sleep = time.sleep
        patch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
        # Ray lists all instance types, which takes seconds, once for each command.
        types = _instance_types()
        patch.setattr(node_provider, "list_ec2_instances", lambda *_, **__: types)
        yield Up(ec2=boto3.client("ec2", region_name=REGION), stack=Stack(REGION), folder=tmp_path)
