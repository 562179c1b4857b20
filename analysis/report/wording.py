"""Counts and names as people write them."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """`1 row`, `2,000 rows`; `many` is the plural where it takes more than an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def spoken(name: str) -> str:
    """A name of the code as a heading: `static_prior` is `Static prior`."""
    return name.replace("_", " ").capitalize()
