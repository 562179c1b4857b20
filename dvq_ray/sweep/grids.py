"""The key `grids` of a sweep file: products of values of a trainable's fields, and every error in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from dvq_ray.declarations.settings import Rule, Settings
from dvq_ray.declarations.values import allowed, field_type
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.problems import SHOWN_PROBLEMS, Path, Problems, nearest, not_among, shown, unknown
from dvq_ray.providers import ProviderError
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.sweep.parent_points import ParentPoints
from dvq_ray.sweep.until import SeedsUntil, check_quantizers, check_until
from dvq_ray.sweep.yaml_source import Source

MAX_CELLS = 1_000_000
"""The limit of a sweep that does not say how many cells it may have."""
MOST_MAX_CELLS = 10_000_000
"""What a sweep may say: planning this many that are all missing takes minutes, and some 10 GB."""


_FIXED_SEEDS = "allowed: a number of repetitions, or a list of seeds"
_ALLOWED_SEEDS = "allowed: a number of repetitions, a list of seeds, or a mapping with least, most and until"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The product of some axes for one quantizer, one of those that a named grid lists."""

    name: str
    variant: type[Settings]
    axes: Mapping[str, tuple[Any, ...]]
    """Every field that the file gives, the fixed ones as axes of one value."""
    seeds: Sequence[int]
    """Of the repetitions of each point; where more may follow, of the first ones."""
    until: SeedsUntil | None = None
    """What decides how many repetitions follow; None where none do."""

    def most_seeds(self) -> Sequence[int]:
        """Seeds of all repetitions that a point may have."""
        return self.until.seeds(self.until.most) if self.until else self.seeds

    def point_count(self) -> int:
        """Number of points, before points that another grid names too are taken out."""
        return math.prod(len(values) for values in self.axes.values())

    def points(self) -> Iterator[Settings]:
        """The grid's points, resolved; the last axis changes fastest."""
        for values in itertools.product(*self.axes.values()):
            yield self.variant(**dict(zip(self.axes, values, strict=True)))


