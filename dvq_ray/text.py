"""Text for people: numbers in handy units, and any text in a form that a terminal shows as it is."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")


def plain(text: str, *, one_line: bool = False) -> str:
    """The text without escape sequences and invisible characters, so that a terminal shows it as it is.

    A store may come from anywhere. Line ends stay, unless `one_line`; tabs become spaces. Bytes of a file name that
    are not valid UTF-8 are shown as numbers.
    """
    if text.isprintable():
        return text
    seen = _ESCAPES.sub("", text).replace("\r\n", "\n").expandtabs(4)
    seen = seen.encode("utf-8", "backslashreplace").decode()
    kept = "".join(each for each in seen if each.isprintable() or each == "\n" or unicodedata.category(each) == "Zs")
    return " ".join(kept.split("\n")) if one_line else kept


def span(seconds: float) -> str:
    """A duration as a person says it: 45 s, 12 min, 3.5 h, 2.1 days."""
    for limit, unit, text in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{0 if unit < 3600 else 1}f} {text}"
    return f"{seconds / 86400:.1f} days"


def rate(per_second: float, what: str = "cells") -> str:
    """Things in the unit of time that makes it a number to read: 12.3 cells/s, 4.5 cells/min, 0.8 cells/h."""
    for seconds, unit in ((1, "s"), (60, "min")):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.1f} {what}/{unit}"
    return f"{per_second * 3600:.1f} {what}/h"
