"""The sweep file: its form, its defaults, the overrides, and every error that a user can make in it.

A file is checked whole. All problems are reported at once, each with its file and line, its key, the
value found and the values allowed, before Ray is started or anything written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from dvq_ray.declarations.values import causes
from dvq_ray.experiment.data_sets import DataSets, DataSource
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.parents import Parents, ParentsError
from dvq_ray.experiment.registry import built_in_experiments, find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.problems import Path, Problem, Problems, SweepFileError, field_problem, listed, nearest, not_among, shown
from dvq_ray.providers import ProviderError
from dvq_ray.sweep.grids import MAX_CELLS, MOST_MAX_CELLS, Grid, check_grids, seeds_of
from dvq_ray.sweep.overrides import apply_overrides
from dvq_ray.sweep.parent_points import ParentPoints
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.search_checker import check_search
from dvq_ray.sweep.space import Choices
from dvq_ray.sweep.until import SeedsUntil, check_until
from dvq_ray.sweep.yaml_source import LARGEST_FILE_BYTES, Source, read_file, read_text
from dvq_ray.sweep.yaml_writer import write_yaml

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$"
LEAST_RESOURCE = 0.001
"""Smallest share of a CPU or a GPU; Ray counts in ten-thousandths."""
_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def _whole_or_part(gpu: float) -> float:
    if gpu > 1 and gpu != int(gpu):
        raise PydanticCustomError("gpu", "allowed: a fraction of one GPU, or a whole number of them")
    if 0 < gpu < LEAST_RESOURCE:
        raise PydanticCustomError("gpu", f"allowed: 0, or {LEAST_RESOURCE} and more")
    return gpu


class Resources(BaseModel):
    """What one Tune trial holds while it runs. Decides where and how many run at once, never a result."""

    model_config = _STRICT
    cpu: Annotated[float, Field(ge=LEAST_RESOURCE, le=1024)] = 1.0
    gpu: Annotated[float, Field(ge=0, le=64), AfterValidator(_whole_or_part)] = 0.0


def _seeds_or_rule(value: Any) -> Any:
    """A mapping holds a rule, which is checked with what the trainable measures."""
    return value if isinstance(value, dict) else seeds_of(value)


class _Outline(BaseModel):
    """The keys of a sweep file. What the mappings hold is checked against what the trainable takes."""

    model_config = _STRICT
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    trainable: str
    seeds: Annotated[Any, PlainValidator(_seeds_or_rule)] = 1
    fixed: dict[str, Any] = {}
    grids: Annotated[dict[str, dict[str, Any]], Field(min_length=1)] = {}
    search: dict[str, Any] = {}
    resources: Resources = Resources()
    data: dict[str, Any] = {}
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 60.0
    tensorboard: bool = False
    keep: list[str] = []
    max_cells: Annotated[int, Field(ge=1, le=MOST_MAX_CELLS)] = MAX_CELLS


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A sweep file that holds no error."""

    name: str
    experiment: Experiment
    grids: tuple[Grid, ...]
    """None where the file has a search."""
    search: Search | None
    """None where it has grids."""
    resources: Resources
    data: Mapping[str, DataSource]
    """Data sets by name, the built-in ones included."""
    checkpoint_seconds: float
    """Time between two checkpoints of a cell that takes longer."""
    tensorboard: bool
    """Whether TensorBoard event files of trainings are kept."""
    keep: frozenset[str]
    """What finished cells keep besides their row."""
    resolved: Mapping[str, Any]
    """The file's data with overrides applied, as it is kept beside the results."""

    def surroundings(self) -> Surroundings:
        """What its cells are computed with."""
        return Surroundings(
            device="cuda" if self.resources.gpu else "cpu",
            gpu_share=self.resources.gpu or 1.0,
            data={name: source.absolute() for name, source in self.data.items()},
            checkpoint_seconds=self.checkpoint_seconds,
            tensorboard=self.tensorboard,
            keep=self.keep,
        )

    def grid_names(self) -> list[str]:
        """Names of the grids in the order of the file."""
        return list(dict.fromkeys(grid.name for grid in self.grids))

    def batches(self) -> bool:
        """Whether repetitions of a point are computed together."""
        return bool(self.resources.gpu) and self.experiment.batches_on_gpu

    def rules(self) -> list[SeedsUntil]:
        """The rules by which repetitions are added, each once; none where the file names all repetitions."""
        return list(dict.fromkeys(grid.until for grid in self.grids if grid.until))

    def as_yaml(self) -> str:
        """`resolved` as a sweep file that can be run again."""
        return write_yaml(self.resolved)


