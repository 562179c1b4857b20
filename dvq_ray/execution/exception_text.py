"""An exception as the text of a row: whatever it is, nothing is raised here."""

from __future__ import annotations

import traceback

from dvq_ray.text import plain

LONGEST = 10_000
"""Characters that a row keeps."""
_LONGEST_MESSAGE = 2_000


def describe(error: BaseException) -> str:
    """The exception as Python prints it, and below it the traceback, with the exceptions that it follows from."""
    try:
        lines = traceback.format_exception_only(error)
        while len(lines) > 1 and lines[0].startswith("  "):  # the place of a syntax error comes before what it is
            lines.append(lines.pop(0))
        message = "".join(lines)
        whole = "".join(traceback.format_exception(error))
    except Exception as in_text:  # a message that cannot be made, or is out of all proportion
        message = whole = f"{type(error).__qualname__}: its message cannot be shown ({type(in_text).__qualname__})\n"
    message = clean(message, _LONGEST_MESSAGE)
    return f"{message}\n{clean(whole, LONGEST - len(message) - 1)}"


def clean(text: str, longest: int = LONGEST) -> str:
    """Text that every file and terminal takes: no escape sequences, no invisible characters, not too long.

    The beginning and the end remain of what is too long: a traceback ends with what it is about.
    """
    if len(text) > longest:
        cut = f" ... {len(text) - longest:,} characters more ... "
        head = (longest - len(cut)) // 4
        text = text[:head] + cut + text[len(cut) + head - longest :]
    return plain(text.encode("utf-8", "backslashreplace").decode()).strip()[:longest]