def seeds_of(value: Any) -> Sequence[int]:
    """The seeds that a value of the key `seeds` stands for. Raises `PydanticCustomError` where it is wrong."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_CELLS:
            raise PydanticCustomError("seeds", f"allowed: 1 to {MAX_CELLS} repetitions, or a list of seeds")
        return range(value)
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("seeds", _ALLOWED_SEEDS)
    wrong = [seed for seed in value if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0]
    if wrong:
        raise PydanticCustomError("seeds", f"{shown(wrong[0])} is not a seed; allowed: whole numbers from 0")
    return tuple(dict.fromkeys(value))


def check_grids(
    source: Source,
    experiment: Experiment,
    problems: Problems,
    *,
    seeds: Sequence[int] | SeedsUntil,
    data_sets: Collection[str] | None,
    parents: ParentPoints | None,
    max_cells: int,
) -> tuple[Grid, ...]:
    """The grids of the file, whose `grids` and `fixed` are mappings. Reports everything that is wrong.

    `data_sets` are the names that the file and the experiment know; None where they are unknown for another error.
    `parents` chooses the points that grids are computed from; None where they are computed from none.
    """
    return _Checker(source, experiment, problems, seeds, data_sets, parents).grids(max_cells)


class _Checker:
    def __init__(
        self,
        source: Source,
        experiment: Experiment,
        problems: Problems,
        seeds: Sequence[int] | SeedsUntil,
        data_sets: Collection[str] | None,
        parents: ParentPoints | None,
    ) -> None:
        self.source = source
        self.experiment = experiment
        self.problems = problems
        self.seeds = seeds
        self.data_sets = data_sets
        self.parents = parents
        self.fixed: Mapping[str, Any] = source.data.get("fixed", {})
        self.variants = {name: experiment.variant(name) for name in experiment.quantizers}
        """Fields of the built-in quantizers, and of those that the file names."""
        self.unusable: dict[str, str] = {}
        """Quantizers that the file names and that cannot be used, with the reason."""
        of_parents = [str(point.columns["quantizer"]) for point in parents.store.points] if parents else []
        for name in dict.fromkeys([*_named_quantizers(source.data), *of_parents]):
            try:
                self.variants[name] = experiment.variant(name)
            except ProviderError as error:
                self.unusable[name] = str(error)
        self.fields = {field for variant in self.variants.values() for field in variant.model_fields}
        self.used = {"quantizer"}
        """Fields of `fixed` that belong to a grid."""
        self.meant: set[str] = set()
        """Fields of which `fixed` holds a mistyped form, so that they are not reported as missing too."""
        self._fixed_axes = cache(self._fixed_axes_of)

    def grids(self, max_cells: int) -> tuple[Grid, ...]:
        self._check_fixed_names()
        drafts: list[Grid] = []
        for name, fields in self.source.data["grids"].items():
            if isinstance(fields, dict) and self.parents:
                for own in self._computed_from(self.parents, name, fields):
                    drafts += self._drafts(name, own)
            elif isinstance(fields, dict):
                drafts += self._drafts(name, fields)
            else:
                self.used |= self.fields  # it may have meant any of them
        self._check_compared(drafts)
        for field in sorted(self.fixed.keys() & self.fields - self.used):
            self._add(("fixed", field), "is not a field of any quantizer in the grids; remove it")
        count = sum(_cell_count(draft) for draft in drafts)
        if count > max_cells:  # then rules are not checked: no product of their axes is expanded
            remedy = "raise max_cells to run more" if max_cells < MOST_MAX_CELLS else "max_cells cannot be larger"
            self._add(("grids",), f"expand to {count:,} cells; allowed: {max_cells:,} ({remedy})")
        else:
            for draft in drafts:
                for rule in draft.variant.rules:
                    self._check_rule(rule, draft)
        return tuple(drafts)

    def _add(self, path: Path, message: str) -> None:
        self.problems.add(self.source.problem(path, message))

    def _check_fixed_names(self) -> None:
        for field in sorted(self.fixed.keys() - self.fields):
            self._add(("fixed", field), unknown(field, self.fields))
            self.meant |= {nearest(field, self.fields) or field}

    def _computed_from(
        self, parents: ParentPoints, name: str, fields: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        """A grid's fields, once for each of the points that it is computed from."""
        path: Path = ("grids", name)
        seeds = self._seeds(path, fields)
        if isinstance(seeds, SeedsUntil):
            self._add((*path, "seeds"), f"a rule cannot be combined with {parents.declared.key}; {_FIXED_SEEDS}")
            return
        own = {field: value for field, value in fields.items() if field != parents.declared.selection}
        points = parents.of(path, fields, seeds)
        for field in sorted({field for point in points for field in point.fields} & {*own, *self.fixed}):
            place: Path = (*path, field) if field in own else ("fixed", field)
            self._add(place, f"follows from {parents.declared.key}; remove it")
            points = []
        if not points:
            self.used |= self.fields  # they may have had any of them
        yield from ({**own, **point.fields} for point in points)

    def _drafts(self, name: str, fields: Mapping[str, Any]) -> Iterator[Grid]:
        """The grids behind one name, one for each quantizer that it lists; wrong fields have empty axes."""
        path: Path = ("grids", name)
        if not fields:
            self._add(path, "is empty; allowed: fields of the trainable, each a value or a list of values")
            return
        own = {field: value for field, value in fields.items() if field != "seeds"}
        for field in sorted(own.keys() & self.fixed.keys()):
            place = self.source.where(("fixed", field))
            self._add((*path, field), f"is set in fixed too ({place}); keep one")
        listed = own.get("quantizer", self.fixed.get("quantizer"))
        names: list[Any] = listed if isinstance(listed, list) else [listed]
        quantizers: list[str] = [*dict.fromkeys(each for each in names if self._is_quantizer(each))]
        meant = self.meant | self._check_names(path, own, quantizers)
        self._check_quantizers(path, own, listed, meant)
        seeds = self._seeds(path, fields)
        for quantizer in quantizers:
            variant = self.variants[quantizer]
            known = variant.model_fields
            stored_as = QUANTIZERS.find(quantizer).name
            axes: dict[str, tuple[Any, ...]] = {"quantizer": (stored_as,), **self._fixed_axes(variant)}
            for field, value in own.items():
                if field in known and field != "quantizer":
                    axes[field] = self._axis((*path, field), variant, field, value)
            for field, info in known.items():
                if info.is_required() and field not in axes and field not in meant:
                    self._add(path, f"{field} is missing; {quantizer} needs it (here or in fixed)")
            if isinstance(seeds, SeedsUntil):
                yield Grid(name=name, variant=variant, axes=axes, seeds=seeds.seeds(seeds.least), until=seeds)
            else:
                yield Grid(name=name, variant=variant, axes=axes, seeds=seeds)

    def _check_names(self, path: Path, own: Mapping[str, Any], quantizers: Sequence[str]) -> set[str]:
        """Reports fields that no quantizer has; returns those that were probably meant."""
        possible = {field for name in quantizers for field in self.variants[name].model_fields}
        meant = set()
        for field in sorted(own.keys() - self.fields):
            self._add((*path, field), unknown(field, {*(possible or self.fields), "seeds"}))
            meant.add(nearest(field, self.fields) or field)
        return meant

    def _check_quantizers(self, path: Path, own: Mapping[str, Any], listed: Any, meant: Collection[str]) -> None:
        """Reports quantizers that do not exist, and fields that one of the others does not have."""
        variants = self.variants
        place: Path = (*path, "quantizer") if "quantizer" in own else ("fixed", "quantizer")
        names = listed if isinstance(listed, list) else [listed]
        wrong = [index for index, name in enumerate(names) if not self._is_quantizer(name)]
        if listed is None and "quantizer" not in meant:
            self._add(path, f"quantizer is missing (here or in fixed); allowed: {', '.join(variants)}")
        elif not names:
            self._add(place, f"is an empty list; allowed: {', '.join(variants)}")
        elif listed is not None:
            for index in wrong:
                at = (*place, index) if isinstance(listed, list) else place
                reason = self.unusable.get(names[index]) if isinstance(names[index], str) else None
                self._add(at, f"found {shown(names[index])}; {reason}" if reason else not_among(names[index], variants))
        if wrong or not names:
            self.used |= self.fields  # the quantizer that is wrong may have any of them
            return
        for name in dict.fromkeys(names):
            known = variants[name].model_fields.keys()
            self.used |= self.fixed.keys() & known
            for field in sorted(own.keys() & self.fields - known):
                owners = ", ".join(other for other, variant in variants.items() if field in variant.model_fields)
                message = f"is not a field of {name}, only of {owners}; give those a grid of their own"
                self._add((*path, field), message)

    def _is_quantizer(self, name: Any) -> bool:
        return isinstance(name, str) and name in self.variants

    def _check_compared(self, drafts: Sequence[Grid]) -> None:
        """Each rule compares quantizers that grids under it have."""
        present: dict[SeedsUntil, list[str]] = {}
        for draft in drafts:
            if draft.until:
                present.setdefault(draft.until, []).extend(draft.axes["quantizer"])
        for until, quantizers in present.items():
            path: Path = ("grids", until.scope, "seeds") if until.scope else ("seeds",)
            check_quantizers(until, path, dict.fromkeys(quantizers), self._add)

    def _seeds(self, path: Path, fields: Mapping[str, Any]) -> Sequence[int] | SeedsUntil:
        if "seeds" not in fields:
            return self.seeds
        if isinstance(given := fields["seeds"], dict):
            return check_until(given, (*path, "seeds"), str(path[-1]), self.experiment, self._add) or (0,)
        try:
            return seeds_of(fields["seeds"])
        except PydanticCustomError as error:
            self._add((*path, "seeds"), f"found {shown(fields['seeds'])}; {error.message()}")
            return (0,)

    def _fixed_axes_of(self, variant: type[Settings]) -> dict[str, tuple[Any, ...]]:
        known = variant.model_fields.keys() - {"quantizer"}
        return {
            field: self._axis(("fixed", field), variant, field, value)
            for field, value in self.fixed.items()
            if field in known
        }

    def _axis(self, path: Path, variant: type[Settings], field: str, value: Any) -> tuple[Any, ...]:
        """The values of one field, each checked on its own; empty where one of them is wrong."""
        values = value if isinstance(value, list) else [value]
        if not values:
            self._add(path, "is an empty list; allowed: one value or more")
        takes = field_type(variant, field)
        names_data = self.experiment.data_sets is not None and field == self.experiment.data_sets.field
        checked: list[Any] = []
        for index, item in enumerate(values):
            at = (*path, index) if isinstance(value, list) else path
            try:
                checked.append(takes.validate_python(item))
            except ValidationError as error:
                self._add(at, f"found {shown(item)}; {allowed(error)}")
            else:
                if names_data and self.data_sets is not None and item not in self.data_sets:
                    self._add(at, f"{not_among(item, self.data_sets)}, or a data set that the key data describes")
        return tuple(dict.fromkeys(checked)) if len(checked) == len(values) else ()

    def _check_rule(self, rule: Rule, grid: Grid) -> None:
        path: Path = ("grids", grid.name)
        first = rule.fields[0]
        places: list[Path] = [(*path, first), ("fixed", first)]
        place = next((place for place in places if place in self.source.places), None)
        for count, (value, breach) in enumerate(_breaches(rule, grid)):
            if count == SHOWN_PROBLEMS:
                self._add(place or path, "more of its values break the same rule")
                break
            # Without a place it is a default that does not go with other values.
            found = f"found {shown(value)}, which {breach}" if place else f"{first} = {shown(value)} {breach}"
            self._add(place or path, found)


