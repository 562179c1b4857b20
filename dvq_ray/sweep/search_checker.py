"""Checks the key `search` of a sweep file, and reports every error that it can hold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, ValidationError

from dvq_ray.declarations.settings import Settings
from dvq_ray.declarations.values import allowed, causes, field_type
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.problems import Path, field_problem, not_among, shown, unknown
from dvq_ray.providers import ProviderError
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.sweep import samplers
from dvq_ray.sweep.search import MOST_SUGGESTIONS, STRICT, Direction, Search, StopEarly, StopWhen, numeric_metrics
from dvq_ray.sweep.space import Axis, Choices, Range, Space

MOST_COMBINATIONS_TRIED = 20_000
"""Combinations of a finite space that are tried, when a file is checked for having any point at all."""
LARGEST_SEED = 2**63 - 1
LARGEST_BOUND = 2**53
"""Bound of whole numbers: Optuna draws them as floats, which hold no larger ones exactly."""
FINEST_STEP = 1e-12
"""Share of the larger bound: below it, floats do not tell steps apart."""
_Report = Callable[[Path, str], None]


class _Outline(BaseModel):
    """The keys of `search`. Values of the space are checked against what the trainable's fields take."""

    model_config = STRICT
    objective: Annotated[dict[str, Direction], Field(min_length=1, max_length=2)]
    sampler: Any = "tpe"
    sampler_seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0
    suggestions: Annotated[int, Field(ge=1, le=MOST_SUGGESTIONS)]
    space: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    max_bits: Annotated[float, Field(gt=0)] | None = None
    start_from: list[dict[str, Any]] = []
    stop_early: StopEarly | None = None
    stop_when: StopWhen | None = None
    learn_from: list[Annotated[str, Field(min_length=1)]] = []


def check_search(
    given: Any, fixed: Mapping[str, Any], seeds: tuple[int, ...], experiment: Experiment, report: _Report
) -> Search | None:
    """The search that the mapping `given` describes. Reports everything that is wrong; None where anything is."""
    return _Checker(given, fixed, seeds, experiment, report).search()


