from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.numbers import as_csv

ROOT = Path(__file__).parents[2]


def read(content: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter))


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "-", "--1", "@SUM(A1)", "\t=1", "\n=1", "\r=1", "＝1", "－x",
        "-1_000", "-inf", "+nan", "-0x1", "-1.5.2", "-1 ", "=", '="a"', "-１",
    ],
)  # fmt: skip
def test_a_text_that_begins_like_a_formula_is_marked_as_text(text: str) -> None:
    for kind in (object, "str", "category"):
        ((heading,), (value,)) = read(as_csv(pd.DataFrame({text: pd.Series([text]).astype(kind)})))
        assert heading == value
        assert value.startswith("'")
        assert value.removeprefix("'").replace("\n'", "\n").replace("\t'", "\t") == text.replace("\r", "\n")


@pytest.mark.parametrize("text", ["a;=1+1", "a\t@x", "a\r\n-x", "a\r+x", "x\n=1"])
def test_no_separator_of_any_country_begins_a_formula(text: str) -> None:
    content = as_csv(pd.DataFrame({"a": ["b", text, "c"], "n": [1, 2, 3]}))
    assert b"\r" not in content
    for delimiter in ",;\t":
        assert not any(cell[:1] in {*"=+-@"} for line in read(content, delimiter) for cell in line if cell)
    assert [line[1] for line in read(content)] == ["n", "1", "2", "3"]


@pytest.mark.parametrize(
    "text", ["-1.5", "+2", "-.5", "1e-3", "-1E+05", "-7.", "vq", "a-b", "a=b", "x; -0.3", "'=1", ""]
)
def test_numbers_in_words_and_other_texts_stay_as_they_are(text: str) -> None:
    assert read(as_csv(pd.DataFrame({"a": [text], "b": ["x"]})))[1][0] == text


def test_numbers_stay_numbers() -> None:
    frame = pd.DataFrame(
        {
            "float": [-0.5, np.nan, -np.inf],
            "whole": pd.array([-1, None, 3], "Int64"),
            "mixed": [-1, None, "-x"],
            "both": [True, False, True],
        }
    )
    assert as_csv(frame) == b"float,whole,mixed,both\n-0.5,-1,-1,True\n,,,False\n-inf,3,'-x,True\n"
    found = pd.read_csv(io.BytesIO(as_csv(frame)))
    assert found["float"].dtype == np.float64


def test_what_is_committed_would_be_written_as_it_is() -> None:
    files = sorted((ROOT / "results" / "reference").glob("*/figures/*.csv"))
    assert files
    for path in files:
        whole = pd.read_csv(path, dtype=str, keep_default_na=False)
        assert as_csv(whole) == path.read_bytes(), path
