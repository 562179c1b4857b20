"""The columns of a store: which there are, of which types, and what is no file of a store."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields
from functools import cache
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from dvq_ray.experiments import EXPERIMENTS, Experiment

Status = Literal["ok", "stopped", "diverged", "out_of_memory", "error"]
FINISHED: tuple[str, ...] = ("ok", "stopped")
"""Statuses of cells that are not run again."""

_IDENTITY = {"cell_id": pa.string(), "point_id": pa.string(), "sweep": pa.string(), "trainable": pa.string(),
             "revision": pa.int64(), "status": pa.string(), "error": pa.string()}  # fmt: skip
_PROVENANCE = {"run_id": pa.string(), "run_commit": pa.string(), "run_versions": pa.string(),
               "run_host": pa.string(), "run_device": pa.string(),
               "run_started_at": pa.timestamp("us", tz="UTC")}  # fmt: skip
SUGGESTION = "search_suggestion"
"""The column that says for which suggestion a cell was first computed; empty, or not there, for cells of a grid."""
_SEARCH = {SUGGESTION: pa.int64(), "search_objective": pa.float64(), "search_stopped_at_step": pa.int64()}
"""The suggestion that a cell was first computed for, its own value of the (first) objective, where it was stopped."""
ATTEMPT = pa.schema({"cell_id": pa.string(), "run_started_at": _PROVENANCE["run_started_at"]})
"""Names one attempt at a cell: what ties a curve to its row."""
STANDING = ["cell_id", "status", "run_started_at"]
"""What decides which row of a cell stands."""
KEYS = {"cells": STANDING, "curves": ATTEMPT.names}
"""The folders of Parquet files, and the columns that every row of theirs has."""
_ARROW = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}


@cache
def cell_schema(experiment: Experiment, *, searched: bool = False) -> pa.Schema:
    """Columns of a cell's row: identity, configuration, metrics, provenance; of a search, what that adds."""
    columns: dict[str, pa.DataType] = dict(_IDENTITY)
    for settings in experiment.variants.values():
        columns |= {name: _arrow(info.annotation) for name, info in settings.model_fields.items()}
    columns["seed"] = pa.int64()
    hints = typing.get_type_hints(experiment.metrics)
    columns |= {field.name: _arrow(hints[field.name]) for field in dataclass_fields(experiment.metrics)}
    return pa.schema({**columns, **(_SEARCH if searched else {}), **_PROVENANCE})


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


def cell_table(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table, with the columns of a search where they are of one."""
    schema = cell_schema(experiment, searched=SUGGESTION in rows[0])
    return pa.Table.from_pylist([dict(row) for row in rows], schema)


def curve_table(
    experiment: Experiment, written: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
) -> pa.Table:
    """The logged steps of rows as a table."""
    steps = [{**{key: row[key] for key in ATTEMPT.names}, **step} for row, curve in written for step in curve]
    return pa.Table.from_pylist(steps, curve_schema(experiment))


def problem_of_content(content: bytes, keys: Sequence[str], *, exactly: bool) -> str:
    """Why this is no file of a store, as the end of a sentence that its path begins; empty where it is one.

    With `exactly`, a column's type must be the one that is written here, not just one that does as well.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
        names = table.schema.names
    except (OSError, ValueError, pa.ArrowException) as error:
        return f" cannot be read: {first_line(error)}"
    if lacking := [name for name in keys if name not in names]:
        return f" is no file of a store: it has no column {', '.join(lacking)}"
    if len({*names}) < len(names):
        return " is no file of a store: two of its columns have the same name"
    for field in table.schema:
        wanted = known_kinds().get(field.name, field.type)
        if is_strange(field) or (exactly and field.type != wanted and not pa.types.is_null(field.type)):
            return f": the column {field.name} holds {field.type}, and should hold {wanted}"
    empty = [name for name in keys if table[name].null_count]
    return f" is no file of a store: there are rows without {', '.join(empty)}" if empty else ""


@cache
def known_kinds() -> Mapping[str, pa.DataType]:
    """Types by column, of all experiments."""
    schemas = [of(experiment) for experiment in EXPERIMENTS.values() for of in (cell_schema, curve_schema)]
    return {field.name: field.type for schema in schemas for field in schema}


def is_strange(field: pa.Field) -> bool:
    """Whether a column holds something that cannot be told as what it should hold."""
    known = known_kinds().get(field.name, field.type)
    tests = (pa.types.is_list, pa.types.is_timestamp, lambda kind: pa.types.is_string(kind) or
             pa.types.is_large_string(kind))  # fmt: skip
    return not pa.types.is_null(field.type) and any(test(known) != test(field.type) for test in tests)


def first_line(error: Exception) -> str:
    """What is left of Arrow's long messages in one of ours."""
    return str(error).partition("\n")[0]
