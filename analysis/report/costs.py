"""What the rows took to compute."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store.columns import DURATION

from ..data.rows import known_experiments
from ..output.tables import Section, Table, columns_of
from .wording import spoken

_NONE = "–"


def table(frame: pd.DataFrame) -> Table:
    """A row for each quantizer on each device, by trainable."""
    measured = {
        name: metric
        for trainable in known_experiments(frame)
        for name, metric in find_experiment(trainable).measures().items()
        if not metric.is_result and name in frame and frame[name].notna().any()
    }
    timed_rows = frame.reindex(columns=["trainable", "quantizer", "run_device", "status", DURATION, *measured])
    if timed_rows["run_device"].isna().any():
        timed_rows["run_device"] = timed_rows["run_device"].astype(object).fillna("not recorded")
    sections = [
        Section(
            title=spoken(str(trainable)),
            rows=[
                _line(str(quantizer), str(device), cells, [*measured])
                for (quantizer, device), cells in rows.groupby(["quantizer", "run_device"], observed=True)
            ],
        )
        for trainable, rows in timed_rows.groupby("trainable", observed=True)
    ]
    columns = columns_of(["quantizer", "device"], ["cells", "timed"])
    columns += columns_of(numbers=["total", "median"], group="seconds")
    columns += columns_of(numbers=["device hours", *(f"{metric.title()}, median" for metric in measured.values())])
    return Table(
        title="Time that cells took, by quantizer and device.",
        columns=columns,
        sections=sections,
        notes=[
            "Timed: cells that say how long they took; a failed one may not. Device hours are the seconds of the cells "
            "added up: CPU hours on a CPU, GPU hours on a GPU. Cells that share a device count each."
        ],
    )


def _line(quantizer: str, device: str, cells: pd.DataFrame, measured: Sequence[str]) -> list[str]:
    seconds = cells[DURATION].dropna()
    times = [f"{seconds.sum():,.1f}", f"{seconds.median():,.2f}", f"{seconds.sum() / 3600:,.3f}"]
    medians = [cells[name].median() for name in measured]
    return [
        quantizer,
        device,
        f"{len(cells):,}",
        f"{len(seconds):,}",
        *(times if len(seconds) else [_NONE] * 3),
        *(_NONE if pd.isna(median) else f"{median:,.1f}" if median < 1e6 else f"{median:,.0f}" for median in medians),
    ]
