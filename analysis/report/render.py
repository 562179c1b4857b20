"""The report as one file of HTML that asks nothing of a network.

All text goes through the template engine, which escapes it. Should markup ever slip through, the page's own policy
forbids browsers to run or load it: only the style and the script with the digests named there count.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..claims import sentences
from ..output.tables import Column
from .page import Report, image_address, marks_text
from .wording import counted, first_sentences, spoken

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(report: Report) -> bytes:
    """The page. Equal reports give equal bytes."""
    style, script = _own("report.css"), _own("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _ENVIRONMENT.get_template("report.html.j2").render(
        report=report,
        policy=policy,
        style=style,
        script=script,
        spoken=spoken,
        counted=counted,
        image_address=image_address,
        marks_text=marks_text,
        method=sentences.METHOD,
        heading_groups=heading_groups,
        first_sentences=first_sentences,
    )
    return page.encode()


def heading_groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Headings above those of the columns, with how many columns each spans; empty where no column has one."""
    groups = [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]
    return groups if any(group for group, _ in groups) else []


def _own(name: str) -> str:
    """A file of this package."""
    assert _ENVIRONMENT.loader is not None
    return _ENVIRONMENT.loader.get_source(_ENVIRONMENT, name)[0]


def _source(text: str) -> str:
    """An inline style or script, as a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
