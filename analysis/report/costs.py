"""What the rows took to compute."""

from __future__ import annotations

import pandas as pd

from ..output.tables import Section, Table, columns_of
from .wording import spoken

_SECONDS, _SPEED = "duration_seconds", "images_per_second"
_NONE = "–"


def table(frame: pd.DataFrame) -> Table:
    """A row for each quantizer on each device, by trainable."""
    timed_rows = frame.reindex(columns=["trainable", "quantizer", "run_device", "status", _SECONDS, _SPEED])
    if timed_rows["run_device"].isna().any():
        timed_rows["run_device"] = timed_rows["run_device"].astype(object).fillna("not recorded")
    has_speed = bool(timed_rows[_SPEED].notna().any())
    sections = [
        Section(
            title=spoken(str(trainable)),
            rows=[
                _line(str(quantizer), str(device), cells, has_speed=has_speed)
                for (quantizer, device), cells in rows.groupby(["quantizer", "run_device"], observed=True)
            ],
        )
        for trainable, rows in timed_rows.groupby("trainable", observed=True)
    ]
    columns = columns_of(["quantizer", "device"], ["cells", "timed"])
    columns += columns_of(numbers=["total", "median"], group="seconds")
    columns += columns_of(numbers=["device hours", *(["images per second, median"] if has_speed else [])])
    return Table(
        title="Time that cells took, by quantizer and device.",
        columns=columns,
        sections=sections,
        notes=[
            "Timed: cells that say how long they took; a failed one may not. Device hours are the seconds of the cells "
            "added up: CPU hours on a CPU, GPU hours on a GPU. Cells that share a device count each."
        ],
    )


def _line(quantizer: str, device: str, cells: pd.DataFrame, *, has_speed: bool) -> list[str]:
    seconds, speed = cells[_SECONDS].dropna(), cells[_SPEED].dropna()
    timed = len(seconds) > 0
    times = [f"{seconds.sum():,.1f}", f"{seconds.median():,.2f}", f"{seconds.sum() / 3600:,.3f}"] if timed else []
    return [
        quantizer,
        device,
        f"{len(cells):,}",
        f"{len(seconds):,}",
        *(times or [_NONE] * 3),
        *([f"{speed.median():,.1f}" if len(speed) else _NONE] if has_speed else []),
    ]
