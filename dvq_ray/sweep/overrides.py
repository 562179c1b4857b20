"""Overrides of a sweep file on the command line: `--set KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from dvq_ray.experiment.data_sets import DataSets
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.problems import Problem, Problems, SweepFileError, cut, dotted, shown, unknown
from dvq_ray.providers import ProviderError
from dvq_ray.sweep.yaml_source import Source, read_text

_LONGEST_OPTION = 100
"""Characters of an option in messages."""


def apply_overrides(source: Source, overrides: Sequence[str], top_keys: Collection[str], problems: Problems) -> None:
    """Sets each `KEY=VALUE` in the mapping that the source holds, in place. Reports what is wrong with them.

    What the mappings of the file may hold is checked with the file. Here it is only ensured that no name is added by
    mistake: of a key of the file, which are `top_keys`, of a field, of a grid, or of a data set.
    """
    data: dict[str, Any] = source.data
    added: dict[str, str] = {}
    # First the trainable, on which it depends what the bare name of a field is.
    for text in sorted(overrides, key=lambda each: not each.startswith("trainable=")):
        option = f"--set {cut(text, _LONGEST_OPTION)}"
        key, equals, value = text.partition("=")
        parts = _parts(key, data)
        if not equals or not all(parts):
            problems.add(Problem(option, "", "allowed: KEY=VALUE, such as seeds=3 or fixed.FIELD=VALUE"))
        elif wrong := _unknown_name(parts, data, top_keys):
            problems.add(Problem(option, *wrong))
        else:
            if len(parts) == 1 and parts[0] not in top_keys:
                parts = ("fixed", *parts)
            if len(parts) > 1 and parts[0] == "data" and parts[1] not in _mapping(data.get("data")):
                added[parts[1]] = option
            _set(source, parts, value, option, problems)
    _check_data_sets(data, added, problems)


def _unknown_name(parts: tuple[str, ...], data: Mapping[str, Any], top_keys: Collection[str]) -> tuple[str, str] | None:
    """The key down to a name that the file neither has nor may have, and what is wrong with it."""
    experiment, grids = _experiment(data), _mapping(data.get("grids"))
    bare = {*_mapping(data.get("fixed")), *_fields(experiment)} if experiment else {parts[0]}
    allowed = {*top_keys, *bare} if len(parts) == 1 else {*top_keys}
    if parts[0] not in allowed:
        return parts[0], unknown(parts[0], allowed)
    if len(parts) > 1 and parts[0] == "grids" and parts[1] not in grids:
        return dotted(parts[:2]), unknown(parts[1], grids)
    return None


def _experiment(data: Mapping[str, Any]) -> Experiment | None:
    name = data.get("trainable")
    try:
        return find_experiment(name) if isinstance(name, str) else None
    except ProviderError:
        return None  # reported with the file


def _fields(experiment: Experiment | None) -> set[str]:
    variants = experiment.variants.values() if experiment else ()
    return {field for variant in variants for field in variant.model_fields}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _parts(key: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The key at its dots, but for those inside of keys that the file has."""
    parts: list[str] = []
    present = data
    while True:
        whole = [each for each in present if key == each or key.startswith(f"{each}.")]
        parts.append(max(whole, key=len, default=key.partition(".")[0]))
        if parts[-1] == key:
            return tuple(parts)
        key = key[len(parts[-1]) + 1 :]
        present = _mapping(present.get(parts[-1]))


def _set(source: Source, parts: tuple[str, ...], text: str, option: str, problems: Problems) -> None:
    try:
        value = read_text(text, option).data if text.strip() else None
    except SweepFileError as error:
        for problem in error.problems:
            problems.add(Problem(option, dotted(parts), problem.message))
        return
    target = source.data
    for end, part in enumerate(parts[:-1], start=1):
        if target.get(part) is None:
            target[part] = {}
            source.places[parts[:end]] = option
        target = target[part]
        if not isinstance(target, dict):
            found = f"found {shown(target)}, which holds no keys; allowed: --set {dotted(parts[:end])}=VALUE"
            problems.add(Problem(option, dotted(parts), found))
            return
    target[parts[-1]] = value
    for stale in [place for place in source.places if place[: len(parts)] == parts]:
        del source.places[stale]
    source.places[parts] = option


def _check_data_sets(data: dict[str, Any], added: Mapping[str, str], problems: Problems) -> None:
    """Reports data sets that were added and that the sweep does not use, and removes them."""
    experiment = _experiment(data)
    if experiment is None or experiment.data_sets is None:
        return
    described = _mapping(data.get("data"))
    known = {*described} - {*added} | {*experiment.data_sets.built_in, *_named_data_sets(data, experiment.data_sets)}
    for name in described.keys() & added.keys() - known:
        problems.add(Problem(added[name], dotted(("data", name)), unknown(name, known)))
        del data["data"][name]


def _named_data_sets(data: Mapping[str, Any], data_sets: DataSets) -> Iterator[str]:
    """Names of data sets in the places where a sweep can choose one."""
    axis: Any = data
    for key in ("search", "space", data_sets.field):
        axis = _mapping(axis).get(key)
    values = [_mapping(axis).get("choices")]
    for fields in (data.get("fixed"), *_mapping(data.get("grids")).values()):
        values.append(_mapping(fields).get(data_sets.field))
    for value in values:
        yield from (name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))