def load_sweep(path: FilePath, overrides: Sequence[str] = ()) -> SweepSpec:
    """Reads and checks a sweep file.

    `overrides` are `KEY=VALUE`, VALUE in YAML, KEY a dotted path (`seeds`, `fixed.steps`, `grids.slicing.slices`)
    or the bare name of a field, which belongs to `fixed` (`steps`). They set what the file has, or what it could have
    and leaves to a default: a key of the sweep file, a field of the trainable, a data set that the sweep names. A name
    that is new to the file, such as that of a further grid, is taken for an error, and so is an unknown key.

    Raises `SweepFileError` with everything that is wrong.
    """
    source = read_file(path)
    problems = Problems()
    if isinstance(source.data, dict):
        apply_overrides(source, overrides, _top_keys(source.data), problems)
    spec = _Checker(source, problems).spec()
    if len(spec.as_yaml().encode()) > LARGEST_FILE_BYTES:  # it has to be read from its store again
        message = f"takes over {LARGEST_FILE_BYTES:,} bytes in its store, with overrides and escapes; allowed: less"
        raise SweepFileError([Problem(str(path), "", message)])
    return spec


def parse_sweep(text: str, name: str) -> SweepSpec:
    """Checks a sweep like `load_sweep`, from the text of a sweep file that is called `name` in messages."""
    return _Checker(read_text(text, name), Problems()).spec()


def _top_keys(data: Mapping[str, Any]) -> list[str]:
    """What a sweep file of this trainable may have."""
    try:
        parents = find_experiment(str(data.get("trainable"))).parents
    except ProviderError:
        parents = None  # reported with the file
    return [*_Outline.model_fields, *([parents.key] if parents else [])]


