"""The columns of a store: which there are, of which types, and what is no file of a store."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields
from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import built_in_experiments

Status = Literal["ok", "stopped", "diverged", "out_of_memory", "error"]
FINISHED: tuple[str, ...] = ("ok",)
"""Statuses of cells that have all their metrics."""
STOPPED = "stopped"
"""The status of a cell that a search stopped early. To that search it is an answer; to everybody else it is missing."""

_IDENTITY = {"cell_id": pa.string(), "point_id": pa.string(), "sweep": pa.string(), "trainable": pa.string(),
             "revision": pa.int64(), "status": pa.string(), "error": pa.string()}  # fmt: skip
_PROVENANCE = {"run_id": pa.string(), "run_commit": pa.string(), "run_versions": pa.string(),
               "run_host": pa.string(), "run_device": pa.string(),
               "run_started_at": pa.timestamp("us", tz="UTC")}  # fmt: skip
DURATION = "duration_seconds"
"""The column that says how long a cell took, over all attempts that resumed each other's checkpoints."""
SUGGESTION = "search_suggestion"
"""The column that says for which suggestion a cell was first computed; empty for cells of a grid."""
STUDY = "search_study"
"""The column that names the study of that suggestion; empty in rows of earlier versions."""
_SEARCH = {SUGGESTION: pa.int64(), STUDY: pa.string(), "search_objective": pa.float64(),
           "search_stopped_at_step": pa.int64()}  # fmt: skip
"""The suggestion that a cell was first computed for, its own value of the (first) objective, where it was stopped."""
ATTEMPT = pa.schema({"cell_id": pa.string(), "run_started_at": _PROVENANCE["run_started_at"]})
"""Names one attempt at a cell: what ties a curve to its row."""
STANDING = ["cell_id", "status", "run_started_at"]
"""What decides which row of a cell stands."""
KEYS: Mapping[str, list[str]] = {"cells": STANDING, "curves": ATTEMPT.names}
"""The folders of Parquet files, and the columns that every row of theirs has."""
LOOK = pa.schema({
    "point_id": pa.string(), "partner_point_id": pa.string(), "quantizer": pa.string(),
    "partner_quantizer": pa.string(), "rule": pa.string(), "grid": pa.string(), "metric": pa.string(),
    "looks": pa.int64(), "looks_at_most": pa.int64(), "level": pa.float64(), "n": pa.int64(), "estimate": pa.float64(),
    "low": pa.float64(), "high": pa.float64(), "decision": pa.string(),
})  # fmt: skip
"""Columns of `looks/`: a row for each point, or pair of points, whose repetitions are added until they suffice."""
_NOT_UNICODE = re.compile("[\ud800-\udfff]")
_LONGEST_VALUE = 100
_ARROW = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}


@cache
def cell_schema(experiment: Experiment, quantizers: frozenset[str] = frozenset()) -> pa.Schema:
    """Columns of a cell's row: identity, configuration, metrics, what a search says of it, provenance.

    The configuration is that of all built-in quantizers, and of those named. The columns of a search are always there,
    empty for cells of a grid: readers of a folder take the columns of its first file.
    """
    columns: dict[str, pa.DataType] = dict(_IDENTITY)
    for quantizer in dict.fromkeys([*experiment.quantizers, *sorted(quantizers)]):
        fields = experiment.variant(quantizer).model_fields
        columns |= {name: _arrow(info.annotation) for name, info in fields.items()}
    columns["seed"] = pa.int64()
    hints = typing.get_type_hints(experiment.metrics)
    columns |= {field.name: _arrow(hints[field.name]) for field in dataclass_fields(experiment.metrics)}
    columns[DURATION] = pa.float64()
    return pa.schema({**columns, **_SEARCH, **_PROVENANCE})


@cache
def curve_schema(experiment: Experiment) -> pa.Schema:
    """Columns of a logged step. `run_started_at` ties it to the row of the same attempt at the cell."""
    hints = typing.get_type_hints(experiment.curve)
    logged = {field.name: _arrow(hints[field.name]) for field in dataclass_fields(experiment.curve)}
    return pa.schema({"cell_id": pa.string(), **logged, "run_started_at": _PROVENANCE["run_started_at"]})


