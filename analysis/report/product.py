"""The report as a file."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.claims.verdicts import Decision
from analysis.making import Attempt
from analysis.report.page import gather
from analysis.report.render import render
from analysis.rows import Rows


def files(attempts: Sequence[Attempt], decided: Sequence[Decision], rows: Rows) -> dict[str, bytes]:
    """Contents by suffix. Equal rows give equal bytes. Raises `StoreError` where a store cannot be read."""
    return {".html": render(gather(attempts, decided, rows))}
