"""Codecs as JSON and arrays, without pickle, and back.

A description has the name of the codec's class: of a built-in file, of an installed package's entry point (group
`dvq_ray.fitting.codecs`), or `package.module:NAME`. Whoever writes a codec need not register it anywhere.

    description, arrays = described(codec), codec.arrays()
    again = codec_from(description, arrays)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from dvq_ray.providers import Providers
from dvq_ray.quantizer.base import Codec


def _check(value: Any, name: str) -> type[Codec]:
    if not inspect.isclass(value) or not issubclass(value, Codec):
        raise ValueError(f"{value!r:.80} is no subclass of dvq_ray.Codec")
    return value


CODECS: Providers[type[Codec]] = Providers("codec", package="dvq_ray.fitting.codecs", attribute="CODEC", check=_check)


def described(codec: Codec) -> Mapping[str, Any]:
    """What plain JSON can say of a codec: its class and its `description`. The rest is in its `arrays`."""
    return {"codec": _name(type(codec)), **codec.description()}


def codec_from(description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Codec:
    """The codec that `described` gave this description of, and that had these arrays.

    Imports the module of its class, so it runs that module's code. Raises ValueError where the class is not found, or
    the arrays are not its own.
    """
    if not isinstance(name := description.get("codec"), str):
        raise ValueError(f"codec = {name!r}; allowed: {', '.join(CODECS.names())}, or package.module:NAME")
    return CODECS.find(name).value.rebuilt(description, arrays)


def _name(codec: type[Codec]) -> str:
    if "." in codec.__qualname__:
        raise ValueError(
            f"{codec.__qualname__} cannot be exported: nothing finds it by name; allowed: a class of a module"
        )
    package, _, file = codec.__module__.rpartition(".")
    return file if package == CODECS.group else f"{codec.__module__}:{codec.__qualname__}"


def exported_bytes(codec: Codec) -> int | None:
    """Bytes of its arrays, as they are exported; None where it cannot be."""
    try:
        return sum(array.nbytes for array in codec.arrays().values())
    except NotImplementedError:
        return None
