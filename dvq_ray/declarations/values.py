"""What a field of a trainable's settings takes, and the words for a value that it does not take."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from dvq_ray.declarations.settings import Settings
from dvq_ray.problems import MOST_PROBLEMS, nearest


@cache
def field_type(variant: type[Settings], field: str) -> TypeAdapter[Any]:
    """Checks a value of one field on its own, as strictly as the settings do."""
    info = variant.model_fields[field]
    kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


NOWHERE = "provider"
"""The type of a pydantic error that says in whole sentences why a name leads to nothing."""


def allowed(error: ValidationError) -> str:
    """`allowed: ...` of the first thing that is wrong; of a name that leads nowhere, what was tried."""
    details = error.errors()[0]
    message = details["msg"]
    if details["type"] == NOWHERE or message.startswith("allowed"):
        return str(message)
    return "allowed: " + message.removeprefix("Input should be ")


def causes(error: ValidationError) -> list[Any]:
    """The details of what is wrong, without a missing key where there is a mistyped form of it."""
    details = error.errors(include_url=False)
    missing = {each["loc"] for each in details if each["type"] == "missing"}
    mistyped = (each["loc"] for each in details if each["type"] == "extra_forbidden")
    for *around, key in islice(mistyped, MOST_PROBLEMS):
        names = [str(place[-1]) for place in missing if [*place[:-1]] == around]
        missing.discard((*around, nearest(str(key), names) or ""))
    return [each for each in details if each["type"] != "missing" or each["loc"] in missing]