class _Checker:
    def __init__(
        self, given: Any, fixed: Mapping[str, Any], seeds: tuple[int, ...], experiment: Experiment, report: _Report
    ) -> None:
        self.given = given
        self.fixed = dict(fixed)
        self.seeds = seeds
        self.experiment = experiment
        self.problems = 0
        self._report = report

    def _add(self, path: Path, message: str) -> None:
        self.problems += 1
        self._report(path, message)

    def search(self) -> Search | None:
        outline = self._outline()
        if outline is None:
            return None
        for field in sorted(self.fixed.keys() & outline.space.keys()):
            self._add(("search", "space", field), "is set in fixed too; keep one")
        variants = self._variants(outline.space)
        self._check_fixed(variants)
        axes = {name: axis for name, given in outline.space.items()
                if (axis := self._axis(name, given, variants)) is not None}  # fmt: skip
        self._check_required(variants, outline.space)
        self._check_objective(outline)
        sampler = self._sampler(outline, axes)
        self._check_start(outline, axes, variants)
        if self.problems:
            return None
        space = Space(axes)
        search = Search(
            experiment=self.experiment,
            fixed=self.fixed,
            space=space,
            objectives=outline.objective,
            sampler=sampler[0],
            sampler_options=sampler[1],
            sampler_seed=outline.sampler_seed,
            suggestions=outline.suggestions,
            seeds=self.seeds,
            start_from=tuple(space.snapped(params) for params in outline.start_from),
            max_bits=outline.max_bits,
            stop_early=outline.stop_early,
            stop_when=outline.stop_when,
            learn_from=tuple(outline.learn_from),
        )
        self._check_possible(search)
        return None if self.problems else search

    def _outline(self) -> _Outline | None:
        try:
            return _Outline.model_validate(self.given)
        except ValidationError as error:
            for details in error.errors():
                self._add(*_outline_problem(details))
            wrong = {details["loc"][0] for details in error.errors() if details["loc"]}
        # What is right is still checked against the trainable, so that all errors are reported at once.
        anything = {"objective": {numeric_metrics(self.experiment)[0]: "minimize"}, "suggestions": 1}
        right = {key: value for key, value in self.given.items() if key not in wrong}
        return _Outline.model_validate({**anything, **right}) if "space" in right else None

    def _variants(self, space: Mapping[str, Mapping[str, Any]]) -> list[type[Settings]]:
        """Settings classes of the quantizers that can be suggested."""
        known = self.experiment.variants
        if "quantizer" in space:
            named = space["quantizer"].get("choices")
            names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
            return [known[name] for name in names if name in known]
        if "quantizer" not in self.fixed:
            self.fixed["quantizer"] = self.experiment.usual_quantizer
        name = self.fixed["quantizer"]
        if (found := self._stored_as(("fixed", "quantizer"), name)) is None:
            return []
        self.fixed["quantizer"] = found
        return [known[found]]

    def _stored_as(self, path: Path, name: Any) -> str | None:
        """The full name of a quantizer; None, and reported, where it cannot be used."""
        if not isinstance(name, str):
            self._add(path, f"found {shown(name)}; allowed: {', '.join(self.experiment.quantizers)}")
            return None
        try:
            self.experiment.variant(name)
        except ProviderError as error:
            self._add(path, f"found {shown(name)}; {error}")
            return None
        return QUANTIZERS.find(name).name

    def _check_fixed(self, variants: Sequence[type[Settings]]) -> None:
        every = {field for variant in variants for field in variant.model_fields}
        for field, value in self.fixed.items():
            if not every or field == "quantizer":
                continue
            if field not in every:
                self._add(("fixed", field), unknown(field, every))
            elif isinstance(value, list):
                self._add(("fixed", field), f"found {shown(value)}; allowed: one value (choices belong into space)")
            else:
                self._check_value(("fixed", field), field, value, variants)

    def _check_value(self, path: Path, field: str, value: Any, variants: Sequence[type[Settings]]) -> bool:
        """Whether every quantizer that has the field takes the value."""
        error = _rejection(field, value, variants)
        if error is not None:
            self._add(path, f"found {shown(value)}; {allowed(error)}")
        return error is None

    def _axis(self, field: str, given: Mapping[str, Any], variants: Sequence[type[Settings]]) -> Axis | None:
        path: Path = ("search", "space", field)
        if field == "quantizer":
            return self._quantizers(path, given)
        owners = [variant for variant in variants if field in variant.model_fields]
        if not owners:
            if variants:
                self._add(path, unknown(field, {name for variant in variants for name in variant.model_fields}))
            return None
        if "choices" in given:
            return self._choices(path, field, given, owners)
        return self._range(path, field, given, owners)

    def _quantizers(self, path: Path, given: Mapping[str, Any]) -> Axis | None:
        names = given.get("choices")
        known = ", ".join(self.experiment.variants)
        if set(given) != {"choices"} or not isinstance(names, list) or not names:
            self._add(path, f"found {shown(given)}; allowed: choices, some of {known}")
            return None
        found = [self._stored_as((*path, "choices", index), name) for index, name in enumerate(names)]
        return Choices(choices=tuple(dict.fromkeys(name for name in found if name is not None)))

    def _choices(
        self, path: Path, field: str, given: Mapping[str, Any], owners: Sequence[type[Settings]]
    ) -> Axis | None:
        for key in given.keys() - {"choices"}:
            self._add((*path, str(key)), "does not go with choices; allowed: choices, or low and high")
        values = given["choices"]
        if not isinstance(values, list) or not values:
            self._add((*path, "choices"), f"found {shown(values)}; allowed: a list of one value or more")
            return None
        right = [self._check_value((*path, "choices", i), field, value, owners) for i, value in enumerate(values)]
        return Choices(choices=tuple(dict.fromkeys(values))) if all(right) else None

    def _range(self, path: Path, field: str, given: Mapping[str, Any], owners: Sequence[type[Settings]]) -> Axis | None:
        before = self.problems
        for key in sorted(given.keys() - {"low", "high", "log", "step"}):
            self._add((*path, key), unknown(key, ["choices", "high", "log", "low", "step"]))
        for key in ("low", "high"):
            if key not in given:
                self._add(path, f"{key} is missing; allowed: choices, or low and high")
            else:
                self._check_value((*path, key), field, given[key], owners)
        log, step = given.get("log", False), given.get("step")
        if not isinstance(log, bool):
            self._add((*path, "log"), f"found {shown(log)}; allowed: true or false")
        if self.problems > before:
            return None
        low, high = given["low"], given["high"]
        whole = all(_takes_whole_numbers_alone(variant, field) for variant in owners)
        if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in (low, high)):
            self._add(path, f"{field} takes no numbers; allowed: choices")
        elif low > high:
            self._add((*path, "low"), f"found {shown(low)}, above high = {shown(high)}; allowed: at most high")
        elif log and low <= 0:
            self._add((*path, "low"), f"found {shown(low)}; allowed on a log scale: above 0")
        elif log and step is not None:
            self._add((*path, "step"), "does not go with log; keep one")
        elif whole and (large := next((key for key in ("low", "high") if abs(given[key]) > LARGEST_BOUND), "")):
            self._add((*path, large), f"found {shown(given[large])}; allowed in a range: up to {LARGEST_BOUND}")
        elif step is not None:
            self._check_step((*path, "step"), step, FINEST_STEP * max(abs(low), abs(high)), whole=whole)
        if self.problems > before:
            return None
        return Range(low=low, high=high, log=log, step=step, whole=whole)

    def _check_step(self, path: Path, step: Any, finest: float, *, whole: bool) -> None:
        kind = f"whole number above 0, up to {LARGEST_BOUND}" if whole else "number above 0"
        right = isinstance(step, int if whole else int | float) and not isinstance(step, bool)
        if not right or not 0 < step <= (LARGEST_BOUND if whole else sys.float_info.max):
            self._add(path, f"found {shown(step)}; allowed: a {kind}")
        elif step < finest:
            self._add(path, f"found {shown(step)}, too fine for these bounds; allowed: at least {finest:g}, or no step")

    def _check_required(self, variants: Sequence[type[Settings]], space: Mapping[str, Any]) -> None:
        for variant in variants:
            for field, info in variant.model_fields.items():
                if info.is_required() and field not in self.fixed and field not in space and field != "quantizer":
                    name = get_args(variant.model_fields["quantizer"].annotation)[0]
                    self._add(("search", "space"), f"{field} is missing; {name} needs it (here or in fixed)")

    def _check_objective(self, outline: _Outline) -> None:
        metrics = numeric_metrics(self.experiment)
        for metric in outline.objective:
            if metric not in metrics:
                self._add(("search", "objective", metric), unknown(metric, metrics))
            elif outline.stop_early and metric not in self.experiment.watched:
                watched = (
                    ", ".join(self.experiment.watched) or f"none; {self.experiment.name} computes a cell in one step"
                )
                message = f"needs an objective that is known while a cell is computed; allowed: {watched}"
                self._add(("search", "stop_early"), message)
        if outline.stop_early and len(outline.objective) > 1:
            self._add(("search", "stop_early"), "needs one objective, and there are two; remove one or the other")
        if outline.stop_when and len(outline.objective) > 1:
            self._add(("search", "stop_when"), "needs one objective, and there are two; remove one or the other")
        if outline.stop_when and outline.stop_when.winner_clear and len(self.seeds) < 2:
            self._add(("search", "stop_when", "winner_clear"), "compares repetitions; allowed: with two seeds or more")
        if outline.stop_when and outline.stop_when.winner_clear:
            largest = max(self.seeds, default=0) + outline.stop_when.most_seeds
            if largest > LARGEST_SEED:
                message = f"adds seeds beyond {max(self.seeds)}; allowed: up to {LARGEST_SEED} in all"
                self._add(("search", "stop_when", "winner_clear"), message)

    def _sampler(self, outline: _Outline, axes: Mapping[str, Axis]) -> tuple[str, Mapping[str, Any]]:
        """Its name and its options."""
        given: Any = outline.sampler
        path: Path = ("search", "sampler")
        known = [*samplers.OPTIONS, f"{samplers.HUB}PATH"]
        name, options = given, dict[str, Any]()
        if isinstance(given, dict):
            path = (*path, "name")
            options = {str(key): value for key, value in given.items() if key != "name"}
            name = given.get("name", "")
            if "name" not in given:
                self._add(path[:2], f"name is missing; allowed: {', '.join(known)}")
                return "tpe", {}
        if not isinstance(name, str) or not (name in samplers.OPTIONS or name.removeprefix(samplers.HUB) != name):
            self._add(
                path,
                not_among(name, known)
                if isinstance(name, str)
                else f"found {shown(name)}; allowed: {', '.join(known)}, or a mapping with name and its options",
            )
            return "tpe", {}
        try:
            resolved = samplers.resolved(name, options)
        except ValidationError as error:
            for details in causes(error):
                if details["type"] == "option":
                    self._add(("search", "sampler"), details["msg"])
                    continue
                self._add(*field_problem(("search", "sampler"), details, samplers.OPTIONS[name].model_fields))
            resolved = {}
        if name == "cmaes":
            self._check_cmaes(path, outline, axes)
        return name, resolved

    def _check_cmaes(self, path: Path, outline: _Outline, axes: Mapping[str, Axis]) -> None:
        if len(outline.objective) > 1:
            self._add(path, 'found "cmaes"; allowed for two objectives: tpe, gp, nsga2, nsga3, random')
        named = [field for field, axis in axes.items() if isinstance(axis, Choices)]
        if named or len(axes) < 2:
            message = f"choices in {', '.join(named)}" if named else "a single field"
            self._add(path, f'found "cmaes", which takes two ranges or more, and here are {message}')

    def _check_start(self, outline: _Outline, axes: Mapping[str, Axis], variants: Sequence[type[Settings]]) -> None:
        for index, params in enumerate(outline.start_from):
            for field, value in params.items():
                path: Path = ("search", "start_from", index, field)
                if field not in outline.space:
                    self._add(path, unknown(field, outline.space))
                elif field in axes:
                    # The first: a start from 4.0 is not one from the count 4, though both are equal.
                    wrong_kind = field != "quantizer" and _rejection(field, value, variants) is not None
                    if wrong_kind or not axes[field].holds(value):
                        self._add(path, f"found {shown(value)}, which is not in space; allowed: {axes[field]}")

    def _check_possible(self, search: Search) -> None:
        for index, params in enumerate(search.start_from):
            is_open = "quantizer" in search.space.axes and "quantizer" not in params
            if not is_open and params.keys() >= {*search.active(params)}:
                try:
                    search.settings(params)
                except ValueError as error:
                    self._add(("search", "start_from", index), f"is not a point: {error}")
        size = search.space.size()
        if size is not None and size <= MOST_COMBINATIONS_TRIED:
            tried = list(islice(search.space.combinations(), MOST_COMBINATIONS_TRIED))
            if not any(search.possible(params) for params in tried):
                try:
                    search.settings(tried[0])
                except ValueError as error:
                    self._add(("search", "space"), f"holds no point that can be; for example {error}")


