"""`dvq-ray init FILE`: a commented sweep file to begin with, from what an experiment says of itself."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from dvq_ray.cli.terminal import Command, complain, say
from dvq_ray.declarations.field import Axis, axes_of
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.parents import Parents
from dvq_ray.experiment.registry import built_in_experiments, find_experiment
from dvq_ray.providers import ProviderError

_WIDTH, _COMMENT_AT = 118, 34
_NAMES = [experiment.name for experiment in built_in_experiments()]
_USUAL: dict[Any, Any] = {int: 16, float: 1.0, bool: False}


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--experiment", "name", required=True, help=f"What `trainable:` will name: {', '.join(_NAMES)}, or yours."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def main(file: Path, name: str, force: bool) -> None:
    """Write a commented sweep file of an experiment to FILE: every quantizer that it can use, and all settings.

    Exit codes: 0 it is written; 2 there is such a file, or no such experiment.
    """
    try:
        if file.exists() and not force:
            raise FileExistsError(f"{file} exists; --force overwrites it")
        text = sweep_file(find_experiment(name), re.sub(r"\W+", "_", file.stem) or "sweep")
        file.write_text(text, encoding="utf-8")
    except (ProviderError, OSError) as error:
        complain(str(error))
        sys.exit(2)
    say(f"written: {file}")
    say("next:    look at it, then run it with --dry-run to see what it would do")


def sweep_file(experiment: Experiment, name: str) -> str:
    """The text of a sweep file: few points of each quantizer, and every other setting with its default as a comment."""
    variants = {quantizer: experiment.variant(quantizer) for quantizer in experiment.quantizers}
    own = {
        quantizer: [field for field in settings.model_fields if not _in_all(field, variants.values())]
        for quantizer, settings in variants.items()
    }
    shared = [field for field in next(iter(variants.values())).model_fields if _in_all(field, variants.values())]
    first = next(iter(variants.values()))
    return "\n".join(
        [
            f"# A sweep of the {experiment.label or experiment.name}. A list of values makes a point of each; the",
            "# sweep is every point of every grid, with each seed.",
            f"name: {name}",
            f"trainable: {json.dumps(experiment.name) if ':' in experiment.name else experiment.name}",
            *(
                _computed(experiment, experiment.parents, first, shared)
                if experiment.parents
                else [
                    _line("seeds: 3", "Monte-Carlo repetitions of each point"),
                    *_fixed(first, [field for field in shared if field != "quantizer"]),
                    _line("grids:", "a cell of two of them is run once"),
                    *(line for quantizer in variants for line in _grid(quantizer, variants[quantizer], own[quantizer])),
                ]
            ),
            _line("resources:", "of one trial"),
            "  cpu: 1",
            _line("  gpu: 0", "or a part of one: 0.25"),
            "",
        ]
    )


def _computed(experiment: Experiment, parents: Parents, variant: type[Settings], shared: list[str]) -> list[str]:
    """One grid of all cells of another store, without the fields that follow from these."""
    known = {"quantizer", experiment.data_sets.field if experiment.data_sets else ""}
    return [
        _line(f"{parents.key}: results/NAME", "the store of a sweep that has run"),
        _line("seeds: 3", "repetitions of its cells"),
        "grids:",
        "  all:",
        _line(f"    # {parents.selection}: {{quantizer: ...}}", "cells of it, by columns; without this all"),
        *_settings(variant, [field for field in shared if field not in known], "    "),
    ]


def _fixed(variant: type[Settings], fields: list[str]) -> list[str]:
    """The key `fixed`. Where every field has a default the first is set to it: the key needs a value."""
    lines = [*_settings(variant, fields, "  ")]
    if all(line.lstrip().startswith("#") for line in lines):
        lines[0] = lines[0].replace("# ", "", 1)
    return [_line("fixed:", "of every cell that has such a field"), *lines]


def _in_all(field: str, variants: Iterable[type[Settings]]) -> bool:
    return all(field in settings.model_fields for settings in variants)


def _grid(quantizer: str, settings: type[Settings], fields: list[str]) -> Iterator[str]:
    yield f"  {quantizer}:"
    yield f"    quantizer: {quantizer}"
    yield from _settings(settings, fields, "    ")


def _settings(settings: type[Settings], fields: list[str], indent: str) -> Iterator[str]:
    """A line for each field: set where it has no default or an example, and a comment otherwise."""
    axes = axes_of(settings)
    for field in fields:
        info = settings.model_fields[field]
        value = _value(axes[field], info)
        text = f"{indent}{field}: {json.dumps(value)}" if value is not None else f"{indent}# {field}: {_default(info)}"
        yield _line(text, _about(axes[field], info))


def _value(axis: Axis, info: FieldInfo) -> Any:
    if axis.example is not None or not info.is_required():
        return axis.example
    return _USUAL.get(info.annotation, 1)


def _default(info: FieldInfo) -> str:
    return "..." if info.default_factory else json.dumps(info.default)


def _about(axis: Axis, info: FieldInfo) -> str:
    sentence = (info.description or axis.title()).partition("\n")[0].partition(". ")[0]
    return sentence.rstrip(".")


def _line(text: str, comment: str) -> str:
    """The text, followed by the comment on the same line."""
    start = f"{text:<{_COMMENT_AT}}  # "
    return start + textwrap.shorten(comment, max(_WIDTH - len(start), 20), placeholder=" ...")
