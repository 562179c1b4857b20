"""Which study of a journal a search continues, and how others differ from it.

What is sought decides: the space, the objectives, the fixed fields, the seeds, the bits allowed, what is stopped early.
How it is sought does not: a study may get more suggestions, another sampler or other starting points.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from dvq_ray.sweep.search import Search
from dvq_ray.sweep.space import Axis, Choices

DESCRIPTION = "search"
"""The attribute of a study that says what is sought."""
Description = Mapping[str, Any]


def described(search: Search) -> dict[str, Any]:
    """What is sought, in plain values. Equal searches have equal descriptions, however they are written."""
    return {
        "trainable": search.experiment.name,
        "revision": search.experiment.revision,
        "fixed": {
            name: _number(value) for name, value in sorted(search.fixed.items()) if not _is_default(search, name, value)
        },
        "space": {name: _plain(axis) for name, axis in sorted(search.space.axes.items())},
        "objectives": [list(each) for each in search.objectives.items()],
        "seeds": list(search.seeds),
        "max_bits": search.max_bits,
        "stop_early": dict(search.stop_early.options()) if search.stop_early else None,
    }


def study_name(name: str, search: Search, existing: Collection[str] = ()) -> str:
    """The name of the search's study, given the names that a journal has."""
    found = f"{name}-{_digest(described(search))}"
    earlier = f"{name}-{_digest(_as_earlier(search))}"
    return earlier if earlier in existing and found not in existing else found


def differences(description: Description, other: Description) -> list[str]:
    """How a search differs from another one, a line for each key."""
    now, before = _flat(description), _flat(other)
    return [
        f"{key}: {_shown(before.get(key))}, now {_shown(now.get(key))}"
        for key in {**now, **before}
        if now.get(key) != before.get(key)
    ]


def _flat(description: Description) -> dict[str, Any]:
    found = dict[str, Any]()
    for key, value in description.items():
        if key in ("fixed", "space") and isinstance(value, Mapping):
            found |= {f"{key}.{name}": each for name, each in value.items()}
        else:
            found[key] = value
    return found


def _shown(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _plain(axis: Axis) -> dict[str, Any]:
    if isinstance(axis, Choices):
        plain = [_number(choice) for choice in axis.choices]
        return {"choices": sorted(plain, key=lambda choice: (type(choice).__name__, choice))}
    kept = {name: value for name, value in vars(axis).items() if name != "whole"}
    return {name: _number(value) for name, value in kept.items() if value is not None and value is not False}


def _number(value: Any) -> Any:
    """1 where 1.0 was written: both are the same cell."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_default(search: Search, name: str, value: Any) -> bool:
    """Whether all quantizers that have the field would have the value without it."""
    variants = [search.experiment.variants[quantizer] for quantizer in search.quantizers]
    fields = [variant.model_fields[name] for variant in variants if name in variant.model_fields]
    return name != "quantizer" and bool(fields) and all(
        not field.is_required() and field.default_factory is None and field.default == value
        and isinstance(field.default, bool) == isinstance(value, bool)
        for field in fields
    )  # fmt: skip


def _as_earlier(search: Search) -> dict[str, Any]:
    """What the names of studies of earlier versions are made of."""
    stop_early = search.stop_early
    return {
        "trainable": search.experiment.name,
        "revision": search.experiment.revision,
        "fixed": dict(search.fixed),
        "space": {name: repr(axis) for name, axis in search.space.axes.items()},
        "objectives": dict(search.objectives),
        "seeds": list(search.seeds),
        "max_bits": search.max_bits,
        "stop_early": {name: getattr(stop_early, name) for name in ("scheduler", "grace_steps", "reduction")}
        if stop_early
        else None,
    }


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]