def _rejection(field: str, value: Any, variants: Sequence[type[Settings]]) -> ValidationError | None:
    """Why a quantizer that has the field does not take the value; None where all of them do."""
    for variant in variants:
        if field in variant.model_fields:
            try:
                field_type(variant, field).validate_python(value)
            except ValidationError as error:
                return error
    return None


def _takes_whole_numbers_alone(variant: type[Settings], field: str) -> bool:
    error = _rejection(field, 1.5, [variant])
    return error is not None and error.errors()[0]["type"].startswith("int")


def _outline_problem(details: Any) -> tuple[Path, str]:
    """Where and what, of one pydantic error about the key `search`."""
    path: Path = ("search", *details["loc"])
    kind, value = details["type"], details["input"]
    if kind in ("too_short", "too_long"):
        what = {"objective": "one or two metrics", "space": "one field or more"}[str(path[-1])]
        return path, f"found {shown(value)}; allowed: {what}"
    if kind in ("model_type", "dict_type"):
        return path, f"found {shown(value)}; allowed: a mapping"
    if kind in ("option", "nothing"):
        return path, details["msg"]
    owner: type[BaseModel] = _Outline
    if len(path) > 2 and path[1] in ("stop_early", "stop_when"):
        owner = StopEarly if path[1] == "stop_early" else StopWhen
    return field_problem(("search",), details, owner.model_fields)
