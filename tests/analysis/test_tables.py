from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.tables import Column, Section, Table, latex, markdown

TABLE = Table(
    name="Table 9",
    title="Costs & gains of a_b",
    columns=[
        Column(heading="model", is_text=True),
        Column(heading="cost, all in", group="CIFAR-10 32×32"),
        Column(heading="gain", group="CIFAR-10 32×32"),
        Column(heading="n"),
    ],
    sections=[
        Section(title="", rows=[["VQ, D = 255", "4.670 ± 0.012", "50%", "3"]]),
        Section(title="others|more", rows=[["x_y #1 <b>", "–", "~1^2", "$"]]),
    ],
    notes=["n = 3; K: codes.", "[1] who {says} so \\ not"],
)


def test_markdown_has_as_many_cells_in_every_row_and_no_markup_of_the_text() -> None:
    text = markdown(TABLE)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert rows[0] == "| model | CIFAR-10 32×32: cost, all in | CIFAR-10 32×32: gain | n |"
    assert rows[1] == "| :-- | --: | --: | --: |"
    assert "\\<b\\>" in text
    assert "**others\\|more**" in text
    assert text.startswith("**Table 9.** Costs \\& gains of a\\_b\n\n")


def test_latex_has_as_many_cells_in_every_row_and_braces_that_close() -> None:
    text = latex(TABLE, "tab:test")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    cells = []
    for row in rows:
        spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", row)]
        cells.append(len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans) - len(spans))
    assert cells == [4, 4, 4, 4, 4]
    plain = re.sub(r"\\[\\{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert "\\cmidrule(lr){2-3}" in text
    assert "VQ, $D = 255$ & 4.670\\,{\\scriptsize$\\pm$}\\,0.012 & 50\\% & 3" in text
    assert "x\\_y \\#1 $<$b$>$ & -- & \\textasciitilde{}1\\textasciicircum{}2 & \\$" in text
    assert "\\shortstack[r]{cost,\\\\all in}" in text
    assert "\\caption{Costs \\& gains of a\\_b}" in text


def test_a_table_of_many_columns_lies_on_its_side() -> None:
    columns = [Column(heading=str(i)) for i in range(12)]
    wide = Table(name="Table 9", title="Wide", columns=columns, sections=[], notes=[])
    assert "\\begin{sidewaystable*}" in latex(wide, "tab:wide")
    assert "\\begin{table*}" in latex(TABLE, "tab:test")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_is_typeset_without_a_complaint(tmp_path: Path) -> None:
    packages = "\\usepackage{booktabs,graphicx,rotating}"
    document = f"\\documentclass{{article}}{packages}\\begin{{document}}{latex(TABLE, 'tab:test')}\\end{{document}}"
    (tmp_path / "table.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_no_character_of_a_name_breaks_a_row() -> None:
    name = "[0.5]*x\r\n\n\x1b[31m~~a~~ $b$\u202e"
    table = Table(
        name="T", title=name, notes=[name],
        columns=[Column(heading=name, is_text=True), Column(heading="n")],
        sections=[Section(title=name, rows=[[name, "1"], ["*", "2"]])],
    )  # fmt: skip
    text = markdown(table)
    (row,) = (line for line in text.splitlines() if line.endswith("| 1 |"))
    assert row == "| \\[0.5\\]\\*x  \\~\\~a\\~\\~ \\$b\\$ | 1 |"
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 5
    lines = latex(table, "tab:x").splitlines()
    (row,) = (line for line in lines if line.endswith("& 1 \\\\"))
    assert (
        row == "{}[0.5]*x  \\textasciitilde{}\\textasciitilde{}a\\textasciitilde{}\\textasciitilde{} \\$b\\$ & 1 \\\\"
    )
    assert "{}* & 2 \\\\" in lines
    assert all(line.isprintable() for line in lines)
