"""The sweep file: its form, its defaults, the overrides, and every mistake that a user can make in it.

A file is checked whole. Whatever is wrong is said in one go, each problem with its file and line, its key, the
value found and the values allowed, before Ray is started or anything written.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML

from dvq_ray.experiments import EXPERIMENTS, Experiment
from dvq_ray.fields import allowed, field_type
from dvq_ray.learned_prior import sources
from dvq_ray.problems import Path, Problem, SweepFileError, shown, unknown
from dvq_ray.search.spec import Search, check_search
from dvq_ray.settings import Settings
from dvq_ray.surroundings import Surroundings
from dvq_ray.yaml_source import Source, read_file, read_text

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$"
MAX_CELLS = 1_000_000
_FORMATS = {kind.model_fields["format"].default: kind for kind in get_args(sources.AnySource)}
_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def _seed_range(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_CELLS:
            raise PydanticCustomError("seeds", f"allowed: 1 to {MAX_CELLS} repetitions, or a list of seeds")
        return tuple(range(value))
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("seeds", "allowed: a number of repetitions, or a list of seeds")
    wrong = [seed for seed in value if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0]
    if wrong:
        raise PydanticCustomError("seeds", f"{shown(wrong[0])} is no seed; allowed: whole numbers from 0")
    return tuple(dict.fromkeys(value))


def _whole_or_part(gpu: float) -> float:
    if gpu > 1 and gpu != int(gpu):
        raise PydanticCustomError("gpu", "allowed: a fraction of one GPU, or a whole number of them")
    return gpu


Seeds = Annotated[tuple[int, ...], BeforeValidator(_seed_range)]


class Resources(BaseModel):
    """What one Tune trial holds while it runs. Decides where and how many run at once, never a result."""

    model_config = _STRICT
    cpu: Annotated[float, Field(gt=0, le=1024)] = 1.0
    gpu: Annotated[float, Field(ge=0, le=64), AfterValidator(_whole_or_part)] = 0.0


class _Outline(BaseModel):
    """The keys of a sweep file. What the mappings hold is checked against what the trainable takes."""

    model_config = _STRICT
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    trainable: str
    seeds: Seeds = (0,)
    fixed: dict[str, Any] = {}
    grids: Annotated[dict[str, dict[str, Any]], Field(min_length=1)] | None = None
    search: dict[str, Any] | None = None
    resources: Resources = Resources()
    data: dict[str, Any] = {}
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 60.0
    tensorboard: bool = False
    max_cells: Annotated[int, Field(ge=1)] = MAX_CELLS


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The product of some axes for one quantizer, one of those that a named grid lists."""

    name: str
    variant: type[Settings]
    axes: Mapping[str, tuple[Any, ...]]
    """Every field that the file gives, the fixed ones as axes of one value."""
    seeds: tuple[int, ...]

    def point_count(self) -> int:
        """Number of points, before points that another grid names too are taken out."""
        return math.prod(len(values) for values in self.axes.values())

    def points(self) -> Iterator[Settings]:
        """The grid's points, resolved; the last axis changes fastest."""
        for values in itertools.product(*self.axes.values()):
            yield self.variant(**dict(zip(self.axes, values, strict=True)))


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A sweep file that holds no mistake."""

    name: str
    experiment: Experiment
    grids: tuple[Grid, ...]
    """None where the file has a search."""
    search: Search | None
    """None where it has grids."""
    resources: Resources
    data: Mapping[str, sources.Source]
    """Data sets by name, the built-in ones included."""
    checkpoint_seconds: float
    """Between two checkpoints of a cell that takes longer."""
    tensorboard: bool
    """Whether TensorBoard event files of trainings are kept."""
    resolved: Mapping[str, Any]
    """The file's data with overrides applied, as it is kept beside the results."""

    def surroundings(self) -> Surroundings:
        """Where its cells are computed."""
        return Surroundings(
            device="cuda" if self.resources.gpu else "cpu",
            gpu_share=self.resources.gpu or 1.0,
            data={name: source.absolute() for name, source in self.data.items()},
            checkpoint_seconds=self.checkpoint_seconds,
            tensorboard=self.tensorboard,
        )

    def grid_names(self) -> list[str]:
        """Names of the grids in the order of the file."""
        return list(dict.fromkeys(grid.name for grid in self.grids))

    def as_yaml(self) -> str:
        """`resolved` as a sweep file that can be run again."""
        text = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = None
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.dump(dict(self.resolved), text)
        return text.getvalue()


