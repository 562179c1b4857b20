"""The key `seeds` of a sweep file that says when repetitions suffice, and every error in it.

    seeds: {least: 8, most: 200, until: {metric: test_mse, half_width: 2%}}
    seeds: {least: 8, most: 200, until: {compare: [vq, dvq], at: equal_bits, margin: 1%}}

Repetitions are looked at when there are `least`, twice as many each time, and `most`. Each look's intervals and tests
have such a level that all of them hold together at 95%, by Bonferroni's inequality.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from dvq_ray import inference
from dvq_ray.declarations.values import causes
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.problems import Path, field_problem, nearest, not_among, shown
from dvq_ray.providers import ProviderError
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.sweep.search import numeric_metrics

MOST = 10_000
"""Repetitions of a point, at most."""
At = Literal["equal_bits", "equal_parameters", "equal_settings"]
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Repetitions suffice when the interval of a point's mean is narrow."""

    metric: str
    half_width: float
    """Half of the interval, as a share of the mean."""

    def __str__(self) -> str:
        return f"{self.metric} within {_percent(self.half_width)}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Repetitions suffice when every comparable pair of points of two quantizers is decided."""

    metric: str
    higher_is_better: bool
    quantizers: tuple[str, ...]
    at: At
    margin: float | None
    """Quantizers are equal where their difference is surely no larger, as a share of the mean; None: never."""

    def __str__(self) -> str:
        margin = "" if self.margin is None else f", equal within {_percent(self.margin)}"
        return f"{self.metric} of {' against '.join(self.quantizers)} at {self.at.replace('_', ' ')}{margin}"


@dataclass(frozen=True, kw_only=True)
class SeedsUntil:
    """Repetitions that are added until a rule is met."""

    scope: str
    """The grid whose rule it is; empty: the sweep's, which all grids without seeds of their own share."""
    first: int
    """Seed of the first repetition."""
    least: int
    most: int
    rule: Precision | Comparison

    @cached_property
    def looks(self) -> tuple[int, ...]:
        """Numbers of repetitions at which they are looked at."""
        return inference.looks(self.least, self.most)

    @cached_property
    def level(self) -> float:
        """Of the intervals at each look."""
        return inference.level_at_each(len(self.looks))

    @property
    def error(self) -> float:
        """Of each one-sided test at each look."""
        return (1 - self.level) / 2

    @property
    def idle_looks(self) -> list[int]:
        """Looks that cannot decide, because a comparison of so few repetitions never does at this level."""
        compares = isinstance(self.rule, Comparison)
        return [count for count in self.looks if compares and inference.least_p(count) > self.error]

    def seeds(self, count: int) -> range:
        """Seeds of the first so many repetitions."""
        return range(self.first, self.first + count)


def _percent(share: float) -> str:
    return f"{100 * share:.6g}%"


def _share(value: Any) -> Any:
    found = value
    if isinstance(value, str) and (percent := _PERCENT.fullmatch(value)):
        found = float(percent[1]) / 100
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1:
        raise PydanticCustomError("share", "allowed: a share such as 2% or 0.02, above 0 and below 1")
    return float(found)


_Share = Annotated[float, BeforeValidator(_share)]


class _Seeds(BaseModel):
    """The keys beside the rule."""

    model_config = _STRICT
    first: Annotated[int, Field(ge=0, lt=2**63 - MOST)] = 0
    least: Annotated[int, Field(ge=2, le=MOST)]
    most: Annotated[int, Field(ge=2, le=MOST)]
    until: dict[str, Any]


class _Precision(BaseModel):
    model_config = _STRICT
    metric: str | None = None
    half_width: _Share


class _Comparison(BaseModel):
    model_config = _STRICT
    metric: str | None = None
    compare: Annotated[list[str], Field(min_length=2)]
    at: At
    margin: _Share | None = None
    decided: Literal[True] = True
    """Says what is meant in a file without a margin; it has no other value."""


_COMPARES = _Comparison.model_fields.keys() - _Precision.model_fields.keys()
_PRECISE = _Precision.model_fields.keys() - _Comparison.model_fields.keys()
Add = Callable[[Path, str], None]
"""Takes note of a problem at a place of the file."""


def check_until(
    given: Mapping[str, Any], path: Path, scope: str, experiment: Experiment | None, add: Add
) -> SeedsUntil | None:
    """What the mapping at `path` says; None where something in it is wrong, all of which is reported.

    Without an experiment, which is then wrong itself, metrics are not looked at.
    """
    seeds = _checked(_Seeds, given, path, add)
    until = given.get("until")
    rule = _rule(until, (*path, "until"), experiment, add) if isinstance(until, dict) else None
    if seeds is None or (seeds.most < seeds.least and _too_few(seeds, path, add)) or rule is None:
        return None
    found = SeedsUntil(scope=scope, first=seeds.first, least=seeds.least, most=seeds.most, rule=rule)
    if len(found.idle_looks) == len(found.looks):
        add((*path, "most"), _no_look_decides(found))
        return None
    return found