class _Checker:
    """One pass over a file's data that gathers all problems on its way."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self.source = source
        self.problems = problems
        self.data: Mapping[str, Any] = source.data if isinstance(source.data, dict) else {}

    def spec(self) -> SweepSpec:
        experiment = self._experiment()
        outline = self._outline(experiment)
        grids: tuple[Grid, ...] = ()
        data_sets: dict[str, DataSource] | None = None
        search = None
        seeds = self._seeds(experiment)
        if experiment:
            data_sets = self._described_data_sets(experiment)
            parents = self._parents(experiment.parents) if experiment.parents else None
            if experiment.parents and not parents:
                pass  # without them nothing can be said of its grids
            elif isinstance(self.data.get("fixed", {}), dict):
                grids = self._grids(experiment, data_sets, seeds, parents)
                search = self._search(experiment, seeds)
            if search and experiment.data_sets and data_sets is not None:
                self._searched_data_sets(experiment.data_sets.field, search, data_sets)
            if not experiment.watched and self.data.get("tensorboard") is True:
                trainings = ", ".join(other.name for other in built_in_experiments() if other.watched)
                message = f"has no effect: {experiment.name} trains in one step; allowed: with {trainings}"
                self._add(("tensorboard",), message)
            if parents and data_sets is not None:
                data_sets |= dict.fromkeys(parents.chosen, parents.store.source)
            self._kept(experiment)
        self.problems.raise_any()
        assert outline is not None
        assert experiment is not None
        assert data_sets is not None
        return SweepSpec(
            name=outline.name,
            experiment=experiment,
            grids=grids,
            search=search,
            resources=outline.resources,
            data=data_sets,
            checkpoint_seconds=outline.checkpoint_seconds,
            tensorboard=outline.tensorboard,
            keep=frozenset(outline.keep),
            resolved=self.source.data,
        )

    def _add(self, path: Path, message: str) -> None:
        self.problems.add(self.source.problem(path, message))

    def _outline(self, experiment: Experiment | None) -> _Outline | None:
        own = {experiment.parents.key} if experiment and experiment.parents else set()
        general = {key: value for key, value in self.data.items() if key not in own} if own else self.source.data
        try:
            outline = _Outline.model_validate(general)
        except ValidationError as error:
            outline = None
            for details in causes(error):
                self._add(*_outline_problem(details))
        if "grids" in self.data and "search" in self.data:
            self._add(("search",), "cannot be combined with grids; allowed: one of the two")
        meant = {nearest(key, _Outline.model_fields) for key in self.data.keys() - own - _Outline.model_fields.keys()}
        if isinstance(self.source.data, dict) and not {"grids", "search"} & {*self.data, *meant}:
            self._add((), "grids is missing; allowed: grids, or search in their place")
        return outline

    def _experiment(self) -> Experiment | None:
        name = self.data.get("trainable")
        if not isinstance(name, str):
            return None
        try:
            return find_experiment(name)
        except ProviderError as error:
            self._add(("trainable",), f"found {shown(name)}; {error}")
            return None

    def _parents(self, declared: Parents) -> ParentPoints | None:
        """The store that the file names, opened; None where there is an error."""
        path, location = (declared.key,), self.data.get(declared.key)
        for key in ("search", "seeds"):
            if isinstance(self.data.get(key), dict):
                what = "a search" if key == "search" else "a rule"
                self._add((key,), f"{what} cannot be combined with {declared.key}; allowed: grids, with given seeds")
                return None
        if location is None:
            self._add((), f"{declared.key} is missing; allowed: RESULTS/NAME of a sweep that has run")
        elif not isinstance(location, str) or not location:
            self._add(path, f"found {shown(location)}; allowed: RESULTS/NAME of a sweep that has run, or a URI")
        else:
            try:
                return ParentPoints(declared, declared.open(location), self._add)
            except ParentsError as error:
                self._add(path, str(error))
        return None

    def _kept(self, experiment: Experiment) -> None:
        """Everything that is to be kept must be something that the experiment can keep."""
        given = self.data.get("keep", [])
        for place, name in enumerate(given if isinstance(given, list) else ()):
            if isinstance(name, str) and name not in experiment.keeps:
                can = (
                    f"{not_among(name, experiment.keeps)}"
                    if experiment.keeps
                    else (f"has no effect: {experiment.name} keeps nothing besides its rows")
                )
                self._add(("keep", place), can)

    def _seeds(self, experiment: Experiment | None) -> Sequence[int] | SeedsUntil:
        given = self.data.get("seeds", 1)
        if isinstance(given, dict):
            if "search" in self.data:
                message = (
                    "a rule cannot be combined with a search; allowed: a number of repetitions, or a list of seeds"
                )
                self._add(("seeds",), message)
                return (0,)
            return check_until(given, ("seeds",), "", experiment, self._add) or (0,)
        try:
            return seeds_of(given)
        except PydanticCustomError:
            return (0,)  # reported with the outline

    def _max_cells(self) -> int:
        given = self.data.get("max_cells")
        return given if isinstance(given, int) and 1 <= given <= MOST_MAX_CELLS else MAX_CELLS

    def _grids(
        self, experiment: Experiment, data_sets: Mapping[str, DataSource] | None, seeds: Sequence[int] | SeedsUntil,
        parents: ParentPoints | None,
    ) -> tuple[Grid, ...]:  # fmt: skip
        if "search" in self.data or not isinstance(self.data.get("grids"), dict):
            return ()
        return check_grids(
            self.source,
            experiment,
            self.problems,
            seeds=seeds,
            data_sets=None if parents else data_sets,
            parents=parents,
            max_cells=self._max_cells(),
        )

    def _search(self, experiment: Experiment, seeds: Sequence[int] | SeedsUntil) -> Search | None:
        if "grids" in self.data or not isinstance(self.data.get("search"), dict) or isinstance(seeds, SeedsUntil):
            return None
        fixed = self.data.get("fixed", {})
        return check_search(self.data["search"], fixed, tuple(seeds), experiment, self._add)

    def _searched_data_sets(self, field: str, search: Search, known: Mapping[str, DataSource]) -> None:
        """Every data set that a search names must be known."""
        axis = search.space.axes.get(field)
        names = axis.choices if isinstance(axis, Choices) else (search.fixed.get(field),)
        for name in names:
            if name is not None and name not in known:
                path: Path = ("search", "space", field) if axis else ("fixed", field)
                self._add(path, f"{not_among(name, known)}, or a data set that the key data describes")

    def _described_data_sets(self, experiment: Experiment) -> dict[str, DataSource] | None:
        """The data sets that the file describes, and the built-in ones; None where `data` is not a mapping."""
        given = self.data.get("data", {})
        if not isinstance(given, dict):
            return None
        data_sets = experiment.data_sets
        if data_sets is None:
            if given:
                self._add(("data",), f"has no effect: {experiment.name} draws its data")
            return {}
        found = dict(data_sets.built_in)
        for name, description in given.items():
            found[name] = self._source(data_sets, ("data", name), description)
        return found

    def _source(self, data_sets: DataSets, path: Path, description: object) -> DataSource:
        formats = data_sets.formats
        if not isinstance(description, dict):
            self._add(path, f"found {shown(description)}; allowed: a mapping with the key format")
        elif "format" not in description:
            self._add(path, f"format is missing; allowed: {listed(formats)}")
        elif not isinstance(given := description["format"], str) or given not in formats:
            self._add((*path, "format"), not_among(given, formats))
        else:
            try:
                return formats[given].model_validate(description)
            except ValidationError as error:
                for details in causes(error):
                    self._add(*_source_problem(path, details, formats[given]))
        return DataSource(format="")  # so that its name counts as known


def _outline_problem(details: Any) -> tuple[Path, str]:
    """Where and what, of one pydantic error about the outline."""
    path: Path = tuple(details["loc"])
    kind, value = details["type"], details["input"]
    if kind == "too_short":
        return path, "is empty; allowed: one grid or more"
    if kind == "string_pattern_mismatch":
        return path, f"found {shown(value)}; allowed: letters, digits, _ and -, at most 80, no path"
    if path and path[0] in ("grids", "fixed") and kind.startswith("dict"):
        return path, f"found {shown(value)}; allowed: a mapping of fields to values"
    if kind in ("model_type", "dict_type"):
        return path, f"found {shown(value)}; allowed: a mapping of keys to values"
    owner = Resources if path[:1] == ("resources",) else _Outline
    return field_problem((), details, owner.model_fields)


def _source_problem(path: Path, details: Any, source: type[DataSource]) -> tuple[Path, str]:
    """Where and what, of one pydantic error about the description of a data set at `path`."""
    if not details["loc"]:
        return path, details["msg"]
    return field_problem(path, details, source.model_fields)
