"""What is wrong with vectors and what cells want of them, found before anything starts: all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from dvq_ray.declarations.settings import Rule, Settings
from dvq_ray.experiments.vectors import data
from dvq_ray.experiments.vectors.settings import VectorSettings
from dvq_ray.experiments.vectors.sources import VectorsError, VectorSource
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.usage import FEWEST_VECTORS_PER_CODE, vectors_per_code

_SIDES = ("train", "test")


def problems(
    settings: Iterable[VectorSettings], sources: Mapping[str, VectorSource], note: Callable[[str], None]
) -> list[str]:
    """Reads all rows of the data sets that cells of these settings name; each line begins with a data set's name.

    `note` is called with what is not a problem, but would surprise a user.
    """
    by_name: dict[str, list[VectorSettings]] = {}
    for one in settings:
        by_name.setdefault(one.dataset, []).append(one)
    found: dict[str, None] = {}
    notes: dict[str, None] = {}
    for name, wanted in sorted(by_name.items()):
        source = sources[name].expanded()
        errors = [*_of_files(source)]
        found |= dict.fromkeys(f"{name}: {error}" for error in errors)
        if not errors:
            notes |= dict.fromkeys(f"{name}: {text}" for text in _notes(source, wanted))
            found |= dict.fromkeys(f"{name}: {text}" for one in wanted for text in _of_settings(source, one))
    for text in notes:
        note(text)
    return list(found)


def _of_files(source: VectorSource) -> Iterator[VectorsError]:
    """What is wrong with the files of both splits, and between them."""
    complete = True
    for split in _SIDES[: 1 if source.holdout is not None else 2]:
        try:
            scanned = data.scan(source, "train" if split == "train" else "test")
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


def _of_settings(source: VectorSource, settings: VectorSettings) -> Iterator[str]:
    """What a cell wants that these rows do not have."""
    assert isinstance(settings, Quantizer)
    scanned, available = data.scan(source, "train"), data.train_count(source)
    if settings.rows > available:
        yield str(data.too_many_rows(settings.rows, available, scanned.shown))
        return
    rows, dimension = settings.rows or available, scanned.dimension
    if rows > (most := data.most_rows_in_memory(dimension)):
        yield f"a fit holds {rows:,} rows of {dimension} numbers in memory; allowed on this machine: rows = {most:,}"
    breaches = [*_breaches(settings, {"dimension": dimension, "train_samples": rows})]
    yield from breaches
    largest = max(settings.codebook_sizes(), default=1)
    if not breaches and largest > rows and settings.parameters(dimension) >= largest:
        yield (
            f"{settings.quantizer} has a codebook of {largest:,} codes for {rows:,} training rows; "
            f"allowed: at most {rows:,}"
        )


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


def _notes(source: VectorSource, wanted: Iterable[VectorSettings]) -> Iterator[str]:
    for split in _SIDES[: 1 if source.holdout is not None else 2]:
        scanned = data.scan(source, "train" if split == "train" else "test")
        if scanned.constant:
            yield f"{scanned.shown}: {scanned.constant} of {scanned.dimension} columns are constant"
        if scanned.empty and any(one.normalise for one in wanted):
            yield f"{scanned.shown}: {scanned.empty:,} rows are all zeros and have no direction; they stay as they are"
    if shared := data.shared_rows(source):
        yield f"{shared:,} of {data.test_count(source):,} test rows are among the training rows"
    for one in wanted:
        assert isinstance(one, Quantizer)
        rows = one.rows or data.train_count(source)
        each = vectors_per_code(rows, one.codebook_sizes())
        if each < FEWEST_VECTORS_PER_CODE and rows <= data.train_count(source):
            yield (
                f"{rows:,} training rows are {each:.3g} for each of {max(one.codebook_sizes()):,} codes; below "
                f"{FEWEST_VECTORS_PER_CODE} codes fit single rows"
            )