def _breaches(rule: Rule, grid: Grid) -> list[tuple[Any, str]]:
    """Values of the rule's first field that break it, each with how it does. Stops after more than can be shown.

    Only axes that the rule reads are combined. Which ones a computed default reads is found by looking on.
    """
    read = {*rule.fields}
    while True:
        found: dict[tuple[Any, str], None] = {}
        axes = {field: values for field, values in grid.axes.items() if field in read}
        for combination in itertools.product(*axes.values()):
            values = _Values(grid, dict(zip(axes, combination, strict=True)))
            try:
                first, *rest = (values[field] for field in rule.fields)
            except KeyError:
                return []  # what the rule reads is missing or wrong, and reported already
            if not values.read <= read:
                read |= values.read
                break
            if breach := rule.breach(first, *rest):
                found[first, breach] = None
            if len(found) > SHOWN_PROBLEMS:
                return list(found)
        else:
            return list(found)


class _Values(Mapping[str, Any]):
    """The value of every field at a point of a grid. Notes which of them are read."""

    def __init__(self, grid: Grid, chosen: Mapping[str, Any]) -> None:
        self.read: set[str] = set()
        self._grid = grid
        self._chosen = chosen

    def __getitem__(self, field: str) -> Any:
        """The chosen value, the first one of an axis of which none is chosen, or the default."""
        self.read.add(field)
        if field in self._chosen:
            return self._chosen[field]
        if axis := self._grid.axes.get(field):
            return axis[0]
        if axis == () or self._grid.variant.model_fields[field].is_required():
            raise KeyError(field)
        return _default(self._grid.variant, field)(self)

    def __iter__(self) -> Iterator[str]:
        return iter(self._grid.variant.model_fields)

    def __len__(self) -> int:
        return len(self._grid.variant.model_fields)


@cache
def _default(variant: type[Settings], field: str) -> Callable[[Mapping[str, Any]], Any]:
    """What gives a field's default from the values of all fields. pydantic looks at its signature for each value."""
    info = variant.model_fields[field]
    if info.default_factory is None:
        return lambda _: info.get_default()
    factory = cast(Callable[..., Any], info.default_factory)
    return factory if info.default_factory_takes_validated_data else lambda _: factory()


def _cell_count(draft: Grid) -> int:
    return math.prod(len(values) or 1 for values in draft.axes.values()) * len(draft.most_seeds())


def _named_quantizers(data: Mapping[str, Any]) -> Iterator[str]:
    """Gives those that `fixed` and the grids name, as they name them."""
    for fields in (data.get("fixed"), *data["grids"].values()):
        listed = fields.get("quantizer") if isinstance(fields, dict) else None
        yield from (name for name in (listed if isinstance(listed, list) else [listed]) if isinstance(name, str))
