"""Tables as Markdown and as LaTeX, from the same words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dvq_ray.terminal import plain

_MOST_UPRIGHT = 9
"""Columns of a LaTeX table that stands upright."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column; neighbours of the same group share a heading above their own."""

    heading: str
    group: str = ""
    is_text: bool = False
    """Set to the left; numbers are set to the right."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows under a heading of their own; no heading where it is empty."""

    title: str
    rows: Sequence[Sequence[str]]
    """Cells, as many as there are columns."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a table says, in plain text: `±`, `×` and `D = 64` are set as the format sets them."""

    name: str
    """`Table 1`; LaTeX numbers its tables itself."""
    title: str
    columns: Sequence[Column]
    sections: Sequence[Section]
    notes: Sequence[str]
    """Paragraphs beneath it."""


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
    """Characters that Markdown or HTML would take for its own, as themselves."""
    return re.sub(r"([\\`*_|<>\[\]#&~$])", r"\\\1", plain(text, one_line=True))


def latex(table: Table, label: str) -> str:
    """A floating table; one of many columns lies on its side. What is still too wide is shrunk to the page."""
    float_ = "table*" if len(table.columns) <= _MOST_UPRIGHT else "sidewaystable*"
    alignment = "".join("l" if column.is_text else "r" for column in table.columns)
    lines = [
        "% \\usepackage{booktabs,graphicx,rotating}",
        f"\\begin{{{float_}}}",
        "\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}",
        f"\\caption{{{_latex_text(table.title)}}}",
        f"\\label{{{label}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
        *_latex_groups(table.columns),
        _latex_row([_stacked(column.heading) for column in table.columns]),
    ]
    for section in table.sections:
        lines.append("\\midrule")
        if section.title:
            lines.append(f"\\multicolumn{{{len(table.columns)}}}{{l}}{{\\emph{{{_latex_text(section.title)}}}}} \\\\")
        lines += [_latex_row(map(_latex_text, row)) for row in section.rows]
    lines += ["\\bottomrule", "\\end{tabular}}"]
    notes = "\\par\n".join(_latex_text(note) for note in table.notes)
    lines += ["\\par\\medskip\\raggedright", notes] if notes else []
    return "\n".join([*lines, f"\\end{{{float_}}}"]) + "\n"


def _latex_groups(columns: Sequence[Column]) -> Iterator[str]:
    """The line of headings that columns share, and the rules beneath them."""
    if not any(column.group for column in columns):
        return
    cells, rules, first = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        last = first + len(list(members)) - 1
        cells.append(f"\\multicolumn{{{last - first + 1}}}{{c}}{{{_latex_text(group)}}}")
        if group:
            rules.append(f"\\cmidrule(lr){{{first}-{last}}}")
        first = last + 1
    yield f"{' & '.join(cells)} \\\\"
    yield " ".join(rules)


def _latex_row(cells: Iterable[str]) -> str:
    row = f"{' & '.join(cells)} \\\\"
    # What ends the row before takes a bracket or a star for its own.
    return f"{{}}{row}" if row.startswith(("[", "*")) else row


def _stacked(heading: str) -> str:
    """A heading in lines of its parts, so that it is no wider than the numbers beneath it."""
    parts = [_latex_text(part) for part in heading.split(", ")]
    return parts[0] if len(parts) == 1 else "\\shortstack[r]{" + ",\\\\".join(parts) + "}"


_LATEX = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$",
    "×": "$\\times$", "–": "--", "<": "$<$", ">": "$>$",
} | {character: f"\\{character}" for character in "&%$#_{}"}  # fmt: skip


def _latex_text(text: str) -> str:
    """Characters that LaTeX would take for its own, as themselves; symbols in italics."""
    escaped = "".join(_LATEX.get(character, character) for character in plain(text, one_line=True))
    escaped = re.sub(r"\b([A-Zn]) = (\d+)", r"$\1 = \2$", escaped)
    return re.sub(r"(?<=\d) (\$\\pm\$) (?=\d)", r"\,{\\scriptsize\1}\,", escaped)