def load_sweep(path: FilePath, overrides: Sequence[str] = ()) -> SweepSpec:
    """Reads and checks a sweep file.

    `overrides` are `KEY=VALUE`, VALUE in YAML, KEY a dotted path (`seeds`, `fixed.steps`, `grids.slicing.slices`)
    or the bare name of a fixed field (`steps`). Raises `SweepFileError` with everything that is wrong.
    """
    source = read_file(path)
    problems = _apply_overrides(source, overrides) if isinstance(source.data, dict) else []
    return _Checker(source, problems).spec()


def parse_sweep(text: str, name: str) -> SweepSpec:
    """As `load_sweep`, from the text of a sweep file that is called `name` in messages."""
    return _Checker(read_text(text, name), []).spec()


class _Checker:
    """One pass over a file's data that gathers all problems on its way."""

    def __init__(self, source: Source, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems

    def spec(self) -> SweepSpec:
        outline = self._outline()
        experiment = self._experiment()
        grids: list[Grid] = []
        data = self.source.data if isinstance(self.source.data, dict) else {}
        fixed, named = data.get("fixed", {}), data.get("grids", {})
        search = self._search(experiment, fixed, data)
        if experiment and isinstance(fixed, dict) and isinstance(named, dict) and "search" not in data:
            used: set[str] = set()
            for name, fields in named.items():
                if isinstance(fields, dict):
                    grids += self._grid(name, fields, fixed, experiment, used)
            self._unused(fixed, used, experiment)
        data_sets = self._described_data_sets(data.get("data", {}), experiment) if experiment else {}
        if experiment and experiment.data_sets:
            self._known_data_sets(experiment.data_sets.field, grids, data_sets)
            if search:
                self._searched_data_sets(experiment.data_sets.field, search, data_sets)
        if experiment and not experiment.watched and data.get("tensorboard") is True:
            trainings = ", ".join(name for name, other in EXPERIMENTS.items() if other.watched)
            self._add(("tensorboard",), f"is of no use: {experiment.name} trains in one go; allowed: with {trainings}")
        count = sum(grid.point_count() * len(grid.seeds) for grid in grids)
        limit = outline.max_cells if outline else MAX_CELLS
        if count > limit:
            message = f"expand to {count:,} cells; allowed: {limit:,} (raise max_cells to run more)"
            self._add(("grids",), message)
        if self.problems:
            raise SweepFileError(self.problems)
        assert outline is not None
        assert experiment is not None
        return SweepSpec(
            name=outline.name,
            experiment=experiment,
            grids=tuple(grids),
            search=search,
            resources=outline.resources,
            data=data_sets,
            checkpoint_seconds=outline.checkpoint_seconds,
            tensorboard=outline.tensorboard,
            resolved=self.source.data,
        )

    def _add(self, path: Path, message: str) -> None:
        problem = self.source.problem(path, message)
        if problem not in self.problems:  # a fixed field is met once for each grid
            self.problems.append(problem)

    def _outline(self) -> _Outline | None:
        try:
            return _Outline.model_validate(self.source.data)
        except ValidationError as error:
            for details in error.errors():
                self._add(*_outline_problem(details))
            return None

    def _experiment(self) -> Experiment | None:
        name = self.source.data.get("trainable") if isinstance(self.source.data, dict) else None
        if not isinstance(name, str):
            return None
        if name not in EXPERIMENTS:
            self._add(("trainable",), f"found {shown(name)}; {unknown(name, EXPERIMENTS).partition('; ')[2]}")
        return EXPERIMENTS.get(name)

    def _search(self, experiment: Experiment | None, fixed: Any, data: Mapping[str, Any]) -> Search | None:
        if "search" not in data:
            if isinstance(self.source.data, dict) and "grids" not in data:
                self._add((), "grids is missing; allowed: grids, or search in their place")
            return None
        if "grids" in data:
            self._add(("search",), "stands beside grids; allowed: one of the two")
            return None
        if experiment is None or not isinstance(fixed, dict) or not isinstance(data["search"], dict):
            return None
        seeds = self._seeds((), {})
        return check_search(data["search"], fixed, seeds, experiment, self._add)

    def _searched_data_sets(self, field: str, search: Search, known: Mapping[str, sources.Source]) -> None:
        """As `_known_data_sets`, of a search."""
        axis = search.space.axes.get(field)
        names = axis.values() if axis else (search.fixed.get(field),)
        for name in names or ():
            if name is not None and name not in known:
                path: Path = ("search", "space", field) if axis else ("fixed", field)
                message = f"found {shown(name)}; allowed: {', '.join(known)}, or a data set that the key data describes"
                self._add(path, message)

    def _grid(
        self, name: str, fields: dict[str, Any], fixed: dict[str, Any], experiment: Experiment, used: set[str]
    ) -> Iterator[Grid]:
        """The grids behind one name, one for each quantizer that it lists; none where it has mistakes."""
        path: Path = ("grids", name)
        before = len(self.problems)
        if not fields:
            self._add(path, "is empty; allowed: fields of the trainable, each a value or a list of values")
            return
        own = {field: value for field, value in fields.items() if field != "seeds"}
        for field in sorted(own.keys() & fixed.keys()):
            place = self.source.where(("fixed", field))
            self._add((*path, field), f"is set in fixed too ({place}); keep one")
        quantizers = self._quantizers(path, own, fixed, experiment)
        used.add("quantizer")
        seeds = self._seeds(path, fields)
        for quantizer in quantizers:
            variant = experiment.variants[quantizer]
            known = variant.model_fields
            used.update(fixed.keys() & known.keys())
            axes: dict[str, tuple[Any, ...]] = {"quantizer": (quantizer,)}
            for field, value in fixed.items():
                if field in known and field != "quantizer":
                    axes[field] = self._axis(("fixed", field), variant, field, value)
            for field, value in own.items():
                if field == "quantizer":
                    continue
                if field in known:
                    axes[field] = self._axis((*path, field), variant, field, value)
                else:
                    self._add((*path, field), self._not_a_field(field, quantizer, experiment))
            for field, info in known.items():
                if info.is_required() and field not in axes and field not in own:
                    self._add(path, f"{field} is missing; {quantizer} needs it (here or in fixed)")
            self._breaches(path, variant, axes)
            if len(self.problems) == before:
                yield Grid(name=name, variant=variant, axes=axes, seeds=seeds)

    def _described_data_sets(self, given: Any, experiment: Experiment) -> dict[str, sources.Source]:
        """The data sets that the file describes, and the built-in ones."""
        data_sets = experiment.data_sets
        if not isinstance(given, dict):
            return {}
        if data_sets is None:
            if given:
                self._add(("data",), f"is of no use: {experiment.name} draws its data")
            return {}
        found = dict(data_sets.built_in)
        for name, description in given.items():
            try:
                found[name] = sources.SOURCE.validate_python(description)
            except ValidationError as error:
                found[name] = next(iter(data_sets.built_in.values()))  # so that it counts as known
                for details in error.errors():
                    self._add(*_source_problem(("data", name), details))
        return found

    def _known_data_sets(self, field: str, grids: Sequence[Grid], known: Mapping[str, sources.Source]) -> None:
        """Every data set that a grid names must be known."""
        for grid in grids:
            for name in grid.axes.get(field, ()):
                if name not in known:
                    path: Path = ("grids", grid.name, field)
                    names = ", ".join(known)
                    message = f"found {shown(name)}; allowed: {names}, or a data set that the key data describes"
                    self._add(path if path in self.source.places else ("fixed", field), message)

    def _quantizers(self, path: Path, own: dict[str, Any], fixed: dict[str, Any], experiment: Experiment) -> list[str]:
        place: Path = (*path, "quantizer") if "quantizer" in own else ("fixed", "quantizer")
        value = own.get("quantizer", fixed.get("quantizer"))
        allowed = ", ".join(experiment.variants)
        if value is None:
            self._add(path, f"quantizer is missing (here or in fixed); allowed: {allowed}")
            return []
        found: list[str] = []
        if value == []:
            self._add(place, f"is an empty list; allowed: {allowed}")
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, str) and item in experiment.variants:
                found.append(item)
            else:
                at = (*place, index) if isinstance(value, list) else place
                self._add(at, f"found {shown(item)}; allowed: {allowed}")
        return list(dict.fromkeys(found))

    def _seeds(self, path: Path, fields: dict[str, Any]) -> tuple[int, ...]:
        own = "seeds" in fields
        value = fields["seeds"] if own else self.source.data.get("seeds", [0])
        try:
            return TypeAdapter(Seeds).validate_python(value)
        except ValidationError as error:
            if own:  # the sweep's own seeds are checked with the outline
                self._add((*path, "seeds"), f"found {shown(value)}; {error.errors()[0]['msg']}")
            return (0,)

    def _axis(self, path: Path, variant: type[Settings], field: str, value: Any) -> tuple[Any, ...]:
        """The values of one field, each checked on its own; empty where one of them is wrong."""
        values = value if isinstance(value, list) else [value]
        if not values:
            self._add(path, "is an empty list; allowed: one value or more")
        checked: list[Any] = []
        for index, item in enumerate(values):
            try:
                checked.append(field_type(variant, field).validate_python(item))
            except ValidationError as error:
                at = (*path, index) if isinstance(value, list) else path
                self._add(at, f"found {shown(item)}; {allowed(error)}")
        return tuple(dict.fromkeys(checked)) if len(checked) == len(values) else ()

    def _breaches(self, path: Path, variant: type[Settings], axes: Mapping[str, tuple[Any, ...]]) -> None:
        """Reports every combination of values that breaks a rule of the variant, once."""
        for rule in variant.rules:
            read = _read_by(variant, rule.fields)
            given = {field: axes[field] for field in axes if field in read}
            needed = {field for field in read if variant.model_fields[field].is_required()}
            if not needed <= given.keys() or not all(given.values()):
                continue  # what the rule reads is missing or wrong, and said already
            messages: dict[str, Path] = {}
            for values in itertools.product(*given.values()):
                known = dict(zip(given, values, strict=True))
                breach = rule.breach(*(_value(variant, field, known) for field in rule.fields))
                if breach:
                    first = rule.fields[0]
                    place = (*path, first) if (*path, first) in self.source.places else ("fixed", first)
                    messages.setdefault(f"found {shown(_value(variant, first, known))}, which {breach}", place)
            for message, place in messages.items():
                self._add(place, message)

    def _not_a_field(self, field: str, quantizer: str, experiment: Experiment) -> str:
        owners = [name for name, variant in experiment.variants.items() if field in variant.model_fields]
        fields = experiment.variants[quantizer].model_fields
        if owners:
            return f"is no field of {quantizer}, only of {', '.join(owners)}; give those a grid of their own"
        return unknown(field, [*fields, "seeds"])

    def _unused(self, fixed: dict[str, Any], used: set[str], experiment: Experiment) -> None:
        every = {field for variant in experiment.variants.values() for field in variant.model_fields}
        for field in sorted(fixed.keys() - used):
            if field not in every:
                self._add(("fixed", field), unknown(field, every))
            elif self.source.data.get("grids"):
                self._add(("fixed", field), "is no field of any quantizer in the grids; remove it")


