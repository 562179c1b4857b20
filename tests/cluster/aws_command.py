"""The `aws` command of `cluster/README.md`'s lines, on boto3: words become the call that AWS's own command would make.

It knows options that are one value, several values, JSON or `Name=...,Values=...`, and of high-level commands those
that the page uses. What AWS's interface does not have (a command, an option, a type) is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3  # type: ignore[import-untyped]
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name  # type: ignore[import-untyped]

from tests.cluster.stack import Stack

ANSWERS: Mapping[tuple[str, str], Callable[[Mapping[str, Any], str], Any]] = {
    # moto has no such public parameter.
    ("ssm", "get-parameter"): lambda given, image: {"Parameter": {"Value": image}},
}


class Aws:
    """A shell's account. `image` is AWS's current one."""

    def __init__(self, stack: Stack, image: str) -> None:
        self._stack = stack
        self._image = image

    def run(self, words: Sequence[str]) -> str:
        """What `aws` with these words prints."""
        (service, command), rest = words[:2], [*words[2:]]
        if (service, command) == ("cloudformation", "deploy"):
            return self._deploy(rest)
        if (service, command) == ("cloudformation", "delete-stack"):
            assert _options(rest)["stack-name"] == ["dvq-ray"]
            return ""
        if service == "s3":
            return self._s3(command, rest)
        if command == "wait":
            command, rest = rest[0], rest[1:]
            options = _options(rest)
            client = boto3.client(service, region_name=options.pop("region")[0])
            waiter = client.get_waiter(xform_name(command.replace("-", "_")))
            operation = client.meta.service_model.operation_model(waiter.config.operation)
            waiter.config.delay = 0
            waiter.wait(**_parameters(operation, options))
            return ""
        return self._call(service, command, _options(rest))

    def _call(self, service: str, command: str, options: dict[str, list[str]]) -> str:
        query, output = options.pop("query", None), options.pop("output", ["json"])
        client = boto3.client(service.removesuffix("api"), region_name=options.pop("region", ["us-west-2"])[0])
        names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
        operation = client.meta.service_model.operation_model(names[command])
        given = _parameters(operation, options)
        answer = ANSWERS.get((service, command))
        found = answer(given, self._image) if answer else getattr(client, xform_name(operation.name))(**given)
        if query:
            found = jmespath.search(query[0], found)
        return _text(found) if output == ["text"] else json.dumps(found, default=str)

    def _deploy(self, words: Sequence[str]) -> str:
        options = _options(words)
        assert set(options) == {"region", "stack-name", "template-file", "capabilities", "parameter-overrides"}
        self._stack.deploy(**dict(value.split("=", 1) for value in options["parameter-overrides"]))
        return ""

    def _s3(self, command: str, words: Sequence[str]) -> str:
        client = boto3.client("s3", region_name="us-west-2")
        if command == "mb":
            bucket = words[0].removeprefix("s3://")
            place = {"LocationConstraint": _options(words[1:])["region"][0]}
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
            return ""
        source, target = words
        assert command in ("cp", "sync")
        assert sum(place.startswith("s3://") for place in (source, target)) == 1
        (uri,) = [place for place in (source, target) if place.startswith("s3://")]
        client.head_bucket(Bucket=uri.split("/")[2])
        return ""


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    """Values by the name of the option before them."""
    options: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            values = options.setdefault(word[2:], [])
        else:
            values.append(word)
    return options


def _parameters(operation: Any, options: Mapping[str, list[str]]) -> dict[str, Any]:
    members = {xform_name(name, "-"): (name, shape) for name, shape in operation.input_shape.members.items()}
    return {members[name][0]: _value(members[name][1], values) for name, values in options.items()}


def _value(shape: Any, values: list[str]) -> Any:
    if shape.type_name == "list":
        return [_value(shape.member, [value]) for value in values]
    (value,) = values
    if shape.type_name == "structure":
        if value.startswith("{"):
            return json.loads(value)
        parts = [part.split("=", 1) for part in re.split(r",(?=\w+=)", value)]
        return {name: _value(shape.members[name], [text]) for name, text in parts}
    return value


def _text(found: Any) -> str:
    """As `--output text` prints it: the values, tabs between them."""
    if isinstance(found, list):
        return ("\n" if any(isinstance(item, list) for item in found) else "\t").join(map(_text, found))
    return str(found)
