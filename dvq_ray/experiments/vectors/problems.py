"""What is wrong with vectors and what cells want of them, found before anything starts: all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dvq_ray.declarations.settings import Rule, Settings
from dvq_ray.experiments.vectors import data
from dvq_ray.experiments.vectors.settings import VectorSettings
from dvq_ray.experiments.vectors.sources import Split, VectorsError, VectorSource
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.usage import FEWEST_VECTORS_PER_CODE, vectors_per_code


def problems(
    settings: Iterable[VectorSettings], sources: Mapping[str, VectorSource], note: Callable[[str], None]
) -> list[str]:
    """Reads all rows of the data sets that cells of these settings name; each line begins with a data set's name.

    `note` is called with what is not a problem, but would surprise a user.
    """
    by_name: dict[str, dict[int, VectorSettings]] = {}
    for one in settings:
        by_name.setdefault(one.dataset, {})[id(one)] = one  # the repetitions of a point share theirs
    found: dict[str, None] = {}
    notes: dict[str, None] = {}
    for name, by_point in sorted(by_name.items()):
        source, wanted = sources[name].expanded(), by_point.values()
        errors = [*_of_files(source)]
        found |= dict.fromkeys(f"{name}: {error}" for error in errors)
        if not errors:
            there = _There(data.scan(source, "train").dimension, data.train_count(source))
            notes |= dict.fromkeys(f"{name}: {text}" for text in _notes(source, wanted, there))
            found |= dict.fromkeys(f"{name}: {text}" for one in wanted for text in _of_settings(one, there))
    for text in notes:
        note(text)
    return list(found)


@dataclass(frozen=True)
class _There:
    """What cells can have."""

    dimension: int
    rows: int
    """For training."""


def _splits(source: VectorSource) -> tuple[Split, ...]:
    """Those with files of their own."""
    return ("train", "test") if source.holdout is None else ("train",)


def _of_files(source: VectorSource) -> Iterator[VectorsError]:
    """What is wrong with the files of both splits, and between them."""
    complete = True
    for split in _splits(source):
        try:
            scanned = data.scan(source, split)
        except VectorsError as error:
            complete = False
            yield error
        except OSError as error:  # a file that went away meanwhile
            complete = False
            yield VectorsError(str(error))
        else:
            if scanned.broken:
                yield scanned.broken
    if complete:
        yield from data.problems_of_split(source)


def _of_settings(settings: VectorSettings, there: _There) -> Iterator[str]:
    """What a cell wants that these rows do not have."""
    assert isinstance(settings, Quantizer)
    if settings.rows > there.rows:
        yield data.too_many_rows(settings.rows, there.rows)
        return
    rows, dimension = settings.rows or there.rows, there.dimension
    if rows > (most := data.most_rows_in_memory(dimension)):
        yield f"a fit holds {rows:,} rows of {dimension} numbers in memory; allowed on this machine: rows = {most:,}"
    breaches = [*_breaches(settings, {"dimension": dimension, "train_samples": rows})]
    yield from breaches
    if breaches:
        return
    largest = max(settings.codebook_sizes(), default=1)
    try:
        holds_codes = settings.parameters(dimension) >= largest
    except ValueError as error:
        yield f"{settings.quantizer}, dimension = {dimension}: {error}"
        return
    if holds_codes and largest > rows:
        codes = f"a codebook of {largest:,} codes for {rows:,} training rows"
        yield f"{settings.quantizer} has {codes}; allowed: at most {rows:,}"


def _breaches(settings: Settings, known: Mapping[str, int]) -> Iterator[str]:
    """Breaches of the rules that need what only the data say, such as the dimension."""
    fields = {**known, **dict(settings)}
    for rule in _rules(type(settings)):
        if fields.keys() >= {*rule.fields} and {*rule.fields} & known.keys():
            breach = rule.breach(*(fields[name] for name in rule.fields))
            if breach:
                yield f"{settings.quantizer}: {rule.fields[0]} = {fields[rule.fields[0]]} {breach}"


def _rules(settings: type[Settings]) -> Iterable[Rule]:
    """Of all classes that a settings class is made of: its own has only those whose fields it has."""
    return dict.fromkeys(rule for base in settings.__mro__ for rule in vars(base).get("rules", ()))


def _notes(source: VectorSource, wanted: Collection[VectorSettings], there: _There) -> Iterator[str]:
    for split in _splits(source):
        scanned = data.scan(source, split)
        if scanned.constant:
            yield f"{scanned.shown}: {scanned.constant} of {scanned.dimension} columns are constant"
        if scanned.empty and any(one.normalise for one in wanted):
            yield f"{scanned.shown}: {scanned.empty:,} rows are all zeros and have no direction; they stay as they are"
    if shared := data.shared_rows(source):
        yield f"{shared:,} of {data.test_count(source):,} test rows are among the training rows"
    for one in wanted:
        assert isinstance(one, Quantizer)
        rows = one.rows or there.rows
        each = vectors_per_code(rows, one.codebook_sizes())
        if each < FEWEST_VECTORS_PER_CODE and rows <= there.rows:
            yield (
                f"{rows:,} training rows are {each:.3g} for each of {max(one.codebook_sizes()):,} codes; below "
                f"{FEWEST_VECTORS_PER_CODE} codes fit single rows"
            )
