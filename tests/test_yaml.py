from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvq_ray.problems import MOST_PROBLEMS, SweepFileError
from dvq_ray.sweep.yaml_source import LARGEST_FILE_BYTES, read_text
from dvq_ray.sweep.yaml_writer import write_yaml

# ruff: noqa: E501  (many cases to a line read best)
TRICKY = [
    "", " ", "  two  spaces  ", "\t", "a\tb", "\n", "a\n\nb\n", "\r\n", "\x07\x1b[31m", "\x7f", "\x85", "\u2028\u2029", "\ufeff",
    "\ufffe", "\U0010ffff", "é", "e\u0301", "👩‍🚀 👍🏽", "null", "~", "True", "yes", "NO", "on", "y", "1", "-1", "+1", "010", "0x10", "0o7", "0b1",
    "1_000", "1e3", ".5", "5.", "-.5e-3", ".inf", ".nan", "12:30", "2001-01-01", "2001-13-45", "2001-12-14t21:59:43.10-05:00", "<<", "=", "!", "!!str x",
    "&a", "*a", "%YAML 1.1", "---", "...", "- a", "-", "? a", "?", "a: b", "a:", ":", "a #b", "#", "@a", "`a`", "|", ">", "[a]", "{a: b}", "a, b",
    "'", '"', "it's", 'say "x"', "\\", "\\n", "C:\\data\\new", "s3://bucket/a b/*.parquet", "x" * 2000, "x y " * 600, "\x85" * 400,
]  # fmt: skip

FRAGMENTS = [
    "a", "b: ", ": ", ",", "- ", "\n", "  ", "\n  ", "[", "]", "{", "}", "? ", "'", '"', "\\", "\\x", "\\u", "\\UFFFFFFFF", "\\ud83d", "\\\n", "|", "|2\n",
    ">-\n", "&x ", "*x ", "!", "!!int ", "!<", "%YAML 1.2\n", "%TAG ! x\n", "---\n", "...\n", "#c\n", "\t", "1", "0x", "1e5", "~", "<<: ", "=", "@", "`",
    "\r\n", "\x85", "\u2028", "é", "😀", "%", "-", "--- |\n", "\ufeff", ".", "+", "\0", "\x1b", "\udcff",
]  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(TRICKY)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False).map(lambda value: value + 0.0)
    | st.sampled_from([1e-5, 1e22, 5e-324, 0.1 + 0.2, 1.7976931348623157e308, 2.0**53])
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10)


def exactly(value: Any) -> Any:
    """The value in a form that differs where types, or the order of keys, differ."""
    if isinstance(value, dict):
        return [(key, exactly(item)) for key, item in value.items()]
    return ([*map(exactly, value)],) if isinstance(value, list) else (type(value), value)


@pytest.mark.long
@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.dictionaries(texts, values))
def test_what_is_written_reads_back_as_the_same_values_and_types(data: dict[str, Any]) -> None:
    text = write_yaml(data)
    assert exactly(read_text(text, "x").data) == exactly(data)


@pytest.mark.parametrize("text", TRICKY)
def test_a_text_survives_as_key_as_value_and_in_a_list(text: str) -> None:
    data = {text: text, "list": [text, {text: [text]}], "inner": {text: {text: text}}}
    assert exactly(read_text(write_yaml(data), "x").data) == exactly(data)


def test_what_is_written_can_be_read_by_people() -> None:
    data = {
        "name": "static_prior", "seeds": 10, "fixed": {"schedule": "cosine", "learning_rate": 1e-05},
        "grids": {"a b": {"quantizer": ["vq", "k-means++"], "dimension": [*range(1000, 1040)]}, "yes": {"slices": 2}},
        "data": {"mine": {"format": "folder", "train": "/data/two  spaces/é"}}, "max_cells": None, "none": {}, "some": [],
    }  # fmt: skip
    assert (
        write_yaml(data)
        == """\
name: static_prior
seeds: 10
fixed: {schedule: cosine, learning_rate: 1.0e-05}
grids:
  "a b":
    quantizer: [vq, k-means++]
    dimension: [
      1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 1017, 1018,
      1019, 1020, 1021, 1022, 1023, 1024, 1025, 1026, 1027, 1028, 1029, 1030, 1031, 1032, 1033, 1034, 1035, 1036, 1037,
      1038, 1039,
      ]
  "yes": {slices: 2}
data:
  mine: {format: folder, train: "/data/two  spaces/é"}
max_cells: null
none: {}
some: []
"""
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("Null", None), ("true", True), ("FALSE", False), ("yes", "yes"), ("on", "on"),
        ("0", 0), ("-7", -7), ("+7", 7), ("010", 10), ("0x1F", 31), ("0o17", 15), ("0b101", 5), ("1_000", 1000),
        ("1__0", "1__0"), ("1_", "1_"), ("_1", "_1"), ("+_", "+_"), ("0x_", "0x_"), ("0x", "0x"), ("08", 8), ("1,000", "1,000"),
        ("1e3", 1000.0), ("1E-2", 0.01), (".5", 0.5), ("5.", 5.0), ("+.5e+1", 5.0), ("1e22", 1e22), ("1_0.5", 10.5), (".", "."), ("1e", "1e"),
        ("e5", "e5"), ("1.2.3", "1.2.3"), (".inf", float("inf")), ("-.INF", float("-inf")), ("inf", "inf"), ("nan", "nan"),
        ("12:30", "12:30"), ("2001-01-01", "2001-01-01"), ("2001-13-45", "2001-13-45"), ("=", "="), ("٣", "٣"), ("-0.0", 0.0),
        ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63)), ('"\\ud83d\\ude00"', "😀"), ("'1'", "1"), ('"1"', "1"),
    ],
)  # fmt: skip
def test_a_scalar_is_read_by_the_core_schema(text: str, value: object) -> None:
    found = read_text(f"key: {text}", "x").data["key"]
    assert (type(found), repr(found)) == (type(value), repr(value))


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "0xffffffffffffffff",
        "0b1" + "0" * 64,
        "1" + "0" * 22,
        "9" * 9_999,
    ],
)
def test_a_whole_number_that_no_column_holds_is_rejected_with_its_line(text: str) -> None:
    with pytest.raises(SweepFileError, match=r"x:3: key\[1\]: found .*; allowed: whole numbers from -9223") as caught:
        read_text(f"key:\n- 1\n- {text}\n", "x")
    assert len(str(caught.value)) < 300