def check_quantizers(until: SeedsUntil, path: Path, present: Collection[str], add: Add) -> None:
    """Reports quantizers that are to be compared and that no grid under this rule has."""
    if isinstance(until.rule, Comparison):
        for index, name in enumerate(until.rule.quantizers):
            if name not in present:
                add((*path, "until", "compare", index), f"{not_among(name, present)}, which its grids have")


def _checked(model: type[BaseModel], given: Mapping[str, Any], path: Path, add: Add) -> Any:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        for details in causes(error):
            add(*_problem(path, details, model))
        return None


def _problem(path: Path, details: Any, model: type[BaseModel]) -> tuple[Path, str]:
    if details["type"] == "dict_type":
        return (*path, *details["loc"]), f"found {shown(details['input'])}; allowed: a mapping with a rule"
    if details["type"] == "literal_error" and details["loc"] == ("decided",):
        return (*path, "decided"), f"found {shown(details['input'])}; allowed: true"
    if details["type"] == "too_short":
        return (*path, *details["loc"]), f"found {shown(details['input'])}; allowed: two quantizers or more"
    return field_problem(path, details, model.model_fields)


def _too_few(seeds: _Seeds, path: Path, add: Add) -> bool:
    add((*path, "most"), f"found {seeds.most}; allowed: at least {seeds.least}, which is least")
    return True


def _rule(
    given: Mapping[str, Any], path: Path, experiment: Experiment | None, add: Add
) -> Precision | Comparison | None:
    meant = {nearest(str(key), (*_Comparison.model_fields, *_Precision.model_fields)) for key in given}
    is_comparison, is_precision = bool(_COMPARES & meant), bool(_PRECISE & meant)
    if is_comparison and is_precision:
        add(path, "holds two rules; allowed: half_width, or compare")
        return None
    if not is_comparison and not is_precision:
        add(path, f"holds no rule (found {shown(dict(given))}); allowed: half_width, or compare")
        return None
    found = _checked(_Comparison if is_comparison else _Precision, given, path, add)
    metric = _metric(given, path, experiment, add, ranked=is_comparison)
    named = _check_names(given.get("compare"), (*path, "compare"), add)
    if found is None or metric is None or experiment is None or not named:
        return None
    if isinstance(found, _Precision):
        return Precision(metric=metric, half_width=found.half_width)
    names = tuple(dict.fromkeys(QUANTIZERS.find(name).name for name in found.compare))
    if len(names) < len(found.compare):
        add((*path, "compare"), f"found {shown(found.compare)}; allowed: each quantizer once")
        return None
    if found.at == "equal_parameters" and not experiment.size_column:
        others = ", ".join(at for at in get_args(At) if at != found.at)
        add((*path, "at"), f"found {shown(found.at)}, and no metric of {experiment.name} is a size; allowed: {others}")
        return None
    return Comparison(
        metric=metric,
        higher_is_better=experiment.measures()[metric].better == "higher",
        quantizers=names,
        at=found.at,
        margin=found.margin,
    )


def _check_names(named: Any, path: Path, add: Add) -> bool:
    """Whether all of these are quantizers. What are not even texts is reported with the other keys."""
    wrong = False
    for index, name in enumerate(named if isinstance(named, list) else ()):
        try:
            if isinstance(name, str):
                QUANTIZERS.find(name)
        except ProviderError as error:
            add((*path, index), f"found {shown(name)}; {error}")
            wrong = True
    return not wrong


def _metric(
    given: Mapping[str, Any], path: Path, experiment: Experiment | None, add: Add, *, ranked: bool
) -> str | None:
    """The metric that is meant. One that is to rank quantizers must say which way is better."""
    if experiment is None:
        return None
    named = given.get("metric", experiment.main_metric)
    if named is None:
        return experiment.main_metric
    allowed = [
        name for name in numeric_metrics(experiment)
        if not ranked or experiment.measures()[name].better or name == experiment.main_metric
    ]  # fmt: skip
    if not isinstance(named, str):
        return None  # reported with the other keys
    if named not in allowed:
        add((*path, "metric"), not_among(named, allowed))
        return None
    return named


def _no_look_decides(until: SeedsUntil) -> str:
    smallest = next(
        most for most in range(until.most, MOST + 1)
        if inference.least_p(most) <= (1 - inference.level_at_each(len(inference.looks(until.least, most)))) / 2
    )  # fmt: skip
    return (
        f"found {until.most}, and no look could decide: the p-value of an exact sign-flip test of {until.most} "
        f"differences is at least {inference.least_p(until.most):.2g}, and each of {len(until.looks)} looks needs "
        f"{until.error:.2g}; allowed with least = {until.least}: {smallest} or more"
    )


def metrics_of_rules(rules: Sequence[SeedsUntil], experiment: Experiment) -> list[str]:
    """Metric columns that the rules read."""
    found = [until.rule.metric for until in rules]
    if any(isinstance(until.rule, Comparison) and until.rule.at == "equal_parameters" for until in rules):
        found.append(experiment.size_column)
    return [*dict.fromkeys(found)]