def _read_by(variant: type[Settings], fields: Sequence[str]) -> set[str]:
    # A computed default may read any other field, so a rule on such a field has to see them all.
    computed = any(variant.model_fields[field].default_factory_takes_validated_data for field in fields)
    return set(variant.model_fields) if computed else set(fields)


def _value(variant: type[Settings], field: str, known: Mapping[str, Any]) -> Any:
    if field in known:
        return known[field]
    return variant.model_fields[field].get_default(call_default_factory=True, validated_data=dict(known))


def _outline_problem(details: Any) -> tuple[Path, str]:
    """Where and what, of one pydantic error about the outline."""
    path: Path = tuple(details["loc"])
    kind, value = details["type"], details["input"]
    if kind == "missing":
        return path[:-1], f"{path[-1]} is missing"
    if kind == "extra_forbidden":
        owner = Resources if path[0] == "resources" else _Outline
        return path, unknown(str(path[-1]), owner.model_fields)
    if kind == "too_short":
        return path, "is empty; allowed: one grid or more"
    if kind == "string_pattern_mismatch":
        return path, f"found {shown(value)}; allowed: letters, digits, _ and -, at most 80, no path"
    if path and path[0] in ("grids", "fixed") and kind.startswith("dict"):
        return path, f"found {shown(value)}; allowed: a mapping of fields to values"
    if kind in ("model_type", "dict_type"):
        return path, f"found {shown(value)}; allowed: a mapping of keys to values"
    message = details["msg"]
    allowed = message.replace("Input should be", "allowed:")
    return path, f"found {shown(value)}; {allowed}"