WRONG = {
    "empty": ("", "x: is empty"),
    "comments alone": ("# one\n# two\n", "x: is empty"),
    "a start alone": ("---\n", None),
    "two documents": ("a: 1\n---\nb: 2\n", "x:2: a second document begins here; allowed: one"),
    "tabs": ("a:\n\t- 1\n", "x:2: is not valid YAML: found character '\\t' that cannot start any token"),
    "merge key": ("a: 1\n<<: {b: 2}\n", "x:2: merge keys are not allowed"),
    "merge of an alias": ("a: &a {b: 1}\n<<: *a\n", "x:2: anchors and aliases are not allowed"),
    "anchor on a key": ("&a b: 1\n", "x:1: anchors and aliases are not allowed"),
    "tag on a key": ("!!int 3: 1\n", "x:1: tag"),
    "number as key": ("a: {8: 1}\n", "x:1: a: key 8 is not text; allowed: names (in quotes if need be)"),
    "null as key": ("~: 1\n", "x:1: key null is not text"),
    "boolean as key": ("a:\n  true: 1\n", "x:2: a: key true is not text"),
    "list as key": ("? [a, b]\n: 1\n", "x:1: key ['a', 'b'] is not text"),
    "mapping as key": ("? {a: b}\n: 1\n", "x:1: key {'a': 'b'} is not text"),
    "a key three times": ("a: 1\nb: 1\na: 2\na: 3\n", "x:3: a: is given twice (first at x:1); keep one"),
    "an old version": ("%YAML 1.1\n---\na: yes\n", "is not in YAML 1.2"),
    "a NUL": ("a: 1\nb: x\0y\n", "x:2: holds the character U+0000"),
    "an escape sequence": ("a: \x1b[31m\n", "x:1: holds the character U+001B"),
    "an escaped NUL": ('a: "x\\0"\n', "x:1: a: holds the character U+0000; allowed: Unicode text"),
    "half a character": ('a: 1\nb: "\\ud83d"\n', "x:2: b: holds the character U+D83D; allowed: Unicode text"),
    "a character beyond Unicode": ('a: "\\UFFFFFFFF"\n', "x: is not valid YAML: "),
    "an escape in a key": ('"a\\eb": {3: 1}\n', "x:1: a\\x1bb: key 3 is not text"),
    "a quote left open": ('a: "b\n', "x:2: is not valid YAML"),
    "brackets": ("a: [1, 2\nb: 3\n", "is not valid YAML"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_text_that_is_not_plain_data_is_rejected_with_its_line(text: str, message: str | None) -> None:
    if message is None:
        assert read_text(text, "x").data is None
        return
    with pytest.raises(SweepFileError) as caught:
        read_text(text, "x")
    assert message in str(caught.value)


def test_a_mark_for_utf8_and_line_ends_of_windows_are_read() -> None:
    assert read_text("\ufeffa: 1\r\nb:\r\n- x\r\n- y\r\n", "x").data == {"a": 1, "b": ["x", "y"]}


def test_every_part_has_its_line() -> None:
    source = read_text("a:\n  b: [1,\n    2]\n  c:\n  - {d: 1}\n  - e:\n     f: 3\n", "x")
    lines = {("a", "b"): 2, ("a", "b", 0): 2, ("a", "b", 1): 3, ("a", "c"): 4, ("a", "c", 0, "d"): 5, ("a", "c", 1): 6,
             ("a", "c", 1, "e", "f"): 7, ("a", "gone"): 1, ("gone",): 1}  # fmt: skip
    assert {path: int(source.where(path).removeprefix("x:")) for path in lines} == lines


def test_a_text_is_read_up_to_its_stated_size_and_no_further() -> None:
    longest = "a: 1 # " + " " * (LARGEST_FILE_BYTES - 7)
    assert read_text(longest, "x").data == {"a": 1}
    for text in (f"{longest} ", "a: " + "é" * (LARGEST_FILE_BYTES // 2)):
        with pytest.raises(SweepFileError, match="is too large; allowed: at most 524,288 bytes"):
            read_text(text, "x")


def test_a_text_that_is_wrong_everywhere_is_given_up_early() -> None:
    with pytest.raises(SweepFileError) as caught:
        read_text("a: 1\n" * 5_000, "x")
    assert len(caught.value.problems) == MOST_PROBLEMS
    assert caught.value.lines()[-1].startswith(f"{MOST_PROBLEMS} problems or more;")


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=25))
def test_whatever_is_read_gives_data_or_problems(parts: list[str]) -> None:
    data, messages = None, [""]
    try:
        data = read_text("".join(parts), "x").data
    except SweepFileError as error:
        messages = error.lines()
    assert all(line.isprintable() for line in messages)
    assert exactly(read_text(write_yaml({"": data}), "x").data) == exactly({"": data})
