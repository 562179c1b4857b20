"""Scalars of YAML 1.2: the value that a plain text stands for, and the text that stands for a value.

These are the rules of the core schema, with binary numbers and underscores between digits besides. A date is a text
here, which a library's own rules would rewrite.
"""

from __future__ import annotations

import re
from typing import Any

WHOLE_NUMBERS = range(-(2**63), 2**63)
"""Those that a column of a store can hold."""

_DIGITS = r"[0-9](?:_?[0-9])*"
_WHOLE = re.compile(
    rf"[-+]?(?:{_DIGITS}|0b[01](?:_?[01])*|0o[0-7](?:_?[0-7])*|0x[0-9a-fA-F](?:_?[0-9a-fA-F])*)",
)
_REAL = re.compile(rf"[-+]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][-+]?[0-9]+)?")
_BASES = {"0b": 2, "0o": 8, "0x": 16}
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*")
_OTHERWISE_READ = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""By this module, or by a reader of YAML 1.1."""
_TO_ESCAPE = re.compile(r'["\\]|[^ -~]')
_SHORT_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\t": r"\t"}


def value_of(text: str) -> Any:
    """What a plain scalar stands for: null, a boolean, a number, or else the text itself.

    Raises `ValueError` for a whole number of more than 63 bits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-.0123456789":
        if _WHOLE.fullmatch(text):
            return _whole(text)
        if _REAL.fullmatch(text):
            return float(text) + 0.0  # -0.0 and 0.0 are equal and must not become two cells
    return text


def _whole(text: str) -> int:
    base = _BASES.get(text.lstrip("+-")[:2], 10)
    number = int(text, base) if len(text) <= 100 else WHOLE_NUMBERS.stop  # a long text can take long to convert
    if number not in WHOLE_NUMBERS:
        raise ValueError(f"allowed: whole numbers from {WHOLE_NUMBERS[0]} to {WHOLE_NUMBERS[-1]}")
    return number


def text_of(value: Any) -> str:
    """A scalar as it is written on one line, so that it is read as the same value and type."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        # YAML 1.1 knows no exponent without a point before it.
        text = repr(value) if "." in repr(value) else repr(value).replace("e", ".0e")
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(text, text)
    if isinstance(value, int):
        return str(value)
    plain = _PLAIN.fullmatch(value) and value.lower() not in _OTHERWISE_READ
    return value if plain else f'"{_TO_ESCAPE.sub(_escape, value)}"'


def _escape(found: re.Match[str]) -> str:
    character, code = found[0], ord(found[0])
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
