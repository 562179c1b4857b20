"""Where rows were computed, and warnings where rows that are compared are not from one environment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
import pandas as pd

from ..output.tables import Section, Table, columns_of
from .wording import counted, spoken

_NOT_RECORDED = "not recorded"
_COLUMNS = {"run_host": "host", "run_device": "device", "run_commit": "commit", "run_versions": "versions"}
"""Headings by column of the store."""
_COUNT = "rows"
_DIRTY = "-dirty"


def table(frame: pd.DataFrame) -> Table:
    """A row for each environment of each trainable, that of most rows first."""
    sections = []
    for trainable, environments in _by_trainable(frame):
        ranked = environments.sort_values([_COUNT, *_COLUMNS], ascending=[False, *[True] * len(_COLUMNS)])
        lines = [
            [f"{count:,}", host, device, commit, _versions_words(versions)]
            for host, device, commit, versions, count in ranked[[*_COLUMNS, _COUNT]].itertuples(index=False, name=None)
        ]
        sections.append(Section(title=spoken(trainable), rows=lines))
    return Table(
        title="Where the rows were computed.",
        columns=[*columns_of(numbers=["rows"]), *columns_of(_COLUMNS.values())],
        sections=sections,
    )


def warnings(frame: pd.DataFrame) -> list[str]:
    """A sentence for each thing that differs between rows of one trainable, and for each commit that says too little.

    Hosts may differ: what they compute with is what counts.
    """
    found = [f"{spoken(trainable)}: {text}" for trainable, its in _by_trainable(frame) for text in _warnings(its)]
    for trainable, rows in frame.groupby("trainable", observed=True):
        texts = _differing("revisions", rows["revision"].astype(str).value_counts())
        found += [f"{spoken(str(trainable))}: {text}" for text in texts]
    return found


def _warnings(environments: pd.DataFrame) -> Iterator[str]:
    counts = environments[_COUNT]
    versions = [_versions(text) for text in environments["run_versions"]]
    for package in sorted({package for found in versions for package in found}):
        of_each = np.array([found.get(package, _NOT_RECORDED) for found in versions])
        yield from _differing(f"versions of {package}", counts.groupby(of_each).sum())
    yield from _differing("devices", counts.groupby(environments["run_device"]).sum())
    commits = counts.groupby(environments["run_commit"]).sum()
    yield from _differing("commits", commits)
    for commit, count in commits[commits.index.str.endswith(_DIRTY)].items():
        its = counted(count, "row is", "rows are")
        yield f"{its} of code that no commit holds: {commit} had uncommitted changes."


def _differing(what: str, counts: pd.Series[int]) -> Iterator[str]:
    if len(counts) > 1:
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        values = "; ".join(f"{value} in {counted(count, 'row')}" for value, count in ranked)
        yield f"rows of different {what} are mixed: {values}."


def _by_trainable(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Environments of each trainable, every value as text, and how many rows each has."""
    columns = ["trainable", *_COLUMNS]
    counts = (
        frame.reindex(columns=columns).groupby(columns, dropna=False, observed=True).size().reset_index(name=_COUNT)
    )
    counts[columns] = counts[columns].astype(object).fillna(_NOT_RECORDED).astype(str)
    for trainable, environments in counts.groupby("trainable"):
        yield str(trainable), environments


@cache
def _versions(text: str) -> Mapping[str, str]:
    """Version by package, from the JSON in a row; empty where there is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {str(package): str(version) for package, version in found.items()} if isinstance(found, dict) else {}


def _versions_words(text: str) -> str:
    found = _versions(text)
    return ", ".join(f"{package} {version}" for package, version in sorted(found.items())) or text
