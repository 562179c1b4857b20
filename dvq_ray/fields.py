"""What a field of a trainable's settings takes, and the words for a value that it does not take."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from dvq_ray.settings import Settings


@cache
def field_type(variant: type[Settings], field: str) -> TypeAdapter[Any]:
    """Checks a value of one field on its own, as strictly as the settings do."""
    info = variant.model_fields[field]
    kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def allowed(error: ValidationError) -> str:
    """`allowed: ...` of the first thing that is wrong."""
    message = error.errors()[0]["msg"]
    return message if message.startswith("allowed") else "allowed: " + message.removeprefix("Input should be ")
