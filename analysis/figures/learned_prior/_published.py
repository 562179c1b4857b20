"""Numbers that other works published, with their source and what they measure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Measure = Literal["reconstruction", "unigram", "likelihood"]
"""Explained on top of `published.toml`."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One model of one publication."""

    name: str
    source: str
    measures: Measure
    note: str
    bits_per_dim: Mapping[str, float]
    """By the name of the data set."""

    def __post_init__(self) -> None:
        assert self.measures in get_args(Measure), self.measures


def works() -> tuple[Work, ...]:
    """All of them, the paper's own first."""
    return tuple(Work(**work) for work in _content()["work"])


def caveats(datasets: Iterable[str]) -> list[str]:
    """What to know before comparing numbers of these data sets with ours."""
    known = _content()["caveats"]
    return list(dict.fromkeys(known[dataset] for dataset in datasets if dataset in known))


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
