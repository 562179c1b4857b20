"""Files of a store that are not Parquet, or not of a store, are set aside, so that the rest can be read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dvq_ray.store.columns import KEYS
from dvq_ray.store.layout import Layout
from dvq_ray.store.reading import Reader
from dvq_ray.store.storage import Storage


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A file that could not be read, and was taken out of its store's way."""

    path: str
    reason: str
    """Why, as the end of a sentence."""
    moved_to: str


def set_aside_unreadable(storage: Storage, reader: Reader) -> list[SetAside]:
    """Moves such files. Nothing is deleted."""
    aside = []
    for part in KEYS:
        for path, reason in reader.problems(part).items():
            if one := _set_aside(storage, part, path, reason):
                aside.append(one)
    return aside


def _set_aside(storage: Storage, part: str, path: str, reason: str) -> SetAside | None:
    digest = hashlib.sha256(storage.get(path) or b"").hexdigest()[:8]
    moved_to = Layout(storage.root).set_aside(part, path, digest)
    try:
        storage.move(path, moved_to)
    except FileNotFoundError:
        return None  # another process was faster
    return SetAside(path=path, reason=reason.lstrip(" :"), moved_to=moved_to)
