"""Counts and names as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence


def counted(count: int, one: str, many: str = "") -> str:
    """`1 row`, `2,000 rows`; `many` is the plural where it takes more than an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def spoken(name: str) -> str:
    """A name of the code as a heading: `static_prior` is `Static prior`."""
    return name.replace("_", " ").capitalize()


def first_sentences(text: str, count: int = 2) -> tuple[str, str]:
    """The first sentences, and the others; a sentence ends at a full stop before a capital letter."""
    ends = [found.end() for found in re.finditer(r"[.!?](?= [A-Z])", text)]
    end = ends[count - 1] if len(ends) >= count else len(text)
    return text[:end], text[end:].strip()


def listed_in_words(words: Sequence[str]) -> str:
    """`one, two and three`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
