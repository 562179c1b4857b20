"""Tables as Markdown and as LaTeX, from the same words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from dvq_ray.text import plain

_MOST_UPRIGHT = 9
"""Columns of a LaTeX table that is not turned on its side."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column; neighbours of the same group share a heading above their own."""

    heading: str
    group: str = ""
    is_text: bool = False
    """Aligned to the left; numbers are aligned to the right."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows under a heading of their own; no heading where it is empty."""

    title: str = ""
    rows: Sequence[Sequence[str]]
    """Cells, as many as there are columns."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a table says, in plain text: each format writes `±`, `×` and `D = 64` in its own way."""

    name: str = ""
    """`Table 1`; LaTeX numbers its tables itself."""
    title: str
    columns: Sequence[Column]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    """Paragraphs beneath it."""
    is_long: bool = False
    """Whether a page offers to look for rows in it."""


def columns_of(texts: Iterable[str] = (), numbers: Iterable[str] = (), *, group: str = "") -> list[Column]:
    """Columns of text with these headings, then columns of numbers, which belong to the group."""
    return [
        *(Column(heading=heading, is_text=True) for heading in texts),
        *(Column(heading=heading, group=group) for heading in numbers),
    ]


def markdown(table: Table) -> str:
    """GitHub's dialect; the heading of a group stands before that of each of its columns."""
    headings = [": ".join(filter(None, (column.group, column.heading))) for column in table.columns]
    lines = [_markdown_row(headings), _markdown_row([":--" if c.is_text else "--:" for c in table.columns], plain=True)]
    for section in table.sections:
        if section.title:
            bold = f"**{_markdown_text(section.title)}**"
            lines.append(_markdown_row([bold, *[""] * (len(table.columns) - 1)], plain=True))
        lines += [_markdown_row(row) for row in section.rows]
    notes = [_markdown_text(note) for note in table.notes]
    title = f"**{_markdown_text(table.name)}.** {_markdown_text(table.title)}"
    return "\n\n".join([title, "\n".join(lines), *notes]) + "\n"


def _markdown_row(cells: Sequence[str], *, plain: bool = False) -> str:
    return f"| {' | '.join(cells if plain else map(_markdown_text, cells))} |"


def _markdown_text(text: str) -> str:
    """The text with all characters escaped that mean something in Markdown or HTML."""
    return re.sub(r"([\\`*_|<>\[\]#&~$])", r"\\\1", plain(text, one_line=True))


def latex(table: Table, label: str) -> str:
    """A floating table; one of many columns is turned on its side. What is still too wide is shrunk to the page."""
    rows: list[list[str]] = []
    for section in table.sections:
        titles = [f"\\rlap{{\\emph{{{_latex_text(section.title)}}}}}"] if section.title else []
        rows += [[title, *[""] * (len(table.columns) - 1)] for title in titles]
        rows += [[_latex_text(cell) for cell in row] for row in section.rows]
    headings = [(_latex_text(column.group), _stacked(column.heading)) for column in table.columns]
    has_groups = any(group for group, _ in headings)
    index = pd.MultiIndex.from_tuples(headings) if has_groups else pd.Index([heading for _, heading in headings])
    alignment = "".join("l" if column.is_text else "r" for column in table.columns)
    frame = pd.DataFrame(rows, columns=index, dtype=object)
    body = frame.style.hide(axis="index").to_latex(column_format=alignment, hrules=True, multicol_align="c").strip()
    body = "\n".join(map(_guarded, body.splitlines()))
    environment = "table*" if len(table.columns) <= _MOST_UPRIGHT else "sidewaystable*"
    notes = "\\par\n".join(_latex_text(note) for note in table.notes)
    lines = [
        "% \\usepackage{booktabs,graphicx,rotating}",
        f"\\begin{{{environment}}}",
        "\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}",
        f"\\caption{{{_latex_text(table.title)}}}",
        f"\\label{{{label}}}",
        f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{body}}}",
        *(["\\par\\medskip\\raggedright", notes] if notes else []),
        f"\\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def _stacked(heading: str) -> str:
    """A heading with each of its parts on a line, so that it is no wider than the numbers beneath it."""
    parts = [_latex_text(part) for part in heading.split(", ")]
    return parts[0] if len(parts) == 1 else "\\shortstack[r]{" + ",\\\\".join(map(_guarded, parts)) + "}"


def _guarded(line: str) -> str:
    """The line in a form whose first bracket or star LaTeX does not read as an argument of what stands before it."""
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


_LATEX = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$",
    "×": "$\\times$", "–": "--", "<": "$<$", ">": "$>$",
} | {character: f"\\{character}" for character in "&%$#_{}"}  # fmt: skip


def _latex_text(text: str) -> str:
    """The text with all characters escaped that mean something in LaTeX; symbols in italics."""
    escaped = "".join(_LATEX.get(character, character) for character in plain(text, one_line=True))
    escaped = re.sub(r"\b([A-Zn]) = (\d+)", r"$\1 = \2$", escaped)
    return re.sub(r"(?<=\d) (\$\\pm\$) (?=\d)", r"\,{\\scriptsize\1}\,", escaped)