def _arrow(annotation: Any) -> pa.DataType:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _arrow(arguments[0])
    if origin is Literal:
        return pa.string()
    if origin is list:
        return pa.list_(_arrow(arguments[0]))
    if origin in (types.UnionType, typing.Union):
        return _arrow(next(argument for argument in arguments if argument is not type(None)))
    return _ARROW[annotation]


class MisfitError(ValueError):
    """A value that its column cannot hold; names both."""


def cell_table(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table.

    Any text can be stored: what is not Unicode, such as bytes of a file's name, is written out. Raises `MisfitError`.
    """
    return pa.Table.from_struct_array(_cells(experiment, rows))


def curve_table(
    experiment: Experiment, written: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
) -> pa.Table:
    """The logged steps of rows as a table. Raises `MisfitError`."""
    return pa.Table.from_struct_array(_steps(experiment, written))


def check_fits(experiment: Experiment, row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> None:
    """Raises `MisfitError` where a row or its curve has a value that its column cannot hold."""
    _cells(experiment, [row])
    _steps(experiment, [(row, curve)])


def _cells(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> pa.StructArray:
    named = {str(row.get("quantizer", "")) for row in rows} - {"", *experiment.quantizers}
    quantizers = frozenset(name for name in named if name in experiment.variants)
    return _array([dict(row) for row in rows], cell_schema(experiment, quantizers))


def _steps(
    experiment: Experiment, written: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
) -> pa.StructArray:
    steps = [{**{key: row[key] for key in ATTEMPT.names}, **step} for row, curve in written for step in curve]
    return _array(steps, curve_schema(experiment))


def _array(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.StructArray:
    """Rows as Arrow holds them: one call for all columns, which for one row is thrice as fast as one for each."""
    kind, whole_numbers = _kinds(schema)
    for name in whole_numbers:
        if broken := [value for row in rows if _has_fraction(value := row.get(name))]:
            raise MisfitError(f"the column {name} holds whole numbers, and cannot hold {broken[0]!r}")
    try:
        return pa.array(rows, kind)
    except UnicodeEncodeError:
        return _array([{name: _written_out(value) for name, value in row.items()} for row in rows], schema)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise MisfitError(_misfit(rows, schema) or first_line(error)) from error


def look_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The last looks at points and pairs as a table."""
    return pa.Table.from_struct_array(_array(rows, LOOK))


@cache
def _kinds(schema: pa.Schema) -> tuple[pa.StructType, list[str]]:
    """The type of a row, and its columns of integers and of lists of them."""
    kinds = {field.name: field.type.value_type if pa.types.is_list(field.type) else field.type for field in schema}
    return pa.struct(schema), [name for name, kind in kinds.items() if pa.types.is_integer(kind)]


def _has_fraction(value: Any) -> bool:
    """Whether Arrow would cut something off of it, without a word."""
    if value is None or type(value) is int:
        return False
    if isinstance(value, float | np.floating):
        return math.isfinite(value) and value != int(value)
    return isinstance(value, list | tuple | np.ndarray) and any(_has_fraction(each) for each in value)


def _written_out(value: Any) -> Any:
    """A text without halves of characters, in which Python keeps bytes that are not UTF-8."""
    return _NOT_UNICODE.sub(_escape, value) if isinstance(value, str) else value


def _escape(half: re.Match[str]) -> str:
    code = ord(half.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _misfit(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> str:
    for field in schema:
        for row in rows:
            try:
                pa.array([row.get(field.name)], field.type)
            except (pa.ArrowException, TypeError, OverflowError) as error:
                value = repr(row[field.name])[:_LONGEST_VALUE]
                return f"the column {field.name} holds {field.type}, and cannot hold {value}: {first_line(error)}"
    return ""


@cache
def known_kinds() -> Mapping[str, pa.DataType]:
    """Types by column, of all experiments."""
    schemas = [
        schema
        for experiment in built_in_experiments()
        for schema in (cell_schema(experiment), curve_schema(experiment))
    ]
    return {field.name: field.type for schema in schemas for field in schema}


def first_line(error: Exception) -> str:
    """What is left of Arrow's long messages in one of ours."""
    return str(error).partition("\n")[0]
