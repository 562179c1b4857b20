"""The pages of `docs/reference`, from what settings, metrics, quantizers, commands and the API say of themselves.

`python -m docs.make_reference` writes them; a test compares the committed pages.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import dvq_ray
from dvq_ray.__main__ import COMMANDS, command
from dvq_ray.declarations.attribute_docstrings import attribute_docstrings
from dvq_ray.declarations.field import Axis, axes_of
from dvq_ray.declarations.metric import Metric, metrics_of
from dvq_ray.declarations.settings import Settings
from dvq_ray.declarations.values import field_type
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import built_in_experiments
from dvq_ray.quantizer.registry import QUANTIZERS

FOLDER = Path(__file__).parent / "reference"
_NOTE = "<!-- Written by `python -m docs.make_reference`. Do not edit. -->"
_BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false"}
_WIDTH = 100
"""Of help texts and signatures."""
_LARGEST_BOUND = 10**12
"""Bounds beyond are limits of the columns, and say nothing to a reader."""


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    found = {f"{experiment.name}.md": _experiment(experiment) for experiment in built_in_experiments()}
    return {**found, "quantizers.md": _quantizers(), "commands.md": _commands(), "api.md": _api()}


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", _NOTE, *(part for part in parts if part)]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(each) for each in row] for row in rows)]
    return "\n".join("|".join(["", *(f" {each} " if each else " " for each in line), ""]) for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(values: Sequence[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


# Experiments


def _experiment(experiment: Experiment) -> str:
    main = metrics_of(experiment.metrics)[experiment.main_metric]
    about = (
        f"`trainable: {experiment.name}`, revision {experiment.revision}. The main metric is `{experiment.main_metric}`"
        f" ({main.better} is better). Quantizers: {_code(list(experiment.quantizers))}."
    )
    return _page(
        f"Fields and columns: {experiment.label or experiment.name}",
        about,
        "## Fields\n\nA field without a default must be given. Fields of one quantizer alone are with the [quantizers]"
        "(quantizers.md).",
        _fields(experiment),
        "## Metric columns",
        _columns(experiment.metrics),
        "## Curve columns\n\nA row for each logged step.",
        _columns(experiment.curve),
    )


def _fields(experiment: Experiment) -> str:
    """Fields that a quantizer takes in this experiment and does not bring itself, each declaration once."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name in experiment.quantizers:
        own = _fields_of(QUANTIZERS.find(name).value)
        for row in _fields_of(experiment.variant(name)):
            if row not in own:
                rows.setdefault(row, []).append(name)
    every = len(experiment.quantizers)
    return _table(
        ["field", "default", "allowed", "meaning", "quantizers"],
        [
            [*row, "all" if len(names) == every else _code(names)]
            for row, names in sorted(rows.items(), key=lambda each: -len(each[1]))
        ],
    )


def _columns(declared: type) -> str:
    texts = attribute_docstrings(declared)
    return _table(
        ["column", "unit", "better", "meaning"],
        [
            [f"`{name}`", metric.unit, metric.better or "", _described(metric, texts.get(name, ""))]
            for name, metric in metrics_of(declared).items()
        ],
    )


def _described(metric: Metric, text: str) -> str:
    return text or f"{metric.label[:1].upper()}{metric.label[1:]}."


# Fields


def _fields_of(settings: type[Settings]) -> list[tuple[str, ...]]:
    """The name, default, allowed values and meaning of each field but `quantizer`."""
    axes = axes_of(settings)
    return [
        (f"`{name}`", _default(info), _allowed(settings, name), _meaning(axes[name], info))
        for name, info in settings.model_fields.items()
        if name != "quantizer"
    ]


def _default(info: FieldInfo) -> str:
    if info.default_factory:
        return "follows from others"
    return "" if info.default is PydanticUndefined else f"`{json.dumps(info.default, ensure_ascii=False)}`"


def _allowed(settings: type[Settings], field: str) -> str:
    schema = field_type(settings, field).json_schema()
    if "enum" in schema or "const" in schema:
        return _code([str(value) for value in schema.get("enum", [schema.get("const")])])
    bounds = [text.format(schema[key]) for key, text in _BOUNDS.items() if abs(schema.get(key, 1e99)) < _LARGEST_BOUND]
    kind = _TYPES.get(schema.get("type", ""), schema.get("type", ""))
    return " ".join([kind, ", ".join(bounds)]).strip()


def _meaning(axis: Axis, info: FieldInfo) -> str:
    label = f"**{axis.title()}**" + (f" ({axis.role})" if axis.role != "model" else "")
    return f"{label}. {info.description or ''}".strip()


# Quantizers


def _quantizers() -> str:
    parts = []
    for name in QUANTIZERS.built_in():
        quantizer = QUANTIZERS.find(name).value
        source = inspect.getdoc(sys.modules[quantizer.__module__]) or ""
        users = [each.name for each in built_in_experiments() if name in each.quantizers]
        rows = _fields_of(quantizer)
        parts.append(
            f"## {name}\n\n{source}\n\n{inspect.getdoc(quantizer) or ''}\n\nUsed in {_code(users)}."
            + (f"\n\n{_table(['field', 'default', 'allowed', 'meaning'], rows)}" if rows else "")
        )
    return _page(
        "Fields of quantizers",
        "Each quantizer with its source and its own fields. [Which one is which](../quantizers.md). How codes are "
        "trained depends on the experiment: see its page.",
        *parts,
    )


# Commands


def _commands() -> str:
    parts = []
    for name in COMMANDS:
        found = command(name)
        options = {**found.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
        context = click.Context(found, info_name=f"dvq-ray {name}", **options)
        parts.append(f"## dvq-ray {name}\n\n```text\n{found.get_help(context).strip()}\n```")
    return _page("Commands", "In a checkout, `python -m dvq_ray NAME` does the same as `dvq-ray NAME`.", *parts)


# API


def _api() -> str:
    about = "All that `dvq_ray` offers. Everything else may change without notice."
    return _page("Python API", about, *(_member(name, getattr(dvq_ray, name)) for name in sorted(dvq_ray.__all__)))


def _member(name: str, value: Any) -> str:
    text = _doctests(inspect.getdoc(value) or "")
    if not inspect.isclass(value):
        return f"## {name}\n\n```text\n{_signature(name, value)}\n```\n\n{text}"
    attributes = [[f"`{each}`", about] for each, about in attribute_docstrings(value).items()]
    methods = [
        [f"`{each}`", (inspect.getdoc(member) or "").partition("\n\n")[0]]
        for each, member in vars(value).items()
        if not each.startswith("_") and (inspect.isfunction(member) or isinstance(member, classmethod))
    ]
    tables = [_table([kind, ""], rows) for kind, rows in (("attribute", attributes), ("method", methods)) if rows]
    return "\n\n".join([f"## {name}", text, *tables])


def _signature(name: str, function: Any) -> str:
    found = inspect.signature(function)
    text = f"{name}{found}"
    if len(text) > _WIDTH:
        returns = "" if found.return_annotation is inspect.Signature.empty else f" -> {found.return_annotation}"
        text = "\n".join([f"{name}(", *(f"    {each}," for each in _parameters(found)), f"){returns}"])
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)  # annotations are texts


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        yield str(parameter)


def _doctests(text: str) -> str:
    """A docstring with its examples fenced."""
    return re.sub(r"(?m)^>>>.*(?:\n.+)*", lambda found: f"```pycon\n{found.group()}\n```", text)


def write(folder: Path = FOLDER) -> None:
    """Writes every page."""
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
