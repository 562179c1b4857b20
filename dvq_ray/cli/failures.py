"""Failed cells by what went wrong, for a reader: one example of each kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dvq_ray.store import Store
from dvq_ray.text import plain

LOOKED_AT = 10_000
"""Failed rows whose errors are read; of more, evenly spaced ones."""


@dataclass(frozen=True, kw_only=True)
class FailureKind:
    """Cells that failed with the same exception, up to the numbers in its message."""

    status: str
    message: str
    """First line of the example's error: the exception, without its traceback."""
    traceback: tuple[str, ...]
    """The other lines, without those that only mark places."""
    cell_id: str
    """The id of the example, as it is stored."""
    cells: int
    """Among those that were looked at."""


def failure_kinds(store: Store, cell_ids: Sequence[str]) -> list[FailureKind]:
    """Kinds of failures among the cells, which are failed ones; the most frequent first."""
    if not cell_ids:
        return []
    sample = cell_ids[:: -(-len(cell_ids) // LOOKED_AT)]
    failed = store.load_cells(sample, ["cell_id", "status", "error"])
    found: dict[tuple[str, str], list[int]] = {}
    errors = [plain(error).strip() if isinstance(error, str) else "" for error in failed["error"]]
    for place, (status, error) in enumerate(zip(failed["status"], errors, strict=True)):
        found.setdefault((status, re.sub(r"0x[0-9a-f]+|\d+", "N", error.partition("\n")[0])), []).append(place)
    kinds = [
        FailureKind(
            status=plain(status, one_line=True),
            message=errors[places[0]].partition("\n")[0] or "it left no message",
            traceback=tuple(line for line in errors[places[0]].splitlines()[1:] if line.strip(" ^~")),
            cell_id=failed["cell_id"].iloc[places[0]],
            cells=len(places),
        )
        for (status, _), places in found.items()
    ]
    return sorted(kinds, key=lambda kind: -kind.cells)