def _source_problem(path: Path, details: Any) -> tuple[Path, str]:
    """Where and what, of one pydantic error about the description of a data set at `path`."""
    kind, value = details["type"], details["input"]
    rest: Path = tuple(details["loc"])[1:]  # the first part names the format, which is no key
    if kind == "union_tag_invalid":
        return (*path, "format"), f"found {shown(value['format'])}; allowed: {details['ctx']['expected_tags']}"
    if kind == "union_tag_not_found":
        return path, f"format is missing; allowed: {', '.join(_FORMATS)}"
    if kind == "missing":
        return path, f"{rest[-1]} is missing"
    if kind == "extra_forbidden":
        return (*path, *rest), unknown(str(rest[-1]), _FORMATS[details["loc"][0]].model_fields)
    if kind == "split":
        return path, details["msg"]
    if not rest:
        return path, f"found {shown(value)}; allowed: a mapping with the key format"
    return (*path, *rest), f"found {shown(value)}; {details['msg'].replace('Input should be', 'allowed:')}"


def _apply_overrides(source: Source, overrides: Sequence[str]) -> list[Problem]:
    """Sets each `KEY=VALUE` in the source's data, in place; returns what is wrong with them."""
    problems: list[Problem] = []
    for text in overrides:
        option = f"--set {text}"
        key, equals, value_text = text.partition("=")
        parts = tuple(key.split("."))
        if not equals or not all(parts):
            problems.append(Problem(option, "", "allowed: KEY=VALUE, such as seeds=3 or fixed.steps=200"))
            continue
        if len(parts) == 1 and parts[0] not in _Outline.model_fields:
            parts = ("fixed", parts[0])
        try:
            value = read_text(value_text, option).data if value_text.strip() else None
        except SweepFileError as error:
            problems += error.problems
            continue
        target = source.data
        for part in parts[:-1]:
            target = target.setdefault(part, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            problems.append(Problem(option, key, "is no key of the file that can hold other keys"))
            continue
        target[parts[-1]] = value
        for stale in [place for place in source.places if place[: len(parts)] == parts]:
            del source.places[stale]
        source.places[parts] = option
    return problems
